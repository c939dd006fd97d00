#pragma once
// What each kind of application of a scenario does, in its own process. Each comes in two halves: open, which may fail, and
// run, from the common start on.

#include "core/result.h"
#include "core/scenario/scenario.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace skbscope::lab {

/// Counters of one application, in memory that the lab shares with it.
struct SharedCount {
    std::atomic<std::uint64_t> sent{0}, refused{0}, received{0};
    std::atomic<int> last_error{0};
};

/// What an application may look at while it runs.
struct Stage {
    std::int64_t begin_ns = 0; ///< CLOCK_MONOTONIC of the scenario's time 0
    const std::atomic<bool>* finish = nullptr; ///< readers end when it becomes true and nothing is left to read
    SharedCount* count = nullptr;
};

struct Application {
    std::string name;
    std::uint32_t cpu = 0;
    bool sends = false; ///< the lab waits for its end
    /// Opens its sockets, within its namespace; what it yields is run at the common start.
    std::function<Result<std::function<void(const Stage&)>>()> open;
};

/// Those of a host, readers first. Errors: unsupported, for what the lab cannot do.
[[nodiscard]] Result<std::vector<Application>> applications_of(const ScenarioHost& host, const std::string& space);

} // namespace skbscope::lab
