// net/sched/sch_fifo.c: pfifo counts packets, bfifo bytes.

#include "core/kernel/sch.h"

namespace skbscope::kernel {

namespace {

int pfifo_enqueue(Kernel& k, SkbIndex skb, QdiscIndex sch, SkbList& to_free)
{
    Call call(k, fn::pfifo_enqueue, skb);
    if (qdisc(k, sch).qlen < qdisc(k, sch).limit) {
        return qdisc_enqueue_tail(k, skb, sch, fn::pfifo_enqueue);
    }
    return qdisc_drop(k, skb, sch, to_free);
}

int bfifo_enqueue(Kernel& k, SkbIndex skb, QdiscIndex sch, SkbList& to_free)
{
    Call call(k, fn::bfifo_enqueue, skb);
    if (std::uint64_t{qdisc(k, sch).backlog} + k.skb(skb).qdisc_pkt_len <= qdisc(k, sch).limit) {
        return qdisc_enqueue_tail(k, skb, sch, fn::bfifo_enqueue);
    }
    return qdisc_drop(k, skb, sch, to_free);
}

SkbIndex fifo_dequeue(Kernel& k, QdiscIndex sch)
{
    return qdisc_dequeue_head(k, sch, fn::dequeue_skb);
}

SkbIndex qdisc_peek_head(Kernel& k, QdiscIndex sch)
{
    return qdisc(k, sch).fifo.empty() ? nothing : qdisc(k, sch).fifo.front();
}

void fifo_init(World& w, QdiscIndex index, const QdiscSpec& spec)
{
    Qdisc& sch = w.qdiscs[static_cast<std::size_t>(index)];
    const NetDevice& device = w.devices[static_cast<std::size_t>(sch.device)];
    const std::uint32_t psched_mtu = device.mtu + 14;
    const bool is_bfifo = sch.kind == QdiscKind::bfifo;
    sch.limit = spec.limit.value_or(is_bfifo ? device.tx_queue_len * psched_mtu : device.tx_queue_len);
    sch.can_bypass = is_bfifo ? sch.limit >= psched_mtu : sch.limit >= 1;
}

void qdisc_reset_queue(Kernel& k, QdiscIndex index, SkbList& to_free)
{
    Qdisc& sch = qdisc(k, index);
    to_free.append(sch.fifo.begin(), sch.fifo.end());
    sch.fifo.clear();
}

} // namespace

const Qdisc_ops pfifo_qdisc_ops{"pfifo", pfifo_enqueue, fifo_dequeue, qdisc_peek_head, fifo_init, qdisc_reset_queue};
const Qdisc_ops bfifo_qdisc_ops{"bfifo", bfifo_enqueue, fifo_dequeue, qdisc_peek_head, fifo_init, qdisc_reset_queue};

} // namespace skbscope::kernel
