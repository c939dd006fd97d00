// Where the playhead stops, said in words: reading it and finding it in a trace.

#include "lessons/reader/lesson.h"

#include "core/trace/journey.h"
#include "lessons/reader/words.h"

#include <array>
#include <cmath>
#include <cstdlib>

namespace skbscope {

using lesson_words::joined;
using lesson_words::number;
using lesson_words::trimmed;
using lesson_words::words;

namespace {

constexpr std::string_view stop_remedy =
    "write for example: begin, end, 12.5 us, packet 1 enters ip_rcv, packet 1 delivered, packet 1 joins "
    ":5001, "
    "net_rx_action runs, first drop, queue :5001 holds 4, interrupt raised";

tl::unexpected<Error> bad_stop(std::string_view text, std::string_view why)
{
    return fail(ErrorKind::invalid, {}, "stop '" + std::string(text) + "': " + std::string(why),
                std::string(stop_remedy));
}

std::optional<Verdict> verdict_named(std::string_view name)
{
    for (int i = 0; i < verdict_count; ++i) {
        if (to_string(static_cast<Verdict>(i)) == name && static_cast<Verdict>(i) != Verdict::in_flight) {
            return static_cast<Verdict>(i);
        }
    }
    return std::nullopt;
}

/// "12.5 us" in nanoseconds.
std::optional<Duration> duration_of(const std::vector<std::string_view>& w)
{
    static constexpr std::array<std::pair<std::string_view, double>, 5> units = {
        {{"ns", 1.0}, {"us", 1e3}, {"µs", 1e3}, {"ms", 1e6}, {"s", 1e9}}};
    if (w.size() != 2) {
        return std::nullopt;
    }
    const std::string digits(w[0]);
    if (digits.find_first_not_of("0123456789.") != std::string::npos) {
        return std::nullopt;
    }
    char* end = nullptr;
    const double value = std::strtod(digits.c_str(), &end);
    for (const auto& [unit, factor] : units) {
        if (w[1] == unit && end == digits.c_str() + digits.size() && value * factor < 1e15) {
            return Duration{std::llround(value * factor)};
        }
    }
    return std::nullopt;
}

/// Takes ", 2nd time" off the end.
std::string_view without_ordinal(std::string_view text, unsigned& nth)
{
    const std::size_t comma = text.rfind(',');
    if (comma == std::string_view::npos) {
        return text;
    }
    const auto tail = words(text.substr(comma + 1));
    if (tail.size() != 2 || tail[1] != "time" || tail[0].size() < 3) {
        return text;
    }
    const auto n = number<unsigned>(tail[0].substr(0, tail[0].size() - 2));
    if (!n || *n == 0) {
        return text;
    }
    nth = *n;
    return trimmed(text.substr(0, comma));
}

Result<Stop> parse_packet_stop(Stop stop, const std::vector<std::string_view>& w)
{
    const auto id = w.size() >= 3 ? number<std::uint32_t>(w[1]) : std::nullopt;
    if (!id || *id == 0) {
        return bad_stop(stop.text, "a packet's number and what happens to it are missing");
    }
    stop.packet = static_cast<PacketId>(*id);
    const std::string_view verb = w[2];
    if (const auto verdict = verdict_named(verb); verdict && w.size() == 3) {
        stop.kind = Stop::Kind::packet_verdict;
        stop.verdict = *verdict;
        return stop;
    }
    if ((verb == "born" || verb == "freed") && w.size() == 3) {
        stop.kind = verb == "born" ? Stop::Kind::packet_born : Stop::Kind::packet_freed;
        return stop;
    }
    if (verb == "enters" && w.size() == 4) {
        stop.kind = Stop::Kind::packet_enters;
        stop.function = std::string(w[3]);
        return stop;
    }
    if (verb == "returns" && w.size() == 5 && w[3] == "from") {
        stop.kind = Stop::Kind::packet_leaves;
        stop.function = std::string(w[4]);
        return stop;
    }
    if ((verb == "joins" || verb == "leaves") && w.size() >= 4) {
        stop.kind = verb == "joins" ? Stop::Kind::packet_joins : Stop::Kind::packet_parts;
        stop.queue = joined(w, 3, w.size());
        return stop;
    }
    return bad_stop(stop.text, "'" + std::string(verb) + "' is not something that happens to a packet");
}

FunctionId function_in(const Trace& trace, std::string_view name)
{
    if (const FunctionId id = Catalog::find_function(name); id != FunctionId::none) {
        return id;
    }
    const auto own = trace.own_functions();
    for (std::size_t i = 0; i < own.size(); ++i) {
        if (own[i] == name) {
            return static_cast<FunctionId>(Catalog::function_count() + i);
        }
    }
    return FunctionId::none;
}

/// Ordinal of the packet's nth call of that function; a shared call counts as the packet's when its journey
/// holds it.
std::optional<std::size_t> find_call(const Trace& trace, PacketId packet, FunctionId function, unsigned nth)
{
    unsigned seen = 0;
    for (std::size_t i = 0; i < trace.size(); ++i) {
        const Event& event = trace[i];
        if (event.is_call() && event.packet_id() == packet && event.function_id() == function &&
            ++seen == nth) {
            return i;
        }
    }
    if (seen != 0) {
        return std::nullopt;
    }
    JourneyIndex index(trace);
    index.update();
    for (const Step& step : index.journey(packet).steps) {
        if (trace[step.ordinal].function_id() == function && ++seen == nth) {
            return step.ordinal;
        }
    }
    return std::nullopt;
}

std::optional<std::size_t> find_return(const Trace& trace, std::size_t call)
{
    const Event& event = trace[call];
    if (event.has_end()) {
        const std::size_t after = trace.lower_bound(event.end());
        return std::max(after, call + 1);
    }
    for (std::size_t i = call + 1; i < trace.size(); ++i) {
        if (trace[i].event_kind() == EventKind::exit && trace[i].arg == static_cast<std::uint32_t>(call)) {
            return i + 1;
        }
    }
    return std::nullopt;
}

std::optional<std::size_t> find_queue_level(const Trace& trace, QueueId queue, std::uint64_t count)
{
    std::uint64_t level = 0;
    if (count == 0) {
        return 0;
    }
    for (std::size_t i = 0; i < trace.size(); ++i) {
        const Event& event = trace[i];
        if (event.event_kind() == EventKind::enqueue && event.queue_id() == queue && ++level == count) {
            return i + 1;
        }
        if (event.event_kind() == EventKind::dequeue && event.queue_id() == queue && level > 0) {
            --level;
        }
    }
    return std::nullopt;
}

/// Position behind the nth event for which `wanted` holds.
template <typename Wanted>
std::optional<std::size_t> find_nth(const Trace& trace, unsigned nth, Wanted wanted)
{
    unsigned seen = 0;
    for (std::size_t i = 0; i < trace.size(); ++i) {
        if (wanted(trace[i]) && ++seen == nth) {
            return i + 1;
        }
    }
    return std::nullopt;
}

std::optional<std::size_t> find_kind(const Trace& trace, const Stop& stop, EventKind kind)
{
    return find_nth(trace, stop.nth, [kind](const Event& e) { return e.event_kind() == kind; });
}

std::optional<std::size_t> find_packet_event(const Trace& trace, const Stop& stop, EventKind kind)
{
    return find_nth(trace, stop.nth,
                    [&](const Event& e) { return e.event_kind() == kind && e.packet_id() == stop.packet; });
}

std::optional<std::size_t> find_in_queue(const Trace& trace, const Stop& stop, EventKind kind)
{
    const QueueId queue = find_queue(trace, stop.queue);
    if (queue == QueueId::none) {
        return std::nullopt;
    }
    return find_nth(trace, stop.nth, [&](const Event& e) {
        return e.event_kind() == kind && e.packet_id() == stop.packet && e.queue_id() == queue;
    });
}

std::optional<std::size_t> find_verdict(const Trace& trace, const Stop& stop)
{
    return find_nth(trace, stop.nth, [&](const Event& e) {
        if (e.packet_id() != stop.packet) {
            return false;
        }
        return stop.verdict == Verdict::dropped
                   ? e.event_kind() == EventKind::drop
                   : e.event_kind() == EventKind::verdict && e.verdict() == stop.verdict;
    });
}

} // namespace

Result<Stop> parse_stop(std::string_view text)
{
    text = trimmed(text);
    Stop stop;
    stop.text = std::string(text);
    if (text.empty() || text.size() > 200) {
        return bad_stop(text.substr(0, 40), text.empty() ? "is empty" : "is too long");
    }
    const auto w = words(without_ordinal(text, stop.nth));
    if (w.size() == 1 && (w[0] == "begin" || w[0] == "end")) {
        stop.kind = w[0] == "begin" ? Stop::Kind::begin : Stop::Kind::end;
        return stop;
    }
    if (const auto time = duration_of(w)) {
        stop.kind = Stop::Kind::time;
        stop.time = *time;
        return stop;
    }
    if (!w.empty() && w[0] == "packet") {
        return parse_packet_stop(std::move(stop), w);
    }
    if (w.size() >= 2 && w[0] == "first" && w[1] == "drop" && w.size() <= 3) {
        stop.kind = Stop::Kind::drop;
        if (w.size() == 3) {
            stop.reason = Catalog::find_drop_reason(w[2]);
            if (stop.reason == DropReasonId::none) {
                return bad_stop(text, "no drop reason '" + std::string(w[2]) + "'");
            }
        }
        return stop;
    }
    if (w.size() >= 4 && w[0] == "queue" && w[w.size() - 2] == "holds") {
        const auto count = number<std::uint64_t>(w.back());
        if (!count) {
            return bad_stop(text, "'" + std::string(w.back()) + "' is not a number of packets");
        }
        stop.kind = Stop::Kind::queue_holds;
        stop.queue = joined(w, 1, w.size() - 2);
        stop.count = *count;
        return stop;
    }
    if (w.size() == 2 && w[0] == "interrupt") {
        static constexpr std::array<std::pair<std::string_view, Stop::Kind>, 3> kinds = {
            {{"raised", Stop::Kind::irq_raised},
             {"masked", Stop::Kind::irq_masked},
             {"unmasked", Stop::Kind::irq_unmasked}}};
        for (const auto& [name, kind] : kinds) {
            if (w[1] == name) {
                stop.kind = kind;
                return stop;
            }
        }
    }
    if (w.size() == 2 && w[1] == "runs") {
        stop.kind = Stop::Kind::runs;
        stop.function = std::string(w[0]);
        return stop;
    }
    return bad_stop(text, "is not understood");
}

QueueId find_queue(const Trace& trace, std::string_view name)
{
    name = trimmed(name);
    const auto queues = trace.queues();
    const auto first = [&](auto matches) {
        for (std::size_t i = 1; i < queues.size(); ++i) {
            if (matches(queues[i])) {
                return static_cast<QueueId>(i);
            }
        }
        return QueueId::none;
    };
    if (name.empty()) {
        return QueueId::none;
    }
    if (const QueueId id = first([&](const QueueRecord& q) { return q.name == name; }); id != QueueId::none) {
        return id;
    }
    if (const QueueId id = first([&](const QueueRecord& q) {
            return q.name.starts_with(name) && q.name.size() > name.size() && q.name[name.size()] == ' ';
        });
        id != QueueId::none) {
        return id;
    }
    const RoomId room = Catalog::find_room(name);
    return first([&](const QueueRecord& q) {
        return (room != RoomId::none && q.room == room) || to_string(q.kind) == name;
    });
}

std::optional<std::size_t> resolve_stop(const Stop& stop, const Trace& trace)
{
    switch (stop.kind) {
    case Stop::Kind::begin:
        return 0;
    case Stop::Kind::end:
        return trace.size();
    case Stop::Kind::time:
        if (trace.empty() || trace.end_time() < trace.begin_time() + stop.time) {
            return std::nullopt;
        }
        return trace.lower_bound(trace.begin_time() + stop.time + Duration{1});
    case Stop::Kind::packet_born:
        return find_packet_event(trace, stop, EventKind::birth);
    case Stop::Kind::packet_freed:
        return find_packet_event(trace, stop, EventKind::free);
    case Stop::Kind::packet_enters:
    case Stop::Kind::packet_leaves: {
        const FunctionId function = function_in(trace, stop.function);
        if (function == FunctionId::none || !trace.has_packet(stop.packet)) {
            return std::nullopt;
        }
        const auto call = find_call(trace, stop.packet, function, stop.nth);
        if (!call) {
            return std::nullopt;
        }
        return stop.kind == Stop::Kind::packet_enters ? std::optional(*call + 1) : find_return(trace, *call);
    }
    case Stop::Kind::packet_verdict:
        return find_verdict(trace, stop);
    case Stop::Kind::packet_joins:
        return find_in_queue(trace, stop, EventKind::enqueue);
    case Stop::Kind::packet_parts:
        return find_in_queue(trace, stop, EventKind::dequeue);
    case Stop::Kind::runs: {
        const FunctionId function = function_in(trace, stop.function);
        if (function == FunctionId::none) {
            return std::nullopt;
        }
        return find_nth(trace, stop.nth,
                        [&](const Event& e) { return e.is_call() && e.function_id() == function; });
    }
    case Stop::Kind::drop:
        return find_nth(trace, stop.nth, [&](const Event& e) {
            return e.event_kind() == EventKind::drop &&
                   (stop.reason == DropReasonId::none || e.reason() == stop.reason);
        });
    case Stop::Kind::queue_holds: {
        const QueueId queue = find_queue(trace, stop.queue);
        return queue == QueueId::none ? std::nullopt : find_queue_level(trace, queue, stop.count);
    }
    case Stop::Kind::irq_raised:
        return find_kind(trace, stop, EventKind::irq_raise);
    case Stop::Kind::irq_masked:
        return find_kind(trace, stop, EventKind::irq_mask);
    case Stop::Kind::irq_unmasked:
        return find_kind(trace, stop, EventKind::irq_unmask);
    }
    return std::nullopt;
}

} // namespace skbscope
