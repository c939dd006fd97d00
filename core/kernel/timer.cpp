// kernel/time/timer.c, kernel/time/hrtimer.c: what is due at a time, on which CPU, and whose handler then runs. A timer is
// stopped by forgetting its generation: its handler finds that it is not the remembered one.

#include "core/kernel/functions.h"
#include "core/kernel/ipv6.h"
#include "core/kernel/sch.h"

namespace skbscope::kernel {

namespace {

bool is_tcp(TimerKind kind)
{
    return kind == TimerKind::tcp_write || kind == TimerKind::tcp_delack || kind == TimerKind::tcp_keepalive || kind == TimerKind::tcp_time_wait ||
           kind == TimerKind::tcp_compressed_ack;
}

bool is_hard(TimerKind kind)
{
    return kind == TimerKind::qdisc_watchdog || kind == TimerKind::napi_watchdog || kind == TimerKind::coalesce;
}

Fifo<ExpiredTimer>& expired(Cpu& cpu, TimerKind kind)
{
    return is_hard(kind) ? cpu.expired_hard : kind == TimerKind::tcp_compressed_ack ? cpu.expired_hrsoft : cpu.expired_soft;
}

/// Each handler ignores a generation that its owner does not remember.
void run_timer(Kernel& k, const ExpiredTimer& timer)
{
    switch (timer.kind) {
    case TimerKind::neighbour: neigh_timer_handler(k, timer.index, timer.generation); break;
    case TimerKind::packet_ring: prb_retire_rx_blk_timer_expired(k, timer.index, timer.generation); break;
    case TimerKind::qdisc_watchdog: qdisc_watchdog(k, timer.index, timer.generation); break;
    case TimerKind::napi_watchdog: napi_watchdog(k, timer.index, timer.generation); break;
    case TimerKind::ip6_frag_expire: ip6_frag_expire(k, timer.index, timer.generation); break;
    case TimerKind::ip_expire: ip_expire(k, timer.index, timer.generation); break;
    case TimerKind::tcp_write: tcp_write_timer(k, timer.index, timer.generation); break;
    case TimerKind::tcp_delack: tcp_delack_timer(k, timer.index, timer.generation); break;
    case TimerKind::tcp_keepalive: tcp_keepalive_timer(k, timer.index, timer.generation); break;
    case TimerKind::tcp_time_wait: tw_timer_handler(k, timer.index, timer.generation); break;
    case TimerKind::tcp_compressed_ack: tcp_compressed_ack_kick(k, timer.index, timer.generation); break;
    case TimerKind::conntrack:
    case TimerKind::coalesce: break; // nobody arms these yet
    }
}

} // namespace

std::uint64_t mod_timer(Kernel& k, TimerKind kind, std::uint32_t cpu_row, std::int32_t index, SimTime at, std::uint64_t argument)
{
    DeviceEvent event;
    event.kind = DeviceEvent::Kind::timer;
    event.at = at;
    event.index = index;
    event.timer = kind;
    event.cpu = cpu_row;
    event.argument = argument;
    const std::uint64_t generation = k.w.next_order; // what schedule() gives it
    k.schedule(std::move(event));
    return generation;
}

void timer_expires(Kernel& k, const DeviceEvent& event)
{
    if (is_tcp(event.timer) && tcp_timer_is_stale(k.w, event)) {
        return; // deleted or put off: the kernel would have taken it out
    }
    Cpu& cpu = k.w.cpus[event.cpu];
    const bool interrupt_is_coming = !cpu.expired_hard.empty() || !cpu.expired_hrsoft.empty() || !cpu.expired_soft.empty();
    expired(cpu, event.timer).push_back({event.timer, event.index, event.argument, event.order});
    if (interrupt_is_coming) {
        return;
    }
    kick(k, cpu, event.at);
    k.interrupt(cpu, {PendingIrq::Kind::timer, nothing});
}

void run_hrtimers(Kernel& k)
{
    while (!k.cpu().expired_hard.empty()) {
        const ExpiredTimer timer = k.cpu().expired_hard.front();
        k.cpu().expired_hard.pop_front();
        run_timer(k, timer);
    }
}

void run_timer_softirq(Kernel& k)
{
    Call call(k, fn::run_timer_softirq);
    while (!k.cpu().expired_soft.empty()) {
        const ExpiredTimer timer = k.cpu().expired_soft.front();
        k.cpu().expired_soft.pop_front();
        Call handler(k, fn::call_timer_fn);
        run_timer(k, timer);
    }
}

void hrtimer_run_softirq(Kernel& k)
{
    Call call(k, fn::hrtimer_run_softirq);
    while (!k.cpu().expired_hrsoft.empty()) {
        const ExpiredTimer timer = k.cpu().expired_hrsoft.front();
        k.cpu().expired_hrsoft.pop_front();
        run_timer(k, timer);
    }
}

bool is_background(const World& world, const DeviceEvent& event)
{
    if (event.kind != DeviceEvent::Kind::timer) {
        return false;
    }
    if (event.timer == TimerKind::neighbour) {
        const Neighbour& neighbour = world.neighbours[static_cast<std::size_t>(event.index)];
        return neighbour.timer != event.order || (neighbour.arp_queue.empty() && neighbour.state != Nud::incomplete);
    }
    if (is_tcp(event.timer)) {
        return event.timer == TimerKind::tcp_time_wait || tcp_timer_is_stale(world, event);
    }
    if (event.timer == TimerKind::napi_watchdog) {
        const Napi& napi = world.napis[static_cast<std::size_t>(event.index)];
        const NetDevice& device = world.devices[static_cast<std::size_t>(napi.device)];
        const bool frames_wait = !device.e1000.rx_filled.empty() ||
                                 std::ranges::any_of(device.virtio.pairs, [](const VirtioPair& pair) { return !pair.rx_used.empty(); });
        return napi.watchdog != event.order ||
               (!frames_wait && std::ranges::all_of(napi.gro_hash, [](const auto& list) { return list.empty(); }));
    }
    if (event.timer == TimerKind::packet_ring) {
        const PacketSock& tap = world.packet_socks[static_cast<std::size_t>(event.index)];
        return tap.ring.timer != event.order || !packet_ring_waits(tap);
    }
    return false;
}

} // namespace skbscope::kernel
