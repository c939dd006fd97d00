#pragma once
// One packet's journey as lines of text: calls by nesting, waits between them, the verdict at the end. No painting here,
// so that a test can read what the window shows.

#include "core/trace/journey.h"
#include "core/trace/stack_state.h"

#include <QString>
#include <optional>
#include <vector>

namespace skbscope::ui {

class Session;

struct JourneyRow {
    enum class Kind { segment, call, wait, verdict } kind = Kind::call;
    std::uint32_t ordinal = 0; ///< of the event that begins the row: call, enqueue, verdict or drop; of a segment: its first call
    FunctionId function = FunctionId::none;
    QueueId queue = QueueId::none; ///< of a wait
    CpuId cpu{};
    Context context = Context::process;
    int indent = 0;       ///< nesting within its segment
    SimTime from;
    SimTime to = never;   ///< `never`: its end was not seen, or it goes on
    bool shared = false;  ///< one call for many packets
    bool derived = false; ///< not certain: attributed by its neighbours
    Verdict verdict = Verdict::in_flight; ///< of a verdict row
    DropReasonId reason = DropReasonId::none;

    /// It has begun at that playhead position.
    [[nodiscard]] bool begun(std::size_t position) const { return ordinal < position; }
};

/// All rows of what is known, in order.
[[nodiscard]] std::vector<JourneyRow> journeyRows(const Trace& trace, const JourneyIndex& index, PacketId packet);

/// The row that the playhead is in: a wait that goes on, the step just begun, or the innermost open call; -1 before the first.
[[nodiscard]] int currentRow(const Session& session, PacketId packet, const std::vector<JourneyRow>& rows);

/// How a packet's age divides at a moment. worked + waited + held = age.
struct JourneySums {
    Duration age;    ///< birth to now, or to its end
    Duration waited; ///< in queues
    Duration worked; ///< a CPU executed a function for it alone
    Duration held;   ///< the rest: in a batch, in a list, or not seen
};
[[nodiscard]] JourneySums journeySums(const Trace& trace, const JourneyIndex& index, PacketId packet, SimTime now);

/// "waits in eth0 RX ring", "on the eth0 wire"
[[nodiscard]] QString waitText(const QueueRecord& queue);

/// "delivered", "dropped: CPU_BACKLOG", …
[[nodiscard]] QString verdictText(Verdict verdict, DropReasonId reason);

/// The journey as plain text, for the clipboard.
[[nodiscard]] QString journeyText(const Session& session, PacketId packet);

} // namespace skbscope::ui
