#pragma once
// What the files that net/ipv4/tcp_input.c is cut into (tcp_input, tcp_ack, tcp_loss, tcp_rcv_queue, tcp_rcv_window, tcp_state)
// need of each other and nobody else calls. What others call is in tcp_functions.h.

#include "core/kernel/tcp_functions.h"

namespace skbscope::kernel {

// tcp_input.cpp
[[nodiscard]] inline std::uint32_t skb_segs(Kernel& k, SkbIndex skb) { return std::max<std::uint32_t>(1, k.skb(skb).gso_segs); }
/// pred_flags: data offset, ACK, and the window, as the three 16-bit words of the header would hold them.
void tcp_fast_path_on(TcpSock& tp);
void tcp_store_ts_recent(Kernel& k, TcpSock& tp);
void tcp_replace_ts_recent(Kernel& k, TcpSock& tp, std::uint32_t seq);
void tcp_send_challenge_ack(Kernel& k, SocketIndex sk);
/// False: dropped here.
bool tcp_validate_incoming(Kernel& k, SocketIndex sk, SkbIndex skb, const TcpHeader& th, bool syn_inerr);
/// Of a negative result of tcp_ack().
[[nodiscard]] inline DropReasonId ack_reason(int result) { return result == -1 ? drop::TCP_TOO_OLD_ACK : drop::TCP_ACK_UNSENT_DATA; }
void tcp_data_snd_check(Kernel& k, SocketIndex sk, PacketId cause);

// tcp_ack.cpp
/// 1: acceptable; 0: an old one; -1, -2: dropped for one of two reasons.
int tcp_ack(Kernel& k, SocketIndex sk, SkbIndex skb, std::uint32_t flag);

// tcp_loss.cpp
void tcp_try_keep_open(Kernel& k, TcpSock& tp);
enum class Rexmit : std::uint8_t { none, lost, fresh };
void tcp_fastretrans_alert(Kernel& k, SocketIndex sk, std::uint32_t num_dupack, std::uint32_t& flag, Rexmit& rexmit);

// tcp_rcv_queue.cpp
void tcp_dsack_set(Kernel& k, SocketIndex sk, std::uint32_t start, std::uint32_t end);
/// True: eaten by the last skb of the queue.
bool tcp_queue_rcv(Kernel& k, SocketIndex sk, SkbIndex skb, bool& stolen);
void tcp_data_queue(Kernel& k, SocketIndex sk, SkbIndex skb);

// tcp_rcv_window.cpp
void tcp_rcv_rtt_measure_ts(Kernel& k, TcpSock& tp, SkbIndex skb);
void tcp_grow_window(Kernel& k, SocketIndex sk, SkbIndex skb, bool adjust);
void tcp_event_data_recv(Kernel& k, SocketIndex sk, SkbIndex skb);
void __tcp_ack_snd_check(Kernel& k, SocketIndex sk, bool ofo_possible);
void tcp_ack_snd_check(Kernel& k, SocketIndex sk);

} // namespace skbscope::kernel
