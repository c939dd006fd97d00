#pragma once
// Packet filter rules as values: tables, chains and rules of nftables (net/netfilter/nf_tables_api.c) and of the older
// iptables (net/ipv4/netfilter/ip_tables.c). One form for both: a rule is a row of expressions, evaluated from the left
// until one does not hold. core/scenario reads them from what `nft list ruleset` and `iptables-save` print.

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace skbscope::kernel {

/// include/uapi/linux/netfilter.h
enum class Hook : std::uint8_t { pre_routing, local_in, forward, local_out, post_routing };
inline constexpr std::size_t hook_count = 5;
enum class Pf : std::uint8_t { ipv4, ipv6 };

/// include/uapi/linux/netfilter_ipv4.h: enum nf_ip_hook_priorities; the same numbers for IPv6.
namespace nf_priority {
inline constexpr std::int32_t first = -2147483647 - 1, raw_before_defrag = -450, conntrack_defrag = -400, raw = -300, selinux_first = -225,
                              conntrack = -200, mangle = -150, nat_dst = -100, filter = 0, security = 50, nat_src = 100, selinux_last = 225,
                              conntrack_helper = 300, conntrack_confirm = 2147483647;
}

/// include/uapi/linux/netfilter/nf_conntrack_common.h: NF_CT_STATE_*, as `ct state` masks.
namespace ct_state {
inline constexpr std::uint8_t invalid = 1 << 0, established = 1 << 1, related = 1 << 2, new_ = 1 << 3, untracked = 1 << 4;
}

/// From … to, both included.
struct RuleRange {
    std::uint64_t low = 0, high = 0;
    bool operator==(const RuleRange&) const = default;
};

/// One expression of a rule: it asks something of the packet, or does something.
struct RuleExpr {
    enum class Kind : std::uint8_t {
        // asks
        iif, oif,                   ///< device by name; `text` may end in '*' (nft) or '+' (iptables)
        nfproto,                    ///< of an inet table: NFPROTO_IPV4 2, NFPROTO_IPV6 10
        saddr, daddr,               ///< ranges of IPv4 addresses
        saddr6, daddr6,             ///< `address6`/`prefix6`
        l4proto,                    ///< meta l4proto
        ip_protocol,                ///< the byte of the IPv4 header
        sport, dport,
        tcp_flags,                  ///< (flags & mask) compared with value
        icmp_type, icmp_code,
        ct_state,                   ///< any bit of mask
        mark, ct_mark,              ///< (mark & mask) == low of the ranges
        fragment,                   ///< not the first piece of a datagram
        pkt_type,                   ///< PACKET_HOST 0, BROADCAST 1, MULTICAST 2
        length, ttl,
        limit,                      ///< token bucket
        // does
        counter, log, set_mark, set_ct_mark, notrack,
        // decides
        accept, drop, reject, return_, jump, go_to, snat, dnat, masquerade, redirect,
    } kind{};
    bool invert = false;
    bool is_set = false;            ///< written as a set { … }: looked up, not compared
    std::vector<RuleRange> ranges;  ///< any of them
    std::uint64_t mask = 0, value = 0;
    std::string text;               ///< device; log prefix; chain of a jump
    std::array<std::uint8_t, 16> address6{};
    std::uint8_t prefix6 = 128;

    // limit: nft_limit.c and xt_limit.c
    std::uint64_t limit_rate = 0;    ///< packets (or bytes) in limit_unit_ns
    std::uint64_t limit_unit_ns = 0; ///< nanoseconds
    std::uint32_t limit_burst = 5;
    bool limit_bytes = false, limit_over = false;
    std::uint64_t limit_tokens = 0, limit_last_ns = 0; ///< state
    bool limit_begun = false;

    // reject
    std::uint8_t reject_code = 3; ///< ICMP unreachable code
    bool reject_tcp_reset = false; ///< a RST instead

    // snat, dnat, masquerade, redirect: struct nf_nat_range2
    bool has_address = false, has_port = false, random = false, fully_random = false, persistent = false;
    std::uint32_t min_address = 0, max_address = 0;
    std::uint16_t min_port = 0, max_port = 0;

    // counter: state
    std::uint64_t packets = 0, bytes = 0;
    bool operator==(const RuleExpr&) const = default;
};

struct NfRule {
    std::vector<RuleExpr> exprs;
    std::string text;          ///< as it was written, without its counters
    std::uint32_t line = 0;    ///< of the text that it was read from
    std::uint32_t note = 0;    ///< row of Trace::notes() that names it; filled when it is installed, like `counter`
    std::uint32_t counter = 0; ///< row of Trace::counters() that follows its packets; 0: the rule counts nothing
    bool operator==(const NfRule&) const = default;
};

struct NfChain {
    std::string name;
    bool base = false;
    enum class Type : std::uint8_t { filter, nat, route } type = Type::filter;
    Hook hook = Hook::pre_routing;
    std::int32_t priority = 0;
    bool policy_accept = true;
    std::uint64_t packets = 0, bytes = 0; ///< of the policy (iptables)
    std::vector<NfRule> rules;
    std::uint32_t line = 0;               ///< of the text where its policy stands; 0: nowhere
    std::uint32_t note = 0;               ///< of its policy
    std::uint32_t counter = 0;            ///< of its policy's packets (iptables); 0: they are not counted
    bool operator==(const NfChain&) const = default;
};

struct NfTable {
    std::string name;
    enum class Engine : std::uint8_t { nft, iptables } engine = Engine::nft;
    enum class Family : std::uint8_t { ip, ip6, inet } family = Family::ip;
    std::vector<NfChain> chains;
    bool operator==(const NfTable&) const = default;
};

struct NfRuleset {
    std::vector<NfTable> tables;
    [[nodiscard]] bool empty() const { return tables.empty(); }
    bool operator==(const NfRuleset&) const = default;
};

} // namespace skbscope::kernel
