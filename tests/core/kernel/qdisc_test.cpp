// The rules of net/sched, and of the loop between a qdisc and its driver.

#include "core/kernel/qdisc.h"
#include "model.h"

#include <cstdlib>
#include <set>

namespace skbscope::test {
namespace {

using kernel::PtrRing;
using kernel::Qdisc;
using kernel::Ratecfg;

const Qdisc& root_of(const ModelRun& run, const std::string& device = "eth0")
{
    const auto& devices = run.world().devices;
    const auto found = std::ranges::find(devices, device, &kernel::NetDevice::name);
    return run.world().qdiscs[static_cast<std::size_t>(found->qdisc)];
}

const Qdisc& inner_of(const ModelRun& run)
{
    return run.world().qdiscs[static_cast<std::size_t>(root_of(run).children.front())];
}

/// Which datagrams (by their order of sending) were given to the driver.
std::set<int> sent_ordinals(const ModelRun& run)
{
    std::set<int> sent;
    int ordinal = 0;
    for (const PacketRecord& packet : run.trace().packets()) {
        if (packet.flow && packet.flow->destination_port == 5002) {
            if (packet.verdict == Verdict::sent) {
                sent.insert(ordinal);
            }
            ++ordinal;
        }
    }
    return sent;
}

void expect_closed(const ModelRun& run)
{
    EXPECT_EQ(run.end().accounting().in_flight(), 0U);
    EXPECT_EQ(root_of(run).qlen, 0U);
    EXPECT_EQ(root_of(run).backlog, 0U);
}

// ---- tbf --------------------------------------------------------------------------------------------------------------------

TEST(Tbf, FullInnerQueueDropsUntilTheBucketHasPaidForItsHead)
{
    // 542 bytes on the wire; the bucket of 1600 pays for two at once, a third has to wait for a few bytes. Five fit the queue.
    const ModelRun run(send_scenario("count: 30, gap: 3ms, size: 500", true, true,
                                     "qdisc: {kind: tbf, rate: 80kbit, burst: 1600, limit: 3000}"));
    const auto sent = sent_ordinals(run);
    for (int first = 0; first < 8; ++first) {
        EXPECT_TRUE(sent.contains(first)) << first;
    }
    EXPECT_FALSE(sent.contains(8));
    EXPECT_EQ(run.drops(drop::QDISC_DROP), 30 - sent.size());
    EXPECT_EQ(root_of(run).drops, 30 - sent.size());
    EXPECT_EQ(root_of(run).packets, sent.size());
    EXPECT_EQ(root_of(run).bytes, sent.size() * 542);
    EXPECT_EQ(run.counter("Ip.OutDiscards"), 30 - sent.size());
    EXPECT_EQ(run.counter("Udp.SndbufErrors"), 30 - sent.size());
    EXPECT_EQ(run.counter("Udp.OutDatagrams"), sent.size());
    expect_closed(run);
}

TEST(Tbf, LimitOfThreePacketsUnderASlowBucketKeepsTheFirstSix)
{
    // The recorded phase pfifo-limit: at 5000 bytes a second nothing more leaves while the 30 datagrams come.
    const ModelRun run(send_scenario("count: 30, gap: 2.6ms, size: 500", true, true,
                                     "qdisc: {kind: tbf, handle: \"20:\", rate: 40kbit, burst: 1600, limit: 100000, "
                                     "inner: {kind: pfifo, handle: \"21:\", limit: 3}}"));
    EXPECT_EQ(sent_ordinals(run), (std::set<int>{0, 1, 2, 3, 4, 5}));
    EXPECT_GE(root_of(run).overlimits, 29U) << "each look at a head that has to wait";
    EXPECT_EQ(root_of(run).drops, 24U);
    EXPECT_EQ(inner_of(run).drops, 24U);
    EXPECT_EQ(inner_of(run).overlimits, 0U);
    EXPECT_EQ(inner_of(run).packets, 6U);
    expect_closed(run);
}

TEST(Tbf, WatchdogWakesTheThrottledQueueInNetTx)
{
    const ModelRun run(send_scenario("count: 4, gap: 1ms, size: 1000", true, true, "qdisc: {kind: tbf, rate: 1mbit, burst: 1600, limit: 9000}"));
    EXPECT_EQ(run.count(Verdict::sent), 4U);
    EXPECT_GT(run.calls_anywhere(fn::qdisc_watchdog), 0U);
    EXPECT_GE(run.calls_anywhere(fn::net_tx_action), run.calls_anywhere(fn::qdisc_watchdog));
    expect_closed(run);
}

TEST(Tbf, DatagramLongerThanTheBucketCanNeverLeave)
{
    const ModelRun run(send_scenario("count: 3, size: 1400", true, true, "qdisc: {kind: tbf, rate: 1mbit, burst: 1000, limit: 9000}"));
    EXPECT_EQ(run.drops(drop::QDISC_DROP), 3U);
}

TEST(Ratecfg, MultiplicationAndShiftGiveTheTimeToTheNanosecond)
{
    Ratecfg rate;
    rate.set(10'000);
    EXPECT_EQ(rate.l2t_ns(542), 54'200'000);
    EXPECT_EQ(rate.l2t_ns(1600), 160'000'000);
    rate.set(125'000'000);
    EXPECT_EQ(rate.l2t_ns(1514), 12'112);
}

// ---- pfifo_fast ---------------------------------------------------------------------------------------------------------------

TEST(PfifoFast, RingClearsItsSlotsInBatchesSoItRefusesBeforeItIsFull)
{
    // The recorded tx-ring-full: txqueuelen 40, 238 datagrams have passed through when the driver stops, and only 34 fit.
    PtrRing ring;
    ring.resize(40);
    for (int passing = 0; passing < 238; ++passing) {
        ASSERT_TRUE(ring.produce(passing));
        ASSERT_EQ(ring.consume(), passing);
    }
    int fit = 0;
    while (ring.produce(1000 + fit)) {
        ++fit;
    }
    EXPECT_EQ(fit, 34);
    for (int first = 0; first < fit; ++first) {
        EXPECT_EQ(ring.consume(), 1000 + first);
    }
    EXPECT_EQ(ring.consume(), -1);
}

TEST(PfifoFast, On510EveryPacketIsEnqueuedAndLaterAnEmptyOneIsBypassed)
{
    const auto on = [](const std::string& kernel) {
        std::string text = send_scenario("count: 5", true, true, "qdisc: pfifo_fast");
        return text.insert(text.find('\n') + 1, "kernel: \"" + kernel + "\"\n");
    };
    EXPECT_EQ(ModelRun(on("5.10")).calls_anywhere(fn::pfifo_fast_enqueue), 5U);
    EXPECT_EQ(ModelRun(on("6.1")).calls_anywhere(fn::pfifo_fast_enqueue), 0U);
    EXPECT_EQ(ModelRun(on("6.12")).calls_anywhere(fn::pfifo_fast_enqueue), 0U);
}

// ---- fq_codel -----------------------------------------------------------------------------------------------------------------

TEST(FqCodel, IsTheDefaultAndIsBypassedWhileItIsEmpty)
{
    const ModelRun run(send_scenario("count: 5"));
    EXPECT_EQ(root_of(run).kind, kernel::QdiscKind::fq_codel);
    EXPECT_EQ(run.calls_anywhere(fn::fq_codel_enqueue), 0U);
    EXPECT_EQ(run.calls_anywhere(fn::fq_codel_dequeue), 5U) << "the bypass is followed by a look into the queue";
    EXPECT_EQ(root_of(run).packets, 5U);
}

TEST(FqCodel, OverItsLimitTheFatFlowLosesFromItsHead)
{
    const ModelRun run(send_scenario("count: 100, gap: 0us, size: 1000", true, true, "tx_ring: 48, rate: 10mbit, qdisc: {kind: fq_codel, limit: 10}"));
    EXPECT_GT(root_of(run).drops, 0U);
    EXPECT_EQ(run.drops(drop::QDISC_DROP), root_of(run).fq_codel.drop_overlimit);
    EXPECT_TRUE(sent_ordinals(run).contains(99)) << "the newest stays, the oldest goes";
    expect_closed(run);
}

TEST(FqCodel, SlowForMoreThanAnIntervalItDropsAtTheHeadWithoutTellingTheSender)
{
    const ModelRun run(send_scenario("count: 400, gap: 500us, size: 1400", true, true, "tx_ring: 48, rate: 10mbit"));
    EXPECT_GT(root_of(run).drops, 0U) << "more than 5 ms of waiting for more than 100 ms";
    EXPECT_EQ(run.drops(drop::NOT_SPECIFIED), root_of(run).drops);
    EXPECT_EQ(run.counter("Ip.OutDiscards"), 0U);
    expect_closed(run);
}

// ---- requeue ------------------------------------------------------------------------------------------------------------------

TEST(Requeue, BusyDriverGivesThePacketBackAndNothingIsLost)
{
    for (const std::string kind : {"pfifo_fast", "pfifo", "fq_codel", "bfifo"}) {
        const ModelRun run(send_scenario("count: 60, gap: 0us, size: 1400", true, true, "tx_ring: 48, rate: 100mbit, qdisc: " + kind));
        EXPECT_EQ(run.count(Verdict::sent), 60U) << kind;
        expect_closed(run);
    }
}

// ---- changes and bad input ----------------------------------------------------------------------------------------------------

TEST(Tc, ReplacingAQdiscDropsWhatWaitsInIt)
{
    const ModelRun run(send_scenario("count: 10, gap: 1ms, size: 500", true, true,
                                     "qdisc: {kind: tbf, rate: 8kbit, burst: 1600, limit: 30000}",
                                     "    tc:\n      - {at: 30ms, device: eth0, qdisc: pfifo}\n"));
    EXPECT_EQ(root_of(run).kind, kernel::QdiscKind::pfifo);
    EXPECT_GT(run.count(Verdict::dropped), 0U);
    EXPECT_EQ(run.count(Verdict::dropped) + run.count(Verdict::sent), 10U);
    expect_closed(run);
}

TEST(QdiscKeys, HostileValuesAreRefusedWithTheirRange)
{
    const auto error = [](const std::string& qdisc) {
        const auto scenario = parse_scenario(send_scenario("count: 1", true, true, "qdisc: " + qdisc), "test");
        return scenario ? std::string() : scenario.error().describe();
    };
    EXPECT_NE(error("htb").find("not modelled"), std::string::npos);
    EXPECT_NE(error("{kind: pfifo, limit: -1}").find("0 … 4294967295"), std::string::npos);
    EXPECT_NE(error("{kind: pfifo, limit: 99999999999999999999}").find("whole number"), std::string::npos);
    EXPECT_NE(error("{kind: pfifo, rate: 1mbit}").find("pfifo has no 'rate'"), std::string::npos);
    EXPECT_NE(error("{kind: tbf, rate: 1mbit, burst: 0, limit: 1}").find("1 … 2147483647"), std::string::npos);
    EXPECT_NE(error("tbf").find("needs"), std::string::npos);
    EXPECT_NE(error("{kind: fq_codel, flows: 0}").find("1 … 65536"), std::string::npos);
    EXPECT_EQ(error("{kind: pfifo, limit: 4294967295}"), "");
    EXPECT_EQ(error("{kind: pfifo, limit: 0}"), "");
}

TEST(QdiscKeys, TextOfAScenarioReadsBackToTheSame)
{
    const std::string text = send_scenario("count: 1", true, true,
                                           "qdisc: {kind: tbf, handle: \"20:\", rate: 40kbit, burst: 1600, limit: 100000, inner: {kind: fq_codel, limit: 3, target: 1ms}}",
                                           "    tc:\n      - {at: 30ms, device: eth0, cpu: 1, qdisc: {kind: fq_codel, ecn: false}}\n");
    const auto scenario = parse_scenario(text, "test");
    ASSERT_TRUE(scenario);
    const auto again = parse_scenario(to_text(*scenario), "again");
    ASSERT_TRUE(again) << again.error().describe();
    EXPECT_EQ(*scenario, *again);
}

} // namespace
} // namespace skbscope::test
