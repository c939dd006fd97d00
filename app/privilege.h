#pragma once
// What commands that are run with rights do with them: open what they need, as whoever asked, and give them up.

#include "core/recording/recording.h"
#include "core/result.h"

#include <atomic>
#include <string>
#include <sys/types.h>
#include <unistd.h>

namespace skbscope::app {

/// Who asked for it: sudo and pkexec say it; otherwise whoever runs it.
struct Caller {
    uid_t user = getuid();
    gid_t group = getgid();
};
[[nodiscard]] Caller caller();

/// Opened as the caller, so that nobody writes through us where he could not write himself, and the file is his. "-" is standard
/// output, unless that is a terminal. Whoever gets a file other than STDOUT_FILENO closes it.
[[nodiscard]] Result<int> open_output(const std::string& path, const Caller& who);

/// Everything is open: what follows needs no rights. `command` is for the error.
[[nodiscard]] Result<void> drop_rights(const Caller& who, const char* command);

/// Writes to an open file; no bytes at all ask whether a pipe is still read. False: it cannot be written to, or a pipe's reader does not
/// read although the end is wanted (for two seconds).
[[nodiscard]] RecordingSink sink_of(int file);

/// From now on SIGINT, SIGTERM and SIGHUP set the flag that this returns, and a reader that has gone shows as a failed write.
const std::atomic<bool>& stop_on_signals();

} // namespace skbscope::app
