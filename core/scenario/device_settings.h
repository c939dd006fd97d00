#pragma once
// Settings of a device that have no key of their own in ScenarioDevice: what `ip link set`, `ethtool` and sysfs turn. One row
// each, so that parsing, knobs and building agree; each can be turned while the model runs.

#include "core/kernel/world.h"

#include <span>
#include <string_view>

namespace skbscope {

struct DeviceSettingRow {
    std::string_view name; ///< "gro_flush_timeout": DEVICE.gro_flush_timeout
    std::int64_t minimum, maximum, kernel_default;
    std::string_view unit, title, text;
    bool (*applies)(kernel::DeviceKind kind);
    std::int64_t (*get)(const kernel::NetDevice& device);
    void (*set)(kernel::NetDevice& device, std::int64_t value);
    bool in_scenario; ///< false: ScenarioDevice has a member of its own for it; the row only turns it while it runs
};

[[nodiscard]] std::span<const DeviceSettingRow> device_setting_rows();
[[nodiscard]] const DeviceSettingRow* find_device_setting(std::string_view name);

} // namespace skbscope
