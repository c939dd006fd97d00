#include "core/packet/mac.h"

#include <charconv>
#include <fmt/format.h>

namespace skbscope {

std::string MacAddress::text() const
{
    return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", bytes[0], bytes[1], bytes[2], bytes[3], bytes[4],
                       bytes[5]);
}

std::optional<MacAddress> MacAddress::parse(std::string_view text)
{
    if (text.size() != 17) {
        return std::nullopt;
    }
    MacAddress mac;
    for (std::size_t i = 0; i < 6; ++i) {
        const char* pair = text.data() + 3 * i;
        if (i < 5 && pair[2] != ':' && pair[2] != '-') {
            return std::nullopt;
        }
        auto [end, error] = std::from_chars(pair, pair + 2, mac.bytes[i], 16);
        if (error != std::errc{} || end != pair + 2) {
            return std::nullopt;
        }
    }
    return mac;
}

} // namespace skbscope
