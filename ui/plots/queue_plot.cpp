#include "ui/plots/queue_plot.h"

#include "ui/player/format.h"
#include "ui/theme/theme.h"

#include <QKeyEvent>
#include <QMouseEvent>
#include <QPainter>
#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <qcustomplot.h>
#include <utility>

namespace skbscope::ui {

namespace {

constexpr std::size_t most_lines = 5;
constexpr double legend_height = 22;
constexpr double label_height = 18;

} // namespace

// ---- levels --------------------------------------------------------------------------------------------------------------------

void QueueLevels::reset()
{
    m_taken = 0;
    m_series.clear();
    m_waitsIn.clear();
}

void QueueLevels::update()
{
    const Trace& trace = m_session.trace();
    const auto queues = trace.queues();
    for (std::size_t i = m_series.size(); i < queues.size(); ++i) {
        Series fresh;
        fresh.queue = static_cast<QueueId>(i);
        fresh.bytes = queues[i].unit == QueueUnit::bytes;
        fresh.limits.push_back({0, static_cast<double>(queues[i].limit)});
        m_series.push_back(std::move(fresh));
    }
    const auto add = [](Series& s, std::uint64_t ns, double level) {
        s.peak = std::max(s.peak, level);
        ++s.changes;
        if (!s.points.empty() && s.points.back().ns == ns) {
            s.points.back().level = level; // only the last of one moment can be seen
            return;
        }
        s.points.push_back({ns, level});
    };
    const auto count = [&](std::size_t queue, std::uint64_t ns, double by) {
        Series& s = m_series[queue];
        s.packets = std::max(0.0, s.packets + by);
        if (!s.hasFill) {
            add(s, ns, s.packets);
        }
    };
    for (; m_taken < trace.size(); ++m_taken) {
        const Event& event = trace[m_taken];
        switch (event.event_kind()) {
        case EventKind::enqueue:
        case EventKind::dequeue: {
            if (event.arg == 0 || event.arg >= m_series.size()) {
                break;
            }
            const bool in = event.event_kind() == EventKind::enqueue;
            if (event.packet >= m_waitsIn.size()) {
                m_waitsIn.resize(std::max<std::size_t>(event.packet + std::size_t{1}, trace.packet_count() + 1));
            }
            std::uint32_t& waitsIn = m_waitsIn[event.packet];
            if (!in && waitsIn != event.arg) {
                break;
            }
            waitsIn = in ? event.arg : 0;
            count(event.arg, event.time_ns, in ? 1 : -1);
            break;
        }
        case EventKind::drop:
        case EventKind::free:
            // Whoever ends while it waits is out of its queue, too: a queue that is purged, a packet refused after all.
            if (event.packet < m_waitsIn.size() && m_waitsIn[event.packet] != 0) {
                count(std::exchange(m_waitsIn[event.packet], 0), event.time_ns, -1);
            }
            break;
        case EventKind::queue: {
            const QueueChange& change = trace.queue_changes()[event.arg];
            if (to_index(change.queue) >= m_series.size()) {
                break;
            }
            Series& s = m_series[to_index(change.queue)];
            if (change.what == QueueChange::What::limit) {
                s.limits.push_back({event.time_ns, static_cast<double>(change.after)});
            } else if (s.bytes) {
                if (!s.hasFill) {
                    // Until now counted in packets for want of better.
                    s.hasFill = true;
                    s.points.clear();
                    s.peak = 0;
                }
                add(s, event.time_ns, static_cast<double>(change.after));
            }
            break;
        }
        default: break;
        }
    }
}

// ---- the widget ----------------------------------------------------------------------------------------------------------------

QueuePlot::QueuePlot(Session* session, TimeAxis* axis, QWidget* parent)
    : QWidget(parent), m_session(session), m_axis(axis), m_levels(*session), m_plot(std::make_unique<QCustomPlot>())
{
    setFocusPolicy(Qt::TabFocus);
    setAccessibleName(tr("Queue lengths over time"));
    m_plot->setAttribute(Qt::WA_DontShowOnScreen);
    m_plot->setPlottingHint(QCP::phFastPolylines, true);
    m_plot->axisRect()->setAutoMargins(QCP::msNone);
    m_plot->axisRect()->setMargins(QMargins(0, 0, 0, 0));
    for (QCPAxis* each : {m_plot->xAxis, m_plot->yAxis, m_plot->xAxis2, m_plot->yAxis2}) {
        each->setVisible(false);
        each->grid()->setVisible(false);
    }
    const auto repaint = [this] {
        m_dirty = true;
        update();
    };
    connect(session, &Session::playheadMoved, this, qOverload<>(&QWidget::update));
    connect(session, &Session::traceGrown, this, repaint);
    connect(session, &Session::selectionChanged, this, repaint);
    connect(session, &Session::traceReplaced, this, [this, repaint] {
        m_levels.reset();
        repaint();
    });
    connect(axis, &TimeAxis::rangeChanged, this, repaint);
    connect(&Theme::instance(), &Theme::changed, this, repaint);
}

QueuePlot::~QueuePlot() = default;

const QueueLevels& QueuePlot::levels()
{
    m_levels.update();
    return m_levels;
}

QRectF QueuePlot::frame() const
{
    const QRectF area = TimeAxis::area(*this);
    return area.adjusted(-0.5, 4.5, 0.5, -(label_height + 0.5));
}

QRectF QueuePlot::plotArea() const
{
    return frame().adjusted(0.5, legend_height, -0.5, -5);
}

std::vector<QueueId> QueuePlot::shownQueues()
{
    const auto queues = m_session->trace().queues();
    std::vector<std::pair<double, QueueId>> ranked;
    for (const QueueLevels::Series& s : levels().series()) {
        const QueueRecord& record = to_index(s.queue) < queues.size() ? queues[to_index(s.queue)] : queues[0];
        const bool here = to_index(m_session->host()) == 0 || record.host == m_session->host();
        if (s.changes == 0 || !here || record.kind == QueueKind::wire) {
            continue;
        }
        // What came near its limit first, then what was long. Readers (waiting tasks) and the TX ring tell little.
        const double limit = s.limits.back().level;
        double weight = limit > 0 ? s.peak / limit : 0;
        weight += record.kind == QueueKind::backlog || record.kind == QueueKind::rx_ring || record.kind == QueueKind::socket ? 0.5 : 0;
        weight -= record.kind == QueueKind::reader || record.kind == QueueKind::gro_list ? 2 : 0;
        if (weight < -0.5 && !ranked.empty()) {
            continue;
        }
        ranked.emplace_back(-weight, s.queue);
    }
    std::stable_sort(ranked.begin(), ranked.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    if (ranked.size() > most_lines) {
        ranked.resize(most_lines);
    }
    std::vector<QueueId> shown;
    for (const auto& [weight, queue] : ranked) {
        shown.push_back(queue);
    }
    // A steady order, so that a colour does not jump when another queue fills.
    std::sort(shown.begin(), shown.end(), [&](QueueId a, QueueId b) { return to_index(a) < to_index(b); });
    return shown;
}

void QueuePlot::refill()
{
    m_levels.update();
    const Trace& trace = m_session->trace();
    const Colors& c = Theme::instance().colors();
    m_plot->clearGraphs();
    m_plot->clearItems();
    m_lines.clear();
    m_pointsDrawn = 0;
    const QRectF area = plotArea();
    const double first = m_axis->begin();
    const double last = m_axis->end();
    m_plot->xAxis->setRange(first, last);
    m_plot->yAxis->setRange(0, 1);
    const double known = static_cast<double>(std::max(m_session->lastMoment().ns, m_session->now().ns));

    double peak = 1;
    double peakBytes = 1;
    const std::vector<QueueId> shown = shownQueues();
    for (const QueueId queue : shown) {
        const auto& s = m_levels.series()[to_index(queue)];
        (s.bytes && s.hasFill ? peakBytes : peak) = std::max(s.bytes && s.hasFill ? peakBytes : peak, s.peak);
    }
    m_top = peak * 1.18;
    m_topBytes = peakBytes * 1.18;
    // A limit is drawn when it is near enough not to press the lines flat.
    for (const QueueId queue : shown) {
        const auto& s = m_levels.series()[to_index(queue)];
        const double limit = s.limits.back().level;
        double& top = s.bytes && s.hasFill ? m_topBytes : m_top;
        const double near = s.bytes && s.hasFill ? peakBytes : peak;
        if (limit > 0 && limit <= near * 2.5 && s.peak * 2.5 >= limit) {
            top = std::max(top, limit * 1.18);
        }
    }

    const auto& selection = m_session->selection();
    std::size_t flow = 0;
    std::map<QueueKind, std::size_t> sameKind;
    for (const QueueId queue : shown) {
        const auto& s = m_levels.series()[to_index(queue)];
        const QueueKind kind = trace.queue(queue).kind;
        Line line;
        line.queue = queue;
        line.bytes = s.bytes && s.hasFill;
        switch (kind) {
        case QueueKind::backlog:
            line.color = c.drop;
            break;
        case QueueKind::rx_ring: line.color = c.flows[0]; break;
        case QueueKind::socket: line.color = c.flows[2]; break;
        case QueueKind::qdisc: line.color = c.flows[1]; break;
        case QueueKind::tx_ring: line.color = c.flows[3]; break;
        default: line.color = flow++ == 0 ? c.softirq : c.textMuted; break;
        }
        // Several of a kind share the colour and differ by their line.
        constexpr std::array styles{Qt::SolidLine, Qt::DashDotLine, Qt::DotLine};
        line.style = styles[std::min<std::size_t>(sameKind[kind]++, styles.size() - 1)];
        const double top = line.bytes ? m_topBytes : m_top;
        // One picture column holds at most three points of a line: the lowest, the highest and the last in it.
        QVector<double> keys;
        QVector<double> values;
        const auto& points = s.points;
        auto it = std::lower_bound(points.begin(), points.end(), static_cast<std::uint64_t>(std::max(0.0, first)),
                                   [](const QueueLevels::Point& p, std::uint64_t t) { return p.ns < t; });
        keys.push_back(first);
        values.push_back(it == points.begin() ? 0 : std::prev(it)->level / top);
        const double column = (last - first) / std::max(1.0, area.width());
        while (it != points.end() && static_cast<double>(it->ns) <= last) {
            const auto at = static_cast<double>(it->ns);
            const double edge = at + column;
            double low = it->level;
            double high = it->level;
            const double opened = it->level;
            auto end = it;
            std::size_t count = 0;
            while (end != points.end() && static_cast<double>(end->ns) < edge) {
                low = std::min(low, end->level);
                high = std::max(high, end->level);
                ++end;
                ++count;
            }
            if (count <= 2) {
                for (auto each = it; each != end; ++each) {
                    keys.push_back(static_cast<double>(each->ns));
                    values.push_back(each->level / top);
                }
            } else {
                keys.append({at, at + column / 3, at + column * 2 / 3});
                values.append({(opened - low < high - opened ? low : high) / top, (opened - low < high - opened ? high : low) / top, std::prev(end)->level / top});
            }
            it = end;
        }
        keys.push_back(std::max(std::min(known, last), keys.back()));
        values.push_back(values.back());

        m_pointsDrawn += static_cast<std::size_t>(keys.size());
        QCPGraph* graph = m_plot->addGraph();
        graph->setLineStyle(QCPGraph::lsStepLeft);
        graph->setAdaptiveSampling(false);
        graph->setAntialiased(false);
        const bool chosen = selection.queue == queue;
        // A wide pen on thousands of crossing steps costs seconds; a thin one is drawn at once and looks the same there.
        const double width = keys.size() > 1500 ? 1 : chosen ? 3 : 1.8;
        graph->setPen(QPen(line.color, width, line.style, Qt::FlatCap, Qt::MiterJoin));
        graph->setData(keys, values, true);

        line.limit = s.limits.back().level;
        if (line.limit > 0 && line.limit <= top) {
            line.limitDrawn = true;
            // The limit as it was at each time: a knob may have moved it.
            QVector<double> when;
            QVector<double> height;
            for (const auto& change : s.limits) {
                when.push_back(std::max(first, static_cast<double>(change.ns)));
                height.push_back(change.level / top);
            }
            when.push_back(last);
            height.push_back(height.back());
            QCPGraph* limit = m_plot->addGraph();
            limit->setLineStyle(QCPGraph::lsStepLeft);
            limit->setAntialiased(false);
            QPen pen(line.color, 1);
            pen.setDashPattern({5, 4});
            limit->setPen(pen);
            limit->setData(when, height, true);
        }
        m_lines.push_back(line);
    }
}

void QueuePlot::replot()
{
    refill();
    const qreal dpr = devicePixelRatioF();
    const Colors& c = Theme::instance().colors();
    m_picture = QPixmap((QSizeF(size()) * dpr).toSize());
    m_picture.setDevicePixelRatio(dpr);
    m_picture.fill(c.panel);
    QPainter p(&m_picture);
    const QRectF frame = this->frame();
    const QRectF area = plotArea();
    p.setRenderHint(QPainter::Antialiasing);
    p.setPen(QPen(c.border, 1));
    p.setBrush(m_plot->graphCount() == 0 ? c.panel : c.panel);
    p.drawRoundedRect(frame, radius::control, radius::control);
    p.setPen(c.text);
    p.setFont(Theme::sans(12, QFont::DemiBold));
    p.drawText(QRectF(space::wide - 2, frame.top() + 1, TimeAxis::gutter - 18, 20), Qt::AlignVCenter | Qt::AlignLeft, tr("queues"));
    // Moments: only where the clock can be trusted.
    const Trace& trace = m_session->trace();
    p.setFont(Theme::mono(9.5));
    if (trace.info.times_trustworthy) {
        for (const TimeAxis::Tick& tick : m_axis->ticks(area.width())) {
            const double x = m_axis->xOf(tick.ns, area);
            p.setPen(QPen(c.band, 1));
            if (x > area.left() + 2 && x < area.right() - 2) {
                p.drawLine(QPointF(std::round(x) + 0.5, area.top()), QPointF(std::round(x) + 0.5, frame.bottom() - 1));
            }
            p.setPen(c.textMuted);
            const QRectF place(x - 50, frame.bottom() + 1, 100, label_height - 2);
            if (place.left() > area.left() - 46 && place.right() < width() + 36) {
                p.drawText(place, Qt::AlignHCenter | Qt::AlignVCenter, tick.label);
            }
        }
    } else {
        const QString words = tr("order real, times not");
        const QFont font = Theme::sans(10.5, QFont::DemiBold);
        const qreal wide = QFontMetricsF(font).horizontalAdvance(words) + 16;
        const QRectF badge(area.left(), frame.bottom() + 2, wide, label_height - 3);
        p.setPen(QPen(c.softirq, 1));
        QColor fill = c.softirq;
        fill.setAlphaF(0.14F);
        p.setBrush(fill);
        p.drawRoundedRect(badge, badge.height() / 2, badge.height() / 2);
        p.setPen(c.softirqText);
        p.setFont(font);
        p.drawText(badge, Qt::AlignCenter, words);
    }
    p.end();
    // The lines by QCustomPlot, on a transparent ground between the frame and the words.
    const QSize inner(std::max(10, static_cast<int>(area.width())), std::max(10, static_cast<int>(area.height())));
    m_plot->setBackground(Qt::transparent);
    m_plot->setBackground(QBrush(Qt::NoBrush));
    m_plot->setViewport(QRect(QPoint(), inner));
    QPixmap lines((QSizeF(inner) * dpr).toSize());
    lines.setDevicePixelRatio(dpr);
    lines.fill(Qt::transparent);
    {
        QCPPainter painter(&lines);
        m_plot->toPainter(&painter, inner.width(), inner.height());
    }
    QPainter over(&m_picture);
    over.drawPixmap(area.topLeft(), lines);
    m_dirty = false;
}

double QueuePlot::limitY(const Line& line, const QRectF& area) const
{
    return area.bottom() - line.limit / (line.bytes ? m_topBytes : m_top) * area.height();
}

/// In the middle, or as near to it as no limit and its name stand in the way.
double QueuePlot::heightForWords(const QRectF& area) const
{
    constexpr double step = 4;
    constexpr double above = 12, below = 24; // of the middle of the words; a limit's name stands on its line
    const auto isFree = [&](double y) {
        return std::ranges::none_of(m_lines, [&](const Line& line) {
            const double limit = limitY(line, area);
            return line.limitDrawn && limit > y - above && limit < y + below;
        });
    };
    const double middle = area.center().y();
    for (double away = 0; away < area.height() / 2 - above; away += step) {
        for (const double y : {middle + away, middle - away}) {
            if (isFree(y)) {
                return y;
            }
        }
    }
    return middle;
}

void QueuePlot::paintEvent(QPaintEvent*)
{
    const QSize pixels = (QSizeF(size()) * devicePixelRatioF()).toSize();
    if (m_dirty || m_picture.size() != pixels) {
        replot();
    }
    QPainter p(this);
    p.drawPixmap(0, 0, m_picture);
    const Colors& c = Theme::instance().colors();
    const QRectF frame = this->frame();
    const QRectF area = plotArea();
    const Trace& trace = m_session->trace();
    m_axis->paintFuture(p, area);
    m_axis->paintUnknown(p, area, heightForWords(area));
    // The limits' names, at the right end of their lines.
    p.setFont(Theme::sans(10.5));
    double lastY = -100;
    for (const Line& line : m_lines) {
        if (!line.limitDrawn) {
            continue;
        }
        const QueueRecord& record = trace.queue(line.queue);
        QString name = record.setting.empty() ? text(record.name) : text(record.setting);
        name = name.mid(name.lastIndexOf('.') + 1);
        const double y = limitY(line, area);
        if (std::abs(y - lastY) < 12) {
            continue;
        }
        lastY = y;
        p.setPen(line.color);
        p.drawText(QRectF(area.right() - 260, y - 15, 252, 14), Qt::AlignRight | Qt::AlignBottom,
                      QStringLiteral("%1 %2").arg(name, line.bytes ? bytesText(static_cast<std::uint64_t>(line.limit)) : countText(static_cast<std::uint64_t>(line.limit))));
    }
    m_axis->paintPlayhead(p, area, 0, frame.bottom() + 4, false);
    // The legend with what each queue holds at the playhead; its words stay clear of the playhead's line.
    p.setRenderHint(QPainter::Antialiasing);
    const StackState& state = m_session->state();
    const QFont font = Theme::sans(11);
    const QFont bold = Theme::sans(11, QFont::DemiBold);
    double x = frame.left() + 12;
    for (Line& line : m_lines) {
        const QueueRecord& record = trace.queue(line.queue);
        QString now = QStringLiteral("0");
        if (to_index(line.queue) < state.queues().size()) {
            const QueueState& queue = state.queues()[to_index(line.queue)];
            const std::uint64_t level = queue.level(record.unit);
            now = line.limitDrawn || queue.limit == 0
                      ? (record.unit == QueueUnit::bytes ? bytesText(level) : countText(level))
                      : levelText(level, queue.limit, record.unit);
        }
        const QString name = text(record.name);
        const double width = 16 + QFontMetricsF(font).horizontalAdvance(name) + 6 + QFontMetricsF(bold).horizontalAdvance(now);
        if (x + width > frame.right() - 6) {
            break;
        }
        line.legend = QRectF(x, frame.top() + 4, width, 16);
        p.fillRect(line.legend.adjusted(-3, 0, 3, 0), c.panel);
        if (line.style == Qt::SolidLine) {
            p.setPen(Qt::NoPen);
            p.setBrush(line.color);
            p.drawRoundedRect(QRectF(x, frame.top() + 7, 10, 10), 2.5, 2.5);
        } else {
            p.setPen(QPen(line.color, 2, Qt::DotLine));
            p.drawLine(QPointF(x, frame.top() + 12), QPointF(x + 11, frame.top() + 12));
        }
        p.setFont(font);
        p.setPen(c.textMuted);
        p.drawText(QPointF(x + 16, frame.top() + 16), name);
        p.setFont(bold);
        p.setPen(c.text);
        p.drawText(QPointF(x + 16 + QFontMetricsF(font).horizontalAdvance(name) + 6, frame.top() + 16), now);
        x += std::max(width + 26, 130.0);
    }
    if (m_lines.empty()) {
        p.setFont(font);
        p.setPen(c.textMuted);
        p.drawText(frame.adjusted(12, 4, 0, 0), Qt::AlignLeft | Qt::AlignTop, tr("no queue has held anything yet"));
    }
    if (hasFocus()) {
        p.setPen(QPen(c.accent, 1, Qt::DashLine));
        p.setBrush(Qt::NoBrush);
        p.drawRoundedRect(QRectF(rect()).adjusted(1.5, 1.5, -1.5, -1.5), radius::control, radius::control);
    }
}

void QueuePlot::resizeEvent(QResizeEvent*)
{
    m_dirty = true;
}

void QueuePlot::wheelEvent(QWheelEvent* event)
{
    m_axis->wheel(event, TimeAxis::area(*this));
}

void QueuePlot::mousePressEvent(QMouseEvent* event)
{
    for (const Line& line : m_lines) {
        if (line.legend.contains(event->position()) && event->button() == Qt::LeftButton) {
            Selection selection = m_session->selection();
            selection.queue = line.queue;
            selection.room = m_session->trace().queue(line.queue).room;
            selection.function = FunctionId::none;
            m_session->select(selection);
            return;
        }
    }
    m_axis->press(event, TimeAxis::area(*this));
}

void QueuePlot::mouseMoveEvent(QMouseEvent* event)
{
    m_axis->move(event, TimeAxis::area(*this));
}

void QueuePlot::mouseReleaseEvent(QMouseEvent* event)
{
    m_axis->release(event, TimeAxis::area(*this));
}

void QueuePlot::mouseDoubleClickEvent(QMouseEvent* event)
{
    m_axis->doubleClick(event);
}

void QueuePlot::keyPressEvent(QKeyEvent* event)
{
    if (!m_axis->key(event)) {
        QWidget::keyPressEvent(event);
    }
}

} // namespace skbscope::ui
