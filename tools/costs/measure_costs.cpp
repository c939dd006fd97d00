// Makes assets/costs/default.tsv: what a call of each modelled function costs, in nanoseconds.
//
//   measure_costs --real LO.dat --untraced NS --keep OLD.tsv GRAPH.dat… > default.tsv
//
// The scale comes from a tracepoint recording of datagrams over loopback on a real kernel (tools/costs/record makes it):
// how long it takes from one tracepoint to the next, less what tracing itself costs, which is the difference between the
// traced and the untraced time of a datagram (NS) shared out evenly among the events. What lies between two tracepoints is
// shared out among the functions that the model calls there, in the proportions of their own times in function_graph
// recordings (GRAPH.dat; of an emulated CPU: proportions, not durations). A function that loopback does not pass keeps its
// proportion, scaled as the others are on the whole; one that no recording has seen, or that waits for emulated hardware,
// keeps the line of OLD.tsv.

#include "capture/import.h"
#include "capture/trace_dat.h"
#include "core/catalog/catalog.h"
#include "core/catalog/function_ids.h"
#include "core/scenario/model_source.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fmt/format.h>
#include <fstream>
#include <map>
#include <string>
#include <vector>

namespace {

using namespace skbscope;

[[noreturn]] void fail(const std::string& why)
{
    fmt::print(stderr, "measure_costs: {}\n", why);
    std::exit(3);
}

double median(std::vector<double> values)
{
    if (values.empty()) {
        return 0;
    }
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::ranges::nth_element(values, middle);
    return *middle;
}

// ---- the scale: from tracepoint to tracepoint ------------------------------------------------------------------------------

/// One stretch of a datagram's way over loopback: where it begins on the real kernel, and with which function's entry in
/// the model (the function that holds the tracepoint).
struct Stretch {
    const char* tracepoint;
    FunctionId function;
    double nanoseconds = 0;
};

std::vector<Stretch> stretches()
{
    return {{"sys_enter_sendto", fn::__sys_sendto},      {"net_dev_queue", fn::__dev_queue_xmit}, {"net_dev_start_xmit", fn::xmit_one},
            {"netif_rx", fn::netif_rx_internal},         {"softirq_entry", fn::handle_softirqs},  {"netif_receive_skb", fn::__netif_receive_skb_core},
            {"sk_data_ready", fn::sock_def_readable},    {"sys_enter_recvfrom", fn::__sys_recvfrom}};
}

/// Fills in the times. `untraced`: of a datagram sent and read, in nanoseconds.
void measure(std::vector<Stretch>& way, const std::string& path, double untraced)
{
    const auto file = TraceDat::open(path);
    if (!file) {
        fail(file.error().describe());
    }
    struct Seen {
        std::uint64_t time;
        std::string name;
    };
    std::map<std::int32_t, std::vector<Seen>> by_task;
    file->for_each([&](const RawRecord& record) {
        const EventFormat* format = file->kernel().format(record.event_id);
        if (format != nullptr && file->kernel().task_name(record.pid) == "traffic") {
            by_task[record.pid].push_back({record.time_ns, format->name});
        }
    });
    // One round: from a sys_enter_sendto to the next. Rounds that something disturbed have other events and are left out.
    const std::vector<std::string> expected{"sys_enter_sendto",  "net_dev_queue", "net_dev_start_xmit", "netif_rx",     "net_dev_xmit",
                                            "softirq_entry",     "netif_receive_skb", "sk_data_ready",  "napi_poll",    "softirq_exit",
                                            "sys_exit_sendto",   "sys_enter_recvfrom", "sys_exit_recvfrom"};
    std::vector<std::vector<double>> gaps(expected.size());
    std::vector<double> rounds;
    for (const auto& [task, seen] : by_task) {
        for (std::size_t at = 0; at + expected.size() < seen.size(); ++at) {
            bool whole = seen[at + expected.size()].name == expected[0];
            for (std::size_t step = 0; whole && step < expected.size(); ++step) {
                whole = seen[at + step].name == expected[step];
            }
            if (!whole) {
                continue;
            }
            for (std::size_t step = 0; step < expected.size(); ++step) {
                gaps[step].push_back(static_cast<double>(seen[at + step + 1].time - seen[at + step].time));
            }
            rounds.push_back(static_cast<double>(seen[at + expected.size()].time - seen[at].time));
        }
    }
    if (rounds.size() < 1000) {
        fail(fmt::format("{}: {} undisturbed rounds are too few; make the recording with tools/costs/record", path, rounds.size()));
    }
    const double overhead = std::max(0.0, (median(rounds) - untraced) / static_cast<double>(expected.size()));
    double sum = 0;
    std::size_t row = 0;
    for (std::size_t step = 0; step < expected.size(); ++step) {
        if (row + 1 < way.size() && expected[step] == way[row + 1].tracepoint) {
            ++row;
        }
        way[row].nanoseconds += std::max(median(gaps[step]) - overhead, 5.0);
    }
    for (const Stretch& stretch : way) {
        sum += stretch.nanoseconds;
    }
    for (Stretch& stretch : way) {
        stretch.nanoseconds *= untraced / sum; // the medians and the overhead do not add up exactly
    }
    fmt::print("# Scale: {} undisturbed rounds of {}, kernel {}; {:.0f} ns a datagram sent and read untraced, {:.0f} ns traced\n"
               "# (median), so {:.0f} ns of each of the {} gaps is tracing.\n",
               rounds.size(), "loopback", file->kernel().release, untraced, median(rounds), overhead, expected.size());
}

// ---- the proportions: own times in function_graph recordings -----------------------------------------------------------------

struct OpenCall {
    FunctionId function;
    std::uint64_t end;
    double own;
    bool modelled;
};

std::map<FunctionId, double> own_times(const std::vector<std::string>& paths)
{
    std::map<FunctionId, std::vector<double>> samples;
    std::vector<double> leaves;
    std::map<FunctionId, std::vector<double>> below; // calls below it, for what tracing added
    for (const std::string& path : paths) {
        const auto imported = import_trace_dat(path);
        if (!imported) {
            fail(imported.error().describe());
        }
        const Trace& trace = imported->trace;
        std::map<std::pair<std::uint16_t, Context>, std::vector<std::pair<OpenCall, int>>> stacks;
        const auto finish = [&](std::vector<std::pair<OpenCall, int>>& stack) {
            const auto [call, inside] = stack.back();
            stack.pop_back();
            if (call.modelled) {
                samples[call.function].push_back(call.own);
                below[call.function].push_back(inside);
            }
            if (inside == 0) {
                leaves.push_back(call.own);
            }
            if (!stack.empty()) {
                stack.back().second += call.modelled ? 1 : inside + 1;
            }
        };
        for (std::size_t at = 0; at < trace.size(); ++at) {
            const Event& event = trace[at];
            if (!event.is_call() || !event.has_end() || (event.via() & via_graph) == 0) {
                continue;
            }
            auto& stack = stacks[{event.cpu, event.context()}];
            while (!stack.empty() && stack.back().first.end <= event.time_ns) {
                finish(stack);
            }
            const FunctionId function = event.function_id();
            const bool modelled = to_index(function) < Catalog::function_count();
            const double duration = event.duration_ns;
            if (modelled) { // what a modelled function below costs is its own; the rest belongs to the caller
                for (auto caller = stack.rbegin(); caller != stack.rend(); ++caller) {
                    caller->first.own -= duration;
                    if (caller->first.modelled) {
                        break;
                    }
                }
            }
            stack.push_back({{function, event.time_ns + event.duration_ns, duration, modelled}, 0});
        }
    }
    std::ranges::sort(leaves);
    const double cost_of_tracing = leaves.empty() ? 0 : leaves[leaves.size() / 20];
    std::map<FunctionId, double> own;
    for (auto& [function, values] : samples) {
        const double traced = median(values) - (median(below[function]) + 1) * cost_of_tracing;
        own[function] = std::max(traced, cost_of_tracing / 10);
    }
    fmt::print("# Proportions: own times of {} functions in {} function_graph recordings, less {:.0f} ns for each traced call.\n", own.size(),
               paths.size(), cost_of_tracing);
    return own;
}

// ---- what the model calls in each stretch ------------------------------------------------------------------------------------

std::vector<std::map<FunctionId, double>> calls_by_stretch(const std::vector<Stretch>& way)
{
    constexpr int datagrams = 20;
    const auto scenario = parse_scenario("skbscope: 1\nhosts:\n  - name: here\n    cpus: 1\n"
                                         "    receivers: [{name: reader, port: 5001}]\n"
                                         "    senders: [{name: writer, to: \"127.0.0.1:5001\", connect: false, count: " + std::to_string(datagrams) +
                                             ", gap: 1ms, start: 1ms}]\n",
                                         "loopback");
    if (!scenario) {
        fail(scenario.error().describe());
    }
    ModelSource model(*scenario);
    model.run_to_end();
    const Trace& trace = model.trace();
    std::vector<std::map<FunctionId, double>> calls(way.size());
    int stretch = -1;
    for (std::size_t at = 0; at < trace.size(); ++at) {
        const Event& event = trace[at];
        if (!event.is_call()) {
            continue;
        }
        const auto begins = std::ranges::find(way, event.function_id(), &Stretch::function);
        if (begins != way.end()) {
            stretch = static_cast<int>(begins - way.begin());
        }
        if (stretch >= 0) {
            calls[static_cast<std::size_t>(stretch)][event.function_id()] += 1.0 / datagrams;
        }
    }
    return calls;
}

// ---- the table -----------------------------------------------------------------------------------------------------------------

struct Line {
    double nanoseconds = 0;
    std::string origin;
};

/// Touches device registers or the interrupt controller: in an emulated machine that is a trap, and says nothing of a real one.
bool waits_for_hardware(FunctionId function)
{
    const std::string name(Catalog::function(function).name);
    return name.starts_with("e1000") || name.starts_with("vring") || name.starts_with("virt") || name.find("irq") != std::string::npos;
}

} // namespace

int main(int argc, char** argv)
{
    std::string real, keep;
    double untraced = 0;
    std::vector<std::string> graphs;
    for (int at = 1; at < argc; ++at) {
        const std::string word = argv[at];
        if (word == "--real" && at + 1 < argc) {
            real = argv[++at];
        } else if (word == "--untraced" && at + 1 < argc) {
            untraced = std::atof(argv[++at]);
        } else if (word == "--keep" && at + 1 < argc) {
            keep = argv[++at];
        } else {
            graphs.push_back(word);
        }
    }
    if (real.empty() || keep.empty() || untraced <= 0 || graphs.empty()) {
        fmt::print(stderr, "usage: measure_costs --real LO.dat --untraced NS --keep OLD.tsv GRAPH.dat... > default.tsv\n");
        return 2;
    }
    fmt::print("# What a call costs on its CPU, in nanoseconds: its own work, without what it calls.\n# function\tns\torigin\n#\n"
               "# Made by tools/costs/measure_costs; how is said there. Lines that say \"estimate\" are nobody's measurement.\n");
    std::vector<Stretch> way = stretches();
    measure(way, real, untraced);
    const std::map<FunctionId, double> own = own_times(graphs);
    const auto calls = calls_by_stretch(way);

    std::vector<double> known;
    for (const auto& [function, time] : own) {
        known.push_back(time);
    }
    const double typical = median(known);
    std::map<FunctionId, Line> lines;
    double measured = 0, shares = 0;
    for (std::size_t row = 0; row < way.size(); ++row) {
        const auto weight = [&](FunctionId function) { return own.contains(function) ? own.at(function) : typical / 4; };
        double sum = 0;
        for (const auto& [function, times] : calls[row]) {
            sum += weight(function) * times;
        }
        measured += way[row].nanoseconds;
        shares += sum;
        for (const auto& [function, times] : calls[row]) {
            const double cost = way[row].nanoseconds * weight(function) / sum;
            Line& line = lines[function];
            if (line.origin.empty() || cost > line.nanoseconds) {
                line = {cost, fmt::format("{:.1f} % of the {:.0f} ns from {} on{}", 100 * weight(function) * times / sum, way[row].nanoseconds,
                                          way[row].tracepoint, own.contains(function) ? "" : "; its share is an estimate: no graph shows it")};
            }
        }
    }
    for (const auto& [function, time] : own) {
        if (!lines.contains(function) && !waits_for_hardware(function)) {
            lines[function] = {time * measured / shares, "from its own time in the graph, scaled as those on loopback are on the whole"};
        }
    }
    std::ifstream old(keep);
    for (std::string line; std::getline(old, line);) {
        if (line.empty() || line[0] == '#') {
            continue;
        }
        const std::string name = line.substr(0, line.find('\t'));
        if (name == "(default)") {
            fmt::print("(default)\t{:.0f}\tthe median of what the graphs show, scaled alike: for functions that no recording has seen\n",
                       typical * measured / shares);
        } else if (name.front() == '(') {
            fmt::print("{}\n", line);
        } else if (const FunctionId function = Catalog::find_function(name); !lines.contains(function)) {
            const std::size_t tab = line.find('\t', name.size() + 1);
            lines[function] = {std::atof(line.c_str() + name.size() + 1), line.substr(tab + 1)};
        }
    }
    for (const auto& [function, line] : lines) {
        fmt::print("{}\t{:.0f}\t{}\n", Catalog::function(function).name, std::max(1.0, line.nanoseconds), line.origin);
    }
    return 0;
}
