#pragma once
// The sysctls that the model knows: one row each, so that parsing, knobs and building agree.

#include "core/kernel/world.h"

#include <span>
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

} // namespace skbscope
