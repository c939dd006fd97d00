#pragma once
// Frames of this host's devices through libpcap, beside the trace: they give packets their bytes. One packet socket a
// device, opened while the rights are there and read afterwards without any.

#include "core/result.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace skbscope {

struct LiveFrame {
    std::int64_t wall_ns = 0; ///< nanoseconds since 1970, stamped by the kernel near the device's tap
    std::uint32_t length = 0; ///< bytes on the wire
    std::uint32_t device = 0; ///< row of FrameSource::devices()
    std::vector<std::uint8_t> bytes; ///< Ethernet header first; may be cut
};

class FrameSource {
public:
    /// `device` empty: every Ethernet-like device that is up in this network namespace. `filter` in libpcap's words.
    /// Errors: not_found (no such device), not_permitted, usage (the filter), unsupported (the device is none of
    /// Ethernet's kind).
    [[nodiscard]] static Result<FrameSource> open(const std::string& device, const std::string& filter, int bytes_kept = 512);

    FrameSource(FrameSource&&) noexcept;
    FrameSource& operator=(FrameSource&&) noexcept;
    ~FrameSource();

    [[nodiscard]] const std::vector<std::string>& devices() const;
    /// What is there now, without waiting. False: no device is left to read.
    bool read(std::vector<LiveFrame>& into);
    /// Frames that the kernel could not keep for us, so far.
    [[nodiscard]] std::uint64_t lost() const;
    /// Devices that disappeared or failed meanwhile, one line each.
    [[nodiscard]] const std::vector<std::string>& troubles() const;

private:
    struct State;
    explicit FrameSource(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

} // namespace skbscope
