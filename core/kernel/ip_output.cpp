// net/ipv4/ip_output.c: the datagram becomes an IP packet and leaves towards its neighbour.

#include "core/kernel/functions.h"
#include "core/packet/build.h"
#include "core/packet/protocols.h"
#include "core/packet/views.h"

#include <algorithm>

namespace skbscope::kernel {

namespace {

constexpr std::uint32_t ip_header = 20;
constexpr std::uint32_t udp_header = 8;
constexpr std::uint32_t hh_len = 16;                 // LL_RESERVED_SPACE of an Ethernet device
constexpr std::uint32_t SKB_MAX_ALLOC = 16384 - 320; // include/linux/skbuff.h: SKB_MAX_ORDER(0, 2)

void ip_generic_getfrag(Kernel& k, SkbIndex skb, std::span<const std::uint8_t> from, std::uint8_t* to)
{
    Call call(k, fn::ip_generic_getfrag, skb);
    std::ranges::copy(from, to);
    k.spend(k.w.costs.copy(from.size()));
}

SkbIndex __ip_append_data(Kernel& k, SocketIndex sk, const Destination& route, std::span<const std::uint8_t> payload,
                          std::uint64_t call_sequence)
{
    Call call(k, fn::__ip_append_data);
    const auto datalen = static_cast<std::uint32_t>(payload.size()) + udp_header;
    const std::uint32_t fraglen = datalen + ip_header;
    const std::uint32_t extra = hh_len + 15;
    // A datagram that does not fit one head is carried in page fragments (lo's large MTU makes that possible).
    const bool paged = fraglen + extra >= SKB_MAX_ALLOC;
    const std::uint32_t linear = paged ? ip_header + udp_header : fraglen;
    const SkbIndex skb = sock_alloc_send_skb(k, sk, linear + extra, fraglen - linear, call_sequence);
    if (skb == nothing) {
        return nothing;
    }
    // The model keeps paged bytes behind the linear ones in the same buffer; data_len says how many they are.
    SkBuff& buff = k.skb(skb);
    buff.head.writable().resize(std::max<std::size_t>(buff.head.size(), hh_len + fraglen));
    const bool partial = k.device(route.device).tx_checksum;
    buff.ip_summed = partial ? IpSummed::partial : IpSummed::none;
    k.field(skb, SkbField::ip_summed, 0, static_cast<std::uint64_t>(buff.ip_summed));
    skb_reserve(k, skb, hh_len);
    std::uint8_t* bytes = skb_put(k, skb, fraglen);
    if (paged) {
        k.field(skb, SkbField::data_len, 0, fraglen - linear);
        k.skb(skb).data_len = fraglen - linear;
    }
    set_network_header(k, skb);
    set_transport_header(k, skb, ip_header);
    ip_generic_getfrag(k, skb, payload, bytes + ip_header + udp_header);
    return skb;
}

void __ip_make_skb(Kernel& k, SkbIndex skb, const Destination& route, std::uint32_t source, std::uint32_t destination)
{
    Call call(k, fn::__ip_make_skb, skb);
    Net& net = k.net(k.dev_net(route.device));
    Ipv4Fields fields;
    fields.source = source;
    fields.destination = destination;
    fields.protocol = proto::ipproto_udp;
    fields.payload_length = static_cast<std::uint16_t>(k.skb(skb).len - ip_header);
    fields.ttl = static_cast<std::uint8_t>(net.sysctl.ip_default_ttl);
    fields.dont_fragment = k.skb(skb).len <= k.device(route.device).mtu; // path MTU discovery is on
    fields.id = net.ip_id++;
    write_ipv4(skb_network_writable(k, skb), fields);
    k.field(skb, SkbField::protocol, 0, proto::eth_p_ip);
    k.skb(skb).protocol = proto::eth_p_ip;
    set_dst(k, skb, route);
}

int ip_finish_output2(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::ip_finish_output2, skb);
    const Destination dst = k.skb(skb).dst;
    const std::uint32_t next_hop = dst.gateway != 0 ? dst.gateway : dst.destination;
    const std::int32_t neighbour = ip_neigh_for_gw(k, skb, dst.device, next_hop);
    return neigh_output(k, neighbour, skb);
}

int __ip_finish_output(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::__ip_finish_output, skb);
    return ip_finish_output2(k, skb);
}

int ip_finish_output(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::ip_finish_output, skb);
    return __ip_finish_output(k, skb);
}

int __ip_local_out(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::__ip_local_out, skb);
    k.count(k.dev_net(k.skb(skb).dst.device), Mib::Ip_OutRequests, k.skb(skb).packet);
    {
        Call check(k, fn::ip_send_check, skb);
        fill_ipv4_checksum(skb_network_writable(k, skb).first(ip_header));
    }
    return nf_hook(k, Pf::ipv4, Hook::local_out, skb, nothing, k.skb(skb).dst.device);
}

int ip_local_out(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::ip_local_out, skb);
    if (const int verdict = __ip_local_out(k, skb); verdict != 1) {
        return verdict;
    }
    Call output(k, fn::dst_output, skb);
    return ip_output(k, skb);
}

} // namespace

SkbIndex ip_make_skb(Kernel& k, SocketIndex sk, const Destination& route, std::uint32_t source, std::uint32_t destination,
                     std::span<const std::uint8_t> payload, std::uint64_t call_sequence)
{
    Call call(k, fn::ip_make_skb);
    const SkbIndex skb = __ip_append_data(k, sk, route, payload, call_sequence);
    if (skb != nothing) {
        __ip_make_skb(k, skb, route, source, destination);
        k.attribute_since(call_sequence, k.skb(skb).packet);
    }
    return skb;
}

int ip_send_skb(Kernel& k, SkbIndex skb)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::ip_send_skb, packet);
    const NetIndex net = k.dev_net(k.skb(skb).dst.device);
    const int error = ip_local_out(k, skb);
    if (error != 0) {
        k.count(net, Mib::Ip_OutDiscards, packet);
    }
    return error;
}

int ip_output(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::ip_output, skb);
    set_device(k, skb, k.skb(skb).dst.device);
    if (const int verdict = nf_hook(k, Pf::ipv4, Hook::post_routing, skb, nothing, k.skb(skb).device); verdict != 1) {
        return verdict;
    }
    return ip_finish_output(k, skb);
}

} // namespace skbscope::kernel
