// net/sched/sch_api.c, sch_mq.c and the attaching part of sch_generic.c: qdiscs are made, put on a device's transmit queues
// and taken off again; the watchdog that wakes a throttled one.

#include "core/catalog/catalog.h"
#include "core/catalog/stage_ids.h"
#include "core/kernel/sch.h"

#include <fmt/format.h>

namespace skbscope::kernel {

namespace {

const char* name_of(QdiscKind kind)
{
    static constexpr const char* names[qdisc_kind_count] = {"noqueue", "pfifo_fast", "pfifo", "bfifo", "tbf", "fq_codel", "mq"};
    return names[static_cast<std::size_t>(kind)];
}

/// qdisc_alloc_handle(): 8001: and on, for whatever was asked for without a handle.
std::uint32_t next_handle(const World& w)
{
    constexpr std::uint32_t first = 0x80010000;
    std::uint32_t next = first;
    for (const Qdisc& other : w.qdiscs) { // those that are gone keep their rows
        next = std::max(next, other.handle >= first ? other.handle + 0x10000 : 0);
    }
    return next;
}

/// Makes rows of World::qdiscs and the trays of the trace that go with them.
class Maker {
public:
    Maker(World& w, Trace& trace, DeviceIndex device) : w_(w), trace_(trace), device_(device) {}

    QdiscIndex create(const QdiscSpec& spec, std::uint32_t tx_queue, QdiscIndex parent)
    {
        const auto index = static_cast<QdiscIndex>(w_.qdiscs.size());
        w_.qdiscs.emplace_back();
        at(index).kind = spec.kind;
        at(index).handle = std::uint32_t{spec.handle} << 16;
        at(index).device = device_;
        at(index).tx_queue = tx_queue;
        at(index).parent = parent;
        const bool below_mq = parent != nothing && at(parent).kind == QdiscKind::mq;
        at(index).onetxqueue = below_mq || dev().tx_queues.size() == 1;
        if (spec.kind != QdiscKind::noqueue && spec.kind != QdiscKind::mq) {
            qdisc_ops(spec.kind).init(w_, index, spec);
        }
        if (spec.kind == QdiscKind::tbf) {
            create_inner(index, spec);
        } else if (spec.kind != QdiscKind::noqueue && spec.kind != QdiscKind::mq) {
            at(index).queue = add_tray(index);
        }
        return index;
    }

private:
    Qdisc& at(QdiscIndex index) { return w_.qdiscs[static_cast<std::size_t>(index)]; }
    NetDevice& dev() { return w_.devices[static_cast<std::size_t>(device_)]; }

    void create_inner(QdiscIndex index, const QdiscSpec& spec)
    {
        QdiscSpec child;
        if (!spec.inner.empty()) {
            child = spec.inner.front();
        } else {
            child.kind = QdiscKind::bfifo; // tbf's own limit, in bytes
            child.limit = spec.limit;
        }
        const QdiscIndex inner = create(child, at(index).tx_queue, index);
        if (!spec.inner.empty() && at(inner).handle == 0) {
            at(inner).handle = next_handle(w_);
        }
        at(index).children.push_back(inner);
        at(index).queue = at(inner).queue; // the packets lie in the inner one; its parent only counts them
    }

    QueueId add_tray(QdiscIndex index)
    {
        const Qdisc& q = at(index);
        const Host& host = w_.hosts[dev().host];
        std::string name = dev().name + " " + name_of(q.kind);
        if (q.parent != nothing && at(q.parent).kind == QdiscKind::tbf) {
            name = dev().name + " tbf " + name_of(q.kind);
        }
        if (dev().tx_queues.size() > 1) {
            name += fmt::format(" {}", q.tx_queue);
        }
        if (w_.nets.size() > 1) {
            const std::string& of = w_.nets[dev().net].name;
            name = (of.empty() ? host.name : of) + ": " + name;
        }
        const bool of_device = q.kind == QdiscKind::pfifo_fast;
        const QueueUnit unit = q.kind == QdiscKind::bfifo ? QueueUnit::bytes : QueueUnit::packets;
        return trace_.add_queue({name, QueueKind::qdisc, host.id, Catalog::stage(stage::qdisc).room, q.limit, unit,
                                 of_device ? dev().name + ".txqueuelen" : dev().name + ".qdisc.limit"});
    }

    World& w_;
    Trace& trace_;
    DeviceIndex device_;
};

void collect(Kernel& k, QdiscIndex index, SkbList& packets)
{
    for (const QdiscIndex child : qdisc(k, index).children) {
        collect(k, child, packets);
    }
    Qdisc& q = qdisc(k, index);
    if (q.kind != QdiscKind::noqueue && q.kind != QdiscKind::mq) {
        qdisc_ops(q.kind).reset(k, index, packets);
    }
    packets.append(q.gso_skb.begin(), q.gso_skb.end());
    packets.append(q.skb_bad_txq.begin(), q.skb_bad_txq.end());
    q.gso_skb.clear();
    q.skb_bad_txq.clear();
    q.qlen = q.backlog = 0;
    q.missed = q.draining = false;
    q.watchdog = 0;
    q.deactivated = true;
}

/// dev_deactivate() and qdisc_destroy(): what waits in the old ones is dropped.
void purge(Kernel& k, QdiscIndex index)
{
    SkbList packets;
    collect(k, index, packets);
    for (const SkbIndex skb : packets) {
        k.dequeue(qdisc(k, index).queue, k.skb(skb).packet, fn::kfree_skb_reason);
        kfree_skb_reason(k, skb, k.profile() >= Profile::v6_12 ? drop::QUEUE_PURGE : drop::NOT_SPECIFIED, fn::kfree_skb_reason);
    }
}

} // namespace

void attach_qdiscs(World& w, Trace& trace, DeviceIndex device, const QdiscSpec& spec)
{
    Maker maker(w, trace, device);
    NetDevice& dev = w.devices[static_cast<std::size_t>(device)];
    if (spec.kind != QdiscKind::mq && dev.tx_queues.size() > 1 && spec.kind != QdiscKind::noqueue && spec.handle == 0) {
        // attach_default_qdiscs(): several queues get mq, and below it the default discipline once for each.
        QdiscSpec root;
        root.kind = QdiscKind::mq;
        const QdiscIndex mq = maker.create(root, 0, nothing);
        dev.qdisc = mq;
        for (std::uint32_t queue = 0; queue < dev.tx_queues.size(); ++queue) {
            const QdiscIndex child = maker.create(spec, queue, mq);
            w.qdiscs[static_cast<std::size_t>(mq)].children.push_back(child);
            dev.tx_queues[queue].qdisc = child;
        }
        return;
    }
    dev.qdisc = maker.create(spec, 0, nothing);
    for (NetdevQueue& queue : dev.tx_queues) {
        queue.qdisc = dev.qdisc;
    }
}

void name_root_qdisc(World& w, DeviceIndex device)
{
    Qdisc& root = w.qdiscs[static_cast<std::size_t>(w.devices[static_cast<std::size_t>(device)].qdisc)];
    if (root.handle == 0 && root.kind != QdiscKind::noqueue) {
        root.handle = next_handle(w);
    }
}

void qdisc_graft(Kernel& k, DeviceIndex device, const QdiscSpec& spec)
{
    const QdiscIndex old = k.device(device).qdisc;
    attach_qdiscs(k.w, k.trace, device, spec);
    name_root_qdisc(k.w, device);
    purge(k, old);
}

void qdisc_watchdog_schedule_ns(Kernel& k, QdiscIndex index, std::int64_t expires)
{
    Call call(k, fn::qdisc_watchdog_schedule_range_ns);
    Qdisc& q = qdisc(k, index);
    if (q.deactivated || (q.watchdog != 0 && q.watchdog_at == expires)) {
        return; // set to that very time already
    }
    q.watchdog_at = expires;
    q.watchdog = mod_timer(k, TimerKind::qdisc_watchdog, k.cpu_row, index, SimTime{static_cast<std::uint64_t>(expires)});
}

void qdisc_watchdog(Kernel& k, QdiscIndex index, std::uint64_t generation)
{
    if (qdisc(k, index).watchdog != generation) {
        return; // stopped, or set anew, meanwhile
    }
    qdisc(k, index).watchdog = 0;
    Call call(k, fn::qdisc_watchdog);
    QdiscIndex root = index; // qdisc_root(): the one that the transmit queue knows
    while (qdisc(k, root).parent != nothing && qdisc(k, qdisc(k, root).parent).kind != QdiscKind::mq) {
        root = qdisc(k, root).parent;
    }
    __netif_schedule(k, root);
}

} // namespace skbscope::kernel
