#pragma once
// Numbers in network byte order, read from and written to plain bytes. No alignment is assumed, no length is checked:
// the views check once, at their door.

#include <cstddef>
#include <cstdint>

namespace skbscope {

[[nodiscard]] constexpr std::uint16_t load_be16(const std::uint8_t* p)
{
    return static_cast<std::uint16_t>(p[0] << 8 | p[1]);
}

[[nodiscard]] constexpr std::uint32_t load_be32(const std::uint8_t* p)
{
    return static_cast<std::uint32_t>(load_be16(p)) << 16 | load_be16(p + 2);
}

constexpr void store_be16(std::uint8_t* p, std::uint16_t value)
{
    p[0] = static_cast<std::uint8_t>(value >> 8);
    p[1] = static_cast<std::uint8_t>(value);
}

constexpr void store_be32(std::uint8_t* p, std::uint32_t value)
{
    store_be16(p, static_cast<std::uint16_t>(value >> 16));
    store_be16(p + 2, static_cast<std::uint16_t>(value));
}

} // namespace skbscope
