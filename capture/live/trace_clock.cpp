#include "capture/live/trace_clock.h"

#include <algorithm>
#include <ctime>
#include <fstream>
#include <limits>
#include <mutex>
#include <string>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace skbscope {

namespace {

/// Between moments that are kept: NTP changes the rate by less than a nanosecond in that time, mostly.
constexpr std::uint64_t keep_every_ns = 100'000'000;
constexpr std::size_t room_for_fresh = 1024;

/// By which a time namespace's monotonic clock is ahead of the kernel's own, which stamps records (time_namespaces(7)).
std::int64_t namespace_offset_ns()
{
    std::ifstream offsets("/proc/self/timens_offsets");
    std::string clock;
    for (std::int64_t seconds = 0, nanoseconds = 0; offsets >> clock >> seconds >> nanoseconds;) {
        if (clock == "monotonic") {
            return seconds * 1'000'000'000 + nanoseconds;
        }
    }
    return 0;
}

std::uint64_t cycles()
{
#if defined(__x86_64__)
    _mm_lfence(); // as rdtsc_ordered() of arch/x86/include/asm/msr.h
    return __rdtsc();
#else
    return 0;
#endif
}

} // namespace

std::uint64_t monotonic_ns()
{
    static const std::int64_t offset = namespace_offset_ns();
    timespec now{};
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec * 1'000'000'000LL + now.tv_nsec - offset);
}

TraceClock::TraceClock(std::string_view name) : counts_cycles_(name == cycles_clock)
{
    fresh_.reserve(room_for_fresh);
    if (counts_cycles_) {
        moments_.push_back(read());
    }
}

TraceClock::Moment TraceClock::read() const
{
    if (!counts_cycles_) {
        const std::uint64_t now = monotonic_ns();
        return {now, now};
    }
    // One is read after the other; the tightest of a few tries is within some tens of nanoseconds.
    Moment best;
    std::uint64_t tightest = std::numeric_limits<std::uint64_t>::max();
    for (int i = 0; i < 4; ++i) {
        const std::uint64_t before = cycles();
        const std::uint64_t mono = monotonic_ns();
        const std::uint64_t after = cycles();
        if (after - before < tightest) {
            tightest = after - before;
            best = {before + (after - before) / 2, mono};
        }
    }
    return best;
}

TraceClock::Moment TraceClock::note()
{
    const Moment now = read();
    if (counts_cycles_ && now.mono_ns >= kept_ns_ + keep_every_ns) {
        kept_ns_ = now.mono_ns;
        note(now);
    }
    return now;
}

void TraceClock::note(const Moment& now)
{
    const std::scoped_lock lock(mutex_);
    fresh_.push_back(now);
}

void TraceClock::take_notes()
{
    if (!counts_cycles_) {
        return;
    }
    std::vector<Moment> taken;
    taken.reserve(room_for_fresh);
    {
        const std::scoped_lock lock(mutex_);
        if (fresh_.empty()) {
            return;
        }
        fresh_.swap(taken);
    }
    for (const Moment& moment : taken) {
        if (moments_.empty() || (moment.stamp > moments_.back().stamp && moment.mono_ns > moments_.back().mono_ns)) {
            moments_.push_back(moment);
        }
    }
}

std::uint64_t TraceClock::mono_ns(std::uint64_t stamp)
{
    if (!counts_cycles_) {
        return stamp;
    }
    if (moments_.size() < 2) {
        return moments_.empty() ? stamp : moments_.front().mono_ns;
    }
    const bool is_here = at_ + 1 < moments_.size() && stamp >= moments_[at_].stamp && stamp < moments_[at_ + 1].stamp;
    if (!is_here) {
        const auto next = std::ranges::upper_bound(moments_, stamp, {}, &Moment::stamp);
        at_ = std::min(static_cast<std::size_t>(std::max<std::ptrdiff_t>(next - moments_.begin() - 1, 0)), moments_.size() - 2);
    }
    const Moment& from = moments_[at_];
    const Moment& to = moments_[at_ + 1];
    const double rate = static_cast<double>(to.mono_ns - from.mono_ns) / static_cast<double>(to.stamp - from.stamp);
    const auto since = static_cast<double>(static_cast<std::int64_t>(stamp - from.stamp)) * rate;
    return from.mono_ns + static_cast<std::uint64_t>(static_cast<std::int64_t>(since));
}

void TraceClock::forget_before(std::uint64_t mono_ns)
{
    if (moments_.size() <= 2) {
        return;
    }
    // The stretch that holds that time stays.
    const auto next = std::ranges::upper_bound(moments_, mono_ns, {}, &Moment::mono_ns);
    const std::ptrdiff_t gone = std::min<std::ptrdiff_t>(next - moments_.begin() - 1, static_cast<std::ptrdiff_t>(moments_.size()) - 2);
    if (gone > 0) {
        moments_.erase(moments_.begin(), moments_.begin() + gone);
        at_ = 0;
    }
}

} // namespace skbscope
