#pragma once
// Frames of the lab's devices, by libpcap. The packet sockets are opened inside the namespaces; nobody reads them while the
// traffic passes, their rings are large enough to hold it.

#include "capture/lab/plan.h"
#include "core/result.h"

#include <memory>
#include <string>
#include <vector>

namespace skbscope::lab {

struct FramesFile {
    std::string device, path;
    std::uint64_t frames = 0, lost = 0;
};

class Frames {
public:
    /// Opens a ring on each device of the plan. Errors: not_permitted, unsupported.
    [[nodiscard]] static Result<Frames> open(const Plan& plan);
    Frames(Frames&&) noexcept;
    Frames& operator=(Frames&&) noexcept;
    ~Frames();

    /// Writes what the rings hold to FOLDER/DEVICE.pcap. Errors: unwritable.
    [[nodiscard]] Result<std::vector<FramesFile>> write(const std::string& folder);

private:
    struct State;
    Frames();
    std::unique_ptr<State> state_;
};

} // namespace skbscope::lab
