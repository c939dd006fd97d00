// What a station (the far end of a wire that is not modelled function by function) says to a ping.

#include "core/kernel/functions.h"
#include "core/packet/build.h"
#include "core/packet/bytes.h"
#include "core/packet/checksum.h"
#include "core/packet/protocols.h"
#include "core/packet/views.h"

namespace skbscope::kernel {

std::vector<std::uint8_t> station_echo_reply(const Station& station, std::span<const std::uint8_t> frame)
{
    constexpr std::size_t ethernet_header = 14, icmp_header = 8;
    const auto ethernet = EthernetView::checked(frame);
    if (!station.answers_ping || !ethernet || ethernet->ethertype() != proto::eth_p_ip || ethernet->dst() != station.mac) {
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
