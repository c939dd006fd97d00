// What the panels say: journey rows, the sk_buff's parts and changes, pages, search, knobs.

#include "core/catalog/catalog.h"
#include "tests/ui/map/hand_trace.h"
#include "tests/ui/window/services.h"
#include "ui/controls/elide.h"
#include "ui/controls/knob_editor.h"
#include "ui/inspector/journey_rows.h"
#include "ui/inspector/pages.h"
#include "ui/inspector/skb_view.h"
#include "ui/player/format.h"
#include "ui/player/session.h"
#include "ui/search/search_index.h"
#include "ui/theme/theme.h"

#include <QSignalSpy>
#include <QSpinBox>
#include <QToolButton>
#include <algorithm>
#include <gtest/gtest.h>
#include <map>
#include <tuple>

namespace skbscope::ui {
namespace {

std::unique_ptr<Session> modelRun()
{
    auto session = std::make_unique<Session>(std::move(*test::services().model()));
    session->toEnd();
    return session;
}

SkbImage imageOf(std::initializer_list<std::pair<SkbField, std::uint64_t>> fields)
{
    SkbImage image;
    for (const auto& [field, value] : fields) {
        image.fields[static_cast<std::size_t>(field)] = value;
    }
    return image;
}

TEST(JourneyRows, HoldEveryStepOnceAndEveryWait)
{
    const auto session = modelRun();
    const PacketId packet{1};
    const auto rows = journeyRows(session->trace(), session->journeys(), packet);
    const Journey journey = session->journeys().journey(packet);
    const auto count = [&](JourneyRow::Kind kind) {
        return static_cast<std::size_t>(std::count_if(rows.begin(), rows.end(), [&](const JourneyRow& r) { return r.kind == kind; }));
    };
    EXPECT_EQ(count(JourneyRow::Kind::call), journey.steps.size());
    EXPECT_EQ(count(JourneyRow::Kind::wait), journey.waits.size());
    EXPECT_EQ(count(JourneyRow::Kind::verdict), 1U);
    for (std::size_t i = 0; i < rows.size(); ++i) {
        EXPECT_GE(rows[i].indent, 0);
        if (rows[i].kind == JourneyRow::Kind::call) {
            // Under a heading with its own CPU and context.
            const auto heading = std::find_if(rows.rend() - static_cast<std::ptrdiff_t>(i), rows.rend(),
                                              [](const JourneyRow& r) { return r.kind == JourneyRow::Kind::segment; });
            ASSERT_NE(heading, rows.rend());
            EXPECT_EQ(heading->cpu, rows[i].cpu);
            EXPECT_EQ(heading->context, rows[i].context);
        }
    }
}

TEST(JourneyRows, AgeIsWorkAndWaitingAndHolding)
{
    const auto session = modelRun();
    for (const PacketRecord& packet : session->trace().packets()) {
        for (const std::uint64_t ns : {packet.birth.ns + 1, packet.birth.ns + 2000, session->lastMoment().ns}) {
            const JourneySums sums = journeySums(session->trace(), session->journeys(), packet.id, {ns});
            EXPECT_EQ(sums.age, sums.waited + sums.worked + sums.held);
            EXPECT_GE(sums.held.ns, 0);
            EXPECT_GE(sums.worked.ns, 0);
            EXPECT_EQ(sums.age, std::min(SimTime{ns}, packet.death) - packet.birth);
        }
    }
}

TEST(JourneyRows, CurrentIsTheStepJustBegun)
{
    const auto session = modelRun();
    const PacketId packet{1};
    const auto rows = journeyRows(session->trace(), session->journeys(), packet);
    for (std::size_t i = 0; i < rows.size(); ++i) {
        if (rows[i].kind != JourneyRow::Kind::call) {
            continue;
        }
        session->seekToEvent(rows[i].ordinal + std::size_t{1});
        const auto where = session->state().packets().find(packet);
        if (where != session->state().packets().end() && where->second.where == PacketState::Where::waiting) {
            continue; // the wait is what counts then
        }
        EXPECT_EQ(currentRow(*session, packet, rows), static_cast<int>(i));
    }
}

TEST(SkbParts, CoverHeadToEndWithoutGapAtEveryMomentOfAPacket)
{
    const auto session = modelRun();
    const PacketId packet{1};
    const auto events = session->journeys().events_of(packet);
    std::size_t drawn = 0;
    for (const std::uint32_t ordinal : events) {
        const SkbImage image = skb_image(session->trace(), packet, events, ordinal);
        const auto parts = skbParts(image);
        if (parts.empty()) {
            continue;
        }
        ++drawn;
        EXPECT_EQ(parts.front().from, 0U);
        for (std::size_t i = 1; i < parts.size(); ++i) {
            EXPECT_EQ(parts[i].from, parts[i - 1].to);
            EXPECT_LT(parts[i].from, parts[i].to);
        }
        const auto tail = *image.of(SkbField::tail);
        EXPECT_TRUE(tail == 0 || std::any_of(parts.begin(), parts.end(), [&](const SkbPart& p) { return p.to == tail; }));
    }
    EXPECT_GT(drawn, 10U);
}

TEST(SkbParts, NameTheHeadersOfADatagram)
{
    const auto session = modelRun();
    const PacketId packet{1};
    const auto events = session->journeys().events_of(packet);
    const auto parts = skbParts(skb_image(session->trace(), packet, events, events.back()));
    std::vector<QString> names;
    std::transform(parts.begin(), parts.end(), std::back_inserter(names), [](const SkbPart& p) { return p.name; });
    EXPECT_EQ(names, (std::vector<QString>{"headroom", "eth", "ip", "udp", "payload", "tailroom", "shinfo"}));
    EXPECT_EQ(parts[2].to - parts[2].from, 20U);
    EXPECT_EQ(parts[4].to - parts[4].from, 100U);
}

TEST(SkbParts, SayNothingWhenThePointersAreUnknown)
{
    EXPECT_TRUE(skbParts(imageOf({{SkbField::len, 61}})).empty());
    EXPECT_TRUE(skbParts(imageOf({{SkbField::data, 90}, {SkbField::tail, 80}})).empty());
}

TEST(SkbChanges, ReadAsTheKernelWouldWriteThem)
{
    const Trace trace;
    EXPECT_EQ(changesText(trace, {{SkbField::data, 0, 0, 64, 78}, {SkbField::network_header, 0, 0, 65535, 78}}),
              "data += 14, network_header set");
    EXPECT_EQ(changesText(trace, {{SkbField::len, 0, 0, 128, 108}}), QString::fromUtf8("len −= 20"));
    EXPECT_EQ(changesText(trace, {{SkbField::protocol, 0, 0, 0, 0x0800}}), "protocol = 0x0800 IPv4");
}

TEST(Pages, EveryFunctionAndRoomHasOne)
{
    for (const Function& function : Catalog::functions()) {
        if (function.id != FunctionId::none) {
            EXPECT_TRUE(functionPage(nullptr, function.id).contains(QString::fromStdString(std::string(function.name)))) << function.name;
        }
    }
    for (const Room& room : Catalog::rooms()) {
        if (room.id != RoomId::none) {
            EXPECT_TRUE(roomPage(nullptr, room.id).contains(QString::fromStdString(std::string(room.title)).toHtmlEscaped())) << room.title;
        }
    }
}

TEST(Pages, ARoomShowsThePresentValueOfItsKnob)
{
    const auto session = modelRun();
    session->setKnob("net.core.netdev_max_backlog", 17);
    const QString page = roomPage(session.get(), Catalog::find_room("backlog"));
    EXPECT_TRUE(page.contains("<b>17</b>"));
    EXPECT_TRUE(page.contains("net.core.netdev_max_backlog"));
}

TEST(Search, TheWholeNameComesFirst)
{
    const auto found = search(nullptr, "ip_rcv");
    ASSERT_FALSE(found.empty());
    EXPECT_EQ(found.front().title, "ip_rcv");
    EXPECT_EQ(found.front().kind, Found::Kind::function);
}

TEST(Search, FindsPacketsByNumberAndFlowSettingsRoomsAndSockets)
{
    const auto session = modelRun();
    const auto kindOf = [&](const char* words, Found::Kind kind) {
        const auto found = search(session.get(), words);
        return std::any_of(found.begin(), found.end(), [&](const Found& f) { return f.kind == kind; });
    };
    EXPECT_TRUE(kindOf("#1", Found::Kind::packet));
    EXPECT_TRUE(kindOf("10.99.0.1:40001", Found::Kind::packet));
    EXPECT_TRUE(kindOf("netdev_max_backlog", Found::Kind::setting));
    EXPECT_TRUE(kindOf("Neighbour", Found::Kind::room));
    EXPECT_TRUE(kindOf(":5001", Found::Kind::queue));
    EXPECT_TRUE(search(session.get(), "no such thing at all").empty());
    EXPECT_TRUE(search(session.get(), "   ").empty());
}

TEST(Search, AMomentIsFoundAsThePanelsWriteTimes)
{
    const Session session(std::make_unique<TraceSource>("hand", test::backlogTrace()));
    const auto at = [&](const QString& words) {
        const auto found = search(&session, words);
        return found.empty() || found.front().kind != Found::Kind::moment ? std::uint64_t{0} : found.front().time.ns - session.origin().ns;
    };
    EXPECT_EQ(at("40us"), 40'000U);
    EXPECT_EQ(at(QString::fromUtf8("7.957 µs")), 7957U);
    EXPECT_EQ(at("t = " + timeText({session.origin().ns + 1'284'316}, session.origin())), 1'284'316U);
    EXPECT_EQ(at("2 ms"), 2'000'000U);
    EXPECT_EQ(at("1.5"), 0U) << "of what?";
    EXPECT_EQ(at("99999999999999999999 s"), 0U);
}

TEST(Format, AFlowThatIsTooLongKeepsThePortsOfBothEnds)
{
    const QFontMetrics metrics(Theme::sans(11));
    const QString flow = QString::fromUtf8("UDP 2001:db8:1234:5678::1:50014 → 2001:db8:1234:5678::2:5353");
    const QString shorter = elidedFlow(metrics, flow, metrics.horizontalAdvance(flow) * 2 / 3);
    EXPECT_LE(metrics.horizontalAdvance(shorter), metrics.horizontalAdvance(flow) * 2 / 3);
    EXPECT_TRUE(shorter.contains(QString::fromUtf8("014 → "))) << shorter.toStdString();
    EXPECT_TRUE(shorter.endsWith("353")) << shorter.toStdString();
    EXPECT_EQ(elidedFlow(metrics, flow, 10'000), flow);
}

TEST(Pages, ADropIsExplainedWithItsCounterItsSettingAndWhatHelps)
{
    auto session = std::make_unique<Session>(std::move(*test::openScenario(test::lessonsFolder() / "03-rps-and-the-backlog" / "scenario.yaml")));
    session->setKnob("net.core.netdev_max_backlog", 3);
    session->act("send_burst");
    session->toEnd();
    PacketId dropped = PacketId::none;
    for (const PacketRecord& packet : session->trace().packets()) {
        dropped = packet.verdict == Verdict::dropped && dropped == PacketId::none ? packet.id : dropped;
    }
    ASSERT_NE(dropped, PacketId::none);
    const ExplainDrop explain = test::services().explain;
    const QString page = dropPage(*session, dropped, explain);
    for (const char* words : {"CPU_BACKLOG", "enqueue_to_backlog", "netdev_max_backlog", "<b>3</b>", "softnet_stat", "What helps", "sysctl -w", "href='copy:"}) {
        EXPECT_TRUE(page.contains(words)) << words << "\n" << page.toStdString();
    }
    // Before it happens there is nothing to explain, and what arrives is never explained away.
    session->toBegin();
    EXPECT_TRUE(dropPage(*session, dropped, explain).isEmpty());
    // Nobody to ask: the event itself still says where and with which reason.
    session->toEnd();
    EXPECT_TRUE(dropPage(*session, dropped, {}).contains("CPU_BACKLOG"));
    EXPECT_FALSE(dropPage(*session, dropped, {}).contains("What helps"));
}

TEST(Pages, TheHostsFiguresAreThoseOfTheMoment)
{
    const auto session = modelRun();
    const QString end = hostPage(*session);
    EXPECT_TRUE(end.contains("InDatagrams")) << end.toStdString();
    EXPECT_TRUE(end.contains(":5001"));
    session->toBegin();
    EXPECT_FALSE(hostPage(*session).contains("+"));
}

/// What a recorder notes of a host: figures at two moments, and what stands.
std::unique_ptr<Session> recordedHost()
{
    Trace trace;
    trace.info.observed = true;
    (void)trace.add_host({"web", 2});
    (void)trace.add_device({"eth0", HostId{}, "", {}, 1500});
    const auto look = [&](std::uint64_t at, const std::string& name, std::uint64_t before, std::uint64_t after) {
        static std::map<std::string, CounterId> ids;
        const bool first = at == 1'000;
        if (first) {
            ids[name] = trace.add_counter({name, HostId{}});
        }
        Event event;
        event.time_ns = at;
        event.kind = static_cast<std::uint8_t>(EventKind::counter);
        event.arg = trace.add_counter_change(ids[name], before, after);
        (void)trace.append(event);
    };
    const std::vector<std::tuple<const char*, std::uint64_t, std::uint64_t>> figures{
        {"eth0.rx_packets", 10, 52}, {"eth0.rx_missed_errors", 0, 3}, {"softnet_stat.dropped CPU 1", 0, 8}, {"interrupt 38 virtio2-input.0 CPU 1", 100, 117},
        {"qdisc eth0 fq_codel root 8001:.drops", 0, 6}, {"qdisc eth0 fq_codel root 8001:.backlog_packets", 2, 9}, {"socket udp 10.0.0.1:5001 #4242.rmem", 4096, 0},
        {"socket udp 10.0.0.1:5001 #4242.drops", 0, 5}, {"Udp.RcvbufErrors", 1, 6}, {"Tcp.InSegs", 7, 7}, {"recorder.cpu_us", 0, 1500}};
    for (const auto& [name, before, after] : figures) {
        look(1'000, name, before, before);
    }
    for (const auto& [name, before, after] : figures) {
        look(900'000'000, name, before, after);
    }
    const auto file = [&](const char* name, const char* words) { trace.files.push_back({HostId{}, "", name, words}); };
    file("devices", "device\tstate\tcarrier\tdriver\tbus\tmtu\ttxqueuelen\tqdisc\trx ring\ttx ring\tchannels\tcoalescing\n"
                    "eth0\tup\tyes\tvirtio_net\tvirtio2\t1500\t1000\tfq_codel\t256 of 1024\t256 of 256\t1 of 1 combined\t-\n"
                    "eth9\tdown\tno\te1000\t-\t1500\t1000\tnoop\t-\t-\t-\t-\n");
    file("irqs", "interrupt\tname\tallowed CPUs\tgoes to\n38\tvirtio2-input.0\t0-1\t1\n");
    file("sockets", "socket\towner\tstate\treceive buffer\tsend buffer\nsocket udp 10.0.0.1:5001 #4242\tdnsd 77\tunconnected\t4608\t212992\n");
    file("sysctl", "net.core.netdev_max_backlog = 1000\nnet.ipv4.conf.eth0.rp_filter = 2\n");
    file("nft", "table inet t {\n\tchain <in> {\n\t}\n}\n");
    file("missing", "iptables-save: is not installed here\n");
    return std::make_unique<Session>(std::make_unique<TraceSource>("web", std::move(trace)));
}

TEST(Pages, ARecordedHostHasItsDevicesSocketsQdiscsSettingsAndRules)
{
    const auto session = recordedHost();
    session->toEnd();
    const QString page = hostPage(*session);
    for (const char* words : {"virtio_net", "256 of 1024", "no carrier", "52 packets", "+42", "rx_missed_errors", "dnsd 77", "608 B", "5 dropped", "+17", "may go to CPUs 0-1",
                              "fq_codel root 8001:", "RcvbufErrors", "netdev_max_backlog", "chain &lt;in&gt;", "iptables-save: is not installed here", "copypage:"}) {
        EXPECT_TRUE(page.contains(words)) << words << "\n" << page.toStdString();
    }
    EXPECT_FALSE(page.contains("InSegs")); // it has not moved
    EXPECT_FALSE(page.contains("Infinity"));
    session->seek({1'000});
    const QString before = hostPage(*session);
    EXPECT_TRUE(before.contains("10 packets")) << before.toStdString();
    EXPECT_FALSE(before.contains("+42"));
    EXPECT_FALSE(before.contains("5 dropped"));
}

TEST(Pages, ATraceWithoutFiguresSaysSo)
{
    Trace trace;
    trace.info.observed = true;
    (void)trace.add_host({"old", 1});
    const Session session(std::make_unique<TraceSource>("old", std::move(trace)));
    EXPECT_TRUE(hostPage(session).contains("carries none of the host"));
}

TEST(Format, ARulesOwnFunctionFindsWhatGovernsItsDrop)
{
    const DropReasonId reason = Catalog::find_drop_reason("NETFILTER_DROP");
    const DropSite* site = dropSite(Catalog::find_function("nft_do_chain"), reason);
    ASSERT_NE(site, nullptr);
    EXPECT_EQ(site->reason, reason);
    EXPECT_EQ(dropSite(Catalog::find_function("ip_rcv"), DropReasonId::none), nullptr);
}

TEST(KnobSlider, GoesByFactorsAndReachesBothEnds)
{
    Knob knob{"k", "Knob", "", "", 1000, 1, 1'000'000, 1000, true};
    KnobSlider slider(knob);
    slider.setKnobValue(1);
    EXPECT_EQ(slider.knobValue(), 1);
    slider.setKnobValue(1'000'000);
    EXPECT_EQ(slider.knobValue(), 1'000'000);
    qint64 last = 0;
    for (int at = 0; at <= slider.maximum(); ++at) {
        slider.setValue(at);
        EXPECT_GE(slider.knobValue(), last);
        last = slider.knobValue();
    }
    slider.setKnobValue(1000);
    EXPECT_NEAR(static_cast<double>(slider.knobValue()), 1000, 20);
}

TEST(KnobEditor, TheFieldChoosesOnceAndShowingChoosesNothing)
{
    Knob knob{"net.core.netdev_max_backlog", "Backlog", "packets", "", 1000, 0, 100'000, 1000, true};
    KnobEditor editor(knob);
    QSignalSpy chosen(&editor, &KnobEditor::valueChosen);
    editor.setValue(500);
    EXPECT_EQ(chosen.size(), 0);
    auto* field = editor.findChild<QSpinBox*>();
    ASSERT_NE(field, nullptr);
    EXPECT_EQ(field->value(), 500);
    field->setValue(10);
    ASSERT_EQ(chosen.size(), 1);
    EXPECT_EQ(chosen[0][0].toLongLong(), 10);
    EXPECT_EQ(editor.value(), 10);
    editor.findChild<QToolButton*>()->click();
    ASSERT_EQ(chosen.size(), 2);
    EXPECT_EQ(editor.value(), 1000);
}

} // namespace
} // namespace skbscope::ui
