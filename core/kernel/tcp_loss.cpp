// Of net/ipv4/tcp_input.c: what is lost: the congestion states (open, disorder, CWR, recovery, loss), when they are entered, left
// and undone. RACK is in tcp_recovery.cpp, the window's shrinking in tcp_cong.cpp.

#include "core/kernel/tcp_input.h"

namespace skbscope::kernel {

namespace {

void tcp_init_undo(TcpSock& tp)
{
    tp.undo_marker = tp.snd_una;
    tp.undo_retrans = tp.retrans_out != 0 ? static_cast<std::int32_t>(tp.retrans_out) : -1;
}

std::uint32_t tcp_current_ssthresh(const TcpSock& tp)
{
    return tcp_in_cwnd_reduction(tp) ? tp.snd_ssthresh
                                     : std::max(tp.snd_ssthresh, (tp.snd_cwnd >> 1) + (tp.snd_cwnd >> 2));
}

void tcp_undo_cwnd_reduction(Kernel& k, TcpSock& tp, bool unmark_loss)
{
    if (unmark_loss) {
        for (const SkbIndex skb : tp.rtx_queue) {
            tcp_cb(k, skb).sacked &= static_cast<std::uint8_t>(~tcpcb::lost);
        }
        tp.lost_out = 0;
    }
    if (tp.prior_ssthresh != 0) {
        tp.snd_cwnd = std::max(tp.snd_cwnd, tp.prior_cwnd); // tcp_reno_undo_cwnd()
        tp.snd_ssthresh = std::max(tp.snd_ssthresh, tp.prior_ssthresh);
    }
    tp.snd_cwnd_stamp = tcp_jiffies32(k);
    tp.undo_marker = 0;
    tp.rack_advanced = true;
}

bool tcp_packet_delayed(const TcpSock& tp)
{
    const bool received_ts_before_retrans =
        tp.rx_opt.saw_tstamp && tp.rx_opt.rcv_tsecr != 0 && before(tp.rx_opt.rcv_tsecr, tp.retrans_stamp);
    return tp.retrans_stamp != 0 ? received_ts_before_retrans
                                 : tp.state != TcpState::syn_sent && tp.state != TcpState::syn_recv;
}

bool tcp_may_undo(const TcpSock& tp)
{
    return tp.undo_marker != 0 && (tp.undo_retrans == 0 || tcp_packet_delayed(tp));
}

bool tcp_any_retrans_done(Kernel& k, const TcpSock& tp)
{
    return tp.retrans_out != 0 ||
           (!tp.rtx_queue.empty() && (tcp_cb(k, tp.rtx_queue.front()).sacked & tcpcb::ever_retrans) != 0);
}

void tcp_try_to_open(Kernel& k, TcpSock& tp)
{
    if (!tcp_any_retrans_done(k, tp)) {
        tp.retrans_stamp = 0;
    }
    if (tp.ca_state != TcpCaState::cwr) {
        tcp_try_keep_open(k, tp);
    }
}

/// True: back to normal, nothing more to do for this ACK.
bool tcp_try_undo_recovery(Kernel& k, SocketIndex index)
{
    TcpSock& tp = tcp_sk(k, index);
    if (tcp_may_undo(tp)) {
        const Mib counter =
            tp.ca_state == TcpCaState::loss ? Mib::TcpExt_TCPLossUndo : Mib::TcpExt_TCPFullUndo;
        tcp_undo_cwnd_reduction(k, tp, false);
        k.count(k.sock_net(index), counter, PacketId::none);
    }
    if (tp.snd_una == tp.high_seq && !tp.rx_opt.sack_ok) {
        if (!tcp_any_retrans_done(k, tp)) {
            tp.retrans_stamp = 0;
        }
        return true;
    }
    tp.ca_state = TcpCaState::open;
    return false;
}

bool tcp_try_undo_loss(Kernel& k, SocketIndex index, bool frto_undo)
{
    TcpSock& tp = tcp_sk(k, index);
    if (!frto_undo && !tcp_may_undo(tp)) {
        return false;
    }
    tcp_undo_cwnd_reduction(k, tp, true);
    k.count(k.sock_net(index), Mib::TcpExt_TCPLossUndo, PacketId::none);
    if (frto_undo) {
        k.count(k.sock_net(index), Mib::TcpExt_TCPSpuriousRTOs, PacketId::none);
    }
    tp.retransmits = 0;
    if (frto_undo || tp.rx_opt.sack_ok) {
        tp.ca_state = TcpCaState::open;
    }
    return true;
}

void tcp_add_reno_sack(TcpSock& tp, std::uint32_t num_dupack)
{
    if (num_dupack == 0) {
        return;
    }
    const std::uint32_t prior = tp.sacked_out;
    tp.sacked_out += num_dupack;
    const std::uint32_t holes = std::clamp(tp.lost_out, 1U, std::max(tp.packets_out, 1U));
    if (tp.sacked_out + holes > tp.packets_out) {
        tp.sacked_out = tp.packets_out - std::min(holes, tp.packets_out);
    }
    tp.delivered += tp.sacked_out > prior ? tp.sacked_out - prior : 0;
}

void tcp_identify_packet_loss(Kernel& k, SocketIndex index, std::uint32_t& flag)
{
    TcpSock& tp = tcp_sk(k, index);
    if (tp.rtx_queue.empty()) {
        return;
    }
    if (!tp.rx_opt.sack_ok) { // tcp_newreno_mark_lost()
        const bool snd_una_advanced = (flag & FLAG_SND_UNA_ADVANCED) != 0;
        if ((tp.ca_state < TcpCaState::recovery && tp.sacked_out >= tp.reordering) ||
            (tp.ca_state == TcpCaState::recovery && snd_una_advanced)) {
            const SkbIndex skb = tp.rtx_queue.front();
            if ((tcp_cb(k, skb).sacked & tcpcb::lost) == 0) {
                tcp_mark_skb_lost(k, index, skb);
            }
        }
        return;
    }
    const std::uint32_t prior = tp.retrans_out;
    if (tcp_rack_mark_lost(k, index)) {
        flag &= ~FLAG_SET_XMIT_TIMER;
    }
    if (prior > tp.retrans_out) {
        flag |= FLAG_LOST_RETRANS;
    }
}

void tcp_process_loss(Kernel& k, SocketIndex index, std::uint32_t flag, std::uint32_t num_dupack,
                      Rexmit& rexmit)
{
    TcpSock& tp = tcp_sk(k, index);
    const bool recovered = !before(tp.snd_una, tp.high_seq);
    if ((flag & FLAG_SND_UNA_ADVANCED) != 0 && tcp_try_undo_loss(k, index, false)) {
        return;
    }
    if (tp.frto) {
        if ((flag & FLAG_ORIG_SACK_ACKED) != 0 && tcp_try_undo_loss(k, index, true)) {
            return; // the timeout was spurious: originals arrive
        }
        if (after(tp.snd_nxt, tp.high_seq)) {
            if ((flag & FLAG_DATA_SACKED) != 0 || num_dupack != 0) {
                tp.frto = false;
            }
        } else if ((flag & FLAG_SND_UNA_ADVANCED) != 0 && !recovered) {
            tp.high_seq = tp.snd_nxt;
            if (!tp.write_queue.empty() && after(tcp_wnd_end(tp), tp.snd_nxt)) {
                rexmit = Rexmit::fresh;
                return;
            }
            tp.frto = false;
        }
    }
    if (recovered) {
        tcp_try_undo_recovery(k, index);
        return;
    }
    if (!tp.rx_opt.sack_ok) {
        if (after(tp.snd_nxt, tp.high_seq) && num_dupack != 0) {
            tcp_add_reno_sack(tp, num_dupack);
        } else if ((flag & FLAG_SND_UNA_ADVANCED) != 0) {
            tp.sacked_out = 0;
        }
    }
    rexmit = Rexmit::lost;
}

} // namespace

void tcp_try_keep_open(Kernel& k, TcpSock& tp)
{
    const TcpCaState state = tp.sacked_out + tp.lost_out != 0 || tcp_any_retrans_done(k, tp)
                                 ? TcpCaState::disorder
                                 : TcpCaState::open;
    if (tp.ca_state != state) {
        tp.ca_state = state;
        tp.high_seq = tp.snd_nxt;
    }
}

void tcp_fastretrans_alert(Kernel& k, SocketIndex index, std::uint32_t num_dupack, std::uint32_t& flag,
                           Rexmit& rexmit)
{
    Call call(k, fn::tcp_fastretrans_alert);
    TcpSock& tp = tcp_sk(k, index);
    if (tp.packets_out == 0) {
        tp.sacked_out = 0;
    }
    if (tp.ca_state == TcpCaState::open) {
        tp.retrans_stamp = 0;
    } else if (!before(tp.snd_una, tp.high_seq)) {
        if (tp.ca_state == TcpCaState::cwr && tp.snd_una != tp.high_seq) {
            tcp_end_cwnd_reduction(k, tp);
            tp.ca_state = TcpCaState::open;
        } else if (tp.ca_state == TcpCaState::recovery) {
            if (!tp.rx_opt.sack_ok) {
                tp.sacked_out = 0;
            }
            if (tcp_try_undo_recovery(k, index)) {
                return;
            }
            tcp_end_cwnd_reduction(k, tp);
        }
    }
    const std::uint32_t in_flag = flag;
    if (tp.ca_state == TcpCaState::recovery) {
        if ((flag & FLAG_SND_UNA_ADVANCED) == 0) {
            if (!tp.rx_opt.sack_ok) {
                tcp_add_reno_sack(tp, num_dupack);
            }
        } else if (tp.undo_marker != 0 && tcp_packet_delayed(tp)) { // tcp_try_undo_partial()
            if (tp.retrans_out != 0) {
                return;
            }
            if (!tcp_any_retrans_done(k, tp)) {
                tp.retrans_stamp = 0;
            }
            tcp_undo_cwnd_reduction(k, tp, true);
            k.count(k.sock_net(index), Mib::TcpExt_TCPPartialUndo, PacketId::none);
            tcp_try_keep_open(k, tp);
            return;
        }
        tcp_identify_packet_loss(k, index, flag);
        rexmit = Rexmit::lost;
        return;
    }
    if (tp.ca_state == TcpCaState::loss) {
        tcp_process_loss(k, index, in_flag, num_dupack, rexmit);
        tcp_identify_packet_loss(k, index, flag);
        if (tp.ca_state != TcpCaState::open && (flag & FLAG_LOST_RETRANS) == 0) {
            return;
        }
    } else {
        if (!tp.rx_opt.sack_ok) {
            if ((flag & FLAG_SND_UNA_ADVANCED) != 0) {
                tp.sacked_out = 0;
            }
            tcp_add_reno_sack(tp, num_dupack);
        }
        if (tp.ca_state <= TcpCaState::disorder && tp.undo_marker != 0 &&
            tp.undo_retrans == 0) { // tcp_try_undo_dsack()
            tcp_undo_cwnd_reduction(k, tp, false);
            k.count(k.sock_net(index), Mib::TcpExt_TCPDSACKUndo, PacketId::none);
        }
        tcp_identify_packet_loss(k, index, flag);
    }
    if (tp.lost_out == 0) { // tcp_time_to_recover()
        tcp_try_to_open(k, tp);
        return;
    }
    tcp_enter_recovery(k, index);
    rexmit = Rexmit::lost;
}

void tcp_mark_skb_lost(Kernel& k, SocketIndex index, SkbIndex skb)
{
    TcpSock& tp = tcp_sk(k, index);
    TcpCb& cb = tcp_cb(k, skb);
    if ((cb.sacked & tcpcb::sacked_acked) != 0) {
        return;
    }
    if ((cb.sacked & tcpcb::lost) != 0) {
        if ((cb.sacked & tcpcb::sacked_retrans) != 0) { // the retransmission is lost, too
            cb.sacked &= static_cast<std::uint8_t>(~tcpcb::sacked_retrans);
            tp.retrans_out -= cb.segs;
            k.count(k.sock_net(index), Mib::TcpExt_TCPLostRetransmit, k.skb(skb).packet, cb.segs);
            tp.lost += cb.segs;
        }
        return;
    }
    tp.lost_out += cb.segs;
    cb.sacked |= tcpcb::lost;
    tp.lost += cb.segs;
}

void tcp_enter_recovery(Kernel& k, SocketIndex index)
{
    TcpSock& tp = tcp_sk(k, index);
    k.count(k.sock_net(index), tp.rx_opt.sack_ok ? Mib::TcpExt_TCPSackRecovery : Mib::TcpExt_TCPRenoRecovery,
            PacketId::none);
    tp.prior_ssthresh = 0;
    tcp_init_undo(tp);
    if (!tcp_in_cwnd_reduction(tp)) {
        tp.prior_ssthresh = tcp_current_ssthresh(tp);
        tcp_init_cwnd_reduction(tp);
    }
    tp.ca_state = TcpCaState::recovery;
}

void tcp_enter_loss(Kernel& k, SocketIndex index)
{
    Call call(k, fn::tcp_enter_loss);
    TcpSock& tp = tcp_sk(k, index);
    const bool new_recovery = tp.ca_state < TcpCaState::recovery;
    if (!tp.rx_opt.sack_ok) {
        tp.sacked_out = 0;
    }
    for (const SkbIndex skb : tp.rtx_queue) { // tcp_timeout_mark_lost()
        tcp_mark_skb_lost(k, index, skb);
    }
    if (tp.ca_state <= TcpCaState::disorder || !after(tp.high_seq, tp.snd_una) ||
        (tp.ca_state == TcpCaState::loss && tp.retransmits == 0)) {
        tp.prior_ssthresh = tcp_current_ssthresh(tp);
        tp.prior_cwnd = tp.snd_cwnd;
        tp.snd_ssthresh = tcp_reno_ssthresh(tp);
        tcp_init_undo(tp);
    }
    tp.snd_cwnd = tcp_packets_in_flight(tp) + 1;
    tp.snd_cwnd_cnt = 0;
    tp.snd_cwnd_stamp = tcp_jiffies32(k);
    tp.ca_state = TcpCaState::loss;
    tp.high_seq = tp.snd_nxt;
    tp.tlp_high_seq = 0;
    tp.frto = tcp_sysctl(k, index).tcp_frto != 0 && (new_recovery || tp.retransmits != 0);
}

} // namespace skbscope::kernel
