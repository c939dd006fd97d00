// What runs on top of the modelled kernel: an application that receives, one that sends, and ksoftirqd.

#include "core/kernel/functions.h"
#include "core/kernel/tasks.h"
#include "core/kernel/ipv6.h"

#include <algorithm>
#include <limits>

namespace skbscope::kernel {

namespace {

constexpr Duration user_slice{2'000}; // how far an application computes before the CPU looks up
constexpr int EAGAIN_ = -11;

} // namespace

void write_ordinal(std::span<std::uint8_t> payload, std::uint64_t ordinal)
{
    std::uint8_t name[8] = {'P', 'K', 'T'};
    for (std::size_t digit = 7; digit >= 3; --digit, ordinal /= 10) {
        name[digit] = static_cast<std::uint8_t>('0' + ordinal % 10);
    }
    std::copy_n(name, std::min(payload.size(), sizeof name), payload.begin());
}

void sleep(Kernel& k, std::int32_t index)
{
    k.task(index).state = Task::State::sleeping;
}

void wake_at(Kernel& k, std::int32_t index, SimTime at)
{
    DeviceEvent event;
    event.kind = DeviceEvent::Kind::task_wakes;
    event.at = at;
    event.index = index;
    k.schedule(std::move(event));
    sleep(k, index);
}

/// The application computes; interrupts find it at every slice.
void compute(Kernel& k, Task& task)
{
    SimTime until = k.cpu().now + std::min(task.work_left, user_slice);
    if (k.next_hardware_event() > k.cpu().now) {
        until = std::min(until, k.next_hardware_event());
    }
    task.work_left = task.work_left - (until - k.cpu().now);
    k.cpu().now = std::max(until, k.cpu().now + 1_ns);
}

void compute_ahead(Kernel& k, SimTime before)
{
    Cpu& cpu = k.cpu();
    if (cpu.task == nothing || cpu.irq_waits || !cpu.softirq.empty()) {
        return;
    }
    Task& task = k.task(cpu.task);
    const bool computes = task.program == Program::udp_receiver && task.stage != Task::Stage::start && task.state == Task::State::runnable;
    if (!computes || task.work_left <= user_slice) {
        return;
    }
    if (!cpu.run_queue.empty()) {
        before = std::min(before, cpu.slice_end);
    }
    if (before <= cpu.now) {
        return;
    }
    const auto free = static_cast<std::int64_t>(std::min<std::uint64_t>(before.ns - 1 - cpu.now.ns, std::numeric_limits<std::int64_t>::max()));
    const Duration whole{std::min(free, task.work_left.ns) / user_slice.ns * user_slice.ns};
    task.work_left = task.work_left - whole;
    cpu.now += whole;
}

namespace {

void step_receiver(Kernel& k, std::int32_t index)
{
    Task& task = k.task(index);
    if (task.stage == Task::Stage::start) {
        task.socket = sys_socket(k, SocketKind::udp, task.inet6);
        k.socket(task.socket).ipv6only = task.ipv6only || k.socket(task.socket).ipv6only;
        if (const std::int32_t wanted = task.wanted_rcvbuf; wanted >= 0) {
            sys_setsockopt_rcvbuf(k, task.socket, wanted);
        }
        k.socket(task.socket).filter = task.wanted_filter; // SO_ATTACH_FILTER
        k.socket(task.socket).reuseport = task.reuseport;
        k.socket(task.socket).reuseaddr = task.reuseaddr;
        if ((task.inet6 ? sys_bind6(k, task.socket, task.bind_address6, task.bind_port)
                        : sys_bind(k, task.socket, task.bind_address, task.bind_port)) != 0) {
            task.state = Task::State::finished; // EADDRINUSE: the scenario's check has said so already
            return;
        }
        if (task.connect) {
            sys_connect(k, task.socket, task.destination, task.destination_port);
        }
        task.stage = Task::Stage::loop;
        return;
    }
    if (task.work_left > 0_ns) {
        compute(k, task);
        return;
    }
    if (k.cpu().now < task.next_send) {
        wake_at(k, index, task.next_send);
        return;
    }
    Socket& sk = k.socket(task.socket);
    const bool something = !sk.receive_queue.empty() || !sk.reader_queue.empty() || sk.sk_err != 0;
    if (task.use_poll && !something && task.calls.empty()) {
        sk.waiting_task = index; // asleep in poll(), not inside recvfrom()
        sleep(k, index);
        return;
    }
    if (__sys_recvfrom(k, index, !task.use_poll)) {
        task.work_left = task.work_per_datagram;
    }
}

/// What the task sends next: its ordinal, and dots. The dots stay there from one datagram to the next.
std::span<const std::uint8_t> next_payload(Task& task)
{
    task.payload.resize(task.size, '.');
    write_ordinal(task.payload, task.ordinal);
    return task.payload;
}

void start_sender(Kernel& k, std::int32_t index)
{
    Task& task = k.task(index);
    task.socket = sys_socket(k, SocketKind::udp, task.inet6);
    k.socket(task.socket).uc_ttl = task.ttl;
    k.socket(task.socket).broadcast = task.so_broadcast;
    if (task.wanted_sndbuf != 0) {
        k.socket(task.socket).sk_sndbuf = task.wanted_sndbuf;
    }
    if (task.bind_port != 0 && (task.inet6 ? sys_bind6(k, task.socket, IpAddress::any6(), task.bind_port)
                                           : sys_bind(k, task.socket, task.bind_address, task.bind_port)) != 0) {
        task.state = Task::State::finished;
        return;
    }
    if (task.connect) {
        if (task.inet6) {
            sys_connect6(k, task.socket, task.destination6, task.destination_port);
        } else {
            sys_connect(k, task.socket, task.destination, task.destination_port);
        }
    }
    task.stage = Task::Stage::loop;
}

void step_sender(Kernel& k, std::int32_t index)
{
    Task& task = k.task(index);
    if (task.stage == Task::Stage::start) {
        start_sender(k, index);
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
    const auto payload = next_payload(task);
    const SimTime begun = k.cpu().now;
    const int result = task.inet6     ? (task.connect ? __sys_sendto6(k, task.socket, payload, IpAddress::any6(), 0)
                                                      : __sys_sendto6(k, task.socket, payload, task.destination6, task.destination_port))
                       : task.connect ? __sys_sendto(k, task.socket, payload, 0, 0)
                                    : __sys_sendto(k, task.socket, payload, task.destination, task.destination_port);
    if (result == EAGAIN_) { // the send buffer is full: sleep until sock_wfree()
        k.socket(task.socket).sleeping_sender = index;
        sleep(k, index);
        return;
    }
    ++task.ordinal;
    --task.to_send;
    ++(result < 0 ? task.failed : task.sent);
    task.next_send = task.ordinal < task.send_times.size() ? task.send_times[task.ordinal] : begun + task.gap;
}

} // namespace

void step_task(Kernel& k, std::int32_t index)
{
    switch (k.task(index).program) {
    case Program::ksoftirqd:
        if (k.cpu().softirq_pending == 0) {
            sleep(k, index);
        } else {
            run_ksoftirqd(k);
        }
        break;
    case Program::pktgen: step_pktgen(k, index); break;
    case Program::tc: step_tc(k, index); break;
    case Program::udp_receiver: step_receiver(k, index); break;
    case Program::udp_sender: step_sender(k, index); break;
    case Program::packet_reader: step_packet_reader(k, index); break;
    case Program::ping: step_ping(k, index); break;
    case Program::frame_sender: step_frame_sender(k, index); break;
    case Program::tcp_client:
    case Program::tcp_server: step_tcp_task(k, index); break;
    }
}

} // namespace skbscope::kernel
