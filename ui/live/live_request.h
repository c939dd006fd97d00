#pragma once
// What a person wants of a live source, and what the window asks the program for.

#include "core/result.h"
#include "core/trace/source.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace skbscope::ui {

/// Whose kernel works on the packets.
enum class LiveKernel { host, model };

struct LiveRequest {
    LiveKernel of = LiveKernel::host;
    std::string device;  ///< empty: all, which the model cannot take
    std::string filter;  ///< of frames, in libpcap's words; may be empty
    std::string kernel;  ///< the model's; empty: its default
    std::string detail;  ///< "tracepoints", "probes", "functions"
    int budget_percent = 5; ///< of the machine; 0: whatever it costs
    bool needs_prompt = true; ///< this user may not record: somebody has to be asked for the right
};

/// Recording on this host, and feeding the model with its frames. Each may be empty: then that part is not offered.
struct LiveServices {
    std::function<std::vector<std::string>()> devices;
    /// Kernels that can be modelled; empty: the model is not offered.
    std::vector<std::string> kernels;
    /// Starts the recorder, or the model behind a device; it may be asking for a password for a while yet.
    std::function<Result<std::unique_ptr<Source>>(const LiveRequest&)> start;
    /// What would be started, as one would type it.
    std::function<std::string(const LiveRequest&)> command;
    /// What doctor says, as JSON. Called on another thread; takes a second or so.
    std::function<Result<std::string>()> doctor;
};

} // namespace skbscope::ui
