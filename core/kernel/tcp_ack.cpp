// Of net/ipv4/tcp_input.c: what an acknowledgement says: round-trip times, SACK blocks, what leaves the retransmit queue, the
// peer's window, and the retransmission timer. What is lost is tcp_loss.cpp's.

#include "core/kernel/tcp_input.h"
#include "core/kernel/tcp_output.h"
#include "core/packet/bytes.h"

namespace skbscope::kernel {

namespace {

void tcp_rtt_estimator(TcpSock& tp, std::int64_t rtt_us)
{
    std::int64_t m = rtt_us;
    std::int64_t srtt = tp.srtt_us;
    if (srtt == 0) {
        srtt = m << 3;
        tp.mdev_us = static_cast<std::uint32_t>(m << 1);
        tp.rttvar_us = std::max(tp.mdev_us, 200'000U); // tcp_rto_min_us()
        tp.mdev_max_us = tp.rttvar_us;
        tp.rtt_seq = tp.snd_nxt;
    } else {
        m -= srtt >> 3;
        srtt += m;
        if (m < 0) {
            m = -m - (tp.mdev_us >> 2);
            if (m > 0) {
                m >>= 3; // a falling round trip does not look like variance
            }
        } else {
            m -= tp.mdev_us >> 2;
        }
        tp.mdev_us = static_cast<std::uint32_t>(tp.mdev_us + m);
        if (tp.mdev_us > tp.mdev_max_us) {
            tp.mdev_max_us = tp.mdev_us;
            tp.rttvar_us = std::max(tp.rttvar_us, tp.mdev_max_us);
        }
        if (after(tp.snd_una, tp.rtt_seq)) {
            if (tp.mdev_max_us < tp.rttvar_us) {
                tp.rttvar_us -= (tp.rttvar_us - tp.mdev_max_us) >> 2;
            }
            tp.rtt_seq = tp.snd_nxt;
            tp.mdev_max_us = 200'000;
        }
    }
    tp.srtt_us = static_cast<std::uint32_t>(std::max<std::int64_t>(1, srtt));
}

void tcp_set_rto(TcpSock& tp)
{
    tp.rto = std::min(usecs_to_jiffies((tp.srtt_us >> 3) + tp.rttvar_us), TCP_RTO_MAX);
}

void tcp_update_rtt_min(Kernel& k, TcpSock& tp, std::int64_t rtt_us)
{
    // The kernel keeps the least of the last five minutes (minmax_running_min()); the model forgets it after that time.
    const auto sample = static_cast<std::uint32_t>(std::max<std::int64_t>(1, rtt_us));
    if (sample <= tp.min_rtt_us || k.cpu().now - tp.min_rtt_stamp > Duration{300'000'000'000}) {
        tp.min_rtt_us = sample;
        tp.min_rtt_stamp = k.cpu().now;
    }
}

bool tcp_ack_update_rtt(Kernel& k, TcpSock& tp, std::uint32_t flag, std::int64_t seq_rtt_us,
                        std::int64_t sack_rtt_us, std::int64_t ca_rtt_us)
{
    if (seq_rtt_us < 0) {
        seq_rtt_us = sack_rtt_us;
    }
    if (seq_rtt_us < 0 && tp.rx_opt.saw_tstamp && tp.rx_opt.rcv_tsecr != 0 && (flag & FLAG_ACKED) != 0) {
        const std::uint32_t delta = tcp_time_stamp(tp) - tp.rx_opt.rcv_tsecr;
        if (delta < 0x7fffffff / 1000) {
            seq_rtt_us = std::max<std::int64_t>(delta, 1) * 1000;
            ca_rtt_us = seq_rtt_us;
        }
    }
    if (seq_rtt_us < 0) {
        return false;
    }
    tcp_update_rtt_min(k, tp, ca_rtt_us);
    tcp_rtt_estimator(tp, seq_rtt_us);
    tcp_set_rto(tp);
    tp.backoff = 0;
    return true;
}

struct SackState {
    SimTime first_sackt = never, last_sackt{};
    bool any = false;
    std::uint32_t delivered = 0;
};

/// Whether the block covers the segment as a whole; one of several segments is cut where it does so in part, at a multiple of the MSS.
bool tcp_match_skb_to_sack(Kernel& k, SocketIndex index, SkbIndex skb, TcpSackBlock block)
{
    const TcpCb cb = tcp_cb(k, skb);
    bool in_sack = !after(block.start, cb.seq) && !before(block.end, cb.end_seq);
    if (cb.segs <= 1 || in_sack || !after(cb.end_seq, block.start)) {
        return in_sack;
    }
    const std::uint32_t mss = cb.mss;
    in_sack = !after(block.start, cb.seq);
    std::uint32_t length = in_sack ? block.end - cb.seq : std::max(block.start - cb.seq, mss);
    if (length < mss) {
        return false;
    }
    const std::uint32_t whole = length / mss * mss;
    length = !in_sack && whole < length ? whole + mss : whole;
    if (length >= tcp_skb_payload(k, skb)) {
        return in_sack;
    }
    tcp_fragment(k, index, skb, length, mss, true);
    return in_sack;
}

/// tcp_sacktag_write_queue(): the blocks of this ACK, and what they say of the retransmit queue. A block cuts a segment at
/// its edges where it covers only a part.
std::uint32_t tcp_sacktag_write_queue(Kernel& k, SocketIndex index, SkbIndex ack, std::uint32_t prior_snd_una,
                                      SackState& state)
{
    Call call(k, fn::tcp_sacktag_write_queue, ack);
    TcpSock& tp = tcp_sk(k, index);
    const TcpHeader th = tcp_hdr(k, ack);
    std::uint32_t flag = 0;
    std::vector<TcpSackBlock> blocks;
    for (std::size_t at = 0; at + 1 < th.options.size();) {
        const std::uint8_t kind = th.options[at];
        if (kind == 0) {
            break;
        }
        if (kind == 1) {
            ++at;
            continue;
        }
        const std::size_t size = th.options[at + 1];
        if (size < 2 || at + size > th.options.size()) {
            break;
        }
        if (kind == 5) {
            for (std::size_t b = at + 2; b + 8 <= at + size; b += 8) {
                blocks.push_back({load_be32(&th.options[b]), load_be32(&th.options[b + 4])});
            }
        }
        at += size;
    }
    if (blocks.empty() || tp.packets_out == 0) {
        return flag;
    }
    // tcp_check_dsack(): the first block lies below the acknowledgement, or inside the second.
    std::size_t first = 0;
    const auto dup_segs = std::max<std::uint32_t>(1, (blocks[0].end - blocks[0].start + tp.mss_cache - 1) /
                                                         std::max<std::uint32_t>(tp.mss_cache, 1));
    if (before(blocks[0].start, tcp_cb(k, ack).ack_seq)) {
        k.count(k.sock_net(index), Mib::TcpExt_TCPDSACKRecv, PacketId::none);
        flag |= FLAG_DSACKING_ACK;
        first = 1;
        if (tp.undo_marker != 0 && tp.undo_retrans > 0 && !after(blocks[0].end, prior_snd_una) &&
            after(blocks[0].end, tp.undo_marker)) {
            tp.undo_retrans = std::max(0, tp.undo_retrans - static_cast<std::int32_t>(dup_segs));
        }
    } else if (blocks.size() > 1 && !after(blocks[0].end, blocks[1].end) &&
               !before(blocks[0].start, blocks[1].start)) {
        k.count(k.sock_net(index), Mib::TcpExt_TCPDSACKOfoRecv, PacketId::none);
        flag |= FLAG_DSACKING_ACK;
        first = 1;
    }
    if (first != 0) {
        k.count(k.sock_net(index), Mib::TcpExt_TCPDSACKRecvSegs, PacketId::none, dup_segs);
    }
    for (std::size_t b = first; b < blocks.size(); ++b) {
        const TcpSackBlock block = blocks[b];
        if (!before(block.start, block.end) || after(block.end, tp.snd_nxt) ||
            before(block.start, tp.snd_una)) {
            continue; // tcp_is_sackblock_valid()
        }
        for (std::size_t at = 0; at < tp.rtx_queue.size();
             ++at) { // by position: the queue grows where a segment is cut
            const SkbIndex skb = tp.rtx_queue[at];
            if (!before(tcp_cb(k, skb).seq, block.end)) {
                break;
            }
            if (!after(tcp_cb(k, skb).end_seq, block.start) ||
                (tcp_cb(k, skb).sacked & tcpcb::sacked_acked) != 0 ||
                !tcp_match_skb_to_sack(k, index, skb, block)) {
                continue;
            }
            TcpCb& cb = tcp_cb(k, skb);
            tcp_rack_advance(tp, cb.sacked, cb.end_seq, cb.sent);
            if ((cb.sacked & tcpcb::sacked_retrans) != 0) {
                if ((cb.sacked & tcpcb::lost) != 0) {
                    cb.sacked &= static_cast<std::uint8_t>(~(tcpcb::lost | tcpcb::sacked_retrans));
                    tp.lost_out -= cb.segs;
                    tp.retrans_out -= cb.segs;
                }
            } else {
                if ((cb.sacked & tcpcb::retrans) == 0) {
                    // New SACK for a segment never sent again, below one that was SACKed before: the network reorders.
                    flag |= !after(cb.end_seq, tp.high_seq) ? FLAG_ORIG_SACK_ACKED : 0;
                    state.first_sackt = std::min(state.first_sackt, cb.sent);
                    state.last_sackt = cb.sent;
                    state.any = true;
                }
                if ((cb.sacked & tcpcb::lost) != 0) {
                    cb.sacked &= static_cast<std::uint8_t>(~tcpcb::lost);
                    tp.lost_out -= cb.segs;
                }
            }
            cb.sacked |= tcpcb::sacked_acked;
            flag |= FLAG_DATA_SACKED;
            tp.sacked_out += cb.segs;
            state.delivered += cb.segs;
        }
    }
    return flag;
}

std::uint32_t tcp_clean_rtx_queue(Kernel& k, SocketIndex index, std::uint32_t prior_snd_una,
                                  const SackState& sack)
{
    Call call(k, fn::tcp_clean_rtx_queue);
    TcpSock& tp = tcp_sk(k, index);
    std::uint32_t flag = 0;
    SimTime first_ackt = never, last_ackt{};
    bool any_first = false;
    std::uint32_t pkts_acked = 0;
    bool fully_acked = true;
    while (!tp.rtx_queue.empty()) {
        const SkbIndex skb = tp.rtx_queue.front();
        TcpCb& cb = tcp_cb(k, skb);
        const std::uint8_t sacked = cb.sacked;
        const SimTime sent = cb.sent;
        const std::uint8_t flags = cb.flags;
        const std::uint32_t end_seq = cb.end_seq;
        std::uint32_t acked = cb.segs;
        if (after(cb.end_seq, tp.snd_una)) {
            if (cb.segs == 1 || !after(tp.snd_una, cb.seq)) {
                break;
            }
            tcp_trim_acked(k, index, skb, tp.snd_una - cb.seq); // tcp_tso_acked()
            acked -= cb.segs;
            if (acked == 0) {
                break;
            }
            fully_acked = false;
        }
        if ((sacked & tcpcb::retrans) != 0) {
            tp.retrans_out -= (sacked & tcpcb::sacked_retrans) != 0 ? acked : 0;
            flag |= FLAG_RETRANS_DATA_ACKED;
        } else if ((sacked & tcpcb::sacked_acked) == 0) {
            last_ackt = sent;
            first_ackt = any_first ? first_ackt : sent;
            any_first = true;
            flag |= !after(end_seq, tp.high_seq) ? FLAG_ORIG_SACK_ACKED : 0;
        }
        if ((sacked & tcpcb::sacked_acked) != 0) {
            tp.sacked_out -= acked;
        } else if (tp.rx_opt.sack_ok) {
            tp.delivered += acked;
            tcp_rack_advance(tp, sacked, end_seq, sent);
        }
        tp.lost_out -= (sacked & tcpcb::lost) != 0 ? acked : 0;
        tp.packets_out -= acked;
        pkts_acked += acked;
        if ((flags & tcphdr::syn) == 0) {
            flag |= FLAG_DATA_ACKED;
        } else {
            flag |= FLAG_SYN_ACKED;
            tp.retrans_stamp = 0;
        }
        if (!fully_acked) {
            break;
        }
        tp.rtx_queue.pop_front();
        k.dequeue(tp.write_queue_id, k.skb(skb).packet, fn::tcp_rtx_queue_unlink_and_free);
        Call unlink(k, fn::tcp_rtx_queue_unlink_and_free, skb);
        tcp_wmem_free_skb(k, index, skb, fn::tcp_rtx_queue_unlink_and_free);
    }
    (void)prior_snd_una;
    std::int64_t seq_rtt_us = -1, ca_rtt_us = -1, sack_rtt_us = -1;
    if (any_first && (flag & FLAG_RETRANS_DATA_ACKED) == 0) {
        seq_rtt_us = stamp_us_delta(tp.mstamp, first_ackt);
        ca_rtt_us = stamp_us_delta(tp.mstamp, last_ackt);
    }
    if (sack.any) {
        sack_rtt_us = stamp_us_delta(tp.mstamp, sack.first_sackt);
        ca_rtt_us = stamp_us_delta(tp.mstamp, sack.last_sackt);
    }
    tcp_ack_update_rtt(k, tp, flag, seq_rtt_us, sack_rtt_us, ca_rtt_us);
    if ((flag & FLAG_ACKED) != 0) {
        flag |= FLAG_SET_XMIT_TIMER;
        if (!tp.rx_opt.sack_ok) { // tcp_remove_reno_sacks()
            tp.delivered += std::max<std::int32_t>(
                static_cast<std::int32_t>(pkts_acked) - static_cast<std::int32_t>(tp.sacked_out), 1);
            tp.sacked_out = pkts_acked - 1 >= tp.sacked_out ? 0 : tp.sacked_out - (pkts_acked - 1);
        }
    }
    return flag;
}

void tcp_ack_probe(Kernel& k, SocketIndex index)
{
    TcpSock& tp = tcp_sk(k, index);
    if (tp.write_queue.empty()) {
        return;
    }
    if (!after(tcp_cb(k, tp.write_queue.front()).end_seq, tcp_wnd_end(tp))) {
        tp.backoff = 0;
        inet_csk_clear_xmit_timer(k, index);
    } else {
        inet_csk_reset_xmit_timer(
            k, index, TcpTimer::probe0,
            static_cast<std::uint32_t>(std::min<std::uint64_t>(
                std::uint64_t{std::max(tp.rto, TCP_RTO_MIN)} << std::min<int>(tp.backoff, 16), TCP_RTO_MAX)),
            TCP_RTO_MAX);
    }
}

std::uint32_t tcp_ack_update_window(Kernel& k, SocketIndex index, const TcpHeader& th, std::uint32_t ack,
                                    std::uint32_t ack_seq)
{
    TcpSock& tp = tcp_sk(k, index);
    std::uint32_t flag = 0;
    const std::uint32_t nwin = th.syn() ? th.window : std::uint32_t{th.window} << tp.rx_opt.snd_wscale;
    const bool may = after(ack, tp.snd_una) || after(ack_seq, tp.snd_wl1) ||
                     (ack_seq == tp.snd_wl1 && (nwin > tp.snd_wnd || nwin == 0));
    if (may) {
        flag |= FLAG_WIN_UPDATE;
        tp.snd_wl1 = ack_seq;
        if (tp.snd_wnd != nwin) {
            tp.snd_wnd = nwin;
            tp.pred_flags = 0;
            tcp_fast_path_check(k, index);
            if (!tp.write_queue.empty()) {
                tcp_slow_start_after_idle_check(k, index);
            }
            if (nwin > tp.max_window) {
                tp.max_window = nwin;
                tcp_sync_mss(k, index);
            }
        }
    }
    tp.bytes_acked += ack - tp.snd_una;
    tp.snd_una = ack;
    return flag;
}

void tcp_process_tlp_ack(Kernel& k, SocketIndex index, std::uint32_t ack, std::uint32_t flag)
{
    TcpSock& tp = tcp_sk(k, index);
    if (before(ack, tp.tlp_high_seq)) {
        return;
    }
    if (!tp.tlp_retrans || (flag & FLAG_DSACKING_ACK) != 0) {
        tp.tlp_high_seq = 0;
    } else if (after(ack, tp.tlp_high_seq)) {
        tcp_init_cwnd_reduction(tp);
        tp.ca_state = TcpCaState::cwr;
        tcp_end_cwnd_reduction(k, tp);
        tcp_try_keep_open(k, tp);
        k.count(k.sock_net(index), Mib::TcpExt_TCPLossProbeRecovery, PacketId::none);
    } else if ((flag & (FLAG_SND_UNA_ADVANCED | FLAG_NOT_DUP | FLAG_DATA_SACKED)) == 0) {
        tp.tlp_high_seq = 0;
    }
}

} // namespace

int tcp_ack(Kernel& k, SocketIndex index, SkbIndex skb, std::uint32_t flag)
{
    Call call(k, fn::tcp_ack, skb);
    TcpSock& tp = tcp_sk(k, index);
    const NetIndex net = k.sock_net(index);
    const PacketId packet = k.skb(skb).packet;
    const TcpCb cb = tcp_cb(k, skb);
    const std::uint32_t prior_snd_una = tp.snd_una;
    const std::uint32_t prior_packets = tp.packets_out;
    const std::uint32_t prior_delivered = tp.delivered, prior_lost = tp.lost;
    const std::uint32_t ack = cb.ack_seq;
    std::uint32_t num_dupack = 0;
    Rexmit rexmit = Rexmit::none;
    SackState sack;
    const auto count_delivered = [&] {
        if (const std::uint32_t delivered = tp.delivered - prior_delivered; delivered != 0) {
            k.count(net, Mib::TcpExt_TCPDelivered, packet, delivered);
        }
    };
    const auto xmit_recovery = [&] {
        if (rexmit == Rexmit::none || tp.state == TcpState::syn_sent) {
            return;
        }
        if (rexmit == Rexmit::fresh) {
            __tcp_push_pending_frames(k, index, tcp_current_mss(k, index), TCP_NAGLE_OFF);
            if (after(tp.snd_nxt, tp.high_seq)) {
                return;
            }
            tp.frto = false;
        }
        tcp_xmit_retransmit_queue(k, index);
    };
    if (before(ack, prior_snd_una)) {
        const auto max_window =
            static_cast<std::uint32_t>(std::min<std::uint64_t>(tp.max_window, tp.bytes_acked));
        if (before(ack, prior_snd_una - max_window)) {
            if ((flag & FLAG_NO_CHALLENGE_ACK) == 0) {
                tcp_send_challenge_ack(k, index);
            }
            return -1; // TCP_TOO_OLD_ACK
        }
        if ((flag & FLAG_UPDATE_TS_RECENT) != 0) {
            tcp_replace_ts_recent(k, tp, cb.seq);
        }
        if (cb.sacked != 0) {
            flag |= tcp_sacktag_write_queue(k, index, skb, prior_snd_una, sack);
            tp.delivered += sack.delivered;
            tcp_fastretrans_alert(k, index, num_dupack, flag, rexmit);
            count_delivered();
            xmit_recovery();
        }
        return 0;
    }
    if (after(ack, tp.snd_nxt)) {
        return -2; // TCP_ACK_UNSENT_DATA
    }
    if (after(ack, prior_snd_una)) {
        flag |= FLAG_SND_UNA_ADVANCED;
        tp.retransmits = 0;
    }
    if ((flag & FLAG_UPDATE_TS_RECENT) != 0) {
        tcp_replace_ts_recent(k, tp, cb.seq);
    }
    if ((flag & (FLAG_SLOWPATH | FLAG_SND_UNA_ADVANCED)) == FLAG_SND_UNA_ADVANCED) {
        tp.snd_wl1 = cb.seq;
        tp.bytes_acked += ack - tp.snd_una;
        tp.snd_una = ack;
        flag |= FLAG_WIN_UPDATE;
        k.count(net, Mib::TcpExt_TCPHPAcks, packet);
    } else {
        if (cb.seq != cb.end_seq) {
            flag |= FLAG_DATA;
        } else {
            k.count(net, Mib::TcpExt_TCPPureAcks, packet);
        }
        flag |= tcp_ack_update_window(k, index, tcp_hdr(k, skb), ack, cb.seq);
        if (cb.sacked != 0) {
            flag |= tcp_sacktag_write_queue(k, index, skb, prior_snd_una, sack);
            tp.delivered += sack.delivered;
        }
    }
    tp.probes_out = 0;
    tp.rcv_tstamp = tcp_jiffies32(k);
    if (prior_packets == 0) {
        tcp_ack_probe(k, index);
        if (tp.tlp_high_seq != 0) {
            tcp_process_tlp_ack(k, index, ack, flag);
        }
        return 1;
    }
    flag |= tcp_clean_rtx_queue(k, index, prior_snd_una, sack);
    if (tp.tlp_high_seq != 0) {
        tcp_process_tlp_ack(k, index, ack, flag);
    }
    if ((flag & FLAG_NOT_DUP) == 0 || (flag & FLAG_CA_ALERT) != 0 ||
        tp.ca_state != TcpCaState::open) { // tcp_ack_is_dubious()
        if ((flag & (FLAG_SND_UNA_ADVANCED | FLAG_NOT_DUP | FLAG_DSACKING_ACK)) == 0) {
            num_dupack = (flag & FLAG_DATA) == 0 ? skb_segs(k, skb) : 1;
        }
        tcp_fastretrans_alert(k, index, num_dupack, flag, rexmit);
    }
    if ((flag & FLAG_SET_XMIT_TIMER) != 0 && !tcp_schedule_loss_probe(k, index, true)) {
        tcp_rearm_rto(k, index);
    }
    count_delivered();
    // tcp_cong_control()
    const std::uint32_t delivered = tp.delivered - prior_delivered;
    if (tcp_in_cwnd_reduction(tp)) {
        tcp_cwnd_reduction(tp, static_cast<std::int32_t>(delivered), tp.lost - prior_lost, flag);
    } else if ((flag & (tp.reordering > static_cast<std::uint32_t>(tcp_sysctl(k, index).tcp_reordering)
                            ? FLAG_FORWARD_PROGRESS
                            : FLAG_DATA_ACKED)) != 0) {
        tcp_cong_avoid(k, index, delivered); // tcp_may_raise_cwnd()
    }
    tcp_update_pacing_rate(k, index);
    xmit_recovery();
    return 1;
}

void tcp_rearm_rto(Kernel& k, SocketIndex index)
{
    TcpSock& tp = tcp_sk(k, index);
    if (tp.packets_out == 0) {
        inet_csk_clear_xmit_timer(k, index);
        return;
    }
    std::uint32_t rto = tp.rto;
    if ((tp.pending == TcpTimer::reo_timeout || tp.pending == TcpTimer::loss_probe) &&
        !tp.rtx_queue.empty()) {
        const std::int64_t delta = tcp_cb(k, tp.rtx_queue.front()).sent.ns / 1000 +
                                   std::int64_t{tp.rto} * 4000 - k.cpu().now.ns / 1000;
        rto = usecs_to_jiffies(static_cast<std::uint64_t>(std::max<std::int64_t>(delta, 1)));
    }
    inet_csk_reset_xmit_timer(k, index, TcpTimer::retrans, rto, TCP_RTO_MAX);
}

void tcp_synack_rtt_meas(Kernel& k, SocketIndex index, std::int32_t row)
{
    const TcpRequest& req = tcp_request(k, row);
    TcpSock& tp = tcp_sk(k, index);
    tcp_mstamp_refresh(k, tp);
    const std::int64_t rtt = req.num_retrans == 0 ? stamp_us_delta(k.cpu().now, req.snt_synack) : -1;
    tcp_ack_update_rtt(k, tp, FLAG_SYN_ACKED, rtt, -1, rtt);
}

} // namespace skbscope::kernel
