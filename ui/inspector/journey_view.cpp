#include "ui/inspector/journey_view.h"

#include "core/catalog/catalog.h"
#include "ui/player/format.h"
#include "ui/player/session.h"
#include "ui/theme/theme.h"

#include <QAccessible>
#include <QHelpEvent>
#include <QMouseEvent>
#include <QPainter>
#include <QToolTip>
#include <algorithm>
#include <cmath>

namespace skbscope::ui {

namespace {
constexpr int row_height = 19;
constexpr int margin = 2;
} // namespace

JourneyView::JourneyView(Extent extent, QWidget* parent) : QWidget(parent), m_extent(extent)
{
    setMouseTracking(true);
    setFocusPolicy(Qt::StrongFocus);
    setAccessibleName(tr("Journey"));
    setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
    connect(&Theme::instance(), &Theme::changed, this, qOverload<>(&QWidget::update));
}

void JourneyView::setSession(Session* session)
{
    m_session = session;
    reload();
}

PacketId JourneyView::packet() const
{
    return m_session == nullptr ? PacketId::none : m_session->selection().packet;
}

void JourneyView::reload()
{
    m_packet = packet();
    m_all.clear();
    m_rows.clear();
    m_current = -1;
    m_deepest = 0;
    m_longest = {};
    m_knownEvents = m_session == nullptr ? 0 : m_session->trace().size();
    if (m_packet != PacketId::none && m_session->trace().has_packet(m_packet)) {
        m_all = journeyRows(m_session->trace(), m_session->journeys(), m_packet);
        m_timed = m_session->trace().info.times_trustworthy;
        for (const JourneyRow& row : m_all) {
            m_deepest = std::max(m_deepest, row.indent);
            if (row.to != never && !row.shared && row.kind != JourneyRow::Kind::verdict) {
                m_longest = std::max(m_longest, row.to - row.from);
            }
        }
    }
    refresh();
}

void JourneyView::refresh()
{
    if (packet() != m_packet ||
        (m_session != nullptr && m_packet != PacketId::none && m_session->trace().size() != m_knownEvents)) {
        reload();
        return;
    }
    const std::size_t before = m_rows.size();
    const int current = m_current;
    if (m_extent == Extent::whole) {
        if (m_rows.size() != m_all.size()) {
            m_rows = m_all;
        }
    } else {
        m_rows.clear();
        if (m_session != nullptr) {
            std::copy_if(m_all.begin(), m_all.end(), std::back_inserter(m_rows),
                         [&](const JourneyRow& row) { return row.begun(m_session->position()); });
        }
        // A wait that goes on is the newest thing there is, whatever else its old company does meanwhile.
        const int waiting = m_session == nullptr ? -1 : currentRow(*m_session, m_packet, m_rows);
        if (waiting >= 0 && m_rows[static_cast<std::size_t>(waiting)].kind == JourneyRow::Kind::wait) {
            std::rotate(m_rows.begin() + waiting, m_rows.begin() + waiting + 1, m_rows.end());
        }
        m_leftOut = 0;
        if (m_limit > 0 && m_rows.size() > static_cast<std::size_t>(m_limit)) {
            m_leftOut = m_rows.size() - static_cast<std::size_t>(m_limit) + 1;
            m_rows.erase(m_rows.begin(), m_rows.begin() + static_cast<std::ptrdiff_t>(m_leftOut));
        }
    }
    m_current = m_session == nullptr ? -1 : currentRow(*m_session, m_packet, m_rows);
    if (m_rows.size() != before || height() != sizeHint().height()) {
        updateGeometry();
        setFixedHeight(sizeHint().height());
    }
    if (m_current != current && m_current >= 0 && hasFocus()) {
        // Read out: the list is painted.
        setAccessibleDescription(whatIs(m_rows[static_cast<std::size_t>(m_current)]));
        QAccessibleEvent said(this, QAccessible::DescriptionChanged);
        QAccessible::updateAccessibility(&said);
    }
    if (m_current != current && m_current >= 0) {
        emit showLine(top() + m_current * row_height, row_height);
    }
    update();
}

QSize JourneyView::sizeHint() const
{
    const int rows = m_rows.empty() && m_packet != PacketId::none ? 1 : static_cast<int>(m_rows.size()); // one says that there is none
    return {300, top() + rows * row_height + margin};
}

QRect JourneyView::currentRect() const
{
    return m_current < 0 ? QRect() : QRect(0, top() + m_current * row_height, width(), row_height);
}

int JourneyView::top() const
{
    return margin + (m_leftOut > 0 ? row_height : 0);
}

void JourneyView::setLimit(int rows)
{
    if (rows != m_limit) {
        m_limit = rows;
        refresh();
    }
}

JourneyView::Columns JourneyView::columns() const
{
    const int right = width() - 2;
    if (!m_timed) {
        return {right, 0, right, right};
    }
    const int figure = right - QFontMetrics(Theme::mono(12)).horizontalAdvance(QStringLiteral("0.00 µs"));
    const int barWidth = std::clamp(width() / 6, 30, 80);
    return {figure - 10 - barWidth, barWidth, figure, right};
}

void JourneyView::paintEvent(QPaintEvent* event)
{
    QPainter painter(this);
    const Columns at = columns();
    if (m_leftOut > 0) {
        painter.setFont(Theme::sans(11));
        painter.setPen(Theme::instance().colors().textMuted);
        painter.drawText(QRect(0, margin, width(), row_height), Qt::AlignLeft | Qt::AlignVCenter,
                         tr("… %1 before, see Journey").arg(counted(m_leftOut, "line", "lines")));
    }
    if (m_rows.empty() && m_packet != PacketId::none) {
        painter.setFont(Theme::sans(12));
        painter.setPen(Theme::instance().colors().textMuted);
        painter.drawText(QRect(0, margin, width(), row_height), Qt::AlignLeft | Qt::AlignVCenter, tr("no step of it has been seen yet"));
    }
    const int first = std::max(0, (event->rect().top() - top()) / row_height);
    const int last = std::min(static_cast<int>(m_rows.size()) - 1, (event->rect().bottom() - top()) / row_height);
    for (int i = first; i <= last; ++i) {
        paintRow(painter, i, top() + i * row_height, at);
    }
    if (hasFocus()) {
        painter.setPen(QPen(Theme::instance().colors().accent, 1, Qt::DashLine));
        painter.setBrush(Qt::NoBrush);
        painter.drawRect((m_current < 0 ? rect() : currentRect()).adjusted(0, 0, -1, -1));
    }
}

void JourneyView::paintRow(QPainter& painter, int index, int y, const Columns& at) const
{
    const Theme& theme = Theme::instance();
    const Colors& c = theme.colors();
    const JourneyRow& row = m_rows[static_cast<std::size_t>(index)];
    const bool begun = row.begun(m_session->position());
    const bool now = index == m_current;
    const QRect line(0, y, width(), row_height);

    if (now) {
        QColor wash = c.accent;
        wash.setAlphaF(theme.isDark() ? 0.20F : 0.10F);
        painter.setPen(Qt::NoPen);
        painter.setBrush(wash);
        painter.setRenderHint(QPainter::Antialiasing);
        painter.drawRoundedRect(QRectF(line).adjusted(0, 1, 0, -1), 3, 3);
        painter.setRenderHint(QPainter::Antialiasing, false);
    } else if (index == m_hover && row.kind != JourneyRow::Kind::segment) {
        painter.fillRect(line, c.band);
    }
    const QColor ink = begun ? c.text : c.textFaint;

    if (row.kind == JourneyRow::Kind::segment) {
        painter.setFont(Theme::sans(11, QFont::DemiBold));
        painter.setPen(begun ? theme.contextText(row.context) : c.textFaint);
        painter.drawText(line.adjusted(0, 2, 0, 0), Qt::AlignLeft | Qt::AlignVCenter,
                         QStringLiteral("CPU %1 · %2").arg(static_cast<int>(row.cpu)).arg(contextText(row.context)));
        if (!m_timed) {
            return;
        }
        painter.setFont(Theme::sans(11));
        painter.setPen(c.textFaint);
        painter.drawText(line.adjusted(0, 2, -2, 0), Qt::AlignRight | Qt::AlignVCenter,
                         QStringLiteral("at %1").arg(timeText(row.from, m_session->origin())));
        return;
    }
    if (row.kind == JourneyRow::Kind::verdict) {
        const QColor color = row.verdict == Verdict::dropped ? c.drop : row.verdict == Verdict::lost ? c.textMuted : c.good;
        painter.setFont(Theme::sans(12, QFont::DemiBold));
        painter.setPen(begun ? color : c.textFaint);
        painter.drawText(line, Qt::AlignLeft | Qt::AlignVCenter,
                         (row.verdict == Verdict::dropped ? QStringLiteral("✕ ") : QStringLiteral("● ")) +
                             verdictText(row.verdict, row.reason));
        return;
    }

    const bool wait = row.kind == JourneyRow::Kind::wait;
    QColor context = wait ? c.hardware : theme.context(row.context);
    if (!begun) {
        context.setAlphaF(0.35F);
    }
    // The edge in the colour of the context; a wait has none.
    if (!wait) {
        painter.fillRect(QRectF(0, y + 3, 3, row_height - 6), context);
    }
    const int textRight = at.bar - 8;
    const double step = m_deepest == 0 ? 0 : std::clamp(double(textRight) * 0.34 / m_deepest, 1.4, 10.0);
    const int x = 10 + static_cast<int>(std::lround(row.indent * step));
    const QRect words(x, y, textRight - x, row_height);
    if (wait) {
        painter.setFont(Theme::sans(12));
        painter.setPen(begun ? c.textMuted : c.textFaint);
        const QString shown = waitText(m_session->trace().queue(row.queue));
        painter.drawText(words, Qt::AlignLeft | Qt::AlignVCenter,
                         painter.fontMetrics().elidedText(shown, Qt::ElideRight, words.width()));
    } else {
        QFont font = Theme::mono(12, now ? QFont::DemiBold : QFont::Normal);
        font.setItalic(row.shared);
        painter.setFont(font);
        painter.setPen(row.shared && begun ? c.textMuted : ink);
        painter.drawText(words, Qt::AlignLeft | Qt::AlignVCenter,
                         // Names of one family differ at their ends: __netif_receive_skb_list, …_list_core, …_core.
                         painter.fontMetrics().elidedText(text(m_session->trace().function_name(row.function)), Qt::ElideMiddle,
                                                          words.width()));
    }
    const bool going = begun && (row.to == never || row.to > m_session->now());
    if (now && !m_timed) {
        painter.setFont(Theme::mono(12, QFont::DemiBold));
        painter.setPen(c.accent);
        painter.drawText(line.adjusted(0, 0, -4, 0), Qt::AlignRight | Qt::AlignVCenter, tr("now"));
    }
    if (!m_timed) {
        return;
    }
    const std::optional<Duration> length = row.to != never && !going ? std::optional(row.to - row.from)
                                           : wait && begun           ? std::optional(m_session->now() - row.from)
                                           : !begun && row.to != never ? std::optional(row.to - row.from)
                                                                       : std::nullopt;
    if (length && m_longest.ns > 0) {
        const double part = std::min(1.0, static_cast<double>(length->ns) / static_cast<double>(m_longest.ns));
        const QRectF bar(at.bar, y + 5, std::max(2.0, part * at.barWidth), row_height - 10);
        if (wait) {
            Theme::hatch(painter, bar, begun ? c.hardware : c.lineFaint, 5);
        } else if (row.shared) {
            // One call for many: an outline, for the time is not this packet's alone.
            painter.setPen(QPen(context, 1));
            painter.setBrush(Qt::NoBrush);
            painter.drawRect(bar.adjusted(0.5, 0.5, -0.5, -0.5));
        } else {
            painter.fillRect(bar, context);
        }
    }
    painter.setFont(Theme::mono(12, now ? QFont::DemiBold : QFont::Normal));
    const QRect figure(at.bar, y, at.right - at.bar, row_height);
    if (now && !wait) {
        painter.setPen(c.accent);
        painter.drawText(figure, Qt::AlignRight | Qt::AlignVCenter, tr("now"));
    } else if (length) {
        painter.setPen(begun ? (now ? c.accent : c.textMuted) : c.textFaint);
        painter.drawText(figure, Qt::AlignRight | Qt::AlignVCenter, durationText(*length));
    } else if (going) {
        painter.setPen(c.textFaint);
        painter.drawText(figure, Qt::AlignRight | Qt::AlignVCenter, QStringLiteral("…"));
    }
}

int JourneyView::rowAt(int y) const
{
    const int index = (y - top()) / row_height;
    return y < top() || index >= static_cast<int>(m_rows.size()) ? -1 : index;
}

void JourneyView::mouseMoveEvent(QMouseEvent* event)
{
    const int row = rowAt(event->pos().y());
    if (row != m_hover) {
        m_hover = row;
        setCursor(row >= 0 ? Qt::PointingHandCursor : Qt::ArrowCursor);
        update();
    }
}

void JourneyView::leaveEvent(QEvent*)
{
    m_hover = -1;
    update();
}

void JourneyView::mousePressEvent(QMouseEvent* event)
{
    choose(rowAt(event->pos().y()));
}

void JourneyView::choose(int index)
{
    if (index < 0 || index >= static_cast<int>(m_rows.size()) || m_session == nullptr) {
        return;
    }
    // A copy: seeking shortens the list that the row stands in.
    const JourneyRow row = m_rows[static_cast<std::size_t>(index)];
    m_session->pause();
    Selection selection;
    selection.packet = m_packet;
    selection.function = row.kind == JourneyRow::Kind::call ? row.function : FunctionId::none;
    selection.queue = row.queue;
    if (row.queue != QueueId::none) {
        selection.room = m_session->trace().queue(row.queue).room;
    }
    m_session->select(selection);
    m_session->seekToEvent(row.ordinal + std::size_t{1});
}

void JourneyView::keyPressEvent(QKeyEvent* event)
{
    const int direction = event->key() == Qt::Key_Down ? 1 : event->key() == Qt::Key_Up ? -1 : 0;
    if (direction == 0) {
        QWidget::keyPressEvent(event);
        return;
    }
    for (int i = m_current + direction; i >= 0 && i < static_cast<int>(m_rows.size()); i += direction) {
        if (m_rows[static_cast<std::size_t>(i)].kind != JourneyRow::Kind::segment) {
            choose(i);
            return;
        }
    }
}

QString JourneyView::whatIs(const JourneyRow& row) const
{
    const Trace& trace = m_session->trace();
    if (row.kind == JourneyRow::Kind::wait) {
        return tr("Waits in %1").arg(text(trace.queue(row.queue).name));
    }
    if (row.kind != JourneyRow::Kind::call) {
        return {};
    }
    QString words = text(trace.function_name(row.function));
    if (to_index(row.function) < Catalog::function_count()) {
        words += QStringLiteral("\n") + text(Catalog::function(row.function).what);
    }
    if (row.shared) {
        words += tr("\nOne call for several packets; its time is not this packet's alone.");
    }
    if (row.derived) {
        words += tr("\nNot certain: given to this packet by what ran before and after.");
    }
    const Event& event = trace[row.ordinal];
    if (event.via() != via_model) {
        words += tr("\nSeen through: %1").arg(text(via_text(event.via())));
    }
    return words;
}

bool JourneyView::event(QEvent* event)
{
    if (event->type() == QEvent::ToolTip) {
        const auto* help = static_cast<QHelpEvent*>(event);
        const int row = rowAt(help->pos().y());
        const QString words = row < 0 ? QString() : whatIs(m_rows[static_cast<std::size_t>(row)]);
        if (words.isEmpty()) {
            QToolTip::hideText();
        } else {
            QToolTip::showText(help->globalPos(), words, this);
        }
        return true;
    }
    return QWidget::event(event);
}

} // namespace skbscope::ui
