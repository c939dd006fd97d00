#pragma once
// What the correlator must know about single kernel functions: whether a call works for one packet or for
// many, begins or ends one, and below which traced functions an untraced one runs. Rules of the kernel's
// source, per name, for all versions; where they come from is said in function_kinds.cpp.

#include <cstdint>
#include <span>
#include <string_view>

namespace skbscope {

enum class FunctionKind : std::uint8_t {
    carry,               ///< works for the packet of its caller (the rule)
    batch,               ///< serves many packets or none; its callees find their packet themselves
    none,                ///< serves no packet, nor does what it calls
    foreign,             ///< handles sk_buffs that are no network packets: netlink, unix sockets
    system_call,         ///< outermost in process context
    send_begin,          ///< outer part of sending: one per message
    send_maker,          ///< makes and sends one datagram: udp_sendmsg
    stream,              ///< sends or receives a byte stream: no packet of its own
    nested_maker,        ///< makes a packet while another one is served: icmp_push_reply, arp_send_dst
    transmit_tail,       ///< the way down after a maker, or after a waiting packet was taken up
    receive_begin,       ///< outer part of receiving: one per message
    datagram_receive,    ///< takes one datagram from a socket
    queue_take,          ///< __skb_try_recv_from_queue
    allocate,            ///< allocates the sk_buff: birth
    receive_buffer_take, ///< virtqueue_get_buf_ctx: takes a received buffer, or finds none
    receive_frame,       ///< driver: one received frame
    receive_hand_up,     ///< driver and eth_type_trans: after the sk_buff exists
    gro_receive,         ///< napi_gro_receive: the driver's last touch
    gro_complete,        ///< napi_gro_complete: hands a held packet up
    list_internal,       ///< netif_receive_skb_list_internal: takes over the NAPI's list
    list_stamp,          ///< skb_defer_rx_timestamp: the next of that list, before any of it is steered or received
    rps,                 ///< get_rps_cpu, enqueue_to_backlog: in the order of that list
    core_receive,        ///< __netif_receive_skb_core
    list_core,           ///< __netif_receive_skb_list_core
    list_protocol,       ///< ip_list_rcv: the packets of one protocol, in order
    list_check,          ///< ip_rcv_core: the next of them
    sublist,             ///< ip_sublist_rcv
    sublist_hook,        ///< nf_hook_slow_list: the hooks for one packet of the sublist after the other
    sublist_route,       ///< ip_rcv_finish_core: the next of the sublist
    sublist_deliver,     ///< ip_local_deliver, ip_forward: the next of those with this route
    arp_receive,         ///< arp_rcv
    receive_tail,        ///< arp_process: the packet of the handler before it
    neighbour_probe,     ///< neigh_probe
    neighbour_send,      ///< __neigh_event_send
    neighbour_output,    ///< neigh_resolve_output, neigh_connected_output
    neighbour_update,    ///< __neigh_update: releases what waits
    device_queue,        ///< __dev_queue_xmit
    qdisc_run,           ///< __qdisc_run
    qdisc_enqueue,       ///< pfifo_fast_enqueue …
    qdisc_dequeue,       ///< pfifo_fast_dequeue …
    direct_transmit,     ///< sch_direct_xmit, validate_xmit_skb_list: one packet, or a bulk of them
    validate,            ///< validate_xmit_skb
    hard_transmit,       ///< dev_hard_start_xmit
    tap_transmit,        ///< dev_queue_xmit_nit
    tap,                 ///< tpacket_rcv, packet_rcv
    clone_taker,         ///< raw_rcv: works for the clone that its caller has just made
    clone,               ///< skb_clone: a new header for the same data
    completion,          ///< the packet is the one freed next in the same poll
    free,                ///< consume_skb, kfree_skb …
    free_tail,           ///< what runs after the free event: skb_release_data, kfree_skbmem
    socket_enqueue,      ///< __udp_enqueue_schedule_skb
    data_ready,          ///< sock_def_readable
    fragment,            ///< ip_defrag: for a fragment that arrives, and for the datagram that it completes
    stream_copy,         ///< skb_copy_datagram_iter: of a stream, from the next packet of its queue
    stream_data,         ///< tcp_data_queue: a segment that it neither queues nor frees waits among those out of order
    stream_enqueue,      ///< tcp_queue_rcv
    backlog_enqueue,     ///< tcp_add_backlog: the application holds the socket
    backlog_receive,     ///< tcp_v4_do_rcv: for the packet that arrives, or the next of the backlog
};

/// Kind of the function with that name (compiler suffix cut off).
[[nodiscard]] FunctionKind kind_of(std::string_view function);

/// Of an untraced caller: names of traced functions below which it runs, nearest first wins; empty if not
/// known.
[[nodiscard]] std::span<const std::string_view> hosts_of(std::string_view untraced_caller);

/// Entry points: functions called by these are outermost in their context.
[[nodiscard]] bool is_entry(std::string_view caller);

/// Which functions end in a jump to `next` in usual builds: the tracer then names their caller as the caller of `next`,
/// which by the source runs below them.
[[nodiscard]] std::span<const std::string_view> jumpers_to(std::string_view next);

/// "ip_rcv_finish_core.constprop.0" -> "ip_rcv_finish_core".
[[nodiscard]] std::string_view without_suffix(std::string_view symbol);

} // namespace skbscope
