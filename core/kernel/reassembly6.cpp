// net/ipv6/reassembly.c: fragments of IPv6.

#include "core/kernel/ipv6.h"
#include "core/packet/bytes.h"
#include "core/packet/views.h"

namespace skbscope::kernel {

namespace {

constexpr std::uint32_t frag_header = 8;

} // namespace

int ipv6_frag_rcv(Kernel& k, SkbIndex skb)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::ipv6_frag_rcv, packet);
    const NetIndex net = k.skb_net(skb);
    k.count(net, Mib::Ip6ReasmReqds, packet);
    const auto header = skb_network(k, skb);
    const auto offset = static_cast<std::uint32_t>(k.skb(skb).transport_header - k.skb(skb).network_header);
    if (Ipv6View::unchecked(header).payload_length() == 0 || header.size() < offset + frag_header) {
        k.count(net, Mib::Ip6InHdrErrors, packet);
        icmp6_send(k, skb, ICMPV6_PARAMPROB, ICMPV6_HDR_FIELD, offset);
        kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::ipv6_frag_rcv);
        return -1;
    }
    if ((load_be16(header.data() + offset + 2) & 0xfff9) == 0) { // a fragment that is the whole
        set_transport_header(k, skb, offset + frag_header);
        k.count(net, Mib::Ip6ReasmOKs, packet);
        k.skb(skb).ip6cb.nhoff = static_cast<std::uint16_t>(offset);
        k.skb(skb).ip6cb.frag_max_size = Ipv6View::unchecked(header).payload_length() + 40u;
        return 1;
    }
    // Putting fragments together is not modelled: the fragment ends where its queue would take it.
    k.count(net, Mib::Ip6ReasmFails, packet);
    kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::ipv6_frag_rcv);
    return -1;
}

} // namespace skbscope::kernel
