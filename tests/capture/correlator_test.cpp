// Attribution on invented records that follow the kernel's own order of calls: what the recordings at hand do
// not show.

#include "capture/import.h"
#include "capture/packet_book.h"
#include "core/catalog/catalog.h"
#include "core/packet/build.h"
#include "core/packet/views.h"
#include "core/trace/journey.h"
#include "tests/capture/invented_records.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>
#include <unistd.h>

namespace skbscope {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using namespace testing;

const std::vector<std::string> path_of_one = {
    "__napi_alloc_skb",         "eth_type_trans", "napi_gro_receive",          "dev_gro_receive",
    "__netif_receive_skb_core", "ip_rcv_core",    "ip_rcv_finish_core",        "ip_local_deliver",
    "ip_local_deliver_finish",  "udp_rcv",        "__udp_enqueue_schedule_skb"};

TEST(Correlator, BatchOfThreeIsServedInOrderAndEachCallGoesToItsPacket)
{
    TraceDatBuilder trace;
    poll_begins(trace);
    for (const std::uint64_t skb : {skb_a, skb_b, skb_c}) {
        frame_arrives(trace, skb);
    }
    list_begins(trace);
    for (const std::uint64_t skb : {skb_a, skb_b, skb_c}) {
        core(trace, skb);
    }
    trace.call("ip_list_rcv", "__netif_receive_skb_list_core");
    for (int i = 0; i < 3; ++i) {
        trace.call("ip_rcv_core", "ip_list_rcv");
    }
    trace.call("ip_sublist_rcv", "ip_list_rcv");
    for (int i = 0; i < 3; ++i) { // the same route for all: one sublist
        trace.call("ip_rcv_finish_core.constprop.0", "ip_sublist_rcv");
    }
    for (int i = 0; i < 3; ++i) {
        deliver(trace);
    }
    trace.softirq_exit();

    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 3U);
    for (std::uint32_t id = 1; id <= 3; ++id) {
        EXPECT_EQ(own_calls(result, PacketId{id}), path_of_one) << "packet " << id;
        EXPECT_EQ(result.packet(PacketId{id}).verdict, Verdict::delivered);
    }
    for (std::size_t i = 0; i < result.size(); ++i) {
        const std::string_view name = result.function_name(result[i].function_id());
        if (result[i].is_call() && (name == "ip_rcv_core" || name == "ip_local_deliver")) {
            EXPECT_EQ(result[i].confidence(), Confidence::assumed) << "only the order tells";
        }
    }
}

TEST(Correlator, ListPartedByRouteInterleavesRoutingAndDelivery)
{
    TraceDatBuilder trace;
    poll_begins(trace);
    frame_arrives(trace, skb_a);
    frame_arrives(trace, skb_b);
    list_begins(trace);
    core(trace, skb_a);
    core(trace, skb_b);
    trace.call("ip_list_rcv", "__netif_receive_skb_list_core").call("ip_rcv_core", "ip_list_rcv");
    trace.call("ip_rcv_core", "ip_list_rcv").call("ip_sublist_rcv", "ip_list_rcv");
    // ip_list_rcv_finish hands over the sublist when the next packet's route differs: after having routed
    // that one.
    trace.call("ip_rcv_finish_core.constprop.0", "ip_sublist_rcv")
        .call("ip_rcv_finish_core.constprop.0", "ip_sublist_rcv");
    deliver(trace);
    deliver(trace);
    trace.softirq_exit();
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 2U);
    EXPECT_EQ(own_calls(result, PacketId{1}), path_of_one);
    EXPECT_EQ(own_calls(result, PacketId{2}), path_of_one);
}

TEST(Correlator, PacketDroppedInTheListLeavesItsPlaceToTheNext)
{
    TraceDatBuilder trace;
    poll_begins(trace);
    frame_arrives(trace, skb_a);
    frame_arrives(trace, skb_b);
    list_begins(trace);
    core(trace, skb_a);
    core(trace, skb_b);
    trace.call("ip_list_rcv", "__netif_receive_skb_list_core").call("ip_rcv_core", "ip_list_rcv");
    trace.call("kfree_skb_reason", "ip_rcv_core").dropped(skb_a, "ip_rcv_core", 2);
    trace.call("ip_rcv_core", "ip_list_rcv").call("ip_sublist_rcv", "ip_list_rcv");
    trace.call("ip_rcv_finish_core.constprop.0", "ip_sublist_rcv");
    deliver(trace);
    trace.softirq_exit();
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 2U);
    EXPECT_EQ(result.packet(PacketId{1}).verdict, Verdict::dropped);
    EXPECT_EQ(Catalog::drop_reason(result.packet(PacketId{1}).reason).name, "NOT_SPECIFIED");
    EXPECT_EQ(own_calls(result, PacketId{2}), path_of_one);
    EXPECT_EQ(result.packet(PacketId{2}).verdict, Verdict::delivered);
}

TEST(Correlator, SharedCallsStandOnceAndInEachJourney)
{
    TraceDatBuilder trace;
    trace.on(0, TraceDatBuilder::hardirq).call("e1000_intr", "__handle_irq_event_percpu");
    trace.number_event(29, 3);
    poll_begins(trace);
    frame_arrives(trace, skb_a);
    frame_arrives(trace, skb_b);
    list_begins(trace);
    core(trace, skb_a);
    core(trace, skb_b);
    trace.softirq_exit();
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 2U);
    for (const PacketId id : {PacketId{1}, PacketId{2}}) {
        EXPECT_THAT(journey_calls(result, id),
                    ElementsAre("e1000_intr", "handle_softirqs", "net_rx_action", "__napi_poll",
                                "e1000_clean", "e1000_clean_rx_irq", "__napi_alloc_skb", "eth_type_trans",
                                "napi_gro_receive", "dev_gro_receive", "napi_complete_done",
                                "netif_receive_skb_list_internal", "__netif_receive_skb_list_core",
                                "__netif_receive_skb_core"));
    }
}

TEST(Correlator, FirstFragmentIsMergedIntoTheOneThatCompletesTheDatagram)
{
    TraceDatBuilder trace;
    poll_begins(trace);
    for (const std::uint64_t skb : {skb_a, skb_b}) {
        frame_arrives(trace, skb);
    }
    list_begins(trace);
    for (const std::uint64_t skb : {skb_a, skb_b}) {
        core(trace, skb);
    }
    trace.call("ip_list_rcv", "__netif_receive_skb_list_core")
        .call("ip_rcv_core", "ip_list_rcv")
        .call("ip_rcv_core", "ip_list_rcv");
    trace.call("ip_sublist_rcv", "ip_list_rcv");
    for (int fragment = 0; fragment < 2; ++fragment) {
        trace.call("ip_rcv_finish_core.constprop.0", "ip_sublist_rcv");
    }
    for (int fragment = 0; fragment < 2; ++fragment) {
        trace.call("ip_local_deliver", "ip_sublist_rcv_finish")
            .call("ip_defrag", "ip_local_deliver")
            .call("inet_frag_find", "ip_defrag");
    }
    trace.call("skb_clone", "inet_frag_reasm_prepare")
        .call("consume_skb", "inet_frag_reasm_prepare")
        .consumed(skb_a);
    trace.call("skb_release_data", "consume_skb").call("kfree_skbmem", "inet_frag_reasm_prepare");
    trace.call("ip_local_deliver_finish", "ip_local_deliver").call("udp_rcv", "ip_protocol_deliver_rcu");
    trace.call("__udp_enqueue_schedule_skb", "udp_queue_rcv_one_skb").softirq_exit();
    const Trace result = imported(trace);
    ASSERT_GE(result.packet_count(), 2U);
    EXPECT_EQ(result.packet(PacketId{1}).verdict, Verdict::merged);
    EXPECT_EQ(result.packet(PacketId{1}).merged_into, PacketId{2});
    EXPECT_EQ(result.packet(PacketId{2}).verdict, Verdict::delivered);
}

TEST(Correlator, EveryFragmentIsMergedIntoTheOneThatCompletesTheDatagram)
{
    TraceDatBuilder trace;
    for (const std::uint64_t skb : {skb_a, skb_b, skb_c}) {
        arrives_alone(trace, skb);
        is_routed(trace);
        trace.call("ip_local_deliver", "ip_sublist_rcv_finish");
        trace.call("ip_defrag", "ip_local_deliver")
            .call("inet_frag_find", "ip_defrag")
            .call("inet_frag_queue_insert", "ip_defrag");
        if (skb != skb_c) {
            trace.softirq_exit();
        }
    }
    trace.call("skb_clone", "inet_frag_reasm_prepare")
        .call("skb_release_head_state", "skb_morph")
        .call("skb_release_data", "skb_morph");
    trace.call("consume_skb", "inet_frag_reasm_prepare")
        .consumed(skb_a)
        .call("skb_release_data", "consume_skb")
        .call("kfree_skbmem", "inet_frag_reasm_prepare");
    trace.call("skb_release_head_state", "kfree_skb_partial")
        .call("skb_release_data", "kfree_skb_partial")
        .call("kfree_skbmem", "inet_frag_reasm_finish");
    trace.call("skb_release_head_state", "kfree_skb_partial"); // its head was taken over: no kfree_skbmem
    trace.call("ip_local_deliver_finish", "ip_sublist_rcv_finish").call("udp_rcv", "ip_protocol_deliver_rcu");
    trace.call("__udp_enqueue_schedule_skb", "udp_queue_rcv_one_skb").softirq_exit();
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 4U)
        << "three fragments, and the clone that stands for the last one's bytes";
    constexpr PacketId whole{3};
    for (const PacketId id : {PacketId{1}, PacketId{2}, PacketId{4}}) {
        EXPECT_EQ(result.packet(id).verdict, Verdict::merged) << to_index(id);
        EXPECT_EQ(result.packet(id).merged_into, whole) << to_index(id);
        EXPECT_NE(result.packet(id).death, never) << to_index(id);
    }
    EXPECT_EQ(result.packet(whole).verdict, Verdict::delivered);
    const auto of_second = own_calls(result, PacketId{2});
    ASSERT_GE(of_second.size(), 3U);
    EXPECT_EQ(std::vector(of_second.end() - 3, of_second.end()),
              (std::vector<std::string>{"skb_release_head_state", "skb_release_data", "kfree_skbmem"}))
        << "kfree_skb_partial(), which is not traced, ends in a jump there";
    EXPECT_THAT(own_calls(result, PacketId{4}), ElementsAre("skb_release_head_state"));
    const auto of_whole = own_calls(result, whole);
    EXPECT_EQ(std::ranges::count(of_whole, "kfree_skbmem"), 0) << "it lives on";
    ASSERT_GE(of_whole.size(), 3U);
    EXPECT_EQ(std::vector(of_whole.end() - 3, of_whole.end()),
              (std::vector<std::string>{"ip_local_deliver_finish", "udp_rcv", "__udp_enqueue_schedule_skb"}));
}

/// A segment on its way up to tcp_data_queue(); the poll is left open.
void segment_arrives(TraceDatBuilder& trace, std::uint64_t skb)
{
    arrives_alone(trace, skb);
    is_routed(trace);
    trace.call("ip_local_deliver", "ip_sublist_rcv_finish");
    trace.call("ip_local_deliver_finish", "ip_sublist_rcv_finish")
        .call("tcp_v4_rcv", "ip_protocol_deliver_rcu")
        .call("tcp_v4_do_rcv", "tcp_v4_rcv");
    trace.call("tcp_rcv_established", "tcp_v4_do_rcv").call("tcp_data_queue", "tcp_rcv_established");
}

TEST(Correlator, SegmentThatTcpNeitherQueuesNorFreesIsAcceptedOutOfOrder)
{
    TraceDatBuilder trace;
    segment_arrives(trace, skb_a); // a bare ACK
    trace.call("__kfree_skb", "tcp_data_queue").call("skb_release_head_state", "__kfree_skb").softirq_exit();
    segment_arrives(trace, skb_b); // in order
    trace.call("tcp_queue_rcv", "tcp_data_queue").softirq_exit();
    segment_arrives(trace, skb_c); // one is missing before it
    trace.softirq_exit();
    segment_arrives(trace, skb_a); // that one
    trace.call("tcp_queue_rcv", "tcp_data_queue")
        .call("skb_release_head_state", "kfree_skb_partial")
        .softirq_exit();
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 4U);
    EXPECT_EQ(result.packet(PacketId{1}).verdict, Verdict::consumed);
    for (const PacketId id : {PacketId{2}, PacketId{3}, PacketId{4}}) {
        EXPECT_EQ(result.packet(id).verdict, Verdict::delivered) << to_index(id);
    }
    EXPECT_EQ(own_calls(result, PacketId{3}).back(), "skb_release_head_state");
    EXPECT_NE(result.packet(PacketId{3}).death, never);
}

TEST(Correlator, FragmentsOfALongDatagramArePacketsOfTheirOwnFromTheirAllocation)
{
    TraceDatBuilder trace;
    trace.on(1, TraceDatBuilder::task, 172)
        .call("__x64_sys_sendto", "do_syscall_64")
        .call("udp_sendmsg", "inet_sendmsg")
        .call("ip_make_skb", "udp_sendmsg");
    trace.call("__ip_append_data", "ip_make_skb")
        .call("sock_alloc_send_pskb", "__ip_append_data")
        .call("__alloc_skb", "alloc_skb_with_frags");
    trace.call("ip_generic_getfrag", "__ip_append_data")
        .call("__alloc_skb", "__ip_append_data")
        .call("ip_generic_getfrag", "__ip_append_data");
    trace.call("__ip_make_skb", "ip_make_skb")
        .call("ip_send_skb", "udp_send_skb")
        .call("ip_output", "ip_send_skb")
        .call("ip_do_fragment", "ip_output");
    for (const std::uint64_t skb : {skb_a, skb_b}) {
        trace.call("ip_finish_output2", "ip_do_fragment")
            .call("__dev_queue_xmit", "ip_finish_output2")
            .queued(skb, 1514);
        trace.call("dev_hard_start_xmit", "__dev_queue_xmit")
            .starts(skb, 1514)
            .call("e1000_xmit_frame", "dev_hard_start_xmit")
            .transmitted(skb, 1514);
    }
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 2U);
    for (const PacketId id : {PacketId{1}, PacketId{2}}) {
        const auto calls = own_calls(result, id);
        for (const char* once : {"__alloc_skb", "ip_generic_getfrag", "ip_finish_output2", "__dev_queue_xmit",
                                 "e1000_xmit_frame"}) {
            EXPECT_EQ(std::ranges::count(calls, once), 1) << to_index(id) << " " << once;
        }
        EXPECT_EQ(result.packet(id).verdict, Verdict::sent);
    }
    EXPECT_EQ(result.packet(PacketId{2}).parent, PacketId{1});
}

TEST(Correlator, WhatCutsADatagramEnclosesItsLaterPiecesAlsoWhereItWasReachedByJumps)
{
    TraceDatBuilder trace; // as Debian's 5.10 has it: each of them ends in a jump to the next
    trace.on(1, TraceDatBuilder::task, 172)
        .call("__x64_sys_sendto", "do_syscall_64")
        .call("udp_sendmsg", "inet_sendmsg")
        .call("ip_make_skb", "udp_sendmsg");
    trace.call("__ip_append_data", "ip_make_skb")
        .call("sock_alloc_send_pskb", "__ip_append_data")
        .call("__alloc_skb", "alloc_skb_with_frags");
    trace.call("__alloc_skb", "__ip_append_data")
        .call("ip_send_skb", "udp_send_skb")
        .call("ip_output", "ip_send_skb");
    for (const char* jump :
         {"ip_finish_output", "__ip_finish_output", "ip_fragment.constprop.0", "ip_do_fragment"}) {
        trace.call(jump, "ip_send_skb");
    }
    for (const std::uint64_t skb : {skb_a, skb_b}) {
        trace.call("ip_finish_output2", "ip_do_fragment")
            .call("__dev_queue_xmit", "ip_finish_output2")
            .queued(skb, 1514);
        trace.call("dev_hard_start_xmit", "__dev_queue_xmit")
            .starts(skb, 1514)
            .call("e1000_xmit_frame", "dev_hard_start_xmit")
            .transmitted(skb, 1514);
    }
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 2U);
    EXPECT_THAT(journey_calls(result, PacketId{2}),
                ::testing::IsSupersetOf({"ip_output", "ip_finish_output", "__ip_finish_output", "ip_fragment",
                                         "ip_do_fragment"}));
}

TEST(Correlator, FirstPacketOfARawSocketIsNoFragmentThoughItIsAllocatedLikeOne)
{
    TraceDatBuilder trace;
    trace.on(1, TraceDatBuilder::task, 172)
        .call("__x64_sys_sendto", "do_syscall_64")
        .call("raw_sendmsg", "inet_sendmsg");
    trace.call("__ip_append_data", "ip_append_data")
        .call("__alloc_skb", "__ip_append_data")
        .call("ip_generic_getfrag", "__ip_append_data");
    trace.call("ip_push_pending_frames", "raw_sendmsg")
        .call("ip_output", "ip_push_pending_frames")
        .call("ip_finish_output2", "ip_output");
    trace.call("__dev_queue_xmit", "ip_finish_output2")
        .queued(skb_a, 98)
        .call("dev_hard_start_xmit", "__dev_queue_xmit")
        .starts(skb_a, 98);
    trace.call("e1000_xmit_frame", "dev_hard_start_xmit").transmitted(skb_a, 98);
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 1U);
    EXPECT_THAT(own_calls(result, PacketId{1}),
                ::testing::IsSupersetOf({"__alloc_skb", "ip_generic_getfrag", "e1000_xmit_frame"}));
}

TEST(Correlator, AnAllocationThatJumpsToAnotherMakesOnePacket)
{
    TraceDatBuilder trace;
    trace.on(1, TraceDatBuilder::task, 172)
        .call("__x64_sys_sendto", "do_syscall_64")
        .call("udp_sendmsg", "inet_sendmsg")
        .call("ip_make_skb", "udp_sendmsg");
    trace.call("__ip_append_data", "ip_make_skb")
        .call("sock_alloc_send_skb", "__ip_append_data")
        .call("sock_alloc_send_pskb", "__ip_append_data");
    trace.call("__alloc_skb", "alloc_skb_with_frags")
        .call("ip_generic_getfrag", "__ip_append_data")
        .call("ip_output", "ip_send_skb")
        .call("ip_finish_output2", "ip_output");
    trace.call("__dev_queue_xmit", "ip_finish_output2")
        .queued(skb_a, 98)
        .call("dev_hard_start_xmit", "__dev_queue_xmit")
        .starts(skb_a, 98);
    trace.call("e1000_xmit_frame", "dev_hard_start_xmit").transmitted(skb_a, 98);
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 1U);
    EXPECT_THAT(own_calls(result, PacketId{1}),
                ::testing::IsSupersetOf(
                    {"sock_alloc_send_pskb", "__alloc_skb", "ip_generic_getfrag", "e1000_xmit_frame"}));
}

TEST(Correlator, TracedSoftirqLoopIsOneStepOfTheSoftirqWhateverItsPollsCallerIs)
{
    TraceDatBuilder trace;
    trace.on(0, TraceDatBuilder::hardirq).call("e1000_intr", "__handle_irq_event_percpu").number_event(29, 3);
    trace.on(0, TraceDatBuilder::task)
        .call("handle_softirqs", "__irq_exit_rcu"); // not a softirq yet, say its flags
    trace.on(0, TraceDatBuilder::softirq).softirq_entry().call("net_rx_action", "handle_softirqs");
    trace.call("e1000_clean", "__napi_poll")
        .call("e1000_clean_rx_irq", "e1000_clean"); // __napi_poll itself is not traced
    frame_arrives(trace, skb_a);
    list_begins(trace);
    core(trace, skb_a);
    trace.softirq_exit();
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 1U);
    const auto calls = journey_calls(result, PacketId{1});
    ASSERT_GE(calls.size(), 4U);
    EXPECT_EQ(std::vector(calls.begin(), calls.begin() + 4),
              (std::vector<std::string>{"e1000_intr", "handle_softirqs", "net_rx_action", "e1000_clean"}));
    std::size_t loops = 0;
    for (std::size_t i = 0; i < result.size(); ++i) {
        if (result[i].is_call() && result.function_name(result[i].function_id()) == "handle_softirqs") {
            ++loops;
            EXPECT_EQ(result[i].context(), Context::softirq);
            EXPECT_EQ(result[i].via(), via_function | via_tracepoint);
        }
    }
    EXPECT_EQ(loops, 1U);
}

TEST(Correlator, PacketThatFillsTheListOfANapiIsSteeredWithIt)
{
    TraceDatBuilder trace;
    poll_begins(trace);
    frame_arrives(trace, skb_a);
    trace.call("__napi_alloc_skb", "e1000_clean_rx_irq").call("eth_type_trans", "e1000_clean_rx_irq");
    trace.call("napi_gro_receive", "e1000_clean_rx_irq").gro_entry(skb_b, 92);
    trace.call("netif_receive_skb_list_internal",
               "napi_gro_receive"); // before GRO's event says what became of the second
    for (int packet = 0; packet < 2; ++packet) {
        trace.call("get_rps_cpu", "netif_receive_skb_list_internal")
            .call("enqueue_to_backlog", "netif_receive_skb_list_internal");
    }
    trace.gro_exit(3);
    frame_arrives(trace, skb_c);
    trace.call("napi_complete_done", "e1000_clean")
        .call("netif_receive_skb_list_internal", "napi_complete_done");
    trace.call("get_rps_cpu", "netif_receive_skb_list_internal")
        .call("enqueue_to_backlog", "netif_receive_skb_list_internal");
    trace.softirq_exit();
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 3U);
    for (std::uint32_t id = 1; id <= 3; ++id) {
        const auto calls = own_calls(result, PacketId{id});
        EXPECT_EQ(std::ranges::count(calls, "get_rps_cpu"), 1) << id;
        EXPECT_EQ(std::ranges::count(calls, "enqueue_to_backlog"), 1) << id;
    }
}

TEST(Correlator, AddressThatTheSlabHandsOutAgainIsANewPacket)
{
    TraceDatBuilder trace;
    for (int i = 0; i < 2; ++i) {
        arrives_alone(trace, skb_a);
        trace.call("kfree_skb_reason", "__netif_receive_skb_core")
            .dropped(skb_a, "__netif_receive_skb_core", 2);
        trace.softirq_exit();
    }
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 2U);
    EXPECT_FALSE(result.packet(PacketId{1}).end_inferred);
    EXPECT_LT(result.packet(PacketId{1}).death, result.packet(PacketId{2}).birth);
}

TEST(Correlator, AddressReusedWithoutAFreeEventEndsItsFormerPacketAsInferred)
{
    TraceDatBuilder trace;
    for (int i = 0; i < 2; ++i) {
        poll_begins(trace);
        frame_arrives(trace, skb_a);
        trace.softirq_exit();
    }
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 2U);
    EXPECT_TRUE(result.packet(PacketId{1}).end_inferred);
    EXPECT_EQ(result.packet(PacketId{1}).verdict, Verdict::lost);
    EXPECT_EQ(result.packet(PacketId{2}).verdict, Verdict::in_flight);
}

TEST(Correlator, RefusedByAFullSocketQueueIsDroppedAndNotDelivered)
{
    TraceDatBuilder trace;
    arrives_alone(trace, skb_a);
    is_routed(trace);
    trace.call("ip_local_deliver", "ip_sublist_rcv_finish").call("udp_queue_rcv_one_skb", "ip_local_deliver");
    trace.call("__udp_enqueue_schedule_skb", "udp_queue_rcv_one_skb");
    trace.call("kfree_skb_reason", "udp_queue_rcv_one_skb").dropped(skb_a, "udp_queue_rcv_one_skb", 6);
    trace.softirq_exit();
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 1U);
    EXPECT_EQ(result.packet(PacketId{1}).verdict, Verdict::dropped);
    EXPECT_EQ(Catalog::drop_reason(result.packet(PacketId{1}).reason).name, "SOCKET_RCVBUFF");
    for (std::size_t i = 0; i < result.size(); ++i) {
        EXPECT_NE(result[i].event_kind(), EventKind::enqueue);
        EXPECT_NE(result[i].event_kind(), EventKind::verdict);
    }
}

TEST(Correlator, ReadersTakeTheDatagramThatTheirFreeEventNames)
{
    TraceDatBuilder trace;
    poll_begins(trace);
    frame_arrives(trace, skb_a);
    frame_arrives(trace, skb_b);
    trace.softirq_exit();
    const auto read = [&](std::int32_t pid, std::uint64_t skb) {
        trace.on(1, TraceDatBuilder::task, pid).call("__x64_sys_recvfrom", "do_syscall_64");
        trace.call("udp_recvmsg", "inet_recvmsg").call("skb_consume_udp", "udp_recvmsg").consumed(skb);
        trace.call("skb_release_data", "__consume_stateless_skb").call("kfree_skbmem", "udp_recvmsg");
    };
    read(172, skb_b);
    read(171, skb_a);
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 2U);
    const std::vector<std::string> reading = {"__x64_sys_recvfrom", "udp_recvmsg",
                                              "skb_consume_udp",    "__consume_stateless_skb",
                                              "skb_release_data",   "kfree_skbmem"};
    for (const PacketId id : {PacketId{1}, PacketId{2}}) {
        const auto calls = own_calls(result, id);
        ASSERT_EQ(calls.size(), 4 + reading.size());
        EXPECT_TRUE(std::equal(reading.begin(), reading.end(), calls.begin() + 4));
    }
}

// ---- tracepoints alone, of a kernel that tells nothing of the end of a read datagram (6.18)

constexpr std::uint64_t socket_a = 0xffff888000a00000;
constexpr std::uint64_t socket_b = 0xffff888000b00000;
constexpr std::uint16_t udp = 17, icmp = 1;

/// How many datagrams wait in sockets at most, and at the end.
std::pair<int, int> waiting_in_sockets(const Trace& trace)
{
    int level = 0;
    int peak = 0;
    for (std::size_t i = 0; i < trace.size(); ++i) {
        const EventKind kind = trace[i].event_kind();
        if ((kind == EventKind::enqueue || kind == EventKind::dequeue) &&
            trace.queue(QueueId{trace[i].arg}).kind == QueueKind::socket) {
            level += kind == EventKind::enqueue ? 1 : -1;
            peak = std::max(peak, level);
        }
    }
    return {peak, level};
}

void datagram_comes(TraceDatBuilder& trace, std::uint64_t skb, std::uint64_t socket,
                    std::uint16_t protocol = udp)
{
    trace.on(0, TraceDatBuilder::softirq).received(skb, 92).data_ready(socket, protocol);
}

TEST(Correlator, ReaderOnAnotherCpuMayBeFasterThanTheEventThatSaysThatThereIsData)
{
    TraceDatBuilder trace;
    const auto read = [&] { trace.on(1, TraceDatBuilder::task, 171).read_returns(socket_a, udp, 50); };
    datagram_comes(trace, skb_a, socket_a);
    read();
    trace.on(0, TraceDatBuilder::softirq).received(skb_b, 92);
    read();
    trace.on(0, TraceDatBuilder::softirq).data_ready(socket_a, udp);
    datagram_comes(trace, skb_c, socket_a);
    read();
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 3U);
    EXPECT_EQ(waiting_in_sockets(result), std::pair(1, 0));
    for (const PacketRecord& packet : result.packets()) {
        EXPECT_EQ(packet.verdict, Verdict::delivered);
        EXPECT_NE(packet.death, never);
        EXPECT_EQ(own_calls(result, packet.id).back(), "sock_recvmsg");
    }
}

TEST(Correlator, AReadFromBeforeADatagramCameTookAnotherOne)
{
    TraceDatBuilder trace;
    trace.on(1, TraceDatBuilder::task, 171)
        .read_returns(socket_a, udp, 50); // it waited since before the recording began
    datagram_comes(trace, skb_a, socket_a);
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 1U);
    EXPECT_EQ(waiting_in_sockets(result), std::pair(1, 1));
}

TEST(Correlator, ThatAPingsReaderFreesItsPacketSaysNothingOfDatagrams)
{
    TraceDatBuilder trace;
    datagram_comes(trace, skb_c, socket_b, icmp);
    trace.on(1, TraceDatBuilder::task, 172).consumed(skb_c);
    for (const std::uint64_t skb : {skb_a, skb_b}) {
        datagram_comes(trace, skb, socket_a);
        trace.on(1, TraceDatBuilder::task, 171).read_returns(socket_a, udp, 50);
    }
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 3U);
    EXPECT_EQ(waiting_in_sockets(result), std::pair(1, 0));
}

TEST(Correlator, CallsOfOtherSystemCallsBelongToNoPacket)
{
    TraceDatBuilder trace;
    poll_begins(trace);
    frame_arrives(trace, skb_a);
    trace.softirq_exit();
    trace.on(1, TraceDatBuilder::task, 171).call("__x64_sys_recvfrom", "do_syscall_64");
    trace.call("udp_recvmsg", "inet_recvmsg").call("skb_consume_udp", "udp_recvmsg").consumed(skb_a);
    trace.call("release_sock", "sk_setsockopt"); // an untraced system call of the same task
    trace.call("__alloc_skb", "netlink_sendmsg").call("consume_skb", "netlink_unicast").consumed(skb_c);
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 1U);
    EXPECT_THAT(own_calls(result, PacketId{1}),
                ElementsAre("__napi_alloc_skb", "eth_type_trans", "napi_gro_receive", "dev_gro_receive",
                            "__x64_sys_recvfrom", "udp_recvmsg", "skb_consume_udp",
                            "__consume_stateless_skb"));
}

TEST(Correlator, InterruptInTheMiddleOfAPollDoesNotDisturbIt)
{
    TraceDatBuilder trace;
    poll_begins(trace);
    trace.call("__napi_alloc_skb", "e1000_clean_rx_irq");
    trace.on(0, TraceDatBuilder::hardirq)
        .call("e1000_intr", "__handle_irq_event_percpu")
        .call("napi_schedule_prep", "e1000_intr");
    trace.on(0, TraceDatBuilder::softirq).call("eth_type_trans", "e1000_clean_rx_irq");
    trace.call("napi_gro_receive", "e1000_clean_rx_irq").gro_entry(skb_a, 92);
    trace.softirq_exit();
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 1U);
    EXPECT_THAT(own_calls(result, PacketId{1}),
                ElementsAre("__napi_alloc_skb", "eth_type_trans", "napi_gro_receive"));
}

TEST(Correlator, FunctionReachedByAJumpStandsBelowTheOneThatJumped)
{
    TraceDatBuilder trace;
    trace.on(0, TraceDatBuilder::softirq)
        .softirq_entry()
        .call("__netif_receive_skb_core", "process_backlog")
        .received(skb_a, 92);
    trace.call("ip_protocol_deliver_rcu", "__netif_receive_skb_core")
        .call("udp_rcv", "ip_protocol_deliver_rcu");
    trace.call("__udp4_lib_rcv", "ip_protocol_deliver_rcu")
        .call("raw_local_deliver", "ip_protocol_deliver_rcu");
    const Trace result = imported(trace);
    auto depth = depths_of(result);
    EXPECT_EQ(depth["__udp4_lib_rcv"], depth["udp_rcv"] + 1);
    EXPECT_EQ(depth["raw_local_deliver"], depth["udp_rcv"])
        << "no function ends in it: it is the caller's own callee";
}

// ---- sending
// --------------------------------------------------------------------------------------------------------

void datagram_is_made(TraceDatBuilder& trace)
{
    trace.call("inet_sendmsg", "__sock_sendmsg").call("udp_sendmsg", "__sock_sendmsg");
    trace.call("ip_make_skb", "udp_sendmsg").call("__ip_append_data", "ip_make_skb");
    trace.call("sock_alloc_send_pskb", "__ip_append_data").call("__alloc_skb", "alloc_skb_with_frags");
    trace.call("udp_send_skb", "udp_sendmsg")
        .call("ip_send_skb", "udp_send_skb")
        .call("__ip_local_out", "ip_send_skb");
}

void datagram_goes_out(TraceDatBuilder& trace, std::uint64_t skb)
{
    trace.call("ip_output", "ip_send_skb").call("ip_finish_output2", "ip_output");
    trace.call("__dev_queue_xmit", "ip_finish_output2").queued(skb, 106);
    trace.call("sch_direct_xmit", "__dev_queue_xmit")
        .call("dev_hard_start_xmit", "sch_direct_xmit")
        .starts(skb, 106);
    trace.call("e1000_xmit_frame", "dev_hard_start_xmit");
}

void completion(TraceDatBuilder& trace, std::uint64_t skb)
{
    trace.on(0, TraceDatBuilder::softirq).softirq_entry().call("net_rx_action", "handle_softirqs");
    trace.call("e1000_clean", "net_rx_action").call("e1000_unmap_and_free_tx_resource", "e1000_clean");
    trace.call("e1000_unmap_and_free_tx_resource", "e1000_clean");
    trace.call("napi_consume_skb", "e1000_unmap_and_free_tx_resource").consumed(skb);
    trace.call("skb_release_data", "napi_consume_skb").softirq_exit();
}

std::vector<EventKind> kinds_of(const Trace& trace, PacketId packet)
{
    std::vector<EventKind> kinds;
    for (std::size_t i = 0; i < trace.size(); ++i) {
        if (trace[i].packet_id() == packet && !trace[i].is_call() &&
            trace[i].event_kind() != EventKind::field) {
            kinds.push_back(trace[i].event_kind());
        }
    }
    return kinds;
}

/// As Linux 6.1 answers a datagram that it has no route for, which came over a veth: ip_error() is reached by a jump, and makes a
/// peer under a lock before it asks for the ICMP message. `interrupt` comes where the clock did.
Trace error_is_sent(const std::function<void(TraceDatBuilder&)>& interrupt)
{
    TraceDatBuilder trace;
    trace.on(0, TraceDatBuilder::softirq)
        .softirq_entry()
        .call("net_rx_action", "handle_softirqs")
        .call("__napi_poll", "net_rx_action");
    trace.call("process_backlog", "__napi_poll")
        .call("__netif_receive_skb", "process_backlog")
        .call("__netif_receive_skb_one_core", "process_backlog");
    trace.call("__netif_receive_skb_core", "__netif_receive_skb_one_core")
        .received(skb_a, 128)
        .call("ip_rcv", "__netif_receive_skb_one_core");
    trace.call("ip_rcv_core", "ip_rcv")
        .call("ip_rcv_finish_core", "ip_rcv")
        .call("ip_error", "__netif_receive_skb_one_core");
    interrupt(trace);
    trace.call("__local_bh_enable_ip", "inet_getpeer")
        .call("__icmp_send", "ip_error")
        .call("icmp_route_lookup", "__icmp_send");
    interrupt(trace);
    trace.call("icmp_push_reply", "__icmp_send")
        .call("ip_append_data", "icmp_push_reply")
        .call("__ip_append_data", "ip_append_data");
    trace.call("sock_alloc_send_pskb", "__ip_append_data")
        .call("__alloc_skb", "alloc_skb_with_frags")
        .call("ip_push_pending_frames", "__icmp_send");
    trace.call("ip_output", "ip_push_pending_frames")
        .call("ip_finish_output2", "ip_output")
        .call("__dev_queue_xmit", "ip_finish_output2")
        .queued(skb_b, 170);
    trace.call("dev_hard_start_xmit", "__dev_queue_xmit")
        .starts(skb_b, 170)
        .call("e1000_xmit_frame", "dev_hard_start_xmit")
        .transmitted(skb_b, 170);
    trace.call("__local_bh_enable_ip", "__dev_queue_xmit")
        .call("kfree_skb_reason", "ip_error")
        .dropped(skb_a, "ip_error", 3)
        .softirq_exit();
    return imported(trace);
}

TEST(Correlator,
     FunctionThatARouteLeadsToStandsBelowTheOneThatJumpedThereAndKeepsItsPlaceWhenALockIsGivenBack)
{
    const Trace result = error_is_sent([](TraceDatBuilder&) {});
    ASSERT_EQ(result.packet_count(), 2U);
    auto depth = depths_of(result);
    EXPECT_EQ(depth["ip_error"], depth["ip_rcv"] + 1);
    EXPECT_EQ(depth["__icmp_send"], depth["ip_error"] + 1);
    EXPECT_THAT(own_calls(result, PacketId{1}),
                ::testing::IsSupersetOf(
                    {"ip_rcv", "ip_error", "__icmp_send", "icmp_route_lookup", "kfree_skb_reason"}));
    const auto error = journey_calls(result, PacketId{2});
    EXPECT_THAT(error, ::testing::IsSupersetOf({"ip_rcv", "ip_error", "__icmp_send"}))
        << "they enclose its making";
    EXPECT_EQ(result.packet(PacketId{1}).verdict, Verdict::dropped);
    EXPECT_EQ(result.packet(PacketId{2}).verdict, Verdict::sent);
}

TEST(Correlator, InterruptThatHitsASoftirqLeavesOpenWhatWasOpen)
{
    // irq_enter_rcu() runs before the CPU counts as in an interrupt: its record says softirq.
    const Trace disturbed = error_is_sent([](TraceDatBuilder& trace) {
        trace.call("irq_enter_rcu", "sysvec_apic_timer_interrupt")
            .on(0, TraceDatBuilder::hardirq | TraceDatBuilder::softirq);
        trace.call("hrtimer_interrupt", "__sysvec_apic_timer_interrupt")
            .call("irq_exit_rcu", "sysvec_apic_timer_interrupt")
            .on(0, TraceDatBuilder::softirq);
    });
    const Trace undisturbed = error_is_sent([](TraceDatBuilder&) {});
    ASSERT_EQ(disturbed.packet_count(), 2U);
    for (const PacketId packet : {PacketId{1}, PacketId{2}}) {
        EXPECT_EQ(own_calls(disturbed, packet), own_calls(undisturbed, packet));
        EXPECT_EQ(journey_calls(disturbed, packet), journey_calls(undisturbed, packet));
    }
}

TEST(Correlator, LockGivenBackByNobodyKnowsWhomServesNoPacketAndEndsNothing)
{
    TraceDatBuilder trace;
    trace.on(1, TraceDatBuilder::task, 172)
        .call("__x64_sys_sendto", "do_syscall_64")
        .call("inet_sendmsg", "__sock_sendmsg")
        .call("udp_sendmsg", "__sock_sendmsg");
    trace.call("__local_bh_enable_ip", "some_module_s_function").call("do_softirq", "__local_bh_enable_ip");
    trace.call("ip_make_skb", "udp_sendmsg")
        .call("__ip_append_data", "ip_make_skb")
        .call("sock_alloc_send_pskb", "__ip_append_data");
    trace.call("udp_send_skb", "udp_sendmsg").call("ip_send_skb", "udp_send_skb");
    datagram_goes_out(trace, skb_a);
    trace.transmitted(skb_a, 106);
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 1U);
    EXPECT_THAT(own_calls(result, PacketId{1}),
                ::testing::IsSupersetOf(
                    {"__x64_sys_sendto", "inet_sendmsg", "udp_sendmsg", "ip_make_skb", "e1000_xmit_frame"}));
    EXPECT_THAT(own_calls(result, PacketId{1}), ::testing::Not(::testing::Contains("__local_bh_enable_ip")));
}

TEST(Correlator, CallsBeforeASocketHasItsPortBelongToTheDatagramThatItIsFoundFor)
{
    TraceDatBuilder trace;
    trace.on(1, TraceDatBuilder::task, 172)
        .call("__x64_sys_sendto", "do_syscall_64")
        .call("__sys_sendto", "__x64_sys_sendto")
        .call("__sock_sendmsg", "__sys_sendto");
    trace.call("inet_sendmsg", "__sock_sendmsg")
        .call("inet_send_prepare", "inet_sendmsg")
        .call("inet_autobind", "inet_send_prepare");
    trace.call("__local_bh_enable_ip", "inet_autobind")
        .call("udp_v4_get_port", "inet_autobind")
        .call("udp_lib_get_port", "inet_autobind");
    trace.call("__local_bh_enable_ip", "sock_i_uid")
        .call("__local_bh_enable_ip", "udp_lib_get_port")
        .call("release_sock", "inet_autobind");
    trace.call("__local_bh_enable_ip", "inet_autobind")
        .call("udp_sendmsg", "__sock_sendmsg")
        .call("ip_make_skb", "udp_sendmsg");
    trace.call("__ip_append_data", "ip_make_skb")
        .call("sock_alloc_send_pskb", "__ip_append_data")
        .call("udp_send_skb", "udp_sendmsg")
        .call("ip_send_skb", "udp_send_skb");
    datagram_goes_out(trace, skb_a);
    trace.transmitted(skb_a, 106);
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 1U);
    const auto calls = own_calls(result, PacketId{1});
    ASSERT_GE(calls.size(), 16U);
    EXPECT_EQ(std::vector(calls.begin(), calls.begin() + 16),
              (std::vector<std::string>{"__x64_sys_sendto", "__sys_sendto", "__sock_sendmsg", "inet_sendmsg",
                                        "inet_send_prepare", "inet_autobind", "__local_bh_enable_ip",
                                        "udp_v4_get_port", "udp_lib_get_port", "__local_bh_enable_ip",
                                        "__local_bh_enable_ip", "release_sock", "__local_bh_enable_ip",
                                        "udp_sendmsg", "ip_make_skb", "__ip_append_data"}));
    auto depth = depths_of(result);
    EXPECT_EQ(depth["udp_sendmsg"], depth["inet_sendmsg"] + 1);
}

TEST(Correlator, TimersThatEndInTheRoundOfSoftirqsOfAPollAreNoPartOfAPacketsWay)
{
    TraceDatBuilder trace;
    trace.on(0, TraceDatBuilder::task).call("handle_softirqs", "__irq_exit_rcu");
    // A live recording asks for the network's softirqs alone: nothing tells that the timers' begins.
    trace.on(0, TraceDatBuilder::softirq)
        .call("run_timer_softirq", "handle_softirqs")
        .call("call_timer_fn", "expire_timers");
    trace.softirq_entry()
        .call("net_rx_action", "handle_softirqs")
        .call("e1000_clean", "__napi_poll")
        .call("e1000_clean_rx_irq", "e1000_clean");
    frame_arrives(trace, skb_a);
    trace.softirq_exit();
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 1U);
    EXPECT_THAT(journey_calls(result, PacketId{1}),
                ElementsAre("handle_softirqs", "net_rx_action", "e1000_clean", "e1000_clean_rx_irq",
                            "__napi_alloc_skb", "eth_type_trans", "napi_gro_receive", "dev_gro_receive"));
}

TEST(Correlator, CallsBeforeTheAddressIsKnownBelongToTheDatagram)
{
    TraceDatBuilder trace;
    trace.on(1, TraceDatBuilder::task, 172)
        .call("__x64_sys_sendto", "do_syscall_64")
        .call("__sys_sendto", "__x64_sys_sendto");
    datagram_is_made(trace);
    datagram_goes_out(trace, skb_a);
    trace.transmitted(skb_a, 106)
        .call("__qdisc_run", "__dev_queue_xmit")
        .call("fq_codel_dequeue", "__qdisc_run")
        .dequeued(0, 0);
    completion(trace, skb_a);
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 1U);
    EXPECT_THAT(own_calls(result, PacketId{1}),
                ElementsAre("__x64_sys_sendto", "__sys_sendto", "inet_sendmsg", "udp_sendmsg", "ip_make_skb",
                            "__ip_append_data", "sock_alloc_send_pskb", "__alloc_skb", "udp_send_skb",
                            "ip_send_skb", "__ip_local_out", "ip_output", "ip_finish_output2",
                            "__dev_queue_xmit", "sch_direct_xmit", "dev_hard_start_xmit", "e1000_xmit_frame",
                            "e1000_unmap_and_free_tx_resource", "e1000_unmap_and_free_tx_resource",
                            "napi_consume_skb", "skb_release_data"));
    EXPECT_EQ(result.packet(PacketId{1}).verdict, Verdict::sent);
    EXPECT_TRUE(result.packet(PacketId{1}).sent_here);
    EXPECT_THAT(kinds_of(result, PacketId{1}),
                ElementsAre(EventKind::birth, EventKind::enqueue, EventKind::verdict, EventKind::dequeue,
                            EventKind::free));
}

TEST(Correlator, CompletionMayOvertakeTheSenderAndItsAddressBeReusedBeforeNetDevXmit)
{
    TraceDatBuilder trace;
    trace.on(1, TraceDatBuilder::task, 172).call("__x64_sys_sendto", "do_syscall_64");
    datagram_is_made(trace);
    datagram_goes_out(trace, skb_a);
    completion(trace, skb_a);
    poll_begins(trace);
    frame_arrives(trace, skb_a); // the slab hands the address out again on the other CPU
    trace.softirq_exit();
    trace.on(1, TraceDatBuilder::task, 172).transmitted(skb_a, 106);
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 2U);
    EXPECT_EQ(result.packet(PacketId{1}).verdict, Verdict::sent);
    EXPECT_FALSE(result.packet(PacketId{1}).end_inferred);
    EXPECT_EQ(result.packet(PacketId{2}).verdict, Verdict::in_flight);
    EXPECT_FALSE(result.packet(PacketId{2}).sent_here);
    EXPECT_EQ(own_calls(result, PacketId{2}).size(), 4U);
}

/// e1000e's interrupt for transmission cleans by itself and leaves the freeing to NET_TX.
TEST(Correlator, CompletionInAHardInterruptBelongsToThePacketsThatNetTxFrees)
{
    TraceDatBuilder trace;
    for (const std::uint64_t skb : {skb_a, skb_b}) {
        trace.on(1, TraceDatBuilder::task, 172).call("__x64_sys_sendto", "do_syscall_64");
        datagram_is_made(trace);
        datagram_goes_out(trace, skb);
        trace.transmitted(skb, 106);
    }
    trace.on(0, TraceDatBuilder::hardirq).call("e1000_intr_msix_tx", "__handle_irq_event_percpu");
    trace.call("e1000_clean_tx_irq", "e1000_intr_msix_tx");
    for (int packet = 0; packet < 2; ++packet) {
        trace.call("e1000_put_txbuf", "e1000_clean_tx_irq").call("e1000_put_txbuf", "e1000_clean_tx_irq");
        trace.call("__dev_kfree_skb_any", "e1000_put_txbuf").call("__dev_kfree_skb_irq", "e1000_put_txbuf");
    }
    trace.on(0, TraceDatBuilder::softirq).softirq_entry().call("net_tx_action", "handle_softirqs");
    for (const std::uint64_t skb : {skb_b, skb_a}) { // the list has the last in front
        trace.consumed(skb)
            .call("skb_release_head_state", "__kfree_skb_defer")
            .call("skb_release_data", "__kfree_skb_defer");
    }
    trace.softirq_exit();
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 2U);
    const std::vector<std::string> completed = {
        "e1000_put_txbuf", "e1000_put_txbuf",        "__dev_kfree_skb_any", "__dev_kfree_skb_irq",
        "consume_skb",     "skb_release_head_state", "skb_release_data"};
    for (std::uint32_t id = 1; id <= 2; ++id) {
        const auto calls = own_calls(result, PacketId{id});
        ASSERT_GE(calls.size(), completed.size());
        EXPECT_EQ(std::vector(calls.end() - static_cast<std::ptrdiff_t>(completed.size()), calls.end()),
                  completed)
            << "packet " << id;
        EXPECT_EQ(result.packet(PacketId{id}).verdict, Verdict::sent);
    }
    EXPECT_LT(result.packet(PacketId{2}).death, result.packet(PacketId{1}).death);
}

TEST(Correlator, BusyDriverMeansNotSent)
{
    TraceDatBuilder trace;
    trace.on(1, TraceDatBuilder::task, 172).call("__x64_sys_sendto", "do_syscall_64");
    datagram_is_made(trace);
    datagram_goes_out(trace, skb_a);
    trace.transmitted(skb_a, 106, 16);
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 1U);
    EXPECT_EQ(result.packet(PacketId{1}).verdict, Verdict::in_flight);
}

TEST(Correlator, DatagramDroppedBeforeItHasADeviceIsNamedByItsFree)
{
    TraceDatBuilder trace;
    trace.on(1, TraceDatBuilder::task, 172).call("__x64_sys_sendto", "do_syscall_64");
    datagram_is_made(trace);
    trace.call("nf_hook_slow", "__ip_local_out")
        .call("kfree_skb_reason", "nf_hook_slow")
        .dropped(skb_a, "nf_hook_slow", 2);
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 1U);
    EXPECT_EQ(result.packet(PacketId{1}).verdict, Verdict::dropped);
    EXPECT_EQ(result.function_name(result.packet(PacketId{1}).end_function), "nf_hook_slow");
}

TEST(Correlator, TwoDatagramsOfOneSystemCallAreTwoPackets)
{
    TraceDatBuilder trace;
    trace.on(1, TraceDatBuilder::task, 172).call("__x64_sys_sendmmsg", "do_syscall_64");
    for (const std::uint64_t skb : {skb_a, skb_b}) {
        datagram_is_made(trace);
        datagram_goes_out(trace, skb);
        trace.transmitted(skb, 106);
    }
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 2U);
    const auto first = own_calls(result, PacketId{1});
    EXPECT_EQ(first.front(), "__x64_sys_sendmmsg");
    const auto second = own_calls(result, PacketId{2});
    EXPECT_EQ(std::vector(first.begin() + 1, first.end()), second);
    EXPECT_EQ(result.packet(PacketId{2}).verdict, Verdict::sent);
}

TEST(Correlator, CloneOfATapIsAPacketOfItsOwn)
{
    TraceDatBuilder trace;
    trace.on(1, TraceDatBuilder::task, 172).call("__x64_sys_sendto", "do_syscall_64");
    datagram_is_made(trace);
    trace.call("ip_output", "ip_send_skb").call("ip_finish_output2", "ip_output");
    trace.call("__dev_queue_xmit", "ip_finish_output2").queued(skb_a, 106);
    trace.call("dev_hard_start_xmit", "__dev_queue_xmit").call("dev_queue_xmit_nit", "dev_hard_start_xmit");
    trace.call("skb_clone", "dev_queue_xmit_nit").call("tpacket_rcv", "dev_queue_xmit_nit");
    trace.call("sock_def_readable", "tpacket_rcv").call("consume_skb", "tpacket_rcv").consumed(skb_b);
    trace.call("skb_release_data", "consume_skb").call("kfree_skbmem", "tpacket_rcv").starts(skb_a, 106);
    trace.call("e1000_xmit_frame", "dev_hard_start_xmit").transmitted(skb_a, 106);
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 2U);
    EXPECT_EQ(result.packet(PacketId{2}).parent, PacketId{1});
    EXPECT_EQ(result.packet(PacketId{2}).relation, Relation::clone);
    EXPECT_EQ(result.packet(PacketId{2}).verdict, Verdict::delivered);
    EXPECT_THAT(own_calls(result, PacketId{2}), ElementsAre("tpacket_rcv", "sock_def_readable", "consume_skb",
                                                            "skb_release_data", "kfree_skbmem"));
    EXPECT_EQ(own_calls(result, PacketId{1}).back(), "e1000_xmit_frame");
    EXPECT_THAT(own_calls(result, PacketId{1}), ::testing::Contains("skb_clone"));
}

/// pktgen sends over veth: the receiver is not the frame's only owner (skb_share_check), and what the application reads is a clone.
/// `left_alone`: pktgen has given its reference back before skb_share_check() does.
void frame_of_pktgen(TraceDatBuilder& trace, std::uint64_t skb, bool left_alone = false,
                     const char* sender = "pktgen_xmit")
{
    trace.call("__netdev_alloc_skb", "pktgen_alloc_skb").call("__alloc_skb", "__netdev_alloc_skb");
    trace.call("veth_xmit", sender).call("__netif_rx", "veth_xmit").call("netif_rx_internal", "__netif_rx");
    trace.call("enqueue_to_backlog", "netif_rx_internal");
    trace.on(1, TraceDatBuilder::softirq)
        .softirq_entry()
        .call("net_rx_action", "handle_softirqs")
        .call("__napi_poll", "net_rx_action");
    trace.call("process_backlog", "__napi_poll").call("__netif_receive_skb", "process_backlog");
    trace.call("__netif_receive_skb_one_core", "process_backlog")
        .call("__netif_receive_skb_core", "__netif_receive_skb_one_core")
        .received(skb, 92);
    trace.call("ip_rcv", "__netif_receive_skb_one_core").call("ip_rcv_core", "ip_rcv");
    trace.call("skb_clone", "ip_rcv_core");
    if (left_alone) {
        trace.on(0, TraceDatBuilder::task, 127)
            .call("kfree_skb_reason", "pktgen_xmit")
            .on(1, TraceDatBuilder::softirq);
    }
    trace.call("consume_skb", "ip_rcv_core");
    if (left_alone) {
        trace.consumed(skb).call("skb_release_data", "consume_skb").call("kfree_skbmem", "ip_rcv_core");
    }
    trace.call("ip_rcv_finish_core.constprop.0", "ip_rcv");
    trace.call("ip_local_deliver", "ip_rcv")
        .call("ip_local_deliver_finish", "ip_rcv")
        .call("udp_rcv", "ip_protocol_deliver_rcu");
    trace.call("__udp_enqueue_schedule_skb", "udp_queue_rcv_one_skb").softirq_exit();
}

void clone_is_read(TraceDatBuilder& trace, std::uint64_t skb)
{
    trace.on(1, TraceDatBuilder::task, 203)
        .call("__x64_sys_recvfrom", "do_syscall_64")
        .call("__sys_recvfrom", "__x64_sys_recvfrom");
    trace.call("udp_recvmsg", "inet_recvmsg")
        .call("__skb_recv_udp", "udp_recvmsg")
        .call("skb_consume_udp", "udp_recvmsg")
        .consumed(skb);
    trace.call("skb_release_data", "__consume_stateless_skb").call("kfree_skbmem", "skb_consume_udp");
}

TEST(Correlator, FrameThatPktgenHoldsIsOnePacketFromItsAllocationToTheReadOfItsClone)
{
    for (const bool read_first : {true, false}) {
        TraceDatBuilder trace;
        trace.on(0, TraceDatBuilder::task, 127)
            .call("kfree_skb_reason", "pktgen_xmit"); // of none: the first time
        frame_of_pktgen(trace, skb_a);
        if (read_first) {
            clone_is_read(trace, skb_b);
        }
        trace.on(0, TraceDatBuilder::task, 127)
            .call("kfree_skb_reason", "pktgen_xmit")
            .dropped(skb_a, "pktgen_xmit", 2);
        trace.call("skb_release_data", "kfree_skb_reason").call("kfree_skbmem", "pktgen_xmit");
        if (!read_first) {
            clone_is_read(trace, skb_b);
            trace.on(0, TraceDatBuilder::task, 127);
        }
        frame_of_pktgen(trace, skb_a); // the slab hands the address out again
        const Trace result = imported(trace);
        ASSERT_EQ(result.packet_count(), 2U) << "the clone is no packet of its own";
        EXPECT_EQ(result.packet(PacketId{1}).verdict, Verdict::delivered);
        EXPECT_EQ(result.packet(PacketId{2}).verdict, Verdict::delivered);
        const auto calls = own_calls(result, PacketId{1});
        EXPECT_THAT(calls, ::testing::IsSupersetOf({"__netdev_alloc_skb", "__alloc_skb", "veth_xmit",
                                                    "skb_clone", "__udp_enqueue_schedule_skb",
                                                    "skb_consume_udp", "kfree_skb_reason"}))
            << (read_first ? "read first" : "given back first");
        EXPECT_THAT(own_calls(result, PacketId{2}), ::testing::Not(::testing::Contains("skb_consume_udp")));
    }
}

TEST(Correlator, FrameWhoseLastReferenceTheReceiverGivesBackGoesOnAsItsClone)
{
    TraceDatBuilder trace;
    trace.on(0, TraceDatBuilder::task, 127)
        .call("kfree_skb_reason", "pktgen_xmit"); // of none: the first time
    frame_of_pktgen(trace, skb_a, true);
    clone_is_read(trace, skb_b);
    trace.on(0, TraceDatBuilder::task, 127);
    frame_of_pktgen(trace, skb_a, true);
    clone_is_read(trace, skb_b);
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 2U);
    for (const PacketId id : {PacketId{1}, PacketId{2}}) {
        EXPECT_EQ(result.packet(id).verdict, Verdict::delivered);
        EXPECT_THAT(own_calls(result, id),
                    ::testing::IsSupersetOf({"veth_xmit", "skb_clone", "skb_release_data",
                                             "__udp_enqueue_schedule_skb", "skb_consume_udp"}));
    }
    EXPECT_LT(result.packet(PacketId{1}).death, result.packet(PacketId{2}).birth);
}

TEST(Correlator, PktgenOfOlderKernelsSendsFromItsThreadsFunction)
{
    TraceDatBuilder trace;
    for (int i = 0; i < 2; ++i) {
        trace.on(0, TraceDatBuilder::task, 127).call("kfree_skb_reason", "pktgen_thread_worker");
        if (i > 0) {
            trace.dropped(skb_a, "pktgen_thread_worker", 2).call("skb_release_data", "kfree_skb_reason");
        }
        frame_of_pktgen(trace, skb_a, false, "pktgen_thread_worker");
        clone_is_read(trace, skb_b);
    }
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 2U);
    for (const PacketId id : {PacketId{1}, PacketId{2}}) {
        EXPECT_EQ(result.packet(id).verdict, Verdict::delivered);
        EXPECT_THAT(own_calls(result, id),
                    ::testing::IsSupersetOf({"__netdev_alloc_skb", "veth_xmit", "skb_consume_udp"}));
    }
}

TEST(Correlator, ProbesAloneTellOfADatagramsDeliveryAndOfItsRead)
{
    TraceDatBuilder trace;
    trace.without("skb").without("net");
    for (int i = 0; i < 2; ++i) { // the slab hands the address out again
        trace.on(0, TraceDatBuilder::softirq)
            .probed("napi_gro_receive", skb_a)
            .probed("ip_local_deliver", skb_a)
            .probed("udp_rcv", skb_a);
        trace.probed("__udp_enqueue_schedule_skb", skb_a)
            .on(1, TraceDatBuilder::task, 171)
            .probed("skb_consume_udp", skb_a);
    }
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 2U);
    for (const PacketId id : {PacketId{1}, PacketId{2}}) {
        EXPECT_EQ(result.packet(id).verdict, Verdict::delivered);
        EXPECT_TRUE(result.packet(id).end_inferred);
        EXPECT_EQ(own_calls(result, id),
                  (std::vector<std::string>{"napi_gro_receive", "ip_local_deliver", "udp_rcv",
                                            "__udp_enqueue_schedule_skb", "skb_consume_udp"}));
    }
}

TEST(Correlator, WithEventsAloneWhatIsFreedBeforeTheDriversAnswerWasSent)
{
    TraceDatBuilder trace;
    trace.on(1, TraceDatBuilder::task, 172).queued(skb_a, 106).starts(skb_a, 106);
    trace.on(0, TraceDatBuilder::softirq).consumed(skb_a); // the interrupt came before the sender went on
    trace.on(1, TraceDatBuilder::task, 172).transmitted(skb_a, 106);
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 1U);
    EXPECT_EQ(result.packet(PacketId{1}).verdict, Verdict::sent);
}

TEST(Correlator, WhatTheDriverCompletesWasSentAlsoIfAnUntracedCpuSentIt)
{
    for (const bool is_driver : {true, false}) {
        TraceDatBuilder trace;
        trace.on(1, TraceDatBuilder::task, 172).call("__x64_sys_sendto", "do_syscall_64");
        datagram_is_made(trace);
        trace.call("ip_output", "ip_send_skb")
            .call("ip_finish_output2", "ip_output")
            .call("__dev_queue_xmit", "ip_finish_output2")
            .queued(skb_a, 106);
        trace.call("pfifo_fast_enqueue", "__dev_queue_xmit");
        trace.on(0, TraceDatBuilder::softirq)
            .softirq_entry()
            .call("net_rx_action", "handle_softirqs")
            .call("__napi_poll", "net_rx_action");
        trace.call(is_driver ? "free_old_xmit_skbs" : "virtnet_poll", "__napi_poll");
        trace.call("napi_consume_skb", is_driver ? "free_old_xmit_skbs" : "virtnet_poll").consumed(skb_a);
        const Trace result = imported(trace);
        ASSERT_EQ(result.packet_count(), 1U);
        EXPECT_EQ(result.packet(PacketId{1}).verdict, is_driver ? Verdict::sent : Verdict::consumed);
    }
}

TEST(Correlator, BulkTakenFromAQdiscIsNamedPacketByPacket)
{
    TraceDatBuilder trace;
    for (const std::uint64_t skb : {skb_a, skb_b}) {
        trace.on(1, TraceDatBuilder::task, 172).call("__x64_sys_sendto", "do_syscall_64");
        datagram_is_made(trace);
        trace.call("ip_output", "ip_send_skb").call("ip_finish_output2", "ip_output");
        trace.call("__dev_queue_xmit", "ip_finish_output2")
            .queued(skb, 106)
            .call("pfifo_fast_enqueue", "__dev_queue_xmit");
    }
    trace.on(0, TraceDatBuilder::softirq).softirq_entry().call("net_tx_action", "handle_softirqs");
    trace.call("__qdisc_run", "net_tx_action")
        .call("pfifo_fast_dequeue", "__qdisc_run")
        .call("pfifo_fast_dequeue", "__qdisc_run");
    trace.dequeued(skb_a, 2)
        .call("sch_direct_xmit", "__qdisc_run")
        .call("validate_xmit_skb_list", "sch_direct_xmit");
    trace.call("validate_xmit_skb", "validate_xmit_skb_list")
        .call("validate_xmit_skb", "validate_xmit_skb_list");
    trace.call("dev_hard_start_xmit", "sch_direct_xmit");
    for (const std::uint64_t skb : {skb_a, skb_b}) {
        trace.starts(skb, 106).call("e1000_xmit_frame", "dev_hard_start_xmit").transmitted(skb, 106);
    }
    trace.softirq_exit();
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 2U);
    for (const PacketId id : {PacketId{1}, PacketId{2}}) {
        const auto calls = own_calls(result, id);
        EXPECT_EQ(std::ranges::count(calls, "e1000_xmit_frame"), 1) << to_index(id);
        EXPECT_EQ(std::ranges::count(calls, "validate_xmit_skb"), 1) << to_index(id);
        EXPECT_EQ(std::ranges::count(calls, "pfifo_fast_dequeue"), 1) << to_index(id);
        EXPECT_EQ(std::ranges::count(calls, "dev_hard_start_xmit"), 0) << "serves both";
        EXPECT_THAT(kinds_of(result, id),
                    ElementsAre(EventKind::birth, EventKind::enqueue, EventKind::dequeue, EventKind::enqueue,
                                EventKind::verdict));
        EXPECT_EQ(result.packet(id).verdict, Verdict::sent);
    }
}

TEST(Correlator, ReaderThatBlockedBeforeTheDatagramCameTakesIt)
{
    TraceDatBuilder trace;
    trace.on(1, TraceDatBuilder::task, 171)
        .call("__x64_sys_recvfrom", "do_syscall_64")
        .call("sock_recvmsg", "__x64_sys_recvfrom");
    trace.call("inet_recvmsg", "sock_recvmsg")
        .call("udp_recvmsg", "inet_recvmsg")
        .call("__skb_recv_udp", "udp_recvmsg");
    trace.call("__skb_try_recv_from_queue", "__skb_recv_udp")
        .call("__skb_wait_for_more_packets", "__skb_recv_udp");
    trace.on(1, TraceDatBuilder::task, 172).call("__x64_sys_sendto", "do_syscall_64"); // others run meanwhile
    arrives_alone(trace, skb_a);
    is_routed(trace);
    deliver(trace);
    trace.softirq_exit();
    trace.on(1, TraceDatBuilder::task, 171).call("__skb_try_recv_from_queue", "__skb_recv_udp");
    trace.call("skb_consume_udp", "udp_recvmsg").consumed(skb_a);
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 1U);
    EXPECT_THAT(own_calls(result, PacketId{1}),
                ::testing::IsSupersetOf({"__x64_sys_recvfrom", "__skb_wait_for_more_packets",
                                         "__skb_try_recv_from_queue", "skb_consume_udp"}));
    JourneyIndex index(result);
    index.update();
    const Journey journey = index.journey(PacketId{1});
    ASSERT_EQ(journey.waits.size(), 1U);
    EXPECT_GT(journey.waits[0].to, journey.waits[0].from);
    EXPECT_LT(journey.waits[0].to, result.packet(PacketId{1}).death);
}

/// A frame arrives while a task is in a system call: at the interrupt's entry and at its exit records say "process".
void interrupted(TraceDatBuilder& trace, std::uint16_t cpu, std::int32_t pid, std::uint64_t skb)
{
    trace.on(cpu, TraceDatBuilder::task, pid).call("irq_enter_rcu", "common_interrupt");
    trace.on(cpu, TraceDatBuilder::hardirq, pid)
        .call("e1000_intr", "__handle_irq_event_percpu")
        .call("irq_exit_rcu", "common_interrupt");
    trace.on(cpu, TraceDatBuilder::task, pid).call("handle_softirqs", "__irq_exit_rcu");
    trace.on(cpu, TraceDatBuilder::softirq, pid)
        .softirq_entry()
        .call("net_rx_action", "handle_softirqs")
        .call("e1000_clean", "__napi_poll");
    trace.call("e1000_clean_rx_irq", "e1000_clean");
    frame_arrives(trace, skb);
    trace.softirq_exit().on(cpu, TraceDatBuilder::task, pid);
}

TEST(Correlator, InterruptInTheMiddleOfASendingCallDoesNotEndIt)
{
    const auto sent = [](bool with_interrupt) {
        TraceDatBuilder trace;
        trace.on(1, TraceDatBuilder::task, 172)
            .call("__x64_sys_sendto", "do_syscall_64")
            .call("__sys_sendto", "__x64_sys_sendto");
        trace.call("inet_sendmsg", "__sock_sendmsg")
            .call("udp_sendmsg", "__sock_sendmsg")
            .call("ip_make_skb", "udp_sendmsg");
        if (with_interrupt) {
            interrupted(trace, 1, 172, skb_b);
        }
        trace.call("__ip_append_data", "ip_make_skb")
            .call("sock_alloc_send_pskb", "__ip_append_data")
            .call("__alloc_skb", "alloc_skb_with_frags");
        if (with_interrupt) {
            interrupted(trace, 1, 172, skb_c);
        }
        trace.call("ip_send_skb", "udp_send_skb")
            .call("__ip_local_out", "ip_send_skb"); // by a function that is not traced
        datagram_goes_out(trace, skb_a);
        if (with_interrupt) {
            interrupted(trace, 1, 172, skb_b);
        }
        trace.transmitted(skb_a, 106);
        return imported(trace);
    };
    const Trace undisturbed = sent(false);
    const Trace disturbed = sent(true);
    ASSERT_EQ(undisturbed.packet_count(), 1U);
    ASSERT_EQ(disturbed.packet_count(), 4U);
    const auto datagram =
        std::ranges::find_if(disturbed.packets(), &PacketRecord::sent_here); // born behind the first frame
    ASSERT_NE(datagram, disturbed.packets().end());
    EXPECT_EQ(own_calls(disturbed, datagram->id), own_calls(undisturbed, PacketId{1}));
    EXPECT_EQ(journey_calls(disturbed, datagram->id), journey_calls(undisturbed, PacketId{1}));
    EXPECT_EQ(datagram->verdict, Verdict::sent);
}

TEST(Correlator, InterruptInTheMiddleOfAReadingCallDoesNotEndIt)
{
    TraceDatBuilder trace;
    arrives_alone(trace, skb_a);
    is_routed(trace);
    deliver(trace);
    trace.softirq_exit();
    trace.on(1, TraceDatBuilder::task, 171)
        .call("__x64_sys_recvfrom", "do_syscall_64")
        .call("sock_recvmsg", "__x64_sys_recvfrom");
    trace.call("inet_recvmsg", "sock_recvmsg")
        .call("udp_recvmsg", "inet_recvmsg")
        .call("__skb_recv_udp", "udp_recvmsg");
    interrupted(trace, 1, 171, skb_b);
    trace.call("__skb_try_recv_from_queue", "__skb_recv_udp");
    interrupted(trace, 1, 171, skb_c);
    trace.call("skb_consume_udp", "udp_recvmsg").consumed(skb_a);
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 3U);
    auto whole = path_of_one;
    whole.insert(whole.end(),
                 {"__x64_sys_recvfrom", "sock_recvmsg", "inet_recvmsg", "udp_recvmsg", "__skb_recv_udp",
                  "__skb_try_recv_from_queue", "skb_consume_udp", "__consume_stateless_skb"});
    EXPECT_EQ(own_calls(result, PacketId{1}), whole);
    EXPECT_EQ(result.packet(PacketId{1}).verdict, Verdict::delivered);
}

TEST(Correlator, WhatAnSkbsFragListFreesDoesNotTakeTheRestOfItsOwnFree)
{
    TraceDatBuilder trace;
    poll_begins(trace);
    frame_arrives(trace, skb_a);
    frame_arrives(trace, skb_b);
    list_begins(trace);
    core(trace, skb_a);
    trace.call("kfree_skb_reason", "__netif_receive_skb_core").dropped(skb_a, "__netif_receive_skb_core", 2);
    trace.call("skb_release_data", "kfree_skb_reason")
        .call("kfree_skb_reason", "skb_release_data")
        .dropped(skb_b, "skb_release_data", 2);
    trace.call("skb_release_data", "kfree_skb_reason").call("kfree_skbmem", "skb_release_data");
    trace.call("kfree_skbmem", "__netif_receive_skb_core").softirq_exit();
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 2U);
    auto whole = own_calls(result, PacketId{1});
    whole.erase(whole.begin(), std::ranges::find(whole, "kfree_skb_reason"));
    EXPECT_THAT(whole, ElementsAre("kfree_skb_reason", "skb_release_data", "kfree_skbmem"));
    auto part = own_calls(result, PacketId{2});
    part.erase(part.begin(), std::ranges::find(part, "kfree_skb_reason"));
    EXPECT_THAT(part, ElementsAre("kfree_skb_reason", "skb_release_data", "kfree_skbmem"));
}

TEST(Correlator, GroFreesWhatItHasMergedAndNotWhatWasFreedOnTheWayOfAnother)
{
    TraceDatBuilder trace;
    poll_begins(trace);
    frame_arrives(trace, skb_a);
    trace.call("__napi_alloc_skb", "e1000_clean_rx_irq").call("eth_type_trans", "e1000_clean_rx_irq");
    trace.call("napi_gro_receive", "e1000_clean_rx_irq")
        .gro_entry(skb_b, 92)
        .call("dev_gro_receive", "napi_gro_receive");
    trace.call("napi_gro_complete", "dev_gro_receive")
        .call("netif_receive_skb_list_internal", "napi_gro_complete");
    trace.call("__netif_receive_skb_list_core", "netif_receive_skb_list_internal");
    core(trace, skb_a);
    trace.call("kfree_skb_reason", "__netif_receive_skb_core").dropped(skb_a, "__netif_receive_skb_core", 2);
    trace.gro_exit(1)
        .call("__napi_kfree_skb", "napi_gro_receive")
        .call("skb_release_data", "__napi_kfree_skb")
        .softirq_exit();
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 2U);
    EXPECT_EQ(result.packet(PacketId{1}).verdict, Verdict::dropped);
    EXPECT_THAT(own_calls(result, PacketId{2}),
                ElementsAre("__napi_alloc_skb", "eth_type_trans", "napi_gro_receive", "dev_gro_receive",
                            "__napi_kfree_skb", "skb_release_data"));
}

TEST(Correlator, WhatASelectiveAcknowledgementJoinsIsNotTheAcknowledgement)
{
    TraceDatBuilder trace;
    arrives_alone(trace, skb_a);
    is_routed(trace);
    trace.call("ip_local_deliver", "ip_sublist_rcv_finish");
    trace.call("tcp_v4_rcv", "ip_protocol_deliver_rcu")
        .call("tcp_v4_do_rcv", "tcp_v4_rcv")
        .call("tcp_rcv_established", "tcp_v4_do_rcv");
    trace.call("tcp_ack", "tcp_rcv_established").call("skb_release_data", "pskb_expand_head");
    trace.call("__kfree_skb", "tcp_shifted_skb").call("skb_release_data", "__kfree_skb");
    trace.call("tcp_data_queue", "tcp_rcv_established")
        .call("__kfree_skb", "tcp_data_queue")
        .call("skb_release_data", "__kfree_skb");
    trace.softirq_exit();
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 1U);
    const auto own = own_calls(result, PacketId{1});
    EXPECT_EQ(std::ranges::count(own, "__kfree_skb"), 1) << "its own";
    EXPECT_EQ(std::ranges::count(own, "skb_release_data"), 1);
    EXPECT_EQ(own.back(), "skb_release_data");
    EXPECT_EQ(result.packet(PacketId{1}).verdict, Verdict::consumed);
}

// ---- TCP, seen by events alone

void segment_arrives(TraceDatBuilder& trace, std::uint64_t skb, std::uint32_t length)
{
    trace.gro_entry(skb, length - 14).gro_exit(3);
}

TEST(Correlator, WithEventsAloneASegmentWhoseAddressArrivesAgainHasEndedUnseen)
{
    TraceDatBuilder trace;
    for (int i = 0; i < 2; ++i) {
        trace.on(0, TraceDatBuilder::softirq).softirq_entry();
        event_arrives(trace, skb_a, 52);
        trace.softirq_exit();
    }
    trace.on(0, TraceDatBuilder::softirq).softirq_entry().gro_entry(skb_a, 52).gro_exit(1).softirq_exit();
    const Trace result = imported(trace);
    EXPECT_THAT(verdicts_of(result), ElementsAre(Verdict::lost, Verdict::lost, Verdict::merged))
        << "the third is another one than the second";
    EXPECT_TRUE(result.packet(PacketId{1}).end_inferred);
}

TEST(Correlator, WithEventsAloneTheSegmentsOfALargePacketLeaveUnderAddressesOfReceivedOnes)
{
    TraceDatBuilder trace;
    trace.on(0, TraceDatBuilder::softirq).softirq_entry();
    event_arrives(trace, skb_a, 52); // an ACK, which TCP frees without an event, and sends more
    trace.queued(skb_b, 2962).consumed(skb_b);
    trace.consumed(skb_c); // a tap's clone of the first segment
    trace.starts(skb_a, 1514).transmitted(skb_a, 1514);
    trace.starts(skb_c, 1514).transmitted(skb_c, 1514);
    trace.softirq_exit();
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 4U);
    EXPECT_THAT(verdicts_of(result), ElementsAre(Verdict::lost, Verdict::split, Verdict::sent, Verdict::sent))
        << "none is forwarded";
    for (const PacketId piece : {PacketId{3}, PacketId{4}}) {
        EXPECT_EQ(result.packet(piece).parent, PacketId{2});
        EXPECT_EQ(result.packet(piece).relation, Relation::split);
        EXPECT_TRUE(result.packet(piece).sent_here);
    }
}

TEST(Correlator, WithEventsAloneAnAnswerThatHasTheAddressOfWhatItAnswersIsNotThatForwarded)
{
    TraceDatBuilder trace;
    trace.on(0, TraceDatBuilder::softirq).softirq_entry();
    event_arrives(trace, skb_a, 820);
    trace.queued(skb_a, 66).starts(skb_a, 66).transmitted(skb_a, 66).softirq_exit();
    const Trace result = imported(trace);
    EXPECT_THAT(verdicts_of(result), ElementsAre(Verdict::lost, Verdict::sent));
}

TEST(Correlator, WithEventsAloneWhatIsForwardedStaysOnePacket)
{
    TraceDatBuilder trace;
    trace.on(0, TraceDatBuilder::softirq).softirq_entry();
    event_arrives(trace, skb_a, 92);
    trace.queued(skb_a, 106).starts(skb_a, 106).transmitted(skb_a, 106).softirq_exit();
    const Trace result = imported(trace);
    EXPECT_THAT(verdicts_of(result), ElementsAre(Verdict::forwarded));
}

TEST(Correlator, WithEventsAloneACloneFreedWhileAPacketIsSentDoesNotEndWhatHadItsAddressBefore)
{
    TraceDatBuilder trace;
    trace.on(0, TraceDatBuilder::softirq).softirq_entry();
    event_arrives(trace, skb_a, 52);
    trace.softirq_exit();
    trace.on(0, TraceDatBuilder::task, 171)
        .queued(skb_b, 106)
        .consumed(skb_a)
        .starts(skb_b, 106)
        .transmitted(skb_b, 106);
    const Trace result = imported(trace);
    EXPECT_THAT(verdicts_of(result), ElementsAre(Verdict::lost, Verdict::sent))
        << "not delivered to whoever sends";
}

TEST(Correlator, ReaderThatCopiesASegmentsBytesHasItFromASocket)
{
    TraceDatBuilder trace;
    trace.on(0, TraceDatBuilder::softirq).softirq_entry();
    event_arrives(trace, skb_a, 820);
    trace.softirq_exit();
    trace.on(1, TraceDatBuilder::task, 171).copied(skb_a);
    trace.on(0, TraceDatBuilder::softirq)
        .softirq_entry()
        .consumed(skb_a)
        .softirq_exit(); // skb_attempt_defer_free()
    const Trace result = imported(trace);
    ASSERT_EQ(result.packet_count(), 1U);
    EXPECT_EQ(result.packet(PacketId{1}).verdict, Verdict::delivered);
    EXPECT_NE(result.packet(PacketId{1}).death, never);
}

TEST(Correlator, SocketsAreToldOfThePacketsOfAListInItsOrder)
{
    TraceDatBuilder trace;
    trace.on(0, TraceDatBuilder::softirq).softirq_entry();
    for (const std::uint64_t skb : {skb_a, skb_b}) {
        segment_arrives(trace, skb, 106);
    }
    trace.received(skb_a, 92)
        .received(skb_b, 92)
        .data_ready(socket_a, 17)
        .data_ready(socket_a, 17)
        .softirq_exit();
    trace.on(1, TraceDatBuilder::task, 171).read_returns(socket_a, 17, 64);
    const Trace result = imported(trace);
    EXPECT_THAT(verdicts_of(result), ElementsAre(Verdict::delivered, Verdict::delivered));
    EXPECT_NE(result.packet(PacketId{1}).death, never) << "the first is read";
    EXPECT_EQ(result.packet(PacketId{2}).death, never);
}

TEST(Correlator, WhichPacketOfAListASocketWasToldOfIsNotGuessed)
{
    TraceDatBuilder trace;
    trace.on(0, TraceDatBuilder::softirq).softirq_entry();
    for (const std::uint64_t skb : {skb_a, skb_b}) { // one is a bare ACK, of which no event tells
        segment_arrives(trace, skb, 106);
    }
    trace.received(skb_a, 92).received(skb_b, 92).data_ready(socket_a, 17).softirq_exit();
    const Trace result = imported(trace);
    EXPECT_THAT(verdicts_of(result), ElementsAre(Verdict::in_flight, Verdict::in_flight));
}

TEST(Correlator, WhatIsLeftInASocketThatGoesWasDelivered)
{
    TraceDatBuilder trace;
    trace.on(0, TraceDatBuilder::softirq).softirq_entry();
    event_arrives(trace, skb_a, 52);
    trace.softirq_exit();
    trace.on(1, TraceDatBuilder::task, 171).dropped(skb_a, "sk_stream_kill_queues", 2);
    const Trace result = imported(trace);
    EXPECT_THAT(verdicts_of(result), ElementsAre(Verdict::delivered));
}

/// An import beside a capture of one frame, which arrives as a packet of which no event tells any more; one behind it is sent and completed, so that
/// events of freeing are known to be recorded.
Verdict verdict_beside(const std::vector<std::uint8_t>& frame)
{
    TraceDatBuilder trace;
    trace.on(0, TraceDatBuilder::softirq).softirq_entry();
    segment_arrives(trace, skb_a, static_cast<std::uint32_t>(frame.size()));
    trace.received(skb_a, static_cast<std::uint32_t>(frame.size() - 14)).softirq_exit();
    trace.on(1, TraceDatBuilder::task, 171).queued(skb_b, 300).starts(skb_b, 300).transmitted(skb_b, 300);
    trace.on(0, TraceDatBuilder::softirq).softirq_entry().consumed(skb_b).softirq_exit();
    const auto folder = std::filesystem::temp_directory_path();
    const auto path = folder / fmt::format("skbscope-segment-{}", ::getpid());
    const auto capture = folder / fmt::format("skbscope-segment-{}.cap", ::getpid());
    std::ofstream(path, std::ios::binary) << trace.file(TraceDatBuilder::Layout::version_6);
    const auto length = static_cast<std::uint32_t>(frame.size());
    const std::vector<std::uint32_t> words = {
        0xa1b23c4d, 0x00040002, 0, 0, 65535, 1, 1, 500, length, length}; // nanoseconds, Ethernet
    std::ofstream out(capture, std::ios::binary);
    out.write(reinterpret_cast<const char*>(words.data()), static_cast<std::streamsize>(words.size() * 4));
    out.write(reinterpret_cast<const char*>(frame.data()), static_cast<std::streamsize>(frame.size()));
    out.close();
    ImportOptions options;
    options.pcaps.push_back({"eth0", capture.string()});
    const auto result = import_trace_dat(path.string(), options);
    std::filesystem::remove(path);
    std::filesystem::remove(capture);
    EXPECT_TRUE(result) << (result ? "" : result.error().describe());
    return result && result->trace.packet_count() == 2 ? result->trace.packet(PacketId{1}).verdict
                                                       : Verdict::merged;
}

TEST(Correlator, SegmentsFrameTellsWhatTcpMadeOfItWhenNoEventDoes)
{
    TcpFrame bare;
    bare.tcp.flags = TcpView::ack;
    EXPECT_EQ(verdict_beside(build_tcp_frame(bare)), Verdict::consumed);
    const std::vector<std::uint8_t> bytes(100, 1);
    TcpFrame data = bare;
    data.payload = bytes;
    EXPECT_EQ(verdict_beside(build_tcp_frame(data)), Verdict::delivered);
    TcpFrame last = bare;
    last.tcp.flags = TcpView::ack | TcpView::fin;
    EXPECT_EQ(verdict_beside(build_tcp_frame(last)), Verdict::delivered);
    EXPECT_EQ(verdict_beside(build_udp_frame({})), Verdict::in_flight) << "its end has an event";
}

TEST(Correlator, TraceWithoutPacketsImportsAsOne)
{
    TraceDatBuilder trace;
    trace.on(0, TraceDatBuilder::task, 171).call("release_sock", "sk_setsockopt");
    const Trace result = imported(trace);
    EXPECT_EQ(result.packet_count(), 0U);
    EXPECT_EQ(result.size(), 1U);
}

// A reader's call is not given to the packet that it ends: the packet's own last call may be long written by then.
TEST(PacketBook, ASlotStaysUntilWhatWasSaidOfItsPacketLastIsWritten)
{
    Trace trace;
    Trace items;
    items.info.observed = true;
    (void)trace.add_host({"host", 1});
    PacketBook book(trace, items);
    constexpr int more_than_a_chunk = 600; // slots are given back by chunks, the first never
    const auto open_others = [&] {
        for (int i = 0; i < more_than_a_chunk; ++i) {
            (void)book.open();
        }
    };
    const auto call_at = [&](std::uint64_t time_ns, Slot slot) {
        Event call;
        call.time_ns = time_ns;
        call.packet = slot;
        return book.add(call);
    };
    open_others();
    const Slot slot = book.open(SlotRecord::Kind::known);
    open_others();
    book.born(slot, call_at(1, slot));
    (void)call_at(2, 0);
    const std::uint32_t read = call_at(3, 0);
    book.freed(slot, read);
    (void)call_at(4, 0);
    book.write_until(read);
    book.retire({}, {});
    book.write_until(0, true);
    ASSERT_EQ(trace.packet_count(), 1U);
    EXPECT_EQ(trace.packet(PacketId{1}).death.ns, 3U);
    EXPECT_EQ(trace[trace.size() - 2].event_kind(), EventKind::free);
    EXPECT_EQ(trace[trace.size() - 2].packet, 1U);
}

TEST(Times, FastCallsAreTrustedAndSlowOnesAreNot)
{
    EXPECT_FALSE(times_look_emulated(std::vector<std::uint32_t>(1000, 120)));
    EXPECT_TRUE(times_look_emulated(std::vector<std::uint32_t>(1000, 500)));
    EXPECT_FALSE(times_look_emulated(std::vector<std::uint32_t>(10, 500))) << "too few to tell";
}

} // namespace
} // namespace skbscope
