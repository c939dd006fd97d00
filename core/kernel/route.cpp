// net/ipv4/route.c, net/ipv4/fib_frontend.c, net/ipv4/fib_trie.c, net/ipv4/fib_semantics.c: the FIB and its two users.

#include "core/kernel/functions.h"

#include <algorithm>

namespace skbscope::kernel {

namespace {

std::uint32_t mask_of(std::uint8_t length)
{
    return length == 0 ? 0 : ~std::uint32_t{0} << (32 - length);
}

const Route* longest_match(const Net& net, std::uint32_t address)
{
    const Route* best = nullptr;
    for (const Route& route : net.fib) {
        if ((address & mask_of(route.length)) == route.prefix && (best == nullptr || route.length > best->length)) {
            best = &route;
        }
    }
    return best;
}

/// include/net/ip_fib.h: fib_lookup, inline around fib_table_lookup (net/ipv4/fib_trie.c).
const Route* fib_lookup(Kernel& k, NetIndex net, std::uint32_t address, PacketId packet)
{
    Call call(k, fn::fib_lookup, packet);
    Call table(k, fn::fib_table_lookup, packet);
    return longest_match(k.net(net), address);
}

bool is_local_device_address(Kernel& k, NetIndex net, std::uint32_t address)
{
    const Route* route = longest_match(k.net(net), address);
    return route != nullptr && route->kind == Route::Kind::local;
}

bool ipv4_is_loopback(std::uint32_t address) { return (address >> 24) == 127; }
bool ipv4_is_multicast(std::uint32_t address) { return (address >> 28) == 14; }
bool ipv4_is_lbcast(std::uint32_t address) { return address == 0xffffffff; }
bool ipv4_is_zeronet(std::uint32_t address) { return (address >> 24) == 0; }

/// rp_filter is off (Debian's default on these kernels), so only a source that is one of our own addresses is refused.
bool fib_validate_source(Kernel& k, std::uint32_t saddr, DeviceIndex device, PacketId packet)
{
    Call call(k, fn::fib_validate_source, packet);
    const bool from_itself = k.device(device).kind != DeviceKind::loopback && is_local_device_address(k, k.dev_net(device), saddr);
    return !from_itself;
}

bool martian(Kernel& k, NetIndex net, PacketId packet, DropReasonId& reason, bool source)
{
    k.count(net, source ? Mib::rt_cache_in_martian_src : Mib::rt_cache_in_martian_dst, packet);
    reason = drop::NOT_SPECIFIED; // 6.1 gives martians no reason of their own
    return false;
}

bool ip_route_input_slow(Kernel& k, SkbIndex skb, std::uint32_t daddr, std::uint32_t saddr, DropReasonId& reason)
{
    Call call(k, fn::ip_route_input_slow, skb);
    const PacketId packet = k.skb(skb).packet;
    const DeviceIndex device = k.skb(skb).device;
    const bool on_loopback = k.device(device).kind == DeviceKind::loopback;
    if (ipv4_is_multicast(saddr) || ipv4_is_lbcast(saddr)) {
        return martian(k, k.dev_net(device), packet, reason, true);
    }
    Destination dst;
    dst.valid = true;
    dst.destination = daddr;
    dst.device = device;
    if (ipv4_is_lbcast(daddr)) {
        dst.input = Destination::Input::local_deliver;
        set_dst(k, skb, dst);
        return true;
    }
    if (ipv4_is_zeronet(saddr) || (ipv4_is_loopback(saddr) && !on_loopback)) {
        return martian(k, k.dev_net(device), packet, reason, true);
    }
    if (ipv4_is_zeronet(daddr) || (ipv4_is_loopback(daddr) && !on_loopback)) {
        return martian(k, k.dev_net(device), packet, reason, false);
    }
    const Route* route = fib_lookup(k, k.dev_net(device), daddr, packet);
    if (route == nullptr) {
        dst.input = Destination::Input::error;
        set_dst(k, skb, dst);
        return true;
    }
    if (route->kind == Route::Kind::unicast) {
        // Not ours, and forwarding is off: IN_DEV_FORWARD is tested before the source is.
        dst.input = Destination::Input::error;
        set_dst(k, skb, dst);
        return true;
    }
    if (!fib_validate_source(k, saddr, device, packet)) {
        return martian(k, k.dev_net(device), packet, reason, true);
    }
    dst.input = Destination::Input::local_deliver;
    set_dst(k, skb, dst);
    return true;
}

} // namespace

bool ip_route_input_noref(Kernel& k, SkbIndex skb, std::uint32_t daddr, std::uint32_t saddr, DropReasonId& reason)
{
    Call call(k, fn::ip_route_input_noref, skb);
    Call rcu(k, fn::ip_route_input_rcu, skb);
    if (ipv4_is_multicast(daddr)) {
        Call multicast(k, fn::ip_check_mc_rcu, skb); // no group is joined
        reason = drop::NOT_SPECIFIED;
        return false;
    }
    return ip_route_input_slow(k, skb, daddr, saddr, reason);
}

AddressType inet_addr_type(Kernel& k, NetIndex net, std::uint32_t address)
{
    if (ipv4_is_multicast(address)) {
        return AddressType::multicast;
    }
    if (ipv4_is_lbcast(address)) {
        return AddressType::broadcast;
    }
    const Route* route = longest_match(k.net(net), address);
    if (route == nullptr) {
        return AddressType::none;
    }
    switch (route->kind) {
    case Route::Kind::local: return AddressType::local;
    case Route::Kind::broadcast: return AddressType::broadcast;
    case Route::Kind::unicast: break;
    }
    return AddressType::unicast;
}

namespace {

Destination __mkroute_output(Kernel& k, const Route& route, std::uint32_t daddr, std::uint32_t saddr, PacketId packet)
{
    Call call(k, fn::__mkroute_output, packet);
    Destination dst;
    dst.valid = true;
    dst.output = Destination::Output::ip_output;
    dst.destination = daddr;
    dst.device = route.device;
    dst.gateway = route.gateway;
    dst.source = saddr != 0 ? saddr : route.source;
    if (route.kind == Route::Kind::local) {
        dst.input = Destination::Input::local_deliver; // rt->dst.input: it keeps this route when it comes in again
    }
    return dst;
}

} // namespace

Destination ip_route_output_flow(Kernel& k, NetIndex net, std::uint32_t daddr, std::uint32_t saddr, PacketId packet)
{
    Call flow(k, fn::ip_route_output_flow, packet);
    Call key(k, fn::__ip_route_output_key, packet);
    Call hash(k, fn::ip_route_output_key_hash, packet);
    Call rcu(k, fn::ip_route_output_key_hash_rcu, packet);
    const Route* route = fib_lookup(k, net, daddr, packet);
    if (route == nullptr) {
        k.count(net, Mib::Ip_OutNoRoutes, packet);
        return {};
    }
    Route chosen = *route;
    if (chosen.kind == Route::Kind::local) {
        // What is for ourselves leaves through lo, whatever device bears the address.
        chosen.source = daddr;
        chosen.device = k.net(net).loopback;
    } else {
        Call select(k, fn::fib_select_path, packet);
    }
    return __mkroute_output(k, chosen, daddr, saddr, packet);
}

} // namespace skbscope::kernel
