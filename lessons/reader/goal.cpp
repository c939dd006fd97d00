// Goals: conditions on what a run gave, read from text and measured on the trace.

#include "lessons/reader/lesson.h"

#include "core/trace/journey.h"
#include "lessons/reader/words.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>

namespace skbscope {

using lesson_words::number;
using lesson_words::trimmed;
using lesson_words::words;

namespace {

using Measure = Condition::Measure;
using Comparison = Condition::Comparison;

constexpr std::string_view goal_remedy =
    "write for example: delivered == 64 and dropped(SOCKET_RCVBUFF) > 0 and peak(backlog) >= 10";

tl::unexpected<Error> bad_goal(std::string_view text, const std::string& why)
{
    return fail(ErrorKind::invalid, {}, "condition '" + std::string(text.substr(0, 80)) + "': " + why,
                std::string(goal_remedy));
}

struct MeasureName {
    std::string_view name;
    Measure measure;
    bool takes_argument;
};

constexpr std::array<MeasureName, 18> measure_names = {{
    {"born", Measure::born, false},
    {"delivered", Measure::delivered, false},
    {"forwarded", Measure::forwarded, false},
    {"sent", Measure::sent, false},
    {"consumed", Measure::consumed, false},
    {"dropped", Measure::dropped, false},
    {"dropped", Measure::dropped_reason, true},
    {"merged", Measure::merged, false},
    {"split", Measure::split, false},
    {"in_flight", Measure::in_flight, false},
    {"lost", Measure::lost, false},
    {"peak", Measure::peak, true},
    {"level", Measure::level, true},
    {"calls", Measure::calls, true},
    {"irqs", Measure::irqs, false},
    {"counter", Measure::counter, true},
    {"truesize", Measure::truesize, true},
    {"interrupts", Measure::irqs, false},
}};

std::optional<PacketId> packet_of(std::string_view text)
{
    const auto w = words(text);
    const auto id = w.size() == 2 && w[0] == "packet" ? number<std::uint32_t>(w[1]) : std::nullopt;
    return id && *id != 0 ? std::optional(static_cast<PacketId>(*id)) : std::nullopt;
}

Result<Condition> with_argument(Condition condition, std::string_view argument)
{
    condition.argument = std::string(trimmed(argument));
    switch (condition.measure) {
    case Measure::dropped_reason:
        if (Catalog::find_drop_reason(condition.argument) == DropReasonId::none) {
            return bad_goal(condition.text, "no drop reason '" + condition.argument + "'");
        }
        return condition;
    case Measure::truesize: {
        const auto packet = packet_of(condition.argument);
        if (!packet) {
            return bad_goal(condition.text, "truesize wants a packet: truesize(packet 1)");
        }
        condition.packet = *packet;
        return condition;
    }
    case Measure::calls: {
        const std::size_t comma = condition.argument.find(',');
        if (comma != std::string::npos) {
            const auto packet = packet_of(std::string_view(condition.argument).substr(comma + 1));
            if (!packet) {
                return bad_goal(condition.text, "behind the comma belongs a packet: calls(ip_rcv, packet 1)");
            }
            condition.packet = *packet;
            condition.argument.resize(comma);
        }
        const std::string whole = condition.argument; // the views below point into it
        const auto w = words(whole);
        if (w.size() == 3 && w[1] == "in") {
            for (const Context context : {Context::process, Context::softirq, Context::hardirq}) {
                if (to_string(context) == w[2]) {
                    condition.context = context;
                }
            }
            if (!condition.context) {
                return bad_goal(condition.text, "a context is process, softirq or hardirq");
            }
        } else if (w.size() != 1) {
            return bad_goal(condition.text,
                            "calls wants a function: calls(ip_rcv), calls(ip_rcv in softirq)");
        }
        condition.argument = std::string(w[0]);
        return condition;
    }
    default:
        if (condition.argument.empty()) {
            return bad_goal(condition.text, "something is missing between the brackets");
        }
        return condition;
    }
}

Result<Condition> parse_condition(std::string_view text)
{
    text = trimmed(text);
    Condition condition;
    condition.text = std::string(text);
    const std::size_t open = text.find('(');
    const std::size_t close = open == std::string_view::npos ? open : text.find(')', open);
    if (open != std::string_view::npos && close == std::string_view::npos) {
        return bad_goal(text, "a bracket is not closed");
    }
    const std::size_t sign = text.find_first_of("=!<>", close == std::string_view::npos ? 0 : close);
    if (sign == std::string_view::npos) {
        return bad_goal(text, "a comparison is missing");
    }
    const std::size_t value_at = std::min(text.find_first_not_of("=!<>", sign), text.size());
    static constexpr std::array<std::pair<std::string_view, Comparison>, 7> signs = {
        {{"==", Comparison::equal},
         {"=", Comparison::equal},
         {"!=", Comparison::not_equal},
         {"<", Comparison::less},
         {"<=", Comparison::less_equal},
         {">", Comparison::greater},
         {">=", Comparison::greater_equal}}};
    const auto known = std::find_if(signs.begin(), signs.end(), [&](const auto& s) {
        return s.first == text.substr(sign, value_at - sign);
    });
    const auto value = number<std::int64_t>(trimmed(text.substr(value_at)));
    if (known == signs.end() || !value) {
        return bad_goal(text, "a comparison such as '== 64' belongs at its end");
    }
    condition.comparison = known->second;
    condition.value = *value;
    const bool has_argument = open != std::string_view::npos && open < sign;
    const std::string_view name = trimmed(text.substr(0, has_argument ? open : sign));
    for (const MeasureName& m : measure_names) {
        if (m.name == name && m.takes_argument == has_argument) {
            condition.measure = m.measure;
            return has_argument ? with_argument(std::move(condition), text.substr(open + 1, close - open - 1))
                                : Result<Condition>(std::move(condition));
        }
    }
    return bad_goal(text, "'" + std::string(name) + (has_argument ? "(…)" : "") + "' cannot be measured");
}

bool compare(std::int64_t left, Comparison comparison, std::int64_t right)
{
    switch (comparison) {
    case Comparison::equal:
        return left == right;
    case Comparison::not_equal:
        return left != right;
    case Comparison::less:
        return left < right;
    case Comparison::less_equal:
        return left <= right;
    case Comparison::greater:
        return left > right;
    case Comparison::greater_equal:
        return left >= right;
    }
    return false;
}

std::optional<std::int64_t> measure_queue(const Condition& condition, const Trace& trace)
{
    const QueueId queue = find_queue(trace, condition.argument);
    if (queue == QueueId::none) {
        return std::nullopt;
    }
    std::int64_t level = 0;
    std::int64_t peak = 0;
    for (std::size_t i = 0; i < trace.size(); ++i) {
        const Event& event = trace[i];
        if (event.event_kind() == EventKind::enqueue && event.queue_id() == queue) {
            peak = std::max(peak, ++level);
        } else if (event.event_kind() == EventKind::dequeue && event.queue_id() == queue) {
            level = std::max<std::int64_t>(level - 1, 0);
        }
    }
    return condition.measure == Measure::peak ? peak : level;
}

std::optional<std::int64_t> measure_calls(const Condition& condition, const Trace& trace)
{
    const FunctionId function = Catalog::find_function(condition.argument);
    if (function == FunctionId::none) {
        return std::nullopt;
    }
    const auto counts = [&](const Event& event) {
        return event.is_call() && event.function_id() == function &&
               (!condition.context || event.context() == *condition.context);
    };
    std::int64_t count = 0;
    if (condition.packet == PacketId::none) {
        for (std::size_t i = 0; i < trace.size(); ++i) {
            count += counts(trace[i]) ? 1 : 0;
        }
        return count;
    }
    if (!trace.has_packet(condition.packet)) {
        return std::nullopt;
    }
    JourneyIndex index(trace);
    index.update();
    for (const Step& step : index.journey(condition.packet).steps) {
        count += counts(trace[step.ordinal]) ? 1 : 0;
    }
    return count;
}

std::optional<std::int64_t> measure_counter(const Condition& condition, const Trace& trace,
                                            const StackState& state)
{
    const auto counters = trace.counters();
    for (std::size_t i = 1; i < counters.size(); ++i) {
        if (counters[i].name == condition.argument) {
            return i < state.counters().size() ? static_cast<std::int64_t>(state.counters()[i]) : 0;
        }
    }
    return std::nullopt;
}

std::optional<std::int64_t> measure_truesize(const Condition& condition, const Trace& trace)
{
    std::optional<std::int64_t> last;
    for (std::size_t i = 0; i < trace.size(); ++i) {
        const Event& event = trace[i];
        if (event.event_kind() == EventKind::field && event.packet_id() == condition.packet &&
            event.arg < trace.field_changes().size() &&
            trace.field_changes()[event.arg].field == SkbField::truesize) {
            last = static_cast<std::int64_t>(trace.field_changes()[event.arg].after);
        }
    }
    return last;
}

std::int64_t measure_irqs(const Trace& trace)
{
    std::int64_t count = 0;
    for (std::size_t i = 0; i < trace.size(); ++i) {
        count += trace[i].event_kind() == EventKind::irq_raise ? 1 : 0;
    }
    return count;
}

std::optional<std::int64_t> measure(const Condition& condition, const Trace& trace, const StackState& state)
{
    const Accounting& accounting = state.accounting();
    const auto of = [&](Verdict verdict) { return static_cast<std::int64_t>(accounting.of(verdict)); };
    switch (condition.measure) {
    case Measure::born:
        return static_cast<std::int64_t>(accounting.born);
    case Measure::delivered:
        return of(Verdict::delivered);
    case Measure::forwarded:
        return of(Verdict::forwarded);
    case Measure::sent:
        return of(Verdict::sent);
    case Measure::consumed:
        return of(Verdict::consumed);
    case Measure::dropped:
        return of(Verdict::dropped);
    case Measure::merged:
        return of(Verdict::merged);
    case Measure::split:
        return of(Verdict::split);
    case Measure::lost:
        return of(Verdict::lost);
    case Measure::in_flight:
        return static_cast<std::int64_t>(accounting.in_flight());
    case Measure::dropped_reason: {
        std::int64_t count = 0;
        for (const auto& [key, drops] : state.drops()) {
            count += key.reason == Catalog::find_drop_reason(condition.argument)
                         ? static_cast<std::int64_t>(drops)
                         : 0;
        }
        return count;
    }
    case Measure::peak:
    case Measure::level:
        return measure_queue(condition, trace);
    case Measure::calls:
        return measure_calls(condition, trace);
    case Measure::irqs:
        return measure_irqs(trace);
    case Measure::counter:
        return measure_counter(condition, trace, state);
    case Measure::truesize:
        return measure_truesize(condition, trace);
    }
    return std::nullopt;
}

} // namespace

Result<Goal> parse_goal(std::string_view text)
{
    Goal goal;
    goal.text = std::string(trimmed(text));
    if (goal.text.empty() || goal.text.size() > 1000) {
        return bad_goal(goal.text, goal.text.empty() ? "is empty" : "is too long");
    }
    for (std::string_view rest = goal.text; !rest.empty();) {
        const std::size_t end = std::min(rest.find(" and "), rest.size());
        auto condition = parse_condition(rest.substr(0, end));
        if (!condition) {
            return tl::unexpected(condition.error());
        }
        goal.conditions.push_back(std::move(*condition));
        rest.remove_prefix(std::min(end + 5, rest.size()));
    }
    return goal;
}

GoalResult evaluate(const Goal& goal, const Trace& trace, const StackState& state)
{
    GoalResult result;
    result.reached = !goal.empty();
    for (const Condition& condition : goal.conditions) {
        Measured measured{condition.text, measure(condition, trace, state), false};
        measured.holds = measured.value && compare(*measured.value, condition.comparison, condition.value);
        result.reached = result.reached && measured.holds;
        result.conditions.push_back(std::move(measured));
    }
    return result;
}

GoalResult evaluate(const Goal& goal, const Trace& trace)
{
    StackState state(trace);
    for (std::size_t i = 0; i < trace.size(); ++i) {
        state.apply(i);
    }
    return evaluate(goal, trace, state);
}

std::string GoalResult::text() const
{
    std::string out;
    for (const Measured& m : conditions) {
        const std::string name(trimmed(std::string_view(m.text).substr(
            0,
            m.text.find_first_of("=!<>", m.text.rfind(')') == std::string::npos ? 0 : m.text.rfind(')')))));
        out += fmt::format("{}{} {}", out.empty() ? "" : ", ", name,
                           m.value ? std::to_string(*m.value) : "not there");
    }
    return out;
}

} // namespace skbscope
