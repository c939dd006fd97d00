#pragma once
// Where the tests find recordings of real kernels: a few in the repository, more where SKBSCOPE_TRACES
// points.

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <unistd.h>
#include <vector>

namespace skbscope::testing {

inline std::filesystem::path small_set()
{
    return std::filesystem::path(SKBSCOPE_SOURCE_DIR) / "tests" / "data" / "traces";
}

/// Folders KERNEL/SCENARIO with a trace.dat: those of the repository, and of $SKBSCOPE_TRACES if it is set.
inline std::vector<std::filesystem::path> recordings()
{
    std::vector<std::filesystem::path> roots = {small_set()};
    if (const char* more = std::getenv("SKBSCOPE_TRACES")) {
        roots = {more};
    }
    std::vector<std::filesystem::path> folders;
    for (const auto& root : roots) {
        std::error_code error;
        for (const auto& kernel : std::filesystem::directory_iterator(root, error)) {
            if (!kernel.is_directory()) {
                continue;
            }
            for (const auto& scenario : std::filesystem::directory_iterator(kernel.path(), error)) {
                if (std::filesystem::exists(scenario.path() / "trace.dat")) {
                    folders.push_back(scenario.path());
                }
            }
        }
    }
    std::sort(folders.begin(), folders.end());
    return folders;
}

/// "6.1.0-56-amd64/udp-rx-e1000"
inline std::string name_of(const std::filesystem::path& folder)
{
    return (folder.parent_path().filename() / folder.filename()).string();
}

inline nlohmann::json read_json(const std::filesystem::path& path)
{
    std::ifstream in(path);
    return nlohmann::json::parse(in);
}

/// A recording beside a manifest that says something else: a folder of links to the original's files. It goes with this.
class ChangedRecording {
public:
    ChangedRecording(const std::filesystem::path& original, const std::function<void(nlohmann::json&)>& change)
        : folder_(std::filesystem::temp_directory_path() / ("skbscope-changed-" + std::to_string(::getpid())))
    {
        std::filesystem::create_directories(folder_);
        for (const auto& file : std::filesystem::directory_iterator(original)) {
            if (file.path().filename() != "manifest.json") {
                std::filesystem::create_symlink(file.path(), folder_ / file.path().filename());
            }
        }
        nlohmann::json manifest = read_json(original / "manifest.json");
        change(manifest);
        std::ofstream(folder_ / "manifest.json") << manifest.dump();
    }
    ~ChangedRecording() { std::filesystem::remove_all(folder_); }
    ChangedRecording(const ChangedRecording&) = delete;
    ChangedRecording& operator=(const ChangedRecording&) = delete;

    [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }

private:
    std::filesystem::path folder_;
};

} // namespace skbscope::testing
