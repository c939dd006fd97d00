#include "ui/timeline/time_axis.h"

#include "ui/player/format.h"
#include "ui/theme/theme.h"

#include <QCoreApplication>
#include <QKeyEvent>
#include <QMouseEvent>
#include <QPainter>
#include <QPainterPath>
#include <QWheelEvent>
#include <QWidget>
#include <algorithm>
#include <cmath>
#include <limits>

namespace skbscope::ui {

namespace {

constexpr double closest = 20;         // ns across the whole area
constexpr double farthest = 4e12;      // an hour and a bit
constexpr double click_distance = 3.5; // px

/// The next of 1, 2, 5 · 10^n at or above the value.
double roundUp(double value)
{
    const double power = std::pow(10.0, std::floor(std::log10(std::max(value, 1e-9))));
    for (const double step : {1.0, 2.0, 5.0, 10.0}) {
        if (step * power >= value * 0.999999) {
            return step * power;
        }
    }
    return 10 * power;
}

/// As roundUp, in finer steps: how much the axis shows.
double roomFor(double value)
{
    const double power = std::pow(10.0, std::floor(std::log10(std::max(value, 1.0))));
    for (const double step : {1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0}) {
        if (step * power >= value * 0.999999) {
            return step * power;
        }
    }
    return 10 * power;
}

} // namespace

TimeAxis::TimeAxis(Session* session, QObject* parent) : QObject(parent), m_session(session)
{
    connect(session, &Session::playheadMoved, this, &TimeAxis::follow);
    connect(session, &Session::traceGrown, this, [this] {
        if (m_automatic) {
            fitNow(true);
        }
    });
    connect(session, &Session::traceReplaced, this, &TimeAxis::fit);
    fit();
}

double TimeAxis::known() const
{
    return std::max(static_cast<double>(m_session->lastMoment().ns), static_cast<double>(m_session->now().ns));
}

double TimeAxis::unknownFrom() const
{
    const Source& source = m_session->source();
    if (source.kind() != Source::Kind::model || source.exhausted()) {
        return std::numeric_limits<double>::infinity();
    }
    return std::max(static_cast<double>(source.known_until().ns), known());
}

void TimeAxis::fit()
{
    m_automatic = true;
    fitNow(false);
}

void TimeAxis::fitNow(bool grow)
{
    const double first = origin();
    const double last = known();
    double begin = first;
    double end = last;
    if (m_session->source().kind() == Source::Kind::recording) {
        const double air = std::max((last - first) * 0.01, 50.0);
        begin -= air;
        end += air;
    } else {
        // Room to run into; the range grows by steps, so that the picture does not creep.
        end = first + roomFor(std::max((last - first) * 1.15, 20'000.0));
        if (grow && m_end - m_begin > 0 && last < m_begin + (m_end - m_begin) * 0.86 && m_begin == first && end < m_end) {
            return;
        }
    }
    if (begin != m_begin || end != m_end) {
        m_begin = begin;
        m_end = std::max(end, begin + closest);
        emit rangeChanged();
    }
}

void TimeAxis::setRange(double begin, double end)
{
    const double span = std::clamp(end - begin, closest, farthest);
    const double middle = (begin + end) / 2;
    m_automatic = false;
    m_begin = middle - span / 2;
    m_end = middle + span / 2;
    emit rangeChanged();
}

void TimeAxis::zoom(double factor, double aroundNs)
{
    const double span = std::clamp(this->span() * factor, closest, std::max(closest, (known() - origin()) * 4 + 100'000));
    const double share = (aroundNs - m_begin) / this->span();
    setRange(aroundNs - span * share, aroundNs + span * (1 - share));
}

void TimeAxis::pan(double byNs)
{
    // Never farther than to where nothing of the trace is left to see.
    const double first = origin() - span() * 0.9;
    const double last = known() + span() * 0.9;
    byNs = std::clamp(byNs, std::min(0.0, first - m_begin), std::max(0.0, last - m_end));
    setRange(m_begin + byNs, m_end + byNs);
}

void TimeAxis::follow()
{
    const auto now = static_cast<double>(m_session->now().ns);
    if (m_automatic) {
        if (now > m_end || now < m_begin) {
            fitNow(false);
        }
        return;
    }
    if (m_hand != Hand::none || (now >= m_begin && now <= m_end)) {
        return;
    }
    // Turn the page: the playhead comes back at a fifth (or, going backwards, at four fifths).
    const double share = now > m_end ? 0.2 : 0.8;
    const double width = span();
    m_begin = now - width * share;
    m_end = m_begin + width;
    emit rangeChanged();
}

QRectF TimeAxis::area(const QWidget& view)
{
    return {static_cast<qreal>(gutter), 0, std::max<qreal>(1, view.width() - gutter - margin), static_cast<qreal>(view.height())};
}

double TimeAxis::xOf(double ns, const QRectF& area) const
{
    return area.left() + (ns - m_begin) / span() * area.width();
}

double TimeAxis::nsAt(double x, const QRectF& area) const
{
    return m_begin + (x - area.left()) / area.width() * span();
}

std::vector<TimeAxis::Tick> TimeAxis::ticks(double width, double pixels) const
{
    std::vector<Tick> found;
    const double step = roundUp(span() / std::max(1.0, width / pixels));
    const double first = origin();
    const double unit = step >= 1e9 ? 1e9 : step >= 1e6 ? 1e6 : step >= 1e3 ? 1e3 : 1;
    const char* name = unit == 1e9 ? "s" : unit == 1e6 ? "ms" : unit == 1e3 ? "µs" : "ns";
    for (double at = first + std::ceil((m_begin - first) / step) * step; at <= m_end; at += step) {
        const double value = (at - first) / unit;
        found.push_back({at, QStringLiteral("%1 %2").arg(countText(static_cast<std::uint64_t>(std::abs(value) + 0.5)), QString::fromUtf8(name))});
        if (value < -0.5) {
            found.back().label.prepend(QChar(0x2212));
        }
    }
    return found;
}

bool TimeAxis::wheel(QWheelEvent* event, const QRectF& area)
{
    const QPoint by = event->angleDelta();
    if (by.x() != 0 && std::abs(by.x()) > std::abs(by.y())) {
        pan(-by.x() / 120.0 * span() * 0.1);
    } else if ((event->modifiers() & Qt::ShiftModifier) != 0) {
        pan(-by.y() / 120.0 * span() * 0.1);
    } else {
        zoom(std::pow(0.8, by.y() / 120.0), nsAt(std::clamp(event->position().x(), area.left(), area.right()), area));
    }
    event->accept();
    return true;
}

bool TimeAxis::press(QMouseEvent* event, const QRectF& area)
{
    m_dragged = false;
    m_pressX = m_lastX = event->position().x();
    if (event->button() == Qt::MiddleButton || (event->button() == Qt::LeftButton && (event->modifiers() & Qt::ShiftModifier) != 0)) {
        m_hand = Hand::pan;
        return true;
    }
    if (event->button() != Qt::LeftButton || event->position().x() < area.left() - 6) {
        return false;
    }
    m_hand = Hand::scrub;
    m_session->pause();
    m_session->seek({static_cast<std::uint64_t>(std::max(0.0, nsAt(m_pressX, area)))});
    return true;
}

bool TimeAxis::move(QMouseEvent* event, const QRectF& area)
{
    if (m_hand == Hand::none) {
        return false;
    }
    const double x = event->position().x();
    m_dragged |= std::abs(x - m_pressX) > click_distance;
    if (m_hand == Hand::pan) {
        pan((m_lastX - x) / area.width() * span());
    } else if (m_dragged) {
        const double ns = std::clamp(nsAt(x, area), m_begin, m_end);
        m_session->seek({static_cast<std::uint64_t>(std::max(0.0, ns))});
    }
    m_lastX = x;
    return true;
}

bool TimeAxis::release(QMouseEvent*, const QRectF&)
{
    const bool used = m_hand != Hand::none;
    m_hand = Hand::none;
    return used;
}

bool TimeAxis::doubleClick(QMouseEvent* event)
{
    if (event->button() != Qt::LeftButton) {
        return false;
    }
    fit();
    return true;
}

bool TimeAxis::key(QKeyEvent* event)
{
    const auto now = static_cast<double>(m_session->now().ns);
    const double around = now >= m_begin && now <= m_end ? now : (m_begin + m_end) / 2;
    switch (event->key()) {
    case Qt::Key_Plus:
    case Qt::Key_Equal: zoom(0.5, around); return true;
    case Qt::Key_Minus: zoom(2, around); return true;
    case Qt::Key_0: fit(); return true;
    default: return false;
    }
}

void TimeAxis::paintFuture(QPainter& p, const QRectF& area) const
{
    const double now = std::clamp(xOf(static_cast<double>(m_session->now().ns), area), area.left(), area.right());
    QColor veil = Theme::instance().colors().panel;
    veil.setAlphaF(0.62F);
    p.fillRect(QRectF(now, area.top(), area.right() - now, area.height()), veil);
}

void TimeAxis::paintUnknown(QPainter& p, const QRectF& area, double middle) const
{
    const double unknown = unknownFrom();
    if (unknown >= m_end) {
        return;
    }
    const double now = std::clamp(xOf(static_cast<double>(m_session->now().ns), area), area.left(), area.right());
    const double from = std::max(now, xOf(unknown, area)) + 14;
    const QString text = QCoreApplication::translate("TimeAxis", "not run yet: the model runs ahead only as far as you look");
    const QFont font = Theme::sans(11);
    constexpr double high = 16;
    const QRectF place(from, middle - high / 2, area.right() - from - 8, high);
    const QString brief = QCoreApplication::translate("TimeAxis", "not run yet");
    for (const QString& shown : {text, brief}) { // whole, or in short, or not at all
        if (QFontMetricsF(font).horizontalAdvance(shown) <= place.width()) {
            p.setFont(font);
            p.setPen(Theme::instance().colors().textMuted);
            p.drawText(place, Qt::AlignVCenter | Qt::AlignLeft, shown);
            return;
        }
    }
}

void TimeAxis::paintPlayhead(QPainter& p, const QRectF& area, double top, double bottom, bool handle) const
{
    const double x = xOf(static_cast<double>(m_session->now().ns), area);
    if (x < area.left() - 1 || x > area.right() + 1) {
        return;
    }
    const QColor color = Theme::instance().colors().accent;
    p.fillRect(QRectF(x - 1, top, 2, bottom - top), color);
    if (handle) {
        QPainterPath shape;
        shape.moveTo(x - 7, top);
        shape.lineTo(x + 7, top);
        shape.lineTo(x, top + 9);
        shape.closeSubpath();
        p.setRenderHint(QPainter::Antialiasing);
        p.fillPath(shape, color);
    }
}

} // namespace skbscope::ui
