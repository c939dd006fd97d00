// net/packet/af_packet.c: packet sockets as tcpdump opens them. On the receive side a tap gets a reference to the skb itself,
// on the transmit side all taps share one clone. packet_rcv() queues the skb (a clone, where others hold it too) to its
// socket; tpacket_rcv() copies the bytes into a mapped ring and lets the skb go.

#include "core/catalog/catalog.h"
#include "core/kernel/functions.h"

#include <algorithm>
#include <fmt/format.h>

namespace skbscope::kernel {

namespace {

constexpr std::uint32_t TPACKET_ALIGNMENT = 16;
constexpr std::uint32_t TPACKET2_HDRLEN = 52, TPACKET3_HDRLEN = 68; // header, aligned, and a sockaddr_ll
constexpr std::uint32_t V3_ALIGNMENT = 8, BLK_HDR_LEN = 48;
constexpr Duration user_slice{2'000};

constexpr std::uint32_t tpacket_align(std::uint32_t n) { return (n + TPACKET_ALIGNMENT - 1) & ~(TPACKET_ALIGNMENT - 1); }
constexpr std::uint32_t align8(std::uint32_t n) { return (n + V3_ALIGNMENT - 1) & ~(V3_ALIGNMENT - 1); }

PacketSock& sock_of(Kernel& k, std::int32_t tap) { return k.w.packet_socks[static_cast<std::size_t>(tap)]; }

/// skb->data goes to another header and back; the bytes stay where they are.
void set_data(Kernel& k, SkbIndex index, std::uint32_t data)
{
    SkBuff& skb = k.skb(index);
    const std::uint32_t len = skb.len + skb.data - data;
    k.field(index, SkbField::data, skb.data, data);
    k.field(index, SkbField::len, skb.len, len);
    skb.data = data;
    skb.len = len;
}

/// A socket of type SOCK_RAW sees the frame from its link layer header on.
void show_link_header(Kernel& k, SkbIndex skb)
{
    if (k.skb(skb).mac_header != header_unset && k.skb(skb).data > k.skb(skb).mac_header) {
        set_data(k, skb, k.skb(skb).mac_header);
    }
}

std::uint32_t run_filter(Kernel& k, SkbIndex skb, const PacketSock& tap)
{
    Call call(k, fn::run_filter, skb);
    return bpf_prog_run(tap.filter, bpf_packet(k, skb));
}

void count_packet(Kernel& k, PacketSock& tap, PacketId packet)
{
    k.count_other(tap.packets_counter, packet, tap.tp_packets, tap.tp_packets + 1);
    ++tap.tp_packets;
}

void count_drop(Kernel& k, PacketSock& tap, PacketId packet)
{
    k.count_other(tap.drops_counter, packet, tap.tp_drops, tap.tp_drops + 1);
    ++tap.tp_drops;
}

/// The tap has done with the skb, or with its reference to it.
void let_go(Kernel& k, SkbIndex skb, FunctionId by)
{
    k.profile() >= Profile::v6_12 ? sk_skb_reason_drop_consumed(k, skb, by) : consume_skb(k, skb, by);
}

void drop_and_account(Kernel& k, SkbIndex skb, FunctionId by)
{
    kfree_skb_reason(k, skb, k.profile() >= Profile::v6_12 ? drop::PACKET_SOCK_ERROR : drop::NOT_SPECIFIED, by);
}

bool is_shared(Kernel& k, SkbIndex skb) { return k.skb(skb).users > 1; }

void packet_rcv(Kernel& k, SkbIndex skb, std::int32_t row)
{
    Call call(k, fn::packet_rcv, skb, k.skb(skb).len);
    PacketSock& tap = sock_of(k, row);
    if (k.skb_net(skb) != tap.net) {
        let_go(k, skb, fn::packet_rcv); // a tap of all devices, and one of another namespace
        return;
    }
    const std::uint32_t data = k.skb(skb).data;
    show_link_header(k, skb);
    const auto restore = [&] {
        if (is_shared(k, skb)) {
            set_data(k, skb, data);
        }
    };
    const std::uint32_t keep = run_filter(k, skb, tap);
    if (keep == 0) {
        restore();
        let_go(k, skb, fn::packet_rcv);
        return;
    }
    const std::uint32_t snaplen = std::min(keep, k.skb(skb).len);
    // ">=" before adding, unlike UDP's ">".
    if (k.socket(tap.socket).sk_rmem_alloc >= k.socket(tap.socket).sk_rcvbuf) {
        count_drop(k, tap, k.skb(skb).packet);
        ++k.socket(tap.socket).sk_drops;
        restore();
        drop_and_account(k, skb, fn::packet_rcv);
        return;
    }
    if (is_shared(k, skb)) {
        const SkbIndex mine = skb_clone(k, skb, fn::packet_rcv);
        set_data(k, skb, data);
        consume_skb(k, skb, fn::packet_rcv);
        skb = mine;
    }
    skb_trim(k, skb, snaplen);
    skb_set_owner_r(k, skb, tap.socket);
    k.skb(skb).device = nothing;
    skb_dst_drop(k, skb);
    nf_reset_ct(k, skb);
    Socket& sk = k.socket(tap.socket);
    const PacketId packet = k.skb(skb).packet;
    count_packet(k, tap, packet);
    {
        Call tail(k, fn::__skb_queue_tail, skb);
        sk.receive_queue.push_back(skb);
        k.skb(skb).visible_from = k.cpu().now + 1_ns;
        k.enqueue(sk.queue, packet, fn::packet_rcv);
    }
    k.verdict(packet, Verdict::delivered, fn::packet_rcv);
    sock_def_readable(k, tap.socket, packet);
}

// ---- the mapped ring ----------------------------------------------------------------------------------------------------

void set_ring_bytes(Kernel& k, PacketSock& tap, std::uint64_t bytes)
{
    k.queue_fill(tap.queue, tap.ring.bytes, bytes);
    tap.ring.bytes = bytes;
}

void refresh_timer(Kernel& k, std::int32_t row)
{
    PacketRing& ring = sock_of(k, row).ring;
    ring.last_active = ring.active;
    ring.timer = mod_timer(k, TimerKind::packet_ring, k.cpu_row, row, k.cpu().now + ring.retire);
}

void prb_open_block(Kernel& k, std::int32_t row)
{
    PacketRing& ring = sock_of(k, row).ring;
    ring.block_is_users[ring.active] = 0;
    ring.next_offset = BLK_HDR_LEN;
    ring.active_packets = 0;
    ring.frozen = false;
    refresh_timer(k, row);
}

/// prb_close_block(): the program may have it.
void prb_retire_current_block(Kernel& k, std::int32_t row)
{
    PacketSock& tap = sock_of(k, row);
    PacketRing& ring = tap.ring;
    if (ring.block_is_users[ring.active] != 0) {
        return;
    }
    ring.block_is_users[ring.active] = 1;
    for (RingFrame& frame : ring.frames) {
        if (frame.block == ring.active) {
            frame.visible_from = k.cpu().now + 1_ns;
        }
    }
    sock_def_readable(k, tap.socket, PacketId::none);
    ring.active = (ring.active + 1) % ring.block_nr;
}

/// False: the next block is still the program's, and nothing can be recorded until it gives it back.
bool prb_dispatch_next_block(Kernel& k, std::int32_t row)
{
    PacketRing& ring = sock_of(k, row).ring;
    if (ring.block_is_users[ring.active] != 0) {
        ring.frozen = true;
        return false;
    }
    prb_open_block(k, row);
    return true;
}

/// __packet_lookup_frame_in_block()
bool place_in_block(Kernel& k, std::int32_t row, std::uint32_t length)
{
    PacketRing& ring = sock_of(k, row).ring;
    if (ring.frozen) {
        if (ring.block_is_users[ring.active] != 0) {
            return false;
        }
        prb_open_block(k, row);
    }
    if (ring.next_offset + align8(length) >= ring.block_size) {
        prb_retire_current_block(k, row);
        if (!prb_dispatch_next_block(k, row)) {
            return false;
        }
    }
    ring.next_offset += align8(length);
    ++ring.active_packets;
    return true;
}

bool has_room(const PacketSock& tap)
{
    const PacketRing& ring = tap.ring;
    return tap.tp_version == 3 ? ring.block_is_users[ring.active] == 0 : ring.frames.size() < ring.frame_nr;
}

void tpacket_rcv(Kernel& k, SkbIndex skb, std::int32_t row)
{
    Call call(k, fn::tpacket_rcv, skb, k.skb(skb).len);
    PacketSock& tap = sock_of(k, row);
    if (k.skb_net(skb) != tap.net) {
        let_go(k, skb, fn::tpacket_rcv);
        return;
    }
    const std::uint32_t data = k.skb(skb).data;
    const PacketId packet = k.skb(skb).packet;
    show_link_header(k, skb);
    const auto restore = [&] {
        if (is_shared(k, skb)) {
            set_data(k, skb, data);
        }
    };
    const std::uint32_t keep = run_filter(k, skb, tap);
    if (keep == 0 || !has_room(tap)) {
        if (keep != 0) {
            count_drop(k, tap, packet); // flooded: no drop of the packet, the tap alone misses it
        }
        restore();
        let_go(k, skb, fn::tpacket_rcv);
        return;
    }
    std::uint32_t snaplen = std::min(keep, k.skb(skb).len);
    const std::uint32_t maclen = k.skb(skb).network_header - k.skb(skb).data;
    const std::uint32_t hdrlen = tap.tp_version == 3 ? TPACKET3_HDRLEN : TPACKET2_HDRLEN;
    const std::uint32_t macoff = tpacket_align(hdrlen + std::max(maclen, 16U)) + tap.tp_reserve - maclen;
    const std::uint32_t largest = tap.tp_version == 3 ? tap.ring.block_size - BLK_HDR_LEN : tap.ring.frame_size;
    snaplen = std::min(snaplen, largest - std::min(largest, macoff));
    if (tap.tp_version == 3 && !place_in_block(k, row, macoff + snaplen)) {
        count_drop(k, tap, packet);
        sock_def_readable(k, tap.socket, packet);
        restore();
        drop_and_account(k, skb, fn::tpacket_rcv);
        return;
    }
    count_packet(k, tap, packet);
    {
        Call copy(k, fn::skb_copy_bits, skb, snaplen);
        k.spend(k.costs().copy(snaplen));
    }
    {
        Call stamp(k, fn::tpacket_get_timestamp, skb);
    }
    const bool handed_over_at_once = tap.tp_version == 2;
    tap.ring.frames.push_back({snaplen, tap.ring.active, handed_over_at_once ? k.cpu().now + 1_ns : never});
    set_ring_bytes(k, tap, tap.ring.bytes + (handed_over_at_once ? tap.ring.frame_size : align8(macoff + snaplen)));
    if (handed_over_at_once) {
        sock_def_readable(k, tap.socket, packet);
    }
    if (!is_shared(k, skb)) {
        k.verdict(packet, Verdict::delivered, fn::tpacket_rcv); // the ring has its bytes, and nobody else the skb
    }
    restore();
    let_go(k, skb, fn::tpacket_rcv);
}

} // namespace

bool packet_ring_waits(const PacketSock& tap) { return tap.ring.active_packets > 0 && !tap.ring.frozen; }

void prb_retire_rx_blk_timer_expired(Kernel& k, std::int32_t row, std::uint64_t generation)
{
    PacketRing& ring = sock_of(k, row).ring;
    if (ring.timer != generation) {
        return;
    }
    Call call(k, fn::prb_retire_rx_blk_timer_expired);
    if (ring.last_active == ring.active) {
        if (!ring.frozen && ring.active_packets > 0) {
            prb_retire_current_block(k, row);
            if (prb_dispatch_next_block(k, row)) {
                return;
            }
        } else if (ring.frozen && ring.block_is_users[ring.active] == 0) {
            prb_open_block(k, row); // opening it thaws the queue
            return;
        }
    }
    refresh_timer(k, row);
}

// ---- net/core/dev.c: who gets what --------------------------------------------------------------------------------------

void packet_tap(Kernel& k, SkbIndex skb, std::int32_t row)
{
    sock_of(k, row).tp_version == 0 ? packet_rcv(k, skb, row) : tpacket_rcv(k, skb, row);
}

void deliver_skb(Kernel& k, SkbIndex skb, std::int32_t row)
{
    Call call(k, fn::deliver_skb, skb);
    packet_tap(k, skb_get(k, skb), row);
}

std::int32_t deliver_to_taps(Kernel& k, SkbIndex skb)
{
    const NetDevice& device = k.device(k.skb(skb).device);
    const auto& everywhere = k.host_of(device).ptype_all;
    std::int32_t last = nothing;
    for (const auto* taps : {&everywhere, &device.ptype_all}) {
        for (const std::int32_t tap : *taps) {
            if (last != nothing) {
                deliver_skb(k, skb, last);
            }
            last = tap;
        }
    }
    return last;
}

bool dev_nit_active(Kernel& k, DeviceIndex index)
{
    const NetDevice& device = k.device(index);
    return !device.ptype_all.empty() || !k.host_of(device).ptype_all.empty();
}

void dev_queue_xmit_nit(Kernel& k, SkbIndex skb, DeviceIndex index)
{
    Call call(k, fn::dev_queue_xmit_nit, skb, k.skb(skb).len);
    const NetDevice& device = k.device(index);
    const auto& everywhere = k.host_of(device).ptype_all;
    SkbIndex clone = nothing;
    std::int32_t last = nothing;
    for (const auto* taps : {&everywhere, &device.ptype_all}) {
        for (const std::int32_t tap : *taps) {
            if (last != nothing) {
                deliver_skb(k, clone, last);
            } else {
                clone = skb_clone(k, skb, fn::dev_queue_xmit_nit); // one for all of them
                set_mac_header(k, clone);
                k.skb(clone).transport_header = k.skb(clone).network_header;
                k.skb(clone).pkt_type = PktType::outgoing;
            }
            last = tap;
        }
    }
    packet_tap(k, clone, last);
}

// ---- the program that reads ------------------------------------------------------------------------------------------------

namespace {

void open_tap(Kernel& k, std::int32_t row, std::int32_t task)
{
    PacketSock& tap = sock_of(k, row);
    Socket sk;
    sk.kind = SocketKind::packet;
    sk.host = tap.host;
    sk.net = tap.net;
    sk.in_use = true;
    sk.sk_rcvbuf = static_cast<std::uint32_t>(tap.rcvbuf >= 0 ? tap.rcvbuf : k.core_sysctl().rmem_default);
    const std::string& name = k.task(task).name;
    const std::string where = tap.device == nothing ? "any" : k.device(tap.device).name;
    const RoomId room = Catalog::room_of(tap.tp_version == 0 ? fn::packet_rcv : fn::tpacket_rcv);
    const bool ring = tap.tp_version != 0;
    const std::uint64_t limit = tap.tp_version == 2   ? std::uint64_t{tap.ring.frame_size} * tap.ring.frame_nr
                                : tap.tp_version == 3 ? std::uint64_t{tap.ring.block_size} * tap.ring.block_nr
                                                      : sk.sk_rcvbuf;
    tap.queue = k.trace.add_queue({fmt::format("{} at {} {}", name, where, ring ? "ring" : "receive queue"), QueueKind::socket, k.host().id,
                                   room, limit, QueueUnit::bytes, ""});
    sk.queue = tap.queue;
    tap.packets_counter = k.trace.add_counter({fmt::format("{}@{}.tp_packets", name, where), k.host().id});
    tap.drops_counter = k.trace.add_counter({fmt::format("{}@{}.tp_drops", name, where), k.host().id});
    tap.socket = static_cast<SocketIndex>(k.w.sockets.size());
    k.w.sockets.push_back(std::move(sk));
    // dev_add_pack(): the newest stands first.
    auto& list = tap.device == nothing ? k.host().ptype_all : k.device(tap.device).ptype_all;
    list.insert(list.begin(), row);
    if (tap.tp_version == 3) {
        tap.ring.block_is_users.assign(tap.ring.block_nr, 0);
        prb_open_block(k, row);
    }
}

void close_tap(Kernel& k, std::int32_t row)
{
    PacketSock& tap = sock_of(k, row);
    auto& list = tap.device == nothing ? k.w.hosts[tap.host].ptype_all : k.device(tap.device).ptype_all;
    std::erase(list, row);
    tap.ring.timer = 0;
    Socket& sk = k.socket(tap.socket);
    while (!sk.receive_queue.empty()) { // packet_release(): skb_queue_purge()
        const SkbIndex skb = sk.receive_queue.front();
        k.cpu().now = std::max(k.cpu().now, k.skb(skb).visible_from); // a CPU whose clock is behind purges no earlier
        sk.receive_queue.pop_front();
        k.dequeue(sk.queue, k.skb(skb).packet, fn::packet_rcv);
        consume_skb(k, skb, fn::packet_rcv);
    }
    sk.in_use = false;
}

void sleep_until(Kernel& k, std::int32_t task, SimTime at)
{
    if (at != never) {
        DeviceEvent event;
        event.kind = DeviceEvent::Kind::task_wakes;
        event.at = at;
        event.index = task;
        k.schedule(std::move(event));
    }
    k.task(task).state = Task::State::sleeping;
}

/// What lies in the ring for the program, in order; false: nothing yet.
bool read_ring(Kernel& k, PacketSock& tap)
{
    PacketRing& ring = tap.ring;
    if (ring.frames.empty() || ring.frames.front().visible_from == never) {
        return false;
    }
    k.cpu().now = std::max(k.cpu().now, ring.frames.front().visible_from); // a CPU whose clock is behind looks no earlier
    const RingFrame frame = ring.frames.front();
    ring.frames.pop_front();
    if (tap.tp_version == 2) {
        set_ring_bytes(k, tap, tap.ring.bytes - ring.frame_size);
        return true;
    }
    const bool last_of_block = ring.frames.empty() || ring.frames.front().block != frame.block || ring.frames.front().visible_from == never;
    if (last_of_block) { // the program gives back whole blocks
        ring.block_is_users[frame.block] = 0;
        std::uint64_t left = 0;
        for (const RingFrame& other : ring.frames) {
            left += align8(other.length + TPACKET3_HDRLEN + 14);
        }
        set_ring_bytes(k, tap, std::min(left, ring.bytes));
    }
    return true;
}

/// recvfrom() of a packet socket.
bool packet_recvmsg(Kernel& k, PacketSock& tap)
{
    Call sys(k, fn::__sys_recvfrom);
    Call recv(k, fn::sock_recvmsg);
    Call inner(k, fn::packet_recvmsg);
    Socket& sk = k.socket(tap.socket);
    {
        Call take(k, fn::__skb_try_recv_from_queue, sk.receive_queue.empty() ? PacketId::none : k.skb(sk.receive_queue.front()).packet);
        if (sk.receive_queue.empty()) {
            return false;
        }
        k.cpu().now = std::max(k.cpu().now, k.skb(sk.receive_queue.front()).visible_from);
    }
    const SkbIndex skb = sk.receive_queue.front();
    sk.receive_queue.pop_front();
    k.dequeue(sk.queue, k.skb(skb).packet, fn::__skb_try_recv_from_queue);
    {
        Call copy(k, fn::skb_copy_datagram_iter, skb, k.skb(skb).len);
        k.spend(k.costs().copy(k.skb(skb).len));
    }
    consume_skb(k, skb, fn::packet_recvmsg);
    return true;
}

} // namespace

void step_packet_reader(Kernel& k, std::int32_t index)
{
    Task& task = k.task(index);
    const std::int32_t row = task.packet_sock;
    PacketSock& tap = sock_of(k, row);
    if (task.stage == Task::Stage::start) {
        if (k.cpu().now < tap.opens) {
            sleep_until(k, index, tap.opens);
            return;
        }
        open_tap(k, row, index);
        task.stage = Task::Stage::loop;
        sleep_until(k, index, tap.closes);
        k.socket(tap.socket).waiting_task = index;
        return;
    }
    if (task.work_left > 0_ns) {
        const Duration now = std::min(task.work_left, user_slice);
        task.work_left = task.work_left - now;
        k.spend(now);
        return;
    }
    if (tap.closes != never && k.cpu().now >= tap.closes) {
        close_tap(k, row);
        task.state = Task::State::finished;
        return;
    }
    const bool waits = tap.tp_version == 0 ? !k.socket(tap.socket).receive_queue.empty() : !tap.ring.frames.empty();
    if (waits && (tap.tp_version == 0 ? packet_recvmsg(k, tap) : read_ring(k, tap))) {
        ++task.received;
        task.work_left = task.work_per_datagram;
        k.spend(Duration{200}); // the loop itself, so that time passes
        return;
    }
    k.socket(tap.socket).waiting_task = index;
    task.state = Task::State::sleeping; // in poll()
}

} // namespace skbscope::kernel
