#include "core/kernel/kernel.h"

#include "core/kernel/functions.h"

#include <algorithm>
#include <cassert>

namespace skbscope::kernel {

// ---- calls and events ----------------------------------------------------------------------------------------------------

void Kernel::close_late(const OpenHandle& call)
{
    // Whoever watched between the two quanta saw the call without its end. The exit hangs on the quanta alone, not on when
    // the lanes were merged: a run comes out the same however it was stepped.
    Lane& lane = cpu().lane;
    const std::uint32_t duration = duration_since(call.start);
    if (lane.holds(call.sequence)) {
        lane.at(call.sequence).duration_ns = duration;
        lane.crossed.push_back(call.sequence);
    } else if (const auto out = lane.open_ordinals.find(call.sequence); out != lane.open_ordinals.end()) {
        trace.mutable_event(out->second).duration_ns = duration;
    } else {
        return;
    }
    Event& exit = record(EventKind::exit, PacketId::none, FunctionId::none, static_cast<std::uint32_t>(call.sequence));
    exit.duration_ns = duration;
}

/// Fills in an exit, the record with that sequence, from its call, which has gone out before it.
void Kernel::complete_exit(Lane& lane, std::uint64_t sequence, Event& exit)
{
    const auto out = lane.open_ordinals.find(sequence - static_cast<std::uint32_t>(static_cast<std::uint32_t>(sequence) - exit.arg));
    const std::uint64_t at = exit.time_ns;
    exit = trace[out->second];
    exit.time_ns = at;
    exit.kind = static_cast<std::uint8_t>(EventKind::exit);
    exit.arg = static_cast<std::uint32_t>(out->second);
    lane.open_ordinals.erase(out);
}

void Kernel::close_all(OpenCalls& calls)
{
    while (!calls.empty()) {
        close(calls.back());
        calls.pop_back();
    }
}

void Kernel::emit_hardware(EventKind kind, SimTime at, const NetDevice& device, PacketId packet, std::uint32_t arg)
{
    Event event;
    event.time_ns = at.ns;
    event.packet = to_index(packet);
    event.arg = arg;
    event.kind = static_cast<std::uint8_t>(kind);
    event.cpu = static_cast<std::uint16_t>(w.hosts[device.host].first_cpu + device.irq_cpu);
    event.host = static_cast<std::uint8_t>(w.hosts[device.host].id);
    event.flags = Event::make_flags(Context::hardirq);
    put_hardware(event);
}

void Kernel::put_hardware(const Event& event)
{
    // A CPU that is a little ahead may have told the hardware something already: the lane stays in order of time.
    if (trace.recording()) {
        w.hardware.insert_in_order(event);
    }
}

void Kernel::enqueue(QueueId queue, PacketId packet, FunctionId function)
{
    emit(EventKind::enqueue, packet, function, to_index(queue));
}

void Kernel::dequeue(QueueId queue, PacketId packet, FunctionId function)
{
    emit(EventKind::dequeue, packet, function, to_index(queue));
}

void Kernel::queue_fill(QueueId queue, std::uint64_t before, std::uint64_t after)
{
    if (before != after) {
        emit(EventKind::queue, PacketId::none, FunctionId::none,
             trace.add_queue_change({QueueChange::What::fill, queue, before, after}));
    }
}

void Kernel::counter_changed(CounterId counter, HostId host_id, PacketId packet, std::uint64_t before, std::uint64_t after, SimTime at)
{
    if (!trace.recording()) {
        return;
    }
    const std::uint32_t row = trace.add_counter_change({counter, before, after});
    if (at == never) {
        emit(EventKind::counter, packet, FunctionId::none, row);
        return;
    }
    Event event;
    event.time_ns = at.ns;
    event.packet = to_index(packet);
    event.arg = row;
    event.host = static_cast<std::uint8_t>(host_id);
    event.kind = static_cast<std::uint8_t>(EventKind::counter);
    event.flags = Event::make_flags(Context::hardirq);
    put_hardware(event);
}

namespace {
std::string in_net(const World& w, NetIndex net, std::string_view name)
{
    const std::string& of = w.nets[net].name;
    return of.empty() ? std::string(name) : of + ": " + std::string(name);
}
} // namespace

void Kernel::count(NetIndex index, Mib counter, PacketId packet, std::uint64_t by)
{
    Net& on = net(index);
    const auto row = static_cast<std::size_t>(counter);
    const HostId host_id = w.hosts[on.host].id;
    if (on.mib_ids[row] == CounterId::none) {
        on.mib_ids[row] = trace.add_counter({in_net(w, index, mib_names[row]), host_id});
    }
    const std::uint64_t before = on.mib[row];
    on.mib[row] = before + by;
    counter_changed(on.mib_ids[row], host_id, packet, before, before + by, never);
}

void Kernel::count_device(DeviceIndex index, DevStat counter, PacketId packet, std::uint64_t by, SimTime at)
{
    NetDevice& on = device(index);
    const auto row = static_cast<std::size_t>(counter);
    const HostId host_id = host_of(on).id;
    if (on.stat_ids[row] == CounterId::none) {
        on.stat_ids[row] = trace.add_counter({in_net(w, on.net, on.name + "." + std::string(device_stat_names[row])), host_id});
    }
    const std::uint64_t before = on.stats[row];
    on.stats[row] = before + by;
    counter_changed(on.stat_ids[row], host_id, packet, before, before + by, at);
}

void Kernel::count_softnet(std::uint32_t row, SoftnetStat counter, PacketId packet, std::uint64_t by)
{
    Cpu& on = w.cpus[row];
    Host& of = w.hosts[on.host];
    const auto which = static_cast<std::size_t>(counter);
    if (of.softnet_ids[which] == CounterId::none) {
        of.softnet_ids[which] = trace.add_counter({std::string(softnet_stat_names[which]), of.id});
    }
    on.softnet[which] += by;
    std::uint64_t sum = 0; // the trace shows the host's; World holds each CPU's
    for (std::uint32_t cpu = of.first_cpu; cpu < of.first_cpu + of.cpus; ++cpu) {
        sum += w.cpus[cpu].softnet[which];
    }
    counter_changed(of.softnet_ids[which], of.id, packet, sum - by, sum, never);
}

void Kernel::verdict(PacketId packet, Verdict verdict, FunctionId function)
{
    PacketRecord& record = trace.mutable_packet(packet);
    record.verdict = verdict;
    record.end_function = function;
    emit(EventKind::verdict, packet, function, static_cast<std::uint32_t>(verdict));
}

void Kernel::drop(PacketId packet, DropReasonId reason, FunctionId function)
{
    PacketRecord& record = trace.mutable_packet(packet);
    record.verdict = Verdict::dropped;
    record.reason = reason;
    record.end_function = function;
    record.death = cpu().now;
    emit(EventKind::drop, packet, function, to_index(reason));
}

void Kernel::attribute_since(std::uint64_t sequence, PacketId packet)
{
    Lane& lane = cpu().lane;
    const auto give = [&](Event& event) {
        if (event.is_call() && event.packet == 0 && event.context() == Context::process) {
            event.packet = to_index(packet);
        }
    };
    for (std::uint64_t at = std::max(sequence, lane.quantum); at < lane.next_sequence(); ++at) {
        give(lane.at(at));
    }
}

std::uint64_t Kernel::random(std::uint64_t below)
{
    // splitmix64: small, seeded, the same on every machine.
    std::uint64_t z = (w.random_state += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    z ^= z >> 31;
    return below == 0 ? z : z % below;
}

// ---- hardware -------------------------------------------------------------------------------------------------------------

namespace {
bool later(const DeviceEvent& a, const DeviceEvent& b)
{
    return a.at != b.at ? a.at > b.at : a.order > b.order;
}
} // namespace

void Kernel::schedule(DeviceEvent event)
{
    event.order = w.next_order++;
    w.events.push_back(std::move(event));
    std::ranges::push_heap(w.events, later);
    w.next_event = w.events.front().at;
}

void Kernel::run_hardware(SimTime t)
{
    while (next_hardware_event() <= t) {
        std::ranges::pop_heap(w.events, later);
        DeviceEvent event = std::move(w.events.back());
        w.events.pop_back();
        w.next_event = w.events.empty() ? never : w.events.front().at;
        const std::uint32_t mine = cpu_row;
        happen(*this, std::move(event));
        cpu_row = mine;
    }
}

// ---- time: whose turn it is --------------------------------------------------------------------------------------------------

std::int32_t Kernel::next_cpu()
{
    std::int32_t best = nothing;
    for (std::size_t row = 0; row < w.cpus.size(); ++row) {
        const Cpu& candidate = w.cpus[row];
        if (candidate.on_cpp_stack || !has_work(candidate)) {
            continue;
        }
        if (best == nothing || candidate.now < w.cpus[static_cast<std::size_t>(best)].now) {
            best = static_cast<std::int32_t>(row);
        }
    }
    return best;
}

void Kernel::take_interrupts()
{
    if (next_hardware_event() <= cpu().now) {
        run_hardware(cpu().now);
    }
    while (!cpu().pending_irqs.empty()) {
        const PendingIrq irq = cpu().pending_irqs.front();
        cpu().pending_irqs.pop_front();
        const bool interrupts_softirq = cpu().in_softirq;
        handle_interrupt(*this, irq);
        if (cpu().on_cpp_stack && !interrupts_softirq) {
            finish_softirqs_here();
        }
    }
}

void Kernel::finish_softirqs_here()
{
    while (!cpu().softirq.empty()) {
        step_softirq(*this);
        interleave();
    }
}

void Kernel::interleave()
{
    const std::uint32_t mine = cpu_row;
    const SimTime limit = cpu().now;
    for (;;) {
        const std::int32_t row = next_cpu();
        if (row == nothing || w.cpus[static_cast<std::size_t>(row)].now >= limit) {
            break;
        }
        step_cpu(static_cast<std::uint32_t>(row));
    }
    cpu_row = mine;
}

namespace {

constexpr Duration tick{4'000'000};          // HZ=250
constexpr Duration context_switch_cost{900}; // an estimate, as the costs file says of its figures

void switch_to(Kernel& k, std::int32_t next)
{
    Cpu& cpu = k.cpu();
    if (cpu.task != nothing) {
        k.task(cpu.task).depth = cpu.depth[0];
    }
    cpu.task = next;
    cpu.task_id = next == nothing ? 0 : to_index(k.task(next).id);
    cpu.depth[0] = next == nothing ? std::uint8_t{0} : k.task(next).depth;
    if (next != nothing) {
        cpu.now += context_switch_cost;
    }
    cpu.slice_end = cpu.now + tick;
    k.emit(EventKind::sched, PacketId::none, FunctionId::none);
}

/// Round robin: the task goes on until it sleeps or its slice is over and another one waits.
bool pick_task(Kernel& k)
{
    Cpu& cpu = k.cpu();
    const bool may_go_on = cpu.task != nothing && k.task(cpu.task).state == Task::State::runnable;
    if (may_go_on && (cpu.run_queue.empty() || cpu.now < cpu.slice_end)) {
        return true;
    }
    if (may_go_on) {
        cpu.run_queue.push_back(cpu.task);
    }
    std::int32_t next = nothing;
    if (!cpu.run_queue.empty()) {
        next = cpu.run_queue.front();
        cpu.run_queue.pop_front();
    }
    if (next != cpu.task) {
        switch_to(k, next);
    }
    return next != nothing;
}

} // namespace

void Kernel::step_cpu(std::uint32_t row)
{
    cpu_row = row;
    cpu().lane.quantum = next_sequence();
    take_interrupts();
    if (!cpu().softirq.empty()) {
        step_softirq(*this);
        return;
    }
    if (pick_task(*this)) {
        cpu().on_cpp_stack = true;
        step_task(*this, cpu().task);
        cpu_row = row;
        cpu().on_cpp_stack = false;
    }
}

void Kernel::merge(SimTime horizon)
{
    std::vector<Lane*> lanes{&w.hardware};
    for (Cpu& cpu : w.cpus) {
        lanes.push_back(&cpu.lane);
    }
    const auto head = [&](const Lane* lane) { return lane->empty() ? ~std::uint64_t{0} : lane->front().time_ns; };
    for (;;) {
        // The earliest lane goes out up to where the next one begins; at the same time, the one that stands first.
        std::size_t first = 0;
        for (std::size_t row = 1; row < lanes.size(); ++row) {
            first = head(lanes[row]) < head(lanes[first]) ? row : first;
        }
        std::uint64_t limit = horizon.ns; // only what lies before
        for (std::size_t row = 0; row < lanes.size(); ++row) {
            if (row != first) {
                const std::uint64_t other = head(lanes[row]);
                limit = std::min(limit, row > first && other != ~std::uint64_t{0} ? other + 1 : other);
            }
        }
        Lane& lane = *lanes[first];
        const std::uint64_t sequence = lane.first_sequence();
        std::size_t count = 0;
        for (const Event& event : lane.waiting()) {
            if (event.time_ns >= limit) {
                break;
            }
            if (event.is_call() && (!event.has_end() || (!lane.crossed.empty() && std::erase(lane.crossed, sequence + count) > 0))) {
                lane.open_ordinals.emplace(sequence + count, trace.size());
            }
            Event& out = trace.append(event);
            if (event.event_kind() == EventKind::exit) {
                complete_exit(lane, sequence + count, out);
            }
            ++count;
        }
        if (count == 0) {
            return;
        }
        lane.take(count);
    }
}

void Kernel::run_until(SimTime t)
{
    constexpr int steps_between_merges = 256;
    int steps = 0;
    for (;;) {
        const std::int32_t row = next_cpu();
        const SimTime cpu_time = row == nothing ? never : w.cpus[static_cast<std::size_t>(row)].now;
        const SimTime hardware_time = next_hardware_event();
        const SimTime next = std::min(cpu_time, hardware_time);
        if (next > t || next == never) {
            merge(next);
            w.now = std::max(w.now, std::min(t, next));
            return;
        }
        if (++steps % steps_between_merges == 0) {
            merge(next);
        }
        if (hardware_time <= cpu_time) {
            run_hardware(hardware_time);
        } else {
            step_cpu(static_cast<std::uint32_t>(row));
        }
    }
}

SimTime Kernel::next_time()
{
    const std::int32_t row = next_cpu();
    return std::min(row == nothing ? never : w.cpus[static_cast<std::size_t>(row)].now, w.next_event);
}

bool Kernel::idle()
{
    return next_cpu() == nothing && w.events.empty();
}

} // namespace skbscope::kernel
