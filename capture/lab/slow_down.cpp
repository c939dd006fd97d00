#include "capture/lab/slow_down.h"

#include <algorithm>
#include <vector>

namespace skbscope::lab {

namespace {

constexpr std::int64_t a_day_ns = 86'400'000'000'000;

class Pace {
public:
    explicit Pace(std::uint32_t factor) : factor_(std::max<std::uint32_t>(factor, 1)) {}

    void operator()(Duration& wait) const { wait.ns = wait.ns > a_day_ns / factor_ ? std::max(wait.ns, a_day_ns) : wait.ns * factor_; }

    void operator()(std::vector<Duration>& times) const
    {
        for (Duration& time : times) {
            (*this)(time);
        }
    }

private:
    std::int64_t factor_;
};

void slow_down(ScenarioHost& host, const Pace& pace)
{
    for (auto& receiver : host.receivers) {
        pace(receiver.start);
        pace(receiver.work);
    }
    for (auto& sender : host.senders) {
        pace(sender.start);
        pace(sender.gap);
        pace(sender.times);
    }
    for (auto& ping : host.pings) {
        pace(ping.start);
        pace(ping.interval);
        pace(ping.times);
    }
    for (auto& injector : host.injectors) {
        pace(injector.start);
        pace(injector.gap);
        pace(injector.times);
    }
    for (auto& tap : host.taps) {
        pace(tap.start);
        pace(tap.stop);
        pace(tap.work);
    }
    for (auto& tcp : host.tcp) {
        pace(tcp.start);
        pace(tcp.gap);
        pace(tcp.work);
    }
    for (auto& pktgen : host.pktgens) {
        pace(pktgen.start);
        pace(pktgen.gap);
    }
    for (auto& change : host.tc) {
        pace(change.at);
    }
}

} // namespace

Scenario slowed_down(Scenario scenario, std::uint32_t factor)
{
    const Pace pace(factor);
    for (ScenarioHost& host : scenario.hosts) {
        slow_down(host, pace);
    }
    for (ScenarioStation& station : scenario.stations) {
        for (ScenarioFlow& flow : station.flows) {
            pace(flow.start);
            pace(flow.gap);
        }
    }
    return scenario;
}

} // namespace skbscope::lab
