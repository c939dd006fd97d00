// drivers/net/loopback.c: what is sent comes in again, at once, through the backlog. The sent packet becomes the
// received one.

#include "core/kernel/drivers/driver.h"

namespace skbscope::kernel {

int loopback_xmit(Kernel& k, SkbIndex skb, DeviceIndex device)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::loopback_xmit, packet, k.skb(skb).len);
    keep_frame(k, skb);
    k.trace.mutable_packet(packet).device = k.device(device).id;
    skb_orphan(k, skb); // the send buffer is given back here
    eth_type_trans(k, skb, device);
    const std::uint32_t length = k.skb(skb).len; // without the Ethernet header: that is what lo counts
    if (__netif_rx(k, skb) == NET_RX_SUCCESS) {
        k.count_device(device, DevStat::rx_packets, packet);
        k.count_device(device, DevStat::rx_bytes, packet, length);
        k.count_device(device, DevStat::tx_packets, packet);
        k.count_device(device, DevStat::tx_bytes, packet, length);
    }
    return NETDEV_TX_OK;
}

} // namespace skbscope::kernel
