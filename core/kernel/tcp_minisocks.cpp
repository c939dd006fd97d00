// net/ipv4/tcp_minisocks.c: connections that need less than a whole socket: those not yet open and those just closed.

#include "core/kernel/tcp_functions.h"

namespace skbscope::kernel {

namespace {

bool tcp_in_window(std::uint32_t seq, std::uint32_t end_seq, std::uint32_t s_win, std::uint32_t e_win)
{
    if (seq == s_win) {
        return true;
    }
    if (after(end_seq, s_win) && before(seq, e_win)) {
        return true;
    }
    return seq == e_win && seq == end_seq;
}

void inet_twsk_schedule(Kernel& k, std::int32_t row, std::uint32_t timeo)
{
    const SimTime at = SimTime{} + Duration{static_cast<std::int64_t>(tcp_jiffies32(k) + timeo) * 4'000'000};
    tcp_timewait(k, row).timer = mod_timer(k, TimerKind::tcp_time_wait, k.cpu_row, row, at);
}

TcpTwStatus rate_limited_ack(Kernel& k, std::int32_t row, SkbIndex skb, Mib counter)
{
    TcpTimewait& tw = tcp_timewait(k, row);
    return tcp_oow_rate_limited(k, tw.flow.net, skb, counter, tw.last_oow_ack_time) ? TcpTwStatus::success
                                                                                    : TcpTwStatus::ack;
}

} // namespace

TcpTimewait& tcp_timewait(Kernel& k, std::int32_t row)
{
    return k.w.tcp.timewaits[static_cast<std::size_t>(row)];
}

void inet_twsk_kill(Kernel& k, std::int32_t row)
{
    TcpTimewait& tw = tcp_timewait(k, row);
    const auto entry = k.w.tcp.ehash.find(tw.flow);
    if (entry != k.w.tcp.ehash.end() && entry->second.kind == TcpEhash::Kind::timewait &&
        entry->second.row == row) {
        k.w.tcp.ehash.erase(entry);
    }
    tw = TcpTimewait{};
    k.w.tcp.free_timewaits.push_back(row);
}

void tw_timer_handler(Kernel& k, std::int32_t row, std::uint64_t generation)
{
    const TcpTimewait& tw = tcp_timewait(k, row);
    if (!tw.in_use || tw.timer != generation) {
        return;
    }
    Call call(k, fn::tw_timer_handler);
    if (k.profile() == Profile::v5_10) {
        k.count(tw.flow.net, Mib::TcpExt_TW,
                PacketId::none); // later kernels have counted it at its beginning
    }
    inet_twsk_kill(k, row);
}

void tcp_time_wait(Kernel& k, SocketIndex index, TcpState state, std::uint32_t timeo)
{
    Call call(k, fn::tcp_time_wait);
    auto& tables = k.w.tcp;
    std::int32_t row = static_cast<std::int32_t>(tables.timewaits.size());
    if (tables.free_timewaits.empty()) {
        tables.timewaits.emplace_back();
    } else {
        row = tables.free_timewaits.back();
        tables.free_timewaits.pop_back();
    }
    const TcpSock& tp = tcp_sk(k, index);
    TcpTimewait& tw = tcp_timewait(k, row);
    tw = TcpTimewait{};
    tw.in_use = true;
    tw.flow = flow_of_socket(k, index);
    tw.substate = state;
    tw.rcv_nxt = tp.rcv_nxt;
    tw.snd_nxt = tp.snd_nxt;
    tw.rcv_wnd = tcp_receive_window(tp);
    tw.rcv_wscale = tp.rx_opt.rcv_wscale;
    tw.ts_recent = tp.rx_opt.ts_recent;
    tw.ts_recent_stamp = tp.rx_opt.ts_recent_stamp;
    tw.ts_offset = tp.tsoffset;
    timeo = std::max(timeo, (tp.rto << 2) - (tp.rto >> 1));
    timeo = state == TcpState::time_wait ? TCP_TIMEWAIT_LEN : timeo;
    if (k.profile() != Profile::v5_10) { // __inet_twsk_schedule
        k.count(tw.flow.net, timeo <= 4 * TCP_HZ ? Mib::TcpExt_TWKilled : Mib::TcpExt_TW, PacketId::none);
    }
    inet_twsk_schedule(k, row, timeo);
    inet_unhash(k, index);
    inet_ehash_insert(k, tw.flow, {TcpEhash::Kind::timewait, row});
    tcp_done(k, index);
}

TcpTwStatus tcp_timewait_state_process(Kernel& k, std::int32_t row, SkbIndex skb, const TcpHeader& th)
{
    Call call(k, fn::tcp_timewait_state_process, skb);
    TcpTimewait& tw = tcp_timewait(k, row);
    const TcpCb& cb = tcp_cb(k, skb);
    TcpOptions opt;
    bool paws_reject = false;
    if (th.doff > 5 && tw.ts_recent_stamp != 0) {
        tcp_parse_options(k, tw.flow.net, th, opt, false, nullptr);
        if (opt.saw_tstamp) {
            opt.ts_recent = tw.ts_recent;
            opt.ts_recent_stamp = tw.ts_recent_stamp;
            paws_reject = tcp_paws_reject(k, opt, th.rst());
        }
    }
    const auto remember_ts = [&] {
        if (opt.saw_tstamp) {
            tw.ts_recent = opt.rcv_tsval;
            tw.ts_recent_stamp = ktime_get_seconds(k);
        }
    };
    if (tw.substate == TcpState::fin_wait2) {
        if (paws_reject || !tcp_in_window(cb.seq, cb.end_seq, tw.rcv_nxt, tw.rcv_nxt + tw.rcv_wnd)) {
            return rate_limited_ack(k, row, skb, Mib::TcpExt_TCPACKSkippedFinWait2);
        }
        if (th.rst()) {
            inet_twsk_kill(k, row);
            return TcpTwStatus::success;
        }
        if (th.syn() && !before(cb.seq, tw.rcv_nxt)) {
            return TcpTwStatus::rst;
        }
        if (!th.ack() || !after(cb.end_seq, tw.rcv_nxt) || cb.end_seq == cb.seq) {
            return TcpTwStatus::success;
        }
        if (!th.fin() || cb.end_seq != tw.rcv_nxt + 1) {
            return TcpTwStatus::rst; // data for a socket that nobody has
        }
        tw.substate = TcpState::time_wait;
        tw.rcv_nxt = cb.end_seq;
        remember_ts();
        inet_twsk_schedule(k, row, TCP_TIMEWAIT_LEN);
        return TcpTwStatus::ack;
    }
    if (!paws_reject && cb.seq == tw.rcv_nxt && (cb.seq == cb.end_seq || th.rst())) {
        if (th.rst()) {
            if (k.net(tw.flow.net).sysctl.tcp_rfc1337 == 0) {
                inet_twsk_kill(k, row); // TIME-WAIT assassination
                return TcpTwStatus::success;
            }
        } else {
            inet_twsk_schedule(k, row, TCP_TIMEWAIT_LEN);
        }
        remember_ts();
        return TcpTwStatus::success;
    }
    if (th.syn() && !th.rst() && !th.ack() && !paws_reject &&
        (after(cb.seq, tw.rcv_nxt) ||
         (opt.saw_tstamp && static_cast<std::int32_t>(tw.ts_recent - opt.rcv_tsval) < 0))) {
        const std::uint32_t isn = tw.snd_nxt + 65535 + 2;
        tcp_cb(k, skb).isn = isn == 0 ? 1 : isn;
        return TcpTwStatus::syn;
    }
    if (paws_reject) {
        k.count(tw.flow.net, Mib::TcpExt_PAWSEstab, k.skb(skb).packet);
    }
    if (th.rst()) {
        return TcpTwStatus::success;
    }
    if (paws_reject || th.ack()) {
        inet_twsk_schedule(k, row, TCP_TIMEWAIT_LEN);
    }
    return rate_limited_ack(k, row, skb, Mib::TcpExt_TCPACKSkippedTimeWait);
}

SocketIndex tcp_check_req(Kernel& k, SocketIndex listener, SkbIndex skb, std::int32_t row)
{
    Call call(k, fn::tcp_check_req, skb);
    TcpRequest& req = tcp_request(k, row);
    const NetIndex net = req.flow.net;
    const TcpHeader th = tcp_hdr(k, skb);
    const TcpCb cb = tcp_cb(k, skb);
    const PacketId packet = k.skb(skb).packet;
    TcpOptions opt;
    bool paws_reject = false;
    if (th.doff > 5) {
        tcp_parse_options(k, net, th, opt, false, nullptr);
        if (opt.saw_tstamp) {
            opt.ts_recent = req.ts_recent;
            opt.ts_recent_stamp =
                ktime_get_seconds(k) - (std::int64_t{req.timeout} << req.num_timeout) / TCP_HZ;
            paws_reject = tcp_paws_reject(k, opt, th.rst());
        }
    }
    std::uint8_t flg = th.flags & (tcphdr::rst | tcphdr::syn | tcphdr::ack);
    if (cb.seq == req.rcv_isn && flg == tcphdr::syn && !paws_reject) { // a SYN again: so is the SYN-ACK
        if (!tcp_oow_rate_limited(k, net, skb, Mib::TcpExt_TCPACKSkippedSynRecv, req.last_oow_ack_time)) {
            tcp_v4_send_synack(k, row, nothing);
            k.count(net, Mib::Tcp_RetransSegs, packet);
            k.count(net, Mib::TcpExt_TCPSynRetrans, packet);
            ++tcp_request(k, row).num_retrans;
        }
        return nothing;
    }
    if ((flg & tcphdr::ack) != 0 && (flg & tcphdr::rst) == 0 && cb.ack_seq != req.snt_isn + 1) {
        return listener;
    }
    if (paws_reject || !tcp_in_window(cb.seq, cb.end_seq, req.rcv_nxt, req.rcv_nxt + req.rsk_rcv_wnd)) {
        if ((flg & tcphdr::rst) == 0 &&
            !tcp_oow_rate_limited(k, net, skb, Mib::TcpExt_TCPACKSkippedSynRecv, req.last_oow_ack_time)) {
            tcp_v4_reqsk_send_ack(k, skb, row);
        }
        if (paws_reject) {
            k.count(net, Mib::TcpExt_PAWSEstab, packet);
        }
        return nothing;
    }
    if (cb.seq == req.rcv_isn) {
        flg &= static_cast<std::uint8_t>(~tcphdr::syn); // the SYN lies before the window
    }
    if ((flg & tcphdr::rst) != 0 && cb.seq != req.rcv_nxt) {
        if (!tcp_oow_rate_limited(k, net, skb, Mib::TcpExt_TCPACKSkippedChallenge, req.last_oow_ack_time)) {
            k.count(net, Mib::TcpExt_TCPChallengeACK, packet);
            tcp_v4_reqsk_send_ack(k, skb, row);
        }
        return nothing;
    }
    const auto embryonic_reset = [&] {
        if ((flg & tcphdr::rst) == 0) {
            tcp_v4_send_reset(k, skb);
        }
        inet_csk_reqsk_queue_drop(k, row);
        k.count(net, Mib::TcpExt_EmbryonicRsts, packet);
        return nothing;
    };
    if ((flg & (tcphdr::rst | tcphdr::syn)) != 0) {
        k.count(net, Mib::Tcp_AttemptFails, packet);
        return embryonic_reset();
    }
    if ((flg & tcphdr::ack) == 0) {
        return nothing;
    }
    const SocketIndex child = tcp_v4_syn_recv_sock(k, listener, skb, row);
    if (child == nothing) {
        if (k.net(net).sysctl.tcp_abort_on_overflow != 0) {
            return embryonic_reset();
        }
        tcp_request(k, row).acked = true; // no need to send the SYN-ACK again: the ACK is here
        return nothing;
    }
    if (opt.saw_tstamp && !after(cb.seq, req.rcv_nxt)) {
        tcp_sk(k, child).rx_opt.ts_recent = opt.rcv_tsval;
    }
    tcp_synack_rtt_meas(k, child, row);
    return inet_csk_complete_hashdance(k, listener, child, row);
}

bool tcp_child_process(Kernel& k, SocketIndex parent, SocketIndex child, SkbIndex skb)
{
    Call call(k, fn::tcp_child_process, skb);
    const BhLock lock(k, child); // held since it was cloned
    const PacketId packet = k.skb(skb).packet;
    const bool reset = tcp_rcv_state_process(k, child, skb);
    if (tcp_sk(k, child).state != TcpState::syn_recv) {
        sock_def_readable(k, parent, packet); // wakes accept()
        k.socket(parent).waiting_task = nothing;
    }
    return reset;
}

SocketIndex tcp_create_openreq_child(Kernel& k, SocketIndex listener, std::int32_t row, SkbIndex skb)
{
    Call call(k, fn::tcp_create_openreq_child, skb);
    const TcpRequest req = tcp_request(k, row);
    const SocketIndex child = tcp_new_socket(k, req.flow.net);
    const Socket& from = k.socket(listener);
    Socket& sk = k.socket(child);
    sk.rcv_saddr = req.flow.saddr;
    sk.num = req.flow.sport;
    sk.daddr = req.flow.daddr;
    sk.dport = req.flow.dport;
    sk.bound_device = from.bound_device;
    sk.sk_rcvbuf = from.sk_rcvbuf;
    sk.sk_sndbuf = from.sk_sndbuf;
    const TcpSock& parent = tcp_sk(k, listener);
    TcpSock& tp = tcp_sk(k, child);
    tp.state = TcpState::syn_recv;
    tp.sndbuf_locked = parent.sndbuf_locked;
    tp.rcvbuf_locked = parent.rcvbuf_locked;
    tp.nonagle_off = parent.nonagle_off;
    tp.mstamp = k.cpu().now;
    tp.rcv_nxt = tp.rcv_wup = tp.copied_seq = req.rcv_isn + 1;
    tp.snd_una = tp.snd_nxt = tp.snd_sml = tp.write_seq = tp.pushed_seq = req.snt_isn + 1;
    tp.snd_wl1 = req.rcv_isn;
    tp.mdev_us = 1'000'000;
    tp.reordering = static_cast<std::uint32_t>(k.net(req.flow.net).sysctl.tcp_reordering);
    tp.rcv_tstamp = tcp_jiffies32(k);
    tp.ack.lrcvtime = tcp_jiffies32(k);
    tp.rx_opt.tstamp_ok = req.tstamp_ok;
    tp.rx_opt.sack_ok = req.sack_ok;
    tp.window_clamp = req.window_clamp;
    tp.rcv_ssthresh = req.rsk_rcv_wnd;
    tp.rcv_wnd = req.rsk_rcv_wnd;
    tp.rx_opt.wscale_ok = req.wscale_ok;
    if (req.wscale_ok) {
        tp.rx_opt.snd_wscale = req.snd_wscale;
        tp.rx_opt.rcv_wscale = req.rcv_wscale;
    } else {
        tp.window_clamp = std::min(tp.window_clamp, 65535U);
    }
    tp.snd_wnd = std::uint32_t{tcp_hdr(k, skb).window} << tp.rx_opt.snd_wscale;
    tp.max_window = tp.snd_wnd;
    if (req.tstamp_ok) {
        tp.rx_opt.ts_recent = req.ts_recent;
        tp.rx_opt.ts_recent_stamp = ktime_get_seconds(k);
        tp.tcp_header_len = 20 + TCPOLEN_TSTAMP_ALIGNED;
    }
    tp.total_retrans = req.num_retrans;
    if (req.num_timeout != 0) {
        tp.undo_marker = req.snt_isn;
        tp.retrans_stamp = tcp_skb_timestamp(req.snt_synack);
    }
    tp.tsoffset = req.ts_off;
    tp.rx_opt.mss_clamp = req.mss;
    k.count(req.flow.net, Mib::Tcp_PassiveOpens, k.skb(skb).packet);
    return child;
}

} // namespace skbscope::kernel
