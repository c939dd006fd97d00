#pragma once
// Frames of which a capture kept the beginning only (its snap length), at their length on the wire.

#include "capture/pcap_file.h"

#include <cstdint>
#include <vector>

namespace skbscope {

/// Frame `index` of `captured`. What the snap length cut off is that of the frame of the same length and beginning in `wire`, a capture
/// without such a limit, if there is one (null: there is no such capture). Else it is zeros; with `udp_checksum_held` the last of them are such
/// that the checksum of a UDP datagram in one piece holds, as it did.
[[nodiscard]] std::vector<std::uint8_t> whole_frame(const PcapFile& captured, std::size_t index, const PcapFile* wire, bool udp_checksum_held);

} // namespace skbscope
