// Stops: read from words, found in a trace.

#include "lessons/reader/lesson.h"
#include "tests/lessons/small_trace.h"

#include <gmock/gmock.h>

namespace skbscope {
namespace {

std::optional<std::size_t> where(const Trace& trace, std::string_view text)
{
    const auto stop = parse_stop(text);
    EXPECT_TRUE(stop) << text << ": " << (stop ? "" : stop.error().what);
    return stop ? resolve_stop(*stop, trace) : std::nullopt;
}

/// The event just before the stop: what has happened last.
const Event& last_event(const Trace& trace, std::string_view text)
{
    const auto position = where(trace, text);
    EXPECT_TRUE(position && *position > 0) << text;
    return trace[position.value_or(1) - 1];
}

TEST(Stops, BeginAndEndAreTheEdgesOfTheTrace)
{
    test::SmallTrace t;
    EXPECT_EQ(where(t.trace, "begin"), 0U);
    EXPECT_EQ(where(t.trace, "end"), t.trace.size());
}

TEST(Stops, PacketEntersItsOwnFunction)
{
    test::SmallTrace t;
    const Event& event = last_event(t.trace, "packet 2 enters ip_rcv_core");
    EXPECT_EQ(event.function_id(), fn::ip_rcv_core);
    EXPECT_EQ(event.packet, 2U);
}

TEST(Stops, PacketEntersACallThatServesManyPackets)
{
    test::SmallTrace t;
    const Event& event = last_event(t.trace, "packet 2 enters net_rx_action");
    EXPECT_EQ(event.function_id(), fn::net_rx_action);
    EXPECT_EQ(event.packet, 0U);
}

TEST(Stops, ReturnLiesBehindTheCallsOwnEvents)
{
    test::SmallTrace t;
    const auto position = where(t.trace, "packet 1 returns from ip_rcv_core");
    ASSERT_TRUE(position);
    EXPECT_GE(t.trace[*position].time_ns, 1321U);
}

TEST(Stops, VerdictsDropsAndQueues)
{
    test::SmallTrace t;
    EXPECT_EQ(last_event(t.trace, "packet 2 delivered").time_ns, 1441U);
    EXPECT_EQ(last_event(t.trace, "packet 3 dropped").packet, 3U);
    EXPECT_EQ(last_event(t.trace, "first drop").packet, 3U);
    EXPECT_EQ(last_event(t.trace, "first drop SOCKET_RCVBUFF").packet, 3U);
    EXPECT_EQ(where(t.trace, "first drop CPU_BACKLOG"), std::nullopt);
    EXPECT_EQ(last_event(t.trace, "queue :5001 holds 2").packet, 2U);
    EXPECT_EQ(where(t.trace, "queue :5001 holds 3"), std::nullopt);
    EXPECT_EQ(last_event(t.trace, "packet 2 leaves :5001 receive queue").time_ns, 7210U);
    EXPECT_EQ(last_event(t.trace, "packet 1 joins rx_ring").event_kind(), EventKind::enqueue);
    EXPECT_EQ(last_event(t.trace, "packet 1 freed").time_ns, 7130U);
    EXPECT_EQ(last_event(t.trace, "packet 3 born").packet, 3U);
}

TEST(Stops, InterruptsAndSharedFunctions)
{
    test::SmallTrace t;
    EXPECT_EQ(last_event(t.trace, "interrupt raised").event_kind(), EventKind::irq_raise);
    EXPECT_EQ(last_event(t.trace, "interrupt masked").event_kind(), EventKind::irq_mask);
    EXPECT_EQ(last_event(t.trace, "interrupt unmasked").event_kind(), EventKind::irq_unmask);
    EXPECT_EQ(last_event(t.trace, "net_rx_action runs").function_id(), fn::net_rx_action);
    EXPECT_EQ(last_event(t.trace, "udp_recvmsg runs, 2nd time").packet, 2U);
    EXPECT_EQ(where(t.trace, "udp_recvmsg runs, 3rd time"), std::nullopt);
}

TEST(Stops, TimeCountsFromTheBegin)
{
    test::SmallTrace t;
    EXPECT_EQ(last_event(t.trace, "0.1 us").event_kind(), EventKind::irq_raise);
    EXPECT_EQ(where(t.trace, "5 s"), std::nullopt);
}

TEST(Stops, WhatTheTraceLacksIsNotFound)
{
    test::SmallTrace t;
    EXPECT_EQ(where(t.trace, "packet 9 enters ip_rcv"), std::nullopt);
    EXPECT_EQ(where(t.trace, "packet 1 enters ip_forward"), std::nullopt);
    EXPECT_EQ(where(t.trace, "packet 1 joins nowhere"), std::nullopt);
    Trace nothing;
    EXPECT_EQ(where(nothing, "first drop"), std::nullopt);
    EXPECT_EQ(where(nothing, "1 us"), std::nullopt);
}

TEST(Stops, NonsenseIsRefusedWithAnExample)
{
    for (const char* text : {"", "packet", "packet 0 born", "packet x born", "packet 1 explodes",
                             "first drop NO_SUCH_REASON", "queue :5001 holds many", "interrupt lost",
                             "ip_rcv", "12.5 parsecs", "-1 us", "1e9 s", "packet 99999999999 born"}) {
        const auto stop = parse_stop(text);
        ASSERT_FALSE(stop) << text;
        EXPECT_THAT(stop.error().remedy, testing::HasSubstr("packet 1 enters ip_rcv"));
    }
    EXPECT_FALSE(parse_stop(std::string(100000, 'x')));
}

TEST(Stops, QueuesAreFoundByNameBeginningRoomAndKind)
{
    test::SmallTrace t;
    EXPECT_EQ(find_queue(t.trace, ":5001 receive queue"), t.socket);
    EXPECT_EQ(find_queue(t.trace, ":5001"), t.socket);
    EXPECT_EQ(find_queue(t.trace, "socket_rx_queue"), t.socket);
    EXPECT_EQ(find_queue(t.trace, "rx_ring"), t.ring);
    EXPECT_EQ(find_queue(t.trace, ":50"), QueueId::none);
    EXPECT_EQ(find_queue(t.trace, ""), QueueId::none);
}

} // namespace
} // namespace skbscope
