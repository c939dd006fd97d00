#include "tests/e2e/lessons.h"

#include "tests/e2e/program.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <regex>

namespace skbscope::e2e {

namespace fs = std::filesystem;

fs::path lesson_folder(const std::string& number)
{
    fs::path found;
    for (const auto& entry : fs::directory_iterator(source_file("lessons"))) {
        // A variant's name goes on where the lesson's ends.
        const auto name = entry.path().filename().string();
        if (name.starts_with(number + "-") &&
            (found.empty() || name.size() < found.filename().string().size())) {
            found = entry.path();
        }
    }
    EXPECT_FALSE(found.empty()) << "there is no lesson " << number;
    return found;
}

std::string scenario_of(const std::string& number)
{
    for (const auto& entry : fs::directory_iterator(lesson_folder(number))) {
        if (entry.path().extension() == ".yaml") {
            return entry.path().string();
        }
    }
    ADD_FAILURE() << "lesson " << number << " has no scenario";
    return {};
}

std::string RecordedFolder::name() const
{
    return (path.parent_path().filename() / path.filename()).string();
}

std::vector<RecordedFolder> recorded_folders(const fs::path& root, const std::string& regex)
{
    std::vector<RecordedFolder> folders;
    std::error_code error;
    const std::regex wanted(regex);
    for (fs::recursive_directory_iterator it(root, error), end; !error && it != end; it.increment(error)) {
        const auto folder = it->path().parent_path();
        if (it->path().filename() == "manifest.json" &&
            std::regex_match(folder.filename().string(), wanted) && fs::exists(folder / "trace.dat")) {
            folders.push_back({folder, nlohmann::json::parse(read_file(it->path()))});
        }
    }
    std::ranges::sort(folders, {}, &RecordedFolder::path);
    return folders;
}

} // namespace skbscope::e2e
