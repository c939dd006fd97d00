// net/ipv4/tcp_input.c: what a segment that belongs to a socket does to it: acknowledgements, loss, data in and out of
// order, windows, the states of RFC 9293.

#include "core/kernel/tcp_functions.h"
#include "core/packet/bytes.h"
#include "core/packet/protocols.h"

#include <utility>

namespace skbscope::kernel {

namespace {

constexpr std::int64_t TCP_PAWS_24DAYS = 60 * 60 * 24 * 24, TCP_PAWS_WINDOW = 1, TCP_PAWS_MSL = 60;

// ---- options ----------------------------------------------------------------------------------------------------------------------

std::uint32_t skb_segs(Kernel& k, SkbIndex skb) { return std::max<std::uint32_t>(1, k.skb(skb).gso_segs); }

// ---- round-trip times -----------------------------------------------------------------------------------------------------------------

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

bool tcp_ack_update_rtt(Kernel& k, TcpSock& tp, std::uint32_t flag, std::int64_t seq_rtt_us, std::int64_t sack_rtt_us, std::int64_t ca_rtt_us)
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
    tp.rcv_rtt_us = tp.rcv_rtt_us == 0 || m < tp.rcv_rtt_us ? m : tp.rcv_rtt_us - (tp.rcv_rtt_us >> 3) + sample;
}

// ---- acknowledgements of our own ----------------------------------------------------------------------------------------------------------

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
            const std::uint64_t ratio = (std::uint64_t{buff.len} << 8) / buff.truesize; // tcp_scaling_ratio_update
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
    if (with_header >= TCP_MSS_DEFAULT + 20 || (with_header >= TCP_MIN_MSS + 20 && (tcp_cb(k, skb).flags & (tcphdr::fin | tcphdr::urg | tcphdr::syn | tcphdr::psh)) == 0)) {
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
        truesize = std::max<std::int64_t>(truesize - (static_cast<std::int64_t>(buff.head.size()) + sizeof_sk_buff + sizeof_skb_shared_info), len);
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

/// An ACK that __tcp_ack_snd_check() owes for data in order. Since 6.7 not from the backlog of an owned socket.
void send_ack_in_order(Kernel& k, SocketIndex index)
{
    TcpSock& tp = tcp_sk(k, index);
    if (tp.owned && k.profile() >= Profile::v6_12) { // net.ipv4.tcp_backlog_ack_defer: tcp_release_cb() will see to it
        tp.ack_deferred = true;
        return;
    }
    tcp_send_ack(k, index);
}

void __tcp_ack_snd_check(Kernel& k, SocketIndex index, bool ofo_possible)
{
    TcpSock& tp = tcp_sk(k, index);
    const bool two_frames = tp.rcv_nxt - tp.rcv_wup > tp.ack.rcv_mss &&
                            (tp.rcv_nxt - tp.copied_seq < 1 || __tcp_select_window(k, index) >= tp.rcv_wnd);
    if (two_frames || tcp_in_quickack_mode(tp) || (tp.ack.pending & ICSK_ACK_NOW) != 0) {
        send_ack_in_order(k, index);
        return;
    }
    if (!ofo_possible || tp.ofo_queue.empty()) {
        tcp_send_delayed_ack(k, index);
        return;
    }
    // Segments out of order: each is answered at once. (The kernel compresses them from the fourth on.)
    tcp_send_ack(k, index);
}

void tcp_ack_snd_check(Kernel& k, SocketIndex index)
{
    if (inet_csk_ack_scheduled(tcp_sk(k, index))) {
        __tcp_ack_snd_check(k, index, true);
    }
}

void tcp_data_snd_check(Kernel& k, SocketIndex index, PacketId cause)
{
    tcp_push_pending_frames(k, index);
    tcp_check_space(k, index, cause);
}

// ---- fast path -----------------------------------------------------------------------------------------------------------------------------

/// pred_flags: data offset, ACK, and the window, as the three 16-bit words of the header would hold them.
void tcp_fast_path_on(TcpSock& tp)
{
    tp.pred_flags = std::uint32_t{tp.tcp_header_len} << 26 | std::uint32_t{tcphdr::ack} << 16 | ((tp.snd_wnd >> tp.rx_opt.snd_wscale) & 0xffff);
}

std::uint32_t flag_word(const TcpHeader& th)
{
    // TCP_HP_BITS leaves out the reserved bits and PSH.
    return std::uint32_t{th.doff} << 28 | std::uint32_t{static_cast<std::uint8_t>(th.flags & ~tcphdr::psh)} << 16 | th.window;
}

// ---- timestamps ------------------------------------------------------------------------------------------------------------------------------

void tcp_store_ts_recent(Kernel& k, TcpSock& tp)
{
    tp.rx_opt.ts_recent = tp.rx_opt.rcv_tsval;
    tp.rx_opt.ts_recent_stamp = ktime_get_seconds(k);
}

bool tcp_paws_check(Kernel& k, const TcpOptions& opt, std::int32_t window)
{
    if (static_cast<std::int32_t>(opt.ts_recent - opt.rcv_tsval) <= window) {
        return true;
    }
    if (ktime_get_seconds(k) >= opt.ts_recent_stamp + TCP_PAWS_24DAYS) {
        return true;
    }
    return opt.ts_recent == 0;
}

void tcp_replace_ts_recent(Kernel& k, TcpSock& tp, std::uint32_t seq)
{
    if (tp.rx_opt.saw_tstamp && !after(seq, tp.rcv_wup) && tcp_paws_check(k, tp.rx_opt, 0)) {
        tcp_store_ts_recent(k, tp);
    }
}

bool tcp_paws_discard(Kernel& k, const TcpSock& tp, const TcpHeader& th, SkbIndex skb)
{
    if (tcp_paws_check(k, tp.rx_opt, TCP_PAWS_WINDOW)) {
        return false;
    }
    // tcp_disordered_ack(): a pure duplicate ACK that a shorter path brought
    const TcpCb& cb = tcp_cb(k, skb);
    const bool disordered = th.ack() && cb.seq == tp.rcv_nxt && cb.end_seq == cb.seq && cb.ack_seq == tp.snd_una &&
                            static_cast<std::int32_t>(tp.rx_opt.ts_recent - tp.rx_opt.rcv_tsval) <= static_cast<std::int32_t>(tp.rto * 4);
    return !disordered;
}

// ---- SACK ---------------------------------------------------------------------------------------------------------------------------------------

void tcp_dsack_set(Kernel& k, SocketIndex index, std::uint32_t start, std::uint32_t end)
{
    TcpSock& tp = tcp_sk(k, index);
    if (!tp.rx_opt.sack_ok || tcp_sysctl(k, index).tcp_dsack == 0) {
        return;
    }
    k.count(k.sock_net(index), before(start, tp.rcv_nxt) ? Mib::TcpExt_TCPDSACKOldSent : Mib::TcpExt_TCPDSACKOfoSent, PacketId::none);
    tp.rx_opt.dsack = true;
    tp.duplicate_sack = {start, end};
}

void tcp_dsack_extend(Kernel& k, SocketIndex index, std::uint32_t start, std::uint32_t end)
{
    TcpSock& tp = tcp_sk(k, index);
    if (!tp.rx_opt.dsack) {
        tcp_dsack_set(k, index, start, end);
        return;
    }
    TcpSackBlock& block = tp.duplicate_sack;
    if (!after(start, block.end) && !after(block.start, end)) {
        block.start = before(start, block.start) ? start : block.start;
        block.end = after(end, block.end) ? end : block.end;
    }
}

bool tcp_sack_extend(TcpSackBlock& block, std::uint32_t start, std::uint32_t end)
{
    if (after(start, block.end) || after(block.start, end)) {
        return false;
    }
    block.start = before(start, block.start) ? start : block.start;
    block.end = after(end, block.end) ? end : block.end;
    return true;
}

void tcp_sack_new_ofo_skb(TcpSock& tp, std::uint32_t seq, std::uint32_t end)
{
    auto& blocks = tp.selective_acks;
    std::uint8_t& count = tp.rx_opt.num_sacks;
    for (std::uint8_t at = 0; at < count; ++at) {
        if (!tcp_sack_extend(blocks[at], seq, end)) {
            continue;
        }
        std::rotate(blocks.begin(), blocks.begin() + at, blocks.begin() + at + 1); // the newest first
        for (std::uint8_t other = 1; other < count;) { // tcp_sack_maybe_coalesce()
            if (tcp_sack_extend(blocks[0], blocks[other].start, blocks[other].end)) {
                std::move(blocks.begin() + other + 1, blocks.begin() + count, blocks.begin() + other);
                --count;
            } else {
                ++other;
            }
        }
        return;
    }
    count = static_cast<std::uint8_t>(std::min<int>(count + 1, 4));
    std::move_backward(blocks.begin(), blocks.begin() + count - 1, blocks.begin() + count);
    blocks[0] = {seq, end};
}

void tcp_sack_remove(TcpSock& tp)
{
    if (tp.ofo_queue.empty()) {
        tp.rx_opt.num_sacks = 0;
        return;
    }
    std::uint8_t kept = 0;
    for (std::uint8_t at = 0; at < tp.rx_opt.num_sacks; ++at) {
        if (before(tp.rcv_nxt, tp.selective_acks[at].start)) {
            tp.selective_acks[kept++] = tp.selective_acks[at];
        }
    }
    tp.rx_opt.num_sacks = kept;
}

struct SackState {
    SimTime first_sackt = never, last_sackt{};
    bool any = false;
    std::uint32_t delivered = 0;
};

/// tcp_sacktag_write_queue(): the blocks of this ACK, and what they say of the retransmit queue. A block cuts a segment at
/// its edges where it covers only a part.
std::uint32_t tcp_sacktag_write_queue(Kernel& k, SocketIndex index, SkbIndex ack, std::uint32_t prior_snd_una, SackState& state)
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
    if (before(blocks[0].start, tcp_cb(k, ack).ack_seq)) {
        k.count(k.sock_net(index), Mib::TcpExt_TCPDSACKRecv, PacketId::none);
        flag |= FLAG_DSACKING_ACK;
        first = 1;
        if (tp.undo_marker != 0 && tp.undo_retrans > 0 && !after(blocks[0].end, prior_snd_una) && after(blocks[0].end, tp.undo_marker)) {
            tp.undo_retrans = std::max(0, tp.undo_retrans - static_cast<std::int32_t>((blocks[0].end - blocks[0].start + tp.mss_cache - 1) / tp.mss_cache));
        }
    } else if (blocks.size() > 1 && !after(blocks[0].end, blocks[1].end) && !before(blocks[0].start, blocks[1].start)) {
        k.count(k.sock_net(index), Mib::TcpExt_TCPDSACKOfoRecv, PacketId::none);
        flag |= FLAG_DSACKING_ACK;
        first = 1;
    }
    for (std::size_t b = first; b < blocks.size(); ++b) {
        const TcpSackBlock block = blocks[b];
        if (!before(block.start, block.end) || after(block.end, tp.snd_nxt) || before(block.start, tp.snd_una)) {
            continue; // tcp_is_sackblock_valid()
        }
        for (std::size_t at = 0; at < tp.rtx_queue.size(); ++at) {
            const SkbIndex skb = tp.rtx_queue[at];
            TcpCb& cb = tcp_cb(k, skb);
            if (!before(cb.seq, block.end)) {
                break;
            }
            if (!after(cb.end_seq, block.start) || (cb.sacked & tcpcb::sacked_acked) != 0) {
                continue;
            }
            if (before(cb.seq, block.start) || after(cb.end_seq, block.end)) {
                continue; // only segments that are in it as a whole; the model does not cut at a block's edge
            }
            if ((cb.sacked & tcpcb::sacked_retrans) == 0 || true) {
                tcp_rack_advance(tp, cb.sacked, cb.end_seq, cb.sent);
            }
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

// ---- loss ----------------------------------------------------------------------------------------------------------------------------------------

void tcp_init_undo(TcpSock& tp)
{
    tp.undo_marker = tp.snd_una;
    tp.undo_retrans = tp.retrans_out != 0 ? static_cast<std::int32_t>(tp.retrans_out) : -1;
}

std::uint32_t tcp_current_ssthresh(const TcpSock& tp)
{
    return tcp_in_cwnd_reduction(tp) ? tp.snd_ssthresh : std::max(tp.snd_ssthresh, (tp.snd_cwnd >> 1) + (tp.snd_cwnd >> 2));
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
    const bool received_ts_before_retrans = tp.rx_opt.saw_tstamp && tp.rx_opt.rcv_tsecr != 0 && before(tp.rx_opt.rcv_tsecr, tp.retrans_stamp);
    return tp.retrans_stamp != 0 ? received_ts_before_retrans : tp.state != TcpState::syn_sent && tp.state != TcpState::syn_recv;
}

bool tcp_may_undo(const TcpSock& tp)
{
    return tp.undo_marker != 0 && (tp.undo_retrans == 0 || tcp_packet_delayed(tp));
}

bool tcp_any_retrans_done(Kernel& k, const TcpSock& tp)
{
    return tp.retrans_out != 0 || (!tp.rtx_queue.empty() && (tcp_cb(k, tp.rtx_queue.front()).sacked & tcpcb::ever_retrans) != 0);
}

void tcp_try_keep_open(Kernel& k, TcpSock& tp)
{
    const TcpCaState state = tp.sacked_out + tp.lost_out != 0 || tcp_any_retrans_done(k, tp) ? TcpCaState::disorder : TcpCaState::open;
    if (tp.ca_state != state) {
        tp.ca_state = state;
        tp.high_seq = tp.snd_nxt;
    }
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
        const Mib counter = tp.ca_state == TcpCaState::loss ? Mib::TcpExt_TCPLossUndo : Mib::TcpExt_TCPFullUndo;
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
        if ((tp.ca_state < TcpCaState::recovery && tp.sacked_out >= tp.reordering) || (tp.ca_state == TcpCaState::recovery && snd_una_advanced)) {
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

enum class Rexmit : std::uint8_t { none, lost, fresh };

void tcp_process_loss(Kernel& k, SocketIndex index, std::uint32_t flag, std::uint32_t num_dupack, Rexmit& rexmit)
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

void tcp_fastretrans_alert(Kernel& k, SocketIndex index, std::uint32_t num_dupack, std::uint32_t& flag, Rexmit& rexmit)
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
        if (tp.ca_state <= TcpCaState::disorder && tp.undo_marker != 0 && tp.undo_retrans == 0) { // tcp_try_undo_dsack()
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

// ---- ACK ---------------------------------------------------------------------------------------------------------------------------------------------

std::uint32_t tcp_clean_rtx_queue(Kernel& k, SocketIndex index, std::uint32_t prior_snd_una, const SackState& sack)
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
            tp.delivered += std::max<std::int32_t>(static_cast<std::int32_t>(pkts_acked) - static_cast<std::int32_t>(tp.sacked_out), 1);
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
        inet_csk_reset_xmit_timer(k, index, TcpTimer::probe0,
                                  static_cast<std::uint32_t>(std::min<std::uint64_t>(std::uint64_t{std::max(tp.rto, TCP_RTO_MIN)} << std::min<int>(tp.backoff, 16), TCP_RTO_MAX)), TCP_RTO_MAX);
    }
}

std::uint32_t tcp_ack_update_window(Kernel& k, SocketIndex index, const TcpHeader& th, std::uint32_t ack, std::uint32_t ack_seq)
{
    TcpSock& tp = tcp_sk(k, index);
    std::uint32_t flag = 0;
    const std::uint32_t nwin = th.syn() ? th.window : std::uint32_t{th.window} << tp.rx_opt.snd_wscale;
    const bool may = after(ack, tp.snd_una) || after(ack_seq, tp.snd_wl1) || (ack_seq == tp.snd_wl1 && (nwin > tp.snd_wnd || nwin == 0));
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

bool challenge_rate_limited(Kernel& k, SocketIndex index)
{
    TcpSock& tp = tcp_sk(k, index);
    const std::uint32_t now = tcp_jiffies32(k) + 1;
    const auto limit = static_cast<std::uint32_t>(tcp_sysctl(k, index).tcp_invalid_ratelimit / 4);
    if (tp.last_oow_ack_time != 0 && now - tp.last_oow_ack_time < limit) {
        k.count(k.sock_net(index), Mib::TcpExt_TCPACKSkippedChallenge, PacketId::none);
        return true;
    }
    tp.last_oow_ack_time = now;
    return false;
}

void tcp_send_challenge_ack(Kernel& k, SocketIndex index)
{
    if (challenge_rate_limited(k, index)) {
        return;
    }
    // The namespace's own limit (tcp_challenge_ack_limit) is off in 6.1 and 6.12, and far off in 5.10.
    k.count(k.sock_net(index), Mib::TcpExt_TCPChallengeACK, PacketId::none);
    tcp_send_ack(k, index);
}

/// 1: acceptable; 0: an old one; -1, -2: dropped for one of two reasons.
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
        const auto max_window = static_cast<std::uint32_t>(std::min<std::uint64_t>(tp.max_window, tp.bytes_acked));
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
    if ((flag & FLAG_NOT_DUP) == 0 || (flag & FLAG_CA_ALERT) != 0 || tp.ca_state != TcpCaState::open) { // tcp_ack_is_dubious()
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
    } else if ((flag & (tp.reordering > static_cast<std::uint32_t>(tcp_sysctl(k, index).tcp_reordering) ? FLAG_FORWARD_PROGRESS : FLAG_DATA_ACKED)) != 0) {
        tcp_cong_avoid(k, index, delivered); // tcp_may_raise_cwnd()
    }
    tcp_update_pacing_rate(k, index);
    xmit_recovery();
    return 1;
}

// ---- data -----------------------------------------------------------------------------------------------------------------------------------------------

/// net/core/skbuff.c: the bytes of `from` join those of `to`, if there is room for them.
bool skb_try_coalesce(Kernel& k, SkbIndex to, SkbIndex from, bool& stolen, std::uint32_t& delta)
{
    Call call(k, fn::skb_try_coalesce, from);
    SkBuff& a = k.skb(to);
    SkBuff& b = k.skb(from);
    const std::uint32_t tailroom = a.data_len != 0 ? 0 : static_cast<std::uint32_t>(a.head.size()) - a.tail;
    stolen = false;
    delta = 0;
    if (a.users > 1) {
        return false; // a tap still reads it
    }
    const bool copied = b.len <= tailroom;
    if (!copied) {
        const bool has_head = b.len != b.data_len;
        if (a.nr_frags + b.nr_frags + (has_head ? 1U : 0U) > MAX_TCP_SKB_FRAGS) {
            return false;
        }
        if (has_head) {
            if (!b.head_frag || b.users > 1) {
                return false; // skb_head_is_locked()
            }
            stolen = true;
            delta = b.truesize - sizeof_sk_buff;
        } else {
            delta = b.truesize - std::min<std::uint32_t>(b.truesize, static_cast<std::uint32_t>(b.head.size()) + sizeof_sk_buff + sizeof_skb_shared_info);
        }
        a.nr_frags = static_cast<std::uint8_t>(a.nr_frags + b.nr_frags + (has_head ? 1 : 0));
    }
    auto& head = a.head.writable();
    head.resize(std::max<std::size_t>(head.size(), std::size_t{a.tail} + b.len));
    std::ranges::copy(b.head.bytes().subspan(b.data, b.len), head.begin() + a.tail);
    k.field(to, SkbField::len, a.len, a.len + b.len);
    k.field(to, SkbField::truesize, a.truesize, a.truesize + delta);
    a.tail += b.len;
    a.len += b.len;
    a.data_len += copied ? 0 : b.len;
    a.truesize += delta;
    return true;
}

bool tcp_try_coalesce(Kernel& k, SocketIndex index, SkbIndex to, SkbIndex from, bool& stolen)
{
    Call call(k, fn::tcp_try_coalesce, from);
    stolen = false;
    if (tcp_cb(k, from).seq != tcp_cb(k, to).end_seq) {
        return false;
    }
    std::uint32_t delta = 0;
    if (!skb_try_coalesce(k, to, from, stolen, delta)) {
        return false;
    }
    Socket& sk = k.socket(index);
    k.skb(to).visible_from = std::max(k.skb(to).visible_from, k.cpu().now + 1_ns);
    k.queue_fill(sk.queue, sk.sk_rmem_alloc, sk.sk_rmem_alloc + delta);
    sk.sk_rmem_alloc += delta;
    sk_mem_charge(k, index, delta);
    k.count(k.sock_net(index), Mib::TcpExt_TCPRcvCoalesce, k.skb(from).packet);
    TcpCb& a = tcp_cb(k, to);
    a.end_seq = tcp_cb(k, from).end_seq;
    a.ack_seq = tcp_cb(k, from).ack_seq;
    a.flags |= tcp_cb(k, from).flags;
    return true;
}

void tcp_rcv_nxt_update(TcpSock& tp, std::uint32_t seq)
{
    tp.bytes_received += seq - tp.rcv_nxt;
    tp.rcv_nxt = seq;
}

/// True: eaten by the last skb of the queue.
bool tcp_queue_rcv(Kernel& k, SocketIndex index, SkbIndex skb, bool& stolen)
{
    Call call(k, fn::tcp_queue_rcv, skb);
    Socket& sk = k.socket(index);
    const bool eaten = !sk.receive_queue.empty() && tcp_try_coalesce(k, index, sk.receive_queue.back(), skb, stolen);
    tcp_rcv_nxt_update(tcp_sk(k, index), tcp_cb(k, skb).end_seq);
    const PacketId packet = k.skb(skb).packet;
    if (!eaten) {
        sk.receive_queue.push_back(skb);
        k.skb(skb).visible_from = k.cpu().now + 1_ns;
        k.enqueue(sk.queue, packet, fn::tcp_queue_rcv);
        skb_set_owner_r(k, skb, index);
        sk_mem_charge(k, index, k.skb(skb).truesize);
    }
    k.verdict(packet, Verdict::delivered, fn::tcp_queue_rcv);
    return eaten;
}

bool tcp_prune_ofo_queue(Kernel& k, SocketIndex index)
{
    Call call(k, fn::tcp_prune_ofo_queue);
    TcpSock& tp = tcp_sk(k, index);
    if (tp.ofo_queue.empty()) {
        return false;
    }
    k.count(k.sock_net(index), Mib::TcpExt_OfoPruned, PacketId::none);
    std::int64_t goal = k.socket(index).sk_rcvbuf >> 3;
    while (!tp.ofo_queue.empty()) {
        const SkbIndex skb = tp.ofo_queue.back();
        tp.ofo_queue.pop_back();
        goal -= k.skb(skb).truesize;
        k.dequeue(tp.ofo_id, k.skb(skb).packet, fn::tcp_prune_ofo_queue);
        tcp_drop_reason(k, index, skb, drop::TCP_OFO_QUEUE_PRUNE, fn::tcp_prune_ofo_queue);
        if (goal <= 0) {
            if (k.socket(index).sk_rmem_alloc <= k.socket(index).sk_rcvbuf) {
                break;
            }
            goal = k.socket(index).sk_rcvbuf >> 3;
        }
    }
    tp.rx_opt.num_sacks = 0; // reneging is allowed, and the peer must not count on what is gone
    return true;
}

void tcp_clamp_window(Kernel& k, SocketIndex index)
{
    TcpSock& tp = tcp_sk(k, index);
    Socket& sk = k.socket(index);
    tp.ack.quick = 0;
    const auto rmem2 = static_cast<std::uint32_t>(tcp_sysctl(k, index).tcp_rmem_max);
    if (sk.sk_rcvbuf < rmem2 && !tp.rcvbuf_locked) {
        const std::uint32_t before_buf = sk.sk_rcvbuf;
        sk.sk_rcvbuf = std::max(sk.sk_rcvbuf, std::min(sk.sk_rmem_alloc, rmem2));
        if (before_buf != sk.sk_rcvbuf) {
            k.emit(EventKind::queue, PacketId::none, fn::tcp_prune_queue,
                   k.trace.add_queue_change({QueueChange::What::limit, sk.queue, before_buf, sk.sk_rcvbuf}));
        }
    }
    if (sk.sk_rmem_alloc > sk.sk_rcvbuf) {
        tp.rcv_ssthresh = std::min(tp.window_clamp, 2 * tp.advmss);
    }
}

/// The receive buffer is full. (The kernel also copies half-empty skbs together, tcp_collapse(); the model does not.)
bool tcp_prune_queue(Kernel& k, SocketIndex index)
{
    Call call(k, fn::tcp_prune_queue);
    k.count(k.sock_net(index), Mib::TcpExt_PruneCalled, PacketId::none);
    const auto fits = [&] { return k.socket(index).sk_rmem_alloc <= k.socket(index).sk_rcvbuf; };
    if (!fits()) {
        tcp_clamp_window(k, index);
    }
    if (fits()) {
        return true;
    }
    tcp_prune_ofo_queue(k, index);
    if (fits()) {
        return true;
    }
    k.count(k.sock_net(index), Mib::TcpExt_RcvPruned, PacketId::none);
    tcp_sk(k, index).pred_flags = 0;
    return false;
}

/// False: no memory for it. The global limit tcp_mem is not modelled.
bool tcp_try_rmem_schedule(Kernel& k, SocketIndex index)
{
    const Socket& sk = k.socket(index);
    return sk.sk_rmem_alloc <= sk.sk_rcvbuf || tcp_prune_queue(k, index);
}

void tcp_fin(Kernel& k, SocketIndex index)
{
    Call call(k, fn::tcp_fin);
    TcpSock& tp = tcp_sk(k, index);
    inet_csk_schedule_ack(tp);
    tp.shutdown |= RCV_SHUTDOWN;
    tp.done = true;
    switch (tp.state) {
    case TcpState::syn_recv:
    case TcpState::established:
        tcp_set_state(k, index, TcpState::close_wait);
        tp.ack.pingpong = 1; // inet_csk_enter_pingpong_mode()
        break;
    case TcpState::fin_wait1:
        tcp_send_ack(k, index);
        tcp_set_state(k, index, TcpState::closing);
        break;
    case TcpState::fin_wait2:
        tcp_send_ack(k, index);
        tcp_time_wait(k, index, TcpState::time_wait, 0);
        break;
    default: break;
    }
    while (!tp.ofo_queue.empty()) { // __skb_queue_purge(): nothing comes behind a FIN
        const SkbIndex skb = tp.ofo_queue.front();
        tp.ofo_queue.pop_front();
        k.dequeue(tp.ofo_id, k.skb(skb).packet, fn::tcp_fin);
        __kfree_skb(k, skb, Verdict::consumed, fn::tcp_fin);
    }
    tp.rx_opt.num_sacks = 0;
    if (tp.in_use && !tp.dead) {
        // sk->sk_state_change: a reader hears of the end of the stream
        Socket& sk = k.socket(index);
        wake_up(k, std::exchange(sk.waiting_task, nothing), PacketId::none);
    }
}

/// What was out of order and is not any more.
void tcp_ofo_queue(Kernel& k, SocketIndex index)
{
    TcpSock& tp = tcp_sk(k, index);
    std::uint32_t dsack_high = tp.rcv_nxt;
    while (!tp.ofo_queue.empty()) {
        const SkbIndex skb = tp.ofo_queue.front();
        TcpCb& cb = tcp_cb(k, skb);
        if (after(cb.seq, tp.rcv_nxt)) {
            break;
        }
        if (before(cb.seq, dsack_high)) {
            const std::uint32_t dsack = dsack_high;
            if (before(cb.end_seq, dsack_high)) {
                dsack_high = cb.end_seq;
            }
            tcp_dsack_extend(k, index, cb.seq, dsack);
        }
        tp.ofo_queue.pop_front();
        const PacketId packet = k.skb(skb).packet;
        k.dequeue(tp.ofo_id, packet, fn::tcp_data_queue);
        if (!after(cb.end_seq, tp.rcv_nxt)) {
            tcp_drop_reason(k, index, skb, drop::TCP_OFO_DROP, fn::tcp_data_queue);
            continue;
        }
        Socket& sk = k.socket(index);
        bool stolen = false;
        const std::uint32_t truesize = k.skb(skb).truesize;
        const bool has_fin = (cb.flags & tcphdr::fin) != 0;
        const std::uint32_t end_seq = cb.end_seq;
        const bool eaten = !sk.receive_queue.empty() && tcp_try_coalesce(k, index, sk.receive_queue.back(), skb, stolen);
        (void)truesize;
        tcp_rcv_nxt_update(tp, end_seq);
        k.verdict(packet, Verdict::delivered, fn::tcp_data_queue);
        if (eaten) {
            kfree_skb_partial(k, skb, stolen, fn::tcp_data_queue);
        } else {
            sk.receive_queue.push_back(skb);
            k.skb(skb).visible_from = k.cpu().now + 1_ns;
            k.enqueue(sk.queue, packet, fn::tcp_data_queue);
        }
        if (has_fin) {
            tcp_fin(k, index);
            return;
        }
    }
}

void tcp_data_queue_ofo(Kernel& k, SocketIndex index, SkbIndex skb)
{
    Call call(k, fn::tcp_data_queue_ofo, skb);
    TcpSock& tp = tcp_sk(k, index);
    const NetIndex net = k.sock_net(index);
    const PacketId packet = k.skb(skb).packet;
    if (!tcp_try_rmem_schedule(k, index)) {
        k.count(net, Mib::TcpExt_TCPOFODrop, packet);
        sock_def_readable(k, index, packet);
        tcp_drop_reason(k, index, skb, drop::PROTO_MEM, fn::tcp_data_queue_ofo);
        return;
    }
    tp.pred_flags = 0;
    inet_csk_schedule_ack(tp);
    k.count(net, Mib::TcpExt_TCPOFOQueue, packet);
    const std::uint32_t seq = tcp_cb(k, skb).seq, end_seq = tcp_cb(k, skb).end_seq;
    const auto add_sack = [&] {
        if (tp.rx_opt.sack_ok) {
            tcp_sack_new_ofo_skb(tp, seq, end_seq);
        }
    };
    if (!tp.ofo_queue.empty()) {
        bool stolen = false;
        const SkbIndex last = tp.ofo_queue.back();
        if (tcp_cb(k, last).end_seq == seq && tcp_try_coalesce(k, index, last, skb, stolen)) {
            if (tp.rx_opt.sack_ok) {
                tcp_grow_window(k, index, skb, true);
            }
            k.verdict(packet, Verdict::delivered, fn::tcp_data_queue_ofo);
            kfree_skb_partial(k, skb, stolen, fn::tcp_data_queue_ofo);
            add_sack();
            return;
        }
    }
    auto place = tp.ofo_queue.begin();
    while (place != tp.ofo_queue.end() && !after(tcp_cb(k, *place).seq, seq)) {
        const TcpCb& other = tcp_cb(k, *place);
        if (before(seq, other.end_seq)) {
            if (!after(end_seq, other.end_seq)) {
                k.count(net, Mib::TcpExt_TCPOFOMerge, packet);
                tcp_dsack_set(k, index, seq, end_seq);
                tcp_drop_reason(k, index, skb, drop::TCP_OFOMERGE, fn::tcp_data_queue_ofo);
                add_sack();
                return;
            }
            if (after(seq, other.seq)) {
                tcp_dsack_set(k, index, seq, other.end_seq);
            } else {
                break; // same start, longer: it takes the other's place below
            }
        }
        ++place;
    }
    auto at = static_cast<std::size_t>(place - tp.ofo_queue.begin());
    tp.ofo_queue.insert(place, skb);
    k.enqueue(tp.ofo_id, packet, fn::tcp_data_queue_ofo);
    while (at + 1 < tp.ofo_queue.size()) { // merge_right
        const SkbIndex next = tp.ofo_queue[at + 1];
        const TcpCb other = tcp_cb(k, next);
        if (!after(end_seq, other.seq)) {
            break;
        }
        if (before(end_seq, other.end_seq)) {
            tcp_dsack_extend(k, index, other.seq, end_seq);
            break;
        }
        tp.ofo_queue.erase(tp.ofo_queue.begin() + static_cast<std::ptrdiff_t>(at) + 1);
        tcp_dsack_extend(k, index, other.seq, other.end_seq);
        k.count(net, Mib::TcpExt_TCPOFOMerge, k.skb(next).packet);
        k.dequeue(tp.ofo_id, k.skb(next).packet, fn::tcp_data_queue_ofo);
        tcp_drop_reason(k, index, next, drop::TCP_OFOMERGE, fn::tcp_data_queue_ofo);
    }
    add_sack();
    if (tp.rx_opt.sack_ok) {
        tcp_grow_window(k, index, skb, false);
    }
    skb_set_owner_r(k, skb, index);
    sk_mem_charge(k, index, k.skb(skb).truesize);
}

void tcp_data_queue(Kernel& k, SocketIndex index, SkbIndex skb)
{
    Call call(k, fn::tcp_data_queue, skb);
    TcpSock& tp = tcp_sk(k, index);
    const NetIndex net = k.sock_net(index);
    const PacketId packet = k.skb(skb).packet;
    const TcpCb cb = tcp_cb(k, skb);
    if (cb.seq == cb.end_seq) {
        __kfree_skb(k, skb, Verdict::consumed, fn::tcp_data_queue);
        return;
    }
    k.skb(skb).dst.valid = false; // tcp_cleanup_skb()
    skb_pull(k, skb, tcp_hdr(k, skb).length());
    tp.rx_opt.dsack = false;
    const auto out_of_window = [&](DropReasonId reason) {
        tcp_enter_quickack_mode(tp, TCP_MAX_QUICKACKS);
        inet_csk_schedule_ack(tp);
        tcp_drop_reason(k, index, skb, reason, fn::tcp_data_queue);
    };
    const bool in_order = cb.seq == tp.rcv_nxt;
    if (in_order && tcp_receive_window(tp) == 0) {
        k.count(net, Mib::TcpExt_TCPZeroWindowDrop, packet);
        out_of_window(drop::TCP_ZEROWINDOW);
        return;
    }
    if (!in_order) {
        if (!after(cb.end_seq, tp.rcv_nxt)) {
            k.count(net, Mib::TcpExt_DelayedACKLost, packet);
            tcp_dsack_set(k, index, cb.seq, cb.end_seq);
            out_of_window(drop::TCP_OLD_DATA);
            return;
        }
        if (!before(cb.seq, tp.rcv_nxt + tcp_receive_window(tp))) {
            out_of_window(drop::TCP_OVERWINDOW);
            return;
        }
        if (!before(cb.seq, tp.rcv_nxt)) {
            tcp_data_queue_ofo(k, index, skb);
            return;
        }
        tcp_dsack_set(k, index, cb.seq, tp.rcv_nxt);
        if (tcp_receive_window(tp) == 0) {
            k.count(net, Mib::TcpExt_TCPZeroWindowDrop, packet);
            out_of_window(drop::TCP_ZEROWINDOW);
            return;
        }
    }
    if (!k.socket(index).receive_queue.empty() && !tcp_try_rmem_schedule(k, index)) {
        k.count(net, Mib::TcpExt_TCPRcvQDrop, packet);
        sock_def_readable(k, index, packet);
        tcp_drop_reason(k, index, skb, drop::PROTO_MEM, fn::tcp_data_queue);
        return;
    }
    bool stolen = false;
    const bool eaten = tcp_queue_rcv(k, index, skb, stolen);
    if (k.skb(skb).len != 0) {
        tcp_event_data_recv(k, index, skb);
    }
    if ((cb.flags & tcphdr::fin) != 0) {
        tcp_fin(k, index);
    }
    if (!tp.ofo_queue.empty()) {
        tcp_ofo_queue(k, index);
        if (tp.ofo_queue.empty()) {
            tp.ack.pending |= ICSK_ACK_NOW; // the gap is filled
        }
    }
    if (tp.rx_opt.num_sacks != 0) {
        tcp_sack_remove(tp);
    }
    tcp_fast_path_check(k, index);
    if (eaten) {
        kfree_skb_partial(k, skb, stolen, fn::tcp_queue_rcv);
    }
    if (tp.in_use && !tp.dead) {
        tcp_data_ready(k, index, packet);
    }
}

// ---- validation ---------------------------------------------------------------------------------------------------------------------------------------------

/// False: dropped here.
bool tcp_validate_incoming(Kernel& k, SocketIndex index, SkbIndex skb, const TcpHeader& th, bool syn_inerr)
{
    Call call(k, fn::tcp_validate_incoming, skb);
    TcpSock& tp = tcp_sk(k, index);
    const NetIndex net = k.sock_net(index);
    const TcpCb cb = tcp_cb(k, skb);
    // tcp_fast_parse_options()
    tp.rx_opt.saw_tstamp = false;
    if (th.doff > 5) {
        tcp_parse_options(k, net, th, tp.rx_opt, true, &tcp_cb(k, skb));
        if (tp.rx_opt.saw_tstamp && tp.rx_opt.rcv_tsecr != 0) {
            tp.rx_opt.rcv_tsecr -= tp.tsoffset;
        }
    }
    const auto discard = [&](DropReasonId reason) {
        tcp_drop_reason(k, index, skb, reason, fn::tcp_validate_incoming);
        return false;
    };
    const auto reset = [&] {
        tcp_reset(k, index, k.skb(skb).packet);
        __kfree_skb(k, skb, Verdict::consumed, fn::tcp_validate_incoming);
        return false;
    };
    const auto syn_challenge = [&] {
        if (syn_inerr) {
            k.count(net, Mib::Tcp_InErrs, k.skb(skb).packet);
        }
        k.count(net, Mib::TcpExt_TCPSYNChallenge, k.skb(skb).packet);
        tcp_send_challenge_ack(k, index);
        return discard(drop::TCP_INVALID_SYN);
    };
    if (tp.rx_opt.saw_tstamp && tcp_paws_discard(k, tp, th, skb) && !th.rst()) {
        k.count(net, Mib::TcpExt_PAWSEstab, k.skb(skb).packet);
        if (!tcp_oow_rate_limited(k, net, skb, Mib::TcpExt_TCPACKSkippedPAWS, tp.last_oow_ack_time)) {
            tcp_send_dupack(k, index, skb);
        }
        return discard(drop::TCP_RFC7323_PAWS);
    }
    const bool reset_after_fin = cb.seq == tp.rcv_nxt - 1 && tcp_in_state(tp, {TcpState::close_wait, TcpState::last_ack, TcpState::closing});
    // tcp_sequence()
    if (before(cb.end_seq, tp.rcv_wup) || after(cb.seq, tp.rcv_nxt + tcp_receive_window(tp))) {
        if (!th.rst()) {
            if (th.syn()) {
                return syn_challenge();
            }
            if (!tcp_oow_rate_limited(k, net, skb, Mib::TcpExt_TCPACKSkippedSeq, tp.last_oow_ack_time)) {
                tcp_send_dupack(k, index, skb);
            }
        } else if (reset_after_fin) {
            return reset();
        }
        return discard(drop::TCP_INVALID_SEQUENCE);
    }
    if (th.rst()) {
        bool right_edge = false;
        if (tp.rx_opt.sack_ok && tp.rx_opt.num_sacks > 0) {
            std::uint32_t max_sack = tp.selective_acks[0].end;
            for (std::uint8_t at = 1; at < tp.rx_opt.num_sacks; ++at) {
                max_sack = after(tp.selective_acks[at].end, max_sack) ? tp.selective_acks[at].end : max_sack;
            }
            right_edge = cb.seq == max_sack;
        }
        if (cb.seq == tp.rcv_nxt || reset_after_fin || right_edge) {
            return reset();
        }
        tcp_send_challenge_ack(k, index);
        return discard(drop::TCP_RESET);
    }
    if (th.syn()) {
        return syn_challenge();
    }
    return true;
}

bool csum_error(Kernel& k, SocketIndex index, SkbIndex skb, FunctionId by)
{
    k.count(k.sock_net(index), Mib::Tcp_InCsumErrors, k.skb(skb).packet);
    k.count(k.sock_net(index), Mib::Tcp_InErrs, k.skb(skb).packet);
    tcp_drop_reason(k, index, skb, drop::TCP_CSUM, by);
    return false;
}

DropReasonId ack_reason(int result) { return result == -1 ? drop::TCP_TOO_OLD_ACK : drop::TCP_ACK_UNSENT_DATA; }

bool tcp_parse_aligned_timestamp(TcpSock& tp, const TcpHeader& th)
{
    if (th.options.size() < 12 || th.options[0] != 1 || th.options[1] != 1 || th.options[2] != 8 || th.options[3] != 10) {
        return false;
    }
    tp.rx_opt.saw_tstamp = true;
    tp.rx_opt.rcv_tsval = load_be32(&th.options[4]);
    const std::uint32_t tsecr = load_be32(&th.options[8]);
    tp.rx_opt.rcv_tsecr = tsecr == 0 ? 0 : tsecr - tp.tsoffset;
    return true;
}

/// The fast path: nothing but what was expected. False: the slow path must look.
bool header_prediction(Kernel& k, SocketIndex index, SkbIndex skb, const TcpHeader& th)
{
    TcpSock& tp = tcp_sk(k, index);
    const TcpCb cb = tcp_cb(k, skb);
    const std::uint32_t len = k.skb(skb).len;
    const PacketId packet = k.skb(skb).packet;
    if (flag_word(th) != tp.pred_flags || cb.seq != tp.rcv_nxt || !between(cb.ack_seq, tp.snd_una, tp.snd_nxt)) {
        return false;
    }
    const std::uint32_t header_len = tp.tcp_header_len;
    const bool with_ts = header_len == 20 + TCPOLEN_TSTAMP_ALIGNED;
    if (with_ts && (!tcp_parse_aligned_timestamp(tp, th) || static_cast<std::int32_t>(tp.rx_opt.rcv_tsval - tp.rx_opt.ts_recent) < 0)) {
        return false;
    }
    const bool store_ts = with_ts && tp.rcv_nxt == tp.rcv_wup;
    if (len <= header_len) {
        if (len < header_len) {
            k.count(k.sock_net(index), Mib::Tcp_InErrs, packet);
            tcp_drop_reason(k, index, skb, drop::PKT_TOO_SMALL, fn::tcp_rcv_established);
            return true;
        }
        if (store_ts) {
            tcp_store_ts_recent(k, tp);
        }
        tcp_ack(k, index, skb, 0);
        __kfree_skb(k, skb, Verdict::consumed, fn::tcp_rcv_established);
        tcp_data_snd_check(k, index, packet);
        tp.rcv_rtt_last_tsecr = tp.rx_opt.rcv_tsecr;
        return true;
    }
    if (tcp_checksum_complete(k, skb)) {
        csum_error(k, index, skb, fn::tcp_rcv_established);
        return true;
    }
    if (k.skb(skb).truesize > tp.sk_forward_alloc) {
        return false; // nothing was reserved for it: step5 of the slow path
    }
    if (store_ts) {
        tcp_store_ts_recent(k, tp);
    }
    tcp_rcv_rtt_measure_ts(k, tp, skb);
    k.count(k.sock_net(index), Mib::TcpExt_TCPHPHits, packet);
    k.skb(skb).dst.valid = false;
    skb_pull(k, skb, header_len);
    bool stolen = false;
    const bool eaten = tcp_queue_rcv(k, index, skb, stolen);
    tcp_event_data_recv(k, index, skb);
    bool check_ack = true;
    if (cb.ack_seq != tp.snd_una) {
        tcp_ack(k, index, skb, FLAG_DATA);
        tcp_data_snd_check(k, index, packet);
        check_ack = inet_csk_ack_scheduled(tp);
    } else {
        tp.snd_wl1 = cb.seq;
    }
    if (check_ack) {
        __tcp_ack_snd_check(k, index, false);
    }
    if (eaten) {
        kfree_skb_partial(k, skb, stolen, fn::tcp_rcv_established);
    }
    tcp_data_ready(k, index, packet);
    return true;
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
    if (tp.rx_opt.saw_tstamp && tp.rx_opt.rcv_tsecr != 0 && !between(tp.rx_opt.rcv_tsecr, tp.retrans_stamp, tcp_time_stamp(tp))) {
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

/// After a valid ACK in FIN-WAIT-1. True: the socket is a time-wait socket now and the skb is gone.
bool fin_wait1(Kernel& k, SocketIndex index, SkbIndex skb, const TcpHeader& th, bool& reset)
{
    TcpSock& tp = tcp_sk(k, index);
    if (tp.snd_una != tp.write_seq) {
        return false;
    }
    tcp_set_state(k, index, TcpState::fin_wait2);
    tp.shutdown |= SEND_SHUTDOWN;
    if (!tp.dead) {
        tcp_state_change(k, index, k.skb(skb).packet);
        return false;
    }
    const TcpCb& cb = tcp_cb(k, skb);
    if (cb.end_seq != cb.seq && after(cb.end_seq - (th.fin() ? 1 : 0), tp.rcv_nxt)) {
        tcp_done(k, index); // data for nobody
        k.count(k.sock_net(index), Mib::TcpExt_TCPAbortOnData, k.skb(skb).packet);
        reset = true;
        return true;
    }
    const std::uint32_t tmo = std::max(static_cast<std::uint32_t>(tcp_sysctl(k, index).tcp_fin_timeout) * TCP_HZ, (tp.rto << 2) - (tp.rto >> 1));
    if (tmo > TCP_TIMEWAIT_LEN) {
        tcp_reset_keepalive_timer(k, index, tmo - TCP_TIMEWAIT_LEN);
    } else if (th.fin() || tp.owned) {
        tcp_reset_keepalive_timer(k, index, tmo);
    } else {
        tcp_time_wait(k, index, TcpState::fin_wait2, tmo);
        __kfree_skb(k, skb, Verdict::consumed, fn::tcp_rcv_state_process);
        return true;
    }
    return false;
}

} // namespace

// ---- public ---------------------------------------------------------------------------------------------------------------------------------------------------

TcpHeader tcp_hdr(Kernel& k, SkbIndex skb)
{
    const SkBuff& buff = k.skb(skb);
    const auto bytes = buff.head.bytes().subspan(buff.transport_header);
    TcpHeader th;
    th.source = load_be16(&bytes[0]);
    th.dest = load_be16(&bytes[2]);
    th.seq = load_be32(&bytes[4]);
    th.ack_seq = load_be32(&bytes[8]);
    th.doff = bytes[12] >> 4;
    th.flags = bytes[13];
    th.window = load_be16(&bytes[14]);
    th.options = bytes.subspan(20, th.doff * 4U - 20);
    return th;
}

void tcp_parse_options(Kernel& k, NetIndex net, const TcpHeader& th, TcpOptions& opt, bool established, TcpCb* cb)
{
    const Sysctls& sysctl = k.net(net).sysctl;
    opt.saw_tstamp = false;
    for (std::size_t at = 0; at < th.options.size();) {
        const std::uint8_t kind = th.options[at];
        if (kind == 0) {
            return;
        }
        if (kind == 1) {
            ++at;
            continue;
        }
        if (at + 1 >= th.options.size()) {
            return;
        }
        const std::size_t size = th.options[at + 1];
        if (size < 2 || at + size > th.options.size()) {
            return;
        }
        if (kind == 2 && size == 4 && th.syn() && !established) {
            std::uint16_t mss = load_be16(&th.options[at + 2]);
            if (mss != 0) {
                mss = opt.user_mss != 0 ? std::min(opt.user_mss, mss) : mss;
                opt.mss_clamp = mss;
            }
        } else if (kind == 3 && size == 3 && th.syn() && !established && sysctl.tcp_window_scaling != 0) {
            opt.wscale_ok = true;
            opt.snd_wscale = std::min<std::uint8_t>(th.options[at + 2], 14);
        } else if (kind == 8 && size == 10 && ((established && opt.tstamp_ok) || (!established && sysctl.tcp_timestamps != 0))) {
            opt.saw_tstamp = true;
            opt.rcv_tsval = load_be32(&th.options[at + 2]);
            opt.rcv_tsecr = load_be32(&th.options[at + 6]);
        } else if (kind == 4 && size == 2 && th.syn() && !established && sysctl.tcp_sack != 0) {
            opt.sack_ok = true;
            opt.num_sacks = 0;
            opt.dsack = false;
        } else if (kind == 5 && size >= 10 && (size - 2) % 8 == 0 && opt.sack_ok && cb != nullptr) {
            cb->sacked = static_cast<std::uint8_t>(at + 20);
        }
        at += size;
    }
}

void tcp_drop_reason(Kernel& k, SocketIndex index, SkbIndex skb, DropReasonId reason, FunctionId by)
{
    Call call(k, fn::tcp_drop_reason, skb);
    k.socket(index).sk_drops += skb_segs(k, skb);
    kfree_skb_reason(k, skb, reason, by);
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
    return tcp_win_from_space(k, index, std::int64_t{sk.sk_rcvbuf} - tcp_sk(k, index).backlog_len - sk.sk_rmem_alloc);
}

std::int64_t tcp_full_space(Kernel& k, SocketIndex index)
{
    return tcp_win_from_space(k, index, k.socket(index).sk_rcvbuf);
}

void tcp_fast_path_check(Kernel& k, SocketIndex index)
{
    TcpSock& tp = tcp_sk(k, index);
    if (tp.ofo_queue.empty() && tp.rcv_wnd != 0 && k.socket(index).sk_rmem_alloc < k.socket(index).sk_rcvbuf) {
        tcp_fast_path_on(tp);
    }
}

void tcp_data_ready(Kernel& k, SocketIndex index, PacketId cause)
{
    Call call(k, fn::tcp_data_ready, cause);
    TcpSock& tp = tcp_sk(k, index);
    const bool epollin = static_cast<std::int32_t>(tp.rcv_nxt - tp.copied_seq) >= 1; // tcp_epollin_ready(), SO_RCVLOWAT is 1
    if (epollin || tp.done) {
        sock_def_readable(k, index, cause);
        k.socket(index).waiting_task = nothing;
    }
}

void tcp_check_space(Kernel& k, SocketIndex index, PacketId cause)
{
    TcpSock& tp = tcp_sk(k, index);
    if (!tp.nospace) {
        return;
    }
    Socket& sk = k.socket(index);
    if (!tp.sndbuf_locked && tcp_packets_in_flight(tp) < tp.snd_cwnd) { // tcp_should_expand_sndbuf()
        const std::uint32_t wanted = std::max<std::uint32_t>(tp.rx_opt.mss_clamp, tp.mss_cache) + MAX_TCP_HEADER + sizeof_skb_shared_info;
        std::uint32_t per_mss = 1;
        while (per_mss < wanted) {
            per_mss <<= 1;
        }
        const std::uint64_t segs = std::max({TCP_INIT_CWND, tp.snd_cwnd, tp.reordering + 1});
        const std::uint64_t sndmem = 2 * segs * (per_mss + sizeof_sk_buff);
        if (sk.sk_sndbuf < sndmem) {
            sk.sk_sndbuf = static_cast<std::uint32_t>(std::min<std::uint64_t>(sndmem, static_cast<std::uint64_t>(tcp_sysctl(k, index).tcp_wmem_max)));
        }
        tp.snd_cwnd_stamp = tcp_jiffies32(k);
    }
    Call space(k, fn::sk_stream_write_space);
    const std::int64_t wspace = std::int64_t{sk.sk_sndbuf} - tp.sk_wmem_queued;
    if (wspace >= tp.sk_wmem_queued / 2 && tcp_stream_memory_free(sk, tp)) { // sk_stream_is_writeable()
        tp.nospace = false;
        wake_up(k, std::exchange(sk.sleeping_sender, nothing), cause);
    }
}

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
        const std::uint32_t wanted = std::max<std::uint32_t>(tp.rx_opt.mss_clamp, tp.mss_cache) + MAX_TCP_HEADER + sizeof_skb_shared_info;
        std::uint32_t per_mss = 1;
        while (per_mss < wanted) {
            per_mss <<= 1;
        }
        const std::uint32_t sndmem = 2 * std::max({TCP_INIT_CWND, tp.snd_cwnd, tp.reordering + 1}) * (per_mss + sizeof_sk_buff);
        sk.sk_sndbuf = std::max(sk.sk_sndbuf, std::min(sndmem, static_cast<std::uint32_t>(tcp_sysctl(k, index).tcp_wmem_max)));
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
            std::uint64_t rcvmem = ((tp.advmss + MAX_TCP_HEADER + 63) & ~63U) + sizeof_sk_buff + sizeof_skb_shared_info;
            while (tcp_win_from_space(k, index, static_cast<std::int64_t>(rcvmem)) < tp.advmss) {
                rcvmem += 128;
            }
            const std::uint64_t rcvbuf = std::min<std::uint64_t>(rcvwin / std::max(tp.advmss, 1U) * rcvmem,
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

void tcp_rearm_rto(Kernel& k, SocketIndex index)
{
    TcpSock& tp = tcp_sk(k, index);
    if (tp.packets_out == 0) {
        inet_csk_clear_xmit_timer(k, index);
        return;
    }
    std::uint32_t rto = tp.rto;
    if ((tp.pending == TcpTimer::reo_timeout || tp.pending == TcpTimer::loss_probe) && !tp.rtx_queue.empty()) {
        const std::int64_t delta = tcp_cb(k, tp.rtx_queue.front()).sent.ns / 1000 + std::int64_t{tp.rto} * 4000 - k.cpu().now.ns / 1000;
        rto = usecs_to_jiffies(static_cast<std::uint64_t>(std::max<std::int64_t>(delta, 1)));
    }
    inet_csk_reset_xmit_timer(k, index, TcpTimer::retrans, rto, TCP_RTO_MAX);
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
    k.count(k.sock_net(index), tp.rx_opt.sack_ok ? Mib::TcpExt_TCPSackRecovery : Mib::TcpExt_TCPRenoRecovery, PacketId::none);
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
    if (tp.ca_state <= TcpCaState::disorder || !after(tp.high_seq, tp.snd_una) || (tp.ca_state == TcpCaState::loss && tp.retransmits == 0)) {
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

bool tcp_oow_rate_limited(Kernel& k, NetIndex net, SkbIndex skb, Mib counter, std::uint32_t& last)
{
    const TcpCb& cb = tcp_cb(k, skb);
    if (cb.seq != cb.end_seq && (cb.flags & tcphdr::syn) == 0) {
        return false; // data does not loop
    }
    const std::uint32_t now = tcp_jiffies32(k) + 1;
    if (last != 0 && now - last < static_cast<std::uint32_t>(k.net(net).sysctl.tcp_invalid_ratelimit / 4)) {
        k.count(net, counter, k.skb(skb).packet);
        return true;
    }
    last = now;
    return false;
}

bool tcp_paws_reject(Kernel& k, const TcpOptions& opt, bool rst)
{
    if (tcp_paws_check(k, opt, 0)) {
        return false;
    }
    return !(rst && ktime_get_seconds(k) >= opt.ts_recent_stamp + TCP_PAWS_MSL);
}

void tcp_send_dupack(Kernel& k, SocketIndex index, SkbIndex skb)
{
    TcpSock& tp = tcp_sk(k, index);
    const TcpCb& cb = tcp_cb(k, skb);
    if (cb.end_seq != cb.seq && before(cb.seq, tp.rcv_nxt)) {
        k.count(k.sock_net(index), Mib::TcpExt_DelayedACKLost, k.skb(skb).packet);
        tcp_enter_quickack_mode(tp, TCP_MAX_QUICKACKS);
        tcp_dsack_set(k, index, cb.seq, after(cb.end_seq, tp.rcv_nxt) ? tp.rcv_nxt : cb.end_seq);
    }
    tcp_send_ack(k, index);
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

void tcp_synack_rtt_meas(Kernel& k, SocketIndex index, std::int32_t row)
{
    const TcpRequest& req = tcp_request(k, row);
    TcpSock& tp = tcp_sk(k, index);
    tcp_mstamp_refresh(k, tp);
    const std::int64_t rtt = req.num_retrans == 0 ? stamp_us_delta(k.cpu().now, req.snt_synack) : -1;
    tcp_ack_update_rtt(k, tp, FLAG_SYN_ACKED, rtt, -1, rtt);
}

void tcp_rcv_established(Kernel& k, SocketIndex index, SkbIndex skb)
{
    Call call(k, fn::tcp_rcv_established, skb);
    TcpSock& tp = tcp_sk(k, index);
    const PacketId packet = k.skb(skb).packet;
    tcp_mstamp_refresh(k, tp);
    if (!k.socket(index).rx_route.valid && k.skb(skb).dst.valid) {
        k.socket(index).rx_route = k.skb(skb).dst; // sk_rx_dst_set(): for early demux
    }
    tp.rx_opt.saw_tstamp = false;
    const TcpHeader th = tcp_hdr(k, skb);
    if (header_prediction(k, index, skb, th)) {
        return;
    }
    if (k.skb(skb).len < th.length() || tcp_checksum_complete(k, skb)) {
        csum_error(k, index, skb, fn::tcp_rcv_established);
        return;
    }
    if (!th.ack() && !th.rst() && !th.syn()) {
        tcp_drop_reason(k, index, skb, drop::TCP_FLAGS, fn::tcp_rcv_established);
        return;
    }
    if (!tcp_validate_incoming(k, index, skb, th, true)) {
        return;
    }
    if (const int result = tcp_ack(k, index, skb, FLAG_SLOWPATH | FLAG_UPDATE_TS_RECENT); result < 0) {
        tcp_drop_reason(k, index, skb, ack_reason(result), fn::tcp_rcv_established);
        return;
    }
    tcp_rcv_rtt_measure_ts(k, tp, skb);
    tcp_data_queue(k, index, skb);
    if (!tp.in_use) {
        return;
    }
    tcp_data_snd_check(k, index, packet);
    tcp_ack_snd_check(k, index);
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
        if (th.ack()) {
            return true;
        }
        if (th.rst()) {
            return discard(drop::TCP_RESET);
        }
        if (!th.syn() || th.fin()) {
            return discard(drop::TCP_FLAGS);
        }
        tcp_v4_conn_request(k, index, skb);
        k.verdict(packet, Verdict::consumed, fn::tcp_rcv_state_process);
        consume_skb(k, skb, fn::tcp_rcv_state_process);
        return false;
    }
    if (tp.state == TcpState::syn_sent) {
        tp.rx_opt.saw_tstamp = false;
        tcp_mstamp_refresh(k, tp);
        return tcp_rcv_synsent_state_process(k, index, skb, th) != 0;
    }
    tcp_mstamp_refresh(k, tp);
    tp.rx_opt.saw_tstamp = false;
    if (!th.ack() && !th.rst() && !th.syn()) {
        return discard(drop::TCP_FLAGS);
    }
    if (!tcp_validate_incoming(k, index, skb, th, false)) {
        return false;
    }
    const int acceptable = tcp_ack(k, index, skb, FLAG_SLOWPATH | FLAG_UPDATE_TS_RECENT | FLAG_NO_CHALLENGE_ACK);
    if (acceptable <= 0) {
        if (tp.state == TcpState::syn_recv) {
            return true;
        }
        if (acceptable < 0) {
            tcp_send_challenge_ack(k, index);
            return discard(ack_reason(acceptable));
        }
    }
    switch (tp.state) {
    case TcpState::syn_recv:
        ++tp.delivered;
        if (tp.rx_opt.tstamp_ok) {
            tp.advmss -= TCPOLEN_TSTAMP_ALIGNED;
        }
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
        break;
    case TcpState::fin_wait1: {
        bool reset = false;
        if (fin_wait1(k, index, skb, th, reset)) {
            return reset;
        }
        break;
    }
    case TcpState::closing:
        if (tp.snd_una == tp.write_seq) {
            tcp_time_wait(k, index, TcpState::time_wait, 0);
            __kfree_skb(k, skb, Verdict::consumed, fn::tcp_rcv_state_process);
            return false;
        }
        break;
    case TcpState::last_ack:
        if (tp.snd_una == tp.write_seq) {
            tcp_done(k, index);
            __kfree_skb(k, skb, Verdict::consumed, fn::tcp_rcv_state_process);
            return false;
        }
        break;
    default: break;
    }
    const TcpCb cb = tcp_cb(k, skb);
    bool queued = false;
    switch (tp.state) {
    case TcpState::close_wait:
    case TcpState::closing:
    case TcpState::last_ack:
        if (!before(cb.seq, tp.rcv_nxt)) {
            break;
        }
        [[fallthrough]];
    case TcpState::fin_wait1:
    case TcpState::fin_wait2:
        if (tp.state != TcpState::close_wait && (tp.shutdown & RCV_SHUTDOWN) != 0 && cb.end_seq != cb.seq &&
            after(cb.end_seq - (th.fin() ? 1 : 0), tp.rcv_nxt)) {
            k.count(k.sock_net(index), Mib::TcpExt_TCPAbortOnData, packet);
            tcp_reset(k, index, packet);
            return true; // data after close(): nobody will read it
        }
        [[fallthrough]];
    case TcpState::established:
        tcp_data_queue(k, index, skb);
        queued = true;
        break;
    default: break;
    }
    if (tp.in_use && tp.state != TcpState::close) {
        tcp_data_snd_check(k, index, packet);
        tcp_ack_snd_check(k, index);
    }
    if (!queued) {
        return discard(drop::NOT_SPECIFIED);
    }
    return false;
}

// ---- a SYN for a listener -----------------------------------------------------------------------------------------------------------------------------------------

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
    if (tp.qlen > tp.max_ack_backlog && isn == 0) { // inet_csk_reqsk_queue_is_full()
        // SYN cookies are not modelled: with them the kernel answers without remembering; here the SYN is dropped, and counted.
        k.count(net, Mib::TcpExt_TCPReqQFullDrop, packet);
        return drop_syn();
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
    if (sysctl.tcp_syncookies == 0 && sysctl.tcp_max_syn_backlog - static_cast<std::int64_t>(tp.qlen) < (sysctl.tcp_max_syn_backlog >> 2)) {
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
    req.ts_off = req.tstamp_ok ? static_cast<std::uint32_t>(k.random(0)) : 0;
    req.snt_isn = isn != 0 ? isn : static_cast<std::uint32_t>(k.random(0));
    // tcp_openreq_init_rwin()
    k.socket(index).cached_route = route;
    tp.advmss = (route.device == nothing ? 1500 : std::min(k.device(route.device).mtu, 65535U)) - 40;
    const std::int64_t full_space = tcp_full_space(k, index);
    req.window_clamp = tp.window_clamp;
    tcp_select_initial_window(k, net, full_space, tp.advmss - (req.tstamp_ok ? TCPOLEN_TSTAMP_ALIGNED : 0), req.rsk_rcv_wnd, req.window_clamp,
                              req.wscale_ok, req.rcv_wscale);
    req.snt_synack = k.cpu().now;
    inet_csk_reqsk_queue_hash_add(k, row);
    tcp_v4_send_synack(k, row, skb);
    return 0;
}

} // namespace skbscope::kernel
