// run: the model on the lessons' scenarios.

#include "tests/e2e/lessons.h"
#include "tests/e2e/program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace skbscope::e2e {
namespace {

using testing::HasSubstr;

TEST(Run, OfSixtyFourDatagramsDeliversThemAllAndTheAccountingCloses)
{
    const TemporaryFolder out;
    const auto run = skbscope({"run", scenario_of("01"), "--set", "count=64", "-w", out / "run.pcapng"});
    ASSERT_EQ(run.status, 0) << run.err;
    const auto report = skbscope({"report", out / "run.pcapng", "-f", "udp", "--format", "json"}).json();
    ASSERT_TRUE(report.is_object());
    const auto& packets = report["packets"];
    EXPECT_EQ(packets["delivered"], 64) << packets;
    int ends = 0;
    for (const auto* verdict :
         {"delivered", "forwarded", "sent", "consumed", "dropped", "merged", "split", "in_flight", "lost"}) {
        ends += packets[verdict].get<int>();
    }
    EXPECT_EQ(packets["total"], ends) << packets;
    EXPECT_EQ(report["accounting_closed"], true);
}

TEST(Run, TwiceGivesIdenticalFiles)
{
    const TemporaryFolder out;
    for (const auto* lesson : {"01", "02"}) {
        SCOPED_TRACE(lesson);
        for (const auto* name : {"a.pcapng", "b.pcapng"}) {
            ASSERT_EQ(skbscope({"run", scenario_of(lesson), "-w", out / name}).status, 0);
        }
        const auto first = read_file(out / "a.pcapng");
        EXPECT_FALSE(first.empty());
        EXPECT_TRUE(first == read_file(out / "b.pcapng"));
    }
}

TEST(Run, WithoutAnOutputReports)
{
    const auto text = skbscope({"run", scenario_of("01")});
    EXPECT_EQ(text.status, 0) << text.err;
    EXPECT_THAT(text.out, HasSubstr("delivered"));
    const auto json = skbscope({"run", scenario_of("01"), "--format", "json"}).json();
    ASSERT_TRUE(json.is_object());
    EXPECT_GT(json["packets"]["delivered"], 0);
}

TEST(Run, ReportOfAScenarioIsThatOfItsRecording)
{
    const TemporaryFolder out;
    ASSERT_EQ(skbscope({"run", scenario_of("01"), "-w", out / "run.pcapng"}).status, 0);
    auto of_scenario = skbscope({"report", scenario_of("01"), "--format", "json"}).json();
    auto of_recording = skbscope({"report", out / "run.pcapng", "--format", "json"}).json();
    of_scenario.erase("source");
    of_recording.erase("source");
    EXPECT_EQ(of_scenario, of_recording);
}

TEST(Report, ReadsARecordingFromStandardInput)
{
    const TemporaryFolder out;
    ASSERT_EQ(skbscope({"run", scenario_of("01"), "-w", out / "run.pcapng"}).status, 0);
    const auto piped = run_program(
        {"sh", "-c", "cat \"$1\" | \"$0\" report - --format json", SKBSCOPE_PROGRAM, out / "run.pcapng"});
    EXPECT_EQ(piped.status, 0) << piped.err;
    EXPECT_EQ(piped.json(), skbscope({"report", out / "run.pcapng", "--format", "json"}).json());
}

TEST(Run, StopsAtTheTimeAskedFor)
{
    const auto whole = skbscope({"run", scenario_of("01"), "--format", "json"}).json();
    const auto part = skbscope({"run", scenario_of("01"), "--until", "20us", "--format", "json"}).json();
    ASSERT_TRUE(part.is_object());
    EXPECT_LT(part["events"], whole["events"]);
    // What a CPU is in the middle of at that time is finished: no more than one quantum.
    EXPECT_LE(part["duration_ns"], 25000);
}

} // namespace
} // namespace skbscope::e2e
