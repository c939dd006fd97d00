// What iproute2's `ip -s link` and `tc -s qdisc` and `ethtool -S` would print of the modelled devices.

#include "core/kernel/procfs.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>

namespace skbscope::kernel {

namespace {

std::uint64_t stat(const NetDevice& device, DevStat which) { return device.stats[static_cast<std::size_t>(which)]; }

std::string kind_of(const NetDevice& device)
{
    return device.qdisc.noqueue ? "noqueue" : "pfifo_fast";
}

/// lib/utils.c: size_columns() and print_num() of ip/ipaddress.c: columns as wide as their widest number.
std::string stats64_row(const char* label, std::array<const char*, 6> titles, std::array<std::uint64_t, 6> values)
{
    std::array<std::size_t, 7> widths{10, 7, 6, 7, 7, 7, 10};
    for (std::size_t column = 0; column < values.size(); ++column) {
        widths[column] = std::max(widths[column], std::to_string(values[column]).size());
    }
    std::string text = fmt::format("    {}:", label);
    std::string numbers = "    ";
    for (std::size_t column = 0; column < values.size(); ++column) {
        text += fmt::format(" {:>{}}", titles[column], column == 0 ? widths[0] - 4 : widths[column]);
        numbers += fmt::format("{:>{}} ", values[column], widths[column]);
    }
    return text + std::string(1 + widths[6], ' ') + "\n" + numbers + "\n";
}

/// The names of e1000_gstrings_stats, in its order, as far as the model keeps them.
constexpr DevStat e1000_strings[] = {
    DevStat::rx_packets, DevStat::tx_packets, DevStat::rx_bytes, DevStat::tx_bytes, DevStat::rx_errors, DevStat::tx_errors,
    DevStat::tx_dropped, DevStat::multicast, DevStat::collisions, DevStat::rx_length_errors, DevStat::rx_over_errors,
    DevStat::rx_crc_errors, DevStat::rx_frame_errors, DevStat::rx_no_buffer_count, DevStat::rx_missed_errors,
    DevStat::tx_aborted_errors, DevStat::tx_carrier_errors, DevStat::tx_fifo_errors, DevStat::tx_timeout_count,
    DevStat::tx_restart_queue};

} // namespace

std::string ip_s_link(const World& world, NetIndex net)
{
    std::string text;
    unsigned index = 0;
    for (const NetDevice& device : world.devices) {
        if (device.net != net) {
            continue;
        }
        const bool loopback = device.kind == DeviceKind::loopback;
        std::string name = device.name;
        if (device.veth_peer != nothing) {
            const NetDevice& peer = world.devices[static_cast<std::size_t>(device.veth_peer)];
            name += peer.net == net ? "@" + peer.name : "@if2";
        }
        const std::string flags = loopback ? "LOOPBACK" : "BROADCAST,MULTICAST";
        text += fmt::format("{}: {}: <{}{}{}> mtu {} qdisc {} state {} mode DEFAULT group default qlen 1000\n", ++index, name, flags,
                            device.promiscuous ? ",PROMISC" : "", device.up ? ",UP,LOWER_UP" : "", device.mtu, kind_of(device),
                            loopback && device.up ? "UNKNOWN" : device.up ? "UP" : "DOWN");
        text += fmt::format("    link/{} {} brd {}\n", loopback ? "loopback" : "ether", device.mac.text(),
                            loopback ? "00:00:00:00:00:00" : "ff:ff:ff:ff:ff:ff");
        // ip/ipaddress.c: print_stats64()
        text += stats64_row("RX", {"bytes", "packets", "errors", "dropped", "missed", "mcast"},
                            {stat(device, DevStat::rx_bytes), stat(device, DevStat::rx_packets), stat(device, DevStat::rx_errors),
                             stat(device, DevStat::rx_dropped), stat(device, DevStat::rx_missed_errors), stat(device, DevStat::multicast)});
        text += stats64_row("TX", {"bytes", "packets", "errors", "dropped", "carrier", "collsns"},
                            {stat(device, DevStat::tx_bytes), stat(device, DevStat::tx_packets), stat(device, DevStat::tx_errors),
                             stat(device, DevStat::tx_dropped), stat(device, DevStat::tx_carrier_errors), stat(device, DevStat::collisions)});
    }
    return text;
}

std::string tc_s_qdisc(const World& world, NetIndex net)
{
    std::string text;
    for (const NetDevice& device : world.devices) {
        if (device.net != net) {
            continue;
        }
        const Qdisc& qdisc = device.qdisc;
        text += fmt::format("qdisc {} 0: dev {} root refcnt 2 {}\n", kind_of(device), device.name,
                            qdisc.noqueue ? "" : "bands 3 priomap 1 2 2 2 1 2 0 0 1 1 1 1 1 1 1 1");
        text += fmt::format(" Sent {} bytes {} pkt (dropped {}, overlimits {} requeues {}) \n", qdisc.bytes, qdisc.packets, qdisc.drops, 0,
                            qdisc.requeues);
        text += fmt::format(" backlog {}b {}p requeues {}\n", 0, qdisc.length(), qdisc.requeues);
    }
    return text;
}

std::string ethtool_s(const World& world, NetIndex net)
{
    std::string text;
    for (const NetDevice& device : world.devices) {
        if (device.net != net || (device.kind != DeviceKind::e1000 && device.kind != DeviceKind::e1000e)) {
            continue;
        }
        text += fmt::format("{}{}:\nNIC statistics:\n", text.empty() ? "" : "\n", device.name);
        for (const DevStat which : e1000_strings) {
            text += fmt::format("     {}: {}\n", device_stat_names[static_cast<std::size_t>(which)], stat(device, which));
        }
    }
    return text;
}

} // namespace skbscope::kernel
