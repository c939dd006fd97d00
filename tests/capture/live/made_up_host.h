#pragma once
// A made-up /proc and tracefs in a folder of the test's own.

#include "capture/host_facts.h"

#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <string>
#include <unistd.h>

namespace skbscope {

class MadeUpHost {
public:
    MadeUpHost()
        : root_(std::filesystem::temp_directory_path() /
                ("skbscope-host-" + std::to_string(getpid()) + "-" +
                 testing::UnitTest::GetInstance()->current_test_info()->name()))
    {
        std::filesystem::remove_all(root_);
        std::filesystem::create_directories(root_);
    }
    ~MadeUpHost() { std::filesystem::remove_all(root_); }
    MadeUpHost(const MadeUpHost&) = delete;
    MadeUpHost& operator=(const MadeUpHost&) = delete;

    void file(const std::string& name, const std::string& text)
    {
        std::filesystem::create_directories((root_ / name).parent_path());
        std::ofstream(root_ / name) << text;
    }
    void folder(const std::string& name) { std::filesystem::create_directories(root_ / name); }
    /// A process of that number, started at that tick; its name is as awkward as names may be.
    void process(int pid, std::uint64_t started)
    {
        std::string fields;
        for (int field = 4; field < 22; ++field) {
            fields += " " + std::to_string(field);
        }
        file("proc/" + std::to_string(pid) + "/stat",
             std::to_string(pid) + " (a) S (b) S" + fields + " " + std::to_string(started) + " 23 24\n");
    }
    [[nodiscard]] std::string path(const std::string& name) const { return (root_ / name).string(); }
    [[nodiscard]] HostPlaces places() const { return {path("proc"), path("sys"), {path("tracing")}}; }

private:
    std::filesystem::path root_;
};

} // namespace skbscope
