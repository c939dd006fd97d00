#pragma once
// One machine whose time a test drives itself, and whose functions it may call between two moments.

#include "core/kernel/functions.h"
#include "core/packet/build.h"
#include "core/packet/bytes.h"
#include "core/packet/protocols.h"
#include "tests/core/kernel/model.h"

namespace skbscope::test {

/// A scenario whose time the test drives.
class Machine {
public:
    explicit Machine(const std::string& text, SimTime until = SimTime{} + 40_us)
        : world(build_world(scenario_of(text), trace)), k(world, trace)
    {
        k.run_until(until);
    }

    /// One datagram from 127.0.0.1 put into netif_rx(); with a broken IP header it wakes nobody.
    void into_backlog(bool broken = false)
    {
        const std::vector<std::uint8_t> payload(64, 'x');
        UdpFrame frame;
        frame.source = frame.destination = IpAddress::v4(0x7f000001);
        frame.destination_port = 5001;
        frame.source_port = 4000;
        frame.payload = payload;
        auto bytes = build_udp_frame(frame);
        bytes[24] ^= broken ? 1 : 0; // of the header's checksum
        const kernel::SkbIndex skb = skb_of(bytes, 0);
        set_dst(k, skb, ip_route_output_flow(k, 0, 0x7f000001, 0));
        __netif_rx(k, skb);
    }

    /// A packet of that device whose Ethernet header is off.
    kernel::SkbIndex skb_of(const std::vector<std::uint8_t>& bytes, kernel::DeviceIndex device)
    {
        PacketRecord record;
        record.host = k.host().id;
        const PacketId packet = trace.add_packet(record);
        k.emit(EventKind::birth, packet, fn::__alloc_skb);
        const kernel::SkbIndex skb = __alloc_skb(k, packet, static_cast<std::uint32_t>(bytes.size()));
        std::ranges::copy(bytes, skb_put(k, skb, static_cast<std::uint32_t>(bytes.size())));
        set_device(k, skb, device);
        eth_type_trans(k, skb, device);
        return skb;
    }

    [[nodiscard]] std::uint64_t stat(std::size_t device, kernel::DevStat which) const
    {
        return world.devices[device].stats[static_cast<std::size_t>(which)];
    }
    [[nodiscard]] std::size_t calls(FunctionId function) const
    {
        std::size_t n = 0;
        for (std::size_t at = 0; at < trace.size(); ++at) {
            n += trace[at].is_call() && trace[at].function_id() == function ? 1 : 0;
        }
        return n;
    }

    Trace trace;
    kernel::World world;
    kernel::Kernel k;
};

using Bytes = std::vector<std::uint8_t>;

inline const MacAddress host_mac{{0x52, 0x54, 0, 0x12, 0x34, 0}}, peer_mac{{0x52, 0x54, 0, 0x12, 0x34, 1}};
inline const IpAddress here = *IpAddress::parse("10.99.0.2"), peer = *IpAddress::parse("10.99.0.1");

/// One host (10.99.0.2 on eth0) whose wire a test writes on.
class Wire {
public:
    explicit Wire(const std::string& host = "", const std::string& device = "",
                  const std::string& kernel = "6.1")
        : world_(build_world(
              scenario_of(
                  "skbscope: 1\nkernel: \"" + kernel +
                  "\"\nhosts:\n  - name: server\n    cpus: 1\n    devices:\n"
                  "      - {name: eth0, mac: \"52:54:00:12:34:00\", address: 10.99.0.2/24, link: client" +
                  device +
                  "}\n    neighbours: [{address: 10.99.0.1, mac: \"52:54:00:12:34:01\", device: eth0}]\n" +
                  host + "stations:\n  - {name: client, mac: \"52:54:00:12:34:01\", address: 10.99.0.1}\n"),
              trace_)),
          kernel_(world_, trace_)
    {
        run(100_us);
    }

    void run(Duration time)
    {
        now_ = now_ + time;
        kernel_.run_until(now_);
    }
    void send(Bytes frame)
    {
        kernel::DeviceEvent event;
        event.kind = kernel::DeviceEvent::Kind::frame_leaves;
        event.at = now_;
        event.index = 0;
        event.wire_length = static_cast<std::uint32_t>(std::max<std::size_t>(frame.size(), 60));
        event.frame = std::move(frame);
        event.frame.resize(event.wire_length);
        kernel_.schedule(std::move(event));
        run(1_ms);
    }
    /// A segment to :80, whose numbers count from its first bytes.
    void send_segment(std::uint8_t flags, std::uint32_t sequence, std::uint32_t acknowledged,
                      std::size_t size = 0, std::uint16_t port = 40000)
    {
        const Bytes payload(size, 'x');
        TcpFrame frame;
        frame.ethernet = {host_mac, peer_mac, proto::eth_p_ip};
        frame.source = peer;
        frame.destination = here;
        frame.tcp = {port, 80, sequence, acknowledged, flags, 65535};
        frame.payload = payload;
        send(build_tcp_frame(frame));
    }
    /// The three segments of a handshake; what the host says comes from its state.
    void connect()
    {
        send_segment(syn, isn, 0);
        for (const kernel::TcpRequest& request : world_.tcp.requests) {
            if (request.in_use) {
                their_isn_ = request.snt_isn;
            }
        }
        send_segment(ack, isn + 1, their_isn_ + 1);
    }
    void send_data(std::uint32_t offset, std::size_t size)
    {
        send_segment(ack, isn + 1 + offset, their_isn_ + 1, size);
    }

    /// The sequence number of the last segment that the host sent.
    [[nodiscard]] std::uint32_t last_sequence() const
    {
        for (std::size_t id = trace_.packet_count(); id > 0; --id) {
            const auto packet = static_cast<PacketId>(id);
            const PacketRecord& record = trace_.packet(packet);
            if (record.sent_here && record.flow && record.flow->protocol == proto::ipproto_tcp) {
                return load_be32(trace_.frame(packet).data() + 38);
            }
        }
        throw std::logic_error("it sent none");
    }

    [[nodiscard]] kernel::World& world() { return world_; }
    [[nodiscard]] kernel::TcpSock& connection()
    {
        for (kernel::TcpSock& sock : world_.tcp.socks) {
            if (sock.in_use && sock.state == kernel::TcpState::established) {
                return sock;
            }
        }
        throw std::logic_error("no connection");
    }
    [[nodiscard]] std::uint64_t drops(DropReasonId reason) const
    {
        StackState state(trace_);
        for (std::size_t at = 0; at < trace_.size(); ++at) {
            state.apply(at);
        }
        std::uint64_t sum = 0;
        for (const auto& [key, n] : state.drops()) {
            sum += key.reason == reason ? n : 0;
        }
        return sum;
    }
    [[nodiscard]] std::uint64_t counted(kernel::Mib counter) const
    {
        return world_.nets[0].mib[static_cast<std::size_t>(counter)];
    }

    static constexpr std::uint8_t syn = 0x02, ack = 0x10;
    static constexpr std::uint32_t isn = 1000;

private:
    Trace trace_;
    kernel::World world_;
    kernel::Kernel kernel_;
    SimTime now_;
    std::uint32_t their_isn_ = 0;
};

} // namespace skbscope::test
