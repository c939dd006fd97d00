#include "core/trace/journey.h"

#include "core/catalog/function_ids.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace skbscope {

namespace {
constexpr std::uint32_t net_rx_vector = 3; // include/linux/interrupt.h: NET_RX_SOFTIRQ
constexpr std::ptrdiff_t most_parked = 256; // calls open in tasks that left a CPU; more are of tasks that never return to it
}

Duration Journey::waited(SimTime until) const
{
    Duration total;
    for (const Wait& wait : waits) {
        const SimTime end = std::min(wait.to, until);
        if (end > wait.from) {
            total += end - wait.from;
        }
    }
    return total;
}

JourneyIndex::JourneyIndex(const Trace& trace) : trace_(&trace) {}

void JourneyIndex::reset()
{
    *this = JourneyIndex(*trace_);
}

void JourneyIndex::update()
{
    for (; taken_ < trace_->size(); ++taken_) {
        take(static_cast<std::uint32_t>(taken_));
    }
}

JourneyIndex::Entry& JourneyIndex::entry(PacketId packet)
{
    const std::size_t index = to_index(packet);
    if (index >= entries_.size()) {
        entries_.resize(std::max(index + 1, trace_->packet_count() + 1));
    }
    return entries_[index];
}

void JourneyIndex::take(std::uint32_t ordinal)
{
    const Event& event = (*trace_)[ordinal];
    const std::size_t lanes = (std::size_t{event.cpu} + 1) * 4;
    if (lanes > lanes_.size()) {
        lanes_.resize(lanes);
        interrupts_.resize(lanes / 4);
    }
    if (event.packet != 0) {
        entry(event.packet_id()).events.push_back(ordinal);
    }
    switch (event.event_kind()) {
    case EventKind::call: take_call(ordinal, event); break;
    case EventKind::exit:
        for (Frame& frame : lanes_[event.cpu * 4U + static_cast<unsigned>(event.context())]) {
            if (frame.ordinal == event.arg) {
                frame.end = event.time();
            }
        }
        break;
    case EventKind::softirq_raise:
        if (event.arg == net_rx_vector && event.context() == Context::hardirq) {
            raised(interrupts_[event.cpu]);
        }
        break;
    case EventKind::lost: // nobody knows which of its calls have returned meanwhile
        for (unsigned context = 0; context < 4; ++context) {
            lanes_[event.cpu * 4U + context].clear();
        }
        interrupts_[event.cpu] = {};
        break;
    default: break;
    }
}

void JourneyIndex::close_ended(Lane& lane, SimTime t, Context context)
{
    // Of an observed trace an unknown end means: not seen; a model's open call really is open.
    while (!lane.empty() && lane.back().end <= t) {
        pop(lane, context);
    }
}

bool JourneyIndex::is_part_of_no_packet(const Lane& lane, std::size_t at, Context context) const
{
    // An interrupt that hit the softirqs is no part of what they do, though irq_exit_rcu is still open below it; nor is
    // another round of NET_RX a part of this one.
    return !trace_->info.observed && context != Context::hardirq && at > 0 && lane[at].packet == PacketId::none &&
           !lane[at].is_net_rx_action && lane[at].users.empty() && lane[at - 1].packet == PacketId::none;
}

void JourneyIndex::pop(Lane& lane, Context context)
{
    const bool is_part = is_part_of_no_packet(lane, lane.size() - 1, context);
    const std::uint32_t ordinal = lane.back().ordinal;
    lane.pop_back();
    if (!is_part) {
        return;
    }
    lane.back().children.push_back(ordinal);
    for (const PacketId user : lane.back().users) {
        entry(user).shared.push_back(ordinal);
    }
}

void JourneyIndex::take_call(std::uint32_t ordinal, const Event& event)
{
    const std::size_t base = event.cpu * std::size_t{4};
    const auto level = static_cast<std::size_t>(event.context());
    Lane& lane = lanes_[base + level];
    close_ended(lane, event.time(), event.context());
    const bool shared_by_tasks = trace_->info.observed && level == 0;
    if (shared_by_tasks && !lane.empty() && lane.back().task != event.task) {
        // Another task, maybe only for a moment (ksoftirqd): what this one called is still open, when it goes on after that.
        if (std::ssize(lane) > most_parked) {
            lane.erase(lane.begin(), lane.begin() + most_parked / 2);
        }
        std::stable_partition(lane.begin(), lane.end(), [&](const Frame& frame) { return frame.task != event.task; });
    }
    while (!lane.empty() && lane.back().depth >= event.depth && (!shared_by_tasks || lane.back().task == event.task)) {
        pop(lane, event.context());
    }
    if (level == 0 && !shared_by_tasks && !lane.empty() && lane.front().task != event.task) {
        lane.clear();
    }
    Interrupts& interrupts = interrupts_[event.cpu];
    const bool is_net_rx_action = event.function_id() == fn::net_rx_action;
    if (event.context() == Context::hardirq) {
        // A new interrupt: outermost, or it hit what ran below (irq_exit_rcu of an earlier one may still be open).
        if (event.depth == 0 || interrupts.last < Context::hardirq) {
            interrupts.block.clear();
        }
        interrupts.block.push_back(ordinal);
    }
    // Since 6.3 an interrupt that hits net_rx_action() raises nothing: its NAPI is polled in the same loop.
    const bool polls_in_loop = trace_->info.kernel >= KernelVersion::v6_12;
    if (polls_in_loop && event.context() == Context::hardirq && event.function_id() == fn::__napi_schedule) {
        raised(interrupts);
    }
    const bool polls_another = polls_in_loop && event.context() == Context::softirq && event.function_id() == fn::__napi_poll;
    if (is_net_rx_action || (polls_another && !interrupts.raised_by.empty())) {
        interrupts.run_for = std::exchange(interrupts.raised_by, {});
        interrupts.polling_for = interrupts.run_for.empty() ? Block{} : interrupts.run_for.back();
    }
    if (event.context() == Context::softirq && interrupts.run_for.size() > 1) {
        find_interrupt_of(event.function_id(), interrupts);
    }
    interrupts.last = event.context();

    const bool knows_nesting = !trace_->info.observed;
    if (event.packet != 0) {
        use_lane(lane, event);
        if (level == static_cast<std::size_t>(Context::softirq)) {
            // Softirqs run on the way out of the interrupt: irq_exit_rcu is still open below them.
            Lane& outer = lanes_[base + static_cast<std::size_t>(Context::hardirq)];
            close_ended(outer, event.time(), Context::hardirq);
            if (knows_nesting || (!outer.empty() && outer.back().end != never)) {
                use_lane(outer, event);
            }
            // Or in ksoftirqd, whose thread function runs in process context below them.
            Lane& thread = lanes_[base];
            close_ended(thread, event.time(), Context::process);
            if (!thread.empty() && thread.back().task == event.task &&
                (*trace_)[thread.back().ordinal].function_id() == fn::run_ksoftirqd) {
                use_lane(thread, event);
            }
        }
    }
    if (knows_nesting) {
        give_to_callers(lane, ordinal, event);
    }
    lane.push_back({ordinal, event.task, event.packet_id(), event.depth, is_net_rx_action, event.end(), {}, {}});
}

/// The interrupt now running lets NET_RX run, after it or in the loop that it hit.
void JourneyIndex::raised(Interrupts& interrupts) const
{
    if (interrupts.block.empty()) {
        return;
    }
    if (!interrupts.raised_by.empty() && interrupts.raised_by.back().front() == interrupts.block.front()) {
        interrupts.raised_by.back() = interrupts.block; // it goes on
    } else {
        interrupts.raised_by.push_back(interrupts.block);
    }
}

/// Several interrupts came before NET_RX ran: of some polls the interrupt is known that schedules them, and no other.
void JourneyIndex::find_interrupt_of(FunctionId poll, Interrupts& interrupts) const
{
    // drivers/net/virtio_net.c: skb_recv_done(), skb_xmit_done(); net/core/dev.c: rps_trigger_softirq()
    const FunctionId by = poll == fn::virtnet_poll      ? fn::skb_recv_done
                          : poll == fn::virtnet_poll_tx ? fn::skb_xmit_done
                          : poll == fn::process_backlog ? fn::rps_trigger_softirq
                                                        : FunctionId::none;
    if (by == FunctionId::none) {
        return;
    }
    const auto calls = [&](const Block& block) {
        return std::ranges::any_of(block, [&](std::uint32_t ordinal) { return (*trace_)[ordinal].function_id() == by; });
    };
    if (const auto found = std::ranges::find_if(interrupts.run_for, calls); found != interrupts.run_for.end()) {
        interrupts.polling_for = *found;
    }
}

void JourneyIndex::give_to_callers(const Lane& lane, std::uint32_t ordinal, const Event& event)
{
    PacketId last = event.packet_id();
    for (auto frame = lane.rbegin(); frame != lane.rend(); ++frame) {
        if (frame->packet != PacketId::none && frame->packet != last && frame->packet != event.packet_id()) {
            last = frame->packet;
            entry(last).shared.push_back(ordinal);
        }
    }
}

void JourneyIndex::use_lane(Lane& lane, const Event& event)
{
    const PacketId packet = event.packet_id();
    const bool has_other_tasks = trace_->info.observed && &lane == &lanes_[event.cpu * std::size_t{4}];
    for (Frame& frame : lane) {
        if (has_other_tasks && frame.task != event.task) {
            continue;
        }
        // The last user is the likely one; a batch of many packets makes the list longer, but never long.
        if (frame.packet == packet || std::find(frame.users.rbegin(), frame.users.rend(), packet) != frame.users.rend()) {
            continue;
        }
        frame.users.push_back(packet);
        Entry& journey = entry(packet);
        journey.shared.push_back(frame.ordinal);
        journey.shared.insert(journey.shared.end(), frame.children.begin(), frame.children.end());
        // One net_rx_action() may poll for several interrupts (see take_call()): each poll has its own.
        const bool is_poll = trace_->info.kernel >= KernelVersion::v6_12 && (*trace_)[frame.ordinal].function_id() == fn::__napi_poll &&
                             event.context() == Context::softirq;
        if (frame.is_net_rx_action || is_poll) {
            const auto& block = interrupts_[event.cpu].polling_for;
            journey.shared.insert(journey.shared.end(), block.begin(), block.end());
        }
    }
}

std::span<const std::uint32_t> JourneyIndex::events_of(PacketId packet) const
{
    const std::size_t index = to_index(packet);
    return index < entries_.size() ? std::span<const std::uint32_t>(entries_[index].events)
                                   : std::span<const std::uint32_t>();
}

namespace {

std::vector<Wait> waits_of(const Trace& trace, std::span<const std::uint32_t> events)
{
    std::vector<Wait> waits;
    for (const std::uint32_t ordinal : events) {
        const Event& event = trace[ordinal];
        if (event.event_kind() == EventKind::enqueue) {
            waits.push_back({event.queue_id(), event.time(), never});
        } else if (event.event_kind() == EventKind::dequeue) {
            const auto open = std::find_if(waits.rbegin(), waits.rend(), [&](const Wait& wait) {
                return wait.queue == event.queue_id() && wait.to == never;
            });
            if (open != waits.rend()) {
                open->to = event.time();
            }
        }
    }
    return waits;
}

std::vector<CounterMove> counters_of(const Trace& trace, std::span<const std::uint32_t> events)
{
    std::vector<CounterMove> moves;
    for (const std::uint32_t ordinal : events) {
        const Event& event = trace[ordinal];
        if (event.event_kind() != EventKind::counter) {
            continue;
        }
        const CounterChange& change = trace.counter_changes()[event.arg];
        const auto by = static_cast<std::int64_t>(change.after - change.before);
        const auto same = std::ranges::find(moves, change.counter, &CounterMove::counter);
        if (same == moves.end()) {
            moves.push_back({change.counter, by});
        } else {
            same->by += by;
        }
    }
    return moves;
}

} // namespace

Journey JourneyIndex::journey(PacketId packet) const
{
    Journey journey;
    journey.packet = packet;
    if (to_index(packet) >= entries_.size()) {
        return journey;
    }
    const Entry& entry = entries_[to_index(packet)];
    journey.events = entry.events;
    for (const std::uint32_t ordinal : entry.events) {
        if ((*trace_)[ordinal].is_call()) {
            journey.steps.push_back({ordinal, false});
        }
    }
    for (const std::uint32_t ordinal : entry.shared) {
        journey.steps.push_back({ordinal, true});
    }
    // Calls that have ended, but behind which nothing came yet that would have closed them.
    for (std::size_t row = 0; row < lanes_.size(); ++row) {
        const Lane& lane = lanes_[row];
        for (std::size_t at = 1; at < lane.size(); ++at) {
            const auto& users = lane[at - 1].users;
            if (is_part_of_no_packet(lane, at, static_cast<Context>(row % 4)) && std::ranges::find(users, packet) != users.end()) {
                journey.steps.push_back({lane[at].ordinal, true});
            }
        }
    }
    std::ranges::sort(journey.steps, {}, &Step::ordinal);
    const auto same = [](const Step& a, const Step& b) { return a.ordinal == b.ordinal; };
    journey.steps.erase(std::unique(journey.steps.begin(), journey.steps.end(), same), journey.steps.end());
    journey.waits = waits_of(*trace_, entry.events);
    journey.counters = counters_of(*trace_, entry.events);
    return journey;
}

} // namespace skbscope
