#include "ui/timeline/cpu_lanes.h"

#include "core/catalog/catalog.h"
#include "ui/player/format.h"
#include "ui/theme/theme.h"

#include <QHelpEvent>
#include <QMouseEvent>
#include <QPainter>
#include <QToolTip>
#include <algorithm>
#include <cmath>
#include <limits>

namespace skbscope::ui {

namespace {

constexpr qreal words_size = 10;

constexpr int lane_height = 24;
constexpr int lane_gap = 12;
constexpr int top_margin = 14;
/// Work seen only by its entries (no returns) holds together while its entries are this close. Longer than a step takes on
/// an emulated CPU, shorter than the time between two packets that anybody would call apart.
constexpr std::uint64_t hold_together_ns = 100'000;

constexpr std::uint64_t unknown_end = std::numeric_limits<std::uint64_t>::max();

std::size_t levelOf(Context context)
{
    return std::min<std::size_t>(static_cast<std::size_t>(context), 2);
}

} // namespace

// ---- blocks ------------------------------------------------------------------------------------------------------------------

void CpuBlocks::reset()
{
    m_taken = 0;
    m_lanes.clear();
    m_work.clear();
    m_laneOf.clear();
    m_isKsoftirqd.clear();
}

std::size_t CpuBlocks::lane(const Event& event)
{
    if (event.cpu >= m_laneOf.size()) {
        m_laneOf.resize(event.cpu + std::size_t{1}, -1);
    }
    if (m_laneOf[event.cpu] < 0) {
        // Kept by CPU number: later ones move up.
        const auto at = std::lower_bound(m_lanes.begin(), m_lanes.end(), event.cpu, [](const Lane& l, std::uint16_t cpu) { return l.cpu < cpu; });
        const auto row = at - m_lanes.begin();
        Lane fresh;
        fresh.cpu = event.cpu;
        fresh.host = event.host_id();
        m_lanes.insert(at, std::move(fresh));
        m_work.insert(m_work.begin() + row, Work{});
        for (std::size_t i = static_cast<std::size_t>(row); i < m_lanes.size(); ++i) {
            m_laneOf[m_lanes[i].cpu] = static_cast<int>(i);
        }
    }
    return static_cast<std::size_t>(m_laneOf[event.cpu]);
}

void CpuBlocks::add(std::size_t row, const Open& open, std::uint64_t begin, std::uint64_t end)
{
    Lane& lane = m_lanes[row];
    const bool thread = open.level == 1 && open.task < m_isKsoftirqd.size() && m_isKsoftirqd[open.task];
    auto& blocks = lane.levels[open.level];
    if (!blocks.empty()) {
        CpuBlock& last = blocks.back();
        if (last.end == begin && last.ksoftirqd == thread && (open.level != 0 || last.task == open.task)) {
            last.end = std::max(last.end, end);
            return;
        }
    }
    // Named after the outermost call of its level: that is what the CPU was at.
    const auto& stack = m_work[row].stack;
    const auto outer = std::find_if(stack.begin(), stack.end(), [&](const Open& o) { return o.level == open.level; });
    blocks.push_back({begin, end, outer == stack.end() ? open.ordinal : outer->ordinal, open.task, thread});
}

void CpuBlocks::advance(std::size_t row, std::uint64_t t)
{
    Work& work = m_work[row];
    while (!work.stack.empty()) {
        Open& top = work.stack.back();
        if (top.end == unknown_end) {
            // A model writes a call's end when it returns.
            const Event& event = m_session.trace()[top.ordinal];
            top.end = event.has_end() ? event.time_ns + event.duration_ns : unknown_end;
        }
        const std::uint64_t end = std::min(top.end, t);
        if (end > work.cursor) {
            add(row, top, work.cursor, end);
            work.cursor = end;
        }
        if (top.end > t) {
            return;
        }
        work.stack.pop_back();
    }
    work.cursor = std::max(work.cursor, t);
}

void CpuBlocks::call(std::size_t row, const Event& event, std::uint32_t ordinal)
{
    Work& work = m_work[row];
    const auto level = static_cast<std::uint8_t>(levelOf(event.context()));
    // Calls without a known end: they run on while this one is theirs or interrupts them; else they have ended, at the
    // latest moment they were seen, or now if that is close.
    for (std::size_t i = work.stack.size(); i-- > 0;) {
        Open& open = work.stack[i];
        if (open.end != unknown_end) {
            continue;
        }
        // That an interrupt, or the task's next call, comes long after says nothing of the last one.
        const bool close = event.time_ns - open.lastSeen < hold_together_ns;
        const bool deeper = level == open.level && event.depth > open.depth && (level != 0 || open.task == event.task);
        const bool inside = close && (level > open.level || deeper);
        if (inside) {
            open.lastSeen = event.time_ns;
            continue;
        }
        open.end = close && level == open.level ? event.time_ns : std::max(open.lastSeen, work.cursor);
    }
    advance(row, event.time_ns);
    work.cursor = std::max(work.cursor, event.time_ns);
    Open open;
    open.ordinal = ordinal;
    open.end = event.has_end() ? event.time_ns + event.duration_ns : unknown_end;
    open.lastSeen = event.time_ns;
    open.level = level;
    open.depth = event.depth;
    open.task = event.task;
    work.stack.push_back(open);
    if (open.end == open.lastSeen || open.end == unknown_end) {
        add(row, open, event.time_ns, event.time_ns); // seen, however short
    }
}

void CpuBlocks::update()
{
    const Trace& trace = m_session.trace();
    for (std::size_t i = m_isKsoftirqd.size(); i < trace.tasks().size(); ++i) {
        m_isKsoftirqd.push_back(trace.tasks()[i].name.starts_with("ksoftirqd"));
    }
    const HostId host = m_session.host();
    const bool grown = m_taken < trace.size();
    for (; m_taken < trace.size(); ++m_taken) {
        const Event& event = trace[m_taken];
        if (to_index(host) != 0 && event.host_id() != host) {
            continue;
        }
        switch (event.event_kind()) {
        case EventKind::call: call(lane(event), event, static_cast<std::uint32_t>(m_taken)); break;
        case EventKind::exit: {
            const std::size_t row = lane(event);
            for (Open& open : m_work[row].stack) {
                if (open.ordinal == event.arg) {
                    open.end = event.time_ns;
                }
            }
            advance(row, event.time_ns);
            break;
        }
        case EventKind::sched: {
            // The calls of a task that sleeps wait for it; the time between is not theirs.
            const std::size_t row = lane(event);
            advance(row, event.time_ns);
            Work& work = m_work[row];
            const auto first = std::stable_partition(work.stack.begin(), work.stack.end(), [](const Open& o) { return o.level != 0; });
            for (auto each = first; each != work.stack.end(); ++each) {
                work.asleep[each->task].push_back(*each);
            }
            work.stack.erase(first, work.stack.end());
            const auto woken = work.asleep.find(event.task);
            if (event.task != 0 && woken != work.asleep.end()) {
                work.stack.insert(work.stack.begin(), woken->second.begin(), woken->second.end());
                work.asleep.erase(woken);
            }
            break;
        }
        default: break;
        }
    }
    if (!grown) {
        return;
    }
    // What has returned lies fully known behind the last event; what has not is shown up to it.
    const std::uint64_t last = trace.end_time().ns;
    for (std::size_t row = 0; row < m_work.size(); ++row) {
        std::uint64_t until = last;
        for (const Open& open : m_work[row].stack) {
            until = open.end == unknown_end ? until : std::max(until, open.end);
        }
        const bool open = std::any_of(m_work[row].stack.begin(), m_work[row].stack.end(), [](const Open& o) { return o.end == unknown_end; });
        if (!m_work[row].stack.empty()) {
            advance(row, open ? (trace.info.observed ? m_work[row].cursor : last) : until);
        }
    }
}

const CpuBlock* CpuBlocks::at(const Lane& lane, Context context, std::uint64_t ns, std::uint64_t tolerance)
{
    const auto& blocks = lane.levels[levelOf(context)];
    auto after = std::upper_bound(blocks.begin(), blocks.end(), ns + tolerance, [](std::uint64_t t, const CpuBlock& b) { return t < b.begin; });
    if (after == blocks.begin()) {
        return nullptr;
    }
    --after;
    return after->end + tolerance >= ns ? &*after : nullptr;
}

// ---- the widget --------------------------------------------------------------------------------------------------------------

CpuLanes::CpuLanes(Session* session, TimeAxis* axis, QWidget* parent) : QWidget(parent), m_session(session), m_axis(axis), m_blocks(*session)
{
    setMouseTracking(true);
    setFocusPolicy(Qt::TabFocus);
    setAccessibleName(tr("CPU lanes"));
    setAccessibleDescription(tr("What each CPU did when. Plus and minus zoom, 0 shows everything."));
    setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
    const auto repaint = [this] {
        m_dirty = true;
        update();
    };
    connect(session, &Session::playheadMoved, this, qOverload<>(&QWidget::update));
    connect(session, &Session::selectionChanged, this, repaint);
    connect(session, &Session::traceGrown, this, &CpuLanes::grown);
    connect(session, &Session::traceReplaced, this, [this] {
        m_blocks.reset();
        grown();
    });
    connect(axis, &TimeAxis::rangeChanged, this, repaint);
    connect(&Theme::instance(), &Theme::changed, this, repaint);
    grown();
}

void CpuLanes::grown()
{
    m_blocks.update();
    m_dirty = true;
    if (m_blocks.lanes().size() != m_rows) {
        m_rows = m_blocks.lanes().size();
        updateGeometry();
    }
    update();
}

const CpuBlocks& CpuLanes::blocks()
{
    m_blocks.update();
    return m_blocks;
}

QSize CpuLanes::sizeHint() const
{
    const auto rows = static_cast<int>(std::clamp<std::size_t>(m_rows, 1, 8));
    return {600, top_margin + rows * lane_height + (rows - 1) * lane_gap + 6};
}

QSize CpuLanes::minimumSizeHint() const
{
    const auto rows = static_cast<int>(std::clamp<std::size_t>(m_rows, 1, 8));
    return {240, top_margin + rows * 14 + (rows - 1) * 4 + 4};
}

QRectF CpuLanes::laneRect(std::size_t row) const
{
    const QRectF area = TimeAxis::area(*this);
    const auto rows = static_cast<qreal>(std::max<std::size_t>(m_rows, 1));
    // More CPUs than the height holds: lanes become lower, down to 4 px.
    const qreal pitch = std::min<qreal>(lane_height + lane_gap, (height() - top_margin - 2) / rows);
    const qreal tall = std::max<qreal>(4, std::min<qreal>(lane_height, pitch * 0.72));
    return {area.left(), top_margin + static_cast<qreal>(row) * pitch, area.width(), tall};
}

namespace {
constexpr double least_share = 0.4; ///< of a colour's strength: what is seldom is still seen
constexpr double least_alone = 0.7; ///< the same of a call that stands alone
constexpr double most_merged = 3;   ///< pixels that share one strength

QColor blend(const QColor& back, const QColor& front, double share)
{
    const auto part = [share](int a, int b) { return static_cast<int>(std::lround(a + (b - a) * share)); };
    return {part(back.red(), front.red()), part(back.green(), front.green()), part(back.blue(), front.blue())};
}
} // namespace

void CpuLanes::paintLevel(QPainter& p, const CpuBlocks::Lane& lane, Context context, const QRectF& rect) const
{
    const auto& blocks = lane.levels[levelOf(context)];
    const Theme& theme = Theme::instance();
    const QColor color = theme.context(context);
    const auto first = static_cast<std::uint64_t>(std::max(0.0, m_axis->begin()));
    QRectF place = rect;
    if (context == Context::process) {
        place.setTop(rect.top() + rect.height() * 0.45);
    } else if (context == Context::hardirq) {
        place.setTop(rect.top() - std::min<qreal>(4, rect.height() * 0.2));
    }
    auto it = std::lower_bound(blocks.begin(), blocks.end(), first, [](const CpuBlock& b, std::uint64_t t) { return b.end < t; });
    // Blocks that share a pixel become one: the picture costs by its width, not by the trace's length.
    double from = 0;
    double to = -1;
    bool thread = false;
    const CpuBlock* only = nullptr;
    double busy = 0; // of what is merged, in pixels
    const auto flush = [&] {
        if (to < from) {
            return;
        }
        ++m_boxesDrawn;
        QRectF box(from, place.top(), std::max(1.0, to - from), place.height());
        if (thread) {
            QColor pale = color;
            pale.setAlphaF(0.28F);
            p.fillRect(box, pale);
            Theme::hatch(p, box, color, 7);
        } else if (only != nullptr) {
            p.fillRect(box, blend(theme.colors().band, color, std::clamp(busy / box.width(), least_alone, 1.0)));
        } else {
            // Many in a few pixels are as strong and as tall as their share of the time: short interrupts are no busy CPU, and
            // what runs below them stays in sight.
            const double share = std::clamp(busy / box.width(), least_share, 1.0);
            if (context != Context::process) {
                const double least = context == Context::softirq ? 0.45 : 0.25; // of the lane
                box.setBottom(rect.top() + rect.height() * (least + (1 - least) * std::max(0.0, 2 * share - 1)));
            }
            p.fillRect(box, blend(theme.colors().band, color, share));
        }
        // What it was, where there is room for words.
        if (only != nullptr && box.width() > 46 && box.height() > 11 && !thread) {
            const Trace& trace = m_session->trace();
            const QString name = context == Context::process && only->task != 0 ? text(trace.task(static_cast<TaskId>(only->task)).name)
                                                                               : text(trace.function_name(trace[only->first].function_id()));
            const QFont font = Theme::mono(words_size);
            const QRectF words = box.intersected(rect).adjusted(5, 0, -4, 0);
            const QString shown = QFontMetricsF(font).elidedText(name, Qt::ElideRight, words.width());
            if (shown.size() > 3) {
                m_words.push_back({words, shown, context});
            }
        }
        only = nullptr;
        to = -1;
    };
    for (; it != blocks.end() && static_cast<double>(it->begin) <= m_axis->end(); ++it) {
        const double left = std::max(rect.left(), m_axis->xOf(static_cast<double>(it->begin), rect));
        const double truly = std::min(rect.right(), std::max(left, m_axis->xOf(static_cast<double>(it->end), rect)));
        const double right = std::min(rect.right(), std::max(left + 1, truly));
        if (to >= from && left <= to && it->ksoftirqd == thread && to - from < most_merged) {
            to = std::max(to, right);
            busy += truly - left;
            only = nullptr;
            continue;
        }
        const bool touches = to >= from && left <= to && it->ksoftirqd == thread;
        const double end = to;
        flush();
        from = touches ? std::max(left, end) : left; // no pixel is painted twice
        to = std::max(right, from + 1);
        busy = truly - left;
        thread = it->ksoftirqd;
        only = &*it;
    }
    flush();
}

void CpuLanes::paintLanes()
{
    m_boxesDrawn = 0;
    m_words.clear();
    const qreal dpr = devicePixelRatioF();
    m_picture = QPixmap((QSizeF(size()) * dpr).toSize());
    m_picture.setDevicePixelRatio(dpr);
    const Colors& c = Theme::instance().colors();
    m_picture.fill(c.panel);
    QPainter p(&m_picture);
    const auto& lanes = m_blocks.lanes();
    const QRectF area = TimeAxis::area(*this);
    const QFont font = Theme::sans(12, QFont::DemiBold);
    if (lanes.empty()) {
        p.setPen(c.textMuted);
        p.setFont(Theme::sans(11));
        p.drawText(area.adjusted(10, top_margin, 0, 0), Qt::AlignLeft | Qt::AlignTop, tr("no CPU has done anything yet"));
    }
    for (std::size_t row = 0; row < lanes.size(); ++row) {
        const QRectF rect = laneRect(row);
        p.setRenderHint(QPainter::Antialiasing);
        p.setPen(Qt::NoPen);
        p.setBrush(c.band);
        p.drawRoundedRect(rect, 3, 3);
        p.setRenderHint(QPainter::Antialiasing, false);
        if (rect.height() >= 9) {
            p.setPen(c.text);
            p.setFont(font);
            p.drawText(QRectF(space::wide - 2, rect.top() - 4, TimeAxis::gutter - 18, rect.height() + 8), Qt::AlignVCenter | Qt::AlignLeft,
                       tr("CPU %1").arg(lanes[row].cpu));
        }
        for (const Context context : {Context::process, Context::softirq, Context::hardirq}) {
            paintLevel(p, lanes[row], context, rect);
        }
    }
    // Where the selected packet was at work: marks under its lanes.
    const PacketId selected = m_session->selection().packet;
    if (selected != PacketId::none) {
        const Trace& trace = m_session->trace();
        std::vector<double> last(lanes.size(), -10);
        for (const std::uint32_t ordinal : m_session->journeys().events_of(selected)) {
            const Event& event = trace[ordinal];
            const double x = m_axis->xOf(static_cast<double>(event.time_ns), area);
            if (!event.is_call() || x < area.left() || x > area.right()) {
                continue;
            }
            for (std::size_t row = 0; row < lanes.size(); ++row) {
                if (lanes[row].cpu == event.cpu && x - last[row] >= 2) {
                    const QRectF rect = laneRect(row);
                    p.fillRect(QRectF(x - 1, rect.bottom() + 1.5, 2, 4), c.accent);
                    last[row] = x;
                }
            }
        }
    }
    m_dirty = false;
}

void CpuLanes::paintWords(QPainter& p, const QRectF& area) const
{
    const Colors& c = Theme::instance().colors();
    const bool dark = Theme::instance().isDark();
    const double now = std::clamp(m_axis->xOf(static_cast<double>(m_session->now().ns), area), area.left(), area.right());
    p.setFont(Theme::mono(words_size));
    for (const Words& words : m_words) {
        // White is lost on the light theme's amber, and everything but plain text on what the veil has paled.
        const QColor solid = words.context == Context::softirq && !dark ? c.text : c.onFlow;
        for (const bool past : {true, false}) {
            const QRectF side = past ? QRectF(area.left(), 0, now - area.left(), height()) : QRectF(now, 0, area.right() - now, height());
            if (!side.intersects(words.place)) {
                continue;
            }
            p.save();
            p.setClipRect(side);
            p.setPen(past ? solid : c.text);
            p.drawText(words.place, Qt::AlignVCenter | Qt::AlignLeft, words.shown);
            p.restore();
        }
    }
}

void CpuLanes::paintEvent(QPaintEvent*)
{
    const QSize pixels = (QSizeF(size()) * devicePixelRatioF()).toSize();
    if (m_dirty || m_picture.size() != pixels) {
        paintLanes();
    }
    QPainter p(this);
    p.drawPixmap(0, 0, m_picture);
    const QRectF area = TimeAxis::area(*this);
    m_axis->paintFuture(p, area.adjusted(0, top_margin - 5, 0, 0));
    paintWords(p, area);
    m_axis->paintPlayhead(p, area, 2, height(), true);
    if (hasFocus()) {
        p.setPen(QPen(Theme::instance().colors().accent, 1, Qt::DashLine));
        p.setBrush(Qt::NoBrush);
        p.drawRoundedRect(QRectF(rect()).adjusted(1.5, 1.5, -1.5, -1.5), radius::control, radius::control);
    }
}

CpuLanes::Hit CpuLanes::hit(QPointF point)
{
    Hit found;
    const QRectF area = TimeAxis::area(*this);
    if (point.x() < area.left() || point.x() > area.right()) {
        return found;
    }
    const auto& lanes = blocks().lanes();
    const double moment = m_axis->nsAt(point.x(), area);
    if (moment < 0) {
        return found;
    }
    const auto ns = static_cast<std::uint64_t>(moment);
    const auto tolerance = static_cast<std::uint64_t>(m_axis->span() / area.width() * 1.5);
    const Trace& trace = m_session->trace();
    for (std::size_t row = 0; row < lanes.size(); ++row) {
        if (!laneRect(row).adjusted(0, -5, 0, 5).contains(point)) {
            continue;
        }
        for (const Context context : {Context::hardirq, Context::softirq, Context::process}) {
            const CpuBlock* block = CpuBlocks::at(lanes[row], context, ns, tolerance);
            if (block == nullptr) {
                continue;
            }
            found.found = true;
            found.cpu = lanes[row].cpu;
            found.context = context;
            found.begin = block->begin;
            found.end = block->end;
            found.ordinal = block->first;
            found.task = static_cast<TaskId>(block->task);
            found.function = trace[block->first].function_id();
            // The innermost call of this CPU and context that holds the moment; calls begin in order of time.
            const std::size_t stop = trace.lower_bound({ns + tolerance + 1});
            constexpr std::size_t looked_at = 20'000;
            for (std::size_t i = stop; i-- > 0 && stop - i < looked_at;) {
                const Event& event = trace[i];
                if (!event.is_call() || event.cpu != found.cpu || levelOf(event.context()) != levelOf(context)) {
                    continue;
                }
                if (!event.has_end() || event.time_ns + event.duration_ns + tolerance >= ns) {
                    found.function = event.function_id();
                    found.packet = event.packet_id();
                    found.ordinal = static_cast<std::uint32_t>(i);
                    break;
                }
            }
            return found;
        }
    }
    return found;
}

bool CpuLanes::event(QEvent* event)
{
    if (event->type() == QEvent::ToolTip) {
        const auto* help = static_cast<QHelpEvent*>(event);
        const Hit at = hit(help->pos());
        if (!at.found) {
            QToolTip::hideText();
            event->ignore();
            return true;
        }
        const Trace& trace = m_session->trace();
        QString words = QStringLiteral("<b>CPU %1 · %2</b><br><tt>%3</tt>").arg(at.cpu).arg(contextText(at.context), text(trace.function_name(at.function)).toHtmlEscaped());
        if (at.packet != PacketId::none) {
            words += QStringLiteral("<br>%1").arg(packetTitle(trace, at.packet).toHtmlEscaped());
        }
        if (to_index(at.task) < trace.tasks().size() && at.task != TaskId::none) {
            words += (at.context == Context::process ? tr("<br>task %1") : tr("<br>interrupted or borrowed: %1")).arg(text(trace.task(at.task).name).toHtmlEscaped());
        }
        if (trace.info.times_trustworthy) {
            words += QStringLiteral("<br>%1").arg(durationText({static_cast<std::int64_t>(at.end - at.begin)}));
        }
        QToolTip::showText(help->globalPos(), words, this);
        return true;
    }
    return QWidget::event(event);
}

void CpuLanes::wheelEvent(QWheelEvent* event)
{
    m_axis->wheel(event, TimeAxis::area(*this));
}

void CpuLanes::mousePressEvent(QMouseEvent* event)
{
    m_axis->press(event, TimeAxis::area(*this));
}

void CpuLanes::mouseMoveEvent(QMouseEvent* event)
{
    if (!m_axis->move(event, TimeAxis::area(*this))) {
        setCursor(hit(event->position()).found ? Qt::PointingHandCursor : Qt::ArrowCursor);
    }
}

void CpuLanes::mouseReleaseEvent(QMouseEvent* event)
{
    if (!m_axis->release(event, TimeAxis::area(*this)) || !m_axis->wasClick() || event->button() != Qt::LeftButton) {
        return;
    }
    const Hit at = hit(event->position());
    if (!at.found) {
        return;
    }
    Selection selection;
    selection.packet = at.packet != PacketId::none ? at.packet : m_session->selection().packet;
    selection.function = at.function;
    m_session->select(selection);
}

void CpuLanes::mouseDoubleClickEvent(QMouseEvent* event)
{
    m_axis->doubleClick(event);
}

void CpuLanes::keyPressEvent(QKeyEvent* event)
{
    if (!m_axis->key(event)) {
        QWidget::keyPressEvent(event);
    }
}

} // namespace skbscope::ui
