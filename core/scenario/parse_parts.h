#pragma once
// The parts of a scenario that are read in files of their own. Each throws yaml::Complaint, which parse_scenario() catches.

#include "core/kernel/filter.h"
#include "core/scenario/yaml_reader.h"

namespace skbscope {

/// parse_taps.cpp. `host`: as read so far, with its devices and CPUs.
[[nodiscard]] ScenarioTap read_tap(const YAML::Node& node, const ScenarioHost& host);
/// parse_tcp.cpp
[[nodiscard]] ScenarioTcp read_tcp_client(const YAML::Node& node, const ScenarioHost& host);
[[nodiscard]] ScenarioTcp read_tcp_server(const YAML::Node& node, const ScenarioHost& host);
/// A filter in tcpdump's language that libpcap's compiler accepts.
[[nodiscard]] std::string filter_text(const YAML::Node& node, std::uint32_t keep, kernel::FilterBase base);

/// parse_ipv4.cpp
[[nodiscard]] ScenarioRoute read_route(const YAML::Node& node, const ScenarioHost& host);
[[nodiscard]] ScenarioPing read_ping(const YAML::Node& node, const ScenarioHost& host);
[[nodiscard]] ScenarioInjector read_injector(const YAML::Node& node, const ScenarioHost& host);
/// parse_rules.cpp. The text of rules for "nft" or "iptables" that its reader accepts.
[[nodiscard]] std::string rules_text(const YAML::Node& node, std::string_view key);

} // namespace skbscope
