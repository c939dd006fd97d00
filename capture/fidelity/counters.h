#pragma once
// The kernel's counters over a whole recording, model against manifest, and against the packets of their own side: every
// packet's end has a counter, and both have to tell the same number.

#include "capture/fidelity/manifest.h"
#include "core/trace/trace.h"

#include <map>
#include <string>
#include <vector>

namespace skbscope {

/// Namespace -> name -> moved by.
using CounterMoves = std::map<std::string, std::map<std::string, std::int64_t>>;

/// Of all hosts of a model's trace.
[[nodiscard]] CounterMoves counter_moves_of(const Trace& model);

struct FidelityCounter {
    std::string net, name;
    std::int64_t model = 0, recorded = 0;
    std::string elsewhere; ///< what moved it that is no part of the phases; empty: the difference is the model's
};

struct CounterResult {
    std::vector<FidelityCounter> differing;
    std::size_t compared = 0; ///< that moved on either side
};

/// softnet_stat counts the CPUs of a machine: there the manifest's namespaces show the same numbers, and the model's hosts are
/// added up. A difference that other traffic of the machine made, as the recording proves, says so in `elsewhere`.
[[nodiscard]] CounterResult compare_counters(const Manifest& manifest, CounterMoves model);

/// Of connections, whose segments are as many as both machines' speed makes them: what moved differently, but by no more and no less
/// than in one or the other of these runs of the model, says so in `elsewhere`.
void explain_by_pace(CounterResult& result, const std::vector<CounterMoves>& paces);

/// How many packets met which end ("delivered", "dropped SOCKET_RCVBUFF").
using PacketEnds = std::map<std::string, std::int64_t>;

/// Where ends and counters of one side tell different numbers; a line each. `machine` are the moves of softnet_stat over all
/// hosts. `tells_reasons`: false for kernels whose drops have no reasons; then their sum is held against the counters.
[[nodiscard]] std::vector<std::string> unbalanced(const PacketEnds& ends, const std::map<std::string, std::int64_t>& counters,
                                                  const std::map<std::string, std::int64_t>& machine, bool tells_reasons);

/// The counters of drops that moved on one side only, a line each.
[[nodiscard]] std::vector<std::string> drops_of_one_side(const std::map<std::string, std::int64_t>& model, const std::map<std::string, std::int64_t>& model_machine,
                                                         const std::map<std::string, std::int64_t>& recorded);

/// softnet_stat over all hosts.
[[nodiscard]] std::map<std::string, std::int64_t> of_machine(const CounterMoves& moves);

} // namespace skbscope
