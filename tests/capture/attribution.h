#pragma once
// How many of the calls within a recording's phases were given to a packet.

#include "capture/function_kinds.h"
#include "core/catalog/catalog.h"
#include "core/trace/trace.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

namespace skbscope::testing {

/// Calls within the phases that work for a packet, and how many of them were given none.
struct Attribution {
    std::size_t calls = 0, without = 0;
    std::map<std::string, int> which; ///< of those without
};

/// Looks whether there is anything to do; that of those which find something is the packet's.
inline bool looks(std::string_view function)
{
    static const std::set<std::string_view> names = {"virtqueue_get_buf", "virtqueue_get_buf_ctx", "__fq_codel_dequeue"};
    return names.contains(function);
}

/// The sk_buff of a netlink message: __neigh_notify() (net/core/neighbour.c), which no usual tracer shows, makes it and frees it.
inline bool may_be_netlinks(FunctionKind kind, std::string_view caller)
{
    using Kind = FunctionKind;
    const bool is_of_sk_buffs = kind == Kind::allocate || kind == Kind::free || kind == Kind::free_tail;
    return is_of_sk_buffs && (kind_of(caller) == Kind::neighbour_update || caller == "neigh_timer_handler" || caller == "__neigh_event_send");
}

/// skb_defer_free_flush() (net/core/dev.c) frees what other CPUs' readers have left to this one. An sk_buff that no record has named before was received
/// where nothing is recorded.
inline bool is_left_by_untraced_cpu(std::string_view name, std::string_view caller, const Event& event)
{
    const bool is_named = event.confidence() == Confidence::certain && (event.via() & via_tracepoint) != 0;
    return name == "napi_consume_skb" && caller == "net_rx_action" && event.packet == 0 && is_named;
}

/// A probe showed which sk_buff it was given (none), and no event of its end came.
inline bool frees_nothing(FunctionKind kind, const Event& event)
{
    return kind == FunctionKind::free && event.packet == 0 && event.confidence() == Confidence::certain && (event.via() & via_tracepoint) == 0;
}

inline bool serves_nobody(FunctionKind kind)
{
    using Kind = FunctionKind;
    static const std::set<Kind> kinds = {Kind::batch,         Kind::none,          Kind::foreign, Kind::system_call,
                                         Kind::stream,        Kind::list_core,     Kind::qdisc_run, Kind::list_internal,
                                         Kind::list_protocol, Kind::sublist,       Kind::sublist_hook, Kind::gro_complete,
                                         Kind::qdisc_dequeue};
    return kinds.contains(kind);
}

/// The calls of one task from one system call to the next: they count if a packet passed among them; netlink, unix sockets
/// and looks into empty queues have none.
struct SystemCall {
    bool has_packet = false;
    std::vector<std::string> without;
    std::size_t calls = 0;

    void close(Attribution& into)
    {
        if (has_packet) {
            into.calls += calls;
            into.without += without.size();
            for (const std::string& name : without) {
                ++into.which[name];
            }
        }
        *this = {};
    }
};

inline Attribution attribution_within(const Trace& trace, const nlohmann::json& phases)
{
    struct Open {
        std::uint8_t depth;
        bool of_nobody; ///< it and all it calls
        std::string name;
    };
    Attribution found;
    std::map<std::pair<std::uint32_t, std::uint32_t>, std::vector<Open>> lanes;
    std::map<std::uint32_t, SystemCall> tasks;
    SystemCall softirqs;
    for (std::size_t i = 0; i < trace.size(); ++i) {
        const Event& event = trace[i];
        if (!event.is_call() || (event.via() & (via_function | via_graph)) == 0 || event.context() >= Context::hardirq) {
            continue;
        }
        const bool is_task = event.context() == Context::process;
        auto& lane = lanes[{static_cast<std::uint32_t>(event.context()), is_task ? event.task : event.cpu}];
        while (!lane.empty() && lane.back().depth >= event.depth) {
            lane.pop_back();
        }
        SystemCall& call = is_task ? tasks[event.task] : softirqs;
        if (is_task && lane.empty()) {
            call.close(found);
        }
        const std::string name(without_suffix(trace.function_name(event.function_id())));
        const FunctionKind kind = kind_of(name);
        const bool outer = !lane.empty() && lane.back().of_nobody;
        const std::string caller = lane.empty() ? std::string() : lane.back().name;
        const bool is_others = (event.packet == 0 && may_be_netlinks(kind, caller)) || is_left_by_untraced_cpu(name, caller, event);
        lane.push_back({event.depth, outer || is_others || kind == FunctionKind::none || kind == FunctionKind::foreign, name});
        const bool in_phase = std::ranges::any_of(phases, [&](const nlohmann::json& phase) {
            return event.time_ns >= phase.at("begin").get<std::uint64_t>() && event.time_ns <= phase.at("end").get<std::uint64_t>();
        });
        const bool is_known = Catalog::find_function(name) != FunctionId::none; // a graph shows helpers of all kinds, too
        if (!in_phase || outer || is_others || frees_nothing(kind, event) || !is_known || (event.packet == 0 && (serves_nobody(kind) || looks(name)))) {
            continue;
        }
        ++call.calls;
        call.has_packet = call.has_packet || event.packet != 0 || !is_task;
        if (event.packet == 0) {
            call.without.push_back(name);
        }
    }
    softirqs.close(found);
    for (auto& [task, call] : tasks) {
        call.close(found);
    }
    return found;
}

} // namespace skbscope::testing
