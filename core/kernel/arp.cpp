// net/ipv4/arp.c: asking and answering who has an IPv4 address.

#include "core/kernel/functions.h"
#include "core/packet/build.h"
#include "core/packet/protocols.h"
#include "core/packet/views.h"

namespace skbscope::kernel {

namespace {

constexpr std::uint32_t hh_len = 16;
constexpr std::uint32_t arp_length = 28;

SkbIndex arp_create(Kernel& k, DeviceIndex device, const ArpFields& fields, const MacAddress& destination)
{
    Call call(k, fn::arp_create);
    PacketRecord record;
    record.host = k.host().id;
    record.device = k.device(device).id;
    record.sent_here = true;
    record.birth = k.cpu().now;
    record.birth_function = fn::arp_create;
    const PacketId packet = k.trace.add_packet(record);
    k.emit(EventKind::birth, packet, fn::arp_create, to_index(k.device(device).id));
    const SkbIndex skb = __alloc_skb(k, packet, arp_length + hh_len);
    skb_reserve(k, skb, hh_len);
    k.skb(skb).mine = true;
    set_device(k, skb, device);
    k.field(skb, SkbField::protocol, 0, proto::eth_p_arp);
    k.skb(skb).protocol = proto::eth_p_arp;
    std::uint8_t* bytes = skb_put(k, skb, arp_length);
    set_network_header(k, skb);
    write_arp({bytes, arp_length}, fields);
    eth_header(k, skb, destination, k.device(device).mac, proto::eth_p_arp);
    return skb;
}

void arp_xmit(Kernel& k, SkbIndex skb)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::arp_xmit, packet);
    Call finish(k, fn::arp_xmit_finish, packet);
    dev_queue_xmit(k, skb);
}

void arp_send_dst(Kernel& k, DeviceIndex device, const ArpFields& fields, const MacAddress& destination)
{
    Call call(k, fn::arp_send_dst);
    arp_xmit(k, arp_create(k, device, fields, destination));
}

/// Is the address one of ours in the way that arp_ignore asks for? (inet_confirm_addr: of one device, or of any.)
bool inet_confirm_addr(Kernel& k, DeviceIndex device, std::uint32_t peer, std::uint32_t local, bool only_this_device)
{
    const NetIndex net = k.dev_net(device);
    for (std::size_t row = 0; row < k.w.devices.size(); ++row) {
        const NetDevice& candidate = k.w.devices[row];
        if (candidate.net != net || (only_this_device && static_cast<DeviceIndex>(row) != device) ||
            (!only_this_device && candidate.kind == DeviceKind::loopback)) {
            continue;
        }
        for (const InterfaceAddress& own : candidate.addresses) {
            const std::uint32_t mask = own.prefix == 0 ? 0 : ~std::uint32_t{0} << (32 - own.prefix);
            if ((local == 0 || own.address == local) && (peer == 0 || ((own.address ^ peer) & mask) == 0)) {
                return true;
            }
        }
    }
    return false;
}

/// True: no answer (net.ipv4.conf.*.arp_ignore).
bool arp_ignore(Kernel& k, DeviceIndex device, std::uint32_t sip, std::uint32_t tip)
{
    switch (in_dev_max_conf(k, device, DevConf::arp_ignore)) {
    case 1: return !inet_confirm_addr(k, device, 0, tip, true);
    case 2: return !inet_confirm_addr(k, device, sip, tip, true);
    case 3: return !inet_confirm_addr(k, device, 0, tip, false);
    case 8: return true;
    default: return false;
    }
}

/// True: the answer would not go back through this device (net.ipv4.conf.*.arp_filter).
bool arp_filter(Kernel& k, DeviceIndex device, std::uint32_t sip, std::uint32_t tip, PacketId packet)
{
    Call call(k, fn::arp_filter, packet);
    Flowi4 fl4;
    fl4.net = k.dev_net(device);
    fl4.daddr = sip;
    fl4.saddr = tip;
    const Destination route = ip_route_output_flow(k, fl4, packet);
    if (!route.valid) {
        return true;
    }
    if (route.device == device) {
        return false;
    }
    k.count(fl4.net, Mib::TcpExt_ArpFilter, packet);
    return true;
}

/// Does an announcement that nobody asked for make a new entry? (net.ipv4.conf.*.arp_accept)
bool arp_accept(Kernel& k, DeviceIndex device, std::uint32_t sip)
{
    switch (in_dev_max_conf(k, device, DevConf::arp_accept)) {
    case 1: return true;
    case 2: return inet_confirm_addr(k, device, sip, 0, true);
    default: return false;
    }
}

void reply(Kernel& k, DeviceIndex device, const ArpView& request)
{
    const MacAddress asker = request.sender_mac();
    ArpFields fields;
    fields.operation = proto::arpop_reply;
    fields.sender_mac = k.device(device).mac;
    fields.sender_address = request.target_address();
    fields.target_mac = asker;
    fields.target_address = request.sender_address();
    arp_send_dst(k, device, fields, asker);
}

bool arp_fwd_proxy(Kernel& k, DeviceIndex device, const Destination& route)
{
    return route.device != device && in_dev_or_conf(k, device, DevConf::proxy_arp);
}

bool arp_fwd_pvlan(Kernel& k, DeviceIndex device, const Destination& route, std::uint32_t sip, std::uint32_t tip)
{
    return route.device == device && sip != tip && in_dev_or_conf(k, device, DevConf::proxy_arp_pvlan);
}

/// True: it was a question to us (or to somebody we answer for), and has been dealt with.
bool answer(Kernel& k, const ArpView& arp, SkbIndex skb)
{
    const DeviceIndex device = k.skb(skb).device;
    const PacketId packet = k.skb(skb).packet;
    const std::uint32_t sip = arp.sender_address();
    const std::uint32_t tip = arp.target_address();
    if (ip_route_input_noref(k, skb, tip, sip, device) != 0) {
        return false;
    }
    const Destination route = k.skb(skb).dst;
    if (route.type == RouteType::local) {
        if (arp_ignore(k, device, sip, tip) ||
            (in_dev_or_conf(k, device, DevConf::arp_filter) && arp_filter(k, device, sip, tip, packet))) {
            return true;
        }
        if (neigh_event_ns(k, arp.sender_mac(), IpAddress::v4(sip), device, packet) != nothing) {
            reply(k, device, arp);
        }
        return true;
    }
    if (in_dev_forward(k, device) && route.type == RouteType::unicast &&
        (arp_fwd_proxy(k, device, route) || arp_fwd_pvlan(k, device, route, sip, tip))) {
        // The kernel lets a broadcast question wait up to proxy_delay (0.8 s) for the real owner; the model answers at once.
        neigh_event_ns(k, arp.sender_mac(), IpAddress::v4(sip), device, packet);
        reply(k, device, arp);
        return true;
    }
    return false;
}

bool arp_is_garp(Kernel& k, DeviceIndex device, const ArpView& arp, PacketId packet)
{
    const bool says_itself = arp.target_address() == arp.sender_address() &&
                             (arp.operation() != proto::arpop_reply || arp.target_mac() == arp.sender_mac());
    return says_itself && inet_addr_type_dev_table(k, k.dev_net(device), arp.sender_address(), packet) == RouteType::unicast;
}

/// What it says about its sender.
void learn(Kernel& k, const ArpView& arp, SkbIndex skb)
{
    const DeviceIndex device = k.skb(skb).device;
    const PacketId packet = k.skb(skb).packet;
    const std::uint32_t sip = arp.sender_address();
    const bool accept = arp_accept(k, device, sip);
    std::int32_t known = __neigh_lookup(k, IpAddress::v4(sip), device, false, packet);
    const bool garp = (known != nothing || accept) && arp_is_garp(k, device, arp, packet);
    if (accept && known == nothing) {
        const bool unasked_reply = arp.operation() == proto::arpop_reply &&
                                   inet_addr_type_dev_table(k, k.dev_net(device), sip, packet) == RouteType::unicast;
        if (garp || unasked_reply) {
            known = __neigh_lookup(k, IpAddress::v4(sip), device, true, packet);
        }
    }
    if (known == nothing) {
        return;
    }
    const bool proves = arp.operation() == proto::arpop_reply && k.skb(skb).pkt_type == PktType::host;
    const Duration locktime{k.net(k.dev_net(device)).sysctl.neigh_locktime_jiffies * jiffy.ns};
    const bool override_old = k.cpu().now > k.w.neighbours[static_cast<std::size_t>(known)].updated + locktime || garp;
    const MacAddress lladdr = arp.sender_mac();
    neigh_update(k, known, &lladdr, proves ? Nud::reachable : Nud::stale, override_old ? NEIGH_UPDATE_F_OVERRIDE : 0, packet);
}

void arp_process(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::arp_process, skb);
    const PacketId packet = k.skb(skb).packet;
    const DeviceIndex device = k.skb(skb).device;
    const auto refuse = [&] { kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::arp_process); };
    const auto arp = ArpView::checked(skb_network(k, skb));
    if (!arp || (arp->operation() != proto::arpop_request && arp->operation() != proto::arpop_reply)) {
        refuse();
        return;
    }
    const std::uint32_t tip = arp->target_address();
    const std::uint32_t sip = arp->sender_address();
    if (ipv4_is_multicast(tip) || (ipv4_is_loopback(tip) && !in_dev_or_conf(k, device, DevConf::route_localnet)) ||
        (sip == tip && in_dev_or_conf(k, device, DevConf::drop_gratuitous_arp))) {
        refuse();
        return;
    }
    const bool request = arp->operation() == proto::arpop_request;
    if (sip == 0) { // somebody looks whether an address is free (RFC 2131)
        if (request && inet_addr_type_dev_table(k, k.dev_net(device), tip, packet) == RouteType::local && !arp_ignore(k, device, sip, tip)) {
            reply(k, device, *arp);
        }
    } else if (!request || !answer(k, *arp, skb)) {
        learn(k, *arp, skb);
    }
    k.verdict(packet, Verdict::consumed, fn::arp_process);
    consume_skb(k, skb, fn::arp_process);
}

} // namespace

void arp_rcv(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::arp_rcv, skb);
    const PktType type = k.skb(skb).pkt_type;
    const NetDevice& on = k.device(k.skb(skb).device);
    if (on.kind == DeviceKind::loopback || !on.arp || type == PktType::other_host || type == PktType::loopback) {
        k.verdict(k.skb(skb).packet, Verdict::consumed, fn::arp_rcv);
        consume_skb(k, skb, fn::arp_rcv);
        return;
    }
    skb = skb_share_check(k, skb, fn::arp_rcv);
    const auto bytes = skb_network(k, skb);
    constexpr std::uint8_t hardware_length = 6;
    constexpr std::uint8_t protocol_length = 4;
    if (k.skb(skb).len < arp_length || bytes[4] != hardware_length || bytes[5] != protocol_length) {
        kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::arp_rcv);
        return;
    }
    arp_process(k, skb);
}

void arp_solicit(Kernel& k, std::int32_t index, SkbIndex skb)
{
    Call call(k, fn::arp_solicit, skb);
    const Neighbour neighbour = k.w.neighbours[static_cast<std::size_t>(index)];
    const DeviceIndex device = neighbour.device;
    const NetIndex net = k.dev_net(device);
    const PacketId packet = skb == nothing ? PacketId::none : k.skb(skb).packet;
    const auto ip = skb == nothing ? std::nullopt : Ipv4View::checked(skb_network(k, skb));
    const std::uint32_t target = neighbour.address.v4_host_order();
    std::uint32_t saddr = 0;
    const std::int32_t announce = in_dev_max_conf(k, device, DevConf::arp_announce);
    if (announce <= 1 && ip && inet_addr_type_dev_table(k, net, ip->saddr(), packet) == RouteType::local &&
        (announce == 0 || inet_addr_onlink(k, device, target, ip->saddr()))) {
        saddr = ip->saddr();
    }
    if (saddr == 0) {
        saddr = inet_select_addr(k, device, target, false);
    }
    const Sysctls& sysctl = k.net(net).sysctl;
    const std::int64_t probes = static_cast<std::int64_t>(neighbour.probes) - sysctl.neigh_ucast_solicit;
    if (probes >= 0 && probes < sysctl.neigh_app_solicit) {
        return; // neigh_app_ns(): a daemon is asked, and there is none
    }
    ArpFields request;
    request.sender_mac = k.device(device).mac;
    request.sender_address = saddr;
    request.target_address = target;
    // The first probes of a known address are unicast; a new entry starts behind them, with broadcasts.
    arp_send_dst(k, device, request, probes < 0 ? neighbour.lladdr : MacAddress::broadcast());
}

void arp_constructor(Kernel& k, std::int32_t index, PacketId packet)
{
    Neighbour& neighbour = k.w.neighbours[static_cast<std::size_t>(index)];
    const NetDevice& device = k.device(neighbour.device);
    const std::uint32_t address = neighbour.address.v4_host_order();
    const RouteType type = inet_addr_type_dev_table(k, device.net, address, packet);
    if (type == RouteType::multicast) {
        // ip_eth_mc_map(): 01:00:5e and the low 23 bits of the group
        neighbour.state = Nud::noarp;
        neighbour.lladdr = MacAddress{{0x01, 0x00, 0x5e, static_cast<std::uint8_t>(address >> 16 & 0x7f), static_cast<std::uint8_t>(address >> 8),
                                       static_cast<std::uint8_t>(address)}};
    } else if (device.kind == DeviceKind::loopback || !device.arp) {
        neighbour.state = Nud::noarp;
        neighbour.lladdr = device.mac;
    } else if (type == RouteType::broadcast) {
        neighbour.state = Nud::noarp;
        neighbour.lladdr = MacAddress::broadcast();
    }
}

void arp_error_report(Kernel& k, std::int32_t, SkbIndex skb)
{
    Call call(k, fn::arp_error_report, skb);
    if (k.skb(skb).dst.valid) { // dst_link_failure()
        Call failure(k, fn::ipv4_link_failure, skb);
        icmp_send(k, skb, ICMP_DEST_UNREACH, ICMP_HOST_UNREACH, 0);
    }
    kfree_skb_reason(k, skb, drop::NEIGH_FAILED, fn::arp_error_report);
}

void arp_announce_address(Kernel& k, DeviceIndex device, std::uint32_t address)
{
    ArpFields garp;
    garp.sender_mac = k.device(device).mac;
    garp.sender_address = garp.target_address = address;
    arp_send_dst(k, device, garp, MacAddress::broadcast());
}

} // namespace skbscope::kernel
