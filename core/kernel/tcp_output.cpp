// net/ipv4/tcp_output.c: what may go and when: the windows, Nagle, the sizes of bursts, small queues, acknowledgements and the
// segments that open and close. Of the same file: tcp_segment.cpp, tcp_retransmit.cpp.

#include "core/kernel/tcp_output.h"
#include "core/packet/protocols.h"

#include <bit>
#include <utility>

namespace skbscope::kernel {

namespace {

constexpr std::uint32_t TCP_MAX_WSCALE = 14;

std::uint16_t tcp_select_window(Kernel& k, SocketIndex index)
{
    TcpSock& tp = tcp_sk(k, index);
    const NetIndex net = k.sock_net(index);
    const std::uint32_t old_win = tp.rcv_wnd;
    const std::uint32_t cur_win = tcp_receive_window(tp);
    std::uint32_t new_win = __tcp_select_window(k, index);
    if (new_win < cur_win) { // never shrink the offered window
        if (new_win == 0) {
            k.count(net, Mib::TcpExt_TCPWantZeroWindowAdv, PacketId::none);
        }
        const std::uint32_t align = 1U << tp.rx_opt.rcv_wscale;
        new_win = (cur_win + align - 1) & ~(align - 1);
    }
    tp.rcv_wnd = new_win;
    tp.rcv_wup = tp.rcv_nxt;
    new_win = std::min(new_win, 65535U << tp.rx_opt.rcv_wscale) >> tp.rx_opt.rcv_wscale;
    if (new_win == 0) {
        tp.pred_flags = 0;
        if (old_win != 0) {
            k.count(net, Mib::TcpExt_TCPToZeroWindowAdv, PacketId::none);
        }
    } else if (old_win == 0) {
        k.count(net, Mib::TcpExt_TCPFromZeroWindowAdv, PacketId::none);
    }
    return static_cast<std::uint16_t>(new_win);
}

/// Of an ACK and of whatever bears it.
void tcp_event_ack_sent(Kernel& k, SocketIndex index, std::uint32_t rcv_nxt)
{
    TcpSock& tp = tcp_sk(k, index);
    if (tp.compressed_ack != 0) {
        k.count(k.sock_net(index), Mib::TcpExt_TCPAckCompressed, PacketId::none, tp.compressed_ack);
        tp.compressed_ack = 0;
        tp.compressed_ack_timer = 0;
    }
    if (rcv_nxt != tp.rcv_nxt) {
        return;
    }
    if (tp.ack.quick != 0) { // tcp_dec_quickack_mode(): one for each packet
        if (--tp.ack.quick == 0) {
            tp.ack.ato = TCP_ATO_MIN;
        }
    }
    tp.ack.pending = 0; // inet_csk_clear_xmit_timer(ICSK_TIME_DACK)
    tp.delack_timer = 0;
}

void tcp_event_data_sent(Kernel& k, SocketIndex index)
{
    TcpSock& tp = tcp_sk(k, index);
    const std::uint32_t now = tcp_jiffies32(k);
    tp.lsndtime = now;
    if (now - tp.ack.lrcvtime < tp.ack.ato) {
        tp.ack.pingpong = 1; // a reply to what came in: acknowledgements ride on data
    }
}

std::uint32_t tcp_cwnd_test(Kernel& k, const TcpSock& tp, SkbIndex skb)
{
    if ((tcp_cb(k, skb).flags & tcphdr::fin) != 0 && tcp_skb_pcount(k, skb) == 1) {
        return 1; // not strict for the final FIN
    }
    const std::uint32_t in_flight = tcp_packets_in_flight(tp);
    if (in_flight >= tp.snd_cwnd) {
        return 0;
    }
    // At least two GSO packets in flight.
    return std::min(std::max(tp.snd_cwnd >> 1, 1U), tp.snd_cwnd - in_flight);
}

bool tcp_minshall_check(const TcpSock& tp)
{
    return after(tp.snd_sml, tp.snd_una) && !after(tp.snd_sml, tp.snd_nxt);
}

bool tcp_nagle_check(bool partial, const TcpSock& tp, int nonagle)
{
    return partial && nonagle == TCP_NAGLE_ON && !tp.nonagle_off && tp.packets_out > 0 &&
           tcp_minshall_check(tp);
}

bool tcp_nagle_test(Kernel& k, const TcpSock& tp, SkbIndex skb, std::uint32_t cur_mss, int nonagle)
{
    if ((nonagle & TCP_NAGLE_PUSH) != 0 || (tcp_cb(k, skb).flags & tcphdr::fin) != 0) {
        return true;
    }
    return !tcp_nagle_check(tcp_skb_payload(k, skb) < cur_mss, tp, nonagle);
}

std::uint32_t tcp_tso_autosize(Kernel& k, SocketIndex index, std::uint32_t mss_now,
                               std::uint32_t min_tso_segs)
{
    const TcpSock& tp = tcp_sk(k, index);
    std::uint64_t bytes = tp.pacing_rate >> 10; // sk_pacing_shift: about a millisecond's worth
    if (k.profile() != Profile::v5_10) {
        const std::uint64_t shift = tp.min_rtt_us >> tcp_sysctl(k, index).tcp_tso_rtt_log;
        if (shift < 32) {
            bytes += tp.gso_max_size >> shift; // a short round trip allows larger bursts
        }
    }
    bytes = std::min<std::uint64_t>(bytes, tp.gso_max_size - 1 - MAX_TCP_HEADER);
    return std::max(static_cast<std::uint32_t>(bytes / mss_now), min_tso_segs);
}

std::uint32_t tcp_mss_split_point(Kernel& k, const TcpSock& tp, SkbIndex skb, std::uint32_t mss_now,
                                  std::uint32_t max_segs, int nonagle)
{
    const std::uint32_t window = tcp_wnd_end(tp) - tcp_cb(k, skb).seq;
    const std::uint32_t max_len = mss_now * max_segs;
    if (max_len <= window && skb != tp.write_queue.back()) {
        return max_len;
    }
    const std::uint32_t needed = std::min(tcp_skb_payload(k, skb), window);
    if (max_len <= needed) {
        return max_len;
    }
    const std::uint32_t partial = needed % mss_now;
    return tcp_nagle_check(partial != 0, tp, nonagle) ? needed - partial : needed;
}

bool tcp_tso_should_defer(Kernel& k, SocketIndex index, SkbIndex skb, bool& is_cwnd_limited,
                          bool& is_rwnd_limited, std::uint32_t max_segs)
{
    const TcpSock& tp = tcp_sk(k, index);
    if (tp.ca_state >= TcpCaState::recovery || (tp.mstamp - tp.wstamp) > Duration{1'000'000}) {
        return false;
    }
    const std::uint32_t send_win = tcp_wnd_end(tp) - tcp_cb(k, skb).seq;
    const std::uint32_t cong_win = (tp.snd_cwnd - tcp_packets_in_flight(tp)) * tp.mss_cache;
    const std::uint32_t limit = std::min(send_win, cong_win);
    const std::uint32_t len = tcp_skb_payload(k, skb);
    if (limit >= max_segs * tp.mss_cache || (skb != tp.write_queue.back() && limit >= len)) {
        return false;
    }
    if (const auto divisor = static_cast<std::uint32_t>(tcp_sysctl(k, index).tcp_tso_win_divisor);
        divisor != 0) {
        if (limit >= std::min(tp.snd_wnd, tp.snd_cwnd * tp.mss_cache) / divisor) {
            return false;
        }
    } else if (limit > 3 * tp.mss_cache) {
        return false;
    }
    if (tp.rtx_queue.empty()) {
        return false;
    }
    const std::int64_t srtt_ns = std::int64_t{125} * tp.srtt_us;
    const std::int64_t expected = tcp_cb(k, tp.rtx_queue.front()).sent.ns + srtt_ns;
    if (expected - tp.mstamp.ns - std::min<std::int64_t>(srtt_ns >> 1, 1'000'000) > 0) {
        return false; // the next ACK is too far off to wait for
    }
    if (cong_win < send_win && cong_win <= len) {
        is_cwnd_limited = true;
        return true;
    }
    if (cong_win >= send_win && send_win <= len) {
        is_rwnd_limited = true;
        return true;
    }
    return (tcp_cb(k, skb).flags & tcphdr::fin) == 0;
}

void tcp_cwnd_application_limited(Kernel& k, TcpSock& tp)
{
    if (tp.ca_state == TcpCaState::open) {
        const std::uint32_t used = std::max(tp.snd_cwnd_used, TCP_INIT_CWND);
        if (used < tp.snd_cwnd) {
            tp.snd_ssthresh = std::max(tp.snd_ssthresh, ((tp.snd_cwnd >> 1) + (tp.snd_cwnd >> 2)));
            tp.snd_cwnd = (tp.snd_cwnd + used) >> 1;
        }
        tp.snd_cwnd_used = 0;
    }
    tp.snd_cwnd_stamp = tcp_jiffies32(k);
}

void tcp_cwnd_validate(Kernel& k, SocketIndex index, bool is_cwnd_limited)
{
    TcpSock& tp = tcp_sk(k, index);
    if (!before(tp.snd_una, tp.cwnd_usage_seq) || is_cwnd_limited ||
        (!tp.is_cwnd_limited && tp.packets_out > tp.max_packets_out)) {
        tp.is_cwnd_limited = is_cwnd_limited;
        tp.max_packets_out = tp.packets_out;
        tp.cwnd_usage_seq = tp.snd_nxt;
    }
    const bool limited =
        tp.is_cwnd_limited || (tcp_in_slow_start(tp) && tp.snd_cwnd < 2 * tp.max_packets_out);
    if (limited) {
        tp.snd_cwnd_used = 0;
        tp.snd_cwnd_stamp = tcp_jiffies32(k);
        return;
    }
    tp.snd_cwnd_used = std::max(tp.snd_cwnd_used, tp.packets_out);
    if (tcp_sysctl(k, index).tcp_slow_start_after_idle != 0 &&
        static_cast<std::int32_t>(tcp_jiffies32(k) - tp.snd_cwnd_stamp) >=
            static_cast<std::int32_t>(tp.rto)) {
        tcp_cwnd_application_limited(k, tp);
    }
}

std::uint32_t tcp_acceptable_seq(const TcpSock& tp)
{
    if (!before(tcp_wnd_end(tp), tp.snd_nxt) ||
        (tp.rx_opt.wscale_ok && tp.snd_nxt - tcp_wnd_end(tp) < (1U << tp.rx_opt.rcv_wscale))) {
        return tp.snd_nxt;
    }
    return tcp_wnd_end(tp);
}

void tcp_tsq_write(Kernel& k, SocketIndex index)
{
    TcpSock& tp = tcp_sk(k, index);
    if (!tcp_in_state(tp, {TcpState::established, TcpState::fin_wait1, TcpState::closing,
                           TcpState::close_wait, TcpState::last_ack})) {
        return;
    }
    if (tp.lost_out > tp.retrans_out && tp.snd_cwnd > tcp_packets_in_flight(tp)) {
        tcp_mstamp_refresh(k, tp);
        tcp_xmit_retransmit_queue(k, index);
    }
    tcp_write_xmit(k, index, tcp_current_mss(k, index), tp.nonagle_off ? TCP_NAGLE_OFF : TCP_NAGLE_ON, 0);
}

void tcp_tsq_handler(Kernel& k, SocketIndex index)
{
    Call call(k, fn::tcp_tsq_handler);
    const BhLock lock(k, index);
    TcpSock& tp = tcp_sk(k, index);
    if (!tp.owned) {
        tcp_tsq_write(k, index);
    } else {
        tp.tsq_deferred = true; // release_sock() will see to it
    }
}

void __tcp_send_ack(Kernel& k, SocketIndex index, std::uint32_t rcv_nxt)
{
    if (tcp_sk(k, index).state == TcpState::close) {
        return;
    }
    Call call(k, fn::__tcp_send_ack);
    const SkbIndex skb = tcp_alloc_control_skb(k);
    tcp_init_nondata_skb(k, skb, tcp_acceptable_seq(tcp_sk(k, index)), tcphdr::ack);
    tcp_mstamp_refresh(k, tcp_sk(k, index));
    __tcp_transmit_skb(k, index, skb, false, rcv_nxt);
}

} // namespace

bool tcp_snd_wnd_test(Kernel& k, const TcpSock& tp, SkbIndex skb, std::uint32_t cur_mss)
{
    const TcpCb& cb = tcp_cb(k, skb);
    const std::uint32_t end = tcp_skb_payload(k, skb) > cur_mss ? cb.seq + cur_mss : cb.end_seq;
    return !after(end, tcp_wnd_end(tp));
}

std::uint32_t tcp_tso_segs(Kernel& k, SocketIndex index, std::uint32_t mss_now)
{
    Call call(k, fn::tcp_tso_segs);
    const auto min_tso = static_cast<std::uint32_t>(tcp_sysctl(k, index).tcp_min_tso_segs);
    return std::min(tcp_tso_autosize(k, index, mss_now, min_tso), tcp_sk(k, index).gso_max_segs);
}

bool tcp_small_queue_check(Kernel& k, SocketIndex index, SkbIndex skb, unsigned factor)
{
    TcpSock& tp = tcp_sk(k, index);
    const Socket& sk = k.socket(index);
    std::uint64_t limit =
        std::max<std::uint64_t>(std::uint64_t{2} * k.skb(skb).truesize, tp.pacing_rate >> 10);
    limit = std::min<std::uint64_t>(limit,
                                    static_cast<std::uint64_t>(tcp_sysctl(k, index).tcp_limit_output_bytes))
            << factor;
    if (sk.sk_wmem_alloc + 1 <= limit) { // the counter of references starts at one
        return false;
    }
    // 5.10 lets only an empty queue pass (tcp_rtx_queue_empty()).
    if (tp.rtx_queue.size() <= (k.profile() == Profile::v5_10 ? 0U : 1U)) {
        return false;
    }
    tp.tsq_throttled = true;
    return true;
}

void tcp_event_new_data_sent(Kernel& k, SocketIndex index, SkbIndex skb)
{
    TcpSock& tp = tcp_sk(k, index);
    const std::uint32_t prior_packets = tp.packets_out;
    tp.snd_nxt = tcp_cb(k, skb).end_seq;
    tp.write_queue.pop_front();
    tp.rtx_queue.push_back(skb);
    tp.packets_out += tcp_skb_pcount(k, skb);
    if (prior_packets == 0 || tp.pending == TcpTimer::loss_probe) {
        tcp_rearm_rto(k, index);
    }
    k.count(k.sock_net(index), Mib::TcpExt_TCPOrigDataSent, k.skb(skb).packet, tcp_skb_pcount(k, skb));
    tcp_check_space(k, index, k.skb(skb).packet);
}

void tcp_select_initial_window(Kernel& k, NetIndex net, std::int64_t space, std::uint32_t mss,
                               std::uint32_t& rcv_wnd, std::uint32_t& window_clamp, bool wscale_ok,
                               std::uint8_t& rcv_wscale)
{
    auto room = static_cast<std::uint32_t>(std::max<std::int64_t>(space, 0));
    if (window_clamp == 0) {
        window_clamp = 65535U << TCP_MAX_WSCALE;
    }
    room = std::min(window_clamp, room);
    if (room > mss) {
        room -= room % mss;
    }
    rcv_wnd = std::min(room, 65535U);
    rcv_wscale = 0;
    if (wscale_ok) {
        room = std::max(room, static_cast<std::uint32_t>(k.net(net).sysctl.tcp_rmem_max));
        room = std::max(room, static_cast<std::uint32_t>(k.core_sysctl().rmem_max));
        room = std::min(room, window_clamp);
        const int shift = room == 0 ? 0 : static_cast<int>(std::bit_width(room)) - 1 - 15;
        rcv_wscale = static_cast<std::uint8_t>(std::clamp(shift, 0, static_cast<int>(TCP_MAX_WSCALE)));
    }
    window_clamp = std::min(65535U << rcv_wscale, window_clamp);
}

std::uint32_t __tcp_select_window(Kernel& k, SocketIndex index)
{
    TcpSock& tp = tcp_sk(k, index);
    std::int64_t mss = tp.ack.rcv_mss;
    std::int64_t free_space = tcp_space(k, index);
    const std::int64_t allowed = tcp_full_space(k, index);
    const std::int64_t full_space = std::min<std::int64_t>(tp.window_clamp, allowed);
    if (mss > full_space) {
        mss = full_space;
        if (mss <= 0) {
            return 0;
        }
    }
    const std::int64_t scale = std::int64_t{1} << tp.rx_opt.rcv_wscale;
    if (free_space < (full_space >> 1)) {
        tp.ack.quick = 0;
        free_space = std::max<std::int64_t>(free_space, 0) / scale * scale;
        if (free_space < (allowed >> 4) || free_space < mss) {
            return 0;
        }
    }
    free_space = std::min<std::int64_t>(free_space, tp.rcv_ssthresh);
    if (tp.rx_opt.rcv_wscale != 0) {
        return static_cast<std::uint32_t>((free_space + scale - 1) / scale * scale);
    }
    std::int64_t window = tp.rcv_wnd;
    if (window <= free_space - mss || window > free_space) {
        window = free_space - free_space % mss;
    } else if (mss == full_space && free_space > window + (full_space >> 1)) {
        window = free_space;
    }
    return static_cast<std::uint32_t>(window);
}

void tcp_update_pacing_rate(Kernel& k, SocketIndex index)
{
    TcpSock& tp = tcp_sk(k, index);
    const Sysctls& sysctl = tcp_sysctl(k, index);
    std::uint64_t rate = std::uint64_t{tp.mss_cache} * ((1'000'000 / 100) << 3);
    rate *= static_cast<std::uint64_t>(tp.snd_cwnd < tp.snd_ssthresh / 2 ? sysctl.tcp_pacing_ss_ratio
                                                                         : sysctl.tcp_pacing_ca_ratio);
    rate *= std::max(tp.snd_cwnd, tp.packets_out);
    if (tp.srtt_us != 0) {
        rate /= tp.srtt_us;
    }
    tp.pacing_rate = rate;
}

void tcp_slow_start_after_idle_check(Kernel& k, SocketIndex index)
{
    TcpSock& tp = tcp_sk(k, index);
    if (tcp_sysctl(k, index).tcp_slow_start_after_idle == 0 || tp.packets_out != 0) {
        return;
    }
    auto delta = static_cast<std::int32_t>(tcp_jiffies32(k) - tp.lsndtime);
    if (delta <= static_cast<std::int32_t>(tp.rto)) {
        return;
    }
    // tcp_cwnd_restart()
    std::uint32_t cwnd = tp.snd_cwnd;
    const std::uint32_t restart = std::min(TCP_INIT_CWND, cwnd);
    tp.snd_ssthresh = std::max(tp.snd_ssthresh, (cwnd >> 1) + (cwnd >> 2));
    while ((delta -= static_cast<std::int32_t>(tp.rto)) > 0 && cwnd > restart) {
        cwnd >>= 1;
    }
    tp.snd_cwnd = std::max(cwnd, restart);
    tp.snd_cwnd_stamp = tcp_jiffies32(k);
    tp.snd_cwnd_used = 0;
}

int __tcp_transmit_skb(Kernel& k, SocketIndex index, SkbIndex skb, bool clone_it, std::uint32_t rcv_nxt)
{
    Call call(k, fn::__tcp_transmit_skb, skb);
    TcpSock& tp = tcp_sk(k, index);
    const SimTime prior_wstamp = tp.wstamp;
    tp.wstamp = std::max(tp.wstamp, tp.mstamp);
    tcp_cb(k, skb).sent = tp.wstamp;
    const SkbIndex original = clone_it ? skb : nothing;
    if (clone_it) {
        skb = skb_clone(k, original, fn::skb_clone);
        if (!tcp_cb(k, original).fast_clone_queued) {
            k.skb(skb).fclone = true;
            k.skb(skb).fclone_origin = original;
            tcp_cb(k, original).fast_clone_queued = true;
        }
        k.skb(skb).device = nothing;
    }
    TcpCb& cb = tcp_cb(k, skb);
    std::vector<std::uint8_t> options;
    if ((cb.flags & tcphdr::syn) != 0) {
        const Sysctls& sysctl = tcp_sysctl(k, index);
        SynOptions syn;
        syn.mss = static_cast<std::uint16_t>(tp.advmss);
        syn.tstamp = sysctl.tcp_timestamps != 0;
        syn.sack = sysctl.tcp_sack != 0;
        syn.wscale = sysctl.tcp_window_scaling != 0;
        syn.shift = tp.rx_opt.rcv_wscale;
        syn.tsval = tcp_skb_timestamp(cb.sent) + tp.tsoffset;
        syn.tsecr = tp.rx_opt.ts_recent;
        options = syn_options(syn);
    } else {
        options = established_options(tp, cb.sent);
        if (cb.segs > 1) {
            cb.flags |= tcphdr::psh; // so that the receiver's GRO flushes
        }
    }
    const auto header = static_cast<std::uint32_t>(20 + options.size());
    const std::uint32_t payload = k.skb(skb).len;
    SkBuff& buff = k.skb(skb);
    const std::uint16_t window = (cb.flags & tcphdr::syn) != 0
                                     ? static_cast<std::uint16_t>(std::min(tp.rcv_wnd, 65535U))
                                     : tcp_select_window(k, index);
    write_header(k, skb, flow_of_socket(k, index), rcv_nxt, window, cb.flags, options);
    // Owned by the socket until the device has sent it; a bare ACK does not count for TCP small queues.
    const bool pure_ack =
        !clone_it && payload == 0 && (cb.flags & (tcphdr::syn | tcphdr::fin | tcphdr::rst)) == 0;
    buff.sk = index;
    buff.destructor = pure_ack ? SkBuff::Destructor::__sock_wfree : SkBuff::Destructor::tcp_wfree;
    if (pure_ack) {
        buff.truesize = 2; // skb_set_tcp_pure_ack()
    }
    k.socket(index).sk_wmem_alloc += buff.truesize;
    k.field(skb, SkbField::socket, 0, to_index(k.socket(index).queue));
    buff.ip_summed = IpSummed::partial;
    tcp_v4_send_check(k, skb);
    if ((cb.flags & tcphdr::ack) != 0) {
        tcp_event_ack_sent(k, index, rcv_nxt);
    }
    if (payload != 0) {
        tcp_event_data_sent(k, index);
    }
    const PacketId packet = buff.packet;
    const std::uint32_t segs = cb.segs;
    if (after(cb.end_seq, tp.snd_nxt) || cb.seq == cb.end_seq) {
        k.count(k.sock_net(index), Mib::Tcp_OutSegs, packet, segs);
    }
    (void)header;
    buff.gso_segs = static_cast<std::uint16_t>(segs);
    buff.gso_size = cb.mss;
    buff.gso_type = cb.mss != 0 ? SKB_GSO_TCPV4 : 0;
    buff.protocol = proto::eth_p_ip;
    const Socket& sk = k.socket(index);
    k.trace.mutable_packet(packet).flow = FlowKey{IpAddress::v4(sk.rcv_saddr),
                                                  IpAddress::v4(sk.daddr),
                                                  proto::ipproto_tcp,
                                                  proto::eth_p_ip,
                                                  sk.num,
                                                  sk.dport};
    const int error = ip_queue_xmit(k, index, skb);
    if (error == 0 && original != nothing && prior_wstamp < tp.wstamp) {
        tcp_cb(k, original).sent = tp.wstamp;
    }
    return error > 0 ? 0 : error;
}

int tcp_transmit_skb(Kernel& k, SocketIndex index, SkbIndex skb, bool clone_it)
{
    Call call(k, fn::tcp_transmit_skb, skb);
    return __tcp_transmit_skb(k, index, skb, clone_it, tcp_sk(k, index).rcv_nxt);
}

bool tcp_write_xmit(Kernel& k, SocketIndex index, std::uint32_t mss_now, int nonagle, int push_one)
{
    Call call(k, fn::tcp_write_xmit);
    TcpSock& tp = tcp_sk(k, index);
    std::uint32_t sent = 0;
    bool is_cwnd_limited = false, is_rwnd_limited = false;
    tcp_mstamp_refresh(k, tp);
    const std::uint32_t max_segs = tcp_tso_segs(k, index, mss_now);
    while (!tp.write_queue.empty()) {
        const SkbIndex skb = tp.write_queue.front();
        const std::uint32_t tso_segs = tcp_init_tso_segs(k, skb, mss_now);
        std::uint32_t quota = tcp_cwnd_test(k, tp, skb);
        if (quota == 0) {
            if (push_one != 2) {
                break;
            }
            quota = 1; // a loss probe is forced out
        }
        if (!tcp_snd_wnd_test(k, tp, skb, mss_now)) {
            is_rwnd_limited = true;
            break;
        }
        if (tso_segs == 1) {
            if (!tcp_nagle_test(k, tp, skb, mss_now,
                                skb == tp.write_queue.back() ? nonagle : TCP_NAGLE_PUSH)) {
                break;
            }
        } else if (push_one == 0 &&
                   tcp_tso_should_defer(k, index, skb, is_cwnd_limited, is_rwnd_limited, max_segs)) {
            break;
        }
        const std::uint32_t limit =
            tso_segs > 1 ? tcp_mss_split_point(k, tp, skb, mss_now, std::min(quota, max_segs), nonagle)
                         : mss_now;
        if (tcp_skb_payload(k, skb) > limit) {
            tso_fragment(k, index, skb, limit, mss_now);
        }
        if (tcp_small_queue_check(k, index, skb, 0) || tcp_cb(k, skb).seq == tcp_cb(k, skb).end_seq) {
            break;
        }
        if (tcp_transmit_skb(k, index, skb, true) != 0) {
            break;
        }
        tcp_event_new_data_sent(k, index, skb);
        if (tcp_skb_payload(k, skb) < tcp_skb_pcount(k, skb) * mss_now) {
            tp.snd_sml = tcp_cb(k, skb).end_seq; // tcp_minshall_update()
        }
        sent += tcp_skb_pcount(k, skb);
        if (push_one != 0) {
            break;
        }
    }
    is_cwnd_limited = is_cwnd_limited || tcp_packets_in_flight(tp) >= tp.snd_cwnd;
    if (sent > 0 || is_cwnd_limited) {
        tcp_cwnd_validate(k, index, is_cwnd_limited);
    }
    if (sent > 0) {
        if (tcp_in_cwnd_reduction(tp)) {
            tp.prr_out += sent;
        }
        if (push_one != 2) {
            tcp_schedule_loss_probe(k, index, false);
        }
        return false;
    }
    return tp.packets_out == 0 && !tp.write_queue.empty();
}

void __tcp_push_pending_frames(Kernel& k, SocketIndex index, std::uint32_t cur_mss, int nonagle)
{
    Call call(k, fn::__tcp_push_pending_frames);
    if (tcp_sk(k, index).state == TcpState::close) {
        return;
    }
    if (tcp_write_xmit(k, index, cur_mss, nonagle, 0)) {
        // tcp_check_probe_timer(): nothing is out that would bring an ACK
        TcpSock& tp = tcp_sk(k, index);
        if (tp.packets_out == 0 && tp.pending == TcpTimer::none) {
            inet_csk_reset_xmit_timer(k, index, TcpTimer::probe0, std::max(tp.rto, TCP_RTO_MIN), TCP_RTO_MAX);
        }
    }
}

void tcp_push_pending_frames(Kernel& k, SocketIndex index)
{
    const TcpSock& tp = tcp_sk(k, index);
    if (!tp.write_queue.empty()) {
        __tcp_push_pending_frames(k, index, tcp_current_mss(k, index),
                                  tp.nonagle_off ? TCP_NAGLE_OFF : TCP_NAGLE_ON);
    }
}

void tcp_push_one(Kernel& k, SocketIndex index, std::uint32_t mss_now)
{
    Call call(k, fn::tcp_push_one);
    tcp_write_xmit(k, index, mss_now, TCP_NAGLE_PUSH, 1);
}

void tcp_tasklet_func(Kernel& k)
{
    Call call(k, fn::tcp_tasklet_func);
    auto sockets = std::move(k.cpu().tsq_tasklet);
    k.cpu().tsq_tasklet.clear();
    for (const SocketIndex index : sockets) {
        TcpSock& tp = tcp_sk(k, index);
        if (!tp.in_use) {
            continue;
        }
        tp.tsq_queued = false;
        tcp_tsq_handler(k, index);
    }
}

void tcp_wfree(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::tcp_wfree, skb);
    SkBuff& buff = k.skb(skb);
    const SocketIndex index = buff.sk;
    Socket& sk = k.socket(index);
    TcpSock& tp = tcp_sk(k, index);
    sk.sk_wmem_alloc -= std::min(sk.sk_wmem_alloc, buff.truesize);
    k.field(skb, SkbField::socket, to_index(sk.queue), 0);
    buff.sk = nothing;
    if (!tp.in_use) {
        if (!sk.in_use && sk.sk_wmem_alloc == 0) {
            tcp_free_socket(k, index);
        }
        return;
    }
    // A ksoftirqd that works off many completions waits for the last of them, so that bursts stay bursts.
    const bool ksoftirqd = k.cpu().task != nothing && k.cpu().task == k.cpu().ksoftirqd;
    if ((sk.sk_wmem_alloc >= sizeof_sk_buff + sizeof_skb_shared_info && ksoftirqd) || !tp.tsq_throttled ||
        tp.tsq_queued) {
        return;
    }
    tp.tsq_throttled = false;
    tp.tsq_queued = true;
    const bool first = k.cpu().tsq_tasklet.empty();
    k.cpu().tsq_tasklet.push_back(index);
    if (first) {
        raise_softirq_irqoff(k, TASKLET_SOFTIRQ);
    }
}

void tcp_release_cb(Kernel& k, SocketIndex index)
{
    Call call(k, fn::tcp_release_cb);
    TcpSock& tp = tcp_sk(k, index);
    if (std::exchange(tp.tsq_deferred, false)) {
        tcp_tsq_write(k, index);
    }
    if (std::exchange(tp.write_timer_deferred, false)) {
        tcp_write_timer_handler(k, index);
    }
    if (std::exchange(tp.delack_timer_deferred, false)) {
        tcp_delack_timer_handler(k, index);
    }
    if (std::exchange(tp.ack_deferred, false) && inet_csk_ack_scheduled(tp)) {
        tcp_send_ack(k, index);
    }
}

void tcp_send_ack(Kernel& k, SocketIndex index)
{
    Call call(k, fn::tcp_send_ack);
    __tcp_send_ack(k, index, tcp_sk(k, index).rcv_nxt);
}

void tcp_send_delayed_ack(Kernel& k, SocketIndex index)
{
    Call call(k, fn::tcp_send_delayed_ack);
    TcpSock& tp = tcp_sk(k, index);
    std::uint32_t ato = tp.ack.ato;
    if (ato > TCP_DELACK_MIN) {
        std::uint32_t max_ato = TCP_HZ / 2;
        if (tp.ack.pingpong >= 1 || (tp.ack.pending & ICSK_ACK_PUSHED) != 0) {
            max_ato = TCP_DELACK_MAX;
        }
        if (tp.srtt_us != 0) {
            max_ato = std::min(max_ato, std::max(usecs_to_jiffies(tp.srtt_us >> 3), TCP_DELACK_MIN));
        }
        ato = std::min(ato, max_ato);
    }
    ato = std::min(ato, TCP_DELACK_MAX);
    const std::uint32_t now = tcp_jiffies32(k);
    std::uint32_t timeout = now + ato;
    if ((tp.ack.pending & ICSK_ACK_TIMER) != 0) {
        if (!after(tp.ack.timeout, now + (ato >> 2))) {
            tcp_send_ack(k, index); // the timer would go off at once anyway
            return;
        }
        if (!before(timeout, tp.ack.timeout)) {
            timeout = tp.ack.timeout;
        }
    }
    const bool same =
        (tp.ack.pending & ICSK_ACK_TIMER) != 0 && timeout == tp.ack.timeout && tp.delack_timer != 0;
    tp.ack.pending |= ICSK_ACK_SCHED | ICSK_ACK_TIMER;
    if (!same) {
        inet_csk_arm_delack(k, index, timeout);
    }
}

void tcp_connect(Kernel& k, SocketIndex index)
{
    Call call(k, fn::tcp_connect);
    TcpSock& tp = tcp_sk(k, index);
    const Socket& sk = k.socket(index);
    const Sysctls& sysctl = tcp_sysctl(k, index);
    // tcp_connect_init()
    tp.tcp_header_len =
        static_cast<std::uint16_t>(20 + (sysctl.tcp_timestamps != 0 ? TCPOLEN_TSTAMP_ALIGNED : 0));
    tp.max_window = 0;
    tcp_sync_mss(k, index);
    const Destination& dst = sk.cached_route;
    tp.advmss = (dst.device == nothing ? 1500 : std::min(k.device(dst.device).mtu, 65535U)) - 40;
    tcp_initialize_rcv_mss(tp);
    tcp_select_initial_window(k, sk.net, tcp_full_space(k, index),
                              tp.advmss - (sysctl.tcp_timestamps != 0 ? tp.tcp_header_len - 20U : 0),
                              tp.rcv_wnd, tp.window_clamp, sysctl.tcp_window_scaling != 0,
                              tp.rx_opt.rcv_wscale);
    tp.rcv_ssthresh = tp.rcv_wnd;
    tp.sk_err = 0;
    tp.done = false;
    tp.snd_una = tp.snd_sml = tp.snd_nxt = tp.write_seq;
    tp.rcv_nxt = tp.rcv_wup = tp.copied_seq = 0;
    tp.rto = TCP_TIMEOUT_INIT;
    tp.retransmits = 0;
    const SkbIndex skb = tcp_stream_alloc_skb(k, index);
    tcp_init_nondata_skb(k, skb, tp.write_seq++, tcphdr::syn);
    tcp_mstamp_refresh(k, tp);
    tp.retrans_stamp = tcp_time_stamp(tp);
    // tcp_connect_queue_skb()
    tp.write_seq = tcp_cb(k, skb).end_seq;
    tp.sk_wmem_queued += k.skb(skb).truesize;
    sk_mem_charge(k, index, k.skb(skb).truesize);
    tp.packets_out += 1;
    tp.rtx_queue.push_back(skb);
    k.enqueue(tp.write_queue_id, k.skb(skb).packet, fn::tcp_connect);
    tcp_transmit_skb(k, index, skb, true);
    tp.snd_nxt = tp.write_seq;
    tp.pushed_seq = tp.write_seq;
    k.count(sk.net, Mib::Tcp_ActiveOpens, PacketId::none);
    inet_csk_reset_xmit_timer(k, index, TcpTimer::retrans, tp.rto, TCP_RTO_MAX);
}

void tcp_send_fin(Kernel& k, SocketIndex index)
{
    Call call(k, fn::tcp_send_fin);
    TcpSock& tp = tcp_sk(k, index);
    if (!tp.write_queue.empty()) {
        TcpCb& tail = tcp_cb(k, tp.write_queue.back());
        tail.flags |= tcphdr::fin;
        ++tail.end_seq;
        ++tp.write_seq;
    } else {
        const SkbIndex skb = tcp_alloc_control_skb(k);
        k.skb(skb).fclone = true; // alloc_skb_fclone()
        tcp_init_nondata_skb(k, skb, tp.write_seq, tcphdr::ack | tcphdr::fin);
        tp.write_seq = tcp_cb(k, skb).end_seq;
        tp.sk_wmem_queued += k.skb(skb).truesize;
        sk_mem_charge(k, index, k.skb(skb).truesize);
        tp.write_queue.push_back(skb);
        k.enqueue(tp.write_queue_id, k.skb(skb).packet, fn::tcp_send_fin);
    }
    __tcp_push_pending_frames(k, index, tcp_current_mss(k, index), TCP_NAGLE_OFF);
}

void tcp_send_active_reset(Kernel& k, SocketIndex index)
{
    Call call(k, fn::tcp_send_active_reset);
    k.count(k.sock_net(index), Mib::Tcp_OutRsts, PacketId::none);
    const SkbIndex skb = tcp_alloc_control_skb(k);
    TcpSock& tp = tcp_sk(k, index);
    tcp_init_nondata_skb(k, skb, tcp_acceptable_seq(tp), tcphdr::ack | tcphdr::rst);
    tcp_mstamp_refresh(k, tp);
    tcp_transmit_skb(k, index, skb, false);
}

} // namespace skbscope::kernel
