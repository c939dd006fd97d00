#pragma once
// The internet checksum (RFC 1071), cut into the pieces that the kernel cuts it into (include/net/checksum.h,
// lib/checksum.c). Sums are of 16-bit words in network order held as host numbers, so a folded checksum goes into a
// header with store_be16() or a view's set_checksum().

#include "core/packet/flow.h"

#include <cstdint>
#include <span>

namespace skbscope {

/// The sum of the bytes added to `sum`, not folded. An odd last byte counts as if a zero followed.
[[nodiscard]] std::uint32_t csum_partial(std::span<const std::uint8_t> bytes, std::uint32_t sum = 0);
/// Two sums as one, with end-around carry.
[[nodiscard]] std::uint32_t csum_add(std::uint32_t a, std::uint32_t b);
/// Adds the sum of a block that begins `offset` bytes into the whole (an odd offset swaps its bytes).
[[nodiscard]] std::uint32_t csum_block_add(std::uint32_t sum, std::uint32_t block, std::size_t offset);
/// Folded to 16 bits and complemented: 0 for a block that holds its own right checksum.
[[nodiscard]] std::uint16_t csum_fold(std::uint32_t sum);
/// The checksum that a header whose word changed from `before` to `after` must bear (RFC 1624), as ip_decrease_ttl().
[[nodiscard]] std::uint16_t csum_replace(std::uint16_t checksum, std::uint16_t before, std::uint16_t after);

/// Of an IPv4 header with its checksum field as it stands: 0 if that is right, the right one if the field is zero.
[[nodiscard]] std::uint16_t ip_fast_csum(std::span<const std::uint8_t> header);
/// The pseudo header's sum. Addresses in host order; `length` is that of the transport header and its payload.
[[nodiscard]] std::uint32_t csum_tcpudp_nofold(std::uint32_t saddr, std::uint32_t daddr, std::uint32_t length,
                                               std::uint8_t protocol, std::uint32_t sum = 0);
/// … and folded: what the transport checksum field must bear.
[[nodiscard]] std::uint16_t csum_tcpudp_magic(std::uint32_t saddr, std::uint32_t daddr, std::uint32_t length,
                                              std::uint8_t protocol, std::uint32_t sum = 0);
[[nodiscard]] std::uint16_t csum_ipv6_magic(const IpAddress& saddr, const IpAddress& daddr, std::uint32_t length,
                                            std::uint8_t protocol, std::uint32_t sum = 0);
/// For either family; source and destination are of the same one.
[[nodiscard]] std::uint16_t transport_checksum(const IpAddress& source, const IpAddress& destination,
                                               std::uint8_t protocol, std::span<const std::uint8_t> segment);

/// The header's checksum is right. Precondition: at least ihl * 4 bytes.
[[nodiscard]] bool ipv4_checksum_ok(std::span<const std::uint8_t> header);
/// The datagram's checksum is right, or zero on IPv4, which says that there is none. `segment` is the UDP header and
/// its payload, exactly as long as the UDP length says.
[[nodiscard]] bool udp_checksum_ok(const IpAddress& source, const IpAddress& destination,
                                   std::span<const std::uint8_t> segment);
[[nodiscard]] bool tcp_checksum_ok(const IpAddress& source, const IpAddress& destination,
                                   std::span<const std::uint8_t> segment);
[[nodiscard]] bool icmp_checksum_ok(std::span<const std::uint8_t> message);

} // namespace skbscope
