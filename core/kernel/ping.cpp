// net/ipv4/ping.c: ICMP sockets for echo without privileges. The identifier is the port.

#include "core/kernel/ipv6.h"
#include "core/packet/bytes.h"
#include "core/packet/checksum.h"
#include "core/packet/protocols.h"
#include "core/packet/views.h"

#include <algorithm>

namespace skbscope::kernel {

namespace {

constexpr std::uint32_t icmp_header = 8;

SocketIndex ping_lookup(Kernel& k, SkbIndex skb, std::uint16_t identifier)
{
    Call call(k, fn::ping_lookup, skb);
    const NetIndex net = k.skb_net(skb);
    const bool v6 = k.skb(skb).protocol == proto::eth_p_ipv6;
    const std::uint32_t daddr = v6 ? 0 : Ipv4View::unchecked(skb_network(k, skb)).daddr();
    const IpAddress daddr6 = v6 ? Ipv6View::unchecked(skb_network(k, skb)).destination() : IpAddress::any6();
    for (std::size_t row = 0; row < k.w.sockets.size(); ++row) {
        const Socket& sk = k.w.sockets[row];
        const bool matches = sk.in_use && sk.kind == SocketKind::ping && sk.inet6 == v6 && sk.net == net && sk.num == identifier &&
                             (v6 ? sk.v6_rcv_saddr.is_any() || sk.v6_rcv_saddr == daddr6 : sk.rcv_saddr == 0 || sk.rcv_saddr == daddr) &&
                             (sk.bound_device == nothing || sk.bound_device == k.skb(skb).device);
        if (matches) {
            return static_cast<SocketIndex>(row);
        }
    }
    return nothing;
}

bool taken(Kernel& k, NetIndex net, std::uint16_t identifier)
{
    return std::ranges::any_of(k.w.sockets, [&](const Socket& sk) {
        return sk.in_use && sk.kind == SocketKind::ping && sk.net == net && sk.num == identifier;
    });
}

struct Message {
    std::span<const std::uint8_t> bytes;
};

void ping_getfrag(Kernel& k, const void* from, std::uint8_t* to, std::size_t offset, std::size_t length, SkbIndex skb)
{
    Call call(k, fn::ping_getfrag, skb);
    const auto& message = *static_cast<const Message*>(from);
    std::copy_n(message.bytes.begin() + static_cast<std::ptrdiff_t>(icmp_header + offset), length, to);
    k.spend(k.costs().copy(length));
}

} // namespace

int ping_get_port(Kernel& k, SocketIndex index, std::uint16_t identifier)
{
    Call call(k, fn::ping_get_port);
    const NetIndex net = k.sock_net(index);
    if (identifier != 0) {
        if (taken(k, net, identifier)) {
            return -EADDRINUSE;
        }
        k.socket(index).num = identifier;
        return 0;
    }
    std::uint16_t& rover = k.net(net).ipv4.ping_port_rover;
    for (std::uint32_t tries = 0; tries < 0x10000; ++tries) {
        ++rover;
        if (rover != 0 && !taken(k, net, rover)) {
            k.socket(index).num = rover;
            return 0;
        }
    }
    return -EADDRINUSE;
}

bool ping_rcv(Kernel& k, SkbIndex skb, DropReasonId& reason)
{
    Call call(k, fn::ping_rcv, skb);
    skb_push(k, skb, k.skb(skb).data - k.skb(skb).transport_header); // the ICMP header is part of what is read
    const std::uint16_t identifier = load_be16(skb_data(k, skb).data() + 4);
    const SocketIndex sk = ping_lookup(k, skb, identifier);
    if (sk == nothing) {
        reason = drop::NO_SOCKET;
        return false;
    }
    const SkbIndex clone = skb_clone(k, skb, fn::ping_rcv);
    if (!sock_queue_rcv_skb_reason(k, sk, clone, reason)) {
        kfree_skb_reason(k, clone, reason, fn::ping_rcv);
        return false;
    }
    return true;
}

void ping_err(Kernel& k, SkbIndex skb, std::uint32_t)
{
    Call call(k, fn::ping_err, skb);
    const auto bytes = skb_data(k, skb);
    const std::size_t at = Ipv4View::unchecked(bytes).header_length();
    if (bytes.size() < at + icmp_header || bytes[at] != ICMP_ECHO || bytes[at + 1] != 0) {
        return;
    }
    const SkBuff& buff = k.skb(skb);
    const std::uint8_t type = buff.head.bytes()[buff.transport_header];
    const std::uint8_t code = buff.head.bytes()[buff.transport_header + 1U];
    const SocketIndex index = ping_lookup(k, skb, load_be16(&bytes[at + 4]));
    if (index == nothing) {
        return;
    }
    Socket& sk = k.socket(index);
    IcmpErrno error{EHOSTUNREACH, false};
    if (type == ICMP_SOURCE_QUENCH || type == ICMP_REDIRECT) {
        error = {EREMOTEIO, false};
    } else if (type == ICMP_PARAMETERPROB) {
        error = {EPROTO, true};
    } else if (type == ICMP_DEST_UNREACH) {
        if (code == ICMP_FRAG_NEEDED) {
            if (sk.pmtudisc == IP_PMTUDISC_DONT) {
                return;
            }
            error = {EMSGSIZE, true};
        } else if (code <= NR_ICMP_UNREACH) {
            error = icmp_err_convert(code);
        }
    }
    if (!sk.recverr && (!error.fatal || sk.daddr == 0)) {
        return;
    }
    sk.sk_err = error.number;
    wake_up(k, sk.waiting_task, PacketId::none);
}

void ping_v6_err(Kernel& k, SkbIndex skb, std::uint8_t type, std::uint8_t code, std::size_t offset)
{
    Call call(k, fn::ping_err, skb);
    const auto quoted = skb_data(k, skb).subspan(offset);
    if (quoted[1] != 0) { // ping_supported(); the caller has looked at the type
        return;
    }
    const SocketIndex index = ping_lookup(k, skb, load_be16(&quoted[4]));
    if (index == nothing) {
        return;
    }
    Socket& sk = k.socket(index);
    int error = 0;
    const bool hard = icmpv6_err_convert(type, code, error);
    if (sk.recverr || (hard && !sk.v6_daddr.is_any())) {
        sk.sk_err = error;
        wake_up(k, sk.waiting_task, PacketId::none);
    }
}

int ping_common_sendmsg(Kernel& k, std::span<const std::uint8_t> message, std::uint8_t echo_request)
{
    Call call(k, fn::ping_common_sendmsg);
    if (message.size() > 0xffff) {
        return -EMSGSIZE;
    }
    return message.size() < icmp_header || message[0] != echo_request || message[1] != 0 ? -EINVAL : 0;
}

int ping_v4_sendmsg(Kernel& k, SocketIndex index, std::span<const std::uint8_t> message, std::uint32_t address, std::uint64_t call_sequence)
{
    Call call(k, fn::ping_v4_sendmsg);
    if (const int error = ping_common_sendmsg(k, message, ICMP_ECHO); error != 0) {
        return error;
    }
    const Socket& sk = k.socket(index);
    if (address == 0 && sk.daddr == 0) {
        return -EDESTADDRREQ;
    }
    Flowi4 fl4;
    fl4.net = sk.net;
    fl4.daddr = address != 0 ? address : sk.daddr;
    fl4.saddr = sk.rcv_saddr;
    fl4.oif = sk.bound_device;
    fl4.tos = sk.tos;
    fl4.proto = proto::ipproto_icmp;
    fl4.icmp_type = message[0];
    fl4.icmp_code = message[1];
    const Destination route = ip_route_output_flow(k, fl4);
    if (!route.valid) {
        if (route.error == ENETUNREACH) {
            k.count(sk.net, Mib::Ip_OutNoRoutes, PacketId::none);
        }
        return -route.error;
    }
    if ((route.flags & RTCF_BROADCAST) != 0 && !sk.broadcast) {
        return -EACCES;
    }
    IpcmCookie ipc;
    ipc.address = fl4.daddr;
    const Message source{message};
    const GetFrag getfrag{ping_getfrag, &source};
    PacketId sent = PacketId::none;
    int error = ip_append_data(k, index, fl4, getfrag, static_cast<std::uint32_t>(message.size()), icmp_header, ipc, route, 0, call_sequence);
    if (error != 0) {
        ip_flush_pending_frames(k, k.socket(index).cork);
    } else { // ping_v4_push_pending_frames(): our identifier, and the checksum
        const SkbIndex first = k.socket(index).cork.queue.front();
        std::vector<std::uint8_t>& bytes = k.skb(first).head.writable();
        const std::uint32_t at = k.skb(first).transport_header;
        std::copy_n(message.begin(), icmp_header, bytes.begin() + at);
        store_be16(&bytes[at + 2], 0);
        store_be16(&bytes[at + 4], sk.num);
        std::uint32_t sum = csum_partial(std::span(bytes).subspan(at, icmp_header));
        sum = csum_block_add(sum, csum_partial(message.subspan(icmp_header)), icmp_header);
        store_be16(&bytes[at + 2], csum_fold(sum));
        k.skb(first).ip_summed = IpSummed::none;
        FlowKey flow;
        flow.source = IpAddress::v4(fl4.saddr);
        flow.destination = IpAddress::v4(fl4.daddr);
        flow.protocol = fl4.proto;
        sent = k.skb(first).packet;
        k.trace.mutable_packet(sent).flow = flow;
        k.attribute_since(call_sequence, sent);
        error = ip_push_pending_frames(k, index, fl4);
    }
    Call release(k, fn::release_sock, sent);
    return error < 0 ? error : static_cast<int>(message.size());
}

} // namespace skbscope::kernel
