#pragma once
// Queueing disciplines and the transmit queues that they sit on: include/net/sch_generic.h, include/linux/netdevice.h
// (struct netdev_queue) and the private data of each discipline. Values with indices, no pointers: a copy stands on its own.

#include "core/kernel/containers.h"
#include "core/trace/event.h"

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

namespace skbscope::kernel {

using QdiscIndex = std::int32_t; ///< row of World::qdiscs; -1: none

enum class QdiscKind : std::uint8_t { noqueue, pfifo_fast, pfifo, bfifo, tbf, fq_codel, mq };
inline constexpr int qdisc_kind_count = 7;

/// include/linux/ptr_ring.h: what matters of it. The consumer clears its slots lazily, in batches, so a ring of N that is
/// being emptied can refuse before N packets lie in it.
struct PtrRing {
    std::vector<std::int32_t> slots; ///< -1: cleared; between consumer_tail and consumer_head: consumed, not yet cleared
    std::uint32_t producer = 0, consumer_head = 0, consumer_tail = 0, batch = 1;

    void resize(std::uint32_t size); ///< empties it
    bool produce(std::int32_t value); ///< false: full
    [[nodiscard]] std::int32_t peek() const;
    std::int32_t consume(); ///< -1: empty
};

/// include/net/sch_generic.h: struct psched_ratecfg. A rate as a multiplication and a shift.
struct Ratecfg {
    std::uint64_t rate_bytes_ps = 0; ///< 0: no limit
    std::uint32_t mult = 1;
    std::uint8_t shift = 0;

    void set(std::uint64_t bytes_per_second); ///< psched_ratecfg_precompute__()
    /// psched_l2t_ns(): how long that many bytes take, in ns.
    [[nodiscard]] std::int64_t l2t_ns(std::uint32_t length) const
    {
        return static_cast<std::int64_t>((std::uint64_t{length} * mult) >> shift);
    }
};

/// net/sched/sch_tbf.c: struct tbf_sched_data. Times in ns.
struct Tbf {
    Ratecfg rate, peak;
    std::uint32_t burst = 1600;  ///< max_size, bytes
    std::uint32_t mtu_bytes = 0; ///< of the peak rate
    std::int64_t buffer = 0, mtu = 0;
    std::int64_t tokens = 0, ptokens = 0, t_c = 0;
};

/// include/net/codel.h. CoDel's clock counts in units of 1024 ns.
using CodelTime = std::uint32_t;
inline constexpr int CODEL_SHIFT = 10;

struct CodelParams {
    CodelTime target = static_cast<CodelTime>(5'000'000 >> CODEL_SHIFT);
    CodelTime interval = static_cast<CodelTime>(100'000'000 >> CODEL_SHIFT);
    CodelTime ce_threshold = 0x7fffffff; ///< CODEL_DISABLED_THRESHOLD
    std::uint32_t mtu = 1514;
    bool ecn = true;
};

struct CodelVars {
    std::uint32_t count = 0, lastcount = 0;
    bool dropping = false;
    std::uint16_t rec_inv_sqrt = 0;
    CodelTime first_above_time = 0, drop_next = 0, ldelay = 0;
};

struct CodelStats {
    std::uint32_t maxpacket = 0, drop_count = 0, drop_len = 0, ecn_mark = 0, ce_mark = 0;
};

struct FqCodelFlow {
    Fifo<std::int32_t> packets;
    std::int32_t deficit = 0;
    std::uint32_t backlog = 0;
    bool listed = false; ///< on new_flows or old_flows
    CodelVars vars;
};

/// net/sched/sch_fq_codel.c: struct fq_codel_sched_data.
struct FqCodel {
    std::uint32_t flows_count = 1024, quantum = 1514, drop_batch = 64, memory_limit = 32U << 20;
    CodelParams params;
    CodelStats stats;
    std::uint32_t memory_usage = 0, drop_overmemory = 0, drop_overlimit = 0, new_flow_count = 0;
    std::map<std::uint32_t, FqCodelFlow> flows; ///< those ever used; the table's other rows are as new
    Fifo<std::uint32_t> new_flows, old_flows;
};

/// What `tc qdisc add` says; absent values take the kernel's default for the device.
struct QdiscSpec {
    QdiscKind kind = QdiscKind::pfifo_fast;
    std::uint16_t handle = 0;                ///< 0x10 is "10:"; 0: automatic
    std::optional<std::uint32_t> limit;      ///< packets; bfifo and tbf: bytes
    std::uint64_t rate = 0, peakrate = 0;    ///< tbf, bytes a second
    std::uint32_t burst = 0, mtu = 0;        ///< tbf, bytes; mtu belongs to peakrate
    std::optional<std::uint32_t> flows, quantum, memory_limit, drop_batch; ///< fq_codel
    std::optional<std::uint32_t> target_us, interval_us, ce_threshold_us;
    bool ecn = true;
    std::vector<QdiscSpec> inner;            ///< of tbf: at most one
    bool operator==(const QdiscSpec&) const = default;
};

/// `tc qdisc replace dev … root …` at a time.
struct QdiscChange {
    SimTime at;
    std::int32_t device = -1;
    QdiscSpec spec;
};

/// struct Qdisc.
struct Qdisc {
    QdiscKind kind = QdiscKind::noqueue;
    std::uint32_t handle = 0;      ///< 0x100000 is "10:"
    std::int32_t device = -1;
    std::uint32_t tx_queue = 0;    ///< of the device; of mq: 0
    QdiscIndex parent = -1;        ///< mq or tbf
    std::vector<QdiscIndex> children; ///< mq: one a queue; tbf: the inner one
    bool nolock = false;           ///< TCQ_F_NOLOCK
    bool can_bypass = false;       ///< TCQ_F_CAN_BYPASS
    bool onetxqueue = false;       ///< TCQ_F_ONETXQUEUE: packets of one transmit queue only
    std::uint32_t limit = 1000;    ///< packets; bfifo: bytes
    bool running = false;          ///< __QDISC_STATE2_RUNNING, or the seqlock of a lock-less one is held
    bool scheduled = false;        ///< __QDISC_STATE_SCHED
    bool deactivated = false;      ///< __QDISC_STATE_DEACTIVATED: replaced by another
    bool missed = false, draining = false; ///< __QDISC_STATE_MISSED, __QDISC_STATE_DRAINING

    Fifo<std::int32_t> gso_skb;     ///< handed back by a busy driver, or peeked at
    Fifo<std::int32_t> skb_bad_txq; ///< taken out, but of another transmit queue
    Fifo<std::int32_t> fifo;        ///< pfifo, bfifo
    std::array<PtrRing, 3> bands;         ///< pfifo_fast
    Tbf tbf;
    FqCodel fq_codel;

    std::uint32_t qlen = 0, backlog = 0; ///< packets, bytes; with children: of all below
    std::uint64_t bytes = 0, packets = 0, drops = 0, overlimits = 0, requeues = 0;
    std::uint64_t watchdog = 0;  ///< generation of the armed watchdog; 0: none
    std::int64_t watchdog_at = 0; ///< last_expires, ns
    QueueId queue{};
};

} // namespace skbscope::kernel
