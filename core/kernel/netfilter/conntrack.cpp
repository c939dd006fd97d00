// net/netfilter/nf_conntrack_core.c and nf_conntrack_proto*.c: which connection a packet belongs to, and in which state that
// is. An entry is made by the first packet and comes into the table when that packet has passed all hooks (confirm).
// TCP's states are followed, and a reset's sequence number is looked at; other segments' windows are not checked (as with
// nf_conntrack_tcp_be_liberal), nor are the shorter timeouts of connections that repeat themselves or wait for an ACK.

#include "core/kernel/netfilter/netfilter.h"
#include "core/packet/bytes.h"
#include "core/packet/checksum.h"
#include "core/packet/protocols.h"
#include "core/packet/views.h"

#include <algorithm>

namespace skbscope::kernel {

namespace {

constexpr std::uint64_t second = 1'000'000'000;
constexpr std::uint64_t gc_interval = 60 * second; // GC_SCAN_INTERVAL_MAX
constexpr std::size_t NF_CT_EVICTION_RANGE = 8;

std::uint64_t now(Kernel& k) { return k.cpu().now.ns; }

std::uint64_t hash_of(const NfTuple& tuple)
{
    std::uint64_t h = std::uint64_t{tuple.src} << 32 | tuple.dst;
    h ^= (std::uint64_t{tuple.sport} << 32 | std::uint64_t{tuple.dport} << 8 | tuple.protocol) *
         0x9e3779b97f4a7c15ULL;
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93ULL;
    h ^= h >> 32;
    return h;
}

bool inverse_icmp_type(std::uint8_t type, std::uint8_t& inverse)
{
    static constexpr std::uint8_t pairs[][2] = {{8, 0}, {13, 14}, {15, 16}, {17, 18}}; // request, reply
    for (const auto& pair : pairs) {
        if (type == pair[0] || type == pair[1]) {
            inverse = type == pair[0] ? pair[1] : pair[0];
            return true;
        }
    }
    return false;
}

} // namespace

// ---- the table --------------------------------------------------------------------------------------------------------------

std::size_t NfConnTable::bucket(const NfTuple& tuple) const { return hash_of(tuple) % buckets_.size(); }

std::int32_t NfConnTable::find(const NfTuple& tuple) const
{
    if (buckets_.empty()) {
        return -1;
    }
    for (std::int32_t at_ = buckets_[bucket(tuple)]; at_ >= 0; at_ = at(at_ / 2).next[at_ % 2]) {
        if (at(at_ / 2).tuple[at_ % 2] == tuple) {
            return at_;
        }
    }
    return -1;
}

std::int32_t NfConnTable::allocate()
{
    std::int32_t row = 0;
    if (free_.empty()) {
        row = static_cast<std::int32_t>(rows_.size());
        rows_.emplace_back();
    } else {
        row = free_.back();
        free_.pop_back();
        at(row) = NfConn{};
    }
    at(row).in_use = true;
    ++count_;
    return row;
}

void NfConnTable::insert(std::int32_t row)
{
    if (buckets_.empty()) {
        buckets_.assign(bucket_count, -1);
    }
    NfConn& conn = at(row);
    for (std::int32_t dir = 0; dir < 2; ++dir) {
        std::int32_t& head = buckets_[bucket(conn.tuple[dir])];
        conn.next[dir] = head;
        head = row * 2 + dir;
    }
}

void NfConnTable::remove(std::int32_t row)
{
    for (std::int32_t dir = 0; dir < 2; ++dir) {
        std::int32_t* link = &buckets_[bucket(at(row).tuple[dir])];
        while (*link >= 0 && *link != row * 2 + dir) {
            link = &at(*link / 2).next[*link % 2];
        }
        if (*link >= 0) {
            *link = at(row).next[dir];
        }
    }
}

void NfConnTable::release(std::int32_t row)
{
    at(row) = NfConn{};
    free_.push_back(row);
    --count_;
}

std::vector<std::int32_t> NfConnTable::chain_of(const NfTuple& tuple, std::size_t distance) const
{
    std::vector<std::int32_t> chain;
    if (!buckets_.empty()) {
        for (std::int32_t at_ = buckets_[(bucket(tuple) + distance) % buckets_.size()]; at_ >= 0;
             at_ = at(at_ / 2).next[at_ % 2]) {
            chain.push_back(at_ / 2);
        }
    }
    return chain;
}

// ---- references -------------------------------------------------------------------------------------------------------------

namespace {

void put(Kernel& k, NetIndex net, std::int32_t row)
{
    NfConnTable& conns = k.net(net).nf.conns;
    NfConn& conn = conns.at(row);
    if (conn.users > 0) {
        --conn.users;
    }
    const bool in_table = conn.is_confirmed() && (conn.status & ips::dying) == 0;
    if (conn.users == 0 && !in_table) {
        conns.release(row);
    }
}

/// nf_ct_delete(): out of the table; the row goes with its last sk_buff.
void kill(Kernel& k, NetIndex net, std::int32_t row)
{
    NfConnTable& conns = k.net(net).nf.conns;
    conns.remove(row);
    conns.at(row).status |= ips::dying;
    if (conns.at(row).users == 0) {
        conns.release(row);
    }
}

void set_ct(Kernel& k, SkbIndex skb, NetIndex net, std::int32_t row, CtInfo info)
{
    ++k.net(net).nf.conns.at(row).users;
    k.skb(skb).ct = {row, net, info};
}

bool expired(Kernel& k, const NfConn& conn) { return conn.is_confirmed() && conn.timeout <= now(k); }

/// ____nf_conntrack_find(): an expired entry is thrown out by whoever meets it.
std::int32_t find(Kernel& k, NetIndex net, const NfTuple& tuple)
{
    NfConnTable& conns = k.net(net).nf.conns;
    const std::int32_t found = conns.find(tuple);
    if (found >= 0 && expired(k, conns.at(found / 2))) {
        kill(k, net, found / 2);
        return -1;
    }
    return found;
}

/// gc_worker(), which really runs in a kernel thread of its own and is not shown here.
void collect_garbage(Kernel& k, NetIndex net)
{
    NfState& nf = k.net(net).nf;
    nf.last_gc_ns = now(k);
    for (std::size_t row = 0; row < nf.conns.rows().size(); ++row) {
        const NfConn& conn = nf.conns.rows()[row];
        if (conn.in_use && (conn.status & ips::dying) == 0 && expired(k, conn)) {
            kill(k, net, static_cast<std::int32_t>(row));
        }
    }
}

bool early_drop(Kernel& k, NetIndex net, const NfTuple& tuple, PacketId packet)
{
    Call call(k, fn::early_drop, packet);
    for (std::size_t distance = 0; distance < NF_CT_EVICTION_RANGE; ++distance) {
        std::uint64_t dropped = 0;
        for (const std::int32_t row : k.net(net).nf.conns.chain_of(tuple, distance)) {
            const NfConn& conn = k.net(net).nf.conns.at(row);
            if (!conn.in_use || (conn.status & ips::dying) != 0) {
                continue;
            }
            if (expired(k, conn) || (conn.status & ips::assured) == 0) {
                kill(k, net, row);
                ++dropped;
            }
        }
        if (dropped > 0) {
            k.count(net, Mib::nf_conntrack_early_drop, packet, dropped);
            return true;
        }
    }
    return false;
}

// ---- what a packet says ----------------------------------------------------------------------------------------------------

struct L4 {
    std::uint8_t protocol = 0;
    std::span<const std::uint8_t> bytes; ///< from the transport header on
};

/// nf_ct_get_tuple() of the IPv4 packet that the bytes begin with.
bool get_tuple(std::span<const std::uint8_t> bytes, NfTuple& tuple, L4& l4)
{
    const auto ip = Ipv4View::checked(bytes);
    if (!ip || ip->fragment_offset() != 0) {
        return false;
    }
    const std::size_t end = std::clamp<std::size_t>(ip->total_length(), ip->header_length(), bytes.size());
    l4 = {ip->protocol(), bytes.first(end).subspan(ip->header_length())};
    tuple = {ip->saddr(), ip->daddr(), 0, 0, l4.protocol};
    if (l4.protocol == proto::ipproto_udp || l4.protocol == proto::ipproto_tcp) {
        if (l4.bytes.size() < 4) {
            return false;
        }
        tuple.sport = load_be16(l4.bytes.data());
        tuple.dport = load_be16(l4.bytes.data() + 2);
    } else if (l4.protocol == proto::ipproto_icmp) {
        if (l4.bytes.size() < 8) {
            return false;
        }
        tuple.sport = load_be16(l4.bytes.data() + 4);
        tuple.dport = static_cast<std::uint16_t>(l4.bytes[0] << 8 | l4.bytes[1]);
    }
    return true;
}

bool can_invert(const NfTuple& tuple)
{
    std::uint8_t inverse = 0;
    return tuple.protocol != proto::ipproto_icmp ||
           inverse_icmp_type(static_cast<std::uint8_t>(tuple.dport >> 8), inverse);
}

void refresh(Kernel& k, NfConn& conn, CtInfo info, std::uint32_t length, std::int64_t seconds)
{
    const std::uint64_t lifetime = static_cast<std::uint64_t>(seconds) * second;
    conn.timeout = conn.is_confirmed() ? now(k) + lifetime : lifetime;
    ++conn.packets[ct_dir(info)];
    conn.bytes[ct_dir(info)] += length;
}

/// The checksum, where the hardware has not said that it is right: at PRE_ROUTING only.
bool bad_checksum(Kernel& k, SkbIndex skb, const NfHookCtx& state, const L4& l4)
{
    if (state.hook != Hook::pre_routing || k.net(state.net).sysctl.nf_conntrack_checksum == 0 ||
        k.skb(skb).ip_summed == IpSummed::unnecessary || k.skb(skb).ip_summed == IpSummed::partial) {
        return false;
    }
    const auto ip = Ipv4View::unchecked(skb_network(k, skb));
    k.spend(k.costs().copy(l4.bytes.size()));
    switch (l4.protocol) {
    case proto::ipproto_udp:
        return !udp_checksum_ok(
            ip.source(), ip.destination(),
            l4.bytes.first(std::min<std::size_t>(l4.bytes.size(), load_be16(l4.bytes.data() + 4))));
    case proto::ipproto_tcp: return !tcp_checksum_ok(ip.source(), ip.destination(), l4.bytes);
    case proto::ipproto_icmp: return !icmp_checksum_ok(l4.bytes);
    default: return false;
    }
}

// ---- protocols: false is "invalid", the packet goes on without a connection ---------------------------------------------------

bool nf_conntrack_udp_packet(Kernel& k, SkbIndex skb, NfConn& conn, CtInfo info, const NfHookCtx& state,
                             const L4& l4)
{
    Call call(k, fn::nf_conntrack_udp_packet, skb);
    if (l4.bytes.size() < 8) {
        return false;
    }
    const std::uint16_t length = load_be16(l4.bytes.data() + 4);
    const std::uint16_t checksum = load_be16(l4.bytes.data() + 6);
    if (length > l4.bytes.size() || length < 8 || (checksum != 0 && bad_checksum(k, skb, state, l4))) {
        return false;
    }
    const Sysctls& sysctl = k.net(state.net).sysctl;
    if (!conn.is_confirmed()) {
        conn.stream_ns = now(k) + 2 * second;
    }
    const bool stream = (conn.status & ips::seen_reply) != 0 && now(k) > conn.stream_ns;
    refresh(k, conn, info, k.skb(skb).len,
            stream ? sysctl.nf_conntrack_udp_timeout_stream : sysctl.nf_conntrack_udp_timeout);
    if (stream) {
        conn.status |= ips::assured;
    }
    return true;
}

bool nf_conntrack_icmp_packet(Kernel& k, SkbIndex skb, NfConn& conn, CtInfo info, const NfHookCtx& state)
{
    Call call(k, fn::nf_conntrack_icmp_packet, skb);
    const std::uint8_t type = static_cast<std::uint8_t>(conn.tuple[0].dport >> 8);
    if (type != 8 && type != 13 && type != 15 && type != 17) {
        return false; // only requests begin a connection
    }
    refresh(k, conn, info, k.skb(skb).len, k.net(state.net).sysctl.nf_conntrack_icmp_timeout);
    return true;
}

enum TcpState : std::uint8_t {
    tcp_none,
    tcp_syn_sent,
    tcp_syn_recv,
    tcp_established,
    tcp_fin_wait,
    tcp_close_wait,
    tcp_last_ack,
    tcp_time_wait,
    tcp_close,
    tcp_syn_sent2,
    tcp_invalid,
    tcp_ignore
};
enum TcpIndex : std::uint8_t { index_syn, index_synack, index_fin, index_ack, index_rst, index_none };

/// tcp_conntracks[]: a letter for the state that follows; the columns are the states in their order. '-' invalid, 'i' ignored.
constexpr const char* tcp_transitions[2][6] = {
    {"SSiiiiiSS2", "--R------R", "--FFLLLTX-", "E-EECCTTX-", "-XXXXXXXXX", "----------"},
    {"-2-----S-2", "-RiiiiiiiR", "--FFLLLTX-", "-iRECCTTXi", "-XXXXXXXXX", "----------"},
};

TcpState next_state(std::size_t dir, TcpIndex index, std::uint8_t from)
{
    constexpr std::string_view letters = "NSREFCLTX2-i";
    return static_cast<TcpState>(letters.find(tcp_transitions[dir][index][from]));
}

constexpr std::uint8_t TH_FIN = 1, TH_SYN = 2, TH_RST = 4, TH_ACK = 16, TH_URG = 32;

TcpIndex index_of(std::uint8_t flags)
{
    if ((flags & TH_RST) != 0) {
        return index_rst;
    }
    if ((flags & TH_SYN) != 0) {
        return (flags & TH_ACK) != 0 ? index_synack : index_syn;
    }
    return (flags & TH_FIN) != 0 ? index_fin : (flags & TH_ACK) != 0 ? index_ack : index_none;
}

bool valid_flags(std::uint8_t flags)
{
    switch (flags & (TH_FIN | TH_SYN | TH_RST | TH_ACK | TH_URG)) {
    case TH_SYN:
    case TH_SYN | TH_URG:
    case TH_SYN | TH_ACK:
    case TH_RST:
    case TH_RST | TH_ACK:
    case TH_FIN | TH_ACK:
    case TH_FIN | TH_ACK | TH_URG:
    case TH_ACK:
    case TH_ACK | TH_URG: return true;
    default: return false;
    }
}

std::int64_t tcp_timeout(const Sysctls& sysctl, TcpState state)
{
    switch (state) {
    case tcp_syn_sent:
    case tcp_syn_sent2: return sysctl.nf_conntrack_tcp_timeout_syn_sent;
    case tcp_syn_recv: return sysctl.nf_conntrack_tcp_timeout_syn_recv;
    case tcp_established: return sysctl.nf_conntrack_tcp_timeout_established;
    case tcp_fin_wait: return sysctl.nf_conntrack_tcp_timeout_fin_wait;
    case tcp_close_wait: return sysctl.nf_conntrack_tcp_timeout_close_wait;
    case tcp_last_ack: return sysctl.nf_conntrack_tcp_timeout_last_ack;
    case tcp_time_wait: return sysctl.nf_conntrack_tcp_timeout_time_wait;
    default: return sysctl.nf_conntrack_tcp_timeout_close;
    }
}

enum class TcpResult : std::uint8_t { ok, invalid, repeat };

/// A segment as nf_conntrack_tcp_packet() looks at it.
struct TcpSeen {
    TcpIndex index = index_none;
    std::uint8_t dir = 0;
    std::uint32_t seq = 0, ack = 0, end = 0;
    bool has_ack = false;
};

TcpSeen seen_segment(const L4& l4, std::size_t dir)
{
    const std::uint8_t flags = l4.bytes[13];
    TcpSeen seen;
    seen.index = index_of(flags);
    seen.dir = static_cast<std::uint8_t>(dir);
    seen.seq = load_be32(l4.bytes.data() + 4);
    seen.ack = load_be32(l4.bytes.data() + 8);
    seen.has_ack = (flags & TH_ACK) != 0;
    const auto payload = static_cast<std::uint32_t>(l4.bytes.size() - std::size_t{4} * (l4.bytes[12] >> 4));
    seen.end = seen.seq + payload + ((flags & TH_SYN) != 0 ? 1 : 0) +
               ((flags & TH_FIN) != 0 ? 1 : 0); // segment_seq_plus_len()
    return seen;
}

bool is_earlier(std::uint32_t a, std::uint32_t b) { return static_cast<std::int32_t>(a - b) < 0; }

/// nf_conntrack_tcp_established()
bool is_established(const NfConn& conn)
{
    return conn.tcp_state == tcp_established && (conn.status & ips::assured) != 0;
}

/// tcp_can_early_drop()
bool is_closing(const NfConn& conn) { return conn.tcp_state >= tcp_fin_wait && conn.tcp_state <= tcp_close; }

/// What the state becomes by a reset: an established connection ends only by one that bears exactly the number that is due; one that
/// bears a number acknowledged before is invalid.
TcpState state_by_reset(const NfConn& conn, const TcpSeen& seen)
{
    const std::size_t other = 1 - seen.dir;
    if (is_closing(conn) || !conn.tcp_maxack_set[other] || conn.tcp_last_index == index_syn ||
        (seen.seq == 0 && !is_established(conn))) {
        return tcp_close;
    }
    if (is_earlier(seen.seq, conn.tcp_maxack[other])) {
        return tcp_invalid;
    }
    const bool behind_the_last =
        conn.tcp_last_index == index_ack && conn.tcp_last_dir == seen.dir && seen.seq == conn.tcp_last_end;
    const bool ends = !is_established(conn) || seen.seq == conn.tcp_maxack[other] || behind_the_last;
    return ends ? tcp_close
                : static_cast<TcpState>(conn.tcp_state); // else an answer may still say otherwise (RFC 5961)
}

/// The table does not know of two SYNs that cross, of the challenge that answers a SYN in the middle, nor of resets' numbers.
/// tcp_ignore: nothing changes by this segment.
TcpState refined_state(NfConn& conn, const TcpSeen& seen, TcpState next)
{
    switch (next) {
    case tcp_syn_sent2: conn.tcp_simultaneous = true; return next;
    case tcp_syn_recv:
        return seen.dir == 1 && seen.index == index_ack && conn.tcp_simultaneous ? tcp_established : next;
    case tcp_time_wait:
        if (conn.tcp_state == tcp_last_ack && seen.index == index_ack && conn.tcp_last_dir != seen.dir &&
            conn.tcp_last_index == index_syn && conn.tcp_challenge_due) {
            conn.tcp_challenge_due = false;
            return tcp_ignore;
        }
        return next;
    case tcp_close: return seen.index == index_rst ? state_by_reset(conn, seen) : next;
    default: return next;
    }
}

/// A segment that is let through without a change of state. True: it is the SYN-ACK to a SYN that was, so that the connection begins anew.
bool note_ignored(NfConn& conn, const TcpSeen& seen)
{
    if (seen.index == index_synack && conn.tcp_last_index == index_syn && conn.tcp_last_dir != seen.dir &&
        seen.ack == conn.tcp_last_end) {
        conn.tcp_challenge_due = false;
        conn.tcp_maxack_set[seen.dir] = false; // nf_ct_tcp_state_reset()
        return true;
    }
    conn.tcp_challenge_due =
        seen.index == index_syn && seen.dir == 0 ? conn.tcp_state == tcp_last_ack : conn.tcp_challenge_due;
    conn.tcp_last_index = seen.index;
    conn.tcp_last_dir = seen.dir;
    conn.tcp_last_end = seen.end;
    return false;
}

/// What tcp_in_window() remembers of a segment.
void note_accepted(NfConn& conn, const TcpSeen& seen)
{
    if (seen.has_ack && (!conn.tcp_maxack_set[seen.dir] || is_earlier(conn.tcp_maxack[seen.dir], seen.ack))) {
        conn.tcp_maxack[seen.dir] = seen.ack;
        conn.tcp_maxack_set[seen.dir] = true;
    }
    conn.tcp_last_end = seen.index == index_ack ? seen.end : conn.tcp_last_end;
    conn.tcp_last_index = seen.index;
    conn.tcp_last_dir = seen.dir;
}

TcpResult nf_conntrack_tcp_packet(Kernel& k, SkbIndex skb, std::int32_t row, CtInfo info,
                                  const NfHookCtx& state, const L4& l4)
{
    Call call(k, fn::nf_conntrack_tcp_packet, skb);
    NfConn& conn = k.net(state.net).nf.conns.at(row);
    const Sysctls& sysctl = k.net(state.net).sysctl;
    if (l4.bytes.size() < 20 || (l4.bytes[12] >> 4) < 5 ||
        std::size_t{4} * (l4.bytes[12] >> 4) > l4.bytes.size() || bad_checksum(k, skb, state, l4) ||
        !valid_flags(l4.bytes[13])) {
        return TcpResult::invalid;
    }
    const TcpSeen seen = seen_segment(l4, ct_dir(info));
    if (!conn.is_confirmed()) {
        const TcpState first = next_state(0, seen.index, tcp_none);
        if (first == tcp_invalid || (first != tcp_syn_sent && sysctl.nf_conntrack_tcp_loose == 0)) {
            return TcpResult::invalid;
        }
    }
    std::uint8_t before = conn.tcp_state;
    TcpState next = next_state(seen.dir, seen.index, before);
    if (next == tcp_syn_sent && before >= tcp_time_wait) {
        if (conn.tcp_close_begun || (conn.tcp_last_dir == seen.dir && conn.tcp_last_index == index_rst)) {
            kill(k, state.net, row); // reopened: a fresh connection
            return TcpResult::repeat;
        }
        next = tcp_ignore;
    }
    if (next == tcp_ignore) {
        if (!note_ignored(conn, seen)) {
            return TcpResult::ok;
        }
        before = tcp_syn_sent;
        next = tcp_syn_recv;
    } else {
        next = refined_state(conn, seen, next);
    }
    if (next == tcp_invalid || next == tcp_ignore) {
        return next == tcp_invalid ? TcpResult::invalid : TcpResult::ok;
    }
    note_accepted(conn, seen);
    conn.tcp_state = next;
    conn.tcp_close_begun = conn.tcp_close_begun || (before != next && next == tcp_fin_wait);
    std::int64_t timeout =
        seen.index == index_rst ? sysctl.nf_conntrack_tcp_timeout_close : tcp_timeout(sysctl, next);
    if ((conn.status & ips::seen_reply) == 0) {
        if (seen.index == index_rst && conn.is_confirmed()) {
            kill(k, state.net, row); // a reset before any answer ends it at once
            return TcpResult::ok;
        }
        if (seen.index == index_syn && before == tcp_syn_sent) {
            return TcpResult::ok; // a SYN that is sent again does not renew the timeout
        }
        if (next == tcp_established) {
            timeout = std::min(timeout, sysctl.nf_conntrack_tcp_timeout_unacknowledged);
        }
    } else if ((conn.status & ips::assured) == 0 && (before == tcp_syn_recv || before == tcp_established) &&
               next == tcp_established) {
        conn.status |= ips::assured;
    }
    refresh(k, conn, info, k.skb(skb).len, timeout);
    return TcpResult::ok;
}

// ---- finding and making ------------------------------------------------------------------------------------------------------

/// -1: too stressed, the packet is dropped.
std::int32_t init_conntrack(Kernel& k, SkbIndex skb, NetIndex net, const NfTuple& tuple)
{
    Call call(k, fn::init_conntrack, skb);
    NfState& nf = k.net(net).nf;
    const auto max = static_cast<std::uint64_t>(k.core_sysctl().nf_conntrack_max);
    if (max != 0 && nf.conns.count() + 1 > max && !early_drop(k, net, tuple, k.skb(skb).packet)) {
        k.emit(EventKind::note, k.skb(skb).packet, fn::init_conntrack,
               k.trace.add_note("nf_conntrack: table full, dropping packet"));
        return -1;
    }
    const std::int32_t row = nf.conns.allocate();
    nf.conns.at(row).tuple[0] = tuple;
    nf.conns.at(row).tuple[1] = nf_ct_invert_tuple(tuple);
    return row;
}

enum class Resolved : std::uint8_t { ok, nothing, stressed };

Resolved resolve_normal_ct(Kernel& k, SkbIndex skb, const NfHookCtx& state, const NfTuple& tuple)
{
    Call call(k, fn::resolve_normal_ct, skb);
    const std::int32_t found = find(k, state.net, tuple);
    if (found >= 0) {
        const NfConn& conn = k.net(state.net).nf.conns.at(found / 2);
        const CtInfo info = found % 2 == 1                         ? CtInfo::established_reply
                            : (conn.status & ips::seen_reply) != 0 ? CtInfo::established
                                                                   : CtInfo::new_;
        set_ct(k, skb, state.net, found / 2, info);
        return Resolved::ok;
    }
    if (!can_invert(tuple)) {
        return Resolved::nothing;
    }
    const std::int32_t row = init_conntrack(k, skb, state.net, tuple);
    if (row < 0) {
        return Resolved::stressed;
    }
    set_ct(k, skb, state.net, row, CtInfo::new_);
    return Resolved::ok;
}

/// nf_conntrack_icmpv4_error(): an error message belongs to the connection that it is about. True: that is settled, one way
/// or the other.
bool handle_icmp_error(Kernel& k, SkbIndex skb, const NfHookCtx& state, const L4& l4)
{
    Call call(k, fn::nf_conntrack_icmpv4_error, skb);
    const std::uint8_t type = l4.bytes[0];
    const bool is_error = type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
    if (type > 18 || bad_checksum(k, skb, state, l4)) {
        k.count(state.net, Mib::nf_conntrack_error, k.skb(skb).packet);
        return true;
    }
    if (!is_error) {
        return false;
    }
    Call inner(k, fn::nf_conntrack_inet_error, skb);
    NfTuple quoted;
    L4 rest;
    const std::uint32_t outer_daddr = Ipv4View::unchecked(skb_network(k, skb)).daddr();
    if (l4.bytes.size() >= 8 && get_tuple(l4.bytes.subspan(8), quoted, rest) && can_invert(quoted)) {
        const std::int32_t found = find(k, state.net, nf_ct_invert_tuple(quoted));
        if (found >= 0 && k.net(state.net).nf.conns.at(found / 2).tuple[found % 2].dst == outer_daddr) {
            set_ct(k, skb, state.net, found / 2, found % 2 == 1 ? CtInfo::related_reply : CtInfo::related);
            return true;
        }
    }
    k.count(state.net, Mib::nf_conntrack_error, k.skb(skb).packet);
    return true;
}

} // namespace

NfTuple nf_ct_invert_tuple(const NfTuple& tuple)
{
    NfTuple inverse{tuple.dst, tuple.src, tuple.dport, tuple.sport, tuple.protocol};
    if (tuple.protocol == proto::ipproto_icmp) {
        std::uint8_t type = 0;
        inverse_icmp_type(static_cast<std::uint8_t>(tuple.dport >> 8), type);
        inverse.sport = tuple.sport;
        inverse.dport = static_cast<std::uint16_t>(type << 8 | (tuple.dport & 0xff));
    }
    return inverse;
}

NfConn* nf_ct_get(Kernel& k, SkbIndex skb)
{
    const CtRef& ct = k.skb(skb).ct;
    return ct.conn < 0 ? nullptr : &k.net(ct.net).nf.conns.at(ct.conn);
}

void nf_reset_ct(Kernel& k, SkbIndex skb)
{
    const CtRef ct = k.skb(skb).ct;
    k.skb(skb).ct = {};
    if (ct.conn >= 0) {
        put(k, ct.net, ct.conn);
    }
}

void nf_ct_attach(Kernel& k, SkbIndex to, SkbIndex from)
{
    const CtRef ct = k.skb(from).ct;
    if (NfConn* conn = nf_ct_get(k, from)) {
        ++conn->users;
        k.skb(to).ct = {ct.conn, ct.net, ct_dir(ct.info) == 0 ? CtInfo::related_reply : CtInfo::related};
    }
}

void nf_conntrack_get(Kernel& k, SkbIndex skb)
{
    if (NfConn* conn = nf_ct_get(k, skb)) {
        ++conn->users;
    }
}

std::uint8_t ct_state_bit(Kernel& k, SkbIndex skb)
{
    const CtRef& ct = k.skb(skb).ct;
    if (ct.conn < 0) {
        return ct.info == CtInfo::untracked ? ct_state::untracked : ct_state::invalid;
    }
    switch (ct.info) {
    case CtInfo::new_: return ct_state::new_;
    case CtInfo::related:
    case CtInfo::related_reply: return ct_state::related;
    default: return ct_state::established;
    }
}

bool nf_conntrack_tuple_taken(Kernel& k, NetIndex net, const NfTuple& tuple, const NfConn* except)
{
    const std::int32_t found = find(k, net, tuple);
    return found >= 0 && &k.net(net).nf.conns.at(found / 2) != except;
}

bool nf_conntrack_defrag(Kernel& k, SkbIndex skb, Hook hook)
{
    Call call(k, fn::ipv4_conntrack_defrag, skb);
    const bool untracked = k.skb(skb).ct.conn < 0 && k.skb(skb).ct.info == CtInfo::untracked;
    if (untracked || k.skb(skb).device == nothing ||
        !Ipv4View::unchecked(skb_network(k, skb)).is_fragment()) {
        return true;
    }
    return ip_defrag(k, skb, hook == Hook::pre_routing ? IP_DEFRAG_CONNTRACK_IN : IP_DEFRAG_CONNTRACK_OUT) ==
           0;
}

NfVerdict nf_conntrack_in(Kernel& k, SkbIndex skb, const NfHookCtx& state)
{
    Call call(k, fn::nf_conntrack_in, skb);
    const PacketId packet = k.skb(skb).packet;
    if (k.skb(skb).ct.conn >= 0 || k.skb(skb).ct.info == CtInfo::untracked) {
        return NfVerdict::accept(); // seen before (loopback), or not to be tracked
    }
    if (now(k) - k.net(state.net).nf.last_gc_ns >= gc_interval) {
        collect_garbage(k, state.net);
    }
    for (int round = 0; round < 2; ++round) {
        NfTuple tuple;
        L4 l4;
        if (!get_tuple(skb_network(k, skb), tuple, l4)) {
            k.count(state.net, Mib::nf_conntrack_invalid, packet);
            return NfVerdict::accept();
        }
        if (tuple.protocol == proto::ipproto_icmp && handle_icmp_error(k, skb, state, l4)) {
            return NfVerdict::accept();
        }
        const Resolved resolved = resolve_normal_ct(k, skb, state, tuple);
        if (resolved == Resolved::stressed) {
            k.count(state.net, Mib::nf_conntrack_drop, packet);
            return NfVerdict::drop();
        }
        if (resolved == Resolved::nothing) {
            k.count(state.net, Mib::nf_conntrack_invalid, packet);
            return NfVerdict::accept();
        }
        const CtRef ct = k.skb(skb).ct;
        NfConn& conn = k.net(state.net).nf.conns.at(ct.conn);
        bool valid = true;
        bool again = false;
        if (tuple.protocol == proto::ipproto_udp) {
            valid = nf_conntrack_udp_packet(k, skb, conn, ct.info, state, l4);
        } else if (tuple.protocol == proto::ipproto_tcp) {
            const TcpResult result = nf_conntrack_tcp_packet(k, skb, ct.conn, ct.info, state, l4);
            valid = result == TcpResult::ok;
            again = result == TcpResult::repeat;
        } else if (tuple.protocol == proto::ipproto_icmp) {
            valid = nf_conntrack_icmp_packet(k, skb, conn, ct.info, state);
        } else {
            refresh(k, conn, ct.info, k.skb(skb).len, k.net(state.net).sysctl.nf_conntrack_generic_timeout);
        }
        if (!valid) {
            nf_reset_ct(k, skb);
            if (again) {
                continue;
            }
            k.count(state.net, Mib::nf_conntrack_invalid, packet);
            return NfVerdict::accept();
        }
        if (ct.info == CtInfo::established_reply) {
            conn.status |= ips::seen_reply;
        }
        break;
    }
    return NfVerdict::accept();
}

namespace {

bool __nf_conntrack_confirm(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::__nf_conntrack_confirm, skb);
    const CtRef ct = k.skb(skb).ct;
    if (ct_dir(ct.info) != 0) {
        return true;
    }
    NfConnTable& conns = k.net(ct.net).nf.conns;
    NfConn& conn = conns.at(ct.conn);
    const std::int32_t clash = std::max(find(k, ct.net, conn.tuple[0]), find(k, ct.net, conn.tuple[1]));
    if (clash >= 0) { // nf_ct_resolve_clash(): another packet was first
        const NfConn& other = conns.at(clash / 2);
        const bool same = other.tuple[0] == conn.tuple[0] && other.tuple[1] == conn.tuple[1] &&
                          conn.tuple[0].protocol != proto::ipproto_tcp;
        if (same) {
            const std::int32_t winner = clash / 2;
            nf_reset_ct(k, skb);
            set_ct(k, skb, ct.net, winner, ct.info);
            k.count(ct.net, Mib::nf_conntrack_clash_resolve, k.skb(skb).packet);
            return true;
        }
        k.count(ct.net, Mib::nf_conntrack_insert_failed, k.skb(skb).packet);
        k.count(ct.net, Mib::nf_conntrack_drop, k.skb(skb).packet);
        return false;
    }
    conn.timeout += now(k); // counted from here, not from when it was made
    conns.insert(ct.conn);
    conn.status |= ips::confirmed;
    return true;
}

NfVerdict confirm(Kernel& k, SkbIndex skb)
{
    const NfConn* conn = nf_ct_get(k, skb);
    if (conn != nullptr && !conn->is_confirmed() && !__nf_conntrack_confirm(k, skb)) {
        return NfVerdict::drop();
    }
    return NfVerdict::accept();
}

} // namespace

NfVerdict nf_confirm(Kernel& k, SkbIndex skb, const NfHookCtx&)
{
    const auto inner = [&] {
        Call call(k, fn::nf_confirm, skb);
        return confirm(k, skb);
    };
    if (k.profile() >= Profile::v6_12) {
        return inner(); // the hook function itself
    }
    Call call(k, fn::ipv4_confirm, skb);
    if (nf_ct_get(k, skb) == nullptr || k.skb(skb).ct.info == CtInfo::related_reply) {
        return confirm(k, skb);
    }
    return inner();
}

} // namespace skbscope::kernel
