#include "core/trace/flow_text.h"

namespace skbscope {

namespace {

/// Hosts without an address send to all others, as DHCP's do (RFC 1122, 3.2.1.3); to a single one nobody can.
bool is_to_many(const IpAddress& address)
{
    constexpr unsigned first_multicast = 224;
    return address.v6 ? ipv6_addr_is_multicast(address) : address.bytes[0] >= first_multicast;
}

} // namespace

std::string flow_text(const PacketRecord& packet)
{
    if (!packet.flow) {
        return {};
    }
    std::string text = packet.flow->text();
    if (packet.sent_here && packet.flow->source.is_any() && !is_to_many(packet.flow->destination)) {
        const std::string any = packet.flow->source.text();
        text.replace(text.find(any), any.size(), "unknown");
    }
    return text;
}

} // namespace skbscope
