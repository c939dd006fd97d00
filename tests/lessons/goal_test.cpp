// Goals: conditions read from text and measured on a trace.

#include "lessons/reader/lesson.h"
#include "tests/lessons/small_trace.h"

#include <gmock/gmock.h>

namespace skbscope {
namespace {

GoalResult measured(const Trace& trace, std::string_view text)
{
    const auto goal = parse_goal(text);
    EXPECT_TRUE(goal) << text << ": " << (goal ? "" : goal.error().what);
    return goal ? evaluate(*goal, trace) : GoalResult{};
}

TEST(Goals, AccountingIsMeasured)
{
    test::SmallTrace t;
    EXPECT_TRUE(measured(t.trace, "born == 3 and delivered == 2 and dropped == 1").reached);
    EXPECT_TRUE(measured(t.trace, "dropped(SOCKET_RCVBUFF) == 1 and dropped(CPU_BACKLOG) == 0").reached);
    EXPECT_FALSE(measured(t.trace, "delivered >= 3").reached);
    EXPECT_FALSE(measured(t.trace, "delivered == 2 and dropped == 0").reached);
}

TEST(Goals, QueuesFunctionsCountersAndMemoryAreMeasured)
{
    test::SmallTrace t;
    EXPECT_TRUE(measured(t.trace, "peak(rx_ring) == 3 and level(rx_ring) == 0 and peak(:5001) == 2").reached);
    EXPECT_TRUE(measured(t.trace, "calls(ip_rcv_core) == 3 and calls(ip_rcv_core, packet 2) == 1").reached);
    EXPECT_TRUE(measured(t.trace, "calls(net_rx_action, packet 2) == 1").reached);
    EXPECT_TRUE(measured(t.trace, "calls(udp_recvmsg in process) == 2 and calls(udp_recvmsg in softirq) == 0")
                    .reached);
    EXPECT_TRUE(measured(t.trace, "counter(Udp.InDatagrams) == 2 and interrupts == 1").reached);
    EXPECT_TRUE(measured(t.trace, "truesize(packet 1) == 1280").reached);
}

TEST(Goals, WhatIsNotThereIsSaidAndDoesNotHold)
{
    test::SmallTrace t;
    const GoalResult result = measured(t.trace, "peak(arp_queue) >= 0 and delivered == 2");
    EXPECT_FALSE(result.reached);
    ASSERT_EQ(result.conditions.size(), 2U);
    EXPECT_FALSE(result.conditions[0].value);
    EXPECT_TRUE(result.conditions[1].holds);
    EXPECT_THAT(result.text(), testing::HasSubstr("peak(arp_queue) not there, delivered 2"));
}

TEST(Goals, EveryComparisonWorks)
{
    test::SmallTrace t;
    for (const char* yes :
         {"born = 3", "born == 3", "born != 4", "born < 4", "born <= 3", "born > 2", "born >= 3"}) {
        EXPECT_TRUE(measured(t.trace, yes).reached) << yes;
    }
    for (const char* no : {"born == 4", "born != 3", "born < 3", "born <= 2", "born > 3", "born >= 4"}) {
        EXPECT_FALSE(measured(t.trace, no).reached) << no;
    }
}

TEST(Goals, NonsenseIsRefused)
{
    for (const char* text :
         {"", "delivered", "delivered == many", "happiness == 3", "dropped(NO_SUCH) == 1", "peak() == 1",
          "peak(rx_ring == 1", "delivered === 3", "calls(a b) == 1", "calls(ip_rcv in space) == 1",
          "truesize(7) == 1", "delivered == 1 and", "delivered == 1 and and sent == 1", "== 4"}) {
        EXPECT_FALSE(parse_goal(text)) << text;
    }
}

TEST(Goals, AnEmptyGoalIsNeverReached)
{
    test::SmallTrace t;
    EXPECT_FALSE(evaluate(Goal{}, t.trace).reached);
}

} // namespace
} // namespace skbscope
