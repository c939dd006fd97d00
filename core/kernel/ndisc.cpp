// net/ipv6/ndisc.c: asking and answering who has an IPv6 address, and telling a sender of a better first hop.

#include "core/kernel/ipv6.h"
#include "core/packet/build.h"
#include "core/packet/bytes.h"
#include "core/packet/checksum.h"
#include "core/packet/protocols.h"
#include "core/packet/views.h"

#include <algorithm>

namespace skbscope::kernel {

namespace {

constexpr std::uint32_t hh_len = 16; // LL_RESERVED_SPACE of an Ethernet device
constexpr std::uint32_t ipv6_header = 40;
constexpr std::uint32_t nd_msg = 24; // struct nd_msg: ICMPv6 header and target
constexpr std::uint32_t rd_msg = 40; // struct rd_msg: and destination
constexpr std::uint32_t lladdr_option = 8;
constexpr std::uint8_t ND_OPT_SOURCE_LL_ADDR = 1, ND_OPT_TARGET_LL_ADDR = 2, ND_OPT_REDIRECT_HDR = 4;
// Bits of the byte behind the checksum of an advertisement.
constexpr std::uint8_t na_router = 0x80, na_solicited = 0x40, na_override = 0x20;

/// The options of a message that the model looks at.
struct Options {
    bool valid = true; ///< false: broken, the message is ignored
    bool has_source = false, has_target = false;
    MacAddress source, target;
};

Options ndisc_parse_options(std::span<const std::uint8_t> bytes)
{
    Options options;
    while (!bytes.empty()) {
        const std::size_t length = bytes.size() < 2 ? 0 : bytes[1] * std::size_t{8};
        if (length == 0 || length > bytes.size()) {
            options.valid = false;
            return options;
        }
        const std::uint8_t type = bytes[0];
        const bool source = type == ND_OPT_SOURCE_LL_ADDR && !options.has_source;
        const bool target = type == ND_OPT_TARGET_LL_ADDR && !options.has_target;
        if ((source || target) && length != lladdr_option) {
            options.valid = false; // of a link layer with longer addresses than Ethernet's
            return options;
        }
        if (source || target) {
            MacAddress& to = source ? options.source : options.target;
            std::copy_n(bytes.begin() + 2, 6, to.bytes.begin());
            (source ? options.has_source : options.has_target) = true;
        }
        bytes = bytes.subspan(length);
    }
    return options;
}

void fill_lladdr_option(std::uint8_t* to, std::uint8_t type, const MacAddress& mac)
{
    to[0] = type;
    to[1] = 1;
    std::ranges::copy(mac.bytes, to + 2);
}

IpAddress address_at(std::span<const std::uint8_t> bytes, std::size_t at)
{
    IpAddress address = IpAddress::any6();
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), 16, address.bytes.begin());
    return address;
}

/// A message with `length` zero bytes, charged to the kernel's own socket.
SkbIndex ndisc_alloc_skb(Kernel& k, DeviceIndex device, std::uint32_t length)
{
    Call call(k, fn::ndisc_alloc_skb);
    PacketRecord record;
    record.host = k.host_of(k.device(device)).id;
    record.device = k.device(device).id;
    record.sent_here = true;
    record.birth = k.cpu().now;
    record.birth_function = fn::ndisc_alloc_skb;
    const PacketId packet = k.trace.add_packet(record);
    k.emit(EventKind::birth, packet, fn::ndisc_alloc_skb, to_index(k.device(device).id));
    const SkbIndex skb = __alloc_skb(k, packet, hh_len + ipv6_header + length);
    k.skb(skb).mine = true;
    k.skb(skb).protocol = proto::eth_p_ipv6;
    k.field(skb, SkbField::protocol, 0, proto::eth_p_ipv6);
    set_device(k, skb, device);
    skb_reserve(k, skb, hh_len + ipv6_header);
    const SocketIndex sk = inet6_ctl_sock(k, k.dev_net(device), true);
    k.skb(skb).sk = sk;
    k.socket(sk).sk_wmem_alloc += k.skb(skb).truesize;
    std::uint8_t* bytes = skb_put(k, skb, length);
    std::fill_n(bytes, length, std::uint8_t{0});
    return skb;
}

void count_out(Kernel& k, NetIndex net, SkbIndex skb)
{
    k.count(net, Mib::Ip6OutRequests, k.skb(skb).packet);
    if (k.profile() < Profile::v6_12) { // 6.12 counts the bytes where they leave
        k.count(net, Mib::Ip6OutOctets, k.skb(skb).packet, k.skb(skb).len);
    }
}

void ndisc_send_skb(Kernel& k, SkbIndex skb, const IpAddress& daddr, const IpAddress& saddr)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::ndisc_send_skb, packet);
    const DeviceIndex device = k.skb(skb).device;
    const NetIndex net = k.dev_net(device);
    const std::uint8_t type = skb_data(k, skb)[0];
    if (!k.skb(skb).dst.valid) {
        set_dst(k, skb, icmp6_dst_alloc(k, device));
    }
    const auto message = skb_data_writable(k, skb);
    const std::uint32_t length = k.skb(skb).len;
    store_be16(message.data() + 2, 0);
    store_be16(message.data() + 2,
               csum_ipv6_magic(saddr, daddr, length, proto::ipproto_icmpv6, csum_partial(message)));
    k.spend(k.costs().copy(length));
    skb_push(k, skb, ipv6_header); // ip6_nd_hdr()
    set_network_header(k, skb);
    set_transport_header(k, skb, ipv6_header);
    Ipv6Fields fields;
    fields.source = saddr;
    fields.destination = daddr;
    fields.next_header = proto::ipproto_icmpv6;
    fields.payload_length = static_cast<std::uint16_t>(length);
    fields.hop_limit = 255;
    write_ipv6(skb_network_writable(k, skb), fields);
    FlowKey flow;
    flow.source = saddr;
    flow.destination = daddr;
    flow.protocol = proto::ipproto_icmpv6;
    flow.ethertype = proto::eth_p_ipv6;
    k.trace.mutable_packet(packet).flow = flow;
    count_out(k, net, skb);
    int error = nf_hook(k, Pf::ipv6, Hook::local_out, skb, nothing, k.skb(skb).dst.device);
    if (error == 1) {
        error = ip6_dst_output(k, skb);
    }
    if (error == 0) {
        icmpv6_count_out(k, net, type, packet);
    }
}

void ndisc_send_na(Kernel& k, DeviceIndex device, const IpAddress& daddr, const IpAddress& solicited,
                   bool router, bool is_solicited, bool override_known, bool with_lladdr)
{
    Call call(k, fn::ndisc_send_na);
    const NetIndex net = k.dev_net(device);
    IpAddress saddr = solicited;
    if (ipv6_get_ifaddr(k, solicited, device)) {
        with_lladdr = with_lladdr || k.device(device).in6.force_tllao != 0;
    } else if (!ipv6_dev_get_saddr(k, net, device, daddr, saddr, PacketId::none)) {
        return; // of an anycast address: no address to answer with
    }
    if (k.device(device).kind == DeviceKind::loopback && !with_lladdr) {
        with_lladdr = false;
    }
    const SkbIndex skb = ndisc_alloc_skb(k, device, nd_msg + (with_lladdr ? lladdr_option : 0));
    const auto message = skb_data_writable(k, skb);
    message[0] = NDISC_NEIGHBOUR_ADVERTISEMENT;
    message[4] = static_cast<std::uint8_t>((router ? na_router : 0) | (is_solicited ? na_solicited : 0) |
                                           (override_known ? na_override : 0));
    std::ranges::copy(solicited.bytes, message.begin() + 8);
    if (with_lladdr) {
        fill_lladdr_option(message.data() + nd_msg, ND_OPT_TARGET_LL_ADDR, k.device(device).mac);
    }
    ndisc_send_skb(k, skb, daddr, saddr);
}

/// `saddr` nullptr: the link-local one.
void ndisc_send_ns(Kernel& k, DeviceIndex device, const IpAddress& solicit, const IpAddress& daddr,
                   const IpAddress* saddr)
{
    Call call(k, fn::ndisc_send_ns);
    IpAddress source = IpAddress::any6();
    if (saddr != nullptr) {
        source = *saddr;
    } else if (!ipv6_get_lladdr(k, device, source)) {
        return;
    }
    const bool with_lladdr = !source.is_any();
    SkbIndex skb = nothing;
    {
        Call create(k, fn::ndisc_ns_create);
        skb = ndisc_alloc_skb(k, device, nd_msg + (with_lladdr ? lladdr_option : 0));
        const auto message = skb_data_writable(k, skb);
        message[0] = NDISC_NEIGHBOUR_SOLICITATION;
        std::ranges::copy(solicit.bytes, message.begin() + 8);
        if (with_lladdr) {
            fill_lladdr_option(message.data() + nd_msg, ND_OPT_SOURCE_LL_ADDR, k.device(device).mac);
        }
    }
    ndisc_send_skb(k, skb, daddr, source);
}

void ndisc_update(Kernel& k, std::int32_t neighbour, const MacAddress* lladdr, Nud state, std::uint32_t flags,
                  PacketId packet)
{
    Call call(k, fn::ndisc_update, packet);
    neigh_update(k, neighbour, lladdr, state, flags, packet);
}

DropReasonId ndisc_recv_ns(Kernel& k, SkbIndex skb)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::ndisc_recv_ns, packet);
    const Ipv6View ip = Ipv6View::unchecked(skb_network(k, skb));
    const IpAddress saddr = ip.source();
    const IpAddress daddr = ip.destination();
    const auto message = skb_data(k, skb);
    const DeviceIndex device = k.skb(skb).device;
    const bool dad = saddr.is_any();
    if (message.size() < nd_msg) {
        return drop::PKT_TOO_SMALL;
    }
    const IpAddress target = address_at(message, 8);
    if (ipv6_addr_is_multicast(target) || (dad && !ipv6_addr_is_solict_mult(daddr))) {
        return drop::NOT_SPECIFIED;
    }
    const Options options = ndisc_parse_options(message.subspan(nd_msg));
    if (!options.valid) {
        return drop::IPV6_NDISC_BAD_OPTIONS;
    }
    if (dad && options.has_source) {
        return drop::NOT_SPECIFIED;
    }
    const bool inc = ipv6_addr_is_multicast(daddr);
    const bool ours = ipv6_get_ifaddr(k, target, device);
    if (!ours && !ipv6_chk_acast_addr(k, target, device)) {
        return drop::IPV6_NDISC_NS_OTHERHOST;
    }
    const bool is_router = k.device(device).in6.forwarding != 0;
    if (dad) { // somebody asks whether its address is free: all hear that it is not
        IpAddress all_nodes = IpAddress::any6();
        all_nodes.bytes[0] = 0xff;
        all_nodes.bytes[1] = 0x02;
        all_nodes.bytes[15] = 1;
        ndisc_send_na(k, device, all_nodes, target, is_router, false, ours, true);
        return DropReasonId::none;
    }
    k.count(k.dev_net(device), inc ? Mib::ndisc_cache_rcv_probes_mcast : Mib::ndisc_cache_rcv_probes_ucast,
            packet);
    const std::int32_t neighbour = __neigh_lookup(k, saddr, device, !inc || options.has_source, packet);
    if (neighbour != nothing) {
        ndisc_update(k, neighbour, options.has_source ? &options.source : nullptr, Nud::stale,
                     NEIGH_UPDATE_F_WEAK_OVERRIDE | NEIGH_UPDATE_F_OVERRIDE, packet);
        ndisc_send_na(k, device, saddr, target, is_router, true, ours && inc, inc);
    }
    return DropReasonId::none;
}

DropReasonId ndisc_recv_na(Kernel& k, SkbIndex skb)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::ndisc_recv_na, packet);
    const Ipv6View ip = Ipv6View::unchecked(skb_network(k, skb));
    const auto message = skb_data(k, skb);
    const DeviceIndex device = k.skb(skb).device;
    if (message.size() < nd_msg) {
        return drop::PKT_TOO_SMALL;
    }
    const IpAddress target = address_at(message, 8);
    const std::uint8_t flags = message[4];
    const bool solicited = (flags & na_solicited) != 0;
    const Inet6Device& in6 = k.device(device).in6;
    if (ipv6_addr_is_multicast(target) || (ipv6_addr_is_multicast(ip.destination()) && solicited) ||
        (!solicited && in6.drop_unsolicited_na != 0)) {
        return drop::NOT_SPECIFIED;
    }
    const Options options = ndisc_parse_options(message.subspan(nd_msg));
    if (!options.valid) {
        return drop::IPV6_NDISC_BAD_OPTIONS;
    }
    if (ipv6_get_ifaddr(k, target, device)) {
        return drop::NOT_SPECIFIED; // about one of our own addresses
    }
    Nud state = solicited ? Nud::reachable : Nud::stale;
    std::int32_t neighbour = neigh_lookup(k, target, device, packet);
    if (neighbour == nothing && options.has_target && in6.forwarding != 0 && in6.accept_untracked_na != 0) {
        neighbour = __neigh_create(k, target, device, packet);
        state = Nud::stale;
    }
    if (neighbour == nothing || k.w.neighbours[static_cast<std::size_t>(neighbour)].state == Nud::failed) {
        return drop::NOT_SPECIFIED;
    }
    ndisc_update(k, neighbour, options.has_target ? &options.target : nullptr, state,
                 NEIGH_UPDATE_F_WEAK_OVERRIDE | ((flags & na_override) != 0 ? NEIGH_UPDATE_F_OVERRIDE : 0) |
                     NEIGH_UPDATE_F_OVERRIDE_ISROUTER |
                     ((flags & na_router) != 0 ? NEIGH_UPDATE_F_ISROUTER : 0),
                 packet);
    return DropReasonId::none;
}

} // namespace

void ndisc_constructor(Kernel& k, Neighbour& neighbour)
{
    const NetDevice& device = k.device(neighbour.device);
    if (ipv6_addr_is_multicast(neighbour.address)) {
        neighbour.state = Nud::noarp; // the group says its MAC address itself: ndisc_mc_map()
        neighbour.lladdr = ipv6_eth_mc_map(neighbour.address);
    } else if (device.kind == DeviceKind::loopback) {
        neighbour.state = Nud::noarp;
        neighbour.lladdr = device.mac;
    }
}

void ndisc_solicit(Kernel& k, std::int32_t index, SkbIndex skb)
{
    Call call(k, fn::ndisc_solicit, skb == nothing ? PacketId::none : k.skb(skb).packet);
    const Neighbour neighbour = k.w.neighbours[static_cast<std::size_t>(index)];
    IpAddress source;
    const IpAddress* saddr = nullptr;
    if (skb != nothing) {
        source = Ipv6View::unchecked(skb_network(k, skb)).source();
        saddr = ipv6_get_ifaddr(k, source, neighbour.device) ? &source : nullptr;
    }
    // The first probes of a known address are unicast; a new entry starts behind them, with multicasts.
    const Sysctls& sysctl = k.net(k.dev_net(neighbour.device)).sysctl;
    const std::int64_t probes = static_cast<std::int64_t>(neighbour.probes) - sysctl.neigh6_ucast_solicit;
    if (probes >= 0 && probes < sysctl.neigh6_app_solicit) {
        return; // neigh_app_ns(): a daemon is asked, and there is none
    }
    const bool unicast = probes < 0;
    ndisc_send_ns(k, neighbour.device, neighbour.address,
                  unicast ? neighbour.address : addrconf_addr_solict_mult(neighbour.address), saddr);
}

void ndisc_error_report(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::ndisc_error_report, k.skb(skb).packet);
    ip6_link_failure(k, skb);
    kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::ndisc_error_report);
}

void ndisc_send_redirect(Kernel& k, SkbIndex skb, const IpAddress& target)
{
    const DeviceIndex device = k.skb(skb).device;
    const NetIndex net = k.dev_net(device);
    const Ipv6View ip = Ipv6View::unchecked(skb_network(k, skb));
    const IpAddress to = ip.source();
    const IpAddress about = ip.destination();
    IpAddress saddr;
    if (!ipv6_peer_allow(k, net, about, HZ) || !ipv6_get_lladdr(k, device, saddr) ||
        (about != target && !ipv6_addr_is_linklocal(target))) {
        return;
    }
    Flowi6 fl6;
    fl6.saddr = saddr;
    fl6.daddr = to;
    fl6.oif = device;
    fl6.proto = proto::ipproto_icmpv6;
    const Destination dst = ip6_route_output_flags(k, net, nothing, fl6, PacketId::none);
    const Route6* route = route6_of(k, net, dst);
    if (dst.error6 != 0 || (route != nullptr && !route->gateway.is_any()) ||
        !ipv6_peer_allow(k, net, to, HZ)) {
        return;
    }
    const std::int32_t neighbour = neigh_lookup_noref(k, target, k.skb(skb).dst.device);
    const bool known =
        neighbour != nothing && nud_valid(k.w.neighbours[static_cast<std::size_t>(neighbour)].state);
    const std::uint32_t option = known ? lladdr_option : 0;
    const auto packet = skb_network(k, skb);
    const std::uint32_t quoted = std::min<std::uint32_t>(IPV6_MIN_MTU - ipv6_header - rd_msg - option,
                                                         static_cast<std::uint32_t>(packet.size()) + 8) &
                                 ~7u;
    const std::vector<std::uint8_t> quote(packet.begin(),
                                          packet.begin() + static_cast<std::ptrdiff_t>(quoted - 8));
    const SkbIndex answer = ndisc_alloc_skb(k, device, rd_msg + option + quoted);
    const auto message = skb_data_writable(k, answer);
    message[0] = NDISC_REDIRECT;
    std::ranges::copy(target.bytes, message.begin() + 8);
    std::ranges::copy(about.bytes, message.begin() + 24);
    if (known) {
        fill_lladdr_option(message.data() + rd_msg, ND_OPT_TARGET_LL_ADDR,
                           k.w.neighbours[static_cast<std::size_t>(neighbour)].lladdr);
    }
    message[rd_msg + option] = ND_OPT_REDIRECT_HDR;
    message[rd_msg + option + 1] = static_cast<std::uint8_t>(quoted / 8);
    std::ranges::copy(quote, message.begin() + rd_msg + option + 8);
    set_dst(k, answer, dst);
    ndisc_send_skb(k, answer, to, saddr);
}

DropReasonId ndisc_rcv(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::ndisc_rcv, k.skb(skb).packet);
    skb_push(k, skb, k.skb(skb).data - k.skb(skb).transport_header);
    const auto message = skb_data(k, skb);
    if (Ipv6View::unchecked(skb_network(k, skb)).hop_limit() != 255) {
        return drop::IPV6_NDISC_HOP_LIMIT; // from behind a router: not to be believed
    }
    if (message[1] != 0) {
        return drop::IPV6_NDISC_BAD_CODE;
    }
    switch (message[0]) {
    case NDISC_NEIGHBOUR_SOLICITATION:
        return ndisc_recv_ns(k, skb);
    case NDISC_NEIGHBOUR_ADVERTISEMENT:
        return ndisc_recv_na(k, skb);
    default:
        return DropReasonId::none; // routers' messages: the model's routes are the scenario's
    }
}

} // namespace skbscope::kernel
