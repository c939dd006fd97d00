#include "core/packet/flow.h"

#include "core/packet/protocols.h"
#include "core/packet/transport.h"
#include "core/packet/views.h"

#include <algorithm>
#include <arpa/inet.h>
#include <fmt/format.h>

namespace skbscope {

std::string IpAddress::text() const
{
    char buffer[INET6_ADDRSTRLEN] = {};
    inet_ntop(v6 ? AF_INET6 : AF_INET, bytes.data(), buffer, sizeof buffer);
    return buffer;
}

std::optional<IpAddress> IpAddress::parse(std::string_view text)
{
    IpAddress address;
    std::string terminated(text);
    if (inet_pton(AF_INET, terminated.c_str(), address.bytes.data()) == 1) {
        return address;
    }
    address = {};
    if (inet_pton(AF_INET6, terminated.c_str(), address.bytes.data()) == 1) {
        address.v6 = true;
        return address;
    }
    return std::nullopt;
}

std::string FlowKey::protocol_name() const
{
    if (ethertype == proto::eth_p_arp) {
        return "arp";
    }
    switch (protocol) {
    case proto::ipproto_icmp: return "icmp";
    case proto::ipproto_igmp: return "igmp";
    case proto::ipproto_tcp: return "tcp";
    case proto::ipproto_udp: return "udp";
    case proto::ipproto_icmpv6: return "icmpv6";
    default: return fmt::format("ip-{}", protocol);
    }
}

std::string FlowKey::text() const
{
    std::string name = protocol_name();
    std::transform(name.begin(), name.end(), name.begin(),
                   [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
    if (name == "ICMPV6") {
        name = "ICMPv6";
    }
    bool has_ports = protocol == proto::ipproto_udp || protocol == proto::ipproto_tcp;
    if (!has_ports || (source_port == 0 && destination_port == 0)) {
        return fmt::format("{} {} → {}", name, source.text(), destination.text());
    }
    const char* form = source.v6 ? "{} [{}]:{} → [{}]:{}" : "{} {}:{} → {}:{}";
    return fmt::format(fmt::runtime(form), name, source.text(), source_port, destination.text(), destination_port);
}

Transport find_transport(std::span<const std::uint8_t> payload, std::uint8_t next_header)
{
    Transport found{next_header, 0, true, true};
    // A chain longer than this is an attack or garbage; the kernel's own limit is net.ipv6.max_hbh_opts_number and friends.
    for (int headers = 0; headers < 16; ++headers) {
        bool is_extension = found.protocol == 0 || found.protocol == 43 || found.protocol == 44 ||
                            found.protocol == 51 || found.protocol == 60 || found.protocol == 135;
        if (!is_extension) {
            return found;
        }
        if (payload.size() < found.offset + 8) {
            found.whole = false;
            return found;
        }
        const std::uint8_t* header = payload.data() + found.offset;
        std::size_t length = 8 + header[1] * std::size_t{8};
        if (found.protocol == 44) {
            length = 8;
            found.first_fragment = (load_be16(header + 2) & 0xfff8) == 0;
        } else if (found.protocol == 51) {
            length = (header[1] + std::size_t{2}) * 4;
        }
        found.protocol = header[0];
        found.offset += length;
        if (!found.first_fragment) {
            return found;
        }
    }
    found.whole = false;
    return found;
}

namespace {

/// Ports, or the identifier of an echo; nothing where the header is cut (the addresses still stand).
void take_ports(FlowKey& flow, std::span<const std::uint8_t> transport)
{
    if (flow.protocol == proto::ipproto_udp || flow.protocol == proto::ipproto_tcp) {
        if (transport.size() >= 4) {
            flow.source_port = load_be16(transport.data());
            flow.destination_port = load_be16(transport.data() + 2);
        }
        return;
    }
    bool icmp = flow.protocol == proto::ipproto_icmp;
    if (!icmp && flow.protocol != proto::ipproto_icmpv6) {
        return;
    }
    auto view = IcmpView::checked(transport);
    if (!view) {
        return;
    }
    bool echo = icmp ? view->type() == proto::icmp_echo || view->type() == proto::icmp_echoreply
                     : view->type() == 128 || view->type() == 129;
    flow.source_port = echo ? view->identifier() : 0;
}

std::optional<FlowKey> flow_of_arp(std::span<const std::uint8_t> bytes)
{
    auto arp = ArpView::checked(bytes);
    if (!arp) {
        return std::nullopt;
    }
    FlowKey flow;
    flow.ethertype = proto::eth_p_arp;
    flow.source = IpAddress::v4(arp->sender_address());
    flow.destination = IpAddress::v4(arp->target_address());
    return flow;
}

std::optional<FlowKey> flow_of_ipv4(std::span<const std::uint8_t> bytes)
{
    auto ip = Ipv4View::checked(bytes);
    if (!ip) {
        return std::nullopt;
    }
    FlowKey flow;
    flow.source = ip->source();
    flow.destination = ip->destination();
    flow.protocol = ip->protocol();
    if (ip->fragment_offset() == 0) {
        take_ports(flow, ip->payload());
    }
    return flow;
}

std::optional<FlowKey> flow_of_ipv6(std::span<const std::uint8_t> bytes)
{
    auto ip = Ipv6View::checked(bytes);
    if (!ip) {
        return std::nullopt;
    }
    FlowKey flow;
    flow.ethertype = proto::eth_p_ipv6;
    flow.source = ip->source();
    flow.destination = ip->destination();
    Transport transport = find_transport(ip->payload(), ip->next_header());
    flow.protocol = transport.protocol;
    if (transport.whole && transport.first_fragment && transport.offset <= ip->payload().size()) {
        take_ports(flow, ip->payload().subspan(transport.offset));
    }
    return flow;
}

} // namespace

std::optional<FlowKey> flow_of_frame(std::span<const std::uint8_t> frame)
{
    auto ethernet = EthernetView::checked(frame);
    if (!ethernet) {
        return std::nullopt;
    }
    std::uint16_t type = ethernet->ethertype();
    std::span<const std::uint8_t> payload = ethernet->payload();
    for (int tags = 0; tags < 2 && (type == proto::eth_p_8021q || type == proto::eth_p_8021ad); ++tags) {
        auto vlan = VlanView::checked(payload);
        if (!vlan) {
            return std::nullopt;
        }
        type = vlan->ethertype();
        payload = vlan->payload();
    }
    switch (type) {
    case proto::eth_p_arp: return flow_of_arp(payload);
    case proto::eth_p_ip: return flow_of_ipv4(payload);
    case proto::eth_p_ipv6: return flow_of_ipv6(payload);
    default: return std::nullopt;
    }
}

} // namespace skbscope
