#pragma once
// A scenario's traffic at a slower pace, for a machine that cannot keep up with it: an emulated CPU, a debug kernel.

#include "core/scenario/scenario.h"

#include <cstdint>

namespace skbscope::lab {

/// All that programs wait between, before and behind their calls takes `factor` times as long, at most a day each; a gap of 0 stays 0. What devices,
/// cables and the kernel itself take is left as it is.
[[nodiscard]] Scenario slowed_down(Scenario scenario, std::uint32_t factor);

} // namespace skbscope::lab
