#pragma once
// The clock that stamps the records of a live recording. The cheapest one there is counts the processor's cycles
// (x86-tsc: an eighth of what a record costs is the clock `mono`); its times become nanoseconds of CLOCK_MONOTONIC here, from
// both clocks as this process reads them side by side while it records.

#include "capture/live/page_spool.h"

#include <cstdint>
#include <string_view>
#include <vector>

namespace skbscope {

/// Nanoseconds of CLOCK_MONOTONIC, which are those of the trace clock "mono".
[[nodiscard]] std::uint64_t monotonic_ns();

/// The name of the trace clock that counts cycles.
inline constexpr std::string_view cycles_clock = "x86-tsc";

/// note() belongs to one thread, take_notes(), mono_ns() and forget_before() to one other.
class TraceClock {
public:
    /// Both clocks, at one moment.
    struct Moment {
        std::uint64_t stamp = 0; ///< as records have it
        std::uint64_t mono_ns = 0;
    };
    /// As tracefs calls it. All but that of cycles are taken for nanoseconds of CLOCK_MONOTONIC.
    explicit TraceClock(std::string_view name);

    /// Both clocks are read; now and then that is kept for mono_ns().
    Moment note();
    /// For tests: as if note() had read this.
    void note(const Moment& now);

    /// What note() has kept comes over.
    void take_notes();
    /// Exact between moments that were noted, and continued in a line before and after them.
    [[nodiscard]] std::uint64_t mono_ns(std::uint64_t stamp);
    /// No stamps from before that time will be asked for.
    void forget_before(std::uint64_t mono_ns);

private:
    [[nodiscard]] Moment read() const;

    bool counts_cycles_;
    LendingMutex mutex_;
    std::vector<Moment> fresh_; ///< locked; its memory is made by the other thread
    std::uint64_t kept_ns_ = 0; ///< of the noting thread: when it kept one last; 0: never

    std::vector<Moment> moments_;
    std::size_t at_ = 0; ///< moments_[at_] and the next one: the stretch that was asked for last
};

} // namespace skbscope
