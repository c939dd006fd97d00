#pragma once
// Settings of the lab's namespaces: sysctls, and CPUs of receive queues.

#include "capture/lab/plan.h"
#include "capture/lab/undo.h"
#include "core/result.h"

namespace skbscope::lab {

/// Whose a setting is in this kernel.
enum class Scope : std::uint8_t { absent, space, host };

/// A namespace sees only what is its own; what only the initial one shows (or lets be written) is the whole host's. Looks
/// from inside `space`.
[[nodiscard]] Result<Scope> scope_of(const std::string& name, const std::string& space);

/// Sets all of the plan; those of the whole host only if that is allowed, with what they were noted for taking back.
/// Errors: not_permitted (a setting of the whole host), unsupported (this kernel lacks it), invalid (the kernel refuses it).
[[nodiscard]] Result<void> apply_settings(const Plan& plan, bool host_settings, UndoList& undo);
[[nodiscard]] Result<void> apply_rps(const Plan& plan);
/// Takes the masks back. A device that goes with one leaves the kernel's switch for RPS (rps_needed) on for the whole machine.
void clear_rps(const Plan& plan);

/// "1 2 3" with the second replaced; part -1: `value` alone.
[[nodiscard]] std::string with_part(const std::string& present, int part, const std::string& value);

} // namespace skbscope::lab
