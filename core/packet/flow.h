#pragma once
// Who talks to whom: the addresses and ports of one packet.

#include "core/packet/ip_address.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace skbscope {

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
