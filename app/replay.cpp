#include "app/replay.h"

#include "app/file_kind.h"
#include "app/open.h"
#include "app/pcap_capture.h"
#include "app/text.h"

#include <algorithm>
#include <fmt/format.h>

namespace skbscope::app {
namespace {

bool is_unicast(std::uint32_t address)
{
    return (address >> 28) < 0xe && address != 0;
}

/// The receiver of the first unicast IPv4 frame.
Result<Identity> first_receiver(Capture& capture, const std::string& path)
{
    capture.start_over();
    while (const CapturedFrame* frame = capture.next()) {
        const auto flow = flow_of_frame(frame->bytes);
        const bool to_all = !frame->bytes.empty() && (frame->bytes[0] & 1) != 0;
        if (flow && flow->ethertype == 0x0800 && !to_all && is_unicast(flow->destination.v4_host_order())) {
            return Identity{flow->destination.v4_host_order(), {}};
        }
    }
    return fail(ErrorKind::invalid, path, "holds no unicast IPv4 frame whose receiver could be modelled",
                "name the host with --as ADDR");
}

void say_what_was_changed(const std::string& path, const ReplayPlan& plan)
{
    if (plan.counts.own != 0) {
        say("{}: {} frames that the modelled host had sent itself are left out\n", path,
                   plan.counts.own);
    }
    if (plan.counts.cut != 0) {
        say("{}: {} frames were cut by the capture; zeros stand in for what is missing\n",
                   path, plan.counts.cut);
    }
    if (plan.counts.unfinished != 0) {
        say("{}: {} frames bore a checksum that a device was still to fill in, as on veth; it has been "
            "filled in\n",
            path, plan.counts.unfinished);
    }
}

/// The modelled host, as it was named or as the frames tell.
Result<NamedHost> host_of(const ReplayOptions& options, Capture& capture, const std::string& path)
{
    NamedHost host;
    if (!options.scenario.empty()) {
        auto named = load_host(options.scenario);
        if (!named) {
            return tl::unexpected(named.error());
        }
        host = std::move(*named);
    }
    if (!options.as.empty() || options.scenario.empty()) {
        const auto identity = options.as.empty() ? first_receiver(capture, path) : parse_identity(options.as);
        if (!identity) {
            return tl::unexpected(identity.error());
        }
        host.identity = *identity;
    }
    return host;
}

} // namespace

Result<Identity> parse_identity(const std::string& text)
{
    const auto comma = text.find(',');
    const auto address = IpAddress::parse(text.substr(0, comma));
    if (!address || address->v6 || !is_unicast(address->v4_host_order())) {
        return fail(ErrorKind::usage, "--as " + text, "is not the IPv4 address of a host",
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

Result<NamedHost> load_host(const std::string& path)
{
    auto scenario = load_scenario_file(path);
    if (!scenario) {
        return tl::unexpected(scenario.error());
    }
    for (const auto& host : scenario->hosts) {
        for (const auto& device : host.devices) {
            if (!device.addresses.empty()) {
                const Identity identity{device.addresses.front().address, device.mac};
                return NamedHost{std::move(*scenario), identity};
            }
        }
    }
    return fail(ErrorKind::invalid, path, "has no device with an address that frames could arrive at");
}

Result<std::unique_ptr<ModelSource>> replay_capture(const std::string& path, const ReplayOptions& options)
{
    const auto capture = PcapCapture::open(path);
    if (!capture) {
        return tl::unexpected(capture.error());
    }
    auto host = host_of(options, **capture, path);
    if (!host) {
        return tl::unexpected(host.error());
    }
    const ReplayPlan plan = plan_replay(**capture, host->identity.address, host->identity.mac);
    if (const std::string damage = (*capture)->damage(); !damage.empty()) {
        say("skbscope: {}: {}\n", path, damage);
    }
    if (plan.frames == 0) {
        return fail(ErrorKind::invalid, path, "holds no frame that goes to the modelled host",
                    "name another host with --as ADDR");
    }
    say_what_was_changed(path, plan);
    if (options.scenario.empty()) {
        host->scenario = replay_scenario(host->identity.address, plan.mac, plan.udp_ports);
    }
    if (!options.kernel.empty()) {
        host->scenario.kernel = options.kernel;
    }
    return std::make_unique<ModelSource>(std::move(host->scenario), replay_frames(*capture, plan));
}

} // namespace skbscope::app
