#pragma once
// What a person sees at one moment: where each live packet is, what each queue holds, what each CPU does, what was
// counted. A pure reducer over events, the same for every driver.

#include "core/trace/trace.h"

#include <array>
#include <deque>
#include <map>

namespace skbscope {

/// A call that has begun and, as far as the trace tells, not ended.
struct OpenCall {
    std::size_t ordinal = 0; ///< of its event
    FunctionId function = FunctionId::none;
    PacketId packet = PacketId::none;
    TaskId task = TaskId::none;
    SimTime start;
    /// `never`: unknown. It ends when a call of its depth or less begins, and in an observed trace also when nothing was
    /// seen of its level for StackState::quiet: that it still runs would be a guess.
    SimTime end = never;
    std::uint8_t depth = 0;
};

struct CpuState {
    /// Open calls per Context, outermost first.
    std::array<std::vector<OpenCall>, 4> levels;
    std::array<SimTime, 4> last_seen{}; ///< of each level: its latest call's entry
    TaskId task = TaskId::none; ///< 0: idle
    HostId host{};
    std::uint16_t softirq_pending = 0; ///< bit per vector

    /// The level that runs now, that of the call begun last; empty: idle or unknown user code.
    [[nodiscard]] std::optional<Context> running() const;
    /// Innermost open call of the running level; null if idle.
    [[nodiscard]] const OpenCall* innermost() const;
    /// The packet being worked on: of the innermost call that has one, at the running level.
    [[nodiscard]] PacketId packet() const;
};

/// Where a live packet is.
struct PacketState {
    enum class Where : std::uint8_t {
        running, ///< a CPU executes a function for it
        waiting, ///< in a queue
        parked,  ///< in no queue that the trace names, and no CPU works on it (another packet of its batch is served)
    };
    Where where = Where::parked;
    RoomId room = RoomId::none;
    QueueId queue = QueueId::none;           ///< when waiting
    FunctionId function = FunctionId::none;  ///< the last function that handled it
    CpuId cpu{};
    Context context = Context::process;
    SimTime since;              ///< in this room or queue
    RoomId previous_room = RoomId::none;
    Verdict verdict = Verdict::in_flight; ///< may be decided before its memory is freed (sent, delivered)
};

struct QueueState {
    std::deque<PacketId> packets;
    std::uint64_t limit = 0;
    std::uint64_t fill = 0; ///< bytes, for a queue whose unit is bytes
    std::uint64_t peak = 0; ///< in the queue's unit
    std::uint64_t level(QueueUnit unit) const { return unit == QueueUnit::bytes ? fill : packets.size(); }
};

/// born = delivered + forwarded + sent + consumed + dropped + merged + split + lost + in_flight(), always.
struct Accounting {
    std::uint64_t born = 0;
    std::array<std::uint64_t, verdict_count> by_verdict{}; ///< index: Verdict; in_flight's entry is unused
    [[nodiscard]] std::uint64_t of(Verdict verdict) const { return by_verdict[static_cast<std::size_t>(verdict)]; }
    [[nodiscard]] std::uint64_t decided() const;
    [[nodiscard]] std::uint64_t in_flight() const { return born - decided(); }
};

struct DropKey {
    DropReasonId reason = DropReasonId::none;
    FunctionId function = FunctionId::none;
    HostId host{};
    auto operator<=>(const DropKey&) const = default;
};

class StackState {
public:
    /// An observed call whose return was not seen counts as open no longer than this without a sign of its level.
    static constexpr Duration quiet{1'000'000};

    explicit StackState(const Trace& trace);

    /// Applies the event with that ordinal. Ordinals must come in order, one by one.
    void apply(std::size_t ordinal);
    /// Ends calls whose return lies at or before t, so that CPUs show idle between events.
    void settle(SimTime t);

    [[nodiscard]] std::size_t applied() const { return applied_; } ///< events applied so far
    [[nodiscard]] SimTime time() const { return time_; }
    /// Packets that are born and not freed (a sent one lives until its completion), by id.
    [[nodiscard]] const std::map<PacketId, PacketState>& packets() const { return packets_; }
    [[nodiscard]] const std::vector<QueueState>& queues() const { return queues_; } ///< by QueueId
    [[nodiscard]] const std::vector<CpuState>& cpus() const { return cpus_; }       ///< by CpuId
    [[nodiscard]] const Accounting& accounting() const { return accounting_; }
    [[nodiscard]] const std::map<DropKey, std::uint64_t>& drops() const { return drops_; }
    [[nodiscard]] const std::vector<std::uint64_t>& counters() const { return counters_; } ///< by CounterId
    [[nodiscard]] bool irq_masked(DeviceId device) const;
    [[nodiscard]] std::uint64_t lost_events() const { return lost_; }
    /// Packets born in this trace so far that have ended, newest last; at most 256 are kept. For "what just happened".
    [[nodiscard]] const std::deque<PacketId>& recently_ended() const { return ended_; }

private:
    void on_birth(const Event& event);
    void on_call(std::size_t ordinal, const Event& event);
    void on_enqueue(const Event& event);
    void on_dequeue(const Event& event);
    void on_sched(const Event& event);
    void set_verdict(PacketId packet, Verdict verdict);
    void end_packet(PacketId packet);
    PacketState* find(PacketId id);
    CpuState& cpu(const Event& event);
    void pop_call(CpuState& cpu, std::size_t level);
    void clear_level(CpuState& cpu, std::size_t level);
    void close_ended(CpuState& cpu, SimTime t);
    void close_quiet(CpuState& cpu, SimTime t);

    const Trace* trace_;
    std::size_t applied_ = 0;
    SimTime time_;
    std::map<PacketId, PacketState> packets_;
    std::vector<QueueState> queues_;
    std::vector<CpuState> cpus_;
    std::vector<std::uint64_t> counters_;
    std::vector<bool> masked_;
    Accounting accounting_;
    std::map<DropKey, std::uint64_t> drops_;
    std::deque<PacketId> ended_;
    std::uint64_t lost_ = 0;
};

/// StackState at any time of a growing trace in O(log n) plus a bounded replay.
class StateCache {
public:
    static constexpr std::size_t interval = 4096; ///< events between checkpoints

    explicit StateCache(const Trace& trace);
    /// State after all events with time <= t, settled at t. The reference is good until the next call.
    const StackState& at(SimTime t);
    /// State after the first n events, settled at the last one's time.
    const StackState& after(std::size_t n);
    /// Forget everything; call when the trace was cleared or replaced.
    void reset();

private:
    const StackState& seek(std::size_t n, SimTime t);
    const Trace* trace_;
    std::vector<StackState> checkpoints_; ///< [i]: after i * interval events
    StackState current_;
    SimTime settled_at_; ///< current_ has lost the calls that ended by then
};

/// The sk_buff of one packet at one moment, from its field events.
struct SkbImage {
    std::array<std::optional<std::uint64_t>, skb_field_count> fields; ///< empty: not known (yet)
    std::vector<std::uint8_t> frame;                                  ///< bytes as they are at that moment
    std::vector<FieldChange> changed_here;                            ///< by the step at that moment
    [[nodiscard]] std::optional<std::uint64_t> of(SkbField field) const { return fields[static_cast<std::size_t>(field)]; }
};

/// The sk_buff after all events up to ordinal (included). `changed_here`: what changed since the packet's last call
/// before it. Cost: the packet's own events, found through `events` (ordinals of the packet, ascending).
[[nodiscard]] SkbImage skb_image(const Trace& trace, PacketId packet, std::span<const std::uint32_t> events,
                                 std::size_t ordinal);

} // namespace skbscope
