// What a station (the far end of a wire that is not modelled function by function) says to a ping.

#include "core/kernel/functions.h"
#include "core/packet/build.h"
#include "core/packet/bytes.h"
#include "core/packet/checksum.h"
#include "core/packet/protocols.h"
#include "core/packet/views.h"

#include <algorithm>

namespace skbscope::kernel {

namespace {

/// The request goes back as it came, with its ends exchanged.
std::vector<std::uint8_t> echo_reply6(const Station& station, std::span<const std::uint8_t> frame)
{
    constexpr std::size_t ethernet_header = 14, ipv6_header = 40, icmp_header = 8;
    constexpr std::uint8_t echo_request = 128, echo_reply = 129, hop_limit = 64;
    const auto ip = Ipv6View::checked(frame.subspan(ethernet_header));
    if (!station.address6.v6 || !ip || ip->destination() != station.address6 || ip->next_header() != proto::ipproto_icmpv6) {
        return {};
    }
    const auto message = ip->payload();
    if (message.size() < icmp_header || message[0] != echo_request ||
        transport_checksum(ip->source(), ip->destination(), proto::ipproto_icmpv6, message) != 0) {
        return {};
    }
    std::vector<std::uint8_t> reply(ethernet_header + ipv6_header + message.size());
    write_ethernet(reply, {EthernetView::unchecked(frame).src(), station.mac, proto::eth_p_ipv6});
    Ipv6Fields fields;
    fields.source = station.address6;
    fields.destination = ip->source();
    fields.next_header = proto::ipproto_icmpv6;
    fields.payload_length = static_cast<std::uint16_t>(message.size());
    fields.hop_limit = hop_limit;
    write_ipv6(std::span(reply).subspan(ethernet_header), fields);
    const auto answer = std::span(reply).subspan(ethernet_header + ipv6_header);
    std::ranges::copy(message, answer.begin());
    answer[0] = echo_reply;
    store_be16(&answer[2], 0);
    store_be16(&answer[2], transport_checksum(fields.source, fields.destination, proto::ipproto_icmpv6, answer));
    return reply;
}

} // namespace

std::vector<std::uint8_t> station_echo_reply(const Station& station, std::span<const std::uint8_t> frame)
{
    constexpr std::size_t ethernet_header = 14, icmp_header = 8;
    const auto ethernet = EthernetView::checked(frame);
    if (!station.answers_ping || !ethernet || ethernet->dst() != station.mac) {
        return {};
    }
    if (ethernet->ethertype() == proto::eth_p_ipv6) {
        return echo_reply6(station, frame);
    }
    if (ethernet->ethertype() != proto::eth_p_ip) {
        return {};
    }
    const auto ip = Ipv4View::checked(ethernet->payload());
    if (!ip || ip->daddr() != station.address || ip->protocol() != proto::ipproto_icmp || ip->is_fragment() || !ipv4_checksum_ok(ip->header())) {
        return {};
    }
    const auto message = ip->payload();
    if (message.size() < icmp_header || message[0] != proto::icmp_echo || !icmp_checksum_ok(message)) {
        return {};
    }
    EchoFrame reply;
    reply.ethernet = {ethernet->src(), station.mac, proto::eth_p_ip};
    reply.source = station.address;
    reply.destination = ip->saddr();
    reply.reply = true;
    reply.identifier = load_be16(&message[4]);
    reply.sequence = load_be16(&message[6]);
    reply.payload = message.subspan(icmp_header);
    reply.id = ip->id();
    std::vector<std::uint8_t> bytes = build_echo_frame(reply);
    constexpr std::size_t shortest = 60;
    bytes.resize(std::max({bytes.size(), shortest, ethernet_header}));
    return bytes;
}

} // namespace skbscope::kernel
