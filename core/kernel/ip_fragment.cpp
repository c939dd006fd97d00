// net/ipv4/ip_fragment.c: fragments of received datagrams wait for each other here; and the
// cutting of ip_output.c (ip_do_fragment).

#include "core/catalog/catalog.h"
#include "core/kernel/functions.h"
#include "core/kernel/inet_fragment.h"
#include "core/packet/build.h"
#include "core/packet/protocols.h"
#include "core/packet/views.h"

#include <algorithm>

namespace skbscope::kernel {

namespace {

constexpr std::int64_t qsize = 200; // sizeof(struct ipq), computed from its members
constexpr std::uint32_t hh_len = 16;

FragQueue& queue_of(Kernel& k, std::int32_t row) { return k.w.frag_queues[static_cast<std::size_t>(row)]; }

void frag_mem(Kernel& k, NetIndex net, std::int64_t by) { k.net(net).ipv4.frag_mem += by; }

DropReasonId since_6_12(Kernel& k, DropReasonId reason)
{
    return k.profile() >= Profile::v6_12 ? reason : drop::NOT_SPECIFIED;
}

// ---- the queues -----------------------------------------------------------------------------------------------------------------

std::int32_t inet_frag_create(Kernel& k, const FragKey& key)
{
    std::int32_t row = 0;
    while (row < static_cast<std::int32_t>(k.w.frag_queues.size()) && queue_of(k, row).in_use) {
        ++row;
    }
    if (row == static_cast<std::int32_t>(k.w.frag_queues.size())) {
        k.w.frag_queues.emplace_back();
    }
    FragQueue& queue = queue_of(k, row);
    const QueueId shown = queue.queue;
    queue = FragQueue{};
    queue.key = key;
    queue.in_use = true;
    queue.queue = shown != QueueId::none ? shown
                                         : k.trace.add_queue({"reassembly " + std::to_string(row), QueueKind::other, k.host().id,
                                                              Catalog::room_of(fn::ip_defrag), 0, QueueUnit::packets,
                                                              "net.ipv4.ipfrag_high_thresh"});
    frag_mem(k, key.net, qsize);
    const Duration timeout{k.net(key.net).sysctl.ipfrag_time * 1'000'000'000};
    queue.timer = mod_timer(k, TimerKind::ip_expire, k.cpu_row, row, k.cpu().now + timeout);
    return row;
}

/// nothing: too much memory is in use.
std::int32_t inet_frag_find(Kernel& k, const FragKey& key, PacketId packet)
{
    Call call(k, fn::inet_frag_find, packet);
    const Net& net = k.net(key.net);
    if (net.sysctl.ipfrag_high_thresh == 0 || net.ipv4.frag_mem > net.sysctl.ipfrag_high_thresh) {
        return nothing;
    }
    for (std::size_t row = 0; row < k.w.frag_queues.size(); ++row) {
        if (k.w.frag_queues[row].in_use && k.w.frag_queues[row].key == key) {
            return static_cast<std::int32_t>(row);
        }
    }
    return inet_frag_create(k, key);
}

std::int32_t ip_find(Kernel& k, SkbIndex skb, std::uint32_t user)
{
    Call call(k, fn::ip_find, skb);
    const Ipv4View ip = Ipv4View::unchecked(skb_network(k, skb));
    return inet_frag_find(k, {ip.saddr(), ip.daddr(), user, ip.id(), ip.protocol(), k.skb_net(skb)}, k.skb(skb).packet);
}

/// The last one out of the queue: its row is free again.
void forget(Kernel& k, FragQueue& queue)
{
    frag_mem(k, queue.key.net, -qsize);
    queue.timer = 0;
    queue.in_use = false;
    queue.pieces.clear();
}

void leave_queue(Kernel& k, const FragQueue& queue, SkbIndex skb)
{
    k.dequeue(queue.queue, k.skb(skb).packet, fn::ip_frag_queue);
    frag_mem(k, queue.key.net, -static_cast<std::int64_t>(k.skb(skb).truesize));
}

/// inet_frag_rbtree_purge()
void purge(Kernel& k, FragQueue& queue, DropReasonId reason, FunctionId by)
{
    for (const FragPiece& piece : queue.pieces) {
        leave_queue(k, queue, piece.skb);
        kfree_skb_reason(k, piece.skb, reason, by);
    }
    queue.pieces.clear();
}

/// inet_frag_kill() and, as nobody else holds it, inet_frag_destroy()
void inet_frag_kill(Kernel& k, FragQueue& queue, DropReasonId reason)
{
    queue.flags |= FragQueue::COMPLETE;
    purge(k, queue, reason, fn::inet_frag_destroy);
    forget(k, queue);
}

/// net.ipv4.ipfrag_max_dist: so many other fragments of this source came in between that the identifier may be used again.
bool ip_frag_too_far(Kernel& k, FragQueue& queue, SkbIndex skb)
{
    Call call(k, fn::ip_frag_too_far, skb);
    const std::int64_t most = k.net(queue.key.net).sysctl.ipfrag_max_dist;
    if (most == 0) {
        return false;
    }
    InetPeer& peer = inet_getpeer_v4(k, queue.key.net, queue.key.saddr);
    const std::uint32_t start = queue.rid;
    queue.rid = ++peer.rid;
    const bool too_far = !queue.pieces.empty() && queue.rid - start > most;
    if (too_far) {
        k.count(queue.key.net, Mib::Ip_ReasmFails, k.skb(skb).packet);
    }
    return too_far;
}

void ip_frag_reinit(Kernel& k, std::int32_t row)
{
    FragQueue& queue = queue_of(k, row);
    const Duration timeout{k.net(queue.key.net).sysctl.ipfrag_time * 1'000'000'000};
    purge(k, queue, since_6_12(k, drop::FRAG_TOO_FAR), fn::ip_frag_reinit);
    queue.timer = mod_timer(k, TimerKind::ip_expire, k.cpu_row, row, k.cpu().now + timeout);
    queue.flags = 0;
    queue.len = queue.meat = 0;
    queue.ecn = 0;
    queue.iif = nothing;
}

int ip_frag_reasm(Kernel& k, FragQueue& queue, SkbIndex skb, DeviceIndex device)
{
    Call call(k, fn::ip_frag_reasm, skb);
    const NetIndex net = queue.key.net;
    const PacketId packet = k.skb(skb).packet;
    const int ecn = ip_frag_ecn(queue.ecn);
    const std::uint32_t length = static_cast<std::uint32_t>(k.skb(queue.pieces.front().skb).data - k.skb(queue.pieces.front().skb).network_header) + queue.len;
    if (ecn < 0 || length > 0xffff) {
        k.count(net, Mib::Ip_ReasmFails, packet);
        inet_frag_kill(k, queue, drop::NOT_SPECIFIED); // the one that came last is among them
        return -EINVAL;
    }
    for (const FragPiece& piece : queue.pieces) {
        leave_queue(k, queue, piece.skb);
    }
    inet_frag_reasm_prepare(k, queue.pieces, skb, fn::ip_frag_reasm);
    inet_frag_reasm_finish(k, queue.pieces, skb, fn::ip_frag_reasm);
    SkBuff& whole = k.skb(skb);
    whole.device = device;
    whole.checksum_verified = false;
    whole.ipcb.frag_max_size = static_cast<std::uint16_t>(std::max(queue.max_df_size, queue.max_size));
    const auto header = skb_network_writable(k, skb);
    const MutableIpv4View ip = MutableIpv4View::unchecked(header);
    ip.set_total_length(static_cast<std::uint16_t>(length));
    ip.set_tos(static_cast<std::uint8_t>(ip.tos() | ecn));
    const bool df = queue.max_df_size == queue.max_size;
    if (df) {
        whole.ipcb.flags |= Ipcb::FRAG_PMTU;
    }
    ip.set_fragment(df, false, 0);
    fill_ipv4_checksum(header.first(ip.header_length()));
    k.trace.mutable_packet(whole.packet).length = length;
    k.count(net, Mib::Ip_ReasmOKs, packet);
    forget(k, queue);
    return 0;
}

/// 0: the skb is the whole datagram.
int ip_frag_queue(Kernel& k, std::int32_t row, SkbIndex skb)
{
    Call call(k, fn::ip_frag_queue, skb);
    const NetIndex net = queue_of(k, row).key.net;
    const PacketId packet = k.skb(skb).packet;
    if ((k.skb(skb).ipcb.flags & Ipcb::FRAG_COMPLETE) == 0 && ip_frag_too_far(k, queue_of(k, row), skb)) {
        ip_frag_reinit(k, row);
    }
    FragQueue& queue = queue_of(k, row);
    const auto discard = [&] { // those that waited go last, when ip_defrag() gives the queue back (ipq_put)
        k.count(net, Mib::Ip_ReasmFails, packet);
        kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::ip_frag_queue);
        inet_frag_kill(k, queue, drop::NOT_SPECIFIED);
        return -EINVAL;
    };
    const Ipv4View ip = Ipv4View::unchecked(skb_network(k, skb));
    const auto header = static_cast<std::uint32_t>(ip.header_length());
    const auto offset = static_cast<std::uint32_t>(ip.fragment_offset());
    const bool df = ip.dont_fragment();
    const auto ecn = static_cast<std::uint8_t>(1U << (ip.tos() & 3));
    const std::uint32_t behind = k.skb(skb).data - k.skb(skb).network_header;
    std::uint32_t end = offset + k.skb(skb).len + behind - header;
    if (!ip.more_fragments()) {
        if (end < queue.len || ((queue.flags & FragQueue::LAST_IN) != 0 && end != queue.len)) {
            return discard();
        }
        queue.flags |= FragQueue::LAST_IN;
        queue.len = end;
    } else {
        end &= ~7U;
        if (end > queue.len) {
            if ((queue.flags & FragQueue::LAST_IN) != 0) {
                return discard();
            }
            queue.len = end;
        }
    }
    if (end == offset) {
        return discard();
    }
    skb_pull(k, skb, header - behind);
    skb_trim(k, skb, end - offset);
    const DeviceIndex device = k.skb(skb).device;
    switch (inet_frag_queue_insert(k, queue.pieces, skb, offset, end)) {
    case FragInserted::ok: break;
    case FragInserted::duplicate: kfree_skb_reason(k, skb, since_6_12(k, drop::DUP_FRAG), fn::ip_frag_queue); return -EINVAL;
    case FragInserted::overlap: k.count(net, Mib::IpExt_ReasmOverlaps, packet); return discard();
    }
    k.enqueue(queue.queue, packet, fn::ip_frag_queue);
    k.skb(skb).visible_from = k.cpu().now + 1_ns;
    queue.iif = device;
    queue.meat += k.skb(skb).len;
    queue.ecn |= ecn;
    frag_mem(k, net, k.skb(skb).truesize);
    if (offset == 0) {
        queue.flags |= FragQueue::FIRST_IN;
    }
    const std::uint32_t size = k.skb(skb).len + header;
    queue.max_size = std::max(queue.max_size, size);
    if (df) {
        queue.max_df_size = std::max(queue.max_df_size, size);
    }
    if (queue.flags == (FragQueue::FIRST_IN | FragQueue::LAST_IN) && queue.meat == queue.len) {
        const Destination route = k.skb(skb).dst;
        const int error = ip_frag_reasm(k, queue, skb, device);
        if (error == 0) {
            k.skb(skb).dst = route;
        }
        return error;
    }
    k.skb(skb).dst = {};
    skb_orphan(k, skb);
    return -EINPROGRESS;
}

} // namespace

int ip_defrag(Kernel& k, SkbIndex skb, std::uint32_t user)
{
    Call call(k, fn::ip_defrag, skb);
    const NetIndex net = k.skb_net(skb);
    k.count(net, Mib::Ip_ReasmReqds, k.skb(skb).packet);
    const std::int32_t row = ip_find(k, skb, user);
    if (row != nothing) {
        inet_frag_lock(k, queue_of(k, row).pieces);
        return ip_frag_queue(k, row, skb);
    }
    k.count(net, Mib::Ip_ReasmFails, k.skb(skb).packet);
    kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::ip_defrag);
    return -ENOMEM;
}

void ip_expire(Kernel& k, std::int32_t row, std::uint64_t generation)
{
    if (!queue_of(k, row).in_use || queue_of(k, row).timer != generation) {
        return;
    }
    Call call(k, fn::ip_expire);
    FragQueue& queue = queue_of(k, row);
    inet_frag_lock(k, queue.pieces);
    const NetIndex net = queue.key.net;
    const PacketId cause = queue.pieces.empty() ? PacketId::none : k.skb(queue.pieces.front().skb).packet;
    const DropReasonId reason = since_6_12(k, drop::FRAG_REASM_TIMEOUT);
    k.count(net, Mib::Ip_ReasmFails, cause);
    k.count(net, Mib::Ip_ReasmTimeout, cause);
    if ((queue.flags & FragQueue::FIRST_IN) != 0 && !queue.pieces.empty()) {
        // The first fragment says whose datagram it was: its sender is told.
        const SkbIndex head = queue.pieces.front().skb;
        leave_queue(k, queue, head);
        queue.pieces.erase(queue.pieces.begin());
        const Ipv4View ip = Ipv4View::unchecked(skb_network(k, head));
        set_device(k, head, queue.iif);
        const bool conntrack = queue.key.user != IP_DEFRAG_LOCAL_DELIVER;
        const bool routed = ip_route_input_noref(k, head, ip.daddr(), ip.saddr(), queue.iif) == 0;
        if (routed && (!conntrack || k.skb(head).dst.type == RouteType::local)) {
            icmp_send(k, head, ICMP_TIME_EXCEEDED, ICMP_EXC_FRAGTIME, 0);
        }
        kfree_skb_reason(k, head, reason, fn::ip_expire);
    }
    inet_frag_kill(k, queue_of(k, row), reason);
}

// ---- cutting ----------------------------------------------------------------------------------------------------------------------

namespace {

void set_fragment_header(Kernel& k, SkbIndex skb, std::uint32_t length, bool df, bool more, std::uint32_t offset)
{
    const auto bytes = skb_network_writable(k, skb);
    const MutableIpv4View ip = MutableIpv4View::unchecked(bytes);
    ip.set_total_length(static_cast<std::uint16_t>(length));
    ip.set_fragment(df, more, offset);
    fill_ipv4_checksum(bytes.first(ip.header_length()));
}

void ip_copy_metadata(Kernel& k, SkbIndex to, SkbIndex from)
{
    const SkBuff& source = k.skb(from);
    SkBuff& copy = k.skb(to);
    copy.pkt_type = source.pkt_type;
    copy.priority = source.priority;
    copy.protocol = source.protocol;
    copy.hash = source.hash;
    copy.dst = source.dst;
    copy.device = source.device;
    copy.ipcb.flags = source.ipcb.flags;
    k.trace.mutable_packet(copy.packet).device = k.trace.packet(source.packet).device;
    k.trace.mutable_packet(copy.packet).flow = k.trace.packet(source.packet).flow;
}

/// __ip_append_data() has cut it already, and nothing has changed the pieces since.
bool has_good_pieces(Kernel& k, SkbIndex skb, std::uint32_t header, std::uint32_t room)
{
    const SkBuff& head = k.skb(skb);
    const std::uint32_t first = head.tail - head.data;
    if (head.frag_list.empty() || first - header > room || ((first - header) & 7U) != 0 ||
        Ipv4View::unchecked(skb_network(k, skb)).is_fragment() || head.data < hh_len) {
        return false;
    }
    return std::ranges::all_of(head.frag_list, [&](SkbIndex piece) {
        const bool last = piece == head.frag_list.back();
        return k.skb(piece).len <= room && (last || (k.skb(piece).len & 7U) == 0) && k.skb(piece).data >= header + hh_len;
    });
}

int send_pieces(Kernel& k, SkbIndex skb, std::uint32_t header, int (*output)(Kernel&, SkbIndex))
{
    const NetIndex net = k.dev_net(k.skb(skb).dst.device);
    const PacketId packet = k.skb(skb).packet;
    std::vector<SkbIndex> rest = std::exchange(k.skb(skb).frag_list, {});
    for (const SkbIndex piece : rest) { // the memory goes back to its pieces
        k.skb(piece).sk = k.skb(skb).sk;
        k.skb(piece).destructor = SkBuff::Destructor::sock_wfree;
        k.skb(skb).truesize -= k.skb(piece).truesize;
    }
    {
        Call init(k, fn::ip_fraglist_init, skb);
        SkBuff& first = k.skb(skb);
        const std::uint32_t length = first.tail - first.data;
        k.field(skb, SkbField::len, first.len, length);
        k.field(skb, SkbField::data_len, first.data_len, 0);
        first.len = length;
        first.data_len = 0;
        set_fragment_header(k, skb, length, false, true, 0);
        Call check(k, fn::ip_send_check, skb);
    }
    std::uint32_t offset = 0;
    SkbIndex current = skb;
    for (std::size_t next = 0;; ++next) {
        const std::uint32_t sent = k.skb(current).len - header;
        const SkbIndex following = next < rest.size() ? rest[next] : nothing;
        if (following != nothing) {
            Call prepare(k, fn::ip_fraglist_prepare, current);
            k.skb(following).ip_summed = IpSummed::none;
            const auto from = skb_network(k, current).first(header);
            const std::vector<std::uint8_t> copy(from.begin(), from.end());
            std::ranges::copy(copy, skb_push(k, following, header));
            set_network_header(k, following);
            set_transport_header(k, following, header);
            ip_copy_metadata(k, following, current);
            offset += sent;
            set_fragment_header(k, following, k.skb(following).len, false, next + 1 < rest.size(), offset);
            Call check(k, fn::ip_send_check, current);
        }
        const int error = output(k, current);
        if (error != 0) {
            for (std::size_t left = next; left < rest.size(); ++left) {
                kfree_skb_reason(k, rest[left], drop::NOT_SPECIFIED, fn::ip_do_fragment);
            }
            k.count(net, Mib::Ip_FragFails, packet);
            return error;
        }
        k.count(net, Mib::Ip_FragCreates, packet);
        if (following == nothing) {
            k.count(net, Mib::Ip_FragOKs, packet);
            return 0;
        }
        current = following;
    }
}

struct FragState {
    bool df, not_last_frag;
    std::uint32_t header, room, left, at, offset;
};

SkbIndex ip_frag_next(Kernel& k, SkbIndex skb, FragState& state)
{
    Call call(k, fn::ip_frag_next, skb);
    std::uint32_t length = std::min(state.left, state.room);
    if (length < state.left) {
        length &= ~7U;
    }
    PacketRecord record;
    record.host = k.host().id;
    record.parent = k.skb(skb).packet;
    record.relation = Relation::split;
    record.birth = k.cpu().now;
    record.birth_function = fn::ip_frag_next;
    record.sent_here = k.trace.packet(k.skb(skb).packet).sent_here;
    const PacketId packet = k.trace.add_packet(record);
    k.emit(EventKind::birth, packet, fn::ip_frag_next);
    const SkbIndex piece = __alloc_skb(k, packet, length + state.header + hh_len);
    k.skb(piece).mine = k.skb(skb).mine;
    ip_copy_metadata(k, piece, skb);
    skb_reserve(k, piece, hh_len);
    std::uint8_t* bytes = skb_put(k, piece, length + state.header);
    set_network_header(k, piece);
    set_transport_header(k, piece, state.header);
    if (k.skb(skb).sk != nothing) {
        k.skb(piece).sk = k.skb(skb).sk;
        k.skb(piece).destructor = SkBuff::Destructor::sock_wfree;
        k.socket(k.skb(piece).sk).sk_wmem_alloc += k.skb(piece).truesize;
    }
    const auto whole = skb_linear_copy(k, skb);
    std::copy_n(whole.begin(), state.header, bytes);
    std::copy_n(whole.begin() + state.at, length, bytes + state.header);
    k.spend(k.costs().copy(length));
    state.left -= length;
    set_fragment_header(k, piece, length + state.header, state.df, state.left > 0 || state.not_last_frag, state.offset);
    state.at += length;
    state.offset += length;
    Call check(k, fn::ip_send_check, skb);
    return piece;
}

} // namespace

std::vector<std::uint8_t> skb_linear_copy(Kernel& k, SkbIndex skb)
{
    const auto own = skb_network(k, skb);
    std::vector<std::uint8_t> bytes(own.begin(), own.end());
    for (const SkbIndex piece : k.skb(skb).frag_list) {
        const auto more = skb_data(k, piece);
        bytes.insert(bytes.end(), more.begin(), more.end());
    }
    return bytes;
}

int ip_do_fragment(Kernel& k, SkbIndex skb, int (*output)(Kernel&, SkbIndex))
{
    Call call(k, fn::ip_do_fragment, skb);
    const NetIndex net = k.dev_net(k.skb(skb).dst.device);
    const PacketId packet = k.skb(skb).packet;
    const auto failed = [&](int error) {
        kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::ip_do_fragment);
        k.count(net, Mib::Ip_FragFails, packet);
        return error;
    };
    if (k.skb(skb).ip_summed == IpSummed::partial) {
        Call help(k, fn::skb_checksum_help, skb);
        finish_checksum(k, skb);
    }
    const Ipv4View ip = Ipv4View::unchecked(skb_network(k, skb));
    const auto header = static_cast<std::uint32_t>(ip.header_length());
    std::uint32_t mtu = dst_mtu(k, k.skb(skb).dst);
    if (const std::uint32_t seen = k.skb(skb).ipcb.frag_max_size; seen != 0 && seen < mtu) {
        mtu = seen;
    }
    if (mtu < header + 8) {
        return failed(-EMSGSIZE);
    }
    k.skb(skb).ipcb.flags |= Ipcb::FRAG_COMPLETE;
    if (has_good_pieces(k, skb, header, mtu - header)) {
        return send_pieces(k, skb, header, output);
    }
    FragState state{(k.skb(skb).ipcb.flags & Ipcb::FRAG_PMTU) != 0,
                    ip.more_fragments(),
                    header,
                    mtu - header,
                    k.skb(skb).len - header,
                    header,
                    static_cast<std::uint32_t>(ip.fragment_offset())};
    while (state.left > 0) {
        const SkbIndex piece = ip_frag_next(k, skb, state);
        if (const int error = output(k, piece); error != 0) {
            return failed(error);
        }
        k.count(net, Mib::Ip_FragCreates, packet);
    }
    k.verdict(packet, Verdict::split, fn::ip_do_fragment);
    consume_skb(k, skb, fn::ip_do_fragment);
    k.count(net, Mib::Ip_FragOKs, packet);
    return 0;
}

} // namespace skbscope::kernel
