// net/ipv4/arp.c: asking and answering who has an IPv4 address.

#include "core/kernel/functions.h"
#include "core/packet/build.h"
#include "core/packet/protocols.h"
#include "core/packet/views.h"

namespace skbscope::kernel {

namespace {

constexpr Duration locktime{1'000'000'000}; // arp_tbl.parms: NEIGH_VAR_LOCKTIME
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

void answer(Kernel& k, const ArpView& request, DeviceIndex device, PacketId packet)
{
    const MacAddress asker = request.sender_mac();
    const std::uint32_t asker_address = request.sender_address();
    const std::uint32_t target = request.target_address();
    neigh_event_ns(k, asker, IpAddress::v4(asker_address), device, packet);
    ArpFields reply;
    reply.operation = proto::arpop_reply;
    reply.sender_mac = k.device(device).mac;
    reply.sender_address = target;
    reply.target_mac = asker;
    reply.target_address = asker_address;
    arp_send_dst(k, device, reply, asker);
}

void arp_process(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::arp_process, skb);
    const PacketId packet = k.skb(skb).packet;
    const DeviceIndex device = k.skb(skb).device;
    const auto arp = ArpView::checked(skb_network(k, skb));
    if (!arp || arp->protocol_type() != proto::eth_p_ip ||
        (arp->operation() != proto::arpop_request && arp->operation() != proto::arpop_reply)) {
        kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::arp_process);
        return;
    }
    const std::uint32_t tip = arp->target_address();
    if ((tip >> 28) == 14 || (tip >> 24) == 127) {
        kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::arp_process);
        return;
    }
    const bool request = arp->operation() == proto::arpop_request;
    DropReasonId ignored{};
    if (request && ip_route_input_noref(k, skb, tip, arp->sender_address(), ignored) &&
        k.skb(skb).dst.input == Destination::Input::local_deliver) {
        answer(k, *arp, device, packet);
    } else {
        const std::int32_t known = __neigh_lookup(k, IpAddress::v4(arp->sender_address()), device, false, packet);
        if (known != nothing) {
            const bool proves = !request && k.skb(skb).pkt_type == PktType::host;
            const SimTime updated = k.w.neighbours[static_cast<std::size_t>(known)].updated;
            const MacAddress lladdr = arp->sender_mac();
            neigh_update(k, known, &lladdr, proves ? Nud::reachable : Nud::stale,
                         k.cpu().now > updated + locktime ? NEIGH_UPDATE_F_OVERRIDE : 0, packet);
        }
    }
    k.verdict(packet, Verdict::consumed, fn::arp_process);
    consume_skb(k, skb, fn::arp_process);
}

} // namespace

void arp_rcv(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::arp_rcv, skb);
    const PktType type = k.skb(skb).pkt_type;
    if (type == PktType::other_host || type == PktType::loopback) {
        k.verdict(k.skb(skb).packet, Verdict::consumed, fn::arp_rcv);
        consume_skb(k, skb, fn::arp_rcv);
        return;
    }
    if (k.skb(skb).len < arp_length) {
        kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::arp_rcv);
        return;
    }
    arp_process(k, skb);
}

void arp_solicit(Kernel& k, std::int32_t index, SkbIndex skb)
{
    Call call(k, fn::arp_solicit, skb);
    const Neighbour neighbour = k.w.neighbours[static_cast<std::size_t>(index)];
    const NetDevice& device = k.device(neighbour.device);
    ArpFields request;
    request.sender_mac = device.mac;
    request.target_address = neighbour.address.v4_host_order();
    if (skb != nothing) {
        const auto ip = Ipv4View::checked(skb_network(k, skb));
        request.sender_address = ip ? ip->saddr() : 0;
    }
    if (inet_addr_type(k, device.net, request.sender_address) != AddressType::local) {
        request.sender_address = device.addresses.empty() ? 0 : device.addresses.front().address;
    }
    // The first three probes of a known address are unicast; a new entry starts behind them, with broadcasts.
    const bool unicast = neighbour.state == Nud::probe;
    arp_send_dst(k, neighbour.device, request, unicast ? neighbour.lladdr : MacAddress::broadcast());
}

} // namespace skbscope::kernel
