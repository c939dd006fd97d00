// net/ipv4/tcp_timer.c: what happens to a connection when nothing comes.

#include "core/kernel/tcp_functions.h"

#include <bit>

namespace skbscope::kernel {

namespace {

void tcp_write_err(Kernel& k, SocketIndex index)
{
    tcp_sk(k, index).sk_err = 110; // ETIMEDOUT
    tcp_write_queue_purge(k, index);
    tcp_done(k, index);
    k.count(k.sock_net(index), Mib::TcpExt_TCPAbortOnTimeout, PacketId::none);
}

std::uint32_t tcp_orphan_retries(Kernel& k, SocketIndex index, bool alive)
{
    const auto retries = static_cast<std::uint32_t>(tcp_sysctl(k, index).tcp_orphan_retries);
    if (retries == 0 && alive) {
        return 8;
    }
    return tcp_sk(k, index).sk_err != 0 && !alive ? 0 : retries;
}

/// retransmits_timed_out(): longer without an answer than so many doublings would take.
bool retransmits_timed_out(Kernel& k, SocketIndex index, std::uint32_t boundary, std::uint32_t rto_base)
{
    const TcpSock& tp = tcp_sk(k, index);
    if (tp.retransmits == 0) {
        return false;
    }
    // tcp_model_timeout(), in jiffies
    const auto linear = static_cast<std::uint32_t>(std::bit_width(TCP_RTO_MAX / rto_base) - 1);
    const std::uint64_t timeout = boundary <= linear ? ((std::uint64_t{2} << boundary) - 1) * rto_base
                                                     : ((std::uint64_t{2} << linear) - 1) * rto_base +
                                                           std::uint64_t{boundary - linear} * TCP_RTO_MAX;
    const std::uint32_t start = tp.retrans_stamp != 0 || tp.rtx_queue.empty()
                                    ? tp.retrans_stamp
                                    : tcp_skb_timestamp(tcp_cb(k, tp.rtx_queue.front()).sent);
    const std::uint32_t elapsed_ms = tcp_time_stamp(tp) - start;
    return static_cast<std::int64_t>(elapsed_ms) >= static_cast<std::int64_t>(timeout * 4);
}

/// True: it has been given up.
bool tcp_write_timeout(Kernel& k, SocketIndex index)
{
    TcpSock& tp = tcp_sk(k, index);
    const Sysctls& sysctl = tcp_sysctl(k, index);
    bool expired = false, rehash = true; // 5.10: only as long as the route is not doubted
    if (tcp_in_state(tp, {TcpState::syn_sent, TcpState::syn_recv})) {
        rehash = k.profile() != Profile::v5_10 || tp.retransmits == 0;
        expired = tp.retransmits >= (tp.syn_retries != 0 ? tp.syn_retries : sysctl.tcp_syn_retries);
    } else {
        rehash =
            k.profile() != Profile::v5_10 ||
            !retransmits_timed_out(k, index, static_cast<std::uint32_t>(sysctl.tcp_retries1), TCP_RTO_MIN);
        auto retry_until = static_cast<std::uint32_t>(sysctl.tcp_retries2);
        if (tp.dead) {
            retry_until = tcp_orphan_retries(k, index, tp.rto < TCP_RTO_MAX);
        }
        expired = retransmits_timed_out(k, index, retry_until, TCP_RTO_MIN);
    }
    if (rehash &&
        (!expired || k.profile() == Profile::v5_10)) { // sk_rethink_txhash(): another path may be whole
        k.count(k.sock_net(index), Mib::TcpExt_TcpTimeoutRehash, PacketId::none);
    }
    if (expired) {
        tcp_write_err(k, index);
    }
    return expired;
}

void tcp_retransmit_timer(Kernel& k, SocketIndex index)
{
    Call call(k, fn::tcp_retransmit_timer);
    TcpSock& tp = tcp_sk(k, index);
    if (tp.packets_out == 0 || tp.rtx_queue.empty()) {
        return;
    }
    const NetIndex net = k.sock_net(index);
    const bool zero_window =
        tp.snd_wnd == 0 && !tp.dead && !tcp_in_state(tp, {TcpState::syn_sent, TcpState::syn_recv});
    if (!zero_window) {
        k.count(net, Mib::TcpExt_TCPTimeouts, PacketId::none);
        if (tcp_write_timeout(k, index)) {
            return;
        }
        if (tp.retransmits == 0) {
            if (tp.ca_state == TcpCaState::recovery) {
                k.count(net,
                        tp.rx_opt.sack_ok ? Mib::TcpExt_TCPSackRecoveryFail : Mib::TcpExt_TCPRenoRecoveryFail,
                        PacketId::none);
            } else if (tp.ca_state == TcpCaState::loss) {
                k.count(net, Mib::TcpExt_TCPLossFailures, PacketId::none);
            } else if (tp.ca_state == TcpCaState::disorder || tp.sacked_out != 0) {
                k.count(net, tp.rx_opt.sack_ok ? Mib::TcpExt_TCPSackFailures : Mib::TcpExt_TCPRenoFailures,
                        PacketId::none);
            }
        }
    }
    tcp_enter_loss(k, index);
    if (!zero_window) {
        ++tp.retransmits;
    }
    const SkbIndex head = tp.rtx_queue.front();
    if (tcp_retransmit_skb(k, index, head, 1) > 0) {
        inet_csk_reset_xmit_timer(k, index, TcpTimer::retrans, TCP_RESOURCE_PROBE_INTERVAL, TCP_RTO_MAX);
        return;
    }
    if (!zero_window) {
        ++tp.backoff;
    }
    tp.rto = std::min(tp.rto << 1, TCP_RTO_MAX);
    inet_csk_reset_xmit_timer(k, index, TcpTimer::retrans, tp.rto, TCP_RTO_MAX);
}

void tcp_probe_timer(Kernel& k, SocketIndex index)
{
    TcpSock& tp = tcp_sk(k, index);
    if (tp.packets_out != 0 || tp.write_queue.empty()) {
        tp.probes_out = 0;
        return;
    }
    auto max_probes = static_cast<std::uint32_t>(tcp_sysctl(k, index).tcp_retries2);
    if (tp.dead) {
        max_probes = tcp_orphan_retries(k, index, true);
    }
    if (tp.probes_out >= max_probes) {
        tcp_write_err(k, index);
        return;
    }
    tcp_send_probe0(k, index);
}

} // namespace

void tcp_write_timer_handler(Kernel& k, SocketIndex index)
{
    Call call(k, fn::tcp_write_timer_handler);
    TcpSock& tp = tcp_sk(k, index);
    if (tcp_in_state(tp, {TcpState::close, TcpState::listen}) || tp.pending == TcpTimer::none) {
        return;
    }
    if (after(tp.timeout, tcp_jiffies32(k))) { // put off meanwhile
        const TcpTimer what = tp.pending;
        inet_csk_reset_xmit_timer(k, index, what, tp.timeout - tcp_jiffies32(k), TCP_RTO_MAX);
        return;
    }
    tcp_mstamp_refresh(k, tp);
    switch (tp.pending) {
    case TcpTimer::reo_timeout: tcp_rack_reo_timeout(k, index); break;
    case TcpTimer::loss_probe: tcp_send_loss_probe(k, index); break;
    case TcpTimer::retrans:
        tp.pending = TcpTimer::none;
        tcp_retransmit_timer(k, index);
        break;
    case TcpTimer::probe0:
        tp.pending = TcpTimer::none;
        tcp_probe_timer(k, index);
        break;
    case TcpTimer::none: break;
    }
}

void tcp_write_timer(Kernel& k, SocketIndex index, std::uint64_t generation)
{
    if (!k.socket(index).in_use || tcp_sk(k, index).write_timer != generation) {
        return;
    }
    Call call(k, fn::tcp_write_timer);
    const BhLock lock(k, index);
    TcpSock& tp = tcp_sk(k, index);
    tp.write_timer = 0;
    if (tp.pending == TcpTimer::none) {
        return;
    }
    if (tp.owned) {
        tp.write_timer_deferred = true; // release_sock() will see to it
        return;
    }
    tcp_write_timer_handler(k, index);
}

void tcp_delack_timer_handler(Kernel& k, SocketIndex index)
{
    Call call(k, fn::tcp_delack_timer_handler);
    TcpSock& tp = tcp_sk(k, index);
    if (tcp_in_state(tp, {TcpState::close, TcpState::listen})) {
        return;
    }
    if (tp.compressed_ack != 0) { // tcp_compressed_ack_kick() found the socket owned
        tcp_mstamp_refresh(k, tp);
        tcp_sack_compress_send_ack(k, index);
        return;
    }
    if ((tp.ack.pending & ICSK_ACK_TIMER) == 0) {
        return;
    }
    if (after(tp.ack.timeout, tcp_jiffies32(k))) {
        inet_csk_arm_delack(k, index, tp.ack.timeout);
        return;
    }
    tp.ack.pending &= static_cast<std::uint8_t>(~ICSK_ACK_TIMER);
    if (!inet_csk_ack_scheduled(tp)) {
        return;
    }
    if (tp.ack.pingpong < 1) {
        tp.ack.ato = std::min(tp.ack.ato << 1, tp.rto);
    } else {
        tp.ack.pingpong = 0;
        tp.ack.ato = TCP_ATO_MIN;
    }
    tcp_mstamp_refresh(k, tp);
    tcp_send_ack(k, index);
    k.count(k.sock_net(index), Mib::TcpExt_DelayedACKs, PacketId::none);
}

void tcp_delack_timer(Kernel& k, SocketIndex index, std::uint64_t generation)
{
    if (!k.socket(index).in_use || tcp_sk(k, index).delack_timer != generation) {
        return;
    }
    Call call(k, fn::tcp_delack_timer);
    const BhLock lock(k, index);
    TcpSock& tp = tcp_sk(k, index);
    tp.delack_timer = 0;
    if (tp.owned) {
        k.count(k.sock_net(index), Mib::TcpExt_DelayedACKLocked, PacketId::none);
        tp.delack_timer_deferred = true;
        return;
    }
    tcp_delack_timer_handler(k, index);
}

void tcp_compressed_ack_kick(Kernel& k, SocketIndex index, std::uint64_t generation)
{
    if (!k.socket(index).in_use || tcp_sk(k, index).compressed_ack_timer != generation) {
        return;
    }
    Call call(k, fn::tcp_compressed_ack_kick);
    const BhLock lock(k, index);
    TcpSock& tp = tcp_sk(k, index);
    tp.compressed_ack_timer = 0;
    if (tp.owned) {
        tp.delack_timer_deferred = true; // release_sock() will see to it
    } else if (tp.compressed_ack != 0) {
        --tp.compressed_ack; // one is sent after all: the others count as TCPAckCompressed
        tcp_send_ack(k, index);
    }
}

void tcp_keepalive_timer(Kernel& k, std::int32_t index, std::uint64_t generation)
{
    if (index <= -2) { // a half-open connection's SYN-ACK
        reqsk_timer_handler(k, -2 - index, generation);
        return;
    }
    if (!k.socket(index).in_use || tcp_sk(k, index).keepalive_timer != generation) {
        return;
    }
    Call call(k, fn::tcp_keepalive_timer);
    const BhLock lock(k, index);
    TcpSock& tp = tcp_sk(k, index);
    tp.keepalive_timer = 0;
    if (tp.owned) {
        tcp_reset_keepalive_timer(k, index, TCP_HZ / 20);
        return;
    }
    if (tp.state != TcpState::fin_wait2 || !tp.dead) {
        return; // SO_KEEPALIVE is not modelled
    }
    // The peer has not closed its direction in time.
    const std::uint32_t fin_time =
        std::max(static_cast<std::uint32_t>(tcp_sysctl(k, index).tcp_fin_timeout) * TCP_HZ,
                 (tp.rto << 2) - (tp.rto >> 1));
    if (fin_time > TCP_TIMEWAIT_LEN) {
        tcp_time_wait(k, index, TcpState::fin_wait2, fin_time - TCP_TIMEWAIT_LEN);
        return;
    }
    tcp_send_active_reset(k, index);
    tcp_done(k, index);
}

bool tcp_timer_is_stale(const World& w, const DeviceEvent& event)
{
    const auto row = static_cast<std::size_t>(event.index);
    if (event.timer == TimerKind::tcp_time_wait) {
        return !w.tcp.timewaits[row].in_use || w.tcp.timewaits[row].timer != event.order;
    }
    if (event.timer == TimerKind::tcp_keepalive && event.index <= -2) {
        const auto& request = w.tcp.requests[static_cast<std::size_t>(-2 - event.index)];
        return !request.in_use || request.timer != event.order;
    }
    const Socket& sk = w.sockets[row];
    if (!sk.in_use || sk.tcp == nothing) {
        return true;
    }
    const TcpSock& tp = w.tcp.socks[static_cast<std::size_t>(sk.tcp)];
    switch (event.timer) {
    case TimerKind::tcp_write: return tp.write_timer != event.order;
    case TimerKind::tcp_delack: return tp.delack_timer != event.order;
    case TimerKind::tcp_compressed_ack: return tp.compressed_ack_timer != event.order;
    default: return tp.keepalive_timer != event.order;
    }
}

} // namespace skbscope::kernel
