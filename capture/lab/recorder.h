#pragma once
// What watches this kernel while the lab's traffic passes: tracepoints of all packets in a tracefs instance of its own, and
// the frames of the lab's devices beside them.

#include "capture/lab/plan.h"
#include "capture/lab/undo.h"
#include "core/result.h"
#include "core/trace/trace.h"

#include <memory>
#include <string>
#include <vector>

namespace skbscope::lab {

class Recorder {
public:
    virtual ~Recorder() = default;
    /// Records from here on. Errors: not_permitted, unsupported.
    [[nodiscard]] virtual Result<void> start(UndoList& undo) = 0;
    /// The end; what was recorded, as journeys.
    [[nodiscard]] virtual Result<Trace> stop() = 0;
    /// What the recording lacks, one line each.
    [[nodiscard]] virtual const std::vector<std::string>& remarks() const = 0;
};

/// Tracepoints by way of the installed trace-cmd. `folder` is for its files; `name` becomes the tracefs instance's.
[[nodiscard]] std::unique_ptr<Recorder> make_recorder(const std::string& folder, const std::string& name, const Plan& plan);

} // namespace skbscope::lab
