#include "core/scenario/live_replay.h"

#include <utility>

namespace skbscope {

LiveReplay::LiveReplay(Scenario scenario, const MacAddress& mac, std::uint64_t start_ns)
    : planner_(mac, start_ns), source_(std::move(scenario))
{
}

void LiveReplay::take(const CapturedFrame& frame)
{
    if (auto planned = planner_.take(frame)) {
        waiting_.push_back(std::move(*planned));
        ++frames_;
    }
}

void LiveReplay::run_until(std::uint64_t now_ns)
{
    source_.add_frames(std::exchange(waiting_, {}));
    const SimTime now = planner_.time_of(now_ns);
    if (now.ns > delay.ns) {
        source_.advance_to(SimTime{now.ns - delay.ns});
    }
}

void LiveReplay::finish()
{
    source_.add_frames(std::exchange(waiting_, {}));
    source_.run_to_end();
}

} // namespace skbscope
