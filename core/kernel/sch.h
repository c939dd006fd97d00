#pragma once
// net/sched and the qdisc part of include/net/sch_generic.h: the table of disciplines, and what they share.

#include "core/kernel/functions.h"

namespace skbscope::kernel {

// include/linux/netdevice.h
inline constexpr int ENOBUFS_ = 105;
/// The sender's view of a qdisc's answer: a drop is -ENOBUFS, congestion (another packet was dropped) is nothing.
[[nodiscard]] constexpr int net_xmit_errno(int result) { return result != NET_XMIT_CN ? -ENOBUFS_ : 0; }
[[nodiscard]] constexpr bool dev_xmit_complete(int result) { return result < NET_XMIT_MASK; }

/// struct Qdisc_ops. `to_free`: dropped packets, freed by the caller when it has left the qdisc.
struct Qdisc_ops {
    const char* id;
    int (*enqueue)(Kernel&, SkbIndex, QdiscIndex, SkbList& to_free);
    SkbIndex (*dequeue)(Kernel&, QdiscIndex);
    SkbIndex (*peek)(Kernel&, QdiscIndex);
    void (*init)(World&, QdiscIndex, const QdiscSpec&);
    void (*reset)(Kernel&, QdiscIndex, SkbList& to_free); ///< everything that lies in it goes to to_free
};
[[nodiscard]] const Qdisc_ops& qdisc_ops(QdiscKind kind);
extern const Qdisc_ops pfifo_fast_ops, pfifo_qdisc_ops, bfifo_qdisc_ops, tbf_qdisc_ops, fq_codel_qdisc_ops;

// net/sched/sch_api.c, net/sched/sch_generic.c, net/sched/sch_mq.c
/// Makes the qdiscs that a device starts with (attach_default_qdiscs): one a transmit queue below mq where there are several,
/// or, with a spec, what it says at the root.
void attach_qdiscs(World& w, Trace& trace, DeviceIndex device, const QdiscSpec& spec);
/// A root that was asked for without a handle gets the next one, 8001: and on; the default ones have none.
void name_root_qdisc(World& w, DeviceIndex device);
/// `tc qdisc replace dev … root`: the old ones are emptied (their packets are dropped) and left.
void qdisc_graft(Kernel& k, DeviceIndex device, const QdiscSpec& spec);
void qdisc_watchdog_schedule_ns(Kernel& k, QdiscIndex qdisc, std::int64_t expires);
/// The timer's handler (TimerKind::qdisc_watchdog; index: the qdisc).
void qdisc_watchdog(Kernel& k, QdiscIndex qdisc, std::uint64_t generation);

// include/net/sch_generic.h
[[nodiscard]] inline Qdisc& qdisc(Kernel& k, QdiscIndex index) { return k.w.qdiscs[static_cast<std::size_t>(index)]; }
/// The qdisc that the device's transmit queue puts packets into.
[[nodiscard]] QdiscIndex qdisc_of(Kernel& k, DeviceIndex device, std::uint32_t tx_queue);
[[nodiscard]] NetdevQueue& netdev_get_tx_queue(Kernel& k, DeviceIndex device, std::uint32_t tx_queue);
void qdisc_bstats_update(Kernel& k, QdiscIndex qdisc, SkbIndex skb);
void qdisc_qstats_drop(Kernel& k, QdiscIndex qdisc, PacketId packet);
void qdisc_qstats_overlimit(Kernel& k, QdiscIndex qdisc, PacketId packet);
int qdisc_drop(Kernel& k, SkbIndex skb, QdiscIndex qdisc, SkbList& to_free); ///< NET_XMIT_DROP
int qdisc_enqueue_tail(Kernel& k, SkbIndex skb, QdiscIndex qdisc, FunctionId by);
SkbIndex qdisc_dequeue_head(Kernel& k, QdiscIndex qdisc, FunctionId by);
SkbIndex qdisc_dequeue_peeked(Kernel& k, QdiscIndex qdisc);
bool qdisc_run_begin(Kernel& k, QdiscIndex qdisc);
void qdisc_run_end(Kernel& k, QdiscIndex qdisc);
[[nodiscard]] bool nolock_qdisc_is_empty(const Qdisc& qdisc); ///< as its MISSED and DRAINING bits say
/// The dropped packets of an enqueue: kfree_skb_list_reason(…, SKB_DROP_REASON_QDISC_DROP).
void free_dropped(Kernel& k, SkbList& to_free, FunctionId by);
/// Puts a packet on the trace's tray of this qdisc, or takes it off.
void note_enqueued(Kernel& k, SkbIndex skb, QdiscIndex qdisc, FunctionId by);
void note_dequeued(Kernel& k, SkbIndex skb, QdiscIndex qdisc, FunctionId by);

/// A call whose packet is known only when it returns (a dequeue): the record gets it then.
class DequeueCall {
public:
    DequeueCall(Kernel& kernel, FunctionId function) : kernel_(kernel), handle_(kernel.open(function, PacketId::none)) {}
    ~DequeueCall() { kernel_.close(handle_); }
    DequeueCall(const DequeueCall&) = delete;
    DequeueCall& operator=(const DequeueCall&) = delete;
    SkbIndex found(SkbIndex skb);

private:
    Kernel& kernel_;
    OpenHandle handle_;
};

} // namespace skbscope::kernel
