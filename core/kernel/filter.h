#pragma once
// Classic BPF (uapi/linux/filter.h, net/core/filter.c): programs that packet and other sockets run on what arrives for
// them. Made from tcpdump's language by libpcap's compiler, which is a pure function; run by an interpreter of our own.

#include "core/result.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace skbscope::kernel {

/// struct sock_filter.
struct SockFilter {
    std::uint16_t code = 0;
    std::uint8_t jt = 0, jf = 0;
    std::uint32_t k = 0;
    bool operator==(const SockFilter&) const = default;
};

/// A program that bpf_check_classic() has accepted. Empty: no filter, everything passes whole.
using BpfProgram = std::vector<SockFilter>;

inline constexpr std::size_t BPF_MAXINSNS = 4096;

/// Where byte 0 of the compiled expression lies.
enum class FilterBase : std::uint8_t {
    mac_header,     ///< at skb->data, which a packet socket sees at the Ethernet header
    network_header, ///< at the network header wherever skb->data stands (SKF_NET_OFF), for sockets above IP
};

/// `expression` in tcpdump's language (pcap-filter(7)); `keep`: what the program returns for a match, 1 … 2^31-1 bytes.
/// An empty expression is a program that keeps that much of everything. Names of hosts, networks and services are refused:
/// looking them up would ask the world outside. Errors: invalid, with what libpcap says.
[[nodiscard]] Result<BpfProgram> compile_filter(std::string_view expression, std::uint32_t keep,
                                                FilterBase base = FilterBase::mac_header);

/// net/core/filter.c: bpf_check_classic(): known instructions, jumps forward and inside, a return at the end, no division by
/// a constant zero, no scratch word read before it is written. What passes ends after at most as many steps as it is long.
[[nodiscard]] Result<void> bpf_check_classic(std::span<const SockFilter> program);

/// What a program may look at.
struct BpfPacket {
    std::span<const std::uint8_t> buffer; ///< from head to tail
    std::uint32_t data = 0;               ///< offset of skb->data in it
    std::uint32_t len = 0;                ///< skb->len
    std::uint32_t mac_header = ~0U, network_header = ~0U; ///< offsets; all ones: not set
    std::uint16_t protocol = 0;
    std::uint8_t pkt_type = 0;
    std::uint32_t ifindex = 0, mark = 0, queue = 0, hash = 0, cpu = 0;
};

/// The program's return value: 0 refuses, n keeps n bytes. An empty program keeps everything. A load outside the packet
/// returns 0.
[[nodiscard]] std::uint32_t bpf_prog_run(std::span<const SockFilter> program, const BpfPacket& packet);

} // namespace skbscope::kernel
