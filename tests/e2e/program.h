#pragma once
// Runs the built program (and tools such as tshark) as a person would, and keeps what it said.

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace skbscope::e2e {

struct Outcome {
    int status = -1; ///< exit status; 128 + the signal that ended it; 127: could not be started
    std::string out;
    std::string err;
    /// `out` read as JSON; a value of kind "discarded" (is_discarded()) if it is none.
    [[nodiscard]] nlohmann::json json() const { return nlohmann::json::parse(out, nullptr, false); }
    [[nodiscard]] int lines_on_stderr() const;
};

struct RunOptions {
    std::vector<std::string> environment = {}; ///< "NAME=value", added to our own; "NAME" removes it
    std::filesystem::path directory = {}; ///< to start in
    int seconds = 120;                    ///< after which it is killed (status 137)
};

/// The skbscope that this build made.
[[nodiscard]] Outcome skbscope(std::vector<std::string> arguments, const RunOptions& options = {});
/// Any program found in PATH, or by its path.
[[nodiscard]] Outcome run_program(std::vector<std::string> words, const RunOptions& options = {});
[[nodiscard]] bool is_installed(const std::string& program);

/// A folder that goes when the test ends.
class TemporaryFolder {
public:
    TemporaryFolder();
    ~TemporaryFolder();
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;
    [[nodiscard]] std::string operator/(const std::string& name) const { return (path_ / name).string(); }
    [[nodiscard]] const std::filesystem::path& path() const { return path_; }
    /// Names of all files in it, sorted.
    [[nodiscard]] std::vector<std::string> names() const;

private:
    std::filesystem::path path_;
};

[[nodiscard]] std::string read_file(const std::filesystem::path& path);
void write_file(const std::filesystem::path& path, const std::string& content);
/// A file of the source tree: "lessons/01-a-datagram-arrives/scenario.yaml".
[[nodiscard]] std::string source_file(const std::string& name);
/// The folder with the larger set of recordings, or empty where SKBSCOPE_TRACES names none.
[[nodiscard]] std::filesystem::path larger_set();

} // namespace skbscope::e2e
