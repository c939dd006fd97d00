// Tracepoints alone: no function says who called whom, so what is open on a lane is only what an event has begun and no
// event has ended. And what sockets tell by themselves (6.12 and newer): which packets wait in them, and when they are
// read.

#include "capture/correlator.h"
#include "capture/correlator_detail.h"
#include "core/packet/views.h"

#include <algorithm>
#include <utility>

namespace skbscope {

using namespace correlating;

namespace {

// include/uapi/linux/socket.h, include/linux/socket.h
constexpr std::uint64_t msg_peek = 2;

bool holds_datagrams(std::uint64_t protocol)
{
    constexpr std::uint8_t udplite = 136;
    return protocol == protocol_udp || protocol == udplite;
}

/// What TCP makes of such a segment if it takes it; none: it is no whole segment.
std::optional<Verdict> tcp_holds(std::span<const std::uint8_t> frame)
{
    const auto ethernet = EthernetView::checked(frame);
    std::span<const std::uint8_t> segment;
    std::size_t length = 0; // with TCP header
    if (!ethernet) {
        return std::nullopt;
    }
    if (ethernet->ethertype() == ethertype_ipv4) {
        const auto ip = Ipv4View::checked(ethernet->payload());
        if (!ip || ip->protocol() != protocol_tcp || (ip->fragment_offset() != 0) || ip->more_fragments()) {
            return std::nullopt;
        }
        segment = ip->payload();
        length = ip->total_length() - std::min<std::size_t>(ip->total_length(), ip->header_length());
    } else if (ethernet->ethertype() == ethertype_ipv6) {
        const auto ip = Ipv6View::checked(ethernet->payload());
        if (!ip || ip->next_header() != protocol_tcp) {
            return std::nullopt;
        }
        segment = ip->payload();
        length = ip->payload_length();
    }
    const auto tcp = TcpView::checked(segment);
    if (!tcp) {
        return std::nullopt;
    }
    const bool has_bytes = length == 0 || length > tcp->header_length(); // 0: more than the field can say
    return has_bytes || tcp->has(TcpView::fin) ? Verdict::delivered : Verdict::consumed;
}

/// A route is looked up for a packet before its sender's address is chosen; where it is received again (over veth) the
/// lookups know both: ip_route_input_slow() asks as the packet says, __fib_validate_source() the other way round.
void complete_source(PacketRecord& packet, const FlowKey& lookup)
{
    if (!packet.flow || !packet.flow->source.is_any()) {
        return;
    }
    if (lookup.destination == packet.flow->destination) {
        packet.flow->source = lookup.source;
    } else if (lookup.source == packet.flow->destination) {
        packet.flow->source = lookup.destination;
    }
}

} // namespace

/// What can still be open: the outermost call of an interrupt, a driver that has not answered, and the receive path of
/// the packet that is being served.
void Correlator::pop_returned(Lane& lane)
{
    std::size_t keep = 0;
    for (std::size_t i = 0; i < lane.stack.size(); ++i) {
        const Frame& frame = lane.stack[i];
        const bool in_driver = frame.in_driver != 0;
        const bool is_receiving =
            !lane.is_task && (finds_packets(frame.kind) || frame.kind == Kind::core_receive ||
                              functions_[frame.symbol].is_receive);
        if (in_driver || is_receiving || (i == 0 && !lane.is_task)) {
            keep = i + 1;
        }
    }
    pop_to(lane, keep);
}

bool Correlator::is_served_by(PacketBook& book, const Lane& lane, Slot slot)
{
    return std::ranges::any_of(lane.stack, [&](const Frame& frame) {
        return frame.packet != 0 && book.resolve(frame.packet) == slot;
    });
}

void Correlator::route_looked_up(const RawRecord& record, const FlowKey& flow)
{
    Lane& lane = lane_of(record);
    pop_returned(lane);
    lane.list_is_whole = true;
    const bool is_send = lane.stack.empty();
    if (flow.protocol == protocol_icmp) {
        lane.icmp_flow = flow;
    }
    push_call(lane, record, symbol_named("fib_table_lookup"), via_tracepoint);
    const Slot slot = book_.resolve(lane.stack.back().packet);
    pop(lane); // it calls nothing that is traced
    const bool needs_ports = flow.protocol == protocol_udp || flow.protocol == protocol_tcp;
    if (slot == 0) {
        return;
    }
    SlotRecord& known = book_.at(slot);
    if (!is_send) {
        complete_source(known.packet, flow);
        return;
    }
    known.kind = SlotRecord::Kind::transmit;
    known.packet.sent_here = true;
    if (flow.protocol != 0 && (!needs_ports || flow.destination_port != 0)) {
        known.packet.flow = flow;
    }
    lane.sending = slot;
}

/// The call that hands a packet to its device. Whose packet it is: one that is served here already (forwarded, or going
/// through a tunnel), the one a route was looked up for, or one of its own.
std::size_t Correlator::queue_call(Lane& lane, const RawRecord& record, std::uint64_t address,
                                   const Decoder& decoder)
{
    const DeviceId device = device_of(record, decoder);
    const auto length = static_cast<std::uint32_t>(decoder.length.read(record.data));
    pop_returned(lane);
    lane.list_is_whole = true;
    push_call(lane, record, symbol_named("__dev_queue_xmit"), via_tracepoint);
    const std::size_t frame = lane.stack.size() - 1;
    Slot slot = book_.resolve(std::exchange(lane.sending, 0));
    if (slot != 0 && (book_.at(slot).address != 0 || book_.at(slot).dead)) {
        slot = 0;
    }
    const Slot former = owner_of(address, lane.stack[frame].item);
    if (former != 0) {
        // What was received at the far end of the device by which it had left is not sent there once more, unless its own reception does it
        // (a RST: the kernel frees it without an event).
        const bool has_arrived = book_.at(former).core_seen && book_.at(former).packet.device == device;
        const bool is_waiting = book_.at(former).packet.verdict == Verdict::in_flight &&
                                !book_.at(former).transmitted && !has_arrived;
        // Nor is it what goes back at another length by the device from which it came: the answer has the sk_buff of what was consumed for it.
        const bool is_answer = has_arrived && book_.at(former).at_device == device && length != 0 &&
                               length != book_.at(former).length_now;
        if ((is_served_by(book_, lane, former) && !is_answer) || is_waiting) {
            lane.stack[frame].packet = lane.stack[frame].child = former;
            return frame;
        }
        book_.end_unseen(former,
                         lane.stack[frame].item); // freed without an event: the address has a new owner
    }
    if (slot == 0) {
        slot = book_.open(SlotRecord::Kind::transmit);
        book_.at(slot).packet.sent_here = true;
    }
    lane.stack[frame].packet = lane.stack[frame].child = slot;
    return frame;
}

/// With events alone a call that frees has returned when the next event comes.
void Correlator::pop_frees(Lane& lane)
{
    while (!lane.stack.empty() && lane.stack.back().kind == Kind::free && lane.stack.back().free_seen) {
        lane.pop();
    }
}

/// That address begins anew: a received packet that still has it, is served by nobody here and waits nowhere on its way out has ended
/// without an event, as TCP ends what it has consumed, joined or read (__kfree_skb(), net/ipv4/tcp_input.c).
void Correlator::end_former_owner(Lane& lane, std::uint64_t address, std::uint32_t item, bool also_served)
{
    const Slot former = book_.living(address);
    if (former == 0 || (!also_served && is_served_by(book_, lane, former))) {
        return;
    }
    const SlotRecord& known = book_.at(former);
    const bool is_on_its_way = known.leaves || known.transmitted || known.looped || known.qdisc_side != 0 ||
                               known.waiting_side != 0 || known.neighbour_call != 0;
    if (known.core_seen && !is_on_its_way) {
        book_.end_unseen(former, item);
    }
}

/// Between __dev_queue_xmit and the driver a packet is consumed only when segments were cut from it (validate_xmit_skb(), net/core/dev.c); what
/// else is consumed there is a tap's clone, never what was received before.
void Correlator::note_cut(Lane& lane, std::uint64_t address, bool is_drop)
{
    if (is_drop || lane.stack.empty() || lane.stack.back().kind != Kind::device_queue) {
        return;
    }
    const Frame& queueing = lane.stack.back();
    const Slot slot = book_.living(address);
    if (slot == 0 || slot != book_.resolve(queueing.packet)) {
        end_former_owner(lane, address, queueing.item, true);
    } else if (book_.at(slot).packet.verdict == Verdict::in_flight) {
        book_.at(slot).in_pieces = true;
    }
}

/// skb_copy_datagram_iter() names the sk_buff whose bytes a reader takes: a socket had it.
void Correlator::read_from_socket(Lane& lane, const RawRecord& record, std::uint64_t address)
{
    const Slot slot = book_.living(address);
    if (slot == 0 || book_.at(slot).is_doubtful || !lane.is_task || !book_.at(slot).core_seen ||
        book_.at(slot).leaves || book_.at(slot).packet.verdict != Verdict::in_flight) {
        return;
    }
    push_call(lane, record, symbol_named("skb_copy_datagram_iter"), via_tracepoint);
    const std::uint32_t item = lane.stack.back().item;
    book_.item(item).packet = slot;
    pop(lane);
    book_.delivered(slot, item);
}

/// TCP frees without an event what it has consumed, joined to what waits, or read; what it refuses it frees with one. So a segment for this host
/// of which no event tells anything more was accepted: into a socket's queue if it has bytes or a FIN, else it was consumed (a bare ACK).
void Correlator::frame_tells(Slot packet, std::span<const std::uint8_t> frame)
{
    packet = book_.resolve(packet);
    if (functions_seen_ || !frees_seen_ || packet == 0) {
        return;
    }
    const SlotRecord& known = book_.at(packet);
    const bool is_open = known.packet.verdict == Verdict::in_flight || known.packet.verdict == Verdict::lost;
    const bool is_elsewhere = known.leaves || known.transmitted || known.qdisc_side != 0 ||
                              known.waiting_side != 0 || known.backlog_side != 0;
    if (!is_open || is_elsewhere || !known.core_seen || known.packet.touched_by_loss ||
        known.kind == SlotRecord::Kind::clone || known.last_item < std::max(book_.written(), 1U)) {
        return;
    }
    const bool is_served = std::ranges::any_of(cpu_lanes_, [&](const Lane& lane) {
        return std::ranges::any_of(lane.received, [&](Slot slot) { return book_.resolve(slot) == packet; });
    });
    const auto holds = tcp_holds(frame);
    if (!holds || is_served) {
        return;
    }
    const std::uint32_t item = known.last_item;
    if (known.packet.verdict == Verdict::lost) {
        book_.tell_end(packet, *holds);
    } else if (*holds == Verdict::delivered) {
        book_.delivered(packet, item);
    } else {
        book_.decide(packet, *holds, item);
        book_.at(packet).packet.end_inferred = true;
        book_.freed(packet, item);
    }
}

/// Of a list of packets each is received before the first of them comes to its protocol (__netif_receive_skb_list_core(), net/core/dev.c): those
/// whose sockets have not been told of them.
std::vector<Slot> Correlator::received_undecided(const Lane& lane)
{
    std::vector<Slot> found;
    for (const Slot each : lane.list) {
        const Slot slot = book_.resolve(each);
        const SlotRecord& known = book_.at(slot);
        if (slot != 0 && !known.dead && !known.leaves && known.packet.verdict == Verdict::in_flight) {
            found.push_back(slot);
        }
    }
    return found;
}

/// The list is through. Only if a socket was told of each of its packets is it known which one was whose: they come in order.
void Correlator::name_ready(Lane& lane)
{
    if (lane.ready.empty()) {
        return;
    }
    const std::vector<ReadyCall> calls = std::exchange(lane.ready, {});
    const std::vector<Slot> slots = received_undecided(lane);
    if (calls.size() != slots.size()) {
        return;
    }
    for (std::size_t i = 0; i < calls.size(); ++i) {
        if (calls[i].item >= std::max(book_.written(), 1U)) {
            Event& event = book_.item(calls[i].item);
            event.packet = slots[i];
            event.flags = Event::make_flags(event.context(), Confidence::derived, event.via());
            told_ready(slots[i], calls[i], event.time_ns, event.time_ns);
        }
    }
}

/// That socket's queue has it.
void Correlator::told_ready(Slot slot, const ReadyCall& call, std::uint64_t begun, std::uint64_t now)
{
    book_.delivered(slot, call.item);
    if (!call.holds_datagrams) {
        return;
    }
    book_.at(slot).is_datagram = true;
    SocketQueue& queue = queue_of(call.socket);
    queue.waiting.push_back(slot);
    // Whoever was already reading has it. A read from before it came took another one, which nobody saw coming.
    while (!queue.early.empty() && queue.early.front().time_ns < begun) {
        queue.early.pop_front();
    }
    if (!queue.early.empty() && begun != 0 && !reads_end_with_event_) {
        RawRecord read = queue.early.front();
        queue.early.pop_front();
        read.time_ns = now;
        if (const Slot first = next_of(queue); first != 0) {
            end_read(read, first);
        }
    }
}

/// A packet was queued on a socket, and its reader is woken.
void Correlator::on_data_ready(const RawRecord& record, const Decoder& decoder)
{
    Lane& lane = lane_of(record);
    if (Frame* call = open_call(lane, {"sock_def_readable"})) {
        book_.item(call->item).flags |= via_tracepoint;
        return;
    }
    constexpr std::uint64_t inet = 2;
    constexpr std::uint64_t inet6 = 10;
    const std::uint64_t family = decoder.family.read(record.data);
    if (functions_seen_ || (family != inet && family != inet6)) {
        return;
    }
    lane.list_is_whole = true;
    Slot slot = 0;
    std::uint64_t begun = 0; // its way up this lane
    for (std::size_t i = lane.stack.size(); i-- > 0;) {
        const Slot here = book_.resolve(lane.stack[i].packet);
        slot = slot == 0 ? here : slot;
        if (here != 0 && here == slot) {
            begun = book_.item(lane.stack[i].item).time_ns;
        }
    }
    if (slot == 0 || !book_.at(slot).core_seen || book_.at(slot).dead ||
        book_.at(slot).packet.verdict != Verdict::in_flight) {
        return;
    }
    const bool is_of_list = !book_.at(slot).looped && received_undecided(lane).size() > 1;
    push_call(lane, record, symbol_named("sock_def_readable"), via_tracepoint);
    const ReadyCall call{lane.stack.back().item, decoder.socket.read(record.data),
                         holds_datagrams(decoder.protocol.read(record.data))};
    book_.item(call.item).packet = is_of_list ? 0 : slot;
    pop(lane);
    if (is_of_list) {
        lane.ready.push_back(call);
    } else {
        told_ready(slot, call, begun, record.time_ns);
    }
}

/// The system call that sends is about to return: all that it called has.
void Correlator::on_sent(const RawRecord& record, const Decoder& decoder)
{
    on_return_marker(record, decoder);
    if (!functions_seen_) {
        Lane& lane = lane_of(record);
        pop_to(lane, 0);
        lane.sending = 0;
    }
}

/// A receiving call is about to return. Datagrams leave their socket in the order in which they came; since 6.18 no event
/// tells of their end.
void Correlator::on_received(const RawRecord& record, const Decoder& decoder)
{
    on_return_marker(record, decoder);
    if (functions_seen_) {
        return;
    }
    Lane& lane = lane_of(record);
    pop_to(lane, 0);
    const auto result = static_cast<std::int64_t>(decoder.number.read(record.data));
    const bool is_read = result >= 0 && (decoder.call_flags.read(record.data) & msg_peek) == 0;
    if (!is_read || !holds_datagrams(decoder.protocol.read(record.data)) || reads_end_with_event_) {
        return;
    }
    SocketQueue& queue = queue_of(decoder.socket.read(record.data));
    if (const Slot slot = next_of(queue); slot != 0) {
        end_read(record, slot);
        return;
    }
    constexpr std::size_t most_early = 64; // as many as CPUs may read at once, and more
    queue.early.push_back(record);
    queue.early.back().data = {};
    if (queue.early.size() > most_early) {
        queue.early.pop_front();
    }
}

/// Takes the first datagram that waits there; 0: none is known.
Slot Correlator::next_of(SocketQueue& queue)
{
    while (!queue.waiting.empty()) {
        const Slot slot = book_.resolve(queue.waiting.front());
        queue.waiting.pop_front();
        if (slot != 0 && book_.at(slot).in_socket) { // else its end was seen
            return slot;
        }
    }
    return 0;
}

/// The datagram's reader has it, and its sk_buff is gone.
void Correlator::end_read(const RawRecord& record, Slot slot)
{
    Lane& lane = lane_of(record);
    push_call(lane, record, symbol_named("sock_recvmsg"), via_tracepoint);
    const std::uint32_t item = lane.stack.back().item;
    book_.item(item).packet = slot;
    pop(lane);
    book_.at(slot).packet.end_inferred = true;
    book_.freed(slot, item);
}

} // namespace skbscope
