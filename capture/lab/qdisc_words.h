#pragma once
// A queueing discipline in tc's words.

#include "capture/lab/tool.h"
#include "core/kernel/qdisc.h"

#include <string>
#include <vector>

namespace skbscope::lab {

/// `tc -n SPACE qdisc replace dev DEVICE root …`, and one command more for a discipline inside it.
[[nodiscard]] std::vector<Command> qdisc_commands(const std::string& space, const std::string& device, const kernel::QdiscSpec& qdisc);

} // namespace skbscope::lab
