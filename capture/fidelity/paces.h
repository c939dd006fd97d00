#pragma once
// The paces at which the model runs a recording's scenario where speed decides which way a packet takes.

#include "core/trace/time.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace skbscope {

/// The recorded CPUs were emulated ones, the applications interpreted, the wire another program; and each machine had its own pace.
struct Pace {
    double cost_scale = 1; ///< times the usual costs, on the traced machine
    double peer_cost_scale = 0; ///< on its peers, where they are machines of their own; 0: as cost_scale
    Duration work{}, peer_work{}; ///< of the application on the traced machine and on its peer, between two calls
    Duration delay{};             ///< of the wire, besides its own
    std::uint32_t rx_usecs = 0, peer_rx_usecs = 0; ///< least time between two interrupts of an e1000 or e1000e; 0: the scenario's
    Duration burst{}, peer_burst{}; ///< what a virtio device was given in that time it sends at once; 0: the scenario's
    Duration irq_delay{}, peer_irq_delay{}; ///< interrupts of all devices come that late
    Duration tx_irq_delay{};      ///< a virtio device's host is that late with the interrupt for what was sent
    Duration steal{}, peer_steal{}; ///< an application's CPU stands still that long while a call holds the socket: emulated CPUs take turns
    std::uint64_t rate = 0;       ///< of the wire, bits a second; 0: the scenario's
    bool generator_as_recorded = false; ///< pktgen sends as fast as it did in the recording, not as fast as it can
    std::uint64_t chunk = 0;      ///< bytes that an application writes at once; 0: the scenario's
};

/// Besides the scenario's own: slow CPUs, long wires, interrupts that come late.
[[nodiscard]] const std::vector<Pace>& other_paces();

/// As many as asked for, drawn over the whole range of each figure; always the same.
[[nodiscard]] std::vector<Pace> drawn_paces(std::size_t count);

} // namespace skbscope
