#pragma once
// What each CPU did when: one lane a CPU, blocks of hard interrupt, softirq and process work. Process work is lower
// than softirq, a hard interrupt stands out above the lane, ksoftirqd is hatched: never colour alone.

#include "ui/timeline/time_axis.h"

#include <QPixmap>
#include <QWidget>
#include <array>
#include <map>
#include <vector>

namespace skbscope::ui {

/// A stretch of time in which a CPU ran in one context. Stretches of one CPU never overlap: what was interrupted is cut.
struct CpuBlock {
    std::uint64_t begin = 0; ///< ns
    std::uint64_t end = 0;
    std::uint32_t first = 0; ///< ordinal of the outermost call of its context when it began
    std::uint32_t task = 0;
    bool ksoftirqd = false;
};

/// All blocks of a trace, built in one pass over the calls and extended as the trace grows.
class CpuBlocks {
public:
    explicit CpuBlocks(const Session& session) : m_session(session) {}
    void reset();
    void update();
    struct Lane {
        std::uint16_t cpu = 0;
        HostId host{};
        std::array<std::vector<CpuBlock>, 3> levels; ///< by Context; NMIs count as hard interrupts
    };
    /// Lanes of the session's host by CPU.
    [[nodiscard]] const std::vector<Lane>& lanes() const { return m_lanes; }
    /// The block of that lane and context that holds the moment; null if none.
    [[nodiscard]] static const CpuBlock* at(const Lane& lane, Context context, std::uint64_t ns, std::uint64_t tolerance = 0);

private:
    struct Open {
        std::uint32_t ordinal = 0;
        std::uint64_t end = 0;      ///< all ones: not known (yet)
        std::uint64_t lastSeen = 0; ///< of a call whose end is not known: when it surely still ran
        std::uint8_t level = 0;
        std::uint8_t depth = 0;
        std::uint32_t task = 0;
    };
    struct Work { // of one CPU
        std::vector<Open> stack; ///< as they interrupted and called each other; the last one runs
        std::map<std::uint32_t, std::vector<Open>> asleep; ///< by task: its calls, while another task runs
        std::uint64_t cursor = 0;
    };
    std::size_t lane(const Event& event);
    void add(std::size_t row, const Open& open, std::uint64_t begin, std::uint64_t end);
    /// Turns what ran from the cursor up to t into blocks; calls that ended are taken off.
    void advance(std::size_t row, std::uint64_t t);
    void call(std::size_t row, const Event& event, std::uint32_t ordinal);

    const Session& m_session;
    std::size_t m_taken = 0;
    std::vector<Lane> m_lanes;
    std::vector<Work> m_work; ///< by lane
    std::vector<int> m_laneOf; ///< by CPU
    std::vector<bool> m_isKsoftirqd;
};

class CpuLanes : public QWidget {
    Q_OBJECT

public:
    CpuLanes(Session* session, TimeAxis* axis, QWidget* parent = nullptr);

    [[nodiscard]] QSize sizeHint() const override;
    [[nodiscard]] QSize minimumSizeHint() const override;
    [[nodiscard]] const CpuBlocks& blocks();
    /// Boxes drawn when the lanes were last painted: bounded by their width, not by the trace.
    [[nodiscard]] std::size_t boxesDrawn() const { return m_boxesDrawn; }
    /// Where the lane of that row is drawn.
    [[nodiscard]] QRectF laneRect(std::size_t row) const;
    /// What is at the point: the innermost call there.
    struct Hit {
        PacketId packet = PacketId::none;
        FunctionId function = FunctionId::none;
        Context context = Context::process;
        std::uint32_t ordinal = 0;
        std::uint16_t cpu = 0;
        TaskId task = TaskId::none;
        std::uint64_t begin = 0, end = 0;
        bool found = false;
    };
    [[nodiscard]] Hit hit(QPointF point);

protected:
    bool event(QEvent* event) override;
    void paintEvent(QPaintEvent* event) override;
    void wheelEvent(QWheelEvent* event) override;
    void mousePressEvent(QMouseEvent* event) override;
    void mouseMoveEvent(QMouseEvent* event) override;
    void mouseReleaseEvent(QMouseEvent* event) override;
    void mouseDoubleClickEvent(QMouseEvent* event) override;
    void keyPressEvent(QKeyEvent* event) override;

private:
    void grown();
    void paintLanes();
    /// Names in the boxes: above the veil over what is still to come, each part in a colour that can be read there.
    void paintWords(QPainter& p, const QRectF& area) const;
    void paintLevel(QPainter& p, const CpuBlocks::Lane& lane, Context context, const QRectF& rect) const;

    Session* m_session;
    TimeAxis* m_axis;
    CpuBlocks m_blocks;
    QPixmap m_picture;
    bool m_dirty = true;
    std::size_t m_rows = 0;
    mutable std::size_t m_boxesDrawn = 0;
    struct Words {
        QRectF place;
        QString shown;
        Context context;
    };
    mutable std::vector<Words> m_words; ///< of the picture
};

} // namespace skbscope::ui
