// net/ipv4/inet_hashtables.c: which socket a segment belongs to: an established flow (a full socket, a half-open one or
// one in time-wait) first, then a listener.

#include "core/kernel/tcp_functions.h"

namespace skbscope::kernel {

std::optional<TcpEhash> __inet_lookup_established(Kernel& k, const TcpFlow& flow, PacketId packet)
{
    Call call(k, fn::__inet_lookup_established, packet);
    const auto found = k.w.tcp.ehash.find(flow);
    return found == k.w.tcp.ehash.end() ? std::nullopt : std::optional(found->second);
}

SocketIndex __inet_lookup_listener(Kernel& k, SkbIndex skb, const TcpFlow& flow)
{
    Call call(k, fn::__inet_lookup_listener, skb);
    const auto listeners = k.w.tcp.listen.find({flow.net, flow.sport});
    if (listeners == k.w.tcp.listen.end()) {
        return nothing;
    }
    // compute_score(): a bound address and a bound device count, the highest score wins.
    SocketIndex best = nothing;
    int best_score = -1;
    for (const SocketIndex candidate : listeners->second) {
        const Socket& sk = k.socket(candidate);
        if ((sk.rcv_saddr != 0 && sk.rcv_saddr != flow.saddr) ||
            (sk.bound_device != nothing && sk.bound_device != k.skb(skb).device)) {
            continue;
        }
        const int score = (sk.rcv_saddr != 0 ? 2 : 0) + (sk.bound_device != nothing ? 4 : 0);
        if (score > best_score) {
            best_score = score;
            best = candidate;
        }
    }
    return best;
}

TcpFlow flow_of_socket(Kernel& k, SocketIndex index)
{
    const Socket& sk = k.socket(index);
    return {sk.net, sk.rcv_saddr, sk.daddr, sk.num, sk.dport};
}

void inet_ehash_insert(Kernel& k, const TcpFlow& flow, TcpEhash entry)
{
    k.w.tcp.ehash[flow] = entry;
}

void inet_unhash(Kernel& k, SocketIndex index)
{
    const Socket& sk = k.socket(index);
    if (const auto listeners = k.w.tcp.listen.find({sk.net, sk.num}); listeners != k.w.tcp.listen.end()) {
        std::erase(listeners->second, index);
    }
    const auto found = k.w.tcp.ehash.find(flow_of_socket(k, index));
    if (found != k.w.tcp.ehash.end() && found->second.kind == TcpEhash::Kind::socket &&
        found->second.row == index) {
        k.w.tcp.ehash.erase(found);
    }
}

namespace {

/// __inet_check_established(): the flow is free, or a time-wait socket holds it that is old enough (tcp_twsk_unique()).
bool check_established(Kernel& k, const TcpFlow& flow)
{
    const auto found = k.w.tcp.ehash.find(flow);
    if (found == k.w.tcp.ehash.end()) {
        return true;
    }
    if (found->second.kind != TcpEhash::Kind::timewait) {
        return false;
    }
    const TcpTimewait& tw = tcp_timewait(k, found->second.row);
    if (tw.ts_recent_stamp == 0 || ktime_get_seconds(k) <= tw.ts_recent_stamp) {
        return false;
    }
    inet_twsk_kill(k, found->second.row);
    return true;
}

} // namespace

int inet_hash_connect(Kernel& k, SocketIndex index)
{
    Call call(k, fn::inet_hash_connect);
    Socket& sk = k.socket(index);
    if (sk.num != 0) {
        const TcpFlow flow = flow_of_socket(k, index);
        if (!check_established(k, flow)) {
            return -99; // EADDRNOTAVAIL
        }
        inet_ehash_insert(k, flow, {TcpEhash::Kind::socket, index});
        return 0;
    }
    // __inet_hash_connect(): an even port first, from an offset that nobody can guess.
    const Sysctls& sysctl = tcp_sysctl(k, index);
    const auto low = static_cast<std::uint32_t>(sysctl.ip_local_port_low);
    const auto high = std::max(static_cast<std::uint32_t>(sysctl.ip_local_port_high), low) + 1;
    const std::uint32_t remaining = high - low;
    const auto offset = static_cast<std::uint32_t>(k.random(remaining)) & ~1U;
    for (const std::uint32_t parity : {0U, 1U}) {
        for (std::uint32_t i = 0; i < remaining; i += 2) {
            const std::uint32_t port = low + (offset + parity + i) % remaining;
            const TcpFlow flow{sk.net, sk.rcv_saddr, sk.daddr, static_cast<std::uint16_t>(port), sk.dport};
            const auto users = k.w.tcp.bound.find({sk.net, static_cast<std::uint16_t>(port)});
            const bool bound_by_bind =
                users != k.w.tcp.bound.end() && std::ranges::any_of(users->second, [&](SocketIndex other) {
                    return k.socket(other).daddr ==
                           0; // somebody called bind() and did not connect: not for sharing
                });
            if (bound_by_bind || !check_established(k, flow)) {
                continue;
            }
            sk.num = static_cast<std::uint16_t>(port);
            k.w.tcp.bound[{sk.net, sk.num}].push_back(index);
            inet_ehash_insert(k, flow, {TcpEhash::Kind::socket, index});
            return 0;
        }
    }
    return -99;
}

} // namespace skbscope::kernel
