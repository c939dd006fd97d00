#include "capture/host/netlink.h"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <libmnl/libmnl.h>
#include <linux/gen_stats.h>
#include <linux/if_link.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/packet_diag.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <memory>
#include <net/if.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <system_error>

namespace skbscope::host {

namespace {

constexpr std::size_t most_bytes = std::size_t{16} << 20;

/// Copies, as nothing promises that the bytes are aligned; what is shorter than T leaves the rest zero (an older kernel).
template <typename T>
T read_as(const void* from, std::size_t length)
{
    T value{};
    std::memcpy(&value, from, std::min(length, sizeof value));
    return value;
}

/// Calls `each` for every attribute in the bytes.
template <typename Each>
void for_attributes(std::span<const std::uint8_t> bytes, Each each)
{
    while (bytes.size() >= sizeof(nlattr)) {
        const auto head = read_as<nlattr>(bytes.data(), bytes.size());
        if (head.nla_len < sizeof(nlattr) || head.nla_len > bytes.size()) {
            return;
        }
        each(static_cast<std::uint16_t>(head.nla_type & NLA_TYPE_MASK), bytes.subspan(sizeof(nlattr), head.nla_len - sizeof(nlattr)));
        bytes = bytes.subspan(std::min<std::size_t>(NLA_ALIGN(head.nla_len), bytes.size()));
    }
}

/// Calls `each` with the payload of every message of that type.
template <typename Each>
void for_messages(std::span<const std::uint8_t> bytes, std::uint16_t type, Each each)
{
    while (bytes.size() >= sizeof(nlmsghdr)) {
        const auto head = read_as<nlmsghdr>(bytes.data(), bytes.size());
        if (head.nlmsg_len < sizeof(nlmsghdr) || head.nlmsg_len > bytes.size()) {
            return;
        }
        if (head.nlmsg_type == type) {
            each(bytes.subspan(NLMSG_HDRLEN, head.nlmsg_len - NLMSG_HDRLEN));
        }
        bytes = bytes.subspan(std::min<std::size_t>(NLMSG_ALIGN(head.nlmsg_len), bytes.size()));
    }
}

std::string text_of(std::span<const std::uint8_t> bytes)
{
    return {bytes.begin(), std::ranges::find(bytes, std::uint8_t{0})};
}

std::uint32_t number_of(std::span<const std::uint8_t> bytes) { return read_as<std::uint32_t>(bytes.data(), bytes.size()); }

std::string_view state_name(std::uint8_t state)
{
    // IF_OPER_*, include/uapi/linux/if.h
    constexpr std::string_view names[] = {"unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up"};
    return state < std::size(names) ? names[state] : "unknown";
}

std::vector<std::pair<std::string, std::uint64_t>> link_statistics(std::span<const std::uint8_t> bytes)
{
    // The order of struct rtnl_link_stats64.
    static constexpr std::string_view names[] = {"rx_packets",          "tx_packets",       "rx_bytes",         "tx_bytes",          "rx_errors",
                                                 "tx_errors",           "rx_dropped",       "tx_dropped",       "multicast",         "collisions",
                                                 "rx_length_errors",    "rx_over_errors",   "rx_crc_errors",    "rx_frame_errors",   "rx_fifo_errors",
                                                 "rx_missed_errors",    "tx_aborted_errors", "tx_carrier_errors", "tx_fifo_errors", "tx_heartbeat_errors",
                                                 "tx_window_errors",    "rx_compressed",    "tx_compressed",    "rx_nohandler"};
    std::vector<std::pair<std::string, std::uint64_t>> statistics;
    for (std::size_t row = 0; row < std::size(names) && (row + 1) * sizeof(std::uint64_t) <= bytes.size(); ++row) {
        statistics.emplace_back(names[row], read_as<std::uint64_t>(bytes.data() + row * sizeof(std::uint64_t), sizeof(std::uint64_t)));
    }
    return statistics;
}

void read_qdisc_statistics(QdiscStatistics& qdisc, std::span<const std::uint8_t> bytes)
{
    for_attributes(bytes, [&](std::uint16_t type, std::span<const std::uint8_t> value) {
        if (type == TCA_STATS_BASIC) {
            const auto basic = read_as<gnet_stats_basic>(value.data(), value.size());
            qdisc.bytes = basic.bytes;
            qdisc.packets = std::max<std::uint64_t>(qdisc.packets, basic.packets);
        } else if (type == TCA_STATS_PKT64) {
            qdisc.packets = read_as<std::uint64_t>(value.data(), value.size());
        } else if (type == TCA_STATS_QUEUE) {
            const auto queue = read_as<gnet_stats_queue>(value.data(), value.size());
            qdisc.backlog_bytes = queue.backlog;
            qdisc.backlog_packets = queue.qlen;
            qdisc.drops = queue.drops;
            qdisc.requeues = queue.requeues;
            qdisc.overlimits = queue.overlimits;
        }
    });
}

void read_memory(SocketState& socket, std::span<const std::uint8_t> bytes)
{
    const auto memory = read_as<std::array<std::uint32_t, SK_MEMINFO_VARS>>(bytes.data(), bytes.size());
    socket.has_memory = bytes.size() > SK_MEMINFO_SNDBUF * sizeof(std::uint32_t);
    socket.rmem = memory[SK_MEMINFO_RMEM_ALLOC];
    socket.rcvbuf = memory[SK_MEMINFO_RCVBUF];
    socket.wmem = memory[SK_MEMINFO_WMEM_ALLOC];
    socket.sndbuf = memory[SK_MEMINFO_SNDBUF];
    socket.backlog = memory[SK_MEMINFO_BACKLOG];
    socket.drops = memory[SK_MEMINFO_DROPS];
}

IpAddress address_of(std::uint8_t family, const void* from)
{
    IpAddress address;
    address.v6 = family == AF_INET6;
    std::memcpy(address.bytes.data(), from, address.v6 ? 16 : 4);
    return address;
}

struct CloseSocket {
    void operator()(mnl_socket* socket) const { (void)mnl_socket_close(socket); }
};

Error refused(const char* what, int error)
{
    const std::string word = std::generic_category().message(error);
    const ErrorKind kind = error == EPERM || error == EACCES ? ErrorKind::not_permitted : ErrorKind::unsupported;
    return {kind, what, word, {}};
}

using NetlinkSocket = std::unique_ptr<mnl_socket, CloseSocket>;

Result<NetlinkSocket> open_netlink(const char* what, int bus)
{
    NetlinkSocket socket(mnl_socket_open2(bus, SOCK_CLOEXEC));
    if (!socket || mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) < 0) {
        return tl::unexpected(refused(what, errno));
    }
    const timeval patience{2, 0};
    (void)setsockopt(mnl_socket_get_fd(socket.get()), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return socket;
}

/// The kernel's last word may be an error: NLMSG_DONE carries it where a part of the kernel is missing (raw_diag). 0: none.
int error_at_end(std::span<const std::uint8_t> answer)
{
    int error = 0;
    for_messages(answer, NLMSG_DONE, [&](std::span<const std::uint8_t> payload) { error = payload.size() >= sizeof error ? read_as<int>(payload.data(), payload.size()) : 0; });
    return error < 0 ? -error : 0;
}

/// Sends the request and takes the whole answer in.
Result<Answer> ask(const char* what, mnl_socket* socket, std::uint32_t sequence, nlmsghdr* request)
{
    request->nlmsg_seq = sequence;
    if (mnl_socket_sendto(socket, request, request->nlmsg_len) < 0) {
        return tl::unexpected(refused(what, errno));
    }
    Answer answer;
    std::vector<char> piece(32768);
    while (answer.size() < most_bytes) {
        const ssize_t got = mnl_socket_recvfrom(socket, piece.data(), piece.size());
        if (got < 0) {
            return tl::unexpected(refused(what, errno));
        }
        // Without a callback for data it only looks for the end, or an error.
        const int goes_on = mnl_cb_run(piece.data(), static_cast<std::size_t>(got), sequence, mnl_socket_get_portid(socket), nullptr, nullptr);
        if (goes_on < 0 && errno != EINTR) { // EINTR: something changed while it was listed; what came stands
            return tl::unexpected(refused(what, errno));
        }
        answer.insert(answer.end(), piece.begin(), piece.begin() + got);
        if (goes_on <= 0) {
            break;
        }
    }
    if (const int error = error_at_end(answer); error != 0) {
        return tl::unexpected(refused(what, error));
    }
    return answer;
}

Result<Answer> ask_routing(const char* what, std::uint16_t type, std::size_t header_bytes)
{
    std::array<char, MNL_NLMSG_HDRLEN + 64> buffer{};
    nlmsghdr* request = mnl_nlmsg_put_header(buffer.data());
    request->nlmsg_type = type;
    request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    (void)mnl_nlmsg_put_extra_header(request, header_bytes);
    const auto socket = open_netlink(what, NETLINK_ROUTE);
    return socket ? ask(what, socket->get(), 1, request) : tl::unexpected(socket.error());
}

} // namespace

std::vector<Link> parse_links(std::span<const std::uint8_t> answer)
{
    std::vector<Link> links;
    for_messages(answer, RTM_NEWLINK, [&](std::span<const std::uint8_t> payload) {
        if (payload.size() < sizeof(ifinfomsg)) {
            return;
        }
        const auto head = read_as<ifinfomsg>(payload.data(), payload.size());
        Link link;
        link.index = head.ifi_index;
        link.is_up = (head.ifi_flags & IFF_UP) != 0;
        for_attributes(payload.subspan(NLMSG_ALIGN(sizeof(ifinfomsg))), [&](std::uint16_t type, std::span<const std::uint8_t> value) {
            switch (type) {
            case IFLA_IFNAME: link.name = text_of(value); break;
            case IFLA_OPERSTATE: link.state = state_name(value.empty() ? 0 : value[0]); break;
            case IFLA_CARRIER: link.carrier = !value.empty() && value[0] != 0; break;
            case IFLA_MTU: link.mtu = number_of(value); break;
            case IFLA_TXQLEN: link.txqueuelen = number_of(value); break;
            case IFLA_QDISC: link.qdisc = text_of(value); break;
            case IFLA_STATS64: link.statistics = link_statistics(value); break;
            case IFLA_LINKINFO:
                for_attributes(value, [&](std::uint16_t inner, std::span<const std::uint8_t> kind) {
                    link.kind = inner == IFLA_INFO_KIND ? text_of(kind) : link.kind;
                });
                break;
            default: break;
            }
        });
        links.push_back(std::move(link));
    });
    return links;
}

std::vector<QdiscStatistics> parse_qdiscs(std::span<const std::uint8_t> answer)
{
    std::vector<QdiscStatistics> qdiscs;
    for_messages(answer, RTM_NEWQDISC, [&](std::span<const std::uint8_t> payload) {
        if (payload.size() < sizeof(tcmsg)) {
            return;
        }
        const auto head = read_as<tcmsg>(payload.data(), payload.size());
        QdiscStatistics qdisc;
        qdisc.device = head.tcm_ifindex;
        qdisc.handle = head.tcm_handle;
        qdisc.parent = head.tcm_parent;
        for_attributes(payload.subspan(NLMSG_ALIGN(sizeof(tcmsg))), [&](std::uint16_t type, std::span<const std::uint8_t> value) {
            if (type == TCA_KIND) {
                qdisc.kind = text_of(value);
            } else if (type == TCA_STATS2) {
                read_qdisc_statistics(qdisc, value);
            }
        });
        qdiscs.push_back(std::move(qdisc));
    });
    return qdiscs;
}

std::vector<SocketState> parse_sockets(std::span<const std::uint8_t> answer, std::uint8_t protocol)
{
    std::vector<SocketState> sockets;
    for_messages(answer, SOCK_DIAG_BY_FAMILY, [&](std::span<const std::uint8_t> payload) {
        if (payload.size() < sizeof(inet_diag_msg)) {
            return;
        }
        const auto head = read_as<inet_diag_msg>(payload.data(), payload.size());
        SocketState socket;
        socket.protocol = protocol;
        socket.state = head.idiag_state;
        socket.local = address_of(head.idiag_family, head.id.idiag_src);
        socket.remote = address_of(head.idiag_family, head.id.idiag_dst);
        socket.local_port = ntohs(head.id.idiag_sport);
        socket.remote_port = ntohs(head.id.idiag_dport);
        socket.inode = head.idiag_inode;
        socket.receive_queue = head.idiag_rqueue;
        socket.send_queue = head.idiag_wqueue;
        for_attributes(payload.subspan(NLMSG_ALIGN(sizeof(inet_diag_msg))), [&](std::uint16_t type, std::span<const std::uint8_t> value) {
            if (type == INET_DIAG_SKMEMINFO) {
                read_memory(socket, value);
            }
        });
        sockets.push_back(socket);
    });
    return sockets;
}

std::vector<SocketState> parse_packet_sockets(std::span<const std::uint8_t> answer)
{
    std::vector<SocketState> sockets;
    for_messages(answer, SOCK_DIAG_BY_FAMILY, [&](std::span<const std::uint8_t> payload) {
        if (payload.size() < sizeof(packet_diag_msg)) {
            return;
        }
        const auto head = read_as<packet_diag_msg>(payload.data(), payload.size());
        SocketState socket;
        socket.is_packet = true;
        socket.local_port = head.pdiag_num;
        socket.inode = head.pdiag_ino;
        for_attributes(payload.subspan(NLMSG_ALIGN(sizeof(packet_diag_msg))), [&](std::uint16_t type, std::span<const std::uint8_t> value) {
            if (type == PACKET_DIAG_INFO) {
                socket.device = static_cast<int>(read_as<packet_diag_info>(value.data(), value.size()).pdi_index);
            } else if (type == PACKET_DIAG_MEMINFO) {
                read_memory(socket, value);
                socket.receive_queue = socket.rmem;
            }
        });
        sockets.push_back(socket);
    });
    return sockets;
}

std::string qdisc_place(const QdiscStatistics& qdisc)
{
    const auto number = [](std::uint32_t handle) {
        const std::uint32_t minor = handle & 0xffff;
        return minor == 0 ? fmt::format("{:x}:", handle >> 16) : fmt::format("{:x}:{:x}", handle >> 16, minor);
    };
    if (qdisc.parent == TC_H_ROOT) {
        return qdisc.handle == 0 ? "root" : fmt::format("root {}", number(qdisc.handle));
    }
    if (qdisc.parent == TC_H_INGRESS) {
        return "ingress";
    }
    return fmt::format("parent {}", number(qdisc.parent));
}

std::string_view tcp_state_name(std::uint8_t state)
{
    constexpr std::string_view names[] = {"", "established", "syn-sent", "syn-recv", "fin-wait-1", "fin-wait-2", "time-wait",
                                          "unconnected", "close-wait", "last-ack", "listen", "closing", "syn-recv"};
    return state < std::size(names) ? names[state] : "";
}

Result<Answer> ask_links() { return ask_routing("devices through netlink", RTM_GETLINK, sizeof(ifinfomsg)); }

Result<Answer> ask_qdiscs() { return ask_routing("qdiscs through netlink", RTM_GETQDISC, sizeof(tcmsg)); }

struct SocketQuestions::Socket {
    NetlinkSocket netlink;
    std::uint32_t sequence = 0; ///< what is left of an answer that took too long is told from the next by it
};

SocketQuestions::SocketQuestions(std::unique_ptr<Socket> socket) : socket_(std::move(socket)) {}
SocketQuestions::SocketQuestions(SocketQuestions&& other) noexcept = default;
SocketQuestions& SocketQuestions::operator=(SocketQuestions&& other) noexcept = default;
SocketQuestions::~SocketQuestions() = default;

Result<SocketQuestions> SocketQuestions::open()
{
    auto netlink = open_netlink("sockets through sock_diag", NETLINK_SOCK_DIAG);
    if (!netlink) {
        return tl::unexpected(netlink.error());
    }
    return SocketQuestions(std::make_unique<Socket>(Socket{std::move(*netlink), 0}));
}

Result<Answer> SocketQuestions::ask(std::uint8_t family, std::uint8_t protocol) const
{
    std::array<char, MNL_NLMSG_HDRLEN + MNL_ALIGN(sizeof(inet_diag_req_v2))> buffer{};
    nlmsghdr* request = mnl_nlmsg_put_header(buffer.data());
    request->nlmsg_type = SOCK_DIAG_BY_FAMILY;
    request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    auto* which = static_cast<inet_diag_req_v2*>(mnl_nlmsg_put_extra_header(request, sizeof(inet_diag_req_v2)));
    which->sdiag_family = family;
    which->sdiag_protocol = protocol;
    which->idiag_ext = 1U << (INET_DIAG_SKMEMINFO - 1);
    which->idiag_states = ~0U;
    const char* what = protocol == IPPROTO_RAW ? "raw sockets through sock_diag" : "sockets through sock_diag";
    return host::ask(what, socket_->netlink.get(), ++socket_->sequence, request);
}

Result<Answer> SocketQuestions::ask_packet_sockets() const
{
    std::array<char, MNL_NLMSG_HDRLEN + MNL_ALIGN(sizeof(packet_diag_req))> buffer{};
    nlmsghdr* request = mnl_nlmsg_put_header(buffer.data());
    request->nlmsg_type = SOCK_DIAG_BY_FAMILY;
    request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    auto* which = static_cast<packet_diag_req*>(mnl_nlmsg_put_extra_header(request, sizeof(packet_diag_req)));
    which->sdiag_family = AF_PACKET;
    which->pdiag_show = PACKET_SHOW_INFO | PACKET_SHOW_MEMINFO;
    return host::ask("packet sockets through sock_diag", socket_->netlink.get(), ++socket_->sequence, request);
}

} // namespace skbscope::host
