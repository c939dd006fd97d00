#pragma once
// A small trace that has something in every table: datagrams that are delivered, one that is dropped, one that is
// merged, one that never ends; a function that the catalog lacks; a second host.

#include "core/catalog/catalog.h"
#include "core/packet/build.h"
#include "core/trace/trace.h"

#include <string>
#include <vector>

namespace skbscope::testing {

inline std::vector<std::uint8_t> datagram(std::uint16_t port, std::string_view text)
{
    std::vector<std::uint8_t> payload(text.begin(), text.end());
    UdpFrame frame;
    frame.ethernet = {{{0x52, 0x54, 0, 0, 0, 2}}, {{0x52, 0x54, 0, 0, 0, 1}}};
    frame.source = *IpAddress::parse("10.99.0.1");
    frame.destination = *IpAddress::parse("10.99.0.2");
    frame.source_port = 40000;
    frame.destination_port = port;
    frame.payload = payload;
    return build_udp_frame(frame);
}

/// Writes events the way a driver does, at times that go on by themselves.
class SampleTrace {
public:
    Trace trace;
    QueueId ring, socket_queue;
    CounterId delivered_counter;
    DeviceId eth0;
    TaskId reader;

    explicit SampleTrace(bool two_hosts = true)
    {
        trace.info.source = "model: sample";
        trace.info.kernel_release = "6.1 (model)";
        trace.info.wall_offset_ns = 1'700'000'000'000'000'000;
        trace.info.costs_hash = 0x1234567890abcdef;
        trace.info.scenario = "hosts: {}\n";
        trace.info.lost_events = 3;
        trace.info.unattributed_events = 4;
        trace.faults.push_back({"unattributed: function before the first tracepoint", 4, "start the tracer earlier"});
        trace.add_host({"dut", 2});
        if (two_hosts) {
            trace.add_host({"peer", 1});
        }
        reader = trace.add_task({"receiver", 1234, HostId{}});
        eth0 = trace.add_device({"eth0", HostId{}, "e1000", {0x52, 0x54, 0, 0, 0, 2}, 1500});
        ring = trace.add_queue({"eth0 RX ring", QueueKind::rx_ring, HostId{}, Catalog::find_room("rx_ring"), 256,
                                QueueUnit::packets, "eth0.rx_ring"});
        socket_queue = trace.add_queue({":5001 receive queue", QueueKind::socket, HostId{},
                                        Catalog::find_room("socket_rx_queue"), 212992, QueueUnit::bytes,
                                        "net.core.rmem_default"});
        delivered_counter = trace.add_counter({"Udp.InDatagrams", HostId{}});
        trace.add_note("phase: burst");
        event(EventKind::note, PacketId::none, {}, 1);
    }

    FunctionId function(std::string_view name) { return trace.function_named(name); }

    Event& event(EventKind kind, PacketId packet, FunctionId function, std::uint32_t arg, Context context = Context::softirq,
                 std::uint8_t depth = 0, std::uint32_t duration = Event::unknown_duration)
    {
        now += 250;
        Event made;
        made.time_ns = now;
        made.duration_ns = duration;
        made.packet = to_index(packet);
        made.task = context == Context::process ? to_index(reader) : 0;
        made.arg = arg;
        made.function = static_cast<std::uint16_t>(function);
        made.cpu = 1;
        made.kind = static_cast<std::uint8_t>(kind);
        made.flags = Event::make_flags(context);
        made.depth = depth;
        return trace.append(made);
    }

    Event& call(PacketId packet, std::string_view name, std::uint8_t depth, std::uint32_t duration,
                Context context = Context::softirq)
    {
        return event(EventKind::call, packet, function(name), 0, context, depth, duration);
    }

    PacketId begin(std::uint16_t port, std::string_view text)
    {
        PacketRecord record;
        record.device = eth0;
        record.birth = {now + 250};
        record.birth_function = function("napi_build_skb");
        const PacketId id = trace.add_packet(record);
        const auto frame = datagram(port, text);
        trace.set_frame(id, frame);
        trace.mutable_packet(id).length = static_cast<std::uint32_t>(frame.size());
        trace.mutable_packet(id).flow = flow_of_frame(frame);
        event(EventKind::birth, id, record.birth_function, to_index(eth0));
        return id;
    }

    void end(PacketId id, Verdict verdict, std::string_view name)
    {
        PacketRecord& record = trace.mutable_packet(id);
        record.verdict = verdict;
        record.death = {now};
        record.end_function = function(name);
    }

    /// Through the ring and up to the socket, read by the task.
    PacketId delivered(std::uint16_t port = 5001)
    {
        event(EventKind::call, PacketId::none, function("net_rx_action"), 0, Context::softirq, 0, 6000);
        const PacketId id = begin(port, "PKT00001");
        event(EventKind::enqueue, id, function("e1000_clean_rx_irq"), to_index(ring));
        event(EventKind::dequeue, id, function("e1000_clean_rx_irq"), to_index(ring));
        call(id, "napi_gro_receive", 1, 400);
        event(EventKind::field, id, function("napi_gro_receive"),
              trace.add_field_change({SkbField::len, 0, 0, 64, 50}));
        call(id, "ip_rcv", 2, 3000);
        call(id, "udp_rcv", 3, 1500);
        event(EventKind::enqueue, id, function("__udp_enqueue_schedule_skb"), to_index(socket_queue));
        event(EventKind::queue, id, {}, trace.add_queue_change({QueueChange::What::fill, socket_queue, 0, 768}));
        event(EventKind::counter, id, {}, trace.add_counter_change({delivered_counter, 6, 7}));
        event(EventKind::verdict, id, function("__udp_enqueue_schedule_skb"), static_cast<std::uint32_t>(Verdict::delivered));
        event(EventKind::dequeue, id, function("udp_recvmsg"), to_index(socket_queue), Context::process);
        event(EventKind::queue, id, {}, trace.add_queue_change({QueueChange::What::fill, socket_queue, 768, 0}));
        event(EventKind::free, id, function("udp_recvmsg"), 0, Context::process);
        end(id, Verdict::delivered, "udp_recvmsg");
        return id;
    }

    PacketId dropped()
    {
        const PacketId id = begin(5002, "PKT00002");
        call(id, "ip_rcv", 0, 3000);
        call(id, "udp_queue_rcv_one_skb", 1, 900);
        const auto reason = Catalog::find_drop_reason("SOCKET_RCVBUFF");
        event(EventKind::drop, id, function("udp_queue_rcv_one_skb"), to_index(reason));
        end(id, Verdict::dropped, "udp_queue_rcv_one_skb");
        trace.mutable_packet(id).reason = reason;
        return id;
    }

    PacketId merged(PacketId into)
    {
        const PacketId id = begin(5001, "PKT00003");
        call(id, "skb_gro_receive", 0, 90);
        event(EventKind::merge, id, function("skb_gro_receive"), to_index(into));
        event(EventKind::free, id, function("skb_gro_receive"), 0);
        end(id, Verdict::merged, "skb_gro_receive");
        trace.mutable_packet(id).merged_into = into;
        return id;
    }

    /// In a function of this trace's own, never seen to end; its bytes change on the way.
    PacketId endless()
    {
        const PacketId id = begin(5003, "PKT00004");
        event(EventKind::call, id, trace.function_named("acme_module_rx"), 0);
        const std::uint8_t before[] = {0x00, 0x40};
        const std::uint8_t after[] = {0x12, 0x3f};
        FieldChange change{SkbField::bytes, 22, 2, trace.add_bytes(before), 0};
        change.after = trace.add_bytes(after);
        event(EventKind::field, id, {}, trace.add_field_change(change));
        return id;
    }

    /// Without bytes, known by its flow alone.
    PacketId bare()
    {
        PacketRecord record;
        record.birth = {now + 250};
        record.flow = flow_of_frame(datagram(5001, ""));
        record.length = 60;
        record.sent_here = true;
        const PacketId id = trace.add_packet(record);
        event(EventKind::birth, id, function("udp_sendmsg"), 0, Context::process);
        event(EventKind::verdict, id, function("dev_hard_start_xmit"), static_cast<std::uint32_t>(Verdict::sent),
              Context::process);
        event(EventKind::free, id, function("napi_consume_skb"), 0);
        end(id, Verdict::sent, "napi_consume_skb");
        return id;
    }

    std::uint64_t now = 1'000'000;
};

/// Delivered 1, dropped 2, merged 3 (into 1), endless 4, bare 5.
inline SampleTrace five_packets()
{
    SampleTrace sample;
    const PacketId first = sample.delivered();
    sample.dropped();
    sample.merged(first);
    sample.endless();
    sample.bare();
    return sample;
}

} // namespace skbscope::testing
