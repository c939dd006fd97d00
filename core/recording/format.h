#pragma once
// The recording format in numbers: what writer.cpp and reader.cpp share. In words: docs/recording-format.md.

#include "core/trace/trace.h"

#include <cstdint>

namespace skbscope::format {

// ---- pcapng (draft-ietf-opsawg-pcapng) ------------------------------------------------------------------------------
inline constexpr std::uint32_t section_header = 0x0a0d0d0a;
inline constexpr std::uint32_t interface_description = 1;
inline constexpr std::uint32_t obsolete_packet = 2;
inline constexpr std::uint32_t simple_packet = 3;
inline constexpr std::uint32_t enhanced_packet = 6;
inline constexpr std::uint32_t byte_order_magic = 0x1a2b3c4d;
inline constexpr std::uint16_t linktype_ethernet = 1;
/// The most that tshark and capinfos accept of one packet (WTAP_MAX_PACKET_SIZE_STANDARD).
inline constexpr std::uint32_t longest_frame = 262144;

// ---- our blocks -----------------------------------------------------------------------------------------------------
/// "SKB" with the top bit set: a block type for local use, which readers that do not know it step over.
inline constexpr std::uint32_t block_type = 0x80534b42;
inline constexpr std::uint32_t magic = 0x53424b53; ///< the bytes "SKBS", little-endian
inline constexpr std::uint8_t major_version = 1;   ///< another major version cannot be read
inline constexpr std::uint8_t minor_version = 1;   ///< a newer minor version adds kinds of blocks and fields behind rows

inline constexpr std::size_t header_length = 36;             ///< of our block, in front of its payload
inline constexpr std::uint32_t longest_block = 16U << 20;    ///< whole, as it lies in the file
inline constexpr std::uint32_t longest_payload = 16U << 20;  ///< decompressed
/// A payload may not be compressed below 1/128 of its length: a small file cannot unfold into endless memory.
inline constexpr std::uint32_t most_compression = 128;
inline constexpr std::uint32_t events_a_batch = 32768;
inline constexpr std::uint64_t unknown_total = ~std::uint64_t{0};

enum Flag : std::uint16_t { flag_zstd = 1 };

enum class Kind : std::uint16_t {
    start = 1, ///< first of all: totals and TraceInfo
    info = 2,  ///< TraceInfo again, as it is now
    faults = 3,
    functions = 4, ///< number in this file -> name
    reasons = 5,   ///< number in this file -> name
    hosts = 6,
    tasks = 7,
    devices = 8,
    queues = 9,
    counters = 10,
    field_changes = 11,
    counter_changes = 12,
    queue_changes = 13,
    notes = 14,
    bytes = 15,
    packets = 16,
    events = 17,
    durations = 18, ///< of calls that were still open when their batch was written
    end = 19,       ///< last of all: totals
    files = 20,     ///< what files of /proc and tools said at the end
};

// The numbers of these enumerations lie in files: they may grow at the end, and never change.
static_assert(static_cast<int>(EventKind::lost) == 22 && static_cast<int>(EventKind::drop) == 4 &&
              static_cast<int>(EventKind::queue) == 19);
static_assert(static_cast<int>(Verdict::lost) == 8 && static_cast<int>(Verdict::dropped) == 5);
static_assert(static_cast<int>(Context::nmi) == 3 && static_cast<int>(Confidence::assumed) == 2 && via_function == 16 &&
              via_graph == 128);
static_assert(static_cast<int>(QueueKind::other) == 9 && static_cast<int>(QueueUnit::bytes) == 1);
static_assert(static_cast<int>(SkbField::bytes) == 20 && static_cast<int>(SkbField::destination) == 15);
static_assert(static_cast<int>(Relation::copy) == 3 && static_cast<int>(QueueChange::What::fill) == 1);

} // namespace skbscope::format
