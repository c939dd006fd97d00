// net/socket.c and net/ipv4/af_inet.c: where system calls meet the protocol.

#include "core/catalog/catalog.h"
#include "core/kernel/functions.h"

#include <fmt/format.h>

namespace skbscope::kernel {

void name_socket_queue(Kernel& k, SocketIndex index)
{
    Socket& sk = k.socket(index);
    if (sk.num != 0 && sk.queue == QueueId::none) {
        sk.queue = k.trace.add_queue({fmt::format(":{} receive queue", sk.num), QueueKind::socket, k.host().id,
                                      Catalog::room_of(fn::__udp_enqueue_schedule_skb), sk.sk_rcvbuf, QueueUnit::bytes,
                                      fmt::format(":{}.SO_RCVBUF", sk.num)});
    }
}

namespace {

constexpr int EADDRINUSE_ = -98;

/// Of a datagram or ping socket: their backlogs are empty.
int inet_autobind(Kernel& k, SocketIndex sk)
{
    Call call(k, fn::inet_autobind);
    const bool is_ping = k.socket(sk).kind == SocketKind::ping;
    const int error = is_ping ? ping_get_port(k, sk, 0) : udp_v4_get_port(k, sk, 0);
    const Call release(k, fn::release_sock);
    if (!is_ping) {
        name_socket_queue(k, sk);
    }
    return error;
}

int inet_send_prepare(Kernel& k, SocketIndex sk)
{
    Call call(k, fn::inet_send_prepare);
    const Socket& socket = k.socket(sk);
    if (socket.num != 0 || socket.kind == SocketKind::raw) {
        return 0;
    }
    return inet_autobind(k, sk);
}

int inet_sendmsg(Kernel& k, SocketIndex sk, std::span<const std::uint8_t> payload, std::uint32_t address,
                 std::uint16_t port, std::uint64_t call_sequence)
{
    Call call(k, fn::inet_sendmsg);
    sock_rps_record_flow(k, sk); // inet_send_prepare()
    if (const int error = inet_send_prepare(k, sk); error != 0) {
        return error;
    }
    switch (k.socket(sk).kind) {
    case SocketKind::raw: return raw_sendmsg(k, sk, payload, address, call_sequence);
    case SocketKind::ping: return ping_v4_sendmsg(k, sk, payload, address, call_sequence);
    default: return udp_sendmsg(k, sk, payload, address, port, call_sequence);
    }
}

} // namespace

SocketIndex sys_socket(Kernel& k, SocketKind kind, bool inet6)
{
    Call call(k, fn::__sys_socket);
    Call create(k, inet6 ? fn::inet6_create : fn::inet_create);
    Socket sk;
    sk.kind = kind;
    sk.inet6 = inet6;
    sk.host = k.cpu().host;
    sk.net = k.task(k.cpu().task).net;
    sk.in_use = true;
    sk.ipv6only = inet6 && k.net(sk.net).sysctl.ip6_bindv6only != 0;
    sk.sk_rcvbuf = static_cast<std::uint32_t>(k.core_sysctl().rmem_default);
    sk.sk_sndbuf = static_cast<std::uint32_t>(k.core_sysctl().wmem_default);
    k.w.sockets.push_back(std::move(sk));
    return static_cast<SocketIndex>(k.w.sockets.size() - 1);
}

int sys_bind(Kernel& k, SocketIndex sk, std::uint32_t address, std::uint16_t port)
{
    Call call(k, fn::__sys_bind);
    Call bind(k, fn::inet_bind);
    k.socket(sk).rcv_saddr = address;
    if (udp_v4_get_port(k, sk, port) != 0) {
        return EADDRINUSE_;
    }
    name_socket_queue(k, sk);
    return 0;
}

int sys_connect(Kernel& k, SocketIndex sk, std::uint32_t address, std::uint16_t port)
{
    Call call(k, fn::__sys_connect);
    Call connect(k, fn::ip4_datagram_connect);
    const Destination route = ip_route_output_flow(k, k.sock_net(sk), address, k.socket(sk).rcv_saddr);
    if (!route.valid) {
        return -101; // ENETUNREACH
    }
    Socket& socket = k.socket(sk);
    socket.daddr = address;
    socket.dport = port;
    if (socket.rcv_saddr == 0) {
        socket.rcv_saddr = route.source;
    }
    socket.cached_route = route;
    if (socket.num == 0) {
        inet_autobind(k, sk);
    }
    return 0;
}

int __sys_sendto(Kernel& k, SocketIndex sk, std::span<const std::uint8_t> payload, std::uint32_t address, std::uint16_t port)
{
    const std::uint64_t sequence = k.next_sequence();
    Call entry(k, fn::__x64_sys_sendto);
    Call call(k, fn::__sys_sendto);
    Call send(k, fn::__sock_sendmsg);
    Call nosec(k, fn::sock_sendmsg_nosec);
    return inet_sendmsg(k, sk, payload, address, port, sequence);
}

} // namespace skbscope::kernel
