// replay: a modelled host at the recorded host's address receives from the capture what the real one
// received.

#include "tests/e2e/lessons.h"
#include "tests/e2e/program.h"

#include <gtest/gtest.h>

namespace skbscope::e2e {
namespace {

void expect_same_datagrams(const RecordedFolder& folder)
{
    SCOPED_TRACE(folder.name());
    const TemporaryFolder out;
    const auto replayed =
        skbscope({"replay", folder.capture(), "--as", "10.99.0.2", "-w", out / "replayed.pcapng"});
    ASSERT_EQ(replayed.status, 0) << replayed.err;
    const auto report =
        skbscope({"report", out / "replayed.pcapng", "-f", "udp and dst port 5001", "--format", "json"})
            .json();
    ASSERT_TRUE(report.is_object());
    const auto& received = folder.manifest["phases"][0]["result"]["received"]["received"];
    EXPECT_EQ(report["packets"]["delivered"], received) << report["packets"];
    EXPECT_EQ(report["packets"]["total"], received) << report["packets"];
}

TEST(Replay, DeliversWhatTheRealHostDelivered)
{
    const auto folders = recorded_folders(source_file("tests/data"), "udp-rx-(e1000|e1000e|virtio)");
    ASSERT_FALSE(folders.empty());
    for (const auto& folder : folders) {
        expect_same_datagrams(folder);
    }
}

TEST(Replay, OfTheLargerSetDeliversWhatTheRealHostsDelivered)
{
    const auto folders = recorded_folders(larger_set(), "udp-rx-(e1000|e1000e|virtio)");
    if (folders.empty()) {
        GTEST_SKIP() << "SKBSCOPE_TRACES names no folder with the larger set of recordings";
    }
    for (const auto& folder : folders) {
        expect_same_datagrams(folder);
    }
}

} // namespace
} // namespace skbscope::e2e
