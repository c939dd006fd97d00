// net/ipv6/reassembly.c: fragments of received IPv6 datagrams wait for each other here.

#include "core/catalog/catalog.h"
#include "core/kernel/inet_fragment.h"
#include "core/kernel/ipv6.h"
#include "core/packet/bytes.h"
#include "core/packet/protocols.h"
#include "core/packet/views.h"

#include <algorithm>

namespace skbscope::kernel {

namespace {

constexpr std::uint32_t ipv6_header = 40, frag_header = 8;
constexpr std::uint32_t IPV6_MAXPLEN = 65535;
constexpr std::uint8_t ICMPV6_HDR_INCOMP = 3;
constexpr std::uint16_t IP6_OFFSET = 0xfff8, IP6_MF = 1;
constexpr std::int64_t qsize = 184; // sizeof(struct frag_queue), computed from its members

Frag6Queue& queue_of(Kernel& k, std::int32_t row) { return k.w.frag6_queues[static_cast<std::size_t>(row)]; }

void frag_mem(Kernel& k, const Frag6Queue& queue, std::int64_t by) { k.net(queue.key.net).ipv6.frag_mem += by; }

DropReasonId since_6_12(Kernel& k, DropReasonId reason)
{
    return k.profile() >= Profile::v6_12 ? reason : drop::NOT_SPECIFIED;
}

// ---- the queues --------------------------------------------------------------------------------------------------------------

std::int32_t inet_frag_create(Kernel& k, const Frag6Key& key)
{
    const auto found = std::ranges::find(k.w.frag6_queues, false, &Frag6Queue::in_use);
    const auto row = static_cast<std::int32_t>(found - k.w.frag6_queues.begin());
    if (found == k.w.frag6_queues.end()) {
        k.w.frag6_queues.emplace_back();
    }
    Frag6Queue& queue = queue_of(k, row);
    const QueueId shown = queue.queue;
    queue = Frag6Queue{};
    queue.key = key;
    queue.in_use = true;
    queue.queue = shown != QueueId::none ? shown
                                         : k.trace.add_queue({"reassembly (IPv6) " + std::to_string(row), QueueKind::other, k.host().id,
                                                              Catalog::room_of(fn::ipv6_frag_rcv), 0, QueueUnit::packets,
                                                              "net.ipv6.ip6frag_high_thresh"});
    frag_mem(k, queue, qsize);
    const Duration timeout{k.net(key.net).sysctl.ip6frag_time * 1'000'000'000};
    queue.timer = mod_timer(k, TimerKind::ip6_frag_expire, k.cpu_row, row, k.cpu().now + timeout);
    return row;
}

/// fq_find(): nothing: too much memory is in use.
std::int32_t fq_find(Kernel& k, SkbIndex skb, std::uint32_t id)
{
    Call call(k, fn::inet_frag_find, k.skb(skb).packet);
    const Ipv6View ip = Ipv6View::unchecked(skb_network(k, skb));
    Frag6Key key{ip.source(), ip.destination(), id, nothing, k.skb_net(skb)};
    if (ipv6_addr_is_multicast(key.daddr) || ipv6_addr_is_linklocal(key.daddr)) {
        key.iif = k.skb(skb).device;
    }
    const Net& net = k.net(key.net);
    if (net.sysctl.ip6frag_high_thresh == 0 || net.ipv6.frag_mem > net.sysctl.ip6frag_high_thresh) {
        return nothing;
    }
    for (std::size_t row = 0; row < k.w.frag6_queues.size(); ++row) {
        if (k.w.frag6_queues[row].in_use && k.w.frag6_queues[row].key == key) {
            return static_cast<std::int32_t>(row);
        }
    }
    return inet_frag_create(k, key);
}

void forget(Kernel& k, Frag6Queue& queue)
{
    frag_mem(k, queue, -qsize);
    queue.timer = 0;
    queue.in_use = false;
    queue.pieces.clear();
}

void leave_queue(Kernel& k, const Frag6Queue& queue, SkbIndex skb)
{
    k.dequeue(queue.queue, k.skb(skb).packet, fn::ipv6_frag_rcv);
    frag_mem(k, queue, -static_cast<std::int64_t>(k.skb(skb).truesize));
}

/// inet_frag_kill() and, as nobody else holds it, inet_frag_destroy()
void inet_frag_kill(Kernel& k, Frag6Queue& queue, DropReasonId reason)
{
    queue.flags |= Frag6Queue::COMPLETE;
    for (const FragPiece& piece : std::vector<FragPiece>(queue.pieces)) {
        leave_queue(k, queue, piece.skb);
        kfree_skb_reason(k, piece.skb, reason, fn::inet_frag_destroy);
    }
    forget(k, queue);
}

// ---- the pieces --------------------------------------------------------------------------------------------------------------

/// Of the first fragment: it does not hold all headers up to the one of the transport (RFC 8200, 4.5).
bool ipv6frag_thdr_truncated(std::span<const std::uint8_t> packet)
{
    std::uint8_t nexthdr = packet[6];
    std::size_t offset = ipv6_header;
    const auto is_extension = [](std::uint8_t header) { return header == 0 || header == 43 || header == 44 || header == 51 || header == 60 || header == 59; };
    while (is_extension(nexthdr)) {
        if (nexthdr == 59 || packet.size() < offset + 8) {
            return false; // ipv6_skip_exthdr() says -1
        }
        if (nexthdr == 44 && (load_be16(&packet[offset + 2]) & IP6_OFFSET) != 0) {
            return false;
        }
        const std::size_t length = nexthdr == 44 ? 8 : nexthdr == 51 ? (packet[offset + 1] + 2U) * 4 : (packet[offset + 1] + 1U) * 8;
        nexthdr = packet[offset];
        offset += length;
    }
    const std::size_t transport = nexthdr == proto::ipproto_tcp ? 20 : nexthdr == proto::ipproto_udp || nexthdr == proto::ipproto_icmpv6 ? 8 : 1;
    return offset + transport > packet.size();
}

/// The fragment header goes out: what is in front of it moves up, and the header before names what follows.
void take_out_fragment_header(Kernel& k, SkbIndex skb, std::uint16_t nhoff, std::uint32_t at)
{
    SkBuff& buff = k.skb(skb);
    std::vector<std::uint8_t>& bytes = buff.head.writable();
    const auto network = bytes.begin() + buff.network_header;
    network[nhoff] = network[at];
    std::copy_backward(bytes.begin(), network + at, network + at + frag_header);
    if (buff.mac_header != header_unset) {
        buff.mac_header = static_cast<std::uint16_t>(buff.mac_header + frag_header);
    }
    buff.network_header = static_cast<std::uint16_t>(buff.network_header + frag_header);
    buff.transport_header = static_cast<std::uint16_t>(buff.data);
}

/// 1: the skb is the whole datagram; -1: the queue and all in it are gone.
int ip6_frag_reasm(Kernel& k, Frag6Queue& queue, SkbIndex skb, DeviceIndex device)
{
    const NetIndex net = queue.key.net;
    const PacketId packet = k.skb(skb).packet;
    const int ecn = ip_frag_ecn(queue.ecn);
    const SkBuff& first = k.skb(queue.pieces.front().skb);
    const std::uint32_t at = first.transport_header - first.network_header; // of the fragment header, in the first piece
    const std::uint32_t payload_length = first.data - first.network_header - ipv6_header + queue.len - frag_header;
    if (ecn < 0 || payload_length > IPV6_MAXPLEN) {
        k.count(net, Mib::Ip6ReasmFails, packet);
        inet_frag_kill(k, queue, drop::NOT_SPECIFIED); // the one that came last is among them
        return -1;
    }
    for (const FragPiece& piece : queue.pieces) {
        leave_queue(k, queue, piece.skb);
    }
    inet_frag_reasm_prepare(k, queue.pieces, skb, fn::ipv6_frag_rcv);
    take_out_fragment_header(k, skb, queue.nhoffset, at);
    const std::uint32_t headers = k.skb(skb).data - k.skb(skb).network_header;
    inet_frag_reasm_finish(k, queue.pieces, skb, fn::ipv6_frag_rcv);
    skb_pull(k, skb, headers); // what follows is looked at from the transport header on
    SkBuff& whole = k.skb(skb);
    whole.device = device;
    whole.checksum_verified = false;
    whole.ip6cb.nhoff = queue.nhoffset;
    whole.ip6cb.frag_max_size = queue.max_size;
    const auto header = skb_network_writable(k, skb);
    store_be16(&header[4], static_cast<std::uint16_t>(payload_length));
    header[1] = static_cast<std::uint8_t>(header[1] | ecn << 4); // ipv6_change_dsfield()
    k.trace.mutable_packet(whole.packet).length = payload_length + ipv6_header;
    k.count(net, Mib::Ip6ReasmOKs, packet);
    forget(k, queue);
    return 1;
}

/// What became of a fragment: ipv6_frag_rcv()'s result, and where its header is wrong (the skb is the caller's then).
struct Queued {
    int result = -1;
    std::uint32_t problem = 0;
};

Queued ip6_frag_queue(Kernel& k, std::int32_t row, SkbIndex skb, std::uint32_t at)
{
    Frag6Queue& queue = queue_of(k, row);
    const NetIndex net = queue.key.net;
    const PacketId packet = k.skb(skb).packet;
    const auto bytes = skb_network(k, skb);
    const std::uint16_t field = load_be16(&bytes[at + 2]);
    const std::uint32_t offset = field & IP6_OFFSET;
    const std::uint32_t before = at + frag_header - ipv6_header; // between the IPv6 header and the piece
    const std::uint32_t end = offset + load_be16(&bytes[4]) - before;
    const auto ecn = static_cast<std::uint8_t>(1U << (bytes[1] >> 4 & 3));
    const auto discard = [&] {
        inet_frag_kill(k, queue, drop::NOT_SPECIFIED);
        k.count(net, Mib::Ip6ReasmFails, packet);
        kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::ipv6_frag_rcv);
        return Queued{};
    };
    if (end > IPV6_MAXPLEN) {
        return {-1, at + 2};
    }
    if ((field & IP6_MF) == 0) {
        if (end < queue.len || ((queue.flags & Frag6Queue::LAST_IN) != 0 && end != queue.len)) {
            return discard();
        }
        queue.flags |= Frag6Queue::LAST_IN;
        queue.len = end;
    } else {
        if ((end & 7) != 0) {
            return {-1, 4}; // the payload length
        }
        if (end > queue.len) {
            if ((queue.flags & Frag6Queue::LAST_IN) != 0) {
                return discard();
            }
            queue.len = end;
        }
    }
    const std::uint32_t pull = k.skb(skb).network_header + at + frag_header - k.skb(skb).data;
    if (end == offset || pull > k.skb(skb).len) {
        return discard();
    }
    skb_pull(k, skb, pull);
    skb_trim(k, skb, end - offset);
    const DeviceIndex device = k.skb(skb).device;
    switch (inet_frag_queue_insert(k, queue.pieces, skb, offset, end)) {
    case FragInserted::ok: break;
    case FragInserted::duplicate: kfree_skb_reason(k, skb, since_6_12(k, drop::DUP_FRAG), fn::ipv6_frag_rcv); return {};
    case FragInserted::overlap: return discard();
    }
    k.enqueue(queue.queue, packet, fn::ipv6_frag_rcv);
    k.skb(skb).visible_from = k.cpu().now + 1_ns;
    queue.iif = device;
    queue.meat += k.skb(skb).len;
    queue.ecn |= ecn;
    frag_mem(k, queue, k.skb(skb).truesize);
    queue.max_size = std::max(queue.max_size, k.skb(skb).data - k.skb(skb).network_header + k.skb(skb).len);
    if (offset == 0) {
        queue.nhoffset = k.skb(skb).ip6cb.nhoff;
        queue.flags |= Frag6Queue::FIRST_IN;
    }
    if (queue.flags == (Frag6Queue::FIRST_IN | Frag6Queue::LAST_IN) && queue.meat == queue.len) {
        const Destination route = k.skb(skb).dst;
        const int result = ip6_frag_reasm(k, queue, skb, device);
        if (result > 0) {
            k.skb(skb).dst = route;
        }
        return {result, 0};
    }
    k.skb(skb).dst = {};
    return {};
}

/// icmpv6_param_prob()
int param_prob(Kernel& k, SkbIndex skb, std::uint8_t code, std::uint32_t at)
{
    k.count(k.skb_net(skb), Mib::Ip6InHdrErrors, k.skb(skb).packet);
    icmp6_send(k, skb, ICMPV6_PARAMPROB, code, at);
    kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::ipv6_frag_rcv);
    return -1;
}

} // namespace

int ipv6_frag_rcv(Kernel& k, SkbIndex skb)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::ipv6_frag_rcv, packet);
    const NetIndex net = k.skb_net(skb);
    const auto at = static_cast<std::uint32_t>(k.skb(skb).transport_header - k.skb(skb).network_header);
    if (k.skb(skb).ip6cb.frag_max_size != 0) { // IP6SKB_FRAGMENTED: a fragment within a fragment
        return param_prob(k, skb, ICMPV6_HDR_FIELD, at);
    }
    k.count(net, Mib::Ip6ReasmReqds, packet);
    const auto header = skb_network(k, skb);
    if (Ipv6View::unchecked(header).payload_length() == 0 || header.size() < at + frag_header) {
        return param_prob(k, skb, ICMPV6_HDR_FIELD, at);
    }
    if ((load_be16(header.data() + at + 2) & (IP6_OFFSET | IP6_MF)) == 0) { // a fragment that is the whole
        set_transport_header(k, skb, at + frag_header);
        k.count(net, Mib::Ip6ReasmOKs, packet);
        k.skb(skb).ip6cb.nhoff = static_cast<std::uint16_t>(at);
        k.skb(skb).ip6cb.frag_max_size = Ipv6View::unchecked(header).payload_length() + ipv6_header;
        return 1;
    }
    if (ipv6frag_thdr_truncated(header)) {
        return param_prob(k, skb, ICMPV6_HDR_INCOMP, 0);
    }
    const std::int32_t row = fq_find(k, skb, load_be32(header.data() + at + 4));
    if (row == nothing) {
        k.count(net, Mib::Ip6ReasmFails, packet);
        kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::ipv6_frag_rcv);
        return -1;
    }
    queue_of(k, row).iif = k.skb(skb).device;
    inet_frag_lock(k, queue_of(k, row).pieces);
    const Queued queued = ip6_frag_queue(k, row, skb, at);
    return queued.problem != 0 ? param_prob(k, skb, ICMPV6_HDR_FIELD, queued.problem) : queued.result;
}

void ip6_frag_expire(Kernel& k, std::int32_t row, std::uint64_t generation)
{
    if (!queue_of(k, row).in_use || queue_of(k, row).timer != generation) {
        return;
    }
    Frag6Queue& queue = queue_of(k, row);
    inet_frag_lock(k, queue.pieces);
    const NetIndex net = queue.key.net;
    const PacketId cause = queue.pieces.empty() ? PacketId::none : k.skb(queue.pieces.front().skb).packet;
    const DropReasonId reason = since_6_12(k, drop::FRAG_REASM_TIMEOUT);
    queue.flags |= Frag6Queue::COMPLETE;
    k.count(net, Mib::Ip6ReasmFails, cause);
    k.count(net, Mib::Ip6ReasmTimeout, cause);
    if ((queue.flags & Frag6Queue::FIRST_IN) != 0 && !queue.pieces.empty()) {
        const SkbIndex head = queue.pieces.front().skb;
        leave_queue(k, queue, head);
        queue.pieces.erase(queue.pieces.begin());
        set_device(k, head, queue.iif);
        icmp6_send(k, head, ICMPV6_TIME_EXCEED, ICMPV6_EXC_FRAGTIME, 0);
        kfree_skb_reason(k, head, reason, fn::ipv6_frag_rcv);
    }
    inet_frag_kill(k, queue_of(k, row), reason);
}

} // namespace skbscope::kernel
