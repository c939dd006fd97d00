#include "core/scenario/sysctls.h"

#include "core/kernel/ipv6.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace skbscope {

namespace {

using kernel::Sysctls;
constexpr std::int64_t int_max = std::numeric_limits<std::int32_t>::max();

constexpr SysctlRow rows[] = {
    {"net.core.netdev_max_backlog", &Sysctls::netdev_max_backlog, 0, int_max, "packets", "Backlog limit",
     "Packets that may wait in a CPU's input_pkt_queue; the test comes before adding, so one more fits."},
    {"net.core.netdev_budget", &Sysctls::netdev_budget, 1, int_max, "packets", "Receive budget",
     "Packets that one run of net_rx_action may handle before it gives way."},
    {"net.core.netdev_budget_usecs", &Sysctls::netdev_budget_usecs, 2000, int_max / 1000, "us", "Receive time budget",
     "Time that one run of net_rx_action may take before it gives way."},
    {"net.core.dev_weight", &Sysctls::dev_weight, 1, int_max, "packets", "Backlog weight",
     "Packets that process_backlog takes in one poll."},
    {"net.core.dev_weight_rx_bias", &Sysctls::dev_weight_rx_bias, 1, int_max, "times", "Backlog weight, receive bias",
     "dev_weight is multiplied by it for process_backlog."},
    {"net.core.dev_weight_tx_bias", &Sysctls::dev_weight_tx_bias, 1, int_max, "times", "Qdisc quota, transmit bias",
     "dev_weight is multiplied by it for one run of a qdisc."},
    {"net.core.flow_limit_cpu_bitmap", &Sysctls::flow_limit_cpu_bitmap, 0, std::numeric_limits<std::int64_t>::max(), "CPUs as bits", "Flow limit",
     "CPUs whose backlog, once half full, drops a flow that has more than half of the last 128 packets."},
    {"net.core.flow_limit_table_len", &Sysctls::flow_limit_table_len, 1, 65536, "flows", "Flow limit's table",
     "Buckets that flows are told apart by; a power of two."},
    {"net.core.gro_normal_batch", &Sysctls::gro_normal_batch, 1, int_max, "packets", "List batch",
     "Packets that NAPI collects before the list goes up the stack."},
    {"net.core.rmem_default", &Sysctls::rmem_default, 2304, int_max, "bytes", "Default receive buffer",
     "Receive buffer of a socket that asks for none; it counts truesize, not payload."},
    {"net.core.rmem_max", &Sysctls::rmem_max, 2304, int_max, "bytes", "Largest receive buffer",
     "The most that setsockopt(SO_RCVBUF) may ask for; the kernel doubles what it gets."},
    {"net.core.wmem_default", &Sysctls::wmem_default, 4608, int_max, "bytes", "Default send buffer",
     "Send buffer of a socket that asks for none."},
    {"net.core.wmem_max", &Sysctls::wmem_max, 4608, int_max, "bytes", "Largest send buffer",
     "The most that setsockopt(SO_SNDBUF) may ask for."},
    {"net.ipv4.udp_mem", &Sysctls::udp_mem_max, 1, int_max, "pages", "UDP memory",
     "Pages that all UDP sockets together may hold for received datagrams: the last of the three values; the first is half of it."},
    {"net.ipv4.udp_rmem_min", &Sysctls::udp_rmem_min, 1, int_max, "bytes", "Least UDP receive memory",
     "What one socket may hold even when UDP's memory is short."},
    {"net.ipv4.ip_default_ttl", &Sysctls::ip_default_ttl, 1, 255, "hops", "TTL", "TTL of packets that start here."},
    {"net.ipv4.ip_early_demux", &Sysctls::ip_early_demux, 0, 1, "", "Early demux",
     "Look for a connected socket before the route."},
    {"net.ipv4.ip_forward", &Sysctls::ip_forward, 0, 1, "", "Forwarding", "Packets for others go on to them; sets forwarding of every device."},
    {"net.ipv4.ip_forward_update_priority", &Sysctls::ip_forward_update_priority, 0, 1, "", "Forwarded priority",
     "A forwarded packet's priority follows its TOS."},
    {"net.ipv4.ip_local_port_range.low", &Sysctls::ip_local_port_low, 1, 65535, "port", "First local port",
     "First value of net.ipv4.ip_local_port_range: from here the kernel picks a port for a socket that has none."},
    {"net.ipv4.ip_local_port_range.high", &Sysctls::ip_local_port_high, 1, 65535, "port", "Last local port",
     "Second value of net.ipv4.ip_local_port_range; not below the first."},
    {"net.core.rps_sock_flow_entries", &Sysctls::rps_sock_flow_entries, 0, 1 << 20, "flows", "RFS table",
     "Flows whose reader's CPU is remembered, a power of two; with DEVICE.rps_flow_cnt packets go to the CPU of their reader. 0: off."},
    {"net.ipv4.udp_early_demux", &Sysctls::udp_early_demux, 0, 1, "", "UDP early demux", "Look for a connected UDP socket before the route."},
    {"net.ipv4.icmp_ratelimit", &Sysctls::icmp_ratelimit, 0, int_max, "ms", "ICMP rate limit",
     "What one ICMP error costs its destination, of a bucket that gains 1 ms a ms and holds six; 0: no limit."},
    {"net.ipv4.icmp_ratemask", &Sysctls::icmp_ratemask, 0, int_max, "bits", "ICMP rate mask", "ICMP types that are limited; bit 3 is destination unreachable."},
    {"net.ipv4.icmp_msgs_per_sec", &Sysctls::icmp_msgs_per_sec, 0, int_max, "messages/s", "ICMP messages a second", "Limited ICMP messages of the whole namespace."},
    {"net.ipv4.icmp_msgs_burst", &Sysctls::icmp_msgs_burst, 0, int_max, "messages", "ICMP burst", "Limited ICMP messages at once."},
    {"net.ipv4.icmp_echo_ignore_all", &Sysctls::icmp_echo_ignore_all, 0, 1, "", "Ignore pings", "No echo request is answered."},
    {"net.ipv4.icmp_echo_ignore_broadcasts", &Sysctls::icmp_echo_ignore_broadcasts, 0, 1, "", "Ignore broadcast pings",
     "No echo request to a broadcast or multicast address is answered."},
    {"net.ipv4.icmp_errors_use_inbound_ifaddr", &Sysctls::icmp_errors_use_inbound_ifaddr, 0, 1, "", "ICMP source",
     "An ICMP error bears the address of the device that the packet came in by."},
    {"net.ipv4.icmp_ignore_bogus_error_responses", &Sysctls::icmp_ignore_bogus_error_responses, 0, 1, "", "Bogus ICMP errors",
     "Errors about broadcasts are let through to the sockets."},
    {"net.ipv4.ip_no_pmtu_disc", &Sysctls::ip_no_pmtu_disc, 0, 3, "", "No path MTU discovery", "How ICMP fragmentation-needed is taken."},
    {"net.ipv4.ipfrag_high_thresh", &Sysctls::ipfrag_high_thresh, 0, int_max, "bytes", "Reassembly memory", "No further datagram begins reassembly above it."},
    {"net.ipv4.ipfrag_low_thresh", &Sysctls::ipfrag_low_thresh, 0, int_max, "bytes", "Reassembly memory, low mark",
     "Kept by the kernels from 4.17 on for those who set it; the limit is ipfrag_high_thresh alone."},
    {"net.ipv4.ipfrag_time", &Sysctls::ipfrag_time, 0, int_max / 1000, "s", "Reassembly time", "How long fragments wait for the rest."},
    {"net.ipv4.ipfrag_max_dist", &Sysctls::ipfrag_max_dist, 0, int_max, "fragments", "Reassembly distance",
     "So many other fragments of a source may come between two of one datagram."},
    {"net.ipv4.route.redirect_number", &Sysctls::redirect_number, 0, int_max, "redirects", "Redirects at most", "ICMP redirects to one host before it is left alone."},
    {"net.ipv4.route.redirect_load", &Sysctls::redirect_load, 0, int_max, "jiffies", "Redirect interval", "Least time between two redirects to a host; doubles with each."},
    {"net.ipv4.route.redirect_silence", &Sysctls::redirect_silence, 0, int_max, "jiffies", "Redirect silence", "After so long without a redirect a host is told again."},
    {"net.ipv4.route.error_cost", &Sysctls::error_cost, 0, int_max, "jiffies", "Unreachable: cost", "Tokens that one \"unreachable\" for want of a route costs its host."},
    {"net.ipv4.route.error_burst", &Sysctls::error_burst, 0, int_max, "jiffies", "Unreachable: burst", "Tokens that a host can save up."},
    {"net.ipv4.neigh.default.mcast_solicit", &Sysctls::neigh_mcast_solicit, 0, 1000, "probes", "Broadcast probes", "ARP requests for an unknown neighbour."},
    {"net.ipv4.neigh.default.ucast_solicit", &Sysctls::neigh_ucast_solicit, 0, 1000, "probes", "Unicast probes", "ARP requests to a neighbour that was known."},
    {"net.ipv4.neigh.default.app_solicit", &Sysctls::neigh_app_solicit, 0, 1000, "probes", "Daemon probes", "Probes left to a user space daemon."},
    {"net.ipv4.neigh.default.retrans_time_ms", &Sysctls::neigh_retrans_time_ms, 1, int_max, "ms", "Probe interval", "Between two ARP requests."},
    {"net.ipv4.neigh.default.base_reachable_time_ms", &Sysctls::neigh_base_reachable_time_ms, 1, int_max, "ms", "Reachable time",
     "How long an answer proves that a neighbour is there."},
    {"net.ipv4.neigh.default.delay_first_probe_time", &Sysctls::neigh_delay_first_probe_time, 0, int_max / 1000, "s", "Delay before probing",
     "How long a stale neighbour is used before it is asked."},
    {"net.ipv4.neigh.default.gc_stale_time", &Sysctls::neigh_gc_stale_time, 0, int_max / 1000, "s", "Stale time", "Age at which an unused entry may go."},
    {"net.ipv4.neigh.default.locktime", &Sysctls::neigh_locktime_jiffies, 0, int_max, "jiffies", "Lock time", "So long the first of several ARP answers stands."},
    {"net.ipv4.neigh.default.gc_thresh1", &Sysctls::neigh_gc_thresh1, 0, int_max, "entries", "Neighbours kept", "Below it nothing is collected."},
    {"net.ipv4.neigh.default.gc_thresh2", &Sysctls::neigh_gc_thresh2, 0, int_max, "entries", "Neighbours, soft limit", "Above it entries are collected when one is made."},
    {"net.ipv4.neigh.default.gc_thresh3", &Sysctls::neigh_gc_thresh3, 0, int_max, "entries", "Neighbours, hard limit", "The most entries that there can be."},
    {"net.ipv4.neigh.default.unres_qlen_bytes", &Sysctls::unres_qlen_bytes, 0, int_max, "bytes", "Unresolved queue",
     "Bytes of truesize that may wait for one neighbour's address; the oldest makes room."},
    {"net.netfilter.nf_conntrack_max", &Sysctls::nf_conntrack_max, 0, int_max, "connections", "Connection limit",
     "Connections that may be tracked at once; 0: no limit. A packet that would make one more is dropped."},
    {"net.netfilter.nf_conntrack_checksum", &Sysctls::nf_conntrack_checksum, 0, 1, "", "Check sums when tracking",
     "A packet with a wrong checksum belongs to no connection."},
    {"net.netfilter.nf_conntrack_tcp_loose", &Sysctls::nf_conntrack_tcp_loose, 0, 1, "", "Pick up connections",
     "A TCP connection may be picked up in its middle."},
    {"net.netfilter.nf_conntrack_generic_timeout", &Sysctls::nf_conntrack_generic_timeout, 0, int_max, "s", "Lifetime: generic",
     "Seconds after its last packet until such a connection is forgotten."},
    {"net.netfilter.nf_conntrack_icmp_timeout", &Sysctls::nf_conntrack_icmp_timeout, 0, int_max, "s", "Lifetime: icmp",
     "Seconds after its last packet until such a connection is forgotten."},
    {"net.netfilter.nf_conntrack_udp_timeout", &Sysctls::nf_conntrack_udp_timeout, 0, int_max, "s", "Lifetime: udp",
     "Seconds after its last packet until such a connection is forgotten."},
    {"net.netfilter.nf_conntrack_udp_timeout_stream", &Sysctls::nf_conntrack_udp_timeout_stream, 0, int_max, "s", "Lifetime: udp stream",
     "Seconds after its last packet until such a connection is forgotten."},
    {"net.netfilter.nf_conntrack_tcp_timeout_syn_sent", &Sysctls::nf_conntrack_tcp_timeout_syn_sent, 0, int_max, "s", "Lifetime: tcp syn sent",
     "Seconds after its last packet until such a connection is forgotten."},
    {"net.netfilter.nf_conntrack_tcp_timeout_syn_recv", &Sysctls::nf_conntrack_tcp_timeout_syn_recv, 0, int_max, "s", "Lifetime: tcp syn recv",
     "Seconds after its last packet until such a connection is forgotten."},
    {"net.netfilter.nf_conntrack_tcp_timeout_established", &Sysctls::nf_conntrack_tcp_timeout_established, 0, int_max, "s", "Lifetime: tcp established",
     "Seconds after its last packet until such a connection is forgotten."},
    {"net.netfilter.nf_conntrack_tcp_timeout_fin_wait", &Sysctls::nf_conntrack_tcp_timeout_fin_wait, 0, int_max, "s", "Lifetime: tcp fin wait",
     "Seconds after its last packet until such a connection is forgotten."},
    {"net.netfilter.nf_conntrack_tcp_timeout_close_wait", &Sysctls::nf_conntrack_tcp_timeout_close_wait, 0, int_max, "s", "Lifetime: tcp close wait",
     "Seconds after its last packet until such a connection is forgotten."},
    {"net.netfilter.nf_conntrack_tcp_timeout_last_ack", &Sysctls::nf_conntrack_tcp_timeout_last_ack, 0, int_max, "s", "Lifetime: tcp last ack",
     "Seconds after its last packet until such a connection is forgotten."},
    {"net.netfilter.nf_conntrack_tcp_timeout_time_wait", &Sysctls::nf_conntrack_tcp_timeout_time_wait, 0, int_max, "s", "Lifetime: tcp time wait",
     "Seconds after its last packet until such a connection is forgotten."},
    {"net.netfilter.nf_conntrack_tcp_timeout_close", &Sysctls::nf_conntrack_tcp_timeout_close, 0, int_max, "s", "Lifetime: tcp close",
     "Seconds after its last packet until such a connection is forgotten."},
    {"net.netfilter.nf_conntrack_tcp_timeout_unacknowledged", &Sysctls::nf_conntrack_tcp_timeout_unacknowledged, 0, int_max, "s", "Lifetime: tcp unacknowledged",
     "Seconds after its last packet until such a connection is forgotten."},
    {"net.ipv4.tcp_timestamps", &Sysctls::tcp_timestamps, 0, 2, "", "TCP timestamps", "Offer and use the timestamp option."},
    {"net.ipv4.tcp_sack", &Sysctls::tcp_sack, 0, 1, "", "Selective ACK", "Say which bytes behind a gap have arrived."},
    {"net.ipv4.tcp_dsack", &Sysctls::tcp_dsack, 0, 1, "", "Duplicate SACK", "Say which bytes have arrived twice."},
    {"net.ipv4.tcp_window_scaling", &Sysctls::tcp_window_scaling, 0, 1, "", "Window scaling", "Windows of more than 64 KiB."},
    {"net.core.somaxconn", &Sysctls::somaxconn, 0, int_max, "connections", "Longest accept queue",
     "The most that listen() gets; the test comes before adding, so one more fits."},
    {"net.ipv4.tcp_max_syn_backlog", &Sysctls::tcp_max_syn_backlog, 0, int_max, "requests", "SYN backlog",
     "Half-open connections, where SYN cookies are off."},
    {"net.ipv4.tcp_syncookies", &Sysctls::tcp_syncookies, 0, 2, "", "SYN cookies", "Answer without remembering: 1 when the queue of half-open connections is full, 2 always, 0 never (then a SYN is dropped)."},
    {"net.ipv4.tcp_abort_on_overflow", &Sysctls::tcp_abort_on_overflow, 0, 1, "", "RST on overflow",
     "Answer with a RST when the accept queue is full, instead of waiting."},
    {"net.ipv4.tcp_syn_retries", &Sysctls::tcp_syn_retries, 1, 127, "times", "SYN retries", "How often a SYN goes again."},
    {"net.ipv4.tcp_synack_retries", &Sysctls::tcp_synack_retries, 0, 255, "times", "SYN-ACK retries", "How often a SYN-ACK goes again."},
    {"net.ipv4.tcp_retries2", &Sysctls::tcp_retries2, 0, 255, "times", "Retransmissions", "After which time a connection is given up."},
    {"net.ipv4.tcp_fin_timeout", &Sysctls::tcp_fin_timeout, 0, int_max / 1000, "s", "FIN timeout", "How long an orphan waits for the peer's FIN."},
    {"net.ipv4.tcp_rmem.min", &Sysctls::tcp_rmem_min, 1, int_max, "bytes", "Least receive buffer", "First value of net.ipv4.tcp_rmem."},
    {"net.ipv4.tcp_rmem.default", &Sysctls::tcp_rmem_default, 2304, int_max, "bytes", "TCP receive buffer", "Second value of net.ipv4.tcp_rmem."},
    {"net.ipv4.tcp_rmem.max", &Sysctls::tcp_rmem_max, 2304, int_max, "bytes", "Largest TCP receive buffer", "Third value of net.ipv4.tcp_rmem: as far as tuning goes."},
    {"net.ipv4.tcp_wmem.min", &Sysctls::tcp_wmem_min, 1, int_max, "bytes", "Least send buffer", "First value of net.ipv4.tcp_wmem."},
    {"net.ipv4.tcp_wmem.default", &Sysctls::tcp_wmem_default, 4608, int_max, "bytes", "TCP send buffer", "Second value of net.ipv4.tcp_wmem."},
    {"net.ipv4.tcp_wmem.max", &Sysctls::tcp_wmem_max, 4608, int_max, "bytes", "Largest TCP send buffer", "Third value of net.ipv4.tcp_wmem: as far as tuning goes."},
    {"net.ipv4.tcp_limit_output_bytes", &Sysctls::tcp_limit_output_bytes, 0, int_max, "bytes", "TCP small queues",
     "Bytes of a connection that may wait in qdisc and device."},
    {"net.ipv4.tcp_min_tso_segs", &Sysctls::tcp_min_tso_segs, 1, 127, "segments", "Least TSO burst", "Segments that a large packet has at least."},
    {"net.ipv4.tcp_tso_win_divisor", &Sysctls::tcp_tso_win_divisor, 0, 255, "", "TSO window share", "Part of the window that one large packet may take."},
    {"net.ipv4.tcp_autocorking", &Sysctls::tcp_autocorking, 0, 1, "", "Autocorking", "Hold small writes back while packets wait in the device."},
    {"net.ipv4.tcp_slow_start_after_idle", &Sysctls::tcp_slow_start_after_idle, 0, 1, "", "Slow start after idle", "Begin anew after a pause."},
    {"net.ipv4.tcp_moderate_rcvbuf", &Sysctls::tcp_moderate_rcvbuf, 0, 1, "", "Receive buffer tuning", "Grow the receive buffer with what the application reads."},
    {"net.ipv4.tcp_adv_win_scale", &Sysctls::tcp_adv_win_scale, -31, 31, "", "Window share of the buffer", "Part of the receive buffer that is offered as window (not in 6.12)."},
    {"net.ipv4.tcp_recovery", &Sysctls::tcp_recovery, 0, 255, "", "Loss recovery", "Bits of RACK."},
    {"net.ipv4.tcp_early_retrans", &Sysctls::tcp_early_retrans, 0, 4, "", "Tail loss probe", "3: send a probe when the last segments seem lost."},
    {"net.ipv4.tcp_reordering", &Sysctls::tcp_reordering, 1, 300, "segments", "Reordering", "Duplicate ACKs that mean loss."},
    {"net.ipv4.tcp_frto", &Sysctls::tcp_frto, 0, 2, "", "F-RTO", "Find timeouts that were none."},
    {"net.ipv4.tcp_early_demux", &Sysctls::tcp_early_demux, 0, 1, "", "TCP early demux", "Look for an established connection before the route."},
    {"net.ipv6.bindv6only", &Sysctls::ip6_bindv6only, 0, 1, "", "IPv6 sockets only",
     "A socket bound to :: takes no IPv4 unless it says otherwise."},
    {"net.ipv6.auto_flowlabels", &Sysctls::ip6_auto_flowlabels, 0, 3, "", "Flow labels",
     "Packets bear a flow label made of their flow's hash."},
    {"net.ipv6.icmp.ratelimit", &Sysctls::ip6_icmp_ratelimit, 0, int_max, "ms", "ICMPv6 rate limit",
     "What one ICMPv6 error costs its destination; less for wider prefixes; 0: no limit."},
    {"net.ipv6.icmp.echo_ignore_all", &Sysctls::ip6_icmp_echo_ignore_all, 0, 1, "", "Ignore pings (IPv6)",
     "No echo request is answered."},
    {"net.ipv6.icmp.echo_ignore_multicast", &Sysctls::ip6_icmp_echo_ignore_multicast, 0, 1, "", "Ignore multicast pings (IPv6)",
     "No echo request to a group is answered."},
    {"net.ipv6.icmp.echo_ignore_anycast", &Sysctls::ip6_icmp_echo_ignore_anycast, 0, 1, "", "Ignore anycast pings (IPv6)",
     "No echo request to an anycast address is answered."},
    {"net.ipv6.ip6frag_high_thresh", &Sysctls::ip6frag_high_thresh, 0, int_max, "bytes", "Reassembly memory (IPv6)",
     "No further datagram begins reassembly above it."},
    {"net.ipv6.ip6frag_low_thresh", &Sysctls::ip6frag_low_thresh, 0, int_max, "bytes", "Reassembly memory, low mark (IPv6)",
     "Kept for those who set it; the limit is ip6frag_high_thresh alone."},
    {"net.ipv6.ip6frag_time", &Sysctls::ip6frag_time, 0, int_max / 1000, "s", "Reassembly time (IPv6)",
     "How long fragments wait for the rest."},
    {"net.ipv6.max_hbh_opts_number", &Sysctls::ip6_max_hbh_opts_number, -int_max, int_max, "options", "Hop-by-hop options",
     "The most that a packet may bear; negative: unknown ones are refused, and so many are allowed."},
    {"net.ipv6.max_dst_opts_number", &Sysctls::ip6_max_dst_opts_number, -int_max, int_max, "options", "Destination options",
     "The most that a packet may bear; negative: unknown ones are refused, and so many are allowed."},
    {"net.ipv6.neigh.default.mcast_solicit", &Sysctls::neigh6_mcast_solicit, 0, 1000, "probes", "Multicast probes (IPv6)",
     "Solicitations for an unknown neighbour."},
    {"net.ipv6.neigh.default.ucast_solicit", &Sysctls::neigh6_ucast_solicit, 0, 1000, "probes", "Unicast probes (IPv6)",
     "Solicitations to a neighbour that was known."},
    {"net.ipv6.neigh.default.app_solicit", &Sysctls::neigh6_app_solicit, 0, 1000, "probes", "Daemon probes (IPv6)",
     "Probes left to a user space daemon."},
    {"net.ipv6.neigh.default.retrans_time_ms", &Sysctls::neigh6_retrans_time_ms, 1, int_max, "ms", "Probe interval (IPv6)",
     "Between two solicitations."},
    {"net.ipv6.neigh.default.base_reachable_time_ms", &Sysctls::neigh6_base_reachable_time_ms, 1, int_max, "ms", "Reachable time (IPv6)",
     "How long an answer proves that a neighbour is there."},
    {"net.ipv6.neigh.default.delay_first_probe_time", &Sysctls::neigh6_delay_first_probe_time, 0, int_max / 1000, "s", "Delay before probing (IPv6)",
     "How long a stale neighbour is used before it is asked."},
    {"net.ipv6.neigh.default.gc_stale_time", &Sysctls::neigh6_gc_stale_time, 0, int_max / 1000, "s", "Stale time (IPv6)",
     "Age at which an unused entry may go."},
    {"net.ipv6.neigh.default.gc_thresh1", &Sysctls::neigh6_gc_thresh1, 0, int_max, "entries", "Neighbours kept (IPv6)",
     "Below it nothing is collected."},
    {"net.ipv6.neigh.default.gc_thresh2", &Sysctls::neigh6_gc_thresh2, 0, int_max, "entries", "Neighbours, soft limit (IPv6)",
     "Above it entries are collected when one is made."},
    {"net.ipv6.neigh.default.gc_thresh3", &Sysctls::neigh6_gc_thresh3, 0, int_max, "entries", "Neighbours, hard limit (IPv6)",
     "The most entries that there can be."},
    {"net.ipv6.neigh.default.unres_qlen_bytes", &Sysctls::neigh6_unres_qlen_bytes, 0, int_max, "bytes", "Unresolved queue (IPv6)",
     "Bytes of truesize that may wait for one neighbour's address; the oldest makes room."},
    {"net.core.skb_defer_max", &Sysctls::skb_defer_max, 0, int_max, "packets", "Deferred frees",
     "sk_buffs that wait to be freed by the CPU that allocated them (not in 5.10)."},
};

} // namespace

std::span<const SysctlRow> sysctl_rows()
{
    return rows;
}

const SysctlRow* find_sysctl(std::string_view name)
{
    const auto* found = std::ranges::find(rows, name, &SysctlRow::name);
    return found == std::end(rows) ? nullptr : found;
}

namespace {

using kernel::DevConf;
constexpr DevConfRow dev_confs[] = {
    {"forwarding", DevConf::forwarding, 0, 1, "Packets that come in here may go on to others."},
    {"mc_forwarding", DevConf::mc_forwarding, 0, 1, "Multicast routing (a daemon sets it)."},
    {"bc_forwarding", DevConf::bc_forwarding, 0, 1, "Directed broadcasts go on."},
    {"accept_redirects", DevConf::accept_redirects, 0, 1, "ICMP redirects are believed."},
    {"secure_redirects", DevConf::secure_redirects, 0, 1, "… only of gateways."},
    {"send_redirects", DevConf::send_redirects, 0, 1, "Who could go directly is told so."},
    {"shared_media", DevConf::shared_media, 0, 1, "Different networks share the wire."},
    {"rp_filter", DevConf::rp_filter, 0, 2, "The way back to the source: 0 not looked at, 1 must be this device, 2 must exist."},
    {"accept_source_route", DevConf::accept_source_route, 0, 1, "Source routed packets are taken."},
    {"accept_local", DevConf::accept_local, 0, 1, "Our own addresses as source, from outside."},
    {"route_localnet", DevConf::route_localnet, 0, 1, "127/8 is no martian."},
    {"log_martians", DevConf::log_martians, 0, 1, "Impossible addresses are logged."},
    {"proxy_arp", DevConf::proxy_arp, 0, 1, "ARP requests for others are answered."},
    {"proxy_arp_pvlan", DevConf::proxy_arp_pvlan, 0, 1, "… even back to the same device."},
    {"arp_filter", DevConf::arp_filter, 0, 1, "ARP is answered only where the route back leads."},
    {"arp_announce", DevConf::arp_announce, 0, 2, "Which own address an ARP request bears."},
    {"arp_ignore", DevConf::arp_ignore, 0, 8, "Which own addresses ARP is answered for."},
    {"arp_accept", DevConf::arp_accept, 0, 2, "Announcements that nobody asked for make new entries."},
    {"arp_notify", DevConf::arp_notify, 0, 1, "A new address is announced."},
    {"drop_gratuitous_arp", DevConf::drop_gratuitous_arp, 0, 1, "Announcements are dropped."},
    {"drop_unicast_in_l2_multicast", DevConf::drop_unicast_in_l2_multicast, 0, 1, "A unicast packet in a broadcast frame is dropped."},
};

using kernel::Ipv6DevConf;
constexpr DevConf6Row dev_confs6[] = {
    {"disable_ipv6", &Ipv6DevConf::disable_ipv6, 0, 1, "The device speaks no IPv6; its addresses go."},
    {"forwarding", &Ipv6DevConf::forwarding, 0, 1, "Of all: packets for others go on to them. Of a device: it acts as a router's."},
    {"hop_limit", &Ipv6DevConf::hop_limit, 1, 255, "Hop limit of packets that start here."},
    {"accept_source_route", &Ipv6DevConf::accept_source_route, -1, 1, "Routing headers are taken; no type of them is followed here."},
    {"accept_redirects", &Ipv6DevConf::accept_redirects, 0, 1, "Redirects are believed; not heeded here."},
    {"drop_unicast_in_l2_multicast", &Ipv6DevConf::drop_unicast_in_l2_multicast, 0, 1, "A unicast packet in a multicast frame is dropped."},
    {"drop_unsolicited_na", &Ipv6DevConf::drop_unsolicited_na, 0, 1, "Advertisements that nobody asked for are dropped."},
    {"accept_untracked_na", &Ipv6DevConf::accept_untracked_na, 0, 2, "Advertisements of unknown neighbours make entries."},
    {"force_tllao", &Ipv6DevConf::force_tllao, 0, 1, "Unicast solicitations are answered with the link-layer address, too."},
};

/// net/ipv4/devinet.c: inet_forward_change
void forward_change(kernel::World& world, kernel::NetIndex net, std::int64_t value)
{
    const auto on = static_cast<std::int32_t>(value);
    kernel::Ipv4Net& ipv4 = world.nets[net].ipv4;
    for (kernel::Ipv4DevConf* conf : {&ipv4.conf_all, &ipv4.conf_default}) {
        (*conf)[DevConf::forwarding] = on;
    }
    ipv4.conf_all[DevConf::accept_redirects] = on == 0 ? 1 : 0;
    for (kernel::NetDevice& device : world.devices) {
        if (device.net == net) {
            device.conf[DevConf::forwarding] = on;
        }
    }
}

/// The row and the device ("all", "default" or a name, which may hold dots) of a setting named PREFIX DEVICE "." ROW.
template <typename Found, typename Rows>
std::optional<Found> find_conf(const Rows& table, std::string_view prefix, std::string_view name)
{
    const std::size_t dot = name.rfind('.');
    if (!name.starts_with(prefix) || dot == std::string_view::npos || dot <= prefix.size()) {
        return std::nullopt;
    }
    const std::string_view wanted = name.substr(dot + 1);
    const auto found = std::ranges::find_if(table, [&](const auto& row) { return row.name == wanted; });
    if (found == std::end(table)) {
        return std::nullopt;
    }
    return Found{&*found, std::string(name.substr(prefix.size(), dot - prefix.size()))};
}

} // namespace

std::span<const DevConfRow> dev_conf_rows()
{
    return dev_confs;
}

std::optional<DevConfName> find_dev_conf(std::string_view name)
{
    return find_conf<DevConfName>(dev_confs, "net.ipv4.conf.", name);
}

std::span<const DevConf6Row> dev_conf6_rows()
{
    return dev_confs6;
}

std::optional<DevConf6Name> find_dev_conf6(std::string_view name)
{
    return find_conf<DevConf6Name>(dev_confs6, "net.ipv6.conf.", name);
}

bool is_machine_wide(std::string_view name)
{
    constexpr std::string_view machine[] = {"net.ipv4.route.", "net.ipv4.neigh.default.gc_thresh", "net.ipv6.neigh.default.gc_thresh",
                                            "net.ipv4.udp_mem", "net.netfilter.nf_conntrack_max"};
    if (name.starts_with("net.core.")) {
        return name != "net.core.somaxconn";
    }
    return std::ranges::any_of(machine, [&](std::string_view prefix) { return name.starts_with(prefix); });
}

bool is_sysctl(std::string_view name)
{
    return find_sysctl(name) != nullptr || find_dev_conf(name) || find_dev_conf6(name);
}

namespace {

/// net/ipv6/addrconf.c: addrconf_sysctl_forward, addrconf_sysctl_disable, and the plain ones.
bool set_dev_conf6(kernel::World& world, kernel::NetIndex net, const DevConf6Name& conf, std::int64_t value)
{
    const auto put = [&](kernel::DeviceIndex index) {
        kernel::NetDevice& device = world.devices[static_cast<std::size_t>(index)];
        const std::int64_t before = device.in6.*conf.row->member;
        device.in6.*conf.row->member = value;
        if (before == value) {
            return;
        }
        if (conf.row->member == &Ipv6DevConf::disable_ipv6) {
            kernel::addrconf_disable_change(world, index);
        } else if (conf.row->member == &Ipv6DevConf::forwarding) {
            kernel::addrconf_forward_change(world, index);
        }
    };
    kernel::Ipv6Net& ipv6 = world.nets[net].ipv6;
    if (conf.device == "default") {
        ipv6.conf_default.*conf.row->member = value;
        return true;
    }
    const bool all = conf.device == "all";
    const bool spreads = conf.row->member == &Ipv6DevConf::disable_ipv6 || conf.row->member == &Ipv6DevConf::forwarding;
    if (all) {
        ipv6.conf_all.*conf.row->member = value;
        if (!spreads) {
            return true;
        }
        ipv6.conf_default.*conf.row->member = value;
    }
    bool found = all;
    for (std::size_t row = 0; row < world.devices.size(); ++row) {
        if (world.devices[row].net == net && (all || world.devices[row].name == conf.device)) {
            put(static_cast<kernel::DeviceIndex>(row));
            found = true;
        }
    }
    return found;
}

/// net/core/sysctl_net_core.c: rps_sock_flow_sysctl: a new table forgets who reads where.
void resize_rps_sock_flow_table(kernel::World& world, kernel::NetIndex net)
{
    kernel::Net& of = world.nets[net];
    kernel::Host& host = world.hosts[of.host];
    if (host.init_net != net) {
        return;
    }
    const auto wanted = static_cast<std::uint64_t>(of.sysctl.rps_sock_flow_entries);
    const std::uint64_t size = wanted == 0 ? 0 : std::bit_ceil(wanted);
    of.sysctl.rps_sock_flow_entries = static_cast<std::int64_t>(size);
    if (size != host.rps_sock_flow_table.size()) {
        host.rps_sock_flow_table.assign(size, kernel::RpsDevFlow::RPS_NO_CPU);
    }
}

} // namespace

bool set_sysctl(kernel::World& world, kernel::NetIndex net, std::string_view name, std::int64_t value)
{
    if (const SysctlRow* row = find_sysctl(name)) {
        world.nets[net].sysctl.*(row->member) = value;
        if (name == "net.ipv4.ip_forward") {
            forward_change(world, net, value);
        } else if (name == "net.core.rps_sock_flow_entries") {
            resize_rps_sock_flow_table(world, net);
        }
        return true;
    }
    if (const auto conf6 = find_dev_conf6(name)) {
        return set_dev_conf6(world, net, *conf6, value);
    }
    const auto conf = find_dev_conf(name);
    if (!conf) {
        return false;
    }
    const auto to = static_cast<std::int32_t>(value);
    kernel::Ipv4Net& ipv4 = world.nets[net].ipv4;
    if (conf->device == "all") {
        ipv4.conf_all[conf->row->which] = to;
        if (conf->row->which == DevConf::forwarding) {
            world.nets[net].sysctl.ip_forward = value;
            forward_change(world, net, value);
        }
        return true;
    }
    if (conf->device == "default") {
        ipv4.conf_default[conf->row->which] = to;
        return true;
    }
    for (kernel::NetDevice& device : world.devices) {
        if (device.net == net && device.name == conf->device) {
            device.conf[conf->row->which] = to;
            return true;
        }
    }
    return false;
}

} // namespace skbscope
