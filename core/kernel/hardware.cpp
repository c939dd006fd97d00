// The world outside the CPUs: wires, stations, the NIC's own work by DMA, timers that fire.

#include "core/kernel/drivers/driver.h"
#include "core/packet/build.h"
#include "core/packet/bytes.h"
#include "core/packet/checksum.h"
#include "core/packet/views.h"

#include <algorithm>
#include <array>
#include <span>

namespace skbscope::kernel {

void kick(Kernel& k, Cpu& cpu, SimTime at)
{
    if (!has_work(cpu)) {
        k.cpu_woken();
        cpu.now = std::max(cpu.now, at);
    }
}

namespace {

constexpr std::uint32_t wire_overhead = 24; // preamble 8, FCS 4, gap 12 bytes

Duration serialization(const NetDevice& device, std::size_t frame_bytes)
{
    const std::uint64_t bits = (std::max<std::uint64_t>(frame_bytes, ETH_ZLEN) + wire_overhead) * 8;
    return {static_cast<std::int64_t>(bits * 1'000'000'000ULL / device.link.bits_per_second)};
}

PacketId new_packet(Kernel& k, const NetDevice& device, std::span<const std::uint8_t> frame, std::uint32_t wire_length,
                    SimTime at)
{
    PacketRecord record;
    record.host = k.w.hosts[device.host].id;
    record.device = device.id;
    record.length = std::max<std::uint32_t>(wire_length, static_cast<std::uint32_t>(frame.size()));
    record.birth = at;
    if (k.recording()) {
        record.flow = flow_of_frame(frame);
    }
    const PacketId packet = k.trace.add_packet(record);
    k.trace.set_frame(packet, frame);
    return packet;
}

/// The wire loses some, by the World's own dice.
bool wire_loses(Kernel& k, Link& link)
{
    if (link.loss_ppm == 0 || k.random(1'000'000) >= link.loss_ppm) {
        return false;
    }
    ++link.lost;
    return true;
}

/// Whether the frame is a segment whose bytes are to be lost; these then are, and pass when they are sent again.
bool wire_loses_segment(Link& link, std::span<const std::uint8_t> frame)
{
    constexpr std::size_t ip = 14, ports = 20; // what follows an IPv4 header without options
    if (link.lose.empty() || frame.size() < ip + ports + 20 || frame[12] != 0x08 || frame[13] != 0x00 || frame[ip] != 0x45 || frame[ip + 9] != 6) {
        return false;
    }
    const std::uint8_t* th = &frame[ip + ports];
    const std::array<std::uint32_t, 3> stream{load_be32(&frame[ip + 12]), load_be32(&frame[ip + 16]), load_be32(th)};
    const std::uint32_t sequence = load_be32(th + 4);
    const std::uint8_t flags = th[13];
    if ((flags & tcphdr::syn) != 0) {
        link.first_bytes[stream] = sequence + 1;
        return false;
    }
    const auto first = link.first_bytes.find(stream);
    const std::uint32_t total = load_be16(&frame[ip + 2]), headers = 20U + (th[12] >> 4) * 4U;
    const std::uint32_t bytes = (total > headers ? total - headers : 0) + ((flags & tcphdr::fin) != 0 ? 1 : 0);
    if (first == link.first_bytes.end() || bytes == 0) {
        return false;
    }
    const std::uint64_t from = sequence - first->second; // of a stream of less than 4 GiB
    const std::uint64_t to = from + bytes;
    const std::uint16_t port = load_be16(th + 2);
    const auto hit = std::ranges::find_if(link.lose, [&](const LostBytes& lost) { return lost.port == port && lost.from < to && from < lost.to; });
    if (hit == link.lose.end()) {
        return false;
    }
    const LostBytes whole = *hit;
    link.lose.erase(hit);
    if (whole.from < from) {
        link.lose.push_back({port, whole.from, from});
    }
    if (to < whole.to) {
        link.lose.push_back({port, to, whole.to});
    }
    ++link.lost;
    return true;
}

/// The filter of a NIC with a wire: its own address, groups (each of them: no list of those joined is kept), or all frames.
/// e1000_main.c and netdev.c: the receive address registers and RCTL; virtio_net.c: VIRTIO_NET_F_CTRL_RX. No counter tells of the others.
bool nic_takes(const NetDevice& device, std::span<const std::uint8_t> frame)
{
    const auto& own = device.mac.bytes;
    return device.promiscuous || frame.size() < own.size() || (frame[0] & 1) != 0 || std::ranges::equal(own, frame.first(own.size()));
}

/// A frame leaves the far end towards the device: it is born as this host's packet when its first bit is on the wire.
void put_on_wire(Kernel& k, DeviceIndex to, std::vector<std::uint8_t> frame, std::uint32_t wire_length, SimTime leaves)
{
    NetDevice& device = k.device(to);
    if (wire_loses(k, device.link) || wire_loses_segment(device.link, frame) || !nic_takes(device, frame)) {
        return; // this host never hears of it
    }
    const PacketId packet = new_packet(k, device, frame, wire_length, leaves);
    k.emit_hardware(EventKind::birth, leaves, device, packet, to_index(device.id));
    k.emit_hardware(EventKind::enqueue, leaves, device, packet, to_index(device.link.wire_queue));
    const Duration on_the_wire = serialization(device, std::max<std::size_t>(wire_length, frame.size())) + device.link.delay;
    DeviceEvent arrival;
    arrival.kind = DeviceEvent::Kind::frame_arrives;
    arrival.at = leaves + on_the_wire;
    arrival.index = to;
    arrival.packet = packet;
    arrival.frame = std::move(frame);
    k.schedule(std::move(arrival));
}

/// Sends now, or reserves the next free moment of the wire.
void station_sends(Kernel& k, std::int32_t index, std::vector<std::uint8_t> frame, std::uint32_t wire_length, SimTime at)
{
    Station& station = k.w.stations[static_cast<std::size_t>(index)];
    const SimTime leaves = std::max(at, station.wire_free);
    station.wire_free = leaves + serialization(k.device(station.device), std::max<std::size_t>(wire_length, frame.size()));
    if (leaves == at) {
        put_on_wire(k, station.device, std::move(frame), wire_length, at);
        return;
    }
    DeviceEvent later;
    later.kind = DeviceEvent::Kind::frame_enters_wire;
    later.at = leaves;
    later.index = station.device;
    later.frame = std::move(frame);
    later.wire_length = wire_length;
    k.schedule(std::move(later));
}

std::vector<std::uint8_t> numbered_payload(std::uint64_t ordinal, std::uint32_t size)
{
    std::vector<std::uint8_t> payload(size, '.');
    write_ordinal(payload, ordinal);
    return payload;
}

void flow_sends(Kernel& k, std::int32_t index, SimTime at)
{
    WireFlow& flow = k.w.flows[static_cast<std::size_t>(index)];
    if (flow.remaining == 0) {
        return;
    }
    const Station& station = k.w.stations[static_cast<std::size_t>(flow.station)];
    const auto payload = numbered_payload(flow.ordinal, flow.size);
    UdpFrame frame;
    frame.ethernet = {k.device(station.device).mac, station.mac, proto::eth_p_ip}; // the builder knows the type of IPv6
    const bool v6 = flow.destination6.v6;
    frame.source = v6 ? station.address6 : IpAddress::v4(station.address);
    frame.destination = v6 ? flow.destination6 : IpAddress::v4(flow.destination);
    if (v6 && ipv6_addr_is_multicast(flow.destination6)) {
        frame.ethernet.destination = ipv6_eth_mc_map(flow.destination6);
    }
    frame.source_port = flow.source_port;
    frame.destination_port = flow.destination_port;
    frame.payload = payload;
    frame.id = static_cast<std::uint16_t>(flow.ordinal + 1);
    frame.dont_fragment = true;
    ++flow.ordinal;
    --flow.remaining;
    const Duration gap = flow.gap;
    const bool more = flow.remaining > 0;
    auto bytes = build_udp_frame(frame);
    const auto length = static_cast<std::uint32_t>(bytes.size());
    station_sends(k, flow.station, std::move(bytes), length, at);
    if (more) {
        DeviceEvent next;
        next.kind = DeviceEvent::Kind::flow_sends;
        next.at = std::max(at + gap, station.wire_free); // not faster than the wire
        next.index = index;
        k.schedule(std::move(next));
    }
}

void station_answers(Kernel& k, std::int32_t index, std::vector<std::uint8_t> frame, SimTime at)
{
    DeviceEvent answer;
    answer.kind = DeviceEvent::Kind::frame_leaves;
    answer.at = at + k.w.stations[static_cast<std::size_t>(index)].reply_delay;
    answer.index = index;
    answer.frame = std::move(frame);
    answer.frame.resize(std::max<std::size_t>(answer.frame.size(), ETH_ZLEN));
    answer.wire_length = static_cast<std::uint32_t>(answer.frame.size());
    k.schedule(std::move(answer));
}

/// A neighbour solicitation for its address is answered as RFC 4861 says.
void station_receives_ipv6(Kernel& k, std::int32_t index, const EthernetView& ethernet, SimTime at)
{
    const Station& station = k.w.stations[static_cast<std::size_t>(index)];
    const auto ip = Ipv6View::checked(ethernet.payload());
    if (!station.address6.v6 || !ip || ip->next_header() != proto::ipproto_icmpv6) {
        return;
    }
    const auto message = ip->payload();
    if (message.size() < 24 || message[0] != 135 || !std::equal(message.begin() + 8, message.begin() + 24, station.address6.bytes.begin())) {
        return;
    }
    NeighbourFrame answer;
    answer.ethernet = {ethernet.src(), station.mac, proto::eth_p_ipv6};
    answer.source = answer.target = station.address6;
    answer.destination = ip->source();
    answer.advertisement = answer.solicited = answer.override_known = true;
    station_answers(k, index, build_neighbour_frame(answer), at);
}

/// A station looks at what arrives: it answers who asks for its addresses and swallows the rest.
void station_receives(Kernel& k, std::int32_t index, std::span<const std::uint8_t> frame, SimTime at)
{
    Station& station = k.w.stations[static_cast<std::size_t>(index)];
    ++station.frames_seen;
    if (std::vector<std::uint8_t> echo = station_echo_reply(station, frame); !echo.empty()) {
        DeviceEvent leaves;
        leaves.kind = DeviceEvent::Kind::frame_leaves;
        leaves.at = at + station.reply_delay;
        leaves.index = index;
        leaves.wire_length = static_cast<std::uint32_t>(echo.size());
        leaves.frame = std::move(echo);
        k.schedule(std::move(leaves));
        return;
    }
    const auto ethernet = EthernetView::checked(frame);
    if (!ethernet || !station.answers_arp) {
        return;
    }
    if (ethernet->ethertype() == proto::eth_p_ipv6) {
        station_receives_ipv6(k, index, *ethernet, at);
        return;
    }
    if (ethernet->ethertype() != proto::eth_p_arp) {
        return;
    }
    const auto arp = ArpView::checked(ethernet->payload());
    if (!arp || arp->operation() != proto::arpop_request || arp->target_address() != station.address) {
        return;
    }
    ArpFields reply;
    reply.operation = proto::arpop_reply;
    reply.sender_mac = station.mac;
    reply.sender_address = station.address;
    reply.target_mac = arp->sender_mac();
    reply.target_address = arp->sender_address();
    station_answers(k, index, build_arp_frame(reply), at);
}

void task_wakes(Kernel& k, std::int32_t index, SimTime at)
{
    Task& task = k.task(index);
    if (task.state != Task::State::sleeping) {
        return;
    }
    Cpu& cpu = k.w.cpus[task.cpu];
    task.state = Task::State::runnable;
    kick(k, cpu, at);
    cpu.run_queue.push_back(index);
}

void put_to_cpu(Kernel& k, DeviceIndex device, std::uint32_t vector, std::uint32_t row, SimTime at)
{
    Cpu& cpu = k.w.cpus[row];
    kick(k, cpu, at);
    k.interrupt(cpu, {PendingIrq::Kind::device, device, vector});
}

void frame_arrives(Kernel& k, DeviceEvent& event)
{
    const NetDevice& device = k.device(event.index);
    k.emit_hardware(EventKind::dequeue, event.at, device, event.packet, to_index(device.link.wire_queue));
    netdev_ops(device.kind).frame_arrives(k, event.index, event.packet, std::move(event.frame), event.at);
}

} // namespace

void happen(Kernel& k, DeviceEvent& event)
{
    switch (event.kind) {
    case DeviceEvent::Kind::flow_sends: flow_sends(k, event.index, event.at); break;
    case DeviceEvent::Kind::frame_leaves:
        station_sends(k, event.index, std::move(event.frame), event.wire_length, event.at);
        break;
    case DeviceEvent::Kind::frame_enters_wire:
        put_on_wire(k, event.index, std::move(event.frame), event.wire_length, event.at);
        break;
    case DeviceEvent::Kind::frame_arrives: frame_arrives(k, event); break;
    case DeviceEvent::Kind::tx_done:
        netdev_ops(k.device(event.index).kind).transmitted(k, event.index, static_cast<std::uint32_t>(event.argument), event.at);
        break;
    case DeviceEvent::Kind::throttle_over:
        netdev_ops(k.device(event.index).kind).throttle_over(k, event.index, static_cast<std::uint32_t>(event.argument), event.at);
        break;
    case DeviceEvent::Kind::late_interrupt:
        put_to_cpu(k, event.index, static_cast<std::uint32_t>(event.argument), static_cast<std::uint32_t>(event.argument >> 32), event.at);
        break;
    case DeviceEvent::Kind::task_wakes: task_wakes(k, event.index, event.at); break;
    case DeviceEvent::Kind::timer: timer_expires(k, event); break;
    }
}

void hardware_drops(Kernel& k, DeviceIndex index, PacketId packet, DevStat counter, SimTime at)
{
    PacketRecord& record = k.trace.mutable_packet(packet);
    record.verdict = Verdict::dropped;
    record.reason = drop::RX_RING_FULL;
    record.death = at;
    if (counter != DevStat::count) {
        k.count_device(index, counter, packet, 1, at);
    }
    k.emit_hardware(EventKind::drop, at, k.device(index), packet, to_index(drop::RX_RING_FULL));
}

void deliver_interrupt(Kernel& k, DeviceIndex index, std::uint32_t vector, std::uint32_t irq_cpu, SimTime at)
{
    const NetDevice& device = k.device(index);
    k.emit_hardware(EventKind::irq_raise, at, device, PacketId::none, to_index(device.id));
    const std::uint32_t row = k.host_of(device).first_cpu + irq_cpu;
    if (device.irq_delay == Duration{}) {
        put_to_cpu(k, index, vector, row, at);
        return;
    }
    DeviceEvent late;
    late.kind = DeviceEvent::Kind::late_interrupt;
    late.at = at + device.irq_delay;
    late.index = index;
    late.argument = std::uint64_t{row} << 32 | vector;
    k.schedule(std::move(late));
}

SimTime transmit_on_wire(Kernel& k, DeviceIndex index, std::uint32_t queue, std::vector<std::uint8_t> frame, SimTime leaves_at, bool last)
{
    NetDevice& device = k.device(index);
    Link& link = device.link;
    const SimTime leaves = std::max(leaves_at, link.tx_wire_free);
    const SimTime gone = leaves + serialization(device, frame.size());
    link.tx_wire_free = gone;
    if (link.station != nothing) {
        if (!wire_loses(k, link)) {
            station_receives(k, link.station, frame, gone + link.delay);
        }
    } else if (link.peer_device != nothing) {
        DeviceEvent enters;
        enters.kind = DeviceEvent::Kind::frame_enters_wire;
        enters.at = leaves;
        enters.index = link.peer_device;
        enters.wire_length = static_cast<std::uint32_t>(frame.size());
        enters.frame = std::move(frame);
        k.schedule(std::move(enters));
    }
    if (!last) {
        return gone; // of a packet that the device cuts itself: it tells when all of it is gone
    }
    DeviceEvent done;
    done.kind = DeviceEvent::Kind::tx_done;
    done.at = gone;
    done.index = index;
    done.argument = queue;
    k.schedule(std::move(done));
    return gone;
}

namespace {

/// What goes on the wire for an skb: with the checksum that the device was asked to finish.
std::vector<std::uint8_t> frame_on_wire(Kernel& k, SkbIndex skb)
{
    std::vector<std::uint8_t> frame = k.new_frame(skb_data(k, skb));
    if (k.skb(skb).ip_summed != IpSummed::partial) {
        return frame;
    }
    complete_frame_checksum(frame);
    return frame;
}

/// The skb's frame as the packet's frame in the trace, with length, device and flow.
void record_sent_frame(Kernel& k, SkbIndex skb, DeviceIndex device, std::span<const std::uint8_t> frame)
{
    const PacketId packet = k.skb(skb).packet;
    PacketRecord& record = k.trace.mutable_packet(packet);
    record.length = static_cast<std::uint32_t>(frame.size());
    if (record.device == DeviceId{}) {
        record.device = k.device(device).id;
    }
    if (!k.recording()) {
        return;
    }
    k.trace.set_frame(packet, frame);
    if (const auto flow = flow_of_frame(frame)) {
        k.trace.mutable_packet(packet).flow = flow;
    }
}

/// What QEMU's e1000e (before version 8.1) makes of a large TCP packet: not segments but fragments of the one datagram, each with as much of
/// it as the MSS, DF or not; the receiver puts them together.
std::vector<std::vector<std::uint8_t>> fragments_on_wire(std::span<const std::uint8_t> whole, const Ipv4View& ip, std::uint32_t mss)
{
    const std::size_t headers = ETH_HLEN + ip.header_length();
    const std::size_t most = std::max<std::size_t>(mss & ~7U, 8);
    std::vector<std::vector<std::uint8_t>> frames;
    for (std::size_t at = headers; at < whole.size(); at += most) {
        const auto piece = whole.subspan(at, std::min(most, whole.size() - at));
        auto& frame = frames.emplace_back(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(headers));
        frame.insert(frame.end(), piece.begin(), piece.end());
        const auto header = std::span(frame).subspan(ETH_HLEN, ip.header_length());
        const MutableIpv4View cut = MutableIpv4View::unchecked(std::span(frame).subspan(ETH_HLEN));
        cut.set_total_length(static_cast<std::uint16_t>(header.size() + piece.size()));
        cut.set_fragment(ip.dont_fragment(), at + piece.size() < whole.size(), static_cast<std::uint32_t>(at - headers));
        fill_ipv4_checksum(header);
    }
    return frames;
}

} // namespace

SimTime transmit_skb_on_wire(Kernel& k, DeviceIndex device, std::uint32_t queue, SkbIndex skb, SimTime leaves_at)
{
    if (k.skb(skb).gso_size == 0) {
        std::vector<std::uint8_t> frame = frame_on_wire(k, skb);
        record_sent_frame(k, skb, device, frame);
        return transmit_on_wire(k, device, queue, std::move(frame), leaves_at);
    }
    const std::vector<std::uint8_t> whole = frame_on_wire(k, skb);
    record_sent_frame(k, skb, device, whole);
    const bool as_qemu = k.device(device).e1000.tso_empty_tail;
    const auto ip = Ipv4View::checked(std::span<const std::uint8_t>(whole).subspan(ETH_HLEN));
    const bool as_fragments = as_qemu && ip && k.device(device).kind == DeviceKind::e1000e;
    auto frames = as_fragments ? fragments_on_wire(whole, *ip, k.skb(skb).gso_size) : frames_on_wire(k, skb, as_qemu);
    SimTime done = leaves_at;
    for (std::size_t at = 0; at < frames.size(); ++at) {
        done = transmit_on_wire(k, device, queue, std::move(frames[at]), leaves_at, at + 1 == frames.size());
    }
    return done;
}

} // namespace skbscope::kernel
