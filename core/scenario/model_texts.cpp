// The texts that a person may rewrite while the model runs: packet filter rules, filters of taps and sockets; and the
// scenario that begins with all that was turned.

#include "core/scenario/install_rules.h"
#include "core/scenario/model_source.h"
#include "core/scenario/rules_text.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <utility>

namespace skbscope {

using namespace kernel;

namespace {

using Language = TextKnob::Language;

/// What a key means; exactly one of the last three counts for a filter.
struct TextPlace {
    NetIndex net = 0; ///< row of Scenario::hosts and of World::nets alike
    Language language{};
    const ScenarioTap* tap = nullptr;
    const ScenarioReceiver* receiver = nullptr;
};

std::string filter_key(const ScenarioTap& tap) { return tap.name + ".filter"; }
std::string filter_key(const ScenarioReceiver& receiver) { return fmt::format(":{}.SO_ATTACH_FILTER", receiver.port); }

std::optional<TextPlace> place_of(const Scenario& scenario, const std::string& whole)
{
    const SettingKey key = split_setting_key(whole);
    for (NetIndex net = 0; net < scenario.hosts.size(); ++net) {
        const ScenarioHost& host = scenario.hosts[net];
        if (host.name != key.host) {
            continue;
        }
        if (key.key == "nft" || key.key == "iptables") {
            return TextPlace{net, key.key == "nft" ? Language::nft : Language::iptables};
        }
        for (const ScenarioTap& tap : host.taps) {
            if (filter_key(tap) == key.key) {
                return TextPlace{net, Language::tcpdump, &tap};
            }
        }
        for (const ScenarioReceiver& receiver : host.receivers) {
            if (filter_key(receiver) == key.key) {
                return TextPlace{net, Language::tcpdump, nullptr, &receiver};
            }
        }
    }
    return std::nullopt;
}

Result<NfRuleset> parse_rules(Language language, const std::string& text)
{
    return language == Language::nft ? parse_nft(text, "nft") : parse_iptables_save(text, "iptables");
}

/// None at all where everything shall pass whole, as libpcap and a socket without SO_ATTACH_FILTER have it.
Result<BpfProgram> compile(const TextPlace& place, const std::string& text)
{
    if (place.receiver != nullptr) {
        return text.empty() ? BpfProgram{} : compile_filter(text, place.receiver->filter_keep, FilterBase::network_header);
    }
    constexpr std::uint32_t above_every_frame = 65535;
    return text.empty() && place.tap->snaplen >= above_every_frame ? BpfProgram{} : compile_filter(text, place.tap->snaplen);
}

/// "nft:3:17" and what was wrong there.
TextFault fault_of(const Error& error)
{
    TextFault fault{0, 0, error.what, error.remedy};
    const std::size_t colon = error.where.rfind(':');
    const std::size_t before = colon == std::string::npos || colon == 0 ? std::string::npos : error.where.rfind(':', colon - 1);
    if (before != std::string::npos) {
        const char* const text = error.where.data();
        std::from_chars(text + before + 1, text + colon, fault.line);
        std::from_chars(text + colon + 1, text + error.where.size(), fault.column);
    }
    return fault;
}

CounterId counter_id(std::uint32_t row) { return static_cast<CounterId>(row); }

/// The lines of the text beside what is installed of it: both come from the same text and stand in the same order.
void add_lines(TextKnob& knob, const NfRuleset& installed, NfTable::Engine engine)
{
    const auto read = parse_rules(knob.language, knob.value);
    if (!read) {
        return;
    }
    auto written = read->tables.begin();
    for (const NfTable& table : installed.tables) {
        if (table.engine != engine || written == read->tables.end()) {
            continue;
        }
        const NfTable& from = *written++;
        for (std::size_t c = 0; c < std::min(table.chains.size(), from.chains.size()); ++c) {
            const NfChain& chain = table.chains[c];
            if (chain.line != 0) {
                knob.lines.push_back({chain.line, counter_id(chain.counter), from.chains[c].packets, chain.note, true});
            }
            for (std::size_t r = 0; r < std::min(chain.rules.size(), from.chains[c].rules.size()); ++r) {
                const NfRule& rule = chain.rules[r];
                const auto& exprs = from.chains[c].rules[r].exprs;
                const auto counter = std::ranges::find(exprs, RuleExpr::Kind::counter, &RuleExpr::kind);
                knob.lines.push_back({rule.line, counter_id(rule.counter), counter == exprs.end() ? 0 : counter->packets, rule.note, false});
            }
        }
    }
}

} // namespace

std::string ModelSource::text_in_force(const std::string& key, const std::string& initial) const
{
    const auto last = std::ranges::find_if(line_.commands.rbegin(), line_.commands.rend(), [&](const Command& c) { return c.text && c.key == key; });
    return last == line_.commands.rend() ? initial : *last->text;
}

std::vector<TextKnob> ModelSource::texts() const
{
    std::vector<TextKnob> all;
    const auto add = [&](const ScenarioHost& host, const std::string& key, std::string title, Language language, const std::string& initial) -> TextKnob& {
        std::string whole = fmt::format("{}/{}", host.name, key);
        std::string value = text_in_force(whole, initial);
        return all.emplace_back(TextKnob{std::move(whole), host.name, std::move(title), language, std::move(value), initial});
    };
    for (NetIndex net = 0; net < scenario_.hosts.size(); ++net) {
        const ScenarioHost& host = scenario_.hosts[net];
        const NfRuleset& installed = world_.nets[net].nf.rules;
        add_lines(add(host, "nft", "nftables rules of " + host.name, Language::nft, host.nft), installed, NfTable::Engine::nft);
        add_lines(add(host, "iptables", "iptables rules of " + host.name, Language::iptables, host.iptables), installed, NfTable::Engine::iptables);
        for (const ScenarioTap& tap : host.taps) {
            add(host, filter_key(tap), "Filter of " + tap.name, Language::tcpdump, tap.filter);
        }
        for (const ScenarioReceiver& receiver : host.receivers) {
            add(host, filter_key(receiver), fmt::format("Filter of the socket :{}", receiver.port), Language::tcpdump, receiver.filter);
        }
    }
    // Sockets that share a port share the key.
    std::vector<TextKnob> once;
    for (TextKnob& knob : all) {
        if (std::ranges::find(once, knob.key, &TextKnob::key) == once.end()) {
            once.push_back(std::move(knob));
        }
    }
    return once;
}

std::optional<TextFault> ModelSource::check_text(const std::string& key, const std::string& text) const
{
    const auto place = place_of(scenario_, key);
    if (!place) {
        return TextFault{0, 0, fmt::format("there is no text '{}' here", key), "HOST/nft, HOST/iptables"};
    }
    if (place->language == Language::tcpdump) {
        const auto compiled = compile(*place, text);
        return compiled ? std::nullopt : std::optional(TextFault{0, 0, compiled.error().what, compiled.error().remedy});
    }
    const auto parsed = parse_rules(place->language, text);
    return parsed ? std::nullopt : std::optional(fault_of(parsed.error()));
}

Result<void> ModelSource::refuse_bad_text(const std::string& key, const std::string& text) const
{
    if (const auto fault = check_text(key, text)) {
        const std::string where = fault->line == 0 ? key : fmt::format("{}:{}:{}", key, fault->line, fault->column);
        return fail(ErrorKind::invalid, where, fault->what, fault->remedy);
    }
    return {};
}

Result<void> ModelSource::set_text(const std::string& key, const std::string& text, SimTime at)
{
    if (auto good = refuse_bad_text(key, text); !good) {
        return good;
    }
    return take({at, key, 0, false, text});
}

Result<void> ModelSource::branch_text(const std::string& key, const std::string& text, SimTime at)
{
    if (auto good = refuse_bad_text(key, text); !good) {
        return good;
    }
    return branch_by({at, key, 0, false, text}, "rewritten");
}

void ModelSource::apply_text(const std::string& key, const std::string& text)
{
    const auto place = place_of(scenario_, key);
    if (!place) {
        return;
    }
    if (place->language != Language::tcpdump) {
        if (auto rules = parse_rules(place->language, text)) {
            const auto engine = place->language == Language::nft ? NfTable::Engine::nft : NfTable::Engine::iptables;
            replace_rules(world_, place->net, engine, std::move(*rules), trace_, scenario_.hosts[place->net].lsm == "apparmor");
        }
        return;
    }
    const auto program = compile(*place, text);
    if (!program) {
        return;
    }
    for (Task& task : world_.tasks) {
        if (task.net != place->net) {
            continue;
        }
        if (place->tap != nullptr && task.program == Program::packet_reader && task.name == place->tap->name) {
            world_.packet_socks[static_cast<std::size_t>(task.packet_sock)].filter = *program;
        } else if (place->receiver != nullptr && task.program == Program::udp_receiver && task.bind_port == place->receiver->port) {
            task.wanted_filter = *program;
            if (task.stage != Task::Stage::start && task.socket >= 0) {
                world_.sockets[static_cast<std::size_t>(task.socket)].filter = *program;
            }
        }
    }
}

std::optional<std::string> ModelSource::scenario_text() const
{
    Scenario now = scenario_;
    for (const Command& command : line_.commands) {
        if (!command.is_action && !command.text) {
            // A knob that a scenario has no key for stays as it was: its range has been checked, only its name can fail.
            (void)apply_setting(now, fmt::format("{}={}", command.key, command.value));
        }
    }
    for (NetIndex net = 0; net < now.hosts.size(); ++net) {
        ScenarioHost& host = now.hosts[net];
        host.nft = text_in_force(host.name + "/nft", host.nft);
        host.iptables = text_in_force(host.name + "/iptables", host.iptables);
        for (ScenarioTap& tap : host.taps) {
            tap.filter = text_in_force(fmt::format("{}/{}", host.name, filter_key(tap)), tap.filter);
        }
        for (ScenarioReceiver& receiver : host.receivers) {
            receiver.filter = text_in_force(fmt::format("{}/{}", host.name, filter_key(receiver)), receiver.filter);
        }
    }
    return to_text(now);
}

} // namespace skbscope
