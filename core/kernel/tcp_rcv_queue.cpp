// Of net/ipv4/tcp_input.c: received data: the receive queue, the out-of-order queue, the SACK and DSACK blocks that report them,
// pruning, and the FIN that ends the stream.

#include "core/kernel/skb_coalesce.h"
#include "core/kernel/tcp_input.h"

#include <utility>

namespace skbscope::kernel {

namespace {

void tcp_dsack_extend(Kernel& k, SocketIndex index, std::uint32_t start, std::uint32_t end)
{
    TcpSock& tp = tcp_sk(k, index);
    if (!tp.rx_opt.dsack) {
        tcp_dsack_set(k, index, start, end);
        return;
    }
    TcpSackBlock& block = tp.duplicate_sack;
    if (!after(start, block.end) && !after(block.start, end)) {
        block.start = before(start, block.start) ? start : block.start;
        block.end = after(end, block.end) ? end : block.end;
    }
}

bool tcp_sack_extend(TcpSackBlock& block, std::uint32_t start, std::uint32_t end)
{
    if (after(start, block.end) || after(block.start, end)) {
        return false;
    }
    block.start = before(start, block.start) ? start : block.start;
    block.end = after(end, block.end) ? end : block.end;
    return true;
}

void tcp_sack_new_ofo_skb(Kernel& k, SocketIndex index, std::uint32_t seq, std::uint32_t end)
{
    constexpr std::uint8_t TCP_SACK_BLOCKS_EXPECTED =
        2; // more: what was held back goes first, or blocks would be lost
    TcpSock& tp = tcp_sk(k, index);
    auto& blocks = tp.selective_acks;
    std::uint8_t& count = tp.rx_opt.num_sacks;
    for (std::uint8_t at = 0; at < count; ++at) {
        if (!tcp_sack_extend(blocks[at], seq, end)) {
            continue;
        }
        if (at >= TCP_SACK_BLOCKS_EXPECTED) {
            tcp_sack_compress_send_ack(k, index);
        }
        std::rotate(blocks.begin(), blocks.begin() + at, blocks.begin() + at + 1); // the newest first
        for (std::uint8_t other = 1; other < count;) { // tcp_sack_maybe_coalesce()
            if (tcp_sack_extend(blocks[0], blocks[other].start, blocks[other].end)) {
                std::move(blocks.begin() + other + 1, blocks.begin() + count, blocks.begin() + other);
                --count;
            } else {
                ++other;
            }
        }
        return;
    }
    if (count >= TCP_SACK_BLOCKS_EXPECTED) {
        tcp_sack_compress_send_ack(k, index);
    }
    count = static_cast<std::uint8_t>(std::min<int>(count + 1, 4));
    std::move_backward(blocks.begin(), blocks.begin() + count - 1, blocks.begin() + count);
    blocks[0] = {seq, end};
}

void tcp_sack_remove(TcpSock& tp)
{
    if (tp.ofo_queue.empty()) {
        tp.rx_opt.num_sacks = 0;
        return;
    }
    std::uint8_t kept = 0;
    for (std::uint8_t at = 0; at < tp.rx_opt.num_sacks; ++at) {
        if (before(tp.rcv_nxt, tp.selective_acks[at].start)) {
            tp.selective_acks[kept++] = tp.selective_acks[at];
        }
    }
    tp.rx_opt.num_sacks = kept;
}

bool tcp_try_coalesce(Kernel& k, SocketIndex index, SkbIndex to, SkbIndex from, bool& stolen)
{
    Call call(k, fn::tcp_try_coalesce, from);
    stolen = false;
    if (tcp_cb(k, from).seq != tcp_cb(k, to).end_seq) {
        return false;
    }
    std::uint32_t delta = 0;
    if (!skb_try_coalesce(k, to, from, stolen, delta)) {
        return false;
    }
    Socket& sk = k.socket(index);
    k.skb(to).visible_from = std::max(k.skb(to).visible_from, k.cpu().now + 1_ns);
    k.queue_fill(sk.queue, sk.sk_rmem_alloc, sk.sk_rmem_alloc + delta);
    sk.sk_rmem_alloc += delta;
    sk_mem_charge(k, index, delta);
    k.count(k.sock_net(index), Mib::TcpExt_TCPRcvCoalesce, k.skb(from).packet);
    TcpCb& a = tcp_cb(k, to);
    a.end_seq = tcp_cb(k, from).end_seq;
    a.ack_seq = tcp_cb(k, from).ack_seq;
    a.flags |= tcp_cb(k, from).flags;
    return true;
}

void tcp_rcv_nxt_update(TcpSock& tp, std::uint32_t seq)
{
    tp.bytes_received += seq - tp.rcv_nxt;
    tp.rcv_nxt = seq;
}

bool tcp_prune_ofo_queue(Kernel& k, SocketIndex index)
{
    Call call(k, fn::tcp_prune_ofo_queue);
    TcpSock& tp = tcp_sk(k, index);
    if (tp.ofo_queue.empty()) {
        return false;
    }
    k.count(k.sock_net(index), Mib::TcpExt_OfoPruned, PacketId::none);
    std::int64_t goal = k.socket(index).sk_rcvbuf >> 3;
    while (!tp.ofo_queue.empty()) {
        const SkbIndex skb = tp.ofo_queue.back();
        tp.ofo_queue.pop_back();
        goal -= k.skb(skb).truesize;
        k.dequeue(tp.ofo_id, k.skb(skb).packet, fn::tcp_prune_ofo_queue);
        tcp_drop_reason(k, index, skb, drop::TCP_OFO_QUEUE_PRUNE, fn::tcp_prune_ofo_queue);
        if (goal <= 0) {
            if (k.socket(index).sk_rmem_alloc <= k.socket(index).sk_rcvbuf) {
                break;
            }
            goal = k.socket(index).sk_rcvbuf >> 3;
        }
    }
    tp.rx_opt.num_sacks = 0; // reneging is allowed, and the peer must not count on what is gone
    return true;
}

void tcp_clamp_window(Kernel& k, SocketIndex index)
{
    TcpSock& tp = tcp_sk(k, index);
    Socket& sk = k.socket(index);
    tp.ack.quick = 0;
    const auto rmem2 = static_cast<std::uint32_t>(tcp_sysctl(k, index).tcp_rmem_max);
    if (sk.sk_rcvbuf < rmem2 && !tp.rcvbuf_locked) {
        const std::uint32_t before_buf = sk.sk_rcvbuf;
        sk.sk_rcvbuf = std::max(sk.sk_rcvbuf, std::min(sk.sk_rmem_alloc, rmem2));
        if (before_buf != sk.sk_rcvbuf) {
            k.emit(EventKind::queue, PacketId::none, fn::tcp_prune_queue,
                   k.trace.add_queue_change({QueueChange::What::limit, sk.queue, before_buf, sk.sk_rcvbuf}));
        }
    }
    if (sk.sk_rmem_alloc > sk.sk_rcvbuf) {
        tp.rcv_ssthresh = std::min(tp.window_clamp, 2 * tp.advmss);
    }
}

/// The receive buffer is full. (The kernel also copies half-empty skbs together, tcp_collapse(); the model does not.)
bool tcp_prune_queue(Kernel& k, SocketIndex index)
{
    Call call(k, fn::tcp_prune_queue);
    k.count(k.sock_net(index), Mib::TcpExt_PruneCalled, PacketId::none);
    const auto fits = [&] { return k.socket(index).sk_rmem_alloc <= k.socket(index).sk_rcvbuf; };
    if (!fits()) {
        tcp_clamp_window(k, index);
    }
    if (fits()) {
        return true;
    }
    tcp_prune_ofo_queue(k, index);
    if (fits()) {
        return true;
    }
    k.count(k.sock_net(index), Mib::TcpExt_RcvPruned, PacketId::none);
    tcp_sk(k, index).pred_flags = 0;
    return false;
}

/// False: no memory for it. The global limit tcp_mem is not modelled.
bool tcp_try_rmem_schedule(Kernel& k, SocketIndex index)
{
    const Socket& sk = k.socket(index);
    return sk.sk_rmem_alloc <= sk.sk_rcvbuf || tcp_prune_queue(k, index);
}

void tcp_fin(Kernel& k, SocketIndex index, PacketId packet)
{
    Call call(k, fn::tcp_fin, packet);
    TcpSock& tp = tcp_sk(k, index);
    inet_csk_schedule_ack(tp);
    tp.shutdown |= RCV_SHUTDOWN;
    tp.done = true;
    switch (tp.state) {
    case TcpState::syn_recv:
    case TcpState::established:
        tcp_set_state(k, index, TcpState::close_wait);
        tp.ack.pingpong = 1; // inet_csk_enter_pingpong_mode()
        break;
    case TcpState::fin_wait1:
        tcp_send_ack(k, index);
        tcp_set_state(k, index, TcpState::closing);
        break;
    case TcpState::fin_wait2:
        tcp_send_ack(k, index);
        tcp_time_wait(k, index, TcpState::time_wait, 0);
        break;
    default: break;
    }
    while (!tp.ofo_queue.empty()) { // __skb_queue_purge(): nothing comes behind a FIN
        const SkbIndex skb = tp.ofo_queue.front();
        tp.ofo_queue.pop_front();
        k.dequeue(tp.ofo_id, k.skb(skb).packet, fn::tcp_fin);
        __kfree_skb(k, skb, Verdict::consumed, fn::tcp_fin);
    }
    tp.rx_opt.num_sacks = 0;
    if (tp.in_use && !tp.dead) {
        // sk->sk_state_change: a reader hears of the end of the stream
        Socket& sk = k.socket(index);
        wake_up(k, std::exchange(sk.waiting_task, nothing), PacketId::none);
    }
}

/// What was out of order and is not any more.
void tcp_ofo_queue(Kernel& k, SocketIndex index)
{
    TcpSock& tp = tcp_sk(k, index);
    std::uint32_t dsack_high = tp.rcv_nxt;
    while (!tp.ofo_queue.empty()) {
        const SkbIndex skb = tp.ofo_queue.front();
        TcpCb& cb = tcp_cb(k, skb);
        if (after(cb.seq, tp.rcv_nxt)) {
            break;
        }
        if (before(cb.seq, dsack_high)) {
            const std::uint32_t dsack = dsack_high;
            if (before(cb.end_seq, dsack_high)) {
                dsack_high = cb.end_seq;
            }
            tcp_dsack_extend(k, index, cb.seq, dsack);
        }
        tp.ofo_queue.pop_front();
        const PacketId packet = k.skb(skb).packet;
        k.dequeue(tp.ofo_id, packet, fn::tcp_data_queue);
        if (!after(cb.end_seq, tp.rcv_nxt)) {
            tcp_drop_reason(k, index, skb, drop::TCP_OFO_DROP, fn::tcp_data_queue);
            continue;
        }
        Socket& sk = k.socket(index);
        bool stolen = false;
        const std::uint32_t truesize = k.skb(skb).truesize;
        const bool has_fin = (cb.flags & tcphdr::fin) != 0;
        const std::uint32_t end_seq = cb.end_seq;
        const bool eaten =
            !sk.receive_queue.empty() && tcp_try_coalesce(k, index, sk.receive_queue.back(), skb, stolen);
        (void)truesize;
        tcp_rcv_nxt_update(tp, end_seq);
        k.verdict(packet, Verdict::delivered, fn::tcp_data_queue);
        if (eaten) {
            kfree_skb_partial(k, skb, stolen, fn::tcp_data_queue);
        } else {
            sk.receive_queue.push_back(skb);
            k.skb(skb).visible_from = k.cpu().now + 1_ns;
            k.enqueue(sk.queue, packet, fn::tcp_data_queue);
        }
        if (has_fin) {
            tcp_fin(k, index, packet);
            return;
        }
    }
}

void tcp_data_queue_ofo(Kernel& k, SocketIndex index, SkbIndex skb)
{
    Call call(k, fn::tcp_data_queue_ofo, skb);
    TcpSock& tp = tcp_sk(k, index);
    const NetIndex net = k.sock_net(index);
    const PacketId packet = k.skb(skb).packet;
    if (!tcp_try_rmem_schedule(k, index)) {
        k.count(net, Mib::TcpExt_TCPOFODrop, packet);
        sock_def_readable(k, index, packet);
        tcp_drop_reason(k, index, skb, drop::PROTO_MEM, fn::tcp_data_queue_ofo);
        return;
    }
    tp.pred_flags = 0;
    inet_csk_schedule_ack(tp);
    k.count(net, Mib::TcpExt_TCPOFOQueue, packet);
    const std::uint32_t seq = tcp_cb(k, skb).seq, end_seq = tcp_cb(k, skb).end_seq;
    const auto add_sack = [&] {
        if (tp.rx_opt.sack_ok) {
            tcp_sack_new_ofo_skb(k, index, seq, end_seq);
        }
    };
    if (!tp.ofo_queue.empty()) {
        bool stolen = false;
        const SkbIndex last = tp.ofo_queue.back();
        if (tcp_cb(k, last).end_seq == seq && tcp_try_coalesce(k, index, last, skb, stolen)) {
            if (tp.rx_opt.sack_ok) {
                tcp_grow_window(k, index, skb, true);
            }
            k.verdict(packet, Verdict::delivered, fn::tcp_data_queue_ofo);
            kfree_skb_partial(k, skb, stolen, fn::tcp_data_queue_ofo);
            add_sack();
            return;
        }
    }
    auto place = tp.ofo_queue.begin();
    while (place != tp.ofo_queue.end() && !after(tcp_cb(k, *place).seq, seq)) {
        const TcpCb& other = tcp_cb(k, *place);
        if (before(seq, other.end_seq)) {
            if (!after(end_seq, other.end_seq)) {
                k.count(net, Mib::TcpExt_TCPOFOMerge, packet);
                tcp_dsack_set(k, index, seq, end_seq);
                tcp_drop_reason(k, index, skb, drop::TCP_OFOMERGE, fn::tcp_data_queue_ofo);
                add_sack();
                return;
            }
            if (after(seq, other.seq)) {
                tcp_dsack_set(k, index, seq, other.end_seq);
            } else {
                break; // same start, longer: it takes the other's place below
            }
        }
        ++place;
    }
    auto at = static_cast<std::size_t>(place - tp.ofo_queue.begin());
    tp.ofo_queue.insert(place, skb);
    k.enqueue(tp.ofo_id, packet, fn::tcp_data_queue_ofo);
    while (at + 1 < tp.ofo_queue.size()) { // merge_right
        const SkbIndex next = tp.ofo_queue[at + 1];
        const TcpCb other = tcp_cb(k, next);
        if (!after(end_seq, other.seq)) {
            break;
        }
        if (before(end_seq, other.end_seq)) {
            tcp_dsack_extend(k, index, other.seq, end_seq);
            break;
        }
        tp.ofo_queue.erase(tp.ofo_queue.begin() + static_cast<std::ptrdiff_t>(at) + 1);
        tcp_dsack_extend(k, index, other.seq, other.end_seq);
        k.count(net, Mib::TcpExt_TCPOFOMerge, k.skb(next).packet);
        k.dequeue(tp.ofo_id, k.skb(next).packet, fn::tcp_data_queue_ofo);
        tcp_drop_reason(k, index, next, drop::TCP_OFOMERGE, fn::tcp_data_queue_ofo);
    }
    add_sack();
    if (tp.rx_opt.sack_ok) {
        tcp_grow_window(k, index, skb, false);
    }
    skb_set_owner_r(k, skb, index);
    sk_mem_charge(k, index, k.skb(skb).truesize);
}

} // namespace

void tcp_dsack_set(Kernel& k, SocketIndex index, std::uint32_t start, std::uint32_t end)
{
    TcpSock& tp = tcp_sk(k, index);
    if (!tp.rx_opt.sack_ok || tcp_sysctl(k, index).tcp_dsack == 0) {
        return;
    }
    k.count(k.sock_net(index),
            before(start, tp.rcv_nxt) ? Mib::TcpExt_TCPDSACKOldSent : Mib::TcpExt_TCPDSACKOfoSent,
            PacketId::none);
    tp.rx_opt.dsack = true;
    tp.duplicate_sack = {start, end};
}

bool tcp_queue_rcv(Kernel& k, SocketIndex index, SkbIndex skb, bool& stolen)
{
    Call call(k, fn::tcp_queue_rcv, skb);
    Socket& sk = k.socket(index);
    const bool eaten =
        !sk.receive_queue.empty() && tcp_try_coalesce(k, index, sk.receive_queue.back(), skb, stolen);
    tcp_rcv_nxt_update(tcp_sk(k, index), tcp_cb(k, skb).end_seq);
    const PacketId packet = k.skb(skb).packet;
    if (!eaten) {
        sk.receive_queue.push_back(skb);
        k.skb(skb).visible_from = k.cpu().now + 1_ns;
        k.enqueue(sk.queue, packet, fn::tcp_queue_rcv);
        skb_set_owner_r(k, skb, index);
        sk_mem_charge(k, index, k.skb(skb).truesize);
    }
    k.verdict(packet, Verdict::delivered, fn::tcp_queue_rcv);
    return eaten;
}

void tcp_data_queue(Kernel& k, SocketIndex index, SkbIndex skb)
{
    Call call(k, fn::tcp_data_queue, skb);
    TcpSock& tp = tcp_sk(k, index);
    const NetIndex net = k.sock_net(index);
    const PacketId packet = k.skb(skb).packet;
    const TcpCb cb = tcp_cb(k, skb);
    if (cb.seq == cb.end_seq) {
        __kfree_skb(k, skb, Verdict::consumed, fn::tcp_data_queue);
        return;
    }
    k.skb(skb).dst.valid = false; // tcp_cleanup_skb()
    skb_pull(k, skb, tcp_hdr(k, skb).length());
    tp.rx_opt.dsack = false;
    const auto out_of_window = [&](DropReasonId reason) {
        tcp_enter_quickack_mode(tp, TCP_MAX_QUICKACKS);
        inet_csk_schedule_ack(tp);
        tcp_drop_reason(k, index, skb, reason, fn::tcp_data_queue);
    };
    const bool in_order = cb.seq == tp.rcv_nxt;
    if (in_order && tcp_receive_window(tp) == 0) {
        k.count(net, Mib::TcpExt_TCPZeroWindowDrop, packet);
        out_of_window(drop::TCP_ZEROWINDOW);
        return;
    }
    if (!in_order) {
        if (!after(cb.end_seq, tp.rcv_nxt)) {
            k.count(net, Mib::TcpExt_DelayedACKLost, packet);
            tcp_dsack_set(k, index, cb.seq, cb.end_seq);
            out_of_window(drop::TCP_OLD_DATA);
            return;
        }
        if (!before(cb.seq, tp.rcv_nxt + tcp_receive_window(tp))) {
            out_of_window(drop::TCP_OVERWINDOW);
            return;
        }
        if (!before(cb.seq, tp.rcv_nxt)) {
            tcp_data_queue_ofo(k, index, skb);
            return;
        }
        tcp_dsack_set(k, index, cb.seq, tp.rcv_nxt);
        if (tcp_receive_window(tp) == 0) {
            k.count(net, Mib::TcpExt_TCPZeroWindowDrop, packet);
            out_of_window(drop::TCP_ZEROWINDOW);
            return;
        }
    }
    if (!k.socket(index).receive_queue.empty() && !tcp_try_rmem_schedule(k, index)) {
        k.count(net, Mib::TcpExt_TCPRcvQDrop, packet);
        sock_def_readable(k, index, packet);
        tcp_drop_reason(k, index, skb, drop::PROTO_MEM, fn::tcp_data_queue);
        return;
    }
    bool stolen = false;
    const bool eaten = tcp_queue_rcv(k, index, skb, stolen);
    if (k.skb(skb).len != 0) {
        tcp_event_data_recv(k, index, skb);
    }
    if ((cb.flags & tcphdr::fin) != 0) {
        tcp_fin(k, index, packet);
    }
    if (!tp.ofo_queue.empty()) {
        tcp_ofo_queue(k, index);
        if (tp.ofo_queue.empty()) {
            tp.ack.pending |= ICSK_ACK_NOW; // the gap is filled
        }
    }
    if (tp.rx_opt.num_sacks != 0) {
        tcp_sack_remove(tp);
    }
    tcp_fast_path_check(k, index);
    if (eaten) {
        kfree_skb_partial(k, skb, stolen, fn::tcp_queue_rcv);
    }
    if (tp.in_use && !tp.dead) {
        tcp_data_ready(k, index, packet);
    }
}

void tcp_data_ready(Kernel& k, SocketIndex index, PacketId cause)
{
    Call call(k, fn::tcp_data_ready, cause);
    TcpSock& tp = tcp_sk(k, index);
    const bool epollin =
        static_cast<std::int32_t>(tp.rcv_nxt - tp.copied_seq) >= 1; // tcp_epollin_ready(), SO_RCVLOWAT is 1
    if (epollin || tp.done) {
        sock_def_readable(k, index, cause);
        k.socket(index).waiting_task = nothing;
    }
}

} // namespace skbscope::kernel
