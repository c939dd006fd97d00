#pragma once
// The lessons and the recordings of real kernels that the tests in this folder use.

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace skbscope::e2e {

/// The folder of the lesson whose name begins with that number: "01". Fails the test if there is none.
[[nodiscard]] std::filesystem::path lesson_folder(const std::string& number);
/// The scenario of that lesson.
[[nodiscard]] std::string scenario_of(const std::string& number);

/// A folder with what was recorded on a real kernel: trace.dat, eth0.pcap, manifest.json.
struct RecordedFolder {
    std::filesystem::path path;
    nlohmann::json manifest;
    [[nodiscard]] std::string trace() const { return (path / "trace.dat").string(); }
    [[nodiscard]] std::string capture() const { return (path / "eth0.pcap").string(); }
    /// "6.1.0-56-amd64/udp-rx-e1000"
    [[nodiscard]] std::string name() const;
};

/// Those below `root` whose own name matches the regular expression, sorted; the root may be empty or
/// missing.
[[nodiscard]] std::vector<RecordedFolder> recorded_folders(const std::filesystem::path& root,
                                                           const std::string& regex);

} // namespace skbscope::e2e
