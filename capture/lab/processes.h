#pragma once
// The scenario's applications as real processes: each is forked into its namespace, opens its sockets, waits for the common
// start and does what the scenario says. They end with the lab, however it ends.

#include "capture/lab/plan.h"
#include "capture/lab/undo.h"
#include "core/result.h"
#include "core/scenario/scenario.h"

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

namespace skbscope::lab {

/// What one application did.
struct TaskCount {
    std::string name;
    std::string space;         ///< the scenario's host
    std::int32_t pid = 0;
    std::uint64_t sent = 0;    ///< calls that succeeded
    std::uint64_t refused = 0; ///< calls that failed
    int last_error = 0;        ///< errno of the last that failed
    std::uint64_t received = 0; ///< datagrams, frames or echo replies; of TCP: bytes
};

/// Enters a network namespace made by ip-netns(8), for the rest of this process's life. With `with_sys`, /sys shows that
/// namespace's devices (in a mount namespace of its own).
[[nodiscard]] Result<void> enter_namespace(const std::string& name, bool with_sys);

class Processes {
public:
    /// Forks them all; they have their sockets and wait. Errors: unsupported or not_permitted, as the application's own
    /// set-up said.
    [[nodiscard]] static Result<Processes> start(const Scenario& scenario, const Plan& plan, UndoList& undo);
    Processes(Processes&& other) noexcept;
    Processes& operator=(Processes&&) = delete;
    ~Processes(); ///< kills those that are left

    /// The common start: the scenario's time 0.
    void go();
    /// Until everybody who sends is done, or `stop_asked` becomes true, or `seconds` are over. False: not all were done.
    bool wait_for_senders(double seconds, const std::atomic<bool>& stop_asked);
    /// Readers take what is there and end.
    void finish();
    [[nodiscard]] std::vector<TaskCount> counts() const;

private:
    struct Shared;
    struct Task {
        std::string name, space;
        std::int32_t pid = -1;
        bool sends = false;
        bool ended = false;
    };
    Processes() = default;
    void reap(bool block);

    Shared* shared_ = nullptr; ///< seen by all of them
    std::size_t shared_size_ = 0;
    std::vector<Task> tasks_;
};

} // namespace skbscope::lab
