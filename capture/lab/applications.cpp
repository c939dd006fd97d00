#include "capture/lab/applications.h"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <pcap/pcap.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace skbscope::lab {

namespace {

using Run = std::function<void(const Stage&)>;
constexpr int poll_ms = 5; // how soon a reader sees that the lab is over

// ---- time ----------------------------------------------------------------------------------------------------------

std::int64_t now_ns()
{
    timespec t{};
    ::clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<std::int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}

/// Sleeps while there is time, and spins for the last stretch, which a wakeup would miss.
void wait_until(std::int64_t at)
{
    constexpr std::int64_t spin = 60'000;
    const std::int64_t sleep_to = at - spin;
    if (now_ns() < sleep_to) {
        const timespec t{.tv_sec = sleep_to / 1'000'000'000, .tv_nsec = sleep_to % 1'000'000'000};
        while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, nullptr) == EINTR) {
        }
    }
    while (now_ns() < at) {
    }
}

void work_for(Duration work)
{
    if (work.ns > 0) {
        const std::int64_t end = now_ns() + work.ns;
        while (now_ns() < end) {
        }
    }
}

/// When the i-th message is due.
std::int64_t due(const Stage& stage, const std::vector<Duration>& times, Duration start, Duration gap, std::uint64_t i)
{
    return stage.begin_ns + (times.empty() ? start.ns + static_cast<std::int64_t>(i) * gap.ns : times[i].ns);
}

// ---- sockets -------------------------------------------------------------------------------------------------------

tl::unexpected<Error> trouble(const std::string& name, const char* call)
{
    const bool denied = errno == EPERM || errno == EACCES;
    return fail(denied ? ErrorKind::not_permitted : ErrorKind::unsupported, name, fmt::format("{}: {}", call, std::strerror(errno)));
}

struct Endpoint {
    sockaddr_storage storage{};
    socklen_t length = 0;
    [[nodiscard]] const sockaddr* address() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

Endpoint endpoint(std::uint32_t v4, const IpAddress& v6, std::uint16_t port)
{
    Endpoint end;
    if (v6.v6) {
        auto* in6 = reinterpret_cast<sockaddr_in6*>(&end.storage);
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(port);
        std::copy(v6.bytes.begin(), v6.bytes.end(), in6->sin6_addr.s6_addr);
        end.length = sizeof(sockaddr_in6);
    } else {
        auto* in = reinterpret_cast<sockaddr_in*>(&end.storage);
        in->sin_family = AF_INET;
        in->sin_port = htons(port);
        in->sin_addr.s_addr = htonl(v4);
        end.length = sizeof(sockaddr_in);
    }
    return end;
}

bool set(int fd, int level, int option, int value)
{
    return ::setsockopt(fd, level, option, &value, sizeof value) == 0;
}

/// Sizes as getsockopt() reports them: twice what is asked for. The FORCE variants pass rmem_max and wmem_max, which the
/// scenario does not mean.
bool set_buffer(int fd, bool receive, std::uint32_t bytes)
{
    return bytes == 0 || set(fd, SOL_SOCKET, receive ? SO_RCVBUFFORCE : SO_SNDBUFFORCE, static_cast<int>(bytes / 2));
}

void failed(const Stage& stage)
{
    ++stage.count->refused;
    stage.count->last_error = errno;
}

/// "PKT00012....", as the model's applications fill their datagrams.
void number(std::vector<std::uint8_t>& payload, std::uint64_t ordinal)
{
    char name[16];
    const int length = std::snprintf(name, sizeof name, "PKT%05llu", static_cast<unsigned long long>(ordinal % 100000));
    std::copy_n(name, std::min<std::size_t>(static_cast<std::size_t>(length), payload.size()), payload.begin());
}

// ---- UDP -----------------------------------------------------------------------------------------------------------

Result<Run> open_sender(const ScenarioSender& sender)
{
    const bool v6 = sender.address6.v6;
    const int fd = ::socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return trouble(sender.name, "socket");
    }
    if (!set_buffer(fd, false, sender.sndbuf)) {
        return trouble(sender.name, "SO_SNDBUF");
    }
    if (sender.broadcast && !set(fd, SOL_SOCKET, SO_BROADCAST, 1)) {
        return trouble(sender.name, "SO_BROADCAST");
    }
    if (sender.ttl != 0 && !(v6 ? set(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, sender.ttl) : set(fd, IPPROTO_IP, IP_TTL, sender.ttl))) {
        return trouble(sender.name, "IP_TTL");
    }
    const Endpoint from = endpoint(0, v6 ? IpAddress::any6() : IpAddress{}, sender.from_port);
    if (sender.from_port != 0 && ::bind(fd, from.address(), from.length) != 0) {
        return trouble(sender.name, "bind");
    }
    const Endpoint to = endpoint(sender.address, sender.address6, sender.port);
    if (sender.connect && ::connect(fd, to.address(), to.length) != 0) {
        return trouble(sender.name, "connect");
    }
    return Run([fd, sender, to](const Stage& stage) {
        std::vector<std::uint8_t> payload(sender.size, '.');
        const std::uint64_t count = sender.times.empty() ? sender.count : sender.times.size();
        for (std::uint64_t i = 0; i < count; ++i) {
            number(payload, i);
            wait_until(due(stage, sender.times, sender.start, sender.gap, i));
            const ssize_t sent = ::sendto(fd, payload.data(), payload.size(), 0, sender.connect ? nullptr : to.address(), sender.connect ? 0 : to.length);
            if (sent < 0) {
                failed(stage);
            } else {
                ++stage.count->sent;
            }
        }
    });
}

Result<void> attach_filter(int fd, const std::string& name, const std::string& expression, int link_type, int keep)
{
    if (expression.empty()) {
        return {};
    }
    pcap_t* dead = ::pcap_open_dead(link_type, keep);
    bpf_program program{};
    if (::pcap_compile(dead, &program, expression.c_str(), 1, PCAP_NETMASK_UNKNOWN) != 0) {
        const std::string said = ::pcap_geterr(dead);
        ::pcap_close(dead);
        return fail(ErrorKind::invalid, name, said);
    }
    // A socket's data begins at its transport header; the network header is reached at SKF_NET_OFF.
    if (link_type == DLT_RAW) {
        for (unsigned i = 0; i < program.bf_len; ++i) {
            bpf_insn& insn = program.bf_insns[i];
            const auto mode = insn.code & 0xe0U;
            if ((insn.code & 7U) <= BPF_LDX && (mode == BPF_ABS || mode == BPF_IND || mode == BPF_MSH)) {
                insn.k += static_cast<bpf_u_int32>(SKF_NET_OFF);
            }
        }
    }
    std::vector<sock_filter> code(program.bf_len);
    for (unsigned i = 0; i < program.bf_len; ++i) {
        code[i] = {program.bf_insns[i].code, program.bf_insns[i].jt, program.bf_insns[i].jf, program.bf_insns[i].k};
    }
    ::pcap_freecode(&program);
    ::pcap_close(dead);
    const sock_fprog attached{static_cast<unsigned short>(code.size()), code.data()};
    if (::setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &attached, sizeof attached) != 0) {
        return trouble(name, "SO_ATTACH_FILTER");
    }
    return {};
}

/// Reads until the lab is over and nothing is left.
void read_all(int fd, const Stage& stage, bool use_poll, Duration work)
{
    std::vector<std::uint8_t> buffer(65536);
    while (true) {
        if (use_poll) {
            pollfd wait{fd, POLLIN, 0};
            if (::poll(&wait, 1, poll_ms) == 0) {
                if (*stage.finish) {
                    return;
                }
                continue;
            }
        }
        const ssize_t got = ::recvfrom(fd, buffer.data(), buffer.size(), use_poll ? MSG_DONTWAIT : 0, nullptr, nullptr);
        if (got >= 0) {
            ++stage.count->received;
            work_for(work);
        } else if (errno == EAGAIN || errno == EINTR) {
            if (*stage.finish) {
                return;
            }
        } else {
            failed(stage); // an ICMP error that was waiting, for one
        }
    }
}

Result<Run> open_receiver(const ScenarioReceiver& receiver)
{
    const bool v6 = receiver.address6.v6;
    // Whoever waits in poll() has a socket that does not block: on another udp_poll() already moves what came to the reader's queue.
    const int fd = ::socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | (receiver.poll ? SOCK_NONBLOCK : 0), 0);
    if (fd < 0) {
        return trouble(receiver.name, "socket");
    }
    if (!set_buffer(fd, true, receiver.rcvbuf)) {
        return trouble(receiver.name, "SO_RCVBUF");
    }
    if ((receiver.reuseaddr && !set(fd, SOL_SOCKET, SO_REUSEADDR, 1)) || (receiver.reuseport && !set(fd, SOL_SOCKET, SO_REUSEPORT, 1)) ||
        (v6 && !set(fd, IPPROTO_IPV6, IPV6_V6ONLY, receiver.ipv6only ? 1 : 0))) {
        return trouble(receiver.name, "setsockopt");
    }
    // A reader that sleeps inside recvfrom() still has to see the end of the lab.
    const timeval patience{.tv_sec = 0, .tv_usec = poll_ms * 1000};
    (void)::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (const auto filtered = attach_filter(fd, receiver.name, receiver.filter, DLT_RAW, static_cast<int>(receiver.filter_keep)); !filtered) {
        return tl::unexpected(filtered.error());
    }
    const Endpoint mine = endpoint(receiver.address, receiver.address6, receiver.port);
    if (::bind(fd, mine.address(), mine.length) != 0) {
        return trouble(receiver.name, "bind");
    }
    if (receiver.peer != 0) {
        const Endpoint peer = endpoint(receiver.peer, {}, receiver.peer_port);
        if (::connect(fd, peer.address(), peer.length) != 0) {
            return trouble(receiver.name, "connect");
        }
    }
    return Run([fd, receiver](const Stage& stage) {
        wait_until(stage.begin_ns + receiver.start.ns);
        read_all(fd, stage, receiver.poll, receiver.work);
    });
}

// ---- ICMP, frames, taps ----------------------------------------------------------------------------------------------

std::uint16_t internet_sum(const std::vector<std::uint8_t>& bytes)
{
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        sum += i % 2 == 0 ? static_cast<std::uint32_t>(bytes[i]) << 8U : bytes[i];
    }
    while (sum >> 16U != 0) {
        sum = (sum & 0xffffU) + (sum >> 16U);
    }
    return static_cast<std::uint16_t>(~sum);
}

Result<Run> open_ping(const ScenarioPing& ping)
{
    const bool v6 = ping.address6.v6;
    const int fd = ::socket(v6 ? AF_INET6 : AF_INET, (ping.raw ? SOCK_RAW : SOCK_DGRAM) | SOCK_CLOEXEC,
                            v6 ? static_cast<int>(IPPROTO_ICMPV6) : static_cast<int>(IPPROTO_ICMP));
    if (fd < 0) {
        return trouble(ping.name, ping.raw ? "raw socket" : "ping socket (net.ipv4.ping_group_range)");
    }
    if (ping.ttl != 0 && !(v6 ? set(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, ping.ttl) : set(fd, IPPROTO_IP, IP_TTL, ping.ttl))) {
        return trouble(ping.name, v6 ? "IPV6_UNICAST_HOPS" : "IP_TTL");
    }
    const Endpoint to = endpoint(ping.address, ping.address6, 0);
    constexpr std::uint8_t echo_request6 = 128, echo_reply6 = 129;
    return Run([fd, ping, to, v6](const Stage& stage) {
        std::vector<std::uint8_t> message(sizeof(icmphdr) + ping.size, '.');
        const auto id = static_cast<std::uint16_t>(::getpid());
        const std::uint64_t count = ping.times.empty() ? ping.count : ping.times.size();
        std::array<std::uint8_t, 65536> answer{};
        const auto read_until = [&](std::int64_t end) {
            for (std::int64_t left = end - now_ns(); left > 0; left = end - now_ns()) {
                pollfd wait{fd, POLLIN, 0};
                if (::poll(&wait, 1, static_cast<int>(left / 1'000'000) + 1) <= 0) {
                    break;
                }
                const ssize_t got = ::recv(fd, answer.data(), answer.size(), MSG_DONTWAIT);
                const std::size_t header = ping.raw && !v6 ? (answer[0] & 15U) * 4U : 0;
                if (got > static_cast<ssize_t>(header) && answer[header] == (v6 ? echo_reply6 : ICMP_ECHOREPLY)) {
                    ++stage.count->received;
                }
            }
        };
        for (std::uint64_t i = 0; i < count; ++i) {
            std::fill_n(message.begin(), sizeof(icmphdr), std::uint8_t{0});
            message[0] = v6 ? echo_request6 : ICMP_ECHO;
            message[4] = static_cast<std::uint8_t>(id >> 8U);
            message[5] = static_cast<std::uint8_t>(id);
            message[6] = static_cast<std::uint8_t>((i + 1) >> 8U);
            message[7] = static_cast<std::uint8_t>(i + 1);
            const std::uint16_t sum = v6 ? 0 : internet_sum(message); // of ICMPv6 the kernel sums
            message[2] = static_cast<std::uint8_t>(sum >> 8U);
            message[3] = static_cast<std::uint8_t>(sum);
            const std::int64_t at = due(stage, ping.times, ping.start, ping.interval, i);
            read_until(at - 200'000);
            wait_until(at);
            if (::sendto(fd, message.data(), message.size(), 0, to.address(), to.length) < 0) {
                failed(stage);
            } else {
                ++stage.count->sent;
            }
        }
        read_until(now_ns() + 50'000'000);
    });
}

Result<Run> open_injector(const ScenarioInjector& injector)
{
    const int fd = ::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0); // protocol 0: it receives nothing
    if (fd < 0) {
        return trouble(injector.name, "packet socket");
    }
    sockaddr_ll device{};
    device.sll_family = AF_PACKET;
    device.sll_ifindex = static_cast<int>(::if_nametoindex(injector.device.c_str()));
    if (device.sll_ifindex == 0) {
        return trouble(injector.name, injector.device.c_str());
    }
    return Run([fd, injector, device](const Stage& stage) {
        for (std::size_t i = 0; i < injector.frames.size(); ++i) {
            wait_until(due(stage, injector.times, injector.start, injector.gap, i));
            const auto& frame = injector.frames[i];
            if (::sendto(fd, frame.data(), frame.size(), 0, reinterpret_cast<const sockaddr*>(&device), sizeof device) < 0) {
                failed(stage);
            } else {
                ++stage.count->sent;
            }
        }
    });
}

Result<Run> open_tap_socket(const ScenarioTap& tap)
{
    const int fd = ::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
    if (fd < 0) {
        return trouble(tap.name, "packet socket");
    }
    if (!tap.device.empty()) {
        sockaddr_ll device{};
        device.sll_family = AF_PACKET;
        device.sll_protocol = htons(ETH_P_ALL);
        device.sll_ifindex = static_cast<int>(::if_nametoindex(tap.device.c_str()));
        if (::bind(fd, reinterpret_cast<const sockaddr*>(&device), sizeof device) != 0) {
            return trouble(tap.name, "bind");
        }
    }
    if (!set_buffer(fd, true, tap.rcvbuf)) {
        return trouble(tap.name, "SO_RCVBUF");
    }
    if (const auto filtered = attach_filter(fd, tap.name, tap.filter, DLT_EN10MB, static_cast<int>(tap.snaplen)); !filtered) {
        return tl::unexpected(filtered.error());
    }
    return Run([fd, tap](const Stage& stage) { read_all(fd, stage, true, tap.work); });
}

Result<Run> open_tap(const ScenarioTap& tap)
{
    if (tap.start.ns != 0 || tap.stop.ns != 0) {
        return fail(ErrorKind::unsupported, tap.name, "the lab opens taps at the beginning and closes them at the end", "leave start and stop out");
    }
    if (!tap.mmap) {
        return open_tap_socket(tap);
    }
    char said[PCAP_ERRBUF_SIZE] = {};
    pcap_t* handle = ::pcap_create(tap.device.empty() ? "any" : tap.device.c_str(), said);
    if (handle == nullptr) {
        return fail(ErrorKind::unsupported, tap.name, said);
    }
    ::pcap_set_snaplen(handle, static_cast<int>(tap.snaplen));
    ::pcap_set_buffer_size(handle, static_cast<int>(tap.buffer));
    ::pcap_set_immediate_mode(handle, tap.version == 2 ? 1 : 0); // libpcap takes version 2 of the ring for it
    ::pcap_set_timeout(handle, 1000);
    if (::pcap_activate(handle) < 0) {
        return fail(ErrorKind::not_permitted, tap.name, ::pcap_geterr(handle));
    }
    bpf_program program{};
    if (!tap.filter.empty() && (::pcap_compile(handle, &program, tap.filter.c_str(), 1, PCAP_NETMASK_UNKNOWN) != 0 || ::pcap_setfilter(handle, &program) != 0)) {
        return fail(ErrorKind::invalid, tap.name, ::pcap_geterr(handle));
    }
    ::pcap_setnonblock(handle, 1, said);
    return Run([handle, tap](const Stage& stage) {
        const int fd = ::pcap_get_selectable_fd(handle);
        while (!*stage.finish) {
            pollfd wait{fd, POLLIN, 0};
            (void)::poll(&wait, 1, poll_ms);
            pcap_pkthdr* header = nullptr;
            const unsigned char* bytes = nullptr;
            while (::pcap_next_ex(handle, &header, &bytes) == 1) {
                ++stage.count->received;
                work_for(tap.work);
            }
        }
    });
}

// ---- TCP -----------------------------------------------------------------------------------------------------------

/// Sends and receives what the scenario says on one connection. False: it broke.
bool serve(int fd, const ScenarioTcp& tcp, const Stage& stage)
{
    std::vector<std::uint8_t> buffer(std::max<std::size_t>(tcp.read, std::size_t{1} << 20U), '.');
    const auto send_all = [&] {
        for (std::uint64_t left = tcp.send; left != 0;) {
            const std::uint64_t chunk = std::min<std::uint64_t>(left, tcp.chunk != 0 ? tcp.chunk : buffer.size());
            const ssize_t sent = ::send(fd, buffer.data(), chunk, MSG_NOSIGNAL);
            if (sent < 0) {
                failed(stage);
                return false;
            }
            stage.count->sent += static_cast<std::uint64_t>(sent);
            left -= static_cast<std::uint64_t>(sent);
        }
        return true;
    };
    const auto receive_all = [&](bool to_end) {
        for (std::uint64_t got_all = 0; to_end || got_all < tcp.receive;) {
            const ssize_t got = ::recv(fd, buffer.data(), tcp.read, 0);
            if (got <= 0) {
                return got == 0;
            }
            got_all += static_cast<std::uint64_t>(got);
            stage.count->received += static_cast<std::uint64_t>(got);
            work_for(tcp.work);
        }
        return true;
    };
    if (!tcp.server) {
        return send_all() && receive_all(tcp.until_end);
    }
    // One that is to see the end of the stream, but answers before it, reads on behind its answer.
    const bool waits_for_close = tcp.until_end && tcp.receive != 0;
    return receive_all(tcp.receive == 0) && send_all() && (!waits_for_close || receive_all(true));
}

Result<int> open_tcp_socket(const ScenarioTcp& tcp)
{
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return trouble(tcp.name, "socket");
    }
    if (!set_buffer(fd, true, tcp.rcvbuf) || !set_buffer(fd, false, tcp.sndbuf) || (tcp.nodelay && !set(fd, IPPROTO_TCP, TCP_NODELAY, 1))) {
        return trouble(tcp.name, "setsockopt");
    }
    return fd;
}

Result<Run> open_tcp_server(const ScenarioTcp& tcp)
{
    const auto fd = open_tcp_socket(tcp);
    if (!fd) {
        return tl::unexpected(fd.error());
    }
    const Endpoint mine = endpoint(tcp.address, {}, tcp.port);
    (void)set(*fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (::bind(*fd, mine.address(), mine.length) != 0 || ::listen(*fd, static_cast<int>(tcp.backlog)) != 0) {
        return trouble(tcp.name, "listen");
    }
    return Run([listener = *fd, tcp](const Stage& stage) {
        while (!*stage.finish) {
            pollfd wait{listener, POLLIN, 0};
            if (::poll(&wait, 1, poll_ms) <= 0 || !tcp.accept) {
                continue;
            }
            const int connection = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
            if (connection >= 0) {
                (void)serve(connection, tcp, stage);
                ::close(connection);
            }
        }
    });
}

Result<Run> open_tcp_client(const ScenarioTcp& tcp)
{
    return Run([tcp](const Stage& stage) {
        wait_until(stage.begin_ns + tcp.start.ns);
        for (std::uint64_t i = 0; i < tcp.count; ++i) {
            const auto fd = open_tcp_socket(tcp);
            const Endpoint from = endpoint(tcp.from_address, {}, tcp.from_port);
            const Endpoint to = endpoint(tcp.address, {}, tcp.port);
            if (!fd || ((tcp.from_port != 0 || tcp.from_address != 0) && ::bind(*fd, from.address(), from.length) != 0) ||
                ::connect(*fd, to.address(), to.length) != 0) {
                failed(stage);
            } else {
                (void)serve(*fd, tcp, stage);
            }
            if (fd) {
                ::close(*fd);
            }
            wait_until(now_ns() + tcp.gap.ns);
        }
    });
}

template <typename Task>
Application application(const Task& task, bool sends, Result<Run> (*open)(const Task&))
{
    return {task.name, task.cpu, sends, [task, open] { return open(task); }};
}

} // namespace

Result<std::vector<Application>> applications_of(const ScenarioHost& host, const std::string& space)
{
    if (!host.tc.empty()) {
        return fail(ErrorKind::unsupported, host.name, "the lab does not change qdiscs on the way", fmt::format("set it at the device (namespace {})", space));
    }
    std::vector<Application> list;
    for (const auto& tap : host.taps) {
        list.push_back(application(tap, false, open_tap));
    }
    for (const auto& receiver : host.receivers) {
        list.push_back(application(receiver, false, open_receiver));
    }
    for (const auto& tcp : host.tcp) {
        list.push_back(application(tcp, !tcp.server, tcp.server ? open_tcp_server : open_tcp_client));
    }
    for (const auto& sender : host.senders) {
        list.push_back(application(sender, true, open_sender));
    }
    for (const auto& ping : host.pings) {
        list.push_back(application(ping, true, open_ping));
    }
    for (const auto& injector : host.injectors) {
        list.push_back(application(injector, true, open_injector));
    }
    return list;
}

} // namespace skbscope::lab
