#pragma once
// Frames and packets as they come: which frame is which packet's. The clocks' offset is known here, so time decides: a
// frame is stamped between the packet's birth and the record that says it passed its device's taps. Within that, order:
// both sides keep it.

#include "capture/live/frame_source.h"
#include "core/packet/flow.h"

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

namespace skbscope {

/// A packet at a device's taps.
struct LivePassage {
    std::uint32_t slot = 0;      ///< the caller's name for it
    std::uint64_t born_ns = 0;   ///< trace clock
    std::uint64_t passed_ns = 0; ///< trace clock
    std::uint32_t length = 0;    ///< 0: not known
    std::optional<FlowKey> flow;
};

/// Of one device.
class FrameMatch {
public:
    /// Wall clock minus trace clock.
    explicit FrameMatch(std::int64_t wall_offset_ns) : offset_(wall_offset_ns) {}

    void add(LiveFrame frame) { frames_.push_back(std::move(frame)); }
    void add(LivePassage passage) { passages_.push_back(std::move(passage)); }

    struct Match {
        std::uint32_t slot = 0;
        LiveFrame frame;
    };
    /// Passages up to that time (trace clock) are decided. Frames too old for any later one are given up.
    [[nodiscard]] std::vector<Match> match_until(std::uint64_t time_ns);

    [[nodiscard]] std::uint64_t passages_without() const { return without_frame_; }
    [[nodiscard]] std::uint64_t frames_without() const { return without_packet_; }

private:
    [[nodiscard]] bool fits(const LivePassage& passage, const LiveFrame& frame) const;

    std::int64_t offset_;
    std::deque<LiveFrame> frames_;
    std::deque<LivePassage> passages_;
    std::uint64_t without_frame_ = 0;
    std::uint64_t without_packet_ = 0;
};

} // namespace skbscope
