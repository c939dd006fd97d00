// Calls, probes and interrupts as they come, and the events of receiving.

#include "capture/correlator.h"
#include "capture/correlator_detail.h"

#include <algorithm>
#include <utility>

namespace skbscope {

using namespace correlating;

// ---- calls
// ----------------------------------------------------------------------------------------------------------

void Correlator::on_function(const RawRecord& record, const Decoder& decoder)
{
    Lane& lane = lane_of(record);
    const Symbol function = symbol_of_function(decoder.address_a.read(record.data));
    const Symbol caller = symbol_of_caller(decoder.address_b.read(record.data));
    functions_seen_ = true;
    note_gap(record);
    if (caller == softirq_loop_ && context_of(record) == Context::softirq &&
        (lane.stack.empty() || lane.stack.front().item != loop_calls_[record.cpu])) {
        (void)enter_softirq_loop(
            lane,
            record); // of a softirq whose own entry is not recorded: timers', where only the network's are
    }
    place(lane, record, function, caller);
    const bool by_jump = next_by_jump_;
    Frame& frame = push_call(lane, record, function, via_function);
    frame.by_jump = by_jump;
    if (function == softirq_loop_) {
        loop_calls_[record.cpu] = frame.item;
    }
}

void Correlator::note_gap(const RawRecord& record)
{
    auto& [last, context] = last_call_[record.cpu];
    if (last != 0 && context == context_of(record) && gaps_.size() < kept_gaps &&
        record.time_ns - last < 1'000'000'000) {
        gaps_.push_back(static_cast<std::uint32_t>(record.time_ns - last));
    }
    last = record.time_ns;
    context = context_of(record);
}

void Correlator::on_graph_entry(const RawRecord& record, const Decoder& decoder)
{
    functions_seen_ = true;
    graph_seen_ = true;
    Lane& lane = lane_of(record);
    const Symbol function = symbol_of_function(decoder.address_a.read(record.data));
    const int depth = static_cast<int>(decoder.number.read(record.data));
    note_gap(record);
    while (!lane.stack.empty() && lane.stack.back().graph_depth >= depth) {
        pop(lane);
    }
    if (functions_[function].kind == Kind::system_call) {
        pop_to(lane, 0);
    }
    push_call(lane, record, function, via_graph).graph_depth = depth;
}

void Correlator::on_graph_exit(const RawRecord& record, const Decoder& decoder)
{
    Lane& lane = lane_of(record);
    const Symbol function = symbol_of_function(decoder.address_a.read(record.data));
    const int depth = static_cast<int>(decoder.number.read(record.data));
    for (std::size_t i = lane.stack.size(); i-- > 0;) {
        Frame& frame = lane.stack[i];
        if (frame.graph_depth != depth || frame.symbol != function) {
            continue;
        }
        const std::uint64_t from = decoder.port_a.read(record.data);
        const std::uint64_t to = decoder.port_b.read(record.data);
        Event& event = book_.item(frame.item);
        event.duration_ns =
            static_cast<std::uint32_t>(std::min<std::uint64_t>(to - from, Event::unknown_duration - 1));
        // Without GRO's own events, what it was given goes up (a merged one is never received and stays unbound).
        if (frame.kind == Kind::gro_receive && !gro_results_seen_ && frame.packet != 0 && !frame.passed_on) {
            lane.handed_up.push_back(book_.resolve(frame.packet));
        }
        if (frame.kind == Kind::free && frame.released && !frame.free_seen) {
            end_by_call(lane, i);
        }
        pop_to(lane, i);
        if (lane.stack.empty()) {
            lane.clones.clear();
        }
        return;
    }
}

void Correlator::on_kprobe(const RawRecord& record, const Decoder& decoder)
{
    const auto ip = decoder.fields.find("__probe_ip");
    if (ip == decoder.fields.end() || !decoder.skb || decoder.skb.size != 8) {
        return;
    }
    Lane& lane = lane_of(record);
    const Symbol function = symbol_of_function(ip->second.read(record.data));
    const std::uint64_t address = decoder.skb.read(record.data);
    const bool is_top = !lane.stack.empty() && lane.stack.back().symbol == function &&
                        lane.stack.back().item != 0 &&
                        (book_.item(lane.stack.back().item).via() & via_kprobe) ==
                            0; // else it has returned: this is another call
    if (!options_.use_kprobes) {
        probed_.push_back({is_top ? lane.stack.back().item : 0, address, book_.living(address)});
        return;
    }
    if (is_top) {
        book_.item(lane.stack.back().item).flags |= via_kprobe;
    } else {
        while (!lane.stack.empty() && lane.stack.back().item != 0 &&
               !functions_[lane.stack.back().symbol].is_caller) {
            pop(lane);
        }
        push_call(lane, record, function, via_kprobe);
    }
    const std::size_t frame = lane.stack.size() - 1;
    const Kind kind = functions_[function].kind;
    const Evidence evidence = kind == Kind::free || kind == Kind::completion ? Evidence::free
                              : kind == Kind::transmit_tail || kind == Kind::device_queue ||
                                      kind == Kind::neighbour_output || kind == Kind::hard_transmit
                                  ? Evidence::transmit
                                  : Evidence::kprobe;
    const Slot before = book_.resolve(lane.stack[frame].packet);
    const Slot slot = prove(lane, record, frame, address, evidence);
    if (lane.stack.size() >= 2 && slot != 0 && slot != before) {
        // A list served in another order than assumed: what follows in its tail belongs to the proven one.
        Frame& host = lane.stack[frame - 1];
        if (kind == Kind::sublist_deliver || kind == Kind::sublist_route) {
            host.child = slot;
        } else if (kind == Kind::neighbour_output || kind == Kind::arp_receive) {
            host.follow = slot;
        }
    }
    if (slot == 0) {
        return;
    }
    if (!functions_seen_ && !consume_is_recorded_ && functions_[function].name == "skb_consume_udp" &&
        book_.at(slot).in_socket) {
        book_.at(slot).packet.end_inferred = true; // probes alone: nothing else tells of its end
        book_.freed(slot, lane.stack[frame].item);
        return;
    }
    SlotRecord& known = book_.at(slot);
    if (decoder.protocol.size == 2) {
        const auto raw = static_cast<std::uint16_t>(decoder.protocol.read(record.data));
        const auto ethertype = static_cast<std::uint16_t>(raw << 8 | raw >> 8);
        known.ethertype = known.ethertype == 0 ? ethertype : known.ethertype;
    }
    if (kind != Kind::free && kind != Kind::completion) { // there the fields may be stale
        field_facts(slot, lane.stack[frame].item, record, decoder);
    }
    const auto field = [&](const char* name) {
        const auto at = decoder.fields.find(name);
        return at == decoder.fields.end() ? EventField{} : at->second;
    };
    const EventField protocol = field("ipproto");
    const EventField header = field("ihl_tos");
    const EventField ports = field("ports");
    if ((known.packet.flow && !known.packet.flow->source.is_any()) || !protocol ||
        decoder.address_a.size != 4 || decoder.address_b.size != 4 || known.ethertype != ethertype_ipv4 ||
        (header && (header.read(record.data) & 0xff) != 0x45)) {
        return;
    }
    FlowKey flow;
    flow.source = v4_address(decoder.address_a.bytes(record.data));
    flow.destination = v4_address(decoder.address_b.bytes(record.data));
    flow.protocol = static_cast<std::uint8_t>(protocol.read(record.data));
    const bool is_later_fragment = known.packet.relation == Relation::split &&
                                   known.kind == SlotRecord::Kind::transmit && flow.protocol == protocol_udp;
    if (!is_later_fragment && (flow.protocol == protocol_udp || flow.protocol == protocol_tcp)) {
        const auto both = ports.bytes(record.data);
        if (both.size() != 4) {
            return;
        }
        flow.source_port = static_cast<std::uint16_t>(both[0] << 8 | both[1]);
        flow.destination_port = static_cast<std::uint16_t>(both[2] << 8 | both[3]);
    }
    known.packet.flow = flow;
}

// ---- interrupts
// -----------------------------------------------------------------------------------------------------

void Correlator::on_irq_entry(const RawRecord& record, const Decoder& decoder)
{
    Lane& lane = lane_of(record);
    pop_to(lane, 0);
    push_call(lane, record, symbol_named("__handle_irq_event_percpu"), via_tracepoint);
    interrupts_.emplace_back(lane.stack.back().item, decoder.name.text(record.data));
}

void Correlator::on_irq_exit(const RawRecord& record, const Decoder& decoder)
{
    (void)decoder;
    Lane& lane = lane_of(record);
    if (!lane.stack.empty() && lane.stack.front().item != 0) {
        Event& event = book_.item(lane.stack.front().item);
        const std::uint64_t took = record.time_ns - event.time_ns;
        event.duration_ns =
            static_cast<std::uint32_t>(std::min<std::uint64_t>(took, Event::unknown_duration - 1));
    }
    pop_to(lane, 0);
}

void Correlator::on_softirq_raise(const RawRecord& record, const Decoder& decoder)
{
    Lane& lane = lane_of(record);
    (void)add_item(lane, record, EventKind::softirq_raise, functions_[raise_softirq_].id, 0,
                   Confidence::certain, via_tracepoint,
                   static_cast<std::uint32_t>(decoder.number.read(record.data)));
}

void Correlator::on_softirq_entry(const RawRecord& record, const Decoder& decoder)
{
    (void)decoder;
    Lane& lane = lane_of(record);
    if (lane.stack.size() == 1 && lane.stack[0].graph_depth >= 0) {
        return; // function_graph has the call itself
    }
    if (!enter_softirq_loop(lane, record)) {
        pop_to(lane, 0);
        push_call(lane, record, softirq_loop_, via_tracepoint);
        return;
    }
    book_.item(lane.stack.front().item).flags |= via_tracepoint;
}

/// The tracer has shown the loop's call at its entry, where the CPU does not count as in a softirq yet: it becomes the outermost of the
/// softirqs. One call runs all that is pending. False: it was not shown.
bool Correlator::enter_softirq_loop(Lane& lane, const RawRecord& record)
{
    const std::uint32_t call = loop_calls_[record.cpu];
    if (call == 0 || call < book_.written()) {
        return false;
    }
    pop_to(lane, 0);
    Event& event = book_.item(call);
    event.flags = Event::make_flags(context_of(record), event.confidence(), event.via());
    event.depth = lane.depth();
    Frame frame;
    frame.symbol = softirq_loop_;
    frame.kind = functions_[softirq_loop_].kind;
    frame.item = call;
    lane.push(std::move(frame));
    return true;
}

void Correlator::on_softirq_exit(const RawRecord& record, const Decoder& decoder)
{
    Lane& lane = lane_of(record);
    name_ready(lane);
    lane.list.clear();
    on_irq_exit(record, decoder);
    lane.handed_up.clear();
    lane.received.clear();
}

/// eth_type_trans has read it from the frame; a sender may have said something else of the same packet.
void Correlator::received_ethertype(SlotRecord& known, const RawRecord& record, const Decoder& decoder)
{
    if (!decoder.protocol) {
        return;
    }
    if (const auto ethertype = static_cast<std::uint16_t>(decoder.protocol.read(record.data));
        ethertype != 0) {
        known.ethertype = ethertype;
    }
}

// ---- receive
// --------------------------------------------------------------------------------------------------------

void Correlator::on_gro_entry(const RawRecord& record, const Decoder& decoder)
{
    Lane& lane = lane_of(record);
    const std::size_t frame = frame_for(
        lane, record, {"napi_gro_receive", "napi_gro_frags", "gro_receive_skb"}, "napi_gro_receive");
    name_ready(lane);
    lane.list_is_whole = true;
    end_former_owner(lane, decoder.skb.read(record.data), lane.stack[frame].item,
                     false); // a driver hands up what it has just allocated
    const Slot slot = prove(lane, record, frame, decoder.skb.read(record.data), Evidence::receive);
    device_facts(slot, record, decoder, false);
    if (slot != 0) {
        book_.at(slot).ethertype = static_cast<std::uint16_t>(decoder.protocol.read(record.data));
    }
    field_facts(slot, lane.stack[frame].item, record, decoder);
}

void Correlator::on_gro_exit(const RawRecord& record, const Decoder& decoder)
{
    Lane& lane = lane_of(record);
    gro_results_seen_ = true;
    const Frame* call = open_call(lane, {"napi_gro_receive", "napi_gro_frags", "gro_receive_skb"});
    if (call == nullptr || call->packet == 0) {
        return;
    }
    const Slot slot = book_.resolve(call->packet);
    // enum gro_result, include/linux/netdevice.h: the same numbers up to 3 in all versions.
    switch (decoder.number.read(record.data)) {
    case 0:
    case 1: { // merged into a held packet; its shell is freed (or used again) without a record
        SlotRecord& merged = book_.at(slot);
        if (merged.dead) {
            break;
        }
        Slot into = 0;
        int candidates = 0;
        for (const Slot other : lane.handed_up) {
            if (book_.at(other).held_by_gro && book_.at(other).ethertype == merged.ethertype) {
                into = book_.resolve(other);
                ++candidates;
            }
        }
        book_.decide(slot, Verdict::merged, call->item);
        if (candidates == 1) {
            merged.packet.merged_into = static_cast<PacketId>(into);
            (void)book_.add_side(call->item, EventKind::merge, slot, into);
        }
        merged.packet.end_inferred = true;
        book_.freed(slot, call->item);
        break;
    }
    case 2:
        book_.at(slot).held_by_gro = true;
        lane.handed_up.push_back(slot);
        break;
    case 3:
        if (!call->passed_on) {
            lane.handed_up.push_back(slot);
        }
        break;
    default:
        break;
    }
    if (!functions_seen_) {
        pop(lane); // it has returned
    }
}

/// It was put into a CPU's backlog before anything named its sk_buff. Nobody tells into which CPU's: the oldest of all is taken.
void Correlator::leaves_backlog(Lane& lane, Frame& core)
{
    const bool from_backlog = std::ranges::any_of(
        lane.stack, [this](const Frame& open) { return functions_[open.symbol].name == "process_backlog"; });
    std::erase_if(unnamed_in_backlog_, [this](Slot slot) {
        return book_.at(slot).dead || book_.at(slot).address != 0 || book_.at(slot).backlog_side == 0;
    });
    const Slot next = from_backlog ? next_living(unnamed_in_backlog_) : 0;
    if (next == 0) {
        return;
    }
    if (core.packet != 0) {
        book_.unite(core.packet, next); // and what was called for it before
    }
    core.packet = core.child = next;
}

void Correlator::on_netif_receive(const RawRecord& record, const Decoder& decoder)
{
    Lane& lane = lane_of(record);
    const bool is_core = decoder.event == "netif_receive_skb";
    name_ready(lane);
    const std::size_t frame =
        is_core ? frame_for(lane, record, {"__netif_receive_skb_core"}, "__netif_receive_skb_core")
                : frame_for(lane, record, {"netif_receive_skb"}, "netif_receive_skb");
    const std::uint64_t address = decoder.skb.read(record.data);
    if (const Slot former = owner_of(address, lane.stack[frame].item);
        is_core && former != 0 && book_.at(former).core_seen) {
        // Up through a bridge, a VLAN, a tunnel. With events alone: what came last here comes from another device, and GRO did not have it anew.
        const bool is_stacked = !functions_seen_ && gro_results_seen_ && !lane.received.empty() &&
                                book_.resolve(lane.received.back()) == former &&
                                book_.at(former).at_device != device_of(record, decoder);
        const bool again = is_stacked || std::ranges::any_of(lane.stack, [&](const Frame& outer) {
                               return outer.packet != 0 && book_.resolve(outer.packet) == former;
                           });
        if (!again) {
            book_.end_unseen(
                former, lane.stack[frame].item); // a packet is received once: the address has a new owner
        }
    }
    if (const Slot former = book_.living(address); is_core && !gro_results_seen_ && former != 0 &&
                                                   book_.at(former).transmitted && !book_.at(former).looped) {
        book_.end_unseen(
            former,
            lane.stack[frame].item); // what left through a device does not come in: its end was not recorded
    }
    const SlotRecord& assumed = book_.at(book_.resolve(lane.stack[frame].packet));
    const bool is_unknown = lane.stack[frame].packet == 0 ||
                            (assumed.kind == SlotRecord::Kind::open && assumed.address == 0 && !assumed.born);
    if (is_core && !gro_results_seen_ && is_unknown && book_.living(address) == 0) {
        // Nothing has named its sk_buff before: it is the next of those that GRO handed up.
        if (Frame* list = find_host(lane, {Kind::list_internal})) {
            if (const Slot next = next_living(list->batch().listed); next != 0) {
                lane.stack[frame].packet = next;
            }
        } else {
            leaves_backlog(lane, lane.stack[frame]);
        }
    }
    const Slot slot = prove(lane, record, frame, address, Evidence::receive);
    if (slot == 0) {
        return;
    }
    device_facts(slot, record, decoder, false);
    SlotRecord& known = book_.at(slot);
    known.core_seen = known.core_seen || is_core;
    known.leaves = known.leaves && !is_core;
    received_ethertype(known, record, decoder);
    field_facts(slot, lane.stack[frame].item, record, decoder);
    if (!is_core) {
        return;
    }
    if (decoder.length) { // GRO may have joined others to it
        known.packet.length =
            std::max(known.packet.length,
                     static_cast<std::uint32_t>(decoder.length.read(record.data)) + ethernet_header);
    }
    device_passages_.push_back({slot, known.at_device, record.time_ns, false, known.length_now});
    if (known.backlog_side != 0) {
        (void)book_.add_queue_side(lane.stack[frame].item, EventKind::dequeue, slot,
                                   {QueueKind::backlog, {}});
        known.backlog_side = 0;
    }
    if (Frame* core = find_host(lane, {Kind::list_core})) {
        core->batch().cored.push_back(slot);
    }
    if (!functions_seen_) {
        if (std::exchange(lane.list_is_whole, false)) {
            lane.list.clear();
        }
        if (lane.list.empty() ||
            book_.resolve(lane.list.back()) != slot) { // else from a device on top of that one
            lane.list.push_back(slot);
        }
    }
    lane.received.push_back(slot);
    if (lane.received.size() > most_received) { // softirq_exit is not traced
        lane.received.pop_front();
    }
}

void Correlator::on_netif_rx(const RawRecord& record, const Decoder& decoder)
{
    Lane& lane = lane_of(record);
    const bool is_entry = decoder.event != "netif_rx";
    const std::size_t frame =
        is_entry ? frame_for(lane, record, {"netif_rx", "__netif_rx", "netif_rx_ni"}, "netif_rx")
                 : frame_for(lane, record, {"netif_rx_internal"}, "netif_rx_internal");
    const Slot slot = prove(lane, record, frame, decoder.skb.read(record.data), Evidence::receive);
    if (slot == 0) {
        return;
    }
    device_facts(slot, record, decoder, false);
    received_ethertype(book_.at(slot), record, decoder);
    book_.at(slot).looped = true; // sent and received by this host: the same packet goes on
    book_.at(slot).core_seen = false;
}

} // namespace skbscope
