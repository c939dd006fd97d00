// net/ethernet/eth.c

#include "core/kernel/functions.h"
#include "core/packet/build.h"
#include "core/packet/views.h"

namespace skbscope::kernel {

namespace {

constexpr std::uint32_t ETH_HLEN = 14;

PktType type_of(const NetDevice& device, const MacAddress& destination)
{
    if (destination.is_broadcast()) {
        return PktType::broadcast;
    }
    if (destination.is_multicast()) {
        return PktType::multicast;
    }
    return destination == device.mac ? PktType::host : PktType::other_host;
}

} // namespace

std::uint16_t eth_type_trans(Kernel& k, SkbIndex index, DeviceIndex device)
{
    Call call(k, fn::eth_type_trans, index);
    set_device(k, index, device);
    set_mac_header(k, index);
    const auto header = EthernetView::checked(skb_data(k, index));
    if (!header) {
        return 0; // shorter than a header: no protocol takes it
    }
    const PktType type = type_of(k.device(device), header->dst());
    const std::uint16_t protocol = header->ethertype();
    SkBuff& skb = k.skb(index);
    k.field(index, SkbField::pkt_type, static_cast<std::uint64_t>(skb.pkt_type), static_cast<std::uint64_t>(type));
    k.field(index, SkbField::protocol, skb.protocol, protocol);
    skb.pkt_type = type;
    skb.protocol = protocol;
    skb_pull(k, index, ETH_HLEN);
    return protocol;
}

void eth_header(Kernel& k, SkbIndex index, const MacAddress& destination, const MacAddress& source, std::uint16_t type)
{
    Call call(k, fn::eth_header, index);
    std::uint8_t* bytes = skb_push(k, index, ETH_HLEN);
    write_ethernet({bytes, ETH_HLEN}, {destination, source, type});
}

} // namespace skbscope::kernel
