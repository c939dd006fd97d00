#include "core/compare/compare.h"

#include "core/catalog/catalog.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <map>

namespace skbscope {

namespace {

std::string_view without_compiler_suffix(std::string_view name)
{
    for (const std::string_view suffix : {".constprop.", ".isra.", ".part."}) {
        name = name.substr(0, name.find(suffix));
    }
    return name;
}

/// The same function under the names of several kernels; the first is used for all.
std::string_view one_name(std::string_view name)
{
    static constexpr std::pair<std::string_view, std::string_view> renamed[] = {
        {"kfree_skb", "kfree_skb_reason"},                  // up to 5.16
        {"sk_skb_reason_drop", "kfree_skb_reason"},         // since 6.11
        {"napi_alloc_skb", "__napi_alloc_skb"},             // since 6.9 out of line under this name
        {"free_old_xmit", "free_old_xmit_skbs"},            // virtio_net
        {"sock_queue_rcv_skb", "sock_queue_rcv_skb_reason"} // up to 5.18
    };
    const auto found = std::ranges::find(renamed, name, &std::pair<std::string_view, std::string_view>::first);
    return found == std::end(renamed) ? name : found->second;
}

/// The name both traces use for that function, whichever kernel they are of.
std::string_view today(const Trace& trace, FunctionId id)
{
    if (to_index(id) < Catalog::function_count()) {
        return one_name(Catalog::function(id).name);
    }
    return one_name(without_compiler_suffix(trace.function_name(id)));
}

/// Functions that have a symbol, but that the compiler inlines into this caller, which stands in the same file. (Seen on
/// Debian's 5.10, 6.1 and 6.12: wherever the caller ran, the function never showed below it.)
bool is_inlined(std::string_view caller, std::string_view direct_caller, std::string_view function, KernelVersion version)
{
    if (direct_caller == "kfree_skb_partial" && function == "__kfree_skb") {
        return true;
    }
    if (direct_caller == "ip_build_and_send_pkt" && function == "ip_local_out") {
        return true;
    }
    if (direct_caller == "invoke_softirq" && function == "__do_softirq") {
        return true;
    }
    if (version < KernelVersion::v6_1 && caller == "ip6_input" && function == "ip6_input_finish") {
        return true; // later kernels call it
    }
    static const std::set<std::pair<std::string_view, std::string_view>> inlined = {
        {"ip_send_skb", "ip_local_out"},
        {"ip_route_output_flow", "ip_route_output_key_hash"},
        {"kfree_skb_reason", "__kfree_skb"},
        {"consume_skb", "__kfree_skb"},
        {"ip_rcv", "ip_rcv_finish"},
        {"ipv6_rcv", "ip6_rcv_finish"},
        {"ip_push_pending_frames", "ip_send_skb"},
        {"__skb_recv_udp", "udp_skb_destructor"},
        {"tcp_v4_send_check", "__tcp_v4_send_check"},
        {"tcp_release_cb", "tcp_send_ack"},
        {"neigh_event_ns", "__neigh_create"},
        {"neigh_event_ns", "neigh_update"},
    };
    // Inline in a header; the copy with a symbol serves only those who take its address.
    static const std::set<std::string_view> always_inlined = {"dst_output", "neigh_hh_output"};
    return always_inlined.contains(function) || inlined.contains({caller, function});
}

/// Of two modules with a function of that name, only the other has it out of line: inlined below this call.
bool is_inlined_below(std::string_view outer, std::string_view function)
{
    return outer == "e1000_clean" && function == "e1000_rx_checksum"; // e1000e polls with e1000e_poll
}

/// A graph's records carry no context: what an interrupt calls on its way in and out stands in the call that it happened to hit,
/// and so does what lets softirqs in again, which serves the CPU and no packet.
bool is_of_the_cpu(std::string_view function)
{
    static const std::set<std::string_view> calls = {"irq_enter_rcu", "irq_exit_rcu", "__local_bh_enable_ip", "do_softirq"};
    return calls.contains(function);
}

/// What asks for softirqs and what runs them.
bool runs_softirqs(std::string_view function)
{
    static const std::set<std::string_view> calls = {"do_softirq", "__do_softirq", "handle_softirqs", "__raise_softirq_irqoff", "raise_softirq_irqoff"};
    return calls.contains(function);
}

bool is_arrived(const PacketRecord& packet)
{
    return packet.verdict == Verdict::delivered || packet.verdict == Verdict::forwarded;
}

/// Whether a kernel tells reasons at all (since 5.17).
bool tells_reasons(const Trace& trace)
{
    return trace.info.kernel >= KernelVersion::v6_1;
}

/// An observed end that was not seen proves nothing against a packet still alive, and the other way round.
bool same_verdict(const PacketRecord& a, const PacketRecord& b)
{
    return a.verdict == b.verdict;
}

bool same_reason(const Trace& trace_a, const PacketRecord& a, const Trace& trace_b, const PacketRecord& b)
{
    if (!same_verdict(a, b)) {
        return false;
    }
    if (a.verdict != Verdict::dropped || !tells_reasons(trace_a) || !tells_reasons(trace_b)) {
        return true;
    }
    return a.reason == b.reason;
}

/// Calls that make another packet while one is served: they are that packet's.
bool makes_another(std::string_view function)
{
    static const std::set<std::string_view> makers = {"icmp_push_reply", "arp_send_dst", "arp_create", "arp_xmit"};
    return makers.contains(function);
}

/// Functions that end in a jump instead of a call, as Debian's 6.12 has them: what they hand on to runs in their place, so
/// that a recording shows the two beside each other.
bool ends_in_jump(const Trace& trace, std::string_view function)
{
    return !trace.info.observed && trace.info.kernel >= KernelVersion::v6_12 && function == "ndisc_rcv";
}

/// Keeps own calls, calls that enclose one, and interrupts.
std::vector<bool> counted_steps(const Trace& trace, const Journey& journey)
{
    std::vector<bool> counted(journey.steps.size());
    std::map<std::uint32_t, std::vector<std::size_t>> open; // by lane: shared calls not yet left, outermost first
    for (std::size_t i = 0; i < journey.steps.size(); ++i) {
        const Event& event = trace[journey.steps[i].ordinal];
        auto& lane = open[event.cpu * 4U + static_cast<std::uint32_t>(event.context())];
        std::erase_if(lane, [&](std::size_t outer) {
            const Event& call = trace[journey.steps[outer].ordinal];
            return call.depth >= event.depth || call.end() <= event.time();
        });
        const bool is_own = event.packet_id() == journey.packet && (trace.info.observed || !makes_another(today(trace, event.function_id())));
        if (is_own || event.context() == Context::hardirq) {
            counted[i] = true;
            for (const std::size_t outer : lane) {
                counted[outer] = counted[outer] || !ends_in_jump(trace, today(trace, trace[journey.steps[outer].ordinal].function_id()));
            }
        }
        lane.push_back(i);
    }
    return counted;
}

Segment& segment_for(std::vector<Segment>& segments, const Event& event)
{
    const TaskId task = event.context() == Context::process ? event.task_id() : TaskId::none;
    const auto same = std::ranges::find_if(segments, [&](const Segment& segment) {
        return segment.context == event.context() && segment.cpu == event.cpu_id() && segment.task == task;
    });
    if (same != segments.end()) {
        return *same;
    }
    return segments.emplace_back(Segment{event.context(), event.cpu_id(), task, {}});
}

std::vector<const Segment*> of_context(const std::vector<Segment>& segments, Context context)
{
    std::vector<const Segment*> list;
    for (const Segment& segment : segments) {
        if (segment.context == context) {
            list.push_back(&segment);
        }
    }
    return list;
}

/// Since 6.3 the next poll runs in the same net_rx_action() when its interrupt came before the loop's end, else in another: a
/// matter of nanoseconds, not of the packet's way. The loop ends by itself after netdev_budget_usecs: what comes later is another.
bool may_be_same_loop(const Trace& trace, const Segment& segment, const Event& event, std::string_view name)
{
    constexpr std::uint64_t longest_loop_ns = 8'000'000; // the kernel's default
    if (trace.info.kernel < KernelVersion::v6_12 || name != "net_rx_action") {
        return false;
    }
    const auto last = std::ranges::find(segment.steps.rbegin(), segment.steps.rend(), name, &ComparedStep::function);
    return last != segment.steps.rend() && event.time_ns - trace[last->ordinal].time_ns <= longest_loop_ns;
}

std::optional<StepDifference> difference_in(const Segment* a, const Segment* b, Context context, std::size_t ordinal)
{
    static const std::vector<ComparedStep> no_steps;
    const auto& steps_a = a == nullptr ? no_steps : a->steps;
    const auto& steps_b = b == nullptr ? no_steps : b->steps;
    for (std::size_t i = 0; i < std::max(steps_a.size(), steps_b.size()); ++i) {
        const std::string_view in_a = i < steps_a.size() ? steps_a[i].function : std::string_view();
        const std::string_view in_b = i < steps_b.size() ? steps_b[i].function : std::string_view();
        if (in_a != in_b) {
            return StepDifference{context, ordinal, i, std::string(in_a), std::string(in_b)};
        }
    }
    return std::nullopt;
}

using CounterMoves = std::map<std::string, std::int64_t>;

/// Figures of one machine and one run: sockets by their inodes, other devices' interrupts, the recorder itself.
bool is_of_one_run(std::string_view name)
{
    return std::ranges::any_of(std::array<std::string_view, 5>{"recorder.", "socket ", "interrupt ", "softirq ", "ethtool "},
                               [&](std::string_view prefix) { return name.starts_with(prefix); });
}

/// Of a packet filter's rule: the model counts them one by one, a recorder does not.
bool is_of_a_rule(std::string_view name)
{
    return name.find("nft table ") != std::string_view::npos || name.find("iptables table ") != std::string_view::npos;
}

void leave_out_rules_unless_known(CounterMoves& moves, const Trace& other)
{
    if (std::ranges::none_of(other.counters(), [](const CounterRecord& counter) { return is_of_a_rule(counter.name); })) {
        std::erase_if(moves, [](const auto& row) { return is_of_a_rule(row.first); });
    }
}

CounterMoves counter_moves(const Trace& trace)
{
    CounterMoves moves;
    for (std::size_t i = 0; i < trace.size(); ++i) {
        if (trace[i].event_kind() == EventKind::counter) {
            const CounterChange& change = trace.counter_changes()[trace[i].arg];
            const CounterRecord& counter = trace.counter(change.counter);
            if (is_of_one_run(counter.name)) {
                continue;
            }
            const std::string host =
                trace.hosts().size() > 1 ? trace.hosts()[to_index(counter.host)].name + "/" : std::string();
            moves[host + counter.name] += static_cast<std::int64_t>(change.after - change.before);
        }
    }
    return moves;
}

/// What one side counts for each CPU ("softnet_stat.processed CPU 1") and the other only in all is added up.
void add_up_cpus(CounterMoves& moves, const CounterMoves& other)
{
    for (auto one = moves.begin(); one != moves.end();) {
        const auto cpu = one->first.rfind(" CPU ");
        if (cpu == std::string::npos || other.contains(one->first) || !other.contains(one->first.substr(0, cpu))) {
            ++one;
            continue;
        }
        moves[one->first.substr(0, cpu)] += one->second;
        one = moves.erase(one);
    }
}

std::vector<CounterComparison> compare_counters(const Trace& a, const Trace& b)
{
    CounterMoves moves_a = counter_moves(a);
    CounterMoves moves_b = counter_moves(b);
    add_up_cpus(moves_a, moves_b);
    add_up_cpus(moves_b, moves_a);
    leave_out_rules_unless_known(moves_a, b);
    leave_out_rules_unless_known(moves_b, a);
    std::vector<CounterComparison> differing;
    if (moves_a.empty() || moves_b.empty()) {
        return differing; // a recording without counters says nothing about them
    }
    for (const auto& [name, by] : moves_a) {
        const auto other = moves_b.find(name);
        const std::int64_t by_b = other == moves_b.end() ? 0 : other->second;
        if (by != by_b) {
            differing.push_back({name, by, by_b});
        }
    }
    for (const auto& [name, by] : moves_b) {
        if (by != 0 && !moves_a.contains(name)) {
            differing.push_back({name, 0, by});
        }
    }
    return differing;
}

std::vector<ArrivalDifference> compare_arrivals(const Trace& a, const Trace& b, const std::vector<PacketPair>& pairs)
{
    struct Seen {
        std::size_t count = 0;
        ArrivalDifference difference;
    };
    std::map<FlowKey, Seen> flows;
    for (const PacketPair& pair : pairs) {
        const PacketRecord* in_a = pair.a == PacketId::none ? nullptr : &a.packet(pair.a);
        const PacketRecord* in_b = pair.b == PacketId::none ? nullptr : &b.packet(pair.b);
        const PacketRecord& any = in_a != nullptr ? *in_a : *in_b;
        if (!any.flow || any.relation != Relation::none) {
            continue;
        }
        Seen& seen = flows[*any.flow];
        const bool arrived_a = in_a != nullptr && is_arrived(*in_a);
        const bool arrived_b = in_b != nullptr && is_arrived(*in_b);
        if (arrived_a != arrived_b) {
            (arrived_a ? seen.difference.only_in_a : seen.difference.only_in_b).push_back(seen.count);
        }
        ++seen.count;
    }
    std::vector<ArrivalDifference> differing;
    for (auto& [flow, seen] : flows) {
        if (!seen.difference.only_in_a.empty() || !seen.difference.only_in_b.empty()) {
            seen.difference.flow = flow;
            differing.push_back(std::move(seen.difference));
        }
    }
    return differing;
}

} // namespace

std::string StepDifference::text() const
{
    const auto name = [](const std::string& function) { return function.empty() ? std::string("(nothing)") : function; };
    return fmt::format("{}: {} | {}", to_string(context), name(in_a), name(in_b));
}

std::size_t Comparison::same_verdict() const
{
    return static_cast<std::size_t>(std::ranges::count(packets, true, &PacketComparison::same_verdict));
}
std::size_t Comparison::same_reason() const
{
    return static_cast<std::size_t>(std::ranges::count(packets, true, &PacketComparison::same_reason));
}
std::size_t Comparison::same_functions() const
{
    return static_cast<std::size_t>(std::ranges::count(packets, true, &PacketComparison::same_functions));
}
bool Comparison::same() const
{
    return only_in_a.empty() && only_in_b.empty() && counters.empty() &&
           std::ranges::all_of(packets, [](const PacketComparison& packet) { return packet.same(); });
}

VisibleFunctions visible_to(std::span<const std::string> filter, std::span<const std::string> roots, KernelVersion version)
{
    VisibleFunctions visible;
    visible.with_inlining = true;
    const auto add = [&](FunctionNames& names, std::string_view symbol) {
        // The compiler split it: the symbol is the rare part, the rest is inlined.
        if (symbol.find(".part.") == std::string_view::npos && (roots.empty() || !is_of_the_cpu(symbol))) {
            const std::string_view bare = without_compiler_suffix(symbol);
            const FunctionId id = Catalog::find_function(bare);
            names.emplace(one_name(id == FunctionId::none ? bare : Catalog::function(id).name));
        }
    };
    for (const std::string& symbol : filter) {
        add(visible.functions, symbol);
    }
    if (roots.empty()) {
        return visible;
    }
    for (const std::string& symbol : roots) {
        add(visible.roots, symbol);
    }
    // Below its roots a graph shows every call of the kernel; those that the catalog knows can be compared.
    for (const Function& function : Catalog::functions()) {
        if (function.traceable[static_cast<std::size_t>(version)]) {
            add(visible.functions, function.symbol[static_cast<std::size_t>(version)]);
        }
    }
    return visible;
}

FunctionNames visible_functions(const Trace& trace)
{
    FunctionNames names;
    std::vector<bool> seen;
    for (std::size_t i = 0; i < trace.size(); ++i) {
        const Event& event = trace[i];
        // A tracepoint shows that its function ran at this place, never all of its calls.
        if (!event.is_call() || (trace.info.observed && (event.via() & ~via_tracepoint) == 0)) {
            continue;
        }
        if (event.function >= seen.size()) {
            seen.resize(event.function + std::size_t{1});
        }
        if (!seen[event.function]) {
            seen[event.function] = true;
            names.emplace(today(trace, event.function_id()));
        }
    }
    return names;
}

FunctionNames tracepoint_places(const Trace& trace)
{
    // Not those that free: their event comes with the last reference only. Not netif_rx() and __netif_rx(), which one event
    // stands for; netif_rx_internal() follows in both. Not fib_table_lookup() and sock_recvmsg(): their events name no packet,
    // and are told by order alone. (What waits for its neighbour lacks the lookup that was made for it.)
    static const std::set<std::string_view> shown_each_time = {
        "napi_gro_receive", "napi_gro_frags", "netif_receive_skb", "netif_rx_internal", "__netif_receive_skb_core",
        "__dev_queue_xmit", "dev_hard_start_xmit", "sock_def_readable"};
    FunctionNames names;
    if (!trace.info.observed || !visible_functions(trace).empty()) {
        return names;
    }
    for (std::size_t i = 0; i < trace.size(); ++i) {
        const Event& event = trace[i];
        if (event.is_call() && event.packet_id() != PacketId::none) {
            if (const std::string_view name = today(trace, event.function_id()); shown_each_time.contains(name)) {
                names.emplace(name);
            }
        }
    }
    return names;
}

std::vector<Segment> segments_of(const Trace& trace, const Journey& journey, const VisibleFunctions& visible)
{
    std::vector<Segment> segments;
    const std::vector<bool> counted = counted_steps(trace, journey);
    struct Open {
        std::uint8_t depth;
        std::string_view name;
        bool below_root;
    };
    std::map<std::uint32_t, std::vector<Open>> lanes; // open calls, outermost first
    for (std::size_t i = 0; i < journey.steps.size(); ++i) {
        const Event& event = trace[journey.steps[i].ordinal];
        const std::string_view name = today(trace, event.function_id());
        auto& lane = lanes[event.cpu * 4U + static_cast<std::uint32_t>(event.context())];
        while (!lane.empty() && lane.back().depth >= event.depth) {
            lane.pop_back();
        }
        // Inlining shows against the caller that can be seen: between them may stand functions that exist in the source only.
        const auto seen = std::ranges::find_if(lane.rbegin(), lane.rend(), [&](const Open& open) { return visible.functions.contains(open.name); });
        const std::string_view caller = seen == lane.rend() ? std::string_view() : seen->name;
        const bool below_root = visible.roots.empty() || visible.roots.contains(name) || (!lane.empty() && lane.back().below_root);
        const std::string_view direct_caller = lane.empty() ? std::string_view() : lane.back().name;
        lane.push_back({event.depth, name, below_root});
        const bool hidden = !trace.info.observed && visible.with_inlining &&
                            (is_inlined(caller, direct_caller, name, trace.info.kernel) ||
                             std::ranges::any_of(lane, [&](const Open& open) { return is_inlined_below(open.name, name); }));
        const bool is_whose = !visible.own_only || event.packet_id() == journey.packet;
        // Where functions were traced, one that only its event stands for was not called (net_tx_action() has consume_skb()'s).
        const bool is_called = !trace.info.observed || visible.own_only || (event.via() & ~via_tracepoint) != 0;
        if (counted[i] && is_whose && is_called && below_root && !hidden && visible.functions.contains(name)) {
            Segment& segment = segment_for(segments, event);
            const bool looks_again = visible.looks_once && name == "__skb_try_recv_from_queue" && !segment.steps.empty() && segment.steps.back().function == name;
            if (looks_again || may_be_same_loop(trace, segment, event, name)) {
                continue;
            }
            segment.steps.push_back({journey.steps[i].ordinal, name});
        }
    }
    return segments;
}

std::optional<StepDifference> first_difference(const std::vector<Segment>& a, const std::vector<Segment>& b)
{
    // Contexts in the order in which the longer side shows them first: the earliest difference is the one to look at.
    std::vector<Context> contexts;
    for (const auto* side : {&a, &b}) {
        for (const Segment& segment : *side) {
            if (std::ranges::find(contexts, segment.context) == contexts.end()) {
                contexts.push_back(segment.context);
            }
        }
    }
    for (const Context context : contexts) {
        const auto list_a = of_context(a, context);
        const auto list_b = of_context(b, context);
        for (std::size_t i = 0; i < std::max(list_a.size(), list_b.size()); ++i) {
            if (auto difference = difference_in(i < list_a.size() ? list_a[i] : nullptr, i < list_b.size() ? list_b[i] : nullptr,
                                                context, i)) {
                return difference;
            }
        }
    }
    return std::nullopt;
}

namespace {

/// Of a model, what tracepoints can show: packets that run through one of their functions, or are dropped, which kfree_skb tells.
/// (A clone for a probe is made and freed without either.)
PacketChoice only_shown(const Trace& trace, const JourneyIndex& journeys, const VisibleFunctions& visible, const PacketChoice& wanted)
{
    if (trace.info.observed) {
        return wanted;
    }
    return [&trace, &journeys, &visible, wanted](const PacketRecord& packet) {
        if (wanted && !wanted(packet)) {
            return false;
        }
        return packet.verdict == Verdict::dropped || std::ranges::any_of(journeys.journey(packet.id).steps, [&](const auto& step) {
            const Event& event = trace[step.ordinal];
            return event.packet_id() == packet.id && visible.functions.contains(today(trace, event.function_id()));
        });
    };
}

} // namespace

Comparison compare_traces(const Trace& a, const JourneyIndex& journeys_a, const Trace& b, const JourneyIndex& journeys_b,
                          const CompareOptions& options)
{
    Comparison comparison;
    VisibleFunctions visible = options.visible;
    if (visible.functions.empty()) {
        const FunctionNames places_a = tracepoint_places(a);
        const FunctionNames places_b = tracepoint_places(b);
        comparison.by_tracepoints = !places_a.empty() || !places_b.empty();
        visible.functions = places_a.empty() ? visible_functions(a) : places_a;
        FunctionNames of_b = places_b.empty() ? visible_functions(b) : places_b;
        visible.with_inlining = a.info.observed != b.info.observed;
        visible.looks_once = visible.with_inlining; // __skb_recv_udp() looks once into the reader's queue, and again when it was empty and the socket's not
        // Two runs of the model show all they call; a recording only what its tracer was asked for.
        if (a.info.observed && b.info.observed) {
            std::erase_if(visible.functions, [&](const std::string& name) { return !of_b.contains(name); });
        } else if (b.info.observed) {
            visible.functions = std::move(of_b);
        } else if (!a.info.observed) {
            visible.functions.merge(of_b);
        }
        // A live recording shows whenever softirqs were let in again, be it by a lock that is given back, and gives what runs them then to the
        // packet whose call that was: the model shows it only where they then ran, and gives it to nobody.
        if (a.info.observed != b.info.observed) {
            std::erase_if(visible.functions, [](const std::string& name) { return is_of_the_cpu(name) || runs_softirqs(name); });
        }
    }
    visible.own_only = visible.own_only || comparison.by_tracepoints;
    comparison.visible = visible;
    CompareOptions chosen = options;
    if (comparison.by_tracepoints) {
        chosen.of_a = only_shown(a, journeys_a, visible, options.of_a);
        chosen.of_b = only_shown(b, journeys_b, visible, options.of_b);
    }
    const auto pairs = align_packets(a, b, chosen.of_a, chosen.of_b, comparison.by_tracepoints);
    for (const PacketPair& pair : pairs) {
        if (pair.a == PacketId::none) {
            comparison.only_in_b.push_back(pair.b);
            continue;
        }
        if (pair.b == PacketId::none) {
            comparison.only_in_a.push_back(pair.a);
            continue;
        }
        PacketComparison one;
        one.pair = pair;
        one.same_verdict = same_verdict(a.packet(pair.a), b.packet(pair.b));
        one.same_reason = same_reason(a, a.packet(pair.a), b, b.packet(pair.b));
        one.first = first_difference(segments_of(a, journeys_a.journey(pair.a), visible),
                                     segments_of(b, journeys_b.journey(pair.b), visible));
        one.same_functions = !one.first;
        comparison.packets.push_back(std::move(one));
    }
    comparison.counters = compare_counters(a, b);
    comparison.arrivals = compare_arrivals(a, b, pairs);
    return comparison;
}

} // namespace skbscope
