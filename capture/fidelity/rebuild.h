#pragma once
// From a manifest back to a scenario: the machines, links, settings and traffic of a recording as the model takes them.
// The rules hold for any recording of that form; what the model cannot express is an error that names it.

#include "capture/fidelity/manifest.h"
#include "core/scenario/scenario.h"

#include <map>
#include <string>
#include <vector>

namespace skbscope {

struct Rebuilt {
    Scenario scenario;
    std::uint64_t base = 0;          ///< model time = trace clock − base
    SimTime end;                     ///< model time at which the last phase ends
    std::map<std::size_t, std::string> refused; ///< phases that the model cannot run, and why; their traffic is left out
    std::vector<std::string> notes;  ///< what could not be taken over and does not decide about packets
};

/// Errors: unsupported ("the model has no …"), invalid (the manifest contradicts itself).
[[nodiscard]] Result<Rebuilt> rebuild_scenario(const Manifest& manifest);

/// Whether what happens in the phase hangs on how fast the recorded CPU was: bursts whose send times are not known, or
/// that are sent as fast as the sender can.
[[nodiscard]] bool hangs_on_speed(const ManifestPhase& phase);

} // namespace skbscope
