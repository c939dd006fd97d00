#pragma once
// What the e1000 and e1000e drivers and their hardware have in common: rings, the interrupt throttle, checksums.

#include "core/kernel/drivers/driver.h"

namespace skbscope::kernel {

inline constexpr std::uint32_t E1000_RX_BUFFER_WRITE = 16; ///< buffers given back to the hardware per batch
inline constexpr std::uint32_t TX_WAKE_THRESHOLD = 32;     ///< free descriptors at which a stopped queue is woken
inline constexpr std::uint32_t MAX_SKB_FRAGS = 17;
inline constexpr std::uint32_t e1000e_tx_fifo_limit = 8192; ///< bytes of a descriptor, of the 82574

/// E1000_DESC_UNUSED: one descriptor always stays empty.
[[nodiscard]] inline std::uint32_t unused_tx(const E1000& nic)
{
    return nic.tx_ring_size - static_cast<std::uint32_t>(nic.tx.size()) - 1;
}

/// The throttle (ITR) lets no interrupt out before its time: true, and the hardware tries again then.
bool throttled(Kernel& k, DeviceIndex device, std::uint32_t vector, SimTime at);
/// To be called when a poll has let interrupts in again: of a frame that a CPU whose clock is ahead had arrive, and that by this CPU's
/// clock is still to come, the interrupt comes with it. The one before came too early for it.
void e1000_interrupt_for_what_comes(Kernel& k, DeviceIndex device, std::uint32_t vector);
/// The frame lies in a descriptor with DD set, or it is discarded for want of one (rx_missed_errors). True: it lies there.
bool e1000_take_frame(Kernel& k, DeviceIndex device, PacketId packet, std::vector<std::uint8_t> frame, SimTime at);
/// Whether the hardware found the frame's TCP or UDP checksum good.
[[nodiscard]] bool hardware_checksum_good(std::span<const std::uint8_t> frame);
void e1000_rx_checksum(Kernel& k, DeviceIndex device, SkbIndex skb);
void e1000_alloc_rx_buffers(Kernel& k, DeviceIndex device);
/// DD on what is sent by then.
void e1000_mark_sent(E1000& nic, SimTime at);
/// A context descriptor, if any, and one that owns the skb; the frame goes to the wire.
void e1000_queue_descriptors(Kernel& k, DeviceIndex device, SkbIndex skb, bool with_context);
/// True: stopped, there is no room for that many descriptors.
bool e1000_maybe_stop_tx(Kernel& k, DeviceIndex device, std::uint32_t needed, PacketId packet);
/// e1000_clean_tx_irq() behind its call: frees what is sent and wakes the queue. `free_one` frees a descriptor's buffer.
void e1000_clean_tx_ring(Kernel& k, DeviceIndex device, void (*free_one)(Kernel&, DeviceIndex, const TxSlot&, PacketId owner));
/// e1000_xmit_frame() behind its call and padding.
int e1000_transmit(Kernel& k, SkbIndex skb, DeviceIndex device, std::uint32_t data_descriptors, std::uint32_t keep_free);
void e1000_count_received(Kernel& k, DeviceIndex device, const RxSlot& slot);

} // namespace skbscope::kernel
