#include "app/output.h"

#include "app/progress_line.h"
#include "app/text.h"
#include "core/recording/recording.h"
#include "core/recording/report.h"

#include <array>
#include <filesystem>
#include <fmt/format.h>
#include <optional>

namespace skbscope::app {

CLI::Option* add_output_option(CLI::App& command, std::string& output)
{
    return command.add_option("-w,--write", output, "Write a recording (pcapng) there")->option_text("OUT");
}

void add_format_option(CLI::App& command, std::string& format)
{
    command.add_option("--format", format, "The form of the output; text unless said otherwise")
        ->check(CLI::IsMember({"text", "json"}))
        ->option_text("text|json");
}

void print_text(const std::string& text)
{
    fmt::print("{}{}", text, text.ends_with('\n') ? "" : "\n");
}

void add_run_output_options(CLI::App& command, RunOutput& output)
{
    CLI::Option* file = add_output_option(command, output.file);
    add_format_option(command, output.format);
    command
        .add_flag("--summary", output.summary,
                  "Only count: packets by verdict, drops by reason. Nothing is recorded, so a long run is "
                  "several times as fast")
        ->excludes(file);
}

namespace {

/// A run that fits into a few megabytes is written at its end, when its totals are known; a longer one as it comes.
Result<int> write_run(ModelSource& source, SimTime end, const std::string& path)
{
    std::optional<RecordingFile> file;
    Result<void> written;
    std::optional<ProgressLine> line(
        std::in_place, std::filesystem::path(path).filename().string()); // Ctrl-C leaves nothing half written
    line->progress().begin("running", 0);
    const auto write_more = [&]() -> Result<void> {
        if (line->progress().is_cancelled()) {
            return stopped(path);
        }
        if (!file) {
            auto created = RecordingFile::create(source.trace(), path);
            if (!created) {
                return tl::unexpected(created.error());
            }
            file = std::move(*created);
        }
        if (auto updated = file->update(); !updated) {
            return updated;
        }
        source.forget_before(file->written());
        return {};
    };
    source.run_to_end(end, [&] {
        written = write_more();
        return written.has_value();
    });
    if (written && line->progress().is_cancelled()) {
        written = stopped(path);
    }
    line.reset();
    if (written) {
        written = file ? file->finish() : write_watched(source.trace(), path);
    }
    if (!written) {
        return tl::unexpected(written.error());
    }
    say_written(path, source.trace());
    return 0;
}

} // namespace

Result<int> run_and_hand_over(ModelSource& source, SimTime end, const RunOutput& output)
{
    source.keep_snapshots(false); // nobody looks back
    source.set_recording(!output.summary);
    if (!output.file.empty()) {
        return write_run(source, end, output.file);
    }
    source.run_to_end(end);
    const Trace& trace = source.trace();
    JourneyIndex journeys(trace);
    Report report;
    if (output.summary) {
        report = build_summary(trace, source.known_until());
    } else {
        journeys.update();
        report = build_report(trace, journeys);
    }
    print_text(output.format == "json" ? to_json(report, trace) : to_text(report, trace));
    return 0;
}

Result<void> keep_apart(const std::string& output, const std::vector<std::string>& inputs)
{
    for (const std::string& input : inputs) {
        std::error_code ignored; // what is not there is nobody's input
        if (std::filesystem::is_regular_file(output, ignored) &&
            std::filesystem::equivalent(output, input, ignored)) {
            return fail(ErrorKind::usage, "-w " + output, "is a file that is read", "name another one");
        }
    }
    return {};
}

Result<void> write_watched(const Trace& trace, const std::string& path)
{
    ProgressLine line(std::filesystem::path(path).filename().string());
    RecordingOptions options;
    options.progress = &line.progress();
    return write_recording(trace, path, options);
}

void say_written(const std::string& path, const Trace& trace)
{
    const auto counts = trace.verdicts();
    std::string verdicts;
    for (std::size_t i = 0; i < counts.size(); ++i) {
        if (counts[i] != 0) {
            verdicts += fmt::format("{}{} {}", verdicts.empty() ? ": " : ", ", counts[i],
                                    to_string(static_cast<Verdict>(i)));
        }
    }
    say("{}: {} packet{}{}\n", path, trace.packet_count(),
               trace.packet_count() == 1 ? "" : "s", verdicts);
}

void say_losses(const std::string& path, const std::vector<std::string>& losses)
{
    for (const auto& loss : losses) {
        say("skbscope: {}{}\n", loss.starts_with(path) ? "" : path + ": ", loss);
    }
}

} // namespace skbscope::app
