#pragma once
// Where the lessons that come with the program are.

#include "core/result.h"

#include <filesystem>
#include <string>

namespace skbscope::app {

/// The folder of lessons that belongs to this program: that of its installation or of its source tree. An
/// empty path if neither is there.
[[nodiscard]] std::filesystem::path lessons_folder();

/// A lesson as a person names it: a folder, its lesson.md, or the (beginning of the) id of one that comes
/// with the program.
[[nodiscard]] Result<std::filesystem::path> lesson_named(const std::string& name);

/// What the window opens when nothing was named.
[[nodiscard]] Result<std::filesystem::path> first_lesson();

} // namespace skbscope::app
