#pragma once
// The modelled kernel functions that are called from another file, grouped by the file of the real kernel they live in.
// Each does what its namesake does; source and what it does stand in the catalog. An skb that a function takes over
// belongs to it: it is queued, handed on or freed there.

#include "core/kernel/kernel.h"

#include <optional>
#include <vector>

namespace skbscope::kernel {

using SkbList = SmallList<SkbIndex, 8>;

/// "PKT00042": what a generated datagram's payload begins with, as far as it fits.
void write_ordinal(std::span<std::uint8_t> payload, std::uint64_t ordinal);

// kernel/irq/chip.c, kernel/irq/handle.c, kernel/softirq.c
void handle_interrupt(Kernel& k, const PendingIrq& irq); ///< from the vector to irq_exit_rcu
void irq_exit_rcu(Kernel& k, Context interrupted);        ///< softirqs that may run here are begun: step_softirq() goes on with them
void raise_softirq_irqoff(Kernel& k, std::uint8_t vector);
void __raise_softirq_irqoff(Kernel& k, std::uint8_t vector);
void local_bh_disable(Kernel& k);
void local_bh_enable(Kernel& k); ///< runs what became pending, in the calling task
void step_softirq(Kernel& k);    ///< one quantum of this CPU's softirq run
void run_ksoftirqd(Kernel& k);   ///< begins a run in the thread

// kernel/time/timer.c, kernel/time/hrtimer.c
/// Arms a timer. Whoever arms it remembers the generation that comes back; forgetting it is del_timer().
std::uint64_t mod_timer(Kernel& k, TimerKind kind, std::uint32_t cpu_row, std::int32_t index, SimTime at, std::uint64_t argument = 0);
void timer_expires(Kernel& k, const DeviceEvent& event);
void run_hrtimers(Kernel& k);
void run_timer_softirq(Kernel& k);
void hrtimer_run_softirq(Kernel& k);
/// A timer that nobody waits for (an entry that only ages, a deleted one): it does not keep a run going.
[[nodiscard]] bool is_background(const World& world, const DeviceEvent& event);

// include/linux/netdevice.h: what enqueueing, and some drivers, answer
inline constexpr int NET_XMIT_SUCCESS = 0, NET_XMIT_DROP = 1, NET_XMIT_CN = 2, NET_XMIT_MASK = 0x0f;

// net/core/dev.c
void rps_trigger_softirq(Kernel& k, NapiIndex backlog);
bool napi_schedule_prep(Kernel& k, NapiIndex napi);
void __napi_schedule(Kernel& k, NapiIndex napi);
void ____napi_schedule(Kernel& k, NapiIndex napi);
bool napi_complete_done(Kernel& k, NapiIndex napi, std::uint32_t work_done);
void napi_watchdog(Kernel& k, NapiIndex napi, std::uint64_t generation);
/// RFS: who reads this flow, and where (include/net/sock.h).
void sock_rps_save_rxhash(Kernel& k, SocketIndex sk, SkbIndex skb);
void sock_rps_record_flow(Kernel& k, SocketIndex sk);
void begin_net_rx_action(Kernel& k, SoftirqRun& run);
void step_net_rx_action(Kernel& k, SoftirqRun& run); ///< sets run.phase to pick when done
void net_tx_action(Kernel& k);
void netif_receive_skb_list_internal(Kernel& k, SkbList list);
void __netif_receive_skb(Kernel& k, SkbIndex skb);
/// NET_RX_SUCCESS (0), or NET_RX_DROP (1) with the skb gone. netif_rx() in 5.10.
int __netif_rx(Kernel& k, SkbIndex skb);
int dev_queue_xmit(Kernel& k, SkbIndex skb);
/// 0 NETDEV_TX_OK (the skb is the driver's), 16 NETDEV_TX_BUSY.
/// Takes what it sends off the front of the list; what is left at NETDEV_TX_BUSY is the caller's still.
int dev_hard_start_xmit(Kernel& k, SkbList& list, DeviceIndex device, std::uint32_t tx_queue);
void netif_tx_stop_queue(Kernel& k, DeviceIndex device, std::uint32_t queue, PacketId packet);
void netif_tx_wake_queue(Kernel& k, DeviceIndex device, std::uint32_t queue);
void netdev_tx_sent_queue(Kernel& k, DeviceIndex device, std::uint32_t queue, std::uint32_t bytes, PacketId packet);
void netdev_tx_completed_queue(Kernel& k, DeviceIndex device, std::uint32_t queue, std::uint32_t packets, std::uint32_t bytes);
/// netif_xmit_frozen_or_stopped(): the driver or BQL holds the queue back; a qdisc keeps its packets.
[[nodiscard]] bool netif_xmit_stopped(Kernel& k, DeviceIndex device, std::uint32_t queue = 0);
void __netif_schedule(Kernel& k, QdiscIndex qdisc);
SkbList validate_xmit_skb_list(Kernel& k, SkbList list, DeviceIndex device);

// net/core/flow_dissector.c
/// Computes it where nobody has (skb_get_hash); 0: nothing that has a flow.
std::uint32_t skb_get_hash(Kernel& k, SkbIndex skb);

// net/core/gro.c
/// A bucket of held skbs. A protocol's gro_receive looks for its flow in it, sets same_flow, flush and flush_id, and
/// returns the held skb that is to be completed now, or nothing.
using GroList = std::vector<SkbIndex>;
/// Appends the bytes of `skb` from its GRO offset on to the held `p`. 0, or a negative errno: it does not fit.
int skb_gro_receive(Kernel& k, SkbIndex p, SkbIndex skb);
/// The packet's bytes from the GRO offset on.
[[nodiscard]] std::span<const std::uint8_t> skb_gro_data(Kernel& k, SkbIndex skb);
void napi_gro_receive(Kernel& k, NapiIndex napi, SkbIndex skb);
void gro_normal_list(Kernel& k, NapiIndex napi);
void napi_gro_flush(Kernel& k, NapiIndex napi, bool flush_old = false); ///< completes all that is held, or what is older than this jiffy

// net/core/skbuff.c
SkbIndex new_skb(Kernel& k, PacketId packet, std::uint32_t buffer_size, std::uint32_t truesize);
SkbIndex __alloc_skb(Kernel& k, PacketId packet, std::uint32_t size);
SkbIndex __napi_alloc_skb(Kernel& k, PacketId packet, std::uint32_t size, DeviceIndex device);
SkbIndex napi_build_skb(Kernel& k, PacketId packet, std::uint32_t frag_size);
SkbIndex skb_clone(Kernel& k, SkbIndex skb, FunctionId by);
/// include/linux/skbuff.h: whoever changes the skb must be its only owner. If it is not, the packet goes on as a clone.
SkbIndex skb_share_check(Kernel& k, SkbIndex skb, FunctionId by);
void skb_reserve(Kernel& k, SkbIndex skb, std::uint32_t bytes);
std::uint8_t* skb_put(Kernel& k, SkbIndex skb, std::uint32_t bytes);
std::uint8_t* skb_push(Kernel& k, SkbIndex skb, std::uint32_t bytes);
void skb_pull(Kernel& k, SkbIndex skb, std::uint32_t bytes);
void skb_trim(Kernel& k, SkbIndex skb, std::uint32_t length);
/// So many paged bytes become linear ones; the head of one that has a clone is copied first. At most data_len.
void __pskb_pull_tail(Kernel& k, SkbIndex skb, std::uint32_t bytes);
/// include/linux/tcp.h: from the MAC header to the end of the TCP header; 0 if there is no TCP header.
[[nodiscard]] std::uint32_t skb_tcp_all_headers(Kernel& k, SkbIndex skb);
void set_mac_header(Kernel& k, SkbIndex skb);
void set_network_header(Kernel& k, SkbIndex skb);
void set_transport_header(Kernel& k, SkbIndex skb, std::uint32_t behind_network);
/// Linear bytes from data on.
[[nodiscard]] inline std::span<const std::uint8_t> skb_data(Kernel& k, SkbIndex index)
{
    const SkBuff& skb = k.skb(index);
    return skb.head.bytes().subspan(skb.data, skb.tail - skb.data);
}
/// … from the network header on.
[[nodiscard]] inline std::span<const std::uint8_t> skb_network(Kernel& k, SkbIndex index)
{
    const SkBuff& skb = k.skb(index);
    return skb.head.bytes().subspan(skb.network_header, skb.tail - skb.network_header);
}
/// The same to write to: of its own, where clones shared them (skb_cow, skb_ensure_writable).
[[nodiscard]] std::span<std::uint8_t> skb_data_writable(Kernel& k, SkbIndex skb);
[[nodiscard]] std::span<std::uint8_t> skb_network_writable(Kernel& k, SkbIndex skb);
SkbIndex skb_get(Kernel& k, SkbIndex skb); ///< one reference more
void set_dst(Kernel& k, SkbIndex skb, const Destination& dst);
void skb_dst_drop(Kernel& k, SkbIndex skb);
/// Into another device, perhaps of another namespace: what belongs to the old place goes.
void skb_scrub_packet(Kernel& k, SkbIndex skb);
void set_device(Kernel& k, SkbIndex skb, DeviceIndex device);
void kfree_skb_reason(Kernel& k, SkbIndex skb, DropReasonId reason, FunctionId by);
/// kfree_skb() by one who only held it besides: no drop, unless nobody else said what became of the packet.
void kfree_skb_held(Kernel& k, SkbIndex skb, FunctionId by);
/// 6.12: sk_skb_reason_drop() with SKB_CONSUMED, a normal end by the name of a drop.
void sk_skb_reason_drop_consumed(Kernel& k, SkbIndex skb, FunctionId by);
/// One of a list that kfree_skb_list_reason() drops on 6.12: without a call of its own.
void kfree_skb_bulk(Kernel& k, SkbIndex skb, DropReasonId reason, FunctionId by);
void consume_skb(Kernel& k, SkbIndex skb, FunctionId by);
void __kfree_skb(Kernel& k, SkbIndex skb, FunctionId by); ///< a normal end, without a look at the references
/// `budget` 0: not in a NAPI poll, so it ends in consume_skb, or is left to NET_TX in a hard interrupt.
void napi_consume_skb(Kernel& k, SkbIndex skb, FunctionId by, int budget = 64);
/// Its data belongs to another packet now. `shell_left`: the empty sk_buff is freed; else it hangs on in a frag_list.
void skb_merged(Kernel& k, SkbIndex skb, FunctionId by, bool shell_left);
/// A normal end from any context; a hard interrupt leaves it to NET_TX.
void dev_consume_skb_any(Kernel& k, SkbIndex skb, FunctionId by);
/// What 5.10's drivers end sent packets with: it looks like a drop (kfree_skb) and is none.
void dev_kfree_skb_any(Kernel& k, SkbIndex skb, FunctionId by);
/// The skb's contents now belong to another one; only its shell is freed.
void kfree_skb_partial(Kernel& k, SkbIndex skb, FunctionId by);
/// `skb` keeps its place and its packet, and takes over the contents of `from` (which stays, sharing them).
void skb_morph(Kernel& k, SkbIndex skb, SkbIndex from);
/// The packet's verdict, if it has none yet, and its end.
void __kfree_skb(Kernel& k, SkbIndex skb, Verdict verdict, FunctionId by);
/// Of an skb whose bytes another one has taken over: the rest of it, too, unless that took the head as it is.
void kfree_skb_partial(Kernel& k, SkbIndex skb, bool head_stolen, FunctionId by);
/// Back to the CPU that allocated it, which frees it in its next receive softirq (not in 5.10). A normal end.
void skb_attempt_defer_free(Kernel& k, SkbIndex skb);
void __consume_stateless_skb(Kernel& k, SkbIndex skb, FunctionId by);
void skb_orphan(Kernel& k, SkbIndex skb);
/// The checksum that the stack had left to the device, in software.
void finish_checksum(Kernel& k, SkbIndex skb);
/// The sent frame's bytes become the packet's frame in the trace, as they are now.
void keep_frame(Kernel& k, SkbIndex skb);

// net/core/sock.c, net/core/filter.c, net/socket.c, net/ipv4/af_inet.c
SkbIndex sock_alloc_send_skb(Kernel& k, SocketIndex sk, std::uint32_t size, std::uint32_t paged, std::uint64_t call_sequence);
void sock_def_readable(Kernel& k, SocketIndex sk, PacketId cause);
void sock_wfree(Kernel& k, SkbIndex skb);
void sock_rfree(Kernel& k, SkbIndex skb);
void skb_set_owner_r(Kernel& k, SkbIndex skb, SocketIndex sk);
/// False: the socket's filter refuses the packet. Else it may have cut it to what it keeps, never below `cap` bytes.
bool sk_filter_trim_cap(Kernel& k, SocketIndex sk, SkbIndex skb, std::uint32_t cap = 1);
BpfPacket bpf_packet(Kernel& k, SkbIndex skb); ///< what a filter may look at; good until the skb changes
void sock_def_error_report(Kernel& k, SocketIndex sk, PacketId cause); ///< sk_err is set: wakes who waits
void name_socket_queue(Kernel& k, SocketIndex sk);                     ///< its receive queue gets a name in the trace, once it has a port
void __sock_wfree(Kernel& k, SkbIndex skb);
SocketIndex sys_socket(Kernel& k, SocketKind kind, bool inet6 = false); ///< in the current task's namespace
int sys_bind(Kernel& k, SocketIndex sk, std::uint32_t address, std::uint16_t port);
int sys_connect(Kernel& k, SocketIndex sk, std::uint32_t address, std::uint16_t port);
void sys_setsockopt_rcvbuf(Kernel& k, SocketIndex sk, std::int64_t value);
/// Bytes sent, or a negative errno.
int __sys_sendto(Kernel& k, SocketIndex sk, std::span<const std::uint8_t> payload, std::uint32_t address, std::uint16_t port);
/// Takes one datagram or, with `may_block`, leaves the task asleep inside the call (then false).
bool __sys_recvfrom(Kernel& k, std::int32_t task, bool may_block);
void wake_up(Kernel& k, std::int32_t task, PacketId cause);
/// recvmsg() on a raw or ping socket: the message; or -EAGAIN, the task asleep inside the call; or the socket's error.
std::optional<std::vector<std::uint8_t>> __sys_recvmsg(Kernel& k, std::int32_t task, int& error);
void wakeup_softirqd(Kernel& k);

// net/ipv4/ip_input.c
void ip_rcv(Kernel& k, SkbIndex skb);
void ip_list_rcv(Kernel& k, SkbList list);
void ip_local_deliver(Kernel& k, SkbIndex skb);
void ip_local_deliver_finish(Kernel& k, SkbIndex skb); ///< what LOCAL_IN goes on with
void ip_rcv_finish(Kernel& k, SkbIndex skb);           ///< what PRE_ROUTING goes on with
void ip_protocol_deliver_rcu(Kernel& k, SkbIndex skb, std::uint8_t protocol);
void dst_input(Kernel& k, SkbIndex skb);               ///< what routing chose for a received packet

/// struct net_protocol: who takes an IP protocol, and who hears of its ICMP errors. The handler returns 0, or minus the
/// protocol to go on with. The error handler gets the ICMP packet with data at the IP header it quotes.
struct NetProtocol {
    std::uint8_t protocol;
    int (*handler)(Kernel&, SkbIndex);
    void (*err_handler)(Kernel&, SkbIndex, std::uint32_t info);
    bool no_policy;
    bool icmp_strict_tag_validation;
};
[[nodiscard]] const NetProtocol* inet_protos(std::uint8_t protocol); ///< null: nobody

// net/ipv4/ip_forward.c, net/ipv4/ip_options.c
void ip_forward(Kernel& k, SkbIndex skb);
void ip_forward_finish(Kernel& k, SkbIndex skb); ///< what FORWARD goes on with
/// False: the options are bad; `pointer` says at which byte of the header.
bool __ip_options_compile(Kernel& k, SkbIndex skb, std::uint8_t& pointer);
bool ip_options_compile(Kernel& k, SkbIndex skb);
bool ip_options_rcv_srr(Kernel& k, SkbIndex skb, DeviceIndex device);
void ip_forward_options(Kernel& k, SkbIndex skb);
/// The options that an answer carries back (bytes behind the header, padded to four). False: there is no answer to make.
bool ip_options_echo(Kernel& k, SkbIndex skb, std::vector<std::uint8_t>& options);

// net/ipv4/ip_output.c. Errors are negative errno; the skb is gone in any case.
int dst_output(Kernel& k, SkbIndex skb); ///< what LOCAL_OUT goes on with
int ip_output(Kernel& k, SkbIndex skb);
int ip_mc_output(Kernel& k, SkbIndex skb);
int ip_finish_output(Kernel& k, SkbIndex skb); ///< what POST_ROUTING goes on with
int ip_finish_output2(Kernel& k, SkbIndex skb);
int __ip_local_out(Kernel& k, SkbIndex skb); ///< 1: go on with dst_output()
int ip_local_out(Kernel& k, SkbIndex skb);
int ip_send_skb(Kernel& k, NetIndex net, SkbIndex skb);
/// struct flowi4. The lookup fills in what the caller left open (saddr, oif).
struct Flowi4 {
    NetIndex net = 0;
    std::uint32_t daddr = 0, saddr = 0; ///< host order; saddr 0: to be chosen
    DeviceIndex oif = nothing;
    std::uint8_t tos = 0, proto = 0;
    bool any_source = false; ///< FLOWI_FLAG_ANYSRC
    bool known_nh = false;   ///< FLOWI_FLAG_KNOWN_NH: of IP_HDRINCL
    std::uint16_t sport = 0, dport = 0;
    std::uint8_t icmp_type = 0, icmp_code = 0;
};
/// A transport's segment gets its IP header and leaves (TCP). The socket is connected; its cached route is used or made.
int ip_queue_xmit(Kernel& k, SocketIndex sk, SkbIndex skb);
int __ip_queue_xmit(Kernel& k, SocketIndex sk, SkbIndex skb, std::uint8_t tos);
/// A segment that already has its route (SYN-ACK).
int ip_build_and_send_pkt(Kernel& k, SkbIndex skb, SocketIndex sk, std::uint32_t saddr, std::uint32_t daddr, std::uint8_t tos);
/// struct ipcm_cookie: what a message says of its own way.
struct IpcmCookie {
    std::uint8_t ttl = 0;
    std::int16_t tos = -1;
    std::uint16_t gso_size = 0;
    std::uint32_t address = 0;         ///< where the options say that it goes
    std::vector<std::uint8_t> options; ///< padded to four
};
/// Where a datagram's bytes come from: copies `length` bytes from `offset` on to `to`. `from` is the caller's.
struct GetFrag {
    void (*copy)(Kernel&, const void* from, std::uint8_t* to, std::size_t offset, std::size_t length, SkbIndex skb) = nullptr;
    const void* from = nullptr;
};
GetFrag ip_generic_getfrag(const std::span<const std::uint8_t>& payload); ///< from user space; the span must outlive the call
inline constexpr unsigned MSG_DONTWAIT = 0x40, MSG_MORE = 0x8000;
int ip_setup_cork(Kernel& k, SocketIndex sk, IpCork& cork, const IpcmCookie& ipc, const Destination& route);
/// `length` counts the transport header too, of which the first piece leaves `transhdrlen` bytes free.
int __ip_append_data(Kernel& k, SocketIndex sk, IpCork& cork, const GetFrag& getfrag, std::uint32_t length, std::uint32_t transhdrlen,
                     unsigned flags);
/// All pieces of the cork as one skb (nothing: there are none); the cork is empty afterwards.
SkbIndex __ip_make_skb(Kernel& k, SocketIndex sk, IpCork& cork, const Flowi4& fl4);
int ip_append_data(Kernel& k, SocketIndex sk, const Flowi4& fl4, const GetFrag& getfrag, std::uint32_t length, std::uint32_t transhdrlen,
                   const IpcmCookie& ipc, const Destination& route, unsigned flags, std::uint64_t call_sequence);
int ip_push_pending_frames(Kernel& k, SocketIndex sk, const Flowi4& fl4);
void ip_flush_pending_frames(Kernel& k, IpCork& cork);
/// One datagram in one go (UDP without cork). nothing: `error` says why.
SkbIndex ip_make_skb(Kernel& k, SocketIndex sk, const Flowi4& fl4, const GetFrag& getfrag, std::uint32_t length, std::uint32_t transhdrlen,
                     const IpcmCookie& ipc, const Destination& route, unsigned flags, std::uint64_t call_sequence, int& error);

// net/ipv4/ip_fragment.c
int ip_do_fragment(Kernel& k, SkbIndex skb, int (*output)(Kernel&, SkbIndex));
/// 0: the skb is a whole datagram now. Negative errno: it waits for the rest, or is gone.
int ip_defrag(Kernel& k, SkbIndex skb, std::uint32_t user);
void ip_expire(Kernel& k, std::int32_t queue, std::uint64_t generation);
/// All bytes from the network header on, those of further pieces (frag_list) too.
[[nodiscard]] std::vector<std::uint8_t> skb_linear_copy(Kernel& k, SkbIndex skb);

// net/ipv4/fib_trie.c, net/ipv4/fib_frontend.c, net/ipv4/fib_semantics.c, net/ipv4/devinet.c
FibResult fib_lookup(Kernel& k, NetIndex net, std::uint32_t address, DeviceIndex oif, PacketId packet);
/// 1: the source is on link; 0: through a gateway; -EINVAL: impossible; -EXDEV: the reverse path says no.
int fib_validate_source(Kernel& k, SkbIndex skb, std::uint32_t src, DeviceIndex oif, DeviceIndex device);
[[nodiscard]] bool __ip_dev_find(Kernel& k, NetIndex net, std::uint32_t address, PacketId packet);
[[nodiscard]] bool inet_lookup_ifaddr_rcu(Kernel& k, NetIndex net, std::uint32_t address);
RouteType inet_addr_type_dev_table(Kernel& k, NetIndex net, std::uint32_t address, PacketId packet);
/// host_scope: addresses of lo will do, too.
[[nodiscard]] std::uint32_t inet_select_addr(Kernel& k, DeviceIndex device, std::uint32_t destination, bool host_scope);
[[nodiscard]] bool inet_addr_onlink(Kernel& k, DeviceIndex device, std::uint32_t a, std::uint32_t b);
[[nodiscard]] std::uint32_t fib_result_prefsrc(Kernel& k, const FibResult& result);
std::uint32_t fib_compute_spec_dst(Kernel& k, SkbIndex skb);
// include/linux/inetdevice.h: IN_DEV_*; of the device and of "all"
[[nodiscard]] std::int32_t in_dev_max_conf(Kernel& k, DeviceIndex device, DevConf which);
[[nodiscard]] bool in_dev_or_conf(Kernel& k, DeviceIndex device, DevConf which);
[[nodiscard]] bool in_dev_and_conf(Kernel& k, DeviceIndex device, DevConf which);
[[nodiscard]] bool in_dev_forward(Kernel& k, DeviceIndex device);

// net/ipv4/igmp.c: groups as far as delivery needs them
[[nodiscard]] bool ip_check_mc_rcu(Kernel& k, DeviceIndex device, std::uint32_t group, PacketId packet);
int ip_mc_join_group(Kernel& k, SocketIndex sk, std::uint32_t group, DeviceIndex device);

// net/ipv4/route.c, net/ipv4/inetpeer.c
/// 0, with the route set; or -EINVAL (martian), -EXDEV (reverse path), which the caller drops.
int ip_route_input_noref(Kernel& k, SkbIndex skb, std::uint32_t daddr, std::uint32_t saddr, DeviceIndex device);
int ip_route_use_hint(Kernel& k, SkbIndex skb, std::uint32_t saddr, DeviceIndex device, SkbIndex hint);
/// Not valid: `error` of the result is the positive errno.
Destination ip_route_output_key_hash(Kernel& k, Flowi4& fl4, PacketId packet = PacketId::none);
Destination ip_route_output_flow(Kernel& k, Flowi4& fl4, PacketId packet = PacketId::none);
Destination ip_route_output_flow(Kernel& k, NetIndex net, std::uint32_t daddr, std::uint32_t saddr, PacketId packet = PacketId::none);
[[nodiscard]] std::uint32_t dst_mtu(Kernel& k, const Destination& dst);
void ip_error(Kernel& k, SkbIndex skb);
void ip_rt_send_redirect(Kernel& k, SkbIndex skb);
InetPeer& inet_getpeer_v4(Kernel& k, NetIndex net, std::uint32_t address);
bool inet_peer_xrlim_allow(Kernel& k, InetPeer& peer, std::int64_t timeout);

// net/ipv4/icmp.c
[[nodiscard]] bool icmp_global_allow(Kernel& k, NetIndex net); ///< the namespace's tokens for errors, of either family
int icmp_rcv(Kernel& k, SkbIndex skb);
void icmp_err(Kernel& k, SkbIndex skb, std::uint32_t info);
/// An error about that packet goes back to its sender, if the rules and rate limits let it. The skb stays the caller's.
void icmp_send(Kernel& k, SkbIndex skb, std::uint8_t type, std::uint8_t code, std::uint32_t info);
/// icmp_err_convert[]: what an unreachable of that code means to a socket.
struct IcmpErrno {
    int number;
    bool fatal;
};
[[nodiscard]] IcmpErrno icmp_err_convert(std::uint8_t code);

// net/ipv4/raw.c, net/ipv4/ping.c
bool raw_local_deliver(Kernel& k, SkbIndex skb, std::uint8_t protocol); ///< true: some raw socket wanted it
void raw_icmp_error(Kernel& k, SkbIndex skb, std::uint8_t protocol, std::uint32_t info);
int raw_sendmsg(Kernel& k, SocketIndex sk, std::span<const std::uint8_t> payload, std::uint32_t address, std::uint64_t call_sequence);
/// 0: an echo request that may go out.
int ping_common_sendmsg(Kernel& k, std::span<const std::uint8_t> message, std::uint8_t echo_request);
int ping_v4_sendmsg(Kernel& k, SocketIndex sk, std::span<const std::uint8_t> message, std::uint32_t address, std::uint64_t call_sequence);
bool ping_rcv(Kernel& k, SkbIndex skb, DropReasonId& reason); ///< of either family; true: a ping socket took a clone
void ping_err(Kernel& k, SkbIndex skb, std::uint32_t info);
int ping_get_port(Kernel& k, SocketIndex sk, std::uint16_t identifier);
/// Queues it to a raw or ping socket; false: no room, the skb is the caller's and the reason says why.
bool sock_queue_rcv_skb_reason(Kernel& k, SocketIndex sk, SkbIndex skb, DropReasonId& reason);
void sock_rfree(Kernel& k, SkbIndex skb);

// net/core/neighbour.c, net/ipv4/arp.c
std::int32_t ip_neigh_for_gw(Kernel& k, SkbIndex skb, DeviceIndex device, std::uint32_t next_hop);
int neigh_output(Kernel& k, std::int32_t neighbour, SkbIndex skb);
void neigh_timer_handler(Kernel& k, std::int32_t neighbour, std::uint64_t generation);
/// The neighbours of either family are in one table; the address says which.
std::int32_t __neigh_lookup(Kernel& k, const IpAddress& address, DeviceIndex device, bool create, PacketId packet);
std::int32_t neigh_lookup(Kernel& k, const IpAddress& address, DeviceIndex device, PacketId packet);
/// The lookup that the output path does inline, without a call; nothing: not there.
std::int32_t neigh_lookup_noref(Kernel& k, const IpAddress& address, DeviceIndex device);
std::int32_t __neigh_create(Kernel& k, const IpAddress& address, DeviceIndex device, PacketId packet);
/// include/net/neighbour.h: NEIGH_UPDATE_F_…
inline constexpr std::uint32_t NEIGH_UPDATE_F_OVERRIDE = 0x1;
inline constexpr std::uint32_t NEIGH_UPDATE_F_WEAK_OVERRIDE = 0x2;
inline constexpr std::uint32_t NEIGH_UPDATE_F_OVERRIDE_ISROUTER = 0x4;
inline constexpr std::uint32_t NEIGH_UPDATE_F_ISROUTER = 0x40;
inline constexpr std::uint32_t NEIGH_UPDATE_F_ADMIN = 0x80;
/// `lladdr` nullptr: none was given, the known one stays.
void neigh_update(Kernel& k, std::int32_t neighbour, const MacAddress* lladdr, Nud state, std::uint32_t flags, PacketId cause);
std::int32_t neigh_event_ns(Kernel& k, const MacAddress& lladdr, const IpAddress& address, DeviceIndex device, PacketId packet);
void arp_rcv(Kernel& k, SkbIndex skb);
void arp_solicit(Kernel& k, std::int32_t neighbour, SkbIndex skb);
void arp_constructor(Kernel& k, std::int32_t neighbour, PacketId packet); ///< of a new entry: some need no question
void arp_error_report(Kernel& k, std::int32_t neighbour, SkbIndex skb);   ///< nobody answered: the waiting skb ends
void arp_announce_address(Kernel& k, DeviceIndex device, std::uint32_t address); ///< gratuitous ARP (arp_notify)

// net/ipv4/udp.c, net/ipv4/udp_offload.c, net/ipv4/raw.c, net/ipv4/icmp.c
int udp_rcv(Kernel& k, SkbIndex skb);
void udp_err(Kernel& k, SkbIndex skb, std::uint32_t info);
bool udp_v4_early_demux(Kernel& k, SkbIndex skb);
int udp_sendmsg(Kernel& k, SocketIndex sk, std::span<const std::uint8_t> payload, std::uint32_t address, std::uint16_t port,
                std::uint64_t call_sequence);
int udp_v4_get_port(Kernel& k, SocketIndex sk, std::uint16_t port);
int udp_lib_get_port(Kernel& k, SocketIndex sk, std::uint16_t port);
/// 0; -ENOMEM: no room in the socket, nothing was queued; -ENOBUFS: no memory for the protocol.
int __udp_enqueue_schedule_skb(Kernel& k, SocketIndex sk, SkbIndex skb);

// net/ipv4/tcp_ipv4.c, net/ipv4/tcp_output.c, net/ipv4/tcp_offload.c, net/ipv4/tcp_timer.c, net/ipv4/tcp_minisocks.c
int tcp_v4_rcv(Kernel& k, SkbIndex skb); ///< 0, as every net_protocol that takes a packet
void tcp_v4_err(Kernel& k, SkbIndex skb, std::uint32_t info);
bool tcp_v4_early_demux(Kernel& k, SkbIndex skb);
void tcp_wfree(Kernel& k, SkbIndex skb);
void tcp_tasklet_func(Kernel& k); ///< TASKLET_SOFTIRQ: sockets whose packets have left this CPU's devices
void tcp_write_timer(Kernel& k, SocketIndex sk, std::uint64_t generation);
void tcp_delack_timer(Kernel& k, SocketIndex sk, std::uint64_t generation);
void tcp_compressed_ack_kick(Kernel& k, SocketIndex sk, std::uint64_t generation);
void tcp_keepalive_timer(Kernel& k, std::int32_t index, std::uint64_t generation);
void tw_timer_handler(Kernel& k, std::int32_t timewait, std::uint64_t generation);
/// A TCP timer whose owner has forgotten it: deleted.
[[nodiscard]] bool tcp_timer_is_stale(const World& world, const DeviceEvent& event);
/// inet_offloads
SkbIndex tcp4_gro_receive(Kernel& k, GroList& head, SkbIndex skb);
void tcp4_gro_complete(Kernel& k, SkbIndex skb, std::uint32_t transport_offset);
/// Cuts a GSO packet into packets of their own, IP and Ethernet headers included; the packet itself ends as split.
SkbList __skb_gso_segment(Kernel& k, SkbIndex skb);
/// The frames that hardware with TSO and checksum offload makes of it: the packet itself stays.
[[nodiscard]] std::vector<std::vector<std::uint8_t>> frames_on_wire(Kernel& k, SkbIndex skb, bool empty_tail);
/// The transport checksum field of an Ethernet frame of IPv4 with UDP or TCP, completed.
void complete_frame_checksum(std::span<std::uint8_t> frame);

// net/netfilter/core.c
/// 1: go on. 0: somebody took the skb (it is not the caller's any more). Negative errno: dropped (the skb is gone).
int nf_hook(Kernel& k, Pf family, Hook hook, SkbIndex skb, DeviceIndex in, DeviceIndex out);

/// The same for a list: those that go on.
SkbList nf_hook_list(Kernel& k, Pf family, Hook hook, SkbList list, DeviceIndex in, DeviceIndex out);
/// Puts a namespace's rules, and the security module's hook, where they are called: after building it and after each change.
void nf_register_hooks(NfState& nf, bool apparmor);
void nf_reset_ct(Kernel& k, SkbIndex skb);      ///< the skb belongs to no connection any more
void nf_conntrack_get(Kernel& k, SkbIndex skb); ///< a copy of the skb belongs to its connection, too

// net/packet/af_packet.c
/// The taps that a received packet passes, in order: those of all devices, then those of its own. All but the last have
/// got it (by a reference) when it returns; the last is returned, as the kernel hands it over once it knows who else takes
/// the packet. nothing: no tap.
std::int32_t deliver_to_taps(Kernel& k, SkbIndex skb);
void deliver_skb(Kernel& k, SkbIndex skb, std::int32_t tap); ///< with a reference of its own
void packet_tap(Kernel& k, SkbIndex skb, std::int32_t tap);  ///< pt->func: the skb, or a reference to it, goes to the tap
bool dev_nit_active(Kernel& k, DeviceIndex device);
void dev_queue_xmit_nit(Kernel& k, SkbIndex skb, DeviceIndex device);
void prb_retire_rx_blk_timer_expired(Kernel& k, std::int32_t tap, std::uint64_t generation);
[[nodiscard]] bool packet_ring_waits(const PacketSock& tap); ///< frames lie in it that its timer must hand over
void step_packet_reader(Kernel& k, std::int32_t task);

// net/sched/sch_generic.c (the disciplines themselves: core/kernel/sch.h)
/// False: the driver is busy, and what it did not take has gone back into the queue.
bool sch_direct_xmit(Kernel& k, SkbList list, QdiscIndex qdisc, bool validate);
void __qdisc_run(Kernel& k, QdiscIndex qdisc);
void qdisc_run(Kernel& k, QdiscIndex qdisc);

// net/ethernet/eth.c
std::uint16_t eth_type_trans(Kernel& k, SkbIndex skb, DeviceIndex device);
void eth_header(Kernel& k, SkbIndex skb, const MacAddress& destination, const MacAddress& source, std::uint16_t type);

void begin_process_backlog(Kernel& k, PollRun& poll);
bool step_process_backlog(Kernel& k, PollRun& poll);

// what runs on top: the modelled applications
void step_task(Kernel& k, std::int32_t task);
void step_tcp_task(Kernel& k, std::int32_t task);

// hardware
void kick(Kernel& k, Cpu& cpu, SimTime at);             ///< an idle CPU gets to do something: its clock goes on to there
void happen(Kernel& k, DeviceEvent& event);
/// What a station answers to an echo request; empty: nothing.
[[nodiscard]] std::vector<std::uint8_t> station_echo_reply(const Station& station, std::span<const std::uint8_t> frame);
} // namespace skbscope::kernel
