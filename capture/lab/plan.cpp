#include "capture/lab/plan.h"

#include "capture/lab/qdisc_words.h"

#include <algorithm>
#include <fmt/format.h>

namespace skbscope::lab {

namespace {

using Words = std::vector<std::string>;

std::string v4_text(std::uint32_t address)
{
    return IpAddress::v4(address).text();
}

bool speaks_ipv6(const ScenarioHost& host)
{
    return !host.routes6.empty() || host.ipv6_forwarding ||
           std::ranges::any_of(host.devices, [](const auto& device) { return !device.addresses6.empty(); }) ||
           std::ranges::any_of(host.receivers, [](const auto& receiver) { return receiver.address6.v6; }) ||
           std::ranges::any_of(host.senders, [](const auto& sender) { return sender.address6.v6; });
}

class Planner {
public:
    Planner(const Scenario& scenario, const std::string& prefix, unsigned cpus) : scenario_(scenario), prefix_(prefix), cpus_(cpus) {}

    Result<Plan> run()
    {
        if (const auto good = check(); !good) {
            return tl::unexpected(good.error());
        }
        for (std::size_t h = 0; h < scenario_.hosts.size(); ++h) {
            plan_.spaces.push_back({fmt::format("{}-{}", prefix_, h), h});
            plan_.links.push_back({{"ip", "netns", "add", space(h)}, {}, "a network namespace"});
        }
        for (std::size_t h = 0; h < scenario_.hosts.size(); ++h) {
            links_of(h);
            settings_of(h);
        }
        for (std::size_t h = 0; h < scenario_.hosts.size(); ++h) {
            devices_of(h);
        }
        for (std::size_t h = 0; h < scenario_.hosts.size(); ++h) {
            routes_of(h);
            rules_of(h);
        }
        return std::move(plan_);
    }

private:
    [[nodiscard]] const std::string& space(std::size_t h) const { return plan_.spaces[h].name; }

    Result<void> check()
    {
        const ScenarioHost& machine = scenario_.hosts.front();
        if (machine.cpus > cpus_) {
            return fail(ErrorKind::unsupported, machine.name, fmt::format("the scenario asks for {} CPUs, this machine has {}", machine.cpus, cpus_),
                        "cpus: of the scenario");
        }
        for (const ScenarioHost& host : scenario_.hosts) {
            if (!host.pktgens.empty()) {
                return fail(ErrorKind::unsupported, host.name, "the lab does not drive pktgen", "use a sender instead");
            }
            if (!host.lsm.empty()) {
                plan_.remarks.push_back(fmt::format("{}: security modules are as this machine has them", host.name));
            }
            if (!host.default_qdisc.empty()) {
                plan_.remarks.push_back(fmt::format("{}: default_qdisc does not matter to a veth, which has noqueue", host.name));
            }
        }
        return {};
    }

    /// Each pair is made once, from the end that stands first.
    void links_of(std::size_t h)
    {
        for (const ScenarioDevice& device : scenario_.hosts[h].devices) {
            for (std::size_t o = 0; o < scenario_.hosts.size(); ++o) {
                for (const ScenarioDevice& other : scenario_.hosts[o].devices) {
                    const std::string mine = scenario_.hosts[h].name + "." + device.name;
                    const bool is_peer = device.link == scenario_.hosts[o].name + "." + other.name || other.link == mine;
                    if (!is_peer || std::pair(o, other.name) < std::pair(h, device.name)) {
                        continue;
                    }
                    plan_.links.push_back({{"ip", "-n", space(h), "link", "add", "name", device.name, "address", device.mac.text(), "type",
                                            "veth", "peer", "name", other.name, "address", other.mac.text(), "netns", space(o)},
                                           {},
                                           "a veth pair (module veth)"});
                }
            }
        }
    }

    void settings_of(std::size_t h)
    {
        const ScenarioHost& host = scenario_.hosts[h];
        const auto set = [&](const std::string& name, const std::string& value, bool needed) {
            plan_.settings.push_back({h, name, value, needed, -1});
        };
        if (!speaks_ipv6(host)) { // else listener reports and solicitations of IPv6 would mix with the scenario's packets
            set("net.ipv6.conf.all.disable_ipv6", "1", false);
            set("net.ipv6.conf.default.disable_ipv6", "1", false);
        } else {
            for (const char* which : {"all", "default"}) {
                set(fmt::format("net.ipv6.conf.{}.accept_dad", which), "0", false);
                set(fmt::format("net.ipv6.conf.{}.router_solicitations", which), "0", false);
            }
            if (host.ipv6_forwarding) {
                set("net.ipv6.conf.all.forwarding", "1", true);
            }
            for (const ScenarioDevice& device : host.devices) {
                if (!device.ipv6) {
                    set(fmt::format("net.ipv6.conf.{}.disable_ipv6", device.name), "1", true);
                }
            }
        }
        for (const auto& [name, value] : host.sysctls) {
            setting(h, name, value);
        }
    }

    /// The model's names of settings that hold several numbers are one number each.
    void setting(std::size_t h, const std::string& name, std::int64_t value)
    {
        for (const std::string_view triple : {"net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"}) {
            for (std::size_t i = 0; i < 3; ++i) {
                static constexpr std::string_view parts[] = {"min", "default", "max"};
                if (name == fmt::format("{}.{}", triple, parts[i])) {
                    plan_.settings.push_back({h, std::string(triple), std::to_string(value), true, static_cast<int>(i)});
                    return;
                }
            }
        }
        if (name == "net.ipv4.udp_mem") {
            plan_.settings.push_back({h, name, fmt::format("{} {} {}", value / 2, value * 3 / 4, value), true, -1});
            return;
        }
        plan_.settings.push_back({h, name, std::to_string(value), true, -1});
    }

    void ip(std::size_t h, Words words, std::string purpose)
    {
        words.insert(words.begin(), {"ip", "-n", space(h)});
        plan_.addresses.push_back({std::move(words), {}, std::move(purpose)});
    }

    void devices_of(std::size_t h)
    {
        const ScenarioHost& host = scenario_.hosts[h];
        ip(h, {"link", "set", "dev", "lo", "up"}, "loopback");
        for (const ScenarioDevice& device : host.devices) {
            ip(h, {"link", "set", "dev", device.name, "mtu", std::to_string(device.mtu), "txqueuelen", std::to_string(device.txqueuelen)},
               "MTU of " + device.name);
            if (device.promiscuous) {
                ip(h, {"link", "set", "dev", device.name, "promisc", "on"}, "promiscuous mode of " + device.name);
            }
            for (const auto& [off, feature] : {std::pair(!device.tx_checksum, "tx"), std::pair(!device.tso, "tso")}) {
                if (off) {
                    plan_.addresses.push_back({{"ip", "netns", "exec", space(h), "ethtool", "-K", device.name, feature, "off"}, {},
                                               fmt::format("{} offload of {} (ethtool)", feature, device.name)});
                }
            }
            for (const ScenarioAddress& address : device.addresses) {
                ip(h, {"address", "add", fmt::format("{}/{}", v4_text(address.address), address.prefix), "dev", device.name}, "address of " + device.name);
            }
            for (const ScenarioAddress6& address : device.addresses6) {
                ip(h, {"-6", "address", "add", fmt::format("{}/{}", address.address.text(), address.prefix), "dev", device.name, "nodad"},
                   "IPv6 address of " + device.name);
            }
            ip(h, {"link", "set", "dev", device.name, "up"}, device.name + " up");
            plan_.devices.emplace_back(h, device.name);
            for (std::size_t queue = 0; queue < device.rps_cpus.size(); ++queue) {
                if (device.rps_cpus[queue] != 0) {
                    plan_.rps.push_back({h, device.name, static_cast<std::uint32_t>(queue), device.rps_cpus[queue]});
                }
            }
        }
    }

    void routes_of(std::size_t h)
    {
        const ScenarioHost& host = scenario_.hosts[h];
        for (const ScenarioRoute& route : host.routes) {
            Words words{"route", "add"};
            if (route.type != "unicast") {
                words.push_back(route.type);
            }
            words.push_back(route.to.prefix == 0 ? "default" : fmt::format("{}/{}", v4_text(route.to.address), route.to.prefix));
            const auto with = [&](bool given, const char* word, std::string value) {
                if (given) {
                    words.insert(words.end(), {word, std::move(value)});
                }
            };
            with(route.via != 0, "via", v4_text(route.via));
            with(!route.device.empty(), "dev", route.device);
            with(route.source != 0, "src", v4_text(route.source));
            with(route.metric != 0, "metric", std::to_string(route.metric));
            with(route.mtu != 0, "mtu", std::to_string(route.mtu));
            ip(h, std::move(words), "a route");
        }
        for (const ScenarioRoute6& route : host.routes6) {
            Words words{"-6", "route", "add"};
            if (route.kind != "unicast") {
                words.push_back(route.kind);
            }
            words.push_back(route.to.prefix == 0 ? "default" : fmt::format("{}/{}", route.to.address.text(), route.to.prefix));
            if (!route.via.is_any()) {
                words.insert(words.end(), {"via", route.via.text()});
            }
            if (!route.device.empty()) {
                words.insert(words.end(), {"dev", route.device});
            }
            words.insert(words.end(), {"metric", std::to_string(route.metric)});
            ip(h, std::move(words), "an IPv6 route");
        }
        for (const ScenarioNeighbour& neighbour : host.neighbours) {
            plan_.neighbours.push_back({{"ip", "-n", space(h), "neigh", "replace",
                                         neighbour.address6.v6 ? neighbour.address6.text() : v4_text(neighbour.address), "lladdr", neighbour.mac.text(), "dev",
                                         neighbour.device, "nud", neighbour.stale ? "stale" : "reachable"},
                                        {},
                                        "a neighbour entry"});
        }
    }

    void rules_of(std::size_t h)
    {
        const ScenarioHost& host = scenario_.hosts[h];
        for (const ScenarioDevice& device : host.devices) {
            if (device.qdisc) {
                for (Command& command : qdisc_commands(space(h), device.name, *device.qdisc)) {
                    plan_.rules.push_back(std::move(command));
                }
            }
        }
        if (!host.nft.empty()) {
            plan_.rules.push_back({{"ip", "netns", "exec", space(h), "nft", "-f", "-"}, host.nft, "rules of nft (module nf_tables)"});
        }
        if (!host.iptables.empty()) {
            plan_.rules.push_back({{"ip", "netns", "exec", space(h), "iptables-restore"}, host.iptables, "rules of iptables"});
        }
    }

    const Scenario& scenario_;
    const std::string& prefix_;
    unsigned cpus_;
    Plan plan_;
};

} // namespace

Result<Plan> make_plan(const Scenario& scenario, const std::string& prefix, unsigned cpus)
{
    return Planner(scenario, prefix, cpus).run();
}

} // namespace skbscope::lab
