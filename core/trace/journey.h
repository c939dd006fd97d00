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
///
/// A journey has the packet's own calls and, marked shared, those that enclose its handling on the same CPU (they serve
/// many packets, packet 0, or another one: arp_process of the reply that lets a datagram go) or belong to the interrupt
/// that scheduled that poll. Of a model, which knows the real nesting, also the direct parts of an enclosing call that
/// serve no packet (e1000_clean_tx_irq finding nothing) and what was done for others inside the packet's own calls (the
/// ARP request inside neigh_probe).
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
        std::uint32_t task;
        PacketId packet;
        std::uint8_t depth;
        bool is_net_rx_action;
        SimTime end;
        std::vector<PacketId> users;         ///< other packets whose journey includes this call
        std::vector<std::uint32_t> children; ///< packet-0 calls made directly by this packet-0 call
    };
    using Lane = std::vector<Frame>; ///< open calls of one (cpu, context), outermost first
    struct Entry {
        std::vector<std::uint32_t> events;
        std::vector<std::uint32_t> shared;
    };
    using Block = std::vector<std::uint32_t>; ///< the calls of one hard interrupt
    /// Per CPU: calls of the interrupt now running, of those that raised NET_RX since it ran last, of those it runs for, of this poll's.
    struct Interrupts {
        Block block;
        std::vector<Block> raised_by, run_for;
        Block polling_for;
        Context last = Context::process; ///< of the CPU's last call
    };
    void take(std::uint32_t ordinal);
    void take_call(std::uint32_t ordinal, const Event& event);
    void close_ended(Lane& lane, SimTime t, Context context);
    void pop(Lane& lane, Context context);
    /// The call at that place of the lane was made by a packet-0 call and has served no packet.
    [[nodiscard]] bool is_part_of_no_packet(const Lane& lane, std::size_t at, Context context) const;
    void raised(Interrupts& interrupts) const;
    void find_interrupt_of(FunctionId poll, Interrupts& interrupts) const;
    void use_lane(Lane& lane, const Event& event);
    void give_to_callers(const Lane& lane, std::uint32_t ordinal, const Event& event);
    Entry& entry(PacketId packet);

    const Trace* trace_;
    std::size_t taken_ = 0;
    std::vector<Lane> lanes_; ///< cpu * 4 + context
    std::vector<Interrupts> interrupts_;
    std::vector<Entry> entries_; ///< by PacketId
};

} // namespace skbscope
