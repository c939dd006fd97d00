#include "tests/fuzz/frames.h"

#include "core/kernel/functions.h"
#include "core/packet/build.h"
#include "core/packet/checksum.h"
#include "core/packet/views.h"
#include "core/trace/stack_state.h"

#include <algorithm>
#include <array>

namespace skbscope::fuzz {

namespace {

using namespace kernel;

/// A router between two wires, with open and closed ports, and a slow reader.
constexpr const char* router = R"(skbscope: 1
hosts:
  - name: router
    cpus: 2
    sysctls: {net.ipv4.ip_forward: 1, net.core.netdev_max_backlog: 20}
    devices:
      - {name: eth0, mac: "52:54:00:00:00:01", address: 10.0.0.1/24, link: west}
      - {name: eth1, mac: "52:54:00:00:00:02", address: 10.0.1.1/24, link: east, rx_checksum: false, gro: false}
    receivers:
      - {name: dnsd, port: 53, cpu: 1}
      - {name: slow, port: 5001, rcvbuf: 4608, work: 5ms, cpu: 0}
stations:
  - {name: west, mac: "52:54:00:00:01:01", address: 10.0.0.2}
  - {name: east, mac: "52:54:00:00:01:02", address: 10.0.1.2}
)";

using Bytes = std::vector<std::uint8_t>;

void put16(Bytes& to, std::size_t at, unsigned value)
{
    to[at] = static_cast<std::uint8_t>(value >> 8);
    to[at + 1] = static_cast<std::uint8_t>(value);
}

/// Ethernet and IPv4 headers around a payload, right in every field: what is changed afterwards is what is wrong.
Bytes ipv4(bool to_eth1, std::uint8_t protocol, std::uint32_t destination, const Bytes& payload)
{
    Bytes frame(14 + 20, 0);
    const std::uint8_t own[6] = {0x52, 0x54, 0, 0, 0, static_cast<std::uint8_t>(to_eth1 ? 2 : 1)};
    const std::uint8_t peer[6] = {0x52, 0x54, 0, 0, 1, static_cast<std::uint8_t>(to_eth1 ? 2 : 1)};
    std::copy_n(own, 6, frame.begin());
    std::copy_n(peer, 6, frame.begin() + 6);
    put16(frame, 12, 0x0800);
    frame[14] = 0x45;
    put16(frame, 16, static_cast<unsigned>(20 + payload.size()));
    frame[22] = 64;
    frame[23] = protocol;
    put16(frame, 26, 0x0a00);
    put16(frame, 28, to_eth1 ? 0x0102 : 0x0002);
    put16(frame, 30, destination >> 16);
    put16(frame, 32, destination & 0xffff);
    fill_ipv4_checksum(std::span(frame).subspan(14, 20));
    frame.insert(frame.end(), payload.begin(), payload.end());
    return frame;
}

Bytes arp(bool to_eth1)
{
    Bytes frame = ipv4(to_eth1, 0, 0, Bytes(8, 0));
    std::fill_n(frame.begin(), 6, std::uint8_t{0xff});
    put16(frame, 12, 0x0806);
    const std::uint8_t header[] = {0, 1, 8, 0, 6, 4, 0, 1};
    std::copy_n(header, sizeof header, frame.begin() + 14);
    std::copy_n(frame.begin() + 6, 6, frame.begin() + 22);
    put16(frame, 28, 0x0a00);
    put16(frame, 30, to_eth1 ? 0x0102 : 0x0002);
    put16(frame, 38, 0x0a00);
    put16(frame, 40, to_eth1 ? 0x0101 : 0x0001);
    return frame;
}

/// A real frame of the kind.
Bytes seed_frame(unsigned kind, bool to_eth1)
{
    const std::uint32_t here = to_eth1 ? 0x0a000101 : 0x0a000001;
    const std::uint32_t beyond = to_eth1 ? 0x0a000002 : 0x0a000102;
    Bytes udp(8 + 16, 0);
    put16(udp, 0, 40001);
    put16(udp, 2, kind % 2 == 0 ? 53 : 5001);
    put16(udp, 4, static_cast<unsigned>(udp.size()));
    Bytes tcp(20, 0);
    put16(tcp, 0, 40001);
    put16(tcp, 2, 80);
    tcp[12] = 0x50;
    tcp[13] = 0x02;
    put16(tcp, 14, 65535);
    Bytes echo(16, 0);
    echo[0] = 8;
    put16(echo, 2, 0xf7ff);
    switch (kind) {
    case 0:
    case 1: return ipv4(to_eth1, 17, here, udp);
    case 2: return ipv4(to_eth1, 17, beyond, udp);
    case 3: return ipv4(to_eth1, 6, here, tcp);
    case 4: return ipv4(to_eth1, 1, here, echo);
    case 5: return arp(to_eth1);
    case 6: { // a first fragment
        Bytes frame = ipv4(to_eth1, 17, here, udp);
        put16(frame, 20, 0x2000);
        put16(frame, 24, 0);
        fill_ipv4_checksum(std::span(frame).subspan(14, 20));
        return frame;
    }
    case 7: { // IPv6 with UDP
        Bytes frame = ipv4(to_eth1, 0, 0, Bytes(20 + udp.size(), 0));
        put16(frame, 12, 0x86dd);
        std::fill(frame.begin() + 14, frame.end(), std::uint8_t{0});
        frame[14] = 0x60;
        put16(frame, 18, static_cast<unsigned>(udp.size()));
        frame[20] = 17;
        frame[21] = 64;
        put16(frame, 22, 0xfe80);
        frame[37] = 2;
        put16(frame, 38, 0xff02);
        frame[53] = 1;
        std::ranges::copy(udp, frame.begin() + 54);
        return frame;
    }
    default: return ipv4(to_eth1, static_cast<std::uint8_t>(kind * 7), here, udp);
    }
}

struct Input {
    bool to_eth1 = false;
    Bytes frame;
};

/// Takes the next frame off the bytes.
Input next_frame(std::span<const std::uint8_t>& bytes)
{
    constexpr std::size_t longest = 1600;
    const std::uint8_t head = bytes[0];
    const std::size_t wanted = bytes.size() < 3 ? 0 : std::size_t{bytes[1]} + (std::size_t{bytes[2]} & 7U) * 256;
    bytes = bytes.subspan(std::min<std::size_t>(3, bytes.size()));
    const std::size_t length = std::min({wanted, bytes.size(), longest});
    const auto given = bytes.first(length);
    bytes = bytes.subspan(length);
    Input input;
    input.to_eth1 = (head & 1) != 0;
    if ((head & 0x80) != 0) {
        input.frame.assign(given.begin(), given.end()); // raw
        return input;
    }
    input.frame = seed_frame(head >> 1 & 15, input.to_eth1);
    // Pairs of (place, change); a last odd byte says where the frame is cut.
    for (std::size_t at = 0; at + 1 < given.size(); at += 2) {
        input.frame[given[at] % input.frame.size()] ^= given[at + 1];
    }
    if (given.size() % 2 == 1) {
        input.frame.resize(given.back() % (input.frame.size() + 1));
    }
    if ((head & 0x40) != 0 && input.frame.size() >= 34 && (input.frame[14] & 15) >= 5 &&
        input.frame.size() >= 14 + 4 * std::size_t{input.frame[14] & 15U}) {
        put16(input.frame, 24, 0);
        fill_ipv4_checksum(std::span(input.frame).subspan(14, 4 * std::size_t{input.frame[14] & 15U}));
    }
    return input;
}

const Scenario& scenario()
{
    static const Scenario parsed = *parse_scenario(router, "fuzz");
    return parsed;
}

} // namespace

std::string run_frames(std::span<const std::uint8_t> bytes, std::uint64_t& frames)
{
    constexpr std::uint64_t most_events = 20'000'000; // far beyond what such an input can cause
    std::vector<ReplayFrame> fed;
    std::vector<bool> east;
    SimTime at{100'000};
    while (!bytes.empty() && fed.size() < 64) {
        Input input = next_frame(bytes);
        fed.push_back({at, std::move(input.frame), 0});
        fed.back().wire_length = static_cast<std::uint32_t>(fed.back().bytes.size());
        east.push_back(input.to_eth1);
        at = at + Duration{1'000};
    }
    Trace trace;
    World world = build_world(scenario(), trace);
    Kernel k(world, trace);
    for (std::size_t row = 0; row < fed.size(); ++row) {
        DeviceEvent event;
        event.kind = DeviceEvent::Kind::frame_leaves;
        event.at = fed[row].at;
        event.index = east[row] ? 1 : 0;
        event.frame.assign(fed[row].bytes.begin(), fed[row].bytes.end());
        event.wire_length = fed[row].wire_length;
        k.schedule(std::move(event));
    }
    frames += fed.size();
    k.run_until(SimTime{2'000'000'000});
    if (trace.size() > most_events) {
        return "it never comes to rest";
    }
    StackState state(trace);
    std::uint64_t births = 0;
    for (std::size_t ordinal = 0; ordinal < trace.size(); ++ordinal) {
        state.apply(ordinal);
        births += trace[ordinal].event_kind() == EventKind::birth ? 1 : 0;
    }
    const Accounting& account = state.accounting();
    if (account.born != births || account.born != trace.packet_count()) {
        return "packets are born that nobody announces";
    }
    std::array<std::uint64_t, verdict_count> table{};
    for (const PacketRecord& packet : trace.packets()) {
        ++table[static_cast<std::size_t>(packet.verdict)];
        if (packet.verdict == Verdict::dropped && packet.reason == DropReasonId::none) {
            return "a drop has no reason: packet " + std::to_string(to_index(packet.id));
        }
    }
    for (int row = 1; row < verdict_count; ++row) {
        if (table[static_cast<std::size_t>(row)] != account.of(static_cast<Verdict>(row))) {
            return "the events' account and the packet table differ: " + std::string(to_string(static_cast<Verdict>(row)));
        }
    }
    return {};
}

} // namespace skbscope::fuzz
