// net/ipv4/udp.c: datagrams in, datagrams out, ports.

#include "core/kernel/functions.h"
#include "core/kernel/ipv6.h"
#include "core/kernel/route_exceptions.h"
#include "core/kernel/skb_coalesce.h"
#include "core/packet/build.h"
#include "core/packet/bytes.h"
#include "core/packet/checksum.h"
#include "core/packet/protocols.h"
#include "core/packet/views.h"

#include <algorithm>
#include <utility>

namespace skbscope::kernel {

namespace {

constexpr std::uint32_t udp_header = 8;
constexpr std::uint32_t CHECKSUM_BREAK = 76; // include/linux/skbuff.h: up to here it is summed at once
constexpr std::uint32_t UDP_HTABLE_SIZE = 256; // include/linux/udp.h: UDP_HTABLE_SIZE_MIN

constexpr int EADDRINUSE_ = -98, EMSGSIZE_ = -90, EDESTADDRREQ_ = -89;

// ---- lookup -------------------------------------------------------------------------------------------------------------

/// Where the datagram says it comes from and goes to.
struct Tuple {
    std::uint32_t saddr, daddr;
    std::uint16_t sport, dport;
    DeviceIndex device;
};

int compute_score(Kernel& k, const Socket& sk, std::uint32_t slot_address, const Tuple& tuple, PacketId packet)
{
    Call call(k, fn::compute_score, packet);
    if (sk.num != tuple.dport || sk.rcv_saddr != slot_address) {
        return -1;
    }
    if (sk.ipv6only) {
        return -1;
    }
    int score = sk.inet6 ? 1 : 2; // PF_INET before a socket of both families
    if (sk.daddr != 0) {
        if (sk.daddr != tuple.saddr) {
            return -1;
        }
        score += 4;
    }
    if (sk.dport != 0) {
        if (sk.dport != tuple.sport) {
            return -1;
        }
        score += 4;
    }
    if (sk.bound_device != nothing) {
        if (sk.bound_device != tuple.device) {
            return -1;
        }
        score += 4;
    }
    if (sk.incoming_cpu == static_cast<std::int32_t>(k.cpu().index)) {
        ++score;
    }
    return score;
}

/// The sockets that share this one's port by SO_REUSEPORT, in the order in which they were bound (net/core/sock_reuseport.c).
std::vector<SocketIndex> reuseport_group(Kernel& k, const Socket& of)
{
    std::vector<SocketIndex> group;
    for (std::size_t row = 0; row < k.w.sockets.size(); ++row) {
        const Socket& sk = k.w.sockets[row];
        if (sk.in_use && sk.kind == SocketKind::udp && sk.reuseport && sk.net == of.net && sk.num == of.num && sk.rcv_saddr == of.rcv_saddr &&
            sk.bound_device == of.bound_device && sk.inet6 == of.inet6) {
            group.push_back(static_cast<SocketIndex>(row));
        }
    }
    return group;
}

/// inet_ehashfn() with the seed of this machine: the same for all datagrams of a flow.
std::uint32_t udp_ehashfn(Kernel& k, const Tuple& tuple)
{
    std::uint64_t hash = k.w.seed * 0x9e3779b97f4a7c15ULL;
    for (const std::uint64_t part : {std::uint64_t{tuple.daddr}, std::uint64_t{tuple.saddr}, (std::uint64_t{tuple.dport} << 16) | tuple.sport}) {
        hash = (hash ^ part) * 0xbf58476d1ce4e5b9ULL;
        hash ^= hash >> 29;
    }
    return static_cast<std::uint32_t>(hash >> 32);
}

/// reuseport_select_sock(): the flow's hash picks a member of the group. nothing: no group, or it has connected sockets.
SocketIndex lookup_reuseport(Kernel& k, const Socket& of, const Tuple& tuple)
{
    if (!of.reuseport) {
        return nothing;
    }
    const auto group = reuseport_group(k, of);
    const bool has_conns = std::ranges::any_of(group, [&](SocketIndex member) { return k.socket(member).daddr != 0; });
    if (group.size() < 2 || has_conns) {
        return nothing;
    }
    return group[static_cast<std::size_t>((std::uint64_t{udp_ehashfn(k, tuple)} * group.size()) >> 32)];
}

/// One slot of the (address, port) hash: the sockets bound to exactly that pair.
SocketIndex udp4_lib_lookup2(Kernel& k, NetIndex net, std::uint32_t slot_address, const Tuple& tuple, PacketId packet)
{
    Call call(k, fn::udp4_lib_lookup2, packet);
    SocketIndex best = nothing;
    int best_score = 0;
    for (std::size_t row = k.w.sockets.size(); row-- > 0;) { // newest first, as hlist_add_head_rcu() leaves them
        const Socket& sk = k.w.sockets[row];
        if (!sk.in_use || sk.kind != SocketKind::udp || sk.net != net || sk.num != tuple.dport || sk.rcv_saddr != slot_address) {
            continue;
        }
        const int score = compute_score(k, sk, slot_address, tuple, packet);
        if (score > best_score) {
            best = static_cast<SocketIndex>(row);
            best_score = score;
            if (sk.daddr != 0) {
                continue; // connected: no group is asked
            }
            if (const SocketIndex member = lookup_reuseport(k, sk, tuple); member != nothing) {
                return member;
            }
        }
    }
    return best;
}

SocketIndex __udp4_lib_lookup(Kernel& k, NetIndex net, const Tuple& tuple, PacketId packet)
{
    Call call(k, fn::__udp4_lib_lookup, packet);
    const SocketIndex exact = udp4_lib_lookup2(k, net, tuple.daddr, tuple, packet);
    return exact != nothing ? exact : udp4_lib_lookup2(k, net, 0, tuple, packet);
}

SocketIndex __udp4_lib_lookup_skb(Kernel& k, SkbIndex skb, const Tuple& tuple)
{
    Call call(k, fn::__udp4_lib_lookup_skb, skb);
    return __udp4_lib_lookup(k, k.skb_net(skb), tuple, k.skb(skb).packet);
}

// ---- receive ------------------------------------------------------------------------------------------------------------

bool checksum_right(Kernel& k, SkbIndex skb)
{
    if (k.skb(skb).protocol == proto::eth_p_ipv6) {
        return udp6_checksum_right(k, skb);
    }
    const Ipv4View ip = Ipv4View::unchecked(skb_network(k, skb));
    const auto segment = skb_network(k, skb).subspan(ip.header_length());
    const auto udp = UdpView::checked(segment);
    k.spend(k.costs().copy(segment.size()));
    return udp && udp_checksum_ok(ip.source(), ip.destination(), segment.first(std::min<std::size_t>(segment.size(), udp->length())));
}

void csum_error(Kernel& k, SkbIndex skb, FunctionId where, DropReasonId reason = drop::UDP_CSUM)
{
    const bool v6 = k.skb(skb).protocol == proto::eth_p_ipv6;
    k.count(k.skb_net(skb), v6 ? Mib::Udp6InCsumErrors : Mib::Udp_InCsumErrors, k.skb(skb).packet);
    k.count(k.skb_net(skb), v6 ? Mib::Udp6InErrors : Mib::Udp_InErrors, k.skb(skb).packet);
    kfree_skb_reason(k, skb, reason, where);
}

/// udp_lib_checksum_complete(): false: it is wrong.
bool checksum_complete(Kernel& k, SkbIndex skb)
{
    SkBuff& buff = k.skb(skb);
    if (buff.ip_summed == IpSummed::none && !buff.checksum_verified) {
        buff.checksum_verified = checksum_right(k, skb);
        return buff.checksum_verified;
    }
    return true;
}

// ---- memory: include/net/sock.h, net/core/sock.c ------------------------------------------------------------------------

constexpr std::int64_t page_size = 4096;
constexpr std::int64_t SK_MEMORY_PCPU_RESERVE = (1 << 20) / page_size; // what a CPU keeps to itself before the sum moves

/// sk_memory_allocated_add(): later than 5.10 the sum of all sockets lags behind by what the CPUs keep.
void sk_memory_allocated_add(Kernel& k, std::int64_t pages)
{
    Host& host = k.host();
    if (k.profile() == Profile::v5_10) {
        host.udp_memory_allocated += pages;
        return;
    }
    k.cpu().udp_fw_alloc += pages;
    if (k.cpu().udp_fw_alloc >= SK_MEMORY_PCPU_RESERVE || k.cpu().udp_fw_alloc <= -SK_MEMORY_PCPU_RESERVE) {
        host.udp_memory_allocated += k.cpu().udp_fw_alloc;
        k.cpu().udp_fw_alloc = 0;
    }
}

/// False: all UDP sockets together hold more than net.ipv4.udp_mem allows, and this one has its minimum. `rmem` counts the datagram in.
bool __sk_mem_raise_allocated(Kernel& k, std::int64_t rmem, std::int64_t pages)
{
    sk_memory_allocated_add(k, pages);
    const Sysctls& sysctl = k.core_sysctl();
    const std::int64_t allocated = k.host().udp_memory_allocated;
    const std::int64_t limit = sysctl.udp_mem_max;
    if (allocated <= limit / 2 || (allocated <= limit && rmem < sysctl.udp_rmem_min)) {
        return true; // below the first limit (half of the last), or below its own minimum
    }
    sk_memory_allocated_add(k, -pages);
    return false;
}

void set_rmem(Kernel& k, Socket& sk, std::uint32_t value)
{
    k.queue_fill(sk.queue, sk.sk_rmem_alloc, value);
    sk.sk_rmem_alloc = value;
}

/// Up to 6.12: compare, then add; what lies there must be above the limit, not what would lie there. (6.12 adds first and, where that
/// is too much, looks whether more than the limit lies there: the same for all buffers below 1 GiB.) 6.18 counts the datagram in,
/// and lets only the first one be too large.
bool has_room(Profile profile, const Socket& sk, std::uint32_t size)
{
    const bool too_much = sk.sk_rmem_alloc + size > sk.sk_rcvbuf;
    const bool huge = profile >= Profile::v6_12 && sk.sk_rcvbuf > 0x3fffffff; // INT_MAX >> 1
    if (profile >= Profile::v6_18) {
        return !too_much || (!huge && sk.sk_rmem_alloc == 0);
    }
    return sk.sk_rmem_alloc <= sk.sk_rcvbuf && !(huge && too_much);
}

/// skb_consume_udp(): the end of a datagram that was read. 6.18 gives it back to the CPU that allocated it.
void skb_consume_udp(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::skb_consume_udp, skb);
    if (k.profile() >= Profile::v6_18) {
        skb_attempt_defer_free(k, skb);
    } else {
        __consume_stateless_skb(k, skb, fn::skb_consume_udp);
    }
}

} // namespace

/// 0; -ENOMEM: the socket's buffer is full; -ENOBUFS: the memory of all UDP sockets is. Nothing was queued then.
int __udp_enqueue_schedule_skb(Kernel& k, SocketIndex index, SkbIndex skb)
{
    Call call(k, fn::__udp_enqueue_schedule_skb, skb);
    Socket& sk = k.socket(index);
    const PacketId packet = k.skb(skb).packet;
    const std::uint32_t size = k.skb(skb).truesize;
    if (!has_room(k.profile(), sk, size)) {
        ++sk.sk_drops;
        return -ENOMEM;
    }
    if (sk.sk_rmem_alloc > sk.sk_rcvbuf / 2) {
        skb_condense(k, skb);
    }
    if (static_cast<std::int64_t>(size) >= sk.sk_forward_alloc) {
        const std::int64_t pages = (std::int64_t{size} + page_size - 1) / page_size;
        if (!__sk_mem_raise_allocated(k, std::int64_t{sk.sk_rmem_alloc} + size, pages)) {
            ++sk.sk_drops;
            return -ENOBUFS;
        }
        sk.sk_forward_alloc += pages * page_size;
    }
    sk.sk_forward_alloc -= size;
    set_rmem(k, sk, sk.sk_rmem_alloc + size);
    {
        Call tail(k, fn::__skb_queue_tail, skb);
        sk.receive_queue.push_back(skb);
        k.skb(skb).visible_from = k.cpu().now + 1_ns;
        k.enqueue(sk.queue, packet, fn::__udp_enqueue_schedule_skb);
    }
    k.verdict(packet, Verdict::delivered, fn::__udp_enqueue_schedule_skb);
    sock_def_readable(k, index, packet);
    return 0;
}

namespace {

void __udp_queue_rcv_skb(Kernel& k, SocketIndex index, SkbIndex skb)
{
    Call call(k, fn::__udp_queue_rcv_skb, skb);
    if (k.socket(index).daddr != 0) {
        sock_rps_save_rxhash(k, index, skb);
        k.socket(index).incoming_cpu = static_cast<std::int32_t>(k.cpu().index);
    }
    const int error = __udp_enqueue_schedule_skb(k, index, skb);
    if (error == 0) {
        return;
    }
    const bool full = error == -ENOMEM;
    k.count(k.skb_net(skb), full ? Mib::Udp_RcvbufErrors : Mib::Udp_MemErrors, k.skb(skb).packet);
    k.count(k.skb_net(skb), Mib::Udp_InErrors, k.skb(skb).packet);
    kfree_skb_reason(k, skb, full ? drop::SOCKET_RCVBUFF : drop::PROTO_MEM, fn::__udp_queue_rcv_skb);
}

void udp_queue_rcv_one_skb(Kernel& k, SocketIndex index, SkbIndex skb)
{
    Call call(k, fn::udp_queue_rcv_one_skb, skb);
    const bool has_filter = !k.socket(index).filter.empty();
    if (has_filter && !checksum_complete(k, skb)) { // a filter must not see a broken datagram
        ++k.socket(index).sk_drops;
        csum_error(k, skb, fn::udp_queue_rcv_one_skb);
        return;
    }
    if (!sk_filter_trim_cap(k, index, skb, udp_header)) {
        k.count(k.skb_net(skb), Mib::Udp_InErrors, k.skb(skb).packet);
        ++k.socket(index).sk_drops;
        kfree_skb_reason(k, skb, drop::SOCKET_FILTER, fn::udp_queue_rcv_one_skb);
        return;
    }
    skb_pull(k, skb, udp_header); // udp_csum_pull_header()
    __udp_queue_rcv_skb(k, index, skb);
}

void udp_unicast_rcv_skb(Kernel& k, SocketIndex index, SkbIndex skb)
{
    Call call(k, fn::udp_unicast_rcv_skb, skb);
    Call queue(k, fn::udp_queue_rcv_skb, skb);
    udp_queue_rcv_one_skb(k, index, skb);
}

/// __udp_is_mcast_sock(): every socket of the port that this multicast or broadcast is for.
bool is_mcast_sock(const Socket& sk, NetIndex net, const Tuple& tuple)
{
    return sk.in_use && sk.kind == SocketKind::udp && sk.net == net && sk.num == tuple.dport && (sk.daddr == 0 || sk.daddr == tuple.saddr) &&
           (sk.dport == 0 || sk.dport == tuple.sport) && (sk.rcv_saddr == 0 || sk.rcv_saddr == tuple.daddr) &&
           (sk.bound_device == nothing || sk.bound_device == tuple.device) && !sk.inet6;
}

/// Each listener gets its own clone; the first one (the newest) gets the datagram itself, last.
void __udp4_lib_mcast_deliver(Kernel& k, SkbIndex skb, const Tuple& tuple)
{
    Call call(k, fn::__udp4_lib_mcast_deliver, skb);
    const NetIndex net = k.skb_net(skb);
    SocketIndex first = nothing;
    for (std::size_t row = k.w.sockets.size(); row-- > 0;) {
        if (!is_mcast_sock(k.w.sockets[row], net, tuple)) {
            continue;
        }
        if (first == nothing) {
            first = static_cast<SocketIndex>(row);
            continue;
        }
        const SkbIndex clone = skb_clone(k, skb, fn::__udp4_lib_mcast_deliver);
        Call queue(k, fn::udp_queue_rcv_skb, clone);
        udp_queue_rcv_one_skb(k, static_cast<SocketIndex>(row), clone);
    }
    if (first != nothing) {
        Call queue(k, fn::udp_queue_rcv_skb, skb);
        udp_queue_rcv_one_skb(k, first, skb);
        return;
    }
    const PacketId packet = k.skb(skb).packet;
    kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::__udp4_lib_mcast_deliver);
    k.count(net, Mib::Udp_IgnoredMulti, packet);
}

void __udp4_lib_rcv(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::__udp4_lib_rcv, skb);
    const auto too_short = [&] {
        k.count(k.skb_net(skb), Mib::Udp_InErrors, k.skb(skb).packet);
        kfree_skb_reason(k, skb, drop::PKT_TOO_SMALL, fn::__udp4_lib_rcv);
    };
    const auto udp = UdpView::checked(skb_data(k, skb));
    if (!udp) {
        k.count(k.skb_net(skb), Mib::Udp_InErrors, k.skb(skb).packet);
        kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::__udp4_lib_rcv);
        return;
    }
    const std::uint16_t length = udp->length();
    const Ipv4View ip = Ipv4View::unchecked(skb_network(k, skb));
    const Tuple tuple{ip.saddr(), ip.daddr(), udp->source_port(), udp->destination_port(), k.skb(skb).device};
    const bool no_checksum = udp->checksum() == 0;
    if (length > k.skb(skb).len || length < udp_header) {
        too_short();
        return;
    }
    skb_trim(k, skb, length);
    if (k.skb(skb).ip_summed == IpSummed::none && no_checksum) {
        k.skb(skb).checksum_verified = true; // the sender did without: net/ipv4/udp.c: udp4_csum_init()
    } else if (k.skb(skb).ip_summed == IpSummed::none && k.skb(skb).len <= CHECKSUM_BREAK) {
        if (!checksum_right(k, skb)) {
            csum_error(k, skb, fn::__udp4_lib_rcv);
            return;
        }
        k.skb(skb).checksum_verified = true;
    }
    SocketIndex sk = k.skb(skb).demuxed;
    if (sk == nothing && (k.skb(skb).dst.flags & (RTCF_BROADCAST | RTCF_MULTICAST)) != 0) {
        __udp4_lib_mcast_deliver(k, skb, tuple);
        return;
    }
    if (sk == nothing) {
        sk = __udp4_lib_lookup_skb(k, skb, tuple);
    } else if (!k.socket(sk).rx_route.valid) {
        k.socket(sk).rx_route = k.skb(skb).dst;
    }
    if (sk != nothing) {
        udp_unicast_rcv_skb(k, sk, skb);
        return;
    }
    if (k.skb(skb).ip_summed == IpSummed::none && !k.skb(skb).checksum_verified && !checksum_right(k, skb)) {
        csum_error(k, skb, fn::__udp4_lib_rcv);
        return;
    }
    k.count(k.skb_net(skb), Mib::Udp_NoPorts, k.skb(skb).packet);
    icmp_send(k, skb, ICMP_DEST_UNREACH, ICMP_PORT_UNREACH, 0);
    kfree_skb_reason(k, skb, drop::NO_SOCKET, fn::__udp4_lib_rcv);
}

} // namespace

int udp_rcv(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::udp_rcv, skb);
    __udp4_lib_rcv(k, skb);
    return 0;
}

void udp_err(Kernel& k, SkbIndex skb, std::uint32_t info)
{
    Call call(k, fn::udp_err, skb);
    Call lib(k, fn::__udp4_lib_err, skb);
    const auto bytes = skb_data(k, skb); // the quoted IP header
    const Ipv4View inner = Ipv4View::unchecked(bytes);
    const UdpView udp = UdpView::unchecked(bytes.subspan(inner.header_length()));
    const PacketId packet = k.skb(skb).packet;
    const Tuple tuple{inner.daddr(), inner.saddr(), udp.destination_port(), udp.source_port(), k.skb(skb).device};
    const SocketIndex index = __udp4_lib_lookup(k, k.skb_net(skb), tuple, packet);
    if (index == nothing) {
        k.count(k.skb_net(skb), Mib::Icmp_InErrors, packet);
        return;
    }
    const SkBuff& buff = k.skb(skb);
    const std::uint8_t type = buff.head.bytes()[buff.transport_header];
    const std::uint8_t code = buff.head.bytes()[buff.transport_header + 1U];
    Socket& sk = k.socket(index);
    IcmpErrno error{EHOSTUNREACH, false};
    if (type == ICMP_SOURCE_QUENCH || type == ICMP_REDIRECT) {
        return;
    }
    if (type == ICMP_PARAMETERPROB) {
        error = {EPROTO, true};
    } else if (type == ICMP_DEST_UNREACH) {
        if (code == ICMP_FRAG_NEEDED) {
            ipv4_sk_update_pmtu(k, sk, inner.saddr(), inner.daddr(), info, packet);
            if (sk.pmtudisc == IP_PMTUDISC_DONT) {
                return;
            }
            error = {EMSGSIZE, true};
        } else if (code <= NR_ICMP_UNREACH) {
            error = icmp_err_convert(code);
        }
    }
    if (!sk.recverr && (!error.fatal || sk.daddr == 0)) {
        return;
    }
    sk.sk_err = error.number;
    wake_up(k, sk.waiting_task, packet); // sk_error_report()
}

bool udp_v4_early_demux(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::udp_v4_early_demux, skb);
    const Ipv4View ip = Ipv4View::unchecked(skb_network(k, skb));
    const auto bytes = skb_network(k, skb);
    const auto udp = UdpView::checked(bytes.size() > ip.header_length() ? bytes.subspan(ip.header_length()) : bytes.first(0));
    if (!udp || k.skb(skb).pkt_type != PktType::host) {
        return false;
    }
    for (std::size_t row = 0; row < k.w.sockets.size(); ++row) {
        const Socket& sk = k.w.sockets[row];
        const bool connected_to_it = sk.in_use && sk.kind == SocketKind::udp && sk.net == k.skb_net(skb) && sk.daddr == ip.saddr() && sk.dport == udp->source_port() &&
                                     sk.num == udp->destination_port() && sk.rcv_saddr == ip.daddr();
        if (connected_to_it) {
            k.skb(skb).demuxed = static_cast<SocketIndex>(row);
            if (sk.rx_route.valid) {
                set_dst(k, skb, sk.rx_route);
            }
            return true;
        }
    }
    return false;
}

// ---- read -----------------------------------------------------------------------------------------------------------------

namespace {

/// net/ipv4/udp.c: udp_rmem_release. Memory goes back lazily: at a quarter of the buffer, or when the reader has nothing
/// left.
void udp_rmem_release(Kernel& k, Socket& sk, std::uint32_t size)
{
    sk.forward_deficit += size;
    if (sk.forward_deficit < sk.sk_rcvbuf / 4 && !sk.reader_queue.empty()) {
        return;
    }
    sk.sk_forward_alloc += sk.forward_deficit;
    const std::int64_t pages = std::max<std::int64_t>(sk.sk_forward_alloc - 1, 0) / page_size; // a byte stays: partial
    if (pages != 0) {
        sk.sk_forward_alloc -= pages * page_size;
        sk_memory_allocated_add(k, -pages);
    }
    set_rmem(k, sk, sk.sk_rmem_alloc - std::min(sk.sk_rmem_alloc, sk.forward_deficit));
    sk.forward_deficit = 0;
    if (!sk.receive_queue.empty()) {
        sk.reader_queue.insert(sk.reader_queue.end(), sk.receive_queue.begin(), sk.receive_queue.end());
        sk.receive_queue.clear();
    }
}

SkbIndex __skb_try_recv_from_queue(Kernel& k, Socket& sk)
{
    SkbIndex skb = sk.reader_queue.empty() ? nothing : sk.reader_queue.front();
    if (skb != nothing) {
        k.cpu().now = std::max(k.cpu().now, k.skb(skb).visible_from);
    }
    Call call(k, fn::__skb_try_recv_from_queue, skb);
    if (skb != nothing) {
        sk.reader_queue.pop_front();
        k.dequeue(sk.queue, k.skb(skb).packet, fn::__skb_try_recv_from_queue);
    }
    return skb;
}

/// The inner loop of __skb_recv_udp: the reader's own queue first, then the whole receive queue at once.
SkbIndex try_receive(Kernel& k, Socket& sk)
{
    if (const SkbIndex skb = __skb_try_recv_from_queue(k, sk); skb != nothing) {
        Call give_back(k, fn::udp_skb_destructor, skb);
        udp_rmem_release(k, sk, k.skb(skb).truesize);
        return skb;
    }
    if (sk.receive_queue.empty()) {
        return nothing;
    }
    std::swap(sk.reader_queue, sk.receive_queue); // the reader's own is empty
    const SkbIndex skb = __skb_try_recv_from_queue(k, sk);
    if (skb != nothing) {
        Call give_back(k, fn::udp_skb_dtor_locked, skb);
        udp_rmem_release(k, sk, k.skb(skb).truesize);
    }
    return skb;
}

/// False: the checksum was wrong, found only now.
bool copy_to_user(Kernel& k, SkbIndex skb)
{
    const SkBuff& buff = k.skb(skb);
    const bool linear = buff.data_len == 0;
    if (buff.ip_summed != IpSummed::none || buff.checksum_verified) {
        Call copy(k, linear ? fn::copy_linear_skb : fn::skb_copy_datagram_msg, skb);
        if (!linear) {
            Call iter(k, fn::skb_copy_datagram_iter, skb);
        }
        k.spend(k.costs().copy(buff.len));
        return true;
    }
    Call copy(k, fn::skb_copy_and_csum_datagram_msg, skb);
    k.spend(k.costs().copy(buff.len));
    return checksum_right(k, skb);
}

} // namespace

bool __sys_recvfrom(Kernel& k, std::int32_t index, bool may_block)
{
    Task& task = k.task(index);
    Socket& sk = k.socket(task.socket);
    if (task.calls.empty()) {
        sock_rps_record_flow(k, task.socket); // inet_recvmsg()
        for (const FunctionId function : {fn::__x64_sys_recvfrom, fn::__sys_recvfrom, fn::sock_recvmsg, fn::sock_recvmsg_nosec,
                                          sk.inet6 ? fn::inet6_recvmsg : fn::inet_recvmsg, sk.inet6 ? fn::udpv6_recvmsg : fn::udp_recvmsg,
                                          fn::__skb_recv_udp}) {
            task.calls.push_back(k.open(function, PacketId::none));
        }
    } else { // woken inside __skb_wait_for_more_packets
        k.close(task.calls.back());
        task.calls.pop_back();
    }
    const std::uint64_t first_call = task.calls[0].sequence;
    if (sk.sk_err != 0) { // sock_error(): told once
        sk.sk_err = 0;
        ++task.failed;
        sk.waiting_task = nothing;
        k.close_all(task.calls);
        return false;
    }
    const SkbIndex skb = try_receive(k, sk);
    if (skb == nothing) {
        if (may_block) {
            task.calls.push_back(k.open(fn::__skb_wait_for_more_packets, PacketId::none));
            sk.waiting_task = index;
            task.state = Task::State::sleeping;
        } else {
            k.close_all(task.calls);
        }
        return false;
    }
    k.close(task.calls.back()); // __skb_recv_udp
    task.calls.pop_back();
    sk.waiting_task = nothing;
    const PacketId packet = k.skb(skb).packet;
    k.attribute_since(first_call, packet); // all of this call was for that datagram
    const bool good = copy_to_user(k, skb);
    if (good) {
        // __UDPX_MIB(): by the packet's family, not the socket's, which may take both.
        k.count(sk.net, k.skb(skb).protocol == proto::eth_p_ipv6 ? Mib::Udp6InDatagrams : Mib::Udp_InDatagrams, packet);
        ++task.received;
        skb_consume_udp(k, skb);
    } else {
        csum_error(k, skb, sk.inet6 ? fn::udpv6_recvmsg : fn::udp_recvmsg, drop::NOT_SPECIFIED);
        k.close_all(task.calls);
        // "starting over for a new packet": a call that may block goes on waiting; another finds the next, or EAGAIN.
        return __sys_recvfrom(k, index, may_block);
    }
    k.close_all(task.calls);
    return good;
}

// ---- send -----------------------------------------------------------------------------------------------------------------

namespace {

void udp4_hwcsum(Kernel& k, SkbIndex skb, std::uint32_t source, std::uint32_t destination)
{
    Call call(k, fn::udp4_hwcsum, skb);
    // CHECKSUM_PARTIAL: the field holds the pseudo header's sum; the hardware adds the rest.
    const auto segment = skb_network_writable(k, skb).subspan(20);
    const MutableUdpView udp = MutableUdpView::unchecked(segment);
    udp.set_checksum(static_cast<std::uint16_t>(~csum_tcpudp_magic(source, destination, static_cast<std::uint32_t>(segment.size()),
                                                                   proto::ipproto_udp)));
}

/// `told`: the socket hears of full queues, too.
int udp_send_skb(Kernel& k, SkbIndex skb, std::uint32_t source, std::uint32_t destination, std::uint16_t sport, std::uint16_t dport, bool told)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::udp_send_skb, packet);
    const NetIndex net = k.dev_net(k.skb(skb).dst.device);
    const auto segment = skb_network_writable(k, skb).subspan(20);
    write_udp(segment, {sport, dport});
    const auto length = static_cast<std::uint16_t>(k.skb(skb).len - 20);
    store_be16(&segment[4], length); // further pieces (frag_list) count, too
    FlowKey flow;
    flow.source = IpAddress::v4(source);
    flow.destination = IpAddress::v4(destination);
    flow.protocol = proto::ipproto_udp;
    flow.source_port = sport;
    flow.destination_port = dport;
    k.trace.mutable_packet(packet).flow = flow;
    if (k.skb(skb).ip_summed == IpSummed::partial) {
        udp4_hwcsum(k, skb, source, destination);
    } else {
        Call csum(k, fn::udp_csum, packet);
        k.spend(k.costs().copy(length));
        std::vector<std::uint8_t> whole = skb_linear_copy(k, skb);
        const auto all = std::span(whole).subspan(20);
        fill_udp_checksum(all, IpAddress::v4(source), IpAddress::v4(destination));
        std::copy_n(all.begin() + 6, 2, segment.begin() + 6);
    }
    const int error = ip_send_skb(k, net, skb);
    if (error == 0) {
        k.count(net, Mib::Udp_OutDatagrams, packet);
        return 0;
    }
    if (error == -ENOBUFS) { // a device had no room: told only to who asked (IP_RECVERR)
        k.count(net, Mib::Udp_SndbufErrors, packet);
        return told ? error : 0;
    }
    return error;
}

} // namespace

int udp_sendmsg(Kernel& k, SocketIndex index, std::span<const std::uint8_t> payload, std::uint32_t address,
                std::uint16_t port, std::uint64_t call_sequence)
{
    Call call(k, fn::udp_sendmsg);
    Socket& sk = k.socket(index);
    if (payload.size() > 0xffff - 28) {
        return EMSGSIZE_;
    }
    const bool connected = address == 0;
    if (connected && sk.daddr == 0) {
        return EDESTADDRREQ_;
    }
    const std::uint32_t destination = connected ? sk.daddr : address;
    const std::uint16_t dport = connected ? sk.dport : port;
    Flowi4 fl4;
    fl4.net = sk.net;
    fl4.daddr = destination;
    fl4.saddr = sk.rcv_saddr;
    fl4.oif = sk.bound_device;
    fl4.tos = sk.tos;
    fl4.proto = proto::ipproto_udp;
    fl4.sport = sk.num;
    fl4.dport = dport;
    Destination route;
    if (connected && sk.cached_route.valid) {
        Call check(k, fn::sk_dst_check);
        route = sk.cached_route;
    } else {
        route = ip_route_output_flow(k, fl4);
        if (!route.valid) {
            if (route.error == ENETUNREACH) {
                k.count(sk.net, Mib::Ip_OutNoRoutes, PacketId::none);
            }
            return -route.error;
        }
        if ((route.flags & RTCF_BROADCAST) != 0 && !sk.broadcast) {
            return -EACCES;
        }
        if (connected) {
            sk.cached_route = route;
        }
    }
    const std::uint32_t source = sk.rcv_saddr != 0 ? sk.rcv_saddr : route.source;
    fl4.saddr = source;
    IpcmCookie ipc;
    ipc.address = destination;
    int error = std::exchange(sk.sk_err, 0); // sock_error(), as sock_alloc_send_pskb() asks: an ICMP error of an earlier datagram
    if (error != 0) {
        return -error;
    }
    const SkbIndex skb = ip_make_skb(k, index, fl4, ip_generic_getfrag(payload), static_cast<std::uint32_t>(payload.size()) + udp_header,
                                     udp_header, ipc, route, 0, call_sequence, error);
    if (skb == nothing) {
        return error;
    }
    error = udp_send_skb(k, skb, source, destination, sk.num, dport, sk.recverr);
    return error != 0 ? error : static_cast<int>(payload.size());
}

// ---- ports ----------------------------------------------------------------------------------------------------------------

namespace {

/// inet_rcv_saddr_equal(): the local ends of two sockets overlap.
bool local_addresses_overlap(const Socket& a, const Socket& b)
{
    if (a.inet6 && b.inet6) {
        return a.v6_rcv_saddr.is_any() || b.v6_rcv_saddr.is_any() || a.v6_rcv_saddr == b.v6_rcv_saddr;
    }
    if ((a.inet6 && a.ipv6only) || (b.inet6 && b.ipv6only)) {
        return false;
    }
    return a.rcv_saddr == 0 || b.rcv_saddr == 0 || a.rcv_saddr == b.rcv_saddr;
}

bool port_in_use(Kernel& k, SocketIndex asking, std::uint16_t port)
{
    const Socket& mine = k.socket(asking);
    return std::ranges::any_of(k.w.sockets, [&](const Socket& sk) {
        return sk.in_use && &sk != &mine && !(sk.reuseport && mine.reuseport) && !(sk.reuseaddr && mine.reuseaddr) && sk.kind == mine.kind &&
               sk.net == mine.net && sk.num == port && local_addresses_overlap(sk, mine);
    });
}

} // namespace

int udp_lib_get_port(Kernel& k, SocketIndex index, std::uint16_t wanted)
{
    Call call(k, fn::udp_lib_get_port);
    Socket& sk = k.socket(index);
    if (wanted != 0) {
        if (port_in_use(k, index, wanted)) {
            return EADDRINUSE_;
        }
        sk.num = wanted;
        return 0;
    }
    const auto low = static_cast<std::uint32_t>(k.net(k.sock_net(index)).sysctl.ip_local_port_low);
    const auto high = std::max(static_cast<std::uint32_t>(k.net(k.sock_net(index)).sysctl.ip_local_port_high), low);
    const auto random = static_cast<std::uint32_t>(k.random(0));
    auto first = static_cast<std::uint16_t>(low + ((std::uint64_t{random} * (high - low + 1)) >> 32));
    const auto step = static_cast<std::uint16_t>((random | 1) * UDP_HTABLE_SIZE);
    for (std::uint32_t slots = 0; slots < UDP_HTABLE_SIZE; ++slots, ++first) {
        std::uint16_t port = first;
        do { // every port of this hash slot, in steps of an odd multiple of the table's size
            if (port >= low && port <= high && !port_in_use(k, index, port)) {
                sk.num = port;
                return 0;
            }
            port = static_cast<std::uint16_t>(port + step);
        } while (port != first);
    }
    return EADDRINUSE_;
}

int udp_v4_get_port(Kernel& k, SocketIndex sk, std::uint16_t port)
{
    Call call(k, fn::udp_v4_get_port);
    return udp_lib_get_port(k, sk, port);
}

} // namespace skbscope::kernel
