#include "capture/packet_book.h"

#include "core/catalog/catalog.h"

#include <algorithm>
#include <fmt/format.h>
#include <iterator>
#include <utility>

namespace skbscope {

namespace {

constexpr std::uint32_t none = ~std::uint32_t{0};
static_assert(sizeof(SlotRecord) == 192); // most of what lives while records come

/// Asks for the memory of events that will soon stand behind this one; beyond the end of its chunk that does nothing.
inline void fetch_ahead(const Event& event)
{
    __builtin_prefetch(&event + 16, 1);
}

/// Walks along rows of a trace, over the ends of its chunks.
class Rowwise {
public:
    Rowwise(const Trace& trace, std::uint32_t row) : trace_(&trace), row_(row) {}
    [[nodiscard]] const Event& operator*() const { return (*trace_)[row_]; }
    [[nodiscard]] std::uint32_t row() const { return row_; }
    Rowwise& operator++()
    {
        ++row_;
        return *this;
    }
    [[nodiscard]] bool operator!=(const Rowwise& other) const { return row_ != other.row_; }

private:
    const Trace* trace_;
    std::uint32_t row_;
};

} // namespace

PacketBook::PacketBook(Trace& trace, Trace& items) : trace_(trace), items_(items)
{
    (void)slots_.push(); // 0: none
    (void)append_item(); // 0: none
    told_.emplace_back(); // 0: none
}

Slot PacketBook::open(SlotRecord::Kind kind)
{
    slots_.push().kind = kind;
    return static_cast<Slot>(slots_.size() - 1);
}

Slot PacketBook::resolve_far(Slot slot)
{
    if (slots_.find(slot) == nullptr) {
        return 0;
    }
    while (slots_[slot].same_as != 0) {
        const Slot next = slots_[slot].same_as;
        if (slots_.find(next) == nullptr) {
            return 0;
        }
        if (slots_[next].same_as != 0 && slots_.find(slots_[next].same_as) != nullptr) {
            slots_[slot].same_as = slots_[next].same_as; // halve the way
        }
        slot = next;
    }
    return slot;
}

void PacketBook::unite(Slot slot, Slot other)
{
    slot = resolve(slot);
    other = resolve(other);
    if (slot == 0 || other == 0 || slot == other) {
        return;
    }
    SlotRecord& from = slots_[slot];
    SlotRecord& to = slots_[other];
    to.queue_take = from.queue_take != 0 ? from.queue_take : to.queue_take;
    to.last_item = std::max(to.last_item, from.last_item);
    if (from.packet.verdict == Verdict::delivered && to.packet.verdict == Verdict::in_flight) { // before a probe told who it is
        to.packet.verdict = from.packet.verdict;
        to.in_socket = from.in_socket;
        to.delivered_side = from.delivered_side;
        to.enqueued_side = from.enqueued_side;
    }
    from.same_as = other;
}

void PacketBook::bind(Slot slot, std::uint64_t address)
{
    slot = resolve(slot);
    slots_[slot].address = address;
    living_.set(address, slot);
}

void PacketBook::leave(Slot slot, std::uint64_t address)
{
    SlotRecord& record = at(slot);
    if (record.address == address) {
        record.address = 0;
    }
    living_.erase(address);
}

std::uint32_t PacketBook::add(const Event& event)
{
    append_item() = event;
    last_item_ = item_count_ - 1;
    if (event.packet != 0) {
        at(event.packet).last_item = last_item_;
    }
    return last_item_;
}

Event& PacketBook::add_for(Slot packet)
{
    Event& event = append_item();
    last_item_ = item_count_ - 1;
    event.packet = packet;
    if (packet != 0) {
        at(packet).last_item = last_item_;
    }
    return event;
}

Event& PacketBook::item_far(std::uint32_t index)
{
    return index < written_ ? gone() : items_.mutable_event(index);
}

namespace {

/// `side` stands at the moment and the place of `anchor`. Member by member: add_for() says why.
inline void place_side(Event& side, const Event& anchor)
{
    side.time_ns = anchor.time_ns;
    side.task = anchor.task;
    side.function = anchor.function;
    side.cpu = anchor.cpu;
    side.flags = anchor.flags;
    side.depth = anchor.depth;
}

} // namespace

inline void PacketBook::append_side_item(const Event& anchor, EventKind kind, Slot slot, std::uint32_t arg, std::uint8_t marks)
{
    Event& event = append_item();
    place_side(event, anchor);
    event.kind = static_cast<std::uint8_t>(kind);
    event.packet = slot;
    event.arg = arg;
    event.host = marks;
}

std::uint32_t PacketBook::add_side(std::uint32_t anchor, EventKind kind, Slot slot, std::uint32_t arg, bool before)
{
    const auto marks = static_cast<std::uint8_t>(mark_side | (before ? mark_before : 0));
    // Behind what is written there is no room any more; calls that were not traced have no moment at all.
    const std::uint32_t place = anchor == 0 ? 0 : std::max(anchor, written_);
    std::uint32_t& last_side = at(slot).last_side;
    last_side = std::max(last_side, place);
    if (anchor == last_item_ && anchor != 0) {
        append_side_item(item(anchor), kind, slot, arg, marks);
        return item_count_ - 1;
    }
    Late& late = late_.emplace_back();
    late.anchor = place;
    place_side(late.event, item(anchor));
    late.event.kind = static_cast<std::uint8_t>(kind);
    late.event.packet = slot;
    late.event.arg = arg;
    late.event.host = marks;
    return (late_begin_ + static_cast<std::uint32_t>(late_.size() - 1)) | late_handle;
}

std::uint32_t PacketBook::queue_name(const QueueName& name)
{
    for (std::size_t row = 0; row < queue_names_.size(); ++row) { // a few kinds, and neighbours that were unresolved
        if (queue_names_[row].kind == name.kind && queue_names_[row].detail == name.detail) {
            return static_cast<std::uint32_t>(row);
        }
    }
    queue_names_.push_back(name);
    return static_cast<std::uint32_t>(queue_names_.size() - 1);
}

std::uint32_t PacketBook::add_queue_side(std::uint32_t anchor, EventKind kind, Slot slot, const QueueName& queue)
{
    return add_side(anchor, kind, slot, queue_name(queue));
}

void PacketBook::cancel(std::uint32_t handle)
{
    if (handle != 0) {
        side(handle).host |= mark_cancelled;
    }
}

void PacketBook::name_queue(std::uint32_t handle, const std::string& detail)
{
    if (handle != 0) {
        Event& event = side(handle);
        event.arg = queue_name({queue_names_[event.arg].kind, detail});
    }
}

// ---- the life of a packet
// -------------------------------------------------------------------------------------------

void PacketBook::born(Slot slot, std::uint32_t item)
{
    slot = resolve(slot);
    SlotRecord& record = slots_[slot];
    if (slot == 0 || record.born) {
        return;
    }
    record.born = true;
    record.packet.birth = this->item(item).time();
    record.packet.birth_function = this->item(item).function_id();
    (void)add_side(item, EventKind::birth, slot, 0, true);
}

void PacketBook::delivered(Slot slot, std::uint32_t item)
{
    SlotRecord& record = at(slot);
    record.enqueued_side = add_queue_side(item, EventKind::enqueue, slot, {QueueKind::socket, {}});
    record.delivered_side =
        add_side(item, EventKind::verdict, slot, static_cast<std::uint32_t>(Verdict::delivered));
    record.in_socket = true;
    record.packet.verdict = Verdict::delivered;
}

void PacketBook::never_queued(Slot slot)
{
    SlotRecord& record = at(slot);
    cancel(record.enqueued_side);
    record.enqueued_side = 0;
    record.in_socket = false;
}

void PacketBook::left_socket(Slot slot, std::uint32_t item)
{
    SlotRecord& record = at(slot);
    if (!record.in_socket) {
        return;
    }
    record.in_socket = false;
    // The record that named the queue's taker stands before the one that named the packet.
    const std::uint32_t anchor = record.queue_take != 0 &&
                                         this->item(record.queue_take).time_ns <= this->item(item).time_ns &&
                                         this->item(record.queue_take).time_ns >= record.packet.birth.ns
                                     ? record.queue_take
                                     : item;
    (void)add_queue_side(anchor, EventKind::dequeue, slot, {QueueKind::socket, {}});
}

void PacketBook::transmitted(Slot slot, std::uint32_t item)
{
    SlotRecord& record = at(slot);
    if (record.transmitted || record.looped || record.kind == SlotRecord::Kind::clone) {
        return;
    }
    record.transmitted = true;
    record.in_ring = true;
    const Verdict verdict = record.packet.sent_here ? Verdict::sent : Verdict::forwarded;
    record.packet.verdict = verdict;
    (void)add_queue_side(item, EventKind::enqueue, slot, {QueueKind::tx_ring, {}});
    (void)add_side(item, EventKind::verdict, slot, static_cast<std::uint32_t>(verdict));
}

void PacketBook::decide(Slot slot, Verdict verdict, std::uint32_t item)
{
    SlotRecord& record = at(slot);
    record.packet.verdict = verdict;
    record.packet.end_function = this->item(item).function_id();
    (void)add_side(item, EventKind::verdict, slot, static_cast<std::uint32_t>(verdict));
}

void PacketBook::dropped(Slot slot, DropReasonId reason, FunctionId function, std::uint32_t item)
{
    SlotRecord& record = at(slot);
    if (record.packet.verdict == Verdict::delivered && record.in_socket) { // refused after all
        cancel(record.delivered_side);
        cancel(record.enqueued_side);
        record.in_socket = false;
    }
    cancel(record.qdisc_side);
    record.qdisc_side = 0;
    record.packet.verdict = Verdict::dropped;
    record.packet.reason = reason;
    record.packet.end_function = function;
    const std::uint32_t handle = add_side(item, EventKind::drop, slot, to_index(reason));
    side(handle).function = static_cast<std::uint16_t>(function);
}

void PacketBook::freed(Slot slot, std::uint32_t item)
{
    slot = resolve(slot);
    SlotRecord& record = slots_[slot];
    if (slot == 0 || record.dead) {
        return;
    }
    left_socket(slot, item);
    if (record.in_ring) {
        record.in_ring = false;
        (void)add_queue_side(item, EventKind::dequeue, slot, {QueueKind::tx_ring, {}});
    }
    record.dead = true;
    record.packet.death = this->item(item).time();
    if (record.packet.end_function == FunctionId::none) {
        record.packet.end_function = this->item(item).function_id();
    }
    (void)add_side(item, EventKind::free, slot, 0);
    if (record.address != 0 && living(record.address) == slot) {
        living_.erase(record.address);
    }
    if (record.fields != 0) {
        told_[record.fields].known = 0;
        free_told_.push_back(std::exchange(record.fields, 0));
    }
}

void PacketBook::end_unseen(Slot slot, std::uint32_t item)
{
    SlotRecord& record = at(slot);
    record.packet.end_inferred = true;
    if (record.packet.verdict == Verdict::in_flight) {
        record.packet.verdict = Verdict::lost;
        record.delivered_side = add_side(item, EventKind::verdict, slot, static_cast<std::uint32_t>(Verdict::lost));
    }
    freed(slot, item);
}

void PacketBook::tell_end(Slot slot, Verdict verdict)
{
    SlotRecord& record = at(slot);
    if (record.packet.verdict != Verdict::lost || record.row_is_final || record.last_item < std::max(written_, 1U)) {
        return;
    }
    cancel(record.delivered_side);
    record.packet.verdict = verdict;
    (void)add_side(record.last_item, EventKind::verdict, slot, static_cast<std::uint32_t>(verdict));
}

void PacketBook::end_all_unseen(std::uint32_t item)
{
    std::vector<Slot> living;
    living_.for_each([&](Slot slot) { living.push_back(resolve(slot)); });
    std::ranges::sort(living);
    for (const Slot slot : living) {
        if (slot != 0 && !at(slot).dead) {
            end_unseen(slot, item);
        }
    }
}

std::uint32_t PacketBook::field_row(const FieldChange& change)
{
    const std::uint64_t mixed = change.after * 961 + change.before * 31 + static_cast<std::uint64_t>(change.field);
    RecentChange& recent = recent_changes_[((mixed * 0x9e3779b97f4a7c15) >> 40) % recent_changes_.size()];
    if (recent.row == none || recent.change.field != change.field || recent.change.before != change.before || recent.change.after != change.after) {
        field_changes_.push_back(change);
        recent = {change, static_cast<std::uint32_t>(field_changes_.size() - 1)};
    }
    return recent.row;
}

void PacketBook::tell(Slot slot, std::uint32_t item, std::span<const Field> fields)
{
    if (item == 0) {
        return;
    }
    SlotRecord& record = at(slot);
    if (record.fields == 0) {
        if (free_told_.empty()) {
            free_told_.push_back(static_cast<std::uint32_t>(told_.size()));
            told_.emplace_back();
        }
        record.fields = free_told_.back();
        free_told_.pop_back();
    }
    Told& told = told_[record.fields];
    const bool is_last = item == last_item_;
    const Event& anchor = this->item(item);
    for (const auto& [field, value] : fields) {
        const auto index = static_cast<std::size_t>(field);
        const bool is_known = (told.known >> index & 1) != 0;
        if (is_known && told.values[index] == value) {
            continue;
        }
        FieldChange change;
        change.field = field;
        change.before = is_known ? told.values[index] : value; // not known before: it says only what it is
        change.after = value;
        told.known |= std::uint32_t{1} << index;
        told.values[index] = value;
        if (is_last) {
            record.last_side = std::max(record.last_side, std::max(item, written_));
            append_side_item(anchor, EventKind::field, slot, field_row(change), mark_side);
        } else {
            (void)add_side(item, EventKind::field, slot, field_row(change));
        }
    }
}

void PacketBook::tell_whole(Slot fragment)
{
    const PacketRecord& piece = at(fragment).packet;
    const auto into = static_cast<Slot>(to_index(piece.merged_into));
    if (piece.verdict != Verdict::merged || into == 0 || !piece.flow || flow_lacks_ports(*piece.flow)) {
        return;
    }
    PacketRecord& whole = at(into).packet;
    const bool is_it = !whole.flow || (flow_lacks_ports(*whole.flow) && whole.flow->protocol == piece.flow->protocol);
    if (is_it) {
        whole.flow = piece.flow;
    }
}

void PacketBook::mark_loss(const std::vector<Slot>& served)
{
    living_.for_each([this](Slot slot) {
        SlotRecord& record = at(slot);
        record.packet.touched_by_loss = true;
        record.is_doubtful = true;
        if (written_ != 0) {
            marked_.push_back(slot);
        }
    });
    for (const Slot slot : served) {
        at(slot).is_doubtful = false;
    }
}

// ---- the end
// --------------------------------------------------------------------------------------------------------

QueueId PacketBook::queue_id(const QueueName& name, Slot slot)
{
    const SlotRecord& record = at(slot);
    const bool has_port = name.kind == QueueKind::socket && record.packet.flow && record.packet.flow->destination_port != 0;
    const std::uint64_t key = std::uint64_t{static_cast<std::uint8_t>(name.kind)} << 48 |
                              std::uint64_t{has_port ? record.packet.flow->destination_port : 0U} << 32 |
                              to_index(record.packet.device);
    const bool has_key = name.detail.empty();
    auto& [recent_key, recent_id] = recent_queues_[((key ^ key >> 29) * 0x9e3779b97f4a7c15) >> 60];
    if (has_key && recent_key == key && recent_id != QueueId::none) {
        return recent_id;
    }
    if (const auto known = has_key ? queue_by_key_.find(key) : queue_by_key_.end(); known != queue_by_key_.end()) {
        recent_key = key;
        return recent_id = known->second;
    }
    std::string title;
    std::string_view room;
    const std::string device(trace_.device(record.packet.device).name);
    switch (name.kind) {
    case QueueKind::socket:
        title = has_port
                    ? fmt::format(":{} receive queue", record.packet.flow->destination_port)
                    : std::string("receive queue");
        room = "socket_rx_queue";
        break;
    case QueueKind::arp_queue:
        title = fmt::format("unresolved queue of {}", name.detail.empty() ? "a neighbour" : name.detail);
        room = "neighbour";
        break;
    case QueueKind::qdisc:
        title = fmt::format("{} qdisc", device);
        room = "qdisc";
        break;
    case QueueKind::tx_ring:
        title = fmt::format("{} TX ring", device);
        room = "tx_ring";
        break;
    case QueueKind::backlog:
        title = "backlog";
        room = "backlog";
        break;
    default:
        title = "queue";
        break;
    }
    auto& id = queues_[{static_cast<int>(name.kind), title}];
    if (id == QueueId::none) {
        QueueRecord queue;
        queue.name = title;
        queue.kind = name.kind;
        queue.room = Catalog::find_room(room);
        id = trace_.add_queue(std::move(queue));
    }
    if (has_key) {
        queue_by_key_.emplace(key, id);
    }
    return id;
}

void PacketBook::number_packets()
{
    bool is_sorted = true;
    order_.clear();
    for (Slot slot = 1; slot < slots_.size(); ++slot) {
        if (slots_[slot].same_as == 0 && slots_[slot].born) {
            is_sorted = is_sorted && (order_.empty() || !(slots_[slot].packet.birth < slots_[order_.back()].packet.birth));
            order_.push_back(slot);
        }
    }
    if (!is_sorted) {
        std::ranges::stable_sort(order_, {}, [this](Slot slot) { return slots_[slot].packet.birth; });
    }
    for (std::size_t i = 0; i < order_.size(); ++i) {
        slots_[order_[i]].packet.id = static_cast<PacketId>(i + 1);
    }
}

/// The packet's row as the trace has it: its relatives by their ids.
PacketRecord PacketBook::row_of(Slot slot)
{
    PacketRecord record = slots_[slot].packet;
    record.parent = id_of(static_cast<Slot>(to_index(record.parent)));
    record.merged_into = id_of(static_cast<Slot>(to_index(record.merged_into)));
    if (record.parent == PacketId::none) {
        record.relation = Relation::none;
    }
    return record;
}

void PacketBook::write_packets()
{
    for (const Slot slot : order_) {
        (void)trace_.add_packet(row_of(slot));
    }
}

/// id_of() while events are written, when ids no longer change: rows of them are about one packet.
PacketId PacketBook::written_id(Slot slot)
{
    if (slot != last_written_.first) {
        last_written_ = {slot, id_of(slot)};
    }
    return last_written_.second;
}

/// False: the side falls away.
bool PacketBook::is_written(const Event& side)
{
    const bool is_of_packet = side.event_kind() != EventKind::irq_raise;
    return (side.host & mark_cancelled) == 0 && (!is_of_packet || written_id(side.packet) != PacketId::none);
}

/// Slots, queue names and rows of changes become what they are in the trace. False: the side falls away.
bool PacketBook::finish_side(Event& event)
{
    const bool stays = is_written(event);
    if (stays) {
        finish_kept_side(event);
    }
    return stays;
}

void PacketBook::finish_kept_side(Event& event)
{
    const Slot slot = event.packet;
    const PacketId id = written_id(slot);
    event.host = 0;
    event.packet = to_index(id);
    switch (event.event_kind()) {
    case EventKind::enqueue:
    case EventKind::dequeue:
        event.arg = to_index(queue_id(queue_names_[event.arg], slot));
        break;
    case EventKind::field: {
        std::uint32_t& row = change_in_trace_[event.arg];
        if (row == none) {
            row = trace_.add_field_change(field_changes_[event.arg]);
        }
        event.arg = row;
        break;
    }
    case EventKind::birth:
        event.arg = to_index(at(slot).packet.device);
        break;
    case EventKind::clone:
    case EventKind::merge:
    case EventKind::split:
        event.arg = to_index(id_of(event.arg));
        break;
    default:
        break;
    }
}

/// By anchor, those before it first, else as they were added: anchor, that, and the row, in one number each.
std::vector<std::uint64_t> PacketBook::order_of_late() const
{
    std::vector<std::uint64_t> order;
    order.reserve(late_.size());
    for (std::size_t row = 0; row < late_.size(); ++row) {
        const std::uint64_t behind = (late_[row].event.host & mark_before) != 0 ? 0 : 1;
        if (late_[row].anchor != 0) { // else of a call that was not traced: there is no moment to write it at
            order.push_back(std::uint64_t{late_[row].anchor} << 32 | behind << 31 | row);
        }
    }
    std::ranges::sort(order);
    return order;
}

/// Finishes the events where they stand, and moves them up to where sides fell away. Late ones come to the front of
/// late_, in order; places says before which event each belongs. Returns how many events there are without them.
std::size_t PacketBook::settle(std::vector<std::uint32_t>& places)
{
    last_written_ = {};
    const std::vector<std::uint64_t> order = order_of_late();
    std::vector<Late> late;
    late.reserve(order.size());
    places.reserve(order.size());
    auto next_late = order.begin();
    std::size_t out = 0;
    std::vector<Event> sides;
    const std::size_t count = trace_.size();
    for (std::size_t item = 1; item < count;) {
        Event call = trace_[item];
        sides.clear();
        for (++item; item < count && (trace_[item].host & mark_side) != 0; ++item) {
            sides.push_back(trace_[item]);
        }
        const std::size_t number = item - 1 - sides.size();
        const auto write_sides = [&](bool before) {
            for (Event& side : sides) {
                if (((side.host & mark_before) != 0) == before && finish_side(side)) {
                    trace_.mutable_event(out++) = side;
                }
            }
            for (const std::uint64_t group = number << 1 | (before ? 0U : 1U);
                 next_late != order.end() && *next_late >> 31 == group; ++next_late) {
                Late one = late_[*next_late & ~late_handle & 0xffffffff];
                if (finish_side(one.event)) {
                    late.push_back(one);
                    places.push_back(static_cast<std::uint32_t>(out));
                }
            }
        };
        write_sides(true);
        call.packet = call.packet == 0 ? 0 : to_index(written_id(call.packet));
        trace_.mutable_event(out++) = call;
        // Finished sides bear no mark any more: each is finished once.
        std::erase_if(sides, [](const Event& side) { return (side.host & mark_side) == 0 || (side.host & mark_before) != 0; });
        write_sides(false);
    }
    late_ = std::move(late);
    return out;
}

/// From the back, so that each event moves once.
void PacketBook::insert_late(std::size_t count, const std::vector<std::uint32_t>& places)
{
    std::size_t from = count;
    std::size_t to = count + places.size();
    for (std::size_t row = places.size(); row-- > 0;) {
        while (from > places[row]) {
            trace_.mutable_event(--to) = trace_[--from];
        }
        trace_.mutable_event(--to) = late_[row].event;
    }
}

void PacketBook::write()
{
    change_in_trace_.assign(field_changes_.size(), none);
    std::vector<std::uint32_t> places;
    const std::size_t count = settle(places);
    const std::size_t whole = count + places.size();
    while (trace_.size() < whole) {
        trace_.append({});
    }
    if (trace_.size() > whole) {
        TraceMark mark = trace_.mark();
        mark.events = whole;
        trace_.rewind(mark);
    }
    insert_late(count, places);
    late_.clear();
    late_.shrink_to_fit();
    write_packets();
}

// ---- while records still come
// --------------------------------------------------------------------------------------------------------

Event& PacketBook::gone()
{
    gone_ = {};
    gone_.time_ns = written_ns_;
    return gone_;
}

void PacketBook::list(Slot slot, std::vector<Slot>& touched)
{
    slot = resolve(slot);
    SlotRecord& record = slots_[slot];
    if (slot == 0 || !record.born || record.listed) {
        return;
    }
    // The clone of something that is no network packet is none either.
    if (record.kind == SlotRecord::Kind::clone && record.packet.id == PacketId::none &&
        !at(static_cast<Slot>(to_index(record.packet.parent))).born) {
        return;
    }
    record.listed = true;
    touched.push_back(slot);
}

/// Packets that events before `until` speak of.
void PacketBook::list_touched(std::uint32_t until, bool everything, std::vector<Slot>& touched)
{
    Slot last = 0;
    const auto take = [&](const Event& event) {
        if (event.packet != last) { // rows of them are about one packet
            last = event.packet;
            list(last, touched);
        }
        const EventKind kind = event.event_kind();
        if ((event.host & mark_side) != 0 && (kind == EventKind::clone || kind == EventKind::merge || kind == EventKind::split)) {
            list(event.arg, touched);
        }
    };
    constexpr std::uint32_t soon = 24;
    for (std::uint32_t first = std::max(written_, 1U); first < until;) { // chunk by chunk
        const std::uint32_t end = std::min<std::uint32_t>(until, (first / Trace::chunk_events + 1) * Trace::chunk_events);
        const Event* const events = &items_[first];
        const std::uint32_t count = end - first;
        for (std::uint32_t i = 0; i < count; ++i) {
            if (i % 4 == 0 && i + soon < count) { // an event mostly stands among some of the same packet
                slots_.fetch(events[i + soon].packet);
            }
            take(events[i]);
        }
        first = end;
    }
    for (const Late& late : late_) {
        if (late.anchor < until || everything) {
            take(late.event);
        }
    }
    for (const Slot slot : std::exchange(marked_, {})) {
        list(slot, touched);
    }
}

void PacketBook::add_packets(const std::vector<Slot>& touched)
{
    std::vector<Slot> fresh;
    std::ranges::copy_if(touched, std::back_inserter(fresh),
                         [this](Slot slot) { return slots_[slot].packet.id == PacketId::none; });
    const auto birth = [this](Slot slot) { return slots_[slot].packet.birth; };
    if (!std::ranges::is_sorted(fresh, {}, birth)) {
        std::ranges::stable_sort(fresh, {}, birth);
    }
    for (const Slot slot : fresh) {
        // Rows stand in order of birth; one that was recognised late begins where the others are.
        PacketRecord& record = slots_[slot].packet;
        record.birth = last_birth_ = std::max(record.birth, last_birth_);
        record.id = trace_.add_packet(record);
    }
}

inline void PacketBook::append_side(const Event& side)
{
    if (!is_written(side)) {
        return;
    }
    Event& event = trace_.append(side); // finished in its place: add_for() says why
    fetch_ahead(event);
    event.time_ns = written_ns_ = std::max(side.time_ns, written_ns_);
    if (event.event_kind() == EventKind::field && change_in_trace_[event.arg] != none) { // half of all
        event.host = 0;
        event.packet = to_index(written_id(event.packet));
        event.arg = change_in_trace_[event.arg];
        return;
    }
    finish_kept_side(event);
}

void PacketBook::write_items(std::uint32_t until, bool everything)
{
    last_written_ = {};
    written_ns_ = trace_.end_time().ns;
    change_in_trace_.resize(field_changes_.size(), none);
    const std::vector<std::uint64_t> order = order_of_late();
    auto late = order.begin();
    const auto group_of_next = [&] { return late != order.end() ? *late >> 31 : ~std::uint64_t{0}; };
    std::uint64_t next_late = group_of_next();
    const auto write_late = [&](std::uint64_t group) {
        while (next_late <= group) {
            append_side(late_[*late & ~late_handle & 0xffffffff].event);
            ++late;
            next_late = group_of_next();
        }
    };
    // An item, whose sides stand from first_side to past_sides.
    const auto write_group = [&](const Event& known, std::uint32_t item, auto first_side, const auto& past_sides, bool has_before) {
        for (auto side = first_side; has_before && side != past_sides; ++side) {
            if (((*side).host & mark_before) != 0) {
                append_side(*side);
            }
        }
        write_late(std::uint64_t{item} << 1);
        const std::uint32_t packet = known.packet == 0 ? 0 : to_index(written_id(known.packet));
        unattributed_ += known.is_call() && packet == 0 && known.packet != 0 ? 1 : 0;
        Event& event = trace_.append(known);
        fetch_ahead(event);
        event.packet = packet;
        event.time_ns = written_ns_ = std::max(known.time_ns, written_ns_);
        for (; first_side != past_sides; ++first_side) {
            if (((*first_side).host & mark_before) == 0) {
                append_side(*first_side);
            }
        }
        write_late(std::uint64_t{item} << 1 | 1);
    };
    constexpr std::uint32_t usual_sides = 32;
    for (std::uint32_t row = std::max(written_, 1U); row < until;) {
        const std::uint32_t end = std::min<std::uint32_t>(until, (row / Trace::chunk_events + 1) * Trace::chunk_events);
        if (end - row > usual_sides) { // most: as long as a whole group lies in this chunk
            const Event* const begin = &items_[row];
            const Event* const last = begin + (end - row);
            const Event* at = begin;
            while (last - at > usual_sides) {
                const Event* past = at + 1;
                unsigned marks = 0;
                for (; past != last && (past->host & mark_side) != 0; ++past) {
                    marks |= past->host;
                }
                if (past == last) {
                    break;
                }
                write_group(*at, row + static_cast<std::uint32_t>(at - begin), at + 1, past, (marks & mark_before) != 0);
                at = past;
            }
            row += static_cast<std::uint32_t>(at - begin);
        }
        // The last of the chunk, one after the other.
        while (row < end) {
            Rowwise past(items_, row);
            const Event& known = *past;
            const std::uint32_t item = row;
            ++past;
            const Rowwise first_side = past;
            bool has_before = false;
            for (; past.row() < until && ((*past).host & mark_side) != 0; ++past) {
                has_before = has_before || ((*past).host & mark_before) != 0;
            }
            write_group(known, item, first_side, past, has_before);
            row = past.row();
        }
    }
    for (; everything && late != order.end(); ++late) { // they stand behind items that never came
        append_side(late_[*late & ~late_handle & 0xffffffff].event);
    }
}

void PacketBook::update_rows(const std::vector<Slot>& touched)
{
    for (const Slot slot : touched) {
        SlotRecord& record = slots_[slot];
        record.listed = false;
        if (record.row_is_final) {
            continue;
        }
        PacketRecord& known = trace_.mutable_packet(record.packet.id);
        PacketRecord row = row_of(slot);
        row.bytes_offset = known.bytes_offset;
        row.captured_length = known.captured_length;
        known = row;
        record.row_is_final = row.death != never; // the trace may forget it from now on
    }
}

void PacketBook::write_until(std::uint32_t until, bool everything)
{
    const auto end = static_cast<std::uint32_t>(items_.size());
    until = everything ? end : std::min(until, last_item_); // the last one may still get sides
    while (until > written_ && until < end && (items_[until].host & mark_side) != 0) {
        --until; // an item and its sides stay together
    }
    if (until <= std::max(written_, 1U) && !everything) {
        return;
    }
    std::vector<Slot> touched;
    list_touched(until, everything, touched);
    add_packets(touched);
    write_items(until, everything);
    update_rows(touched);
    written_ = until;
    near_from_ = std::max(near_first_, written_);
    const auto is_pending = [this](const Late& late) { return late.anchor >= written_; };
    const auto first = std::ranges::find_if(late_, is_pending);
    late_begin_ += static_cast<std::uint32_t>(first - late_.begin());
    late_.erase(late_.begin(), first);
    for (Late& late : late_) {
        late.anchor = is_pending(late) ? late.anchor : 0; // written; it stays for the numbers of those behind it
    }
    if (&items_ != &trace_) {
        TraceMark mark;
        mark.events = written_;
        items_.forget_before(mark);
    }
    constexpr std::size_t many_changes = 1 << 16;
    if (field_changes_.size() > many_changes) {
        compact_changes();
    }
}

/// Keeps only the changes that events not yet written speak of.
void PacketBook::compact_changes()
{
    std::vector<FieldChange> kept;
    const auto keep = [&](Event& event) {
        if ((event.host & mark_side) != 0 && event.event_kind() == EventKind::field) {
            kept.push_back(field_changes_[event.arg]);
            event.arg = static_cast<std::uint32_t>(kept.size() - 1);
        }
    };
    for (std::size_t item = written_; item < items_.size(); ++item) {
        keep(items_.mutable_event(item));
    }
    for (Late& late : late_) {
        if (late.anchor >= written_) {
            keep(late.event);
        }
    }
    field_changes_ = std::move(kept);
    change_in_trace_.assign(field_changes_.size(), none);
    recent_changes_ = {};
}

void PacketBook::retire(SimTime oldest, const std::vector<Slot>& in_use)
{
    slots_[0] = {}; // what was said of packets that are gone
    const std::size_t whole_chunks = slots_.size() / Slots::rows_a_chunk;
    std::vector<bool> is_used(whole_chunks + 1, false);
    is_used[0] = true; // row 0 means none
    for (const Slot slot : in_use) {
        for (const Slot each : {slot, resolve(slot)}) {
            if (each / Slots::rows_a_chunk < whole_chunks) {
                is_used[each / Slots::rows_a_chunk] = true;
            }
        }
    }
    for (std::size_t chunk = first_chunk_; chunk < whole_chunks; ++chunk) {
        const auto first = static_cast<Slot>(chunk * Slots::rows_a_chunk);
        if (is_used[chunk] || slots_.find(first) == nullptr) {
            first_chunk_ += chunk == first_chunk_ && slots_.find(first) == nullptr ? 1 : 0;
            continue;
        }
        const auto is_written_of = [this](const SlotRecord& record) { return record.last_item < written_ && record.last_side < written_; };
        SlotRecord* const rows = &slots_[first];
        bool is_over = is_written_of(rows[Slots::rows_a_chunk - 1]); // most likely the youngest
        for (std::size_t row = 0; row < Slots::rows_a_chunk && is_over; ++row) {
            __builtin_prefetch(&rows[row + 8]); // beyond the end that does nothing
            const SlotRecord& record = rows[row].same_as == 0 ? rows[row] : slots_[resolve(rows[row].same_as)];
            const bool is_written = is_written_of(record) && is_written_of(rows[row]);
            const bool has_ended = !record.born || record.dead || record.packet.birth < oldest;
            is_over = is_written && has_ended;
        }
        if (!is_over) {
            continue;
        }
        for (Slot slot = first; slot < first + Slots::rows_a_chunk; ++slot) {
            SlotRecord& record = rows[slot - first];
            if (record.address != 0 && living_.find(record.address) == slot) {
                living_.erase(record.address);
            }
            if (!record.row_is_final && record.same_as == 0 && record.packet.id != PacketId::none) {
                PacketRecord& row = trace_.mutable_packet(record.packet.id);
                row.death = trace_.end_time();
                row.end_inferred = true;
            }
            if (record.fields != 0) {
                told_[record.fields].known = 0;
                free_told_.push_back(std::exchange(record.fields, 0));
            }
        }
        slots_.release_chunk(chunk);
    }
}

} // namespace skbscope
