#pragma once
// One opened Source in the window: the playhead, the selection, and the state that every panel draws. All panels read
// from here and from nowhere else, so they cannot disagree.

#include "core/trace/journey.h"
#include "core/trace/source.h"
#include "core/trace/stack_state.h"

#include <QObject>
#include <QTimer>
#include <memory>

namespace skbscope::ui {

/// What is selected, everywhere at once. Each part may be "none".
struct Selection {
    PacketId packet = PacketId::none;
    RoomId room = RoomId::none;
    FunctionId function = FunctionId::none;
    QueueId queue = QueueId::none;
    bool operator==(const Selection&) const = default;
};

class Session : public QObject {
    Q_OBJECT

public:
    explicit Session(std::unique_ptr<Source> source, QObject* parent = nullptr);

    [[nodiscard]] Source& source() { return *m_source; }
    [[nodiscard]] const Trace& trace() const { return m_source->trace(); }
    [[nodiscard]] SimTime now() const { return m_now; }
    /// Ordinal one behind the last event that has happened at now(): stepping goes by events, not only by time.
    [[nodiscard]] std::size_t position() const { return m_position; }
    /// The state at the playhead. The reference is good until the playhead moves.
    [[nodiscard]] const StackState& state() const;
    [[nodiscard]] const JourneyIndex& journeys() const { return m_journeys; }
    [[nodiscard]] const Selection& selection() const { return m_selection; }
    [[nodiscard]] HostId host() const { return m_host; }
    [[nodiscard]] bool isPlaying() const { return m_timer.isActive(); }
    /// Trace nanoseconds that pass in one second of play.
    [[nodiscard]] double speed() const { return m_speed; }
    /// What happened, in one sentence: "64 datagrams: 30 delivered, 15 dropped because …, 19 on the way".
    [[nodiscard]] QString sentence() const;

public slots:
    void seek(skbscope::SimTime t);
    void seekToEvent(std::size_t position);
    void stepFunction(int direction); ///< to the next/previous call (+1/-1) of the selected packet, or of any
    void stepPacket(int direction);   ///< to the next/previous packet's birth; selects it
    void stepEvent(int direction);
    void toBegin();
    void toEnd();
    void play();
    void pause();
    void toggle();
    void setSpeed(double nsPerSecond);
    void select(const skbscope::ui::Selection& selection);
    void selectPacket(skbscope::PacketId packet);
    void setHost(skbscope::HostId host);
    /// Tell the source; errors come back through `failed`.
    void setKnob(const QString& key, qint64 value);
    void act(const QString& key);
    void startOver();

signals:
    void playheadMoved();
    void selectionChanged();
    void traceGrown();
    void traceReplaced(); ///< events may have been taken back: drop every cached ordinal
    void playingChanged(bool playing);
    void speedChanged(double nsPerSecond);
    void failed(const QString& message);

private:
    void tick();
    void refresh();

    std::unique_ptr<Source> m_source;
    mutable std::unique_ptr<StateCache> m_states;
    JourneyIndex m_journeys;
    SimTime m_now;
    std::size_t m_position = 0;
    Selection m_selection;
    HostId m_host{};
    QTimer m_timer;
    double m_speed = 20'000; // 1 s = 20 µs
    std::uint64_t m_generation = 0;
};

} // namespace skbscope::ui
