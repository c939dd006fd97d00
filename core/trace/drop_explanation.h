#pragma once
// What is known of why packets were dropped. Plain values: what finds them out stands in capture/why_drop.h, what shows them asks
// the program for them.

#include "core/catalog/catalog.h"
#include "core/trace/event.h"

#include <cstdint>
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
    bool of_host = false; ///< the host's own figure while it was recorded: what else moved it is in it, too
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

} // namespace skbscope
