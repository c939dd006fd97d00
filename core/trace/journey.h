#pragma once
// One packet's way: its calls as a nested path, its waits, its verdict, the counters it moved.

#include "core/trace/trace.h"

#include <vector>

namespace skbscope {

struct Step {
    std::uint32_t ordinal = 0; ///< of its event in the trace
    bool shared = false;       ///< a call that serves many packets, recorded once
};

/// Between joining and leaving a queue.
struct Wait {
    QueueId queue = QueueId::none;
    SimTime from;
    SimTime to = never; ///< `never`: still there at the end
};

struct CounterMove {
    CounterId counter = CounterId::none;
    std::int64_t by = 0;
};

struct Journey {
    PacketId packet = PacketId::none;
    std::vector<Step> steps; ///< calls, by time then depth
    std::vector<Wait> waits;
    std::vector<CounterMove> counters;
    std::vector<std::uint32_t> events; ///< all ordinals that name the packet, ascending (calls, fields, queues …)

    /// Birth to the verdict's moment (or to death); spent in queues.
    [[nodiscard]] Duration waited(SimTime until) const;
};

/// The journeys of a trace, built in one pass and extended as the trace grows.
class JourneyIndex {
public:
    explicit JourneyIndex(const Trace& trace);
    /// Takes in the events appended since the last call.
    void update();
    /// Forget everything; call when the trace was cleared or replaced.
    void reset();
    /// The packet's journey as far as update() has seen; an empty one for an unknown packet.
    [[nodiscard]] Journey journey(PacketId packet) const;
    /// All ordinals that name the packet, ascending.
    [[nodiscard]] std::span<const std::uint32_t> events_of(PacketId packet) const;

private:
    struct Frame {
        std::uint32_t ordinal;
        std::uint8_t depth;
        bool shared;
        PacketId last_user;
        SimTime end;
    };
    struct Lane { // one (cpu, context)
        std::vector<Frame> frames;
    };
    struct Entry {
        std::vector<std::uint32_t> events;
        std::vector<std::uint32_t> shared;
    };
    void take(std::uint32_t ordinal);
    void use_frames(std::size_t lane, PacketId packet);

    const Trace* trace_;
    std::size_t taken_ = 0;
    std::vector<Lane> lanes_; ///< cpu * 4 + context
    std::vector<std::vector<std::uint32_t>> raised_by_; ///< per cpu: the hardirq calls that scheduled the next poll
    std::vector<std::vector<std::uint32_t>> hardirq_block_;
    std::vector<Entry> entries_; ///< by PacketId
};

} // namespace skbscope
