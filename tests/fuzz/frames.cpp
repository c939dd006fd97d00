#include "tests/fuzz/frames.h"

#include "core/kernel/functions.h"
#include "core/packet/build.h"
#include "core/packet/checksum.h"
#include "core/packet/views.h"
#include "core/scenario/device_settings.h"
#include "core/scenario/sysctls.h"
#include "core/trace/stack_state.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>

namespace skbscope::fuzz {

namespace {

using namespace kernel;
using Bytes = std::vector<std::uint8_t>;

/// A router with a wire on each kind of NIC and a namespace behind a veth pair. Words in capitals stand for what differs.
constexpr const char* router = R"(skbscope: 1
kernel: "PROFILE"
hosts:
  - name: router
    cpus: 3
    ipv6_forwarding: true
    sysctls: {net.ipv4.ip_forward: 1, SYSCTLS}
    devices:
      - {name: eth0, mac: "52:54:00:00:00:01", addresses: [10.0.0.1/24, "fd00:0::1/64"], link: west, promiscuous: true, ETH0}
      - {name: eth1, driver: e1000e, mac: "52:54:00:00:00:02", addresses: [10.0.1.1/24, "fd00:1::1/64"], link: east, promiscuous: true, ETH1}
      - {name: eth2, driver: virtio_net, mac: "52:54:00:00:00:03", addresses: [10.0.2.1/24, "fd00:2::1/64"], link: north, promiscuous: true, ETH2}
      - {name: v0, driver: veth, mac: "52:54:00:00:00:04", addresses: [10.0.3.1/24, "fd00:3::1/64"], peer: inner.v1, VETH}
APPLICATIONS
RULES
  - name: inner
    namespace_of: router
    devices:
      - {name: v1, driver: veth, mac: "52:54:00:00:00:05", addresses: [10.0.3.2/24, "fd00:3::2/64"], peer: router.v0}
    routes:
      - {to: default, via: 10.0.3.1, device: v1}
      - {to: "::/0", via: "fd00:3::1", device: v1}
    receivers:
      - {name: echo, port: 53, cpu: 1}
INNER
stations:
  - {name: west, mac: "52:54:00:00:01:01", address: 10.0.0.2, address6: "fd00:0::2"}
  - {name: east, mac: "52:54:00:00:01:02", address: 10.0.1.2, address6: "fd00:1::2"}
  - {name: north, mac: "52:54:00:00:01:03", address: 10.0.2.2, NORTH}
)";

using Words = std::vector<std::pair<std::string_view, std::string_view>>;

/// Sockets of every kind, slow readers, taps, traffic of its own.
const Words usual_machine = {
    {"SYSCTLS", "net.core.netdev_max_backlog: 20, net.netfilter.nf_conntrack_max: 40"},
    {"ETH0", "rx_ring: 48"},
    {"ETH1", "rx_checksum: false, gro: false, tso: false"},
    {"ETH2", "queues: 2, rps_cpus: \"3\", qdisc: {kind: pfifo, limit: 5}"},
    {"VETH", "mtu: 1500"},
    {"NORTH", "answers_arp: false"},
    {"APPLICATIONS\n", R"(    routes:
      - {to: 10.66.0.0/16, type: blackhole}
      - {to: 10.67.0.0/16, type: prohibit}
      - {to: 10.68.0.0/16, via: 10.0.0.2, device: eth0, mtu: 600}
      - {to: "fd00:66::/64", kind: prohibit}
    receivers:
      - {name: dnsd, port: 53, cpu: 1}
      - {name: six, port: 54, address: "::", cpu: 1}
      - {name: slow, port: 5001, rcvbuf: 4608, work: 5ms, cpu: 0}
      - {name: picky, port: 5003, filter: "src port 40001", filter_keep: 12, wait: recvfrom, cpu: 0}
      - {name: pair-a, port: 5004, reuseport: true, cpu: 0}
      - {name: pair-b, port: 5004, reuseport: true, cpu: 1}
    taps:
      - {name: tcpdump, device: eth0, filter: "udp or arp or ip6", buffer: 65536, cpu: 0}
      - {name: any, kind: packet, filter: "not tcp port 80", snaplen: 60, rcvbuf: 4608, cpu: 1}
    pings:
      - {to: 10.0.0.2, count: 2, interval: 20us, cpu: 0}
      - {to: 10.0.1.9, count: 1, socket: ping, cpu: 1}
    tcp_servers:
      - {name: web, port: 80, receive: 4000, send: 3000, backlog: 2, cpu: 0}
      - {name: full, port: 81, backlog: 0, accept: false, cpu: 1}
)"},
    {"INNER\n", R"(    senders:
      - {name: dig, to: 10.0.0.2:53, count: 3, size: 900, gap: 30us, start: 110us, cpu: 1}
      - {name: big, to: 10.0.1.2:53, count: 1, size: 4000, start: 120us, cpu: 0}
      - {name: dig6, to: "[fd00:2::9]:53", count: 2, size: 1900, gap: 20us, start: 110us, cpu: 0}
    tcp_clients:
      - {name: browser, to: 10.0.3.1:80, from_port: 40010, send: 4000, receive: 3000, start: 100us, cpu: 1}
)"},
};

/// Where the first machine is quiet: queues that shape and drop, RPS everywhere, a listener that answers with SYN cookies, raw and ping
/// sockets of IPv6, an accept queue that is full, rings of the least size, a lossy wire, pktgen on a wire and on both ends of the veth
/// pair, connections that both of their ends close at once, each on a CPU of its own.
const Words crowded_machine = {
    {"SYSCTLS", "net.core.netdev_max_backlog: 3, net.core.netdev_budget: 2, net.core.dev_weight: 1, net.ipv4.tcp_syncookies: 2, net.ipv4.tcp_max_syn_backlog: 1, "
                "net.core.flow_limit_cpu_bitmap: 7, net.core.rps_sock_flow_entries: 8, net.ipv4.ipfrag_high_thresh: 3000, net.ipv6.ip6frag_high_thresh: 3000, "
                "net.netfilter.nf_conntrack_max: 5, net.ipv4.neigh.default.gc_thresh3: 3, net.ipv4.udp_mem: 2"},
    {"ETH0", "rx_ring: 48, tx_ring: 48, rps_cpus: \"6\", rps_flow_cnt: 4, qdisc: {kind: tbf, rate: 100kbit, burst: 1600, limit: 3000}"},
    {"ETH1", "rps_cpus: \"1\", gro_flush_timeout: 20000, napi_defer_hard_irqs: 2, tso_empty_tail: true, loss: 10%, "
             "qdisc: {kind: fq_codel, limit: 3, flows: 2, target: 1us, interval: 1us, memory_limit: 4000}"},
    {"ETH2", "queues: 3, rps_cpus: \"7\", txqueuelen: 2, qdisc: pfifo_fast, tx_irq_delay: 30us, irq_delay: 3us"},
    {"VETH", "rps_cpus: \"4\""},
    {"NORTH", "address6: \"fd00:2::2\""},
    {"APPLICATIONS\n", R"(    receivers:
      - {name: dnsd, port: 53, rcvbuf: 2304, connect: "10.0.0.2:40001", cpu: 1}
      - {name: six, port: 54, address: "::", rcvbuf: 2304, wait: recvfrom, work: 50us, cpu: 1}
      - {name: slow, port: 5001, start: 1s, cpu: 0}
      - {name: pair-a, port: 5004, reuseport: true, cpu: 0}
      - {name: pair-b, port: 5004, reuseport: true, cpu: 2}
    taps:
      - {name: ring, version: 2, buffer: 65536, snaplen: 100, cpu: 0}
      - {name: late, kind: packet, rcvbuf: 2304, start: 110us, stop: 150us, work: 20us, cpu: 2}
    pings:
      - {to: 10.0.0.2, count: 3, size: 2000, interval: 10us, cpu: 0}
      - {to: "fd00:0::2", count: 3, size: 1600, interval: 10us, cpu: 1}
      - {to: "fd00:3::2", count: 3, interval: 15us, socket: ping, cpu: 2}
      - {to: "fd00:2::9", count: 2, interval: 15us, socket: ping, cpu: 2}
    pktgens:
      - {device: eth1, to: 10.0.1.2:9, to_mac: "52:54:00:00:01:02", from: 10.0.1.1:9, count: 6, size: 300, gap: 2us, start: 103us, cpu: 0}
      - {device: v0, to: 10.0.3.2:53, to_mac: "52:54:00:00:00:05", from: 10.0.3.1:9, count: 6, size: 60, gap: 1us, start: 104us, cpu: 1}
    tcp_servers:
      - {name: web, port: 80, receive: 4000, send: 3000, backlog: 1, cpu: 0}
      - {name: full, port: 81, backlog: 0, accept: false, cpu: 1}
      - {name: brief, port: 83, receive: 10, send: 10, cpu: 2}
    tcp_clients:
      - {name: both, to: 127.0.0.1:83, count: 3, gap: 3us, send: 10, receive: 10, start: 100us, cpu: 1}
)"},
    {"INNER\n", R"(    pings:
      - {to: "fd00:2::2", count: 2, interval: 10us, cpu: 1}
    senders:
      - {name: dig, to: 10.0.0.2:53, count: 12, size: 1400, gap: 1us, start: 100us, sndbuf: 4608, cpu: 1}
      - {name: burst, to: 10.0.1.2:53, count: 12, size: 600, gap: 0us, start: 100us, cpu: 0}
      - {name: north, to: 10.0.2.2:53, count: 12, size: 60, gap: 0us, start: 105us, cpu: 2}
      - {name: big6, to: "[fd00:1::2]:53", count: 2, size: 9000, gap: 20us, start: 110us, cpu: 0}
    pktgens:
      - {device: v1, to: 10.0.3.1:53, to_mac: "52:54:00:00:00:04", from: 10.0.0.2:40001, count: 8, size: 1514, gap: 0us, start: 102us, cpu: 2}
    tcp_clients:
      - {name: browser, to: 10.0.3.1:80, from_port: 40010, send: 4000, receive: 3000, start: 100us, cpu: 1}
      - {name: second, to: 10.0.3.1:81, count: 3, gap: 5us, send: 10, start: 100us, cpu: 2}
      - {name: third, to: 10.0.3.1:80, count: 2, gap: 5us, send: 4000, receive: 3000, start: 101us, cpu: 0}
      - {name: fourth, to: 10.0.3.1:83, count: 2, gap: 2us, send: 10, receive: 10, start: 100us, cpu: 0}
)"},
};

constexpr const char* nft_rules = R"(    nft: |
      table inet edge {
          chain early {
              type filter hook prerouting priority raw; policy accept;
              udp dport 5353 notrack
              ip saddr 10.0.0.66 drop
          }
          chain input {
              type filter hook input priority filter; policy accept;
              ct state invalid counter drop
              ct state established,related accept
              udp dport 53 limit rate 1000/second burst 5 packets log prefix "dns " meta mark set 0x7
              udp dport 5002 reject
              tcp dport 82 reject with icmp type admin-prohibited
              ip6 saddr fd00::66 drop
              jump more
          }
          chain more {
              icmp type echo-request limit rate 5/second accept
              meta l4proto { 6, 17 } counter return
              ip ttl 1-3 drop
          }
          chain forward {
              type filter hook forward priority filter; policy drop;
              ct state new,established,related counter accept
              ip daddr 10.0.1.0/24 udp dport 9 reject
              ct state untracked meta mark set 3 accept
          }
          chain output {
              type filter hook output priority mangle; policy accept;
              meta mark 0x7 counter
              udp sport 53 ct mark set 5
          }
      }
      table ip nat {
          chain pre {
              type nat hook prerouting priority dstnat; policy accept;
              udp dport 7000 dnat to 10.0.3.2:53
              tcp dport 8080 redirect to :80
          }
          chain post {
              type nat hook postrouting priority srcnat; policy accept;
              oifname "eth1" masquerade
              oifname "eth0" ip saddr 10.0.3.0/24 snat to 10.0.0.9
          }
      }
)";

constexpr const char* iptables_rules = R"(    lsm: apparmor
    iptables: |
      *raw
      :PREROUTING ACCEPT [0:0]
      -A PREROUTING -p udp -m udp --dport 5353 -j NOTRACK
      COMMIT
      *mangle
      :PREROUTING ACCEPT [0:0]
      -A PREROUTING -p udp -m udp --dport 53 -j MARK --set-xmark 0x7/0xffffffff
      COMMIT
      *nat
      :PREROUTING ACCEPT [0:0]
      :POSTROUTING ACCEPT [0:0]
      -A PREROUTING -p udp -m udp --dport 7000 -j DNAT --to-destination 10.0.3.2:53
      -A PREROUTING -p tcp -m tcp --dport 8080 -j REDIRECT --to-ports 80
      -A POSTROUTING -o eth1 -j MASQUERADE
      COMMIT
      *filter
      :INPUT ACCEPT [0:0]
      :FORWARD DROP [0:0]
      :OUTPUT ACCEPT [0:0]
      :own - [0:0]
      -A INPUT -m conntrack --ctstate INVALID -j DROP
      -A INPUT -p udp -m udp --dport 53 -m limit --limit 1000/sec -j LOG --log-prefix "dns "
      -A INPUT -p udp -m udp --dport 5002 -j REJECT --reject-with icmp-port-unreachable
      -A INPUT -p udp -m multiport --dports 5004,5005 -j own
      -A INPUT -f -j DROP
      -A FORWARD -m conntrack --ctstate NEW,RELATED,ESTABLISHED -j ACCEPT
      -A OUTPUT -m mark --mark 0x7 -j ACCEPT
      -A own -s 10.0.0.66/32 -j DROP
      -A own -j RETURN
      COMMIT
)";

constexpr unsigned profiles = 4, rule_sets = 3, plain_variants = profiles * rule_sets, variants = 2 * plain_variants;

std::string replaced(std::string text, std::string_view what, std::string_view by)
{
    text.replace(text.find(what), what.size(), by);
    return text;
}

Scenario parsed(const Words& words, unsigned profile, unsigned rules)
{
    const char* names[profiles] = {"5.10", "6.1", "6.12", "6.18"};
    const char* texts[rule_sets] = {"", nft_rules, iptables_rules};
    std::string text = replaced(replaced(router, "PROFILE", names[profile]), "RULES\n", texts[rules]);
    for (const auto& [word, by] : words) {
        text = replaced(std::move(text), word, by);
    }
    const auto scenario = parse_scenario(text, "fuzz");
    if (!scenario) {
        std::fprintf(stderr, "fuzz: %s\n", scenario.error().describe().c_str());
        std::abort();
    }
    return *scenario;
}

const Scenario& scenario(unsigned variant)
{
    static const std::vector<Scenario> all = [] {
        std::vector<Scenario> made;
        for (unsigned row = 0; row < variants; ++row) {
            made.push_back(parsed(row < plain_variants ? usual_machine : crowded_machine, row % profiles, row % plain_variants / profiles));
        }
        return made;
    }();
    return all[variant % variants];
}

// ---- frames -----------------------------------------------------------------------------------------------------------------

/// Devices that frames are fed to: the three with a wire, and the router's veth from inside the namespace.
constexpr unsigned ports = 4, veth_port = 3;

void put16(Bytes& to, std::size_t at, unsigned value)
{
    to[at] = static_cast<std::uint8_t>(value >> 8);
    to[at + 1] = static_cast<std::uint8_t>(value);
}

void append16(Bytes& to, unsigned value)
{
    to.push_back(static_cast<std::uint8_t>(value >> 8));
    to.push_back(static_cast<std::uint8_t>(value));
}

Bytes ethernet(unsigned port, unsigned type)
{
    Bytes frame{0x52, 0x54, 0, 0, 0, static_cast<std::uint8_t>(port + 1), 0x52, 0x54, 0, 0, 1, static_cast<std::uint8_t>(port + 1)};
    if (port == veth_port) {
        frame[10] = 0;
        frame[11] = 5;
    }
    append16(frame, type);
    return frame;
}

std::uint32_t own_address(unsigned port) { return 0x0a000001 + (port << 8); }

/// Ethernet and IPv4 headers around a payload, right in every field: what is changed afterwards is what is wrong.
Bytes ipv4(unsigned port, std::uint8_t protocol, std::uint32_t destination, const Bytes& payload, const Bytes& options = {})
{
    Bytes frame = ethernet(port, 0x0800);
    Bytes header(20, 0);
    header.insert(header.end(), options.begin(), options.end());
    header[0] = static_cast<std::uint8_t>(0x40 + header.size() / 4);
    put16(header, 2, static_cast<unsigned>(header.size() + payload.size()));
    header[8] = 64;
    header[9] = protocol;
    put16(header, 12, 0x0a00);
    put16(header, 14, (own_address(port) & 0xffff) + 1);
    put16(header, 16, destination >> 16);
    put16(header, 18, destination & 0xffff);
    fill_ipv4_checksum(header);
    frame.insert(frame.end(), header.begin(), header.end());
    frame.insert(frame.end(), payload.begin(), payload.end());
    return frame;
}

void set_fragment(Bytes& frame, unsigned field)
{
    put16(frame, 20, field);
    put16(frame, 24, 0);
    fill_ipv4_checksum(std::span(frame).subspan(14, 20));
}

/// fd00:NET::HOST
void append_address6(Bytes& to, unsigned net, unsigned host)
{
    const std::size_t at = to.size();
    to.resize(at + 16, 0);
    to[at] = 0xfd;
    to[at + 3] = static_cast<std::uint8_t>(net);
    to[at + 15] = static_cast<std::uint8_t>(host);
}

std::uint16_t sum_with_pseudo_header(const Bytes& addresses, unsigned protocol, const Bytes& payload)
{
    std::uint32_t sum = protocol + static_cast<std::uint32_t>(payload.size());
    for (const Bytes* part : {&addresses, &payload}) {
        for (std::size_t at = 0; at < part->size(); ++at) {
            sum += static_cast<std::uint32_t>((*part)[at]) << (at % 2 == 0 ? 8 : 0);
        }
    }
    while (sum >> 16 != 0) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return static_cast<std::uint16_t>(~sum);
}

/// `extension`: headers before the payload, whose own next-header fields are filled already; `first` names the first of them.
Bytes ipv6(unsigned port, unsigned protocol, unsigned to_net, unsigned to_host, Bytes payload, std::size_t sum_at, const Bytes& extension = {}, unsigned first = 0)
{
    Bytes addresses;
    append_address6(addresses, port, 2);
    append_address6(addresses, to_net, to_host);
    if (to_net == 0xff) { // all nodes
        std::fill(addresses.begin() + 16, addresses.end(), std::uint8_t{0});
        addresses[16] = 0xff;
        addresses[17] = 2;
        addresses[31] = 1;
    }
    if (sum_at != 0) {
        put16(payload, sum_at, sum_with_pseudo_header(addresses, protocol, payload));
    }
    Bytes frame = ethernet(port, 0x86dd);
    frame.insert(frame.end(), {0x60, 0, 0, 0});
    append16(frame, static_cast<unsigned>(payload.size() + extension.size()));
    frame.push_back(static_cast<std::uint8_t>(extension.empty() ? protocol : first));
    frame.push_back(protocol == 58 ? 255 : 64);
    for (const Bytes* part : std::initializer_list<const Bytes*>{&addresses, &extension, &payload}) {
        frame.insert(frame.end(), part->begin(), part->end());
    }
    return frame;
}

Bytes arp(unsigned port, unsigned operation)
{
    Bytes frame = ethernet(port, 0x0806);
    if (operation == 1) {
        std::fill_n(frame.begin(), 6, std::uint8_t{0xff});
    }
    const Bytes ends(frame.begin() + 6, frame.begin() + 12);
    frame.insert(frame.end(), {0, 1, 8, 0, 6, 4});
    append16(frame, operation);
    frame.insert(frame.end(), ends.begin(), ends.end());
    frame.insert(frame.end(), {10, 0, static_cast<std::uint8_t>(port), 2, 0, 0, 0, 0, 0, 0, 10, 0, static_cast<std::uint8_t>(port), 1});
    frame.resize(60, 0);
    return frame;
}

Bytes udp(unsigned port, std::size_t size = 16)
{
    Bytes bytes(8 + size, 0);
    put16(bytes, 0, 40001);
    put16(bytes, 2, port);
    put16(bytes, 4, static_cast<unsigned>(bytes.size()));
    return bytes;
}

Bytes tcp(unsigned port, unsigned flags, std::size_t size = 0)
{
    Bytes bytes(32 + size, 1);
    put16(bytes, 0, 40001);
    put16(bytes, 2, port);
    std::fill(bytes.begin() + 4, bytes.begin() + 20, std::uint8_t{0});
    bytes[7] = 1; // sequence numbers a mutation can follow
    bytes[12] = 0x80;
    bytes[13] = static_cast<std::uint8_t>(flags);
    put16(bytes, 14, 65535);
    const Bytes options{2, 4, 5, 0xb4, 4, 2, 1, 3, 3, 7, 1, 0};
    std::ranges::copy(options, bytes.begin() + 20);
    return bytes;
}

Bytes icmp(unsigned type, unsigned code, const Bytes& body)
{
    Bytes bytes{static_cast<std::uint8_t>(type), static_cast<std::uint8_t>(code), 0, 0, 0, 0, 0, 0};
    bytes.insert(bytes.end(), body.begin(), body.end());
    put16(bytes, 2, sum_with_pseudo_header({}, 0x10000u - static_cast<unsigned>(bytes.size()), bytes)); // no pseudo header
    return bytes;
}

/// What an ICMP error is about: a datagram from here to the peer.
Bytes quoted(unsigned port)
{
    Bytes inner = ipv4(port, 17, own_address(port) + 1, udp(53));
    inner.erase(inner.begin(), inner.begin() + 14);
    put16(inner, 14, own_address(port) & 0xffff);
    put16(inner, 10, 0);
    fill_ipv4_checksum(std::span(inner).first(20));
    return inner;
}

Bytes solicitation(unsigned port, std::uint8_t type)
{
    Bytes message{type, 0, 0, 0, static_cast<std::uint8_t>(type == 136 ? 0x60 : 0), 0, 0, 0};
    append_address6(message, port, type == 136 ? 2 : 1);
    message.insert(message.end(), {static_cast<std::uint8_t>(type == 136 ? 2 : 1), 1, 0x52, 0x54, 0, 0, 1, static_cast<std::uint8_t>(port + 1)});
    return message;
}

constexpr unsigned kinds = 40, crowded_kinds = 56;

/// A real frame of the kind.
Bytes seed_frame(unsigned kind, unsigned port)
{
    const std::uint32_t here = own_address(port);
    const std::uint32_t beyond = own_address((port + 1) % ports) + 1;
    const unsigned beyond6 = (port + 1) % ports;
    switch (kind % kinds) {
    case 0: return ipv4(port, 17, here, udp(53));
    case 1: return ipv4(port, 17, here, udp(5001));
    case 2: return ipv4(port, 17, beyond, udp(53));
    case 3: return ipv4(port, 17, here, udp(5003, 600));
    case 4: return ipv4(port, 17, here, udp(5004));
    case 5: return ipv4(port, 17, here, udp(7000));
    case 6: return ipv4(port, 17, here, udp(5353));
    case 7: return ipv4(port, 17, here, udp(9999));
    case 8: return ipv4(port, 17, 0xffffffff, udp(53));
    case 9: return ipv4(port, 17, 0xe0000001, udp(53));
    case 10: return ipv4(port, 17, 0x0a420001, udp(53));
    case 11: return ipv4(port, 17, 0x0a430001, udp(53));
    case 12: return ipv4(port, 17, 0x0a440001, udp(53, 1400));
    case 13: return ipv4(port, 6, here, tcp(80, 0x02));
    case 14: return ipv4(port, 6, here, tcp(80, 0x10, 100));
    case 15: return ipv4(port, 6, here, tcp(81, 0x02));
    case 16: return ipv4(port, 6, here, tcp(8080, 0x02));
    case 17: return ipv4(port, 6, beyond, tcp(80, 0x18, 1000));
    case 18: return ipv4(port, 6, here, tcp(80, 0x04));
    case 19: return ipv4(port, 6, here, tcp(82, 0x02));
    case 20: return ipv4(port, 1, here, icmp(8, 0, Bytes(56, 1)));
    case 21: return ipv4(port, 1, here, icmp(3, 3, quoted(port)));
    case 22: return ipv4(port, 1, here, icmp(5, 1, quoted(port)));
    case 23: return ipv4(port, 1, here, icmp(3, 4, quoted(port)));
    case 24: return arp(port, 1);
    case 25: return arp(port, 2);
    case 26: { // the first of two fragments
        Bytes frame = ipv4(port, 17, here, udp(53, 32));
        set_fragment(frame, 0x2000);
        return frame;
    }
    case 27: { // the second
        Bytes frame = ipv4(port, 17, here, Bytes(24, 7));
        set_fragment(frame, 40 / 8);
        return frame;
    }
    case 28: return ipv4(port, 17, here, udp(53), {7, 7, 4, 0, 0, 0, 0, 0}); // record route
    case 29: return ipv4(port, 17, beyond, udp(53), {131, 7, 4, 10, 0, 0, 1, 0}); // loose source route
    case 30: return ipv6(port, 17, port, 1, udp(54), 6);
    case 31: return ipv6(port, 17, beyond6, 2, udp(53), 6);
    case 32: return ipv6(port, 58, port, 1, solicitation(port, 135), 2);
    case 33: return ipv6(port, 58, port, 1, solicitation(port, 136), 2);
    case 34: return ipv6(port, 58, port, 1, {128, 0, 0, 0, 0, 1, 0, 1, 1, 2, 3, 4}, 2);
    case 35: return ipv6(port, 17, port, 1, udp(54), 6, {17, 0, 1, 4, 0, 0, 0, 0}, 0); // hop-by-hop options
    case 36: return ipv6(port, 17, port, 1, udp(54, 16), 0, {17, 0, 0, 1, 0, 0, 0, 9}, 44); // a first fragment
    case 37: return ipv6(port, 17, port, 1, Bytes(16, 3), 0, {17, 0, 0, 24, 0, 0, 0, 9}, 44); // the last one
    case 38: return ipv6(port, 58, port, 1, {1, 4, 0, 0, 0, 0, 0, 0, 0x60, 0, 0, 0, 0, 8, 17, 64}, 2);
    default: return ipv6(port, 17, 0xff, 1, udp(54), 6, {43, 0, 1, 4, 0, 0, 0, 0, 17, 0, 4, 0, 0, 0, 0, 0}, 60); // dst options, routing
    }
}

/// What ICMPv6 says about an echo request from here to the peer.
Bytes icmp6_error(unsigned port, std::uint8_t type, std::uint8_t code)
{
    Bytes message{type, code, 0, 0, 0, 0, 5, 0};
    Bytes quoted6 = ipv6(port, 58, port, 2, {128, 0, 0, 0, 0, 1, 0, 1, 1, 2, 3, 4}, 2);
    quoted6.erase(quoted6.begin(), quoted6.begin() + 14);
    quoted6[8 + 15] = 1; // from here
    message.insert(message.end(), quoted6.begin(), quoted6.end());
    return ipv6(port, 58, port, 1, std::move(message), 2);
}

/// A segment with numbers of its own, so that it follows another one or bears what might be a cookie.
Bytes numbered(Bytes segment, unsigned source, unsigned sequence, unsigned acknowledged)
{
    put16(segment, 0, source);
    put16(segment, 4, sequence >> 16);
    put16(segment, 6, sequence & 0xffff);
    put16(segment, 8, acknowledged >> 16);
    put16(segment, 10, acknowledged & 0xffff);
    return segment;
}

/// More kinds, for the crowded machine: floods, streams that GRO merges, what raw and ping sockets listen for.
Bytes crowded_frame(unsigned kind, unsigned port)
{
    const std::uint32_t here = own_address(port);
    if (kind % crowded_kinds < kinds) {
        return seed_frame(kind % crowded_kinds, port);
    }
    switch (kind % crowded_kinds - kinds) {
    case 0: return ipv4(port, 6, here, numbered(tcp(80, 0x02), 50000 + kind, kind, 0));
    case 1: return ipv4(port, 6, here, numbered(tcp(81, 0x02), 51000 + kind, kind, 0));
    case 2: return ipv4(port, 6, here, numbered(tcp(80, 0x10), 50000 + kind, kind + 1, 0x01000000U * kind + kind));
    case 3: return ipv4(port, 6, here, numbered(tcp(81, 0x10, 10), 51000 + kind, kind + 1, 0x00ffffffU * kind));
    case 4: return ipv4(port, 6, own_address((port + 1) % ports) + 1, numbered(tcp(80, 0x10, 1000), 40002, 1, 1));
    case 5: return ipv4(port, 6, own_address((port + 1) % ports) + 1, numbered(tcp(80, 0x10, 1000), 40002, 1001, 1));
    case 6: return ipv4(port, 6, own_address((port + 1) % ports) + 1, numbered(tcp(80, 0x18, 400), 40002, 2001, 1));
    case 7: return ipv6(port, 58, port, 1, {129, 0, 0, 0, 0, 1, 0, 1, 1, 2, 3, 4}, 2);  // an answer to a ping socket
    case 8: return ipv6(port, 58, port, 1, {129, 0, 0, 0, 3, 0xe8, 0, 1}, 0);           // … whose sum is wrong
    case 9: return icmp6_error(port, 1, 4);
    case 10: return icmp6_error(port, 2, 0);
    case 11: return icmp6_error(port, 3, 0);
    case 12: return ipv6(port, 58, port, 1, {129, 0, 0}, 0); // shorter than its header
    case 13: return ipv4(port, 1, here, icmp(0, 0, Bytes(600, 2)));
    case 14: return ipv4(port, 1, here, icmp(11, 0, quoted(port)));
    default: return ipv4(port, 17, here, udp(53, 1400));
    }
}

struct Input {
    unsigned port = 0;
    Bytes frame;
    bool turns = false;           ///< no frame: a setting changes
    unsigned setting = 0, to = 0; ///< which, and to what
};

/// Takes the next frame off the bytes.
Input next_frame(std::span<const std::uint8_t>& bytes, bool crowded)
{
    constexpr std::size_t longest = 1600, head = 4;
    const std::uint8_t flags = bytes[0];
    const unsigned kind = bytes.size() < 2 ? 0 : bytes[1];
    const std::size_t wanted = bytes.size() < head ? 0 : std::size_t{bytes[2]} + (std::size_t{bytes[3]} & 7U) * 256;
    bytes = bytes.subspan(std::min(head, bytes.size()));
    const std::size_t length = std::min({wanted, bytes.size(), longest});
    const auto given = bytes.first(length);
    bytes = bytes.subspan(length);
    Input input;
    input.port = flags % ports;
    if ((flags & 0x80) != 0) {
        input.frame.assign(given.begin(), given.end()); // raw
        return input;
    }
    if (crowded && (flags & 0x30) == 0x30) {
        input.turns = true;
        input.setting = kind;
        input.to = static_cast<unsigned>(length) + flags;
        return input;
    }
    input.frame = crowded ? crowded_frame(kind, input.port) : seed_frame(kind, input.port);
    // Pairs of (place, change); a last odd byte says where the frame is cut.
    for (std::size_t at = 0; at + 1 < given.size(); at += 2) {
        input.frame[given[at] % input.frame.size()] ^= given[at + 1];
    }
    if (given.size() % 2 == 1) {
        input.frame.resize(given.back() % (input.frame.size() + 1));
    }
    if ((flags & 0x40) != 0 && input.frame.size() >= 34 && (input.frame[14] & 15) >= 5 &&
        input.frame.size() >= 14 + 4 * std::size_t{input.frame[14] & 15U}) {
        put16(input.frame, 24, 0);
        fill_ipv4_checksum(std::span(input.frame).subspan(14, 4 * std::size_t{input.frame[14] & 15U}));
    }
    return input;
}

struct Fed {
    SimTime at;
    Input input;
};

/// Frames for the veth come from a program in the namespace: what a packet socket may send.
void add_injector(Scenario& to, const std::vector<Fed>& fed)
{
    ScenarioInjector injector;
    injector.device = "v1";
    for (const Fed& one : fed) {
        if (!one.input.turns && one.input.port == veth_port && one.input.frame.size() >= 14 && one.input.frame.size() <= 1514) {
            injector.frames.push_back(one.input.frame);
            injector.times.push_back(one.at - SimTime{});
        }
    }
    if (!injector.frames.empty()) {
        to.hosts[1].injectors.push_back(std::move(injector));
    }
}

/// A setting of the machine or of a device takes a value of its range: an end of it, one beside it, or what is usual.
void turn(World& world, const Input& input)
{
    const auto value = [&](std::int64_t minimum, std::int64_t maximum, std::int64_t usual) {
        const std::int64_t values[] = {minimum, maximum, std::min(minimum + 1, maximum), std::max(maximum - 1, minimum), usual, (minimum + maximum) / 2};
        return values[input.to % std::size(values)];
    };
    const auto of_devices = device_setting_rows();
    if (input.setting % 2 == 0) {
        const DeviceSettingRow& row = of_devices[input.setting / 2 % of_devices.size()];
        // A device that puts its interrupts off 2^30 times polls for good, in the kernel, too: that is no loop to be found.
        const std::int64_t maximum = row.name == "napi_defer_hard_irqs" ? 100 : row.maximum;
        for (NetDevice& device : world.devices) {
            if (row.applies(device.kind)) {
                row.set(device, value(row.minimum, maximum, row.kernel_default));
            }
        }
        return;
    }
    const auto of_machine = sysctl_rows();
    const SysctlRow& row = of_machine[(input.setting / 2 + 128U * (input.to / 64 % 2)) % of_machine.size()];
    set_sysctl(world, 0, row.name, value(row.minimum, row.maximum, Sysctls{}.*(row.member)));
}

/// Empty: in the order of time each packet is born once, before all else that happens to it, leaves only the queue that it
/// has joined, and nothing follows its end. It is here that a CPU whose clock is behind would be seen to take what is not there yet.
std::string order(const Trace& trace)
{
    struct Life {
        bool born = false;
        bool ended = false;
        QueueId queue = QueueId::none;
    };
    std::vector<Life> lives(trace.packet_count() + 1);
    for (std::size_t ordinal = 0; ordinal < trace.size(); ++ordinal) {
        const Event event = trace[ordinal];
        if (event.packet_id() == PacketId::none) {
            continue;
        }
        const auto wrong = [&](const char* what) {
            return std::string(what) + ": packet " + std::to_string(to_index(event.packet_id())) + " at " + std::to_string(event.time().ns) + " ns in " +
                   std::string(trace.function_name(event.function_id()));
        };
        Life& life = lives[to_index(event.packet_id())];
        switch (event.event_kind()) {
        case EventKind::birth:
            if (life.born) {
                return wrong("born twice");
            }
            life.born = true;
            break;
        case EventKind::enqueue:
            if (!life.born || life.ended || life.queue != QueueId::none) {
                return wrong(!life.born ? "queued before it is born" : life.ended ? "queued after its end" : "in two queues");
            }
            life.queue = event.queue_id();
            break;
        case EventKind::dequeue:
            if (life.queue != event.queue_id()) {
                return wrong("taken from a queue that it is not in");
            }
            life.queue = QueueId::none;
            break;
        case EventKind::verdict:
            if (!life.born || life.ended) {
                return wrong(life.ended ? "a verdict after its end" : "a verdict before it is born");
            }
            break;
        case EventKind::drop:
        case EventKind::free:
            if (!life.born || life.ended) {
                return wrong(life.ended ? "ended twice" : "ended before it is born");
            }
            life.ended = true;
            break;
        default: break;
        }
    }
    return {};
}

/// Empty: the account closes, events and packet table agree, and each drop has a reason.
std::string account(const Trace& trace)
{
    if (std::string wrong = order(trace); !wrong.empty()) {
        return wrong;
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
        if (packet.verdict == Verdict::in_flight && packet.death != never) {
            return "a packet has ended without a verdict: packet " + std::to_string(to_index(packet.id));
        }
        if (packet.verdict == Verdict::dropped && packet.reason == DropReasonId::none) {
            return "a drop has no reason: packet " + std::to_string(to_index(packet.id));
        }
    }
    for (int row = 1; row < verdict_count; ++row) {
        if (table[static_cast<std::size_t>(row)] != account.of(static_cast<Verdict>(row))) {
            return "the events' account and the packet table differ: " + std::string(to_string(static_cast<Verdict>(row))) + " " +
                   std::to_string(account.of(static_cast<Verdict>(row))) + " and " + std::to_string(table[static_cast<std::size_t>(row)]);
        }
    }
    return {};
}

} // namespace

std::string run_frames(std::span<const std::uint8_t> bytes, std::uint64_t& frames)
{
    constexpr std::uint64_t most_events = 20'000'000; // far beyond what such an input can cause
    if (bytes.empty()) {
        return {};
    }
    Scenario run = scenario(bytes[0]);
    const bool crowded = bytes[0] % variants >= plain_variants;
    bytes = bytes.subspan(1);
    std::vector<Fed> fed;
    SimTime at{100'000};
    while (!bytes.empty() && fed.size() < 64) {
        fed.push_back({at, next_frame(bytes, crowded)});
        at = at + Duration{1'000};
    }
    add_injector(run, fed);
    Trace trace;
    World world = build_world(run, trace);
    Kernel k(world, trace);
    for (const Fed& one : fed) {
        if (one.input.turns || one.input.port == veth_port) {
            continue;
        }
        DeviceEvent event;
        event.kind = DeviceEvent::Kind::frame_leaves;
        event.at = one.at;
        event.index = static_cast<std::int32_t>(one.input.port);
        event.frame.assign(one.input.frame.begin(), one.input.frame.end());
        event.wire_length = static_cast<std::uint32_t>(one.input.frame.size());
        k.schedule(std::move(event));
    }
    frames += fed.size();
    for (const Fed& one : fed) {
        if (one.input.turns) {
            k.run_until(one.at);
            turn(world, one.input);
        }
    }
    // A machine that sends again and again is in the middle of a turn at some ends, and what a turn does is told when it is over: a
    // fault is what another end shows, too.
    std::string wrong;
    for (SimTime end{2'000'000'000}; end < SimTime{2'008'000'000}; end = end + Duration{1'300'017}) {
        k.run_until(end);
        if (trace.size() > most_events) {
            return "it never comes to rest";
        }
        wrong = account(trace);
        if (wrong.empty()) {
            break;
        }
    }
    return wrong;
}

std::vector<std::uint8_t> random_input(std::mt19937_64& random)
{
    std::vector<std::uint8_t> input{static_cast<std::uint8_t>(random())};
    for (int n = 0; n < 64; ++n) {
        const std::size_t length = random() % 8 == 0 ? random() % 400 : random() % 12;
        input.push_back(static_cast<std::uint8_t>(random()));
        input.push_back(static_cast<std::uint8_t>(random()));
        input.push_back(static_cast<std::uint8_t>(length));
        input.push_back(static_cast<std::uint8_t>(length >> 8));
        for (std::size_t i = 0; i < length; ++i) {
            input.push_back(static_cast<std::uint8_t>(random()));
        }
    }
    return input;
}

} // namespace skbscope::fuzz
