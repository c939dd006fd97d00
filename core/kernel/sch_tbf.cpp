// net/sched/sch_tbf.c: a token bucket in front of an inner queue. Tokens are time: a packet costs the time that it takes at
// the rate. What the bucket cannot pay for waits for the watchdog.

#include "core/kernel/sch.h"

#include <algorithm>

namespace skbscope::kernel {

namespace {

QdiscIndex inner(Kernel& k, QdiscIndex sch) { return qdisc(k, sch).children.front(); }

int tbf_enqueue(Kernel& k, SkbIndex skb, QdiscIndex sch, SkbList& to_free)
{
    Call call(k, fn::tbf_enqueue, skb);
    const std::uint32_t length = k.skb(skb).qdisc_pkt_len;
    const PacketId packet = k.skb(skb).packet;
    if (length > qdisc(k, sch).tbf.burst) {
        return qdisc_drop(k, skb, sch, to_free);
    }
    const QdiscIndex child = inner(k, sch);
    const int result = qdisc_ops(qdisc(k, child).kind).enqueue(k, skb, child, to_free);
    if (result != NET_XMIT_SUCCESS) {
        if ((result & NET_XMIT_MASK) != 0) { // net_xmit_drop_count()
            qdisc_qstats_drop(k, sch, packet);
        }
        return result;
    }
    qdisc(k, sch).backlog += length;
    ++qdisc(k, sch).qlen;
    return NET_XMIT_SUCCESS;
}

/// The tokens left after that packet, rate and peak rate; negative: it must wait that long.
struct Tokens {
    std::int64_t rate, peak;
};

Tokens tokens_after(const Tbf& q, std::int64_t now, std::uint32_t length)
{
    std::int64_t tokens = std::min(now - q.t_c, q.buffer);
    std::int64_t ptokens = 0;
    if (q.peak.rate_bytes_ps != 0) {
        ptokens = std::min(tokens + q.ptokens, q.mtu) - q.peak.l2t_ns(length);
    }
    tokens = std::min(tokens + q.tokens, q.buffer) - q.rate.l2t_ns(length);
    return {tokens, ptokens};
}

SkbIndex tbf_dequeue(Kernel& k, QdiscIndex sch)
{
    DequeueCall call(k, fn::tbf_dequeue);
    const QdiscIndex child = inner(k, sch);
    const SkbIndex head = qdisc_ops(qdisc(k, child).kind).peek(k, child);
    if (head == nothing) {
        return nothing;
    }
    const auto now = static_cast<std::int64_t>(k.cpu().now.ns);
    const std::uint32_t length = k.skb(head).qdisc_pkt_len;
    const Tokens left = tokens_after(qdisc(k, sch).tbf, now, length);
    if (left.rate < 0 || left.peak < 0) {
        qdisc_watchdog_schedule_ns(k, sch, now + std::max(-left.rate, -left.peak));
        qdisc_qstats_overlimit(k, sch, k.skb(head).packet);
        return nothing;
    }
    const SkbIndex skb = qdisc_dequeue_peeked(k, child);
    if (skb == nothing) {
        return nothing;
    }
    Qdisc& q = qdisc(k, sch);
    q.tbf.t_c = now;
    q.tbf.tokens = left.rate;
    q.tbf.ptokens = left.peak;
    q.backlog -= length;
    --q.qlen;
    qdisc_bstats_update(k, sch, skb);
    return call.found(skb);
}

SkbIndex tbf_peek(Kernel& k, QdiscIndex sch) // qdisc_peek_dequeued
{
    Qdisc& q = qdisc(k, sch);
    if (q.gso_skb.empty()) {
        const SkbIndex skb = tbf_dequeue(k, sch);
        if (skb == nothing) {
            return nothing;
        }
        qdisc(k, sch).gso_skb.push_front(skb);
        qdisc(k, sch).backlog += k.skb(skb).qdisc_pkt_len;
        ++qdisc(k, sch).qlen;
    }
    return qdisc(k, sch).gso_skb.front();
}

void tbf_init(World& w, QdiscIndex index, const QdiscSpec& spec)
{
    Qdisc& sch = w.qdiscs[static_cast<std::size_t>(index)];
    Tbf& q = sch.tbf;
    q.rate.set(spec.rate);
    q.burst = spec.burst;
    q.buffer = q.rate.l2t_ns(q.burst);
    if (spec.peakrate != 0) {
        q.peak.set(spec.peakrate);
        q.mtu_bytes = spec.mtu;
        q.mtu = q.peak.l2t_ns(spec.mtu);
        q.burst = std::min(q.burst, spec.mtu); // max_size: the smaller of the two depths
    }
    sch.limit = spec.limit.value_or(0);
    q.tokens = q.buffer;
    q.ptokens = q.mtu;
    q.t_c = static_cast<std::int64_t>(w.now.ns);
}

void tbf_reset(Kernel& k, QdiscIndex index, SkbList&)
{
    Tbf& q = qdisc(k, index).tbf; // its inner qdisc is reset by the caller
    q.t_c = static_cast<std::int64_t>(k.cpu().now.ns);
    q.tokens = q.buffer;
    q.ptokens = q.mtu;
}

} // namespace

void Ratecfg::set(std::uint64_t bytes_per_second)
{
    rate_bytes_ps = bytes_per_second;
    mult = 1;
    shift = 0;
    if (bytes_per_second == 0) {
        return;
    }
    // The largest mult that keeps (length * mult) >> shift exact: net/sched/sch_generic.c: psched_ratecfg_precompute__
    std::uint64_t factor = 1'000'000'000;
    for (;;) {
        mult = static_cast<std::uint32_t>(factor / bytes_per_second);
        if ((mult & (1U << 31)) != 0 || (factor & (std::uint64_t{1} << 63)) != 0) {
            return;
        }
        factor <<= 1;
        ++shift;
    }
}

const Qdisc_ops tbf_qdisc_ops{"tbf", tbf_enqueue, tbf_dequeue, tbf_peek, tbf_init, tbf_reset};

} // namespace skbscope::kernel
