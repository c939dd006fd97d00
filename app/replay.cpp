#include "app/replay.h"

#include "app/file_kind.h"
#include "app/open.h"
#include "capture/pcap_file.h"

#include <algorithm>
#include <fmt/format.h>

namespace skbscope::app {
namespace {

/// Whose kernel is modelled.
struct Identity {
    std::uint32_t address = 0; ///< IPv4, host order
    MacAddress mac;            ///< all zero: to be learnt from the frames
};

Result<Identity> parse_identity(const std::string& text)
{
    const auto comma = text.find(',');
    const auto address = IpAddress::parse(text.substr(0, comma));
    if (!address || address->v6) {
        return fail(ErrorKind::usage, "--as " + text, "is not an IPv4 address",
                    "ADDR or ADDR,MAC, such as 10.99.0.2");
    }
    Identity identity{address->v4_host_order(), {}};
    if (comma != std::string::npos) {
        const auto mac = MacAddress::parse(text.substr(comma + 1));
        if (!mac) {
            return fail(ErrorKind::usage, "--as " + text, "the part behind the comma is not a MAC address",
                        "such as 10.99.0.2,52:54:00:12:34:56");
        }
        identity.mac = *mac;
    }
    return identity;
}

Result<std::vector<CapturedFrame>> read_capture(const std::string& path)
{
    auto read = read_pcap(path);
    if (!read) {
        return tl::unexpected(read.error());
    }
    const auto file = std::make_shared<const PcapFile>(std::move(*read));
    if (!file->damage.empty()) {
        fmt::print(stderr, "skbscope: {}: {}\n", path, file->damage);
    }
    std::vector<CapturedFrame> frames;
    frames.reserve(file->frames.size());
    for (std::size_t i = 0; i < file->frames.size(); ++i) {
        const auto& frame = file->frames[i];
        frames.push_back({static_cast<std::uint64_t>(std::max<std::int64_t>(frame.wall_ns, 0)), frame.length,
                          FrameBytes(file, file->frame(i))});
    }
    return frames;
}

bool is_unicast(const FlowKey& flow)
{
    const auto address = flow.destination.v4_host_order();
    return (address >> 28) < 0xe && address != 0;
}

/// The receiver of the first unicast IPv4 frame.
Result<Identity> first_receiver(const std::vector<CapturedFrame>& frames, const std::string& path)
{
    for (const auto& frame : frames) {
        const auto flow = flow_of_frame(frame.bytes);
        const bool to_all = !frame.bytes.empty() && (frame.bytes[0] & 1) != 0;
        if (flow && flow->ethertype == 0x0800 && !to_all && is_unicast(*flow)) {
            return Identity{flow->destination.v4_host_order(), {}};
        }
    }
    return fail(ErrorKind::invalid, path, "holds no unicast IPv4 frame whose receiver could be modelled",
                "name the host with --as ADDR");
}

/// The address and MAC of a scenario's first device that has one.
Result<Identity> identity_of(const Scenario& scenario, const std::string& path)
{
    for (const auto& host : scenario.hosts) {
        for (const auto& device : host.devices) {
            if (!device.addresses.empty()) {
                return Identity{device.addresses.front().address, device.mac};
            }
        }
    }
    return fail(ErrorKind::invalid, path, "has no device with an address that frames could arrive at");
}

void say_what_was_changed(const std::string& path, const ReplayPlan& plan)
{
    if (plan.own_frames != 0) {
        fmt::print(stderr, "{}: {} frames that the modelled host had sent itself are left out\n", path,
                   plan.own_frames);
    }
    if (plan.cut_frames != 0) {
        fmt::print(stderr, "{}: {} frames were cut by the capture; zeros stand in for what is missing\n",
                   path, plan.cut_frames);
    }
}

} // namespace

Result<std::unique_ptr<ModelSource>> replay_capture(const std::string& path, const ReplayOptions& options)
{
    const auto frames = read_capture(path);
    if (!frames) {
        return tl::unexpected(frames.error());
    }
    Result<Scenario> scenario = Scenario{};
    Result<Identity> identity = Identity{};
    if (!options.scenario.empty()) {
        scenario = load_scenario_file(options.scenario);
        if (!scenario) {
            return tl::unexpected(scenario.error());
        }
        identity = identity_of(*scenario, options.scenario);
    }
    if (!options.as.empty()) {
        identity = parse_identity(options.as);
    } else if (options.scenario.empty()) {
        identity = first_receiver(*frames, path);
    }
    if (!identity) {
        return tl::unexpected(identity.error());
    }
    auto plan = plan_replay(*frames, identity->address, identity->mac);
    if (plan.frames.empty()) {
        return fail(ErrorKind::invalid, path, "holds no frame that goes to the modelled host",
                    "name another host with --as ADDR");
    }
    say_what_was_changed(path, plan);
    if (options.scenario.empty()) {
        *scenario = replay_scenario(identity->address, plan.mac, plan.udp_ports);
    }
    return std::make_unique<ModelSource>(std::move(*scenario), std::move(plan.frames));
}

} // namespace skbscope::app
