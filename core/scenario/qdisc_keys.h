#pragma once
// The `qdisc` of a device and the `tc` commands of a host: reading and writing them.

#include "core/scenario/yaml_reader.h"

namespace skbscope {

/// "fq_codel", or a mapping with `kind` and its settings, in tc's words and units.
[[nodiscard]] kernel::QdiscSpec read_qdisc(const YAML::Node& node, std::uint32_t mtu);
/// One of a host's `tc` entries.
[[nodiscard]] ScenarioTc read_tc(const YAML::Node& node, const ScenarioHost& host);
void emit_qdisc(YAML::Emitter& out, const kernel::QdiscSpec& spec);
void emit_tc(YAML::Emitter& out, const ScenarioTc& change);

} // namespace skbscope
