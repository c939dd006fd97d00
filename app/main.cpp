// skbscope's command line: reads it, runs the one command it names, and turns the outcome into an exit
// status: 0 done, 1 the answer is no, 2 usage, 3 bad input, 4 not permitted or not supported here, 130 stopped.

#include "app/command.h"
#include "app/progress_line.h"

#include <cstdio>
#include <fmt/format.h>

namespace {

using namespace skbscope;
using namespace skbscope::app;

constexpr auto purpose = "skbscope shows how Linux receives and sends packets, function by function.\n"
                         "Without a command it opens its window.";

/// As shells have it: 128 and the signal's number.
constexpr int first_signal_status = 128;

constexpr auto exit_statuses =
    "Exit status: 0 done, 1 the answer is no, 2 usage, 3 bad input, 4 not permitted or "
    "not supported here, 130 stopped with Ctrl-C.\n\n"
    "Examples:\n"
    "  skbscope                            the window, on the first lesson\n"
    "  skbscope capture.pcap               a capture, replayed through the model\n"
    "  skbscope lesson list                what there is to learn\n"
    "  skbscope report trace.dat           what happened to the packets of a recording\n";

/// Qt's own options have one dash ("-platform offscreen"); here they have two.
std::vector<std::string> arguments(int argc, char** argv)
{
    std::vector<std::string> words(argv + 1, argv + argc);
    for (auto& word : words) {
        if (word == "-platform") {
            word = "--platform";
        }
    }
    return {words.rbegin(), words.rend()}; // the parser takes them last first
}

/// "skbscope lesson play --help": the help that belongs to what was typed.
std::string matching_help(const CLI::App& program)
{
    std::string words = "skbscope";
    auto named = program.get_subcommands();
    while (!named.empty()) {
        words += " " + named.front()->get_name();
        named = named.front()->get_subcommands();
    }
    return words + " --help";
}

int report_error(const Error& error)
{
    std::fflush(stdout);
    fmt::print(stderr, "skbscope: {}\n", error.describe());
    return exit_status(error.kind);
}

int run(const Invocation& chosen)
{
    const auto status = chosen.action();
    if (!status && interrupted_by() != 0) {
        std::fflush(stdout);
        fmt::print(stderr, "skbscope: stopped; nothing half done is left\n");
        return first_signal_status + interrupted_by();
    }
    if (!status) {
        return report_error(status.error());
    }
    // A full disk shows only when the buffer is written.
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
        return report_error(
            {ErrorKind::unwritable, "standard output", "cannot be written", "is the disk full?"});
    }
    return *status;
}

} // namespace

int main(int argc, char** argv)
{
    CLI::App program{purpose, "skbscope"};
    program.set_version_flag("--version", "skbscope " SKBSCOPE_VERSION, "Print the version and exit");
    program.set_help_flag("-h,--help", "Print this help and exit");
    program.footer(exit_statuses);
    program.require_subcommand(0, 1);

    Invocation chosen;
    add_window(program, chosen);
    add_run_command(program, chosen);
    add_replay_command(program, chosen);
    add_import_command(program, chosen);
    add_lab_command(program, chosen);
    add_report_command(program, chosen);
    add_journey_command(program, chosen);
    add_filter_command(program, chosen);
    add_compare_command(program, chosen);
    add_fidelity_command(program, chosen);
    add_lesson_command(program, chosen);
    add_catalog_command(program, chosen);
    add_doctor_command(program, chosen);
    add_record_command(program, chosen);

    try {
        program.parse(arguments(argc, argv));
    } catch (const CLI::Success& asked) { // --help and --version
        return program.exit(asked);
    } catch (const CLI::ParseError& wrong) {
        return report_error({ErrorKind::usage, "", wrong.what(), "see " + matching_help(program)});
    }
    return run(chosen);
}
