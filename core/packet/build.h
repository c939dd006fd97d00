#pragma once
// Packets built from what they mean: only sensible states, no raw bits. The write_… functions fill a header in place
// (the model pushes headers in front of a payload, as the kernel does); the build_… functions make whole frames.

#include "core/packet/flow.h"
#include "core/packet/mac.h"
#include "core/packet/protocols.h"

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace skbscope {

struct EthernetFields {
    MacAddress destination, source;
    std::uint16_t ethertype = proto::eth_p_ip;
};

struct Ipv4Fields {
    std::uint32_t source = 0, destination = 0; ///< host order
    std::uint8_t protocol = proto::ipproto_udp;
    std::uint16_t payload_length = 0; ///< behind the header, bytes
    std::uint16_t id = 0;
    std::uint8_t tos = 0;
    std::uint8_t ttl = 64; ///< net.ipv4.ip_default_ttl
    bool dont_fragment = false;
    bool more_fragments = false;
    std::uint16_t fragment_offset = 0; ///< bytes, a multiple of 8
};

struct Ipv6Fields {
    IpAddress source, destination;
    std::uint8_t next_header = proto::ipproto_udp;
    std::uint16_t payload_length = 0;
    std::uint8_t hop_limit = 64;
    std::uint8_t traffic_class = 0;
    std::uint32_t flow_label = 0;
};

struct UdpFields {
    std::uint16_t source_port = 0, destination_port = 0;
};

struct TcpFields {
    std::uint16_t source_port = 0, destination_port = 0;
    std::uint32_t sequence = 0, acknowledgement = 0;
    std::uint8_t flags = 0; ///< TcpView::Flag bits
    std::uint16_t window = 0;
};

struct ArpFields {
    std::uint16_t operation = proto::arpop_request;
    MacAddress sender_mac;
    std::uint32_t sender_address = 0; ///< host order
    MacAddress target_mac;            ///< all zero in a request
    std::uint32_t target_address = 0;
};

// Each returns the number of bytes that it wrote. Precondition: the span holds at least as many.
std::size_t write_ethernet(std::span<std::uint8_t> out, const EthernetFields& fields); ///< 14
std::size_t write_arp(std::span<std::uint8_t> out, const ArpFields& fields);           ///< 28
std::size_t write_ipv4(std::span<std::uint8_t> out, const Ipv4Fields& fields);         ///< 20, checksum included
std::size_t write_ipv6(std::span<std::uint8_t> out, const Ipv6Fields& fields);         ///< 40
/// 8. The length field is that of `segment`, which begins with this header; the checksum is left zero.
std::size_t write_udp(std::span<std::uint8_t> segment, const UdpFields& fields);
/// 20, no options; the checksum is left zero.
std::size_t write_tcp(std::span<std::uint8_t> segment, const TcpFields& fields);

/// Fills the checksum of a whole segment (header and payload). A UDP sum of 0 is sent as 0xffff, as udp_send_skb() does.
void fill_udp_checksum(std::span<std::uint8_t> segment, const IpAddress& source, const IpAddress& destination);
void fill_tcp_checksum(std::span<std::uint8_t> segment, const IpAddress& source, const IpAddress& destination);
/// Recomputes the checksum of the IPv4 header that the span begins with.
void fill_ipv4_checksum(std::span<std::uint8_t> header);

struct UdpFrame {
    EthernetFields ethernet; ///< its ethertype is set by the address family
    IpAddress source, destination; ///< of one family
    std::uint16_t source_port = 0, destination_port = 0;
    std::span<const std::uint8_t> payload;
    std::optional<std::uint16_t> vlan; ///< 802.1Q tag control information
    std::uint16_t id = 0;
    std::uint8_t ttl = 64;
    std::uint8_t tos = 0;
    bool dont_fragment = false;
    bool with_checksum = true;
};

struct TcpFrame {
    EthernetFields ethernet;
    IpAddress source, destination;
    TcpFields tcp;
    std::span<const std::uint8_t> payload;
    std::uint16_t id = 0;
    std::uint8_t ttl = 64;
};

/// ICMP echo or its reply.
struct EchoFrame {
    EthernetFields ethernet;
    std::uint32_t source = 0, destination = 0; ///< IPv4, host order
    bool reply = false;
    std::uint16_t identifier = 0, sequence = 0;
    std::span<const std::uint8_t> payload;
    std::uint16_t id = 0;
    std::uint8_t ttl = 64;
};

/// Neighbour solicitation (135) or advertisement (136), with the sender's link-layer address as option.
struct NeighbourFrame {
    EthernetFields ethernet;
    IpAddress source, destination, target;
    bool advertisement = false;
    bool solicited = false, override_known = false, router = false; ///< of an advertisement
    bool with_lladdr = true;
};

// Frames without padding: Ethernet's minimum of 60 bytes is the NIC's business.
[[nodiscard]] std::vector<std::uint8_t> build_udp_frame(const UdpFrame& frame);
[[nodiscard]] std::vector<std::uint8_t> build_tcp_frame(const TcpFrame& frame);
[[nodiscard]] std::vector<std::uint8_t> build_echo_frame(const EchoFrame& frame);
/// A request goes to the broadcast address, a reply to its target.
[[nodiscard]] std::vector<std::uint8_t> build_arp_frame(const ArpFields& fields);
[[nodiscard]] std::vector<std::uint8_t> build_neighbour_frame(const NeighbourFrame& frame);
/// The shortest frame that has this flow: for asking a filter about a packet whose bytes nobody kept.
[[nodiscard]] std::vector<std::uint8_t> frame_of_flow(const FlowKey& flow);

} // namespace skbscope
