#pragma once
// Gives the frames of a capture to the packets that passed the capture's tap. The capture's clock is the wall
// clock, the trace has its own: the offset between them is found by the matching itself, as the one that most
// pairs of equal length agree on.

#include "capture/pcap_file.h"
#include "core/packet/flow.h"

#include <cstdint>
#include <optional>
#include <vector>

namespace skbscope {

/// A packet at the tap, in time order.
struct TapCandidate {
    std::uint64_t time_ns = 0;
    std::uint32_t length = 0;    ///< 0: unknown
    std::uint16_t ethertype = 0; ///< 0: unknown
    std::optional<FlowKey> flow; ///< if known without the capture
    bool outgoing = false;
};

struct FrameMatches {
    std::vector<std::int64_t> frame_of; ///< for each candidate the frame's index, or -1
    std::size_t matched = 0;
    std::int64_t offset_ns = 0; ///< wall clock minus trace clock; median over the matches
};

/// Whether a frame may be of that flow. A flow from a route lookup knows no sender's address before one is chosen, and of
/// ICMP no identifier.
[[nodiscard]] bool flows_agree(const FlowKey& known, const FlowKey& frame);

/// By device (the caller's), length, order and clock, and by flow where both are known. What leaves may have had its
/// addresses rewritten behind the lookup that told its flow: such a packet takes what nothing else fits.
[[nodiscard]] FrameMatches match_frames(const std::vector<TapCandidate>& candidates, const PcapFile& file);

} // namespace skbscope
