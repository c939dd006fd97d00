#pragma once
// One fuzzed run: frames built from bytes are fed to a router with a NIC of each kind, rules, NAT, forwarding, taps and
// sockets of all families, then the account is closed. What the fuzzer, the stand-alone driver and the property test share.

#include "core/scenario/model_source.h"

#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <vector>

namespace skbscope::fuzz {

/// Byte 0 chooses kernel profile and rules; the rest is cut into frames: a byte that says to which device and how the frame
/// begins (raw, or a real frame that the following bytes change), its kind, two of length; on the crowded machine some turn a
/// setting instead. Runs to the end. Empty: all is
/// well; else what is wrong. `frames` is counted up by the frames that were fed.
[[nodiscard]] std::string run_frames(std::span<const std::uint8_t> bytes, std::uint64_t& frames);

/// The bytes of 64 frames, mostly short ones, by chance: what the driver feeds.
[[nodiscard]] std::vector<std::uint8_t> random_input(std::mt19937_64& random);

} // namespace skbscope::fuzz
