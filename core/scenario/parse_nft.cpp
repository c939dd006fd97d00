// What `nft list ruleset` prints -> tables. Dependencies that nft puts into a rule unasked (a port asks for the protocol
// first, an address in an inet table for the family) are put in here, too, so that the calls are the kernel's.

#include "core/scenario/rules_text.h"

#include "core/packet/ip_address.h"

#include <algorithm>
#include <fmt/format.h>
#include <optional>

namespace skbscope {

namespace {

using namespace kernel;
using namespace rules;
using Kind = RuleExpr::Kind;

/// Words; a line's end and ';' are a word ";", braces and commas stand alone.
std::vector<Word> words_of(std::string_view text)
{
    std::vector<Word> words;
    std::size_t line = 1, column = 1;
    const auto end_of_statement = [&] {
        if (!words.empty() && !words.back().is(";") && !words.back().is("{")) {
            words.push_back({";", line, column});
        }
    };
    for (std::size_t at = 0; at < text.size();) {
        const char c = text[at];
        if (c == '\n') {
            end_of_statement();
            ++at, ++line, column = 1;
        } else if (c == '#') {
            while (at < text.size() && text[at] != '\n') {
                ++at;
            }
        } else if (c == ' ' || c == '\t' || c == '\r') {
            ++at, ++column;
        } else if (c == ';') {
            end_of_statement();
            ++at, ++column;
        } else if (c == '"') {
            const std::size_t end = text.find_first_of("\"\n", at + 1);
            if (end == std::string_view::npos || text[end] != '"') {
                complain({"", line, column}, "the quotation mark is not closed");
            }
            words.push_back({std::string(text.substr(at + 1, end - at - 1)), line, column, true});
            column += end + 1 - at;
            at = end + 1;
        } else if (std::string_view("{},()|&").find(c) != std::string_view::npos) {
            if (c == '}') {
                end_of_statement();
            }
            words.push_back({std::string(1, c), line, column});
            ++at, ++column;
        } else {
            std::size_t end = at;
            while (end < text.size() && std::string_view(" \t\r\n;#{},()|&\"").find(text[end]) == std::string_view::npos) {
                ++end;
            }
            words.push_back({std::string(text.substr(at, end - at)), line, column});
            column += end - at;
            at = end;
        }
    }
    end_of_statement();
    words.push_back({"", line, column});
    return words;
}

class NftReader {
public:
    explicit NftReader(std::string_view text) : words_(words_of(text)) {}

    NfRuleset read()
    {
        while (!peek().text.empty() || peek().quoted) {
            if (accept(";")) {
                continue;
            }
            expect("table");
            table();
        }
        return std::move(rules_);
    }

private:
    const Word& peek() const { return words_[at_]; }
    const Word& take()
    {
        const Word& word = words_[at_];
        if (word.text.empty() && !word.quoted) {
            complain(word, "the text ends in the middle");
        }
        ++at_;
        return word;
    }
    bool accept(std::string_view text)
    {
        if (!peek().is(text)) {
            return false;
        }
        ++at_;
        return true;
    }
    void expect(std::string_view text)
    {
        if (!accept(text)) {
            complain(peek(), fmt::format("'{}' is expected here, not '{}'", text, peek().text));
        }
    }
    [[nodiscard]] bool ends() const { return peek().is(";") || peek().is("}") || (peek().text.empty() && !peek().quoted); }

    void table()
    {
        NfTable table;
        const Word& word = take();
        std::string family = word.text;
        if (family == "ip" || family == "ip6" || family == "inet") {
            table.family = family == "ip" ? NfTable::Family::ip : family == "ip6" ? NfTable::Family::ip6 : NfTable::Family::inet;
            table.name = take().text;
        } else if (peek().is("{")) {
            table.name = family; // ip is the usual one
        } else {
            complain(word, fmt::format("tables of family '{}' are not modelled", family), "ip, ip6, inet");
        }
        family_ = table.family;
        for (const NfTable& other : rules_.tables) {
            if (other.name == table.name && other.family == table.family) {
                complain(word, fmt::format("table '{}' stands twice", table.name));
            }
        }
        expect("{");
        while (!accept("}")) {
            if (accept(";")) {
                continue;
            }
            if (accept("comment")) {
                take();
                continue;
            }
            if (!peek().is("chain")) {
                complain(peek(), fmt::format("'{}' is not understood inside a table", peek().text), "chain; named sets, maps and other objects are not modelled");
            }
            take();
            chain(table);
        }
        check_jumps(table);
        rules_.tables.push_back(std::move(table));
    }

    void chain(NfTable& table)
    {
        NfChain chain;
        const Word& name = take();
        chain.name = name.text;
        if (std::ranges::find(table.chains, chain.name, &NfChain::name) != table.chains.end()) {
            complain(name, fmt::format("chain '{}' stands twice", chain.name));
        }
        expect("{");
        while (!accept("}")) {
            if (accept(";")) {
                continue;
            }
            if (peek().is("type")) {
                hook(chain);
            } else if (accept("policy")) {
                const Word& policy = take();
                chain.line = static_cast<std::uint32_t>(policy.line);
                if (!policy.is("accept") && !policy.is("drop")) {
                    complain(policy, fmt::format("policy '{}'", policy.text), "accept or drop");
                }
                chain.policy_accept = policy.is("accept");
            } else if (accept("comment")) {
                take();
            } else {
                chain.rules.push_back(rule(chain));
                if (++rule_count_ > most_rules) {
                    complain(peek(), "too many rules", fmt::format("at most {}", most_rules));
                }
            }
        }
        table.chains.push_back(std::move(chain));
    }

    void hook(NfChain& chain)
    {
        take(); // type
        const Word& type = take();
        if (!type.is("filter") && !type.is("nat") && !type.is("route")) {
            complain(type, fmt::format("chain type '{}'", type.text), "filter, nat, route");
        }
        chain.base = true;
        chain.type = type.is("filter") ? NfChain::Type::filter : type.is("nat") ? NfChain::Type::nat : NfChain::Type::route;
        expect("hook");
        const Word& where = take();
        static constexpr std::pair<std::string_view, Hook> hooks[] = {{"prerouting", Hook::pre_routing}, {"input", Hook::local_in}, {"forward", Hook::forward},
                                                                      {"output", Hook::local_out}, {"postrouting", Hook::post_routing}};
        const auto* found = std::ranges::find(hooks, where.text, &std::pair<std::string_view, Hook>::first);
        if (found == std::end(hooks)) {
            complain(where, fmt::format("hook '{}' is not modelled", where.text), "prerouting, input, forward, output, postrouting");
        }
        chain.hook = found->second;
        if (chain.type == NfChain::Type::nat && chain.hook == Hook::forward) {
            complain(where, "nat has no chain at forward");
        }
        expect("priority");
        chain.priority = priority();
        // A chain of type nat must come behind connection tracking.
        if (chain.type == NfChain::Type::nat && chain.priority <= nf_priority::conntrack) {
            complain(where, fmt::format("priority {} of a nat chain", chain.priority), "above -200");
        }
    }

    std::int32_t priority()
    {
        static constexpr std::pair<std::string_view, std::int32_t> names[] = {{"raw", nf_priority::raw}, {"mangle", nf_priority::mangle}, {"dstnat", nf_priority::nat_dst},
                                                                              {"filter", nf_priority::filter}, {"security", nf_priority::security}, {"srcnat", nf_priority::nat_src}};
        const Word& word = take();
        std::int64_t value = 0;
        const auto* found = std::ranges::find(names, word.text, &std::pair<std::string_view, std::int32_t>::first);
        if (found != std::end(names)) {
            value = found->second;
        } else {
            value = signed_number(word);
        }
        if (peek().is("+") || peek().is("-")) {
            const bool plus = take().is("+");
            const Word& by = take();
            const auto offset = static_cast<std::int64_t>(number(by, by.text, 2147483647));
            value += plus ? offset : -offset;
        }
        return static_cast<std::int32_t>(std::clamp<std::int64_t>(value, -2147483648LL, 2147483647LL));
    }

    static std::int64_t signed_number(const Word& word)
    {
        const bool negative = word.text.starts_with("-");
        const auto value = static_cast<std::int64_t>(number(word, std::string_view(word.text).substr(negative ? 1 : 0), 2147483647));
        return negative ? -value : value;
    }

    // ---- rules ---------------------------------------------------------------------------------------------------------

    NfRule rule(const NfChain& chain)
    {
        NfRule rule;
        rule.line = peek().line;
        protocol_.reset();
        family_known_ = family_ != NfTable::Family::inet;
        const std::size_t first = at_;
        while (!ends()) {
            statement(rule, chain);
        }
        for (std::size_t i = first; i < at_; ++i) {
            if (words_[i].is("counter")) { // its figures are not part of the rule
                rule.text += rule.text.empty() ? "counter" : " counter";
                if (i + 4 < at_ && words_[i + 1].is("packets")) {
                    i += 4;
                }
                continue;
            }
            const bool joins = words_[i].is(",") || rule.text.empty();
            rule.text += (joins ? "" : " ") + (words_[i].quoted ? '"' + words_[i].text + '"' : words_[i].text);
        }
        return rule;
    }

    void statement(NfRule& rule, const NfChain& chain)
    {
        const Word word = take();
        const std::string& t = word.text;
        if (word.quoted) {
            complain(word, fmt::format("\"{}\" does not begin a statement", t));
        }
        if (t == "iif" || t == "iifname" || t == "oif" || t == "oifname") {
            device(rule, t);
        } else if (t == "meta") {
            meta(rule);
        } else if (t == "mark") {
            mark(rule, false);
        } else if (t == "ip") {
            ip(rule, word);
        } else if (t == "ip6") {
            ip6(rule);
        } else if (t == "tcp" || t == "udp" || t == "th" || t == "sctp" || t == "udplite") {
            transport(rule, word);
        } else if (t == "icmp") {
            icmp(rule);
        } else if (t == "ct") {
            ct(rule);
        } else if (t == "limit") {
            limit(rule);
        } else if (t == "counter") {
            RuleExpr& expr = add(rule, Kind::counter);
            if (accept("packets")) {
                const Word& packets = take();
                expr.packets = number(packets, packets.text, UINT64_MAX);
                expect("bytes");
                const Word& bytes = take();
                expr.bytes = number(bytes, bytes.text, UINT64_MAX);
            }
        } else if (t == "log") {
            log(rule);
        } else if (t == "comment") {
            take();
        } else if (t == "notrack") {
            add(rule, Kind::notrack);
        } else if (t == "accept") {
            add(rule, Kind::accept);
        } else if (t == "drop") {
            add(rule, Kind::drop);
        } else if (t == "return") {
            add(rule, Kind::return_);
        } else if (t == "continue") {
            // goes on with the next rule: what happens anyway
        } else if (t == "jump" || t == "goto") {
            const std::string target = take().text;
            add(rule, t == "jump" ? Kind::jump : Kind::go_to).text = target;
        } else if (t == "reject") {
            reject(rule);
        } else if (t == "snat" || t == "dnat" || t == "masquerade" || t == "redirect") {
            nat(rule, chain, word);
        } else {
            complain(word, fmt::format("statement '{}' is not understood", t), "docs/scenario-format.md lists what is");
        }
    }

    static RuleExpr& add(NfRule& rule, Kind kind)
    {
        rule.exprs.emplace_back().kind = kind;
        return rule.exprs.back();
    }

    bool negation()
    {
        if (accept("!=")) {
            return true;
        }
        accept("==");
        return false;
    }

    /// One value, or a set of them; `read` makes a range of a word.
    template <typename Read>
    void values(RuleExpr& expr, Read read)
    {
        expr.invert = negation();
        if (!accept("{")) {
            const Word word = take();
            expr.ranges.push_back(read(word));
            return;
        }
        expr.is_set = true;
        do {
            const Word word = take();
            expr.ranges.push_back(read(word));
        } while (accept(","));
        accept(";");
        expect("}");
    }

    void device(NfRule& rule, const std::string& which)
    {
        RuleExpr& expr = add(rule, which[0] == 'i' ? Kind::iif : Kind::oif);
        expr.invert = negation();
        if (peek().is("{")) {
            complain(peek(), "sets of devices are not modelled");
        }
        expr.text = take().text;
    }

    void meta(NfRule& rule)
    {
        const Word word = take();
        if (word.is("iif") || word.is("iifname") || word.is("oif") || word.is("oifname")) {
            device(rule, word.text);
        } else if (word.is("l4proto")) {
            RuleExpr& expr = add(rule, Kind::l4proto);
            values(expr, [&](const Word& w) { const auto p = protocol(w, w.text); return RuleRange{p, p}; });
            remember_protocol(expr);
        } else if (word.is("nfproto")) {
            RuleExpr& expr = add(rule, Kind::nfproto);
            values(expr, [&](const Word& w) {
                const std::uint64_t value = w.is("ipv4") ? 2 : w.is("ipv6") ? 10 : number(w, w.text, 255);
                return RuleRange{value, value};
            });
            family_known_ = true;
        } else if (word.is("mark")) {
            mark(rule, false);
        } else if (word.is("length")) {
            values(add(rule, Kind::length), [&](const Word& w) { return numbers(w, 65535); });
        } else if (word.is("pkttype")) {
            values(add(rule, Kind::pkt_type), [&](const Word& w) {
                const std::uint64_t value = w.is("host") || w.is("unicast") ? 0 : w.is("broadcast") ? 1 : w.is("multicast") ? 2 : w.is("other") ? 3 : 255;
                if (value == 255) {
                    complain(w, fmt::format("unknown packet type '{}'", w.text), "host, broadcast, multicast, other");
                }
                return RuleRange{value, value};
            });
        } else {
            complain(word, fmt::format("'meta {}' is not modelled", word.text), "iif, iifname, oif, oifname, l4proto, nfproto, mark, length, pkttype");
        }
    }

    static RuleRange numbers(const Word& word, std::uint64_t most)
    {
        const std::size_t dash = word.text.find('-');
        if (dash == std::string::npos) {
            const std::uint64_t value = number(word, word.text, most);
            return {value, value};
        }
        const RuleRange range{number(word, std::string_view(word.text).substr(0, dash), most), number(word, std::string_view(word.text).substr(dash + 1), most)};
        if (range.low > range.high) {
            complain(word, fmt::format("the range {} is empty", word.text));
        }
        return range;
    }

    void mark(NfRule& rule, bool of_connection)
    {
        if (accept("set")) {
            const Word& value = take();
            RuleExpr& expr = add(rule, of_connection ? Kind::set_ct_mark : Kind::set_mark);
            expr.mask = 0xffffffff;
            expr.value = number(value, value.text, 0xffffffff);
            return;
        }
        RuleExpr& expr = add(rule, of_connection ? Kind::ct_mark : Kind::mark);
        expr.mask = 0xffffffff;
        if (accept("&")) {
            const Word& mask = take();
            expr.mask = number(mask, mask.text, 0xffffffff);
        }
        values(expr, [&](const Word& w) { return numbers(w, 0xffffffff); });
    }

    void need_family(NfRule& rule, std::uint64_t family)
    {
        if (!family_known_) {
            add(rule, Kind::nfproto).ranges = {{family, family}};
            family_known_ = true;
        }
    }

    void need_protocol(NfRule& rule, std::uint64_t protocol)
    {
        if (protocol_ != protocol) {
            add(rule, Kind::l4proto).ranges = {{protocol, protocol}};
            protocol_ = protocol;
        }
    }

    void remember_protocol(const RuleExpr& expr)
    {
        if (!expr.invert && expr.ranges.size() == 1) {
            protocol_ = expr.ranges[0].low;
        }
    }

    void ip(NfRule& rule, const Word& at)
    {
        if (family_ == NfTable::Family::ip6) {
            complain(at, "'ip' in a table of family ip6");
        }
        const Word word = take();
        need_family(rule, 2);
        if (word.is("saddr") || word.is("daddr")) {
            RuleExpr& expr = add(rule, word.is("saddr") ? Kind::saddr : Kind::daddr);
            std::uint32_t prefix = 32;
            values(expr, [&](const Word& w) { return address_range(w, w.text, prefix); });
            expr.mask = prefix;
        } else if (word.is("protocol")) {
            RuleExpr& expr = add(rule, Kind::ip_protocol);
            values(expr, [&](const Word& w) { const auto p = protocol(w, w.text); return RuleRange{p, p}; });
            remember_protocol(expr);
        } else if (word.is("ttl")) {
            values(add(rule, Kind::ttl), [&](const Word& w) { return numbers(w, 255); });
        } else if (word.is("length")) {
            values(add(rule, Kind::length), [&](const Word& w) { return numbers(w, 65535); });
        } else {
            complain(word, fmt::format("'ip {}' is not modelled", word.text), "saddr, daddr, protocol, ttl, length");
        }
    }

    void ip6(NfRule& rule)
    {
        const Word word = take();
        if (family_ == NfTable::Family::ip) {
            complain(word, "'ip6' in a table of family ip");
        }
        need_family(rule, 10);
        if (!word.is("saddr") && !word.is("daddr")) {
            complain(word, fmt::format("'ip6 {}' is not modelled", word.text), "saddr, daddr");
        }
        RuleExpr& expr = add(rule, word.is("saddr") ? Kind::saddr6 : Kind::daddr6);
        expr.invert = negation();
        const Word value = take();
        const std::size_t slash = value.text.find('/');
        const auto parsed = IpAddress::parse(value.text.substr(0, slash));
        if (!parsed || !parsed->v6) {
            complain(value, fmt::format("'{}' is no IPv6 address", value.text));
        }
        std::ranges::copy(parsed->bytes, expr.address6.begin());
        expr.prefix6 = slash == std::string::npos ? std::uint8_t{128} : static_cast<std::uint8_t>(number(value, std::string_view(value.text).substr(slash + 1), 128));
    }

    void transport(NfRule& rule, const Word& protocol_word)
    {
        if (!protocol_word.is("th")) {
            need_protocol(rule, protocol(protocol_word, protocol_word.text));
        }
        const Word word = take();
        if (word.is("sport") || word.is("dport")) {
            values(add(rule, word.is("sport") ? Kind::sport : Kind::dport), [&](const Word& w) { return port_range(w, w.text, '-'); });
        } else if (word.is("flags") && protocol_word.is("tcp")) {
            flags(rule);
        } else {
            complain(word, fmt::format("'{} {}' is not modelled", protocol_word.text, word.text), "sport, dport; of tcp also flags");
        }
    }

    std::uint64_t flag_list(bool& several)
    {
        std::uint64_t flags = 0;
        const bool parenthesis = accept("(");
        several = false;
        for (;;) {
            const Word word = take();
            flags |= tcp_flag(word, word.text);
            if (!accept("|") && !accept(",")) {
                break;
            }
            several = true;
        }
        if (parenthesis) {
            expect(")");
        }
        return flags;
    }

    /// "flags syn" (any of them), "flags & (fin | syn) == syn", "flags syn / fin,syn".
    void flags(NfRule& rule)
    {
        RuleExpr expr;
        expr.kind = Kind::tcp_flags;
        bool several = false;
        if (accept("&")) {
            expr.mask = flag_list(several);
            expr.invert = negation();
            expr.value = peek().is("0x0") || peek().is("0") ? (take(), 0) : flag_list(several);
        } else {
            const bool exact = peek().is("==") || peek().is("!=");
            expr.invert = negation();
            expr.value = flag_list(several);
            if (accept("/")) {
                expr.mask = flag_list(several);
            } else if (exact) {
                expr.mask = 0xff;
            } else { // any of the flags: not none of them
                expr.mask = expr.value;
                expr.value = 0;
                expr.invert = !expr.invert;
            }
        }
        rule.exprs.push_back(std::move(expr));
    }

    void icmp(NfRule& rule)
    {
        need_protocol(rule, 1);
        const Word word = take();
        if (word.is("type")) {
            values(add(rule, Kind::icmp_type), [&](const Word& w) { const auto t = icmp_type(w, w.text); return RuleRange{t, t}; });
        } else if (word.is("code")) {
            values(add(rule, Kind::icmp_code), [&](const Word& w) { const std::uint64_t c = unreachable_code(w, w.text); return RuleRange{c, c}; });
        } else {
            complain(word, fmt::format("'icmp {}' is not modelled", word.text), "type, code");
        }
    }

    void ct(NfRule& rule)
    {
        const Word word = take();
        if (word.is("mark")) {
            mark(rule, true);
            return;
        }
        if (!word.is("state")) {
            complain(word, fmt::format("'ct {}' is not modelled", word.text), "state, mark");
        }
        RuleExpr& expr = add(rule, Kind::ct_state);
        expr.invert = negation();
        const bool set = accept("{");
        do {
            const Word state = take();
            expr.mask |= ct_state_bit(state, state.text);
        } while (accept(","));
        if (set) {
            accept(";");
            expect("}");
        }
    }

    void limit(NfRule& rule)
    {
        expect("rate");
        RuleExpr& expr = add(rule, Kind::limit);
        expr.limit_over = accept("over");
        const Word rate = take();
        const std::size_t slash = rate.text.find('/');
        std::string unit;
        std::uint64_t factor = 1;
        if (slash != std::string::npos) {
            expr.limit_rate = number(rate, std::string_view(rate.text).substr(0, slash), 1'000'000'000);
            unit = rate.text.substr(slash + 1);
        } else {
            expr.limit_rate = number(rate, rate.text, 1'000'000'000);
            const Word bytes = take();
            const std::size_t cut = bytes.text.find('/');
            const std::string what = bytes.text.substr(0, cut);
            factor = what == "bytes" ? 1 : what == "kbytes" ? 1024 : what == "mbytes" ? 1048576 : 0;
            if (factor == 0 || cut == std::string::npos) {
                complain(bytes, fmt::format("'{}' is no rate", bytes.text), "such as 10/second or 1 mbytes/second");
            }
            expr.limit_bytes = true;
            unit = bytes.text.substr(cut + 1);
        }
        expr.limit_rate *= factor;
        expr.limit_unit_ns = unit_ns(rate, unit);
        expr.limit_burst = expr.limit_bytes ? 0 : 5;
        if (accept("burst")) {
            const Word burst = take();
            expr.limit_burst = static_cast<std::uint32_t>(number(burst, burst.text, 1'000'000'000));
            const Word what = take();
            if (!what.is("packets") && !what.is("bytes") && !what.is("kbytes")) {
                complain(what, fmt::format("burst in '{}'", what.text), "packets or bytes");
            }
            expr.limit_burst *= what.is("kbytes") ? 1024 : 1;
        }
        if (expr.limit_rate == 0 || expr.limit_rate > expr.limit_unit_ns) {
            complain(rate, fmt::format("a rate of {}", expr.limit_rate), fmt::format("1 … {}", expr.limit_unit_ns));
        }
    }

    void log(NfRule& rule)
    {
        RuleExpr& expr = add(rule, Kind::log);
        for (;;) {
            if (accept("prefix")) {
                expr.text = take().text;
            } else if (peek().is("level") || peek().is("flags") || peek().is("group") || peek().is("snaplen")) {
                take();
                take();
                while (accept(",")) {
                    take();
                }
            } else {
                return;
            }
        }
    }

    void reject(NfRule& rule)
    {
        RuleExpr& expr = add(rule, Kind::reject);
        if (!accept("with")) {
            return;
        }
        const Word word = take();
        if (word.is("tcp")) {
            expect("reset");
            expr.reject_tcp_reset = true;
        } else if (word.is("icmp") || word.is("icmpx")) {
            accept("type");
            const Word code = take();
            expr.reject_code = unreachable_code(code, code.text);
        } else {
            complain(word, fmt::format("reject with '{}'", word.text), "icmp TYPE");
        }
    }

    void nat(NfRule& rule, const NfChain& chain, const Word& word)
    {
        RuleExpr expr;
        expr.kind = word.is("snat") ? Kind::snat : word.is("dnat") ? Kind::dnat : word.is("masquerade") ? Kind::masquerade : Kind::redirect;
        const bool source = expr.kind == Kind::snat || expr.kind == Kind::masquerade;
        const bool here = source ? chain.hook == Hook::post_routing || (chain.hook == Hook::local_in && expr.kind == Kind::snat)
                                 : chain.hook == Hook::pre_routing || chain.hook == Hook::local_out;
        if (chain.base && (chain.type != NfChain::Type::nat || !here)) {
            complain(word, fmt::format("{} does not stand in such a chain", word.text),
                     source ? "in one of type nat at postrouting" : "in one of type nat at prerouting or output");
        }
        if (peek().is("ip")) {
            take();
        }
        if (accept("to")) {
            const Word target = take();
            nat_target(target, target.text, expr);
        } else if (expr.kind == Kind::snat || expr.kind == Kind::dnat) {
            complain(word, fmt::format("{} needs 'to ADDRESS'", word.text));
        }
        while (!ends()) {
            if (accept("random")) {
                expr.random = true;
            } else if (accept("fully-random")) {
                expr.fully_random = true;
            } else if (accept("persistent")) {
                expr.persistent = true;
            } else if (!accept(",")) {
                break;
            }
        }
        rule.exprs.push_back(std::move(expr));
    }

    std::vector<Word> words_;
    std::size_t at_ = 0;
    NfRuleset rules_;
    NfTable::Family family_ = NfTable::Family::ip;
    std::optional<std::uint64_t> protocol_; ///< that this rule has asked for
    bool family_known_ = true;
    std::size_t rule_count_ = 0;
};

} // namespace

Result<NfRuleset> parse_nft(std::string_view text, const std::string& name)
{
    if (text.size() > largest_text) {
        return fail(ErrorKind::invalid, name, "the rules are too long", "at most 1 MiB");
    }
    try {
        return NftReader(text).read();
    } catch (const Complaint& complaint) {
        return fail(ErrorKind::invalid, fmt::format("{}:{}:{}", name, complaint.line, complaint.column), complaint.what, complaint.remedy);
    }
}

} // namespace skbscope
