#pragma once
// A trace written by hand for the tests of the map and the timeline: datagrams come in on CPU 0, are steered to the
// backlog of CPU 1 (limit 10, so that some are dropped), climb to a socket and are read; a few are sent. Small, and every
// number in it can be worked out on paper.

#include "core/catalog/catalog.h"
#include "core/trace/source.h"

#include <deque>
#include <string>

namespace skbscope::test {

class HandTrace {
public:
    static constexpr std::uint64_t backlog_limit = 10;

    Trace trace;
    DeviceId eth0;
    QueueId ring, backlog0, backlog1, socket, qdisc, tx_ring;
    TaskId dnsd, dig, ksoftirqd;

    HandTrace()
    {
        trace.info.source = "written by hand";
        trace.info.kernel_release = "6.1";
        eth0 = trace.add_device({.name = "eth0", .driver = "e1000"});
        dnsd = trace.add_task({.name = "dnsd", .pid = 812});
        dig = trace.add_task({.name = "dig", .pid = 944});
        ksoftirqd = trace.add_task({.name = "ksoftirqd/1", .pid = 22});
        const auto room = [](const char* key) { return Catalog::find_room(key); };
        ring = trace.add_queue({.name = "eth0 RX ring", .kind = QueueKind::rx_ring, .room = room("rx_ring"), .limit = 256, .setting = ""});
        backlog0 = trace.add_queue({.name = "backlog CPU 0", .kind = QueueKind::backlog, .room = room("backlog"), .limit = backlog_limit,
                                    .setting = "net.core.netdev_max_backlog"});
        backlog1 = trace.add_queue({.name = "backlog CPU 1", .kind = QueueKind::backlog, .room = room("backlog"), .limit = backlog_limit,
                                    .setting = "net.core.netdev_max_backlog"});
        socket = trace.add_queue({.name = ":53 receive queue", .kind = QueueKind::socket, .room = room("socket_rx_queue"),
                                  .limit = 212992, .unit = QueueUnit::bytes, .setting = "net.core.rmem_default"});
        qdisc = trace.add_queue({.name = "qdisc pfifo_fast", .kind = QueueKind::qdisc, .room = room("qdisc"), .limit = 1000, .setting = ""});
        tx_ring = trace.add_queue({.name = "eth0 TX ring", .kind = QueueKind::tx_ring, .room = room("tx_ring"), .limit = 256, .setting = ""});
    }

    std::uint64_t now = 0;

    void record(EventKind kind, const char* function, PacketId packet, std::uint32_t arg, int cpu, Context context, TaskId task = TaskId::none)
    {
        Event event;
        event.time_ns = now;
        event.packet = to_index(packet);
        event.task = to_index(task);
        event.arg = arg;
        event.function = static_cast<std::uint16_t>(function[0] == 0 ? FunctionId::none : trace.function_named(function));
        event.cpu = static_cast<std::uint16_t>(cpu);
        event.kind = static_cast<std::uint8_t>(kind);
        event.flags = Event::make_flags(context);
        trace.append(event);
    }
    void call(const char* function, PacketId packet, int cpu, Context context, std::uint64_t duration, int depth, TaskId task = TaskId::none)
    {
        record(EventKind::call, function, packet, 0, cpu, context, task);
        Event& event = trace.mutable_event(trace.size() - 1);
        event.duration_ns = static_cast<std::uint32_t>(duration);
        event.depth = static_cast<std::uint8_t>(depth);
    }
    void fill(QueueId queue, std::uint64_t before, std::uint64_t after, int cpu)
    {
        const auto row = trace.add_queue_change({QueueChange::What::fill, queue, before, after});
        record(EventKind::queue, "", PacketId::none, row, cpu, Context::softirq);
    }

    PacketId born(bool sent, int flow)
    {
        PacketRecord record;
        record.device = eth0;
        record.sent_here = sent;
        record.length = 75;
        record.birth = {now};
        FlowKey key;
        key.source = IpAddress::v4(sent ? 0x0a000001 : 0x0a000007);
        key.destination = IpAddress::v4(sent ? 0x0a000007 : 0x0a000001);
        key.protocol = 17;
        key.source_port = static_cast<std::uint16_t>(40212 + flow);
        key.destination_port = 53;
        record.flow = key;
        return trace.add_packet(record);
    }

    void end(PacketId packet, Verdict verdict)
    {
        trace.mutable_packet(packet).verdict = verdict;
        trace.mutable_packet(packet).death = {now};
    }
};

/// `count` datagrams in bursts of 12; those of the last burst are still on the way at the end.
inline Trace backlogTrace(int count = 64)
{
    HandTrace h;
    const Context softirq = Context::softirq;
    std::deque<PacketId> ring;
    std::deque<PacketId> backlog;
    std::deque<PacketId> socket;
    std::uint64_t bytes = 0;
    int made = 0;
    std::uint64_t cpu1_free = 0;
    std::uint64_t cpu1_reads = 0;

    const auto rest = [&](std::uint64_t ns) { h.now += ns; };
    // One packet of CPU 1's backlog, up to the socket.
    const auto climb = [&] {
        if (backlog.empty()) {
            return;
        }
        const PacketId packet = backlog.front();
        backlog.pop_front();
        h.record(EventKind::dequeue, "process_backlog", packet, to_index(h.backlog1), 1, softirq);
        rest(40);
        const char* steps[] = {"__netif_receive_skb_core", "ip_rcv", "nf_hook_slow", "ip_route_input_noref", "ip_local_deliver", "udp_rcv", "__udp_enqueue_schedule_skb"};
        const std::uint64_t costs[] = {160, 240, 90, 310, 130, 280, 120};
        std::uint64_t total = 0;
        for (const std::uint64_t cost : costs) {
            total += cost;
        }
        int depth = 3;
        for (std::size_t i = 0; i < std::size(steps); ++i) {
            h.call(steps[i], packet, 1, softirq, total, depth++);
            rest(costs[i]);
            total -= costs[i];
        }
        h.record(EventKind::enqueue, "__udp_enqueue_schedule_skb", packet, to_index(h.socket), 1, softirq);
        h.fill(h.socket, bytes, bytes + 832, 1);
        bytes += 832;
        socket.push_back(packet);
        h.record(EventKind::verdict, "__udp_enqueue_schedule_skb", packet, static_cast<std::uint32_t>(Verdict::delivered), 1, softirq);
        h.trace.mutable_packet(packet).verdict = Verdict::delivered;
        rest(60);
    };
    const auto read = [&] {
        if (socket.empty()) {
            return;
        }
        const PacketId packet = socket.front();
        socket.pop_front();
        h.call("udp_recvmsg", packet, 1, Context::process, 420, 2, h.dnsd);
        rest(120);
        h.record(EventKind::dequeue, "__skb_recv_udp", packet, to_index(h.socket), 1, Context::process, h.dnsd);
        h.fill(h.socket, bytes, bytes - 832, 1);
        bytes -= 832;
        rest(200);
        h.record(EventKind::free, "skb_consume_udp", packet, 0, 1, Context::process, h.dnsd);
        h.end(packet, Verdict::delivered);
        rest(100);
    };
    const auto arrive = [&] {
        if (made >= count) {
            return;
        }
        ++made;
        const PacketId packet = h.born(false, made % 3);
        h.record(EventKind::birth, "", packet, to_index(h.eth0), 0, Context::hardirq);
        h.record(EventKind::enqueue, "", packet, to_index(h.ring), 0, Context::hardirq);
        ring.push_back(packet);
        rest(30);
    };

    int sent = 0;
    while (made < count || !ring.empty()) {
        rest(1500);
        // The sender speaks now and then.
        if (sent < 4) {
            ++sent;
            const PacketId packet = h.born(true, 3);
            h.call("__sys_sendto", PacketId::none, 0, Context::process, 2600, 0, h.dig);
            rest(150);
            h.call("inet_sendmsg", PacketId::none, 0, Context::process, 2400, 1, h.dig);
            rest(100);
            h.call("udp_sendmsg", PacketId::none, 0, Context::process, 2250, 2, h.dig);
            rest(150);
            h.call("ip_route_output_flow", PacketId::none, 0, Context::process, 300, 3, h.dig);
            rest(320);
            h.record(EventKind::birth, "__ip_append_data", packet, to_index(h.eth0), 0, Context::process, h.dig);
            const char* down[] = {"__ip_local_out", "ip_output", "ip_finish_output", "ip_finish_output2", "__dev_queue_xmit", "dev_hard_start_xmit", "e1000_xmit_frame"};
            std::uint64_t left = 1600;
            int depth = 4;
            for (const char* function : down) {
                h.call(function, packet, 0, Context::process, left, depth++, h.dig);
                rest(200);
                left -= 200;
            }
            h.record(EventKind::enqueue, "e1000_xmit_frame", packet, to_index(h.tx_ring), 0, Context::process, h.dig);
            h.record(EventKind::verdict, "e1000_xmit_frame", packet, static_cast<std::uint32_t>(Verdict::sent), 0, Context::process, h.dig);
            rest(300);
        }
        for (int i = 0; i < 12; ++i) {
            arrive();
        }
        h.record(EventKind::irq_raise, "", PacketId::none, to_index(h.eth0), 0, Context::hardirq);
        h.call("e1000_intr", PacketId::none, 0, Context::hardirq, 300, 0);
        rest(80);
        h.record(EventKind::irq_mask, "e1000_intr", PacketId::none, to_index(h.eth0), 0, Context::hardirq);
        h.record(EventKind::softirq_raise, "__raise_softirq_irqoff", PacketId::none, 3, 0, Context::hardirq);
        rest(260);
        const int batch = static_cast<int>(ring.size());
        h.call("net_rx_action", PacketId::none, 0, softirq, static_cast<std::uint64_t>(batch) * 1900 + 600, 0);
        rest(120);
        h.call("e1000_clean", PacketId::none, 0, softirq, static_cast<std::uint64_t>(batch) * 1900 + 400, 1);
        rest(100);
        h.call("net_rx_action", PacketId::none, 1, softirq, static_cast<std::uint64_t>(batch) * 1900 + 2000, 0);
        h.call("process_backlog", PacketId::none, 1, softirq, static_cast<std::uint64_t>(batch) * 1900 + 1800, 1);
        for (int i = 0; i < batch; ++i) {
            const PacketId packet = ring.front();
            ring.pop_front();
            h.record(EventKind::dequeue, "e1000_clean_rx_irq", packet, to_index(h.ring), 0, softirq);
            h.call("napi_gro_receive", packet, 0, softirq, 120, 3);
            rest(130);
            h.call("get_rps_cpu", packet, 0, softirq, 80, 3);
            rest(90);
            h.call("enqueue_to_backlog", packet, 0, softirq, 100, 3);
            rest(80);
            // The kernel tests the length before it adds: eleven fit.
            if (backlog.size() > HandTrace::backlog_limit) {
                const auto reason = Catalog::find_drop_reason("CPU_BACKLOG");
                h.trace.mutable_packet(packet).reason = reason;
                h.trace.mutable_packet(packet).end_function = h.trace.function_named("enqueue_to_backlog");
                h.record(EventKind::drop, "enqueue_to_backlog", packet, to_index(reason), 0, softirq);
                h.end(packet, Verdict::dropped);
            } else {
                h.record(EventKind::enqueue, "enqueue_to_backlog", packet, to_index(h.backlog1), 0, softirq);
                backlog.push_back(packet);
            }
            rest(40);
            if (i % 3 == 2) {
                arrive();
            }
            if (made >= count && ring.size() <= 3 && i > 4) {
                return std::move(h.trace); // in the middle of things
            }
            if (i % 2 == 1) {
                climb();
            }
        }
        h.call("e1000_irq_enable", PacketId::none, 0, softirq, 60, 2);
        h.record(EventKind::irq_unmask, "e1000_irq_enable", PacketId::none, to_index(h.eth0), 0, softirq);
        rest(500);
        for (int i = 0; i < 2; ++i) {
            read();
        }
        (void)cpu1_free;
        (void)cpu1_reads;
    }
    return std::move(h.trace);
}

/// Packets that all move between two rooms at time 1000: for measuring.
inline Trace crowdTrace(int count)
{
    HandTrace h;
    static constexpr const char* pairs[][2] = {{"__netif_receive_skb_core", "ip_rcv"}, {"ip_rcv", "ip_route_input_noref"},
                                               {"ip_local_deliver", "udp_rcv"},        {"udp_sendmsg", "__ip_local_out"},
                                               {"ip_output", "ip_finish_output2"},     {"dev_hard_start_xmit", "e1000_xmit_frame"},
                                               {"napi_gro_receive", "__netif_receive_skb_core"}, {"ip_route_input_noref", "ip_forward"}};
    std::vector<PacketId> packets;
    for (int i = 0; i < count; ++i) {
        packets.push_back(h.born(i % 2 == 0, i % 4));
        h.record(EventKind::birth, "", packets.back(), to_index(h.eth0), i % 4, Context::softirq);
    }
    for (int i = 0; i < count; ++i) {
        h.now = static_cast<std::uint64_t>(i % 400);
        if (i > 0 && h.now < static_cast<std::uint64_t>((i - 1) % 400)) {
            h.now = 399;
        }
        h.now = 400ULL * static_cast<std::uint64_t>(i) / static_cast<std::uint64_t>(count);
        h.call(pairs[i % 8][0], packets[static_cast<std::size_t>(i)], i % 4, Context::softirq, 3000, 0);
    }
    for (int i = 0; i < count; ++i) {
        h.now = 1600 + 400ULL * static_cast<std::uint64_t>(i) / static_cast<std::uint64_t>(count);
        h.call(pairs[i % 8][1], packets[static_cast<std::size_t>(i)], i % 4, Context::softirq, 3000, 0);
    }
    return std::move(h.trace);
}

} // namespace skbscope::test
