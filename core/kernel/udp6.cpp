// net/ipv6/udp.c: datagrams over IPv6, in and out.

#include "core/kernel/ipv6.h"
#include "core/packet/build.h"
#include "core/packet/checksum.h"
#include "core/packet/protocols.h"
#include "core/packet/views.h"

#include <algorithm>

namespace skbscope::kernel {

namespace {

constexpr std::uint32_t udp_header = 8;
constexpr std::uint32_t ipv6_header = 40;
constexpr std::uint32_t CHECKSUM_BREAK = 76; // include/linux/skbuff.h: up to here it is summed at once
constexpr int EAGAIN_ = -11, EINVAL_ = -22, EDESTADDRREQ_ = -89, EMSGSIZE_ = -90, ENETUNREACH_ = -101,
              ENOBUFS_ = -105;

// ---- lookup
// -------------------------------------------------------------------------------------------------------------

/// Where the datagram says it comes from and goes to.
struct Tuple6 {
    NetIndex net;
    IpAddress saddr, daddr;
    std::uint16_t sport, dport;
    DeviceIndex device;
};

/// The compiler inlines it: no call of its own (net/ipv6/udp.c: compute_score is another function than
/// IPv4's).
int compute_score(Kernel& k, const Socket& sk, const IpAddress& slot_address, const Tuple6& tuple)
{
    if (sk.net != tuple.net || sk.num != tuple.dport || !sk.inet6 || sk.v6_rcv_saddr != slot_address) {
        return -1;
    }
    int score = 0;
    if (sk.dport != 0) {
        if (sk.dport != tuple.sport) {
            return -1;
        }
        ++score;
    }
    if (!sk.v6_daddr.is_any()) {
        if (sk.v6_daddr != tuple.saddr) {
            return -1;
        }
        ++score;
    }
    if (sk.bound_device != nothing) {
        if (sk.bound_device != tuple.device) {
            return -1;
        }
        ++score;
    }
    return sk.incoming_cpu == static_cast<std::int32_t>(k.cpu().index) ? score + 1 : score;
}

bool is_udp6(const Socket& sk)
{
    return sk.in_use && sk.hashed && sk.inet6 && sk.kind == SocketKind::udp && sk.num != 0;
}

SocketIndex udp6_lib_lookup2(Kernel& k, const IpAddress& slot_address, const Tuple6& tuple, PacketId packet)
{
    Call call(k, fn::udp6_lib_lookup2, packet);
    SocketIndex best = nothing;
    int best_score = -1;
    for (std::size_t row = k.w.sockets.size();
         row-- > 0;) { // newest first, as hlist_add_head_rcu() leaves them
        const Socket& sk = k.w.sockets[row];
        if (!is_udp6(sk)) {
            continue;
        }
        const int score = compute_score(k, sk, slot_address, tuple);
        if (score > best_score) {
            best = static_cast<SocketIndex>(row);
            best_score = score;
        }
    }
    return best;
}

SocketIndex __udp6_lib_lookup(Kernel& k, const Tuple6& tuple, PacketId packet)
{
    Call call(k, fn::__udp6_lib_lookup, packet);
    const SocketIndex exact = udp6_lib_lookup2(k, tuple.daddr, tuple, packet);
    return exact != nothing ? exact : udp6_lib_lookup2(k, IpAddress::any6(), tuple, packet);
}

SocketIndex __udp6_lib_lookup_skb(Kernel& k, SkbIndex skb, const Tuple6& tuple)
{
    Call call(k, fn::__udp6_lib_lookup_skb, skb);
    return __udp6_lib_lookup(k, tuple, k.skb(skb).packet);
}

/// inet6_iif(): of a packet to ourselves, the device that bears the address.
DeviceIndex inet6_iif(Kernel& k, SkbIndex skb)
{
    const DeviceIndex iif = k.skb(skb).ip6cb.iif;
    return iif == nothing ? k.skb(skb).device : iif;
}

// ---- receive
// ------------------------------------------------------------------------------------------------------------

void csum_error(Kernel& k, NetIndex net, SkbIndex skb, FunctionId where)
{
    k.count(net, Mib::Udp6InCsumErrors, k.skb(skb).packet);
    k.count(net, Mib::Udp6InErrors, k.skb(skb).packet);
    kfree_skb_reason(k, skb, drop::UDP_CSUM, where);
}

void __udpv6_queue_rcv_skb(Kernel& k, SocketIndex index, SkbIndex skb)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::__udpv6_queue_rcv_skb, packet);
    const NetIndex net = k.sock_net(index);
    if (!k.socket(index).v6_daddr.is_any()) {
        sock_rps_save_rxhash(k, index, skb);
        k.socket(index).incoming_cpu = static_cast<std::int32_t>(k.cpu().index);
    }
    const int error = __udp_enqueue_schedule_skb(k, index, skb);
    if (error == 0) {
        return;
    }
    const bool no_room = error == -12; // ENOMEM; else the protocol's memory is used up
    k.count(net, no_room ? Mib::Udp6RcvbufErrors : Mib::Udp6MemErrors, packet);
    k.count(net, Mib::Udp6InErrors, packet);
    kfree_skb_reason(k, skb, no_room ? drop::SOCKET_RCVBUFF : drop::PROTO_MEM, fn::__udpv6_queue_rcv_skb);
}

void udpv6_queue_rcv_one_skb(Kernel& k, SocketIndex index, SkbIndex skb)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::udpv6_queue_rcv_one_skb, packet);
    const NetIndex net = k.sock_net(index);
    const bool unverified = k.skb(skb).ip_summed == IpSummed::none && !k.skb(skb).checksum_verified;
    if (!k.socket(index).filter.empty() && unverified) { // a filter is not shown what may be broken
        if (!udp6_checksum_right(k, skb)) {
            ++k.socket(index).sk_drops;
            csum_error(k, net, skb, fn::udpv6_queue_rcv_one_skb);
            return;
        }
        k.skb(skb).checksum_verified = true;
    }
    if (!sk_filter_trim_cap(k, index, skb, udp_header)) {
        k.count(net, Mib::Udp6InErrors, packet);
        ++k.socket(index).sk_drops;
        kfree_skb_reason(k, skb, drop::SOCKET_FILTER, fn::udpv6_queue_rcv_one_skb);
        return;
    }
    skb_pull(k, skb, udp_header); // udp_csum_pull_header()
    __udpv6_queue_rcv_skb(k, index, skb);
}

void udpv6_queue_rcv_skb(Kernel& k, SocketIndex index, SkbIndex skb)
{
    Call call(k, fn::udpv6_queue_rcv_skb, k.skb(skb).packet);
    udpv6_queue_rcv_one_skb(k, index, skb);
}

void udp6_unicast_rcv_skb(Kernel& k, SocketIndex index, SkbIndex skb)
{
    Call call(k, fn::udp6_unicast_rcv_skb, k.skb(skb).packet);
    udpv6_queue_rcv_skb(k, index, skb);
}

/// __udp_v6_is_mcast_sock()
bool wants_multicast(const Socket& sk, const Tuple6& tuple)
{
    return is_udp6(sk) && sk.net == tuple.net && sk.num == tuple.dport &&
           (sk.dport == 0 || sk.dport == tuple.sport) &&
           (sk.v6_daddr.is_any() || sk.v6_daddr == tuple.saddr) &&
           (sk.bound_device == nothing || sk.bound_device == tuple.device) &&
           (sk.v6_rcv_saddr.is_any() || sk.v6_rcv_saddr == tuple.daddr);
}

void __udp6_lib_mcast_deliver(Kernel& k, SkbIndex skb, const Tuple6& tuple, bool no_checksum)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::__udp6_lib_mcast_deliver, packet);
    SocketIndex first = nothing;
    for (std::size_t row = k.w.sockets.size(); row-- > 0;) {
        if (!wants_multicast(k.w.sockets[row], tuple) || no_checksum) {
            continue;
        }
        if (first == nothing) {
            first = static_cast<SocketIndex>(row);
            continue;
        }
        udpv6_queue_rcv_skb(k, static_cast<SocketIndex>(row),
                            skb_clone(k, skb, fn::__udp6_lib_mcast_deliver));
    }
    if (first != nothing) {
        udpv6_queue_rcv_skb(k, first, skb);
        return;
    }
    kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::__udp6_lib_mcast_deliver);
    k.count(tuple.net, Mib::Udp6IgnoredMulti, packet);
}

void __udp6_lib_rcv(Kernel& k, SkbIndex skb)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::__udp6_lib_rcv, packet);
    const NetIndex net = k.skb_net(skb);
    const auto discard = [&](DropReasonId reason) {
        k.count(net, Mib::Udp6InErrors, packet);
        kfree_skb_reason(k, skb, reason, fn::__udp6_lib_rcv);
    };
    const auto udp = UdpView::checked(skb_data(k, skb));
    if (!udp) {
        discard(drop::NOT_SPECIFIED);
        return;
    }
    std::uint32_t length = udp->length();
    const Ipv6View ip = Ipv6View::unchecked(skb_network(k, skb));
    const Tuple6 tuple{
        net, ip.source(), ip.destination(), udp->source_port(), udp->destination_port(), inet6_iif(k, skb)};
    const bool no_checksum = udp->checksum() == 0;
    if (length == 0) {
        length = k.skb(skb).len; // a jumbo payload says its length elsewhere
    }
    if (length > k.skb(skb).len || length < udp_header) {
        discard(drop::PKT_TOO_SMALL);
        return;
    }
    if (length < k.skb(skb).len) {
        skb_trim(k, skb, length);
    }
    if (k.skb(skb).ip_summed == IpSummed::none) { // udp6_csum_init(); a zero is judged by the socket
        if (no_checksum) {
            k.skb(skb).checksum_verified = true;
        } else if (k.skb(skb).len <= CHECKSUM_BREAK) {
            if (!udp6_checksum_right(k, skb)) {
                csum_error(k, net, skb, fn::__udp6_lib_rcv);
                return;
            }
            k.skb(skb).checksum_verified = true;
        }
    }
    const SocketIndex demuxed = k.skb(skb).demuxed;
    if (demuxed != nothing && !k.socket(demuxed).rx_route.valid) {
        k.socket(demuxed).rx_route = k.skb(skb).dst;
    }
    if (demuxed == nothing && ipv6_addr_is_multicast(tuple.daddr)) {
        __udp6_lib_mcast_deliver(k, skb, tuple, no_checksum);
        return;
    }
    const SocketIndex sk = demuxed != nothing ? demuxed : __udp6_lib_lookup_skb(k, skb, tuple);
    if (no_checksum) { // RFC 8200: over IPv6 every datagram bears one
        const DropReasonId reason = sk == nothing ? drop::NO_SOCKET : drop::UDP_CSUM;
        k.count(net, Mib::Udp6InCsumErrors, packet);
        discard(reason);
        return;
    }
    if (sk != nothing) {
        udp6_unicast_rcv_skb(k, sk, skb);
        return;
    }
    if (k.skb(skb).ip_summed == IpSummed::none && !k.skb(skb).checksum_verified &&
        !udp6_checksum_right(k, skb)) {
        k.count(net, Mib::Udp6InCsumErrors, packet);
        discard(drop::NO_SOCKET);
        return;
    }
    k.count(net, Mib::Udp6NoPorts, packet);
    icmp6_send(k, skb, ICMPV6_DEST_UNREACH, ICMPV6_PORT_UNREACH, 0);
    kfree_skb_reason(k, skb, drop::NO_SOCKET, fn::__udp6_lib_rcv);
}

} // namespace

bool udp6_checksum_right(Kernel& k, SkbIndex skb)
{
    const auto packet = skb_network(k, skb);
    const Ipv6View ip = Ipv6View::unchecked(packet);
    const auto offset = static_cast<std::size_t>(k.skb(skb).transport_header - k.skb(skb).network_header);
    const auto segment = packet.subspan(std::min(offset, packet.size()));
    const auto udp = UdpView::checked(segment);
    k.spend(k.costs().copy(segment.size()));
    if (!udp) {
        return false;
    }
    const std::size_t length =
        udp->length() == 0 ? segment.size() : std::min<std::size_t>(segment.size(), udp->length());
    return udp_checksum_ok(ip.source(), ip.destination(), segment.first(length));
}

int udpv6_rcv(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::udpv6_rcv, k.skb(skb).packet);
    __udp6_lib_rcv(k, skb);
    return 0;
}

void udp_v6_early_demux(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::udp_v6_early_demux, skb);
    const auto packet = skb_network(k, skb);
    const Ipv6View ip = Ipv6View::unchecked(packet);
    const auto udp = UdpView::checked(packet.subspan(ipv6_header));
    if (!udp || k.skb(skb).pkt_type != PktType::host) {
        return;
    }
    for (std::size_t row = k.w.sockets.size(); row-- > 0;) {
        const Socket& sk = k.w.sockets[row];
        const bool in_chain = is_udp6(sk) && sk.net == k.skb_net(skb) && sk.num == udp->destination_port() &&
                              sk.v6_rcv_saddr == ip.destination();
        if (!in_chain) {
            continue;
        }
        // __udp6_lib_demux_lookup(): only the first socket of the chain is looked at.
        if (sk.v6_daddr == ip.source() && sk.dport == udp->source_port() &&
            (sk.bound_device == nothing || sk.bound_device == k.skb(skb).device)) {
            k.skb(skb).demuxed = static_cast<SocketIndex>(row);
            if (sk.rx_route.valid) {
                set_dst(k, skb, sk.rx_route);
            }
        }
        return;
    }
}

void udpv6_err(Kernel& k, SkbIndex skb, std::uint8_t type, std::uint8_t code, std::size_t offset,
               std::uint32_t info)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::udpv6_err, packet);
    Call lib(k, fn::__udp6_lib_err, packet);
    const auto inner = skb_data(k, skb);
    const Ipv6View ip = Ipv6View::unchecked(inner);
    const auto udp = UdpView::unchecked(inner.subspan(offset));
    const NetIndex net = k.skb_net(skb);
    // The quoted packet was ours: its source is the socket's own end.
    const Tuple6 tuple{
        net, ip.destination(), ip.source(), udp.destination_port(), udp.source_port(), k.skb(skb).device};
    const SocketIndex index = __udp6_lib_lookup(k, tuple, packet);
    if (index == nothing) {
        k.count(net, Mib::Icmp6InErrors, packet);
        return;
    }
    int error = 0;
    const bool hard = icmpv6_err_convert(type, code, error) || type == ICMPV6_PKT_TOOBIG;
    if (type == ICMPV6_PKT_TOOBIG) {
        ip6_rt_update_pmtu(k, net, ip.destination(), info);
    }
    const bool connected = !k.socket(index).v6_daddr.is_any();
    if (hard && connected) { // the next call on the socket reports it
        k.socket(index).sk_err = error;
        sock_def_error_report(k, index, packet);
    }
}

// ---- send
// -----------------------------------------------------------------------------------------------------------------

namespace {

void udp6_hwcsum_outgoing(Kernel& k, SkbIndex skb, const Flowi6& fl6)
{
    Call call(k, fn::udp6_hwcsum_outgoing, skb);
    // CHECKSUM_PARTIAL: the field holds the pseudo header's sum; the hardware adds the rest.
    const auto segment = skb_network_writable(k, skb).subspan(ipv6_header);
    MutableUdpView::unchecked(segment).set_checksum(static_cast<std::uint16_t>(~csum_ipv6_magic(
        fl6.saddr, fl6.daddr, static_cast<std::uint32_t>(segment.size()), proto::ipproto_udp)));
}

int udp_v6_send_skb(Kernel& k, SkbIndex skb, SocketIndex sk, const Flowi6& fl6)
{
    const PacketId packet = k.skb(skb).packet;
    const NetIndex net = k.sock_net(sk);
    Call call(k, fn::udp_v6_send_skb, packet);
    const auto segment = skb_network_writable(k, skb).subspan(ipv6_header);
    write_udp(segment, {fl6.sport, fl6.dport});
    FlowKey flow;
    flow.source = fl6.saddr;
    flow.destination = fl6.daddr;
    flow.protocol = proto::ipproto_udp;
    flow.ethertype = proto::eth_p_ipv6;
    flow.source_port = fl6.sport;
    flow.destination_port = fl6.dport;
    k.trace.mutable_packet(packet).flow = flow;
    if (k.skb(skb).ip_summed == IpSummed::partial) {
        udp6_hwcsum_outgoing(k, skb, fl6);
    } else {
        Call csum(k, fn::udp_csum, packet);
        k.spend(k.costs().copy(segment.size()));
        fill_udp_checksum(segment, fl6.saddr, fl6.daddr);
    }
    const int error = ip6_send_skb(k, skb);
    if (error == 0) {
        k.count(net, Mib::Udp6OutDatagrams, packet);
    } else if (error == ENOBUFS_) {
        k.count(net, Mib::Udp6SndbufErrors, packet);
        return 0; // without IPV6_RECVERR nobody is told
    }
    return error;
}

} // namespace

int udpv6_sendmsg(Kernel& k, SocketIndex index, std::span<const std::uint8_t> payload,
                  const IpAddress& address, std::uint16_t port, std::uint64_t call_sequence)
{
    Call call(k, fn::udpv6_sendmsg);
    const Socket& sk = k.socket(index);
    const bool connected = address.is_any() && port == 0;
    if (connected && sk.v6_daddr.is_any()) {
        return EDESTADDRREQ_;
    }
    IpAddress daddr = connected ? sk.v6_daddr : address;
    const std::uint16_t dport = connected ? sk.dport : port;
    if (ipv6_addr_v4mapped(daddr)) { // over IPv4, from the same socket
        if (sk.ipv6only) {
            return ENETUNREACH_;
        }
        const std::uint32_t v4 = std::uint32_t{daddr.bytes[12]} << 24 | std::uint32_t{daddr.bytes[13]} << 16 |
                                 std::uint32_t{daddr.bytes[14]} << 8 | daddr.bytes[15];
        return udp_sendmsg(k, index, payload, v4, dport, call_sequence);
    }
    if (payload.size() > 0xffff - udp_header) {
        return EMSGSIZE_;
    }
    if (dport == 0) {
        return EINVAL_;
    }
    if (daddr.is_any()) {
        daddr.bytes[15] = 1; // "::" means loopback
    }
    Flowi6 fl6;
    fl6.proto = proto::ipproto_udp;
    fl6.daddr = daddr;
    fl6.saddr = sk.v6_saddr;
    fl6.sport = sk.num;
    fl6.dport = dport;
    fl6.oif = sk.bound_device;
    Destination route;
    if (const int error = ip6_sk_dst_lookup_flow(k, index, route, fl6, connected); error != 0) {
        return error;
    }
    int error = 0;
    const SkbIndex skb = ip6_make_skb(k, index, route, fl6, {}, payload, udp_header, call_sequence, error);
    if (skb == nothing) {
        if (error == EAGAIN_) {
            return EAGAIN_;
        }
        return error;
    }
    k.trace.mutable_packet(k.skb(skb).packet).device = k.device(route.device).id;
    error = udp_v6_send_skb(k, skb, index, fl6);
    return error != 0 ? error : static_cast<int>(payload.size());
}

int udp_v6_get_port(Kernel& k, SocketIndex sk, std::uint16_t port)
{
    Call call(k, fn::udp_v6_get_port);
    return udp_lib_get_port(k, sk, port);
}

} // namespace skbscope::kernel
