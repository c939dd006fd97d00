// Comparing traces: made by hand here, so that every difference is known.

#include "core/catalog/catalog.h"
#include "core/compare/compare.h"
#include "tests/core/recording/sample_trace.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace skbscope {
namespace {

using ::testing::HasSubstr;

std::vector<std::uint8_t> numbered(int index, std::uint16_t port)
{
    return testing::datagram(port, fmt::format("PKT{:05}", index));
}

/// Packets with a few calls each, in the order in which they are added.
class HandMade {
public:
    Trace trace;

    explicit HandMade(bool observed = false)
    {
        trace.info.observed = observed;
        trace.info.kernel = KernelVersion::v6_1;
        trace.add_host({"dut", 4});
    }
    PacketId packet(int index, Verdict verdict, std::string_view reason = {}, std::uint16_t port = 5001)
    {
        PacketRecord record;
        const auto frame = numbered(index, port);
        record.flow = flow_of_frame(frame);
        record.length = static_cast<std::uint32_t>(frame.size());
        record.verdict = verdict;
        record.reason = Catalog::find_drop_reason(reason);
        record.birth = SimTime{now_};
        const PacketId id = trace.add_packet(record);
        trace.set_frame(id, frame);
        return id;
    }
    HandMade& call(PacketId packet, std::string_view function, Context context, int cpu, int depth, std::uint64_t duration = 1)
    {
        Event event;
        event.time_ns = now_;
        now_ += 10;
        event.duration_ns = static_cast<std::uint32_t>(duration);
        event.packet = to_index(packet);
        event.function = static_cast<std::uint16_t>(trace.function_named(function));
        event.cpu = static_cast<std::uint16_t>(cpu);
        event.depth = static_cast<std::uint8_t>(depth);
        event.flags = Event::make_flags(context, Confidence::certain, trace.info.observed ? via_function : via_model);
        trace.append(event);
        return *this;
    }
    HandMade& usual(PacketId id, int cpu)
    {
        call(PacketId::none, "net_rx_action", Context::softirq, cpu, 0, 45);
        call(id, "ip_rcv", Context::softirq, cpu, 1);
        call(id, "udp_rcv", Context::softirq, cpu, 1);
        return call(id, "udp_recvmsg", Context::process, cpu + 1, 0);
    }

private:
    std::uint64_t now_ = 1000;
};

Comparison compare(const Trace& a, const Trace& b, const CompareOptions& options = {})
{
    JourneyIndex of_a(a);
    JourneyIndex of_b(b);
    of_a.update();
    of_b.update();
    return compare_traces(a, of_a, b, of_b, options);
}

TEST(Compare, ATraceIsTheSameAsItself)
{
    HandMade made;
    made.usual(made.packet(0, Verdict::delivered), 0);
    const Comparison comparison = compare(made.trace, made.trace);
    EXPECT_TRUE(comparison.same());
    EXPECT_EQ(comparison.same_functions(), 1U);
}

TEST(Compare, CpusCountByTheirRoleAndNotByTheirNumber)
{
    HandMade a;
    a.usual(a.packet(0, Verdict::delivered), 0);
    HandMade b;
    b.usual(b.packet(0, Verdict::delivered), 2);
    EXPECT_TRUE(compare(a.trace, b.trace).same());
}

TEST(Compare, NamesTheFirstStepThatDiffers)
{
    HandMade a;
    a.usual(a.packet(0, Verdict::delivered), 0);
    HandMade b;
    const PacketId id = b.packet(0, Verdict::delivered);
    b.call(PacketId::none, "net_rx_action", Context::softirq, 0, 0, 45);
    b.call(id, "ip_rcv", Context::softirq, 0, 1);
    b.call(id, "ip_forward", Context::softirq, 0, 1);
    b.call(id, "udp_recvmsg", Context::process, 1, 0);
    const Comparison comparison = compare(a.trace, b.trace);
    ASSERT_EQ(comparison.packets.size(), 1U);
    ASSERT_TRUE(comparison.packets[0].first);
    EXPECT_EQ(comparison.packets[0].first->in_a, "udp_rcv");
    EXPECT_EQ(comparison.packets[0].first->in_b, "ip_forward");
    EXPECT_EQ(comparison.packets[0].first->context, Context::softirq);
    EXPECT_FALSE(comparison.same());
}

TEST(Compare, AnObservedKernelIsAskedOnlyForWhatItShows)
{
    HandMade model;
    const PacketId in_model = model.packet(0, Verdict::delivered);
    model.call(in_model, "ip_rcv", Context::softirq, 0, 0, 25);
    model.call(in_model, "ip_rcv_core", Context::softirq, 0, 1);
    HandMade real(true);
    real.call(real.packet(0, Verdict::delivered), "ip_rcv", Context::softirq, 0, 0);
    EXPECT_TRUE(compare(model.trace, real.trace).same());
    CompareOptions strict; // the tracer was asked for both
    strict.visible = visible_to(std::vector<std::string>{"ip_rcv", "ip_rcv_core"}, {}, KernelVersion::v6_1);
    EXPECT_FALSE(compare(model.trace, real.trace, strict).same());
}

TEST(Compare, RenamedFunctionsAreTheSameFunction)
{
    HandMade a;
    a.call(a.packet(0, Verdict::dropped, "NO_SOCKET"), "kfree_skb_reason", Context::softirq, 0, 0);
    HandMade b;
    b.call(b.packet(0, Verdict::dropped, "NO_SOCKET"), "sk_skb_reason_drop", Context::softirq, 0, 0);
    EXPECT_TRUE(compare(a.trace, b.trace).same());
}

TEST(Compare, OfPartsThatTheCompilerSplitOffNothingIsExpected)
{
    const auto visible = visible_to(std::vector<std::string>{"ip_route_input_rcu.part.0", "ip_rcv_finish_core.constprop.0"}, {}, KernelVersion::v6_1);
    EXPECT_FALSE(visible.functions.contains("ip_route_input_rcu"));
    EXPECT_TRUE(visible.functions.contains("ip_rcv_finish_core"));
}

TEST(Compare, VerdictsAndReasonsAreHeldApart)
{
    HandMade a;
    HandMade b;
    a.usual(a.packet(0, Verdict::dropped, "NO_SOCKET"), 0).usual(a.packet(1, Verdict::delivered), 0);
    b.usual(b.packet(0, Verdict::dropped, "SOCKET_RCVBUFF"), 0).usual(b.packet(1, Verdict::dropped, "NO_SOCKET"), 0);
    const Comparison comparison = compare(a.trace, b.trace);
    EXPECT_EQ(comparison.same_verdict(), 1U);
    EXPECT_EQ(comparison.same_reason(), 0U);
    const std::string text = comparison_to_text(comparison, a.trace, b.trace, "a", "b");
    EXPECT_THAT(text, HasSubstr("2 packets whose fate changed"));
    EXPECT_THAT(text, HasSubstr("delivered | dropped (NO_SOCKET)"));
}

TEST(Compare, TellsWhichDatagramsOfAFlowArrived)
{
    HandMade a;
    HandMade b;
    for (int i = 0; i < 4; ++i) {
        a.usual(a.packet(i, i == 1 ? Verdict::dropped : Verdict::delivered), 0);
        b.usual(b.packet(i, i == 3 ? Verdict::dropped : Verdict::delivered), 0);
    }
    const Comparison comparison = compare(a.trace, b.trace);
    ASSERT_EQ(comparison.arrivals.size(), 1U);
    EXPECT_THAT(comparison.arrivals[0].only_in_a, ::testing::ElementsAre(3));
    EXPECT_THAT(comparison.arrivals[0].only_in_b, ::testing::ElementsAre(1));
}

TEST(Align, APayloadsNumberSaysWhichDatagramIsMissing)
{
    HandMade a;
    HandMade b;
    for (int i = 0; i < 5; ++i) {
        a.packet(i, Verdict::delivered);
        if (i != 2) {
            b.packet(i, Verdict::delivered);
        }
    }
    const auto pairs = align_packets(a.trace, b.trace);
    ASSERT_EQ(pairs.size(), 5U);
    EXPECT_EQ(pairs[2].b, PacketId::none);
    EXPECT_EQ(pairs[3].b, static_cast<PacketId>(3));
    EXPECT_EQ(pairs[4].b, static_cast<PacketId>(4));
}

TEST(Align, FlowsDoNotMix)
{
    HandMade a;
    HandMade b;
    a.packet(0, Verdict::delivered, {}, 5001);
    a.packet(0, Verdict::delivered, {}, 5002);
    b.packet(0, Verdict::delivered, {}, 5002);
    b.packet(0, Verdict::delivered, {}, 5001);
    const auto pairs = align_packets(a.trace, b.trace);
    EXPECT_EQ(pairs[0].b, static_cast<PacketId>(2));
    EXPECT_EQ(pairs[1].b, static_cast<PacketId>(1));
}

TEST(Align, WhatATracepointShowedWithoutItsFlowStandsWhereTheFlowLacksOne)
{
    HandMade a;
    HandMade b(true);
    for (int i = 0; i < 3; ++i) {
        a.packet(0, Verdict::delivered);
        PacketRecord bare = a.trace.packet(static_cast<PacketId>(i + 1));
        bare.captured_length = 0;
        if (i == 0) {
            bare.flow.reset(); // it waited for its neighbour
        }
        b.trace.add_packet(bare);
    }
    const auto pairs = align_packets(a.trace, b.trace, {}, {}, true);
    ASSERT_EQ(pairs.size(), 3U);
    for (std::size_t i = 0; i < pairs.size(); ++i) {
        EXPECT_EQ(pairs[i].a, pairs[i].b) << i;
    }
}

TEST(Compare, ATraceOfTracepointsIsComparedWhereTheyStand)
{
    HandMade model;
    HandMade real(true);
    for (HandMade* side : {&model, &real}) {
        const PacketId id = side->packet(0, Verdict::delivered);
        side->call(id, "__netif_receive_skb_core", Context::softirq, 0, 0, 100);
        if (side == &model) {
            side->call(id, "ip_rcv", Context::softirq, 0, 1);
        }
        side->call(id, side == &model ? "sock_def_readable" : "__dev_queue_xmit", Context::softirq, 0, 1);
    }
    Trace tracepoints;
    tracepoints.info = real.trace.info;
    tracepoints.add_host({"dut", 4});
    PacketRecord bare = real.trace.packet(static_cast<PacketId>(1));
    bare.captured_length = 0;
    tracepoints.add_packet(bare);
    for (std::size_t i = 0; i < real.trace.size(); ++i) {
        Event event = real.trace[i];
        event.flags = Event::make_flags(event.context(), Confidence::certain, via_tracepoint);
        tracepoints.append(event);
    }
    EXPECT_EQ(tracepoint_places(tracepoints), (FunctionNames{"__dev_queue_xmit", "__netif_receive_skb_core"}));
    EXPECT_TRUE(tracepoint_places(real.trace).empty()) << "a tracer showed functions";
    JourneyIndex of_model(model.trace);
    JourneyIndex of_real(tracepoints);
    of_model.update();
    of_real.update();
    const auto comparison = compare_traces(model.trace, of_model, tracepoints, of_real);
    EXPECT_TRUE(comparison.by_tracepoints);
    ASSERT_EQ(comparison.packets.size(), 1U);
    ASSERT_TRUE(comparison.packets.front().first);
    EXPECT_EQ(comparison.packets.front().first->in_b, "__dev_queue_xmit");
    EXPECT_EQ(comparison.packets.front().first->in_a, "") << "neither ip_rcv nor the reader's wakeup can be seen there";
}

TEST(Align, ABrokenFrameHasNoNumber)
{
    auto frame = numbered(7, 5001);
    EXPECT_EQ(payload_index(frame), 7);
    for (std::size_t length = 0; length < frame.size(); ++length) {
        EXPECT_EQ(payload_index(std::span(frame).first(length)), -1) << length;
    }
    frame[14] = 0x4f; // a header longer than the frame
    EXPECT_EQ(payload_index(frame), -1);
}

/// A segment from 10.99.0.2:44008 or, `back`, to it.
void add_segment(Trace& trace, std::uint32_t sequence, std::size_t bytes, bool back = false)
{
    const std::vector<std::uint8_t> payload(bytes, 0x55);
    TcpFrame frame;
    frame.source = *IpAddress::parse(back ? "10.99.0.1" : "10.99.0.2");
    frame.destination = *IpAddress::parse(back ? "10.99.0.2" : "10.99.0.1");
    frame.tcp.source_port = back ? 5008 : 44008;
    frame.tcp.destination_port = back ? 44008 : 5008;
    frame.tcp.sequence = sequence;
    frame.tcp.flags = 0x10;
    frame.payload = payload;
    const auto built = build_tcp_frame(frame);
    PacketRecord record;
    record.flow = flow_of_frame(built);
    record.length = static_cast<std::uint32_t>(built.size());
    trace.set_frame(trace.add_packet(record), built);
}

std::vector<std::uint64_t> bytes_of(const Trace& trace)
{
    std::vector<std::uint64_t> bytes;
    for (const auto& [flow, count] : tcp_bytes_of(trace)) {
        bytes.push_back(count);
    }
    return bytes;
}

TEST(Align, BytesOfAConnectionCountOnceHoweverOftenTheyWent)
{
    HandMade made;
    add_segment(made.trace, 0xffffff00, 0); // the number wraps below
    add_segment(made.trace, 0xffffff00, 1000);
    add_segment(made.trace, 1000 - 256, 1000);
    add_segment(made.trace, 0xffffff00, 1500); // joined of two pieces
    add_segment(made.trace, 1000 - 256, 1000); // once more
    add_segment(made.trace, 5000, 0, true);
    EXPECT_THAT(bytes_of(made.trace), ::testing::ElementsAre(0, 2000));
    add_segment(made.trace, 3000 - 256, 10); // a gap before it is not carried
    EXPECT_THAT(bytes_of(made.trace), ::testing::ElementsAre(0, 2010));
    EXPECT_TRUE(tcp_bytes_of(made.trace, [](const PacketRecord&) { return false; }).empty());
}

TEST(Compare, EmptyTracesAreTheSame)
{
    const HandMade a;
    const HandMade b;
    const Comparison comparison = compare(a.trace, b.trace);
    EXPECT_TRUE(comparison.same());
    EXPECT_TRUE(nlohmann::json::parse(comparison_to_json(comparison, a.trace, b.trace)).at("same").get<bool>());
}

} // namespace
} // namespace skbscope
