// skbscope run SCENARIO: the model, from the scenario's start to its end.

#include "app/arguments.h"
#include "app/command.h"
#include "app/output.h"
#include "app/scenario_options.h"
#include "core/compare/what_if.h"
#include "core/recording/recording.h"
#include "core/scenario/model_source.h"

#include <fmt/format.h>

namespace skbscope::app {
namespace {

struct Options {
    ScenarioOptions scenario;
    std::string until;
    std::string at;
    std::vector<std::string> branches;
    RunOutput output;
};

/// "run.pcapng" -> "run.branch-1.pcapng"
std::string branch_file(const std::string& output, std::size_t number)
{
    const std::filesystem::path path(output);
    return (path.parent_path() /
            fmt::format("{}.branch-{}{}", path.stem().string(), number, path.extension().string()))
        .string();
}

Result<void> write(const Trace& trace, const std::string& path)
{
    auto written = write_watched(trace, path);
    if (written) {
        say_written(path, trace);
    }
    return written;
}

/// The run as it is, and one run more for each --branch, which parts from it at that time.
Result<int> run_branches(ModelSource& source, SimTime at, SimTime end, const Options& options)
{
    source.run_to_end(end);
    if (at > source.known_until()) {
        return fail(ErrorKind::usage, "--at " + options.at,
                    fmt::format("the run ends before, at {} ns", source.known_until().ns),
                    "name a moment within it");
    }
    if (!options.output.file.empty()) {
        if (const auto written = write(source.trace(), options.output.file); !written) {
            return tl::unexpected(written.error());
        }
    }
    std::string json;
    for (std::size_t number = 1; number <= options.branches.size(); ++number) {
        const std::string& text = options.branches[number - 1];
        const auto assignment = parse_assignment(text);
        if (!assignment) {
            return tl::unexpected(assignment.error());
        }
        const auto value = source.knob_value(assignment->key, assignment->value);
        if (!value) {
            return tl::unexpected(value.error());
        }
        source.choose_branch(0);
        if (const auto branched = source.branch(assignment->key, *value, at); !branched) {
            return tl::unexpected(branched.error());
        }
        source.run_to_end(end);
        std::string file;
        if (!options.output.file.empty()) {
            file = branch_file(options.output.file, number);
            if (const auto written = write(source.trace(), file); !written) {
                return tl::unexpected(written.error());
            }
        }
        const Trace& line = source.branch_trace(0);
        const WhatIf difference = what_changed(line, source.trace());
        if (options.output.format == "json") {
            json += fmt::format(R"({}{{"branch":"{}","at_ns":{},"difference":{}}})", json.empty() ? "" : ",",
                                text, at.ns, to_json(difference, line));
        } else {
            print_text(fmt::format("{} at {}{}\n{}", text, options.at, file.empty() ? "" : ": " + file,
                                   to_text(difference, line)));
        }
    }
    if (options.output.format == "json") {
        print_text("[" + json + "]");
    }
    return 0;
}

Result<int> run(const Options& options)
{
    if (options.at.empty() != options.branches.empty()) {
        return fail(ErrorKind::usage, options.at.empty() ? "--branch" : "--at",
                    "--at TIME and --branch KEY=VALUE go together", "see skbscope run --help");
    }
    if (options.output.summary && !options.at.empty()) {
        return fail(ErrorKind::usage, "--summary",
                    "a branch is compared packet by packet, which needs them recorded",
                    "leave --summary out");
    }
    if (options.branches.size() >= ModelSource::most_branches) {
        return fail(ErrorKind::usage, "--branch",
                    fmt::format("at most {} branches", ModelSource::most_branches - 1),
                    "see skbscope run --help");
    }
    if (const auto apart = keep_apart(options.output.file, {options.scenario.file}); !apart) {
        return tl::unexpected(apart.error());
    }
    auto scenario = load_scenario(options.scenario);
    if (!scenario) {
        return tl::unexpected(scenario.error());
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
    if (!options.at.empty()) {
        const auto at = parse_duration(options.at);
        if (!at) {
            return tl::unexpected(at.error());
        }
        return run_branches(source, SimTime{} + *at, end, options);
    }
    return run_and_hand_over(source, end, options.output);
}

} // namespace

void add_run_command(CLI::App& program, Invocation& chosen)
{
    auto [command, options] = add_command<Options>(
        program, chosen, "run", "Run a scenario through the model of the kernel",
        "  skbscope run scenario.yaml\n"
        "  skbscope run scenario.yaml --set count=64 --set net.core.netdev_max_backlog=10 -w run.pcapng\n"
        "  skbscope run scenario.yaml --at 400us --branch net.core.netdev_max_backlog=10 -w run.pcapng\n",
        run);
    add_scenario_options(*command, options->scenario, "Model this kernel instead of the scenario's");
    command->add_option("--until", options->until, "Stop at that time: 1500, 1.5us, 2ms, 1s")
        ->option_text("TIME");
    command->add_option("--at", options->at, "The moment at which every --branch parts from the run")
        ->option_text("TIME");
    command
        ->add_option(
            "--branch", options->branches,
            "What if: the run again from --at on with that setting changed; prints which packets end "
            "differently. "
            "May be given more than once; with -w OUT.pcapng the branches go to OUT.branch-1.pcapng …")
        ->option_text("KEY=VALUE")
        ->take_all()
        ->expected(1);
    add_run_output_options(*command, options->output);
}

} // namespace skbscope::app
