// net/ipv6/icmp.c: ICMPv6 errors with their rate limits, echo, and who hears of an error.

#include "core/kernel/ipv6.h"
#include "core/packet/bytes.h"
#include "core/packet/checksum.h"
#include "core/packet/protocols.h"
#include "core/packet/transport.h"
#include "core/packet/views.h"

#include <algorithm>

namespace skbscope::kernel {

namespace {

constexpr std::uint32_t ipv6_header = 40;
constexpr std::uint32_t icmp6_header = 8;
constexpr std::int64_t XRLIM_BURST_FACTOR = 6;


struct TypeCounters {
    std::uint8_t type;
    Mib in, out, in_typed, out_typed; ///< names of net/ipv6/proc.c: snmp6_icmp6_list, and Icmp6InType…
};

constexpr TypeCounters type_counters[] = {
    {ICMPV6_DEST_UNREACH, Mib::Icmp6InDestUnreachs, Mib::Icmp6OutDestUnreachs, Mib::Icmp6InType1,
     Mib::Icmp6OutType1},
    {ICMPV6_PKT_TOOBIG, Mib::Icmp6InPktTooBigs, Mib::Icmp6OutPktTooBigs, Mib::Icmp6InType2,
     Mib::Icmp6OutType2},
    {ICMPV6_TIME_EXCEED, Mib::Icmp6InTimeExcds, Mib::Icmp6OutTimeExcds, Mib::Icmp6InType3,
     Mib::Icmp6OutType3},
    {ICMPV6_PARAMPROB, Mib::Icmp6InParmProblems, Mib::Icmp6OutParmProblems, Mib::Icmp6InType4,
     Mib::Icmp6OutType4},
    {ICMPV6_ECHO_REQUEST, Mib::Icmp6InEchos, Mib::Icmp6OutEchos, Mib::Icmp6InType128, Mib::Icmp6OutType128},
    {ICMPV6_ECHO_REPLY, Mib::Icmp6InEchoReplies, Mib::Icmp6OutEchoReplies, Mib::Icmp6InType129,
     Mib::Icmp6OutType129},
    {NDISC_ROUTER_SOLICITATION, Mib::Icmp6InRouterSolicits, Mib::Icmp6OutRouterSolicits, Mib::Icmp6InType133,
     Mib::Icmp6OutType133},
    {NDISC_NEIGHBOUR_SOLICITATION, Mib::Icmp6InNeighborSolicits, Mib::Icmp6OutNeighborSolicits,
     Mib::Icmp6InType135, Mib::Icmp6OutType135},
    {NDISC_NEIGHBOUR_ADVERTISEMENT, Mib::Icmp6InNeighborAdvertisements, Mib::Icmp6OutNeighborAdvertisements,
     Mib::Icmp6InType136, Mib::Icmp6OutType136},
    {NDISC_REDIRECT, Mib::Icmp6InRedirects, Mib::Icmp6OutRedirects, Mib::Icmp6InType137,
     Mib::Icmp6OutType137},
    {ICMPV6_MLD2_REPORT, Mib::Icmp6InMLDv2Reports, Mib::Icmp6OutMLDv2Reports, Mib::Icmp6InType143,
     Mib::Icmp6OutType143},
};

const TypeCounters* counters_of(std::uint8_t type)
{
    const auto* found = std::ranges::find(type_counters, type, &TypeCounters::type);
    return found == std::end(type_counters) ? nullptr : found;
}

// ---- rate limits
// -------------------------------------------------------------------------------------------------------------

/// icmpv6_mask_allow(): net.ipv6.icmp.ratemask is "0-1,3-127" by default.
bool unlimited(std::uint8_t type)
{
    return type == ICMPV6_PKT_TOOBIG || (type & ICMPV6_INFOMSG_MASK) != 0;
}

bool icmpv6_global_allow(Kernel& k, NetIndex net, std::uint8_t type, bool& apply_ratelimit, PacketId cause)
{
    if (unlimited(type)) {
        return true;
    }
    if (!icmp_global_allow(k, net)) { // one bucket for both families
        k.count(net, Mib::Icmp_OutRateLimitGlobal, cause);
        return false;
    }
    apply_ratelimit = true;
    return true;
}

bool icmpv6_xrlim_allow(Kernel& k, NetIndex net, const Flowi6& fl6, bool apply_ratelimit, PacketId cause)
{
    Call call(k, fn::icmpv6_xrlim_allow, cause);
    if (!apply_ratelimit) {
        return true;
    }
    const Destination dst = ip6_route_output_flags(k, net, nothing, fl6, cause);
    bool allowed = false;
    if (dst.error6 != 0) {
        k.count(net, Mib::Ip6OutNoRoutes, cause);
    } else if (k.device(dst.device).kind == DeviceKind::loopback) {
        allowed = true;
    } else {
        std::int64_t timeout = k.net(net).sysctl.ip6_icmp_ratelimit * HZ / 1000;
        const Route6* route = route6_of(k, net, dst);
        if (route != nullptr && route->length < 128) { // more for wider prefixes
            timeout >>= (128 - route->length) >> 5;
        }
        allowed = ipv6_peer_allow(k, net, fl6.daddr, timeout);
    }
    if (!allowed) {
        k.count(net, Mib::Icmp6OutRateLimitHost, cause);
    } else {
        k.net(net).ipv4.icmp_global_credit -= static_cast<std::int64_t>(k.random(3)); // icmp_global_consume()
    }
    return allowed;
}

// ---- send
// ----------------------------------------------------------------------------------------------------------------------

/// A message with that header and payload goes out.
void send_message(Kernel& k, NetIndex net, const Destination& dst, const Flowi6& fl6, const Ipcm6Cookie& ipc6,
                  std::span<const std::uint8_t, icmp6_header> header, std::span<const std::uint8_t> payload)
{
    const SocketIndex sk = inet6_ctl_sock(k, net, false);
    const SkbIndex skb = ip6_append_data(k, sk, dst, fl6, payload, icmp6_header);
    if (skb == nothing) {
        k.count(net, Mib::Icmp6OutErrors, PacketId::none);
        return;
    }
    icmpv6_push_pending_frames(k, skb, dst, fl6, ipc6, header);
}

/// is_ineligible(): no error about an ICMPv6 error, nor about what cannot be told from one.
bool is_ineligible(Kernel& k, SkbIndex skb)
{
    const auto packet = skb_network(k, skb);
    const Ipv6View ip = Ipv6View::unchecked(packet);
    const Transport transport = find_transport(packet.subspan(ipv6_header), ip.next_header());
    if (!transport.whole || transport.protocol != proto::ipproto_icmpv6) {
        return false;
    }
    const std::size_t at = ipv6_header + transport.offset;
    if (at >= packet.size()) {
        return transport.first_fragment;
    }
    return (packet[at] & ICMPV6_INFOMSG_MASK) == 0;
}

bool unrecognized_option(Kernel& k, SkbIndex skb, std::uint32_t offset)
{
    const auto packet = skb_network(k, skb);
    return offset >= packet.size() || (packet[offset] & 0xc0) == 0x80;
}

void icmpv6_echo_reply(Kernel& k, SkbIndex skb)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::icmpv6_echo_reply, packet);
    const NetIndex net = k.skb_net(skb);
    const Ipv6View ip = Ipv6View::unchecked(skb_network(k, skb));
    const IpAddress daddr = ip.destination();
    if (ipv6_addr_is_multicast(daddr) && k.net(net).sysctl.ip6_icmp_echo_ignore_multicast != 0) {
        return;
    }
    Flowi6 fl6;
    fl6.daddr = ip.source();
    fl6.proto = proto::ipproto_icmpv6;
    const Route6* route = route6_of(k, net, k.skb(skb).dst);
    if (route != nullptr && route->kind == Route6::Kind::anycast && k.net(net).sysctl.ip6_icmp_echo_ignore_anycast != 0) {
        return;
    }
    const bool unicast =
        !ipv6_addr_is_multicast(daddr) && (route == nullptr || route->kind == Route6::Kind::local);
    fl6.saddr = unicast ? daddr : IpAddress::any6();
    // The device that it came in through: of one sent to ourselves, the one that bears the address.
    const bool on_lo = k.device(k.skb(skb).device).kind == DeviceKind::loopback;
    fl6.oif = on_lo && !ipv6_addr_loopback(fl6.daddr) && route != nullptr ? route->device : k.skb(skb).device;
    Ipcm6Cookie ipc6;
    ipc6.tclass = ip.traffic_class();
    const auto message = skb_network(k, skb).subspan(
        static_cast<std::size_t>(k.skb(skb).transport_header - k.skb(skb).network_header));
    std::array<std::uint8_t, icmp6_header> header{};
    std::copy_n(message.begin(), icmp6_header, header.begin());
    header[0] = ICMPV6_ECHO_REPLY;
    const auto data = skb_data(k, skb);
    const std::vector<std::uint8_t> payload(data.begin(), data.end());
    local_bh_disable(k);
    Destination dst;
    bool apply_ratelimit = false;
    if (ip6_dst_lookup_tail(k, net, nothing, dst, fl6, packet) == 0 &&
        (on_lo || icmpv6_global_allow(k, net, ICMPV6_ECHO_REPLY, apply_ratelimit, packet)) &&
        icmpv6_xrlim_allow(k, net, fl6, apply_ratelimit, packet)) {
        send_message(k, net, dst, fl6, ipc6, header, payload);
    }
    local_bh_enable(k);
}

// ---- receive
// -------------------------------------------------------------------------------------------------------------------

/// data of the skb begins at the IPv6 header that the error quotes.
void icmpv6_notify(Kernel& k, SkbIndex skb, std::uint8_t type, std::uint8_t code, std::uint32_t info)
{
    Call call(k, fn::icmpv6_notify, k.skb(skb).packet);
    const NetIndex net = k.skb_net(skb);
    const auto inner = skb_data(k, skb);
    if (inner.size() >= ipv6_header) {
        const Ipv6View ip = Ipv6View::unchecked(inner);
        const Transport transport = find_transport(inner.subspan(ipv6_header), ip.next_header());
        const std::size_t offset = ipv6_header + transport.offset;
        if (transport.whole && inner.size() >= offset + 8) {
            if (transport.protocol == proto::ipproto_udp) {
                udpv6_err(k, skb, type, code, offset, info);
            } else if (transport.protocol == proto::ipproto_icmpv6) { // icmpv6_err()
                if (type == ICMPV6_PKT_TOOBIG) {
                    ip6_rt_update_pmtu(k, net, ip.destination(), info);
                }
                if ((type & ICMPV6_INFOMSG_MASK) == 0 && inner[offset] == ICMPV6_ECHO_REQUEST) {
                    ping_v6_err(k, skb, type, code, offset);
                }
            }
            raw6_icmp_error(k, skb, transport.protocol, type, code);
            return;
        }
    }
    k.count(net, Mib::Icmp6InErrors, k.skb(skb).packet);
}

/// How the skb ends: consumed, or dropped with that reason.
struct End {
    bool consumed;
    DropReasonId reason;
};

/// 6.12 tells why it does not believe a message of neighbour discovery; before that all end alike.
End ndisc_end(Kernel& k, SkbIndex skb, bool tells)
{
    const DropReasonId reason = ndisc_rcv(k, skb);
    return {tells && reason == DropReasonId::none,
            tells && reason != DropReasonId::none ? reason : drop::NOT_SPECIFIED};
}

End take(Kernel& k, SkbIndex skb, std::uint8_t type, std::uint8_t code, std::uint32_t info)
{
    // Up to 6.1 the kernel frees what it has understood as if it dropped it; 6.12 says "consumed".
    const End done{k.profile() >= Profile::v6_12, drop::NOT_SPECIFIED};
    switch (type) {
    case ICMPV6_ECHO_REQUEST:
        if (k.net(k.skb_net(skb)).sysctl.ip6_icmp_echo_ignore_all == 0) {
            icmpv6_echo_reply(k, skb);
        }
        return done;
    case ICMPV6_ECHO_REPLY: {
        DropReasonId reason = drop::NOT_SPECIFIED;
        const bool taken = ping_rcv(k, skb, reason);
        return {taken, k.profile() == Profile::v5_10 ? drop::NOT_SPECIFIED : reason};
    }
    case ICMPV6_DEST_UNREACH:
    case ICMPV6_PKT_TOOBIG:
    case ICMPV6_TIME_EXCEED:
    case ICMPV6_PARAMPROB:
        icmpv6_notify(k, skb, type, code, info);
        return {false, drop::NOT_SPECIFIED};
    case NDISC_ROUTER_SOLICITATION:
    case NDISC_ROUTER_ADVERTISEMENT:
    case NDISC_NEIGHBOUR_SOLICITATION:
    case NDISC_NEIGHBOUR_ADVERTISEMENT:
    case NDISC_REDIRECT:
        return ndisc_end(k, skb, done.consumed);
    default:
        if ((type & ICMPV6_INFOMSG_MASK) == 0) {
            icmpv6_notify(k, skb, type, code, info);
        }
        return {false, drop::NOT_SPECIFIED};
    }
}

} // namespace

void icmpv6_push_pending_frames(Kernel& k, SkbIndex skb, const Destination& dst, const Flowi6& fl6,
                                const Ipcm6Cookie& ipc6, std::span<const std::uint8_t, icmp6_header> header)
{
    Call push(k, fn::icmpv6_push_pending_frames, k.skb(skb).packet);
    const auto message = skb_network_writable(k, skb).subspan(ipv6_header);
    std::ranges::copy(header, message.begin());
    store_be16(message.data() + 2, 0);
    store_be16(message.data() + 2,
               csum_ipv6_magic(fl6.saddr, fl6.daddr, static_cast<std::uint32_t>(message.size()),
                               proto::ipproto_icmpv6, csum_partial(message)));
    k.spend(k.costs().copy(message.size()));
    FlowKey flow;
    flow.source = fl6.saddr;
    flow.destination = fl6.daddr;
    flow.protocol = proto::ipproto_icmpv6;
    flow.ethertype = proto::eth_p_ipv6;
    PacketRecord& record = k.trace.mutable_packet(k.skb(skb).packet);
    record.flow = flow;
    record.device = k.device(dst.device).id;
    ip6_push_pending_frames(k, skb, dst, fl6, ipc6);
}

void icmpv6_count_out(Kernel& k, NetIndex net, std::uint8_t type, PacketId packet)
{
    if (const TypeCounters* counters = counters_of(type)) {
        k.count(net, counters->out, packet);
        k.count(net, counters->out_typed, packet);
    }
    k.count(net, Mib::Icmp6OutMsgs, packet);
}

bool ipv6_peer_allow(Kernel& k, NetIndex net, const IpAddress& address, std::int64_t timeout)
{
    const std::int64_t now = jiffies(k.cpu().now);
    const auto [entry, is_new] = k.net(net).ipv6.peers.try_emplace(address);
    InetPeer6& peer = entry->second;
    if (is_new) {
        peer.rate_last = now - 60 * HZ; // inet_getpeer(): it may send its burst at once
    }
    std::int64_t tokens = std::min(peer.rate_tokens + now - peer.rate_last, XRLIM_BURST_FACTOR * timeout);
    peer.rate_last = now;
    const bool allowed = tokens >= timeout;
    peer.rate_tokens = allowed ? tokens - timeout : tokens;
    return allowed;
}

bool icmpv6_err_convert(std::uint8_t type, std::uint8_t code, int& error)
{
    struct Unreach {
        int error;
        bool fatal;
    };
    static constexpr Unreach tab_unreach[] = {{101, false}, {13, true}, {113, false}, {113, false},
                                              {111, true},  {13, true}, {13, true}};
    error = 71; // EPROTO
    switch (type) {
    case ICMPV6_DEST_UNREACH:
        if (code < std::size(tab_unreach)) {
            error = tab_unreach[code].error;
            return tab_unreach[code].fatal;
        }
        return true;
    case ICMPV6_PKT_TOOBIG:
        error = 90;
        return false;
    case ICMPV6_PARAMPROB:
        return true;
    case ICMPV6_TIME_EXCEED:
        error = 113;
        return false;
    default:
        return false;
    }
}

void icmp6_send(Kernel& k, SkbIndex skb, std::uint8_t type, std::uint8_t code, std::uint32_t info)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::icmp6_send, packet);
    const DeviceIndex device = k.skb(skb).device;
    const auto bytes = skb_network(k, skb);
    if (device == nothing || bytes.size() < ipv6_header) {
        return;
    }
    const NetIndex net = k.dev_net(device);
    const Ipv6View ip = Ipv6View::unchecked(bytes);
    const IpAddress from = ip.source();
    const IpAddress to = ip.destination();
    Flowi6 fl6;
    bool has_source = ipv6_chk_addr(k, net, to, device);
    if (ipv6_addr_is_multicast(to) || k.skb(skb).pkt_type != PktType::host) {
        const bool about_option =
            type == ICMPV6_PARAMPROB && code == ICMPV6_UNK_OPTION && unrecognized_option(k, skb, info);
        if (type != ICMPV6_PKT_TOOBIG && !about_option) {
            return;
        }
        has_source = false;
    }
    if (from.is_any() || ipv6_addr_is_multicast(from) || is_ineligible(k, skb)) {
        return;
    }
    local_bh_disable(k);
    const bool on_lo = k.device(device).kind == DeviceKind::loopback;
    bool apply_ratelimit = false;
    if (!on_lo && !icmpv6_global_allow(k, net, type, apply_ratelimit, packet)) {
        local_bh_enable(k);
        return;
    }
    fl6.proto = proto::ipproto_icmpv6;
    fl6.daddr = from;
    fl6.oif = ipv6_addr_is_linklocal(from) ? device : nothing;
    if (has_source) {
        fl6.saddr = to;
    } else {
        const Destination dst =
            ip6_route_output_flags(k, net, nothing, fl6, packet); // icmpv6_rt_has_prefsrc()
        const Route6* route = dst.error6 == 0 ? route6_of(k, net, dst) : nullptr;
        const DeviceIndex in = k.skb(skb).ip6cb.iif;
        if ((route == nullptr || route->prefsrc.is_any()) && in != nothing) {
            ipv6_dev_get_saddr(k, net, in, fl6.daddr, fl6.saddr, packet);
        }
    }
    Destination dst;
    if (icmpv6_xrlim_allow(k, net, fl6, apply_ratelimit, packet) &&
        ip6_dst_lookup_tail(k, net, nothing, dst, fl6, packet) == 0) {
        std::array<std::uint8_t, icmp6_header> header{type, code};
        store_be32(header.data() + 4, info);
        const auto whole = skb_network(k, skb);
        const std::size_t quoted =
            std::min<std::size_t>(whole.size(), IPV6_MIN_MTU - ipv6_header - icmp6_header);
        const std::vector<std::uint8_t> quote(whole.begin(),
                                              whole.begin() + static_cast<std::ptrdiff_t>(quoted));
        send_message(k, net, dst, fl6, {}, header, quote);
    }
    local_bh_enable(k);
}

int icmpv6_rcv(Kernel& k, SkbIndex skb)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::icmpv6_rcv, packet);
    const NetIndex net = k.skb_net(skb);
    k.count(net, Mib::Icmp6InMsgs, packet);
    const auto error = [&](DropReasonId reason) {
        k.count(net, Mib::Icmp6InErrors, packet);
        kfree_skb_reason(k, skb, reason, fn::icmpv6_rcv);
        return 0;
    };
    if (k.skb(skb).ip_summed == IpSummed::none) {
        const Ipv6View ip = Ipv6View::unchecked(skb_network(k, skb));
        const auto message = skb_data(k, skb);
        k.spend(k.costs().copy(message.size()));
        if (transport_checksum(ip.source(), ip.destination(), proto::ipproto_icmpv6, message) != 0) {
            k.count(net, Mib::Icmp6InCsumErrors, packet);
            return error(drop::ICMP_CSUM);
        }
    }
    if (k.skb(skb).len < icmp6_header) {
        return error(drop::NOT_SPECIFIED);
    }
    const auto message = skb_data(k, skb);
    const std::uint8_t type = message[0];
    const std::uint8_t code = message[1];
    const std::uint32_t info = load_be32(message.data() + 4);
    skb_pull(k, skb, icmp6_header);
    if (const TypeCounters* counters = counters_of(type)) {
        k.count(net, counters->in, packet);
        k.count(net, counters->in_typed, packet);
    }
    if (type == ICMPV6_PKT_TOOBIG && k.skb(skb).len < ipv6_header) {
        return error(drop::NOT_SPECIFIED);
    }
    if (type == ICMPV6_MGM_QUERY ||
        type == ICMPV6_MGM_REPORT) { // queued for a worker, which reads and frees it
        Call event(k, type == ICMPV6_MGM_QUERY ? fn::igmp6_event_query : fn::igmp6_event_report, packet);
        k.verdict(packet, Verdict::consumed, fn::icmpv6_rcv);
        consume_skb(k, skb, fn::icmpv6_rcv);
        return 0;
    }
    const End end = take(k, skb, type, code, info);
    if (end.consumed) {
        k.verdict(packet, Verdict::consumed, fn::icmpv6_rcv);
        consume_skb(k, skb, fn::icmpv6_rcv);
    } else {
        kfree_skb_reason(k, skb, end.reason, fn::icmpv6_rcv);
    }
    return 0;
}

} // namespace skbscope::kernel
