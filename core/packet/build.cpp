#include "core/packet/build.h"

#include "core/packet/checksum.h"
#include "core/packet/views.h"

#include <cassert>

namespace skbscope {

namespace {

std::span<std::uint8_t> from(std::vector<std::uint8_t>& bytes, std::size_t offset)
{
    return std::span(bytes).subspan(offset);
}

/// Writes the IP header of either family in front of `payload_length` bytes and returns its length.
std::size_t write_ip(std::span<std::uint8_t> out, const IpAddress& source, const IpAddress& destination,
                     std::uint8_t protocol, std::size_t payload_length, std::uint16_t id, std::uint8_t ttl,
                     std::uint8_t tos, bool dont_fragment)
{
    auto length = static_cast<std::uint16_t>(payload_length);
    if (source.v6) {
        return write_ipv6(out, {.source = source,
                                .destination = destination,
                                .next_header = protocol,
                                .payload_length = length,
                                .hop_limit = ttl,
                                .traffic_class = tos});
    }
    return write_ipv4(out, {.source = source.v4_host_order(),
                            .destination = destination.v4_host_order(),
                            .protocol = protocol,
                            .payload_length = length,
                            .id = id,
                            .tos = tos,
                            .ttl = ttl,
                            .dont_fragment = dont_fragment});
}

} // namespace

std::size_t write_ethernet(std::span<std::uint8_t> out, const EthernetFields& fields)
{
    auto view = MutableEthernetView::unchecked(out);
    view.set_dst(fields.destination);
    view.set_src(fields.source);
    view.set_ethertype(fields.ethertype);
    return 14;
}

std::size_t write_arp(std::span<std::uint8_t> out, const ArpFields& fields)
{
    auto view = MutableArpView::unchecked(out);
    store_be16(out.data(), 1); // ARPHRD_ETHER
    store_be16(out.data() + 2, proto::eth_p_ip);
    out[4] = 6;
    out[5] = 4;
    view.set_operation(fields.operation);
    view.set_sender_mac(fields.sender_mac);
    view.set_sender_address(fields.sender_address);
    view.set_target_mac(fields.target_mac);
    view.set_target_address(fields.target_address);
    return 28;
}

std::size_t write_ipv4(std::span<std::uint8_t> out, const Ipv4Fields& fields)
{
    auto view = MutableIpv4View::unchecked(out);
    view.set_version_ihl(4, 5);
    view.set_tos(fields.tos);
    view.set_total_length(static_cast<std::uint16_t>(20 + fields.payload_length));
    view.set_id(fields.id);
    view.set_fragment(fields.dont_fragment, fields.more_fragments, fields.fragment_offset);
    view.set_ttl(fields.ttl);
    view.set_protocol(fields.protocol);
    view.set_saddr(fields.source);
    view.set_daddr(fields.destination);
    fill_ipv4_checksum(out);
    return 20;
}

std::size_t write_ipv6(std::span<std::uint8_t> out, const Ipv6Fields& fields)
{
    auto view = MutableIpv6View::unchecked(out);
    view.set_version_class_label(fields.traffic_class, fields.flow_label);
    view.set_payload_length(fields.payload_length);
    view.set_next_header(fields.next_header);
    view.set_hop_limit(fields.hop_limit);
    view.set_source(fields.source);
    view.set_destination(fields.destination);
    return 40;
}

std::size_t write_udp(std::span<std::uint8_t> segment, const UdpFields& fields)
{
    auto view = MutableUdpView::unchecked(segment);
    view.set_source_port(fields.source_port);
    view.set_destination_port(fields.destination_port);
    view.set_length(static_cast<std::uint16_t>(segment.size()));
    view.set_checksum(0);
    return 8;
}

std::size_t write_tcp(std::span<std::uint8_t> segment, const TcpFields& fields)
{
    auto view = MutableTcpView::unchecked(segment);
    view.set_source_port(fields.source_port);
    view.set_destination_port(fields.destination_port);
    view.set_sequence(fields.sequence);
    view.set_acknowledgement(fields.acknowledgement);
    view.set_header_length(20);
    view.set_flags(fields.flags);
    view.set_window(fields.window);
    view.set_checksum(0);
    view.set_urgent_pointer(0);
    return 20;
}

void fill_udp_checksum(std::span<std::uint8_t> segment, const IpAddress& source, const IpAddress& destination)
{
    auto view = MutableUdpView::unchecked(segment);
    view.set_checksum(0);
    std::uint16_t sum = transport_checksum(source, destination, proto::ipproto_udp, segment);
    view.set_checksum(sum == 0 ? 0xffff : sum);
}

void fill_tcp_checksum(std::span<std::uint8_t> segment, const IpAddress& source, const IpAddress& destination)
{
    auto view = MutableTcpView::unchecked(segment);
    view.set_checksum(0);
    view.set_checksum(transport_checksum(source, destination, proto::ipproto_tcp, segment));
}

void fill_ipv4_checksum(std::span<std::uint8_t> header)
{
    auto view = MutableIpv4View::unchecked(header);
    view.set_checksum(0);
    view.set_checksum(ip_fast_csum(view.header()));
}

std::vector<std::uint8_t> build_udp_frame(const UdpFrame& frame)
{
    assert(frame.source.v6 == frame.destination.v6);
    std::size_t tag = frame.vlan ? 4 : 0;
    std::size_t ip = 14 + tag;
    std::size_t udp = ip + (frame.source.v6 ? 40u : 20u);
    std::vector<std::uint8_t> bytes(udp + 8 + frame.payload.size());
    EthernetFields ethernet = frame.ethernet;
    std::uint16_t inner = frame.source.v6 ? proto::eth_p_ipv6 : proto::eth_p_ip;
    ethernet.ethertype = frame.vlan ? proto::eth_p_8021q : inner;
    write_ethernet(bytes, ethernet);
    if (frame.vlan) {
        auto vlan = MutableVlanView::unchecked(from(bytes, 14));
        vlan.set_tci(*frame.vlan);
        vlan.set_ethertype(inner);
    }
    write_ip(from(bytes, ip), frame.source, frame.destination, proto::ipproto_udp, 8 + frame.payload.size(), frame.id,
             frame.ttl, frame.tos, frame.dont_fragment);
    write_udp(from(bytes, udp), {frame.source_port, frame.destination_port});
    std::copy(frame.payload.begin(), frame.payload.end(), bytes.begin() + static_cast<std::ptrdiff_t>(udp + 8));
    if (frame.with_checksum) {
        fill_udp_checksum(from(bytes, udp), frame.source, frame.destination);
    }
    return bytes;
}

std::vector<std::uint8_t> build_tcp_frame(const TcpFrame& frame)
{
    assert(frame.source.v6 == frame.destination.v6);
    std::size_t tcp = 14 + (frame.source.v6 ? 40u : 20u);
    std::vector<std::uint8_t> bytes(tcp + 20 + frame.payload.size());
    EthernetFields ethernet = frame.ethernet;
    ethernet.ethertype = frame.source.v6 ? proto::eth_p_ipv6 : proto::eth_p_ip;
    write_ethernet(bytes, ethernet);
    write_ip(from(bytes, 14), frame.source, frame.destination, proto::ipproto_tcp, 20 + frame.payload.size(), frame.id,
             frame.ttl, 0, true);
    write_tcp(from(bytes, tcp), frame.tcp);
    std::copy(frame.payload.begin(), frame.payload.end(), bytes.begin() + static_cast<std::ptrdiff_t>(tcp + 20));
    fill_tcp_checksum(from(bytes, tcp), frame.source, frame.destination);
    return bytes;
}

std::vector<std::uint8_t> build_echo_frame(const EchoFrame& frame)
{
    std::vector<std::uint8_t> bytes(14 + 20 + 8 + frame.payload.size());
    EthernetFields ethernet = frame.ethernet;
    ethernet.ethertype = proto::eth_p_ip;
    write_ethernet(bytes, ethernet);
    write_ip(from(bytes, 14), IpAddress::v4(frame.source), IpAddress::v4(frame.destination), proto::ipproto_icmp,
             8 + frame.payload.size(), frame.id, frame.ttl, 0, false);
    std::copy(frame.payload.begin(), frame.payload.end(), bytes.begin() + 42);
    auto icmp = MutableIcmpView::unchecked(from(bytes, 34));
    icmp.set_type(frame.reply ? proto::icmp_echoreply : proto::icmp_echo);
    icmp.set_identifier(frame.identifier);
    icmp.set_sequence(frame.sequence);
    icmp.set_checksum(csum_fold(csum_partial(icmp.bytes())));
    return bytes;
}

std::vector<std::uint8_t> build_arp_frame(const ArpFields& fields)
{
    std::vector<std::uint8_t> bytes(14 + 28);
    bool request = fields.operation == proto::arpop_request;
    write_ethernet(bytes, {request ? MacAddress::broadcast() : fields.target_mac, fields.sender_mac, proto::eth_p_arp});
    write_arp(from(bytes, 14), fields);
    return bytes;
}

std::vector<std::uint8_t> build_neighbour_frame(const NeighbourFrame& frame)
{
    const std::size_t length = 24 + (frame.with_lladdr ? 8u : 0u);
    std::vector<std::uint8_t> bytes(14 + 40 + length);
    EthernetFields ethernet = frame.ethernet;
    ethernet.ethertype = proto::eth_p_ipv6;
    write_ethernet(bytes, ethernet);
    Ipv6Fields ip;
    ip.source = frame.source;
    ip.destination = frame.destination;
    ip.next_header = proto::ipproto_icmpv6;
    ip.payload_length = static_cast<std::uint16_t>(length);
    ip.hop_limit = 255; // nobody believes one that a router has passed on
    write_ipv6(from(bytes, 14), ip);
    std::uint8_t* message = bytes.data() + 54;
    message[0] = frame.advertisement ? 136 : 135;
    if (frame.advertisement) {
        message[4] = static_cast<std::uint8_t>((frame.router ? 0x80 : 0) | (frame.solicited ? 0x40 : 0) | (frame.override_known ? 0x20 : 0));
    }
    std::copy(frame.target.bytes.begin(), frame.target.bytes.end(), message + 8);
    if (frame.with_lladdr) {
        message[24] = frame.advertisement ? 2 : 1;
        message[25] = 1;
        std::copy(frame.ethernet.source.bytes.begin(), frame.ethernet.source.bytes.end(), message + 26);
    }
    store_be16(message + 2, transport_checksum(frame.source, frame.destination, proto::ipproto_icmpv6, from(bytes, 54)));
    return bytes;
}

std::vector<std::uint8_t> frame_of_flow(const FlowKey& flow)
{
    if (flow.ethertype == proto::eth_p_arp) {
        return build_arp_frame({.operation = proto::arpop_request,
                                .sender_mac = {},
                                .sender_address = flow.source.v4_host_order(),
                                .target_mac = {},
                                .target_address = flow.destination.v4_host_order()});
    }
    // Ports lie at the same place in UDP and TCP; 20 zero bytes hold any transport header that a filter looks at.
    std::size_t transport = 14 + (flow.source.v6 ? 40u : 20u);
    std::vector<std::uint8_t> bytes(transport + 20);
    write_ethernet(bytes, {{}, {}, flow.source.v6 ? proto::eth_p_ipv6 : proto::eth_p_ip});
    write_ip(from(bytes, 14), flow.source, flow.destination, flow.protocol, 20, 0, 64, 0, false);
    if (flow.protocol == proto::ipproto_icmp || flow.protocol == proto::ipproto_icmpv6) {
        store_be16(bytes.data() + transport + 4, flow.source_port);
        bytes[transport] = flow.protocol == proto::ipproto_icmp ? proto::icmp_echo : 128;
        return bytes;
    }
    store_be16(bytes.data() + transport, flow.source_port);
    store_be16(bytes.data() + transport + 2, flow.destination_port);
    if (flow.protocol == proto::ipproto_tcp) {
        MutableTcpView::unchecked(from(bytes, transport)).set_header_length(20);
    }
    return bytes;
}

} // namespace skbscope
