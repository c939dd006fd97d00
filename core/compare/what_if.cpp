#include "core/compare/what_if.h"

#include "core/catalog/catalog.h"

#include <algorithm>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace skbscope {

namespace {

constexpr std::size_t most_named = 60;

Fate fate_of(const PacketRecord& packet)
{
    return {packet.verdict, packet.verdict == Verdict::dropped ? packet.reason : DropReasonId::none};
}

/// Its outcome is known by then.
bool settled(const PacketRecord& packet, SimTime until)
{
    return until == never || (packet.death <= until && packet.verdict != Verdict::in_flight);
}

std::uint64_t drops_of(const Trace& trace, SimTime until)
{
    return static_cast<std::uint64_t>(std::ranges::count_if(trace.packets(), [&](const PacketRecord& packet) {
        return packet.verdict == Verdict::dropped && settled(packet, until);
    }));
}

std::string packets(std::uint64_t count) { return fmt::format("{} packet{}", count, count == 1 ? "" : "s"); }

} // namespace

std::string Fate::text() const
{
    std::string text(to_string(verdict));
    if (reason != DropReasonId::none) {
        text += fmt::format(" ({})", Catalog::drop_reason(reason).name);
    }
    return text;
}

WhatIf what_changed(const Trace& line, const Trace& branch, SimTime until)
{
    WhatIf result;
    result.drops_before = drops_of(line, until);
    result.drops_after = drops_of(branch, until);
    for (const PacketPair& pair : align_packets(line, branch)) {
        if (pair.b == PacketId::none) {
            result.only_before += settled(line.packet(pair.a), until) ? 1 : 0;
            continue;
        }
        if (pair.a == PacketId::none) {
            result.only_after += settled(branch.packet(pair.b), until) ? 1 : 0;
            continue;
        }
        const Fate before = fate_of(line.packet(pair.a));
        const Fate after = fate_of(branch.packet(pair.b));
        if (before != after && settled(line.packet(pair.a), until) && settled(branch.packet(pair.b), until)) {
            result.changed.push_back({pair, before, after});
            ++result.kinds[{before, after}];
        }
    }
    return result;
}

std::string WhatIf::sentence() const
{
    if (changed.empty() && only_before == 0 && only_after == 0) {
        return "Nothing changed: every packet ends as before.";
    }
    std::string text = drops_before == drops_after ? fmt::format("{} drops as before", drops_after)
                                                   : fmt::format("{} drops instead of {}", drops_after, drops_before);
    // The most frequent changes speak for all.
    std::vector<std::pair<std::uint64_t, std::pair<Fate, Fate>>> order;
    for (const auto& [fates, count] : kinds) {
        order.push_back({count, fates});
    }
    std::ranges::stable_sort(order, std::ranges::greater{}, [](const auto& entry) { return entry.first; });
    constexpr std::size_t most_kinds = 3;
    for (std::size_t i = 0; i < std::min(order.size(), most_kinds); ++i) {
        const auto& [count, fates] = order[i];
        text += fmt::format("{} {} {} {} now {}", i == 0 ? ":" : ",", packets(count), fates.first.text(), count == 1 ? "is" : "are",
                            fates.second.text());
    }
    if (order.size() > most_kinds) {
        text += ", and more";
    }
    if (only_before > 0) {
        text += fmt::format("; {} no longer there", packets(only_before));
    }
    if (only_after > 0) {
        text += fmt::format("; {} new", packets(only_after));
    }
    return text + ".";
}

std::string to_text(const WhatIf& difference, const Trace& line)
{
    std::string text = difference.sentence() + "\n";
    for (std::size_t i = 0; i < std::min(difference.changed.size(), most_named); ++i) {
        const ChangedFate& changed = difference.changed[i];
        const PacketRecord& packet = line.packet(changed.pair.a);
        text += fmt::format("  packet {:>5} (in the branch {:>5}), born {:.3f} ms, {}: {} -> {}\n", to_index(changed.pair.a),
                            to_index(changed.pair.b), static_cast<double>(packet.birth.ns) / 1e6,
                            packet.flow ? packet.flow->text() : std::string("no flow"), changed.before.text(), changed.after.text());
    }
    if (difference.changed.size() > most_named) {
        text += fmt::format("  … and {} more\n", difference.changed.size() - most_named);
    }
    return text;
}

std::string to_json(const WhatIf& difference, const Trace& line)
{
    nlohmann::ordered_json changed = nlohmann::json::array();
    for (const ChangedFate& one : difference.changed) {
        const PacketRecord& packet = line.packet(one.pair.a);
        changed.push_back({{"packet", to_index(one.pair.a)},
                           {"packet_in_branch", to_index(one.pair.b)},
                           {"flow", packet.flow ? nlohmann::json(packet.flow->text()) : nlohmann::json()},
                           {"before", one.before.text()},
                           {"after", one.after.text()}});
    }
    return nlohmann::ordered_json{{"drops_before", difference.drops_before},
                                  {"drops_after", difference.drops_after},
                                  {"changed", changed},
                                  {"only_before", difference.only_before},
                                  {"only_after", difference.only_after},
                                  {"sentence", difference.sentence()}}
        .dump();
}

} // namespace skbscope
