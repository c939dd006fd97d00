// skbscope doctor: what this host offers for watching its packets, what each missing piece costs, and the command that
// would allow it. Changes nothing.

#include "app/command.h"
#include "app/output.h"
#include "capture/probe_plan.h"

#include <algorithm>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace skbscope::app {
namespace {

struct Options {
    std::string format = "text";
};

std::string_view sentence(const ProbePlan& plan)
{
    switch (plan.detail) {
    case Detail::functions: return "Packets can be followed function by function.";
    case Detail::probes:
        return "Packets can be followed from tracepoint to tracepoint, and at the functions that probes are "
               "set on.";
    case Detail::tracepoints:
        return "Packets can be followed from tracepoint to tracepoint, not through each function between "
               "them.";
    case Detail::frames: return "Packets cannot be followed through the kernel, but frames can be captured.";
    case Detail::nothing: break;
    }
    return "Nothing of this host can be recorded by this user.";
}

/// What remains whatever the host offers.
constexpr auto always =
    "Always: the model (skbscope run), captures through the model (skbscope replay), recordings and "
    "trace.dat files (skbscope import).";

std::string counts(const ProbePlan& plan)
{
    std::string text = fmt::format("{} events", plan.events.size());
    if (!plan.probes.empty()) {
        text += fmt::format(", {} kprobe events", plan.probes.size());
    }
    if (!plan.functions.empty()) {
        text += fmt::format(", {} functions", plan.functions.size());
    }
    return text;
}

std::string host_line(const HostFacts& facts)
{
    const std::string lockdown = facts.lockdown.empty() ? "no lockdown" : "lockdown " + facts.lockdown;
    const std::string rights = facts.capabilities.empty()
                                   ? "none that matter here"
                                   : fmt::format("{}", fmt::join(facts.capabilities, ", "));
    return fmt::format("Linux {} on {}, {} CPU{}, {}; user {}, capabilities: {}", facts.kernel_release,
                       facts.machine, facts.cpus, facts.cpus == 1 ? "" : "s", lockdown, facts.user, rights);
}

std::string text_of(const HostFacts& facts, const ProbePlan& plan)
{
    std::size_t width = 0;
    for (const HostFinding& finding : plan.findings) {
        width = std::max(width, finding.piece.size());
    }
    std::string text = host_line(facts) + "\n\n" + std::string(sentence(plan)) + "\n";
    if (!plan.events.empty()) {
        text += fmt::format("skbscope record would set: {}; clock {}; {} KiB of buffer for each CPU\n",
                            counts(plan), plan.clock, plan.buffer_kb);
    }
    text += "\n";
    for (const HostFinding& finding : plan.findings) {
        text += fmt::format("{} {:<{}}  {}\n", finding.available ? "yes" : "no ", finding.piece, width,
                            finding.state);
        if (!finding.available) {
            text += fmt::format("      costs:  {}\n      {} {}\n", finding.costs,
                                finding.is_command ? "allow: " : "remedy:", finding.remedy);
        }
    }
    return text + "\n" + always + "\n";
}

nlohmann::json json_of(const HostFacts& facts, const ProbePlan& plan)
{
    nlohmann::json findings = nlohmann::json::array();
    for (const HostFinding& finding : plan.findings) {
        nlohmann::json row = {
            {"piece", finding.piece}, {"available", finding.available}, {"state", finding.state}};
        if (!finding.available) {
            row["costs"] = finding.costs;
            row["remedy"] = finding.remedy;
            row["remedy_is_command"] = finding.is_command;
        }
        findings.push_back(std::move(row));
    }
    nlohmann::json events = nlohmann::json::array();
    for (const PlannedEvent& event : plan.events) {
        events.push_back({{"event", event.system + ":" + event.name}, {"filter", event.filter}});
    }
    nlohmann::json probes = nlohmann::json::array();
    for (const PlannedProbe& probe : plan.probes) {
        probes.push_back({{"function", probe.function}, {"fetch", probe.fetch}});
    }
    return {{"kernel", facts.kernel_release},
            {"machine", facts.machine},
            {"cpus", facts.cpus},
            {"user", facts.user},
            {"capabilities", facts.capabilities},
            {"lockdown", facts.lockdown},
            {"tracefs", facts.tracefs},
            {"detail", to_string(plan.detail)},
            {"frames", plan.frames},
            {"says", sentence(plan)},
            {"findings", std::move(findings)},
            {"plan",
             {{"clock", plan.clock},
              {"buffer_kb_per_cpu", plan.buffer_kb},
              {"events", std::move(events)},
              {"probes", std::move(probes)},
              {"functions", plan.functions}}}};
}

Result<int> run(const Options& options)
{
    const HostFacts facts = read_host_facts({}, true);
    const ProbePlan plan = plan_probes(facts);
    constexpr auto replace = nlohmann::json::error_handler_t::replace;
    print_text(options.format == "json" ? json_of(facts, plan).dump(2, ' ', false, replace)
                                        : text_of(facts, plan));
    return plan.detail >= Detail::tracepoints ? 0 : answer_is_no;
}

} // namespace

void add_doctor_command(CLI::App& program, Invocation& chosen)
{
    auto [command, options] =
        add_command<Options>(program, chosen, "doctor",
                             "What this host offers for watching its packets, and what would allow more",
                             "  skbscope doctor\n"
                             "  sudo skbscope doctor\n"
                             "  skbscope doctor --format json\n"
                             "Changes nothing. Exit status: 0 packets can be followed, 1 they cannot.\n",
                             run);
    add_format_option(*command, options->format);
}

} // namespace skbscope::app
