// net/ipv4/ip_input.c: header checks, routing, local delivery; one by one and in lists. And the table of who takes which
// protocol (net/ipv4/protocol.c).

#include "core/kernel/functions.h"
#include "core/packet/checksum.h"
#include "core/packet/protocols.h"
#include "core/packet/views.h"

#include <algorithm>

namespace skbscope::kernel {

namespace {

/// inet_protos[], filled by inet_init() (net/ipv4/af_inet.c).
constexpr NetProtocol net_protocols[] = {
    {proto::ipproto_icmp, icmp_rcv, icmp_err, true, false},
    {proto::ipproto_tcp, tcp_v4_rcv, tcp_v4_err, true, true},
    {proto::ipproto_udp, udp_rcv, udp_err, true, false},
};

void drop_in_core(Kernel& k, SkbIndex skb, DropReasonId reason)
{
    kfree_skb_reason(k, skb, reason, fn::ip_rcv_core);
}

bool inhdr_error(Kernel& k, SkbIndex skb, DropReasonId reason)
{
    k.count(k.skb_net(skb), Mib::Ip_InHdrErrors, k.skb(skb).packet);
    drop_in_core(k, skb, reason);
    return false;
}

constexpr Mib ecn_counter[4] = {Mib::IpExt_InNoECTPkts, Mib::IpExt_InECT1Pkts, Mib::IpExt_InECT0Pkts, Mib::IpExt_InCEPkts};

/// nothing: dropped here.
SkbIndex ip_rcv_core(Kernel& k, SkbIndex index)
{
    Call call(k, fn::ip_rcv_core, index);
    const DeviceIndex device = k.skb(index).device;
    const NetIndex net = k.dev_net(device);
    if (k.skb(index).pkt_type == PktType::other_host) {
        if (k.profile() != Profile::v5_10) {
            k.count_device(device, DevStat::rx_otherhost_dropped, k.skb(index).packet);
        }
        drop_in_core(k, index, drop::OTHERHOST);
        return nothing;
    }
    k.count(net, Mib::Ip_InReceives, k.skb(index).packet);
    k.count(net, Mib::IpExt_InOctets, k.skb(index).packet, k.skb(index).len);
    index = skb_share_check(k, index, fn::ip_rcv_core);
    const PacketId packet = k.skb(index).packet;
    const auto bytes = skb_data(k, index);
    if (bytes.size() < Ipv4View::minimum) {
        return inhdr_error(k, index, drop::IP_INHDR), nothing;
    }
    const Ipv4View ip = Ipv4View::unchecked(bytes);
    if (ip.ihl() < 5 || ip.version() != 4) {
        return inhdr_error(k, index, drop::IP_INHDR), nothing;
    }
    k.count(net, ecn_counter[ip.tos() & 3], packet, std::max<std::uint32_t>(k.skb(index).gso_segs, 1));
    if (bytes.size() < ip.header_length()) {
        return inhdr_error(k, index, drop::IP_INHDR), nothing;
    }
    k.spend(k.costs().copy(ip.header_length()));
    if (!ipv4_checksum_ok(ip.header())) {
        k.count(net, Mib::IpExt_InCsumErrors, packet);
        return inhdr_error(k, index, drop::IP_CSUM), nothing;
    }
    const std::uint16_t length = ip.total_length();
    if (k.skb(index).len < length) {
        k.count(net, Mib::IpExt_InTruncatedPkts, packet);
        drop_in_core(k, index, drop::PKT_TOO_SMALL);
        return nothing;
    }
    if (length < ip.header_length()) {
        return inhdr_error(k, index, drop::IP_INHDR), nothing;
    }
    const std::size_t header = ip.header_length();
    skb_trim(k, index, length); // the link layer's padding goes
    set_transport_header(k, index, static_cast<std::uint32_t>(header));
    k.skb(index).ipcb = Ipcb{};
    k.skb(index).ipcb.iif = device;
    if (k.skb(index).demuxed == nothing) {
        skb_orphan(k, index);
    }
    return index;
}

/// True: dropped by the caller.
bool ip_rcv_options(Kernel& k, SkbIndex skb, DeviceIndex device)
{
    Call call(k, fn::ip_rcv_options, skb);
    k.skb(skb).ipcb.opt = IpOptions{};
    k.skb(skb).ipcb.opt.optlen = static_cast<std::uint8_t>(Ipv4View::unchecked(skb_network(k, skb)).header_length() - Ipv4View::minimum);
    if (!ip_options_compile(k, skb)) {
        k.count(k.dev_net(device), Mib::Ip_InHdrErrors, k.skb(skb).packet);
        return true;
    }
    if (k.skb(skb).ipcb.opt.srr == 0) {
        return false;
    }
    return !in_dev_and_conf(k, device, DevConf::accept_source_route) || !ip_options_rcv_srr(k, skb, device);
}

void count_cast(Kernel& k, SkbIndex skb, NetIndex net, Mib packets, Mib octets)
{
    k.count(net, packets, k.skb(skb).packet);
    k.count(net, octets, k.skb(skb).packet, k.skb(skb).len);
}

int early_demux(Kernel& k, SkbIndex skb, NetIndex net)
{
    const Ipv4View ip = Ipv4View::unchecked(skb_network(k, skb));
    if (k.net(net).sysctl.ip_early_demux == 0 || k.skb(skb).dst.valid || k.skb(skb).demuxed != nothing || ip.is_fragment()) {
        return 0;
    }
    if (ip.protocol() == proto::ipproto_udp && k.net(net).sysctl.udp_early_demux != 0) {
        udp_v4_early_demux(k, skb);
    } else if (ip.protocol() == proto::ipproto_tcp && k.net(net).sysctl.tcp_early_demux != 0) {
        tcp_v4_early_demux(k, skb);
    }
    return 0;
}

/// False: dropped here.
bool ip_rcv_finish_core(Kernel& k, SkbIndex skb, DeviceIndex device, SkbIndex hint)
{
    Call call(k, fn::ip_rcv_finish_core, skb);
    const NetIndex net = k.dev_net(device);
    const PacketId packet = k.skb(skb).packet;
    const Ipv4View ip = Ipv4View::unchecked(skb_network(k, skb));
    const std::uint32_t daddr = ip.daddr();
    const std::uint32_t saddr = ip.saddr();
    const bool has_options = ip.ihl() > 5;
    const auto drop_error = [&](int error) {
        DropReasonId reason = drop::NOT_SPECIFIED;
        if (error == -EXDEV) {
            reason = drop::IP_RPFILTER;
            k.count(net, Mib::TcpExt_IPReversePathFilter, packet);
        }
        kfree_skb_reason(k, skb, reason, fn::ip_rcv_finish_core);
        return false;
    };
    if (hint != nothing && !k.skb(skb).dst.valid) { // ip_can_use_hint(): same destination and TOS as the packet before it
        const Ipv4View before = Ipv4View::unchecked(skb_network(k, hint));
        if (before.daddr() == daddr && before.tos() == ip.tos()) {
            if (const int error = ip_route_use_hint(k, skb, saddr, device, hint); error != 0) {
                return drop_error(error);
            }
        }
    }
    if (const int error = early_demux(k, skb, net); error != 0) {
        return drop_error(error);
    }
    if (!k.skb(skb).dst.valid) {
        if (const int error = ip_route_input_noref(k, skb, daddr, saddr, device); error != 0) {
            return drop_error(error);
        }
    }
    if (has_options && ip_rcv_options(k, skb, device)) {
        return drop_error(-EINVAL);
    }
    const RouteType type = k.skb(skb).dst.type;
    const PktType link = k.skb(skb).pkt_type;
    if (type == RouteType::multicast) {
        count_cast(k, skb, net, Mib::IpExt_InMcastPkts, Mib::IpExt_InMcastOctets);
    } else if (type == RouteType::broadcast) {
        count_cast(k, skb, net, Mib::IpExt_InBcastPkts, Mib::IpExt_InBcastOctets);
    } else if ((link == PktType::broadcast || link == PktType::multicast) &&
               in_dev_or_conf(k, device, DevConf::drop_unicast_in_l2_multicast)) {
        kfree_skb_reason(k, skb, drop::UNICAST_IN_L2_MULTICAST, fn::ip_rcv_finish_core);
        return false;
    }
    return true;
}

void ip_sublist_rcv_finish(Kernel& k, const SkbList& list)
{
    Call call(k, fn::ip_sublist_rcv_finish);
    for (const SkbIndex skb : list) {
        dst_input(k, skb);
    }
}

void ip_list_rcv_finish(Kernel& k, const SkbList& list)
{
    Call call(k, fn::ip_list_rcv_finish);
    SkbIndex hint = nothing;
    std::uint64_t current = 0;
    bool any = false;
    SkbList sublist;
    for (const SkbIndex skb : list) {
        if (!ip_rcv_finish_core(k, skb, k.skb(skb).device, hint)) {
            continue;
        }
        const Destination& dst = k.skb(skb).dst;
        if (!any || dst.identity != current) {
            // ip_extract_route_hint(): broadcasts must not be trusted by their neighbours.
            hint = dst.type == RouteType::broadcast ? nothing : skb;
            current = dst.identity;
            any = true;
            if (!sublist.empty()) {
                const SkbList ready = std::exchange(sublist, {});
                ip_sublist_rcv_finish(k, ready);
                // What has been delivered may be gone: the hint is the packet that begins the new list.
            }
        }
        sublist.push_back(skb);
    }
    if (!sublist.empty()) {
        ip_sublist_rcv_finish(k, sublist);
    }
}

void ip_sublist_rcv(Kernel& k, const SkbList& list, DeviceIndex device)
{
    Call call(k, fn::ip_sublist_rcv);
    const SkbList accepted = nf_hook_list(k, Pf::ipv4, Hook::pre_routing, list, device, nothing);
    ip_list_rcv_finish(k, accepted);
}

} // namespace

const NetProtocol* inet_protos(std::uint8_t protocol)
{
    const auto* found = std::ranges::find(net_protocols, protocol, &NetProtocol::protocol);
    return found == std::end(net_protocols) ? nullptr : found;
}

void dst_input(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::dst_input, skb);
    switch (k.skb(skb).dst.input) {
    case Destination::Input::local_deliver: ip_local_deliver(k, skb); break;
    case Destination::Input::forward: ip_forward(k, skb); break;
    case Destination::Input::error: ip_error(k, skb); break;
    case Destination::Input::none: kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::dst_input); break; // dst_discard()
    }
}

void ip_rcv_finish(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::ip_rcv_finish, skb);
    if (ip_rcv_finish_core(k, skb, k.skb(skb).device, nothing)) {
        dst_input(k, skb);
    }
}

void ip_protocol_deliver_rcu(Kernel& k, SkbIndex skb, std::uint8_t protocol)
{
    Call call(k, fn::ip_protocol_deliver_rcu, skb);
    const NetIndex net = k.skb_net(skb);
    const PacketId packet = k.skb(skb).packet;
    for (;;) {
        const bool raw = raw_local_deliver(k, skb, protocol);
        const NetProtocol* handler = inet_protos(protocol);
        if (handler != nullptr) {
            const int result = handler->handler(k, skb);
            if (result < 0) { // another protocol lies within
                protocol = static_cast<std::uint8_t>(-result);
                continue;
            }
            k.count(net, Mib::Ip_InDelivers, packet);
        } else if (!raw) {
            k.count(net, Mib::Ip_InUnknownProtos, packet);
            icmp_send(k, skb, ICMP_DEST_UNREACH, ICMP_PROT_UNREACH, 0);
            kfree_skb_reason(k, skb, drop::IP_NOPROTO, fn::ip_protocol_deliver_rcu);
        } else {
            k.count(net, Mib::Ip_InDelivers, packet);
            k.verdict(packet, Verdict::consumed, fn::ip_protocol_deliver_rcu); // the raw sockets got clones
            consume_skb(k, skb, fn::ip_protocol_deliver_rcu);
        }
        return;
    }
}

void ip_local_deliver_finish(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::ip_local_deliver_finish, skb);
    skb_pull(k, skb, static_cast<std::uint32_t>(k.skb(skb).transport_header - k.skb(skb).network_header));
    ip_protocol_deliver_rcu(k, skb, Ipv4View::unchecked(skb_network(k, skb)).protocol());
}

void ip_list_rcv(Kernel& k, SkbList list)
{
    Call call(k, fn::ip_list_rcv);
    SkbList sublist;
    DeviceIndex current = nothing;
    for (const SkbIndex received : list) {
        const SkbIndex skb = ip_rcv_core(k, received);
        if (skb == nothing) {
            continue;
        }
        if (current != k.skb(skb).device) {
            if (!sublist.empty()) {
                ip_sublist_rcv(k, std::exchange(sublist, {}), current);
            }
            current = k.skb(skb).device;
        }
        sublist.push_back(skb);
    }
    if (!sublist.empty()) {
        ip_sublist_rcv(k, sublist, current);
    }
}

void ip_rcv(Kernel& k, SkbIndex received)
{
    Call call(k, fn::ip_rcv, received);
    const SkbIndex skb = ip_rcv_core(k, received);
    if (skb != nothing && nf_hook(k, Pf::ipv4, Hook::pre_routing, skb, k.skb(skb).device, nothing) == 1) {
        ip_rcv_finish(k, skb);
    }
}

void ip_local_deliver(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::ip_local_deliver, skb);
    if (Ipv4View::unchecked(skb_network(k, skb)).is_fragment() && ip_defrag(k, skb, IP_DEFRAG_LOCAL_DELIVER) != 0) {
        return;
    }
    if (nf_hook(k, Pf::ipv4, Hook::local_in, skb, k.skb(skb).device, nothing) == 1) {
        ip_local_deliver_finish(k, skb);
    }
}

} // namespace skbscope::kernel
