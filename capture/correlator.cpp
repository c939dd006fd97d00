#include "capture/correlator.h"

#include "core/catalog/catalog.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>

namespace skbscope {

namespace {

using Kind = FunctionKind;

// include/linux/trace_events.h
constexpr std::uint8_t flag_hardirq = 0x08;
constexpr std::uint8_t flag_softirq = 0x10;
constexpr std::uint8_t flag_nmi = 0x40;

constexpr std::uint16_t ethertype_ipv4 = 0x0800;
constexpr std::uint16_t ethertype_arp = 0x0806;
constexpr std::uint16_t ethertype_ipv6 = 0x86dd;
constexpr std::uint8_t protocol_icmp = 1;
constexpr std::uint8_t protocol_tcp = 6;
constexpr std::uint8_t protocol_udp = 17;
constexpr std::uint32_t ethernet_header = 14;
constexpr std::uint8_t nud_incomplete = 1; // include/uapi/linux/neighbour.h
constexpr std::size_t kept_gaps = 1 << 20;

bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names)
{
    return std::ranges::find(names, name) != names.end();
}

/// Calls that serve nobody in particular: a packet below them is found anew.
bool finds_packets(Kind kind)
{
    switch (kind) {
    case Kind::batch:
    case Kind::list_internal:
    case Kind::list_core:
    case Kind::list_protocol:
    case Kind::sublist:
    case Kind::qdisc_run: return true;
    default: return false;
    }
}

IpAddress v4_address(std::span<const std::uint8_t> bytes)
{
    IpAddress address;
    std::copy_n(bytes.begin(), std::min<std::size_t>(bytes.size(), 4), address.bytes.begin());
    return address;
}

} // namespace

std::uint8_t Lane::depth() const
{
    const auto traced = std::ranges::count_if(stack, [](const Frame& frame) { return frame.item != 0; });
    return static_cast<std::uint8_t>(std::min<std::ptrdiff_t>(traced, 255));
}

// ---- set up ---------------------------------------------------------------------------------------------------------

Correlator::Correlator(const TraceDat& file, Trace& trace, Options options) : file_(file), trace_(trace), options_(options)
{
    functions_.emplace_back();
    for (const EventFormat& format : file.formats()) {
        prepare(format);
    }
    // The loop moved into a function of its own in 6.9 and in stable releases of 6.1.
    softirq_loop_ = symbol_named(file.symbols().contains("handle_softirqs") ? "handle_softirqs" : "__do_softirq");
    raise_softirq_ = symbol_named("__raise_softirq_irqoff");
    cpu_lanes_.resize(std::size_t{std::max<std::uint16_t>(file.cpu_count(), 1)} * 4);
    last_call_.resize(cpu_lanes_.size() / 4, {0, Context::process});
}

void Correlator::prepare(const EventFormat& format)
{
    const auto id = static_cast<std::size_t>(format.id);
    if (decoders_.size() <= id) {
        decoders_.resize(id + 1);
    }
    Decoder& decoder = decoders_[id];
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
        {"sock:sk_data_ready", &Correlator::on_merge_only},
        {"sock:sock_send_length", &Correlator::on_return_marker},
        {"sock:sock_recv_length", &Correlator::on_return_marker},
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
    decoder.skb = first_of({"skbaddr", "skb"});
    decoder.name = first_of({"name", "dev", "dev_name"});
    decoder.length = first_of({"len"});
    decoder.protocol = first_of({"protocol", "proto"});
    decoder.location = first_of({"location"});
    decoder.reason = first_of({"reason"});
    decoder.number = first_of({"ret", "rc", "vec", "packets", "nud_state", "depth", "irq"});
    decoder.address_a = first_of({"src", "saddr"});
    decoder.address_b = first_of({"dst", "daddr", "primary_key4"});
    decoder.port_a = first_of({"sport", "ports"});
    decoder.port_b = first_of({"dport"});
    decoder.data_length = format.field("data_len");
    decoder.truesize = format.field("truesize");
    decoder.hash = format.field("hash");
    decoder.ip_summed = format.field("ip_summed");
    decoder.queue = format.field("queue_mapping");
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
        decoder.reason_is_none[static_cast<std::size_t>(value)] = name == "CONSUMED" || name == "NOT_DROPPED_YET";
    }
}

void Correlator::take(const RawRecord& record)
{
    const std::size_t lanes = (std::size_t{record.cpu} + 1) * 4;
    if (lanes > cpu_lanes_.size()) {
        cpu_lanes_.resize(lanes);
        last_call_.resize(lanes / 4, {0, Context::process});
    }
    if (record.lost_before != 0) {
        lost(record);
    }
    if (record.event_id >= decoders_.size() || file_.format(record.event_id) == nullptr) {
        ++unknown_events_;
        return;
    }
    const Decoder& decoder = decoders_[record.event_id];
    if (decoder.handler != nullptr) {
        (this->*decoder.handler)(record, decoder);
    }
}

// ---- names ----------------------------------------------------------------------------------------------------------

Symbol Correlator::symbol_named(std::string_view name)
{
    std::string key(without_suffix(name));
    const auto [at, is_new] = symbol_by_name_.emplace(key, static_cast<Symbol>(functions_.size()));
    if (is_new) {
        Function function;
        function.id = trace_.function_named(key);
        function.kind = kind_of(key);
        function.is_entry = is_entry(key);
        function.name = std::move(key);
        functions_.push_back(std::move(function));
    }
    return at->second;
}

Symbol Correlator::symbol_of_function(std::uint64_t address)
{
    const auto [at, is_new] = symbol_by_address_.emplace(address, 0);
    if (is_new) {
        const auto hit = file_.symbols().find(address);
        at->second = symbol_named(hit.name.empty() ? fmt::format("{:#x}", address) : std::string(hit.name));
    }
    return at->second;
}

Symbol Correlator::symbol_of_caller(std::uint64_t address)
{
    const auto [at, is_new] = symbol_by_call_site_.emplace(address, 0);
    if (is_new) {
        const auto hit = file_.symbols().find(address);
        at->second = symbol_named(hit.name.empty() ? std::string("?") : std::string(hit.name));
    }
    return at->second;
}

TaskId Correlator::task_of(std::int32_t pid)
{
    if (pid <= 0) {
        return TaskId::none;
    }
    const auto [at, is_new] = tasks_.emplace(pid, TaskId::none);
    if (is_new) {
        TaskRecord task;
        task.pid = pid;
        task.name = file_.task_name(pid);
        if (task.name.empty()) {
            task.name = "?";
        }
        at->second = trace_.add_task(std::move(task));
    }
    return at->second;
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

// ---- places ---------------------------------------------------------------------------------------------------------

Context Correlator::context_of(const RawRecord& record)
{
    if ((record.flags & flag_nmi) != 0) {
        return Context::nmi;
    }
    if ((record.flags & flag_hardirq) != 0) {
        return Context::hardirq;
    }
    return (record.flags & flag_softirq) != 0 ? Context::softirq : Context::process;
}

Lane& Correlator::lane_of(const RawRecord& record)
{
    const Context context = context_of(record);
    const bool is_task = context == Context::process && record.pid != 0;
    Lane& lane = is_task ? task_lanes_[record.pid] : cpu_lanes_[record.cpu * std::size_t{4} + static_cast<std::size_t>(context)];
    lane.is_task = context == Context::process;
    lane.cpu = record.cpu;
    return lane;
}

void Correlator::pop(Lane& lane)
{
    Frame& frame = lane.stack.back();
    if (frame.kind == Kind::tap && frame.packet != 0 && !frame.has_freed && functions_[frame.symbol].name != "tpacket_rcv") {
        // packet_rcv queued its clone: it is freed when the capturing program has read it.
        const Slot clone = book_.resolve(frame.packet);
        if (std::erase_if(lane.clones, [&](Slot slot) { return book_.resolve(slot) == clone; }) != 0) {
            tap_queue_.push_back(clone);
        }
    }
    if (!xmit_result_is_seen_ && frame.lists && frame.lists->in_driver != 0) {
        // The event with the driver's answer was not recorded. NETDEV_TX_BUSY is rare: taken, unless shown otherwise.
        const SlotRecord& slot = book_.at(frame.lists->in_driver);
        if (!slot.dead) {
            book_.transmitted(frame.lists->in_driver, slot.driver_call != 0 ? slot.driver_call : frame.item);
        }
    }
    lane.stack.pop_back();
}

void Correlator::pop_to(Lane& lane, std::size_t count)
{
    while (lane.stack.size() > count) {
        pop(lane);
    }
    if (count == 0) {
        lane.clones.clear();
    }
}

void Correlator::place(Lane& lane, const RawRecord& record, Symbol function, Symbol caller)
{
    next_by_jump_ = false;
    const auto is_base = [&](const Frame& frame) {
        return is_one_of(functions_[frame.symbol].name, {"handle_softirqs", "__do_softirq", "__handle_irq_event_percpu"});
    };
    const std::size_t base = !lane.is_task && !lane.stack.empty() && is_base(lane.stack.front()) ? 1 : 0;
    if (functions_[function].kind == Kind::system_call) {
        pop_to(lane, 0);
        return;
    }
    seen_callers_.insert(caller);
    for (std::size_t i = lane.stack.size(); i-- > 0;) {
        Frame& open = lane.stack[i];
        if (open.symbol != caller) {
            continue;
        }
        // The caller's last callee may have ended in a jump to this function, and that one's last callee, too.
        std::size_t kept = i + 1;
        for (std::size_t k = i + 1; k < lane.stack.size() && (k == i + 1 || lane.stack[k].by_jump); ++k) {
            if (lane.stack[k].item != 0 && ends_in(functions_[lane.stack[k].symbol].name, functions_[function].name)) {
                kept = k + 1;
            }
        }
        pop_to(lane, kept);
        next_by_jump_ = kept > i + 1;
        if (open.owns_slot && open.first_callee == function) {
            // An untraced caller that begins again what it began with: it was called anew, for another packet.
            open.packet = open.child = book_.open();
            open.follow = 0;
        }
        return;
    }
    if (functions_[caller].is_entry) {
        pop_to(lane, base);
        return;
    }
    const auto hosts = hosts_of(functions_[caller].name);
    for (std::size_t i = lane.stack.size(); i-- > 0;) {
        if (std::ranges::find(hosts, functions_[lane.stack[i].symbol].name) != hosts.end()) {
            pop_to(lane, i + 1);
            push_untraced(lane, record, caller, function);
            return;
        }
    }
    if (lane.is_task || !hosts.empty()) { // of another, untraced system call: what is open has returned
        pop_to(lane, base);
        push_untraced(lane, record, caller, function);
        return;
    }
    for (std::size_t i = lane.stack.size(); i-- > base;) {
        if (seen_callers_.contains(lane.stack[i].symbol)) { // the nearest that calls others at all
            pop_to(lane, i + 1);
            push_untraced(lane, record, caller, function);
            return;
        }
    }
    pop_to(lane, base);
    push_untraced(lane, record, caller, function);
}

std::uint32_t Correlator::add_item(Lane& lane, const RawRecord& record, EventKind kind, FunctionId function, Slot packet,
                                   Confidence confidence, std::uint8_t via, std::uint32_t arg)
{
    Event event;
    event.time_ns = record.time_ns;
    event.packet = packet;
    event.task = to_index(task_of(record.pid));
    event.arg = arg;
    event.function = static_cast<std::uint16_t>(function);
    event.cpu = record.cpu;
    event.kind = static_cast<std::uint8_t>(kind);
    event.flags = Event::make_flags(context_of(record), confidence, via);
    event.depth = lane.depth();
    return book_.add(event);
}

Frame& Correlator::push_call(Lane& lane, const RawRecord& record, Symbol function, std::uint8_t via)
{
    Frame frame;
    frame.symbol = function;
    frame.kind = functions_[function].kind;
    frame.item = add_item(lane, record, EventKind::call, functions_[function].id, 0, Confidence::derived, via);
    attribute(lane, record, lane.top(), frame);
    Event& event = book_.item(frame.item);
    event.packet = frame.packet;
    if (frame.packet != 0) {
        book_.at(frame.packet).last_item = frame.item;
    }
    lane.stack.push_back(std::move(frame));
    return lane.stack.back();
}

void Correlator::push_untraced(Lane& lane, const RawRecord& record, Symbol function, Symbol callee)
{
    Frame frame;
    frame.first_callee = callee;
    const bool has_packet = lane.top() != nullptr && lane.top()->child != 0;
    frame.symbol = function;
    frame.kind = functions_[function].kind;
    if (const Frame* host = lane.top()) {
        frame.follow = host->follow;
    }
    if (frame.kind == Kind::carry || finds_packets(frame.kind) || frame.kind == Kind::foreign || frame.kind == Kind::none) {
        attribute(lane, record, lane.top(), frame);
    } else {
        frame.packet = frame.child = lane.top() != nullptr ? lane.top()->child : 0;
        if (frame.child == 0 && lane.stack.empty()) {
            frame.packet = frame.child = book_.open();
        }
    }
    frame.owns_slot = !lane.is_task && !has_packet && frame.child != 0;
    lane.stack.push_back(std::move(frame));
}

Frame* Correlator::open_call(Lane& lane, std::initializer_list<std::string_view> names)
{
    for (std::size_t i = lane.stack.size(); i-- > 0;) {
        if (lane.stack[i].item != 0 && is_one_of(functions_[lane.stack[i].symbol].name, names)) {
            pop_to(lane, i + 1);
            return &lane.stack.back();
        }
    }
    return nullptr;
}

Frame* Correlator::find_host(Lane& lane, std::initializer_list<Kind> kinds)
{
    for (std::size_t i = lane.stack.size(); i-- > 0;) {
        if (std::ranges::find(kinds, lane.stack[i].kind) != kinds.end()) {
            return &lane.stack[i];
        }
    }
    return nullptr;
}

// ---- attribution ----------------------------------------------------------------------------------------------------

Slot Correlator::next_living(std::deque<Slot>& list)
{
    while (!list.empty()) {
        const Slot slot = book_.resolve(list.front());
        list.pop_front();
        if (!book_.at(slot).dead) {
            return slot;
        }
    }
    return 0;
}

Slot Correlator::inherited(Lane& lane, Frame* host, const RawRecord& record)
{
    (void)lane;
    (void)record;
    if (host != nullptr && host->child != 0) {
        return host->child;
    }
    return host == nullptr || finds_packets(host->kind) ? book_.open() : 0;
}

/// The driver's steps with one received frame; a step that is not further than the last belongs to the next frame.
void Correlator::receive_step(Lane& lane, Frame& host, Frame& frame, std::uint8_t rank)
{
    (void)lane;
    if (host.child == 0 || rank <= host.rank) {
        host.child = book_.open(SlotRecord::Kind::receive);
    }
    host.rank = rank;
    frame.packet = frame.child = host.child;
    if (rank >= 2) {
        book_.born(frame.packet, frame.item);
    }
    if (frame.kind == Kind::gro_receive) {
        host.child = 0;
        host.rank = 0;
    }
}

/// Which packet of the list this call serves is known by its place in the order alone, unless there is but one.
void Correlator::assumes_order(const Frame& frame, Frame& list)
{
    if (frame.packet != 0 && frame.item != 0 && !list.batch().single) {
        Event& event = book_.item(frame.item);
        event.flags = Event::make_flags(event.context(), Confidence::assumed, event.via());
    }
}

/// Packets of a list: the kernel serves them in order, and the calls come in that order.
void Correlator::list_step(Lane& lane, Frame& host, Frame& frame)
{
    switch (frame.kind) {
    case Kind::list_internal: frame.batch().listed = std::move(lane.handed_up); lane.handed_up.clear(); return;
    case Kind::list_protocol: {
        Frame* core = find_host(lane, {Kind::list_core});
        if (core == nullptr) {
            return;
        }
        // __netif_receive_skb_list_core dispatches when the handler changes, one packet later: take the run at the front.
        const std::uint16_t wanted = functions_[frame.symbol].name == "ip_list_rcv" ? ethertype_ipv4 : ethertype_ipv6;
        auto& from = core->batch().cored;
        while (!from.empty()) {
            const SlotRecord& record = book_.at(from.front());
            if (!record.dead && record.ethertype != 0 && record.ethertype != wanted) {
                break;
            }
            if (!record.dead) {
                frame.batch().to_check.push_back(from.front());
            }
            from.pop_front();
        }
        frame.batch().single = frame.batch().to_check.size() == 1;
        return;
    }
    case Kind::list_check: {
        Frame* list = find_host(lane, {Kind::list_protocol});
        if (list == nullptr) {
            return;
        }
        frame.packet = frame.child = next_living(list->batch().to_check);
        assumes_order(frame, *list);
        if (frame.packet != 0) {
            list->batch().checked.push_back(frame.packet);
        }
        return;
    }
    case Kind::sublist: {
        if (host.kind == Kind::sublist) {
            return; // a part of the outer one
        }
        if (Frame* list = find_host(lane, {Kind::list_protocol})) {
            frame.batch().to_route = std::move(list->batch().checked);
            list->batch().checked.clear();
            frame.batch().single = frame.batch().to_route.size() == 1;
        }
        return;
    }
    case Kind::sublist_route:
    case Kind::sublist_deliver: {
        Frame* owner = nullptr;
        for (std::size_t i = lane.stack.size(); i-- > 0 && lane.stack[i].kind == Kind::sublist;) {
            owner = &lane.stack[i];
        }
        if (owner == nullptr) {
            return;
        }
        BatchLists& lists = owner->batch();
        frame.packet = frame.child = next_living(frame.kind == Kind::sublist_route ? lists.to_route : lists.to_deliver);
        assumes_order(frame, *owner);
        if (frame.packet != 0 && frame.kind == Kind::sublist_route) {
            lists.to_deliver.push_back(frame.packet);
        }
        host.child = frame.packet;
        return;
    }
    default: return;
    }
}

void Correlator::send_step(Lane& lane, Frame* host, Frame& frame)
{
    const bool makes = frame.kind == Kind::send_maker;
    Slot slot = host != nullptr ? host->child : 0;
    const bool is_used = slot != 0 && (book_.at(slot).send_begun || book_.at(slot).born ||
                                       book_.at(slot).kind != SlotRecord::Kind::open);
    if (slot == 0 || is_used) {
        slot = book_.open();
        for (std::size_t i = lane.stack.size(); i-- > 0;) { // the callers serve this message from now on
            lane.stack[i].child = slot;
        }
    }
    frame.packet = frame.child = slot;
    if (makes) {
        SlotRecord& record = book_.at(slot);
        record.kind = SlotRecord::Kind::transmit;
        record.send_begun = true;
        record.packet.sent_here = true;
    }
}

/// What runs for the packet that a maker made, that waited, or that was cloned, after the maker has returned.
void Correlator::tail_step(Lane& lane, Frame* host, Frame& frame, const RawRecord& record)
{
    Slot slot = host != nullptr ? host->follow : 0;
    if (slot != 0 && book_.at(slot).dead) {
        slot = 0;
    }
    if (slot == 0) {
        slot = inherited(lane, host, record);
    }
    frame.packet = frame.child = slot;
}

void Correlator::attribute(Lane& lane, const RawRecord& record, Frame* host, Frame& frame)
{
    if (context_of(record) >= Context::hardirq) {
        return; // an interrupt serves no packet yet
    }
    const bool is_traced = frame.item != 0;
    if (host != nullptr && (host->kind == Kind::none || host->kind == Kind::foreign) && frame.kind != Kind::free &&
        frame.kind != Kind::free_tail) {
        frame.kind = host->kind;
        return;
    }
    switch (frame.kind) {
    case Kind::batch:
    case Kind::none:
    case Kind::foreign:
    case Kind::list_core:
    case Kind::qdisc_run: return;
    case Kind::list_internal:
    case Kind::list_protocol:
    case Kind::sublist:
        if (host != nullptr) {
            list_step(lane, *host, frame);
        }
        return;
    case Kind::list_check:
    case Kind::sublist_route:
    case Kind::sublist_deliver:
        if (host != nullptr) {
            list_step(lane, *host, frame);
            if (frame.packet != 0) {
                return;
            }
        }
        frame.packet = frame.child = inherited(lane, host, record);
        return;
    case Kind::system_call: frame.packet = frame.child = book_.open(); return;
    case Kind::send_begin:
    case Kind::send_maker: send_step(lane, host, frame); return;
    case Kind::stream:
        frame.packet = host != nullptr ? host->child : 0;
        if (frame.packet != 0 && !book_.at(frame.packet).born && book_.at(frame.packet).kind == SlotRecord::Kind::open) {
            book_.at(frame.packet).kind = SlotRecord::Kind::nothing;
        }
        frame.kind = Kind::batch; // below it every packet is found anew
        return;
    case Kind::nested_maker: {
        if (host != nullptr && host->kind == Kind::nested_maker) {
            frame.packet = frame.child = host->child;
            return;
        }
        if (host != nullptr && host->follow != 0 && functions_[frame.symbol].name == "__tcp_transmit_skb") {
            const SlotRecord& made = book_.at(host->follow);
            if (made.kind == SlotRecord::Kind::transmit && made.born && made.address == 0 && !made.dead) {
                frame.packet = frame.child = host->follow; // a bare ACK, made just before and sent without a clone
                return;
            }
        }
        const Slot slot = book_.open(SlotRecord::Kind::transmit);
        book_.at(slot).packet.sent_here = true;
        if (functions_[frame.symbol].name == "icmp_push_reply") {
            book_.at(slot).packet.flow = lane.icmp_flow;
        }
        frame.packet = frame.child = slot;
        if (host != nullptr) {
            host->follow = slot;
        }
        return;
    }
    case Kind::transmit_tail:
    case Kind::receive_tail:
    case Kind::device_queue: tail_step(lane, host, frame, record); return;
    case Kind::receive_begin:
    case Kind::datagram_receive: {
        Slot slot = host != nullptr ? host->child : 0;
        if (slot == 0 || book_.at(slot).born) { // the packet before was read: the next message
            slot = book_.open();
            for (Frame& outer : lane.stack) {
                outer.child = slot;
            }
        }
        if (frame.kind == Kind::datagram_receive && book_.at(slot).kind == SlotRecord::Kind::open) {
            book_.at(slot).kind = SlotRecord::Kind::reader;
        }
        frame.packet = frame.child = slot;
        return;
    }
    case Kind::queue_take:
        frame.packet = frame.child = host != nullptr ? host->child : 0;
        if (frame.packet != 0) {
            book_.at(frame.packet).queue_take = frame.item;
        }
        return;
    case Kind::allocate: {
        if (host != nullptr && host->kind == Kind::batch) {
            receive_step(lane, *host, frame, 2);
            return;
        }
        frame.packet = frame.child = host != nullptr ? host->child : 0;
        if (frame.packet == 0 || !is_traced) {
            return;
        }
        SlotRecord& slot = book_.at(frame.packet);
        if (slot.kind == SlotRecord::Kind::transmit || slot.kind == SlotRecord::Kind::receive) {
            book_.born(frame.packet, frame.item);
        }
        return;
    }
    case Kind::receive_buffer_take:
    case Kind::receive_frame:
    case Kind::receive_hand_up:
    case Kind::gro_receive: {
        if (host != nullptr && host->kind == Kind::batch) {
            const std::uint8_t rank = frame.kind == Kind::receive_buffer_take ? 0
                                      : frame.kind == Kind::receive_frame     ? 1
                                      : frame.kind == Kind::gro_receive       ? 5
                                      : functions_[frame.symbol].name == "eth_type_trans" ? 4
                                                                                          : 3;
            receive_step(lane, *host, frame, rank);
            return;
        }
        frame.packet = frame.child = inherited(lane, host, record);
        if (frame.kind == Kind::gro_receive) { // below the driver's own function for a frame: that frame is handed up
            for (std::size_t i = lane.stack.size(); i-- > 0;) {
                if (lane.stack[i].kind == Kind::batch) {
                    lane.stack[i].child = 0;
                    lane.stack[i].rank = 0;
                    break;
                }
            }
        }
        return;
    }
    case Kind::rps:
        if (host != nullptr && host->kind == Kind::list_internal) {
            if (functions_[frame.symbol].name == "get_rps_cpu" || host->follow == 0) {
                host->follow = next_living(host->batch().listed);
            }
            frame.packet = frame.child = host->follow;
        } else {
            frame.packet = frame.child = inherited(lane, host, record);
        }
        if (functions_[frame.symbol].name == "enqueue_to_backlog" && frame.packet != 0) {
            SlotRecord& slot = book_.at(frame.packet);
            slot.backlog_side = book_.add_queue_side(frame.item, EventKind::enqueue, frame.packet, {QueueKind::backlog, {}});
            slot.looped = true;
            slot.core_seen = false;
            if (host != nullptr && host->kind == Kind::list_internal) {
                host->follow = 0;
                slot.looped = false;
            }
        }
        return;
    case Kind::arp_receive: {
        if (host != nullptr && host->kind == Kind::list_core) {
            auto& cored = host->batch().cored;
            const auto at = std::ranges::find_if(cored, [&](Slot slot) {
                const SlotRecord& candidate = book_.at(slot);
                return !candidate.dead && (candidate.ethertype == ethertype_arp || candidate.ethertype == 0);
            });
            if (at != cored.end()) {
                frame.packet = frame.child = host->follow = *at;
                cored.erase(at);
                return;
            }
        }
        frame.packet = frame.child = inherited(lane, host, record);
        if (host != nullptr) {
            host->follow = frame.packet;
        }
        return;
    }
    case Kind::neighbour_send: {
        frame.packet = frame.child = inherited(lane, host, record);
        if (frame.packet != 0) {
            book_.at(frame.packet).neighbour_call = frame.item;
        }
        return;
    }
    case Kind::neighbour_output: {
        if (host == nullptr || host->kind != Kind::neighbour_update) {
            tail_step(lane, host, frame, record);
            return;
        }
        auto at = std::ranges::find_if(unresolved_, [&](const Waiting& waiting) {
            return lane.neighbour.empty() || waiting.neighbour.empty() || waiting.neighbour == lane.neighbour;
        });
        if (at == unresolved_.end()) {
            frame.packet = frame.child = host->follow = book_.open();
            return;
        }
        frame.packet = frame.child = host->follow = at->slot;
        if (at->neighbour.empty()) {
            at->neighbour = lane.neighbour;
            book_.name_queue(book_.at(at->slot).waiting_side, lane.neighbour);
        }
        (void)book_.add_queue_side(frame.item, EventKind::dequeue, at->slot, {QueueKind::arp_queue, at->neighbour});
        book_.at(at->slot).waiting_side = 0;
        book_.at(at->slot).left_neighbour = true;
        unresolved_.erase(at);
        return;
    }
    case Kind::qdisc_enqueue:
        frame.packet = frame.child = inherited(lane, host, record);
        if (frame.packet != 0 && functions_[frame.symbol].name != "noop_enqueue") {
            SlotRecord& slot = book_.at(frame.packet);
            if (slot.qdisc_side == 0) { // a classful qdisc calls its child's
                slot.qdisc_side = book_.add_queue_side(frame.item, EventKind::enqueue, frame.packet, {QueueKind::qdisc, {}});
            }
        }
        return;
    case Kind::qdisc_dequeue:
        if (Frame* run = find_host(lane, {Kind::qdisc_run})) {
            run->batch().dequeues.push_back(frame.item);
        }
        return;
    case Kind::direct_transmit:
    case Kind::hard_transmit: {
        if (host != nullptr && host->lists && host->lists->many) {
            frame.batch().many = true;
            if (frame.kind == Kind::hard_transmit) {
                frame.child = host->lists->bulk.empty() ? 0 : host->lists->bulk.front();
                frame.batch().bulk = host->lists->bulk;
            }
            return;
        }
        tail_step(lane, host, frame, record);
        return;
    }
    case Kind::validate: {
        Frame* bulk = nullptr;
        for (Frame& outer : lane.stack) {
            if (outer.lists && outer.lists->many && outer.kind == Kind::direct_transmit) {
                bulk = &outer;
                break;
            }
        }
        if (bulk == nullptr) {
            frame.packet = frame.child = inherited(lane, host, record);
            return;
        }
        frame.packet = frame.child = book_.open();
        bulk->batch().bulk.push_back(frame.packet);
        return;
    }
    case Kind::tap:
        if (host != nullptr && host->follow != 0 && host->kind == Kind::tap_transmit) {
            frame.packet = frame.child = host->follow;
            tap_passed(lane, host->packet, record.time_ns, true);
        } else {
            frame.packet = frame.child = inherited(lane, host, record);
            tap_passed(lane, frame.packet, record.time_ns, false);
        }
        return;
    case Kind::clone: {
        frame.packet = frame.child = inherited(lane, host, record);
        if (frame.packet == 0 || host == nullptr) {
            return;
        }
        if (host->kind == Kind::nested_maker) { // TCP sends a clone of what waits for its acknowledgement
            book_.born(frame.packet, frame.item);
            return;
        }
        const Slot clone = book_.open(SlotRecord::Kind::clone);
        SlotRecord& made = book_.at(clone);
        made.packet.parent = static_cast<PacketId>(frame.packet); // a slot until the trace is written
        made.packet.relation = Relation::clone;
        made.packet.device = book_.at(frame.packet).packet.device;
        made.packet.sent_here = book_.at(frame.packet).packet.sent_here;
        made.packet.length = book_.at(frame.packet).packet.length;
        made.ethertype = book_.at(frame.packet).ethertype;
        made.tapped = host->kind == Kind::tap;
        book_.born(clone, frame.item);
        (void)book_.add_side(frame.item, EventKind::clone, clone, frame.packet);
        lane.clones.push_back(clone);
        if (host->kind == Kind::tap_transmit) {
            host->follow = clone;
        } else if (host->kind == Kind::tap) {
            host->packet = clone; // packet_rcv goes on with it
            host->child = clone;
        }
        return;
    }
    case Kind::completion:
    case Kind::free: {
        if (host != nullptr && host->kind == Kind::batch) {
            const bool is_open = host->wait != 0 && !book_.at(host->wait).born &&
                                 book_.at(host->wait).kind == SlotRecord::Kind::open;
            if (!is_open) {
                host->wait = book_.open();
            }
            frame.packet = frame.child = host->wait;
        } else {
            frame.packet = frame.child = host != nullptr ? host->child : 0;
        }
        return;
    }
    case Kind::free_tail:
        frame.packet = host == nullptr        ? 0
                       : host->has_freed      ? host->freed
                       : host->kind == Kind::free ? host->packet
                                              : host->child;
        frame.child = frame.packet;
        return;
    case Kind::socket_enqueue:
        frame.packet = frame.child = inherited(lane, host, record);
        if (frame.packet != 0 && book_.at(frame.packet).packet.verdict == Verdict::in_flight) {
            book_.delivered(frame.packet, frame.item);
        }
        return;
    case Kind::data_ready:
        frame.packet = frame.child = inherited(lane, host, record);
        if (host != nullptr && host->kind == Kind::tap && frame.packet != 0) {
            SlotRecord& slot = book_.at(frame.packet);
            if (slot.kind == SlotRecord::Kind::clone && slot.packet.verdict == Verdict::in_flight) {
                slot.tapped = true;
                book_.decide(frame.packet, Verdict::delivered, frame.item);
            }
        }
        return;
    case Kind::neighbour_probe:
        frame.packet = frame.child = inherited(lane, host, record);
        if (host != nullptr && host->kind == Kind::neighbour_send && host->packet != 0) {
            wait_for_neighbour(host->packet, host->item, {}, true); // it is sent after the packet was queued
        }
        return;
    case Kind::core_receive:
    case Kind::neighbour_update:
    case Kind::tap_transmit:
    case Kind::carry: break;
    }
    frame.packet = frame.child = inherited(lane, host, record);
    // The driver's transmit function: where the packet joins the ring.
    if (is_traced && host != nullptr && host->kind == Kind::hard_transmit && host->lists && host->lists->in_driver != 0) {
        SlotRecord& slot = book_.at(host->lists->in_driver);
        if (slot.driver_call == 0) {
            slot.driver_call = frame.item;
        }
    }
}

Slot Correlator::match(Lane& lane, Slot current, std::uint64_t address, Evidence evidence, std::uint32_t item, bool foreign)
{
    if (address == 0) {
        return 0;
    }
    Slot known = book_.living(address);
    const Slot slot = book_.resolve(current);
    if (known != 0 && slot != 0 && slot != known && evidence == Evidence::transmit) {
        // A received packet that nobody forwards here does not turn up on the way out: its address has a new owner.
        const SlotRecord& former = book_.at(known);
        const bool is_served_here = std::ranges::any_of(
            lane.stack, [&](const Frame& frame) { return frame.packet != 0 && book_.resolve(frame.packet) == known; });
        if (!former.packet.sent_here && former.core_seen && former.neighbour_call == 0 && !is_served_here) {
            book_.end_unseen(known, item);
            known = 0;
        }
    }
    const auto latest_clone = [&]() -> Slot {
        while (!lane.clones.empty()) {
            const Slot clone = book_.resolve(lane.clones.back());
            lane.clones.pop_back();
            if (!book_.at(clone).dead && book_.at(clone).address == 0) {
                book_.bind(clone, address);
                return clone;
            }
        }
        return 0;
    };
    if (known != 0) {
        if (slot == 0 || slot == known) {
            return known;
        }
        SlotRecord& record = book_.at(slot);
        if (record.address != 0 || record.kind == SlotRecord::Kind::nothing || record.dead) {
            return known;
        }
        if (!record.born) {
            book_.unite(slot, known);
            return known;
        }
        if (evidence == Evidence::free) {
            return known; // somebody else's end while this one is served
        }
        // A packet of its own that had no address so far: the former owner of the address ended unseen.
        book_.end_unseen(known, item);
        book_.bind(slot, address);
        return slot;
    }
    SlotRecord& record = book_.at(slot);
    const bool is_unbound = slot != 0 && record.address == 0 && !record.dead && record.kind != SlotRecord::Kind::nothing;
    if (evidence == Evidence::free) {
        if (const Slot clone = latest_clone(); clone != 0) {
            return clone;
        }
        if (foreign) {
            return 0;
        }
        if (is_unbound && record.born) { // ended before any record named it
            book_.bind(slot, address);
            return slot;
        }
        if (record.kind == SlotRecord::Kind::reader && !tap_queue_.empty()) {
            const Slot clone = tap_queue_.front();
            tap_queue_.pop_front();
            book_.bind(clone, address);
            book_.unite(slot, clone);
            return book_.resolve(clone);
        }
        return 0;
    }
    if (is_unbound) {
        std::erase_if(lane.clones, [&](Slot clone) { return book_.resolve(clone) == slot; });
        book_.bind(slot, address);
        book_.born(slot, item);
        if (record.kind == SlotRecord::Kind::open || record.kind == SlotRecord::Kind::reader) {
            book_.at(slot).kind = SlotRecord::Kind::known;
            book_.at(slot).packet.sent_here = evidence == Evidence::transmit;
        }
        return slot;
    }
    const Slot fresh = book_.open(SlotRecord::Kind::known);
    SlotRecord& made = book_.at(fresh);
    if (slot != 0 && evidence == Evidence::transmit) { // a piece: fragment or segment
        made.packet.sent_here = book_.at(slot).packet.sent_here;
        made.packet.parent = static_cast<PacketId>(slot);
        made.packet.relation = Relation::split;
    }
    book_.bind(fresh, address);
    book_.born(fresh, item);
    return fresh;
}

Slot Correlator::prove(Lane& lane, const RawRecord& record, std::size_t frame, std::uint64_t address, Evidence evidence)
{
    (void)record;
    bool foreign = false;
    for (const Frame& outer : lane.stack) {
        foreign = foreign || outer.kind == Kind::foreign;
    }
    const std::uint32_t item = lane.stack[frame].item;
    const Slot slot = match(lane, lane.stack[frame].packet, address, evidence, item, foreign);
    Frame& call = lane.stack[frame];
    call.packet = call.child = slot;
    if (item != 0) {
        Event& event = book_.item(item);
        event.packet = slot;
        event.flags = Event::make_flags(event.context(), Confidence::certain, event.via());
        if (slot != 0) {
            book_.at(slot).last_item = item;
        }
    }
    return slot;
}

std::size_t Correlator::frame_for(Lane& lane, const RawRecord& record, std::initializer_list<std::string_view> names,
                                  std::string_view fallback)
{
    if (Frame* call = open_call(lane, names)) {
        Event& event = book_.item(call->item);
        event.flags |= via_tracepoint;
        return lane.stack.size() - 1;
    }
    if (is_one_of(fallback, {"__netif_receive_skb_core", "netif_receive_skb", "napi_gro_receive"})) {
        // A packet on its way in does not begin below what was done for another one: that has returned, unseen.
        const auto can_call = [&](const Frame& frame) {
            return finds_packets(frame.kind) || functions_[frame.symbol].name.find("netif_receive_skb") != std::string::npos;
        };
        while (!lane.stack.empty() && !can_call(lane.stack.back())) {
            pop(lane);
        }
    }
    push_call(lane, record, symbol_named(fallback), via_tracepoint);
    return lane.stack.size() - 1;
}

void Correlator::device_facts(Slot slot, const RawRecord& record, const Decoder& decoder, bool length_has_ethernet)
{
    if (slot == 0) {
        return;
    }
    SlotRecord& known = book_.at(slot);
    const DeviceId device = device_named(decoder.name.text(record.data));
    known.at_device = device;
    if (known.packet.device == DeviceId::none) {
        known.packet.device = device;
    }
    if (known.packet.length == 0 && decoder.length) {
        known.packet.length = static_cast<std::uint32_t>(decoder.length.read(record.data)) +
                              (length_has_ethernet ? 0 : ethernet_header);
    }
}

/// What the record tells of the sk_buff itself, for whoever looks at the packet at that moment.
void Correlator::field_facts(Slot slot, std::uint32_t item, const RawRecord& record, const Decoder& decoder)
{
    if (slot == 0) {
        return;
    }
    const auto tell = [&](const EventField& from, SkbField field) {
        if (from && from.size <= 8 && !from.is_data_loc) {
            book_.field(slot, item, field, from.read(record.data));
        }
    };
    tell(decoder.length, SkbField::len);
    tell(decoder.data_length, SkbField::data_len);
    tell(decoder.truesize, SkbField::truesize);
    tell(decoder.hash, SkbField::hash);
    tell(decoder.ip_summed, SkbField::ip_summed);
    tell(decoder.queue, SkbField::queue_mapping);
    if (book_.at(slot).ethertype != 0) {
        book_.field(slot, item, SkbField::protocol, book_.at(slot).ethertype);
    }
    if (book_.at(slot).at_device != DeviceId::none) {
        book_.field(slot, item, SkbField::device, to_index(book_.at(slot).at_device));
    }
}

void Correlator::tap_passed(Lane& lane, Slot slot, std::uint64_t time_ns, bool outgoing)
{
    (void)lane;
    if (slot != 0) {
        passages_.push_back({slot, book_.at(slot).at_device, time_ns, outgoing});
    }
}

// ---- calls ----------------------------------------------------------------------------------------------------------

void Correlator::on_function(const RawRecord& record, const Decoder& decoder)
{
    Lane& lane = lane_of(record);
    const Symbol function = symbol_of_function(decoder.address_a.read(record.data));
    const Symbol caller = symbol_of_caller(decoder.address_b.read(record.data));
    note_gap(record);
    place(lane, record, function, caller);
    const bool by_jump = next_by_jump_;
    push_call(lane, record, function, via_function).by_jump = by_jump;
}

void Correlator::note_gap(const RawRecord& record)
{
    auto& [last, context] = last_call_[record.cpu];
    if (last != 0 && context == context_of(record) && gaps_.size() < kept_gaps && record.time_ns - last < 1'000'000'000) {
        gaps_.push_back(static_cast<std::uint32_t>(record.time_ns - last));
    }
    last = record.time_ns;
    context = context_of(record);
}

void Correlator::on_graph_entry(const RawRecord& record, const Decoder& decoder)
{
    Lane& lane = lane_of(record);
    const Symbol function = symbol_of_function(decoder.address_a.read(record.data));
    const int depth = static_cast<int>(decoder.number.read(record.data));
    note_gap(record);
    while (!lane.stack.empty() && lane.stack.back().graph_depth >= depth) {
        pop(lane);
    }
    if (functions_[function].kind == Kind::system_call) {
        pop_to(lane, 0);
    }
    push_call(lane, record, function, via_graph).graph_depth = depth;
}

void Correlator::on_graph_exit(const RawRecord& record, const Decoder& decoder)
{
    Lane& lane = lane_of(record);
    const Symbol function = symbol_of_function(decoder.address_a.read(record.data));
    const int depth = static_cast<int>(decoder.number.read(record.data));
    for (std::size_t i = lane.stack.size(); i-- > 0;) {
        Frame& frame = lane.stack[i];
        if (frame.graph_depth != depth || frame.symbol != function) {
            continue;
        }
        const std::uint64_t from = decoder.port_a.read(record.data);
        const std::uint64_t to = decoder.port_b.read(record.data);
        Event& event = book_.item(frame.item);
        event.duration_ns = static_cast<std::uint32_t>(std::min<std::uint64_t>(to - from, Event::unknown_duration - 1));
        pop_to(lane, i);
        if (lane.stack.empty()) {
            lane.clones.clear();
        }
        return;
    }
}

void Correlator::on_kprobe(const RawRecord& record, const Decoder& decoder)
{
    const auto ip = decoder.fields.find("__probe_ip");
    if (ip == decoder.fields.end() || !decoder.skb || decoder.skb.size != 8) {
        return;
    }
    Lane& lane = lane_of(record);
    const Symbol function = symbol_of_function(ip->second.read(record.data));
    const std::uint64_t address = decoder.skb.read(record.data);
    const bool is_top = !lane.stack.empty() && lane.stack.back().symbol == function && lane.stack.back().item != 0;
    if (!options_.use_kprobes) {
        probed_.push_back({is_top ? lane.stack.back().item : 0, address, book_.living(address)});
        return;
    }
    if (is_top) {
        book_.item(lane.stack.back().item).flags |= via_kprobe;
    } else {
        while (!lane.stack.empty() && lane.stack.back().item != 0 && !seen_callers_.contains(lane.stack.back().symbol)) {
            pop(lane);
        }
        push_call(lane, record, function, via_kprobe);
    }
    const std::size_t frame = lane.stack.size() - 1;
    const Kind kind = functions_[function].kind;
    const Evidence evidence = kind == Kind::free || kind == Kind::completion ? Evidence::free
                              : kind == Kind::transmit_tail || kind == Kind::device_queue ||
                                      kind == Kind::neighbour_output || kind == Kind::hard_transmit
                                  ? Evidence::transmit
                                  : Evidence::kprobe;
    const Slot before = book_.resolve(lane.stack[frame].packet);
    const Slot slot = prove(lane, record, frame, address, evidence);
    if (lane.stack.size() >= 2 && slot != 0 && slot != before) {
        // A list served in another order than assumed: what follows in its tail belongs to the proven one.
        Frame& host = lane.stack[frame - 1];
        if (kind == Kind::sublist_deliver || kind == Kind::sublist_route) {
            host.child = slot;
        } else if (kind == Kind::neighbour_output || kind == Kind::arp_receive) {
            host.follow = slot;
        }
    }
    if (slot == 0) {
        return;
    }
    SlotRecord& known = book_.at(slot);
    if (decoder.protocol.size == 2) {
        const auto raw = static_cast<std::uint16_t>(decoder.protocol.read(record.data));
        const auto ethertype = static_cast<std::uint16_t>(raw << 8 | raw >> 8);
        known.ethertype = known.ethertype == 0 ? ethertype : known.ethertype;
    }
    if (kind != Kind::free && kind != Kind::completion) { // there the fields may be stale
        field_facts(slot, lane.stack[frame].item, record, decoder);
    }
    const auto field = [&](const char* name) {
        const auto at = decoder.fields.find(name);
        return at == decoder.fields.end() ? EventField{} : at->second;
    };
    const EventField protocol = field("ipproto");
    const EventField header = field("ihl_tos");
    const EventField ports = field("ports");
    if (known.packet.flow || !protocol || decoder.address_a.size != 4 || decoder.address_b.size != 4 ||
        known.ethertype != ethertype_ipv4 || (header && (header.read(record.data) & 0xff) != 0x45)) {
        return;
    }
    FlowKey flow;
    flow.source = v4_address(decoder.address_a.bytes(record.data));
    flow.destination = v4_address(decoder.address_b.bytes(record.data));
    flow.protocol = static_cast<std::uint8_t>(protocol.read(record.data));
    if (flow.protocol == protocol_udp || flow.protocol == protocol_tcp) {
        const auto both = ports.bytes(record.data);
        if (both.size() != 4) {
            return;
        }
        flow.source_port = static_cast<std::uint16_t>(both[0] << 8 | both[1]);
        flow.destination_port = static_cast<std::uint16_t>(both[2] << 8 | both[3]);
    }
    known.packet.flow = flow;
}

// ---- interrupts -----------------------------------------------------------------------------------------------------

void Correlator::on_irq_entry(const RawRecord& record, const Decoder& decoder)
{
    Lane& lane = lane_of(record);
    pop_to(lane, 0);
    push_call(lane, record, symbol_named("__handle_irq_event_percpu"), via_tracepoint);
    interrupts_.emplace_back(lane.stack.back().item, decoder.name.text(record.data));
}

void Correlator::on_irq_exit(const RawRecord& record, const Decoder& decoder)
{
    (void)decoder;
    Lane& lane = lane_of(record);
    if (!lane.stack.empty() && lane.stack.front().item != 0) {
        Event& event = book_.item(lane.stack.front().item);
        const std::uint64_t took = record.time_ns - event.time_ns;
        event.duration_ns = static_cast<std::uint32_t>(std::min<std::uint64_t>(took, Event::unknown_duration - 1));
    }
    pop_to(lane, 0);
}

void Correlator::on_softirq_raise(const RawRecord& record, const Decoder& decoder)
{
    Lane& lane = lane_of(record);
    (void)add_item(lane, record, EventKind::softirq_raise, functions_[raise_softirq_].id, 0,
                   Confidence::certain, via_tracepoint, static_cast<std::uint32_t>(decoder.number.read(record.data)));
}

void Correlator::on_softirq_entry(const RawRecord& record, const Decoder& decoder)
{
    (void)decoder;
    Lane& lane = lane_of(record);
    if (lane.stack.size() == 1 && lane.stack[0].graph_depth >= 0) {
        return; // function_graph has the call itself
    }
    pop_to(lane, 0);
    push_call(lane, record, softirq_loop_, via_tracepoint);
}

void Correlator::on_softirq_exit(const RawRecord& record, const Decoder& decoder)
{
    on_irq_exit(record, decoder);
    Lane& lane = lane_of(record);
    lane.handed_up.clear();
}

// ---- receive --------------------------------------------------------------------------------------------------------

void Correlator::on_gro_entry(const RawRecord& record, const Decoder& decoder)
{
    Lane& lane = lane_of(record);
    const std::size_t frame =
        frame_for(lane, record, {"napi_gro_receive", "napi_gro_frags", "gro_receive_skb"}, "napi_gro_receive");
    const Slot slot = prove(lane, record, frame, decoder.skb.read(record.data), Evidence::receive);
    device_facts(slot, record, decoder, false);
    if (slot != 0) {
        book_.at(slot).ethertype = static_cast<std::uint16_t>(decoder.protocol.read(record.data));
    }
    field_facts(slot, lane.stack[frame].item, record, decoder);
}

void Correlator::on_gro_exit(const RawRecord& record, const Decoder& decoder)
{
    Lane& lane = lane_of(record);
    const Frame* call = open_call(lane, {"napi_gro_receive", "napi_gro_frags", "gro_receive_skb"});
    if (call == nullptr || call->packet == 0) {
        return;
    }
    const Slot slot = book_.resolve(call->packet);
    // enum gro_result, include/linux/netdevice.h: the same numbers up to 3 in all versions.
    switch (decoder.number.read(record.data)) {
    case 0:
    case 1: { // merged into a held packet; its shell is freed (or used again) without a record
        SlotRecord& merged = book_.at(slot);
        if (merged.dead) {
            break;
        }
        Slot into = 0;
        int candidates = 0;
        for (const Slot other : lane.handed_up) {
            if (book_.at(other).held_by_gro && book_.at(other).ethertype == merged.ethertype) {
                into = book_.resolve(other);
                ++candidates;
            }
        }
        book_.decide(slot, Verdict::merged, call->item);
        if (candidates == 1) {
            merged.packet.merged_into = static_cast<PacketId>(into);
            (void)book_.add_side(call->item, EventKind::merge, slot, into);
        }
        merged.packet.end_inferred = true;
        book_.freed(slot, call->item);
        break;
    }
    case 2:
        book_.at(slot).held_by_gro = true;
        lane.handed_up.push_back(slot);
        break;
    case 3: lane.handed_up.push_back(slot); break;
    default: break;
    }
}

void Correlator::on_netif_receive(const RawRecord& record, const Decoder& decoder)
{
    Lane& lane = lane_of(record);
    const bool is_core = file_.format(record.event_id)->name == "netif_receive_skb";
    const std::size_t frame = is_core
                                  ? frame_for(lane, record, {"__netif_receive_skb_core"}, "__netif_receive_skb_core")
                                  : frame_for(lane, record, {"netif_receive_skb"}, "netif_receive_skb");
    const std::uint64_t address = decoder.skb.read(record.data);
    if (const Slot former = book_.living(address); is_core && former != 0 && book_.at(former).core_seen) {
        const bool again = std::ranges::any_of(lane.stack, [&](const Frame& outer) {
            return outer.packet != 0 && book_.resolve(outer.packet) == former; // up through a bridge, a VLAN, a tunnel
        });
        if (!again) {
            book_.end_unseen(former, lane.stack[frame].item); // a packet is received once: the address has a new owner
        }
    }
    const Slot slot = prove(lane, record, frame, address, Evidence::receive);
    if (slot == 0) {
        return;
    }
    device_facts(slot, record, decoder, false);
    SlotRecord& known = book_.at(slot);
    known.core_seen = known.core_seen || is_core;
    if (known.ethertype == 0 && decoder.protocol) {
        known.ethertype = static_cast<std::uint16_t>(decoder.protocol.read(record.data));
    }
    field_facts(slot, lane.stack[frame].item, record, decoder);
    if (!is_core) {
        return;
    }
    device_passages_.push_back({slot, known.at_device, record.time_ns, false});
    if (known.backlog_side != 0) {
        (void)book_.add_queue_side(lane.stack[frame].item, EventKind::dequeue, slot, {QueueKind::backlog, {}});
        known.backlog_side = 0;
    }
    if (Frame* core = find_host(lane, {Kind::list_core})) {
        core->batch().cored.push_back(slot);
    }
}

void Correlator::on_netif_rx(const RawRecord& record, const Decoder& decoder)
{
    Lane& lane = lane_of(record);
    const bool is_entry = file_.format(record.event_id)->name != "netif_rx";
    const std::size_t frame = is_entry ? frame_for(lane, record, {"netif_rx", "__netif_rx", "netif_rx_ni"}, "netif_rx")
                                       : frame_for(lane, record, {"netif_rx_internal"}, "netif_rx_internal");
    const Slot slot = prove(lane, record, frame, decoder.skb.read(record.data), Evidence::receive);
    if (slot == 0) {
        return;
    }
    device_facts(slot, record, decoder, false);
    book_.at(slot).looped = true; // sent and received by this host: the same packet goes on
    book_.at(slot).core_seen = false;
}

// ---- transmit -------------------------------------------------------------------------------------------------------

void Correlator::on_dev_queue(const RawRecord& record, const Decoder& decoder)
{
    Lane& lane = lane_of(record);
    const std::size_t frame = frame_for(lane, record, {"__dev_queue_xmit"}, "__dev_queue_xmit");
    const Slot slot = prove(lane, record, frame, decoder.skb.read(record.data), Evidence::transmit);
    device_facts(slot, record, decoder, true);
    field_facts(slot, lane.stack[frame].item, record, decoder);
    if (slot != 0) {
        // It did not wait for its neighbour after all.
        std::erase_if(unresolved_, [&](const Waiting& waiting) { return book_.resolve(waiting.slot) == slot; });
        book_.cancel(book_.at(slot).waiting_side);
        book_.at(slot).waiting_side = 0;
        book_.at(slot).looped = false;
    }
}

void Correlator::on_start_xmit(const RawRecord& record, const Decoder& decoder)
{
    Lane& lane = lane_of(record);
    const std::uint64_t address = decoder.skb.read(record.data);
    const std::size_t index = frame_for(lane, record, {"dev_hard_start_xmit"}, "dev_hard_start_xmit");
    Frame& frame = lane.stack[index];
    BatchLists& lists = frame.batch();
    Slot slot = 0;
    if (lists.many) {
        const Slot validated = lists.bulk.empty() ? 0 : lists.bulk.front();
        if (!lists.bulk.empty()) {
            lists.bulk.pop_front();
        }
        slot = match(lane, validated, address, Evidence::transmit, frame.item, false);
        lane.stack[index].child = slot;
    } else {
        slot = prove(lane, record, index, address, Evidence::transmit);
    }
    if (slot == 0) {
        return;
    }
    device_facts(slot, record, decoder, true);
    SlotRecord& known = book_.at(slot);
    if (decoder.protocol) {
        known.ethertype = static_cast<std::uint16_t>(decoder.protocol.read(record.data));
    }
    if (known.qdisc_side != 0) { // one of a bulk: the dequeue event names only the first
        (void)book_.add_queue_side(lane.stack[index].item, EventKind::dequeue, slot, {QueueKind::qdisc, {}});
        known.qdisc_side = 0;
    }
    known.driver_call = 0;
    if (!lane.stack[index].batch().many) {
        field_facts(slot, lane.stack[index].item, record, decoder);
    }
    device_passages_.push_back({slot, known.at_device, record.time_ns, true});
    BatchLists& now = lane.stack[index].batch();
    now.in_driver = slot;
    now.in_driver_address = address;
}

void Correlator::on_xmit(const RawRecord& record, const Decoder& decoder)
{
    Lane& lane = lane_of(record);
    Frame* frame = open_call(lane, {"dev_hard_start_xmit"});
    if (frame == nullptr || !frame->lists || frame->lists->in_driver == 0 ||
        frame->lists->in_driver_address != decoder.skb.read(record.data)) {
        return; // its beginning was not seen; the address may be somebody else's by now
    }
    book_.item(frame->item).flags |= via_tracepoint;
    const Slot slot = frame->lists->in_driver;
    frame->lists->in_driver = 0;
    SlotRecord& known = book_.at(slot);
    if (decoder.number.read(record.data) == 0) { // NETDEV_TX_OK; anything else: requeued
        const std::uint32_t item = known.driver_call != 0 ? known.driver_call : frame->item;
        if (!known.dead || known.in_ring) {
            book_.transmitted(slot, item);
        }
    }
    if (frame->lists->many) {
        frame->child = frame->lists->bulk.empty() ? 0 : frame->lists->bulk.front();
    }
}

void Correlator::on_qdisc_enqueue(const RawRecord& record, const Decoder& decoder)
{
    Lane& lane = lane_of(record);
    const Slot slot = book_.living(decoder.skb.read(record.data));
    if (Frame* call = open_call(lane, {"__dev_queue_xmit"}); call != nullptr && slot != 0) {
        book_.item(call->item).flags |= via_tracepoint;
        SlotRecord& known = book_.at(slot);
        if (known.qdisc_side == 0) {
            known.qdisc_side = book_.add_queue_side(call->item, EventKind::enqueue, slot, {QueueKind::qdisc, {}});
        }
    }
}

void Correlator::on_qdisc_dequeue(const RawRecord& record, const Decoder& decoder)
{
    Lane& lane = lane_of(record);
    Frame* run = find_host(lane, {Kind::qdisc_run});
    const std::uint64_t address = decoder.skb.read(record.data);
    if (address == 0) {
        if (run != nullptr && run->lists) {
            run->lists->dequeues.clear(); // looked and found nothing
        }
        return;
    }
    Slot slot = book_.living(address);
    if (run == nullptr) {
        push_call(lane, record, symbol_named("__qdisc_run"), via_tracepoint);
        run = &lane.stack.back();
    } else {
        pop_to(lane, static_cast<std::size_t>(run - lane.stack.data()) + 1);
        run = &lane.stack.back();
        if (run->item != 0) {
            book_.item(run->item).flags |= via_tracepoint;
        }
    }
    BatchLists& lists = run->batch();
    if (slot == 0) {
        slot = book_.open(SlotRecord::Kind::known);
        book_.bind(slot, address);
        book_.at(slot).packet.sent_here = true;
        if (run->item != 0) {
            book_.born(slot, run->item);
        }
    }
    const std::uint64_t packets = decoder.number.read(record.data);
    std::uint32_t anchor = run->item != 0 ? run->item : book_.last_item();
    if (!lists.dequeues.empty()) {
        anchor = lists.dequeues.front();
        Event& event = book_.item(anchor);
        event.packet = slot;
        event.flags = Event::make_flags(event.context(), Confidence::certain, event.via());
        lists.dequeues.clear();
    }
    if (book_.at(slot).qdisc_side != 0) {
        (void)book_.add_queue_side(anchor, EventKind::dequeue, slot, {QueueKind::qdisc, {}});
        book_.at(slot).qdisc_side = 0;
    }
    lists.many = packets > 1;
    lists.bulk.clear();
    run->child = lists.many ? 0 : slot;
}

// ---- ends -----------------------------------------------------------------------------------------------------------

void Correlator::on_consume(const RawRecord& record, const Decoder& decoder)
{
    free_event(record, decoder, false);
}

void Correlator::on_kfree(const RawRecord& record, const Decoder& decoder)
{
    free_event(record, decoder, true);
}

DropReasonId Correlator::reason_without_field(Slot slot, std::string_view where) const
{
    // Before 5.17 only the place tells. The same place may drop for several reasons: what it did with the packet decides.
    auto& book = const_cast<PacketBook&>(book_); // resolving halves paths, nothing else
    const FunctionId function = Catalog::find_function(where);
    if (is_one_of(where, {"udp_queue_rcv_one_skb", "__udp_enqueue_schedule_skb", "__udp_queue_rcv_skb"})) {
        return Catalog::find_drop_reason(book.at(slot).in_socket ? "SOCKET_RCVBUFF" : "SOCKET_FILTER");
    }
    if (is_one_of(where, {"__udp4_lib_rcv", "__udp6_lib_rcv", "tcp_v4_rcv", "tcp_v6_rcv"})) {
        return Catalog::find_drop_reason("NO_SOCKET");
    }
    if (const DropSite* site = Catalog::find_drop_site(function, DropReasonId::none)) {
        return site->reason;
    }
    return Catalog::find_drop_reason("NOT_SPECIFIED");
}

void Correlator::free_event(const RawRecord& record, const Decoder& decoder, bool is_drop)
{
    Lane& lane = lane_of(record);
    // The event comes before what the release functions do; each freeing call has one.
    std::size_t index = lane.stack.size();
    for (std::size_t i = lane.stack.size(); i-- > 0;) {
        const Frame& frame = lane.stack[i];
        if (frame.kind == Kind::free && frame.item != 0 && !frame.free_seen) {
            index = i;
            break;
        }
        if (frame.kind != Kind::free && frame.kind != Kind::free_tail) {
            if (i + 1 < lane.stack.size() || frame.item == 0 || frame.kind != Kind::carry) {
                break;
            }
        }
    }
    if (index < lane.stack.size()) {
        pop_to(lane, index + 1);
        book_.item(lane.stack[index].item).flags |= via_tracepoint;
    } else {
        const bool reads_udp = std::ranges::any_of(
            lane.stack, [&](const Frame& frame) { return functions_[frame.symbol].name == "skb_consume_udp"; });
        if (reads_udp && !is_drop) {
            (void)open_call(lane, {"skb_consume_udp"});
            push_call(lane, record, symbol_named("__consume_stateless_skb"), via_tracepoint).by_jump = true;
        } else {
            push_call(lane, record, symbol_named(is_drop ? "kfree_skb_reason" : "consume_skb"), via_tracepoint);
        }
        index = lane.stack.size() - 1;
    }
    const Slot slot = prove(lane, record, index, decoder.skb.read(record.data), Evidence::free);
    lane.stack[index].free_seen = true;
    for (Frame& frame : lane.stack) {
        frame.freed = slot;
        frame.has_freed = true;
    }
    if (slot == 0) {
        ++foreign_frees_;
        for (Frame& frame : lane.stack) {
            frame.wait = 0;
        }
        return;
    }
    const std::uint32_t item = lane.stack[index].item;
    SlotRecord& known = book_.at(slot);
    if (known.dead) {
        return;
    }
    // A driver that frees what it sent before the sender has returned from it: the transmission is a fact now.
    if (known.driver_call != 0 && !known.transmitted && known.packet.verdict == Verdict::in_flight && !known.looped) {
        const bool by_sender = std::ranges::any_of(lane.stack, [&](const Frame& frame) {
            return frame.lists && book_.resolve(frame.lists->in_driver) == slot;
        });
        if (!by_sender) {
            book_.transmitted(slot, known.driver_call);
        }
    }
    const bool is_clone = known.kind == SlotRecord::Kind::clone;
    const Verdict verdict = known.packet.verdict;
    DropReasonId reason = DropReasonId::none;
    bool no_drop = !is_drop || is_clone || verdict == Verdict::sent || verdict == Verdict::forwarded;
    FunctionId where = book_.item(item).function_id();
    if (!no_drop) {
        const auto hit = file_.symbols().find(decoder.location.read(record.data));
        std::string_view place = without_suffix(hit.name);
        for (std::size_t i = index; i-- > 0 && (place.empty() || kind_of(place) == Kind::free);) {
            place = functions_[lane.stack[i].symbol].name; // freed by a helper: whoever called it dropped the packet
        }
        if (decoder.reason) {
            const std::uint64_t number = decoder.reason.read(record.data);
            if (number < decoder.reasons.size()) {
                reason = decoder.reasons[number];
                no_drop = decoder.reason_is_none[number];
            } else {
                reason = Catalog::drop_reason_of(trace_.info.kernel, static_cast<int>(number));
            }
        } else {
            reason = reason_without_field(slot, place);
        }
        if (!place.empty()) {
            where = functions_[symbol_named(place)].id;
        }
        // In a socket's queue it was delivered; refusing it there, or a wrong checksum found on reading, is a drop.
        const bool refused = std::ranges::any_of(lane.stack, [&](const Frame& frame) {
            return is_one_of(functions_[frame.symbol].name,
                             {"udp_queue_rcv_one_skb", "udp_unicast_rcv_skb", "__udp4_lib_rcv", "udpv6_queue_rcv_one_skb",
                              "__udp6_lib_rcv", "udp6_unicast_rcv_skb", "__udp_queue_rcv_skb", "udp_queue_rcv_skb",
                              "raw_rcv", "ping_rcv", "udp_recvmsg", "udpv6_recvmsg"});
        });
        if (verdict == Verdict::delivered && !refused) {
            no_drop = true; // the socket was closed with unread datagrams
        }
    }
    if (!no_drop) {
        book_.dropped(slot, reason, where, item);
    } else if (verdict == Verdict::in_flight) {
        book_.decide(slot, is_clone && known.tapped ? Verdict::delivered : Verdict::consumed, item);
    }
    book_.freed(slot, item);
}

// ---- what events tell besides ---------------------------------------------------------------------------------------

void Correlator::on_fib(const RawRecord& record, const Decoder& decoder)
{
    Lane& lane = lane_of(record);
    const Frame* call = open_call(lane, {"fib_table_lookup"});
    if (call == nullptr) {
        call = &push_call(lane, record, symbol_named("fib_table_lookup"), via_tracepoint);
    }
    book_.item(call->item).flags |= via_tracepoint;
    FlowKey flow;
    flow.source = v4_address(decoder.address_a.bytes(record.data));
    flow.destination = v4_address(decoder.address_b.bytes(record.data));
    flow.protocol = static_cast<std::uint8_t>(decoder.protocol.read(record.data));
    flow.source_port = static_cast<std::uint16_t>(decoder.port_a.read(record.data));
    flow.destination_port = static_cast<std::uint16_t>(decoder.port_b.read(record.data));
    if (flow.protocol == protocol_icmp) {
        lane.icmp_flow = flow;
    }
    if (call->packet == 0) {
        return;
    }
    SlotRecord& known = book_.at(call->packet);
    const bool needs_ports = flow.protocol == protocol_udp || flow.protocol == protocol_tcp;
    if (known.kind == SlotRecord::Kind::transmit && !known.packet.flow && flow.protocol != 0 &&
        (!needs_ports || flow.destination_port != 0)) {
        known.packet.flow = flow;
    }
}

void Correlator::on_icmp_send(const RawRecord& record, const Decoder& decoder)
{
    Lane& lane = lane_of(record);
    const std::size_t frame = frame_for(lane, record, {"__icmp_send"}, "__icmp_send");
    const Slot slot = prove(lane, record, frame, decoder.skb.read(record.data), Evidence::kprobe);
    if (slot == 0 || book_.at(slot).packet.flow) {
        return;
    }
    FlowKey flow;
    flow.source = v4_address(decoder.address_a.bytes(record.data));
    flow.destination = v4_address(decoder.address_b.bytes(record.data));
    flow.protocol = protocol_udp; // the event gives ports of UDP only (include/trace/events/icmp.h)
    flow.source_port = static_cast<std::uint16_t>(decoder.port_a.read(record.data));
    flow.destination_port = static_cast<std::uint16_t>(decoder.port_b.read(record.data));
    if (flow.destination_port != 0) {
        book_.at(slot).packet.flow = flow;
    }
}

std::string Correlator::neighbour_name(const RawRecord& record, const Decoder& decoder)
{
    return fmt::format("{} on {}", v4_address(decoder.address_b.bytes(record.data)).text(), decoder.name.text(record.data));
}

void Correlator::on_neigh_update(const RawRecord& record, const Decoder& decoder)
{
    Lane& lane = lane_of(record);
    lane.neighbour = neighbour_name(record, decoder);
    if (Frame* call = open_call(lane, {"__neigh_update", "neigh_update"})) {
        book_.item(call->item).flags |= via_tracepoint;
    }
}

void Correlator::on_neigh_sent(const RawRecord& record, const Decoder& decoder)
{
    Lane& lane = lane_of(record);
    Frame* call = open_call(lane, {"__neigh_event_send"});
    if (call == nullptr || call->packet == 0) {
        return;
    }
    book_.item(call->item).flags |= via_tracepoint;
    const bool is_incomplete = decoder.number.read(record.data) == nud_incomplete;
    wait_for_neighbour(call->packet, call->item, neighbour_name(record, decoder), is_incomplete);
}

/// The packet stands in the neighbour's queue from within __neigh_event_send on; the answer may even come before that
/// function returns. Once the neighbour's name is known the queue bears it.
void Correlator::wait_for_neighbour(Slot packet, std::uint32_t item, const std::string& neighbour, bool queues)
{
    SlotRecord& known = book_.at(packet);
    const auto at = std::ranges::find_if(
        unresolved_, [&](const Waiting& waiting) { return book_.resolve(waiting.slot) == book_.resolve(packet); });
    if (at != unresolved_.end()) {
        if (at->neighbour.empty() && !neighbour.empty()) {
            at->neighbour = neighbour;
            book_.name_queue(known.waiting_side, neighbour);
        }
        return;
    }
    if (!queues || known.dead || known.left_neighbour) {
        return; // the neighbour is known: the packet goes on
    }
    known.waiting_side = book_.add_queue_side(item, EventKind::enqueue, packet, {QueueKind::arp_queue, neighbour});
    unresolved_.push_back({packet, neighbour});
}

void Correlator::on_return_marker(const RawRecord& record, const Decoder& decoder)
{
    // These events come when their function is about to return: what was called before it has returned.
    (void)decoder;
    Lane& lane = lane_of(record);
    const std::string& name = file_.format(record.event_id)->name;
    Frame* call = name == "napi_poll" ? open_call(lane, {"__napi_poll", "napi_poll"})
                  : name == "sock_send_length"
                      ? open_call(lane, {"__sys_sendto", "__x64_sys_sendto", "__x64_sys_sendmsg", "__x64_sys_sendmmsg"})
                      : open_call(lane, {"sock_recvmsg"});
    if (call != nullptr) {
        book_.item(call->item).flags |= via_tracepoint;
    }
}

void Correlator::on_merge_only(const RawRecord& record, const Decoder& decoder)
{
    (void)decoder;
    Lane& lane = lane_of(record);
    const std::string& name = file_.format(record.event_id)->name;
    Frame* call = nullptr;
    if (name == "sk_data_ready") {
        call = open_call(lane, {"sock_def_readable"});
    } else if (name == "neigh_create") {
        call = open_call(lane, {"___neigh_create", "__neigh_create"});
    } else if (name == "neigh_timer_handler") {
        call = open_call(lane, {"neigh_timer_handler"});
    } else {
        call = open_call(lane, {"skb_copy_datagram_iter", "__skb_datagram_iter"});
    }
    if (call != nullptr) {
        book_.item(call->item).flags |= via_tracepoint;
    }
}

void Correlator::lost(const RawRecord& record)
{
    const bool is_counted = record.lost_before != RawRecord::unknown_loss;
    lost_records_ += is_counted ? record.lost_before : 0;
    loss_not_counted_ = loss_not_counted_ || !is_counted;
    for (std::size_t level = 0; level < 4; ++level) {
        Lane& lane = cpu_lanes_[record.cpu * std::size_t{4} + level];
        pop_to(lane, 0);
        lane.handed_up.clear();
    }
    for (auto& [pid, lane] : task_lanes_) {
        if (lane.cpu == record.cpu) {
            pop_to(lane, 0);
        }
    }
    book_.mark_loss();
    Lane& lane = lane_of(record);
    (void)add_item(lane, record, EventKind::lost, FunctionId::none, 0, Confidence::certain, via_tracepoint,
                   is_counted ? static_cast<std::uint32_t>(std::min<std::uint64_t>(record.lost_before, 0xffffffff)) : 0);
}

void Correlator::finish()
{
    // Drivers name their interrupts after the device: "eth0", "eth0-rx-0". Others (virtio) tell nothing.
    for (const auto& [item, name] : interrupts_) {
        const auto device = devices_.find(std::string_view(name).substr(0, name.find('-')));
        if (device != devices_.end()) {
            (void)book_.add_side(item, EventKind::irq_raise, 0, to_index(device->second), true);
        }
    }
    auto& slots = book_.slots();
    for (Slot slot = 1; slot < slots.size(); ++slot) {
        SlotRecord& record = slots[slot];
        if (record.same_as != 0 || !record.born || record.kind != SlotRecord::Kind::clone) {
            continue;
        }
        if (!book_.at(static_cast<Slot>(to_index(record.packet.parent))).born) {
            record.born = false; // the clone of something that is no network packet
        }
    }
    std::uint64_t open_calls = 0;
    for (std::uint32_t item = 1; item <= book_.last_item(); ++item) {
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
    fault("records of events that the file does not describe", unknown_events_, "the file is damaged, or newer than its index");
    fault("records lost by the ring buffer", lost_records_, "record with larger buffers (trace-cmd record -b) or fewer events");
    fault("losses of unknown size", loss_not_counted_ ? 1 : 0, "record with larger buffers (trace-cmd record -b)");
    trace_.info.unattributed_events += open_calls + foreign_frees_ + unknown_events_;
    trace_.info.lost_events += lost_records_;
}

} // namespace skbscope
