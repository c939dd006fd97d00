// A comparison in words: the report of `skbscope compare`, its JSON, and two journeys in two columns.

#include "core/catalog/catalog.h"
#include "core/compare/compare.h"

#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

namespace skbscope {

namespace {

constexpr std::size_t most_named = 40; ///< packets and counters named one by one; the rest is counted

std::string fate(const PacketRecord& packet)
{
    std::string text(to_string(packet.verdict));
    if (packet.verdict == Verdict::dropped && packet.reason != DropReasonId::none) {
        text += fmt::format(" ({})", Catalog::drop_reason(packet.reason).name);
    }
    return text;
}

std::string name_of(const PacketRecord& packet)
{
    return packet.flow ? packet.flow->text() : std::string("no flow");
}

std::string ordinals(const std::vector<std::size_t>& list)
{
    std::string text;
    for (std::size_t i = 0; i < std::min(list.size(), most_named); ++i) {
        text += fmt::format("{}{}", i == 0 ? "" : ", ", list[i]);
    }
    return list.size() > most_named ? text + fmt::format(" … ({} in all)", list.size()) : text;
}

nlohmann::json side_to_json(const PacketRecord& packet)
{
    return {{"packet", to_index(packet.id)},
            {"verdict", to_string(packet.verdict)},
            {"reason", packet.reason == DropReasonId::none ? nlohmann::json() : nlohmann::json(Catalog::drop_reason(packet.reason).name)}};
}

std::vector<const Segment*> in_context(const std::vector<Segment>& segments, Context context)
{
    std::vector<const Segment*> list;
    for (const Segment& segment : segments) {
        if (segment.context == context) {
            list.push_back(&segment);
        }
    }
    return list;
}

/// Longest common subsequence of two short lists of names, as lines of two columns.
std::string columns(const std::vector<ComparedStep>& a, const std::vector<ComparedStep>& b)
{
    const std::size_t rows = a.size() + 1;
    const std::size_t width = b.size() + 1;
    std::vector<std::uint32_t> best(rows * width);
    for (std::size_t i = a.size(); i-- > 0;) {
        for (std::size_t j = b.size(); j-- > 0;) {
            best[i * width + j] = a[i].function == b[j].function ? best[(i + 1) * width + j + 1] + 1
                                                                 : std::max(best[(i + 1) * width + j], best[i * width + j + 1]);
        }
    }
    std::string text;
    for (std::size_t i = 0, j = 0; i < a.size() || j < b.size();) {
        if (i < a.size() && j < b.size() && a[i].function == b[j].function) {
            text += fmt::format("    {:<38}   {}\n", a[i++].function, b[j++].function);
        } else if (j == b.size() || (i < a.size() && best[(i + 1) * width + j] >= best[i * width + j + 1])) {
            text += fmt::format("  < {:<38}\n", a[i++].function);
        } else {
            text += fmt::format("  > {:<38}   {}\n", "", b[j++].function);
        }
    }
    return text;
}

} // namespace

std::string comparison_to_text(const Comparison& comparison, const Trace& a, const Trace& b, const std::string& name_a,
                               const std::string& name_b)
{
    const std::size_t both = comparison.packets.size();
    std::string text = fmt::format("A: {}  ({})\nB: {}  ({})\n\n", name_a, a.info.kernel_release, name_b, b.info.kernel_release);
    text += fmt::format("{} packet{} in both; {} only in A, {} only in B\n", both, both == 1 ? "" : "s", comparison.only_in_a.size(), comparison.only_in_b.size());
    text += fmt::format("same verdict {}, same reason {}, same functions in the same order {}\n", comparison.same_verdict(),
                        comparison.same_reason(), comparison.same_functions());
    if (comparison.by_tracepoints) {
        text += fmt::format("functions compared are only those in which the recording's tracepoints stand: {}\n",
                            comparison.visible.functions.empty() ? "none" : fmt::format("{}", fmt::join(comparison.visible.functions, ", ")));
    }
    std::size_t named = 0;
    std::size_t fates = 0;
    for (const PacketComparison& packet : comparison.packets) {
        if (!packet.same_reason) {
            ++fates;
        }
    }
    if (fates > 0) {
        text += fmt::format("\n{} packets whose fate changed:\n", fates);
    }
    for (const PacketComparison& packet : comparison.packets) {
        if (!packet.same_reason && named++ < most_named) {
            text += fmt::format("  A {:>5}  B {:>5}  {}: {} | {}\n", to_index(packet.pair.a), to_index(packet.pair.b),
                                name_of(a.packet(packet.pair.a)), fate(a.packet(packet.pair.a)), fate(b.packet(packet.pair.b)));
        }
    }
    if (named > most_named) {
        text += fmt::format("  … and {} more\n", named - most_named);
    }
    const auto lonely = [&](const std::vector<PacketId>& ids, const Trace& trace, const char* side) {
        for (std::size_t i = 0; i < std::min(ids.size(), most_named); ++i) {
            text += fmt::format("  only in {}: {:>5}  {}: {}\n", side, to_index(ids[i]), name_of(trace.packet(ids[i])), fate(trace.packet(ids[i])));
        }
        if (ids.size() > most_named) {
            text += fmt::format("  … and {} more only in {}\n", ids.size() - most_named, side);
        }
    };
    lonely(comparison.only_in_a, a, "A");
    lonely(comparison.only_in_b, b, "B");
    const auto differs = std::ranges::find(comparison.packets, false, &PacketComparison::same_functions);
    if (differs != comparison.packets.end()) {
        text += fmt::format("\nfirst difference in the functions: A packet {}, B packet {}: {}\n", to_index(differs->pair.a),
                            to_index(differs->pair.b), differs->first->text());
    }
    for (const ArrivalDifference& flow : comparison.arrivals) {
        text += fmt::format("\narrived of {}:\n", flow.flow.text());
        if (!flow.only_in_a.empty()) {
            text += fmt::format("  only in A: {}\n", ordinals(flow.only_in_a));
        }
        if (!flow.only_in_b.empty()) {
            text += fmt::format("  only in B: {}\n", ordinals(flow.only_in_b));
        }
    }
    if (!comparison.counters.empty()) {
        text += "\ncounters that moved differently:\n";
    }
    for (std::size_t i = 0; i < std::min(comparison.counters.size(), most_named); ++i) {
        const CounterComparison& counter = comparison.counters[i];
        text += fmt::format("  {:<40} {:>10} | {:>10}\n", counter.name, counter.a, counter.b);
    }
    return text;
}

std::string comparison_to_json(const Comparison& comparison, const Trace& a, const Trace& b)
{
    using nlohmann::json;
    json out;
    out["same"] = comparison.same();
    out["packets"] = comparison.packets.size();
    out["same_verdict"] = comparison.same_verdict();
    out["same_reason"] = comparison.same_reason();
    out["same_functions"] = comparison.same_functions();
    json differing = json::array();
    for (const PacketComparison& packet : comparison.packets) {
        if (packet.same()) {
            continue;
        }
        const PacketRecord& in_a = a.packet(packet.pair.a);
        json one = {{"a", side_to_json(in_a)}, {"b", side_to_json(b.packet(packet.pair.b))}};
        one["flow"] = in_a.flow ? json(in_a.flow->text()) : json();
        one["first_difference"] = packet.first ? json(packet.first->text()) : json();
        differing.push_back(std::move(one));
    }
    out["differing"] = std::move(differing);
    const auto lonely = [](const std::vector<PacketId>& ids, const Trace& trace) {
        json list = json::array();
        for (const PacketId id : ids) {
            list.push_back(side_to_json(trace.packet(id)));
        }
        return list;
    };
    out["only_in_a"] = lonely(comparison.only_in_a, a);
    out["only_in_b"] = lonely(comparison.only_in_b, b);
    json arrivals = json::array();
    for (const ArrivalDifference& flow : comparison.arrivals) {
        arrivals.push_back({{"flow", flow.flow.text()}, {"only_in_a", flow.only_in_a}, {"only_in_b", flow.only_in_b}});
    }
    out["arrivals"] = std::move(arrivals);
    json counters = json::array();
    for (const CounterComparison& counter : comparison.counters) {
        counters.push_back({{"name", counter.name}, {"a", counter.a}, {"b", counter.b}});
    }
    out["counters"] = std::move(counters);
    return out.dump(2) + "\n";
}

std::string side_by_side(const Trace& a, const JourneyIndex& journeys_a, const Trace& b, const JourneyIndex& journeys_b,
                         PacketPair pair, const VisibleFunctions& visible)
{
    const auto segments_a = segments_of(a, journeys_a.journey(pair.a), visible);
    const auto segments_b = segments_of(b, journeys_b.journey(pair.b), visible);
    static const std::vector<ComparedStep> no_steps;
    std::string text = fmt::format("A packet {}: {}    B packet {}: {}\n", to_index(pair.a),
                                   pair.a == PacketId::none ? "absent" : fate(a.packet(pair.a)), to_index(pair.b),
                                   pair.b == PacketId::none ? "absent" : fate(b.packet(pair.b)));
    for (const Context context : {Context::process, Context::hardirq, Context::softirq, Context::nmi}) {
        const auto list_a = in_context(segments_a, context);
        const auto list_b = in_context(segments_b, context);
        for (std::size_t i = 0; i < std::max(list_a.size(), list_b.size()); ++i) {
            const auto cpu = [&](const auto& list) {
                return i < list.size() ? fmt::format("CPU {}", to_index(list[i]->cpu)) : std::string("–");
            };
            text += fmt::format("  ── {} (A {}, B {})\n", to_string(context), cpu(list_a), cpu(list_b));
            text += columns(i < list_a.size() ? list_a[i]->steps : no_steps, i < list_b.size() ? list_b[i]->steps : no_steps);
        }
    }
    return text;
}

} // namespace skbscope
