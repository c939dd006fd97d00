#include "core/catalog/catalog.h"
#include "core/catalog/drop_ids.h"
#include "core/catalog/function_ids.h"
#include "core/trace/journey.h"
#include "core/trace/stack_state.h"

#include <gtest/gtest.h>

namespace skbscope {
namespace {

constexpr PacketId p1{1}, p2{2};

/// Writes events by hand, one a nanosecond unless told.
class Writer {
public:
    Trace trace;
    std::uint64_t now = 0;

    Event& put(EventKind kind, PacketId packet = PacketId::none, FunctionId function = FunctionId::none, std::uint32_t arg = 0)
    {
        Event event;
        event.time_ns = ++now;
        event.kind = static_cast<std::uint8_t>(kind);
        event.packet = to_index(packet);
        event.function = static_cast<std::uint16_t>(function);
        event.arg = arg;
        event.flags = Event::make_flags(context);
        event.cpu = cpu;
        return trace.append(event);
    }
    Event& call(FunctionId function, std::uint8_t depth, PacketId packet = PacketId::none, std::uint32_t duration = Event::unknown_duration)
    {
        Event& event = put(EventKind::call, packet, function);
        event.depth = depth;
        event.duration_ns = duration;
        return event;
    }
    PacketId packet()
    {
        PacketRecord record;
        record.birth = {now + 1};
        const PacketId id = trace.add_packet(record);
        put(EventKind::birth, id, fn::__alloc_skb);
        return id;
    }
    Context context = Context::softirq;
    std::uint16_t cpu = 0;
};

std::vector<std::string> names(const Trace& trace, const Journey& journey, bool shared)
{
    std::vector<std::string> result;
    for (const Step& step : journey.steps) {
        if (step.shared == shared) {
            result.emplace_back(trace.function_name(trace[step.ordinal].function_id()));
        }
    }
    return result;
}

TEST(Trace, FindsAnyTimeAmongManyChunks)
{
    Writer w;
    for (std::size_t n = 0; n < Trace::chunk_events * 2 + 5; ++n) {
        w.put(EventKind::note);
    }
    EXPECT_EQ(w.trace.size(), Trace::chunk_events * 2 + 5);
    EXPECT_EQ(w.trace.lower_bound({1}), 0U);
    EXPECT_EQ(w.trace.lower_bound({Trace::chunk_events + 1}), Trace::chunk_events);
    EXPECT_EQ(w.trace.lower_bound(never), w.trace.size());
    EXPECT_EQ(w.trace[Trace::chunk_events].time_ns, Trace::chunk_events + 1);
}

TEST(Trace, ClearForgetsEverythingAndWritesAgain)
{
    Writer w;
    w.packet();
    w.trace.clear();
    EXPECT_TRUE(w.trace.empty());
    EXPECT_EQ(w.trace.packet_count(), 0U);
    w.packet();
    EXPECT_EQ(w.trace.size(), 1U);
}

TEST(Trace, NamesFunctionsThatTheCatalogLacks)
{
    Trace trace;
    const FunctionId own = trace.function_named("my_own_function");
    EXPECT_EQ(trace.function_named("my_own_function"), own);
    EXPECT_EQ(trace.function_name(own), "my_own_function");
    EXPECT_EQ(trace.function_named("ip_rcv"), fn::ip_rcv);
    EXPECT_EQ(trace.function_named("ip_rcv_finish_core.constprop.0"), fn::ip_rcv_finish_core);
}

TEST(Journey, SharedCallIsIncludedWhereItEncloses)
{
    Writer w;
    w.packet();
    w.packet();
    w.call(fn::net_rx_action, 0);
    w.call(fn::napi_gro_receive, 1, p1);
    w.call(fn::napi_gro_receive, 1, p2);
    w.call(fn::napi_complete_done, 1);
    w.call(fn::ip_rcv_core, 2, p2);
    JourneyIndex index(w.trace);
    w.trace.info.observed = true;
    index.update();
    EXPECT_EQ(names(w.trace, index.journey(p1), true), (std::vector<std::string>{"net_rx_action"}));
    EXPECT_EQ(names(w.trace, index.journey(p2), true), (std::vector<std::string>{"net_rx_action", "napi_complete_done"}));
    EXPECT_EQ(names(w.trace, index.journey(p1), false), (std::vector<std::string>{"napi_gro_receive"}));
}

TEST(Journey, InterruptThatScheduledThePollBelongsToIt)
{
    Writer w;
    w.trace.info.observed = true;
    w.packet();
    w.context = Context::hardirq;
    w.call(fn::e1000_intr, 0);
    w.call(fn::napi_schedule_prep, 1);
    w.put(EventKind::softirq_raise, PacketId::none, FunctionId::none, 3);
    w.context = Context::softirq;
    w.call(fn::net_rx_action, 0);
    w.context = Context::hardirq;
    w.call(fn::e1000_intr, 0); // a second one, while the poll runs: not what scheduled it
    w.context = Context::softirq;
    w.call(fn::ip_rcv_core, 1, p1);
    JourneyIndex index(w.trace);
    index.update();
    EXPECT_EQ(names(w.trace, index.journey(p1), true), (std::vector<std::string>{"e1000_intr", "napi_schedule_prep", "net_rx_action"}));
}

TEST(Journey, GrowsWithTheTrace)
{
    Writer w;
    w.packet();
    JourneyIndex index(w.trace);
    w.call(fn::ip_rcv, 0, p1);
    index.update();
    EXPECT_EQ(index.journey(p1).steps.size(), 1U);
    w.call(fn::ip_local_deliver, 1, p1);
    index.update();
    EXPECT_EQ(index.journey(p1).steps.size(), 2U);
    EXPECT_TRUE(index.journey(static_cast<PacketId>(99)).steps.empty());
}

TEST(Journey, WaitsLieBetweenJoiningAndLeavingAQueue)
{
    Writer w;
    w.trace.add_queue({"q", QueueKind::socket, {}, RoomId::none, 0, QueueUnit::packets, ""});
    w.packet();
    w.put(EventKind::enqueue, p1, FunctionId::none, 1);
    w.now += 100;
    w.put(EventKind::dequeue, p1, FunctionId::none, 1);
    w.put(EventKind::enqueue, p1, FunctionId::none, 1);
    JourneyIndex index(w.trace);
    index.update();
    const Journey journey = index.journey(p1);
    ASSERT_EQ(journey.waits.size(), 2U);
    EXPECT_EQ(journey.waits[0].to - journey.waits[0].from, 101_ns);
    EXPECT_EQ(journey.waits[1].to, never);
    EXPECT_EQ(journey.waited(SimTime{w.now + 9}), 110_ns);
}

TEST(StackState, PacketRunsWaitsAndEnds)
{
    Writer w;
    w.trace.add_queue({"q", QueueKind::socket, {}, RoomId::none, 2, QueueUnit::packets, ""});
    w.packet();
    w.call(fn::ip_rcv, 0, p1, 5);
    w.put(EventKind::enqueue, p1, FunctionId::none, 1);
    w.put(EventKind::verdict, p1, FunctionId::none, static_cast<std::uint32_t>(Verdict::delivered));
    w.put(EventKind::dequeue, p1, FunctionId::none, 1);
    w.put(EventKind::free, p1);
    StateCache cache(w.trace);
    EXPECT_EQ(cache.after(1).packets().at(p1).where, PacketState::Where::parked);
    EXPECT_EQ(cache.after(2).packets().at(p1).where, PacketState::Where::running);
    EXPECT_EQ(cache.after(2).cpus()[0].packet(), p1);
    EXPECT_EQ(cache.after(3).packets().at(p1).where, PacketState::Where::waiting);
    EXPECT_EQ(cache.after(3).queues()[1].packets.size(), 1U);
    EXPECT_EQ(cache.after(4).accounting().of(Verdict::delivered), 1U);
    EXPECT_EQ(cache.after(4).accounting().in_flight(), 0U);
    EXPECT_TRUE(cache.after(6).packets().empty());
    EXPECT_TRUE(cache.after(6).queues()[1].packets.empty());
    EXPECT_EQ(cache.after(6).queues()[1].peak, 1U);
    // Backwards, too.
    EXPECT_EQ(cache.after(2).packets().at(p1).where, PacketState::Where::running);
}

TEST(StackState, ReplacedVerdictIsCountedOnce)
{
    Writer w;
    w.packet();
    w.put(EventKind::verdict, p1, FunctionId::none, static_cast<std::uint32_t>(Verdict::sent));
    w.put(EventKind::verdict, p1, FunctionId::none, static_cast<std::uint32_t>(Verdict::delivered));
    StateCache cache(w.trace);
    const Accounting& accounting = cache.after(3).accounting();
    EXPECT_EQ(accounting.of(Verdict::sent), 0U);
    EXPECT_EQ(accounting.of(Verdict::delivered), 1U);
    EXPECT_EQ(accounting.born, accounting.decided());
}

TEST(StackState, CpuIsIdleWhenItsCallsHaveReturned)
{
    Writer w;
    w.call(fn::net_rx_action, 0, PacketId::none, 10);
    StateCache cache(w.trace);
    EXPECT_EQ(cache.at(SimTime{5}).cpus()[0].running(), Context::softirq);
    EXPECT_EQ(cache.at(SimTime{11}).cpus()[0].running(), std::nullopt);
    EXPECT_EQ(cache.at(SimTime{5}).cpus()[0].running(), Context::softirq) << "and back again";
}

TEST(StackState, ObservedCallWithoutAReturnIsNotHeldOpenThroughSilence)
{
    Writer w;
    w.trace.info.observed = true;
    w.context = Context::process;
    w.call(fn::udp_recvmsg, 0);
    StateCache cache(w.trace);
    EXPECT_EQ(cache.at(SimTime{1} + StackState::quiet).cpus()[0].running(), Context::process);
    EXPECT_EQ(cache.at(SimTime{2} + StackState::quiet).cpus()[0].running(), std::nullopt);
}

TEST(StackState, HardInterruptSuspendsTheSoftirqBelow)
{
    Writer w;
    w.packet();
    w.call(fn::ip_rcv, 0, p1, 100);
    w.context = Context::hardirq;
    w.call(fn::e1000_intr, 0, PacketId::none, 5);
    StateCache cache(w.trace);
    EXPECT_EQ(cache.after(3).cpus()[0].running(), Context::hardirq);
    EXPECT_EQ(cache.at(SimTime{50}).cpus()[0].running(), Context::softirq);
    EXPECT_EQ(cache.at(SimTime{50}).cpus()[0].packet(), p1);
}

TEST(StackState, DropLeavesItsQueueAndStaysCounted)
{
    Writer w;
    w.trace.add_queue({"q", QueueKind::arp_queue, {}, RoomId::none, 0, QueueUnit::packets, ""});
    w.packet();
    w.put(EventKind::enqueue, p1, FunctionId::none, 1);
    w.put(EventKind::drop, p1, fn::__neigh_event_send, to_index(drop::NEIGH_FAILED));
    StateCache cache(w.trace);
    const StackState& state = cache.after(3);
    EXPECT_TRUE(state.queues()[1].packets.empty());
    EXPECT_EQ(state.accounting().of(Verdict::dropped), 1U);
    ASSERT_EQ(state.drops().size(), 1U);
    EXPECT_EQ(state.drops().begin()->first.reason, drop::NEIGH_FAILED);
}

TEST(StateCache, AnyOrderOfQuestionsGivesTheSameAnswers)
{
    Writer w;
    w.trace.add_queue({"q", QueueKind::socket, {}, RoomId::none, 0, QueueUnit::packets, ""});
    std::vector<PacketId> packets;
    for (int n = 0; n < 5000; ++n) {
        const PacketId id = w.packet();
        w.call(fn::ip_rcv, 0, id, 2);
        w.put(EventKind::enqueue, id, FunctionId::none, 1);
        if (n % 3 == 0) {
            w.put(EventKind::dequeue, id, FunctionId::none, 1);
            w.put(EventKind::free, id);
        }
    }
    StateCache jumping(w.trace);
    for (const std::size_t n : {std::size_t{9000}, std::size_t{3}, w.trace.size(), std::size_t{4096}, std::size_t{4095}, std::size_t{12000}}) {
        StackState plain(w.trace);
        for (std::size_t at = 0; at < n; ++at) {
            plain.apply(at);
        }
        const StackState& cached = jumping.after(n);
        EXPECT_EQ(cached.applied(), n);
        EXPECT_EQ(cached.packets().size(), plain.packets().size());
        EXPECT_EQ(cached.queues()[1].packets, plain.queues()[1].packets);
        EXPECT_EQ(cached.accounting().born, plain.accounting().born);
    }
}

TEST(SkbImage, ShowsFieldsAsTheyWereAndWhatChangedInTheStep)
{
    Writer w;
    w.packet();
    w.call(fn::eth_type_trans, 0, p1);
    w.put(EventKind::field, p1, FunctionId::none, w.trace.add_field_change({SkbField::data, 0, 0, 64, 78}));
    w.call(fn::ip_rcv_core, 0, p1);
    w.put(EventKind::field, p1, FunctionId::none, w.trace.add_field_change({SkbField::len, 0, 0, 100, 92}));
    JourneyIndex index(w.trace);
    index.update();
    const auto events = index.events_of(p1);
    EXPECT_EQ(skb_image(w.trace, p1, events, 1).of(SkbField::data), std::nullopt);
    EXPECT_EQ(skb_image(w.trace, p1, events, 2).of(SkbField::data), 78U);
    EXPECT_EQ(skb_image(w.trace, p1, events, 2).changed_here.size(), 1U);
    const SkbImage last = skb_image(w.trace, p1, events, 4);
    EXPECT_EQ(last.of(SkbField::data), 78U);
    EXPECT_EQ(last.of(SkbField::len), 92U);
    ASSERT_EQ(last.changed_here.size(), 1U);
    EXPECT_EQ(last.changed_here[0].field, SkbField::len);
}

} // namespace
} // namespace skbscope
