#pragma once
// What commands have in common: FILE, -w OUT, --format, and the line that says what was written.

#include "core/result.h"
#include "core/scenario/model_source.h"
#include "core/trace/trace.h"

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace skbscope::app {

inline constexpr auto file_help =
    "A recording, trace.dat, capture, scenario or lesson; - is a recording on standard input";

/// -w,--write OUT
CLI::Option* add_output_option(CLI::App& command, std::string& output);
/// --format text|json
void add_format_option(CLI::App& command, std::string& format);

/// To standard output, with a newline at the end if there is none.
void print_text(const std::string& text);
/// What a run or a replay is asked to end with.
struct RunOutput {
    std::string file;             ///< a recording; empty: a report on standard output
    std::string format = "text";  ///< of the report
    bool summary =
        false; ///< counts alone, nothing is recorded: several times as fast, memory that does not grow
};
/// -w, --format, --summary
void add_run_output_options(CLI::App& command, RunOutput& output);
/// Runs the model up to its end or that time. A recording is written while it runs, and what has been written is forgotten:
/// memory does not grow with the run.
[[nodiscard]] Result<int> run_and_hand_over(ModelSource& source, SimTime end, const RunOutput& output);

/// An output that is one of the files that are read is refused: it would take the place of what it was made from. Empty names and - are no files.
[[nodiscard]] Result<void> keep_apart(const std::string& output, const std::vector<std::string>& inputs);

/// write_recording() with a ProgressLine.
[[nodiscard]] Result<void> write_watched(const Trace& trace, const std::string& path);
/// One line on stderr: the file, how many packets and what became of them.
void say_written(const std::string& path, const Trace& trace);
/// One line on stderr for each thing of a file that could not be read.
void say_losses(const std::string& path, const std::vector<std::string>& losses);

} // namespace skbscope::app
