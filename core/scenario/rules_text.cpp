#include "core/scenario/rules_text.h"

#include "core/packet/ip_address.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <fmt/format.h>
#include <functional>
#include <map>

namespace skbscope::rules {

using namespace kernel;

void complain(const Word& at, std::string what, std::string remedy)
{
    throw Complaint{at.line, at.column, std::move(what), std::move(remedy)};
}

std::uint64_t number(const Word& word, std::string_view text, std::uint64_t most)
{
    const bool hex = text.starts_with("0x");
    const std::string_view digits = hex ? text.substr(2) : text;
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, hex ? 16 : 10);
    if (digits.empty() || error != std::errc{} || end != digits.data() + digits.size()) {
        complain(word, fmt::format("'{}' is no number", text));
    }
    if (value > most) {
        complain(word, fmt::format("{} is too large", text), fmt::format("at most {}", most));
    }
    return value;
}

std::uint32_t ipv4(const Word& word, std::string_view text)
{
    const auto parsed = IpAddress::parse(std::string(text));
    if (!parsed || parsed->v6) {
        complain(word, fmt::format("'{}' is no IPv4 address", text), "names are not looked up");
    }
    return parsed->v4_host_order();
}

RuleRange address_range(const Word& word, std::string_view text, std::uint32_t& prefix)
{
    prefix = 32;
    if (const std::size_t dash = text.find('-'); dash != std::string_view::npos) {
        prefix = 33;
        const RuleRange range{ipv4(word, text.substr(0, dash)), ipv4(word, text.substr(dash + 1))};
        if (range.low > range.high) {
            complain(word, fmt::format("the range {} is empty", text));
        }
        return range;
    }
    const std::size_t slash = text.find('/');
    std::uint32_t address = ipv4(word, text.substr(0, slash));
    if (slash != std::string_view::npos) {
        const std::string_view tail = text.substr(slash + 1);
        if (tail.find('.') != std::string_view::npos) { // 255.255.255.0
            const std::uint32_t netmask = ipv4(word, tail);
            prefix = static_cast<std::uint32_t>(std::popcount(netmask));
            if (prefix != 0 && netmask != ~std::uint32_t{0} << (32 - prefix)) {
                complain(word, fmt::format("the mask {} has holes", tail));
            }
        } else {
            prefix = static_cast<std::uint32_t>(number(word, tail, 32));
        }
    }
    const std::uint32_t mask = prefix == 0 ? 0 : ~std::uint32_t{0} << (32 - prefix);
    address &= mask;
    return {address, address | ~mask};
}

namespace {

std::uint64_t named(const Word& word, std::string_view text, const std::map<std::string_view, std::uint64_t>& names, std::uint64_t most, std::string_view what)
{
    if (const auto found = names.find(text); found != names.end()) {
        return found->second;
    }
    if (text.empty() || (text[0] < '0' || text[0] > '9')) {
        complain(word, fmt::format("unknown {} '{}'", what, text));
    }
    return number(word, text, most);
}

} // namespace

std::uint64_t protocol(const Word& word, std::string_view text)
{
    static const std::map<std::string_view, std::uint64_t> names{{"icmp", 1}, {"igmp", 2}, {"tcp", 6}, {"udp", 17}, {"gre", 47}, {"esp", 50},
                                                                 {"ah", 51}, {"ipv6-icmp", 58}, {"icmpv6", 58}, {"sctp", 132}, {"udplite", 136}};
    return named(word, text, names, 255, "protocol");
}

std::uint64_t port(const Word& word, std::string_view text)
{
    static const std::map<std::string_view, std::uint64_t> names{{"ftp", 21}, {"ssh", 22}, {"telnet", 23}, {"smtp", 25}, {"domain", 53}, {"bootps", 67},
                                                                 {"bootpc", 68}, {"tftp", 69}, {"http", 80}, {"ntp", 123}, {"snmp", 161}, {"https", 443}};
    return named(word, text, names, 65535, "port");
}

RuleRange port_range(const Word& word, std::string_view text, char separator)
{
    const std::size_t at = text.find(separator);
    if (at == std::string_view::npos) {
        const std::uint64_t value = port(word, text);
        return {value, value};
    }
    const std::string_view low = text.substr(0, at), high = text.substr(at + 1);
    const RuleRange range{low.empty() ? 0 : port(word, low), high.empty() ? 65535 : port(word, high)};
    if (range.low > range.high) {
        complain(word, fmt::format("the range {} is empty", text));
    }
    return range;
}

std::uint64_t icmp_type(const Word& word, std::string_view text)
{
    static const std::map<std::string_view, std::uint64_t> names{
        {"echo-reply", 0}, {"pong", 0}, {"destination-unreachable", 3}, {"source-quench", 4}, {"redirect", 5}, {"echo-request", 8}, {"ping", 8},
        {"router-advertisement", 9}, {"router-solicitation", 10}, {"time-exceeded", 11}, {"ttl-exceeded", 11}, {"parameter-problem", 12},
        {"timestamp-request", 13}, {"timestamp-reply", 14}, {"info-request", 15}, {"info-reply", 16}, {"address-mask-request", 17}, {"address-mask-reply", 18}};
    return named(word, text, names, 255, "ICMP type");
}

std::uint8_t unreachable_code(const Word& word, std::string_view text)
{
    static const std::map<std::string_view, std::uint64_t> names{
        {"net-unreachable", 0}, {"host-unreachable", 1}, {"prot-unreachable", 2}, {"proto-unreachable", 2}, {"port-unreachable", 3},
        {"net-prohibited", 9}, {"host-prohibited", 10}, {"admin-prohibited", 13}, {"no-route", 0}};
    if (text.starts_with("icmp-")) {
        text.remove_prefix(5);
    }
    return static_cast<std::uint8_t>(named(word, text, names, 15, "ICMP answer"));
}

std::uint8_t tcp_flag(const Word& word, std::string_view text)
{
    static const std::map<std::string_view, std::uint64_t> names{{"fin", 1}, {"FIN", 1}, {"syn", 2}, {"SYN", 2}, {"rst", 4}, {"RST", 4}, {"psh", 8}, {"PSH", 8},
                                                                 {"ack", 16}, {"ACK", 16}, {"urg", 32}, {"URG", 32}, {"ecn", 64}, {"cwr", 128},
                                                                 {"ALL", 63}, {"NONE", 0}};
    return static_cast<std::uint8_t>(named(word, text, names, 255, "TCP flag"));
}

std::uint8_t ct_state_bit(const Word& word, std::string_view text)
{
    static const std::map<std::string_view, std::uint64_t> names{{"invalid", ct_state::invalid}, {"INVALID", ct_state::invalid}, {"established", ct_state::established},
                                                                 {"ESTABLISHED", ct_state::established}, {"related", ct_state::related}, {"RELATED", ct_state::related},
                                                                 {"new", ct_state::new_}, {"NEW", ct_state::new_}, {"untracked", ct_state::untracked}, {"UNTRACKED", ct_state::untracked}};
    const auto found = names.find(text);
    if (found == names.end()) {
        complain(word, fmt::format("unknown connection state '{}'", text), "new, established, related, invalid, untracked");
    }
    return static_cast<std::uint8_t>(found->second);
}

void nat_target(const Word& word, std::string_view text, RuleExpr& expr)
{
    const std::size_t colon = text.find(':');
    const std::string_view address = text.substr(0, colon);
    if (!address.empty()) {
        std::uint32_t prefix = 0;
        const RuleRange range = address_range(word, address, prefix);
        expr.has_address = true;
        expr.min_address = static_cast<std::uint32_t>(range.low);
        expr.max_address = static_cast<std::uint32_t>(range.high);
    }
    if (colon != std::string_view::npos) {
        const RuleRange range = port_range(word, text.substr(colon + 1), '-');
        expr.has_port = true;
        expr.min_port = static_cast<std::uint16_t>(range.low);
        expr.max_port = static_cast<std::uint16_t>(range.high);
    }
    if (!expr.has_address && !expr.has_port) {
        complain(word, fmt::format("'{}' is neither an address nor a port", text));
    }
}

std::uint64_t unit_ns(const Word& word, std::string_view text)
{
    constexpr std::uint64_t second = 1'000'000'000;
    static const std::map<std::string_view, std::uint64_t> names{
        {"second", second}, {"sec", second}, {"s", second}, {"minute", 60 * second}, {"min", 60 * second}, {"m", 60 * second},
        {"hour", 3600 * second}, {"h", 3600 * second}, {"day", 86400 * second}, {"d", 86400 * second}, {"week", 7 * 86400 * second}};
    const auto found = names.find(text);
    if (found == names.end()) {
        complain(word, fmt::format("unknown unit of time '{}'", text), "second, minute, hour, day");
    }
    return found->second;
}

void check_jumps(const NfTable& table)
{
    // nft_chain_validate(): NFT_JUMP_STACK_SIZE. The kernel knows no limit to what jumps multiply to; a packet would never be done.
    constexpr std::uint64_t deepest = 16, most_passed = 1'000'000;
    struct Chain {
        enum class Colour : std::uint8_t { white, grey, black } colour = Colour::white;
        std::uint64_t height = 1; ///< chains that lie below each other, this one counted
        std::uint64_t rules = 0;  ///< that a packet may pass in here and below
    };
    std::vector<Chain> chains(table.chains.size());
    const auto target_of = [&](const NfRule& rule, const RuleExpr& expr) {
        const Word at{"", rule.line, 1};
        const auto found = std::ranges::find(table.chains, expr.text, &NfChain::name);
        if (found == table.chains.end()) {
            complain(at, fmt::format("there is no chain '{}' in table '{}'", expr.text, table.name));
        }
        if (found->base) {
            complain(at, fmt::format("'{}' hangs on a hook: nothing can jump to it", expr.text));
        }
        const auto target = static_cast<std::size_t>(found - table.chains.begin());
        if (chains[target].colour == Chain::Colour::grey) {
            complain(at, fmt::format("the jump to '{}' leads back to itself", expr.text));
        }
        return target;
    };
    const std::function<void(std::size_t, std::uint64_t)> visit = [&](std::size_t row, std::uint64_t depth) {
        if (chains[row].colour == Chain::Colour::black) {
            return;
        }
        chains[row].colour = Chain::Colour::grey;
        for (const NfRule& rule : table.chains[row].rules) {
            ++chains[row].rules;
            for (const RuleExpr& expr : rule.exprs) {
                if (expr.kind != RuleExpr::Kind::jump && expr.kind != RuleExpr::Kind::go_to) {
                    continue;
                }
                const std::size_t target = target_of(rule, expr);
                if (depth < deepest) { // else it is too deep whatever lies there
                    visit(target, depth + 1);
                }
                chains[row].height = std::max(chains[row].height, depth < deepest ? chains[target].height + 1 : deepest + 1);
                chains[row].rules += chains[target].rules;
            }
            if (chains[row].height > deepest) {
                complain({"", rule.line, 1}, fmt::format("jumps of table '{}' are more than {} deep", table.name, deepest));
            }
            if (chains[row].rules > most_passed) {
                complain({"", rule.line, 1}, fmt::format("jumps from chain '{}' of table '{}' multiply to more than {} rules for one packet",
                                                         table.chains[row].name, table.name, most_passed));
            }
        }
        chains[row].colour = Chain::Colour::black;
    };
    for (std::size_t row = 0; row < chains.size(); ++row) {
        visit(row, 1);
    }
}

} // namespace skbscope::rules
