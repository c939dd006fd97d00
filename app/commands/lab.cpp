// skbscope lab SCENARIO: the scenario on this machine's kernel, in namespaces of its own, recorded.

#include "capture/lab/lab.h"
#include "app/arguments.h"
#include "app/command.h"
#include "app/open.h"
#include "app/output.h"
#include "core/catalog/catalog.h"
#include "core/compare/compare.h"
#include "core/recording/recording.h"
#include "core/recording/report.h"
#include "core/scenario/model_source.h"

#include <csignal>
#include <cstdio>
#include <cstring>
#include <fmt/format.h>
#include <set>

namespace skbscope::app {
namespace {

struct Options {
    std::string scenario;
    std::vector<std::string> settings;
    std::string output;
    std::string format = "text";
    bool host_settings = false;
    bool on_veth = false;
    bool compare = false;
};

volatile bool stop_asked = false;

void ask_to_stop(int)
{
    stop_asked = true;
}

/// "6.18.44-fc" as 6018; 0: not a version.
unsigned release_number(const std::string& release)
{
    unsigned major = 0;
    unsigned minor = 0;
    return std::sscanf(release.c_str(), "%u.%u", &major, &minor) == 2 ? major * 1000 + minor : 0;
}

/// The lab must come to its end by itself: what it made has to be taken back.
void catch_signals()
{
    struct sigaction action = {};
    action.sa_handler = ask_to_stop;
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
        ::sigaction(number, &action, nullptr);
    }
    std::signal(SIGPIPE, SIG_IGN);
}

void say_run(const lab::LabRun& run)
{
    for (const std::string& remark : run.remarks) {
        fmt::print(stderr, "lab: {}\n", remark);
    }
    for (const lab::TaskCount& task : run.tasks) {
        fmt::print(stderr, "lab: {} in {}: sent {}, received {}", task.name, task.space, task.sent, task.received);
        if (task.refused != 0) {
            fmt::print(stderr, ", {} refused ({})", task.refused, std::strerror(task.last_error));
        }
        fmt::print(stderr, "\n");
    }
}

/// The newest profile of the model that is not newer than the kernel.
std::string_view nearest_profile(KernelVersion kernel)
{
    if (kernel >= KernelVersion::v6_12) {
        return "6.12";
    }
    return kernel >= KernelVersion::v6_1 ? "6.1" : "5.10";
}

/// Counters that the lab did not sample say nothing; those of the CPUs are compared as one.
void keep_sampled(Comparison& comparison, const std::set<std::string>& counted)
{
    std::erase_if(comparison.counters, [&](const CounterComparison& counter) {
        return !counted.contains(counter.name) && !counted.contains(counter.name + " CPU 0");
    });
}

/// What this kernel is known to do otherwise than every profile of the model.
std::vector<std::string> known_differences(const Comparison& comparison, const Trace& of_model, const Trace& of_lab)
{
    std::size_t sooner_full = 0;
    for (const PacketComparison& packet : comparison.packets) {
        const PacketRecord& in_lab = of_lab.packet(packet.pair.b);
        sooner_full += of_model.packet(packet.pair.a).verdict == Verdict::delivered && in_lab.verdict == Verdict::dropped &&
                               in_lab.reason != DropReasonId::none && Catalog::drop_reason(in_lab.reason).name == "SOCKET_RCVBUFF"
                           ? 1
                           : 0;
    }
    const std::string& release = of_lab.info.kernel_release;
    const bool is_newer = release_number(release) > release_number("6.12");
    if (sooner_full == 0 || !is_newer) {
        return {};
    }
    return {fmt::format("{} datagrams found the receive buffer full on {} and not in the model: 6.18 refuses a datagram when what is queued plus its "
                        "own size passes the buffer, the model's kernels (up to 6.12) when what is queued already does; truesize may differ as well",
                        sooner_full, release)};
}

int compare_with_model(const lab::LabRun& run, const std::string& format)
{
    Scenario scenario = run.scenario;
    if (const std::string_view nearest = nearest_profile(run.trace.info.kernel); scenario.kernel != nearest) {
        fmt::print(stderr, "lab: the model runs as {}, the profile nearest to this machine's {}, not as the scenario's {}\n", nearest,
                   run.trace.info.kernel_release, scenario.kernel);
        scenario.kernel = nearest;
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
    print_text(format == "json" ? comparison_to_json(comparison, model.trace(), run.trace)
                                : comparison_to_text(comparison, model.trace(), run.trace, "model", "lab"));
    for (const std::string& line : known_differences(comparison, model.trace(), run.trace)) {
        fmt::print(stderr, "lab: known difference: {}\n", line);
    }
    return comparison.same() ? 0 : answer_is_no;
}

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
    catch_signals();
    const auto run = lab::run_lab(*scenario, {options.host_settings, options.on_veth}, stop_asked);
    if (!run) {
        return tl::unexpected(run.error());
    }
    say_run(*run);
    if (!run->complete) {
        fmt::print(stderr, "lab: stopped before all was sent\n");
    }
    if (!options.output.empty()) {
        if (const auto written = write_recording(run->trace, options.output); !written) {
            return tl::unexpected(written.error());
        }
        say_written(options.output, run->trace);
    }
    if (options.compare) {
        return compare_with_model(*run, options.format);
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
        program, chosen, "lab", "Run a scenario on this machine's own kernel, in network namespaces made for it, and record it",
        "  skbscope lab scenario.yaml -w lab.pcapng         needs sudo\n"
        "  skbscope lab lessons/01-a-datagram-arrives --on-veth --compare\n"
        "Needs root. Namespaces, devices, processes and tracing are gone when it ends, however it ends.\n",
        run);
    command->add_option("SCENARIO", options->scenario, "A scenario (YAML), or a lesson that has one")->required();
    command->add_option("--set", options->settings, "Change a setting of the scenario; may be given more than once")
        ->option_text("KEY=VALUE")
        ->take_all()
        ->expected(1);
    command->add_flag("--on-veth", options->on_veth, "Run devices of other drivers (e1000 …) and stations on veths");
    command->add_flag("--host-settings", options->host_settings,
                      "Allow settings that the whole host shares (net.core.netdev_max_backlog …) to change for the time of the run");
    command->add_flag("--compare", options->compare,
                      "Then run the model on the same scenario and compare; exit status 1 says that they differ");
    add_output_option(*command, options->output);
    add_format_option(*command, options->format);
}

} // namespace skbscope::app
