#include "capture/fidelity/test_packets.h"

#include "capture/function_kinds.h"
#include "core/compare/compare.h"

#include <algorithm>
#include <fmt/format.h>
#include <vector>

namespace skbscope {

namespace {

constexpr std::uint8_t protocol_icmp = 1;
constexpr std::uint8_t protocol_tcp = 6;
constexpr std::uint8_t protocol_udp = 17;
constexpr std::uint8_t protocol_icmpv6 = 58;
constexpr const char* traced_net = "root";

/// Traffic that a phase made, as flows of its packets wherever they are seen: address translation shows them with other
/// addresses on the way.
bool is_of(const ManifestPhase& phase, const FlowKey& flow)
{
    if (flow.protocol == protocol_udp) {
        for (const ManifestSend& send : phase.sends) {
            const bool from = flow.source == send.from.address && flow.source_port == send.from.port;
            const bool to = flow.destination == send.to.address && flow.destination_port == send.to.port;
            if (from && to) {
                return true;
            }
            for (const ManifestReceive& receive : phase.receives) {
                const bool seen_from = receive.seen_from && flow.source == receive.seen_from->address && flow.source_port == receive.seen_from->port;
                if ((seen_from && to) || (from && flow.destination_port == receive.bound.port)) {
                    return true;
                }
            }
        }
        return false;
    }
    if (phase.stream && flow.protocol == protocol_tcp) {
        const auto is = [&](const ManifestEndpoint& a, const ManifestEndpoint& b) {
            return flow.source == a.address && flow.source_port == a.port && flow.destination == b.address && flow.destination_port == b.port;
        };
        return is(phase.stream->client, phase.stream->server) || is(phase.stream->server, phase.stream->client);
    }
    return !phase.output.empty() && (flow.protocol == protocol_icmp || flow.protocol == protocol_icmpv6);
}

/// Hand-made frames: whatever the peer sent then, neighbour discovery apart.
bool is_frame_of(const ManifestPhase& phase, const PacketRecord& packet, std::span<const std::uint8_t> frame, const Manifest& manifest)
{
    if (phase.frames == 0) {
        return false;
    }
    if (packet.flow) {
        const bool is_answer = std::ranges::any_of(manifest.links, [&](const ManifestLink& link) {
            return link.net == traced_net && std::ranges::find(link.addresses, packet.flow->source, &ManifestAddress::address) != link.addresses.end();
        });
        return !is_answer && packet.flow->ethertype == 0x0800;
    }
    const bool is_ipv6 = frame.size() >= 14 && frame[12] == 0x86 && frame[13] == 0xdd;
    return !frame.empty() && !is_ipv6;
}

/// Born right behind one of the phase's send calls.
bool is_sent_with(const ManifestPhase& phase, const PacketRecord& packet)
{
    constexpr std::uint64_t soon_ns = 25'000'000; // an emulated NIC takes milliseconds; gaps between datagrams are longer
    return std::ranges::any_of(phase.sends, [&](const ManifestSend& send) {
        constexpr std::uint32_t headers = 42; // Ethernet, IPv4, UDP
        if (!send.tool.empty()) {
            return packet.length == send.frame_size && !packet.sent_here;
        }
        if (packet.length != send.size + headers && !(packet.length == 0 && packet.sent_here)) {
            return false;
        }
        return std::ranges::any_of(send.stamps, [&](std::uint64_t stamp) { return packet.birth.ns >= stamp && packet.birth.ns < stamp + soon_ns; });
    });
}

/// What TCP sends is a clone of what waits to be acknowledged, and is the segment; of what waits nothing is on any wire.
bool is_segment_on_its_way(const Trace& trace, const PacketRecord& packet)
{
    return packet.relation == Relation::clone && packet.sent_here && packet.flow && packet.flow->protocol == protocol_tcp &&
           trace.has_packet(packet.parent) && !trace.packet(packet.parent).flow;
}


/// One place of a path: any of these functions is it.
using Place = std::vector<std::string_view>;

void add_receive(std::vector<Place>& path, const PacketRecord& packet)
{
    path.push_back({"napi_gro_receive", "napi_gro_frags", "__netif_rx", "netif_rx", "netif_rx_internal"});
    if (packet.verdict != Verdict::merged) {
        path.push_back({"__netif_receive_skb_core"});
    }
}

void add_transmit(std::vector<Place>& path)
{
    path.push_back({"ip_finish_output2", "ip6_finish_output2"});
    path.push_back({"__dev_queue_xmit", "dev_queue_xmit"});
    path.push_back({"dev_hard_start_xmit"});
    path.push_back({"e1000_xmit_frame", "start_xmit", "veth_xmit"});
}

void add_local(std::vector<Place>& path, const PacketRecord& packet, std::uint8_t protocol, bool is_read)
{
    if (protocol == 0) {
        return; // no protocol wanted it, a tap has it
    }
    path.push_back({packet.flow->ethertype == 0x86dd ? "ip6_rcv_core" : "ip_rcv_core"});
    path.push_back({"ip_local_deliver", "ip6_input"});
    if (protocol == protocol_udp) {
        path.push_back({"udp_rcv", "__udp4_lib_rcv", "udpv6_rcv", "__udp6_lib_rcv"});
        path.push_back({"__udp_enqueue_schedule_skb"});
        if (is_read) {
            path.push_back({"skb_consume_udp"});
        }
    } else if (protocol == protocol_tcp) {
        path.push_back({"tcp_v4_rcv", "tcp_v6_rcv"});
    } else if (protocol == protocol_icmp) {
        path.push_back({"icmp_rcv"});
    }
}

void add_maker(std::vector<Place>& path, std::uint8_t protocol, std::string_view born_in)
{
    if (born_in == "__netdev_alloc_skb") { // pktgen, which has no socket: pktgen_alloc_skb() (net/core/pktgen.c)
        path.push_back({"__netdev_alloc_skb"});
    } else if (protocol == protocol_udp) {
        path.push_back({"udp_sendmsg", "udpv6_sendmsg", "packet_sendmsg"});
    } else if (protocol == protocol_tcp) {
        path.push_back({"__ip_queue_xmit", "ip_queue_xmit", "ip_build_and_send_pkt", "tcp_v4_send_synack", "ip_send_unicast_reply"});
    }
}

std::vector<Place> path_of(const Trace& recorded, const PacketRecord& packet, bool received, bool is_read)
{
    const std::uint8_t protocol = packet.flow ? packet.flow->protocol : std::uint8_t{0};
    std::vector<Place> path;
    if (packet.sent_here) {
        add_maker(path, protocol, without_suffix(recorded.function_name(packet.birth_function)));
    }
    switch (packet.verdict) {
    case Verdict::dropped:
        if (received && recorded.function_name(packet.end_function) != "enqueue_to_backlog") {
            add_receive(path, packet);
        }
        path.push_back({without_suffix(recorded.function_name(packet.end_function))});
        break;
    case Verdict::sent: add_transmit(path); break;
    case Verdict::forwarded:
        add_receive(path, packet);
        path.push_back({"ip_forward", "ip6_forward"});
        add_transmit(path);
        break;
    case Verdict::delivered:
    case Verdict::consumed:
        if (received) {
            add_receive(path, packet);
            add_local(path, packet, protocol, is_read);
        }
        break;
    case Verdict::merged: add_receive(path, packet); break;
    default: break;
    }
    return path;
}

} // namespace

PacketChoice test_packets_of(const Manifest& manifest, std::size_t phase, const Trace& trace, std::optional<std::uint64_t> model_base)
{
    const std::uint64_t shift = model_base.value_or(0);
    const bool of_model = model_base.has_value();
    const ManifestPhase& wanted = manifest.phases[phase];
    // A packet of the phase may be born a little behind its end, but not in the next one. Where segments get lost, timers decide how
    // long a connection takes.
    std::uint64_t last = wanted.end + (of_model && loses_frames(manifest) ? loss_slack_ns : phase_slack_ns);
    for (const ManifestPhase& other : manifest.phases) {
        last = other.begin >= wanted.end ? std::min(last, other.begin) : last;
    }
    return [&trace, &wanted, last, &manifest, shift, of_model](const PacketRecord& packet) {
        const std::uint64_t birth = packet.birth.ns + shift;
        if (birth < wanted.begin || birth > last ||
            (packet.relation == Relation::clone && !is_segment_on_its_way(trace, packet))) {
            return false;
        }
        if (of_model && trace.hosts()[to_index(packet.host)].name != traced_net) {
            return false;
        }
        if (!packet.flow && is_sent_with(wanted, packet)) {
            return true; // nothing of it was captured or named: no tcpdump ran, or only the send call was traced
        }
        const auto frame = trace.frame(packet.id);
        constexpr std::size_t icmpv6_type = 14 + 40; // no extension headers
        const bool is_discovery = packet.flow && packet.flow->protocol == protocol_icmpv6 && frame.size() > icmpv6_type && frame[icmpv6_type] >= 130;
        return (packet.flow && !is_discovery && is_of(wanted, *packet.flow)) || is_frame_of(wanted, packet, trace.frame(packet.id), manifest);
    };
}

std::set<std::string, std::less<>> shown_functions(const Manifest& manifest, const Trace& recorded)
{
    std::set<std::string, std::less<>> shown;
    for (const std::string& symbol : manifest.functions) {
        if (symbol.find(".part.") == std::string::npos) {
            shown.emplace(without_suffix(symbol));
        }
    }
    if (!manifest.graph_functions.empty() || manifest.functions.empty()) {
        const FunctionNames seen = visible_functions(recorded);
        shown.insert(seen.begin(), seen.end());
    }
    return shown;
}

std::string missing_of_path(const Trace& recorded, const PacketRecord& packet, const Journey& journey,
                            const std::set<std::string, std::less<>>& shown)
{
    if (packet.verdict == Verdict::in_flight || packet.verdict == Verdict::lost) {
        return "its end";
    }
    std::vector<std::string_view> names;
    bool has_graph = false;
    for (const Step& step : journey.steps) {
        names.push_back(without_suffix(recorded.function_name(recorded[step.ordinal].function_id())));
        has_graph = has_graph || (recorded[step.ordinal].via() & via_graph) != 0;
    }
    // Of a call outside the roots of a graph only its event is there, and nothing of what it calls.
    const auto is_outside_roots = [&](std::ptrdiff_t step) {
        return has_graph && (recorded[journey.steps[static_cast<std::size_t>(step)].ordinal].via() & via_graph) == 0;
    };
    bool is_hidden = false;
    const bool received = !packet.sent_here || std::ranges::find(names, "__netif_receive_skb_core") != names.end();
    // pktgen over veth holds a reference of its own, and gives it back last.
    const bool is_read = packet.death != never && !packet.end_inferred && !names.empty() &&
                         without_suffix(recorded.function_name(packet.end_function)) != "kfree_skb" && std::ranges::find(names, "kfree_skb_reason") == names.end();
    auto at = names.begin();
    for (const Place& place : path_of(recorded, packet, received, is_read)) {
        const auto is_it = [&](std::string_view name) { return std::ranges::find(place, name) != place.end(); };
        if (std::ranges::none_of(place, [&](std::string_view name) { return shown.contains(name); })) {
            continue;
        }
        const auto found = std::find_if(at, names.end(), is_it);
        if (found == names.end() && is_hidden) {
            continue;
        }
        if (found == names.end()) {
            return fmt::format("{}", fmt::join(place, " or "));
        }
        is_hidden = is_outside_roots(found - names.begin());
        at = found + 1;
    }
    return {};
}

} // namespace skbscope
