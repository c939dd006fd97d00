// drivers/net/ethernet/intel/e1000e/netdev.c with MSI-X, as the 82574 has it: one interrupt for receive, one for transmit.
// Transmit is cleaned in the interrupt itself, and what it frees there is left to NET_TX.

#include "core/kernel/drivers/e1000_hw.h"

#include <algorithm>

namespace skbscope::kernel {

namespace {

constexpr std::uint32_t receive_vector = 0, transmit_vector = 1;
constexpr std::uint32_t headroom = 64; // NET_SKB_PAD + NET_IP_ALIGN

E1000& adapter(Kernel& k, DeviceIndex device) { return k.device(device).e1000; }

void raise_receive(Kernel& k, DeviceIndex device, SimTime at)
{
    E1000& nic = adapter(k, device);
    nic.cause = true;
    if (nic.interrupts_masked || nic.line_asserted || throttled(k, device, receive_vector, at)) {
        return;
    }
    nic.line_asserted = true;
    deliver_interrupt(k, device, receive_vector, k.device(device).irq_cpu, at);
}

void raise_transmit(Kernel& k, DeviceIndex device, SimTime at)
{
    E1000& nic = adapter(k, device);
    nic.tx_cause = true;
    if (nic.tx_interrupt_masked || nic.tx_line_asserted || throttled(k, device, transmit_vector, at)) {
        return;
    }
    nic.tx_line_asserted = true;
    deliver_interrupt(k, device, transmit_vector, k.device(device).irq_cpu, at);
}

/// The ring's own skb, allocated when the descriptor was filled: 1522 bytes and their headroom in a page fragment.
SkbIndex ring_skb(Kernel& k, DeviceIndex device, const RxSlot& slot)
{
    const auto length = static_cast<std::uint32_t>(slot.frame.size());
    const std::uint32_t data = ((std::max<std::uint32_t>(k.device(device).mtu + 22, length) + headroom) + 63) & ~63U;
    const std::uint32_t object = data + sizeof_skb_shared_info;
    const SkbIndex skb = new_skb(k, slot.packet, data, object + sizeof_sk_buff);
    k.skb(skb).head_frag = true;
    skb_reserve(k, skb, headroom);
    set_device(k, skb, device);
    return skb;
}

SkbIndex skb_of(Kernel& k, DeviceIndex device, const RxSlot& slot)
{
    const auto length = static_cast<std::uint32_t>(slot.frame.size());
    const bool copied = length < adapter(k, device).copybreak;
    const SkbIndex skb = copied ? __napi_alloc_skb(k, slot.packet, length, device) : ring_skb(k, device, slot);
    if (copied) {
        k.spend(k.costs().copy(length));
    }
    std::copy(slot.frame.begin(), slot.frame.end(), skb_put(k, skb, length));
    k.trace.mutable_packet(slot.packet).birth_function = copied ? fn::__napi_alloc_skb : fn::e1000_alloc_rx_buffers;
    return skb;
}

void receive_one(Kernel& k, DeviceIndex device)
{
    E1000& nic = adapter(k, device);
    RxSlot slot = std::move(nic.rx_filled.front());
    nic.rx_filled.pop_front();
    k.dequeue(nic.rx_queue, slot.packet, fn::e1000_clean_rx_irq);
    const SkbIndex skb = skb_of(k, device, slot);
    ++nic.rx_to_refill;
    e1000_count_received(k, device, slot);
    k.frame_gone(std::move(slot.frame));
    e1000_rx_checksum(k, device, skb);
    {
        Call call(k, fn::e1000_receive_skb, skb);
        eth_type_trans(k, skb, device);
        napi_gro_receive(k, nic.napi, skb);
    }
    if (nic.rx_to_refill >= E1000_RX_BUFFER_WRITE) {
        e1000_alloc_rx_buffers(k, device);
    }
}

void e1000_put_txbuf(Kernel& k, DeviceIndex, const TxSlot& slot, PacketId owner)
{
    Call call(k, fn::e1000_put_txbuf, owner);
    if (slot.skb != nothing) {
        dev_consume_skb_any(k, slot.skb, fn::e1000_put_txbuf);
    }
}

void e1000_intr_msix_rx(Kernel& k, DeviceIndex device)
{
    Call call(k, fn::e1000_intr_msix_rx);
    E1000& nic = adapter(k, device);
    nic.line_asserted = false;
    nic.cause = false;
    nic.interrupts_masked = true; // the hardware masks the vector by itself (EIAC, IAM)
    k.emit(EventKind::irq_mask, PacketId::none, fn::e1000_intr_msix_rx, to_index(k.device(device).id));
    if (napi_schedule_prep(k, nic.napi)) {
        __napi_schedule(k, nic.napi);
    }
}

void e1000_intr_msix_tx(Kernel& k, DeviceIndex device)
{
    Call call(k, fn::e1000_intr_msix_tx);
    E1000& nic = adapter(k, device);
    nic.tx_line_asserted = false;
    nic.tx_cause = false;
    {
        Call clean(k, fn::e1000_clean_tx_irq);
        e1000_clean_tx_ring(k, device, e1000_put_txbuf);
    }
    if (nic.tx_cause) {
        raise_transmit(k, device, k.cpu().now);
    }
}

/// ew32(IMS, …): the receive vector may come again.
void unmask_receive(Kernel& k, DeviceIndex device)
{
    adapter(k, device).interrupts_masked = false;
    k.emit(EventKind::irq_unmask, PacketId::none, fn::e1000e_poll, to_index(k.device(device).id));
    if (adapter(k, device).cause) {
        raise_receive(k, device, k.cpu().now);
    }
}

/// A workaround for 82571/2/3 that each controller gets: of a packet for TSO whose linear part is just its headers some payload is pulled
/// in. A queue that is busy tries again: what is pulled by then stays pulled.
void pull_payload_behind_headers(Kernel& k, SkbIndex skb)
{
    const SkBuff& buff = k.skb(skb);
    if (buff.gso_size != 0 && buff.data_len != 0 && skb_tcp_all_headers(k, skb) == buff.len - buff.data_len) {
        __pskb_pull_tail(k, skb, std::min<std::uint32_t>(4, buff.data_len));
    }
}

} // namespace

void e1000e_frame_arrives(Kernel& k, DeviceIndex device, PacketId packet, std::vector<std::uint8_t> frame, SimTime at)
{
    if (e1000_take_frame(k, device, packet, std::move(frame), at)) {
        raise_receive(k, device, at);
    }
}

void e1000e_transmitted(Kernel& k, DeviceIndex device, std::uint32_t, SimTime at)
{
    e1000_mark_sent(adapter(k, device), at);
    raise_transmit(k, device, at);
}

void e1000e_throttle_over(Kernel& k, DeviceIndex device, std::uint32_t vector, SimTime at)
{
    E1000& nic = adapter(k, device);
    nic.throttles[vector].armed = false;
    if (vector == receive_vector && nic.cause) {
        raise_receive(k, device, at);
    } else if (vector == transmit_vector && nic.tx_cause) {
        raise_transmit(k, device, at);
    }
}

void e1000e_intr_msix(Kernel& k, DeviceIndex device, std::uint32_t vector)
{
    if (vector == receive_vector) {
        e1000_intr_msix_rx(k, device);
    } else {
        e1000_intr_msix_tx(k, device);
    }
}

void begin_e1000e_poll(Kernel& k, PollRun& poll)
{
    poll.calls.push_back(k.open(fn::e1000e_poll, PacketId::none));
    poll.calls.push_back(k.open(fn::e1000_clean_rx_irq, PacketId::none));
    poll.phase = PollRun::Phase::packets;
}

bool step_e1000e_poll(Kernel& k, PollRun& poll)
{
    const DeviceIndex device = k.napi(poll.napi).device;
    E1000& nic = adapter(k, device);
    if (poll.phase == PollRun::Phase::complete) {
        if (napi_complete_done(k, poll.napi, poll.work)) {
            unmask_receive(k, device);
            e1000_interrupt_for_what_comes(k, device, receive_vector);
        }
        return true;
    }
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
    poll.phase = PollRun::Phase::complete;
    return poll.work >= k.napi(poll.napi).weight; // the whole weight is used: polled again, the vector stays masked
}

int e1000e_xmit_frame(Kernel& k, SkbIndex skb, DeviceIndex device)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::e1000_xmit_frame, packet, k.skb(skb).len);
    pull_payload_behind_headers(k, skb);
    const std::uint32_t data = (k.skb(skb).len + e1000e_tx_fifo_limit - 1) / e1000e_tx_fifo_limit;
    return e1000_transmit(k, skb, device, data, MAX_SKB_FRAGS + 1 + 4);
}

} // namespace skbscope::kernel
