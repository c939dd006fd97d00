#pragma once
// What a trace says in numbers, and packets' journeys, as JSON (keys as the command line promises them) and as text for
// a terminal of 100 columns.

#include "core/recording/filter.h"
#include "core/trace/journey.h"
#include "core/trace/trace.h"

#include <array>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace skbscope {

struct DropCount {
    DropReasonId reason = DropReasonId::none;
    FunctionId function = FunctionId::none;
    std::uint64_t count = 0;
};

/// How long packets stayed in one stage: every moment between a packet's birth and its verdict belongs to one stage at
/// most, so that the stages of a packet add up to its latency (the time on a wire, and in functions before the first that
/// has a stage, set aside).
struct StageTimes {
    StageId stage = StageId::none;
    std::uint64_t packets = 0;
    std::optional<std::int64_t> p50_ns, p99_ns, max_ns; ///< empty where the trace's times are not trustworthy
};

struct QueuePeak {
    QueueId queue = QueueId::none;
    std::uint64_t peak = 0;  ///< in the queue's unit, within the time asked for
    std::uint64_t limit = 0; ///< the last one in force; 0: none
};

struct Report {
    std::string source, kernel, filter;
    std::optional<Between> between;
    bool observed = false;
    bool times_trustworthy = true;
    std::uint64_t duration_ns = 0; ///< first to last event
    std::uint64_t events = 0, lost_events = 0, unattributed_events = 0;
    std::uint64_t packets = 0; ///< those that match
    std::array<std::uint64_t, verdict_count> by_verdict{}; ///< index: Verdict
    /// Over the whole trace: the events' account (born = the sum of all ends + in flight) and the packet table agree.
    bool accounting_closed = true;
    std::vector<DropCount> drops; ///< most frequent first
    std::vector<StageTimes> stages; ///< in the order of the path
    std::optional<std::int64_t> latency_p50_ns, latency_p99_ns, latency_max_ns; ///< birth to verdict
    std::vector<QueuePeak> queues; ///< that held something
    /// What the matching packets moved; without a filter, all that moved within the time asked for.
    std::map<std::string, std::int64_t> counters;
    std::vector<Fault> faults;
};

/// The journeys must be up to date.
[[nodiscard]] Report build_report(const Trace& trace, const JourneyIndex& journeys, const TraceFilter& filter = {},
                                  const std::optional<Between>& between = {});

/// What is known of a run that was not recorded (Trace::set_recording()): packets by verdict, drops by reason and function.
[[nodiscard]] Report build_summary(const Trace& trace, SimTime end);

[[nodiscard]] std::string to_json(const Report& report, const Trace& trace);
[[nodiscard]] std::string to_text(const Report& report, const Trace& trace);

/// An array, one element for each packet, in order of birth.
[[nodiscard]] std::string journeys_to_json(const Trace& trace, const JourneyIndex& journeys,
                                           std::span<const PacketId> packets);
[[nodiscard]] std::string journeys_to_text(const Trace& trace, const JourneyIndex& journeys,
                                           std::span<const PacketId> packets);

/// "812 ns", "12.345 µs", "1.250 ms", "3.000 s"
[[nodiscard]] std::string duration_text(std::int64_t ns);
/// "18,204"
[[nodiscard]] std::string count_text(std::uint64_t count);

} // namespace skbscope
