// drivers/net/loopback.c: what is sent comes in again, at once, through the backlog. The sent packet becomes the
// received one.

#include "core/kernel/functions.h"

namespace skbscope::kernel {

int loopback_xmit(Kernel& k, SkbIndex skb, DeviceIndex device)
{
    Call call(k, fn::loopback_xmit, skb, k.skb(skb).len);
    keep_frame(k, skb);
    k.trace.mutable_packet(k.skb(skb).packet).device = k.device(device).id;
    skb_orphan(k, skb); // the send buffer is given back here
    eth_type_trans(k, skb, device);
    const PacketId packet = k.skb(skb).packet;
    for (const DevStat packets : {DevStat::rx_packets, DevStat::tx_packets}) {
        k.count_device(device, packets, packet);
    }
    __netif_rx(k, skb);
    return 0;
}

} // namespace skbscope::kernel
