#include "capture/fidelity/whole_frame.h"

#include "core/packet/checksum.h"

#include <algorithm>

namespace skbscope {

namespace {

constexpr std::size_t ethernet = 14;
constexpr std::uint8_t protocol_udp = 17;

std::uint32_t be16(std::span<const std::uint8_t> bytes, std::size_t at)
{
    return static_cast<std::uint32_t>(bytes[at] << 8 | bytes[at + 1]);
}

std::uint32_t be32(std::span<const std::uint8_t> bytes, std::size_t at)
{
    return be16(bytes, at) << 16 | be16(bytes, at + 2);
}

/// Sets the last whole word of a UDP datagram in one piece so that its checksum holds. `kept`: bytes that stay as they are.
void hold_udp_checksum(std::span<std::uint8_t> frame, std::size_t kept)
{
    constexpr std::uint32_t part_of_many = 0x3fff; // more fragments, and the offset
    if (frame.size() < ethernet + 28 || be16(frame, 12) != 0x0800 || frame[ethernet + 9] != protocol_udp ||
        (be16(frame, ethernet + 6) & part_of_many) != 0) {
        return;
    }
    const std::size_t udp = ethernet + std::size_t{frame[ethernet] & 0xfU} * 4;
    if (udp + 8 > kept || udp + 8 > frame.size() || be16(frame, udp + 6) == 0) {
        return;
    }
    const std::size_t length = std::min<std::size_t>(be16(frame, udp + 4), frame.size() - udp);
    const std::size_t last = udp + (length / 2 - 1) * 2;
    if (length < 10 || last < kept) {
        return;
    }
    const auto segment = frame.subspan(udp, length);
    const std::uint16_t lacks = csum_tcpudp_magic(be32(frame, ethernet + 12), be32(frame, ethernet + 16), static_cast<std::uint32_t>(length), protocol_udp,
                                                  csum_partial(segment));
    frame[last] = static_cast<std::uint8_t>(lacks >> 8);
    frame[last + 1] = static_cast<std::uint8_t>(lacks & 0xff);
}

} // namespace

std::vector<std::uint8_t> whole_frame(const PcapFile& captured, std::size_t index, const PcapFile* wire, bool udp_checksum_held)
{
    const auto kept = captured.frame(index);
    const std::uint32_t length = captured.frames[index].length;
    std::vector<std::uint8_t> whole(kept.begin(), kept.end());
    if (whole.size() >= length) {
        return whole;
    }
    for (std::size_t i = 0; wire != nullptr && i < wire->frames.size(); ++i) {
        const auto other = wire->frame(i);
        if (other.size() == length && std::equal(kept.begin(), kept.end(), other.begin())) {
            return {other.begin(), other.end()};
        }
    }
    whole.resize(length);
    if (udp_checksum_held) {
        hold_udp_checksum(whole, kept.size());
    }
    return whole;
}

} // namespace skbscope
