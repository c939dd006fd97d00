// drivers/net/veth.c: what goes into one end comes out of the other at once, through the backlog of the sending CPU. The
// sent packet becomes the received one. Without XDP and without GRO on the peer there is no NAPI: the kernel's default.

#include "core/kernel/drivers/driver.h"

namespace skbscope::kernel {

namespace {

constexpr std::uint32_t vlan_hlen = 4;

/// net/core/dev.c: is_skb_forwardable: a frame that the other end could not take is dropped, but a GSO packet may be long.
bool is_skb_forwardable(Kernel& k, DeviceIndex to, SkbIndex skb)
{
    const NetDevice& device = k.device(to);
    return device.up && (k.skb(skb).gso_size > 0 || k.skb(skb).len <= device.mtu + ETH_HLEN + vlan_hlen);
}

/// net/core/dev.c: __dev_forward_skb. False: the skb is gone.
bool __dev_forward_skb(Kernel& k, DeviceIndex to, SkbIndex skb)
{
    Call call(k, fn::__dev_forward_skb, skb);
    if (!is_skb_forwardable(k, to, skb)) {
        k.count_device(to, DevStat::rx_dropped, k.skb(skb).packet);
        kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::__dev_forward_skb);
        return false;
    }
    skb_scrub_packet(k, skb);
    k.field(skb, SkbField::priority, k.skb(skb).priority, 0);
    k.skb(skb).priority = 0;
    eth_type_trans(k, skb, to);
    return true;
}

} // namespace

int veth_xmit(Kernel& k, SkbIndex skb, DeviceIndex device)
{
    const PacketId packet = k.skb(skb).packet;
    const std::uint32_t length = k.skb(skb).len;
    Call call(k, fn::veth_xmit, packet, length);
    const DeviceIndex peer = k.device(device).veth_peer;
    keep_frame(k, skb);
    if (peer == nothing || length < ETH_HLEN) {
        k.count_device(device, DevStat::tx_dropped, packet);
        kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::veth_xmit);
        return k.profile() == Profile::v5_10 ? NETDEV_TX_OK : NET_XMIT_DROP;
    }
    if (!__dev_forward_skb(k, peer, skb) || __netif_rx(k, skb) != NET_RX_SUCCESS) {
        k.count_device(device, DevStat::tx_dropped, packet);
        return k.profile() == Profile::v5_10 ? NETDEV_TX_OK : NET_XMIT_DROP;
    }
    // veth_get_stats64(): what this end has sent, the other has received.
    k.count_device(device, DevStat::tx_packets, packet);
    k.count_device(device, DevStat::tx_bytes, packet, length);
    k.count_device(peer, DevStat::rx_packets, packet);
    k.count_device(peer, DevStat::rx_bytes, packet, length);
    return NETDEV_TX_OK;
}

} // namespace skbscope::kernel
