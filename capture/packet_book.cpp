#include "capture/packet_book.h"

#include "core/catalog/catalog.h"

#include <algorithm>
#include <fmt/format.h>
#include <numeric>

namespace skbscope {

PacketBook::PacketBook()
{
    slots_.emplace_back(); // 0: none
    items_.emplace_back(); // 0: none
    sides_.emplace_back(); // 0: none
}

Slot PacketBook::open(SlotRecord::Kind kind)
{
    slots_.emplace_back();
    slots_.back().kind = kind;
    return static_cast<Slot>(slots_.size() - 1);
}

Slot PacketBook::resolve(Slot slot)
{
    while (slots_[slot].same_as != 0) {
        const Slot next = slots_[slot].same_as;
        if (slots_[next].same_as != 0) {
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
    from.same_as = other;
}

Slot PacketBook::living(std::uint64_t address)
{
    const auto at = living_.find(address);
    return at == living_.end() ? 0 : resolve(at->second);
}

void PacketBook::bind(Slot slot, std::uint64_t address)
{
    slot = resolve(slot);
    slots_[slot].address = address;
    living_[address] = slot;
}

std::uint32_t PacketBook::add(const Event& event)
{
    items_.push_back(event);
    if (event.packet != 0) {
        at(event.packet).last_item = last_item();
    }
    return last_item();
}

std::uint32_t PacketBook::add_side(std::uint32_t anchor, EventKind kind, Slot slot, std::uint32_t arg,
                                   bool before)
{
    const Event& host = items_[anchor];
    Side side;
    side.event = host;
    side.event.kind = static_cast<std::uint8_t>(kind);
    side.event.packet = slot;
    side.event.arg = arg;
    side.event.duration_ns = Event::unknown_duration;
    side.anchor = anchor;
    side.before = before;
    sides_.push_back(std::move(side));
    return static_cast<std::uint32_t>(sides_.size() - 1);
}

std::uint32_t PacketBook::add_queue_side(std::uint32_t anchor, EventKind kind, Slot slot, QueueName queue)
{
    const std::uint32_t side = add_side(anchor, kind, slot, 0);
    sides_[side].queue = std::move(queue);
    return side;
}

void PacketBook::cancel(std::uint32_t side)
{
    if (side != 0) {
        sides_[side].cancelled = true;
    }
}

void PacketBook::name_queue(std::uint32_t side, const std::string& detail)
{
    if (side != 0) {
        sides_[side].queue.detail = detail;
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
    record.packet.birth = items_[item].time();
    record.packet.birth_function = items_[item].function_id();
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

void PacketBook::left_socket(Slot slot, std::uint32_t item)
{
    SlotRecord& record = at(slot);
    if (!record.in_socket) {
        return;
    }
    record.in_socket = false;
    // The record that named the queue's taker stands before the one that named the packet.
    const std::uint32_t anchor = record.queue_take != 0 &&
                                         items_[record.queue_take].time_ns <= items_[item].time_ns &&
                                         items_[record.queue_take].time_ns >= record.packet.birth.ns
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
    record.packet.end_function = items_[item].function_id();
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
    const std::uint32_t side = add_side(item, EventKind::drop, slot, to_index(reason));
    sides_[side].event.function = static_cast<std::uint16_t>(function);
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
    record.packet.death = items_[item].time();
    if (record.packet.end_function == FunctionId::none) {
        record.packet.end_function = items_[item].function_id();
    }
    (void)add_side(item, EventKind::free, slot, 0);
    if (const auto at = living_.find(record.address); at != living_.end() && resolve(at->second) == slot) {
        living_.erase(at);
    }
}

void PacketBook::end_unseen(Slot slot, std::uint32_t item)
{
    SlotRecord& record = at(slot);
    record.packet.end_inferred = true;
    if (record.packet.verdict == Verdict::in_flight) {
        decide(slot, Verdict::lost, item);
        record.packet.end_function = FunctionId::none;
    }
    freed(slot, item);
}

void PacketBook::field(Slot slot, std::uint32_t item, SkbField field, std::uint64_t value)
{
    auto& known = at(slot).fields[static_cast<std::size_t>(field)];
    if (item == 0 || known == value) {
        return;
    }
    FieldChange change;
    change.field = field;
    change.before = known.value_or(value); // not known before: the change says only what it is
    change.after = value;
    known = value;
    field_changes_.push_back(change);
    (void)add_side(item, EventKind::field, slot, static_cast<std::uint32_t>(field_changes_.size() - 1));
}

void PacketBook::mark_loss()
{
    for (auto& [address, slot] : living_) {
        at(slot).packet.touched_by_loss = true;
    }
}

// ---- the end
// --------------------------------------------------------------------------------------------------------

PacketId PacketBook::id_of(Slot slot)
{
    slot = resolve(slot);
    return slot < ids_.size() ? ids_[slot] : PacketId::none;
}

QueueId PacketBook::queue_id(Trace& trace, const QueueName& name, Slot slot)
{
    const SlotRecord& record = at(slot);
    std::string title;
    std::string_view room;
    const std::string device(trace.device(record.packet.device).name);
    switch (name.kind) {
    case QueueKind::socket:
        title = record.packet.flow && record.packet.flow->destination_port != 0
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
        id = trace.add_queue(std::move(queue));
    }
    return id;
}

void PacketBook::write(Trace& trace)
{
    // Packets get their ids in order of birth.
    std::vector<Slot> order;
    for (Slot slot = 1; slot < slots_.size(); ++slot) {
        if (slots_[slot].same_as == 0 && slots_[slot].born) {
            order.push_back(slot);
        }
    }
    std::ranges::stable_sort(order, {}, [this](Slot slot) { return slots_[slot].packet.birth; });
    ids_.assign(slots_.size(), PacketId::none);
    for (std::size_t i = 0; i < order.size(); ++i) {
        ids_[order[i]] = static_cast<PacketId>(i + 1);
    }
    for (const Slot slot : order) {
        PacketRecord record = slots_[slot].packet;
        record.parent = id_of(static_cast<Slot>(to_index(record.parent)));
        record.merged_into = id_of(static_cast<Slot>(to_index(record.merged_into)));
        if (record.parent == PacketId::none) {
            record.relation = Relation::none;
        }
        (void)trace.add_packet(std::move(record));
    }

    std::vector<std::uint32_t> sides;
    for (std::uint32_t i = 1; i < sides_.size(); ++i) {
        const bool is_of_packet = sides_[i].event.event_kind() != EventKind::irq_raise;
        if (!sides_[i].cancelled && (!is_of_packet || id_of(sides_[i].event.packet) != PacketId::none)) {
            sides.push_back(i);
        }
    }
    std::ranges::stable_sort(sides, {}, [this](std::uint32_t side) {
        return std::pair(sides_[side].anchor, sides_[side].before ? 0 : 1);
    });
    const auto write_side = [&](const Side& side) {
        Event event = side.event;
        const Slot slot = event.packet;
        event.packet = to_index(id_of(slot));
        event.time_ns = items_[side.anchor].time_ns;
        switch (side.event.event_kind()) {
        case EventKind::enqueue:
        case EventKind::dequeue:
            event.arg = to_index(queue_id(trace, side.queue, slot));
            break;
        case EventKind::field:
            event.arg = trace.add_field_change(field_changes_[event.arg]);
            break;
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
        trace.append(event);
    };
    std::size_t next = 0;
    for (std::uint32_t i = 1; i < items_.size(); ++i) {
        for (; next < sides.size() && sides_[sides[next]].anchor == i && sides_[sides[next]].before; ++next) {
            write_side(sides_[sides[next]]);
        }
        Event event = items_[i];
        event.packet = to_index(id_of(event.packet));
        trace.append(event);
        for (; next < sides.size() && sides_[sides[next]].anchor == i; ++next) {
            write_side(sides_[sides[next]]);
        }
    }
}

} // namespace skbscope
