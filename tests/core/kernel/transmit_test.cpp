// lib/dynamic_queue_limits.c, the loop of net/sched/sch_generic.c, and when virtio's transmit queue wants an interrupt.

#include "core/kernel/drivers/driver.h"
#include "core/kernel/sch.h"
#include "tests/core/kernel/machine.h"

namespace skbscope::test {
namespace {

using namespace kernel;

// ---- dynamic queue limits ----------------------------------------------------------------------------------------------------------

/// A queue that was given that limit, of which nothing is under way.
Dql limited(std::uint32_t limit)
{
    Dql dql;
    dql.limit = dql.adj_limit = limit;
    return dql;
}

TEST(Dql, StaysWhereNothingWasHeldBack)
{
    Dql dql = limited(1000);
    dql.queued(1000); // exactly full
    EXPECT_EQ(dql.avail(), 0);
    dql.completed(1000, 0);
    EXPECT_EQ(dql.limit, 1000U);
    EXPECT_EQ(dql.avail(), 1000);
}

TEST(Dql, GrowsByWhatWasOverTheLimitWhenTheRingRanDryAtTheNextLook)
{
    Dql dql = limited(1000);
    dql.queued(1300);
    dql.completed(500, 0); // 800 are left: not dry, but it was over its limit
    EXPECT_EQ(dql.limit, 1000U);
    EXPECT_EQ(dql.prev_ovlimit, 300U);
    dql.completed(800, 0); // all of then
    EXPECT_EQ(dql.limit, 1300U);
}

TEST(Dql, ALimitThatHasMovedHoldsNothingAgainstAnybody)
{
    Dql dql = limited(1000);
    dql.queued(1300);
    dql.completed(1300, 0); // over its limit by 300 and dry
    EXPECT_EQ(dql.limit, 2300U);
    EXPECT_EQ(dql.prev_ovlimit, 0U);
    dql.queued(500);
    dql.completed(500, 0);
    EXPECT_EQ(dql.limit, 2300U) << "nothing was held back since";
}

TEST(Dql, GrowsByWhatWasQueuedAndSentBetweenTwoLooksToo)
{
    Dql dql = limited(1000);
    dql.queued(1300);
    dql.completed(500, 0);
    dql.queued(400);
    dql.completed(900, 0); // the 800 of then and 100 of these
    EXPECT_EQ(dql.limit, 1000U + 100U + 300U);
}

TEST(Dql, DoesNotGrowWhileSomethingOfTheLastLookIsLeft)
{
    Dql dql = limited(1000);
    dql.queued(1300);
    dql.completed(500, 0);
    dql.queued(400);
    dql.completed(799, 0);
    EXPECT_EQ(dql.limit, 1000U);
}

/// Always `under_way` bytes in the ring, `each` of them done a jiffy. The limit after that time.
std::uint32_t after_jiffies(std::int64_t jiffies, std::uint32_t limit, std::uint32_t under_way,
                            std::uint32_t each)
{
    Dql dql = limited(limit);
    dql.queued(under_way);
    for (std::int64_t now = 1; now <= jiffies; ++now) {
        dql.queued(each);
        dql.completed(each, now);
    }
    return dql.limit;
}

TEST(Dql, ShrinksByTheLeastSlackWhenMoreThanASecondHasPassed)
{
    EXPECT_EQ(after_jiffies(250, 10'000, 3000, 1000), 10'000U) << "time_after(): a second is not enough";
    EXPECT_EQ(after_jiffies(251, 10'000, 3000, 1000), 2000U)
        << "twice what is done between two looks is what it needs";
    EXPECT_EQ(after_jiffies(600, 10'000, 3000, 1000), 2000U);
}

TEST(Dql, TheLeastSlackOfTheSecondCounts)
{
    Dql dql = limited(10'000);
    dql.queued(9000);
    for (std::int64_t now = 1; now <= 251; ++now) {
        const std::uint32_t bytes = now == 100 ? 4000 : 1000;
        dql.queued(bytes);
        dql.completed(bytes, now);
    }
    EXPECT_EQ(dql.limit, 8000U);
}

TEST(Dql, LimitStaysWithinItsBounds)
{
    Dql dql = limited(1000);
    dql.max_limit = 1100;
    dql.queued(5000);
    dql.completed(5000, 0);
    EXPECT_EQ(dql.limit, 1100U);
    dql.min_limit = 1050;
    dql.queued(1000);
    for (std::int64_t now = 1; now <= 251; ++now) {
        dql.queued(10);
        dql.completed(10, now);
    }
    EXPECT_EQ(dql.limit, 1050U);
}

TEST(Dql, CountsWrapAroundWithoutATrace)
{
    Dql dql = limited(1000);
    dql.num_queued = dql.num_completed = dql.prev_num_queued = ~std::uint32_t{0} - 99;
    dql.adj_limit = dql.num_completed + 1000;
    dql.queued(1300);
    EXPECT_EQ(dql.avail(), -300);
    dql.completed(1300, 0);
    EXPECT_EQ(dql.limit, 1000U + 1300U);
    EXPECT_EQ(dql.in_flight(), 0U);
}

// ---- the loop ------------------------------------------------------------------------------------------------------------------------

/// A machine whose qdisc holds packets of 142 bytes that nobody has begun to send.
class Sender : public Machine {
public:
    explicit Sender(const std::string& device, const std::string& host = "")
        : Machine(send_scenario("count: 0", true, true, device, host))
    {
    }

    [[nodiscard]] QdiscIndex root() const { return world.devices[1].tx_queues[0].qdisc; }
    [[nodiscard]] NetdevQueue& txq() { return world.devices[1].tx_queues[0]; }
    SkbIndex packet()
    {
        const Bytes payload(100, 'x');
        UdpFrame frame;
        frame.ethernet = {peer_mac, host_mac, proto::eth_p_ip};
        frame.source = here;
        frame.destination = peer;
        frame.payload = payload;
        const SkbIndex skb = skb_of(build_udp_frame(frame), 1);
        skb_push(k, skb, 14);
        trace.mutable_packet(k.skb(skb).packet).sent_here = true;
        k.skb(skb).qdisc_pkt_len = k.skb(skb).len;
        return skb;
    }
    void enqueue(int count)
    {
        SkbList dropped;
        for (int n = 0; n < count; ++n) {
            qdisc_ops(qdisc(k, root()).kind).enqueue(k, packet(), root(), dropped);
        }
    }
    /// Lets what was called be written to the trace, and what it began go on for a while.
    void go_on() { k.run_until(now = now + 1_ms); }
    /// How many packets each call of sch_direct_xmit() was handed.
    [[nodiscard]] std::vector<std::size_t> lists(FunctionId dequeue)
    {
        go_on();
        std::vector<std::size_t> sizes;
        std::size_t taken = 0;
        for (std::size_t at = 0; at < trace.size(); ++at) {
            if (!trace[at].is_call()) {
                continue;
            }
            taken += trace[at].function_id() == dequeue && trace[at].packet_id() != PacketId::none ? 1 : 0;
            if (trace[at].function_id() == fn::sch_direct_xmit) {
                sizes.push_back(taken);
                taken = 0;
            }
        }
        return sizes;
    }
    /// BQL has room for so many bytes more.
    void bytes_allowed(std::uint32_t bytes) { txq().dql.adj_limit = txq().dql.num_queued + bytes; }

    SimTime now = SimTime{} + 40_us;
};

TEST(QdiscRun, TakesAsManyAtOnceAsTheByteLimitHasRoomForAndTheOneThatUsesItUp)
{
    const auto first_list = [](std::uint32_t room) {
        Sender m("qdisc: pfifo_fast, tx_ring: 256");
        m.enqueue(10);
        m.bytes_allowed(room);
        __qdisc_run(m.k, m.root());
        return m.lists(fn::pfifo_fast_dequeue).at(0);
    };
    EXPECT_EQ(first_list(142), 1U) << "the first has used it up";
    EXPECT_EQ(first_list(143), 2U);
    EXPECT_EQ(first_list(3 * 142), 3U);
    EXPECT_EQ(first_list(3 * 142 + 1), 4U);
}

TEST(QdiscRun, OneRunSendsTheTransmitWeightAndLeavesTheRestToNetTx)
{
    const auto sent = [](const std::string& sysctls) {
        Sender m("qdisc: pfifo_fast, tx_ring: 256", "    sysctls: {" + sysctls + "}\n");
        m.enqueue(20);
        m.bytes_allowed(100'000);
        __qdisc_run(m.k, m.root());
        EXPECT_TRUE(qdisc(m.k, m.root()).missed) << "of a lock-less one; whoever ends the run looks";
        return 20 - qdisc(m.k, m.root()).qlen;
    };
    EXPECT_EQ(sent("net.core.dev_weight: 4"), 5U) << "the quota bounds what follows the first";
    EXPECT_EQ(sent("net.core.dev_weight: 4, net.core.dev_weight_tx_bias: 2"), 9U);
}

TEST(QdiscRun, WhatABusyDriverGivesBackGoesFirstOneByOneAndIsNotValidatedAgain)
{
    Sender m("qdisc: pfifo_fast, tx_ring: 256");
    m.enqueue(1);
    SkbList list{m.packet(), m.packet()};
    std::vector<PacketId> order;
    std::ranges::transform(list, std::back_inserter(order),
                           [&](SkbIndex skb) { return m.k.skb(skb).packet; });
    m.txq().drv_xoff = true;
    EXPECT_FALSE(sch_direct_xmit(m.k, std::move(list), m.root(), true));
    Qdisc& q = qdisc(m.k, m.root());
    EXPECT_EQ(q.requeues, 2U);
    EXPECT_EQ(q.qlen, 3U);
    EXPECT_EQ(q.backlog, 3U * 142U);
    EXPECT_TRUE(q.missed);
    m.go_on();
    EXPECT_EQ(m.calls(fn::dev_requeue_skb), 1U);
    const std::size_t validated = m.calls(fn::validate_xmit_skb_list);
    __qdisc_run(m.k, m.root());
    EXPECT_EQ(q.qlen, 3U) << "the queue is stopped still";
    EXPECT_TRUE(q.draining);
    m.txq().drv_xoff = false;
    m.bytes_allowed(100'000);
    __qdisc_run(m.k, m.root());
    EXPECT_EQ(q.qlen, 0U);
    m.go_on();
    EXPECT_EQ(m.calls(fn::validate_xmit_skb_list), validated + 1) << "the one of the band alone";
    std::vector<PacketId> sent;
    for (std::size_t at = 0; at < m.trace.size(); ++at) {
        if (m.trace[at].is_call() && m.trace[at].function_id() == fn::e1000_xmit_frame) {
            sent.push_back(m.trace[at].packet_id());
        }
    }
    ASSERT_EQ(sent.size(), 3U);
    EXPECT_EQ(sent[0], order[0]);
    EXPECT_EQ(sent[1], order[1]);
}

TEST(QdiscRun, OfSeveralTransmitQueuesAListIsForOneAndTheOtherWaitsApart)
{
    Sender m("driver: virtio_net, queues: 2, qdisc: {kind: pfifo, handle: \"10:\", limit: 100}");
    const QdiscIndex root = m.world.devices[1].qdisc;
    ASSERT_EQ(qdisc(m.k, root).kind, QdiscKind::pfifo);
    ASSERT_FALSE(qdisc(m.k, root).onetxqueue);
    SkbList dropped;
    for (const std::uint16_t queue : {0, 0, 1, 1}) {
        const SkbIndex skb = m.packet();
        m.k.skb(skb).queue_mapping = queue;
        m.k.skb(skb).hash = 77; // one flow
        qdisc_ops(qdisc(m.k, root).kind).enqueue(m.k, skb, root, dropped);
    }
    m.world.devices[1].tx_queues[1].drv_xoff = true;
    __qdisc_run(m.k, root);
    EXPECT_EQ(qdisc(m.k, root).skb_bad_txq.size(), 1U) << "taken out, and of a queue that is stopped";
    EXPECT_EQ(qdisc(m.k, root).qlen, 2U);
    m.world.devices[1].tx_queues[1].drv_xoff = false;
    __qdisc_run(m.k, root);
    EXPECT_EQ(qdisc(m.k, root).qlen, 0U);
    m.go_on();
    EXPECT_EQ(m.calls(fn::sch_direct_xmit), 2U)
        << "the first two; then the third, which was taken out with them, and behind it the last";
    EXPECT_EQ(m.calls(fn::start_xmit), 4U);
}

// ---- virtio --------------------------------------------------------------------------------------------------------------------------

TEST(VirtioNet, AsksForTheInterruptWhenThreeQuartersOfWhatIsUnderWayAreSentAndNotBeforeAListsLast)
{
    Sender m("driver: virtio_net, rate: 10mbit, qdisc: pfifo_fast");
    const Virtqueue& tx = m.world.devices[1].virtio.pairs[0].tx;
    for (unsigned under_way = 0; under_way < 9; ++under_way) { // start_xmit() asks before it adds its own
        start_xmit(m.k, m.packet(), 1);
        EXPECT_FALSE(tx.callbacks_off) << under_way;
        EXPECT_EQ(tx.used_event, under_way * 3 / 4) << under_way;
    }
    m.k.cpu().xmit_more = true;
    start_xmit(m.k, m.packet(), 1);
    EXPECT_TRUE(tx.callbacks_off);
    m.k.cpu().xmit_more = false;
    start_xmit(m.k, m.packet(), 1);
    EXPECT_FALSE(tx.callbacks_off);
    EXPECT_EQ(tx.used_event, 10 * 3 / 4);
    ASSERT_EQ(tx.last_used_idx, 0U) << "the wire is slow";
    m.k.run_until(SimTime{} + 1_s);
    EXPECT_EQ(tx.last_used_idx, 11U);
}

} // namespace
} // namespace skbscope::test
