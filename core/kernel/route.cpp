// net/ipv4/route.c: what the FIB's answer means for a packet: delivered here, forwarded, refused; and for one that leaves:
// which device, which next hop, which source address.

#include "core/kernel/functions.h"
#include "core/kernel/route_exceptions.h"
#include "core/packet/protocols.h"
#include "core/packet/views.h"

#include <algorithm>

namespace skbscope::kernel {

namespace {


bool on_loopback(Kernel& k, DeviceIndex device) { return k.device(device).kind == DeviceKind::loopback; }

/// A route of its own, in no next hop's cache.
std::uint64_t uncached(Kernel& k, NetIndex net) { return (k.net(net).ipv4.next_route_identity++ << 32) | 0xffffffffU; }

/// The route cached in a next hop is one and the same for all that go there: two packets with it share a dst_entry.
std::uint64_t cached(const FibResult& result, bool input, bool broadcast = false)
{
    return (std::uint64_t{result.route.prefix} << 20 | std::uint64_t{result.route.length} << 12 |
            std::uint64_t{static_cast<std::uint8_t>(result.route.kind)} << 4 | (broadcast ? 2U : 0U) | (input ? 1U : 0U)) ^
           (std::uint64_t{result.route.gateway} << 24);
}

void ip_handle_martian_source(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::ip_handle_martian_source, skb);
    k.count(k.skb_net(skb), Mib::rt_cache_in_martian_src, k.skb(skb).packet);
}

void martian_destination(Kernel& k, SkbIndex skb)
{
    k.count(k.skb_net(skb), Mib::rt_cache_in_martian_dst, k.skb(skb).packet);
}

Destination input_route(Kernel& k, DeviceIndex device, std::uint32_t daddr, RouteType type, std::uint32_t flags)
{
    Destination dst;
    dst.valid = true;
    dst.is_input = true;
    dst.type = type;
    dst.flags = flags;
    dst.destination = daddr;
    dst.device = k.net(k.dev_net(device)).loopback; // rt_dst_alloc(ip_rt_get_dev()): not for sending
    dst.output = Destination::Output::rt_bug;
    return dst;
}

int local_input(Kernel& k, SkbIndex skb, DeviceIndex device, std::uint32_t daddr, const FibResult& result, RouteType type, std::uint32_t flags,
                bool cacheable)
{
    Destination dst = input_route(k, device, daddr, type, flags | RTCF_LOCAL);
    dst.input = Destination::Input::local_deliver;
    dst.identity = cacheable ? cached(result, true, type == RouteType::broadcast) : uncached(k, k.dev_net(device));
    if (!cacheable) {
        k.count(k.dev_net(device), Mib::rt_cache_in_slow_tot, k.skb(skb).packet);
    }
    set_dst(k, skb, dst);
    return 0;
}

int no_route(Kernel& k, SkbIndex skb, DeviceIndex device, std::uint32_t daddr, int error)
{
    k.count(k.dev_net(device), Mib::rt_cache_in_no_route, k.skb(skb).packet);
    k.count(k.dev_net(device), Mib::rt_cache_in_slow_tot, k.skb(skb).packet);
    Destination dst = input_route(k, device, daddr, RouteType::unreachable, 0);
    dst.input = Destination::Input::error;
    dst.error = -error;
    dst.identity = uncached(k, k.dev_net(device));
    set_dst(k, skb, dst);
    return 0;
}

int __mkroute_input(Kernel& k, SkbIndex skb, const FibResult& result, DeviceIndex device, std::uint32_t daddr, std::uint32_t saddr)
{
    Call call(k, fn::__mkroute_input, skb);
    const DeviceIndex out = result.route.device;
    const int source = fib_validate_source(k, skb, saddr, out, device);
    if (source < 0) {
        ip_handle_martian_source(k, skb);
        return source;
    }
    const bool is_ip = k.skb(skb).protocol == proto::eth_p_ip;
    if (out == device && source > 0 && in_dev_or_conf(k, out, DevConf::send_redirects) && is_ip &&
        (in_dev_or_conf(k, out, DevConf::shared_media) || inet_addr_onlink(k, out, saddr, result.route.gateway))) {
        k.skb(skb).ipcb.flags |= Ipcb::DOREDIRECT;
    }
    if (!is_ip && out == device && !in_dev_or_conf(k, device, DevConf::proxy_arp_pvlan)) {
        return -EINVAL; // an ARP request: nothing to forward
    }
    Destination dst;
    dst.valid = true;
    dst.is_input = true;
    dst.type = result.route.kind;
    dst.input = Destination::Input::forward;
    dst.output = Destination::Output::ip_output;
    dst.device = out;
    dst.destination = daddr;
    dst.gateway = result.route.gateway;
    dst.uses_gateway = dst.gateway != 0;
    dst.mtu = result.route.mtu;
    dst.identity = cached(result, true);
    set_dst(k, skb, dst);
    return 0;
}

int ip_mkroute_input(Kernel& k, SkbIndex skb, const FibResult& result, DeviceIndex device, std::uint32_t daddr, std::uint32_t saddr)
{
    Call call(k, fn::ip_mkroute_input, skb);
    return __mkroute_input(k, skb, result, device, daddr, saddr);
}

int broadcast_input(Kernel& k, SkbIndex skb, DeviceIndex device, std::uint32_t daddr, std::uint32_t saddr, const FibResult& result)
{
    if (k.skb(skb).protocol != proto::eth_p_ip) {
        return -EINVAL;
    }
    if (!ipv4_is_zeronet(saddr)) {
        const int source = fib_validate_source(k, skb, saddr, nothing, device);
        if (source < 0) {
            ip_handle_martian_source(k, skb);
            return source;
        }
    }
    k.count(k.dev_net(device), Mib::rt_cache_in_brd, k.skb(skb).packet);
    return local_input(k, skb, device, daddr, result, RouteType::broadcast, RTCF_BROADCAST, result.found);
}

int ip_route_input_slow(Kernel& k, SkbIndex skb, std::uint32_t daddr, std::uint32_t saddr, DeviceIndex device)
{
    Call call(k, fn::ip_route_input_slow, skb);
    const NetIndex net = k.dev_net(device);
    const PacketId packet = k.skb(skb).packet;
    const auto martian_source = [&](int error) {
        ip_handle_martian_source(k, skb);
        return error;
    };
    const auto martian_target = [&] {
        martian_destination(k, skb);
        return -EINVAL;
    };
    k.skb(skb).dst = {};
    if (ipv4_is_multicast(saddr) || ipv4_is_lbcast(saddr)) {
        return martian_source(-EINVAL);
    }
    if (ipv4_is_lbcast(daddr) || (saddr == 0 && daddr == 0)) {
        return broadcast_input(k, skb, device, daddr, saddr, {});
    }
    if (ipv4_is_zeronet(saddr)) {
        return martian_source(-EINVAL);
    }
    if (ipv4_is_zeronet(daddr)) {
        return martian_target();
    }
    const bool localnet = in_dev_or_conf(k, device, DevConf::route_localnet);
    if (ipv4_is_loopback(daddr)) {
        if (!localnet) {
            return martian_target();
        }
    } else if (ipv4_is_loopback(saddr) && !localnet) {
        return martian_source(-EINVAL);
    }
    const FibResult result = fib_lookup(k, net, daddr, nothing, packet);
    if (result.error != 0) {
        return no_route(k, skb, device, daddr, in_dev_forward(k, device) ? result.error : -EHOSTUNREACH);
    }
    if (result.route.kind == RouteType::broadcast) {
        if (in_dev_and_conf(k, device, DevConf::bc_forwarding)) {
            return ip_mkroute_input(k, skb, result, device, daddr, saddr);
        }
        return broadcast_input(k, skb, device, daddr, saddr, result);
    }
    if (result.route.kind == RouteType::local) {
        const int source = fib_validate_source(k, skb, saddr, nothing, device);
        return source < 0 ? martian_source(source) : local_input(k, skb, device, daddr, result, RouteType::local, 0, true);
    }
    if (!in_dev_forward(k, device)) {
        return no_route(k, skb, device, daddr, -EHOSTUNREACH);
    }
    if (result.route.kind != RouteType::unicast) {
        return martian_target();
    }
    return ip_mkroute_input(k, skb, result, device, daddr, saddr);
}

int ip_mc_validate_source(Kernel& k, SkbIndex skb, std::uint32_t daddr, std::uint32_t saddr, DeviceIndex device)
{
    if (ipv4_is_multicast(saddr) || ipv4_is_lbcast(saddr) || k.skb(skb).protocol != proto::eth_p_ip) {
        return -EINVAL;
    }
    if (ipv4_is_loopback(saddr) && !in_dev_or_conf(k, device, DevConf::route_localnet)) {
        return -EINVAL;
    }
    if (ipv4_is_zeronet(saddr)) {
        const bool igmp = Ipv4View::unchecked(skb_network(k, skb)).protocol() == proto::ipproto_igmp;
        return ipv4_is_local_multicast(daddr) || igmp ? 0 : -EINVAL;
    }
    return std::min(fib_validate_source(k, skb, saddr, nothing, device), 0);
}

int ip_route_input_mc(Kernel& k, SkbIndex skb, std::uint32_t daddr, std::uint32_t saddr, DeviceIndex device)
{
    Call call(k, fn::ip_route_input_mc, skb);
    if (const int error = ip_mc_validate_source(k, skb, daddr, saddr, device); error != 0) {
        return error;
    }
    Destination dst = input_route(k, device, daddr, RouteType::multicast, RTCF_MULTICAST | RTCF_LOCAL);
    dst.input = Destination::Input::local_deliver;
    dst.identity = uncached(k, k.dev_net(device));
    k.count(k.dev_net(device), Mib::rt_cache_in_slow_mc, k.skb(skb).packet);
    set_dst(k, skb, dst);
    return 0;
}

int ip_route_input_rcu(Kernel& k, SkbIndex skb, std::uint32_t daddr, std::uint32_t saddr, DeviceIndex device)
{
    Call call(k, fn::ip_route_input_rcu, skb);
    if (!ipv4_is_multicast(daddr)) {
        return ip_route_input_slow(k, skb, daddr, saddr, device);
    }
    return ip_check_mc_rcu(k, device, daddr, k.skb(skb).packet) ? ip_route_input_mc(k, skb, daddr, saddr, device) : -EINVAL;
}

} // namespace

int ip_route_input_noref(Kernel& k, SkbIndex skb, std::uint32_t daddr, std::uint32_t saddr, DeviceIndex device)
{
    Call call(k, fn::ip_route_input_noref, skb);
    return ip_route_input_rcu(k, skb, daddr, saddr, device);
}

int ip_route_use_hint(Kernel& k, SkbIndex skb, std::uint32_t saddr, DeviceIndex device, SkbIndex hint)
{
    Call call(k, fn::ip_route_use_hint, skb);
    const bool impossible = ipv4_is_multicast(saddr) || ipv4_is_lbcast(saddr) || ipv4_is_zeronet(saddr) ||
                            (ipv4_is_loopback(saddr) && !in_dev_or_conf(k, device, DevConf::route_localnet));
    int error = impossible ? -EINVAL : 0;
    if (error == 0 && k.skb(hint).dst.type == RouteType::local) {
        error = std::min(fib_validate_source(k, skb, saddr, nothing, device), 0);
    }
    if (error < 0) {
        ip_handle_martian_source(k, skb);
        return error;
    }
    set_dst(k, skb, k.skb(hint).dst);
    return 0;
}

// ---- output ---------------------------------------------------------------------------------------------------------------

namespace {

Destination unroutable(int error)
{
    Destination dst;
    dst.error = -error;
    return dst;
}

Destination __mkroute_output(Kernel& k, const FibResult& result, const Flowi4& fl4, DeviceIndex out, RouteType type, std::uint32_t flags,
                             PacketId packet)
{
    Call call(k, fn::__mkroute_output, packet);
    const bool lo = on_loopback(k, out);
    if (ipv4_is_loopback(fl4.saddr) && !lo && !in_dev_or_conf(k, out, DevConf::route_localnet)) {
        return unroutable(-EINVAL);
    }
    bool has_info = result.found;
    if (ipv4_is_lbcast(fl4.daddr)) {
        type = RouteType::broadcast;
        has_info = false;
    } else if (ipv4_is_multicast(fl4.daddr)) {
        type = RouteType::multicast;
    } else if (ipv4_is_zeronet(fl4.daddr)) {
        return unroutable(-EINVAL);
    }
    flags |= lo ? RTCF_LOCAL : 0;
    if (type == RouteType::broadcast) {
        flags |= RTCF_BROADCAST | RTCF_LOCAL;
    } else if (type == RouteType::multicast) {
        flags |= RTCF_MULTICAST | RTCF_LOCAL;
        if (!ip_check_mc_rcu(k, out, fl4.daddr, packet)) {
            flags &= ~RTCF_LOCAL;
        }
        has_info = has_info && result.route.length >= 4; // a default route gives no gateway to multicast
    }
    Destination dst;
    dst.valid = true;
    dst.type = type;
    dst.flags = flags;
    dst.output = Destination::Output::ip_output;
    dst.input = (flags & RTCF_LOCAL) != 0 ? Destination::Input::local_deliver : Destination::Input::none;
    dst.device = out;
    dst.destination = fl4.daddr;
    dst.source = fl4.saddr;
    if (has_info) {
        dst.gateway = result.route.gateway;
        dst.uses_gateway = dst.gateway != 0;
        dst.mtu = result.route.mtu;
        dst.identity = cached(result, false);
    } else {
        dst.identity = uncached(k, fl4.net);
    }
    if ((flags & (RTCF_BROADCAST | RTCF_MULTICAST)) != 0 && (flags & RTCF_LOCAL) != 0 && !lo) {
        dst.output = Destination::Output::ip_mc_output;
    }
    return dst;
}

/// The device of one of our addresses.
DeviceIndex device_of_address(Kernel& k, NetIndex net, std::uint32_t address)
{
    for (std::size_t row = 0; row < k.w.devices.size(); ++row) {
        const NetDevice& device = k.w.devices[row];
        if (device.net == net && std::ranges::count(device.addresses, address, &InterfaceAddress::address) > 0) {
            return static_cast<DeviceIndex>(row);
        }
    }
    return k.net(net).loopback;
}

Destination ip_route_output_key_hash_rcu(Kernel& k, Flowi4& fl4, PacketId packet)
{
    Call call(k, fn::ip_route_output_key_hash_rcu, packet);
    const NetIndex net = fl4.net;
    if (fl4.saddr != 0) {
        if (ipv4_is_multicast(fl4.saddr) || ipv4_is_lbcast(fl4.saddr) || ipv4_is_zeronet(fl4.saddr)) {
            return unroutable(-EINVAL);
        }
        if (fl4.oif == nothing && (ipv4_is_multicast(fl4.daddr) || ipv4_is_lbcast(fl4.daddr))) {
            if (!__ip_dev_find(k, net, fl4.saddr, packet)) {
                return unroutable(-ENETUNREACH);
            }
            fl4.oif = device_of_address(k, net, fl4.saddr);
            return __mkroute_output(k, {}, fl4, fl4.oif, RouteType::unspec, 0, packet);
        }
        if (!fl4.any_source && !__ip_dev_find(k, net, fl4.saddr, packet)) {
            return unroutable(-ENETUNREACH);
        }
    }
    if (fl4.oif != nothing) {
        if (ipv4_is_local_multicast(fl4.daddr) || ipv4_is_lbcast(fl4.daddr) || fl4.proto == proto::ipproto_igmp) {
            fl4.saddr = fl4.saddr != 0 ? fl4.saddr : inet_select_addr(k, fl4.oif, 0, false);
            return __mkroute_output(k, {}, fl4, fl4.oif, RouteType::unspec, 0, packet);
        }
        if (fl4.saddr == 0 && (ipv4_is_multicast(fl4.daddr) || fl4.daddr == 0)) {
            fl4.saddr = inet_select_addr(k, fl4.oif, 0, fl4.daddr == 0);
        }
    }
    if (fl4.daddr == 0) {
        constexpr std::uint32_t INADDR_LOOPBACK = 0x7f000001;
        fl4.daddr = fl4.saddr != 0 ? fl4.saddr : INADDR_LOOPBACK;
        fl4.saddr = fl4.daddr;
        fl4.oif = k.net(net).loopback;
        return __mkroute_output(k, {}, fl4, fl4.oif, RouteType::local, RTCF_LOCAL, packet);
    }
    FibResult result = fib_lookup(k, net, fl4.daddr, fl4.oif, packet);
    if (result.error != 0) {
        if (fl4.oif == nothing) {
            return unroutable(result.error);
        }
        // The device was named: the destination is taken to be on its link.
        fl4.saddr = fl4.saddr != 0 ? fl4.saddr : inet_select_addr(k, fl4.oif, 0, false);
        return __mkroute_output(k, {}, fl4, fl4.oif, RouteType::unicast, 0, packet);
    }
    if (result.route.kind == RouteType::local) {
        if (fl4.saddr == 0) {
            fl4.saddr = fl4.daddr; // no preferred source: the address itself
        }
        fl4.oif = k.net(net).loopback;
        return __mkroute_output(k, result, fl4, fl4.oif, RouteType::local, RTCF_LOCAL, packet);
    }
    {
        Call select(k, fn::fib_select_path, packet);
        if (fl4.saddr == 0) {
            fl4.saddr = fib_result_prefsrc(k, result);
        }
    }
    Destination dst = __mkroute_output(k, result, fl4, result.route.device, result.route.kind, 0, packet);
    const auto& exceptions = k.net(net).ipv6.exceptions; // of both families
    const auto learnt = std::ranges::find(exceptions, IpAddress::v4(fl4.daddr), &RouteException6::destination);
    if (learnt != exceptions.end() && k.cpu().now < learnt->expires) { // find_exception()
        dst.mtu = learnt->mtu;
    }
    return dst;
}

} // namespace

Destination ip_route_output_key_hash(Kernel& k, Flowi4& fl4, PacketId packet)
{
    Call call(k, fn::ip_route_output_key_hash, packet);
    return ip_route_output_key_hash_rcu(k, fl4, packet);
}

Destination ip_route_output_flow(Kernel& k, Flowi4& fl4, PacketId packet)
{
    Call flow(k, fn::ip_route_output_flow, packet);
    Call key(k, fn::__ip_route_output_key, packet);
    return ip_route_output_key_hash(k, fl4, packet);
}

Destination ip_route_output_flow(Kernel& k, NetIndex net, std::uint32_t daddr, std::uint32_t saddr, PacketId packet)
{
    Flowi4 fl4;
    fl4.net = net;
    fl4.daddr = daddr;
    fl4.saddr = saddr;
    return ip_route_output_flow(k, fl4, packet);
}

void ipv4_sk_update_pmtu(Kernel& k, const Socket& sk, std::uint32_t saddr, std::uint32_t daddr, std::uint32_t mtu, PacketId packet)
{
    constexpr std::uint32_t ip_rt_min_pmtu = 552;
    constexpr Duration ip_rt_mtu_expires{600'000'000'000};
    if (sk.pmtudisc > IP_PMTUDISC_PROBE) { // ip_sk_accept_pmtu()
        return;
    }
    Flowi4 fl4;
    fl4.net = sk.net;
    fl4.daddr = daddr;
    fl4.saddr = saddr;
    const Destination path = ip_route_output_key_hash(k, fl4, packet);
    if (!path.valid || dst_mtu(k, path) < mtu) {
        return;
    }
    fib_lookup(k, sk.net, daddr, nothing, packet);
    const std::uint32_t bounded = mtu < ip_rt_min_pmtu ? std::min(dst_mtu(k, path), ip_rt_min_pmtu) : mtu;
    const RouteException6 learnt{IpAddress::v4(daddr), bounded, k.cpu().now + ip_rt_mtu_expires};
    auto& exceptions = k.net(sk.net).ipv6.exceptions; // of both families
    const auto known = std::ranges::find(exceptions, learnt.destination, &RouteException6::destination);
    if (known == exceptions.end()) {
        exceptions.push_back(learnt);
    } else {
        *known = learnt;
    }
}

std::uint32_t dst_mtu(Kernel& k, const Destination& dst)
{
    constexpr std::uint32_t IP_MAX_MTU = 0xffff;
    const std::uint32_t mtu = dst.mtu != 0 ? dst.mtu : k.device(dst.device).mtu;
    return std::min(mtu, IP_MAX_MTU);
}

// ---- what goes back to the sender ---------------------------------------------------------------------------------------------

InetPeer& inet_getpeer_v4(Kernel& k, NetIndex net, std::uint32_t address)
{
    const auto [at, created] = k.net(net).ipv4.peers.try_emplace(address);
    if (created) {
        at->second.rate_last = jiffies(k.cpu().now) - 60 * HZ; // so that the first reckoning finds the bucket full
    }
    return at->second;
}

bool inet_peer_xrlim_allow(Kernel& k, InetPeer& peer, std::int64_t timeout)
{
    constexpr std::int64_t XRLIM_BURST_FACTOR = 6;
    const std::int64_t now = jiffies(k.cpu().now);
    std::int64_t token = peer.rate_tokens + (now - peer.rate_last);
    peer.rate_last = now;
    token = std::min(token, XRLIM_BURST_FACTOR * timeout);
    const bool allowed = token >= timeout;
    peer.rate_tokens = allowed ? token - timeout : token;
    return allowed;
}

void ip_rt_send_redirect(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::ip_rt_send_redirect, skb);
    const Destination dst = k.skb(skb).dst;
    if (!in_dev_or_conf(k, dst.device, DevConf::send_redirects)) {
        return;
    }
    const Ipv4View ip = Ipv4View::unchecked(skb_network(k, skb));
    const std::uint32_t gateway = dst.gateway != 0 ? dst.gateway : ip.daddr();
    InetPeer& peer = inet_getpeer_v4(k, k.dev_net(dst.device), ip.saddr());
    const Sysctls& sysctl = k.core_sysctl(); // net.ipv4.route is the machine's
    const std::int64_t now = jiffies(k.cpu().now);
    if (now > peer.rate_last + sysctl.redirect_silence) {
        peer.rate_tokens = 0;
        peer.n_redirects = 0;
    }
    if (peer.n_redirects >= sysctl.redirect_number) {
        peer.rate_last = now;
        return;
    }
    if (peer.n_redirects == 0 || now > peer.rate_last + (sysctl.redirect_load << std::min(peer.n_redirects, 31U))) {
        icmp_send(k, skb, ICMP_REDIRECT, ICMP_REDIR_HOST, gateway);
        InetPeer& after = inet_getpeer_v4(k, k.dev_net(dst.device), Ipv4View::unchecked(skb_network(k, skb)).saddr());
        after.rate_last = now;
        ++after.n_redirects;
    }
}

void ip_error(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::ip_error, skb);
    const DeviceIndex device = k.skb(skb).device;
    const NetIndex net = k.dev_net(device);
    const int error = k.skb(skb).dst.error;
    const PacketId packet = k.skb(skb).packet;
    DropReasonId reason = drop::NOT_SPECIFIED;
    if (error == ENETUNREACH) {
        reason = drop::IP_INNOROUTES;
        k.count(net, Mib::IpExt_InNoRoutes, packet);
    }
    if (!in_dev_forward(k, device)) {
        if (error == EHOSTUNREACH) {
            reason = drop::IP_INADDRERRORS;
            k.count(net, Mib::Ip_InAddrErrors, packet);
        }
        kfree_skb_reason(k, skb, reason, fn::ip_error);
        return;
    }
    if (error == EHOSTUNREACH || error == ENETUNREACH || error == EACCES) {
        const std::uint8_t code = error == EHOSTUNREACH ? ICMP_HOST_UNREACH : error == ENETUNREACH ? ICMP_NET_UNREACH : ICMP_PKT_FILTERED;
        InetPeer& peer = inet_getpeer_v4(k, net, Ipv4View::unchecked(skb_network(k, skb)).saddr());
        const std::int64_t now = jiffies(k.cpu().now);
        peer.rate_tokens = std::min(peer.rate_tokens + (now - peer.rate_last), k.core_sysctl().error_burst);
        peer.rate_last = now;
        if (peer.rate_tokens >= k.core_sysctl().error_cost) {
            peer.rate_tokens -= k.core_sysctl().error_cost;
            icmp_send(k, skb, ICMP_DEST_UNREACH, code, 0);
        }
    }
    kfree_skb_reason(k, skb, reason, fn::ip_error);
}

} // namespace skbscope::kernel
