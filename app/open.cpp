#include "app/open.h"

#include "app/file_kind.h"
#include "app/lessons_folder.h"
#include "app/output.h"
#include "app/progress_line.h"
#include "app/replay.h"
#include "capture/import.h"
#include "core/recording/recording.h"
#include "core/scenario/model_source.h"
#include "lessons/reader/lesson.h"

#include <cstdio>
#include <optional>
#include <vector>

namespace skbscope::app {
namespace {

namespace fs = std::filesystem;

struct Opened {
    std::unique_ptr<Source> source;
    std::vector<std::string> losses; ///< what of the file could not be read, one line each
};

/// The losses become faults of the trace too, so that everything that shows faults shows them.
Opened opened_trace(std::string title, Trace trace, std::vector<std::string> losses)
{
    for (const auto& loss : losses) {
        trace.faults.insert(trace.faults.begin(), Fault{loss, 1, {}});
    }
    return {std::make_unique<TraceSource>(std::move(title), std::move(trace)), std::move(losses)};
}

Opened opened_recording(std::string title, LoadedRecording recording)
{
    std::vector<std::string> losses;
    if (!recording.loss.empty()) {
        losses.push_back(std::move(recording.loss));
    }
    return opened_trace(std::move(title), std::move(recording.trace), std::move(losses));
}

Result<Opened> open_standard_input(Progress* progress)
{
    auto recording = read_recording(stdin, "standard input", progress);
    if (!recording) {
        return tl::unexpected(recording.error());
    }
    return opened_recording("standard input", std::move(*recording));
}

Result<Opened> open_capture(const fs::path& path)
{
    auto source = replay_capture(path.string(), {});
    if (!source) {
        return tl::unexpected(source.error());
    }
    return Opened{std::move(*source), {}};
}

/// A recording of ours and a capture are both pcapng.
Result<Opened> open_pcapng(const fs::path& path, Progress* progress)
{
    auto recording = read_recording(path, progress);
    if (recording) {
        return opened_recording(path.filename().string(), std::move(*recording));
    }
    if (recording.error().kind == ErrorKind::foreign) {
        return open_capture(path);
    }
    return tl::unexpected(recording.error());
}

Result<Opened> open_trace_dat(const fs::path& path, Progress* progress)
{
    ImportOptions options;
    options.progress = progress;
    auto imported = import_trace_dat(path.string(), options);
    if (!imported) {
        return tl::unexpected(imported.error());
    }
    return opened_trace(path.filename().string(), std::move(imported->trace), std::move(imported->warnings));
}

Result<Opened> open_scenario(const fs::path& path)
{
    auto scenario = load_scenario(path);
    if (!scenario) {
        return tl::unexpected(scenario.error());
    }
    return Opened{std::make_unique<ModelSource>(std::move(*scenario)), {}};
}

/// `progress` may be null.
Result<Opened> open_any(const fs::path& path, Progress* progress)
{
    if (path == "-") {
        return open_standard_input(progress);
    }
    const auto kind = file_kind(path.string());
    if (!kind) {
        return tl::unexpected(kind.error());
    }
    switch (*kind) {
    case FileKind::pcapng:
        return open_pcapng(path, progress);
    case FileKind::pcap:
        return open_capture(path);
    case FileKind::trace_dat:
        return open_trace_dat(path, progress);
    case FileKind::scenario:
        return open_scenario(path);
    case FileKind::lesson:
        break;
    }
    return fail(ErrorKind::foreign, path.string(),
                "is a lesson, where a recording, capture or scenario is wanted");
}

} // namespace

Result<std::unique_ptr<Source>> open_driver(const fs::path& path)
{
    auto opened = open_any(path, nullptr);
    if (!opened) {
        return tl::unexpected(opened.error());
    }
    return std::move(opened->source);
}

Result<std::unique_ptr<Source>> open_watched(const fs::path& path, Progress& progress)
{
    auto opened = open_any(path, &progress);
    if (!opened) {
        return tl::unexpected(opened.error());
    }
    return std::move(opened->source);
}

Result<std::unique_ptr<Source>> open_whole(const std::string& path)
{
    fs::path driver = path;
    if (path != "-" && file_kind(path) == FileKind::lesson) {
        const auto folder = lesson_named(path);
        const auto lesson = folder ? load_lesson(*folder) : tl::unexpected(folder.error());
        if (!lesson) {
            return tl::unexpected(lesson.error());
        }
        driver = lesson->driver();
    }
    std::optional<ProgressLine> line(std::in_place,
                                     path == "-" ? "standard input" : fs::path(path).filename().string());
    auto opened = open_any(driver, &line->progress());
    line.reset(); // a scenario's run goes on without it
    if (!opened) {
        return tl::unexpected(opened.error());
    }
    if (auto* model = dynamic_cast<ModelSource*>(opened->source.get())) {
        model->run_to_end();
    }
    say_losses(path, opened->losses);
    return std::move(opened->source);
}

Result<Scenario> load_scenario_file(const std::string& path)
{
    const auto kind = file_kind(path);
    if (!kind) {
        return tl::unexpected(kind.error());
    }
    if (kind == FileKind::scenario) {
        return load_scenario(path);
    }
    if (kind == FileKind::lesson) {
        const auto folder = lesson_named(path);
        const auto lesson = folder ? load_lesson(*folder) : tl::unexpected(folder.error());
        if (!lesson) {
            return tl::unexpected(lesson.error());
        }
        if (lesson->uses_model()) {
            return load_scenario(lesson->scenario);
        }
    }
    return fail(ErrorKind::foreign, path, "is not a scenario",
                "skbscope replay, import and report read other files");
}

} // namespace skbscope::app
