// What each kind of call tells: whom it serves, and what becomes of that packet by it. attribute() (correlator_attribution.cpp) chooses.

#include "capture/correlator.h"
#include "capture/correlator_detail.h"

#include <algorithm>
#include <utility>

namespace skbscope {

using namespace correlating;

/// What GRO lets go: which of several held ones it is nobody tells; of one it is certain.
void Correlator::held_step(Lane& lane, Frame& frame)
{
    const auto is_held = [&](Slot slot) { return book_.at(slot).held_by_gro; };
    if (std::ranges::count_if(lane.handed_up, is_held) == 1) {
        frame.packet = frame.child = book_.resolve(*std::ranges::find_if(lane.handed_up, is_held));
        book_.at(frame.packet).held_by_gro = false;
    }
}

/// A call for a byte stream has no packet of its own; below it each is found anew.
void Correlator::stream_step(Frame* host, Frame& frame)
{
    if (host != nullptr &&
        host->kind == Kind::send_maker) { // release_sock() below raw_sendmsg(), for the message it made
        frame.packet = frame.child = inherited(host);
        return;
    }
    if (host != nullptr && functions_[host->symbol].name ==
                               "inet_autobind") { // … a socket without a port has nothing in its backlog
        frame.packet = frame.child = inherited(host);
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
}

/// A packet made while another one is served.
void Correlator::nested_make(Lane& lane, Frame* host, Frame& frame)
{
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
}

/// A system call that reads: one slot for each message.
void Correlator::reader_step(Lane& lane, Frame* host, Frame& frame)
{
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
}

/// An sk_buff is allocated: of a frame that the driver takes in, of what is sent, or of a part of it.
void Correlator::allocate_step(Lane& lane, Frame* host, Frame& frame)
{
    const bool is_traced = frame.item != 0;
    if (is_traced && makes_original(host)) {
        frame.packet = frame.child = tcp_original(lane, frame.item);
        return;
    }
    if (host != nullptr && host->kind == Kind::batch) {
        receive_step(*host, frame, 2);
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
}

/// The driver's steps with a received frame, by how far it is with it.
void Correlator::driver_step(Lane& lane, Frame* host, Frame& frame)
{
    if (host != nullptr && host->kind == Kind::batch) {
        const std::uint8_t rank = frame.kind == Kind::receive_buffer_take             ? 0
                                  : frame.kind == Kind::receive_frame                 ? 1
                                  : frame.kind == Kind::gro_receive                   ? 5
                                  : functions_[frame.symbol].name == "eth_type_trans" ? 4
                                                                                      : 3;
        receive_step(*host, frame, rank);
        return;
    }
    frame.packet = frame.child = inherited(host);
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
}

void Correlator::stamp_step(Frame* host, Frame& frame)
{
    if (host != nullptr && host->kind == Kind::list_internal) {
        frame.packet = frame.child = next_living(host->batch().to_stamp);
        assumes_order(frame, *host);
        return;
    }
    frame.packet = frame.child = inherited(host);
}

/// A received packet is steered to a CPU and put into its backlog.
void Correlator::steer_step(const RawRecord& record, Frame* host, Frame& frame)
{
    if (host != nullptr && host->kind == Kind::list_internal) {
        if (functions_[frame.symbol].name == "get_rps_cpu" || host->follow == 0) {
            host->follow = next_living(host->batch().listed);
        }
        frame.packet = frame.child = host->follow;
    } else {
        frame.packet = frame.child = inherited(host);
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
}

void Correlator::arp_step(Frame* host, Frame& frame)
{
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
    frame.packet = frame.child = inherited(host);
    if (host != nullptr) {
        host->follow = frame.packet;
    }
}

/// The way down from a neighbour: of the packet that is sent, or of the one that waited longest for the answer that came just now.
void Correlator::neighbour_output_step(Lane& lane, Frame* host, Frame& frame)
{
    if (host == nullptr || host->kind != Kind::neighbour_update) {
        tail_step(host, frame);
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
}

void Correlator::qdisc_step(Frame* host, Frame& frame)
{
    frame.packet = frame.child = inherited(host);
    if (frame.packet != 0 && functions_[frame.symbol].name != "noop_enqueue") {
        SlotRecord& slot = book_.at(frame.packet);
        if (slot.qdisc_side == 0) { // a classful qdisc calls its child's
            slot.qdisc_side = book_.add_queue_side(frame.item, EventKind::enqueue, frame.packet,
                                                   {QueueKind::qdisc, {}});
        }
    }
}

/// From the qdisc to the driver: one packet, a bulk of them, or the segments of a large one.
void Correlator::transmit_step(Lane& lane, Frame* host, Frame& frame)
{
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
    tail_step(host, frame);
    if (host != nullptr && host->kind == Kind::qdisc_run && host->lists && !host->lists->dequeues.empty()) {
        // No event named what the qdisc gave: it is what is sent next.
        book_.item(host->lists->dequeues.front()).packet = frame.packet;
        host->lists->dequeues.clear();
    }
}

void Correlator::validate_step(Lane& lane, Frame* host, Frame& frame)
{
    Frame* bulk = nullptr;
    for (Frame& outer : lane.stack) {
        if (outer.lists && outer.lists->many && outer.kind == Kind::direct_transmit) {
            bulk = &outer;
            break;
        }
    }
    if (bulk == nullptr) {
        frame.packet = frame.child = inherited(host);
        return;
    }
    frame.packet = frame.child = book_.open();
    bulk->batch().bulk.push_back(frame.packet);
    // The bulk is in the order in which the qdisc gave it (try_bulk_dequeue_skb(), net/sched/sch_generic.c).
    const std::size_t ordinal = bulk->batch().bulk.size() - 1;
    if (const Frame* run = find_host(lane, {Kind::qdisc_run});
        run != nullptr && run->lists && ordinal > 0 && ordinal <= run->lists->dequeued.size()) {
        if (const std::uint32_t call = run->lists->dequeued[ordinal - 1]; call >= book_.written()) {
            book_.item(call).packet = frame.packet;
        }
    }
}

void Correlator::tap_step(const RawRecord& record, Frame* host, Frame& frame)
{
    if (host != nullptr && host->follow != 0 && host->kind == Kind::tap_transmit) {
        frame.packet = frame.child = host->follow;
        tap_passed(host->packet, record.time_ns, true);
    } else {
        frame.packet = frame.child = inherited(host);
        // The stamp is taken before the backlog (net.core.netdev_tstamp_prequeue).
        const auto stamp = stamped_.find(book_.resolve(frame.packet));
        tap_passed(frame.packet, stamp == stamped_.end() ? record.time_ns : stamp->second, false);
    }
}

void Correlator::clone_taker_step(Lane& lane, Frame* host, Frame& frame)
{
    frame.packet = frame.child = inherited(host);
    if (!lane.clones.empty()) {
        const Slot clone = book_.resolve(lane.clones.back());
        if (!book_.at(clone).dead && book_.at(clone).packet.parent == static_cast<PacketId>(frame.packet)) {
            frame.packet = frame.child = clone;
        }
    }
}

/// A clone is a packet of its own, but for those that are the packet itself from then on: a segment that TCP sends, what a receiver that shared its packet goes on with.
void Correlator::clone_step(Lane& lane, Frame* host, Frame& frame)
{
    frame.packet = frame.child = inherited(host);
    if (frame.packet == 0 || host == nullptr) {
        return;
    }
    if (host->kind == Kind::nested_maker) { // TCP sends a clone of what waits for its acknowledgement
        book_.born(frame.packet, frame.item);
        tcp_clone(lane, frame.packet);
        if (const Slot original = static_cast<Slot>(to_index(book_.at(frame.packet).packet.parent));
            original != 0) {
            frame.packet = frame.child = original;
        }
        return;
    }
    if (clones_last_fragment(lane, *host, frame)) {
        return;
    }
    if (is_one_of(functions_[host->symbol].name,
                  {"ip_rcv_core", "ip6_rcv_core", "arp_rcv"})) { // skb_share_check()
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
}

/// Whom a call frees that no event names (yet).
void Correlator::free_step(Lane& lane, Frame* host, Frame& frame)
{
    const bool is_traced = frame.item != 0;
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
    if (frame.packet != 0 &&
        is_one_of(functions_[frame.symbol].name, {"__dev_kfree_skb_irq", "dev_kfree_skb_irq_reason"})) {
        leave_to_softirq(lane, frame.packet);
    }
}

/// What runs to release an sk_buff works for the one freed last.
void Correlator::free_tail_step(Lane& lane, Frame* host, Frame& frame)
{
    note_released(lane);
    if (host != nullptr && host->kind == Kind::batch && functions_[frame.symbol].name == "sock_rfree" &&
        functions_[host->symbol].name.text().starts_with("tcp_recvmsg")) {
        // All of it is read; who frees it comes later. Without a copy before: a FIN, which has nothing to copy.
        const bool has_bytes = tcp_.reading != 0;
        frame.packet = frame.child =
            has_bytes ? std::exchange(tcp_.reading, 0) : next_by_device(tcp_.received, lane.talks_by);
        return;
    }
    // What GRO frees by itself is the packet that it has merged, whatever was freed on the way of those it handed up before.
    frame.packet = host == nullptr                              ? 0
                   : host->has_freed && host->kind != Kind::gro_receive ? host->freed
                   : host->kind == Kind::free                   ? host->packet
                                              : host->child;
    frame.child = frame.packet;
}

void Correlator::ready_step(Frame* host, Frame& frame)
{
    frame.packet = frame.child = inherited(host);
    if (host != nullptr && host->kind == Kind::tap && frame.packet != 0) {
        SlotRecord& slot = book_.at(frame.packet);
        if (slot.kind == SlotRecord::Kind::clone && slot.packet.verdict == Verdict::in_flight) {
            slot.tapped = true;
            book_.decide(frame.packet, Verdict::delivered, frame.item);
        }
    }
}

} // namespace skbscope
