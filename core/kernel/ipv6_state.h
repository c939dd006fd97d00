#pragma once
// IPv6's own state: addresses and settings of a device, routes, what a packet remembers while IP has it
// (IP6CB), rate limits of ICMPv6, datagrams in reassembly. Values only: World holds them.

#include "core/kernel/ipv4.h"
#include "core/packet/ip_address.h"
#include "core/trace/time.h"
#include "core/trace/trace.h"

#include <cstdint>
#include <map>
#include <vector>

namespace skbscope::kernel {

inline constexpr std::uint32_t IPV6_MIN_MTU = 1280;

/// struct inet6_ifaddr. The model's addresses have been there for a while: duplicate address detection is
/// over.
struct Inet6Address {
    IpAddress address;
    std::uint8_t prefix = 64;
};

/// struct ipv6_devconf, by the names under net.ipv6.conf.DEVICE, "all" or "default".
struct Ipv6DevConf {
    std::int64_t disable_ipv6 = 0, forwarding = 0, hop_limit = 64, accept_source_route = 0,
                 accept_redirects = 1;
    std::int64_t drop_unicast_in_l2_multicast = 0, drop_unsolicited_na = 0, accept_untracked_na = 0,
                 force_tllao = 0;
};

/// struct inet6_dev
struct Inet6Device : Ipv6DevConf {
    bool present = false;                ///< the device speaks IPv6 (its MTU is at least 1280)
    std::vector<Inet6Address> addresses; ///< addr_list: by scope, the widest first
    std::vector<IpAddress> mc_list;      ///< groups joined
    std::int64_t mtu = 1500; ///< mtu6
};

/// struct fib6_info with its next hop.
struct Route6 {
    enum class Kind : std::uint8_t {
        unicast,
        local,
        anycast,
        multicast,
        unreachable,
        prohibit,
        blackhole
    } kind = Kind::unicast;
    enum class Table : std::uint8_t { local, main } table = Table::main;
    IpAddress prefix = IpAddress::any6();
    std::uint8_t length = 0;
    std::int32_t device = -1;
    IpAddress gateway = IpAddress::any6(); ///< "::": on link
    IpAddress prefsrc = IpAddress::any6(); ///< "::": to be chosen
    std::uint32_t metric = 1024;           ///< the smaller wins
    std::uint32_t mtu = 0;                 ///< RTAX_MTU; 0: the device's
    bool dead = false;                     ///< taken out of its table
};

/// struct rt6_exception: what an ICMPv6 error taught about one destination.
struct RouteException6 {
    IpAddress destination;
    std::uint32_t mtu = 0;
    SimTime expires;
};

/// struct inet_peer of an IPv6 address: its tokens for ICMPv6 (net/ipv4/route.c: inet_peer_xrlim_allow).
/// Jiffies.
struct InetPeer6 {
    std::int64_t rate_tokens = 0, rate_last = 0;
};

/// struct netns_ipv6
struct Ipv6Net {
    Ipv6DevConf conf_all, conf_default;
    std::int64_t frag_mem = 0; ///< fqdir->mem
    std::vector<Route6> routes; ///< rows never move: a Destination refers to one
    std::vector<RouteException6> exceptions;
    std::map<IpAddress, InetPeer6> peers;
    std::int32_t ndisc_sk = -1, icmp_sk = -1;    ///< the kernel's own sockets
    std::uint32_t flowlabel_secret = 0x5bd1e995; ///< of automatic flow labels
    std::uint32_t fragment_id = 1;
};

/// struct inet6_skb_parm: IP6CB(skb)
struct Ip6Cb {
    std::int32_t iif = -1;   ///< device it came in through; -1: made here
    std::uint16_t nhoff = 6; ///< offset of the byte that names the next header, from the IPv6 header
    bool router_alert = false;
    bool forwarded = false;
    bool fake_jumbo = false;
    std::uint32_t frag_max_size = 0;
};

/// The key of a datagram in reassembly: struct frag_v6_compare_key.
struct Frag6Key {
    IpAddress saddr, daddr;
    std::uint32_t id = 0;
    std::int32_t iif = -1;
    std::uint32_t net = 0;
    auto operator<=>(const Frag6Key&) const = default;
};

/// struct frag_queue of net/ipv6/reassembly.c
struct Frag6Queue {
    static constexpr std::uint8_t FIRST_IN = 1, LAST_IN = 2, COMPLETE = 4;
    Frag6Key key;
    std::vector<FragPiece> pieces; ///< by offset; data of their skbs begins behind the fragment header
    std::uint8_t flags = 0;
    std::uint32_t len = 0, meat = 0; ///< of the whole, as far as known; bytes there
    std::uint16_t nhoffset = 0; ///< of the byte that names the header behind the fragment header
    std::uint32_t max_size = 0;
    std::uint8_t ecn = 0;
    std::int32_t iif = -1;
    std::uint64_t timer = 0; ///< generation; 0: none
    QueueId queue{};
    bool in_use = false;
};

} // namespace skbscope::kernel
