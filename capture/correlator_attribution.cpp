// Whom a call serves, and which packet an address means.

#include "capture/correlator.h"
#include "capture/correlator_detail.h"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

namespace skbscope {

using namespace correlating;

// ---- attribution
// ----------------------------------------------------------------------------------------------------

Slot Correlator::inherited(Frame* host)
{
    if (host != nullptr && host->child != 0) {
        return host->child;
    }
    return host == nullptr || finds_packets(host->kind) ? book_.open() : 0;
}

/// The driver's steps with one received frame; a step that is not further than the last belongs to the next
/// frame.
void Correlator::receive_step(Frame& host, Frame& frame, std::uint8_t rank)
{
    if (host.child == 0 || rank <= host.rank) {
        host.child = book_.open(SlotRecord::Kind::receive);
    }
    host.rank = rank;
    frame.packet = frame.child = host.child;
    if (rank >= 2) {
        book_.born(frame.packet, frame.item);
    }
    if (frame.kind == Kind::gro_receive) {
        host.child = 0;
        host.rank = 0;
    }
}

/// Which packet of the list this call serves is known by its place in the order alone, unless there is but
/// one.
void Correlator::assumes_order(const Frame& frame, Frame& list)
{
    if (frame.packet != 0 && frame.item != 0 && !list.batch().single) {
        Event& event = book_.item(frame.item);
        event.flags = Event::make_flags(event.context(), Confidence::assumed, event.via());
    }
}

/// A tracer with few functions shows a packet at __netif_receive_skb_core and again where it joins a socket's queue, nothing in
/// between: it is the oldest of those received in this softirq that no socket has got yet.
void Correlator::oldest_received(Lane& lane, Frame& frame)
{
    if (frame.packet != 0 && (book_.at(frame.packet).born || book_.at(frame.packet).address != 0)) {
        if (!lane.received.empty() && book_.resolve(lane.received.front()) == book_.resolve(frame.packet)) {
            lane.received.pop_front();
        }
        return;
    }
    const Slot oldest = next_living(lane.received);
    if (oldest == 0) {
        return;
    }
    frame.packet = frame.child = oldest;
    if (frame.item != 0 && !lane.received.empty()) {
        Event& event = book_.item(frame.item);
        event.flags = Event::make_flags(event.context(), Confidence::assumed, event.via());
    }
}

/// The innermost calls are parts of one walk along a list: the outermost of them owns the list.
Frame* Correlator::outermost_sublist(Lane& lane)
{
    Frame* owner = nullptr;
    for (std::size_t i = lane.stack.size(); i-- > 0 && lane.stack[i].kind == Kind::sublist;) {
        owner = &lane.stack[i];
    }
    return owner;
}

/// The packet that makes the NAPI's list long enough (gro_normal_one(), net/core/gro.c) goes up with it, before the event that tells what GRO
/// did to it. One that makes GRO let another go (napi_gro_complete()) is not in the list yet.
Frame* Correlator::completes_list(Lane& lane)
{
    for (std::size_t i = lane.stack.size(); i-- > 0;) {
        Frame& open = lane.stack[i];
        if (open.kind == Kind::gro_receive) {
            return open.packet != 0 ? &open : nullptr;
        }
        if (!is_one_of(functions_[open.symbol].name,
                       {"gro_normal_one", "gro_normal_list", "napi_skb_finish", "gro_skb_finish"})) {
            return nullptr;
        }
    }
    return nullptr;
}

/// Packets of a list: the kernel serves them in order, and the calls come in that order.
void Correlator::list_step(Lane& lane, Frame& host, Frame& frame)
{
    switch (frame.kind) {
    case Kind::list_internal:
        frame.batch().listed = std::move(lane.handed_up);
        lane.handed_up.clear();
        if (Frame* receiving = completes_list(lane)) {
            frame.batch().listed.push_back(book_.resolve(receiving->packet));
            receiving->passed_on = true;
        }
        frame.batch().to_stamp = frame.batch().listed;
        frame.batch().single = frame.batch().listed.size() == 1;
        return;
    case Kind::list_protocol: {
        Frame* core = find_host(lane, {Kind::list_core});
        if (core == nullptr) {
            return;
        }
        // __netif_receive_skb_list_core dispatches when the handler changes, one packet later: take the run
        // at the front.
        const std::uint16_t wanted =
            functions_[frame.symbol].name == "ip_list_rcv" ? ethertype_ipv4 : ethertype_ipv6;
        auto& from = core->batch().cored;
        while (!from.empty()) {
            const SlotRecord& record = book_.at(from.front());
            if (!record.dead && record.ethertype != 0 && record.ethertype != wanted) {
                break;
            }
            if (!record.dead) {
                frame.batch().to_check.push_back(from.front());
            }
            from.pop_front();
        }
        frame.batch().single = frame.batch().to_check.size() == 1;
        return;
    }
    case Kind::list_check: {
        Frame* list = find_host(lane, {Kind::list_protocol});
        if (list == nullptr) {
            return;
        }
        frame.packet = frame.child = next_living(list->batch().to_check);
        assumes_order(frame, *list);
        if (frame.packet != 0) {
            list->batch().checked.push_back(frame.packet);
        }
        return;
    }
    case Kind::sublist: {
        if (host.kind == Kind::sublist) {
            return; // a part of the outer one
        }
        if (Frame* list = find_host(lane, {Kind::list_protocol})) {
            frame.batch().to_route = std::move(list->batch().checked);
            list->batch().checked.clear();
            frame.batch().single = frame.batch().to_route.size() == 1;
        }
        return;
    }
    case Kind::sublist_hook: {
        Frame* owner = outermost_sublist(lane);
        if (owner == nullptr) {
            return;
        }
        // A copy: whoever passes the hooks is routed next, in the same order.
        frame.batch().to_route = owner->batch().to_route;
        std::erase_if(frame.batch().to_route, [&](Slot slot) { return book_.at(book_.resolve(slot)).dead; });
        frame.batch().single = frame.batch().to_route.size() == 1;
        if (frame.batch().single) {
            frame.child = frame.batch().to_route.front(); // also if nf_hook_slow is not traced
        }
        return;
    }
    case Kind::sublist_route:
    case Kind::sublist_deliver: {
        Frame* owner = outermost_sublist(lane);
        if (owner == nullptr) {
            return;
        }
        BatchLists& lists = owner->batch();
        frame.packet = frame.child =
            next_living(frame.kind == Kind::sublist_route ? lists.to_route : lists.to_deliver);
        assumes_order(frame, *owner);
        if (frame.packet != 0 && frame.kind == Kind::sublist_route) {
            lists.to_deliver.push_back(frame.packet);
        }
        host.child = frame.packet;
        return;
    }
    default:
        return;
    }
}

void Correlator::send_step(Lane& lane, Frame* host, Frame& frame)
{
    const bool makes = frame.kind == Kind::send_maker;
    Slot slot = host != nullptr ? host->child : 0;
    const bool is_used = slot != 0 && (book_.at(slot).send_begun || book_.at(slot).born ||
                                       book_.at(slot).kind != SlotRecord::Kind::open);
    if (slot == 0 || is_used) {
        slot = book_.open();
        for (std::size_t i = lane.stack.size(); i-- > 0;) { // the callers serve this message from now on
            lane.stack[i].child = slot;
        }
    }
    frame.packet = frame.child = slot;
    if (makes) {
        SlotRecord& record = book_.at(slot);
        record.kind = SlotRecord::Kind::transmit;
        record.send_begun = true;
        record.packet.sent_here = true;
    }
}

/// What runs for the packet that a maker made, that waited, or that was cloned, after the maker has returned.
void Correlator::tail_step(Frame* host, Frame& frame)
{
    Slot slot = host != nullptr ? host->follow : 0;
    if (slot != 0 && book_.at(slot).dead) {
        slot = 0;
    }
    if (slot == 0) {
        slot = inherited(host);
    }
    frame.packet = frame.child = slot;
}

void Correlator::attribute(Lane& lane, const RawRecord& record, Frame* host, Frame& frame)
{
    if (context_of(record) >= Context::hardirq && frame.kind != Kind::completion) {
        return; // an interrupt serves no packet yet, unless it completes what was sent (e1000e's own for transmission)
    }
    const bool is_traced = frame.item != 0;
    if (host != nullptr && (host->kind == Kind::none || host->kind == Kind::foreign) &&
        frame.kind != Kind::free && frame.kind != Kind::free_tail) {
        frame.kind = host->kind;
        return;
    }
    switch (frame.kind) {
    case Kind::batch:
        if (frame.symbol == net_tx_action_) {
            auto& left = completed_[record.cpu];
            frame.batch().completed.assign(left.rbegin(),
                                           left.rend()); // __dev_kfree_skb_irq() puts each in front
            left.clear();
        }
        return;
    case Kind::none:
    case Kind::foreign:
    case Kind::list_core:
    case Kind::qdisc_run:
        return;
    case Kind::gro_complete: held_step(lane, frame); return;
    case Kind::list_internal:
    case Kind::list_protocol:
    case Kind::sublist:
    case Kind::sublist_hook:
        if (host != nullptr) {
            list_step(lane, *host, frame);
        }
        return;
    case Kind::list_check:
    case Kind::sublist_route:
    case Kind::sublist_deliver:
        if (host != nullptr) {
            list_step(lane, *host, frame);
            if (frame.packet != 0) {
                return;
            }
        }
        frame.packet = frame.child = inherited(host);
        return;
    case Kind::system_call:
        frame.packet = frame.child = book_.open();
        return;
    case Kind::send_begin:
    case Kind::send_maker:
        send_step(lane, host, frame);
        return;
    case Kind::stream: stream_step(host, frame); return;
    case Kind::nested_maker: nested_make(lane, host, frame); return;
    case Kind::transmit_tail:
        if (host != nullptr && is_one_of(functions_[host->symbol].name, {"ip_do_fragment", "ip6_fragment"})) {
            send_fragment(lane, *host, frame);
            return;
        }
        tail_step(host, frame);
        return;
    case Kind::receive_tail:
    case Kind::device_queue:
        tail_step(host, frame);
        return;
    case Kind::receive_begin:
    case Kind::datagram_receive:
        reader_step(lane, host, frame);
        return;
    case Kind::queue_take:
        frame.packet = frame.child = host != nullptr ? host->child : 0;
        if (frame.packet != 0) {
            book_.at(frame.packet).queue_take = frame.item;
        }
        return;
    case Kind::allocate: allocate_step(lane, host, frame); return;
    case Kind::receive_buffer_take:
    case Kind::receive_frame:
    case Kind::receive_hand_up:
    case Kind::gro_receive:
        driver_step(lane, host, frame);
        return;
    case Kind::list_stamp: stamp_step(host, frame); return;
    case Kind::rps: steer_step(record, host, frame); return;
    case Kind::arp_receive: arp_step(host, frame); return;
    case Kind::neighbour_send:
        frame.packet = frame.child = inherited(host);
        if (frame.packet != 0) {
            book_.at(frame.packet).neighbour_call = frame.item;
        }
        return;
    case Kind::neighbour_output: neighbour_output_step(lane, host, frame); return;
    case Kind::qdisc_enqueue: qdisc_step(host, frame); return;
    case Kind::qdisc_dequeue:
        if (Frame* run = find_host(lane, {Kind::qdisc_run})) {
            run->batch().dequeues.push_back(frame.item);
        }
        return;
    case Kind::direct_transmit:
    case Kind::hard_transmit:
        transmit_step(lane, host, frame);
        return;
    case Kind::validate: validate_step(lane, host, frame); return;
    case Kind::tap: tap_step(record, host, frame); return;
    case Kind::clone_taker: clone_taker_step(lane, host, frame); return;
    case Kind::clone: clone_step(lane, host, frame); return;
    case Kind::completion:
    case Kind::free:
        free_step(lane, host, frame);
        return;
    case Kind::stream_copy:
    case Kind::stream_enqueue:
    case Kind::backlog_enqueue:
    case Kind::backlog_receive:
        tcp_step(lane, host, frame);
        return;
    case Kind::free_tail: free_tail_step(lane, host, frame); return;
    case Kind::socket_enqueue:
        frame.packet = frame.child = inherited(host);
        stamped_.erase(book_.resolve(frame.packet)); // past all taps
        oldest_received(lane, frame);
        if (frame.packet != 0 && book_.at(frame.packet).packet.verdict == Verdict::in_flight) {
            book_.delivered(frame.packet, frame.item);
        }
        return;
    case Kind::data_ready: ready_step(host, frame); return;
    case Kind::neighbour_probe:
        frame.packet = frame.child = inherited(host);
        if (host != nullptr && host->kind == Kind::neighbour_send && host->packet != 0) {
            wait_for_neighbour(host->packet, host->item, {}, true); // it is sent after the packet was queued
        }
        return;
    case Kind::fragment:
        frame.packet = frame.child = inherited(host);
        fragment_arrives(lane, frame);
        return;
    case Kind::core_receive:
    case Kind::neighbour_update:
    case Kind::tap_transmit:
    case Kind::stream_data:
    case Kind::carry:
        break;
    }
    if (host != nullptr && host->kind == Kind::sublist_hook &&
        functions_[frame.symbol].name == "nf_hook_slow") {
        frame.packet = frame.child = next_living(host->batch().to_route);
        assumes_order(frame, *host);
        if (frame.packet != 0) {
            return;
        }
    }
    frame.packet = frame.child = inherited(host);
    // The driver's transmit function: where the packet joins the ring.
    if (is_traced && host != nullptr && host->kind == Kind::hard_transmit && host->in_driver != 0) {
        SlotRecord& slot = book_.at(host->in_driver);
        if (slot.driver_call == 0) {
            slot.driver_call = frame.item;
        }
    }
}

/// It is complete, and NET_TX will free it; the next that the same poll completes is another one.
void Correlator::leave_to_softirq(Lane& lane, Slot slot)
{
    completed_[lane.cpu].push_back(slot);
    for (Frame& open : lane.stack) {
        open.wait = book_.resolve(open.wait) == book_.resolve(slot) ? 0 : open.wait;
    }
}

/// net_tx_action() (net/core/dev.c) traces the end of each of its packets, then calls what releases it.
void Correlator::free_left_over(Frame& host, Frame& frame)
{
    if (host.has_freed && is_one_of(functions_[frame.symbol].name, {"__kfree_skb", "__kfree_skb_defer"})) {
        frame.packet = frame.child = host.freed;
        return;
    }
    frame.packet = frame.child = next_living(host.batch().completed);
}

/// What a reader of datagrams frees under an address that nothing has named: the oldest of those that were delivered as clones. 0: none.
Slot Correlator::read_as_clone(const Lane& lane)
{
    const bool reads_datagram = std::ranges::any_of(lane.stack, [this](const Frame& frame) {
        return is_one_of(functions_[frame.symbol].name, {"skb_consume_udp", "udp_recvmsg", "udpv6_recvmsg"});
    });
    if (!reads_datagram) {
        return 0;
    }
    while (!share_checked_.empty()) {
        const Slot slot = book_.resolve(share_checked_.front());
        if (book_.at(slot).packet.verdict == Verdict::in_flight) {
            return 0; // still on its way up
        }
        share_checked_.pop_front();
        if (!book_.at(slot).dead && book_.at(slot).in_socket) {
            return slot;
        }
    }
    return 0;
}

Slot Correlator::match(Lane& lane, Slot current, std::uint64_t address, Evidence evidence, std::uint32_t item,
                       bool foreign)
{
    if (address == 0) {
        return 0;
    }
    Slot known = evidence == Evidence::free ? book_.living(address)
                                            : owner_of(address, item); // free_event() has looked
    const Slot slot = book_.resolve(current);
    if (known != 0 && slot != 0 && slot != known && evidence == Evidence::transmit) {
        // A received packet that nobody forwards here does not turn up on the way out: its address has a new
        // owner.
        const SlotRecord& former = book_.at(known);
        const bool is_served_here = std::ranges::any_of(lane.stack, [&](const Frame& frame) {
            return frame.packet != 0 && book_.resolve(frame.packet) == known;
        });
        if (!former.packet.sent_here && former.core_seen && former.neighbour_call == 0 && !is_served_here) {
            book_.end_unseen(known, item);
            known = 0;
        }
    }
    const auto latest_clone = [&]() -> Slot {
        while (!lane.clones.empty()) {
            const Slot clone = book_.resolve(lane.clones.back());
            lane.clones.pop_back();
            if (!book_.at(clone).dead && book_.at(clone).address == 0) {
                book_.bind(clone, address);
                return clone;
            }
        }
        return 0;
    };
    if (known != 0) {
        if (slot == 0 || slot == known) {
            return known;
        }
        SlotRecord& record = book_.at(slot);
        if (record.address != 0 || record.kind == SlotRecord::Kind::nothing || record.dead) {
            return known;
        }
        if (!record.born) {
            book_.unite(slot, known);
            return known;
        }
        if (evidence == Evidence::free) {
            return known; // somebody else's end while this one is served
        }
        // A packet of its own that had no address so far: the former owner of the address ended unseen.
        book_.end_unseen(known, item);
        book_.bind(slot, address);
        return slot;
    }
    SlotRecord& record = book_.at(slot);
    const bool is_unbound =
        slot != 0 && record.address == 0 && !record.dead && record.kind != SlotRecord::Kind::nothing;
    if (evidence == Evidence::free) {
        if (const Slot clone = latest_clone(); clone != 0) {
            return clone;
        }
        if (const Slot part = part_in_frag_list(lane); part != 0) {
            book_.bind(part, address);
            return part;
        }
        if (foreign) {
            return 0;
        }
    }
    if (slot != 0 && record.shared &&
        std::erase_if(share_checked_, [&](Slot other) { return book_.resolve(other) == slot; }) != 0) {
        book_.bind(slot, address); // this is the clone as which it goes on
        return slot;
    }
    if (evidence == Evidence::free) {
        if (is_unbound && record.born) { // ended before any record named it
            book_.bind(slot, address);
            return slot;
        }
        if (const Slot read = record.kind == SlotRecord::Kind::reader ? read_as_clone(lane) : 0; read != 0) {
            book_.bind(read, address);
            book_.unite(slot, read);
            return book_.resolve(read);
        }
        if (record.kind == SlotRecord::Kind::reader && !tap_queue_.empty()) {
            const Slot clone = tap_queue_.front();
            tap_queue_.pop_front();
            book_.bind(clone, address);
            book_.unite(slot, clone);
            return book_.resolve(clone);
        }
        return 0;
    }
    if (is_unbound) {
        std::erase_if(lane.clones, [&](Slot clone) { return book_.resolve(clone) == slot; });
        book_.bind(slot, address);
        book_.born(slot, item);
        if (record.kind == SlotRecord::Kind::open || record.kind == SlotRecord::Kind::reader) {
            book_.at(slot).kind = SlotRecord::Kind::known;
            book_.at(slot).packet.sent_here = evidence == Evidence::transmit;
        }
        return slot;
    }
    const Slot fresh = book_.open(SlotRecord::Kind::known);
    SlotRecord& made = book_.at(fresh);
    if (slot != 0 && evidence == Evidence::transmit) { // a piece: fragment or segment
        const auto before = static_cast<Slot>(to_index(record.packet.parent));
        const bool is_next_piece =
            record.packet.relation == Relation::split && before != 0 && book_.at(before).in_pieces;
        made.packet.sent_here = book_.at(slot).packet.sent_here;
        made.packet.parent = static_cast<PacketId>(is_next_piece ? before : slot);
        made.packet.relation = Relation::split;
    }
    book_.bind(fresh, address);
    book_.born(fresh, item);
    return fresh;
}

Slot Correlator::prove(Lane& lane, const RawRecord& record, std::size_t frame, std::uint64_t address,
                       Evidence evidence)
{
    (void)record;
    const bool foreign =
        evidence == Evidence::free && // else nobody asks
        std::ranges::any_of(lane.stack, [](const Frame& outer) { return outer.kind == Kind::foreign; });
    const std::uint32_t item = lane.stack[frame].item;
    const Slot slot = match(lane, lane.stack[frame].packet, address, evidence, item, foreign);
    Frame& call = lane.stack[frame];
    call.packet = call.child = slot;
    if (item != 0) {
        Event& event = book_.item(item);
        event.packet = slot;
        event.flags = Event::make_flags(event.context(), Confidence::certain, event.via());
        if (slot != 0) {
            book_.at(slot).last_item = item;
        }
    }
    return slot;
}

std::size_t Correlator::frame_for(Lane& lane, const RawRecord& record,
                                  std::initializer_list<NameNumber> names, const Name& fallback)
{
    if (Frame* call = open_call(lane, names)) {
        Event& event = book_.item(call->item);
        // A call emits its event once; the one that sends a list does for each packet of it.
        if ((event.via() & via_tracepoint) == 0 || call->kind == Kind::hard_transmit) {
            event.flags |= via_tracepoint;
            return lane.stack.size() - 1;
        }
        pop(lane); // it has returned: this is another one
    }
    if (!functions_seen_) {
        pop_frees(lane);
    }
    const bool begins_receiving = fallback.number == NameNumber("__netif_receive_skb_core").number ||
                                  fallback.number == NameNumber("netif_receive_skb").number ||
                                  fallback.number == NameNumber("napi_gro_receive").number;
    if (begins_receiving) {
        // A packet on its way in does not begin below what was done for another one: that has returned,
        // unseen.
        const bool is_handed_up = fallback.number == NameNumber("napi_gro_receive").number;
        const auto can_call =
            [&](const Frame& frame) { // GRO lets go a full list before it has returned (on_gro_exit)
                const bool is_open_gro =
                    frame.kind == Kind::gro_receive && !functions_seen_ && gro_results_seen_ && !is_handed_up;
                return finds_packets(frame.kind) || functions_[frame.symbol].is_receive || is_open_gro;
            };
        while (!lane.stack.empty() && !can_call(lane.stack.back())) {
            pop(lane);
        }
    }
    push_call(lane, record, symbol_named(fallback), via_tracepoint);
    return lane.stack.size() - 1;
}

void Correlator::device_facts(Slot slot, const RawRecord& record, const Decoder& decoder,
                              bool length_has_ethernet)
{
    if (slot == 0) {
        return;
    }
    SlotRecord& known = book_.at(slot);
    const DeviceId device = device_of(record, decoder);
    known.at_device = device;
    if (known.packet.device == DeviceId::none) {
        known.packet.device = device;
    }
    if (decoder.length) {
        known.length_now = static_cast<std::uint32_t>(decoder.length.read(record.data)) +
                           (length_has_ethernet ? 0 : ethernet_header);
        known.packet.length = known.packet.length == 0 ? known.length_now : known.packet.length;
    }
}

/// What the record tells of the sk_buff itself, for whoever looks at the packet at that moment.
void Correlator::field_facts(Slot slot, std::uint32_t item, const RawRecord& record, const Decoder& decoder)
{
    if (slot == 0) {
        return;
    }
    std::array<PacketBook::Field, 8> fields;
    std::size_t count = 0;
    for (const auto& [field, place] : decoder.told()) {
        fields[count++] = {field, place.read(record.data)};
    }
    const SlotRecord& known = book_.at(slot);
    if (known.ethertype != 0) {
        fields[count++] = {SkbField::protocol, known.ethertype};
    }
    if (known.at_device != DeviceId::none) {
        fields[count++] = {SkbField::device, to_index(known.at_device)};
    }
    book_.tell(slot, item, std::span(fields).first(count));
}

void Correlator::tap_passed(Slot slot, std::uint64_t time_ns, bool outgoing)
{
    if (slot != 0) {
        passages_.push_back({slot, book_.at(slot).at_device, time_ns, outgoing, book_.at(slot).length_now});
    }
}

} // namespace skbscope
