#pragma once
// What the files of this folder share.

#include "core/kernel/functions.h"

#include <optional>

namespace skbscope::kernel {

/// include/linux/netfilter.h: struct nf_hook_state.
struct NfHookCtx {
    Pf family = Pf::ipv4;
    Hook hook = Hook::pre_routing;
    DeviceIndex in = nothing, out = nothing;
    NetIndex net = 0;
};

/// NF_DROP: whoever called frees the skb. `stolen`: it is gone; `error` is for the sender (0: none).
struct NfVerdict {
    enum class Kind : std::uint8_t { drop, accept, stolen } kind = Kind::accept;
    int error = 0;
    static NfVerdict accept() { return {}; }
    static NfVerdict drop() { return {Kind::drop, 0}; }
    static NfVerdict stolen(int error) { return {Kind::stolen, error}; }
    [[nodiscard]] bool accepted() const { return kind == Kind::accept; }
};

// net/netfilter/nf_tables_core.c, net/ipv4/netfilter/ip_tables.c
NfVerdict nft_do_chain(Kernel& k, SkbIndex skb, const NfHookCtx& state, std::size_t table, std::size_t chain);
NfVerdict ipt_do_table(Kernel& k, SkbIndex skb, const NfHookCtx& state, std::size_t table);

// net/netfilter/nf_conntrack_{core,proto}.c
bool nf_conntrack_defrag(Kernel& k, SkbIndex skb, Hook hook); ///< ipv4_conntrack_defrag; false: kept until the rest comes
NfVerdict nf_conntrack_in(Kernel& k, SkbIndex skb, const NfHookCtx& state);
NfVerdict nf_confirm(Kernel& k, SkbIndex skb, const NfHookCtx& state);
[[nodiscard]] NfConn* nf_ct_get(Kernel& k, SkbIndex skb); ///< null: none; good until a connection is made
/// `to` is an answer to `from`: it is related to the same connection.
void nf_ct_attach(Kernel& k, SkbIndex to, SkbIndex from);
/// The bit that `ct state` asks for.
[[nodiscard]] std::uint8_t ct_state_bit(Kernel& k, SkbIndex skb);
[[nodiscard]] bool nf_conntrack_tuple_taken(Kernel& k, NetIndex net, const NfTuple& tuple, const NfConn* except);
[[nodiscard]] NfTuple nf_ct_invert_tuple(const NfTuple& tuple);

// net/netfilter/nf_nat_{core,proto}.c
/// The hook function of nat at this hook: nf_nat_ipv4_pre_routing and the others.
NfVerdict nf_nat_ipv4(Kernel& k, SkbIndex skb, const NfHookCtx& state);
/// HOOK2MANIP: destination at PRE_ROUTING and LOCAL_OUT, source at the others.
[[nodiscard]] constexpr bool manip_is_source(Hook hook) { return hook == Hook::post_routing || hook == Hook::local_in; }
/// What a snat, dnat, masquerade or redirect expression does. False: the packet must be dropped.
bool nf_nat_apply(Kernel& k, SkbIndex skb, const NfHookCtx& state, const RuleExpr& expr);

} // namespace skbscope::kernel
