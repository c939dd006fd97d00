#include "capture/host/device_address.h"

#include <algorithm>
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <linux/if_packet.h>
#include <memory>
#include <netinet/in.h>
#include <sys/socket.h>

namespace skbscope::host {

DeviceAddress address_of_device(const std::string& name)
{
    DeviceAddress found;
    ifaddrs* first = nullptr;
    if (::getifaddrs(&first) != 0) {
        return found;
    }
    const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> all(first, ::freeifaddrs);
    for (const ifaddrs* entry = first; entry != nullptr; entry = entry->ifa_next) {
        if (entry->ifa_addr == nullptr || name != entry->ifa_name) {
            continue;
        }
        if (entry->ifa_addr->sa_family == AF_INET && !found.ipv4) {
            found.ipv4 = ntohl(reinterpret_cast<const sockaddr_in*>(entry->ifa_addr)->sin_addr.s_addr);
        } else if (entry->ifa_addr->sa_family == AF_PACKET) {
            const auto* link = reinterpret_cast<const sockaddr_ll*>(entry->ifa_addr);
            if (link->sll_halen == found.mac.bytes.size()) {
                std::copy_n(link->sll_addr, found.mac.bytes.size(), found.mac.bytes.begin());
            }
        }
    }
    return found;
}

} // namespace skbscope::host
