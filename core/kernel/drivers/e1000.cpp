// drivers/net/ethernet/intel/e1000/e1000_main.c: interrupt, NAPI poll, receive with copybreak, transmit, completion.

#include "core/kernel/drivers/e1000_hw.h"

#include <algorithm>

namespace skbscope::kernel {

namespace {

constexpr std::uint32_t E1000_HEADROOM = 64; // NET_SKB_PAD + NET_IP_ALIGN

E1000& adapter(Kernel& k, DeviceIndex device) { return k.device(device).e1000; }

/// The interrupt line: at once, or when the throttle allows the next one.
void raise_interrupt(Kernel& k, DeviceIndex device, SimTime at)
{
    E1000& nic = adapter(k, device);
    nic.cause = true;
    if (nic.interrupts_masked || nic.line_asserted || throttled(k, device, 0, at)) {
        return;
    }
    nic.line_asserted = true;
    deliver_interrupt(k, device, 0, k.device(device).irq_cpu, at);
}

void e1000_irq_enable(Kernel& k, DeviceIndex device)
{
    Call call(k, fn::e1000_irq_enable);
    adapter(k, device).interrupts_masked = false;
    k.emit(EventKind::irq_unmask, PacketId::none, fn::e1000_irq_enable, to_index(k.device(device).id));
    if (adapter(k, device).cause) {
        raise_interrupt(k, device, k.cpu().now);
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
    std::copy(slot.frame.begin(), slot.frame.end(), bytes);
    k.spend(k.costs().copy(length));
    return skb;
}

SkbIndex build_around_buffer(Kernel& k, DeviceIndex device, const RxSlot& slot)
{
    const auto length = static_cast<std::uint32_t>(slot.frame.size());
    const std::uint32_t room = std::max(frag_len(k.device(device)), E1000_HEADROOM + length + sizeof_skb_shared_info);
    const SkbIndex skb = napi_build_skb(k, slot.packet, room);
    skb_reserve(k, skb, E1000_HEADROOM);
    std::uint8_t* bytes = skb_put(k, skb, length);
    std::copy(slot.frame.begin(), slot.frame.end(), bytes); // no cost: the NIC's DMA put them there
    return skb;
}

void e1000_receive_skb(Kernel& k, DeviceIndex device, SkbIndex skb)
{
    Call call(k, fn::e1000_receive_skb, skb);
    eth_type_trans(k, skb, device);
    napi_gro_receive(k, adapter(k, device).napi, skb);
}

/// One turn of the loop in e1000_clean_rx_irq.
void receive_one(Kernel& k, DeviceIndex device)
{
    E1000& nic = adapter(k, device);
    RxSlot slot = std::move(nic.rx_filled.front());
    nic.rx_filled.pop_front();
    k.dequeue(nic.rx_queue, slot.packet, fn::e1000_clean_rx_irq);
    SkbIndex skb = e1000_copybreak(k, device, slot);
    const bool copied = skb != nothing;
    if (!copied) {
        skb = build_around_buffer(k, device, slot);
    }
    ++nic.rx_to_refill;
    k.trace.mutable_packet(slot.packet).birth_function = copied ? fn::e1000_copybreak : fn::napi_build_skb;
    e1000_count_received(k, device, slot);
    if (copied) {
        skb_trim(k, skb, static_cast<std::uint32_t>(slot.frame.size())); // the FCS goes
    }
    k.frame_gone(std::move(slot.frame));
    e1000_rx_checksum(k, device, skb);
    e1000_receive_skb(k, device, skb);
    if (nic.rx_to_refill >= E1000_RX_BUFFER_WRITE) {
        e1000_alloc_rx_buffers(k, device);
    }
}

// ---- completion -----------------------------------------------------------------------------------------------------------

void e1000_unmap_and_free_tx_resource(Kernel& k, DeviceIndex, const TxSlot& slot, PacketId owner)
{
    Call call(k, fn::e1000_unmap_and_free_tx_resource, owner);
    if (slot.skb == nothing) {
        return;
    }
    if (k.profile() == Profile::v5_10) {
        dev_kfree_skb_any(k, slot.skb, fn::e1000_unmap_and_free_tx_resource);
    } else {
        napi_consume_skb(k, slot.skb, fn::e1000_unmap_and_free_tx_resource);
    }
}

void e1000_clean_tx_irq(Kernel& k, DeviceIndex device)
{
    Call call(k, fn::e1000_clean_tx_irq);
    e1000_clean_tx_ring(k, device, e1000_unmap_and_free_tx_resource);
}

/// eth_skb_pad(): the hardware must not pad.
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

} // namespace

// ---- what the tables call ----------------------------------------------------------------------------------------------------

void e1000_frame_arrives(Kernel& k, DeviceIndex device, PacketId packet, std::vector<std::uint8_t> frame, SimTime at)
{
    if (e1000_take_frame(k, device, packet, std::move(frame), at)) {
        raise_interrupt(k, device, at);
    }
}

void e1000_transmitted(Kernel& k, DeviceIndex device, std::uint32_t, SimTime at)
{
    e1000_mark_sent(adapter(k, device), at);
    raise_interrupt(k, device, at);
}

void e1000_throttle_over(Kernel& k, DeviceIndex device, std::uint32_t, SimTime at)
{
    adapter(k, device).throttles[0].armed = false;
    if (adapter(k, device).cause) {
        raise_interrupt(k, device, at);
    }
}

void e1000_intr(Kernel& k, DeviceIndex device, std::uint32_t)
{
    Call call(k, fn::e1000_intr);
    E1000& nic = adapter(k, device);
    nic.line_asserted = false;
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
            e1000_interrupt_for_what_comes(k, device, 0);
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
    constexpr std::uint32_t bytes_per_descriptor_power = 12; // E1000_MAX_TXD_PWR
    const std::uint32_t data = (k.skb(skb).len >> bytes_per_descriptor_power) + 1; // TXD_USE_COUNT
    return e1000_transmit(k, skb, device, data, MAX_SKB_FRAGS + 7);
}

} // namespace skbscope::kernel
