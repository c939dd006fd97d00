#pragma once
// An address of either family, and what its bits say. Text lives in flow.cpp beside the flows that print it.

#include "core/packet/mac.h"

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

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
    [[nodiscard]] static constexpr IpAddress v4(std::uint32_t host_order)
    {
        IpAddress address;
        for (int i = 0; i < 4; ++i) {
            address.bytes[static_cast<std::size_t>(i)] =
                static_cast<std::uint8_t>(host_order >> (24 - 8 * i));
        }
        return address;
    }
    [[nodiscard]] constexpr std::uint32_t v4_host_order() const
    {
        return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 | std::uint32_t{bytes[2]} << 8 |
               bytes[3];
    }
    /// "::", in6addr_any.
    [[nodiscard]] static constexpr IpAddress any6()
    {
        IpAddress address;
        address.v6 = true;
        return address;
    }
    /// All bytes are zero, in either family: "0.0.0.0" or "::".
    [[nodiscard]] constexpr bool is_any() const { return bytes == std::array<std::uint8_t, 16>{}; }
};

// What the bits of an IPv6 address say (include/net/ipv6.h, net/ipv6/addrconf_core.c). All false for IPv4.
[[nodiscard]] constexpr bool ipv6_addr_is_multicast(const IpAddress& a)
{
    return a.v6 && a.bytes[0] == 0xff;
}
/// 0 reserved, 1 interface, 2 link, 5 site, 14 global: of a multicast address.
[[nodiscard]] constexpr unsigned ipv6_addr_mc_scope(const IpAddress& a)
{
    return a.bytes[1] & 0x0fu;
}
[[nodiscard]] constexpr bool ipv6_addr_is_linklocal(const IpAddress& a)
{
    return a.v6 && a.bytes[0] == 0xfe && (a.bytes[1] & 0xc0) == 0x80;
}
[[nodiscard]] constexpr bool ipv6_addr_loopback(const IpAddress& a)
{
    IpAddress one = IpAddress::any6();
    one.bytes[15] = 1;
    return a == one;
}
/// ::ffff:a.b.c.d
[[nodiscard]] constexpr bool ipv6_addr_v4mapped(const IpAddress& a)
{
    for (std::size_t i = 0; i < 10; ++i) {
        if (a.bytes[i] != 0) {
            return false;
        }
    }
    return a.v6 && a.bytes[10] == 0xff && a.bytes[11] == 0xff;
}
/// ff02::1:ffXX:XXXX of the address (addrconf_addr_solict_mult in include/net/addrconf.h).
[[nodiscard]] constexpr IpAddress addrconf_addr_solict_mult(const IpAddress& a)
{
    IpAddress group = IpAddress::any6();
    group.bytes[0] = 0xff;
    group.bytes[1] = 0x02;
    group.bytes[11] = 0x01;
    group.bytes[12] = 0xff;
    for (std::size_t i = 13; i < 16; ++i) {
        group.bytes[i] = a.bytes[i];
    }
    return group;
}
[[nodiscard]] constexpr bool ipv6_addr_is_solict_mult(const IpAddress& a)
{
    return a.v6 && a == addrconf_addr_solict_mult(a);
}
/// The Ethernet group that carries an IPv6 group: 33:33 and its last four bytes (ipv6_eth_mc_map in
/// include/net/if_inet6.h).
[[nodiscard]] constexpr MacAddress ipv6_eth_mc_map(const IpAddress& a)
{
    return {{0x33, 0x33, a.bytes[12], a.bytes[13], a.bytes[14], a.bytes[15]}};
}
/// fe80:: and the modified EUI-64 of the MAC (addrconf_ifid_eui48 in include/net/addrconf.h).
[[nodiscard]] constexpr IpAddress ipv6_linklocal_of(const MacAddress& mac)
{
    IpAddress address = IpAddress::any6();
    address.bytes = {0xfe,
                     0x80,
                     0,
                     0,
                     0,
                     0,
                     0,
                     0,
                     static_cast<std::uint8_t>(mac.bytes[0] ^ 2),
                     mac.bytes[1],
                     mac.bytes[2],
                     0xff,
                     0xfe,
                     mac.bytes[3],
                     mac.bytes[4],
                     mac.bytes[5]};
    return address;
}
/// The first `length` bits are the same (ipv6_prefix_equal). `length` is 0 … 128.
[[nodiscard]] constexpr bool ipv6_prefix_equal(const IpAddress& a, const IpAddress& b, unsigned length)
{
    const unsigned whole = length / 8;
    for (unsigned i = 0; i < whole; ++i) {
        if (a.bytes[i] != b.bytes[i]) {
            return false;
        }
    }
    const unsigned rest = length % 8;
    return rest == 0 || ((a.bytes[whole] ^ b.bytes[whole]) >> (8 - rest)) == 0;
}
/// Number of leading bits that are the same (ipv6_addr_diff).
[[nodiscard]] constexpr unsigned ipv6_addr_diff(const IpAddress& a, const IpAddress& b)
{
    unsigned same = 0;
    while (same < 128 && (((a.bytes[same / 8] ^ b.bytes[same / 8]) >> (7 - same % 8)) & 1) == 0) {
        ++same;
    }
    return same;
}

} // namespace skbscope
