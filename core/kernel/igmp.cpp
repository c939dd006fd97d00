// net/ipv4/igmp.c: which groups a device listens to. Reports and queries are not sent: who is on the wire is not asked.

#include "core/kernel/functions.h"

#include <algorithm>

namespace skbscope::kernel {

bool ip_check_mc_rcu(Kernel& k, DeviceIndex index, std::uint32_t group, PacketId packet)
{
    Call call(k, fn::ip_check_mc_rcu, packet);
    constexpr std::uint32_t IGMP_ALL_HOSTS = 0xe0000001;
    const NetDevice& device = k.device(index);
    return group == IGMP_ALL_HOSTS || std::ranges::count(device.mc_list, group) > 0;
}

int ip_mc_join_group(Kernel& k, SocketIndex sk, std::uint32_t group, DeviceIndex device)
{
    Call call(k, fn::ip_mc_join_group);
    if (!ipv4_is_multicast(group)) {
        return -EINVAL;
    }
    if (device == nothing) { // ip_mc_find_dev(): the way that a datagram to the group would go
        const Destination route = ip_route_output_flow(k, k.sock_net(sk), group, 0);
        if (!route.valid) {
            return -ENODEV;
        }
        device = route.device;
    }
    if (std::ranges::count(k.socket(sk).groups, group) > 0) {
        return -EADDRINUSE;
    }
    k.socket(sk).groups.push_back(group);
    if (std::ranges::count(k.device(device).mc_list, group) == 0) {
        k.device(device).mc_list.push_back(group);
    }
    return 0;
}

} // namespace skbscope::kernel
