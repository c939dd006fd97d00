#pragma once
// What the lab will do on this host for a scenario, worked out before anything is done: namespaces, the tools' commands in
// their order, settings. A pure function of the scenario.

#include "capture/lab/tool.h"
#include "core/result.h"
#include "core/scenario/scenario.h"

#include <cstdint>
#include <string>
#include <vector>

namespace skbscope::lab {

/// A network namespace for a host of the scenario.
struct Namespace {
    std::string name;      ///< as ip-netns(8) knows it
    std::size_t host = 0;  ///< row of Scenario::hosts
};

/// A sysctl of a namespace, or of the whole host where the kernel keeps only one.
struct SettingChange {
    std::size_t space = 0; ///< row of Plan::spaces
    std::string name;      ///< "net.ipv4.ip_forward"
    std::string value;
    bool needed = true;    ///< false: where this kernel lacks it, nothing is lost
    int part = -1;         ///< of a setting of several numbers: the one that changes; -1: all
};

/// CPUs that a receive queue hands its packets to (rps_cpus in sysfs).
struct RpsChange {
    std::size_t space = 0;
    std::string device;
    std::uint32_t queue = 0;
    std::uint64_t cpus = 0;
};

struct Plan {
    std::vector<Namespace> spaces;
    std::vector<Command> links;           ///< namespaces and devices
    std::vector<SettingChange> settings;  ///< before addresses and links are up
    std::vector<Command> addresses;       ///< addresses, links up, routes
    std::vector<Command> neighbours;      ///< run again right before the traffic: they are as young as in the model then
    std::vector<RpsChange> rps;
    std::vector<Command> rules;           ///< qdiscs, nft, iptables
    std::vector<std::pair<std::size_t, std::string>> devices; ///< (space, name): those that must be up before the traffic
    std::vector<std::string> remarks;     ///< what is not as the scenario says, one line each
};

/// `prefix` begins the names of the namespaces: letters, digits and dashes. `cpus` is how many this machine has.
/// The scenario is one of namespaces and veths, see on_veth(). Errors: unsupported, with the piece that is missing.
[[nodiscard]] Result<Plan> make_plan(const Scenario& scenario, const std::string& prefix, unsigned cpus);

} // namespace skbscope::lab
