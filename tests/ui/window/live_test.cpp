// A live source in the window: follow and pause, what stays in sight, doctor's findings, clear words when nothing is allowed.

#include "core/recording/recording.h"
#include "tests/ui/map/hand_trace.h"
#include "tests/ui/window/services.h"
#include "ui/banner.h"
#include "ui/busy_curtain.h"
#include "ui/controls/control_panel.h"
#include "ui/controls/packet_list.h"
#include "ui/live/live_page.h"
#include "ui/live/live_strip.h"
#include "ui/map/map_view.h"
#include "ui/player/session.h"

#include <QApplication>
#include <QClipboard>
#include <QComboBox>
#include <QDeadlineTimer>
#include <QLineEdit>
#include <QProgressBar>
#include <QPushButton>
#include <QSignalSpy>
#include <QTest>
#include <QThread>
#include <QTimer>
#include <algorithm>
#include <atomic>
#include <gtest/gtest.h>

namespace skbscope::ui {
namespace {

std::vector<std::uint8_t> recordingOf(const Trace& trace)
{
    std::vector<std::uint8_t> bytes;
    EXPECT_TRUE(write_recording_to(trace, [&](std::span<const std::uint8_t> more) { return bytes.insert(bytes.end(), more.begin(), more.end()), true; }, "memory"));
    return bytes;
}

/// A stream whose pieces arrive when the test says so.
class ScriptedStream : public Source {
public:
    explicit ScriptedStream(std::vector<std::uint8_t> bytes) : m_bytes(std::move(bytes)), m_reader(m_trace, "stream") {}

    void arrive(double share) { m_arrived = static_cast<std::size_t>(static_cast<double>(m_bytes.size()) * share); }
    void arriveTo(std::size_t bytes) { m_arrived = bytes; }
    void end(const std::string& why = {})
    {
        m_ended = true;
        m_status.ended = true;
        m_status.ending = why;
    }
    LiveStatus& status() { return m_status; }

    [[nodiscard]] Kind kind() const override { return Kind::live; }
    [[nodiscard]] std::string title() const override { return "stream"; }
    [[nodiscard]] const Trace& trace() const override { return m_trace; }
    void advance_to(SimTime) override
    {
        if (m_taken < m_arrived) {
            EXPECT_TRUE(m_reader.feed(std::span(m_bytes).subspan(m_taken, m_arrived - m_taken)));
            m_taken = m_arrived;
        }
    }
    [[nodiscard]] SimTime known_until() const override { return m_trace.end_time(); }
    [[nodiscard]] bool exhausted() const override { return m_ended && m_taken == m_arrived; }
    [[nodiscard]] std::optional<LiveStatus> live_status() const override { return m_status; }
    void close() override { end(); }

private:
    std::vector<std::uint8_t> m_bytes;
    Trace m_trace;
    RecordingReader m_reader;
    std::size_t m_arrived = 0, m_taken = 0;
    bool m_ended = false;
    LiveStatus m_status;
};

/// A recording whose events come in two blocks.
struct TwoParts {
    std::vector<std::uint8_t> bytes;
    std::size_t first = 0; ///< bytes of the first part
    std::size_t events = 0;
    TwoParts()
    {
        test::HandTrace hand;
        RecordingWriter writer(hand.trace, [this](std::span<const std::uint8_t> more) { return bytes.insert(bytes.end(), more.begin(), more.end()), true; }, "memory");
        const PacketId packet = hand.born(false, 1);
        hand.call("ip_rcv", packet, 0, Context::softirq, 100, 0);
        EXPECT_TRUE(writer.update());
        first = bytes.size();
        hand.now += 1000;
        hand.call("udp_rcv", packet, 0, Context::softirq, 100, 0);
        EXPECT_TRUE(writer.finish());
        events = hand.trace.size();
    }
};

struct Live {
    std::unique_ptr<MainWindow> window;
    ScriptedStream* stream = nullptr;
    explicit Live(WindowServices services = test::services(), std::vector<std::uint8_t> bytes = recordingOf(test::backlogTrace())) : window(std::make_unique<MainWindow>(std::move(services)))
    {
        auto source = std::make_unique<ScriptedStream>(std::move(bytes));
        stream = source.get();
        window->resize(1600, 900);
        window->setSource(std::move(source), Mode::live);
        window->show();
    }
    [[nodiscard]] Session& session() const { return *window->session(); }
    /// For the window to do what it would, if it did.
    void wait() const { QTest::qWait(120); }
    /// Until it is so; on a busy machine the window's timers come late.
    template <typename Condition>
    [[nodiscard]] static bool until(Condition condition) { return QTest::qWaitFor(condition, 20'000); }
    [[nodiscard]] bool untilTraceHas(std::size_t events) const
    {
        return until([&] { return session().trace().size() == events; });
    }
    [[nodiscard]] bool untilAt(std::size_t position) const
    {
        return until([&] { return session().position() == position; });
    }
    [[nodiscard]] bool untilStripSays(const QString& words) const
    {
        return until([&] { return window->liveStrip()->words().contains(words); });
    }
};

TEST(Live, FollowsTheEdgeAndAPauseLosesNothing)
{
    Live live;
    EXPECT_TRUE(live.session().isLive());
    EXPECT_TRUE(live.session().isFollowing());
    const std::size_t all = test::backlogTrace().size();
    live.stream->arrive(1);
    ASSERT_TRUE(live.untilTraceHas(all) && live.untilAt(all));
    // Looking at something else ends following, and the trace is whole all the same.
    live.session().seekToEvent(3);
    EXPECT_FALSE(live.session().isFollowing());
    live.wait();
    EXPECT_EQ(live.session().position(), 3U);
    EXPECT_EQ(live.session().trace().size(), all);
    EXPECT_TRUE(live.session().isLive());
    live.window->liveStrip()->followButton()->click();
    EXPECT_TRUE(live.untilAt(all));
    EXPECT_TRUE(live.session().isFollowing());
}

TEST(Live, WhatArrivesWhilePausedIsThereAfterwards)
{
    Live live;
    live.session().setFollowing(false);
    live.stream->arrive(1);
    EXPECT_TRUE(live.untilTraceHas(test::backlogTrace().size()));
    EXPECT_EQ(live.session().position(), 0U);
    EXPECT_EQ(live.session().state().accounting().born, 0U);
    live.session().toEnd();
    StackState whole(live.session().trace());
    for (std::size_t i = 0; i < live.session().trace().size(); ++i) {
        whole.apply(i);
    }
    EXPECT_EQ(live.session().state().accounting().born, whole.accounting().born);
}

TEST(Live, RateLossAndCostStayInSight)
{
    Live live;
    live.stream->status().events_per_second = 12'345;
    live.stream->status().lost_events = 17;
    live.stream->status().cost = 0.021;
    live.stream->arrive(1);
    EXPECT_TRUE(live.untilStripSays("12.3 k events/s"));
    const QString words = live.window->liveStrip()->words();
    EXPECT_TRUE(live.window->liveStrip()->isVisible());
    EXPECT_TRUE(words.contains("17 lost")) << words.toStdString();
    EXPECT_TRUE(words.contains("2.1 %")) << words.toStdString();
    live.stream->status().cost.reset();
    EXPECT_TRUE(live.untilStripSays("cost not known"));
}

TEST(Live, ItsPacketsAreListedAsTheyCome)
{
    Live live;
    PacketList& list = *live.window->controls()->packets();
    EXPECT_TRUE(list.isVisible());
    EXPECT_EQ(list.rows().rowCount(), 0);
    list.verdicts()->setCurrentIndex(list.verdicts()->findData(static_cast<int>(Verdict::dropped)));
    live.stream->arrive(1);
    const std::size_t all = test::backlogTrace().size();
    ASSERT_TRUE(live.untilTraceHas(all) && live.untilAt(all));
    const auto dropped = live.session().state().accounting().of(Verdict::dropped);
    EXPECT_GT(dropped, 0U);
    EXPECT_TRUE(Live::until([&] { return static_cast<std::uint64_t>(list.rows().rowCount()) == dropped; }));
    list.verdicts()->setCurrentIndex(0);
    EXPECT_EQ(static_cast<std::uint64_t>(list.rows().rowCount()), live.session().state().accounting().born);
}

TEST(Live, AnUnsavedRecordingIsNotLostWithoutAQuestion)
{
    Live live;
    int asked = 0;
    MainWindow::Keep answer = MainWindow::Keep::cancel;
    live.window->setKeepQuestion([&] {
        ++asked;
        return answer;
    });
    EXPECT_FALSE(live.window->isUnsaved()) << "nothing has come yet";
    live.stream->arrive(1);
    ASSERT_TRUE(live.untilTraceHas(test::backlogTrace().size()));
    EXPECT_TRUE(live.window->isUnsaved());
    EXPECT_TRUE(Live::until([&] { return live.window->isWindowModified(); })) << "and the title says so";
    EXPECT_FALSE(live.window->close());
    EXPECT_FALSE(live.window->openLesson("01"));
    emit live.window->topBar()->modeChosen(Mode::model);
    EXPECT_EQ(asked, 3);
    EXPECT_EQ(live.session().source().kind(), Source::Kind::live) << "a No changes nothing";
    answer = MainWindow::Keep::discard;
    EXPECT_TRUE(live.window->close());
    EXPECT_EQ(asked, 4);
}

TEST(Live, ASavedRecordingIsLeftWithoutAQuestionUntilMoreHasCome)
{
    auto services = test::services();
    services.save = [](const Source& source, const std::filesystem::path&, Progress& progress) -> Result<void> {
        progress.begin("writing", source.trace().size());
        return {};
    };
    const TwoParts parts;
    Live live(services, parts.bytes);
    live.window->setKeepQuestion([] { return MainWindow::Keep::cancel; });
    live.stream->arriveTo(parts.first);
    ASSERT_TRUE(Live::until([&] { return live.window->isUnsaved(); }));
    EXPECT_TRUE(live.window->saveTo("/nowhere/live.pcapng"));
    EXPECT_FALSE(live.window->isUnsaved());
    EXPECT_FALSE(live.window->isWindowModified());
    live.stream->arrive(1);
    ASSERT_TRUE(live.untilTraceHas(parts.events));
    EXPECT_TRUE(live.window->isUnsaved());
    EXPECT_FALSE(live.window->mayLeave());
}

TEST(Live, SavingWhenLeavingStopsItFirstSoThatNothingArrivesBehindTheFile)
{
    auto services = test::services();
    std::size_t written = 0;
    services.save = [&written](const Source& source, const std::filesystem::path&, Progress&) -> Result<void> {
        written = source.trace().size();
        return {};
    };
    const TwoParts parts;
    Live live(services, parts.bytes);
    live.window->setKeepQuestion([] { return MainWindow::Keep::save; });
    live.window->setPathQuestion([&live] {
        live.stream->arrive(1); // while the person chooses a name
        return QStringLiteral("/nowhere/live.pcapng");
    });
    live.stream->arriveTo(parts.first);
    ASSERT_TRUE(Live::until([&] { return live.window->isUnsaved(); }));
    EXPECT_TRUE(live.window->mayLeave());
    EXPECT_EQ(written, parts.events);
    EXPECT_TRUE(live.session().source().exhausted());
    EXPECT_FALSE(live.window->isUnsaved());
}

TEST(Live, WhatIsSavedStandsStillAndWhatComesMeanwhileIsThereAfterwards)
{
    auto services = test::services();
    ScriptedStream* stream = nullptr;
    std::size_t before = 0;
    std::size_t after = 0;
    std::atomic<int> looks{0};
    services.save = [&](const Source& source, const std::filesystem::path&, Progress& progress) -> Result<void> {
        progress.begin("writing", 100);
        progress.reach(43);
        before = source.trace().size();
        stream->arrive(1);
        const QDeadlineTimer patience(20'000);
        while (looks < 10 && !patience.hasExpired()) { // the window looks for what has arrived meanwhile
            QThread::msleep(1);
        }
        after = source.trace().size();
        return {};
    };
    const TwoParts parts;
    Live live(services, parts.bytes);
    stream = live.stream;
    live.stream->arriveTo(parts.first);
    ASSERT_TRUE(Live::until([&] { return !live.session().trace().empty(); }));
    QString said;
    QTimer looking;
    QObject::connect(&looking, &QTimer::timeout, live.window.get(), [&] {
        if (const auto* curtain = live.window->findChild<BusyCurtain*>()) {
            said = QString::number(curtain->findChild<QProgressBar*>()->value()) + " " + curtain->cancelButton()->text();
            ++looks;
        }
    });
    looking.start(60); // as often as the window looks
    EXPECT_TRUE(live.window->saveTo("/nowhere/live.pcapng"));
    EXPECT_GT(before, 0U);
    EXPECT_EQ(after, before);
    EXPECT_EQ(said, "43 Cancel");
    EXPECT_TRUE(live.untilTraceHas(parts.events));
}

TEST(Live, ACancelledSavingSavesNothingAndIsNoError)
{
    auto services = test::services();
    services.save = [](const Source&, const std::filesystem::path& path, Progress& progress) -> Result<void> {
        while (!progress.is_cancelled()) {
            QThread::msleep(1);
        }
        return stopped(path.string());
    };
    Live live(services);
    live.stream->arrive(1);
    ASSERT_TRUE(live.untilTraceHas(test::backlogTrace().size()));
    QTimer click;
    QObject::connect(&click, &QTimer::timeout, live.window.get(), [&] {
        if (const auto* curtain = live.window->findChild<BusyCurtain*>()) {
            curtain->cancelButton()->click();
        }
    });
    click.start(20);
    EXPECT_FALSE(live.window->saveTo("/nowhere/live.pcapng"));
    EXPECT_TRUE(live.window->isUnsaved());
    EXPECT_TRUE(live.window->banner()->words().isEmpty()) << "who cancels need not be told of an error";
}

TEST(Live, AnEndIsSaidAndWhatHasArrivedStays)
{
    Live live;
    live.stream->arrive(1);
    ASSERT_TRUE(live.untilTraceHas(test::backlogTrace().size()));
    live.stream->end("the recorder was killed by signal 9");
    EXPECT_TRUE(live.until([&] { return !live.session().isLive() && live.window->liveStrip()->words().startsWith("ended"); }));
    EXPECT_TRUE(live.window->banner()->words().contains("killed by signal 9"));
    EXPECT_EQ(live.session().trace().size(), test::backlogTrace().size());
}

TEST(Live, AStreamThatEndsWithNothingGoesBackToThePageAndSaysWhy)
{
    Live live;
    live.stream->end("the permission to record was refused: not authorized");
    ASSERT_TRUE(live.until([&] { return live.window->session() == nullptr; }));
    EXPECT_TRUE(live.window->livePage()->isVisible());
    EXPECT_TRUE(live.window->banner()->words().contains("not authorized"));
}

TEST(Live, SpacePausesAndFollowsAgain)
{
    Live live;
    live.stream->arrive(1);
    ASSERT_TRUE(live.untilAt(test::backlogTrace().size()));
    live.session().toggle();
    EXPECT_FALSE(live.session().isFollowing());
    live.session().toggle(); // plays from here, and here is the edge
    EXPECT_TRUE(live.until([&] { return live.session().isFollowing(); }));
}

constexpr auto doctor_says = R"({"kernel":"6.1.0","machine":"x86_64","cpus":2,"detail":"nothing","frames":false,
 "says":"Nothing of this host can be recorded by this user.",
 "findings":[{"piece":"tracefs","available":false,"state":"not permitted","costs":"no journey at all","remedy":"sudo skbscope record -w now.pcapng","remedy_is_command":true},
             {"piece":"BTF","available":true,"state":"usable"}]})";

TEST(LivePage, DoctorsFindingsStandThereWithCommandsToCopy)
{
    WindowServices services = test::services();
    services.live.doctor = [] { return Result<std::string>(doctor_says); };
    services.live.devices = [] { return std::vector<std::string>{"eth0", "lo"}; };
    services.live.command = [](const LiveRequest& request) { return (request.needs_prompt ? "pkexec " : "") + std::string("skbscope record -i ") + request.device; };
    MainWindow window(services);
    window.resize(1400, 900);
    window.show();
    window.showLivePage();
    LivePage& page = *window.livePage();
    ASSERT_TRUE(QTest::qWaitFor([&] { return page.stateText().contains("Nothing of this host"); }));
    EXPECT_TRUE(page.isVisible());
    ASSERT_EQ(page.copyButtons().size(), 1U);
    page.copyButtons().front()->click();
    EXPECT_EQ(QGuiApplication::clipboard()->text(), "sudo skbscope record -w now.pcapng");
    EXPECT_EQ(page.deviceBox()->count(), 3);
    page.deviceBox()->setCurrentIndex(1);
    page.filterField()->setText(" udp port 53 ");
    const LiveRequest request = page.request();
    EXPECT_EQ(request.device, "eth0");
    EXPECT_EQ(request.filter, "udp port 53");
    EXPECT_TRUE(request.needs_prompt);
    EXPECT_FALSE(page.startButton()->isEnabled()); // this window has nobody to start
}

TEST(LivePage, ADevicesFramesThroughTheModelNeedADeviceAndTheRightToCaptureOnly)
{
    LivePage page;
    EXPECT_EQ(page.kernelOfBox()->count(), 1); // nobody offers the model
    LiveServices services;
    services.kernels = {"5.10", "6.1"};
    services.devices = [] { return std::vector<std::string>{"eth0", "lo"}; };
    services.start = [](const LiveRequest&) -> Result<std::unique_ptr<Source>> { return fail(ErrorKind::unsupported, "test", "starts nothing"); };
    page.setServices(services);
    page.refresh();
    page.show();
    EXPECT_EQ(page.deviceBox()->count(), 3); // all of them, too
    page.kernelOfBox()->setCurrentIndex(1);
    EXPECT_EQ(page.deviceBox()->count(), 2); // the model has one NIC
    EXPECT_TRUE(page.modelBox()->isVisible());
    EXPECT_FALSE(page.detailBox()->isVisible()); // nothing is traced
    page.deviceBox()->setCurrentIndex(1);
    page.filterField()->setText("udp");
    page.setReport(DoctorReport::parse(R"({"detail":"nothing","frames":true,"findings":[]})"));
    LiveRequest request = page.request();
    EXPECT_EQ(request.of, LiveKernel::model);
    EXPECT_EQ(request.device, "lo");
    EXPECT_EQ(request.filter, "udp");
    EXPECT_EQ(request.kernel, "6.1");
    EXPECT_FALSE(request.needs_prompt);
    page.setReport(DoctorReport::parse(R"({"detail":"functions","frames":false,"findings":[]})"));
    EXPECT_TRUE(page.request().needs_prompt);
    page.kernelOfBox()->setCurrentIndex(0); // back: the device stays chosen
    request = page.request();
    EXPECT_EQ(request.of, LiveKernel::host);
    EXPECT_EQ(request.device, "lo");
    EXPECT_EQ(request.kernel, "");
    EXPECT_TRUE(page.detailBox()->isVisible());
}

TEST(LivePage, WithoutAnyDeviceTheModelCannotBeStarted)
{
    LivePage page;
    LiveServices services;
    services.kernels = {"6.1"};
    services.start = [](const LiveRequest&) -> Result<std::unique_ptr<Source>> { return fail(ErrorKind::unsupported, "test", "starts nothing"); };
    page.setServices(services);
    page.refresh();
    EXPECT_TRUE(page.startButton()->isEnabled());
    page.kernelOfBox()->setCurrentIndex(1);
    EXPECT_FALSE(page.startButton()->isEnabled());
}

TEST(LivePage, WhoMayRecordIsNotAskedForAPassword)
{
    LivePage page;
    page.setReport(DoctorReport::parse(R"({"detail":"functions","frames":true,"findings":[]})"));
    EXPECT_FALSE(page.request().needs_prompt);
    page.setReport(DoctorReport::parse(R"({"detail":"functions","frames":false,"findings":[]})"));
    EXPECT_TRUE(page.request().needs_prompt);
}

TEST(LivePage, ADoctorThatCannotAnswerIsSaidInOneLine)
{
    LivePage page;
    page.setReport(DoctorReport::parse("no json"));
    EXPECT_TRUE(page.stateText().contains("doctor"));
    EXPECT_FALSE(page.stateText().contains('\n'));
    EXPECT_TRUE(page.request().needs_prompt);
}

TEST(LivePage, ARefusedStartIsSaidAndThePageStays)
{
    WindowServices services = test::services();
    LiveRequest asked;
    services.live.start = [&](const LiveRequest& request) -> Result<std::unique_ptr<Source>> {
        asked = request;
        return fail(ErrorKind::not_permitted, "recording", "nobody can be asked");
    };
    MainWindow window(services);
    window.show();
    window.showLivePage();
    window.livePage()->startButton()->click();
    EXPECT_EQ(asked.budget_percent, 5);
    EXPECT_TRUE(window.banner()->words().contains("nobody can be asked"));
    EXPECT_TRUE(window.livePage()->isVisible());
}

} // namespace
} // namespace skbscope::ui
