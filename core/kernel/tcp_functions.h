#pragma once
// The TCP functions that are called from another file, grouped by the file of the real kernel they live in. `sk` is a row
// of World::sockets whose kind is tcp.

#include "core/kernel/functions.h"
#include "core/kernel/tcp.h"

#include <algorithm>

namespace skbscope::kernel {

// include/net/tcp.h, include/net/inet_connection_sock.h; times in jiffies of 4 ms (HZ=250)
inline constexpr std::uint32_t TCP_HZ = 250;
inline constexpr std::uint32_t TCP_RTO_MIN = TCP_HZ / 5, TCP_RTO_MAX = 120 * TCP_HZ, TCP_TIMEOUT_INIT = TCP_HZ, TCP_TIMEOUT_MIN = 2;
inline constexpr std::uint32_t TCP_DELACK_MIN = TCP_HZ / 25, TCP_DELACK_MAX = TCP_HZ / 5, TCP_ATO_MIN = TCP_HZ / 25;
inline constexpr std::uint32_t TCP_TIMEWAIT_LEN = 60 * TCP_HZ, TCP_RESOURCE_PROBE_INTERVAL = TCP_HZ / 2;
inline constexpr std::uint32_t TCP_INFINITE_SSTHRESH = 0x7fffffff, TCP_INIT_CWND = 10, TCP_MAX_QUICKACKS = 16, TCP_FASTRETRANS_THRESH = 3;
inline constexpr std::uint32_t TCP_MSS_DEFAULT = 536, TCP_MIN_MSS = 88, MAX_TCP_HEADER = 320, TCPOLEN_TSTAMP_ALIGNED = 12;
inline constexpr std::uint32_t MAX_TCP_SKB_FRAGS = 17;
inline constexpr std::uint8_t ICSK_ACK_SCHED = 1, ICSK_ACK_TIMER = 2, ICSK_ACK_PUSHED = 4, ICSK_ACK_PUSHED2 = 8, ICSK_ACK_NOW = 16;
inline constexpr std::uint8_t RCV_SHUTDOWN = 1, SEND_SHUTDOWN = 2, SHUTDOWN_MASK = 3;
/// The nonagle argument of the output functions.
inline constexpr int TCP_NAGLE_ON = 0, TCP_NAGLE_OFF = 1, TCP_NAGLE_PUSH = 4;

// net/ipv4/tcp_input.c: FLAG_*
inline constexpr std::uint32_t FLAG_DATA = 0x01, FLAG_WIN_UPDATE = 0x02, FLAG_DATA_ACKED = 0x04, FLAG_RETRANS_DATA_ACKED = 0x08,
                               FLAG_SYN_ACKED = 0x10, FLAG_DATA_SACKED = 0x20, FLAG_LOST_RETRANS = 0x80, FLAG_SLOWPATH = 0x100,
                               FLAG_ORIG_SACK_ACKED = 0x200, FLAG_SND_UNA_ADVANCED = 0x400, FLAG_DSACKING_ACK = 0x800,
                               FLAG_SET_XMIT_TIMER = 0x1000, FLAG_UPDATE_TS_RECENT = 0x4000, FLAG_NO_CHALLENGE_ACK = 0x8000;
inline constexpr std::uint32_t FLAG_ACKED = FLAG_DATA_ACKED | FLAG_SYN_ACKED, FLAG_NOT_DUP = FLAG_DATA | FLAG_WIN_UPDATE | FLAG_ACKED,
                               FLAG_CA_ALERT = FLAG_DATA_SACKED | FLAG_DSACKING_ACK, FLAG_FORWARD_PROGRESS = FLAG_ACKED | FLAG_DATA_SACKED;

[[nodiscard]] inline TcpSock& tcp_sk(Kernel& k, SocketIndex sk) { return k.w.tcp.socks[static_cast<std::size_t>(k.socket(sk).tcp)]; }
[[nodiscard]] inline TcpCb& tcp_cb(Kernel& k, SkbIndex skb) { return k.skb(skb).tcp; }
[[nodiscard]] inline Sysctls& tcp_sysctl(Kernel& k, SocketIndex sk) { return k.net(k.sock_net(sk)).sysctl; }
[[nodiscard]] inline std::uint32_t tcp_jiffies32(Kernel& k) { return static_cast<std::uint32_t>(k.cpu().now.ns / 4'000'000); }
[[nodiscard]] inline std::uint32_t usecs_to_jiffies(std::uint64_t us) { return static_cast<std::uint32_t>((us + 3999) / 4000); }
[[nodiscard]] inline std::int64_t ktime_get_seconds(Kernel& k) { return k.cpu().now.ns / 1'000'000'000 + 1; }
/// Milliseconds, without the connection's offset. Never 0, as the kernel's clock has been running before the scenario.
[[nodiscard]] inline std::uint32_t tcp_time_stamp(const TcpSock& tp) { return static_cast<std::uint32_t>(tp.mstamp.ns / 1'000'000) + 1000; }
[[nodiscard]] inline std::uint32_t tcp_skb_timestamp(SimTime sent) { return static_cast<std::uint32_t>(sent.ns / 1'000'000) + 1000; }
inline void tcp_mstamp_refresh(Kernel& k, TcpSock& tp) { tp.mstamp = std::max(tp.mstamp, k.cpu().now); }
[[nodiscard]] inline std::int64_t stamp_us_delta(SimTime later, SimTime earlier) { return std::max<std::int64_t>((later - earlier).ns / 1000, 0); }
[[nodiscard]] inline bool tcp_in_state(const TcpSock& tp, std::initializer_list<TcpState> states)
{
    return std::find(states.begin(), states.end(), tp.state) != states.end();
}
[[nodiscard]] inline std::uint32_t tcp_packets_in_flight(const TcpSock& tp)
{
    return tp.packets_out - (tp.sacked_out + tp.lost_out) + tp.retrans_out;
}
[[nodiscard]] inline std::uint32_t tcp_wnd_end(const TcpSock& tp) { return tp.snd_una + tp.snd_wnd; }
[[nodiscard]] inline std::uint32_t tcp_receive_window(const TcpSock& tp)
{
    const auto window = static_cast<std::int32_t>(tp.rcv_wup + tp.rcv_wnd - tp.rcv_nxt);
    return window < 0 ? 0 : static_cast<std::uint32_t>(window);
}
[[nodiscard]] inline bool tcp_in_slow_start(const TcpSock& tp) { return tp.snd_cwnd < tp.snd_ssthresh; }
[[nodiscard]] inline bool tcp_in_cwnd_reduction(const TcpSock& tp) { return tp.ca_state == TcpCaState::cwr || tp.ca_state == TcpCaState::recovery; }
[[nodiscard]] inline bool inet_csk_ack_scheduled(const TcpSock& tp) { return (tp.ack.pending & ICSK_ACK_SCHED) != 0; }
inline void inet_csk_schedule_ack(TcpSock& tp) { tp.ack.pending |= ICSK_ACK_SCHED; }

// A segment's header, read from its bytes; precondition: tcp_v4_rcv() has seen that it is whole.
struct TcpHeader {
    std::uint16_t source = 0, dest = 0, window = 0;
    std::uint32_t seq = 0, ack_seq = 0;
    std::uint8_t doff = 0, flags = 0;
    std::span<const std::uint8_t> options;
    [[nodiscard]] bool fin() const { return (flags & tcphdr::fin) != 0; }
    [[nodiscard]] bool syn() const { return (flags & tcphdr::syn) != 0; }
    [[nodiscard]] bool rst() const { return (flags & tcphdr::rst) != 0; }
    [[nodiscard]] bool ack() const { return (flags & tcphdr::ack) != 0; }
    [[nodiscard]] std::uint32_t length() const { return doff * 4U; }
};
/// include/net/sock.h: memory is reserved in pages before it is charged, and given back, since 5.19 down to a page, before
/// only above 2 MiB. What is left over lets a received segment take the fast path.
void sk_mem_charge(Kernel& k, SocketIndex index, std::uint32_t size);
void sk_mem_uncharge(Kernel& k, SocketIndex index, std::uint32_t size);
[[nodiscard]] TcpHeader tcp_hdr(Kernel& k, SkbIndex skb); ///< at the transport header
[[nodiscard]] TcpFlow flow_of_segment(Kernel& k, SkbIndex skb); ///< as the receiver sees it

// net/ipv4/inet_hashtables.c
[[nodiscard]] std::optional<TcpEhash> __inet_lookup_established(Kernel& k, const TcpFlow& flow, PacketId packet);
[[nodiscard]] SocketIndex __inet_lookup_listener(Kernel& k, SkbIndex skb, const TcpFlow& flow);
void inet_ehash_insert(Kernel& k, const TcpFlow& flow, TcpEhash entry);
void inet_unhash(Kernel& k, SocketIndex sk);
int inet_hash_connect(Kernel& k, SocketIndex sk);
[[nodiscard]] TcpFlow flow_of_socket(Kernel& k, SocketIndex sk);

// net/ipv4/inet_connection_sock.c
int inet_csk_get_port(Kernel& k, SocketIndex sk, std::uint16_t port);
void inet_put_port(Kernel& k, SocketIndex sk);
int inet_csk_listen_start(Kernel& k, SocketIndex sk, std::uint32_t backlog);
void inet_csk_listen_stop(Kernel& k, SocketIndex sk);
SocketIndex inet_csk_accept(Kernel& k, SocketIndex sk); ///< nothing: the queue is empty
void inet_csk_reset_xmit_timer(Kernel& k, SocketIndex sk, TcpTimer what, std::uint32_t when, std::uint32_t max_when);
void inet_csk_clear_xmit_timer(Kernel& k, SocketIndex sk);
void inet_csk_arm_delack(Kernel& k, SocketIndex sk, std::uint32_t at_jiffies);
void inet_csk_destroy_sock(Kernel& k, SocketIndex sk);
void inet_csk_reqsk_queue_hash_add(Kernel& k, std::int32_t request);
void inet_csk_reqsk_queue_drop(Kernel& k, std::int32_t request);
SocketIndex inet_csk_complete_hashdance(Kernel& k, SocketIndex listener, SocketIndex child, std::int32_t request);
void reqsk_timer_handler(Kernel& k, std::int32_t request, std::uint64_t generation);
[[nodiscard]] TcpRequest& tcp_request(Kernel& k, std::int32_t row);
std::int32_t new_request(Kernel& k);
void free_request(Kernel& k, std::int32_t row);

// net/ipv4/tcp.c
void tcp_set_state(Kernel& k, SocketIndex sk, TcpState state);
SocketIndex tcp_new_socket(Kernel& k, NetIndex net); ///< a row with a fresh TcpSock
void tcp_init_sock(Kernel& k, SocketIndex sk);
void tcp_free_socket(Kernel& k, SocketIndex sk);
void tcp_done(Kernel& k, SocketIndex sk);
/// bh_lock_sock() until the end of the scope: what a softirq or a timer does with a socket that no task may be inside meanwhile.
/// A CPU whose clock is behind gets the lock no earlier than its last holder has let it go.
class BhLock {
public:
    BhLock(Kernel& k, SocketIndex sk);
    ~BhLock();
    BhLock(const BhLock&) = delete;
    BhLock& operator=(const BhLock&) = delete;

private:
    Kernel& kernel;
    std::size_t row; ///< of World::tcp.socks: the socket may be gone at the end
};

void tcp_lock_sock(Kernel& k, SocketIndex sk); ///< lock_sock(): waits as BhLock does
void tcp_steal_time(Kernel& k); ///< before the socket is given free: the task's `steal`
void tcp_release_sock(Kernel& k, SocketIndex sk); ///< release_sock(): the backlog first
/// Takes bytes from the front of `payload`: how many, or a negative errno (-11: the buffer is full).
int tcp_sendmsg(Kernel& k, SocketIndex sk, std::span<const std::uint8_t> payload, std::uint64_t call_sequence);
/// At most `limit` bytes, appended to `out`: how many; 0 at the end of the stream, a negative errno.
int tcp_recvmsg(Kernel& k, SocketIndex sk, std::uint32_t limit, std::vector<std::uint8_t>& out);
void tcp_close(Kernel& k, SocketIndex sk);
void tcp_push(Kernel& k, SocketIndex sk, std::uint32_t mss_now, int nonagle, std::uint32_t size_goal);
void tcp_write_queue_purge(Kernel& k, SocketIndex sk);
void tcp_wmem_free_skb(Kernel& k, SocketIndex sk, SkbIndex skb, FunctionId by);
SkbIndex tcp_stream_alloc_skb(Kernel& k, SocketIndex sk);
SkbIndex tcp_alloc_control_skb(Kernel& k); ///< alloc_skb(MAX_TCP_HEADER)
void tcp_state_change(Kernel& k, SocketIndex sk, PacketId cause); ///< sk->sk_state_change
[[nodiscard]] bool tcp_stream_memory_free(const Socket& sk, const TcpSock& tp);
[[nodiscard]] QueueId tcp_name_queue(Kernel& k, SocketIndex sk);

// net/ipv4/tcp_ipv4.c
void tcp_v4_do_rcv(Kernel& k, SocketIndex sk, SkbIndex skb);
int tcp_v4_connect(Kernel& k, SocketIndex sk, std::uint32_t address, std::uint16_t port);
void tcp_v4_send_check(Kernel& k, SkbIndex skb);
void tcp_v4_send_reset(Kernel& k, SkbIndex skb);
void tcp_v4_send_synack(Kernel& k, std::int32_t request, SkbIndex syn);
SocketIndex tcp_v4_syn_recv_sock(Kernel& k, SocketIndex listener, SkbIndex skb, std::int32_t request);
void tcp_v4_reqsk_send_ack(Kernel& k, SkbIndex skb, std::int32_t request);
void tcp_v4_timewait_ack(Kernel& k, SkbIndex skb, std::int32_t timewait);
int tcp_v4_conn_request(Kernel& k, SocketIndex sk, SkbIndex skb);
[[nodiscard]] bool tcp_checksum_complete(Kernel& k, SkbIndex skb); ///< true: it is wrong
void tcp_listendrop(Kernel& k, SocketIndex sk, PacketId packet);

// net/ipv4/tcp_input.c
void tcp_rcv_established(Kernel& k, SocketIndex sk, SkbIndex skb);
bool tcp_rcv_state_process(Kernel& k, SocketIndex sk, SkbIndex skb); ///< true: answer with a RST; the skb is still there
int tcp_conn_request(Kernel& k, SocketIndex sk, SkbIndex skb);
void tcp_parse_options(Kernel& k, NetIndex net, const TcpHeader& th, TcpOptions& opt, bool established, TcpCb* cb);
void tcp_drop_reason(Kernel& k, SocketIndex sk, SkbIndex skb, DropReasonId reason, FunctionId by);
void tcp_initialize_rcv_mss(TcpSock& tp);
void tcp_enter_quickack_mode(TcpSock& tp, std::uint32_t max_quickacks);
void tcp_check_space(Kernel& k, SocketIndex sk, PacketId cause);
void tcp_data_ready(Kernel& k, SocketIndex sk, PacketId cause);
void tcp_init_transfer(Kernel& k, SocketIndex sk, PacketId packet);
void tcp_rearm_rto(Kernel& k, SocketIndex sk);
void tcp_rcv_space_adjust(Kernel& k, SocketIndex sk);
void tcp_fast_path_check(Kernel& k, SocketIndex sk);
void tcp_enter_loss(Kernel& k, SocketIndex sk);
void tcp_enter_recovery(Kernel& k, SocketIndex sk);
void tcp_mark_skb_lost(Kernel& k, SocketIndex sk, SkbIndex skb);
bool tcp_oow_rate_limited(Kernel& k, NetIndex net, SkbIndex skb, Mib counter, std::uint32_t& last);
bool tcp_paws_reject(Kernel& k, const TcpOptions& opt, bool rst);
std::int64_t tcp_win_from_space(Kernel& k, SocketIndex sk, std::int64_t space);
std::int64_t tcp_space(Kernel& k, SocketIndex sk);
std::int64_t tcp_full_space(Kernel& k, SocketIndex sk);
void tcp_synack_rtt_meas(Kernel& k, SocketIndex sk, std::int32_t request);
void tcp_reset(Kernel& k, SocketIndex sk, PacketId cause);
void tcp_send_dupack(Kernel& k, SocketIndex sk, SkbIndex skb);

// net/ipv4/tcp_cong.c
void tcp_cong_avoid(Kernel& k, SocketIndex sk, std::uint32_t acked);
[[nodiscard]] std::uint32_t tcp_reno_ssthresh(const TcpSock& tp);
void tcp_init_cwnd_reduction(TcpSock& tp);
void tcp_cwnd_reduction(TcpSock& tp, std::int32_t newly_acked_sacked, std::uint32_t newly_lost, std::uint32_t flag);
void tcp_end_cwnd_reduction(Kernel& k, TcpSock& tp);

// net/ipv4/tcp_recovery.c
bool tcp_rack_mark_lost(Kernel& k, SocketIndex sk);
void tcp_rack_advance(TcpSock& tp, std::uint8_t sacked, std::uint32_t end_seq, SimTime xmit_time);
void tcp_rack_reo_timeout(Kernel& k, SocketIndex sk);

// net/ipv4/tcp_output.c
void tcp_connect(Kernel& k, SocketIndex sk);
int __tcp_transmit_skb(Kernel& k, SocketIndex sk, SkbIndex skb, bool clone_it, std::uint32_t rcv_nxt);
int tcp_transmit_skb(Kernel& k, SocketIndex sk, SkbIndex skb, bool clone_it);
bool tcp_write_xmit(Kernel& k, SocketIndex sk, std::uint32_t mss_now, int nonagle, int push_one);
void __tcp_push_pending_frames(Kernel& k, SocketIndex sk, std::uint32_t cur_mss, int nonagle);
void tcp_push_pending_frames(Kernel& k, SocketIndex sk);
void tcp_push_one(Kernel& k, SocketIndex sk, std::uint32_t mss_now);
void tcp_send_ack(Kernel& k, SocketIndex sk);
void tcp_send_delayed_ack(Kernel& k, SocketIndex sk);
/// What compression has held back of selective ACKs goes now, in one.
void tcp_sack_compress_send_ack(Kernel& k, SocketIndex sk);
void tcp_send_fin(Kernel& k, SocketIndex sk);
void tcp_send_active_reset(Kernel& k, SocketIndex sk);
void tcp_send_loss_probe(Kernel& k, SocketIndex sk);
void tcp_send_probe0(Kernel& k, SocketIndex sk);
bool tcp_schedule_loss_probe(Kernel& k, SocketIndex sk, bool advancing_rto);
int tcp_retransmit_skb(Kernel& k, SocketIndex sk, SkbIndex skb, std::uint32_t segs);
void tcp_xmit_retransmit_queue(Kernel& k, SocketIndex sk);
std::uint32_t tcp_current_mss(Kernel& k, SocketIndex sk);
std::uint32_t tcp_sync_mss(Kernel& k, SocketIndex sk);
std::uint32_t __tcp_select_window(Kernel& k, SocketIndex sk);
void tcp_select_initial_window(Kernel& k, NetIndex net, std::int64_t space, std::uint32_t mss, std::uint32_t& rcv_wnd, std::uint32_t& window_clamp,
                               bool wscale_ok, std::uint8_t& rcv_wscale);
SkbIndex tcp_make_synack(Kernel& k, std::int32_t request);
void tcp_release_cb(Kernel& k, SocketIndex sk);
void tcp_update_pacing_rate(Kernel& k, SocketIndex sk);
void tcp_set_skb_tso_segs(TcpCb& cb, std::uint32_t len, std::uint32_t mss_now);
[[nodiscard]] std::uint32_t tcp_skb_payload(Kernel& k, SkbIndex skb);
void tcp_slow_start_after_idle_check(Kernel& k, SocketIndex sk);
void tcp_rearm_xmit_timer(Kernel& k, SocketIndex sk, TcpTimer what, std::uint32_t when);
void tcp_trim_acked(Kernel& k, SocketIndex sk, SkbIndex skb, std::uint32_t bytes);

// net/ipv4/tcp_timer.c
void tcp_write_timer_handler(Kernel& k, SocketIndex sk);
void tcp_delack_timer_handler(Kernel& k, SocketIndex sk);
void tcp_reset_keepalive_timer(Kernel& k, SocketIndex sk, std::uint32_t in_jiffies);

// net/ipv4/ip_output.c
/// A TCP segment that answers `skb`, on nobody's account.
void ip_send_unicast_reply(Kernel& k, NetIndex net, SkbIndex skb, std::uint32_t daddr, std::uint32_t saddr, std::span<const std::uint8_t> segment);

// net/ipv4/syncookies.c
/// The SYN-ACK's sequence number bears the MSS (which becomes one of four) and proves that it was ours.
void cookie_init_sequence(Kernel& k, SocketIndex listener, TcpRequest& req, PacketId syn);
/// The request that a cookie stands for is not remembered, so no timer runs for it.
[[nodiscard]] inline bool is_cookie(const TcpRequest& req) { return req.timeout == 0; }
/// The latest timestamp up to `ts_now` whose lowest bits are the options that a SYN brought.
[[nodiscard]] std::uint32_t cookie_init_timestamp(Kernel& k, const TcpRequest& req, std::uint32_t ts_now, PacketId syn_ack);
/// An ACK for a listener. A child in its accept queue; the listener itself: this is no cookie; nothing: one, but there is no room.
[[nodiscard]] SocketIndex cookie_v4_check(Kernel& k, SocketIndex listener, SkbIndex skb);

// net/ipv4/tcp_minisocks.c
void tcp_time_wait(Kernel& k, SocketIndex sk, TcpState state, std::uint32_t timeo);
enum class TcpTwStatus : std::uint8_t { success, rst, ack, syn };
TcpTwStatus tcp_timewait_state_process(Kernel& k, std::int32_t timewait, SkbIndex skb, const TcpHeader& th);
void inet_twsk_kill(Kernel& k, std::int32_t timewait);
SocketIndex tcp_check_req(Kernel& k, SocketIndex listener, SkbIndex skb, std::int32_t request);
bool tcp_child_process(Kernel& k, SocketIndex parent, SocketIndex child, SkbIndex skb); ///< true: answer with a RST
SocketIndex tcp_create_openreq_child(Kernel& k, SocketIndex listener, std::int32_t request, SkbIndex skb);
[[nodiscard]] TcpTimewait& tcp_timewait(Kernel& k, std::int32_t row);

} // namespace skbscope::kernel
