#pragma once
// Which probes to set on a host: decided from what the host offers and what the catalog knows, and nothing else, so that
// a plan for any made-up host can be looked at. What is missing is said with its price and the remedy.

#include "capture/host_facts.h"

#include <optional>
#include <string>
#include <vector>

namespace skbscope {

/// How much of a packet's way is shown. Each level has what is above it, too.
enum class Detail : std::uint8_t {
    nothing,
    frames,      ///< packet sockets only: what is on the wire, no way through the kernel
    tracepoints, ///< the places where the kernel reports packets by itself
    probes,      ///< … and addresses, ports and sk_buffs at chosen functions (kprobe events)
    functions,   ///< … and each call of a function that the catalog knows
};
[[nodiscard]] std::string_view to_string(Detail detail);

struct PlannedEvent {
    std::string system, name;
    std::string filter; ///< in the kernel's syntax; may be empty
    friend bool operator==(const PlannedEvent&, const PlannedEvent&) = default;
};

struct PlannedProbe {
    std::string name;     ///< of the event: the function's, with what is no letter or digit replaced
    std::string function; ///< the symbol to probe
    std::string fetch;    ///< "skb=$arg1:x64 …"
};

/// A thing that the host has or lacks.
struct HostFinding {
    std::string piece;     ///< "kprobe events"
    bool available = true;
    std::string state;     ///< "usable", "not permitted: Operation not permitted"
    std::string costs;     ///< what the picture lacks without it; empty if available
    std::string remedy;    ///< the command that would allow it, or why none does; empty if available
    bool is_command = false; ///< remedy can be typed as it stands
};

struct PlanWishes {
    std::vector<std::string> devices; ///< "eth0": only their events, where events name a device; empty: all
    Detail most = Detail::functions;
};

struct ProbePlan {
    Detail detail = Detail::nothing;
    bool frames = false; ///< packet sockets are allowed
    /// "x86-tsc" where the kernel's own clock is made of it, else "mono" where the host has it: with both wall time and frames
    /// can be placed exactly.
    std::string clock;
    std::vector<PlannedEvent> events;
    std::vector<PlannedProbe> probes;
    std::vector<std::string> functions; ///< for the function tracer, as the host names them
    std::uint64_t buffer_kb = 0;        ///< ring buffer for each CPU
    std::vector<HostFinding> findings;      ///< of the pieces that matter, in order of weight
};

[[nodiscard]] ProbePlan plan_probes(const HostFacts& facts, const PlanWishes& wishes = {});

} // namespace skbscope
