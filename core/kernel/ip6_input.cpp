// net/ipv6/ip6_input.c: header checks, routing, the walk along the extension headers, local delivery; one by
// one and in lists.

#include "core/kernel/ipv6.h"
#include "core/packet/checksum.h"
#include "core/packet/protocols.h"
#include "core/packet/views.h"

#include <algorithm>

namespace skbscope::kernel {

namespace {

/// struct inet6_protocol: who takes a next header. `final`: it is no extension header.
struct Inet6Protocol {
    std::uint8_t protocol;
    int (*handler)(Kernel&, SkbIndex); ///< 1: look at the next header; 0: taken; -1: dropped
    bool final;
};

constexpr Inet6Protocol inet6_protos[] = {
    {proto::ipproto_udp, udpv6_rcv, true},    {proto::ipproto_icmpv6, icmpv6_rcv, true},
    {NEXTHDR_FRAGMENT, ipv6_frag_rcv, false}, {NEXTHDR_ROUTING, ipv6_rthdr_rcv, false},
    {NEXTHDR_DEST, ipv6_destopt_rcv, false},  {NEXTHDR_NONE, ipv6_nodata_rcv, false},
};

const Inet6Protocol* find_protocol(std::uint8_t protocol)
{
    const auto* found = std::ranges::find(inet6_protos, protocol, &Inet6Protocol::protocol);
    return found == std::end(inet6_protos) ? nullptr : found;
}

/// Drops with its counter; the caller stops.
bool inhdr_error(Kernel& k, SkbIndex skb, DropReasonId reason = drop::IP_INHDR)
{
    k.count(k.skb_net(skb), Mib::Ip6InHdrErrors, k.skb(skb).packet);
    kfree_skb_reason(k, skb, reason, fn::ip6_rcv_core);
    return false;
}

/// RFC 4291: addresses that no packet from outside may bear.
bool impossible_addresses(const Ipv6View& ip, bool on_loopback, PktType type)
{
    const IpAddress saddr = ip.source();
    const IpAddress daddr = ip.destination();
    if (!on_loopback && (ipv6_addr_loopback(saddr) || ipv6_addr_loopback(daddr))) {
        return true;
    }
    if (!on_loopback && type != PktType::loopback && ipv6_addr_is_multicast(daddr) &&
        ipv6_addr_mc_scope(daddr) == 1) {
        return true;
    }
    return (ipv6_addr_is_multicast(daddr) && ipv6_addr_mc_scope(daddr) == 0) || ipv6_addr_is_multicast(saddr);
}

/// The four counters of the ECN bits.
Mib ecn_counter(std::uint8_t traffic_class)
{
    static constexpr Mib counters[] = {Mib::Ip6InNoECTPkts, Mib::Ip6InECT1Pkts, Mib::Ip6InECT0Pkts,
                                       Mib::Ip6InCEPkts};
    return counters[traffic_class & 3];
}

/// False: dropped here.
bool ip6_rcv_core(Kernel& k, SkbIndex index)
{
    Call call(k, fn::ip6_rcv_core, index);
    SkBuff& skb = k.skb(index);
    if (skb.pkt_type == PktType::other_host) {
        k.count_device(skb.device, DevStat::rx_otherhost_dropped, skb.packet);
        kfree_skb_reason(k, index, drop::OTHERHOST, fn::ip6_rcv_core);
        return false;
    }
    const NetIndex net = k.skb_net(index);
    const NetDevice& device = k.device(skb.device);
    k.count(net, Mib::Ip6InReceives, skb.packet);
    k.count(net, Mib::Ip6InOctets, skb.packet, skb.len);
    if (!device.in6.present || device.in6.disable_ipv6 != 0) {
        k.count(net, Mib::Ip6InDiscards, skb.packet);
        kfree_skb_reason(k, index, device.in6.present ? drop::IPV6DISABLED : drop::NOT_SPECIFIED,
                         fn::ip6_rcv_core);
        return false;
    }
    skb.ip6cb = {};
    skb.ip6cb.iif = skb.dst.valid && skb.dst.rt6 != nothing
                        ? k.net(net).ipv6.routes[static_cast<std::size_t>(skb.dst.rt6)].device
                        : skb.device;
    const auto bytes = skb_data(k, index);
    if (bytes.size() < Ipv6View::minimum) {
        return inhdr_error(k, index);
    }
    const Ipv6View ip = Ipv6View::unchecked(bytes);
    if (ip.version() != 6) {
        return inhdr_error(k, index, drop::UNHANDLED_PROTO);
    }
    k.count(net, ecn_counter(ip.traffic_class()), skb.packet, std::max<std::uint32_t>(skb.gso_segs, 1));
    const bool on_loopback = device.kind == DeviceKind::loopback;
    const bool l2_group = skb.pkt_type == PktType::broadcast || skb.pkt_type == PktType::multicast;
    if (!on_loopback && (ipv6_addr_loopback(ip.source()) || ipv6_addr_loopback(ip.destination()))) {
        return inhdr_error(k, index);
    }
    if (!ipv6_addr_is_multicast(ip.destination()) && l2_group &&
        device.in6.drop_unicast_in_l2_multicast != 0) {
        return inhdr_error(k, index, drop::UNICAST_IN_L2_MULTICAST);
    }
    if (impossible_addresses(ip, on_loopback, skb.pkt_type)) {
        return inhdr_error(k, index);
    }
    set_transport_header(k, index, Ipv6View::minimum);
    const std::uint32_t length = ip.payload_length();
    const bool hop_by_hop = ip.next_header() == NEXTHDR_HOP;
    if (length != 0 || !hop_by_hop) { // 0 may announce a jumbo payload
        if (length + Ipv6View::minimum > skb.len) {
            k.count(net, Mib::Ip6InTruncatedPkts, skb.packet);
            kfree_skb_reason(k, index, drop::PKT_TOO_SMALL, fn::ip6_rcv_core);
            return false;
        }
        skb_trim(k, index,
                 length + static_cast<std::uint32_t>(Ipv6View::minimum)); // the link layer's padding goes
    }
    if (hop_by_hop) {
        const PacketId packet = k.skb(index).packet;
        if (!ipv6_parse_hopopts(k, index)) {
            k.count(net, Mib::Ip6InHdrErrors, packet);
            return false;
        }
    }
    skb_orphan(k, index);
    return true;
}

void ip6_rcv_finish_core(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::ip6_rcv_finish_core, skb);
    const std::uint8_t nexthdr = Ipv6View::unchecked(skb_network(k, skb)).next_header();
    // net.ipv4.ip_early_demux rules IPv6, too.
    if (k.net(k.skb_net(skb)).sysctl.ip_early_demux != 0 && !k.skb(skb).dst.valid &&
        nexthdr == proto::ipproto_udp) {
        udp_v6_early_demux(k, skb);
    }
    if (!k.skb(skb).dst.valid) {
        ip6_route_input(k, skb);
    }
}

bool ip6_can_use_hint(Kernel& k, SkbIndex skb, SkbIndex hint)
{
    return hint != nothing && !k.skb(skb).dst.valid &&
           Ipv6View::unchecked(skb_network(k, hint)).destination() ==
               Ipv6View::unchecked(skb_network(k, skb)).destination();
}

void ip6_sublist_rcv_finish(Kernel& k, const SkbList& list)
{
    Call call(k, fn::ip6_sublist_rcv_finish);
    for (const SkbIndex skb : list) {
        ip6_dst_input(k, skb);
    }
}

bool same_destination(const Destination& a, const Destination& b)
{
    return a.v6 == b.v6 && a.input6 == b.input6 && a.device == b.device && a.rt6 == b.rt6;
}

void ip6_list_rcv_finish(Kernel& k, const SkbList& list)
{
    Call call(k, fn::ip6_list_rcv_finish);
    SkbIndex hint = nothing;
    Destination current;
    SkbList sublist;
    for (const SkbIndex skb : list) {
        if (ip6_can_use_hint(k, skb, hint)) {
            set_dst(k, skb, k.skb(hint).dst);
        } else {
            ip6_rcv_finish_core(k, skb);
        }
        if (!current.valid || !same_destination(current, k.skb(skb).dst)) {
            hint = skb;
            if (!sublist.empty()) {
                ip6_sublist_rcv_finish(k, sublist);
                sublist.clear();
            }
            current = k.skb(skb).dst;
        }
        sublist.push_back(skb);
    }
    ip6_sublist_rcv_finish(k, sublist);
}

void ip6_sublist_rcv(Kernel& k, const SkbList& list)
{
    Call call(k, fn::ip6_sublist_rcv);
    SkbList accepted; // NF_HOOK_LIST
    for (const SkbIndex skb : list) {
        if (nf_hook(k, Pf::ipv6, Hook::pre_routing, skb, k.skb(skb).device, nothing) == 1) {
            accepted.push_back(skb);
        }
    }
    ip6_list_rcv_finish(k, accepted);
}

bool is_mld(Kernel& k, SkbIndex skb)
{
    const auto message = skb_data(k, skb);
    return !message.empty() && (message[0] == ICMPV6_MGM_QUERY || message[0] == ICMPV6_MGM_REPORT ||
                                message[0] == ICMPV6_MGM_REDUCTION || message[0] == ICMPV6_MLD2_REPORT);
}

void discard(Kernel& k, SkbIndex skb, DropReasonId reason)
{
    k.count(k.skb_net(skb), Mib::Ip6InDiscards, k.skb(skb).packet);
    kfree_skb_reason(k, skb, reason, fn::ip6_protocol_deliver_rcu);
}

} // namespace

void ip6_protocol_deliver_rcu(Kernel& k, SkbIndex skb, std::uint8_t nexthdr, bool have_final)
{
    const PacketId packet = k.skb(skb).packet;
    const NetIndex net = k.skb_net(skb);
    Call call(k, fn::ip6_protocol_deliver_rcu, packet);
    // Extension headers lie one behind the other and each is at least 8 bytes long: this ends.
    for (;;) {
        if (!have_final) {
            const SkBuff& buff = k.skb(skb);
            const std::uint32_t headers = buff.transport_header - buff.data;
            if (headers > buff.len) {
                discard(k, skb, drop::NOT_SPECIFIED);
                return;
            }
            skb_pull(k, skb, headers);
            nexthdr = skb_network(k, skb)[k.skb(skb).ip6cb.nhoff];
        }
        const bool raw = raw6_local_deliver(k, skb, nexthdr);
        const Inet6Protocol* protocol = find_protocol(nexthdr);
        if (protocol == nullptr) {
            if (raw) {
                k.count(net, Mib::Ip6InDelivers, packet);
                k.verdict(packet, Verdict::consumed, fn::ip6_protocol_deliver_rcu);
                consume_skb(k, skb, fn::ip6_protocol_deliver_rcu);
                return;
            }
            k.count(net, Mib::Ip6InUnknownProtos, packet);
            icmp6_send(k, skb, ICMPV6_PARAMPROB, ICMPV6_UNK_NEXTHDR, k.skb(skb).ip6cb.nhoff);
            kfree_skb_reason(k, skb, drop::IP_NOPROTO, fn::ip6_protocol_deliver_rcu);
            return;
        }
        if (have_final && !protocol->final) {
            discard(k, skb, drop::NOT_SPECIFIED);
            return;
        }
        if (!have_final && protocol->final) {
            have_final = true;
            const IpAddress daddr = Ipv6View::unchecked(skb_network(k, skb)).destination();
            const bool mld = nexthdr == proto::ipproto_icmpv6 && is_mld(k, skb);
            if (ipv6_addr_is_multicast(daddr) && !ipv6_chk_mcast_addr(k, k.skb(skb).device, daddr) && !mld) {
                discard(k, skb, drop::IP_INADDRERRORS);
                return;
            }
        }
        const int result = protocol->handler(k, skb);
        if (result == 0) {
            k.count(net, Mib::Ip6InDelivers, packet);
        }
        if (result <= 0) {
            return;
        }
        have_final = false;
    }
}

void ip6_input_finish(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::ip6_input_finish, k.skb(skb).packet);
    ip6_protocol_deliver_rcu(k, skb, 0, false);
}

void ip6_input(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::ip6_input, k.skb(skb).packet);
    if (nf_hook(k, Pf::ipv6, Hook::local_in, skb, k.skb(skb).device, nothing) == 1) {
        ip6_input_finish(k, skb);
    }
}

void ip6_mc_input(Kernel& k, SkbIndex skb)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::ip6_mc_input, packet);
    const NetIndex net = k.skb_net(skb);
    k.count(net, Mib::Ip6InMcastPkts, packet);
    k.count(net, Mib::Ip6InMcastOctets, packet, k.skb(skb).len);
    if (ipv6_chk_mcast_addr(k, k.skb(skb).device, Ipv6View::unchecked(skb_network(k, skb)).destination())) {
        ip6_input(k, skb);
    } else {
        kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::ip6_mc_input); // nobody joined the group
    }
}

void ipv6_list_rcv(Kernel& k, SkbList list)
{
    Call call(k, fn::ipv6_list_rcv);
    SkbList sublist;
    DeviceIndex current = nothing;
    for (const SkbIndex skb : list) {
        if (!ip6_rcv_core(k, skb)) {
            continue;
        }
        if (current != k.skb(skb).device && !sublist.empty()) {
            ip6_sublist_rcv(k, sublist);
            sublist.clear();
        }
        current = k.skb(skb).device;
        sublist.push_back(skb);
    }
    if (!sublist.empty()) {
        ip6_sublist_rcv(k, sublist);
    }
}

void ip6_rcv_finish(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::ip6_rcv_finish, k.skb(skb).packet);
    ip6_rcv_finish_core(k, skb);
    ip6_dst_input(k, skb);
}

void ipv6_rcv(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::ipv6_rcv, k.skb(skb).packet);
    if (ip6_rcv_core(k, skb) &&
        nf_hook(k, Pf::ipv6, Hook::pre_routing, skb, k.skb(skb).device, nothing) == 1) {
        ip6_rcv_finish(k, skb);
    }
}

} // namespace skbscope::kernel
