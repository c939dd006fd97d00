// net/ipv4/tcp.c, and of net/core/sock.c and net/core/stream.c what a stream socket needs: its lock and backlog, its
// send buffer, sendmsg, recvmsg, close.

#include "core/catalog/catalog.h"
#include "core/kernel/tcp_functions.h"
#include "core/packet/protocols.h"

#include <fmt/format.h>
#include <utility>

namespace skbscope::kernel {

namespace {

constexpr int EAGAIN_ = -11, EPIPE_ = -32, ENOTCONN_ = -107;
constexpr std::uint32_t SKB_FRAG_PAGE_SIZE = 32768; // net/core/sock.c: SKB_FRAG_PAGE_ORDER of 4 KiB pages

void free_tx_skb_accounting(Kernel& k, SocketIndex sk, SkbIndex skb)
{
    TcpSock& tp = tcp_sk(k, sk);
    tp.sk_wmem_queued -= std::min(tp.sk_wmem_queued, k.skb(skb).truesize);
    sk_mem_uncharge(k, sk, k.skb(skb).truesize);
}

} // namespace

void sk_mem_charge(Kernel& k, SocketIndex index, std::uint32_t size)
{
    constexpr std::uint32_t page = 4096;
    TcpSock& tp = tcp_sk(k, index);
    if (size > tp.sk_forward_alloc) {
        const std::uint32_t lacking = k.profile() == Profile::v5_10 ? size : size - tp.sk_forward_alloc;
        tp.sk_forward_alloc += (lacking + page - 1) / page * page;
    }
    tp.sk_forward_alloc -= size;
}

void sk_mem_uncharge(Kernel& k, SocketIndex index, std::uint32_t size)
{
    TcpSock& tp = tcp_sk(k, index);
    tp.sk_forward_alloc += size;
    if (k.profile() != Profile::v5_10) {
        tp.sk_forward_alloc %= 4096;
    } else if (tp.sk_forward_alloc >= 1U << 21) {
        tp.sk_forward_alloc -= 1U << 20;
    }
}

// ---- a socket's row -----------------------------------------------------------------------------------------------------------

void tcp_set_state(Kernel& k, SocketIndex index, TcpState state)
{
    TcpSock& tp = tcp_sk(k, index);
    const TcpState old = tp.state;
    const NetIndex net = k.sock_net(index);
    if (state == TcpState::established && old != TcpState::established) {
        k.count(net, Mib::Tcp_CurrEstab, PacketId::none);
    } else if (state == TcpState::close) {
        if (old == TcpState::close_wait || old == TcpState::established) {
            k.count(net, Mib::Tcp_EstabResets, PacketId::none);
        }
        inet_unhash(k, index);
    }
    if (state != TcpState::established && old == TcpState::established) {
        k.count(net, Mib::Tcp_CurrEstab, PacketId::none, ~std::uint64_t{0}); // one less
    }
    tp.state = state;
}

SocketIndex tcp_new_socket(Kernel& k, NetIndex net)
{
    World& w = k.w;
    SocketIndex index = static_cast<SocketIndex>(w.sockets.size());
    if (w.free_sockets.empty()) {
        w.sockets.emplace_back();
    } else {
        index = w.free_sockets.back();
        w.free_sockets.pop_back();
    }
    std::int32_t row = static_cast<std::int32_t>(w.tcp.socks.size());
    if (w.tcp.free_socks.empty()) {
        w.tcp.socks.emplace_back();
    } else {
        row = w.tcp.free_socks.back();
        w.tcp.free_socks.pop_back();
    }
    Socket sk;
    sk.kind = SocketKind::tcp;
    sk.in_use = true;
    sk.net = net;
    sk.host = k.net(net).host;
    sk.tcp = row;
    k.socket(index) = std::move(sk);
    TcpSock tp;
    tp.in_use = true;
    tp.socket = index;
    w.tcp.socks[static_cast<std::size_t>(row)] = std::move(tp);
    return index;
}

void tcp_init_sock(Kernel& k, SocketIndex index)
{
    Call call(k, fn::tcp_init_sock);
    Socket& sk = k.socket(index);
    const Sysctls& sysctl = tcp_sysctl(k, index);
    sk.sk_rcvbuf = static_cast<std::uint32_t>(sysctl.tcp_rmem_default);
    sk.sk_sndbuf = static_cast<std::uint32_t>(sysctl.tcp_wmem_default);
    TcpSock& tp = tcp_sk(k, index);
    tp.reordering = static_cast<std::uint32_t>(sysctl.tcp_reordering);
    tp.mdev_us = 1'000'000; // TCP_TIMEOUT_INIT
    tp.mstamp = k.cpu().now;
    tp.tsoffset = 0;
}

QueueId tcp_name_queue(Kernel& k, SocketIndex index)
{
    Socket& sk = k.socket(index);
    TcpSock& tp = tcp_sk(k, index);
    if (sk.queue != QueueId::none || sk.num == 0) {
        return sk.queue;
    }
    const HostId host = k.w.hosts[sk.host].id;
    const std::string name =
        sk.daddr == 0 ? fmt::format(":{}", sk.num)
                      : fmt::format(":{} with {}:{}", sk.num, IpAddress::v4(sk.daddr).text(), sk.dport);
    sk.queue = k.trace.add_queue({name + " receive queue", QueueKind::socket, host,
                                  Catalog::room_of(fn::tcp_queue_rcv), sk.sk_rcvbuf, QueueUnit::bytes,
                                  "net.ipv4.tcp_rmem.default"});
    tp.write_queue_id =
        k.trace.add_queue({name + " send queue", QueueKind::other, host, Catalog::room_of(fn::tcp_write_xmit),
                           sk.sk_sndbuf, QueueUnit::bytes, "net.ipv4.tcp_wmem.default"});
    tp.backlog_id = k.trace.add_queue({name + " socket backlog", QueueKind::other, host,
                                       Catalog::room_of(fn::tcp_add_backlog), 0, QueueUnit::bytes, ""});
    tp.ofo_id = k.trace.add_queue({name + " out-of-order queue", QueueKind::other, host,
                                   Catalog::room_of(fn::tcp_data_queue), 0, QueueUnit::packets, ""});
    return sk.queue;
}

void tcp_free_socket(Kernel& k, SocketIndex index)
{
    Socket& sk = k.socket(index);
    TcpSock& tp = tcp_sk(k, index);
    tp.in_use = false;
    tp.dead = true;
    sk.in_use = false;
    if (sk.sk_wmem_alloc > 0) {
        return; // packets of it are still with a device: sk_free() when the last of them comes back
    }
    // The rows keep what is in them until they are taken again: callers may still look at the state.
    k.w.tcp.free_socks.push_back(sk.tcp);
    k.w.free_sockets.push_back(index);
}

void tcp_done(Kernel& k, SocketIndex index)
{
    Call call(k, fn::tcp_done);
    TcpSock& tp = tcp_sk(k, index);
    if (tp.state == TcpState::syn_sent || tp.state == TcpState::syn_recv) {
        k.count(k.sock_net(index), Mib::Tcp_AttemptFails, PacketId::none);
    }
    tcp_set_state(k, index, TcpState::close);
    inet_csk_clear_xmit_timer(k, index);
    tp.delack_timer = tp.keepalive_timer = tp.compressed_ack_timer = 0;
    tp.ack.pending = 0;
    tp.shutdown = SHUTDOWN_MASK;
    if (!tp.dead) {
        tcp_state_change(k, index, PacketId::none);
    } else {
        inet_csk_destroy_sock(k, index);
    }
}

void tcp_state_change(Kernel& k, SocketIndex index, PacketId cause)
{
    // sock_def_wakeup(): whoever waits for anything
    Socket& sk = k.socket(index);
    wake_up(k, std::exchange(sk.sleeping_sender, nothing), cause);
    wake_up(k, std::exchange(sk.waiting_task, nothing), cause);
}

// ---- the lock and the backlog ----------------------------------------------------------------------------------------------------

BhLock::BhLock(Kernel& k, SocketIndex sk) : kernel(k), row(static_cast<std::size_t>(k.socket(sk).tcp))
{
    k.cpu().now = std::max(k.cpu().now, k.w.tcp.socks[row].unlocked);
}

BhLock::~BhLock() { kernel.w.tcp.socks[row].unlocked = kernel.cpu().now; }

void tcp_lock_sock(Kernel& k, SocketIndex index)
{
    TcpSock& tp = tcp_sk(k, index);
    k.cpu().now = std::max(k.cpu().now, tp.unlocked);
    tp.owned = true;
}

/// The CPU of an emulated machine may stand still while its task holds a socket: what the others receive for it waits in its backlog.
void tcp_steal_time(Kernel& k)
{
    if (const Duration steal = k.cpu().task == nothing ? 0_ns : k.task(k.cpu().task).tcp.steal;
        steal > 0_ns) {
        k.stand_still(steal);
    }
}

namespace {

void __release_sock(Kernel& k, SocketIndex index)
{
    Call call(k, fn::__release_sock);
    TcpSock& tp = tcp_sk(k, index);
    while (!tp.backlog.empty()) {
        const SkbIndex skb = tp.backlog.front();
        tp.backlog.pop_front();
        k.cpu().now =
            std::max(k.cpu().now, k.skb(skb).visible_from); // put there by a CPU whose clock is ahead
        k.dequeue(tp.backlog_id, k.skb(skb).packet, fn::__release_sock);
        tcp_v4_do_rcv(k, index, skb); // sk_backlog_rcv()
    }
    tp.backlog_len = 0; // only now: the sum counts for the limit while they are worked off
}

} // namespace

void tcp_release_sock(Kernel& k, SocketIndex index)
{
    Call call(k, fn::release_sock);
    if (!tcp_sk(k, index).backlog.empty()) {
        __release_sock(k, index);
    }
    tcp_release_cb(k, index);
    TcpSock& tp = tcp_sk(k, index);
    tp.owned = false;
    tp.unlocked = k.cpu().now;
}

// ---- send -----------------------------------------------------------------------------------------------------------------------

namespace {

SkbIndex born_here(Kernel& k, std::uint32_t size, FunctionId by)
{
    PacketRecord record;
    record.host = k.host().id;
    record.sent_here = true;
    record.birth = k.cpu().now;
    record.birth_function = by;
    const PacketId packet = k.trace.add_packet(record);
    k.emit(EventKind::birth, packet, by);
    const SkbIndex skb = __alloc_skb(k, packet, size);
    k.skb(skb).mine = true;
    return skb;
}

std::uint32_t tcp_bound_to_half_wnd(const TcpSock& tp, std::uint32_t pktsize)
{
    const std::uint32_t cutoff = tp.max_window > TCP_MSS_DEFAULT ? tp.max_window >> 1 : tp.max_window;
    return cutoff != 0 && pktsize > cutoff ? std::max(cutoff, 68U - tp.tcp_header_len) : pktsize;
}

bool device_can_gso(Kernel&, SocketIndex)
{
    return true; // GSO is on for every device: what the hardware lacks is done in validate_xmit_skb()
}

/// tcp_send_mss(): the segment size, and how much one skb should hold.
std::uint32_t tcp_send_mss(Kernel& k, SocketIndex index, std::uint32_t& size_goal)
{
    TcpSock& tp = tcp_sk(k, index);
    const std::uint32_t mss_now = tcp_current_mss(k, index);
    size_goal = mss_now;
    if (device_can_gso(k, index)) {
        // 6.1: sk_gso_max_size as it is; 5.10: less the headers.
        const std::uint32_t most = tcp_bound_to_half_wnd(tp, tp.gso_max_size - 1 - MAX_TCP_HEADER);
        size_goal = std::max(most / mss_now, 1U) * mss_now;
    }
    return mss_now;
}

bool forced_push(const TcpSock& tp)
{
    return after(tp.write_seq, tp.pushed_seq + (tp.max_window >> 1));
}

void tcp_mark_push(Kernel& k, TcpSock& tp, SkbIndex skb)
{
    tcp_cb(k, skb).flags |= tcphdr::psh;
    tp.pushed_seq = tp.write_seq;
}

void tcp_skb_entail(Kernel& k, SocketIndex index, SkbIndex skb)
{
    TcpSock& tp = tcp_sk(k, index);
    TcpCb& cb = tcp_cb(k, skb);
    cb.seq = cb.end_seq = tp.write_seq;
    cb.flags = tcphdr::ack;
    tp.write_queue.push_back(skb);
    k.enqueue(tp.write_queue_id, k.skb(skb).packet, fn::tcp_sendmsg_locked);
    tp.sk_wmem_queued += k.skb(skb).truesize;
    sk_mem_charge(k, index, k.skb(skb).truesize);
}

/// What one turn of the copy loop can take: up to the end of the page fragment (skb_page_frag_refill()).
std::uint32_t page_room(TcpSock& tp, SkBuff& skb, bool& new_fragment)
{
    new_fragment = skb.nr_frags == 0;
    if (tp.page_frag_left == 0) {
        tp.page_frag_left = SKB_FRAG_PAGE_SIZE;
        new_fragment = true;
    }
    return tp.page_frag_left;
}

void append_payload(Kernel& k, SocketIndex index, SkbIndex skb, std::span<const std::uint8_t> bytes,
                    bool new_fragment)
{
    TcpSock& tp = tcp_sk(k, index);
    SkBuff& buff = k.skb(skb);
    auto& head = buff.head.writable();
    head.resize(std::max<std::size_t>(head.size(), buff.tail + bytes.size()));
    std::ranges::copy(bytes, head.begin() + buff.tail);
    const auto count = static_cast<std::uint32_t>(bytes.size());
    k.field(skb, SkbField::len, buff.len, buff.len + count);
    k.field(skb, SkbField::data_len, buff.data_len, buff.data_len + count);
    k.field(skb, SkbField::truesize, buff.truesize, buff.truesize + count);
    buff.tail += count;
    buff.len += count;
    buff.data_len += count;
    buff.truesize += count;
    buff.nr_frags += new_fragment ? 1 : 0;
    tp.page_frag_left -= count;
    tp.sk_wmem_queued += count;
    sk_mem_charge(k, index, count);
    k.spend(k.costs().copy(count));
}

void tcp_remove_empty_skb(Kernel& k, SocketIndex index)
{
    TcpSock& tp = tcp_sk(k, index);
    if (tp.write_queue.empty()) {
        return;
    }
    const SkbIndex skb = tp.write_queue.back();
    if (tcp_cb(k, skb).seq != tcp_cb(k, skb).end_seq) {
        return;
    }
    tp.write_queue.pop_back();
    k.dequeue(tp.write_queue_id, k.skb(skb).packet, fn::tcp_sendmsg_locked);
    tcp_wmem_free_skb(k, index, skb, fn::tcp_sendmsg_locked);
}

int tcp_sendmsg_locked(Kernel& k, SocketIndex index, std::span<const std::uint8_t> payload)
{
    Call call(k, fn::tcp_sendmsg_locked);
    TcpSock& tp = tcp_sk(k, index);
    if (!tcp_in_state(tp, {TcpState::established, TcpState::close_wait})) {
        return tp.state == TcpState::syn_sent ? EAGAIN_ : EPIPE_;
    }
    std::uint32_t size_goal = 0;
    std::uint32_t mss_now = tcp_send_mss(k, index, size_goal);
    if (tp.sk_err != 0 || (tp.shutdown & SEND_SHUTDOWN) != 0) {
        return tp.sk_err != 0 ? -std::exchange(tp.sk_err, 0) : EPIPE_;
    }
    std::size_t copied = 0;
    while (copied < payload.size()) {
        SkbIndex skb = tp.write_queue.empty() ? nothing : tp.write_queue.back();
        std::int64_t copy = skb == nothing ? 0 : std::int64_t{size_goal} - tcp_skb_payload(k, skb);
        bool no_room = false;
        if (copy <= 0) {
            if (!tcp_stream_memory_free(k.socket(index), tp)) {
                no_room = true;
            } else {
                skb = tcp_stream_alloc_skb(k, index);
                tcp_skb_entail(k, index, skb);
                copy = size_goal;
            }
        }
        if (no_room) {
            // wait_for_space
            tp.nospace = true;
            tcp_remove_empty_skb(k, index);
            if (copied > 0) {
                tcp_push(k, index, mss_now, TCP_NAGLE_PUSH, size_goal);
            }
            Call wait(k, fn::sk_stream_wait_memory);
            break; // a non-blocking caller: EAGAIN
        }
        bool new_fragment = false;
        copy = std::min<std::int64_t>({copy, static_cast<std::int64_t>(payload.size() - copied),
                                       page_room(tp, k.skb(skb), new_fragment)});
        append_payload(k, index, skb, payload.subspan(copied, static_cast<std::size_t>(copy)), new_fragment);
        TcpCb& cb = tcp_cb(k, skb);
        if (copied == 0) {
            cb.flags &= static_cast<std::uint8_t>(~tcphdr::psh);
        }
        tp.write_seq += static_cast<std::uint32_t>(copy);
        cb.end_seq += static_cast<std::uint32_t>(copy);
        cb.segs = 0;
        copied += static_cast<std::size_t>(copy);
        if (copied == payload.size() || tcp_skb_payload(k, skb) < size_goal) {
            continue;
        }
        if (forced_push(tp)) {
            tcp_mark_push(k, tp, skb);
            __tcp_push_pending_frames(k, index, mss_now, TCP_NAGLE_PUSH);
        } else if (!tp.write_queue.empty() && skb == tp.write_queue.front()) {
            tcp_push_one(k, index, mss_now);
        }
        k.interleave(); // the other CPUs go on: what they receive for this socket waits in its backlog
    }
    if (copied == 0) {
        return EAGAIN_;
    }
    tcp_push(k, index, mss_now, tp.nonagle_off ? TCP_NAGLE_OFF : TCP_NAGLE_ON, size_goal);
    return static_cast<int>(copied);
}

bool tcp_should_autocork(Kernel& k, SocketIndex index, SkbIndex skb, std::uint32_t size_goal)
{
    const TcpSock& tp = tcp_sk(k, index);
    return tcp_skb_payload(k, skb) < size_goal && tcp_sysctl(k, index).tcp_autocorking != 0 &&
           !tp.rtx_queue.empty() &&
           k.socket(index).sk_wmem_alloc + 1 > k.skb(skb).truesize; // the counter of references starts at one
}

} // namespace

bool tcp_stream_memory_free(const Socket& sk, const TcpSock& tp)
{
    return tp.sk_wmem_queued < sk.sk_sndbuf;
}

/// No flow yet: what waits in the socket is payload without a header. The clone that goes down gets both.
SkbIndex tcp_stream_alloc_skb(Kernel& k, SocketIndex)
{
    const FunctionId by = fn::tcp_stream_alloc_skb;
    Call call(k, by);
    const SkbIndex skb = born_here(k, MAX_TCP_HEADER, by);
    k.skb(skb).fclone = true;
    skb_reserve(k, skb, MAX_TCP_HEADER);
    return skb;
}

SkbIndex tcp_alloc_control_skb(Kernel& k)
{
    const SkbIndex skb = born_here(k, MAX_TCP_HEADER, fn::__alloc_skb);
    skb_reserve(k, skb, MAX_TCP_HEADER);
    return skb;
}

void tcp_wmem_free_skb(Kernel& k, SocketIndex index, SkbIndex skb, FunctionId by)
{
    free_tx_skb_accounting(k, index, skb);
    __kfree_skb(k, skb, Verdict::consumed, by);
}

void tcp_write_queue_purge(Kernel& k, SocketIndex index)
{
    for (auto queue : {&TcpSock::write_queue, &TcpSock::rtx_queue}) {
        while (!(tcp_sk(k, index).*queue).empty()) {
            TcpSock& tp = tcp_sk(k, index);
            const SkbIndex skb = (tp.*queue).front();
            (tp.*queue).pop_front();
            k.dequeue(tp.write_queue_id, k.skb(skb).packet, fn::tcp_done);
            tcp_wmem_free_skb(k, index, skb, fn::tcp_done);
        }
    }
    TcpSock& tp = tcp_sk(k, index);
    tp.packets_out = tp.sacked_out = tp.lost_out = tp.retrans_out = 0;
}

void tcp_push(Kernel& k, SocketIndex index, std::uint32_t mss_now, int nonagle, std::uint32_t size_goal)
{
    Call call(k, fn::tcp_push);
    TcpSock& tp = tcp_sk(k, index);
    if (tp.write_queue.empty()) {
        return;
    }
    const SkbIndex skb = tp.write_queue.back();
    tcp_mark_push(k, tp, skb); // no MSG_MORE
    if (tcp_should_autocork(k, index, skb, size_goal)) {
        if (!tp.tsq_throttled) {
            k.count(k.sock_net(index), Mib::TcpExt_TCPAutoCorking, PacketId::none);
            tp.tsq_throttled = true;
        }
        if (k.socket(index).sk_wmem_alloc > k.skb(skb).truesize) {
            return; // its turn comes when the packets before it have left the device
        }
    }
    __tcp_push_pending_frames(k, index, mss_now, nonagle);
}

int tcp_sendmsg(Kernel& k, SocketIndex index, std::span<const std::uint8_t> payload, std::uint64_t)
{
    Call call(k, fn::tcp_sendmsg);
    tcp_lock_sock(k, index);
    const int result = tcp_sendmsg_locked(k, index, payload);
    tcp_steal_time(k);
    tcp_release_sock(k, index);
    return result;
}

// ---- receive --------------------------------------------------------------------------------------------------------------------

namespace {

void tcp_cleanup_rbuf(Kernel& k, SocketIndex index, std::uint32_t copied)
{
    Call call(k, fn::tcp_cleanup_rbuf);
    TcpSock& tp = tcp_sk(k, index);
    bool time_to_ack = false;
    if (inet_csk_ack_scheduled(tp)) {
        const bool pingpong = tp.ack.pingpong >= 1;
        const bool drained = copied > 0 && k.socket(index).sk_rmem_alloc == 0 &&
                             ((tp.ack.pending & ICSK_ACK_PUSHED2) != 0 ||
                              ((tp.ack.pending & ICSK_ACK_PUSHED) != 0 && !pingpong));
        time_to_ack = tp.rcv_nxt - tp.rcv_wup > tp.ack.rcv_mss || drained;
    }
    if (copied > 0 && !time_to_ack && (tp.shutdown & RCV_SHUTDOWN) == 0) {
        const std::uint32_t now = tcp_receive_window(tp);
        if (2 * now <= tp.window_clamp) {
            const std::uint32_t fresh = __tcp_select_window(k, index);
            time_to_ack = fresh != 0 && fresh >= 2 * now;
        }
    }
    if (time_to_ack) {
        tcp_send_ack(k, index);
    }
}

void tcp_eat_recv_skb(Kernel& k, SocketIndex index, SkbIndex skb)
{
    Socket& sk = k.socket(index);
    sk.receive_queue.pop_front();
    k.dequeue(sk.queue, k.skb(skb).packet, fn::tcp_recvmsg_locked);
    if (k.profile() == Profile::v5_10) {
        __kfree_skb(k, skb, Verdict::delivered, fn::tcp_recvmsg);
        return;
    }
    sock_rfree(k, skb);
    skb_attempt_defer_free(k, skb);
}

int tcp_recvmsg_locked(Kernel& k, SocketIndex index, std::uint32_t limit, std::vector<std::uint8_t>& out)
{
    Call call(k, fn::tcp_recvmsg_locked);
    TcpSock& tp = tcp_sk(k, index);
    if (tp.state == TcpState::listen) {
        return ENOTCONN_;
    }
    std::uint32_t copied = 0;
    int error = 0;
    while (copied < limit) {
        Socket& sk = k.socket(index);
        if (sk.receive_queue.empty()) {
            if (copied > 0) {
                break; // the applications here read without waiting (!timeo): the backlog is left to release_sock()
            }
            if (tp.done || (tp.shutdown & RCV_SHUTDOWN) != 0) {
                break;
            }
            error = tp.sk_err != 0                ? -std::exchange(tp.sk_err, 0)
                    : tp.state == TcpState::close ? ENOTCONN_
                                                  : EAGAIN_;
            break;
        }
        const SkbIndex skb = sk.receive_queue.front();
        k.cpu().now = std::max(k.cpu().now, k.skb(skb).visible_from);
        const std::uint32_t offset = tp.copied_seq - tcp_cb(k, skb).seq;
        const bool has_fin = (tcp_cb(k, skb).flags & tcphdr::fin) != 0;
        const std::uint32_t length = k.skb(skb).len;
        if (offset < length) {
            const std::uint32_t used = std::min(length - offset, limit - copied);
            {
                Call copy(k, fn::skb_copy_datagram_iter, skb);
                const auto bytes = skb_data(k, skb).subspan(offset, used);
                out.insert(out.end(), bytes.begin(), bytes.end());
                k.spend(k.costs().copy(used));
            }
            tp.copied_seq += used;
            copied += used;
            tcp_rcv_space_adjust(k, index);
            k.interleave();
            if (used + offset < length) {
                continue;
            }
        }
        if (has_fin) {
            ++tp.copied_seq;
        }
        tcp_eat_recv_skb(k, index, skb);
        if (has_fin) {
            break;
        }
    }
    tcp_cleanup_rbuf(k, index, copied);
    return copied > 0 ? static_cast<int>(copied) : error;
}

} // namespace

int tcp_recvmsg(Kernel& k, SocketIndex index, std::uint32_t limit, std::vector<std::uint8_t>& out)
{
    Call call(k, fn::tcp_recvmsg);
    tcp_lock_sock(k, index);
    const int result = tcp_recvmsg_locked(k, index, limit, out);
    tcp_steal_time(k);
    tcp_release_sock(k, index);
    return result;
}

// ---- close -----------------------------------------------------------------------------------------------------------------------

namespace {

/// tcp_close_state(): true: a FIN is due.
bool tcp_close_state(Kernel& k, SocketIndex index)
{
    switch (tcp_sk(k, index).state) {
    case TcpState::established:
    case TcpState::syn_recv: tcp_set_state(k, index, TcpState::fin_wait1); return true;
    case TcpState::close_wait: tcp_set_state(k, index, TcpState::last_ack); return true;
    case TcpState::syn_sent: tcp_set_state(k, index, TcpState::close); return false;
    default: return false;
    }
}

std::uint32_t tcp_fin_time(Kernel& k, SocketIndex index)
{
    const std::uint32_t rto = tcp_sk(k, index).rto;
    return std::max(static_cast<std::uint32_t>(tcp_sysctl(k, index).tcp_fin_timeout) * TCP_HZ,
                    (rto << 2) - (rto >> 1));
}

void __tcp_close(Kernel& k, SocketIndex index)
{
    Call call(k, fn::__tcp_close);
    TcpSock& tp = tcp_sk(k, index);
    tp.shutdown = SHUTDOWN_MASK;
    if (tp.state == TcpState::listen) {
        tcp_set_state(k, index, TcpState::close);
        inet_csk_listen_stop(k, index);
    } else {
        bool data_was_unread = false;
        while (!k.socket(index).receive_queue.empty()) {
            const SkbIndex skb = k.socket(index).receive_queue.front();
            k.socket(index).receive_queue.pop_front();
            k.cpu().now = std::max(k.cpu().now, k.skb(skb).visible_from);
            k.dequeue(k.socket(index).queue, k.skb(skb).packet, fn::__tcp_close);
            const std::uint32_t end =
                tcp_cb(k, skb).end_seq - ((tcp_cb(k, skb).flags & tcphdr::fin) != 0 ? 1 : 0);
            data_was_unread = data_was_unread || after(end, tp.copied_seq);
            __kfree_skb(k, skb, Verdict::delivered, fn::__tcp_close);
        }
        if (tp.state == TcpState::close) {
        } else if (data_was_unread) {
            k.count(k.sock_net(index), Mib::TcpExt_TCPAbortOnClose, PacketId::none);
            tcp_set_state(k, index, TcpState::close);
            tcp_send_active_reset(k, index);
        } else if (tcp_close_state(k, index)) {
            tcp_send_fin(k, index);
        }
    }
    k.interleave(); // what the other CPUs receive for this socket still waits in its backlog
    tcp_steal_time(k);
    // adjudge_to_death
    const TcpState state = tp.state;
    tp.dead = true;
    k.socket(index).waiting_task = k.socket(index).sleeping_sender = nothing;
    __release_sock(k, index);
    if (!tp.in_use || (state != TcpState::close && tp.state == TcpState::close)) {
        return; // the backlog has finished it
    }
    if (tp.state == TcpState::fin_wait2) {
        const std::uint32_t tmo = tcp_fin_time(k, index);
        if (tmo > TCP_TIMEWAIT_LEN) {
            tcp_reset_keepalive_timer(k, index, tmo - TCP_TIMEWAIT_LEN);
        } else {
            tcp_time_wait(k, index, TcpState::fin_wait2, tmo);
            return;
        }
    }
    if (tp.state == TcpState::close) {
        inet_csk_destroy_sock(k, index);
    }
}

} // namespace

void tcp_close(Kernel& k, SocketIndex index)
{
    Call call(k, fn::tcp_close);
    const std::int32_t row = k.socket(index).tcp;
    tcp_lock_sock(k, index);
    __tcp_close(k, index);
    // The socket may be gone with its last reference.
    if (k.socket(index).in_use && k.socket(index).tcp == row && tcp_sk(k, index).in_use) {
        tcp_release_sock(k, index);
    } else {
        Call release(k, fn::release_sock);
        Call callback(k, fn::tcp_release_cb);
    }
}

} // namespace skbscope::kernel
