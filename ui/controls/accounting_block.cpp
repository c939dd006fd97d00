#include "ui/controls/accounting_block.h"

#include "core/catalog/catalog.h"
#include "ui/controls/elide.h"
#include "ui/player/format.h"
#include "ui/player/session.h"
#include "ui/theme/theme.h"

#include <QAccessible>
#include <QHelpEvent>
#include <QKeyEvent>
#include <QMouseEvent>
#include <QPainter>
#include <QToolTip>
#include <algorithm>
#include <map>

namespace skbscope::ui {

namespace {
constexpr int line_height = 19;
constexpr int left_margin = 14;
constexpr int top_margin = 12;
} // namespace

QString inFlightText(const Trace& trace, const StackState& state)
{
    const std::uint64_t total = state.accounting().in_flight();
    if (total == 0) {
        return {};
    }
    std::map<int, std::uint64_t> running;      // by CPU
    std::map<std::uint32_t, std::uint64_t> in; // by queue
    std::map<std::uint32_t, std::uint64_t> last_in; // by function: no CPU is seen to work on them
    std::uint64_t held = 0;
    std::uint64_t in_card = 0;
    for (const auto& [id, packet] : state.packets()) {
        if (packet.verdict != Verdict::in_flight) {
            continue; // decided, its memory just not freed yet
        }
        if (packet.where == PacketState::Where::running) {
            ++running[static_cast<int>(packet.cpu)];
        } else if (packet.where == PacketState::Where::waiting && packet.queue != QueueId::none) {
            ++in[to_index(packet.queue)];
        } else if (isHeldInBatch(trace, packet)) {
            ++held;
        } else if (packet.function != FunctionId::none) {
            ++last_in[to_index(packet.function)]; // between two sightings
        } else {
            ++in_card;
        }
    }
    QStringList parts;
    for (const auto& [cpu, count] : running) {
        parts << QObject::tr("%1 running on CPU %2").arg(countText(count)).arg(cpu);
    }
    for (const auto& [queue, count] : in) {
        parts << QObject::tr("%1 in %2").arg(countText(count), text(trace.queues()[queue].name));
    }
    for (const auto& [function, count] : last_in) {
        parts << QObject::tr("%1 last seen in %2").arg(countText(count), text(trace.function_name(static_cast<FunctionId>(function))));
    }
    if (held != 0) {
        parts << QObject::tr("%1 held in a batch or list").arg(countText(held));
    }
    if (in_card != 0) {
        parts << QObject::tr("%1 on the wire or in the card").arg(countText(in_card));
    }
    return parts.size() == 1 ? parts.front() : QStringLiteral("%1 = %2").arg(countText(total), parts.join(QStringLiteral(", ")));
}

AccountingBlock::AccountingBlock(QWidget* parent) : QWidget(parent)
{
    setAccessibleName(tr("Accounting"));
    setMouseTracking(true);
    setFocusPolicy(Qt::TabFocus);
    connect(&Theme::instance(), &Theme::changed, this, qOverload<>(&QWidget::update));
    refresh();
}

void AccountingBlock::setSession(Session* session)
{
    m_session = session;
    if (session != nullptr) {
        connect(session, &Session::playheadMoved, this, &AccountingBlock::refresh);
        connect(session, &Session::traceReplaced, this, &AccountingBlock::refresh);
    }
    refresh();
}

void AccountingBlock::refresh()
{
    m_lines.clear();
    m_drops.clear();
    m_inFlight.clear();
    if (m_session != nullptr) {
        const StackState& state = m_session->state();
        const Accounting& sum = state.accounting();
        m_lines.push_back({tr("born"), sum.born, Verdict::in_flight});
        for (const Verdict verdict : {Verdict::delivered, Verdict::forwarded, Verdict::sent, Verdict::consumed, Verdict::dropped,
                                      Verdict::merged, Verdict::split, Verdict::lost}) {
            // The three that every host has are always there, the others when they happen.
            const bool always = verdict == Verdict::delivered || verdict == Verdict::dropped;
            if (always || sum.of(verdict) != 0) {
                m_lines.push_back({text(to_string(verdict)), sum.of(verdict), verdict});
            }
        }
        m_lines.push_back({tr("in flight"), sum.in_flight(), Verdict::in_flight});
        m_inFlight = inFlightText(m_session->trace(), state);
        for (const auto& [key, count] : state.drops()) {
            const DropSite* site = dropSite(key.function, key.reason);
            const QString reason = key.reason == DropReasonId::none ? tr("in %1").arg(text(m_session->trace().function_name(key.function)))
                                                                    : text(Catalog::drop_reason(key.reason).name);
            const auto same = std::find_if(m_drops.begin(), m_drops.end(), [&](const Drop& d) { return d.reason == reason; });
            if (same != m_drops.end()) {
                same->count += count;
            } else {
                m_drops.push_back({reason, count, site == nullptr ? QString() : text(site->counters), key.reason});
            }
        }
        std::stable_sort(m_drops.begin(), m_drops.end(), [](const Drop& a, const Drop& b) { return a.count > b.count; });
    }
    if (hasFocus()) {
        focusDrop(m_focus);
    }
    update();
}

void AccountingBlock::paintEvent(QPaintEvent*)
{
    QPainter painter(this);
    const Colors& c = Theme::instance().colors();
    const int half = std::max(150, width() * 42 / 100);
    const QFont head = Theme::sans(12, QFont::DemiBold);
    const QFont figures = Theme::mono(12);
    painter.setFont(head);
    painter.setPen(c.text);
    painter.drawText(QRect(left_margin, top_margin, half, line_height), Qt::AlignVCenter, tr("Accounting at t"));
    painter.drawText(QRect(half + 8, top_margin, width() - half, line_height), Qt::AlignVCenter, tr("Drops"));

    int y = top_margin + line_height + 2;
    painter.setFont(figures);
    const int figureRight = left_margin + QFontMetrics(figures).horizontalAdvance(QStringLiteral("delivered  000 000"));
    for (const Line& line : m_lines) {
        QColor color = c.text;
        if (line.count == 0) {
            color = c.textMuted;
        } else if (line.verdict == Verdict::dropped) {
            color = c.drop;
        } else if (line.verdict == Verdict::lost) {
            color = c.textMuted;
        } else if (line.verdict != Verdict::in_flight) {
            color = c.good;
        } else if (&line == &m_lines.back()) {
            color = c.accent;
        }
        painter.setPen(color);
        painter.drawText(QRect(left_margin, y, half - left_margin, line_height), Qt::AlignVCenter, line.name);
        painter.drawText(QRect(left_margin, y, figureRight - left_margin, line_height), Qt::AlignVCenter | Qt::AlignRight, countText(line.count));
        y += line_height;
    }

    int dropY = top_margin + line_height + 2;
    if (m_drops.empty()) {
        painter.setFont(Theme::sans(12));
        painter.setPen(c.textMuted);
        painter.drawText(QRect(half + 8, dropY, width() - half - 16, line_height), Qt::AlignVCenter, tr("none"));
        if (hasFocus()) {
            painter.setPen(QPen(c.accent, 1, Qt::DashLine));
            painter.drawRect(rect().adjusted(2, 2, -3, -3));
        }
    }
    const int right = width() - half - 16;
    std::size_t listed = 0;
    m_dropRects.clear();
    for (const Drop& drop : m_drops) {
        const bool last = listed + 1 == m_drops.size();
        if (dropY + (last ? 2 : 3) * line_height > height() && listed > 0) {
            painter.setFont(Theme::sans(11));
            painter.setPen(c.textMuted);
            painter.drawText(QRect(half + 8, dropY, right, line_height), Qt::AlignVCenter, tr("and %1 more reasons").arg(m_drops.size() - listed));
            break;
        }
        ++listed;
        painter.setFont(figures);
        painter.setPen(c.drop);
        const QString words = QStringLiteral("%1 %2").arg(drop.reason, countText(drop.count));
        const QString shown = painter.fontMetrics().elidedText(words, Qt::ElideMiddle, right);
        const QRect place(half + 8, dropY, painter.fontMetrics().horizontalAdvance(shown), line_height);
        painter.drawText(place, Qt::AlignVCenter, shown);
        const int index = static_cast<int>(m_dropRects.size());
        m_dropRects << place.adjusted(-4, 0, 4, 0);
        if (index == m_hover) {
            painter.fillRect(QRect(place.left(), place.bottom() - 2, place.width(), 1), c.drop);
        }
        if (hasFocus() && index == m_focus) {
            painter.setPen(QPen(c.accent, 1, Qt::DashLine));
            painter.drawRect(m_dropRects.back().adjusted(0, 0, -1, -1));
        }
        dropY += line_height;
        if (!drop.counters.isEmpty() && drop.counters != "none" && drop.counters != "-") {
            painter.setFont(Theme::sans(11));
            painter.setPen(c.textMuted);
            for (const QString& line : elidedLines(painter.fontMetrics(), drop.counters, right, 2)) {
                painter.drawText(QRect(half + 8, dropY, right, 15), Qt::AlignVCenter, line);
                dropY += 15;
            }
            dropY += 4;
        }
    }

    if (!m_inFlight.isEmpty()) {
        painter.setFont(Theme::sans(11));
        painter.setPen(c.textMuted);
        // Below both columns; where the drops are many, below the figures alone.
        const bool beside = dropY > y + 24;
        const int top = (beside ? y : std::max(y, dropY)) + 6;
        const int wide = (beside ? half : width()) - left_margin - 10;
        const int lines = std::max(1, (height() - top) / 15);
        int lineY = top;
        m_inFlightRect = QRect(left_margin, top, wide, 0);
        for (const QString& line : elidedLines(painter.fontMetrics(), m_inFlight, wide, lines)) {
            painter.drawText(QRect(left_margin, lineY, wide, 15), Qt::AlignVCenter, line);
            lineY += 15;
        }
        m_inFlightRect.setBottom(lineY);
    }
}

int AccountingBlock::dropAt(QPoint point) const
{
    const auto found = std::ranges::find_if(m_dropRects, [&](const QRect& rect) { return rect.contains(point); });
    return found == m_dropRects.end() ? -1 : static_cast<int>(found - m_dropRects.begin());
}

void AccountingBlock::mousePressEvent(QMouseEvent* event)
{
    const int index = event->button() == Qt::LeftButton ? dropAt(event->pos()) : -1;
    if (index < 0) {
        QWidget::mousePressEvent(event);
        return;
    }
    emit dropChosen(m_drops[static_cast<std::size_t>(index)].id);
}

void AccountingBlock::mouseMoveEvent(QMouseEvent* event)
{
    const int index = dropAt(event->pos());
    setCursor(index < 0 ? Qt::ArrowCursor : Qt::PointingHandCursor);
    if (index != m_hover) {
        m_hover = index;
        update();
    }
}

void AccountingBlock::leaveEvent(QEvent*)
{
    m_hover = -1;
    update();
}

void AccountingBlock::focusDrop(int index)
{
    m_focus = std::clamp(index, 0, std::max(0, static_cast<int>(m_drops.size()) - 1));
    QStringList words;
    for (const Line& line : m_lines) {
        words << QStringLiteral("%1 %2").arg(line.name, countText(line.count));
    }
    if (!m_drops.empty()) {
        const Drop& drop = m_drops[static_cast<std::size_t>(m_focus)];
        words << tr("drop %1 of %2: %3 %4. Enter shows a packet").arg(m_focus + 1).arg(m_drops.size()).arg(drop.reason, countText(drop.count));
    }
    if (const QString all = words.join(QStringLiteral(", ")); all != accessibleDescription()) {
        setAccessibleDescription(all);
        QAccessibleEvent said(this, QAccessible::DescriptionChanged);
        QAccessible::updateAccessibility(&said);
    }
    update();
}

void AccountingBlock::keyPressEvent(QKeyEvent* event)
{
    switch (event->key()) {
    case Qt::Key_Up: focusDrop(m_focus - 1); return;
    case Qt::Key_Down: focusDrop(m_focus + 1); return;
    case Qt::Key_Return:
    case Qt::Key_Enter:
        if (!m_drops.empty()) {
            emit dropChosen(m_drops[static_cast<std::size_t>(m_focus)].id);
        }
        return;
    default: QWidget::keyPressEvent(event);
    }
}

void AccountingBlock::focusInEvent(QFocusEvent* event)
{
    QWidget::focusInEvent(event);
    focusDrop(m_focus);
}

void AccountingBlock::focusOutEvent(QFocusEvent* event)
{
    QWidget::focusOutEvent(event);
    update();
}

bool AccountingBlock::event(QEvent* event)
{
    if (event->type() != QEvent::ToolTip) {
        return QWidget::event(event);
    }
    QStringList words;
    words << tr("born = delivered + forwarded + sent + consumed + dropped + merged + split + lost + in flight, at every moment");
    for (const Drop& drop : m_drops) {
        words << QStringLiteral("%1 %2: %3").arg(drop.reason, countText(drop.count), drop.counters.isEmpty() ? tr("the catalog names no counter") : drop.counters);
    }
    if (!m_drops.empty()) {
        words << tr("A click on a reason goes to the next packet that was dropped so, and says why");
    }
    if (!m_inFlight.isEmpty()) {
        words << m_inFlight;
    }
    QToolTip::showText(static_cast<QHelpEvent*>(event)->globalPos(), words.join(QChar('\n')), this);
    return true;
}

// ---- legend ------------------------------------------------------------------------------------------------------

Legend::Legend(QWidget* parent) : QWidget(parent)
{
    setFixedHeight(50);
    setAccessibleName(tr("Legend"));
    setToolTip(tr("hardirq: a device's interrupt handler · softirq: what interrupts put off · process: a program's own system call\n"
                  "A solid token is worked on by a CPU, a hollow one waits in a queue"));
    connect(&Theme::instance(), &Theme::changed, this, qOverload<>(&QWidget::update));
}

void Legend::paintEvent(QPaintEvent*)
{
    QPainter painter(this);
    painter.setRenderHint(QPainter::Antialiasing);
    const Colors& c = Theme::instance().colors();
    painter.setFont(Theme::sans(11));
    // The third column holds the longest word.
    const int spare = width() - left_margin - 4;
    const int columns[] = {left_margin, left_margin + spare * 24 / 100, left_margin + spare * 48 / 100, left_margin + spare * 75 / 100, width()};
    const auto word = [&](int column, int row, int indent, const QString& text) {
        painter.setPen(c.textMuted);
        painter.drawText(QRect(columns[column] + indent, row * 22 + 4, columns[column + 1] - columns[column] - indent, 18), Qt::AlignVCenter, text);
    };
    const std::pair<QColor, QString> contexts[] = {
        {c.hardirq, tr("hardirq")}, {c.softirq, tr("softirq")}, {c.process, tr("process")}, {c.hardware, tr("hardware")}};
    int column = 0;
    for (const auto& [color, name] : contexts) {
        painter.setPen(Qt::NoPen);
        painter.setBrush(color);
        painter.drawRoundedRect(QRectF(columns[column], 8, 10, 10), 2, 2);
        word(column, 0, 16, name);
        ++column;
    }
    const qreal y = 22 + 7;
    painter.setBrush(c.flows[0]);
    painter.setPen(QPen(c.softirq, 2));
    painter.drawRoundedRect(QRectF(columns[0] + 1, y, 19, 12), 4, 4);
    word(0, 1, 27, tr("running"));
    painter.setBrush(c.card);
    painter.setPen(QPen(c.flows[0], 1.5));
    painter.drawRoundedRect(QRectF(columns[1] + 1, y, 19, 12), 3, 3);
    word(1, 1, 27, tr("waiting"));
    Theme::hatch(painter, QRectF(columns[2], y, 20, 12), c.softirq, 5);
    word(2, 1, 27, tr("ksoftirqd"));
    painter.setPen(QPen(c.drop, 1.6));
    painter.drawLine(QPointF(columns[3] + 1, y + 1.5), QPointF(columns[3] + 10, y + 10.5));
    painter.drawLine(QPointF(columns[3] + 10, y + 1.5), QPointF(columns[3] + 1, y + 10.5));
    word(3, 1, 16, tr("drop"));
}

} // namespace skbscope::ui
