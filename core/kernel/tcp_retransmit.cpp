// Of net/ipv4/tcp_output.c: what is sent again: retransmissions, loss probes, probes of a closed window.

#include "core/kernel/tcp_output.h"

namespace skbscope::kernel {

namespace {

bool skb_still_in_host_queue(Kernel& k, SocketIndex index, SkbIndex skb)
{
    if (!tcp_cb(k, skb).fast_clone_queued) {
        return false;
    }
    tcp_sk(k, index).tsq_throttled = true;
    k.count(k.sock_net(index), Mib::TcpExt_TCPSpuriousRtxHostQueues, PacketId::none);
    return true;
}

int __tcp_retransmit_skb(Kernel& k, SocketIndex index, SkbIndex skb, std::uint32_t segs)
{
    Call call(k, fn::__tcp_retransmit_skb, skb);
    TcpSock& tp = tcp_sk(k, index);
    if (skb_still_in_host_queue(k, index, skb)) {
        return -16; // EBUSY
    }
    if (before(tcp_cb(k, skb).seq, tp.snd_una) && (tcp_cb(k, skb).flags & tcphdr::syn) == 0) {
        tcp_trim_acked(k, index, skb, tp.snd_una - tcp_cb(k, skb).seq);
    }
    const std::uint32_t cur_mss = tcp_current_mss(k, index);
    auto avail = static_cast<std::int32_t>(tcp_wnd_end(tp) - tcp_cb(k, skb).seq);
    if (avail <= 0) {
        if (tcp_cb(k, skb).seq != tp.snd_una) {
            return -11;
        }
        avail = static_cast<std::int32_t>(cur_mss);
    }
    std::uint32_t len = cur_mss * segs;
    if (len > static_cast<std::uint32_t>(avail)) {
        len = static_cast<std::uint32_t>(avail) / cur_mss * cur_mss;
        len = len == 0 ? static_cast<std::uint32_t>(avail) : len;
    }
    if (tcp_skb_payload(k, skb) > len) {
        tcp_fragment(k, index, skb, len, cur_mss, true);
    } else {
        const std::uint32_t prior = tcp_cb(k, skb).segs;
        tcp_set_skb_tso_segs(tcp_cb(k, skb), tcp_skb_payload(k, skb), cur_mss);
        const std::uint32_t diff = tcp_cb(k, skb).segs - prior;
        if (diff != 0) {
            const std::uint8_t sacked = tcp_cb(k, skb).sacked;
            tp.packets_out += diff;
            tp.lost_out += (sacked & tcpcb::lost) != 0 ? diff : 0;
            tp.retrans_out += (sacked & tcpcb::sacked_retrans) != 0 ? diff : 0;
        }
    }
    const std::uint32_t count = tcp_cb(k, skb).segs;
    k.count(k.sock_net(index), Mib::Tcp_RetransSegs, k.skb(skb).packet, count);
    if ((tcp_cb(k, skb).flags & tcphdr::syn) != 0) {
        k.count(k.sock_net(index), Mib::TcpExt_TCPSynRetrans, k.skb(skb).packet);
    }
    tp.total_retrans += count;
    const int error = tcp_transmit_skb(k, index, skb, true);
    tcp_cb(k, skb).sacked |= tcpcb::ever_retrans;
    if (error != 0 && error != -16) {
        k.count(k.sock_net(index), Mib::TcpExt_TCPRetransFail, k.skb(skb).packet, count);
    }
    return error;
}

/// A segment without data whose sequence number is just below the window: the answer tells what the window is.
int tcp_xmit_probe_skb(Kernel& k, SocketIndex index)
{
    const SkbIndex skb = tcp_alloc_control_skb(k);
    TcpSock& tp = tcp_sk(k, index);
    tcp_init_nondata_skb(k, skb, tp.snd_una - 1, tcphdr::ack);
    k.count(k.sock_net(index), Mib::TcpExt_TCPWinProbe, k.skb(skb).packet);
    return tcp_transmit_skb(k, index, skb, false);
}

int tcp_write_wakeup(Kernel& k, SocketIndex index)
{
    Call call(k, fn::tcp_write_wakeup);
    TcpSock& tp = tcp_sk(k, index);
    if (tp.state == TcpState::close) {
        return -1;
    }
    tcp_mstamp_refresh(k, tp);
    if (tp.write_queue.empty() || !before(tcp_cb(k, tp.write_queue.front()).seq, tcp_wnd_end(tp))) {
        return tcp_xmit_probe_skb(k, index);
    }
    const SkbIndex skb = tp.write_queue.front();
    const std::uint32_t mss = tcp_current_mss(k, index);
    std::uint32_t seg_size = tcp_wnd_end(tp) - tcp_cb(k, skb).seq;
    if (before(tp.pushed_seq, tcp_cb(k, skb).end_seq)) {
        tp.pushed_seq = tcp_cb(k, skb).end_seq;
    }
    tcp_cb(k, skb).flags |= tcphdr::psh;
    if (seg_size < tcp_cb(k, skb).end_seq - tcp_cb(k, skb).seq || tcp_skb_payload(k, skb) > mss) {
        seg_size = std::min(seg_size, mss);
        if (seg_size < tcp_skb_payload(k, skb)) {
            tcp_fragment(k, index, skb, seg_size, mss, false);
        }
    } else {
        tcp_init_tso_segs(k, skb, mss);
    }
    const int error = tcp_transmit_skb(k, index, skb, true);
    if (error == 0) {
        tcp_event_new_data_sent(k, index, skb);
    }
    return error;
}

} // namespace

bool tcp_schedule_loss_probe(Kernel& k, SocketIndex index, bool advancing_rto)
{
    TcpSock& tp = tcp_sk(k, index);
    const auto early = tcp_sysctl(k, index).tcp_early_retrans;
    if ((early != 3 && early != 4) || tp.packets_out == 0 || !tp.rx_opt.sack_ok ||
        (tp.ca_state != TcpCaState::open && tp.ca_state != TcpCaState::cwr)) {
        return false;
    }
    std::uint32_t timeout = TCP_TIMEOUT_INIT;
    if (tp.srtt_us != 0) {
        std::uint64_t us = tp.srtt_us >> 2;
        us += tp.packets_out == 1 ? 200'000 : 8'000; // tcp_rto_min_us(), TCP_TIMEOUT_MIN_US
        timeout = usecs_to_jiffies(us);
    }
    const std::int64_t now_us = k.cpu().now.ns / 1000;
    std::int64_t rto_delta = std::int64_t{tp.rto} * 4000;
    if (!advancing_rto && !tp.rtx_queue.empty()) {
        rto_delta = tcp_cb(k, tp.rtx_queue.front()).sent.ns / 1000 + std::int64_t{tp.rto} * 4000 -
                    now_us; // tcp_rto_delta_us()
    }
    if (rto_delta > 0) {
        timeout = std::min(timeout, usecs_to_jiffies(static_cast<std::uint64_t>(rto_delta)));
    }
    tcp_rearm_xmit_timer(k, index, TcpTimer::loss_probe, timeout);
    return true;
}

void tcp_rearm_xmit_timer(Kernel& k, SocketIndex index, TcpTimer what, std::uint32_t when)
{
    inet_csk_reset_xmit_timer(k, index, what, when, TCP_RTO_MAX);
}

int tcp_retransmit_skb(Kernel& k, SocketIndex index, SkbIndex skb, std::uint32_t segs)
{
    Call call(k, fn::tcp_retransmit_skb, skb);
    TcpSock& tp = tcp_sk(k, index);
    const int error = __tcp_retransmit_skb(k, index, skb, segs);
    if (error == 0) {
        tcp_cb(k, skb).sacked |= tcpcb::retrans;
        tp.retrans_out += tcp_cb(k, skb).segs;
    }
    if (tp.retrans_stamp == 0) {
        tp.retrans_stamp = tcp_skb_timestamp(tcp_cb(k, skb).sent);
    }
    tp.undo_retrans = std::max(tp.undo_retrans, 0) + static_cast<std::int32_t>(tcp_cb(k, skb).segs);
    return error;
}

void tcp_xmit_retransmit_queue(Kernel& k, SocketIndex index)
{
    TcpSock& tp = tcp_sk(k, index);
    if (tp.packets_out == 0) {
        return;
    }
    Call call(k, fn::tcp_xmit_retransmit_queue);
    const std::uint32_t max_segs = tcp_tso_segs(k, index, tcp_current_mss(k, index));
    bool rearm = false;
    const SkbIndex head = tp.rtx_queue.front();
    for (std::size_t at = 0; at < tp.rtx_queue.size();
         ++at) { // by position: the queue grows where a segment is cut
        const SkbIndex skb = tp.rtx_queue[at];
        const auto room = static_cast<std::int32_t>(tp.snd_cwnd - tcp_packets_in_flight(tp));
        if (room <= 0 || tp.retrans_out >= tp.lost_out) {
            break;
        }
        const std::uint8_t sacked = tcp_cb(k, skb).sacked;
        if ((sacked & tcpcb::lost) == 0 || (sacked & (tcpcb::sacked_acked | tcpcb::sacked_retrans)) != 0) {
            continue;
        }
        const Mib counter =
            tp.ca_state == TcpCaState::loss ? Mib::TcpExt_TCPSlowStartRetrans : Mib::TcpExt_TCPFastRetrans;
        if (tcp_small_queue_check(k, index, skb, 1) ||
            tcp_retransmit_skb(k, index, skb, std::min(static_cast<std::uint32_t>(room), max_segs)) != 0) {
            break;
        }
        k.count(k.sock_net(index), counter, k.skb(skb).packet, tcp_cb(k, skb).segs);
        if (tcp_in_cwnd_reduction(tp)) {
            tp.prr_out += tcp_cb(k, skb).segs;
        }
        rearm = rearm || (skb == head && tp.pending != TcpTimer::reo_timeout);
    }
    if (rearm) {
        tcp_rearm_xmit_timer(k, index, TcpTimer::retrans, tp.rto);
    }
}

void tcp_send_loss_probe(Kernel& k, SocketIndex index)
{
    Call call(k, fn::tcp_send_loss_probe);
    TcpSock& tp = tcp_sk(k, index);
    const std::uint32_t mss = tcp_current_mss(k, index);
    const auto probe = [&] {
        if (tp.tlp_high_seq != 0) {
            return false; // one at a time
        }
        tp.tlp_retrans = false;
        if (!tp.write_queue.empty() && tcp_snd_wnd_test(k, tp, tp.write_queue.front(), mss)) {
            const std::uint32_t before_count = tp.packets_out;
            tcp_write_xmit(k, index, mss, TCP_NAGLE_OFF, 2);
            return tp.packets_out > before_count;
        }
        if (tp.rtx_queue.empty() || skb_still_in_host_queue(k, index, tp.rtx_queue.back())) {
            return false;
        }
        SkbIndex skb = tp.rtx_queue.back();
        const std::uint32_t count = tcp_cb(k, skb).segs;
        if (count > 1 && tcp_skb_payload(k, skb) > (count - 1) * mss) {
            tcp_fragment(k, index, skb, (count - 1) * mss, mss, true);
            skb = tp.rtx_queue.back();
        }
        if (__tcp_retransmit_skb(k, index, skb, 1) != 0) {
            return false;
        }
        tp.tlp_retrans = true;
        return true;
    };
    if (probe()) {
        tp.tlp_high_seq = tp.snd_nxt;
        k.count(k.sock_net(index), Mib::TcpExt_TCPLossProbes, PacketId::none);
        tp.pending = TcpTimer::none;
    }
    tcp_rearm_rto(k, index);
}

void tcp_send_probe0(Kernel& k, SocketIndex index)
{
    Call call(k, fn::tcp_send_probe0);
    const int error = tcp_write_wakeup(k, index);
    TcpSock& tp = tcp_sk(k, index);
    if (tp.packets_out != 0 || tp.write_queue.empty()) {
        tp.probes_out = 0;
        tp.backoff = 0;
        return;
    }
    ++tp.probes_out;
    std::uint32_t timeout = TCP_RESOURCE_PROBE_INTERVAL;
    if (error <= 0) {
        if (tp.backoff < tcp_sysctl(k, index).tcp_retries2) {
            ++tp.backoff;
        }
        timeout = static_cast<std::uint32_t>(std::min<std::uint64_t>(
            std::uint64_t{std::max(tp.rto, TCP_RTO_MIN)} << std::min<int>(tp.backoff, 16), TCP_RTO_MAX));
    }
    tcp_rearm_xmit_timer(k, index, TcpTimer::probe0, timeout);
}

} // namespace skbscope::kernel
