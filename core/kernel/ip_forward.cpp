// net/ipv4/ip_forward.c: a packet for somebody else goes on: TTL, size, redirect, and out through another device.

#include "core/kernel/functions.h"
#include "core/packet/build.h"
#include "core/packet/checksum.h"
#include "core/packet/views.h"

namespace skbscope::kernel {

namespace {

bool ip_exceeds_mtu(Kernel& k, SkbIndex index, std::uint32_t mtu)
{
    Call call(k, fn::ip_exceeds_mtu, index);
    const SkBuff& skb = k.skb(index);
    if (skb.len <= mtu || !Ipv4View::unchecked(skb_network(k, index)).dont_fragment()) {
        return false;
    }
    if (skb.ipcb.frag_max_size > mtu) {
        return true; // a fragment of it was too long already
    }
    return !skb.ignore_df;
}

/// The checksum is kept right by what changed (RFC 1141).
void ip_decrease_ttl(Kernel& k, SkbIndex index)
{
    Call call(k, fn::ip_decrease_ttl, index);
    const MutableIpv4View ip = MutableIpv4View::unchecked(skb_network_writable(k, index));
    const auto before = static_cast<std::uint16_t>(ip.ttl() << 8 | ip.protocol());
    ip.set_ttl(static_cast<std::uint8_t>(ip.ttl() - 1));
    const auto after = static_cast<std::uint16_t>(ip.ttl() << 8 | ip.protocol());
    ip.set_checksum(csum_replace(ip.checksum(), before, after));
}

} // namespace

void ip_forward_finish(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::ip_forward_finish, skb);
    const NetIndex net = k.skb_net(skb);
    if (k.profile() < Profile::v6_12) { // since 6.6 ip_forward() counts, and octets are counted once only, on the way out
        k.count(net, Mib::Ip_ForwDatagrams, k.skb(skb).packet);
        k.count(net, Mib::IpExt_OutOctets, k.skb(skb).packet, k.skb(skb).len);
    }
    if (k.skb(skb).ipcb.opt.optlen != 0) {
        ip_forward_options(k, skb);
    }
    dst_output(k, skb);
}

void ip_forward(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::ip_forward, skb);
    const auto discard = [&](DropReasonId reason) { kfree_skb_reason(k, skb, reason, fn::ip_forward); };
    if (k.skb(skb).pkt_type != PktType::host || k.skb(skb).sk != nothing) {
        discard(drop::NOT_SPECIFIED);
        return;
    }
    const NetIndex net = k.skb_net(skb);
    const Destination dst = k.skb(skb).dst;
    if (Ipv4View::unchecked(skb_network(k, skb)).ttl() <= 1) {
        k.count(net, Mib::Ip_InHdrErrors, k.skb(skb).packet);
        icmp_send(k, skb, ICMP_TIME_EXCEEDED, ICMP_EXC_TTL, 0);
        discard(drop::IP_INHDR);
        return;
    }
    if (k.skb(skb).ipcb.opt.is_strictroute && dst.uses_gateway) {
        icmp_send(k, skb, ICMP_DEST_UNREACH, ICMP_SR_FAILED, 0);
        discard(drop::NOT_SPECIFIED);
        return;
    }
    if (k.profile() >= Profile::v6_12) {
        k.count(net, Mib::Ip_ForwDatagrams, k.skb(skb).packet); // also what is too long, and what a rule refuses
    }
    k.skb(skb).ipcb.flags |= Ipcb::FORWARDED;
    const std::uint32_t mtu = dst_mtu(k, dst);
    if (ip_exceeds_mtu(k, skb, mtu)) {
        k.count(net, Mib::Ip_FragFails, k.skb(skb).packet);
        icmp_send(k, skb, ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED, mtu);
        discard(drop::PKT_TOO_BIG);
        return;
    }
    {
        Call copy(k, fn::skb_cow, skb); // our own header bytes before they change
        (void)k.skb(skb).head.writable();
    }
    ip_decrease_ttl(k, skb);
    if ((k.skb(skb).ipcb.flags & Ipcb::DOREDIRECT) != 0 && k.skb(skb).ipcb.opt.srr == 0) {
        ip_rt_send_redirect(k, skb);
    }
    if (k.net(net).sysctl.ip_forward_update_priority != 0) {
        k.skb(skb).priority = rt_tos2priority(Ipv4View::unchecked(skb_network(k, skb)).tos());
    }
    if (nf_hook(k, Pf::ipv4, Hook::forward, skb, k.skb(skb).device, dst.device) == 1) {
        ip_forward_finish(k, skb);
    }
}

} // namespace skbscope::kernel
