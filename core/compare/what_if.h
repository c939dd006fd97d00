#pragma once
// What became different: two runs that share their beginning, the line as it was and a branch of it.

#include "core/compare/align.h"

#include <map>
#include <string>
#include <vector>

namespace skbscope {

/// How one packet ended.
struct Fate {
    Verdict verdict = Verdict::in_flight;
    DropReasonId reason = DropReasonId::none;
    auto operator<=>(const Fate&) const = default;
    [[nodiscard]] std::string text() const; ///< "delivered", "dropped (SOCKET_RCVBUFF)"
};

struct ChangedFate {
    PacketPair pair; ///< a: of the line, b: of the branch
    Fate before, after;
};

struct WhatIf {
    std::uint64_t drops_before = 0, drops_after = 0; ///< of all packets
    std::vector<ChangedFate> changed;                ///< packets that both runs have, in order of birth
    std::map<std::pair<Fate, Fate>, std::uint64_t> kinds; ///< of the changed ones
    std::size_t only_before = 0, only_after = 0;     ///< packets that one of the runs has
    /// "12 drops instead of 64: 52 packets dropped (SOCKET_RCVBUFF) are now delivered." One line.
    [[nodiscard]] std::string sentence() const;
};

/// `until`: for runs that are not over, how far both have come; packets that were born or ended later do not count.
[[nodiscard]] WhatIf what_changed(const Trace& line, const Trace& branch, SimTime until = never);

/// The sentence, and the packets whose fate changed, one line each.
[[nodiscard]] std::string to_text(const WhatIf& difference, const Trace& line);
/// `{"drops_before","drops_after","changed":[{"packet","packet_in_branch","flow","before","after"}],"only_before","only_after"}`
[[nodiscard]] std::string to_json(const WhatIf& difference, const Trace& line);

} // namespace skbscope
