#pragma once
// One fuzzed run: frames built from bytes are fed to a router with rules' places, forwarding and sockets, then the
// account is closed. What the fuzzer, the stand-alone driver and the property test share.

#include "core/scenario/model_source.h"

#include <cstdint>
#include <span>
#include <string>

namespace skbscope::fuzz {

/// Feeds the bytes, cut into frames: byte 0 says to which device and how the frame begins (raw, or a real frame of some
/// protocol that the following bytes change), byte 1 and 2 its length. Runs to the end. Empty: all is well; else what is wrong.
/// `frames` is counted up by the frames that were fed.
[[nodiscard]] std::string run_frames(std::span<const std::uint8_t> bytes, std::uint64_t& frames);

} // namespace skbscope::fuzz
