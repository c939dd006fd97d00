#pragma once
// Between reader.cpp and check.cpp: reading a lesson with all its problems, not only the first.

#include "lessons/reader/lesson.h"

namespace skbscope::lesson_parse {

struct Parsed {
    Lesson lesson;
    std::vector<Finding> findings; ///< errors and warnings of the text itself
};

/// Reads lesson.md of the folder. An Error only if there is nothing to parse (no file, too large, not text).
[[nodiscard]] Result<Parsed> parse_folder(const std::filesystem::path& folder);

} // namespace skbscope::lesson_parse
