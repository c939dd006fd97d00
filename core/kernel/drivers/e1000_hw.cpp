#include "core/kernel/drivers/e1000_hw.h"

#include "core/packet/checksum.h"
#include "core/packet/protocols.h"
#include "core/packet/views.h"

#include <algorithm>

namespace skbscope::kernel {

namespace {

/// The hardware looks again at that moment whether it has cause for an interrupt.
void arm_throttle(Kernel& k, DeviceIndex index, std::uint32_t vector, SimTime at)
{
    E1000::Throttle& throttle = k.device(index).e1000.throttles[vector];
    if (throttle.armed) {
        return;
    }
    throttle.armed = true;
    DeviceEvent over;
    over.kind = DeviceEvent::Kind::throttle_over;
    over.at = at;
    over.index = index;
    over.argument = vector;
    k.schedule(std::move(over));
}

} // namespace

bool throttled(Kernel& k, DeviceIndex index, std::uint32_t vector, SimTime at)
{
    E1000& nic = k.device(index).e1000;
    if (nic.coalesce_usecs == 0) {
        return false;
    }
    E1000::Throttle& throttle = nic.throttles[vector];
    if (at >= throttle.next_interrupt) {
        throttle.next_interrupt = at + Duration{static_cast<std::int64_t>(nic.coalesce_usecs * 1000)};
        return false;
    }
    arm_throttle(k, index, vector, throttle.next_interrupt);
    return true;
}

void e1000_interrupt_for_what_comes(Kernel& k, DeviceIndex device, std::uint32_t vector)
{
    E1000& nic = k.device(device).e1000;
    if (nic.cause || nic.rx_filled.empty() || nic.rx_filled.front().visible_from <= k.cpu().now) {
        return;
    }
    nic.cause = true;
    arm_throttle(k, device, vector, nic.rx_filled.front().visible_from);
}

bool e1000_take_frame(Kernel& k, DeviceIndex index, PacketId packet, std::vector<std::uint8_t> frame, SimTime at)
{
    NetDevice& device = k.device(index);
    E1000& nic = device.e1000;
    if (nic.rx_available == 0) {
        // No descriptor: the NIC discards the frame itself. There is no skb and no reason, only a counter.
        k.count_device(index, DevStat::rx_no_buffer_count, packet, 1, at);
        hardware_drops(k, index, packet, DevStat::rx_missed_errors, at);
        return false;
    }
    if (device.kind == DeviceKind::e1000e && frame.size() < ETH_ZLEN) {
        // Shorter than any on Ethernet: as QEMU's, it fills the frame up and counts it as undersized (ruc), an error that loses nothing.
        frame.resize(ETH_ZLEN);
        k.count_device(index, DevStat::rx_errors, packet, 1, at);
    }
    --nic.rx_available;
    nic.rx_filled.push_back({packet, std::move(frame), at});
    k.emit_hardware(EventKind::enqueue, at, device, packet, to_index(nic.rx_queue));
    return true;
}

bool hardware_checksum_good(std::span<const std::uint8_t> frame)
{
    const auto ethernet = EthernetView::checked(frame);
    if (!ethernet || ethernet->ethertype() != proto::eth_p_ip) {
        return false;
    }
    const auto ip = Ipv4View::checked(ethernet->payload());
    if (!ip || ip->is_fragment() || !ipv4_checksum_ok(ip->header())) {
        return false;
    }
    if (ip->protocol() == proto::ipproto_tcp) {
        return transport_checksum(ip->source(), ip->destination(), proto::ipproto_tcp, ip->payload()) == 0;
    }
    if (ip->protocol() != proto::ipproto_udp) {
        return false;
    }
    const auto udp = UdpView::checked(ip->payload());
    return udp && udp->checksum() != 0 && udp->length() >= 8 && udp->length() <= ip->payload().size() &&
           udp_checksum_ok(ip->source(), ip->destination(), ip->payload().first(udp->length()));
}

void e1000_rx_checksum(Kernel& k, DeviceIndex device, SkbIndex skb)
{
    Call call(k, fn::e1000_rx_checksum, skb);
    if (!k.device(device).e1000.rx_checksum || !hardware_checksum_good(skb_data(k, skb))) {
        return;
    }
    k.field(skb, SkbField::ip_summed, 0, static_cast<std::uint64_t>(IpSummed::unnecessary));
    k.skb(skb).ip_summed = IpSummed::unnecessary;
}

void e1000_alloc_rx_buffers(Kernel& k, DeviceIndex device)
{
    E1000& nic = k.device(device).e1000;
    if (nic.rx_to_refill == 0) {
        return;
    }
    Call call(k, fn::e1000_alloc_rx_buffers);
    nic.rx_available += nic.rx_to_refill;
    nic.rx_to_refill = 0;
}

void e1000_count_received(Kernel& k, DeviceIndex device, const RxSlot& slot)
{
    k.count_device(device, DevStat::rx_packets, slot.packet);
    // e1000e reports what its hardware counts (e1000e_get_stats64: gorc), with the FCS; what QEMU's sends is counted without.
    const std::uint32_t fcs = k.device(device).kind == DeviceKind::e1000e ? 4 : 0;
    k.count_device(device, DevStat::rx_bytes, slot.packet, slot.frame.size() + fcs);
}

void e1000_mark_sent(E1000& nic, SimTime at)
{
    // The wire takes them in their order: a busy ring is not looked through for each.
    auto slot = std::partition_point(nic.tx.begin(), nic.tx.end(), [](const TxSlot& sent) { return sent.done; });
    for (; slot != nic.tx.end() && slot->done_at <= at; ++slot) {
        slot->done = true;
    }
}

namespace {

bool splits_behind_tso(const NetDevice& device, const SkBuff& skb)
{
    return device.kind == DeviceKind::e1000 && device.e1000.last_tx_tso && skb.gso_size == 0 && skb.data_len == 0;
}

/// As many frames on the wire, each with its headers: e1000_clean_tx_irq adds up what e1000_tx_map has noted of each packet.
void count_sent(Kernel& k, DeviceIndex device, SkbIndex skb)
{
    const SkBuff& buff = k.skb(skb);
    const std::uint32_t segments = std::max<std::uint32_t>(buff.gso_segs, 1);
    k.count_device(device, DevStat::tx_packets, buff.packet, segments);
    // e1000e reports what its hardware has sent (e1000e_get_stats64: gotc), whatever the driver has pulled behind the headers.
    const bool by_hardware = k.device(device).kind == DeviceKind::e1000e && segments > 1;
    const std::uint32_t headers = by_hardware ? skb_tcp_all_headers(k, skb) : buff.len - buff.data_len;
    k.count_device(device, DevStat::tx_bytes, buff.packet, (segments - 1) * headers + buff.len);
}

} // namespace

void e1000_queue_descriptors(Kernel& k, DeviceIndex device, SkbIndex skb, bool with_context)
{
    const SimTime done_at = transmit_skb_on_wire(k, device, 0, skb, k.cpu().now);
    E1000& nic = k.device(device).e1000;
    if (with_context) {
        TxSlot context;
        context.context = true;
        context.done_at = done_at;
        nic.tx.push_back(context);
    }
    // Pieces of at most 4 KiB, e1000e's 8 KiB: the linear part, then the pages; e1000 has with TSO a sentinel of four bytes behind the
    // last. The linear packet that follows gives its last four bytes a descriptor of their own (e1000_tx_map: a controller's erratum).
    const SkBuff& buff = k.skb(skb);
    const bool is_e1000 = k.device(device).kind == DeviceKind::e1000;
    const std::uint32_t piece = is_e1000 ? 4096 : e1000e_tx_fifo_limit;
    const std::uint32_t linear = buff.len - buff.data_len;
    std::uint32_t descriptors = (linear + piece - 1) / piece + (buff.data_len + piece - 1) / piece;
    descriptors += is_e1000 && buff.gso_size != 0 && buff.data_len > 8 ? 1 : 0;
    if (splits_behind_tso(k.device(device), buff)) {
        ++descriptors;
        nic.last_tx_tso = false;
    }
    nic.last_tx_tso = nic.last_tx_tso || buff.gso_size != 0;
    for (std::uint32_t i = 1; i < descriptors; ++i) {
        TxSlot part;
        part.done_at = done_at;
        nic.tx.push_back(part);
    }
    TxSlot data;
    data.skb = skb;
    data.done_at = done_at;
    nic.tx.push_back(data);
    k.enqueue(nic.tx_queue, k.skb(skb).packet, fn::e1000_tx_queue);
}

bool e1000_maybe_stop_tx(Kernel& k, DeviceIndex device, std::uint32_t needed, PacketId packet)
{
    Call call(k, fn::e1000_maybe_stop_tx, packet);
    if (unused_tx(k.device(device).e1000) >= needed) {
        return false;
    }
    Call stop(k, fn::__e1000_maybe_stop_tx, packet);
    netif_tx_stop_queue(k, device, 0, packet);
    return true;
}

namespace {

PacketId owner_of(Kernel& k, const E1000& nic)
{
    for (const TxSlot& slot : nic.tx) {
        if (slot.skb != nothing) {
            return k.skb(slot.skb).packet;
        }
    }
    return PacketId::none;
}

} // namespace

void e1000_clean_tx_ring(Kernel& k, DeviceIndex device, void (*free_one)(Kernel&, DeviceIndex, const TxSlot&, PacketId))
{
    E1000& nic = k.device(device).e1000;
    std::uint32_t packets = 0, bytes = 0;
    bool cleaned = false;
    while (!nic.tx.empty() && nic.tx.front().done) {
        k.cpu().now = std::max(k.cpu().now, nic.tx.front().done_at); // a CPU whose clock is behind looks no earlier
        const PacketId owner = owner_of(k, nic);
        const TxSlot slot = nic.tx.front();
        nic.tx.pop_front();
        if (slot.skb != nothing) {
            ++packets;
            bytes += k.skb(slot.skb).len;
            count_sent(k, device, slot.skb);
            k.dequeue(nic.tx_queue, owner, fn::e1000_clean_tx_irq);
        }
        free_one(k, device, slot, owner);
        cleaned = true;
    }
    netdev_tx_completed_queue(k, device, 0, packets, bytes);
    if (cleaned && unused_tx(nic) >= TX_WAKE_THRESHOLD && k.device(device).tx_queues[0].drv_xoff) {
        k.count_device(device, DevStat::tx_restart_queue, PacketId::none);
        netif_tx_wake_queue(k, device, 0);
    }
}

int e1000_transmit(Kernel& k, SkbIndex skb, DeviceIndex device, std::uint32_t data_descriptors, std::uint32_t keep_free)
{
    const PacketId packet = k.skb(skb).packet;
    const bool with_context = k.skb(skb).ip_summed == IpSummed::partial || k.skb(skb).gso_size > 0;
    const std::uint32_t count = (with_context ? 1U : 0U) + 1 + (splits_behind_tso(k.device(device), k.skb(skb)) ? 1U : 0U) + data_descriptors;
    if (e1000_maybe_stop_tx(k, device, count + 2, packet)) {
        return NETDEV_TX_BUSY;
    }
    {
        Call tso(k, fn::e1000_tso, packet);
    }
    {
        Call csum(k, fn::e1000_tx_csum, packet);
    }
    {
        Call map(k, fn::e1000_tx_map, packet);
    }
    netdev_tx_sent_queue(k, device, 0, k.skb(skb).len, packet);
    {
        Call queue(k, fn::e1000_tx_queue, packet);
        e1000_queue_descriptors(k, device, skb, with_context);
    }
    e1000_maybe_stop_tx(k, device, keep_free, packet);
    k.verdict(packet, k.trace.packet(packet).sent_here ? Verdict::sent : Verdict::forwarded, fn::e1000_xmit_frame);
    return NETDEV_TX_OK;
}

} // namespace skbscope::kernel
