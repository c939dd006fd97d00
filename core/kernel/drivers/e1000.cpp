// drivers/net/ethernet/intel/e1000/e1000_main.c: interrupt, NAPI poll, receive with copybreak, transmit, completion.

#include "core/kernel/functions.h"
#include "core/packet/checksum.h"
#include "core/packet/protocols.h"
#include "core/packet/views.h"

#include <algorithm>

namespace skbscope::kernel {

namespace {

constexpr std::uint32_t ETH_FCS_LEN = 4, ETH_ZLEN = 60;
constexpr std::uint32_t E1000_RX_BUFFER_WRITE = 16; // e1000.h: buffers given back per batch
constexpr std::uint32_t TX_WAKE_THRESHOLD = 32;
constexpr std::uint32_t MAX_SKB_FRAGS = 17;
constexpr std::uint32_t E1000_HEADROOM = 64; // NET_SKB_PAD + NET_IP_ALIGN
constexpr int NETDEV_TX_OK = 0, NETDEV_TX_BUSY = 16;

E1000& adapter(Kernel& k, DeviceIndex device) { return k.device(device).e1000; }

void e1000_irq_enable(Kernel& k, DeviceIndex device)
{
    Call call(k, fn::e1000_irq_enable);
    adapter(k, device).interrupts_masked = false;
    k.emit(EventKind::irq_unmask, PacketId::none, fn::e1000_irq_enable, to_index(k.device(device).id));
    if (adapter(k, device).cause) {
        e1000_raise_interrupt(k, device, k.cpu().now);
    }
}

// ---- receive --------------------------------------------------------------------------------------------------------------

/// The frame buffer's whole allocation: align64(MTU + 18 + 4 + 64) and the shared info behind it (e1000_frag_len()).
std::uint32_t frag_len(const NetDevice& device)
{
    const std::uint32_t buffer = device.mtu + 18 + ETH_FCS_LEN;
    return ((buffer + E1000_HEADROOM + 63) & ~63U) + sizeof_skb_shared_info;
}

SkbIndex e1000_copybreak(Kernel& k, DeviceIndex device, const RxSlot& slot)
{
    Call call(k, fn::e1000_copybreak, slot.packet);
    const auto length = static_cast<std::uint32_t>(slot.frame.size()) + ETH_FCS_LEN;
    if (length > adapter(k, device).copybreak) {
        return nothing;
    }
    Call alloc(k, fn::e1000_alloc_rx_skb, slot.packet);
    const SkbIndex skb = __napi_alloc_skb(k, slot.packet, length, device);
    std::uint8_t* bytes = skb_put(k, skb, length);
    std::ranges::copy(slot.frame, bytes);
    k.spend(k.w.costs.copy(length));
    return skb;
}

SkbIndex build_around_buffer(Kernel& k, DeviceIndex device, const RxSlot& slot)
{
    const auto length = static_cast<std::uint32_t>(slot.frame.size());
    const std::uint32_t room = std::max(frag_len(k.device(device)), E1000_HEADROOM + length + sizeof_skb_shared_info);
    const SkbIndex skb = napi_build_skb(k, slot.packet, room);
    skb_reserve(k, skb, E1000_HEADROOM);
    std::uint8_t* bytes = skb_put(k, skb, length);
    std::ranges::copy(slot.frame, bytes); // no cost: the NIC's DMA put them there
    return skb;
}

void e1000_rx_checksum(Kernel& k, DeviceIndex device, SkbIndex skb)
{
    Call call(k, fn::e1000_rx_checksum, skb);
    if (!adapter(k, device).rx_checksum) {
        return;
    }
    const auto ethernet = EthernetView::checked(skb_data(k, skb));
    if (!ethernet || ethernet->ethertype() != proto::eth_p_ip) {
        return;
    }
    const auto ip = Ipv4View::checked(ethernet->payload());
    if (!ip || ip->is_fragment() || ip->protocol() != proto::ipproto_udp || !ipv4_checksum_ok(ip->header())) {
        return;
    }
    const auto udp = UdpView::checked(ip->payload());
    if (!udp || udp->checksum() == 0 || udp->length() < 8 || udp->length() > ip->payload().size() ||
        !udp_checksum_ok(ip->source(), ip->destination(), ip->payload().first(udp->length()))) {
        return;
    }
    k.field(skb, SkbField::ip_summed, 0, static_cast<std::uint64_t>(IpSummed::unnecessary));
    k.skb(skb).ip_summed = IpSummed::unnecessary;
}

void e1000_receive_skb(Kernel& k, DeviceIndex device, SkbIndex skb)
{
    Call call(k, fn::e1000_receive_skb, skb);
    eth_type_trans(k, skb, device);
    napi_gro_receive(k, adapter(k, device).napi, skb);
}

void e1000_alloc_rx_buffers(Kernel& k, DeviceIndex device)
{
    E1000& nic = adapter(k, device);
    if (nic.rx_to_refill == 0) {
        return;
    }
    Call call(k, fn::e1000_alloc_rx_buffers);
    nic.rx_available += nic.rx_to_refill;
    nic.rx_to_refill = 0;
}

/// One turn of the loop in e1000_clean_rx_irq.
void receive_one(Kernel& k, DeviceIndex device)
{
    E1000& nic = adapter(k, device);
    const RxSlot slot = std::move(nic.rx_filled.front());
    nic.rx_filled.pop_front();
    k.dequeue(nic.rx_queue, slot.packet, fn::e1000_clean_rx_irq);
    SkbIndex skb = e1000_copybreak(k, device, slot);
    const bool copied = skb != nothing;
    if (!copied) {
        skb = build_around_buffer(k, device, slot);
    }
    ++nic.rx_to_refill;
    k.trace.mutable_packet(slot.packet).birth_function = copied ? fn::e1000_copybreak : fn::napi_build_skb;
    k.count_device(device, DevStat::rx_packets, slot.packet);
    k.count_device(device, DevStat::rx_bytes, slot.packet, slot.frame.size());
    if (copied) {
        skb_trim(k, skb, static_cast<std::uint32_t>(slot.frame.size())); // the FCS goes
    }
    e1000_rx_checksum(k, device, skb);
    e1000_receive_skb(k, device, skb);
    if (nic.rx_to_refill >= E1000_RX_BUFFER_WRITE) {
        e1000_alloc_rx_buffers(k, device);
    }
}

// ---- completion -----------------------------------------------------------------------------------------------------------

std::uint32_t unused_tx(const E1000& nic)
{
    return nic.tx_ring_size - static_cast<std::uint32_t>(nic.tx.size()) - 1; // E1000_DESC_UNUSED
}

PacketId owner_of(Kernel& k, const E1000& nic)
{
    for (const TxSlot& slot : nic.tx) {
        if (slot.skb != nothing) {
            return k.skb(slot.skb).packet;
        }
    }
    return PacketId::none;
}

void e1000_unmap_and_free_tx_resource(Kernel& k, DeviceIndex device)
{
    E1000& nic = adapter(k, device);
    const PacketId packet = owner_of(k, nic);
    Call call(k, fn::e1000_unmap_and_free_tx_resource, packet);
    const TxSlot slot = nic.tx.front();
    nic.tx.pop_front();
    if (slot.skb != nothing) {
        k.dequeue(nic.tx_queue, packet, fn::e1000_unmap_and_free_tx_resource);
        napi_consume_skb(k, slot.skb, fn::e1000_unmap_and_free_tx_resource);
    }
}

void e1000_clean_tx_irq(Kernel& k, DeviceIndex device)
{
    Call call(k, fn::e1000_clean_tx_irq);
    E1000& nic = adapter(k, device);
    bool cleaned = false;
    while (!nic.tx.empty() && nic.tx.front().done) {
        e1000_unmap_and_free_tx_resource(k, device);
        cleaned = true;
    }
    {
        Call completed(k, fn::netdev_completed_queue);
    }
    if (cleaned && unused_tx(nic) >= TX_WAKE_THRESHOLD && nic.stopped) {
        netif_wake_queue(k, device);
    }
}

// ---- transmit --------------------------------------------------------------------------------------------------------------

/// True: stopped, there is no room for that many descriptors.
bool e1000_maybe_stop_tx(Kernel& k, DeviceIndex device, std::uint32_t needed, SkbIndex skb)
{
    Call call(k, fn::e1000_maybe_stop_tx, skb);
    E1000& nic = adapter(k, device);
    if (unused_tx(nic) >= needed) {
        return false;
    }
    Call stop(k, fn::__e1000_maybe_stop_tx, skb);
    nic.stopped = true;
    k.count_device(device, DevStat::tx_stopped, k.skb(skb).packet);
    return true;
}

void pad(Kernel& k, SkbIndex skb)
{
    if (k.skb(skb).len >= ETH_ZLEN) {
        return;
    }
    Call call(k, fn::eth_skb_pad, skb);
    const std::uint32_t missing = ETH_ZLEN - k.skb(skb).len;
    SkBuff& buff = k.skb(skb);
    buff.head.writable().resize(std::max<std::size_t>(buff.head.size(), buff.tail + std::size_t{missing}));
    std::uint8_t* zeros = skb_put(k, skb, missing);
    std::fill_n(zeros, missing, std::uint8_t{0});
}

/// What the hardware puts on the wire: with the checksum that it was asked to finish.
std::vector<std::uint8_t> frame_on_wire(Kernel& k, SkbIndex skb)
{
    const auto data = skb_data(k, skb);
    std::vector<std::uint8_t> frame(data.begin(), data.end());
    if (k.skb(skb).ip_summed != IpSummed::partial) {
        return frame;
    }
    const auto ip = Ipv4View::checked(std::span<const std::uint8_t>(frame).subspan(14));
    if (!ip || ip->protocol() != proto::ipproto_udp) {
        return frame;
    }
    const auto segment = std::span(frame).subspan(14 + ip->header_length(), ip->total_length() - ip->header_length());
    if (const auto udp = MutableUdpView::checked(segment)) {
        udp->set_checksum(0);
        const std::uint16_t sum = transport_checksum(ip->source(), ip->destination(), proto::ipproto_udp, segment);
        udp->set_checksum(sum == 0 ? 0xffff : sum);
    }
    return frame;
}

void queue_descriptors(Kernel& k, DeviceIndex device, SkbIndex skb, bool with_context)
{
    E1000& nic = adapter(k, device);
    const auto frame = frame_on_wire(k, skb);
    transmit_on_wire(k, device, frame, k.cpu().now);
    const SimTime done_at = nic.tx_wire_free;
    if (with_context) {
        TxSlot context;
        context.context = true;
        context.done_at = done_at;
        nic.tx.push_back(context);
    }
    TxSlot data;
    data.skb = skb;
    data.done_at = done_at;
    nic.tx.push_back(data);
    k.enqueue(nic.tx_queue, k.skb(skb).packet, fn::e1000_tx_queue);
    PacketRecord& record = k.trace.mutable_packet(k.skb(skb).packet);
    record.length = static_cast<std::uint32_t>(frame.size());
    record.device = k.device(device).id;
    k.trace.set_frame(k.skb(skb).packet, frame);
    if (const auto flow = flow_of_frame(frame)) {
        k.trace.mutable_packet(k.skb(skb).packet).flow = flow;
    }
}

} // namespace

void e1000_intr(Kernel& k, DeviceIndex device)
{
    Call call(k, fn::e1000_intr);
    E1000& nic = adapter(k, device);
    if (!nic.cause) {
        return; // IRQ_NONE
    }
    nic.cause = false; // reading ICR clears it
    nic.interrupts_masked = true;
    k.emit(EventKind::irq_mask, PacketId::none, fn::e1000_intr, to_index(k.device(device).id));
    if (napi_schedule_prep(k, nic.napi)) {
        __napi_schedule(k, nic.napi);
    } else {
        e1000_irq_enable(k, device);
    }
}

void begin_e1000_clean(Kernel& k, PollRun& poll)
{
    poll.calls.push_back(k.open(fn::e1000_clean, PacketId::none));
    poll.phase = PollRun::Phase::begin;
}

bool step_e1000_clean(Kernel& k, PollRun& poll)
{
    const DeviceIndex device = k.napi(poll.napi).device;
    E1000& nic = adapter(k, device);
    switch (poll.phase) {
    case PollRun::Phase::begin:
        e1000_clean_tx_irq(k, device);
        poll.calls.push_back(k.open(fn::e1000_clean_rx_irq, PacketId::none));
        poll.phase = PollRun::Phase::packets;
        return false;
    case PollRun::Phase::packets: {
        k.run_hardware(k.cpu().now); // frames that came meanwhile belong to the same poll
        const bool has_frame = !nic.rx_filled.empty() && nic.rx_filled.front().visible_from <= k.cpu().now;
        if (has_frame && poll.work < k.napi(poll.napi).weight) {
            receive_one(k, device);
            ++poll.work;
            return false;
        }
        e1000_alloc_rx_buffers(k, device);
        k.close(poll.calls.back());
        poll.calls.pop_back();
        if (poll.work >= k.napi(poll.napi).weight) {
            return true; // the whole weight is used: polled again, interrupts stay masked
        }
        poll.phase = PollRun::Phase::complete;
        return false;
    }
    case PollRun::Phase::complete:
        if (napi_complete_done(k, poll.napi, poll.work)) {
            e1000_irq_enable(k, device);
        }
        return true;
    }
    return true;
}

int e1000_xmit_frame(Kernel& k, SkbIndex skb, DeviceIndex device)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::e1000_xmit_frame, packet, k.skb(skb).len);
    pad(k, skb);
    const bool with_context = k.skb(skb).ip_summed == IpSummed::partial;
    const std::uint32_t count = (with_context ? 1U : 0U) + 1 + (k.skb(skb).len >> 12) + 1;
    if (e1000_maybe_stop_tx(k, device, count + 2, skb)) {
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
    {
        Call sent(k, fn::netdev_sent_queue, packet);
    }
    {
        Call queue(k, fn::e1000_tx_queue, packet);
        queue_descriptors(k, device, skb, with_context);
    }
    k.count_device(device, DevStat::tx_packets, packet);
    k.count_device(device, DevStat::tx_bytes, packet, k.skb(skb).len);
    e1000_maybe_stop_tx(k, device, MAX_SKB_FRAGS + 7, skb);
    k.verdict(packet, Verdict::sent, fn::e1000_xmit_frame);
    return NETDEV_TX_OK;
}

} // namespace skbscope::kernel
