// Scenario -> YAML, in the order in which a person would write it; defaults are left out.

#include "core/scenario/qdisc_keys.h"
#include "core/scenario/pktgen.h"
#include "core/scenario/scenario.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

namespace skbscope {

namespace {

std::string with_unit(Duration d)
{
    for (const auto& [unit, ns] : {std::pair{"s", 1'000'000'000LL}, std::pair{"ms", 1'000'000LL}, std::pair{"us", 1'000LL}}) {
        if (d.ns != 0 && d.ns % ns == 0) {
            return fmt::format("{}{}", d.ns / ns, unit);
        }
    }
    return fmt::format("{}ns", d.ns);
}

std::string text(const ScenarioAddress& address)
{
    return fmt::format("{}/{}", IpAddress::v4(address.address).text(), address.prefix);
}

std::string text(const ScenarioAddress6& address)
{
    return fmt::format("{}/{}", address.address.text(), address.prefix);
}

std::string endpoint(std::uint32_t address, std::uint16_t port)
{
    return fmt::format("{}:{}", IpAddress::v4(address).text(), port);
}

template <typename Value>
void put(YAML::Emitter& out, const char* key, const Value& value)
{
    out << YAML::Key << key << YAML::Value << value;
}

template <typename Value>
void put_unless(YAML::Emitter& out, const char* key, const Value& value, const Value& usual)
{
    if (value != usual) {
        put(out, key, value);
    }
}

void emit(YAML::Emitter& out, const ScenarioDevice& device)
{
    const ScenarioDevice usual;
    out << YAML::BeginMap;
    put(out, "name", device.name);
    put_unless(out, "driver", device.driver, usual.driver);
    put(out, "mac", device.mac.text());
    if (device.addresses.size() + device.addresses6.size() == 1) {
        put(out, "address", device.addresses.empty() ? text(device.addresses6.front()) : text(device.addresses.front()));
    } else if (!device.addresses.empty() || !device.addresses6.empty()) {
        out << YAML::Key << "addresses" << YAML::Value << YAML::Flow << YAML::BeginSeq;
        for (const ScenarioAddress& address : device.addresses) {
            out << text(address);
        }
        for (const ScenarioAddress6& address : device.addresses6) {
            out << text(address);
        }
        out << YAML::EndSeq;
    }
    put_unless(out, "ipv6", device.ipv6, usual.ipv6);
    put_unless(out, "mtu", device.mtu, usual.mtu);
    put_unless(out, "rx_ring", device.rx_ring, usual.rx_ring);
    put_unless(out, "tx_ring", device.tx_ring, usual.tx_ring);
    put_unless(out, "copybreak", device.copybreak, usual.copybreak);
    put_unless(out, "txqueuelen", device.txqueuelen, usual.txqueuelen);
    if (device.qdisc) {
        out << YAML::Key << "qdisc" << YAML::Value;
        emit_qdisc(out, *device.qdisc);
    }
    put_unless(out, "rate", device.rate, usual.rate);
    put_unless(out, "rx_checksum", device.rx_checksum, usual.rx_checksum);
    put_unless(out, "tx_checksum", device.tx_checksum, usual.tx_checksum);
    put_unless(out, "tso", device.tso, usual.tso);
    put_unless(out, "tso_empty_tail", device.tso_empty_tail, usual.tso_empty_tail);
    put_unless(out, "promiscuous", device.promiscuous, usual.promiscuous);
    put_unless(out, "irq_cpu", device.irq_cpu, usual.irq_cpu);
    put_unless(out, "queues", device.queues, usual.queues);
    put_unless(out, "rx_usecs", device.rx_usecs, usual.rx_usecs);
    if (device.tx_timer != usual.tx_timer) {
        put(out, "tx_timer", fmt::format("{}ns", device.tx_timer.ns));
    }
    if (device.tx_irq_delay != usual.tx_irq_delay) {
        put(out, "tx_irq_delay", fmt::format("{}ns", device.tx_irq_delay.ns));
    }
    if (device.irq_delay != usual.irq_delay) {
        put(out, "irq_delay", fmt::format("{}ns", device.irq_delay.ns));
    }
    put_unless(out, "gro", device.gro, usual.gro);
    for (const auto& [name, value] : device.settings) {
        put(out, name.c_str(), value);
    }
    if (device.delay != usual.delay) {
        put(out, "delay", fmt::format("{}ns", device.delay.ns));
    }
    if (device.loss_ppm != 0) {
        put(out, "loss", fmt::format("{}.{:04}%", device.loss_ppm / 10'000, device.loss_ppm % 10'000));
    }
    if (!device.lose.empty()) {
        out << YAML::Key << "lose" << YAML::Value << YAML::Flow << YAML::BeginSeq;
        for (const kernel::LostBytes& lost : device.lose) {
            out << YAML::Flow << YAML::BeginMap;
            put(out, "port", lost.port);
            put(out, "bytes", fmt::format("{}-{}", lost.from, lost.to));
            out << YAML::EndMap;
        }
        out << YAML::EndSeq;
    }
    if (!device.rps_cpus.empty()) {
        out << YAML::Key << "rps_cpus" << YAML::Value << YAML::Flow << YAML::BeginSeq;
        for (const std::uint64_t mask : device.rps_cpus) {
            out << fmt::format("{:x}", mask);
        }
        out << YAML::EndSeq;
    }
    put_unless(out, device.driver == "veth" ? "peer" : "link", device.link, usual.link);
    out << YAML::EndMap;
}

void emit(YAML::Emitter& out, const ScenarioRoute6& route)
{
    const ScenarioRoute6 usual;
    out << YAML::BeginMap;
    put(out, "to", text(route.to));
    if (!route.via.is_any()) {
        put(out, "via", route.via.text());
    }
    put_unless(out, "device", route.device, usual.device);
    put_unless(out, "kind", route.kind, usual.kind);
    put_unless(out, "metric", route.metric, usual.metric);
    out << YAML::EndMap;
}

void emit(YAML::Emitter& out, const ScenarioReceiver& receiver)
{
    const ScenarioReceiver usual;
    out << YAML::BeginMap;
    put_unless(out, "name", receiver.name, usual.name);
    put(out, "port", receiver.port);
    if (receiver.address6.v6) {
        put(out, "address", receiver.address6.text());
    } else if (receiver.address != 0) {
        put(out, "address", IpAddress::v4(receiver.address).text());
    }
    put_unless(out, "ipv6only", receiver.ipv6only, usual.ipv6only);
    put_unless(out, "rcvbuf", receiver.rcvbuf, usual.rcvbuf);
    put_unless(out, "reuseport", receiver.reuseport, usual.reuseport);
    put_unless(out, "reuseaddr", receiver.reuseaddr, usual.reuseaddr);
    if (receiver.peer_port != 0) {
        put(out, "connect", fmt::format("{}:{}", IpAddress::v4(receiver.peer).text(), receiver.peer_port));
    }
    put_unless(out, "cpu", receiver.cpu, usual.cpu);
    if (!receiver.poll) {
        put(out, "wait", "recvfrom");
    }
    if (receiver.work != usual.work) {
        put(out, "work", with_unit(receiver.work));
    }
    put_unless(out, "filter", receiver.filter, usual.filter);
    put_unless(out, "filter_keep", receiver.filter_keep, usual.filter_keep);
    if (receiver.start != usual.start) {
        put(out, "start", with_unit(receiver.start));
    }
    out << YAML::EndMap;
}

template <typename Traffic>
void emit_traffic(YAML::Emitter& out, const Traffic& traffic, const Traffic& usual)
{
    put(out, "to", traffic.address6.v6 ? fmt::format("[{}]:{}", traffic.address6.text(), traffic.port) : endpoint(traffic.address, traffic.port));
    put_unless(out, "from_port", traffic.from_port, usual.from_port);
    put_unless(out, "count", traffic.count, usual.count);
    put_unless(out, "size", traffic.size, usual.size);
    if (traffic.gap != usual.gap) {
        put(out, "gap", with_unit(traffic.gap));
    }
    if (traffic.start != usual.start) {
        put(out, "start", with_unit(traffic.start));
    }
}

void emit(YAML::Emitter& out, const ScenarioTap& tap)
{
    const ScenarioTap usual;
    out << YAML::BeginMap;
    put_unless(out, "name", tap.name, usual.name);
    put_unless(out, "device", tap.device, usual.device);
    if (!tap.mmap) {
        put(out, "kind", std::string("packet"));
    }
    put_unless(out, "version", tap.version, usual.version);
    put_unless(out, "filter", tap.filter, usual.filter);
    put_unless(out, "snaplen", tap.snaplen, usual.snaplen);
    put_unless(out, "buffer", tap.buffer, usual.buffer);
    put_unless(out, "rcvbuf", tap.rcvbuf, usual.rcvbuf);
    put_unless(out, "cpu", tap.cpu, usual.cpu);
    for (const auto& [key, value, normal] : {std::tuple{"start", tap.start, usual.start}, std::tuple{"stop", tap.stop, usual.stop}, std::tuple{"work", tap.work, usual.work}}) {
        if (value != normal) {
            put(out, key, with_unit(value));
        }
    }
    out << YAML::EndMap;
}

void emit_times(YAML::Emitter& out, const std::vector<Duration>& times)
{
    if (times.empty()) {
        return;
    }
    out << YAML::Key << "times" << YAML::Value << YAML::Flow << YAML::BeginSeq;
    for (const Duration at : times) {
        out << with_unit(at);
    }
    out << YAML::EndSeq;
}

void emit(YAML::Emitter& out, const ScenarioPing& ping)
{
    const ScenarioPing usual;
    out << YAML::BeginMap;
    put_unless(out, "name", ping.name, usual.name);
    put(out, "to", (ping.address6.v6 ? ping.address6 : IpAddress::v4(ping.address)).text());
    put_unless(out, "count", ping.count, usual.count);
    put_unless(out, "size", ping.size, usual.size);
    if (ping.interval != usual.interval) {
        put(out, "interval", with_unit(ping.interval));
    }
    if (ping.start != usual.start) {
        put(out, "start", with_unit(ping.start));
    }
    emit_times(out, ping.times);
    if (!ping.raw) {
        put(out, "socket", std::string("ping"));
    }
    put_unless(out, "ttl", std::uint32_t{ping.ttl}, std::uint32_t{0});
    put_unless(out, "cpu", ping.cpu, usual.cpu);
    out << YAML::EndMap;
}

void emit(YAML::Emitter& out, const ScenarioInjector& injector)
{
    const ScenarioInjector usual;
    out << YAML::BeginMap;
    put_unless(out, "name", injector.name, usual.name);
    put(out, "device", injector.device);
    out << YAML::Key << "frames" << YAML::Value << YAML::BeginSeq;
    for (const auto& frame : injector.frames) {
        out << YAML::DoubleQuoted << fmt::format("{:02x}", fmt::join(frame, ""));
    }
    out << YAML::EndSeq;
    if (injector.gap != usual.gap) {
        put(out, "gap", with_unit(injector.gap));
    }
    if (injector.start != usual.start) {
        put(out, "start", with_unit(injector.start));
    }
    emit_times(out, injector.times);
    put_unless(out, "cpu", injector.cpu, usual.cpu);
    out << YAML::EndMap;
}

void emit(YAML::Emitter& out, const ScenarioTcp& app)
{
    ScenarioTcp usual;
    usual.name = app.server ? "server" : "client";
    out << YAML::BeginMap;
    put_unless(out, "name", app.name, usual.name);
    if (app.server) {
        put(out, "port", app.port);
        if (app.address != 0) {
            put(out, "address", IpAddress::v4(app.address).text());
        }
    } else {
        put(out, "to", fmt::format("{}:{}", IpAddress::v4(app.address).text(), app.port));
        if (app.from_address != 0) {
            put(out, "from_address", IpAddress::v4(app.from_address).text());
        }
    }
    put_unless(out, "from_port", app.from_port, usual.from_port);
    put_unless(out, "send", app.send, usual.send);
    put_unless(out, "receive", app.receive, usual.receive);
    put_unless(out, "until_end", app.until_end, usual.until_end);
    put_unless(out, "chunk", app.chunk, usual.chunk);
    put_unless(out, "read", app.read, usual.read);
    put_unless(out, "count", app.count, usual.count);
    put_unless(out, "backlog", app.backlog, usual.backlog);
    put_unless(out, "accept", app.accept, usual.accept);
    put_unless(out, "nodelay", app.nodelay, usual.nodelay);
    put_unless(out, "rcvbuf", app.rcvbuf, usual.rcvbuf);
    put_unless(out, "sndbuf", app.sndbuf, usual.sndbuf);
    put_unless(out, "cpu", app.cpu, usual.cpu);
    for (const auto& [key, value, normal] : {std::tuple{"start", app.start, usual.start}, std::tuple{"gap", app.gap, usual.gap}, std::tuple{"work", app.work, usual.work}, std::tuple{"steal", app.steal, usual.steal}}) {
        if (value != normal && (!app.server || key == std::string_view("work") || key == std::string_view("steal"))) {
            put(out, key, with_unit(value));
        }
    }
    out << YAML::EndMap;
}

void emit(YAML::Emitter& out, const ScenarioSender& sender)
{
    const ScenarioSender usual;
    out << YAML::BeginMap;
    put_unless(out, "name", sender.name, usual.name);
    emit_traffic(out, sender, usual);
    emit_times(out, sender.times);
    put_unless(out, "ttl", std::uint32_t{sender.ttl}, std::uint32_t{0});
    put_unless(out, "connect", sender.connect, usual.connect);
    put_unless(out, "broadcast", sender.broadcast, usual.broadcast);
    put_unless(out, "sndbuf", sender.sndbuf, usual.sndbuf);
    put_unless(out, "cpu", sender.cpu, usual.cpu);
    out << YAML::EndMap;
}

template <typename List, typename Emit>
void emit_list(YAML::Emitter& out, const char* key, const List& list, Emit item)
{
    if (list.empty()) {
        return;
    }
    out << YAML::Key << key << YAML::Value << YAML::BeginSeq;
    for (const auto& entry : list) {
        item(entry);
    }
    out << YAML::EndSeq;
}

void emit(YAML::Emitter& out, const ScenarioHost& host)
{
    out << YAML::BeginMap;
    put(out, "name", host.name);
    if (host.namespace_of.empty()) {
        put(out, "cpus", host.cpus);
        put_unless(out, "cost_scale", host.cost_scale, 1.0);
    } else {
        put(out, "namespace_of", host.namespace_of);
    }
    if (!host.sysctls.empty()) {
        out << YAML::Key << "sysctls" << YAML::Value << YAML::BeginMap;
        for (const auto& [name, value] : host.sysctls) {
            put(out, name.c_str(), value);
        }
        out << YAML::EndMap;
    }
    emit_list(out, "devices", host.devices, [&](const auto& device) { emit(out, device); });
    put_unless(out, "ipv6_forwarding", host.ipv6_forwarding, false);
    const auto emit_route = [&](const ScenarioRoute& route) {
        out << YAML::BeginMap;
        put(out, "to", route.to.prefix == 0 ? std::string("default") : text(route.to));
        if (route.via != 0) {
            put(out, "via", IpAddress::v4(route.via).text());
        }
        put_unless(out, "device", route.device, std::string());
        put_unless(out, "type", route.type, std::string("unicast"));
        if (route.source != 0) {
            put(out, "src", IpAddress::v4(route.source).text());
        }
        put_unless(out, "metric", route.metric, std::uint32_t{0});
        put_unless(out, "mtu", route.mtu, std::uint32_t{0});
        out << YAML::EndMap;
    };
    if (!host.routes.empty() || !host.routes6.empty()) {
        out << YAML::Key << "routes" << YAML::Value << YAML::BeginSeq;
        for (const ScenarioRoute& route : host.routes) {
            emit_route(route);
        }
        for (const ScenarioRoute6& route : host.routes6) {
            emit(out, route);
        }
        out << YAML::EndSeq;
    }
    emit_list(out, "neighbours", host.neighbours, [&](const ScenarioNeighbour& neighbour) {
        out << YAML::BeginMap;
        put(out, "address", neighbour.address6.v6 ? neighbour.address6.text() : IpAddress::v4(neighbour.address).text());
        put(out, "mac", neighbour.mac.text());
        put(out, "device", neighbour.device);
        put_unless(out, "stale", neighbour.stale, false);
        put_unless(out, "used", neighbour.used, true);
        out << YAML::EndMap;
    });
    emit_list(out, "receivers", host.receivers, [&](const auto& receiver) { emit(out, receiver); });
    put_unless(out, "lsm", host.lsm, std::string());
    for (const auto& [key, text] : {std::pair{"nft", host.nft}, std::pair{"iptables", host.iptables}}) {
        if (!text.empty()) {
            out << YAML::Key << key << YAML::Value << YAML::Literal << text;
        }
    }
    emit_list(out, "pktgens", host.pktgens, [&](const auto& gen) { emit_pktgen(out, gen); });
    emit_list(out, "taps", host.taps, [&](const auto& tap) { emit(out, tap); });
    emit_list(out, "pings", host.pings, [&](const auto& ping) { emit(out, ping); });
    emit_list(out, "injectors", host.injectors, [&](const auto& injector) { emit(out, injector); });
    put_unless(out, "default_qdisc", host.default_qdisc, std::string());
    emit_list(out, "tc", host.tc, [&](const auto& change) { emit_tc(out, change); });
    std::vector<ScenarioTcp> servers, clients;
    for (const ScenarioTcp& app : host.tcp) {
        (app.server ? servers : clients).push_back(app);
    }
    emit_list(out, "tcp_servers", servers, [&](const auto& app) { emit(out, app); });
    emit_list(out, "tcp_clients", clients, [&](const auto& app) { emit(out, app); });
    emit_list(out, "senders", host.senders, [&](const auto& sender) { emit(out, sender); });
    out << YAML::EndMap;
}

void emit(YAML::Emitter& out, const ScenarioStation& station)
{
    const ScenarioStation usual;
    out << YAML::BeginMap;
    put(out, "name", station.name);
    put(out, "mac", station.mac.text());
    if (station.address != 0 || !station.address6.v6) {
        put(out, "address", IpAddress::v4(station.address).text());
    }
    if (station.address6.v6) {
        put(out, "address6", station.address6.text());
    }
    put_unless(out, "answers_arp", station.answers_arp, usual.answers_arp);
    put_unless(out, "answers_ping", station.answers_ping, usual.answers_ping);
    if (station.reply_delay != usual.reply_delay) {
        put(out, "reply_delay", with_unit(station.reply_delay));
    }
    emit_list(out, "sends", station.flows, [&](const ScenarioFlow& flow) {
        out << YAML::BeginMap;
        emit_traffic(out, flow, ScenarioFlow{});
        out << YAML::EndMap;
    });
    out << YAML::EndMap;
}

} // namespace

std::string to_text(const Scenario& scenario)
{
    const Scenario usual;
    YAML::Emitter out;
    out << YAML::BeginMap;
    put(out, "skbscope", 1);
    put(out, "title", scenario.title);
    put(out, "kernel", scenario.kernel);
    put_unless(out, "seed", scenario.seed, usual.seed);
    put_unless(out, "burst", scenario.burst, usual.burst);
    put_unless(out, "cost_scale", scenario.cost_scale, usual.cost_scale);
    emit_list(out, "hosts", scenario.hosts, [&](const auto& host) { emit(out, host); });
    emit_list(out, "stations", scenario.stations, [&](const auto& station) { emit(out, station); });
    out << YAML::EndMap;
    return std::string(out.c_str()) + "\n";
}

} // namespace skbscope
