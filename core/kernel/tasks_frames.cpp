// An application that puts ready-made Ethernet frames on a device, through a packet socket (net/packet/af_packet.c:
// packet_snd): what no protocol of the kernel would send.

#include "core/kernel/tasks.h"
#include "core/packet/bytes.h"
#include "core/packet/protocols.h"

#include <algorithm>

namespace skbscope::kernel {

namespace {

constexpr std::uint32_t hh_len = 16, ethernet_header = 14;

std::uint32_t packet_snd(Kernel& k, SocketIndex sk, DeviceIndex device, std::span<const std::uint8_t> frame, std::uint64_t sequence)
{
    Call call(k, fn::packet_snd);
    SkbIndex skb = nothing;
    {
        Call alloc(k, fn::packet_alloc_skb);
        skb = sock_alloc_send_skb(k, sk, hh_len + static_cast<std::uint32_t>(frame.size()), 0, sequence);
    }
    if (skb == nothing) {
        return 0;
    }
    skb_reserve(k, skb, hh_len);
    std::ranges::copy(frame, skb_put(k, skb, static_cast<std::uint32_t>(frame.size())));
    k.spend(k.costs().copy(frame.size()));
    SkBuff& buff = k.skb(skb);
    buff.mac_header = static_cast<std::uint16_t>(buff.data);
    buff.network_header = static_cast<std::uint16_t>(buff.data + ethernet_header);
    buff.protocol = load_be16(&frame[12]);
    set_device(k, skb, device);
    k.trace.mutable_packet(buff.packet).device = k.device(device).id;
    k.trace.mutable_packet(buff.packet).flow = flow_of_frame(frame);
    {
        Call dissect(k, fn::__skb_flow_dissect, skb); // skb_probe_transport_header()
    }
    if (k.profile() >= Profile::v6_12) {
        Call xmit(k, fn::packet_xmit, skb);
        dev_queue_xmit(k, skb);
    } else {
        dev_queue_xmit(k, skb);
    }
    return static_cast<std::uint32_t>(frame.size());
}

void send_frame(Kernel& k, Task& task)
{
    const std::vector<std::uint8_t> frame = task.frames[task.ordinal % task.frames.size()];
    const std::uint64_t sequence = k.next_sequence();
    Call x64(k, fn::__x64_sys_sendto);
    Call call(k, fn::__sys_sendto);
    Call send(k, fn::__sock_sendmsg);
    Call message(k, fn::packet_sendmsg);
    ++(packet_snd(k, task.socket, task.frame_device, frame, sequence) != 0 ? task.sent : task.failed);
}

} // namespace

void step_frame_sender(Kernel& k, std::int32_t index)
{
    Task& task = k.task(index);
    if (task.stage == Task::Stage::start) {
        task.socket = sys_socket(k, SocketKind::packet);
        task.stage = Task::Stage::loop;
        return;
    }
    if (task.to_send == 0) {
        sleep(k, index);
        return;
    }
    if (k.cpu().now < task.next_send) {
        wake_at(k, index, task.next_send);
        return;
    }
    const SimTime begun = k.cpu().now;
    send_frame(k, task);
    ++task.ordinal;
    --task.to_send;
    task.next_send = task.ordinal < task.send_times.size() ? task.send_times[task.ordinal] : begun + task.gap;
}

} // namespace skbscope::kernel
