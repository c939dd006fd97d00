#pragma once
// The ordinary blocks of a pcapng file, as bytes.

#include "core/trace/trace.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace skbscope::pcapng {

/// Little-endian, of unknown length (a stream has none).
[[nodiscard]] std::vector<std::uint8_t> section_header(std::string_view application, std::string_view system);
/// Ethernet, nanosecond stamps.
[[nodiscard]] std::vector<std::uint8_t> interface_description(std::string_view name, std::string_view driver,
                                                              const std::array<std::uint8_t, 6>& mac);

struct Frame {
    std::uint32_t interface = 0;
    std::uint64_t wall_ns = 0; ///< since 1970
    std::span<const std::uint8_t> bytes;
    std::uint32_t wire_length = 0;
    bool outbound = false;
    std::uint64_t packet_id = 0;
    std::string_view comment;
};
[[nodiscard]] std::vector<std::uint8_t> enhanced_packet(const Frame& frame);

/// Wraps a body into a block: type, length, body padded to four bytes, length.
[[nodiscard]] std::vector<std::uint8_t> block(std::uint32_t type, std::span<const std::uint8_t> body);

} // namespace skbscope::pcapng
