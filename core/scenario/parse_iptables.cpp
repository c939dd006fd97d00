// What `iptables-save` prints -> tables. A rule is its questions, a counter, and its target.

#include "core/scenario/rules_text.h"

#include <algorithm>
#include <fmt/format.h>

namespace skbscope {

namespace {

using namespace kernel;
using namespace rules;
using Kind = RuleExpr::Kind;

struct BuiltIn {
    std::string_view chain;
    Hook hook;
};

constexpr BuiltIn built_in[] = {{"PREROUTING", Hook::pre_routing}, {"INPUT", Hook::local_in}, {"FORWARD", Hook::forward},
                                {"OUTPUT", Hook::local_out}, {"POSTROUTING", Hook::post_routing}};

struct TableKind {
    std::string_view name;
    std::int32_t priority;
    std::initializer_list<Hook> hooks;
};

const TableKind table_kinds[] = {
    {"raw", nf_priority::raw, {Hook::pre_routing, Hook::local_out}},
    {"mangle", nf_priority::mangle, {Hook::pre_routing, Hook::local_in, Hook::forward, Hook::local_out, Hook::post_routing}},
    {"nat", nf_priority::nat_dst, {Hook::pre_routing, Hook::local_in, Hook::local_out, Hook::post_routing}},
    {"filter", nf_priority::filter, {Hook::local_in, Hook::forward, Hook::local_out}},
    {"security", nf_priority::security, {Hook::local_in, Hook::forward, Hook::local_out}},
};

std::vector<Word> words_of_line(std::string_view text, std::size_t line)
{
    std::vector<Word> words;
    for (std::size_t at = 0; at < text.size();) {
        if (text[at] == ' ' || text[at] == '\t' || text[at] == '\r') {
            ++at;
            continue;
        }
        Word word{"", line, at + 1};
        if (text[at] == '"') {
            word.quoted = true;
            for (++at; at < text.size() && text[at] != '"'; ++at) {
                at += text[at] == '\\' && at + 1 < text.size() ? 1 : 0;
                word.text += text[at];
            }
            if (at >= text.size()) {
                complain(word, "the quotation mark is not closed");
            }
            ++at;
        } else {
            while (at < text.size() && text[at] != ' ' && text[at] != '\t' && text[at] != '\r') {
                word.text += text[at++];
            }
        }
        words.push_back(std::move(word));
    }
    return words;
}

class IptablesReader {
public:
    NfRuleset read(std::string_view text)
    {
        std::size_t line = 0;
        while (!text.empty()) {
            const std::size_t end = std::min(text.find('\n'), text.size());
            line_of(text.substr(0, end), ++line);
            text.remove_prefix(std::min(end + 1, text.size()));
        }
        if (open_) {
            complain({"", line + 1, 1}, fmt::format("table '{}' is not closed", table_.name), "COMMIT ends a table");
        }
        return std::move(rules_);
    }

private:
    void line_of(std::string_view text, std::size_t line)
    {
        words_ = words_of_line(text, line);
        at_ = 0;
        if (words_.empty() || words_[0].text.starts_with("#")) {
            return;
        }
        const Word& first = words_[0];
        if (first.text.starts_with("*")) {
            begin_table(first);
        } else if (!open_) {
            complain(first, fmt::format("'{}' stands outside a table", first.text), "*filter begins one");
        } else if (first.is("COMMIT")) {
            check_jumps(table_);
            rules_.tables.push_back(std::move(table_));
            open_ = false;
        } else if (first.text.starts_with(":")) {
            declare_chain(first);
        } else {
            rule_line();
        }
    }

    void begin_table(const Word& word)
    {
        if (open_) {
            complain(word, fmt::format("table '{}' is not closed", table_.name), "COMMIT ends a table");
        }
        const std::string name = word.text.substr(1);
        const auto* kind = std::ranges::find(table_kinds, name, &TableKind::name);
        if (kind == std::end(table_kinds)) {
            complain(word, fmt::format("there is no table '{}'", name), "raw, mangle, nat, filter, security");
        }
        if (std::ranges::find(rules_.tables, name, &NfTable::name) != rules_.tables.end()) {
            complain(word, fmt::format("table '{}' stands twice", name));
        }
        table_ = {};
        table_.name = name;
        table_.engine = NfTable::Engine::iptables;
        for (const Hook hook : kind->hooks) {
            NfChain chain;
            chain.name = std::ranges::find(built_in, hook, &BuiltIn::hook)->chain;
            chain.base = true;
            chain.hook = hook;
            chain.type = name == "nat" ? NfChain::Type::nat : NfChain::Type::filter;
            chain.priority = name == "nat" && (hook == Hook::local_in || hook == Hook::post_routing) ? nf_priority::nat_src : kind->priority;
            table_.chains.push_back(std::move(chain));
        }
        open_ = true;
    }

    void counters(const Word& word, std::uint64_t& packets, std::uint64_t& bytes)
    {
        const std::size_t colon = word.text.find(':');
        if (!word.text.ends_with("]") || colon == std::string::npos) {
            complain(word, fmt::format("'{}' are no counters", word.text), "[packets:bytes]");
        }
        packets = number(word, std::string_view(word.text).substr(1, colon - 1), UINT64_MAX);
        bytes = number(word, std::string_view(word.text).substr(colon + 1, word.text.size() - colon - 2), UINT64_MAX);
    }

    void declare_chain(const Word& word)
    {
        const std::string name = word.text.substr(1);
        const std::string policy = words_.size() > 1 ? words_[1].text : "-";
        auto found = std::ranges::find(table_.chains, name, &NfChain::name);
        if (found == table_.chains.end()) {
            if (policy != "-") {
                complain(word, fmt::format("a chain of one's own has no policy: '{}'", policy), "-");
            }
            table_.chains.emplace_back().name = name;
            return;
        }
        if (!found->base || (policy != "ACCEPT" && policy != "DROP")) {
            complain(word, fmt::format("chain '{}' with policy '{}'", name, policy), "ACCEPT or DROP, once");
        }
        found->policy_accept = policy == "ACCEPT";
        found->line = static_cast<std::uint32_t>(word.line);
        if (words_.size() > 2) {
            counters(words_[2], found->packets, found->bytes);
        }
    }

    // ---- a rule --------------------------------------------------------------------------------------------------------

    [[nodiscard]] bool more() const { return at_ < words_.size(); }
    const Word& take(std::string_view what)
    {
        if (!more()) {
            complain(words_.back(), fmt::format("{} lacks its value", what));
        }
        return words_[at_++];
    }

    void rule_line()
    {
        NfRule rule;
        rule.line = words_[0].line;
        RuleExpr counter;
        counter.kind = Kind::counter;
        if (words_[0].text.starts_with("[")) {
            counters(words_[0], counter.packets, counter.bytes);
            ++at_;
        }
        const std::size_t first = at_;
        const Word append = take("the rule");
        if (!append.is("-A") && !append.is("--append")) {
            complain(append, fmt::format("'{}' is not understood", append.text), "a rule begins with -A CHAIN");
        }
        const Word name = take("-A");
        const auto chain = std::ranges::find(table_.chains, name.text, &NfChain::name);
        if (chain == table_.chains.end()) {
            complain(name, fmt::format("there is no chain '{}' in table '{}'", name.text, table_.name));
        }
        protocol_ = 0;
        RuleExpr target;
        target.kind = Kind::return_;
        bool has_target = false;
        while (more()) {
            option(rule, *chain, target, has_target);
        }
        rule.exprs.push_back(std::move(counter));
        if (has_target) {
            rule.exprs.push_back(std::move(target));
        }
        for (std::size_t i = first; i < words_.size(); ++i) {
            rule.text += (i == first ? "" : " ") + (words_[i].quoted ? '"' + words_[i].text + '"' : words_[i].text);
        }
        chain->rules.push_back(std::move(rule));
        if (++rule_count_ > most_rules) {
            complain(words_[0], "too many rules", fmt::format("at most {}", most_rules));
        }
    }

    static RuleExpr& add(NfRule& rule, Kind kind, bool invert)
    {
        rule.exprs.emplace_back().kind = kind;
        rule.exprs.back().invert = invert;
        return rule.exprs.back();
    }

    void option(NfRule& rule, const NfChain& chain, RuleExpr& target, bool& has_target)
    {
        Word word = take("the rule");
        bool invert = false;
        if (word.is("!")) {
            invert = true;
            word = take("!");
        }
        const std::string& t = word.text;
        const auto needs_ports = [&] {
            if (protocol_ != 6 && protocol_ != 17 && protocol_ != 132 && protocol_ != 136) {
                complain(word, fmt::format("{} needs -p tcp or -p udp before it", t));
            }
        };
        if (t == "-s" || t == "--source" || t == "-d" || t == "--destination") {
            RuleExpr& expr = add(rule, t == "-s" || t == "--source" ? Kind::saddr : Kind::daddr, invert);
            const Word& value = take(t);
            std::uint32_t prefix = 0;
            expr.ranges.push_back(address_range(value, value.text, prefix));
            expr.mask = prefix;
        } else if (t == "-i" || t == "--in-interface" || t == "-o" || t == "--out-interface") {
            add(rule, t == "-i" || t == "--in-interface" ? Kind::iif : Kind::oif, invert).text = take(t).text;
        } else if (t == "-p" || t == "--protocol") {
            const Word& value = take(t);
            if (value.is("all")) {
                return;
            }
            const std::uint64_t number = protocol(value, value.text);
            add(rule, Kind::l4proto, invert).ranges = {{number, number}};
            protocol_ = invert ? 0 : number;
        } else if (t == "-f" || t == "--fragment") {
            add(rule, Kind::fragment, invert);
        } else if (t == "-m" || t == "--match") {
            module(take(t));
        } else if (t == "--sport" || t == "--source-port" || t == "--dport" || t == "--destination-port") {
            needs_ports();
            const Word& value = take(t);
            add(rule, t == "--sport" || t == "--source-port" ? Kind::sport : Kind::dport, invert).ranges = {port_range(value, value.text, ':')};
        } else if (t == "--sports" || t == "--dports") {
            needs_ports();
            RuleExpr& expr = add(rule, t == "--sports" ? Kind::sport : Kind::dport, invert);
            const Word& value = take(t);
            each(value.text, [&](std::string_view part) { expr.ranges.push_back(port_range(value, part, ':')); });
        } else if (t == "--tcp-flags" || t == "--syn") {
            tcp_flags(rule, word, invert);
        } else if (t == "--icmp-type") {
            icmp(rule, invert);
        } else if (t == "--state" || t == "--ctstate") {
            RuleExpr& expr = add(rule, Kind::ct_state, invert);
            const Word& value = take(t);
            each(value.text, [&](std::string_view part) { expr.mask |= ct_state_bit(value, part); });
        } else if (t == "--mark") {
            RuleExpr& expr = add(rule, module_ == "connmark" ? Kind::ct_mark : Kind::mark, invert);
            std::uint64_t value = 0;
            value_and_mask(take(t), value, expr.mask);
            expr.ranges = {{value, value}};
        } else if (t == "--limit") {
            limit(rule, invert);
        } else if (t == "--limit-burst") {
            const Word& value = take(t);
            if (rule.exprs.empty() || rule.exprs.back().kind != Kind::limit) {
                complain(word, "--limit-burst without --limit before it");
            }
            rule.exprs.back().limit_burst = static_cast<std::uint32_t>(number(value, value.text, 10000));
        } else if (t == "--pkt-type") {
            const Word& value = take(t);
            const std::uint64_t type = value.is("unicast") ? 0 : value.is("broadcast") ? 1 : value.is("multicast") ? 2 : 255;
            if (type == 255) {
                complain(value, fmt::format("unknown packet type '{}'", value.text), "unicast, broadcast, multicast");
            }
            add(rule, Kind::pkt_type, invert).ranges = {{type, type}};
        } else if (t == "--comment") {
            take(t);
        } else if (t == "-j" || t == "--jump" || t == "-g" || t == "--goto") {
            jump(chain, target, word);
            has_target = true;
        } else {
            complain(word, fmt::format("option '{}' is not understood", t), "docs/scenario-format.md lists what is");
        }
    }

    template <typename Use>
    static void each(std::string_view list, Use use)
    {
        for (;;) {
            const std::size_t comma = list.find(',');
            use(list.substr(0, comma));
            if (comma == std::string_view::npos) {
                return;
            }
            list.remove_prefix(comma + 1);
        }
    }

    void module(const Word& word)
    {
        static constexpr std::string_view known[] = {"tcp", "udp", "icmp", "multiport", "state", "conntrack", "mark", "connmark", "limit", "comment", "pkttype"};
        if (std::ranges::find(known, word.text) == std::end(known)) {
            complain(word, fmt::format("module '{}' is not modelled", word.text), fmt::format("{}", fmt::join(known, ", ")));
        }
        module_ = word.text;
    }

    void tcp_flags(NfRule& rule, const Word& word, bool invert)
    {
        if (protocol_ != 6) {
            complain(word, fmt::format("{} needs -p tcp before it", word.text));
        }
        RuleExpr& expr = add(rule, Kind::tcp_flags, invert);
        if (word.is("--syn")) {
            expr.mask = 2 | 4 | 16 | 1;
            expr.value = 2;
            return;
        }
        const Word mask = take(word.text);
        const Word set = take(word.text);
        each(mask.text, [&](std::string_view part) { expr.mask |= tcp_flag(mask, part); });
        each(set.text, [&](std::string_view part) { expr.value |= tcp_flag(set, part); });
    }

    void icmp(NfRule& rule, bool invert)
    {
        const Word& value = take("--icmp-type");
        if (protocol_ != 1) {
            complain(value, "--icmp-type needs -p icmp before it");
        }
        if (value.is("any")) {
            return;
        }
        const std::size_t slash = value.text.find('/');
        const std::string_view text = value.text;
        const std::uint64_t type = icmp_type(value, text.substr(0, slash));
        add(rule, Kind::icmp_type, invert).ranges = {{type, type}};
        if (slash != std::string::npos) {
            const std::uint64_t code = number(value, text.substr(slash + 1), 255);
            add(rule, Kind::icmp_code, invert).ranges = {{code, code}};
        }
    }

    void value_and_mask(const Word& word, std::uint64_t& value, std::uint64_t& mask)
    {
        const std::string_view text = word.text;
        const std::size_t slash = text.find('/');
        value = number(word, text.substr(0, slash), 0xffffffff);
        mask = slash == std::string_view::npos ? 0xffffffff : number(word, text.substr(slash + 1), 0xffffffff);
    }

    void limit(NfRule& rule, bool invert)
    {
        RuleExpr& expr = add(rule, Kind::limit, invert);
        const Word& value = take("--limit");
        const std::string_view text = value.text;
        const std::size_t slash = text.find('/');
        expr.limit_rate = number(value, text.substr(0, slash), 10000);
        expr.limit_unit_ns = unit_ns(value, slash == std::string_view::npos ? "second" : text.substr(slash + 1));
        if (expr.limit_rate == 0) {
            complain(value, "a rate of 0", "1/day … 10000/second");
        }
    }

    void jump(const NfChain& chain, RuleExpr& target, const Word& how)
    {
        const Word word = take(how.text);
        const std::string& t = word.text;
        const bool nat_chain = table_.name == "nat";
        const auto only_at = [&](bool here, std::string_view where) {
            if (chain.base && (!nat_chain || !here)) {
                complain(word, fmt::format("{} does not stand in chain {} of table {}", t, chain.name, table_.name), std::string(where));
            }
        };
        if (how.is("-g") || how.is("--goto")) {
            target.kind = Kind::go_to;
            target.text = t;
        } else if (t == "ACCEPT" || t == "DROP" || t == "RETURN") {
            target.kind = t == "ACCEPT" ? Kind::accept : t == "DROP" ? Kind::drop : Kind::return_;
        } else if (t == "REJECT") {
            target.kind = Kind::reject;
            if (next_is("--reject-with")) {
                const Word& with = take("--reject-with");
                if (with.is("tcp-reset")) {
                    target.reject_tcp_reset = true;
                } else {
                    target.reject_code = unreachable_code(with, with.text);
                }
            }
        } else if (t == "LOG") {
            target.kind = Kind::log;
            for (;;) {
                if (next_is("--log-prefix")) {
                    target.text = take("--log-prefix").text;
                } else if (next_is("--log-level")) {
                    take("--log-level");
                } else if (!next_is("--log-tcp-options") && !next_is("--log-ip-options") && !next_is("--log-tcp-sequence") && !next_is("--log-uid")) {
                    break;
                }
            }
        } else if (t == "MARK") {
            target.kind = Kind::set_mark;
            const bool exclusive = next_is("--set-xmark");
            if (!exclusive && !next_is("--set-mark")) {
                complain(word, "MARK needs --set-mark or --set-xmark");
            }
            value_and_mask(take("MARK"), target.value, target.mask);
            if (!exclusive) { // --set-mark: value | mask are cleared first
                target.mask |= target.value;
            }
        } else if (t == "NOTRACK" || t == "CT") {
            target.kind = Kind::notrack;
            if (t == "CT" && !next_is("--notrack")) {
                complain(word, "of CT only --notrack is modelled");
            }
            if (table_.name != "raw") {
                complain(word, fmt::format("{} stands in table raw only", t));
            }
        } else if (t == "SNAT" || t == "MASQUERADE") {
            target.kind = t == "SNAT" ? Kind::snat : Kind::masquerade;
            only_at(chain.hook == Hook::post_routing || (chain.hook == Hook::local_in && t == "SNAT"), "in POSTROUTING of nat");
            nat(target, word, t == "SNAT" ? "--to-source" : "--to-ports");
        } else if (t == "DNAT" || t == "REDIRECT") {
            target.kind = t == "DNAT" ? Kind::dnat : Kind::redirect;
            only_at(chain.hook == Hook::pre_routing || chain.hook == Hook::local_out, "in PREROUTING or OUTPUT of nat");
            nat(target, word, t == "DNAT" ? "--to-destination" : "--to-ports");
        } else if (std::ranges::find(table_.chains, t, &NfChain::name) != table_.chains.end()) {
            target.kind = Kind::jump;
            target.text = t;
        } else {
            complain(word, fmt::format("target '{}' is neither modelled nor a chain of table '{}'", t, table_.name));
        }
    }

    bool next_is(std::string_view text)
    {
        if (!more() || !words_[at_].is(text)) {
            return false;
        }
        ++at_;
        return true;
    }

    void nat(RuleExpr& target, const Word& word, std::string_view option_name)
    {
        bool has_target = false;
        for (;;) {
            if (next_is(option_name)) {
                const Word& value = take(option_name);
                const bool ports_only = option_name == "--to-ports";
                nat_target(value, ports_only ? ":" + value.text : value.text, target);
                has_target = true;
            } else if (next_is("--random")) {
                target.random = true;
            } else if (next_is("--random-fully")) {
                target.fully_random = true;
            } else if (next_is("--persistent")) {
                target.persistent = true;
            } else {
                break;
            }
        }
        if (!has_target && option_name != "--to-ports") {
            complain(word, fmt::format("{} needs {}", word.text, option_name));
        }
    }

    std::vector<Word> words_;
    std::size_t at_ = 0;
    NfRuleset rules_;
    NfTable table_;
    bool open_ = false;
    std::uint64_t protocol_ = 0;
    std::string module_;
    std::size_t rule_count_ = 0;
};

} // namespace

Result<NfRuleset> parse_iptables_save(std::string_view text, const std::string& name)
{
    if (text.size() > largest_text) {
        return fail(ErrorKind::invalid, name, "the rules are too long", "at most 1 MiB");
    }
    try {
        return IptablesReader().read(text);
    } catch (const Complaint& complaint) {
        return fail(ErrorKind::invalid, fmt::format("{}:{}:{}", name, complaint.line, complaint.column), complaint.what, complaint.remedy);
    }
}

} // namespace skbscope
