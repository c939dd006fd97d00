// The part of the map that stands still: bands, ways, rooms, empty trays, and what they are called. Painted into one picture.
#include "ui/map/map_paint.h"
#include "ui/map/map_view.h"
#include "ui/player/format.h"

#include <QPainter>
#include <QPainterPath>
#include <algorithm>

namespace skbscope::ui {

using namespace map_paint;

namespace {

void arrowHead(QPainter& p, QPointF tip, QPointF from, qreal size, const QColor& color)
{
    const QLineF line(from, tip);
    if (line.length() < 0.5) {
        return;
    }
    const QPointF along = (tip - from) / line.length();
    const QPointF across(-along.y(), along.x());
    QPainterPath head(tip);
    head.lineTo(tip - along * size + across * size * 0.5);
    head.lineTo(tip - along * size - across * size * 0.5);
    head.closeSubpath();
    p.fillPath(head, color);
}

} // namespace

QString MapView::titleOf(const Room& room) const
{
    const QString title = text(room.title);
    if (!m_scene) {
        return title;
    }
    if (isRoom(room, "softirq")) {
        return tr("Softirq"); // its second line is ksoftirqd's
    }
    const RoomUse& use = m_scene->use(room.id);
    if ((isRoom(room, "app_rx") || isRoom(room, "app_tx")) && use.task != TaskId::none && !use.severalTasks) {
        const TaskRecord& task = m_session->trace().task(use.task);
        return task.name.empty() ? title : text(task.name);
    }
    return title;
}

QString MapView::functionOf(const Room& room) const
{
    if (!m_scene) {
        return text(room.function);
    }
    const RoomUse& use = m_scene->use(room.id);
    if (use.shownSeen || use.first == FunctionId::none) {
        const FunctionId id = Catalog::find_function(room.function);
        return use.shownSeen && id != FunctionId::none ? text(m_session->trace().function_name(id)) : text(room.function);
    }
    return text(m_session->trace().function_name(use.first));
}

QColor MapView::faintText() const
{
    return m_moreToCome ? mixed(colors().textFaint, colors().textMuted, 0.55) : colors().textFaint;
}

bool MapView::lit(RoomId room) const
{
    if (!m_scene || !m_scene->anythingUsed() || m_scene->use(room).used) {
        return true;
    }
    // Nobody runs on the wire; it is in use when a ring at its ends is.
    const auto used = [&](const char* key) { return m_scene->use(Catalog::find_room(key)).used; };
    return Catalog::room(room).key == "wire" && (used("rx_ring") || used("tx_ring"));
}

bool MapView::lit(const MapLink& link) const
{
    if (!m_scene || !m_scene->anythingUsed()) {
        return true;
    }
    if (m_scene->wentFrom(link.from, link.to) || (link.bothWays && m_scene->wentFrom(link.to, link.from))) {
        return true;
    }
    // A room on a main way may hold nothing of its own to run (a hook without hook functions, a bypassed qdisc): the way
    // through it is lit when something before and something behind it ran.
    static constexpr std::array<std::string_view, 10> receive{"rx_ring", "napi_poll", "gro", "core_receive", "ip_rcv", "pre_routing",
                                                              "route_in", "local_in", "udp_rx", "socket_rx_queue"};
    static constexpr std::array<std::string_view, 10> send{"socket_tx", "udp_tx", "local_out", "ip_output", "post_routing", "neighbour",
                                                           "qdisc", "transmit", "tx_ring", "wire"};
    for (const auto& way : {receive, send}) {
        const auto from = std::find(way.begin(), way.end(), Catalog::room(link.from).key);
        const auto to = std::find(way.begin(), way.end(), Catalog::room(link.to).key);
        if (from == way.end() || to == way.end() || to != from + 1) {
            continue;
        }
        // The ends of the send column are busy without any packet: sockets are made there, and the wire is shared.
        // And output looks a route up in a room of the receive column, without any packet that came in.
        const bool receiving = way.front() == "rx_ring";
        const auto used = [&](std::string_view key) {
            const RoomId room = Catalog::find_room(key);
            const bool belowIp = key == "rx_ring" || key == "napi_poll" || key == "gro" || key == "core_receive";
            return key != "socket_tx" && key != "wire" && (receiving && !belowIp ? m_scene->visited(room) : lit(room));
        };
        if (*from == "socket_tx") {
            return used(*to);
        }
        return *to == "wire" ? used(*from) : std::any_of(way.begin(), to, used) && std::any_of(to, way.end(), used);
    }
    // Ways that are walked without a packet in hand, or that no packet walks.
    static constexpr std::array<std::string_view, 5> helpers{"route_out", "egress", "net_tx", "softirq", "app_tx"};
    const bool helper = std::find(helpers.begin(), helpers.end(), Catalog::room(link.to).key) != helpers.end() ||
                        std::find(helpers.begin(), helpers.end(), Catalog::room(link.from).key) != helpers.end();
    const bool toApplication = Catalog::room(link.to).key == "app_rx" || Catalog::room(link.from).key == "wire";
    return (helper || toApplication || link.style != MapLink::Style::path) && lit(link.from) && lit(link.to);
}

qreal MapView::textRight(RoomId room) const
{
    return m_layout->content(room).right() - 4 * m_layout->scale();
}

void MapView::paintFixed()
{
    const qreal dpr = devicePixelRatioF();
    m_fixed = QPixmap((QSizeF(size()) * dpr).toSize());
    m_fixed.setDevicePixelRatio(dpr);
    m_fixed.fill(colors().map);
    QPainter p(&m_fixed);
    p.setRenderHint(QPainter::Antialiasing);
    paintBands(p);
    paintLinks(p);
    for (const Room& room : Catalog::rooms()) {
        if (room.id != RoomId::none) {
            paintRoom(p, room);
        }
    }
    m_fixedDirty = false;
}

void MapView::paintBands(QPainter& p) const
{
    const qreal s = m_layout->scale();
    // The names end before the first column of rooms; on a small map they are set smaller for that.
    const qreal place = m_layout->room(Catalog::find_room("ip_rcv")).left() - m_layout->band(0).left() - 12 * s;
    QFont font;
    for (qreal size = std::max(9.0, 9.2 * s); size >= 6; size -= 1) {
        font = Theme::sans(size, QFont::DemiBold);
        font.setLetterSpacing(QFont::AbsoluteSpacing, size < 9 ? 0 : 0.6 * s);
        qreal widest = 0;
        for (int row = 0; row < MapLayout::rows; ++row) {
            widest = std::max(widest, QFontMetricsF(font).horizontalAdvance(MapLayout::bandTitle(row)));
        }
        if (widest <= place) {
            break;
        }
    }
    p.setFont(font);
    for (int row = 0; row < MapLayout::rows; ++row) {
        const QRectF band = m_layout->band(row);
        if (row % 2 == 0) {
            p.fillRect(band, colors().band);
        }
        p.setPen(colors().textMuted);
        p.drawText(band.adjusted(10 * s, 5 * s, 0, 0), Qt::AlignLeft | Qt::AlignTop, MapLayout::bandTitle(row));
    }
}

void MapView::paintLinks(QPainter& p) const
{
    const qreal s = m_layout->scale();
    const qreal head = 6.5 * s;
    // Faint ones first, so that a used way lies on top where lines cross.
    for (const bool bright : {false, true}) {
        for (const MapLink& link : m_layout->links()) {
            const bool used = this->lit(link);
            if (used != bright) {
                continue;
            }
            QColor color = used ? colors().line : colors().lineFaint;
            Qt::PenStyle style = Qt::SolidLine;
            if (link.style == MapLink::Style::signal) {
                color = used ? colors().hardirq : mixed(colors().lineFaint, colors().hardirq, 0.35);
                style = Qt::CustomDashLine;
            } else if (link.style == MapLink::Style::done) {
                style = Qt::CustomDashLine;
            }
            QPen pen(color, std::max(1.0, 1.3 * s));
            if (style == Qt::CustomDashLine) {
                pen.setDashPattern({3, 2.4});
            }
            pen.setJoinStyle(Qt::RoundJoin);
            pen.setCapStyle(Qt::FlatCap);
            QPainterPath path;
            const QPointF tip = link.points.back();
            const QPointF before = link.points[link.points.size() - 2];
            const qreal last = QLineF(before, tip).length();
            const QPointF end = last > head ? tip - (tip - before) * (head * 0.8 / last) : before;
            path.moveTo(link.points.front());
            for (std::size_t i = 1; i < link.points.size(); ++i) {
                // Rounded corners.
                if (i + 1 == link.points.size()) {
                    path.lineTo(end);
                    break;
                }
                const QPointF corner = link.points[i];
                const QLineF in(link.points[i - 1], corner);
                const QLineF out(corner, link.points[i + 1]);
                const qreal r = std::min({5 * s, in.length() / 2, out.length() / 2});
                path.lineTo(in.length() > 0 ? corner - (corner - in.p1()) * (r / in.length()) : corner);
                path.quadTo(corner, out.length() > 0 ? corner + (out.p2() - corner) * (r / out.length()) : corner);
            }
            p.setBrush(Qt::NoBrush);
            p.setPen(pen);
            p.drawPath(path);
            arrowHead(p, tip, before, head, color);
            if (link.bothWays) {
                arrowHead(p, link.points.front(), link.points[1], head, color);
            }
        }
    }
    // The word beside the interrupt's line.
    const RoomId irq = Catalog::find_room("irq");
    if (irq != RoomId::none) {
        const QRectF ring = m_layout->room(Catalog::find_room("rx_ring"));
        const bool used = lit(irq);
        p.setFont(Theme::sans(std::max(least_small, 9.5 * s)));
        p.setPen(used ? colors().hardirqText : colors().textFaint);
        p.drawText(QRectF(ring.right() + 6 * s, ring.center().y() - 14 * s, 80 * s, 12 * s), Qt::AlignLeft | Qt::AlignBottom | Qt::TextDontClip, tr("signal"));
    }
}

void MapView::paintCard(QPainter& p, const QRectF& card, const Room& room, bool used, std::uint8_t contexts) const
{
    const qreal s = m_layout->scale();
    const qreal r = radius::card * s;
    const Colors& c = colors();
    const QRectF box = card.adjusted(0.5, 0.5, -0.5, -0.5);
    QPainterPath shape;
    shape.addRoundedRect(box, r, r);
    if (used && !Theme::instance().isDark()) {
        // The slightest shadow lifts what is in use from the band.
        QPainterPath shadow;
        shadow.addRoundedRect(box.translated(0, 1.2 * s), r, r);
        p.fillPath(shadow, QColor(27, 36, 51, 16));
    }
    const QColor ground = used ? c.card : mixed(c.card, c.band, 0.7);
    p.fillPath(shape, ground);
    // The edge at the left: the contexts that were seen here, the most urgent on top.
    std::vector<QColor> edge;
    if (used) {
        for (int level = 2; level >= 0; --level) {
            if ((contexts & (1U << level)) != 0) {
                edge.push_back(Theme::instance().context(static_cast<Context>(level)));
            }
        }
    }
    if (room.kind == RoomKind::hardware || edge.empty()) {
        edge.assign(1, used ? c.hardware : c.lineFaint);
    }
    p.save();
    p.setClipPath(shape);
    const qreal width = 4.5 * s;
    const qreal part = box.height() / static_cast<qreal>(edge.size());
    for (std::size_t i = 0; i < edge.size(); ++i) {
        p.fillRect(QRectF(box.left(), box.top() + static_cast<qreal>(i) * part, width, part), edge[i]);
    }
    if (isRoom(room, "softirq")) {
        p.fillRect(QRectF(box.left(), box.top(), width * 1.5, box.height()), ground);
        Theme::hatch(p, QRectF(box.left(), box.top(), width * 1.5, box.height()), used ? c.softirq : c.lineFaint, 6 * s);
    }
    p.restore();
    p.setPen(QPen(used ? c.border : mixed(c.border, c.band, 0.45), 1));
    p.setBrush(Qt::NoBrush);
    p.drawPath(shape);
}

void MapView::paintRoom(QPainter& p, const Room& room) const
{
    const QRectF rect = m_layout->room(room.id);
    if (rect.isEmpty()) {
        return;
    }
    const qreal s = m_layout->scale();
    const Colors& c = colors();
    const bool used = lit(room.id);
    const std::uint8_t contexts = m_scene ? m_scene->use(room.id).contexts : std::uint8_t{0};

    if (isRoom(room, "wire")) {
        const QRectF bar(rect.left(), rect.center().y() - 1.5 * s, rect.width(), 3 * s);
        p.setPen(Qt::NoPen);
        p.setBrush(used ? c.hardware : c.lineFaint);
        p.drawRoundedRect(bar, 1.5 * s, 1.5 * s);
        p.setFont(Theme::sans(std::max(least_small, 9.5 * s)));
        p.setPen(c.textMuted);
        p.drawText(QRectF(rect.right() + 8 * s, rect.top(), 60 * s, rect.height()), Qt::AlignVCenter | Qt::AlignLeft, tr("wire"));
        return;
    }

    std::vector<const MapTray*> trays;
    if (m_scene) {
        for (const MapTray& tray : m_scene->trays()) {
            if (tray.room == room.id) {
                trays.push_back(&tray);
            }
        }
    }
    if (!trays.empty()) {
        for (const MapTray* tray : trays) {
            const bool inUse = used && (tray->used || trays.size() == 1);
            paintCard(p, tray->card, room, inUse, contexts);
            paintTrayFixed(p, *tray);
        }
        return;
    }

    paintCard(p, rect, room, used, contexts);
    const qreal left = rect.left() + 11 * s;
    const qreal right = textRight(room.id);
    const QString name = titleOf(room);
    const QFont title = fittedSans(name, right - left, 12 * s, least_title, QFont::DemiBold);
    const bool twoLines = hasTwoLines(rect);
    p.setPen(used ? c.text : faintText());
    p.setFont(title);
    const QRectF top = twoLines ? QRectF(left, rect.top() + 3 * s, right - left, rect.height() / 2 - 2 * s)
                                : QRectF(left, rect.top(), right - left, rect.height());
    p.drawText(top, Qt::AlignLeft | Qt::AlignVCenter | Qt::TextDontClip, firstWords(title, name, right - left));
    if (twoLines && !isRoom(room, "softirq")) { // its second line moves: ksoftirqd
        const QString function = functionOf(room);
        const QFont mono = fittedMono(function, right - left, 10.6 * s, least_mono);
        p.setPen(used ? c.textMuted : faintText());
        p.setFont(mono);
        p.drawText(QRectF(left, rect.center().y() + 0.5 * s, right - left, rect.height() / 2 - 4 * s), Qt::AlignLeft | Qt::AlignVCenter | Qt::TextDontClip,
                   elidedName(mono, function, right - left));
    }
}

bool MapView::hasTwoLines(const QRectF& card) const
{
    return card.height() >= std::max(27 * m_layout->scale(), MapLayout::two_lines);
}

QString MapView::functionLabel(RoomId id)
{
    const QRectF rect = layoutNow().room(id);
    const Room& room = Catalog::room(id);
    const qreal width = textRight(id) - rect.left() - 11 * m_layout->scale();
    return hasTwoLines(rect) ? elidedName(fittedMono(functionOf(room), width, 10.6 * m_layout->scale(), least_mono), functionOf(room), width) : QString();
}

bool MapView::isFaint(const MapTray& tray) const
{
    if (tray.used || !m_scene->anythingUsed()) {
        return false;
    }
    // The only queue of a room where something ran is as much in use as the room.
    const bool alone = std::count_if(m_scene->trays().begin(), m_scene->trays().end(), [&](const MapTray& t) { return t.room == tray.room; }) == 1;
    return !(alone && m_scene->use(tray.room).used);
}

QString MapView::trayName(const MapTray& tray, qreal width) const
{
    const Trace& trace = m_session->trace();
    const QFontMetricsF metrics(trayFont());
    const QueueRecord& queue = trace.queue(tray.queue);
    const Room& room = Catalog::room(tray.room);
    if (room.kind == RoomKind::function || queue.kind == QueueKind::gro_list) {
        return metrics.elidedText(titleOf(room), Qt::ElideRight, width); // a function that keeps a list: its own name
    }
    // "router: backlog CPU 1" where a trace has several hosts.
    QString name = text(queue.name);
    QString host;
    if (const auto colon = name.indexOf(QStringLiteral(": ")); colon > 0) {
        host = name.left(colon);
        name = name.mid(colon + 2);
    }
    const QString first = name.section(' ', 0, 0);
    const QString rest = name.section(' ', 1);
    const bool device = trace.find_device(first.toStdString()) != DeviceId::none;
    if (queue.kind == QueueKind::arp_queue) {
        name = QStringLiteral("%1 %2").arg(titleOf(room), rest);
    }
    if (!name.isEmpty() && !device) {
        name[0] = name[0].toUpper();
    }
    const auto neighbours = std::count_if(m_scene->trays().begin(), m_scene->trays().end(), [&](const MapTray& t) { return t.room == tray.room; });
    const bool placeSaysIt = (device && neighbours == 1) || queue.kind == QueueKind::backlog || queue.kind == QueueKind::arp_queue;
    // Too long: what sets it apart from its neighbours in the room; alone there, what it is.
    const QString brief = placeSaysIt ? rest : device ? first : name;
    const QString longest = host.isEmpty() ? name : QStringLiteral("%1: %2").arg(host, name);
    const QString hosted = host.isEmpty() ? name : QStringLiteral("%1 %2").arg(host, brief);
    QString less = name; // ":5001 queue": it stands in the row of receiving sockets
    less.replace(QStringLiteral(" receive queue"), QStringLiteral(" queue"));
    for (const QString& words : {longest, hosted, name, less}) {
        // Without its host only where nobody else's queue of that kind stands beside it.
        if (metrics.horizontalAdvance(words) <= width && ((words != name && words != less) || host.isEmpty() || neighbours == 1)) {
            return words;
        }
    }
    // A little of the card's margin is better used than three dots.
    const qreal margin = isFaint(tray) ? 6 * m_layout->scale() : 0;
    return metrics.horizontalAdvance(brief) <= width + margin ? brief : firstWords(trayFont(), brief, width); // ":5001"
}

QFont MapView::trayFont() const
{
    return Theme::sans(std::max(10.0, 11.2 * m_layout->scale()), QFont::DemiBold);
}

qreal MapView::trayNameWidth(const MapTray& tray) const
{
    const qreal s = m_layout->scale();
    if (tray.low) {
        return tray.slotRow.left() - tray.card.left() - 12 * s;
    }
    const qreal count = isFaint(tray) ? 0 : QFontMetricsF(Theme::mono(std::max(least_mono, 10.6 * s))).horizontalAdvance(trayCount(tray)) + 6 * s;
    return tray.card.width() - 18 * s - count;
}

QString MapView::trayCount(const MapTray& tray) const
{
    const qreal s = m_layout->scale();
    const QueueUnit unit = m_session->trace().queue(tray.queue).unit;
    // A narrow tray shows the level alone; the tooltip has the limit.
    if (tray.card.width() < 140 * s) {
        return unit == QueueUnit::bytes ? bytesText(tray.level) : QString::number(tray.level);
    }
    return levelText(tray.level, tray.limit, unit);
}

void MapView::paintTrayFixed(QPainter& p, const MapTray& tray) const
{
    const qreal s = m_layout->scale();
    const Colors& c = colors();
    const bool faint = isFaint(tray);
    // The name; the count on the right is drawn with what moves.
    p.setFont(trayFont());
    p.setPen(faint ? faintText() : c.text);
    const qreal left = tray.card.left() + 11 * s;
    const qreal room = trayNameWidth(tray);
    const QRectF line = tray.low ? QRectF(left, tray.card.top(), room, tray.card.height()) : QRectF(left, tray.card.top() + 2.5 * s, room, 15 * s);
    p.drawText(line, Qt::AlignLeft | Qt::AlignVCenter | Qt::TextDontClip, trayName(tray, room));
    p.setPen(QPen(faint ? mixed(c.slot, c.band, 0.5) : c.slot, 1));
    p.setBrush(Qt::NoBrush);
    for (int i = 0; i < tray.slotCount; ++i) {
        p.drawRoundedRect(tray.slot(i).adjusted(1.2, 0.5, -1.2, -0.5), radius::slot * s, radius::slot * s);
    }
}

} // namespace skbscope::ui
