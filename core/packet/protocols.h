#pragma once
// Numbers that name protocols, under the kernel's names (include/uapi/linux/if_ether.h, in.h, icmp.h, if_arp.h), in a
// namespace of their own so that they do not meet the macros of <netinet/…>.

#include <cstdint>

namespace skbscope::proto {

inline constexpr std::uint16_t eth_p_ip = 0x0800;
inline constexpr std::uint16_t eth_p_arp = 0x0806;
inline constexpr std::uint16_t eth_p_8021q = 0x8100;
inline constexpr std::uint16_t eth_p_ipv6 = 0x86dd;
inline constexpr std::uint16_t eth_p_8021ad = 0x88a8;

inline constexpr std::uint8_t ipproto_icmp = 1;
inline constexpr std::uint8_t ipproto_igmp = 2;
inline constexpr std::uint8_t ipproto_tcp = 6;
inline constexpr std::uint8_t ipproto_udp = 17;
inline constexpr std::uint8_t ipproto_icmpv6 = 58;

inline constexpr std::uint16_t arpop_request = 1;
inline constexpr std::uint16_t arpop_reply = 2;

inline constexpr std::uint8_t icmp_echoreply = 0;
inline constexpr std::uint8_t icmp_dest_unreach = 3;
inline constexpr std::uint8_t icmp_echo = 8;
inline constexpr std::uint8_t icmp_time_exceeded = 11;

} // namespace skbscope::proto
