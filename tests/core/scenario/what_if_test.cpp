// Snapshots, rewinding, branches: whatever way a run is looked at, it comes out the same.

#include "tests/core/kernel/model.h"

#include "core/recording/recording.h"

namespace skbscope {
namespace {

using test::receive_scenario;
using test::send_scenario;

std::vector<std::uint8_t> bytes_of(const Trace& trace)
{
    std::vector<std::uint8_t> bytes;
    const auto written = write_recording_to(
        trace, [&](std::span<const std::uint8_t> more) { return bytes.insert(bytes.end(), more.begin(), more.end()), true; }, "memory",
        {.compress = false});
    EXPECT_TRUE(written);
    return bytes;
}

ModelSource source_of(const std::string& text)
{
    auto scenario = parse_scenario(text, "test");
    EXPECT_TRUE(scenario) << scenario.error().describe();
    return ModelSource(*scenario);
}

std::vector<std::string> scenarios()
{
    return {receive_scenario("count: 400, gap: 3us", "rcvbuf: 4608, work: 20us"),
            receive_scenario("count: 300, gap: 1us", "wait: recvfrom"),
            send_scenario("count: 300, gap: 2us", false),
            send_scenario("count: 200, gap: 0us, size: 1400", true, true, "rate: 10mbit, tx_ring: 48, txqueuelen: 20")};
}

TEST(WhatIf, ARunIsTheSameHoweverItWasStepped)
{
    for (const std::string& text : scenarios()) {
        ModelSource whole = source_of(text);
        whole.keep_snapshots(false);
        whole.advance_to(SimTime{5'000'000});
        ModelSource stepped = source_of(text);
        for (std::uint64_t ns = 0; ns <= 5'000'000; ns += 777) {
            stepped.advance_to(SimTime{ns});
        }
        stepped.advance_to(SimTime{5'000'000});
        EXPECT_TRUE(bytes_of(whole.trace()) == bytes_of(stepped.trace())) << text;
    }
}

TEST(WhatIf, ARewoundRunIsTheRunThatNeverWentFurtherToTheByte)
{
    for (const std::string& text : scenarios()) {
        for (const std::uint64_t ns : {0ULL, 60'000ULL, 500'001ULL, 1'234'567ULL, 3'000'000ULL}) {
            ModelSource straight = source_of(text);
            straight.keep_snapshots(false);
            straight.advance_to(SimTime{ns});
            ModelSource rewound = source_of(text);
            rewound.run_to_end();
            EXPECT_GT(rewound.snapshots(), 0U);
            rewound.rewind_to(SimTime{ns});
            EXPECT_TRUE(bytes_of(straight.trace()) == bytes_of(rewound.trace())) << ns << text;
            straight.run_to_end();
            rewound.run_to_end();
            EXPECT_TRUE(bytes_of(straight.trace()) == bytes_of(rewound.trace())) << "to the end from " << ns << text;
        }
    }
}

TEST(WhatIf, AKnobTurnedInThePastGivesTheRunInWhichItWasTurnedThen)
{
    const std::string text = receive_scenario("count: 400, gap: 3us", "rcvbuf: 4608, work: 20us");
    ModelSource straight = source_of(text);
    straight.advance_to(SimTime{400'000}); // the socket is there by then
    ASSERT_TRUE(straight.set_knob(":5001.SO_RCVBUF", 212992, SimTime{400'000}));
    straight.run_to_end();
    ModelSource late = source_of(text);
    late.run_to_end();
    const std::uint64_t before = late.generation();
    ASSERT_TRUE(late.set_knob(":5001.SO_RCVBUF", 212992, SimTime{400'000}));
    late.run_to_end();
    EXPECT_NE(late.generation(), before);
    EXPECT_TRUE(bytes_of(straight.trace()) == bytes_of(late.trace()));
}

TEST(WhatIf, BothLinesStayAndCanBeChosen)
{
    ModelSource source = source_of(receive_scenario("count: 400, gap: 3us", "rcvbuf: 4608, work: 20us"));
    source.run_to_end();
    const auto main_line = bytes_of(source.trace());
    ASSERT_TRUE(source.branch(":5001.SO_RCVBUF", 212992, SimTime{400'000}));
    source.run_to_end();
    const auto branch = bytes_of(source.trace());
    EXPECT_FALSE(main_line == branch);
    ASSERT_EQ(source.branches().size(), 2U);
    EXPECT_EQ(source.chosen_branch(), 1U);
    EXPECT_EQ(source.branches()[1].at, SimTime{400'000});
    EXPECT_TRUE(bytes_of(source.branch_trace(0)) == main_line);
    source.choose_branch(0);
    EXPECT_TRUE(bytes_of(source.trace()) == main_line);
    EXPECT_TRUE(bytes_of(source.branch_trace(1)) == branch);
    source.choose_branch(1);
    source.run_to_end();
    EXPECT_TRUE(bytes_of(source.trace()) == branch);
}

TEST(WhatIf, TheSameKnobAtTheSameMomentChangesTheBranchInsteadOfMakingAnother)
{
    const std::string text = receive_scenario("count: 400, gap: 3us", "rcvbuf: 4608, work: 20us");
    ModelSource source = source_of(text);
    source.run_to_end();
    for (const std::int64_t value : {9216, 20000, 212992}) {
        ASSERT_TRUE(source.branch(":5001.SO_RCVBUF", value, SimTime{400'000}));
        source.run_to_end();
    }
    EXPECT_EQ(source.branches().size(), 2U);
    ModelSource straight = source_of(text);
    straight.advance_to(SimTime{400'000}); // the socket is there by then
    ASSERT_TRUE(straight.set_knob(":5001.SO_RCVBUF", 212992, SimTime{400'000}));
    straight.run_to_end();
    EXPECT_TRUE(bytes_of(straight.trace()) == bytes_of(source.trace()));
}

TEST(WhatIf, ASecondKnobAtTheMomentOfPartingJoinsTheBranch)
{
    ModelSource source = source_of(receive_scenario("count: 50, gap: 3us"));
    source.run_to_end();
    ASSERT_TRUE(source.branch("net.core.netdev_budget", 10, SimTime{50'000}));
    ASSERT_TRUE(source.branch("net.core.netdev_max_backlog", 7, SimTime{50'000}));
    ASSERT_EQ(source.branches().size(), 2U);
    EXPECT_EQ(source.branches()[1].title, "net.core.netdev_budget = 10, net.core.netdev_max_backlog = 7 at 0.05 ms");
    for (const Knob& knob : source.knobs()) {
        if (knob.key == "net.core.netdev_budget") {
            EXPECT_EQ(knob.value, 10);
        }
    }
}

TEST(WhatIf, WhatAPersonSentLaterIsSentInTheBranchToo)
{
    ModelSource source = source_of(receive_scenario("count: 5, gap: 3us"));
    source.run_to_end();
    const SimTime late = source.known_until() + Duration{1'000'000};
    ASSERT_TRUE(source.act("send_one", late));
    source.run_to_end();
    const std::size_t packets = source.trace().packet_count();
    ASSERT_TRUE(source.branch("net.core.netdev_budget", 10, SimTime{50'000}));
    source.run_to_end();
    EXPECT_EQ(source.trace().packet_count(), packets);
}

TEST(WhatIf, OldBranchesGiveWayAndTheMainLineStays)
{
    ModelSource source = source_of(receive_scenario("count: 50, gap: 3us"));
    source.run_to_end();
    const auto main_line = bytes_of(source.trace());
    for (std::uint64_t at = 1; at <= 2 * ModelSource::most_branches; ++at) {
        source.choose_branch(0);
        ASSERT_TRUE(source.branch("net.core.netdev_budget", 10, SimTime{at * 10'000}));
    }
    EXPECT_EQ(source.branches().size(), ModelSource::most_branches);
    EXPECT_TRUE(bytes_of(source.branch_trace(0)) == main_line);
    source.start_over();
    EXPECT_EQ(source.branches().size(), 1U);
}

TEST(WhatIf, SnapshotsStayFewHoweverLongTheRun)
{
    ModelSource source = source_of(receive_scenario("count: 20000, gap: 20us"));
    source.run_to_end();
    EXPECT_GT(source.snapshots(), 16U);
    EXPECT_LE(source.snapshots(), 64U);
}

TEST(WhatIf, ABranchWithAKnobOutOfRangeIsRefusedAndLeavesTheLineAlone)
{
    ModelSource source = source_of(receive_scenario());
    source.run_to_end();
    EXPECT_FALSE(source.branch("net.core.netdev_max_backlog", -1, SimTime{10'000}));
    EXPECT_FALSE(source.branch("net.core.netdev_max_backlog", std::int64_t{1} << 31, SimTime{10'000}));
    EXPECT_FALSE(source.branch("no.such", 1, SimTime{10'000}));
    EXPECT_EQ(source.branches().size(), 1U);
}

} // namespace
} // namespace skbscope
