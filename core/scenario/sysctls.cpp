#include "core/scenario/sysctls.h"

#include <algorithm>
#include <limits>

namespace skbscope {

namespace {

using kernel::Sysctls;
constexpr std::int64_t int_max = std::numeric_limits<std::int32_t>::max();

constexpr SysctlRow rows[] = {
    {"net.core.netdev_max_backlog", &Sysctls::netdev_max_backlog, 0, int_max, "packets", "Backlog limit",
     "Packets that may wait in a CPU's input_pkt_queue; the test comes before adding, so one more fits."},
    {"net.core.netdev_budget", &Sysctls::netdev_budget, 1, int_max, "packets", "Receive budget",
     "Packets that one run of net_rx_action may handle before it gives way."},
    {"net.core.netdev_budget_usecs", &Sysctls::netdev_budget_usecs, 1, int_max / 1000, "us", "Receive time budget",
     "Time that one run of net_rx_action may take before it gives way."},
    {"net.core.dev_weight", &Sysctls::dev_weight, 1, int_max, "packets", "Backlog weight",
     "Packets that process_backlog takes in one poll."},
    {"net.core.gro_normal_batch", &Sysctls::gro_normal_batch, 1, int_max, "packets", "List batch",
     "Packets that NAPI collects before the list goes up the stack."},
    {"net.core.rmem_default", &Sysctls::rmem_default, 2304, int_max, "bytes", "Default receive buffer",
     "Receive buffer of a socket that asks for none; it counts truesize, not payload."},
    {"net.core.rmem_max", &Sysctls::rmem_max, 2304, int_max, "bytes", "Largest receive buffer",
     "The most that setsockopt(SO_RCVBUF) may ask for; the kernel doubles what it gets."},
    {"net.core.wmem_default", &Sysctls::wmem_default, 4608, int_max, "bytes", "Default send buffer",
     "Send buffer of a socket that asks for none."},
    {"net.core.wmem_max", &Sysctls::wmem_max, 4608, int_max, "bytes", "Largest send buffer",
     "The most that setsockopt(SO_SNDBUF) may ask for."},
    {"net.ipv4.ip_default_ttl", &Sysctls::ip_default_ttl, 1, 255, "hops", "TTL", "TTL of packets that start here."},
    {"net.ipv4.ip_early_demux", &Sysctls::ip_early_demux, 0, 1, "", "Early demux",
     "Look for a connected socket before the route."},
    {"net.ipv4.neigh.default.unres_qlen_bytes", &Sysctls::unres_qlen_bytes, 0, int_max, "bytes", "Unresolved queue",
     "Bytes of truesize that may wait for one neighbour's address; the oldest makes room."},
};

} // namespace

std::span<const SysctlRow> sysctl_rows()
{
    return rows;
}

const SysctlRow* find_sysctl(std::string_view name)
{
    const auto* found = std::ranges::find(rows, name, &SysctlRow::name);
    return found == std::end(rows) ? nullptr : found;
}

} // namespace skbscope
