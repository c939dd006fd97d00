// The events of sending, of neighbours, and of the ends of packets.

#include "capture/correlator.h"
#include "capture/correlator_detail.h"
#include "core/catalog/catalog.h"
#include "core/catalog/drop_ids.h"
#include "core/catalog/function_ids.h"

#include <algorithm>
#include <fmt/format.h>
#include <utility>

namespace skbscope {

using namespace correlating;

// ---- transmit
// -------------------------------------------------------------------------------------------------------

void Correlator::on_dev_queue(const RawRecord& record, const Decoder& decoder)
{
    Lane& lane = lane_of(record);
    const std::uint64_t address = decoder.skb.read(record.data);
    const std::size_t frame = functions_seen_
                                  ? frame_for(lane, record, {"__dev_queue_xmit"}, "__dev_queue_xmit")
                                  : queue_call(lane, record, address, decoder);
    if (functions_seen_) {
        release_by_answer(lane, record, lane.stack[frame], address);
    }
    const Slot slot = prove(lane, record, frame, address, Evidence::transmit);
    device_facts(slot, record, decoder, true);
    field_facts(slot, lane.stack[frame].item, record, decoder);
    if (slot != 0) {
        // It did not wait for its neighbour after all.
        std::erase_if(unresolved_,
                      [&](const Waiting& waiting) { return book_.resolve(waiting.slot) == slot; });
        book_.cancel(book_.at(slot).waiting_side);
        book_.at(slot).waiting_side = 0;
        book_.at(slot).looped = false;
        book_.at(slot).leaves = true;
        if (functions_seen_) {
            note_talk(lane, slot, book_.at(slot).at_device);
        }
        leaving_is_recorded_ = true;
    }
}

/// A tracer that shows no neighbour functions here: what leaves in a softirq right behind a neighbour's answer, under an address
/// that nothing has named, is the packet that waited for it longest.
void Correlator::release_by_answer(Lane& lane, const RawRecord& record, Frame& frame, std::uint64_t address)
{
    // Below what was received last stands whatever is sent for it, also if only the event of the sending is there.
    const bool is_unknown =
        frame.packet == 0 || (book_.at(frame.packet).address == 0 && !book_.at(frame.packet).born) ||
        (!lane.received.empty() && book_.resolve(lane.received.back()) == book_.resolve(frame.packet));
    if (context_of(record) != Context::softirq || !is_unknown || book_.living(address) != 0 ||
        unresolved_.empty() || lane.received.empty()) {
        return;
    }
    const std::uint16_t answer = book_.at(lane.received.back()).ethertype;
    const auto waiting = std::ranges::find_if(unresolved_, [&](const Waiting& one) {
        const SlotRecord& packet = book_.at(one.slot);
        return !packet.dead && packet.address == 0;
    });
    const bool may_be_answer =
        answer == ethertype_arp || answer == ethertype_ipv6 || answer == 0; // older events tell no type
    if (!may_be_answer || waiting == unresolved_.end()) {
        return;
    }
    frame.packet = frame.child = book_.resolve(waiting->slot);
    (void)book_.add_queue_side(frame.item, EventKind::dequeue, frame.packet,
                               {QueueKind::arp_queue, waiting->neighbour});
    book_.at(frame.packet).waiting_side = 0;
    book_.at(frame.packet).left_neighbour = true;
    unresolved_.erase(waiting);
}

void Correlator::on_start_xmit(const RawRecord& record, const Decoder& decoder)
{
    Lane& lane = lane_of(record);
    const std::uint64_t address = decoder.skb.read(record.data);
    const std::size_t index = frame_for(lane, record, {"dev_hard_start_xmit"}, "dev_hard_start_xmit");
    Frame& frame = lane.stack[index];
    const bool many = frame.lists && frame.lists->many;
    Slot slot = 0;
    if (leaving_is_recorded_ && !functions_seen_) {
        end_former_owner(lane, address, frame.item,
                         true); // nothing received goes out that was not queued for it
    }
    if (many) {
        BatchLists& lists = *frame.lists;
        const Slot validated = lists.bulk.empty() ? 0 : lists.bulk.front();
        if (!lists.bulk.empty()) {
            lists.bulk.pop_front();
        }
        slot = match(lane, validated, address, Evidence::transmit, frame.item, false);
        lane.stack[index].child = slot;
    } else {
        slot = prove(lane, record, index, address, Evidence::transmit);
    }
    if (slot == 0) {
        return;
    }
    device_facts(slot, record, decoder, true);
    SlotRecord& known = book_.at(slot);
    if (decoder.protocol) {
        known.ethertype = static_cast<std::uint16_t>(decoder.protocol.read(record.data));
    }
    if (known.qdisc_side != 0) { // one of a bulk: the dequeue event names only the first
        (void)book_.add_queue_side(lane.stack[index].item, EventKind::dequeue, slot, {QueueKind::qdisc, {}});
        known.qdisc_side = 0;
    }
    known.driver_call =
        functions_seen_ ? 0 : lane.stack[index].item; // else the driver's own function is still to come
    if (!many) {
        field_facts(slot, lane.stack[index].item, record, decoder);
    }
    device_passages_.push_back({slot, known.at_device, record.time_ns, true, known.length_now});
    Frame& now = lane.stack[index];
    now.in_driver = slot;
    now.in_driver_address = address;
    if (!frees_seen_) {
        constexpr std::size_t longest_ring = 8192;
        auto& ring = rings_[known.at_device];
        ring.push_back(slot);
        if (ring.size() > longest_ring) {
            ring.pop_front();
        }
    } else if (!rings_.empty()) {
        rings_.clear();
    }
}

void Correlator::on_xmit(const RawRecord& record, const Decoder& decoder)
{
    Lane& lane = lane_of(record);
    Frame* frame = open_call(lane, {"dev_hard_start_xmit"});
    if (frame == nullptr || frame->in_driver == 0 ||
        frame->in_driver_address != decoder.skb.read(record.data)) {
        return; // its beginning was not seen; the address may be somebody else's by now
    }
    book_.item(frame->item).flags |= via_tracepoint;
    const Slot slot = std::exchange(frame->in_driver, 0);
    SlotRecord& known = book_.at(slot);
    if (decoder.number.read(record.data) == 0) { // NETDEV_TX_OK; anything else: requeued
        const std::uint32_t item = known.driver_call != 0 ? known.driver_call : frame->item;
        if (!known.dead || known.in_ring) {
            book_.transmitted(slot, item);
        }
    } else {
        known.driver_call = 0;
    }
    if (frame->lists && frame->lists->many) {
        frame->child = frame->lists->bulk.empty() ? 0 : frame->lists->bulk.front();
    }
}

void Correlator::on_qdisc_enqueue(const RawRecord& record, const Decoder& decoder)
{
    Lane& lane = lane_of(record);
    const Slot slot = book_.living(decoder.skb.read(record.data));
    if (Frame* call = open_call(lane, {"__dev_queue_xmit"});
        call != nullptr && slot != 0 && !book_.at(slot).is_doubtful) {
        book_.item(call->item).flags |= via_tracepoint;
        SlotRecord& known = book_.at(slot);
        if (known.qdisc_side == 0) {
            known.qdisc_side =
                book_.add_queue_side(call->item, EventKind::enqueue, slot, {QueueKind::qdisc, {}});
        }
    }
}

void Correlator::on_qdisc_dequeue(const RawRecord& record, const Decoder& decoder)
{
    Lane& lane = lane_of(record);
    Frame* run = find_host(lane, {Kind::qdisc_run});
    const std::uint64_t address = decoder.skb.read(record.data);
    if (address == 0) {
        if (run != nullptr && run->lists) {
            run->lists->dequeues.clear(); // looked and found nothing
        }
        return;
    }
    Slot slot = owner_of(address, book_.last_item());
    if (run == nullptr) {
        push_call(lane, record, symbol_named("__qdisc_run"), via_tracepoint);
        run = &lane.stack.back();
    } else {
        pop_to(lane, static_cast<std::size_t>(run - lane.stack.data()) + 1);
        run = &lane.stack.back();
        if (run->item != 0) {
            book_.item(run->item).flags |= via_tracepoint;
        }
    }
    BatchLists& lists = run->batch();
    if (slot == 0 && !requeued_.empty()) {
        slot = book_.resolve(requeued_.front());
        requeued_.pop_front();
        book_.bind(slot, address);
    }
    if (slot == 0) {
        slot = book_.open(SlotRecord::Kind::known);
        book_.bind(slot, address);
        book_.at(slot).packet.sent_here = true;
        if (run->item != 0) {
            book_.born(slot, run->item);
        }
    }
    const std::uint64_t packets = decoder.number.read(record.data);
    std::uint32_t anchor = run->item != 0 ? run->item : book_.last_item();
    if (!lists.dequeues.empty()) {
        anchor = lists.dequeues.front();
        Event& event = book_.item(anchor);
        event.packet = slot;
        event.flags = Event::make_flags(event.context(), Confidence::certain, event.via());
        const auto last =
            lists.dequeues.begin() +
            static_cast<std::ptrdiff_t>(std::clamp<std::uint64_t>(packets, 1, lists.dequeues.size()));
        lists.dequeued.assign(lists.dequeues.begin() + 1,
                              last); // the one behind them looked and found nothing
        lists.dequeues.clear();
    }
    if (book_.at(slot).qdisc_side != 0) {
        (void)book_.add_queue_side(anchor, EventKind::dequeue, slot, {QueueKind::qdisc, {}});
        book_.at(slot).qdisc_side = 0;
    }
    lists.many = packets > 1;
    lists.bulk.clear();
    run->child = lists.many ? 0 : slot;
}

// ---- ends
// -----------------------------------------------------------------------------------------------------------

void Correlator::on_consume(const RawRecord& record, const Decoder& decoder)
{
    free_event(record, decoder, false);
}

void Correlator::on_kfree(const RawRecord& record, const Decoder& decoder)
{
    free_event(record, decoder, true);
}

/// Whether a call of that function for the packet was recorded shortly before.
bool Correlator::was_called_for(Slot slot, std::string_view name, std::uint32_t before)
{
    constexpr std::uint32_t far = 4096; // a graph shows all that is called
    const std::uint64_t birth_ns = book_.at(slot).packet.birth.ns;
    const std::uint32_t end = std::max(book_.written(), before > far ? before - far : 1U);
    for (std::uint32_t item = before; item-- > end;) {
        const Event& event = book_.item(item);
        if (event.time_ns < birth_ns) {
            return false;
        }
        if (event.is_call() && event.packet != 0 && book_.resolve(event.packet) == slot &&
            trace_.function_name(event.function_id()) == name) {
            return true;
        }
    }
    return false;
}

DropReasonId Correlator::reason_without_field(Slot slot, std::string_view where, std::uint32_t item)
{
    // Before 5.17 only the place tells. The same place may drop for several reasons: what it did with the
    // packet decides.
    PacketBook& book = book_;
    const FunctionId function = Catalog::find_function(where);
    if (is_one_of(where, {"udp_queue_rcv_one_skb", "__udp_enqueue_schedule_skb", "__udp_queue_rcv_skb"})) {
        return Catalog::find_drop_reason(book.at(slot).in_socket ? "SOCKET_RCVBUFF" : "SOCKET_FILTER");
    }
    // udp4_csum_init() comes before the lookup (net/ipv4/udp.c, net/ipv6/udp.c).
    for (const auto& [protocol, lookup] : {std::pair("__udp4_lib_rcv", "__udp4_lib_lookup"),
                                           std::pair("__udp6_lib_rcv", "__udp6_lib_lookup")}) {
        if (where == protocol && symbol_by_name_.contains(std::string_view(lookup)) &&
            !was_called_for(slot, lookup, item)) {
            return Catalog::find_drop_reason("UDP_CSUM");
        }
    }
    // What a qdisc refuses or pushes out __dev_xmit_skb() frees; ip_rcv_finish_core() has -EXDEV from the route's check of the source.
    const bool at_qdisc =
        where == "__dev_queue_xmit" || where == "__dev_xmit_skb" || kind_of(where) == Kind::qdisc_enqueue;
    if (at_qdisc && book.at(slot).qdisc_side != 0) {
        return Catalog::find_drop_reason("QDISC_DROP");
    }
    if (where == "ip_rcv_finish_core" && (was_called_for(slot, "fib_validate_source", item) ||
                                          was_called_for(slot, "__fib_validate_source", item))) {
        return Catalog::find_drop_reason("IP_RPFILTER");
    }
    if (is_one_of(where, {"__udp4_lib_rcv", "__udp6_lib_rcv", "tcp_v4_rcv", "tcp_v6_rcv"})) {
        return Catalog::find_drop_reason("NO_SOCKET");
    }
    if (const DropSite* site = Catalog::find_drop_site(function, DropReasonId::none)) {
        return site->reason;
    }
    return Catalog::find_drop_reason("NOT_SPECIFIED");
}

/// Freed by a helper: whoever called it dropped the packet.
std::string_view Correlator::dropping_place(const Lane& lane, std::size_t index, std::string_view place) const
{
    for (std::size_t i = index; i-- > 0 && (place.empty() || kind_of(place) == Kind::free);) {
        place = functions_[lane.stack[i].symbol].name;
    }
    return place;
}

/// What is called to release an sk_buff runs only below the call that gave its last reference back.
void Correlator::note_released(Lane& lane)
{
    for (std::size_t i = lane.stack.size(); i-- > 0;) {
        Frame& open = lane.stack[i];
        if (open.kind == Kind::free) {
            open.released = true;
            if (functions_[open.symbol].name != "__kfree_skb") {
                return;
            }
        } else if (open.kind != Kind::free_tail) {
            return;
        }
    }
}

/// A driver frees what it has sent in the order in which it was sent. Which device's ring it is the event behind the poll tells, or the call that sends
/// on the same device just now.
void Correlator::completed_unnamed(Lane& lane, Slot slot, std::uint32_t item)
{
    if (!lane.completed.empty() && lane.completed.back().first == slot) {
        return; // a part of the same call
    }
    lane.completed.emplace_back(slot, item);
    for (const Frame& open : lane.stack) {
        if (open.in_driver != 0) {
            name_completed(lane, book_.at(open.in_driver).at_device);
            return;
        }
    }
}

void Correlator::name_completed(Lane& lane, DeviceId device)
{
    auto& ring = rings_[device];
    for (const auto& [slot, item] : std::exchange(lane.completed, {})) {
        const Slot oldest = next_living(ring);
        if (oldest == 0) {
            return;
        }
        if (!book_.at(slot).born && book_.at(slot).address == 0) {
            book_.unite(slot, oldest);
        }
        book_.freed(oldest, item);
    }
}

/// A graph shows the end of a packet also where the events of freeing were not asked for: a freeing call that released, and within which no event came.
void Correlator::end_by_call(Lane& lane, std::size_t index)
{
    const Frame& frame = lane.stack[index];
    const Slot slot = book_.resolve(frame.packet);
    if (slot != 0 && !book_.at(slot).born && !frees_seen_) {
        completed_unnamed(lane, slot, frame.item);
    }
    if (slot == 0 || !book_.at(slot).born || book_.at(slot).dead) {
        return;
    }
    const SlotRecord& known = book_.at(slot);
    const bool is_clone = known.kind == SlotRecord::Kind::clone;
    const bool is_drop = !is_clone && is_one_of(functions_[frame.symbol].name,
                                                {"kfree_skb", "kfree_skb_reason", "sk_skb_reason_drop"});
    if (known.packet.verdict == Verdict::in_flight && is_drop) {
        const std::string place(dropping_place(lane, index, {}));
        book_.dropped(slot, reason_without_field(slot, place, frame.item),
                      functions_[symbol_of_text(place)].id, frame.item);
    } else if (known.packet.verdict == Verdict::in_flight) {
        book_.decide(slot,
                     is_clone && known.tapped ? Verdict::delivered
                     : known.in_pieces        ? Verdict::split
                                              : Verdict::consumed,
                     frame.item);
    }
    note_freed(lane, slot);
    book_.freed(slot, frame.item);
}

namespace {

/// pktgen_xmit(), which 5.10 has compiled into its caller, or pktgen_stop_device() behind the last frame (net/core/pktgen.c).
bool gives_back_for_pktgen(std::string_view function)
{
    return function.starts_with("pktgen_");
}

/// A socket goes, with what nobody has read: sk_stream_kill_queues() (net/core/stream.c), inet_sock_destruct() (net/ipv4/af_inet.c), or the queue's own
/// function, where it is not inlined (net/core/skbuff.c).
bool closes_socket(std::string_view function)
{
    return is_one_of(function, {"sk_stream_kill_queues", "inet_sock_destruct", "skb_queue_purge",
                                "skb_queue_purge_reason"});
}

} // namespace

/// A driver frees there what its device has sent.
bool Correlator::completes_sent(const Lane& lane) const
{
    return std::ranges::any_of(lane.stack, [this](const Frame& frame) {
        return is_one_of(functions_[frame.symbol].name,
                         {"e1000_unmap_and_free_tx_resource", "e1000_put_txbuf", "free_old_xmit_skbs",
                          "free_old_xmit", "__free_old_xmit"});
    });
}

Correlator::ToldReason Correlator::told_reason(const RawRecord& record, const Decoder& decoder) const
{
    if (!decoder.reason) {
        return {};
    }
    const std::uint64_t number = decoder.reason.read(record.data);
    if (number < decoder.reasons.size()) {
        return {decoder.reasons[number], decoder.reason_is_none[number]};
    }
    return {Catalog::drop_reason_of(trace_.info.kernel, static_cast<int>(number)), false};
}

/// Whether a drop is one of a packet, though no record has named its sk_buff.
bool Correlator::makes_a_packet(const RawRecord& record, const Decoder& decoder) const
{
    if (options_.unseen_drops == UnseenDrops::ignored || decoder.protocol.read(record.data) == 0) {
        return false; // sockets of other families free sk_buffs that have no protocol
    }
    const ToldReason told = told_reason(record, decoder);
    const bool says_why =
        told.reason != DropReasonId::none && !told.is_no_drop && told.reason != drop::NOT_SPECIFIED &&
        told.reason != drop::QUEUE_PURGE; // a socket that is closed with what it had not read
    return options_.unseen_drops == UnseenDrops::all || says_why;
}

/// Calls that had returned before this event, though no record says so.
void Correlator::end_calls_before_free(Lane& lane, std::uint64_t address, bool is_drop)
{
    if (drops_only_) {
        pop_to(lane, 0); // no record says when the last one's call returned: each stands for itself
    }
    const auto net_tx = std::ranges::find(lane.stack, net_tx_action_, &Frame::symbol);
    if (net_tx != lane.stack.end() && net_tx->has_freed &&
        std::all_of(net_tx + 1, lane.stack.end(), [](const Frame& frame) {
            return frame.kind == Kind::free || frame.kind == Kind::free_tail;
        })) {
        // they released the one before
        pop_to(lane, static_cast<std::size_t>(net_tx - lane.stack.begin()) + 1);
    }
    if (!functions_seen_) {
        pop_frees(lane);
        note_cut(lane, address, is_drop);
    }
}

/// The call that this event is of, by its place in the lane's stack: an open one that has had none yet, or a new one.
std::size_t Correlator::freeing_call(Lane& lane, const RawRecord& record, bool is_drop)
{
    // The event comes before what the release functions do; each freeing call has one.
    for (std::size_t i = lane.stack.size(); i-- > 0;) {
        const Frame& frame = lane.stack[i];
        if (frame.kind == Kind::free && frame.item != 0 && !frame.free_seen) {
            pop_to(lane, i + 1);
            book_.item(lane.stack[i].item).flags |= via_tracepoint;
            return i;
        }
        if (frame.kind != Kind::free && frame.kind != Kind::free_tail) {
            if (i + 1 < lane.stack.size() || frame.item == 0 || frame.kind != Kind::carry) {
                break;
            }
        }
    }
    const bool reads_udp = std::ranges::any_of(lane.stack, [&](const Frame& frame) {
        return functions_[frame.symbol].name == "skb_consume_udp";
    });
    if (reads_udp && !is_drop) {
        (void)open_call(lane, {"skb_consume_udp"});
        push_call(lane, record, symbol_named("__consume_stateless_skb"), via_tracepoint).by_jump = true;
    } else {
        push_call(lane, record, symbol_named(is_drop ? Name("kfree_skb_reason") : Name("consume_skb")),
                  via_tracepoint);
    }
    return lane.stack.size() - 1;
}

/// The packet that the event names; 0: none that is known, and the event makes none.
Slot Correlator::freed_packet(Lane& lane, const RawRecord& record, const Decoder& decoder, std::size_t index,
                              bool is_drop)
{
    const std::uint64_t address = decoder.skb.read(record.data);
    const std::uint32_t item = lane.stack[index].item;
    const Slot owner = book_.living(address);
    if (is_drop || book_.at(owner).packet.verdict == Verdict::in_flight) {
        (void)owner_of(address, item); // before a loss; the end of what a queue had is no verdict
    }
    Slot slot = prove(lane, record, index, address, Evidence::free);
    // A record that was begun before a pause and got its time within it: what it told of has come to its end unseen since,
    // and the address belongs to what is dropped now.
    if (drops_only_ && is_drop && slot != 0 && book_.at(slot).packet.verdict != Verdict::in_flight &&
        !book_.at(slot).dead) {
        book_.end_unseen(slot, lane.stack[index].item);
        slot = 0;
    }
    if (slot == 0 && is_drop && makes_a_packet(record, decoder)) {
        slot = book_.open(SlotRecord::Kind::known);
        book_.at(slot).ethertype = static_cast<std::uint16_t>(decoder.protocol.read(record.data));
        lane.stack[index].packet = lane.stack[index].child = slot;
        book_.item(lane.stack[index].item).packet = slot;
        book_.born(slot, lane.stack[index].item);
    }
    return slot;
}

/// The function in which the event's location lies.
std::string_view Correlator::told_location(const RawRecord& record, const Decoder& decoder) const
{
    return without_suffix(kernel_.symbols.find(decoder.location.read(record.data)).name);
}

/// Whether a reference is given back while somebody else goes on with the packet.
bool Correlator::gives_back_a_reference(Slot slot, const RawRecord& record, const Decoder& decoder,
                                        bool is_drop)
{
    const SlotRecord& known = book_.at(slot);
    if (!known.shared) {
        return false;
    }
    // pktgen holds each of its frames once more (pktgen_xmit: burst references) and gives that back. Over veth the receiver
    // went on with a clone then.
    if (is_drop) {
        return gives_back_for_pktgen(told_location(record, decoder));
    }
    // Where it gave its reference back first, skb_share_check() frees the last one of the sk_buff that the receiver leaves
    // behind.
    return known.address == decoder.skb.read(record.data) &&
           std::ranges::any_of(share_checked_, [&](Slot other) { return book_.resolve(other) == slot; });
}

/// A packet of ours that is freed behind its device has been transmitted, whether or not a record told of that.
void Correlator::sent_before_free(const Lane& lane, Slot slot, std::uint32_t item)
{
    SlotRecord& known = book_.at(slot);
    // A driver that frees what it sent before the sender has returned from it: the transmission is a fact
    // now.
    if (known.driver_call != 0 && !known.transmitted && known.packet.verdict == Verdict::in_flight &&
        !known.looped) {
        const bool by_sender = std::ranges::any_of(lane.stack, [&](const Frame& frame) {
            return frame.in_driver != 0 && book_.resolve(frame.in_driver) == slot;
        });
        if (!by_sender) {
            book_.transmitted(slot, known.driver_call);
        }
    }
    if (known.packet.verdict == Verdict::in_flight && known.packet.sent_here &&
        known.kind != SlotRecord::Kind::clone && !known.looped && completes_sent(lane)) {
        // where and when no record shows: an untraced CPU handed it to the device
        book_.decide(slot, Verdict::sent, item);
        known.transmitted = true;
    }
}

/// In a socket's queue a packet was delivered; refusing it there, or a wrong checksum found on reading, is a drop.
bool Correlator::refuses_for_socket(const Lane& lane) const
{
    return std::ranges::any_of(lane.stack, [&](const Frame& frame) {
        return is_one_of(functions_[frame.symbol].name,
                         {"udp_queue_rcv_one_skb", "udp_unicast_rcv_skb", "__udp4_lib_rcv",
                          "udpv6_queue_rcv_one_skb", "__udp6_lib_rcv", "udp6_unicast_rcv_skb",
                          "__udp_queue_rcv_skb", "udp_queue_rcv_skb", "raw_rcv", "ping_rcv", "udp_recvmsg",
                          "udpv6_recvmsg"});
    });
}

/// What kfree_skb says of a packet that nothing has ended yet. False: it is no drop.
bool Correlator::kfree_decides(const Lane& lane, const RawRecord& record, const Decoder& decoder,
                               std::size_t index, Slot slot)
{
    const SlotRecord& known = book_.at(slot);
    const std::uint32_t item = lane.stack[index].item;
    const Verdict verdict = known.packet.verdict;
    if (known.kind == SlotRecord::Kind::clone || verdict == Verdict::sent || verdict == Verdict::forwarded ||
        verdict == Verdict::merged) {
        return false;
    }
    const std::string_view place = dropping_place(lane, index, told_location(record, decoder));
    ToldReason why = decoder.reason ? told_reason(record, decoder)
                                    : ToldReason{reason_without_field(slot, place, item), false};
    FunctionId where =
        place.empty() ? book_.item(item).function_id() : functions_[symbol_of_text(place)].id;
    if (verdict == Verdict::delivered && !refuses_for_socket(lane)) {
        return false; // the socket was closed with unread datagrams
    }
    if (verdict == Verdict::in_flight && known.core_seen && !known.leaves && closes_socket(place)) {
        book_.decide(slot, Verdict::delivered, item); // … into which nothing but events had shown it come
        return true;
    }
    // What pktgen gives back last has left its device. Over veth it may go on as a clone that nothing shows; or the backlog
    // was full, and refused it without an event.
    if (verdict == Verdict::in_flight && known.looped && gives_back_for_pktgen(place)) {
        if (!functions_seen_ || known.core_seen) {
            return true; // its end is still to come
        }
        why.reason = drop::CPU_BACKLOG;
        where = fn::enqueue_to_backlog;
    }
    if (why.is_no_drop) {
        return false;
    }
    book_.dropped(slot, why.reason, where, item);
    return true;
}

/// The verdict of a packet that is freed without being dropped.
void Correlator::ends_undropped(Lane& lane, Slot slot, std::uint32_t item)
{
    const SlotRecord& known = book_.at(slot);
    if (known.packet.verdict != Verdict::in_flight || gives_its_bytes(lane, slot, item)) {
        return; // decided before, or its bytes live on in the whole datagram
    }
    // The last to take a packet gets the packet itself: a tap, if no protocol wanted it.
    const bool is_taken_by_tap = std::ranges::any_of(lane.stack, [&](const Frame& outer) {
        return outer.kind == Kind::tap && outer.packet != 0 && book_.resolve(outer.packet) == slot;
    });
    // With tracepoints alone: what a task frees after it was received, it has read from a socket.
    const bool is_read = !functions_seen_ && lane.is_task && known.core_seen;
    const bool is_taps_clone = known.kind == SlotRecord::Kind::clone && known.tapped;
    book_.decide(slot,
                 is_taps_clone || is_taken_by_tap || is_read ? Verdict::delivered
                 : known.in_pieces                           ? Verdict::split
                                                             : Verdict::consumed,
                 item);
}

void Correlator::free_event(const RawRecord& record, const Decoder& decoder, bool is_drop)
{
    frees_seen_ = true;
    Lane& lane = lane_of(record);
    const std::uint64_t address = decoder.skb.read(record.data);
    end_calls_before_free(lane, address, is_drop);
    const std::size_t index = freeing_call(lane, record, is_drop);
    const Slot slot = freed_packet(lane, record, decoder, index, is_drop);
    lane.stack[index].free_seen = true;
    note_freed(lane, slot);
    if (slot == 0) {
        ++foreign_frees_;
        for (Frame& frame : lane.stack) {
            frame.wait = 0;
        }
        return;
    }
    if (!stamped_.empty()) {
        stamped_.erase(slot);
    }
    if (gives_back_a_reference(slot, record, decoder, is_drop)) {
        book_.leave(slot, address);
        return;
    }
    const SlotRecord& known = book_.at(slot);
    if (known.dead) {
        return;
    }
    if (!is_drop && lane.is_task && known.in_socket && known.is_datagram) {
        reads_end_with_event_ = true;
    }
    const std::uint32_t item = lane.stack[index].item;
    sent_before_free(lane, slot, item);
    if (!is_drop || !kfree_decides(lane, record, decoder, index, slot)) {
        ends_undropped(lane, slot, item);
    }
    book_.freed(slot, item);
}

// ---- what events tell besides
// ---------------------------------------------------------------------------------------

void Correlator::on_fib(const RawRecord& record, const Decoder& decoder)
{
    FlowKey flow;
    flow.source = v4_address(decoder.address_a.bytes(record.data));
    flow.destination = v4_address(decoder.address_b.bytes(record.data));
    flow.protocol = static_cast<std::uint8_t>(decoder.protocol.read(record.data));
    flow.source_port = static_cast<std::uint16_t>(decoder.port_a.read(record.data));
    flow.destination_port = static_cast<std::uint16_t>(decoder.port_b.read(record.data));
    if (!functions_seen_) {
        route_looked_up(record, flow);
        return;
    }
    Lane& lane = lane_of(record);
    const Frame* call = open_call(lane, {"fib_table_lookup"});
    if (call == nullptr) {
        call = &push_call(lane, record, symbol_named("fib_table_lookup"), via_tracepoint);
    }
    book_.item(call->item).flags |= via_tracepoint;
    if (flow.protocol == protocol_icmp) {
        lane.icmp_flow = flow;
    }
    if (call->packet == 0) {
        return;
    }
    SlotRecord& known = book_.at(call->packet);
    const bool needs_ports = flow.protocol == protocol_udp || flow.protocol == protocol_tcp;
    // A looped packet that is being received already: the route looked up is its answer's.
    if (known.kind == SlotRecord::Kind::transmit && !known.core_seen && !known.packet.flow &&
        flow.protocol != 0 && (!needs_ports || flow.destination_port != 0)) {
        known.packet.flow = flow;
    }
}

void Correlator::on_icmp_send(const RawRecord& record, const Decoder& decoder)
{
    Lane& lane = lane_of(record);
    const std::size_t frame = frame_for(lane, record, {"__icmp_send"}, "__icmp_send");
    const Slot slot = prove(lane, record, frame, decoder.skb.read(record.data), Evidence::kprobe);
    if (slot == 0 || book_.at(slot).packet.flow) {
        return;
    }
    FlowKey flow;
    flow.source = v4_address(decoder.address_a.bytes(record.data));
    flow.destination = v4_address(decoder.address_b.bytes(record.data));
    flow.protocol = protocol_udp; // the event gives ports of UDP only (include/trace/events/icmp.h)
    flow.source_port = static_cast<std::uint16_t>(decoder.port_a.read(record.data));
    flow.destination_port = static_cast<std::uint16_t>(decoder.port_b.read(record.data));
    if (flow.destination_port != 0) {
        book_.at(slot).packet.flow = flow;
    }
}

std::string Correlator::neighbour_name(const RawRecord& record, const Decoder& decoder)
{
    // include/trace/events/neigh.h: both keys are fields, the family says which one holds (an IPv6 neighbour's other one is 0).
    IpAddress address = v4_address(decoder.address_b.bytes(record.data));
    const auto key6 = decoder.key6.bytes(record.data);
    constexpr std::uint64_t inet6 = 10; // AF_INET6
    if (decoder.family.read(record.data) == inet6 && key6.size() == address.bytes.size()) {
        address.v6 = true;
        std::ranges::copy(key6, address.bytes.begin());
    }
    return fmt::format("{} on {}", address.text(), decoder.name.text(record.data));
}

void Correlator::on_neigh_update(const RawRecord& record, const Decoder& decoder)
{
    Lane& lane = lane_of(record);
    lane.neighbour = neighbour_name(record, decoder);
    if (Frame* call = open_call(lane, {"__neigh_update", "neigh_update"})) {
        book_.item(call->item).flags |= via_tracepoint;
    }
}

void Correlator::on_neigh_sent(const RawRecord& record, const Decoder& decoder)
{
    Lane& lane = lane_of(record);
    Frame* call = open_call(lane, {"__neigh_event_send"});
    if (call == nullptr || call->packet == 0) {
        return;
    }
    book_.item(call->item).flags |= via_tracepoint;
    const bool is_incomplete = decoder.number.read(record.data) == nud_incomplete;
    wait_for_neighbour(call->packet, call->item, neighbour_name(record, decoder), is_incomplete);
}

/// The packet stands in the neighbour's queue from within __neigh_event_send on; the answer may even come
/// before that function returns. Once the neighbour's name is known the queue bears it.
void Correlator::wait_for_neighbour(Slot packet, std::uint32_t item, const std::string& neighbour,
                                    bool queues)
{
    SlotRecord& known = book_.at(packet);
    const auto at = std::ranges::find_if(unresolved_, [&](const Waiting& waiting) {
        return book_.resolve(waiting.slot) == book_.resolve(packet);
    });
    if (at != unresolved_.end()) {
        if (at->neighbour.empty() && !neighbour.empty()) {
            at->neighbour = neighbour;
            book_.name_queue(known.waiting_side, neighbour);
        }
        return;
    }
    if (!queues || known.dead || known.left_neighbour) {
        return; // the neighbour is known: the packet goes on
    }
    known.waiting_side =
        book_.add_queue_side(item, EventKind::enqueue, packet, {QueueKind::arp_queue, neighbour});
    unresolved_.push_back({packet, neighbour});
}

void Correlator::on_return_marker(const RawRecord& record, const Decoder& decoder)
{
    // These events come when their function is about to return: what was called before it has returned.
    Lane& lane = lane_of(record);
    const KnownName& name = decoder.event;
    Frame* call =
        name == "napi_poll" ? open_call(lane, {"__napi_poll", "napi_poll"})
        : name == "sock_send_length"
            ? open_call(lane, {"__sys_sendto", "__x64_sys_sendto", "__x64_sys_sendmsg", "__x64_sys_sendmmsg"})
            : open_call(lane, {"sock_recvmsg"});
    if (call != nullptr) {
        book_.item(call->item).flags |= via_tracepoint;
    }
    if (!lane.completed.empty() && name == "napi_poll") {
        name_completed(lane, device_named(decoder.name.text(record.data)));
    }
}

void Correlator::on_merge_only(const RawRecord& record, const Decoder& decoder)
{
    Lane& lane = lane_of(record);
    const KnownName& name = decoder.event;
    Frame* call = nullptr;
    if (name == "neigh_create") {
        call = open_call(lane, {"___neigh_create", "__neigh_create"});
    } else if (name == "neigh_timer_handler") {
        call = open_call(lane, {"neigh_timer_handler"});
    } else {
        call = open_call(lane, {"skb_copy_datagram_iter", "__skb_datagram_iter"});
    }
    if (call != nullptr) {
        book_.item(call->item).flags |= via_tracepoint;
    } else if (name == "skb_copy_datagram_iovec" && !functions_seen_) {
        read_from_socket(lane, record, decoder.skb.read(record.data));
    }
}

} // namespace skbscope
