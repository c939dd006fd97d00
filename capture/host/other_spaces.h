#pragma once
// The other network namespaces of this host, as far as the caller may enter them: their sockets can be asked for from then on.

#include "capture/host/netlink.h"

#include <string>
#include <vector>

namespace skbscope::host {

struct OtherSpace {
    std::string name; ///< as ip-netns(8) knows it, or "of nginx 812": the first process that is in it
    SocketQuestions questions;
};

inline constexpr std::size_t most_spaces = 64;

/// Looks at /run/netns and at what processes below `proc` ("/proc") are in. What could not be looked into and why is joined to `missing`, a line each.
/// Nothing is changed; entering a namespace needs CAP_SYS_ADMIN, and only a thread of its own does it.
[[nodiscard]] std::vector<OtherSpace> open_other_spaces(const std::string& proc, std::vector<std::string>& missing);

} // namespace skbscope::host
