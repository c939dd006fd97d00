// The model's journeys against the call chains of the kernel's source (6.1), function by function.

#include "model.h"

namespace skbscope {
namespace {

using test::first_missing;
using test::receive_scenario;
using test::ModelRun;
using test::send_scenario;

const std::vector<std::string> interrupt_and_softirq = {
    "handle_fasteoi_irq", "handle_irq_event", "handle_irq_event_percpu", "__handle_irq_event_percpu", "e1000_intr",
    "napi_schedule_prep", "__napi_schedule", "____napi_schedule", "raise_softirq_irqoff", "__raise_softirq_irqoff",
    "irq_exit_rcu", "__irq_exit_rcu", "invoke_softirq", "__do_softirq", "handle_softirqs", "net_rx_action", "napi_poll",
    "__napi_poll", "e1000_clean", "e1000_clean_tx_irq"};

const std::vector<std::string> receive_upwards = {
    "e1000_receive_skb", "eth_type_trans", "napi_gro_receive", "dev_gro_receive", "inet_gro_receive", "udp4_gro_receive",
    "napi_skb_finish", "gro_normal_one", "napi_complete_done", "gro_normal_list", "netif_receive_skb_list_internal",
    "__netif_receive_skb_list", "__netif_receive_skb_list_core", "__netif_receive_skb_core", "__netif_receive_skb_list_ptype",
    "ip_list_rcv", "ip_rcv_core", "ip_sublist_rcv", "ip_list_rcv_finish", "ip_rcv_finish_core", "udp_v4_early_demux",
    "ip_route_input_noref", "ip_route_input_rcu", "ip_route_input_slow", "fib_lookup", "fib_validate_source",
    "ip_sublist_rcv_finish", "ip_local_deliver", "ip_local_deliver_finish", "ip_protocol_deliver_rcu", "raw_local_deliver",
    "udp_rcv", "__udp4_lib_rcv", "__udp4_lib_lookup_skb", "__udp4_lib_lookup", "udp4_lib_lookup2", "compute_score",
    "udp_unicast_rcv_skb", "udp_queue_rcv_skb", "udp_queue_rcv_one_skb", "sk_filter_trim_cap", "__udp_queue_rcv_skb",
    "__udp_enqueue_schedule_skb", "__skb_queue_tail", "sock_def_readable", "e1000_irq_enable"};

const std::vector<std::string> application_reads = {
    "__sys_recvfrom", "sock_recvmsg", "sock_recvmsg_nosec", "inet_recvmsg", "udp_recvmsg", "__skb_recv_udp",
    "__skb_try_recv_from_queue", "copy_linear_skb", "skb_consume_udp", "__consume_stateless_skb"};

std::vector<std::string> joined(std::initializer_list<std::vector<std::string>> parts)
{
    std::vector<std::string> all;
    for (const auto& part : parts) {
        all.insert(all.end(), part.begin(), part.end());
    }
    return all;
}

TEST(ReceivePath, SmallDatagramFollowsTheSourceFromInterruptToRecvmsg)
{
    const ModelRun run(receive_scenario());
    const auto wanted = joined({interrupt_and_softirq, {"e1000_clean_rx_irq", "e1000_copybreak", "__napi_alloc_skb"}, receive_upwards, application_reads});
    EXPECT_EQ(first_missing(run.path(1), wanted), "");
    EXPECT_FALSE(run.calls(1, "napi_build_skb"));
    EXPECT_FALSE(run.calls(1, "skb_copy_datagram_msg"));
    EXPECT_FALSE(run.calls(1, "process_backlog")) << "a NAPI packet without RPS never touches a backlog";
    EXPECT_FALSE(run.calls(1, "ip_rcv")) << "received in a list";
    EXPECT_FALSE(run.calls(1, "run_ksoftirqd"));
}

TEST(ReceivePath, JourneyOfABurstsLastDatagramHoldsItsOwnPollOnly)
{
    const ModelRun run("cost_scale: 5\n" + receive_scenario("count: 64, gap: 2us"));
    const auto path = run.path(64);
    EXPECT_EQ(std::ranges::count(path, "net_rx_action"), 1);
    EXPECT_EQ(std::ranges::count(path, "e1000_clean"), 1);
    EXPECT_EQ(std::ranges::count(path, "e1000_clean_tx_irq"), 1);
    EXPECT_EQ(std::ranges::count(path, "handle_fasteoi_irq"), 1);
    EXPECT_EQ(first_missing(path, joined({receive_upwards, application_reads})), "udp_v4_early_demux") << "it used the route hint instead";
}

TEST(ReceivePath, FrameAboveCopybreakGetsAnSkbAroundTheDmaBuffer)
{
    // 210 + 42 bytes of frame, and the descriptor's length counts the FCS: exactly 256.
    const ModelRun at_limit(receive_scenario("count: 1, size: 210"));
    EXPECT_FALSE(at_limit.calls(1, "napi_build_skb"));
    EXPECT_TRUE(at_limit.calls(1, "__napi_alloc_skb"));
    const ModelRun above(receive_scenario("count: 1, size: 211"));
    EXPECT_TRUE(above.calls(1, "napi_build_skb"));
    EXPECT_FALSE(above.calls(1, "__napi_alloc_skb"));
    EXPECT_TRUE(above.calls(1, "e1000_copybreak")) << "it is asked, and declines";
}

TEST(ReceivePath, ReaderAsleepInRecvfromWaitsForMorePackets)
{
    const ModelRun run(receive_scenario("count: 1", "wait: recvfrom"));
    EXPECT_TRUE(run.calls(1, "__skb_wait_for_more_packets"));
    const ModelRun polls(receive_scenario());
    EXPECT_FALSE(polls.calls(1, "__skb_wait_for_more_packets"));
}

TEST(ReceivePath, UncheckedDatagramIsSummedWhileItIsCopied)
{
    const ModelRun run(receive_scenario("count: 1, size: 200", "", "", "rx_checksum: false, gro: false"));
    EXPECT_TRUE(run.calls(1, "skb_copy_and_csum_datagram_msg"));
    // Up to 76 bytes are summed at once in __udp4_lib_rcv.
    const ModelRun small(receive_scenario("count: 1, size: 68", "", "", "rx_checksum: false, gro: false"));
    EXPECT_TRUE(small.calls(1, "copy_linear_skb"));
}

TEST(ReceivePath, GroHasSummedWhatTheNicDidNotSoRecvmsgOnlyCopies)
{
    const ModelRun run(receive_scenario("count: 1, size: 200", "", "", "rx_checksum: false"));
    EXPECT_FALSE(run.calls(1, "skb_copy_and_csum_datagram_msg"));
    EXPECT_TRUE(run.calls(1, "copy_linear_skb"));
}

TEST(ReceivePath, LaterPacketsOfAListReuseTheRouteHint)
{
    const ModelRun run(receive_scenario("count: 8, gap: 0us"));
    EXPECT_TRUE(run.calls(1, "ip_route_input_slow"));
    std::size_t hinted = 0;
    for (std::uint32_t packet = 2; packet <= 8; ++packet) {
        hinted += run.calls(packet, "ip_route_use_hint") ? 1 : 0;
    }
    EXPECT_GT(hinted, 0U);
    EXPECT_EQ(hinted + run.calls_anywhere(fn::ip_route_input_slow), 8U);
}

TEST(ReceivePath, GroComesBeforeTheListGoesUp)
{
    const ModelRun run("cost_scale: 5\n" + receive_scenario("count: 3, gap: 0us"));
    // All napi_gro_receive of a batch, then all __netif_receive_skb_core.
    std::vector<std::string> order;
    for (std::size_t at = 0; at < run.trace().size(); ++at) {
        const Event& event = run.trace()[at];
        if (event.is_call() && (event.function_id() == fn::napi_gro_receive || event.function_id() == fn::__netif_receive_skb_core)) {
            order.emplace_back(event.function_id() == fn::napi_gro_receive ? "gro" : "core");
        }
    }
    EXPECT_EQ(order, (std::vector<std::string>{"gro", "gro", "gro", "core", "core", "core"}));
}

const std::vector<std::string> send_downwards = {
    "__sys_sendto", "__sock_sendmsg", "sock_sendmsg_nosec", "inet_sendmsg", "udp_sendmsg", "ip_route_output_flow",
    "__ip_route_output_key", "ip_route_output_key_hash", "ip_route_output_key_hash_rcu", "fib_lookup", "fib_select_path",
    "__mkroute_output", "ip_make_skb", "__ip_append_data", "sock_alloc_send_skb", "ip_generic_getfrag", "__ip_make_skb",
    "udp_send_skb", "udp4_hwcsum", "ip_send_skb", "ip_local_out", "__ip_local_out", "dst_output", "ip_output", "ip_finish_output",
    "__ip_finish_output", "ip_finish_output2", "ip_neigh_for_gw", "ip_neigh_gw4", "__ipv4_neigh_lookup_noref"};

const std::vector<std::string> device_and_driver = {
    "dev_queue_xmit", "__dev_queue_xmit", "netdev_core_pick_tx", "__dev_xmit_skb", "sch_direct_xmit", "validate_xmit_skb_list",
    "validate_xmit_skb", "dev_hard_start_xmit", "xmit_one", "netdev_start_xmit", "__netdev_start_xmit", "e1000_xmit_frame",
    "e1000_tso", "e1000_tx_map", "netdev_sent_queue", "e1000_tx_queue"};

const std::vector<std::string> completion = {
    "e1000_clean", "e1000_clean_tx_irq", "e1000_unmap_and_free_tx_resource", "napi_consume_skb", "skb_release_all",
    "skb_release_head_state", "skb_dst_drop", "sock_wfree", "netdev_completed_queue"};

TEST(SendPath, WarmNeighbourFollowsTheSourceFromSendtoToCompletion)
{
    const ModelRun run(send_scenario("count: 3, gap: 200us"));
    const auto wanted = joined({send_downwards, {"neigh_output", "neigh_hh_output"}, device_and_driver, {"e1000_intr"}, completion});
    EXPECT_EQ(first_missing(run.path(3), wanted), "");
    EXPECT_FALSE(run.calls(3, "__neigh_create"));
    EXPECT_FALSE(run.calls(3, "dev_qdisc_enqueue")) << "an empty fq_codel is bypassed";
    EXPECT_FALSE(run.calls(3, "net_tx_action")) << "completion runs in NET_RX";
}

TEST(SendPath, VeryFirstPacketGoesOverTheByteLimitOfBqlAndItsCompletionSchedulesTheQueue)
{
    const ModelRun run(send_scenario("count: 2, gap: 200us"));
    EXPECT_TRUE(run.calls(1, "net_tx_action")) << "the limit begins at 0";
    EXPECT_EQ(run.calls_anywhere(fn::netif_schedule_queue), 1U) << "then it has learned what one packet needs";
}

TEST(SendPath, ColdNeighbourParksTheDatagramUntilTheReplyReleasesIt)
{
    const ModelRun run(send_scenario("count: 1", false));
    const auto wanted =
        joined({send_downwards,
                {"__neigh_create", "neigh_output", "neigh_resolve_output", "neigh_event_send", "neigh_event_send_probe", "__neigh_event_send",
                 "neigh_probe", "arp_solicit", "arp_send_dst", "arp_create", "arp_xmit", "arp_xmit_finish", "dev_queue_xmit", "consume_skb",
                 "arp_process", "neigh_update", "__neigh_update", "neigh_resolve_output"},
                device_and_driver,
                completion});
    EXPECT_EQ(first_missing(run.path(1), wanted), "");
    EXPECT_FALSE(run.calls(1, "neigh_hh_output"));
    EXPECT_EQ(run.trace().packet(static_cast<PacketId>(1)).verdict, Verdict::sent);
    // The waiting datagram leaves in the softirq that received the reply, not in its sender.
    const Journey journey = run.journey(1);
    for (const Step& step : journey.steps) {
        const Event& event = run.trace()[step.ordinal];
        if (!step.shared && event.function_id() == fn::e1000_xmit_frame) {
            EXPECT_EQ(event.context(), Context::softirq);
        }
    }
    ASSERT_FALSE(journey.waits.empty());
    EXPECT_EQ(run.trace().queue(journey.waits.front().queue).kind, QueueKind::arp_queue);
}

TEST(SendPath, SecondDatagramToAFreshNeighbourUsesTheCachedHeader)
{
    const ModelRun run(send_scenario("count: 2, gap: 500us", false));
    const std::size_t packets = run.trace().packet_count();
    EXPECT_TRUE(run.calls(static_cast<std::uint32_t>(packets), "neigh_hh_output"));
}

TEST(SendPath, ConnectedSocketSkipsTheRouteLookup)
{
    const ModelRun run(send_scenario("count: 1, connect: true"));
    EXPECT_TRUE(run.calls(1, "sk_dst_check"));
    EXPECT_FALSE(run.calls(1, "ip_route_output_flow"));
}

TEST(SendPath, UnboundSocketIsBoundOnceToAFreePortOfTheRange)
{
    const ModelRun run(send_scenario("count: 5"));
    EXPECT_EQ(run.calls_anywhere(fn::inet_autobind), 1U);
    EXPECT_EQ(run.calls_anywhere(fn::release_sock), 1U) << "it holds the socket meanwhile";
    const std::uint16_t port = run.world().sockets.front().num;
    EXPECT_GE(port, 32768);
    EXPECT_LE(port, 60999);
    const ModelRun bound(send_scenario("count: 1, from_port: 40002"));
    EXPECT_EQ(bound.calls_anywhere(fn::inet_autobind), 0U);
}

TEST(SendPath, DeviceWithoutChecksumOffloadIsSummedBySoftware)
{
    const ModelRun run(send_scenario("count: 1", true, true, "tx_checksum: false"));
    EXPECT_TRUE(run.calls(1, "udp_csum"));
    EXPECT_FALSE(run.calls(1, "udp4_hwcsum"));
}

TEST(Loopback, SentDatagramBecomesTheReceivedOneThroughTheBacklog)
{
    const ModelRun run("skbscope: 1\nhosts:\n  - name: h\n    receivers: [{name: dnsd, port: 5001, cpu: 1}]\n"
                  "    senders: [{name: dig, to: \"127.0.0.1:5001\", count: 1, start: 50us}]\n");
    EXPECT_EQ(run.trace().packet_count(), 1U);
    const auto wanted = joined({{"__sys_sendto", "ip_output", "__dev_queue_xmit", "validate_xmit_skb", "dev_hard_start_xmit", "xmit_one",
                                 "loopback_xmit", "skb_orphan", "eth_type_trans", "__netif_rx", "netif_rx_internal", "enqueue_to_backlog",
                                 "napi_schedule_rps", "__local_bh_enable_ip", "do_softirq", "process_backlog", "__netif_receive_skb",
                                 "__netif_receive_skb_one_core", "__netif_receive_skb_core", "ip_rcv", "ip_rcv_core", "ip_rcv_finish",
                                 "ip_rcv_finish_core", "ip_local_deliver", "udp_rcv"},
                                application_reads});
    EXPECT_EQ(first_missing(run.path(1), wanted), "");
    EXPECT_FALSE(run.calls(1, "ip_route_input_noref")) << "it keeps the route it was sent with";
    EXPECT_EQ(run.count(Verdict::delivered), 1U);
}

TEST(Loopback, LargeDatagramIsNotLinearAndIsCopiedAsSuch)
{
    const ModelRun run("skbscope: 1\nhosts:\n  - name: h\n    receivers: [{name: dnsd, port: 5001, cpu: 1}]\n"
                  "    senders: [{name: dig, to: \"127.0.0.1:5001\", count: 1, size: 20000, start: 50us}]\n");
    EXPECT_TRUE(run.calls(1, "skb_copy_datagram_msg"));
    EXPECT_FALSE(run.calls(1, "copy_linear_skb"));
}

TEST(Arp, RequestForOurAddressIsAnsweredAndTheAskerLearned)
{
    const ModelRun run("skbscope: 1\nhosts:\n  - name: a\n    devices: [{name: eth0, address: 10.0.0.1/24, link: b.eth0}]\n"
                  "    senders: [{name: dig, to: \"10.0.0.2:5001\", count: 1, start: 50us}]\n"
                  "  - name: b\n    devices: [{name: eth0, address: 10.0.0.2/24, link: a.eth0}]\n"
                  "    receivers: [{name: dnsd, port: 5001, cpu: 1}]\n");
    EXPECT_EQ(run.count(Verdict::delivered), 1U);
    bool answered = false;
    for (const PacketRecord& packet : run.trace().packets()) {
        answered = answered || first_missing(run.path(to_index(packet.id)), {"arp_rcv", "arp_process", "ip_route_input_noref", "neigh_event_ns",
                                                                            "neigh_update", "arp_send_dst", "consume_skb"}).empty();
    }
    EXPECT_TRUE(answered);
}

} // namespace
} // namespace skbscope
