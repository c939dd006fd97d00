#include "capture/fidelity/stream.h"

#include "core/catalog/catalog.h"

#include <algorithm>
#include <fmt/format.h>

namespace skbscope {

namespace {
constexpr std::uint8_t protocol_tcp = 6;
} // namespace

std::string outcome(const PacketRecord& packet)
{
    return packet.verdict == Verdict::dropped ? std::string("dropped ") + std::string(Catalog::drop_reason(packet.reason).name)
                                              : std::string(to_string(packet.verdict));
}

namespace {

/// Of a fragment without TCP header: of what its datagram became, or, where the datagram went on in it, of the one that has it.
std::optional<TcpKind> kind_of_datagram(const Trace& trace, const PacketRecord& fragment)
{
    if (fragment.merged_into != PacketId::none) {
        return tcp_kind_of(trace.frame(fragment.merged_into));
    }
    if (!fragment.flow || fragment.flow->protocol != protocol_tcp) {
        return std::nullopt;
    }
    for (const PacketRecord& other : trace.packets()) {
        if (other.merged_into == fragment.id && tcp_kind_of(trace.frame(other.id))) {
            return tcp_kind_of(trace.frame(other.id));
        }
    }
    return std::nullopt;
}

} // namespace

std::optional<SegmentClass> class_of(const Trace& trace, const PacketRecord& packet)
{
    const auto frame = trace.frame(packet.id);
    auto kind = tcp_kind_of(frame);
    const bool is_later_fragment = !kind;
    if (is_later_fragment) {
        kind = kind_of_datagram(trace, packet);
    }
    if (!kind) {
        return std::nullopt;
    }
    SegmentClass found;
    found.kind = *kind;
    found.sent = packet.sent_here;
    found.has_data = is_later_fragment || tcp_payload_of(frame) != 0;
    found.relation = packet.relation;
    found.end = outcome(packet);
    return found;
}

bool is_of_speed(const SegmentClass& segment)
{
    return segment.kind == TcpKind::data || segment.kind == TcpKind::ack || segment.has_data;
}

namespace {

/// The model's applications wait in poll(), so their calls give the socket free at their end, in tcp_sendmsg() and tcp_recvmsg();
/// one that blocks gives it free while it waits (sk_stream_wait_memory(), sk_wait_data()): the same below, one call deeper.
bool is_waiting_call(std::string_view function)
{
    return function == "tcp_sendmsg_locked" || function == "tcp_recvmsg_locked";
}

/// Appends a call; one that waits is left out where it gives the socket free.
void append(std::vector<std::string_view>& functions, std::string_view function)
{
    if (function == "release_sock" && !functions.empty() && is_waiting_call(functions.back())) {
        functions.pop_back();
    }
    functions.push_back(function);
}

} // namespace

std::vector<LegForms> legs_of(const Trace& trace, PacketId packet, const std::vector<Segment>& segments)
{
    struct Open {
        std::uint8_t depth;
        std::string_view function;
    };
    std::vector<LegForms> legs;
    for (const Segment& segment : segments) {
        bool own = true;
        int shared_depth = -1; // of the innermost call of the leg that serves several
        std::vector<Open> open;
        for (const ComparedStep& step : segment.steps) {
            const bool is_own = trace[step.ordinal].packet_id() == packet;
            const std::uint8_t depth = trace[step.ordinal].depth;
            while (!open.empty() && open.back().depth >= depth) {
                open.pop_back();
            }
            const bool left_it = is_own && static_cast<int>(depth) <= shared_depth;
            if (&step == segment.steps.data() || (own && !is_own) || left_it) {
                shared_depth = -1;
                legs.push_back({{segment.context, {}}, {segment.context, {}}});
                for (const Open& around : open) {
                    append(legs.back().with_open_calls.functions, around.function);
                }
            }
            own = is_own;
            shared_depth = is_own ? shared_depth : static_cast<int>(depth);
            open.push_back({depth, step.function});
            append(legs.back().bare.functions, step.function);
            append(legs.back().with_open_calls.functions, step.function);
        }
    }
    return legs;
}

void StreamWays::learn(const Trace& model, const JourneyIndex& journeys, const VisibleFunctions& visible, const PacketChoice& test_packets, bool named)
{
    for (const PacketRecord& packet : model.packets()) {
        const auto kind = test_packets(packet) ? class_of(model, packet) : std::nullopt;
        if (!kind) {
            continue;
        }
        ends_.insert(*kind);
        Ways& ways = ways_[{kind->sent, kind->relation}];
        const PacketId who = named ? packet.id : PacketId::none;
        for (LegForms& leg : legs_of(model, packet.id, segments_of(model, journeys.journey(packet.id), visible))) {
            ways.emplace(std::move(leg.bare), who);
            ways.emplace(std::move(leg.with_open_calls), who);
        }
    }
}

std::optional<StreamWays::Difference> StreamWays::difference(const SegmentClass& segment, const std::vector<LegForms>& legs) const
{
    static const Ways none;
    const auto known = ways_.find({segment.sent, segment.relation});
    const Ways& ways = known == ways_.end() ? none : known->second;
    const auto unknown = std::ranges::find_if(legs, [&](const LegForms& leg) { return !ways.contains(leg.bare) && !ways.contains(leg.with_open_calls); });
    if (unknown == legs.end()) {
        return std::nullopt;
    }
    const Leg& strange = unknown->with_open_calls;
    Difference nearest{PacketId::none, fmt::format("{}: (no such leg) | {}", to_string(strange.context), strange.functions.front()), {},
                       {strange.functions.begin(), strange.functions.end()}};
    std::size_t longest = 0;
    for (const auto& [leg, of] : ways) {
        const auto [in_a, in_b] = std::ranges::mismatch(leg.functions, strange.functions);
        const auto like = static_cast<std::size_t>(in_b - strange.functions.begin());
        if (leg.context == strange.context && like > longest) {
            longest = like;
            StepDifference difference;
            difference.context = leg.context;
            difference.in_a = in_a == leg.functions.end() ? std::string() : std::string(*in_a);
            difference.in_b = in_b == strange.functions.end() ? std::string() : std::string(*in_b);
            nearest.like = of;
            nearest.text = difference.text();
            nearest.model.assign(leg.functions.begin(), leg.functions.end());
        }
    }
    return nearest;
}

} // namespace skbscope
