// What hands do with the map: pointing, choosing, tooltips, keys.
#include "core/catalog/room_on_way.h"
#include "ui/map/map_view.h"
#include "ui/player/format.h"

#include <QAccessible>
#include <QHelpEvent>
#include <QKeyEvent>
#include <QMouseEvent>
#include <QToolTip>
#include <algorithm>

namespace skbscope::ui {

MapView::Hit MapView::hit(QPointF point)
{
    sync();
    Hit found;
    if (!m_scene) {
        return found;
    }
    const qreal s = m_layout->scale();
    // The topmost token first.
    const auto& tokens = m_scene->tokens();
    for (auto it = tokens.rbegin(); it != tokens.rend(); ++it) {
        if (it->hidden) {
            continue;
        }
        QRectF rect(QPointF(), tokenSize(*it));
        rect.moveCenter(it->centre);
        if (rect.adjusted(-s, -s, s, s).contains(point)) {
            found.packet = it->packet;
            found.queue = it->queue;
            found.room = it->room;
            return found;
        }
    }
    for (const MapDrops& drops : m_scene->drops()) {
        if (m_layout->drops(drops.room).contains(point)) {
            found.room = drops.room;
            found.drops = true;
            return found;
        }
    }
    found.room = m_layout->roomAt(point);
    for (const MapTray& tray : m_scene->trays()) {
        if (tray.card.contains(point)) {
            found.queue = tray.queue;
        }
    }
    return found;
}

QString MapView::describeRoom(RoomId id)
{
    const Room& room = Catalog::room(id);
    QString html = QStringLiteral("<b>%1</b>").arg(titleOf(room).toHtmlEscaped());
    const QString function = functionOf(room);
    if (!function.isEmpty()) {
        html += QStringLiteral(" &nbsp;<tt>%1</tt>").arg(function.toHtmlEscaped());
    }
    for (const MapTray& tray : m_scene->trays()) {
        if (tray.room == id) {
            const QueueRecord& queue = m_session->trace().queue(tray.queue);
            html += QStringLiteral("<br>%1: %2").arg(text(queue.name).toHtmlEscaped(), levelText(tray.level, tray.limit, queue.unit));
            if (tray.peak > 0) {
                html += tr(", at most %1 so far").arg(queue.unit == QueueUnit::bytes ? bytesText(tray.peak) : countText(tray.peak));
            }
        }
    }
    const QString words = text(room.text);
    // The first two sentences; the inspector has the rest.
    auto end = words.indexOf(QStringLiteral(". "));
    if (end > 0) {
        const auto second = words.indexOf(QStringLiteral(". "), end + 2);
        end = second > 0 && second < 220 ? second : end;
    }
    html += QStringLiteral("<p style='margin-top:6px'>%1</p>").arg((end > 0 ? words.left(end + 1) : words).toHtmlEscaped());
    if (!room.limits.empty()) {
        html += QStringLiteral("<p>%1</p>").arg(text(room.limits).toHtmlEscaped());
    }
    if (m_scene->anythingUsed() && !m_scene->use(id).used) {
        html += QStringLiteral("<p><i>%1</i></p>").arg(tr("Not used in this trace."));
    }
    return html;
}

QString MapView::describe(const Hit& at)
{
    if (at.packet != PacketId::none) {
        const Trace& trace = m_session->trace();
        QString html = QStringLiteral("<b>%1</b>").arg(packetTitle(trace, at.packet).toHtmlEscaped());
        const auto& packets = m_session->state().packets();
        const auto found = packets.find(at.packet);
        if (found == packets.end()) {
            const PacketRecord& record = trace.packet(at.packet);
            html += QStringLiteral("<br>%1").arg(text(to_string(record.verdict)));
            return html;
        }
        const PacketState& state = found->second;
        if (state.where == PacketState::Where::waiting && state.queue != QueueId::none) {
            html += tr("<br>waits in %1").arg(text(trace.queue(state.queue).name).toHtmlEscaped());
            if (trace.info.times_trustworthy && m_session->now() >= state.since) {
                html += tr(" for %1").arg(durationText(m_session->now() - state.since));
            }
        } else if (state.function != FunctionId::none) {
            html += state.where == PacketState::Where::running ? tr("<br>in <tt>%1</tt>")
                    : isHeldInBatch(trace, state)              ? tr("<br>after <tt>%1</tt>, its batch is served")
                                                               : tr("<br>last seen in <tt>%1</tt>");
            html = html.arg(text(trace.function_name(state.function)).toHtmlEscaped());
            html += tr(" · CPU %1 %2").arg(to_index(state.cpu)).arg(contextText(state.context));
        }
        return html;
    }
    if (at.drops) {
        QString html;
        for (const auto& [key, count] : m_session->state().drops()) {
            const RoomId room = room_of_drop(key.function, key.reason);
            if (room == at.room || (room == RoomId::none && Catalog::room(at.room).key == "skb_memory")) {
                const QString place = key.function == FunctionId::none ? tr("by the hardware")
                                                                       : tr("in <tt>%1</tt>").arg(text(m_session->trace().function_name(key.function)).toHtmlEscaped());
                html += QStringLiteral("%1<b>× %2 %3</b> %4<br>%5")
                            .arg(html.isEmpty() ? QString() : QStringLiteral("<br>"), countText(count),
                                 key.reason == DropReasonId::none ? tr("no reason given") : text(Catalog::drop_reason(key.reason).name), place,
                                 dropClause(m_session->trace(), key.reason, key.function).toHtmlEscaped());
            }
        }
        return html;
    }
    return at.room == RoomId::none ? QString() : describeRoom(at.room);
}

void MapView::choose(const Hit& at)
{
    if (at.packet != PacketId::none) {
        m_session->selectPacket(at.packet);
        return;
    }
    Selection selection = m_session->selection();
    selection.function = FunctionId::none;
    selection.room = at.room;
    selection.queue = at.queue;
    if (at.drops) {
        for (const MapDrops& drops : m_scene->drops()) {
            if (drops.room == at.room) {
                selection.function = drops.function;
            }
        }
    }
    m_session->select(selection);
}

bool MapView::event(QEvent* event)
{
    if (event->type() == QEvent::ToolTip && m_session != nullptr) {
        const auto* help = static_cast<QHelpEvent*>(event);
        const Hit at = hit(help->pos());
        const QString words = describe(at);
        if (words.isEmpty()) {
            QToolTip::hideText();
            event->ignore();
        } else {
            QToolTip::showText(help->globalPos(), QStringLiteral("<div style='max-width:320px'>%1</div>").arg(words), this);
        }
        return true;
    }
    if (event->type() == QEvent::ShortcutOverride && m_showFocus) {
        const int key = static_cast<QKeyEvent*>(event)->key();
        if (key == Qt::Key_Left || key == Qt::Key_Right || key == Qt::Key_Up || key == Qt::Key_Down || key == Qt::Key_Return || key == Qt::Key_Enter || key == Qt::Key_D) {
            event->accept();
            return true;
        }
    }
    return QWidget::event(event);
}

void MapView::mousePressEvent(QMouseEvent* event)
{
    if (event->button() != Qt::LeftButton || m_session == nullptr) {
        QWidget::mousePressEvent(event);
        return;
    }
    const Hit at = hit(event->position());
    choose(at);
    if (at.drops) {
        for (const MapDrops& drops : m_scene->drops()) {
            if (drops.room == at.room) {
                emit dropsActivated(drops.reason, drops.room);
                return; // what is shown may have changed
            }
        }
    }
}

void MapView::mouseDoubleClickEvent(QMouseEvent* event)
{
    if (m_session == nullptr) {
        return;
    }
    const Hit at = hit(event->position());
    if (at.room != RoomId::none && at.packet == PacketId::none) {
        emit roomActivated(at.room);
    }
}

void MapView::mouseMoveEvent(QMouseEvent* event)
{
    if (m_session == nullptr) {
        return;
    }
    const Hit at = hit(event->position());
    const bool hand = at.packet != PacketId::none || at.room != RoomId::none;
    setCursor(hand ? Qt::PointingHandCursor : Qt::ArrowCursor);
    if (at.room != m_hover.room || at.packet != m_hover.packet) {
        m_hover = at;
        update();
    }
}

void MapView::leaveEvent(QEvent*)
{
    m_hover = {};
    update();
}

void MapView::focusRoom(RoomId room)
{
    m_focus = room;
    if (room != RoomId::none && m_scene) {
        QString words = titleOf(Catalog::room(room));
        for (const MapTray& tray : m_scene->trays()) {
            if (tray.room == room) {
                const QueueRecord& queue = m_session->trace().queue(tray.queue);
                words += QStringLiteral(", %1 %2").arg(text(queue.name), levelText(tray.level, tray.limit, queue.unit));
            }
        }
        const auto tokens = tokensIn(room);
        words += QStringLiteral(", ") + counted(tokens.size(), "packet", "packets");
        for (const MapDrops& drops : m_scene->drops()) {
            if (drops.room == room) {
                words += tr(", %1 dropped here: D goes to one").arg(countText(drops.count));
            }
        }
        setAccessibleDescription(words);
        QAccessibleEvent said(this, QAccessible::DescriptionChanged);
        QAccessible::updateAccessibility(&said);
    }
    update();
}

void MapView::keyPressEvent(QKeyEvent* event)
{
    if (m_session == nullptr) {
        return;
    }
    sync();
    switch (event->key()) {
    case Qt::Key_Left:
    case Qt::Key_Right:
    case Qt::Key_Up:
    case Qt::Key_Down:
        m_showFocus = true;
        focusRoom(m_focus == RoomId::none ? m_layout->firstRoom() : m_layout->neighbour(m_focus, event->key()));
        return;
    case Qt::Key_Return:
    case Qt::Key_Enter:
        if (m_focus != RoomId::none) {
            Hit at;
            at.room = m_focus;
            choose(at);
            emit roomActivated(m_focus);
        }
        return;
    case Qt::Key_D:
        for (const MapDrops& drops : m_scene->drops()) {
            if (drops.room == m_focus) {
                emit dropsActivated(drops.reason, drops.room);
                return;
            }
        }
        return;
    default: QWidget::keyPressEvent(event);
    }
}

void MapView::focusInEvent(QFocusEvent* event)
{
    const bool byKeyboard = event->reason() == Qt::TabFocusReason || event->reason() == Qt::BacktabFocusReason || event->reason() == Qt::ShortcutFocusReason;
    // Not where focus only fell to the map, because what had it has gone.
    m_showFocus = byKeyboard;
    sync();
    focusRoom(m_focus == RoomId::none ? m_layout->firstRoom() : m_focus);
}

void MapView::focusOutEvent(QFocusEvent*)
{
    m_showFocus = false;
    update();
}

} // namespace skbscope::ui
