#pragma once
// The lower right corner: what became of all packets at the playhead, where the undecided ones are, what was dropped and
// where it is counted, and the legend.

#include "core/trace/stack_state.h"

#include <QList>
#include <QRect>
#include <QWidget>
#include <vector>

namespace skbscope::ui {

class Session;

/// "19 = 1 running on CPU 1, 11 in backlog CPU 1, 5 in eth0 RX ring, 2 held in a batch". The parts sum up to in_flight().
[[nodiscard]] QString inFlightText(const Trace& trace, const StackState& state);

class AccountingBlock : public QWidget {
    Q_OBJECT

public:
    explicit AccountingBlock(QWidget* parent = nullptr);
    void setSession(Session* session);

    struct Line {
        QString name;
        std::uint64_t count = 0;
        Verdict verdict = Verdict::in_flight; ///< in_flight also for "born"
    };
    struct Drop {
        QString reason;
        std::uint64_t count = 0;
        QString counters; ///< where a host counts it
        DropReasonId id = DropReasonId::none;
    };
    /// Exactly what is painted, for tests.
    [[nodiscard]] const std::vector<Line>& lines() const { return m_lines; }
    [[nodiscard]] const std::vector<Drop>& drops() const { return m_drops; }
    /// Where a drop stands: a click there, or Enter on it, asks for its packets. Empty while it is not painted.
    [[nodiscard]] QRect dropRect(int index) const { return m_dropRects.value(index); }
    /// Where the packets on their way are written.
    [[nodiscard]] QRect inFlightRect() const { return m_inFlightRect; }
    [[nodiscard]] QSize sizeHint() const override { return {400, 220}; }
    [[nodiscard]] QSize minimumSizeHint() const override { return {300, 150}; }

signals:
    void dropChosen(skbscope::DropReasonId reason);

protected:
    void paintEvent(QPaintEvent* event) override;
    bool event(QEvent* event) override;
    void mousePressEvent(QMouseEvent* event) override;
    void mouseMoveEvent(QMouseEvent* event) override;
    void keyPressEvent(QKeyEvent* event) override;
    void focusInEvent(QFocusEvent* event) override;
    void focusOutEvent(QFocusEvent* event) override;
    void leaveEvent(QEvent* event) override;

private:
    void refresh();
    [[nodiscard]] int dropAt(QPoint point) const; ///< -1: none
    void focusDrop(int index);
    Session* m_session = nullptr;
    std::vector<Line> m_lines;
    std::vector<Drop> m_drops;
    QString m_inFlight;
    QList<QRect> m_dropRects;
    QRect m_inFlightRect;
    int m_hover = -1, m_focus = 0;
};

/// What the colours and shapes mean.
class Legend : public QWidget {
    Q_OBJECT

public:
    explicit Legend(QWidget* parent = nullptr);
    [[nodiscard]] QSize sizeHint() const override { return {360, 48}; }

protected:
    void paintEvent(QPaintEvent* event) override;
};

} // namespace skbscope::ui
