#pragma once
// What a host says of its devices beside rtnetlink's counters: driver, rings, channels, coalescing, the driver's own statistics (ethtool's
// ioctl, which needs no rights to look), and where their interrupts go. Nothing here changes anything.

#include "capture/host/netlink.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace skbscope::host {

/// Absent: the driver does not say.
struct DeviceDetails {
    std::string driver, bus; ///< "virtio_net", "virtio2"; may be empty
    struct Ring {
        std::uint32_t rx = 0, rx_most = 0, tx = 0, tx_most = 0; ///< descriptors
    };
    std::optional<Ring> ring;
    struct Channels {
        std::uint32_t rx = 0, tx = 0, combined = 0, combined_most = 0;
    };
    std::optional<Channels> channels;
    struct Coalescing {
        std::uint32_t rx_usecs = 0, rx_frames = 0, tx_usecs = 0, tx_frames = 0;
        bool adaptive_rx = false, adaptive_tx = false;
    };
    std::optional<Coalescing> coalescing;
};

/// An empty one for a device that is not there.
[[nodiscard]] DeviceDetails read_device_details(const std::string& device);

/// The driver's own counters under its own names, as `ethtool -S` prints them (ETHTOOL_GSTATS); empty where it has none. At most 4096.
using DriverStatistics = std::vector<std::pair<std::string, std::uint64_t>>;
[[nodiscard]] DriverStatistics read_driver_statistics(const std::string& device);
/// "eth0:", then what `ethtool -S eth0` prints.
[[nodiscard]] std::string driver_statistics_text(const std::string& device, const DriverStatistics& statistics);

/// An interrupt of a device, of /proc/interrupts.
struct Interrupt {
    unsigned number = 0;
    std::string name;                ///< "virtio2-input.0"
    std::string affinity, effective; ///< lists of CPUs, "0-1"; empty: cannot be read
};
[[nodiscard]] std::vector<Interrupt> parse_interrupt_names(std::string_view text);
/// With the affinity that stands below `proc`/irq.
[[nodiscard]] std::vector<Interrupt> read_interrupts(const std::string& proc = "/proc");

// As tables: a line of titles, then a line each, fields parted by tabs; "-" where something is not known.
[[nodiscard]] std::string devices_table(const std::vector<Link>& links, const std::vector<DeviceDetails>& details);
[[nodiscard]] std::string interrupts_table(const std::vector<Interrupt>& interrupts);

} // namespace skbscope::host
