// The world outside the CPUs: wires, stations, the NIC's own work by DMA, timers that fire.

#include "core/kernel/functions.h"
#include "core/packet/build.h"
#include "core/packet/views.h"

#include <algorithm>
#include <cstdio>

namespace skbscope::kernel {

bool has_work(const Cpu& cpu)
{
    return !cpu.softirq.empty() || !cpu.pending_irqs.empty() || cpu.task != nothing || !cpu.run_queue.empty();
}

void kick(Cpu& cpu, SimTime at)
{
    if (!has_work(cpu)) {
        cpu.now = std::max(cpu.now, at);
    }
}

namespace {

constexpr Duration propagation{500};   // about 100 m of cable
constexpr std::uint32_t wire_overhead = 24; // preamble 8, FCS 4, gap 12 bytes
constexpr std::uint32_t eth_zlen = 60;  // include/uapi/linux/if_ether.h: ETH_ZLEN

Duration serialization(const NetDevice& device, std::size_t frame_bytes)
{
    const std::uint64_t bits = (std::max<std::uint64_t>(frame_bytes, eth_zlen) + wire_overhead) * 8;
    return {static_cast<std::int64_t>(bits * 1'000'000'000ULL / device.e1000.bits_per_second)};
}

PacketId new_packet(Kernel& k, const NetDevice& device, std::span<const std::uint8_t> frame, std::uint32_t wire_length,
                    SimTime at)
{
    PacketRecord record;
    record.host = k.w.hosts[device.host].id;
    record.device = device.id;
    record.length = std::max<std::uint32_t>(wire_length, static_cast<std::uint32_t>(frame.size()));
    record.birth = at;
    record.flow = flow_of_frame(frame);
    const PacketId packet = k.trace.add_packet(record);
    k.trace.set_frame(packet, frame);
    return packet;
}

/// A frame leaves the far end towards the device: it is born as this host's packet when its first bit is on the wire.
void put_on_wire(Kernel& k, DeviceIndex to, std::vector<std::uint8_t> frame, std::uint32_t wire_length, SimTime leaves)
{
    NetDevice& device = k.device(to);
    const PacketId packet = new_packet(k, device, frame, wire_length, leaves);
    k.emit_hardware(EventKind::birth, leaves, device, packet, to_index(device.id));
    k.emit_hardware(EventKind::enqueue, leaves, device, packet, to_index(device.e1000.wire_queue));
    DeviceEvent arrival;
    arrival.kind = DeviceEvent::Kind::frame_arrives;
    arrival.at = leaves + serialization(device, std::max<std::size_t>(wire_length, frame.size())) + propagation;
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
    char name[16];
    const int length = std::snprintf(name, sizeof name, "PKT%05llu", static_cast<unsigned long long>(ordinal % 100000));
    std::copy_n(name, std::min<std::size_t>(static_cast<std::size_t>(length), size), payload.begin());
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
    frame.ethernet = {k.device(station.device).mac, station.mac, proto::eth_p_ip};
    frame.source = IpAddress::v4(station.address);
    frame.destination = IpAddress::v4(flow.destination);
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

/// A station looks at what arrives: it answers ARP requests for its address and swallows the rest.
void station_receives(Kernel& k, std::int32_t index, std::span<const std::uint8_t> frame, SimTime at)
{
    Station& station = k.w.stations[static_cast<std::size_t>(index)];
    ++station.frames_seen;
    const auto ethernet = EthernetView::checked(frame);
    if (!ethernet || ethernet->ethertype() != proto::eth_p_arp || !station.answers_arp) {
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
    DeviceEvent answer;
    answer.kind = DeviceEvent::Kind::frame_leaves;
    answer.at = at + station.reply_delay;
    answer.index = index;
    answer.frame = build_arp_frame(reply);
    answer.frame.resize(std::max<std::size_t>(answer.frame.size(), eth_zlen));
    answer.wire_length = static_cast<std::uint32_t>(answer.frame.size());
    k.schedule(std::move(answer));
}

/// The NIC has sent the oldest frame of its TX ring: it sets DD and asks for an interrupt.
void transmission_done(Kernel& k, DeviceIndex index, SimTime at)
{
    E1000& nic = k.device(index).e1000;
    for (TxSlot& slot : nic.tx) {
        if (!slot.done && slot.done_at <= at) {
            slot.done = true;
        }
    }
    e1000_raise_interrupt(k, index, at);
}

void task_wakes(Kernel& k, std::int32_t index, SimTime at)
{
    Task& task = k.task(index);
    if (task.state != Task::State::sleeping) {
        return;
    }
    Cpu& cpu = k.w.cpus[task.cpu];
    task.state = Task::State::runnable;
    kick(cpu, at);
    cpu.run_queue.push_back(index);
}

} // namespace

void happen(Kernel& k, DeviceEvent event)
{
    switch (event.kind) {
    case DeviceEvent::Kind::flow_sends: flow_sends(k, event.index, event.at); break;
    case DeviceEvent::Kind::frame_leaves:
        station_sends(k, event.index, std::move(event.frame), event.wire_length, event.at);
        break;
    case DeviceEvent::Kind::frame_enters_wire:
        put_on_wire(k, event.index, std::move(event.frame), event.wire_length, event.at);
        break;
    case DeviceEvent::Kind::frame_arrives: frame_arrives(k, event.index, event.packet, std::move(event.frame), event.at); break;
    case DeviceEvent::Kind::tx_done: transmission_done(k, event.index, event.at); break;
    case DeviceEvent::Kind::task_wakes: task_wakes(k, event.index, event.at); break;
    case DeviceEvent::Kind::timer: timer_expires(k, event); break;
    }
}

void frame_arrives(Kernel& k, DeviceIndex index, PacketId packet, std::vector<std::uint8_t> frame, SimTime at)
{
    NetDevice& device = k.device(index);
    E1000& nic = device.e1000;
    k.emit_hardware(EventKind::dequeue, at, device, packet, to_index(nic.wire_queue));
    if (nic.rx_available == 0) {
        // No descriptor: the NIC discards the frame itself. There is no skb and no reason, only a counter.
        PacketRecord& record = k.trace.mutable_packet(packet);
        record.verdict = Verdict::dropped;
        record.reason = drop::RX_RING_FULL;
        record.death = at;
        k.count_device(index, DevStat::rx_missed_errors, packet, 1, at);
        k.emit_hardware(EventKind::drop, at, device, packet, to_index(drop::RX_RING_FULL));
        return;
    }
    --nic.rx_available;
    nic.rx_filled.push_back({packet, std::move(frame), at});
    k.emit_hardware(EventKind::enqueue, at, device, packet, to_index(nic.rx_queue));
    e1000_raise_interrupt(k, index, at);
}

void e1000_raise_interrupt(Kernel& k, DeviceIndex index, SimTime at)
{
    NetDevice& device = k.device(index);
    E1000& nic = device.e1000;
    nic.cause = true;
    if (nic.interrupts_masked || nic.line_asserted) {
        return;
    }
    nic.line_asserted = true;
    k.emit_hardware(EventKind::irq_raise, at, device, PacketId::none, to_index(device.id));
    Cpu& cpu = k.w.cpus[k.host_of(device).first_cpu + device.irq_cpu];
    kick(cpu, at);
    cpu.pending_irqs.push_back({PendingIrq::Kind::device, index});
}

void transmit_on_wire(Kernel& k, DeviceIndex index, std::span<const std::uint8_t> frame, SimTime leaves_at)
{
    NetDevice& device = k.device(index);
    E1000& nic = device.e1000;
    const SimTime leaves = std::max(leaves_at, nic.tx_wire_free);
    nic.tx_wire_free = leaves + serialization(device, frame.size());
    if (nic.station != nothing) {
        station_receives(k, nic.station, frame, nic.tx_wire_free + propagation);
    } else if (nic.peer_device != nothing) {
        DeviceEvent enters;
        enters.kind = DeviceEvent::Kind::frame_enters_wire;
        enters.at = leaves;
        enters.index = nic.peer_device;
        enters.frame.assign(frame.begin(), frame.end());
        enters.wire_length = static_cast<std::uint32_t>(frame.size());
        k.schedule(std::move(enters));
    }
    DeviceEvent done;
    done.kind = DeviceEvent::Kind::tx_done;
    done.at = nic.tx_wire_free;
    done.index = index;
    k.schedule(std::move(done));
}

} // namespace skbscope::kernel
