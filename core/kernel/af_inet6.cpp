// net/ipv6/af_inet6.c, net/ipv6/datagram.c: where system calls on IPv6 sockets meet the protocol.

#include "core/kernel/ipv6.h"

namespace skbscope::kernel {

namespace {

constexpr int EADDRINUSE_ = -98, EADDRNOTAVAIL_ = -99;
constexpr std::uint32_t LOOPBACK4_IPV6 =
    0x7f000006; // include/net/ipv6.h: what IPv4 sees of a socket with an IPv6 address

std::uint32_t v4_of_mapped(const IpAddress& a)
{
    return std::uint32_t{a.bytes[12]} << 24 | std::uint32_t{a.bytes[13]} << 16 |
           std::uint32_t{a.bytes[14]} << 8 | a.bytes[15];
}

int __inet6_bind(Kernel& k, SocketIndex index, const IpAddress& address, std::uint16_t port)
{
    Call call(k, fn::__inet6_bind);
    Socket& sk = k.socket(index);
    const bool group = ipv6_addr_is_multicast(address);
    if (!address.is_any() && !group && !ipv6_addr_v4mapped(address) &&
        !ipv6_chk_addr(k, sk.net, address, sk.bound_device)) {
        return EADDRNOTAVAIL_;
    }
    sk.v6_rcv_saddr = address;
    sk.v6_saddr = group ? IpAddress::any6() : address;
    sk.rcv_saddr =
        address.is_any() ? 0 : (ipv6_addr_v4mapped(address) ? v4_of_mapped(address) : LOOPBACK4_IPV6);
    if (udp_v6_get_port(k, index, port) != 0) {
        sk.v6_rcv_saddr = sk.v6_saddr = IpAddress::any6();
        sk.rcv_saddr = 0;
        return EADDRINUSE_;
    }
    name_socket_queue(k, index);
    return 0;
}

int inet_autobind(Kernel& k, SocketIndex sk)
{
    Call call(k, fn::inet_autobind);
    const bool is_ping = k.socket(sk).kind == SocketKind::ping;
    const int error = is_ping ? ping_get_port(k, sk, 0) : udp_v6_get_port(k, sk, 0);
    const Call release(k, fn::release_sock);
    if (!is_ping) {
        name_socket_queue(k, sk);
    }
    return error;
}

} // namespace

int inet6_bind(Kernel& k, SocketIndex sk, const IpAddress& address, std::uint16_t port)
{
    Call call(k, fn::inet6_bind);
    return __inet6_bind(k, sk, address, port);
}

int ip6_datagram_connect(Kernel& k, SocketIndex index, const IpAddress& address, std::uint16_t port)
{
    Call call(k, fn::ip6_datagram_connect);
    Call inner(k, fn::__ip6_datagram_connect);
    Flowi6 fl6;
    fl6.daddr = address;
    fl6.saddr = k.socket(index).v6_saddr;
    fl6.proto = 17;
    fl6.sport = k.socket(index).num;
    fl6.dport = port;
    fl6.oif = k.socket(index).bound_device;
    Destination dst;
    if (const int error = ip6_dst_lookup_flow(k, k.sock_net(index), index, dst, fl6, PacketId::none);
        error != 0) {
        return error;
    }
    Socket& sk = k.socket(index);
    sk.v6_daddr = address;
    sk.dport = port;
    if (sk.v6_saddr.is_any()) {
        sk.v6_saddr = fl6.saddr;
    }
    if (sk.v6_rcv_saddr.is_any()) {
        sk.v6_rcv_saddr = fl6.saddr;
        sk.rcv_saddr = LOOPBACK4_IPV6;
    }
    sk.cached_route = dst;
    return sk.num == 0 ? inet_autobind(k, index) : 0;
}

int inet6_sendmsg(Kernel& k, SocketIndex sk, std::span<const std::uint8_t> payload, const IpAddress& address,
                  std::uint16_t port, std::uint64_t call_sequence)
{
    // Raw and ping sockets send by IPv4's (inet6_sockraw_ops, net/ipv6/raw.c).
    Call call(k, k.socket(sk).kind == SocketKind::udp ? fn::inet6_sendmsg : fn::inet_sendmsg);
    sock_rps_record_flow(k, sk); // inet_send_prepare()
    {
        Call prepare(k, fn::inet_send_prepare);
        if (k.socket(sk).num == 0) {
            if (const int error = inet_autobind(k, sk); error != 0) {
                return error;
            }
        }
    }
    switch (k.socket(sk).kind) {
    case SocketKind::raw: return rawv6_sendmsg(k, sk, payload, address, call_sequence);
    case SocketKind::ping: return ping_v6_sendmsg(k, sk, payload, address, call_sequence);
    default: return udpv6_sendmsg(k, sk, payload, address, port, call_sequence);
    }
}

int sys_bind6(Kernel& k, SocketIndex sk, const IpAddress& address, std::uint16_t port)
{
    Call call(k, fn::__sys_bind);
    return inet6_bind(k, sk, address, port);
}

int sys_connect6(Kernel& k, SocketIndex sk, const IpAddress& address, std::uint16_t port)
{
    Call call(k, fn::__sys_connect);
    return ip6_datagram_connect(k, sk, address, port);
}

int __sys_sendto6(Kernel& k, SocketIndex sk, std::span<const std::uint8_t> payload, const IpAddress& address,
                  std::uint16_t port)
{
    const std::uint64_t sequence = k.next_sequence();
    Call entry(k, fn::__x64_sys_sendto);
    Call call(k, fn::__sys_sendto);
    Call send(k, fn::__sock_sendmsg);
    Call nosec(k, fn::sock_sendmsg_nosec);
    return inet6_sendmsg(k, sk, payload, address, port, sequence);
}

} // namespace skbscope::kernel
