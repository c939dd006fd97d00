// net/core/dev.c: the device layer. NAPI scheduling and polling, the backlog, the way up to the protocols, the way down
// to the driver.

#include "core/kernel/drivers/driver.h"
#include "core/kernel/sch.h"
#include "core/kernel/functions.h"
#include "core/kernel/ipv6.h"
#include "core/kernel/tcp_functions.h"
#include "core/packet/protocols.h"

#include <algorithm>
#include <bit>

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
    {proto::eth_p_ipv6, ipv6_rcv, ipv6_list_rcv},
    {proto::eth_p_arp, arp_rcv, nullptr},
};

const PacketType* find_packet_type(std::uint16_t type)
{
    const auto* found = std::ranges::find(packet_types, type, &PacketType::type);
    return found == std::end(packet_types) ? nullptr : found;
}

} // namespace

// ---- NAPI --------------------------------------------------------------------------------------------------------------------

namespace {

/// napi->gro_bitmask
bool gro_holds(const Napi& napi)
{
    return std::ranges::any_of(napi.gro_hash, [](const auto& list) { return !list.empty(); });
}

} // namespace

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
    // 6.12: net_rx_action() looks at its list once more before it ends.
    if (k.profile() >= Profile::v6_12 && k.cpu().in_net_rx_action) {
        return;
    }
    if (k.profile() == Profile::v5_10) {
        __raise_softirq_irqoff(k, NET_RX_SOFTIRQ);
    } else {
        raise_softirq_irqoff(k, NET_RX_SOFTIRQ);
    }
}

void __napi_schedule(Kernel& k, NapiIndex napi)
{
    Call call(k, fn::__napi_schedule);
    ____napi_schedule(k, napi);
}

bool napi_complete_done(Kernel& k, NapiIndex index, std::uint32_t work_done)
{
    Call call(k, fn::napi_complete_done);
    const NetDevice& device = k.device(k.napi(index).device);
    Duration timeout{0};
    bool enable_interrupt = true;
    if (work_done != 0) {
        if (gro_holds(k.napi(index))) {
            timeout = Duration{device.gro_flush_timeout};
        }
        k.napi(index).defer_hard_irqs_count = device.napi_defer_hard_irqs;
    }
    if (k.napi(index).defer_hard_irqs_count > 0) {
        --k.napi(index).defer_hard_irqs_count;
        timeout = Duration{device.gro_flush_timeout};
        enable_interrupt = timeout.ns == 0;
    }
    // With a timeout young packets may wait for more of their stream.
    napi_gro_flush(k, index, timeout.ns != 0);
    gro_normal_list(k, index);
    Napi& napi = k.napi(index);
    napi.scheduled = napi.missed;
    if (napi.missed) {
        napi.missed = false;
        __napi_schedule(k, index);
        return false;
    }
    if (timeout.ns != 0) {
        napi.watchdog = mod_timer(k, TimerKind::napi_watchdog, k.cpu_row, index, k.cpu().now + timeout);
    }
    return enable_interrupt;
}

/// gro_flush_timeout is over: it is polled without an interrupt.
void napi_watchdog(Kernel& k, NapiIndex index, std::uint64_t generation)
{
    if (k.napi(index).watchdog != generation) {
        return;
    }
    k.napi(index).watchdog = 0;
    Call call(k, fn::napi_watchdog);
    if (!k.napi(index).scheduled) {
        k.napi(index).scheduled = true;
        __napi_schedule(k, index);
    }
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
    run.net_rx.reset();
    run.net_rx.calls.push_back(k.open(fn::net_rx_action, PacketId::none));
    run.net_rx.budget = static_cast<std::int32_t>(k.core_sysctl().netdev_budget);
    const std::int64_t budget_jiffies = (k.core_sysctl().netdev_budget_usecs * 1000 + jiffy.ns - 1) / jiffy.ns; // usecs_to_jiffies()
    run.net_rx.time_limit = tick_of(jiffies(k.cpu().now) + budget_jiffies); // time_after_eq(jiffies, time_limit): at that tick
    std::swap(run.net_rx.list, k.cpu().poll_list);
    k.cpu().in_net_rx_action = k.profile() >= Profile::v6_12;
}

namespace {

void net_rps_send_ipi(Kernel& k)
{
    Call call(k, fn::net_rps_send_ipi);
    const auto targets = std::move(k.cpu().rps_ipi_list);
    k.cpu().rps_ipi_list.clear();
    const SimTime sent = k.cpu().now;
    for (auto row = targets.rbegin(); row != targets.rend(); ++row) { // the list is a stack
        Cpu& target = k.w.cpus[*row];
        kick(k, target, sent);
        k.interrupt(target, {PendingIrq::Kind::rps_ipi, target.backlog});
    }
}

/// Tells the CPUs whose backlogs this one has filled.
void net_rps_action_and_irq_enable(Kernel& k)
{
    Call call(k, fn::net_rps_action_and_irq_enable);
    if (!k.cpu().rps_ipi_list.empty()) {
        net_rps_send_ipi(k);
    }
}

void finish_net_rx_action(Kernel& k, SoftirqRun& run)
{
    k.close_all(run.net_rx.calls);
    run.phase = SoftirqRun::Phase::pick;
}

/// What is left is polled in the next round.
void leave_the_rest(Kernel& k, SoftirqRun& run)
{
    NetRxRun& rx = run.net_rx;
    Cpu& cpu = k.cpu();
    rx.list.insert(rx.list.end(), cpu.poll_list.begin(), cpu.poll_list.end());
    rx.list.insert(rx.list.end(), rx.repoll.begin(), rx.repoll.end());
    cpu.poll_list = std::move(rx.list);
    if (!cpu.poll_list.empty()) {
        __raise_softirq_irqoff(k, NET_RX_SOFTIRQ);
    } else {
        cpu.in_net_rx_action = false;
    }
    net_rps_action_and_irq_enable(k);
    finish_net_rx_action(k, run);
}

/// The list is empty. 6.12 looks whether somebody scheduled a NAPI meanwhile; the others leave that to the softirq raised then.
void list_is_done(Kernel& k, SoftirqRun& run)
{
    Cpu& cpu = k.cpu();
    const bool nothing_to_repoll = run.net_rx.repoll.empty();
    if (k.profile() >= Profile::v6_12 && nothing_to_repoll) {
        if (!cpu.poll_list.empty()) {
            run.net_rx.list = std::move(cpu.poll_list);
            cpu.poll_list.clear();
            return;
        }
        cpu.in_net_rx_action = false;
    }
    if (nothing_to_repoll && cpu.rps_ipi_list.empty()) {
        finish_net_rx_action(k, run);
        return;
    }
    leave_the_rest(k, run);
}

void begin_poll(Kernel& k, SoftirqRun& run)
{
    run.poll.reset();
    run.poll.napi = run.net_rx.list.front();
    run.net_rx.list.pop_front();
    run.poll.calls.push_back(k.open(fn::napi_poll, PacketId::none));
    if (k.profile() != Profile::v5_10) {
        run.poll.calls.push_back(k.open(fn::__napi_poll, PacketId::none));
    }
    napi_ops(k.napi(run.poll.napi).poll).begin(k, run.poll);
    run.phase = SoftirqRun::Phase::poll;
}

void end_poll(Kernel& k, SoftirqRun& run)
{
    PollRun& poll = run.poll;
    if (poll.work >= k.napi(poll.napi).weight) {
        napi_gro_flush(k, poll.napi); // HZ < 1000: all of it, not only what is old
        gro_normal_list(k, poll.napi);
        run.net_rx.repoll.push_back(poll.napi);
    }
    run.net_rx.budget -= static_cast<std::int32_t>(poll.work);
    k.close_all(poll.calls);
    run.phase = SoftirqRun::Phase::net_rx;
    if (run.net_rx.budget <= 0 || k.cpu().now >= run.net_rx.time_limit) {
        k.count_softnet(k.cpu_row, SoftnetStat::time_squeeze, PacketId::none);
        leave_the_rest(k, run);
    }
}

} // namespace

namespace {

/// What other CPUs have read and sent back here to be freed (6.1 and 6.12).
void skb_defer_free_flush(Kernel& k)
{
    Cpu& cpu = k.cpu();
    while (!cpu.defer_list.empty() && k.skb(cpu.defer_list.front()).visible_from <= cpu.now) {
        const SkbIndex skb = cpu.defer_list.front();
        cpu.defer_list.pop_front();
        napi_consume_skb(k, skb, fn::skb_defer_free_flush, 1);
    }
}

} // namespace

void step_net_rx_action(Kernel& k, SoftirqRun& run)
{
    if (run.phase != SoftirqRun::Phase::poll) {
        skb_defer_free_flush(k);
    }
    if (run.phase == SoftirqRun::Phase::poll) {
        if (napi_ops(k.napi(run.poll.napi).poll).step(k, run.poll)) {
            end_poll(k, run);
        }
        return;
    }
    if (run.net_rx.list.empty()) {
        list_is_done(k, run);
        return;
    }
    begin_poll(k, run);
}

// ---- RPS and the backlog ----------------------------------------------------------------------------------------------------

namespace {

/// rps_cpu_mask: the bits of a table's entry that name a CPU.
std::uint32_t rps_cpu_mask(const Host& host)
{
    return std::bit_ceil(host.cpus) - 1;
}

/// Where a packet goes: a CPU (row) or nothing, to stay here; with RFS also the flow whose tail is to be remembered.
struct RpsTarget {
    std::int32_t cpu = nothing;
    RpsDevFlow* flow = nullptr;
};

/// The CPU of the flow's reader, as soon as that brings no packet before an older one.
RpsTarget rfs_target(Kernel& k, NetdevRxQueue& queue, std::uint32_t hash)
{
    const Host& host = k.host();
    const auto& readers = host.rps_sock_flow_table;
    const std::uint32_t mask = rps_cpu_mask(host);
    const std::uint32_t ident = readers[hash & (readers.size() - 1)];
    if (((ident ^ hash) & ~mask) != 0) {
        return {};
    }
    const std::uint32_t next = ident & mask;
    RpsDevFlow& flow = queue.rps_flow_table[hash & (queue.rps_flow_table.size() - 1)];
    const auto is_cpu = [&](std::uint32_t cpu) { return cpu < host.cpus; };
    if (flow.cpu != next && (!is_cpu(flow.cpu) ||
                             static_cast<std::int32_t>(k.w.cpus[host.first_cpu + flow.cpu].input_queue_head - flow.last_qtail) >= 0)) {
        if (is_cpu(next)) { // set_rps_cpu()
            flow.last_qtail = k.w.cpus[host.first_cpu + next].input_queue_head;
        }
        flow.cpu = next;
    }
    if (!is_cpu(flow.cpu)) {
        return {};
    }
    return {static_cast<std::int32_t>(host.first_cpu + flow.cpu), &flow};
}

/// The CPU that RFS or else the RPS map of the receive queue names for this packet's flow.
RpsTarget get_rps_cpu(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::get_rps_cpu, skb);
    NetDevice& device = k.device(k.skb(skb).device);
    const std::int16_t recorded = k.skb(skb).rx_queue;
    const std::size_t row = recorded < 0 ? 0 : static_cast<std::size_t>(recorded);
    if (row >= device.rx_queues.size()) {
        return {};
    }
    NetdevRxQueue& queue = device.rx_queues[row];
    if (queue.rps_cpus.empty() && queue.rps_flow_table.empty()) {
        return {};
    }
    set_network_header(k, skb);
    const std::uint32_t hash = skb_get_hash(k, skb);
    if (hash == 0) {
        return {};
    }
    if (!queue.rps_flow_table.empty() && !k.host().rps_sock_flow_table.empty()) {
        if (const RpsTarget target = rfs_target(k, queue, hash); target.cpu != nothing) {
            return target;
        }
    }
    const auto& map = queue.rps_cpus;
    if (map.empty()) {
        return {};
    }
    return {static_cast<std::int32_t>(k.host_of(device).first_cpu + map[(std::uint64_t{hash} * map.size()) >> 32]), nullptr}; // reciprocal_scale
}

/// static_branch rps_needed: some receive queue of this host has a map, or there is a table of readers.
bool rps_needed(Kernel& k)
{
    return k.host().rps_needed || !k.host().rps_sock_flow_table.empty();
}

/// The backlog of a CPU has become busy: polled here, or that CPU is told at the end of this net_rx_action.
void napi_schedule_rps(Kernel& k, std::uint32_t target)
{
    Call call(k, fn::napi_schedule_rps);
    k.napi(k.w.cpus[target].backlog).scheduled = true;
    if (target == k.cpu_row) {
        ____napi_schedule(k, k.cpu().backlog);
        return;
    }
    k.cpu().rps_ipi_list.push_back(target);
    if (k.profile() < Profile::v6_12 || !k.cpu().in_net_rx_action) {
        __raise_softirq_irqoff(k, NET_RX_SOFTIRQ);
    }
}

/// Of one flow that has filled more than half of what came lately, once the queue is half full.
bool skb_flow_limit(Kernel& k, SkbIndex skb, std::size_t length)
{
    if (static_cast<std::int64_t>(length) < k.core_sysctl().netdev_max_backlog / 2) {
        return false;
    }
    FlowLimit& limit = k.cpu().flow_limit;
    const bool wanted = k.cpu().index < 63 && ((k.core_sysctl().flow_limit_cpu_bitmap >> k.cpu().index) & 1) != 0;
    if (!wanted) {
        limit = FlowLimit{};
        return false;
    }
    if (!limit.on()) {
        limit.turn_on(std::bit_floor(static_cast<std::size_t>(k.core_sysctl().flow_limit_table_len)));
    }
    Call call(k, fn::skb_flow_limit, skb);
    if (!limit.exceeded(skb_get_hash(k, skb))) {
        return false;
    }
    k.count_softnet(k.cpu_row, SoftnetStat::flow_limit_count, k.skb(skb).packet);
    return true;
}

int drop_at_backlog(Kernel& k, SkbIndex skb, std::uint32_t target, DropReasonId reason)
{
    const PacketId packet = k.skb(skb).packet;
    k.count_softnet(target, SoftnetStat::dropped, packet);
    k.count_device(k.skb(skb).device, DevStat::rx_dropped, packet);
    if (k.skb(skb).users > 1) { // a pktgen gives it back as if nothing had been: what became of it is said here
        k.drop(packet, reason, fn::enqueue_to_backlog);
    }
    kfree_skb_reason(k, skb, reason, fn::enqueue_to_backlog);
    return NET_RX_DROP;
}

int enqueue_to_backlog(Kernel& k, SkbIndex skb, std::uint32_t target_row, RpsDevFlow* flow = nullptr)
{
    Call call(k, fn::enqueue_to_backlog, skb, static_cast<std::uint32_t>(k.w.cpus[target_row].input_pkt_queue.size()));
    if (!k.device(k.skb(skb).device).up) {
        const bool named = k.profile() >= Profile::v6_12;
        return drop_at_backlog(k, skb, target_row, named ? drop::DEV_READY : drop::NOT_SPECIFIED);
    }
    const std::size_t length = k.w.cpus[target_row].input_pkt_queue.size();
    // Compare, then add: a limit of N lets N + 1 packets in (net/core/dev.c: qlen <= max_backlog).
    if (static_cast<std::int64_t>(length) > k.core_sysctl().netdev_max_backlog || skb_flow_limit(k, skb, length)) {
        return drop_at_backlog(k, skb, target_row, drop::CPU_BACKLOG);
    }
    if (length == 0 && !k.napi(k.w.cpus[target_row].backlog).scheduled) {
        napi_schedule_rps(k, target_row);
    }
    Cpu& target = k.w.cpus[target_row];
    target.input_pkt_queue.push_back(skb);
    ++target.input_queue_tail;
    if (flow != nullptr) {
        flow->last_qtail = target.input_queue_tail;
    }
    k.skb(skb).visible_from = k.cpu().now + 1_ns;
    k.enqueue(target.backlog_queue, k.skb(skb).packet, fn::enqueue_to_backlog);
    return NET_RX_SUCCESS;
}

int netif_rx_internal(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::netif_rx_internal, skb);
    if (!rps_needed(k)) {
        return enqueue_to_backlog(k, skb, k.cpu_row);
    }
    const RpsTarget target = get_rps_cpu(k, skb);
    return enqueue_to_backlog(k, skb, target.cpu == nothing ? k.cpu_row : static_cast<std::uint32_t>(target.cpu), target.flow);
}

} // namespace

void sock_rps_save_rxhash(Kernel& k, SocketIndex sk, SkbIndex skb)
{
    k.socket(sk).sk_rxhash = k.skb(skb).hash;
}

void sock_rps_record_flow(Kernel& k, SocketIndex index)
{
    auto& readers = k.host().rps_sock_flow_table;
    const Socket& sk = k.socket(index);
    const std::uint32_t hash = sk.sk_rxhash;
    if (readers.empty() || hash == 0 || (sk.kind == SocketKind::tcp && tcp_sk(k, index).state != TcpState::established)) {
        return;
    }
    readers[hash & (readers.size() - 1)] = (hash & ~rps_cpu_mask(k.host())) | k.cpu().index;
}

int __netif_rx(Kernel& k, SkbIndex skb)
{
    Call call(k, k.profile() == Profile::v5_10 ? fn::netif_rx : fn::__netif_rx, skb);
    return netif_rx_internal(k, skb);
}

void begin_process_backlog(Kernel& k, PollRun& poll)
{
    poll.calls.push_back(k.open(fn::process_backlog, PacketId::none));
    if (!k.cpu().rps_ipi_list.empty()) {
        net_rps_action_and_irq_enable(k); // better told now than at the end of net_rx_action
    }
    const Sysctls& sysctl = k.core_sysctl();
    k.napi(poll.napi).weight = static_cast<std::uint32_t>(std::clamp<std::int64_t>(sysctl.dev_weight * sysctl.dev_weight_rx_bias, 1, 1 << 30));
    poll.phase = PollRun::Phase::packets;
}

/// One packet of the private queue; when that is empty, it takes over what has come meanwhile.
bool step_process_backlog(Kernel& k, PollRun& poll)
{
    Cpu& cpu = k.cpu();
    if (cpu.process_queue.empty()) {
        if (cpu.input_pkt_queue.empty()) {
            k.napi(poll.napi).scheduled = false; // the backlog's NAPI has no owner lock: written plainly
            return true;
        }
        std::swap(cpu.process_queue, cpu.input_pkt_queue);
    }
    const SkbIndex skb = cpu.process_queue.front();
    cpu.process_queue.pop_front();
    cpu.now = std::max(cpu.now, k.skb(skb).visible_from);
    k.dequeue(cpu.backlog_queue, k.skb(skb).packet, fn::process_backlog);
    __netif_receive_skb(k, skb);
    ++k.cpu().input_queue_head;
    ++poll.work;
    return poll.work >= k.napi(poll.napi).weight;
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

/// net/core/timestamping.c: no PHY here stamps packets. Debian's 5.10 is built without CONFIG_NETWORK_PHY_TIMESTAMPING.
void skb_defer_rx_timestamp(Kernel& k, SkbIndex skb)
{
    if (k.profile() != Profile::v5_10) {
        Call call(k, fn::skb_defer_rx_timestamp, skb);
    }
}

} // namespace

void netif_receive_skb_list_internal(Kernel& k, SkbList list)
{
    Call call(k, fn::netif_receive_skb_list_internal);
    for (const SkbIndex skb : list) {
        skb_defer_rx_timestamp(k, skb);
    }
    if (rps_needed(k)) {
        SkbList here;
        for (const SkbIndex skb : list) {
            const RpsTarget target = get_rps_cpu(k, skb);
            if (target.cpu == nothing) {
                here.push_back(skb);
            } else {
                enqueue_to_backlog(k, skb, static_cast<std::uint32_t>(target.cpu), target.flow);
            }
        }
        list = std::move(here);
    }
    if (!list.empty()) {
        __netif_receive_skb_list(k, list);
    }
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

/// A packet of several segments that the device cannot cut itself: its pieces (net/core/dev.c: validate_xmit_skb).
SkbList gso_pieces(Kernel& k, SkbIndex skb, DeviceIndex device)
{
    Call call(k, fn::skb_gso_segment, skb);
    SkbList pieces = __skb_gso_segment(k, skb);
    if (pieces.empty()) {
        kfree_skb_reason(k, skb, drop::SKB_GSO_SEG, fn::validate_xmit_skb);
        return pieces;
    }
    for (const SkbIndex piece : pieces) {
        if (!k.device(device).tx_checksum) {
            k.spend(k.costs().copy(k.skb(piece).len));
            finish_checksum(k, piece);
        }
    }
    k.verdict(k.skb(skb).packet, Verdict::split, fn::validate_xmit_skb);
    consume_skb(k, skb, fn::validate_xmit_skb);
    return pieces;
}

SkbList validate_xmit_skb(Kernel& k, SkbIndex skb, DeviceIndex device)
{
    Call call(k, fn::validate_xmit_skb, k.skb(skb).packet);
    {
        Call features(k, fn::netif_skb_features, skb);
    }
    if (k.skb(skb).gso_size != 0 && !k.device(device).tso) {
        return gso_pieces(k, skb, device);
    }
    // skb_needs_linearize(): a device that cannot finish checksums cannot gather pages either (netdev_fix_features()).
    if (k.skb(skb).data_len != 0 && !k.device(device).tx_checksum) {
        __pskb_pull_tail(k, skb, k.skb(skb).data_len);
        k.skb(skb).nr_frags = 0;
    }
    if (k.skb(skb).ip_summed == IpSummed::partial) {
        Call help(k, fn::skb_csum_hwoffload_help, skb);
        if (!k.device(device).tx_checksum) {
            Call software(k, fn::skb_checksum_help, skb);
            k.spend(k.costs().copy(k.skb(skb).len));
            finish_checksum(k, skb);
        }
    }
    return {skb};
}

int xmit_one(Kernel& k, SkbIndex skb, DeviceIndex device, bool more)
{
    Call call(k, fn::xmit_one, skb);
    if (dev_nit_active(k, device)) {
        dev_queue_xmit_nit(k, skb, device);
    }
    Call start(k, fn::netdev_start_xmit, skb);
    Call inner(k, fn::__netdev_start_xmit, skb);
    k.cpu().xmit_more = more;
    return netdev_ops(k.device(device).kind).ndo_start_xmit(k, skb, device);
}

/// The queue that virtnet_set_affinity() gave this CPU in the XPS map: neighbouring CPUs share one.
std::uint16_t xps_queue(std::uint32_t cpu, std::uint32_t cpus, std::uint32_t queues)
{
    const std::uint32_t stride = std::max(cpus / queues, 1U);
    const std::uint32_t larger = cpus >= queues ? cpus % queues : 0; // so many groups have one CPU more
    const std::uint32_t in_larger = larger * (stride + 1);
    const std::uint32_t queue = cpu < in_larger ? cpu / (stride + 1) : larger + (cpu - in_larger) / stride;
    return static_cast<std::uint16_t>(queue % queues);
}

void netdev_core_pick_tx(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::netdev_core_pick_tx, skb);
    const auto queues = static_cast<std::uint32_t>(k.device(k.skb(skb).device).tx_queues.size());
    std::uint16_t queue = 0;
    if (queues > 1) {
        Call pick(k, fn::netdev_pick_tx, skb);
        queue = xps_queue(k.cpu().index, k.host().cpus, queues);
    }
    k.field(skb, SkbField::queue_mapping, k.skb(skb).queue_mapping, queue);
    k.skb(skb).queue_mapping = queue;
}

int dev_qdisc_enqueue(Kernel& k, SkbIndex skb, QdiscIndex q, SkbList& to_free)
{
    Call call(k, fn::dev_qdisc_enqueue, skb);
    return qdisc_ops(qdisc(k, q).kind).enqueue(k, skb, q, to_free) & NET_XMIT_MASK;
}

/// An empty qdisc that allows it is not entered at all. False: it must be.
bool bypass_qdisc(Kernel& k, SkbIndex skb, QdiscIndex q)
{
    const bool empty = qdisc(k, q).nolock ? nolock_qdisc_is_empty(qdisc(k, q)) : qdisc(k, q).qlen == 0;
    if (!qdisc(k, q).can_bypass || !empty || qdisc(k, q).running) {
        return false;
    }
    qdisc(k, q).running = true;
    qdisc_bstats_update(k, q, skb);
    if (sch_direct_xmit(k, {skb}, q, true) && (!qdisc(k, q).nolock || !nolock_qdisc_is_empty(qdisc(k, q)))) {
        __qdisc_run(k, q);
    }
    qdisc_run_end(k, q);
    return true;
}

int __dev_xmit_skb(Kernel& k, SkbIndex skb, QdiscIndex q)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::__dev_xmit_skb, packet);
    k.skb(skb).qdisc_pkt_len = k.skb(skb).len;
    if (bypass_qdisc(k, skb, q)) {
        return NET_XMIT_SUCCESS;
    }
    SkbList to_free;
    const int result = dev_qdisc_enqueue(k, skb, q, to_free);
    qdisc_run(k, q);
    free_dropped(k, to_free, fn::__dev_xmit_skb);
    return result;
}

} // namespace

SkbList validate_xmit_skb_list(Kernel& k, SkbList list, DeviceIndex device)
{
    Call call(k, fn::validate_xmit_skb_list, k.skb(list.front()).packet);
    SkbList valid;
    for (const SkbIndex skb : list) {
        for (const SkbIndex piece : validate_xmit_skb(k, skb, device)) {
            valid.push_back(piece);
        }
    }
    return valid;
}

int dev_hard_start_xmit(Kernel& k, SkbList& list, DeviceIndex device, std::uint32_t tx_queue)
{
    Call call(k, fn::dev_hard_start_xmit, k.skb(list.front()).packet);
    int result = NETDEV_TX_OK;
    while (!list.empty()) {
        result = xmit_one(k, list.front(), device, list.size() > 1);
        if (!dev_xmit_complete(result)) {
            return result;
        }
        list.erase(list.begin());
        if (!list.empty() && netdev_get_tx_queue(k, device, tx_queue).drv_xoff) {
            return NETDEV_TX_BUSY;
        }
    }
    return result; // that of the last: a veth's NET_XMIT_DROP reaches the sender
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
    const std::uint32_t tx_queue = k.skb(skb).queue_mapping;
    const QdiscIndex q = qdisc_of(k, device, tx_queue);
    if (qdisc(k, q).kind != QdiscKind::noqueue) {
        result = __dev_xmit_skb(k, skb, q);
    } else {
        SkbList list = validate_xmit_skb(k, skb, device);
        if (!list.empty()) {
            result = dev_hard_start_xmit(k, list, device, tx_queue);
        }
    }
    local_bh_enable(k);
    return result;
}

namespace {

void __netif_reschedule(Kernel& k, QdiscIndex q)
{
    qdisc(k, q).scheduled = true;
    Call call(k, fn::__netif_reschedule);
    k.cpu().output_queue.push_back(q);
    raise_softirq_irqoff(k, NET_TX_SOFTIRQ);
}

/// __netif_schedule() as its own file calls it: a call on 5.10, inlined by the compiler later.
void schedule_from_dev(Kernel& k, QdiscIndex q)
{
    if (k.profile() == Profile::v5_10) {
        __netif_schedule(k, q);
    } else if (!qdisc(k, q).scheduled) {
        __netif_reschedule(k, q);
    }
}

void netif_schedule_queue(Kernel& k, DeviceIndex device, std::uint32_t queue)
{
    Call call(k, fn::netif_schedule_queue);
    if (!netif_xmit_stopped(k, device, queue)) {
        schedule_from_dev(k, qdisc_of(k, device, queue));
    }
}

} // namespace

void __netif_schedule(Kernel& k, QdiscIndex q)
{
    Call call(k, fn::__netif_schedule);
    if (!qdisc(k, q).scheduled) { // else __QDISC_STATE_SCHED was set already
        __netif_reschedule(k, q);
    }
}

bool netif_xmit_stopped(Kernel& k, DeviceIndex device, std::uint32_t queue)
{
    return k.device(device).tx_queues[queue].stopped();
}

void netif_tx_stop_queue(Kernel& k, DeviceIndex device, std::uint32_t queue, PacketId packet)
{
    k.device(device).tx_queues[queue].drv_xoff = true;
    k.count_device(device, DevStat::tx_stopped, packet);
}

void netif_tx_wake_queue(Kernel& k, DeviceIndex device, std::uint32_t queue)
{
    Call call(k, fn::netif_tx_wake_queue);
    NetdevQueue& txq = k.device(device).tx_queues[queue];
    if (txq.drv_xoff) {
        txq.drv_xoff = false;
        schedule_from_dev(k, txq.qdisc);
    }
}

void netdev_tx_sent_queue(Kernel& k, DeviceIndex device, std::uint32_t queue, std::uint32_t bytes, PacketId packet)
{
    Call call(k, fn::netdev_sent_queue, packet);
    NetdevQueue& txq = k.device(device).tx_queues[queue];
    txq.dql.queued(bytes);
    if (txq.dql.avail() < 0) {
        txq.stack_xoff = true; // BQL: enough bytes lie in the ring
    }
}

void netdev_tx_completed_queue(Kernel& k, DeviceIndex device, std::uint32_t queue, std::uint32_t, std::uint32_t bytes)
{
    Call call(k, fn::netdev_completed_queue);
    if (bytes == 0) {
        return;
    }
    NetdevQueue& txq = k.device(device).tx_queues[queue];
    {
        Call limit(k, fn::dql_completed);
        txq.dql.completed(std::min(bytes, txq.dql.in_flight()), jiffies(k.cpu().now));
    }
    if (txq.dql.avail() < 0 || !txq.stack_xoff) {
        return;
    }
    txq.stack_xoff = false;
    netif_schedule_queue(k, device, queue);
}

void net_tx_action(Kernel& k)
{
    Call call(k, fn::net_tx_action);
    const auto completed = std::move(k.cpu().completion_queue);
    k.cpu().completion_queue.clear();
    for (std::size_t left = completed.size(); left-- > 0;) { // the list has the last in front
        __kfree_skb(k, completed[left], fn::net_tx_action);
    }
    const auto qdiscs = std::move(k.cpu().output_queue);
    k.cpu().output_queue.clear();
    for (const QdiscIndex q : qdiscs) {
        qdisc(k, q).scheduled = false;
        if (!qdisc(k, q).deactivated) {
            qdisc_run(k, q);
        }
    }
}

} // namespace skbscope::kernel
