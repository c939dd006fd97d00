// Drivers, RPS, the backlog, links: what the kernel's device layer does at its edges.

#include "core/kernel/functions.h"
#include "tests/core/kernel/machine.h"

#include <set>

namespace skbscope {
namespace {

using test::first_missing;
using test::Machine;
using test::ModelRun;
using test::receive_scenario;
using test::send_scenario;

std::uint64_t accounted(const ModelRun& run)
{
    const StackState end = run.end();
    return end.accounting().decided() + end.accounting().in_flight();
}

/// Two namespaces of one machine behind a veth pair; `host` is YAML put inside the first.
std::string veth_scenario(const std::string& sender = "count: 3, gap: 100us", const std::string& kernel = "6.1")
{
    return "skbscope: 1\nkernel: \"" + kernel +
           "\"\nhosts:\n"
           "  - name: root\n    cpus: 2\n    devices: [{name: v0, driver: veth, address: 10.99.0.2/24, peer: peer.v1}]\n"
           "    receivers: [{name: dnsd, port: 5001, cpu: 1}]\n"
           "  - name: peer\n    namespace_of: root\n    devices: [{name: v1, driver: veth, address: 10.99.0.1/24, peer: root.v0}]\n"
           "    senders: [{name: dig, to: \"10.99.0.2:5001\", start: 50us, " +
           sender + "}]\n";
}

TEST(Veth, SentDatagramBecomesTheReceivedOneInTheSendersOwnSystemCall)
{
    const ModelRun run(veth_scenario("count: 2, gap: 200us"));
    EXPECT_EQ(run.count(Verdict::delivered), 2U);
    const auto last = static_cast<std::uint32_t>(run.trace().packet_count());
    EXPECT_EQ(first_missing(run.path(last), {"__sys_sendto", "__dev_queue_xmit", "validate_xmit_skb", "dev_hard_start_xmit", "veth_xmit",
                                             "__dev_forward_skb", "eth_type_trans", "__netif_rx", "netif_rx_internal", "enqueue_to_backlog",
                                             "do_softirq", "net_rx_action", "process_backlog", "__netif_receive_skb", "ip_rcv", "udp_rcv",
                                             "__sys_recvfrom"}),
              "");
    EXPECT_FALSE(run.calls(last, "sch_direct_xmit")) << "a veth has no qdisc";
    EXPECT_EQ(accounted(run), run.trace().packet_count());
}

TEST(Veth, WhatOneEndHasSentTheOtherHasReceived)
{
    const ModelRun run(veth_scenario());
    EXPECT_EQ(run.counter("peer: v1.tx_packets"), run.counter("v0.rx_packets"));
    EXPECT_EQ(run.counter("v0.tx_packets"), run.counter("peer: v1.rx_packets"));
    EXPECT_GE(run.counter("v0.rx_packets"), 3U);
}

TEST(Veth, Kernel510CallsNetifRxWhereLaterOnesCallItsShortForm)
{
    const ModelRun old(veth_scenario("count: 1", "5.10"));
    EXPECT_GT(old.calls_anywhere(fn::netif_rx), 0U);
    EXPECT_EQ(old.calls_anywhere(fn::__netif_rx), 0U);
}

TEST(Softirq, LoopHasItsFormerNameOnKernel510)
{
    const ModelRun old("kernel: \"5.10\"\n" + receive_scenario("count: 1"));
    EXPECT_EQ(old.calls_anywhere(fn::handle_softirqs), 0U);
    EXPECT_EQ(first_missing(old.path(1), {"irq_exit_rcu", "invoke_softirq", "__do_softirq", "net_rx_action"}), "");
    for (std::size_t i = 0; i < old.trace().size(); ++i) {
        const Event& event = old.trace()[i];
        EXPECT_TRUE(!event.is_call() || event.function_id() != fn::__do_softirq || event.context() == Context::softirq) << i;
    }
}

TEST(VirtioNet, EachQueueHasItsInterruptAndTransmitCompletesInItsOwnPoll)
{
    const ModelRun run(send_scenario("count: 3, gap: 200us", true, true, "driver: virtio_net"));
    EXPECT_EQ(first_missing(run.path(3), {"start_xmit", "virtqueue_add_outbuf", "virtqueue_kick_prepare", "virtqueue_notify", "vring_interrupt",
                                          "skb_xmit_done", "virtnet_poll_tx", "virtqueue_get_buf", "napi_consume_skb"}),
              "");
    EXPECT_EQ(run.count(Verdict::sent), 3U);
    EXPECT_EQ(run.calls_anywhere(fn::skb_recv_done), 0U);
}

TEST(VirtioNet, PollOfTheAnswerFreesWhatWasSentWhenItsOwnInterruptIsLate)
{
    const auto pings_with = [](const std::string& device) {
        return ModelRun("skbscope: 1\nhosts:\n  - name: client\n    devices:\n"
                        "      - {name: eth0, driver: virtio_net, address: 10.0.0.1/24, link: server, " + device + "}\n"
                        "    neighbours: [{address: 10.0.0.2, mac: \"52:54:00:12:34:01\", device: eth0}]\n"
                        "    pings:\n      - {to: 10.0.0.2, count: 2, interval: 10ms}\n"
                        "stations:\n  - name: server\n    mac: 52:54:00:12:34:01\n    address: 10.0.0.2\n");
    };
    const ModelRun usual = pings_with("irq_cpu: 0");
    const ModelRun late = pings_with("tx_irq_delay: 1ms");
    EXPECT_TRUE(usual.calls(1, "virtnet_poll_tx"));
    EXPECT_EQ(first_missing(late.path(1), {"start_xmit", "virtqueue_notify", "vring_interrupt", "skb_recv_done", "virtnet_poll", "free_old_xmit_skbs",
                                           "napi_consume_skb"}),
              "");
    EXPECT_FALSE(late.calls(1, "virtnet_poll_tx"));
    EXPECT_EQ(usual.count(Verdict::sent), late.count(Verdict::sent));
    EXPECT_EQ(accounted(late), late.trace().packet_count());
}

TEST(VirtioNet, EveryTwentyFirstReceiveBufferIsLargeEnoughToBuildAnSkbAround)
{
    const ModelRun run(receive_scenario("count: 63, size: 1400, gap: 20us", "", "", "driver: virtio_net"));
    EXPECT_EQ(run.calls_anywhere(fn::build_skb), 3U) << "a 32 KiB fragment gives 20 buffers of 1536 bytes and one of 2048";
    EXPECT_EQ(run.calls_anywhere(fn::__napi_alloc_skb), 60U);
    EXPECT_EQ(run.count(Verdict::delivered), 63U);
}

TEST(VirtioNet, DatagramInPagesIsReadPageByPage)
{
    const ModelRun run(receive_scenario("count: 1, size: 1400", "", "", "driver: virtio_net"));
    EXPECT_EQ(first_missing(run.path(1), {"__napi_alloc_skb", "udp_recvmsg", "skb_copy_datagram_msg", "skb_copy_datagram_iter", "skb_consume_udp"}), "");
    EXPECT_FALSE(run.calls(1, "copy_linear_skb"));
    const ModelRun small(receive_scenario("count: 1, size: 100", "", "", "driver: virtio_net"));
    EXPECT_TRUE(small.calls(1, "copy_linear_skb"));
    EXPECT_FALSE(small.calls(1, "skb_copy_datagram_iter"));
}

TEST(VirtioNet, NoSkbIsBuiltAroundABufferOnKernel510)
{
    const ModelRun run("kernel: \"5.10\"\n" + receive_scenario("count: 63, size: 1400, gap: 20us", "", "", "driver: virtio_net"));
    EXPECT_EQ(run.calls_anywhere(fn::build_skb), 0U);
    EXPECT_EQ(run.calls_anywhere(fn::__napi_alloc_skb), 63U);
    EXPECT_EQ(run.count(Verdict::delivered), 63U);
}

TEST(VirtioNet, SeveralQueuesSpreadFlowsAndLoseNothing)
{
    const ModelRun run("skbscope: 1\nhosts:\n  - name: server\n    cpus: 2\n"
                       "    devices: [{name: eth0, driver: virtio_net, queues: 2, address: 10.99.0.2/24, link: client}]\n"
                       "    receivers: [{port: 5001}, {port: 5002, cpu: 1}, {port: 5003}, {port: 5004, cpu: 1}]\n"
                       "stations:\n  - name: client\n    mac: 52:54:00:12:34:01\n    address: 10.99.0.1\n    sends:\n"
                       "      - {to: \"10.99.0.2:5001\", from_port: 1111, count: 20, gap: 5us}\n"
                       "      - {to: \"10.99.0.2:5002\", from_port: 2222, count: 20, gap: 5us}\n"
                       "      - {to: \"10.99.0.2:5003\", from_port: 3333, count: 20, gap: 5us}\n"
                       "      - {to: \"10.99.0.2:5004\", from_port: 4444, count: 20, gap: 5us}\n");
    EXPECT_EQ(run.count(Verdict::delivered), 80U);
    const auto& pairs = run.world().devices[1].virtio.pairs;
    ASSERT_EQ(pairs.size(), 2U);
    EXPECT_GT(pairs[0].rx.last_used_idx, 0U);
    EXPECT_GT(pairs[1].rx.last_used_idx, 0U);
    EXPECT_EQ(pairs[0].rx.last_used_idx + pairs[1].rx.last_used_idx, 80U);
}

TEST(E1000e, TransmitIsCleanedInItsInterruptAndFreedByNetTx)
{
    const ModelRun run(send_scenario("count: 3, gap: 200us", true, true, "driver: e1000e"));
    EXPECT_EQ(first_missing(run.path(3), {"e1000_xmit_frame", "e1000_intr_msix_tx", "e1000_clean_tx_irq", "e1000_put_txbuf", "__dev_kfree_skb_irq",
                                          "net_tx_action", "skb_release_head_state", "skb_release_data"}),
              "");
    EXPECT_FALSE(run.calls(3, "__kfree_skb")) << "no half of a pair: it goes back to NAPI's cache";
    EXPECT_EQ(run.count(Verdict::sent), 3U);
    EXPECT_EQ(run.world().sockets.front().sk_wmem_alloc, 0U);
}

TEST(E1000e, ThrottlesItsTransmitVectorAsItDoesTheOther)
{
    const auto interrupts = [](const std::string& throttle) {
        const ModelRun run(send_scenario("count: 10, gap: 10us", true, true, "driver: e1000e" + throttle));
        EXPECT_EQ(run.count(Verdict::sent), 10U);
        EXPECT_EQ(run.world().sockets.front().sk_wmem_alloc, 0U) << "what was sent last is freed, too";
        return run.calls_anywhere(fn::e1000_intr_msix_tx);
    };
    EXPECT_EQ(interrupts(""), 10U);
    EXPECT_LE(interrupts(", rx_usecs: 50"), 4U);
    EXPECT_GE(interrupts(", rx_usecs: 50"), 2U);
}

/// Packets for TSO of a connection over that driver, and how many of them had a head made anew as it sent them.
std::pair<std::size_t, std::size_t> tso_and_new_heads(const std::string& driver)
{
    const ModelRun run("skbscope: 1\nhosts:\n"
                       "  - name: a\n    cpus: 1\n    devices: [{name: eth0, driver: " + driver + ", address: 10.99.0.2/24, link: b.eth1}]\n"
                       "    tcp_clients: [{to: \"10.99.0.1:80\", send: 20000}]\n"
                       "  - name: b\n    cpus: 1\n    devices: [{name: eth1, driver: " + driver + ", address: 10.99.0.1/24, link: a.eth0}]\n"
                       "    tcp_servers: [{port: 80, receive: 20000}]\n",
                       SimTime{} + 5_s);
    EXPECT_EQ(run.world().nets[0].mib[static_cast<std::size_t>(kernel::Mib::Tcp_RetransSegs)], 0U);
    std::size_t large = 0;
    for (const PacketRecord& packet : run.trace().packets()) {
        large += packet.sent_here && packet.verdict == Verdict::sent && packet.length > 1514 ? 1 : 0;
    }
    return {large, run.calls_anywhere(fn::pskb_expand_head)};
}

TEST(E1000e, PullsPayloadBehindTheHeadersOfEachPacketForTso)
{
    const auto [large, heads] = tso_and_new_heads("e1000e");
    EXPECT_GT(large, 0U);
    EXPECT_EQ(heads, large) << "each has a clone, in the queue of what is not acknowledged";
    EXPECT_EQ(tso_and_new_heads("e1000").second, 0U) << "a workaround of the other driver";
}

TEST(E1000e, ReceiveHasAnInterruptOfItsOwn)
{
    const ModelRun run(receive_scenario("count: 1", "", "", "driver: e1000e"));
    EXPECT_EQ(first_missing(run.path(1), {"handle_edge_irq", "e1000_intr_msix_rx", "e1000e_poll", "e1000_clean_rx_irq", "__napi_alloc_skb", "e1000_receive_skb",
                                          "napi_gro_receive", "udp_rcv"}),
              "");
}

// ---- RPS --------------------------------------------------------------------------------------------------------------------

const std::string to_cpu_1 = "rps_cpus: \"2\"";

TEST(Rps, GroComesBeforeRps)
{
    const ModelRun run(receive_scenario("count: 3, gap: 50us", "", "", to_cpu_1));
    const auto path = run.path(1);
    EXPECT_EQ(first_missing(path, {"napi_gro_receive", "dev_gro_receive", "netif_receive_skb_list_internal", "get_rps_cpu", "__skb_flow_dissect",
                                   "enqueue_to_backlog", "rps_trigger_softirq", "process_backlog", "__netif_receive_skb_core", "ip_rcv"}),
              "");
    EXPECT_EQ(std::ranges::count(path, "get_rps_cpu"), 1) << "not before GRO, too";
    EXPECT_FALSE(run.calls(1, "ip_list_rcv"));
}

TEST(Rps, ProtocolWorkRunsOnTheChosenCpuAndTheDriversOnTheInterruptedOne)
{
    const ModelRun run(receive_scenario("count: 5, gap: 50us", "", "", to_cpu_1));
    for (std::size_t at = 0; at < run.trace().size(); ++at) {
        const Event& event = run.trace()[at];
        if (event.is_call() && event.function_id() == fn::udp_rcv) {
            EXPECT_EQ(event.cpu, 1U);
        }
        if (event.is_call() && event.function_id() == fn::e1000_clean) {
            EXPECT_EQ(event.cpu, 0U);
        }
    }
    EXPECT_EQ(run.counter("softnet_stat.received_rps"), 5U) << "one IPI each, as the other CPU was idle";
    EXPECT_EQ(run.count(Verdict::delivered), 5U);
}

TEST(Rps, MaskOfZeroKeepsPacketsWhereTheyAre)
{
    const ModelRun run(receive_scenario("count: 2, gap: 50us", "", "", "rps_cpus: \"0\""));
    EXPECT_EQ(run.calls_anywhere(fn::get_rps_cpu), 0U);
    EXPECT_EQ(run.calls_anywhere(fn::enqueue_to_backlog), 0U);
}

TEST(Rps, Kernel612RaisesNoSoftirqForAnIpiFromWithinNetRxAction)
{
    const auto raises = [](const std::string& kernel) {
        const ModelRun run("kernel: \"" + kernel + "\"\n" + receive_scenario("count: 1", "", "", to_cpu_1));
        std::size_t on_first = 0;
        for (std::size_t at = 0; at < run.trace().size(); ++at) {
            const Event& event = run.trace()[at];
            on_first += event.event_kind() == EventKind::softirq_raise && event.cpu == 0 && event.arg == kernel::NET_RX_SOFTIRQ ? 1 : 0;
        }
        return on_first;
    };
    EXPECT_EQ(raises("6.1"), 2U);
    EXPECT_EQ(raises("6.12"), 1U);
}

TEST(Rfs, PacketsOfAConnectedSocketGoToTheCpuOfItsReaderOnceItHasRead)
{
    const ModelRun run(receive_scenario("count: 4, gap: 200us", "connect: \"10.99.0.1:40001\"", "    sysctls: {net.core.rps_sock_flow_entries: 100}\n", "rps_flow_cnt: 64"));
    std::vector<unsigned> cpus;
    for (std::size_t at = 0; at < run.trace().size(); ++at) {
        if (run.trace()[at].is_call() && run.trace()[at].function_id() == fn::udp_rcv) {
            cpus.push_back(run.trace()[at].cpu);
        }
    }
    EXPECT_EQ(cpus, (std::vector<unsigned>{0, 1, 1, 1})) << "the reader runs on CPU 1, the interrupt on CPU 0";
    EXPECT_EQ(run.world().hosts[0].rps_sock_flow_table.size(), 128U) << "a power of two";
}

TEST(Rfs, NeedsBothTables)
{
    const auto backlogged = [](const std::string& entries, const std::string& flows) {
        return ModelRun(receive_scenario("count: 4, gap: 200us", "connect: \"10.99.0.1:40001\"", "    sysctls: {net.core.rps_sock_flow_entries: " + entries + "}\n", "rps_flow_cnt: " + flows))
            .calls_anywhere(fn::enqueue_to_backlog);
    };
    EXPECT_EQ(backlogged("128", "0"), 0U);
    EXPECT_EQ(backlogged("0", "128"), 0U);
}

TEST(Rfs, AnUnconnectedSocketHasNoFlow)
{
    const ModelRun run(receive_scenario("count: 4, gap: 200us", "", "    sysctls: {net.core.rps_sock_flow_entries: 128}\n", "rps_flow_cnt: 128"));
    EXPECT_EQ(run.calls_anywhere(fn::enqueue_to_backlog), 0U);
}

/// A stream from one machine's eth1 to another's eth0.
std::string stream_scenario(const std::string& device)
{
    return "skbscope: 1\nhosts:\n  - name: server\n    cpus: 1\n    devices: [{name: eth0, mac: \"52:54:00:12:34:00\", address: 10.99.0.2/24, link: client.eth1" + device +
           "}]\n    tcp_servers: [{name: sink, port: 5008}]\n"
           "  - name: client\n    cpus: 1\n    devices: [{name: eth1, mac: \"52:54:00:12:34:01\", address: 10.99.0.1/24}]\n"
           "    tcp_clients: [{name: source, to: \"10.99.0.2:5008\", send: 40000, start: 50us}]\n";
}

TEST(Gro, WhatIsHeldGoesUpWhenThePollIsComplete)
{
    const ModelRun run(stream_scenario(""));
    EXPECT_EQ(run.end().accounting().in_flight(), 0U);
    EXPECT_GT(run.calls_anywhere(fn::napi_gro_flush), 0U);
    EXPECT_EQ(run.calls_anywhere(fn::napi_watchdog), 0U);
    for (const kernel::Task& task : run.world().tasks) {
        if (task.program == kernel::Program::tcp_server) {
            EXPECT_EQ(task.tcp.bytes_received, 40000U);
        }
    }
}

TEST(Gro, FlushTimeoutHoldsPacketsAcrossPollsUntilTheWatchdogPolls)
{
    const ModelRun run(stream_scenario(", gro_flush_timeout: 20000, napi_defer_hard_irqs: 2"));
    EXPECT_GT(run.calls_anywhere(fn::napi_watchdog), 0U);
    EXPECT_EQ(run.end().accounting().in_flight(), 0U);
}

TEST(Gro, MergesNoFurtherThanGroMaxSize)
{
    const ModelRun few(stream_scenario(", rx_usecs: 100, gro_max_size: 3000"));
    const ModelRun many(stream_scenario(", rx_usecs: 100"));
    EXPECT_LT(few.count(Verdict::merged), many.count(Verdict::merged));
}

TEST(Backlog, LimitOfNHoldsNPlusOnePacketsAlsoBehindRps)
{
    // CPU 1 is busy with a hard interrupt's worth of nothing: it cannot take its packets while they come.
    Machine m(receive_scenario("count: 30, gap: 2us", "", "    sysctls: {net.core.netdev_max_backlog: 7}\n", to_cpu_1));
    m.world.cpus[1].on_cpp_stack = true;
    m.k.run_until(SimTime{} + 2_ms);
    EXPECT_EQ(m.world.cpus[1].input_pkt_queue.size(), 8U);
    EXPECT_EQ(m.world.cpus[1].softnet[static_cast<std::size_t>(kernel::SoftnetStat::dropped)], 22U);
    EXPECT_EQ(m.stat(1, kernel::DevStat::rx_dropped), 22U);
}

TEST(Backlog, FlowLimitDropsTheFlowThatFillsHalfOfTheHistory)
{
    const std::string sysctls = "    sysctls: {net.core.netdev_max_backlog: 200, net.core.flow_limit_cpu_bitmap: 1}\n";
    Machine m(receive_scenario("count: 400, gap: 2us", "", sysctls, to_cpu_1));
    m.world.cpus[1].on_cpp_stack = true;
    m.k.run_until(SimTime{} + 5_ms);
    EXPECT_GT(m.world.cpus[0].softnet[static_cast<std::size_t>(kernel::SoftnetStat::flow_limit_count)], 0U);
    EXPECT_EQ(m.world.cpus[1].input_pkt_queue.size(), 164U) << "100, and 64 of the history";
}

TEST(FlowLimit, LetsSixtyFourPacketsOfTheLastHundredTwentyEightPass)
{
    kernel::FlowLimit limit;
    limit.turn_on(4096);
    int passed = 0;
    while (passed < 1000 && !limit.exceeded(5)) {
        ++passed;
    }
    EXPECT_EQ(passed, 64);
    EXPECT_FALSE(limit.exceeded(6)) << "another flow is not concerned";
}

// ---- interrupts, BQL, links ------------------------------------------------------------------------------------------------------

TEST(Coalescing, LeavesAtLeastTheGivenTimeBetweenTwoInterrupts)
{
    const ModelRun every(receive_scenario("count: 100, gap: 20us"));
    const ModelRun fewer(receive_scenario("count: 100, gap: 20us", "", "", "rx_usecs: 200"));
    EXPECT_EQ(fewer.count(Verdict::delivered), 100U);
    EXPECT_LT(fewer.calls_anywhere(fn::e1000_intr), every.calls_anywhere(fn::e1000_intr) / 4);
    SimTime last;
    for (std::size_t at = 0; at < fewer.trace().size(); ++at) {
        const Event& event = fewer.trace()[at];
        if (event.event_kind() == EventKind::irq_raise) {
            EXPECT_TRUE(last == SimTime{} || event.time() >= last + 200_us);
            last = event.time();
        }
    }
}

TEST(Dql, GrowsWhenTheRingRanDryWhileTheStackWasHeldBack)
{
    kernel::Dql dql;
    dql.queued(100);
    EXPECT_LT(dql.avail(), 0);
    dql.completed(100, 0);
    EXPECT_EQ(dql.limit, 100U);
    EXPECT_EQ(dql.avail(), 100);
    dql.queued(150);
    EXPECT_LT(dql.avail(), 0);
    dql.completed(150, 0);
    EXPECT_EQ(dql.limit, 250U) << "what was completed since the last look comes on top";
}

TEST(Link, LosesTheShareThatItIsTold)
{
    const ModelRun all(receive_scenario("count: 200, gap: 50us", "", "", "loss: 100%"));
    EXPECT_EQ(all.count(Verdict::delivered), 0U);
    const ModelRun some(receive_scenario("count: 400, gap: 50us", "", "", "loss: 25%"));
    EXPECT_NEAR(static_cast<double>(some.count(Verdict::delivered)), 300.0, 40.0);
    EXPECT_EQ(some.count(Verdict::delivered) + some.world().devices[1].link.lost, 400U);
}

TEST(Link, DelayIsTheCablesAndNotTheHosts)
{
    const ModelRun near(receive_scenario("count: 1"));
    const ModelRun far(receive_scenario("count: 1", "", "", "delay: 5ms"));
    const auto ring = [](const ModelRun& run) {
        for (std::size_t at = 0; at < run.trace().size(); ++at) {
            if (run.trace()[at].event_kind() == EventKind::irq_raise) {
                return run.trace()[at].time();
            }
        }
        return SimTime{};
    };
    EXPECT_EQ((ring(far) - ring(near)).ns, 5'000'000 - 500);
}

TEST(Gro, OffHandsEveryPacketUpWithoutALookAtItsHeaders)
{
    const ModelRun run(receive_scenario("count: 2, gap: 50us", "", "", "gro: false"));
    EXPECT_TRUE(run.calls(1, "dev_gro_receive"));
    EXPECT_FALSE(run.calls(1, "inet_gro_receive"));
    EXPECT_EQ(run.count(Verdict::delivered), 2U);
}

TEST(Truesize, OfASmallReceivedFrameDependsOnTheKernel)
{
    const auto truesize = [](const std::string& kernel, const std::string& driver) {
        const ModelRun run("kernel: \"" + kernel + "\"\n" + receive_scenario("count: 1, size: 64", "", "", "driver: " + driver));
        const Journey journey = run.journey(1);
        return skb_image(run.trace(), static_cast<PacketId>(1), journey.events, run.trace().size()).of(SkbField::truesize);
    };
    EXPECT_EQ(truesize("5.10", "e1000"), 768U);
    EXPECT_EQ(truesize("5.10", "virtio_net"), 768U);
    EXPECT_EQ(truesize("6.1", "virtio_net"), 1280U);
    EXPECT_EQ(truesize("6.12", "e1000e"), 1280U);
    EXPECT_EQ(truesize("6.18", "virtio_net"), 832U) << "as napi_gro_receive_entry says on a 6.18";
}

TEST(Backlog, BurstBehindRpsOverflowsAsTheOtherCpuIsToldOnlyAtTheEndOfNetRxAction)
{
    const ModelRun run("cost_scale: 10\n" + receive_scenario("count: 200, gap: 0us", "", "    sysctls: {net.core.netdev_max_backlog: 4}\n", to_cpu_1));
    EXPECT_GT(run.drops(drop::CPU_BACKLOG), 0U);
    EXPECT_EQ(run.counter("softnet_stat.dropped"), run.drops(drop::CPU_BACKLOG));
    EXPECT_EQ(run.drops(drop::CPU_BACKLOG) + run.count(Verdict::delivered) + run.drops(drop::RX_RING_FULL), 200U);
    EXPECT_EQ(accounted(run), run.trace().packet_count());
}

TEST(Pktgen, FramesGoPastSocketsAndQdiscsAndTheAccountingCloses)
{
    const ModelRun run("skbscope: 1\nhosts:\n"
                       "  - name: dut\n    cpus: 2\n    sysctls: {net.core.netdev_max_backlog: 4}\n"
                       "    devices: [{name: eth0, mac: \"52:54:00:12:34:00\", address: 10.99.0.2/24, link: peer.eth1, rps_cpus: \"2\"}]\n"
                       "    receivers: [{name: dnsd, port: 5008, cpu: 1}]\n"
                       "  - name: peer\n    cpus: 1\n    devices: [{name: eth1, address: 10.99.0.1/24, link: dut.eth0}]\n"
                       "    pktgens: [{device: eth1, to: \"10.99.0.2:5008\", to_mac: \"52:54:00:12:34:00\", from: \"10.99.0.1:43008\", count: 200, size: 106}]\n");
    EXPECT_EQ(run.drops(drop::CPU_BACKLOG) + run.count(Verdict::delivered) + run.drops(drop::RX_RING_FULL), 200U);
    EXPECT_EQ(run.count(Verdict::sent), 200U);
    EXPECT_EQ(run.calls_anywhere(fn::e1000_xmit_frame), 200U);
    EXPECT_EQ(run.calls_anywhere(fn::__dev_queue_xmit), 0U);
    EXPECT_EQ(accounted(run), run.trace().packet_count());
}

/// From v1 to v0 over a veth pair; the generator and the receiver have a CPU each.
std::string pktgen_over_veth(const std::string& root = "", const std::string& steering = ", rps_cpus: \"2\"")
{
    return "skbscope: 1\nhosts:\n"
           "  - name: root\n    cpus: 2\n" +
           root +
           "    devices: [{name: v0, driver: veth, mac: \"02:11:22:33:44:00\", address: 10.99.0.2/24, peer: peer.v1" +
           steering +
           "}]\n"
           "    receivers: [{name: dnsd, port: 5008, cpu: 1}]\n"
           "  - name: peer\n    namespace_of: root\n    devices: [{name: v1, driver: veth, address: 10.99.0.1/24, peer: root.v0}]\n"
           "    pktgens: [{device: v1, to: \"10.99.0.2:5008\", to_mac: \"02:11:22:33:44:00\", from: \"10.99.0.1:43008\", count: 100, size: 106, "
           "gap: 5us}]\n";
}

TEST(Pktgen, HoldsEachFrameOnceMoreSoThatItsReceiverOverVethGoesOnWithAClone)
{
    const ModelRun run(pktgen_over_veth());
    EXPECT_EQ(run.count(Verdict::delivered), 100U);
    EXPECT_EQ(run.trace().packet_count(), 100U) << "the packet is the same one, in another sk_buff";
    EXPECT_EQ(first_missing(run.path(1), {"__netdev_alloc_skb", "veth_xmit", "ip_rcv_core", "skb_clone", "consume_skb", "ip_rcv_finish_core",
                                          "udp_rcv", "skb_consume_udp"}),
              "");
    EXPECT_TRUE(run.calls(1, "kfree_skb_reason")) << "pktgen gives its own reference back before it makes the next frame";
    EXPECT_EQ(run.drops(drop::NOT_SPECIFIED), 0U);
    EXPECT_EQ(accounted(run), run.trace().packet_count());
    EXPECT_EQ(run.world().free_skbs.size(), run.world().skbs.size()) << "both sk_buffs of each are gone";
}

TEST(Pktgen, HoldsAFrameThatTheTransmitInterruptOfE1000eLetsGo)
{
    const ModelRun run("skbscope: 1\nhosts:\n  - name: dut\n    cpus: 2\n"
                       "    devices: [{name: eth0, driver: e1000e, mac: \"52:54:00:12:34:00\", address: 10.99.0.2/24, link: peer.eth1}]\n"
                       "    receivers: [{name: dnsd, port: 5008, cpu: 1}]\n"
                       "  - name: peer\n    cpus: 1\n    devices: [{name: eth1, driver: e1000e, address: 10.99.0.1/24, link: dut.eth0}]\n"
                       "    pktgens: [{device: eth1, to: \"10.99.0.2:5008\", to_mac: \"52:54:00:12:34:00\", from: \"10.99.0.1:43008\", count: 20, size: 106, gap: 20us}]\n");
    EXPECT_EQ(run.count(Verdict::sent), 20U);
    EXPECT_EQ(run.count(Verdict::delivered), 20U);
    EXPECT_EQ(run.world().free_skbs.size(), run.world().skbs.size()) << "each is freed, and once";
    EXPECT_EQ(accounted(run), run.trace().packet_count());
}

TEST(Pktgen, FrameThatAFullBacklogRefusesIsDroppedThereThoughPktgenStillHoldsIt)
{
    const ModelRun run("cost_scale: 20\n" + pktgen_over_veth("    sysctls: {net.core.netdev_max_backlog: 2}\n"));
    EXPECT_GT(run.drops(drop::CPU_BACKLOG), 0U);
    EXPECT_EQ(run.drops(drop::CPU_BACKLOG), run.counter("softnet_stat.dropped"));
    EXPECT_EQ(run.drops(drop::CPU_BACKLOG) + run.count(Verdict::delivered), 100U);
    EXPECT_EQ(run.world().free_skbs.size(), run.world().skbs.size());
}

/// pktgen sets the headers' places itself (fill_packet_ipv4): the flow limit asks for the flow before any layer has read the frame.
TEST(Pktgen, FrameHasAFlowWhenTheFlowLimitAsksForIt)
{
    // From half of the limit on the flow is asked for: half of one is none.
    const ModelRun run(pktgen_over_veth("    sysctls: {net.core.netdev_max_backlog: 1, net.core.flow_limit_cpu_bitmap: 3}\n", ""));
    std::set<std::uint64_t> hashes;
    for (std::uint32_t packet = 1; packet <= run.trace().packet_count(); ++packet) {
        const Journey journey = run.journey(packet);
        hashes.insert(skb_image(run.trace(), static_cast<PacketId>(packet), journey.events, run.trace().size()).of(SkbField::hash).value_or(0));
    }
    EXPECT_EQ(hashes.size(), 1U) << "one flow";
    EXPECT_FALSE(hashes.contains(0));
    EXPECT_EQ(accounted(run), run.trace().packet_count());
}

TEST(Loopback, CountsBytesWithoutTheEthernetHeader)
{
    const ModelRun run("skbscope: 1\nhosts:\n  - name: h\n    receivers: [{name: dnsd, port: 5001, cpu: 1}]\n"
                       "    senders: [{name: dig, to: \"127.0.0.1:5001\", count: 4, size: 300}]\n");
    EXPECT_EQ(run.counter("lo.rx_packets"), 4U);
    EXPECT_EQ(run.counter("lo.rx_bytes"), 4U * 328U) << "payload, UDP and IP header; as recorded on 5.10 and 6.12";
    EXPECT_EQ(run.counter("lo.tx_bytes"), 4U * 328U);
}

/// One datagram through two devices of the driver, whose neighbours have to be asked for.
std::string cold_pair(const std::string& driver, const std::string& sender, const std::string& kernel = "6.1")
{
    return "skbscope: 1\nkernel: \"" + kernel +
           "\"\nhosts:\n"
           "  - name: a\n    cpus: 1\n    devices: [{name: eth0, driver: " + driver + ", address: 10.99.0.2/24, link: b.eth1, ipv6: false}]\n"
           "    senders: [{name: dig, to: \"10.99.0.1:5001\", " + sender + "}]\n"
           "  - name: b\n    cpus: 1\n    devices: [{name: eth1, driver: " + driver + ", address: 10.99.0.1/24, link: a.eth0, ipv6: false}]\n"
           "    receivers: [{name: dnsd, port: 5001}]\n";
}

TEST(E1000e, FillsUpAFrameShorterThanSixtyBytesAndCountsItAsAnErrorThatLosesNothing)
{
    const ModelRun run(cold_pair("e1000e", "count: 1, size: 200"));
    EXPECT_EQ(run.count(Verdict::delivered), 1U);
    EXPECT_EQ(run.counter("eth0.rx_packets"), 1U) << "the answer to its ARP request";
    EXPECT_EQ(run.counter("eth0.rx_bytes"), 64U) << "42 bytes, filled up to 60, and the FCS";
    EXPECT_EQ(run.counter("eth0.rx_errors"), 1U);
    EXPECT_EQ(run.counter("eth1.rx_errors"), 1U) << "the request; the datagram is long enough";
}

TEST(E1000e, OfQemuSendsALargeTcpPacketAsFragmentsOfOneDatagram)
{
    const auto reassembled = [](const std::string& device) {
        const ModelRun run("skbscope: 1\nhosts:\n"
                           "  - name: a\n    cpus: 1\n    devices: [{name: eth0, driver: e1000e, address: 10.99.0.2/24, link: b.eth1" + device + "}]\n"
                           "    tcp_clients: [{to: \"10.99.0.1:80\", send: 20000}]\n"
                           "  - name: b\n    cpus: 1\n    devices: [{name: eth1, driver: e1000e, address: 10.99.0.1/24, link: a.eth0}]\n"
                           "    tcp_servers: [{port: 80, receive: 20000}]\n",
                           SimTime{} + 5_s);
        EXPECT_EQ(run.world().nets[0].mib[static_cast<std::size_t>(kernel::Mib::Tcp_RetransSegs)], 0U) << "their checksum is right";
        return run.world().nets[1].mib[static_cast<std::size_t>(kernel::Mib::Ip_ReasmOKs)];
    };
    EXPECT_GT(reassembled(", tso_empty_tail: true"), 0U);
    EXPECT_EQ(reassembled(""), 0U);
}

TEST(Interrupt, ThatComesLateFindsAllFramesThatCameMeanwhileInOnePoll)
{
    const auto polls = [](const std::string& device) {
        const ModelRun run(receive_scenario("count: 3, gap: 30us", "", "", device));
        EXPECT_EQ(run.count(Verdict::delivered), 3U);
        return run.calls_anywhere(fn::e1000_clean);
    };
    EXPECT_EQ(polls(""), 3U);
    EXPECT_EQ(polls("irq_delay: 300us"), 1U);
}

TEST(Interrupt, OfAVethCannotBeLate)
{
    const auto scenario = parse_scenario("skbscope: 1\nhosts:\n  - name: h\n    devices: [{name: v0, driver: veth, irq_delay: 1ms}]\n", "test");
    ASSERT_FALSE(scenario);
    EXPECT_NE(scenario.error().describe().find("a veth has no interrupts"), std::string::npos) << scenario.error().describe();
}

TEST(Cost, OfOneHostsCallsDoesNotTouchTheOthers)
{
    const auto took = [](const std::string& extra, FunctionId function) {
        std::string text = cold_pair("e1000", "count: 1");
        text.insert(text.find("    cpus: 1\n"), extra); // of the first host
        const ModelRun run(text);
        for (std::size_t at = 0; at < run.trace().size(); ++at) {
            if (run.trace()[at].is_call() && run.trace()[at].function_id() == function) {
                return run.trace()[at].duration_ns;
            }
        }
        return 0U;
    };
    EXPECT_GE(took("    cost_scale: 10\n", fn::udp_send_skb), 10 * took("", fn::udp_send_skb)) << "on the slow host";
    EXPECT_EQ(took("    cost_scale: 10\n", fn::udp_rcv), took("", fn::udp_rcv)) << "on the other";
}

} // namespace
} // namespace skbscope
