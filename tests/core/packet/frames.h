#pragma once
// Frames that the packet tests share.

#include "core/packet/build.h"

#include <string_view>
#include <vector>

namespace skbscope::testing {

inline std::vector<std::uint8_t> bytes_of(std::string_view text)
{
    return {text.begin(), text.end()};
}

inline const MacAddress peer_mac{{0x52, 0x54, 0, 0, 0, 1}};
inline const MacAddress own_mac{{0x52, 0x54, 0, 0, 0, 2}};

inline std::vector<std::uint8_t> udp_frame(bool v6 = false, std::optional<std::uint16_t> vlan = {})
{
    auto payload = bytes_of("PKT00001 hello");
    UdpFrame frame;
    frame.ethernet = {own_mac, peer_mac};
    frame.source = *IpAddress::parse(v6 ? "fd00::1" : "10.99.0.1");
    frame.destination = *IpAddress::parse(v6 ? "fd00::2" : "10.99.0.2");
    frame.source_port = 40212;
    frame.destination_port = 5001;
    frame.payload = payload;
    frame.vlan = vlan;
    frame.id = 0x1234;
    return build_udp_frame(frame);
}

inline std::vector<std::uint8_t> tcp_frame()
{
    auto payload = bytes_of("GET / HTTP/1.0\r\n\r\n");
    TcpFrame frame;
    frame.ethernet = {own_mac, peer_mac};
    frame.source = *IpAddress::parse("10.99.0.1");
    frame.destination = *IpAddress::parse("10.99.0.2");
    frame.tcp = {.source_port = 40000, .destination_port = 80, .sequence = 1000, .acknowledgement = 77, .flags = 0x18,
                 .window = 64240};
    frame.payload = payload;
    return build_tcp_frame(frame);
}

inline std::vector<std::uint8_t> echo_frame()
{
    auto payload = bytes_of("ping ping ping");
    EchoFrame frame;
    frame.ethernet = {own_mac, peer_mac};
    frame.source = 0x0a630001;
    frame.destination = 0x0a630002;
    frame.identifier = 77;
    frame.sequence = 3;
    frame.payload = payload;
    return build_echo_frame(frame);
}

inline std::vector<std::uint8_t> arp_frame()
{
    return build_arp_frame({.operation = proto::arpop_request,
                            .sender_mac = peer_mac,
                            .sender_address = 0x0a630001,
                            .target_mac = {},
                            .target_address = 0x0a630002});
}

} // namespace skbscope::testing
