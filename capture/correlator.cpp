// How records reach the rules: one decoder an event, names, losses, and what remains at the end.

#include "capture/correlator.h"
#include "capture/correlator_detail.h"
#include "core/catalog/catalog.h"

#include <algorithm>
#include <fmt/format.h>
#include <iterator>

namespace skbscope {

using namespace correlating;

// ---- set up
// ---------------------------------------------------------------------------------------------------------

Correlator::Correlator(const TracedKernel& kernel, Trace& trace, Options options)
    : kernel_(kernel), trace_(trace), options_(options),
      book_(trace, options.items != nullptr ? *options.items : trace)
{
    functions_.emplace_back();
    for (const EventFormat& format : kernel.formats()) {
        prepare(format);
    }
    // The loop moved into a function of its own in 6.9 and in stable releases of 6.1.
    softirq_loop_ = symbol_named(kernel.symbols.contains("handle_softirqs") ? Name("handle_softirqs")
                                                                            : Name("__do_softirq"));
    raise_softirq_ = symbol_named("__raise_softirq_irqoff");
    net_tx_action_ = symbol_named("net_tx_action");
    cpu_lanes_.resize(std::size_t{std::max<std::uint16_t>(kernel.cpus, 1)} * 4);
    last_call_.resize(cpu_lanes_.size() / 4, {0, Context::process});
    loop_calls_.resize(last_call_.size());
}

void Correlator::prepare(const EventFormat& format)
{
    const auto id = static_cast<std::size_t>(format.id);
    if (decoders_.size() <= id) {
        decoders_.resize(id + 1);
    }
    Decoder& decoder = decoders_[id];
    decoder.handler = &Correlator::on_anything;
    decoder.event = KnownName(format.name);
    using Handler = void (Correlator::*)(const RawRecord&, const Decoder&);
    static const std::unordered_map<std::string, Handler> handlers = {
        {"ftrace:function", &Correlator::on_function},
        {"ftrace:funcgraph_entry", &Correlator::on_graph_entry},
        {"ftrace:funcgraph_exit", &Correlator::on_graph_exit},
        {"irq:irq_handler_entry", &Correlator::on_irq_entry},
        {"irq:irq_handler_exit", &Correlator::on_irq_exit},
        {"irq:softirq_raise", &Correlator::on_softirq_raise},
        {"irq:softirq_entry", &Correlator::on_softirq_entry},
        {"irq:softirq_exit", &Correlator::on_softirq_exit},
        {"napi:napi_poll", &Correlator::on_return_marker},
        {"net:napi_gro_receive_entry", &Correlator::on_gro_entry},
        {"net:napi_gro_frags_entry", &Correlator::on_gro_entry},
        {"net:napi_gro_receive_exit", &Correlator::on_gro_exit},
        {"net:napi_gro_frags_exit", &Correlator::on_gro_exit},
        {"net:netif_receive_skb_entry", &Correlator::on_netif_receive},
        {"net:netif_receive_skb", &Correlator::on_netif_receive},
        {"net:netif_rx_entry", &Correlator::on_netif_rx},
        {"net:netif_rx_ni_entry", &Correlator::on_netif_rx},
        {"net:netif_rx", &Correlator::on_netif_rx},
        {"net:net_dev_queue", &Correlator::on_dev_queue},
        {"net:net_dev_start_xmit", &Correlator::on_start_xmit},
        {"net:net_dev_xmit", &Correlator::on_xmit},
        {"qdisc:qdisc_enqueue", &Correlator::on_qdisc_enqueue},
        {"qdisc:qdisc_dequeue", &Correlator::on_qdisc_dequeue},
        {"skb:consume_skb", &Correlator::on_consume},
        {"skb:kfree_skb", &Correlator::on_kfree},
        {"skb:skb_copy_datagram_iovec", &Correlator::on_merge_only},
        {"fib:fib_table_lookup", &Correlator::on_fib},
        {"icmp:icmp_send", &Correlator::on_icmp_send},
        {"neigh:neigh_update", &Correlator::on_neigh_update},
        {"neigh:neigh_event_send_done", &Correlator::on_neigh_sent},
        {"neigh:neigh_create", &Correlator::on_merge_only},
        {"neigh:neigh_timer_handler", &Correlator::on_merge_only},
        {"sock:sk_data_ready", &Correlator::on_data_ready},
        {"sock:sock_send_length", &Correlator::on_sent},
        {"sock:sock_recv_length", &Correlator::on_received},
    };
    const auto at = handlers.find(format.system + ":" + format.name);
    if (at != handlers.end()) {
        decoder.handler = at->second;
    } else if (format.field("__probe_ip")) {
        decoder.handler = &Correlator::on_kprobe;
    } else {
        return; // known, but tells nothing that is used here
    }
    const auto first_of = [&](std::initializer_list<const char*> names) {
        for (const char* name : names) {
            if (const EventField field = format.field(name)) {
                return field;
            }
        }
        return EventField{};
    };
    xmit_result_is_seen_ = xmit_result_is_seen_ || format.name == "net_dev_xmit";
    consume_is_recorded_ = consume_is_recorded_ || (format.system == "skb" && format.name == "consume_skb");
    decoder.skb = first_of({"skbaddr", "skb"});
    decoder.name = format.device_name();
    decoder.length = first_of({"len"});
    decoder.protocol = first_of({"protocol", "proto"});
    decoder.location = first_of({"location"});
    decoder.reason = first_of({"reason"});
    decoder.number = first_of({"ret", "rc", "vec", "packets", "nud_state", "depth", "irq"});
    decoder.address_a = first_of({"src", "saddr"});
    decoder.address_b = first_of({"dst", "daddr", "primary_key4"});
    decoder.port_a = first_of({"sport", "ports"});
    decoder.port_b = first_of({"dport"});
    static constexpr std::array<std::pair<const char*, SkbField>, 6> fields = {
        {{"len", SkbField::len},
         {"data_len", SkbField::data_len},
         {"truesize", SkbField::truesize},
         {"hash", SkbField::hash},
         {"ip_summed", SkbField::ip_summed},
         {"queue_mapping", SkbField::queue_mapping}}};
    decoder.told_count = 0;
    for (const auto& [name, field] : fields) {
        if (const EventField place = format.field(name); place && place.size <= 8 && !place.is_data_loc) {
            decoder.told_fields[decoder.told_count++] = {field, place};
        }
    }
    decoder.family = format.field("family");
    decoder.key6 = format.field("primary_key6");
    decoder.socket = first_of({"skaddr", "sk"});
    decoder.call_flags = format.field("flags");
    if (format.name == "function") {
        decoder.address_a = format.field("ip");
        decoder.address_b = format.field("parent_ip");
    } else if (format.name == "funcgraph_entry" || format.name == "funcgraph_exit") {
        decoder.address_a = format.field("func");
        decoder.port_a = format.field("calltime");
        decoder.port_b = format.field("rettime");
    }
    decoder.fields = format.fields;
    for (const auto& [value, name] : format.symbols_of("reason")) {
        if (value < 0 || value > 4096) {
            continue;
        }
        if (decoder.reasons.size() <= static_cast<std::size_t>(value)) {
            decoder.reasons.resize(static_cast<std::size_t>(value) + 1, DropReasonId::none);
            decoder.reason_is_none.resize(decoder.reasons.size(), false);
        }
        decoder.reasons[static_cast<std::size_t>(value)] = Catalog::find_drop_reason(name);
        decoder.reason_is_none[static_cast<std::size_t>(value)] =
            name == "CONSUMED" || name == "NOT_DROPPED_YET";
    }
}

void Correlator::prepare_for(const RawRecord& record)
{
    const std::size_t lanes = (std::size_t{record.cpu} + 1) * 4;
    if (lanes > cpu_lanes_.size()) {
        cpu_lanes_.resize(lanes);
        last_call_.resize(lanes / 4, {0, Context::process});
        loop_calls_.resize(last_call_.size());
    }
    if (record.lost_before != 0) {
        lost(record);
    }
}

void Correlator::on_unknown(const RawRecord& record, const Decoder& decoder)
{
    (void)record;
    (void)decoder;
    ++unknown_events_;
}

void Correlator::on_anything(const RawRecord& record, const Decoder& decoder)
{
    (void)record;
    (void)decoder;
}

// ---- names
// ----------------------------------------------------------------------------------------------------------

Symbol Correlator::symbol_looked_up(const Name& name)
{
    const Symbol symbol = symbol_of_text(name.text);
    recent_names_[name.number >> 56] = {name.number, symbol};
    return symbol;
}

Symbol Correlator::symbol_of_text(std::string_view name)
{
    name = without_suffix(name);
    auto at = symbol_by_name_.find(name);
    if (at == symbol_by_name_.end()) {
        std::string key(name);
        at = symbol_by_name_.emplace(key, static_cast<Symbol>(functions_.size())).first;
        Function function;
        function.id = trace_.function_named(key);
        function.kind = kind_of(key);
        function.is_entry = is_entry(key);
        function.interrupts_softirq = is_one_of(key, {"irq_enter_rcu", "irq_enter"});
        function.interrupts =
            function.interrupts_softirq || is_one_of(key, {"handle_softirqs", "__do_softirq"});
        function.is_bh_enable = key == "__local_bh_enable_ip";
        function.is_receive = key.find("netif_receive_skb") != std::string::npos;
        std::ranges::transform(hosts_of(key), std::back_inserter(function.hosts), number_of_name);
        std::ranges::transform(jumpers_to(key), std::back_inserter(function.jumpers), number_of_name);
        function.name = KnownName(std::move(key));
        functions_.push_back(std::move(function));
    }
    return at->second;
}

Symbol Correlator::symbol_of_function(std::uint64_t address)
{
    if (const Symbol known = symbol_by_address_.find(address); known != 0) {
        return known;
    }
    const auto hit = kernel_.symbols.find(address);
    const Symbol symbol =
        symbol_of_text(hit.name.empty() ? fmt::format("{:#x}", address) : std::string(hit.name));
    symbol_by_address_.set(address, symbol);
    return symbol;
}

Symbol Correlator::symbol_of_caller(std::uint64_t address)
{
    if (const Symbol known = symbol_by_call_site_.find(address); known != 0) {
        return known;
    }
    const auto hit = kernel_.symbols.find(address);
    const Symbol symbol = symbol_of_text(hit.name.empty() ? std::string_view("?") : hit.name);
    symbol_by_call_site_.set(address, symbol);
    return symbol;
}

TaskId Correlator::task_looked_up(std::int32_t pid)
{
    if (pid <= 0) {
        return TaskId::none;
    }
    const auto [at, is_new] = tasks_.emplace(pid, TaskId::none);
    if (is_new) {
        TaskRecord task;
        task.pid = pid;
        task.name = kernel_.task_name(pid);
        if (task.name.empty()) {
            task.name = "?";
        }
        at->second = trace_.add_task(std::move(task));
    }
    recent_tasks_[static_cast<std::uint32_t>(pid) % recent_tasks_.size()] = {pid, at->second};
    return at->second;
}

DeviceId Correlator::device_looked_up(const RawRecord& record, const Decoder& decoder)
{
    if (record.device_name != 0) {
        if (record.device_name >= device_by_number_.size()) {
            device_by_number_.resize(std::size_t{record.device_name} + 1, DeviceId::none);
        }
        return device_by_number_[record.device_name] = device_named(decoder.name.text(record.data));
    }
    const ShortBytes bytes(decoder.name.bytes(record.data));
    auto& [known, device] = recent_devices_[bytes.place()];
    if (bytes.size != 0 && bytes == known) {
        return device;
    }
    known = bytes;
    return device = device_named(decoder.name.text(record.data));
}

DeviceId Correlator::device_named(std::string_view name)
{
    if (name.empty()) {
        return DeviceId::none;
    }
    if (const auto at = devices_.find(name); at != devices_.end()) {
        return at->second;
    }
    DeviceRecord device;
    device.name = name;
    const DeviceId id = trace_.add_device(std::move(device));
    devices_.emplace(name, id);
    return id;
}

/// Nothing of what was open or pending here is known any more.
void Correlator::forget_lane(Lane& lane)
{
    for (const Frame& frame : lane.stack) {
        if (frame.packet != 0) {
            book_.at(frame.packet).packet.touched_by_loss = true;
        }
    }
    pop_to(lane, 0);
    lane.handed_up.clear();
    lane.clones.clear();
    lane.received.clear();
    lane.completed.clear();
    lane.list.clear();
    lane.ready.clear();
    lane.fragments.clear();
    lane.to_join.clear();
    lane.pieces.clear();
    lane.sending = lane.new_original = lane.joined_into = 0;
}

/// Where only the order tells whom a call serves, it tells nothing any more: what waited there comes to an end that no record shows, but
/// for those `served`.
void Correlator::forget_orders(const std::vector<Slot>& served, std::uint32_t item)
{
    std::vector<Slot> waiting;
    const auto take = [&waiting](auto& slots) {
        waiting.insert(waiting.end(), slots.begin(), slots.end());
        slots.clear();
    };
    for (std::deque<Slot>* queue :
         {&tcp_.unsent, &tcp_.unacked, &tcp_.backlog, &tcp_.received, &tcp_.out_of_order, &tap_queue_,
          &share_checked_, &unnamed_in_backlog_, &fragments_waiting_, &requeued_}) {
        take(*queue);
    }
    tcp_.reading = 0;
    std::ranges::transform(unresolved_, std::back_inserter(waiting), &Waiting::slot);
    unresolved_.clear();
    in_frag_lists_.clear();
    if (!reads_end_with_event_) {
        for (auto& [socket, queue] : socket_queues_) {
            take(queue.waiting);
            queue.early.clear();
        }
    }
    for (const Slot each : waiting) {
        const Slot slot = book_.resolve(each);
        const bool is_served = std::ranges::any_of(
            served, [&](Slot other) { return other != 0 && book_.resolve(other) == slot; });
        if (slot != 0 && book_.at(slot).born && !book_.at(slot).dead && !is_served) {
            book_.at(slot).packet.touched_by_loss = true;
            book_.end_unseen(slot, item);
        }
    }
}

/// Whom calls serve that are open on other CPUs: those have not ended.
std::vector<Slot> Correlator::served_elsewhere(std::uint16_t cpu) const
{
    std::vector<Slot> served;
    const auto use = [&](const Lane& lane) {
        for (const Frame& frame : lane.stack) {
            served.insert(served.end(), {frame.packet, frame.child, frame.follow});
            if (frame.lists) {
                const BatchLists& lists = *frame.lists;
                for (const SlotQueue* queue : {&lists.cored, &lists.to_check, &lists.checked, &lists.to_route,
                                               &lists.to_deliver, &lists.listed}) {
                    served.insert(served.end(), queue->begin(), queue->end());
                }
            }
        }
        served.insert(served.end(), lane.handed_up.begin(), lane.handed_up.end());
    };
    for (std::size_t row = 0; row < cpu_lanes_.size(); ++row) {
        if (row / 4 != cpu) {
            use(cpu_lanes_[row]);
        }
    }
    for (const auto& [pid, lane] : task_lanes_) {
        if (lane.cpu != cpu) {
            use(lane);
        }
    }
    return served;
}

/// The living packet with that address, 0: none. One that may have ended in what was lost has ended now, unseen: nothing tells that it is
/// the one of before.
Slot Correlator::owner_of(std::uint64_t address, std::uint32_t item)
{
    const Slot slot = book_.living(address);
    if (slot == 0 || !book_.at(slot).is_doubtful) {
        return slot;
    }
    book_.end_unseen(slot, item);
    return 0;
}

void Correlator::lost(const RawRecord& record)
{
    const bool is_counted = record.lost_before != RawRecord::unknown_loss;
    lost_records_ += is_counted ? record.lost_before : 0;
    loss_not_counted_ = loss_not_counted_ || !is_counted;
    forgets_ = true;
    for (std::size_t level = 0; level < 4; ++level) {
        forget_lane(cpu_lanes_[record.cpu * std::size_t{4} + level]);
    }
    for (auto& [pid, lane] : task_lanes_) {
        if (lane.cpu == record.cpu) {
            forget_lane(lane);
        }
    }
    forgets_ = false;
    completed_.erase(record.cpu);
    loop_calls_[record.cpu] = 0;
    const std::vector<Slot> served = served_elsewhere(record.cpu);
    book_.mark_loss(served);
    Lane& lane = lane_of(record);
    const std::uint32_t item = add_item(
        lane, record, EventKind::lost, FunctionId::none, 0, Confidence::certain, via_tracepoint,
        is_counted ? static_cast<std::uint32_t>(std::min<std::uint64_t>(record.lost_before, 0xffffffff)) : 0);
    forget_orders(served, item);
}

/// Drivers name their interrupts after the device: "eth0", "eth0-rx-0". Others (virtio) tell nothing.
void Correlator::raise_interrupts(std::uint32_t until)
{
    auto at = interrupts_.begin();
    for (; at != interrupts_.end() && at->first < until; ++at) {
        const std::string_view name = at->second;
        const auto device = devices_.find(name.substr(0, name.find('-')));
        if (device != devices_.end()) {
            (void)book_.add_side(at->first, EventKind::irq_raise, 0, to_index(device->second), true);
        }
    }
    interrupts_.erase(interrupts_.begin(), at);
}

void Correlator::hand_on(std::uint32_t until, bool everything)
{
    raise_interrupts(until);
    book_.write_until(until, everything);
}

void Correlator::resume(std::uint64_t time_ns, bool drops_only)
{
    drops_only_ = drops_only;
    forgets_ = true;
    std::ranges::for_each(cpu_lanes_, [this](Lane& lane) { pop_to(lane, 0); });
    for (auto& [pid, lane] : task_lanes_) {
        pop_to(lane, 0);
        lane.sending = 0;
    }
    forgets_ = false;
    socket_queues_.clear();
    recent_queue_ = {};
    completed_.clear();
    std::ranges::fill(loop_calls_, 0U);
    unresolved_.clear();
    RawRecord now;
    now.time_ns = time_ns;
    std::uint32_t item = 0;
    for (std::uint16_t cpu = 0; cpu < std::max<std::uint16_t>(kernel_.cpus, 1); ++cpu) {
        now.cpu = cpu;
        item = add_item(lane_of(now), now, EventKind::lost, FunctionId::none, 0, Confidence::certain,
                        via_tracepoint);
    }
    book_.end_all_unseen(item);
}

void Correlator::let_go(SimTime oldest)
{
    std::vector<Slot> in_use;
    const auto use = [&](const Lane& lane) {
        for (const Frame& frame : lane.stack) {
            in_use.insert(in_use.end(), {frame.packet, frame.child, frame.follow, frame.wait, frame.freed});
        }
        in_use.push_back(lane.sending);
    };
    std::ranges::for_each(cpu_lanes_, use);
    // A task that is not within a call is made anew when it comes again.
    recent_lanes_ = {};
    recent_queue_ = {};
    std::erase_if(task_lanes_, [](const auto& entry) {
        return entry.second.stack.empty() && entry.second.clones.empty() && entry.second.sending == 0;
    });
    for (const auto& [pid, lane] : task_lanes_) {
        use(lane);
    }
    for (const auto& [cpu, slots] : completed_) {
        in_use.insert(in_use.end(), slots.begin(), slots.end());
    }
    for (auto at = socket_queues_.begin(); at != socket_queues_.end();) {
        SocketQueue& queue = at->second;
        std::erase_if(queue.waiting, [this](Slot slot) { return !book_.at(slot).in_socket; });
        std::erase_if(queue.early, [oldest](const RawRecord& read) { return read.time_ns < oldest.ns; });
        at = queue.waiting.empty() && queue.early.empty() ? socket_queues_.erase(at) : std::next(at);
    }
    std::erase_if(unresolved_, [this](const Waiting& waiting) { return book_.resolve(waiting.slot) == 0; });
    const auto is_gone = [this](Slot slot) { return book_.resolve(slot) == 0 || book_.at(slot).dead; };
    std::erase_if(fragments_waiting_, is_gone);
    std::erase_if(unnamed_in_backlog_, is_gone);
    std::erase_if(share_checked_, is_gone);
    for (auto& [device, ring] : rings_) {
        std::erase_if(ring, is_gone);
    }
    book_.retire(oldest, in_use);
}

void Correlator::finish()
{
    raise_interrupts(~std::uint32_t{0});
    for (const Lane& lane : cpu_lanes_) {
        std::ranges::for_each(lane.stack, [this](const Frame& frame) { assumes_taken(frame); });
    }
    for (const auto& [pid, lane] : task_lanes_) {
        std::ranges::for_each(lane.stack, [this](const Frame& frame) { assumes_taken(frame); });
    }
    auto& slots = book_.slots();
    for (Slot slot = 1; slot < slots.size(); ++slot) {
        if (slots.find(slot) == nullptr) {
            continue;
        }
        SlotRecord& record = slots[slot];
        if (record.same_as != 0 || !record.born || record.kind != SlotRecord::Kind::clone) {
            continue;
        }
        if (!book_.at(static_cast<Slot>(to_index(record.packet.parent))).born) {
            record.born = false; // the clone of something that is no network packet
        }
    }
    std::uint64_t open_calls = book_.unattributed();
    for (std::uint32_t item = std::max(1U, book_.written()); item <= book_.last_item(); ++item) {
        const Event& event = book_.item(item);
        open_calls += event.is_call() && event.packet != 0 && !book_.at(event.packet).born ? 1 : 0;
    }
    const auto fault = [&](std::string cause, std::uint64_t count, std::string advice) {
        if (count != 0) {
            trace_.faults.push_back({std::move(cause), count, std::move(advice)});
        }
    };
    fault("calls whose packet no record names", open_calls,
          "other system calls, netlink, timers: they stand on their CPU without a packet");
    fault("sk_buffs freed that no record named before", foreign_frees_,
          "netlink and unix sockets, or packets older than the recording");
    fault("records of events that the file does not describe", unknown_events_,
          "the file is damaged, or newer than its index");
    fault("records lost by the ring buffer", lost_records_,
          "record with larger buffers (trace-cmd record -b) or fewer events");
    fault("losses of unknown size", loss_not_counted_ ? 1 : 0,
          "record with larger buffers (trace-cmd record -b)");
    trace_.info.unattributed_events += open_calls + foreign_frees_ + unknown_events_;
    trace_.info.lost_events += lost_records_;
}

} // namespace skbscope
