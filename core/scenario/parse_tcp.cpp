// YAML -> applications that speak TCP.

#include "core/scenario/parse_parts.h"

namespace skbscope {

using namespace yaml;

namespace {

constexpr std::int64_t most_bytes = std::int64_t{1} << 40; // a terabyte: more than a run will see

void read_common(Mapping& mapping, ScenarioTcp& app, const ScenarioHost& host)
{
    mapping.key("name", [&](const YAML::Node& n) { app.name = name_of(n, "name"); })
        .key("send", [&](const YAML::Node& n) { app.send = static_cast<std::uint64_t>(integer(n, "send", 0, most_bytes)); })
        .key("receive", [&](const YAML::Node& n) { app.receive = static_cast<std::uint64_t>(integer(n, "receive", 0, most_bytes)); })
        .key("chunk", [&](const YAML::Node& n) { app.chunk = static_cast<std::uint64_t>(integer(n, "chunk", 0, 1 << 20)); })
        .key("read", [&](const YAML::Node& n) { app.read = static_cast<std::uint32_t>(integer(n, "read", 1, 1 << 20)); })
        .key("work", [&](const YAML::Node& n) { app.work = duration(n, "work"); })
        .key("steal", [&](const YAML::Node& n) { app.steal = duration(n, "steal"); })
        .key("rcvbuf", [&](const YAML::Node& n) { app.rcvbuf = static_cast<std::uint32_t>(integer(n, "rcvbuf", 2304, std::numeric_limits<std::int32_t>::max())); })
        .key("sndbuf", [&](const YAML::Node& n) { app.sndbuf = static_cast<std::uint32_t>(integer(n, "sndbuf", 4608, std::numeric_limits<std::int32_t>::max())); })
        .key("until_end", [&](const YAML::Node& n) { app.until_end = boolean(n, "until_end"); })
        .key("nodelay", [&](const YAML::Node& n) { app.nodelay = boolean(n, "nodelay"); })
        .key("cpu", [&](const YAML::Node& n) { app.cpu = static_cast<std::uint32_t>(integer(n, "cpu", 0, host.cpus - 1)); });
}

} // namespace

ScenarioTcp read_tcp_client(const YAML::Node& node, const ScenarioHost& host)
{
    ScenarioTcp app;
    app.name = "client";
    Mapping mapping(node, "tcp_client");
    read_common(mapping, app, host);
    mapping.required("to", [&](const YAML::Node& n) { std::tie(app.address, app.port) = endpoint(n, "to"); })
        .key("from_port", [&](const YAML::Node& n) { app.from_port = static_cast<std::uint16_t>(integer(n, "from_port", 1, 65535)); })
        .key("from_address", [&](const YAML::Node& n) { app.from_address = address(n, "from_address"); })
        .key("count", [&](const YAML::Node& n) { app.count = static_cast<std::uint64_t>(integer(n, "count", 0, 1'000'000)); })
        .key("gap", [&](const YAML::Node& n) { app.gap = duration(n, "gap"); })
        .key("start", [&](const YAML::Node& n) { app.start = duration(n, "start"); })
        .done();
    return app;
}

ScenarioTcp read_tcp_server(const YAML::Node& node, const ScenarioHost& host)
{
    ScenarioTcp app;
    app.name = "server";
    app.server = true;
    Mapping mapping(node, "tcp_server");
    read_common(mapping, app, host);
    mapping.required("port", [&](const YAML::Node& n) { app.port = static_cast<std::uint16_t>(integer(n, "port", 1, 65535)); })
        .key("address", [&](const YAML::Node& n) { app.address = address(n, "address"); })
        .key("backlog", [&](const YAML::Node& n) { app.backlog = static_cast<std::uint32_t>(integer(n, "backlog", 0, 65535)); })
        .key("accept", [&](const YAML::Node& n) { app.accept = boolean(n, "accept"); })
        .done();
    for (const ScenarioTcp& other : host.tcp) {
        if (other.server && other.port == app.port && (other.address == app.address || other.address == 0 || app.address == 0)) {
            complain(node, fmt::format("port {} is taken by '{}' already", app.port, other.name), "one listener per address and port");
        }
    }
    return app;
}

} // namespace skbscope
