// net/netfilter/nf_tables_core.c and net/ipv4/netfilter/ip_tables.c: walking the chains. In both a rule's expressions are
// asked from the left; the first that does not hold ends the rule.

#include "core/kernel/netfilter/netfilter.h"
#include "core/packet/bytes.h"
#include "core/packet/checksum.h"
#include "core/packet/protocols.h"
#include "core/packet/views.h"

#include <algorithm>
#include <fmt/format.h>

namespace skbscope::kernel {

namespace {

using Kind = RuleExpr::Kind;
constexpr int EPERM_ = -1;
constexpr std::size_t NFT_JUMP_STACK_SIZE = 16;
constexpr std::uint64_t jiffy = 4'000'000; // HZ=250

/// What the expressions look at: the packet, parsed once for a chain.
struct PacketInfo {
    Pf family = Pf::ipv4;
    std::span<const std::uint8_t> network, transport; ///< transport: empty for a later fragment
    std::uint8_t protocol = 0;
    bool fragment = false;

    PacketInfo(Kernel& k, SkbIndex skb, Pf of) : family(of)
    {
        network = skb_network(k, skb);
        if (family == Pf::ipv4) {
            const auto ip = Ipv4View::checked(network);
            if (!ip) {
                return;
            }
            protocol = ip->protocol();
            fragment = ip->fragment_offset() != 0;
            transport = fragment ? std::span<const std::uint8_t>{} : network.subspan(ip->header_length());
        } else if (network.size() >= 40) {
            protocol = network[6]; // extension headers are not walked
            transport = network.subspan(40);
        }
    }
    [[nodiscard]] bool has_ports() const
    {
        return (protocol == proto::ipproto_tcp || protocol == proto::ipproto_udp || protocol == 132 ||
                protocol == 136 || protocol == 33) &&
               transport.size() >= 4;
    }
};

bool in_ranges(const RuleExpr& expr, std::uint64_t value)
{
    return std::ranges::any_of(
        expr.ranges, [&](const RuleRange& range) { return value >= range.low && value <= range.high; });
}

bool device_matches(Kernel& k, DeviceIndex device, const std::string& pattern)
{
    const std::string_view name =
        device == nothing ? std::string_view{} : std::string_view(k.device(device).name);
    if (!pattern.empty() && (pattern.back() == '*' || pattern.back() == '+')) {
        return name.starts_with(std::string_view(pattern).substr(0, pattern.size() - 1));
    }
    return name == pattern;
}

bool same_prefix6(std::span<const std::uint8_t> address, const RuleExpr& expr)
{
    for (std::uint32_t bit = 0; bit < expr.prefix6; ++bit) {
        if (((address[bit / 8] ^ expr.address6[bit / 8]) & (0x80U >> bit % 8)) != 0) {
            return false;
        }
    }
    return true;
}

/// nft_limit.c counts nanoseconds, xt_limit.c jiffies; else they are the same bucket.
bool limit_holds(Kernel& k, RuleExpr& expr, std::uint32_t length, bool nft)
{
    const std::uint64_t rate = std::max<std::uint64_t>(expr.limit_rate, 1);
    const std::uint64_t packet_cost = expr.limit_unit_ns / rate;
    const std::uint64_t cost = expr.limit_bytes ? expr.limit_unit_ns / rate * length : packet_cost;
    const std::uint64_t most = expr.limit_bytes ? expr.limit_unit_ns / rate * (rate + expr.limit_burst)
                                                : packet_cost * expr.limit_burst;
    const std::uint64_t time = nft ? k.cpu().now.ns : k.cpu().now.ns / jiffy * jiffy;
    if (!expr.limit_begun) {
        expr.limit_begun = true;
        expr.limit_tokens = most;
        expr.limit_last_ns = time;
    }
    expr.limit_tokens = std::min(most, expr.limit_tokens + time - std::min(time, expr.limit_last_ns));
    expr.limit_last_ns = time;
    const bool enough = expr.limit_tokens >= cost;
    if (enough) {
        expr.limit_tokens -= cost;
    }
    return enough != expr.limit_over;
}

/// The expression's question, without its inversion; false also where the packet has no such thing.
bool asks(Kernel& k, SkbIndex skb, const NfHookCtx& state, const PacketInfo& packet, RuleExpr& expr, bool nft)
{
    switch (expr.kind) {
    case Kind::iif: return device_matches(k, state.in, expr.text);
    case Kind::oif: return device_matches(k, state.out, expr.text);
    case Kind::nfproto: return in_ranges(expr, packet.family == Pf::ipv4 ? 2 : 10);
    case Kind::saddr:
        return packet.family == Pf::ipv4 && packet.network.size() >= 20 &&
               in_ranges(expr, load_be32(packet.network.data() + 12));
    case Kind::daddr:
        return packet.family == Pf::ipv4 && packet.network.size() >= 20 &&
               in_ranges(expr, load_be32(packet.network.data() + 16));
    case Kind::saddr6:
        return packet.family == Pf::ipv6 && packet.network.size() >= 40 &&
               same_prefix6(packet.network.subspan(8, 16), expr);
    case Kind::daddr6:
        return packet.family == Pf::ipv6 && packet.network.size() >= 40 &&
               same_prefix6(packet.network.subspan(24, 16), expr);
    case Kind::l4proto:
    case Kind::ip_protocol: return in_ranges(expr, packet.protocol);
    case Kind::sport: return packet.has_ports() && in_ranges(expr, load_be16(packet.transport.data()));
    case Kind::dport: return packet.has_ports() && in_ranges(expr, load_be16(packet.transport.data() + 2));
    case Kind::tcp_flags:
        return packet.protocol == proto::ipproto_tcp && packet.transport.size() >= 20 &&
               (packet.transport[13] & expr.mask) == expr.value;
    case Kind::icmp_type:
        return packet.protocol == proto::ipproto_icmp && !packet.transport.empty() &&
               in_ranges(expr, packet.transport[0]);
    case Kind::icmp_code:
        return packet.protocol == proto::ipproto_icmp && packet.transport.size() >= 2 &&
               in_ranges(expr, packet.transport[1]);
    case Kind::ct_state: return (ct_state_bit(k, skb) & expr.mask) != 0;
    case Kind::mark: return in_ranges(expr, k.skb(skb).mark & expr.mask);
    case Kind::ct_mark: {
        const NfConn* conn = nf_ct_get(k, skb);
        return conn != nullptr && in_ranges(expr, conn->mark & expr.mask);
    }
    case Kind::fragment: return packet.fragment;
    case Kind::pkt_type: return in_ranges(expr, static_cast<std::uint64_t>(k.skb(skb).pkt_type));
    case Kind::length: return in_ranges(expr, k.skb(skb).len);
    case Kind::ttl:
        return packet.network.size() >= 20 &&
               in_ranges(expr, packet.network[packet.family == Pf::ipv4 ? 8 : 7]);
    case Kind::limit: return limit_holds(k, expr, k.skb(skb).len, nft);
    default: return true;
    }
}

/// Where the packet has not what is asked for, an inverted question does not hold either.
bool applies(const PacketInfo& packet, const RuleExpr& expr)
{
    switch (expr.kind) {
    case Kind::sport:
    case Kind::dport: return packet.has_ports();
    case Kind::tcp_flags: return packet.protocol == proto::ipproto_tcp && packet.transport.size() >= 20;
    case Kind::icmp_type:
    case Kind::icmp_code: return packet.protocol == proto::ipproto_icmp && packet.transport.size() >= 2;
    case Kind::saddr:
    case Kind::daddr: return packet.family == Pf::ipv4 && packet.network.size() >= 20;
    case Kind::saddr6:
    case Kind::daddr6: return packet.family == Pf::ipv6 && packet.network.size() >= 40;
    default: return true;
    }
}

bool is_question(Kind kind) { return kind <= Kind::limit; }

/// The calls that an nftables expression makes. The fast ones (loads of 1, 2 or 4 aligned bytes, comparisons with one value)
/// are done inside nft_do_chain() and leave none.
void nft_calls_before(Kernel& k, SkbIndex skb, const RuleExpr& expr)
{
    const auto step = [&](FunctionId function) { Call call(k, function, skb); };
    switch (expr.kind) {
    case Kind::iif:
    case Kind::oif:
    case Kind::nfproto:
    case Kind::l4proto:
    case Kind::mark:
    case Kind::pkt_type:
    case Kind::length: step(fn::nft_meta_get_eval); break;
    case Kind::saddr6:
    case Kind::daddr6: step(fn::nft_payload_eval); break; // 16 bytes
    case Kind::saddr:
    case Kind::daddr:
        if (!expr.is_set && expr.mask == 24) {
            step(fn::nft_payload_eval); // 3 bytes
        }
        break;
    case Kind::fragment: break;
    case Kind::ct_state:
    case Kind::ct_mark: step(fn::nft_ct_get_eval); break;
    case Kind::limit: step(fn::nft_limit_eval); break;
    case Kind::counter: step(fn::nft_counter_eval); break;
    case Kind::log: step(fn::nft_log_eval); break;
    case Kind::set_mark: step(fn::nft_immediate_eval), step(fn::nft_meta_set_eval); break;
    case Kind::set_ct_mark: step(fn::nft_immediate_eval); break;
    case Kind::notrack: step(fn::nft_notrack_eval); break;
    case Kind::accept:
    case Kind::drop:
    case Kind::return_:
    case Kind::jump:
    case Kind::go_to: step(fn::nft_immediate_eval); break;
    default: break;
    }
}

void nft_calls_of_comparison(Kernel& k, SkbIndex skb, const RuleExpr& expr)
{
    if (!is_question(expr.kind) || expr.kind == Kind::limit || expr.kind == Kind::ct_state) {
        return;
    }
    if (expr.is_set) {
        Call call(k, fn::nft_lookup_eval, skb);
        return;
    }
    const bool prefix = expr.kind == Kind::saddr || expr.kind == Kind::daddr ? expr.mask <= 32 : false;
    if (expr.ranges.size() == 1 && expr.ranges[0].low != expr.ranges[0].high && !prefix) {
        Call call(k, expr.invert ? fn::nft_range_eval : fn::nft_cmp_eval, skb);
    } else if ((expr.kind == Kind::iif || expr.kind == Kind::oif) && k.profile() == Profile::v5_10) {
        Call call(k, fn::nft_cmp_eval, skb); // 16 bytes: the fast comparison takes them since 5.18
    }
}

/// nf_log_syslog.c: what dmesg shows of it, less the hardware addresses.
std::string log_text(Kernel& k, SkbIndex skb, const NfHookCtx& state, const PacketInfo& packet,
                     const std::string& prefix)
{
    const auto name = [&](DeviceIndex device) {
        return device == nothing ? std::string() : k.device(device).name;
    };
    std::string text = fmt::format("{}IN={} OUT={} ", prefix, name(state.in), name(state.out));
    if (packet.family == Pf::ipv4 && packet.network.size() >= 20) {
        const auto ip = Ipv4View::unchecked(packet.network);
        text += fmt::format("SRC={} DST={} LEN={} TOS=0x{:02X} PREC=0x{:02X} TTL={} ID={} ",
                            ip.source().text(), ip.destination().text(), ip.total_length(), ip.tos() & 0x1e,
                            ip.tos() & 0xe0, packet.network[8], load_be16(packet.network.data() + 4));
        text += (packet.network[6] & 0x40) != 0 ? "DF " : "";
    }
    switch (packet.protocol) {
    case proto::ipproto_udp:
    case proto::ipproto_tcp:
        text += packet.protocol == proto::ipproto_udp ? "PROTO=UDP " : "PROTO=TCP ";
        if (packet.transport.size() >= 8) {
            text += fmt::format("SPT={} DPT={} ", load_be16(packet.transport.data()),
                                load_be16(packet.transport.data() + 2));
        }
        break;
    case proto::ipproto_icmp:
        text += "PROTO=ICMP ";
        if (packet.transport.size() >= 2) {
            text += fmt::format("TYPE={} CODE={} ", packet.transport[0], packet.transport[1]);
        }
        break;
    default: text += fmt::format("PROTO={} ", packet.protocol); break;
    }
    if (k.skb(skb).mark != 0) {
        text += fmt::format("MARK=0x{:x} ", k.skb(skb).mark);
    }
    return text;
}

void set_mark(Kernel& k, SkbIndex skb, std::uint32_t mark)
{
    k.field(skb, SkbField::mark, k.skb(skb).mark, mark);
    k.skb(skb).mark = mark;
}

/// A sk_buff for an answer, with room for the headers of all below.
SkbIndex new_answer(Kernel& k, std::uint32_t size)
{
    constexpr std::uint32_t LL_MAX_HEADER = 128;
    PacketRecord record;
    record.host = k.host().id;
    record.sent_here = true;
    record.birth = k.cpu().now;
    record.birth_function = fn::nf_send_reset;
    const PacketId packet = k.trace.add_packet(record);
    k.emit(EventKind::birth, packet, fn::nf_send_reset);
    const SkbIndex skb = __alloc_skb(k, packet, size + LL_MAX_HEADER);
    k.skb(skb).mine = true;
    skb_reserve(k, skb, LL_MAX_HEADER);
    skb_put(k, skb, size);
    set_network_header(k, skb);
    return skb;
}

/// net/ipv4/netfilter/nf_reject_ipv4.c: nf_send_reset(): a RST as the segment's receiver would have sent it.
void nf_send_reset(Kernel& k, SkbIndex old, const NfHookCtx& state, const PacketInfo& packet)
{
    constexpr std::uint32_t ip_header = 20, tcp_header = 20;
    Call call(k, fn::nf_send_reset, old);
    const auto segment = packet.transport;
    if (packet.protocol != proto::ipproto_tcp || segment.size() < tcp_header ||
        (segment[13] & tcphdr::rst) != 0) {
        return; // no RST for a RST
    }
    const Ipv4View ip = Ipv4View::unchecked(packet.network);
    const bool looked_at =
        k.skb(old).ip_summed == IpSummed::unnecessary || k.skb(old).ip_summed == IpSummed::partial;
    const bool incoming = state.hook == Hook::pre_routing || state.hook == Hook::local_in;
    const bool broadcast = (k.skb(old).dst.flags & (RTCF_BROADCAST | RTCF_MULTICAST)) != 0;
    if ((incoming && !looked_at && !tcp_checksum_ok(ip.source(), ip.destination(), segment)) || broadcast) {
        return;
    }
    const std::uint32_t saddr = ip.daddr(), daddr = ip.saddr();
    const std::uint8_t flags = segment[13];
    const bool answers_ack = (flags & tcphdr::ack) != 0;
    const auto data = static_cast<std::uint32_t>(segment.size()) - (segment[12] >> 4U) * 4U;
    const std::uint32_t seq = answers_ack ? load_be32(&segment[8]) : 0;
    const std::uint32_t ack = answers_ack ? 0
                                          : load_be32(&segment[4]) + ((flags & tcphdr::syn) != 0 ? 1 : 0) +
                                                ((flags & tcphdr::fin) != 0 ? 1 : 0) + data;
    const std::uint16_t sport = load_be16(&segment[2]), dport = load_be16(&segment[0]);

    const SkbIndex skb = new_answer(k, ip_header + tcp_header);
    k.field(skb, SkbField::protocol, 0, proto::eth_p_ip);
    k.skb(skb).protocol = proto::eth_p_ip;
    const auto bytes = skb_network_writable(k, skb);
    std::ranges::fill(bytes, std::uint8_t{0});
    bytes[0] = 0x45;
    store_be16(&bytes[6], 0x4000); // DF
    bytes[8] = static_cast<std::uint8_t>(k.net(state.net).sysctl.ip_default_ttl);
    bytes[9] = proto::ipproto_tcp;
    store_be32(&bytes[12], saddr);
    store_be32(&bytes[16], daddr);
    store_be16(&bytes[20], sport);
    store_be16(&bytes[22], dport);
    store_be32(&bytes[24], seq);
    store_be32(&bytes[28], ack);
    bytes[32] = 0x50;
    bytes[33] = static_cast<std::uint8_t>(tcphdr::rst | (answers_ack ? 0 : tcphdr::ack));
    store_be16(&bytes[36],
               static_cast<std::uint16_t>(~csum_tcpudp_magic(saddr, daddr, tcp_header, proto::ipproto_tcp)));
    set_transport_header(k, skb, ip_header);
    k.field(skb, SkbField::ip_summed, 0, static_cast<std::uint64_t>(IpSummed::partial));
    k.skb(skb).ip_summed = IpSummed::partial;
    FlowKey flow;
    flow.source = IpAddress::v4(saddr);
    flow.destination = IpAddress::v4(daddr);
    flow.source_port = sport;
    flow.destination_port = dport;
    flow.protocol = proto::ipproto_tcp;
    flow.ethertype = proto::eth_p_ip;
    k.trace.mutable_packet(k.skb(skb).packet).flow = flow;

    // ip_route_me_harder(): from the address that was asked for, also where it is another's.
    const RouteType type = inet_addr_type_dev_table(k, state.net, saddr, k.skb(skb).packet);
    const Destination route =
        ip_route_output_flow(k, state.net, daddr, type == RouteType::local ? saddr : 0, k.skb(skb).packet);
    if (!route.valid) {
        kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::nf_send_reset);
        return;
    }
    set_dst(k, skb, route);
    nf_ct_attach(k, skb, old);
    ip_local_out(k, skb);
}

/// REJECT: an ICMP error or a RST goes back; the packet itself is dropped by whoever asked.
void reject(Kernel& k, SkbIndex skb, const NfHookCtx& state, const PacketInfo& packet, const RuleExpr& expr)
{
    if (state.family != Pf::ipv4 || packet.fragment || !k.skb(skb).dst.valid) {
        return;
    }
    if (expr.reject_tcp_reset) {
        nf_send_reset(k, skb, state, packet);
        return;
    }
    Call call(k, fn::nf_send_unreach, skb);
    icmp_send(k, skb, 3, expr.reject_code, 0); // destination unreachable
}

struct Position {
    std::size_t chain = 0, rule = 0;
};

class Walk {
public:
    Walk(Kernel& k, SkbIndex skb, const NfHookCtx& state, std::size_t table)
        : k_(k), skb_(skb), state_(state), table_(table), packet_(k, skb, state.family)
    {
    }

    NfVerdict run(std::size_t base)
    {
        Position at{base, 0};
        std::vector<Position> stack;
        for (;;) {
            if (at.rule >= chain(at.chain).rules.size()) {
                if (stack.empty()) {
                    return policy(base);
                }
                at = stack.back();
                stack.pop_back();
                continue;
            }
            const NfRule& rule = chain(at.chain).rules[at.rule];
            Outcome outcome = evaluate(at);
            switch (outcome.kind) {
            case Outcome::next: ++at.rule; break;
            case Outcome::verdict: decided(rule.note); return finish(outcome.verdict_);
            case Outcome::go:
                if (outcome.returns) {
                    if (stack.size() >= NFT_JUMP_STACK_SIZE) {
                        return finish(NfVerdict::drop());
                    }
                    stack.push_back({at.chain, at.rule + 1});
                }
                at = {outcome.target, 0};
                break;
            case Outcome::back: at.rule = chain(at.chain).rules.size(); break;
            }
        }
    }

private:
    struct Outcome {
        enum Kind : std::uint8_t { next, verdict, go, back } kind = next;
        NfVerdict verdict_;
        std::size_t target = 0;
        bool returns = false;
    };

    NfTable& table() { return k_.net(state_.net).nf.rules.tables[table_]; }
    NfChain& chain(std::size_t row) { return table().chains[row]; }
    [[nodiscard]] bool is_nft() { return table().engine == NfTable::Engine::nft; }

    void decided(std::uint32_t note)
    {
        if (note != 0) {
            k_.emit(EventKind::note, k_.skb(skb_).packet, is_nft() ? fn::nft_do_chain : fn::ipt_do_table,
                    note);
        }
    }

    void counted(std::uint32_t counter, std::uint64_t before)
    {
        if (counter != 0) {
            k_.count_other(static_cast<CounterId>(counter), k_.skb(skb_).packet, before, before + 1);
        }
    }

    NfVerdict policy(std::size_t base)
    {
        NfChain& at = chain(base);
        counted(at.counter, at.packets);
        ++at.packets;
        at.bytes += k_.skb(skb_).len;
        if (at.policy_accept) {
            return NfVerdict::accept();
        }
        decided(at.note);
        return finish(NfVerdict::drop());
    }

    /// NF_DROP_REASON: from 6.1.y on nftables frees the packet itself, and says so to the core as "stolen".
    NfVerdict finish(NfVerdict verdict)
    {
        if (verdict.kind == NfVerdict::Kind::drop && is_nft() && k_.profile() != Profile::v5_10) {
            kfree_skb_reason(k_, skb_, drop::NETFILTER_DROP, fn::nft_do_chain);
            return NfVerdict::stolen(EPERM_);
        }
        return verdict;
    }

    Outcome evaluate(Position at)
    {
        const std::size_t count = chain(at.chain).rules[at.rule].exprs.size();
        for (std::size_t i = 0; i < count; ++i) {
            RuleExpr& expr = chain(at.chain).rules[at.rule].exprs[i];
            if (is_nft()) {
                nft_calls_before(k_, skb_, expr);
                nft_calls_of_comparison(k_, skb_, expr);
            }
            if (is_question(expr.kind)) {
                if (!applies(packet_, expr) ||
                    asks(k_, skb_, state_, packet_, expr, is_nft()) == expr.invert) {
                    return {};
                }
                continue;
            }
            const Outcome outcome = act(expr, chain(at.chain).rules[at.rule]);
            if (outcome.kind != Outcome::next) {
                return outcome;
            }
        }
        return {};
    }

    Outcome act(RuleExpr& expr, const NfRule& rule)
    {
        switch (expr.kind) {
        case Kind::counter:
            counted(rule.counter, expr.packets);
            ++expr.packets;
            expr.bytes += k_.skb(skb_).len;
            return {};
        case Kind::log: {
            Call call(k_, fn::nf_log_packet, skb_);
            k_.emit(EventKind::note, k_.skb(skb_).packet, fn::nf_log_packet,
                    k_.trace.add_note(log_text(k_, skb_, state_, packet_, expr.text)));
            return {};
        }
        case Kind::set_mark:
            decided(rule.note);
            set_mark(k_, skb_,
                     (k_.skb(skb_).mark & ~static_cast<std::uint32_t>(expr.mask)) ^
                         static_cast<std::uint32_t>(expr.value));
            return {};
        case Kind::set_ct_mark:
            if (NfConn* conn = nf_ct_get(k_, skb_)) {
                conn->mark = (conn->mark & ~static_cast<std::uint32_t>(expr.mask)) ^
                             static_cast<std::uint32_t>(expr.value);
            }
            return {};
        case Kind::notrack:
            if (nf_ct_get(k_, skb_) == nullptr) {
                k_.skb(skb_).ct = {nothing, 0, CtInfo::untracked};
            }
            return {};
        case Kind::accept: return decide(NfVerdict::accept());
        case Kind::drop: return decide(NfVerdict::drop());
        case Kind::reject: {
            Call call(k_, is_nft() ? fn::nft_reject_ipv4_eval : fn::reject_tg, skb_);
            reject(k_, skb_, state_, packet_, expr);
            return decide(NfVerdict::drop());
        }
        case Kind::return_: return {Outcome::back, {}, 0, false};
        case Kind::jump:
        case Kind::go_to: {
            const auto& chains = table().chains;
            const auto found = std::ranges::find(chains, expr.text, &NfChain::name);
            if (found == chains.end()) {
                return {}; // the readers refuse such a rule
            }
            return {
                Outcome::go, {}, static_cast<std::size_t>(found - chains.begin()), expr.kind == Kind::jump};
        }
        case Kind::snat:
        case Kind::dnat:
        case Kind::masquerade:
        case Kind::redirect: return nat(expr);
        default: return {};
        }
    }

    static Outcome decide(const NfVerdict& verdict) { return {Outcome::verdict, verdict, 0, false}; }

    Outcome nat(const RuleExpr& rule_expr)
    {
        const RuleExpr expr = rule_expr;
        FunctionId function = fn::nft_nat_eval;
        if (expr.kind == Kind::masquerade) {
            function = fn::nft_masq_eval;
        } else if (expr.kind == Kind::redirect) {
            function = fn::nft_redir_eval;
        }
        if (is_nft()) {
            // Each address and port is put into a register first.
            const int values = (expr.has_address ? 1 + (expr.min_address != expr.max_address) : 0) +
                               (expr.has_port ? 1 + (expr.min_port != expr.max_port) : 0);
            for (int i = 0; i < values; ++i) {
                Call call(k_, fn::nft_immediate_eval, skb_);
            }
        } else {
            function = expr.kind == Kind::dnat         ? fn::xt_dnat_target_v2
                       : expr.kind == Kind::snat       ? fn::xt_snat_target_v0
                       : expr.kind == Kind::masquerade ? fn::masquerade_tg
                                                       : fn::redirect_tg4;
        }
        Call call(k_, function, skb_);
        return decide(nf_nat_apply(k_, skb_, state_, expr) ? NfVerdict::accept() : NfVerdict::drop());
    }

    Kernel& k_;
    SkbIndex skb_;
    const NfHookCtx& state_;
    std::size_t table_;
    PacketInfo packet_;
};

} // namespace

NfVerdict nft_do_chain(Kernel& k, SkbIndex skb, const NfHookCtx& state, std::size_t table, std::size_t chain)
{
    Call call(k, fn::nft_do_chain, skb);
    return Walk(k, skb, state, table).run(chain);
}

NfVerdict ipt_do_table(Kernel& k, SkbIndex skb, const NfHookCtx& state, std::size_t table)
{
    const auto& chains = k.net(state.net).nf.rules.tables[table].chains;
    const auto base = std::ranges::find_if(
        chains, [&](const NfChain& chain) { return chain.base && chain.hook == state.hook; });
    if (base == chains.end()) {
        return NfVerdict::accept();
    }
    const auto row = static_cast<std::size_t>(base - chains.begin());
    const auto evaluate = [&] {
        Call call(k, fn::ipt_do_table, skb);
        return Walk(k, skb, state, table).run(row);
    };
    if (k.profile() != Profile::v5_10) {
        return evaluate(); // registered itself
    }
    const std::string& name = k.net(state.net).nf.rules.tables[table].name;
    Call hook(k,
              name == "raw"      ? fn::iptable_raw_hook
              : name == "mangle" ? fn::iptable_mangle_hook
              : name == "nat"    ? fn::iptable_nat_do_chain
                                 : fn::iptable_filter_hook,
              skb);
    return evaluate();
}

} // namespace skbscope::kernel
