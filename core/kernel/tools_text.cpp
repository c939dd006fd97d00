// What iproute2's `ip -s link` and `tc -s qdisc` and `ethtool -S` would print of the modelled devices.

#include "core/kernel/procfs.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <fmt/format.h>

namespace skbscope::kernel {

namespace {

std::uint64_t stat(const NetDevice& device, DevStat which) { return device.stats[static_cast<std::size_t>(which)]; }

std::string_view name_of(QdiscKind kind)
{
    constexpr std::string_view names[qdisc_kind_count] = {"noqueue", "pfifo_fast", "pfifo", "bfifo", "tbf", "fq_codel", "mq"};
    return names[static_cast<std::size_t>(kind)];
}

/// A device without one has the kernel's noqueue.
const Qdisc& root_of(const World& world, const NetDevice& device)
{
    static const Qdisc none;
    return device.qdisc == nothing ? none : world.qdiscs[static_cast<std::size_t>(device.qdisc)];
}

/// tc/tc_util.c: print_size()
std::string size_text(double bytes)
{
    constexpr double kib = 1024;
    constexpr double mib = kib * kib;
    if (bytes >= mib && std::fabs(mib * std::rint(bytes / mib) - bytes) < kib) {
        return fmt::format("{:g}Mb", std::rint(bytes / mib));
    }
    if (bytes >= kib && std::fabs(kib * std::rint(bytes / kib) - bytes) < 16) {
        return fmt::format("{:g}Kb", std::rint(bytes / kib));
    }
    return fmt::format("{}b", static_cast<std::uint64_t>(bytes));
}

/// tc/tc_util.c: print_rate()
std::string rate_text(std::uint64_t bytes_per_second)
{
    double rate = static_cast<double>(bytes_per_second) * 8;
    const char* units[] = {"", "K", "M", "G", "T"};
    std::size_t unit = 0;
    while (unit + 1 < std::size(units) && rate >= 1000 && (rate >= 1e6 || std::fmod(rate, 1000) == 0)) {
        rate /= 1000;
        ++unit;
    }
    return fmt::format("{:.0f}{}bit", rate, units[unit]);
}

/// tc/tc_util.c: print_time()
std::string time_text(double us)
{
    return us >= 1e6 ? fmt::format("{:.3g}s", us / 1e6) : us >= 1e3 ? fmt::format("{:.3g}ms", us / 1e3) : fmt::format("{:.0f}us", us);
}

std::string options_of(const Qdisc& qdisc)
{
    switch (qdisc.kind) {
    case QdiscKind::noqueue:
    case QdiscKind::mq: return "";
    case QdiscKind::pfifo_fast: return "bands 3 priomap 1 2 2 2 1 2 0 0 1 1 1 1 1 1 1 1";
    case QdiscKind::pfifo: return fmt::format("limit {}p", qdisc.limit);
    case QdiscKind::bfifo: return fmt::format("limit {}", size_text(qdisc.limit));
    case QdiscKind::tbf: {
        const double rate = static_cast<double>(std::max<std::uint64_t>(1, qdisc.tbf.rate.rate_bytes_ps));
        return fmt::format("rate {} burst {} lat {} ", rate_text(qdisc.tbf.rate.rate_bytes_ps), size_text(qdisc.tbf.burst),
                           time_text(std::max(0.0, (static_cast<double>(qdisc.limit) - qdisc.tbf.burst) / rate * 1e6)));
    }
    case QdiscKind::fq_codel: {
        const auto us = [](CodelTime time) { return static_cast<double>((static_cast<std::uint64_t>(time) << CODEL_SHIFT) / 1000); };
        const FqCodel& q = qdisc.fq_codel;
        return fmt::format("limit {}p flows {} quantum {} target {} interval {} memory_limit {} {}drop_batch {} ", qdisc.limit,
                           q.flows_count, q.quantum, time_text(us(q.params.target)), time_text(us(q.params.interval)),
                           size_text(q.memory_limit), q.params.ecn ? "ecn " : "", q.drop_batch);
    }
    }
    return "";
}

struct QdiscSums {
    std::uint64_t bytes = 0, packets = 0, drops = 0, overlimits = 0, requeues = 0, backlog = 0, qlen = 0;
};

QdiscSums sums_of(const World& world, const Qdisc& qdisc)
{
    if (qdisc.kind != QdiscKind::mq) {
        return {qdisc.bytes, qdisc.packets, qdisc.drops, qdisc.overlimits, qdisc.requeues, qdisc.backlog, qdisc.qlen};
    }
    QdiscSums sums; // mq_dump() adds its children's
    for (const QdiscIndex child : qdisc.children) {
        const QdiscSums of = sums_of(world, world.qdiscs[static_cast<std::size_t>(child)]);
        sums.bytes += of.bytes;
        sums.packets += of.packets;
        sums.drops += of.drops;
        sums.overlimits += of.overlimits;
        sums.requeues += of.requeues;
        sums.backlog += of.backlog;
        sums.qlen += of.qlen;
    }
    return sums;
}

void add_qdisc(std::string& text, const World& world, const NetDevice& device, const Qdisc& qdisc, const std::string& place)
{
    const QdiscSums sums = sums_of(world, qdisc);
    text += fmt::format("qdisc {} {:x}: dev {} {} {}\n", name_of(qdisc.kind), qdisc.handle >> 16, device.name, place, options_of(qdisc));
    text += fmt::format(" Sent {} bytes {} pkt (dropped {}, overlimits {} requeues {}) \n", sums.bytes, sums.packets, sums.drops,
                        sums.overlimits, sums.requeues);
    text += fmt::format(" backlog {} {}p requeues {}\n", size_text(static_cast<double>(sums.backlog)), sums.qlen, sums.requeues);
    if (qdisc.kind == QdiscKind::fq_codel) {
        const FqCodel& q = qdisc.fq_codel;
        text += fmt::format("  maxpacket {} drop_overlimit {} new_flow_count {} ecn_mark {}{}\n", q.stats.maxpacket, q.drop_overlimit,
                            q.new_flow_count, q.stats.ecn_mark,
                            q.drop_overmemory == 0 ? std::string() : fmt::format(" drop_overmemory {}", q.drop_overmemory));
        text += fmt::format("  new_flows_len {} old_flows_len {}\n", q.new_flows.size(), q.old_flows.size());
    }
    for (std::size_t child = 0; child < qdisc.children.size(); ++child) {
        if (qdisc.kind == QdiscKind::tbf && world.qdiscs[static_cast<std::size_t>(qdisc.children[child])].handle == 0) {
            continue; // the fifo that it made for itself is not listed (TCQ_F_INVISIBLE)
        }
        const std::string parent = qdisc.handle == 0 ? "" : fmt::format("{:x}", qdisc.handle >> 16);
        add_qdisc(text, world, device, world.qdiscs[static_cast<std::size_t>(qdisc.children[child])],
                  fmt::format("parent {}:{:x}", parent, child + 1));
    }
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

/// dev->num_tx_queues: since 5.13 a veth is made with a queue for each CPU, of which it uses one.
std::size_t queues_made(const World& world, const NetDevice& device)
{
    return device.kind == DeviceKind::veth && world.profile != Profile::v5_10 ? world.hosts[device.host].cpus : device.tx_queues.size();
}

/// ip/ipaddress.c: print_link_netnsid(): where the peer is, if it is elsewhere; the namespace that a machine starts with has no name.
std::string link_netns(const World& world, const NetDevice& device)
{
    if (device.veth_peer == nothing) {
        return "";
    }
    const NetIndex there = world.devices[static_cast<std::size_t>(device.veth_peer)].net;
    if (there == device.net) {
        return "";
    }
    return world.nets[there].name.empty() ? " link-netnsid 0" : " link-netns " + world.nets[there].name;
}

/// The names of e1000_gstrings_stats, in its order, as far as the model keeps them.
constexpr DevStat e1000_strings[] = {
    DevStat::rx_packets, DevStat::tx_packets, DevStat::rx_bytes, DevStat::tx_bytes, DevStat::rx_errors, DevStat::tx_errors,
    DevStat::tx_dropped, DevStat::multicast, DevStat::collisions, DevStat::rx_length_errors, DevStat::rx_over_errors,
    DevStat::rx_crc_errors, DevStat::rx_frame_errors, DevStat::rx_no_buffer_count, DevStat::rx_missed_errors,
    DevStat::tx_aborted_errors, DevStat::tx_carrier_errors, DevStat::tx_fifo_errors, DevStat::tx_timeout_count,
    DevStat::tx_restart_queue};

/// As iproute2 and ethtool number them: in the order in which a namespace has them, loopback first.
unsigned ifindex_of(const World& world, const NetDevice& device)
{
    unsigned index = 0;
    for (const NetDevice& other : world.devices) {
        index += other.net == device.net ? 1 : 0;
        if (&other == &device) {
            break;
        }
    }
    return index;
}

/// veth_get_strings(): what XDP and its own NAPI have counted, neither of which the model has.
void add_veth_stats(std::string& text, const World& world, const NetDevice& device)
{
    constexpr const char* receive[] = {"xdp_packets", "xdp_bytes", "drops", "xdp_redirect", "xdp_drops", "xdp_tx", "xdp_tx_errors"};
    constexpr const char* transmit[] = {"xdp_xmit", "xdp_xmit_errors"};
    text += fmt::format("{}{}:\nNIC statistics:\n     peer_ifindex: {}\n", text.empty() ? "" : "\n", device.name,
                        device.veth_peer == nothing ? 0 : ifindex_of(world, world.devices[static_cast<std::size_t>(device.veth_peer)]));
    for (const char* name : receive) {
        text += fmt::format("     rx_queue_0_{}: 0\n", name);
    }
    for (const char* name : transmit) {
        text += fmt::format("     tx_queue_0_{}: 0\n", name);
    }
}

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
            name += peer.net == net ? "@" + peer.name : fmt::format("@if{}", ifindex_of(world, peer));
        }
        const std::string flags = loopback ? "LOOPBACK" : "BROADCAST,MULTICAST";
        text += fmt::format("{}: {}: <{}{}{}> mtu {} qdisc {} state {} mode DEFAULT group default qlen 1000\n", ++index, name, flags,
                            device.promiscuous ? ",PROMISC" : "", device.up ? ",UP,LOWER_UP" : "", device.mtu, name_of(root_of(world, device).kind),
                            loopback && device.up ? "UNKNOWN" : device.up ? "UP" : "DOWN");
        text += fmt::format("    link/{} {} brd {}{}\n", loopback ? "loopback" : "ether", device.mac.text(),
                            loopback ? "00:00:00:00:00:00" : "ff:ff:ff:ff:ff:ff", link_netns(world, device));
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
        add_qdisc(text, world, device, root_of(world, device), fmt::format("root refcnt {}", 1 + queues_made(world, device)));
    }
    return text;
}

std::string ethtool_s(const World& world, NetIndex net)
{
    std::string text;
    for (const NetDevice& device : world.devices) {
        if (device.net == net && device.kind == DeviceKind::veth) {
            add_veth_stats(text, world, device);
        }
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
