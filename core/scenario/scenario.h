#pragma once
// A scenario: hosts, links, settings, traffic, as a value. It runs the model. Its text form is YAML
// (docs/scenario-format.md); every key that it does not know is an error, with line and column.

#include "core/kernel/nic.h"
#include "core/kernel/qdisc.h"
#include "core/packet/flow.h"
#include "core/packet/mac.h"
#include "core/result.h"
#include "core/trace/time.h"

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace skbscope {

struct ScenarioAddress {
    std::uint32_t address = 0; ///< IPv4, host order
    std::uint8_t prefix = 24;
    bool operator==(const ScenarioAddress&) const = default;
};

struct ScenarioAddress6 {
    IpAddress address = IpAddress::any6();
    std::uint8_t prefix = 64;
    bool operator==(const ScenarioAddress6&) const = default;
};

/// An Ethernet device of a host. Ranges are those of the e1000 driver (drivers/net/ethernet/intel/e1000/e1000.h).
struct ScenarioDevice {
    std::string name = "eth0";
    std::string driver = "e1000"; ///< e1000, e1000e, virtio_net or veth
    MacAddress mac;
    std::vector<ScenarioAddress> addresses;
    std::vector<ScenarioAddress6> addresses6; ///< besides the link-local one, which it makes of its MAC if none is given
    bool ipv6 = true;                         ///< false: net.ipv6.conf.DEVICE.disable_ipv6
    std::uint32_t mtu = 1500;            ///< 576 … 1500 bytes
    std::uint32_t rx_ring = 256;         ///< 48 … 4096 descriptors, a multiple of 8
    std::uint32_t tx_ring = 256;         ///< 48 … 4096 descriptors, a multiple of 8
    std::uint32_t copybreak = 256;       ///< 0 … 1522 bytes; a frame up to this is copied into a small sk_buff
    std::uint32_t txqueuelen = 1000;     ///< 1 … 1000000 packets a band of pfifo_fast
    std::optional<kernel::QdiscSpec> qdisc; ///< at the root; none: the host's default
    std::uint64_t rate = 1'000'000'000;  ///< bits a second, 1000 … 10^12
    bool rx_checksum = true;
    bool tx_checksum = true;
    bool tso = true; ///< TCP segmentation offload; without it the kernel cuts large packets itself (GSO)
    bool tso_empty_tail = false; ///< as QEMU's: an empty segment follows a TSO packet whose payload is a multiple of the MSS (e1000), or IP fragments are cut of it (e1000e)
    bool promiscuous = false;
    std::uint32_t irq_cpu = 0; ///< within the host
    std::uint32_t queues = 1;  ///< 1 … 16 pairs of queues; more than one: virtio_net only
    std::uint32_t rx_usecs = 0; ///< 0 … 100000: least time between two interrupts (e1000, e1000e); 0: each frame asks for one
    Duration tx_timer;          ///< virtio_net: the device sends only that long after it was told, all at once (QEMU's tx=timer)
    Duration tx_irq_delay;      ///< virtio_net: the transmit interrupt comes that long after what was sent is given back, as from a busy host
    Duration irq_delay;         ///< its interrupts reach their CPU that late, as from the busy host of a virtual machine; of a veth: nothing
    bool gro = true;
    /// What core/scenario/device_settings.h names besides ("gro_flush_timeout", "rps_flow_cnt", …); only what is not the default.
    std::map<std::string, std::int64_t> settings;
    std::vector<std::uint64_t> rps_cpus; ///< CPU mask of each receive queue, as in rps_cpus; none or 0: RPS is off
    Duration delay{500};       ///< of the cable, one way
    std::uint32_t loss_ppm = 0; ///< 0 … 1000000: frames of a million that the cable loses, towards this device
    std::vector<kernel::LostBytes> lose; ///< bytes of TCP streams whose first segment the cable loses, towards this device
    std::string link;          ///< a station's name, or "host.device" (veth: its peer); empty: no cable
    bool operator==(const ScenarioDevice&) const = default;
};

struct ScenarioRoute {
    ScenarioAddress to; ///< prefix 0: default
    std::uint32_t via = 0;
    std::string device;          ///< empty: of those that refuse
    std::string type = "unicast"; ///< unicast, unreachable, blackhole, prohibit or throw
    std::uint32_t source = 0;    ///< preferred source address; 0: the device's first
    std::uint32_t metric = 0;    ///< the smaller wins
    std::uint32_t mtu = 0;       ///< 68 … 65535; 0: the device's
    bool operator==(const ScenarioRoute&) const = default;
};

/// A route of IPv6's main table.
struct ScenarioRoute6 {
    ScenarioAddress6 to; ///< prefix 0: default
    IpAddress via = IpAddress::any6(); ///< "::": on link
    std::string device;                ///< empty only for a kind that refuses
    std::string kind = "unicast";      ///< unicast, unreachable, prohibit, blackhole
    std::uint32_t metric = 1024;
    bool operator==(const ScenarioRoute6&) const = default;
};

struct ScenarioNeighbour {
    std::uint32_t address = 0;
    IpAddress address6; ///< with v6 set it counts, not `address`
    MacAddress mac;
    std::string device;
    bool stale = false; ///< NUD_STALE: it was reachable longer ago than reachable_time; the next packet makes the kernel doubt it
    bool used = true; ///< packets have gone there before: its hardware header is cached (neigh_hh_init)
    bool operator==(const ScenarioNeighbour&) const = default;
};

struct ScenarioReceiver {
    std::string name = "receiver";
    std::uint32_t address = 0;   ///< to bind to; 0: any
    IpAddress address6;          ///< with v6 set: an AF_INET6 socket, bound to it; "::" takes both families
    bool ipv6only = false;       ///< IPV6_V6ONLY
    std::uint16_t port = 0;      ///< 1 … 65535
    std::uint32_t rcvbuf = 0;    ///< bytes as getsockopt() reports them, 2304 …; 0: net.core.rmem_default
    std::uint32_t cpu = 0;
    bool poll = true;            ///< waits in poll() and then calls recvfrom(); else sleeps inside recvfrom()
    Duration work;               ///< what it does with each datagram
    std::string filter;          ///< SO_ATTACH_FILTER, in tcpdump's language; empty: none
    std::uint32_t filter_keep = 262144; ///< bytes from the UDP header on that a match keeps
    Duration start;              ///< the socket is open from the beginning, but nobody reads before this
    bool reuseport = false, reuseaddr = false; ///< SO_REUSEPORT, SO_REUSEADDR
    std::uint32_t peer = 0;      ///< connect(): only datagrams from there come; 0: not connected
    std::uint16_t peer_port = 0;
    bool operator==(const ScenarioReceiver&) const = default;
};

struct ScenarioSender {
    std::string name = "sender";
    std::uint32_t address = 0;
    IpAddress address6;          ///< with v6 set: an AF_INET6 socket that sends there
    std::uint16_t port = 0;      ///< destination
    std::uint16_t from_port = 0; ///< 0: not bound, the kernel picks one at the first send
    bool connect = false;
    bool broadcast = false;      ///< SO_BROADCAST: without it a broadcast address is EACCES
    std::uint32_t sndbuf = 0;    ///< bytes as getsockopt() reports them, 4608 …; 0: net.core.wmem_default
    std::uint64_t count = 1;
    std::uint32_t size = 64; ///< payload bytes
    Duration gap{10'000};
    Duration start{10'000};
    std::vector<Duration> times; ///< when to send each, ascending; if given, count, gap and start do not matter
    std::uint8_t ttl = 0;        ///< IP_TTL, 1 … 255; 0: net.ipv4.ip_default_ttl
    std::uint32_t cpu = 0;
    bool operator==(const ScenarioSender&) const = default;
};

/// The application ping.
struct ScenarioPing {
    std::string name = "ping";
    std::uint32_t address = 0;
    IpAddress address6; ///< with v6 set: this instead
    std::uint64_t count = 5;
    std::uint32_t size = 56;         ///< bytes behind the ICMP header
    Duration interval{1'000'000'000};
    Duration start{10'000};
    std::vector<Duration> times;     ///< when to send each, ascending; if given, count, interval and start do not matter
    bool raw = true;                 ///< raw socket, as root's; else a ping socket
    std::uint8_t ttl = 0;            ///< 1 … 255; 0: net.ipv4.ip_default_ttl
    std::uint32_t cpu = 0;
    bool operator==(const ScenarioPing&) const = default;
};

/// A program that puts ready-made Ethernet frames on a device, through a packet socket.
struct ScenarioInjector {
    std::string name = "injector";
    std::string device;
    std::vector<std::vector<std::uint8_t>> frames; ///< each 14 … 1518 bytes, sent one after the other
    Duration gap{10'000};
    Duration start{10'000};
    std::vector<Duration> times;     ///< when to send each, ascending; if given, gap and start do not matter
    std::uint32_t cpu = 0;
    bool operator==(const ScenarioInjector&) const = default;
};

/// A packet socket with the program that reads it, as tcpdump is one.
struct ScenarioTap {
    std::string name = "tcpdump";
    std::string device;          ///< empty: all devices of the namespace
    bool mmap = true;            ///< mapped ring (tpacket_rcv); else a receive queue (packet_rcv)
    std::uint32_t version = 3;   ///< of the ring: 2 or 3
    std::string filter;          ///< tcpdump's language; empty: everything
    std::uint32_t snaplen = 262144; ///< 1 … 262144 bytes of a frame are kept
    std::uint32_t buffer = 2 << 20; ///< bytes of the ring, 64 KiB … 1 GiB
    std::uint32_t rcvbuf = 0;    ///< of the receive queue, as getsockopt() reports it; 0: net.core.rmem_default
    std::uint32_t cpu = 0;
    Duration start, stop;        ///< when it is opened and closed; stop 0: never
    Duration work{2'000};        ///< of the program with each frame
    bool operator==(const ScenarioTap&) const = default;
};

/// `tc qdisc replace dev DEVICE root …` at a time.
struct ScenarioTc {
    Duration at;
    std::string device;
    kernel::QdiscSpec qdisc;
    std::uint32_t cpu = 0; ///< on which tc runs
    bool operator==(const ScenarioTc&) const = default;
};

/// An application that speaks TCP: it waits in poll() and then makes calls that do not block. A client connects, sends its
/// bytes, receives its bytes, closes; a server accepts one connection after the other, receives first, then sends.
struct ScenarioTcp {
    bool server = false;
    std::string name;
    std::uint32_t address = 0;      ///< of a client: the server's; of a server: to bind to, 0: any
    std::uint16_t port = 0;         ///< 1 … 65535
    std::uint32_t from_address = 0; ///< of a client: to bind to; 0: the kernel chooses
    std::uint16_t from_port = 0;    ///< of a client; 0: the kernel chooses
    std::uint64_t send = 0;         ///< bytes of each connection
    std::uint64_t receive = 0;      ///< bytes; 0: a client reads nothing, a server to the end of the stream
    bool until_end = false;         ///< of a client: reads to the end of the stream
    std::uint64_t chunk = 0;        ///< bytes of one send(), at most 1 MiB; 0: all that is left, up to that
    std::uint32_t read = 65536;     ///< bytes of one recv(), 1 … 1 MiB
    Duration work;                  ///< behind each send() and recv()
    std::uint64_t count = 1;        ///< of a client: connections, one after the other
    Duration gap{10'000};           ///< between two connections
    Duration start{10'000};
    std::uint32_t backlog = 128;    ///< of a server's listen()
    bool accept = true;             ///< else connections stay in the accept queue
    bool nodelay = false;           ///< TCP_NODELAY
    std::uint32_t rcvbuf = 0, sndbuf = 0; ///< as getsockopt() reports them; 0: the kernel tunes them
    std::uint32_t cpu = 0;
    Duration steal;                 ///< its CPU stands still that long in each call that holds the socket, as a virtual CPU whose host is busy
    bool operator==(const ScenarioTcp&) const = default;
};

/// The kernel's packet generator (net/core/pktgen.c) on a device.
struct ScenarioPktgen {
    std::string device;
    std::uint32_t address = 0, from_address = 0;
    std::uint16_t port = 0, from_port = 0;
    MacAddress mac;          ///< where the frames go
    std::uint64_t count = 1; ///< 0 … 10^7
    std::uint32_t size = 60; ///< 60 … 1514 bytes of frame, without FCS
    Duration gap;            ///< 0: as fast as the CPU can
    Duration start{10'000};
    std::uint32_t cpu = 0;
    bool operator==(const ScenarioPktgen&) const = default;
};

struct ScenarioHost {
    std::string name = "host";
    /// Not a machine of its own but a network namespace on that host (which stands before it): same kernel, same CPUs.
    std::string namespace_of;
    std::uint32_t cpus = 2; ///< 1 … 64; of a namespace: its host's
    double cost_scale = 1.0; ///< 0.001 … 1000, besides the scenario's: its CPUs are that many times slower; of a namespace: its host's
    std::map<std::string, std::int64_t> sysctls;
    std::vector<ScenarioDevice> devices;
    std::vector<ScenarioRoute> routes;
    std::vector<ScenarioRoute6> routes6;
    bool ipv6_forwarding = false; ///< net.ipv6.conf.all.forwarding
    std::vector<ScenarioNeighbour> neighbours;
    std::vector<ScenarioReceiver> receivers;
    std::vector<ScenarioSender> senders;
    std::vector<ScenarioTap> taps;
    std::vector<ScenarioPing> pings;
    std::vector<ScenarioInjector> injectors;
    std::vector<ScenarioPktgen> pktgens;
    std::vector<ScenarioTc> tc;
    std::string default_qdisc; ///< net.core.default_qdisc; empty: as the distribution of that kernel has it
    std::string lsm;      ///< "apparmor": its hook hangs at POST_ROUTING; empty: no security module
    std::string nft;      ///< rules as `nft list ruleset` prints them
    std::string iptables; ///< rules as `iptables-save` prints them
    std::vector<ScenarioTcp> tcp; ///< servers first
    bool operator==(const ScenarioHost&) const = default;
};

/// Datagrams from a station.
struct ScenarioFlow {
    std::uint32_t address = 0;
    IpAddress address6; ///< with v6 set it counts, not `address`
    std::uint16_t port = 0;
    std::uint16_t from_port = 40001;
    std::uint64_t count = 1;
    std::uint32_t size = 64; ///< payload bytes
    Duration gap{10'000};
    Duration start{10'000};
    bool operator==(const ScenarioFlow&) const = default;
};

/// The far end of a wire, not modelled function by function.
struct ScenarioStation {
    std::string name = "station";
    MacAddress mac;
    std::uint32_t address = 0;
    IpAddress address6;      ///< with v6 set: it has this one, too (or only)
    bool answers_arp = true; ///< … and neighbour solicitations
    bool answers_ping = true;
    Duration reply_delay{20'000};
    std::vector<ScenarioFlow> flows;
    bool operator==(const ScenarioStation&) const = default;
};

/// The kernels whose chains and rules the model has, oldest first: what Scenario::kernel may say.
inline constexpr std::string_view kernel_profiles[] = {"5.10", "6.1", "6.12", "6.18"};

struct Scenario {
    std::string title = "untitled";
    std::string kernel = "6.1"; ///< one of kernel_profiles
    std::uint64_t seed = 1;
    std::uint64_t burst = 64; ///< what "send a burst" sends
    double cost_scale = 1.0;  ///< 0.001 … 1000: all function costs are multiplied by it
    std::vector<ScenarioHost> hosts;
    std::vector<ScenarioStation> stations;
    bool operator==(const Scenario&) const = default;
};

/// `name` stands in errors before line and column. Everything is checked: what comes back can run.
[[nodiscard]] Result<Scenario> parse_scenario(std::string_view text, const std::string& name);
[[nodiscard]] Result<Scenario> load_scenario(const std::filesystem::path& path);
/// YAML that parse_scenario() reads back to an equal value.
[[nodiscard]] std::string to_text(const Scenario& scenario);
/// Applies "net.core.netdev_max_backlog=100", ":5001.SO_RCVBUF=4608", "eth0.rx_ring=64", "burst=10", "count=64" (of every
/// flow and sender), "size=…", "gap=…", "seed=…". "HOST/KEY=…" means one host or namespace, without it all that have the key.
[[nodiscard]] Result<void> apply_setting(Scenario& scenario, std::string_view assignment);

/// "HOST/KEY" in its two halves; the first is empty where there is none.
struct SettingKey {
    std::string host, key;
};
[[nodiscard]] SettingKey split_setting_key(const std::string& key);

/// The range that a setting accepts, or an error that names the near ones.
struct SettingRange {
    std::int64_t minimum = 0, maximum = 0, kernel_default = 0;
    std::string unit;
};
[[nodiscard]] Result<SettingRange> sysctl_range(const std::string& name);

} // namespace skbscope
