// drivers/net/virtio_net.c and drivers/virtio/virtio_ring.c: pairs of queues with mergeable receive buffers, each queue with
// its own interrupt, transmit completion by NAPI. The device's side of the rings stands at the end.

#include "core/kernel/drivers/driver.h"
#include "core/kernel/drivers/e1000_hw.h"
#include "core/kernel/sch.h"

#include <algorithm>

namespace skbscope::kernel {

namespace {

constexpr std::uint32_t hdr_len = 12;            // struct virtio_net_hdr_mrg_rxbuf
constexpr std::uint32_t GOOD_COPY_LEN = 128;
constexpr std::uint32_t min_buf_len = 1518;      // GOOD_PACKET_LEN
constexpr std::uint32_t page_size = 4096;
constexpr std::uint32_t fragment_size = 32768;   // SKB_FRAG_PAGE_ORDER: what skb_page_frag_refill() gets at once
constexpr std::uint32_t room_to_send = 2 + MAX_SKB_FRAGS;

VirtioPair& pair_of(Kernel& k, DeviceIndex device, std::uint32_t queue) { return k.device(device).virtio.pairs[queue]; }

// ---- virtio_ring.c ------------------------------------------------------------------------------------------------------------

void interrupt_later(Kernel& k, DeviceIndex device, Virtqueue& vq, std::uint32_t vector, SimTime at)
{
    DeviceEvent later;
    later.kind = DeviceEvent::Kind::throttle_over;
    later.at = at;
    later.index = device;
    later.argument = vector;
    vq.irq_pending = true;
    k.schedule(std::move(later));
}

void virtqueue_disable_cb(Virtqueue& vq)
{
    vq.callbacks_off = true;
}

/// Interrupts from the next buffer on. Returns where the driver stands, for virtqueue_poll().
std::uint16_t virtqueue_enable_cb_prepare(Virtqueue& vq)
{
    vq.callbacks_off = false;
    vq.used_event = vq.last_used_idx;
    return vq.last_used_idx;
}

/// Interrupts only when three quarters of what is outstanding have come. False: they have already.
bool virtqueue_enable_cb_delayed(Virtqueue& vq)
{
    vq.callbacks_off = false;
    const auto buffers = static_cast<std::uint16_t>(static_cast<std::uint16_t>(vq.avail_idx - vq.last_used_idx) * 3 / 4);
    vq.used_event = static_cast<std::uint16_t>(vq.last_used_idx + buffers);
    return static_cast<std::uint16_t>(vq.used_idx - vq.last_used_idx) <= buffers;
}

bool virtqueue_poll(const Virtqueue& vq, std::uint16_t last)
{
    return vq.used_idx != last;
}

/// vring_need_event(): the driver asked to hear of this one, and the interrupt is not on its way already.
bool wants_interrupt(const Virtqueue& vq, std::uint16_t before)
{
    const bool passed = static_cast<std::uint16_t>(vq.used_idx - vq.used_event - 1) < static_cast<std::uint16_t>(vq.used_idx - before);
    return !vq.callbacks_off && passed && !vq.irq_pending;
}

void took_one(Virtqueue& vq)
{
    ++vq.last_used_idx;
    ++vq.num_free;
    if (!vq.callbacks_off) {
        vq.used_event = vq.last_used_idx;
    }
}

// ---- receive --------------------------------------------------------------------------------------------------------------------

/// DECLARE_EWMA(pkt_len, 0, 64)
void ewma_pkt_len_add(std::uint32_t& average, std::uint32_t length)
{
    average = average == 0 ? length : ((average << 6) - average + length) >> 6;
}

/// add_recvbuf_mergeable(): the next piece of the page fragment; the last piece takes the rest that is too small for another.
void add_recvbuf_mergeable(VirtioPair& pair)
{
    const std::uint32_t average = std::clamp(pair.mrg_avg_len, min_buf_len, page_size - hdr_len);
    std::uint32_t length = (hdr_len + average + 63) & ~63U;
    if (pair.fragment_offset + length > fragment_size) {
        pair.fragment_offset = 0;
    }
    pair.fragment_offset += length;
    const std::uint32_t hole = fragment_size - pair.fragment_offset;
    if (hole < length) {
        length += hole;
        pair.fragment_offset += hole;
    }
    pair.rx_buffers.push_back(length);
    --pair.rx.num_free;
    ++pair.rx.avail_idx;
}

void fill_receive_queue(VirtioPair& pair)
{
    while (pair.rx.num_free > 0) {
        add_recvbuf_mergeable(pair);
    }
}

void try_fill_recv(Kernel& k, DeviceIndex device, std::uint32_t queue)
{
    Call call(k, fn::try_fill_recv);
    fill_receive_queue(pair_of(k, device, queue));
    Call kick(k, fn::virtqueue_kick_prepare); // the device polls its queue: it needs no notification
}

/// Small frames and those that do not fit the head are copied into a fresh skb, the latter only their Ethernet header; where
/// the buffer has room behind the frame the skb is built around it (since 5.13; before, it is copied like the others).
SkbIndex page_to_skb(Kernel& k, DeviceIndex device, const RxSlot& slot, std::uint32_t truesize)
{
    Call call(k, fn::page_to_skb, slot.packet);
    const auto length = static_cast<std::uint32_t>(slot.frame.size());
    const std::int64_t tailroom = std::int64_t{truesize} - hdr_len - length;
    if (k.profile() >= Profile::v6_1 && length > GOOD_COPY_LEN && tailroom >= sizeof_skb_shared_info) {
        Call build(k, fn::build_skb, slot.packet);
        const SkbIndex skb = new_skb(k, slot.packet, truesize - sizeof_skb_shared_info, truesize + sizeof_sk_buff);
        k.skb(skb).head_frag = true;
        skb_reserve(k, skb, hdr_len);
        set_device(k, skb, device);
        std::ranges::copy(slot.frame, skb_put(k, skb, length)); // no cost: the device put them there
        return skb;
    }
    const SkbIndex skb = __napi_alloc_skb(k, slot.packet, GOOD_COPY_LEN, device);
    const auto room = static_cast<std::uint32_t>(k.skb(skb).head.size()) - k.skb(skb).tail;
    const std::uint32_t copied = length <= room ? length : ETH_HLEN;
    k.spend(k.costs().copy(copied));
    SkBuff& buff = k.skb(skb);
    buff.head.writable().resize(std::max<std::size_t>(buff.head.size(), buff.tail + std::size_t{length}));
    std::ranges::copy(slot.frame, skb_put(k, skb, length));
    if (copied < length) { // skb_add_rx_frag()
        k.field(skb, SkbField::data_len, 0, length - copied);
        k.field(skb, SkbField::truesize, buff.truesize, buff.truesize + truesize);
        k.skb(skb).data_len = length - copied;
        k.skb(skb).truesize += truesize;
        k.skb(skb).nr_frags = 1;
    }
    return skb;
}

SkbIndex receive_mergeable(Kernel& k, DeviceIndex device, VirtioPair& pair, const RxSlot& slot, std::uint32_t truesize)
{
    Call call(k, fn::receive_mergeable, slot.packet);
    const SkbIndex skb = page_to_skb(k, device, slot, truesize);
    ewma_pkt_len_add(pair.mrg_avg_len, k.skb(skb).len);
    return skb;
}

void virtnet_receive_done(Kernel& k, DeviceIndex device, std::uint32_t queue, SkbIndex skb)
{
    if (k.device(device).virtio.rx_checksum && hardware_checksum_good(skb_data(k, skb))) { // VIRTIO_NET_HDR_F_DATA_VALID
        k.field(skb, SkbField::ip_summed, 0, static_cast<std::uint64_t>(IpSummed::unnecessary));
        k.skb(skb).ip_summed = IpSummed::unnecessary;
    }
    k.skb(skb).rx_queue = static_cast<std::int16_t>(queue);
    eth_type_trans(k, skb, device);
    napi_gro_receive(k, pair_of(k, device, queue).rx.napi, skb);
}

void receive_buf(Kernel& k, DeviceIndex device, std::uint32_t queue, const RxSlot& slot, std::uint32_t truesize)
{
    Call call(k, fn::receive_buf, slot.packet);
    const SkbIndex skb = receive_mergeable(k, device, pair_of(k, device, queue), slot, truesize);
    k.trace.mutable_packet(slot.packet).birth_function = fn::page_to_skb;
    k.count_device(device, DevStat::rx_packets, slot.packet);
    k.count_device(device, DevStat::rx_bytes, slot.packet, slot.frame.size());
    if (k.profile() >= Profile::v6_12) {
        Call done(k, fn::virtnet_receive_done, slot.packet);
        virtnet_receive_done(k, device, queue, skb);
    } else {
        virtnet_receive_done(k, device, queue, skb);
    }
}

/// One turn of the loop in virtnet_receive; false: the queue is empty.
bool receive_one(Kernel& k, DeviceIndex device, std::uint32_t queue)
{
    VirtioPair& pair = pair_of(k, device, queue);
    const bool there = !pair.rx_used.empty() && pair.rx_used.front().visible_from <= k.cpu().now;
    if (!there) {
        Call call(k, fn::virtqueue_get_buf_ctx);
        return false;
    }
    RxSlot slot = std::move(pair.rx_used.front());
    pair.rx_used.pop_front();
    {
        Call call(k, fn::virtqueue_get_buf_ctx, slot.packet);
        took_one(pair.rx);
    }
    k.dequeue(pair.rx.queue, slot.packet, fn::virtqueue_get_buf_ctx);
    receive_buf(k, device, queue, slot, slot.buffer);
    k.frame_gone(std::move(slot.frame));
    return true;
}

// ---- transmit completion -----------------------------------------------------------------------------------------------------------

void free_sent(Kernel& k, DeviceIndex device, std::uint32_t queue, bool in_napi)
{
    std::uint32_t packets = 0, bytes = 0;
    for (;;) {
        VirtioPair& pair = pair_of(k, device, queue);
        if (!pair.tx.more_used() || pair.tx_ring.empty()) {
            Call empty(k, fn::virtqueue_get_buf);
            break;
        }
        const SkbIndex skb = pair.tx_ring.front().skb;
        k.cpu().now = std::max(k.cpu().now, pair.tx_ring.front().done_at); // a CPU whose clock is behind looks no earlier
        const PacketId packet = k.skb(skb).packet;
        pair.tx_ring.pop_front();
        {
            Call get(k, fn::virtqueue_get_buf, packet);
            took_one(pair.tx);
        }
        k.dequeue(pair.tx.queue, packet, fn::virtqueue_get_buf);
        ++packets;
        bytes += k.skb(skb).len;
        napi_consume_skb(k, skb, fn::free_old_xmit_skbs, in_napi ? 64 : 0);
    }
    if (packets == 0) {
        return;
    }
    k.count_device(device, DevStat::tx_packets, PacketId::none, packets);
    k.count_device(device, DevStat::tx_bytes, PacketId::none, bytes);
    if (k.profile() >= Profile::v6_12) {
        netdev_tx_completed_queue(k, device, queue, packets, bytes);
    }
}

void free_old_xmit_skbs(Kernel& k, DeviceIndex device, std::uint32_t queue, bool in_napi)
{
    if (k.profile() < Profile::v6_12) {
        Call call(k, fn::free_old_xmit_skbs);
        free_sent(k, device, queue, in_napi);
        return;
    }
    Call call(k, fn::free_old_xmit);
    Call inner(k, fn::__free_old_xmit);
    free_sent(k, device, queue, in_napi);
}

void wake_if_room(Kernel& k, DeviceIndex device, std::uint32_t queue)
{
    if (pair_of(k, device, queue).tx.num_free >= room_to_send) {
        netif_tx_wake_queue(k, device, queue);
    }
}

void virtnet_poll_cleantx(Kernel& k, DeviceIndex device, std::uint32_t queue)
{
    Call call(k, fn::virtnet_poll_cleantx);
    do {
        virtqueue_disable_cb(pair_of(k, device, queue).tx);
        free_old_xmit_skbs(k, device, queue, true);
    } while (!virtqueue_enable_cb_delayed(pair_of(k, device, queue).tx));
    wake_if_room(k, device, queue);
}

void virtqueue_napi_schedule(Kernel& k, Virtqueue& vq)
{
    Call call(k, fn::virtqueue_napi_schedule);
    if (napi_schedule_prep(k, vq.napi)) {
        virtqueue_disable_cb(vq);
        __napi_schedule(k, vq.napi);
    }
}

/// A CPU whose clock is ahead had the frame arrive while this one polled, without interrupt: by this CPU's clock it is still to come,
/// and finds interrupts on again. False: it is there.
bool interrupt_for_what_comes(Kernel& k, DeviceIndex device, std::uint32_t queue)
{
    VirtioPair& pair = pair_of(k, device, queue);
    if (pair.rx_used.empty() || pair.rx_used.front().visible_from <= k.cpu().now) {
        return false;
    }
    if (!pair.rx.irq_pending) {
        interrupt_later(k, device, pair.rx, 2 * queue, pair.rx_used.front().visible_from);
    }
    return true;
}

void virtqueue_napi_complete(Kernel& k, NapiIndex napi, DeviceIndex device, std::uint32_t queue, std::uint32_t processed)
{
    Call call(k, fn::virtqueue_napi_complete);
    const std::uint16_t opaque = virtqueue_enable_cb_prepare(pair_of(k, device, queue).rx);
    const bool complete = napi_complete_done(k, napi, processed);
    Virtqueue& vq = pair_of(k, device, queue).rx;
    if (!complete) {
        virtqueue_disable_cb(vq);
    } else if (virtqueue_poll(vq, opaque) && !interrupt_for_what_comes(k, device, queue)) {
        virtqueue_napi_schedule(k, vq);
    }
}

} // namespace

// ---- interrupts -----------------------------------------------------------------------------------------------------------------------

void vring_interrupt(Kernel& k, DeviceIndex device, std::uint32_t vector)
{
    Call call(k, fn::vring_interrupt);
    VirtioPair& pair = pair_of(k, device, vector / 2);
    const bool transmit = vector % 2 == 1;
    Virtqueue& vq = transmit ? pair.tx : pair.rx;
    vq.irq_pending = false;
    if (!vq.more_used()) {
        return; // IRQ_NONE
    }
    if (transmit) {
        Call done(k, fn::skb_xmit_done);
        virtqueue_disable_cb(vq);
        virtqueue_napi_schedule(k, vq);
        return;
    }
    Call done(k, fn::skb_recv_done);
    virtqueue_napi_schedule(k, vq);
}

// ---- NAPI -------------------------------------------------------------------------------------------------------------------------------

void begin_virtnet_poll(Kernel& k, PollRun& poll)
{
    poll.calls.push_back(k.open(fn::virtnet_poll, PacketId::none));
    poll.phase = PollRun::Phase::begin;
}

bool step_virtnet_poll(Kernel& k, PollRun& poll)
{
    const DeviceIndex device = k.napi(poll.napi).device;
    const std::uint32_t queue = k.napi(poll.napi).queue;
    switch (poll.phase) {
    case PollRun::Phase::begin:
        virtqueue_disable_cb(pair_of(k, device, queue).rx);
        virtnet_poll_cleantx(k, device, queue);
        poll.calls.push_back(k.open(fn::virtnet_receive, PacketId::none));
        poll.phase = PollRun::Phase::packets;
        return false;
    case PollRun::Phase::packets: {
        k.run_hardware(k.cpu().now); // frames that came meanwhile belong to the same poll
        if (poll.work < k.napi(poll.napi).weight && receive_one(k, device, queue)) {
            ++poll.work;
            return false;
        }
        const Virtqueue& vq = pair_of(k, device, queue).rx;
        if (vq.num_free > std::min(k.napi(poll.napi).weight, vq.size) / 2) {
            try_fill_recv(k, device, queue);
        }
        k.close(poll.calls.back());
        poll.calls.pop_back();
        poll.phase = PollRun::Phase::complete;
        return poll.work >= k.napi(poll.napi).weight;
    }
    case PollRun::Phase::complete: virtqueue_napi_complete(k, poll.napi, device, queue, poll.work); return true;
    }
    return true;
}

void begin_virtnet_poll_tx(Kernel& k, PollRun& poll)
{
    poll.calls.push_back(k.open(fn::virtnet_poll_tx, PacketId::none));
}

bool step_virtnet_poll_tx(Kernel& k, PollRun& poll)
{
    const DeviceIndex device = k.napi(poll.napi).device;
    const std::uint32_t queue = k.napi(poll.napi).queue;
    const auto vq = [&]() -> Virtqueue& { return pair_of(k, device, queue).tx; };
    virtqueue_disable_cb(vq());
    free_old_xmit_skbs(k, device, queue, true);
    const bool wake_first = k.profile() != Profile::v5_10;
    if (wake_first) {
        wake_if_room(k, device, queue);
    }
    const std::uint16_t opaque = virtqueue_enable_cb_prepare(vq());
    const bool done = napi_complete_done(k, poll.napi, 0);
    if (!done) {
        virtqueue_disable_cb(vq());
    } else if (virtqueue_poll(vq(), opaque) && napi_schedule_prep(k, poll.napi)) {
        virtqueue_disable_cb(vq());
        __napi_schedule(k, poll.napi);
    }
    if (!wake_first) {
        wake_if_room(k, device, queue);
    }
    return true; // its work does not count
}

// ---- transmit -----------------------------------------------------------------------------------------------------------------------------

namespace {

void xmit_skb(Kernel& k, SkbIndex skb, DeviceIndex device, std::uint32_t queue)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::xmit_skb, packet);
    Call add(k, fn::virtqueue_add_outbuf, packet);
    VirtioPair& pair = pair_of(k, device, queue);
    TxSlot slot;
    slot.skb = skb;
    pair.tx_ring.push_back(slot);
    --pair.tx.num_free; // header and data in one descriptor, or an indirect table
    ++pair.tx.avail_idx;
    k.enqueue(pair.tx.queue, packet, fn::virtqueue_add_outbuf);
}

void stop_if_full(Kernel& k, DeviceIndex device, std::uint32_t queue, PacketId packet)
{
    if (pair_of(k, device, queue).tx.num_free >= room_to_send) {
        return;
    }
    netif_tx_stop_queue(k, device, queue, packet);
    if (!virtqueue_enable_cb_delayed(pair_of(k, device, queue).tx)) {
        virtqueue_napi_schedule(k, pair_of(k, device, queue).tx);
    }
}

/// The device's side: from `start` on it sends what was offered, one after the other, and gives each buffer back when it has left.
void device_transmits(Kernel& k, DeviceIndex device, std::uint32_t queue, SimTime start)
{
    for (TxSlot& slot : pair_of(k, device, queue).tx_ring) {
        if (slot.done_at != never) {
            continue;
        }
        slot.done_at = transmit_skb_on_wire(k, device, queue, slot.skb, start);
    }
}

/// With a transmit timer the device wants to be told once, and takes what is there when the timer has run out.
void kick_timer(Kernel& k, DeviceIndex device, std::uint32_t queue, PacketId packet)
{
    const auto takes_at = [&]() -> SimTime& { return pair_of(k, device, queue).tx_takes_at; };
    {
        Call prepare(k, fn::virtqueue_kick_prepare, packet);
    }
    if (takes_at() <= k.cpu().now) {
        Call notify(k, fn::virtqueue_notify, packet);
        takes_at() = k.cpu().now + k.device(device).virtio.tx_timer;
    }
    device_transmits(k, device, queue, takes_at());
}

/// virtqueue_kick_prepare() says whether the device wants to be told: it does not while it is still sending.
void kick_device(Kernel& k, DeviceIndex device, std::uint32_t queue, PacketId packet)
{
    if (k.device(device).virtio.tx_timer > Duration{}) {
        kick_timer(k, device, queue, packet);
        return;
    }
    const auto& ring = pair_of(k, device, queue).tx_ring;
    const bool busy = std::ranges::any_of(ring, [](const TxSlot& slot) { return slot.done_at != never && !slot.done; });
    {
        Call prepare(k, fn::virtqueue_kick_prepare, packet);
    }
    if (!busy) {
        Call notify(k, fn::virtqueue_notify, packet);
    }
    device_transmits(k, device, queue, k.cpu().now);
}

} // namespace

int start_xmit(Kernel& k, SkbIndex skb, DeviceIndex device)
{
    const PacketId packet = k.skb(skb).packet;
    const std::uint32_t queue = std::min<std::uint32_t>(k.skb(skb).queue_mapping, static_cast<std::uint32_t>(k.device(device).virtio.pairs.size()) - 1);
    Call call(k, fn::start_xmit, packet, k.skb(skb).len);
    const bool kick = !k.cpu().xmit_more;
    do {
        virtqueue_disable_cb(pair_of(k, device, queue).tx);
        free_old_xmit_skbs(k, device, queue, false);
    } while (kick && !virtqueue_enable_cb_delayed(pair_of(k, device, queue).tx)); // no interrupt before the last of a list
    xmit_skb(k, skb, device, queue);
    if (k.profile() >= Profile::v6_12) {
        Call full(k, fn::check_sq_full_and_disable, packet);
        stop_if_full(k, device, queue, packet);
        netdev_tx_sent_queue(k, device, queue, k.skb(skb).len, packet);
    } else {
        stop_if_full(k, device, queue, packet);
    }
    if (kick || netdev_get_tx_queue(k, device, queue).stopped()) {
        kick_device(k, device, queue, packet);
    }
    k.verdict(packet, k.trace.packet(packet).sent_here ? Verdict::sent : Verdict::forwarded, fn::start_xmit);
    return NETDEV_TX_OK;
}

// ---- the device ------------------------------------------------------------------------------------------------------------------------------

namespace {

/// Which queue a frame is put into: by its flow, where there are several.
std::uint32_t steered_to(const VirtioNet& device, std::span<const std::uint8_t> frame)
{
    if (device.pairs.size() < 2) {
        return 0;
    }
    const auto flow = flow_of_frame(frame);
    if (!flow) {
        return 0;
    }
    std::uint32_t hash = 2166136261U; // FNV-1a: the device's own business
    const auto mix = [&](std::span<const std::uint8_t> bytes) {
        for (const std::uint8_t byte : bytes) {
            hash = (hash ^ byte) * 16777619U;
        }
    };
    mix(flow->source.bytes);
    mix(flow->destination.bytes);
    const std::uint8_t ports[] = {static_cast<std::uint8_t>(flow->source_port >> 8), static_cast<std::uint8_t>(flow->source_port),
                                  static_cast<std::uint8_t>(flow->destination_port >> 8), static_cast<std::uint8_t>(flow->destination_port)};
    mix(ports);
    return static_cast<std::uint32_t>((std::uint64_t{hash} * device.pairs.size()) >> 32);
}

void interrupt_if_wanted(Kernel& k, DeviceIndex device, std::uint32_t queue, Virtqueue& vq, std::uint16_t before, std::uint32_t vector, SimTime at)
{
    if (!wants_interrupt(vq, before)) {
        return;
    }
    vq.irq_pending = true;
    deliver_interrupt(k, device, vector, pair_of(k, device, queue).irq_cpu, at);
}

} // namespace

void virtio_frame_arrives(Kernel& k, DeviceIndex index, PacketId packet, std::vector<std::uint8_t> frame, SimTime at)
{
    const std::uint32_t queue = steered_to(k.device(index).virtio, frame);
    VirtioPair& pair = pair_of(k, index, queue);
    const bool too_long = !pair.rx_buffers.empty() && frame.size() + hdr_len > pair.rx_buffers.front();
    if (pair.rx_buffers.empty() || too_long) {
        hardware_drops(k, index, packet, DevStat::count, at); // the guest has no counter of it
        return;
    }
    const std::uint32_t buffer = pair.rx_buffers.front();
    pair.rx_buffers.pop_front();
    pair.rx_used.push_back({packet, std::move(frame), at, buffer});
    k.emit_hardware(EventKind::enqueue, at, k.device(index), packet, to_index(pair.rx.queue));
    const std::uint16_t before = pair.rx.used_idx++;
    interrupt_if_wanted(k, index, queue, pair.rx, before, 2 * queue, at);
}

void virtio_transmitted(Kernel& k, DeviceIndex index, std::uint32_t queue, SimTime at)
{
    VirtioPair& pair = pair_of(k, index, queue);
    const std::uint16_t before = pair.tx.used_idx;
    for (TxSlot& slot : pair.tx_ring) {
        if (!slot.done && slot.done_at <= at) {
            slot.done = true;
            ++pair.tx.used_idx;
        }
    }
    if (pair.tx.used_idx == before) {
        return;
    }
    const Duration delay = k.device(index).virtio.tx_irq_delay;
    if (delay == Duration{}) {
        interrupt_if_wanted(k, index, queue, pair.tx, before, 2 * queue + 1, at);
    } else if (wants_interrupt(pair.tx, before)) { // what the driver wanted when the frame was given back holds
        interrupt_later(k, index, pair.tx, 2 * queue + 1, at + delay);
    }
}

void virtio_throttle_over(Kernel& k, DeviceIndex index, std::uint32_t vector, SimTime at)
{
    deliver_interrupt(k, index, vector, pair_of(k, index, vector / 2).irq_cpu, at);
}

void virtnet_probe(NetDevice& device, std::uint32_t pairs, std::uint32_t rx_size, std::uint32_t tx_size)
{
    device.virtio.pairs.resize(pairs);
    device.tx_queues.resize(pairs);
    device.rx_queues.resize(pairs);
    for (VirtioPair& pair : device.virtio.pairs) {
        pair.rx.size = pair.rx.num_free = rx_size;
        pair.tx.size = pair.tx.num_free = tx_size;
        fill_receive_queue(pair);
    }
}

} // namespace skbscope::kernel
