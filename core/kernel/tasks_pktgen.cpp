// net/core/pktgen.c: the kernel's packet generator. A thread that builds UDP frames and hands them to the driver: no socket,
// no routing, no qdisc, no taps on the way.

#include "core/kernel/drivers/driver.h"
#include "core/kernel/tasks.h"
#include "core/packet/build.h"
#include "core/packet/bytes.h"

#include <algorithm>
#include <utility>

namespace skbscope::kernel {

namespace {

constexpr std::uint32_t PKTGEN_MAGIC = 0xbe9be955;
constexpr std::uint32_t ipv4_header = 20;
constexpr std::uint32_t headers = ETH_HLEN + ipv4_header + 8;
constexpr std::uint32_t headroom = 64;
constexpr Duration retry{1'000}; // a stopped queue is looked at again and again

std::vector<std::uint8_t> fill_packet(Kernel& k, const Task& task)
{
    std::vector<std::uint8_t> payload(task.size > headers ? task.size - headers : 0, 0);
    if (payload.size() >= 16) { // struct pktgen_hdr
        store_be32(payload.data(), PKTGEN_MAGIC);
        store_be32(payload.data() + 4, static_cast<std::uint32_t>(task.ordinal + 1));
        store_be32(payload.data() + 8, static_cast<std::uint32_t>(k.cpu().now.ns / 1'000'000'000));
        store_be32(payload.data() + 12, static_cast<std::uint32_t>(k.cpu().now.ns / 1000 % 1'000'000));
    }
    UdpFrame frame;
    frame.ethernet = {task.destination_mac, k.device(task.device).mac, 0};
    frame.source = IpAddress::v4(task.bind_address);
    frame.destination = IpAddress::v4(task.destination);
    frame.source_port = task.bind_port;
    frame.destination_port = task.destination_port;
    frame.payload = payload;
    frame.id = static_cast<std::uint16_t>(task.ordinal);
    frame.ttl = 32;
    frame.with_checksum = false;
    return build_udp_frame(frame);
}

SkbIndex pktgen_alloc_skb(Kernel& k, const Task& task)
{
    const auto frame = fill_packet(k, task);
    PacketRecord record;
    record.host = k.host().id;
    record.device = k.device(task.device).id;
    record.sent_here = true;
    record.birth = k.cpu().now;
    const PacketId packet = k.trace.add_packet(record);
    k.emit(EventKind::birth, packet, fn::__alloc_skb, to_index(k.device(task.device).id));
    const auto length = static_cast<std::uint32_t>(frame.size());
    Call alloc(k, fn::__netdev_alloc_skb, packet);
    const SkbIndex skb = __alloc_skb(k, packet, length + headroom);
    k.skb(skb).mine = true;
    skb_reserve(k, skb, headroom);
    set_device(k, skb, task.device);
    std::ranges::copy(frame, skb_put(k, skb, length));
    set_mac_header(k, skb);
    // fill_packet_ipv4(): no layer below will say where the headers are, and RPS asks for them.
    SkBuff& buff = k.skb(skb);
    buff.network_header = static_cast<std::uint16_t>(buff.data + ETH_HLEN);
    buff.transport_header = static_cast<std::uint16_t>(buff.network_header + ipv4_header);
    buff.protocol = load_be16(&frame[12]);
    return skb;
}

/// kfree_skb(pkt_dev->skb): of the packet before, which it has held besides the driver.
void give_back(Kernel& k, Task& task)
{
    if (const SkbIndex former = std::exchange(task.held, nothing); former != nothing) {
        kfree_skb_held(k, former, fn::netdev_start_xmit);
    }
}

void pktgen_xmit(Kernel& k, std::int32_t index)
{
    const DeviceIndex device = k.task(index).device;
    give_back(k, k.task(index));
    const SkbIndex skb = pktgen_alloc_skb(k, k.task(index));
    k.task(index).held = skb_get(k, skb);
    local_bh_disable(k);
    int result = NETDEV_TX_BUSY;
    {
        Call start(k, fn::netdev_start_xmit, skb);
        k.cpu().xmit_more = false;
        result = netdev_ops(k.device(device).kind).ndo_start_xmit(k, skb, device);
    }
    if (result == NETDEV_TX_BUSY) {
        --k.skb(skb).users; // the driver's, and the model makes a new one then
        consume_skb(k, std::exchange(k.task(index).held, nothing), fn::netdev_start_xmit);
    }
    ++(result == NETDEV_TX_BUSY ? k.task(index).failed : k.task(index).sent);
    local_bh_enable(k);
}

} // namespace

void step_pktgen(Kernel& k, std::int32_t index)
{
    const Task& task = k.task(index);
    if (task.to_send == 0) {
        give_back(k, k.task(index)); // pktgen_stop_device()
        sleep(k, index);
        return;
    }
    if (k.cpu().now < task.next_send) {
        wake_at(k, index, task.next_send);
        return;
    }
    if (k.device(task.device).tx_queues.front().drv_xoff || !k.device(task.device).up) {
        k.spend(retry);
        return;
    }
    const SimTime begun = k.cpu().now;
    pktgen_xmit(k, index);
    Task& done = k.task(index);
    ++done.ordinal;
    --done.to_send;
    done.next_send = begun + done.gap;
}

} // namespace skbscope::kernel
