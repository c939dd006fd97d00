// A capture's frames onto the modelled host's wire.

#include "core/scenario/replay.h"

#include "core/packet/build.h"
#include "core/packet/bytes.h"
#include "core/packet/checksum.h"
#include "core/packet/flow.h"
#include "core/packet/protocols.h"
#include "core/packet/views.h"

#include <algorithm>

namespace skbscope {

namespace {

/// IPv4 source and destination, if it is such a frame.
std::optional<FlowKey> ipv4_flow(const CapturedFrame& frame)
{
    auto flow = flow_of_frame(frame.bytes);
    if (!flow || flow->source.v6) {
        return std::nullopt;
    }
    return flow;
}

MacAddress learn_mac(Capture& capture, std::uint32_t address)
{
    const IpAddress wanted = IpAddress::v4(address);
    capture.start_over();
    while (const CapturedFrame* frame = capture.next()) {
        const auto flow = ipv4_flow(*frame);
        const auto ethernet = EthernetView::checked(frame->bytes);
        if (!flow || !ethernet) {
            continue;
        }
        if (flow->source == wanted) {
            return ethernet->src();
        }
        if (flow->destination == wanted && !ethernet->dst().is_multicast() && flow->ethertype == proto::eth_p_ip) {
            return ethernet->dst();
        }
    }
    return {{0x02, 0, 0, 0, 0, 0x02}};
}

/// Zeros for what the capture left out. The datagram's checksum is made to fit them: whether it had been right cannot be
/// known any more, and the cut is not the sender's fault.
void pad(std::vector<std::uint8_t>& frame, std::uint32_t wire_length)
{
    constexpr std::uint32_t longest = 65550; // no Ethernet frame is longer, whatever the file claims
    frame.resize(std::min(wire_length, longest));
    const auto ethernet = MutableEthernetView::checked(frame);
    if (!ethernet || ethernet->ethertype() != proto::eth_p_ip) {
        return;
    }
    const auto ip = MutableIpv4View::checked(ethernet->payload());
    if (!ip || ip->is_fragment() || ip->protocol() != proto::ipproto_udp) {
        return;
    }
    const auto udp = MutableUdpView::checked(ip->payload());
    if (udp && udp->checksum() != 0 && udp->length() >= 8 && udp->length() <= ip->payload().size()) {
        fill_udp_checksum(ip->payload().first(udp->length()), ip->source(), ip->destination());
    }
}

/// Where the checksum of a whole UDP datagram or TCP segment over IPv4 stands that a device was still to fill in: the field then
/// holds the pseudo header's sum alone (CHECKSUM_PARTIAL). Such frames are seen on veth and loopback, where nobody ever does.
bool is_unfinished(const Ipv4View& ip)
{
    const auto segment = ip.payload();
    const bool udp = ip.protocol() == proto::ipproto_udp;
    const std::size_t at = udp ? 6 : 16;
    if (ip.is_fragment() || (!udp && ip.protocol() != proto::ipproto_tcp) || segment.size() < at + 2) {
        return false;
    }
    const std::uint16_t magic = csum_tcpudp_magic(ip.saddr(), ip.daddr(), static_cast<std::uint32_t>(segment.size()), ip.protocol());
    return load_be16(&segment[at]) == static_cast<std::uint16_t>(~magic);
}

/// What the receiving kernel would not have looked at. False: there was nothing to do.
bool finish_checksum(FrameBytes& bytes)
{
    const auto ethernet = EthernetView::checked(bytes);
    if (!ethernet || ethernet->ethertype() != proto::eth_p_ip) {
        return false;
    }
    const auto ip = Ipv4View::checked(ethernet->payload());
    if (!ip || !is_unfinished(*ip)) {
        return false;
    }
    std::vector<std::uint8_t> finished(bytes.begin(), bytes.end());
    const auto segment = MutableIpv4View::unchecked(std::span(finished).subspan(EthernetView::minimum)).payload();
    if (ip->protocol() == proto::ipproto_udp) {
        fill_udp_checksum(segment, ip->source(), ip->destination());
    } else {
        fill_tcp_checksum(segment, ip->source(), ip->destination());
    }
    bytes = FrameBytes(std::move(finished));
    return true;
}

} // namespace

ReplayPlanner::ReplayPlanner(const MacAddress& mac, std::optional<std::uint64_t> start_ns)
    : mac_(mac), start_ns_(start_ns)
{
}

SimTime ReplayPlanner::time_of(std::uint64_t stamp_ns) const
{
    constexpr Duration set_up{100'000}; // the receivers have bound their ports by then
    return SimTime{stamp_ns > *start_ns_ ? stamp_ns - *start_ns_ : 0} + set_up;
}

std::optional<ReplayFrame> ReplayPlanner::take(const CapturedFrame& frame)
{
    const auto ethernet = EthernetView::checked(frame.bytes);
    if (ethernet && ethernet->src() == mac_ && ethernet->dst() != mac_) {
        ++counts_.own;
        return std::nullopt;
    }
    start_ns_ = start_ns_.value_or(frame.time_ns);
    ReplayFrame replay;
    replay.at = std::max(latest_, time_of(frame.time_ns)); // a clock that went back does not reorder frames
    latest_ = replay.at;
    replay.bytes = frame.bytes;
    replay.wire_length = std::max<std::uint32_t>(frame.wire_length, static_cast<std::uint32_t>(frame.bytes.size()));
    if (replay.wire_length > frame.bytes.size()) {
        ++counts_.cut;
        std::vector<std::uint8_t> whole(frame.bytes.begin(), frame.bytes.end());
        pad(whole, replay.wire_length);
        replay.bytes = FrameBytes(std::move(whole));
    } else if (finish_checksum(replay.bytes)) {
        ++counts_.unfinished;
    }
    return replay;
}

ReplayPlan plan_replay(Capture& capture, std::uint32_t address, MacAddress mac)
{
    ReplayPlan plan;
    plan.mac = mac == MacAddress{} ? learn_mac(capture, address) : mac;
    ReplayPlanner planner(plan.mac);
    const IpAddress host = IpAddress::v4(address);
    std::vector<bool> ports(65536);
    capture.start_over();
    while (const CapturedFrame* frame = capture.next()) {
        if (!planner.take(*frame)) {
            continue;
        }
        ++plan.frames;
        const auto flow = ipv4_flow(*frame);
        if (flow && flow->destination == host && flow->protocol == proto::ipproto_udp) {
            ports[flow->destination_port] = true;
        }
    }
    for (std::size_t port = 1; port < ports.size(); ++port) {
        if (ports[port]) {
            plan.udp_ports.push_back(static_cast<std::uint16_t>(port));
        }
    }
    plan.counts = planner.counts();
    return plan;
}

namespace {

class CaptureFrames : public ReplayFrames {
public:
    CaptureFrames(std::shared_ptr<Capture> capture, const ReplayPlan& plan)
        : capture_(std::move(capture)), mac_(plan.mac), count_(plan.frames), planner_(plan.mac)
    {
        capture_->start_over();
    }
    [[nodiscard]] std::uint64_t count() const override { return count_; }
    [[nodiscard]] const ReplayFrame* frame(std::uint64_t index) override
    {
        if (index >= count_) {
            return nullptr; // a capture that is still being written may have grown
        }
        if (index + 1 < read_) {
            start_over();
        }
        while (read_ <= index) {
            if (!read()) {
                return nullptr;
            }
        }
        return &frame_;
    }

private:
    void start_over()
    {
        capture_->start_over();
        planner_ = ReplayPlanner(mac_);
        read_ = 0;
    }
    bool read()
    {
        while (const CapturedFrame* captured = capture_->next()) {
            if (auto frame = planner_.take(*captured)) {
                frame_ = std::move(*frame);
                ++read_;
                return true;
            }
        }
        return false;
    }

    std::shared_ptr<Capture> capture_;
    MacAddress mac_;
    std::uint64_t count_ = 0;
    ReplayPlanner planner_;
    std::uint64_t read_ = 0; ///< frames so far; frame_ is the last of them
    ReplayFrame frame_;
};

} // namespace

std::unique_ptr<ReplayFrames> replay_frames(std::shared_ptr<Capture> capture, const ReplayPlan& plan)
{
    return std::make_unique<CaptureFrames>(std::move(capture), plan);
}

Scenario replay_scenario(std::uint32_t address, const MacAddress& mac, const std::vector<std::uint16_t>& ports)
{
    Scenario scenario;
    scenario.title = "replay to " + IpAddress::v4(address).text();
    ScenarioHost host;
    host.name = "host";
    ScenarioDevice device;
    device.mac = mac;
    device.addresses = {{address, 24}};
    device.link = "wire";
    device.promiscuous = true;
    host.devices.push_back(device);
    for (const std::uint16_t port : ports) {
        ScenarioReceiver receiver;
        receiver.name = "receiver:" + std::to_string(port);
        receiver.port = port;
        receiver.cpu = 1;
        host.receivers.push_back(receiver);
    }
    scenario.hosts.push_back(std::move(host));
    ScenarioStation wire;
    wire.name = "wire";
    wire.mac = {{0x02, 0, 0, 0, 0, 0x01}};
    wire.answers_arp = false; // the capture says what came
    scenario.stations.push_back(wire);
    return scenario;
}

} // namespace skbscope
