#pragma once
// Who is who: packets by sk_buff address and generation, from birth to end, and the events about them that
// wait to be written in time order. An address names a packet only between its birth and its death (the slab
// hands it out again at once), and many calls are seen before their packet has an address: those belong to a
// slot, which later turns out to be a new packet, one already known, or none at all.

#include "capture/rows.h"
#include "core/trace/trace.h"

#include <array>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace skbscope {

/// A packet, or what may turn out to be one. 0: none.
using Slot = std::uint32_t;

/// What the book knows of one slot.
struct SlotRecord {
    enum class Kind : std::uint8_t {
        open,     ///< calls whose packet is not known yet
        transmit, ///< of a sending call
        receive,  ///< of a frame that the driver takes in
        reader,   ///< of a receiving system call: becomes the packet it reads
        clone,
        known,   ///< first seen under its address
        nothing, ///< decided: no packet
    };
    Kind kind = Kind::open;
    bool born = false;
    bool dead = false;
    bool tapped = false;      ///< a clone that a packet socket took
    bool in_socket = false;   ///< accepted into a socket's queue, not taken out
    bool in_ring = false;     ///< handed to the driver, not completed
    bool looped = false;      ///< its "wire" is this host: the driver gave it back as received
    bool transmitted = false; ///< a verdict for leaving was written
    bool send_begun = false;  ///< the message behind it has its packet: the next one needs a slot of its own
    bool core_seen = false;   ///< it passed __netif_receive_skb_core
    bool held_by_gro = false;
    bool left_neighbour = false; ///< it waited for its neighbour, and went on
    Slot same_as = 0;            ///< this slot turned out to be that one
    std::uint64_t address = 0;   ///< of its sk_buff; 0: not known (yet)
    std::uint32_t length_now = 0;  ///< bytes with Ethernet header, as last told; GRO's and GSO's packets change theirs
    std::uint16_t ethertype = 0;
    std::uint32_t driver_call = 0; ///< item of the driver's transmit function
    std::uint32_t queue_take = 0;  ///< item of the last __skb_try_recv_from_queue
    std::uint32_t neighbour_call = 0;
    std::uint32_t last_item = 0; ///< the last call given to it
    std::uint32_t delivered_side = 0, enqueued_side = 0, qdisc_side = 0, backlog_side = 0, waiting_side = 0;
    DeviceId at_device = DeviceId::none; ///< where it was seen last
    std::uint32_t fields = 0; ///< row of PacketBook's told fields; 0: none was told
    PacketRecord packet;
};

/// A trace being written: events whose packets are still slots. They stand in the trace from the first on, where memory
/// for them is taken once; until write() has been called nobody else can read it.
class PacketBook {
public:
    /// The trace must outlive the book and hold no events.
    explicit PacketBook(Trace& trace);

    // ---- slots
    // ------------------------------------------------------------------------------------------------------
    Slot open(SlotRecord::Kind kind = SlotRecord::Kind::open);
    /// The slot that this one turned out to be.
    [[nodiscard]] Slot resolve(Slot slot) { return slots_[slot].same_as == 0 ? slot : resolve_far(slot); }
    [[nodiscard]] SlotRecord& at(Slot slot) { return slots_[resolve(slot)]; }
    /// `slot` is the same packet as `other`.
    void unite(Slot slot, Slot other);
    /// The living packet with that address, or 0.
    [[nodiscard]] Slot living(std::uint64_t address)
    {
        const Slot slot = living_.find(address);
        return slot == 0 ? 0 : resolve(slot);
    }
    void bind(Slot slot, std::uint64_t address);

    // ---- events
    // -----------------------------------------------------------------------------------------------------
    /// A call; its place in the trace is kept. Returns its item (never 0).
    std::uint32_t add(const Event& event);
    [[nodiscard]] Event& item(std::uint32_t index) { return trace_.mutable_event(index); } ///< not after write()
    [[nodiscard]] std::uint32_t last_item() const { return last_item_; }

    /// Which queue an enqueue or dequeue means; the record is made when everything is known.
    struct QueueName {
        QueueKind kind = QueueKind::other;
        std::string detail;
    };
    /// An event at the moment of `anchor`, written behind it (or before it). Returns a handle for cancel().
    std::uint32_t add_side(std::uint32_t anchor, EventKind kind, Slot slot, std::uint32_t arg,
                           bool before = false);
    std::uint32_t add_queue_side(std::uint32_t anchor, EventKind kind, Slot slot, const QueueName& queue);
    void cancel(std::uint32_t handle);
    void name_queue(std::uint32_t handle, const std::string& detail);

    // ---- the life of a packet
    // ---------------------------------------------------------------------------------------
    void born(Slot slot, std::uint32_t item);
    /// Accepted into a socket's receive queue.
    void delivered(Slot slot, std::uint32_t item);
    void left_socket(Slot slot, std::uint32_t item);
    /// The driver took it.
    void transmitted(Slot slot, std::uint32_t item);
    void decide(Slot slot, Verdict verdict, std::uint32_t item);
    void dropped(Slot slot, DropReasonId reason, FunctionId function, std::uint32_t item);
    /// Its sk_buff is freed.
    void freed(Slot slot, std::uint32_t item);
    /// Its end was not seen: the address has a new owner.
    void end_unseen(Slot slot, std::uint32_t item);

    /// A record tells this of the sk_buff; an event is written where it is new or differs from what was told
    /// before.
    void field(Slot slot, std::uint32_t item, SkbField field, std::uint64_t value);

    /// Every living packet may have lost records.
    void mark_loss();

    // ---- the end
    // ----------------------------------------------------------------------------------------------------
    using Slots = Rows<SlotRecord, 8192>;
    [[nodiscard]] Slots& slots() { return slots_; }
    /// Nothing is added any more: gives the packets their ids, in order of birth.
    void number_packets();
    /// After number_packets(): makes the trace what others read, with its packets, and events in time order.
    void write();
    /// After number_packets(): the id of the packet, or none.
    [[nodiscard]] PacketId id_of(Slot slot);

private:
    /// What an event is besides: in Event::host, which a recording of one host has no other use for.
    enum Mark : std::uint8_t {
        mark_side = 1,   ///< stands behind its anchor, the item before it
        mark_before = 2, ///< is written before its anchor
        mark_cancelled = 4,
    };
    /// An event whose anchor was not the last item any more.
    struct Late {
        std::uint32_t anchor;
        Event event;
    };
    /// What was told of a living sk_buff.
    struct Told {
        std::uint32_t known = 0; ///< bits by SkbField
        std::array<std::uint64_t, skb_field_count> values{};
    };
    static constexpr std::uint32_t late_handle = std::uint32_t{1} << 31;

    Event& side(std::uint32_t handle)
    {
        return (handle & late_handle) != 0 ? late_[handle & ~late_handle].event : trace_.mutable_event(handle);
    }
    Slot resolve_far(Slot slot);
    std::uint32_t queue_name(const QueueName& name);
    std::uint32_t field_row(const FieldChange& change);
    QueueId queue_id(const QueueName& name, Slot slot);
    bool finish_side(Event& side);
    std::vector<std::uint64_t> order_of_late() const;
    std::size_t settle(std::vector<std::uint32_t>& places);
    void insert_late(std::size_t count, const std::vector<std::uint32_t>& places);
    void write_packets();

    Slots slots_;
    Trace& trace_; ///< its events are the items and, behind each, the sides added while it was the last; row 0: none
    std::uint32_t last_item_ = 0;
    std::vector<Late> late_;
    std::vector<Slot> order_; ///< the packets, by birth
    std::vector<QueueName> queue_names_;
    std::vector<FieldChange> field_changes_; ///< one row for equal changes that come close together
    std::vector<std::uint32_t> recent_changes_;
    std::vector<std::uint32_t> change_in_trace_; ///< row there; all ones: not written yet
    std::vector<Told> told_;
    std::vector<std::uint32_t> free_told_;
    AddressMap living_;
    std::map<std::pair<int, std::string>, QueueId> queues_;
    std::unordered_map<std::uint64_t, QueueId> queue_by_key_;
    std::vector<PacketId> ids_;
};

} // namespace skbscope
