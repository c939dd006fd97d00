// net/ipv6/exthdrs.c: hop-by-hop and destination options, routing headers, "no next header".

#include "core/kernel/ipv6.h"
#include "core/packet/bytes.h"
#include "core/packet/views.h"

namespace skbscope::kernel {

namespace {

// include/uapi/linux/in6.h
constexpr std::uint8_t IPV6_TLV_PAD1 = 0, IPV6_TLV_PADN = 1, IPV6_TLV_ROUTERALERT = 5, IPV6_TLV_CALIPSO = 7,
                       IPV6_TLV_IOAM = 49, IPV6_TLV_JUMBO = 194;
constexpr std::uint8_t IPV6_SRCRT_TYPE_2 = 2, IPV6_SRCRT_TYPE_3 = 3, IPV6_SRCRT_TYPE_4 = 4;
constexpr std::uint32_t IPV6_MAXPLEN = 65535;

/// Offset of the transport header, as IP sees it now, from the IPv6 header.
std::uint32_t header_offset(Kernel& k, SkbIndex skb)
{
    return static_cast<std::uint32_t>(k.skb(skb).transport_header - k.skb(skb).network_header);
}

bool drop_option(Kernel& k, SkbIndex skb, DropReasonId reason, FunctionId by)
{
    kfree_skb_reason(k, skb, reason, by);
    return false;
}

bool parameter_problem(Kernel& k, SkbIndex skb, std::uint8_t code, std::uint32_t pointer, DropReasonId reason,
                       FunctionId by)
{
    icmp6_send(k, skb, ICMPV6_PARAMPROB, code, pointer);
    return drop_option(k, skb, reason, by);
}

/// ip6_tlvopt_unknown(): the two high bits of an option that nobody knows say what is to happen.
bool unknown_option(Kernel& k, SkbIndex skb, std::uint32_t offset, FunctionId by)
{
    const auto header = skb_network(k, skb);
    const unsigned action = header[offset] >> 6;
    if (action == 0) {
        return true; // ignore
    }
    const bool to_group = ipv6_addr_is_multicast(Ipv6View::unchecked(header).destination());
    if (action == 2 || (action == 3 && !to_group)) { // 3: not about multicast
        return parameter_problem(k, skb, ICMPV6_UNK_OPTION, offset, drop::UNHANDLED_PROTO, by);
    }
    return drop_option(k, skb, drop::UNHANDLED_PROTO, by);
}

bool hop_jumbo(Kernel& k, SkbIndex skb, std::uint32_t offset, FunctionId by)
{
    const auto header = skb_network(k, skb);
    if (header[offset + 1] != 4 || (offset & 3) != 2) {
        return drop_option(k, skb, drop::IP_INHDR, by);
    }
    const std::uint32_t length = load_be32(header.data() + offset + 2);
    if (length <= IPV6_MAXPLEN) {
        return parameter_problem(k, skb, ICMPV6_HDR_FIELD, offset + 2, drop::IP_INHDR, by);
    }
    if (Ipv6View::unchecked(header).payload_length() != 0) {
        return parameter_problem(k, skb, ICMPV6_HDR_FIELD, offset, drop::IP_INHDR, by);
    }
    // No frame here is longer than 64 KiB, so the rest cannot be there.
    return drop_option(k, skb, drop::PKT_TOO_SMALL, by);
}

/// False: dropped. `length` of the option, its two bytes included, lies within the header.
bool known_option(Kernel& k, SkbIndex skb, bool hop_by_hop, std::uint32_t offset, FunctionId by)
{
    const auto header = skb_network(k, skb);
    const std::uint8_t type = header[offset];
    if (hop_by_hop && type == IPV6_TLV_ROUTERALERT) {
        if (header[offset + 1] != 2) {
            return drop_option(k, skb, drop::IP_INHDR, by);
        }
        k.skb(skb).ip6cb.router_alert = true;
        return true;
    }
    if (hop_by_hop && type == IPV6_TLV_JUMBO) {
        return hop_jumbo(k, skb, offset, by);
    }
    if (hop_by_hop && type == IPV6_TLV_CALIPSO) { // a label that no module here can check
        return drop_option(k, skb, drop::IP_INHDR, by);
    }
    if (hop_by_hop && type == IPV6_TLV_IOAM) {
        return (offset & 3) == 0 || drop_option(k, skb, drop::IP_INHDR, by); // ioam6_enabled is off: ignored
    }
    return unknown_option(k, skb, offset, by);
}

/// ip6_parse_tlv(). False: the skb is gone.
bool parse_options(Kernel& k, SkbIndex skb, bool hop_by_hop, std::int64_t most, FunctionId by)
{
    std::uint32_t offset = header_offset(k, skb);
    std::uint32_t left = (skb_network(k, skb)[offset + 1] + 1u) * 8;
    std::uint32_t padding = 0;
    std::int64_t options = 0;
    offset += 2;
    left -= 2;
    while (left > 0) {
        const auto header = skb_network(k, skb);
        if (header[offset] == IPV6_TLV_PAD1) {
            if (++padding > 7) {
                return drop_option(k, skb, drop::IP_INHDR, by);
            }
            ++offset;
            --left;
            continue;
        }
        if (left < 2 || header[offset + 1] + 2u > left) {
            return drop_option(k, skb, drop::IP_INHDR, by);
        }
        const std::uint32_t length = header[offset + 1] + 2u;
        if (header[offset] == IPV6_TLV_PADN) {
            padding += length;
            bool zero = padding <= 7;
            for (std::uint32_t i = 2; zero && i < length; ++i) {
                zero = header[offset + i] == 0;
            }
            if (!zero) {
                return drop_option(k, skb, drop::IP_INHDR, by);
            }
        } else {
            if (++options > most) {
                return drop_option(k, skb, drop::IP_INHDR, by);
            }
            if (!known_option(k, skb, hop_by_hop, offset, by)) {
                return false;
            }
            padding = 0;
        }
        offset += length;
        left -= length;
    }
    return true;
}

/// The extension header at the transport header is there as a whole.
bool whole_header(Kernel& k, SkbIndex skb)
{
    const auto header = skb_network(k, skb);
    const std::uint32_t offset = header_offset(k, skb);
    return header.size() >= offset + 8 && header.size() >= offset + (header[offset + 1] + 1u) * 8;
}

} // namespace

bool ipv6_parse_hopopts(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::ipv6_parse_hopopts, k.skb(skb).packet);
    if (!whole_header(k, skb)) {
        return drop_option(k, skb, drop::NOT_SPECIFIED, fn::ipv6_parse_hopopts);
    }
    const std::uint32_t offset = header_offset(k, skb);
    const std::uint32_t length = (skb_network(k, skb)[offset + 1] + 1u) * 8;
    if (!parse_options(k, skb, true, k.net(k.skb_net(skb)).sysctl.ip6_max_hbh_opts_number,
                       fn::ipv6_parse_hopopts)) {
        return false;
    }
    set_transport_header(k, skb, offset + length);
    k.skb(skb).ip6cb.nhoff = static_cast<std::uint16_t>(offset);
    return true;
}

int ipv6_destopt_rcv(Kernel& k, SkbIndex skb)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::ipv6_destopt_rcv, packet);
    const NetIndex net = k.skb_net(skb);
    if (!whole_header(k, skb)) {
        k.count(net, Mib::Ip6InHdrErrors, packet);
        kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::ipv6_destopt_rcv);
        return -1;
    }
    const std::uint32_t offset = header_offset(k, skb);
    const std::uint32_t length = (skb_network(k, skb)[offset + 1] + 1u) * 8;
    if (!parse_options(k, skb, false, k.net(net).sysctl.ip6_max_dst_opts_number, fn::ipv6_destopt_rcv)) {
        k.count(net, Mib::Ip6InHdrErrors, packet);
        return -1;
    }
    set_transport_header(k, skb, offset + length);
    k.skb(skb).ip6cb.nhoff = static_cast<std::uint16_t>(offset);
    return 1;
}

int ipv6_rthdr_rcv(Kernel& k, SkbIndex skb)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::ipv6_rthdr_rcv, packet);
    const NetIndex net = k.skb_net(skb);
    const auto refuse = [&](Mib counter) {
        k.count(net, counter, packet);
        kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::ipv6_rthdr_rcv);
        return -1;
    };
    if (!whole_header(k, skb)) {
        return refuse(Mib::Ip6InHdrErrors);
    }
    const auto header = skb_network(k, skb);
    const std::uint32_t offset = header_offset(k, skb);
    if (ipv6_addr_is_multicast(Ipv6View::unchecked(header).destination()) ||
        k.skb(skb).pkt_type != PktType::host) {
        return refuse(Mib::Ip6InAddrErrors);
    }
    const std::uint8_t type = header[offset + 2];
    const std::uint8_t segments_left = header[offset + 3];
    if (type == IPV6_SRCRT_TYPE_3 || type == IPV6_SRCRT_TYPE_4) { // seg6_enabled and rpl_seg_enabled are off
        kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::ipv6_rthdr_rcv);
        return -1;
    }
    if (segments_left == 0) {
        if (type == IPV6_SRCRT_TYPE_2) {
            return refuse(Mib::Ip6InAddrErrors);
        }
        set_transport_header(k, skb, offset + (header[offset + 1] + 1u) * 8);
        k.skb(skb).ip6cb.nhoff = static_cast<std::uint16_t>(offset);
        return 1;
    }
    if (type == IPV6_SRCRT_TYPE_2) { // nobody here has a mobile home
        const bool broken = header[offset + 1] != 2 || segments_left != 1;
        return refuse(broken ? Mib::Ip6InHdrErrors : Mib::Ip6InAddrErrors);
    }
    k.count(net, Mib::Ip6InHdrErrors, packet);
    parameter_problem(k, skb, ICMPV6_HDR_FIELD, offset + 2, drop::IP_INHDR, fn::ipv6_rthdr_rcv);
    return -1;
}

int ipv6_nodata_rcv(Kernel& k, SkbIndex skb)
{
    kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::ip6_protocol_deliver_rcu); // dst_discard()
    return 0;
}

} // namespace skbscope::kernel
