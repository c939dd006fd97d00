// skbscope's command line: reads it, runs the one command it names, and turns the outcome into an exit
// status: 0 done, 1 the answer is no, 2 usage, 3 bad input, 4 not permitted or not supported here, 130 stopped.

#include "app/command.h"
#include "app/progress_line.h"
#include "app/text.h"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <fmt/format.h>
#include <iostream>
#include <string_view>
#include <system_error>
#include <utility>

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

/// What was read may be quoted in an error, and may be a megabyte long.
Error of_a_line(Error error)
{
    constexpr std::size_t most = 300;
    error.where = clipped(std::move(error.where), most);
    error.what = clipped(std::move(error.what), most);
    return error;
}

/// An argument that is nothing is mostly a shell's variable that nobody set, and would be taken for an option left out. A filter may be
/// nothing: it takes all.
bool has_empty_argument(int argc, char** argv)
{
    for (int i = 1; i < argc; ++i) {
        const std::string_view word = argv[i];
        const std::string_view before = argv[i - 1];
        const bool is_empty_value =
            word.starts_with("--") && word.find('=') == word.size() - 1 && word != "--filter=";
        if ((word.empty() && before != "-f" && before != "--filter") || is_empty_value) {
            return true;
        }
    }
    return false;
}

int report_error(const Error& whole)
{
    const Error error = of_a_line(whole);
    std::fflush(stdout);
    (void)std::fputs(fmt::format("skbscope: {}\n", error.describe()).c_str(),
                     stderr); // unlike fmt::print no exception where nobody listens
    return exit_status(error.kind);
}

/// Of the three that every program has, those that whoever started this one has closed would else be given to the next files that are opened, and
/// what is printed would go into them. Whatever is meant for a closed standard output fails, as it should.
void fill_closed_descriptors()
{
    const char* const places[] = {"/dev/null", "/dev/full", "/dev/null"};
    for (int descriptor = 0; descriptor < 3; ++descriptor) {
        if (::fcntl(descriptor, F_GETFD) < 0 && errno == EBADF) {
            (void)::open(places[descriptor],
                         descriptor == 0 ? O_RDONLY : O_WRONLY); // the lowest that is free
        }
    }
}

Error full_output()
{
    return {ErrorKind::unwritable, "standard output", "cannot be written", "is the disk full?"};
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
        return report_error(full_output());
    }
    return *status;
}

} // namespace

int main(int argc, char** argv)
{
    fill_closed_descriptors();
    (void)std::signal(SIGXFSZ, SIG_IGN); // a file at its limit shows as a failed write
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

    if (has_empty_argument(argc, argv)) {
        return report_error({ErrorKind::usage, "", "an argument is empty",
                             "a shell variable that is not set? see skbscope --help"});
    }
    try {
        program.parse(arguments(argc, argv));
    } catch (const CLI::Success& asked) { // --help and --version
        const int status = program.exit(asked);
        std::cout.flush();
        return std::cout.good() ? status : report_error(full_output());
    } catch (const CLI::ParseError& wrong) {
        return report_error({ErrorKind::usage, "", wrong.what(), "see " + matching_help(program)});
    }
    try {
        return run(chosen);
    } catch (const std::system_error& wrong) { // fmt::print()'s, where what it prints to is full or gone
        return report_error({ErrorKind::unwritable, "", wrong.what(), ""});
    }
}
