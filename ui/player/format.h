#pragma once
// Numbers, times and names as every panel writes them. One place, so that no two panels round differently.

#include "core/catalog/catalog.h"
#include "core/trace/stack_state.h"
#include "core/trace/trace.h"

#include <QString>

namespace skbscope::ui {

/// "12 345": groups of three with a narrow space, from five digits on.
[[nodiscard]] QString countText(std::uint64_t count);
/// Microseconds with three decimals, grouped: "1 284.316 µs". Counted from `origin`.
[[nodiscard]] QString timeText(SimTime t, SimTime origin = {});
/// Three significant digits with a fitting unit: "940 ns", "6.82 µs", "12.4 ms", "3.10 s".
[[nodiscard]] QString durationText(Duration d);
/// A play speed: "1 s = 20 µs".
[[nodiscard]] QString speedText(double nsPerSecond);
/// "940", "12.3 k", "1.2 M": of things in a second.
[[nodiscard]] QString rateText(double perSecond);
/// "832 B", "208 KB" (of 1024), "4 MB".
[[nodiscard]] QString bytesText(std::uint64_t bytes);
/// A queue's level and limit in its unit: "5/256", "2.4/208 KB", "11 (limit 10)" when above, "3" without limit.
[[nodiscard]] QString levelText(std::uint64_t level, std::uint64_t limit, QueueUnit unit);
/// "UDP 10.0.0.7:40212 → 10.0.0.1:53", or what is known instead of a flow.
[[nodiscard]] QString flowText(const PacketRecord& packet);
/// "#46 UDP 10.0.0.7:40212 → 10.0.0.1:53"
[[nodiscard]] QString packetTitle(const Trace& trace, PacketId packet);
/// "1 datagram", "64 datagrams".
[[nodiscard]] QString counted(std::uint64_t count, const char* one, const char* many);
/// A string_view of UTF-8.
[[nodiscard]] QString text(std::string_view utf8);
/// "hard interrupt", "softirq", "process", "NMI": for people.
[[nodiscard]] QString contextText(Context context);
/// Why, as the end of "… dropped because": the catalog's words for the reason, without capital and full stop.
[[nodiscard]] QString dropClause(const Trace& trace, DropReasonId reason, FunctionId function);

/// A packet that is worked on nowhere and waits in no queue that the trace names: whether that is because the others of its batch are
/// served. Of a recording it is not known, and a sender's packet is only between two calls.
[[nodiscard]] bool isHeldInBatch(const Trace& trace, const PacketState& packet);

/// The place where packets are dropped for that reason: the catalog's own, else (a rule's own function, an inlined caller)
/// the one of the same reason, if all of them agree about what governs it. Null: the catalog does not say.
[[nodiscard]] const DropSite* dropSite(FunctionId function, DropReasonId reason);

} // namespace skbscope::ui
