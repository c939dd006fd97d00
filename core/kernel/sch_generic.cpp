// net/sched/sch_generic.c: the loop that hands packets from a qdisc to the driver, requeueing, and pfifo_fast.

#include "core/kernel/sch.h"

#include <algorithm>

namespace skbscope::kernel {

namespace {

constexpr int netdev_tx_busy = 0x10;
/// prio2band of pfifo_fast: priority (from the TOS) to band.
constexpr std::uint8_t prio2band[16] = {1, 2, 2, 2, 1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};

/// The queue is stopped, and whoever wakes it will run the qdisc: until then only DRAINING keeps it from looking empty.
void qdisc_maybe_clear_missed(Qdisc& q, const NetdevQueue& txq)
{
    if (!q.nolock) {
        return; // nobody looks at these bits
    }
    q.missed = !txq.stopped();
    q.draining = q.draining || txq.stopped();
}

/// Of the root only: a child's drops are counted by its parent, too.
void count_root(Kernel& k, QdiscIndex index, DevStat counter, PacketId packet)
{
    const Qdisc& q = qdisc(k, index);
    const bool is_root = q.parent == nothing || qdisc(k, q.parent).kind == QdiscKind::mq;
    if (is_root) {
        k.count_device(q.device, counter, packet);
    }
}

void put_back(Kernel& k, SkbIndex skb, Qdisc& q)
{
    q.backlog += k.skb(skb).qdisc_pkt_len; // still part of the queue
    ++q.qlen;
    k.skb(skb).visible_from = k.cpu().now + 1_ns;
}

void take_back(Kernel& k, SkbIndex skb, Qdisc& q)
{
    q.backlog -= k.skb(skb).qdisc_pkt_len;
    --q.qlen;
}

void dev_requeue_skb(Kernel& k, const SkbList& list, QdiscIndex index)
{
    Call call(k, fn::dev_requeue_skb, list.front());
    for (const SkbIndex skb : list) {
        Qdisc& q = qdisc(k, index);
        q.gso_skb.push_back(skb);
        put_back(k, skb, q);
        ++q.requeues;
        count_root(k, index, DevStat::qdisc_requeues, k.skb(skb).packet);
        note_enqueued(k, skb, index, fn::dev_requeue_skb);
    }
    if (qdisc(k, index).nolock) {
        qdisc(k, index).missed = true;
    } else {
        __netif_schedule(k, index);
    }
}

/// What a busy driver handed back goes first. False in `go_on`: nothing may be dequeued now.
SkbList take_requeued(Kernel& k, QdiscIndex index, const NetdevQueue& txq)
{
    Qdisc& q = qdisc(k, index);
    if (txq.stopped()) {
        qdisc_maybe_clear_missed(q, txq);
        return {};
    }
    const SkbIndex skb = q.gso_skb.front();
    q.gso_skb.pop_front();
    take_back(k, skb, q);
    note_dequeued(k, skb, index, fn::dequeue_skb);
    return {skb};
}

std::uint32_t tx_queue_of(Kernel& k, SkbIndex skb) { return k.skb(skb).queue_mapping; }

/// All packets of one transmit queue: as many as byte queue limits leave room for.
void try_bulk_dequeue_skb(Kernel& k, QdiscIndex index, const NetdevQueue& txq, SkbList& list, std::int64_t budget)
{
    std::int64_t room = std::int64_t{txq.dql.avail()} - k.skb(list.front()).len;
    while (room > 0) {
        const SkbIndex next = qdisc_ops(qdisc(k, index).kind).dequeue(k, index);
        if (next == nothing) {
            return;
        }
        room -= k.skb(next).len;
        list.push_back(next);
        if (static_cast<std::int64_t>(list.size()) - 1 >= budget) {
            return;
        }
    }
}

/// Packets of any transmit queue: up to eight more for the same one.
void try_bulk_dequeue_skb_slow(Kernel& k, QdiscIndex index, SkbList& list)
{
    for (int count = 0; count < 8; ++count) {
        const SkbIndex next = qdisc_ops(qdisc(k, index).kind).dequeue(k, index);
        if (next == nothing) {
            return;
        }
        if (tx_queue_of(k, next) != tx_queue_of(k, list.front())) {
            Qdisc& q = qdisc(k, index);
            q.skb_bad_txq.push_back(next);
            put_back(k, next, q);
            note_enqueued(k, next, index, fn::dequeue_skb);
            return;
        }
        list.push_back(next);
    }
}

/// The packet that was once taken out but belonged to another transmit queue. True in `blocked`: that one is stopped.
SkbIndex take_bad_txq(Kernel& k, QdiscIndex index, bool& blocked)
{
    Qdisc& q = qdisc(k, index);
    if (q.skb_bad_txq.empty()) {
        return nothing;
    }
    const SkbIndex skb = q.skb_bad_txq.front();
    const NetdevQueue& txq = netdev_get_tx_queue(k, q.device, tx_queue_of(k, skb));
    if (txq.stopped()) {
        qdisc_maybe_clear_missed(q, txq);
        blocked = true;
        return nothing;
    }
    q.skb_bad_txq.pop_front();
    take_back(k, skb, q);
    note_dequeued(k, skb, index, fn::dequeue_skb);
    return skb;
}

SkbList dequeue_skb(Kernel& k, QdiscIndex index, bool& validate, std::int64_t budget)
{
    Call call(k, fn::dequeue_skb);
    const DeviceIndex device = qdisc(k, index).device;
    validate = true;
    if (!qdisc(k, index).gso_skb.empty()) {
        validate = false; // it has been validated before it was handed back
        const SkbIndex first = qdisc(k, index).gso_skb.front();
        return take_requeued(k, index, netdev_get_tx_queue(k, device, tx_queue_of(k, first)));
    }
    const NetdevQueue& txq = netdev_get_tx_queue(k, device, qdisc(k, index).tx_queue);
    if (qdisc(k, index).onetxqueue && txq.stopped()) {
        qdisc_maybe_clear_missed(qdisc(k, index), txq);
        return {};
    }
    bool blocked = false;
    SkbIndex skb = take_bad_txq(k, index, blocked);
    if (blocked) {
        return {};
    }
    if (skb == nothing) {
        skb = qdisc_ops(qdisc(k, index).kind).dequeue(k, index);
    }
    if (skb == nothing) {
        return {};
    }
    SkbList list{skb};
    if (qdisc(k, index).onetxqueue) {
        try_bulk_dequeue_skb(k, index, netdev_get_tx_queue(k, device, qdisc(k, index).tx_queue), list, budget);
    } else {
        try_bulk_dequeue_skb_slow(k, index, list);
    }
    return list;
}

/// Packets handed to the driver (or back to the queue); 0: the queue is empty, throttled or stopped.
std::int64_t qdisc_restart(Kernel& k, QdiscIndex index, std::int64_t budget)
{
    Call call(k, fn::qdisc_restart);
    bool validate = true;
    SkbList list = dequeue_skb(k, index, validate, budget);
    if (list.empty()) {
        return 0;
    }
    const auto packets = static_cast<std::int64_t>(list.size());
    return sch_direct_xmit(k, std::move(list), index, validate) ? packets : 0;
}

} // namespace

// ---- the loop ---------------------------------------------------------------------------------------------------------------

bool sch_direct_xmit(Kernel& k, SkbList list, QdiscIndex index, bool validate)
{
    const DeviceIndex device = qdisc(k, index).device;
    const std::uint32_t tx_queue = tx_queue_of(k, list.front());
    Call call(k, fn::sch_direct_xmit, k.skb(list.front()).packet);
    if (validate) {
        list = validate_xmit_skb_list(k, std::move(list), device);
    }
    if (list.empty()) {
        return true;
    }
    int result = netdev_tx_busy;
    if (const NetdevQueue& txq = netdev_get_tx_queue(k, device, tx_queue); txq.stopped()) {
        qdisc_maybe_clear_missed(qdisc(k, index), txq);
    } else {
        result = dev_hard_start_xmit(k, list, device, tx_queue);
    }
    if (!dev_xmit_complete(result)) {
        dev_requeue_skb(k, list, index);
        return false;
    }
    return true;
}

void __qdisc_run(Kernel& k, QdiscIndex index)
{
    Call call(k, fn::__qdisc_run);
    std::int64_t quota = k.core_sysctl().dev_weight * k.core_sysctl().dev_weight_tx_bias; // dev_tx_weight
    while (const std::int64_t packets = qdisc_restart(k, index, quota)) {
        quota -= packets;
        if (quota > 0) {
            continue;
        }
        if (qdisc(k, index).nolock) {
            qdisc(k, index).missed = true;
        } else {
            __netif_schedule(k, index);
        }
        return;
    }
}

void qdisc_run(Kernel& k, QdiscIndex index)
{
    Call call(k, fn::qdisc_run);
    if (qdisc_run_begin(k, index)) {
        __qdisc_run(k, index);
        qdisc_run_end(k, index);
    }
}

bool nolock_qdisc_is_empty(const Qdisc& q)
{
    return !q.missed && !q.draining;
}

bool qdisc_run_begin(Kernel& k, QdiscIndex index)
{
    Qdisc& q = qdisc(k, index);
    if (!q.running) {
        q.running = true;
        return true;
    }
    q.missed = q.missed || q.nolock; // the CPU that runs it finds this bit when it ends
    return false;
}

void qdisc_run_end(Kernel& k, QdiscIndex index)
{
    Qdisc& q = qdisc(k, index);
    q.running = false;
    if (q.nolock && q.missed) {
        __netif_schedule(k, index);
    }
}

// ---- what disciplines share -------------------------------------------------------------------------------------------------

QdiscIndex qdisc_of(Kernel& k, DeviceIndex device, std::uint32_t tx_queue)
{
    return netdev_get_tx_queue(k, device, tx_queue).qdisc;
}

NetdevQueue& netdev_get_tx_queue(Kernel& k, DeviceIndex device, std::uint32_t tx_queue)
{
    auto& queues = k.device(device).tx_queues;
    return queues[std::min<std::size_t>(tx_queue, queues.size() - 1)];
}

void qdisc_bstats_update(Kernel& k, QdiscIndex index, SkbIndex skb)
{
    Qdisc& q = qdisc(k, index);
    const std::uint32_t segments = std::max<std::uint32_t>(1, k.skb(skb).gso_segs);
    q.bytes += k.skb(skb).qdisc_pkt_len;
    q.packets += segments;
    if (q.parent == nothing || qdisc(k, q.parent).kind == QdiscKind::mq) {
        k.count_device(q.device, DevStat::qdisc_packets, k.skb(skb).packet, segments);
        k.count_device(q.device, DevStat::qdisc_bytes, k.skb(skb).packet, k.skb(skb).qdisc_pkt_len);
    }
}

void qdisc_qstats_drop(Kernel& k, QdiscIndex index, PacketId packet)
{
    ++qdisc(k, index).drops;
    count_root(k, index, DevStat::qdisc_drops, packet);
}

void qdisc_qstats_overlimit(Kernel& k, QdiscIndex index, PacketId packet)
{
    ++qdisc(k, index).overlimits;
    count_root(k, index, DevStat::qdisc_overlimits, packet);
}

int qdisc_drop(Kernel& k, SkbIndex skb, QdiscIndex index, SkbList& to_free)
{
    to_free.push_back(skb);
    qdisc_qstats_drop(k, index, k.skb(skb).packet);
    return NET_XMIT_DROP;
}

void note_enqueued(Kernel& k, SkbIndex skb, QdiscIndex index, FunctionId by)
{
    k.skb(skb).visible_from = k.cpu().now + 1_ns;
    k.enqueue(qdisc(k, index).queue, k.skb(skb).packet, by);
}

void note_dequeued(Kernel& k, SkbIndex skb, QdiscIndex index, FunctionId by)
{
    k.cpu().now = std::max(k.cpu().now, k.skb(skb).visible_from);
    k.dequeue(qdisc(k, index).queue, k.skb(skb).packet, by);
}

int qdisc_enqueue_tail(Kernel& k, SkbIndex skb, QdiscIndex index, FunctionId by)
{
    Qdisc& q = qdisc(k, index);
    q.fifo.push_back(skb);
    ++q.qlen;
    q.backlog += k.skb(skb).qdisc_pkt_len;
    note_enqueued(k, skb, index, by);
    return NET_XMIT_SUCCESS;
}

SkbIndex qdisc_dequeue_head(Kernel& k, QdiscIndex index, FunctionId by)
{
    Qdisc& q = qdisc(k, index);
    if (q.fifo.empty()) {
        return nothing;
    }
    const SkbIndex skb = q.fifo.front();
    q.fifo.pop_front();
    --q.qlen;
    q.backlog -= k.skb(skb).qdisc_pkt_len;
    note_dequeued(k, skb, index, by);
    qdisc_bstats_update(k, index, skb);
    return skb;
}

SkbIndex qdisc_dequeue_peeked(Kernel& k, QdiscIndex index)
{
    Qdisc& q = qdisc(k, index);
    if (q.gso_skb.empty()) {
        return qdisc_ops(q.kind).dequeue(k, index);
    }
    const SkbIndex skb = q.gso_skb.front();
    q.gso_skb.pop_front();
    take_back(k, skb, q);
    note_dequeued(k, skb, index, fn::dequeue_skb);
    return skb;
}

void free_dropped(Kernel& k, SkbList& to_free, FunctionId by)
{
    if (to_free.empty()) {
        return;
    }
    const bool v5_10 = k.profile() == Profile::v5_10;
    Call call(k, v5_10 ? fn::kfree_skb_list : fn::kfree_skb_list_reason, k.skb(to_free.front()).packet);
    for (const SkbIndex skb : to_free) {
        if (k.profile() >= Profile::v6_12) {
            kfree_skb_bulk(k, skb, drop::QDISC_DROP, by);
        } else {
            kfree_skb_reason(k, skb, drop::QDISC_DROP, by);
        }
    }
    to_free.clear();
}

SkbIndex DequeueCall::found(SkbIndex skb)
{
    Lane& lane = kernel_.cpu().lane;
    if (skb != nothing && kernel_.trace.recording() && lane.holds(handle_.sequence)) {
        lane.at(handle_.sequence).packet = to_index(kernel_.skb(skb).packet);
    }
    return skb;
}

// ---- pfifo_fast -------------------------------------------------------------------------------------------------------------

void PtrRing::resize(std::uint32_t size)
{
    slots.assign(size, nothing);
    producer = consumer_head = consumer_tail = 0;
    batch = 64 * 2 / 8; // two cache lines of pointers
    if (batch > size / 2) {
        batch = 1;
    }
}

bool PtrRing::produce(std::int32_t value)
{
    if (slots.empty() || slots[producer] != nothing) {
        return false;
    }
    slots[producer] = value;
    producer = producer + 1 == slots.size() ? 0 : producer + 1;
    return true;
}

std::int32_t PtrRing::peek() const
{
    return slots.empty() ? nothing : slots[consumer_head];
}

std::int32_t PtrRing::consume()
{
    const std::int32_t value = peek();
    if (value == nothing) {
        return nothing;
    }
    // Slots are cleared a batch at a time, so that producer and consumer do not fight for a cache line.
    ++consumer_head;
    if (consumer_head - consumer_tail >= batch || consumer_head >= slots.size()) {
        std::fill(slots.begin() + consumer_tail, slots.begin() + consumer_head, nothing);
        consumer_tail = consumer_head;
    }
    if (consumer_head >= slots.size()) {
        consumer_head = consumer_tail = 0;
    }
    return value;
}

namespace {

int pfifo_fast_enqueue(Kernel& k, SkbIndex skb, QdiscIndex index, SkbList& to_free)
{
    Call call(k, fn::pfifo_fast_enqueue, skb);
    Qdisc& q = qdisc(k, index);
    if (!q.bands[prio2band[k.skb(skb).priority & 15]].produce(skb)) {
        return qdisc_drop(k, skb, index, to_free);
    }
    ++q.qlen;
    q.backlog += k.skb(skb).qdisc_pkt_len;
    note_enqueued(k, skb, index, fn::pfifo_fast_enqueue);
    return NET_XMIT_SUCCESS;
}

SkbIndex pfifo_fast_dequeue(Kernel& k, QdiscIndex index)
{
    DequeueCall call(k, fn::pfifo_fast_dequeue);
    Qdisc& q = qdisc(k, index);
    SkbIndex skb = nothing;
    for (PtrRing& band : q.bands) {
        skb = band.consume();
        if (skb != nothing) {
            break;
        }
    }
    if (skb == nothing) {
        q.missed = q.draining = false; // really empty: it may be bypassed again
        return nothing;
    }
    take_back(k, skb, q);
    note_dequeued(k, skb, index, fn::pfifo_fast_dequeue);
    qdisc_bstats_update(k, index, skb);
    return call.found(skb);
}

SkbIndex pfifo_fast_peek(Kernel& k, QdiscIndex index)
{
    for (const PtrRing& band : qdisc(k, index).bands) {
        if (const SkbIndex skb = band.peek(); skb != nothing) {
            return skb;
        }
    }
    return nothing;
}

void pfifo_fast_init(World& w, QdiscIndex index, const QdiscSpec&)
{
    Qdisc& sch = w.qdiscs[static_cast<std::size_t>(index)];
    sch.limit = w.devices[static_cast<std::size_t>(sch.device)].tx_queue_len;
    for (PtrRing& band : sch.bands) {
        band.resize(sch.limit);
    }
    sch.nolock = true;
    // 5.10 always enqueues and then runs the queue: its lock-less disciplines know no bypass.
    sch.can_bypass = w.profile != Profile::v5_10;
}

void pfifo_fast_reset(Kernel& k, QdiscIndex index, SkbList& to_free)
{
    for (PtrRing& band : qdisc(k, index).bands) {
        for (SkbIndex skb = band.consume(); skb != nothing; skb = band.consume()) {
            to_free.push_back(skb);
        }
    }
}

} // namespace

const Qdisc_ops pfifo_fast_ops{"pfifo_fast", pfifo_fast_enqueue, pfifo_fast_dequeue, pfifo_fast_peek, pfifo_fast_init, pfifo_fast_reset};

const Qdisc_ops& qdisc_ops(QdiscKind kind)
{
    static constexpr const Qdisc_ops* table[qdisc_kind_count] = {nullptr,         &pfifo_fast_ops,     &pfifo_qdisc_ops, &bfifo_qdisc_ops,
                                                                 &tbf_qdisc_ops, &fq_codel_qdisc_ops, nullptr};
    return *table[static_cast<std::size_t>(kind)];
}

} // namespace skbscope::kernel
