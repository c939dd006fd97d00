#pragma once
// What the kernel tells through netlink of devices, queueing disciplines and sockets: questions asked through libmnl, and pure
// readers of the answers' bytes. Nothing here changes anything; no rights are needed.

#include "core/packet/ip_address.h"
#include "core/result.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace skbscope::host {

/// The messages of an answer, one behind the other, as the kernel sent them.
using Answer = std::vector<std::uint8_t>;

struct Link {
    int index = 0;
    std::string name;
    std::string kind;  ///< "veth", "bridge"; empty: a device of hardware, or lo
    std::string state; ///< operational, RFC 2863: "up", "down", "lowerlayerdown", "unknown" …
    bool is_up = false; ///< administratively (IFF_UP)
    std::optional<bool> carrier;
    std::uint32_t mtu = 0, txqueuelen = 0;
    std::string qdisc; ///< the kind of its root one
    std::vector<std::pair<std::string, std::uint64_t>> statistics; ///< struct rtnl_link_stats64 by the names of its fields
};

struct QdiscStatistics {
    int device = 0; ///< ifindex
    std::string kind;
    std::uint32_t handle = 0, parent = 0;
    std::uint64_t bytes = 0, packets = 0;
    std::uint32_t backlog_bytes = 0, backlog_packets = 0, drops = 0, requeues = 0, overlimits = 0;
};

struct SocketState {
    std::uint8_t protocol = 0; ///< 6, 17 or 255: raw, whose local_port is the IP protocol it takes; of a packet socket nothing
    bool is_packet = false;    ///< AF_PACKET: local_port is the Ethernet protocol it takes (3: all), device where
    int device = 0;            ///< of a packet socket; 0: all
    std::uint8_t state = 0;    ///< include/net/tcp_states.h; 7 is "unconnected" for UDP
    std::string space;         ///< the network namespace it is in; empty: the asker's own
    IpAddress local, remote;
    std::uint16_t local_port = 0, remote_port = 0;
    std::uint32_t inode = 0;
    std::uint32_t receive_queue = 0, send_queue = 0; ///< as ss shows them: of a listening socket, connections
    bool has_memory = false;                         ///< the rest is known
    std::uint32_t rmem = 0, rcvbuf = 0 /* 0: not told */, wmem = 0, sndbuf = 0, backlog = 0, drops = 0; ///< bytes; drops: packets
};

// Readers of answers. What is cut or makes no sense ends the reading; what came before it counts.
[[nodiscard]] std::vector<Link> parse_links(std::span<const std::uint8_t> answer);
[[nodiscard]] std::vector<QdiscStatistics> parse_qdiscs(std::span<const std::uint8_t> answer);
[[nodiscard]] std::vector<SocketState> parse_sockets(std::span<const std::uint8_t> answer, std::uint8_t protocol);
/// Their receive_queue is the memory of what waits (a mapped ring's frames are not part of it); drops only of those without a mapped ring.
[[nodiscard]] std::vector<SocketState> parse_packet_sockets(std::span<const std::uint8_t> answer);

/// "root", "8001:", "parent 1:2"
[[nodiscard]] std::string qdisc_place(const QdiscStatistics& qdisc);
[[nodiscard]] std::string_view tcp_state_name(std::uint8_t state);

// Questions. Errors: not_permitted, unsupported, with the kernel's word. An answer is at most 16 MiB.
[[nodiscard]] Result<Answer> ask_links();
[[nodiscard]] Result<Answer> ask_qdiscs();
/// A way to ask for the sockets of one network namespace, also after the rights to enter it are gone.
class SocketQuestions {
public:
    /// Of the calling thread's namespace. Errors: as the questions'.
    [[nodiscard]] static Result<SocketQuestions> open();
    SocketQuestions(SocketQuestions&& other) noexcept;
    SocketQuestions& operator=(SocketQuestions&& other) noexcept;
    ~SocketQuestions();

    /// Of IPv4 (2) or IPv6 (10), of TCP (6), UDP (17) or raw ones (255).
    [[nodiscard]] Result<Answer> ask(std::uint8_t family, std::uint8_t protocol) const;
    [[nodiscard]] Result<Answer> ask_packet_sockets() const;

private:
    struct Socket;
    explicit SocketQuestions(std::unique_ptr<Socket> socket);
    std::unique_ptr<Socket> socket_;
};

} // namespace skbscope::host
