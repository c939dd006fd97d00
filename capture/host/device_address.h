#pragma once
// What this host's device is called on the wire.

#include "core/packet/mac.h"

#include <cstdint>
#include <optional>
#include <string>

namespace skbscope::host {

struct DeviceAddress {
    std::optional<std::uint32_t> ipv4; ///< its first one, host order
    MacAddress mac;                    ///< all zero: none (loopback), or no such device
};
[[nodiscard]] DeviceAddress address_of_device(const std::string& name);

} // namespace skbscope::host
