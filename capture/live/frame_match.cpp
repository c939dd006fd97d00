#include "capture/live/frame_match.h"

#include <algorithm>

namespace skbscope {

namespace {

/// The two clocks are read one after the other, and a tap stamps some calls away from the record.
constexpr std::int64_t slack_ns = 200'000;
/// A frame that no passage has come for by then has none: it was captured beside what is traced.
constexpr std::int64_t given_up_after_ns = 1'000'000'000;

/// A flow from a route lookup knows no sender's address before one is chosen, and of ICMP no identifier.
bool agree(const FlowKey& known, const FlowKey& frame)
{
    constexpr std::uint8_t icmp = 1;
    const bool same_ends = known.protocol == frame.protocol && known.destination == frame.destination &&
                           (known.source == IpAddress{} || known.source == frame.source);
    return same_ends && (known.protocol == icmp ||
                         (known.source_port == frame.source_port && known.destination_port == frame.destination_port));
}

} // namespace

bool FrameMatch::fits(const LivePassage& passage, const LiveFrame& frame) const
{
    const std::int64_t stamped = frame.wall_ns - offset_;
    if (stamped < static_cast<std::int64_t>(passage.born_ns) - slack_ns ||
        stamped > static_cast<std::int64_t>(passage.passed_ns) + slack_ns ||
        (passage.length != 0 && passage.length != frame.length)) {
        return false;
    }
    if (!passage.flow) {
        return true;
    }
    const auto flow = flow_of_frame(frame.bytes);
    return !flow || agree(*passage.flow, *flow);
}

std::vector<FrameMatch::Match> FrameMatch::match_until(std::uint64_t time_ns)
{
    std::vector<Match> matches;
    for (; !passages_.empty() && passages_.front().passed_ns <= time_ns; passages_.pop_front()) {
        const LivePassage& passage = passages_.front();
        const auto too_late = static_cast<std::int64_t>(passage.passed_ns) + offset_ + slack_ns;
        auto frame = frames_.begin();
        for (; frame != frames_.end() && frame->wall_ns <= too_late && !fits(passage, *frame); ++frame) {
        }
        if (frame == frames_.end() || frame->wall_ns > too_late) {
            ++without_frame_;
            continue;
        }
        matches.push_back({passage.slot, std::move(*frame)});
        frames_.erase(frame);
    }
    const std::int64_t oldest = static_cast<std::int64_t>(time_ns) + offset_ - given_up_after_ns;
    for (; !frames_.empty() && frames_.front().wall_ns < oldest; frames_.pop_front()) {
        ++without_packet_;
    }
    return matches;
}

} // namespace skbscope
