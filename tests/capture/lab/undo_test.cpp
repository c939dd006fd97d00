// The list of what the lab has to take back, on made-up trees.

#include "capture/lab/undo.h"

#include <array>
#include <csignal>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sstream>
#include <sys/wait.h>
#include <unistd.h>

namespace skbscope::lab {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class Folder {
public:
    Folder() { path_ = ::mkdtemp(path_.data()); }
    ~Folder() { std::filesystem::remove_all(path_); }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }
    void write(const std::string& name, const std::string& text) const
    {
        const std::filesystem::path file(*this / name);
        std::filesystem::create_directories(file.parent_path());
        std::ofstream(file) << text;
    }
    [[nodiscard]] std::string read(const std::string& name) const
    {
        std::ifstream in(*this / name);
        std::ostringstream text;
        text << in.rdbuf();
        return text.str();
    }
    [[nodiscard]] bool has(const std::string& name) const { return std::filesystem::exists(*this / name); }

private:
    std::string path_ = "/tmp/skbscope-undo-test-XXXXXX";
};

TEST(Undo, LinesAreReadBackAsTheyWereWritten)
{
    const std::vector<Undo> things{{Undo::Kind::netns, "skbscope-lab-1-0", ""},
                                   {Undo::Kind::sysctl, "net.ipv4.tcp_rmem", "4096 131072 6291456"},
                                   {Undo::Kind::process, "77", "123456"},
                                   {Undo::Kind::instance, "skbscope-lab-1", ""}};
    std::string text;
    for (const Undo& thing : things) {
        text += to_line(thing) + "\n";
    }
    EXPECT_EQ(parse_undo(text), things);
}

TEST(Undo, ALineThatWasCutOrLeadsElsewhereIsLeftOut)
{
    EXPECT_THAT(parse_undo("netns ../../etc\nnetns a/b\nunknown x\nnetns\ninstance skbscope-lab"), IsEmpty());
}

TEST(Undo, ASettingGetsBackWhatItWas)
{
    const Folder folder;
    folder.write("sys/net/core/netdev_max_backlog", "7\n");
    ASSERT_TRUE(take_back({Undo::Kind::sysctl, "net.core.netdev_max_backlog", "1000"}, {.proc = folder / "", .netns = {}, .tracing = {}}));
    EXPECT_EQ(folder.read("sys/net/core/netdev_max_backlog").substr(0, 4), "1000");
}

TEST(Undo, WhatIsGoneAlreadyIsFine)
{
    const Folder folder;
    const UndoPlaces places{.proc = folder / "proc", .netns = folder / "netns", .tracing = folder / "tracing"};
    EXPECT_TRUE(take_back({Undo::Kind::netns, "nobody", ""}, places));
    EXPECT_TRUE(take_back({Undo::Kind::instance, "nobody", ""}, places));
}

TEST(Undo, AProcessWhoseNumberIsSomebodyElsesNowIsLeftAlone)
{
    const pid_t child = ::fork();
    if (child == 0) {
        ::pause();
        ::_exit(0);
    }
    const std::string pid = std::to_string(child);
    EXPECT_TRUE(take_back({Undo::Kind::process, pid, "1"}));
    EXPECT_EQ(::waitpid(child, nullptr, WNOHANG), 0) << "it was killed";
    EXPECT_TRUE(take_back({Undo::Kind::process, pid, start_time_of(child)}));
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status));
}

TEST(Undo, TheListOfALabThatIsNoMoreIsWorkedThroughAndRemoved)
{
    const Folder folder;
    folder.write("netns/skbscope-lab-1-0", "");
    folder.write("lists/lab-999999999-5", "netns skbscope-lab-1-0\n");
    folder.write(fmt::format("lists/lab-{}-{}", ::getpid(), start_time_of(::getpid())), "netns of-a-lab-that-runs\n");
    folder.write("netns/of-a-lab-that-runs", "");
    const auto done = take_back_leftovers(folder / "lists", {.proc = "/proc", .netns = folder / "netns", .tracing = folder / "tracing"});
    EXPECT_THAT(done, ElementsAre("netns skbscope-lab-1-0"));
    EXPECT_FALSE(folder.has("netns/skbscope-lab-1-0"));
    EXPECT_FALSE(folder.has("lists/lab-999999999-5"));
    EXPECT_TRUE(folder.has("netns/of-a-lab-that-runs"));
}

TEST(Undo, AListIsGoneWhenAllOfItIsTakenBack)
{
    const Folder folder;
    std::string path;
    {
        auto list = UndoList::create(folder / "lists");
        ASSERT_TRUE(list);
        path = list->path();
        ASSERT_TRUE(list->add({Undo::Kind::instance, "skbscope-no-such-instance", ""}));
        EXPECT_TRUE(std::filesystem::exists(path));
    }
    EXPECT_FALSE(std::filesystem::exists(path));
}

/// The guard's work shows when the process beside it dies without a word.
TEST(Undo, TheGuardTakesBackWhatAKilledLabLeft)
{
    const Folder folder;
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe(ends.data()), 0);
    const pid_t lab = ::fork();
    if (lab == 0) {
        auto list = UndoList::create(folder / "lists");
        const pid_t victim = ::fork();
        if (victim == 0) {
            ::pause();
            ::_exit(0);
        }
        // The guard inherits neither end: the pipe tells when the victim is gone.
        ::close(ends[0]);
        (void)list->add({Undo::Kind::process, std::to_string(victim), start_time_of(victim)});
        ::close(ends[1]);
        (void)list->start_guard();
        ::kill(::getpid(), SIGKILL);
    }
    ::close(ends[1]);
    EXPECT_EQ(::waitpid(lab, nullptr, 0), lab);
    char byte = 0;
    EXPECT_EQ(::read(ends[0], &byte, 1), 0) << "the process that the lab left is still there";
    ::close(ends[0]);
}

} // namespace
} // namespace skbscope::lab
