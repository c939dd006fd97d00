#pragma once
// IPv4's own state: per-device settings, what routing decides, what a packet remembers while IP has it (IPCB), peers with
// their rate limits, datagrams in reassembly. Values only: World holds them.

#include "core/catalog/ids.h"
#include "core/trace/time.h"
#include "core/trace/trace.h"

#include <array>
#include <cerrno> // the numbers of include/uapi/asm-generic/errno.h
#include <cstdint>
#include <deque>
#include <map>
#include <vector>

namespace skbscope::kernel {

inline constexpr Duration jiffy{4'000'000}; ///< HZ = 250, as Debian builds it
inline constexpr std::int64_t HZ = 250;
[[nodiscard]] constexpr std::int64_t jiffies(SimTime now) { return now.ns / jiffy.ns; }
/// The tick that makes `jiffies` this number.
[[nodiscard]] constexpr SimTime tick_of(std::int64_t number) { return SimTime{} + Duration{number * jiffy.ns}; }

/// include/uapi/linux/rtnetlink.h: RTN_*
enum class RouteType : std::uint8_t {
    unspec = 0,
    unicast = 1,
    local = 2,
    broadcast = 3,
    anycast = 4,
    multicast = 5,
    blackhole = 6,
    unreachable = 7,
    prohibit = 8,
    throw_ = 9,
};

// include/linux/in.h
[[nodiscard]] constexpr bool ipv4_is_loopback(std::uint32_t address) { return (address >> 24) == 127; }
[[nodiscard]] constexpr bool ipv4_is_multicast(std::uint32_t address) { return (address >> 28) == 14; }
[[nodiscard]] constexpr bool ipv4_is_local_multicast(std::uint32_t address) { return (address >> 8) == 0xe00000; }
[[nodiscard]] constexpr bool ipv4_is_lbcast(std::uint32_t address) { return address == 0xffffffff; }
[[nodiscard]] constexpr bool ipv4_is_zeronet(std::uint32_t address) { return (address >> 24) == 0; }

// include/uapi/linux/icmp.h
inline constexpr std::uint8_t ICMP_ECHOREPLY = 0, ICMP_DEST_UNREACH = 3, ICMP_SOURCE_QUENCH = 4, ICMP_REDIRECT = 5, ICMP_ECHO = 8,
                              ICMP_TIME_EXCEEDED = 11, ICMP_PARAMETERPROB = 12, ICMP_TIMESTAMP = 13, ICMP_TIMESTAMPREPLY = 14,
                              ICMP_INFO_REQUEST = 15, ICMP_INFO_REPLY = 16, ICMP_ADDRESS = 17, ICMP_ADDRESSREPLY = 18, NR_ICMP_TYPES = 18,
                              ICMP_EXT_ECHO = 42, ICMP_EXT_ECHOREPLY = 43;
inline constexpr std::uint8_t ICMP_NET_UNREACH = 0, ICMP_HOST_UNREACH = 1, ICMP_PROT_UNREACH = 2, ICMP_PORT_UNREACH = 3, ICMP_FRAG_NEEDED = 4,
                              ICMP_SR_FAILED = 5, ICMP_PKT_FILTERED = 13, NR_ICMP_UNREACH = 15;
inline constexpr std::uint8_t ICMP_REDIR_HOST = 1, ICMP_EXC_TTL = 0, ICMP_EXC_FRAGTIME = 1;

/// include/uapi/linux/in_route.h, include/linux/inetdevice.h
inline constexpr std::uint32_t RTCF_BROADCAST = 0x10000000;
inline constexpr std::uint32_t RTCF_MULTICAST = 0x20000000;
inline constexpr std::uint32_t RTCF_LOCAL = 0x80000000;

/// include/linux/inetdevice.h: IPV4_DEVCONF_*, by their names under net.ipv4.conf.DEVICE.
enum class DevConf : std::uint8_t {
    forwarding,
    mc_forwarding,
    bc_forwarding,
    accept_redirects,
    secure_redirects,
    send_redirects,
    shared_media,
    rp_filter,
    accept_source_route,
    accept_local,
    route_localnet,
    log_martians,
    proxy_arp,
    proxy_arp_pvlan,
    arp_filter,
    arp_announce,
    arp_ignore,
    arp_accept,
    arp_notify,
    drop_gratuitous_arp,
    drop_unicast_in_l2_multicast,
    count_,
};
inline constexpr std::size_t dev_conf_count = static_cast<std::size_t>(DevConf::count_);

/// struct ipv4_devconf: of a device, of "all" or of "default".
struct Ipv4DevConf {
    std::array<std::int32_t, dev_conf_count> value{};
    [[nodiscard]] std::int32_t operator[](DevConf which) const { return value[static_cast<std::size_t>(which)]; }
    [[nodiscard]] std::int32_t& operator[](DevConf which) { return value[static_cast<std::size_t>(which)]; }
    /// net/ipv4/devinet.c: ipv4_devconf
    [[nodiscard]] static Ipv4DevConf all()
    {
        Ipv4DevConf conf;
        conf[DevConf::accept_redirects] = conf[DevConf::send_redirects] = conf[DevConf::secure_redirects] = conf[DevConf::shared_media] = 1;
        return conf;
    }
    /// net/ipv4/devinet.c: ipv4_devconf_dflt, what a new device begins with
    [[nodiscard]] static Ipv4DevConf initial()
    {
        Ipv4DevConf conf = all();
        conf[DevConf::accept_source_route] = 1;
        return conf;
    }
};

/// struct ip_options of a received packet: offsets from the IP header; 0: not there.
struct IpOptions {
    std::uint8_t optlen = 0;
    std::uint8_t srr = 0, rr = 0, ts = 0, router_alert = 0;
    bool is_strictroute = false, srr_is_hit = false, is_changed = false, rr_needaddr = false, ts_needtime = false, ts_needaddr = false;
    std::uint32_t nexthop = 0;
    bool operator==(const IpOptions&) const = default;
};

/// struct inet_skb_parm: IPCB(skb)
struct Ipcb {
    static constexpr std::uint16_t FORWARDED = 1, XFRM_TUNNEL_SIZE = 2, XFRM_TRANSFORMED = 4, FRAG_COMPLETE = 8, REROUTED = 16, DOREDIRECT = 32,
                                   FRAG_PMTU = 64, MULTIPATH = 512;
    std::uint16_t flags = 0;
    std::uint16_t frag_max_size = 0;
    std::int32_t iif = -1; ///< device it came in through; -1: made here
    IpOptions opt;
};

/// net/ipv4/route.c: ip_tos2prio[], over include/uapi/linux/pkt_sched.h
[[nodiscard]] constexpr std::uint8_t rt_tos2priority(std::uint8_t tos)
{
    constexpr std::uint8_t TC_PRIO_BESTEFFORT = 0, TC_PRIO_BULK = 2, TC_PRIO_INTERACTIVE_BULK = 4, TC_PRIO_INTERACTIVE = 6;
    constexpr std::uint8_t of_class[4] = {TC_PRIO_BESTEFFORT, TC_PRIO_BULK, TC_PRIO_INTERACTIVE, TC_PRIO_INTERACTIVE_BULK};
    return of_class[(tos & 0x1e) >> 3];
}

/// include/uapi/linux/in.h: IP_MTU_DISCOVER
inline constexpr std::uint8_t IP_PMTUDISC_DONT = 0, IP_PMTUDISC_WANT = 1, IP_PMTUDISC_DO = 2, IP_PMTUDISC_PROBE = 3, IP_PMTUDISC_INTERFACE = 4,
                              IP_PMTUDISC_OMIT = 5;

/// struct inet_peer: what is remembered of an address that we talk to. Times in jiffies.
struct InetPeer {
    std::int64_t rate_tokens = 0;
    std::int64_t rate_last = 0;
    std::uint32_t n_redirects = 0;
    std::uint32_t rid = 0; ///< fragments seen from it
};

/// The key of a datagram in reassembly: struct frag_v4_compare_key.
struct FragKey {
    std::uint32_t saddr = 0, daddr = 0;
    std::uint32_t user = 0; ///< who wants it whole: enum ip_defrag_users
    std::uint16_t id = 0;
    std::uint8_t protocol = 0;
    std::uint32_t net = 0;
    auto operator<=>(const FragKey&) const = default;
};

/// A fragment in its queue: its skb holds the payload only (the header is in front of data).
struct FragPiece {
    std::int32_t skb = -1;
    std::uint32_t offset = 0; ///< bytes
    std::uint32_t length = 0;
    bool starts_run = true; ///< false: it came right behind the one before it, at the end of the queue
};

/// struct ipq with its struct inet_frag_queue.
struct FragQueue {
    static constexpr std::uint8_t FIRST_IN = 1, LAST_IN = 2, COMPLETE = 4;
    FragKey key;
    std::uint8_t flags = 0;
    std::uint32_t len = 0, meat = 0;
    std::uint32_t max_size = 0, max_df_size = 0;
    std::uint8_t ecn = 0;
    std::uint32_t rid = 0;
    std::int32_t iif = -1;
    std::uint64_t timer = 0; ///< generation; 0: none
    std::vector<FragPiece> pieces; ///< by offset
    QueueId queue{};
    bool in_use = false;
};

/// include/net/ip.h: enum ip_defrag_users
inline constexpr std::uint32_t IP_DEFRAG_LOCAL_DELIVER = 0, IP_DEFRAG_CALL_RA_CHAIN = 1, IP_DEFRAG_CONNTRACK_IN = 2,
                               IP_DEFRAG_CONNTRACK_OUT = 2 + 65536;

/// IPv4 of a network namespace.
struct Ipv4Net {
    Ipv4DevConf conf_all = Ipv4DevConf::all();
    Ipv4DevConf conf_default = Ipv4DevConf::initial();
    std::map<std::uint32_t, InetPeer> peers;
    std::int64_t icmp_global_credit = 0;
    std::int64_t icmp_global_stamp = -HZ * 300; ///< jiffies; Linux boots five minutes before jiffies wrap
    std::int64_t frag_mem = 0; ///< fqdir->mem
    std::uint16_t ping_port_rover = 0;
    std::uint64_t next_route_identity = 1;
    SimTime neigh_last_flush; ///< arp_tbl.last_flush
};

} // namespace skbscope::kernel
