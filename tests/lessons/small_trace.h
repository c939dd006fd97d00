#pragma once
// A trace of three packets, small enough to count by hand: one delivered, one waiting in the socket's queue
// and delivered, one dropped because the queue is full. One shared call (net_rx_action) around all of them.

#include "core/catalog/drop_ids.h"
#include "core/catalog/function_ids.h"
#include "core/catalog/room_ids.h"
#include "core/trace/trace.h"

namespace skbscope::test {

struct SmallTrace {
    Trace trace;
    QueueId ring{}, socket{};
    CounterId in_datagrams{};

    SmallTrace()
    {
        trace.info.source = "test";
        trace.info.kernel_release = "6.1";
        trace.add_host({"host", 1});
        trace.add_device({"eth0", HostId{}, "e1000", {}, 1500});
        ring = trace.add_queue(
            {"eth0 RX ring", QueueKind::rx_ring, HostId{}, room::rx_ring, 256, QueueUnit::packets, {}});
        socket = trace.add_queue({":5001 receive queue", QueueKind::socket, HostId{}, room::socket_rx_queue,
                                  2, QueueUnit::packets, "SO_RCVBUF"});
        in_datagrams = trace.add_counter({"Udp.InDatagrams", HostId{}});
        for (int i = 0; i < 3; ++i) {
            PacketRecord packet;
            packet.birth = SimTime{1000};
            trace.add_packet(packet);
        }
        for (std::uint32_t p = 1; p <= 3; ++p) {
            put(1000 + p, EventKind::birth, p, 1);
            put(1010 + p, EventKind::enqueue, p, to_index(ring));
        }
        put(1100, EventKind::irq_raise, 0, 1);
        call(1150, fn::e1000_intr, 0, 50, Context::hardirq, 0);
        put(1160, EventKind::irq_mask, 0, 1);
        call(1200, fn::net_rx_action, 0, 5000, Context::softirq, 0);
        for (std::uint32_t p = 1; p <= 3; ++p) {
            const std::uint64_t t = 1200 + p * 100;
            put(t, EventKind::dequeue, p, to_index(ring));
            call(t + 1, fn::ip_rcv_core, p, 20, Context::softirq, 1);
            const auto field = trace.add_field_change({SkbField::truesize, 0, 0, 0, 1280});
            put(t + 2, EventKind::field, p, field);
            call(t + 30, fn::__udp_enqueue_schedule_skb, p, 20, Context::softirq, 1);
            if (p < 3) {
                put(t + 40, EventKind::enqueue, p, to_index(socket));
                put(t + 41, EventKind::verdict, p, static_cast<std::uint32_t>(Verdict::delivered));
            } else {
                put(t + 40, EventKind::drop, p, to_index(drop::SOCKET_RCVBUFF),
                    fn::__udp_enqueue_schedule_skb);
                put(t + 41, EventKind::free, p, 0);
            }
        }
        put(6100, EventKind::irq_unmask, 0, 1);
        for (std::uint32_t p = 1; p <= 2; ++p) {
            const std::uint64_t t = 7000 + p * 100;
            call(t, fn::udp_recvmsg, p, 50, Context::process, 0);
            put(t + 10, EventKind::dequeue, p, to_index(socket));
            const auto moved = trace.add_counter_change({in_datagrams, p - 1, p});
            put(t + 20, EventKind::counter, p, moved);
            put(t + 30, EventKind::free, p, 0);
        }
    }

    void put(std::uint64_t t, EventKind kind, std::uint32_t packet, std::uint32_t arg,
             FunctionId function = FunctionId::none)
    {
        Event event;
        event.time_ns = t;
        event.kind = static_cast<std::uint8_t>(kind);
        event.packet = packet;
        event.arg = arg;
        event.function = static_cast<std::uint16_t>(to_index(function));
        trace.append(event);
    }

    void call(std::uint64_t t, FunctionId function, std::uint32_t packet, std::uint32_t duration,
              Context context, std::uint8_t depth)
    {
        Event event;
        event.time_ns = t;
        event.duration_ns = duration;
        event.packet = packet;
        event.function = static_cast<std::uint16_t>(to_index(function));
        event.flags = Event::make_flags(context);
        event.depth = depth;
        trace.append(event);
    }
};

} // namespace skbscope::test
