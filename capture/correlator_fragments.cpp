// Fragments: those of a long message on their way out, and those that become one datagram again on their way in.

#include "capture/correlator.h"
#include "capture/correlator_detail.h"

#include <algorithm>

namespace skbscope {

using namespace correlating;

// ---- out
// --------------------------------------------------------------------------------------------------------------

/// Of a message longer than the device's packets __ip_append_data() (net/ipv4/ip_output.c) makes one packet, by
/// sock_alloc_send_skb() or (raw sockets) itself, then allocates each further one.
void Correlator::next_fragment(Lane& lane, Frame& frame)
{
    const auto append = std::find_if(lane.stack.rbegin(), lane.stack.rend(), [this](const Frame& open) {
        return is_one_of(functions_[open.symbol].name, {"__ip_append_data", "__ip6_append_data"});
    });
    if (append == lane.stack.rend()) {
        return;
    }
    const Slot piece = book_.open(SlotRecord::Kind::transmit);
    SlotRecord& made = book_.at(piece);
    made.packet.sent_here = true;
    made.packet.parent = static_cast<PacketId>(book_.resolve(frame.packet));
    made.packet.relation = Relation::split;
    book_.born(piece, frame.item);
    lane.fragments.push_back(piece);
    append->child = frame.packet = frame.child = piece;
}

/// They wait behind the first in its frag_list, and go out in that order behind it.
void Correlator::send_fragment(Lane& lane, Frame& host, Frame& frame)
{
    if (host.rank == 0 || lane.fragments.empty()) {
        tail_step(&host, frame);
    } else {
        frame.packet = frame.child = next_living(lane.fragments);
    }
    host.rank = 1;
}

// ---- in
// ---------------------------------------------------------------------------------------------------------------

bool Correlator::reassembles(const Lane& lane) const
{
    return std::ranges::any_of(lane.stack, [this](const Frame& open) {
        return open.kind == Kind::fragment ||
               is_one_of(functions_[open.symbol].name, {"inet_frag_reasm_prepare", "inet_frag_reasm_finish"});
    });
}

/// It waits for the others of its datagram, or completes it.
void Correlator::fragment_arrives(Lane& lane, const Frame& frame)
{
    lane.to_join.clear();
    lane.joined_into = 0;
    if (frame.packet == 0) {
        return;
    }
    const Slot slot = book_.resolve(frame.packet);
    if (auto& flow = book_.at(slot).packet.flow; flow && flow->protocol != protocol_icmp) {
        flow->source_port = flow->destination_port =
            0; // what a probe took for ports may be payload: the frame will tell
    }
    constexpr std::size_t most = 4096; // ipfrag_high_thresh holds fewer
    const auto is_gone = [&](Slot waiting) {
        return book_.at(waiting).dead || book_.resolve(waiting) == slot;
    };
    std::erase_if(fragments_waiting_, is_gone);
    fragments_waiting_.push_back(slot);
    if (fragments_waiting_.size() > most) {
        fragments_waiting_.pop_front();
    }
}

/// ip_frag_reasm() (net/ipv4/ip_fragment.c) and its like make the fragment that came last the whole datagram; the bytes of the others, which came
/// on the same device before, go on in it. Nobody tells which datagram a fragment is of: those of the same addresses are taken, in order of arrival.
Slot Correlator::begin_joining(Lane& lane, std::uint32_t item)
{
    if (lane.joined_into != 0) {
        return lane.joined_into;
    }
    const auto open = std::find_if(lane.stack.rbegin(), lane.stack.rend(),
                                   [](const Frame& frame) { return frame.kind == Kind::fragment; });
    if (open == lane.stack.rend() || open->packet == 0) {
        return 0;
    }
    const Slot whole = lane.joined_into = book_.resolve(open->packet);
    const SlotRecord& last = book_.at(whole);
    const auto is_of_it = [&](Slot waiting) {
        const SlotRecord& other = book_.at(waiting);
        const auto& a = last.packet.flow;
        const auto& b = other.packet.flow;
        const bool is_other_flow =
            a && b &&
            (a->source != b->source || a->destination != b->destination || a->protocol != b->protocol);
        return book_.resolve(waiting) != whole && !other.dead && other.at_device == last.at_device &&
               !is_other_flow;
    };
    lane.to_join.clear();
    for (const Slot waiting : fragments_waiting_) {
        if (is_of_it(waiting)) {
            lane.to_join.push_back(book_.resolve(waiting));
        }
    }
    std::erase_if(fragments_waiting_,
                  [&](Slot waiting) { return book_.resolve(waiting) == whole || is_of_it(waiting); });
    for (const Slot piece : lane.to_join) {
        join(piece, whole, item);
    }
    return whole;
}

void Correlator::join(Slot piece, Slot whole, std::uint32_t item)
{
    if (book_.at(piece).packet.verdict != Verdict::in_flight) {
        return;
    }
    book_.decide(piece, Verdict::merged, item);
    book_.at(piece).packet.merged_into = static_cast<PacketId>(whole);
    (void)book_.add_side(item, EventKind::merge, piece, whole);
    book_.tell_whole(piece);
}

/// inet_frag_reasm_prepare() (net/ipv4/inet_fragment.c) clones the fragment that came last, whose sk_buff takes over the first one's bytes: the clone
/// stands for it among those that are joined.
bool Correlator::clones_last_fragment(Lane& lane, const Frame& host, Frame& frame)
{
    if (functions_[host.symbol].name != "inet_frag_reasm_prepare") {
        return false;
    }
    const Slot whole = begin_joining(lane, frame.item);
    if (whole == 0) {
        return false;
    }
    const Slot clone = book_.open(SlotRecord::Kind::clone);
    SlotRecord& made = book_.at(clone);
    const SlotRecord& from = book_.at(whole);
    made.packet.parent = static_cast<PacketId>(whole);
    made.packet.relation = Relation::clone;
    made.packet.device = from.packet.device;
    made.packet.length = from.packet.length;
    made.ethertype = from.ethertype;
    book_.born(clone, frame.item);
    (void)book_.add_side(frame.item, EventKind::clone, clone, whole);
    join(clone, whole, frame.item);
    lane.to_join.push_back(clone);
    constexpr std::size_t most = 4096;
    if (in_frag_lists_.size() > most) {
        in_frag_lists_.clear();
    }
    in_frag_lists_[whole] = clone;
    frame.packet = frame.child = whole;
    return true;
}

/// Of the first fragment, whose bytes the last one's sk_buff has taken over.
bool Correlator::gives_its_bytes(Lane& lane, Slot slot, std::uint32_t item)
{
    const bool prepares = std::ranges::any_of(lane.stack, [this](const Frame& frame) {
        return functions_[frame.symbol].name == "inet_frag_reasm_prepare";
    });
    const Slot whole = prepares ? begin_joining(lane, item) : 0;
    if (whole == 0 || whole == slot) {
        return false;
    }
    join(slot, whole, item);
    return true;
}

/// Fragments whose bytes could not be moved stay behind the first in its frag_list, and are freed with the datagram.
Slot Correlator::part_in_frag_list(const Lane& lane)
{
    for (std::size_t i = lane.stack.size(); i-- > 0 && !in_frag_lists_.empty();) {
        const Frame& open = lane.stack[i];
        if (open.kind != Kind::free || open.packet == 0) {
            continue;
        }
        const auto at = in_frag_lists_.find(book_.resolve(open.packet));
        if (at == in_frag_lists_.end()) {
            continue;
        }
        const Slot part = book_.resolve(at->second);
        in_frag_lists_.erase(at);
        if (part != 0 && !book_.at(part).dead && book_.at(part).address == 0) {
            return part;
        }
    }
    return 0;
}

/// kfree_skb_partial() below inet_frag_reasm_finish(): skb_try_coalesce() has moved the bytes of the next one behind.
Slot Correlator::next_joined(Lane& lane, std::uint32_t item)
{
    (void)begin_joining(lane, item);
    return next_living(lane.to_join);
}

} // namespace skbscope
