#pragma once
// Why packets were dropped, in words that help: the kernel's reason (or the one concluded from the place), what it means, the
// counter that moved, the setting that governs it with its present value, and the command that changes it. What is known of
// each place stands in assets/catalog (drops.tsv, advice.tsv).

#include "core/catalog/catalog.h"
#include "core/trace/journey.h"
#include "core/trace/trace.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace skbscope {

/// A setting and what it is now.
struct GoverningSetting {
    std::string name;  ///< "net.core.netdev_max_backlog", ":5001.SO_RCVBUF"
    std::string value; ///< empty: not known
    std::string where; ///< "this host", "the scenario", "the kernel's default"; empty with an empty value
};

/// A counter that the dropped packets moved, as the trace saw it.
struct MovedCounter {
    std::string name;
    std::int64_t by = 0;
};

/// All drops with one reason in one function.
struct DropExplanation {
    DropReasonId reason = DropReasonId::none;
    FunctionId function = FunctionId::none;
    std::uint64_t count = 0;
    PacketId example = PacketId::none; ///< the first of them
    const DropSite* site = nullptr;    ///< what the catalog knows of the place; may be null
    bool reason_concluded = false;     ///< the kernel tells no reasons: concluded from the place
    std::string words;                 ///< what the reason means
    std::string condition;             ///< when exactly the kernel drops there; may be empty
    std::vector<MovedCounter> moved;   ///< may be empty: a recording sees no counters
    std::string counters;              ///< which counters such a drop moves, in words
    std::vector<GoverningSetting> settings;
    std::string command;               ///< that changes or shows what governs it; may be empty
    std::string remedy;                ///< what to do, in words; may be empty
};

/// The present value of a sysctl; nothing if there is none of that name.
using SettingReader = std::function<std::optional<GoverningSetting>(const std::string& name)>;

/// Most frequent first; `packets` are those of interest. The journeys must be up to date.
[[nodiscard]] std::vector<DropExplanation> explain_drops(const Trace& trace, const JourneyIndex& journeys, std::span<const PacketId> packets,
                                                         const SettingReader& reader);

/// Values of this host, below `proc`: "/proc".
[[nodiscard]] SettingReader settings_of_this_host(const std::string& proc = "/proc");
/// Values that a scenario's text sets.
[[nodiscard]] SettingReader settings_of_scenario(const std::string& text);

[[nodiscard]] std::string drops_to_text(std::span<const DropExplanation> drops, const Trace& trace);
/// A JSON array.
[[nodiscard]] std::string drops_to_json(std::span<const DropExplanation> drops, const Trace& trace);

} // namespace skbscope
