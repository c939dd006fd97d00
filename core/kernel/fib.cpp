// net/ipv4/fib_trie.c, net/ipv4/fib_frontend.c, net/ipv4/fib_semantics.c, net/ipv4/devinet.c: the routing table, the test of
// a source address, and which address belongs to whom. The tables local and main are one (as the kernel keeps them until
// somebody adds a rule).

#include "core/kernel/functions.h"
#include "core/packet/views.h"

#include <algorithm>

namespace skbscope::kernel {

namespace {

constexpr std::uint32_t mask_of(std::uint8_t length)
{
    return length == 0 ? 0 : ~std::uint32_t{0} << (32 - length);
}

/// net/ipv4/fib_semantics.c: fib_props[].error
constexpr int fib_error(RouteType type)
{
    switch (type) {
    case RouteType::blackhole: return -EINVAL;
    case RouteType::unreachable: return -EHOSTUNREACH;
    case RouteType::prohibit: return -EACCES;
    case RouteType::throw_: return -EAGAIN;
    default: return 0;
    }
}

/// Of two routes that both match: the longer prefix, then the local table, then the smaller metric.
bool better(const Route& a, const Route& b)
{
    if (a.length != b.length) {
        return a.length > b.length;
    }
    const auto from_main = [](const Route& r) { return r.kind != RouteType::local && r.kind != RouteType::broadcast; };
    if (from_main(a) != from_main(b)) {
        return !from_main(a);
    }
    return a.metric < b.metric;
}

const Route* best_match(const Net& net, std::uint32_t address, DeviceIndex oif)
{
    const Route* best = nullptr;
    for (const Route& route : net.fib) {
        const bool matches = (address & mask_of(route.length)) == route.prefix && (oif == nothing || route.device == nothing || route.device == oif);
        if (matches && (best == nullptr || better(route, *best))) {
            best = &route;
        }
    }
    return best;
}

FibResult fib_table_lookup(Kernel& k, NetIndex net, std::uint32_t address, DeviceIndex oif, PacketId packet)
{
    Call call(k, fn::fib_table_lookup, packet);
    FibResult result;
    const Route* route = best_match(k.net(net), address, oif);
    if (route == nullptr) {
        result.error = -EAGAIN;
        return result;
    }
    result.error = fib_error(route->kind);
    result.route = *route;
    result.found = true;
    return result;
}

} // namespace

FibResult fib_lookup(Kernel& k, NetIndex net, std::uint32_t address, DeviceIndex oif, PacketId packet)
{
    Call call(k, fn::fib_lookup, packet);
    FibResult result = fib_table_lookup(k, net, address, oif, packet);
    if (result.error == -EAGAIN) {
        result.error = -ENETUNREACH; // no further table
        result.found = false;
    }
    return result;
}

std::int32_t in_dev_max_conf(Kernel& k, DeviceIndex device, DevConf which)
{
    return std::max(k.net(k.dev_net(device)).ipv4.conf_all[which], k.device(device).conf[which]);
}

bool in_dev_or_conf(Kernel& k, DeviceIndex device, DevConf which)
{
    return k.net(k.dev_net(device)).ipv4.conf_all[which] != 0 || k.device(device).conf[which] != 0;
}

bool in_dev_and_conf(Kernel& k, DeviceIndex device, DevConf which)
{
    return k.net(k.dev_net(device)).ipv4.conf_all[which] != 0 && k.device(device).conf[which] != 0;
}

bool in_dev_forward(Kernel& k, DeviceIndex device) { return k.device(device).conf[DevConf::forwarding] != 0; }

/// The hash of configured addresses (inet_addr_lst).
bool inet_lookup_ifaddr_rcu(Kernel& k, NetIndex net, std::uint32_t address)
{
    return std::ranges::any_of(k.w.devices, [&](const NetDevice& device) {
        return device.net == net && std::ranges::any_of(device.addresses, [&](const InterfaceAddress& own) { return own.address == address; });
    });
}

bool __ip_dev_find(Kernel& k, NetIndex net, std::uint32_t address, PacketId packet)
{
    if (inet_lookup_ifaddr_rcu(k, net, address)) {
        return true;
    }
    // Fallback to the FIB: an address within a local prefix (127.0.0.5) is ours, too.
    const FibResult result = fib_table_lookup(k, net, address, nothing, packet);
    return result.found && result.error == 0 && result.route.kind == RouteType::local;
}

RouteType inet_addr_type_dev_table(Kernel& k, NetIndex net, std::uint32_t address, PacketId packet)
{
    if (ipv4_is_zeronet(address) || ipv4_is_lbcast(address)) {
        return RouteType::broadcast;
    }
    if (ipv4_is_multicast(address)) {
        return RouteType::multicast;
    }
    const FibResult result = fib_table_lookup(k, net, address, nothing, packet);
    // Only the local table is asked: whatever main knows is "unicast" here.
    return result.found && (result.route.kind == RouteType::local || result.route.kind == RouteType::broadcast) ? result.route.kind
                                                                                                              : RouteType::unicast;
}

std::uint32_t inet_select_addr(Kernel& k, DeviceIndex index, std::uint32_t destination, bool host_scope)
{
    // Addresses of lo have scope host: they are for those who ask for that.
    const auto usable = [&](const NetDevice& device) { return host_scope || device.kind != DeviceKind::loopback; };
    const NetDevice& device = k.device(index);
    std::uint32_t address = 0;
    if (usable(device)) {
        for (const InterfaceAddress& own : device.addresses) {
            if (destination == 0 || ((own.address ^ destination) & mask_of(own.prefix)) == 0) {
                return own.address;
            }
            address = address == 0 ? own.address : address;
        }
    }
    if (address != 0) {
        return address;
    }
    for (const NetDevice& other : k.w.devices) {
        if (other.net == device.net && usable(other) && !other.addresses.empty()) {
            return other.addresses.front().address;
        }
    }
    return 0;
}

bool inet_addr_onlink(Kernel& k, DeviceIndex device, std::uint32_t a, std::uint32_t b)
{
    return std::ranges::any_of(k.device(device).addresses, [&](const InterfaceAddress& own) {
        const std::uint32_t mask = mask_of(own.prefix);
        return ((own.address ^ a) & mask) == 0 && (b == 0 || ((own.address ^ b) & mask) == 0);
    });
}

std::uint32_t fib_result_prefsrc(Kernel& k, const FibResult& result)
{
    if (result.route.source != 0) {
        return result.route.source;
    }
    return result.route.device == nothing ? 0 : inet_select_addr(k, result.route.device, result.route.gateway, false);
}

std::uint32_t fib_compute_spec_dst(Kernel& k, SkbIndex skb)
{
    const Destination& dst = k.skb(skb).dst;
    const Ipv4View ip = Ipv4View::unchecked(skb_network(k, skb));
    if ((dst.flags & (RTCF_BROADCAST | RTCF_MULTICAST | RTCF_LOCAL)) == RTCF_LOCAL) {
        return ip.daddr();
    }
    const DeviceIndex device = k.skb(skb).device;
    const std::uint32_t saddr = ip.saddr();
    if (!ipv4_is_zeronet(saddr)) {
        const FibResult result = fib_lookup(k, k.dev_net(device), saddr, nothing, k.skb(skb).packet);
        if (result.error == 0) {
            return fib_result_prefsrc(k, result);
        }
    }
    return inet_select_addr(k, device, saddr, false);
}

namespace {

/// 1: the source is on link; 0: it is reached through a gateway; negative errno: refused.
int __fib_validate_source(Kernel& k, SkbIndex skb, std::uint32_t src, int rpf, DeviceIndex device)
{
    Call call(k, fn::__fib_validate_source, skb);
    const NetIndex net = k.dev_net(device);
    const PacketId packet = k.skb(skb).packet;
    const auto last_resort = [&] { return rpf != 0 ? -EXDEV : 0; };
    const auto on_link = [](const FibResult& result) { return result.route.gateway == 0 ? 1 : 0; };
    FibResult result = fib_lookup(k, net, src, nothing, packet);
    if (result.error != 0) {
        return last_resort();
    }
    const RouteType type = result.route.kind;
    if (type != RouteType::unicast && (type != RouteType::local || !in_dev_or_conf(k, device, DevConf::accept_local))) {
        return -EINVAL;
    }
    if (result.route.device == device || (type == RouteType::local && device == k.net(net).loopback)) {
        return on_link(result);
    }
    if (k.device(device).addresses.empty()) {
        return last_resort();
    }
    if (rpf == 1) {
        return -EXDEV;
    }
    result = fib_lookup(k, net, src, device, packet); // loose: is there any way back at all through this device?
    return result.error == 0 && result.route.kind == RouteType::unicast ? on_link(result) : 0;
}

} // namespace

int fib_validate_source(Kernel& k, SkbIndex skb, std::uint32_t src, DeviceIndex oif, DeviceIndex device)
{
    Call call(k, fn::fib_validate_source, skb);
    const int rpf = in_dev_max_conf(k, device, DevConf::rp_filter);
    if (rpf == 0 && (device != oif || !in_dev_or_conf(k, device, DevConf::send_redirects))) {
        if (!in_dev_or_conf(k, device, DevConf::accept_local) && inet_lookup_ifaddr_rcu(k, k.dev_net(device), src)) {
            return -EINVAL; // one of our own addresses, from outside
        }
        return 0;
    }
    return __fib_validate_source(k, skb, src, rpf, device);
}

} // namespace skbscope::kernel
