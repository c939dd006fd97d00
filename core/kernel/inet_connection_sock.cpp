// net/ipv4/inet_connection_sock.c: ports, listeners with their two queues (half-open requests and finished connections),
// and the timers of a connection.

#include "core/kernel/tcp_functions.h"

#include <algorithm>

namespace skbscope::kernel {

// ---- ports ----------------------------------------------------------------------------------------------------------------

namespace {

bool inet_csk_bind_conflict(Kernel& k, SocketIndex index, std::uint16_t port)
{
    const Socket& sk = k.socket(index);
    const auto users = k.w.tcp.bound.find({sk.net, port});
    if (users == k.w.tcp.bound.end()) {
        return false;
    }
    return std::ranges::any_of(users->second, [&](SocketIndex other) {
        const Socket& sk2 = k.socket(other);
        return sk2.rcv_saddr == 0 || sk.rcv_saddr == 0 || sk2.rcv_saddr == sk.rcv_saddr;
    });
}

} // namespace

int inet_csk_get_port(Kernel& k, SocketIndex index, std::uint16_t port)
{
    Socket& sk = k.socket(index);
    if (port == 0) {
        const Sysctls& sysctl = tcp_sysctl(k, index);
        const auto low = static_cast<std::uint32_t>(sysctl.ip_local_port_low);
        const std::uint32_t remaining =
            std::max(static_cast<std::uint32_t>(sysctl.ip_local_port_high), low) + 1 - low;
        const auto offset = static_cast<std::uint32_t>(k.random(remaining)) |
                            1U; // bind() prefers odd ports, connect() even ones
        for (std::uint32_t i = 0; i < remaining && port == 0; ++i) {
            const auto candidate = static_cast<std::uint16_t>(
                low + (offset + 2 * i + (i >= remaining / 2 ? 1U : 0U)) % remaining);
            if (!inet_csk_bind_conflict(k, index, candidate)) {
                port = candidate;
            }
        }
        if (port == 0) {
            return -98;
        }
    } else if (inet_csk_bind_conflict(k, index, port)) {
        return -98; // EADDRINUSE
    }
    sk.num = port;
    k.w.tcp.bound[{sk.net, port}].push_back(index);
    return 0;
}

void inet_put_port(Kernel& k, SocketIndex index)
{
    const Socket& sk = k.socket(index);
    const auto users = k.w.tcp.bound.find({sk.net, sk.num});
    if (users == k.w.tcp.bound.end()) {
        return;
    }
    std::erase(users->second, index);
    if (users->second.empty()) {
        k.w.tcp.bound.erase(users);
    }
}

// ---- listeners --------------------------------------------------------------------------------------------------------------

int inet_csk_listen_start(Kernel& k, SocketIndex index, std::uint32_t backlog)
{
    Call call(k, fn::inet_csk_listen_start);
    TcpSock& tp = tcp_sk(k, index);
    tp.max_ack_backlog = backlog;
    tcp_set_state(k, index, TcpState::listen);
    if (k.socket(index).num == 0) {
        if (const int error = inet_csk_get_port(k, index, 0); error != 0) {
            tcp_set_state(k, index, TcpState::close);
            return error;
        }
    }
    const Socket& sk = k.socket(index);
    k.w.tcp.listen[{sk.net, sk.num}].push_back(index);
    return 0;
}

void inet_csk_listen_stop(Kernel& k, SocketIndex index)
{
    for (std::size_t row = 0; row < k.w.tcp.requests.size(); ++row) {
        if (k.w.tcp.requests[row].in_use && k.w.tcp.requests[row].listener == index) {
            inet_csk_reqsk_queue_drop(k, static_cast<std::int32_t>(row));
        }
    }
    auto waiting = std::move(tcp_sk(k, index).accept_queue);
    tcp_sk(k, index).accept_queue.clear();
    for (const SocketIndex child : waiting) {
        // inet_child_forget(): nobody will ever read it; the peer is told by a RST (tcp_disconnect()).
        TcpSock& tp = tcp_sk(k, child);
        tp.parent = nothing;
        if (tp.state != TcpState::close) {
            tcp_send_active_reset(k, child);
            tcp_set_state(k, child, TcpState::close);
        }
        tp.dead = true;
        inet_csk_destroy_sock(k, child);
    }
}

SocketIndex inet_csk_accept(Kernel& k, SocketIndex index)
{
    Call call(k, fn::inet_csk_accept);
    tcp_lock_sock(k, index);
    SocketIndex child = nothing;
    TcpSock& tp = tcp_sk(k, index);
    if (tp.state == TcpState::listen && !tp.accept_queue.empty()) {
        child = tp.accept_queue.front();
        tp.accept_queue.pop_front();
        tcp_sk(k, child).parent = nothing;
    }
    tcp_release_sock(k, index);
    return child;
}

// ---- half-open connections ----------------------------------------------------------------------------------------------------

TcpRequest& tcp_request(Kernel& k, std::int32_t row)
{
    return k.w.tcp.requests[static_cast<std::size_t>(row)];
}

std::int32_t new_request(Kernel& k)
{
    auto& tables = k.w.tcp;
    std::int32_t row = static_cast<std::int32_t>(tables.requests.size());
    if (tables.free_requests.empty()) {
        tables.requests.emplace_back();
    } else {
        row = tables.free_requests.back();
        tables.free_requests.pop_back();
    }
    tcp_request(k, row) = TcpRequest{};
    tcp_request(k, row).in_use = true;
    return row;
}

void free_request(Kernel& k, std::int32_t row)
{
    tcp_request(k, row) = TcpRequest{};
    k.w.tcp.free_requests.push_back(row);
}

namespace {

void arm_request(Kernel& k, std::int32_t row)
{
    TcpRequest& req = tcp_request(k, row);
    const std::uint64_t wait =
        std::min<std::uint64_t>(std::uint64_t{req.timeout} << req.num_timeout, TCP_RTO_MAX);
    const SimTime at = SimTime{} + Duration{static_cast<std::int64_t>((tcp_jiffies32(k) + wait) * 4'000'000)};
    req.timer = mod_timer(k, TimerKind::tcp_keepalive, k.cpu_row, -2 - row, at);
}

} // namespace

void inet_csk_reqsk_queue_hash_add(Kernel& k, std::int32_t row)
{
    Call call(k, fn::inet_csk_reqsk_queue_hash_add);
    TcpRequest& req = tcp_request(k, row);
    inet_ehash_insert(k, req.flow, {TcpEhash::Kind::request, row});
    arm_request(k, row);
    TcpSock& listener = tcp_sk(k, req.listener);
    ++listener.qlen;
    ++listener.young;
}

void inet_csk_reqsk_queue_drop(Kernel& k, std::int32_t row)
{
    TcpRequest& req = tcp_request(k, row);
    const auto entry = k.w.tcp.ehash.find(req.flow);
    if (entry != k.w.tcp.ehash.end() && entry->second.kind == TcpEhash::Kind::request &&
        entry->second.row == row) {
        k.w.tcp.ehash.erase(entry);
    }
    TcpSock& listener = tcp_sk(k, req.listener);
    --listener.qlen;
    listener.young -= req.num_timeout == 0 ? 1 : 0;
    free_request(k, row);
}

SocketIndex inet_csk_complete_hashdance(Kernel& k, SocketIndex listener, SocketIndex child, std::int32_t row)
{
    Call call(k, fn::inet_csk_complete_hashdance);
    inet_csk_reqsk_queue_drop(k, row);
    // inet_csk_reqsk_queue_add()
    tcp_sk(k, child).parent = listener;
    tcp_sk(k, listener).accept_queue.push_back(child);
    return child;
}

void reqsk_timer_handler(Kernel& k, std::int32_t row, std::uint64_t generation)
{
    TcpRequest& req = tcp_request(k, row);
    if (!req.in_use || req.timer != generation) {
        return;
    }
    Call call(k, fn::reqsk_timer_handler);
    TcpSock& listener = tcp_sk(k, req.listener);
    const NetIndex net = k.sock_net(req.listener);
    auto max_retries = static_cast<std::uint32_t>(k.net(net).sysctl.tcp_synack_retries);
    if ((listener.qlen << 1) > std::max(8U, listener.max_ack_backlog)) {
        std::uint32_t young = listener.young << 1; // a full queue gives up sooner on the old ones
        while (max_retries > 2 && listener.qlen >= young) {
            --max_retries;
            young <<= 1;
        }
    }
    k.count(net, Mib::TcpExt_TCPTimeouts, PacketId::none); // tcp_syn_ack_timeout()
    const bool expire = req.num_timeout >= max_retries;
    if (expire) {
        inet_csk_reqsk_queue_drop(k, row);
        return;
    }
    if (!req.acked) {
        tcp_v4_send_synack(k, row, nothing);
        k.count(net, Mib::Tcp_RetransSegs, PacketId::none); // tcp_rtx_synack()
        k.count(net, Mib::TcpExt_TCPSynRetrans, PacketId::none);
        ++tcp_request(k, row).num_retrans;
    }
    listener.young -= req.num_timeout == 0 ? 1 : 0;
    ++req.num_timeout;
    arm_request(k, row);
}

// ---- timers of a connection ----------------------------------------------------------------------------------------------------

namespace {

std::uint64_t arm(Kernel& k, TimerKind kind, SocketIndex sk, std::uint32_t at_jiffies)
{
    // Timers run at a tick, and one that is due is due at the next.
    const std::uint32_t at = std::max(at_jiffies, tcp_jiffies32(k) + 1);
    return mod_timer(k, kind, k.cpu_row, sk, SimTime{} + Duration{static_cast<std::int64_t>(at) * 4'000'000});
}

} // namespace

void inet_csk_reset_xmit_timer(Kernel& k, SocketIndex sk, TcpTimer what, std::uint32_t when,
                               std::uint32_t max_when)
{
    TcpSock& tp = tcp_sk(k, sk);
    tp.pending = what;
    tp.timeout = tcp_jiffies32(k) + std::min(when, max_when);
    tp.write_timer = arm(k, TimerKind::tcp_write, sk, tp.timeout);
}

void inet_csk_clear_xmit_timer(Kernel& k, SocketIndex sk)
{
    tcp_sk(k, sk).pending =
        TcpTimer::none; // INET_CSK_CLEAR_TIMERS is off: the timer itself goes on, and finds nothing to do
    tcp_sk(k, sk).write_timer = 0;
}

void inet_csk_arm_delack(Kernel& k, SocketIndex sk, std::uint32_t at_jiffies)
{
    TcpSock& tp = tcp_sk(k, sk);
    tp.ack.timeout = at_jiffies;
    tp.delack_timer = arm(k, TimerKind::tcp_delack, sk, at_jiffies);
}

void tcp_reset_keepalive_timer(Kernel& k, SocketIndex sk, std::uint32_t in_jiffies)
{
    tcp_sk(k, sk).keepalive_timer = arm(k, TimerKind::tcp_keepalive, sk, tcp_jiffies32(k) + in_jiffies);
}

// ---- the end ------------------------------------------------------------------------------------------------------------------

void inet_csk_destroy_sock(Kernel& k, SocketIndex index)
{
    Call call(k, fn::inet_csk_destroy_sock);
    // tcp_v4_destroy_sock(): timers, queues, port. The row lives on while packets of it are still with the device.
    TcpSock& tp = tcp_sk(k, index);
    tp.write_timer = tp.delack_timer = tp.keepalive_timer = tp.compressed_ack_timer = 0;
    tp.pending = TcpTimer::none;
    tcp_write_queue_purge(k, index);
    const auto purge = [&](auto& queue) {
        while (!queue.empty()) {
            const SkbIndex skb = queue.front();
            queue.pop_front();
            k.cpu().now = std::max(k.cpu().now, k.skb(skb).visible_from); // the lock was another CPU's until then
            __kfree_skb(k, skb, Verdict::consumed, fn::inet_csk_destroy_sock);
        }
    };
    for (auto& unread = k.socket(index).receive_queue; !unread.empty();) { // sk_stream_kill_queues()
        const SkbIndex skb = unread.front();
        unread.pop_front();
        k.cpu().now = std::max(k.cpu().now, k.skb(skb).visible_from);
        sk_skb_reason_drop_consumed(k, skb, fn::inet_csk_destroy_sock);
    }
    purge(tp.ofo_queue);
    purge(tp.backlog);
    inet_unhash(k, index);
    inet_put_port(k, index);
    tcp_free_socket(k, index);
}

} // namespace skbscope::kernel
