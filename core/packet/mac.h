#pragma once
// A MAC address.

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace skbscope {

struct MacAddress {
    std::array<std::uint8_t, 6> bytes{};
    auto operator<=>(const MacAddress&) const = default;
    [[nodiscard]] static constexpr MacAddress broadcast() { return {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}; }
    [[nodiscard]] constexpr bool is_broadcast() const { return *this == broadcast(); }
    /// The group bit: true for broadcast, too.
    [[nodiscard]] constexpr bool is_multicast() const { return (bytes[0] & 1) != 0; }
    /// "52:54:00:12:34:56"
    [[nodiscard]] std::string text() const;
    /// Six pairs of hexadecimal digits between colons (or dashes); empty if it is anything else.
    [[nodiscard]] static std::optional<MacAddress> parse(std::string_view text);
};

} // namespace skbscope
