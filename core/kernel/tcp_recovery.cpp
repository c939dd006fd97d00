// net/ipv4/tcp_recovery.c: RACK: a segment sent well before one that has arrived, and not heard of, is lost.

#include "core/kernel/tcp_functions.h"

namespace skbscope::kernel {

namespace {

bool tcp_skb_sent_after(SimTime t1, SimTime t2, std::uint32_t seq1, std::uint32_t seq2)
{
    return t1 > t2 || (t1 == t2 && after(seq1, seq2));
}

std::uint32_t tcp_rack_reo_wnd(Kernel& k, SocketIndex index)
{
    const TcpSock& tp = tcp_sk(k, index);
    constexpr std::int64_t TCP_RACK_NO_DUPTHRESH = 4;
    if (!tp.reord_seen) {
        if (tp.ca_state >= TcpCaState::recovery) {
            return 0;
        }
        if (tp.sacked_out >= tp.reordering &&
            (tcp_sysctl(k, index).tcp_recovery & TCP_RACK_NO_DUPTHRESH) == 0) {
            return 0;
        }
    }
    // A quarter of the least round trip, for the network to settle. (The kernel widens it when DSACKs come; the model does not.)
    return std::min(tp.min_rtt_us >> 2, tp.srtt_us >> 3);
}

void tcp_rack_detect_loss(Kernel& k, SocketIndex index, std::uint32_t& reo_timeout)
{
    TcpSock& tp = tcp_sk(k, index);
    reo_timeout = 0;
    const std::uint32_t reo_wnd = tcp_rack_reo_wnd(k, index);
    for (const SkbIndex skb : tp.rtx_queue) {
        const TcpCb cb = tcp_cb(k, skb);
        if ((cb.sacked & tcpcb::sacked_acked) != 0 ||
            ((cb.sacked & tcpcb::lost) != 0 && (cb.sacked & tcpcb::sacked_retrans) == 0)) {
            continue;
        }
        if (!tcp_skb_sent_after(tp.rack_mstamp, cb.sent, tp.rack_end_seq, cb.end_seq)) {
            continue; // sent later; the kernel's list is in the order of sending and ends here
        }
        const std::int64_t remaining =
            std::int64_t{tp.rack_rtt_us} + reo_wnd - stamp_us_delta(tp.mstamp, cb.sent);
        if (remaining <= 0) {
            tcp_mark_skb_lost(k, index, skb);
        } else {
            reo_timeout = std::max(reo_timeout, static_cast<std::uint32_t>(remaining));
        }
    }
}

} // namespace

bool tcp_rack_mark_lost(Kernel& k, SocketIndex index)
{
    Call call(k, fn::tcp_rack_mark_lost);
    TcpSock& tp = tcp_sk(k, index);
    if (!tp.rack_advanced) {
        return false;
    }
    tp.rack_advanced = false;
    std::uint32_t timeout = 0;
    tcp_rack_detect_loss(k, index, timeout);
    if (timeout != 0) {
        inet_csk_reset_xmit_timer(k, index, TcpTimer::reo_timeout,
                                  usecs_to_jiffies(std::uint64_t{timeout} + TCP_TIMEOUT_MIN * 4000), tp.rto);
    }
    return timeout != 0;
}

void tcp_rack_advance(TcpSock& tp, std::uint8_t sacked, std::uint32_t end_seq, SimTime xmit_time)
{
    const auto rtt_us = static_cast<std::uint32_t>(stamp_us_delta(tp.mstamp, xmit_time));
    if (rtt_us < tp.min_rtt_us && (sacked & tcpcb::retrans) != 0) {
        return; // the original, or what was sent again: nobody knows
    }
    tp.rack_advanced = true;
    tp.rack_rtt_us = rtt_us;
    if (tcp_skb_sent_after(xmit_time, tp.rack_mstamp, end_seq, tp.rack_end_seq)) {
        tp.rack_mstamp = xmit_time;
        tp.rack_end_seq = end_seq;
    }
}

void tcp_rack_reo_timeout(Kernel& k, SocketIndex index)
{
    Call call(k, fn::tcp_rack_reo_timeout);
    TcpSock& tp = tcp_sk(k, index);
    const std::uint32_t prior = tcp_packets_in_flight(tp);
    const std::uint32_t lost = tp.lost;
    std::uint32_t timeout = 0;
    tcp_rack_detect_loss(k, index, timeout);
    if (prior != tcp_packets_in_flight(tp)) {
        if (tp.ca_state != TcpCaState::recovery) {
            tcp_enter_recovery(k, index);
            tcp_cwnd_reduction(tp, 1, tp.lost - lost, 0);
        }
        tcp_xmit_retransmit_queue(k, index);
    }
    if (tp.pending != TcpTimer::retrans) {
        tcp_rearm_rto(k, index);
    }
}

} // namespace skbscope::kernel
