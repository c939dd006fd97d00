#include "app/lessons_folder.h"

#include "lessons/reader/lesson.h"

#include <array>

namespace skbscope::app {
namespace {

namespace fs = std::filesystem;

constexpr auto missing_remedy =
    "keep the folder of lessons beside the program, or name a lesson's own folder";

} // namespace

fs::path lessons_folder()
{
    std::error_code error;
    const auto program = fs::read_symlink("/proc/self/exe", error);
    if (error) {
        return {};
    }
    // PREFIX/bin/skbscope of an installation; build/PRESET/skbscope of a source tree.
    const std::array candidates{program.parent_path().parent_path() / "share/skbscope/lessons",
                                program.parent_path().parent_path().parent_path() / "lessons"};
    for (const auto& candidate : candidates) {
        if (fs::is_directory(candidate, error)) {
            return candidate;
        }
    }
    return {};
}

Result<fs::path> lesson_named(const std::string& name)
{
    const fs::path path = name;
    std::error_code ignored;
    if (fs::is_directory(path, ignored)) {
        return path;
    }
    if (path.filename() == "lesson.md" && fs::exists(path, ignored)) {
        return path.has_parent_path() ? path.parent_path() : fs::path(".");
    }
    if (name.find('/') != std::string::npos) {
        return fail(ErrorKind::not_found, name, "no such lesson",
                    "skbscope lesson list names those that are here");
    }
    const auto folder = lessons_folder();
    if (folder.empty()) {
        return fail(ErrorKind::not_found, name, "the lessons that come with the program are not there",
                    missing_remedy);
    }
    return find_lesson(folder, name);
}

Result<fs::path> first_lesson()
{
    const auto folder = lessons_folder();
    const auto entries = list_lessons(folder);
    if (entries.empty()) {
        return fail(ErrorKind::not_found, "lessons", "the lessons that come with the program are not there",
                    missing_remedy);
    }
    return entries.front().folder;
}

} // namespace skbscope::app
