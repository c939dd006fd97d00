// Journeys for a terminal: the calls as an indented path, waits set apart, the verdict last.
//
//   packet 12   UDP 10.99.0.1:40212 → 10.99.0.2:5001   64 bytes   eth0
//
//                  ── CPU 1, softirq
//      +0.000 µs  net_rx_action                                                     9.120 µs shared
//      +0.310 µs    e1000_clean                                                     8.640 µs shared
//      +1.020 µs      napi_gro_receive                                                       640 ns
//   ┈┈┈┈┈┈┈┈┈┈┈┈  waits 3.200 µs in :5001 receive queue
//                  ── CPU 0, process (receiver 1234)
//   ■ delivered after 12.345 µs, 3.200 µs of it waiting

#include "core/catalog/catalog.h"
#include "core/recording/report.h"
#include "core/recording/verdict_text.h"
#include "core/trace/flow_text.h"

#include <algorithm>
#include <fmt/format.h>

namespace skbscope {

namespace {

// 100 columns: 14 the moment, 2 between, 62 the name, 18 the duration, 2 a mark; and 2 to spare.
constexpr std::size_t name_columns = 62;
constexpr std::size_t deepest_indent = 36; ///< deeper calls are not indented further

/// A line of the journey, at its moment.
struct Line {
    std::uint64_t order; ///< of its event
    std::string text;
};

class JourneyText {
public:
    JourneyText(const Trace& trace, const JourneyIndex& index, PacketId packet)
        : trace_(trace), index_(index), record_(trace.packet(packet)), journey_(index.journey(packet)),
          with_times_(trace.info.times_trustworthy)
    {
    }

    std::string run()
    {
        std::string out = heading();
        std::size_t deepest = 0;
        for (const Step& step : journey_.steps) {
            lines_.push_back({step.ordinal, {}});
            deepest = std::max<std::size_t>(deepest, trace_[step.ordinal].depth);
        }
        indent_ = deepest * 2 <= deepest_indent ? 2 : 1;
        std::size_t waits = 0;
        for (const std::uint32_t ordinal : journey_.events) {
            if (trace_[ordinal].event_kind() == EventKind::enqueue && waits < journey_.waits.size()) {
                lines_.push_back({ordinal, wait(journey_.waits[waits++])});
            }
        }
        std::ranges::sort(lines_, {}, &Line::order);
        std::size_t next_step = 0;
        for (const Line& line : lines_) {
            if (!line.text.empty()) {
                out += line.text;
                continue;
            }
            out += step(journey_.steps[next_step++]);
        }
        return out + verdict() + counters() + marks();
    }

private:
    std::string heading() const
    {
        std::string out = fmt::format("packet {}", to_index(record_.id));
        if (record_.flow) {
            out += "   " + flow_text(record_);
        }
        if (record_.length > 0) {
            out += fmt::format("   {} bytes", count_text(record_.length));
        }
        if (record_.device != DeviceId::none && to_index(record_.device) < trace_.devices().size()) {
            out += "   " + trace_.device(record_.device).name;
        }
        if (trace_.hosts().size() > 1 && to_index(record_.host) < trace_.hosts().size()) {
            out += "   on " + trace_.hosts()[to_index(record_.host)].name;
        }
        if (record_.parent != PacketId::none) {
            out += fmt::format("   (from packet {})", to_index(record_.parent));
        }
        if (record_.birth != never) {
            out += fmt::format("\nborn at {} ns{}", record_.birth.ns,
                               with_times_ ? "" : " · order real, times not (an emulated CPU)");
        }
        return out + "\n\n";
    }

    std::string moment(SimTime t) const
    {
        if (!with_times_ || record_.birth == never) {
            return {};
        }
        return pad_left(signed_duration((t - record_.birth).ns), 14);
    }

    static std::string signed_duration(std::int64_t ns) { return (ns < 0 ? "" : "+") + duration_text(ns); }

    static std::string pad_left(const std::string& text, std::size_t width)
    {
        const auto shown = static_cast<std::size_t>(
            std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
        return std::string(width > shown ? width - shown : 0, ' ') + text;
    }

    std::string step(const Step& step)
    {
        const Event& event = trace_[step.ordinal];
        const bool process = event.context() == Context::process;
        const bool moved = lane_ == nullptr || lane_->cpu != event.cpu || lane_->context() != event.context() ||
                           (process && lane_->task != event.task);
        lane_ = &event;
        std::string name(std::min<std::size_t>(event.depth * indent_, deepest_indent), ' ');
        name += trace_.function_name(event.function_id());
        std::string end;
        if (with_times_ && event.has_end()) {
            end = duration_text(event.duration_ns);
        }
        if (step.shared) {
            end += end.empty() ? "shared" : " shared";
        }
        std::string line = moved ? lane(event) : std::string();
        line += fmt::format("{}  {:<{}}", moment(event.time()), name, name_columns);
        line += pad_left(end, 18);
        if (event.confidence() != Confidence::certain) {
            const bool derived = event.confidence() == Confidence::derived;
            line += derived ? " ~" : " ?";
            (derived ? any_derived_ : any_assumed_) = true;
        }
        line.erase(line.find_last_not_of(' ') + 1);
        return line + "\n";
    }

    /// Where what follows runs.
    std::string lane(const Event& event) const
    {
        std::string who;
        if (event.context() == Context::process && event.task < trace_.tasks().size()) {
            const TaskRecord& task = trace_.tasks()[event.task];
            who = fmt::format(" ({} {})", task.name, task.pid);
        }
        return fmt::format("{}── CPU {}, {}{}\n", std::string(with_times_ ? 16 : 2, ' '), event.cpu,
                           to_string(event.context()), who);
    }

    std::string wait(const Wait& wait) const
    {
        const std::string& queue = trace_.queue(wait.queue).name;
        std::string dots;
        for (int i = 0; i < (with_times_ ? 14 : 2); ++i) {
            dots += "┈";
        }
        if (wait.to == never) {
            return fmt::format("{}  waits in {}, to the end of the trace\n", dots, queue);
        }
        return with_times_ ? fmt::format("{}  waits {} in {}\n", dots, duration_text((wait.to - wait.from).ns), queue)
                           : fmt::format("{}  waits in {}\n", dots, queue);
    }

    std::string verdict() const
    {
        std::string out = "\n■ " + verdict_text(trace_, record_.id);
        const auto latency = latency_of(trace_, index_, record_.id);
        if (with_times_ && latency) {
            out += fmt::format(" after {}", duration_text(latency->ns));
            const Duration waited = journey_.waited(record_.birth + *latency);
            if (waited.ns > 0) {
                out += fmt::format(", {} of it waiting", duration_text(waited.ns));
            }
        }
        if (record_.end_inferred) {
            out += " (its end was concluded, not seen)";
        }
        if (record_.touched_by_loss) {
            out += " (records were lost during its life)";
        }
        return out + "\n";
    }

    std::string marks() const
    {
        std::string out;
        out += any_derived_ ? "  ~ no record names the packet: concluded from those around it\n" : "";
        out += any_assumed_ ? "  ? matched by order alone\n" : "";
        return out;
    }

    std::string counters() const
    {
        std::string out;
        for (const CounterMove& move : journey_.counters) {
            out += fmt::format("  {:<44}{:+}\n", trace_.counter(move.counter).name, move.by);
        }
        return out;
    }

    const Trace& trace_;
    const JourneyIndex& index_;
    const PacketRecord& record_;
    Journey journey_;
    bool with_times_;
    bool any_derived_ = false, any_assumed_ = false;
    std::vector<Line> lines_;
    const Event* lane_ = nullptr; ///< the last step's
    std::size_t indent_ = 2;      ///< columns a level
};

} // namespace

std::string journeys_to_text(const Trace& trace, const JourneyIndex& journeys, std::span<const PacketId> packets)
{
    std::string out;
    for (const PacketId packet : packets) {
        out += out.empty() ? "" : "\n────────────────────────────────────────\n\n";
        out += JourneyText(trace, journeys, packet).run();
    }
    return out;
}

} // namespace skbscope
