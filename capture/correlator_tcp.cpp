// TCP: who waits where. What an application wrote waits in an sk_buff (the original) until it is acknowledged, and a clone
// of it goes down, one for each time it is sent; what arrived may wait in the backlog of a socket that an application
// holds, or be joined to what waits already. None of these functions names an sk_buff, and none of these ends has an event.

#include "capture/correlator.h"
#include "capture/correlator_detail.h"

#include <algorithm>
#include <utility>

namespace skbscope {

using namespace correlating;

bool Correlator::makes_original(const Frame* host) const
{
    return host != nullptr &&
           is_one_of(functions_[host->symbol].name,
                     {"tcp_stream_alloc_skb", "sk_stream_alloc_skb", "tcp_send_fin", "tcp_connect"});
}

/// The queues hold those of all connections. A task that holds a socket talks by one device, mostly: the oldest of that device, else (it may have changed
/// its way) the oldest.
Slot Correlator::next_by_device(std::deque<Slot>& queue, DeviceId device)
{
    std::erase_if(queue, [this](Slot slot) { return book_.resolve(slot) == 0 || book_.at(slot).dead; });
    const auto at =
        std::ranges::find_if(queue, [&](Slot slot) { return book_.at(slot).at_device == device; });
    if (device == DeviceId::none || at == queue.end()) {
        return next_living(queue);
    }
    const Slot slot = book_.resolve(*at);
    queue.erase(at);
    return slot;
}

/// A segment that TCP sent comes to its device. What it is a clone of, and what this task will find in its socket, has to do with that device.
void Correlator::note_talk(Lane& lane, Slot segment, DeviceId device)
{
    const SlotRecord& known = book_.at(segment);
    const auto original = static_cast<Slot>(to_index(known.packet.parent));
    if (known.packet.relation == Relation::clone && original != 0) {
        book_.at(original).at_device = device;
    }
    const bool by_tcp = std::ranges::any_of(lane.stack, [this](const Frame& frame) {
        return functions_[frame.symbol].name == "__tcp_transmit_skb";
    });
    if (by_tcp && lane.is_task) {
        lane.talks_by = device;
    }
}

/// The device by which the packet came that this call serves.
DeviceId Correlator::came_by(const Frame* host)
{
    return host == nullptr || host->child == 0 ? DeviceId::none : book_.at(host->child).at_device;
}

Slot Correlator::tcp_original(Lane& lane, std::uint32_t item)
{
    const Slot original = book_.open(SlotRecord::Kind::transmit);
    book_.at(original).packet.sent_here = true;
    book_.born(original, item);
    lane.new_original = original;
    return original;
}

/// At the end of what is not sent yet; what tso_fragment() cuts off stands right behind the segment it was cut from.
void Correlator::place_original(Lane& lane, bool behind_first)
{
    const Slot original = std::exchange(lane.new_original, 0);
    if (behind_first && !tcp_.unsent.empty()) {
        tcp_.unsent.insert(tcp_.unsent.begin() + 1, original);
    } else {
        tcp_.unsent.push_back(original);
    }
}

/// __tcp_transmit_skb has made `clone` of the first that is not sent yet, or of the first that is not acknowledged.
void Correlator::tcp_clone(Lane& lane, Slot clone)
{
    SlotRecord& made = book_.at(clone);
    if (made.packet.relation != Relation::none) {
        return;
    }
    const bool again = std::ranges::any_of(lane.stack, [&](const Frame& frame) {
        return is_one_of(functions_[frame.symbol].name, {"__tcp_retransmit_skb", "tcp_retransmit_skb"});
    });
    if (lane.new_original != 0) {
        place_original(lane, true);
    }
    Slot original = 0;
    if (again) {
        const auto living =
            std::ranges::find_if(tcp_.unacked, [&](Slot slot) { return !book_.at(slot).dead; });
        original = living == tcp_.unacked.end() ? 0 : *living;
    } else {
        original = next_living(tcp_.unsent);
        if (original != 0) {
            tcp_.unacked.push_back(original);
        }
    }
    if (original == 0) {
        return; // written before the recording began
    }
    made.packet.parent = static_cast<PacketId>(original); // a slot until the trace is written
    made.packet.relation = Relation::clone;
}

void Correlator::tcp_step(Lane& lane, Frame* host, Frame& frame)
{
    const bool finds = host == nullptr || finds_packets(host->kind);
    const auto assumed = [&] {
        if (frame.item != 0) {
            Event& event = book_.item(frame.item);
            event.flags = Event::make_flags(event.context(), Confidence::assumed, event.via());
        }
    };
    switch (frame.kind) {
    case Kind::backlog_receive:
        frame.packet = finds ? next_by_device(tcp_.backlog, lane.talks_by) : 0;
        if (frame.packet != 0) {
            assumed();
        } else {
            frame.packet = inherited(host);
        }
        break;
    case Kind::stream_copy:
        if (finds && host != nullptr && functions_[host->symbol].name.text().starts_with("tcp_recvmsg")) {
            if (tcp_.reading == 0 || book_.at(tcp_.reading).dead) {
                tcp_.reading = next_by_device(tcp_.received, lane.talks_by);
            }
            frame.packet = tcp_.reading;
            assumed();
        } else {
            frame.packet = inherited(host);
        }
        break;
    case Kind::backlog_enqueue:
        frame.packet = inherited(host);
        if (frame.packet != 0) {
            tcp_.backlog.push_back(frame.packet);
        }
        break;
    case Kind::stream_enqueue:
        frame.packet = inherited(host);
        if (frame.packet != 0 && book_.at(frame.packet).packet.verdict == Verdict::in_flight) {
            book_.delivered(frame.packet, frame.item);
            tcp_.received.push_back(frame.packet);
        }
        break;
    default: break;
    }
    frame.child = frame.packet;
}

/// tcp_data_queue() (net/ipv4/tcp_input.c) queues a segment, frees it, or keeps it in the out-of-order queue: the socket has accepted it.
void Correlator::keeps_out_of_order(const Frame& frame)
{
    const bool shows_the_rest = symbol_by_name_.contains(std::string_view("tcp_queue_rcv")) &&
                                symbol_by_name_.contains(std::string_view("__kfree_skb"));
    const Slot slot = book_.resolve(frame.packet);
    if (!shows_the_rest || slot == 0 || frame.item == 0 || frame.item < book_.written()) {
        return;
    }
    const SlotRecord& known = book_.at(slot);
    if (!known.born || known.dead || known.packet.verdict != Verdict::in_flight) {
        return;
    }
    book_.delivered(slot, frame.item);
    constexpr std::size_t most = 4096;
    tcp_.out_of_order.push_back(slot);
    if (tcp_.out_of_order.size() > most) {
        tcp_.out_of_order.pop_front();
    }
}

/// kfree_skb_partial() below tcp_data_queue(): of a segment whose bytes went on in the one before it. Behind tcp_queue_rcv() those out of order come
/// first (tcp_ofo_queue()), the one that has just arrived last.
Slot Correlator::joins_stream(const Frame& call)
{
    const Slot slot = book_.resolve(call.packet);
    if (slot == 0 || book_.at(slot).packet.verdict != Verdict::in_flight) {
        const Slot waited = next_living(tcp_.out_of_order);
        return waited != 0 ? waited : slot;
    }
    book_.delivered(slot, call.item != 0 ? call.item
                                         : book_.last_item()); // joined to one that is out of order, too
    book_.never_queued(slot);
    return slot;
}

/// __kfree_skb has no event of its own; whoever calls it says what it frees. False: a part of a call that has one.
bool Correlator::silent_free(Lane& lane, Frame* host, Frame& frame)
{
    if (host == nullptr || host->kind == Kind::free) {
        return false;
    }
    const KnownName& by = functions_[host->symbol].name;
    if (is_one_of(by, {"tcp_ack", "tcp_clean_rtx_queue", "tcp_rtx_queue_unlink_and_free"})) {
        frame.packet = next_by_device(tcp_.unacked, came_by(host));
    } else if (by == "tcp_write_xmit") { // joined to the one before it (6.12: tcp_grow_skb)
        if (tcp_.unsent.size() > 1) {
            frame.packet = tcp_.unsent[1];
            tcp_.unsent.erase(tcp_.unsent.begin() + 1);
        }
    } else if (is_one_of(by, {"tcp_recvmsg", "tcp_recvmsg_locked", "tcp_eat_recv_skb"})) {
        frame.packet = std::exchange(tcp_.reading, 0);
    } else if (by == "tcp_shifted_skb") {
        return true; // one of those that wait was joined to the one before it: which one nobody tells
    } else if (host->kind == Kind::batch) {
        return false;
    } else {
        frame.packet = host->child;
    }
    frame.child = frame.packet;
    end_silently(lane, frame.packet, frame.item, false);
    return true;
}

/// What open calls do next to an sk_buff that nobody names, they do to the one freed last. Not those outside of skb_release_data: they
/// free another one, of which this was a part (its frag_list).
void Correlator::note_freed(Lane& lane, Slot slot)
{
    for (std::size_t i = lane.stack.size(); i-- > 0;) {
        Frame& open = lane.stack[i];
        open.freed = slot;
        open.has_freed = true;
        if (functions_[open.symbol].name == "skb_release_data") {
            return;
        }
    }
}

void Correlator::end_silently(Lane& lane, Slot slot, std::uint32_t item, bool in_backlog)
{
    note_freed(lane, slot);
    if (slot == 0 || !book_.at(slot).born || book_.at(slot).dead) {
        return;
    }
    slot = book_.resolve(slot);
    if (book_.at(slot).packet.verdict == Verdict::in_flight) {
        book_.decide(slot, in_backlog ? Verdict::merged : Verdict::consumed, item);
    }
    const auto is_it = [&](Slot other) { return book_.resolve(other) == slot; };
    if (in_backlog) {
        std::erase_if(tcp_.backlog, is_it);
        if (Slot into = tcp_.backlog.empty() ? 0 : book_.resolve(tcp_.backlog.back()); into != 0) {
            book_.at(slot).packet.merged_into = static_cast<PacketId>(into);
        }
    }
    if (std::erase_if(tcp_.received, is_it) !=
        0) { // joined to the last of the queue: it never stood there itself
        book_.never_queued(slot);
    }
    book_.freed(slot, item);
}

/// A segment that skb_segment() cuts: a packet of its own from here on.
Slot Correlator::piece_of(Lane& lane, Slot whole, std::uint32_t item)
{
    const Slot piece = book_.open(SlotRecord::Kind::transmit);
    SlotRecord& made = book_.at(piece);
    const SlotRecord& from = book_.at(whole);
    made.packet.sent_here = from.packet.sent_here;
    made.packet.device = from.packet.device;
    made.packet.parent = static_cast<PacketId>(book_.resolve(whole));
    made.packet.relation = Relation::split;
    made.ethertype = from.ethertype;
    book_.at(whole).in_pieces = true;
    book_.born(piece, item);
    lane.pieces.push_back(piece);
    return piece;
}

} // namespace skbscope
