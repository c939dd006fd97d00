// YAML -> taps and socket filters.

#include "core/scenario/parse_parts.h"

namespace skbscope {

using namespace yaml;

std::string filter_text(const YAML::Node& node, std::uint32_t keep, kernel::FilterBase base)
{
    std::string text = scalar(node, "filter");
    if (auto compiled = kernel::compile_filter(text, keep, base); !compiled) {
        complain(node, fmt::format("{}: {}", compiled.error().where, compiled.error().what), compiled.error().remedy);
    }
    return text;
}

ScenarioTap read_tap(const YAML::Node& node, const ScenarioHost& host)
{
    ScenarioTap tap;
    Mapping(node, "tap")
        .key("name", [&](const YAML::Node& n) { tap.name = name_of(n, "name"); })
        .key("device",
             [&](const YAML::Node& n) {
                 tap.device = name_of(n, "device");
                 if (tap.device == "any") {
                     tap.device.clear();
                 } else if (tap.device != "lo" && std::ranges::find(host.devices, tap.device, &ScenarioDevice::name) == host.devices.end()) {
                     complain(n, fmt::format("host '{}' has no device '{}'", host.name, tap.device), "any: all of them");
                 }
             })
        .key("kind",
             [&](const YAML::Node& n) {
                 const std::string kind = scalar(n, "kind");
                 if (kind != "mmap" && kind != "packet") {
                     complain(n, fmt::format("kind is '{}'", kind), "mmap (tpacket_rcv) or packet (packet_rcv)");
                 }
                 tap.mmap = kind == "mmap";
             })
        .key("version", [&](const YAML::Node& n) { tap.version = static_cast<std::uint32_t>(integer(n, "version", 2, 3)); })
        .key("snaplen", [&](const YAML::Node& n) { tap.snaplen = static_cast<std::uint32_t>(integer(n, "snaplen", 1, 262144)); })
        .key("buffer", [&](const YAML::Node& n) { tap.buffer = static_cast<std::uint32_t>(integer(n, "buffer", 64 << 10, 1 << 30)); })
        .key("rcvbuf", [&](const YAML::Node& n) { tap.rcvbuf = static_cast<std::uint32_t>(integer(n, "rcvbuf", 2304, std::numeric_limits<std::int32_t>::max())); })
        .key("cpu", [&](const YAML::Node& n) { tap.cpu = static_cast<std::uint32_t>(integer(n, "cpu", 0, host.cpus - 1)); })
        .key("start", [&](const YAML::Node& n) { tap.start = duration(n, "start"); })
        .key("stop", [&](const YAML::Node& n) { tap.stop = duration(n, "stop"); })
        .key("work", [&](const YAML::Node& n) { tap.work = duration(n, "work"); })
        .key("filter", [&](const YAML::Node& n) { tap.filter = filter_text(n, tap.snaplen, kernel::FilterBase::mac_header); })
        .done();
    if (tap.stop > Duration{} && tap.stop <= tap.start) {
        complain(node["stop"], "stop must come after start");
    }
    return tap;
}

} // namespace skbscope
