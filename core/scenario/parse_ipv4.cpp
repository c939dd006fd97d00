// YAML -> routes, pings, ready-made frames.

#include "core/scenario/ipv6_keys.h"
#include "core/scenario/parse_parts.h"

namespace skbscope {

using namespace yaml;

namespace {

void check_device(const YAML::Node& node, const ScenarioHost& host, const std::string& name)
{
    if (name != "lo" && std::ranges::find(host.devices, name, &ScenarioDevice::name) == host.devices.end()) {
        complain(node, fmt::format("host '{}' has no device '{}'", host.name, name));
    }
}

std::vector<Duration> times(const YAML::Node& node)
{
    std::vector<Duration> list;
    each(node, "times", [&](const YAML::Node& t) {
        const Duration at = duration(t, "times");
        if (!list.empty() && at < list.back()) {
            complain(t, "times must ascend");
        }
        list.push_back(at);
    });
    return list;
}

int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/// "02000000009902000000000108004500…"; spaces and colons between bytes do not matter.
std::vector<std::uint8_t> frame(const YAML::Node& node)
{
    std::vector<std::uint8_t> bytes;
    int high = -1;
    for (const char c : scalar(node, "frames")) {
        if (c == ' ' || c == ':') {
            continue;
        }
        const int digit = hex_digit(c);
        if (digit < 0) {
            complain(node, fmt::format("'{}' is no hexadecimal digit", c), "two digits a byte");
        }
        if (high < 0) {
            high = digit;
            continue;
        }
        bytes.push_back(static_cast<std::uint8_t>(high << 4 | digit));
        high = -1;
    }
    if (high >= 0 || bytes.size() < 14 || bytes.size() > 1518) {
        complain(node, fmt::format("a frame of {} bytes", bytes.size()), "14 … 1518 whole bytes");
    }
    return bytes;
}

} // namespace

ScenarioRoute read_route(const YAML::Node& node, const ScenarioHost& host)
{
    ScenarioRoute route;
    Mapping(node, "route")
        .required("to", [&](const YAML::Node& t) { route.to = scalar(t, "to") == "default" ? ScenarioAddress{0, 0} : address_with_prefix(t, "to"); })
        .key("via", [&](const YAML::Node& v) { route.via = address(v, "via"); })
        .key("device",
             [&](const YAML::Node& d) {
                 route.device = name_of(d, "device");
                 check_device(d, host, route.device);
             })
        .key("type",
             [&](const YAML::Node& t) {
                 route.type = scalar(t, "type");
                 static const std::set<std::string> types{"unicast", "unreachable", "blackhole", "prohibit", "throw"};
                 if (!types.contains(route.type)) {
                     complain(t, fmt::format("type is '{}'", route.type), "unicast, unreachable, blackhole, prohibit or throw");
                 }
             })
        .key("src", [&](const YAML::Node& s) { route.source = address(s, "src"); })
        .key("metric", [&](const YAML::Node& m) { route.metric = static_cast<std::uint32_t>(integer(m, "metric", 0, 0xffffffffLL)); })
        .key("mtu", [&](const YAML::Node& m) { route.mtu = static_cast<std::uint32_t>(integer(m, "mtu", 68, 65535)); })
        .done();
    if (route.type == "unicast" && route.device.empty()) {
        complain(node, "route needs 'device'", "only a type that refuses has none");
    }
    if (route.type != "unicast" && (!route.device.empty() || route.via != 0)) {
        complain(node, fmt::format("a route of type {} leads to no device", route.type), "leave out device and via");
    }
    return route;
}

ScenarioPing read_ping(const YAML::Node& node, const ScenarioHost& host)
{
    ScenarioPing ping;
    Mapping(node, "ping")
        .key("name", [&](const YAML::Node& n) { ping.name = name_of(n, "name"); })
        .required("to",
                  [&](const YAML::Node& n) {
                      if (is_ipv6(n)) {
                          ping.address6 = address6(n, "to");
                      } else {
                          ping.address = address(n, "to");
                      }
                  })
        .key("count", [&](const YAML::Node& n) { ping.count = static_cast<std::uint64_t>(integer(n, "count", 0, 1'000'000'000)); })
        .key("size", [&](const YAML::Node& n) { ping.size = static_cast<std::uint32_t>(integer(n, "size", 0, 65507)); })
        .key("interval", [&](const YAML::Node& n) { ping.interval = duration(n, "interval"); })
        .key("start", [&](const YAML::Node& n) { ping.start = duration(n, "start"); })
        .key("times",
             [&](const YAML::Node& n) {
                 ping.times = times(n);
                 ping.count = ping.times.size();
             })
        .key("socket",
             [&](const YAML::Node& n) {
                 const std::string kind = scalar(n, "socket");
                 if (kind != "raw" && kind != "ping") {
                     complain(n, fmt::format("socket is '{}'", kind), "raw or ping");
                 }
                 ping.raw = kind == "raw";
             })
        .key("ttl", [&](const YAML::Node& n) { ping.ttl = static_cast<std::uint8_t>(integer(n, "ttl", 1, 255)); })
        .key("cpu", [&](const YAML::Node& n) { ping.cpu = static_cast<std::uint32_t>(integer(n, "cpu", 0, host.cpus - 1)); })
        .done();
    if (ping.interval == Duration{} && ping.count > 1 && ping.times.empty()) {
        complain(node, "interval is 0", "more than 0, as ping -i has it");
    }
    return ping;
}

ScenarioInjector read_injector(const YAML::Node& node, const ScenarioHost& host)
{
    ScenarioInjector injector;
    Mapping(node, "injector")
        .key("name", [&](const YAML::Node& n) { injector.name = name_of(n, "name"); })
        .required("device",
                  [&](const YAML::Node& n) {
                      injector.device = name_of(n, "device");
                      check_device(n, host, injector.device);
                  })
        .required("frames", [&](const YAML::Node& n) { each(n, "frames", [&](const YAML::Node& f) { injector.frames.push_back(frame(f)); }); })
        .key("gap", [&](const YAML::Node& n) { injector.gap = duration(n, "gap"); })
        .key("start", [&](const YAML::Node& n) { injector.start = duration(n, "start"); })
        .key("times", [&](const YAML::Node& n) { injector.times = times(n); })
        .key("cpu", [&](const YAML::Node& n) { injector.cpu = static_cast<std::uint32_t>(integer(n, "cpu", 0, host.cpus - 1)); })
        .done();
    if (!injector.times.empty() && injector.times.size() != injector.frames.size()) {
        complain(node["times"], fmt::format("{} times for {} frames", injector.times.size(), injector.frames.size()));
    }
    return injector;
}

} // namespace skbscope
