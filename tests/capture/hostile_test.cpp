// Recordings that lack pages, begin and end in the middle, or come from kernels and machines that nobody thought of: a verdict may be
// unknown then, never wrong.

#include "core/catalog/catalog.h"
#include "tests/capture/invented_records.h"

#include <functional>
#include <gmock/gmock.h>

namespace skbscope {
namespace {

using ::testing::ElementsAre;
using namespace testing;

// ---- pages lost ------------------------------------------------------------------------------------------------------------------------

TEST(LostPages, ADropBehindThemIsNotThatOfWhoeverHadTheAddressBefore)
{
    TraceDatBuilder trace;
    trace.on(0, TraceDatBuilder::softirq).softirq_entry();
    event_arrives(trace, skb_a);
    trace.lost(50).dropped(skb_a, "__udp4_lib_rcv", 3).softirq_exit();
    const Trace result = imported(trace);
    ASSERT_GE(result.packet_count(), 1U);
    EXPECT_EQ(result.packet(PacketId{1}).verdict, Verdict::lost)
        << "fifty records may have ended it and begun another";
    EXPECT_TRUE(result.packet(PacketId{1}).touched_by_loss);
}

TEST(LostPages, ADropWithinTheSameFunctionsIsNotEither)
{
    TraceDatBuilder trace;
    arrives_alone(trace, skb_a);
    trace.lost(50);
    trace.call("udp_rcv", "ip_protocol_deliver_rcu")
        .call("kfree_skb_reason", "__udp4_lib_rcv")
        .dropped(skb_a, "__udp4_lib_rcv", 3)
        .softirq_exit();
    const Trace result = imported(trace);
    ASSERT_GE(result.packet_count(), 1U);
    EXPECT_EQ(result.packet(PacketId{1}).verdict, Verdict::lost);
    EXPECT_EQ(std::ranges::count(own_calls(result, PacketId{1}), "udp_rcv"), 0)
        << "a call behind them serves nobody known";
}

TEST(LostPages, OfAnotherCpuSayNothingOfAPacketThatThisOneServesMeanwhile)
{
    TraceDatBuilder trace;
    arrives_alone(trace, skb_a);
    trace.on(1, TraceDatBuilder::task, 171)
        .call("udp_recvmsg", "inet_recvmsg")
        .lost(50)
        .call("udp_recvmsg", "inet_recvmsg");
    trace.on(0, TraceDatBuilder::softirq)
        .call("ip_list_rcv", "__netif_receive_skb_list_core")
        .call("ip_rcv_core", "ip_list_rcv");
    trace.call("kfree_skb_reason", "ip_rcv_core").dropped(skb_a, "ip_rcv_core", 2).softirq_exit();
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 1U);
    EXPECT_EQ(result.packet(PacketId{1}).verdict, Verdict::dropped);
}

TEST(LostPages, WhatArrivesUnderAnAddressOfBeforeIsAnotherPacket)
{
    TraceDatBuilder trace;
    trace.on(0, TraceDatBuilder::softirq)
        .softirq_entry()
        .gro_entry(skb_a, 92)
        .gro_exit(3); // not received yet
    trace.lost(50).received(skb_a, 1500).dropped(skb_a, "__udp4_lib_rcv", 3).softirq_exit();
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 2U);
    EXPECT_THAT(verdicts_of(result), ElementsAre(Verdict::lost, Verdict::dropped));
    EXPECT_EQ(result.packet(PacketId{1}).length, 106U);
    EXPECT_EQ(result.packet(PacketId{2}).length, 1514U);
}

TEST(LostPages, WhatAProbeNamesByAnAddressOfBeforeIsAnotherPacket)
{
    const auto arrivals = [](bool is_whole) {
        TraceDatBuilder trace;
        arrives_alone(trace, skb_a);
        is_routed(trace);
        if (!is_whole) {
            trace.lost(50);
        }
        trace.probed("udp_rcv", skb_a).dropped(skb_a, "__udp4_lib_rcv", 3).softirq_exit();
        const Trace result = imported(trace);
        return std::ranges::count(own_calls(result, PacketId{1}), "udp_rcv");
    };
    EXPECT_EQ(arrivals(true), 1);
    EXPECT_EQ(arrivals(false), 0);
}

TEST(LostPages, WhatASocketHadBeforeThemWasDelivered)
{
    TraceDatBuilder trace;
    arrives_alone(trace, skb_a);
    is_routed(trace);
    deliver(trace);
    trace.lost(50)
        .call("udp_rcv", "ip_protocol_deliver_rcu")
        .call("kfree_skb_reason", "__udp4_lib_rcv")
        .dropped(skb_a, "__udp4_lib_rcv", 3)
        .softirq_exit();
    const Trace result = imported(trace);
    EXPECT_EQ(result.packet(PacketId{1}).verdict, Verdict::delivered);
}

TEST(LostPages, ASegmentThatMayHaveBeenFreedInThemIsNotWhatTcpFreesLater)
{
    TraceDatBuilder trace;
    arrives_alone(trace, skb_a);
    is_routed(trace);
    trace.call("ip_local_deliver", "ip_sublist_rcv_finish");
    trace.call("ip_local_deliver_finish", "ip_sublist_rcv_finish")
        .call("tcp_v4_rcv", "ip_protocol_deliver_rcu")
        .call("tcp_v4_do_rcv", "tcp_v4_rcv");
    trace.lost(300);
    trace.call("tcp_ack", "tcp_rcv_established")
        .call("__kfree_skb", "tcp_data_queue")
        .call("skb_release_data", "__kfree_skb");
    trace.softirq_exit();
    const Trace result = imported(trace);
    ASSERT_GE(result.packet_count(), 1U);
    const Verdict verdict = result.packet(PacketId{1}).verdict;
    EXPECT_TRUE(verdict == Verdict::lost || verdict == Verdict::in_flight) << static_cast<int>(verdict);
    EXPECT_EQ(std::ranges::count(own_calls(result, PacketId{1}), "__kfree_skb"), 0);
}

TEST(LostPages, WhichSegmentIsReadBehindThemIsNotGuessed)
{
    const auto copies = [](bool is_whole) {
        TraceDatBuilder trace;
        arrives_alone(trace, skb_a);
        is_routed(trace);
        trace.call("ip_local_deliver", "ip_sublist_rcv_finish").call("tcp_v4_rcv", "ip_protocol_deliver_rcu");
        trace.call("tcp_v4_do_rcv", "tcp_v4_rcv").call("tcp_rcv_established", "tcp_v4_do_rcv");
        trace.call("tcp_queue_rcv", "tcp_rcv_established").softirq_exit();
        trace.on(1, TraceDatBuilder::task, 171);
        if (!is_whole) {
            trace.lost(50); // in which it may have been read
        }
        trace.call("tcp_recvmsg", "inet_recvmsg").call("tcp_recvmsg_locked", "tcp_recvmsg");
        trace.call("skb_copy_datagram_iter", "tcp_recvmsg_locked");
        const Trace result = imported(trace);
        EXPECT_EQ(result.packet(PacketId{1}).verdict, Verdict::delivered);
        return std::ranges::count(own_calls(result, PacketId{1}), "skb_copy_datagram_iter");
    };
    EXPECT_EQ(copies(true), 1);
    EXPECT_EQ(copies(false), 0);
}

TEST(LostPages, WhatWaitedInAQdiscIsNotWhatIsRefusedThereLater)
{
    TraceDatBuilder trace;
    trace.on(1, TraceDatBuilder::task, 171).queued(skb_a, 106);
    trace.lost(50).dropped(skb_a, "__dev_queue_xmit", 2);
    const Trace result = imported(trace);
    EXPECT_EQ(result.packet(PacketId{1}).verdict, Verdict::lost);
}

// ---- recordings that begin and end in the middle ---------------------------------------------------------------------------------------

TEST(CutRecording, WhatBeganBeforeItHasNoVerdictThatItsEndAloneTells)
{
    TraceDatBuilder trace;
    trace.on(0, TraceDatBuilder::softirq)
        .gro_exit(3)
        .call("udp_rcv", "ip_protocol_deliver_rcu")
        .call("__udp_enqueue_schedule_skb", "udp_queue_rcv_one_skb");
    trace.softirq_exit();
    trace.on(1, TraceDatBuilder::task, 171)
        .transmitted(skb_b, 106)
        .consumed(skb_b)
        .call("skb_consume_udp", "udp_recvmsg")
        .consumed(skb_c);
    trace.dequeued(skb_a, 5).read_returns(7, 17, 20).dropped(skb_c, "__dev_queue_xmit", 2);
    const Trace result = imported(trace);
    for (const PacketRecord& packet : result.packets()) {
        EXPECT_TRUE(packet.verdict == Verdict::in_flight || packet.verdict == Verdict::lost)
            << to_index(packet.id) << ": " << static_cast<int>(packet.verdict);
    }
}

TEST(CutRecording, ThatEndsAnywhereInAFlowLeavesWhatIsOpenOpen)
{
    // One datagram in and one out, cut behind each record.
    const auto recorded = [](std::size_t records) {
        TraceDatBuilder trace;
        std::size_t left = records;
        const auto add = [&](const std::function<void()>& record) {
            if (left > 0) {
                --left;
                record();
            }
        };
        trace.on(0, TraceDatBuilder::softirq);
        add([&] { trace.softirq_entry(); });
        add([&] { trace.gro_entry(skb_a, 92); });
        add([&] { trace.gro_exit(3); });
        add([&] { trace.received(skb_a, 92); });
        add([&] { trace.data_ready(7, 17); });
        add([&] { trace.softirq_exit(); });
        trace.on(1, TraceDatBuilder::task, 171);
        add([&] { trace.consumed(skb_a); });
        add([&] { trace.queued(skb_b, 106); });
        add([&] { trace.starts(skb_b, 106); });
        add([&] { trace.transmitted(skb_b, 106); });
        add([&] { trace.consumed(skb_b); });
        return imported(trace);
    };
    for (std::size_t records = 1; records <= 11; ++records) {
        const Trace result = recorded(records);
        const auto verdicts = verdicts_of(result);
        if (!verdicts.empty()) {
            EXPECT_EQ(verdicts[0], records >= 5 ? Verdict::delivered : Verdict::in_flight) << records;
        }
        if (verdicts.size() > 1) {
            EXPECT_EQ(verdicts[1], records >= 10 ? Verdict::sent : Verdict::in_flight) << records;
        }
        EXPECT_EQ(verdicts.size(), records < 2 ? 0U : records < 8 ? 1U : 2U) << records;
    }
}

// ---- bridges, VLANs, namespaces -------------------------------------------------------------------------------------------------------

TEST(StackedDevices, APacketThatComesUpThroughABridgeStaysOne)
{
    for (const bool functions : {true, false}) {
        TraceDatBuilder trace;
        trace.on(0, TraceDatBuilder::softirq).softirq_entry();
        if (functions) {
            arrives_alone(trace, skb_a);
            trace.call("br_handle_frame", "__netif_receive_skb_core")
                .call("br_pass_frame_up", "br_handle_frame_finish");
            trace.call("netif_receive_skb", "br_netif_receive_skb")
                .call("__netif_receive_skb_core", "__netif_receive_skb_one_core");
        } else {
            event_arrives(trace, skb_a);
        }
        trace.device("br0").received(skb_a, 92).device("eth0");
        trace.dropped(skb_a, "__udp4_lib_rcv", 3).softirq_exit();
        const Trace result = imported(trace);
        EXPECT_THAT(verdicts_of(result), ElementsAre(Verdict::dropped))
            << (functions ? "functions" : "events");
    }
}

TEST(StackedDevices, ASocketIsToldOnceOfWhatCameUpThroughABridge)
{
    TraceDatBuilder trace;
    trace.on(0, TraceDatBuilder::softirq).softirq_entry();
    event_arrives(trace, skb_a);
    trace.device("br0").received(skb_a, 92).device("eth0").data_ready(7, 17).softirq_exit();
    EXPECT_THAT(verdicts_of(imported(trace)), ElementsAre(Verdict::delivered));
}

TEST(StackedDevices, WhatComesUpTwiceFromOneDeviceIsTwoPackets)
{
    TraceDatBuilder trace;
    trace.on(0, TraceDatBuilder::softirq).softirq_entry();
    event_arrives(trace, skb_a);
    trace.received(skb_a, 92).dropped(skb_a, "__udp4_lib_rcv", 3).softirq_exit();
    EXPECT_THAT(verdicts_of(imported(trace)), ElementsAre(Verdict::lost, Verdict::dropped));
}

TEST(StackedDevices, APacketThatABridgeForwardsIsForwardedAndNotSent)
{
    TraceDatBuilder trace;
    trace.on(0, TraceDatBuilder::softirq).softirq_entry();
    event_arrives(trace, skb_a);
    trace.device("eth1")
        .queued(skb_a, 106)
        .starts(skb_a, 106)
        .transmitted(skb_a, 106)
        .consumed(skb_a)
        .softirq_exit();
    const Trace result = imported(trace);
    EXPECT_THAT(verdicts_of(result), ElementsAre(Verdict::forwarded));
}

TEST(StackedDevices, ADatagramSentThroughAVlanOrBridgeIsOnePacketOnBothDevices)
{
    TraceDatBuilder trace; // dev_queue_xmit() of eth0.10, whose driver calls dev_queue_xmit() of eth0
    trace.on(1, TraceDatBuilder::task, 171).device("eth0.10").queued(skb_a, 106).starts(skb_a, 106);
    trace.device("eth0").queued(skb_a, 110).starts(skb_a, 110).transmitted(skb_a, 110);
    trace.device("eth0.10").transmitted(skb_a, 106);
    trace.on(0, TraceDatBuilder::softirq).consumed(skb_a);
    const Trace result = imported(trace);
    EXPECT_THAT(verdicts_of(result), ElementsAre(Verdict::sent));
}

TEST(StackedDevices, ARefusalOfTheLowerDeviceIsNotSent)
{
    TraceDatBuilder trace;
    trace.on(1, TraceDatBuilder::task, 171).device("eth0.10").queued(skb_a, 106).starts(skb_a, 106);
    trace.device("eth0").queued(skb_a, 110).dropped(skb_a, "__dev_queue_xmit", 2);
    trace.device("eth0.10").transmitted(skb_a, 106, 1);
    const Trace result = imported(trace);
    EXPECT_THAT(verdicts_of(result), ElementsAre(Verdict::dropped));
}

// ---- newer kernels -----------------------------------------------------------------------------------------------------------------------

TEST(NewerKernel, AReasonThatTheCatalogDoesNotKnowIsADropWithoutReason)
{
    TraceDatBuilder trace;
    trace.on(0, TraceDatBuilder::softirq).softirq_entry();
    event_arrives(trace, skb_a);
    trace.dropped(skb_a, "__udp4_lib_rcv", 9);          // in the recording's own table, by a name of tomorrow
    event_arrives(trace, skb_b);
    trace.dropped(skb_b, "__udp4_lib_rcv", 777);        // not even there
    event_arrives(trace, skb_c);
    trace.dropped(skb_c, "__udp4_lib_rcv", 0x20001)
        .softirq_exit(); // of a subsystem: SKB_DROP_REASON_SUBSYS_SHIFT
    const Trace result = imported(trace);
    EXPECT_THAT(verdicts_of(result), ElementsAre(Verdict::dropped, Verdict::dropped, Verdict::dropped));
    for (const PacketRecord& packet : result.packets()) {
        EXPECT_EQ(packet.reason, DropReasonId::none) << to_index(packet.id);
    }
}

// ---- clocks ------------------------------------------------------------------------------------------------------------------------------

TEST(Clocks, OneThatStepsBackBreaksNothing)
{
    TraceDatBuilder trace;
    for (int n = 0; n < 5; ++n) {
        trace.on(0, TraceDatBuilder::softirq).softirq_entry();
        event_arrives(trace, skb_a);
        trace.back(5'000'000).dropped(skb_a, "__udp4_lib_rcv", 3).softirq_exit();
        trace.wait(n % 2 == 0 ? 1'000'000 : 30'000'000);
    }
    const Trace result = imported(trace);
    std::uint64_t last = 0;
    for (std::size_t at = 0; at < result.size(); ++at) {
        EXPECT_GE(result[at].time_ns, last) << at;
        last = result[at].time_ns;
    }
    for (const PacketRecord& packet : result.packets()) {
        EXPECT_TRUE(packet.death == never || packet.death >= packet.birth) << to_index(packet.id);
    }
}

} // namespace
} // namespace skbscope
