#include "capture/live/detail_budget.h"

#include <algorithm>

namespace skbscope {

namespace {

/// What was seen a few pauses ago counts less: traffic changes.
constexpr double fading = 0.8;
/// A CPU that works for the recorder disturbs the traffic beside it by a multiple of what it takes: readers of packets wait for
/// it, and then run against their senders for a while (tests/bench/README.md: being woken 250 times a second, for nothing,
/// costs a flood a tenth).
constexpr double with_disturbance = 4;
/// Fewer say nothing of a rate.
constexpr double enough_packets = 1000;
/// A stretch goes on until it has cost what the switching does, or has taken that long.
constexpr std::uint64_t long_enough_ns = 1'000'000'000;

} // namespace

DetailBudget::DetailBudget(double share, unsigned cpus) : allowed_(share * std::max(1U, cpus)) {}

double DetailBudget::cost_ns(const Stretch& stretch) const
{
    const double slower = slowdown() * static_cast<double>(stretch.on_ns); // of one CPU at least
    return std::max(stretch.records * stretch.making_ns, slower) + with_disturbance * (stretch.records * stretch.own_ns + stretch.switching_ns);
}

bool DetailBudget::is_over(const Stretch& stretch) const
{
    return cost_ns(stretch) > allowed_ * static_cast<double>(stretch.on_ns);
}

bool DetailBudget::is_worth_switching(const Stretch& stretch) const
{
    return cost_ns(stretch) >= 2 * with_disturbance * stretch.switching_ns || stretch.on_ns >= long_enough_ns;
}

std::uint64_t DetailBudget::pause_ns(const Stretch& stretch) const
{
    const double whole = cost_ns(stretch) / allowed_; // the time for which that cost is the budget
    const auto on = static_cast<double>(stretch.on_ns);
    return static_cast<std::uint64_t>(std::clamp(whole - on, 0.0, on * most_pauses));
}

void DetailBudget::carried(bool in_detail, std::uint64_t packets, std::uint64_t ns)
{
    Traffic& traffic = in_detail ? detailed_ : plain_;
    traffic.packets = traffic.packets * fading + static_cast<double>(packets);
    traffic.ns = traffic.ns * fading + static_cast<double>(ns);
}

double DetailBudget::rate(bool in_detail) const
{
    const Traffic& traffic = in_detail ? detailed_ : plain_;
    return traffic.ns > 0 ? traffic.packets / traffic.ns * 1e9 : 0;
}

double DetailBudget::slowdown() const
{
    if (detailed_.packets < enough_packets || plain_.packets < enough_packets) {
        return 0;
    }
    return std::clamp(1 - rate(true) / rate(false), 0.0, 1.0);
}

} // namespace skbscope
