#pragma once
// What a modelled host's /proc files and the usual tools would print at this moment, in the layout of its kernel:
// net/ipv4/proc.c, net/ipv6/proc.c, net/core/net-procfs.c, net/ipv4/udp.c (udp4_seq_show), kernel/irq/proc.c; ip -s link,
// tc -s qdisc and ethtool -S in tools_text.cpp.

#include "core/kernel/world.h"

#include <string>
#include <vector>

namespace skbscope::kernel {

[[nodiscard]] std::string snmp_file(const World& world, NetIndex net);
[[nodiscard]] std::string netstat_file(const World& world, NetIndex net);
[[nodiscard]] std::string snmp6_file(const World& world, NetIndex net);
[[nodiscard]] std::string dev_file(const World& world, NetIndex net);
[[nodiscard]] std::string udp_file(const World& world, NetIndex net);
[[nodiscard]] std::string softnet_stat_file(const World& world, std::uint32_t host);
[[nodiscard]] std::string interrupts_file(const World& world, std::uint32_t host);

[[nodiscard]] std::string ip_s_link(const World& world, NetIndex net);
[[nodiscard]] std::string tc_s_qdisc(const World& world, NetIndex net);
/// `ethtool -S` of each device that has such statistics. Only those that the model keeps.
[[nodiscard]] std::string ethtool_s(const World& world, NetIndex net);

/// All of them, of every host and namespace, by the names that `report --proc` takes.
[[nodiscard]] std::vector<HostFile> host_files(const World& world);

} // namespace skbscope::kernel
