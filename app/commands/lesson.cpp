// skbscope lesson list|show|play|check.

#include "lessons/reader/lesson.h"
#include "app/command.h"
#include "app/lessons_folder.h"
#include "app/open.h"
#include "app/output.h"
#include "app/text.h"
#include "lessons/reader/text_player.h"

#include <algorithm>
#include <fmt/format.h>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sys/ioctl.h>
#include <unistd.h>

namespace skbscope::app {
namespace {

constexpr auto name_help = "A lesson's id or the beginning of it (01), or its folder";

struct ListOptions {
    std::string folder;
    std::string format = "text";
};

struct NamedOptions {
    std::string name;
};

struct CheckOptions {
    std::vector<std::string> folders;
};

std::string_view driver_of(bool uses_model)
{
    return uses_model ? "model" : "recording";
}

Result<int> list(const ListOptions& options)
{
    const auto folder = options.folder.empty() ? lessons_folder() : std::filesystem::path(options.folder);
    const auto entries = list_lessons(folder);
    if (entries.empty()) {
        return fail(ErrorKind::not_found, folder.empty() ? "lessons" : folder.string(),
                    "there are no lessons here", "name the folder that holds them");
    }
    auto json = nlohmann::ordered_json::array();
    for (const auto& entry : entries) {
        if (options.format == "json") {
            json.push_back(
                {{"id", entry.id},
                 {"title", entry.title},
                 {"summary", entry.summary},
                 {"language", entry.language},
                 {"driver", driver_of(entry.uses_model)},
                 {"error", entry.error ? nlohmann::ordered_json(entry.error->describe()) : nullptr}});
        } else if (entry.error) {
            fmt::print("{:<36} cannot be read: {}\n", entry.id, entry.error->describe());
        } else {
            fmt::print("{:<36} {} ({})\n{}\n", entry.id, entry.title, driver_of(entry.uses_model),
                       wrapped(entry.summary, 100, 37));
        }
    }
    if (options.format == "json") {
        fmt::print("{}\n", json.dump(1));
    }
    return 0;
}

Result<Lesson> load_named(const std::string& name)
{
    const auto folder = lesson_named(name);
    return folder ? load_lesson(*folder) : tl::unexpected(folder.error());
}

Result<int> show(const NamedOptions& options)
{
    const auto lesson = load_named(options.name);
    if (!lesson) {
        return tl::unexpected(lesson.error());
    }
    fmt::print("{}: {}\n", lesson->id, lesson->title);
    print_entry("about", lesson->summary);
    print_entry("driven by", fmt::format("{} ({})", driver_of(lesson->uses_model()),
                                         lesson->driver().filename().string()));
    print_entry("kernel", lesson->kernel);
    print_entry("language", lesson->language);
    for (std::size_t i = 0; i < lesson->steps.size(); ++i) {
        const auto& step = lesson->steps[i];
        const auto* kind = step.question ? " (a prediction)" : step.experiment ? " (an experiment)" : "";
        print_entry(fmt::format("step {}", i + 1), step.title + kind);
    }
    return 0;
}

TextPlayerOptions terminal_options()
{
    TextPlayerOptions options;
    if (isatty(STDOUT_FILENO) == 0) {
        return options;
    }
    options.colours = std::getenv("NO_COLOR") == nullptr;
    winsize size{};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
        options.columns = std::clamp<unsigned>(size.ws_col, 40, 100);
    }
    return options;
}

Result<int> play(const NamedOptions& options)
{
    const auto lesson = load_named(options.name);
    if (!lesson) {
        return tl::unexpected(lesson.error());
    }
    auto source = open_driver(lesson->driver());
    if (!source) {
        return tl::unexpected(source.error());
    }
    const auto played = play_lesson(*lesson, **source, std::cout, terminal_options());
    std::cout.flush();
    return played.clean() ? 0 : answer_is_no;
}

Result<int> check(const CheckOptions& options)
{
    bool errors = false;
    for (const auto& name : options.folders) {
        const auto folder = lesson_named(name);
        if (!folder) {
            return tl::unexpected(folder.error());
        }
        for (const auto& finding : check_lesson(*folder, open_driver)) {
            fmt::print("{}\n", finding.describe());
            errors |= finding.severity == Finding::Severity::error;
        }
    }
    if (!errors) {
        fmt::print("no errors\n");
    }
    return errors ? answer_is_no : 0;
}

} // namespace

void add_lesson_command(CLI::App& program, Invocation& chosen)
{
    auto* lesson = program.add_subcommand("lesson", "List, show, play and check lessons");
    lesson->require_subcommand(1);
    lesson->footer("Examples:\n"
                   "  skbscope lesson list\n"
                   "  skbscope lesson play 01\n"
                   "  skbscope lesson check my-lesson/\n");

    auto [listing, list_options] = add_command<ListOptions>(
        *lesson, chosen, "list", "List the lessons that come with the program, or those in a folder",
        "  skbscope lesson list\n"
        "  skbscope lesson list my-lessons/ --format json\n",
        list);
    listing->add_option("FOLDER", list_options->folder, "A folder that holds lessons");
    add_format_option(*listing, list_options->format);

    auto [showing, show_options] =
        add_command<NamedOptions>(*lesson, chosen, "show", "What a lesson is about, and its steps",
                                  "  skbscope lesson show 01\n", show);
    showing->add_option("LESSON", show_options->name, name_help)->required();

    auto [playing, play_options] = add_command<NamedOptions>(
        *lesson, chosen, "play",
        "Play a lesson as text, its experiments run for real; status 1 if a goal is missed",
        "  skbscope lesson play 01\n", play);
    playing->add_option("LESSON", play_options->name, name_help)->required();

    auto [checking, check_options] = add_command<CheckOptions>(
        *lesson, chosen, "check",
        "Say what is wrong with a lesson, with line numbers; status 1 if there are errors",
        "  skbscope lesson check my-lesson/\n", check);
    checking->add_option("LESSON", check_options->folders, name_help)->required();
}

} // namespace skbscope::app
