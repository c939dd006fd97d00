// net/ipv6/route.c, net/ipv6/fib6_rules.c, net/ipv6/ip6_fib.c: the two tables of IPv6 and who asks them.

#include "core/kernel/ipv6.h"
#include "core/packet/views.h"

#include <algorithm>

namespace skbscope::kernel {

namespace {

constexpr int ENETUNREACH_ = -101, EACCES_ = -13, EINVAL_ = -22;
constexpr Duration mtu_expires{600'000'000'000}; // net.ipv6.route.mtu_expires

// include/net/ip6_route.h
constexpr unsigned RT6_LOOKUP_F_IFACE = 0x1, RT6_LOOKUP_F_REACHABLE = 0x2;

bool rt6_need_strict(const IpAddress& daddr)
{
    return ipv6_addr_is_multicast(daddr) || ipv6_addr_is_linklocal(daddr) || ipv6_addr_loopback(daddr);
}

/// rt6_score_route(): -1 not this one.
int score(Kernel& k, const Route6& route, DeviceIndex oif, unsigned strict)
{
    int value = oif == nothing || route.device == oif ? 2 : 0;
    if (value == 0 && (strict & RT6_LOOKUP_F_IFACE) != 0) {
        return -1;
    }
    if ((strict & RT6_LOOKUP_F_REACHABLE) != 0 && !route.gateway.is_any()) { // rt6_check_neigh()
        const std::int32_t neighbour = neigh_lookup_noref(k, route.gateway, route.device);
        if (neighbour != nothing &&
            k.w.neighbours[static_cast<std::size_t>(neighbour)].state == Nud::failed) {
            return -1;
        }
    }
    return value;
}

bool matches(const Route6& route, Route6::Table table, const IpAddress& daddr)
{
    return !route.dead && route.table == table && ipv6_prefix_equal(route.prefix, daddr, route.length);
}

/// Row of the best route of this table; nothing: none. Longest prefix, then least metric, then best score.
std::int32_t best_route(Kernel& k, const Ipv6Net& net, Route6::Table table, const IpAddress& daddr,
                        DeviceIndex oif, unsigned strict)
{
    std::int32_t best = nothing;
    int best_score = -1;
    for (std::size_t row = 0; row < net.routes.size(); ++row) {
        const Route6& route = net.routes[row];
        if (!matches(route, table, daddr)) {
            continue;
        }
        const bool refuses = route.device == nothing;
        const int value = refuses ? 2 : score(k, route, oif, strict);
        if (value < 0) {
            continue;
        }
        if (best != nothing) {
            const Route6& other = net.routes[static_cast<std::size_t>(best)];
            if (route.length != other.length
                    ? route.length < other.length
                    : (route.metric != other.metric ? route.metric > other.metric : value <= best_score)) {
                continue;
            }
        }
        best = static_cast<std::int32_t>(row);
        best_score = value;
    }
    return best;
}

std::int32_t fib6_table_lookup(Kernel& k, NetIndex net, Route6::Table table, const IpAddress& daddr,
                               DeviceIndex oif, unsigned strict, PacketId packet)
{
    Call call(k, fn::fib6_table_lookup, packet);
    const Ipv6Net& ipv6 = k.net(net).ipv6;
    const std::int32_t best = best_route(k, ipv6, table, daddr, oif, strict);
    // Nobody reachable: any router will do (fib6_table_lookup: redo_rt6_select).
    return best == nothing && (strict & RT6_LOOKUP_F_REACHABLE) != 0
               ? best_route(k, ipv6, table, daddr, oif, strict & ~RT6_LOOKUP_F_REACHABLE)
               : best;
}

/// What ip6_rt_init_dst() makes of a route.
Destination destination_of(Kernel& k, NetIndex net, std::int32_t row)
{
    Destination dst;
    dst.v6 = dst.valid = true;
    dst.rt6 = row;
    using In = Destination::Input6;
    using Out = Destination::Output6;
    if (row == nothing) { // ip6_null_entry
        dst.input6 = In::ip6_pkt_discard;
        dst.output6 = Out::ip6_pkt_discard_out;
        dst.error6 = ENETUNREACH_;
        dst.device = k.net(net).loopback;
        return dst;
    }
    const Route6& route = k.net(net).ipv6.routes[static_cast<std::size_t>(row)];
    dst.device = route.device;
    dst.output6 = Out::ip6_output;
    switch (route.kind) {
    case Route6::Kind::local:
    case Route6::Kind::anycast:
        dst.device = k.net(net).loopback; // ip6_rt_get_dev_rcu()
        dst.input6 = In::ip6_input;
        break;
    case Route6::Kind::multicast:
        dst.input6 = In::ip6_mc_input;
        break;
    case Route6::Kind::unicast:
        dst.input6 = ipv6_addr_is_multicast(route.prefix) ? In::ip6_mc_input : In::ip6_forward;
        break;
    case Route6::Kind::unreachable:
        dst = destination_of(k, net, nothing);
        dst.rt6 = row;
        dst.error6 = -113; // EHOSTUNREACH
        break;
    case Route6::Kind::prohibit:
        dst = destination_of(k, net, nothing);
        dst.rt6 = row;
        dst.error6 = EACCES_;
        dst.input6 = In::ip6_pkt_prohibit;
        dst.output6 = Out::ip6_pkt_prohibit_out;
        break;
    case Route6::Kind::blackhole:
        dst = destination_of(k, net, nothing);
        dst.rt6 = row;
        dst.error6 = EINVAL_;
        dst.input6 = In::dst_discard;
        dst.output6 = Out::dst_discard_out;
        break;
    }
    return dst;
}

std::int32_t ip6_pol_route(Kernel& k, NetIndex net, Route6::Table table, const IpAddress& daddr,
                           DeviceIndex oif, unsigned flags, PacketId packet)
{
    Call call(k, fn::ip6_pol_route, packet);
    unsigned strict = flags & RT6_LOOKUP_F_IFACE;
    if (k.net(net).ipv6.conf_all.forwarding == 0) {
        strict |= RT6_LOOKUP_F_REACHABLE;
    }
    return fib6_table_lookup(k, net, table, daddr, oif, strict, packet);
}

/// The local table, then the main table (no rules of one's own).
Destination fib6_rule_lookup(Kernel& k, NetIndex net, const IpAddress& daddr, DeviceIndex oif, unsigned flags,
                             FunctionId by, PacketId packet)
{
    Call call(k, fn::fib6_rule_lookup, packet);
    for (const Route6::Table table : {Route6::Table::local, Route6::Table::main}) {
        Call lookup(k, by, packet);
        const std::int32_t row = ip6_pol_route(k, net, table, daddr, oif, flags, packet);
        if (row != nothing) {
            return destination_of(k, net, row);
        }
    }
    return destination_of(k, net, nothing);
}

void count_no_route(Kernel& k, NetIndex net, bool in, PacketId packet)
{
    k.count(net, in ? Mib::Ip6InNoRoutes : Mib::Ip6OutNoRoutes, packet);
}

void ip6_pkt_drop(Kernel& k, SkbIndex skb, std::uint8_t code, bool in)
{
    Call call(k, fn::ip6_pkt_drop, skb);
    const NetIndex net = k.dev_net(k.skb(skb).dst.device);
    const PacketId packet = k.skb(skb).packet;
    DropReasonId reason = in ? drop::IP_INNOROUTES : drop::IP_OUTNOROUTES;
    if (in && Ipv6View::unchecked(skb_network(k, skb)).destination().is_any()) {
        reason = drop::IP_INADDRERRORS;
        k.count(net, Mib::Ip6InAddrErrors, packet);
    } else {
        count_no_route(k, net, in, packet);
    }
    icmp6_send(k, skb, ICMPV6_DEST_UNREACH, code, 0);
    // 5.10 has no reasons; the exact ones of ip6_pkt_drop() came with 6.0.
    kfree_skb_reason(k, skb, reason, fn::ip6_pkt_drop);
}

} // namespace

void ip6_route_input(Kernel& k, SkbIndex skb)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::ip6_route_input, packet);
    Call lookup(k, fn::ip6_route_input_lookup, packet);
    const IpAddress daddr = Ipv6View::unchecked(skb_network(k, skb)).destination();
    const DeviceIndex device = k.skb(skb).device;
    set_dst(k, skb,
            fib6_rule_lookup(k, k.dev_net(device), daddr, device,
                             rt6_need_strict(daddr) ? RT6_LOOKUP_F_IFACE : 0, fn::ip6_pol_route_input,
                             packet));
}

Destination ip6_route_output_flags(Kernel& k, NetIndex net, SocketIndex sk, const Flowi6& fl6,
                                   PacketId packet)
{
    Call call(k, fn::ip6_route_output_flags, packet);
    const bool bound = sk != nothing && k.socket(sk).bound_device != nothing;
    const bool strict = bound || rt6_need_strict(fl6.daddr) || (fl6.oif != nothing && fl6.saddr.is_any());
    return fib6_rule_lookup(k, net, fl6.daddr, fl6.oif, strict ? RT6_LOOKUP_F_IFACE : 0,
                            fn::ip6_pol_route_output, packet);
}

const Route6* route6_of(Kernel& k, NetIndex net, const Destination& dst)
{
    return dst.rt6 == nothing ? nullptr : &k.net(net).ipv6.routes[static_cast<std::size_t>(dst.rt6)];
}

IpAddress rt6_nexthop(Kernel& k, NetIndex net, const Destination& dst, const IpAddress& daddr)
{
    const Route6* route = route6_of(k, net, dst);
    return route != nullptr && !route->gateway.is_any() ? route->gateway : daddr;
}

std::uint32_t ip6_mtu(Kernel& k, NetIndex net, const Destination& dst, const IpAddress& daddr)
{
    const auto& exceptions = k.net(net).ipv6.exceptions;
    const auto learnt = std::ranges::find(exceptions, daddr, &RouteException6::destination);
    if (learnt != exceptions.end() && k.cpu().now < learnt->expires) {
        return learnt->mtu;
    }
    const Route6* route = route6_of(k, net, dst);
    return route != nullptr && route->mtu != 0 ? route->mtu : k.device(dst.device).mtu;
}

Destination icmp6_dst_alloc(Kernel&, DeviceIndex device)
{
    Destination dst;
    dst.v6 = dst.valid = true;
    dst.device = device;
    dst.input6 = Destination::Input6::ip6_input;
    dst.output6 = Destination::Output6::ip6_output;
    return dst;
}

void ip6_rt_update_pmtu(Kernel& k, NetIndex net, const IpAddress& destination, std::uint32_t mtu)
{
    mtu = std::max(mtu, IPV6_MIN_MTU);
    auto& exceptions = k.net(net).ipv6.exceptions;
    const auto known = std::ranges::find(exceptions, destination, &RouteException6::destination);
    if (known == exceptions.end()) {
        exceptions.push_back({destination, mtu, k.cpu().now + mtu_expires});
    } else if (mtu < known->mtu || k.cpu().now >= known->expires) {
        known->mtu = mtu;
        known->expires = k.cpu().now + mtu_expires;
    }
}

void ip6_link_failure(Kernel& k, SkbIndex skb)
{
    icmp6_send(k, skb, ICMPV6_DEST_UNREACH, ICMPV6_ADDR_UNREACH, 0);
}

void ip6_dst_input(Kernel& k, SkbIndex skb)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::dst_input, packet);
    switch (k.skb(skb).dst.input6) {
    case Destination::Input6::ip6_input:
        ip6_input(k, skb);
        return;
    case Destination::Input6::ip6_mc_input:
        ip6_mc_input(k, skb);
        return;
    case Destination::Input6::ip6_forward:
        ip6_forward(k, skb);
        return;
    case Destination::Input6::ip6_pkt_discard: {
        Call discard(k, fn::ip6_pkt_discard, packet);
        ip6_pkt_drop(k, skb, ICMPV6_NOROUTE, true);
        return;
    }
    case Destination::Input6::ip6_pkt_prohibit:
        ip6_pkt_drop(k, skb, ICMPV6_ADM_PROHIBITED, true);
        return;
    case Destination::Input6::none:
    case Destination::Input6::dst_discard:
        kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::dst_input);
        return;
    }
}

int ip6_dst_output(Kernel& k, SkbIndex skb)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::dst_output, packet);
    switch (k.skb(skb).dst.output6) {
    case Destination::Output6::ip6_output:
        return ip6_output(k, skb);
    case Destination::Output6::ip6_pkt_discard_out: {
        Call discard(k, fn::ip6_pkt_discard_out, packet);
        set_device(k, skb, k.skb(skb).dst.device);
        ip6_pkt_drop(k, skb, ICMPV6_NOROUTE, false);
        return 0;
    }
    case Destination::Output6::ip6_pkt_prohibit_out:
        set_device(k, skb, k.skb(skb).dst.device);
        ip6_pkt_drop(k, skb, ICMPV6_ADM_PROHIBITED, false);
        return 0;
    case Destination::Output6::none:
    case Destination::Output6::dst_discard_out:
        kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::dst_output);
        return 0;
    }
    return 0;
}

} // namespace skbscope::kernel
