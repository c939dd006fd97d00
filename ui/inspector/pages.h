#pragma once
// The catalog as pages: what a function does, what a room is. HTML in the theme's colours; links are "function:NAME",
// "room:KEY", "setting:NAME".

#include "core/trace/drop_explanation.h"
#include "core/trace/event.h"
#include "core/trace/journey.h"

#include <QString>
#include <functional>
#include <optional>

namespace skbscope::ui {

class Session;

/// What is known of why that packet was dropped; nothing if it was not. The program around the window gives it.
using ExplainDrop = std::function<std::optional<DropExplanation>(const Trace&, const JourneyIndex&, PacketId)>;

/// The page of one function; session may be null (then without this trace's names and figures).
[[nodiscard]] QString functionPage(const Session* session, FunctionId function);
/// The page of one room: what it is, its limits, its settings with their present values where they are knobs.
[[nodiscard]] QString roomPage(const Session* session, RoomId room);
/// The page of one setting.
[[nodiscard]] QString settingPage(const Session* session, const QString& name);
/// Why a packet was dropped: where, in plain words, what counted it, what governs it with its present value, what helps.
/// Empty: it was not dropped, or not yet at the playhead.
/// Without `explain` only what the event itself says.
[[nodiscard]] QString dropPage(const Session& session, PacketId packet, const ExplainDrop& explain);
/// The hosts' counters at the playhead, with what has come since the trace began, and how full each queue is.
[[nodiscard]] QString hostPage(const Session& session);
[[nodiscard]] QString emptyPage(const QString& words);

} // namespace skbscope::ui
