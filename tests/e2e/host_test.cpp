// The host's own figures in a recording of this very host, by whoever may record here; others learn why not.

#include "tests/e2e/program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace skbscope::e2e {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(RecordedHost, ItsFiguresAreInTheRecordingUnlessTheyAreNotWanted)
{
    const TemporaryFolder folder;
    const auto recorded = skbscope(
        {"record", "-d", "0.3", "--detail", "tracepoints", "--sample", "0.1", "-w", folder / "with.pcapng"});
    if (recorded.status == 4) {
        EXPECT_EQ(recorded.lines_on_stderr(), 1) << recorded.err;
        GTEST_SKIP() << "this user may not record here: " << recorded.err;
    }
    ASSERT_EQ(recorded.status, 0) << recorded.err;
    const auto devices = skbscope({"report", folder / "with.pcapng", "--proc", "devices"});
    EXPECT_EQ(devices.status, 0) << devices.err;
    EXPECT_THAT(devices.out, HasSubstr("device\tstate\tcarrier\tdriver"));
    EXPECT_THAT(devices.out, HasSubstr("\nlo\t"));
    EXPECT_THAT(skbscope({"report", folder / "with.pcapng", "--proc", "sysctl"}).out,
                HasSubstr("net.ipv4.ip_forward = "));
    EXPECT_EQ(skbscope({"report", folder / "with.pcapng", "--proc", "missing"}).status, 0);
    const auto report = skbscope({"report", folder / "with.pcapng", "--format", "json"}).json();
    ASSERT_FALSE(report.is_discarded());
    EXPECT_GT(report["counters"].value("recorder.cpu_us", 0), 0);

    ASSERT_EQ(skbscope({"record", "-d", "0.1", "--detail", "tracepoints", "--sample", "0", "-w",
                        folder / "without.pcapng"})
                  .status,
              0);
    const auto none = skbscope({"report", folder / "without.pcapng", "--proc", "devices"});
    EXPECT_EQ(none.status, 4);
    EXPECT_EQ(none.lines_on_stderr(), 1) << none.err;
    EXPECT_THAT(skbscope({"report", folder / "without.pcapng"}).out, Not(HasSubstr("recorder.cpu_us")));
}

TEST(RecordedHost, ASampleBelowZeroIsRefused)
{
    EXPECT_EQ(skbscope({"record", "--sample", "-1", "-w", "x.pcapng"}).status, 2);
}

} // namespace
} // namespace skbscope::e2e
