// net/ipv4/inet_fragment.c: what reassembly of IPv4 and of IPv6 have in common.

#include "core/kernel/inet_fragment.h"

#include <algorithm>

namespace skbscope::kernel {

namespace {

std::uint32_t end_of(const FragPiece& piece) { return piece.offset + piece.length; }

void become_part_of(Kernel& k, SkbIndex piece, PacketId whole, FunctionId by)
{
    PacketRecord& record = k.trace.mutable_packet(k.skb(piece).packet);
    record.merged_into = whole;
    const auto lacks_ports = [](const FlowKey& flow) { return flow.source_port == 0 && flow.destination_port == 0; };
    PacketRecord& datagram = k.trace.mutable_packet(whole); // only the first fragment has ports, and it is what the whole begins with
    if (record.flow && !lacks_ports(*record.flow) && (!datagram.flow || lacks_ports(*datagram.flow))) {
        datagram.flow = record.flow;
    }
    k.verdict(k.skb(piece).packet, Verdict::merged, by);
}

} // namespace

void inet_frag_lock(Kernel& k, const std::vector<FragPiece>& pieces)
{
    for (const FragPiece& piece : pieces) {
        k.cpu().now = std::max(k.cpu().now, k.skb(piece.skb).visible_from);
    }
}

FragInserted inet_frag_queue_insert(Kernel& k, std::vector<FragPiece>& pieces, SkbIndex skb, std::uint32_t offset, std::uint32_t end)
{
    Call call(k, fn::inet_frag_queue_insert, skb);
    FragPiece piece{skb, offset, end - offset, true};
    if (pieces.empty()) {
        pieces.push_back(piece);
        return FragInserted::ok;
    }
    if (end_of(pieces.back()) < end) {
        if (offset < end_of(pieces.back())) {
            return FragInserted::overlap;
        }
        piece.starts_run = offset != end_of(pieces.back());
        pieces.push_back(piece);
        return FragInserted::ok;
    }
    for (std::size_t first = 0; first < pieces.size();) {
        std::size_t next = first + 1;
        while (next < pieces.size() && !pieces[next].starts_run) {
            ++next;
        }
        const std::uint32_t begins = pieces[first].offset;
        const std::uint32_t ends = end_of(pieces[next - 1]);
        if (offset < ends && end > begins) {
            return offset >= begins && end <= ends ? FragInserted::duplicate : FragInserted::overlap;
        }
        if (end <= begins) {
            pieces.insert(pieces.begin() + static_cast<std::ptrdiff_t>(first), piece);
            return FragInserted::ok;
        }
        first = next;
    }
    pieces.push_back(piece);
    return FragInserted::ok;
}

int ip_frag_ecn(std::uint8_t seen)
{
    constexpr std::uint8_t not_ect = 1, ect_1 = 2, ect_0 = 4, ce = 8;
    if ((seen & not_ect) != 0 && seen != not_ect) {
        return seen == (not_ect | ect_1) ? 0 : -1;
    }
    return (seen & ce) != 0 && (seen & (ect_0 | ect_1)) != 0 ? 3 : 0;
}

void inet_frag_reasm_prepare(Kernel& k, std::vector<FragPiece>& pieces, SkbIndex skb, FunctionId by)
{
    Call call(k, fn::inet_frag_reasm_prepare, skb);
    const SkbIndex head = pieces.front().skb;
    if (head == skb) {
        return;
    }
    const SkbIndex clone = skb_clone(k, skb, fn::inet_frag_reasm_prepare);
    for (FragPiece& piece : pieces) {
        piece.skb = piece.skb == skb ? clone : piece.skb;
    }
    skb_morph(k, skb, head);
    pieces.front().skb = skb;
    become_part_of(k, head, k.skb(skb).packet, by);
    consume_skb(k, head, fn::inet_frag_reasm_prepare);
}

void inet_frag_reasm_finish(Kernel& k, const std::vector<FragPiece>& pieces, SkbIndex skb, FunctionId by)
{
    Call call(k, fn::inet_frag_reasm_finish, skb);
    skb_push(k, skb, k.skb(skb).data - k.skb(skb).network_header);
    std::vector<std::uint8_t>& bytes = k.skb(skb).head.writable();
    for (std::size_t at = 1; at < pieces.size(); ++at) {
        const SkbIndex piece = pieces[at].skb;
        const auto payload = skb_data(k, piece);
        SkBuff& whole = k.skb(skb);
        bytes.resize(std::max<std::size_t>(bytes.size(), whole.tail + payload.size()));
        std::ranges::copy(payload, bytes.begin() + whole.tail);
        const auto length = static_cast<std::uint32_t>(payload.size());
        k.field(skb, SkbField::tail, whole.tail, whole.tail + length);
        k.field(skb, SkbField::len, whole.len, whole.len + length);
        k.field(skb, SkbField::data_len, whole.data_len, whole.data_len + length);
        k.field(skb, SkbField::truesize, whole.truesize, whole.truesize + k.skb(piece).truesize);
        whole.tail += length;
        whole.len += length;
        whole.data_len += length;
        whole.truesize += k.skb(piece).truesize;
        if (whole.ip_summed != k.skb(piece).ip_summed) {
            whole.ip_summed = IpSummed::none;
        }
        become_part_of(k, piece, whole.packet, by);
        kfree_skb_partial(k, piece, fn::inet_frag_reasm_finish);
    }
}

} // namespace skbscope::kernel
