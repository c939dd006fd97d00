// The application ping: an echo request every interval, over a raw socket (as root has it) or a ping socket, and the
// answers it waits for in recvmsg().

#include "core/kernel/ipv6.h"
#include "core/kernel/tasks.h"
#include "core/packet/bytes.h"
#include "core/packet/checksum.h"
#include "core/packet/protocols.h"

#include <algorithm>

namespace skbscope::kernel {

namespace {

constexpr std::size_t icmp_header = 8;

/// What an iputils ping writes: identifier, sequence number, then a pattern.
std::vector<std::uint8_t> echo_request(const Task& task)
{
    std::vector<std::uint8_t> message(icmp_header + task.size);
    message[0] = task.inet6 ? ICMPV6_ECHO_REQUEST : ICMP_ECHO;
    store_be16(&message[4], task.identifier);
    store_be16(&message[6], static_cast<std::uint16_t>(task.ordinal + 1));
    for (std::size_t at = 0; at < task.size; ++at) {
        message[icmp_header + at] = static_cast<std::uint8_t>(at);
    }
    if (!task.inet6) { // of ICMPv6 the kernel sums
        store_be16(&message[2], csum_fold(csum_partial(message)));
    }
    return message;
}

void start_ping(Kernel& k, std::int32_t index)
{
    Task& task = k.task(index);
    task.socket = sys_socket(k, task.ping_socket ? SocketKind::ping : SocketKind::raw, task.inet6);
    Socket& sk = k.socket(task.socket);
    sk.protocol = task.inet6 ? proto::ipproto_icmpv6 : proto::ipproto_icmp;
    sk.uc_ttl = task.ttl;
    if (!task.ping_socket && task.inet6) { // ICMPV6_FILTER: all blocked but these
        sk.icmp6_filter.fill(~std::uint32_t{0});
        for (const std::uint8_t type : {ICMPV6_DEST_UNREACH, ICMPV6_PKT_TOOBIG, ICMPV6_TIME_EXCEED, ICMPV6_PARAMPROB, ICMPV6_ECHO_REPLY}) {
            sk.icmp6_filter[type >> 5] &= ~(1U << (type & 31));
        }
        sk.num = sk.protocol;
    } else if (!task.ping_socket) {
        // ICMP_FILTER: only what a ping wants to read
        constexpr std::uint32_t wanted = 1U << ICMP_SOURCE_QUENCH | 1U << ICMP_DEST_UNREACH | 1U << ICMP_TIME_EXCEEDED |
                                         1U << ICMP_PARAMETERPROB | 1U << ICMP_REDIRECT | 1U << ICMP_ECHOREPLY;
        sk.icmp_filter = ~wanted;
        sk.num = sk.protocol;
    }
    task.identifier = static_cast<std::uint16_t>(to_index(task.id) + 1000);
    task.stage = Task::Stage::loop;
}

void send_request(Kernel& k, std::int32_t index)
{
    Task& task = k.task(index);
    const SimTime begun = k.cpu().now;
    const int result = task.inet6 ? __sys_sendto6(k, task.socket, echo_request(task), task.destination6, 0)
                                  : __sys_sendto(k, task.socket, echo_request(task), task.destination, 0);
    ++(result < 0 ? task.failed : task.sent);
    ++task.ordinal;
    --task.to_send;
    task.next_send = task.ordinal < task.send_times.size() ? task.send_times[task.ordinal] : begun + task.gap;
    task.stage = result < 0 ? Task::Stage::loop : Task::Stage::working;
}

/// Is it the answer to what was sent last? A raw socket hears the answers to every ping, of IPv4 with the IP header in front.
bool is_answer(const Task& task, std::span<const std::uint8_t> message)
{
    if (!task.ping_socket && !task.inet6) {
        const std::size_t header = message.empty() ? 0 : (message[0] & 0x0f) * std::size_t{4};
        message = message.subspan(std::min(header, message.size()));
    }
    return message.size() >= icmp_header && message[0] == (task.inet6 ? ICMPV6_ECHO_REPLY : ICMP_ECHOREPLY) && (task.ping_socket || load_be16(&message[4]) == task.identifier);
}

} // namespace

void step_ping(Kernel& k, std::int32_t index)
{
    Task& task = k.task(index);
    if (task.stage == Task::Stage::start) {
        start_ping(k, index);
        return;
    }
    if (task.stage == Task::Stage::working) { // an answer is due: in recvmsg(), until the next request's turn
        if (k.cpu().now >= task.next_send && task.to_send > 0 && !task.calls.empty()) {
            k.close_all(task.calls); // SO_RCVTIMEO is over
            k.socket(task.socket).waiting_task = nothing;
            task.stage = Task::Stage::loop;
            return;
        }
        int error = 0;
        const auto message = __sys_recvmsg(k, index, error);
        if ((message && is_answer(task, *message)) || (!message && error != -EAGAIN)) {
            task.stage = Task::Stage::loop;
        } else if (!message && k.task(index).to_send > 0) {
            wake_at(k, index, k.task(index).next_send);
        }
        return;
    }
    if (task.to_send == 0) {
        sleep(k, index);
        return;
    }
    if (k.cpu().now < task.next_send) {
        wake_at(k, index, task.next_send);
        return;
    }
    send_request(k, index);
}

} // namespace skbscope::kernel
