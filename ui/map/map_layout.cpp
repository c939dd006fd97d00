#include "ui/map/map_layout.h"

#include <QCoreApplication>
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string_view>

namespace skbscope::ui {

namespace {

// The map is 1000 units wide:
//   0 … 114 row names and drops · 120 … 340 receive · 357 a lane for lines · 375 … 575 middle · 586 a lane ·
//   596 … 806 send · 810 … 868 drops · 872 … 992 aside.
// Heights are counted in rows. The lines of a column run through the places where its rooms show their running token, so
// that a token moves along them.
constexpr qreal lane_left = 357, lane_right = 586;

struct Place {
    std::string_view key;
    qreal left, right;
    qreal drop_left, drop_right; ///< both 0: none of its own, the gutter of its row is used
};

constexpr std::array places{
    Place{"app_rx", 120, 340, 0, 0},
    Place{"app_tx", 596, 806, 810, 868},
    Place{"socket_rx_queue", 120, 340, 0, 0},
    Place{"tap", 375, 520, 522, 586},
    Place{"socket_tx", 596, 806, 810, 868},
    Place{"udp_rx", 213, 340, 0, 0},
    Place{"tcp_rx", 120, 205, 0, 0},
    Place{"icmp", 375, 478, 480, 544},
    Place{"tcp_tx", 596, 687, 810, 868},
    Place{"udp_tx", 694, 806, 810, 868},
    Place{"route_out", 872, 992, 810, 868},
    Place{"local_in", 120, 340, 0, 0},
    Place{"defrag", 375, 520, 522, 586},
    Place{"local_out", 596, 806, 810, 868},
    Place{"route_in", 120, 340, 0, 0},
    Place{"forward", 420, 545, 546, 586},
    Place{"ip_output", 596, 806, 810, 868},
    Place{"pre_routing", 120, 340, 0, 0},
    Place{"hook_engine", 420, 545, 546, 586},
    Place{"post_routing", 596, 806, 810, 868},
    Place{"ip_rcv", 120, 340, 0, 0},
    Place{"arp", 375, 478, 480, 544},
    Place{"neighbour", 596, 806, 810, 868},
    Place{"fragment", 872, 992, 810, 868},
    Place{"core_receive", 120, 340, 0, 0},
    Place{"ingress", 375, 490, 0, 0},
    Place{"qdisc", 596, 806, 810, 868},
    Place{"egress", 872, 992, 810, 868},
    Place{"gro", 225, 340, 0, 0},
    Place{"rps", 120, 215, 0, 0},
    Place{"backlog", 375, 575, 494, 586},
    Place{"transmit", 596, 806, 810, 868},
    Place{"net_tx", 872, 992, 810, 868},
    Place{"napi_poll", 120, 806, 0, 0},
    Place{"tx_completion", 630, 797, 810, 868},
    Place{"softirq", 872, 992, 0, 0},
    Place{"irq", 420, 580, 0, 0},
    Place{"rx_ring", 120, 340, 0, 0},
    Place{"tx_ring", 596, 806, 810, 868},
    Place{"skb_memory", 872, 992, 810, 868},
    Place{"wire", 60, 860, 0, 0},
};

const Place* placeOf(std::string_view key)
{
    const auto found = std::find_if(places.begin(), places.end(), [&](const Place& p) { return p.key == key; });
    return found == places.end() ? nullptr : &*found;
}

constexpr qreal card_share = 0.80; ///< of a row's height
constexpr qreal spot_inset = 22;   ///< from the card's right edge to the middle of its running token, at scale 1
constexpr qreal wire_rows = 0.5;   ///< height of the strip below the last row, in rows

} // namespace

MapLayout::MapLayout(QSizeF size) : m_size(size)
{
    const qreal margin = 4;
    // On a very wide window the map keeps its proportions and stands in the middle.
    const qreal width = std::min(size.width(), size.height() * 2.5);
    m_unit = width / 1000;
    m_left = (size.width() - width) / 2;
    m_pitch = std::max<qreal>(1, (size.height() - 2 * margin) / (rows + wire_rows));
    m_top = margin;
    m_scale = std::clamp(std::min(width / 925, size.height() / 600), 0.62, 3.0);
    m_rooms.resize(Catalog::rooms().size());
    m_drops.resize(Catalog::rooms().size());
    placeRooms();
    placeLinks();

    const std::size_t count = m_rooms.size();
    m_ways.resize(count * count);
    for (std::size_t from = 0; from < count; ++from) {
        for (std::size_t to = 0; to < count; ++to) {
            m_ways[from * count + to] = {m_rooms[from].center(), m_rooms[to].center()};
        }
    }
    for (const MapLink& way : m_links) {
        if (way.style == MapLink::Style::signal) {
            continue;
        }
        m_ways[to_index(way.from) * count + to_index(way.to)] = way.points;
        auto& back = m_ways[to_index(way.to) * count + to_index(way.from)];
        back.assign(way.points.rbegin(), way.points.rend());
    }
}

void MapLayout::placeRooms()
{
    const qreal height = m_pitch * card_share;
    std::vector<const Room*> strangers;
    for (const Room& room : Catalog::rooms()) {
        if (room.id == RoomId::none) {
            continue;
        }
        const Place* place = placeOf(room.key);
        if (place == nullptr) {
            strangers.push_back(&room);
            continue;
        }
        const std::size_t index = to_index(room.id);
        const qreal top = rowCentre(room.row) - height / 2;
        if (room.key == "wire") {
            const qreal y = m_top + m_pitch * (rows + wire_rows * 0.5);
            m_rooms[index] = QRectF(x(place->left), y - m_pitch * 0.2, (place->right - place->left) * m_unit, m_pitch * 0.4);
            m_drops[index] = QRectF(x(8), y - m_pitch * 0.2, 50 * m_unit, m_pitch * 0.4);
            continue;
        }
        m_rooms[index] = QRectF(x(place->left), top, (place->right - place->left) * m_unit, height);
        if (room.key == "tx_completion") {
            // Stands inside the NAPI poll, which does this work too.
            m_rooms[index].adjust(0, m_pitch * 0.055, 0, -m_pitch * 0.055);
        }
        if (place->drop_right > 0) {
            m_drops[index] = QRectF(x(place->drop_left), top, (place->drop_right - place->drop_left) * m_unit, height);
        } else {
            // Below the row's name.
            m_drops[index] = QRectF(x(8), top + m_pitch * 0.31, 106 * m_unit, height - m_pitch * 0.24);
        }
        if (room.key == "backlog") {
            m_drops[index].translate(0, -m_pitch); // above: there is no room beside it
        }
    }
    for (const Room* room : strangers) {
        placeStranger(*room);
    }
}

void MapLayout::placeStranger(const Room& room)
{
    // A room that this page does not know by name yet: the first free place of its row.
    struct Gap {
        qreal left, right;
        int column;
    };
    constexpr std::array gaps{Gap{120, 205, 0}, Gap{235, 340, 0}, Gap{375, 475, 1}, Gap{480, 580, 1},
                              Gap{596, 680, 2}, Gap{702, 806, 2}, Gap{872, 992, 3}};
    const qreal height = m_pitch * card_share;
    const auto free = [&](const QRectF& rect) {
        return std::none_of(m_rooms.begin(), m_rooms.end(), [&](const QRectF& other) { return other.intersects(rect); });
    };
    for (const bool sameColumn : {true, false}) {
        for (int away = 0; away < rows; ++away) {
            for (const int row : {room.row - away, room.row + away}) {
                if (row < 0 || row >= rows) {
                    continue;
                }
                for (const Gap& gap : gaps) {
                    const QRectF rect(x(gap.left), rowCentre(row) - height / 2, (gap.right - gap.left) * m_unit, height);
                    if ((gap.column == room.column) == sameColumn && free(rect)) {
                        m_rooms[to_index(room.id)] = rect;
                        m_drops[to_index(room.id)] = QRectF(x(8), rect.top() + m_pitch * 0.31, 106 * m_unit, height - m_pitch * 0.24);
                        return;
                    }
                }
            }
        }
    }
}

void MapLayout::link(const char* from, const char* to, std::vector<QPointF> points, MapLink::Style style, bool bothWays)
{
    const RoomId a = Catalog::find_room(from);
    const RoomId b = Catalog::find_room(to);
    if (a == RoomId::none || b == RoomId::none) {
        return;
    }
    m_links.push_back({a, b, style, bothWays, std::move(points)});
}

void MapLayout::upOrDown(const char* from, const char* to, qreal x, MapLink::Style style)
{
    const QRectF a = room(Catalog::find_room(from));
    const QRectF b = room(Catalog::find_room(to));
    const bool up = b.center().y() < a.center().y();
    link(from, to, {{x, up ? a.top() : a.bottom()}, {x, up ? b.bottom() : b.top()}}, style);
}

void MapLayout::across(const char* from, const char* to, qreal shift, bool bothWays)
{
    const QRectF a = room(Catalog::find_room(from));
    const QRectF b = room(Catalog::find_room(to));
    const bool right = b.center().x() > a.center().x();
    const qreal y = a.center().y() + shift * m_pitch;
    link(from, to, {{right ? a.right() : a.left(), y}, {right ? b.left() : b.right(), y}}, MapLink::Style::path, bothWays);
}

void MapLayout::placeLinks()
{
    const auto rect = [&](const char* key) { return room(Catalog::find_room(key)); };
    const auto axis = [&](const char* key) { return spot(Catalog::find_room(key), 0).x(); };
    const qreal rx = axis("core_receive");
    const qreal tx = axis("transmit");
    const qreal tcpRx = axis("tcp_rx");
    const qreal tcpTx = axis("tcp_tx");
    // Receive climbs.
    upOrDown("wire", "rx_ring", rx);
    upOrDown("rx_ring", "napi_poll", rx);
    upOrDown("napi_poll", "gro", rx);
    upOrDown("gro", "core_receive", rx);
    across("gro", "rps");
    {
        const QRectF from = rect("rps");
        const QRectF to = rect("backlog");
        link("rps", "backlog", {{from.center().x(), from.bottom()}, {from.center().x(), gapAbove(9)}, {to.left() + 20 * m_unit, gapAbove(9)}, {to.left() + 20 * m_unit, to.bottom()}});
    }
    {
        const QRectF from = rect("backlog");
        const QRectF to = rect("core_receive");
        const qreal y = to.center().y() + 0.24 * m_pitch;
        link("backlog", "core_receive", {{from.left(), from.center().y()}, {x(lane_left), from.center().y()}, {x(lane_left), y}, {to.right(), y}});
    }
    upOrDown("core_receive", "ip_rcv", rx);
    upOrDown("ip_rcv", "pre_routing", rx);
    upOrDown("pre_routing", "route_in", rx);
    upOrDown("route_in", "local_in", rx);
    upOrDown("local_in", "udp_rx", rx);
    upOrDown("local_in", "tcp_rx", tcpRx);
    {
        const QRectF from = rect("local_in");
        const QRectF to = rect("icmp");
        link("local_in", "icmp", {{rx, from.top()}, {rx, gapAbove(3)}, {axis("icmp"), gapAbove(3)}, {axis("icmp"), to.bottom()}});
    }
    upOrDown("udp_rx", "socket_rx_queue", rx);
    upOrDown("tcp_rx", "socket_rx_queue", tcpRx);
    upOrDown("socket_rx_queue", "app_rx", rx);
    // The taps, ARP and the ingress hooks hang on the receive core.
    {
        const QRectF core = rect("core_receive");
        const QRectF tap = rect("tap");
        const QRectF arp = rect("arp");
        const qreal y = core.center().y() - 0.24 * m_pitch;
        link("core_receive", "tap", {{core.right(), y}, {x(lane_left), y}, {x(lane_left), tap.center().y()}, {tap.left(), tap.center().y()}});
        link("core_receive", "arp", {{core.right(), y}, {x(lane_left), y}, {x(lane_left), arp.center().y()}, {arp.left(), arp.center().y()}});
    }
    across("core_receive", "ingress", 0, true);
    across("local_in", "defrag", 0, true);
    across("pre_routing", "hook_engine", 0, true);
    across("hook_engine", "post_routing", 0, true);
    across("arp", "neighbour");
    // Forwarding crosses in the middle.
    across("route_in", "forward");
    {
        const QRectF from = rect("forward");
        const QRectF to = rect("post_routing");
        const qreal y = to.center().y() - 0.22 * m_pitch;
        link("forward", "post_routing", {{from.right(), from.center().y()}, {x(lane_right), from.center().y()}, {x(lane_right), y}, {to.left(), y}});
    }
    {
        const QRectF from = rect("icmp");
        const QRectF to = rect("local_out");
        link("icmp", "local_out", {{from.right(), from.center().y()}, {x(lane_right), from.center().y()}, {x(lane_right), to.center().y()}, {to.left(), to.center().y()}});
    }
    // Send descends.
    upOrDown("app_tx", "socket_tx", tx);
    upOrDown("socket_tx", "udp_tx", tx);
    upOrDown("socket_tx", "tcp_tx", tcpTx);
    across("udp_tx", "route_out", 0, true);
    upOrDown("udp_tx", "local_out", tx);
    upOrDown("tcp_tx", "local_out", tcpTx);
    upOrDown("local_out", "ip_output", tx);
    upOrDown("ip_output", "post_routing", tx);
    upOrDown("post_routing", "neighbour", tx);
    {
        const QRectF from = rect("post_routing");
        const QRectF to = rect("fragment");
        link("post_routing", "fragment", {{from.right(), from.center().y()}, {to.center().x(), from.center().y()}, {to.center().x(), to.top()}});
    }
    across("fragment", "neighbour");
    upOrDown("neighbour", "qdisc", tx);
    across("qdisc", "egress", 0, true);
    upOrDown("qdisc", "transmit", tx);
    across("net_tx", "transmit", -0.2);
    upOrDown("softirq", "net_tx", rect("net_tx").center().x(), MapLink::Style::done);
    {
        const QRectF from = rect("transmit");
        const QRectF to = rect("tx_ring");
        const qreal y = from.center().y() + 0.2 * m_pitch;
        link("transmit", "tx_ring", {{from.right(), y}, {x(826), y}, {x(826), to.center().y()}, {to.right(), to.center().y()}});
    }
    // Loopback: a sent packet becomes a received one.
    across("transmit", "backlog");
    upOrDown("tx_ring", "wire", tx);
    upOrDown("tx_ring", "tx_completion", axis("tx_completion"), MapLink::Style::done);
    // The interrupt is a signal.
    {
        const QRectF irq = rect("irq");
        const QRectF rxRing = rect("rx_ring");
        const QRectF txRing = rect("tx_ring");
        const QRectF poll = rect("napi_poll");
        const qreal centre = irq.center().x();
        link("rx_ring", "irq", {{rxRing.right(), rxRing.center().y()}, {centre, rxRing.center().y()}, {centre, irq.bottom()}}, MapLink::Style::signal);
        link("tx_ring", "irq", {{txRing.left(), txRing.center().y()}, {centre, txRing.center().y()}, {centre, irq.bottom()}}, MapLink::Style::signal);
        link("irq", "napi_poll", {{centre, irq.top()}, {centre, poll.bottom()}}, MapLink::Style::signal);
    }
}

QPointF MapLayout::spot(RoomId id, int index) const
{
    const QRectF rect = room(id);
    const qreal step = 34 * m_scale;
    const std::string_view key = Catalog::room(id).key;
    if (key == "napi_poll") {
        // Above the RX ring's column, and on to the right.
        return {room(Catalog::find_room("rx_ring")).right() - spot_inset * m_scale + index * step, rect.center().y()};
    }
    if (key == "wire") {
        return {rect.center().x() + (index % 2 == 0 ? index / 2 : -(index + 1) / 2) * step, rect.center().y()};
    }
    if (key == "skb_memory") {
        // A narrow room whose name needs all of its upper line.
        return {rect.right() - 18 * m_scale - index * step, rect.bottom() - 10 * m_scale};
    }
    return {rect.right() - spot_inset * m_scale - index * step, rect.center().y()};
}

int MapLayout::spots(RoomId id) const
{
    const qreal step = 34 * m_scale;
    const QRectF rect = content(id);
    const std::string_view key = Catalog::room(id).key;
    if (key == "napi_poll") {
        return std::max(1, static_cast<int>((rect.right() - 60 * m_scale - spot(id, 0).x()) / step));
    }
    if (key == "wire") {
        return std::max(1, static_cast<int>(rect.width() / step) - 1);
    }
    // The left part of the card belongs to its name.
    return std::max(1, static_cast<int>((rect.width() - 100 * m_scale) / step));
}

QRectF MapLayout::content(RoomId id) const
{
    QRectF rect = room(id);
    if (id == Catalog::find_room("napi_poll")) {
        rect.setRight(room(Catalog::find_room("tx_completion")).left());
    }
    return rect;
}

QRectF MapLayout::band(int row) const
{
    return {0, m_top + row * m_pitch, m_size.width(), m_pitch};
}

QString MapLayout::bandTitle(int row)
{
    static constexpr std::array names{
        QT_TRANSLATE_NOOP("Map", "APPLICATION"),  QT_TRANSLATE_NOOP("Map", "SOCKET"),     QT_TRANSLATE_NOOP("Map", "TRANSPORT"),
        QT_TRANSLATE_NOOP("Map", "LOCAL HOOK"),   QT_TRANSLATE_NOOP("Map", "ROUTE"),      QT_TRANSLATE_NOOP("Map", "HOOK"),
        QT_TRANSLATE_NOOP("Map", "LAYER 3 EDGE"), QT_TRANSLATE_NOOP("Map", "DEVICE CORE"), QT_TRANSLATE_NOOP("Map", "QUEUE"),
        QT_TRANSLATE_NOOP("Map", "SOFTIRQ"),      QT_TRANSLATE_NOOP("Map", "HARD IRQ"),   QT_TRANSLATE_NOOP("Map", "NIC")};
    return QCoreApplication::translate("Map", names[static_cast<std::size_t>(row)]);
}

const std::vector<QPointF>& MapLayout::way(RoomId from, RoomId to) const
{
    return m_ways[to_index(from) * m_rooms.size() + to_index(to)];
}

RoomId MapLayout::roomAt(QPointF point) const
{
    RoomId found = RoomId::none;
    for (std::size_t i = 1; i < m_rooms.size(); ++i) {
        // A room inside another one wins: it is the smaller.
        if (m_rooms[i].contains(point) && (found == RoomId::none || m_rooms[i].width() < room(found).width())) {
            found = static_cast<RoomId>(i);
        }
    }
    return found;
}

RoomId MapLayout::firstRoom() const
{
    const RoomId ring = Catalog::find_room("rx_ring");
    return ring != RoomId::none || m_rooms.size() < 2 ? ring : static_cast<RoomId>(1);
}

RoomId MapLayout::neighbour(RoomId from, int key) const
{
    const QPointF here = room(from).center();
    RoomId best = from;
    qreal least = std::numeric_limits<qreal>::max();
    for (std::size_t i = 1; i < m_rooms.size(); ++i) {
        const QPointF to = m_rooms[i].center() - here;
        const bool sideways = key == Qt::Key_Left || key == Qt::Key_Right;
        const qreal along = key == Qt::Key_Left ? -to.x() : key == Qt::Key_Right ? to.x() : key == Qt::Key_Up ? -to.y() : to.y();
        const qreal off = std::abs(sideways ? to.y() : to.x());
        if (along < 2 || m_rooms[i].isEmpty()) {
            continue;
        }
        // Sideways stays in the row; up and down prefer what stands straight above or below.
        const qreal cost = along + off * (sideways ? 6 : 1.5);
        if (cost < least) {
            least = cost;
            best = static_cast<RoomId>(i);
        }
    }
    return best;
}

} // namespace skbscope::ui
