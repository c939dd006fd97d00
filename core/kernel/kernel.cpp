#include "core/kernel/kernel.h"

#include "core/kernel/functions.h"
#include "core/kernel/tasks.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstring>

namespace skbscope::kernel {

// ---- calls and events ----------------------------------------------------------------------------------------------------

namespace {

/// A record of that CPU, now. All of it is written, once: a model writes three hundred a packet.
[[gnu::always_inline]] inline void fill(Event& event, const Cpu& on, EventKind kind, PacketId packet, FunctionId function, std::uint32_t arg,
                                        std::uint8_t depth)
{
    event.time_ns = on.now.ns;
    event.duration_ns = Event::unknown_duration;
    event.packet = to_index(packet);
    event.task = on.task_id;
    event.arg = arg;
    if constexpr (std::endian::native == std::endian::little) {
        static_assert(static_cast<unsigned>(Confidence::certain) == 0 && via_model == 0); // the flags are the context alone
        static_assert(offsetof(Event, function) == 24 && offsetof(Event, cpu) == 26 && offsetof(Event, kind) == 28 && offsetof(Event, flags) == 29 &&
                      offsetof(Event, depth) == 30 && offsetof(Event, host) == 31);
        const std::uint64_t rest = on.event_marks | static_cast<std::uint16_t>(function) | static_cast<std::uint64_t>(kind) << 32 |
                                   static_cast<std::uint64_t>(on.context) << 40 | static_cast<std::uint64_t>(depth) << 48;
        std::memcpy(reinterpret_cast<unsigned char*>(&event) + offsetof(Event, function), &rest, sizeof rest);
        return;
    }
    event.function = static_cast<std::uint16_t>(function);
    event.cpu = static_cast<std::uint16_t>(on.id);
    event.kind = static_cast<std::uint8_t>(kind);
    event.flags = Event::make_flags(on.context);
    event.depth = depth;
    event.host = static_cast<std::uint8_t>(on.host_id);
}

/// Its result is the record's sequence in that CPU's lane.
[[gnu::always_inline]] inline std::uint64_t record_call(Cpu& on, FunctionId function, PacketId packet, std::uint32_t arg)
{
    const std::uint64_t sequence = on.lane.next_sequence();
    fill(on.lane.push(), on, EventKind::call, packet, function, arg, on.depth[static_cast<std::size_t>(on.context)]++);
    return sequence;
}

} // namespace

// What is rare is out of the way, in functions of its own: so the others need no stack.

Event& Kernel::record(EventKind kind, PacketId packet, FunctionId function, std::uint32_t arg)
{
    Cpu& on = *cpu_;
    if (on.lane.full()) [[unlikely]] {
        return record_in_larger_lane(kind, packet, function, arg);
    }
    Event& event = on.lane.push();
    fill(event, on, kind, packet, function, arg, 0);
    return event;
}

[[gnu::noinline, gnu::cold]] Event& Kernel::record_in_larger_lane(EventKind kind, PacketId packet, FunctionId function, std::uint32_t arg)
{
    cpu_->lane.grow();
    return record(kind, packet, function, arg);
}

void Kernel::enter_watched(std::uint64_t& sequence, FunctionId function, PacketId packet, std::uint32_t arg)
{
    if (cpu_->now >= due_ || cpu_->lane.full()) [[unlikely]] {
        enter_after_more(sequence, function, packet, arg);
        return;
    }
    sequence = record_call(*cpu_, function, packet, arg); // as nothing is due, it is for the record
    cpu_->now += costs_[to_index(function)];
}

[[gnu::noinline]] void Kernel::enter_after_more(std::uint64_t& sequence, FunctionId function, PacketId packet, std::uint32_t arg)
{
    look_up();
    if (recording_) {
        sequence = record_call(*cpu_, function, packet, arg);
    }
    cpu_->now += costs_[to_index(function)];
}

void Kernel::enter_watched(std::uint64_t& sequence, FunctionId function, SkbIndex skb, std::uint32_t arg)
{
    enter_watched(sequence, function, skb == nothing ? PacketId::none : this->skb(skb).packet, arg);
}

void Kernel::close_recorded(std::uint64_t sequence)
{
    Cpu& on = *cpu_;
    assert(sequence >= on.lane.quantum);
    Event& event = on.lane.at(sequence);
    --on.depth[static_cast<std::size_t>(event.context())];
    event.duration_ns = duration_since(event.time());
}

void Kernel::open_watched(OpenHandle& handle, FunctionId function, PacketId packet, std::uint32_t arg)
{
    look_up();
    Cpu& on = *cpu_;
    if (recording_) {
        handle.start = on.now;
        handle.context = on.context;
        handle.sequence = record_call(on, function, packet, arg);
        handle.lasting = on.lane.begin_lasting();
        on.lane.specials.push_back({handle.sequence, handle.lasting, false});
    }
    on.now += costs_[to_index(function)];
}

void Kernel::close_lasting(const OpenHandle& call)
{
    Cpu& on = *cpu_;
    --on.depth[static_cast<std::size_t>(call.context)];
    if (call.sequence < on.lane.quantum) {
        close_late(call);
        return;
    }
    on.lane.at(call.sequence).duration_ns = duration_since(call.start);
}

void Kernel::field_changed(SkbIndex skb, SkbField field, std::uint64_t before, std::uint64_t after)
{
    record(EventKind::field, this->skb(skb).packet, FunctionId::none, trace.add_field_change(field, before, after));
}

void Kernel::look_up()
{
    if (cpu_->now >= due_) [[unlikely]] {
        look_up_now();
    }
}

void Kernel::look_up_now()
{
    if (cpu_->context != Context::hardirq) {
        take_interrupts();
    }
}

void Kernel::close_late(const OpenHandle& call)
{
    // Whoever watched between the two quanta saw the call without its end. The exit hangs on the quanta alone, not on when
    // the lanes were merged: a run comes out the same however it was stepped.
    Lane& lane = cpu().lane;
    const std::uint32_t duration = duration_since(call.start);
    Lane::Lasting& lasting = lane.lasting(call.lasting);
    const bool waits = lane.holds(call.sequence);
    Event& begun = waits ? lane.at(call.sequence) : trace.mutable_event(lasting.ordinal);
    begun.duration_ns = duration;
    Event exit = begun; // nothing else of the call changes any more: it is of an earlier quantum
    exit.time_ns = cpu_->now.ns;
    exit.kind = static_cast<std::uint8_t>(EventKind::exit);
    exit.arg = static_cast<std::uint32_t>(lasting.ordinal);
    if (waits) { // put_out() knows its place
        lasting.has_exit = true;
        lane.specials.push_back({lane.next_sequence(), call.lasting, true});
    } else {
        lane.end_lasting(call.lasting);
    }
    lane.push() = exit;
}

void Kernel::close_all(OpenCalls& calls)
{
    if (!recording_) {
        calls.clear();
        return;
    }
    while (!calls.empty()) {
        close(calls.back());
        calls.pop_back();
    }
}

void Kernel::emit_hardware_recorded(EventKind kind, SimTime at, const NetDevice& device, PacketId packet, std::uint32_t arg)
{
    Event event;
    event.time_ns = at.ns;
    event.packet = to_index(packet);
    event.arg = arg;
    event.kind = static_cast<std::uint8_t>(kind);
    event.cpu = static_cast<std::uint16_t>(w.hosts[device.host].first_cpu + device.irq_cpu);
    event.host = static_cast<std::uint8_t>(w.hosts[device.host].id);
    event.flags = Event::make_flags(Context::hardirq);
    // A CPU that is a little ahead may have told the hardware something already: the lane stays in order of time.
    w.hardware.insert_in_order(event);
}

void Kernel::queue_fill(QueueId queue, std::uint64_t before, std::uint64_t after)
{
    if (recording_ && before != after) {
        emit(EventKind::queue, PacketId::none, FunctionId::none,
             trace.add_queue_change({QueueChange::What::fill, queue, before, after}));
    }
}

void Kernel::counter_changed(CounterId counter, HostId host_id, PacketId packet, std::uint64_t before, std::uint64_t after, SimTime at)
{
    const std::uint32_t row = trace.add_counter_change(counter, before, after);
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
    w.hardware.insert_in_order(event);
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
    if (recording_) {
        count_recorded(index, counter, packet, by);
    } else {
        net(index).mib[static_cast<std::size_t>(counter)] += by;
    }
}

void Kernel::count_recorded(NetIndex index, Mib counter, PacketId packet, std::uint64_t by)
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
    if (recording_) {
        count_device_recorded(index, counter, packet, by, at);
    } else {
        device(index).stats[static_cast<std::size_t>(counter)] += by;
    }
}

void Kernel::count_device_recorded(DeviceIndex index, DevStat counter, PacketId packet, std::uint64_t by, SimTime at)
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
    if (!recording_) {
        on.softnet[which] += by;
        return;
    }
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

void Kernel::attribute_recorded(std::uint64_t sequence, PacketId packet)
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
bool later(const EventTurn& a, const EventTurn& b)
{
    return a.at != b.at ? a.at > b.at : a.order > b.order;
}
} // namespace

void Kernel::schedule(DeviceEvent&& event)
{
    schedule_as(w.next_order++, std::move(event));
}

void Kernel::schedule_as(std::uint64_t order, DeviceEvent&& event)
{
    std::uint32_t row = static_cast<std::uint32_t>(w.events.size());
    if (w.free_events.empty()) {
        w.events.emplace_back();
    } else {
        row = w.free_events.back();
        w.free_events.pop_back();
    }
    w.event_queue.push_back({event.at, order, row});
    std::ranges::push_heap(w.event_queue, later);
    w.next_event = w.event_queue.front().at;
    note_due();
    event.order = order;
    w.events[row] = std::move(event);
}

void Kernel::run_hardware(SimTime t)
{
    while (next_hardware_event() <= t) {
        const std::uint32_t row = w.event_queue.front().event;
        std::ranges::pop_heap(w.event_queue, later);
        w.event_queue.pop_back();
        w.next_event = w.event_queue.empty() ? never : w.event_queue.front().at;
        Cpu& mine = *cpu_;
        happen(*this, w.events[row]);
        w.free_events.push_back(row);
        set_cpu(mine);
    }
}

// ---- time: whose turn it is --------------------------------------------------------------------------------------------------

Cpu* Kernel::next_cpu(SimTime* until)
{
    Cpu* best = nullptr;
    SimTime first = never, second = never;
    for (Cpu& candidate : w.cpus) {
        if (!has_work(candidate) || candidate.on_cpp_stack) {
            continue;
        }
        if (best == nullptr || candidate.now < first) {
            second = first;
            first = candidate.now;
            best = &candidate;
        } else {
            second = std::min(second, candidate.now);
        }
    }
    if (until != nullptr) {
        *until = second;
    }
    return best;
}

void Kernel::take_interrupts()
{
    if (next_hardware_event() <= cpu().now) {
        run_hardware(cpu().now);
    }
    while (cpu().irq_waits) {
        const PendingIrq irq = cpu().take_irq();
        note_due();
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
    Cpu& mine = *cpu_;
    const SimTime limit = mine.now;
    for (;;) {
        Cpu* const next = next_cpu();
        if (next == nullptr || next->now >= limit) {
            break;
        }
        set_cpu(*next);
        step_cpu();
    }
    set_cpu(mine);
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

void Kernel::step_cpu()
{
    Cpu& on = *cpu_;
    on.lane.quantum = on.lane.next_sequence();
    if (on.now >= due_) {
        take_interrupts();
    }
    if (!on.softirq.empty()) {
        step_softirq(*this);
        return;
    }
    if (pick_task(*this)) {
        on.on_cpp_stack = true;
        step_task(*this, on.task);
        set_cpu(on);
        on.on_cpp_stack = false;
    }
}

void Kernel::merge(SimTime horizon)
{
    if (!recording_) {
        return;
    }
    constexpr std::uint64_t no_head = ~std::uint64_t{0};
    struct Part {
        Lane* lane;
        std::uint64_t head;      ///< time of its first event
        std::size_t special = 0; ///< of lane->specials: those before have gone out
    };
    SmallList<Part, 16> parts;
    const auto add = [&](Lane& lane) {
        if (!lane.empty()) {
            parts.push_back({&lane, lane.front().time_ns});
        }
    };
    add(w.hardware);
    for (Cpu& cpu : w.cpus) {
        add(cpu.lane);
    }
    while (!parts.empty()) {
        // The earliest lane goes out up to where the next one begins; at the same time, the one that stands first.
        std::size_t first = 0;
        std::uint64_t limit = no_head;
        for (std::size_t row = 1; row < parts.size(); ++row) {
            const std::uint64_t head = parts[row].head;
            if (head < parts[first].head) {
                limit = parts[first].head;
                first = row;
            } else if (head < limit) {
                limit = head + 1;
            }
        }
        Part& part = parts[first];
        const std::size_t count = put_out(*part.lane, part.special, std::min(limit, horizon.ns)); // only what lies before
        if (count == 0) {
            break;
        }
        part.lane->take(count);
        part.head = part.lane->empty() ? no_head : part.lane->front().time_ns;
    }
    for (Part& part : parts) {
        auto& specials = part.lane->specials;
        specials.erase(specials.begin(), specials.begin() + static_cast<std::ptrdiff_t>(part.special));
    }
}

namespace {

/// How many of them, which are in order of time, lie before `limit`.
std::size_t count_before(std::span<const Event> events, std::uint64_t limit)
{
    constexpr std::size_t stride = 8;
    std::size_t count = 0;
    while (count + stride <= events.size() && events[count + stride - 1].time_ns < limit) {
        count += stride;
    }
    while (count < events.size() && events[count].time_ns < limit) {
        ++count;
    }
    return count;
}

} // namespace

/// Appends what the lane holds before `limit` to the trace: how much that was. The places of calls whose exits are still to come are
/// remembered, and exits are told those of their calls.
std::size_t Kernel::put_out(Lane& lane, std::size_t& special, std::uint64_t limit)
{
    const std::span<const Event> waiting = lane.waiting();
    const std::size_t count = count_before(waiting, limit);
    const std::uint64_t sequence = lane.first_sequence();
    const std::uint64_t ordinal = trace.size();
    for (; special < lane.specials.size() && lane.specials[special].sequence < sequence + count; ++special) {
        const auto [at, row, is_exit] = lane.specials[special];
        Lane::Lasting& call = lane.lasting(row);
        if (is_exit) {
            lane.at(at).arg = static_cast<std::uint32_t>(call.ordinal);
            lane.end_lasting(row);
        } else if (call.has_exit || !lane.at(at).has_end()) {
            call.ordinal = ordinal + (at - sequence);
        } else {
            lane.end_lasting(row);
        }
    }
    trace.append_all(waiting.first(count));
    return count;
}

void Kernel::run_until(SimTime t)
{
    constexpr int steps_between_merges = 256;
    const SimTime end = t == never ? never : t + 1_ns; // what happens, happens before
    int steps = 0;
    Cpu* turn = nullptr;
    SimTime until; // it has its turn as long as its clock stands before, it has work, and nobody is woken
    for (;;) {
        if (turn == nullptr || woken_ || turn->now >= until || !has_work(*turn)) {
            woken_ = false;
            turn = next_cpu(&until);
        }
        const SimTime cpu_time = turn == nullptr ? never : turn->now;
        const SimTime hardware_time = next_hardware_event();
        const SimTime next = std::min(cpu_time, hardware_time);
        if (next >= end) {
            merge(next);
            w.now = std::max(w.now, std::min(t, next));
            return;
        }
        if (++steps >= steps_between_merges) {
            steps = 0;
            merge(next);
        }
        if (hardware_time <= cpu_time) {
            run_hardware(hardware_time);
        } else {
            const SimTime before = std::min(until, end);
            set_cpu(*turn);
            compute_ahead(*this, std::min(hardware_time, before));
            step_cpu();
            steps += go_on_in_softirq(before, steps_between_merges - steps);
        }
    }
}

/// Most quanta are of a softirq and follow each other on one CPU: those, up to `most`, as long as it has its turn by the rules of
/// run_until() and nothing is due. How many there were.
int Kernel::go_on_in_softirq(SimTime before, int most)
{
    Cpu& on = *cpu_;
    int quanta = 0;
    while (!on.softirq.empty() && on.now < due_ && on.now < before && !woken_ && quanta < most && cpu_ == &on) {
        on.lane.quantum = on.lane.next_sequence();
        step_softirq(*this);
        ++quanta;
    }
    return quanta;
}

SimTime Kernel::next_time()
{
    const Cpu* const next = next_cpu();
    return std::min(next == nullptr ? never : next->now, w.next_event);
}

bool Kernel::idle()
{
    return next_cpu() == nullptr && w.event_queue.empty();
}

} // namespace skbscope::kernel
