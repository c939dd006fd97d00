// Where a call stands: which calls are open below it.

#include "capture/correlator.h"
#include "capture/correlator_detail.h"

#include <algorithm>
#include <iterator>

namespace skbscope {

using namespace correlating;

// ---- places
// ---------------------------------------------------------------------------------------------------------

/// What was interrupted goes on: all that is open above it has returned.
void Correlator::leave_interrupts(Lane& lane)
{
    while (!lane.stack.empty() && interrupts(lane, lane.stack.back().symbol)) {
        pop(lane); // all that it calls runs in the interrupt's lane
    }
}

Lane& Correlator::lane_looked_up(std::int32_t pid)
{
    Lane& lane = task_lanes_[pid]; // rows of this table never move; let_go() takes them out
    recent_lanes_[static_cast<std::uint32_t>(pid) % recent_lanes_.size()] = {pid, &lane};
    return lane;
}

/// Where the event with the driver's answer is not recorded: NETDEV_TX_BUSY is rare, so it took the packet, unless shown otherwise.
void Correlator::assumes_taken(const Frame& frame)
{
    if (xmit_result_is_seen_ || frame.in_driver == 0) {
        return;
    }
    const SlotRecord& slot = book_.at(frame.in_driver);
    if (!slot.dead) {
        book_.transmitted(frame.in_driver, slot.driver_call != 0 ? slot.driver_call : frame.item);
    }
}

void Correlator::pop(Lane& lane)
{
    Frame& frame = lane.stack.back();
    if (frame.kind == Kind::tap && frame.packet != 0 && !frame.has_freed &&
        functions_[frame.symbol].name != "tpacket_rcv") {
        // packet_rcv queued its clone: it is freed when the capturing program has read it.
        const Slot clone = book_.resolve(frame.packet);
        if (std::erase_if(lane.clones, [&](Slot slot) { return book_.resolve(slot) == clone; }) != 0) {
            tap_queue_.push_back(clone);
        }
    }
    if (frame.kind == Kind::stream_data && !forgets_) {
        keeps_out_of_order(frame);
    }
    assumes_taken(frame);
    if (frame.kind == Kind::direct_transmit && functions_[frame.symbol].name == "sch_direct_xmit") {
        requeued_.insert(requeued_.end(), lane.pieces.begin(), lane.pieces.end());
        lane.pieces.clear();
    } else if (frame.kind == Kind::hard_transmit && frame.lists && frame.lists->many) {
        std::ranges::copy_if(frame.lists->bulk, std::back_inserter(requeued_), [&](Slot slot) {
            return book_.at(slot).packet.relation == Relation::split && book_.at(slot).address == 0;
        });
    }
    lane.pop();
}

void Correlator::pop_to(Lane& lane, std::size_t count)
{
    while (lane.stack.size() > count) {
        pop(lane);
    }
    if (count == 0) {
        lane.clones.clear();
        lane.fragments.clear();
        lane.completed.clear();
        lane.pieces.clear();
    }
}

void Correlator::place(Lane& lane, const RawRecord& record, Symbol function, Symbol caller)
{
    next_by_jump_ = false;
    const auto is_base = [&](const Frame& frame) {
        return is_one_of(functions_[frame.symbol].name,
                         {"handle_softirqs", "__do_softirq", "__handle_irq_event_percpu"});
    };
    const std::size_t base = !lane.is_task && !lane.stack.empty() && is_base(lane.stack.front()) ? 1 : 0;
    if (functions_[function].kind == Kind::system_call) {
        pop_to(lane, 0);
        return;
    }
    if (interrupts(lane, function)) {
        return; // what is open goes on behind it
    }
    functions_[caller].is_caller = true;
    for (std::size_t i = lane.stack.size(); i-- > 0;) {
        Frame& open = lane.stack[i];
        if (open.symbol != caller) {
            continue;
        }
        // The caller's last callee may have ended in a jump to this function, and that one's last callee,
        // too.
        std::size_t kept = i + 1;
        for (std::size_t k = i + 1; k < lane.stack.size() && (k == i + 1 || lane.stack[k].by_jump); ++k) {
            if (lane.stack[k].item != 0 &&
                is_listed(functions_[function].jumpers, functions_[lane.stack[k].symbol].name)) {
                kept = k + 1;
            }
        }
        pop_to(lane, kept);
        next_by_jump_ = kept > i + 1;
        if (kept == i + 1 && open.item == 0 && open.first_callee == function &&
            functions_[caller].name == "kfree_skb_partial") {
            pop_to(lane, i); // it frees one: this is another call
            push_untraced(lane, record, caller, function);
            return;
        }
        if (open.owns_slot && open.first_callee == function) {
            // An untraced caller that begins again what it began with: it was called anew, for another
            // packet.
            open.packet = open.child = book_.open();
            open.follow = 0;
        }
        return;
    }
    if (functions_[caller].is_entry) {
        pop_to(lane, base);
        return;
    }
    // An untraced function that this caller may have called, and that ends in a jump to this one.
    for (std::size_t i = lane.stack.size(); i-- > 0;) {
        const Function& open = functions_[lane.stack[i].symbol];
        if (lane.stack[i].item == 0 && is_listed(functions_[function].jumpers, open.name) &&
            is_listed(open.hosts, functions_[caller].name)) {
            pop_to(lane, i + 1);
            next_by_jump_ = true;
            return;
        }
    }
    const auto& hosts = functions_[caller].hosts;
    for (std::size_t i = lane.stack.size(); i-- > 0;) {
        if (is_listed(hosts, functions_[lane.stack[i].symbol].name)) {
            pop_to(lane, i + 1);
            push_untraced(lane, record, caller, function);
            return;
        }
    }
    if (functions_[function].is_bh_enable) {
        push_loose(lane,
                   caller); // a lock may be given back anywhere: that tells nothing of what has returned
        return;
    }
    if (lane.is_task || !hosts.empty()) { // of another, untraced system call: what is open has returned
        pop_to(lane, base);
        push_untraced(lane, record, caller, function);
        return;
    }
    for (std::size_t i = lane.stack.size(); i-- > base;) {
        if (functions_[lane.stack[i].symbol].is_caller) { // the nearest that calls others at all
            pop_to(lane, i + 1);
            push_untraced(lane, record, caller, function);
            return;
        }
    }
    pop_to(lane, base);
    push_untraced(lane, record, caller, function);
}

void Correlator::push_loose(Lane& lane, Symbol function)
{
    Frame frame;
    frame.symbol = function;
    frame.kind = Kind::none;
    frame.is_loose = true;
    lane.push(std::move(frame));
}

/// No tracepoint stands in what such a caller calls: it has returned.
void Correlator::pop_loose(Lane& lane)
{
    const auto loose = std::ranges::find_if(lane.stack, &Frame::is_loose);
    if (loose != lane.stack.end()) {
        pop_to(lane, static_cast<std::size_t>(loose - lane.stack.begin()));
    }
}

Frame& Correlator::push_call(Lane& lane, const RawRecord& record, Symbol function, std::uint8_t via)
{
    if (functions_seen_ && (via & (via_function | via_graph)) == 0) {
        pop_loose(lane);
    }
    Frame frame;
    frame.symbol = function;
    frame.kind = functions_[function].kind;
    frame.item =
        add_item(lane, record, EventKind::call, functions_[function].id, 0, Confidence::derived, via);
    if (lane.new_original != 0 &&
        !is_one_of(functions_[function].name, {"__tcp_transmit_skb", "skb_clone"})) {
        place_original(lane, false);
    }
    attribute(lane, record, lane.top(), frame);
    Event& event = book_.item(frame.item);
    event.packet = frame.packet;
    if (frame.packet != 0) {
        book_.at(frame.packet).last_item = frame.item;
    }
    lane.push(std::move(frame));
    return lane.stack.back();
}

void Correlator::push_untraced(Lane& lane, const RawRecord& record, Symbol function, Symbol callee)
{
    Frame frame;
    frame.first_callee = callee;
    const bool has_packet = lane.top() != nullptr && lane.top()->child != 0;
    frame.symbol = function;
    frame.kind = functions_[function].kind;
    if (const Frame* host = lane.top()) {
        frame.follow = host->follow;
    }
    if (frame.kind == Kind::carry || finds_packets(frame.kind) || frame.kind == Kind::foreign ||
        frame.kind == Kind::none) {
        attribute(lane, record, lane.top(), frame);
    } else {
        frame.packet = frame.child = lane.top() != nullptr ? lane.top()->child : 0;
        if (frame.kind == Kind::free && lane.top() != nullptr && lane.top()->symbol == net_tx_action_ &&
            lane.top()->has_freed) {
            frame.packet = frame.child = frame.freed = lane.top()->freed; // its event comes before the call
            frame.has_freed = true;
        }
        if (frame.child == 0 && lane.stack.empty()) {
            frame.packet = frame.child = book_.open();
        }
    }
    if (functions_[function].name == "kfree_skb_partial") { // the bytes live on in another sk_buff
        const Frame* host = lane.top();
        if (reassembles(lane)) {
            frame.packet = frame.child = next_joined(lane, book_.last_item());
        } else if (lane.top() != nullptr && lane.top()->kind == Kind::stream_data) {
            frame.packet = frame.child = joins_stream(*lane.top());
        }
        const std::uint32_t last = frame.packet != 0 ? book_.at(frame.packet).last_item : 0;
        const std::uint32_t item =
            last != 0 ? last : book_.last_item(); // a clone that nobody has called anything for
        end_silently(lane, frame.packet, item, host != nullptr && host->kind == Kind::backlog_enqueue);
    }
    if (const Frame* host = lane.top();
        host != nullptr && functions_[host->symbol].name == "tcp_ack" &&
        is_one_of(functions_[function].name, {"tcp_shifted_skb", "pskb_expand_head"})) {
        frame.packet = frame.child = frame.follow =
            0; // for what waits to be acknowledged, not for the acknowledgement
        frame.kind = Kind::none;
    }
    frame.owns_slot = !lane.is_task && !has_packet && frame.child != 0;
    if (functions_[function].name == "pktgen_alloc_skb") { // what its caller sends next
        const Slot made = book_.open(SlotRecord::Kind::transmit);
        book_.at(made).packet.sent_here = true;
        frame.packet = frame.child = made;
        if (Frame* sender = lane.top()) {
            sender->child = made;
        }
    }
    lane.push(std::move(frame));
}

Frame* Correlator::find_host(Lane& lane, std::initializer_list<Kind> kinds)
{
    for (std::size_t i = lane.stack.size(); i-- > 0;) {
        if (std::ranges::find(kinds, lane.stack[i].kind) != kinds.end()) {
            return &lane.stack[i];
        }
    }
    return nullptr;
}

} // namespace skbscope
