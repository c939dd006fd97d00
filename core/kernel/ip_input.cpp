// net/ipv4/ip_input.c: header checks, routing, local delivery; one by one and in lists.

#include "core/kernel/functions.h"
#include "core/packet/checksum.h"
#include "core/packet/protocols.h"
#include "core/packet/views.h"

namespace skbscope::kernel {

namespace {

/// Drops with its counter; the caller stops.
bool inhdr_error(Kernel& k, SkbIndex skb, DropReasonId reason)
{
    k.count(k.skb_net(skb), Mib::Ip_InHdrErrors, k.skb(skb).packet);
    kfree_skb_reason(k, skb, reason, fn::ip_rcv_core);
    return false;
}

/// False: dropped here.
bool ip_rcv_core(Kernel& k, SkbIndex index)
{
    Call call(k, fn::ip_rcv_core, index);
    SkBuff& skb = k.skb(index);
    if (skb.pkt_type == PktType::other_host) {
        kfree_skb_reason(k, index, drop::OTHERHOST, fn::ip_rcv_core);
        return false;
    }
    k.count(k.skb_net(index), Mib::Ip_InReceives, skb.packet);
    const auto bytes = skb_data(k, index);
    if (bytes.size() < Ipv4View::minimum) {
        return inhdr_error(k, index, drop::PKT_TOO_SMALL);
    }
    const Ipv4View ip = Ipv4View::unchecked(bytes);
    if (ip.ihl() < 5 || ip.version() != 4) {
        return inhdr_error(k, index, drop::IP_INHDR);
    }
    if (bytes.size() < ip.header_length()) {
        return inhdr_error(k, index, drop::PKT_TOO_SMALL);
    }
    k.spend(k.w.costs.copy(ip.header_length()));
    if (!ipv4_checksum_ok(ip.header())) {
        k.count(k.skb_net(index), Mib::IpExt_InCsumErrors, skb.packet);
        return inhdr_error(k, index, drop::IP_CSUM);
    }
    const std::uint16_t length = ip.total_length();
    if (skb.len < length) {
        k.count(k.skb_net(index), Mib::IpExt_InTruncatedPkts, skb.packet);
        kfree_skb_reason(k, index, drop::PKT_TOO_SMALL, fn::ip_rcv_core);
        return false;
    }
    if (length < ip.header_length()) {
        return inhdr_error(k, index, drop::IP_INHDR);
    }
    const std::size_t header = ip.header_length();
    skb_trim(k, index, length); // the link layer's padding goes
    set_transport_header(k, index, static_cast<std::uint32_t>(header));
    return true;
}

/// False: dropped here.
bool ip_rcv_finish_core(Kernel& k, SkbIndex index, SkbIndex hint)
{
    Call call(k, fn::ip_rcv_finish_core, index);
    const Ipv4View ip = Ipv4View::unchecked(skb_network(k, index));
    const std::uint32_t daddr = ip.daddr();
    const std::uint32_t saddr = ip.saddr();
    if (hint != nothing && k.skb(hint).dst.valid) {
        // ip_can_use_hint(): same destination and TOS as the packet before it in this list.
        const Ipv4View before = Ipv4View::unchecked(skb_network(k, hint));
        if (before.daddr() == daddr && before.tos() == ip.tos()) {
            Call use(k, fn::ip_route_use_hint, index);
            set_dst(k, index, k.skb(hint).dst);
        }
    }
    if (k.net(k.skb_net(index)).sysctl.ip_early_demux != 0 && !k.skb(index).dst.valid && !ip.is_fragment() &&
        ip.protocol() == proto::ipproto_udp) {
        udp_v4_early_demux(k, index);
    }
    if (!k.skb(index).dst.valid) {
        DropReasonId reason = drop::NOT_SPECIFIED;
        if (!ip_route_input_noref(k, index, daddr, saddr, reason)) {
            kfree_skb_reason(k, index, reason, fn::ip_rcv_finish_core);
            return false;
        }
    }
    return true;
}

void dst_input(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::dst_input, skb);
    if (k.skb(skb).dst.input == Destination::Input::local_deliver) {
        ip_local_deliver(k, skb);
        return;
    }
    // Forwarding is off, so ip_error() answers for everything that is not ours.
    Call error(k, fn::ip_error, skb);
    k.count(k.skb_net(skb), Mib::Ip_InAddrErrors, k.skb(skb).packet);
    kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::ip_error);
}

void ip_sublist_rcv_finish(Kernel& k, const SkbList& list)
{
    Call call(k, fn::ip_sublist_rcv_finish);
    for (const SkbIndex skb : list) {
        dst_input(k, skb);
    }
}

bool same_destination(const Destination& a, const Destination& b)
{
    return a.input == b.input && a.destination == b.destination && a.device == b.device;
}

void ip_list_rcv_finish(Kernel& k, const SkbList& list)
{
    Call call(k, fn::ip_list_rcv_finish);
    SkbIndex hint = nothing;
    Destination current;
    SkbList sublist;
    for (const SkbIndex skb : list) {
        if (!ip_rcv_finish_core(k, skb, hint)) {
            continue;
        }
        if (!current.valid || !same_destination(current, k.skb(skb).dst)) {
            if (!sublist.empty()) {
                ip_sublist_rcv_finish(k, sublist);
            }
            sublist.clear();
            current = k.skb(skb).dst;
            hint = skb;
        }
        sublist.push_back(skb);
    }
    if (!sublist.empty()) {
        ip_sublist_rcv_finish(k, sublist);
    }
}

void ip_sublist_rcv(Kernel& k, const SkbList& list)
{
    Call call(k, fn::ip_sublist_rcv);
    SkbList accepted; // NF_HOOK_LIST
    for (const SkbIndex skb : list) {
        if (nf_hook(k, Pf::ipv4, Hook::pre_routing, skb, k.skb(skb).device, nothing) == 1) {
            accepted.push_back(skb);
        }
    }
    ip_list_rcv_finish(k, accepted);
}

void ip_rcv_finish(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::ip_rcv_finish, skb);
    if (ip_rcv_finish_core(k, skb, nothing)) {
        dst_input(k, skb);
    }
}

/// net/ipv4/raw.c: no raw socket is open, so there is nobody to hand a clone to.
void raw_local_deliver(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::raw_local_deliver, skb);
}

void ip_protocol_deliver_rcu(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::ip_protocol_deliver_rcu, skb);
    raw_local_deliver(k, skb);
    const std::uint8_t protocol = Ipv4View::unchecked(skb_network(k, skb)).protocol();
    // inet_protos: UDP is the one that is there; the others come with their own files.
    if (protocol == proto::ipproto_udp) {
        k.count(k.skb_net(skb), Mib::Ip_InDelivers, k.skb(skb).packet);
        udp_rcv(k, skb);
        return;
    }
    k.count(k.skb_net(skb), Mib::Ip_InUnknownProtos, k.skb(skb).packet);
    kfree_skb_reason(k, skb, drop::IP_NOPROTO, fn::ip_protocol_deliver_rcu);
}

void ip_local_deliver_finish(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::ip_local_deliver_finish, skb);
    const std::size_t header = Ipv4View::unchecked(skb_network(k, skb)).header_length();
    skb_pull(k, skb, static_cast<std::uint32_t>(header));
    ip_protocol_deliver_rcu(k, skb);
}

} // namespace

void ip_list_rcv(Kernel& k, SkbList list)
{
    Call call(k, fn::ip_list_rcv);
    SkbList sublist;
    DeviceIndex current = nothing;
    for (const SkbIndex skb : list) {
        if (!ip_rcv_core(k, skb)) {
            continue;
        }
        if (current != k.skb(skb).device && !sublist.empty()) {
            ip_sublist_rcv(k, sublist);
            sublist.clear();
        }
        current = k.skb(skb).device;
        sublist.push_back(skb);
    }
    if (!sublist.empty()) {
        ip_sublist_rcv(k, sublist);
    }
}

void ip_rcv(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::ip_rcv, skb);
    if (ip_rcv_core(k, skb) && nf_hook(k, Pf::ipv4, Hook::pre_routing, skb, k.skb(skb).device, nothing) == 1) {
        ip_rcv_finish(k, skb);
    }
}

bool ip_local_deliver(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::ip_local_deliver, skb);
    if (Ipv4View::unchecked(skb_network(k, skb)).is_fragment()) {
        // Reassembly is not modelled yet: the fragment is dropped where ip_defrag() would take it, and says so.
        Call defrag(k, fn::ip_defrag, skb);
        k.count(k.skb_net(skb), Mib::Ip_ReasmFails, k.skb(skb).packet);
        kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::ip_defrag);
        return false;
    }
    if (nf_hook(k, Pf::ipv4, Hook::local_in, skb, k.skb(skb).device, nothing) != 1) {
        return false;
    }
    ip_local_deliver_finish(k, skb);
    return true;
}

} // namespace skbscope::kernel
