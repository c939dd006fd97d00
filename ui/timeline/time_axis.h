#pragma once
// The one time axis of the CPU lanes and the queue plot: which part of the trace is visible, and how it follows the
// playhead. A pixel of either means the same moment.

#include "ui/player/session.h"

#include <QObject>
#include <QString>
#include <vector>

class QKeyEvent;
class QMouseEvent;
class QPainter;
class QRectF;
class QWheelEvent;
class QWidget;

namespace skbscope::ui {

class TimeAxis : public QObject {
    Q_OBJECT

public:
    /// Space left of the time area (names) and right of it, in logical pixels; the same in every view on this axis.
    static constexpr int gutter = 70;
    static constexpr int margin = 14;

    explicit TimeAxis(Session* session, QObject* parent = nullptr);

    /// Visible range in nanoseconds of the trace's clock.
    [[nodiscard]] double begin() const { return m_begin; }
    [[nodiscard]] double end() const { return m_end; }
    [[nodiscard]] double span() const { return m_end - m_begin; }

    [[nodiscard]] static QRectF area(const QWidget& view);
    [[nodiscard]] double xOf(double ns, const QRectF& area) const;
    [[nodiscard]] double nsAt(double x, const QRectF& area) const;

    /// Round moments for labels, at least `pixels` apart.
    struct Tick {
        double ns;
        QString label;
    };
    [[nodiscard]] std::vector<Tick> ticks(double width, double pixels = 96) const;

    /// True while the axis chooses its range itself (nobody has zoomed or panned).
    [[nodiscard]] bool isAutomatic() const { return m_automatic; }

    // What hands do in any view on the axis. Return true if the event was used.
    bool wheel(QWheelEvent* event, const QRectF& area);
    bool press(QMouseEvent* event, const QRectF& area);
    bool move(QMouseEvent* event, const QRectF& area);
    bool release(QMouseEvent* event, const QRectF& area);
    bool doubleClick(QMouseEvent* event);
    bool key(QKeyEvent* event);
    /// The last press and release happened at one place: a click.
    [[nodiscard]] bool wasClick() const { return !m_dragged; }

    /// The playhead's line over the view; with its handle if `handle`.
    void paintPlayhead(QPainter& p, const QRectF& area, double top, double bottom, bool handle) const;
    /// Dims what lies behind the playhead.
    void paintFuture(QPainter& p, const QRectF& area) const;
    /// Says where nothing is known yet, at that height.
    void paintUnknown(QPainter& p, const QRectF& area, double middle) const;
    /// Where the model has not run yet: ns, or infinity.
    [[nodiscard]] double unknownFrom() const;

public slots:
    void setRange(double begin, double end);
    void zoom(double factor, double aroundNs); ///< factor < 1: closer
    void pan(double byNs);
    void fit(); ///< everything that is known; the axis chooses for itself again

signals:
    void rangeChanged();

private:
    void follow();
    void fitNow(bool grow);
    [[nodiscard]] double known() const;
    [[nodiscard]] double origin() const { return static_cast<double>(m_session->origin().ns); }

    Session* m_session;
    double m_begin = 0;
    double m_end = 50'000;
    bool m_automatic = true;
    enum class Hand { none, scrub, pan } m_hand = Hand::none;
    bool m_dragged = false;
    double m_pressX = 0;
    double m_lastX = 0;
};

} // namespace skbscope::ui
