#pragma once
// A scenario on the real kernel: built, run, recorded, taken down.

#include "capture/lab/processes.h"
#include "core/result.h"
#include "core/scenario/scenario.h"
#include "core/trace/trace.h"

#include <atomic>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace skbscope::lab {

struct LabWishes {
    bool host_settings = false; ///< settings of the whole host may be changed for the time of the run
    bool on_veth = false;       ///< devices of other drivers may be veths
    double seconds = 60;        ///< the most that the traffic may take
    std::uint32_t slower = 1;   ///< 1 …: the traffic's pauses take so many times as long, see slowed_down()
};

struct LabRun {
    Scenario scenario; ///< as it was run: namespaces and veths
    Trace trace;
    std::vector<TaskCount> tasks;
    std::vector<std::string> remarks; ///< what is not as the scenario says, one line each
    std::size_t others = 0;           ///< packets of this machine's other traffic, left out of the trace
    bool complete = true;             ///< false: stopped by a signal or by the time
    /// All that was sampled before and after, moved or not, named as in the trace. What is not here nobody looked at.
    std::set<std::string> counted;
};

/// Runs it. Needs root. `stop_asked` (a signal handler may set it) ends the traffic early. Whatever happens, nothing of it
/// stays on the host. Errors: not_permitted; unsupported, with the piece that this kernel or machine lacks.
[[nodiscard]] Result<LabRun> run_lab(const Scenario& scenario, const LabWishes& wishes, const std::atomic<bool>& stop_asked);

} // namespace skbscope::lab
