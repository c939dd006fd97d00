#pragma once
// Which packets of a trace a command is about: -f FILTER and --between T1,T2.

#include "core/recording/filter.h"

#include <CLI/CLI.hpp>

namespace skbscope::app {

/// As typed; empty: not given.
struct SelectionOptions {
    std::string filter;
    std::string between;
};
void add_selection_options(CLI::App& command, SelectionOptions& options);

struct Selection {
    TraceFilter filter;
    std::optional<Between> between;
    JourneyIndex journeys;
    std::vector<PacketId> packets; ///< those that match, by id
};

/// The trace must outlive the selection and be complete.
[[nodiscard]] Result<Selection> select(const Trace& trace, const SelectionOptions& options);

} // namespace skbscope::app
