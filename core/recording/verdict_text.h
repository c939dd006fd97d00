#pragma once
// What became of a packet, in one short phrase: the comment of its frame, the last line of its journey.

#include "core/trace/trace.h"

#include <string>

namespace skbscope {

/// "delivered", "dropped: SOCKET_RCVBUFF in udp_queue_rcv_one_skb", "merged into packet 17", "lost: the trace did not see
/// its end", "in flight".
[[nodiscard]] std::string verdict_text(const Trace& trace, PacketId packet);

} // namespace skbscope
