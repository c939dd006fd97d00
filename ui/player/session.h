#pragma once
// One opened Source in the window: the playhead, the selection, and the state that every panel draws. All panels read
// from here and from nowhere else, so they cannot disagree.

#include "core/compare/what_if.h"
#include "core/progress.h"
#include "core/trace/journey.h"
#include "core/trace/source.h"
#include "core/trace/stack_state.h"

#include <QElapsedTimer>
#include <QObject>
#include <QTimer>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>

namespace skbscope::ui {

/// What is selected, everywhere at once. Each part may be "none".
struct Selection {
    PacketId packet = PacketId::none;
    RoomId room = RoomId::none;
    FunctionId function = FunctionId::none;
    QueueId queue = QueueId::none;
    bool operator==(const Selection&) const = default;
};

/// How far long work has come, and whether it shall stop. Written by one thread, read by another.
struct Work {
    std::atomic<bool> cancelled{false};
    std::atomic<std::uint64_t> events{0}; ///< of the trace so far; 0: the work does not say
    std::atomic<std::uint64_t> at_ns{0};  ///< the moment it has come to
    Progress progress;                    ///< of work that knows its whole and leaves nothing if it is stopped: saving
    bool all_or_nothing = false;          ///< it is such work; set before it begins
};

class Session : public QObject {
    Q_OBJECT

public:
    /// Lets work be done, on another thread if it likes, and returns when it is over. Until then nothing else may look at
    /// the session.
    using Runner = std::function<void(const QString& what, const std::function<void(Work&)>& work)>;
    /// Without one, work is done on the spot.
    void setRunner(Runner runner) { m_runner = std::move(runner); }

    explicit Session(std::unique_ptr<Source> source, QObject* parent = nullptr);

    [[nodiscard]] Source& source() { return *m_source; }
    [[nodiscard]] const Trace& trace() const { return m_source->trace(); }
    [[nodiscard]] SimTime now() const { return m_now; }
    /// Where the time readout begins to count: the first event of what was observed, 0 of a model.
    [[nodiscard]] SimTime origin() const;
    /// The last moment at which something still happens in what is known: the last event or the end of a late call.
    [[nodiscard]] SimTime lastMoment() const;
    /// Ordinal one behind the last event that has happened at now(): stepping goes by events, not only by time.
    [[nodiscard]] std::size_t position() const { return m_position; }
    /// The state at the playhead. The reference is good until the playhead moves.
    [[nodiscard]] const StackState& state() const;
    [[nodiscard]] const JourneyIndex& journeys() const { return m_journeys; }
    [[nodiscard]] const Selection& selection() const { return m_selection; }
    [[nodiscard]] HostId host() const { return m_host; }
    /// Playing leaps over stretches in which nothing happens at all (no event, no CPU at work) and says so by `skipped`.
    [[nodiscard]] bool skipsIdle() const { return m_skipIdle; }
    void setSkipsIdle(bool skips) { m_skipIdle = skips; }
    [[nodiscard]] bool isPlaying() const { return m_timer.isActive(); }
    /// A live source that has not ended: it grows by itself, whether one follows it or not.
    [[nodiscard]] bool isLive() const { return m_arrivals.isActive(); }
    /// The playhead stays at the edge of what has arrived. Every other move of the playhead ends it; nothing is lost by that.
    [[nodiscard]] bool isFollowing() const { return m_following; }
    /// Trace nanoseconds that pass in one second of play.
    [[nodiscard]] double speed() const { return m_speed; }
    /// What happened, in one sentence: "64 datagrams: 30 delivered, 15 dropped because …, 19 on the way".
    [[nodiscard]] QString sentence() const;
    /// The packet's last event that has happened at the playhead; empty if it is not born yet.
    [[nodiscard]] std::optional<std::uint32_t> lastEventOf(PacketId packet) const;
    /// The packet's call that the playhead is in or, between two calls, the last one begun; empty before the first.
    [[nodiscard]] std::optional<std::uint32_t> currentCallOf(PacketId packet) const;

public slots:
    void seek(skbscope::SimTime t);
    void seekToEvent(std::size_t position);
    void stepFunction(int direction); ///< to the next/previous call (+1/-1) of the selected packet, or of any
    void stepPacket(int direction);   ///< to the next/previous packet's birth; selects it
    void stepEvent(int direction);
    /// To the next call of the function after the playhead, of the selected packet if it has one; else to the first at all.
    void seekToFunction(skbscope::FunctionId function);
    /// To the last thing that happens to the packet in what is known.
    void seekToEndOf(skbscope::PacketId packet);
    void toBegin();
    /// Of a live source: to its edge, and on with it.
    void toEnd();
    void play();
    void pause();
    void toggle();
    void setFollowing(bool following);
    /// Stops a live source for good; what has arrived stays.
    void stopLive();
    void setSpeed(double nsPerSecond);
    void select(const skbscope::ui::Selection& selection);
    void selectPacket(skbscope::PacketId packet);
    void setHost(skbscope::HostId host);
    /// Tell the source; errors come back through `failed`.
    void setKnob(const QString& key, qint64 value);
    void setText(const QString& key, const QString& text);
    void act(const QString& key);
    void startOver();
    /// Shows another of the source's lines, at the same moment as far as it has come.
    void chooseBranch(std::size_t index);
    /// Runs both lines to their ends, so that comparing them speaks of all their packets.
    void runToEnd(std::size_t one, std::size_t other);
    /// The source was told something behind the session's back (a lesson ran its experiment): look at it anew.
    void sourceChanged();

signals:
    void playheadMoved();
    void selectionChanged();
    void traceGrown();
    void knobsTurned();   ///< what the source's knobs and texts say is another
    void traceReplaced(); ///< events may have been taken back: drop every cached ordinal
    void playingChanged(bool playing);
    void speedChanged(double nsPerSecond);
    void followingChanged(bool following);
    /// Several times a second while a live source runs, and once when it has ended.
    void liveChanged();
    void failed(const QString& message);
    /// Something worth a quiet line, no error: "packet 3 has no later step".
    void remarked(const QString& message);
    /// Play has leapt over that much time in which nothing happened.
    void skipped(skbscope::Duration idle);

public:
    /// What became different between two of the source's lines, as far as both have run.
    struct Difference {
        WhatIf what;
        SimTime until;       ///< how far both have run
        bool whole = false;  ///< both are at their end
    };
    [[nodiscard]] Difference compare(std::size_t before, std::size_t after) const;
    /// Work is under way: the source belongs to another thread.
    [[nodiscard]] bool isWorking() const { return m_working; }
    /// Lets somebody else read the trace, on another thread if need be: until the function returns the session leaves the source alone.
    void holdStillFor(const std::function<void()>& reading);

    /// For tests and for pictures in a row: play as if that much real time had passed.
    void advanceBy(double seconds) { advance(seconds); }

private:
    void tick();
    void takeArrivals();
    /// After the source was told something: drops caches of a replaced trace, takes in a grown one.
    void refresh() { announce(takeIn()); }
    enum class Change { none, grown, replaced };
    /// The first half of refresh(), which tells nobody: part of work on another thread.
    [[nodiscard]] Change takeIn();
    void announce(Change change);
    /// Does work in the source and then tells everybody what came of it.
    void run(const QString& what, const std::function<void(Work&)>& work);
    void runSource(Work& work);
    void moveTo(std::size_t position, SimTime t);
    /// Turns something at the playhead: on this line, or on one that parts here.
    void turn(const QString& words, const std::function<Result<void>(bool branching)>& what);
    /// One tick of play, after that many seconds of real time.
    void advance(double seconds);
    [[nodiscard]] bool isIdle() const;
    bool leap();
    [[nodiscard]] std::size_t positionAt(SimTime t) const;
    /// Lets the source run on a little; false if nothing more comes.
    bool extend(Duration by);
    /// Extends until `found` says yes or nothing more comes.
    template <typename Found>
    bool extendUntil(Found found);
    [[nodiscard]] std::optional<std::size_t> birthOf(PacketId packet) const;
    [[nodiscard]] bool allDatagrams() const;
    [[nodiscard]] QString whyDropped(const DropKey& key) const;

    Runner m_runner;
    bool m_working = false;
    std::unique_ptr<Source> m_source;
    mutable std::unique_ptr<StateCache> m_states;
    JourneyIndex m_journeys;
    SimTime m_now;
    SimTime m_furthest; ///< what has been seen of the chosen line
    std::size_t m_position = 0;
    Selection m_selection;
    HostId m_host{};
    QTimer m_timer;
    QTimer m_arrivals; ///< looks for what has arrived from a live source
    bool m_following = false;
    bool m_atEdge = false; ///< it is following itself that moves the playhead
    double m_speed = 20'000; // 1 s = 20 µs
    std::uint64_t m_generation = 0;
    std::size_t m_seenEvents = 0;
    QElapsedTimer m_clock;
    bool m_skipIdle = true;
    double m_fraction = 0; ///< of a nanosecond, left over by the last tick
    mutable std::size_t m_flowsSeen = 0; ///< packets looked at by allDatagrams()
    mutable PacketId m_firstOther = PacketId::none;
};

} // namespace skbscope::ui
