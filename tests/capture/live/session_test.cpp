// Sessions on the kernel that the test runs on: nothing is left behind, whatever happens. Needs the right to trace.

#include "capture/session/trace_session.h"

#include <csignal>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

namespace skbscope {
namespace {

class Session : public testing::Test {
protected:
    void SetUp() override
    {
        if (facts_.tracing != Access::usable) {
            GTEST_SKIP() << "tracefs is " << to_string(facts_.tracing) << " here";
        }
        plan_ = plan_probes(facts_, {{}, Detail::tracepoints});
    }
    [[nodiscard]] bool exists(const std::string& instance) const
    {
        return std::filesystem::exists(facts_.tracefs + "/instances/" + instance);
    }
    /// Up to two seconds.
    [[nodiscard]] bool goes(const std::string& instance) const
    {
        for (int i = 0; i < 200 && exists(instance); ++i) {
            const timespec pause{0, 10'000'000};
            (void)nanosleep(&pause, nullptr);
        }
        return !exists(instance);
    }

    HostFacts facts_ = read_host_facts();
    ProbePlan plan_;
};

TEST_F(Session, HasAnInstanceOfItsOwnWithEventsAndBuffersAndTakesItDown)
{
    auto session = TraceSession::open(facts_, plan_, {{}, 256});
    ASSERT_TRUE(session) << session.error().describe();
    const std::string name = session->name();
    EXPECT_TRUE(exists(name));
    EXPECT_EQ(session->events_enabled(), plan_.events.size());
    EXPECT_EQ(session->buffers().size(), facts_.cpus);
    EXPECT_FALSE(session->kernel().formats().empty());
    EXPECT_TRUE(session->set_running(true));
    EXPECT_TRUE(session->close());
    EXPECT_FALSE(exists(name));
    EXPECT_TRUE(session->close()) << "closing twice is no harm";
}

TEST_F(Session, ReadsLargeBuffersByLargePagesWhereTheKernelHasThem)
{
    const auto kb_of_pages = [&](const TraceSession& session) {
        std::size_t kb = 0;
        std::ifstream(facts_.tracefs + "/instances/" + session.name() + "/buffer_subbuf_size_kb") >> kb;
        return kb;
    };
    {
        auto large = TraceSession::open(facts_, plan_, {{}, 8192});
        ASSERT_TRUE(large) << large.error().describe();
        if (kb_of_pages(*large) == 0) {
            GTEST_SKIP() << "this kernel's buffers have pages of one size";
        }
        EXPECT_EQ(large->page_size(), 65536U);
        EXPECT_EQ(kb_of_pages(*large), 64U);
    }
    auto small = TraceSession::open(facts_, plan_, {{}, 256}); // of which pages like these would be four
    ASSERT_TRUE(small) << small.error().describe();
    EXPECT_EQ(small->page_size(), 1024 * kb_of_pages(*small));
    EXPECT_LT(small->page_size(), 65536U);
}

TEST_F(Session, SwitchesItsEventsOffAndOnAndKnowsWhatARecordCosts)
{
    auto session = TraceSession::open(facts_, plan_, {{}, 256, true});
    ASSERT_TRUE(session) << session.error().describe();
    const auto enabled = [&] {
        std::string text;
        std::getline(std::ifstream(facts_.tracefs + "/instances/" + session->name() + "/events/net/net_dev_queue/enable"), text);
        return text;
    };
    EXPECT_EQ(enabled(), "1");
    EXPECT_TRUE(session->set_events(false));
    EXPECT_EQ(enabled(), "0");
    EXPECT_TRUE(session->set_events(true));
    EXPECT_EQ(enabled(), "1");
    EXPECT_GT(session->record_cost_ns().value_or(100), 1) << "a busy machine may hide it";
    EXPECT_EQ(session->lost(), 0U);
}

TEST_F(Session, WhoseProcessIsKilledIsRemovedByItsKeeper)
{
    int pipe[2];
    ASSERT_EQ(::pipe(pipe), 0);
    const pid_t child = fork();
    if (child == 0) {
        auto session = TraceSession::open(facts_, plan_, {{}, 256});
        const std::string name = session ? session->name() : "";
        (void)!write(pipe[1], name.data(), name.size());
        pause();
        _exit(0);
    }
    char name[128] = {};
    ASSERT_GT(read(pipe[0], name, sizeof name - 1), 0);
    EXPECT_TRUE(exists(name));
    (void)kill(child, SIGKILL);
    (void)waitpid(child, nullptr, 0);
    EXPECT_TRUE(goes(name));
    (void)close(pipe[0]);
    (void)close(pipe[1]);
}

TEST_F(Session, RemovesWhatDeadOnesLeftAndNothingElse)
{
    const std::string instances = facts_.tracefs + "/instances/";
    const pid_t gone = fork(); // its number is free again once it has been waited for
    if (gone == 0) {
        _exit(0);
    }
    (void)waitpid(gone, nullptr, 0);
    const std::string left = SessionMark{gone, 1}.text();
    const std::string others = "skbt6-others-" + std::to_string(getpid());
    std::filesystem::create_directory(instances + left);
    std::filesystem::create_directory(instances + others);
    {
        const auto session = TraceSession::open(facts_, plan_, {{}, 256});
        ASSERT_TRUE(session) << session.error().describe();
        EXPECT_FALSE(exists(left));
        EXPECT_TRUE(exists(others));
    }
    EXPECT_TRUE(exists(others));
    (void)rmdir((instances + others).c_str());
}

} // namespace
} // namespace skbscope
