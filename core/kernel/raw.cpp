// net/ipv4/raw.c: sockets that see whole IP packets of a protocol. Each gets a clone; the packet goes on.

#include "core/kernel/functions.h"
#include "core/packet/build.h"
#include "core/packet/protocols.h"
#include "core/packet/views.h"

#include <algorithm>

namespace skbscope::kernel {

namespace {

constexpr std::uint32_t ip_header = 20;
constexpr std::uint32_t hh_len = 16;

bool raw_v4_match(const Socket& sk, NetIndex net, std::uint8_t protocol, std::uint32_t remote, std::uint32_t local, DeviceIndex device)
{
    return sk.in_use && sk.hashed && sk.kind == SocketKind::raw && !sk.inet6 && sk.net == net && sk.protocol == protocol &&
           (sk.daddr == 0 || sk.daddr == remote) && (sk.rcv_saddr == 0 || sk.rcv_saddr == local) &&
           (sk.bound_device == nothing || sk.bound_device == device);
}

/// True: the application does not want that type (ICMP_FILTER).
bool icmp_filter(Kernel& k, const Socket& sk, SkbIndex skb)
{
    const SkBuff& buff = k.skb(skb);
    if (buff.transport_header >= buff.tail) {
        return true;
    }
    const std::uint8_t type = buff.head.bytes()[buff.transport_header];
    return type < 32 && ((1U << type) & sk.icmp_filter) != 0;
}

void raw_rcv(Kernel& k, SocketIndex sk, SkbIndex skb)
{
    Call call(k, fn::raw_rcv, skb);
    skb_push(k, skb, k.skb(skb).data - k.skb(skb).network_header); // the IP header comes with it
    Call queue(k, fn::raw_rcv_skb, skb);
    DropReasonId reason{};
    if (!sock_queue_rcv_skb_reason(k, sk, skb, reason)) {
        kfree_skb_reason(k, skb, reason, fn::raw_rcv_skb);
    }
}

void raw_err(Kernel& k, SocketIndex index, std::uint8_t type, std::uint8_t code)
{
    Socket& sk = k.socket(index);
    if (type == ICMP_REDIRECT || type == ICMP_SOURCE_QUENCH || (!sk.recverr && sk.daddr == 0)) {
        return;
    }
    IcmpErrno error{EHOSTUNREACH, false};
    if (type == ICMP_PARAMETERPROB) {
        error = {EPROTO, true};
    } else if (type == ICMP_DEST_UNREACH && code <= NR_ICMP_UNREACH) {
        error = code == ICMP_FRAG_NEEDED ? IcmpErrno{EMSGSIZE, sk.pmtudisc != IP_PMTUDISC_DONT} : icmp_err_convert(code);
    }
    if (sk.recverr || error.fatal) {
        sk.sk_err = error.number;
        wake_up(k, sk.waiting_task, PacketId::none); // sk_error_report()
    }
}

int raw_send_hdrinc(Kernel& k, SocketIndex index, const Flowi4& fl4, std::span<const std::uint8_t> packet, const Destination& route,
                    std::uint64_t call_sequence)
{
    const NetIndex net = k.sock_net(index);
    const auto failed = [&](int error) {
        k.count(net, Mib::Ip_OutDiscards, PacketId::none);
        return error;
    };
    if (packet.size() > k.device(route.device).mtu) {
        return -EMSGSIZE;
    }
    if (packet.size() < ip_header) {
        return -EINVAL;
    }
    const auto length = static_cast<std::uint32_t>(packet.size());
    const SkbIndex skb = sock_alloc_send_skb(k, index, length + hh_len + 15, 0, call_sequence);
    if (skb == nothing) {
        return failed(-ENOBUFS);
    }
    skb_reserve(k, skb, hh_len);
    set_dst(k, skb, route);
    k.skb(skb).protocol = proto::eth_p_ip;
    std::ranges::copy(packet, skb_put(k, skb, length));
    set_network_header(k, skb);
    const auto bytes = skb_network_writable(k, skb);
    const MutableIpv4View ip = MutableIpv4View::unchecked(bytes);
    const std::size_t header = ip.header_length();
    if (header > length || header < ip_header) {
        kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::raw_sendmsg);
        return failed(-EINVAL);
    }
    if (ip.saddr() == 0) {
        ip.set_saddr(fl4.saddr);
    }
    ip.set_total_length(static_cast<std::uint16_t>(length));
    if (ip.id() == 0) {
        ip.set_id(k.net(net).ip_id++);
    }
    fill_ipv4_checksum(bytes.first(header));
    set_transport_header(k, skb, static_cast<std::uint32_t>(header));
    k.trace.mutable_packet(k.skb(skb).packet).device = k.device(route.device).id;
    const int verdict = nf_hook(k, Pf::ipv4, Hook::local_out, skb, nothing, route.device);
    const int result = verdict == 1 ? dst_output(k, skb) : verdict;
    return result < 0 ? failed(result) : 0;
}

} // namespace

bool raw_local_deliver(Kernel& k, SkbIndex skb, std::uint8_t protocol)
{
    Call call(k, fn::raw_local_deliver, skb);
    const Ipv4View ip = Ipv4View::unchecked(skb_network(k, skb));
    const std::uint32_t saddr = ip.saddr();
    const std::uint32_t daddr = ip.daddr();
    const NetIndex net = k.skb_net(skb);
    const DeviceIndex device = k.skb(skb).device;
    bool delivered = false;
    for (std::size_t row = 0; row < k.w.sockets.size(); ++row) {
        const auto sk = static_cast<SocketIndex>(row);
        if (!raw_v4_match(k.socket(sk), net, protocol, saddr, daddr, device)) {
            continue;
        }
        delivered = true;
        if (protocol != proto::ipproto_icmp || !icmp_filter(k, k.socket(sk), skb)) {
            raw_rcv(k, sk, skb_clone(k, skb, fn::raw_local_deliver));
        }
    }
    return delivered;
}

void raw_icmp_error(Kernel& k, SkbIndex skb, std::uint8_t protocol, std::uint32_t)
{
    Call call(k, fn::raw_icmp_error, skb);
    const Ipv4View inner = Ipv4View::unchecked(skb_data(k, skb));
    const SkBuff& buff = k.skb(skb);
    const std::uint8_t type = buff.head.bytes()[buff.transport_header];
    const std::uint8_t code = buff.head.bytes()[buff.transport_header + 1U];
    for (std::size_t row = 0; row < k.w.sockets.size(); ++row) {
        if (raw_v4_match(k.w.sockets[row], k.skb_net(skb), protocol, inner.daddr(), inner.saddr(), buff.device)) {
            raw_err(k, static_cast<SocketIndex>(row), type, code);
        }
    }
}

int raw_sendmsg(Kernel& k, SocketIndex index, std::span<const std::uint8_t> payload, std::uint32_t address, std::uint64_t call_sequence)
{
    Call call(k, fn::raw_sendmsg);
    const Socket& sk = k.socket(index);
    if (payload.size() > 0xffff) {
        return -EMSGSIZE;
    }
    if (address == 0 && sk.daddr == 0) {
        return -EDESTADDRREQ;
    }
    constexpr std::uint8_t IPPROTO_RAW = 255;
    Flowi4 fl4;
    fl4.net = sk.net;
    fl4.daddr = address != 0 ? address : sk.daddr;
    fl4.saddr = sk.rcv_saddr;
    fl4.oif = sk.bound_device;
    fl4.tos = sk.tos;
    fl4.proto = sk.hdrincl ? IPPROTO_RAW : sk.protocol;
    fl4.known_nh = fl4.any_source = sk.hdrincl;
    if (!sk.hdrincl && sk.protocol == proto::ipproto_icmp && payload.size() >= 2) {
        fl4.icmp_type = payload[0];
        fl4.icmp_code = payload[1];
    }
    const Destination route = ip_route_output_flow(k, fl4);
    if (!route.valid) {
        return -route.error;
    }
    if ((route.flags & RTCF_BROADCAST) != 0 && !sk.broadcast) {
        return -EACCES;
    }
    int error = 0;
    PacketId sent = PacketId::none;
    if (sk.hdrincl) {
        error = raw_send_hdrinc(k, index, fl4, payload, route, call_sequence);
    } else {
        IpcmCookie ipc;
        ipc.address = fl4.daddr;
        error = ip_append_data(k, index, fl4, ip_generic_getfrag(payload), static_cast<std::uint32_t>(payload.size()), 0, ipc, route, 0,
                               call_sequence);
        if (error != 0) {
            ip_flush_pending_frames(k, k.socket(index).cork);
        } else {
            const SkbIndex first = k.socket(index).cork.queue.front();
            FlowKey flow;
            flow.source = IpAddress::v4(fl4.saddr);
            flow.destination = IpAddress::v4(fl4.daddr);
            flow.protocol = fl4.proto;
            sent = k.skb(first).packet;
            k.trace.mutable_packet(sent).flow = flow;
            k.attribute_since(call_sequence, sent);
            error = ip_push_pending_frames(k, index, fl4);
            error = error == -ENOBUFS && !k.socket(index).recverr ? 0 : error;
        }
        Call release(k, fn::release_sock, sent);
    }
    return error < 0 ? error : static_cast<int>(payload.size());
}

} // namespace skbscope::kernel
