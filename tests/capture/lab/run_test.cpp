// The lab on this machine's kernel. Needs root, tracefs and iproute2; skips elsewhere and says why.

#include "capture/lab/lab.h"
#include "capture/lab/undo.h"
#include "core/catalog/catalog.h"

#include <algorithm>
#include <filesystem>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <optional>
#include <unistd.h>

namespace skbscope::lab {
namespace {

using testing::HasSubstr;

Scenario scenario_of(const std::string& file)
{
    auto scenario = load_scenario(std::string(SKBSCOPE_SOURCE_DIR) + "/" + file);
    EXPECT_TRUE(scenario) << scenario.error().describe();
    return scenario ? *scenario : Scenario{};
}

/// Everything of ours that the host shows: namespaces, tracefs instances, lists of undoing.
std::vector<std::string> traces_of_us()
{
    std::vector<std::string> found;
    for (const char* folder : {"/run/netns", "/sys/kernel/tracing/instances", undo_folder}) {
        std::error_code error;
        for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
            const std::string name = entry.path().filename().string();
            if (name.find(fmt::format("lab-{}", ::getpid())) != std::string::npos) {
                found.push_back(entry.path().string());
            }
        }
    }
    return found;
}

class LabOnThisKernel : public testing::Test {
protected:
    void SetUp() override
    {
        if (::geteuid() != 0) {
            GTEST_SKIP() << "needs root";
        }
        if (!std::filesystem::exists("/sys/kernel/tracing/events")) {
            GTEST_SKIP() << "tracefs is not mounted";
        }
        if (!std::filesystem::exists("/usr/sbin/ip") && !std::filesystem::exists("/sbin/ip")) {
            GTEST_SKIP() << "iproute2 is not installed";
        }
    }

    /// Nothing where this kernel or container does not allow it; the reason is then said.
    static std::optional<LabRun> run(const Scenario& scenario, const LabWishes& wishes)
    {
        const std::atomic<bool> never_stopped = false;
        auto done = run_lab(scenario, wishes, never_stopped);
        EXPECT_THAT(traces_of_us(), testing::IsEmpty());
        if (!done && (done.error().kind == ErrorKind::not_permitted || done.error().kind == ErrorKind::unsupported)) {
            skipped_ = done.error().describe();
            return std::nullopt;
        }
        EXPECT_TRUE(done) << done.error().describe();
        return done ? std::optional<LabRun>(std::move(*done)) : std::nullopt;
    }
    static inline std::string skipped_;
};

TEST_F(LabOnThisKernel, OneFlowIsSentReceivedRecordedAndTakenDown)
{
    const auto done = run(scenario_of("tests/data/lab/one-flow.yaml"), {});
    if (!done) {
        GTEST_SKIP() << skipped_;
    }
    EXPECT_TRUE(done->complete);
    for (const TaskCount& task : done->tasks) {
        EXPECT_EQ(task.sent, task.name == "sender" ? 20U : 0U);
        EXPECT_EQ(task.received, task.name == "app" ? 20U : 0U);
    }
    const auto datagrams = std::ranges::count_if(done->trace.packets(), [](const PacketRecord& packet) {
        return packet.flow && packet.flow->protocol == 17 && packet.flow->destination_port == 5001 && packet.parent == PacketId::none;
    });
    EXPECT_GE(datagrams, 19) << "all but the first, which waits for its neighbour: tracepoints alone need not tell its ports";
    EXPECT_TRUE(done->trace.info.observed);
    EXPECT_FALSE(done->trace.files.empty());
}

/// What sockets and /proc say is what the packets' ends say.
TEST_F(LabOnThisKernel, EndsAddUpToWhatSocketsReadAndProcCounts)
{
    struct Expected {
        const char* scenario;
        const char* reason; ///< of the drops; null: every datagram arrives
    };
    for (const auto& [file, reason] : {Expected{"full-buffer", "SOCKET_RCVBUFF"}, Expected{"nft-drop", "NETFILTER_DROP"}, Expected{"forward", "IP_INNOROUTES"}}) {
        const auto done = run(scenario_of(fmt::format("tests/data/lab/{}.yaml", file)), {});
        if (!done) {
            GTEST_SKIP() << skipped_;
        }
        std::uint64_t sent = 0;
        std::uint64_t received = 0;
        for (const TaskCount& task : done->tasks) {
            sent += task.sent;
            received += task.received;
        }
        std::uint64_t delivered = 0;
        std::uint64_t dropped = 0;
        for (const PacketRecord& packet : done->trace.packets()) {
            EXPECT_NE(packet.verdict, Verdict::in_flight) << file;
            delivered += packet.verdict == Verdict::delivered && packet.flow && packet.flow->protocol == 17 ? 1 : 0;
            if (packet.verdict == Verdict::dropped) {
                ++dropped;
                EXPECT_EQ(Catalog::drop_reason(packet.reason).name, reason) << file;
            }
        }
        EXPECT_GT(received, 0U) << file;
        EXPECT_GT(dropped, 0U) << file;
        EXPECT_EQ(delivered, received) << file;
        EXPECT_EQ(dropped, sent - received) << file;
    }
}

TEST_F(LabOnThisKernel, ASettingOfTheWholeHostIsRefusedWithoutLeave)
{
    Scenario scenario = scenario_of("tests/data/lab/one-flow.yaml");
    scenario.hosts.front().sysctls["net.core.netdev_max_backlog"] = 7;
    const std::atomic<bool> never_stopped = false;
    const auto refused = run_lab(scenario, {}, never_stopped);
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().describe(), HasSubstr("netdev_max_backlog"));
    EXPECT_EQ(exit_status(refused.error().kind), 4);
    EXPECT_THAT(traces_of_us(), testing::IsEmpty());
}

} // namespace
} // namespace skbscope::lab
