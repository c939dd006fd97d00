#pragma once
// Who talks to whom: the addresses and ports of one packet.

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace skbscope {

/// An IPv4 or IPv6 address. IPv4 uses the first four bytes, in network order.
struct IpAddress {
    std::array<std::uint8_t, 16> bytes{};
    bool v6 = false;
    auto operator<=>(const IpAddress&) const = default;
    /// "10.99.0.1", "fe80::1" (RFC 5952).
    [[nodiscard]] std::string text() const;
    /// Parses either form; empty if it is neither.
    [[nodiscard]] static std::optional<IpAddress> parse(std::string_view text);
    /// From the host-order number, 10.0.0.1 = 0x0a000001.
    [[nodiscard]] static IpAddress v4(std::uint32_t host_order);
    [[nodiscard]] std::uint32_t v4_host_order() const;
};

/// Addresses, protocol and ports of one packet, in its own direction.
struct FlowKey {
    IpAddress source, destination;
    std::uint8_t protocol = 0;        ///< IP protocol number; 0 for ARP (addresses are then the protocol addresses)
    std::uint16_t ethertype = 0x0800; ///< 0x0806 for ARP
    std::uint16_t source_port = 0;    ///< host order; 0 where the protocol has none (ICMP: identifier)
    std::uint16_t destination_port = 0;
    auto operator<=>(const FlowKey&) const = default;
    /// "udp", "tcp", "icmp", "icmpv6", "arp", "ip-89"
    [[nodiscard]] std::string protocol_name() const;
    /// "UDP 10.0.0.7:40212 → 10.0.0.1:53"
    [[nodiscard]] std::string text() const;
};

/// The flow of an Ethernet frame, if it is IP or ARP and whole enough to tell.
[[nodiscard]] std::optional<FlowKey> flow_of_frame(std::span<const std::uint8_t> frame);

} // namespace skbscope
