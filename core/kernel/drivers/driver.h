#pragma once
// What a driver gives the device layer: struct net_device_ops, its interrupt handlers and its NAPI polls, as tables; and
// what its hardware does when a frame comes or has gone. The device layer calls drivers through these tables only.

#include "core/kernel/functions.h"

namespace skbscope::kernel {

inline constexpr int NETDEV_TX_OK = 0;
inline constexpr int NETDEV_TX_BUSY = 16;

inline constexpr int NET_RX_SUCCESS = 0;
inline constexpr int NET_RX_DROP = 1;
inline constexpr std::uint32_t ETH_HLEN = 14, ETH_ZLEN = 60, ETH_FCS_LEN = 4;

struct NetDeviceOps {
    std::string_view driver; ///< as `ethtool -i` names it
    /// NETDEV_TX_OK: the skb is the driver's. NETDEV_TX_BUSY: it is still the caller's.
    int (*ndo_start_xmit)(Kernel&, SkbIndex, DeviceIndex);
    /// The handler of one of its interrupts, in hard interrupt context; null: it has none.
    void (*interrupt)(Kernel&, DeviceIndex, std::uint32_t vector);
    /// Hardware: a whole frame has come off the wire. Null: it has no wire.
    void (*frame_arrives)(Kernel&, DeviceIndex, PacketId, std::vector<std::uint8_t>, SimTime);
    /// Hardware: what was to be sent by then on that queue is sent.
    void (*transmitted)(Kernel&, DeviceIndex, std::uint32_t queue, SimTime);
    /// Hardware: an interrupt that was held back may come.
    void (*throttle_over)(Kernel&, DeviceIndex, std::uint32_t vector, SimTime);
};
[[nodiscard]] const NetDeviceOps& netdev_ops(DeviceKind kind);

/// napi->poll, cut into quanta: begin() opens its call, step() does one packet or phase and says when the poll is over.
struct NapiOps {
    void (*begin)(Kernel&, PollRun&);
    bool (*step)(Kernel&, PollRun&);
};
[[nodiscard]] const NapiOps& napi_ops(Napi::Poll poll);

// drivers/net/ethernet/intel/e1000/e1000_main.c
int e1000_xmit_frame(Kernel& k, SkbIndex skb, DeviceIndex device);
void e1000_intr(Kernel& k, DeviceIndex device, std::uint32_t vector);
void begin_e1000_clean(Kernel& k, PollRun& poll);
bool step_e1000_clean(Kernel& k, PollRun& poll);
void e1000_frame_arrives(Kernel& k, DeviceIndex device, PacketId packet, std::vector<std::uint8_t> frame, SimTime at);
void e1000_transmitted(Kernel& k, DeviceIndex device, std::uint32_t queue, SimTime at);
void e1000_throttle_over(Kernel& k, DeviceIndex device, std::uint32_t vector, SimTime at);

// drivers/net/ethernet/intel/e1000e/netdev.c
int e1000e_xmit_frame(Kernel& k, SkbIndex skb, DeviceIndex device);
void e1000e_intr_msix(Kernel& k, DeviceIndex device, std::uint32_t vector); ///< 0: receive, 1: transmit
void begin_e1000e_poll(Kernel& k, PollRun& poll);
bool step_e1000e_poll(Kernel& k, PollRun& poll);
void e1000e_frame_arrives(Kernel& k, DeviceIndex device, PacketId packet, std::vector<std::uint8_t> frame, SimTime at);
void e1000e_throttle_over(Kernel& k, DeviceIndex device, std::uint32_t vector, SimTime at);
void e1000e_transmitted(Kernel& k, DeviceIndex device, std::uint32_t queue, SimTime at);

// drivers/net/virtio_net.c, drivers/virtio/virtio_ring.c
int start_xmit(Kernel& k, SkbIndex skb, DeviceIndex device);
void vring_interrupt(Kernel& k, DeviceIndex device, std::uint32_t vector); ///< 2n: receive queue n, 2n + 1: transmit queue n
void begin_virtnet_poll(Kernel& k, PollRun& poll);
bool step_virtnet_poll(Kernel& k, PollRun& poll);
void begin_virtnet_poll_tx(Kernel& k, PollRun& poll);
bool step_virtnet_poll_tx(Kernel& k, PollRun& poll);
void virtio_frame_arrives(Kernel& k, DeviceIndex device, PacketId packet, std::vector<std::uint8_t> frame, SimTime at);
void virtio_transmitted(Kernel& k, DeviceIndex device, std::uint32_t queue, SimTime at);
void virtio_throttle_over(Kernel& k, DeviceIndex device, std::uint32_t vector, SimTime at); ///< an interrupt of its that comes later
void virtnet_probe(NetDevice& device, std::uint32_t pairs, std::uint32_t rx_size, std::uint32_t tx_size); ///< fills the receive queues

// drivers/net/veth.c, drivers/net/loopback.c
int veth_xmit(Kernel& k, SkbIndex skb, DeviceIndex device);
int loopback_xmit(Kernel& k, SkbIndex skb, DeviceIndex device);

// hardware
/// Puts a frame on the device's wire, at `leaves_at` or when the wire is free; tells the driver's `transmitted` when it
/// is gone. Returns that time.
SimTime transmit_on_wire(Kernel& k, DeviceIndex device, std::uint32_t queue, std::vector<std::uint8_t> frame, SimTime leaves_at,
                         bool last = true);
/// All frames that the device makes of an skb (TSO, checksum): the time at which the last of them is gone. The packet's
/// frame in the trace is what the device was given, with its checksum.
SimTime transmit_skb_on_wire(Kernel& k, DeviceIndex device, std::uint32_t queue, SkbIndex skb, SimTime leaves_at);
/// Ends a packet that the hardware discards: no skb, only a counter (if `counter` is not count).
void hardware_drops(Kernel& k, DeviceIndex device, PacketId packet, DevStat counter, SimTime at);
void deliver_interrupt(Kernel& k, DeviceIndex device, std::uint32_t vector, std::uint32_t irq_cpu, SimTime at);

} // namespace skbscope::kernel
