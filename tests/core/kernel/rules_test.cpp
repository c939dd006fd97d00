// The kernel's limits and counters, held at their edges.

#include "core/kernel/functions.h"
#include "core/packet/build.h"
#include "model.h"

#include <cstring>

#include <random>

namespace skbscope {
namespace {

using test::receive_scenario;
using test::ModelRun;
using test::send_scenario;

std::uint64_t accounted(const StackState& state)
{
    return state.accounting().decided() + state.accounting().in_flight();
}

// ---- receive buffer -------------------------------------------------------------------------------------------------------

TEST(ReceiveBuffer, Of4608BytesHoldsExactlyFourSmallDatagrams)
{
    // A reader that never gets to read again: each costs 1280 bytes of truesize, and the test comes before adding.
    const ModelRun run(receive_scenario("count: 30, size: 100, gap: 10us", "rcvbuf: 4608, work: 3600s"), SimTime{} + 2_ms);
    EXPECT_EQ(run.drops(drop::SOCKET_RCVBUFF), 30U - 1U - 4U) << "one was read at once, four lie in the queue";
    EXPECT_EQ(run.count(Verdict::delivered), 5U);
    EXPECT_EQ(run.counter("Udp.RcvbufErrors"), 25U);
    EXPECT_EQ(run.counter("Udp.InErrors"), 25U);
}

TEST(ReceiveBuffer, CountsTheDatagramItselfOn618)
{
    const auto delivered = [](const std::string& kernel, const std::string& traffic) {
        const ModelRun run("kernel: \"" + kernel + "\"\n" + receive_scenario(traffic, "rcvbuf: 2304, work: 3600s"), SimTime{} + 2_ms);
        EXPECT_EQ(run.count(Verdict::delivered) + run.drops(drop::SOCKET_RCVBUFF), 30U);
        return run.count(Verdict::delivered) - 1; // the first was read at once
    };
    EXPECT_EQ(delivered("6.18", "count: 30, size: 100, gap: 10us"), 2U) << "2 * 832 fit into 2304, a third would not";
    EXPECT_EQ(delivered("6.12", "count: 30, size: 100, gap: 10us"), 2U) << "2 * 1280 are above 2304, one is not";
    EXPECT_EQ(delivered("6.18", "count: 30, size: 1400, gap: 10us"), 1U) << "too large, but the first always fits";
}

TEST(Read, OfADatagramGivesItBackToTheCpuThatAllocatedItOn618)
{
    // As a 6.18 shows: skb:consume_skb at skb_defer_free_flush on the sender's CPU where the reader has another, none where it has the same.
    const auto run = [](const std::string& kernel) {
        return ModelRun("kernel: \"" + kernel + "\"\n" + receive_scenario("count: 3, gap: 50us"));
    };
    const ModelRun new_one = run("6.18");
    EXPECT_TRUE(new_one.calls(1, "skb_attempt_defer_free"));
    EXPECT_TRUE(new_one.calls(1, "napi_consume_skb")) << "in the next receive softirq of the CPU that had received it";
    EXPECT_FALSE(new_one.calls(1, "__consume_stateless_skb"));
    EXPECT_EQ(new_one.count(Verdict::delivered), 3U);
    const ModelRun old_one = run("6.12");
    EXPECT_TRUE(old_one.calls(1, "__consume_stateless_skb"));
    EXPECT_FALSE(old_one.calls(1, "skb_attempt_defer_free"));
}

TEST(ReceiveBuffer, CountsTruesizeSoThatLargeFramesCostMore)
{
    const ModelRun run(receive_scenario("count: 1, size: 1000"));
    const Journey journey = run.journey(1);
    const SkbImage image = skb_image(run.trace(), static_cast<PacketId>(1), journey.events, run.trace().size());
    EXPECT_EQ(image.of(SkbField::truesize), 2176U);
    const ModelRun small(receive_scenario("count: 1, size: 64"));
    const Journey small_journey = small.journey(1);
    EXPECT_EQ(skb_image(small.trace(), static_cast<PacketId>(1), small_journey.events, small.trace().size()).of(SkbField::truesize), 1280U);
}

TEST(ReceiveBuffer, MemoryComesBackWhenTheReaderHasNothingLeft)
{
    const ModelRun run(receive_scenario("count: 10, gap: 50us"));
    EXPECT_EQ(run.world().sockets.front().sk_rmem_alloc, 0U);
}

// ---- backlog ----------------------------------------------------------------------------------------------------------------

/// A datagram for 127.0.0.1:5001 put into netif_rx from code that keeps bottom halves off.
TEST(Backlog, LimitOfTenHoldsElevenAndDropsTheTwelfthWithCpuBacklog)
{
    auto scenario = parse_scenario("skbscope: 1\nhosts:\n  - name: h\n    sysctls: {net.core.netdev_max_backlog: 10}\n"
                                   "    receivers: [{name: dnsd, port: 5001, cpu: 1}]\n",
                                   "test");
    ASSERT_TRUE(scenario);
    Trace trace;
    kernel::World world = build_world(*scenario, trace);
    kernel::Kernel k(world, trace);
    k.run_until(SimTime{} + 50_us);
    UdpFrame frame;
    frame.source = frame.destination = IpAddress::v4(0x7f000001);
    frame.destination_port = 5001;
    frame.source_port = 4000;
    const std::vector<std::uint8_t> payload(64, 'x');
    frame.payload = payload;
    const auto bytes = build_udp_frame(frame);
    kernel::local_bh_disable(k);
    for (int n = 0; n < 12; ++n) {
        PacketRecord record;
        record.host = k.host().id;
        const PacketId packet = trace.add_packet(record);
        k.emit(EventKind::birth, packet, fn::__alloc_skb);
        const kernel::SkbIndex skb = kernel::__alloc_skb(k, packet, 200);
        std::ranges::copy(bytes, kernel::skb_put(k, skb, static_cast<std::uint32_t>(bytes.size())));
        kernel::eth_type_trans(k, skb, 0);
        // What lo brings has its route already; without one, 127/8 would be a martian there, too.
        kernel::set_dst(k, skb, kernel::ip_route_output_flow(k, 0, 0x7f000001, 0));
        kernel::__netif_rx(k, skb);
    }
    EXPECT_EQ(k.cpu().input_pkt_queue.size(), 11U);
    EXPECT_EQ(k.cpu().softnet[static_cast<std::size_t>(kernel::SoftnetStat::dropped)], 1U);
    EXPECT_EQ(trace.packet(static_cast<PacketId>(12)).reason, drop::CPU_BACKLOG);
    kernel::local_bh_enable(k); // what waited is handled now, by this very task
    k.run_until(SimTime{} + 10_ms);
    EXPECT_EQ(k.cpu().input_pkt_queue.size(), 0U);
    std::uint64_t delivered = 0;
    for (const PacketRecord& packet : trace.packets()) {
        delivered += packet.verdict == Verdict::delivered ? 1 : 0;
    }
    EXPECT_EQ(delivered, 11U);
}

// ---- NIC and softirq ----------------------------------------------------------------------------------------------------------

TEST(RxRing, OneDescriptorAlwaysStaysEmptyAndTheRestOverflows)
{
    // The CPU cannot look: its interrupt never comes while the frames do.
    auto scenario = parse_scenario(receive_scenario("count: 100, gap: 0us", "", "", "rx_ring: 48"), "test");
    ASSERT_TRUE(scenario);
    Trace trace;
    kernel::World world = build_world(*scenario, trace);
    world.devices[1].e1000.interrupts_masked = true;
    kernel::Kernel k(world, trace);
    k.run_until(SimTime{} + 1_ms);
    EXPECT_EQ(world.devices[1].e1000.rx_filled.size(), 47U);
    EXPECT_EQ(world.devices[1].stats[static_cast<std::size_t>(kernel::DevStat::rx_missed_errors)], 53U);
}

TEST(Napi, InterruptIsMaskedFromTheHandlerUntilThePollIsDone)
{
    const ModelRun run(receive_scenario("count: 20, gap: 1us"));
    bool masked = false;
    std::size_t handled_while_masked = 0;
    for (std::size_t at = 0; at < run.trace().size(); ++at) {
        const Event& event = run.trace()[at];
        if (event.event_kind() == EventKind::irq_mask) {
            handled_while_masked += masked ? 1 : 0;
            masked = true;
        } else if (event.event_kind() == EventKind::irq_unmask) {
            masked = false;
        }
    }
    EXPECT_FALSE(masked);
    EXPECT_EQ(handled_while_masked, 0U);
    EXPECT_LT(run.calls_anywhere(fn::e1000_intr), 20U) << "one interrupt, many packets";
}

TEST(Napi, PollStopsAtItsWeightAndIsPolledAgain)
{
    const ModelRun run(receive_scenario("count: 400, gap: 0us, size: 600"));
    std::size_t in_poll = 0;
    std::size_t most = 0;
    for (std::size_t at = 0; at < run.trace().size(); ++at) {
        const Event& event = run.trace()[at];
        if (!event.is_call()) {
            continue;
        }
        in_poll = event.function_id() == fn::e1000_clean ? 0 : in_poll + (event.function_id() == fn::napi_gro_receive ? 1 : 0);
        most = std::max(most, in_poll);
    }
    EXPECT_LE(most, 64U);
}

TEST(NetRx, SpentBudgetCountsATimeSqueezeAndRaisesTheSoftirqAgain)
{
    const ModelRun run("cost_scale: 5\n" + receive_scenario("count: 200, gap: 0us", "", "    sysctls: {net.core.netdev_budget: 4}\n"));
    EXPECT_GT(run.counter("softnet_stat.time_squeeze"), 0U);
    EXPECT_EQ(run.count(Verdict::delivered) + run.count(Verdict::dropped), 200U);
}

TEST(Softirq, AtTheNextTickTheRestGoesToKsoftirqd)
{
    // Slow functions: a stream that the CPU cannot empty before the tick. MAX_SOFTIRQ_TIME, 2 ms, is one jiffy with HZ=250.
    const ModelRun run("cost_scale: 8\n" + receive_scenario("count: 3000, gap: 5us", "", "    sysctls: {net.core.netdev_budget: 16}\n"));
    EXPECT_GT(run.calls_anywhere(fn::wakeup_softirqd), 0U);
    EXPECT_GT(run.calls_anywhere(fn::run_ksoftirqd), 0U);
}

TEST(Softirq, InterruptThatComesBeforeTheFirstVectorIsServedInTheNextRoundOfTheSameRun)
{
    // Interrupts are off from the way out of the first to where handle_softirqs() has taken what is pending.
    auto scenario = parse_scenario(receive_scenario(), "test"); // its datagram comes at 50 us
    ASSERT_TRUE(scenario);
    Trace trace;
    kernel::World world = build_world(*scenario, trace);
    kernel::Kernel k(world, trace);
    k.run_until(SimTime{} + 10_us);
    kernel::Cpu& cpu = world.cpus[0];
    cpu.now = std::max(cpu.now, SimTime{} + 20_us);
    cpu.interrupt({kernel::PendingIrq::Kind::rps_ipi, kernel::nothing}); // each raises NET_RX
    cpu.interrupt({kernel::PendingIrq::Kind::rps_ipi, kernel::nothing});
    k.run_until(SimTime{} + 45_us);
    std::size_t loops = 0, rounds = 0;
    for (std::size_t at = 0; at < trace.size(); ++at) {
        loops += trace[at].is_call() && trace[at].function_id() == fn::handle_softirqs ? 1 : 0;
        rounds += trace[at].is_call() && trace[at].function_id() == fn::net_rx_action ? 1 : 0;
    }
    EXPECT_EQ(loops, 1U);
    EXPECT_EQ(rounds, 2U);
    EXPECT_TRUE(cpu.softirq.empty());
    EXPECT_FALSE(cpu.in_softirq);
}

TEST(Softirq, IsLeftToKsoftirqdWhereBottomHalvesAreEnabledWhileItIsAwakeUntil64)
{
    const auto left = [](const std::string& version) {
        auto scenario = parse_scenario("kernel: \"" + version + "\"\n" + receive_scenario(), "test");
        Trace trace;
        kernel::World world = build_world(*scenario, trace);
        kernel::Kernel k(world, trace);
        k.run_until(SimTime{} + 10_us);
        kernel::wakeup_softirqd(k);
        kernel::local_bh_disable(k);
        kernel::__raise_softirq_irqoff(k, kernel::NET_RX_SOFTIRQ);
        kernel::local_bh_enable(k);
        const bool pending = k.cpu().softirq_pending != 0;
        k.run_until(SimTime{} + 45_us);
        EXPECT_EQ(world.cpus[0].softirq_pending, 0U) << "the thread has served it";
        return pending;
    };
    EXPECT_TRUE(left("5.10"));
    EXPECT_TRUE(left("6.1"));
    EXPECT_FALSE(left("6.12"));
}

TEST(Softirq, QuietTrafficNeverWakesKsoftirqd)
{
    const ModelRun run(receive_scenario("count: 50, gap: 100us"));
    EXPECT_EQ(run.calls_anywhere(fn::run_ksoftirqd), 0U);
}

// ---- send side ------------------------------------------------------------------------------------------------------------------

TEST(TxRing, FullRingStopsTheQueueAndTheQdiscKeepsThePackets)
{
    const ModelRun run(send_scenario("count: 200, gap: 0us, size: 1400", true, true, "driver: virtio_net, tx_ring: 64, rate: 10mbit, qdisc: pfifo_fast"));
    EXPECT_GT(run.counter("eth0.tx_stopped"), 0U);
    EXPECT_GT(run.calls_anywhere(fn::dev_qdisc_enqueue), 0U);
    EXPECT_GT(run.calls_anywhere(fn::net_tx_action), 0U) << "the woken queue runs in NET_TX";
    EXPECT_EQ(run.count(Verdict::sent), 200U);
}

TEST(Bql, HoldsTheE1000BackLongBeforeItsRingIsFull)
{
    const ModelRun run(send_scenario("count: 200, gap: 0us, size: 1400", true, true, "rate: 10mbit, qdisc: pfifo_fast"));
    EXPECT_EQ(run.calls_anywhere(fn::__e1000_maybe_stop_tx), 0U);
    EXPECT_GT(run.calls_anywhere(fn::netif_schedule_queue), 0U);
    EXPECT_GT(run.calls_anywhere(fn::dev_qdisc_enqueue), 0U);
    EXPECT_EQ(run.count(Verdict::sent), 200U);
    EXPECT_LT(run.world().devices[1].tx_queues[0].dql.limit, 20000U) << "a dozen full frames, not the ring's 256";
}

TEST(Qdisc, FullBandDropsWithQdiscDropAndSendtoDoesNotNotice)
{
    const ModelRun run(send_scenario("count: 100, gap: 0us, size: 1000", true, true, "tx_ring: 48, txqueuelen: 5, rate: 10mbit, qdisc: pfifo_fast"));
    EXPECT_GT(run.drops(drop::QDISC_DROP), 0U);
    EXPECT_EQ(run.drops(drop::QDISC_DROP) + run.count(Verdict::sent), 100U);
    EXPECT_EQ(run.counter("Udp.SndbufErrors"), run.drops(drop::QDISC_DROP)) << "net/ipv4/udp.c: ENOBUFS becomes a counter";
    EXPECT_EQ(run.counter("Ip.OutDiscards"), run.drops(drop::QDISC_DROP));
    EXPECT_EQ(run.world().tasks.back().failed, 0U) << "and sendto() returns success all the same";
}

TEST(Neighbour, WithoutAnAnswerFailsAfterThreeBroadcastsAndDropsWhatWaited)
{
    const ModelRun run(send_scenario("count: 1", false, false));
    EXPECT_EQ(run.drops(drop::NEIGH_FAILED), 1U);
    std::size_t requests = 0;
    for (const PacketRecord& packet : run.trace().packets()) {
        requests += packet.flow && packet.flow->ethertype == 0x0806 ? 1 : 0;
    }
    EXPECT_EQ(requests, 3U);
    EXPECT_EQ(run.trace().packet(static_cast<PacketId>(1)).death.ns / 1'000'000'000, 3U) << "about three seconds after the first";
}

TEST(Neighbour, FullUnresolvedQueueDropsItsOldest)
{
    const ModelRun run(send_scenario("count: 5, gap: 1us", false, false, "", "    sysctls: {net.ipv4.neigh.default.unres_qlen_bytes: 1600}\n"));
    EXPECT_EQ(run.drops(drop::NEIGH_QUEUEFULL), 3U) << "two of 768 bytes of truesize fit";
    EXPECT_EQ(run.trace().packet(static_cast<PacketId>(1)).reason, drop::NEIGH_QUEUEFULL);
}

TEST(UdpLookup, ClosedPortDropsWithNoSocket)
{
    std::string text = receive_scenario();
    text.replace(text.find("10.99.0.2:5001"), 14, "10.99.0.2:5999");
    const ModelRun run(text);
    EXPECT_EQ(run.drops(drop::NO_SOCKET), 1U);
    EXPECT_EQ(run.counter("Udp.NoPorts"), 1U);
}

TEST(UdpLookup, SocketBoundToTheAddressWinsOverTheWildcard)
{
    // Two hosts' worth of scoring in one: the address-specific slot is looked at first.
    auto scenario = parse_scenario(receive_scenario("count: 1", "address: 10.99.0.2"), "test");
    ASSERT_TRUE(scenario);
    Trace trace;
    kernel::World world = build_world(*scenario, trace);
    kernel::Kernel k(world, trace);
    k.run_until(SimTime{} + 40_us);
    kernel::Socket wildcard;
    wildcard.host = 0;
    wildcard.num = 5001;
    wildcard.in_use = true;
    world.sockets.push_back(wildcard);
    k.run_until(SimTime{} + 10_ms);
    EXPECT_EQ(world.tasks[2].received, 1U);
    EXPECT_TRUE(world.sockets.back().receive_queue.empty());
}

// ---- the whole -------------------------------------------------------------------------------------------------------------------

TEST(World, SameScenarioGivesTheSameTraceEveryTime)
{
    const ModelRun a(send_scenario("count: 50, gap: 3us", false));
    const ModelRun b(send_scenario("count: 50, gap: 3us", false));
    ASSERT_EQ(a.trace().size(), b.trace().size());
    for (std::size_t at = 0; at < a.trace().size(); ++at) {
        ASSERT_EQ(std::memcmp(&a.trace()[at], &b.trace()[at], sizeof(Event)), 0) << at;
    }
}

TEST(World, CopyRunsOnToTheSameEnd)
{
    auto scenario = parse_scenario(receive_scenario("count: 64, gap: 2us"), "test");
    ASSERT_TRUE(scenario);
    Trace trace;
    kernel::World world = build_world(*scenario, trace);
    kernel::Kernel(world, trace).run_until(SimTime{} + 100_us);
    const kernel::World snapshot = world;
    kernel::Kernel(world, trace).run_until(SimTime{} + 50_ms);
    const auto received = world.tasks[2].received;
    EXPECT_EQ(received, 64U);
    // The copy shares nothing with the original: it runs on by itself and ends in the same state.
    kernel::World again = snapshot;
    auto second = parse_scenario(receive_scenario("count: 64, gap: 2us"), "test");
    Trace other;
    kernel::World same_start = build_world(*second, other);
    kernel::Kernel(same_start, other).run_until(SimTime{} + 100_us);
    kernel::Kernel(again, other).run_until(SimTime{} + 50_ms);
    EXPECT_EQ(again.tasks[2].received, received);
    EXPECT_EQ(again.cpus[0].now, world.cpus[0].now);
    EXPECT_EQ(again.nets[0].mib, world.nets[0].mib);
}

TEST(World, AccountingClosesAtEveryEvent)
{
    const ModelRun run("burst: 3\n" + receive_scenario("count: 300, gap: 1us", "rcvbuf: 4608, work: 20us", "", "rx_ring: 48"));
    StackState state(run.trace());
    for (std::size_t at = 0; at < run.trace().size(); ++at) {
        state.apply(at);
        ASSERT_EQ(state.accounting().born, accounted(state));
        ASSERT_GE(state.accounting().born, state.accounting().decided());
    }
    EXPECT_EQ(state.accounting().in_flight(), 0U);
    EXPECT_EQ(state.accounting().born, 300U);
    EXPECT_GT(state.accounting().of(Verdict::dropped), 0U);
}

TEST(World, EventsAreInOrderOfTimeAndEveryCallReturns)
{
    const ModelRun run(send_scenario("count: 100, gap: 2us", false));
    std::uint64_t last = 0;
    for (std::size_t at = 0; at < run.trace().size(); ++at) {
        ASSERT_GE(run.trace()[at].time_ns, last);
        last = run.trace()[at].time_ns;
        if (run.trace()[at].is_call()) {
            ASSERT_TRUE(run.trace()[at].has_end()) << run.trace().function_name(run.trace()[at].function_id());
        }
    }
}

TEST(World, AnyFrameWhateverEndsInAVerdict)
{
    std::mt19937 random(7);
    std::vector<ReplayFrame> frames;
    UdpFrame good;
    good.ethernet = {MacAddress{{0x52, 0x54, 0, 0x12, 0x34, 0}}, MacAddress{{2, 0, 0, 0, 0, 1}}, 0x0800};
    good.source = IpAddress::v4(0x0a630001);
    good.destination = IpAddress::v4(0x0a630002);
    good.destination_port = 5001;
    const std::vector<std::uint8_t> payload(40, 'x');
    good.payload = payload;
    const auto base = build_udp_frame(good);
    for (std::uint64_t n = 0; n < 3000; ++n) {
        ReplayFrame frame;
        frame.at = SimTime{n * 20'000 + 100'000};
        auto bytes = base;
        for (std::uint32_t flips = random() % 6; flips > 0; --flips) {
            bytes[random() % bytes.size()] = static_cast<std::uint8_t>(random());
        }
        bytes.resize(random() % 4 == 0 ? random() % bytes.size() : bytes.size());
        frame.wire_length = static_cast<std::uint32_t>(bytes.size());
        frame.bytes = std::move(bytes);
        frames.push_back(frame);
    }
    ModelSource source(replay_scenario(0x0a630002, MacAddress{{0x52, 0x54, 0, 0x12, 0x34, 0}}, {5001}), frames);
    source.run_to_end();
    StackState state(source.trace());
    for (std::size_t at = 0; at < source.trace().size(); ++at) {
        state.apply(at);
    }
    EXPECT_GE(state.accounting().born, 3000U);
    EXPECT_EQ(state.accounting().in_flight(), 0U);
}

} // namespace
} // namespace skbscope
