#pragma once
// Tables of /proc as counters: snmp, netstat, snmp6, softnet_stat, dev, interrupts, softirqs. Texts in, names and values out; a
// table that a kernel does not have, or that is cut, gives what there is of it.

#include "capture/host/netlink.h"
#include "core/trace/trace.h"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace skbscope::host {

/// "Udp.InDatagrams", "softnet_stat.dropped CPU 1", "eth0.rx_packets", "interrupt 24 eth0 CPU 0".
using Counters = std::map<std::string, std::uint64_t>;

/// /proc/net/snmp and netstat: pairs of lines, names and values (net/ipv4/proc.c: snmp_seq_show). A value below zero
/// (Tcp MaxConn) is left out.
[[nodiscard]] Counters parse_snmp(std::string_view text);
/// /proc/net/snmp6: a name and a value a line (net/ipv6/proc.c); "Udp6InDatagrams" stays as it is.
[[nodiscard]] Counters parse_snmp6(std::string_view text);
/// /proc/net/softnet_stat: hexadecimal columns, a line for each CPU that is online (net/core/net-procfs.c:
/// softnet_seq_show). Kernels before 5.14 do not name the CPU: then lines count.
[[nodiscard]] Counters parse_softnet_stat(std::string_view text);
/// /proc/net/dev (net/core/net-procfs.c: dev_seq_printf_stats).
[[nodiscard]] Counters parse_dev(std::string_view text);
/// /proc/net/raw and raw6: raw sockets, where the kernel has no raw_diag. The sizes of their buffers are not told.
[[nodiscard]] std::vector<SocketState> parse_raw_table(std::string_view text);
/// /proc/interrupts: those of devices; "interrupt 24 virtio0-input.0 CPU 0".
[[nodiscard]] Counters parse_interrupts(std::string_view text);
/// /proc/softirqs: NET_RX and NET_TX; "softirq NET_RX CPU 0".
[[nodiscard]] Counters parse_softirqs(std::string_view text);

/// /proc/net/udp and udp6: the ports that datagrams to that IPv4 address (host order) find a socket on, in ascending order. A socket
/// of udp6 counts where it is bound to any address, or to the mapped one.
[[nodiscard]] std::vector<std::uint16_t> bound_udp_ports(std::string_view udp, std::string_view udp6, std::uint32_t address);

/// One look at a host or namespace: `root` is "/proc" or a recorded tree.
struct Sample {
    Counters counters;
    std::vector<std::string> missing; ///< "net/snmp6: not there", one line each
};
[[nodiscard]] Sample read_counters(const std::string& root = "/proc");

/// What moved between two looks becomes counter events at the time `at`, which must not be before the trace's last event;
/// names get `prefix` in front. Counters that did not move, or ran backwards (a device that was made anew), are left out.
void add_moves(Trace& trace, const Counters& before, const Counters& after, SimTime at, const std::string& prefix = {});

} // namespace skbscope::host
