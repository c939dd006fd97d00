#pragma once
// What stands where on the map at the playhead: tokens, trays, running CPUs, drops. A pure function of the trace, the
// playhead and the layout, without painting: the same moment always gives the same scene, from whichever side it is reached.

#include "ui/map/map_layout.h"
#include "ui/player/session.h"

#include <array>
#include <map>
#include <vector>

namespace skbscope::ui {

/// A packet on the map.
struct MapToken {
    enum class Kind : std::uint8_t {
        running, ///< a CPU works on it
        waiting, ///< in a queue
        parked,  ///< in hand, but another packet of its batch is served
        ended,   ///< has just left: fades
    };
    PacketId packet = PacketId::none;
    RoomId room = RoomId::none; ///< where StackState says it is, whatever the animation shows
    QueueId queue = QueueId::none;
    QPointF centre;
    Kind kind = Kind::parked;
    Context context = Context::process;
    Verdict verdict = Verdict::in_flight;
    std::uint8_t flow = 0;
    bool moving = false;
    bool hidden = false; ///< behind "+ n": there is no place to draw it
    float opacity = 1;
};

/// One queue, drawn as slots in its room's card, or in a part of it when the room has several.
struct MapTray {
    QueueId queue = QueueId::none;
    RoomId room = RoomId::none;
    QRectF card;  ///< its part of the room
    QRectF slotRow; ///< the row of slots
    int slotCount = 0;
    int moreSlots = 1; ///< how many of the last slots "+ n" takes when packets do not fit
    qreal slotWidth = 0;
    std::uint64_t level = 0; ///< in the queue's unit
    std::uint64_t limit = 0;
    std::uint64_t packets = 0;
    std::uint64_t peak = 0;
    bool used = false;
    bool full = false; ///< level at or above the limit
    bool low = false;  ///< no place for two lines: the slots stand beside the name, the tooltip has the level
    [[nodiscard]] QRectF slot(int index) const;
    [[nodiscard]] int hiddenPackets() const; ///< those that "+ n" stands for
};

/// A CPU has a call open in the room.
struct MapActivity {
    RoomId room = RoomId::none;
    CpuId cpu{};
    Context context = Context::process;
    FunctionId function = FunctionId::none;
    bool innermost = false;  ///< this call runs; the others enclose it or are interrupted
    bool ksoftirqd = false;  ///< softirq work done by the ksoftirqd thread
};

struct MapDrops {
    RoomId room = RoomId::none;
    std::uint64_t count = 0;
    DropReasonId reason = DropReasonId::none; ///< the most frequent
    FunctionId function = FunctionId::none;
    int reasons = 0;
};

/// What the whole known trace says about a room; grows with the trace.
struct RoomUse {
    bool used = false;
    std::uint8_t contexts = 0;                    ///< bit 1 << Context of each call seen
    FunctionId first = FunctionId::none;          ///< the first function seen there, rather one named like the room's
    bool alike = false;
    bool shownSeen = false;                       ///< the catalog's function for this room was among them
    TaskId task = TaskId::none;                   ///< the first task seen there in process context
    bool severalTasks = false;
    bool operator==(const RoomUse&) const = default;
};

class MapScene {
public:
    explicit MapScene(const Session& session);

    /// Forget what was learnt of the trace; when it was replaced or the host changed.
    void reset();
    /// Learn from the events that came since. True if the fixed part of the picture (rooms in use, trays) changed.
    bool learn();
    /// Compute the scene at the session's playhead.
    void build(const MapLayout& layout);

    [[nodiscard]] const std::vector<MapToken>& tokens() const { return m_tokens; }
    [[nodiscard]] const std::vector<MapTray>& trays() const { return m_trays; }
    [[nodiscard]] const std::vector<MapActivity>& activity() const { return m_activity; }
    [[nodiscard]] const std::vector<MapDrops>& drops() const { return m_drops; }
    [[nodiscard]] const RoomUse& use(RoomId room) const { return m_use[to_index(room)]; }
    [[nodiscard]] bool anythingUsed() const { return m_anyCall; }
    /// Some packet of the trace went straight from the one room to the other.
    [[nodiscard]] bool wentFrom(RoomId from, RoomId to) const;
    /// Some packet of the trace was there (a room may also be used by calls without one).
    [[nodiscard]] bool visited(RoomId room) const { return m_visited[to_index(room)]; }
    /// Packets that stand in the room by what the scene draws (moving ones count where they come from).
    [[nodiscard]] std::vector<PacketId> tokensIn(RoomId room) const;
    /// Tokens that are drawn, not counted behind others.
    [[nodiscard]] std::size_t shownTokens() const;
    [[nodiscard]] const MapToken* token(PacketId packet) const;
    /// Tokens of the room that had no place.
    [[nodiscard]] int hiddenIn(RoomId room) const { return m_hidden[to_index(room)]; }
    [[nodiscard]] bool irqMasked() const { return m_irqMasked; }
    /// The colour number of the packet's flow: in order of first appearance, both directions of a flow alike.
    [[nodiscard]] std::uint8_t flowOf(PacketId packet) const;
    /// The typical time between two steps of one packet in this trace.
    [[nodiscard]] std::uint64_t pace() const { return m_pace; }

private:
    struct Target {
        RoomId room = RoomId::none;
        QueueId queue = QueueId::none;
        std::uint64_t at = 0; ///< ns
        bool leftQueue = false;
        QueueId from = QueueId::none;
        std::uint64_t since = 0;
    };
    [[nodiscard]] bool shows(HostId host) const;
    /// Where the event puts its packet, which stood in `before` until then.
    [[nodiscard]] RoomId placeOf(const Event& event, RoomId before) const;
    /// The room of a function on the way that leads from `before`; none for what the catalog does not know.
    [[nodiscard]] RoomId roomOf(FunctionId function, RoomId before, Context context) const;
    [[nodiscard]] Target nextMove(PacketId packet, const PacketState& state) const;
    [[nodiscard]] QPointF along(const MapLayout& layout, QPointF from, RoomId a, RoomId b, QPointF to, qreal share) const;
    /// Where a token stands in the room that is in no queue: as the layout says, but clear of a tray's name and count.
    [[nodiscard]] QPointF standAt(const MapLayout& layout, RoomId room, int index) const;
    void buildTrays(const MapLayout& layout, const StackState& state);
    void buildActivity(const StackState& state);
    void buildTokens(const MapLayout& layout, const StackState& state);
    void buildEnded(const MapLayout& layout, const StackState& state);
    void buildDrops(const StackState& state);
    /// The event is a run of the hook PRE_ROUTING.
    [[nodiscard]] bool runsPreRouting(std::size_t ordinal) const;
    void measurePace();

    const Session& m_session;
    std::size_t m_learnt = 0;
    bool m_anyCall = false;
    std::vector<RoomId> m_roomOf; ///< by FunctionId of the catalog
    std::vector<RoomUse> m_use;   ///< by RoomId
    std::vector<RoomId> m_lastRoom; ///< by PacketId: where it was last, in what was learnt
    std::vector<bool> m_visited;    ///< by RoomId
    std::vector<bool> m_went;       ///< from * rooms + to
    std::vector<bool> m_queueUsed;
    std::vector<bool> m_isKsoftirqd; ///< by TaskId
    std::uint64_t m_pace = 150;
    bool m_paceFixed = false;
    RoomId m_memory = RoomId::none;
    RoomId m_wire = RoomId::none;
    RoomId m_routeIn = RoomId::none; ///< its functions serve both ways
    RoomId m_preRouting = RoomId::none;
    FunctionId m_hookSlow = FunctionId::none, m_hookSlowList = FunctionId::none;
    std::vector<FunctionId> m_preRoutingCallers;

    std::vector<MapToken> m_tokens;
    std::vector<MapTray> m_trays;
    std::vector<int> m_trayOf; ///< by QueueId: row of m_trays, -1 none
    std::vector<MapActivity> m_activity;
    std::vector<MapDrops> m_drops;
    std::vector<int> m_hidden;
    bool m_irqMasked = false;

    mutable std::vector<std::uint8_t> m_flows; ///< by PacketId
    mutable std::map<FlowKey, std::uint8_t> m_flowIndex;
};

} // namespace skbscope::ui
