// net/ipv6/ip6_output.c, net/ipv6/output_core.c: the datagram becomes an IPv6 packet, or passes through, and
// leaves towards its neighbour.

#include "core/kernel/ipv6.h"
#include "core/packet/build.h"
#include "core/packet/bytes.h"
#include "core/packet/protocols.h"
#include "core/packet/views.h"

#include <algorithm>

namespace skbscope::kernel {

namespace {

constexpr std::uint32_t ipv6_header = 40;
constexpr std::uint32_t frag_header = 8;
constexpr std::uint32_t hh_len = 16;                 // LL_RESERVED_SPACE of an Ethernet device
constexpr std::uint32_t SKB_MAX_ALLOC = 16384 - 320; // include/linux/skbuff.h: SKB_MAX_ORDER(0, 2)
constexpr std::uint32_t IPV6_MAXPLEN = 65535;
constexpr int EAGAIN_ = -11, EINVAL_ = -22, EMSGSIZE_ = -90, EADDRNOTAVAIL_ = -99, ENETUNREACH_ = -101;

NetIndex net_of(Kernel& k, SkbIndex skb)
{
    return k.dev_net(k.skb(skb).dst.device);
}

void ip_generic_getfrag(Kernel& k, SkbIndex skb, std::span<const std::uint8_t> from, std::uint8_t* to)
{
    Call call(k, fn::ip_generic_getfrag, skb);
    std::ranges::copy(from, to);
    k.spend(k.costs().copy(from.size()));
}

/// A multicast packet that somebody here wants, too, comes back as if the device had received it.
void loop_back(Kernel& k, SkbIndex skb)
{
    const SkbIndex clone = skb_clone(k, skb, fn::ip6_finish_output2);
    const DeviceIndex device = k.skb(clone).device;
    if (nf_hook(k, Pf::ipv6, Hook::post_routing, clone, nothing, device) != 1) {
        return;
    }
    Call call(k, fn::dev_loopback_xmit, k.skb(clone).packet);
    k.skb(clone).pkt_type = PktType::loopback;
    k.skb(clone).ip_summed = IpSummed::unnecessary;
    // The network header is where data begins; the backlog finds no Ethernet header to look at.
    k.skb(clone).mac_header = k.skb(clone).network_header;
    __netif_rx(k, clone);
}

int ip6_finish_output2(Kernel& k, SkbIndex skb)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::ip6_finish_output2, packet);
    const Destination dst = k.skb(skb).dst;
    const NetIndex net = net_of(k, skb);
    const bool on_loopback = k.device(dst.device).kind == DeviceKind::loopback;
    const IpAddress daddr = Ipv6View::unchecked(skb_network(k, skb)).destination();
    if (k.profile() >= Profile::v6_12) {
        k.count(net, Mib::Ip6OutTransmits, packet);
        k.count(net, Mib::Ip6OutOctets, packet, k.skb(skb).len);
    }
    if (ipv6_addr_is_multicast(daddr)) {
        const SocketIndex sk = k.skb(skb).sk;
        const bool mc_loop =
            sk != nothing && k.socket(sk).hashed; // the kernel's own sockets have mc_loop off
        if (!on_loopback && mc_loop && ipv6_chk_mcast_addr(k, dst.device, daddr)) {
            loop_back(k, skb);
            if (Ipv6View::unchecked(skb_network(k, skb)).hop_limit() == 0) {
                k.count(net, Mib::Ip6OutDiscards, packet);
                kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::ip6_finish_output2);
                return 0;
            }
        }
        k.count(net, Mib::Ip6OutMcastPkts, packet);
        k.count(net, Mib::Ip6OutMcastOctets, packet, k.skb(skb).len);
        if (ipv6_addr_mc_scope(daddr) <= 1 && !on_loopback) {
            kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::ip6_finish_output2);
            return 0;
        }
    }
    const IpAddress next_hop = rt6_nexthop(k, net, dst, daddr);
    std::int32_t neighbour = neigh_lookup_noref(k, next_hop, dst.device);
    if (neighbour == nothing) {
        neighbour = __neigh_create(k, next_hop, dst.device, packet);
    }
    return neigh_output(k, neighbour, skb);
}

// ---- fragments
// ------------------------------------------------------------------------------------------------------------

/// ip6_frag_next(): one piece, a packet of its own.
SkbIndex ip6_frag_next(Kernel& k, SkbIndex whole, std::uint32_t offset, std::uint32_t length, bool more,
                       std::uint32_t id)
{
    PacketRecord record;
    record.host = k.host().id;
    record.device = k.device(k.skb(whole).dst.device).id;
    record.parent = k.skb(whole).packet;
    record.relation = Relation::split;
    record.birth = k.cpu().now;
    record.birth_function = fn::ip6_fragment;
    record.sent_here = k.skb(whole).mine;
    record.length = ipv6_header + frag_header + length;
    record.flow = k.trace.packet(k.skb(whole).packet).flow;
    const PacketId packet = k.trace.add_packet(record);
    k.emit(EventKind::birth, packet, fn::ip6_fragment);
    const SkbIndex piece = __alloc_skb(k, packet, length + ipv6_header + frag_header + hh_len);
    skb_reserve(k, piece, hh_len);
    skb_put(k, piece, ipv6_header + frag_header + length);
    set_network_header(k, piece);
    set_transport_header(k, piece, ipv6_header + frag_header);
    const auto from = skb_network(k, whole);
    const auto to = skb_network_writable(k, piece);
    std::ranges::copy(from.first(ipv6_header), to.begin());
    std::ranges::copy(from.subspan(ipv6_header + offset, length), to.begin() + ipv6_header + frag_header);
    const std::uint8_t nexthdr = from[6];
    to[6] = NEXTHDR_FRAGMENT;
    store_be16(to.data() + 4, static_cast<std::uint16_t>(frag_header + length));
    std::uint8_t* header = to.data() + ipv6_header;
    header[0] = nexthdr;
    header[1] = 0;
    store_be16(header + 2, static_cast<std::uint16_t>(offset | (more ? 1 : 0)));
    store_be32(header + 4, id);
    k.spend(k.costs().copy(length));
    const SkBuff original = k.skb(whole);
    SkBuff& buff = k.skb(piece);
    buff.mine = original.mine;
    buff.protocol = proto::eth_p_ipv6;
    buff.pkt_type = original.pkt_type;
    buff.priority = original.priority;
    buff.device = original.device;
    buff.ip6cb = original.ip6cb;
    set_dst(k, piece, original.dst);
    if (original.sk != nothing) {
        buff.sk = original.sk;
        k.socket(original.sk).sk_wmem_alloc += buff.truesize;
    }
    return piece;
}

int ip6_fragment(Kernel& k, SkbIndex skb)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::ip6_fragment, packet);
    const NetIndex net = net_of(k, skb);
    const IpAddress daddr = Ipv6View::unchecked(skb_network(k, skb)).destination();
    const std::uint32_t mtu = ip6_mtu(k, net, k.skb(skb).dst, daddr);
    const bool ignore_df = k.skb(skb).sk != nothing; // only what was made here is ever cut
    if (!ignore_df || mtu < ipv6_header + frag_header + 8) {
        icmp6_send(k, skb, ICMPV6_PKT_TOOBIG, 0, mtu);
        k.count(net, Mib::Ip6FragFails, packet);
        kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::ip6_fragment);
        return EMSGSIZE_;
    }
    const std::uint32_t room = (mtu - ipv6_header - frag_header) & ~7u;
    const std::uint32_t id = k.net(net).ipv6.fragment_id++;
    if (k.skb(skb).ip_summed == IpSummed::partial) {
        Call help(k, fn::skb_checksum_help, packet);
        finish_checksum(k, skb);
    }
    const std::uint32_t total = k.skb(skb).len - ipv6_header;
    for (std::uint32_t offset = 0; offset < total; offset += room) {
        const std::uint32_t length = std::min(room, total - offset);
        const SkbIndex piece = ip6_frag_next(k, skb, offset, length, offset + length < total, id);
        if (const int error = ip6_finish_output2(k, piece); error != 0) {
            k.count(net, Mib::Ip6FragFails, packet);
            kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::ip6_fragment);
            return error;
        }
        k.count(net, Mib::Ip6FragCreates, packet);
    }
    k.count(net, Mib::Ip6FragOKs, packet);
    k.verdict(packet, Verdict::split, fn::ip6_fragment);
    consume_skb(k, skb, fn::ip6_fragment);
    return 0;
}

int __ip6_finish_output(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::__ip6_finish_output, k.skb(skb).packet);
    const IpAddress daddr = Ipv6View::unchecked(skb_network(k, skb)).destination();
    const std::uint32_t mtu = ip6_mtu(k, net_of(k, skb), k.skb(skb).dst, daddr);
    const std::uint32_t received = k.skb(skb).ip6cb.frag_max_size;
    if (k.skb(skb).len > mtu || (received != 0 && k.skb(skb).len > received)) {
        return ip6_fragment(k, skb);
    }
    return ip6_finish_output2(k, skb);
}

int __ip6_local_out(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::__ip6_local_out, k.skb(skb).packet);
    const std::uint32_t length = k.skb(skb).len - ipv6_header;
    MutableIpv6View::unchecked(skb_network_writable(k, skb))
        .set_payload_length(static_cast<std::uint16_t>(length > IPV6_MAXPLEN ? 0 : length));
    k.skb(skb).ip6cb.nhoff = 6;
    k.skb(skb).protocol = proto::eth_p_ipv6;
    return nf_hook(k, Pf::ipv6, Hook::local_out, skb, nothing, k.skb(skb).dst.device);
}

} // namespace

int ip6_finish_output(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::ip6_finish_output, k.skb(skb).packet);
    return __ip6_finish_output(k, skb);
}

int ip6_output(Kernel& k, SkbIndex skb)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::ip6_output, packet);
    const DeviceIndex in = k.skb(skb).device;
    const DeviceIndex out = k.skb(skb).dst.device;
    k.skb(skb).protocol = proto::eth_p_ipv6;
    set_device(k, skb, out);
    if (!k.device(out).in6.present || k.device(out).in6.disable_ipv6 != 0) {
        k.count(k.dev_net(out), Mib::Ip6OutDiscards, packet);
        kfree_skb_reason(k, skb, drop::IPV6DISABLED, fn::ip6_output);
        return 0;
    }
    const int verdict = nf_hook(k, Pf::ipv6, Hook::post_routing, skb, in, out);
    return verdict == 1 ? ip6_finish_output(k, skb) : verdict;
}

int ip6_local_out(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::ip6_local_out, k.skb(skb).packet);
    const int verdict = __ip6_local_out(k, skb);
    return verdict == 1 ? ip6_dst_output(k, skb) : verdict;
}

int ip6_send_skb(Kernel& k, SkbIndex skb)
{
    const PacketId packet = k.skb(skb).packet;
    const NetIndex net = net_of(k, skb);
    Call call(k, fn::ip6_send_skb, packet);
    int error = ip6_local_out(k, skb);
    if (error > 0) { // NET_XMIT_CN is no error
        error = error == 2 ? 0 : -105;
    }
    if (error != 0) {
        k.count(net, Mib::Ip6OutDiscards, packet);
    }
    return error;
}

// ---- a datagram is put together
// -----------------------------------------------------------------------------------------------

std::uint8_t ip6_dst_hoplimit(Kernel& k, const Destination& dst)
{
    return static_cast<std::uint8_t>(k.device(dst.device).in6.hop_limit);
}

std::uint32_t ip6_make_flowlabel(Kernel& k, NetIndex net, const Flowi6& fl6)
{
    const Ipv6Net& ipv6 = k.net(net).ipv6;
    if (fl6.flowlabel != 0 || k.net(net).sysctl.ip6_auto_flowlabels == 0) {
        return fl6.flowlabel;
    }
    // skb_get_hash_flowi6(): any hash that is the same for a flow and unlike for others.
    std::uint32_t hash = ipv6.flowlabel_secret;
    const auto mix = [&hash](std::uint32_t value) { hash = (hash ^ value) * 16777619u; };
    for (const IpAddress* address : {&fl6.saddr, &fl6.daddr}) {
        for (const std::uint8_t byte : address->bytes) {
            mix(byte);
        }
    }
    mix(fl6.proto);
    mix(std::uint32_t{fl6.sport} << 16 | fl6.dport);
    return (hash << 16 | hash >> 16) & 0xfffff;
}

namespace {

SkbIndex __ip6_append_data(Kernel& k, SocketIndex sk, const Destination& dst, const Flowi6& fl6,
                           std::span<const std::uint8_t> payload, std::uint32_t transhdrlen, FunctionId getfrag,
                           std::uint64_t call_sequence, int& error)
{
    Call call(k, fn::__ip6_append_data);
    const NetIndex net = k.sock_net(sk);
    const std::uint32_t mtu = ip6_mtu(k, net, dst, fl6.daddr);
    const auto length = static_cast<std::uint32_t>(payload.size()) + transhdrlen;
    if (mtu < IPV6_MIN_MTU) {
        error = EINVAL_;
        return nothing;
    }
    if (length > IPV6_MAXPLEN) {
        error = EMSGSIZE_;
        return nothing;
    }
    const std::uint32_t fraglen = length + ipv6_header;
    const std::uint32_t extra = hh_len + frag_header; // room for a fragment header is always left
    const bool paged = fraglen + extra >= SKB_MAX_ALLOC;
    const std::uint32_t linear = paged ? ipv6_header + transhdrlen : fraglen;
    const SkbIndex skb = sock_alloc_send_skb(k, sk, linear + extra, fraglen - linear, call_sequence);
    if (skb == nothing) {
        error = EAGAIN_;
        return nothing;
    }
    SkBuff& buff = k.skb(skb);
    if (buff.head.size() < extra + fraglen) { // paged bytes lie behind the linear ones in the same buffer
        buff.head.writable().resize(extra + fraglen);
    }
    const bool partial =
        fl6.proto == proto::ipproto_udp && length <= mtu - ipv6_header && k.device(dst.device).tx_checksum;
    buff.ip_summed = partial ? IpSummed::partial : IpSummed::none;
    k.field(skb, SkbField::ip_summed, 0, static_cast<std::uint64_t>(buff.ip_summed));
    skb_reserve(k, skb, extra);
    std::uint8_t* bytes = skb_put(k, skb, fraglen);
    if (paged) {
        k.field(skb, SkbField::data_len, 0, fraglen - linear);
        k.skb(skb).data_len = fraglen - linear;
    }
    set_network_header(k, skb);
    set_transport_header(k, skb, ipv6_header);
    if (getfrag == fn::ip_generic_getfrag) {
        ip_generic_getfrag(k, skb, payload, bytes + ipv6_header + transhdrlen);
    } else if (getfrag != FunctionId::none) {
        Call copy(k, getfrag, skb);
        std::ranges::copy(payload, bytes + ipv6_header + transhdrlen);
        k.spend(k.costs().copy(payload.size()));
    } else { // icmpv6_getfrag(): copies and sums
        std::ranges::copy(payload, bytes + ipv6_header + transhdrlen);
        k.spend(k.costs().copy(payload.size()));
    }
    return skb;
}

void __ip6_make_skb(Kernel& k, SkbIndex skb, const Destination& dst, const Flowi6& fl6,
                    const Ipcm6Cookie& ipc6)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::__ip6_make_skb, packet);
    const NetIndex net = k.dev_net(dst.device);
    Ipv6Fields fields;
    fields.source = fl6.saddr;
    fields.destination = fl6.daddr;
    fields.next_header = fl6.proto;
    fields.payload_length = static_cast<std::uint16_t>(k.skb(skb).len - ipv6_header);
    fields.hop_limit = static_cast<std::uint8_t>(ipc6.hlimit < 0 ? ip6_dst_hoplimit(k, dst) : ipc6.hlimit);
    fields.traffic_class = static_cast<std::uint8_t>(std::max<std::int16_t>(ipc6.tclass, 0));
    fields.flow_label = ip6_make_flowlabel(k, net, fl6);
    write_ipv6(skb_network_writable(k, skb), fields);
    k.field(skb, SkbField::protocol, 0, proto::eth_p_ipv6);
    k.skb(skb).protocol = proto::eth_p_ipv6;
    set_dst(k, skb, dst);
    k.count(net, Mib::Ip6OutRequests, packet);
    if (k.profile() < Profile::v6_12) {
        k.count(net, Mib::Ip6OutOctets, packet, k.skb(skb).len);
    }
    if (fl6.proto == proto::ipproto_icmpv6) {
        icmpv6_count_out(k, net, skb_network(k, skb)[ipv6_header], packet);
    }
}

} // namespace

SkbIndex ip6_append_data(Kernel& k, SocketIndex sk, const Destination& dst, const Flowi6& fl6,
                         std::span<const std::uint8_t> payload, std::uint32_t transhdrlen)
{
    const std::uint64_t sequence = k.next_sequence();
    Call call(k, fn::ip6_append_data);
    int error = 0;
    return __ip6_append_data(k, sk, dst, fl6, payload, transhdrlen, FunctionId::none, sequence, error);
}

SkbIndex ip6_append_data(Kernel& k, SocketIndex sk, const Destination& dst, const Flowi6& fl6,
                         std::span<const std::uint8_t> payload, std::uint32_t transhdrlen, FunctionId getfrag,
                         std::uint64_t call_sequence, int& error)
{
    Call call(k, fn::ip6_append_data);
    return __ip6_append_data(k, sk, dst, fl6, payload, transhdrlen, getfrag, call_sequence, error);
}

int ip6_push_pending_frames(Kernel& k, SkbIndex skb, const Destination& dst, const Flowi6& fl6,
                            const Ipcm6Cookie& ipc6)
{
    Call call(k, fn::ip6_push_pending_frames, k.skb(skb).packet);
    __ip6_make_skb(k, skb, dst, fl6, ipc6);
    return ip6_send_skb(k, skb);
}

SkbIndex ip6_make_skb(Kernel& k, SocketIndex sk, const Destination& dst, const Flowi6& fl6,
                      const Ipcm6Cookie& ipc6, std::span<const std::uint8_t> payload,
                      std::uint32_t transhdrlen, std::uint64_t call_sequence, int& error)
{
    Call call(k, fn::ip6_make_skb);
    const SkbIndex skb = __ip6_append_data(k, sk, dst, fl6, payload, transhdrlen, fn::ip_generic_getfrag, call_sequence, error);
    if (skb != nothing) {
        __ip6_make_skb(k, skb, dst, fl6, ipc6);
        k.attribute_since(call_sequence, k.skb(skb).packet);
    }
    return skb;
}

int ip6_dst_lookup_tail(Kernel& k, NetIndex net, SocketIndex sk, Destination& dst, Flowi6& fl6,
                        PacketId packet)
{
    Call call(k, fn::ip6_dst_lookup_tail, packet);
    dst = {};
    if (fl6.saddr.is_any()) {
        dst = ip6_route_output_flags(k, net, sk, fl6, packet);
        const Route6* route = dst.error6 == 0 ? route6_of(k, net, dst) : nullptr;
        if (route != nullptr && !route->prefsrc.is_any()) {
            fl6.saddr = route->prefsrc;
        } else if (!ipv6_dev_get_saddr(k, net, route != nullptr ? route->device : nothing, fl6.daddr,
                                       fl6.saddr, packet)) {
            return EADDRNOTAVAIL_;
        }
        if (dst.error6 != 0) {
            dst = {}; // as if the first lookup had not been: the source may make a difference
        }
    }
    if (!dst.valid) {
        dst = ip6_route_output_flags(k, net, sk, fl6, packet);
    }
    if (dst.error6 == ENETUNREACH_) {
        k.count(net, Mib::Ip6OutNoRoutes, packet);
    }
    return dst.error6;
}

int ip6_dst_lookup_flow(Kernel& k, NetIndex net, SocketIndex sk, Destination& dst, Flowi6& fl6,
                        PacketId packet)
{
    Call call(k, fn::ip6_dst_lookup_flow, packet);
    return ip6_dst_lookup_tail(k, net, sk, dst, fl6, packet);
}

int ip6_sk_dst_lookup_flow(Kernel& k, SocketIndex index, Destination& dst, Flowi6& fl6, bool connected)
{
    Call call(k, fn::ip6_sk_dst_lookup_flow);
    {
        Call check(k, fn::sk_dst_check);
        const Socket& sk = k.socket(index);
        // ip6_sk_dst_check(): the cached route is that of the peer, and only of it.
        if (sk.cached_route.valid && sk.cached_route.v6 && fl6.daddr == sk.v6_daddr &&
            (fl6.oif == nothing || fl6.oif == sk.cached_route.device)) {
            dst = sk.cached_route;
            return 0;
        }
    }
    const int error = ip6_dst_lookup_flow(k, k.sock_net(index), index, dst, fl6, PacketId::none);
    if (connected && error == 0) {
        k.socket(index).cached_route = dst;
    }
    return error;
}

// ---- a packet passes through
// ---------------------------------------------------------------------------------------------------

int ip6_forward_finish(Kernel& k, SkbIndex skb)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::ip6_forward_finish, packet);
    const NetIndex net = net_of(k, skb);
    if (k.profile() < Profile::v6_12) { // since 6.6 ip6_forward() counts
        k.count(net, Mib::Ip6OutForwDatagrams, packet);
        k.count(net, Mib::Ip6OutOctets, packet, k.skb(skb).len);
    }
    return ip6_dst_output(k, skb);
}

void ip6_forward(Kernel& k, SkbIndex skb)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::ip6_forward, packet);
    const NetIndex net = net_of(k, skb);
    const auto discard = [&](DropReasonId reason) { kfree_skb_reason(k, skb, reason, fn::ip6_forward); };
    const auto bad_address = [&] {
        k.count(net, Mib::Ip6InAddrErrors, packet);
        discard(drop::IP_INADDRERRORS);
    };
    if (k.net(net).ipv6.conf_all.forwarding == 0) {
        bad_address();
        return;
    }
    if (k.skb(skb).pkt_type != PktType::host || k.skb(skb).sk != nothing) {
        discard(drop::NOT_SPECIFIED);
        return;
    }
    const Ipv6View ip = Ipv6View::unchecked(skb_network(k, skb));
    const IpAddress saddr = ip.source();
    const IpAddress daddr = ip.destination();
    if (ip.hop_limit() <= 1) {
        icmp6_send(k, skb, ICMPV6_TIME_EXCEED, ICMPV6_EXC_HOPLIMIT, 0);
        k.count(net, Mib::Ip6InHdrErrors, packet);
        discard(drop::IP_INHDR);
        return;
    }
    const Destination dst = k.skb(skb).dst;
    if (k.skb(skb).ip6cb.iif == dst.device) {
        ndisc_send_redirect(k, skb, rt6_nexthop(k, net, dst, daddr));
    } else {
        if (saddr.is_any() || ipv6_addr_is_multicast(saddr) || ipv6_addr_loopback(saddr)) {
            bad_address();
            return;
        }
        if (ipv6_addr_is_linklocal(saddr)) {
            icmp6_send(k, skb, ICMPV6_DEST_UNREACH, ICMPV6_NOT_NEIGHBOUR, 0);
            bad_address();
            return;
        }
    }
    if (k.profile() >= Profile::v6_12) {
        k.count(net, Mib::Ip6OutForwDatagrams, packet);
    }
    const std::uint32_t mtu = std::max(ip6_mtu(k, net, dst, daddr), IPV6_MIN_MTU);
    if (k.skb(skb).len > mtu) { // routers never fragment
        set_device(k, skb, dst.device);
        icmp6_send(k, skb, ICMPV6_PKT_TOOBIG, 0, mtu);
        k.count(net, Mib::Ip6InTooBigErrors, packet);
        k.count(net, Mib::Ip6FragFails, packet);
        discard(drop::PKT_TOO_BIG);
        return;
    }
    const auto bytes = skb_network_writable(k, skb);
    const MutableIpv6View header = MutableIpv6View::unchecked(bytes);
    header.set_hop_limit(static_cast<std::uint8_t>(header.hop_limit() - 1));
    k.skb(skb).ip6cb.forwarded = true;
    if (nf_hook(k, Pf::ipv6, Hook::forward, skb, k.skb(skb).device, dst.device) == 1) {
        ip6_forward_finish(k, skb);
    }
}

} // namespace skbscope::kernel
