#pragma once
// What the files that net/ipv4/tcp_output.c is cut into (tcp_output, tcp_segment, tcp_retransmit) need of each other; of the
// others tcp_ack.cpp alone cuts segments. What others call is in tcp_functions.h.

#include "core/kernel/tcp_functions.h"

namespace skbscope::kernel {

// tcp_output.cpp
bool tcp_snd_wnd_test(Kernel& k, const TcpSock& tp, SkbIndex skb, std::uint32_t cur_mss);
std::uint32_t tcp_tso_segs(Kernel& k, SocketIndex sk, std::uint32_t mss_now);
/// True: enough of this connection waits in qdisc and device.
bool tcp_small_queue_check(Kernel& k, SocketIndex sk, SkbIndex skb, unsigned factor);
void tcp_event_new_data_sent(Kernel& k, SocketIndex sk, SkbIndex skb);

// tcp_segment.cpp
void tcp_init_nondata_skb(Kernel& k, SkbIndex skb, std::uint32_t seq, std::uint8_t flags);
struct SynOptions {
    std::uint16_t mss = 0;
    bool tstamp = false, sack = false, wscale = false;
    std::uint32_t tsval = 0, tsecr = 0;
    std::uint8_t shift = 0;
};
/// tcp_options_write() for a SYN or SYN-ACK: MSS, SACK permitted with the timestamps, window scale.
std::vector<std::uint8_t> syn_options(const SynOptions& opt);
std::vector<std::uint8_t> established_options(TcpSock& tp, SimTime sent);
void write_header(Kernel& k, SkbIndex skb, const TcpFlow& flow, std::uint32_t ack, std::uint16_t window, std::uint8_t flags,
                  std::span<const std::uint8_t> options);
/// How many packets a queued skb is: at least one.
[[nodiscard]] inline std::uint32_t tcp_skb_pcount(Kernel& k, SkbIndex skb) { return tcp_cb(k, skb).segs; }
std::uint32_t tcp_init_tso_segs(Kernel& k, SkbIndex skb, std::uint32_t mss_now);
void tso_fragment(Kernel& k, SocketIndex sk, SkbIndex skb, std::uint32_t len, std::uint32_t mss_now);
/// For the retransmit queue, where the counts of what is out follow.
void tcp_fragment(Kernel& k, SocketIndex sk, SkbIndex skb, std::uint32_t len, std::uint32_t mss_now, bool in_rtx_queue);

} // namespace skbscope::kernel
