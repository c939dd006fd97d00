#pragma once
// The journey as a painted list: nesting, bars for runs (solid) and waits (hatched), "now".

#include "ui/inspector/journey_rows.h"

#include <QWidget>

namespace skbscope::ui {

class JourneyView : public QWidget {
    Q_OBJECT

public:
    enum class Extent {
        until_now, ///< only what has begun
        whole,     ///< all that is known; what is still to come is faint
    };

    explicit JourneyView(Extent extent, QWidget* parent = nullptr);
    void setSession(Session* session);
    /// Shows at most the newest `rows` lines, with one above that says how many are left out; 0: all.
    void setLimit(int rows);
    /// Rows now shown, for tests.
    [[nodiscard]] const std::vector<JourneyRow>& rows() const { return m_rows; }
    [[nodiscard]] int current() const { return m_current; }
    /// Where the current row is drawn; empty if there is none.
    [[nodiscard]] QRect currentRect() const;
    [[nodiscard]] QSize sizeHint() const override;
    [[nodiscard]] QSize minimumSizeHint() const override { return {200, 40}; }

public slots:
    void refresh(); ///< cheap when nothing has changed
    void reload();  ///< the packet or the trace has changed

signals:
    /// The line with that height should be seen.
    void showLine(int y, int height);

protected:
    void paintEvent(QPaintEvent* event) override;
    void mouseMoveEvent(QMouseEvent* event) override;
    void mousePressEvent(QMouseEvent* event) override;
    void leaveEvent(QEvent* event) override;
    void keyPressEvent(QKeyEvent* event) override;
    bool event(QEvent* event) override;

private:
    struct Columns {
        int bar, barWidth, figure, right;
    };
    [[nodiscard]] Columns columns() const;
    [[nodiscard]] int rowAt(int y) const;
    [[nodiscard]] int top() const; ///< of the first row
    void paintRow(QPainter& painter, int index, int y, const Columns& at) const;
    void choose(int index);
    [[nodiscard]] PacketId packet() const;
    [[nodiscard]] QString whatIs(const JourneyRow& row) const;

    Extent m_extent;
    Session* m_session = nullptr;
    PacketId m_packet = PacketId::none;
    std::vector<JourneyRow> m_all;  ///< of the whole journey
    std::vector<JourneyRow> m_rows; ///< shown
    std::size_t m_knownEvents = 0;
    int m_limit = 0;
    std::size_t m_leftOut = 0; ///< rows above the first shown
    int m_current = -1;
    int m_hover = -1;
    int m_deepest = 0;
    Duration m_longest;
    bool m_timed = true;
};

} // namespace skbscope::ui
