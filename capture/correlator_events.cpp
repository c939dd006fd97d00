// Tracepoints alone: no function says who called whom, so what is open on a lane is only what an event has begun and no
// event has ended. And what sockets tell by themselves (6.12 and newer): which packets wait in them, and when they are
// read.

#include "capture/correlator.h"
#include "capture/correlator_detail.h"

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
        const bool is_receiving = !lane.is_task && (finds_packets(frame.kind) || frame.kind == Kind::core_receive ||
                                                    functions_[frame.symbol].is_receive);
        if (in_driver || is_receiving || (i == 0 && !lane.is_task)) {
            keep = i + 1;
        }
    }
    pop_to(lane, keep);
}

bool Correlator::is_served_by(PacketBook& book, const Lane& lane, Slot slot)
{
    return std::ranges::any_of(lane.stack,
                               [&](const Frame& frame) { return frame.packet != 0 && book.resolve(frame.packet) == slot; });
}

void Correlator::route_looked_up(const RawRecord& record, const FlowKey& flow)
{
    Lane& lane = lane_of(record);
    pop_returned(lane);
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
std::size_t Correlator::queue_call(Lane& lane, const RawRecord& record, std::uint64_t address, DeviceId device)
{
    pop_returned(lane);
    push_call(lane, record, symbol_named("__dev_queue_xmit"), via_tracepoint);
    const std::size_t frame = lane.stack.size() - 1;
    Slot slot = book_.resolve(std::exchange(lane.sending, 0));
    if (slot != 0 && (book_.at(slot).address != 0 || book_.at(slot).dead)) {
        slot = 0;
    }
    const Slot former = book_.living(address);
    if (former != 0) {
        // What was received at the far end of the device by which it had left is not sent there once more, unless its own reception does it
        // (a RST: the kernel frees it without an event).
        const bool has_arrived = book_.at(former).core_seen && book_.at(former).packet.device == device;
        const bool is_waiting = book_.at(former).packet.verdict == Verdict::in_flight && !book_.at(former).transmitted && !has_arrived;
        if (is_served_by(book_, lane, former) || is_waiting) {
            lane.stack[frame].packet = lane.stack[frame].child = former;
            return frame;
        }
        book_.end_unseen(former, lane.stack[frame].item); // freed without an event: the address has a new owner
    }
    if (slot == 0) {
        slot = book_.open(SlotRecord::Kind::transmit);
        book_.at(slot).packet.sent_here = true;
    }
    lane.stack[frame].packet = lane.stack[frame].child = slot;
    return frame;
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
    Slot slot = 0;
    std::uint64_t begun = 0; // its way up this lane
    for (std::size_t i = lane.stack.size(); i-- > 0;) {
        const Slot here = book_.resolve(lane.stack[i].packet);
        slot = slot == 0 ? here : slot;
        if (here != 0 && here == slot) {
            begun = book_.item(lane.stack[i].item).time_ns;
        }
    }
    if (slot == 0 || !book_.at(slot).core_seen || book_.at(slot).dead || book_.at(slot).packet.verdict != Verdict::in_flight) {
        return;
    }
    push_call(lane, record, symbol_named("sock_def_readable"), via_tracepoint);
    Event& event = book_.item(lane.stack.back().item);
    const std::uint32_t item = lane.stack.back().item;
    event.packet = slot;
    pop(lane);
    book_.delivered(slot, item);
    if (holds_datagrams(decoder.protocol.read(record.data))) {
        book_.at(slot).is_datagram = true;
        SocketQueue& queue = queue_of(decoder.socket.read(record.data));
        queue.waiting.push_back(slot);
        // Whoever was already reading has it. A read from before it came took another one, which nobody saw coming.
        while (!queue.early.empty() && queue.early.front().time_ns < begun) {
            queue.early.pop_front();
        }
        if (!queue.early.empty() && begun != 0 && !reads_end_with_event_) {
            RawRecord read = queue.early.front();
            queue.early.pop_front();
            read.time_ns = record.time_ns;
            if (const Slot first = next_of(queue); first != 0) {
                end_read(read, first);
            }
        }
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
