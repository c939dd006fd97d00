#pragma once
// How full the queues were when: a step line for each queue that was used, dashed lines at their limits, what each holds
// now beside its name. On the axis of the CPU lanes.

#include "ui/timeline/time_axis.h"

#include <QWidget>
#include <memory>
#include <vector>

class QCustomPlot;
class QCPGraph;
class QCPItemStraightLine;

namespace skbscope::ui {

/// The level of every queue over time, built in one pass and extended as the trace grows.
class QueueLevels {
public:
    explicit QueueLevels(const Session& session) : m_session(session) {}
    void reset();
    void update();
    struct Point {
        std::uint64_t ns;
        double level; ///< in packets, or bytes for a queue of that unit
    };
    struct Series {
        QueueId queue = QueueId::none;
        bool bytes = false;
        bool hasFill = false; ///< bytes are known (the trace has fill events)
        double peak = 0;
        std::uint64_t changes = 0;
        double packets = 0;           ///< at the end of what was taken
        std::vector<Point> points;
        std::vector<Point> limits;    ///< changes of the limit; the first is the one at the start
    };
    [[nodiscard]] const std::vector<Series>& series() const { return m_series; } ///< by QueueId

private:
    const Session& m_session;
    std::size_t m_taken = 0;
    std::vector<Series> m_series;
    std::vector<std::uint32_t> m_waitsIn; ///< by packet: its queue; 0: none
};

class QueuePlot : public QWidget {
    Q_OBJECT

public:
    QueuePlot(Session* session, TimeAxis* axis, QWidget* parent = nullptr);
    ~QueuePlot() override;

    [[nodiscard]] QSize sizeHint() const override { return {600, 130}; }
    [[nodiscard]] QSize minimumSizeHint() const override { return {240, 70}; }
    [[nodiscard]] const QueueLevels& levels();
    /// Queues that are drawn, the fullest first; at most five.
    [[nodiscard]] std::vector<QueueId> shownQueues();
    /// Points given to the plot when it was last painted: bounded by its width, not by the trace.
    [[nodiscard]] std::size_t pointsDrawn() const { return m_pointsDrawn; }

protected:
    void paintEvent(QPaintEvent* event) override;
    void resizeEvent(QResizeEvent* event) override;
    void wheelEvent(QWheelEvent* event) override;
    void mousePressEvent(QMouseEvent* event) override;
    void mouseMoveEvent(QMouseEvent* event) override;
    void mouseReleaseEvent(QMouseEvent* event) override;
    void mouseDoubleClickEvent(QMouseEvent* event) override;
    void keyPressEvent(QKeyEvent* event) override;

private:
    struct Line {
        QueueId queue = QueueId::none;
        QColor color;
        Qt::PenStyle style = Qt::SolidLine;
        bool bytes = false;
        bool limitDrawn = false;
        double limit = 0;
        QRectF legend;
    };
    void restyle();
    void refill();
    void replot();
    [[nodiscard]] QRectF frame() const;
    [[nodiscard]] QRectF plotArea() const;
    [[nodiscard]] double limitY(const Line& line, const QRectF& area) const;
    [[nodiscard]] double heightForWords(const QRectF& area) const; ///< of those that say what is not run yet

    Session* m_session;
    TimeAxis* m_axis;
    QueueLevels m_levels;
    std::unique_ptr<QCustomPlot> m_plot; ///< never shown itself: painted into m_picture
    QPixmap m_picture;
    std::vector<Line> m_lines;
    double m_top = 1;      ///< of the packet axis
    double m_topBytes = 1; ///< of the byte axis
    bool m_dirty = true;
    std::size_t m_pointsDrawn = 0;
};

} // namespace skbscope::ui
