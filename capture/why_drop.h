#pragma once
// Why packets were dropped, in words that help: the kernel's reason (or the one concluded from the place), what it means, the
// counter that moved, the setting that governs it with its present value, and the command that changes it. What is known of
// each place stands in assets/catalog (drops.tsv, advice.tsv).

#include "core/trace/drop_explanation.h"
#include "core/trace/journey.h"
#include "core/trace/trace.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace skbscope {

/// The present value of a sysctl; nothing if there is none of that name.
using SettingReader = std::function<std::optional<GoverningSetting>(const std::string& name)>;

/// Most frequent first; `packets` are those of interest. The journeys must be up to date.
[[nodiscard]] std::vector<DropExplanation> explain_drops(const Trace& trace, const JourneyIndex& journeys, std::span<const PacketId> packets,
                                                         const SettingReader& reader);

/// Values of this host, below `proc`: "/proc".
[[nodiscard]] SettingReader settings_of_this_host(const std::string& proc = "/proc");
/// Values that the recorder read when it recorded: of "sysctl" among the trace's files. Of a trace that this very host has just
/// recorded, or records, without them: what they are now. Nothing is known of other hosts.
[[nodiscard]] SettingReader settings_of_recording(const Trace& trace, const std::string& proc = "/proc");
/// The settings that were in force when the trace was made: the scenario's or the recording's.
[[nodiscard]] SettingReader settings_behind(const Trace& trace);
/// Values that a scenario's text sets.
[[nodiscard]] SettingReader settings_of_scenario(const std::string& text);

[[nodiscard]] std::string drops_to_text(std::span<const DropExplanation> drops, const Trace& trace);
/// A JSON array.
[[nodiscard]] std::string drops_to_json(std::span<const DropExplanation> drops, const Trace& trace);

} // namespace skbscope
