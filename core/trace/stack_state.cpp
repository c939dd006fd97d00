#include "core/trace/stack_state.h"

#include "core/catalog/catalog.h"
#include "core/catalog/function_ids.h"
#include "core/catalog/room_on_way.h"

#include <algorithm>
#include <numeric>

namespace skbscope {

namespace {
constexpr std::size_t kept_ended = 256;
constexpr std::size_t process_level = static_cast<std::size_t>(Context::process);
} // namespace

std::optional<Context> CpuState::running() const
{
    // The call begun last runs. Mostly that is the highest level, but softirqs run inside irq_exit_rcu: that call stays open
    // at the hard interrupt's level while theirs is at work.
    std::optional<Context> latest;
    std::size_t ordinal = 0;
    for (std::size_t level = 0; level < levels.size(); ++level) {
        if (!levels[level].empty() && (!latest || levels[level].back().ordinal > ordinal)) {
            latest = static_cast<Context>(level);
            ordinal = levels[level].back().ordinal;
        }
    }
    return latest;
}

const OpenCall* CpuState::innermost() const
{
    const auto level = running();
    return level ? &levels[static_cast<std::size_t>(*level)].back() : nullptr;
}

PacketId CpuState::packet() const
{
    const auto level = running();
    if (!level) {
        return PacketId::none;
    }
    const auto& calls = levels[static_cast<std::size_t>(*level)];
    const auto named = std::find_if(calls.rbegin(), calls.rend(),
                                    [](const OpenCall& call) { return call.packet != PacketId::none; });
    return named == calls.rend() ? PacketId::none : named->packet;
}

std::uint64_t Accounting::decided() const
{
    return std::accumulate(by_verdict.begin(), by_verdict.end(), std::uint64_t{0}) - of(Verdict::in_flight);
}

StackState::StackState(const Trace& trace) : trace_(&trace) {}

bool StackState::irq_masked(DeviceId device) const
{
    return to_index(device) < masked_.size() && masked_[to_index(device)];
}

PacketState* StackState::find(PacketId id)
{
    const auto found = packets_.find(id);
    return found == packets_.end() ? nullptr : &found->second;
}

CpuState& StackState::cpu(const Event& event)
{
    if (event.cpu >= cpus_.size()) {
        cpus_.resize(event.cpu + std::size_t{1});
    }
    cpus_[event.cpu].host = event.host_id();
    return cpus_[event.cpu];
}

void StackState::pop_call(CpuState& cpu, std::size_t level)
{
    const PacketId packet = cpu.levels[level].back().packet;
    cpu.levels[level].pop_back();
    if (packet == PacketId::none) {
        return;
    }
    for (const auto& calls : cpu.levels) {
        if (std::ranges::find(calls, packet, &OpenCall::packet) != calls.end()) {
            return;
        }
    }
    PacketState* state = find(packet);
    if (state != nullptr && state->where == PacketState::Where::running && &cpus_[to_index(state->cpu)] == &cpu) {
        state->where = PacketState::Where::parked;
    }
}

void StackState::clear_level(CpuState& cpu, std::size_t level)
{
    while (!cpu.levels[level].empty()) {
        pop_call(cpu, level);
    }
}

void StackState::close_ended(CpuState& cpu, SimTime t)
{
    for (std::size_t level = cpu.levels.size(); level-- > 0;) {
        while (!cpu.levels[level].empty() && cpu.levels[level].back().end <= t) {
            pop_call(cpu, level);
        }
    }
}

void StackState::close_quiet(CpuState& cpu, SimTime t)
{
    if (!trace_->info.observed) {
        return;
    }
    for (std::size_t level = cpu.levels.size(); level-- > 0;) {
        const auto& calls = cpu.levels[level];
        if (!calls.empty() && calls.back().end == never && t > cpu.last_seen[level] + quiet) {
            while (!calls.empty() && calls.back().end == never) {
                pop_call(cpu, level);
            }
        }
    }
}

void StackState::settle(SimTime t)
{
    for (CpuState& cpu : cpus_) {
        close_ended(cpu, t);
        close_quiet(cpu, t);
    }
    time_ = std::max(time_, t);
}

void StackState::on_birth(const Event& event)
{
    ++accounting_.born;
    PacketState state;
    state.since = event.time();
    state.cpu = event.cpu_id();
    state.context = event.context();
    state.function = event.function_id();
    state.room = room_on_way(event.function_id(), RoomId::none, event.context());
    packets_.insert_or_assign(event.packet_id(), state);
}

void StackState::on_call(std::size_t ordinal, const Event& event)
{
    CpuState& on = cpu(event);
    const auto level = static_cast<std::size_t>(event.context());
    // What ran above this level has returned, or this call could not have begun.
    for (std::size_t above = on.levels.size() - 1; above > level; --above) {
        // Softirqs run inside irq_exit_rcu, which therefore stays open below them: a known end says so.
        while (!on.levels[above].empty() &&
               (trace_->info.observed ? on.levels[above].back().end == never || on.levels[above].back().end <= event.time()
                                      : on.levels[above].back().end <= event.time())) {
            pop_call(on, above);
        }
    }
    auto& calls = on.levels[level];
    while (!calls.empty() && calls.back().depth >= event.depth) {
        pop_call(on, level);
    }
    if (level == process_level) {
        if (!calls.empty() && calls.front().task != event.task_id()) {
            clear_level(on, level);
        }
        on.task = event.task_id();
    }
    on.last_seen[level] = event.time();
    calls.push_back({ordinal, event.function_id(), event.packet_id(), event.task_id(), event.time(), event.end(), event.depth});
    if (event.function_id() == fn::net_rx_action) {
        on.softirq_pending &= static_cast<std::uint16_t>(~(1U << 3));
    } else if (event.function_id() == fn::net_tx_action) {
        on.softirq_pending &= static_cast<std::uint16_t>(~(1U << 2));
    }

    PacketState* packet = find(event.packet_id());
    if (packet == nullptr) {
        return;
    }
    packet->function = event.function_id();
    packet->cpu = event.cpu_id();
    packet->context = event.context();
    if (packet->queue != QueueId::none) {
        return; // a call about a packet that already waits (sock_def_readable after __skb_queue_tail)
    }
    packet->where = PacketState::Where::running;
    const RoomId room = room_on_way(event.function_id(), packet->room, event.context());
    if (room != RoomId::none && room != packet->room) {
        packet->previous_room = packet->room;
        packet->room = room;
        packet->since = event.time();
    }
}

void StackState::on_enqueue(const Event& event)
{
    const std::size_t index = to_index(event.queue_id());
    if (index == 0 || index >= trace_->queues().size()) {
        return;
    }
    QueueState& queue = queues_[index];
    queue.packets.push_back(event.packet_id());
    if (trace_->queues()[index].unit == QueueUnit::packets) {
        queue.peak = std::max<std::uint64_t>(queue.peak, queue.packets.size());
    }
    if (PacketState* packet = find(event.packet_id())) {
        packet->where = PacketState::Where::waiting;
        packet->queue = event.queue_id();
        const RoomId room = trace_->queues()[index].room;
        if (room != RoomId::none && room != packet->room) {
            packet->previous_room = packet->room;
            packet->room = room;
        }
        packet->since = event.time();
    }
}

void StackState::on_dequeue(const Event& event)
{
    const std::size_t index = to_index(event.queue_id());
    if (index < queues_.size()) {
        auto& waiting = queues_[index].packets;
        const auto found = std::ranges::find(waiting, event.packet_id());
        if (found != waiting.end()) {
            waiting.erase(found);
        }
    }
    PacketState* packet = find(event.packet_id());
    if (packet != nullptr && packet->queue == event.queue_id()) {
        packet->where = PacketState::Where::parked;
        packet->queue = QueueId::none;
        packet->since = event.time();
    }
}

void StackState::on_sched(const Event& event)
{
    CpuState& on = cpu(event);
    clear_level(on, process_level);
    on.task = event.task_id();
}

void StackState::set_verdict(PacketId id, Verdict verdict)
{
    PacketState* packet = find(id);
    if (packet == nullptr || packet->verdict == verdict) {
        return;
    }
    if (packet->verdict != Verdict::in_flight) {
        --accounting_.by_verdict[static_cast<std::size_t>(packet->verdict)];
    }
    if (verdict != Verdict::in_flight) {
        ++accounting_.by_verdict[static_cast<std::size_t>(verdict)];
    }
    packet->verdict = verdict;
}

void StackState::end_packet(PacketId id)
{
    const auto found = packets_.find(id);
    if (found == packets_.end()) {
        return;
    }
    if (found->second.queue != QueueId::none) {
        auto& waiting = queues_[to_index(found->second.queue)].packets;
        std::erase(waiting, id);
    }
    packets_.erase(found);
    ended_.push_back(id);
    if (ended_.size() > kept_ended) {
        ended_.pop_front();
    }
}

void StackState::apply(std::size_t ordinal)
{
    const Event& event = (*trace_)[ordinal];
    applied_ = ordinal + 1;
    time_ = event.time();
    for (std::size_t index = queues_.size(); index < trace_->queues().size(); ++index) {
        queues_.emplace_back().limit = trace_->queues()[index].limit;
    }
    counters_.resize(trace_->counters().size());
    close_ended(cpu(event), event.time());
    close_quiet(cpu(event), event.time());

    switch (event.event_kind()) {
    case EventKind::call: on_call(ordinal, event); break;
    case EventKind::exit:
        for (OpenCall& call : cpu(event).levels[static_cast<std::size_t>(event.context())]) {
            if (static_cast<std::uint32_t>(call.ordinal) == event.arg) {
                call.end = event.time();
            }
        }
        close_ended(cpu(event), event.time());
        break;
    case EventKind::birth: on_birth(event); break;
    case EventKind::verdict: set_verdict(event.packet_id(), event.verdict()); break;
    case EventKind::merge: set_verdict(event.packet_id(), Verdict::merged); break;
    case EventKind::drop:
        set_verdict(event.packet_id(), Verdict::dropped);
        ++drops_[{event.reason(), event.function_id(), event.host_id()}];
        end_packet(event.packet_id());
        break;
    case EventKind::free: end_packet(event.packet_id()); break;
    case EventKind::enqueue: on_enqueue(event); break;
    case EventKind::dequeue: on_dequeue(event); break;
    case EventKind::irq_mask:
    case EventKind::irq_unmask:
        masked_.resize(std::max<std::size_t>(masked_.size(), event.arg + std::size_t{1}));
        masked_[event.arg] = event.event_kind() == EventKind::irq_mask;
        break;
    case EventKind::softirq_raise: cpu(event).softirq_pending |= static_cast<std::uint16_t>(1U << (event.arg & 15)); break;
    case EventKind::sched: on_sched(event); break;
    case EventKind::counter: {
        const CounterChange& change = trace_->counter_changes()[event.arg];
        counters_[to_index(change.counter)] = change.after;
        break;
    }
    case EventKind::queue: {
        const QueueChange& change = trace_->queue_changes()[event.arg];
        QueueState& queue = queues_[to_index(change.queue)];
        if (change.what == QueueChange::What::limit) {
            queue.limit = change.after;
        } else {
            queue.fill = change.after;
            queue.peak = std::max(queue.peak, change.after);
        }
        break;
    }
    case EventKind::lost: lost_ += event.arg; break;
    case EventKind::clone:
    case EventKind::split:
    case EventKind::irq_raise:
    case EventKind::wakeup:
    case EventKind::field:
    case EventKind::setting:
    case EventKind::note: break;
    }
}

StateCache::StateCache(const Trace& trace) : trace_(&trace), current_(trace)
{
    checkpoints_.push_back(current_);
}

void StateCache::reset()
{
    *this = StateCache(*trace_);
}

const StackState& StateCache::at(SimTime t)
{
    return seek(trace_->lower_bound({t.ns == never.ns ? t.ns : t.ns + 1}), t);
}

const StackState& StateCache::after(std::size_t n)
{
    n = std::min(n, trace_->size());
    return seek(n, n == 0 ? SimTime{} : (*trace_)[n - 1].time());
}

const StackState& StateCache::seek(std::size_t n, SimTime t)
{
    const std::size_t nearest = std::min(n / interval, checkpoints_.size() - 1);
    const bool behind = current_.applied() > n || t < settled_at_;
    if (behind || current_.applied() < nearest * interval) {
        current_ = checkpoints_[nearest];
    }
    while (current_.applied() < n) {
        current_.apply(current_.applied());
        if (current_.applied() == checkpoints_.size() * interval) {
            checkpoints_.push_back(current_);
        }
    }
    current_.settle(t);
    settled_at_ = t;
    return current_;
}

namespace {

void apply_field(const Trace& trace, const FieldChange& change, SkbImage& image)
{
    if (change.field != SkbField::bytes) {
        image.fields[static_cast<std::size_t>(change.field)] = change.after;
        return;
    }
    const auto bytes = trace.bytes().subspan(change.after, change.length);
    if (image.frame.size() < change.offset + std::size_t{change.length}) {
        image.frame.resize(change.offset + std::size_t{change.length});
    }
    std::ranges::copy(bytes, image.frame.begin() + change.offset);
}

} // namespace

SkbImage skb_image(const Trace& trace, PacketId packet, std::span<const std::uint32_t> events, std::size_t ordinal)
{
    SkbImage image;
    const auto frame = trace.frame(packet);
    image.frame.assign(frame.begin(), frame.end());
    // The frame of the table is the one on the wire; changes that this host made to it before the playhead lie on top.
    for (const std::uint32_t at : events) {
        if (at > ordinal) {
            break;
        }
        const Event& event = trace[at];
        if (event.is_call()) {
            image.changed_here.clear();
        } else if (event.event_kind() == EventKind::field) {
            const FieldChange& change = trace.field_changes()[event.arg];
            apply_field(trace, change, image);
            image.changed_here.push_back(change);
        }
    }
    return image;
}

} // namespace skbscope
