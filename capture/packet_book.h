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
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace skbscope {

/// No ports: of a fragment that is not the first (or of another protocol).
[[nodiscard]] inline bool flow_lacks_ports(const FlowKey& flow)
{
    return flow.source_port == 0 && flow.destination_port == 0;
}

/// A packet, or what may turn out to be one. 0: none.
using Slot = std::uint32_t;

/// What the book knows of one slot. Three lines of the cache; most records ask for the first alone.
struct alignas(64) SlotRecord {
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
    bool in_socket = false;   ///< accepted into a socket's queue, not taken out
    bool in_ring = false;     ///< handed to the driver, not completed
    bool looped = false;      ///< its "wire" is this host: the driver gave it back as received
    bool transmitted = false; ///< a verdict for leaving was written
    bool core_seen = false;   ///< it passed __netif_receive_skb_core
    bool tapped : 1 = false;      ///< a clone that a packet socket took
    bool is_datagram : 1 = false; ///< the socket that it is in is UDP's
    bool send_begun : 1 = false;  ///< the message behind it has its packet: the next one needs a slot of its own
    bool held_by_gro : 1 = false;
    bool shared : 1 = false;         ///< its receiver was not its only owner and went on with a clone of another address (skb_share_check)
    bool in_pieces : 1 = false;      ///< segments were cut from it
    bool left_neighbour : 1 = false; ///< it waited for its neighbour, and went on
    bool listed : 1 = false;         ///< among those that are being written
    bool row_is_final : 1 = false;   ///< its death has been written
    bool leaves : 1 = false;         ///< __dev_queue_xmit was called for it since it was received
    bool is_doubtful : 1 = false;    ///< records were lost while nobody was seen to serve it: its address may have another owner since
    std::uint16_t ethertype = 0;
    Slot same_as = 0;              ///< this slot turned out to be that one
    std::uint64_t address = 0;     ///< of its sk_buff; 0: not known (yet)
    std::uint32_t length_now = 0;  ///< bytes with Ethernet header, as last told; GRO's and GSO's packets change theirs
    std::uint32_t driver_call = 0; ///< item of the driver's transmit function
    std::uint32_t queue_take = 0;  ///< item of the last __skb_try_recv_from_queue
    std::uint32_t neighbour_call = 0;
    std::uint32_t last_item = 0; ///< the last call given to it
    std::uint32_t last_side = 0; ///< the last item at which something was said of it
    std::uint32_t delivered_side = 0, enqueued_side = 0, qdisc_side = 0, backlog_side = 0, waiting_side = 0; ///< delivered_side: its end unseen, too
    DeviceId at_device = DeviceId::none; ///< where it was seen last
    std::uint32_t fields = 0; ///< row of PacketBook's told fields; 0: none was told
    PacketRecord packet;
};

/// A trace being written: events whose packets are still slots. They stand in the trace from the first on, where memory
/// for them is taken once; until write() has been called nobody else can read it.
class PacketBook {
public:
    /// The trace must outlive the book and hold no events.
    explicit PacketBook(Trace& trace) : PacketBook(trace, trace) {}
    /// For write_until(): what is not written yet stands in a trace of its own, which must outlive the book, too.
    PacketBook(Trace& trace, Trace& items);

    // ---- slots
    // ------------------------------------------------------------------------------------------------------
    Slot open(SlotRecord::Kind kind = SlotRecord::Kind::open);
    /// The slot that this one turned out to be.
    [[nodiscard, gnu::always_inline]] Slot resolve(Slot slot)
    {
        const SlotRecord* record = slots_.find(slot);
        return record != nullptr && record->same_as == 0 ? slot : resolve_far(slot);
    }
    [[nodiscard, gnu::always_inline]] SlotRecord& at(Slot slot)
    {
        SlotRecord* record = slots_.find(slot);
        return record != nullptr && record->same_as == 0 ? *record : slots_[resolve_far(slot)];
    }
    /// `slot` is the same packet as `other`.
    void unite(Slot slot, Slot other);
    /// The living packet with that address, or 0.
    [[nodiscard]] Slot living(std::uint64_t address)
    {
        const Slot slot = living_.find(address);
        return slot == 0 ? 0 : resolve(slot);
    }
    void bind(Slot slot, std::uint64_t address);
    /// That sk_buff is gone; the packet goes on in another one, whose address may not be known.
    void leave(Slot slot, std::uint64_t address);

    // ---- events
    // -----------------------------------------------------------------------------------------------------
    /// A call; its place in the trace is kept. Returns its item (never 0).
    std::uint32_t add(const Event& event);
    /// The same, to be filled in by the caller before anything else is added: it is last_item(). An event built elsewhere
    /// and copied would cost the wait for its small parts to reach the cache.
    Event& add_for(Slot packet);
    /// Not after write(). Of an item that write_until() has written: one that may be changed without effect.
    [[nodiscard, gnu::always_inline]] Event& item(std::uint32_t index)
    {
        return index >= near_from_ ? near_items_[index - near_first_] : item_far(index);
    }
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
    /// Delivered, but as part of one that waited already.
    void never_queued(Slot slot);
    /// The driver took it.
    void transmitted(Slot slot, std::uint32_t item);
    void decide(Slot slot, Verdict verdict, std::uint32_t item);
    void dropped(Slot slot, DropReasonId reason, FunctionId function, std::uint32_t item);
    /// Its sk_buff is freed.
    void freed(Slot slot, std::uint32_t item);
    /// Its end was not seen: the address has a new owner.
    void end_unseen(Slot slot, std::uint32_t item);
    /// What became of one whose end was not seen has turned out, but not when.
    void tell_end(Slot slot, Verdict verdict);

    /// … of all that live.
    void end_all_unseen(std::uint32_t item);

    struct Field {
        SkbField field;
        std::uint64_t value;
    };
    /// A record tells this of the sk_buff; an event is written for each that is new or differs from what was told before.
    void tell(Slot slot, std::uint32_t item, std::span<const Field> fields);

    /// A fragment whose bytes went on in another one: that is the whole datagram, and takes the ports that only the first fragment has.
    void tell_whole(Slot fragment);

    /// Every living packet may have lost records, and but for those `served` may have ended.
    void mark_loss(const std::vector<Slot>& served);

    // ---- the end
    // ----------------------------------------------------------------------------------------------------
    using Slots = Rows<SlotRecord, 512>;
    [[nodiscard]] Slots& slots() { return slots_; }
    /// Nothing is added any more: gives the packets their ids, in order of birth.
    void number_packets();
    /// After number_packets(): makes the trace what others read, with its packets, and events in time order.
    void write();
    /// After number_packets() or write_until(): the id of the packet, or none.
    [[nodiscard]] PacketId id_of(Slot slot) { return at(slot).packet.id; }

    // ---- while records still come
    // ----------------------------------------------------------------------------------------------------
    /// Makes what stands before that item part of the trace, or everything. What is decided later of calls that are
    /// written no longer shows in them. `everything` takes the place of number_packets() and write().
    void write_until(std::uint32_t until, bool everything = false);
    /// The first item that is not written.
    [[nodiscard]] std::uint32_t written() const { return written_; }
    /// Calls written without a packet although they had to do with one, so far.
    [[nodiscard]] std::uint64_t unattributed() const { return unattributed_; }
    /// Gives back the slots of packets that have ended and are written, and lets go of packets born before `oldest`:
    /// what is recorded of them later belongs to nobody. `in_use`: slots that must stay.
    void retire(SimTime oldest, const std::vector<Slot>& in_use);

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

    /// A row more of items_, nothing set but what Event() sets.
    Event& append_item()
    {
        Event& event = items_.append({});
        if (item_count_ % Trace::chunk_events == 0) [[unlikely]] {
            near_items_ = &event;
            near_first_ = item_count_;
            near_from_ = std::max(near_first_, written_);
        }
        __builtin_prefetch(&event + 16, 1); // beyond the end of its chunk that does nothing
        ++item_count_;
        return event;
    }
    Event& item_far(std::uint32_t index);
    void append_side_item(const Event& anchor, EventKind kind, Slot slot, std::uint32_t arg, std::uint8_t marks);
    Event& side(std::uint32_t handle)
    {
        if ((handle & late_handle) == 0) {
            return item(handle);
        }
        const std::uint32_t row = handle & ~late_handle;
        return row < late_begin_ ? gone() : late_[row - late_begin_].event;
    }
    PacketId written_id(Slot slot);
    /// Stands for what has been written: may be read and changed without effect.
    Event& gone();
    void list(Slot slot, std::vector<Slot>& touched);
    void list_touched(std::uint32_t until, bool everything, std::vector<Slot>& touched);
    void add_packets(const std::vector<Slot>& touched);
    void write_items(std::uint32_t until, bool everything);
    void append_side(const Event& side);
    void update_rows(const std::vector<Slot>& touched);
    PacketRecord row_of(Slot slot);
    void compact_changes();
    Slot resolve_far(Slot slot);
    std::uint32_t queue_name(const QueueName& name);
    std::uint32_t field_row(const FieldChange& change);
    QueueId queue_id(const QueueName& name, Slot slot);
    bool is_written(const Event& side);
    void finish_kept_side(Event& side);
    bool finish_side(Event& side);
    std::vector<std::uint64_t> order_of_late() const;
    std::size_t settle(std::vector<std::uint32_t>& places);
    void insert_late(std::size_t count, const std::vector<std::uint32_t>& places);
    void write_packets();

    Slots slots_;
    Trace& trace_;
    Trace& items_; ///< its events are the items and, behind each, the sides added while it was the last; row 0: none
    std::uint32_t item_count_ = 0; ///< rows of items_
    std::uint32_t last_item_ = 0;
    Event* near_items_ = nullptr; ///< the chunk that grows: row near_first_ and those behind it
    std::uint32_t near_first_ = 0;
    std::uint32_t near_from_ = 0; ///< of those, the first that is not written
    std::vector<Late> late_;
    std::uint32_t late_begin_ = 0; ///< number of the first of them
    std::uint32_t written_ = 0;    ///< items before it are written
    std::uint64_t written_ns_ = 0;
    std::uint64_t unattributed_ = 0;
    std::size_t first_chunk_ = 0; ///< slots before it have been given back
    SimTime last_birth_;
    Event gone_;
    std::pair<Slot, PacketId> last_written_{0, PacketId::none}; ///< of written_id()
    std::vector<Slot> marked_; ///< their rows changed without an event
    std::vector<Slot> order_; ///< the packets, by birth
    std::vector<QueueName> queue_names_;
    std::vector<FieldChange> field_changes_; ///< one row for equal changes that come close together
    struct RecentChange {
        FieldChange change;
        std::uint32_t row = ~std::uint32_t{0}; ///< of field_changes_; all ones: none
    };
    std::array<RecentChange, 1024> recent_changes_{}; ///< by a part of what they say: of many thousand rows these few are asked for
    std::vector<std::uint32_t> change_in_trace_; ///< row there; all ones: not written yet
    std::vector<Told> told_;
    std::vector<std::uint32_t> free_told_;
    AddressMap living_;
    std::map<std::pair<int, std::string>, QueueId> queues_;
    std::unordered_map<std::uint64_t, QueueId> queue_by_key_;
    std::array<std::pair<std::uint64_t, QueueId>, 16> recent_queues_{}; ///< of those, by a part of the key
};

} // namespace skbscope
