// YAML -> Scenario. Every complaint carries line and column.

#include "core/scenario/device_settings.h"
#include "core/scenario/ipv6_keys.h"
#include "core/scenario/scenario.h"
#include "core/scenario/qdisc_keys.h"
#include "core/scenario/sysctls.h"
#include "core/scenario/parse_parts.h"
#include "core/scenario/pktgen.h"
#include "core/scenario/yaml_document.h"
#include "core/scenario/yaml_reader.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fmt/format.h>
#include <fstream>
#include <limits>
#include <map>
#include <set>
#include <yaml-cpp/depthguard.h>
#include <yaml-cpp/yaml.h>

namespace skbscope {

namespace {

constexpr std::size_t largest_file = 1 << 20; // a scenario is a page, not a book

using namespace yaml;

/// A mask as sysfs shows it ("3", "ff", "1,00000000"), for all receive queues or, in a list, for each of them.
std::vector<std::uint64_t> read_rps_cpus(const YAML::Node& node, std::uint32_t queues, std::uint32_t cpus)
{
    const auto mask = [&](const YAML::Node& n) {
        std::string text = scalar(n, "rps_cpus");
        std::erase(text, ',');
        std::uint64_t value = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
        const bool too_many = cpus < 64 && (value >> cpus) != 0;
        if (text.empty() || error != std::errc{} || end != text.data() + text.size() || too_many) {
            complain(n, fmt::format("rps_cpus must be a hexadecimal mask of the host's {} CPUs, not '{}'", cpus, scalar(n, "rps_cpus")), "such as 2: CPU 1");
        }
        return value;
    };
    if (!node.IsSequence()) {
        return std::vector<std::uint64_t>(queues, mask(node));
    }
    if (node.size() > queues) {
        complain(node, fmt::format("{} masks for {} receive queues", node.size(), queues));
    }
    std::vector<std::uint64_t> masks;
    for (const YAML::Node& one : node) {
        masks.push_back(mask(one));
    }
    masks.resize(queues, 0);
    return masks;
}

/// {port: 5008, bytes: 68056-85432}: the last is not lost any more.
kernel::LostBytes read_lost_bytes(const YAML::Node& node)
{
    kernel::LostBytes lost;
    Mapping(node, "lose")
        .required("port", [&](const YAML::Node& n) { lost.port = static_cast<std::uint16_t>(integer(n, "port", 1, 65535)); })
        .required("bytes",
                  [&](const YAML::Node& n) {
                      const std::string text = scalar(n, "bytes");
                      const char* end = text.data() + text.size();
                      const auto from = std::from_chars(text.data(), end, lost.from);
                      const bool has_dash = from.ec == std::errc{} && from.ptr != end && *from.ptr == '-';
                      const auto to = has_dash ? std::from_chars(from.ptr + 1, end, lost.to) : from;
                      if (!has_dash || to.ec != std::errc{} || to.ptr != end || lost.from >= lost.to || lost.to > 0xffffffff) {
                          complain(n, fmt::format("bytes must be a range such as 1448-2896, not '{}'", text), "counted from 0, the last one not included");
                      }
                  })
        .done();
    return lost;
}

/// "0.5%" or "0.5": percent. In frames of a million.
std::uint32_t read_loss(const YAML::Node& node)
{
    std::string text = scalar(node, "loss");
    if (text.ends_with('%')) {
        text.pop_back();
    }
    char* end = nullptr;
    const double percent = std::strtod(text.c_str(), &end);
    if (end == text.c_str() || *end != '\0' || !(percent >= 0 && percent <= 100)) {
        complain(node, fmt::format("loss must be a share such as 0.5%, not '{}'", scalar(node, "loss")), "0% … 100%");
    }
    return static_cast<std::uint32_t>(percent * 10'000 + 0.5);
}

ScenarioDevice read_device(const YAML::Node& node, const ScenarioHost& host)
{
    ScenarioDevice device;
    bool has_mac = false;
    const auto ring = [](const YAML::Node& n, const char* key) {
        const auto value = static_cast<std::uint32_t>(integer(n, key, 48, 4096));
        if (value % 8 != 0) {
            complain(n, fmt::format("{} is {}", key, value), "the e1000 takes multiples of 8");
        }
        return value;
    };
    Mapping keys(node, "device");
    keys.required("name", [&](const YAML::Node& n) { device.name = name_of(n, "name"); })
        .key("driver",
             [&](const YAML::Node& n) {
                 device.driver = scalar(n, "driver");
                 constexpr std::string_view drivers[] = {"e1000", "e1000e", "virtio_net", "veth"};
                 if (std::ranges::find(drivers, device.driver) == std::end(drivers)) {
                     complain(n, fmt::format("driver '{}' is not modelled", device.driver), "e1000, e1000e, virtio_net or veth; every host has lo by itself");
                 }
             })
        .key("mac", [&](const YAML::Node& n) { device.mac = mac(n), has_mac = true; })
        .key("address", [&](const YAML::Node& n) { add_address(n, "address", device); })
        .key("addresses",
             [&](const YAML::Node& n) {
                 each(n, "addresses", [&](const YAML::Node& a) { add_address(a, "addresses", device); });
             })
        .key("ipv6", [&](const YAML::Node& n) { device.ipv6 = boolean(n, "ipv6"); })
        .key("mtu", [&](const YAML::Node& n) { device.mtu = static_cast<std::uint32_t>(integer(n, "mtu", 576, 1500)); })
        .key("rx_ring", [&](const YAML::Node& n) { device.rx_ring = ring(n, "rx_ring"); })
        .key("tx_ring", [&](const YAML::Node& n) { device.tx_ring = ring(n, "tx_ring"); })
        .key("copybreak", [&](const YAML::Node& n) { device.copybreak = static_cast<std::uint32_t>(integer(n, "copybreak", 0, 1522)); })
        .key("txqueuelen", [&](const YAML::Node& n) { device.txqueuelen = static_cast<std::uint32_t>(integer(n, "txqueuelen", 1, 1000000)); })
        .key("qdisc", [&](const YAML::Node& n) { device.qdisc = read_qdisc(n, device.mtu); })
        .key("rate", [&](const YAML::Node& n) { device.rate = rate(n); })
        .key("rx_checksum", [&](const YAML::Node& n) { device.rx_checksum = boolean(n, "rx_checksum"); })
        .key("tx_checksum", [&](const YAML::Node& n) { device.tx_checksum = boolean(n, "tx_checksum"); })
        .key("tso", [&](const YAML::Node& n) { device.tso = boolean(n, "tso"); })
        .key("tso_empty_tail", [&](const YAML::Node& n) { device.tso_empty_tail = boolean(n, "tso_empty_tail"); })
        .key("promiscuous", [&](const YAML::Node& n) { device.promiscuous = boolean(n, "promiscuous"); })
        .key("irq_cpu", [&](const YAML::Node& n) { device.irq_cpu = static_cast<std::uint32_t>(integer(n, "irq_cpu", 0, host.cpus - 1)); })
        .key("queues",
             [&](const YAML::Node& n) {
                 device.queues = static_cast<std::uint32_t>(integer(n, "queues", 1, 16));
                 if (device.queues > 1 && device.driver != "virtio_net") {
                     complain(n, fmt::format("{} has one pair of queues", device.driver), "virtio_net can have several");
                 }
             })
        .key("rx_usecs", [&](const YAML::Node& n) { device.rx_usecs = static_cast<std::uint32_t>(integer(n, "rx_usecs", 0, 100000)); })
        .key("tx_timer",
             [&](const YAML::Node& n) {
                 device.tx_timer = duration(n, "tx_timer");
                 if (device.driver != "virtio_net") {
                     complain(n, fmt::format("{} has no transmit timer", device.driver), "it is a way of QEMU's virtio_net");
                 }
             })
        .key("tx_irq_delay",
             [&](const YAML::Node& n) {
                 device.tx_irq_delay = duration(n, "tx_irq_delay");
                 if (device.driver != "virtio_net") {
                     complain(n, fmt::format("{} has no late transmit interrupt", device.driver), "the host of a virtio_net can be late with it");
                 }
             })
        .key("irq_delay",
             [&](const YAML::Node& n) {
                 device.irq_delay = duration(n, "irq_delay");
                 if (device.driver == "veth") {
                     complain(n, "a veth has no interrupts", "other devices can have late ones");
                 }
             })
        .key("gro", [&](const YAML::Node& n) { device.gro = boolean(n, "gro"); })
        .key("rps_cpus", [&](const YAML::Node& n) { device.rps_cpus = read_rps_cpus(n, device.queues, host.cpus); })
        .key("delay", [&](const YAML::Node& n) { device.delay = duration(n, "delay"); })
        .key("loss", [&](const YAML::Node& n) { device.loss_ppm = read_loss(n); })
        .key("lose", [&](const YAML::Node& n) { each(n, "lose", [&](const YAML::Node& one) { device.lose.push_back(read_lost_bytes(one)); }); })
        .key("link", [&](const YAML::Node& n) { device.link = name_of(n, "link"); })
        .key("peer",
             [&](const YAML::Node& n) {
                 device.link = name_of(n, "peer");
                 if (device.driver != "veth") {
                     complain(n, fmt::format("{} has no peer", device.driver), "a veth has; other devices have a link");
                 }
             });
    for (const DeviceSettingRow& row : device_setting_rows()) {
        if (row.in_scenario) {
            keys.key(row.name.data(), [&](const YAML::Node& n) { // a literal: it ends in a zero
                const std::int64_t value = integer(n, row.name, row.minimum, row.maximum);
                if (value != row.kernel_default) {
                    device.settings[std::string(row.name)] = value;
                }
            });
        }
    }
    keys.done();
    if (!has_mac) {
        // Locally administered, from the names: the same in every run.
        std::uint32_t hash = 2166136261U;
        for (const char c : host.name + "." + device.name) {
            hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
        }
        device.mac.bytes = {0x02, 0x00, static_cast<std::uint8_t>(hash >> 24), static_cast<std::uint8_t>(hash >> 16),
                            static_cast<std::uint8_t>(hash >> 8), static_cast<std::uint8_t>(hash)};
    }
    return device;
}

std::uint32_t cpu_of(const YAML::Node& n, const ScenarioHost& host)
{
    return static_cast<std::uint32_t>(integer(n, "cpu", 0, host.cpus - 1));
}

constexpr std::int64_t most_datagrams = 10'000'000;
constexpr std::size_t most_applications = 1000; // of a kind, on one host: each may hear of every packet
constexpr std::int64_t largest_payload = 65507;

ScenarioReceiver read_receiver(const YAML::Node& node, const ScenarioHost& host)
{
    ScenarioReceiver receiver;
    Mapping(node, "receiver")
        .key("name", [&](const YAML::Node& n) { receiver.name = name_of(n, "name"); })
        .required("port", [&](const YAML::Node& n) { receiver.port = static_cast<std::uint16_t>(integer(n, "port", 1, 65535)); })
        .key("address",
             [&](const YAML::Node& n) {
                 if (is_ipv6(n)) {
                     receiver.address6 = address6(n, "address");
                 } else {
                     receiver.address = address(n, "address");
                 }
             })
        .key("ipv6only", [&](const YAML::Node& n) { receiver.ipv6only = boolean(n, "ipv6only"); })
        .key("rcvbuf", [&](const YAML::Node& n) { receiver.rcvbuf = static_cast<std::uint32_t>(integer(n, "rcvbuf", 2304, std::numeric_limits<std::int32_t>::max())); })
        .key("reuseport", [&](const YAML::Node& n) { receiver.reuseport = boolean(n, "reuseport"); })
        .key("reuseaddr", [&](const YAML::Node& n) { receiver.reuseaddr = boolean(n, "reuseaddr"); })
        .key("connect", [&](const YAML::Node& n) { std::tie(receiver.peer, receiver.peer_port) = endpoint(n, "connect"); })
        .key("cpu", [&](const YAML::Node& n) { receiver.cpu = cpu_of(n, host); })
        .key("wait",
             [&](const YAML::Node& n) {
                 const std::string text = scalar(n, "wait");
                 if (text != "poll" && text != "recvfrom") {
                     complain(n, fmt::format("wait is '{}'", text), "poll or recvfrom");
                 }
                 receiver.poll = text == "poll";
             })
        .key("work", [&](const YAML::Node& n) { receiver.work = duration(n, "work"); })
        .key("filter_keep", [&](const YAML::Node& n) { receiver.filter_keep = static_cast<std::uint32_t>(integer(n, "filter_keep", 1, 262144)); })
        .key("filter", [&](const YAML::Node& n) { receiver.filter = filter_text(n, receiver.filter_keep, kernel::FilterBase::network_header); })
        .key("start", [&](const YAML::Node& n) { receiver.start = duration(n, "start"); })
        .done();
    return receiver;
}

ScenarioSender read_sender(const YAML::Node& node, const ScenarioHost& host)
{
    ScenarioSender sender;
    Mapping(node, "sender")
        .key("name", [&](const YAML::Node& n) { sender.name = name_of(n, "name"); })
        .required("to", [&](const YAML::Node& n) { take_endpoint(n, "to", sender); })
        .key("from_port", [&](const YAML::Node& n) { sender.from_port = static_cast<std::uint16_t>(integer(n, "from_port", 1, 65535)); })
        .key("connect", [&](const YAML::Node& n) { sender.connect = boolean(n, "connect"); })
        .key("broadcast", [&](const YAML::Node& n) { sender.broadcast = boolean(n, "broadcast"); })
        .key("sndbuf", [&](const YAML::Node& n) { sender.sndbuf = static_cast<std::uint32_t>(integer(n, "sndbuf", 4608, std::numeric_limits<std::int32_t>::max())); })
        .key("count", [&](const YAML::Node& n) { sender.count = static_cast<std::uint64_t>(integer(n, "count", 0, most_datagrams)); })
        .key("size", [&](const YAML::Node& n) { sender.size = static_cast<std::uint32_t>(integer(n, "size", 0, largest_payload)); })
        .key("gap", [&](const YAML::Node& n) { sender.gap = duration(n, "gap"); })
        .key("start", [&](const YAML::Node& n) { sender.start = duration(n, "start"); })
        .key("times",
             [&](const YAML::Node& n) {
                 each(n, "times", [&](const YAML::Node& t) {
                     const Duration at = duration(t, "times");
                     if (!sender.times.empty() && at < sender.times.back()) {
                         complain(t, "times must ascend");
                     }
                     sender.times.push_back(at);
                 }, most_datagrams);
                 sender.count = sender.times.size();
             })
        .key("ttl", [&](const YAML::Node& n) { sender.ttl = static_cast<std::uint8_t>(integer(n, "ttl", 1, 255)); })
        .key("cpu", [&](const YAML::Node& n) { sender.cpu = cpu_of(n, host); })
        .done();
    return sender;
}

void check_sysctl(const YAML::Node& key, const YAML::Node& value, ScenarioHost& host)
{
    const std::string name = scalar(key, "sysctl");
    const auto range = sysctl_range(name);
    if (!range) {
        complain(key, range.error().what, range.error().remedy);
    }
    if (!host.namespace_of.empty() && is_machine_wide(name)) {
        complain(key, fmt::format("{} is the whole machine's", name), fmt::format("it stands with '{}'", host.namespace_of));
    }
    host.sysctls[name] = integer(value, name, range->minimum, range->maximum);
}

void check_device_name(const YAML::Node& node, const ScenarioHost& host, const std::string& name)
{
    if (std::ranges::find(host.devices, name, &ScenarioDevice::name) == host.devices.end()) {
        complain(node, fmt::format("host '{}' has no device '{}'", host.name, name));
    }
}

/// The two sockets cannot have the same port.
bool overlap(const ScenarioReceiver& a, const ScenarioReceiver& b)
{
    if (a.address6.v6 && b.address6.v6) {
        return a.address6.is_any() || b.address6.is_any() || a.address6 == b.address6;
    }
    if (a.address6.v6 || b.address6.v6) { // of two families: only where the IPv6 socket takes both
        const ScenarioReceiver& six = a.address6.v6 ? a : b;
        return six.address6.is_any() && !six.ipv6only;
    }
    return a.address == b.address || a.address == 0 || b.address == 0;
}

ScenarioRoute6 read_route6(const YAML::Node& node, const ScenarioHost& host)
{
    ScenarioRoute6 route;
    Mapping(node, "route")
        .required("to",
                  [&](const YAML::Node& t) {
                      route.to = scalar(t, "to") == "default" ? ScenarioAddress6{IpAddress::any6(), 0} : address6_with_prefix(t, "to");
                  })
        .key("via", [&](const YAML::Node& v) { route.via = address6(v, "via"); })
        .key("device", [&](const YAML::Node& d) { route.device = name_of(d, "device"), check_device_name(d, host, route.device); })
        .key("metric", [&](const YAML::Node& m) { route.metric = static_cast<std::uint32_t>(integer(m, "metric", 1, 1'000'000)); })
        .key("kind",
             [&](const YAML::Node& k) {
                 route.kind = scalar(k, "kind");
                 if (route.kind != "unicast" && route.kind != "unreachable" && route.kind != "prohibit" && route.kind != "blackhole") {
                     complain(k, fmt::format("kind is '{}'", route.kind), "unicast, unreachable, prohibit or blackhole");
                 }
             })
        .done();
    if (route.kind == "unicast" && route.device.empty()) {
        complain(node, "a route needs its device");
    }
    return route;
}

double read_cost_scale(const YAML::Node& node)
{
    const std::string text = scalar(node, "cost_scale");
    char* end = nullptr;
    const double factor = std::strtod(text.c_str(), &end);
    if (*end != '\0' || !(factor >= 0.001 && factor <= 1000)) {
        complain(node, fmt::format("cost_scale is '{}'", text), "allowed: 0.001 … 1000");
    }
    return factor;
}

/// `before`: the hosts that stand before it, which it may be a namespace of.
ScenarioHost read_host(const YAML::Node& node, const std::vector<ScenarioHost>& before)
{
    ScenarioHost host;
    Mapping(node, "host")
        .key("name", [&](const YAML::Node& n) { host.name = name_of(n, "name"); })
        .key("namespace_of",
             [&](const YAML::Node& n) {
                 host.namespace_of = name_of(n, "namespace_of");
                 const auto machine = std::ranges::find(before, host.namespace_of, &ScenarioHost::name);
                 if (machine == before.end() || !machine->namespace_of.empty()) {
                     complain(n, fmt::format("'{}' is no host with CPUs of its own that stands before", host.namespace_of));
                 }
                 if (node["cpus"]) {
                     complain(node["cpus"], "a namespace has no CPUs of its own", fmt::format("those of '{}' are meant", host.namespace_of));
                 }
                 host.cpus = machine->cpus;
             })
        .key("cost_scale",
             [&](const YAML::Node& n) {
                 host.cost_scale = read_cost_scale(n);
                 if (!host.namespace_of.empty()) {
                     complain(n, "a namespace has no CPUs of its own", fmt::format("those of '{}' are meant", host.namespace_of));
                 }
             })
        .key("cpus", [&](const YAML::Node& n) { host.cpus = static_cast<std::uint32_t>(integer(n, "cpus", 1, 64)); })
        .key("sysctls",
             [&](const YAML::Node& n) {
                 if (!n.IsMap()) {
                     complain(n, "sysctls must be a mapping of names to values");
                 }
                 for (const auto& entry : n) {
                     check_sysctl(entry.first, entry.second, host);
                 }
             })
        .key("devices",
             [&](const YAML::Node& n) {
                 each(n, "devices", [&](const YAML::Node& d) {
                     ScenarioDevice device = read_device(d, host);
                     if (device.name == "lo" || std::ranges::find(host.devices, device.name, &ScenarioDevice::name) != host.devices.end()) {
                         complain(d, fmt::format("device '{}' stands twice", device.name), "lo is there by itself");
                     }
                     host.devices.push_back(std::move(device));
                 }, 256);
             })
        .key("ipv6_forwarding", [&](const YAML::Node& n) { host.ipv6_forwarding = boolean(n, "ipv6_forwarding"); })
        .key("routes",
             [&](const YAML::Node& n) {
                 each(n, "routes", [&](const YAML::Node& r) {
                     if (r.IsMap() && ((r["to"] && is_ipv6(r["to"])) || (r["via"] && is_ipv6(r["via"])))) {
                         host.routes6.push_back(read_route6(r, host));
                     } else {
                         host.routes.push_back(read_route(r, host));
                     }
                 });
             })
        .key("neighbours",
             [&](const YAML::Node& n) {
                 each(n, "neighbours", [&](const YAML::Node& e) {
                     ScenarioNeighbour neighbour;
                     Mapping(e, "neighbour")
                         .required("address",
                                   [&](const YAML::Node& a) {
                                       if (is_ipv6(a)) {
                                           neighbour.address6 = address6(a, "address");
                                       } else {
                                           neighbour.address = address(a, "address");
                                       }
                                   })
                         .required("mac", [&](const YAML::Node& m) { neighbour.mac = mac(m); })
                         .required("device", [&](const YAML::Node& d) { neighbour.device = name_of(d, "device"), check_device_name(d, host, neighbour.device); })
                         .key("stale", [&](const YAML::Node& s) { neighbour.stale = boolean(s, "stale"); })
                         .key("used", [&](const YAML::Node& u) { neighbour.used = boolean(u, "used"); })
                         .done();
                     host.neighbours.push_back(neighbour);
                 });
             })
        .key("receivers",
             [&](const YAML::Node& n) {
                 std::map<std::uint16_t, std::vector<std::size_t>> at_port; // the replay of a scan of ports has thousands of receivers
                 each(n, "receivers", [&](const YAML::Node& r) {
                     const ScenarioReceiver receiver = read_receiver(r, host);
                     for (const std::size_t index : at_port[receiver.port]) {
                         const ScenarioReceiver& other = host.receivers[index];
                         const bool shared = (other.reuseport && receiver.reuseport) || (other.reuseaddr && receiver.reuseaddr);
                         if (!shared && overlap(other, receiver)) {
                             complain(r, fmt::format("port {} is taken by '{}' already", receiver.port, other.name), "one socket per address and port");
                         }
                     }
                     at_port[receiver.port].push_back(host.receivers.size());
                     host.receivers.push_back(receiver);
                 }, 65535);
             })
        .key("pings", [&](const YAML::Node& n) { each(n, "pings", [&](const YAML::Node& p) { host.pings.push_back(read_ping(p, host)); }, most_applications); })
        .key("injectors", [&](const YAML::Node& n) { each(n, "injectors", [&](const YAML::Node& i) { host.injectors.push_back(read_injector(i, host)); }, most_applications); })
        .key("lsm",
             [&](const YAML::Node& n) {
                 host.lsm = scalar(n, "lsm");
                 if (host.lsm == "none") {
                     host.lsm.clear();
                 } else if (host.lsm != "apparmor") {
                     complain(n, fmt::format("lsm '{}' is not modelled", host.lsm), "apparmor, none");
                 }
             })
        .key("nft", [&](const YAML::Node& n) { host.nft = rules_text(n, "nft"); })
        .key("iptables", [&](const YAML::Node& n) { host.iptables = rules_text(n, "iptables"); })
        .key("tcp_servers", [&](const YAML::Node& n) { each(n, "tcp_servers", [&](const YAML::Node& s) { host.tcp.push_back(read_tcp_server(s, host)); }, most_applications); })
        .key("tcp_clients", [&](const YAML::Node& n) { each(n, "tcp_clients", [&](const YAML::Node& s) { host.tcp.push_back(read_tcp_client(s, host)); }, most_applications); })
        .key("pktgens", [&](const YAML::Node& n) { each(n, "pktgens", [&](const YAML::Node& g) { host.pktgens.push_back(read_pktgen(g, host)); }, most_applications); })
        .key("taps", [&](const YAML::Node& n) { each(n, "taps", [&](const YAML::Node& t) { host.taps.push_back(read_tap(t, host)); }, most_applications); })
        .key("default_qdisc",
             [&](const YAML::Node& n) {
                 host.default_qdisc = scalar(n, "default_qdisc");
                 if (host.default_qdisc != "pfifo_fast" && host.default_qdisc != "fq_codel" && host.default_qdisc != "pfifo") {
                     complain(n, fmt::format("default_qdisc is '{}'", host.default_qdisc), "pfifo_fast, fq_codel or pfifo");
                 }
             })
        .key("tc", [&](const YAML::Node& n) { each(n, "tc", [&](const YAML::Node& t) { host.tc.push_back(read_tc(t, host)); }); })
        .key("senders", [&](const YAML::Node& n) { each(n, "senders", [&](const YAML::Node& s) { host.senders.push_back(read_sender(s, host)); }, most_applications); })
        .done();
    return host;
}

ScenarioStation read_station(const YAML::Node& node)
{
    ScenarioStation station;
    if (node.IsMap() && !node["address"] && !node["address6"]) {
        complain(node, "station lacks the key 'address'", "an IPv4 or IPv6 address");
    }
    Mapping(node, "station")
        .required("name", [&](const YAML::Node& n) { station.name = name_of(n, "name"); })
        .required("mac", [&](const YAML::Node& n) { station.mac = mac(n); })
        .key("address",
             [&](const YAML::Node& n) {
                 if (is_ipv6(n)) {
                     station.address6 = address6(n, "address");
                 } else {
                     station.address = address(n, "address");
                 }
             })
        .key("address6", [&](const YAML::Node& n) { station.address6 = address6(n, "address6"); })
        .key("answers_arp", [&](const YAML::Node& n) { station.answers_arp = boolean(n, "answers_arp"); })
        .key("answers_ping", [&](const YAML::Node& n) { station.answers_ping = boolean(n, "answers_ping"); })
        .key("reply_delay", [&](const YAML::Node& n) { station.reply_delay = duration(n, "reply_delay"); })
        .key("sends",
             [&](const YAML::Node& n) {
                 each(n, "sends", [&](const YAML::Node& s) {
                     ScenarioFlow flow;
                     Mapping(s, "sends")
                         .required("to", [&](const YAML::Node& t) { take_endpoint(t, "to", flow); })
                         .key("from_port", [&](const YAML::Node& f) { flow.from_port = static_cast<std::uint16_t>(integer(f, "from_port", 1, 65535)); })
                         .key("count", [&](const YAML::Node& c) { flow.count = static_cast<std::uint64_t>(integer(c, "count", 0, most_datagrams)); })
                         .key("size", [&](const YAML::Node& z) { flow.size = static_cast<std::uint32_t>(integer(z, "size", 0, 1472)); })
                         .key("gap", [&](const YAML::Node& g) { flow.gap = duration(g, "gap"); })
                         .key("start", [&](const YAML::Node& b) { flow.start = duration(b, "start"); })
                         .done();
                     station.flows.push_back(flow);
                 });
             })
        .done();
    return station;
}

/// The machine that a host of the scenario is, or is a namespace of.
const std::string& machine_of(const ScenarioHost& host)
{
    return host.namespace_of.empty() ? host.name : host.namespace_of;
}

/// A veth's peer is another veth of the same machine, and that one's peer, if it names one, is this.
void check_veth(const YAML::Node& at, const Scenario& scenario, std::size_t h, std::size_t d)
{
    const ScenarioHost& mine = scenario.hosts[h];
    const std::string name = mine.name + "." + mine.devices[d].name;
    const std::string& peer = mine.devices[d].link;
    for (const ScenarioHost& host : scenario.hosts) {
        for (const ScenarioDevice& device : host.devices) {
            if (host.name + "." + device.name != peer || name == peer) {
                continue;
            }
            if (device.driver != "veth" || machine_of(host) != machine_of(mine) || (!device.link.empty() && device.link != name)) {
                complain(at, fmt::format("'{}' cannot be the peer of '{}'", peer, name), "two veths of one machine name each other");
            }
            return;
        }
    }
    complain(at, fmt::format("peer '{}' is not there", peer), "name another veth as host.device");
}

void check_links(const YAML::Node& root, const Scenario& scenario)
{
    std::set<std::string> ends;
    for (std::size_t h = 0; h < scenario.hosts.size(); ++h) {
        for (std::size_t d = 0; d < scenario.hosts[h].devices.size(); ++d) {
            const std::string& link = scenario.hosts[h].devices[d].link;
            if (link.empty()) {
                continue;
            }
            const bool veth = scenario.hosts[h].devices[d].driver == "veth";
            const YAML::Node device_node = root["hosts"][h]["devices"][d];
            const YAML::Node at = device_node["peer"] ? device_node["peer"] : device_node["link"];
            if (veth) {
                check_veth(at, scenario, h, d);
                continue;
            }
            bool found = std::ranges::find(scenario.stations, link, &ScenarioStation::name) != scenario.stations.end();
            for (const ScenarioHost& host : scenario.hosts) {
                for (const ScenarioDevice& device : host.devices) {
                    found = found || (device.driver != "veth" && host.name + "." + device.name == link);
                }
            }
            if (!found || link == scenario.hosts[h].name + "." + scenario.hosts[h].devices[d].name) {
                complain(at, fmt::format("link '{}' leads nowhere", link), "name a station, or another host's device as host.device");
            }
            if (std::ranges::find(scenario.stations, link, &ScenarioStation::name) != scenario.stations.end() && !ends.insert(link).second) {
                complain(at, fmt::format("station '{}' has a cable already", link));
            }
        }
    }
}

Scenario read_scenario(const YAML::Node& root)
{
    Scenario scenario;
    Mapping(root, "scenario")
        .required("skbscope",
                  [&](const YAML::Node& n) {
                      if (scalar(n, "skbscope") != "1") {
                          complain(n, fmt::format("this is scenario format {}", n.Scalar()), "this version reads format 1");
                      }
                  })
        .key("title", [&](const YAML::Node& n) { scenario.title = name_of(n, "title"); })
        .key("kernel",
             [&](const YAML::Node& n) {
                 scenario.kernel = scalar(n, "kernel");
                 if (std::ranges::find(kernel_profiles, scenario.kernel) == std::end(kernel_profiles)) {
                     complain(n, fmt::format("kernel '{}' is not modelled", scenario.kernel), "5.10, 6.1, 6.12 or 6.18");
                 }
             })
        .key("seed", [&](const YAML::Node& n) { scenario.seed = static_cast<std::uint64_t>(integer(n, "seed", 0, std::numeric_limits<std::int64_t>::max())); })
        .key("burst", [&](const YAML::Node& n) { scenario.burst = static_cast<std::uint64_t>(integer(n, "burst", 1, 100000)); })
        .key("cost_scale", [&](const YAML::Node& n) { scenario.cost_scale = read_cost_scale(n); })
        .required("hosts",
                  [&](const YAML::Node& n) {
                      each(n, "hosts", [&](const YAML::Node& h) {
                          ScenarioHost host = read_host(h, scenario.hosts);
                          if (std::ranges::find(scenario.hosts, host.name, &ScenarioHost::name) != scenario.hosts.end()) {
                              complain(h, fmt::format("host '{}' stands twice", host.name), "settings and cables tell hosts apart by their names");
                          }
                          scenario.hosts.push_back(std::move(host));
                      }, 16);
                      if (scenario.hosts.empty()) {
                          complain(n, "a scenario has 1 to 16 hosts");
                      }
                  })
        .key("stations", [&](const YAML::Node& n) { each(n, "stations", [&](const YAML::Node& s) {
                 ScenarioStation station = read_station(s);
                 if (std::ranges::find(scenario.stations, station.name, &ScenarioStation::name) != scenario.stations.end()) {
                     complain(s, fmt::format("station '{}' stands twice", station.name), "cables tell stations apart by their names");
                 }
                 scenario.stations.push_back(std::move(station));
             }, most_applications); })
        .done();
    check_links(root, scenario);
    return scenario;
}

} // namespace

Result<SettingRange> sysctl_range(const std::string& name)
{
    if (const SysctlRow* row = find_sysctl(name)) {
        return SettingRange{row->minimum, row->maximum, kernel::Sysctls{}.*(row->member), std::string(row->unit)};
    }
    if (const auto conf = find_dev_conf(name)) {
        return SettingRange{conf->row->minimum, conf->row->maximum, kernel::Ipv4DevConf::all()[conf->row->which], ""};
    }
    if (const auto conf = find_dev_conf6(name)) {
        return SettingRange{conf->row->minimum, conf->row->maximum, kernel::Ipv6DevConf{}.*(conf->row->member), ""};
    }
    std::vector<std::string_view> names;
    for (const SysctlRow& row : sysctl_rows()) {
        names.push_back(row.name);
    }
    return fail(ErrorKind::invalid, name, fmt::format("the model has no setting '{}'", name), fmt::format("known: {}", fmt::join(names, ", ")));
}

Result<Scenario> parse_scenario(std::string_view text, const std::string& name)
{
    if (text.size() > largest_file) {
        return fail(ErrorKind::invalid, name, "larger than 1 MiB", "a scenario is a short text");
    }
    if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) {
        return fail(ErrorKind::invalid, name, "the file is empty", "a scenario begins with 'skbscope: 1'");
    }
    try {
        return read_scenario(load_document(std::string(text)));
    } catch (const Complaint& complaint) {
        return fail(ErrorKind::invalid, fmt::format("{}:{}:{}", name, complaint.mark.line + 1, complaint.mark.column + 1),
                    complaint.what, complaint.remedy);
    } catch (const YAML::DeepRecursion& error) {
        return fail(ErrorKind::invalid, fmt::format("{}:{}:{}", name, error.mark.line + 1, error.mark.column + 1), "nested too deeply for a scenario",
                    "see docs/scenario-format.md");
    } catch (const YAML::Exception& error) {
        return fail(ErrorKind::invalid, fmt::format("{}:{}:{}", name, error.mark.line + 1, error.mark.column + 1),
                    "not valid YAML: " + error.msg, "see docs/scenario-format.md");
    }
}

Result<Scenario> load_scenario(const std::filesystem::path& path)
{
    std::error_code error;
    if (!std::filesystem::exists(path, error)) {
        return fail(ErrorKind::not_found, path.string(), "no such file");
    }
    std::ifstream file(path, std::ios::binary);
    std::string text;
    text.resize(largest_file + 1);
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    if (!file.eof() && file.fail()) {
        return fail(ErrorKind::unreadable, path.string(), "cannot be read", "check that it is a file and its permissions");
    }
    text.resize(static_cast<std::size_t>(file.gcount()));
    return parse_scenario(text, path.string());
}

SettingKey split_setting_key(const std::string& key)
{
    const std::size_t slash = key.find('/');
    return slash == std::string::npos ? SettingKey{"", key} : SettingKey{key.substr(0, slash), key.substr(slash + 1)};
}

namespace {

/// A number that is the device's own member in the scenario.
bool put_device_member(ScenarioDevice& device, std::string_view name, std::int64_t value)
{
    if (name == "promiscuous") {
        device.promiscuous = value != 0;
    } else if (name == "txqueuelen") {
        device.txqueuelen = static_cast<std::uint32_t>(value);
    } else if (name == "mtu") {
        device.mtu = static_cast<std::uint32_t>(value);
    } else if (name == "rx_usecs") {
        device.rx_usecs = static_cast<std::uint32_t>(value);
    } else if (name == "rx_checksum") {
        device.rx_checksum = value != 0;
    } else if (name == "tx_checksum") {
        device.tx_checksum = value != 0;
    } else if (name == "tso") {
        device.tso = value != 0;
    } else {
        return false;
    }
    return true;
}

void put_device_setting(ScenarioDevice& device, const DeviceSettingRow& row, std::int64_t value)
{
    if (put_device_member(device, row.name, value)) {
        return;
    }
    device.settings[std::string(row.name)] = value;
    if (value == row.kernel_default) {
        device.settings.erase(std::string(row.name));
    }
}

/// DEVICE.NAME of this host, if it is such a key.
bool apply_device_setting(ScenarioHost& host, const std::string& key, const YAML::Node& value)
{
    for (ScenarioDevice& device : host.devices) {
        if (!key.starts_with(device.name + ".")) {
            continue;
        }
        const std::string name = key.substr(device.name.size() + 1);
        if (name == "rx_ring" || name == "tx_ring") {
            const auto size = (static_cast<std::uint32_t>(integer(value, key, 48, 4096)) + 7) & ~7U;
            (name == "rx_ring" ? device.rx_ring : device.tx_ring) = size;
            return true;
        }
        if (name == "gro") {
            device.gro = integer(value, key, 0, 1) != 0;
            return true;
        }
        if (name == "rps_cpus") {
            const std::int64_t all = (std::int64_t{1} << std::min<std::uint32_t>(host.cpus, 16)) - 1;
            const auto mask = static_cast<std::uint64_t>(integer(value, key, 0, all));
            device.rps_cpus.assign(std::max<std::size_t>(1, device.rps_cpus.size()), mask);
            return true;
        }
        if (name == "copybreak") {
            device.copybreak = static_cast<std::uint32_t>(integer(value, key, 0, 1522));
            return true;
        }
        if (const DeviceSettingRow* row = find_device_setting(name)) {
            put_device_setting(device, *row, integer(value, key, row->minimum, row->maximum));
            return true;
        }
    }
    return false;
}

} // namespace

Result<void> apply_setting(Scenario& scenario, std::string_view assignment)
{
    const std::size_t equals = assignment.find('=');
    const std::string whole(assignment);
    if (equals == std::string_view::npos) {
        return fail(ErrorKind::usage, whole, "not of the form KEY=VALUE");
    }
    const auto [wanted, key] = split_setting_key(std::string(assignment.substr(0, equals)));
    const YAML::Node value(std::string(assignment.substr(equals + 1)));
    const auto is_meant = [&wanted = wanted](const ScenarioHost& host) { return wanted.empty() || host.name == wanted; };
    if (std::ranges::none_of(scenario.hosts, is_meant)) {
        return fail(ErrorKind::invalid, whole, fmt::format("the scenario has no host '{}'", wanted), "HOST/KEY=VALUE, or KEY=VALUE for all");
    }
    try {
        if (const auto range = sysctl_range(key)) {
            for (ScenarioHost& host : scenario.hosts) {
                const bool has_it = host.namespace_of.empty() || !is_machine_wide(key);
                if (!is_meant(host) || (!has_it && wanted.empty())) {
                    continue;
                }
                if (!has_it) {
                    return fail(ErrorKind::invalid, whole, fmt::format("{} is the whole machine's", key), fmt::format("{}/{}=…", host.namespace_of, key));
                }
                host.sysctls[key] = integer(value, key, range->minimum, range->maximum);
            }
            return {};
        }
        const auto all_traffic = [&](auto change) {
            for (ScenarioHost& host : scenario.hosts) {
                for (ScenarioSender& sender : host.senders) {
                    change(sender);
                }
            }
            for (ScenarioStation& station : scenario.stations) {
                for (ScenarioFlow& flow : station.flows) {
                    change(flow);
                }
            }
        };
        if (key == "count") {
            const auto count = static_cast<std::uint64_t>(integer(value, key, 0, most_datagrams));
            all_traffic([&](auto& traffic) { traffic.count = count; });
            return {};
        }
        if (key == "size") {
            const auto size = static_cast<std::uint32_t>(integer(value, key, 0, 1472));
            all_traffic([&](auto& traffic) { traffic.size = size; });
            return {};
        }
        if (key == "gap") {
            const Duration gap = duration(value, key);
            all_traffic([&](auto& traffic) { traffic.gap = gap; });
            return {};
        }
        if (key == "seed") {
            scenario.seed = static_cast<std::uint64_t>(integer(value, key, 0, std::numeric_limits<std::int64_t>::max()));
            return {};
        }
        if (key == "burst") {
            scenario.burst = static_cast<std::uint64_t>(integer(value, key, 1, 100000));
            return {};
        }
        bool found = false;
        for (ScenarioHost& host : scenario.hosts) {
            if (!is_meant(host)) {
                continue;
            }
            for (ScenarioReceiver& receiver : host.receivers) {
                if (key == fmt::format(":{}.SO_RCVBUF", receiver.port)) {
                    receiver.rcvbuf = static_cast<std::uint32_t>(integer(value, key, 2304, std::numeric_limits<std::int32_t>::max()));
                    found = true;
                }
            }
            found = apply_device_setting(host, key, value) || found;
        }
        if (found) {
            return {};
        }
    } catch (const Complaint& complaint) {
        return fail(ErrorKind::invalid, whole, complaint.what, complaint.remedy);
    }
    return fail(ErrorKind::invalid, whole, fmt::format("the scenario has no setting '{}'", key),
                "a sysctl, :PORT.SO_RCVBUF, DEVICE.rx_ring (tx_ring, copybreak, gro, rps_cpus and others), count, size, gap, burst, seed");
}

} // namespace skbscope
