#pragma once
// Two traces laid side by side: the model against a real kernel, a what-if branch against the run it left, two
// recordings. Knows only traces; whoever compares says which packets and which functions count.

#include "core/compare/align.h"
#include "core/trace/journey.h"

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace skbscope {

/// Names without compiler suffix, one for all kernels that call the function differently.
using FunctionNames = std::set<std::string, std::less<>>;

/// What a tracer can show.
struct VisibleFunctions {
    FunctionNames functions;
    FunctionNames roots;        ///< function_graph: only these and what they call; empty: all
    bool with_inlining = false; ///< calls that compilers inline do not count in a model
    bool looks_once = false;    ///< how often a reader looks into its queues for one datagram does not count: it hangs on whether others waited with it
    bool own_only = false;      ///< only a packet's own calls: tracepoints show no returns, so that what encloses a call is not known
};

/// Of a tracer that was asked for these symbols of its kernel; `roots` those of function_graph, which shows every call
/// below them.
[[nodiscard]] VisibleFunctions visible_to(std::span<const std::string> filter, std::span<const std::string> roots, KernelVersion version);

struct CompareOptions {
    /// Functions that count. None named: those that both traces can show, see visible_functions().
    VisibleFunctions visible;
    PacketChoice of_a, of_b;
};

/// One call of a packet as far as a comparison looks: where it ran and what it was.
struct ComparedStep {
    std::uint32_t ordinal = 0; ///< of its event
    std::string_view function; ///< today's name; lives as long as the trace
};

/// A packet's calls in one context on one CPU (in process context: of one task), in order.
struct Segment {
    Context context = Context::process;
    CpuId cpu{};
    TaskId task = TaskId::none; ///< in process context
    std::vector<ComparedStep> steps;
};

/// Where two journeys part first.
struct StepDifference {
    Context context = Context::process;
    std::size_t segment = 0; ///< ordinal of the segment among those of its context
    std::size_t step = 0;    ///< within the segment
    std::string in_a;        ///< function at that place; empty: the segment has ended, or there is none
    std::string in_b;
    /// "softirq: a … b" in one line.
    [[nodiscard]] std::string text() const;
};

struct PacketComparison {
    PacketPair pair;
    bool same_verdict = false;
    bool same_reason = false; ///< implies the same verdict
    bool same_functions = false;
    std::optional<StepDifference> first;
    [[nodiscard]] bool same() const { return same_verdict && same_reason && same_functions; }
};

struct CounterComparison {
    std::string name;
    std::int64_t a = 0, b = 0; ///< moved by
};

/// Datagrams of a flow that arrived (were delivered or forwarded) in one trace and not in the other, by ordinal among
/// the aligned packets of the flow.
struct ArrivalDifference {
    FlowKey flow;
    std::vector<std::size_t> only_in_a, only_in_b;
};

struct Comparison {
    VisibleFunctions visible;    ///< what counted
    bool by_tracepoints = false; ///< only functions in which tracepoints stand, as one side shows no others
    std::vector<PacketComparison> packets; ///< both sides have them
    std::vector<PacketId> only_in_a, only_in_b;
    std::vector<CounterComparison> counters; ///< those that moved differently
    std::vector<ArrivalDifference> arrivals;

    [[nodiscard]] std::size_t same_verdict() const;
    [[nodiscard]] std::size_t same_reason() const;
    [[nodiscard]] std::size_t same_functions() const;
    /// Every packet has its like, with the same fate and the same functions.
    [[nodiscard]] bool same() const;
};

/// Functions that the trace can show: a model all that it ever calls, an observed one what its tracers showed.
[[nodiscard]] FunctionNames visible_functions(const Trace& trace);

/// Of a recording of tracepoints alone: the functions in which its tracepoints stand and that they show each time they run. Empty
/// when a tracer showed functions.
[[nodiscard]] FunctionNames tracepoint_places(const Trace& trace);

/// A packet's calls, cut into segments by order of their first call. Of the shared calls those count that enclose a call
/// of the packet, and the interrupt that led to its poll.
[[nodiscard]] std::vector<Segment> segments_of(const Trace& trace, const Journey& journey,
                                               const VisibleFunctions& visible);

/// Segments are matched by context and order of appearance: CPU numbers do not count, roles do.
[[nodiscard]] std::optional<StepDifference> first_difference(const std::vector<Segment>& a, const std::vector<Segment>& b);

/// Both indexes must be up to date with their traces.
[[nodiscard]] Comparison compare_traces(const Trace& a, const JourneyIndex& journeys_a, const Trace& b,
                                        const JourneyIndex& journeys_b, const CompareOptions& options = {});

/// Report for a terminal; names of the sides stand in its columns.
[[nodiscard]] std::string comparison_to_text(const Comparison& comparison, const Trace& a, const Trace& b,
                                             const std::string& name_a, const std::string& name_b);
[[nodiscard]] std::string comparison_to_json(const Comparison& comparison, const Trace& a, const Trace& b);
/// The two journeys of one packet in two columns, segment by segment; differing lines are marked.
[[nodiscard]] std::string side_by_side(const Trace& a, const JourneyIndex& journeys_a, const Trace& b,
                                       const JourneyIndex& journeys_b, PacketPair pair,
                                       const VisibleFunctions& visible);

} // namespace skbscope
