#pragma once
// The filter language of the command line and the window: libpcap's (`udp and dst port 53`), and clauses of our own,
// joined to it and to each other by `and`: `drop`, `reason NAME`, `function NAME`, `latency > 50us`; each may be negated
// with `not`. They cannot stand inside `or`: libpcap's compiler, which judges the rest, does not know them.

#include "core/result.h"
#include "core/trace/journey.h"
#include "core/trace/trace.h"

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace skbscope {

/// Packets born within [from, to], on the trace's clock.
struct Between {
    SimTime from;
    SimTime to = never;
    [[nodiscard]] bool contains(SimTime t) const { return from <= t && t <= to; }
    /// "T1,T2" in trace-clock nanoseconds; either may be missing ("5000," is from 5 µs on). Error: usage.
    [[nodiscard]] static Result<Between> parse(std::string_view text);
};

class TraceFilter {
public:
    /// Matches everything.
    TraceFilter() = default;
    /// An empty text matches everything. `trace`, if given, knows functions of its own that the catalog lacks. Errors:
    /// invalid, with the column (from 1) where that is known.
    [[nodiscard]] static Result<TraceFilter> compile(std::string_view text, const Trace* trace = nullptr);

    /// The journeys must be up to date. A packet without bytes is asked by its flow; one without a flow either matches
    /// no libpcap part at all.
    [[nodiscard]] bool matches(const Trace& trace, const JourneyIndex& journeys, PacketId packet) const;
    [[nodiscard]] const std::string& text() const { return text_; }
    [[nodiscard]] bool matches_all() const { return clauses_.empty() && !program_; }
    /// It compares times: on a trace whose times are not trustworthy the answer means little.
    [[nodiscard]] bool asks_for_times() const;

private:
    enum class Comparison : std::uint8_t { less, less_equal, equal, greater_equal, greater };
    struct Clause {
        enum class Kind : std::uint8_t { drop, reason, function, latency } kind = Kind::drop;
        bool negated = false;
        DropReasonId reason = DropReasonId::none;
        FunctionId function = FunctionId::none;
        Comparison comparison = Comparison::greater;
        Duration duration;
    };
    friend class FilterParser;
    [[nodiscard]] static bool holds(const Clause& clause, const Trace& trace, const JourneyIndex& journeys, PacketId packet);

    std::string text_;
    std::vector<Clause> clauses_;
    std::shared_ptr<const void> program_; ///< libpcap's compiled filter; shared, never changed
};

/// From birth to the moment of the verdict (or to the end, where no event told it); empty if neither was seen.
[[nodiscard]] std::optional<Duration> latency_of(const Trace& trace, const JourneyIndex& journeys, PacketId packet);

/// The packets that match, by id.
[[nodiscard]] std::vector<PacketId> matching_packets(const Trace& trace, const JourneyIndex& journeys,
                                                     const TraceFilter& filter, const std::optional<Between>& between);

/// A trace of these packets alone (ids ascending): their events, the shared calls that their journeys include, what
/// moved no packet (notes, settings, limits, loss) within the time that is left. Packets get new ids; hosts, tasks,
/// devices, queues and counters keep theirs.
[[nodiscard]] Trace filtered(const Trace& trace, const JourneyIndex& journeys, std::span<const PacketId> packets);

} // namespace skbscope
