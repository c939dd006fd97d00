#pragma once
// What kind of file a person handed us, told by its content and not by its name.

#include "core/result.h"

#include <string>

namespace skbscope::app {

enum class FileKind {
    pcapng,    ///< a capture or a recording of ours: both are pcapng
    pcap,      ///< a classic capture
    trace_dat, ///< trace-cmd's recording
    scenario,  ///< YAML
    lesson,    ///< a folder with lesson.md, or that file
};

/// Looks at the first bytes. Errors: not there, unreadable, empty, or none of the kinds.
[[nodiscard]] Result<FileKind> file_kind(const std::string& path);

} // namespace skbscope::app
