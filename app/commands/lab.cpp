// skbscope lab SCENARIO: the scenario on this machine's kernel, in namespaces of its own, recorded.

#include "capture/lab/lab.h"
#include "app/command.h"
#include "app/output.h"
#include "app/privilege.h"
#include "app/scenario_options.h"
#include "app/text.h"
#include "core/catalog/catalog.h"
#include "core/compare/compare.h"
#include "core/recording/recording.h"
#include "core/recording/report.h"
#include "core/scenario/model_source.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <set>

namespace skbscope::app {
namespace {

struct Options {
    ScenarioOptions scenario;
    std::string output;
    std::string format = "text";
    bool host_settings = false;
    bool on_veth = false;
    std::uint32_t slower = 1;
    bool compare = false;
};

void say_run(const lab::LabRun& run)
{
    if (run.others != 0) {
        say("lab: {} packets of this machine's other traffic are left out\n", run.others);
    }
    for (const std::string& remark : run.remarks) {
        say("lab: {}\n", remark);
    }
    for (const lab::TaskCount& task : run.tasks) {
        say("lab: {} in {}: sent {}, received {}", task.name, task.space, task.sent, task.received);
        if (task.refused != 0) {
            say(", {} refused ({})", task.refused, std::strerror(task.last_error));
        }
        say("\n");
    }
}

/// The newest profile of the model that is not newer than the kernel; the oldest one where all are.
std::string_view nearest_profile(KernelVersion kernel)
{
    std::string_view nearest = kernel_profiles[0];
    for (const std::string_view profile : kernel_profiles) {
        nearest = kernel_version_of(profile) <= kernel ? profile : nearest;
    }
    return nearest;
}

/// Counters that the lab did not sample say nothing; those of the CPUs are compared as one.
void keep_sampled(Comparison& comparison, const std::set<std::string>& counted)
{
    std::erase_if(comparison.counters, [&](const CounterComparison& counter) {
        return !counted.contains(counter.name) && !counted.contains(counter.name + " CPU 0");
    });
}

/// softnet_stat counts the whole machine's packets. Where it has counted others, too, it says nothing of the lab.
void leave_out_shared(Comparison& comparison)
{
    constexpr std::string_view shared = "softnet_stat.";
    const auto processed =
        std::ranges::find(comparison.counters, "softnet_stat.processed", &CounterComparison::name);
    if (processed == comparison.counters.end()) {
        return; // as many as in the model: nobody else's
    }
    say("lab: softnet_stat is not compared: it has counted {} packets on this machine, {} in the model, and "
        "counts everybody's\n",
        processed->b, processed->a);
    std::erase_if(comparison.counters,
                  [&](const CounterComparison& counter) { return counter.name.starts_with(shared); });
}

int compare_with_model(const lab::LabRun& run, const Options& options)
{
    Scenario scenario = run.scenario;
    if (options.scenario.kernel.empty()) {
        scenario.kernel = nearest_profile(run.trace.info.kernel);
        say("lab: the model runs as {}, the profile nearest to this machine's {}\n", scenario.kernel,
            run.trace.info.kernel_release);
    }
    ModelSource model(scenario);
    model.keep_snapshots(false);
    model.run_to_end(never);
    JourneyIndex of_model(model.trace());
    JourneyIndex of_lab(run.trace);
    of_model.update();
    of_lab.update();
    Comparison comparison = compare_traces(model.trace(), of_model, run.trace, of_lab);
    keep_sampled(comparison, run.counted);
    leave_out_shared(comparison);
    print_text(options.format == "json" ? comparison_to_json(comparison, model.trace(), run.trace)
                                : comparison_to_text(comparison, model.trace(), run.trace, "model", "lab"));
    return comparison.same() ? 0 : answer_is_no;
}

Result<int> run(const Options& options)
{
    if (const auto apart = keep_apart(options.output, {options.scenario.file}); !apart) {
        return tl::unexpected(apart.error());
    }
    const auto scenario = load_scenario(options.scenario);
    if (!scenario) {
        return tl::unexpected(scenario.error());
    }
    lab::LabWishes wishes;
    wishes.host_settings = options.host_settings;
    wishes.on_veth = options.on_veth;
    wishes.slower = options.slower;
    // It must come to its end by itself: what it made has to be taken back.
    const auto run = lab::run_lab(*scenario, wishes, stop_on_signals());
    if (!run) {
        return tl::unexpected(run.error());
    }
    say_run(*run);
    if (!run->complete) {
        say("lab: stopped before all was sent\n");
    }
    if (!options.output.empty()) {
        if (const auto written = write_watched(run->trace, options.output); !written) {
            return tl::unexpected(written.error());
        }
        say_written(options.output, run->trace);
    }
    if (options.compare) {
        return compare_with_model(*run, options);
    }
    if (options.output.empty()) {
        JourneyIndex journeys(run->trace);
        journeys.update();
        const auto report = build_report(run->trace, journeys);
        print_text(options.format == "json" ? to_json(report, run->trace) : to_text(report, run->trace));
    }
    return 0;
}

} // namespace

void add_lab_command(CLI::App& program, Invocation& chosen)
{
    auto [command, options] = add_command<Options>(
        program, chosen, "lab",
        "Run a scenario on this machine's own kernel, in network namespaces made for it, and record it",
        "  skbscope lab scenario.yaml -w lab.pcapng         needs sudo\n"
        "  skbscope lab lessons/01-a-datagram-arrives --on-veth --compare\n"
        "Needs root. Namespaces, devices, processes and tracing are gone when it ends, however it ends.\n",
        run);
    add_scenario_options(*command, options->scenario,
                         "With --compare: model this kernel; otherwise the one nearest to this machine's");
    command->add_flag("--on-veth", options->on_veth,
                      "Run devices of other drivers (e1000 …) and stations on veths");
    command
        ->add_option("--slower", options->slower,
                     "The traffic's pauses take N times as long, for a machine that cannot keep up; the "
                     "model runs at the same pace")
        ->option_text("N")
        ->check(CLI::Range(1U, 1000U));
    command->add_flag("--host-settings", options->host_settings,
                      "Allow settings that the whole host shares (net.core.netdev_max_backlog …) to change "
                      "for the time of the run");
    auto* compare = command->add_flag(
        "--compare", options->compare,
        "Then run the model on the same scenario and compare; exit status 1 says that they differ");
    command->get_option("--kernel")->needs(compare);
    add_output_option(*command, options->output);
    add_format_option(*command, options->format);
}

} // namespace skbscope::app
