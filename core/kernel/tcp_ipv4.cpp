// net/ipv4/tcp_ipv4.c: the IPv4 side of TCP: which socket a segment is for, answers that belong to no socket, connect.

#include "core/kernel/skb_coalesce.h"
#include "core/kernel/tcp_functions.h"
#include "core/packet/bytes.h"
#include "core/packet/checksum.h"
#include "core/packet/protocols.h"
#include "core/packet/views.h"

#include <utility>

namespace skbscope::kernel {

namespace {

std::span<const std::uint8_t> segment_of(Kernel& k, SkbIndex skb)
{
    const SkBuff& buff = k.skb(skb);
    return buff.head.bytes().subspan(buff.data, buff.len);
}

bool checksum_right(Kernel& k, SkbIndex skb)
{
    const SkBuff& buff = k.skb(skb);
    if (buff.ip_summed == IpSummed::unnecessary || buff.ip_summed == IpSummed::partial ||
        buff.checksum_verified) {
        return true;
    }
    const Ipv4View ip = Ipv4View::unchecked(skb_network(k, skb));
    k.spend(k.costs().copy(buff.len));
    return tcp_checksum_ok(ip.source(), ip.destination(), segment_of(k, skb));
}

void tcp_v4_fill_cb(Kernel& k, SkbIndex skb)
{
    const TcpHeader th = tcp_hdr(k, skb);
    TcpCb cb;
    cb.seq = th.seq;
    cb.end_seq = th.seq + (th.syn() ? 1 : 0) + (th.fin() ? 1 : 0) + k.skb(skb).len - th.length();
    cb.ack_seq = th.ack_seq;
    cb.flags = th.flags;
    tcp_cb(k, skb) = cb;
}

/// True: the packet is dropped by the socket's filter.
bool tcp_filter(Kernel& k, SocketIndex sk, SkbIndex skb)
{
    Call call(k, fn::tcp_filter, skb);
    return !sk_filter_trim_cap(k, sk, skb, tcp_hdr(k, skb).length());
}

bool same_options(const TcpHeader& a, const TcpHeader& b)
{
    return std::ranges::equal(a.options, b.options);
}

/// Appends the segment to the last one of the backlog, if that leaves one segment (net/ipv4/tcp_ipv4.c: tcp_add_backlog).
bool coalesce_into_backlog(Kernel& k, SocketIndex index, SkbIndex skb, bool& stolen)
{
    TcpSock& tp = tcp_sk(k, index);
    if (tp.backlog.empty()) {
        return false;
    }
    const SkbIndex tail = tp.backlog.back();
    const TcpHeader th = tcp_hdr(k, skb), last = tcp_hdr(k, tail);
    TcpCb& a = tcp_cb(k, tail);
    const TcpCb& b = tcp_cb(k, skb);
    const std::uint8_t either = a.flags | b.flags;
    if (a.end_seq != b.seq || (either & (tcphdr::syn | tcphdr::rst | tcphdr::urg)) != 0 ||
        (a.flags & b.flags & tcphdr::ack) == 0 || ((a.flags ^ b.flags) & (tcphdr::ece | tcphdr::cwr)) != 0 ||
        th.doff != last.doff || !same_options(th, last)) {
        return false;
    }
    const std::uint32_t header = th.length();
    const std::uint8_t* network = skb_network(k, skb).data();
    if (network[1] != skb_network(k, tail).data()[1]) { // ip_dsfield
        return false;
    }
    skb_pull(k, skb, header);
    const std::uint32_t payload = k.skb(skb).len;
    const std::uint32_t gso =
        std::max(k.skb(skb).gso_size != 0 ? k.skb(skb).gso_size : payload,
                 k.skb(tail).gso_size != 0 ? k.skb(tail).gso_size : k.skb(tail).len - last.length());
    const std::uint32_t segs =
        std::max<std::uint32_t>(k.skb(tail).gso_segs, 1) + std::max<std::uint32_t>(k.skb(skb).gso_segs, 1);
    std::uint32_t delta = 0;
    if (!skb_try_coalesce(k, tail, skb, stolen, delta)) {
        skb_push(k, skb, header);
        return false;
    }
    tp.backlog_len += delta;
    a.end_seq = b.end_seq;
    SkBuff& to = k.skb(tail);
    auto& head = to.head.writable();
    if (!before(b.ack_seq, a.ack_seq)) {
        a.ack_seq = b.ack_seq;
        store_be16(&head[to.transport_header + 14U], th.window);
    }
    head[to.transport_header + 13U] |= static_cast<std::uint8_t>(b.flags & tcphdr::fin);
    a.flags |= b.flags;
    to.gso_size = static_cast<std::uint16_t>(std::min(gso, 65535U));
    to.gso_segs = static_cast<std::uint16_t>(std::min(segs, 65535U));
    to.checksum_verified = true; // what was in the header's sum has grown
    k.count(k.sock_net(index), Mib::TcpExt_TCPBacklogCoalesce, k.skb(skb).packet);
    return true;
}

/// False: dropped, with the reason.
bool tcp_add_backlog(Kernel& k, SocketIndex index, SkbIndex skb, DropReasonId& reason)
{
    Call call(k, fn::tcp_add_backlog, skb);
    TcpSock& tp = tcp_sk(k, index);
    const Socket& sk = k.socket(index);
    const NetIndex net = sk.net;
    const PacketId packet = k.skb(skb).packet;
    skb_condense(k, skb);
    k.skb(skb).dst.valid = false; // tcp_cleanup_skb()
    if (tcp_checksum_complete(k, skb)) {
        k.count(net, Mib::Tcp_InCsumErrors, packet);
        k.count(net, Mib::Tcp_InErrs, packet);
        reason = drop::TCP_CSUM;
        return false;
    }
    bool stolen = false;
    if (coalesce_into_backlog(k, index, skb, stolen)) {
        k.verdict(packet, Verdict::merged, fn::tcp_add_backlog);
        k.trace.mutable_packet(packet).merged_into = k.skb(tp.backlog.back()).packet;
        SkBuff& tail = k.skb(tp.backlog.back());
        tail.visible_from = std::max(tail.visible_from, k.cpu().now + 1_ns);
        kfree_skb_partial(k, skb, stolen, fn::tcp_add_backlog);
        return true;
    }
    const std::uint64_t limit = (std::uint64_t{sk.sk_rcvbuf} << 1) + (sk.sk_sndbuf >> 1) + 64 * 1024;
    if (std::uint64_t{tp.backlog_len} + sk.sk_rmem_alloc > limit) { // sk_rcvqueues_full()
        k.count(net, Mib::TcpExt_TCPBacklogDrop, packet);
        reason = drop::SOCKET_BACKLOG;
        return false;
    }
    tp.backlog.push_back(skb);
    k.skb(skb).visible_from = k.cpu().now + 1_ns;
    tp.backlog_len += k.skb(skb).truesize;
    k.enqueue(tp.backlog_id, packet, fn::tcp_add_backlog);
    return true;
}

/// A segment for nobody: dropped; the sender is told.
void no_tcp_socket(Kernel& k, NetIndex net, SkbIndex skb)
{
    tcp_v4_fill_cb(k, skb);
    if (tcp_checksum_complete(k, skb)) {
        k.count(net, Mib::Tcp_InCsumErrors, k.skb(skb).packet);
        k.count(net, Mib::Tcp_InErrs, k.skb(skb).packet);
        kfree_skb_reason(k, skb, drop::TCP_CSUM, fn::tcp_v4_rcv);
        return;
    }
    tcp_v4_send_reset(k, skb);
    kfree_skb_reason(k, skb, drop::NO_SOCKET, fn::tcp_v4_rcv);
}

bool wrong_checksum(Kernel& k, NetIndex net, SkbIndex skb)
{
    if (!tcp_checksum_complete(k, skb)) {
        return false;
    }
    k.count(net, Mib::Tcp_InCsumErrors, k.skb(skb).packet);
    k.count(net, Mib::Tcp_InErrs, k.skb(skb).packet);
    kfree_skb_reason(k, skb, drop::TCP_CSUM, fn::tcp_v4_rcv);
    return true;
}

void for_full_socket(Kernel& k, SocketIndex index, SkbIndex skb)
{
    if (tcp_filter(k, index, skb)) {
        ++k.socket(index).sk_drops;
        kfree_skb_reason(k, skb, drop::SOCKET_FILTER, fn::tcp_v4_rcv);
        return;
    }
    tcp_v4_fill_cb(k, skb);
    if (tcp_sk(k, index).state == TcpState::listen) {
        tcp_v4_do_rcv(k, index, skb); // a listener is not locked
        return;
    }
    const BhLock lock(k, index);
    if (!tcp_sk(k, index).owned) {
        tcp_v4_do_rcv(k, index, skb);
        return;
    }
    DropReasonId reason = drop::NOT_SPECIFIED;
    if (!tcp_add_backlog(k, index, skb, reason)) {
        ++k.socket(index).sk_drops;
        kfree_skb_reason(k, skb, reason, fn::tcp_v4_rcv);
    }
}

void for_request(Kernel& k, NetIndex net, std::int32_t row, SkbIndex skb)
{
    const SocketIndex listener = tcp_request(k, row).listener;
    if (wrong_checksum(k, net, skb)) {
        return;
    }
    if (tcp_filter(k, listener, skb)) {
        ++k.socket(listener).sk_drops;
        kfree_skb_reason(k, skb, drop::SOCKET_FILTER, fn::tcp_v4_rcv);
        return;
    }
    tcp_v4_fill_cb(k, skb);
    const SocketIndex child = tcp_check_req(k, listener, skb, row);
    if (child == nothing) {
        ++k.socket(listener).sk_drops;
        kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::tcp_v4_rcv);
        return;
    }
    if (child == listener) { // an ACK of something else: the listener answers it
        for_full_socket(k, listener, skb);
        return;
    }
    if (tcp_child_process(k, listener, child, skb)) {
        tcp_v4_send_reset(k, skb);
        ++k.socket(listener).sk_drops;
        kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::tcp_v4_rcv);
    }
}

/// Nothing to do any more, or a listener that gets the SYN.
SocketIndex for_timewait(Kernel& k, NetIndex net, std::int32_t row, SkbIndex skb)
{
    tcp_v4_fill_cb(k, skb);
    if (wrong_checksum(k, net, skb)) {
        return nothing;
    }
    const TcpHeader th = tcp_hdr(k, skb);
    TcpTwStatus status = tcp_timewait_state_process(k, row, skb, th);
    if (status == TcpTwStatus::syn) {
        const SocketIndex listener = __inet_lookup_listener(k, skb, flow_of_segment(k, skb));
        if (listener != nothing) {
            inet_twsk_kill(k, row);
            return listener;
        }
        status = TcpTwStatus::ack;
    }
    if (status == TcpTwStatus::ack) {
        tcp_v4_timewait_ack(k, skb, row);
    } else if (status == TcpTwStatus::rst) {
        tcp_v4_send_reset(k, skb);
        inet_twsk_kill(k, row);
    }
    kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::tcp_v4_rcv);
    return nothing;
}

SocketIndex control_socket(Kernel& k, NetIndex net)
{
    auto [found, fresh] = k.w.tcp.control.try_emplace(k.cpu_row, nothing);
    if (fresh) {
        Socket sk;
        sk.kind = SocketKind::raw;
        sk.protocol = proto::ipproto_tcp;
        sk.host = k.cpu().host;
        sk.in_use = true;
        sk.hashed = false;
        sk.pmtudisc = IP_PMTUDISC_DO;
        k.w.sockets.push_back(std::move(sk));
        found->second = static_cast<SocketIndex>(k.w.sockets.size() - 1);
    }
    k.socket(found->second).net = net;
    return found->second;
}

void ip_reply_glue_bits(Kernel& k, const void* from, std::uint8_t* to, std::size_t offset, std::size_t length,
                        SkbIndex)
{
    const auto& segment = *static_cast<const std::span<const std::uint8_t>*>(from);
    std::ranges::copy(segment.subspan(offset, length), to);
    k.spend(k.costs().copy(length));
}

/// A header without data, on nobody's account, back to where `skb` came from.
void send_reply(Kernel& k, SkbIndex skb, std::uint32_t seq, std::uint32_t ack, std::uint16_t window,
                std::uint8_t flags, std::uint32_t tsval, std::uint32_t tsecr, bool with_ts)
{
    const TcpFlow flow = flow_of_segment(k, skb);
    std::uint8_t th[20 + TCPOLEN_TSTAMP_ALIGNED] = {};
    const std::size_t size = with_ts ? sizeof th : 20;
    store_be16(th, flow.sport);
    store_be16(th + 2, flow.dport);
    store_be32(th + 4, seq);
    store_be32(th + 8, ack);
    th[12] = static_cast<std::uint8_t>((size / 4) << 4);
    th[13] = flags;
    store_be16(th + 14, window);
    if (with_ts) {
        th[20] = th[21] = 1;
        th[22] = 8;
        th[23] = 10;
        store_be32(th + 24, tsval);
        store_be32(th + 28, tsecr);
    }
    const auto segment = std::span(th, size);
    const std::uint16_t sum =
        transport_checksum(IpAddress::v4(flow.saddr), IpAddress::v4(flow.daddr), proto::ipproto_tcp, segment);
    store_be16(th + 16, sum);
    ip_send_unicast_reply(k, flow.net, skb, flow.daddr, flow.saddr, segment);
    k.count(flow.net, Mib::Tcp_OutSegs, PacketId::none);
}

} // namespace

void ip_send_unicast_reply(Kernel& k, NetIndex net, SkbIndex skb, std::uint32_t daddr, std::uint32_t saddr,
                           std::span<const std::uint8_t> segment)
{
    Call call(k, fn::ip_send_unicast_reply, skb);
    const PacketId cause = k.skb(skb).packet;
    const SocketIndex sk = control_socket(k, net);
    Flowi4 fl4;
    fl4.net = net;
    fl4.daddr = daddr;
    fl4.saddr = saddr;
    fl4.proto = proto::ipproto_tcp;
    const Destination route = ip_route_output_flow(k, fl4, cause);
    if (!route.valid) {
        return;
    }
    IpcmCookie ipc;
    ipc.address = daddr;
    const GetFrag getfrag{ip_reply_glue_bits, &segment};
    if (ip_append_data(k, sk, fl4, getfrag, static_cast<std::uint32_t>(segment.size()), 0, ipc, route,
                       MSG_DONTWAIT, k.next_sequence()) < 0) {
        ip_flush_pending_frames(k, k.socket(sk).cork);
        return;
    }
    if (const auto& queue = k.socket(sk).cork.queue; !queue.empty()) {
        const SkbIndex reply = queue.front();
        k.skb(reply).ip_summed = IpSummed::none; // the sum is in the header already
        k.trace.mutable_packet(k.skb(reply).packet).flow =
            FlowKey{IpAddress::v4(saddr), IpAddress::v4(daddr),      proto::ipproto_tcp,
                    proto::eth_p_ip,      load_be16(segment.data()), load_be16(&segment[2])};
        ip_push_pending_frames(k, sk, fl4);
    }
}

TcpFlow flow_of_segment(Kernel& k, SkbIndex skb)
{
    const Ipv4View ip = Ipv4View::unchecked(skb_network(k, skb));
    const TcpHeader th = tcp_hdr(k, skb);
    return {k.skb_net(skb), ip.daddr(), ip.saddr(), th.dest, th.source};
}

bool tcp_checksum_complete(Kernel& k, SkbIndex skb)
{
    if (checksum_right(k, skb)) {
        k.skb(skb).checksum_verified = true;
        return false;
    }
    return true;
}

void tcp_listendrop(Kernel& k, SocketIndex index, PacketId packet)
{
    ++k.socket(index).sk_drops;
    k.count(k.sock_net(index), Mib::TcpExt_ListenDrops, packet);
}

// ---- receive ------------------------------------------------------------------------------------------------------------------------

bool tcp_v4_early_demux(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::tcp_v4_early_demux, skb);
    const SkBuff& buff = k.skb(skb);
    const auto bytes = skb_network(k, skb);
    const auto ip = Ipv4View::checked(bytes);
    if (buff.pkt_type != PktType::host || !ip || bytes.size() < ip->header_length() + 20U ||
        (bytes[ip->header_length() + 12U] >> 4) < 5) {
        return false;
    }
    const std::uint8_t* th = bytes.data() + ip->header_length();
    const TcpFlow flow{k.skb_net(skb), ip->daddr(), ip->saddr(), load_be16(th + 2), load_be16(th)};
    const auto found = __inet_lookup_established(k, flow, buff.packet);
    if (!found) {
        return false;
    }
    if (found->kind == TcpEhash::Kind::socket) {
        k.skb(skb).demuxed = found->row;
        if (const Destination& route = k.socket(found->row).rx_route; route.valid) {
            set_dst(k, skb, route);
        }
    }
    return true;
}

int tcp_v4_rcv(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::tcp_v4_rcv, skb);
    const NetIndex net = k.skb_net(skb);
    SkBuff& buff = k.skb(skb);
    const auto drop_it = [&](DropReasonId reason) {
        kfree_skb_reason(k, skb, reason, fn::tcp_v4_rcv);
        return 0;
    };
    if (buff.pkt_type != PktType::host) {
        return drop_it(drop::NOT_SPECIFIED);
    }
    k.count(net, Mib::Tcp_InSegs, buff.packet);
    if (buff.len < 20) {
        return drop_it(drop::NOT_SPECIFIED);
    }
    buff.transport_header = static_cast<std::uint16_t>(buff.data);
    const std::uint8_t doff = segment_of(k, skb)[12] >> 4;
    if (doff < 5) {
        k.count(net, Mib::Tcp_InErrs, buff.packet);
        return drop_it(drop::PKT_TOO_SMALL);
    }
    if (buff.len < doff * 4U) {
        return drop_it(drop::NOT_SPECIFIED);
    }
    const TcpFlow flow = flow_of_segment(k, skb);
    // __inet_lookup_skb(): what early demux found, an established flow, a listener.
    SocketIndex sk = nothing;
    std::optional<TcpEhash> found;
    {
        Call lookup(k, fn::__inet_lookup_skb, skb);
        if (const SocketIndex early = std::exchange(buff.demuxed, nothing);
            early != nothing && k.socket(early).in_use) {
            found = TcpEhash{TcpEhash::Kind::socket, early};
        } else {
            found = __inet_lookup_established(k, flow, buff.packet);
        }
        if (!found) {
            sk = __inet_lookup_listener(k, skb, flow);
        }
    }
    if (found && found->kind == TcpEhash::Kind::request) {
        for_request(k, net, found->row, skb);
        return 0;
    }
    if (found && found->kind == TcpEhash::Kind::timewait) {
        sk = for_timewait(k, net, found->row, skb);
        if (sk == nothing) {
            return 0;
        }
    } else if (found) {
        sk = found->row;
    }
    if (sk == nothing) {
        no_tcp_socket(k, net, skb);
        return 0;
    }
    const std::uint32_t isn = tcp_cb(k, skb).isn;
    (void)isn;
    for_full_socket(k, sk, skb);
    return 0;
}

void tcp_v4_do_rcv(Kernel& k, SocketIndex index, SkbIndex skb)
{
    Call call(k, fn::tcp_v4_do_rcv, skb);
    TcpSock& tp = tcp_sk(k, index);
    if (tp.state != TcpState::listen) {
        sock_rps_save_rxhash(k, index, skb);
    }
    if (tp.state == TcpState::established) {
        tcp_rcv_established(k, index, skb);
        return;
    }
    if (tcp_checksum_complete(k, skb)) {
        k.count(k.sock_net(index), Mib::Tcp_InCsumErrors, k.skb(skb).packet);
        k.count(k.sock_net(index), Mib::Tcp_InErrs, k.skb(skb).packet);
        kfree_skb_reason(k, skb, drop::TCP_CSUM, fn::tcp_v4_do_rcv);
        return;
    }
    if (tp.state == TcpState::listen && !tcp_hdr(k, skb).syn()) { // tcp_v4_cookie_check()
        const SocketIndex child = cookie_v4_check(k, index, skb);
        if (child == nothing) {
            kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::tcp_v4_do_rcv);
            return;
        }
        if (child != index) {
            if (tcp_child_process(k, index, child, skb)) {
                tcp_v4_send_reset(k, skb);
                kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::tcp_v4_do_rcv);
            }
            return;
        }
    }
    if (tcp_rcv_state_process(k, index, skb)) {
        tcp_v4_send_reset(k, skb);
        kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::tcp_v4_do_rcv);
    }
}

void tcp_v4_err(Kernel& k, SkbIndex skb, std::uint32_t)
{
    // An ICMP error about a segment of ours. The quoted header names the flow; a SYN that nobody wants ends the attempt.
    const auto quoted = skb_data(k, skb);
    const auto ip = Ipv4View::checked(quoted);
    if (!ip || quoted.size() < ip->header_length() + 8U) {
        return;
    }
    const std::uint8_t* th = quoted.data() + ip->header_length();
    const TcpFlow flow{k.skb_net(skb), ip->saddr(), ip->daddr(), load_be16(th), load_be16(th + 2)};
    const auto found = __inet_lookup_established(k, flow, k.skb(skb).packet);
    if (!found || found->kind != TcpEhash::Kind::socket) {
        k.count(k.skb_net(skb), Mib::Icmp_InErrors, k.skb(skb).packet);
        return;
    }
    const BhLock lock(k, found->row);
    TcpSock& tp = tcp_sk(k, found->row);
    const std::uint32_t seq = load_be32(th + 4);
    if (tp.owned) {
        k.count(k.skb_net(skb), Mib::TcpExt_LockDroppedIcmps, k.skb(skb).packet);
    }
    if (tp.state != TcpState::listen && !between(seq, tp.snd_una, tp.snd_nxt)) {
        k.count(k.skb_net(skb), Mib::TcpExt_OutOfWindowIcmps, k.skb(skb).packet);
        return;
    }
    if (!tp.owned && tcp_in_state(tp, {TcpState::syn_sent, TcpState::syn_recv})) {
        tp.sk_err = 113; // EHOSTUNREACH
        tcp_done(k, found->row);
    }
}

// ---- connect --------------------------------------------------------------------------------------------------------------------------

int tcp_v4_connect(Kernel& k, SocketIndex index, std::uint32_t address, std::uint16_t port)
{
    Call call(k, fn::tcp_v4_connect);
    Socket& sk = k.socket(index);
    TcpSock& tp = tcp_sk(k, index);
    const Destination route = ip_route_output_flow(k, sk.net, address, sk.rcv_saddr);
    if (!route.valid) {
        k.count(sk.net, Mib::Ip_OutNoRoutes, PacketId::none);
        return -101; // ENETUNREACH
    }
    if (sk.rcv_saddr == 0) {
        sk.rcv_saddr = route.source;
    }
    sk.daddr = address;
    sk.dport = port;
    tp.rx_opt.mss_clamp = 536;
    tcp_set_state(k, index, TcpState::syn_sent);
    if (const int error = inet_hash_connect(k, index); error != 0) {
        tcp_set_state(k, index, TcpState::close);
        return error;
    }
    sk.cached_route = route;
    (void)tcp_name_queue(k, index);
    tp.write_seq = static_cast<std::uint32_t>(k.random(0)); // secure_tcp_seq()
    tp.tsoffset = static_cast<std::uint32_t>(k.random(0));  // secure_tcp_ts_off()
    tp.rx_opt.mss_clamp = 65495;
    tcp_connect(k, index);
    k.interleave(); // the socket is still locked: an answer that comes now waits in its backlog
    tcp_steal_time(k);
    return 0;
}

void tcp_v4_send_check(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::tcp_v4_send_check, skb);
    // CHECKSUM_PARTIAL: the field bears the pseudo header's sum; the hardware, or skb_checksum_help(), adds the rest.
    Call inner(k, fn::__tcp_v4_send_check, skb);
    SkBuff& buff = k.skb(skb);
    std::uint32_t saddr = 0, daddr = 0;
    if (buff.sk != nothing) {
        saddr = k.socket(buff.sk).rcv_saddr;
        daddr = k.socket(buff.sk).daddr;
    }
    auto& head = buff.head.writable();
    store_be16(&head[buff.transport_header + 16U],
               static_cast<std::uint16_t>(~csum_tcpudp_magic(saddr, daddr, buff.len, proto::ipproto_tcp)));
}

// ---- answers without a socket -------------------------------------------------------------------------------------------------------------

void tcp_v4_send_reset(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::tcp_v4_send_reset, skb);
    const TcpHeader th = tcp_hdr(k, skb);
    if (th.rst()) {
        return; // never answer a RST with a RST
    }
    const NetIndex net = k.skb_net(skb);
    // The segment's own length is what lies behind its header: data may have been pulled already.
    const TcpCb& cb = tcp_cb(k, skb);
    const std::uint32_t seq = th.ack() ? th.ack_seq : 0;
    const std::uint32_t ack = th.ack() ? 0 : cb.end_seq;
    send_reply(k, skb, seq, ack, 0, static_cast<std::uint8_t>(tcphdr::rst | (th.ack() ? 0 : tcphdr::ack)), 0,
               0, false);
    k.count(net, Mib::Tcp_OutRsts, k.skb(skb).packet);
}

void tcp_v4_timewait_ack(Kernel& k, SkbIndex skb, std::int32_t row)
{
    const TcpTimewait& tw = tcp_timewait(k, row);
    Call call(k, fn::tcp_v4_send_ack, skb);
    const std::uint32_t tsval = static_cast<std::uint32_t>(k.cpu().now.ns / 1'000'000) + 1000 + tw.ts_offset;
    send_reply(k, skb, tw.snd_nxt, tw.rcv_nxt, static_cast<std::uint16_t>(tw.rcv_wnd >> tw.rcv_wscale),
               tcphdr::ack, tsval, tw.ts_recent, tw.ts_recent_stamp != 0);
}

void tcp_v4_reqsk_send_ack(Kernel& k, SkbIndex skb, std::int32_t row)
{
    Call outer(k, fn::tcp_v4_reqsk_send_ack, skb);
    const TcpRequest& req = tcp_request(k, row);
    Call call(k, fn::tcp_v4_send_ack, skb);
    const std::uint32_t tsval = static_cast<std::uint32_t>(k.cpu().now.ns / 1'000'000) + 1000 + req.ts_off;
    send_reply(k, skb, req.snt_isn + 1, req.rcv_nxt,
               static_cast<std::uint16_t>(req.rsk_rcv_wnd >> req.rcv_wscale), tcphdr::ack, tsval,
               req.ts_recent, req.tstamp_ok);
}

// ---- passive open ---------------------------------------------------------------------------------------------------------------------------

int tcp_v4_conn_request(Kernel& k, SocketIndex index, SkbIndex skb)
{
    Call call(k, fn::tcp_v4_conn_request, skb);
    if (k.skb(skb).pkt_type != PktType::host) {
        tcp_listendrop(k, index, k.skb(skb).packet); // never answer a broadcast
        return 0;
    }
    return tcp_conn_request(k, index, skb);
}

void tcp_v4_send_synack(Kernel& k, std::int32_t row, SkbIndex syn)
{
    Call call(k, fn::tcp_v4_send_synack);
    const TcpRequest req = tcp_request(k, row);
    // tcp_conn_request() has the route already (route_req); a repetition looks it up, before there is anything to send.
    const Destination route = syn != nothing ? k.socket(req.listener).cached_route
                                             : ip_route_output_flow(k, req.flow.net, req.flow.daddr,
                                                                    req.flow.saddr, PacketId::none);
    if (!route.valid) {
        return;
    }
    const SkbIndex skb = tcp_make_synack(k, row);
    {
        Call check(k, fn::__tcp_v4_send_check, skb);
        SkBuff& buff = k.skb(skb);
        auto& head = buff.head.writable();
        store_be16(&head[buff.transport_header + 16U],
                   static_cast<std::uint16_t>(
                       ~csum_tcpudp_magic(req.flow.saddr, req.flow.daddr, buff.len, proto::ipproto_tcp)));
    }
    set_dst(k, skb, route);
    ip_build_and_send_pkt(k, skb, req.listener, req.flow.saddr, req.flow.daddr, 0);
}

SocketIndex tcp_v4_syn_recv_sock(Kernel& k, SocketIndex listener, SkbIndex skb, std::int32_t row)
{
    Call call(k, fn::tcp_v4_syn_recv_sock, skb);
    const NetIndex net = k.sock_net(listener);
    const PacketId packet = k.skb(skb).packet;
    TcpSock& parent = tcp_sk(k, listener);
    if (parent.accept_queue.size() > parent.max_ack_backlog) { // sk_acceptq_is_full()
        k.count(net, Mib::TcpExt_ListenOverflows, packet);
        tcp_listendrop(k, listener, packet);
        return nothing;
    }
    const SocketIndex child = tcp_create_openreq_child(k, listener, row, skb);
    const TcpRequest& req = tcp_request(k, row);
    Socket& sk = k.socket(child);
    TcpSock& tp = tcp_sk(k, child);
    sk.rx_route = k.skb(skb).dst;
    sk.cached_route = ip_route_output_flow(k, net, req.flow.daddr, req.flow.saddr, packet);
    tcp_sync_mss(k, child);
    tp.advmss =
        (sk.cached_route.device == nothing ? 1500 : std::min(k.device(sk.cached_route.device).mtu, 65535U)) -
        40;
    tcp_initialize_rcv_mss(tp);
    k.w.tcp.bound[{net, sk.num}].push_back(child); // __inet_inherit_port()
    inet_ehash_insert(k, req.flow, {TcpEhash::Kind::socket, child});
    (void)tcp_name_queue(k, child);
    return child;
}

} // namespace skbscope::kernel
