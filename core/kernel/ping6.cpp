// net/ipv6/ping.c: echo over IPv6 without privileges. Lookup and receive are those of ping.cpp.

#include "core/kernel/ipv6.h"
#include "core/packet/bytes.h"
#include "core/packet/protocols.h"

#include <algorithm>

namespace skbscope::kernel {

int ping_v6_sendmsg(Kernel& k, SocketIndex index, std::span<const std::uint8_t> message, const IpAddress& address, std::uint64_t call_sequence)
{
    constexpr std::uint32_t icmp6_header = 8;
    Call call(k, fn::ping_v6_sendmsg);
    if (const int error = ping_common_sendmsg(k, message, ICMPV6_ECHO_REQUEST); error != 0) {
        return error;
    }
    const Socket& sk = k.socket(index);
    if (address.is_any() && sk.v6_daddr.is_any()) {
        return -EDESTADDRREQ;
    }
    Flowi6 fl6;
    fl6.proto = proto::ipproto_icmpv6;
    fl6.daddr = address.is_any() ? sk.v6_daddr : address;
    fl6.saddr = sk.v6_saddr;
    fl6.oif = sk.bound_device;
    if (ipv6_addr_v4mapped(fl6.daddr) || (ipv6_addr_is_linklocal(fl6.daddr) && fl6.oif == nothing)) {
        return -EINVAL;
    }
    Destination dst;
    if (const int error = ip6_sk_dst_lookup_flow(k, index, dst, fl6, false); error != 0) {
        return error;
    }
    Ipcm6Cookie ipc6;
    ipc6.hlimit = sk.uc_ttl;
    int error = 0;
    const SkbIndex skb = ip6_append_data(k, index, dst, fl6, message.subspan(icmp6_header), icmp6_header, fn::ping_getfrag, call_sequence, error);
    PacketId sent = PacketId::none;
    if (skb == nothing) {
        k.count(sk.net, Mib::Icmp6OutErrors, PacketId::none);
    } else {
        sent = k.skb(skb).packet;
        k.attribute_since(call_sequence, sent);
        std::array<std::uint8_t, icmp6_header> header{};
        std::copy_n(message.begin(), icmp6_header, header.begin());
        store_be16(&header[4], k.socket(index).num); // the identifier is the port
        icmpv6_push_pending_frames(k, skb, dst, fl6, ipc6, header);
    }
    Call release(k, fn::release_sock, sent);
    return error < 0 ? error : static_cast<int>(message.size());
}

} // namespace skbscope::kernel
