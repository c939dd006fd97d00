#include "core/kernel/procfs.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <fmt/format.h>

namespace skbscope::kernel {

namespace {

constexpr std::string_view mptcp_6_1 =
    "MPCapableSYNRX MPCapableSYNTX MPCapableSYNACKRX MPCapableACKRX MPCapableFallbackACK "
    "MPCapableFallbackSYNACK MPCapableEndpAttempt MPFallbackTokenInit MPTCPRetrans MPJoinNoTokenFound "
    "MPJoinSynRx MPJoinSynBackupRx MPJoinSynAckRx MPJoinSynAckBackupRx MPJoinSynAckHMacFailure "
    "MPJoinAckRx MPJoinAckHMacFailure DSSNotMatching DSSCorruptionFallback DSSCorruptionReset "
    "InfiniteMapTx InfiniteMapRx DSSNoMatchTCP DataCsumErr OFOQueueTail OFOQueue OFOMerge NoDSSInWindow "
    "DuplicateData AddAddr EchoAdd PortAdd AddAddrDrop MPJoinPortSynRx MPJoinPortSynAckRx MPJoinPortAckRx "
    "MismatchPortSynRx MismatchPortAckRx RmAddr RmAddrDrop RmSubflow MPPrioTx MPPrioRx MPFailTx MPFailRx "
    "MPFastcloseTx MPFastcloseRx MPRstTx MPRstRx RcvPruned SubflowStale SubflowRecover SndWndShared "
    "RcvWndShared RcvWndConflictUpdate RcvWndConflict ";
constexpr std::string_view mptcp_6_12 =
    "MPCapableSYNRX MPCapableSYNTX MPCapableSYNACKRX MPCapableACKRX MPCapableFallbackACK "
    "MPCapableFallbackSYNACK MPCapableSYNTXDrop MPCapableSYNTXDisabled MPCapableEndpAttempt "
    "MPFallbackTokenInit MPTCPRetrans MPJoinNoTokenFound MPJoinSynRx MPJoinSynBackupRx MPJoinSynAckRx "
    "MPJoinSynAckBackupRx MPJoinSynAckHMacFailure MPJoinAckRx MPJoinAckHMacFailure MPJoinSynTx "
    "MPJoinSynTxCreatSkErr MPJoinSynTxBindErr MPJoinSynTxConnectErr DSSNotMatching DSSCorruptionFallback "
    "DSSCorruptionReset InfiniteMapTx InfiniteMapRx DSSNoMatchTCP DataCsumErr OFOQueueTail OFOQueue "
    "OFOMerge NoDSSInWindow DuplicateData AddAddr AddAddrTx AddAddrTxDrop EchoAdd EchoAddTx EchoAddTxDrop "
    "PortAdd AddAddrDrop MPJoinPortSynRx MPJoinPortSynAckRx MPJoinPortAckRx MismatchPortSynRx "
    "MismatchPortAckRx RmAddr RmAddrDrop RmAddrTx RmAddrTxDrop RmSubflow MPPrioTx MPPrioRx MPFailTx "
    "MPFailRx MPFastcloseTx MPFastcloseRx MPRstTx MPRstRx RcvPruned SubflowStale SubflowRecover "
    "SndWndShared RcvWndShared RcvWndConflictUpdate RcvWndConflict MPCurrEstab Blackhole "
    "MPCapableDataFallback MD5SigFallback DssFallback SimultConnectFallback FallbackFailed ";

constexpr std::string_view mptcp_6_18 =
    "MPCapableSYNRX MPCapableSYNTX MPCapableSYNACKRX MPCapableACKRX MPCapableFallbackACK "
    "MPCapableFallbackSYNACK MPCapableSYNTXDrop MPCapableSYNTXDisabled MPCapableEndpAttempt "
    "MPFallbackTokenInit MPTCPRetrans MPJoinNoTokenFound MPJoinSynRx MPJoinSynBackupRx MPJoinSynAckRx "
    "MPJoinSynAckBackupRx MPJoinSynAckHMacFailure MPJoinAckRx MPJoinAckHMacFailure MPJoinRejected MPJoinSynTx "
    "MPJoinSynTxCreatSkErr MPJoinSynTxBindErr MPJoinSynTxConnectErr DSSNotMatching DSSCorruptionFallback "
    "DSSCorruptionReset InfiniteMapTx InfiniteMapRx DSSNoMatchTCP DataCsumErr OFOQueueTail OFOQueue "
    "OFOMerge NoDSSInWindow DuplicateData AddAddr AddAddrTx AddAddrTxDrop EchoAdd EchoAddTx EchoAddTxDrop "
    "PortAdd AddAddrDrop MPJoinPortSynRx MPJoinPortSynAckRx MPJoinPortAckRx MismatchPortSynRx "
    "MismatchPortAckRx RmAddr RmAddrDrop RmAddrTx RmAddrTxDrop RmSubflow MPPrioTx MPPrioRx MPFailTx "
    "MPFailRx MPFastcloseTx MPFastcloseRx MPRstTx MPRstRx SubflowStale SubflowRecover "
    "SndWndShared RcvWndShared RcvWndConflictUpdate RcvWndConflict MPCurrEstab Blackhole "
    "MPCapableDataFallback MD5SigFallback DssFallback SimultConnectFallback FallbackFailed WinProbe ";

/// Counters that came later than 5.10, than 6.1, or than 6.12.
constexpr std::string_view after_5_10[] = {
    "Icmp.OutRateLimitGlobal", "Icmp.OutRateLimitHost", "Udp.MemErrors", "UdpLite.MemErrors", "TcpExt.TCPMigrateReqSuccess",
    "TcpExt.TCPMigrateReqFailure", "Icmp6OutRateLimitHost", "Udp6MemErrors", "UdpLite6MemErrors"};
constexpr std::string_view after_6_1[] = {
    "Ip.OutTransmits", "TcpExt.TCPPLBRehash", "TcpExt.TCPAORequired", "TcpExt.TCPAOBad", "TcpExt.TCPAOKeyNotFound",
    "TcpExt.TCPAOGood", "TcpExt.TCPAODroppedIcmps", "Ip6OutTransmits"};

constexpr std::string_view after_6_12[] = {"TcpExt.BeyondWindow", "TcpExt.TSEcrRejected", "TcpExt.PAWSOldAck", "TcpExt.PAWSTimewait"};

bool has(Profile profile, std::string_view name)
{
    if (profile < Profile::v6_18 && std::ranges::find(after_6_12, name) != std::end(after_6_12)) {
        return false;
    }
    if (profile < Profile::v6_12 && std::ranges::find(after_6_1, name) != std::end(after_6_1)) {
        return false;
    }
    return profile != Profile::v5_10 || std::ranges::find(after_5_10, name) == std::end(after_5_10);
}

/// Two lines, as snmp and netstat have them: names, then values.
class Group {
public:
    explicit Group(std::string_view name) : names_(fmt::format("{}:", name)), values_(names_) {}
    void add(std::string_view name, std::int64_t value)
    {
        names_ += fmt::format(" {}", name);
        values_ += fmt::format(" {}", value);
    }
    [[nodiscard]] std::string text() const { return names_ + "\n" + values_ + "\n"; }

private:
    std::string names_, values_;
};

void add_counters(Group& group, const World& world, NetIndex net, std::string_view prefix)
{
    for (std::size_t row = 0; row < mib_count; ++row) {
        const std::string_view name = mib_names[row];
        if (name.starts_with(prefix) && has(world.profile, name)) {
            group.add(name.substr(prefix.size()), static_cast<std::int64_t>(world.nets[net].mib[row]));
        }
    }
}

std::string counters(const World& world, NetIndex net, const std::string& name)
{
    Group group(name);
    add_counters(group, world, net, name + ".");
    return group.text();
}

/// "InType8" -> 8; "OutType0" -> 256.
int message_type(std::string_view name)
{
    const bool out = name.starts_with("Out");
    const std::string_view digits = name.substr(name.find("Type") + 4);
    int type = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), type);
    return type + (out ? 256 : 0);
}

struct MessageCount {
    std::string_view name; ///< "InType8"
    std::uint64_t count = 0;
};

/// Message types that have been seen, in the kernel's order: received ones by number, then sent ones.
std::vector<MessageCount> message_counts(const World& world, NetIndex net, std::string_view prefix)
{
    std::vector<MessageCount> list;
    for (std::size_t row = 0; row < mib_count; ++row) {
        const std::string_view name = mib_names[row];
        if (name.starts_with(prefix) && name.substr(prefix.size()).find("Type") <= 3 && world.nets[net].mib[row] != 0) {
            list.push_back({name.substr(prefix.size()), world.nets[net].mib[row]});
        }
    }
    std::ranges::stable_sort(list, {}, [](const MessageCount& entry) { return message_type(entry.name); });
    return list;
}

std::string line6(std::string_view name, std::uint64_t value) { return fmt::format("{:<32}\t{}\n", name, value); }

std::uint64_t stat(const NetDevice& device, DevStat which) { return device.stats[static_cast<std::size_t>(which)]; }

/// As a __be32 prints with %08X on a little-endian machine.
std::uint32_t as_printed(std::uint32_t address)
{
    return address >> 24 | (address >> 8 & 0xff00U) | (address << 8 & 0xff0000U) | address << 24;
}

} // namespace

std::string snmp_file(const World& world, NetIndex net)
{
    Group ip("Ip");
    ip.add("Forwarding", world.nets[net].sysctl.ip_forward != 0 ? 1 : 2);
    ip.add("DefaultTTL", world.nets[net].sysctl.ip_default_ttl);
    add_counters(ip, world, net, "Ip.");
    std::string text = ip.text() + counters(world, net, "Icmp");
    if (const auto types = message_counts(world, net, "IcmpMsg."); !types.empty()) {
        Group messages("IcmpMsg");
        for (const MessageCount& type : types) {
            messages.add(type.name, static_cast<std::int64_t>(type.count));
        }
        text += messages.text();
    }
    Group tcp("Tcp");
    tcp.add("RtoAlgorithm", 1);
    tcp.add("RtoMin", 200);
    tcp.add("RtoMax", 120000);
    tcp.add("MaxConn", -1);
    add_counters(tcp, world, net, "Tcp.");
    return text + tcp.text() + counters(world, net, "Udp") + counters(world, net, "UdpLite");
}

std::string netstat_file(const World& world, NetIndex net)
{
    std::string text = counters(world, net, "TcpExt") + counters(world, net, "IpExt");
    if (world.profile == Profile::v5_10) {
        return text;
    }
    // MPTCP is not modelled: nothing of it ever counts.
    std::string_view names = world.profile == Profile::v6_1 ? mptcp_6_1 : world.profile == Profile::v6_12 ? mptcp_6_12 : mptcp_6_18;
    Group mptcp("MPTcpExt");
    while (!names.empty()) {
        const std::size_t space = names.find(' ');
        mptcp.add(names.substr(0, space), 0);
        names.remove_prefix(std::min(names.size(), space + 1));
    }
    return text + mptcp.text();
}

std::string snmp6_file(const World& world, NetIndex net)
{
    std::string text;
    const auto add = [&](std::string_view prefix) {
        for (std::size_t row = 0; row < mib_count; ++row) {
            const std::string_view name = mib_names[row];
            if (name.starts_with(prefix) && name.find("Type") == std::string_view::npos && has(world.profile, name)) {
                text += line6(name, world.nets[net].mib[row]);
            }
        }
    };
    add("Ip6");
    add("Icmp6");
    for (const MessageCount& type : message_counts(world, net, "Icmp6")) {
        text += line6(fmt::format("Icmp6{}", type.name), type.count);
    }
    add("Udp6");
    add("UdpLite6");
    return text;
}

std::string dev_file(const World& world, NetIndex net)
{
    std::string text = "Inter-|   Receive                                                |  Transmit\n"
                       " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier "
                       "compressed\n";
    for (const NetDevice& device : world.devices) {
        if (device.net != net) {
            continue;
        }
        const auto of = [&](DevStat which) { return stat(device, which); };
        text += fmt::format("{:>6}: {:>7} {:>7} {:>4} {:>4} {:>4} {:>5} {:>10} {:>9} {:>8} {:>7} {:>4} {:>4} {:>4} {:>5} {:>7} {:>10}\n",
                            device.name, of(DevStat::rx_bytes), of(DevStat::rx_packets), of(DevStat::rx_errors),
                            of(DevStat::rx_dropped) + of(DevStat::rx_missed_errors), of(DevStat::rx_fifo_errors),
                            of(DevStat::rx_length_errors) + of(DevStat::rx_over_errors) + of(DevStat::rx_crc_errors) +
                                of(DevStat::rx_frame_errors),
                            0, of(DevStat::multicast), of(DevStat::tx_bytes), of(DevStat::tx_packets), of(DevStat::tx_errors),
                            of(DevStat::tx_dropped), of(DevStat::tx_fifo_errors), of(DevStat::collisions),
                            of(DevStat::tx_carrier_errors) + of(DevStat::tx_aborted_errors), 0);
    }
    return text;
}

std::string udp_file(const World& world, NetIndex net)
{
    constexpr std::uint32_t slots = 1024; // a host with some memory has more; the slot hangs on a number of its boot, too
    constexpr std::size_t width = 127;
    const auto padded = [width](std::string line) {
        line.resize(std::max(line.size(), width), ' ');
        return line + "\n";
    };
    std::vector<std::pair<std::uint32_t, std::string>> lines;
    for (std::size_t row = 0; row < world.sockets.size(); ++row) {
        const Socket& sk = world.sockets[row];
        if (!sk.in_use || sk.net != net || sk.kind != SocketKind::udp || sk.inet6 || sk.num == 0) {
            continue;
        }
        constexpr unsigned established = 1;
        constexpr unsigned closed = 7;
        const std::uint32_t queued = sk.sk_rmem_alloc - std::min(sk.sk_rmem_alloc, sk.forward_deficit);
        lines.emplace_back(sk.num % slots,
                           fmt::format("{:>5}: {:08X}:{:04X} {:08X}:{:04X} {:02X} {:08X}:{:08X} {:02X}:{:08X} {:08X} {:>5} {:>8} {} {} {:016} {}",
                                       sk.num % slots, as_printed(sk.rcv_saddr), sk.num, as_printed(sk.daddr), sk.dport,
                                       sk.daddr != 0 ? established : closed, sk.sk_wmem_alloc, queued, 0, 0, 0, 0, 0, 10000 + row, 2, 0,
                                       sk.sk_drops));
    }
    std::ranges::stable_sort(lines, {}, [](const auto& line) { return line.first; });
    std::string text = padded("   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops");
    for (auto& [slot, line] : lines) {
        text += padded(std::move(line));
    }
    return text;
}

std::string softnet_stat_file(const World& world, std::uint32_t host)
{
    std::string text;
    const Host& of = world.hosts[host];
    for (std::uint32_t row = of.first_cpu; row < of.first_cpu + of.cpus; ++row) {
        const Cpu& cpu = world.cpus[row];
        const auto value = [&](SoftnetStat which) { return static_cast<std::uint32_t>(cpu.softnet[static_cast<std::size_t>(which)]); };
        const std::size_t process_queue = cpu.process_queue.size(); // what process_backlog has taken over
        const std::size_t input_queue = cpu.input_pkt_queue.size();
        text += fmt::format("{:08x} {:08x} {:08x} {:08x} {:08x} {:08x} {:08x} {:08x} {:08x} {:08x} {:08x} {:08x} {:08x}",
                            value(SoftnetStat::processed), value(SoftnetStat::dropped), value(SoftnetStat::time_squeeze), 0, 0, 0, 0, 0, 0,
                            value(SoftnetStat::received_rps), value(SoftnetStat::flow_limit_count), input_queue + process_queue, cpu.index);
        text += world.profile >= Profile::v6_12 ? fmt::format(" {:08x} {:08x}\n", input_queue, process_queue) : "\n";
    }
    return text;
}

namespace {

/// One interrupt of a device, as its driver asks for it.
struct InterruptLine {
    unsigned irq = 0;
    std::string chip; ///< "IO-APIC  20-fasteoi   "
    std::string name; ///< "virtio0-input.0"
    std::int32_t device = nothing;
    std::uint32_t vector = 0; ///< of InterruptCount
};

/// x86 has had an interrupt domain for each PCI device since 6.2; before that one for all, numbered by bus, slot and vector.
std::string msi_chip(Profile profile, unsigned slot, unsigned vector)
{
    return profile >= Profile::v6_12 ? fmt::format("PCI-MSIX-0000:00:{:02x}.0 {:>3}-{:<8}", slot, vector, "edge")
                                     : fmt::format("{:>8} {:>3}-{:<8}", "PCI-MSI", (slot << 3 << 11) + vector, "edge");
}

/// e1000 on the lines of the old interrupt controller, the others with vectors of their own: e1000_request_msix(),
/// virtnet_find_vqs(), vp_request_msix_vectors(). Slots and numbers are as a small machine of QEMU's has them.
std::vector<InterruptLine> interrupt_lines(const World& world, std::uint32_t host)
{
    std::vector<InterruptLine> lines;
    unsigned line_irq = 20;
    unsigned irq = 24;
    unsigned slot = 3;
    unsigned virtio = 0;
    for (std::size_t row = 0; row < world.devices.size(); ++row) {
        const NetDevice& device = world.devices[row];
        const auto index = static_cast<std::int32_t>(row);
        if (device.host != host) {
            continue;
        }
        constexpr std::uint32_t never_counted = ~0U;
        unsigned vector = 0;
        const auto add = [&](std::string name, std::uint32_t counted) {
            lines.push_back({irq++, msi_chip(world.profile, slot, vector++), std::move(name), index, counted});
        };
        if (device.kind == DeviceKind::e1000) {
            lines.push_back({line_irq, fmt::format("{:>8} {:>3}-{:<8}", "IO-APIC", line_irq, "fasteoi"), device.name, index, 0});
            line_irq = line_irq < 23 ? line_irq + 1 : 16;
        } else if (device.kind == DeviceKind::e1000e) {
            add(device.name + "-rx-0", 0);
            add(device.name + "-tx-0", 1);
            add(device.name, never_counted);
            ++slot;
        } else if (device.kind == DeviceKind::virtio_net) {
            add(fmt::format("virtio{}-config", virtio), never_counted);
            for (std::uint32_t pair = 0; pair < device.virtio.pairs.size(); ++pair) {
                add(fmt::format("virtio{}-input.{}", virtio, pair), 2 * pair);
                add(fmt::format("virtio{}-output.{}", virtio, pair), 2 * pair + 1);
            }
            ++virtio;
            ++slot;
        }
    }
    std::ranges::stable_sort(lines, {}, &InterruptLine::irq);
    return lines;
}

} // namespace

std::string interrupts_file(const World& world, std::uint32_t host)
{
    const Host& of = world.hosts[host];
    std::string text(11, ' ');
    for (std::uint32_t cpu = 0; cpu < of.cpus; ++cpu) {
        text += fmt::format("CPU{:<8}", cpu);
    }
    text += "\n";
    const auto counts = [&](auto wanted) {
        std::string columns;
        for (std::uint32_t row = of.first_cpu; row < of.first_cpu + of.cpus; ++row) {
            columns += fmt::format("{:>10} ", wanted(world.cpus[row]));
        }
        return columns;
    };
    for (const InterruptLine& line : interrupt_lines(world, host)) {
        const auto counted = [&](const Cpu& cpu) {
            std::uint64_t n = 0;
            for (const InterruptCount& count : cpu.interrupts) {
                n += count.device == line.device && count.vector == line.vector ? count.count : 0;
            }
            return n;
        };
        text += fmt::format("{:>3}: {} {}  {}\n", line.irq, counts(counted), line.chip, line.name);
    }
    text += fmt::format("LOC: {}  Local timer interrupts\n", counts([](const Cpu& cpu) { return cpu.timer_interrupts; }));
    text += fmt::format("CAL: {}  Function call interrupts\n", counts([](const Cpu& cpu) { return cpu.ipis; }));
    return text;
}

std::vector<HostFile> host_files(const World& world)
{
    std::vector<HostFile> files;
    for (std::uint32_t host = 0; host < world.hosts.size(); ++host) {
        const HostId id = world.hosts[host].id;
        files.push_back({id, "", "softnet_stat", softnet_stat_file(world, host)});
        files.push_back({id, "", "interrupts", interrupts_file(world, host)});
    }
    for (NetIndex net = 0; net < world.nets.size(); ++net) {
        const Net& of = world.nets[net];
        const auto add = [&](const char* name, std::string text) {
            files.push_back({world.hosts[of.host].id, of.name, name, std::move(text)});
        };
        add("snmp", snmp_file(world, net));
        add("netstat", netstat_file(world, net));
        add("snmp6", snmp6_file(world, net));
        add("udp", udp_file(world, net));
        add("dev", dev_file(world, net));
        add("ip-link", ip_s_link(world, net));
        add("tc", tc_s_qdisc(world, net));
        add("ethtool", ethtool_s(world, net));
    }
    return files;
}

} // namespace skbscope::kernel
