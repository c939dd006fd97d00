#include "core/compare/align.h"

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

namespace skbscope {

namespace {

constexpr std::size_t ethernet_header = 14;
constexpr std::uint8_t protocol_tcp = 6;
constexpr std::uint8_t protocol_udp = 17;

std::uint32_t big_endian(std::span<const std::uint8_t> bytes, std::size_t at, std::size_t count)
{
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < count; ++i) {
        value = value << 8 | bytes[at + i];
    }
    return value;
}

/// Where the layer above IP begins in the frame; nothing if the frame is not IP, a later fragment, or too short.
struct Upper {
    std::size_t offset = 0;
    std::uint8_t protocol = 0;
    std::uint32_t length = 0; ///< bytes above IP as the header says
    std::uint32_t ip_id = 0;
};

std::optional<Upper> upper_of(std::span<const std::uint8_t> frame)
{
    if (frame.size() < ethernet_header + 20) {
        return std::nullopt;
    }
    const std::uint32_t type = big_endian(frame, 12, 2);
    if (type == 0x86dd && frame.size() >= ethernet_header + 40) {
        return Upper{ethernet_header + 40, frame[ethernet_header + 6], big_endian(frame, ethernet_header + 4, 2), 0};
    }
    if (type != 0x0800) {
        return std::nullopt;
    }
    const std::size_t header = (frame[ethernet_header] & 0x0fU) * std::size_t{4};
    const std::uint32_t total = big_endian(frame, ethernet_header + 2, 2);
    const bool later_fragment = (big_endian(frame, ethernet_header + 6, 2) & 0x1fffU) != 0;
    if (header < 20 || total < header || later_fragment) {
        return std::nullopt;
    }
    return Upper{ethernet_header + header, frame[ethernet_header + 9], total - static_cast<std::uint32_t>(header),
                 big_endian(frame, ethernet_header + 4, 2)};
}

/// Sequence numbers count from the first that a direction of a connection shows, so that two runs compare.
class TcpStarts {
public:
    std::uint32_t relative(const FlowKey& flow, std::uint32_t sequence)
    {
        return sequence - starts_.try_emplace(flow, sequence).first->second;
    }

    [[nodiscard]] std::optional<std::uint32_t> of(const FlowKey& flow) const
    {
        const auto at = starts_.find(flow);
        return at == starts_.end() ? std::nullopt : std::optional(at->second);
    }

private:
    std::map<FlowKey, std::uint32_t> starts_;
};

std::uint32_t header_length(std::span<const std::uint8_t> frame, const Upper& tcp)
{
    return (frame[tcp.offset + 12] >> 4U) * 4U;
}

/// What a packet carries, as far as it can be the same in two runs: never times, random ports or IP ids.
using Content = std::array<std::int64_t, 4>;

Content content_of(const Trace& trace, const PacketRecord& packet, TcpStarts& starts)
{
    const auto frame = trace.frame(packet.id);
    const auto upper = upper_of(frame);
    Content content{packet.length, -1, -1, -1};
    if (!upper) {
        return content;
    }
    if (upper->protocol == protocol_udp) {
        content[1] = payload_index(frame);
    } else if (upper->protocol == protocol_tcp && packet.flow && frame.size() >= upper->offset + 14) {
        const std::uint32_t header = (frame[upper->offset + 12] >> 4U) * 4U;
        content[0] = upper->length > header ? upper->length - header : 0;
        content[1] = starts.relative(*packet.flow, big_endian(frame, upper->offset + 4, 4));
        content[2] = frame[upper->offset + 13] & 0x07; // FIN, SYN, RST
    } else if (frame.size() >= upper->offset + 8) {
        content[1] = big_endian(frame, upper->offset, 2);     // ICMP type and code
        content[2] = big_endian(frame, upper->offset + 6, 2); // sequence of an echo
    }
    return content;
}

constexpr std::uint8_t tcp_fin = 0x01;
constexpr std::uint8_t tcp_syn = 0x02;
constexpr std::uint8_t tcp_rst = 0x04;
constexpr std::uint8_t tcp_ack = 0x10;

FlowKey reverse_of(FlowKey flow)
{
    std::swap(flow.source, flow.destination);
    std::swap(flow.source_port, flow.destination_port);
    return flow;
}

/// A segment's place in its connection: the same in two runs.
struct TcpSegment {
    TcpKind kind = TcpKind::ack;
    std::uint32_t sequence = 0;       ///< from the direction's first
    std::int64_t acknowledged = -1;   ///< from the other direction's first; -1: nothing
    std::uint32_t payload = 0;        ///< bytes
};

/// The segments of a trace in order of birth.
class Segments {
public:
    std::optional<TcpSegment> next(const Trace& trace, const PacketRecord& packet)
    {
        const auto frame = trace.frame(packet.id);
        const auto upper = upper_of(frame);
        const auto kind = tcp_kind_of(frame);
        if (!kind || !packet.flow) {
            return std::nullopt;
        }
        TcpSegment segment;
        segment.kind = *kind;
        const std::uint32_t header = header_length(frame, *upper);
        segment.payload = upper->length > header ? upper->length - header : 0;
        segment.sequence = starts_.relative(*packet.flow, big_endian(frame, upper->offset + 4, 4));
        const auto reverse = starts_.of(reverse_of(*packet.flow));
        if ((frame[upper->offset + 13] & tcp_ack) != 0 && reverse) {
            segment.acknowledged = big_endian(frame, upper->offset + 8, 4) - *reverse;
        }
        return segment;
    }

private:
    TcpStarts starts_;
};

/// Flows as two runs have them in common: an ICMP identifier is the sender's process or random, and a packet that is not
/// routed yet shows no source.
std::optional<FlowKey> common_flow(const PacketRecord& packet)
{
    constexpr std::uint8_t icmp = 1;
    constexpr std::uint8_t icmpv6 = 58;
    auto flow = packet.flow;
    if (flow && (flow->protocol == icmp || flow->protocol == icmpv6)) {
        flow->source_port = 0;
        flow->destination_port = 0;
    }
    return flow;
}

/// What a packet is, apart from its flow: packets pair only within one kind.
using Kind = std::tuple<Relation, bool>;

struct Group {
    std::vector<PacketId> a, b;
};

template <typename Key>
using Groups = std::map<Key, Group>;

class Aligner {
public:
    Aligner(const Trace& a, const Trace& b, bool by_length) : a_(a), b_(b), by_length_(by_length), match_a_(a.packet_count() + 1), paired_b_(b.packet_count() + 1) {}

    std::vector<PacketPair> run(const PacketChoice& of_a, const PacketChoice& of_b)
    {
        auto list_a = chosen(a_, of_a);
        auto list_b = chosen(b_, of_b);
        const auto all_a = list_a;
        const auto all_b = list_b;
        by_tcp_segment(list_a, list_b);
        // By ordinal where both sides have as many packets of a flow; else first what carries the same, then what remains,
        // by ordinal; at last without the flow, for packets whose addresses were rewritten before a trace saw them.
        by_flow(list_a, list_b, true);
        if (by_length_) {
            by_length(list_a, list_b, true);
            by_length(list_a, list_b, false);
        }
        by_flow_and_content(list_a, list_b);
        by_flow(list_a, list_b, false);
        by_payload(list_a, list_b);
        by_endpoint(list_a, list_b, &FlowKey::destination, &FlowKey::destination_port);
        by_endpoint(list_a, list_b, &FlowKey::source, &FlowKey::source_port);
        by_order(list_a, list_b);
        return pairs(all_a, all_b);
    }

private:
    static std::vector<PacketId> chosen(const Trace& trace, const PacketChoice& choice)
    {
        std::vector<PacketId> list;
        for (const PacketRecord& packet : trace.packets()) {
            if (!choice || choice(packet)) {
                list.push_back(packet.id);
            }
        }
        return list;
    }

    static Kind kind_of(const PacketRecord& packet) { return {packet.relation, packet.sent_here}; }

    template <typename Key, typename KeyOf>
    void pair_by(const std::vector<PacketId>& list_a, const std::vector<PacketId>& list_b, KeyOf key_of)
    {
        Groups<Key> groups;
        TcpStarts starts_a;
        TcpStarts starts_b;
        for (const PacketId id : list_a) {
            const auto key = key_of(a_, a_.packet(id), starts_a); // also of paired ones: sequence numbers start there
            if (key && match_a_[to_index(id)] == PacketId::none) {
                groups[*key].a.push_back(id);
            }
        }
        for (const PacketId id : list_b) {
            const auto key = key_of(b_, b_.packet(id), starts_b);
            if (key && !paired_b_[to_index(id)]) {
                groups[*key].b.push_back(id);
            }
        }
        for (const auto& [key, group] : groups) {
            if (only_equal_ && group.a.size() != group.b.size()) {
                continue;
            }
            pair_group(group);
        }
    }

    void pair(PacketId a, PacketId b)
    {
        match_a_[to_index(a)] = b;
        paired_b_[to_index(b)] = true;
    }

    /// By ordinal; where one side has more, those with the same IP id first (two runs of the model share them).
    void pair_group(const Group& group)
    {
        std::vector<PacketId> rest_a = group.a;
        std::vector<PacketId> rest_b = group.b;
        if (rest_a.size() != rest_b.size()) {
            pair_same_ip_id(rest_a, rest_b);
        }
        for (std::size_t i = 0; i < std::min(rest_a.size(), rest_b.size()); ++i) {
            pair(rest_a[i], rest_b[i]);
        }
    }

    void pair_same_ip_id(std::vector<PacketId>& rest_a, std::vector<PacketId>& rest_b)
    {
        std::multimap<std::uint32_t, PacketId> by_id;
        for (const PacketId id : rest_b) {
            if (const auto upper = upper_of(b_.frame(id)); upper && upper->ip_id != 0) {
                by_id.emplace(upper->ip_id, id);
            }
        }
        std::size_t shared = 0;
        std::vector<PacketPair> found;
        for (const PacketId id : rest_a) {
            const auto upper = upper_of(a_.frame(id));
            const auto same = upper ? by_id.find(upper->ip_id) : by_id.end();
            if (same != by_id.end()) {
                found.push_back({id, same->second});
                by_id.erase(same);
                ++shared;
            }
        }
        // A few equal ids are chance (a kernel draws them at random); most of them equal is the same run.
        if (shared * 2 < std::min(rest_a.size(), rest_b.size()) || shared == 0) {
            return;
        }
        for (const PacketPair& one : found) {
            pair(one.a, one.b);
        }
        std::erase_if(rest_a, [&](PacketId id) { return match_a_[to_index(id)] != PacketId::none; });
        std::erase_if(rest_b, [&](PacketId id) { return paired_b_[to_index(id)]; });
    }

    /// Segments of a connection pair within their kind: those that carry the same bytes or acknowledge the same, sent again in
    /// order; the handshake and the close by ordinal at last. A segment without its like has none: how many there are hangs
    /// on both ends' speed. They are taken out of the lists.
    void by_tcp_segment(std::vector<PacketId>& list_a, std::vector<PacketId>& list_b)
    {
        using Key = std::tuple<Kind, FlowKey, TcpKind, std::uint32_t, std::int64_t>;
        std::vector<std::pair<PacketId, TcpSegment>> a;
        std::vector<std::pair<PacketId, TcpSegment>> b;
        take_segments(a_, list_a, a);
        take_segments(b_, list_b, b);
        const auto pass = [&](auto key_of) {
            std::map<Key, Group> groups;
            for (const auto& [id, segment] : a) {
                const auto key = match_a_[to_index(id)] == PacketId::none ? key_of(a_.packet(id), segment) : std::nullopt;
                if (key) {
                    groups[*key].a.push_back(id);
                }
            }
            for (const auto& [id, segment] : b) {
                const auto key = !paired_b_[to_index(id)] ? key_of(b_.packet(id), segment) : std::nullopt;
                if (key) {
                    groups[*key].b.push_back(id);
                }
            }
            for (const auto& [key, group] : groups) {
                for (std::size_t i = 0; i < std::min(group.a.size(), group.b.size()); ++i) {
                    pair(group.a[i], group.b[i]);
                }
            }
        };
        using Found = std::optional<Key>;
        const auto carries = [](const TcpSegment& segment) -> std::int64_t { return segment.kind == TcpKind::data ? segment.payload : segment.acknowledged; };
        pass([&](const PacketRecord& packet, const TcpSegment& segment) { return Found({kind_of(packet), *packet.flow, segment.kind, segment.sequence, carries(segment)}); });
        pass([&](const PacketRecord& packet, const TcpSegment& segment) {
            return segment.kind == TcpKind::data ? Found({kind_of(packet), *packet.flow, segment.kind, segment.sequence, 0}) : std::nullopt;
        });
        pass([&](const PacketRecord& packet, const TcpSegment& segment) {
            const bool is_by_ordinal = segment.kind != TcpKind::data && segment.kind != TcpKind::ack;
            return is_by_ordinal ? Found({kind_of(packet), *packet.flow, segment.kind, 0, 0}) : std::nullopt;
        });
    }

    static void take_segments(const Trace& trace, std::vector<PacketId>& list, std::vector<std::pair<PacketId, TcpSegment>>& taken)
    {
        Segments segments;
        std::erase_if(list, [&](PacketId id) {
            const auto segment = segments.next(trace, trace.packet(id));
            if (segment) {
                taken.emplace_back(id, *segment);
            }
            return segment.has_value();
        });
    }

    void by_flow_and_content(const std::vector<PacketId>& list_a, const std::vector<PacketId>& list_b)
    {
        using Key = std::tuple<Kind, FlowKey, Content>;
        pair_by<Key>(list_a, list_b, [](const Trace& trace, const PacketRecord& packet, TcpStarts& starts) {
            return packet.flow ? std::optional<Key>({kind_of(packet), *common_flow(packet), content_of(trace, packet, starts)}) : std::nullopt;
        });
    }

    void by_flow(const std::vector<PacketId>& list_a, const std::vector<PacketId>& list_b, bool only_equal)
    {
        only_equal_ = only_equal;
        using Key = std::tuple<Kind, std::optional<FlowKey>>;
        pair_by<Key>(list_a, list_b, [](const Trace&, const PacketRecord& packet, TcpStarts&) {
            return std::optional<Key>({kind_of(packet), common_flow(packet)});
        });
        only_equal_ = false;
    }

    void by_payload(const std::vector<PacketId>& list_a, const std::vector<PacketId>& list_b)
    {
        using Key = std::tuple<Kind, std::uint8_t, std::int64_t>;
        pair_by<Key>(list_a, list_b, [](const Trace& trace, const PacketRecord& packet, TcpStarts&) {
            const std::int64_t index = payload_index(trace.frame(packet.id));
            return index >= 0 ? std::optional<Key>({kind_of(packet), packet.flow ? packet.flow->protocol : std::uint8_t{0}, index})
                              : std::nullopt;
        });
    }

    /// NAT rewrote the other end before one of the traces told the flow.
    void by_endpoint(const std::vector<PacketId>& list_a, const std::vector<PacketId>& list_b, IpAddress FlowKey::*address,
                     std::uint16_t FlowKey::*port)
    {
        using Key = std::tuple<Kind, std::uint8_t, IpAddress, std::uint16_t>;
        pair_by<Key>(list_a, list_b, [=](const Trace&, const PacketRecord& packet, TcpStarts&) {
            const auto flow = common_flow(packet);
            return flow && (*flow).*address != IpAddress{}
                       ? std::optional<Key>({kind_of(packet), flow->protocol, (*flow).*address, (*flow).*port})
                       : std::nullopt;
        });
    }

    /// No addresses are known, or none of the sender.
    static bool is_vague(const PacketRecord& packet) { return !packet.flow || packet.flow->source == IpAddress{}; }

    /// A flow that lacks packets on one side: there those of its length that show no flow stand in their place, in order of birth.
    /// `whole`: flows of which both sides know packets; else by where packets go, as two runs may have drawn other ports.
    void by_length(const std::vector<PacketId>& list_a, const std::vector<PacketId>& list_b, bool whole)
    {
        using Key = std::tuple<Kind, FlowKey, std::uint32_t>;
        const auto is_flowless = [](const PacketRecord& packet) { return !packet.flow || packet.flow->destination == IpAddress{}; };
        // A lookup of a sender that is not bound shows no source address yet.
        const auto key_of = [whole](const PacketRecord& packet) {
            FlowKey flow = *common_flow(packet);
            flow.source = IpAddress{};
            flow.source_port = whole ? flow.source_port : std::uint16_t{0};
            return Key{kind_of(packet), flow, packet.length};
        };
        std::vector<PacketId> free_a = list_a;
        std::vector<PacketId> free_b = list_b;
        std::erase_if(free_a, [&](PacketId id) { return match_a_[to_index(id)] != PacketId::none; });
        std::erase_if(free_b, [&](PacketId id) { return paired_b_[to_index(id)]; });
        Groups<Key> groups;
        for (const PacketId id : free_a) {
            if (!is_flowless(a_.packet(id))) {
                groups[key_of(a_.packet(id))].a.push_back(id);
            }
        }
        for (const PacketId id : free_b) {
            if (!is_flowless(b_.packet(id))) {
                groups[key_of(b_.packet(id))].b.push_back(id);
            }
        }
        if (whole) {
            std::erase_if(groups, [](const auto& one) { return one.second.a.empty() || one.second.b.empty(); });
        }
        const auto fill_up = [&](const Trace& full, const std::vector<PacketId>& with_flow, const Trace& lacking, std::vector<PacketId> vague,
                                 std::vector<PacketId> Group::*enough, std::vector<PacketId> Group::*short_of) {
            std::erase_if(vague, [&](PacketId id) { return !is_flowless(lacking.packet(id)); });
            for (const PacketId id : with_flow) {
                const PacketRecord& packet = full.packet(id);
                if (is_flowless(packet)) {
                    continue;
                }
                const auto found = groups.find(key_of(packet));
                if (found == groups.end()) {
                    continue;
                }
                Group& group = found->second;
                const auto like = std::ranges::find_if(vague, [&](PacketId one) {
                    return kind_of(lacking.packet(one)) == kind_of(packet) && lacking.packet(one).length == packet.length;
                });
                if ((group.*short_of).size() < (group.*enough).size() && like != vague.end()) {
                    (group.*short_of).push_back(*like);
                    vague.erase(like);
                }
            }
        };
        fill_up(a_, free_a, b_, free_b, &Group::a, &Group::b);
        fill_up(b_, free_b, a_, free_a, &Group::b, &Group::a);
        for (auto& [key, group] : groups) {
            std::ranges::sort(group.a);
            std::ranges::sort(group.b);
            if (group.a.size() == group.b.size()) {
                pair_group(group);
            }
        }
    }

    /// Packets of which one side knows no addresses: first those of one length, then what remains.
    void by_order(const std::vector<PacketId>& list_a, const std::vector<PacketId>& list_b)
    {
        for (const bool of_one_length : {true, false}) {
            if (of_one_length && !by_length_) {
                continue;
            }
            for (const PacketId a : list_a) {
                if (match_a_[to_index(a)] != PacketId::none) {
                    continue;
                }
                const PacketRecord& in_a = a_.packet(a);
                const auto like = std::ranges::find_if(list_b, [&](PacketId b) {
                    const PacketRecord& in_b = b_.packet(b);
                    return !paired_b_[to_index(b)] && (is_vague(in_a) || is_vague(in_b)) && kind_of(in_a) == kind_of(in_b) &&
                           (!of_one_length || in_a.length == in_b.length);
                });
                if (like != list_b.end()) {
                    pair(a, *like);
                }
            }
        }
    }

    std::vector<PacketPair> pairs(const std::vector<PacketId>& list_a, const std::vector<PacketId>& list_b) const
    {
        std::vector<PacketPair> all;
        for (const PacketId id : list_a) {
            all.push_back({id, match_a_[to_index(id)]});
        }
        for (const PacketId id : list_b) {
            if (!paired_b_[to_index(id)]) {
                all.push_back({PacketId::none, id});
            }
        }
        return all;
    }

    const Trace& a_;
    const Trace& b_;
    bool by_length_ = false;
    std::vector<PacketId> match_a_; ///< by PacketId of a
    std::vector<bool> paired_b_;    ///< by PacketId of b
    bool only_equal_ = false;       ///< leave groups alone in which one side has more
};

} // namespace

namespace {

/// Payload of the fragments behind the first of each datagram, by the packet that the datagram became.
std::map<PacketId, std::uint32_t> bytes_behind_first(const Trace& trace)
{
    std::map<PacketId, std::uint32_t> bytes;
    for (const PacketRecord& packet : trace.packets()) {
        const auto frame = trace.frame(packet.id);
        if (frame.size() < ethernet_header + 20 || big_endian(frame, 12, 2) != 0x0800 || (big_endian(frame, ethernet_header + 6, 2) & 0x1fffU) == 0) {
            continue;
        }
        const std::uint32_t header = (frame[ethernet_header] & 0x0fU) * 4U;
        const std::uint32_t total = big_endian(frame, ethernet_header + 2, 2);
        bytes[packet.merged_into != PacketId::none ? packet.merged_into : packet.id] += total > header ? total - header : 0;
    }
    return bytes;
}

} // namespace

std::map<FlowKey, std::uint64_t> tcp_bytes_of(const Trace& trace, const PacketChoice& wanted)
{
    using Range = std::pair<std::int64_t, std::int64_t>;
    struct Half {
        std::uint32_t latest = 0;  ///< sequence number of the segment before
        std::int64_t position = 0; ///< … without its wraps
        std::vector<Range> ranges;
    };
    const auto behind = bytes_behind_first(trace);
    std::map<FlowKey, Half> directions;
    for (const PacketRecord& packet : trace.packets()) {
        const auto frame = trace.frame(packet.id);
        const auto upper = upper_of(frame);
        if (!packet.flow || !tcp_kind_of(frame) || (wanted && !wanted(packet))) {
            continue;
        }
        const std::uint32_t sequence = big_endian(frame, upper->offset + 4, 4);
        Half& direction = directions.try_emplace(*packet.flow, Half{sequence, 0, {}}).first->second;
        direction.position += static_cast<std::int32_t>(sequence - direction.latest);
        direction.latest = sequence;
        const bool is_first_of_several = big_endian(frame, 12, 2) == 0x0800 && (big_endian(frame, ethernet_header + 6, 2) & 0x2000U) != 0;
        const auto others = is_first_of_several ? behind.find(packet.merged_into) : behind.end();
        if (const std::uint32_t payload = tcp_payload_of(frame) + (others != behind.end() ? others->second : 0); payload != 0) {
            direction.ranges.emplace_back(direction.position, direction.position + payload);
        }
    }
    std::map<FlowKey, std::uint64_t> bytes;
    for (auto& [flow, direction] : directions) {
        std::ranges::sort(direction.ranges);
        std::int64_t counted_to = std::numeric_limits<std::int64_t>::min();
        std::uint64_t& sum = bytes[flow];
        for (const auto& [from, to] : direction.ranges) {
            if (to > counted_to) {
                sum += static_cast<std::uint64_t>(to - std::max(from, counted_to));
                counted_to = to;
            }
        }
    }
    return bytes;
}

std::int64_t payload_index(std::span<const std::uint8_t> frame)
{
    const auto upper = upper_of(frame);
    if (!upper || upper->protocol != protocol_udp || frame.size() < upper->offset + 8 + 8) {
        return -1;
    }
    const auto payload = frame.subspan(upper->offset + 8);
    if (payload[0] != 'P' || payload[1] != 'K' || payload[2] != 'T') {
        return -1;
    }
    std::int64_t index = 0;
    for (std::size_t i = 3; i < 8; ++i) {
        if (payload[i] < '0' || payload[i] > '9') {
            return -1;
        }
        index = index * 10 + (payload[i] - '0');
    }
    return index;
}

std::optional<TcpKind> tcp_kind_of(std::span<const std::uint8_t> frame)
{
    const auto upper = upper_of(frame);
    if (!upper || upper->protocol != protocol_tcp || frame.size() < upper->offset + 14) {
        return std::nullopt;
    }
    const std::uint8_t flags = frame[upper->offset + 13];
    if ((flags & tcp_rst) != 0) {
        return TcpKind::rst;
    }
    if ((flags & tcp_syn) != 0) {
        return (flags & tcp_ack) != 0 ? TcpKind::syn_ack : TcpKind::syn;
    }
    if ((flags & tcp_fin) != 0) {
        return TcpKind::fin;
    }
    return upper->length > header_length(frame, *upper) ? TcpKind::data : TcpKind::ack;
}

std::uint32_t tcp_payload_of(std::span<const std::uint8_t> frame)
{
    if (!tcp_kind_of(frame)) {
        return 0;
    }
    const auto upper = upper_of(frame);
    const std::uint32_t header = header_length(frame, *upper);
    return upper->length > header ? upper->length - header : 0;
}

std::vector<PacketPair> align_packets(const Trace& a, const Trace& b, const PacketChoice& of_a, const PacketChoice& of_b,
                                      bool by_length)
{
    return Aligner(a, b, by_length).run(of_a, of_b);
}

} // namespace skbscope
