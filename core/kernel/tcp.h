#pragma once
// What struct tcp_sock, inet_connection_sock, request_sock and inet_timewait_sock hold (include/linux/tcp.h,
// include/net/inet_connection_sock.h, include/net/tcp.h), as plain values inside the World. Socket::tcp is the row of a
// connection's TcpSock; requests and time-wait sockets have tables of their own, as in the kernel, and all three are
// found through one hash of established flows.

#include "core/catalog/ids.h"
#include "core/trace/time.h"
#include "core/trace/trace.h"

#include <array>
#include <compare>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <vector>

namespace skbscope::kernel {

/// include/net/tcp_states.h
enum class TcpState : std::uint8_t {
    none, established, syn_sent, syn_recv, fin_wait1, fin_wait2, time_wait, close, close_wait, last_ack, listen, closing, new_syn_recv
};

/// include/net/tcp.h: sequence numbers wrap.
[[nodiscard]] constexpr bool before(std::uint32_t a, std::uint32_t b) { return static_cast<std::int32_t>(a - b) < 0; }
[[nodiscard]] constexpr bool after(std::uint32_t a, std::uint32_t b) { return before(b, a); }
/// low <= x <= high
[[nodiscard]] constexpr bool between(std::uint32_t x, std::uint32_t low, std::uint32_t high) { return high - low >= x - low; }

namespace tcphdr {
inline constexpr std::uint8_t fin = 0x01, syn = 0x02, rst = 0x04, psh = 0x08, ack = 0x10, urg = 0x20, ece = 0x40, cwr = 0x80;
}

/// TCPCB_*: what the scoreboard knows of a sent segment.
namespace tcpcb {
inline constexpr std::uint8_t sacked_acked = 0x01, sacked_retrans = 0x02, lost = 0x04, ever_retrans = 0x80;
inline constexpr std::uint8_t retrans = sacked_retrans | ever_retrans, tagbits = 0x07;
}

/// struct tcp_skb_cb, and what of skb_shinfo() TCP needs.
struct TcpCb {
    std::uint32_t seq = 0, end_seq = 0; ///< SYN and FIN count one each
    std::uint32_t ack_seq = 0;
    std::uint32_t isn = 0;        ///< tcp_tw_isn: for a SYN that takes over a time-wait socket
    std::uint16_t segs = 0;       ///< tcp_gso_segs: packets on the wire, 0: not counted yet
    std::uint16_t mss = 0;        ///< tcp_gso_size
    std::uint8_t flags = 0;       ///< tcphdr
    std::uint8_t sacked = 0;      ///< tcpcb; on a received segment: it bears a SACK option
    bool fast_clone_queued = false; ///< its clone has not come back from the device yet
    SimTime sent;                 ///< skb_mstamp_ns
};

struct TcpSackBlock {
    std::uint32_t start = 0, end = 0;
    bool operator==(const TcpSackBlock&) const = default;
};

/// struct tcp_options_received
struct TcpOptions {
    std::uint32_t ts_recent = 0, rcv_tsval = 0, rcv_tsecr = 0;
    std::int64_t ts_recent_stamp = 0; ///< seconds; 0: never
    bool saw_tstamp = false, tstamp_ok = false, dsack = false, wscale_ok = false, sack_ok = false;
    std::uint8_t snd_wscale = 0, rcv_wscale = 0, num_sacks = 0;
    std::uint16_t mss_clamp = 536, user_mss = 0;
};

/// TCP_CA_*
enum class TcpCaState : std::uint8_t { open, disorder, cwr, recovery, loss };
/// ICSK_TIME_*
enum class TcpTimer : std::uint8_t { none, retrans, probe0, loss_probe, reo_timeout };

/// A flow, seen from here. Addresses and ports in host order.
struct TcpFlow {
    std::uint32_t net = 0;
    std::uint32_t saddr = 0, daddr = 0; ///< ours, theirs
    std::uint16_t sport = 0, dport = 0;
    auto operator<=>(const TcpFlow&) const = default;
};

/// One entry of the established hash.
struct TcpEhash {
    enum class Kind : std::uint8_t { socket, request, timewait } kind = Kind::socket;
    std::int32_t row = -1; ///< of World::sockets, tcp.requests or tcp.timewaits
};

/// struct request_sock: a handshake that the listener has answered and not seen the end of.
struct TcpRequest {
    bool in_use = false;
    TcpFlow flow;
    std::int32_t listener = -1;
    std::uint32_t rcv_isn = 0, snt_isn = 0, rcv_nxt = 0, ts_recent = 0, ts_off = 0, rsk_rcv_wnd = 0, window_clamp = 0;
    std::uint16_t mss = 536;
    std::uint8_t snd_wscale = 0, rcv_wscale = 0;
    bool wscale_ok = false, tstamp_ok = false, sack_ok = false, acked = false;
    std::uint8_t num_timeout = 0, num_retrans = 0;
    std::uint32_t timeout = 250; ///< jiffies
    SimTime snt_synack;
    std::uint64_t timer = 0; ///< generation; 0: none
    std::uint32_t last_oow_ack_time = 0;
};

/// struct inet_timewait_sock
struct TcpTimewait {
    bool in_use = false;
    TcpFlow flow;
    TcpState substate = TcpState::time_wait;
    std::uint32_t rcv_nxt = 0, snd_nxt = 0, rcv_wnd = 0, ts_recent = 0, ts_offset = 0;
    std::int64_t ts_recent_stamp = 0;
    std::uint8_t rcv_wscale = 0;
    std::uint64_t timer = 0;
    std::uint32_t last_oow_ack_time = 0;
};

struct TcpSock {
    bool in_use = false;
    TcpState state = TcpState::close;
    std::int32_t socket = -1; ///< row of World::sockets

    // struct sock
    bool owned = false;        ///< sk_lock.owned: a task is inside a call of this socket
    SimTime unlocked;          ///< when the last holder of sk_lock let it go
    bool dead = false;         ///< SOCK_DEAD: no application has it any more
    bool done = false;         ///< SOCK_DONE
    bool nospace = false;      ///< SOCK_NOSPACE: a writer waits
    bool sndbuf_locked = false, rcvbuf_locked = false;
    std::uint8_t shutdown = 0; ///< 1: receive, 2: send
    int sk_err = 0;
    std::deque<std::int32_t> backlog;
    std::uint32_t backlog_len = 0;          ///< truesize
    std::deque<std::int32_t> write_queue;   ///< not sent yet
    std::deque<std::int32_t> rtx_queue;     ///< sent, not acknowledged; by sequence
    std::deque<std::int32_t> ofo_queue;     ///< out_of_order_queue; by sequence
    std::uint32_t sk_wmem_queued = 0;
    std::uint32_t sk_forward_alloc = 0; ///< bytes reserved and not used
    std::uint64_t pacing_rate = ~std::uint64_t{0}; ///< bytes a second
    std::uint32_t gso_max_size = 65536, gso_max_segs = 65535;
    bool tsq_throttled = false, tsq_queued = false;
    bool ack_deferred = false; ///< 6.12, TCP_ACK_DEFERRED: one ACK for the whole backlog
    bool tsq_deferred = false, write_timer_deferred = false, delack_timer_deferred = false;
    std::uint32_t page_frag_left = 0; ///< of the task's page_frag
    QueueId write_queue_id{}, backlog_id{}, ofo_id{};

    // struct tcp_sock
    TcpOptions rx_opt;
    std::uint16_t tcp_header_len = 20;
    std::uint32_t pred_flags = 0;
    std::uint32_t rcv_nxt = 0, copied_seq = 0, rcv_wup = 0, rcv_wnd = 0;
    std::uint32_t snd_nxt = 0, snd_una = 0, snd_sml = 0, write_seq = 0, pushed_seq = 0, snd_wl1 = 0, snd_wnd = 0, max_window = 0;
    std::uint32_t mss_cache = 536, advmss = 536, window_clamp = 0, rcv_ssthresh = 0;
    std::uint8_t scaling_ratio = 128; ///< 6.12: of 256
    std::array<TcpSackBlock, 4> selective_acks{};
    TcpSackBlock duplicate_sack;
    std::uint32_t tsoffset = 0;
    bool nonagle_off = false; ///< TCP_NODELAY
    std::uint64_t bytes_acked = 0, bytes_received = 0;
    SimTime mstamp, wstamp; ///< tcp_mstamp, tcp_wstamp_ns

    // round trips
    std::uint32_t srtt_us = 0, mdev_us = 0, mdev_max_us = 0, rttvar_us = 0, rtt_seq = 0; ///< srtt << 3, mdev << 2
    std::uint32_t min_rtt_us = ~std::uint32_t{0};
    SimTime min_rtt_stamp;
    std::uint32_t rcv_rtt_us = 0, rcv_rtt_last_tsecr = 0;
    std::uint32_t rcvq_space = 0, rcvq_seq = 0;
    SimTime rcvq_time;
    std::uint32_t rcv_tstamp = 0, lsndtime = 0; ///< jiffies

    // congestion
    std::uint32_t snd_cwnd = 10, snd_ssthresh = 0x7fffffff, snd_cwnd_cnt = 0, snd_cwnd_used = 0, snd_cwnd_stamp = 0;
    std::uint32_t prior_ssthresh = 0, prior_cwnd = 0, prr_delivered = 0, prr_out = 0;
    std::uint32_t max_packets_out = 0, cwnd_usage_seq = 0;
    bool is_cwnd_limited = false;
    std::uint32_t packets_out = 0, sacked_out = 0, lost_out = 0, retrans_out = 0, delivered = 0, lost = 0;
    std::uint32_t reordering = 3, high_seq = 0, undo_marker = 0, retrans_stamp = 0, total_retrans = 0;
    std::int32_t undo_retrans = 0;
    bool frto = false, reord_seen = false;
    std::uint32_t tlp_high_seq = 0;
    bool tlp_retrans = false;
    SimTime rack_mstamp;
    std::uint32_t rack_rtt_us = 0, rack_end_seq = 0;
    bool rack_advanced = false;
    TcpCaState ca_state = TcpCaState::open;

    // struct inet_connection_sock; times in jiffies
    std::uint32_t rto = 250;
    TcpTimer pending = TcpTimer::none;
    std::uint32_t timeout = 0;
    std::uint64_t write_timer = 0, delack_timer = 0, keepalive_timer = 0, compressed_ack_timer = 0; ///< generations; 0: none
    std::uint8_t retransmits = 0, backoff = 0, probes_out = 0, syn_retries = 0;
    struct Ack {
        std::uint8_t pending = 0; ///< ICSK_ACK_*
        std::uint8_t quick = 0;
        std::uint8_t pingpong = 0;
        std::uint32_t ato = 0, lrcvtime = 0, timeout = 0;
        std::uint32_t last_seg_size = 0, rcv_mss = 536;
    } ack;
    std::uint32_t dup_ack_counter = 0, compressed_ack = 0, compressed_ack_rcv_nxt = 0;
    std::uint32_t last_oow_ack_time = 0;

    // of a listener
    std::deque<std::int32_t> accept_queue; ///< sockets whose handshake is over
    std::uint32_t max_ack_backlog = 0;
    std::uint32_t qlen = 0, young = 0;     ///< requests
    std::int64_t synq_overflow_ts = 0;     ///< jiffies of the last SYN that was answered with a cookie; 0: none
    std::int32_t parent = -1;              ///< of a child in the accept queue: its listener
};

/// All of TCP that is not a socket.
struct TcpTables {
    std::deque<TcpSock> socks; ///< deques: rows keep their address while others are added
    std::vector<std::int32_t> free_socks;
    std::deque<TcpRequest> requests;
    std::vector<std::int32_t> free_requests;
    std::deque<TcpTimewait> timewaits;
    std::vector<std::int32_t> free_timewaits;
    std::map<TcpFlow, TcpEhash> ehash;
    std::map<std::uint32_t, std::int32_t> control; ///< by CPU row: the socket that RSTs and bare answers leave by
    std::map<std::pair<std::uint32_t, std::uint16_t>, std::vector<std::int32_t>> bound;  ///< (net, port): sockets
    std::map<std::pair<std::uint32_t, std::uint16_t>, std::vector<std::int32_t>> listen; ///< lhash2
};

} // namespace skbscope::kernel
