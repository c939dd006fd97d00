#include "core/scenario/model_source.h"
#include "tests/ui/map/hand_trace.h"
#include "ui/map/map_paint.h"
#include "ui/map/map_view.h"
#include "ui/theme/theme.h"

#include <QApplication>
#include <QImage>
#include <QMouseEvent>
#include <QSet>
#include <gmock/gmock.h>
#include <set>

namespace skbscope::ui {
namespace {

using testing::ElementsAreArray;

std::unique_ptr<Session> handSession(int packets = 64)
{
    return std::make_unique<Session>(std::make_unique<TraceSource>("hand", test::backlogTrace(packets)));
}

QImage picture(MapView& map)
{
    return map.grab().toImage();
}

std::vector<SimTime> moments(const Session& session, int count)
{
    std::vector<SimTime> found;
    const auto first = session.origin().ns;
    const auto last = session.trace().end_time().ns;
    for (int i = 0; i <= count; ++i) {
        found.push_back({first + (last - first) * static_cast<std::uint64_t>(i) / static_cast<std::uint64_t>(count)});
    }
    return found;
}

/// What a person should see in the room, worked out from the state alone.
std::vector<PacketId> expectedIn(const Session& session, RoomId room)
{
    std::vector<PacketId> expected;
    for (const auto& [id, packet] : session.state().packets()) {
        if (packet.room == room) {
            expected.push_back(id);
        }
    }
    return expected;
}

QString colorName(const QImage& image, QPointF at)
{
    return image.pixelColor(at.toPoint()).name();
}

TEST(MapLayout, EveryRoomOfTheCatalogStandsOnTheMapInEverySize)
{
    for (const QSizeF size : {QSizeF(560, 380), QSizeF(925, 605), QSizeF(900, 560), QSizeF(1600, 900), QSizeF(3840, 2160)}) {
        const MapLayout layout(size);
        for (const Room& room : Catalog::rooms()) {
            if (room.id == RoomId::none) {
                continue;
            }
            const QRectF rect = layout.room(room.id);
            EXPECT_FALSE(rect.isEmpty()) << room.key;
            EXPECT_TRUE(QRectF(QPointF(), size).contains(rect)) << room.key << " at " << size.width();
            EXPECT_TRUE(QRectF(QPointF(), size).contains(layout.spot(room.id, 0))) << room.key;
        }
    }
}

TEST(MapLayout, EveryStageHasARoomOnTheMap)
{
    const MapLayout layout(QSizeF(925, 605));
    for (const Stage& stage : Catalog::stages()) {
        if (stage.id != StageId::none) {
            ASSERT_NE(stage.room, RoomId::none) << stage.key;
            EXPECT_FALSE(layout.room(stage.room).isEmpty()) << stage.key;
        }
    }
}

TEST(MapLayout, NoTwoRoomsOverlapExceptTheCompletionInsideTheNapiPoll)
{
    const MapLayout layout(QSizeF(925, 605));
    const auto rooms = Catalog::rooms();
    for (std::size_t i = 1; i < rooms.size(); ++i) {
        for (std::size_t j = i + 1; j < rooms.size(); ++j) {
            const std::set<std::string_view> pair{rooms[i].key, rooms[j].key};
            if (pair == std::set<std::string_view>{"napi_poll", "tx_completion"}) {
                EXPECT_TRUE(layout.room(Catalog::find_room("napi_poll")).contains(layout.room(Catalog::find_room("tx_completion"))));
                continue;
            }
            EXPECT_FALSE(layout.room(rooms[i].id).intersects(layout.room(rooms[j].id))) << rooms[i].key << " and " << rooms[j].key;
        }
    }
}

TEST(MapLayout, RowsFollowTheCatalog)
{
    const MapLayout layout(QSizeF(925, 605));
    for (const Room& room : Catalog::rooms()) {
        if (room.id != RoomId::none && room.key != "wire") {
            EXPECT_TRUE(layout.band(room.row).contains(layout.room(room.id).center())) << room.key;
        }
    }
}

TEST(MapLayout, ArrowsReachEveryRoom)
{
    const MapLayout layout(QSizeF(925, 605));
    std::set<RoomId> reached{layout.firstRoom()};
    for (bool more = true; more;) {
        more = false;
        for (const RoomId from : std::set<RoomId>(reached)) {
            for (const int key : {Qt::Key_Left, Qt::Key_Right, Qt::Key_Up, Qt::Key_Down}) {
                more |= reached.insert(layout.neighbour(from, key)).second;
            }
        }
    }
    for (const Room& room : Catalog::rooms()) {
        EXPECT_TRUE(room.id == RoomId::none || reached.contains(room.id)) << room.key;
    }
}

TEST(Map, TokensInEveryRoomAreThoseOfTheStateAtEveryMoment)
{
    const auto session = handSession();
    MapView map(session.get());
    map.resize(925, 605);
    std::size_t seen = 0;
    for (const SimTime t : moments(*session, 200)) {
        session->seek(t);
        for (const Room& room : Catalog::rooms()) {
            const auto drawn = map.tokensIn(room.id);
            seen += drawn.size();
            EXPECT_THAT(drawn, ElementsAreArray(expectedIn(*session, room.id))) << room.key << " at " << t.ns;
        }
    }
    EXPECT_GT(seen, 1000U);
}

TEST(Map, HollowTokensInATrayAreAsManyAsItsQueueHolds)
{
    const auto session = handSession();
    MapView map(session.get());
    map.resize(925, 605);
    for (const SimTime t : moments(*session, 200)) {
        session->seek(t);
        const MapScene& scene = map.scene();
        for (const MapTray& tray : scene.trays()) {
            std::uint64_t drawn = 0;
            std::uint64_t hidden = 0;
            for (const MapToken& token : scene.tokens()) {
                if (token.queue == tray.queue && token.kind == MapToken::Kind::waiting) {
                    ++(token.hidden ? hidden : drawn);
                    if (!token.hidden) {
                        EXPECT_TRUE(tray.slotRow.adjusted(-1, -1, 1, 1).contains(token.centre));
                    }
                }
            }
            const auto& queue = session->state().queues();
            const std::uint64_t length = to_index(tray.queue) < queue.size() ? queue[to_index(tray.queue)].packets.size() : 0;
            EXPECT_EQ(drawn + hidden, length);
            EXPECT_EQ(static_cast<int>(hidden), tray.hiddenPackets());
        }
    }
}

TEST(Map, AMomentLooksTheSameFromBothSides)
{
    const auto session = handSession();
    MapView map(session.get());
    map.resize(925, 605);
    session->seek({session->trace().end_time().ns});
    const auto all = moments(*session, 12);
    std::vector<QImage> forwards;
    for (const SimTime t : all) {
        session->seek(t);
        forwards.push_back(picture(map));
    }
    for (std::size_t i = all.size(); i-- > 0;) {
        session->seek(all[i]);
        EXPECT_EQ(picture(map), forwards[i]) << "at " << all[i].ns;
    }
    EXPECT_NE(forwards[2], forwards[9]);
}

TEST(Map, TokensMoveInSmallStepsWhileTimePasses)
{
    const auto session = handSession();
    MapView map(session.get());
    map.resize(925, 605);
    const MapLayout& layout = map.layoutNow();
    // The first datagram between its first and last call in the stack.
    const PacketId packet = [&] {
        for (const PacketRecord& record : session->trace().packets()) {
            if (!record.sent_here && record.verdict == Verdict::delivered) {
                return record.id;
            }
        }
        return PacketId::none;
    }();
    ASSERT_NE(packet, PacketId::none);
    const auto events = session->journeys().events_of(packet);
    std::uint64_t from = 0;
    std::uint64_t to = 0;
    for (const std::uint32_t ordinal : events) {
        const Event& event = session->trace()[ordinal];
        if (event.is_call() && event.cpu == 1 && event.context() == Context::softirq) {
            from = from == 0 ? event.time_ns : from;
            to = event.time_ns;
        }
    }
    ASSERT_GT(to, from);
    QPointF last;
    bool moved = false;
    for (std::uint64_t t = from; t <= to; t += 10) {
        session->seek({t});
        const MapToken* token = map.scene().token(packet);
        ASSERT_NE(token, nullptr);
        if (t != from) {
            const qreal step = QLineF(last, token->centre).length();
            EXPECT_LT(step, layout.size().width() * 0.12) << "at " << t;
            moved |= token->moving;
        }
        last = token->centre;
    }
    EXPECT_TRUE(moved);
}

TEST(Map, StandsStillWhenNothingChanges)
{
    const auto session = handSession();
    MapView map(session.get());
    map.resize(925, 605);
    session->seek({30'000});
    const QImage first = picture(map);
    EXPECT_EQ(picture(map), first);
}

TEST(Map, DropsAreCountedBesideTheRoomTheyLeft)
{
    const auto session = handSession();
    MapView map(session.get());
    map.resize(925, 605);
    session->toEnd();
    std::uint64_t dropped = 0;
    for (const PacketRecord& packet : session->trace().packets()) {
        dropped += packet.verdict == Verdict::dropped ? 1 : 0;
    }
    ASSERT_GT(dropped, 0U);
    ASSERT_EQ(map.scene().drops().size(), 1U);
    const MapDrops& drops = map.scene().drops().front();
    EXPECT_EQ(drops.count, dropped);
    EXPECT_EQ(Catalog::room(drops.room).key, "backlog");
    EXPECT_EQ(Catalog::drop_reason(drops.reason).name, "CPU_BACKLOG");
    EXPECT_FALSE(map.layoutNow().drops(drops.room).isEmpty());
}

TEST(Map, RoomsThatTheTraceDoesNotUseAreKnownAsUnused)
{
    const auto session = handSession();
    MapView map(session.get());
    map.resize(925, 605);
    session->toEnd();
    const MapScene& scene = map.scene();
    EXPECT_TRUE(scene.use(Catalog::find_room("udp_rx")).used);
    EXPECT_TRUE(scene.use(Catalog::find_room("irq")).used);
    EXPECT_FALSE(scene.use(Catalog::find_room("tcp_rx")).used);
    EXPECT_FALSE(scene.use(Catalog::find_room("forward")).used);
    // Softirq fills the receive queue, a process drains it.
    EXPECT_EQ(scene.use(Catalog::find_room("udp_rx")).contexts, 1U << static_cast<unsigned>(Context::softirq));
    EXPECT_EQ(scene.use(Catalog::find_room("udp_tx")).contexts, 1U << static_cast<unsigned>(Context::process));
}

TEST(Map, RunningCpusAreTiedToTheirRooms)
{
    const auto session = handSession();
    MapView map(session.get());
    map.resize(925, 605);
    std::size_t tied = 0;
    for (const SimTime t : moments(*session, 100)) {
        session->seek(t);
        for (const MapActivity& activity : map.scene().activity()) {
            if (!activity.innermost) {
                continue;
            }
            ++tied;
            const CpuState& cpu = session->state().cpus()[to_index(activity.cpu)];
            ASSERT_TRUE(cpu.running().has_value());
            EXPECT_EQ(activity.context, *cpu.running());
        }
    }
    EXPECT_GT(tied, 50U);
}

TEST(Map, AClickSelectsTokenRoomOrDrops)
{
    const auto session = handSession();
    MapView map(session.get());
    map.resize(925, 605);
    session->seek({30'000});
    const auto click = [&](QPointF at) {
        QMouseEvent press(QEvent::MouseButtonPress, at, map.mapToGlobal(at), Qt::LeftButton, Qt::LeftButton, Qt::NoModifier);
        QApplication::sendEvent(&map, &press);
    };
    // A waiting token in the ring.
    const auto waiting = map.tokensIn(Catalog::find_room("rx_ring"));
    ASSERT_FALSE(waiting.empty());
    click(map.tokenRect(waiting.front()).center());
    EXPECT_EQ(session->selection().packet, waiting.front());
    // A room: the packet stays selected.
    const RoomId route = Catalog::find_room("route_in");
    click(map.roomRect(route).center());
    EXPECT_EQ(session->selection().room, route);
    EXPECT_EQ(session->selection().packet, waiting.front());
    // Beside everything: no room.
    click({2, 2});
    EXPECT_EQ(session->selection().room, RoomId::none);
}

TEST(Map, ArrowKeysAndEnterSelectARoom)
{
    const auto session = handSession();
    MapView map(session.get());
    map.resize(925, 605);
    const auto press = [&](int key) {
        QKeyEvent down(QEvent::KeyPress, key, Qt::NoModifier);
        QApplication::sendEvent(&map, &down);
    };
    press(Qt::Key_Up); // the first press shows where one stands
    press(Qt::Key_Up);
    press(Qt::Key_Up);
    press(Qt::Key_Return);
    EXPECT_NE(session->selection().room, RoomId::none);
    EXPECT_FALSE(map.accessibleDescription().isEmpty());
    EXPECT_FALSE(map.accessibleName().isEmpty());
}

TEST(Map, LightAndDarkDiffer)
{
    const auto session = handSession();
    MapView map(session.get());
    map.resize(925, 605);
    session->seek({30'000});
    const QImage light = picture(map);
    Theme::instance().setMode(Theme::Mode::dark);
    const QImage dark = picture(map);
    Theme::instance().setMode(Theme::Mode::light);
    EXPECT_EQ(picture(map), light);
    const QPointF inCard = map.roomRect(Catalog::find_room("ip_rcv")).center();
    EXPECT_NE(colorName(light, inCard), colorName(dark, inCard));
    QSet<QRgb> colors;
    for (int y = 0; y < dark.height(); y += 3) {
        for (int x = 0; x < dark.width(); x += 3) {
            colors.insert(dark.pixel(x, y));
        }
    }
    EXPECT_GT(colors.size(), 30);
}

TEST(Map, EveryRatioOfPixelsPaintsSharply)
{
    const auto session = handSession();
    MapView map(session.get());
    map.resize(925, 605);
    session->seek({30'000});
    QImage image(QSize(1850, 1210), QImage::Format_RGB32);
    image.setDevicePixelRatio(2);
    map.render(&image);
    EXPECT_FALSE(image.isNull());
}

TEST(Map, ACrowdIsDrawnWithoutNumbersAndCompletely)
{
    Session session(std::make_unique<TraceSource>("crowd", test::crowdTrace(2000)));
    MapView map(&session);
    map.resize(1600, 900);
    session.seek({1000});
    std::size_t moving = 0;
    for (const MapToken& token : map.scene().tokens()) {
        moving += token.moving ? 1 : 0;
        EXPECT_TRUE(!token.moving || QRectF(0, 0, 1600, 900).contains(token.centre));
    }
    EXPECT_EQ(moving, 2000U);
    EXPECT_EQ(map.scene().tokens().size(), 2000U);
}

TEST(Map, WithoutASessionItStillPaints)
{
    MapView map(nullptr);
    map.resize(925, 605);
    EXPECT_FALSE(picture(map).isNull());
    const auto session = handSession();
    map.setSession(session.get());
    session->seek({30'000});
    EXPECT_FALSE(map.tokensIn(Catalog::find_room("rx_ring")).empty());
    map.setSession(nullptr);
    EXPECT_FALSE(picture(map).isNull());
}

TEST(Map, FollowsTheModelFromTheWireToTheApplication)
{
    auto scenario = load_scenario(SKBSCOPE_SOURCE_DIR "/lessons/01-a-datagram-arrives/scenario.yaml");
    ASSERT_TRUE(scenario.has_value()) << scenario.error().describe();
    Session session(std::make_unique<ModelSource>(std::move(*scenario)));
    MapView map(&session);
    map.resize(925, 605);
    session.toEnd();
    std::set<std::string_view> visited;
    const SimTime end = session.lastMoment();
    for (std::uint64_t t = 0; t <= end.ns; t += std::max<std::uint64_t>(1, end.ns / 2000)) {
        session.seek({t});
        for (const Room& room : Catalog::rooms()) {
            const auto drawn = map.tokensIn(room.id);
            EXPECT_THAT(drawn, ElementsAreArray(expectedIn(session, room.id))) << room.key << " at " << t;
            if (!drawn.empty()) {
                visited.insert(room.key);
            }
        }
    }
    for (const char* key : {"rx_ring", "ip_rcv", "route_in", "local_in", "udp_rx", "socket_rx_queue"}) {
        EXPECT_TRUE(visited.contains(key)) << key;
    }
}

TEST(MapWords, ATitleThatDoesNotFitKeepsItsFirstWordsWhole)
{
    const QFont font = Theme::sans(12, QFont::DemiBold);
    const auto wide = [&](const char* words) { return QFontMetricsF(font).horizontalAdvance(QString::fromLatin1(words)) + 0.5; };
    EXPECT_EQ(map_paint::firstWords(font, "Hook functions", wide("Hook functions")), "Hook functions");
    EXPECT_EQ(map_paint::firstWords(font, "Hook functions", wide("Hook functio")), "Hook");
    EXPECT_EQ(map_paint::firstWords(font, "IP receive: checks", wide("IP receive: ch")), "IP receive");
    EXPECT_TRUE(map_paint::firstWords(font, "Neighbour", wide("Neigh")).endsWith(QChar(0x2026)));
}

TEST(MapWords, OfAWorkingRoomNeverStandInEachOtherAndTheFunctionIsCutLast)
{
    using map_paint::WorkingWords;
    using Cpu = WorkingWords::Cpu;
    for (double right = 60; right < 220; right += 7) {
        for (double title = 20; title < 140; title += 9) {
            for (double name = 20; name < 200; name += 11) {
                const map_paint::WorkingRoom room{10, right, 10 + title, name, 36, 70, 34};
                const WorkingWords words = map_paint::placeWorkingWords(room);
                const double line = right - room.left;
                if (name <= line) {
                    EXPECT_GE(words.nameWidth, name) << "it would fit: " << right << " " << title << " " << name;
                }
                switch (words.cpu) {
                case Cpu::two_lines:
                    EXPECT_GT(right - room.twoLines, room.titleRight);
                    EXPECT_LE(room.left + words.nameWidth, right - room.twoLines);
                    break;
                case Cpu::upper_line: EXPECT_GT(right - room.oneLine, room.titleRight); break;
                case Cpu::number_only: EXPECT_GT(right - room.number, room.titleRight); break;
                case Cpu::none: EXPECT_LE(right - room.number, room.titleRight) << "there was room to say which CPU"; break;
                }
            }
        }
    }
}

} // namespace
} // namespace skbscope::ui
