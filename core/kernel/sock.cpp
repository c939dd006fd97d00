// net/core/sock.c and net/core/filter.c: memory of sockets, waking their owners, filters.

#include "core/kernel/functions.h"
#include "core/kernel/tcp_functions.h"

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
    k.skb(skb).destructor = SkBuff::Destructor::sock_wfree;
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
    if (sk.sleeping_sender != nothing && sk.sk_wmem_alloc * 2 <= sk.sk_sndbuf) { // sock_def_write_space(): half is free again
        wake_up(k, sk.sleeping_sender, k.skb(skb).packet);
        sk.sleeping_sender = nothing;
    }
}

void __sock_wfree(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::__sock_wfree, skb);
    Socket& sk = k.socket(k.skb(skb).sk);
    sk.sk_wmem_alloc -= std::min(sk.sk_wmem_alloc, k.skb(skb).truesize);
    k.field(skb, SkbField::socket, to_index(sk.queue), 0);
    k.skb(skb).sk = nothing;
}

void skb_set_owner_r(Kernel& k, SkbIndex skb, SocketIndex index)
{
    Socket& sk = k.socket(index);
    k.skb(skb).sk = index;
    k.skb(skb).destructor = SkBuff::Destructor::sock_rfree;
    k.queue_fill(sk.queue, sk.sk_rmem_alloc, sk.sk_rmem_alloc + k.skb(skb).truesize);
    sk.sk_rmem_alloc += k.skb(skb).truesize;
}

void sock_rfree(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::sock_rfree, skb);
    Socket& sk = k.socket(k.skb(skb).sk);
    const std::uint32_t left = sk.sk_rmem_alloc - std::min(sk.sk_rmem_alloc, k.skb(skb).truesize);
    k.queue_fill(sk.queue, sk.sk_rmem_alloc, left);
    sk.sk_rmem_alloc = left;
    if (sk.tcp != nothing) {
        sk_mem_uncharge(k, k.skb(skb).sk, k.skb(skb).truesize);
    }
    k.skb(skb).sk = nothing;
}

bool sock_queue_rcv_skb_reason(Kernel& k, SocketIndex index, SkbIndex skb, DropReasonId& reason)
{
    const bool old = k.profile() == Profile::v5_10;
    Call call(k, old ? fn::sock_queue_rcv_skb : fn::sock_queue_rcv_skb_reason, skb);
    if (!sk_filter_trim_cap(k, index, skb, 1)) {
        reason = drop::SOCKET_FILTER;
        return false;
    }
    Call queue(k, fn::__sock_queue_rcv_skb, skb);
    Socket& sk = k.socket(index);
    if (sk.sk_rmem_alloc >= sk.sk_rcvbuf) { // not above, as UDP tests: the last byte is full, too
        ++sk.sk_drops;
        reason = drop::SOCKET_RCVBUFF;
        return false;
    }
    const PacketId packet = k.skb(skb).packet;
    skb_set_owner_r(k, skb, index);
    sk.receive_queue.push_back(skb);
    k.skb(skb).visible_from = k.cpu().now + 1_ns;
    k.enqueue(sk.queue, packet, fn::__sock_queue_rcv_skb);
    k.verdict(packet, Verdict::delivered, fn::__sock_queue_rcv_skb);
    sock_def_readable(k, index, packet);
    return true;
}

void wake_up(Kernel& k, std::int32_t index, PacketId cause)
{
    if (index == nothing || k.task(index).state != Task::State::sleeping) {
        return;
    }
    Task& task = k.task(index);
    task.state = Task::State::runnable;
    Cpu& target = k.w.cpus[task.cpu];
    kick(k, target, k.cpu().now + 1_ns);
    target.run_queue.push_back(index);
    k.emit_wakeup(task.id, cause);
}

void sock_def_readable(Kernel& k, SocketIndex index, PacketId cause)
{
    Call call(k, fn::sock_def_readable, cause);
    Socket& sk = k.socket(index);
    if (sk.waiting_task != nothing) {
        wake_up(k, sk.waiting_task, cause);
    }
}

void sock_def_error_report(Kernel& k, SocketIndex index, PacketId cause)
{
    if (k.socket(index).waiting_task != nothing) {
        wake_up(k, k.socket(index).waiting_task, cause);
    }
}

BpfPacket bpf_packet(Kernel& k, SkbIndex index)
{
    const SkBuff& skb = k.skb(index);
    BpfPacket packet;
    packet.buffer = skb.head.bytes().first(std::min<std::size_t>(skb.tail, skb.head.size()));
    packet.data = skb.data;
    packet.len = skb.len;
    packet.mac_header = skb.mac_header == header_unset ? ~0U : skb.mac_header;
    packet.network_header = skb.network_header == header_unset ? ~0U : skb.network_header;
    packet.protocol = skb.protocol;
    packet.pkt_type = static_cast<std::uint8_t>(skb.pkt_type);
    packet.ifindex = skb.device == nothing ? 0 : to_index(k.device(skb.device).id);
    packet.hash = skb.hash;
    packet.cpu = k.cpu().index;
    return packet;
}

bool sk_filter_trim_cap(Kernel& k, SocketIndex index, SkbIndex skb, std::uint32_t cap)
{
    Call call(k, fn::sk_filter_trim_cap, skb);
    const BpfProgram& program = k.socket(index).filter;
    if (program.empty()) {
        return true;
    }
    const std::uint32_t keep = bpf_prog_run(program, bpf_packet(k, skb));
    if (keep == 0) {
        return false;
    }
    skb_trim(k, skb, std::max(keep, cap)); // the value is a length: so many bytes are kept, but never less than the header
    return true;
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
