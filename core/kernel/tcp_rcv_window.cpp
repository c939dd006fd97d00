// Of net/ipv4/tcp_input.c: what the receiver tells the sender: the window it offers and the buffer behind it, the size of the
// peer's segments, and whether an ACK goes at once or later.

#include "core/kernel/tcp_input.h"

#include <utility>

namespace skbscope::kernel {

namespace {

void tcp_incr_quickack(TcpSock& tp, std::uint32_t max_quickacks)
{
    std::uint32_t quickacks = tp.rcv_wnd / (2 * tp.ack.rcv_mss);
    quickacks = std::min(quickacks == 0 ? 2U : quickacks, max_quickacks);
    tp.ack.quick = std::max<std::uint8_t>(tp.ack.quick, static_cast<std::uint8_t>(quickacks));
}

bool tcp_in_quickack_mode(const TcpSock& tp)
{
    return tp.ack.quick != 0 && tp.ack.pingpong < 1;
}

/// net/ipv4/tcp.c, 6.12. A larger clamp lets the window grow from what was offered last.
void tcp_set_window_clamp(TcpSock& tp, std::uint32_t value)
{
    constexpr std::uint32_t least = 2304 / 2; // SOCK_MIN_RCVBUF / 2
    const std::uint32_t fresh = std::max(value, least);
    const std::uint32_t old = std::exchange(tp.window_clamp, fresh);
    if (fresh < old) {
        tp.rcv_ssthresh = std::min(tp.rcv_ssthresh, fresh);
    } else if (fresh > old) {
        tp.rcv_ssthresh = std::max(tp.rcv_ssthresh, std::min(tp.rcv_wnd, fresh));
    }
}

void tcp_measure_rcv_mss(Kernel& k, SocketIndex index, SkbIndex skb)
{
    TcpSock& tp = tcp_sk(k, index);
    const std::uint32_t lss = tp.ack.last_seg_size;
    tp.ack.last_seg_size = 0;
    const SkBuff& buff = k.skb(skb);
    std::uint32_t len = buff.gso_size != 0 ? buff.gso_size : buff.len;
    if (len >= tp.ack.rcv_mss) {
        if (k.profile() >= Profile::v6_12 && len != tp.ack.rcv_mss && buff.truesize > 0) {
            const std::uint64_t ratio =
                (std::uint64_t{buff.len} << 8) / buff.truesize; // tcp_scaling_ratio_update
            const auto fresh = static_cast<std::uint8_t>(std::clamp<std::uint64_t>(ratio, 1, 255));
            if (std::exchange(tp.scaling_ratio, fresh) != fresh) { // since 6.11 the window follows at once
                tcp_set_window_clamp(tp, static_cast<std::uint32_t>(tcp_full_space(k, index)));
                tp.rcvq_space = std::min(tp.rcvq_space, tp.window_clamp);
            }
        }
        tp.ack.rcv_mss = std::min(len, tp.advmss);
        if ((tcp_cb(k, skb).flags & tcphdr::psh) != 0) {
            tp.ack.pending |= ICSK_ACK_PUSHED;
        }
        return;
    }
    // len + header: the payload starts behind the transport header
    const std::uint32_t with_header = len + (buff.data - buff.transport_header);
    if (with_header >= TCP_MSS_DEFAULT + 20 ||
        (with_header >= TCP_MIN_MSS + 20 &&
         (tcp_cb(k, skb).flags & (tcphdr::fin | tcphdr::urg | tcphdr::syn | tcphdr::psh)) == 0)) {
        len = with_header - tp.tcp_header_len;
        tp.ack.last_seg_size = len;
        if (len == lss) {
            tp.ack.rcv_mss = len;
            return;
        }
    }
    if ((tp.ack.pending & ICSK_ACK_PUSHED) != 0) {
        tp.ack.pending |= ICSK_ACK_PUSHED2;
    }
    tp.ack.pending |= ICSK_ACK_PUSHED;
}

/// __tcp_ack_snd_check(), where it owes an ACK at once. Since 6.7 not from the backlog of an owned socket.
void send_now(Kernel& k, SocketIndex index)
{
    TcpSock& tp = tcp_sk(k, index);
    if (tp.owned &&
        k.profile() >= Profile::v6_12) { // net.ipv4.tcp_backlog_ack_defer: tcp_release_cb() will see to it
        tp.ack_deferred = true;
        return;
    }
    tcp_send_ack(k, index);
}

/// A twentieth of the round trip, but at most tcp_comp_sack_delay_ns. The timer is set for the end of the range in which it may go off.
void arm_compressed_ack(Kernel& k, SocketIndex index)
{
    TcpSock& tp = tcp_sk(k, index);
    const Sysctls& sysctl = tcp_sysctl(k, index);
    const std::int64_t rtt_us = tp.srtt_us != 0 ? std::min(tp.srtt_us, tp.rcv_rtt_us) : tp.rcv_rtt_us; // << 3
    const std::int64_t delay_ns = std::min(sysctl.tcp_comp_sack_delay_ns, rtt_us * (1000 >> 3) / 20);
    tp.compressed_ack_timer = mod_timer(k, TimerKind::tcp_compressed_ack, k.cpu_row, index,
                                        k.cpu().now + Duration{delay_ns + sysctl.tcp_comp_sack_slack_ns});
}

} // namespace

void tcp_rcv_rtt_measure_ts(Kernel& k, TcpSock& tp, SkbIndex skb)
{
    if (tp.rx_opt.rcv_tsecr == tp.rcv_rtt_last_tsecr) {
        return;
    }
    tp.rcv_rtt_last_tsecr = tp.rx_opt.rcv_tsecr;
    if (tcp_cb(k, skb).end_seq - tcp_cb(k, skb).seq < tp.ack.rcv_mss) {
        return;
    }
    const std::uint32_t delta = tcp_time_stamp(tp) - tp.rx_opt.rcv_tsecr;
    if (delta >= 0x7fffffff / 1000) {
        return;
    }
    const std::uint32_t sample = std::max(delta, 1U) * 1000;
    const std::uint32_t m = sample << 3;
    tp.rcv_rtt_us =
        tp.rcv_rtt_us == 0 || m < tp.rcv_rtt_us ? m : tp.rcv_rtt_us - (tp.rcv_rtt_us >> 3) + sample;
}

void tcp_grow_window(Kernel& k, SocketIndex index, SkbIndex skb, bool adjust)
{
    TcpSock& tp = tcp_sk(k, index);
    const SkBuff& buff = k.skb(skb);
    const std::int64_t room = std::min<std::int64_t>(tp.window_clamp, tcp_space(k, index)) - tp.rcv_ssthresh;
    if (room <= 0) {
        return;
    }
    const std::uint32_t len = buff.len;
    std::int64_t truesize = buff.truesize;
    if (adjust && buff.len == buff.data_len) {
        truesize = std::max<std::int64_t>(truesize - (static_cast<std::int64_t>(buff.head.size()) +
                                                      sizeof_sk_buff + sizeof_skb_shared_info),
                                          len);
    }
    std::int64_t incr = 0;
    if (tcp_win_from_space(k, index, truesize) <= len) {
        incr = 2 * std::int64_t{tp.advmss};
    } else { // __tcp_grow_window()
        std::int64_t size = tcp_win_from_space(k, index, truesize) >> 1;
        std::int64_t window = tcp_win_from_space(k, index, tcp_sysctl(k, index).tcp_rmem_max) >> 1;
        while (tp.rcv_ssthresh <= window) {
            if (size <= len) {
                incr = 2 * std::int64_t{tp.ack.rcv_mss};
                break;
            }
            size >>= 1;
            window >>= 1;
        }
    }
    if (incr != 0) {
        incr = std::max<std::int64_t>(incr, 2 * std::int64_t{len});
        tp.rcv_ssthresh += static_cast<std::uint32_t>(std::min(room, incr));
        tp.ack.quick |= 1;
    }
}

void tcp_event_data_recv(Kernel& k, SocketIndex index, SkbIndex skb)
{
    TcpSock& tp = tcp_sk(k, index);
    inet_csk_schedule_ack(tp);
    tcp_measure_rcv_mss(k, index, skb);
    const std::uint32_t now = tcp_jiffies32(k);
    if (tp.ack.ato == 0) {
        tcp_incr_quickack(tp, TCP_MAX_QUICKACKS); // the first data: acknowledge quickly
        tp.ack.ato = TCP_ATO_MIN;
    } else {
        const auto m = static_cast<std::int32_t>(now - tp.ack.lrcvtime);
        if (m <= static_cast<std::int32_t>(TCP_ATO_MIN / 2)) {
            tp.ack.ato = (tp.ack.ato >> 1) + TCP_ATO_MIN / 2;
        } else if (m < static_cast<std::int32_t>(tp.ack.ato)) {
            tp.ack.ato = std::min((tp.ack.ato >> 1) + static_cast<std::uint32_t>(m), tp.rto);
        } else if (m > static_cast<std::int32_t>(tp.rto)) {
            tcp_incr_quickack(tp, TCP_MAX_QUICKACKS); // the sender starts anew
        }
    }
    tp.ack.lrcvtime = now;
    if (k.skb(skb).len >= 128) {
        tcp_grow_window(k, index, skb, true);
    }
}

void __tcp_ack_snd_check(Kernel& k, SocketIndex index, bool ofo_possible)
{
    TcpSock& tp = tcp_sk(k, index);
    const bool two_frames = tp.rcv_nxt - tp.rcv_wup > tp.ack.rcv_mss &&
                            (tp.rcv_nxt - tp.copied_seq < 1 || __tcp_select_window(k, index) >= tp.rcv_wnd);
    if (two_frames || tcp_in_quickack_mode(tp) || (tp.ack.pending & ICSK_ACK_NOW) != 0) {
        send_now(k, index);
        return;
    }
    if (!ofo_possible || tp.ofo_queue.empty()) {
        tcp_send_delayed_ack(k, index);
        return;
    }
    // Segments out of order: the first three of a gap are answered at once, of the later ones several together.
    const Sysctls& sysctl = tcp_sysctl(k, index);
    if (!tp.rx_opt.sack_ok || tp.compressed_ack >= sysctl.tcp_comp_sack_nr) {
        send_now(k, index);
        return;
    }
    if (tp.compressed_ack_rcv_nxt != tp.rcv_nxt) {
        tp.compressed_ack_rcv_nxt = tp.rcv_nxt;
        tp.dup_ack_counter = 0;
    }
    if (tp.dup_ack_counter < TCP_FASTRETRANS_THRESH) {
        ++tp.dup_ack_counter;
        send_now(k, index);
        return;
    }
    ++tp.compressed_ack;
    if (tp.compressed_ack_timer == 0) {
        arm_compressed_ack(k, index);
    }
}

void tcp_sack_compress_send_ack(Kernel& k, SocketIndex index)
{
    TcpSock& tp = tcp_sk(k, index);
    if (tp.compressed_ack == 0) {
        return;
    }
    tp.compressed_ack_timer = 0;
    k.count(k.sock_net(index), Mib::TcpExt_TCPAckCompressed, PacketId::none,
            tp.compressed_ack - 1); // one is sent after all
    tp.compressed_ack = 0;
    tcp_send_ack(k, index);
}

void tcp_ack_snd_check(Kernel& k, SocketIndex index)
{
    if (inet_csk_ack_scheduled(tcp_sk(k, index))) {
        __tcp_ack_snd_check(k, index, true);
    }
}

void tcp_initialize_rcv_mss(TcpSock& tp)
{
    std::uint32_t hint = std::min(tp.advmss, tp.mss_cache);
    hint = std::min(hint, tp.rcv_wnd / 2);
    hint = std::min(hint, TCP_MSS_DEFAULT);
    tp.ack.rcv_mss = std::max(hint, TCP_MIN_MSS);
}

void tcp_enter_quickack_mode(TcpSock& tp, std::uint32_t max_quickacks)
{
    tcp_incr_quickack(tp, max_quickacks);
    tp.ack.pingpong = 0;
    tp.ack.ato = TCP_ATO_MIN;
}

std::int64_t tcp_win_from_space(Kernel& k, SocketIndex index, std::int64_t space)
{
    if (k.profile() >= Profile::v6_12) {
        return (space * tcp_sk(k, index).scaling_ratio) >> 8;
    }
    const auto scale = tcp_sysctl(k, index).tcp_adv_win_scale;
    return scale <= 0 ? space >> -scale : space - (space >> scale);
}

std::int64_t tcp_space(Kernel& k, SocketIndex index)
{
    const Socket& sk = k.socket(index);
    return tcp_win_from_space(k, index,
                              std::int64_t{sk.sk_rcvbuf} - tcp_sk(k, index).backlog_len - sk.sk_rmem_alloc);
}

std::int64_t tcp_full_space(Kernel& k, SocketIndex index)
{
    return tcp_win_from_space(k, index, k.socket(index).sk_rcvbuf);
}

void tcp_rcv_space_adjust(Kernel& k, SocketIndex index)
{
    Call call(k, fn::tcp_rcv_space_adjust);
    TcpSock& tp = tcp_sk(k, index);
    tcp_mstamp_refresh(k, tp);
    const std::int64_t time = stamp_us_delta(tp.mstamp, tp.rcvq_time);
    if (tp.rcv_rtt_us == 0 || time < (tp.rcv_rtt_us >> 3)) {
        return;
    }
    const std::uint32_t copied = tp.copied_seq - tp.rcvq_seq;
    if (copied > tp.rcvq_space) {
        if (tcp_sysctl(k, index).tcp_moderate_rcvbuf != 0 && !tp.rcvbuf_locked) {
            std::uint64_t rcvwin = (std::uint64_t{copied} << 1) + 16 * tp.advmss;
            rcvwin += (rcvwin * (copied - tp.rcvq_space) / std::max(tp.rcvq_space, 1U)) << 1;
            std::uint64_t rcvmem =
                ((tp.advmss + MAX_TCP_HEADER + 63) & ~63U) + sizeof_sk_buff + sizeof_skb_shared_info;
            while (tcp_win_from_space(k, index, static_cast<std::int64_t>(rcvmem)) < tp.advmss) {
                rcvmem += 128;
            }
            const std::uint64_t rcvbuf =
                std::min<std::uint64_t>(rcvwin / std::max(tp.advmss, 1U) * rcvmem,
                                        static_cast<std::uint64_t>(tcp_sysctl(k, index).tcp_rmem_max));
            Socket& sk = k.socket(index);
            if (rcvbuf > sk.sk_rcvbuf) {
                k.emit(EventKind::queue, PacketId::none, fn::tcp_rcv_space_adjust,
                       k.trace.add_queue_change({QueueChange::What::limit, sk.queue, sk.sk_rcvbuf, rcvbuf}));
                sk.sk_rcvbuf = static_cast<std::uint32_t>(rcvbuf);
                tp.window_clamp = static_cast<std::uint32_t>(tcp_win_from_space(k, index, sk.sk_rcvbuf));
            }
        }
        tp.rcvq_space = copied;
    }
    tp.rcvq_seq = tp.copied_seq;
    tp.rcvq_time = tp.mstamp;
}

} // namespace skbscope::kernel
