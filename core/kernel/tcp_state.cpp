// Of net/ipv4/tcp_input.c: the states of RFC 9293 before and after "established": a SYN for a listener, the answer to ours, the
// end of the handshake, the close, a reset.

#include "core/kernel/tcp_input.h"

#include <utility>

namespace skbscope::kernel {

namespace {

/// A SYN or SYN-ACK was sent again for nothing where the acknowledgement echoes the timestamp of the first one.
void tcp_try_undo_spurious_syn(TcpSock& tp)
{
    const bool echoes_first =
        tp.rx_opt.saw_tstamp && tp.retrans_stamp != 0 && tp.retrans_stamp == tp.rx_opt.rcv_tsecr;
    tp.undo_marker = echoes_first ? 0 : tp.undo_marker;
}

/// What a SYN-ACK does to a socket that waits for it. 0: done; 1: answer with a RST.
int tcp_rcv_synsent_state_process(Kernel& k, SocketIndex index, SkbIndex skb, const TcpHeader& th)
{
    Call call(k, fn::tcp_rcv_synsent_state_process, skb);
    TcpSock& tp = tcp_sk(k, index);
    const NetIndex net = k.sock_net(index);
    const TcpCb cb = tcp_cb(k, skb);
    const PacketId packet = k.skb(skb).packet;
    const TcpOptions saved = tp.rx_opt;
    tcp_parse_options(k, net, th, tp.rx_opt, false, &tcp_cb(k, skb));
    if (tp.rx_opt.saw_tstamp && tp.rx_opt.rcv_tsecr != 0) {
        tp.rx_opt.rcv_tsecr -= tp.tsoffset;
    }
    const auto undo = [&] {
        const std::uint16_t clamp = saved.mss_clamp;
        tp.rx_opt.tstamp_ok = tp.rx_opt.sack_ok = tp.rx_opt.wscale_ok = false;
        tp.rx_opt.snd_wscale = 0;
        tp.rx_opt.mss_clamp = clamp;
    };
    const auto discard = [&](DropReasonId reason) {
        undo();
        tcp_drop_reason(k, index, skb, reason, fn::tcp_rcv_synsent_state_process);
        return 0;
    };
    if (!th.ack()) {
        if (th.rst()) {
            return discard(drop::TCP_RESET);
        }
        // Two SYNs that cross each other on the way are not modelled: the peer's is dropped, and our retransmission decides.
        return discard(drop::TCP_FLAGS);
    }
    if (!after(cb.ack_seq, tp.snd_una) || after(cb.ack_seq, tp.snd_nxt)) {
        if (tp.retransmits == 0) {
            inet_csk_reset_xmit_timer(k, index, TcpTimer::retrans, TCP_TIMEOUT_MIN, TCP_RTO_MAX);
        }
        undo();
        return 1;
    }
    if (tp.rx_opt.saw_tstamp && tp.rx_opt.rcv_tsecr != 0 &&
        !between(tp.rx_opt.rcv_tsecr, tp.retrans_stamp, tcp_time_stamp(tp))) {
        k.count(net, Mib::TcpExt_PAWSActive, packet);
        undo();
        return 1;
    }
    if (th.rst()) {
        tcp_reset(k, index, packet);
        __kfree_skb(k, skb, Verdict::consumed, fn::tcp_rcv_synsent_state_process);
        return 0;
    }
    if (!th.syn()) {
        return discard(drop::TCP_FLAGS);
    }
    tp.snd_wl1 = cb.seq;
    tcp_try_undo_spurious_syn(tp);
    tcp_ack(k, index, skb, FLAG_SLOWPATH);
    tp.rcv_nxt = cb.seq + 1;
    tp.rcv_wup = cb.seq + 1;
    tp.snd_wnd = th.window; // never scaled in a SYN
    if (!tp.rx_opt.wscale_ok) {
        tp.rx_opt.snd_wscale = tp.rx_opt.rcv_wscale = 0;
        tp.window_clamp = std::min(tp.window_clamp, 65535U);
    }
    if (tp.rx_opt.saw_tstamp) {
        tp.rx_opt.tstamp_ok = true;
        tp.tcp_header_len = 20 + TCPOLEN_TSTAMP_ALIGNED;
        tp.advmss -= TCPOLEN_TSTAMP_ALIGNED;
        tcp_store_ts_recent(k, tp);
    } else {
        tp.tcp_header_len = 20;
    }
    tcp_sync_mss(k, index);
    tcp_initialize_rcv_mss(tp);
    tp.copied_seq = tp.rcv_nxt;
    {
        Call finish(k, fn::tcp_finish_connect, packet);
        tcp_set_state(k, index, TcpState::established);
        tp.ack.lrcvtime = tcp_jiffies32(k);
        k.socket(index).rx_route = k.skb(skb).dst;
        tcp_init_transfer(k, index, packet);
        tp.lsndtime = tcp_jiffies32(k);
        tp.pred_flags = 0;
        if (tp.rx_opt.snd_wscale == 0) {
            tcp_fast_path_on(tp);
        }
    }
    if (!tp.dead) {
        tcp_state_change(k, index, packet);
    }
    tcp_send_ack(k, index);
    tcp_data_snd_check(k, index, packet);
    __kfree_skb(k, skb, Verdict::consumed, fn::tcp_rcv_state_process);
    return 0;
}

/// What a step of tcp_rcv_state_process() leaves of its segment.
enum class Segment : std::uint8_t {
    goes_on,
    consumed, ///< its part is done, and it is to be freed
    gone,     ///< freed
    reset,    ///< it is to be answered with a RST, and freed by whoever does
};

/// A listener takes SYNs alone.
Segment rcv_in_listen(Kernel& k, SocketIndex index, SkbIndex skb, const TcpHeader& th)
{
    if (th.ack()) {
        return Segment::reset;
    }
    if (th.rst() || !th.syn() || th.fin()) {
        tcp_drop_reason(k, index, skb, th.rst() ? drop::TCP_RESET : drop::TCP_FLAGS,
                        fn::tcp_rcv_state_process);
        return Segment::gone;
    }
    tcp_v4_conn_request(k, index, skb);
    k.verdict(k.skb(skb).packet, Verdict::consumed, fn::tcp_rcv_state_process);
    consume_skb(k, skb, fn::tcp_rcv_state_process);
    return Segment::gone;
}

/// The acknowledgement of our SYN-ACK.
void ack_in_syn_recv(Kernel& k, SocketIndex index, SkbIndex skb, const TcpHeader& th)
{
    TcpSock& tp = tcp_sk(k, index);
    const PacketId packet = k.skb(skb).packet;
    ++tp.delivered;
    if (tp.rx_opt.tstamp_ok) {
        tp.advmss -= TCPOLEN_TSTAMP_ALIGNED;
    }
    tcp_try_undo_spurious_syn(tp);
    tp.retrans_stamp = 0;
    tcp_init_transfer(k, index, packet);
    tp.copied_seq = tp.rcv_nxt;
    tcp_set_state(k, index, TcpState::established);
    tcp_state_change(k, index, packet);
    tp.snd_una = tcp_cb(k, skb).ack_seq;
    tp.snd_wnd = std::uint32_t{th.window} << tp.rx_opt.snd_wscale;
    tp.snd_wl1 = tcp_cb(k, skb).seq;
    tcp_update_pacing_rate(k, index);
    tp.lsndtime = tcp_jiffies32(k);
    tcp_initialize_rcv_mss(tp);
    tcp_fast_path_on(tp);
}

/// Whether a segment brings more than what we have, its FIN not counted.
bool has_new_data(const TcpSock& tp, const TcpCb& cb, const TcpHeader& th)
{
    return cb.end_seq != cb.seq && after(cb.end_seq - (th.fin() ? 1 : 0), tp.rcv_nxt);
}

/// An acknowledgement in FIN-WAIT-1, perhaps that of our FIN.
Segment ack_in_fin_wait1(Kernel& k, SocketIndex index, SkbIndex skb, const TcpHeader& th)
{
    TcpSock& tp = tcp_sk(k, index);
    if (tp.snd_una != tp.write_seq) {
        return Segment::goes_on;
    }
    tcp_set_state(k, index, TcpState::fin_wait2);
    tp.shutdown |= SEND_SHUTDOWN;
    if (!tp.dead) {
        tcp_state_change(k, index, k.skb(skb).packet);
        return Segment::goes_on;
    }
    if (has_new_data(tp, tcp_cb(k, skb), th)) {
        tcp_done(k, index); // data for nobody
        k.count(k.sock_net(index), Mib::TcpExt_TCPAbortOnData, k.skb(skb).packet);
        return Segment::reset;
    }
    const std::uint32_t tmo =
        std::max(static_cast<std::uint32_t>(tcp_sysctl(k, index).tcp_fin_timeout) * TCP_HZ,
                 (tp.rto << 2) - (tp.rto >> 1)); // tcp_fin_time()
    if (tmo > TCP_TIMEWAIT_LEN) {
        tcp_reset_keepalive_timer(k, index, tmo - TCP_TIMEWAIT_LEN);
    } else if (th.fin() || tp.owned) {
        tcp_reset_keepalive_timer(k, index, tmo);
    } else {
        tcp_time_wait(k, index, TcpState::fin_wait2, tmo);
        return Segment::consumed;
    }
    return Segment::goes_on;
}

/// "step 5: check the ACK field": which state follows from what is acknowledged.
Segment check_ack_field(Kernel& k, SocketIndex index, SkbIndex skb, const TcpHeader& th)
{
    TcpSock& tp = tcp_sk(k, index);
    const int acceptable =
        tcp_ack(k, index, skb, FLAG_SLOWPATH | FLAG_UPDATE_TS_RECENT | FLAG_NO_CHALLENGE_ACK);
    if (acceptable <= 0 && tp.state == TcpState::syn_recv) {
        return Segment::reset;
    }
    if (acceptable < 0) {
        tcp_send_challenge_ack(k, index);
        tcp_drop_reason(k, index, skb, ack_reason(acceptable), fn::tcp_rcv_state_process);
        return Segment::gone;
    }
    switch (tp.state) {
    case TcpState::syn_recv: ack_in_syn_recv(k, index, skb, th); break;
    case TcpState::fin_wait1: return ack_in_fin_wait1(k, index, skb, th);
    case TcpState::closing:
        if (tp.snd_una == tp.write_seq) {
            tcp_time_wait(k, index, TcpState::time_wait, 0);
            return Segment::consumed;
        }
        break;
    case TcpState::last_ack:
        if (tp.snd_una == tp.write_seq) {
            tcp_done(k, index);
            return Segment::consumed;
        }
        break;
    default: break;
    }
    return Segment::goes_on;
}

/// "step 7: process the segment text": queued where the state still takes data.
Segment process_segment_text(Kernel& k, SocketIndex index, SkbIndex skb, const TcpHeader& th)
{
    TcpSock& tp = tcp_sk(k, index);
    const TcpCb cb = tcp_cb(k, skb);
    switch (tp.state) {
    case TcpState::close_wait:
    case TcpState::closing:
    case TcpState::last_ack:
        if (!before(cb.seq, tp.rcv_nxt)) {
            return Segment::goes_on;
        }
        [[fallthrough]];
    case TcpState::fin_wait1:
    case TcpState::fin_wait2:
        if ((tp.shutdown & RCV_SHUTDOWN) != 0 && has_new_data(tp, cb, th)) {
            const PacketId packet = k.skb(skb).packet;
            k.count(k.sock_net(index), Mib::TcpExt_TCPAbortOnData, packet);
            tcp_reset(k, index, packet);
            return Segment::reset; // data after close() or behind its own FIN: nobody will read it
        }
        [[fallthrough]];
    case TcpState::established: tcp_data_queue(k, index, skb); return Segment::gone;
    default: return Segment::goes_on;
    }
}

} // namespace

void tcp_init_transfer(Kernel& k, SocketIndex index, PacketId packet)
{
    Call call(k, fn::tcp_init_transfer, packet);
    TcpSock& tp = tcp_sk(k, index);
    Socket& sk = k.socket(index);
    tp.snd_cwnd = tp.total_retrans > 1 && tp.undo_marker != 0 ? 1 : TCP_INIT_CWND;
    tp.snd_cwnd_stamp = tcp_jiffies32(k);
    // tcp_init_buffer_space()
    const bool nospace = std::exchange(tp.nospace, false);
    if (!tp.sndbuf_locked) { // tcp_sndbuf_expand()
        const std::uint32_t wanted = std::max<std::uint32_t>(tp.rx_opt.mss_clamp, tp.mss_cache) +
                                     MAX_TCP_HEADER + sizeof_skb_shared_info;
        std::uint32_t per_mss = 1;
        while (per_mss < wanted) {
            per_mss <<= 1;
        }
        const std::uint32_t sndmem =
            2 * std::max({TCP_INIT_CWND, tp.snd_cwnd, tp.reordering + 1}) * (per_mss + sizeof_sk_buff);
        sk.sk_sndbuf = std::max(
            sk.sk_sndbuf, std::min(sndmem, static_cast<std::uint32_t>(tcp_sysctl(k, index).tcp_wmem_max)));
    }
    tp.nospace = nospace;
    tcp_mstamp_refresh(k, tp);
    tp.rcvq_time = tp.mstamp;
    tp.rcvq_seq = tp.copied_seq;
    const auto maxwin = static_cast<std::uint32_t>(tcp_full_space(k, index));
    const auto app_win = tcp_sysctl(k, index).tcp_app_win;
    if (tp.window_clamp >= maxwin) {
        tp.window_clamp = maxwin;
        if (app_win != 0 && maxwin > 4 * tp.advmss) {
            tp.window_clamp = std::max(maxwin - (app_win >= 32 ? 0 : maxwin >> app_win), 4 * tp.advmss);
        }
    }
    if (app_win != 0 && tp.window_clamp > 2 * tp.advmss && tp.window_clamp + tp.advmss > maxwin) {
        tp.window_clamp = std::max(2 * tp.advmss, maxwin - tp.advmss);
    }
    tp.rcv_ssthresh = std::min(tp.rcv_ssthresh, tp.window_clamp);
    tp.rcvq_space = std::min({tp.rcv_ssthresh, tp.rcv_wnd, TCP_INIT_CWND * tp.advmss});
}

void tcp_reset(Kernel& k, SocketIndex index, PacketId cause)
{
    Call call(k, fn::tcp_reset, cause);
    TcpSock& tp = tcp_sk(k, index);
    switch (tp.state) {
    case TcpState::syn_sent: tp.sk_err = 111; break;   // ECONNREFUSED
    case TcpState::close_wait: tp.sk_err = 32; break;  // EPIPE
    case TcpState::close: return;
    default: tp.sk_err = 104; break;                   // ECONNRESET
    }
    tcp_write_queue_purge(k, index);
    tcp_done(k, index);
}

bool tcp_rcv_state_process(Kernel& k, SocketIndex index, SkbIndex skb)
{
    Call call(k, fn::tcp_rcv_state_process, skb);
    TcpSock& tp = tcp_sk(k, index);
    const PacketId packet = k.skb(skb).packet;
    const TcpHeader th = tcp_hdr(k, skb);
    const auto discard = [&](DropReasonId reason) {
        tcp_drop_reason(k, index, skb, reason, fn::tcp_rcv_state_process);
        return false;
    };
    if (tp.state == TcpState::close) {
        return discard(drop::TCP_CLOSE);
    }
    if (tp.state == TcpState::listen) {
        return rcv_in_listen(k, index, skb, th) == Segment::reset;
    }
    tcp_mstamp_refresh(k, tp);
    tp.rx_opt.saw_tstamp = false;
    if (tp.state == TcpState::syn_sent) {
        return tcp_rcv_synsent_state_process(k, index, skb, th) != 0;
    }
    if (!th.ack() && !th.rst() && !th.syn()) {
        return discard(drop::TCP_FLAGS);
    }
    if (!tcp_validate_incoming(k, index, skb, th, false)) {
        return false;
    }
    Segment left = check_ack_field(k, index, skb, th);
    if (left == Segment::consumed) {
        __kfree_skb(k, skb, Verdict::consumed, fn::tcp_rcv_state_process);
    }
    if (left != Segment::goes_on) {
        return left == Segment::reset;
    }
    left = process_segment_text(k, index, skb, th);
    if (left == Segment::reset) {
        return true;
    }
    if (tp.in_use && tp.state != TcpState::close) { // tcp_data_queue() may have made a time-wait socket of it
        tcp_data_snd_check(k, index, packet);
        tcp_ack_snd_check(k, index);
    }
    return left == Segment::gone ? false : discard(drop::NOT_SPECIFIED);
}

int tcp_conn_request(Kernel& k, SocketIndex index, SkbIndex skb)
{
    Call call(k, fn::tcp_conn_request, skb);
    TcpSock& tp = tcp_sk(k, index);
    const NetIndex net = k.sock_net(index);
    const Sysctls& sysctl = k.net(net).sysctl;
    const PacketId packet = k.skb(skb).packet;
    std::uint32_t isn = tcp_cb(k, skb).isn;
    const auto drop_syn = [&] {
        tcp_listendrop(k, index, packet);
        return 0;
    };
    const bool queue_is_full = tp.qlen > tp.max_ack_backlog; // inet_csk_reqsk_queue_is_full()
    bool want_cookie = false;
    if ((sysctl.tcp_syncookies == 2 || queue_is_full) && isn == 0) { // tcp_syn_flood_action()
        want_cookie = sysctl.tcp_syncookies != 0;
        k.count(net, want_cookie ? Mib::TcpExt_TCPReqQFullDoCookies : Mib::TcpExt_TCPReqQFullDrop, packet);
        if (!want_cookie) {
            return drop_syn();
        }
    }
    if (tp.accept_queue.size() > tp.max_ack_backlog) { // sk_acceptq_is_full(): one more than the backlog fits
        k.count(net, Mib::TcpExt_ListenOverflows, packet);
        return drop_syn();
    }
    const TcpHeader th = tcp_hdr(k, skb);
    const TcpFlow flow = flow_of_segment(k, skb);
    TcpOptions opt;
    opt.mss_clamp = 536;
    tcp_parse_options(k, net, th, opt, false, nullptr);
    if (want_cookie && !opt.saw_tstamp) { // tcp_clear_options(): there is no place for them
        opt.sack_ok = opt.wscale_ok = false;
        opt.snd_wscale = 0;
    }
    if (!want_cookie && isn == 0 && sysctl.tcp_syncookies == 0 &&
        sysctl.tcp_max_syn_backlog - static_cast<std::int64_t>(tp.qlen) < (sysctl.tcp_max_syn_backlog >> 2)) {
        return drop_syn(); // the last quarter is for peers that are known
    }
    const Destination route = ip_route_output_flow(k, net, flow.daddr, flow.saddr, packet);
    if (!route.valid) {
        return drop_syn();
    }
    const std::int32_t row = new_request(k);
    TcpRequest& req = tcp_request(k, row);
    req.flow = flow;
    req.listener = index;
    req.rcv_isn = tcp_cb(k, skb).seq;
    req.rcv_nxt = req.rcv_isn + 1;
    req.mss = opt.mss_clamp;
    req.ts_recent = opt.saw_tstamp ? opt.rcv_tsval : 0;
    req.tstamp_ok = opt.saw_tstamp;
    req.sack_ok = opt.sack_ok;
    req.wscale_ok = opt.wscale_ok;
    req.snd_wscale = opt.snd_wscale;
    if (want_cookie) {
        cookie_init_sequence(k, index, req, packet);
    } else {
        req.ts_off = req.tstamp_ok ? static_cast<std::uint32_t>(k.random(0)) : 0;
        req.snt_isn = isn != 0 ? isn : static_cast<std::uint32_t>(k.random(0));
    }
    // tcp_openreq_init_rwin()
    k.socket(index).cached_route = route;
    tp.advmss = (route.device == nothing ? 1500 : std::min(k.device(route.device).mtu, 65535U)) - 40;
    const std::int64_t full_space = tcp_full_space(k, index);
    req.window_clamp = tp.window_clamp;
    tcp_select_initial_window(k, net, full_space, tp.advmss - (req.tstamp_ok ? TCPOLEN_TSTAMP_ALIGNED : 0),
                              req.rsk_rcv_wnd, req.window_clamp, req.wscale_ok, req.rcv_wscale);
    if (!want_cookie) {
        inet_csk_reqsk_queue_hash_add(k, row);
    }
    tcp_v4_send_synack(k, row, skb);
    if (want_cookie) {
        free_request(k, row); // the ACK will bring it back
    }
    return 0;
}

} // namespace skbscope::kernel
