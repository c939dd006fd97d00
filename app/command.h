#pragma once
// What main() needs from each command: a function that adds it to the command line. A command that was named
// on the line leaves its action in Invocation; main() runs it and turns an error into one line and an exit
// status.

#include "core/result.h"

#include <CLI/CLI.hpp>
#include <functional>

namespace skbscope::app {

/// Exit status of a command that did its work and whose answer is no (lesson check: there are errors).
inline constexpr int answer_is_no = 1;

struct Invocation {
    std::function<Result<int>()> action; ///< yields the exit status
};

void add_run_command(CLI::App& program, Invocation& chosen);
void add_replay_command(CLI::App& program, Invocation& chosen);
void add_import_command(CLI::App& program, Invocation& chosen);
void add_lab_command(CLI::App& program, Invocation& chosen);
void add_report_command(CLI::App& program, Invocation& chosen);
void add_journey_command(CLI::App& program, Invocation& chosen);
void add_filter_command(CLI::App& program, Invocation& chosen);
void add_compare_command(CLI::App& program, Invocation& chosen);
void add_fidelity_command(CLI::App& program, Invocation& chosen);
void add_catalog_command(CLI::App& program, Invocation& chosen);
void add_lesson_command(CLI::App& program, Invocation& chosen);
void add_doctor_command(CLI::App& program, Invocation& chosen);
void add_record_command(CLI::App& program, Invocation& chosen);
/// The window is what the program does without a command.
void add_window(CLI::App& program, Invocation& chosen);

/// Adds the subcommand with its options held in a fresh `Options`, which its `run` receives. The examples
/// stand at the end of its help.
template <typename Options>
std::pair<CLI::App*, std::shared_ptr<Options>>
add_command(CLI::App& program, Invocation& chosen, const char* name, const char* purpose,
            const char* examples, Result<int> (*run)(const Options&))
{
    auto options = std::make_shared<Options>();
    auto* command = program.add_subcommand(name, purpose);
    command->footer(std::string("Examples:\n") + examples);
    command->callback([&chosen, options, run] { chosen.action = [options, run] { return run(*options); }; });
    return {command, options};
}

} // namespace skbscope::app
