// net/netfilter/nf_nat_core.c, nf_nat_proto.c, nf_nat_redirect.c, nf_nat_masquerade.c: the first packet of a connection asks
// the rules, and gets a binding in any case; all others are rewritten as the connection says.

#include "core/kernel/netfilter/netfilter.h"
#include "core/packet/bytes.h"
#include "core/packet/checksum.h"
#include "core/packet/protocols.h"
#include "core/packet/views.h"

#include <algorithm>
#include <bit>

namespace skbscope::kernel {

namespace {

/// struct nf_nat_range2.
struct Range {
    bool map_ips = false, proto_specified = false, random = false, persistent = false;
    std::uint32_t min_address = 0, max_address = 0;
    std::uint16_t min_port = 0, max_port = 0;
};

/// In network order, as the kernel hashes it.
constexpr std::uint32_t swapped(std::uint32_t n)
{
    return n >> 24 | (n >> 8 & 0xff00) | (n & 0xff00) << 8 | n << 24;
}

/// include/linux/jhash.h: jhash2() of four words, of which only the first is set: an IPv4 address in its union.
std::uint32_t jhash_of_address(std::uint32_t address, std::uint32_t seed)
{
    const std::uint32_t word = swapped(address);
    std::uint32_t a = 0xdeadbeef + (4 << 2) + seed, b = a, c = a;
    const auto rol = [](std::uint32_t x, int by) { return std::rotl(x, by); };
    a += word; // b and c: two words of zero
    a -= c, a ^= rol(c, 4), c += b;
    b -= a, b ^= rol(a, 6), a += c;
    c -= b, c ^= rol(b, 8), b += a;
    a -= c, a ^= rol(c, 16), c += b;
    b -= a, b ^= rol(a, 19), a += c;
    c -= b, c ^= rol(b, 4), b += a;
    // the fourth word is zero, too
    c ^= b, c -= rol(b, 14);
    a ^= c, a -= rol(c, 11);
    b ^= a, b -= rol(a, 25);
    c ^= b, c -= rol(b, 16);
    a ^= c, a -= rol(c, 4);
    b ^= a, b -= rol(a, 14);
    c ^= b, c -= rol(b, 24);
    return c;
}

bool used(Kernel& k, NetIndex net, const NfTuple& tuple, const NfConn* conn)
{
    return nf_conntrack_tuple_taken(k, net, nf_ct_invert_tuple(tuple), conn); // nf_nat_used_tuple()
}

void find_best_ips(NfTuple& tuple, const Range& range, bool source)
{
    if (!range.map_ips) {
        return;
    }
    std::uint32_t& address = source ? tuple.src : tuple.dst;
    if (range.min_address == range.max_address) {
        address = range.min_address;
        return;
    }
    // The same client always gets the same address, so far as the range is the same.
    const std::uint32_t hash = jhash_of_address(tuple.src, range.persistent ? 0 : swapped(tuple.dst));
    const std::uint64_t distance = std::uint64_t{range.max_address} - range.min_address + 1;
    address = range.min_address + static_cast<std::uint32_t>(hash * distance >> 32);
}

void unique_port(Kernel& k, NetIndex net, NfTuple& tuple, const Range& range, bool source, const NfConn* conn)
{
    std::uint32_t first = 0, size = 0;
    std::uint16_t* key = nullptr;
    if (tuple.protocol == proto::ipproto_icmp) {
        key = &tuple.sport; // the identifier, in either direction
        first = range.proto_specified ? range.min_port : 0;
        size = range.proto_specified ? std::uint32_t{range.max_port} - range.min_port + 1 : 65536;
    } else if (tuple.protocol == proto::ipproto_tcp || tuple.protocol == proto::ipproto_udp) {
        key = source ? &tuple.sport : &tuple.dport;
        if (range.proto_specified) {
            first = std::min(range.min_port, range.max_port);
            size = std::max(range.min_port, range.max_port) - first + 1;
        } else if (!source) {
            return; // a destination's port is not changed unless somebody asks for it
        } else if (*key < 512) { // privileged ports stay privileged
            first = 1, size = 511;
        } else if (*key < 1024) {
            first = 600, size = 424;
        } else {
            first = 1024, size = 64512;
        }
    } else {
        return;
    }
    auto offset = static_cast<std::uint16_t>(k.random(65536));
    std::uint32_t attempts = std::min(size, 128U);
    for (;;) {
        for (std::uint32_t i = 0; i < attempts; ++i, ++offset) {
            *key = static_cast<std::uint16_t>(first + offset % size);
            if (!used(k, net, tuple, conn)) {
                return;
            }
        }
        if (attempts >= size || attempts < 16) {
            return; // not unique after all: confirm will see the clash
        }
        attempts /= 2; // elsewhere, with an ever smaller window
        offset = static_cast<std::uint16_t>(k.random(65536));
    }
}

bool in_range(const NfTuple& tuple, const Range& range, bool source)
{
    const std::uint32_t address = source ? tuple.src : tuple.dst;
    const std::uint16_t port = source || tuple.protocol == proto::ipproto_icmp ? tuple.sport : tuple.dport;
    return (!range.map_ips || (address >= range.min_address && address <= range.max_address)) &&
           (!range.proto_specified || (port >= range.min_port && port <= range.max_port));
}

/// find_appropriate_src(): what this source is mapped to already, so that it looks the same to everybody.
bool existing_source(Kernel& k, NetIndex net, const NfTuple& original, const Range& range, NfTuple& result)
{
    for (const NfConn& conn : k.net(net).nf.conns.rows()) {
        if (!conn.in_use || (conn.status & ips::src_nat_done) == 0 ||
            conn.tuple[0].protocol != original.protocol || conn.tuple[0].src != original.src ||
            conn.tuple[0].sport != original.sport) {
            continue;
        }
        NfTuple mapped = nf_ct_invert_tuple(conn.tuple[1]);
        mapped.dst = original.dst;
        mapped.dport = original.dport;
        if (in_range(mapped, range, true)) {
            result = mapped;
            return true;
        }
    }
    return false;
}

NfTuple get_unique_tuple(Kernel& k, NetIndex net, const NfTuple& original, const Range& range,
                         const NfConn* conn, bool source)
{
    NfTuple tuple = original;
    if (source && !range.random) {
        if (in_range(original, range, true)) {
            if (!used(k, net, original, conn)) {
                return original;
            }
        } else if (existing_source(k, net, original, range, tuple) && !used(k, net, tuple, conn)) {
            return tuple;
        }
    }
    tuple = original;
    find_best_ips(tuple, range, source);
    if (!range.random) {
        if (range.proto_specified) {
            const std::uint16_t port =
                source || tuple.protocol == proto::ipproto_icmp ? tuple.sport : tuple.dport;
            if (port >= range.min_port && port <= range.max_port &&
                (range.min_port == range.max_port || !used(k, net, tuple, conn))) {
                return tuple;
            }
        } else if (!used(k, net, tuple, conn)) {
            return tuple;
        }
    }
    unique_port(k, net, tuple, range, source, conn);
    return tuple;
}

bool initialized(const NfConn& conn, bool source)
{
    return (conn.status & (source ? ips::src_nat_done : ips::dst_nat_done)) != 0;
}

void nf_nat_setup_info(Kernel& k, SkbIndex skb, const Range& range, bool source)
{
    Call call(k, fn::nf_nat_setup_info, skb);
    NfConn& conn = *nf_ct_get(k, skb);
    if (conn.is_confirmed() || initialized(conn, source)) {
        return;
    }
    const NetIndex net = k.skb(skb).ct.net;
    const NfTuple current = nf_ct_invert_tuple(conn.tuple[1]);
    const NfTuple wanted = get_unique_tuple(k, net, current, range, &conn, source);
    if (wanted != current) {
        conn.tuple[1] = nf_ct_invert_tuple(wanted); // so that replies are recognised
        conn.status |= source ? ips::src_nat : ips::dst_nat;
    }
    conn.status |= source ? ips::src_nat_done : ips::dst_nat_done;
}

/// A binding that changes nothing, unless the tuple is taken: then another port.
void null_binding(Kernel& k, SkbIndex skb, bool source)
{
    const NfConn& conn = *nf_ct_get(k, skb);
    const std::uint32_t address = source ? conn.tuple[1].dst : conn.tuple[1].src;
    Range range;
    range.map_ips = true;
    range.min_address = range.max_address = address;
    nf_nat_setup_info(k, skb, range, source);
}

// ---- rewriting --------------------------------------------------------------------------------------------------------------

/// inet_proto_csum_replace: what the transport checksum must bear when a 16-bit word that it covers changes.
void fix_transport_checksum(Kernel& k, SkbIndex skb, std::uint8_t* field, std::uint16_t before,
                            std::uint16_t after, bool pseudo_header)
{
    const std::uint16_t sum = load_be16(field);
    if (k.skb(skb).ip_summed == IpSummed::partial) {
        if (pseudo_header) { // it holds the pseudo header's sum, not complemented; the hardware adds the rest
            store_be16(field, static_cast<std::uint16_t>(
                                  ~csum_replace(static_cast<std::uint16_t>(~sum), before, after)));
        }
        return;
    }
    store_be16(field, csum_replace(sum, before, after));
}

class Rewriter {
public:
    Rewriter(Kernel& k, SkbIndex skb) : k_(k), skb_(skb), bytes_(skb_network_writable(k, skb)) {}

    void address(bool source, std::uint32_t to)
    {
        const std::size_t at = source ? 12 : 16;
        const std::uint32_t from = load_be32(bytes_.data() + at);
        if (from == to) {
            return;
        }
        for (const int half : {0, 1}) {
            const auto before = static_cast<std::uint16_t>(half == 0 ? from >> 16 : from);
            const auto after = static_cast<std::uint16_t>(half == 0 ? to >> 16 : to);
            store_be16(bytes_.data() + 10, csum_replace(load_be16(bytes_.data() + 10), before, after));
            if (std::uint8_t* sum = checksum_field(); sum != nullptr && protocol() != proto::ipproto_icmp) {
                fix_transport_checksum(k_, skb_, sum, before, after, true);
            }
        }
        changed(at, 4, [&] { store_be32(bytes_.data() + at, to); });
    }

    void port(bool source, std::uint16_t to)
    {
        const std::size_t header = header_length();
        const bool icmp = protocol() == proto::ipproto_icmp;
        const std::size_t at = header + (icmp ? 4 : source ? 0 : 2);
        if (at + 2 > bytes_.size()) {
            return;
        }
        const std::uint16_t from = load_be16(bytes_.data() + at);
        if (from == to) {
            return;
        }
        if (std::uint8_t* sum = checksum_field()) {
            fix_transport_checksum(k_, skb_, sum, from, to, false);
        }
        changed(at, 2, [&] { store_be16(bytes_.data() + at, to); });
    }

private:
    [[nodiscard]] std::size_t header_length() const { return std::size_t{4} * (bytes_[0] & 0xf); }
    [[nodiscard]] std::uint8_t protocol() const { return bytes_[9]; }

    [[nodiscard]] std::uint8_t* checksum_field() const
    {
        std::size_t at = header_length();
        switch (protocol()) {
        case proto::ipproto_udp: at += 6; break;
        case proto::ipproto_tcp: at += 16; break;
        case proto::ipproto_icmp: at += 2; break;
        default: return nullptr;
        }
        if (at + 2 > bytes_.size()) {
            return nullptr;
        }
        const bool none = protocol() == proto::ipproto_udp && load_be16(bytes_.data() + at) == 0 &&
                          k_.skb(skb_).ip_summed != IpSummed::partial;
        return none ? nullptr : bytes_.data() + at;
    }

    template <typename Write>
    void changed(std::size_t at, std::size_t length, Write write)
    {
        const std::uint64_t before = k_.trace.add_bytes(bytes_.subspan(at, length));
        write();
        const std::uint64_t after = k_.trace.add_bytes(bytes_.subspan(at, length));
        const SkBuff& skb = k_.skb(skb_);
        const std::size_t link = skb.mac_header == header_unset || skb.mac_header > skb.network_header
                                     ? 14
                                     : skb.network_header - skb.mac_header;
        k_.emit(EventKind::field, skb.packet, FunctionId::none,
                k_.trace.add_field_change({SkbField::bytes, static_cast<std::uint32_t>(link + at),
                                           static_cast<std::uint32_t>(length), before, after}));
    }

    Kernel& k_;
    SkbIndex skb_;
    std::span<std::uint8_t> bytes_;
};

void nf_nat_manip_pkt(Kernel& k, SkbIndex skb, const NfConn& conn, bool source, std::size_t dir)
{
    Call call(k, fn::nf_nat_manip_pkt, skb);
    const NfTuple target = nf_ct_invert_tuple(conn.tuple[1 - dir]);
    Rewriter rewrite(k, skb);
    rewrite.port(source, source || target.protocol == proto::ipproto_icmp ? target.sport : target.dport);
    rewrite.address(source, source ? target.src : target.dst);
}

/// A call of its own in the source; compilers draw it into nf_nat_inet_fn(), which stands in the same file.
void nf_nat_packet(Kernel& k, SkbIndex skb, bool source)
{
    const NfConn& conn = *nf_ct_get(k, skb);
    const std::size_t dir = ct_dir(k.skb(skb).ct.info);
    const bool original_source =
        dir == 1 ? !source : source; // in the reply direction it is the other way round
    if ((conn.status & (original_source ? ips::src_nat : ips::dst_nat)) != 0) {
        nf_nat_manip_pkt(k, skb, conn, source, dir);
    }
}

NfVerdict nf_nat_inet_fn(Kernel& k, SkbIndex skb, const NfHookCtx& state)
{
    Call call(k, fn::nf_nat_inet_fn, skb);
    const bool source = manip_is_source(state.hook);
    const CtInfo info = k.skb(skb).ct.info;
    if (info == CtInfo::new_ || info == CtInfo::related || info == CtInfo::related_reply) {
        if (!initialized(*nf_ct_get(k, skb), source)) {
            const auto& lookups = k.net(state.net).nf.nat_lookups[static_cast<std::size_t>(state.hook)];
            for (std::size_t i = 0; i < lookups.size() && !initialized(*nf_ct_get(k, skb), source); ++i) {
                const NfHookEntry entry = lookups[i];
                NfVerdict verdict;
                if (entry.fn == NfHookEntry::Fn::nft_chain) {
                    Call chain(k, fn::nft_nat_do_chain, skb);
                    verdict = nft_do_chain(k, skb, state, entry.table, entry.chain);
                } else {
                    verdict = ipt_do_table(k, skb, state, entry.table);
                }
                if (!verdict.accepted()) {
                    return verdict;
                }
            }
            if (!initialized(*nf_ct_get(k, skb), source)) {
                null_binding(k, skb, source);
            }
        }
    }
    nf_nat_packet(k, skb, source);
    return NfVerdict::accept();
}

/// nf_nat_icmp_reply_translation(): an error's quoted packet is turned back as its connection is, and the error's own address.
void icmp_reply_translation(Kernel& k, SkbIndex skb, const NfHookCtx& state)
{
    Call call(k, fn::nf_nat_icmp_reply_translation, skb);
    const NfConn& conn = *nf_ct_get(k, skb);
    const bool source = manip_is_source(state.hook);
    const std::size_t dir = ct_dir(k.skb(skb).ct.info);
    const bool original_source = dir == 1 ? !source : source;
    if ((conn.status & (original_source ? ips::src_nat : ips::dst_nat)) == 0) {
        return;
    }
    const NfTuple target = nf_ct_invert_tuple(conn.tuple[1 - dir]);
    const auto bytes = skb_network_writable(k, skb);
    const std::size_t outer = std::size_t{4} * (bytes[0] & 0xf);
    const std::size_t inner = outer + 8;
    if (bytes.size() >= inner + 28) {
        // Inside, source and destination are swapped: what goes out as source came in as destination.
        const NfTuple quoted = conn.tuple[1 - dir];
        const std::size_t inner_l4 = inner + std::size_t{4} * (bytes[inner] & 0xf);
        store_be32(bytes.data() + inner + (source ? 16 : 12), source ? quoted.dst : quoted.src);
        if (quoted.protocol != proto::ipproto_icmp && inner_l4 + 4 <= bytes.size()) {
            store_be16(bytes.data() + inner_l4 + (source ? 2 : 0), source ? quoted.dport : quoted.sport);
        }
        const std::size_t inner_header =
            std::min(std::size_t{4} * (bytes[inner] & 0xf), bytes.size() - inner);
        store_be16(bytes.data() + inner + 10, 0);
        store_be16(bytes.data() + inner + 10, ip_fast_csum(bytes.subspan(inner, inner_header)));
        store_be16(bytes.data() + outer + 2, 0);
        store_be16(bytes.data() + outer + 2, csum_fold(csum_partial(bytes.subspan(outer))));
    }
    Rewriter(k, skb).address(source, source ? target.src : target.dst);
}

NfVerdict nf_nat_ipv4_fn(Kernel& k, SkbIndex skb, const NfHookCtx& state)
{
    Call call(k, fn::nf_nat_ipv4_fn, skb);
    if (nf_ct_get(k, skb) == nullptr) {
        return NfVerdict::accept();
    }
    const CtInfo info = k.skb(skb).ct.info;
    if ((info == CtInfo::related || info == CtInfo::related_reply) &&
        Ipv4View::unchecked(skb_network(k, skb)).protocol() == proto::ipproto_icmp) {
        icmp_reply_translation(k, skb, state);
        return NfVerdict::accept();
    }
    return nf_nat_inet_fn(k, skb, state);
}

FunctionId hook_function(Hook hook)
{
    switch (hook) {
    case Hook::pre_routing: return fn::nf_nat_ipv4_pre_routing;
    case Hook::local_in: return fn::nf_nat_ipv4_local_in;
    case Hook::local_out: return fn::nf_nat_ipv4_local_fn;
    default: return fn::nf_nat_ipv4_out;
    }
}

/// ip_route_me_harder(): the destination of a local packet has changed, so its route may.
bool route_again(Kernel& k, SkbIndex skb, NetIndex net)
{
    const Ipv4View ip = Ipv4View::unchecked(skb_network(k, skb));
    const Destination route = ip_route_output_flow(k, net, ip.daddr(), ip.saddr(), k.skb(skb).packet);
    if (!route.valid) {
        return false;
    }
    set_dst(k, skb, route);
    return true;
}

} // namespace

NfVerdict nf_nat_ipv4(Kernel& k, SkbIndex skb, const NfHookCtx& state)
{
    Call call(k, hook_function(state.hook), skb);
    const std::uint32_t daddr = Ipv4View::unchecked(skb_network(k, skb)).daddr();
    const NfVerdict verdict = nf_nat_ipv4_fn(k, skb, state);
    if (!verdict.accepted()) {
        return verdict;
    }
    const NfConn* conn = nf_ct_get(k, skb);
    if (state.hook == Hook::pre_routing && daddr != Ipv4View::unchecked(skb_network(k, skb)).daddr()) {
        skb_dst_drop(k, skb);
    }
    if (conn == nullptr) {
        return verdict;
    }
    const std::size_t dir = ct_dir(k.skb(skb).ct.info);
    const NfTuple& mine = conn->tuple[dir];
    const NfTuple& other = conn->tuple[1 - dir];
    if (state.hook == Hook::local_out && mine.dst != other.src && !route_again(k, skb, state.net)) {
        return {NfVerdict::Kind::drop, -113}; // EHOSTUNREACH
    }
    // nf_xfrm_me_harder(): a changed packet might need another IPsec policy; there is none, but asking costs a dissection.
    const bool ports = mine.protocol != proto::ipproto_icmp;
    const bool asks =
        state.hook == Hook::post_routing
            ? mine.src != other.dst || (ports && mine.sport != other.dport)
            : state.hook == Hook::local_out && mine.dst == other.src && ports && mine.dport != other.sport;
    if (asks && k.profile() >= Profile::v6_12) {
        Call dissect(k, fn::__skb_flow_dissect, skb);
    }
    return verdict;
}

bool nf_nat_apply(Kernel& k, SkbIndex skb, const NfHookCtx& state, const RuleExpr& expr)
{
    if (nf_ct_get(k, skb) == nullptr) {
        return true; // untracked: nothing to bind
    }
    Range range;
    range.map_ips = expr.has_address;
    range.min_address = expr.min_address;
    range.max_address = expr.max_address;
    range.proto_specified = expr.has_port;
    range.min_port = expr.min_port;
    range.max_port = expr.max_port;
    range.random = expr.random || expr.fully_random;
    range.persistent = expr.persistent;
    const bool source = manip_is_source(state.hook);
    if (expr.kind == RuleExpr::Kind::masquerade) {
        Call call(k, fn::nf_nat_masquerade_ipv4, skb);
        const NetDevice& out = k.device(state.out);
        const std::uint32_t address = k.skb(skb).dst.source != 0 ? k.skb(skb).dst.source
                                      : out.addresses.empty()    ? 0
                                                                 : out.addresses.front().address;
        if (address == 0) {
            return false; // "ate my IP address"
        }
        range.map_ips = true;
        range.min_address = range.max_address = address;
        nf_nat_setup_info(k, skb, range, true);
        return true;
    }
    if (expr.kind == RuleExpr::Kind::redirect) {
        Call call(k, fn::nf_nat_redirect_ipv4, skb);
        std::uint32_t address = 0x7f000001;
        if (state.hook != Hook::local_out) {
            const NetDevice& in = k.device(state.in);
            address = in.addresses.empty() ? 0 : in.addresses.front().address;
        }
        if (address == 0) {
            return false;
        }
        range.map_ips = true;
        range.min_address = range.max_address = address;
        nf_nat_setup_info(k, skb, range, false);
        return true;
    }
    nf_nat_setup_info(k, skb, range, source);
    return true;
}

} // namespace skbscope::kernel
