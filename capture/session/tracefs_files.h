#pragma once
// Small dealings with tracefs that libtracefs has no call for, or that have to work on a tree that is none (tests, a
// keeper that must not allocate much): whole files, locks, removal.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace skbscope {

/// The whole file; empty where it cannot be opened or read (errno says why).
[[nodiscard]] std::optional<std::string> read_text(const std::string& path);
/// One write() of all of it, without truncating; false: refused (errno).
bool write_text(const std::string& path, std::string_view text, bool append = false);

/// Somebody holds the lock on this folder.
[[nodiscard]] bool is_locked(const std::string& folder);
/// Takes the lock; the descriptor holds it. -1: not to be had.
[[nodiscard]] int lock_folder(const std::string& folder);

/// "group/event" of all kprobe events.
[[nodiscard]] std::vector<std::string> probe_events(const std::string& tracefs);

/// Stops and removes it; tries again for up to a second while somebody still reads it. True if it is gone.
bool remove_instance(const std::string& tracefs, const std::string& name);
/// Removes the kprobe event "group/event".
bool remove_probe(const std::string& tracefs, const std::string& probe);

} // namespace skbscope
