// net/ipv4/tcp_input.c: a segment of an established connection on its way in: options, timestamps, validation, the fast path
// (header prediction) and the slow one. Of the same file: tcp_ack.cpp, tcp_loss.cpp, tcp_rcv_queue.cpp, tcp_rcv_window.cpp,
// tcp_state.cpp.

#include "core/kernel/tcp_input.h"
#include "core/packet/bytes.h"

#include <utility>

namespace skbscope::kernel {

namespace {

constexpr std::int64_t TCP_PAWS_24DAYS = 60 * 60 * 24 * 24, TCP_PAWS_WINDOW = 1, TCP_PAWS_MSL = 60;

std::uint32_t flag_word(const TcpHeader& th)
{
    // TCP_HP_BITS leaves out the reserved bits and PSH.
    return std::uint32_t{th.doff} << 28 |
           std::uint32_t{static_cast<std::uint8_t>(th.flags & ~tcphdr::psh)} << 16 | th.window;
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

bool tcp_paws_discard(Kernel& k, const TcpSock& tp, const TcpHeader& th, SkbIndex skb)
{
    if (tcp_paws_check(k, tp.rx_opt, TCP_PAWS_WINDOW)) {
        return false;
    }
    // tcp_disordered_ack(): a pure duplicate ACK that a shorter path brought
    const TcpCb& cb = tcp_cb(k, skb);
    const bool disordered = th.ack() && cb.seq == tp.rcv_nxt && cb.end_seq == cb.seq &&
                            cb.ack_seq == tp.snd_una &&
                            static_cast<std::int32_t>(tp.rx_opt.ts_recent - tp.rx_opt.rcv_tsval) <=
                                static_cast<std::int32_t>(tp.rto * 4);
    return !disordered;
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

bool csum_error(Kernel& k, SocketIndex index, SkbIndex skb, FunctionId by)
{
    k.count(k.sock_net(index), Mib::Tcp_InCsumErrors, k.skb(skb).packet);
    k.count(k.sock_net(index), Mib::Tcp_InErrs, k.skb(skb).packet);
    tcp_drop_reason(k, index, skb, drop::TCP_CSUM, by);
    return false;
}

bool tcp_parse_aligned_timestamp(TcpSock& tp, const TcpHeader& th)
{
    if (th.options.size() < 12 || th.options[0] != 1 || th.options[1] != 1 || th.options[2] != 8 ||
        th.options[3] != 10) {
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
    if (flag_word(th) != tp.pred_flags || cb.seq != tp.rcv_nxt ||
        !between(cb.ack_seq, tp.snd_una, tp.snd_nxt)) {
        return false;
    }
    const std::uint32_t header_len = tp.tcp_header_len;
    const bool with_ts = header_len == 20 + TCPOLEN_TSTAMP_ALIGNED;
    if (with_ts && (!tcp_parse_aligned_timestamp(tp, th) ||
                    static_cast<std::int32_t>(tp.rx_opt.rcv_tsval - tp.rx_opt.ts_recent) < 0)) {
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

} // namespace

void tcp_data_snd_check(Kernel& k, SocketIndex index, PacketId cause)
{
    tcp_push_pending_frames(k, index);
    tcp_check_space(k, index, cause);
}

void tcp_fast_path_on(TcpSock& tp)
{
    tp.pred_flags = std::uint32_t{tp.tcp_header_len} << 26 | std::uint32_t{tcphdr::ack} << 16 |
                    ((tp.snd_wnd >> tp.rx_opt.snd_wscale) & 0xffff);
}

void tcp_store_ts_recent(Kernel& k, TcpSock& tp)
{
    tp.rx_opt.ts_recent = tp.rx_opt.rcv_tsval;
    tp.rx_opt.ts_recent_stamp = ktime_get_seconds(k);
}

void tcp_replace_ts_recent(Kernel& k, TcpSock& tp, std::uint32_t seq)
{
    if (tp.rx_opt.saw_tstamp && !after(seq, tp.rcv_wup) && tcp_paws_check(k, tp.rx_opt, 0)) {
        tcp_store_ts_recent(k, tp);
    }
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
    const bool reset_after_fin =
        cb.seq == tp.rcv_nxt - 1 &&
        tcp_in_state(tp, {TcpState::close_wait, TcpState::last_ack, TcpState::closing});
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

void tcp_parse_options(Kernel& k, NetIndex net, const TcpHeader& th, TcpOptions& opt, bool established,
                       TcpCb* cb)
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
        } else if (kind == 8 && size == 10 &&
                   ((established && opt.tstamp_ok) || (!established && sysctl.tcp_timestamps != 0))) {
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

void tcp_fast_path_check(Kernel& k, SocketIndex index)
{
    TcpSock& tp = tcp_sk(k, index);
    if (tp.ofo_queue.empty() && tp.rcv_wnd != 0 &&
        k.socket(index).sk_rmem_alloc < k.socket(index).sk_rcvbuf) {
        tcp_fast_path_on(tp);
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
        const std::uint32_t wanted = std::max<std::uint32_t>(tp.rx_opt.mss_clamp, tp.mss_cache) +
                                     MAX_TCP_HEADER + sizeof_skb_shared_info;
        std::uint32_t per_mss = 1;
        while (per_mss < wanted) {
            per_mss <<= 1;
        }
        const std::uint64_t segs = std::max({TCP_INIT_CWND, tp.snd_cwnd, tp.reordering + 1});
        const std::uint64_t sndmem = 2 * segs * (per_mss + sizeof_sk_buff);
        if (sk.sk_sndbuf < sndmem) {
            sk.sk_sndbuf = static_cast<std::uint32_t>(std::min<std::uint64_t>(
                sndmem, static_cast<std::uint64_t>(tcp_sysctl(k, index).tcp_wmem_max)));
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

} // namespace skbscope::kernel
