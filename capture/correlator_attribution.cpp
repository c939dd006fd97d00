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

Slot Correlator::inherited(Lane& lane, Frame* host, const RawRecord& record)
{
    (void)lane;
    (void)record;
    if (host != nullptr && host->child != 0) {
        return host->child;
    }
    return host == nullptr || finds_packets(host->kind) ? book_.open() : 0;
}

/// The driver's steps with one received frame; a step that is not further than the last belongs to the next
/// frame.
void Correlator::receive_step(Lane& lane, Frame& host, Frame& frame, std::uint8_t rank)
{
    (void)lane;
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
        if (!is_one_of(functions_[open.symbol].name, {"gro_normal_one", "gro_normal_list", "napi_skb_finish", "gro_skb_finish"})) {
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
void Correlator::tail_step(Lane& lane, Frame* host, Frame& frame, const RawRecord& record)
{
    Slot slot = host != nullptr ? host->follow : 0;
    if (slot != 0 && book_.at(slot).dead) {
        slot = 0;
    }
    if (slot == 0) {
        slot = inherited(lane, host, record);
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
            frame.batch().completed.assign(left.rbegin(), left.rend()); // __dev_kfree_skb_irq() puts each in front
            left.clear();
        }
        return;
    case Kind::none:
    case Kind::foreign:
    case Kind::list_core:
    case Kind::qdisc_run:
        return;
    case Kind::gro_complete: {
        // Which of several held ones it is nobody tells; of one it is certain.
        const auto is_held = [&](Slot slot) { return book_.at(slot).held_by_gro; };
        if (std::ranges::count_if(lane.handed_up, is_held) == 1) {
            frame.packet = frame.child = book_.resolve(*std::ranges::find_if(lane.handed_up, is_held));
            book_.at(frame.packet).held_by_gro = false;
        }
        return;
    }
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
        frame.packet = frame.child = inherited(lane, host, record);
        return;
    case Kind::system_call:
        frame.packet = frame.child = book_.open();
        return;
    case Kind::send_begin:
    case Kind::send_maker:
        send_step(lane, host, frame);
        return;
    case Kind::stream:
        if (host != nullptr && host->kind == Kind::send_maker) { // release_sock() below raw_sendmsg(), for the message it made
            frame.packet = frame.child = inherited(lane, host, record);
            return;
        }
        if (host != nullptr && functions_[host->symbol].name == "inet_autobind") { // … a socket without a port has nothing in its backlog
            frame.packet = frame.child = inherited(lane, host, record);
            frame.kind = Kind::carry;
            return;
        }
        if (const Slot outer = host != nullptr ? host->child : 0; outer != 0 && !book_.at(outer).born) {
            frame.packet = outer; // of the system call
            if (book_.at(outer).kind == SlotRecord::Kind::open) {
                book_.at(outer).kind = SlotRecord::Kind::nothing;
            }
        }
        frame.kind = Kind::batch; // below it every packet is found anew
        return;
    case Kind::nested_maker: {
        if (host != nullptr && host->kind == Kind::nested_maker) {
            frame.packet = frame.child = host->child;
            return;
        }
        if (host != nullptr && host->follow != 0 && functions_[frame.symbol].name == "__tcp_transmit_skb") {
            const SlotRecord& made = book_.at(host->follow);
            if (made.kind == SlotRecord::Kind::transmit && made.born && made.address == 0 && !made.dead) {
                frame.packet = frame.child =
                    host->follow; // a bare ACK, made just before and sent without a clone
                return;
            }
        }
        const Slot slot = book_.open(SlotRecord::Kind::transmit);
        book_.at(slot).packet.sent_here = true;
        if (functions_[frame.symbol].name == "icmp_push_reply") {
            book_.at(slot).packet.flow = lane.icmp_flow;
        }
        frame.packet = frame.child = slot;
        if (host != nullptr) {
            host->follow = slot;
        }
        return;
    }
    case Kind::transmit_tail:
        if (host != nullptr && is_one_of(functions_[host->symbol].name, {"ip_do_fragment", "ip6_fragment"})) {
            send_fragment(lane, *host, frame, record);
            return;
        }
        tail_step(lane, host, frame, record);
        return;
    case Kind::receive_tail:
    case Kind::device_queue:
        tail_step(lane, host, frame, record);
        return;
    case Kind::receive_begin:
    case Kind::datagram_receive: {
        Slot slot = host != nullptr ? host->child : 0;
        if (slot == 0 || book_.at(slot).born) { // the packet before was read: the next message
            slot = book_.open();
            for (Frame& outer : lane.stack) {
                outer.child = slot;
            }
        }
        if (frame.kind == Kind::datagram_receive && book_.at(slot).kind == SlotRecord::Kind::open) {
            book_.at(slot).kind = SlotRecord::Kind::reader;
        }
        frame.packet = frame.child = slot;
        return;
    }
    case Kind::queue_take:
        frame.packet = frame.child = host != nullptr ? host->child : 0;
        if (frame.packet != 0) {
            book_.at(frame.packet).queue_take = frame.item;
        }
        return;
    case Kind::allocate: {
        if (is_traced && makes_original(host)) {
            frame.packet = frame.child = tcp_original(lane, frame.item);
            return;
        }
        if (host != nullptr && host->kind == Kind::batch) {
            receive_step(lane, *host, frame, 2);
            return;
        }
        frame.packet = frame.child = host != nullptr ? host->child : 0;
        if (frame.packet == 0 || !is_traced) {
            return;
        }
        if (is_one_of(functions_[host->symbol].name, {"__ip_append_data", "__ip6_append_data"})) {
            // 5.10's sock_alloc_send_skb() may jump to sock_alloc_send_pskb(), which then stands beside it: still one packet.
            const bool is_first = std::exchange(host->rank, std::uint8_t{1}) == 0;
            if (!is_first && functions_[frame.symbol].name == "__alloc_skb") {
                next_fragment(lane, frame);
                return;
            }
        }
        if (functions_[host->symbol].name == "skb_segment") {
            frame.packet = frame.child = piece_of(lane, frame.packet, frame.item);
            return;
        }
        SlotRecord& slot = book_.at(frame.packet);
        if (slot.kind == SlotRecord::Kind::transmit || slot.kind == SlotRecord::Kind::receive) {
            book_.born(frame.packet, frame.item);
        }
        return;
    }
    case Kind::receive_buffer_take:
    case Kind::receive_frame:
    case Kind::receive_hand_up:
    case Kind::gro_receive: {
        if (host != nullptr && host->kind == Kind::batch) {
            const std::uint8_t rank = frame.kind == Kind::receive_buffer_take             ? 0
                                      : frame.kind == Kind::receive_frame                 ? 1
                                      : frame.kind == Kind::gro_receive                   ? 5
                                      : functions_[frame.symbol].name == "eth_type_trans" ? 4
                                                                                          : 3;
            receive_step(lane, *host, frame, rank);
            return;
        }
        frame.packet = frame.child = inherited(lane, host, record);
        if (frame.kind ==
            Kind::gro_receive) { // below the driver's own function for a frame: that frame is handed up
            for (std::size_t i = lane.stack.size(); i-- > 0;) {
                if (lane.stack[i].kind == Kind::batch) {
                    lane.stack[i].child = 0;
                    lane.stack[i].rank = 0;
                    break;
                }
            }
        }
        return;
    }
    case Kind::list_stamp:
        if (host != nullptr && host->kind == Kind::list_internal) {
            frame.packet = frame.child = next_living(host->batch().to_stamp);
            assumes_order(frame, *host);
            return;
        }
        frame.packet = frame.child = inherited(lane, host, record);
        return;
    case Kind::rps:
        if (host != nullptr && host->kind == Kind::list_internal) {
            if (functions_[frame.symbol].name == "get_rps_cpu" || host->follow == 0) {
                host->follow = next_living(host->batch().listed);
            }
            frame.packet = frame.child = host->follow;
        } else {
            frame.packet = frame.child = inherited(lane, host, record);
        }
        if (functions_[frame.symbol].name == "enqueue_to_backlog" && frame.packet != 0) {
            SlotRecord& slot = book_.at(frame.packet);
            slot.backlog_side =
                book_.add_queue_side(frame.item, EventKind::enqueue, frame.packet, {QueueKind::backlog, {}});
            constexpr std::size_t most_stamps = 65536; // those that overflow the backlog stay
            if (stamped_.size() > most_stamps) {
                stamped_.clear();
            }
            stamped_[book_.resolve(frame.packet)] = record.time_ns;
            if (slot.address == 0) {
                constexpr std::size_t most_waiting = 4096;
                unnamed_in_backlog_.push_back(book_.resolve(frame.packet));
                if (unnamed_in_backlog_.size() > most_waiting) {
                    unnamed_in_backlog_.pop_front();
                }
            }
            slot.looped = true;
            slot.core_seen = false;
            if (host != nullptr && host->kind == Kind::list_internal) {
                host->follow = 0;
                slot.looped = false;
            }
        }
        return;
    case Kind::arp_receive: {
        if (host != nullptr && host->kind == Kind::list_core) {
            auto& cored = host->batch().cored;
            const auto at = std::ranges::find_if(cored, [&](Slot slot) {
                const SlotRecord& candidate = book_.at(slot);
                return !candidate.dead && (candidate.ethertype == ethertype_arp || candidate.ethertype == 0);
            });
            if (at != cored.end()) {
                frame.packet = frame.child = host->follow = *at;
                cored.erase(at);
                return;
            }
        }
        frame.packet = frame.child = inherited(lane, host, record);
        if (host != nullptr) {
            host->follow = frame.packet;
        }
        return;
    }
    case Kind::neighbour_send: {
        frame.packet = frame.child = inherited(lane, host, record);
        if (frame.packet != 0) {
            book_.at(frame.packet).neighbour_call = frame.item;
        }
        return;
    }
    case Kind::neighbour_output: {
        if (host == nullptr || host->kind != Kind::neighbour_update) {
            tail_step(lane, host, frame, record);
            return;
        }
        auto at = std::ranges::find_if(unresolved_, [&](const Waiting& waiting) {
            return lane.neighbour.empty() || waiting.neighbour.empty() || waiting.neighbour == lane.neighbour;
        });
        if (at == unresolved_.end()) {
            frame.packet = frame.child = host->follow = book_.open();
            return;
        }
        frame.packet = frame.child = host->follow = at->slot;
        if (at->neighbour.empty()) {
            at->neighbour = lane.neighbour;
            book_.name_queue(book_.at(at->slot).waiting_side, lane.neighbour);
        }
        (void)book_.add_queue_side(frame.item, EventKind::dequeue, at->slot,
                                   {QueueKind::arp_queue, at->neighbour});
        book_.at(at->slot).waiting_side = 0;
        book_.at(at->slot).left_neighbour = true;
        unresolved_.erase(at);
        return;
    }
    case Kind::qdisc_enqueue:
        frame.packet = frame.child = inherited(lane, host, record);
        if (frame.packet != 0 && functions_[frame.symbol].name != "noop_enqueue") {
            SlotRecord& slot = book_.at(frame.packet);
            if (slot.qdisc_side == 0) { // a classful qdisc calls its child's
                slot.qdisc_side = book_.add_queue_side(frame.item, EventKind::enqueue, frame.packet,
                                                       {QueueKind::qdisc, {}});
            }
        }
        return;
    case Kind::qdisc_dequeue:
        if (Frame* run = find_host(lane, {Kind::qdisc_run})) {
            run->batch().dequeues.push_back(frame.item);
        }
        return;
    case Kind::direct_transmit:
    case Kind::hard_transmit: {
        if (frame.kind == Kind::hard_transmit && !lane.pieces.empty()) {
            frame.batch().many = true;
            frame.batch().bulk = std::exchange(lane.pieces, {});
            frame.child = frame.batch().bulk.front();
            return;
        }
        if (host != nullptr && host->lists && host->lists->many) {
            frame.batch().many = true;
            if (frame.kind == Kind::hard_transmit) {
                frame.child = host->lists->bulk.empty() ? 0 : host->lists->bulk.front();
                frame.batch().bulk = host->lists->bulk;
            }
            return;
        }
        tail_step(lane, host, frame, record);
        if (host != nullptr && host->kind == Kind::qdisc_run && host->lists && !host->lists->dequeues.empty()) {
            // No event named what the qdisc gave: it is what is sent next.
            book_.item(host->lists->dequeues.front()).packet = frame.packet;
            host->lists->dequeues.clear();
        }
        return;
    }
    case Kind::validate: {
        Frame* bulk = nullptr;
        for (Frame& outer : lane.stack) {
            if (outer.lists && outer.lists->many && outer.kind == Kind::direct_transmit) {
                bulk = &outer;
                break;
            }
        }
        if (bulk == nullptr) {
            frame.packet = frame.child = inherited(lane, host, record);
            return;
        }
        frame.packet = frame.child = book_.open();
        bulk->batch().bulk.push_back(frame.packet);
        // The bulk is in the order in which the qdisc gave it (try_bulk_dequeue_skb(), net/sched/sch_generic.c).
        const std::size_t ordinal = bulk->batch().bulk.size() - 1;
        if (const Frame* run = find_host(lane, {Kind::qdisc_run}); run != nullptr && run->lists && ordinal > 0 && ordinal <= run->lists->dequeued.size()) {
            if (const std::uint32_t call = run->lists->dequeued[ordinal - 1]; call >= book_.written()) {
                book_.item(call).packet = frame.packet;
            }
        }
        return;
    }
    case Kind::tap:
        if (host != nullptr && host->follow != 0 && host->kind == Kind::tap_transmit) {
            frame.packet = frame.child = host->follow;
            tap_passed(lane, host->packet, record.time_ns, true);
        } else {
            frame.packet = frame.child = inherited(lane, host, record);
            // The stamp is taken before the backlog (net.core.netdev_tstamp_prequeue).
            const auto stamp = stamped_.find(book_.resolve(frame.packet));
            tap_passed(lane, frame.packet, stamp == stamped_.end() ? record.time_ns : stamp->second, false);
        }
        return;
    case Kind::clone_taker: {
        frame.packet = frame.child = inherited(lane, host, record);
        if (!lane.clones.empty()) {
            const Slot clone = book_.resolve(lane.clones.back());
            if (!book_.at(clone).dead && book_.at(clone).packet.parent == static_cast<PacketId>(frame.packet)) {
                frame.packet = frame.child = clone;
            }
        }
        return;
    }
    case Kind::clone: {
        frame.packet = frame.child = inherited(lane, host, record);
        if (frame.packet == 0 || host == nullptr) {
            return;
        }
        if (host->kind == Kind::nested_maker) { // TCP sends a clone of what waits for its acknowledgement
            book_.born(frame.packet, frame.item);
            tcp_clone(lane, frame.packet);
            if (const Slot original = static_cast<Slot>(to_index(book_.at(frame.packet).packet.parent)); original != 0) {
                frame.packet = frame.child = original;
            }
            return;
        }
        if (clones_last_fragment(lane, *host, frame)) {
            return;
        }
        if (is_one_of(functions_[host->symbol].name, {"ip_rcv_core", "ip6_rcv_core", "arp_rcv"})) { // skb_share_check()
            book_.at(frame.packet).shared = true;
            share_checked_.push_back(book_.resolve(frame.packet));
            return;
        }
        const Slot clone = book_.open(SlotRecord::Kind::clone);
        SlotRecord& made = book_.at(clone);
        made.packet.parent = static_cast<PacketId>(frame.packet); // a slot until the trace is written
        made.packet.relation = Relation::clone;
        made.packet.device = book_.at(frame.packet).packet.device;
        made.packet.sent_here = book_.at(frame.packet).packet.sent_here;
        made.packet.length = book_.at(frame.packet).packet.length;
        made.ethertype = book_.at(frame.packet).ethertype;
        made.tapped = host->kind == Kind::tap;
        book_.born(clone, frame.item);
        (void)book_.add_side(frame.item, EventKind::clone, clone, frame.packet);
        lane.clones.push_back(clone);
        if (host->kind == Kind::tap_transmit) {
            host->follow = clone;
        } else if (host->kind == Kind::tap) {
            host->wait = host->packet; // packet_rcv gives its reference to the original back
            host->packet = clone;      // and goes on with the clone
            host->child = clone;
        } else if (host->kind == Kind::neighbour_probe) {
            host->child = clone; // what waits is not touched: solicit() gets the clone, which is freed after it
        }
        return;
    }
    case Kind::completion:
    case Kind::free: {
        if (functions_[frame.symbol].name == "__kfree_skb" && silent_free(lane, host, frame)) {
            return;
        }
        if (host != nullptr && host->symbol == net_tx_action_) {
            free_left_over(*host, frame);
            return;
        }
        if (is_traced && functions_[frame.symbol].name == "kfree_skb_partial" && reassembles(lane)) {
            frame.packet = frame.child = next_joined(lane, frame.item);
            end_silently(lane, frame.packet, frame.item, false);
            return;
        }
        if (host != nullptr && host->kind == Kind::batch) {
            const bool is_open = host->wait != 0 && !book_.at(host->wait).born &&
                                 book_.at(host->wait).kind == SlotRecord::Kind::open;
            if (!is_open) {
                host->wait = book_.open();
            }
            frame.packet = frame.child = host->wait;
        } else if (host != nullptr && host->kind == Kind::tap && host->wait != 0) {
            frame.packet = frame.child = std::exchange(host->wait, 0);
        } else {
            frame.packet = frame.child = host != nullptr ? host->child : 0;
        }
        if (frame.packet != 0 && is_one_of(functions_[frame.symbol].name, {"__dev_kfree_skb_irq", "dev_kfree_skb_irq_reason"})) {
            leave_to_softirq(lane, frame.packet);
        }
        return;
    }
    case Kind::stream_copy:
    case Kind::stream_enqueue:
    case Kind::backlog_enqueue:
    case Kind::backlog_receive:
        tcp_step(lane, host, frame, record);
        return;
    case Kind::free_tail:
        note_released(lane);
        if (host != nullptr && host->kind == Kind::batch && functions_[frame.symbol].name == "sock_rfree" && functions_[host->symbol].name.text().starts_with("tcp_recvmsg")) {
            // All of it is read; who frees it comes later. Without a copy before: a FIN, which has nothing to copy.
            const bool has_bytes = tcp_.reading != 0;
            frame.packet = frame.child = has_bytes ? std::exchange(tcp_.reading, 0) : next_by_device(tcp_.received, lane.talks_by);
            return;
        }
        // What GRO frees by itself is the packet that it has merged, whatever was freed on the way of those it handed up before.
        frame.packet = host == nullptr                              ? 0
                       : host->has_freed && host->kind != Kind::gro_receive ? host->freed
                       : host->kind == Kind::free                   ? host->packet
                                                  : host->child;
        frame.child = frame.packet;
        return;
    case Kind::socket_enqueue:
        frame.packet = frame.child = inherited(lane, host, record);
        stamped_.erase(book_.resolve(frame.packet)); // past all taps
        oldest_received(lane, frame);
        if (frame.packet != 0 && book_.at(frame.packet).packet.verdict == Verdict::in_flight) {
            book_.delivered(frame.packet, frame.item);
        }
        return;
    case Kind::data_ready:
        frame.packet = frame.child = inherited(lane, host, record);
        if (host != nullptr && host->kind == Kind::tap && frame.packet != 0) {
            SlotRecord& slot = book_.at(frame.packet);
            if (slot.kind == SlotRecord::Kind::clone && slot.packet.verdict == Verdict::in_flight) {
                slot.tapped = true;
                book_.decide(frame.packet, Verdict::delivered, frame.item);
            }
        }
        return;
    case Kind::neighbour_probe:
        frame.packet = frame.child = inherited(lane, host, record);
        if (host != nullptr && host->kind == Kind::neighbour_send && host->packet != 0) {
            wait_for_neighbour(host->packet, host->item, {}, true); // it is sent after the packet was queued
        }
        return;
    case Kind::fragment:
        frame.packet = frame.child = inherited(lane, host, record);
        fragment_arrives(lane, frame);
        return;
    case Kind::core_receive:
    case Kind::neighbour_update:
    case Kind::tap_transmit:
    case Kind::stream_data:
    case Kind::carry:
        break;
    }
    if (host != nullptr && host->kind == Kind::sublist_hook && functions_[frame.symbol].name == "nf_hook_slow") {
        frame.packet = frame.child = next_living(host->batch().to_route);
        assumes_order(frame, *host);
        if (frame.packet != 0) {
            return;
        }
    }
    frame.packet = frame.child = inherited(lane, host, record);
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
    Slot known = book_.living(address);
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
    if (slot != 0 && record.shared && std::erase_if(share_checked_, [&](Slot other) { return book_.resolve(other) == slot; }) != 0) {
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
        const bool is_next_piece = record.packet.relation == Relation::split && before != 0 && book_.at(before).in_pieces;
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
    const bool foreign = evidence == Evidence::free && // else nobody asks
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
    const bool begins_receiving = fallback.number == NameNumber("__netif_receive_skb_core").number || fallback.number == NameNumber("netif_receive_skb").number ||
                                  fallback.number == NameNumber("napi_gro_receive").number;
    if (begins_receiving) {
        // A packet on its way in does not begin below what was done for another one: that has returned,
        // unseen.
        const bool is_handed_up = fallback.number == NameNumber("napi_gro_receive").number;
        const auto can_call = [&](const Frame& frame) { // GRO lets go a full list before it has returned (on_gro_exit)
            const bool is_open_gro = frame.kind == Kind::gro_receive && !functions_seen_ && gro_results_seen_ && !is_handed_up;
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

void Correlator::tap_passed(Lane& lane, Slot slot, std::uint64_t time_ns, bool outgoing)
{
    (void)lane;
    if (slot != 0) {
        passages_.push_back({slot, book_.at(slot).at_device, time_ns, outgoing, book_.at(slot).length_now});
    }
}

} // namespace skbscope
