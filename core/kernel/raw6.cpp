// net/ipv6/raw.c: sockets that see what IPv6 carries of a protocol. Each gets a clone; the packet goes on.

#include "core/kernel/ipv6.h"
#include "core/packet/bytes.h"
#include "core/packet/checksum.h"
#include "core/packet/protocols.h"
#include "core/packet/views.h"

#include <algorithm>

namespace skbscope::kernel {

namespace {

constexpr std::uint32_t ipv6_header = 40;
constexpr std::size_t icmp6_checksum_at = 2; // struct raw6_sock: offset, of an ICMPv6 socket

/// A raw IPv6 socket of that protocol, whatever it wants further.
bool raw_v6_hashed(const Socket& sk, std::uint8_t protocol)
{
    return sk.in_use && sk.hashed && sk.kind == SocketKind::raw && sk.inet6 && sk.protocol == protocol;
}

bool raw_v6_match(Kernel& k, const Socket& sk, NetIndex net, const IpAddress& local, const IpAddress& remote, DeviceIndex device,
                  PacketId packet)
{
    const bool matches = sk.net == net && (sk.v6_daddr.is_any() || sk.v6_daddr == remote) &&
                         (sk.v6_rcv_saddr.is_any() || sk.v6_rcv_saddr == local) &&
                         (sk.bound_device == nothing || sk.bound_device == device);
    if (k.profile() != Profile::v5_10) { // there __raw_v6_lookup() compares
        Call call(k, fn::raw_v6_match, packet);
    }
    return matches;
}

/// True: the application does not want that type (ICMPV6_FILTER).
bool icmpv6_filter(Kernel& k, const Socket& sk, SkbIndex skb)
{
    constexpr std::size_t needed = 4; // of the header
    const auto message = skb_data(k, skb);
    return message.size() < needed || (sk.icmp6_filter[message[0] >> 5] & (1U << (message[0] & 31))) != 0;
}

void rawv6_rcv(Kernel& k, SocketIndex sk, SkbIndex skb)
{
    Call call(k, fn::rawv6_rcv, skb);
    const Ipv6View ip = Ipv6View::unchecked(skb_network(k, skb));
    if (k.socket(sk).protocol == proto::ipproto_icmpv6 && k.skb(skb).ip_summed == IpSummed::none) { // rawv6_rcv_skb()
        const auto message = skb_data(k, skb);
        k.spend(k.costs().copy(message.size()));
        if (transport_checksum(ip.source(), ip.destination(), proto::ipproto_icmpv6, message) != 0) {
            ++k.socket(sk).sk_drops;
            kfree_skb_reason(k, skb, k.profile() >= Profile::v6_12 ? drop::SKB_CSUM : drop::NOT_SPECIFIED, fn::rawv6_rcv);
            return;
        }
    }
    DropReasonId reason{};
    if (!sock_queue_rcv_skb_reason(k, sk, skb, reason)) {
        kfree_skb_reason(k, skb, k.profile() >= Profile::v6_12 ? reason : drop::NOT_SPECIFIED, fn::rawv6_rcv);
    }
}

/// rawv6_push_pending_frames(): the sum where ICMPv6 has it, and out.
int push_pending_frames(Kernel& k, SkbIndex skb, const Destination& dst, const Flowi6& fl6, const Ipcm6Cookie& ipc6)
{
    const auto message = skb_network_writable(k, skb).subspan(ipv6_header);
    if (fl6.proto == proto::ipproto_icmpv6) {
        if (message.size() < icmp6_checksum_at + 2) {
            kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::rawv6_sendmsg);
            return -EINVAL;
        }
        store_be16(message.data() + icmp6_checksum_at, 0);
        store_be16(message.data() + icmp6_checksum_at, csum_ipv6_magic(fl6.saddr, fl6.daddr, static_cast<std::uint32_t>(message.size()),
                                                                       fl6.proto, csum_partial(message)));
    }
    FlowKey flow;
    flow.source = fl6.saddr;
    flow.destination = fl6.daddr;
    flow.protocol = fl6.proto;
    flow.ethertype = proto::eth_p_ipv6;
    PacketRecord& record = k.trace.mutable_packet(k.skb(skb).packet);
    record.flow = flow;
    record.device = k.device(dst.device).id;
    return ip6_push_pending_frames(k, skb, dst, fl6, ipc6);
}

} // namespace

bool raw6_local_deliver(Kernel& k, SkbIndex skb, std::uint8_t nexthdr)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::raw6_local_deliver, packet);
    const Ipv6View ip = Ipv6View::unchecked(skb_network(k, skb));
    const IpAddress saddr = ip.source();
    const IpAddress daddr = ip.destination();
    const NetIndex net = k.skb_net(skb);
    const DeviceIndex device = k.skb(skb).device;
    bool delivered = false;
    for (std::size_t row = 0; row < k.w.sockets.size(); ++row) {
        const auto sk = static_cast<SocketIndex>(row);
        if (!raw_v6_hashed(k.socket(sk), nexthdr) || !raw_v6_match(k, k.socket(sk), net, daddr, saddr, device, packet)) {
            continue;
        }
        delivered = true;
        if (nexthdr != proto::ipproto_icmpv6 || !icmpv6_filter(k, k.socket(sk), skb)) {
            rawv6_rcv(k, sk, skb_clone(k, skb, fn::raw6_local_deliver));
        }
    }
    return delivered;
}

void raw6_icmp_error(Kernel& k, SkbIndex skb, std::uint8_t nexthdr, std::uint8_t type, std::uint8_t code)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::raw6_icmp_error, packet);
    const Ipv6View quoted = Ipv6View::unchecked(skb_data(k, skb));
    int error = 0;
    const bool fatal = icmpv6_err_convert(type, code, error);
    for (std::size_t row = 0; row < k.w.sockets.size(); ++row) {
        Socket& sk = k.w.sockets[row];
        if (!raw_v6_hashed(sk, nexthdr) ||
            !raw_v6_match(k, sk, k.skb_net(skb), quoted.source(), quoted.destination(), k.skb(skb).device, packet)) {
            continue;
        }
        const bool hard = type == ICMPV6_PKT_TOOBIG ? sk.pmtudisc == IP_PMTUDISC_DO : fatal;
        if (sk.recverr || (hard && !sk.v6_daddr.is_any())) { // rawv6_err()
            sk.sk_err = error;
            wake_up(k, sk.waiting_task, PacketId::none);
        }
    }
}

int rawv6_sendmsg(Kernel& k, SocketIndex index, std::span<const std::uint8_t> message, const IpAddress& address, std::uint64_t call_sequence)
{
    Call call(k, fn::rawv6_sendmsg);
    const Socket& sk = k.socket(index);
    if (address.is_any() && sk.v6_daddr.is_any()) {
        return -EDESTADDRREQ;
    }
    Flowi6 fl6;
    fl6.proto = sk.protocol;
    fl6.daddr = address.is_any() ? sk.v6_daddr : address;
    fl6.saddr = sk.v6_saddr;
    fl6.oif = sk.bound_device;
    Destination dst;
    if (const int error = ip6_dst_lookup_flow(k, sk.net, index, dst, fl6, PacketId::none); error != 0) {
        return error;
    }
    Ipcm6Cookie ipc6;
    ipc6.hlimit = sk.uc_ttl;
    int error = 0;
    const SkbIndex skb = ip6_append_data(k, index, dst, fl6, message, 0, fn::raw6_getfrag, call_sequence, error);
    PacketId sent = PacketId::none;
    if (skb != nothing) {
        sent = k.skb(skb).packet;
        k.attribute_since(call_sequence, sent);
        error = push_pending_frames(k, skb, dst, fl6, ipc6);
        error = error == -ENOBUFS && !k.socket(index).recverr ? 0 : error;
    }
    Call release(k, fn::release_sock, sent);
    return error < 0 ? error : static_cast<int>(message.size());
}

} // namespace skbscope::kernel
