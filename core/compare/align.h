#pragma once
// Which packet of one trace is which of the other: TCP segments by kind and place in their connection, all else by flow and
// ordinal; what a packet carries (a numbered payload, an ICMP sequence) and its IP id break ties when one side has more
// packets than the other.

#include "core/trace/trace.h"

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <vector>

namespace skbscope {

/// Whether a packet takes part in a comparison. Empty: all do.
using PacketChoice = std::function<bool(const PacketRecord&)>;

/// The same packet in both traces; `none` on the side that lacks it.
struct PacketPair {
    PacketId a = PacketId::none;
    PacketId b = PacketId::none;
};

/// Pairs in order of birth in a; packets that only b has come last, in order of birth there. Clones (of taps) pair with
/// clones, fragments and segments with their like, received with received, sent with sent. `by_length`: one side is of
/// tracepoints, which tell every packet's length but not always its flow; then packets without a flow pair by their lengths.
[[nodiscard]] std::vector<PacketPair> align_packets(const Trace& a, const Trace& b, const PacketChoice& of_a = {},
                                                    const PacketChoice& of_b = {}, bool by_length = false);

enum class TcpKind : std::uint8_t { syn, syn_ack, data, ack, fin, rst };

/// What a TCP segment is for; a bare acknowledgement is `ack`. Nothing: no TCP, or too short to tell.
[[nodiscard]] std::optional<TcpKind> tcp_kind_of(std::span<const std::uint8_t> frame);

/// Bytes of a TCP segment's payload as its headers say; 0 of anything else.
[[nodiscard]] std::uint32_t tcp_payload_of(std::span<const std::uint8_t> frame);

/// Bytes of payload that the segments of each direction carried; what went twice, or in several packets of the trace, counts
/// once. By address and port, so that two runs compare; a direction without payload has 0.
[[nodiscard]] std::map<FlowKey, std::uint64_t> tcp_bytes_of(const Trace& trace, const PacketChoice& wanted = {});

/// The number behind "PKT" at the start of a UDP payload; -1 if there is none.
[[nodiscard]] std::int64_t payload_index(std::span<const std::uint8_t> frame);

} // namespace skbscope
