// skbscope record while it sets its probes: on a host that lacks something, and killed before it has begun.

#include "tests/e2e/live_host.h"

#include <chrono>
#include <csignal>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <thread>

namespace skbscope::e2e {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class Attach : public testing::Test {
protected:
    void SetUp() override
    {
        if (const std::string lacks = missing_for_live_tests(); !lacks.empty()) {
            GTEST_SKIP() << lacks;
        }
    }
    TemporaryFolder folder_;
};

/// Looks every millisecond, for five seconds at most.
template <typename Condition>
bool comes_true(Condition condition)
{
    for (int i = 0; i < 5000 && !condition(); ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return condition();
}

TEST_F(Attach, KilledWhileItSetsItsProbesItLeavesNothingInTracefs)
{
    Beside recorder(
        {SKBSCOPE_PROGRAM, "record", "--no-frames", "--budget", "5%", "-w", folder_ / "never.pcapng"});
    const pid_t pid = recorder.pid();
    ASSERT_TRUE(comes_true([pid] { return !instances_of(pid).empty(); }));
    recorder.signal(SIGKILL); // its first instance has just been made
    const auto outcome = recorder.wait();
    EXPECT_EQ(outcome.status, 128 + SIGKILL);
    EXPECT_THAT(outcome.err, Not(HasSubstr("recording: "))) << "it had begun, so this was not tested";
    EXPECT_TRUE(comes_true([pid] { return instances_of(pid).empty(); }));
    EXPECT_THAT(instances_of(pid), IsEmpty());
}

TEST_F(Attach, WithoutTheKernelsTypeInformationItRecordsAndDoctorSaysWhatThatCosts)
{
    const std::string hide = "mount -t tmpfs none /sys/kernel/btf || exit 77; ";
    const auto in_own_mounts = [&](const std::string& script) {
        return run_program(
            {"unshare", "-m", "sh", "-c", script, "sh", SKBSCOPE_PROGRAM, folder_ / "x.pcapng"});
    };
    const auto recorded = in_own_mounts(hide + "\"$1\" record --no-frames -d 0.2 -w \"$2\"");
    if (recorded.status == 77) {
        GTEST_SKIP() << "/sys/kernel/btf cannot be hidden here";
    }
    EXPECT_EQ(recorded.status, 0) << recorded.err;
    EXPECT_THAT(recorded.err, HasSubstr("tracepoints"));
    EXPECT_EQ(skbscope({"report", folder_ / "x.pcapng"}).status, 0);
    const auto doctor = in_own_mounts(hide + "\"$1\" doctor");
    EXPECT_THAT(doctor.out, HasSubstr("BTF"));
    EXPECT_THAT(doctor.out, HasSubstr("cannot fetch addresses and ports"));
}

} // namespace
} // namespace skbscope::e2e
