#pragma once
// The sysctls that the model knows: one row each, so that parsing, knobs and building agree.

#include "core/kernel/world.h"

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace skbscope {

struct SysctlRow {
    std::string_view name;
    std::int64_t kernel::Sysctls::*member;
    std::int64_t minimum, maximum;
    std::string_view unit, title, text;
};

/// Ranges are the kernel's own where it has one (net/core/sysctl_net_core.c, net/ipv4/sysctl_net_ipv4.c), else those of
/// its int.
[[nodiscard]] std::span<const SysctlRow> sysctl_rows();
[[nodiscard]] const SysctlRow* find_sysctl(std::string_view name);

/// net.ipv4.conf.DEVICE.NAME, where DEVICE is a device, "all" or "default".
struct DevConfRow {
    std::string_view name;
    kernel::DevConf which;
    std::int64_t minimum, maximum;
    std::string_view text;
};
struct DevConfName {
    const DevConfRow* row = nullptr;
    std::string device;
};
[[nodiscard]] std::span<const DevConfRow> dev_conf_rows();
[[nodiscard]] std::optional<DevConfName> find_dev_conf(std::string_view name);

/// net.ipv6.conf.DEVICE.NAME
struct DevConf6Row {
    std::string_view name;
    std::int64_t kernel::Ipv6DevConf::*member;
    std::int64_t minimum, maximum;
    std::string_view text;
};
struct DevConf6Name {
    const DevConf6Row* row = nullptr;
    std::string device;
};
[[nodiscard]] std::span<const DevConf6Row> dev_conf6_rows();
[[nodiscard]] std::optional<DevConf6Name> find_dev_conf6(std::string_view name);

/// A setting of the whole machine: a namespace on it has none of its own (most of net.core, net.ipv4.udp_mem,
/// net.ipv4.route, the limits of the neighbour tables, nf_conntrack_max).
[[nodiscard]] bool is_machine_wide(std::string_view name);

/// Any setting that set_sysctl() takes.
[[nodiscard]] bool is_sysctl(std::string_view name);

/// Sets any setting of a namespace as the kernel does: net.ipv4.ip_forward changes forwarding of every device, "default" what
/// later devices begin with. False: there is no such setting, or no such device.
bool set_sysctl(kernel::World& world, kernel::NetIndex net, std::string_view name, std::int64_t value);

} // namespace skbscope
