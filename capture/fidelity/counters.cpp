#include "capture/fidelity/counters.h"

#include <algorithm>
#include <cstdlib>
#include <fmt/format.h>
#include <optional>
#include <set>

namespace skbscope {

namespace {

constexpr const char* traced_net = "root";
constexpr std::string_view machine_wide = "softnet_stat.";

using Moves = std::map<std::string, std::int64_t>;

std::int64_t value_of(const Moves& moves, const std::string& name)
{
    const auto found = moves.find(name);
    return found == moves.end() ? 0 : found->second;
}

/// An end and the counter that counts it.
struct Account {
    const char* end;
    const char* counter;
};
constexpr Account drops[] = {{"dropped CPU_BACKLOG", "softnet_stat.dropped"},
                             {"dropped SOCKET_RCVBUFF", "Udp.RcvbufErrors"},
                             {"dropped QDISC_DROP", "Udp.SndbufErrors"},
                             {"dropped NO_SOCKET", "Udp.NoPorts"},
                             {"dropped UDP_CSUM", "Udp.InCsumErrors"}};
constexpr Account arrivals[] = {{"delivered", "Udp.InDatagrams"}, {"sent", "Udp.OutDatagrams"}};

std::int64_t counted(const Account& account, const Moves& counters, const Moves& machine)
{
    return std::string_view(account.counter).starts_with(machine_wide) ? value_of(machine, account.counter) : value_of(counters, account.counter);
}

// ---- other traffic of the machine -----------------------------------------------------------------------------------------

struct Cable {
    const ManifestLink* a = nullptr;
    const ManifestLink* b = nullptr;
};

bool share_subnet(const ManifestLink& one, const ManifestLink& other)
{
    return std::ranges::any_of(one.addresses, [&](const ManifestAddress& mine) {
        return std::ranges::any_of(other.addresses, [&](const ManifestAddress& theirs) {
            if (mine.address.v6 || theirs.address.v6 || mine.prefix != theirs.prefix || mine.prefix > 32) {
                return false;
            }
            const std::uint64_t mask = ~std::uint64_t{0} << (32U - mine.prefix);
            return ((mine.address.v4_host_order() ^ theirs.address.v4_host_order()) & mask) == 0;
        });
    });
}

std::vector<Cable> cables_of(const Manifest& manifest)
{
    std::vector<Cable> cables;
    for (std::size_t a = 0; a < manifest.links.size(); ++a) {
        for (std::size_t b = a + 1; b < manifest.links.size(); ++b) {
            if (manifest.links[a].net != manifest.links[b].net && share_subnet(manifest.links[a], manifest.links[b])) {
                cables.push_back({&manifest.links[a], &manifest.links[b]});
            }
        }
    }
    return cables;
}

class Differences {
public:
    Differences(const Manifest& manifest, CounterResult& result) : manifest_(manifest), result_(result) {}

    /// Neighbour entries that were learned, not set, are probed by the kernel seconds after they were used (delay_first_probe_time):
    /// a request and its answer between the two snapshots of the counters, but outside of the phases. A device must have counted
    /// whole exchanges, no more than its cable has learned entries, and no more than a capture on the wire shows. (Snapshots of
    /// two namespaces are not taken at one moment, so the ends of a cable may differ.)
    void explain_probes()
    {
        std::int64_t frames = 0;
        for (const Cable& cable : cables_of(manifest_)) {
            frames += exchanges_of(*cable.a, *cable.b) + exchanges_of(*cable.b, *cable.a);
        }
        FidelityCounter* processed = find(traced_net, "softnet_stat.processed");
        if (processed != nullptr && processed->recorded > processed->model && processed->recorded - processed->model <= frames) {
            processed->elsewhere = probes;
        }
    }

    /// net_rx_action() also ends early, and counts it, when it has been at it for netdev_budget_usecs: where all frames of a
    /// recording together are fewer than netdev_budget, that was the only reason, and the emulated CPU's slowness.
    void explain_squeezes()
    {
        FidelityCounter* squeezed = find(traced_net, "softnet_stat.time_squeeze");
        const auto budget = manifest_.settings.find("net.core.netdev_budget");
        const auto root = manifest_.counters.find(traced_net);
        if (squeezed == nullptr || squeezed->model != 0 || budget == manifest_.settings.end() || root == manifest_.counters.end()) {
            return;
        }
        if (value_of(root->second, "softnet_stat.processed") < std::strtoll(budget->second.c_str(), nullptr, 10)) {
            squeezed->elsewhere = "fewer frames than netdev_budget: only the time limit of a poll on the emulated CPU can count here";
        }
    }

private:
    static constexpr const char* probes = "probes of learned neighbours outside of the phases";

    FidelityCounter* find(const std::string& net, const std::string& name)
    {
        const auto found = std::ranges::find_if(result_.differing, [&](const FidelityCounter& counter) { return counter.net == net && counter.name == name; });
        return found == result_.differing.end() ? nullptr : &*found;
    }

    std::int64_t surplus(const ManifestLink& link, const char* counter)
    {
        const FidelityCounter* found = find(link.net, link.name + "." + counter);
        return found == nullptr ? 0 : found->recorded - found->model;
    }

    std::int64_t exchanges_of(const ManifestLink& link, const ManifestLink& other)
    {
        const std::int64_t count = surplus(link, "tx_packets");
        const std::int64_t bytes = surplus(link, "tx_bytes");
        const bool is_whole = count > 0 && (bytes == count * 42 || bytes == count * 60) && // ARP, padded by some devices
                              surplus(link, "rx_packets") == count && surplus(link, "rx_bytes") == bytes;
        const std::int64_t learned = std::ranges::count_if(manifest_.neighbours, [&](const ManifestNeighbour& neighbour) {
            const auto is_of = [&](const ManifestLink& end) { return neighbour.net == end.net && neighbour.device == end.name; };
            return !neighbour.permanent && (is_of(link) || is_of(other));
        });
        const auto on_wire = [&](const ManifestLink& end) { return !end.probes_outside || *end.probes_outside >= static_cast<std::uint64_t>(count); };
        if (!is_whole || count > learned || !on_wire(link) || !on_wire(other)) {
            return 0;
        }
        for (const char* name : {"rx_packets", "rx_bytes", "tx_packets", "tx_bytes"}) {
            find(link.net, link.name + "." + name)->elsewhere = probes;
        }
        return count;
    }

    const Manifest& manifest_;
    CounterResult& result_;
};

} // namespace

CounterMoves counter_moves_of(const Trace& model)
{
    CounterMoves moves;
    for (std::size_t i = 0; i < model.size(); ++i) {
        if (model[i].event_kind() != EventKind::counter) {
            continue;
        }
        const CounterChange& change = model.counter_changes()[model[i].arg];
        const CounterRecord& counter = model.counter(change.counter);
        std::string net = model.hosts()[to_index(counter.host)].name;
        std::string name = counter.name;
        if (const std::size_t colon = name.find(": "); colon != std::string::npos) {
            net = name.substr(0, colon);
            name = name.substr(colon + 2);
        }
        moves[net][name] += static_cast<std::int64_t>(change.after - change.before);
    }
    return moves;
}

std::map<std::string, std::int64_t> of_machine(const CounterMoves& moves)
{
    Moves machine;
    for (const auto& [net, counters] : moves) {
        for (const auto& [name, by] : counters) {
            if (name.starts_with(machine_wide)) {
                machine[name] += by;
            }
        }
    }
    return machine;
}

CounterResult compare_counters(const Manifest& manifest, CounterMoves model)
{
    CounterResult result;
    const Moves machine = of_machine(model);
    for (const auto& [net, recorded] : manifest.counters) {
        auto& of_model = model[net];
        for (const auto& [name, by] : recorded) {
            const bool is_machine_wide = name.starts_with(machine_wide);
            if (is_machine_wide && net != traced_net) {
                continue;
            }
            const std::int64_t in_model = is_machine_wide ? value_of(machine, name) : of_model[name];
            result.compared += by != 0 || in_model != 0 ? 1 : 0;
            if (in_model != by) {
                result.differing.push_back({net, name, in_model, by, {}});
            }
        }
    }
    Differences differences(manifest, result);
    differences.explain_probes();
    differences.explain_squeezes();
    return result;
}

void explain_by_pace(CounterResult& result, const std::vector<CounterMoves>& paces)
{
    for (FidelityCounter& counter : result.differing) {
        std::int64_t least = counter.model;
        std::int64_t most = counter.model;
        for (const CounterMoves& pace : paces) {
            const auto of_net = pace.find(counter.net);
            const std::int64_t moved = counter.name.starts_with(machine_wide) ? value_of(of_machine(pace), counter.name)
                                       : of_net == pace.end()                 ? 0
                                                                              : value_of(of_net->second, counter.name);
            least = std::min(least, moved);
            most = std::max(most, moved);
        }
        if (counter.elsewhere.empty() && least <= counter.recorded && counter.recorded <= most) {
            counter.elsewhere = fmt::format("the pace of both machines: {} to {} in the model", least, most);
        }
    }
}

std::vector<std::string> unbalanced(const PacketEnds& ends, const Moves& counters, const Moves& machine, bool tells_reasons)
{
    std::vector<std::string> lines;
    const auto hold = [&](std::string_view what, std::int64_t packets, std::int64_t by_counter) {
        if (packets != by_counter) {
            lines.push_back(fmt::format("{} packets are {}, the counters say {}", packets, what, by_counter));
        }
    };
    for (const Account& account : arrivals) {
        if (ends.contains(account.end)) {
            hold(account.end, value_of(ends, account.end), counted(account, counters, machine));
        }
    }
    std::int64_t dropped = 0;
    std::int64_t by_counters = 0;
    for (const auto& [end, packets] : ends) {
        dropped += end.starts_with("dropped") ? packets : 0;
    }
    for (const Account& account : drops) {
        by_counters += counted(account, counters, machine);
        if (tells_reasons) {
            hold(account.end, value_of(ends, account.end), counted(account, counters, machine));
        }
    }
    hold("dropped", dropped, by_counters);
    return lines;
}

std::vector<std::string> drops_of_one_side(const Moves& model, const Moves& model_machine, const Moves& recorded)
{
    std::vector<std::string> lines;
    for (const Account& account : drops) {
        const std::int64_t in_model = counted(account, model, model_machine);
        const std::int64_t in_recording = value_of(recorded, account.counter);
        if ((in_model == 0) != (in_recording == 0)) {
            lines.push_back(fmt::format("{} moved by {} in the model, by {} in the recording", account.counter, in_model, in_recording));
        }
    }
    return lines;
}

} // namespace skbscope
