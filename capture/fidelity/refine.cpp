#include "capture/fidelity/refine.h"

#include "capture/pcap_file.h"
#include "core/catalog/function_ids.h"
#include "core/kernel/tcp.h"
#include "core/packet/bytes.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <set>

namespace skbscope {

namespace {

constexpr std::uint8_t protocol_tcp = 6;
constexpr std::uint8_t protocol_udp = 17;
constexpr const char* traced_net = "root";

/// A send call's stamp is taken before the call; on an emulated CPU the way to the queue takes milliseconds, the first time more.
/// What a shaper lets through hangs on when a datagram reached it: the recording tells, where it holds the datagram itself.
void refine_stamps(Manifest& manifest, const Trace& recorded)
{
    const std::set<FunctionId> enqueues = {fn::tbf_enqueue, fn::fq_codel_enqueue, fn::pfifo_fast_enqueue, fn::pfifo_enqueue, fn::bfifo_enqueue};
    for (ManifestPhase& phase : manifest.phases) {
        if (phase.qdiscs.empty()) {
            continue;
        }
        for (ManifestSend& send : phase.sends) {
            std::vector<std::uint64_t> reached;
            std::set<std::uint32_t> seen;
            for (std::size_t i = 0; i < recorded.size(); ++i) {
                const Event& event = recorded[i];
                if (!event.is_call() || event.packet == 0 || event.time_ns < phase.begin || event.time_ns > phase.end ||
                    !enqueues.contains(event.function_id()) || !seen.insert(event.packet).second) {
                    continue;
                }
                const auto& flow = recorded.packet(event.packet_id()).flow;
                if (flow && flow->protocol == protocol_udp && flow->source_port == send.from.port && flow->destination_port == send.to.port) {
                    reached.push_back(event.time_ns);
                }
            }
            if (reached.size() == send.stamps.size() && std::ranges::is_sorted(reached)) {
                send.stamps = std::move(reached);
            }
        }
    }
}

/// The tables were read before the neighbours were flushed for the recording: one that a datagram had to create was not
/// there. Without addresses in the trace it is told where there is but one.
void refine_neighbours(Manifest& manifest, const Trace& recorded)
{
    const auto in_traced_net = [](const ManifestNeighbour& neighbour) {
        return neighbour.net == traced_net && !neighbour.permanent && !neighbour.flushed;
    };
    for (std::size_t i = 0; i < recorded.size(); ++i) {
        const Event& event = recorded[i];
        if (!event.is_call() || event.packet == 0 || (event.function_id() != fn::___neigh_create && event.function_id() != fn::__neigh_create)) {
            continue;
        }
        const PacketRecord& packet = recorded.packet(event.packet_id());
        if (!packet.sent_here || packet.relation != Relation::none) {
            continue;
        }
        const bool is_only_one = std::ranges::count_if(manifest.neighbours, in_traced_net) == 1;
        for (ManifestNeighbour& neighbour : manifest.neighbours) {
            neighbour.flushed = neighbour.flushed ||
                                (in_traced_net(neighbour) && (packet.flow ? packet.flow->destination == neighbour.address : is_only_one));
        }
    }
}

/// Where a packet went from: what a router forwards, from the router; else from the namespace that has its source.
class Hops {
public:
    explicit Hops(const Manifest& manifest) : manifest_(manifest) {}

    void see(const Event& event)
    {
        if (event.is_call() && event.function_id() == fn::ip_forward) {
            forwarded_.insert(event.packet);
        }
    }

    /// Whether the packet goes by that entry now.
    bool go_by(const ManifestNeighbour& entry, const Event& event, const FlowKey& flow) const
    {
        return entry.net == net_of(event, flow) && entry.address == next_hop(entry.net, flow.destination);
    }

private:
    std::string net_of(const Event& event, const FlowKey& flow) const
    {
        if (!is_one_machine(manifest_) || forwarded_.contains(event.packet)) {
            return traced_net;
        }
        for (const ManifestLink& link : manifest_.links) {
            if (std::ranges::find(link.addresses, flow.source, &ManifestAddress::address) != link.addresses.end()) {
                return link.net;
            }
        }
        return traced_net;
    }

    /// What is in no subnet of a namespace is reached through the traced one.
    IpAddress next_hop(const std::string& net, const IpAddress& destination) const
    {
        IpAddress router = destination;
        for (const ManifestLink& link : manifest_.links) {
            for (const ManifestAddress& own : link.addresses) {
                if (link.net == net && in_prefix(destination, own)) {
                    return destination;
                }
                const bool is_neighbour = link.net == traced_net && net != traced_net && own.address.v6 == destination.v6 && is_beside(own.address, net);
                router = is_neighbour ? own.address : router;
            }
        }
        return router;
    }

    bool is_beside(const IpAddress& address, const std::string& net) const
    {
        return std::ranges::any_of(manifest_.links, [&](const ManifestLink& link) {
            return link.net == net && std::ranges::any_of(link.addresses, [&](const ManifestAddress& own) { return in_prefix(address, own); });
        });
    }

    const Manifest& manifest_;
    std::set<std::uint32_t> forwarded_;
};

/// How long an entry stays reachable is drawn at random (15 to 45 s), so no time in the manifest tells what is left of it: but
/// neigh_event_send() goes on to __neigh_event_send() for a known address only where the entry is stale. What follows, the
/// packets that go by neigh_resolve_output() and the probe 5 s later, is the model's. A first packet that goes by
/// neigh_resolve_output() and does not ask finds an entry that is reachable and has no cached header yet: nobody used it.
void refine_stale_neighbours(Manifest& manifest, const Trace& recorded)
{
    std::vector<std::uint32_t> first(manifest.neighbours.size()); // the first packet that went by the entry
    std::vector<bool> made_header(manifest.neighbours.size());
    Hops hops(manifest);
    for (std::size_t i = 0; i < recorded.size(); ++i) {
        const Event& event = recorded[i];
        hops.see(event);
        const bool asks = event.is_call() && event.function_id() == fn::__neigh_event_send;
        const bool goes = event.is_call() && event.function_id() == fn::ip_finish_output2;
        const bool makes = event.is_call() && event.function_id() == fn::neigh_resolve_output;
        if ((!goes && !asks && !makes) || event.packet == 0 || !recorded.packet(event.packet_id()).flow) {
            continue;
        }
        for (std::size_t n = 0; n < first.size(); ++n) {
            ManifestNeighbour& neighbour = manifest.neighbours[n];
            const bool is_its = !neighbour.flushed && hops.go_by(neighbour, event, *recorded.packet(event.packet_id()).flow);
            if (is_its && first[n] == 0) {
                first[n] = event.packet;
            }
            neighbour.stale = neighbour.stale || (is_its && asks && !neighbour.permanent && first[n] == event.packet);
            made_header[n] = made_header[n] || (is_its && makes && first[n] == event.packet);
        }
    }
    for (std::size_t n = 0; n < first.size(); ++n) {
        manifest.neighbours[n].used = manifest.neighbours[n].used && (!made_header[n] || manifest.neighbours[n].stale);
    }
}

/// The parts of an IPv4 frame that no offload changes: not the Ethernet header, not the checksums.
std::string lasting_bytes(std::span<const std::uint8_t> frame)
{
    constexpr std::size_t ip = 14;
    constexpr std::size_t behind_udp = 42;
    if (frame.size() < behind_udp + 8 || frame[12] != 0x08 || frame[13] != 0x00) {
        return {};
    }
    std::string key(frame.begin() + ip, frame.begin() + ip + 10);
    key.append(frame.begin() + ip + 12, frame.begin() + ip + 24);
    return key.append(frame.begin() + behind_udp, frame.begin() + behind_udp + 8);
}

/// Wall clock of the host that emulated the machine minus the machine's own: by a frame that both captured, once each.
std::optional<std::int64_t> host_clock_offset(const PcapFile& wire, const PcapFile& guest)
{
    std::map<std::string, std::vector<std::int64_t>> at_wire;
    for (std::size_t i = 0; i < wire.frames.size(); ++i) {
        at_wire[lasting_bytes(wire.frame(i))].push_back(wire.frames[i].wall_ns);
    }
    at_wire.erase(std::string());
    for (std::size_t i = 0; i < guest.frames.size(); ++i) {
        const auto same = at_wire.find(lasting_bytes(guest.frame(i)));
        if (same != at_wire.end() && same->second.size() == 1) {
            return same->second.front() - guest.frames[i].wall_ns;
        }
    }
    return std::nullopt;
}

/// ARP requests at moments of the capture's clock that count.
template <typename Counts>
std::uint64_t count_requests(const PcapFile& wire, Counts counts)
{
    std::uint64_t requests = 0;
    for (std::size_t i = 0; i < wire.frames.size(); ++i) {
        const auto frame = wire.frame(i);
        requests += frame.size() >= 22 && frame[12] == 0x08 && frame[13] == 0x06 && frame[21] == 1 && counts(wire.frames[i].wall_ns) ? 1 : 0;
    }
    return requests;
}

/// An entry makes its cached hardware header with the first packet that goes by it (neigh_hh_init). Whether one had gone
/// before the first phase is in QEMU's own capture of the wire, which saw the set-up, too.
void refine_by_wire(Manifest& manifest)
{
    const auto wire = read_pcap((manifest.folder / "wire.pcap").string());
    if (!wire || manifest.phases.empty()) {
        return; // over veth there is none: the entries count as used
    }
    const std::uint64_t first = std::ranges::min(manifest.phases, {}, &ManifestPhase::begin).begin;
    for (const ManifestCapture& capture : manifest.captures) {
        const auto guest = read_pcap((manifest.folder / (capture.device + ".pcap")).string());
        const auto offset = guest ? host_clock_offset(*wire, *guest) : std::nullopt;
        const auto link = std::ranges::find(manifest.links, capture.device, &ManifestLink::name);
        if (!offset || link == manifest.links.end() || link->net != traced_net) {
            continue;
        }
        const auto on_host = [&](std::uint64_t at) { return static_cast<std::int64_t>(at) + manifest.wall_offset_ns + *offset; };
        const std::int64_t begin = on_host(first);
        if (manifest.set_up != 0) {
            link->probes_outside = count_requests(*wire, [&](std::int64_t at) {
                return at > on_host(manifest.set_up) && std::ranges::none_of(manifest.phases, [&](const ManifestPhase& phase) {
                    return at >= on_host(phase.begin) && at <= on_host(phase.end);
                });
            });
        }
        for (ManifestNeighbour& neighbour : manifest.neighbours) {
            if (neighbour.net != traced_net || neighbour.device != link->name || neighbour.address.v6) {
                continue;
            }
            neighbour.used = false;
            for (std::size_t i = 0; i < wire->frames.size() && !neighbour.used; ++i) {
                const auto frame = wire->frame(i);
                neighbour.used = wire->frames[i].wall_ns < begin && frame.size() >= 14 && frame[12] == 0x08 && frame[13] == 0x00 &&
                                 std::equal(neighbour.mac.bytes.begin(), neighbour.mac.bytes.end(), frame.begin()) &&
                                 std::equal(link->mac.bytes.begin(), link->mac.bytes.end(), frame.begin() + 6);
            }
        }
    }
}

/// QEMU can be told to let a virtio_net device wait (tx=timer): then a notification is followed by sends that notify nobody
/// any more, and long after it by the interrupt that says that all of them are gone.
void refine_tx_timer(Manifest& manifest, const Trace& recorded)
{
    constexpr std::uint64_t longer_than_emulation_ns = 20'000'000;
    constexpr std::uint64_t never = std::numeric_limits<std::uint64_t>::max();
    std::uint64_t told_ns = never;
    std::uint64_t shortest_ns = never;
    std::size_t sends_since = 0;
    for (std::size_t i = 0; i < recorded.size(); ++i) {
        const Event& event = recorded[i];
        if (!event.is_call()) {
            continue;
        }
        if (event.function_id() == fn::virtqueue_notify) {
            told_ns = event.time_ns;
            sends_since = 0;
        } else if (event.function_id() == fn::virtqueue_kick_prepare) {
            ++sends_since;
        } else if (event.function_id() == fn::skb_xmit_done && told_ns != never) {
            const std::uint64_t waited_ns = event.time_ns - told_ns;
            if (sends_since > 1 && waited_ns > longer_than_emulation_ns) {
                shortest_ns = std::min(shortest_ns, waited_ns);
            }
            told_ns = never;
        }
    }
    for (ManifestLink& link : manifest.links) {
        link.tx_timer_ns = link.driver == "virtio_net" && shortest_ns != never ? shortest_ns : 0; // one QEMU, one setting
    }
}

/// One direction of a stream as a capture shows it, in sequence numbers.
struct CapturedStream {
    struct Range {
        std::uint32_t from = 0, to = 0;
    };
    std::uint16_t port = 0; ///< to which it goes
    std::optional<std::uint32_t> first; ///< the number behind the SYN's
    std::uint32_t next = 0;             ///< behind the last byte that was seen
    std::vector<Range> skipped, repeated, twice; ///< not there when later bytes were; seen again; what the other side had got already (DSACK)
};

void see_segment(CapturedStream& stream, std::span<const std::uint8_t> frame)
{
    constexpr std::size_t ip = 14, tcp = 34, syn = 0x02, fin = 0x01;
    const std::uint32_t sequence = load_be32(&frame[tcp + 4]);
    const std::uint32_t headers = 20U + (frame[tcp + 12] >> 4) * 4U;
    const std::uint32_t total = load_be16(&frame[ip + 2]);
    const std::uint8_t flags = frame[tcp + 13];
    if ((flags & syn) != 0) {
        stream.first = stream.next = sequence + 1;
        return;
    }
    const std::uint32_t bytes = (total > headers ? total - headers : 0) + ((flags & fin) != 0 ? 1 : 0);
    if (!stream.first || bytes == 0) {
        return;
    }
    const std::uint32_t end = sequence + bytes;
    if (kernel::after(sequence, stream.next)) {
        stream.skipped.push_back({stream.next, sequence});
    } else if (kernel::before(sequence, stream.next)) {
        stream.repeated.push_back({sequence, kernel::before(end, stream.next) ? end : stream.next});
    }
    stream.next = kernel::after(end, stream.next) ? end : stream.next;
}

/// tcp_check_dsack(): a first block below the acknowledgement, or inside the second, tells what came twice.
std::optional<CapturedStream::Range> dsack_of(std::span<const std::uint8_t> frame)
{
    constexpr std::size_t tcp = 34;
    const std::size_t end = std::min<std::size_t>(frame.size(), tcp + (frame[tcp + 12] >> 4) * 4U);
    for (std::size_t at = tcp + 20; at + 1 < end && frame[at] != 0;) {
        if (frame[at] == 1) {
            ++at;
            continue;
        }
        const std::size_t size = frame[at + 1];
        if (size < 2 || at + size > end) {
            break;
        }
        if (frame[at] == 5 && size >= 10) {
            const CapturedStream::Range block{load_be32(&frame[at + 2]), load_be32(&frame[at + 6])};
            const bool is_inside = size >= 18 && !kernel::before(block.from, load_be32(&frame[at + 10])) && !kernel::after(block.to, load_be32(&frame[at + 14]));
            return is_inside || kernel::before(block.from, load_be32(&frame[tcp + 8])) ? std::optional(block) : std::nullopt;
        }
        at += size;
    }
    return std::nullopt;
}

std::vector<kernel::LostBytes> lost_of(const CapturedStream& stream, const std::vector<CapturedStream::Range>& ranges)
{
    std::vector<kernel::LostBytes> lost;
    for (const CapturedStream::Range& range : ranges) {
        const bool was_there = std::ranges::any_of(stream.twice, [&](const CapturedStream::Range& twice) {
            return kernel::before(range.from, twice.to) && kernel::before(twice.from, range.to);
        });
        if (!was_there) {
            lost.push_back({stream.port, range.from - *stream.first, range.to - *stream.first});
        }
    }
    return lost;
}

/// A rule, netem or the cable may lose segments between the machines, and no manifest says which. The capture on the traced machine tells:
/// of what comes, the bytes that were not there when later ones were; of what goes, those that went again although the peer had not got
/// them (of what it gets twice it tells by DSACK).
void refine_losses(Manifest& manifest)
{
    if (is_one_machine(manifest)) {
        return;
    }
    for (const ManifestCapture& capture : manifest.captures) {
        const auto link = std::ranges::find(manifest.links, capture.device, &ManifestLink::name);
        const auto peer = std::ranges::find_if(manifest.links, [](const ManifestLink& other) { return other.net != traced_net; });
        const auto file = read_pcap((manifest.folder / (capture.device + ".pcap")).string());
        if (!file || link == manifest.links.end() || link->net != traced_net || peer == manifest.links.end() || manifest.links.size() != 2) {
            continue;
        }
        for (const ManifestPhase& phase : manifest.phases) {
            if (!phase.stream || phase.stream->client.address.v6) {
                continue;
            }
            const bool is_client = std::ranges::find(link->addresses, phase.stream->client.address, &ManifestAddress::address) != link->addresses.end();
            CapturedStream out, in;
            out.port = is_client ? phase.stream->server.port : phase.stream->client.port;
            in.port = is_client ? phase.stream->client.port : phase.stream->server.port;
            for (std::size_t i = 0; i < file->frames.size(); ++i) {
                const auto frame = file->frame(i);
                constexpr std::size_t shortest = 14 + 20 + 20, tcp = 34;
                if (frame.size() < shortest || frame[12] != 0x08 || frame[13] != 0x00 || frame[14] != 0x45 || frame[23] != protocol_tcp ||
                    (load_be16(&frame[20]) & 0x3fff) != 0) {
                    continue;
                }
                const std::uint16_t from_port = load_be16(&frame[tcp]), to_port = load_be16(&frame[tcp + 2]);
                const bool is_out = from_port == in.port && to_port == out.port;
                if (!is_out && (from_port != out.port || to_port != in.port)) {
                    continue;
                }
                see_segment(is_out ? out : in, frame);
                if (const auto twice = dsack_of(frame); twice) {
                    (is_out ? in : out).twice.push_back(*twice);
                }
            }
            std::ranges::copy(lost_of(out, out.repeated), std::back_inserter(peer->lost));
            std::ranges::copy(lost_of(in, in.skipped), std::back_inserter(link->lost));
        }
    }
}

} // namespace

void refine_manifest(Manifest& manifest, const Trace& recorded)
{
    refine_stamps(manifest, recorded);
    refine_neighbours(manifest, recorded);
    refine_stale_neighbours(manifest, recorded);
    refine_by_wire(manifest);
    refine_tx_timer(manifest, recorded);
    refine_losses(manifest);
}

} // namespace skbscope
