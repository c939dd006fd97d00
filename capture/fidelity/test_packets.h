#pragma once
// Which packets of a trace are those that a phase of a recorded folder is about, and which functions such a packet must have
// run through to its end.

#include "capture/fidelity/manifest.h"
#include "core/compare/align.h"
#include "core/trace/journey.h"

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>

namespace skbscope {

/// How long behind its phase's end a packet may still be born, ns of the trace clock.
inline constexpr std::uint64_t phase_slack_ns = 20'000'000;
/// The same for a run of the model that loses frames: several timeouts of TCP, of which each is twice as long as the one before.
inline constexpr std::uint64_t loss_slack_ns = 15'000'000'000;

/// Packets of `phase` in a recording; in a model's trace if `model_base` says which trace clock its zero is. The manifest and
/// the trace must outlive what is returned.
[[nodiscard]] PacketChoice test_packets_of(const Manifest& manifest, std::size_t phase, const Trace& trace, std::optional<std::uint64_t> model_base);

/// Names that the recording's tracer can show: those of its filter; of a graph, those that it shows anywhere.
[[nodiscard]] std::set<std::string, std::less<>> shown_functions(const Manifest& manifest, const Trace& recorded);

/// Whether the journey has the packet's end and, in order, the places that a packet of its kind with this end passes (see
/// docs/recordings.md); places of which the tracer shows no function do not count. Empty: it has; else what is missing.
[[nodiscard]] std::string missing_of_path(const Trace& recorded, const PacketRecord& packet, const Journey& journey,
                                          const std::set<std::string, std::less<>>& shown);

} // namespace skbscope
