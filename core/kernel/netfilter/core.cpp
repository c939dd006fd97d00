// net/netfilter/core.c: the five hooks. What is registered on one is called in ascending priority. A hook on which nothing
// is registered is not called at all (the kernel's static key skips it) and leaves no step.

#include "core/kernel/netfilter/netfilter.h"

namespace skbscope::kernel {

namespace {

constexpr int EPERM_ = -1;

NfVerdict call(Kernel& k, const NfHookEntry& entry, SkbIndex skb, const NfHookCtx& state)
{
    switch (entry.fn) {
    case NfHookEntry::Fn::apparmor_ip_postroute: {
        Call hook(k, k.profile() == Profile::v5_10 ? fn::apparmor_ipv4_postroute : fn::apparmor_ip_postroute,
                  skb);
        return NfVerdict::accept(); // no secmark
    }
    case NfHookEntry::Fn::nft_chain: {
        const bool inet = k.net(state.net).nf.rules.tables[entry.table].family == NfTable::Family::inet;
        Call hook(k, inet ? fn::nft_do_chain_inet : fn::nft_do_chain_ipv4, skb);
        return nft_do_chain(k, skb, state, entry.table, entry.chain);
    }
    case NfHookEntry::Fn::ipt_table: return ipt_do_table(k, skb, state, entry.table);
    case NfHookEntry::Fn::conntrack_defrag:
        return nf_conntrack_defrag(k, skb, state.hook) ? NfVerdict::accept() : NfVerdict::stolen(0);
    case NfHookEntry::Fn::conntrack_in:
    case NfHookEntry::Fn::conntrack_local: {
        Call hook(
            k, entry.fn == NfHookEntry::Fn::conntrack_in ? fn::ipv4_conntrack_in : fn::ipv4_conntrack_local,
            skb);
        return nf_conntrack_in(k, skb, state);
    }
    case NfHookEntry::Fn::confirm: return nf_confirm(k, skb, state);
    case NfHookEntry::Fn::nat: return nf_nat_ipv4(k, skb, state);
    }
    return NfVerdict::accept();
}

/// As nf_hook(): 1 go on, 0 stolen, negative dropped.
int nf_hook_slow(Kernel& k, SkbIndex skb, const NfHookCtx& state)
{
    Call slow(k, fn::nf_hook_slow, skb);
    const auto family = static_cast<std::size_t>(state.family), hook = static_cast<std::size_t>(state.hook);
    // Entries are looked up anew each time: what a hook calls may run other namespaces' code.
    for (std::size_t i = 0; i < k.net(state.net).nf.hooks[family][hook].size(); ++i) {
        const NfHookEntry entry = k.net(state.net).nf.hooks[family][hook][i];
        const NfVerdict verdict = call(k, entry, skb, state);
        if (verdict.kind == NfVerdict::Kind::drop) {
            kfree_skb_reason(k, skb, drop::NETFILTER_DROP, fn::nf_hook_slow);
            return verdict.error != 0 ? verdict.error : EPERM_;
        }
        if (verdict.kind == NfVerdict::Kind::stolen) {
            return verdict.error;
        }
    }
    return 1;
}

NfHookCtx state_of(Kernel& k, Pf family, Hook hook, DeviceIndex in, DeviceIndex out)
{
    return {family, hook, in, out, k.dev_net(in != nothing ? in : out)};
}

bool is_empty(Kernel& k, const NfHookCtx& state)
{
    return k.net(state.net)
        .nf.hooks[static_cast<std::size_t>(state.family)][static_cast<std::size_t>(state.hook)]
        .empty();
}

/// nf_hook_entries_grow(): before the first one whose priority is not lower, so of equals the youngest is called first.
void add(std::vector<NfHookEntry>& entries, const NfHookEntry& entry)
{
    auto place = entries.begin();
    while (place != entries.end() && place->priority < entry.priority) {
        ++place;
    }
    entries.insert(place, entry);
}

class Registrar {
public:
    explicit Registrar(NfState& nf) : nf_(nf) {}

    void apparmor()
    {
        for (auto& family : nf_.hooks) {
            add(family[at(Hook::post_routing)],
                {NfHookEntry::Fn::apparmor_ip_postroute, nf_priority::selinux_first, 0, 0});
        }
    }

    void rules()
    {
        for (std::size_t t = 0; t < nf_.rules.tables.size(); ++t) {
            const NfTable& table = nf_.rules.tables[t];
            if (table.engine == NfTable::Engine::iptables) {
                iptables(t);
            } else {
                nft(t);
            }
        }
    }

private:
    static std::size_t at(Hook hook) { return static_cast<std::size_t>(hook); }

    static bool tracks(const RuleExpr& expr)
    {
        switch (expr.kind) {
        case RuleExpr::Kind::ct_state:
        case RuleExpr::Kind::ct_mark:
        case RuleExpr::Kind::set_ct_mark:
        case RuleExpr::Kind::snat:
        case RuleExpr::Kind::dnat:
        case RuleExpr::Kind::masquerade:
        case RuleExpr::Kind::redirect: return true;
        default: return false;
        }
    }

    /// nf_ct_netns_get(): the first rule that needs connections brings their hooks.
    void conntrack_for(const NfTable& table)
    {
        for (const NfChain& chain : table.chains) {
            for (const NfRule& rule : chain.rules) {
                for (const RuleExpr& expr : rule.exprs) {
                    if (tracks(expr) && !tracking_) {
                        tracking_ = true;
                        using Fn = NfHookEntry::Fn;
                        auto& hooks = nf_.hooks[0];
                        add(hooks[at(Hook::pre_routing)],
                            {Fn::conntrack_defrag, nf_priority::conntrack_defrag, 0, 0});
                        add(hooks[at(Hook::local_out)],
                            {Fn::conntrack_defrag, nf_priority::conntrack_defrag, 0, 0});
                        add(hooks[at(Hook::pre_routing)], {Fn::conntrack_in, nf_priority::conntrack, 0, 0});
                        add(hooks[at(Hook::local_out)], {Fn::conntrack_local, nf_priority::conntrack, 0, 0});
                        add(hooks[at(Hook::post_routing)],
                            {Fn::confirm, nf_priority::conntrack_confirm, 0, 0});
                        add(hooks[at(Hook::local_in)], {Fn::confirm, nf_priority::conntrack_confirm, 0, 0});
                    }
                }
            }
        }
    }

    /// nf_nat_register_fn(): the first chain of type nat brings the four hooks of nat.
    void nat_lookup(Hook hook, const NfHookEntry& entry)
    {
        if (!nat_) {
            nat_ = true;
            add(nf_.hooks[0][at(Hook::pre_routing)], {NfHookEntry::Fn::nat, nf_priority::nat_dst, 0, 0});
            add(nf_.hooks[0][at(Hook::post_routing)], {NfHookEntry::Fn::nat, nf_priority::nat_src, 0, 0});
            add(nf_.hooks[0][at(Hook::local_out)], {NfHookEntry::Fn::nat, nf_priority::nat_dst, 0, 0});
            add(nf_.hooks[0][at(Hook::local_in)], {NfHookEntry::Fn::nat, nf_priority::nat_src, 0, 0});
        }
        add(nf_.nat_lookups[at(hook)], entry);
    }

    void nft(std::size_t t)
    {
        const NfTable& table = nf_.rules.tables[t];
        for (std::size_t c = 0; c < table.chains.size(); ++c) {
            const NfChain& chain = table.chains[c];
            if (!chain.base) {
                continue;
            }
            const NfHookEntry entry{NfHookEntry::Fn::nft_chain, chain.priority, static_cast<std::uint16_t>(t),
                                    static_cast<std::uint16_t>(c)};
            if (chain.type == NfChain::Type::nat) {
                if (table.family != NfTable::Family::ip6) {
                    nat_lookup(chain.hook, entry);
                }
                continue;
            }
            if (table.family != NfTable::Family::ip6) {
                add(nf_.hooks[0][at(chain.hook)], entry);
            }
            if (table.family != NfTable::Family::ip) {
                add(nf_.hooks[1][at(chain.hook)], entry);
            }
        }
        conntrack_for(table);
    }

    void iptables(std::size_t t)
    {
        const NfTable& table = nf_.rules.tables[t];
        for (const NfChain& chain : table.chains) {
            if (!chain.base) {
                continue;
            }
            const NfHookEntry entry{NfHookEntry::Fn::ipt_table, chain.priority, static_cast<std::uint16_t>(t),
                                    0};
            if (chain.type == NfChain::Type::nat) {
                nat_lookup(chain.hook, entry);
            } else {
                add(nf_.hooks[0][at(chain.hook)], entry);
            }
        }
        conntrack_for(table);
    }

    NfState& nf_;
    bool tracking_ = false, nat_ = false;
};

} // namespace

void nf_register_hooks(NfState& nf, bool apparmor)
{
    for (auto& family : nf.hooks) {
        for (auto& entries : family) {
            entries.clear();
        }
    }
    for (auto& entries : nf.nat_lookups) {
        entries.clear();
    }
    Registrar registrar(nf);
    if (apparmor) {
        registrar.apparmor(); // at boot, before any rule
    }
    registrar.rules();
}

int nf_hook(Kernel& k, Pf family, Hook hook, SkbIndex skb, DeviceIndex in, DeviceIndex out)
{
    const NfHookCtx state = state_of(k, family, hook, in, out);
    return is_empty(k, state) ? 1 : nf_hook_slow(k, skb, state);
}

SkbList nf_hook_list(Kernel& k, Pf family, Hook hook, SkbList list, DeviceIndex in, DeviceIndex out)
{
    const NfHookCtx state = state_of(k, family, hook, in, out);
    if (is_empty(k, state)) {
        return list;
    }
    Call slow(k, fn::nf_hook_slow_list);
    SkbList accepted;
    for (const SkbIndex skb : list) {
        if (nf_hook_slow(k, skb, state) == 1) {
            accepted.push_back(skb);
        }
    }
    return accepted;
}

} // namespace skbscope::kernel
