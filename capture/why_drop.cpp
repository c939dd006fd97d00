#include "capture/why_drop.h"

#include <algorithm>
#include <fmt/format.h>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <sys/utsname.h>

namespace skbscope {

extern const char* const advice_table;

namespace {

constexpr KernelVersion tells_reasons_since = KernelVersion::v6_1; // in fact 5.17

struct Advice {
    std::vector<std::string> settings;
    std::string command;
    std::vector<std::string> newer_reasons; ///< what kernels after 6.1 call the same drop
};

std::vector<std::string> split(const std::string& text, char separator)
{
    std::vector<std::string> parts;
    std::istringstream in(text);
    for (std::string part; std::getline(in, part, separator);) {
        parts.push_back(part);
    }
    return parts;
}

const std::map<std::string, Advice, std::less<>>& advice()
{
    static const auto table = [] {
        std::map<std::string, Advice, std::less<>> rows;
        for (const std::string& line : split(advice_table, '\n')) {
            const auto fields = split(line, '\t');
            if (!fields.empty() && fields.front() != "key") {
                const auto words = [&](std::size_t column) { return fields.size() > column ? split(fields[column], ' ') : std::vector<std::string>(); };
                rows[fields[0]] = {words(1), fields.size() > 2 ? fields[2] : "", words(3)};
            }
        }
        return rows;
    }();
    return table;
}

bool is_ipv6(const PacketRecord& packet)
{
    return packet.flow && packet.flow->source.v6;
}

using CounterChanges = std::map<std::string, std::int64_t>;

bool is_named(std::string_view counters, std::string_view name);
bool is_named_of_host(std::string_view counters, std::string_view name, const PacketRecord& packet);

/// Those of the changes that such a drop makes.
std::vector<std::int64_t> moves_of(const DropSite& site, const PacketRecord& packet, const CounterChanges& own, const CounterChanges& on_host)
{
    std::vector<std::int64_t> moves;
    for (const auto& [name, by] : own) {
        if (is_named(site.counters, name)) {
            moves.push_back(by);
        }
    }
    for (const auto& [name, by] : on_host) {
        if (is_named_of_host(site.counters, name, packet)) {
            moves.push_back(by);
        }
    }
    return moves;
}

/// Nobody says why, so the function alone tells; several tests of one function may end so.
bool is_vague(DropReasonId reason)
{
    return reason != DropReasonId::none && Catalog::drop_reason(reason).name == "NOT_SPECIFIED";
}

/// The places that the catalog lists under the packet's function and reason.
std::vector<const DropSite*> sites_by_function(const PacketRecord& packet)
{
    std::vector<const DropSite*> sites;
    if (const DropSite* first = Catalog::find_drop_site(packet.end_function, packet.reason); first != nullptr) {
        sites.push_back(first);
    }
    for (const DropSite& site : Catalog::drop_sites()) {
        if (!sites.empty() && &site != sites.front() && packet.reason != DropReasonId::none && site.function == packet.end_function && site.reason == packet.reason) {
            sites.push_back(&site);
        }
    }
    return sites;
}

/// The one of several whose counters moved. Where the kernel said nothing of the reason they must have moved as often as packets were
/// dropped, and no other's; otherwise nobody knows.
const DropSite* chosen_of(const std::vector<const DropSite*>& sites, const DropExplanation& drop, const PacketRecord& packet, const CounterChanges& own,
                          const CounterChanges& on_host)
{
    if (sites.size() == 1) {
        return sites.front();
    }
    if (is_vague(packet.reason)) {
        const auto fits = [&](const DropSite* site) {
            const auto moves = moves_of(*site, packet, own, on_host);
            return std::ranges::find(moves, static_cast<std::int64_t>(drop.count)) != moves.end();
        };
        const auto found = std::ranges::find_if(sites, fits);
        return std::ranges::count_if(sites, fits) == 1 ? *found : nullptr;
    }
    return *std::ranges::max_element(sites, {}, [&](const DropSite* site) { return moves_of(*site, packet, own, on_host).size(); });
}

/// What may have been the condition, where nothing tells which of them it was.
std::string conditions_of(const std::vector<const DropSite*>& sites)
{
    std::string text;
    for (const DropSite* site : sites) {
        text += fmt::format("{}{}", text.empty() ? "One of these, the kernel does not say which: " : "; or: ", site->condition);
    }
    return text;
}

/// The place whose drops newer kernels give a reason of their own: the one in that function, or the only one.
const DropSite* site_by_newer_reason(const PacketRecord& packet)
{
    if (packet.reason == DropReasonId::none || is_ipv6(packet)) {
        return nullptr; // the rows are IPv4's
    }
    const DropSite* only = nullptr;
    int found = 0;
    for (const DropSite& site : Catalog::drop_sites()) {
        const auto row = advice().find(site.key);
        if (row == advice().end() || std::ranges::find(row->second.newer_reasons, Catalog::drop_reason(packet.reason).name) == row->second.newer_reasons.end()) {
            continue;
        }
        if (site.function == packet.end_function) {
            return &site;
        }
        only = &site;
        ++found;
    }
    return found == 1 ? only : nullptr;
}

/// The place in the catalog. A tracepoint alone names the function that the real one was inlined into: then the reason, the
/// stage and the protocol tell.
const DropSite* site_by_reason(const PacketRecord& packet)
{
    if (const DropSite* newer = site_by_newer_reason(packet); newer != nullptr) {
        return newer;
    }
    const StageId stage = to_index(packet.end_function) < Catalog::function_count() ? Catalog::function(packet.end_function).stage : StageId::none;
    const DropSite* best = nullptr;
    int best_score = -1;
    int candidates = 0;
    for (const DropSite& site : Catalog::drop_sites()) {
        if (packet.reason == DropReasonId::none || site.reason != packet.reason) {
            continue;
        }
        ++candidates;
        const std::uint8_t protocol = packet.flow ? packet.flow->protocol : std::uint8_t{0};
        const bool wants_udp = site.key.starts_with("udp");
        const bool wants_tcp = site.key.starts_with("tcp");
        const bool wants_v6 = site.key.find("6_") != std::string_view::npos;
        int score = site.stage == stage && stage != StageId::none ? 4 : 0;
        score += packet.flow && ((wants_udp && protocol == 17) || (wants_tcp && protocol == 6)) ? 2 : 0;
        score -= packet.flow && ((wants_udp && protocol != 17) || (wants_tcp && protocol != 6)) ? 8 : 0;
        score -= packet.flow && wants_v6 != is_ipv6(packet) ? 8 : 0;
        if (score > best_score) {
            best_score = score;
            best = &site;
        }
    }
    return is_vague(packet.reason) || (best_score < 2 && candidates > 1) ? nullptr : best;
}

const QueueRecord* queue_governed_by(const Trace& trace, const std::string& setting)
{
    const auto found = std::ranges::find(trace.queues(), setting, &QueueRecord::setting);
    return found == trace.queues().end() ? nullptr : &*found;
}

/// Where the packet was when it was dropped: over a veth, or when it is forwarded, that is not the device it was first seen at.
DeviceId device_at_end(const Trace& trace, const JourneyIndex& journeys, PacketId packet)
{
    DeviceId device = trace.packet(packet).device;
    for (const std::uint32_t ordinal : journeys.events_of(packet)) {
        if (trace[ordinal].event_kind() != EventKind::field) {
            continue;
        }
        const FieldChange& change = trace.field_changes()[trace[ordinal].arg];
        if (change.field == SkbField::device && change.after != 0 && change.after < trace.devices().size()) {
            device = static_cast<DeviceId>(change.after);
        }
    }
    return device;
}

/// The receive buffer of the socket that is bound to the port, as the recorder read it; empty where there is none, or several differ.
std::string recorded_receive_buffer(const Trace& trace, std::uint16_t port)
{
    std::set<std::string> buffers;
    for (const HostFile& file : trace.files) {
        if (file.name != "sockets" || !file.space.empty()) {
            continue;
        }
        for (const std::string& line : split(file.text, '\n')) { // socket, owner, state, receive buffer, …
            const auto fields = split(line, '\t');
            const auto local = fields.empty() ? std::string() : fields[0].substr(0, fields[0].find(' ', sizeof "socket udp"));
            if (fields.size() > 3 && fields[0].starts_with("socket udp ") && local.ends_with(fmt::format(":{}", port)) && fields[3] != "-") {
                buffers.insert(fields[3]);
            }
        }
    }
    return buffers.size() == 1 ? *buffers.begin() : std::string();
}

/// What stands for {dev}, {dport} … in a row of advice.
class Filler {
public:
    Filler(const Trace& trace, const PacketRecord& packet, DeviceId device)
    {
        words_["dev"] = device != DeviceId::none ? trace.device(device).name : "DEV";
        words_["dport"] = packet.flow ? std::to_string(packet.flow->destination_port) : "PORT";
        words_["daddr"] = packet.flow ? packet.flow->destination.text() : "ADDRESS";
    }

    void set(const std::string& word, const std::string& value) { words_[word] = value; }
    /// Of two whole numbers the larger one stays.
    void set_larger(const std::string& word, const std::string& value)
    {
        const std::string& now = words_[word];
        if (std::pair(value.size(), value) > std::pair(now.size(), now)) {
            words_[word] = value;
        }
    }

    /// "{value*2}" of "1000" is 2000; of what is not a number, NEW.
    [[nodiscard]] std::string fill(const std::string& text) const
    {
        std::string out;
        for (std::size_t at = 0; at < text.size();) {
            const auto end = text[at] == '{' ? text.find('}', at) : std::string::npos;
            if (end == std::string::npos) {
                out += text[at++];
                continue;
            }
            std::string word = text.substr(at + 1, end - at - 1);
            const bool doubled = word.ends_with("*2");
            word = word.substr(0, word.size() - (doubled ? 2 : 0));
            const auto found = words_.find(word);
            const std::string value = found != words_.end() ? found->second : "";
            const bool is_number = !value.empty() && value.size() < 18 && std::ranges::all_of(value, [](char c) { return c >= '0' && c <= '9'; });
            out += !doubled ? value : is_number ? std::to_string(std::stoull(value) * 2) : "NEW";
            at = end + 1;
        }
        return out;
    }

private:
    std::map<std::string, std::string> words_;
};

void advise(DropExplanation& drop, const Trace& trace, const JourneyIndex& journeys, const SettingReader& reader)
{
    const auto row = advice().find(drop.site->key);
    if (row == advice().end()) {
        return;
    }
    const PacketRecord& packet = trace.packet(drop.example);
    const DeviceId device = device_at_end(trace, journeys, drop.example);
    Filler filler(trace, packet, device);
    for (const std::string& pattern : row->second.settings) {
        if (device == DeviceId::none && pattern.find("{dev}") != std::string::npos) {
            continue;
        }
        const std::string name = filler.fill(pattern);
        GoverningSetting setting{name, {}, {}};
        if (const QueueRecord* queue = queue_governed_by(trace, name); queue != nullptr && queue->limit != 0) {
            setting.value = std::to_string(queue->limit);
            setting.where = "the trace";
        } else if (const auto present = reader ? reader(name) : std::nullopt; present) {
            setting = *present;
        } else if (name.ends_with(".SO_RCVBUF") && packet.flow) {
            setting.value = recorded_receive_buffer(trace, packet.flow->destination_port);
            setting.where = setting.value.empty() ? "" : "the socket, when it was recorded";
        }
        if (name.starts_with(":") && setting.value.empty()) {
            continue; // of a socket that nothing tells about
        }
        if (name.ends_with(".SO_RCVBUF") || (name == "net.core.rmem_max" && !setting.value.empty())) {
            filler.set_larger("rcvbuf", setting.value);
        }
        if (drop.settings.empty()) {
            filler.set("setting", setting.name);
            filler.set("value", setting.value);
        }
        drop.settings.push_back(std::move(setting));
    }
    for (const QueueRecord& queue : trace.queues()) {
        if (queue.kind == QueueKind::qdisc && queue.limit != 0 && device != DeviceId::none && queue.name.find(trace.device(device).name) != std::string::npos) {
            filler.set("limit", std::to_string(queue.limit));
        }
        if (queue.kind == QueueKind::rx_ring && queue.limit != 0) {
            filler.set("ring", std::to_string(queue.limit));
        }
    }
    drop.command = filler.fill(row->second.command);
}

/// Whether the catalog names the counter among those that such a drop moves: a packet moves others on its way there.
bool is_named(std::string_view counters, std::string_view name)
{
    std::string_view last = name.substr(0, name.find(' ')); // "softnet_stat.dropped CPU 1"
    last.remove_prefix(last.find('.') == std::string_view::npos ? 0 : last.rfind('.') + 1);
    return counters.find(last) != std::string_view::npos;
}

/// The same of a figure that the recorder read from the host; of sockets only the packet's own counts.
bool is_named_of_host(std::string_view counters, std::string_view name, const PacketRecord& packet)
{
    const std::string_view last = name.substr(name.rfind('.') + 1);
    if (name.starts_with("socket ")) {
        return last == "drops" && packet.flow && counters.find("socket drops") != std::string_view::npos &&
               name.find(fmt::format(":{} #", packet.flow->destination_port)) != std::string_view::npos;
    }
    if (name.starts_with("qdisc ")) {
        return (last == "drops" || last == "overlimits") && counters.find("qdisc") != std::string_view::npos && counters.find(last) != std::string_view::npos;
    }
    return name.find('.') != std::string_view::npos && is_named(counters, name);
}

/// What the host itself counted over the whole recording; empty where nobody looked.
CounterChanges moved_on_host(const Trace& trace)
{
    CounterChanges moved;
    if (!trace.info.observed || trace.counters().size() <= 1) {
        return moved;
    }
    for (std::size_t i = 0; i < trace.size(); ++i) {
        const Event& event = trace[i];
        if (event.event_kind() == EventKind::counter && event.packet_id() == PacketId::none) {
            const CounterChange& change = trace.counter_changes()[event.arg];
            moved[trace.counter(change.counter).name] += static_cast<std::int64_t>(change.after - change.before);
        }
    }
    std::erase_if(moved, [](const auto& counter) { return counter.second <= 0; });
    return moved;
}

void add_counters(DropExplanation& drop, const Trace& trace, const CounterChanges& moved, const CounterChanges& on_host)
{
    for (const auto& [name, by] : moved) {
        if (drop.site != nullptr && is_named(drop.site->counters, name)) {
            drop.moved.push_back({name, by, false});
        }
    }
    if (drop.site != nullptr && drop.moved.empty()) {
        for (const auto& [name, by] : on_host) {
            if (is_named_of_host(drop.site->counters, name, trace.packet(drop.example))) {
                drop.moved.push_back({name, by, true});
            }
        }
    }
    drop.counters = drop.site != nullptr && drop.site->counters != "none" ? std::string(drop.site->counters) : "";
    drop.reason_concluded = trace.info.observed && trace.info.kernel < tells_reasons_since;
}

std::string reason_name(const DropExplanation& drop)
{
    return drop.reason == DropReasonId::none ? "no reason" : std::string(Catalog::drop_reason(drop.reason).name);
}

std::string function_name(const DropExplanation& drop, const Trace& trace)
{
    return drop.function == FunctionId::none ? "?" : std::string(trace.function_name(drop.function));
}

} // namespace

std::vector<DropExplanation> explain_drops(const Trace& trace, const JourneyIndex& journeys, std::span<const PacketId> packets,
                                           const SettingReader& reader)
{
    std::vector<DropExplanation> drops;
    std::vector<CounterChanges> moved;
    std::map<std::pair<std::uint32_t, std::uint32_t>, std::size_t> rows;
    for (const PacketId id : packets) {
        const PacketRecord& packet = trace.packet(id);
        if (packet.verdict != Verdict::dropped) {
            continue;
        }
        const auto [row, is_new] = rows.try_emplace({to_index(packet.reason), to_index(packet.end_function)}, drops.size());
        if (is_new) {
            DropExplanation drop;
            drop.reason = packet.reason;
            drop.function = packet.end_function;
            drop.example = id;
            drops.push_back(std::move(drop));
            moved.emplace_back();
        }
        ++drops[row->second].count;
        for (const std::uint32_t ordinal : journeys.events_of(id)) {
            if (trace[ordinal].event_kind() == EventKind::counter) {
                const CounterChange& change = trace.counter_changes()[trace[ordinal].arg];
                moved[row->second][trace.counter(change.counter).name] += static_cast<std::int64_t>(change.after - change.before);
            }
        }
    }
    const auto on_host = drops.empty() ? CounterChanges() : moved_on_host(trace);
    for (std::size_t i = 0; i < drops.size(); ++i) {
        DropExplanation& drop = drops[i];
        const PacketRecord& packet = trace.packet(drop.example);
        const auto sites = sites_by_function(packet);
        drop.site = sites.empty() ? site_by_reason(packet) : chosen_of(sites, drop, packet, moved[i], on_host);
        drop.words = drop.reason != DropReasonId::none ? std::string(Catalog::drop_reason(drop.reason).what) : "The record gives no reason.";
        add_counters(drop, trace, moved[i], on_host);
        if (drop.site == nullptr) {
            drop.condition = conditions_of(sites);
        } else {
            drop.condition = drop.site->condition;
            drop.remedy = drop.site->remedy;
            advise(drop, trace, journeys, reader);
        }
    }
    std::ranges::stable_sort(drops, std::ranges::greater(), &DropExplanation::count);
    return drops;
}

SettingReader settings_of_this_host(const std::string& proc)
{
    return [proc](const std::string& name) -> std::optional<GoverningSetting> {
        // A device's name may hold dots: what lies between conf/ and the last dot is left as it is.
        std::string path = name;
        std::ranges::replace(path, '.', '/');
        for (const std::string_view family : {"net/ipv4/conf/", "net/ipv6/conf/", "net/ipv4/neigh/", "net/ipv6/neigh/"}) {
            const auto last = path.rfind('/');
            for (std::size_t i = family.size(); path.starts_with(family) && i < last; ++i) {
                path[i] = name[i];
            }
        }
        if (path.find("..") != std::string::npos || path.starts_with("/")) {
            return std::nullopt;
        }
        std::ifstream in(proc + "/sys/" + path);
        std::string value;
        if (!std::getline(in, value)) {
            return std::nullopt;
        }
        std::ranges::replace(value, '\t', ' ');
        return GoverningSetting{name, value, "this host"};
    };
}

SettingReader settings_of_recording(const Trace& trace, const std::string& proc)
{
    std::map<std::string, std::string> values;
    for (const HostFile& file : trace.files) {
        if (file.name != "sysctl" || !file.space.empty()) {
            continue;
        }
        for (const std::string& line : split(file.text, '\n')) {
            if (const auto equals = line.find(" = "); equals != std::string::npos) {
                values[line.substr(0, equals)] = line.substr(equals + 3);
            }
        }
    }
    if (values.empty()) {
        utsname names{};
        const bool is_ours = uname(&names) == 0 && trace.info.source == fmt::format("live: {}", names.nodename) && trace.info.kernel_release == names.release;
        return is_ours ? settings_of_this_host(proc) : SettingReader();
    }
    return [values](const std::string& name) -> std::optional<GoverningSetting> {
        const auto found = values.find(name);
        return found == values.end() ? std::nullopt : std::optional(GoverningSetting{name, found->second, "when it was recorded"});
    };
}

SettingReader settings_behind(const Trace& trace)
{
    return trace.info.scenario.empty() ? settings_of_recording(trace) : settings_of_scenario(trace.info.scenario);
}

SettingReader settings_of_scenario(const std::string& text)
{
    return [text](const std::string& name) -> std::optional<GoverningSetting> {
        // to_text() writes one setting a line: "      net.core.netdev_max_backlog: 1000".
        const auto at = text.find(" " + name + ": ");
        if (at != std::string::npos) {
            const auto begin = at + name.size() + 3;
            return GoverningSetting{name, text.substr(begin, text.find('\n', begin) - begin), "the scenario"};
        }
        const Setting* known = Catalog::find_setting(name);
        if (known == nullptr) {
            return std::nullopt;
        }
        return GoverningSetting{name, std::string(known->value), "the kernel's default"};
    };
}

std::string drops_to_text(std::span<const DropExplanation> drops, const Trace& trace)
{
    std::string out;
    for (const DropExplanation& drop : drops) {
        out += fmt::format("\nWhy {} in {}: {} packet{}\n", reason_name(drop), function_name(drop, trace), drop.count, drop.count == 1 ? "" : "s");
        out += fmt::format("  {}{}\n", drop.words, drop.reason_concluded ? " (This kernel tells no reasons; concluded from the place.)" : "");
        const auto line = [&](const char* title, const std::string& text) {
            if (!text.empty()) {
                out += fmt::format("  {:<9} {}\n", title, text);
            }
        };
        line("when", drop.condition);
        std::string moved;
        for (const MovedCounter& counter : drop.moved) {
            moved += fmt::format("{}{} by {}", moved.empty() ? "" : ", ", counter.name, counter.by);
        }
        const bool of_host = !drop.moved.empty() && drop.moved.front().of_host;
        line("moved", moved + (of_host ? "  (the host's own count while it was recorded, of all its packets)" : ""));
        line(moved.empty() ? "moves" : "look at", drop.counters);
        for (const GoverningSetting& setting : drop.settings) {
            line("setting", setting.value.empty() ? setting.name : fmt::format("{} = {}  ({})", setting.name, setting.value, setting.where));
        }
        if (drop.settings.empty() && drop.site != nullptr && !drop.site->control.empty() && drop.site->control != "-") {
            line("governed", "by " + std::string(drop.site->control));
        }
        line("command", drop.command);
        line("remedy", drop.remedy);
    }
    return out;
}

std::string drops_to_json(std::span<const DropExplanation> drops, const Trace& trace)
{
    auto list = nlohmann::json::array();
    for (const DropExplanation& drop : drops) {
        auto moved = nlohmann::json::object();
        for (const MovedCounter& counter : drop.moved) {
            moved[counter.name] = counter.by;
        }
        auto settings = nlohmann::json::array();
        for (const GoverningSetting& setting : drop.settings) {
            settings.push_back({{"name", setting.name}, {"value", setting.value}, {"where", setting.where}});
        }
        list.push_back({{"reason", drop.reason == DropReasonId::none ? "" : reason_name(drop)},
                        {"function", function_name(drop, trace)},
                        {"count", drop.count},
                        {"packet", to_index(drop.example)},
                        {"site", drop.site != nullptr ? std::string(drop.site->key) : ""},
                        {"concluded", drop.reason_concluded},
                        {"words", drop.words},
                        {"condition", drop.condition},
                        {"moved", moved},
                        {"counters", drop.counters},
                        {"settings", settings},
                        {"command", drop.command},
                        {"remedy", drop.remedy}});
    }
    return list.dump();
}

} // namespace skbscope
