#pragma once
// The kernel's packet generator in a scenario: read, written and put into a World.

#include "core/kernel/world.h"
#include "core/scenario/yaml_reader.h"

namespace skbscope {

inline ScenarioPktgen read_pktgen(const YAML::Node& node, const ScenarioHost& host)
{
    using namespace yaml;
    ScenarioPktgen gen;
    Mapping(node, "pktgen")
        .required("device",
                  [&](const YAML::Node& n) {
                      gen.device = name_of(n, "device");
                      if (std::ranges::find(host.devices, gen.device, &ScenarioDevice::name) == host.devices.end()) {
                          complain(n, fmt::format("there is no device '{}' here", gen.device));
                      }
                  })
        .required("to", [&](const YAML::Node& n) { std::tie(gen.address, gen.port) = endpoint(n, "to"); })
        .required("to_mac", [&](const YAML::Node& n) { gen.mac = mac(n); })
        .required("from", [&](const YAML::Node& n) { std::tie(gen.from_address, gen.from_port) = endpoint(n, "from"); })
        .key("count", [&](const YAML::Node& n) { gen.count = static_cast<std::uint64_t>(integer(n, "count", 0, 10'000'000)); })
        .key("size", [&](const YAML::Node& n) { gen.size = static_cast<std::uint32_t>(integer(n, "size", 60, 1514)); })
        .key("gap", [&](const YAML::Node& n) { gen.gap = duration(n, "gap"); })
        .key("start", [&](const YAML::Node& n) { gen.start = duration(n, "start"); })
        .key("cpu", [&](const YAML::Node& n) { gen.cpu = static_cast<std::uint32_t>(integer(n, "cpu", 0, host.cpus - 1)); })
        .done();
    return gen;
}

inline void emit_pktgen(YAML::Emitter& out, const ScenarioPktgen& gen)
{
    const auto put = [&](const char* key, const auto& value) { out << YAML::Key << key << YAML::Value << value; };
    out << YAML::BeginMap;
    put("device", gen.device);
    put("to", fmt::format("{}:{}", IpAddress::v4(gen.address).text(), gen.port));
    put("to_mac", gen.mac.text());
    put("from", fmt::format("{}:{}", IpAddress::v4(gen.from_address).text(), gen.from_port));
    put("count", gen.count);
    put("size", gen.size);
    put("gap", fmt::format("{}ns", gen.gap.ns));
    put("start", fmt::format("{}ns", gen.start.ns));
    put("cpu", gen.cpu);
    out << YAML::EndMap;
}

inline void put_pktgen(kernel::Task& task, const ScenarioPktgen& from, kernel::DeviceIndex device)
{
    task.program = kernel::Program::pktgen;
    task.device = device;
    task.destination = from.address;
    task.destination_port = from.port;
    task.destination_mac = from.mac;
    task.bind_address = from.from_address;
    task.bind_port = from.from_port;
    task.size = from.size;
    task.to_send = from.count;
    task.gap = from.gap;
    task.next_send = SimTime{} + from.start;
}

} // namespace skbscope
