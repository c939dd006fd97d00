// net/ipv4/tcp_offload.c with the parts of net/core/skbuff.c (skb_segment) and net/ipv4/af_inet.c (inet_gso_segment) that
// cut a large packet, and what hardware with TSO does instead. GRO's TCP callbacks put small ones together again.

#include "core/kernel/tcp_functions.h"
#include "core/packet/build.h"
#include "core/packet/bytes.h"
#include "core/packet/checksum.h"
#include "core/packet/protocols.h"
#include "core/packet/views.h"

namespace skbscope::kernel {

namespace {

constexpr std::uint32_t ethernet_header = 14;

/// Where the headers of an Ethernet frame of TCP over IPv4 end, or nothing.
struct FrameLayout {
    std::uint32_t ip = ethernet_header, tcp = 0, payload = 0;
};

std::optional<FrameLayout> layout_of(std::span<const std::uint8_t> frame)
{
    if (frame.size() < ethernet_header) {
        return std::nullopt;
    }
    const auto ip = Ipv4View::checked(frame.subspan(ethernet_header));
    if (!ip || ip->version() != 4 || ip->protocol() != proto::ipproto_tcp || ip->is_fragment()) {
        return std::nullopt;
    }
    FrameLayout at;
    at.tcp = static_cast<std::uint32_t>(ethernet_header + ip->header_length());
    if (frame.size() < at.tcp + 20U) {
        return std::nullopt;
    }
    at.payload = at.tcp + (frame[at.tcp + 12U] >> 4) * 4U;
    return at.payload > frame.size() ? std::nullopt : std::optional(at);
}

/// Piece `ordinal` of a large frame: its headers, numbered on, and its share of the payload.
std::vector<std::uint8_t> piece_of(std::span<const std::uint8_t> frame, const FrameLayout& at,
                                   std::uint32_t offset, std::uint32_t length, std::uint32_t ordinal,
                                   bool last)
{
    std::vector<std::uint8_t> piece(frame.begin(), frame.begin() + at.payload);
    const auto payload = frame.subspan(at.payload + offset, length);
    piece.insert(piece.end(), payload.begin(), payload.end());
    std::uint8_t* ip = &piece[at.ip];
    store_be16(ip + 2, static_cast<std::uint16_t>(piece.size() - at.ip));
    store_be16(ip + 4, static_cast<std::uint16_t>(load_be16(ip + 4) + ordinal));
    std::uint8_t* th = &piece[at.tcp];
    store_be32(th + 4, load_be32(th + 4) + offset);
    if (!last) {
        th[13] &= static_cast<std::uint8_t>(~(tcphdr::fin | tcphdr::psh));
    }
    if (ordinal > 0) {
        th[13] &= static_cast<std::uint8_t>(~tcphdr::cwr);
    }
    fill_ipv4_checksum(std::span(piece).subspan(at.ip, at.tcp - at.ip));
    return piece;
}

std::vector<std::vector<std::uint8_t>> cut(std::span<const std::uint8_t> frame, const FrameLayout& at,
                                           std::uint32_t mss)
{
    std::vector<std::vector<std::uint8_t>> pieces;
    const auto total = static_cast<std::uint32_t>(frame.size()) - at.payload;
    std::uint32_t ordinal = 0;
    for (std::uint32_t offset = 0; offset < total; offset += mss) {
        const std::uint32_t length = std::min(mss, total - offset);
        pieces.push_back(piece_of(frame, at, offset, length, ordinal++, offset + length == total));
    }
    return pieces;
}

// ---- GSO in software ----------------------------------------------------------------------------------------------------------------

/// `linear` of the bytes are copied into the head, the others stay in the pages that the large one has them in.
SkbIndex new_piece(Kernel& k, SkbIndex large, std::span<const std::uint8_t> bytes, std::uint32_t linear)
{
    const SkBuff& from = k.skb(large);
    PacketRecord record;
    record.host = k.host().id;
    record.parent = from.packet;
    record.relation = Relation::split;
    record.sent_here = from.mine;
    record.birth = k.cpu().now;
    record.birth_function = fn::skb_segment;
    record.flow = k.trace.packet(from.packet).flow;
    record.length = static_cast<std::uint32_t>(bytes.size());
    const PacketId packet = k.trace.add_packet(record);
    k.emit(EventKind::birth, packet, fn::skb_segment);
    k.emit(EventKind::split, packet, fn::skb_segment, to_index(from.packet));
    constexpr std::uint32_t headroom = 64;
    const SkbIndex index = __alloc_skb(k, packet, headroom + linear);
    skb_reserve(k, index, headroom);
    std::ranges::copy(bytes.first(linear), skb_put(k, index, linear));
    SkBuff& piece = k.skb(index);
    if (const auto paged = bytes.subspan(linear); !paged.empty()) {
        const auto size = static_cast<std::uint32_t>(paged.size());
        auto& head = piece.head.writable();
        head.resize(std::max<std::size_t>(head.size(), std::size_t{piece.tail} + size));
        std::ranges::copy(paged, head.begin() + piece.tail);
        k.field(index, SkbField::len, piece.len, piece.len + size);
        k.field(index, SkbField::data_len, 0, size);
        k.field(index, SkbField::truesize, piece.truesize, piece.truesize + size);
        piece.tail += size;
        piece.len += size;
        piece.data_len = size;
        piece.truesize += size;
        piece.nr_frags = 1;
    }
    const SkBuff& parent = k.skb(large);
    const auto shift = [&](std::uint16_t header) {
        return header == header_unset ? header_unset
                                      : static_cast<std::uint16_t>(header - parent.data + piece.data);
    };
    piece.mac_header = shift(parent.mac_header);
    piece.network_header = shift(parent.network_header);
    piece.transport_header = shift(parent.transport_header);
    piece.protocol = parent.protocol;
    piece.priority = parent.priority;
    piece.mine = parent.mine;
    piece.device = parent.device;
    piece.dst = parent.dst;
    piece.hash = parent.hash;
    piece.queue_mapping = parent.queue_mapping;
    piece.ip_summed = IpSummed::partial;
    piece.pkt_type = parent.pkt_type;
    return index;
}

SkbList skb_segment(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::skb_segment, skb);
    const auto data = skb_data(k, skb);
    const std::vector<std::uint8_t> frame(data.begin(), data.end());
    SkbList pieces;
    const auto at = layout_of(frame);
    if (!at || k.skb(skb).gso_size == 0) {
        return pieces;
    }
    // A device that cannot finish checksums cannot gather pages either (netdev_fix_features()): its pieces are copied as a whole.
    const bool gathers = k.device(k.skb(skb).device).tx_checksum && k.skb(skb).data_len != 0;
    k.spend(k.costs().copy(gathers ? at->payload : frame.size()));
    for (const auto& bytes : cut(frame, *at, k.skb(skb).gso_size)) {
        pieces.push_back(
            new_piece(k, skb, bytes, gathers ? at->payload : static_cast<std::uint32_t>(bytes.size())));
    }
    return pieces;
}

SkbList tcp_gso_segment(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::tcp_gso_segment, skb);
    SkbList pieces = skb_segment(k, skb);
    // The pseudo header's sum in the checksum field is that of the whole: each piece gets its own.
    std::uint32_t truesize = 0;
    for (const SkbIndex piece : pieces) {
        SkBuff& buff = k.skb(piece);
        const auto bytes = skb_data_writable(k, piece);
        const std::uint32_t tcp = buff.transport_header - buff.data;
        const Ipv4View ip =
            Ipv4View::unchecked(std::span<const std::uint8_t>(bytes).subspan(ethernet_header));
        store_be16(&bytes[tcp + 16U], static_cast<std::uint16_t>(~csum_tcpudp_magic(
                                          ip.saddr(), ip.daddr(), buff.len - tcp, proto::ipproto_tcp)));
        truesize += buff.truesize;
    }
    // TCP small queues go on working: the pieces are the socket's now, and the callback comes when the last has left.
    SkBuff& large = k.skb(skb);
    if (large.sk != nothing && large.destructor == SkBuff::Destructor::tcp_wfree && !pieces.empty()) {
        Socket& sk = k.socket(large.sk);
        for (const SkbIndex piece : pieces) {
            k.skb(piece).sk = large.sk;
            k.skb(piece).destructor = SkBuff::Destructor::tcp_wfree;
        }
        sk.sk_wmem_alloc += truesize;
        sk.sk_wmem_alloc -= std::min(sk.sk_wmem_alloc, large.truesize);
        large.sk = nothing;
    }
    return pieces;
}

SkbList inet_gso_segment(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::inet_gso_segment, skb);
    Call tcp4(k, fn::tcp4_gso_segment, skb);
    return tcp_gso_segment(k, skb);
}

} // namespace

SkbList __skb_gso_segment(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::__skb_gso_segment, skb);
    Call mac(k, fn::skb_mac_gso_segment, skb);
    return inet_gso_segment(k, skb);
}

// ---- hardware ----------------------------------------------------------------------------------------------------------------------------

namespace {

/// What the device sums of a frame: TCP or UDP over IPv4 or over IPv6 without extension headers.
struct Summed {
    IpAddress source, destination;
    std::uint8_t protocol;
    std::size_t at, length; ///< of the segment
};

std::optional<Summed> summed_part(std::span<const std::uint8_t> frame)
{
    if (frame.size() < ethernet_header) {
        return std::nullopt;
    }
    const auto packet = frame.subspan(ethernet_header);
    if (const auto ip = Ipv4View::checked(packet); ip && ip->version() == 4) {
        if (packet.size() < ip->total_length() || ip->total_length() < ip->header_length()) {
            return std::nullopt;
        }
        return Summed{ip->source(), ip->destination(), ip->protocol(), ethernet_header + ip->header_length(),
                      std::size_t{ip->total_length()} - ip->header_length()};
    }
    constexpr std::size_t ipv6_header = 40;
    const auto ip = Ipv6View::checked(packet);
    if (!ip || packet.size() < ipv6_header + ip->payload_length()) {
        return std::nullopt;
    }
    return Summed{ip->source(), ip->destination(), ip->next_header(), ethernet_header + ipv6_header,
                  ip->payload_length()};
}

} // namespace

void complete_frame_checksum(std::span<std::uint8_t> frame)
{
    const auto part = summed_part(frame);
    if (!part) {
        return;
    }
    const auto segment = frame.subspan(part->at, part->length);
    const std::size_t at = part->protocol == proto::ipproto_tcp   ? 16
                           : part->protocol == proto::ipproto_udp ? 6
                                                                  : segment.size();
    if (at + 2 > segment.size()) {
        return;
    }
    store_be16(&segment[at], 0);
    const std::uint16_t sum = transport_checksum(part->source, part->destination, part->protocol, segment);
    store_be16(&segment[at], sum == 0 && part->protocol == proto::ipproto_udp ? std::uint16_t{0xffff} : sum);
}

std::vector<std::vector<std::uint8_t>> frames_on_wire(Kernel& k, SkbIndex skb, bool empty_tail)
{
    const auto data = skb_data(k, skb);
    std::vector<std::vector<std::uint8_t>> frames;
    const SkBuff& buff = k.skb(skb);
    const auto at = buff.gso_size != 0 ? layout_of(data) : std::nullopt;
    if (at && data.size() - at->payload > buff.gso_size) {
        frames = cut(data, *at, buff.gso_size);
        const auto payload = static_cast<std::uint32_t>(data.size()) - at->payload;
        if (empty_tail && payload % buff.gso_size == 0) {
            frames.push_back(piece_of(data, *at, payload, 0, payload / buff.gso_size, true));
        }
    } else {
        frames.emplace_back(data.begin(), data.end());
    }
    if (buff.ip_summed == IpSummed::partial) {
        for (auto& frame : frames) {
            complete_frame_checksum(frame);
        }
    }
    return frames;
}

// ---- GRO -----------------------------------------------------------------------------------------------------------------------------------

namespace {

bool tcp4_sum_right(Kernel& k, SkbIndex skb)
{
    SkBuff& buff = k.skb(skb);
    if (buff.ip_summed == IpSummed::unnecessary) {
        return true;
    }
    const Ipv4View ip = Ipv4View::unchecked(skb_network(k, skb));
    const auto segment = skb_gro_data(k, skb);
    k.spend(k.costs().copy(segment.size()));
    if (!tcp_checksum_ok(ip.source(), ip.destination(), segment)) {
        return false;
    }
    k.field(skb, SkbField::ip_summed, static_cast<std::uint64_t>(buff.ip_summed),
            static_cast<std::uint64_t>(IpSummed::unnecessary));
    buff.ip_summed = IpSummed::unnecessary;
    return true;
}

SkbIndex tcp_gro_receive(Kernel& k, GroList& head, SkbIndex skb)
{
    Call call(k, fn::tcp_gro_receive, skb);
    const auto bytes = skb_gro_data(k, skb);
    GroCb& own = k.skb(skb).gro;
    const std::uint32_t thlen = bytes.size() < 20 ? 0 : (bytes[12] >> 4) * 4U;
    if (thlen < 20 || bytes.size() < thlen) {
        own.flush = true;
        return nothing;
    }
    const std::vector<std::uint8_t> th(bytes.begin(), bytes.begin() + thlen);
    own.data_offset += thlen;
    const auto len = static_cast<std::uint32_t>(bytes.size()) - thlen;
    const std::uint8_t flags = th[13];
    SkbIndex held = nothing;
    for (const SkbIndex candidate : head) {
        if (!k.skb(candidate).gro.same_flow) {
            continue;
        }
        const SkBuff& other = k.skb(candidate);
        const auto th2 = other.head.bytes().subspan(other.transport_header);
        if (!std::equal(th.begin(), th.begin() + 4, th2.begin())) { // both ports
            k.skb(candidate).gro.same_flow = false;
            continue;
        }
        held = candidate;
        break;
    }
    bool flush = false;
    std::uint32_t mss = 1;
    if (held != nothing) {
        SkBuff& other = k.skb(held);
        const auto th2 = other.head.bytes().subspan(other.transport_header);
        const std::uint8_t flags2 = th2[13];
        flush = other.gro.flush || (flags & tcphdr::cwr) != 0;
        flush = flush || ((flags ^ flags2) &
                          static_cast<std::uint8_t>(~(tcphdr::cwr | tcphdr::fin | tcphdr::psh))) != 0;
        flush = flush || (th[12] ^ th2[12]) != 0 ||
                !std::equal(th.begin() + 14, th.begin() + 16, th2.begin() + 14);        // data offset, window
        flush = flush || !std::equal(th.begin() + 8, th.begin() + 12, th2.begin() + 8); // acknowledgement
        flush = flush || !std::equal(th.begin() + 20, th.end(), th2.begin() + 20);      // options
        // With the second frame it is decided whether the IP id stands still or counts.
        if (other.gro.flush_id != 1 || other.gro.count != 1 || !other.gro.is_atomic) {
            flush = flush || other.gro.flush_id != 0;
        } else {
            other.gro.is_atomic = false;
        }
        mss = other.gso_size;
        flush = flush || len == 0 || len - 1 >= mss;
        const std::uint32_t held_payload = other.len - other.gro.data_offset;
        flush = flush || load_be32(&th2[4]) + held_payload != load_be32(&th[4]);
        if (flush || skb_gro_receive(k, held, skb) != 0) {
            mss = 1;
        } else {
            SkBuff& to = k.skb(held);
            to.head.writable()[to.transport_header + 13U] |=
                static_cast<std::uint8_t>(flags & (tcphdr::fin | tcphdr::psh));
        }
    }
    flush = len < mss || (flags & (tcphdr::urg | tcphdr::psh | tcphdr::rst | tcphdr::syn | tcphdr::fin)) != 0;
    GroCb& mine = k.skb(skb).gro;
    const SkbIndex complete = held != nothing && (!mine.same_flow || flush) ? held : nothing;
    mine.flush = mine.flush || flush;
    return complete;
}

} // namespace

SkbIndex tcp4_gro_receive(Kernel& k, GroList& head, SkbIndex skb)
{
    Call call(k, fn::tcp4_gro_receive, skb);
    // A wrong checksum is not looked at where the packet is handed up anyhow.
    if (!k.skb(skb).gro.flush && !tcp4_sum_right(k, skb)) {
        k.skb(skb).gro.flush = true;
        return nothing;
    }
    return tcp_gro_receive(k, head, skb);
}

void tcp4_gro_complete(Kernel& k, SkbIndex skb, std::uint32_t)
{
    Call call(k, fn::tcp4_gro_complete, skb);
    Call complete(k, fn::tcp_gro_complete, skb);
    SkBuff& buff = k.skb(skb);
    buff.gso_type = SKB_GSO_TCPV4;
    buff.gso_segs = buff.gro.count;
    k.field(skb, SkbField::ip_summed, static_cast<std::uint64_t>(buff.ip_summed),
            static_cast<std::uint64_t>(IpSummed::partial));
    buff.ip_summed = IpSummed::partial;
    // CHECKSUM_PARTIAL: should it leave again, the sum is made anew; the field bears the pseudo header's.
    const Ipv4View ip = Ipv4View::unchecked(skb_network(k, skb));
    const std::uint32_t length = buff.len - (buff.transport_header - buff.network_header);
    const auto sum =
        static_cast<std::uint16_t>(~csum_tcpudp_magic(ip.saddr(), ip.daddr(), length, proto::ipproto_tcp));
    store_be16(&buff.head.writable()[buff.transport_header + 16U], sum);
}

} // namespace skbscope::kernel
