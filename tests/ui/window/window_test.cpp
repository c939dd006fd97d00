// The window as a whole: all panels agree, files open and fail in words, lessons play, keys work.

#include "core/catalog/catalog.h"
#include "tests/ui/map/hand_trace.h"
#include "tests/ui/window/services.h"
#include "ui/banner.h"
#include "ui/busy_curtain.h"
#include "ui/controls/accounting_block.h"
#include "ui/controls/branch_list.h"
#include "ui/controls/control_panel.h"
#include "ui/controls/elide.h"
#include "ui/controls/knob_editor.h"
#include "ui/inspector/inspector.h"
#include "ui/inspector/journey_rows.h"
#include "ui/inspector/journey_view.h"
#include "ui/inspector/skb_view.h"
#include "ui/lesson/lesson_panel.h"
#include "ui/lesson/markdown_view.h"
#include "ui/map/map_view.h"
#include "ui/player/format.h"
#include "ui/player/session.h"
#include "ui/search/search_box.h"
#include "ui/search/search_index.h"
#include "ui/shot.h"
#include "ui/timeline/timeline_view.h"

#include <QApplication>
#include <QImage>
#include <QKeyEvent>
#include <QComboBox>
#include <QLineEdit>
#include <QLabel>
#include <QProgressBar>
#include <QPushButton>
#include <QRegularExpression>
#include <QSet>
#include <QSignalSpy>
#include <QTest>
#include <QThread>
#include <QTimer>
#include <QUndoStack>
#include <atomic>
#include <fstream>
#include <gtest/gtest.h>
#include <random>
#include <thread>

namespace skbscope::ui {
namespace {

using test::settle;

/// Press and release, as the platform would deliver it: shortcuts first.
void press(QWidget& widget, int key, Qt::KeyboardModifiers modifiers = Qt::NoModifier, const QString& text = {})
{
    QKeyEvent override(QEvent::ShortcutOverride, key, modifiers, text);
    override.ignore();
    QApplication::sendEvent(&widget, &override);
    QKeyEvent down(QEvent::KeyPress, key, modifiers, text);
    QApplication::sendEvent(&widget, &down);
}

std::unique_ptr<Source> handSource()
{
    return std::make_unique<TraceSource>("hand", test::backlogTrace());
}

/// Every panel shows what StackState says at the playhead.
void expectAgreement(MainWindow& window)
{
    Session& session = *window.session();
    const StackState& state = session.state();
    const Trace& trace = session.trace();
    const Accounting& sum = state.accounting();

    // The reference: a state built from nothing.
    StackState fresh(trace);
    for (std::size_t i = 0; i < session.position(); ++i) {
        fresh.apply(i);
    }
    fresh.settle(session.now());
    ASSERT_EQ(fresh.accounting().born, sum.born);
    ASSERT_EQ(fresh.accounting().by_verdict, sum.by_verdict);
    ASSERT_EQ(fresh.packets().size(), state.packets().size());

    // Accounting block.
    for (const AccountingBlock::Line& line : window.accounting()->lines()) {
        const std::uint64_t expected = line.name == "born"        ? fresh.accounting().born
                                       : line.name == "in flight" ? fresh.accounting().in_flight()
                                                                  : fresh.accounting().of(line.verdict);
        EXPECT_EQ(line.count, expected) << line.name.toStdString();
    }
    std::uint64_t dropped = 0;
    for (const AccountingBlock::Drop& drop : window.accounting()->drops()) {
        dropped += drop.count;
    }
    EXPECT_EQ(dropped, fresh.accounting().of(Verdict::dropped));

    // The numbers of "where they are" add up to those in flight.
    const QString where = inFlightText(trace, state);
    if (!where.isEmpty()) {
        std::uint64_t parts = 0;
        for (const QString& part : where.section(QStringLiteral(" = "), -1).split(QStringLiteral(", "))) {
            parts += part.section(' ', 0, 0).toULongLong();
        }
        EXPECT_EQ(parts, fresh.accounting().in_flight()) << where.toStdString();
    }

    // The sentence on top.
    EXPECT_EQ(window.headline()->text(), session.sentence());
    if (sum.born > 0) {
        EXPECT_EQ(window.headline()->text().section(' ', 0, 0).toULongLong(), fresh.accounting().born);
    }

    // The clock.
    EXPECT_EQ(window.topBar()->timeText(), "t = " + timeText(session.now(), session.origin()));

    // The map: the same packets in the same rooms.
    std::map<RoomId, std::size_t> rooms;
    for (const auto& [id, packet] : fresh.packets()) {
        ++rooms[packet.room];
    }
    for (const auto& [room, count] : rooms) {
        if (room != RoomId::none) {
            EXPECT_EQ(window.map()->tokensIn(room).size(), count) << Catalog::room(room).key;
        }
    }
    for (const MapTray& tray : window.map()->scene().trays()) {
        if (tray.queue != QueueId::none) {
            const QueueState& queue = fresh.queues()[to_index(tray.queue)];
            EXPECT_EQ(tray.level, queue.level(trace.queue(tray.queue).unit));
            EXPECT_EQ(tray.limit, queue.limit);
        }
    }

    // The queue plot, where all events of the moment have happened.
    if (session.position() == trace.lower_bound(session.now() + Duration{1})) {
        for (const QueueLevels::Series& series : window.timeline()->plot().levels().series()) {
            if (series.queue == QueueId::none || series.points.empty()) {
                continue;
            }
            const auto after = std::partition_point(series.points.begin(), series.points.end(),
                                                    [&](const QueueLevels::Point& p) { return p.ns <= session.now().ns; });
            const double level = after == series.points.begin() ? 0 : std::prev(after)->level;
            const QueueState& queue = fresh.queues()[to_index(series.queue)];
            EXPECT_EQ(level, static_cast<double>(series.bytes ? queue.fill : queue.packets.size()))
                << trace.queue(series.queue).name << " at " << session.now().ns;
        }
    }

    // The inspector.
    const PacketId packet = session.selection().packet;
    if (packet == PacketId::none) {
        return;
    }
    EXPECT_EQ(window.inspector()->titleText(), packetTitle(trace, packet));
    const auto live = fresh.packets().find(packet);
    const QString place = window.inspector()->placeText();
    if (live == fresh.packets().end()) {
        EXPECT_TRUE(place.startsWith("gone") || place.startsWith("not born")) << place.toStdString();
    } else if (live->second.where == PacketState::Where::waiting) {
        EXPECT_TRUE(place.startsWith(waitText(trace.queue(live->second.queue)))) << place.toStdString();
    } else if (live->second.where == PacketState::Where::running) {
        EXPECT_TRUE(place.contains(text(trace.function_name(live->second.function)))) << place.toStdString();
        EXPECT_TRUE(place.contains(QString("CPU %1").arg(static_cast<int>(live->second.cpu)))) << place.toStdString();
    }
    if (window.inspector()->tab() == Inspector::skb_tab) {
        const auto last = session.lastEventOf(packet);
        const SkbImage image =
            last ? skb_image(trace, packet, session.journeys().events_of(packet), *last) : SkbImage{};
        EXPECT_EQ(window.inspector()->skb()->image().fields, image.fields);
    }
    if (window.inspector()->tab() == Inspector::journey_tab) {
        const JourneyView& view = *window.inspector()->journey();
        for (const JourneyRow& row : view.rows()) {
            if (row.kind == JourneyRow::Kind::wait && live != fresh.packets().end() && row.begun(session.position()) &&
                row.to > session.now() && live->second.where == PacketState::Where::waiting) {
                EXPECT_EQ(row.queue, live->second.queue);
            }
        }
    }
}

void driveAtRandom(MainWindow& window, unsigned seed, int moves)
{
    std::mt19937 random(seed);
    const auto below = [&](std::uint64_t n) { return n == 0 ? 0 : std::uniform_int_distribution<std::uint64_t>(0, n - 1)(random); };
    Session& session = *window.session();
    for (int i = 0; i < moves; ++i) {
        switch (below(12)) {
        case 0: session.seek({session.origin().ns + below(session.lastMoment().ns - session.origin().ns + 1)}); break;
        case 1: session.seekToEvent(below(session.trace().size() + 1)); break;
        case 2: session.stepFunction(+1); break;
        case 3: session.stepFunction(-1); break;
        case 4: session.stepPacket(+1); break;
        case 5: session.stepPacket(-1); break;
        case 6: session.stepEvent(+1); break;
        case 7: session.stepEvent(-1); break;
        case 8: session.selectPacket(static_cast<PacketId>(1 + below(session.trace().packet_count()))); break;
        case 9: {
            Selection selection;
            selection.room = static_cast<RoomId>(1 + below(Catalog::rooms().size() - 1));
            session.select(selection);
            break;
        }
        case 10: window.inspector()->showTab(static_cast<Inspector::Tab>(below(4))); break;
        case 11: session.advanceBy(0.016); break;
        }
        expectAgreement(window);
        if (testing::Test::HasFailure()) {
            FAIL() << "after move " << i << ", at event " << session.position() << " of " << session.trace().size();
        }
    }
}

TEST(Inspector, APacketWaitsInAQueueButIsOnAWire)
{
    QueueRecord queue;
    queue.name = "eth0 RX ring";
    queue.kind = QueueKind::rx_ring;
    EXPECT_EQ(waitText(queue), "waits in eth0 RX ring");
    queue.name = "eth0 wire";
    queue.kind = QueueKind::wire;
    EXPECT_EQ(waitText(queue), "on the eth0 wire");
}

TEST(Window, AllPanelsAgreeOverAHandWrittenTraceWithDrops)
{
    MainWindow window(test::services());
    window.setSource(handSource(), Mode::recording);
    window.show();
    settle();
    driveAtRandom(window, 7, 250);
}

TEST(Window, AllPanelsAgreeOverAModelRunWhoseKnobsAreTurned)
{
    MainWindow window(test::services());
    ASSERT_TRUE(window.openLesson("01"));
    window.show();
    settle();
    Session& session = *window.session();
    session.act("send_burst");
    session.toEnd();
    driveAtRandom(window, 11, 60);
    session.toBegin();
    session.setKnob("net.core.rmem_default", 4096);
    session.act("send_burst");
    session.toEnd();
    expectAgreement(window);
    driveAtRandom(window, 13, 60);
}

TEST(Window, AllPanelsAgreeOverARecordingOfARealKernelThatSaysItsTimesAreNotReal)
{
    MainWindow window(test::services());
    ASSERT_TRUE(window.openLesson("01-a-datagram-arrives-real"));
    window.show();
    settle();
    EXPECT_EQ(window.headline()->warning(), "order real, times not");
    driveAtRandom(window, 17, 60);
    window.session()->selectPacket(PacketId{1});
    window.session()->toEnd();
    EXPECT_FALSE(window.inspector()->placeText().contains("old")) << "no age, for the clock is not to be trusted";
}

TEST(Window, ALessonUnfoldsWhatItsStepsNeed)
{
    MainWindow window(test::services());
    window.show();
    ASSERT_TRUE(window.openLesson("02"));
    settle();
    EXPECT_TRUE(window.inspector()->isHidden()) << "step 1 speaks of the map and the CPUs";
    EXPECT_FALSE(window.accounting()->isHidden());
    window.lessonPanel()->goTo(3);
    EXPECT_FALSE(window.inspector()->isHidden());
    EXPECT_EQ(window.inspector()->tab(), Inspector::skb_tab);
    window.setSource(std::move(*test::services().model()), Mode::model);
    EXPECT_FALSE(window.inspector()->isHidden());
}

TEST(Window, BeginsPausedOnItsFirstPacket)
{
    MainWindow window(test::services());
    window.setSource(std::move(*test::services().model()), Mode::model);
    EXPECT_EQ(window.session()->selection().packet, PacketId{1});
    EXPECT_EQ(window.session()->state().packets().count(PacketId{1}), 1U);
    EXPECT_FALSE(window.session()->isPlaying());
}

TEST(Window, WithoutASourceItOffersLessonsAndDoesNothingElse)
{
    MainWindow window(test::services());
    window.show();
    settle();
    press(window, Qt::Key_Space, Qt::NoModifier, " ");
    press(window, Qt::Key_Right);
    press(window, Qt::Key_End);
    settle();
    EXPECT_EQ(window.session(), nullptr);
    EXPECT_EQ(window.headline()->text(), "");
}

TEST(Window, AFileThatCannotBeReadIsOneLineInTheBanner)
{
    MainWindow window(test::services());
    window.setSource(handSource(), Mode::recording);
    Session* before = window.session();
    EXPECT_FALSE(window.openNow("/no/such/place/at/all.yaml"));
    EXPECT_FALSE(window.banner()->words().isEmpty());
    EXPECT_FALSE(window.banner()->words().contains('\n'));
    EXPECT_EQ(window.session(), before) << "what was open stays open";
}

TEST(Window, OpensFilesOnAnotherThread)
{
    MainWindow window(test::services());
    QSignalSpy opened(&window, &MainWindow::opened);
    window.openFile(QString::fromStdString((test::lessonsFolder() / "02-a-datagram-leaves" / "scenario.yaml").string()));
    EXPECT_TRUE(window.isOpening());
    ASSERT_TRUE(opened.wait(20'000));
    EXPECT_FALSE(window.isOpening());
    EXPECT_EQ(window.mode(), Mode::model);
    ASSERT_NE(window.session(), nullptr);
}

TEST(Window, ACancelledOpeningChangesNothing)
{
    MainWindow window(test::services());
    window.setSource(handSource(), Mode::recording);
    Session* before = window.session();
    window.openFile(QString::fromStdString((test::lessonsFolder() / "02-a-datagram-leaves" / "scenario.yaml").string()));
    emit window.banner()->cancelled();
    EXPECT_FALSE(window.isOpening());
    QThreadPool::globalInstance()->waitForDone();
    QSignalSpy opened(&window, &MainWindow::opened);
    opened.wait(300);
    EXPECT_EQ(opened.size(), 0);
    EXPECT_EQ(window.session(), before);
}

TEST(Window, AnOpeningSaysHowFarItIsAndEndsWhenItIsCancelled)
{
    auto services = test::services();
    std::atomic<bool> ended = false;
    services.openWatched = [&](const std::filesystem::path& path, Progress& progress) -> Result<std::unique_ptr<Source>> {
        progress.begin("importing", 200);
        progress.reach(86);
        progress.count(1'234'000);
        while (!progress.is_cancelled()) {
            std::this_thread::yield();
        }
        ended = true;
        return stopped(path.string());
    };
    MainWindow window(services);
    window.setSource(handSource(), Mode::recording);
    Session* before = window.session();
    window.show();
    window.openFile("/recordings/trace.dat");
    auto* bar = window.banner()->findChild<QProgressBar*>();
    ASSERT_NE(bar, nullptr);
    EXPECT_TRUE(QTest::qWaitFor([&] { return bar->value() == 43; }, 20'000));
    EXPECT_EQ(bar->maximum(), 100);
    EXPECT_TRUE(window.banner()->words().contains(countText(1'234'000) + " records")) << window.banner()->words().toStdString();
    ASSERT_NE(window.banner()->findChild<QPushButton*>(), nullptr);
    window.banner()->findChild<QPushButton*>()->click();
    EXPECT_FALSE(window.isOpening());
    EXPECT_TRUE(QTest::qWaitFor([&] { return ended.load(); }, 20'000)) << "the work itself ends, not only the wish for it";
    settle();
    EXPECT_EQ(window.session(), before);
    EXPECT_TRUE(window.banner()->words().isEmpty()) << "who cancels need not be told";
}

TEST(Window, AWindowThatGoesWhileAFileOpensIsNotMissed)
{
    auto window = std::make_unique<MainWindow>(test::services());
    window->openFile(QString::fromStdString((test::lessonsFolder() / "02-a-datagram-leaves" / "scenario.yaml").string()));
    window.reset();
    settle();
    SUCCEED();
}

TEST(Window, KeysMoveThePlayhead)
{
    MainWindow window(test::services());
    window.setSource(handSource(), Mode::recording);
    window.show();
    window.activateWindow();
    window.setFocus();
    settle();
    Session& session = *window.session();
    session.select({});
    press(window, Qt::Key_Home);
    EXPECT_EQ(session.position(), 0U);
    press(window, Qt::Key_Right, Qt::ControlModifier);
    EXPECT_EQ(session.position(), 1U);
    press(window, Qt::Key_Right, Qt::ShiftModifier);
    EXPECT_NE(session.selection().packet, PacketId::none);
    press(window, Qt::Key_End);
    EXPECT_EQ(session.position(), session.trace().size());
    press(window, Qt::Key_Left, Qt::ControlModifier);
    EXPECT_EQ(session.position(), session.trace().size() - 1);
    const double speed = session.speed();
    press(window, Qt::Key_Plus, Qt::NoModifier, "+");
    EXPECT_GT(session.speed(), speed);
    press(window, Qt::Key_Home);
    press(window, Qt::Key_Space, Qt::NoModifier, " ");
    EXPECT_TRUE(session.isPlaying());
    press(window, Qt::Key_Space, Qt::NoModifier, " ");
    EXPECT_FALSE(session.isPlaying());
}

/// Lesson 3's run with a backlog that is too short, seen to its end.
std::unique_ptr<MainWindow> shortBacklog()
{
    auto window = std::make_unique<MainWindow>(test::services());
    window->resize(1600, 900);
    EXPECT_TRUE(window->openNow(QString::fromStdString((test::lessonsFolder() / "03-rps-and-the-backlog" / "scenario.yaml").string())));
    Session& session = *window->session();
    session.startOver();
    session.setKnob("net.core.netdev_max_backlog", 3);
    session.act("send_burst");
    session.toEnd();
    EXPECT_GT(session.state().accounting().of(Verdict::dropped), 0U);
    return window;
}

QString valueOf(Session& session, const char* key)
{
    for (const Knob& knob : session.source().knobs()) {
        if (knob.key == key) {
            return QString::number(knob.value);
        }
    }
    return {};
}

TEST(WhatIf, AKnobTurnedInThePastMakesABranchWithAName)
{
    const auto window = shortBacklog();
    window->show();
    settle();
    Session& session = *window->session();
    BranchList& list = *window->controls()->branches();
    EXPECT_TRUE(list.isHidden());
    const auto dropped = session.state().accounting().of(Verdict::dropped);
    const SimTime middle{session.lastMoment().ns / 2};
    session.seek(middle);
    session.setKnob("net.core.netdev_max_backlog", 1000);
    settle();
    EXPECT_FALSE(list.isHidden());
    ASSERT_EQ(list.rows().size(), 2U);
    EXPECT_TRUE(list.rows()[1]->isChecked());
    EXPECT_TRUE(list.rows()[1]->text().contains("net.core.netdev_max_backlog = 1000 at"));
    EXPECT_EQ(session.now(), middle);
    session.toEnd();
    EXPECT_LT(session.state().accounting().of(Verdict::dropped), dropped);
    EXPECT_EQ(window->headline()->text(), session.sentence());
}

TEST(WhatIf, TheComparisonNamesThePacketsAndAClickSelectsOneEverywhere)
{
    const auto window = shortBacklog();
    window->show();
    settle();
    Session& session = *window->session();
    const auto before = session.state().accounting().of(Verdict::dropped);
    session.seek(SimTime{session.lastMoment().ns / 3});
    session.setKnob("net.core.netdev_max_backlog", 1000);
    session.runToEnd(0, 1);
    settle();
    BranchList& list = *window->controls()->branches();
    list.compareNow();
    session.toEnd();
    const auto after = session.state().accounting().of(Verdict::dropped);
    EXPECT_TRUE(list.words().startsWith(QString("%1 drops instead of %2").arg(after).arg(before))) << list.words().toStdString();
    EXPECT_TRUE(list.wholeButton()->isHidden());
    ASSERT_FALSE(list.fates().empty());
    EXPECT_TRUE(list.fates().front()->text().contains(QString::fromUtf8("CPU_BACKLOG → delivered")));
    const auto difference = session.compare(0, 1);
    EXPECT_TRUE(difference.whole);
    EXPECT_EQ(difference.what.drops_before, before);
    EXPECT_EQ(difference.what.drops_after, after);
    const PacketId packet = difference.what.changed.front().pair.b;
    list.fates().front()->click();
    settle();
    EXPECT_EQ(session.selection().packet, packet);
    EXPECT_EQ(window->inspector()->titleText(), packetTitle(session.trace(), packet));
    EXPECT_EQ(session.trace().packet(packet).verdict, Verdict::delivered);
}

TEST(WhatIf, LinesCanBeSwitchedAndShowTheirOwnKnobsAndFates)
{
    const auto window = shortBacklog();
    window->show();
    Session& session = *window->session();
    const auto dropped = session.state().accounting().of(Verdict::dropped);
    session.seek(SimTime{session.lastMoment().ns / 3});
    session.setKnob("net.core.netdev_max_backlog", 1000);
    settle();
    window->controls()->branches()->rows()[0]->click();
    settle();
    EXPECT_EQ(valueOf(session, "net.core.netdev_max_backlog"), "3");
    EXPECT_TRUE(window->controls()->branches()->rows()[0]->isChecked());
    session.toEnd();
    EXPECT_EQ(session.state().accounting().of(Verdict::dropped), dropped);
    window->controls()->branches()->rows()[1]->click();
    settle();
    EXPECT_EQ(valueOf(session, "net.core.netdev_max_backlog"), "1000");
    expectAgreement(*window);
}

TEST(WhatIf, UndoGoesBackToTheLineAsItWasAndRedoToTheBranch)
{
    const auto window = shortBacklog();
    window->show();
    Session& session = *window->session();
    session.seek(SimTime{session.lastMoment().ns / 3});
    const auto& knobs = window->controls()->knobs();
    const auto editor = std::find_if(knobs.begin(), knobs.end(), [](const KnobEditor* e) { return e->key() == "net.core.netdev_max_backlog"; });
    ASSERT_NE(editor, knobs.end());
    emit(*editor)->valueChosen(1000);
    ASSERT_EQ(session.source().branches().size(), 2U);
    EXPECT_EQ(session.source().chosen_branch(), 1U);
    window->undoStack()->undo();
    EXPECT_EQ(session.source().chosen_branch(), 0U);
    EXPECT_EQ(valueOf(session, "net.core.netdev_max_backlog"), "3");
    window->undoStack()->redo();
    EXPECT_EQ(session.source().chosen_branch(), 1U);
    EXPECT_EQ(session.source().branches().size(), 2U);
}

TEST(WhatIf, StartingOverForgetsTheBranches)
{
    const auto window = shortBacklog();
    window->show();
    Session& session = *window->session();
    session.seek(SimTime{session.lastMoment().ns / 3});
    session.setKnob("net.core.netdev_max_backlog", 1000);
    settle();
    session.startOver();
    settle();
    EXPECT_TRUE(window->controls()->branches()->isHidden());
}

TEST(Settings, EveryKnobIsFoundByAPartOfItsName)
{
    MainWindow window(test::services());
    window.setSource(std::move(*test::services().model()), Mode::model);
    window.show();
    settle();
    ControlPanel& controls = *window.controls();
    window.session()->toEnd();
    QTest::qWait(250); // new sockets are looked for a moment later
    ASSERT_NE(controls.search(), nullptr);
    for (const Knob& knob : window.session()->source().knobs()) {
        controls.search()->setText(QString::fromStdString(knob.key));
        const auto& shown = controls.knobs();
        const auto found = std::find_if(shown.begin(), shown.end(), [&](const KnobEditor* e) { return e->key().toStdString() == knob.key; });
        ASSERT_NE(found, shown.end()) << knob.key;
        EXPECT_TRUE((*found)->isVisibleTo(&controls)) << knob.key;
        EXPECT_EQ((*found)->value(), knob.value) << knob.key;
    }
}

TEST(Settings, ASearchThatFindsNothingSaysSo)
{
    MainWindow window(test::services());
    window.setSource(std::move(*test::services().model()), Mode::model);
    window.show();
    settle();
    const auto says = [&] {
        const auto labels = window.controls()->findChildren<QLabel*>();
        return std::ranges::any_of(labels, [&](const QLabel* label) { return label->isVisible() && label->text().contains("no_such_thing"); });
    };
    window.controls()->search()->setText("no_such_thing");
    EXPECT_TRUE(says());
    window.controls()->search()->setText("rmem");
    EXPECT_FALSE(says());
}

TEST(Map, QueuesOfSeveralHostsCanBeToldApart)
{
    MainWindow window(test::services());
    ASSERT_TRUE(window.openNow(QString::fromStdString((std::filesystem::path(SKBSCOPE_SOURCE_DIR) / "tests/data/lab/nft-drop.yaml").string())));
    window.resize(1280, 720);
    window.show();
    settle();
    window.session()->toEnd();
    settle();
    QSet<QString> names;
    for (const MapTray& tray : window.map()->scene().trays()) {
        const QString name = window.map()->trayLabel(tray.queue);
        EXPECT_FALSE(names.contains(name)) << name.toStdString();
        EXPECT_FALSE(name.startsWith("backlog") || name.startsWith("arp_queue")) << name.toStdString();
        names.insert(name);
    }
    EXPECT_GT(names.size(), 1);
}

TEST(Settings, WhereThereAreSeveralHostsTheirKnobsAreChosenByName)
{
    MainWindow window(test::services());
    ASSERT_TRUE(window.openNow(QString::fromStdString((std::filesystem::path(SKBSCOPE_SOURCE_DIR) / "tests/data/lab/forward.yaml").string())));
    window.show();
    settle();
    ControlPanel& controls = *window.controls();
    auto* hosts = controls.findChild<QComboBox*>();
    ASSERT_NE(hosts, nullptr);
    ASSERT_GT(hosts->count(), 2);
    const auto shows = [&](const QString& key) {
        return std::ranges::any_of(controls.knobs(), [&](const KnobEditor* editor) { return editor->key() == key; });
    };
    EXPECT_TRUE(shows("net.core.netdev_max_backlog"));
    const QString host = hosts->itemData(1).toString();
    hosts->setCurrentIndex(1);
    settle();
    controls.search()->setText("net.ipv4.ip_forward");
    EXPECT_TRUE(shows(host + "/net.ipv4.ip_forward"));
    EXPECT_FALSE(shows("net.ipv4.ip_forward"));
    hosts = controls.findChild<QComboBox*>();
    ASSERT_NE(hosts, nullptr);
    EXPECT_EQ(hosts->currentIndex(), 1);
}

TEST(Work, ThatTakesLongIsCoveredAndCanBeStopped)
{
    MainWindow window(test::services());
    window.setSource(handSource(), Mode::recording);
    window.resize(1200, 800);
    window.show();
    settle();
    Work state;
    bool sawCurtain = false;
    QTimer::singleShot(0, &window, [&] { // the first thing that the window does behind the curtain
        const auto* curtain = window.findChild<BusyCurtain*>();
        sawCurtain = curtain != nullptr && curtain->isVisible() && curtain->geometry() == window.rect();
        curtain->cancelButton()->click();
    });
    runBehindCurtain(&window, "Counting", [](Work& work) {
        while (!work.cancelled) {
            QThread::msleep(1);
        }
    }, state);
    EXPECT_TRUE(sawCurtain);
    EXPECT_TRUE(state.cancelled);
    EXPECT_EQ(window.findChild<BusyCurtain*>(), nullptr);
    expectAgreement(window);
}

TEST(Window, ATurnedKnobIsTurnedBackByUndo)
{
    MainWindow window(test::services());
    window.setSource(std::move(*test::services().model()), Mode::model);
    Session& session = *window.session();
    const auto backlog = [&] {
        for (const Knob& knob : session.source().knobs()) {
            if (knob.key == "net.core.netdev_max_backlog") {
                return knob.value;
            }
        }
        return std::int64_t{-1};
    };
    const auto& knobs = window.controls()->knobs();
    const auto editor = std::find_if(knobs.begin(), knobs.end(), [](const KnobEditor* e) { return e->key() == "net.core.netdev_max_backlog"; });
    ASSERT_NE(editor, knobs.end());
    const auto before = backlog();
    emit (*editor)->valueChosen(10);
    EXPECT_EQ(backlog(), 10);
    window.undoStack()->undo();
    EXPECT_EQ(backlog(), before);
    EXPECT_EQ((*editor)->value(), before);
    window.undoStack()->redo();
    EXPECT_EQ(backlog(), 10);
}

TEST(Window, SearchSelectsAndSeeks)
{
    MainWindow window(test::services());
    window.setSource(handSource(), Mode::recording);
    window.show();
    SearchBox& box = *window.topBar()->search();
    box.setText("#20");
    emit box.textEdited("#20");
    ASSERT_FALSE(box.found().empty());
    box.choose(0);
    EXPECT_EQ(window.session()->selection().packet, PacketId{20});
    EXPECT_EQ(window.session()->now(), window.session()->trace().packet(PacketId{20}).birth);
}

TEST(LessonPanel, EveryStepStopsAtTheSameMomentFromEverySide)
{
    for (const char* id : {"01-a-datagram-arrives", "01-a-datagram-arrives-real", "02-a-datagram-leaves"}) {
        MainWindow window(test::services());
        ASSERT_TRUE(window.openLesson(id));
        LessonPanel& lesson = *window.lessonPanel();
        std::vector<std::size_t> forth;
        for (int step = 0; step < lesson.stepCount(); ++step) {
            lesson.goTo(step);
            forth.push_back(window.session()->position());
            EXPECT_EQ(window.banner()->words(), "") << id << " step " << step + 1;
            EXPECT_EQ(window.toast()->words(), "") << id << " step " << step + 1;
            window.toast()->hide();
        }
        for (int step = lesson.stepCount() - 1; step >= 0; --step) {
            lesson.goTo(step);
            EXPECT_EQ(window.session()->position(), forth[static_cast<std::size_t>(step)]) << id << " step " << step + 1;
        }
        lesson.goTo(lesson.stepCount() - 1);
        lesson.goTo(0);
        EXPECT_EQ(window.session()->position(), forth[0]);
    }
}

TEST(LessonPanel, AnExperimentReachesItsGoalWithTheLessonsOwnValuesAndLeavesNoTrace)
{
    MainWindow window(test::services());
    ASSERT_TRUE(window.openLesson("01-a-datagram-arrives"));
    LessonPanel& lesson = *window.lessonPanel();
    int experiments = 0;
    for (int step = 0; step < lesson.stepCount(); ++step) {
        lesson.goTo(step);
        const std::size_t pristine = window.session()->position();
        const LessonStep& here = lesson.lesson()->steps[static_cast<std::size_t>(step)];
        if (!here.experiment) {
            continue;
        }
        ++experiments;
        for (KnobEditor* editor : lesson.knobs()) {
            for (const KnobSetting& setting : here.experiment->knobs) {
                if (editor->key() == text(setting.key)) {
                    editor->setValue(setting.value);
                }
            }
        }
        lesson.runExperiment();
        EXPECT_TRUE(window.session()->isPlaying()) << "one watches it";
        window.session()->pause();
        window.session()->toEnd();
        EXPECT_TRUE(lesson.goalReached()) << "step " << step + 1 << ": " << lesson.progressText().toStdString();
        EXPECT_TRUE(lesson.progressText().startsWith("Goal reached")) << lesson.progressText().toStdString();
        expectAgreement(window);
        lesson.goTo(step);
        EXPECT_EQ(window.session()->position(), pristine) << "back at the lesson's own run";
    }
    EXPECT_GE(experiments, 1);
}

TEST(LessonPanel, AChoiceIsAnsweredAndExplained)
{
    MainWindow window(test::services());
    ASSERT_TRUE(window.openLesson("01-a-datagram-arrives"));
    LessonPanel& lesson = *window.lessonPanel();
    int questions = 0;
    for (int step = 0; step < lesson.stepCount(); ++step) {
        lesson.goTo(step);
        EXPECT_FALSE(lesson.answered());
        if (lesson.lesson()->steps[static_cast<std::size_t>(step)].question) {
            ++questions;
            lesson.choose(0);
            EXPECT_TRUE(lesson.answered());
        }
    }
    EXPECT_GE(questions, 1);
}

TEST(PacketView, ASentPacketsHeaderIsNotToldBeforeItIsWritten)
{
    MainWindow window(test::services());
    ASSERT_TRUE(window.openLesson("02-a-datagram-leaves"));
    Session& session = *window.session();
    session.toEnd();
    PacketId sent = PacketId::none;
    for (const PacketRecord& packet : session.trace().packets()) {
        if (packet.sent_here && packet.flow && packet.flow->protocol == 17) {
            sent = packet.id;
            break;
        }
    }
    ASSERT_NE(sent, PacketId::none);
    session.selectPacket(sent);
    window.inspector()->showTab(Inspector::packet_tab);
    session.seekToFunction(Catalog::find_function("ip_output"));
    EXPECT_TRUE(window.inspector()->asText().contains("Ethernet: not written yet")) << window.inspector()->asText().toStdString();
    session.seekToFunction(Catalog::find_function("dev_hard_start_xmit"));
    EXPECT_FALSE(window.inspector()->asText().contains("not written yet")) << window.inspector()->asText().toStdString();

    // Over a veth pair what was sent is received: headers are taken off again, and have been written all the same.
    ASSERT_TRUE(window.openLesson("05-where-did-my-packet-go"));
    window.session()->toEnd();
    window.session()->selectPacket(PacketId{7});
    window.inspector()->showTab(Inspector::packet_tab);
    EXPECT_FALSE(window.inspector()->asText().contains("not written yet")) << window.inspector()->asText().toStdString();
}

TEST(Inspector, TheJourneysCurrentLineIsInView)
{
    MainWindow window(test::services());
    ASSERT_TRUE(window.openLesson("01-a-datagram-arrives"));
    window.resize(1280, 720);
    window.show();
    window.inspector()->showTab(Inspector::journey_tab);
    Session& session = *window.session();
    session.selectPacket(PacketId{1});
    session.seekToFunction(Catalog::find_function("udp_rcv"));
    settle();
    const JourneyView& journey = *window.inspector()->journey();
    ASSERT_FALSE(journey.currentRect().isEmpty());
    EXPECT_TRUE(journey.visibleRegion().boundingRect().contains(journey.currentRect().center()));
}

TEST(Inspector, APacketIsNotGoneBeforeItIsBorn)
{
    MainWindow window(test::services());
    ASSERT_TRUE(window.openLesson("02"));
    window.show();
    window.lessonPanel()->goTo(2); // the route is looked up before there is a packet
    window.session()->selectPacket(static_cast<PacketId>(1));
    window.inspector()->showTab(Inspector::journey_tab);
    settle();
    ASSERT_LT(window.session()->now(), window.session()->trace().packet(static_cast<PacketId>(1)).birth);
    EXPECT_TRUE(window.inspector()->placeText().startsWith("not born yet")) << window.inspector()->placeText().toStdString();
    window.session()->toEnd();
    settle();
    EXPECT_TRUE(window.inspector()->placeText().startsWith("gone")) << window.inspector()->placeText().toStdString();
}

TEST(LessonPanel, PointsAtTheRoomsThatAStepNamesAndAtNoOthers)
{
    MainWindow window(test::services());
    ASSERT_TRUE(window.openLesson("02"));
    std::vector<RoomId> pointed;
    QObject::connect(window.lessonPanel(), &LessonPanel::pointsAt, &window, [&](const std::vector<RoomId>& rooms) { pointed = rooms; });
    window.lessonPanel()->goTo(2); // fib_lookup is one function for both ways; the step is about the way out
    EXPECT_EQ(pointed, window.lessonPanel()->lesson()->steps[2].rooms);
    EXPECT_EQ(std::ranges::find(pointed, Catalog::find_room("route_in")), pointed.end());
}

TEST(Window, APresentationEnlargesWhatIsReadAndLeavesNoTrace)
{
    MainWindow window(test::services());
    window.resize(1280, 720);
    ASSERT_TRUE(window.openLesson("01"));
    window.show();
    settle();
    const auto size = [&] { return window.lessonPanel()->findChild<MarkdownView*>()->document()->defaultFont().pixelSize(); };
    const auto title = [&] { return window.lessonPanel()->findChild<QLabel*>()->font().pixelSize(); };
    const int words = size();
    const int heading = title();
    const int headline = window.headline()->height();
    const bool inspector = window.inspector()->isVisible();
    window.present(true);
    settle();
    EXPECT_GT(size(), words);
    EXPECT_GT(title(), heading);
    EXPECT_GT(window.headline()->height(), headline);
    EXPECT_FALSE(window.inspector()->isVisible());
    window.lessonPanel()->goTo(3); // a step that is built meanwhile
    settle();
    EXPECT_GT(size(), words);
    window.present(false);
    settle();
    EXPECT_EQ(size(), words);
    EXPECT_EQ(title(), heading);
    EXPECT_EQ(window.headline()->height(), headline);
    EXPECT_EQ(window.inspector()->isVisible(), inspector);
}

TEST(StartPage, OnASmallScreenAllThatCanBeDoneIsInSight)
{
    MainWindow window(test::services());
    window.resize(1280, 720);
    window.show();
    settle();
    int found = 0;
    for (const QPushButton* button : window.findChildren<QPushButton*>()) {
        if (button->isVisible() && !button->accessibleDescription().isEmpty()) {
            ++found;
            EXPECT_LE(button->mapTo(&window, QPoint(0, button->height())).y(), 720) << button->accessibleName().toStdString();
        }
    }
    EXPECT_GE(found, 9); // six lessons, the model, a live kernel, a file
}

TEST(Words, ThatAreTooManyEndInDotsAndLoseNothingElse)
{
    const QFontMetrics metrics(Theme::sans(11));
    const QString words = "/proc/net/softnet_stat column 2 (dropped) of the CPU whose backlog it is";
    EXPECT_EQ(elidedLines(metrics, words, 10'000, 2), QStringList{words});
    const QStringList all = elidedLines(metrics, words, 140, 20);
    EXPECT_EQ(all.join(' '), words);
    const QStringList two = elidedLines(metrics, words, 140, 2);
    ASSERT_EQ(two.size(), 2);
    EXPECT_EQ(two[0], all[0]);
    EXPECT_TRUE(two[1].endsWith(QChar(0x2026)));
    for (const QString& line : all + two) {
        EXPECT_LE(metrics.horizontalAdvance(line), 140) << line.toStdString();
    }
    EXPECT_TRUE(elidedLines(metrics, "", 140, 2).isEmpty());
}

TEST(Shot, WritesAPictureOfTheAskedSizeInBothThemes)
{
    MainWindow window(test::services());
    ASSERT_TRUE(window.openLesson("01-a-datagram-arrives"));
    const auto path = std::filesystem::temp_directory_path() / "skbscope-window-test.png";
    for (const auto& [theme, dark] : {std::pair{Theme::Mode::light, false}, {Theme::Mode::dark, true}}) {
        const auto done = renderWindow(window, path, {1280, 720}, theme);
        ASSERT_TRUE(done.has_value()) << done.error().describe();
        const QImage picture(QString::fromStdString(path.string()));
        EXPECT_EQ(picture.size(), QSize(1280, 720));
        EXPECT_EQ(picture.pixelColor(2, 2).lightness() < 128, dark);
    }
    std::filesystem::remove(path);
    EXPECT_FALSE(renderWindow(window, "/no/such/folder/picture.png", {1280, 720}, Theme::Mode::light).has_value());
    Theme::instance().setMode(Theme::Mode::light);
}

} // namespace
} // namespace skbscope::ui
