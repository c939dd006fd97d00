// Limits, orders and counters at their very edge: each of these fails if a limit is off by one, a comparison turns round or a counter stands still.

#include "core/kernel/costs.h"
#include "core/kernel/functions.h"
#include "core/packet/build.h"
#include "core/packet/bytes.h"
#include "tests/core/kernel/machine.h"

#include <fmt/format.h>
#include <limits>
#include <set>

namespace skbscope::test {
namespace {

using namespace kernel;

std::string loopback_reader(const std::string& sysctls, int cpu = 1)
{
    return fmt::format("skbscope: 1\nhosts:\n  - name: h\n    cpus: 2\n    sysctls: {{{}}}\n    receivers: "
                       "[{{name: dnsd, port: 5001, cpu: {}}}]\n",
                       sysctls, cpu);
}

/// All frames lie in the ring when the late interrupt comes.
std::string burst(int count, const std::string& driver = "e1000", const std::string& host = "")
{
    return receive_scenario(fmt::format("count: {}, gap: 0us, size: 64", count), "", host,
                            "irq_delay: 1ms, driver: " + driver);
}

std::size_t frames_of_first_poll(const ModelRun& run, FunctionId poll)
{
    std::size_t frames = 0, polls = 0;
    for (std::size_t at = 0; at < run.trace().size(); ++at) {
        if (run.trace()[at].is_call()) {
            polls += run.trace()[at].function_id() == poll ? 1 : 0;
            frames += polls == 1 && run.trace()[at].function_id() == fn::napi_gro_receive ? 1 : 0;
        }
    }
    return frames;
}

// ---- softirq, NAPI -------------------------------------------------------------------------------------------------------------

TEST(Limits, TenRoundsOfSoftirqsThenKsoftirqd)
{
    Machine m(loopback_reader("net.core.netdev_budget: 1, net.core.dev_weight: 1"));
    local_bh_disable(m.k);
    for (int n = 0; n < 12; ++n) {
        m.into_backlog(true);
    }
    local_bh_enable(m.k);
    EXPECT_EQ(m.k.cpu().input_pkt_queue.size() + m.k.cpu().process_queue.size(), 2U)
        << "MAX_SOFTIRQ_RESTART: ten rounds of one packet each";
    EXPECT_EQ(m.k.cpu().softnet[static_cast<std::size_t>(SoftnetStat::time_squeeze)], 10U);
    m.k.run_until(SimTime{} + 10_ms);
    EXPECT_EQ(m.calls(fn::run_ksoftirqd), 1U);
}

TEST(Limits, BacklogQuotaIsTheWeightTimesItsReceiveBias)
{
    Machine m(
        loopback_reader("net.core.netdev_budget: 1, net.core.dev_weight: 1, net.core.dev_weight_rx_bias: 2"));
    local_bh_disable(m.k);
    for (int n = 0; n < 22; ++n) {
        m.into_backlog(true);
    }
    local_bh_enable(m.k);
    EXPECT_EQ(m.k.cpu().input_pkt_queue.size() + m.k.cpu().process_queue.size(), 2U)
        << "ten rounds of two packets each";
}

TEST(Limits, SoftirqsEndTheirRoundsWhenAnotherTaskWantsTheCpu)
{
    Machine m(loopback_reader("net.core.netdev_budget: 1, net.core.dev_weight: 1",
                              0)); // the reader's CPU is the one that receives
    local_bh_disable(m.k);
    for (int n = 0; n < 12; ++n) {
        m.into_backlog();
    }
    local_bh_enable(m.k);
    EXPECT_EQ(m.k.cpu().input_pkt_queue.size() + m.k.cpu().process_queue.size(), 11U)
        << "the first datagram wakes its reader: need_resched()";
}

TEST(Limits, TransmitSoftirqComesBeforeReceive)
{
    Machine m(loopback_reader(""));
    local_bh_disable(m.k);
    m.into_backlog();
    __raise_softirq_irqoff(m.k, NET_TX_SOFTIRQ);
    local_bh_enable(m.k);
    m.k.run_until(SimTime{} + 1_ms);
    std::vector<FunctionId> order;
    for (std::size_t at = 0; at < m.trace.size(); ++at) {
        if (m.trace[at].is_call() && (m.trace[at].function_id() == fn::net_tx_action ||
                                      m.trace[at].function_id() == fn::net_rx_action)) {
            order.push_back(m.trace[at].function_id());
        }
    }
    EXPECT_EQ(order, (std::vector<FunctionId>{fn::net_tx_action, fn::net_rx_action}))
        << "vector 2 before vector 3";
}

TEST(Limits, BudgetIsSpentWhenNothingOfItIsLeft)
{
    const auto squeezes = [](int budget) {
        const ModelRun run(
            burst(70, "e1000", fmt::format("    sysctls: {{net.core.netdev_budget: {}}}\n", budget)));
        EXPECT_EQ(run.count(Verdict::delivered), 70U);
        return run.counter("softnet_stat.time_squeeze");
    };
    EXPECT_EQ(squeezes(64), 1U) << "64 of the first poll, of 70";
    EXPECT_EQ(squeezes(65), 0U);
}

/// On a machine on which a poll of `frames` takes milliseconds: how many ticks passed in the only poll of the first net_rx_action(), and
/// whether that was squeezed.
std::pair<std::int64_t, bool> ticks_and_squeeze(int usecs, int frames)
{
    Machine m(fmt::format("skbscope: 1\ncost_scale: 1000\nhosts:\n  - name: h\n    cpus: 1\n    sysctls: "
                          "{{net.core.netdev_budget_usecs: {}}}\n",
                          usecs));
    local_bh_disable(m.k);
    for (int n = 0; n < frames; ++n) {
        m.into_backlog(true);
    }
    m.k.cpu().now = SimTime{} + 1_s + 3_ms; // a millisecond before a tick
    local_bh_enable(m.k);
    const bool squeezed = m.k.cpu().softnet[static_cast<std::size_t>(SoftnetStat::time_squeeze)] > 0;
    m.k.run_until(SimTime{} + 2_s);
    for (std::size_t at = 0; at < m.trace.size(); ++at) {
        const Event& event = m.trace[at];
        if (event.is_call() && event.function_id() == fn::net_rx_action) {
            const SimTime end = event.time() + Duration{static_cast<std::int64_t>(event.duration_ns)};
            return {end.ns / 4'000'000 - event.time().ns / 4'000'000, squeezed};
        }
    }
    return {-1, false};
}

TEST(Limits, TimeOfNetRxActionIsCountedInTicksRoundedUp)
{
    // net_rx_action(): time_after_eq(jiffies, jiffies at its begin + usecs_to_jiffies(netdev_budget_usecs)), HZ = 250.
    bool squeezed = false, spared = false;
    for (const auto& [usecs, jiffies] : {std::pair{2000, 1}, {4000, 1}, {4001, 2}, {8000, 2}, {8001, 3}}) {
        for (int frames = 1; frames <= 12; ++frames) {
            const auto [ticks, squeeze] = ticks_and_squeeze(usecs, frames);
            ASSERT_GE(ticks, 0);
            EXPECT_EQ(squeeze, ticks >= jiffies)
                << usecs << " us, " << frames << " frames, " << ticks << " ticks";
            squeezed = squeezed || squeeze;
            spared = spared || !squeeze;
        }
    }
    EXPECT_TRUE(squeezed && spared);
}

TEST(Limits, APollTakesSixtyFourFramesWhicheverTheDriver)
{
    EXPECT_EQ(frames_of_first_poll(ModelRun(burst(100)), fn::e1000_clean), 64U);
    EXPECT_EQ(frames_of_first_poll(ModelRun(burst(100, "e1000e")), fn::e1000e_poll), 64U);
    EXPECT_EQ(frames_of_first_poll(ModelRun(burst(100, "virtio_net")), fn::virtnet_poll), 64U);
}

TEST(Limits, DeferredInterruptsArePolledTwiceByTheTimerFirst)
{
    const ModelRun run(
        receive_scenario("count: 10, gap: 1ms", "", "", "gro_flush_timeout: 20000, napi_defer_hard_irqs: 2"));
    EXPECT_EQ(run.calls_anywhere(fn::e1000_intr), 10U);
    EXPECT_EQ(run.calls_anywhere(fn::napi_watchdog), 20U);
    EXPECT_EQ(run.calls_anywhere(fn::e1000_clean), 30U);
}

// ---- GRO -------------------------------------------------------------------------------------------------------------------------

std::vector<std::uint8_t> tcp_segment(std::uint16_t port, std::uint32_t seq, std::uint8_t ttl = 64)
{
    static const std::vector<std::uint8_t> payload(100, 'x');
    TcpFrame frame;
    frame.ethernet = {*MacAddress::parse("52:54:00:12:34:00"), *MacAddress::parse("52:54:00:12:34:01"),
                      0x0800};
    frame.source = IpAddress::v4(0x0a630001);
    frame.destination = IpAddress::v4(0x0a630002);
    frame.tcp.source_port = port;
    frame.tcp.destination_port = 5008;
    frame.tcp.sequence = seq;
    frame.tcp.flags = 0x10; // ACK
    frame.payload = payload;
    frame.ttl = ttl;
    return build_tcp_frame(frame);
}

/// Hands the segment to GRO as the driver of the first device does.
void to_gro(Machine& m, const std::vector<std::uint8_t>& frame, std::uint32_t hash)
{
    const SkbIndex skb = m.skb_of(frame, 1);
    m.k.skb(skb).hash = hash;
    napi_gro_receive(m.k, m.world.devices[1].e1000.napi, skb);
}

const Napi& napi_of(const Machine& m)
{
    return m.world.napis[static_cast<std::size_t>(m.world.devices[1].e1000.napi)];
}

TEST(Limits, ABucketOfGroHoldsEightFlowsAndTheOldestGoesUp)
{
    Machine m(receive_scenario());
    for (std::uint16_t flow = 0; flow < 9; ++flow) {
        to_gro(m, tcp_segment(static_cast<std::uint16_t>(40000 + flow), 1), 8U * (flow + 1U));
    }
    EXPECT_EQ(napi_of(m).gro_hash[0].size(), 8U);
    EXPECT_EQ(napi_of(m).rx_list.size(), 1U);
    to_gro(m, tcp_segment(41000, 1), 3);
    EXPECT_EQ(napi_of(m).gro_hash[3].size(), 1U) << "another hash, another bucket";
}

TEST(Limits, EightSegmentsGoUpTogether)
{
    Machine m(receive_scenario());
    const auto arp = std::vector<std::uint8_t>{
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x12, 0x34, 0, 0, 0, 0}; // no protocol of GRO's
    for (int n = 0; n < 7; ++n) {
        to_gro(m, arp, 1);
    }
    EXPECT_EQ(napi_of(m).rx_list.size(), 7U);
    to_gro(m, arp, 1);
    EXPECT_EQ(napi_of(m).rx_list.size(), 0U) << "gro_normal_batch";
}

TEST(Limits, AMergedPacketCountsInTheBatchAsItsSegments)
{
    Machine m(receive_scenario());
    for (std::uint32_t n = 0; n < 7; ++n) {
        to_gro(m, tcp_segment(40000, 1 + 100 * n), 8);
    }
    ASSERT_EQ(napi_of(m).gro_hash[0].size(), 1U);
    napi_gro_flush(m.k, m.world.devices[1].e1000.napi);
    EXPECT_EQ(napi_of(m).rx_count, 7U);
    EXPECT_EQ(napi_of(m).rx_list.size(), 1U);
}

TEST(Limits, SegmentsOfAnotherTtlAreNotMerged)
{
    Machine m(receive_scenario());
    to_gro(m, tcp_segment(40000, 1), 8);
    to_gro(m, tcp_segment(40000, 101), 8);
    ASSERT_EQ(napi_of(m).gro_hash[0].size(), 1U);
    EXPECT_EQ(m.world.skbs[static_cast<std::size_t>(napi_of(m).gro_hash[0].front())].gro.count, 2U);
    to_gro(m, tcp_segment(40000, 201, 63), 8);
    EXPECT_EQ(m.world.skbs[static_cast<std::size_t>(napi_of(m).gro_hash[0].front())].gro.count, 1U)
        << "held by itself";
    EXPECT_EQ(napi_of(m).rx_list.size(), 1U);
}

// ---- RPS, backlog -----------------------------------------------------------------------------------------------------------------

TEST(Limits, RpsScalesTheHashOverItsMap)
{
    const auto cpu_of = [](std::uint32_t hash) {
        Machine m("skbscope: 1\nhosts:\n  - name: h\n    cpus: 4\n    devices: [{name: eth0, mac: "
                  "\"52:54:00:12:34:00\", address: 10.99.0.2/24, rps_cpus: \"f\"}]\n");
        const SkbIndex skb = m.skb_of(tcp_segment(40000, 1), 1);
        m.k.skb(skb).hash = hash;
        local_bh_disable(m.k);
        netif_receive_skb_list_internal(m.k, {skb});
        for (std::uint32_t cpu = 0; cpu < 4; ++cpu) {
            if (!m.world.cpus[cpu].input_pkt_queue.empty()) {
                return static_cast<int>(cpu);
            }
        }
        return -1;
    };
    EXPECT_EQ(cpu_of(0x3fffffff), 0);
    EXPECT_EQ(cpu_of(0x40000000), 1);
    EXPECT_EQ(cpu_of(0x80000000), 2) << "reciprocal_scale(), no remainder";
    EXPECT_EQ(cpu_of(0xffffffff), 3);
}

TEST(Limits, EveryCpuWhoseBacklogWasFilledIsTold)
{
    std::string text = receive_scenario("count: 1", "", "", "rps_cpus: \"e\", irq_delay: 1ms");
    text.replace(text.find("cpus: 2"), 7, "cpus: 4");
    for (int flow = 2; flow < 12; ++flow) {
        text += fmt::format("      - {{to: \"10.99.0.2:5001\", from_port: {}, start: 50us, count: 1}}\n",
                            40000 + flow);
    }
    const ModelRun run(text);
    EXPECT_EQ(run.count(Verdict::delivered), 11U);
    EXPECT_EQ(run.end().accounting().in_flight(), 0U);
    EXPECT_GT(run.counter("softnet_stat.received_rps"), 1U);
}

TEST(Limits, ADeviceThatIsDownTakesNothingIntoTheBacklog)
{
    const auto reason = [](const std::string& kernel) {
        Machine m("kernel: \"" + kernel + "\"\n" + loopback_reader(""));
        m.world.devices[0].up = false;
        m.into_backlog();
        return m.trace.packet(static_cast<PacketId>(1)).reason;
    };
    EXPECT_EQ(reason("6.12"), drop::DEV_READY);
    EXPECT_EQ(reason("6.1"), drop::NOT_SPECIFIED);
}

// ---- sockets ------------------------------------------------------------------------------------------------------------------------

TEST(Limits, ReceiveBufferThatIsExactlyFullTakesOneMore)
{
    const ModelRun run(receive_scenario("count: 30, size: 100, gap: 10us", "rcvbuf: 3840, work: 3600s"),
                       SimTime{} + 2_ms);
    EXPECT_EQ(run.count(Verdict::delivered), 1U + 4U) << "one read at once; 3 * 1280 is not above the limit";
    EXPECT_EQ(run.world().sockets.front().sk_drops, 25U);
}

TEST(Limits, PacketSocketsBufferThatIsExactlyFullTakesNothing)
{
    const auto taken = [](int rcvbuf) {
        return ModelRun(receive_scenario("count: 20, gap: 1us", "",
                                         fmt::format("    taps:\n      - {{device: eth0, kind: packet, "
                                                     "rcvbuf: {}, work: 10ms, cpu: 1}}\n",
                                                     rcvbuf)),
                        SimTime{} + 5_ms)
            .counter("tcpdump@eth0.tp_packets");
    };
    EXPECT_EQ(taken(3 * 1280), 3U + 1U) << "the first is read at once";
    EXPECT_EQ(taken(3 * 1280 + 1), 4U + 1U);
}

TEST(Limits, WhatIsReadIsGivenBackByQuartersOfTheBuffer)
{
    Machine m(receive_scenario("count: 9, gap: 1us, size: 64", "rcvbuf: 20480, work: 1ms"));
    std::set<std::uint32_t> seen;
    for (SimTime at = SimTime{} + 300_us; at < SimTime{} + 20_ms; at = at + 100_us) {
        m.k.run_until(at);
        seen.insert(m.world.sockets.front().sk_rmem_alloc);
    }
    EXPECT_EQ(seen, (std::set<std::uint32_t>{0, 4 * 1280, 8 * 1280})) << "20480 / 4 are four datagrams";
}

TEST(Limits, SetsockoptDoublesWithinItsLimits)
{
    Machine m(receive_scenario());
    const auto set = [&](std::int64_t value) {
        sys_setsockopt_rcvbuf(m.k, 0, value);
        return m.world.sockets.front().sk_rcvbuf;
    };
    EXPECT_EQ(set(100), 2304U) << "SOCK_MIN_RCVBUF";
    EXPECT_EQ(set(10'000), 20'000U);
    EXPECT_EQ(set(1'000'000'000), 2U * 212'992U) << "net.core.rmem_max";
}

TEST(Limits, QueueOfANeighbourTakesWhatFitsExactly)
{
    const auto dropped = [](int bytes) {
        return ModelRun(
                   send_scenario(
                       "count: 5, gap: 1us", false, false, "",
                       fmt::format("    sysctls: {{net.ipv4.neigh.default.unres_qlen_bytes: {}}}\n", bytes)))
            .drops(drop::NEIGH_QUEUEFULL);
    };
    EXPECT_EQ(dropped(2 * 768), 3U);
    EXPECT_EQ(dropped(2 * 768 - 1), 4U);
}

TEST(Limits, AStaleNeighbourIsAskedFiveSecondsAfterItsFirstUse)
{
    Machine m(send_scenario("count: 1"));
    m.world.neighbours.front().state = Nud::stale;
    m.k.run_until(SimTime{} + 10_s);
    std::vector<std::int64_t> asked;
    for (const PacketRecord& packet : m.trace.packets()) {
        if (packet.flow && packet.flow->ethertype == 0x0806 && packet.sent_here) {
            asked.push_back(packet.birth.ns / 1'000'000'000);
        }
    }
    EXPECT_EQ(asked, std::vector<std::int64_t>{5}) << "delay_first_probe_time";
}

// ---- ICMP ---------------------------------------------------------------------------------------------------------------------------

TEST(Limits, AnErrorQuotesNoMoreThan576BytesAllow)
{
    std::string text = receive_scenario("count: 1, size: 1000");
    text.replace(text.find("10.99.0.2:5001"), 14, "10.99.0.2:5999");
    const ModelRun run(text);
    std::vector<std::uint32_t> lengths;
    for (const PacketRecord& packet : run.trace().packets()) {
        if (packet.flow && packet.flow->protocol == 1) {
            lengths.push_back(packet.length);
        }
    }
    ASSERT_FALSE(lengths.empty());
    EXPECT_EQ(lengths.front(), 14U + 576U);
}

TEST(Limits, ErrorsOverLoopbackAreNotLimited)
{
    const ModelRun run("skbscope: 1\nhosts:\n  - name: h\n    senders: [{name: dig, to: \"127.0.0.1:5999\", "
                       "count: 20, gap: 10us}]\n");
    EXPECT_EQ(run.counter("Icmp.OutDestUnreachs"), 20U);
}

TEST(Limits, ErrorsOfIpv6ComeInABurstOfSixAndThenAsTheRoutesPrefixAllows)
{
    const auto errors = [](const std::string& flow) {
        return ModelRun("skbscope: 1\nhosts:\n  - name: server\n    cpus: 2\n"
                        "    devices:\n      - {name: eth0, mac: \"52:54:00:12:34:00\", address: "
                        "\"fd00:99::2/64\", link: client}\n"
                        "    neighbours:\n      - {address: \"fd00:99::1\", mac: \"52:54:00:12:34:01\", "
                        "device: eth0}\n"
                        "stations:\n  - name: client\n    mac: 52:54:00:12:34:01\n    address6: "
                        "\"fd00:99::1\"\n    sends:\n"
                        "      - {to: \"[fd00:99::2]:5099\", from_port: 49013, start: 50us, " +
                        flow + "}\n")
            .counter("Icmp6OutDestUnreachs");
    };
    EXPECT_EQ(errors("count: 20, gap: 100us"), 6U);
    EXPECT_EQ(errors("count: 20, gap: 300ms"), 20U) << "a /64: one each 250 ms";
}

// ---- drivers --------------------------------------------------------------------------------------------------------------------------

TEST(Limits, OfAFullRingEachFrameIsCountedTwice)
{
    auto m = Machine(receive_scenario("count: 100, gap: 0us", "", "", "rx_ring: 48"), SimTime{});
    m.world.devices[1].e1000.interrupts_masked = true;
    m.k.run_until(SimTime{} + 1_ms);
    EXPECT_EQ(m.stat(1, DevStat::rx_no_buffer_count), 53U);
    EXPECT_EQ(m.stat(1, DevStat::rx_missed_errors), 53U);
}

TEST(Limits, ReceiveRingIsRefilledBySixteen)
{
    const ModelRun run(burst(33));
    EXPECT_EQ(run.calls_anywhere(fn::e1000_alloc_rx_buffers), 3U)
        << "16, 16 and the last at the end of the poll";
}

TEST(Limits, FrameOfSixtyBytesIsNotPadded)
{
    EXPECT_TRUE(ModelRun(send_scenario("count: 1, size: 17")).calls(1, "eth_skb_pad")) << "59 bytes";
    EXPECT_FALSE(ModelRun(send_scenario("count: 1, size: 18")).calls(1, "eth_skb_pad")) << "60 bytes";
}

TEST(Limits, CopybreakOfTheE1000eIsBelow256Bytes)
{
    const auto copied = [](int size) {
        return ModelRun(receive_scenario(fmt::format("count: 1, size: {}", size), "", "", "driver: e1000e"))
            .calls(1, "__napi_alloc_skb");
    };
    EXPECT_TRUE(copied(213)) << "255 bytes";
    EXPECT_FALSE(copied(214)) << "256 bytes";
}

TEST(Limits, InterruptsOfTheE1000eAreThrottledAndMaskedWhileItPolls)
{
    const auto interrupts = [](const std::string& flow, const std::string& device) {
        const ModelRun run(receive_scenario(flow, "", "", "driver: e1000e" + device));
        EXPECT_EQ(run.end().accounting().in_flight(), 0U);
        return run.calls_anywhere(fn::e1000_intr_msix_rx);
    };
    EXPECT_LT(interrupts("count: 100, gap: 20us", ", rx_usecs: 200"), 15U);
    EXPECT_LT(interrupts("count: 40, gap: 0us", ", irq_delay: 100us"), 5U) << "one interrupt, many frames";
}

TEST(Limits, CoalescingWaitsNoLongerThanItsTime)
{
    const ModelRun run(receive_scenario("count: 100, gap: 20us", "", "", "rx_usecs: 200"));
    SimTime last;
    std::int64_t least = std::numeric_limits<std::int64_t>::max();
    for (std::size_t at = 0; at < run.trace().size(); ++at) {
        if (run.trace()[at].event_kind() == EventKind::irq_raise) {
            least = last == SimTime{} ? least : std::min(least, (run.trace()[at].time() - last).ns);
            last = run.trace()[at].time();
        }
    }
    EXPECT_EQ(least, 200'000);
}

TEST(Limits, BuffersOfVirtioAreRefilledWhenMoreThanHalfAPollWasTaken)
{
    EXPECT_EQ(ModelRun(burst(32, "virtio_net")).calls_anywhere(fn::try_fill_recv), 0U);
    EXPECT_EQ(ModelRun(burst(33, "virtio_net")).calls_anywhere(fn::try_fill_recv), 1U);
}

TEST(Limits, VirtioStopsItsQueueBelowNineteenFreeDescriptors)
{
    Machine m(send_scenario("count: 200, gap: 0us, size: 1400", true, true,
                            "driver: virtio_net, tx_ring: 64, rate: 10mbit, qdisc: pfifo_fast"));
    SimTime at = SimTime{} + 40_us;
    while (!m.world.devices[1].tx_queues[0].drv_xoff && at < SimTime{} + 5_ms) {
        m.k.run_until(at = at + 1_us);
    }
    EXPECT_EQ(m.world.devices[1].virtio.pairs[0].tx.num_free, 18U) << "2 + MAX_SKB_FRAGS";
}

/// pktgen asks the driver alone, so that its ring fills: how many descriptors were taken when the queue stopped first, and the fewest of
/// them before it sent again.
std::pair<std::size_t, std::size_t> ring_at_stop_and_wake(const std::string& driver)
{
    Machine m(
        "skbscope: 1\nhosts:\n  - name: dut\n    cpus: 1\n"
        "    devices: [{name: eth0, driver: " +
            driver +
            ", mac: \"52:54:00:12:34:00\", address: 10.99.0.2/24, link: far, tx_ring: 80, rate: 10mbit}]\n"
            "    pktgens: [{device: eth0, to: \"10.99.0.1:9\", to_mac: \"52:54:00:12:34:01\", from: "
            "\"10.99.0.2:9\", count: 200, size: 106}]\n"
            "stations:\n  - {name: far, mac: \"52:54:00:12:34:01\", address: 10.99.0.1}\n",
        SimTime{});
    const auto stopped = [&] { return m.world.devices[1].tx_queues[0].drv_xoff; };
    SimTime at;
    while (!stopped() && at < SimTime{} + 20_ms) {
        m.k.run_until(at = at + 200_ns);
    }
    const std::size_t full = m.world.devices[1].e1000.tx.size();
    std::size_t least = full;
    while (at < SimTime{} + 8_ms) {
        m.k.run_until(at = at + 200_ns);
        least = std::min(least, m.world.devices[1].e1000.tx.size());
    }
    EXPECT_GT(m.stat(1, DevStat::tx_restart_queue), 0U);
    m.k.run_until(SimTime{} + 1_s);
    for (const Task& task : m.world.tasks) {
        if (task.program == Program::pktgen) {
            EXPECT_EQ(task.sent, 200U);
            EXPECT_EQ(task.failed, 0U) << "it does not ask a stopped queue";
        }
    }
    EXPECT_EQ(m.world.free_skbs.size(), m.world.skbs.size());
    return {full, least};
}

TEST(Limits, RingOfTheE1000StopsBelow24FreeDescriptorsAndWakesAt32)
{
    EXPECT_EQ(ring_at_stop_and_wake("e1000"),
              (std::pair<std::size_t, std::size_t>{80 - 1 - 23, 80 - 1 - 32}));
    EXPECT_EQ(ring_at_stop_and_wake("e1000e").first, 80U - 1U - 21U) << "MAX_SKB_FRAGS + 1 + 4";
}

TEST(Limits, LateInterruptComesByItsOwnVectorOnItsOwnCpu)
{
    const ModelRun run(
        send_scenario("count: 3, gap: 1ms", true, true, "driver: e1000e, irq_delay: 100us, irq_cpu: 1"));
    EXPECT_EQ(run.calls_anywhere(fn::e1000_intr_msix_tx), 3U);
    for (std::size_t at = 0; at < run.trace().size(); ++at) {
        if (run.trace()[at].is_call() && run.trace()[at].function_id() == fn::e1000_intr_msix_tx) {
            EXPECT_EQ(run.trace()[at].cpu, to_index(run.world().cpus[1].id)) << "not the first CPU";
        }
    }
}

TEST(Limits, AFrameTakes24BytesMoreOnTheWire)
{
    const ModelRun run(receive_scenario("count: 2, gap: 0us, size: 64", "", "", "rate: 1gbit"));
    const std::int64_t apart = (run.trace().packet(static_cast<PacketId>(2)).birth -
                                run.trace().packet(static_cast<PacketId>(1)).birth)
                                   .ns;
    EXPECT_EQ(apart, (106 + 24) * 8) << "preamble, FCS, gap";
}

TEST(Limits, AnswerOfAStationIsAFrameOfSixtyBytes)
{
    const ModelRun run(send_scenario("count: 1", false));
    std::set<std::uint32_t> lengths;
    for (const PacketRecord& packet : run.trace().packets()) {
        if (packet.flow && packet.flow->ethertype == 0x0806 && !packet.sent_here) {
            lengths.insert(packet.length);
        }
    }
    EXPECT_EQ(lengths, std::set<std::uint32_t>{60});
}

TEST(Limits, FragmentsOfQemusE1000eAreMultiplesOfEightAndKeepDf)
{
    const ModelRun run("skbscope: 1\nhosts:\n"
                       "  - name: a\n    cpus: 1\n    devices: [{name: eth0, driver: e1000e, mtu: 1401, "
                       "address: 10.99.0.2/24, link: b.eth1, tso_empty_tail: true}]\n"
                       "    tcp_clients: [{to: \"10.99.0.1:80\", send: 20000}]\n"
                       "  - name: b\n    cpus: 1\n    devices: [{name: eth1, driver: e1000e, mtu: 1401, "
                       "address: 10.99.0.1/24, link: a.eth0}]\n"
                       "    tcp_servers: [{port: 80, receive: 20000}]\n",
                       SimTime{} + 5_s);
    std::size_t fragments = 0;
    for (std::uint32_t id = 1; id <= run.trace().packet_count(); ++id) {
        const auto frame = run.trace().frame(static_cast<PacketId>(id));
        if (frame.size() > 34 && (frame[20] & 0x20) != 0) { // MF
            ++fragments;
            EXPECT_EQ((frame.size() - 34) % 8, 0U) << id;
            EXPECT_NE(frame[20] & 0x40, 0) << id;
        }
    }
    EXPECT_GT(fragments, 3U);
}

// ---- pktgen, costs, taps ----------------------------------------------------------------------------------------------------------------

TEST(Limits, FramesOfPktgenBearItsHeaderTheirNumberAndATtlOf32)
{
    const ModelRun run(
        "skbscope: 1\nhosts:\n  - name: dut\n    cpus: 1\n"
        "    devices: [{name: eth0, mac: \"52:54:00:12:34:00\", address: 10.99.0.2/24, link: far}]\n"
        "    pktgens: [{device: eth0, to: \"10.99.0.1:9\", to_mac: \"52:54:00:12:34:01\", from: "
        "\"10.99.0.2:9\", count: 3, size: 106, gap: 50us}]\n"
        "stations:\n  - {name: far, mac: \"52:54:00:12:34:01\", address: 10.99.0.1}\n");
    for (std::uint32_t id = 1; id <= 3; ++id) {
        const auto frame = run.trace().frame(static_cast<PacketId>(id));
        ASSERT_EQ(frame.size(), 106U);
        EXPECT_EQ(frame[22], 32U);
        EXPECT_EQ(load_be32(frame.data() + 42), 0xbe9be955U);
        EXPECT_EQ(load_be32(frame.data() + 46), id);
    }
    const auto birth = [&](std::uint32_t id) { return run.trace().packet(static_cast<PacketId>(id)).birth; };
    EXPECT_LT((birth(3) - birth(2)).ns, 51'000)
        << "from beginning to beginning, however long the driver takes";
}

TEST(Limits, VethCountsWhatItsPeersBacklogRefusesAndTellsTheSender)
{
    for (const std::string kernel : {"6.1", "5.10"}) {
        const ModelRun run(
            "kernel: \"" + kernel +
            "\"\nskbscope: 1\nhosts:\n"
            "  - name: root\n    cpus: 2\n    sysctls: {net.core.netdev_max_backlog: 1}\n"
            "    devices: [{name: v0, driver: veth, mac: \"02:11:22:33:44:00\", address: 10.99.0.2/24, peer: "
            "peer.v1, rps_cpus: \"2\"}]\n"
            "    receivers: [{name: dnsd, port: 5008, cpu: 1, work: 50us}]\n"
            "  - name: peer\n    namespace_of: root\n    devices: [{name: v1, driver: veth, address: "
            "10.99.0.1/24, peer: root.v0}]\n"
            "    neighbours: [{address: 10.99.0.2, mac: \"02:11:22:33:44:00\", device: v1}]\n"
            "    senders: [{name: dig, to: \"10.99.0.2:5008\", count: 100, gap: 0us, cpu: 0}]\n");
        const std::uint64_t lost = run.drops(drop::CPU_BACKLOG);
        ASSERT_GT(lost, 0U);
        const auto v1 = std::ranges::find(run.world().devices, "v1", &NetDevice::name);
        EXPECT_EQ(v1->stats[static_cast<std::size_t>(DevStat::tx_dropped)], lost);
        const auto sender = [&](Mib which) {
            return run.world().nets[static_cast<std::size_t>(v1->net)].mib[static_cast<std::size_t>(which)];
        };
        const std::uint64_t told =
            kernel == "5.10" ? 0 : lost; // later kernels' veth_xmit() says NET_XMIT_DROP
        EXPECT_EQ(sender(Mib::Ip_OutDiscards), told);
        EXPECT_EQ(sender(Mib::Udp_SndbufErrors), told);
        EXPECT_EQ(sender(Mib::Udp_OutDatagrams), 100 - told);
    }
}

TEST(Limits, ScaleOfCostsHoldsForWhatIsCopiedToo)
{
    Costs costs;
    const Duration before = costs.copy(1000);
    costs.scale(10);
    EXPECT_NEAR(static_cast<double>(costs.copy(1000).ns), 10.0 * static_cast<double>(before.ns), 10.0);
}

TEST(Limits, TheNewestTapLooksFirst)
{
    const ModelRun run(receive_scenario("count: 1", "",
                                        "    taps:\n      - {device: eth0, kind: packet}\n      - {name: "
                                        "second, device: eth0, version: 2}\n"));
    EXPECT_EQ(first_missing(run.path(1), {"__netif_receive_skb_core", "tpacket_rcv", "packet_rcv"}), "");
}

TEST(Limits, TimerOfATapsRingEndsWithIt)
{
    const ModelRun run(receive_scenario("count: 3", "", "    taps:\n      - {device: eth0, stop: 2ms}\n"));
    EXPECT_EQ(run.calls_anywhere(fn::prb_retire_rx_blk_timer_expired), 0U);
}

TEST(Limits, TwoPingSocketsEachGetTheirOwnAnswers)
{
    const ModelRun run(
        "skbscope: 1\nhosts:\n  - name: a\n    cpus: 2\n    devices:\n      - {name: eth0, address: "
        "10.0.0.1/24, link: far}\n"
        "    pings:\n      - {name: one, to: 10.0.0.9, count: 3, interval: 10ms, socket: ping}\n"
        "      - {name: two, to: 10.0.0.9, count: 2, interval: 10ms, socket: ping}\n"
        "stations:\n  - {name: far, mac: \"52:54:00:12:34:09\", address: 10.0.0.9}\n",
        SimTime{} + 1_s);
    std::vector<std::uint64_t> received;
    for (const Task& task : run.world().tasks) {
        if (task.name == "one" || task.name == "two") {
            received.push_back(task.received);
        }
    }
    EXPECT_EQ(received, (std::vector<std::uint64_t>{3, 2}));
}

TEST(Limits, ASynIsSentSevenTimes)
{
    const ModelRun run("skbscope: 1\nhosts:\n  - name: a\n    cpus: 2\n    devices:\n      - {name: eth0, "
                       "address: 10.0.0.1/24, link: far}\n"
                       "    neighbours: [{address: 10.0.0.9, mac: \"52:54:00:12:34:09\", device: eth0}]\n"
                       "    tcp_clients: [{to: \"10.0.0.9:80\", send: 10}]\n"
                       "stations:\n  - {name: far, mac: \"52:54:00:12:34:09\", address: 10.0.0.9}\n",
                       SimTime{} + 200_s);
    EXPECT_EQ(run.counter("Tcp.OutSegs"), 1U);
    EXPECT_EQ(run.counter("Tcp.RetransSegs"), 6U) << "tcp_syn_retries";
    EXPECT_EQ(run.counter("TcpExt.TcpTimeoutRehash"), 6U);
}

// ---- qdiscs --------------------------------------------------------------------------------------------------------------------------------

TEST(Limits, ByteLimitOfAFifoTakesWhatFitsExactly)
{
    const auto dropped = [](int limit) {
        return ModelRun(send_scenario(
                            "count: 30, gap: 3ms, size: 500", true, true,
                            fmt::format("qdisc: {{kind: tbf, rate: 80kbit, burst: 1600, limit: {}}}", limit)))
            .drops(drop::QDISC_DROP);
    };
    EXPECT_EQ(dropped(5 * 542), dropped(5 * 542 + 100));
    EXPECT_LT(dropped(5 * 542), dropped(5 * 542 - 1));
}

TEST(Limits, FqCodelAboveItsLimitDropsSixtyFourAtOnce)
{
    Machine m(send_scenario("count: 200, gap: 0us, size: 64", true, true,
                            "tx_ring: 48, rate: 10mbit, qdisc: {kind: fq_codel, limit: 160}"));
    std::uint32_t most = 0;
    for (SimTime at = SimTime{} + 40_us; at < SimTime{} + 20_ms; at = at + 500_ns) {
        m.k.run_until(at);
        most = std::max(most, m.world.qdiscs[static_cast<std::size_t>(m.world.devices[1].qdisc)].qlen);
    }
    EXPECT_EQ(most, 160U);
    EXPECT_EQ(m.world.qdiscs[static_cast<std::size_t>(m.world.devices[1].qdisc)].drops, 64U) << "drop_batch";
}

} // namespace
} // namespace skbscope::test
