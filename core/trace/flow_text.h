#pragma once
// Who talks to whom, as the title of a packet.

#include "core/trace/trace.h"

#include <string>

namespace skbscope {

/// "UDP 10.0.0.7:40212 → 10.0.0.1:53". Of a packet that was sent here and of which nobody recorded more than its route's
/// lookup, which comes before the choice of the sender's address, the sender is "unknown". Empty: nothing is known.
[[nodiscard]] std::string flow_text(const PacketRecord& packet);

} // namespace skbscope
