#pragma once
// Past IPv6's extension headers, to the transport header.

#include <cstddef>
#include <cstdint>
#include <span>

namespace skbscope {

struct Transport {
    std::uint8_t protocol = 0;
    std::size_t offset = 0; ///< within the payload of the IPv6 header
    bool first_fragment = true;
    bool whole = true; ///< false: the chain is cut, too long, or its lengths lead outside
};

/// As ipv6_skip_exthdr() in net/ipv6/exthdrs_core.c: hop-by-hop, routing, fragment, authentication, destination options
/// and mobility are skipped. `offset` may lie at or behind the payload's end when it is cut.
[[nodiscard]] Transport find_transport(std::span<const std::uint8_t> payload, std::uint8_t next_header);

} // namespace skbscope
