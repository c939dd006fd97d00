// The report for a terminal.

#include "core/catalog/catalog.h"
#include "core/recording/report.h"

#include <algorithm>
#include <fmt/format.h>

namespace skbscope {

std::string duration_text(std::int64_t ns)
{
    const std::int64_t size = ns < 0 ? -ns : ns;
    if (size < 1000) {
        return fmt::format("{} ns", ns);
    }
    const auto value = static_cast<double>(ns);
    if (size < 1'000'000) {
        return fmt::format("{:.3f} µs", value / 1e3);
    }
    if (size < 1'000'000'000) {
        return fmt::format("{:.3f} ms", value / 1e6);
    }
    return fmt::format("{:.3f} s", value / 1e9);
}

std::string count_text(std::uint64_t count)
{
    std::string text = std::to_string(count);
    for (std::size_t at = text.size(); at > 3;) {
        at -= 3;
        text.insert(at, ",");
    }
    return text;
}

namespace {

/// Columns as people see them: characters, not bytes.
std::size_t width_of(std::string_view text)
{
    return static_cast<std::size_t>(
        std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string left(std::string_view text, std::size_t width)
{
    return std::string(text) + std::string(width > width_of(text) ? width - width_of(text) : 0, ' ');
}

std::string right(std::string_view text, std::size_t width)
{
    return std::string(width > width_of(text) ? width - width_of(text) : 0, ' ') + std::string(text);
}

std::string time_or_dash(const std::optional<std::int64_t>& ns)
{
    return ns ? duration_text(*ns) : "–";
}

std::string bar(std::uint64_t value, std::uint64_t most, std::size_t width)
{
    if (most == 0) {
        return {};
    }
    const auto filled = static_cast<std::size_t>(std::min<std::uint64_t>(value * width / most, width));
    std::string text;
    for (std::size_t i = 0; i < width; ++i) {
        text += i < filled ? "█" : "░";
    }
    return text;
}

void add_verdicts(std::string& out, const Report& report)
{
    out += fmt::format("Packets   {}\n", count_text(report.packets));
    for (const Verdict verdict : {Verdict::delivered, Verdict::forwarded, Verdict::sent, Verdict::consumed, Verdict::dropped,
                                  Verdict::merged, Verdict::split, Verdict::in_flight, Verdict::lost}) {
        const std::uint64_t count = report.by_verdict[static_cast<std::size_t>(verdict)];
        if (count == 0) {
            continue;
        }
        std::string name(to_string(verdict));
        std::ranges::replace(name, '_', ' ');
        out += fmt::format("  {}{}   {}\n", left(name, 12), right(count_text(count), 12),
                           bar(count, report.packets, 40));
    }
    out += report.accounting_closed
               ? "  every packet is accounted for\n"
               : "  the account does not close: events and packet table disagree, so records are missing\n";
}

/// Whether no other test of that function drops for that reason.
bool is_only_site(const DropSite& site, const DropCount& drop)
{
    return std::ranges::none_of(Catalog::drop_sites(), [&](const DropSite& other) {
        return other.key != site.key && other.function == drop.function && other.reason == drop.reason;
    });
}

void add_drops(std::string& out, const Report& report, const Trace& trace)
{
    if (report.drops.empty()) {
        return;
    }
    out += "\nDrops\n";
    for (const DropCount& drop : report.drops) {
        const std::string_view reason =
            drop.reason == DropReasonId::none ? std::string_view("(no reason)") : Catalog::drop_reason(drop.reason).name;
        const DropSite* site = Catalog::find_drop_site(drop.function, drop.reason);
        // The hardware drops at a place, not in a function.
        const std::string place = drop.function != FunctionId::none ? fmt::format("in {}", trace.function_name(drop.function))
                                  : site != nullptr                 ? fmt::format("at the {}", Catalog::stage(site->stage).title)
                                                                    : "in ?";
        out += fmt::format("  {}   {}  {}\n", right(count_text(drop.count), 10), left(reason, 24), place);
        if (site != nullptr && is_only_site(*site, drop) && !site->control.empty() && site->control != "-") {
            out += fmt::format("  {}   governed by {}\n", right("", 10), site->control);
        }
    }
}

void add_stages(std::string& out, const Report& report)
{
    if (report.stages.empty()) {
        return;
    }
    out += fmt::format("\n{}{}{}{}{}\n", left("Stages", 40), right("packets", 10), right("p50", 14), right("p99", 14),
                       right("max", 14));
    for (const StageTimes& stage : report.stages) {
        const Stage& known = Catalog::stage(stage.stage);
        out += fmt::format("  {}{}{}{}{}{}\n", left(known.key, 18), left(known.title, 20),
                           right(count_text(stage.packets), 10), right(time_or_dash(stage.p50_ns), 14),
                           right(time_or_dash(stage.p99_ns), 14), right(time_or_dash(stage.max_ns), 14));
    }
    if (report.times_trustworthy && report.latency_max_ns) {
        out += fmt::format("  {}{}{}{}\n", left("birth to verdict", 48), right(time_or_dash(report.latency_p50_ns), 14),
                           right(time_or_dash(report.latency_p99_ns), 14), right(time_or_dash(report.latency_max_ns), 14));
    } else if (!report.times_trustworthy) {
        out += "  order real, times not: this kernel ran on an emulated CPU\n";
    }
}

void add_queues(std::string& out, const Report& report, const Trace& trace)
{
    if (report.queues.empty()) {
        return;
    }
    out += fmt::format("\n{}{}{}\n", left("Queues", 40), right("peak", 10), right("limit", 14));
    for (const QueuePeak& queue : report.queues) {
        const QueueRecord& record = trace.queue(queue.queue);
        const std::string_view unit = record.unit == QueueUnit::bytes ? "bytes" : "packets";
        const std::string_view without = trace.info.observed ? "not known" : "no limit"; // a recording tells of few limits
        out += fmt::format("  {}{}{}  {}\n", left(record.name, 38), right(count_text(queue.peak), 10),
                           right(queue.limit == 0 ? std::string(without) : count_text(queue.limit), 14),
                           queue.limit == 0 ? std::string(unit) : left(unit, 9) + bar(queue.peak, queue.limit, 20));
    }
}

void add_counters(std::string& out, const Report& report)
{
    if (report.counters.empty()) {
        return;
    }
    out += "\nCounters\n";
    for (const auto& [name, by] : report.counters) {
        out += fmt::format("  {}{}\n", left(name, 44), right(fmt::format("{:+}", by), 12));
    }
}

void add_faults(std::string& out, const Report& report)
{
    if (report.faults.empty() && report.lost_events == 0) {
        return;
    }
    out += "\nWhat this trace does not know\n";
    if (report.lost_events > 0) {
        out += fmt::format("  {}  records were lost while tracing\n", right(count_text(report.lost_events), 10));
    }
    for (const Fault& fault : report.faults) {
        out += fmt::format("  {}  {}\n", right(count_text(fault.count), 10), fault.cause);
        if (!fault.advice.empty()) {
            out += fmt::format("  {}  {}\n", right("", 10), fault.advice);
        }
    }
}

} // namespace

std::string to_text(const Report& report, const Trace& trace)
{
    std::string out = fmt::format("{}\n", report.source.empty() ? "(no source)" : report.source);
    out += fmt::format("kernel {} · {} events", report.kernel.empty() ? "unknown" : report.kernel, count_text(report.events));
    out += report.times_trustworthy
               ? fmt::format(" · {}\n", duration_text(static_cast<std::int64_t>(report.duration_ns)))
               : std::string(" · order real, times not\n");
    if (!report.filter.empty()) {
        out += fmt::format("filter: {}\n", report.filter);
    }
    if (report.between) {
        out += fmt::format("born between {} and {} ns\n", report.between->from.ns,
                           report.between->to == never ? "the end" : std::to_string(report.between->to.ns));
    }
    out += "\n";
    add_verdicts(out, report);
    add_drops(out, report, trace);
    add_stages(out, report);
    add_queues(out, report, trace);
    add_counters(out, report);
    add_faults(out, report);
    return out;
}

} // namespace skbscope
