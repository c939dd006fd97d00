#pragma once
// What sessions are called in tracefs, and what dead ones have left there. A session's mark is its process and the time
// that process was started, so that a pid that is used again is not taken for the old one; instances carry it in their
// name, groups of probe events, too.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace skbscope {

/// "skbscope_1234_567890": letters, digits and underscores only, as names of probe groups must be.
struct SessionMark {
    std::int32_t pid = 0;
    std::uint64_t started = 0; ///< field 22 of /proc/PID/stat: clock ticks since boot

    [[nodiscard]] std::string text() const;
    /// Of a name that a session gave; a suffix behind the second number is allowed ("…_drops"). Empty: not one of ours.
    [[nodiscard]] static std::optional<SessionMark> parse(std::string_view name);
    friend bool operator==(const SessionMark&, const SessionMark&) = default;
};

/// When the process was started; empty: there is no such process.
[[nodiscard]] std::optional<std::uint64_t> start_of(std::int32_t pid, const std::string& proc = "/proc");
/// Of this process.
[[nodiscard]] SessionMark own_mark(const std::string& proc = "/proc");

/// What dead sessions have left in the tracefs at `tracefs`.
struct Leftovers {
    std::vector<std::string> instances; ///< names
    std::vector<std::string> probes;    ///< "group/event"
    [[nodiscard]] bool empty() const { return instances.empty() && probes.empty(); }
};

/// A session lives as long as its process does, or as somebody holds the lock on its instance's folder (a process that
/// this one cannot see, in another pid namespace). Changes nothing.
[[nodiscard]] Leftovers find_leftovers(const std::string& tracefs, const std::string& proc = "/proc");

/// Removes them: instances first, as they hold the probes. Returns the names of what resisted.
std::vector<std::string> remove_leftovers(const std::string& tracefs, const Leftovers& leftovers);

} // namespace skbscope
