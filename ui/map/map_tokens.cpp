// Tokens of packets: their sizes, their small cached pictures, and where they are put.
#include "ui/map/map_paint.h"
#include "ui/map/map_view.h"

#include <QPainter>
#include <algorithm>
#include <cmath>

namespace skbscope::ui {

using namespace map_paint;

namespace {

constexpr std::size_t full_size_up_to = 1500; ///< tokens; more: dots

} // namespace

QSizeF MapView::tokenSize(const MapToken& token) const
{
    const qreal s = m_layout->scale();
    if (token.kind == MapToken::Kind::waiting) {
        for (const MapTray& tray : m_scene->trays()) {
            if (tray.queue == token.queue) {
                return {tray.slotWidth - 1.6, tray.slotRow.height()};
            }
        }
    }
    if (m_scene->shownTokens() > full_size_up_to) {
        return {9 * s, 9 * s};
    }
    if (m_crowded) {
        return {16 * s, 12 * s};
    }
    return {token_width * s, token_height * s};
}

void MapView::drawStamp(QPainter& p, const QRectF& rect, const MapToken& token, const QString& number, qreal s) const
{
    const Colors& c = colors();
    const QColor flow = Theme::instance().flow(token.flow);
    const qreal r = std::min(token_radius * s, rect.height() * 0.4);
    const bool tiny = rect.height() < 11 * s;
    QColor ink = c.onFlow;
    switch (token.kind) {
    case MapToken::Kind::running: {
        // Solid, ringed in the colour of its context.
        const qreal ring = tiny ? 1.4 * s : 2.4 * s;
        p.setPen(Qt::NoPen);
        p.setBrush(Theme::instance().context(token.context));
        p.drawRoundedRect(rect, r, r);
        p.setBrush(flow);
        p.drawRoundedRect(rect.adjusted(ring, ring, -ring, -ring), std::max(1.0, r - ring), std::max(1.0, r - ring));
        break;
    }
    case MapToken::Kind::waiting:
        // Hollow.
        p.setPen(QPen(flow, 1.5 * s));
        p.setBrush(c.card);
        p.drawRoundedRect(rect.adjusted(0.75 * s, 0.75 * s, -0.75 * s, -0.75 * s), radius::slot * s, radius::slot * s);
        ink = mixed(flow, c.text, 0.25);
        break;
    case MapToken::Kind::parked:
        // In hand, not at work: filled palely.
        p.setPen(QPen(flow, 1.2 * s));
        p.setBrush(mixed(c.card, flow, 0.28));
        p.drawRoundedRect(rect.adjusted(0.75 * s, 0.75 * s, -0.75 * s, -0.75 * s), r, r);
        ink = c.text;
        break;
    case MapToken::Kind::ended: {
        const bool dropped = token.verdict == Verdict::dropped;
        p.setPen(QPen(dropped ? c.drop : c.good, 2 * s));
        p.setBrush(dropped ? mixed(c.card, c.drop, 0.2) : flow);
        p.drawRoundedRect(rect.adjusted(s, s, -s, -s), r, r);
        ink = dropped ? c.drop : c.onFlow;
        break;
    }
    }
    if (number.isEmpty()) {
        return;
    }
    const qreal inner = rect.width() - (token.kind == MapToken::Kind::running ? 6 : 3) * s;
    qreal size = std::min(std::max(least_small, 10.0 * s), rect.height() * 0.82);
    QFont font = Theme::mono(size, token.kind == MapToken::Kind::waiting ? QFont::Normal : QFont::Bold);
    qreal need = QFontMetricsF(font).horizontalAdvance(number);
    if (need > inner) {
        size *= inner / need;
        if (size < 7) {
            return; // unreadable: the tooltip says it
        }
        font = Theme::mono(size, font.weight());
        need = QFontMetricsF(font).horizontalAdvance(number);
        if (need > inner + 2 * s) {
            return;
        }
    }
    p.setFont(font);
    p.setPen(ink);
    p.drawText(rect, Qt::AlignCenter, number);
}

const QPixmap& MapView::stamp(const MapToken& token, bool number)
{
    const QSizeF size = tokenSize(token);
    const auto width = static_cast<quint64>(std::lround(size.width() * 4));
    const quint64 key = (number ? static_cast<quint64>(to_index(token.packet)) << 32 : 0) | width << 16 |
                        static_cast<quint64>(token.kind) << 12 | static_cast<quint64>(token.context) << 8 |
                        static_cast<quint64>(token.verdict == Verdict::dropped) << 7 | static_cast<quint64>(m_crowded) << 6 | token.flow;
    if (QPixmap* known = m_stamps.object(key)) {
        return *known;
    }
    const qreal dpr = devicePixelRatioF();
    auto* pixmap = new QPixmap(((size + QSizeF(2, 2)) * dpr).toSize() + QSize(1, 1));
    pixmap->setDevicePixelRatio(dpr);
    pixmap->fill(Qt::transparent);
    QPainter p(pixmap);
    p.setRenderHint(QPainter::Antialiasing);
    drawStamp(p, QRectF(QPointF(1, 1), size), token, number ? QString::number(to_index(token.packet)) : QString(), m_layout->scale());
    p.end();
    m_stamps.insert(key, pixmap);
    return *pixmap;
}

void MapView::paintTokens(QPainter& p)
{
    const qreal s = m_layout->scale();
    const PacketId selected = m_session->selection().packet;
    const MapToken* chosen = nullptr;
    // Resting ones first, then the moving, then those that end, the selected one last.
    if (m_crowded) {
        // No numbers: few pictures, copied many times to whole device pixels, which needs no interpolation.
        struct Kind {
            quint32 key;
            QPixmap pixmap;
            QPointF half;
        };
        std::vector<Kind> kinds;
        const qreal dpr = devicePixelRatioF();
        for (const MapToken& token : m_scene->tokens()) {
            if (token.packet == selected) {
                chosen = &token;
            }
            if (token.hidden || token.kind == MapToken::Kind::ended) {
                continue;
            }
            const quint32 key = token.flow | static_cast<quint32>(token.kind) << 4 | static_cast<quint32>(token.context) << 8 |
                                (token.kind == MapToken::Kind::waiting ? to_index(token.queue) << 12 : 0);
            auto kind = std::find_if(kinds.begin(), kinds.end(), [&](const Kind& k) { return k.key == key; });
            if (kind == kinds.end()) {
                const QPixmap& pixmap = stamp(token, false);
                const QSizeF size = tokenSize(token);
                kinds.push_back({key, pixmap, {size.width() / 2 + 1, size.height() / 2 + 1}});
                kind = std::prev(kinds.end());
            }
            const QPointF corner = token.centre - kind->half;
            p.drawPixmap(QPointF(std::round(corner.x() * dpr) / dpr, std::round(corner.y() * dpr) / dpr), kind->pixmap);
        }
    } else {
        for (const int pass : {0, 1, 2}) {
            for (const MapToken& token : m_scene->tokens()) {
                const int own = token.kind == MapToken::Kind::ended ? 2 : token.moving || token.kind == MapToken::Kind::running ? 1 : 0;
                if (own != pass || token.hidden) {
                    continue;
                }
                if (token.packet == selected) {
                    chosen = &token;
                    continue;
                }
                const QSizeF half = tokenSize(token) / 2;
                p.setOpacity(token.opacity);
                p.drawPixmap(token.centre - QPointF(half.width() + 1, half.height() + 1), stamp(token, true));
            }
        }
        p.setOpacity(1);
    }
    // Tokens that stand behind others are counted.
    const QFont small = Theme::mono(std::max(8.0, 9 * s), QFont::Bold);
    for (const Room& room : Catalog::rooms()) {
        if (room.id == RoomId::none || room.kind == RoomKind::queue) {
            continue;
        }
        const int hidden = m_scene->hiddenIn(room.id);
        const bool tray = std::any_of(m_scene->trays().begin(), m_scene->trays().end(), [&](const MapTray& t) { return t.room == room.id; });
        if (hidden == 0 || tray) {
            continue;
        }
        const QPointF last = m_layout->spot(room.id, m_layout->spots(room.id) - 1);
        const QString more = QStringLiteral("+%1").arg(hidden);
        const qreal width = QFontMetricsF(small).horizontalAdvance(more) + 8 * s;
        const QRectF badge(last.x() - width / 2, m_layout->room(room.id).top() - 5 * s, width, 12 * s);
        p.setPen(QPen(colors().border, 1));
        p.setBrush(colors().card);
        p.drawRoundedRect(badge, 6 * s, 6 * s);
        p.setFont(small);
        p.setPen(colors().text);
        p.drawText(badge, Qt::AlignCenter, more);
    }
    if (chosen == nullptr || chosen->hidden) {
        return;
    }
    QRectF rect(QPointF(), m_crowded ? QSizeF(token_width * s, token_height * s) : tokenSize(*chosen));
    rect.moveCenter(chosen->centre);
    p.setOpacity(chosen->opacity);
    p.setPen(QPen(faded(colors().accent, 0.45), 3.2 * s));
    p.setBrush(Qt::NoBrush);
    p.drawRoundedRect(rect.adjusted(-2.2 * s, -2.2 * s, 2.2 * s, 2.2 * s), (token_radius + 2) * s, (token_radius + 2) * s);
    drawStamp(p, rect, *chosen, QString::number(to_index(chosen->packet)), s);
    p.setOpacity(1);
}

} // namespace skbscope::ui
