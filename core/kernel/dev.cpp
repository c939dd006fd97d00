// net/core/dev.c: the device layer. NAPI scheduling and polling, the backlog, the way up to the protocols, the way down
// to the driver.

#include "core/kernel/functions.h"
#include "core/packet/protocols.h"

#include <algorithm>

namespace skbscope::kernel {

namespace {

/// ptype_base: who takes which Ethernet protocol. Both tables of the kernel (func and list_func) in one row.
struct PacketType {
    std::uint16_t type;
    void (*func)(Kernel&, SkbIndex);
    void (*list_func)(Kernel&, SkbList);
};

constexpr PacketType packet_types[] = {
    {proto::eth_p_ip, ip_rcv, ip_list_rcv},
    {proto::eth_p_arp, arp_rcv, nullptr},
};

const PacketType* find_packet_type(std::uint16_t type)
{
    const auto* found = std::ranges::find(packet_types, type, &PacketType::type);
    return found == std::end(packet_types) ? nullptr : found;
}

constexpr int NETDEV_TX_OK = 0;
constexpr int NETDEV_TX_BUSY = 16;

} // namespace

// ---- NAPI --------------------------------------------------------------------------------------------------------------------

bool napi_schedule_prep(Kernel& k, NapiIndex index)
{
    Call call(k, fn::napi_schedule_prep);
    Napi& napi = k.napi(index);
    if (napi.scheduled) {
        napi.missed = true;
        return false;
    }
    napi.scheduled = true;
    return true;
}

void ____napi_schedule(Kernel& k, NapiIndex napi)
{
    Call call(k, fn::____napi_schedule);
    k.cpu().poll_list.push_back(napi);
    raise_softirq_irqoff(k, NET_RX_SOFTIRQ);
}

void __napi_schedule(Kernel& k, NapiIndex napi)
{
    Call call(k, fn::__napi_schedule);
    ____napi_schedule(k, napi);
}

bool napi_complete_done(Kernel& k, NapiIndex index, std::uint32_t)
{
    Call call(k, fn::napi_complete_done);
    gro_normal_list(k, index);
    Napi& napi = k.napi(index);
    napi.scheduled = napi.missed;
    if (napi.missed) {
        napi.missed = false;
        __napi_schedule(k, index);
        return false;
    }
    return true;
}

/// The IPI of another CPU that put packets on this one's backlog.
void rps_trigger_softirq(Kernel& k, NapiIndex backlog)
{
    Call call(k, fn::rps_trigger_softirq);
    ____napi_schedule(k, backlog);
    k.count_softnet(k.cpu_row, SoftnetStat::received_rps, PacketId::none);
}

// ---- net_rx_action ---------------------------------------------------------------------------------------------------------

void begin_net_rx_action(Kernel& k, SoftirqRun& run)
{
    run.net_rx = NetRxRun{};
    run.net_rx.calls.push_back(k.open(fn::net_rx_action, PacketId::none));
    run.net_rx.budget = static_cast<std::int32_t>(k.core_sysctl().netdev_budget);
    run.net_rx.time_limit = k.cpu().now + Duration{k.core_sysctl().netdev_budget_usecs * 1000};
    run.net_rx.list = std::move(k.cpu().poll_list);
    k.cpu().poll_list.clear();
}

namespace {

void net_rps_action_and_irq_enable(Kernel& k)
{
    Call call(k, fn::net_rps_action_and_irq_enable);
}

void end_net_rx_action(Kernel& k, SoftirqRun& run, bool all_done)
{
    NetRxRun& rx = run.net_rx;
    if (!all_done) {
        auto& poll_list = k.cpu().poll_list;
        rx.list.insert(rx.list.end(), poll_list.begin(), poll_list.end());
        rx.list.insert(rx.list.end(), rx.repoll.begin(), rx.repoll.end());
        poll_list = std::move(rx.list);
        if (!poll_list.empty()) {
            __raise_softirq_irqoff(k, NET_RX_SOFTIRQ);
        }
        net_rps_action_and_irq_enable(k);
    }
    k.close_all(rx.calls);
    run.phase = SoftirqRun::Phase::pick;
}

bool step_driver(Kernel& k, PollRun& poll)
{
    return k.napi(poll.napi).device == nothing ? step_process_backlog(k, poll) : step_e1000_clean(k, poll);
}

void begin_poll(Kernel& k, SoftirqRun& run)
{
    run.poll = PollRun{};
    run.poll.napi = run.net_rx.list.front();
    run.net_rx.list.pop_front();
    run.poll.calls = {k.open(fn::napi_poll, PacketId::none), k.open(fn::__napi_poll, PacketId::none)};
    if (k.napi(run.poll.napi).device == nothing) {
        begin_process_backlog(k, run.poll);
    } else {
        begin_e1000_clean(k, run.poll);
    }
    run.phase = SoftirqRun::Phase::poll;
}

void end_poll(Kernel& k, SoftirqRun& run)
{
    PollRun& poll = run.poll;
    const Napi& napi = k.napi(poll.napi);
    if (poll.work >= napi.weight) {
        gro_normal_list(k, poll.napi);
        run.net_rx.repoll.push_back(poll.napi);
    }
    run.net_rx.budget -= static_cast<std::int32_t>(poll.work);
    k.close_all(poll.calls);
    run.phase = SoftirqRun::Phase::net_rx;
    if (run.net_rx.budget <= 0 || k.cpu().now >= run.net_rx.time_limit) {
        k.count_softnet(k.cpu_row, SoftnetStat::time_squeeze, PacketId::none);
        end_net_rx_action(k, run, false);
    }
}

} // namespace

void step_net_rx_action(Kernel& k, SoftirqRun& run)
{
    if (run.phase == SoftirqRun::Phase::poll) {
        if (step_driver(k, run.poll)) {
            end_poll(k, run);
        }
        return;
    }
    if (run.net_rx.list.empty()) {
        end_net_rx_action(k, run, run.net_rx.repoll.empty() && k.cpu().poll_list.empty());
        return;
    }
    begin_poll(k, run);
}

// ---- the backlog ------------------------------------------------------------------------------------------------------------

namespace {

void napi_schedule_rps(Kernel& k, Cpu& target)
{
    Call call(k, fn::napi_schedule_rps);
    Napi& napi = k.napi(target.backlog);
    napi.scheduled = true;
    ____napi_schedule(k, target.backlog);
}

void enqueue_to_backlog(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::enqueue_to_backlog, skb);
    Cpu& target = k.cpu(); // without RPS: this CPU
    const auto length = static_cast<std::int64_t>(target.input_pkt_queue.size());
    // Compare, then add: a limit of N lets N + 1 packets in (net/core/dev.c: qlen <= max_backlog).
    if (length > k.core_sysctl().netdev_max_backlog) {
        k.count_softnet(k.cpu_row, SoftnetStat::dropped, k.skb(skb).packet);
        k.count_device(k.skb(skb).device, DevStat::rx_dropped, k.skb(skb).packet);
        kfree_skb_reason(k, skb, drop::CPU_BACKLOG, fn::enqueue_to_backlog);
        return;
    }
    target.input_pkt_queue.push_back(skb);
    k.skb(skb).visible_from = k.cpu().now + 1_ns;
    k.enqueue(target.backlog_queue, k.skb(skb).packet, fn::enqueue_to_backlog);
    if (length == 0 && !k.napi(target.backlog).scheduled) {
        napi_schedule_rps(k, target);
    }
}

void netif_rx_internal(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::netif_rx_internal, skb);
    enqueue_to_backlog(k, skb);
}

} // namespace

void __netif_rx(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::__netif_rx, skb);
    netif_rx_internal(k, skb);
}

void begin_process_backlog(Kernel& k, PollRun& poll)
{
    poll.calls.push_back(k.open(fn::process_backlog, PacketId::none));
    poll.phase = PollRun::Phase::packets;
}

bool step_process_backlog(Kernel& k, PollRun& poll)
{
    Cpu& cpu = k.cpu();
    Napi& napi = k.napi(poll.napi);
    const auto quota = static_cast<std::uint32_t>(k.core_sysctl().dev_weight);
    if (poll.process_queue.empty()) {
        if (cpu.input_pkt_queue.empty() || poll.work >= quota) {
            if (poll.work < quota) {
                napi.scheduled = false; // the backlog's NAPI has no owner lock: written plainly
            }
            return true;
        }
        poll.process_queue = std::move(cpu.input_pkt_queue);
        cpu.input_pkt_queue.clear();
    }
    const SkbIndex skb = poll.process_queue.front();
    poll.process_queue.pop_front();
    cpu.now = std::max(cpu.now, k.skb(skb).visible_from);
    k.dequeue(cpu.backlog_queue, k.skb(skb).packet, fn::process_backlog);
    __netif_receive_skb(k, skb);
    ++poll.work;
    if (poll.work >= quota && !poll.process_queue.empty()) {
        // The rest goes back in front, still in order.
        cpu.input_pkt_queue.insert(cpu.input_pkt_queue.begin(), poll.process_queue.begin(), poll.process_queue.end());
        poll.process_queue.clear();
    }
    return poll.work >= quota;
}

// ---- receive: up to the protocols --------------------------------------------------------------------------------------------

namespace {

/// Who takes the packet: a protocol, or, if no protocol wants it, the last tap. Neither: nobody, and it is gone.
struct Taker {
    const PacketType* type = nullptr;
    std::int32_t tap = nothing;
    [[nodiscard]] bool somebody() const { return type != nullptr || tap != nothing; }
    bool operator==(const Taker&) const = default;
};

Taker __netif_receive_skb_core(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::__netif_receive_skb_core, skb, k.skb(skb).len);
    k.count_softnet(k.cpu_row, SoftnetStat::processed, k.skb(skb).packet);
    // reset_network_header(): the driver's eth_type_trans() has pulled the Ethernet header off.
    set_network_header(k, skb);
    const std::int32_t tap = deliver_to_taps(k, skb);
    const PacketType* type = find_packet_type(k.skb(skb).protocol);
    if (tap != nothing) {
        if (type == nullptr) {
            return {nullptr, tap}; // seen by a tap, so it is no drop, whoever else lacks
        }
        deliver_skb(k, skb, tap);
    }
    if (type == nullptr) {
        k.count_device(k.skb(skb).device, DevStat::rx_dropped, k.skb(skb).packet);
        kfree_skb_reason(k, skb, drop::UNHANDLED_PROTO, fn::__netif_receive_skb_core);
    }
    return {type, nothing};
}

void __netif_receive_skb_list_ptype(Kernel& k, SkbList list, const Taker& taker)
{
    if (!taker.somebody() || list.empty()) {
        return;
    }
    Call call(k, fn::__netif_receive_skb_list_ptype);
    const PacketType* type = taker.type;
    if (type == nullptr) {
        for (const SkbIndex skb : list) {
            packet_tap(k, skb, taker.tap);
        }
        return;
    }
    if (type->list_func != nullptr) {
        type->list_func(k, std::move(list));
        return;
    }
    for (const SkbIndex skb : list) {
        type->func(k, skb);
    }
}

void __netif_receive_skb_list_core(Kernel& k, const SkbList& list)
{
    Call call(k, fn::__netif_receive_skb_list_core);
    Taker current;
    SkbList sublist;
    for (const SkbIndex skb : list) {
        const Taker type = __netif_receive_skb_core(k, skb);
        if (!type.somebody()) {
            continue;
        }
        if (type != current) {
            __netif_receive_skb_list_ptype(k, std::move(sublist), current);
            sublist = {};
            current = type;
        }
        sublist.push_back(skb);
    }
    __netif_receive_skb_list_ptype(k, std::move(sublist), current);
}

void __netif_receive_skb_list(Kernel& k, const SkbList& list)
{
    Call call(k, fn::__netif_receive_skb_list);
    __netif_receive_skb_list_core(k, list);
}

} // namespace

void netif_receive_skb_list_internal(Kernel& k, SkbList list)
{
    Call call(k, fn::netif_receive_skb_list_internal);
    __netif_receive_skb_list(k, list);
}

void __netif_receive_skb(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::__netif_receive_skb, skb);
    Call one(k, fn::__netif_receive_skb_one_core, skb);
    const Taker taker = __netif_receive_skb_core(k, skb);
    if (taker.type != nullptr) {
        taker.type->func(k, skb);
    } else if (taker.tap != nothing) {
        packet_tap(k, skb, taker.tap);
    }
}

// ---- transmit: down to the driver --------------------------------------------------------------------------------------------

namespace {

SkbIndex validate_xmit_skb(Kernel& k, SkbIndex skb, DeviceIndex device)
{
    Call call(k, fn::validate_xmit_skb, skb);
    {
        Call features(k, fn::netif_skb_features, skb);
    }
    if (k.skb(skb).ip_summed == IpSummed::partial) {
        Call help(k, fn::skb_csum_hwoffload_help, skb);
        if (!k.device(device).tx_checksum) {
            Call software(k, fn::skb_checksum_help, skb);
            k.spend(k.w.costs.copy(k.skb(skb).len));
            finish_checksum(k, skb);
        }
    }
    return skb;
}

int xmit_one(Kernel& k, SkbIndex skb, DeviceIndex device)
{
    Call call(k, fn::xmit_one, skb);
    if (dev_nit_active(k, device)) {
        dev_queue_xmit_nit(k, skb, device);
    }
    Call start(k, fn::netdev_start_xmit, skb);
    Call inner(k, fn::__netdev_start_xmit, skb);
    return k.device(device).kind == DeviceKind::loopback ? loopback_xmit(k, skb, device) : e1000_xmit_frame(k, skb, device);
}

void netdev_core_pick_tx(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::netdev_core_pick_tx, skb);
    // One queue: dev->real_num_tx_queues == 1, netdev_pick_tx() is not asked.
}

int __dev_xmit_skb(Kernel& k, SkbIndex skb, DeviceIndex device)
{
    Call call(k, fn::__dev_xmit_skb, skb);
    Qdisc& q = k.device(device).qdisc;
    // pfifo_fast is TCQ_F_NOLOCK | TCQ_F_CAN_BYPASS: an empty one is not entered at all.
    if (q.length() == 0 && !q.running) {
        q.running = true;
        const bool go_on = sch_direct_xmit(k, skb, device);
        if (go_on && q.length() > 0) {
            __qdisc_run(k, device);
        }
        q.running = false;
        return NETDEV_TX_OK;
    }
    bool queued = false;
    {
        Call enqueue(k, fn::dev_qdisc_enqueue, skb);
        queued = pfifo_fast_enqueue(k, skb, device);
    }
    qdisc_run(k, device);
    if (!queued) {
        kfree_skb_reason(k, skb, drop::QDISC_DROP, fn::__dev_xmit_skb);
        return 1; // NET_XMIT_DROP
    }
    return NETDEV_TX_OK;
}

} // namespace

SkbIndex validate_xmit_skb_list(Kernel& k, SkbIndex skb, DeviceIndex device)
{
    Call call(k, fn::validate_xmit_skb_list, skb);
    return validate_xmit_skb(k, skb, device);
}

int dev_hard_start_xmit(Kernel& k, SkbIndex skb, DeviceIndex device)
{
    Call call(k, fn::dev_hard_start_xmit, skb);
    return xmit_one(k, skb, device);
}

int dev_queue_xmit(Kernel& k, SkbIndex skb)
{
    const PacketId packet = k.skb(skb).packet;
    Call outer(k, fn::dev_queue_xmit, packet);
    Call call(k, fn::__dev_queue_xmit, packet, k.skb(skb).len);
    const DeviceIndex device = k.skb(skb).device;
    set_mac_header(k, skb);
    local_bh_disable(k);
    netdev_core_pick_tx(k, skb);
    int result = NETDEV_TX_OK;
    if (k.device(device).qdisc.noqueue) {
        skb = validate_xmit_skb(k, skb, device);
        result = dev_hard_start_xmit(k, skb, device);
    } else {
        result = __dev_xmit_skb(k, skb, device);
    }
    local_bh_enable(k);
    return result;
}

void __netif_schedule(Kernel& k, DeviceIndex device)
{
    Qdisc& q = k.device(device).qdisc;
    if (q.scheduled) {
        return; // __QDISC_STATE_SCHED was set already
    }
    q.scheduled = true;
    Call call(k, fn::__netif_schedule);
    Call inner(k, fn::__netif_reschedule);
    k.cpu().output_queue.push_back(device);
    raise_softirq_irqoff(k, NET_TX_SOFTIRQ);
}

void netif_wake_queue(Kernel& k, DeviceIndex device)
{
    Call call(k, fn::netif_wake_queue);
    k.device(device).e1000.stopped = false;
    __netif_schedule(k, device);
}

void net_tx_action(Kernel& k)
{
    Call call(k, fn::net_tx_action);
    auto devices = std::move(k.cpu().output_queue);
    k.cpu().output_queue.clear();
    for (const DeviceIndex device : devices) {
        k.device(device).qdisc.scheduled = false;
        qdisc_run(k, device);
    }
}

} // namespace skbscope::kernel
