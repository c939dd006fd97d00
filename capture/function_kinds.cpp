#include "capture/function_kinds.h"

#include <algorithm>
#include <array>
#include <string>
#include <unordered_map>
#include <vector>

namespace skbscope {

namespace {

using Kind = FunctionKind;

struct KindRow {
    Kind kind;
    std::vector<std::string_view> functions;
};

// Read in the sources of 5.10, 6.1 and 6.12: net/core/dev.c, gro.c, skbuff.c, neighbour.c,
// net/sched/sch_generic.c, net/ipv4/{ip_input,ip_output,udp,icmp,arp}.c, net/ipv6/ip6_input.c,
// net/packet/af_packet.c and the drivers.
const std::vector<KindRow>& kind_rows()
{
    static const std::vector<KindRow> rows = {
        {Kind::batch,
         {"__handle_irq_event_percpu",
          "handle_softirqs",
          "__do_softirq",
          "run_ksoftirqd",
          "net_rx_action",
          "net_tx_action",
          "__napi_poll",
          "napi_poll",
          "napi_threaded_poll",
          "process_backlog",
          "napi_complete_done",
          "napi_gro_flush",
          "e1000_clean",
          "e1000e_poll",
          "e1000_clean_rx_irq",
          "e1000_clean_jumbo_rx_irq",
          "e1000_clean_rx_irq_ps",
          "e1000_clean_tx_irq",
          "e1000_intr_msix_tx",
          "virtnet_poll",
          "virtnet_poll_tx",
          "virtnet_poll_cleantx",
          "virtnet_receive",
          "free_old_xmit_skbs",
          "free_old_xmit",
          "__free_old_xmit",
          "veth_poll",
          "veth_xdp_rcv",
          "netif_receive_skb_list",
          "tcp_write_xmit",
          "tcp_tasklet_func",
          "tcp_tsq_handler",
          "qdisc_watchdog",
          "neigh_timer_handler"}},
        {Kind::none,
         {"irq_enter_rcu",
          "irq_enter",
          "e1000_alloc_rx_buffers",
          "e1000_alloc_jumbo_rx_buffers",
          "try_fill_recv",
          "add_recvbuf_mergeable",
          "netif_tx_wake_queue",
          "netif_schedule_queue",
          "__netif_schedule",
          "__raise_softirq_irqoff",
          "raise_softirq_irqoff",
          "net_rps_action_and_irq_enable",
          "net_rps_send_ipi",
          "rps_trigger_softirq",
          "napi_schedule_prep",
          "__napi_schedule",
          "__napi_schedule_irqoff",
          "virtqueue_napi_schedule",
          "virtqueue_napi_complete",
          "e1000_intr",
          "e1000_intr_msi",
          "e1000_intr_msix_rx",
          "e1000_msix_other",
          "vring_interrupt",
          "vp_interrupt",
          "skb_recv_done",
          "skb_xmit_done",
          "qdisc_watchdog_schedule_range_ns",
          "netif_tx_stop_all_queues"}},
        {Kind::send_begin,
         {"__sock_sendmsg", "sock_sendmsg", "sock_sendmsg_nosec", "inet_sendmsg", "inet6_sendmsg"}},
        {Kind::send_maker,
         {"udp_sendmsg", "udpv6_sendmsg", "raw_sendmsg", "rawv6_sendmsg", "ping_v4_sendmsg",
          "ping_v6_sendmsg", "packet_sendmsg"}},
        {Kind::stream,
         {"tcp_sendmsg", "tcp_sendmsg_locked", "tcp_recvmsg", "tcp_recvmsg_locked", "release_sock",
          "__release_sock", "tcp_close", "__tcp_close", "tcp_shutdown", "tcp_v4_connect", "tcp_connect",
          "inet_csk_accept", "tcp_push", "tcp_push_one", "__tcp_push_pending_frames", "tcp_send_fin",
          "tcp_release_cb", "__tcp_retransmit_skb", "tcp_retransmit_skb"}},
        {Kind::nested_maker,
         {"icmp_push_reply", "arp_send_dst", "arp_send", "arp_create", "ip_send_unicast_reply",
          "tcp_send_ack", "__tcp_transmit_skb", "tcp_v4_send_synack", "tcp_v4_send_reset", "tcp_v4_send_ack",
          "__tcp_send_ack", "ndisc_send_skb", "ndisc_send_ns", "ndisc_send_na", "icmp6_send",
          "icmpv6_echo_reply", "nf_send_reset", "nf_send_unreach"}},
        {Kind::transmit_tail, {"arp_xmit",          "arp_xmit_finish",     "ip_push_pending_frames",
                               "ip_send_skb",       "ip_local_out",        "__ip_local_out",
                               "ip_output",         "ip_finish_output",    "__ip_finish_output",
                               "ip_finish_output2", "ip_append_data",      "ip_make_skb",
                               "ip6_local_out",     "__ip6_local_out",     "ip6_output",
                               "ip6_finish_output", "__ip6_finish_output", "ip6_finish_output2",
                               "__ip_make_skb",     "dev_queue_xmit"}},
        {Kind::receive_begin, {"sock_recvmsg", "sock_recvmsg_nosec", "inet_recvmsg", "inet6_recvmsg",
                               "sock_common_recvmsg"}},
        {Kind::datagram_receive,
         {"udp_recvmsg", "udpv6_recvmsg", "raw_recvmsg", "rawv6_recvmsg", "ping_recvmsg", "packet_recvmsg"}},
        {Kind::queue_take, {"__skb_try_recv_from_queue"}},
        {Kind::allocate,
         {"__alloc_skb", "alloc_skb_with_frags", "sock_alloc_send_pskb", "sock_alloc_send_skb",
          "__napi_alloc_skb", "napi_alloc_skb", "__netdev_alloc_skb", "build_skb", "napi_build_skb",
          "__build_skb", "napi_get_frags"}},
        {Kind::receive_buffer_take, {"virtqueue_get_buf_ctx"}},
        {Kind::receive_frame, {"receive_buf", "receive_mergeable", "receive_small", "page_to_skb"}},
        {Kind::receive_hand_up,
         {"e1000_receive_skb", "virtnet_receive_done", "eth_type_trans", "e1000_copybreak"}},
        {Kind::gro_receive, {"napi_gro_receive", "napi_gro_frags", "gro_receive_skb"}},
        {Kind::gro_complete, {"napi_gro_complete"}},
        {Kind::list_internal, {"netif_receive_skb_list_internal"}},
        {Kind::list_stamp, {"skb_defer_rx_timestamp"}},
        {Kind::rps, {"get_rps_cpu", "enqueue_to_backlog"}},
        {Kind::core_receive, {"__netif_receive_skb_core"}},
        {Kind::list_core, {"__netif_receive_skb_list_core", "__netif_receive_skb_list"}},
        {Kind::list_protocol, {"ip_list_rcv", "ipv6_list_rcv"}},
        {Kind::list_check, {"ip_rcv_core", "ip6_rcv_core"}},
        {Kind::sublist,
         {"ip_sublist_rcv", "ip6_sublist_rcv", "ip_list_rcv_finish", "ip6_list_rcv_finish",
          "ip_sublist_rcv_finish", "ip6_sublist_rcv_finish"}},
        {Kind::sublist_hook, {"nf_hook_slow_list"}},
        {Kind::sublist_route, {"ip_rcv_finish_core", "ip6_rcv_finish_core"}},
        {Kind::sublist_deliver,
         {"ip_local_deliver", "ip_forward", "ip_error", "ip_mr_input", "ip6_input", "ip6_mc_input",
          "ip6_forward", "ip6_pkt_discard", "ip_mc_forward"}},
        {Kind::arp_receive, {"arp_rcv"}},
        {Kind::receive_tail, {"arp_process"}},
        {Kind::neighbour_probe, {"neigh_probe"}},
        {Kind::neighbour_send, {"__neigh_event_send"}},
        {Kind::neighbour_output, {"neigh_resolve_output", "neigh_connected_output", "neigh_direct_output"}},
        {Kind::neighbour_update, {"__neigh_update", "neigh_update"}},
        {Kind::device_queue, {"__dev_queue_xmit"}},
        {Kind::qdisc_run, {"__qdisc_run", "qdisc_run"}},
        {Kind::qdisc_enqueue,
         {"pfifo_fast_enqueue", "fq_codel_enqueue", "tbf_enqueue", "pfifo_enqueue", "bfifo_enqueue",
          "htb_enqueue", "noop_enqueue", "prio_enqueue", "fq_enqueue", "netem_enqueue", "sfq_enqueue",
          "red_enqueue", "cake_enqueue"}},
        {Kind::qdisc_dequeue,
         {"pfifo_fast_dequeue", "fq_codel_dequeue", "tbf_dequeue", "htb_dequeue", "prio_dequeue",
          "fq_dequeue", "netem_dequeue", "sfq_dequeue", "red_dequeue", "cake_dequeue", "qdisc_dequeue_head"}},
        {Kind::direct_transmit, {"sch_direct_xmit", "validate_xmit_skb_list"}},
        {Kind::validate, {"validate_xmit_skb"}},
        {Kind::hard_transmit, {"dev_hard_start_xmit"}},
        {Kind::tap_transmit, {"dev_queue_xmit_nit"}},
        {Kind::clone_taker, {"raw_rcv", "rawv6_rcv"}},
        {Kind::tap, {"tpacket_rcv", "packet_rcv", "packet_rcv_fanout"}},
        {Kind::clone, {"skb_clone", "skb_copy", "pskb_copy", "__pskb_copy_fclone", "skb_copy_expand"}},
        {Kind::completion,
         {"e1000_unmap_and_free_tx_resource", "e1000_put_txbuf", "virtqueue_get_buf", "__dev_kfree_skb_any",
          "dev_kfree_skb_any_reason", "__dev_kfree_skb_irq", "dev_kfree_skb_irq_reason"}},
        {Kind::free,
         {"consume_skb", "kfree_skb", "kfree_skb_reason", "sk_skb_reason_drop", "__kfree_skb",
          "kfree_skb_list", "kfree_skb_list_reason", "napi_consume_skb", "__consume_stateless_skb",
          "kfree_skb_partial", "__kfree_skb_defer"}},
        {Kind::free_tail,
         {"skb_release_head_state", "skb_release_data", "skb_release_all", "kfree_skbmem", "sock_wfree",
          "__sock_wfree", "sock_rfree", "tcp_wfree", "napi_skb_cache_put", "__napi_kfree_skb"}},
        {Kind::socket_enqueue, {"__udp_enqueue_schedule_skb", "__sock_queue_rcv_skb"}},
        {Kind::data_ready, {"sock_def_readable"}},
        {Kind::fragment, {"ip_defrag", "ipv6_frag_rcv", "nf_ct_frag6_gather"}},
        {Kind::stream_copy, {"skb_copy_datagram_iter"}},
        {Kind::stream_data, {"tcp_data_queue"}},
        {Kind::stream_enqueue, {"tcp_queue_rcv"}},
        {Kind::backlog_enqueue, {"tcp_add_backlog"}},
        {Kind::backlog_receive, {"tcp_v4_do_rcv", "tcp_v6_do_rcv"}},
        {Kind::foreign,
         {"sock_wmalloc", "unix_stream_connect", "unix_stream_sendmsg", "unix_dgram_sendmsg",
          "__neigh_notify", "rtnl_notify", "qdisc_notify", "rtmsg_fib", "rtmsg_ifinfo",
          "inet_netconf_notify_devconf", "audit_log_end", "kobject_uevent_net_broadcast",
          "skb_queue_purge_reason", "skb_queue_purge", "inet6_destroy_sock", "inet6_cleanup_sock"}},
    };
    return rows;
}

const std::unordered_map<std::string_view, Kind>& kinds()
{
    static const auto map = [] {
        std::unordered_map<std::string_view, Kind> all;
        for (const KindRow& row : kind_rows()) {
            for (const std::string_view function : row.functions) {
                all.emplace(function, row.kind);
            }
        }
        return all;
    }();
    return map;
}

using Hosts = std::vector<std::string_view>;

// Callers that ftrace does not show (inlined into nothing, but filtered out, or not in the usual filters),
// and the functions below which they are called.
const std::unordered_map<std::string_view, Hosts>& host_map()
{
    static const Hosts sending = {"__sys_sendto",     "____sys_sendmsg", "__x64_sys_sendmsg",
                                  "__x64_sys_sendto", "__sys_sendmsg",   "__x64_sys_sendmmsg",
                                  "__x64_sys_write",  "__x64_sys_writev"};
    static const Hosts receiving = {"sock_recvmsg",       "inet_recvmsg",      "__sys_recvfrom",
                                    "__x64_sys_recvfrom", "__x64_sys_recvmsg", "__x64_sys_recvmmsg",
                                    "__x64_sys_read"};
    static const Hosts datagram_readers = {
        "udp_recvmsg",  "packet_recvmsg", "raw_recvmsg",    "ping_recvmsg",      "udpv6_recvmsg",
        "sock_recvmsg", "inet_recvmsg",   "__sys_recvfrom", "__x64_sys_recvmsg", "__x64_sys_recvfrom"};
    // A raw socket's datagrams over IPv6 come by inet_sendmsg(), too (inet6_sockraw_ops, net/ipv6/raw.c).
    static const Hosts sending_raw6 = {"inet_sendmsg", "inet6_sendmsg", "__sys_sendto", "____sys_sendmsg", "__x64_sys_sendmsg", "__x64_sys_sendto"};
    static const Hosts making6 = {"rawv6_sendmsg", "ping_v6_sendmsg", "udpv6_sendmsg", "icmpv6_echo_reply", "icmp6_send", "inet_sendmsg", "inet6_sendmsg"};
    static const Hosts notifying = {"__neigh_update",      "neigh_update", "__neigh_event_send",
                                    "neigh_timer_handler", "__sys_sendto", "__x64_sys_sendmsg",
                                    "__x64_sys_sendto"};
    static const Hosts netlink = {"__neigh_notify",     "__neigh_update",      "neigh_update",
                                  "__neigh_event_send", "neigh_timer_handler", "sock_recvmsg",
                                  "__sys_recvfrom",     "__sys_sendto",        "__x64_sys_recvmsg",
                                  "__x64_sys_sendmsg",  "__x64_sys_sendto",    "__x64_sys_recvfrom"};
    static const std::unordered_map<std::string_view, Hosts> map = {
        {"__sock_sendmsg", sending},
        {"sock_sendmsg", sending},
        {"sock_sendmsg_nosec",
         {"__sock_sendmsg", "sock_sendmsg", "__sys_sendto", "____sys_sendmsg", "__x64_sys_sendmsg"}},
        {"____sys_sendmsg", {"__x64_sys_sendmsg", "__x64_sys_sendmmsg"}},
        {"____sys_recvmsg", {"__x64_sys_recvmsg", "__x64_sys_recvmmsg"}},
        {"sock_recvmsg", {"__sys_recvfrom", "____sys_recvmsg", "__x64_sys_recvmsg", "__x64_sys_recvfrom"}},
        {"sock_recvmsg_nosec", receiving},
        {"inet_recvmsg", receiving},
        {"sock_common_recvmsg", receiving},
        {"udp_recvmsg", receiving},
        {"inet_sendmsg", sending},
        {"udp_sendmsg",
         {"inet_sendmsg", "__sys_sendto", "____sys_sendmsg", "__x64_sys_sendmsg", "__x64_sys_sendto"}},
        {"ip_make_skb", {"udp_sendmsg"}},
        {"__ip_append_data", {"ip_make_skb", "udp_sendmsg", "icmp_push_reply"}},
        {"udp_send_skb", {"udp_sendmsg"}},
        {"ip_send_skb", {"udp_send_skb", "udp_sendmsg"}},
        {"ip_local_out", {"ip_send_skb", "udp_send_skb", "ip_push_pending_frames", "__ip_queue_xmit"}},
        {"ip_finish_output", {"ip_output", "ip_send_skb", "udp_send_skb", "udp_sendmsg"}},
        {"ip_finish_output2",
         {"ip_finish_output", "ip_output", "ip_send_skb", "udp_send_skb", "udp_sendmsg"}},
        {"dev_queue_xmit", {"ip_finish_output2", "neigh_resolve_output", "arp_xmit", "packet_sendmsg"}},
        {"skb_consume_udp", {"udp_recvmsg", "udpv6_recvmsg"}},
        {"__skb_try_recv_datagram", datagram_readers},
        {"__skb_recv_datagram", datagram_readers},
        {"skb_recv_datagram", datagram_readers},
        {"skb_free_datagram", datagram_readers},
        {"__skb_free_datagram_locked", datagram_readers},
        {"pskb_expand_head",
         {"e1000_xmit_frame", "start_xmit", "veth_xmit", "validate_xmit_skb", "ip_forward", "ip_do_fragment", "nf_hook_slow", "ip_rcv_core",
          "ip_rcv_finish_core", "ip_defrag", "tcp_v4_rcv", "udp_rcv", "icmp_rcv", "__tcp_transmit_skb", "__tcp_retransmit_skb", "tcp_write_xmit", "tcp_ack",
          "ip_finish_output2", "__dev_queue_xmit", "__netif_receive_skb_core"}},
        {"alloc_skb_with_frags", {"sock_alloc_send_pskb"}},
        {"ip_append_data",
         {"icmp_push_reply", "ip_send_unicast_reply", "raw_sendmsg", "ping_v4_sendmsg", "udp_sendmsg"}},
        {"ip_send_unicast_reply", {"tcp_v4_send_ack", "tcp_v4_send_reset", "tcp_v4_rcv", "tcp_v4_do_rcv"}},
        {"packet_parse_headers", {"packet_sendmsg"}},
        {"packet_snd", {"packet_sendmsg"}},
        {"__inet_dev_addr_type",
         {"arp_solicit", "icmp_route_lookup", "___neigh_create", "__neigh_create", "__icmp_send",
          "arp_process", "ip_route_output_key_hash_rcu", "udp_sendmsg", "ip_route_input_slow"}},
        {"__xfrm_decode_session",
         {"icmp_route_lookup", "__icmp_send", "ip_forward", "ip_local_deliver_finish",
          "udp_queue_rcv_one_skb",
          "nf_nat_ipv4_out", "nf_nat_ipv6_out", "ip_route_me_harder"}},
        {"ip_list_rcv_finish", {"ip_sublist_rcv"}},
        {"ip_sublist_rcv_finish", {"ip_sublist_rcv"}},
        {"ip6_sublist_rcv", {"ipv6_list_rcv"}},
        {"ip6_list_rcv_finish", {"ip6_sublist_rcv", "ipv6_list_rcv"}},
        {"ip6_sublist_rcv_finish", {"ip6_list_rcv_finish", "ip6_sublist_rcv", "ipv6_list_rcv"}},
        {"ip_route_use_hint", {"ip_rcv_finish_core"}},
        {"ip_route_input_rcu", {"ip_route_input_noref"}},
        {"__netif_receive_skb_list", {"netif_receive_skb_list_internal"}},
        {"netif_receive_skb_internal", {"napi_gro_receive", "napi_complete_done"}},
        {"gro_normal_list", {"napi_complete_done", "napi_gro_receive", "__napi_poll"}},
        {"__napi_poll", {"net_rx_action", "napi_threaded_poll"}},
        {"napi_skb_finish", {"napi_gro_receive"}},
        {"__kfree_skb_defer", {"napi_gro_receive", "napi_gro_frags", "dev_gro_receive", "net_tx_action"}},
        {"napi_skb_free_stolen_head", {"napi_gro_receive"}},
        {"kfree_skb_partial",
         {"tcp_data_queue", "tcp_rcv_established", "tcp_rcv_state_process", "tcp_add_backlog",
          "inet_frag_reasm_finish", "ip_defrag", "ipv6_frag_rcv", "nf_ct_frag6_gather"}},
        {"inet_frag_reasm_prepare", {"ip_defrag", "ipv6_frag_rcv", "nf_ct_frag6_gather"}},
        {"inet_frag_reasm_finish", {"ip_defrag", "ipv6_frag_rcv", "nf_ct_frag6_gather"}},
        {"skb_morph", {"inet_frag_reasm_prepare", "ip_defrag", "ipv6_frag_rcv", "nf_ct_frag6_gather"}},
        {"__consume_stateless_skb", {"skb_consume_udp"}},
        {"__skb_get_hash_net",
         {"fq_codel_enqueue", "get_rps_cpu", "netdev_pick_tx", "netdev_core_pick_tx", "ip_route_input_slow",
          "packet_rcv_fanout", "tpacket_rcv"}},
        {"__skb_get_hash",
         {"fq_codel_enqueue", "get_rps_cpu", "netdev_pick_tx", "netdev_core_pick_tx", "ip_route_input_slow"}},
        {"dev_qdisc_enqueue", {"__dev_queue_xmit"}},
        {"__dev_xmit_skb", {"__dev_queue_xmit"}},
        {"qdisc_run", {"__dev_queue_xmit", "net_tx_action"}},
        {"__dev_forward_skb2", {"__dev_forward_skb", "veth_xmit"}},
        {"arp_xmit_finish", {"arp_xmit"}},
        {"pktgen_alloc_skb", {"pktgen_xmit", "pktgen_thread_worker"}},
        {"neigh_event_send_probe", {"neigh_resolve_output"}},
        {"neigh_event_ns", {"arp_process"}},
        {"tcp4_gro_complete", {"napi_gro_complete"}},
        // Also of tcp_fragment() and tso_fragment(), while the queue is walked.
        {"sk_stream_alloc_skb",
         {"tcp_write_xmit", "__tcp_retransmit_skb", "tcp_sendmsg_locked", "tcp_sendmsg", "tcp_connect"}},
        {"tcp_stream_alloc_skb",
         {"tcp_write_xmit", "__tcp_retransmit_skb", "tcp_sendmsg_locked", "tcp_sendmsg", "tcp_connect"}},
        {"tcp_clean_rtx_queue", {"tcp_ack"}},
        {"tcp_rtx_queue_unlink_and_free", {"tcp_ack", "tcp_clean_rtx_queue"}},
        {"tcp_eat_recv_skb", {"tcp_recvmsg_locked", "tcp_recvmsg"}},
        // Selective acknowledgements: tcp_ack() joins what they cover, and what is lost is sent again behind it (net/ipv4/tcp_input.c).
        {"tcp_shifted_skb", {"tcp_ack"}},
        {"tcp_xmit_retransmit_queue", {"tcp_ack", "tcp_rcv_established", "tcp_v4_do_rcv", "tcp_tsq_handler", "tcp_tasklet_func", "tcp_release_cb"}},
        {"tcp_compressed_ack_kick", {"hrtimer_run_softirq", "handle_softirqs", "__do_softirq"}},
        {"tcp_validate_incoming", {"tcp_rcv_established", "tcp_rcv_state_process"}},
        {"tcp_delack_timer_handler", {"tcp_release_cb", "tcp_delack_timer"}},
        {"tcp_write_timer_handler", {"tcp_release_cb", "tcp_write_timer"}},
        {"sock_i_uid", {"udp_lib_get_port", "udp_v4_get_port", "udp_v6_get_port"}},
        // The first error that an address is sent makes its peer, under a lock.
        {"inet_getpeer", {"ip_error", "ip_forward", "ip_rt_send_redirect", "icmpv4_xrlim_allow", "__icmp_send", "icmp_reply", "ip_defrag", "ip6_forward", "icmp6_send"}},
        {"expire_timers", {"run_timer_softirq"}},
        {"__run_timers", {"run_timer_softirq"}},
        {"__run_timer_base", {"run_timer_softirq"}},
        {"run_timer_base", {"run_timer_softirq"}},
        {"inet_autobind", {"inet_send_prepare", "inet_sendmsg", "inet6_sendmsg", "inet_dgram_connect"}},
        // A call that blocks gives the socket free meanwhile, and works off what came for it.
        {"sk_stream_wait_memory", {"tcp_sendmsg_locked", "tcp_sendmsg"}},
        {"sk_wait_data", {"tcp_recvmsg_locked", "tcp_recvmsg"}},
        {"inet_csk_route_req", {"tcp_conn_request", "tcp_v4_conn_request", "tcp_v4_send_synack"}},
        {"inet_csk_route_child_sock", {"tcp_v4_syn_recv_sock"}},
        {"tcp_make_synack", {"tcp_v4_send_synack"}},
        {"ip_build_and_send_pkt", {"tcp_v4_send_synack"}},
        {"sk_stream_kill_queues",
         {"tcp_time_wait", "tcp_fin", "tcp_reset", "tcp_rcv_state_process", "tcp_v4_do_rcv", "__tcp_close", "tcp_close"}},
        {"rawv6_sendmsg", sending_raw6},
        {"ip6_dst_lookup_tail", making6},
        {"ip6_append_data", making6},
        {"ip6_push_pending_frames", making6},
        {"icmpv6_push_pending_frames", {"icmpv6_echo_reply", "icmp6_send"}},
        {"fib6_rule_lookup", {"ip6_route_input", "ip6_route_output_flags"}},
        {"ndisc_alloc_skb", {"ndisc_send_ns", "ndisc_send_na", "ndisc_solicit"}},
        {"__nf_nat_alloc_null_binding", {"nf_nat_inet_fn"}},
        {"xt_snat_target_v0", {"ipt_do_table"}},
        {"reject_tg", {"ipt_do_table"}},
        {"nft_reject_ipv4_eval", {"nft_do_chain"}},
        {"nft_reject_inet_eval", {"nft_do_chain"}},
        {"__neigh_notify", notifying},
        {"rtnl_notify", notifying},
        {"netlink_broadcast", netlink},
        {"netlink_broadcast_filtered", netlink},
        {"netlink_unicast", netlink},
        {"netlink_sendmsg", netlink},
        {"netlink_recvmsg", netlink},
        {"netlink_dump", netlink},
        {"netlink_ack", netlink},
        {"__netlink_sendskb", netlink},
    };
    return map;
}

} // namespace

FunctionKind kind_of(std::string_view function)
{
    if (const auto at = kinds().find(function); at != kinds().end()) {
        return at->second;
    }
    if (function.starts_with("__x64_sys_") || function.starts_with("__ia32_sys_") ||
        function.starts_with("__arm64_sys_")) {
        return Kind::system_call;
    }
    if (function.starts_with("netlink_") || function.starts_with("__netlink_") ||
        function.starts_with("genl_") || function.starts_with("unix_")) {
        return Kind::foreign;
    }
    return Kind::carry;
}

std::span<const std::string_view> hosts_of(std::string_view untraced_caller)
{
    const auto at = host_map().find(untraced_caller);
    return at == host_map().end() ? std::span<const std::string_view>{} : at->second;
}

bool is_entry(std::string_view caller)
{
    static constexpr std::array entries = {
        std::string_view("do_syscall_64"),
        std::string_view("x64_sys_call"),
        std::string_view("smpboot_thread_fn"),
        std::string_view("kthread"),
        std::string_view("call_timer_fn"),
        std::string_view("__hrtimer_run_queues"),
        std::string_view("tasklet_action_common"),
        std::string_view("__flush_smp_call_function_queue"),
        std::string_view("flush_smp_call_function_queue"),
        std::string_view("process_one_work"),
        std::string_view("__irq_exit_rcu"),
        std::string_view("irq_exit_rcu"),
        std::string_view("do_softirq"),
        std::string_view("__local_bh_enable_ip"),
    };
    for (const std::string_view entry : entries) {
        if (entry == caller) {
            return true;
        }
    }
    return false;
}

std::span<const std::string_view> jumpers_to(std::string_view next)
{
    static const std::unordered_map<std::string_view, Hosts> jumps = {
        {"__udp4_lib_rcv", {"udp_rcv"}},
        {"__udp6_lib_rcv", {"udpv6_rcv"}},
        {"udp_queue_rcv_one_skb", {"udp_queue_rcv_skb"}},
        {"udpv6_queue_rcv_one_skb", {"udpv6_queue_rcv_skb"}},
        {"__netif_receive_skb_one_core", {"__netif_receive_skb"}},
        {"ip_rcv_finish", {"ip_rcv"}},
        // ip_rcv_finish() and ip6_rcv_finish() are in no usual filter, and end in dst_input()'s jump: to whatever the route says
        // (net/ipv4/route.c, net/ipv6/route.c: dst.input).
        {"ip_local_deliver", {"ip_rcv_finish", "ip_rcv"}},
        {"ip_forward", {"ip_rcv_finish", "ip_rcv"}},
        {"ip_error", {"ip_rcv_finish", "ip_rcv"}},
        {"ip_mr_input", {"ip_rcv_finish", "ip_rcv"}},
        {"dst_discard", {"ip_rcv_finish", "ip_rcv", "ip6_rcv_finish", "ipv6_rcv"}},
        {"ip6_input", {"ip6_rcv_finish", "ipv6_rcv"}},
        {"ip6_mc_input", {"ip6_rcv_finish", "ipv6_rcv"}},
        {"ip6_forward", {"ip6_rcv_finish", "ipv6_rcv"}},
        {"ip6_pkt_discard", {"ip6_rcv_finish", "ipv6_rcv"}},
        {"ip6_pkt_prohibit", {"ip6_rcv_finish", "ipv6_rcv"}},
        {"ip_local_deliver_finish", {"ip_local_deliver"}},
        {"ip6_input_finish", {"ip6_input"}},
        {"ip_forward_finish", {"ip_forward"}},
        {"ip_output", {"ip_forward_finish", "ip_local_out"}},
        {"ip_finish_output", {"ip_output"}},
        {"__ip_finish_output", {"ip_finish_output"}},
        {"ip_finish_output2", {"__ip_finish_output", "ip_finish_output"}},
        {"ip_fragment", {"__ip_finish_output", "ip_finish_output"}},
        {"ip_do_fragment", {"ip_fragment"}},
        {"__icmp_send", {"nf_send_unreach"}},
        {"ip6_finish_output", {"ip6_output"}},
        {"__ip6_finish_output", {"ip6_finish_output"}},
        {"ip6_finish_output2", {"__ip6_finish_output", "ip6_finish_output"}},
        {"__netif_receive_skb_one_core", {"__netif_receive_skb"}},
        {"inet_sendmsg", {"sock_sendmsg"}},
        {"udp_sendmsg", {"inet_sendmsg"}},
        {"tcp_sendmsg", {"inet_sendmsg"}},
        {"raw_sendmsg", {"inet_sendmsg"}},
        {"ping_v4_sendmsg", {"inet_sendmsg"}},
        {"udpv6_sendmsg", {"inet6_sendmsg"}},
        {"inet_recvmsg", {"sock_recvmsg"}},
        {"inet6_recvmsg", {"sock_recvmsg"}},
        {"sock_common_recvmsg", {"sock_recvmsg"}},
        {"packet_recvmsg", {"sock_recvmsg"}},
        {"__neigh_update", {"neigh_update"}},
        {"___neigh_create", {"__neigh_create"}},
        {"arp_process", {"arp_rcv"}},
        {"arp_xmit", {"arp_send_dst"}},
        {"udp_gro_receive", {"udp4_gro_receive", "udp6_gro_receive"}},
        {"tcp_gro_receive", {"tcp4_gro_receive", "tcp6_gro_receive"}},
        {"tcp_gso_segment", {"tcp4_gso_segment", "tcp6_gso_segment"}},
        {"gro_normal_one", {"napi_gro_complete"}},
        {"tcp_gro_complete", {"tcp4_gro_complete", "tcp6_gro_complete"}},
        {"tcp_send_ack", {"tcp_rcv_established", "tcp_data_queue", "tcp_release_cb"}},
        {"__tcp_send_ack", {"tcp_send_ack", "tcp_rcv_established", "tcp_release_cb"}},
        {"tcp_conn_request", {"tcp_v4_conn_request"}},
        {"__tcp_transmit_skb", {"__tcp_send_ack"}},
        {"__tcp_push_pending_frames", {"tcp_push", "tcp_send_fin"}},
        {"tcp_write_xmit", {"tcp_push_one"}},
        {"sock_def_readable", {"tcp_data_ready"}},
        {"__ip_queue_xmit", {"ip_queue_xmit"}},
        {"dev_queue_xmit", {"neigh_resolve_output", "neigh_connected_output", "neigh_direct_output"}},
        {"__dev_queue_xmit",
         {"dev_queue_xmit", "neigh_resolve_output", "neigh_connected_output", "neigh_direct_output"}},
        {"ip_push_pending_frames", {"icmp_push_reply"}},
        {"ip_route_input_slow", {"ip_route_input_rcu"}},
        {"ip_route_output_key_hash_rcu", {"ip_route_output_key_hash"}},
        {"__napi_schedule", {"skb_recv_done", "skb_xmit_done"}},
        {"napi_gro_receive", {"e1000_receive_skb", "receive_buf", "virtnet_receive_done"}},
        {"virtnet_receive_done", {"receive_buf"}},
        {"kfree_skb", {"__dev_kfree_skb_any"}},
        {"kfree_skb_reason", {"__dev_kfree_skb_any", "dev_kfree_skb_any_reason"}},
        {"sk_skb_reason_drop", {"dev_kfree_skb_any_reason"}},
        {"consume_skb", {"__dev_kfree_skb_any", "dev_kfree_skb_any_reason", "napi_consume_skb"}},
        {"__dev_kfree_skb_irq", {"__dev_kfree_skb_any"}},
        {"dev_kfree_skb_irq_reason", {"dev_kfree_skb_any_reason"}},
        {"__dev_kfree_skb_any", {"napi_consume_skb"}},
        {"dev_kfree_skb_any_reason", {"napi_consume_skb"}},
        {"kfree_skbmem",
         {"consume_skb", "kfree_skb", "kfree_skb_reason", "sk_skb_reason_drop", "__kfree_skb",
          "__consume_stateless_skb", "kfree_skb_partial"}},
        {"__consume_stateless_skb", {"skb_consume_udp"}},
        {"__kfree_skb", {"tcp_data_queue"}}, // 5.10
    };
    const auto at = jumps.find(next);
    return at == jumps.end() ? std::span<const std::string_view>{} : at->second;
}

std::string_view without_suffix(std::string_view symbol)
{
    return symbol.substr(0, symbol.find('.'));
}

} // namespace skbscope
