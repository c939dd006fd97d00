#pragma once
// Frames of a live device through a modelled host, as they come. It knows no clock and no device: whoever reads the device says
// what time it is.

#include "core/scenario/model_source.h"

namespace skbscope {

class LiveReplay {
public:
    /// `mac`: the modelled host's. `start_ns`: the stamp at which the model's time begins.
    LiveReplay(Scenario scenario, const MacAddress& mac, std::uint64_t start_ns);

    /// A frame that the device has seen. One whose time the model has passed already arrives at once.
    void take(const CapturedFrame& frame);
    /// Runs the model up to where no frame is expected any more: `delay` before that stamp.
    void run_until(std::uint64_t now_ns);
    /// No more frames come: runs until whatever came has ended.
    void finish();

    /// How late a frame may be handed on by the capture without arriving late in the model.
    static constexpr Duration delay{50'000'000};

    [[nodiscard]] std::uint64_t frames() const { return frames_; } ///< that went to the modelled host
    [[nodiscard]] const ReplayPlanner::Counts& counts() const { return planner_.counts(); }
    [[nodiscard]] ModelSource& source() { return source_; }

private:
    ReplayPlanner planner_;
    ModelSource source_;
    std::vector<ReplayFrame> waiting_;
    std::uint64_t frames_ = 0;
};

} // namespace skbscope
