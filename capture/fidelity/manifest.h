#pragma once
// Reads the manifest.json of a recorded folder: what was sent and received when, with which settings, on which links,
// and how far the kernel's counters moved. Numbers and names are checked here; behind it they can be trusted.

#include "core/kernel/nic.h"
#include "core/packet/mac.h"
#include "core/packet/flow.h"
#include "core/result.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace skbscope {

struct ManifestEndpoint {
    IpAddress address;
    std::uint16_t port = 0;
    bool operator==(const ManifestEndpoint&) const = default;
};

/// Datagrams that a phase sent.
struct ManifestSend {
    std::string key; ///< in the phase's result: "sent", "rx_sent"
    ManifestEndpoint from, to;
    std::uint64_t count = 0;
    std::uint32_t size = 0;            ///< payload bytes
    std::optional<std::uint8_t> ttl;   ///< set by the sender; empty: the system's
    std::uint64_t sent = 0;            ///< send calls that succeeded
    std::vector<std::uint64_t> stamps; ///< trace clock before each send call, ascending; may be empty
    std::uint64_t gap_ns = 0;
    std::string tool; ///< "pktgen": frames made by the kernel's generator, not by a socket
    std::string device; ///< where that tool sends
    std::uint32_t frame_size = 0;
};

/// What a phase's reader saw.
struct ManifestReceive {
    std::string key;
    ManifestEndpoint bound;
    std::optional<ManifestEndpoint> seen_from; ///< the sender as the reader saw it, behind address translation
    std::uint64_t received = 0;
    std::uint32_t rcvbuf = 0; ///< as getsockopt() reports it
    std::vector<std::int64_t> indices;
    bool operator==(const ManifestReceive&) const = default;
};

/// One qdisc of `tc -s -j qdisc`.
struct ManifestQdisc {
    std::string kind, handle, parent, device;
    bool root = false;
    std::map<std::string, double> options; ///< numbers only
};

/// One end of a stream.
struct ManifestStream {
    ManifestEndpoint client, server;
    std::uint64_t client_sent = 0, client_received = 0;
};

struct ManifestPhase {
    std::string name, description;
    std::uint64_t begin = 0, end = 0; ///< trace clock, ns
    std::vector<ManifestSend> sends;
    std::vector<ManifestReceive> receives;
    std::vector<ManifestQdisc> qdiscs; ///< that the phase set up
    std::optional<ManifestStream> stream;
    std::uint64_t frames = 0;          ///< hand-made frames sent
    std::string output;                ///< of a tool such as ping
    bool raw_reader = false;           ///< a packet socket read along
    std::map<std::string, std::int64_t> snmp_delta; ///< counters that moved; recorded with hand-made frames
};

struct ManifestAddress {
    IpAddress address;
    std::uint8_t prefix = 0;
};

struct ManifestLink {
    std::string name, driver, qdisc;
    std::string net; ///< the namespace it stands in; "root" for the traced machine's
    MacAddress mac;
    std::uint32_t mtu = 1500, txqueuelen = 1000;
    std::vector<ManifestAddress> addresses;
    std::map<std::string, bool> offloads; ///< "rx-checksumming" -> on
    std::optional<std::uint64_t> probes_outside; ///< ARP requests on its wire since the set-up, outside of the phases; none: nobody captured there
    std::vector<kernel::LostBytes> lost; ///< of TCP streams, on the way to it; told by the captures
    std::uint64_t tx_timer_ns = 0; ///< the emulated device sends only that long after it was told; told by the recording
};

/// An entry of /proc/net/arp.
struct ManifestNeighbour {
    std::string net;
    IpAddress address;
    MacAddress mac;
    std::string device;
    bool permanent = false;
    bool flushed = false; ///< it was there when the counters were read, but not when the phases began
    bool stale = false;   ///< nobody had confirmed it for longer than its reachable time when the first packet went there
    bool used = true; ///< a packet has gone there before the first phase; no manifest says it, the capture on the wire does
};

/// A capture that ran beside the recording.
struct ManifestCapture {
    std::string device;
    std::uint32_t snaplen = 262144;
};

struct Manifest {
    std::filesystem::path folder;
    std::string scenario, kernel, kernel_version, nic, tracer;
    std::uint32_t cpus = 1;
    std::vector<std::string> functions; ///< that the tracer was asked for and this kernel has
    std::vector<std::string> graph_functions; ///< with function_graph: the roots
    std::uint64_t begin = 0, end = 0;   ///< of the recording, trace clock, ns
    std::uint64_t set_up = 0;           ///< when everything was set up, trace clock, ns; the counters were read first after it; 0: not said
    std::int64_t wall_offset_ns = 0;    ///< wall clock minus trace clock
    std::vector<ManifestPhase> phases;
    std::vector<ManifestLink> links;
    std::vector<ManifestNeighbour> neighbours; ///< before the first phase
    std::map<std::string, std::string> settings; ///< "net.core.netdev_max_backlog" -> "1000"; device settings as "eth0.rps_cpus"
    std::map<std::string, std::string> params;
    std::vector<ManifestCapture> captures; ///< by tcpdump
    /// Moved by: net -> "Ip.InReceives" -> difference.
    std::map<std::string, std::map<std::string, std::int64_t>> counters;
};

/// Errors: not_found, unreadable, foreign (no JSON), invalid (a key missing or of an impossible kind or value).
[[nodiscard]] Result<Manifest> read_manifest(const std::filesystem::path& folder);

/// All namespaces stand on the traced machine: whatever they do is in the recording.
[[nodiscard]] bool is_one_machine(const Manifest& manifest);

/// Something between its machines loses frames: a rule, netem, the cable.
[[nodiscard]] bool loses_frames(const Manifest& manifest);

/// The address lies in the other one's subnet.
[[nodiscard]] bool in_prefix(const IpAddress& address, const ManifestAddress& of);

} // namespace skbscope
