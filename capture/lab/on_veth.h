#pragma once
// A scenario as network namespaces of one machine, joined by veths: what the lab can build on a real kernel. The model runs
// the same scenario, so that the two can be compared.

#include "core/result.h"
#include "core/scenario/scenario.h"

#include <string>
#include <vector>

namespace skbscope::lab {

struct OnVeth {
    Scenario scenario;                ///< hosts only: the first is the machine, the others are namespaces of it
    std::vector<std::string> remarks; ///< what is not as the scenario says, one line each
};

/// Stations become namespaces with senders for their flows, readers for what is sent to them and the neighbour entries that
/// they need to send without asking. Devices of other drivers become veths if `other_drivers` allows it; of theirs, rings,
/// interrupts, rates, delays and losses are gone. Errors: unsupported, with the piece that is missing.
[[nodiscard]] Result<OnVeth> on_veth(const Scenario& scenario, bool other_drivers);

} // namespace skbscope::lab
