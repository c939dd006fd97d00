#include "core/recording/filter.h"

#include "core/catalog/catalog.h"
#include "core/packet/build.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <fmt/format.h>
#include <pcap/pcap.h>

namespace skbscope {

namespace {

struct Token {
    std::string_view text;
    std::size_t at = 0; ///< in the whole filter
    int depth = 0;      ///< of parentheses around it
};

bool stands_alone(char c)
{
    return c == '(' || c == ')' || c == '!';
}

std::vector<Token> tokens_of(std::string_view text)
{
    std::vector<Token> tokens;
    int depth = 0;
    int brackets = 0; // ip[0] & 1: what stands in brackets is arithmetic
    for (std::size_t i = 0; i < text.size();) {
        const char c = text[i];
        if (std::isspace(static_cast<unsigned char>(c)) != 0) {
            ++i;
            continue;
        }
        std::size_t end = i + 1;
        if (c == '<' || c == '>' || c == '=' || (c == '!' && text.substr(i, 2) == "!=")) {
            end += text.substr(end, 1) == "=" ? 1 : 0;
        } else if (text.substr(i, 2) == "&&" || text.substr(i, 2) == "||") {
            end = i + 2;
        } else if (!stands_alone(c)) {
            while (end < text.size() && std::isspace(static_cast<unsigned char>(text[end])) == 0 &&
                   std::string_view("()!<>=").find(text[end]) == std::string_view::npos &&
                   text.substr(end, 2) != "&&" && text.substr(end, 2) != "||") {
                ++end;
            }
        }
        const std::string_view token = text.substr(i, end - i);
        depth -= token == ")" ? 1 : 0;
        tokens.push_back({token, i, depth + brackets});
        depth += token == "(" ? 1 : 0;
        brackets += static_cast<int>(std::ranges::count(token, '[') - std::ranges::count(token, ']'));
        i = end;
    }
    return tokens;
}

bool is_and(const Token& token) { return token.text == "and" || token.text == "&&"; }
bool is_or(const Token& token) { return token.text == "or" || token.text == "||"; }
bool is_not(const Token& token) { return token.text == "not" || token.text == "!"; }

bool is_ours(std::string_view word)
{
    return word == "drop" || word == "reason" || word == "function" || word == "latency";
}

tl::unexpected<Error> wrong(std::size_t at, std::string what, std::string remedy = {})
{
    return fail(ErrorKind::invalid, fmt::format("filter, column {}", at + 1), std::move(what), std::move(remedy));
}

constexpr auto or_remedy = "put the part with 'or' in parentheses, or ask twice";

struct CompiledFilter {
    bpf_program program{};
    ~CompiledFilter() { pcap_freecode(&program); }
};

Result<std::shared_ptr<const void>> compile_pcap(const std::string& text)
{
    const std::unique_ptr<pcap_t, decltype(&pcap_close)> handle(pcap_open_dead(DLT_EN10MB, 262144), pcap_close);
    auto compiled = std::make_shared<CompiledFilter>();
    if (pcap_compile(handle.get(), &compiled->program, text.c_str(), 1, PCAP_NETMASK_UNKNOWN) != 0) {
        std::string reason = pcap_geterr(handle.get());
        std::ranges::replace(reason, '\n', ' ');
        return fail(ErrorKind::invalid, fmt::format("filter '{}'", text), reason,
                    "pcap-filter(7) has the language; drop, reason, function and latency join it by 'and'");
    }
    return std::shared_ptr<const void>(std::move(compiled));
}

Result<Duration> parse_duration(std::string_view text, std::size_t at)
{
    double number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
    const double factor = unit == "ns" ? 1 : unit == "us" || unit == "µs" ? 1e3 : unit == "ms" ? 1e6 : unit == "s" ? 1e9 : 0;
    // 1e6 s: far behind every trace, and within 64 bits of nanoseconds.
    if (error != std::errc{} || factor == 0 || !(number >= 0) || number * factor > 1e15) {
        return wrong(at, fmt::format("'{}' is no time", text), "such as 800ns, 50us, 2.5ms, 1s");
    }
    return Duration{std::llround(number * factor)};
}

} // namespace

class FilterParser {
public:
    FilterParser(std::string_view text, const Trace* trace) : text_(text), trace_(trace) {}

    Result<TraceFilter> run()
    {
        std::vector<Token> tokens = tokens_of(text_);
        if (auto parsed = conjuncts(tokens, 0); !parsed) {
            return tl::unexpected(parsed.error());
        }
        filter_.text_ = text_;
        if (!rest_.empty()) {
            auto program = compile_pcap(rest_);
            if (!program) {
                return tl::unexpected(program.error());
            }
            filter_.program_ = std::move(*program);
        }
        return std::move(filter_);
    }

private:
    using Tokens = std::span<const Token>;

    /// `a and b and c` at the given depth of parentheses.
    Result<void> conjuncts(Tokens tokens, int depth)
    {
        const Token* clause_before_or = nullptr;
        std::size_t begin = 0;
        for (std::size_t i = 0; i <= tokens.size(); ++i) {
            const bool cut = i == tokens.size() || (tokens[i].depth == depth && is_and(tokens[i]));
            if (!cut) {
                if (tokens[i].depth == depth && is_or(tokens[i]) && clause_before_or != nullptr) {
                    return wrong(clause_before_or->at, fmt::format("'{}' cannot stand in an 'or'", clause_before_or->text),
                                 or_remedy);
                }
                continue;
            }
            const Tokens part = tokens.subspan(begin, i - begin);
            if (part.empty() && tokens.size() > 0) {
                const std::size_t at = i < tokens.size() ? tokens[i].at : text_.size();
                return wrong(at, "a clause is missing beside 'and'");
            }
            if (!part.empty()) {
                auto ours = conjunct(part, depth);
                if (!ours) {
                    return tl::unexpected(ours.error());
                }
                clause_before_or = *ours != nullptr ? *ours : clause_before_or;
            }
            begin = i + 1;
        }
        return {};
    }

    /// Gives the clause's word if it was one of ours.
    Result<const Token*> conjunct(Tokens part, int depth)
    {
        std::size_t nots = 0;
        while (nots < part.size() && is_not(part[nots])) {
            ++nots;
        }
        const Tokens bare = part.subspan(nots);
        if (!bare.empty() && is_ours(bare[0].text)) {
            auto parsed = clause(bare, nots % 2 != 0);
            if (!parsed) {
                return tl::unexpected(parsed.error());
            }
            return &bare[0];
        }
        const bool wrapped = nots == 0 && bare.size() > 2 && bare.front().text == "(" && bare.back().text == ")" &&
                             bare.front().depth == depth && bare.back().depth == depth &&
                             std::ranges::count_if(bare, [&](const Token& t) { return t.depth == depth; }) == 2;
        const auto hidden = std::ranges::find_if(bare, [&](const Token& t) { return begins_clause(bare, t); });
        if (hidden == bare.end()) {
            const std::size_t from = part.front().at;
            const std::string_view words = text_.substr(from, part.back().at + part.back().text.size() - from);
            rest_ += rest_.empty() ? "" : " and ";
            rest_ += words;
            return nullptr;
        }
        if (!wrapped) {
            return wrong(hidden->at, fmt::format("'{}' cannot stand here", hidden->text),
                         "it joins the rest of the filter by 'and', and may be negated by 'not'");
        }
        auto inner = conjuncts(bare.subspan(1, bare.size() - 2), depth + 1);
        if (!inner) {
            return tl::unexpected(inner.error());
        }
        return &*hidden;
    }

    /// One of our words where a clause can begin (`host drop` is a host's name).
    static bool begins_clause(Tokens tokens, const Token& token)
    {
        if (!is_ours(token.text)) {
            return false;
        }
        const auto index = static_cast<std::size_t>(&token - tokens.data());
        if (index == 0) {
            return true;
        }
        const Token& before = tokens[index - 1];
        return is_and(before) || is_or(before) || is_not(before) || before.text == "(";
    }

    Result<void> clause(Tokens part, bool negated)
    {
        TraceFilter::Clause clause;
        clause.negated = negated;
        const std::string_view word = part[0].text;
        std::size_t used = 1;
        if (word == "reason" || word == "function") {
            if (part.size() < 2) {
                return wrong(part[0].at + word.size(), fmt::format("'{}' needs a name", word));
            }
            auto named = word == "reason" ? reason(clause, part[1]) : function(clause, part[1]);
            if (!named) {
                return named;
            }
            used = 2;
        } else if (word == "latency") {
            if (auto compared = latency(clause, part, used); !compared) {
                return compared;
            }
        } else {
            clause.kind = TraceFilter::Clause::Kind::drop;
        }
        if (used < part.size() && is_or(part[used])) {
            return wrong(part[0].at, fmt::format("'{}' cannot stand in an 'or'", word), or_remedy);
        }
        if (used < part.size()) {
            return wrong(part[used].at, fmt::format("'{}' is not expected behind '{}'", part[used].text, word),
                         "clauses are joined by 'and'");
        }
        filter_.clauses_.push_back(clause);
        return {};
    }

    Result<void> reason(TraceFilter::Clause& clause, const Token& name)
    {
        clause.kind = TraceFilter::Clause::Kind::reason;
        constexpr std::string_view prefix = "SKB_DROP_REASON_";
        std::string wanted(name.text.starts_with(prefix) ? name.text.substr(prefix.size()) : name.text);
        std::ranges::transform(wanted, wanted.begin(),
                               [](char c) { return static_cast<char>(std::toupper(static_cast<unsigned char>(c))); });
        clause.reason = Catalog::find_drop_reason(wanted);
        if (clause.reason == DropReasonId::none) {
            return wrong(name.at, fmt::format("no drop reason is called '{}'", name.text),
                         "such as SOCKET_RCVBUFF, CPU_BACKLOG, NO_SOCKET");
        }
        return {};
    }

    Result<void> function(TraceFilter::Clause& clause, const Token& name)
    {
        clause.kind = TraceFilter::Clause::Kind::function;
        clause.function = Catalog::find_function(name.text);
        if (clause.function == FunctionId::none && trace_ != nullptr) {
            const auto own = std::ranges::find(trace_->own_functions(), name.text);
            if (own != trace_->own_functions().end()) {
                clause.function =
                    static_cast<FunctionId>(Catalog::function_count() + (own - trace_->own_functions().begin()));
            }
        }
        if (clause.function == FunctionId::none) {
            return wrong(name.at, fmt::format("no function is called '{}'", name.text), "skbscope catalog lists them");
        }
        return {};
    }

    Result<void> latency(TraceFilter::Clause& clause, Tokens part, std::size_t& used)
    {
        clause.kind = TraceFilter::Clause::Kind::latency;
        const std::size_t behind = part[0].at + part[0].text.size();
        if (part.size() < 3) {
            return wrong(behind, "'latency' needs a comparison and a time", "such as latency > 50us");
        }
        const std::string_view comparison = part[1].text;
        using C = TraceFilter::Comparison;
        if (comparison == "<") {
            clause.comparison = C::less;
        } else if (comparison == "<=") {
            clause.comparison = C::less_equal;
        } else if (comparison == "=" || comparison == "==") {
            clause.comparison = C::equal;
        } else if (comparison == ">=") {
            clause.comparison = C::greater_equal;
        } else if (comparison == ">") {
            clause.comparison = C::greater;
        } else {
            return wrong(part[1].at, fmt::format("'{}' is no comparison", comparison), "<, <=, =, >= or >");
        }
        // "50 us" is two tokens, and as good as "50us".
        std::string text(part[2].text);
        used = 3;
        if (part.size() > 3) {
            text += part[3].text;
            used = 4;
        }
        auto duration = parse_duration(text, part[2].at);
        if (!duration) {
            return tl::unexpected(duration.error());
        }
        clause.duration = *duration;
        return {};
    }

    std::string_view text_;
    const Trace* trace_;
    TraceFilter filter_;
    std::string rest_; ///< what is libpcap's
};

Result<TraceFilter> TraceFilter::compile(std::string_view text, const Trace* trace)
{
    return FilterParser(text, trace).run();
}

bool TraceFilter::asks_for_times() const
{
    return std::ranges::any_of(clauses_, [](const Clause& clause) { return clause.kind == Clause::Kind::latency; });
}

bool TraceFilter::matches(const Trace& trace, const JourneyIndex& journeys, PacketId packet) const
{
    for (const Clause& clause : clauses_) {
        if (holds(clause, trace, journeys, packet) == clause.negated) {
            return false;
        }
    }
    if (!program_) {
        return true;
    }
    std::span<const std::uint8_t> frame = trace.frame(packet);
    std::vector<std::uint8_t> made;
    const PacketRecord& record = trace.packet(packet);
    if (frame.empty()) {
        if (!record.flow) {
            return false;
        }
        made = frame_of_flow(*record.flow);
        frame = made;
    }
    pcap_pkthdr header{};
    header.caplen = static_cast<bpf_u_int32>(frame.size());
    header.len = std::max(header.caplen, record.length);
    const auto* compiled = static_cast<const CompiledFilter*>(program_.get());
    return pcap_offline_filter(&compiled->program, &header, frame.data()) != 0;
}

bool TraceFilter::holds(const Clause& clause, const Trace& trace, const JourneyIndex& journeys, PacketId packet)
{
    const PacketRecord& record = trace.packet(packet);
    switch (clause.kind) {
    case Clause::Kind::drop: return record.verdict == Verdict::dropped;
    case Clause::Kind::reason: return record.verdict == Verdict::dropped && record.reason == clause.reason;
    case Clause::Kind::function: {
        const Journey journey = journeys.journey(packet);
        return std::ranges::any_of(
            journey.steps, [&](const Step& step) { return trace[step.ordinal].function_id() == clause.function; });
    }
    case Clause::Kind::latency: break;
    }
    const auto latency = latency_of(trace, journeys, packet);
    if (!latency) {
        return clause.negated; // unknown: neither above nor below
    }
    switch (clause.comparison) {
    case Comparison::less: return *latency < clause.duration;
    case Comparison::less_equal: return *latency <= clause.duration;
    case Comparison::equal: return *latency == clause.duration;
    case Comparison::greater_equal: return *latency >= clause.duration;
    case Comparison::greater: return *latency > clause.duration;
    }
    return false;
}

std::optional<Duration> latency_of(const Trace& trace, const JourneyIndex& journeys, PacketId packet)
{
    const PacketRecord& record = trace.packet(packet);
    if (record.birth == never) {
        return std::nullopt;
    }
    for (const std::uint32_t ordinal : journeys.events_of(packet)) {
        const Event& event = trace[ordinal];
        const EventKind kind = event.event_kind();
        if (kind == EventKind::drop || kind == EventKind::merge ||
            (kind == EventKind::verdict && event.verdict() != Verdict::in_flight && event.verdict() != Verdict::lost)) {
            return event.time() - record.birth;
        }
    }
    if (record.death == never) {
        return std::nullopt;
    }
    return record.death - record.birth;
}

std::vector<PacketId> matching_packets(const Trace& trace, const JourneyIndex& journeys, const TraceFilter& filter,
                                       const std::optional<Between>& between)
{
    std::vector<PacketId> packets;
    for (const PacketRecord& record : trace.packets()) {
        if ((!between || between->contains(record.birth)) && filter.matches(trace, journeys, record.id)) {
            packets.push_back(record.id);
        }
    }
    return packets;
}

Result<Between> Between::parse(std::string_view text)
{
    const auto number = [](std::string_view part, std::uint64_t& value) {
        const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
        return part.empty() || (error == std::errc{} && end == part.data() + part.size());
    };
    Between between;
    const std::size_t comma = text.find(',');
    const bool good = comma != std::string_view::npos && text.size() > 1 && number(text.substr(0, comma), between.from.ns) &&
                      number(text.substr(comma + 1), between.to.ns);
    if (!good) {
        return fail(ErrorKind::usage, fmt::format("--between {}", text), "is not T1,T2",
                    "two times in nanoseconds of the trace's clock");
    }
    if (between.from > between.to) {
        return fail(ErrorKind::usage, fmt::format("--between {}", text), "ends before it begins");
    }
    return between;
}

} // namespace skbscope
