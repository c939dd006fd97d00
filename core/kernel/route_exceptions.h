#pragma once
// What ICMP errors taught about the MTU of paths over IPv4 (net/ipv4/route.c: fnhe_*).

#include "core/kernel/kernel.h"

namespace skbscope::kernel {

/// ipv4_sk_update_pmtu(): a router said that packets of this socket to `daddr` are too long for a link of that MTU. Routes looked up for sending
/// heed it for ten minutes. (A path of less than 552 bytes counts as one of 552; that it is locked then is not modelled.)
void ipv4_sk_update_pmtu(Kernel& k, const Socket& sk, std::uint32_t saddr, std::uint32_t daddr, std::uint32_t mtu, PacketId packet);

} // namespace skbscope::kernel
