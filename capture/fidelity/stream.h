#pragma once
// How the segments of a connection are compared where speed decides how many there are and which way each takes: by kinds, and by
// legs of their ways.

#include "core/compare/compare.h"

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace skbscope {

/// Verdict and reason in one word, to compare outcomes where single packets cannot be.
[[nodiscard]] std::string outcome(const PacketRecord& packet);

/// Segments whose way may be compared with each other's.
struct SegmentClass {
    TcpKind kind = TcpKind::ack;
    bool sent = false;
    bool has_data = false;
    Relation relation = Relation::none;
    std::string end;
    auto operator<=>(const SegmentClass&) const = default;
};

/// Nothing: no TCP.
[[nodiscard]] std::optional<SegmentClass> class_of(const Trace& trace, const PacketRecord& packet);
/// False: one of the handshake or the close, of which each connection has as many.
[[nodiscard]] bool is_of_speed(const SegmentClass& segment);

/// A leg of a packet's way: calls that serve several packets, then those below them of the packet alone, up to the next that serves
/// several, or until the innermost of these has returned. What it meets on one leg does not hang on what it met on another.
struct Leg {
    Context context = Context::process;
    std::vector<std::string_view> functions; ///< live as long as the catalog
    auto operator<=>(const Leg& other) const = default;
};

/// A leg as the packet's way goes on, and with the calls before it that were still open: a poll may have been entered for this
/// leg, or for another packet before.
struct LegForms {
    Leg bare, with_open_calls;
};

[[nodiscard]] std::vector<LegForms> legs_of(const Trace& trace, PacketId packet, const std::vector<Segment>& segments);

/// What the model's segments met: their ends, and by direction (which leg one takes hangs on more than its kind) the legs of their ways.
class StreamWays {
public:
    /// `named`: the trace will be there when a difference is looked at.
    void learn(const Trace& model, const JourneyIndex& journeys, const VisibleFunctions& visible, const PacketChoice& test_packets, bool named);

    [[nodiscard]] bool has_end(const SegmentClass& segment) const { return ends_.contains(segment); }

    struct Difference {
        PacketId like = PacketId::none; ///< of the named model: one that took the leg that comes nearest
        std::string text;
        std::vector<std::string> model, recorded; ///< functions of the leg
    };
    /// The first leg that no segment of the model took, beside the one that is like it for the longest.
    [[nodiscard]] std::optional<Difference> difference(const SegmentClass& segment, const std::vector<LegForms>& legs) const;

private:
    /// Each with one that took it.
    using Ways = std::map<Leg, PacketId>;
    std::set<SegmentClass> ends_;
    std::map<std::pair<bool, Relation>, Ways> ways_;
};

} // namespace skbscope
