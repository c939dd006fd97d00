#pragma once
// What watches this kernel while the lab's traffic passes: a live recording of all packets of the machine.

#include "core/result.h"
#include "core/trace/trace.h"

#include <memory>
#include <string>
#include <vector>

namespace skbscope::lab {

class Recorder {
public:
    Recorder();
    Recorder(const Recorder&) = delete;
    Recorder& operator=(const Recorder&) = delete;
    ~Recorder();

    /// Records from here on, in a thread of its own: of events that name a device, those of these devices. Frames are not captured beside it: a packet socket would be one more
    /// receiver that the scenario does not have. Errors: not_permitted, unsupported.
    [[nodiscard]] Result<void> start(const std::vector<std::string>& devices);
    /// The end, once what is on its way has arrived; what was recorded, as journeys.
    [[nodiscard]] Result<Trace> stop();
    /// What the recording lacks, one line each.
    [[nodiscard]] const std::vector<std::string>& remarks() const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace skbscope::lab
