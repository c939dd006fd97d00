#include "capture/lab/on_veth.h"

#include <algorithm>
#include <fmt/format.h>
#include <set>

namespace skbscope::lab {

namespace {

constexpr std::size_t longest_name = 15; // IFNAMSIZ - 1

std::uint32_t network_of(const ScenarioAddress& address)
{
    return address.prefix == 0 ? 0 : address.address >> (32U - address.prefix) << (32U - address.prefix);
}

bool holds(const ScenarioAddress& network, std::uint32_t address)
{
    return network_of(network) == network_of({address, network.prefix});
}

class Converter {
public:
    Converter(const Scenario& scenario, bool other_drivers) : from_(scenario), other_drivers_(other_drivers) {}

    Result<OnVeth> run()
    {
        to_.scenario = from_;
        to_.scenario.stations.clear();
        if (const auto good = hosts(); !good) {
            return tl::unexpected(good.error());
        }
        for (const ScenarioStation& station : from_.stations) {
            if (const auto good = add_station(station); !good) {
                return tl::unexpected(good.error());
            }
        }
        for (const ScenarioHost& host : to_.scenario.hosts) {
            add_sinks(host);
        }
        return std::move(to_);
    }

private:
    Result<void> hosts()
    {
        auto& list = to_.scenario.hosts;
        unsigned number = 0;
        for (std::size_t h = 0; h < list.size(); ++h) {
            ScenarioHost& host = list[h];
            if (h != 0 && host.namespace_of.empty()) {
                to_.remarks.push_back(fmt::format("host {} is a namespace of {}, and shares its CPUs", host.name, list.front().name));
                host.namespace_of = list.front().name;
            }
            for (ScenarioDevice& device : host.devices) {
                if (const auto good = check_device(device); !good) {
                    return good;
                }
                ++number;
                if (device.mac == MacAddress{}) {
                    device.mac.bytes = {0x02, 0, 0, 0, 0x10, static_cast<std::uint8_t>(number)};
                }
                devices_.insert(device.name);
            }
        }
        return {};
    }

    Result<void> check_device(ScenarioDevice& device)
    {
        if (devices_.contains(device.name)) {
            return fail(ErrorKind::unsupported, device.name, "two devices bear that name, and a kernel's trace tells devices by their names",
                        "give one of them another name");
        }
        if (device.link.empty()) {
            return fail(ErrorKind::unsupported, device.name, "has no cable, and a veth always has a peer", "give it a link");
        }
        if (device.driver == "veth") {
            return {};
        }
        if (!other_drivers_) {
            return fail(ErrorKind::unsupported, device.name, fmt::format("this machine has no {} to build the scenario on", device.driver),
                        "--on-veth runs it on veths instead");
        }
        to_.remarks.push_back(fmt::format("{} is a veth, not {}: no rings, interrupts, rate or delay", device.name, device.driver));
        if (device.loss_ppm != 0) {
            to_.remarks.push_back(fmt::format("{} loses no frames", device.name));
        }
        const ScenarioDevice old = device;
        device = ScenarioDevice{};
        device.name = old.name;
        device.driver = "veth";
        device.mac = old.mac;
        device.addresses = old.addresses;
        device.addresses6 = old.addresses6;
        device.ipv6 = old.ipv6;
        device.mtu = old.mtu;
        device.txqueuelen = old.txqueuelen;
        device.qdisc = old.qdisc;
        device.promiscuous = old.promiscuous;
        device.irq_cpu = old.irq_cpu;
        device.link = old.link;
        device.rps_cpus = old.rps_cpus;
        device.rps_cpus.resize(std::min<std::size_t>(device.rps_cpus.size(), 1)); // a veth made without more has one queue
        device.rx_checksum = old.rx_checksum;
        device.tx_checksum = old.tx_checksum;
        device.tso = old.tso;
        return {};
    }

    std::string peer_name(const std::string& name)
    {
        for (const char* mark : {"p", "q", "r", "s"}) {
            std::string candidate = name.substr(0, longest_name - 1) + mark;
            if (devices_.insert(candidate).second) {
                return candidate;
            }
        }
        return name.substr(0, longest_name - 2) + "pp";
    }

    Result<void> add_station(const ScenarioStation& station)
    {
        ScenarioHost space;
        space.name = station.name;
        space.namespace_of = to_.scenario.hosts.front().name;
        space.cpus = to_.scenario.hosts.front().cpus;
        std::uint32_t cpu = 0;
        for (ScenarioHost& host : to_.scenario.hosts) {
            for (ScenarioDevice& device : host.devices) {
                if (device.link != station.name) {
                    continue;
                }
                if (!space.devices.empty()) {
                    return fail(ErrorKind::unsupported, station.name, "several cables lead to one station, which would need a bridge",
                                "give each cable a station of its own");
                }
                cpu = device.irq_cpu;
                join(host, device, space, station);
            }
        }
        if (space.devices.empty()) {
            return {}; // nobody can reach it
        }
        if (!station.answers_arp) {
            space.sysctls["net.ipv4.conf.all.arp_ignore"] = 8;
        }
        if (!station.answers_ping) {
            space.sysctls["net.ipv4.icmp_echo_ignore_all"] = 1;
        }
        std::size_t number = 0;
        for (const ScenarioFlow& flow : station.flows) {
            ScenarioSender sender;
            sender.name = fmt::format("{}-{}", station.name, ++number);
            sender.address = flow.address;
            sender.address6 = flow.address6;
            sender.port = flow.port;
            sender.from_port = flow.from_port;
            sender.count = flow.count;
            sender.size = flow.size;
            sender.gap = flow.gap;
            sender.start = flow.start;
            sender.cpu = cpu;
            space.senders.push_back(std::move(sender));
        }
        if (!station.flows.empty()) {
            to_.remarks.push_back(fmt::format("station {} is a namespace whose senders run on CPU {}, where {}'s interrupts would be", station.name,
                                              cpu, space.devices.front().link));
        }
        to_.scenario.hosts.push_back(std::move(space));
        return {};
    }

    /// The far end of `device`, in the station's namespace.
    void join(ScenarioHost& host, ScenarioDevice& device, ScenarioHost& space, const ScenarioStation& station)
    {
        ScenarioDevice end;
        end.name = peer_name(device.name);
        end.driver = "veth";
        end.mac = station.mac;
        if (end.mac == MacAddress{}) {
            end.mac.bytes = {0x02, 0, 0, 0, 0x20, static_cast<std::uint8_t>(to_.scenario.hosts.size())};
        }
        end.mtu = device.mtu;
        end.irq_cpu = device.irq_cpu;
        end.link = host.name + "." + device.name;
        device.link = space.name + "." + end.name;
        const auto gateway = std::ranges::find_if(device.addresses, [&](const ScenarioAddress& mine) { return holds(mine, station.address); });
        if (station.address != 0) {
            const std::uint8_t prefix = gateway != device.addresses.end() ? gateway->prefix : std::uint8_t{24};
            end.addresses.push_back({station.address, prefix});
        }
        if (station.address6.v6) {
            end.addresses6.push_back({station.address6, device.addresses6.empty() ? std::uint8_t{64} : device.addresses6.front().prefix});
        }
        end.ipv6 = device.ipv6 && (station.address6.v6 || !device.addresses6.empty());
        // A station sends everything to the far end of its cable, and never asks for an address.
        if (gateway != device.addresses.end()) {
            space.routes.push_back({.to = {0, 0}, .via = gateway->address, .device = end.name});
        }
        for (const ScenarioAddress& address : device.addresses) {
            space.neighbours.push_back({.address = address.address, .address6 = {}, .mac = device.mac, .device = end.name});
        }
        for (const ScenarioAddress6& address : device.addresses6) {
            space.neighbours.push_back({.address = 0, .address6 = address.address, .mac = device.mac, .device = end.name});
        }
        space.devices.push_back(std::move(end));
    }

    /// What is sent to a station is taken there without an answer: a reader for each port.
    void add_sinks(const ScenarioHost& host)
    {
        for (const ScenarioSender& sender : host.senders) {
            for (ScenarioHost& space : to_.scenario.hosts) {
                const bool is_station = std::ranges::any_of(from_.stations, [&](const ScenarioStation& s) { return s.name == space.name; });
                const bool is_there = std::ranges::any_of(space.devices, [&](const ScenarioDevice& device) {
                    return sender.address6.v6 ? std::ranges::any_of(device.addresses6, [&](const auto& a) { return a.address == sender.address6; })
                                              : std::ranges::any_of(device.addresses, [&](const auto& a) { return a.address == sender.address; });
                });
                if (!is_station || !is_there ||
                    std::ranges::any_of(space.receivers, [&](const auto& r) { return r.port == sender.port && r.address6.v6 == sender.address6.v6; })) {
                    continue;
                }
                ScenarioReceiver sink;
                sink.name = fmt::format("sink-{}", sender.port);
                sink.port = sender.port;
                if (sender.address6.v6) {
                    sink.address6 = IpAddress::any6();
                }
                sink.cpu = to_.scenario.hosts.front().cpus - 1;
                space.receivers.push_back(std::move(sink));
            }
        }
    }

    const Scenario& from_;
    bool other_drivers_;
    OnVeth to_;
    std::set<std::string> devices_;
};

} // namespace

Result<OnVeth> on_veth(const Scenario& scenario, bool other_drivers)
{
    if (scenario.hosts.empty()) {
        return fail(ErrorKind::invalid, scenario.title, "has no host");
    }
    auto converted = Converter(scenario, other_drivers).run();
    if (!converted) {
        return converted;
    }
    // What the model cannot run is no scenario.
    auto checked = parse_scenario(to_text(converted->scenario), scenario.title + " on veths");
    if (!checked) {
        return tl::unexpected(checked.error());
    }
    converted->scenario = std::move(*checked);
    return converted;
}

} // namespace skbscope::lab
