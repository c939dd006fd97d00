#include "core/scenario/device_settings.h"

#include <algorithm>
#include <bit>

namespace skbscope {

namespace {

constexpr std::int64_t ms_per_jiffy = 4; // HZ = 250

using kernel::DeviceKind;
using kernel::NetDevice;

constexpr std::int64_t int_max = 2147483647;
constexpr std::int64_t DQL_MAX_LIMIT = (4294967295 / 2) - (4294967295 / 16); // include/linux/dynamic_queue_limits.h
constexpr std::int64_t longest = 1'000'000'000'000'000;                      // nanoseconds: eleven days

bool any(DeviceKind) { return true; }
bool has_napi(DeviceKind kind) { return kind == DeviceKind::e1000 || kind == DeviceKind::e1000e || kind == DeviceKind::virtio_net; }
bool has_bql(DeviceKind kind) { return has_napi(kind); }
bool has_throttle(DeviceKind kind) { return kind == DeviceKind::e1000 || kind == DeviceKind::e1000e; }
bool not_loopback(DeviceKind kind) { return kind != DeviceKind::loopback; }

template <typename Change>
void each_dql(NetDevice& device, Change change)
{
    for (kernel::NetdevQueue& queue : device.tx_queues) {
        change(queue.dql);
    }
}

void set_flow_count(NetDevice& device, std::int64_t value)
{
    for (kernel::NetdevRxQueue& queue : device.rx_queues) { // net/core/net-sysfs.c: store_rps_dev_flow_table_cnt
        queue.rps_flow_table.assign(value == 0 ? 0 : std::bit_ceil(static_cast<std::uint64_t>(value)), {});
    }
}

constexpr DeviceSettingRow rows[] = {
    {"gro_flush_timeout", 0, longest, 0, "ns", "GRO flush timeout", "GRO may keep packets so long across polls, in the hope of more of their stream; 0: not beyond a poll.", has_napi,
     [](const NetDevice& d) { return d.gro_flush_timeout; }, [](NetDevice& d, std::int64_t v) { d.gro_flush_timeout = v; }, true},
    {"napi_defer_hard_irqs", 0, int_max, 0, "polls", "Deferred interrupts", "So many empty polls, gro_flush_timeout apart, before the interrupt is enabled again.", has_napi,
     [](const NetDevice& d) { return d.napi_defer_hard_irqs; }, [](NetDevice& d, std::int64_t v) { d.napi_defer_hard_irqs = v; }, true},
    {"gro_max_size", 0, 524280, 65536, "bytes", "Largest merged packet", "GRO merges no further (not in 5.10); IPv4 never goes above 65536.", not_loopback,
     [](const NetDevice& d) { return std::int64_t{d.gro_max_size}; }, [](NetDevice& d, std::int64_t v) { d.gro_max_size = static_cast<std::uint32_t>(v); }, true},
    {"rps_flow_cnt", 0, 131072, 0, "flows", "RFS flows", "Flows whose CPU each receive queue remembers, a power of two; RFS needs net.core.rps_sock_flow_entries, too.", not_loopback,
     [](const NetDevice& d) { return static_cast<std::int64_t>(d.rx_queues.front().rps_flow_table.size()); }, set_flow_count, true},
    {"bql_limit_min", 0, DQL_MAX_LIMIT, 0, "bytes", "BQL: least limit", "Bytes that the ring may always hold (byte_queue_limits/limit_min).", has_bql,
     [](const NetDevice& d) { return std::int64_t{d.tx_queues.front().dql.min_limit}; },
     [](NetDevice& d, std::int64_t v) { each_dql(d, [&](kernel::Dql& dql) { dql.min_limit = static_cast<std::uint32_t>(v); }); }, true},
    {"bql_limit_max", 0, DQL_MAX_LIMIT, DQL_MAX_LIMIT, "bytes", "BQL: largest limit", "Bytes that the ring may never exceed by more than a packet (byte_queue_limits/limit_max).", has_bql,
     [](const NetDevice& d) { return std::int64_t{d.tx_queues.front().dql.max_limit}; },
     [](NetDevice& d, std::int64_t v) { each_dql(d, [&](kernel::Dql& dql) { dql.max_limit = static_cast<std::uint32_t>(v); }); }, true},
    {"bql_hold_time", 0, int_max / ms_per_jiffy * ms_per_jiffy, 1000, "ms", "BQL: hold time", "So long slack is watched before the limit shrinks (byte_queue_limits/hold_time).", has_bql,
     [](const NetDevice& d) { return d.tx_queues.front().dql.slack_hold_time * ms_per_jiffy; },
     [](NetDevice& d, std::int64_t v) { each_dql(d, [&](kernel::Dql& dql) { dql.slack_hold_time = (v + ms_per_jiffy - 1) / ms_per_jiffy; }); }, true},
    {"arp", 0, 1, 1, "", "ARP", "0: no address is asked for or told here (ip link set arp off).", not_loopback,
     [](const NetDevice& d) { return std::int64_t{d.arp}; }, [](NetDevice& d, std::int64_t v) { d.arp = v != 0; }, true},
    {"promiscuous", 0, 1, 0, "", "Promiscuous", "Frames for other stations come up, too (ip link set promisc).", not_loopback,
     [](const NetDevice& d) { return std::int64_t{d.promiscuous}; }, [](NetDevice& d, std::int64_t v) { d.promiscuous = v != 0; }, false},
    {"txqueuelen", 1, 1000000, 1000, "packets", "Transmit queue length", "What the next qdisc takes for its limit (ip link set txqueuelen).", any,
     [](const NetDevice& d) { return std::int64_t{d.tx_queue_len}; }, [](NetDevice& d, std::int64_t v) { d.tx_queue_len = static_cast<std::uint32_t>(v); }, false},
    {"mtu", 576, 1500, 1500, "bytes", "MTU", "Longer packets are cut or refused (ip link set mtu).", not_loopback,
     [](const NetDevice& d) { return std::int64_t{d.mtu}; },
     [](NetDevice& d, std::int64_t v) {
         d.mtu = static_cast<std::uint32_t>(v);
         d.in6.mtu = std::max<std::int64_t>(v, kernel::IPV6_MIN_MTU);
     },
     false},
    {"rx_usecs", 0, 100000, 0, "us", "Interrupt throttle", "Least time between two interrupts (ethtool -C rx-usecs); 0: none.", has_throttle,
     [](const NetDevice& d) { return static_cast<std::int64_t>(d.e1000.coalesce_usecs); },
     [](NetDevice& d, std::int64_t v) { d.e1000.coalesce_usecs = static_cast<std::uint64_t>(v); }, false},
    {"rx_checksum", 0, 1, 1, "", "Receive checksum", "The device checks sums of TCP and UDP (ethtool -K rx).", has_napi,
     [](const NetDevice& d) { return std::int64_t{d.kind == DeviceKind::virtio_net ? d.virtio.rx_checksum : d.e1000.rx_checksum}; },
     [](NetDevice& d, std::int64_t v) { (d.kind == DeviceKind::virtio_net ? d.virtio.rx_checksum : d.e1000.rx_checksum) = v != 0; }, false},
    {"tx_checksum", 0, 1, 1, "", "Transmit checksum", "The device finishes sums (ethtool -K tx); without it no TSO either.", not_loopback,
     [](const NetDevice& d) { return std::int64_t{d.tx_checksum}; },
     [](NetDevice& d, std::int64_t v) {
         d.tx_checksum = v != 0;
         d.tso = d.tso && d.tx_checksum;
     },
     false},
    {"tso", 0, 1, 1, "", "TSO", "The device cuts large TCP packets (ethtool -K tso); it needs the transmit checksum.", not_loopback,
     [](const NetDevice& d) { return std::int64_t{d.tso}; }, [](NetDevice& d, std::int64_t v) { d.tso = v != 0 && d.tx_checksum; }, false},
};

} // namespace

std::span<const DeviceSettingRow> device_setting_rows() { return rows; }

const DeviceSettingRow* find_device_setting(std::string_view name)
{
    const auto* found = std::ranges::find(rows, name, &DeviceSettingRow::name);
    return found == std::end(rows) ? nullptr : found;
}

} // namespace skbscope
