// net/core/sock.c and net/core/filter.c: memory of sockets, waking their owners, filters.

#include "core/kernel/functions.h"

#include <algorithm>

namespace skbscope::kernel {

SkbIndex sock_alloc_send_skb(Kernel& k, SocketIndex index, std::uint32_t size, std::uint32_t paged, std::uint64_t call_sequence)
{
    Call call(k, fn::sock_alloc_send_skb);
    Call inner(k, fn::sock_alloc_send_pskb);
    Socket& sk = k.socket(index);
    if (sk.sk_wmem_alloc >= sk.sk_sndbuf) {
        return nothing;
    }
    PacketRecord record;
    record.host = k.host().id;
    record.sent_here = true;
    record.birth = k.cpu().now;
    record.birth_function = fn::sock_alloc_send_pskb;
    const PacketId packet = k.trace.add_packet(record);
    // The calls that led here work for this datagram: theirs now, as a reader of ftrace would find out too.
    k.attribute_since(call_sequence, packet);
    k.emit(EventKind::birth, packet, fn::sock_alloc_send_pskb);
    const SkbIndex skb = __alloc_skb(k, packet, size);
    k.skb(skb).mine = true;
    k.skb(skb).truesize += paged;
    Call owner(k, fn::skb_set_owner_w, skb);
    k.skb(skb).sk = index;
    sk.sk_wmem_alloc += k.skb(skb).truesize;
    k.field(skb, SkbField::socket, 0, to_index(sk.queue));
    return skb;
}

void sock_wfree(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::sock_wfree, skb);
    Socket& sk = k.socket(k.skb(skb).sk);
    sk.sk_wmem_alloc -= std::min(sk.sk_wmem_alloc, k.skb(skb).truesize);
    k.field(skb, SkbField::socket, to_index(sk.queue), 0);
    k.skb(skb).sk = nothing;
    if (sk.sleeping_sender != nothing && sk.sk_wmem_alloc < sk.sk_sndbuf) {
        wake_up(k, sk.sleeping_sender, k.skb(skb).packet);
        sk.sleeping_sender = nothing;
    }
}

void wake_up(Kernel& k, std::int32_t index, PacketId cause)
{
    if (index == nothing || k.task(index).state != Task::State::sleeping) {
        return;
    }
    Task& task = k.task(index);
    task.state = Task::State::runnable;
    Cpu& target = k.w.cpus[task.cpu];
    kick(target, k.cpu().now + 1_ns);
    target.run_queue.push_back(index);
    Event& event = k.cpu().lane.events.emplace_back();
    event.time_ns = k.cpu().now.ns;
    event.kind = static_cast<std::uint8_t>(EventKind::wakeup);
    event.packet = to_index(cause);
    event.task = to_index(task.id);
    event.cpu = static_cast<std::uint16_t>(k.cpu().id);
    event.host = static_cast<std::uint8_t>(k.host().id);
    event.flags = Event::make_flags(k.cpu().context);
}

void sock_def_readable(Kernel& k, SocketIndex index, PacketId cause)
{
    Call call(k, fn::sock_def_readable, cause);
    Socket& sk = k.socket(index);
    if (sk.waiting_task != nothing) {
        wake_up(k, sk.waiting_task, cause);
    }
}

bool sk_filter_trim_cap(Kernel& k, SocketIndex, SkbIndex skb)
{
    Call call(k, fn::sk_filter_trim_cap, skb);
    return true; // no filter is attached: everything passes, whole
}

void sys_setsockopt_rcvbuf(Kernel& k, SocketIndex index, std::int64_t value)
{
    // net/core/sock.c: __sock_set_rcvbuf: doubled for the bookkeeping that truesize counts too, and never below a minimum.
    constexpr std::int64_t SOCK_MIN_RCVBUF = 2048 + sizeof_sk_buff;
    Call call(k, fn::sk_setsockopt);
    Socket& sk = k.socket(index);
    const std::int64_t allowed = std::clamp<std::int64_t>(value, 0, k.core_sysctl().rmem_max);
    const std::uint64_t before = sk.sk_rcvbuf;
    sk.sk_rcvbuf = static_cast<std::uint32_t>(std::max(allowed * 2, SOCK_MIN_RCVBUF));
    if (before != sk.sk_rcvbuf) {
        k.emit(EventKind::queue, PacketId::none, fn::sk_setsockopt,
               k.trace.add_queue_change({QueueChange::What::limit, sk.queue, before, sk.sk_rcvbuf}));
    }
}

} // namespace skbscope::kernel
