#include "tests/ui/map/hand_trace.h"
#include "ui/theme/theme.h"
#include "ui/timeline/timeline_view.h"

#include <QApplication>
#include <QImage>
#include <QKeyEvent>
#include <QMouseEvent>
#include <QWheelEvent>
#include <algorithm>
#include <gtest/gtest.h>
#include <tuple>

namespace skbscope::ui {
namespace {

std::unique_ptr<Session> handSession()
{
    return std::make_unique<Session>(std::make_unique<TraceSource>("hand", test::backlogTrace()));
}

void show(TimelineView& view)
{
    view.resize(1180, 245);
    view.grab(); // lays out
}

void press(QWidget& widget, QPointF at, Qt::KeyboardModifiers keys = Qt::NoModifier)
{
    QMouseEvent down(QEvent::MouseButtonPress, at, widget.mapToGlobal(at), Qt::LeftButton, Qt::LeftButton, keys);
    QApplication::sendEvent(&widget, &down);
}

void drag(QWidget& widget, QPointF to, Qt::KeyboardModifiers keys = Qt::NoModifier)
{
    QMouseEvent move(QEvent::MouseMove, to, widget.mapToGlobal(to), Qt::NoButton, Qt::LeftButton, keys);
    QApplication::sendEvent(&widget, &move);
}

void release(QWidget& widget, QPointF at)
{
    QMouseEvent up(QEvent::MouseButtonRelease, at, widget.mapToGlobal(at), Qt::LeftButton, Qt::NoButton, Qt::NoModifier);
    QApplication::sendEvent(&widget, &up);
}

TEST(TimeAxis, FitsTheWholeRecording)
{
    const auto session = handSession();
    const TimeAxis axis(session.get());
    EXPECT_LE(axis.begin(), static_cast<double>(session->origin().ns));
    EXPECT_GE(axis.end(), static_cast<double>(session->lastMoment().ns));
    EXPECT_LT(axis.span(), static_cast<double>(session->lastMoment().ns - session->origin().ns) * 1.2);
}

TEST(TimeAxis, ZoomKeepsTheMomentUnderTheCursor)
{
    const auto session = handSession();
    TimelineView view(session.get());
    show(view);
    const QRectF area = TimeAxis::area(view.lanes());
    const QPointF at(area.left() + area.width() * 0.3, 20);
    const double before = view.axis().nsAt(at.x(), area);
    const double span = view.axis().span();
    QWheelEvent wheel(at, view.lanes().mapToGlobal(at), {}, {0, 240}, Qt::NoButton, Qt::NoModifier, Qt::NoScrollPhase, false);
    QApplication::sendEvent(&view.lanes(), &wheel);
    EXPECT_LT(view.axis().span(), span);
    EXPECT_NEAR(view.axis().nsAt(at.x(), area), before, 1);
}

TEST(TimeAxis, PixelAndMomentAreInverse)
{
    const auto session = handSession();
    TimeAxis axis(session.get());
    axis.setRange(1000, 9000);
    const QRectF area(70, 0, 800, 100);
    for (const double ns : {1000.0, 2345.0, 9000.0}) {
        EXPECT_NEAR(axis.nsAt(axis.xOf(ns, area), area), ns, 1e-6);
    }
}

TEST(TimeAxis, FollowsAPlayheadThatLeavesTheView)
{
    const auto session = handSession();
    TimeAxis axis(session.get());
    axis.setRange(1000, 9000);
    session->seek({20'000});
    EXPECT_LE(axis.begin(), 20'000);
    EXPECT_GE(axis.end(), 20'000);
    EXPECT_NEAR(axis.span(), 8000, 1e-6);
}

TEST(TimeAxis, TicksAreRoundAndNeverCrowd)
{
    const auto session = handSession();
    TimeAxis axis(session.get());
    for (const double span : {200.0, 3'000.0, 77'000.0, 5e6, 3e9}) {
        axis.setRange(0, span);
        const auto ticks = axis.ticks(1000);
        ASSERT_GE(ticks.size(), 2U) << span;
        EXPECT_LE(ticks.size(), 12U) << span;
    }
}

TEST(Timeline, DraggingScrubsAndBothViewsAgree)
{
    const auto session = handSession();
    TimelineView view(session.get());
    show(view);
    const QRectF area = TimeAxis::area(view.lanes());
    EXPECT_EQ(area.left(), TimeAxis::area(view.plot()).left());
    EXPECT_EQ(area.width(), TimeAxis::area(view.plot()).width());
    press(view.plot(), {area.left() + 300, 60});
    drag(view.plot(), {area.left() + 500, 60});
    release(view.plot(), {area.left() + 500, 60});
    EXPECT_NEAR(static_cast<double>(session->now().ns), view.axis().nsAt(area.left() + 500, area), view.axis().span() / area.width());
}

TEST(Timeline, ShiftDragPansWithoutMovingThePlayhead)
{
    const auto session = handSession();
    TimelineView view(session.get());
    show(view);
    view.axis().setRange(10'000, 30'000);
    session->seek({20'000});
    const QRectF area = TimeAxis::area(view.lanes());
    press(view.lanes(), {area.left() + 300, 20}, Qt::ShiftModifier);
    drag(view.lanes(), {area.left() + 200, 20}, Qt::ShiftModifier);
    release(view.lanes(), {area.left() + 200, 20});
    EXPECT_GT(view.axis().begin(), 10'000);
    EXPECT_EQ(session->now().ns, 20'000U);
}

TEST(Timeline, PlusAndMinusZoomZeroShowsAll)
{
    const auto session = handSession();
    TimelineView view(session.get());
    show(view);
    const double all = view.axis().span();
    QKeyEvent plus(QEvent::KeyPress, Qt::Key_Plus, Qt::NoModifier, "+");
    QApplication::sendEvent(&view.lanes(), &plus);
    EXPECT_NEAR(view.axis().span(), all / 2, 1);
    QKeyEvent zero(QEvent::KeyPress, Qt::Key_0, Qt::NoModifier, "0");
    QApplication::sendEvent(&view.lanes(), &zero);
    EXPECT_NEAR(view.axis().span(), all, 1);
}

TEST(CpuLanes, EveryCallBeginsInABlockOfItsContextAndBlocksNeverOverlap)
{
    const auto session = handSession();
    TimelineView view(session.get());
    show(view);
    const auto& lanes = view.lanes().blocks().lanes();
    ASSERT_EQ(lanes.size(), 2U);
    EXPECT_EQ(lanes[0].cpu, 0);
    EXPECT_EQ(lanes[1].cpu, 1);
    const Trace& trace = session->trace();
    for (std::size_t i = 0; i < trace.size(); ++i) {
        const Event& event = trace[i];
        if (event.is_call()) {
            const CpuBlock* block = CpuBlocks::at(lanes[event.cpu], event.context(), event.time_ns);
            ASSERT_NE(block, nullptr) << i;
            EXPECT_LE(block->begin, event.time_ns);
        }
    }
    for (const auto& lane : lanes) {
        std::vector<CpuBlock> all;
        for (const auto& level : lane.levels) {
            all.insert(all.end(), level.begin(), level.end());
        }
        std::sort(all.begin(), all.end(), [](const CpuBlock& a, const CpuBlock& b) { return std::tie(a.begin, a.end) < std::tie(b.begin, b.end); });
        for (std::size_t i = 1; i < all.size(); ++i) {
            EXPECT_GE(all[i].begin, all[i - 1].end);
        }
    }
}

TEST(CpuLanes, ASoftirqOnTheWayOutOfAnInterruptIsSoftirqTime)
{
    test::HandTrace h;
    h.now = 1000;
    h.call("e1000_intr", PacketId::none, 0, Context::hardirq, 500, 0);
    h.now = 1500;
    h.call("irq_exit_rcu", PacketId::none, 0, Context::hardirq, 5000, 0);
    h.now = 1600;
    h.call("net_rx_action", PacketId::none, 0, Context::softirq, 4000, 0);
    h.now = 2000;
    h.call("e1000_intr", PacketId::none, 0, Context::hardirq, 100, 0);
    h.now = 9000;
    h.call("udp_recvmsg", PacketId::none, 0, Context::process, 1000, 0, h.dnsd);
    Session session(std::make_unique<TraceSource>("nested", std::move(h.trace)));
    TimelineView view(&session);
    show(view);
    const auto& lanes = view.lanes().blocks().lanes();
    ASSERT_EQ(lanes.size(), 1U);
    const auto total = [&](Context context) {
        std::uint64_t sum = 0;
        for (const CpuBlock& block : lanes[0].levels[static_cast<std::size_t>(context)]) {
            sum += block.end - block.begin;
        }
        return sum;
    };
    EXPECT_EQ(total(Context::softirq), 3900U);
    EXPECT_EQ(total(Context::hardirq), 500U + 1000U + 100U);
    EXPECT_EQ(total(Context::process), 1000U);
}

TEST(CpuLanes, ATaskThatSleepsInACallDoesNotRun)
{
    test::HandTrace h;
    h.now = 1000;
    h.call("udp_recvmsg", PacketId::none, 0, Context::process, 9000, 0, h.dnsd);
    h.now = 2000;
    h.record(EventKind::sched, "", PacketId::none, 0, 0, Context::process); // idle
    h.now = 8000;
    h.record(EventKind::sched, "", PacketId::none, 0, 0, Context::process, h.dnsd);
    h.now = 12000;
    h.call("udp_recvmsg", PacketId::none, 0, Context::process, 10, 0, h.dnsd);
    Session session(std::make_unique<TraceSource>("asleep", std::move(h.trace)));
    TimelineView view(&session);
    show(view);
    const auto& blocks = view.lanes().blocks().lanes().at(0).levels[0];
    ASSERT_EQ(blocks.size(), 3U);
    EXPECT_EQ(blocks[0].end, 2000U);
    EXPECT_EQ(blocks[1].begin, 8000U);
    EXPECT_EQ(blocks[1].end, 10000U);
}

TEST(CpuLanes, AClickSelectsTheInnermostCallAndItsPacket)
{
    const auto session = handSession();
    TimelineView view(session.get());
    show(view);
    const Trace& trace = session->trace();
    // A long call of CPU 1 about a packet.
    std::size_t wanted = 0;
    for (std::size_t i = 0; i < trace.size(); ++i) {
        if (trace[i].is_call() && trace[i].cpu == 1 && trace[i].function_id() == Catalog::find_function("ip_route_input_noref")) {
            wanted = i;
            break;
        }
    }
    ASSERT_NE(wanted, 0U);
    const double at = static_cast<double>(trace[wanted].time_ns) + 150;
    view.axis().setRange(at - 2000, at + 2000);
    const QRectF lane = view.lanes().laneRect(1);
    const QPointF point(view.axis().xOf(at, TimeAxis::area(view.lanes())), lane.center().y());
    press(view.lanes(), point);
    release(view.lanes(), point);
    EXPECT_EQ(session->selection().packet, trace[wanted].packet_id());
    EXPECT_EQ(session->selection().function, trace[wanted].function_id());
}

TEST(CpuLanes, CallsWithoutAReturnDoNotFillTheIdleTimeBehindThem)
{
    test::HandTrace h;
    h.trace.info.observed = true;
    for (int burst = 0; burst < 3; ++burst) {
        h.now = 10'000'000ULL * static_cast<std::uint64_t>(burst + 1);
        for (const char* function : {"e1000_clean", "ip_rcv", "udp_rcv"}) {
            h.call(function, PacketId::none, 0, Context::softirq, 0, 0);
            h.trace.mutable_event(h.trace.size() - 1).duration_ns = Event::unknown_duration;
            h.now += 15'000;
        }
        h.now += 5'000'000;
        h.call("e1000_intr", PacketId::none, 0, Context::hardirq, 0, 0);
        h.trace.mutable_event(h.trace.size() - 1).duration_ns = Event::unknown_duration;
    }
    Session session(std::make_unique<TraceSource>("observed", std::move(h.trace)));
    TimelineView view(&session);
    show(view);
    const auto& blocks = view.lanes().blocks().lanes().at(0).levels[1];
    ASSERT_EQ(blocks.size(), 3U);
    for (const CpuBlock& block : blocks) {
        EXPECT_GE(block.end - block.begin, 30'000U);
        EXPECT_LT(block.end - block.begin, 200'000U);
    }
}

TEST(QueuePlot, LevelsAreThoseOfTheStateAtEveryMoment)
{
    const auto session = handSession();
    TimelineView view(session.get());
    show(view);
    const Trace& trace = session->trace();
    for (std::uint64_t t = 0; t <= trace.end_time().ns; t += 500) {
        session->seek({t});
        const auto& queues = session->state().queues();
        for (const auto& series : view.plot().levels().series()) {
            if (to_index(series.queue) == 0 || to_index(series.queue) >= queues.size() || series.points.empty()) {
                continue;
            }
            const auto after = std::upper_bound(series.points.begin(), series.points.end(), t, [](std::uint64_t at, const QueueLevels::Point& p) { return at < p.ns; });
            const double level = after == series.points.begin() ? 0 : std::prev(after)->level;
            const QueueUnit unit = series.hasFill ? QueueUnit::bytes : QueueUnit::packets;
            EXPECT_EQ(level, static_cast<double>(queues[to_index(series.queue)].level(unit))) << to_index(series.queue) << " at " << t;
        }
    }
}

TEST(QueuePlot, ShowsTheQueuesThatWereUsedAndNoOthers)
{
    const auto session = handSession();
    TimelineView view(session.get());
    show(view);
    std::vector<std::string> names;
    for (const QueueId queue : view.plot().shownQueues()) {
        names.push_back(session->trace().queue(queue).name);
    }
    EXPECT_EQ(names, (std::vector<std::string>{"eth0 RX ring", "backlog CPU 1", ":53 receive queue", "eth0 TX ring"}));
}

TEST(Timeline, AClockThatCannotBeTrustedShowsNoTimes)
{
    Trace trace = test::backlogTrace();
    trace.info.times_trustworthy = false;
    Session doubtful(std::make_unique<TraceSource>("doubtful", std::move(trace)));
    const auto trusted = handSession();
    TimelineView one(&doubtful);
    TimelineView other(trusted.get());
    show(one);
    show(other);
    const QImage a = one.grab().toImage();
    const QImage b = other.grab().toImage();
    // The strip of labels below the plot differs: a badge instead of moments.
    const QRect strip(TimeAxis::gutter, a.height() - 16, a.width() - TimeAxis::gutter, 14);
    EXPECT_NE(a.copy(strip), b.copy(strip));
    EXPECT_EQ(a.copy(0, 0, TimeAxis::gutter, 60), b.copy(0, 0, TimeAxis::gutter, 60));
}

TEST(Timeline, AMillionEventsArePaintedByThePixel)
{
    test::HandTrace h;
    for (int i = 0; i < 500'000; ++i) {
        h.call("net_rx_action", PacketId::none, i % 2, Context::softirq, 400, 0);
        h.now += 300;
        h.record(i % 2 == 0 ? EventKind::enqueue : EventKind::dequeue, "", PacketId::none, to_index(h.ring), 0, Context::softirq);
        h.now += 300;
    }
    Session session(std::make_unique<TraceSource>("long", std::move(h.trace)));
    TimelineView view(&session);
    show(view);
    for (const double last : {3e8, 3e7, 3e6}) {
        view.axis().setRange(0, last);
        view.grab();
        // At most a box a pixel, lane and context, and some points a pixel and queue.
        EXPECT_GT(view.lanes().boxesDrawn(), 0U);
        EXPECT_LE(view.lanes().boxesDrawn(), 2U * 3U * 1180U);
        EXPECT_GT(view.plot().pointsDrawn(), 100U);
        EXPECT_LE(view.plot().pointsDrawn(), 4U * 1180U);
    }
    EXPECT_EQ(view.lanes().blocks().lanes().size(), 2U);
}

TEST(Lanes, ManyShortInterruptsAreNoBusyCpu)
{
    const auto solid = [](std::uint64_t each, std::uint64_t every) {
        test::HandTrace h;
        for (int i = 0; i < 20'000; ++i) {
            h.call("handle_irq_event_percpu", PacketId::none, 0, Context::hardirq, each, 0);
            h.now += every;
        }
        const double end = static_cast<double>(h.now);
        Session session(std::make_unique<TraceSource>("interrupts", std::move(h.trace)));
        session.toEnd();
        TimelineView view(&session);
        show(view);
        view.axis().setRange(0, end);
        const QImage picture = view.lanes().grab().toImage();
        const QRgb full = Theme::instance().context(Context::hardirq).rgb();
        int count = 0;
        for (int y = 0; y < picture.height(); ++y) {
            for (int x = 0; x < picture.width(); ++x) {
                count += picture.pixel(x, y) == full ? 1 : 0;
            }
        }
        return count;
    };
    const int busy = solid(10'000, 10'000);
    EXPECT_GT(busy, 5000) << "all of the time: a solid bar";
    EXPECT_LT(solid(100, 10'000), busy / 20) << "a hundredth of the time";
}


} // namespace
} // namespace skbscope::ui
