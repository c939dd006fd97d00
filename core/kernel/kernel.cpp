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

/// A record of that CPU. All of it is written, once: a model writes two hundred a packet. `marks`: Cpu::event_marks, with what they
/// lack.
[[gnu::always_inline]] inline void fill(Event& event, const Cpu& on, SimTime now, std::uint64_t marks, PacketId packet, std::uint32_t arg)
{
    event.time_ns = now.ns;
    event.duration_ns = Event::unknown_duration;
    event.packet = to_index(packet);
    event.task = on.task_id;
    event.arg = arg;
    static_assert(static_cast<unsigned>(Confidence::certain) == 0 && via_model == 0); // the flags are the context alone
    static_assert(offsetof(Event, function) == 24 && offsetof(Event, cpu) == 26 && offsetof(Event, kind) == 28 && offsetof(Event, flags) == 29 &&
                  offsetof(Event, depth) == 30 && offsetof(Event, host) == 31);
    if constexpr (std::endian::native == std::endian::little) {
        std::memcpy(reinterpret_cast<unsigned char*>(&event) + offsetof(Event, function), &marks, sizeof marks);
        return;
    }
    event.function = static_cast<std::uint16_t>(marks);
    event.cpu = static_cast<std::uint16_t>(marks >> 16);
    event.kind = static_cast<std::uint8_t>(marks >> 32);
    event.flags = static_cast<std::uint8_t>(marks >> 40);
    event.depth = static_cast<std::uint8_t>(marks >> 48);
    event.host = static_cast<std::uint8_t>(marks >> 56);
}

[[gnu::always_inline]] inline void record_call(Cpu& on, FunctionId function, PacketId packet, std::uint32_t arg, SimTime now)
{
    static_assert(static_cast<unsigned>(EventKind::call) == 0);
    std::uint64_t& marks = on.event_marks[static_cast<std::size_t>(on.context)];
    const std::uint64_t outer = marks;
    marks = outer + Cpu::one_deeper;
    fill(on.lane.push(), on, now, outer | static_cast<std::uint16_t>(function), packet, arg);
}

} // namespace

// What is rare is out of the way, in functions of its own: so the others need no stack.

Event& Kernel::record(EventKind kind, PacketId packet, FunctionId function, std::uint32_t arg)
{
    Cpu& on = *cpu_;
    if (on.lane.full()) [[unlikely]] {
        return record_in_larger_lane(kind, packet, function, arg);
    }
    const std::uint64_t marks = on.event_marks[static_cast<std::size_t>(on.context)] & Cpu::no_depth;
    Event& event = on.lane.push();
    fill(event, on, on.now, marks | static_cast<std::uint16_t>(function) | static_cast<std::uint64_t>(kind) << 32, packet, arg);
    return event;
}

[[gnu::noinline, gnu::cold]] Event& Kernel::record_in_larger_lane(EventKind kind, PacketId packet, FunctionId function, std::uint32_t arg)
{
    cpu_->lane.grow();
    return record(kind, packet, function, arg);
}

void Kernel::enter_watched(Lane::Place& place, FunctionId function, PacketId packet, std::uint32_t arg)
{
    Cpu& on = *cpu_;
    const SimTime now = on.now;
    if (now >= due_ || on.lane.full()) [[unlikely]] {
        enter_after_more(place, function, packet, arg);
        return;
    }
    place = on.lane.next_place();
    on.now = now + costs_[to_index(function)];
    record_call(on, function, packet, arg, now); // as nothing is due, it is for the record
}

[[gnu::noinline]] void Kernel::enter_after_more(Lane::Place& place, FunctionId function, PacketId packet, std::uint32_t arg)
{
    look_up();
    Cpu& on = *cpu_;
    if (recording_) {
        place = on.lane.next_place();
        record_call(on, function, packet, arg, on.now);
    }
    on.now += costs_[to_index(function)];
}

void Kernel::enter_watched(Lane::Place& place, FunctionId function, SkbIndex skb, std::uint32_t arg)
{
    enter_watched(place, function, skb == nothing ? PacketId::none : this->skb(skb).packet, arg);
}

void Kernel::close_recorded(Lane::Place place)
{
    Cpu& on = *cpu_;
    assert(place < on.lane.next_place());
    Event& event = on.lane.at_place(place);
    on.event_marks[static_cast<std::size_t>(event.context())] -= Cpu::one_deeper;
    event.duration_ns = duration_since(event.time());
}

void Kernel::open_watched(OpenHandle& handle, FunctionId function, PacketId packet, std::uint32_t arg)
{
    look_up();
    Cpu& on = *cpu_;
    if (recording_) {
        handle.start = on.now;
        handle.context = on.context;
        handle.sequence = on.lane.next_sequence();
        record_call(on, function, packet, arg, on.now);
        handle.lasting = on.lane.begin_lasting();
        on.lane.specials.push_back({handle.sequence, handle.lasting, false});
    }
    on.now += costs_[to_index(function)];
}

void Kernel::close_lasting(const OpenHandle& call)
{
    Cpu& on = *cpu_;
    on.event_marks[static_cast<std::size_t>(call.context)] -= Cpu::one_deeper;
    if (call.sequence < on.lane.quantum) {
        close_late(call);
        return;
    }
    on.lane.at(call.sequence).duration_ns = duration_since(call.start);
}

void Kernel::field_changed(SkbIndex skb, SkbField field, std::uint64_t before, std::uint64_t after)
{
    if (trace.field_changes().full()) [[unlikely]] {
        field_changed_in_larger_table(skb, field, before, after);
        return;
    }
    record(EventKind::field, this->skb(skb).packet, FunctionId::none, trace.add_field_change(field, before, after));
}

[[gnu::noinline, gnu::cold]] void Kernel::field_changed_in_larger_table(SkbIndex skb, SkbField field, std::uint64_t before, std::uint64_t after)
{
    trace.reserve_field_changes();
    field_changed(skb, field, before, after);
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
    for (Event& event : lane.waiting().subspan(std::max(sequence, lane.quantum) - lane.first_sequence())) {
        if (event.packet == 0 && event.is_call() && event.context() == Context::process) {
            event.packet = to_index(packet);
        }
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

namespace {

/// The CPU that can be stepped whose clock is furthest behind, of those that stand before this time.
Cpu* next_cpu_before(World& w, SimTime limit)
{
    Cpu* best = nullptr;
    for (Cpu& candidate : w.cpus) {
        if (candidate.now < limit && has_work(candidate) && !candidate.on_cpp_stack) {
            limit = candidate.now;
            best = &candidate;
        }
    }
    return best;
}

} // namespace

void Kernel::interleave()
{
    Cpu& mine = *cpu_;
    const SimTime limit = mine.now;
    Cpu* next = next_cpu_before(w, limit);
    if (next == nullptr) {
        return;
    }
    for (; next != nullptr; next = next_cpu_before(w, limit)) {
        set_cpu(*next);
        step_cpu();
    }
    set_cpu(mine);
}

void Kernel::stand_still(Duration time)
{
    const SimTime until = cpu().now + time;
    do {
        cpu().now = std::clamp(next_hardware_event(), cpu().now, until);
        run_hardware(cpu().now);
        interleave();
    } while (cpu().now < until || next_hardware_event() <= until);
}

namespace {

constexpr Duration tick{4'000'000};          // HZ=250
constexpr Duration context_switch_cost{900}; // an estimate, as the costs file says of its figures

void switch_to(Kernel& k, std::int32_t next)
{
    Cpu& cpu = k.cpu();
    if (cpu.task != nothing) {
        k.task(cpu.task).depth = cpu.process_depth();
    }
    cpu.task = next;
    cpu.task_id = next == nothing ? 0 : to_index(k.task(next).id);
    cpu.set_process_depth(next == nothing ? std::uint8_t{0} : k.task(next).depth);
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

namespace {

/// A lane while it is merged.
class MergedLane {
public:
    /// Precondition: it is not empty. At the same time, the lane with the smaller row comes first.
    MergedLane(Lane& lane, std::uint32_t row) : lane_(&lane), row_(row)
    {
        const std::span<Event> waiting = lane.waiting();
        at_ = waiting.data();
        end_ = at_ + waiting.size();
        head_ = at_->time_ns;
        find_special();
    }
    [[nodiscard]] std::uint64_t head() const { return head_; } ///< time of its next record
    [[nodiscard]] bool before(const MergedLane& other) const { return head_ != other.head_ ? head_ < other.head_ : row_ < other.row_; }
    /// Its records before this time come before the other's next.
    [[nodiscard]] std::uint64_t limit(const MergedLane& other) const { return other.head_ + (row_ < other.row_ ? 1 : 0); }
    /// Appends its records before `limit` to the trace; precondition: there is one. False: nothing is left.
    bool put_out(Trace& trace, std::uint64_t limit)
    {
        do {
            if (at_ == special_) {
                put_out_special(trace);
            }
            at_ = trace.append_before(at_, stop_, limit);
            if (at_ == end_) {
                return false;
            }
            head_ = at_->time_ns;
        } while (head_ < limit);
        return true;
    }
    /// What has gone out is taken from the lane.
    void take()
    {
        if (const auto gone = static_cast<std::size_t>(at_ - lane_->waiting().data()); gone > 0) {
            lane_->take(gone);
        }
        auto& specials = lane_->specials;
        specials.erase(specials.begin(), specials.begin() + static_cast<std::ptrdiff_t>(specials_done_));
    }

private:
    void find_special()
    {
        const bool none = specials_done_ == lane_->specials.size();
        special_ = none ? nullptr : &lane_->at(lane_->specials[specials_done_].sequence);
        stop_ = none ? end_ : special_;
    }
    /// The place of a call whose exit is still to come is remembered, and an exit is told that of its call.
    void put_out_special(const Trace& trace)
    {
        const auto [at, row, is_exit] = lane_->specials[specials_done_++];
        Lane::Lasting& call = lane_->lasting(row);
        if (is_exit) {
            at_->arg = static_cast<std::uint32_t>(call.ordinal);
            lane_->end_lasting(row);
        } else if (call.has_exit || !at_->has_end()) {
            call.ordinal = trace.size();
        } else {
            lane_->end_lasting(row);
        }
        find_special();
    }

    Lane* lane_;
    Event* at_;      ///< the next to go out
    Event* stop_;    ///< until here they are but copied: special_ or end_
    Event* special_; ///< the next that is one of lane_->specials; nullptr: there is none
    Event* end_;
    std::uint64_t head_;
    std::size_t specials_done_ = 0; ///< of lane_->specials: those before have gone out
    std::uint32_t row_;
};

/// Into its place among those behind it, which are in order.
void sort_in_first(std::span<MergedLane*> order)
{
    MergedLane* const first = order.front();
    std::size_t at = 0;
    for (; at + 1 < order.size() && order[at + 1]->before(*first); ++at) {
        order[at] = order[at + 1];
    }
    order[at] = first;
}

} // namespace

/// The CPUs of two hosts take turns at every other record: so what is done for each turn is as little as can be.
void Kernel::merge(SimTime horizon)
{
    if (!recording_) {
        return;
    }
    std::vector<MergedLane> lanes;
    lanes.reserve(w.cpus.size() + 1);
    const auto add = [&](Lane& lane) {
        if (!lane.empty()) {
            lanes.emplace_back(lane, static_cast<std::uint32_t>(lanes.size()));
        }
    };
    add(w.hardware);
    for (Cpu& cpu : w.cpus) {
        add(cpu.lane);
    }
    std::vector<MergedLane*> by_time;
    by_time.reserve(lanes.size());
    for (MergedLane& lane : lanes) {
        by_time.push_back(&lane);
    }
    std::ranges::sort(by_time, [](const MergedLane* a, const MergedLane* b) { return a->before(*b); });
    std::span<MergedLane*> left = by_time;
    while (!left.empty() && left.front()->head() < horizon.ns) {
        const std::uint64_t limit = left.size() == 1 ? horizon.ns : std::min(left.front()->limit(*left[1]), horizon.ns);
        if (left.front()->put_out(trace, limit)) {
            sort_in_first(left);
        } else {
            left = left.subspan(1);
        }
    }
    for (MergedLane& lane : lanes) {
        lane.take();
    }
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
