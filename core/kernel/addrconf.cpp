// net/ipv6/addrconf.c, net/ipv6/addrlabel.c, net/ipv6/mcast.c: which IPv6 addresses and groups a device has,
// and which address a packet leaves with.

#include "core/kernel/ipv6.h"

#include <algorithm>
#include <array>

namespace skbscope::kernel {

namespace {

// include/net/ip6_route.h
constexpr std::uint32_t IP6_RT_PRIO_ADDRCONF = 256;

const Inet6Address* find_address(const NetDevice& device, const IpAddress& address)
{
    const auto found = std::ranges::find(device.in6.addresses, address, &Inet6Address::address);
    return found == device.in6.addresses.end() ? nullptr : &*found;
}

/// __ipv6_addr_src_scope(): interface 1, link 2, site 5, global 14.
int src_scope(const IpAddress& a)
{
    if (ipv6_addr_is_multicast(a)) {
        return static_cast<int>(ipv6_addr_mc_scope(a));
    }
    if (ipv6_addr_loopback(a)) {
        return 1;
    }
    if (ipv6_addr_is_linklocal(a)) {
        return 2;
    }
    return a.bytes[0] == 0xfe && (a.bytes[1] & 0xc0) == 0xc0 ? 5 : 14;
}

IpAddress prefix_of(std::initializer_list<std::uint8_t> bytes)
{
    IpAddress a = IpAddress::any6();
    std::copy(bytes.begin(), bytes.end(), a.bytes.begin());
    return a;
}

/// net/ipv6/addrlabel.c: ip6addrlbl_init_table, the longest prefix wins.
unsigned label_of(const IpAddress& a)
{
    struct Label {
        IpAddress prefix;
        unsigned length, label;
    };
    static const std::array<Label, 8> table{{
        {prefix_of({}), 0, 1},
        {prefix_of({0xfc}), 7, 5},
        {prefix_of({0x20, 0x02}), 16, 2},
        {prefix_of({0x20, 0x01, 0x00, 0x10}), 28, 7},
        {prefix_of({0x20, 0x01}), 32, 6},
        {prefix_of({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}), 96, 4},
        {prefix_of({}), 96, 3},
        {prefix_of({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}), 128, 0},
    }};
    const Label* best = &table[0];
    for (const Label& label : table) {
        if (label.length >= best->length && ipv6_prefix_equal(a, label.prefix, label.length)) {
            best = &label;
        }
    }
    return best->label;
}

/// The rules of ipv6_get_saddr_eval() in their order; the greater array is the better address.
std::array<int, 5> score_of(const Inet6Address& candidate, DeviceIndex on, DeviceIndex destination_device,
                            const IpAddress& daddr)
{
    const int scope = src_scope(candidate.address);
    const int length =
        static_cast<int>(std::min<unsigned>(ipv6_addr_diff(candidate.address, daddr), candidate.prefix));
    return {candidate.address == daddr ? 1 : 0, scope >= src_scope(daddr) ? -scope : scope - 128,
            destination_device == nothing || on == destination_device ? 1 : 0,
            label_of(candidate.address) == label_of(daddr) ? 1 : 0, length};
}

void join(NetDevice& device, const IpAddress& group)
{
    if (std::ranges::find(device.in6.mc_list, group) == device.in6.mc_list.end()) {
        device.in6.mc_list.push_back(group);
    }
}

IpAddress network_of(IpAddress address, std::uint8_t prefix)
{
    for (unsigned bit = prefix; bit < 128; ++bit) {
        address.bytes[bit / 8] = static_cast<std::uint8_t>(address.bytes[bit / 8] & ~(0x80u >> (bit % 8)));
    }
    return address;
}

/// Routers answer to the subnet's address.
void addrconf_join_anycast(World& world, DeviceIndex index, const Inet6Address& own)
{
    if (own.prefix >= 127) {
        return;
    }
    NetDevice& device = world.devices[static_cast<std::size_t>(index)];
    Route6 anycast;
    anycast.kind = Route6::Kind::anycast;
    anycast.table = Route6::Table::local;
    anycast.prefix = network_of(own.address, own.prefix);
    anycast.length = 128;
    anycast.device = index;
    anycast.metric = 0;
    world.nets[device.net].ipv6.routes.push_back(anycast);
    join(device, addrconf_addr_solict_mult(anycast.prefix));
}

/// addrconf_leave_anycast(), of all the device's subnets.
void leave_anycast(World& world, DeviceIndex index)
{
    for (Route6& route : world.nets[world.devices[static_cast<std::size_t>(index)].net].ipv6.routes) {
        route.dead = route.dead || (route.kind == Route6::Kind::anycast && route.device == index);
    }
}

} // namespace

bool in6_dev_get(Kernel& k, DeviceIndex device)
{
    return k.device(device).in6.present;
}

bool ipv6_chk_addr(Kernel& k, NetIndex net, const IpAddress& address, DeviceIndex device)
{
    const bool link = ipv6_addr_is_linklocal(address);
    for (std::size_t row = 0; row < k.w.devices.size(); ++row) {
        const bool here = device == nothing || device == static_cast<DeviceIndex>(row) || !link;
        if (here && k.w.devices[row].net == net && find_address(k.w.devices[row], address) != nullptr) {
            return true;
        }
    }
    return false;
}

bool ipv6_get_ifaddr(Kernel& k, const IpAddress& address, DeviceIndex device)
{
    return find_address(k.device(device), address) != nullptr;
}

bool ipv6_get_lladdr(Kernel& k, DeviceIndex device, IpAddress& address)
{
    for (const Inet6Address& own : k.device(device).in6.addresses) {
        if (ipv6_addr_is_linklocal(own.address)) {
            address = own.address;
            return true;
        }
    }
    return false;
}

bool ipv6_dev_get_saddr(Kernel& k, NetIndex net, DeviceIndex destination_device, const IpAddress& daddr,
                        IpAddress& saddr, PacketId packet)
{
    Call call(k, fn::ipv6_dev_get_saddr, packet);
    // Of a multicast or link-local destination only the outgoing device's addresses will do.
    const bool only_there =
        destination_device != nothing && (ipv6_addr_is_multicast(daddr) || src_scope(daddr) <= 2);
    bool found = false;
    std::array<int, 5> best{};
    for (std::size_t row = 0; row < k.w.devices.size(); ++row) {
        const NetDevice& device = k.w.devices[row];
        const auto on = static_cast<DeviceIndex>(row);
        if (device.net != net || !device.in6.present || (only_there && on != destination_device)) {
            continue;
        }
        for (const Inet6Address& candidate : device.in6.addresses) {
            const auto score = score_of(candidate, on, destination_device, daddr);
            if (!found || score > best) {
                found = true;
                best = score;
                saddr = candidate.address;
            }
        }
    }
    return found;
}

bool ipv6_chk_acast_addr(Kernel& k, const IpAddress& address, DeviceIndex device)
{
    const auto& routes = k.net(k.dev_net(device)).ipv6.routes;
    return std::ranges::any_of(routes, [&](const Route6& route) {
        return !route.dead && route.kind == Route6::Kind::anycast && route.device == device && route.prefix == address;
    });
}

bool ipv6_chk_mcast_addr(Kernel& k, DeviceIndex device, const IpAddress& group)
{
    const auto& list = k.device(device).in6.mc_list;
    return std::ranges::find(list, group) != list.end();
}

SocketIndex inet6_ctl_sock(Kernel& k, NetIndex net, bool of_ndisc)
{
    // net/ipv6/ndisc.c: ndisc_net_init, net/ipv6/icmp.c: icmpv6_init. Made when first used; no lookup finds
    // them.
    Ipv6Net& ipv6 = k.net(net).ipv6;
    std::int32_t& row = of_ndisc ? ipv6.ndisc_sk : ipv6.icmp_sk;
    if (row == nothing) {
        Socket sk;
        sk.kind = SocketKind::raw;
        sk.inet6 = true;
        sk.host = k.net(net).host;
        sk.net = net;
        sk.hashed = false;
        sk.in_use = true;
        k.w.sockets.push_back(std::move(sk));
        row = static_cast<std::int32_t>(k.w.sockets.size() - 1);
    }
    return row;
}

void addrconf_add_dev(World& world, DeviceIndex index)
{
    NetDevice& device = world.devices[static_cast<std::size_t>(index)];
    if (device.in6.present || device.mtu < IPV6_MIN_MTU) {
        return;
    }
    device.in6.present = true;
    device.in6.mtu = device.mtu;
    Ipv6Net& net = world.nets[device.net].ipv6;
    static_cast<Ipv6DevConf&>(device.in6) = net.conf_default;
    IpAddress group = IpAddress::any6();
    group.bytes[0] = 0xff;
    group.bytes[1] = 0x01; // interface-local all nodes
    group.bytes[15] = 1;
    join(device, group);
    group.bytes[1] = 0x02; // link-local all nodes
    join(device, group);
    if (device.in6.forwarding != 0) { // all routers: interface, link, site
        for (const std::uint8_t scope : {1, 2, 5}) {
            group.bytes[1] = scope;
            group.bytes[15] = 2;
            join(device, group);
        }
    }
    if (device.kind != DeviceKind::loopback) { // addrconf_add_mroute()
        Route6 multicast;
        multicast.kind = Route6::Kind::multicast;
        multicast.table = Route6::Table::local;
        multicast.prefix.bytes[0] = 0xff;
        multicast.length = 8;
        multicast.device = index;
        multicast.metric = IP6_RT_PRIO_ADDRCONF;
        net.routes.push_back(multicast);
    }
}

void addrconf_add_address(World& world, DeviceIndex index, const IpAddress& address, std::uint8_t prefix)
{
    addrconf_add_dev(world, index);
    NetDevice& device = world.devices[static_cast<std::size_t>(index)];
    if (!device.in6.present || find_address(device, address) != nullptr) {
        return;
    }
    auto& list =
        device.in6.addresses; // ipv6_link_dev_addr(): the widest scope first, the newest behind its equals
    const auto at = std::ranges::find_if(
        list, [&](const Inet6Address& a) { return src_scope(a.address) < src_scope(address); });
    list.insert(at, {address, prefix});
    join(device, addrconf_addr_solict_mult(address));
    Ipv6Net& net = world.nets[device.net].ipv6;
    Route6 local;
    local.kind = Route6::Kind::local;
    local.table = Route6::Table::local;
    local.prefix = address;
    local.length = 128;
    local.device = index;
    local.metric = 0;
    net.routes.push_back(local);
    Route6 subnet;
    subnet.prefix = network_of(address, prefix);
    subnet.length = prefix;
    subnet.device = index;
    subnet.metric = IP6_RT_PRIO_ADDRCONF;
    net.routes.push_back(subnet);
    if (device.in6.forwarding != 0) {
        addrconf_join_anycast(world, index, {address, prefix});
    }
}

void addrconf_disable_change(World& world, DeviceIndex index)
{
    NetDevice& device = world.devices[static_cast<std::size_t>(index)];
    if (device.in6.disable_ipv6 == 0) { // addrconf_dev_config(): back with the link-local address only
        device.in6.present = false;
        device.in6.mc_list.clear();
        const Ipv6DevConf kept = device.in6;
        addrconf_add_dev(world, index);
        static_cast<Ipv6DevConf&>(device.in6) = kept;
        if (device.kind != DeviceKind::loopback) {
            addrconf_add_linklocal(world, index);
        }
        return;
    }
    device.in6.addresses.clear(); // addrconf_ifdown()
    device.in6.mc_list.clear();
    for (Route6& route : world.nets[device.net].ipv6.routes) {
        route.dead = route.dead || route.device == index;
    }
}

void addrconf_forward_change(World& world, DeviceIndex index)
{
    NetDevice& device = world.devices[static_cast<std::size_t>(index)];
    IpAddress group = IpAddress::any6();
    group.bytes[0] = 0xff;
    group.bytes[15] = 2;
    for (const std::uint8_t scope : {1, 2, 5}) {
        group.bytes[1] = scope;
        if (device.in6.forwarding != 0 && device.in6.present) {
            join(device, group);
        } else {
            std::erase(device.in6.mc_list, group);
        }
    }
    leave_anycast(world, index);
    if (device.in6.forwarding != 0) {
        for (const Inet6Address& own : std::vector<Inet6Address>(device.in6.addresses)) {
            addrconf_join_anycast(world, index, own);
        }
    }
}

void addrconf_add_linklocal(World& world, DeviceIndex index)
{
    const NetDevice& device = world.devices[static_cast<std::size_t>(index)];
    const bool has_one = std::ranges::any_of(
        device.in6.addresses, [](const Inet6Address& a) { return ipv6_addr_is_linklocal(a.address); });
    if (!has_one) {
        addrconf_add_address(world, index, ipv6_linklocal_of(device.mac), 64);
    }
}

} // namespace skbscope::kernel
