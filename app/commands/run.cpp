// skbscope run SCENARIO: the model, from the scenario's start to its end.

#include "app/arguments.h"
#include "app/command.h"
#include "app/open.h"
#include "app/output.h"
#include "core/scenario/model_source.h"

namespace skbscope::app {
namespace {

struct Options {
    std::string scenario;
    std::vector<std::string> settings;
    std::string until;
    std::string output;
    std::string format = "text";
};

Result<int> run(const Options& options)
{
    auto scenario = load_scenario_file(options.scenario);
    if (!scenario) {
        return tl::unexpected(scenario.error());
    }
    for (const auto& setting : options.settings) {
        if (const auto applied = apply_setting(*scenario, setting); !applied) {
            return tl::unexpected(applied.error());
        }
    }
    SimTime end = never;
    if (!options.until.empty()) {
        const auto until = parse_duration(options.until);
        if (!until) {
            return tl::unexpected(until.error());
        }
        end = SimTime{} + *until;
    }
    ModelSource source(std::move(*scenario));
    source.run_to_end(end);
    return hand_over(source.trace(), options.output, options.format);
}

} // namespace

void add_run_command(CLI::App& program, Invocation& chosen)
{
    auto [command, options] = add_command<Options>(
        program, chosen, "run", "Run a scenario through the model of the kernel",
        "  skbscope run scenario.yaml\n"
        "  skbscope run scenario.yaml --set count=64 --set net.core.netdev_max_backlog=10 -w run.pcapng\n",
        run);
    command->add_option("SCENARIO", options->scenario, "A scenario (YAML), or a lesson that has one")
        ->required();
    command
        ->add_option("--set", options->settings,
                     "Change a setting of the scenario; may be given more than once")
        ->option_text("KEY=VALUE")
        ->take_all()
        ->expected(1);
    command->add_option("--until", options->until, "Stop at that time: 1500, 1.5us, 2ms, 1s")
        ->option_text("TIME");
    add_output_option(*command, options->output);
    add_format_option(*command, options->format);
}

} // namespace skbscope::app
