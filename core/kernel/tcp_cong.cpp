// net/ipv4/tcp_cong.c: Reno, the congestion control that every kernel has built in: slow start, then one segment more for
// each window. (Distributions set cubic; up to the first loss both grow alike. Other algorithms are not modelled.)
// Of net/ipv4/tcp_input.c: proportional rate reduction while the window shrinks.

#include "core/kernel/tcp_functions.h"

namespace skbscope::kernel {

namespace {

std::uint32_t tcp_slow_start(TcpSock& tp, std::uint32_t acked)
{
    const std::uint32_t cwnd = std::min(tp.snd_cwnd + acked, tp.snd_ssthresh);
    acked -= cwnd - tp.snd_cwnd;
    tp.snd_cwnd = cwnd;
    return acked;
}

void tcp_cong_avoid_ai(TcpSock& tp, std::uint32_t w, std::uint32_t acked)
{
    if (tp.snd_cwnd_cnt >= w) {
        tp.snd_cwnd_cnt = 0;
        ++tp.snd_cwnd;
    }
    tp.snd_cwnd_cnt += acked;
    if (tp.snd_cwnd_cnt >= w) {
        const std::uint32_t delta = tp.snd_cwnd_cnt / w;
        tp.snd_cwnd_cnt -= delta * w;
        tp.snd_cwnd += delta;
    }
}

} // namespace

void tcp_cong_avoid(Kernel& k, SocketIndex index, std::uint32_t acked)
{
    TcpSock& tp = tcp_sk(k, index);
    // tcp_reno_cong_avoid(): only a window that is in use grows.
    const bool limited =
        tp.is_cwnd_limited || (tcp_in_slow_start(tp) && tp.snd_cwnd < 2 * tp.max_packets_out);
    if (limited) {
        if (tcp_in_slow_start(tp)) {
            acked = tcp_slow_start(tp, acked);
        }
        if (acked != 0) {
            tcp_cong_avoid_ai(tp, std::max(tp.snd_cwnd, 1U), acked);
        }
    }
    tp.snd_cwnd_stamp = tcp_jiffies32(k);
}

std::uint32_t tcp_reno_ssthresh(const TcpSock& tp) { return std::max(tp.snd_cwnd >> 1, 2U); }

void tcp_init_cwnd_reduction(TcpSock& tp)
{
    tp.high_seq = tp.snd_nxt;
    tp.tlp_high_seq = 0;
    tp.snd_cwnd_cnt = 0;
    tp.prior_cwnd = tp.snd_cwnd;
    tp.prr_delivered = 0;
    tp.prr_out = 0;
    tp.snd_ssthresh = tcp_reno_ssthresh(tp);
}

void tcp_cwnd_reduction(TcpSock& tp, std::int32_t newly_acked_sacked, std::uint32_t newly_lost,
                        std::uint32_t flag)
{
    if (newly_acked_sacked <= 0 || tp.prior_cwnd == 0) {
        return;
    }
    const auto delta = static_cast<std::int32_t>(tp.snd_ssthresh - tcp_packets_in_flight(tp));
    tp.prr_delivered += static_cast<std::uint32_t>(newly_acked_sacked);
    std::int32_t sndcnt = 0;
    if (delta < 0) {
        const std::uint64_t dividend = std::uint64_t{tp.snd_ssthresh} * tp.prr_delivered + tp.prior_cwnd - 1;
        sndcnt = static_cast<std::int32_t>(dividend / tp.prior_cwnd) - static_cast<std::int32_t>(tp.prr_out);
    } else {
        sndcnt = std::max(static_cast<std::int32_t>(tp.prr_delivered - tp.prr_out), newly_acked_sacked);
        if ((flag & FLAG_SND_UNA_ADVANCED) != 0 && newly_lost == 0) {
            ++sndcnt;
        }
        sndcnt = std::min(delta, sndcnt);
    }
    sndcnt = std::max(sndcnt, tp.prr_out != 0 ? 0 : 1);
    tp.snd_cwnd = std::max(tcp_packets_in_flight(tp) + static_cast<std::uint32_t>(sndcnt), 1U);
}

void tcp_end_cwnd_reduction(Kernel& k, TcpSock& tp)
{
    if (tp.snd_ssthresh < TCP_INFINITE_SSTHRESH && (tp.ca_state == TcpCaState::cwr || tp.undo_marker != 0)) {
        tp.snd_cwnd = tp.snd_ssthresh;
        tp.snd_cwnd_stamp = tcp_jiffies32(k);
    }
}

} // namespace skbscope::kernel
