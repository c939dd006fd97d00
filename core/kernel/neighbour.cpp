// net/core/neighbour.c: who has that address, and what waits until we know.

#include "core/catalog/catalog.h"
#include "core/kernel/functions.h"
#include "core/kernel/ipv6.h"
#include "core/packet/protocols.h"

#include <algorithm>

namespace skbscope::kernel {

namespace {

/// struct neigh_parms, of arp_tbl or nd_tbl.
struct Parms {
    Duration reachable_time, retrans_time, delay_probe_time;
    std::uint32_t ucast_probes, mcast_probes, app_probes;
};

Parms parms_of(Kernel& k, const Neighbour& neighbour)
{
    constexpr std::int64_t ms = 1'000'000;
    const Sysctls& s = k.net(k.dev_net(neighbour.device)).sysctl;
    if (neighbour.address.v6) {
        return {Duration{s.neigh6_base_reachable_time_ms * ms},
                Duration{s.neigh6_retrans_time_ms * ms},
                Duration{s.neigh6_delay_first_probe_time * 1000 * ms},
                static_cast<std::uint32_t>(s.neigh6_ucast_solicit),
                static_cast<std::uint32_t>(s.neigh6_mcast_solicit),
                static_cast<std::uint32_t>(s.neigh6_app_solicit)};
    }
    return {Duration{s.neigh_base_reachable_time_ms * ms},
            Duration{s.neigh_retrans_time_ms * ms},
            Duration{s.neigh_delay_first_probe_time * 1000 * ms},
            static_cast<std::uint32_t>(s.neigh_ucast_solicit),
            static_cast<std::uint32_t>(s.neigh_mcast_solicit),
            static_cast<std::uint32_t>(s.neigh_app_solicit)};
}

/// neigh_parms' QUEUE_LEN_BYTES
std::int64_t unres_qlen_bytes(Kernel& k, NetIndex net, bool v6)
{
    const Sysctls& sysctl = k.net(net).sysctl;
    return v6 ? sysctl.neigh6_unres_qlen_bytes : sysctl.unres_qlen_bytes;
}

Neighbour& entry(Kernel& k, std::int32_t index)
{
    return k.w.neighbours[static_cast<std::size_t>(index)];
}

void arm_timer(Kernel& k, std::int32_t index, Duration after)
{
    entry(k, index).timer = mod_timer(k, TimerKind::neighbour, k.cpu_row, index, k.cpu().now + after);
}

void neigh_probe(Kernel& k, std::int32_t index)
{
    SkbIndex clone = nothing;
    const PacketId cause = entry(k, index).arp_queue.empty() ? PacketId::none : k.skb(entry(k, index).arp_queue.back()).packet;
    Call call(k, fn::neigh_probe, cause);
    if (!entry(k, index).arp_queue.empty()) {
        clone = skb_clone(k, entry(k, index).arp_queue.back(), fn::neigh_probe);
    }
    if (entry(k, index).address.v6) {
        ndisc_solicit(k, index, clone);
    } else {
        arp_solicit(k, index, clone);
    }
    ++entry(k, index).probes;
    if (clone != nothing) {
        k.verdict(k.skb(clone).packet, Verdict::consumed, fn::neigh_probe);
        consume_skb(k, clone, fn::neigh_probe);
    }
}

void add_bytes(Kernel& k, Neighbour& neighbour, std::int64_t by)
{
    const std::uint32_t before = neighbour.arp_queue_bytes;
    neighbour.arp_queue_bytes = static_cast<std::uint32_t>(before + by);
    k.queue_fill(neighbour.queue, before, neighbour.arp_queue_bytes);
}

/// 0: send now; 1: the skb waits in arp_queue, or is gone.
int __neigh_event_send(Kernel& k, std::int32_t index, SkbIndex skb)
{
    Call call(k, fn::__neigh_event_send, skb);
    const PacketId packet = k.skb(skb).packet;
    local_bh_disable(k);
    bool immediate_probe = false;
    int result = 0;
    Neighbour& neighbour = entry(k, index);
    const Parms parms = parms_of(k, neighbour);
    if (neighbour.state == Nud::none || neighbour.state == Nud::failed) {
        if (parms.mcast_probes + parms.app_probes == 0) {
            neighbour.state = Nud::failed;
            neighbour.updated = k.cpu().now;
            kfree_skb_reason(k, skb, drop::NEIGH_FAILED, fn::__neigh_event_send);
            local_bh_enable(k);
            return 1;
        }
        neighbour.probes = parms.ucast_probes;
        neighbour.state = Nud::incomplete;
        neighbour.updated = k.cpu().now;
        arm_timer(k, index, std::max(parms.retrans_time, Duration{10'000'000}));
        immediate_probe = true;
    } else if (neighbour.state == Nud::stale) {
        neighbour.state = Nud::delay;
        neighbour.updated = k.cpu().now;
        arm_timer(k, index, parms.delay_probe_time);
    }
    if (neighbour.state == Nud::incomplete) {
        while (neighbour.arp_queue_bytes + k.skb(skb).truesize > unres_qlen_bytes(k, k.dev_net(neighbour.device), neighbour.address.v6) &&
               !neighbour.arp_queue.empty()) {
            const SkbIndex oldest = neighbour.arp_queue.front();
            neighbour.arp_queue.pop_front();
            k.cpu().now = std::max(k.cpu().now, k.skb(oldest).visible_from); // neigh->lock was another CPU's until then
            k.dequeue(neighbour.queue, k.skb(oldest).packet, fn::__neigh_event_send);
            add_bytes(k, neighbour, -static_cast<std::int64_t>(k.skb(oldest).truesize));
            k.count(k.dev_net(neighbour.device),
                    neighbour.address.v6 ? Mib::ndisc_cache_unresolved_discards : Mib::arp_cache_unresolved_discards,
                    k.skb(oldest).packet);
            kfree_skb_reason(k, oldest, drop::NEIGH_QUEUEFULL, fn::__neigh_event_send);
        }
        neighbour.arp_queue.push_back(skb);
        k.skb(skb).visible_from = k.cpu().now + 1_ns;
        k.enqueue(neighbour.queue, packet, fn::__neigh_event_send);
        add_bytes(k, neighbour, k.skb(skb).truesize);
        result = 1;
    }
    if (immediate_probe) {
        neigh_probe(k, index);
    }
    local_bh_enable(k);
    return result;
}

int neigh_event_send(Kernel& k, std::int32_t index, SkbIndex skb)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::neigh_event_send, packet);
    entry(k, index).used = k.cpu().now;
    if (nud_connected(entry(k, index).state) || entry(k, index).state == Nud::delay || entry(k, index).state == Nud::probe) {
        return 0;
    }
    Call probe(k, fn::neigh_event_send_probe, packet);
    return __neigh_event_send(k, index, skb);
}

/// arp_hh_ops: an Ethernet device caches headers, so output and connected_output both are this function.
int neigh_resolve_output(Kernel& k, std::int32_t index, SkbIndex skb)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::neigh_resolve_output, packet);
    if (neigh_event_send(k, index, skb) != 0) {
        return 0; // success for the caller: it waits
    }
    if (!entry(k, index).header_cached) {
        Call init(k, fn::neigh_hh_init, packet);
        entry(k, index).header_cached = true;
    }
    const DeviceIndex device = entry(k, index).device;
    eth_header(k, skb, entry(k, index).lladdr, k.device(device).mac, k.skb(skb).protocol);
    return dev_queue_xmit(k, skb);
}

int neigh_hh_output(Kernel& k, std::int32_t index, SkbIndex skb)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::neigh_hh_output, packet);
    const DeviceIndex device = entry(k, index).device;
    // The cached header is copied in one go; no function builds it.
    std::uint8_t* bytes = skb_push(k, skb, 14);
    const MacAddress to = entry(k, index).lladdr;
    const MacAddress from = k.device(device).mac;
    std::ranges::copy(to.bytes, bytes);
    std::ranges::copy(from.bytes, bytes + 6);
    bytes[12] = static_cast<std::uint8_t>(k.skb(skb).protocol >> 8);
    bytes[13] = static_cast<std::uint8_t>(k.skb(skb).protocol);
    return dev_queue_xmit(k, skb);
}

void neigh_invalidate(Kernel& k, std::int32_t index)
{
    Call call(k, fn::neigh_invalidate);
    k.count(k.dev_net(entry(k, index).device), entry(k, index).address.v6 ? Mib::ndisc_cache_res_failed : Mib::arp_cache_res_failed, PacketId::none);
    while (!entry(k, index).arp_queue.empty()) {
        const SkbIndex skb = entry(k, index).arp_queue.front();
        entry(k, index).arp_queue.pop_front();
        k.dequeue(entry(k, index).queue, k.skb(skb).packet, fn::neigh_invalidate);
        add_bytes(k, entry(k, index), -static_cast<std::int64_t>(k.skb(skb).truesize));
        if (entry(k, index).address.v6) {
            ndisc_error_report(k, skb);
        } else {
            arp_error_report(k, index, skb);
        }
    }
}

} // namespace

std::int32_t neigh_lookup_noref(Kernel& k, const IpAddress& address, DeviceIndex device)
{
    const auto& table = k.w.neighbours;
    const auto found = std::ranges::find_if(
        table, [&](const Neighbour& n) { return n.device == device && n.address == address; });
    return found == table.end() ? nothing : static_cast<std::int32_t>(found - table.begin());
}

std::int32_t neigh_lookup(Kernel& k, const IpAddress& address, DeviceIndex device, PacketId packet)
{
    Call call(k, fn::neigh_lookup, packet);
    const std::int32_t found = neigh_lookup_noref(k, address, device);
    if (!address.v6) {
        k.count(k.dev_net(device), Mib::arp_cache_lookups, packet);
        if (found != nothing) {
            k.count(k.dev_net(device), Mib::arp_cache_hits, packet);
        }
    }
    return found;
}

std::int32_t __neigh_lookup(Kernel& k, const IpAddress& address, DeviceIndex device, bool create, PacketId packet)
{
    Call call(k, fn::__neigh_lookup, packet);
    const std::int32_t found = neigh_lookup(k, address, device, packet);
    return found != nothing || !create ? found : __neigh_create(k, address, device, packet);
}

namespace {

/// neigh_forced_gc(): entries that nobody uses and that are failed, need no question or have not changed for five seconds.
std::size_t neigh_forced_gc(Kernel& k, NetIndex net, std::size_t most)
{
    Call call(k, fn::neigh_forced_gc);
    k.count(net, Mib::arp_cache_forced_gc_runs, PacketId::none);
    std::size_t gone = 0;
    for (Neighbour& neighbour : k.w.neighbours) {
        if (gone >= most) {
            break;
        }
        const bool held = neighbour.device == nothing || neighbour.address.v6 || neighbour.timer != 0 || !neighbour.arp_queue.empty() ||
                          neighbour.state == Nud::permanent;
        const bool old = neighbour.updated + Duration{5'000'000'000} < k.cpu().now;
        if (!held && (neighbour.state == Nud::failed || neighbour.state == Nud::noarp || old)) {
            neighbour.device = nothing;
            neighbour.state = Nud::none;
            ++gone;
        }
    }
    return gone;
}

/// neigh_alloc(): false: the table is full (net.ipv4.neigh.default.gc_thresh3).
bool has_room(Kernel& k, NetIndex net, PacketId packet)
{
    const Sysctls& sysctl = k.core_sysctl(); // the table is the machine's
    const auto entries = static_cast<std::int64_t>(std::ranges::count_if(
        k.w.neighbours, [](const Neighbour& n) { return n.device != nothing && !n.address.v6 && n.state != Nud::permanent; }));
    SimTime& last_flush = k.net(net).ipv4.neigh_last_flush;
    const bool full = entries >= sysctl.neigh_gc_thresh3;
    if (!full && (entries < sysctl.neigh_gc_thresh2 || k.cpu().now <= last_flush + Duration{5'000'000'000})) {
        return true;
    }
    last_flush = k.cpu().now;
    const auto above = static_cast<std::size_t>(std::max<std::int64_t>(entries - sysctl.neigh_gc_thresh2, 1));
    if (neigh_forced_gc(k, net, above) == 0 && full) {
        k.count(net, Mib::arp_cache_table_fulls, packet);
        return false;
    }
    return true;
}

std::int32_t free_row(Kernel& k)
{
    for (std::size_t row = 0; row < k.w.neighbours.size(); ++row) {
        if (k.w.neighbours[row].device == nothing) {
            return static_cast<std::int32_t>(row);
        }
    }
    k.w.neighbours.emplace_back();
    return static_cast<std::int32_t>(k.w.neighbours.size() - 1);
}

} // namespace

std::int32_t __neigh_create(Kernel& k, const IpAddress& address, DeviceIndex device, PacketId packet)
{
    Call call(k, fn::__neigh_create, packet);
    Call inner(k, fn::___neigh_create, packet);
    const NetIndex net = k.dev_net(device);
    if (!address.v6 && !has_room(k, net, packet)) {
        return nothing;
    }
    Neighbour neighbour;
    neighbour.address = address;
    neighbour.device = device;
    neighbour.updated = neighbour.used = k.cpu().now;
    if (address.v6) {
        ndisc_constructor(k, neighbour);
    }
    neighbour.queue = k.trace.add_queue({"arp_queue " + address.text(), QueueKind::arp_queue, k.host_of(k.device(device)).id,
                                         Catalog::room_of(fn::neigh_resolve_output),
                                         static_cast<std::uint64_t>(unres_qlen_bytes(k, net, address.v6)), QueueUnit::bytes,
                                         address.v6 ? "net.ipv6.neigh.default.unres_qlen_bytes"
                                                    : "net.ipv4.neigh.default.unres_qlen_bytes"});
    const std::int32_t row = free_row(k);
    entry(k, row) = std::move(neighbour);
    if (!address.v6) {
        k.count(net, Mib::arp_cache_allocs, packet);
        arp_constructor(k, row, packet);
    }
    return row;
}

std::int32_t ip_neigh_for_gw(Kernel& k, SkbIndex skb, DeviceIndex device, std::uint32_t next_hop)
{
    Call call(k, fn::ip_neigh_for_gw, skb);
    Call gw4(k, fn::ip_neigh_gw4, skb);
    std::int32_t found = nothing;
    {
        Call lookup(k, fn::__ipv4_neigh_lookup_noref, skb);
        // include/net/arp.h: on loopback every address shares the entry of 0.0.0.0.
        if (k.device(device).kind == DeviceKind::loopback) {
            next_hop = 0;
        }
        found = neigh_lookup_noref(k, IpAddress::v4(next_hop), device);
    }
    return found != nothing ? found : __neigh_create(k, IpAddress::v4(next_hop), device, k.skb(skb).packet);
}

int neigh_output(Kernel& k, std::int32_t index, SkbIndex skb)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::neigh_output, packet);
    if (nud_connected(entry(k, index).state) && entry(k, index).header_cached) {
        return neigh_hh_output(k, index, skb);
    }
    return neigh_resolve_output(k, index, skb);
}

std::int32_t neigh_event_ns(Kernel& k, const MacAddress& lladdr, const IpAddress& address, DeviceIndex device, PacketId packet)
{
    Call call(k, fn::neigh_event_ns, packet);
    const std::int32_t index = __neigh_lookup(k, address, device, true, packet);
    if (index == nothing) {
        return nothing; // the table is full
    }
    neigh_update(k, index, &lladdr, Nud::stale, NEIGH_UPDATE_F_OVERRIDE, packet);
    return index;
}

namespace {

/// What waited leaves now, in the context that received the answer.
void send_waiting(Kernel& k, std::int32_t index)
{
    while (nud_valid(entry(k, index).state) && !entry(k, index).arp_queue.empty()) {
        const SkbIndex skb = entry(k, index).arp_queue.front();
        entry(k, index).arp_queue.pop_front();
        k.cpu().now = std::max(k.cpu().now, k.skb(skb).visible_from);
        k.dequeue(entry(k, index).queue, k.skb(skb).packet, fn::__neigh_update);
        add_bytes(k, entry(k, index), -static_cast<std::int64_t>(k.skb(skb).truesize));
        neigh_resolve_output(k, index, skb);
    }
}

void change_state(Kernel& k, std::int32_t index, Nud state)
{
    Neighbour& neighbour = entry(k, index);
    neighbour.timer = 0; // neigh_del_timer()
    if (state == Nud::probe) {
        neighbour.probes = 0;
    }
    if (nud_in_timer(state)) {
        arm_timer(k, index, state == Nud::reachable ? parms_of(k, neighbour).reachable_time : Duration{0});
    }
    neighbour.state = state;
}

void __neigh_update(Kernel& k, std::int32_t index, const MacAddress* lladdr, Nud state, std::uint32_t flags, PacketId cause)
{
    Call call(k, fn::__neigh_update, cause);
    Neighbour& neighbour = entry(k, index);
    const Nud old = neighbour.state;
    if ((flags & NEIGH_UPDATE_F_ADMIN) == 0 && (old == Nud::noarp || old == Nud::permanent)) {
        return;
    }
    if (!nud_valid(state)) {
        neighbour.timer = 0;
        neighbour.state = state;
        if ((old == Nud::incomplete || old == Nud::probe) && state == Nud::failed) {
            neigh_invalidate(k, index);
        }
        return;
    }
    if (lladdr == nullptr && !nud_valid(old)) {
        return; // nothing is known, nothing was said
    }
    bool changed = lladdr != nullptr && (!nud_valid(old) || *lladdr != neighbour.lladdr);
    bool update_isrouter = (flags & NEIGH_UPDATE_F_OVERRIDE_ISROUTER) != 0;
    if (nud_connected(state)) {
        neighbour.is_confirmed = true;
        neighbour.confirmed = k.cpu().now;
    }
    const auto set_router = [&] {
        if (update_isrouter) {
            entry(k, index).is_router = (flags & NEIGH_UPDATE_F_ISROUTER) != 0;
        }
    };
    if (nud_valid(old)) {
        if (changed && (flags & NEIGH_UPDATE_F_OVERRIDE) == 0) {
            update_isrouter = false;
            if ((flags & NEIGH_UPDATE_F_WEAK_OVERRIDE) == 0 || !nud_connected(old)) {
                return; // the known address stays
            }
            changed = false;
            state = Nud::stale;
        } else if (!changed && state == Nud::stale && (flags & NEIGH_UPDATE_F_ADMIN) == 0) {
            state = old; // STALE does not undo what is known of the same address
        }
    }
    if (state != old || changed) {
        neighbour.updated = k.cpu().now;
    }
    if (state != old) {
        change_state(k, index, state);
    }
    if (changed) {
        neighbour.lladdr = *lladdr;
        if (!nud_connected(state)) {
            neighbour.is_confirmed = false; // the kernel says: twice the reachable time ago
        }
    }
    if (state != old && !nud_valid(old)) {
        send_waiting(k, index);
    }
    set_router();
}

} // namespace

void neigh_update(Kernel& k, std::int32_t index, const MacAddress* lladdr, Nud state, std::uint32_t flags, PacketId cause)
{
    Call call(k, fn::neigh_update, cause);
    __neigh_update(k, index, lladdr, state, flags, cause);
}

namespace {

bool confirmed_within(const Neighbour& neighbour, Duration age, SimTime now)
{
    return neighbour.is_confirmed && now <= neighbour.confirmed + age;
}

} // namespace

void neigh_timer_handler(Kernel& k, std::int32_t index, std::uint64_t generation)
{
    if (entry(k, index).timer != generation) {
        return; // armed again or deleted meanwhile
    }
    Call call(k, fn::neigh_timer_handler);
    Neighbour& neighbour = entry(k, index);
    neighbour.timer = 0;
    const Parms parms = parms_of(k, neighbour);
    const SimTime now = k.cpu().now;
    SimTime next = now + parms.retrans_time;
    if (neighbour.state == Nud::reachable) {
        if (confirmed_within(neighbour, parms.reachable_time, now)) {
            next = neighbour.confirmed + parms.reachable_time;
        } else if (now <= neighbour.used + parms.delay_probe_time) {
            neighbour.state = Nud::delay;
            neighbour.updated = now;
            next = now + parms.delay_probe_time;
        } else {
            neighbour.state = Nud::stale;
            neighbour.updated = now;
        }
    } else if (neighbour.state == Nud::delay) {
        neighbour.updated = now;
        if (confirmed_within(neighbour, parms.delay_probe_time, now)) {
            neighbour.state = Nud::reachable;
            next = neighbour.confirmed + parms.reachable_time;
        } else {
            neighbour.state = Nud::probe;
            neighbour.probes = 0;
        }
    }
    const bool probing = neighbour.state == Nud::incomplete || neighbour.state == Nud::probe;
    const std::uint32_t most = parms.ucast_probes + parms.app_probes + (neighbour.state == Nud::probe ? 0 : parms.mcast_probes);
    if (probing && neighbour.probes >= most) {
        neighbour.state = Nud::failed;
        neighbour.updated = now;
        neigh_invalidate(k, index);
        return;
    }
    if (nud_in_timer(neighbour.state)) {
        constexpr Duration soonest{10'000'000}; // HZ / 100
        arm_timer(k, index, std::max(next - now, soonest));
    }
    if (probing) {
        neigh_probe(k, index);
    }
}

} // namespace skbscope::kernel
