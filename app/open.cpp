#include "app/open.h"

#include "app/file_kind.h"
#include "app/output.h"
#include "core/recording/recording.h"

#include <cstdio>
#include <fmt/format.h>

namespace skbscope::app {
namespace {

namespace fs = std::filesystem;

Result<std::unique_ptr<Source>> open_recording(const fs::path& path)
{
    auto recording = read_recording(path);
    if (!recording) {
        return tl::unexpected(recording.error());
    }
    if (!recording->loss.empty()) {
        recording->trace.faults.push_back({recording->loss, 1, "record again, or copy the file again"});
    }
    return std::make_unique<TraceSource>(path.filename().string(), std::move(recording->trace));
}

} // namespace

Result<std::unique_ptr<Source>> open_driver(const fs::path& path)
{
    const auto kind = file_kind(path.string());
    if (!kind) {
        return tl::unexpected(kind.error());
    }
    switch (*kind) {
    case FileKind::pcapng:
        return open_recording(path);
    default:
        break;
    }
    return fail(ErrorKind::foreign, path.string(), "is a lesson within a lesson");
}

Result<std::unique_ptr<Source>> open_whole(const std::string& path)
{
    auto source = open_driver(path);
    if (!source) {
        return source;
    }
    say_faults(path, (*source)->trace());
    return source;
}

} // namespace skbscope::app
