#pragma once
// The modelled functions of net/ipv6 that are called from another file, grouped by the file of the real
// kernel. What functions.h says of ownership holds here, too.

#include "core/kernel/functions.h"

namespace skbscope::kernel {

// include/uapi/linux/icmpv6.h, include/net/ndisc.h
inline constexpr std::uint8_t ICMPV6_DEST_UNREACH = 1, ICMPV6_PKT_TOOBIG = 2, ICMPV6_TIME_EXCEED = 3,
                              ICMPV6_PARAMPROB = 4, ICMPV6_ECHO_REQUEST = 128, ICMPV6_ECHO_REPLY = 129,
                              ICMPV6_MGM_QUERY = 130, ICMPV6_MGM_REPORT = 131, ICMPV6_MGM_REDUCTION = 132,
                              NDISC_ROUTER_SOLICITATION = 133, NDISC_ROUTER_ADVERTISEMENT = 134,
                              NDISC_NEIGHBOUR_SOLICITATION = 135, NDISC_NEIGHBOUR_ADVERTISEMENT = 136,
                              NDISC_REDIRECT = 137, ICMPV6_MLD2_REPORT = 143, ICMPV6_INFOMSG_MASK = 0x80;
inline constexpr std::uint8_t ICMPV6_NOROUTE = 0, ICMPV6_ADM_PROHIBITED = 1, ICMPV6_NOT_NEIGHBOUR = 2,
                              ICMPV6_ADDR_UNREACH = 3, ICMPV6_PORT_UNREACH = 4, ICMPV6_EXC_HOPLIMIT = 0,
                              ICMPV6_EXC_FRAGTIME = 1, ICMPV6_HDR_FIELD = 0, ICMPV6_UNK_NEXTHDR = 1,
                              ICMPV6_UNK_OPTION = 2;
// include/net/ipv6.h
inline constexpr std::uint8_t NEXTHDR_HOP = 0, NEXTHDR_ROUTING = 43, NEXTHDR_FRAGMENT = 44, NEXTHDR_NONE = 59,
                              NEXTHDR_DEST = 60;

/// struct flowi6: what a route is asked for.
struct Flowi6 {
    IpAddress saddr = IpAddress::any6(), daddr = IpAddress::any6();
    DeviceIndex oif = nothing;
    std::uint8_t proto = 0;
    std::uint16_t sport = 0, dport = 0;
    std::uint32_t flowlabel = 0;
};

/// struct ipcm6_cookie
struct Ipcm6Cookie {
    std::int16_t hlimit = -1, tclass = 0;
};

// net/ipv6/addrconf.c, net/ipv6/addrconf_core.c, net/ipv6/mcast.c
/// The device speaks IPv6 (__in6_dev_get() is not null).
[[nodiscard]] bool in6_dev_get(Kernel& k, DeviceIndex device);
/// One of the device's addresses; `device` nothing: of any device of the namespace (a link-local one always
/// asks for its device).
[[nodiscard]] bool ipv6_chk_addr(Kernel& k, NetIndex net, const IpAddress& address, DeviceIndex device);
/// One of this device's own addresses (ipv6_get_ifaddr() with strict set).
[[nodiscard]] bool ipv6_get_ifaddr(Kernel& k, const IpAddress& address, DeviceIndex device);
/// The link-local address of the device; false: it has none.
[[nodiscard]] bool ipv6_get_lladdr(Kernel& k, DeviceIndex device, IpAddress& address);
/// Source address selection (RFC 6724, as far as the model's addresses differ); false: there is none.
bool ipv6_dev_get_saddr(Kernel& k, NetIndex net, DeviceIndex destination_device, const IpAddress& daddr,
                        IpAddress& saddr, PacketId packet);
[[nodiscard]] bool ipv6_chk_acast_addr(Kernel& k, const IpAddress& address, DeviceIndex device);
[[nodiscard]] bool ipv6_chk_mcast_addr(Kernel& k, DeviceIndex device, const IpAddress& group);
/// The kernel's own socket, for neighbour discovery or for ICMPv6.
SocketIndex inet6_ctl_sock(Kernel& k, NetIndex net, bool of_ndisc);
/// The device begins to speak IPv6: it joins its groups, gets its routes and its link-local address. Before
/// the run begins.
void addrconf_add_dev(World& world, DeviceIndex device);
void addrconf_add_address(World& world, DeviceIndex device, const IpAddress& address, std::uint8_t prefix);
void addrconf_add_linklocal(World& world, DeviceIndex device);
/// disable_ipv6, forwarding of the device have changed (dev_disable_change, dev_forward_change).
void addrconf_disable_change(World& world, DeviceIndex device);
void addrconf_forward_change(World& world, DeviceIndex device);

// net/ipv6/route.c, net/ipv6/fib6_rules.c
void ip6_route_input(Kernel& k, SkbIndex skb);
Destination ip6_route_output_flags(Kernel& k, NetIndex net, SocketIndex sk, const Flowi6& fl6,
                                   PacketId packet);
/// Of dst.input and dst.output: what include/net/dst.h: dst_input() and dst_output() call.
void ip6_dst_input(Kernel& k, SkbIndex skb);
int ip6_dst_output(Kernel& k, SkbIndex skb);
[[nodiscard]] const Route6* route6_of(Kernel& k, NetIndex net,
                                      const Destination& dst); ///< null: none (an error, or made for ND)
[[nodiscard]] IpAddress rt6_nexthop(Kernel& k, NetIndex net, const Destination& dst, const IpAddress& daddr);
[[nodiscard]] std::uint32_t ip6_mtu(Kernel& k, NetIndex net, const Destination& dst, const IpAddress& daddr);
/// A dst for one message of neighbour discovery, past the tables.
Destination icmp6_dst_alloc(Kernel& k, DeviceIndex device);
void ip6_rt_update_pmtu(Kernel& k, NetIndex net, const IpAddress& destination, std::uint32_t mtu);
void ip6_link_failure(Kernel& k, SkbIndex skb);

// net/ipv6/ip6_input.c
void ipv6_rcv(Kernel& k, SkbIndex skb);
void ipv6_list_rcv(Kernel& k, SkbList list);
void ip6_rcv_finish(Kernel& k, SkbIndex skb); ///< what PRE_ROUTING goes on with
void ip6_input(Kernel& k, SkbIndex skb);
void ip6_input_finish(Kernel& k, SkbIndex skb); ///< what LOCAL_IN goes on with
void ip6_mc_input(Kernel& k, SkbIndex skb);
void ip6_protocol_deliver_rcu(Kernel& k, SkbIndex skb, std::uint8_t nexthdr, bool have_final);

// net/ipv6/exthdrs.c, net/ipv6/reassembly.c. A handler returns 1 where the next header is to be looked at,
// -1: the skb is gone.
bool ipv6_parse_hopopts(Kernel& k, SkbIndex skb); ///< false: dropped
int ipv6_destopt_rcv(Kernel& k, SkbIndex skb);
int ipv6_rthdr_rcv(Kernel& k, SkbIndex skb);
int ipv6_nodata_rcv(Kernel& k, SkbIndex skb);
int ipv6_frag_rcv(Kernel& k, SkbIndex skb);
void ip6_frag_expire(Kernel& k, std::int32_t queue, std::uint64_t generation);

// net/ipv6/ip6_output.c, net/ipv6/output_core.c
int ip6_output(Kernel& k, SkbIndex skb);
int ip6_finish_output(Kernel& k, SkbIndex skb); ///< what POST_ROUTING goes on with
int ip6_local_out(Kernel& k, SkbIndex skb);
int ip6_send_skb(Kernel& k, SkbIndex skb);
void ip6_forward(Kernel& k, SkbIndex skb);
int ip6_forward_finish(Kernel& k, SkbIndex skb); ///< what FORWARD goes on with
/// 0, or a negative errno. Fills in the source where the caller left it open.
int ip6_dst_lookup_tail(Kernel& k, NetIndex net, SocketIndex sk, Destination& dst, Flowi6& fl6,
                        PacketId packet);
int ip6_dst_lookup_flow(Kernel& k, NetIndex net, SocketIndex sk, Destination& dst, Flowi6& fl6,
                        PacketId packet);
int ip6_sk_dst_lookup_flow(Kernel& k, SocketIndex sk, Destination& dst, Flowi6& fl6, bool connected);
[[nodiscard]] std::uint8_t ip6_dst_hoplimit(Kernel& k, const Destination& dst);
/// One datagram: room for the transport header and the payload behind it. nothing: `error` says why.
SkbIndex ip6_make_skb(Kernel& k, SocketIndex sk, const Destination& dst, const Flowi6& fl6,
                      const Ipcm6Cookie& ipc6, std::span<const std::uint8_t> payload,
                      std::uint32_t transhdrlen, std::uint64_t call_sequence, int& error);
/// The same for the kernel's own messages: a packet with room for the transport header, without its IPv6
/// header yet.
SkbIndex ip6_append_data(Kernel& k, SocketIndex sk, const Destination& dst, const Flowi6& fl6,
                         std::span<const std::uint8_t> payload, std::uint32_t transhdrlen);
/// … and for an application's: `getfrag` is what copies from its memory. nothing: `error` says why.
SkbIndex ip6_append_data(Kernel& k, SocketIndex sk, const Destination& dst, const Flowi6& fl6,
                         std::span<const std::uint8_t> payload, std::uint32_t transhdrlen, FunctionId getfrag,
                         std::uint64_t call_sequence, int& error);
int ip6_push_pending_frames(Kernel& k, SkbIndex skb, const Destination& dst, const Flowi6& fl6,
                            const Ipcm6Cookie& ipc6);
[[nodiscard]] std::uint32_t ip6_make_flowlabel(Kernel& k, NetIndex net, const Flowi6& fl6);

// net/ipv6/ndisc.c
void ndisc_constructor(Kernel& k, Neighbour& neighbour);
void ndisc_solicit(Kernel& k, std::int32_t neighbour, SkbIndex skb);
void ndisc_error_report(Kernel& k, SkbIndex skb);
/// Tells the sender of that packet that `target` is a better first hop, if the rate limits let it. The skb
/// stays the caller's.
void ndisc_send_redirect(Kernel& k, SkbIndex skb, const IpAddress& target);
/// none: understood; else why not. The skb stays the caller's.
DropReasonId ndisc_rcv(Kernel& k, SkbIndex skb);

// net/ipv6/icmp.c
int icmpv6_rcv(Kernel& k, SkbIndex skb);
/// An error about that packet goes back to its sender, if the rules and rate limits let it. The skb stays the
/// caller's.
void icmp6_send(Kernel& k, SkbIndex skb, std::uint8_t type, std::uint8_t code, std::uint32_t info);
/// ICMP6MSGOUT_INC_STATS and ICMP6_MIB_OUTMSGS.
void icmpv6_count_out(Kernel& k, NetIndex net, std::uint8_t type, PacketId packet);
/// net/ipv4/inetpeer.c: inet_peer_xrlim_allow() for an IPv6 peer; `timeout` in jiffies.
bool ipv6_peer_allow(Kernel& k, NetIndex net, const IpAddress& peer, std::int64_t timeout);
/// The errno that an ICMPv6 error means to a socket; true: it ends a connection.
bool icmpv6_err_convert(std::uint8_t type, std::uint8_t code, int& error);

/// Completes the header (its checksum, too) of the message that ip6_append_data() made, and sends it.
void icmpv6_push_pending_frames(Kernel& k, SkbIndex skb, const Destination& dst, const Flowi6& fl6,
                                const Ipcm6Cookie& ipc6, std::span<const std::uint8_t, 8> header);

// net/ipv6/raw.c, net/ipv6/ping.c
/// True: a raw socket wanted it; each that does gets a clone.
bool raw6_local_deliver(Kernel& k, SkbIndex skb, std::uint8_t nexthdr);
/// data of the skb begins at the IPv6 header that the error quotes.
void raw6_icmp_error(Kernel& k, SkbIndex skb, std::uint8_t nexthdr, std::uint8_t type, std::uint8_t code);
int rawv6_sendmsg(Kernel& k, SocketIndex sk, std::span<const std::uint8_t> message, const IpAddress& address,
                  std::uint64_t call_sequence);
/// ping_err() of an ICMPv6 error; `offset`: of the quoted ICMPv6 header in data of the skb.
void ping_v6_err(Kernel& k, SkbIndex skb, std::uint8_t type, std::uint8_t code, std::size_t offset);
int ping_v6_sendmsg(Kernel& k, SocketIndex sk, std::span<const std::uint8_t> message, const IpAddress& address,
                    std::uint64_t call_sequence);

// net/ipv6/af_inet6.c, net/ipv6/datagram.c, net/ipv6/udp.c
int inet6_bind(Kernel& k, SocketIndex sk, const IpAddress& address, std::uint16_t port);
int ip6_datagram_connect(Kernel& k, SocketIndex sk, const IpAddress& address, std::uint16_t port);
int inet6_sendmsg(Kernel& k, SocketIndex sk, std::span<const std::uint8_t> payload, const IpAddress& address,
                  std::uint16_t port, std::uint64_t call_sequence);
int sys_bind6(Kernel& k, SocketIndex sk, const IpAddress& address, std::uint16_t port);
int sys_connect6(Kernel& k, SocketIndex sk, const IpAddress& address, std::uint16_t port);
/// Bytes sent, or a negative errno. A connected socket's peer: address "::" and port 0.
int __sys_sendto6(Kernel& k, SocketIndex sk, std::span<const std::uint8_t> payload, const IpAddress& address,
                  std::uint16_t port);
int udpv6_rcv(Kernel& k, SkbIndex skb);
void udpv6_err(Kernel& k, SkbIndex skb, std::uint8_t type, std::uint8_t code, std::size_t offset,
               std::uint32_t info);
void udp_v6_early_demux(Kernel& k, SkbIndex skb);
int udpv6_sendmsg(Kernel& k, SocketIndex sk, std::span<const std::uint8_t> payload, const IpAddress& address,
                  std::uint16_t port, std::uint64_t call_sequence);
int udp_v6_get_port(Kernel& k, SocketIndex sk, std::uint16_t port);
[[nodiscard]] bool udp6_checksum_right(Kernel& k, SkbIndex skb);

} // namespace skbscope::kernel
