#include "core/scenario/install_rules.h"

#include "core/kernel/functions.h"

#include <algorithm>
#include <fmt/format.h>

namespace skbscope {

using namespace kernel;

namespace {

std::string_view name_of(NfTable::Engine engine) { return engine == NfTable::Engine::nft ? "nft" : "iptables"; }

/// A counter of its own for each installation: one that is replaced keeps what it has counted, the new one begins anew.
std::uint32_t add_counter(Trace& trace, HostId host, const std::string& name)
{
    const auto known = [&](const std::string& other) {
        return std::ranges::any_of(trace.counters(), [&](const CounterRecord& counter) { return counter.host == host && counter.name == other; });
    };
    std::string unique = name;
    for (int again = 2; known(unique); ++again) {
        unique = fmt::format("{} (installed {}.)", name, again);
    }
    return static_cast<std::uint32_t>(to_index(trace.add_counter({std::move(unique), host})));
}

bool counts(const NfRule& rule) { return std::ranges::find(rule.exprs, RuleExpr::Kind::counter, &RuleExpr::kind) != rule.exprs.end(); }

void name_rules(World& world, NetIndex net, NfTable& table, Trace& trace)
{
    const HostId host = world.hosts[world.nets[net].host].id;
    const std::string& space = world.nets[net].name;
    const std::string prefix = space.empty() ? std::string() : space + ": ";
    for (NfChain& chain : table.chains) {
        const std::string where = fmt::format("{} table {}, chain {}", name_of(table.engine), table.name, chain.name);
        chain.note = trace.add_note(fmt::format("{}: policy {}", where, chain.policy_accept ? "accept" : "drop"));
        if (chain.base && table.engine == NfTable::Engine::iptables) {
            chain.counter = add_counter(trace, host, fmt::format("{}{}: policy", prefix, where));
        }
        for (std::size_t i = 0; i < chain.rules.size(); ++i) {
            NfRule& rule = chain.rules[i];
            const std::string name = fmt::format("{}, rule {}", where, i + 1);
            rule.note = trace.add_note(fmt::format("{}: {}", name, rule.text));
            if (counts(rule)) {
                rule.counter = add_counter(trace, host, prefix + name);
            }
        }
    }
}

} // namespace

void install_rules(World& world, NetIndex net, NfRuleset rules, Trace& trace, bool apparmor)
{
    for (NfTable& table : rules.tables) {
        name_rules(world, net, table, trace);
    }
    NfState& nf = world.nets[net].nf;
    nf.rules = std::move(rules);
    nf_register_hooks(nf, apparmor);
}

void replace_rules(World& world, NetIndex net, NfTable::Engine engine, NfRuleset rules, Trace& trace, bool apparmor)
{
    for (NfTable& table : rules.tables) {
        name_rules(world, net, table, trace);
    }
    NfState& nf = world.nets[net].nf;
    std::vector<NfTable>& all = nf.rules.tables;
    std::erase_if(all, [&](const NfTable& table) { return table.engine == engine; });
    // nft's first, as when a scenario is read: where two have the same priority, that is the order of the calls.
    const auto place = engine == NfTable::Engine::nft ? all.begin() : all.end();
    all.insert(place, std::make_move_iterator(rules.tables.begin()), std::make_move_iterator(rules.tables.end()));
    nf_register_hooks(nf, apparmor);
}

} // namespace skbscope
