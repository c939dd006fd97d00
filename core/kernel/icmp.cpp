// net/ipv4/icmp.c: echo, errors that go back to a sender, errors that come back to us; and how many of them.

#include "core/kernel/functions.h"
#include "core/packet/bytes.h"
#include "core/packet/checksum.h"
#include "core/packet/protocols.h"
#include "core/packet/views.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

namespace skbscope::kernel {

namespace {

constexpr std::uint32_t icmp_header = 8;
constexpr std::uint32_t ip_header = 20;

/// struct icmp_bxm: an answer that is put together.
struct IcmpBxm {
    SkbIndex skb = nothing;     ///< what it is about: its bytes are quoted
    std::uint32_t offset = 0;   ///< of them, from skb->data on (may be the IP header in front of it)
    std::uint32_t data_len = 0;
    std::array<std::uint8_t, icmp_header> header{};
    bool from_network_header = false;
};

std::span<const std::uint8_t> quoted(Kernel& k, const IcmpBxm& param)
{
    return param.from_network_header ? skb_network(k, param.skb) : skb_data(k, param.skb);
}

// ---- how many -----------------------------------------------------------------------------------------------------------------

} // namespace

/// Tokens of the whole namespace: icmp_msgs_per_sec a second, icmp_msgs_burst at once. They are taken by chance: none, one or two.
bool icmp_global_allow(Kernel& k, NetIndex index)
{
    Net& net = k.net(index);
    if (net.ipv4.icmp_global_credit > 0) {
        return true;
    }
    const std::int64_t now = jiffies(k.cpu().now);
    const std::int64_t delta = std::min<std::int64_t>(now - net.ipv4.icmp_global_stamp, HZ);
    if (delta < HZ / 50) {
        return false;
    }
    const std::int64_t gained = net.sysctl.icmp_msgs_per_sec * delta / HZ;
    if (gained == 0) {
        return false;
    }
    net.ipv4.icmp_global_stamp = now;
    net.ipv4.icmp_global_credit = std::min(net.ipv4.icmp_global_credit + gained, net.sysctl.icmp_msgs_burst);
    return true;
}

namespace {

bool icmpv4_mask_allow(Kernel& k, NetIndex net, std::uint8_t type, std::uint8_t code)
{
    if (type > NR_ICMP_TYPES || (type == ICMP_DEST_UNREACH && code == ICMP_FRAG_NEEDED)) {
        return true;
    }
    return ((1 << type) & k.net(net).sysctl.icmp_ratemask) == 0;
}

bool icmpv4_global_allow(Kernel& k, NetIndex net, std::uint8_t type, std::uint8_t code, bool& apply_ratelimit, PacketId cause)
{
    Call call(k, fn::icmpv4_global_allow, cause);
    if (icmpv4_mask_allow(k, net, type, code)) {
        return true;
    }
    if (icmp_global_allow(k, net)) {
        apply_ratelimit = true;
        return true;
    }
    if (k.profile() != Profile::v5_10) {
        k.count(net, Mib::Icmp_OutRateLimitGlobal, cause);
    }
    return false;
}

bool icmpv4_xrlim_allow(Kernel& k, NetIndex net, const Destination& route, std::uint32_t daddr, bool apply_ratelimit, PacketId cause)
{
    Call call(k, fn::icmpv4_xrlim_allow, cause);
    if (!apply_ratelimit) {
        return true;
    }
    bool allowed = true;
    if (k.device(route.device).kind != DeviceKind::loopback) {
        const std::int64_t timeout = k.net(net).sysctl.icmp_ratelimit * HZ / 1000;
        allowed = inet_peer_xrlim_allow(k, inet_getpeer_v4(k, net, daddr), timeout);
    }
    if (allowed) {
        k.net(net).ipv4.icmp_global_credit -= static_cast<std::int64_t>(k.random(3)); // icmp_global_consume()
    } else if (k.profile() != Profile::v5_10) {
        k.count(net, Mib::Icmp_OutRateLimitHost, cause);
    }
    return allowed;
}

// ---- building and sending -----------------------------------------------------------------------------------------------------

/// ipv4_icmp_sk: each CPU sends from a raw socket of its own, for whatever namespace it works at the moment.
SocketIndex icmp_xmit_lock(Kernel& k, NetIndex net)
{
    if (k.cpu().icmp_sk == nothing) {
        Socket sk;
        sk.kind = SocketKind::raw;
        sk.protocol = proto::ipproto_icmp;
        sk.host = k.cpu().host;
        sk.in_use = true;
        sk.hashed = false;
        sk.pmtudisc = IP_PMTUDISC_DONT;
        // Room for two frames of 64 KiB, both counted with their bookkeeping.
        sk.sk_sndbuf = 2 * (65536 - 1 + sizeof_sk_buff + sizeof_skb_shared_info);
        k.w.sockets.push_back(std::move(sk));
        k.cpu().icmp_sk = static_cast<SocketIndex>(k.w.sockets.size() - 1);
    }
    k.socket(k.cpu().icmp_sk).net = net;
    return k.cpu().icmp_sk;
}

void icmp_glue_bits(Kernel& k, const void* from, std::uint8_t* to, std::size_t offset, std::size_t length, SkbIndex skb)
{
    Call call(k, fn::icmp_glue_bits, skb);
    const auto& param = *static_cast<const IcmpBxm*>(from);
    const auto bytes = quoted(k, param).subspan(param.offset);
    const std::size_t there = offset < bytes.size() ? std::min(length, bytes.size() - offset) : 0;
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(std::min(offset, bytes.size())), there, to);
    k.spend(k.costs().copy(length));
}

/// The checksum over all pieces, then out.
void icmp_push_reply(Kernel& k, SocketIndex sk, const IcmpBxm& param, const Flowi4& fl4, const IpcmCookie& ipc, const Destination& route)
{
    Call call(k, fn::icmp_push_reply, k.skb(param.skb).packet);
    const GetFrag getfrag{icmp_glue_bits, &param};
    if (ip_append_data(k, sk, fl4, getfrag, param.data_len + icmp_header, icmp_header, ipc, route, MSG_DONTWAIT, k.next_sequence()) < 0) {
        k.count(fl4.net, Mib::Icmp_OutErrors, k.skb(param.skb).packet);
        ip_flush_pending_frames(k, k.socket(sk).cork);
        return;
    }
    const auto& queue = k.socket(sk).cork.queue;
    if (queue.empty()) {
        return;
    }
    const SkbIndex first = queue.front();
    const std::uint32_t at = k.skb(first).transport_header;
    std::vector<std::uint8_t>& bytes = k.skb(first).head.writable();
    std::ranges::copy(param.header, bytes.begin() + at);
    std::uint32_t sum = 0;
    std::size_t summed = 0;
    for (const SkbIndex piece : queue) {
        const SkBuff& skb = k.skb(piece);
        const auto payload = skb.head.bytes().subspan(skb.transport_header, skb.tail - skb.transport_header);
        sum = csum_block_add(sum, csum_partial(payload), summed);
        summed += payload.size();
    }
    store_be16(&bytes[at + 2], csum_fold(sum));
    k.field(first, SkbField::ip_summed, static_cast<std::uint64_t>(k.skb(first).ip_summed), 0);
    k.skb(first).ip_summed = IpSummed::none;
    FlowKey flow;
    flow.source = IpAddress::v4(fl4.saddr);
    flow.destination = IpAddress::v4(fl4.daddr);
    flow.protocol = proto::ipproto_icmp;
    k.trace.mutable_packet(k.skb(first).packet).flow = flow;
    ip_push_pending_frames(k, sk, fl4);
}

void icmp_reply(Kernel& k, IcmpBxm& param, SkbIndex skb)
{
    Call call(k, fn::icmp_reply, skb);
    const NetIndex net = k.skb_net(skb);
    const PacketId cause = k.skb(skb).packet;
    IpcmCookie ipc;
    if (!ip_options_echo(k, skb, ipc.options)) {
        return;
    }
    bool apply_ratelimit = false;
    local_bh_disable(k);
    if (icmpv4_global_allow(k, net, param.header[0], param.header[1], apply_ratelimit, cause)) {
        const SocketIndex sk = icmp_xmit_lock(k, net);
        const Ipv4View ip = Ipv4View::unchecked(skb_network(k, skb));
        k.socket(sk).tos = ip.tos();
        Flowi4 fl4;
        fl4.net = net;
        fl4.daddr = ipc.address = ip.saddr();
        fl4.tos = ip.tos();
        fl4.proto = proto::ipproto_icmp;
        fl4.saddr = fib_compute_spec_dst(k, skb);
        const Destination route = ip_route_output_flow(k, fl4, cause);
        if (route.valid && icmpv4_xrlim_allow(k, net, route, fl4.daddr, apply_ratelimit, cause)) {
            icmp_push_reply(k, sk, param, fl4, ipc, route);
        }
    }
    local_bh_enable(k);
}

/// Which way an error goes. IPsec's rules are looked at in both directions (xfrm_lookup), which costs further look-ups;
/// without IPsec the first answer stands.
Destination icmp_route_lookup(Kernel& k, Flowi4& fl4, SkbIndex skb_in, std::uint32_t saddr, std::uint8_t tos, std::uint8_t type, std::uint8_t code)
{
    Call call(k, fn::icmp_route_lookup, skb_in);
    const PacketId packet = k.skb(skb_in).packet;
    const Ipv4View ip = Ipv4View::unchecked(skb_network(k, skb_in));
    const std::uint32_t original_saddr = ip.saddr();
    const std::uint32_t original_daddr = ip.daddr();
    const std::uint8_t protocol = ip.protocol();
    fl4.daddr = original_saddr;
    fl4.saddr = saddr;
    fl4.tos = tos;
    fl4.proto = proto::ipproto_icmp;
    fl4.icmp_type = type;
    fl4.icmp_code = code;
    const Destination route = ip_route_output_key_hash(k, fl4, packet);
    if (!route.valid) {
        return route;
    }
    const bool ends_here = k.profile() != Profile::v5_10 && inet_addr_type_dev_table(k, fl4.net, fl4.daddr, packet) == RouteType::local;
    if (ends_here) {
        return route;
    }
    if (k.profile() >= Profile::v6_12) {
        Call dissect(k, fn::__skb_flow_dissect, skb_in); // xfrm_decode_session_reverse()
    }
    Flowi4 reverse;
    reverse.net = fl4.net;
    reverse.proto = protocol;
    if (inet_addr_type_dev_table(k, fl4.net, original_daddr, packet) == RouteType::local) {
        reverse.saddr = original_daddr;
        reverse.daddr = original_saddr;
        ip_route_output_key_hash(k, reverse, packet);
        return route;
    }
    // Through whom would the original have come, if its receiver answered?
    reverse.daddr = original_daddr;
    reverse.saddr = original_saddr;
    reverse.any_source = true;
    const Destination back =
        k.profile() == Profile::v5_10 ? ip_route_output_flow(k, reverse, packet) : ip_route_output_key_hash(k, reverse, packet);
    if (back.valid) {
        const Destination mine = std::exchange(k.skb(skb_in).dst, Destination{});
        ip_route_input_noref(k, skb_in, original_saddr, original_daddr, back.device);
        k.skb(skb_in).dst = mine;
    }
    return route;
}

bool is_error(std::uint8_t type)
{
    switch (type) {
    case 1:
    case 2:
    case ICMP_DEST_UNREACH:
    case ICMP_SOURCE_QUENCH:
    case ICMP_REDIRECT:
    case 6:
    case 7:
    case 9:
    case 10:
    case ICMP_TIME_EXCEEDED:
    case ICMP_PARAMETERPROB: return true;
    default: return false;
    }
}

/// RFC 1122, 3.2.2: no error about a multicast, a broadcast, a later fragment or an ICMP error.
bool deserves_an_answer(Kernel& k, SkbIndex skb, std::uint8_t type)
{
    const SkBuff& in = k.skb(skb);
    if (!in.dst.valid || in.pkt_type != PktType::host || (in.dst.flags & (RTCF_BROADCAST | RTCF_MULTICAST)) != 0) {
        return false;
    }
    const auto bytes = skb_network(k, skb);
    if (bytes.size() < ip_header) {
        return false;
    }
    const Ipv4View ip = Ipv4View::unchecked(bytes);
    if (ip.fragment_offset() != 0) {
        return false;
    }
    if (is_error(type) && ip.protocol() == proto::ipproto_icmp) {
        const std::size_t at = ip.header_length();
        return at < bytes.size() && bytes[at] <= NR_ICMP_TYPES && !is_error(bytes[at]);
    }
    return true;
}

void send_error(Kernel& k, SkbIndex skb_in, std::uint8_t type, std::uint8_t code, std::uint32_t info, bool apply_ratelimit)
{
    const Destination in_route = k.skb(skb_in).dst;
    const NetIndex net = in_route.device != nothing ? k.dev_net(in_route.device) : k.skb_net(skb_in);
    const PacketId cause = k.skb(skb_in).packet;
    const SocketIndex sk = icmp_xmit_lock(k, net);
    const Ipv4View ip = Ipv4View::unchecked(skb_network(k, skb_in));
    std::uint32_t saddr = ip.daddr();
    if ((in_route.flags & RTCF_LOCAL) == 0) {
        const bool inbound = in_route.is_input && k.net(net).sysctl.icmp_errors_use_inbound_ifaddr != 0 && k.skb(skb_in).ipcb.iif != nothing;
        saddr = inbound ? inet_select_addr(k, k.skb(skb_in).ipcb.iif, ip.saddr(), false) : 0;
    }
    constexpr std::uint8_t IPTOS_PREC_INTERNETCONTROL = 0xc0;
    constexpr std::uint8_t IPTOS_TOS_MASK = 0x1e;
    const std::uint8_t tos = is_error(type) ? static_cast<std::uint8_t>((ip.tos() & IPTOS_TOS_MASK) | IPTOS_PREC_INTERNETCONTROL) : ip.tos();
    IpcmCookie ipc;
    if (!ip_options_echo(k, skb_in, ipc.options)) {
        return;
    }
    ipc.address = ip.saddr();
    IcmpBxm param;
    param.skb = skb_in;
    param.from_network_header = true;
    param.header = {type, code};
    store_be32(&param.header[4], info);
    k.socket(sk).tos = tos;
    Flowi4 fl4;
    fl4.net = net;
    const Destination route = icmp_route_lookup(k, fl4, skb_in, saddr, tos, type, code);
    if (!route.valid || !icmpv4_xrlim_allow(k, net, route, fl4.daddr, apply_ratelimit, cause)) {
        return;
    }
    // As much as fits 576 bytes.
    std::int64_t room = std::min<std::int64_t>(dst_mtu(k, route), 576);
    room -= ip_header + static_cast<std::int64_t>(ipc.options.size()) + icmp_header;
    if (room <= ip_header) {
        return;
    }
    const SkBuff& in = k.skb(skb_in);
    const std::uint32_t whole = in.len + in.data - in.network_header;
    param.data_len = static_cast<std::uint32_t>(std::min<std::int64_t>(whole, room));
    constexpr std::uint32_t INADDR_DUMMY = 0xc0000008;
    fl4.saddr = fl4.saddr != 0 ? fl4.saddr : INADDR_DUMMY;
    icmp_push_reply(k, sk, param, fl4, ipc, route);
}

void __icmp_send(Kernel& k, SkbIndex skb_in, std::uint8_t type, std::uint8_t code, std::uint32_t info)
{
    Call call(k, fn::__icmp_send, skb_in);
    if (!deserves_an_answer(k, skb_in, type)) {
        return;
    }
    const DeviceIndex in = k.skb(skb_in).device;
    const NetIndex net = k.dev_net(k.skb(skb_in).dst.device != nothing ? k.skb(skb_in).dst.device : in);
    bool apply_ratelimit = false;
    local_bh_disable(k);
    const bool from_lo = in != nothing && k.device(in).kind == DeviceKind::loopback;
    if (from_lo || icmpv4_global_allow(k, net, type, code, apply_ratelimit, k.skb(skb_in).packet)) {
        send_error(k, skb_in, type, code, info, apply_ratelimit);
    }
    local_bh_enable(k);
}

// ---- receiving ------------------------------------------------------------------------------------------------------------------

/// The verdict of a handler: 0, or why the packet is dropped.
using Handled = DropReasonId;
constexpr Handled handled{};

std::span<const std::uint8_t> icmp_hdr(Kernel& k, SkbIndex skb)
{
    const SkBuff& in = k.skb(skb);
    return in.head.bytes().subspan(in.transport_header, in.tail - in.transport_header);
}

/// The quoted datagram's protocol hears of it. skb->data is at the quoted IP header.
void icmp_socket_deliver(Kernel& k, SkbIndex skb, std::uint32_t info)
{
    Call call(k, fn::icmp_socket_deliver, skb);
    constexpr std::uint8_t IPPROTO_RAW = 255;
    const auto bytes = skb_data(k, skb);
    const Ipv4View inner = Ipv4View::unchecked(bytes);
    if (bytes.size() < inner.header_length() + 8 || inner.protocol() == IPPROTO_RAW) {
        k.count(k.skb_net(skb), Mib::Icmp_InErrors, k.skb(skb).packet);
        return;
    }
    raw_icmp_error(k, skb, inner.protocol(), info);
    const NetProtocol* protocol = inet_protos(inner.protocol());
    if (protocol != nullptr && protocol->err_handler != nullptr) {
        protocol->err_handler(k, skb, info);
    }
}

Handled in_error(Kernel& k, SkbIndex skb, DropReasonId reason)
{
    k.count(k.skb_net(skb), Mib::Icmp_InErrors, k.skb(skb).packet);
    return reason;
}

Handled icmp_unreach(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::icmp_unreach, skb);
    const NetIndex net = k.skb_net(skb);
    const auto bytes = skb_data(k, skb);
    if (bytes.size() < ip_header) {
        return in_error(k, skb, drop::NOT_SPECIFIED);
    }
    if ((bytes[0] & 0x0f) < 5) {
        return in_error(k, skb, drop::IP_INHDR);
    }
    const auto icmp = icmp_hdr(k, skb);
    const std::uint8_t type = icmp[0];
    const std::uint8_t code = icmp[1];
    const Ipv4View inner = Ipv4View::unchecked(bytes);
    std::uint32_t info = 0;
    if (type == ICMP_DEST_UNREACH) {
        if ((code & 15) == ICMP_FRAG_NEEDED) {
            const std::int64_t no_pmtu = k.net(net).sysctl.ip_no_pmtu_disc;
            const NetProtocol* protocol = inet_protos(inner.protocol());
            if (no_pmtu == 2 || (no_pmtu == 3 && !(protocol != nullptr && protocol->icmp_strict_tag_validation))) {
                return handled;
            }
            info = no_pmtu == 1 ? 0 : load_be16(&icmp[6]);
        }
        if (code > NR_ICMP_UNREACH) {
            return handled;
        }
    } else if (type == ICMP_PARAMETERPROB) {
        info = icmp[4];
    } else if (type == ICMP_TIME_EXCEEDED && code == ICMP_EXC_FRAGTIME) {
        return handled;
    }
    if (k.net(net).sysctl.icmp_ignore_bogus_error_responses == 0 &&
        inet_addr_type_dev_table(k, net, inner.daddr(), k.skb(skb).packet) == RouteType::broadcast) {
        return handled;
    }
    icmp_socket_deliver(k, skb, info);
    return handled;
}

Handled icmp_redirect(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::icmp_redirect, skb);
    if (k.skb(skb).len < ip_header) {
        return in_error(k, skb, drop::PKT_TOO_SMALL);
    }
    icmp_socket_deliver(k, skb, load_be32(&icmp_hdr(k, skb)[4]));
    return handled;
}

Handled icmp_echo(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::icmp_echo, skb);
    if (k.net(k.skb_net(skb)).sysctl.icmp_echo_ignore_all != 0) {
        return handled;
    }
    std::optional<Call> answering; // 5.10's compiler made the answering part a function of its own: icmp_echo.part.0
    if (k.profile() == Profile::v5_10) {
        answering.emplace(k, fn::icmp_echo, skb);
    }
    const auto icmp = icmp_hdr(k, skb);
    if (icmp[0] == ICMP_EXT_ECHO) {
        return handled; // icmp_echo_enable_probe is off
    }
    IcmpBxm param;
    param.skb = skb;
    param.data_len = k.skb(skb).len;
    std::copy_n(icmp.begin(), icmp_header, param.header.begin());
    param.header[0] = ICMP_ECHOREPLY;
    param.header[2] = param.header[3] = 0;
    icmp_reply(k, param, skb);
    return handled;
}

Handled icmp_timestamp(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::icmp_timestamp, skb);
    const auto bytes = skb_data(k, skb);
    if (bytes.size() < 12) {
        return in_error(k, skb, drop::PKT_TOO_SMALL);
    }
    // The three stamps stand behind the header: the asker's, ours at receipt, ours at reply (ms since midnight).
    const auto now = static_cast<std::uint32_t>(k.cpu().now.ns / 1'000'000 % 86'400'000);
    const auto stamps = skb_data_writable(k, skb);
    store_be32(&stamps[4], now);
    store_be32(&stamps[8], now);
    IcmpBxm param;
    param.skb = skb;
    param.data_len = 12;
    std::copy_n(icmp_hdr(k, skb).begin(), icmp_header, param.header.begin());
    param.header[0] = ICMP_TIMESTAMPREPLY;
    param.header[1] = param.header[2] = param.header[3] = 0;
    icmp_reply(k, param, skb);
    return handled;
}

Handled icmp_ping_reply(Kernel& k, SkbIndex skb)
{
    DropReasonId reason = drop::NO_SOCKET;
    return ping_rcv(k, skb, reason) ? handled : reason;
}

Handled icmp_discard(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::icmp_discard, skb);
    return handled;
}

Handled handle(Kernel& k, SkbIndex skb, std::uint8_t type)
{
    switch (type) {
    case ICMP_ECHOREPLY: return icmp_ping_reply(k, skb);
    case ICMP_DEST_UNREACH:
    case ICMP_SOURCE_QUENCH:
    case ICMP_TIME_EXCEEDED:
    case ICMP_PARAMETERPROB: return icmp_unreach(k, skb);
    case ICMP_REDIRECT: return icmp_redirect(k, skb);
    case ICMP_ECHO: return icmp_echo(k, skb);
    case ICMP_TIMESTAMP: return icmp_timestamp(k, skb);
    default: return icmp_discard(k, skb);
    }
}

constexpr std::pair<std::uint8_t, Mib> in_names[] = {
    {0, Mib::Icmp_InEchoReps},       {3, Mib::Icmp_InDestUnreachs}, {4, Mib::Icmp_InSrcQuenchs},    {5, Mib::Icmp_InRedirects},
    {8, Mib::Icmp_InEchos},          {11, Mib::Icmp_InTimeExcds},   {12, Mib::Icmp_InParmProbs},    {13, Mib::Icmp_InTimestamps},
    {14, Mib::Icmp_InTimestampReps}, {17, Mib::Icmp_InAddrMasks},   {18, Mib::Icmp_InAddrMaskReps},
};
constexpr std::pair<std::uint8_t, Mib> in_types[] = {
    {0, Mib::IcmpMsg_InType0}, {3, Mib::IcmpMsg_InType3},   {5, Mib::IcmpMsg_InType5},
    {8, Mib::IcmpMsg_InType8}, {11, Mib::IcmpMsg_InType11}, {12, Mib::IcmpMsg_InType12},
};

void count_type(Kernel& k, NetIndex net, std::uint8_t type, PacketId packet)
{
    for (const auto& [number, counter] : in_types) {
        if (number == type) {
            k.count(net, counter, packet);
        }
    }
    for (const auto& [number, counter] : in_names) {
        if (number == type) {
            k.count(net, counter, packet);
        }
    }
}

/// Checks, then the handler of the type.
Handled receive(Kernel& k, SkbIndex skb)
{
    const NetIndex net = k.skb_net(skb);
    const PacketId packet = k.skb(skb).packet;
    k.count(net, Mib::Icmp_InMsgs, packet);
    const bool verified = k.skb(skb).ip_summed == IpSummed::unnecessary || k.skb(skb).checksum_verified;
    if (!verified) {
        k.spend(k.costs().copy(k.skb(skb).len));
        if (!icmp_checksum_ok(skb_data(k, skb))) {
            k.count(net, Mib::Icmp_InCsumErrors, packet);
            return in_error(k, skb, drop::ICMP_CSUM);
        }
    }
    if (k.skb(skb).len < icmp_header) {
        return in_error(k, skb, drop::NOT_SPECIFIED);
    }
    skb_pull(k, skb, icmp_header);
    const std::uint8_t type = icmp_hdr(k, skb)[0];
    count_type(k, net, type, packet);
    if (type == ICMP_EXT_ECHO) {
        return icmp_echo(k, skb);
    }
    if (type == ICMP_EXT_ECHOREPLY) {
        return icmp_ping_reply(k, skb);
    }
    if (type > NR_ICMP_TYPES) {
        return in_error(k, skb, drop::UNHANDLED_PROTO);
    }
    if ((k.skb(skb).dst.flags & (RTCF_BROADCAST | RTCF_MULTICAST)) != 0) {
        const bool asks = type == ICMP_ECHO || type == ICMP_TIMESTAMP;
        const bool ignored = asks && k.net(net).sysctl.icmp_echo_ignore_broadcasts != 0;
        if (ignored || (!asks && type != ICMP_ADDRESS && type != ICMP_ADDRESSREPLY)) {
            return in_error(k, skb, drop::INVALID_PROTO);
        }
    }
    return handle(k, skb, type);
}

} // namespace

int icmp_rcv(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::icmp_rcv, skb);
    const DropReasonId reason = receive(k, skb);
    if (reason == handled) {
        k.verdict(k.skb(skb).packet, Verdict::consumed, fn::icmp_rcv);
        consume_skb(k, skb, fn::icmp_rcv);
    } else {
        kfree_skb_reason(k, skb, reason, fn::icmp_rcv);
    }
    return 0;
}

void icmp_err(Kernel& k, SkbIndex skb, std::uint32_t info)
{
    Call call(k, fn::icmp_err, skb);
    const auto bytes = skb_data(k, skb);
    const std::size_t at = Ipv4View::unchecked(bytes).header_length();
    if (at < bytes.size() && bytes[at] != ICMP_ECHOREPLY) {
        ping_err(k, skb, info);
    }
}

void icmp_send(Kernel& k, SkbIndex skb, std::uint8_t type, std::uint8_t code, std::uint32_t info)
{
    __icmp_send(k, skb, type, code, info);
}

IcmpErrno icmp_err_convert(std::uint8_t code)
{
    static constexpr IcmpErrno table[] = {
        {ENETUNREACH, false},  {EHOSTUNREACH, false}, {ENOPROTOOPT, true},  {ECONNREFUSED, true}, {EMSGSIZE, false},    {EOPNOTSUPP, false},
        {ENETUNREACH, true},   {EHOSTDOWN, true},     {ENONET, true},       {ENETUNREACH, true},  {EHOSTUNREACH, true}, {ENETUNREACH, false},
        {EHOSTUNREACH, false}, {EHOSTUNREACH, true},  {EHOSTUNREACH, true}, {EHOSTUNREACH, true},
    };
    return code < std::size(table) ? table[code] : IcmpErrno{EHOSTUNREACH, false};
}

} // namespace skbscope::kernel
