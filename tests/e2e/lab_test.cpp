// lab: scenarios on this machine's kernel beside the model, and that nothing of it stays however it ends. Needs root, tracefs and
// iproute2; skips elsewhere and says why.

#include "tests/e2e/program.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <functional>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace skbscope::e2e {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

class Lab : public testing::Test {
protected:
    void SetUp() override
    {
        if (geteuid() != 0) {
            GTEST_SKIP() << "needs root";
        }
        if (!std::filesystem::exists("/sys/kernel/tracing/events")) {
            GTEST_SKIP() << "tracefs is not mounted";
        }
        if (!is_installed("ip")) {
            GTEST_SKIP() << "iproute2 is not installed";
        }
    }
};

/// Everything that labs of those processes leave on a host.
std::vector<std::string> left_behind_by(pid_t lab)
{
    std::vector<std::string> found;
    for (const char* folder : {"/run/netns", "/sys/kernel/tracing/instances", "/run/skbscope"}) {
        std::error_code error;
        for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
            const std::string name = entry.path().filename().string();
            if (name.find("lab-" + std::to_string(lab)) != std::string::npos ||
                name.find("skbscope_" + std::to_string(lab) + "_") != std::string::npos) {
                found.push_back(entry.path().string());
            }
        }
    }
    return found;
}

struct LabCase {
    const char* name;
    const char* scenario;
    const char* needs; ///< a tool; empty: ip alone
};

void PrintTo(const LabCase& row, std::ostream* out) { *out << row.name; }

class LabBesideTheModel : public Lab, public testing::WithParamInterface<LabCase> {};

TEST_P(LabBesideTheModel, EveryPacketHasTheSameEndAndTheSameWay)
{
    const LabCase& row = GetParam();
    if (*row.needs != '\0' && !is_installed(row.needs)) {
        GTEST_SKIP() << row.needs << " is not installed";
    }
    const auto outcome = skbscope({"lab", source_file(row.scenario), "--on-veth", "--compare"});
    if (outcome.status == 4) {
        GTEST_SKIP() << outcome.err;
    }
    EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("lab: the model runs as "));
}

INSTANTIATE_TEST_SUITE_P(Scenarios, LabBesideTheModel,
                         testing::Values(LabCase{"Lesson1", "lessons/01-a-datagram-arrives", ""},
                                         LabCase{"Lesson2", "lessons/02-a-datagram-leaves", ""},
                                         LabCase{"Lesson3WithRps", "lessons/03-rps-and-the-backlog", ""},
                                         LabCase{"Lesson4WithRules", "lessons/04-the-five-hooks", "nft"},
                                         LabCase{"OneFlow", "tests/data/lab/one-flow.yaml", ""},
                                         LabCase{"FullReceiveBuffer", "tests/data/lab/full-buffer.yaml", ""},
                                         LabCase{"NetfilterDrop", "tests/data/lab/nft-drop.yaml", "nft"},
                                         LabCase{"Forwarding", "tests/data/lab/forward.yaml", ""}),
                         [](const auto& row) { return std::string(row.param.name); });

TEST_F(Lab, WhoseWordsNobodyCanReadKeepsItsRecording)
{
    const TemporaryFolder folder;
    const auto outcome =
        run_program({"sh", "-c", "exec \"$0\" lab \"$1\" -w \"$2\" 2>/dev/full", SKBSCOPE_PROGRAM,
                     source_file("tests/data/lab/one-flow.yaml"), folder / "kept.pcapng"});
    if (outcome.status == 4) {
        GTEST_SKIP() << "this lab cannot be made here";
    }
    EXPECT_EQ(outcome.status, 0) << outcome.out;
    const auto report = skbscope({"report", folder / "kept.pcapng", "--format", "json"});
    ASSERT_EQ(report.status, 0) << report.err;
    EXPECT_GT(report.json()["packets"]["total"], 0);
}

// ---- nothing stays --------------------------------------------------------------------------------------------------------

constexpr const char* backlog_file = "/proc/sys/net/core/netdev_max_backlog";

std::string backlog()
{
    std::string value;
    std::ifstream(backlog_file) >> value;
    return value;
}

/// For ten seconds at most.
bool comes_true(const std::function<bool()>& what)
{
    for (int i = 0; i < 500; ++i) {
        if (what()) {
            return true;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return false;
}

/// Half a minute of traffic, and one setting that the whole host shares.
constexpr const char* long_run = R"(skbscope: 1
title: long
hosts:
  - name: server
    cpus: 2
    sysctls: {net.core.netdev_max_backlog: VALUE}
    devices:
      - {name: v0, driver: veth, address: 10.97.0.2/24, peer: client.v1}
    receivers:
      - {name: app, port: 5001, cpu: 1}
  - name: client
    namespace_of: server
    devices:
      - {name: v1, driver: veth, address: 10.97.0.1/24, peer: server.v0}
    senders:
      - {name: sender, to: "10.97.0.2:5001", count: 3000, size: 100, gap: 10ms, start: 1ms, cpu: 0}
)";

class LabThatIsEnded : public Lab {
protected:
    void SetUp() override
    {
        Lab::SetUp();
        if (!IsSkipped()) {
            before_ = backlog();
            if (before_.empty() || access(backlog_file, W_OK) != 0) {
                GTEST_SKIP() << "net.core.netdev_max_backlog cannot be set here";
            }
            during_ = std::to_string(std::stol(before_) + 1);
            std::string text = long_run;
            text.replace(text.find("VALUE"), 5, during_);
            write_file(folder_ / "long.yaml", text);
        }
    }

    void TearDown() override
    {
        if (!before_.empty() &&
            backlog() != before_) { // the test has said so; the host gets it back all the same
            std::ofstream(backlog_file) << before_;
        }
    }

    /// In a process of its own; its words go to a file.
    pid_t start_lab() const
    {
        const pid_t child = fork();
        if (child == 0) {
            const int file = open((folder_ / "said").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
            dup2(file, STDERR_FILENO);
            dup2(file, STDOUT_FILENO);
            execl(SKBSCOPE_PROGRAM, SKBSCOPE_PROGRAM, "lab", (folder_ / "long.yaml").c_str(),
                  "--host-settings", nullptr);
            _exit(127);
        }
        return child;
    }

    TemporaryFolder folder_;
    std::string before_, during_;
};

int wait_for(pid_t child)
{
    int status = 0;
    waitpid(child, &status, 0);
    return status;
}

TEST_F(LabThatIsEnded, WithoutLeaveASettingOfTheHostIsRefusedAndStaysAsItWas)
{
    const auto outcome = skbscope({"lab", folder_ / "long.yaml"});
    EXPECT_EQ(outcome.status, 4) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("net.core.netdev_max_backlog"));
    EXPECT_THAT(outcome.err, HasSubstr("--host-settings"));
    EXPECT_EQ(outcome.lines_on_stderr(), 1) << outcome.err;
    EXPECT_EQ(backlog(), before_);
}

TEST_F(LabThatIsEnded, ByASignalItTakesEverythingBack)
{
    for (const int signal :
         {SIGINT, SIGTERM}) { // the one while traffic is recorded, the other while it is being set up
        const pid_t lab = start_lab();
        const bool ran = comes_true([&] {
            const auto has = left_behind_by(lab);
            const bool records = std::ranges::any_of(
                has, [](const std::string& path) { return path.starts_with("/sys/kernel/tracing"); });
            return backlog() == during_ && (signal == SIGTERM || records);
        });
        kill(lab, signal);
        const int status = wait_for(lab);
        ASSERT_TRUE(ran) << read_file(folder_ / "said");
        EXPECT_TRUE(WIFEXITED(status)) << "it came to its end by itself";
        EXPECT_EQ(backlog(), before_) << signal;
        EXPECT_THAT(left_behind_by(lab), IsEmpty()) << signal;
    }
}

TEST_F(LabThatIsEnded, KilledItsGuardTakesEverythingBack)
{
    const pid_t lab = start_lab();
    const bool ran = comes_true([&] { return backlog() == during_; });
    kill(lab, SIGKILL);
    (void)wait_for(lab);
    ASSERT_TRUE(ran) << read_file(folder_ / "said");
    EXPECT_TRUE(comes_true([&] { return backlog() == before_ && left_behind_by(lab).empty(); }))
        << testing::PrintToString(left_behind_by(lab));
}

TEST_F(LabThatIsEnded, KilledWithItsGuardTheNextLabTakesEverythingBack)
{
    const pid_t lab = start_lab();
    const bool ran = comes_true([&] { return backlog() == during_; });
    // All its children: the guard, and whoever sends and receives.
    std::vector<pid_t> all{lab};
    std::ifstream children("/proc/" + std::to_string(lab) + "/task/" + std::to_string(lab) + "/children");
    for (pid_t child = 0; children >> child;) {
        all.push_back(child);
    }
    for (const pid_t process : all) {
        kill(process, SIGSTOP); // so that none acts on another's end
    }
    for (const pid_t process : all) {
        kill(process, SIGKILL);
    }
    (void)wait_for(lab);
    ASSERT_TRUE(ran) << read_file(folder_ / "said");
    ASSERT_GT(all.size(), 1U);
    EXPECT_THAT(left_behind_by(lab), testing::Not(IsEmpty())) << "nobody could";
    const auto next = skbscope({"lab", source_file("tests/data/lab/one-flow.yaml")});
    EXPECT_THAT(next.err, HasSubstr("left behind by an earlier lab"));
    EXPECT_EQ(backlog(), before_);
    EXPECT_THAT(left_behind_by(lab), IsEmpty());
}

} // namespace
} // namespace skbscope::e2e
