#pragma once
// What commands that run a scenario have in common: SCENARIO, --set, --kernel.

#include "core/result.h"
#include "core/scenario/scenario.h"

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace skbscope::app {

/// As typed.
struct ScenarioOptions {
    std::string file;
    std::vector<std::string> settings; ///< "KEY=VALUE"
    std::string kernel;                ///< one of kernel_profiles; empty: not given
};

/// --kernel VERSION; `help` says what happens without it.
void add_kernel_option(CLI::App& command, std::string& kernel, const std::string& help);
/// SCENARIO, --set, --kernel.
void add_scenario_options(CLI::App& command, ScenarioOptions& options, const std::string& kernel_help);
/// The scenario with its settings changed as was asked for, and that kernel.
[[nodiscard]] Result<Scenario> load_scenario(const ScenarioOptions& options);

} // namespace skbscope::app
