// skbscope [FILE]: the window, or a picture of it.

#include "app/window.h"

#include "app/arguments.h"
#include "app/command.h"
#include "app/output.h"

#include <filesystem>

namespace skbscope::app {
namespace {

struct Options {
    std::string file;
    std::string at;
    int step = 0;
    std::string theme;
    double scale = 0;
    std::string shot;
    std::string size;
    std::string platform;
};

/// "skbscope recrod" means a command more likely than a file.
bool looks_like_a_command(const std::string& word)
{
    std::error_code ignored;
    return !word.empty() && word.find_first_not_of("abcdefghijklmnopqrstuvwxyz") == std::string::npos &&
           !std::filesystem::exists(word, ignored);
}

Result<int> run(const Options& options)
{
    if (looks_like_a_command(options.file)) {
        return fail(ErrorKind::usage, options.file, "no such command or file", "see skbscope --help");
    }
    WindowRequest request;
    request.file = options.file;
    request.step = options.step;
    request.theme = options.theme;
    request.scale = options.scale;
    request.shot = options.shot;
    request.platform = options.platform;
    if (!options.at.empty()) {
        const auto at = parse_duration(options.at);
        if (!at) {
            return tl::unexpected(at.error());
        }
        request.at = *at;
    }
    if (!options.size.empty()) {
        const auto size = parse_size(options.size);
        if (!size) {
            return tl::unexpected(size.error());
        }
        request.size = *size;
    }
    return show_window(request);
}

} // namespace

void add_window(CLI::App& program, Invocation& chosen)
{
    auto options = std::make_shared<Options>();
    program.add_option("FILE", options->file, file_help);
    auto* at =
        program.add_option("--at", options->at, "Begin with the playhead at that time: 1500, 1.5us, 2ms, 1s");
    at->option_text("TIME");
    program.add_option("--step", options->step, "Begin a lesson at that step, from 1")
        ->check(CLI::Range(1, 1000))
        ->option_text("N")
        ->excludes(at);
    program.add_option("--theme", options->theme, "The colours; by default those of the desktop")
        ->check(CLI::IsMember({"light", "dark"}))
        ->option_text("light|dark");
    program
        .add_option("--scale", options->scale,
                    "Everything in the window larger or smaller by that factor, 0.5 to 4")
        ->check(wrong_with_number)
        ->check(CLI::Range(0.5, 4.0))
        ->option_text("FACTOR");
    auto* shot = program.add_option("--shot", options->shot,
                                    "Write a picture of the window and exit; needs no display");
    shot->option_text("FILE.png");
    program.add_option("--size", options->size, "The size of the picture; 1600x900 unless said otherwise")
        ->option_text("WxH")
        ->needs(shot);
    program.add_option("--platform", options->platform, "Qt's platform plugin: xcb, wayland, offscreen")
        ->option_text("NAME");
    program.callback([&program, &chosen, options] {
        if (program.get_subcommands().empty()) {
            chosen.action = [options] { return run(*options); };
        }
    });
}

} // namespace skbscope::app
