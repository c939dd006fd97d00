// net/sched/sch_generic.c: pfifo_fast, and the loop that hands packets from a qdisc to the driver.

#include "core/kernel/functions.h"

#include <algorithm>

namespace skbscope::kernel {

namespace {

constexpr int NETDEV_TX_BUSY = 16;
/// prio2band of pfifo_fast: priority (from the TOS) to band.
constexpr std::uint8_t prio2band[16] = {1, 2, 2, 2, 1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};

void dev_requeue_skb(Kernel& k, SkbIndex skb, DeviceIndex device)
{
    Call call(k, fn::dev_requeue_skb, skb);
    Qdisc& q = k.device(device).qdisc;
    q.requeued.push_back(skb);
    ++q.requeues;
    k.count_device(device, DevStat::qdisc_requeues, k.skb(skb).packet);
    k.enqueue(q.queue, k.skb(skb).packet, fn::dev_requeue_skb);
    // A lock-less qdisc only sets MISSED here; whoever wakes the queue runs it again.
}

SkbIndex take(Qdisc& q)
{
    if (!q.requeued.empty()) {
        const SkbIndex skb = q.requeued.front();
        q.requeued.pop_front();
        return skb;
    }
    for (auto& band : q.bands) {
        if (!band.empty()) {
            const SkbIndex skb = band.front();
            band.pop_front();
            return skb;
        }
    }
    return nothing;
}

SkbIndex dequeue_skb(Kernel& k, DeviceIndex device)
{
    Qdisc& q = k.device(device).qdisc;
    if (netif_xmit_stopped(k, device)) {
        Call call(k, fn::dequeue_skb);
        return nothing; // the driver has no room: the queue keeps its packets
    }
    const SkbIndex skb = take(q);
    Call call(k, fn::dequeue_skb, skb);
    if (skb != nothing) {
        k.cpu().now = std::max(k.cpu().now, k.skb(skb).visible_from);
        k.dequeue(q.queue, k.skb(skb).packet, fn::pfifo_fast_dequeue);
    }
    return skb;
}

bool qdisc_restart(Kernel& k, DeviceIndex device)
{
    Call call(k, fn::qdisc_restart);
    const SkbIndex skb = dequeue_skb(k, device);
    return skb != nothing && sch_direct_xmit(k, skb, device);
}

} // namespace

bool pfifo_fast_enqueue(Kernel& k, SkbIndex skb, DeviceIndex device)
{
    Call call(k, fn::pfifo_fast_enqueue, skb);
    Qdisc& q = k.device(device).qdisc;
    auto& band = q.bands[prio2band[k.skb(skb).priority & 15]];
    if (band.size() >= q.limit) {
        ++q.drops;
        k.count_device(device, DevStat::qdisc_drops, k.skb(skb).packet);
        return false;
    }
    band.push_back(skb);
    k.skb(skb).visible_from = k.cpu().now + 1_ns;
    k.enqueue(q.queue, k.skb(skb).packet, fn::pfifo_fast_enqueue);
    return true;
}

bool sch_direct_xmit(Kernel& k, SkbIndex skb, DeviceIndex device)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::sch_direct_xmit, packet);
    skb = validate_xmit_skb_list(k, skb, device);
    int result = NETDEV_TX_BUSY;
    if (!netif_xmit_stopped(k, device)) {
        result = dev_hard_start_xmit(k, skb, device);
    }
    if (result == NETDEV_TX_BUSY) {
        dev_requeue_skb(k, skb, device);
        return false;
    }
    return true;
}

void __qdisc_run(Kernel& k, DeviceIndex device)
{
    Call call(k, fn::__qdisc_run);
    auto quota = k.core_sysctl().dev_weight;
    while (qdisc_restart(k, device)) {
        if (--quota <= 0) {
            __netif_schedule(k, device);
            break;
        }
    }
}

void qdisc_run(Kernel& k, DeviceIndex device)
{
    Call call(k, fn::qdisc_run);
    Qdisc& q = k.device(device).qdisc;
    if (q.running) {
        return; // qdisc_run_begin() failed: whoever runs it takes this packet along
    }
    q.running = true;
    __qdisc_run(k, device);
    q.running = false;
}

} // namespace skbscope::kernel
