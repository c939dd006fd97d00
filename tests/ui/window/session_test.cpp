// The playhead: seeking, stepping both ways, playing, and the sentence.

#include "tests/ui/map/hand_trace.h"
#include "tests/ui/window/services.h"
#include "ui/player/format.h"
#include "ui/player/session.h"

#include <QSignalSpy>
#include <gtest/gtest.h>
#include <random>

namespace skbscope::ui {
namespace {

std::unique_ptr<Source> handSource()
{
    return std::make_unique<TraceSource>("hand", test::backlogTrace());
}

std::unique_ptr<Source> modelSource()
{
    return std::move(*test::services().model());
}

TEST(Session, SeekStandsBehindAllEventsUpToThatMoment)
{
    Session session(handSource());
    const Trace& trace = session.trace();
    for (const std::size_t ordinal : {std::size_t{0}, trace.size() / 3, trace.size() / 2, trace.size() - 1}) {
        session.seek(trace[ordinal].time());
        EXPECT_EQ(session.now(), trace[ordinal].time());
        EXPECT_GT(session.position(), ordinal);
        EXPECT_EQ(session.position(), trace.lower_bound(trace[ordinal].time() + Duration{1}));
        EXPECT_EQ(session.state().applied(), session.position());
    }
}

TEST(Session, SeekBeforeTheFirstAndBehindTheLastEventStaysInside)
{
    Session session(handSource());
    session.seek({session.trace().end_time().ns * 10});
    EXPECT_EQ(session.position(), session.trace().size());
    EXPECT_EQ(session.now(), session.lastMoment());
    session.seek({});
    EXPECT_EQ(session.now(), session.origin());
}

TEST(Session, EventsOfOneNanosecondAreSteppedOneByOne)
{
    test::HandTrace hand;
    const PacketId packet = hand.born(false, 0);
    hand.record(EventKind::birth, "", packet, to_index(hand.eth0), 0, Context::softirq);
    hand.record(EventKind::enqueue, "", packet, to_index(hand.ring), 0, Context::softirq);
    hand.record(EventKind::dequeue, "", packet, to_index(hand.ring), 0, Context::softirq);
    for (std::size_t i = 0; i < hand.trace.size(); ++i) {
        hand.trace.mutable_event(i).time_ns = 500;
    }
    Session session(std::make_unique<TraceSource>("one moment", std::move(hand.trace)));
    session.toBegin();
    session.stepEvent(+1);
    session.stepEvent(+1);
    EXPECT_EQ(session.position(), 2U);
    EXPECT_EQ(session.now().ns, 500U);
    EXPECT_EQ(session.state().queues()[to_index(hand.ring)].packets.size(), 1U);
    session.stepEvent(+1);
    EXPECT_EQ(session.state().queues()[to_index(hand.ring)].packets.size(), 0U);
    session.stepEvent(-1);
    EXPECT_EQ(session.state().queues()[to_index(hand.ring)].packets.size(), 1U);
    session.stepEvent(-1);
    session.stepEvent(-1);
    session.stepEvent(-1);
    EXPECT_EQ(session.position(), 0U);
}

TEST(Session, StepFunctionOfASelectedPacketVisitsItsJourneyForthAndBack)
{
    Session session(modelSource());
    session.stepPacket(+1);
    const PacketId packet = session.selection().packet;
    ASSERT_NE(packet, PacketId::none);
    session.toBegin();
    std::vector<std::size_t> forth;
    for (std::size_t before = 0;; before = session.position()) {
        session.stepFunction(+1);
        if (session.position() == before) {
            break;
        }
        forth.push_back(session.position());
        ASSERT_LT(forth.size(), 1000U);
    }
    const auto steps = session.journeys().journey(packet).steps;
    ASSERT_GT(steps.size(), 30U);
    EXPECT_EQ(forth.size(), steps.size());
    for (std::size_t i = forth.size() - 1; i-- > 0;) {
        session.stepFunction(-1);
        EXPECT_EQ(session.position(), forth[i]);
    }
}

TEST(Session, StepFunctionWithoutASelectionVisitsEveryCall)
{
    Session session(handSource());
    std::size_t calls = 0;
    for (std::size_t i = 0; i < session.trace().size(); ++i) {
        calls += session.trace()[i].is_call() ? 1U : 0U;
    }
    session.toBegin();
    std::size_t steps = 0;
    for (std::size_t before = 0;; before = session.position(), ++steps) {
        session.stepFunction(+1);
        if (session.position() == before) {
            break;
        }
    }
    EXPECT_EQ(steps, calls);
}

TEST(Session, StepPacketSelectsTheNeighbourAndStandsAtItsBirth)
{
    Session session(handSource());
    session.toBegin();
    session.stepPacket(+1);
    EXPECT_EQ(to_index(session.selection().packet), 1U);
    session.stepPacket(+1);
    session.stepPacket(+1);
    EXPECT_EQ(to_index(session.selection().packet), 3U);
    EXPECT_EQ(session.now(), session.trace().packet(PacketId{3}).birth);
    session.stepPacket(-1);
    EXPECT_EQ(to_index(session.selection().packet), 2U);
    QSignalSpy remarks(&session, &Session::remarked);
    session.stepPacket(-1);
    session.stepPacket(-1);
    EXPECT_EQ(to_index(session.selection().packet), 1U);
    EXPECT_EQ(remarks.size(), 1);
}

TEST(Session, PlayingCoversSpeedTimesTimeAndPausesAtTheEnd)
{
    Session session(handSource());
    session.setSkipsIdle(false);
    session.setSpeed(10'000);
    session.toBegin();
    const SimTime start = session.now();
    session.play();
    for (int i = 0; i < 10; ++i) {
        session.advanceBy(0.05);
    }
    EXPECT_NEAR(static_cast<double>((session.now() - start).ns), 5000, 2);
    EXPECT_TRUE(session.isPlaying());
    for (int i = 0; i < 100'000 && session.isPlaying(); ++i) {
        session.advanceBy(0.1);
    }
    EXPECT_FALSE(session.isPlaying());
    EXPECT_EQ(session.position(), session.trace().size());
}

TEST(Session, VerySlowPlayLosesNoTime)
{
    Session session(handSource());
    session.setSkipsIdle(false);
    session.setSpeed(100); // 1.6 ns a tick
    session.toBegin();
    for (int i = 0; i < 625; ++i) {
        session.advanceBy(0.016);
    }
    EXPECT_NEAR(static_cast<double>((session.now() - session.origin()).ns), 1000, 2);
}

TEST(Session, PlayLeapsOverAnEmptyStretchAndSaysHowLong)
{
    test::HandTrace hand;
    const PacketId packet = hand.born(false, 0);
    hand.record(EventKind::birth, "", packet, to_index(hand.eth0), 0, Context::softirq);
    hand.now += 50'000'000;
    hand.call("ip_rcv", packet, 0, Context::softirq, 100, 0);
    Session session(std::make_unique<TraceSource>("gap", std::move(hand.trace)));
    session.setSpeed(20'000);
    session.toBegin();
    session.stepEvent(+1);
    QSignalSpy skipped(&session, &Session::skipped);
    session.advanceBy(0.016);
    ASSERT_EQ(skipped.size(), 1);
    const auto ahead = session.trace()[1].time() - session.now();
    EXPECT_GT(ahead.ns, 0);
    EXPECT_LE(ahead.ns, 5'000);
}

TEST(Session, ATurnedKnobRunsTheFutureAgainAndKeepsThePast)
{
    Session session(modelSource());
    session.act("send_burst");
    session.toEnd();
    const auto delivered = session.state().accounting().of(Verdict::delivered);
    EXPECT_EQ(session.state().accounting().of(Verdict::dropped), 0U);
    session.toBegin();
    QSignalSpy replaced(&session, &Session::traceReplaced);
    QSignalSpy failed(&session, &Session::failed);
    session.setKnob("net.core.rmem_default", 4096);
    session.act("send_burst");
    session.toEnd();
    EXPECT_EQ(failed.size(), 0);
    EXPECT_GE(replaced.size(), 1);
    EXPECT_EQ(session.state().applied(), session.trace().size());
    EXPECT_GE(session.state().accounting().born, delivered);
}

TEST(Session, AnUnknownKnobIsAnErrorInOneLine)
{
    Session session(modelSource());
    QSignalSpy failed(&session, &Session::failed);
    session.setKnob("net.core.no_such_thing", 1);
    ASSERT_EQ(failed.size(), 1);
    EXPECT_FALSE(failed[0][0].toString().contains('\n'));
}

TEST(Session, StartOverForgetsWhatWasDone)
{
    Session session(modelSource());
    session.toEnd();
    const std::size_t events = session.trace().size();
    const auto born = session.state().accounting().born;
    session.act("send_burst");
    session.toEnd();
    EXPECT_GT(session.state().accounting().born, born);
    session.startOver();
    EXPECT_EQ(session.position(), 0U);
    session.toEnd();
    EXPECT_EQ(session.trace().size(), events);
    EXPECT_EQ(session.state().accounting().born, born);
}

TEST(Sentence, SaysThatNothingHasHappenedYet)
{
    Session session(std::make_unique<TraceSource>("empty", Trace{}));
    EXPECT_EQ(session.sentence(), "Nothing has happened yet");
}

TEST(Sentence, AgreesWithTheAccountingAtEveryEvent)
{
    Session session(handSource());
    for (std::size_t position = 0; position <= session.trace().size(); position += 7) {
        session.seekToEvent(position);
        const Accounting& sum = session.state().accounting();
        const QString words = session.sentence();
        if (sum.born == 0) {
            continue;
        }
        EXPECT_TRUE(words.startsWith(sum.born == 1 ? QString("1 datagram:") : QString("%1 datagrams:").arg(sum.born))) << words.toStdString();
        for (const auto& [verdict, name] : {std::pair{Verdict::delivered, "delivered"}, {Verdict::sent, "sent"}, {Verdict::dropped, "dropped"}}) {
            if (const auto count = sum.of(verdict); count != 0 && count != sum.born) {
                EXPECT_TRUE(words.contains(QString("%1 %2").arg(count).arg(name))) << words.toStdString();
            }
        }
        if (sum.in_flight() != 0 && sum.in_flight() != sum.born) {
            EXPECT_TRUE(words.contains(QString("%1 on the way").arg(sum.in_flight()))) << words.toStdString();
        }
    }
}

TEST(Sentence, NamesTheReasonOfADrop)
{
    Session session(handSource());
    session.toEnd();
    ASSERT_GT(session.state().accounting().of(Verdict::dropped), 0U);
    EXPECT_TRUE(session.sentence().contains("dropped because")) << session.sentence().toStdString();
    EXPECT_FALSE(session.sentence().endsWith('.'));
}

TEST(Format, TimesCountInMicrosecondsWithThreeDecimals)
{
    EXPECT_EQ(timeText({1'284'316}), QString::fromUtf8("1\u202f284.316 µs"));
    EXPECT_EQ(timeText({1'500}, {1'000}), QString::fromUtf8("0.500 µs"));
}

TEST(Format, LevelsSayTheirLimitAndWhenItIsPassed)
{
    EXPECT_EQ(levelText(5, 256, QueueUnit::packets), "5/256");
    EXPECT_EQ(levelText(11, 10, QueueUnit::packets), "11 (limit 10)");
    EXPECT_EQ(levelText(2496, 212992, QueueUnit::bytes), "2.44/208 KB");
    EXPECT_EQ(levelText(3, 0, QueueUnit::packets), "3");
}

TEST(Format, SpeedsReadAsOneSecondOfWatching)
{
    EXPECT_EQ(speedText(20'000), QString::fromUtf8("1 s = 20 µs"));
    EXPECT_EQ(speedText(100), "1 s = 100 ns");
    EXPECT_EQ(speedText(1e9), "1 s = 1 s");
}

} // namespace
} // namespace skbscope::ui
