#pragma once
// A scenario run to its end, and short questions to ask of it.

#include "core/catalog/catalog.h"
#include "core/scenario/model_source.h"
#include "core/trace/journey.h"
#include "core/trace/stack_state.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace skbscope::test {

/// One server (10.99.0.2 on eth0, :5001 open) and one client station (10.99.0.1). `host` and `flow` are YAML that is put
/// inside the host and the station's flow.
inline std::string receive_scenario(const std::string& flow = "count: 1", const std::string& receiver = "", const std::string& host = "",
                                    const std::string& device = "")
{
    return "skbscope: 1\nhosts:\n  - name: server\n    cpus: 2\n" + host +
           "    devices:\n      - {name: eth0, mac: \"52:54:00:12:34:00\", address: 10.99.0.2/24, link: client" +
           (device.empty() ? "" : ", " + device) + "}\n    receivers:\n      - {name: dnsd, port: 5001, cpu: 1" +
           (receiver.empty() ? "" : ", " + receiver) +
           "}\nstations:\n  - name: client\n    mac: 52:54:00:12:34:01\n    address: 10.99.0.1\n    sends:\n"
           "      - {to: \"10.99.0.2:5001\", from_port: 40001, start: 50us, " + flow + "}\n";
}

/// One client (10.99.0.2) that sends to 10.99.0.1:5002.
inline std::string send_scenario(const std::string& sender = "count: 1", bool warm = true, bool answers = true, const std::string& device = "",
                                 const std::string& host = "")
{
    return "skbscope: 1\nhosts:\n  - name: client\n    cpus: 2\n" + host +
           "    devices:\n      - {name: eth0, mac: \"52:54:00:12:34:00\", address: 10.99.0.2/24, link: server" +
           (device.empty() ? "" : ", " + device) + "}\n" +
           (warm ? "    neighbours:\n      - {address: 10.99.0.1, mac: \"52:54:00:12:34:01\", device: eth0}\n" : "") +
           "    senders:\n      - {name: dig, to: \"10.99.0.1:5002\", start: 50us, cpu: 1, " + sender +
           "}\nstations:\n  - {name: server, mac: \"52:54:00:12:34:01\", address: 10.99.0.1" + (answers ? "" : ", answers_arp: false") + "}\n";
}

inline Scenario scenario_of(const std::string& text)
{
    auto scenario = parse_scenario(text, "test");
    if (!scenario) {
        throw std::logic_error(scenario.error().describe());
    }
    return *scenario;
}

class ModelRun {
public:
    explicit ModelRun(const std::string& text, SimTime until = never) : source_(scenario_of(text)), journeys_(source_.trace())
    {
        source_.run_to_end(until);
        journeys_.update();
    }
    [[nodiscard]] const Trace& trace() const { return source_.trace(); }
    [[nodiscard]] ModelSource& source() { return source_; }
    [[nodiscard]] const kernel::World& world() const { return source_.world(); }
    [[nodiscard]] Journey journey(std::uint32_t packet) const { return journeys_.journey(static_cast<PacketId>(packet)); }
    [[nodiscard]] StackState end() const
    {
        StackState state(trace());
        for (std::size_t at = 0; at < trace().size(); ++at) {
            state.apply(at);
        }
        return state;
    }
    [[nodiscard]] std::uint64_t count(Verdict verdict) const { return end().accounting().of(verdict); }
    [[nodiscard]] std::uint64_t counter(const std::string& name) const
    {
        for (std::size_t row = 1; row < trace().counters().size(); ++row) {
            if (trace().counters()[row].name == name) {
                return end().counters()[row];
            }
        }
        return 0;
    }
    [[nodiscard]] std::uint64_t drops(DropReasonId reason) const
    {
        std::uint64_t sum = 0;
        const StackState last = end();
        for (const auto& [key, n] : last.drops()) {
            sum += key.reason == reason ? n : 0;
        }
        return sum;
    }
    /// Function names of the packet's journey, in order; those of other contexts may lie between.
    [[nodiscard]] std::vector<std::string> path(std::uint32_t packet) const
    {
        std::vector<std::string> names;
        for (const Step& step : journey(packet).steps) {
            names.emplace_back(trace().function_name(trace()[step.ordinal].function_id()));
        }
        return names;
    }
    [[nodiscard]] bool calls(std::uint32_t packet, const std::string& function) const
    {
        return std::ranges::count(path(packet), function) > 0;
    }
    [[nodiscard]] std::size_t calls_anywhere(FunctionId function) const
    {
        std::size_t n = 0;
        for (std::size_t at = 0; at < trace().size(); ++at) {
            n += trace()[at].is_call() && trace()[at].function_id() == function ? 1 : 0;
        }
        return n;
    }

private:
    ModelSource source_;
    JourneyIndex journeys_;
};

/// The first of `wanted` that `path` lacks behind the one before it; empty if all are there in order.
inline std::string first_missing(const std::vector<std::string>& path, const std::vector<std::string>& wanted)
{
    auto at = path.begin();
    for (const std::string& name : wanted) {
        at = std::find(at, path.end(), name);
        if (at == path.end()) {
            return name;
        }
        ++at;
    }
    return "";
}

} // namespace skbscope::test
