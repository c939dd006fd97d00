// net/sched/sch_fq_codel.c, include/net/codel_impl.h, include/net/codel.h: a flow each its own queue, served in turn; CoDel
// drops (or marks) at the head of a queue that has been slow for too long.

#include "core/kernel/sch.h"
#include "core/packet/build.h"
#include "core/packet/protocols.h"
#include "core/packet/views.h"

#include <algorithm>

namespace skbscope::kernel {

namespace {

constexpr int REC_INV_SQRT_SHIFT = 16;

CodelTime codel_get_time(Kernel& k) { return static_cast<CodelTime>(k.cpu().now.ns >> CODEL_SHIFT); }
bool codel_time_after(CodelTime a, CodelTime b) { return static_cast<std::int32_t>(a - b) > 0; }
bool codel_time_after_eq(CodelTime a, CodelTime b) { return static_cast<std::int32_t>(a - b) >= 0; }
bool codel_time_before(CodelTime a, CodelTime b) { return static_cast<std::int32_t>(a - b) < 0; }

std::uint32_t reciprocal_scale(std::uint32_t value, std::uint32_t range)
{
    return static_cast<std::uint32_t>((std::uint64_t{value} * range) >> 32);
}

/// include/net/inet_ecn.h: INET_ECN_set_ce. False: the packet's sender does not understand ECN.
bool INET_ECN_set_ce(Kernel& k, SkbIndex skb)
{
    if (k.skb(skb).protocol != proto::eth_p_ip || skb_network(k, skb).size() < 20) {
        return false;
    }
    const std::uint8_t ecn = skb_network(k, skb)[1] & 3;
    if (ecn == 0) {
        return false;
    }
    if (ecn != 3) {
        const auto header = skb_network_writable(k, skb);
        header[1] |= 3;
        fill_ipv4_checksum(header.first(std::min<std::size_t>(std::size_t{header[0] & 15U} * 4, header.size())));
    }
    return true;
}

// ---- CoDel ------------------------------------------------------------------------------------------------------------------

/// rec_inv_sqrt approximates 1/sqrt(count) in 16 bits: one Newton step nearer.
void codel_Newton_step(CodelVars& vars)
{
    const std::uint32_t invsqrt = std::uint32_t{vars.rec_inv_sqrt} << REC_INV_SQRT_SHIFT;
    const auto invsqrt2 = static_cast<std::uint32_t>((std::uint64_t{invsqrt} * invsqrt) >> 32);
    std::uint64_t value = (std::uint64_t{3} << 32) - std::uint64_t{vars.count} * invsqrt2;
    value >>= 2; // room for the multiplication
    value = (value * invsqrt) >> (32 - 2 + 1);
    vars.rec_inv_sqrt = static_cast<std::uint16_t>(value >> REC_INV_SQRT_SHIFT);
}

/// The next drop: interval / sqrt(count) later.
CodelTime codel_control_law(CodelTime t, CodelTime interval, std::uint16_t rec_inv_sqrt)
{
    return t + reciprocal_scale(interval, std::uint32_t{rec_inv_sqrt} << REC_INV_SQRT_SHIFT);
}

/// One flow of one qdisc while it is being dequeued.
struct Codel {
    Kernel& k;
    QdiscIndex sch;
    std::uint32_t index;

    Qdisc& q() { return qdisc(k, sch); }
    FqCodelFlow& flow() { return q().fq_codel.flows[index]; }
    CodelVars& vars() { return flow().vars; }
    const CodelParams& params() { return q().fq_codel.params; }
    CodelStats& stats() { return q().fq_codel.stats; }

    SkbIndex dequeue_func()
    {
        if (flow().packets.empty()) {
            return nothing;
        }
        const SkbIndex skb = flow().packets.front();
        flow().packets.pop_front();
        flow().backlog -= k.skb(skb).qdisc_pkt_len;
        q().fq_codel.memory_usage -= k.skb(skb).truesize;
        --q().qlen;
        q().backlog -= k.skb(skb).qdisc_pkt_len;
        note_dequeued(k, skb, sch, fn::fq_codel_dequeue);
        return skb;
    }

    void drop_func(SkbIndex skb)
    {
        qdisc_qstats_drop(k, sch, k.skb(skb).packet);
        stats().drop_len += k.skb(skb).qdisc_pkt_len;
        ++stats().drop_count;
        kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::fq_codel_dequeue);
    }

    bool codel_should_drop(SkbIndex skb, CodelTime now)
    {
        if (skb == nothing) {
            vars().first_above_time = 0;
            return false;
        }
        const std::uint32_t length = k.skb(skb).qdisc_pkt_len;
        vars().ldelay = now - k.skb(skb).codel_enqueue_time;
        stats().maxpacket = std::max(stats().maxpacket, length);
        if (codel_time_before(vars().ldelay, params().target) || q().backlog <= params().mtu) {
            vars().first_above_time = 0; // below: it must stay above for a whole interval again
            return false;
        }
        if (vars().first_above_time == 0) {
            vars().first_above_time = now + params().interval;
            return false;
        }
        return codel_time_after(now, vars().first_above_time);
    }

    bool mark_instead(SkbIndex skb)
    {
        if (!params().ecn || !INET_ECN_set_ce(k, skb)) {
            return false;
        }
        ++stats().ecn_mark;
        return true;
    }

    void schedule_next_drop(CodelTime from)
    {
        vars().drop_next = codel_control_law(from, params().interval, vars().rec_inv_sqrt);
    }

    /// In the dropping state, and it is time again: perhaps several times over.
    SkbIndex keep_dropping(SkbIndex skb, CodelTime now)
    {
        while (vars().dropping && codel_time_after_eq(now, vars().drop_next)) {
            ++vars().count;
            codel_Newton_step(vars());
            if (mark_instead(skb)) {
                schedule_next_drop(vars().drop_next);
                return skb;
            }
            drop_func(skb);
            skb = dequeue_func();
            if (codel_should_drop(skb, now)) {
                schedule_next_drop(vars().drop_next);
            } else {
                vars().dropping = false;
            }
        }
        return skb;
    }

    SkbIndex begin_dropping(SkbIndex skb, CodelTime now)
    {
        if (!mark_instead(skb)) {
            drop_func(skb);
            skb = dequeue_func();
            codel_should_drop(skb, now);
        }
        vars().dropping = true;
        // It was dropping a short while ago: go on at about that rate.
        const std::uint32_t delta = vars().count - vars().lastcount;
        if (delta > 1 && codel_time_before(now - vars().drop_next, 16 * params().interval)) {
            vars().count = delta;
            codel_Newton_step(vars());
        } else {
            vars().count = 1;
            vars().rec_inv_sqrt = 0xffff;
        }
        vars().lastcount = vars().count;
        schedule_next_drop(now);
        return skb;
    }

    SkbIndex codel_dequeue()
    {
        SkbIndex skb = dequeue_func();
        if (skb == nothing) {
            vars().first_above_time = 0;
            vars().dropping = false;
            return nothing;
        }
        const CodelTime now = codel_get_time(k);
        const bool drop = codel_should_drop(skb, now);
        if (vars().dropping) {
            if (!drop) {
                vars().dropping = false;
            } else if (codel_time_after_eq(now, vars().drop_next)) {
                skb = keep_dropping(skb, now);
            }
        } else if (drop) {
            skb = begin_dropping(skb, now);
        }
        if (skb != nothing && codel_time_after(vars().ldelay, params().ce_threshold) && INET_ECN_set_ce(k, skb)) {
            ++stats().ce_mark;
        }
        return skb;
    }
};

// ---- fair queueing ---------------------------------------------------------------------------------------------------------

/// The fattest flow loses half its backlog, at most a batch. Its index.
std::uint32_t fq_codel_drop(Kernel& k, QdiscIndex sch, SkbList& to_free)
{
    Qdisc& q = qdisc(k, sch);
    FqCodel& fq = q.fq_codel;
    std::uint32_t fattest = 0, most = 0;
    for (const auto& [index, flow] : fq.flows) {
        if (flow.backlog > most) {
            most = flow.backlog;
            fattest = index;
        }
    }
    FqCodelFlow& flow = fq.flows[fattest];
    std::uint32_t dropped = 0, length = 0;
    do {
        const SkbIndex skb = flow.packets.front();
        flow.packets.pop_front();
        length += k.skb(skb).qdisc_pkt_len;
        fq.memory_usage -= k.skb(skb).truesize;
        note_dequeued(k, skb, sch, fn::fq_codel_enqueue);
        qdisc_qstats_drop(k, sch, k.skb(skb).packet);
        to_free.push_back(skb);
    } while (++dropped < fq.drop_batch && length < most / 2 && !flow.packets.empty());
    flow.vars.count += dropped; // CoDel's signal gets stronger, too
    flow.backlog -= length;
    q.backlog -= length;
    q.qlen -= dropped;
    return fattest;
}

int fq_codel_enqueue(Kernel& k, SkbIndex skb, QdiscIndex sch, SkbList& to_free)
{
    Call call(k, fn::fq_codel_enqueue, skb);
    const std::uint32_t index = reciprocal_scale(skb_get_hash(k, skb), qdisc(k, sch).fq_codel.flows_count);
    Qdisc& q = qdisc(k, sch);
    FqCodel& fq = q.fq_codel;
    FqCodelFlow& flow = fq.flows[index];
    k.skb(skb).codel_enqueue_time = codel_get_time(k);
    flow.packets.push_back(skb);
    flow.backlog += k.skb(skb).qdisc_pkt_len;
    q.backlog += k.skb(skb).qdisc_pkt_len;
    note_enqueued(k, skb, sch, fn::fq_codel_enqueue);
    if (!flow.listed) {
        flow.listed = true;
        fq.new_flows.push_back(index);
        ++fq.new_flow_count;
        flow.deficit = static_cast<std::int32_t>(fq.quantum);
    }
    fq.memory_usage += k.skb(skb).truesize;
    const bool memory_limited = fq.memory_usage > fq.memory_limit;
    if (++q.qlen <= q.limit && !memory_limited) {
        return NET_XMIT_SUCCESS;
    }
    const std::uint32_t before = q.qlen;
    const std::uint32_t victim = fq_codel_drop(k, sch, to_free);
    const std::uint32_t dropped = before - q.qlen;
    fq.drop_overlimit += dropped;
    if (memory_limited) {
        fq.drop_overmemory += dropped;
    }
    return victim == index ? NET_XMIT_CN : NET_XMIT_SUCCESS;
}

/// Takes the flow at the head of the list off it and, with `old`, puts it at the end of the old ones.
void move_on(FqCodel& fq, Fifo<std::uint32_t>& list, bool old)
{
    const std::uint32_t index = list.front();
    list.pop_front();
    if (old) {
        fq.old_flows.push_back(index);
    } else {
        fq.flows[index].listed = false;
    }
}

SkbIndex __fq_codel_dequeue(Kernel& k, QdiscIndex sch)
{
    for (;;) {
        FqCodel& fq = qdisc(k, sch).fq_codel;
        const bool from_new = !fq.new_flows.empty();
        auto& list = from_new ? fq.new_flows : fq.old_flows;
        if (list.empty()) {
            return nothing;
        }
        const std::uint32_t index = list.front();
        if (fq.flows[index].deficit <= 0) {
            fq.flows[index].deficit += static_cast<std::int32_t>(fq.quantum);
            move_on(fq, list, true);
            continue;
        }
        const SkbIndex skb = Codel{k, sch, index}.codel_dequeue();
        if (skb == nothing) {
            move_on(fq, list, from_new && !fq.old_flows.empty()); // a turn with the old ones prevents starvation
            continue;
        }
        qdisc_bstats_update(k, sch, skb);
        qdisc(k, sch).fq_codel.flows[index].deficit -= static_cast<std::int32_t>(k.skb(skb).qdisc_pkt_len);
        return skb;
    }
}

SkbIndex fq_codel_dequeue(Kernel& k, QdiscIndex sch)
{
    DequeueCall call(k, fn::fq_codel_dequeue);
    const SkbIndex skb = __fq_codel_dequeue(k, sch);
    CodelStats& stats = qdisc(k, sch).fq_codel.stats;
    stats.drop_count = 0; // qdisc_tree_reduce_backlog() has told the parents
    stats.drop_len = 0;
    return call.found(skb);
}

SkbIndex fq_codel_peek(Kernel& k, QdiscIndex sch)
{
    if (qdisc(k, sch).gso_skb.empty()) {
        const SkbIndex skb = __fq_codel_dequeue(k, sch);
        if (skb == nothing) {
            return nothing;
        }
        Qdisc& q = qdisc(k, sch);
        q.gso_skb.push_front(skb);
        q.backlog += k.skb(skb).qdisc_pkt_len; // it is still part of the queue
        ++q.qlen;
        note_enqueued(k, skb, sch, fn::fq_codel_dequeue);
    }
    return qdisc(k, sch).gso_skb.front();
}

CodelTime codel_us(std::uint32_t us) { return static_cast<CodelTime>((std::uint64_t{us} * 1000) >> CODEL_SHIFT); }

void fq_codel_init(World& w, QdiscIndex index, const QdiscSpec& spec)
{
    constexpr std::uint32_t FQ_CODEL_QUANTUM_MAX = 1U << 20;
    Qdisc& sch = w.qdiscs[static_cast<std::size_t>(index)];
    FqCodel& fq = sch.fq_codel;
    const std::uint32_t psched_mtu = std::min(w.devices[static_cast<std::size_t>(sch.device)].mtu + 14, FQ_CODEL_QUANTUM_MAX);
    sch.limit = spec.limit.value_or(10 * 1024);
    fq.flows_count = spec.flows.value_or(1024);
    fq.quantum = spec.quantum ? std::max(256U, *spec.quantum) : std::max(256U, psched_mtu);
    fq.memory_limit = std::min(spec.memory_limit.value_or(32U << 20), 1U << 31);
    fq.drop_batch = std::max(1U, spec.drop_batch.value_or(64));
    fq.params.mtu = psched_mtu;
    fq.params.target = codel_us(spec.target_us.value_or(5000));
    fq.params.interval = codel_us(spec.interval_us.value_or(100'000));
    if (spec.ce_threshold_us) {
        fq.params.ce_threshold = codel_us(*spec.ce_threshold_us);
    }
    fq.params.ecn = spec.ecn;
    sch.can_bypass = sch.limit >= 1;
}

void fq_codel_reset(Kernel& k, QdiscIndex index, SkbList& to_free)
{
    FqCodel& fq = qdisc(k, index).fq_codel;
    for (auto& [row, flow] : fq.flows) {
        to_free.append(flow.packets.begin(), flow.packets.end());
    }
    fq.flows.clear();
    fq.new_flows.clear();
    fq.old_flows.clear();
    fq.memory_usage = 0;
}

} // namespace

const Qdisc_ops fq_codel_qdisc_ops{"fq_codel", fq_codel_enqueue, fq_codel_dequeue, fq_codel_peek, fq_codel_init, fq_codel_reset};

} // namespace skbscope::kernel
