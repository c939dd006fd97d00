// The window as it is used: the list of packets, the way from a count of drops to its reason, and everything by keyboard alone.

#include "core/catalog/catalog.h"
#include "tests/ui/map/hand_trace.h"
#include "tests/ui/window/services.h"
#include "ui/banner.h"
#include "ui/compare/compare_dialog.h"
#include "ui/controls/accounting_block.h"
#include "ui/controls/branch_list.h"
#include "ui/controls/control_panel.h"
#include "ui/controls/knob_editor.h"
#include "ui/controls/packet_list.h"
#include "ui/inspector/inspector.h"
#include "ui/lesson/lesson_panel.h"
#include "ui/lesson/step_text.h"
#include "ui/live/live_page.h"
#include "ui/map/map_view.h"
#include "ui/player/session.h"
#include "ui/shot.h"

#include <QAccessible>
#include <QApplication>
#include <QClipboard>
#include <QComboBox>
#include <QKeyEvent>
#include <QLineEdit>
#include <QListView>
#include <QListWidget>
#include <QDragEnterEvent>
#include <QMimeData>
#include <QPlainTextEdit>
#include <QPointer>
#include <QPushButton>
#include <QUrl>
#include <QScrollArea>
#include <QScreen>
#include <QScrollBar>
#include <QSettings>
#include <QTemporaryDir>
#include <QTest>
#include <QTextBlock>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <set>

namespace skbscope::ui {
namespace {

using test::settle;

/// Where the keys go now, or the window.
QWidget& keys(MainWindow& window)
{
    return window.focusWidget() != nullptr ? *window.focusWidget() : static_cast<QWidget&>(window);
}

void press(MainWindow& window, int key, Qt::KeyboardModifiers modifiers = Qt::NoModifier)
{
    QTest::keyClick(&keys(window), static_cast<Qt::Key>(key), modifiers);
    settle();
}

std::unique_ptr<Source> handSource()
{
    return std::make_unique<TraceSource>("hand", test::backlogTrace());
}

struct Shown {
    MainWindow window{test::services()};
    explicit Shown(QSize size = {1600, 900})
    {
        window.resize(size);
        window.show();
        window.activateWindow();
        window.setFocus();
        settle();
    }
    [[nodiscard]] Session& session() const { return *window.session(); }
    [[nodiscard]] PacketList& list() const { return *window.controls()->packets(); }
};

// ---- the list ----------------------------------------------------------------------------------------------------

TEST(PacketList, OfARecordingHasEveryPacketOnceInTheOrderOfTheirNumbers)
{
    Shown shown;
    shown.window.setSource(handSource(), Mode::recording);
    settle();
    EXPECT_TRUE(shown.list().isVisible());
    PacketRows& rows = shown.list().rows();
    const auto packets = shown.session().trace().packets();
    std::vector<PacketId> expected;
    for (const PacketRecord& packet : packets) {
        if (packet.id != PacketId::none) {
            expected.push_back(packet.id);
        }
    }
    std::vector<PacketId> listed;
    for (int row = 0; row < rows.rowCount(); ++row) {
        listed.push_back(rows.packet(row));
    }
    EXPECT_EQ(listed, expected);
    EXPECT_FALSE(expected.empty());
}

TEST(PacketList, SaysOfEachPacketWhatTheOtherPanelsSayAtThatMoment)
{
    Shown shown;
    shown.window.setSource(handSource(), Mode::recording);
    PacketRows& rows = shown.list().rows();
    for (const std::size_t position : {std::size_t{0}, shown.session().trace().size() / 2, shown.session().trace().size()}) {
        shown.session().seekToEvent(position);
        std::uint64_t born = 0;
        std::uint64_t dropped = 0;
        for (int row = 0; row < rows.rowCount(); ++row) {
            const PacketRows::Words words = rows.words(rows.packet(row));
            born += words.born ? 1 : 0;
            dropped += words.born && words.verdict == Verdict::dropped ? 1 : 0;
            EXPECT_EQ(words.state == "not born yet", !words.born);
        }
        EXPECT_EQ(born, shown.session().state().accounting().born) << position;
        EXPECT_EQ(dropped, shown.session().state().accounting().of(Verdict::dropped)) << position;
    }
}

TEST(PacketList, ShowsThoseOfOneEndAndThoseWithTheTypedWords)
{
    Shown shown;
    shown.window.setSource(handSource(), Mode::recording);
    shown.session().toEnd();
    QComboBox& verdicts = *shown.list().verdicts();
    verdicts.setCurrentIndex(verdicts.findData(static_cast<int>(Verdict::dropped)));
    const auto dropped = shown.session().state().accounting().of(Verdict::dropped);
    ASSERT_GT(dropped, 0U);
    EXPECT_EQ(static_cast<std::uint64_t>(shown.list().rows().rowCount()), dropped);
    verdicts.setCurrentIndex(0);
    shown.list().field()->setText("cpu_backlog");
    EXPECT_EQ(static_cast<std::uint64_t>(shown.list().rows().rowCount()), dropped) << "by the reason's name";
    shown.list().field()->setText("no such thing");
    EXPECT_EQ(shown.list().rows().rowCount(), 0);
    EXPECT_EQ(shown.list().remark(), "none like that");
}

TEST(PacketList, AChosenPacketIsSelectedEverywhereAtItsEndAndASelectedOneIsMarked)
{
    Shown shown;
    shown.window.setSource(handSource(), Mode::recording);
    QListView& view = *shown.list().view();
    view.setCurrentIndex(shown.list().rows().index(4));
    const PacketId chosen = shown.list().rows().packet(4);
    EXPECT_EQ(shown.session().selection().packet, chosen);
    ASSERT_TRUE(shown.session().lastEventOf(chosen).has_value());
    EXPECT_EQ(shown.session().position(), *shown.session().lastEventOf(chosen) + 1U);
    const PacketId other = shown.list().rows().packet(9);
    const std::size_t before = shown.session().position();
    shown.session().selectPacket(other);
    EXPECT_EQ(view.currentIndex().row(), 9);
    EXPECT_EQ(shown.session().position(), before) << "who selects elsewhere is not moved";
}

TEST(PacketList, CopiesTheChosenLines)
{
    Shown shown;
    shown.window.setSource(handSource(), Mode::recording);
    shown.session().toEnd();
    QListView& view = *shown.list().view();
    view.setFocus();
    view.selectAll();
    press(shown.window, Qt::Key_C, Qt::ControlModifier);
    const QString copied = QGuiApplication::clipboard()->text();
    EXPECT_EQ(copied.count('\n'), shown.list().rows().rowCount());
    EXPECT_TRUE(copied.startsWith("#1 UDP ")) << copied.left(80).toStdString();
    EXPECT_TRUE(copied.contains("dropped: CPU_BACKLOG"));
}

TEST(PacketList, OfARunFollowsAnotherLine)
{
    Shown shown;
    ASSERT_TRUE(shown.window.openNow(QString::fromStdString((test::lessonsFolder() / "03-rps-and-the-backlog" / "scenario.yaml").string())));
    Session& session = shown.session();
    session.act("send_burst");
    session.toEnd();
    (void)QTest::qWaitFor([&] { return static_cast<std::uint64_t>(shown.list().rows().rowCount()) == session.state().accounting().born; }, 20'000);
    EXPECT_EQ(static_cast<std::uint64_t>(shown.list().rows().rowCount()), session.state().accounting().born);
    session.startOver();
    session.toEnd();
    (void)QTest::qWaitFor([&] { return static_cast<std::uint64_t>(shown.list().rows().rowCount()) == session.state().accounting().born; }, 20'000);
    EXPECT_EQ(static_cast<std::uint64_t>(shown.list().rows().rowCount()), session.state().accounting().born);
}

// ---- drops -------------------------------------------------------------------------------------------------------

TEST(Drops, AClickOnAReasonShowsOnePacketAfterTheOtherAndSaysWhy)
{
    Shown shown;
    ASSERT_TRUE(shown.window.openLesson("05-where-did-my-packet-go"));
    shown.window.lessonPanel()->goTo(shown.window.lessonPanel()->stepCount() - 1);
    shown.session().toEnd();
    settle();
    AccountingBlock& block = *shown.window.accounting();
    if (!block.isVisible()) {
        QTest::keyClick(&shown.window, Qt::Key_3, Qt::ControlModifier);
        settle();
    }
    block.repaint();
    ASSERT_FALSE(block.drops().empty());
    const AccountingBlock::Drop drop = block.drops().front();
    ASSERT_GT(drop.count, 1U);
    std::set<PacketId> seen;
    for (int click = 0; click < 2; ++click) {
        shown.session().toEnd();
        settle();
        block.repaint();
        QTest::mouseClick(&block, Qt::LeftButton, Qt::NoModifier, block.dropRect(0).center());
        const PacketId packet = shown.session().selection().packet;
        ASSERT_NE(packet, PacketId::none);
        EXPECT_EQ(shown.session().trace().packet(packet).verdict, Verdict::dropped);
        EXPECT_EQ(shown.session().trace().packet(packet).reason, drop.id);
        EXPECT_EQ(shown.window.inspector()->tab(), Inspector::function_tab);
        EXPECT_TRUE(shown.window.inspector()->pageText().contains("Why was packet")) << shown.window.inspector()->pageText().left(200).toStdString();
        EXPECT_TRUE(seen.insert(packet).second) << "another packet at every click";
    }
}

TEST(Drops, TheMapsBadgeLeadsToAPacketThatWasDroppedThere)
{
    Shown shown;
    shown.window.setSource(handSource(), Mode::recording);
    shown.session().toEnd();
    settle();
    const DropReasonId reason = Catalog::find_drop_reason("CPU_BACKLOG");
    emit shown.window.map()->dropsActivated(reason, Catalog::find_room("backlog"));
    const PacketId packet = shown.session().selection().packet;
    ASSERT_NE(packet, PacketId::none);
    EXPECT_EQ(shown.session().trace().packet(packet).reason, reason);
    EXPECT_TRUE(shown.window.inspector()->pageText().contains("CPU_BACKLOG"));
}

TEST(WhatIf, ThatNothingChangedIsSaidOnlyWhenBothLinesAreAtTheirEnd)
{
    Shown shown;
    ASSERT_TRUE(shown.window.openNow(QString::fromStdString((test::lessonsFolder() / "03-rps-and-the-backlog" / "scenario.yaml").string())));
    Session& session = shown.session();
    session.toEnd();
    session.seek(SimTime{session.lastMoment().ns / 2});
    session.setKnob("net.core.netdev_max_backlog", 999); // three datagrams do not care
    settle();
    BranchList& list = *shown.window.controls()->branches();
    ASSERT_EQ(list.rows().size(), 2U);
    list.compareNow();
    EXPECT_TRUE(list.words().contains("so far")) << list.words().toStdString();
    session.runToEnd(0, 1);
    list.compareNow();
    EXPECT_TRUE(list.words().contains("Nothing changed")) << list.words().toStdString();
}

// ---- a lesson being written --------------------------------------------------------------------------------------

TEST(Drops, OfTheHardwareFallAtTheRingAndAreToldInShort)
{
    Shown shown;
    ASSERT_TRUE(shown.window.openNow(QString::fromStdString((test::lessonsFolder() / "03-rps-and-the-backlog" / "scenario.yaml").string())));
    Session& session = shown.session();
    session.startOver();
    session.setKnob("eth0.rx_ring", 80);
    for (int burst = 0; burst < 6; ++burst) {
        session.act("send_burst");
    }
    session.toEnd();
    settle();
    const DropReasonId full = Catalog::find_drop_reason("RX_RING_FULL");
    const auto& drops = shown.window.map()->scene().drops();
    const auto found = std::find_if(drops.begin(), drops.end(), [&](const MapDrops& d) { return d.reason == full; });
    ASSERT_NE(found, drops.end());
    EXPECT_EQ(Catalog::room(found->room).key, "rx_ring");
    EXPECT_TRUE(PacketList::goToDrop(session, full, found->room));
    EXPECT_TRUE(session.sentence().contains("because the RX ring had no free descriptor")) << session.sentence().toStdString();
    // What is on its way is written beside the reasons, never into them.
    session.setKnob("net.core.netdev_max_backlog", 3);
    for (int burst = 0; burst < 6; ++burst) {
        session.act("send_burst");
    }
    session.seek({session.now().ns + 60'000});
    settle();
    AccountingBlock& sums = *shown.window.accounting();
    sums.resize(350, 170);
    (void)sums.grab();
    ASSERT_FALSE(sums.dropRect(1).isNull());
    ASSERT_FALSE(sums.inFlightRect().isNull());
    EXPECT_FALSE(sums.inFlightRect().intersects(sums.dropRect(1)));
}

TEST(WhatIf, TheKeysStayAmongTheLinesWhenOneIsChosenOrBothRunToTheirEnd)
{
    Shown shown;
    ASSERT_TRUE(shown.window.openNow(QString::fromStdString((test::lessonsFolder() / "03-rps-and-the-backlog" / "scenario.yaml").string())));
    Session& session = shown.session();
    session.startOver();
    session.setKnob("net.core.netdev_max_backlog", 3);
    session.act("send_burst");
    session.toEnd();
    session.seek({session.lastMoment().ns / 3});
    session.setKnob("net.core.netdev_max_backlog", 1000);
    settle();
    BranchList& lines = *shown.window.controls()->branches();
    ASSERT_EQ(lines.rows().size(), 2U);
    lines.wholeButton()->setFocus();
    press(shown.window, Qt::Key_Return); // Enter presses what Tab has led to
    EXPECT_TRUE(lines.wholeButton()->isHidden());
    EXPECT_EQ(shown.window.focusWidget(), lines.rows()[1]);
    lines.rows()[0]->setFocus();
    press(shown.window, Qt::Key_Space);
    EXPECT_EQ(session.source().chosen_branch(), 0U);
    EXPECT_EQ(shown.window.focusWidget(), lines.rows()[0]);
}

TEST(Shot, ShowsThePacketsAndSettingsThatThereAreAndNotThoseOfAMomentAgo)
{
    MainWindow window(test::services());
    ASSERT_TRUE(window.openNow(QString::fromStdString((test::lessonsFolder() / "03-rps-and-the-backlog" / "scenario.yaml").string())));
    window.session()->seek({60'000});
    QTemporaryDir folder;
    ASSERT_TRUE(renderWindow(window, folder.filePath("now.png").toStdString(), {1600, 900}, Theme::Mode::light));
    EXPECT_EQ(window.controls()->packets()->rows().rowCount(), 3);
    const auto& knobs = window.controls()->knobs();
    EXPECT_TRUE(std::any_of(knobs.begin(), knobs.end(), [](const KnobEditor* knob) { return knob->key() == ":5001.SO_RCVBUF"; })) << "the socket has been bound by then";
}

TEST(Open, OfACutRecordingSaysWhichFileWhereAndWhatHelps)
{
    WindowServices services = test::services();
    services.open = [](const std::filesystem::path&) -> Result<std::unique_ptr<Source>> {
        Trace trace = test::backlogTrace();
        trace.faults.push_back({"cut at byte 7 of 9: no event is lost", 1, "copy it again"});
        return std::make_unique<TraceSource>("cut", std::move(trace));
    };
    MainWindow window(services);
    ASSERT_TRUE(window.openNow("/some/folder/cut.pcapng"));
    EXPECT_EQ(window.banner()->words(), "cut.pcapng: cut at byte 7 of 9: no event is lost (copy it again)");
}

TEST(Map, PacketsBehindACountTakeNoNumbersFromThoseThatAreSeen)
{
    Shown shown;
    ASSERT_TRUE(shown.window.openNow(QString::fromStdString((test::lessonsFolder() / "03-rps-and-the-backlog" / "scenario.yaml").string())));
    Session& session = shown.session();
    session.startOver();
    session.setKnob("eth0.rx_ring", 4096);
    for (int burst = 0; burst < 8; ++burst) {
        session.act("send_burst");
    }
    session.seek({150'000});
    settle();
    const MapScene& scene = shown.window.map()->scene();
    std::size_t seen = 0;
    for (const MapToken& token : scene.tokens()) {
        seen += token.hidden ? 0 : 1;
    }
    EXPECT_EQ(scene.shownTokens(), seen);
    EXPECT_LT(seen, scene.tokens().size() / 2);
    EXPECT_GT(scene.tokens().size(), 300U) << "as many as were too many when the hidden ones counted";
}

TEST(Keyboard, WhatIsFoundIsInSightAlsoFromThePageOfLiveSources)
{
    Shown shown;
    ASSERT_TRUE(shown.window.openLesson("01-a-datagram-arrives"));
    shown.window.showLivePage();
    settle();
    press(shown.window, Qt::Key_Slash);
    QTest::keyClicks(shown.window.focusWidget(), "ip_rcv");
    press(shown.window, Qt::Key_Return);
    EXPECT_TRUE(shown.window.map()->isVisible());
    EXPECT_EQ(shown.window.mode(), Mode::lesson);
}

TEST(Compare, ARecordingBesideTheModelSaysWhichPacketsPartAndMarksTheFirstCallThatDiffers)
{
    Shown shown;
    ASSERT_TRUE(shown.window.openNow(QString::fromStdString((test::lessonsFolder() / "01-a-datagram-arrives" / "scenario.yaml").string())));
    const SimTime moment = shown.session().now();
    const QString real = QString::fromStdString((test::lessonsFolder() / "01-a-datagram-arrives-real" / "recording.pcapng").string());
    const auto dialog = shown.window.compareWith(real);
    ASSERT_NE(dialog, nullptr) << shown.window.banner()->words().toStdString();
    EXPECT_EQ(shown.session().now(), moment);
    EXPECT_TRUE(dialog->sentence().startsWith("1 packet in both: 1 with the same end on another way, 19 only in B")) << dialog->sentence().toStdString();
    ASSERT_EQ(dialog->list()->count(), 20);
    EXPECT_TRUE(dialog->list()->item(0)->text().contains("parts in softirq: ip_list_rcv | tpacket_rcv")) << "the recorded kernel had a tap";
    // The cursor stands where the ways part, and that line is the one that is marked most.
    EXPECT_TRUE(dialog->calls()->textCursor().block().text().contains("tpacket_rcv"));
    ASSERT_FALSE(dialog->calls()->extraSelections().empty());
    EXPECT_EQ(dialog->calls()->extraSelections().front().cursor.block(), dialog->calls()->textCursor().block());
    // The other way round, and with itself.
    ASSERT_TRUE(shown.window.openNow(real));
    const auto same = shown.window.compareWith(real);
    ASSERT_NE(same, nullptr);
    EXPECT_TRUE(same->sentence().endsWith("all the same")) << same->sentence().toStdString();
    EXPECT_TRUE(same->calls()->extraSelections().empty());
    same->list()->setCurrentRow(4);
    EXPECT_EQ(shown.session().selection().packet, PacketId{5}) << "what is chosen there is chosen here";
    EXPECT_EQ(shown.window.compareWith("/nowhere/at/all.pcapng"), nullptr);
    EXPECT_FALSE(shown.window.banner()->words().isEmpty());
}

TEST(Keyboard, ASettingThatWasFoundCanBeTurnedAtOnce)
{
    Shown shown;
    ASSERT_TRUE(shown.window.openNow(QString::fromStdString((test::lessonsFolder() / "03-rps-and-the-backlog" / "scenario.yaml").string())));
    for (const char* name : {"net.core.netdev_max_backlog", "net.ipv4.ip_default_ttl"}) { // shown from the start, and in a group that is folded
        press(shown.window, Qt::Key_Slash);
        QTest::keyClicks(shown.window.focusWidget(), name);
        press(shown.window, Qt::Key_Return);
        QTest::keyClicks(shown.window.focusWidget(), "77");
        press(shown.window, Qt::Key_Return);
        const auto knobs = shown.session().source().knobs();
        const auto knob = std::find_if(knobs.begin(), knobs.end(), [&](const Knob& k) { return k.key == name; });
        ASSERT_NE(knob, knobs.end()) << name;
        EXPECT_EQ(knob->value, 77) << name;
    }
}

TEST(LessonStep, OfEveryMomentLeadsBackToIt)
{
    Shown shown;
    ASSERT_TRUE(shown.window.openLesson("01-a-datagram-arrives"));
    shown.session().toEnd();
    Session& session = shown.session();
    session.selectPacket(PacketId{1});
    std::size_t named = 0;
    for (std::size_t position = 0; position <= session.trace().size(); ++position) {
        session.seekToEvent(position);
        const QString words = stopText(session);
        const auto stop = parse_stop(words.toStdString());
        ASSERT_TRUE(stop) << words.toStdString();
        const auto found = resolve_stop(*stop, session.trace());
        ASSERT_TRUE(found) << words.toStdString();
        if (stop->kind == Stop::Kind::time) { // events of one nanosecond are not told apart by a time
            ASSERT_GT(*found, 0U);
            EXPECT_EQ(session.trace()[*found - 1].time_ns, session.trace()[position - 1].time_ns) << words.toStdString();
            continue;
        }
        EXPECT_EQ(*found, position) << words.toStdString();
        ++named;
    }
    EXPECT_GT(named, session.trace().size() / 3);
}

TEST(LessonStep, IsOnTheClipboardWithItsPacketAndPanelsAndPassesTheCheck)
{
    Shown shown;
    ASSERT_TRUE(shown.window.openLesson("01-a-datagram-arrives"));
    shown.window.inspector()->showTab(Inspector::journey_tab);
    Session& session = shown.session();
    session.selectPacket(PacketId{1});
    session.seekToFunction(Catalog::find_function("ip_rcv_core"));
    QTest::keyClick(&shown.window, Qt::Key_2, Qt::ControlModifier);
    settle();
    QTest::keyClick(&shown.window, Qt::Key_C, Qt::ControlModifier | Qt::ShiftModifier);
    const QString step = QGuiApplication::clipboard()->text();
    EXPECT_TRUE(step.contains("at: packet 1 enters ip_rcv_core\n")) << step.toStdString();
    EXPECT_TRUE(step.contains("select: 1\n")) << step.toStdString();
    EXPECT_TRUE(step.contains("functions: [ip_rcv_core]\n")) << step.toStdString();

    QTemporaryDir folder;
    const std::filesystem::path place(folder.path().toStdString());
    std::filesystem::copy(test::lessonsFolder() / "01-a-datagram-arrives" / "scenario.yaml", place / "scenario.yaml");
    std::ofstream(place / "lesson.md") << "---\ntitle: Mine\nsummary: A step of my own.\nlanguage: en\nkernel: \"6.1\"\nscenario: scenario.yaml\n---\n\n"
                                       << step.toStdString();
    const auto lesson = load_lesson(place);
    ASSERT_TRUE(lesson) << lesson.error().describe();
    ASSERT_EQ(lesson->steps.size(), 1U);
    EXPECT_EQ(lesson->steps[0].stop.function, "ip_rcv_core");
    EXPECT_EQ(lesson->steps[0].select, PacketId{1});
}

// ---- files -------------------------------------------------------------------------------------------------------

void drop(MainWindow& window, const QList<QUrl>& urls)
{
    QMimeData files;
    files.setUrls(urls);
    QDragEnterEvent enter(QPoint(400, 300), Qt::CopyAction, &files, Qt::LeftButton, Qt::NoModifier);
    QApplication::sendEvent(&window, &enter);
    if (!enter.isAccepted()) {
        return;
    }
    QDropEvent event(QPointF(400, 300), Qt::CopyAction, &files, Qt::LeftButton, Qt::NoModifier);
    QApplication::sendEvent(&window, &event);
}

TEST(Drop, AFileALessonAndNonsenseAreTakenOpenedAndRefusedInWords)
{
    Shown shown;
    drop(shown.window, {QUrl::fromLocalFile(QString::fromStdString((test::lessonsFolder() / "02-a-datagram-leaves" / "scenario.yaml").string()))});
    ASSERT_TRUE(QTest::qWaitFor([&] { return shown.window.session() != nullptr && !shown.window.isOpening(); }, 20'000));
    EXPECT_EQ(shown.window.mode(), Mode::model);
    drop(shown.window, {QUrl::fromLocalFile(QString::fromStdString((test::lessonsFolder() / "01-a-datagram-arrives").string()))});
    EXPECT_EQ(shown.window.mode(), Mode::lesson);
    Session* before = shown.window.session();
    drop(shown.window, {QUrl("https://example.org/trace.dat")});
    EXPECT_EQ(shown.window.session(), before) << "what is not on this machine is not taken";
    EXPECT_FALSE(shown.window.isOpening());
    drop(shown.window, {QUrl::fromLocalFile("/no/such/file.pcapng")});
    ASSERT_TRUE(QTest::qWaitFor([&] { return !shown.window.isOpening(); }, 20'000));
    EXPECT_TRUE(shown.window.banner()->words().contains("/no/such/file.pcapng")) << shown.window.banner()->words().toStdString();
    EXPECT_EQ(shown.window.session(), before);
}

// ---- the keyboard ------------------------------------------------------------------------------------------------

/// Where Tab stops, from the first on, once round. A page of text keeps it for its links: that is one stop.
std::vector<QWidget*> stopsOf(MainWindow& window, Qt::Key key = Qt::Key_Tab)
{
    window.setFocus();
    std::vector<QWidget*> stops;
    for (int i = 0; i < 500; ++i) {
        QTest::keyClick(&keys(window), key);
        QWidget* now = window.focusWidget();
        if (now == nullptr || (stops.size() > 1 && now == stops.front())) {
            break;
        }
        if (stops.empty() || stops.back() != now) {
            stops.push_back(now);
        }
    }
    return stops;
}

QString nameOf(QWidget* widget)
{
    QAccessibleInterface* spoken = QAccessible::queryAccessibleInterface(widget);
    return spoken == nullptr ? QString() : spoken->text(QAccessible::Name);
}

std::string about(const QWidget* widget)
{
    return std::string(widget->metaObject()->className()) + " in " +
           (widget->parentWidget() == nullptr ? "nothing" : widget->parentWidget()->metaObject()->className());
}

void expectAllReachableAndNamed(MainWindow& window)
{
    const std::vector<QWidget*> stops = stopsOf(window);
    std::set<QWidget*> seen;
    for (QWidget* widget : stops) {
        EXPECT_TRUE(seen.insert(widget).second) << about(widget) << " " << nameOf(widget).toStdString() << " is reached twice";
    }
    for (QWidget* widget : window.findChildren<QWidget*>()) {
        const bool wanted = (widget->focusPolicy() & Qt::TabFocus) != 0 && widget->focusProxy() == nullptr && widget->isVisible() &&
                            widget->isEnabled() && widget->window() == &window;
        EXPECT_TRUE(!wanted || std::ranges::find(stops, widget) != stops.end()) << about(widget) << " cannot be reached";
    }
    for (QWidget* widget : stops) {
        EXPECT_FALSE(nameOf(widget).trimmed().isEmpty()) << about(widget) << " has no name for a screen reader";
    }
    // And back the same way.
    std::vector<QWidget*> back = stopsOf(window, Qt::Key_Backtab);
    std::ranges::reverse(back);
    EXPECT_EQ(back, stops);
    // Where the keys go is seen.
    for (const QPointer<QWidget>& widget : std::vector<QPointer<QWidget>>(stops.begin(), stops.end())) {
        window.setFocus();
        settle();
        if (widget == nullptr) {
            continue; // the model has found a socket and shows its knobs
        }
        const QImage without = widget->grab().toImage(); // itself: it may be scrolled out of sight
        widget->setFocus(Qt::TabFocusReason);
        settle();
        EXPECT_NE(widget->grab().toImage(), without) << about(widget) << " " << nameOf(widget).toStdString() << " does not show its focus";
    }
}

TEST(Keyboard, TabReachesEveryControlOfALessonOnceAndEachHasAName)
{
    Shown shown;
    ASSERT_TRUE(shown.window.openLesson("03-rps-and-the-backlog"));
    for (const int step : {0, shown.window.lessonPanel()->stepCount() - 1}) {
        shown.window.lessonPanel()->goTo(step);
        settle();
        expectAllReachableAndNamed(shown.window);
    }
}

TEST(Keyboard, TabReachesEveryControlOfTheModelOfARecordingAndOfThePagesAndEachHasAName)
{
    Shown shown;
    expectAllReachableAndNamed(shown.window); // nothing open
    shown.window.setSource(handSource(), Mode::recording);
    settle();
    for (const auto tab : {Inspector::packet_tab, Inspector::skb_tab, Inspector::journey_tab, Inspector::function_tab, Inspector::host_tab}) {
        shown.window.inspector()->showTab(tab);
        settle();
        expectAllReachableAndNamed(shown.window);
    }
    shown.window.setSource(std::move(*test::services().model()), Mode::model);
    settle();
    expectAllReachableAndNamed(shown.window);
    shown.window.showLivePage();
    settle();
    expectAllReachableAndNamed(shown.window);
}

TEST(Keyboard, TabGoesPanelByPanelFromTheTopLeft)
{
    Shown shown;
    shown.window.setSource(std::move(*test::services().model()), Mode::model);
    settle();
    const std::vector<QWidget*> stops = stopsOf(shown.window);
    const auto panel = [&](const QWidget* widget) {
        const QWidget* panels[] = {shown.window.topBar(), shown.window.controls(), shown.window.map(), shown.window.inspector()};
        for (int i = 0; i < 4; ++i) {
            if (widget == panels[i] || panels[i]->isAncestorOf(widget)) {
                return i;
            }
        }
        return 4; // below
    };
    ASSERT_FALSE(stops.empty());
    EXPECT_TRUE(std::ranges::is_sorted(stops, {}, panel));
    EXPECT_EQ(panel(stops.front()), 0);
    EXPECT_EQ(panel(stops.back()), 4);
    // F6 goes from panel to panel.
    shown.window.setFocus();
    std::vector<int> visited;
    for (int i = 0; i < 5; ++i) {
        press(shown.window, Qt::Key_F6);
        visited.push_back(panel(shown.window.focusWidget()));
    }
    EXPECT_EQ(visited, (std::vector<int>{0, 1, 2, 3, 4}));
}

TEST(Keyboard, ALongLessonIsScrolledWithUpAndDown)
{
    Shown shown({1280, 720});
    ASSERT_TRUE(shown.window.openLesson("01-a-datagram-arrives"));
    settle();
    auto* text = shown.window.lessonPanel()->findChild<QScrollArea*>();
    ASSERT_NE(text, nullptr);
    ASSERT_GT(text->verticalScrollBar()->maximum(), 0) << "the text is longer than the panel";
    text->setFocus(Qt::TabFocusReason);
    for (int i = 0; i < 3; ++i) {
        press(shown.window, Qt::Key_Down);
    }
    EXPECT_GT(text->verticalScrollBar()->value(), 0);
}

TEST(Keyboard, FocusThatFallsToTheMapByItselfMarksNoRoomAndLeavesTheArrowsToThePlayer)
{
    Shown shown;
    shown.window.setSource(handSource(), Mode::recording);
    shown.session().toBegin();
    shown.window.map()->setFocus(Qt::OtherFocusReason);
    const std::size_t before = shown.session().position();
    press(shown.window, Qt::Key_Right, Qt::ControlModifier);
    EXPECT_EQ(shown.session().position(), before + 1);
    press(shown.window, Qt::Key_Right);
    EXPECT_GT(shown.session().position(), before + 1);
}

TEST(Map, ShortNamesAreWholeOnASmallScreen)
{
    for (const char* lesson : {"01-a-datagram-arrives", "03-rps-and-the-backlog"}) {
        Shown shown({1280, 720});
        ASSERT_TRUE(shown.window.openLesson(lesson));
        shown.window.lessonPanel()->goTo(5);
        settle();
        const auto queues = shown.session().trace().queues();
        for (std::size_t i = 1; i < queues.size(); ++i) {
            if (queues[i].kind == QueueKind::socket || queues[i].kind == QueueKind::backlog) {
                const QString name = shown.window.map()->trayLabel(static_cast<QueueId>(i));
                EXPECT_FALSE(name.contains(QChar(0x2026))) << lesson << ": " << name.toStdString();
            }
        }
    }
}

TEST(Map, AFunctionsNameIsCutInTheMiddleIfAtAllAndNothingStandsInAnother)
{
    Shown shown({1280, 720});
    ASSERT_TRUE(shown.window.openLesson("03-rps-and-the-backlog"));
    shown.window.lessonPanel()->goTo(5); // with inspector and lanes
    settle();
    MapView& map = *shown.window.map();
    int cut = 0;
    for (const Room& room : Catalog::rooms()) {
        const QString label = room.id == RoomId::none || map.roomRect(room.id).isEmpty() ? QString() : map.functionLabel(room.id);
        EXPECT_FALSE(label.endsWith(QChar(0x2026))) << label.toStdString();
        cut += label.contains(QChar(0x2026)) ? 1 : 0;
    }
    EXPECT_LE(cut, 4);
    // On a very small map letters do not shrink any more: one line a room.
    map.resize(420, 300);
    EXPECT_TRUE(map.functionLabel(Catalog::find_room("ip_rcv")).isEmpty());
}

TEST(Map, APacketIsInSightFromItsFirstMomentOn)
{
    Shown shown;
    MapView& map = *shown.window.map();
    for (const auto& [file, room] : {std::pair{"01-a-datagram-arrives/scenario.yaml", "wire"}, {"01-a-datagram-arrives-real/recording.pcapng", "skb_memory"}}) {
        ASSERT_TRUE(shown.window.openNow(QString::fromStdString((test::lessonsFolder() / file).string()))); // stands on its first packet
        settle();
        const QRectF token = map.tokenRect(PacketId{1});
        ASSERT_FALSE(token.isEmpty()) << file;
        EXPECT_TRUE(map.roomRect(Catalog::find_room(room)).adjusted(-20, -20, 20, 20).contains(token.center())) << file;
    }
}

TEST(Window, IsNeverLargerThanItsScreen)
{
    QTemporaryDir home;
    QSettings::setPath(QSettings::NativeFormat, QSettings::UserScope, home.path());
    const QSize screen = QGuiApplication::primaryScreen()->availableSize();
    ASSERT_LT(screen.width(), 1600) << "else this proves nothing";
    for (const bool kept : {false, true}) { // also what was remembered from a larger one
        auto services = test::services();
        services.remember = true;
        MainWindow window(services);
        window.show();
        settle();
        EXPECT_LE(window.width(), screen.width());
        EXPECT_LE(window.height(), screen.height());
        EXPECT_TRUE(window.screen()->availableGeometry().contains(window.pos())) << kept;
        QSettings("skbscope", "skbscope").setValue("geometry", [&] {
            QWidget large;
            large.setGeometry(500, 400, 2400, 1300);
            return large.saveGeometry();
        }());
    }
}

TEST(Map, TheLessonsFingerDoesNotStayWhereTheModelIsPlayedWith)
{
    Shown shown;
    ASSERT_TRUE(shown.window.openLesson("03-rps-and-the-backlog"));
    shown.window.lessonPanel()->goTo(5);
    ASSERT_FALSE(shown.window.map()->pointedAt().empty());
    emit shown.window.topBar()->modeChosen(Mode::model);
    EXPECT_TRUE(shown.window.map()->pointedAt().empty());
    emit shown.window.topBar()->modeChosen(Mode::lesson);
    EXPECT_FALSE(shown.window.map()->pointedAt().empty());
}

} // namespace
} // namespace skbscope::ui
