#pragma once
// What of a device's hardware, rings and queues is state: the cable, struct netdev_queue and netdev_rx_queue, virtqueues.
// Part of a World: values and indices only.

#include "core/kernel/containers.h"
#include "core/kernel/dql.h"
#include "core/trace/event.h"

#include <array>
#include <cstdint>
#include <map>
#include <vector>

namespace skbscope::kernel {

/// Bytes of a TCP stream, counted from behind its SYN: the cable loses the segment that brings them first.
struct LostBytes {
    std::uint16_t port = 0;           ///< to which the stream goes
    std::uint64_t from = 0, to = 0;   ///< [from, to); the FIN is one byte
    bool operator==(const LostBytes&) const = default;
};

/// One end of a cable: what goes out here. Each end has its own rate, delay and loss.
struct Link {
    std::int32_t peer_device = -1; ///< the other end: a device, or
    std::int32_t station = -1;     ///< … a station
    std::uint64_t bits_per_second = 1'000'000'000;
    Duration delay{500};           ///< propagation: about 100 m of cable
    std::uint32_t loss_ppm = 0;    ///< frames of a million that never arrive, in both directions
    std::vector<LostBytes> lose;   ///< of what comes here; what has been lost is taken out
    std::map<std::array<std::uint32_t, 3>, std::uint32_t> first_bytes; ///< of the streams that come here, by addresses and ports: the number behind the SYN's
    SimTime tx_wire_free;          ///< the wire is busy until then
    std::uint64_t lost = 0;        ///< frames that did not arrive
    QueueId wire_queue{};
};

/// struct netdev_queue: one way out to the driver.
struct NetdevQueue {
    std::int32_t qdisc = -1; ///< row of World::qdiscs: what packets for it go into
    bool drv_xoff = false;   ///< __QUEUE_STATE_DRV_XOFF: the driver has stopped it
    bool stack_xoff = false; ///< __QUEUE_STATE_STACK_XOFF: BQL has
    Dql dql;
    [[nodiscard]] bool stopped() const { return drv_xoff || stack_xoff; }
};

/// struct rps_dev_flow: where a flow's packets went last, and the tail of that CPU's backlog then.
struct RpsDevFlow {
    static constexpr std::uint32_t RPS_NO_CPU = 0xffff;
    std::uint32_t cpu = RPS_NO_CPU; ///< within the host
    std::uint32_t last_qtail = 0;
};

/// struct netdev_rx_queue: its RPS map, CPUs within the host; empty: RPS is off. With a table of flows (rps_flow_cnt, a
/// power of two) RFS may choose, too.
struct NetdevRxQueue {
    std::vector<std::uint16_t> rps_cpus;
    std::vector<RpsDevFlow> rps_flow_table;
};

/// struct sd_flow_limit (net/core/dev.h): the flows of the last packets that met a half full backlog.
struct FlowLimit {
    static constexpr std::size_t history_length = 128; ///< FLOW_LIMIT_HISTORY
    std::vector<std::uint8_t> buckets;                  ///< packets of the history per flow; empty: off
    std::vector<std::uint16_t> history;
    std::size_t head = 0;
    [[nodiscard]] bool on() const { return !buckets.empty(); }
    /// `length`: net.core.flow_limit_table_len, a power of two.
    void turn_on(std::size_t length)
    {
        buckets.assign(length, 0);
        history.assign(history_length, 0);
        head = 0;
    }
    /// Takes the packet into the history; true: its flow has more than half of it.
    bool exceeded(std::uint32_t hash)
    {
        const auto flow = static_cast<std::uint16_t>(hash & (buckets.size() - 1));
        const std::uint16_t old = history[head];
        history[head] = flow;
        head = (head + 1) % history_length;
        if (buckets[old] > 0) {
            --buckets[old];
        }
        return ++buckets[flow] > history_length / 2;
    }
};

/// A frame lying in a receive descriptor.
struct RxSlot {
    PacketId packet = PacketId::none;
    std::vector<std::uint8_t> frame;
    SimTime visible_from;
    std::uint32_t buffer = 0; ///< virtio_net: bytes of the buffer it lies in
};

struct TxSlot {
    std::int32_t skb = -1;  ///< the last descriptor of a packet owns its skb
    bool done = false;      ///< DD: the hardware has sent it
    bool context = false;   ///< a context descriptor (checksum offload)
    SimTime done_at = never;
};

/// drivers/virtio/virtio_ring.c: a split virtqueue with VIRTIO_RING_F_EVENT_IDX. The indices wrap at 2^16, as the ring's do.
struct Virtqueue {
    std::uint32_t size = 256;
    std::uint32_t num_free = 256;      ///< descriptors that hold no buffer
    std::uint16_t avail_idx = 0;       ///< buffers ever offered
    std::uint16_t used_idx = 0;        ///< buffers ever given back by the device
    std::uint16_t last_used_idx = 0;   ///< … and taken by the driver
    std::uint16_t used_event = 0;      ///< the device interrupts when it passes this
    bool callbacks_off = false;        ///< VRING_AVAIL_F_NO_INTERRUPT in the driver's shadow
    bool irq_pending = false;          ///< delivered to the CPU, not handled yet
    std::int32_t napi = -1;
    QueueId queue{};
    [[nodiscard]] bool more_used() const { return used_idx != last_used_idx; }
};

/// A receive and a transmit queue of drivers/net/virtio_net.c; each has its own interrupt.
struct VirtioPair {
    Virtqueue rx, tx;
    Fifo<RxSlot> rx_used;   ///< filled, not yet taken by virtnet_receive()
    Fifo<std::uint32_t> rx_buffers; ///< empty buffers that the device may fill, their bytes
    std::uint32_t fragment_offset = 0;    ///< of the page fragment that receive buffers are cut from
    Fifo<TxSlot> tx_ring;   ///< not yet freed by free_old_xmit_skbs()
    std::uint32_t mrg_avg_len = 0; ///< ewma_pkt_len: the average that sizes mergeable buffers
    std::uint32_t irq_cpu = 0;    ///< within its host
    SimTime tx_takes_at;          ///< with a transmit timer: when the device takes what it has been offered
};

struct VirtioNet {
    std::vector<VirtioPair> pairs;
    Duration tx_timer;        ///< the device waits that long behind a notification before it sends (QEMU's tx=timer); 0: it does not
    Duration tx_irq_delay;    ///< its transmit interrupt comes that long after the frames are given back (a busy host); 0: at once
    bool rx_checksum = false; ///< VIRTIO_NET_F_GUEST_CSUM: the device says which sums are good
};

} // namespace skbscope::kernel
