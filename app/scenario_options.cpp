#include "app/scenario_options.h"

#include "app/open.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace skbscope::app {

void add_kernel_option(CLI::App& command, std::string& kernel, const std::string& help)
{
    const std::vector<std::string> known(std::begin(kernel_profiles), std::end(kernel_profiles));
    command.add_option("--kernel", kernel, help)
        ->check(CLI::IsMember(known))
        ->option_text(fmt::format("{}", fmt::join(known, "|")));
}

void add_scenario_options(CLI::App& command, ScenarioOptions& options, const std::string& kernel_help)
{
    command.add_option("SCENARIO", options.file, "A scenario (YAML), or a lesson that has one")->required();
    command
        .add_option("--set", options.settings,
                    "Change a setting of the scenario; may be given more than once")
        ->option_text("KEY=VALUE")
        ->take_all()
        ->expected(1);
    add_kernel_option(command, options.kernel, kernel_help);
}

Result<Scenario> load_scenario(const ScenarioOptions& options)
{
    auto scenario = load_scenario_file(options.file);
    if (!scenario) {
        return tl::unexpected(scenario.error());
    }
    for (const std::string& setting : options.settings) {
        if (const auto applied = apply_setting(*scenario, setting); !applied) {
            return tl::unexpected(applied.error());
        }
    }
    if (!options.kernel.empty()) {
        scenario->kernel = options.kernel;
    }
    return scenario;
}

} // namespace skbscope::app
