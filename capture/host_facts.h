#pragma once
// What this host offers to somebody who wants to watch its packets: tracefs, events, tracers, probes, symbols, rights.
// Reading the facts changes nothing, and each one is read by itself: a host may allow one file of tracefs and refuse
// the next.

#include "capture/btf.h"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace skbscope {

/// Where the kernel's files are; tests put a made-up tree there.
struct HostPlaces {
    std::string proc = "/proc";
    std::string sys = "/sys";
    /// The first that looks like a tracefs is used.
    std::vector<std::string> tracing = {"/sys/kernel/tracing", "/sys/kernel/debug/tracing"};
};

enum class Access : std::uint8_t {
    absent,    ///< this kernel does not have it
    unmounted, ///< the kernel has it, but nobody mounted it (tracefs only)
    denied,    ///< there, but not for us
    read_only, ///< can be read, not written
    usable,
};
[[nodiscard]] std::string_view to_string(Access access);

struct HostFacts {
    std::string kernel_release; ///< "6.1.0-56-amd64"
    std::string machine;        ///< "x86_64"
    unsigned cpus = 1;
    std::uint64_t memory_kb = 0; ///< MemTotal; 0: not known
    std::uint32_t user = 0;      ///< effective user id
    std::set<std::string> capabilities; ///< effective ones that matter here: "net_raw", "dac_override", "sys_admin", "syslog" …

    std::string tracefs; ///< where it is mounted; empty: nowhere
    Access tracing = Access::absent;
    std::string tracing_trouble;   ///< the kernel's word, when it refused: "Permission denied"
    std::set<std::string> events;  ///< "net:net_dev_queue"; of the systems that have to do with packets
    bool drop_reasons = false;     ///< skb:kfree_skb has a reason
    std::vector<std::string> clocks;
    std::string clocksource; ///< what the kernel's own clock reads: "tsc" where cycles are counted alike on all CPUs
    std::set<std::string> tracers; ///< "function", "function_graph"
    Access function_filter = Access::absent;
    Access kprobe_events = Access::absent;
    bool event_probes = false;    ///< e: probes on existing events
    bool function_probes = false; ///< f: fprobe events
    Access symbols = Access::absent; ///< /proc/kallsyms with addresses
    std::string lockdown;         ///< "none", "integrity", "confidentiality"; empty: the kernel has no lockdown
    Access btf = Access::absent;
    std::optional<SkbLayout> layout; ///< from BTF
    std::vector<std::string> functions; ///< what the function tracer may trace; empty where that cannot be read
    /// Instances and probe groups that sessions which are no more have left behind.
    std::vector<std::string> leftovers;

    [[nodiscard]] bool has(const std::string& capability) const { return capabilities.contains(capability); }
};

/// Reads everything above. Never fails: what cannot be read is a fact, too. `with_functions` reads the list of
/// traceable functions, which is some megabytes long.
[[nodiscard]] HostFacts read_host_facts(const HostPlaces& places = {}, bool with_functions = false);

} // namespace skbscope
