#pragma once
// Opens any file that the program knows, by its content, as the Source that everything else reads.

#include "core/progress.h"
#include "core/result.h"
#include "core/scenario/scenario.h"
#include "core/trace/source.h"

#include <filesystem>
#include <memory>
#include <string>

namespace skbscope::app {

/// A recording, trace.dat, capture (replayed through the model) or scenario. Not a lesson: its scenario or
/// recording is. What a reader had to leave out stands in the trace's `faults`.
[[nodiscard]] Result<std::unique_ptr<Source>> open_driver(const std::filesystem::path& path);

/// … told how far it has come; cancelled, it ends with stopped(). Safe on any thread.
[[nodiscard]] Result<std::unique_ptr<Source>> open_watched(const std::filesystem::path& path,
                                                           Progress& progress);

/// A scenario's file, or a lesson that is driven by one.
[[nodiscard]] Result<Scenario> load_scenario_file(const std::string& path);

/// The same, or the scenario or recording of a lesson; run to its end, so that the trace is all there will
/// be. Remarks on what was lost go to stderr, one line each, and meanwhile how far it has come (ProgressLine).
[[nodiscard]] Result<std::unique_ptr<Source>> open_whole(const std::string& path);

} // namespace skbscope::app
