// net/core/datagram.c: taking a packet out of the receive queue of a raw or ping socket, or waiting for one.

#include "core/kernel/functions.h"

#include <algorithm>

namespace skbscope::kernel {

namespace {

SkbIndex __skb_try_recv_from_queue(Kernel& k, Socket& sk)
{
    const SkbIndex skb = sk.receive_queue.empty() ? nothing : sk.receive_queue.front();
    if (skb != nothing) {
        k.cpu().now = std::max(k.cpu().now, k.skb(skb).visible_from);
    }
    Call call(k, fn::__skb_try_recv_from_queue, skb);
    if (skb != nothing) {
        sk.receive_queue.pop_front();
        k.dequeue(sk.queue, k.skb(skb).packet, fn::__skb_try_recv_from_queue);
    }
    return skb;
}

FunctionId reader(const Socket& sk)
{
    if (sk.kind == SocketKind::ping) {
        return fn::ping_recvmsg;
    }
    return sk.inet6 ? fn::rawv6_recvmsg : fn::raw_recvmsg;
}

} // namespace

std::optional<std::vector<std::uint8_t>> __sys_recvmsg(Kernel& k, std::int32_t index, int& error)
{
    Task& task = k.task(index);
    Socket& sk = k.socket(task.socket);
    error = 0;
    if (task.calls.empty()) {
        // Of IPv6 it is inet6_sockraw_ops (net/ipv6/raw.c) that says who reads.
        const FunctionId family = sk.inet6 ? fn::sock_common_recvmsg : fn::inet_recvmsg;
        for (const FunctionId function :
             {fn::__x64_sys_recvmsg, fn::sock_recvmsg, fn::sock_recvmsg_nosec, family, reader(sk)}) {
            task.calls.push_back(k.open(function, PacketId::none));
        }
    } else { // woken inside __skb_wait_for_more_packets
        k.close(task.calls.back());
        task.calls.pop_back();
    }
    sk.waiting_task = nothing;
    if (sk.sk_err != 0) {
        error = -std::exchange(sk.sk_err, 0);
        k.close_all(task.calls);
        return std::nullopt;
    }
    const SkbIndex skb = __skb_try_recv_from_queue(k, sk);
    if (skb == nothing) {
        task.calls.push_back(k.open(fn::__skb_wait_for_more_packets, PacketId::none));
        sk.waiting_task = index;
        task.state = Task::State::sleeping;
        error = -EAGAIN;
        return std::nullopt;
    }
    std::vector<std::uint8_t> message;
    {
        Call copy(k, fn::skb_copy_datagram_msg, skb);
        Call iter(k, fn::skb_copy_datagram_iter, skb);
        const auto bytes = skb_data(k, skb);
        message.assign(bytes.begin(), bytes.end());
        k.spend(k.costs().copy(bytes.size()));
    }
    ++task.received;
    consume_skb(k, skb, reader(sk));
    k.close_all(task.calls);
    return message;
}

} // namespace skbscope::kernel
