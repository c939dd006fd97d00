#pragma once
// What the readers of nft's and iptables' texts share: words with their places, numbers, addresses, and complaints that
// carry line and column.

#include "core/kernel/netfilter/rules.h"
#include "core/result.h"

#include <string>
#include <string_view>
#include <vector>

namespace skbscope {

/// As `nft list ruleset` prints it: tables of ip, ip6 and inet (docs/scenario-format.md lists what is understood). `name` stands
/// in errors before line and column.
[[nodiscard]] Result<kernel::NfRuleset> parse_nft(std::string_view text, const std::string& name);
/// As `iptables-save` prints it.
[[nodiscard]] Result<kernel::NfRuleset> parse_iptables_save(std::string_view text, const std::string& name);

namespace rules {

struct Word {
    std::string text;
    std::size_t line = 1, column = 1;
    bool quoted = false;
    [[nodiscard]] bool is(std::string_view other) const { return !quoted && text == other; }
};

/// Thrown inside the readers only.
struct Complaint {
    std::size_t line = 1, column = 1;
    std::string what, remedy;
};

[[noreturn]] void complain(const Word& at, std::string what, std::string remedy = {});

inline constexpr std::size_t largest_text = 1 << 20;
inline constexpr std::size_t most_rules = 10'000;

[[nodiscard]] std::uint64_t number(const Word& word, std::string_view text, std::uint64_t most); ///< decimal or 0x…
[[nodiscard]] std::uint32_t ipv4(const Word& word, std::string_view text);
/// "10.0.0.0/8", "10.0.0.1-10.0.0.9", "10.0.0.1"; the prefix length, 33 if it is a range.
[[nodiscard]] kernel::RuleRange address_range(const Word& word, std::string_view text, std::uint32_t& prefix);
[[nodiscard]] std::uint64_t protocol(const Word& word, std::string_view text);
[[nodiscard]] std::uint64_t port(const Word& word, std::string_view text);
/// "80", "80-90" or, with that separator, "80:90".
[[nodiscard]] kernel::RuleRange port_range(const Word& word, std::string_view text, char separator);
[[nodiscard]] std::uint64_t icmp_type(const Word& word, std::string_view text);
/// Of ICMP's destination unreachable: "port-unreachable", "icmp-port-unreachable" …
[[nodiscard]] std::uint8_t unreachable_code(const Word& word, std::string_view text);
[[nodiscard]] std::uint8_t tcp_flag(const Word& word, std::string_view text);
[[nodiscard]] std::uint8_t ct_state_bit(const Word& word, std::string_view text);
/// "10.0.0.1", "10.0.0.1-10.0.0.9", "10.0.0.1:80-90", ":80" into a nat expression.
void nat_target(const Word& word, std::string_view text, kernel::RuleExpr& expr);
/// Nanoseconds of "second", "minute", "hour", "day" and their short forms.
[[nodiscard]] std::uint64_t unit_ns(const Word& word, std::string_view text);
/// Jumps lead to chains that are there, and never back.
void check_jumps(const kernel::NfTable& table);

} // namespace rules
} // namespace skbscope
