#include "core/packet/checksum.h"

#include "core/packet/bytes.h"
#include "core/packet/protocols.h"

#include <bit>
#include <cstring>

namespace skbscope {

namespace {

std::uint16_t fold(std::uint64_t sum)
{
    while (sum >> 16 != 0) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return static_cast<std::uint16_t>(sum);
}

std::uint16_t swapped(std::uint16_t value)
{
    return static_cast<std::uint16_t>(value << 8 | value >> 8);
}

} // namespace

std::uint32_t csum_partial(std::span<const std::uint8_t> bytes, std::uint32_t sum)
{
    // A one's complement sum does not depend on byte order: add native words, the carry at the other end, and swap once.
    const std::uint8_t* p = bytes.data();
    std::size_t left = bytes.size();
    // Upper halves of words in a sum of their own, which never overflows. The sum of whole words does, but less the upper halves it
    // is that of the lower ones, which does not either. The compiler adds them by vectors.
    std::uint64_t whole[2] = {}, high[2] = {};
    for (; left >= 32; p += 32, left -= 32) {
        std::uint64_t words[4];
        std::memcpy(words, p, 32);
        for (std::size_t at = 0; at < 4; ++at) {
            whole[at % 2] += words[at];
            high[at % 2] += words[at] >> 32;
        }
    }
    std::uint64_t native = 0;
    for (const std::uint64_t part : {whole[0] - (high[0] << 32), whole[1] - (high[1] << 32), high[0], high[1]}) {
        native += (part & 0xffffffff) + (part >> 32);
    }
    for (; left >= 4; p += 4, left -= 4) {
        std::uint32_t word;
        std::memcpy(&word, p, 4);
        native += word;
    }
    std::uint8_t rest[4] = {};
    if (left > 0) {
        std::memcpy(rest, p, left);
    }
    std::uint32_t word;
    std::memcpy(&word, rest, 4);
    native += word;
    std::uint16_t folded = fold(native);
    if constexpr (std::endian::native == std::endian::little) {
        folded = swapped(folded);
    }
    return csum_add(sum, folded);
}

std::uint32_t csum_add(std::uint32_t a, std::uint32_t b)
{
    std::uint32_t sum = a + b;
    return sum < b ? sum + 1 : sum;
}

std::uint32_t csum_block_add(std::uint32_t sum, std::uint32_t block, std::size_t offset)
{
    return csum_add(sum, offset % 2 == 0 ? block : swapped(fold(block)));
}

std::uint16_t csum_fold(std::uint32_t sum)
{
    return static_cast<std::uint16_t>(~fold(sum));
}

std::uint16_t csum_replace(std::uint16_t checksum, std::uint16_t before, std::uint16_t after)
{
    std::uint32_t sum = static_cast<std::uint16_t>(~checksum);
    sum += static_cast<std::uint16_t>(~before);
    sum += after;
    return csum_fold(sum);
}

std::uint16_t ip_fast_csum(std::span<const std::uint8_t> header)
{
    return csum_fold(csum_partial(header));
}

std::uint32_t csum_tcpudp_nofold(std::uint32_t saddr, std::uint32_t daddr, std::uint32_t length, std::uint8_t protocol,
                                 std::uint32_t sum)
{
    std::uint64_t wide = std::uint64_t{sum} + saddr + daddr + length + protocol;
    wide = (wide & 0xffffffff) + (wide >> 32);
    return static_cast<std::uint32_t>((wide & 0xffffffff) + (wide >> 32));
}

std::uint16_t csum_tcpudp_magic(std::uint32_t saddr, std::uint32_t daddr, std::uint32_t length, std::uint8_t protocol,
                                std::uint32_t sum)
{
    return csum_fold(csum_tcpudp_nofold(saddr, daddr, length, protocol, sum));
}

std::uint16_t csum_ipv6_magic(const IpAddress& saddr, const IpAddress& daddr, std::uint32_t length,
                              std::uint8_t protocol, std::uint32_t sum)
{
    sum = csum_partial(saddr.bytes, sum);
    sum = csum_partial(daddr.bytes, sum);
    return csum_fold(csum_add(csum_add(sum, length), protocol));
}

std::uint16_t transport_checksum(const IpAddress& source, const IpAddress& destination, std::uint8_t protocol,
                                 std::span<const std::uint8_t> segment)
{
    std::uint32_t sum = csum_partial(segment);
    auto length = static_cast<std::uint32_t>(segment.size());
    return source.v6 ? csum_ipv6_magic(source, destination, length, protocol, sum)
                     : csum_tcpudp_magic(source.v4_host_order(), destination.v4_host_order(), length, protocol, sum);
}

bool ipv4_checksum_ok(std::span<const std::uint8_t> header)
{
    std::size_t length = (header[0] & 0x0f) * std::size_t{4};
    return ip_fast_csum(header.first(length)) == 0;
}

bool udp_checksum_ok(const IpAddress& source, const IpAddress& destination, std::span<const std::uint8_t> segment)
{
    if (segment.size() < 8) {
        return false;
    }
    bool has_none = load_be16(segment.data() + 6) == 0;
    // RFC 8200: over IPv6 a checksum is not optional.
    return has_none ? !source.v6 : transport_checksum(source, destination, proto::ipproto_udp, segment) == 0;
}

bool tcp_checksum_ok(const IpAddress& source, const IpAddress& destination, std::span<const std::uint8_t> segment)
{
    return segment.size() >= 20 && transport_checksum(source, destination, proto::ipproto_tcp, segment) == 0;
}

bool icmp_checksum_ok(std::span<const std::uint8_t> message)
{
    return message.size() >= 4 && csum_fold(csum_partial(message)) == 0;
}

} // namespace skbscope
