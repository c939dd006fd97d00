#pragma once
// Small facts and helpers that the parts of the correlator share.

#include "capture/correlator.h"

#include <algorithm>
#include <initializer_list>
#include <string_view>

namespace skbscope::correlating {

using Kind = FunctionKind;
using skbscope::is_one_of;

// include/linux/trace_events.h
inline constexpr std::uint8_t flag_hardirq = 0x08;
inline constexpr std::uint8_t flag_softirq = 0x10;
inline constexpr std::uint8_t flag_nmi = 0x40;

inline constexpr std::uint16_t ethertype_ipv4 = 0x0800;
inline constexpr std::uint16_t ethertype_arp = 0x0806;
inline constexpr std::uint16_t ethertype_ipv6 = 0x86dd;
inline constexpr std::uint8_t protocol_icmp = 1;
inline constexpr std::uint8_t protocol_tcp = 6;
inline constexpr std::uint8_t protocol_udp = 17;
inline constexpr std::uint32_t ethernet_header = 14;
inline constexpr std::uint8_t nud_incomplete = 1; // include/uapi/linux/neighbour.h
inline constexpr std::size_t kept_gaps = 1 << 20;
inline constexpr std::size_t most_received = 4096; // more than a net_rx_action takes with any usual budget

inline bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names)
{
    return std::ranges::find(names, name) != names.end();
}

inline bool is_listed(const std::vector<std::uint64_t>& numbers, const KnownName& name)
{
    return std::ranges::find(numbers, name.number()) != numbers.end();
}

/// Calls that serve nobody in particular: a packet below them is found anew.
inline bool finds_packets(Kind kind)
{
    switch (kind) {
    case Kind::batch:
    case Kind::gro_complete:
    case Kind::list_internal:
    case Kind::list_core:
    case Kind::list_protocol:
    case Kind::sublist:
    case Kind::sublist_hook:
    case Kind::qdisc_run:
        return true;
    default:
        return false;
    }
}

inline IpAddress v4_address(std::span<const std::uint8_t> bytes)
{
    IpAddress address;
    std::copy_n(bytes.begin(), std::min<std::size_t>(bytes.size(), 4), address.bytes.begin());
    return address;
}

} // namespace skbscope::correlating

namespace skbscope {

// Of every record, so in line.

inline Context Correlator::context_of(const RawRecord& record)
{
    if ((record.flags & correlating::flag_nmi) != 0) {
        return Context::nmi;
    }
    if ((record.flags & correlating::flag_hardirq) != 0) {
        return Context::hardirq;
    }
    return (record.flags & correlating::flag_softirq) != 0 ? Context::softirq : Context::process;
}

inline bool Correlator::interrupts(const Lane& lane, Symbol function) const
{
    return lane.is_task ? functions_[function].interrupts : functions_[function].interrupts_softirq;
}

inline Lane& Correlator::lane_of(const RawRecord& record)
{
    const Context context = context_of(record);
    const bool is_task = context == Context::process && record.pid != 0;
    const auto& [known, of_task] = recent_lanes_[static_cast<std::uint32_t>(record.pid) % recent_lanes_.size()];
    Lane& lane = !is_task              ? cpu_lanes_[record.cpu * std::size_t{4} + static_cast<std::size_t>(context)]
                 : known == record.pid ? *of_task
                                       : lane_looked_up(record.pid);
    lane.is_task = context == Context::process;
    lane.cpu = record.cpu;
    if (!lane.stack.empty() && interrupts(lane, lane.stack.back().symbol)) [[unlikely]] {
        leave_interrupts(lane);
    }
    return lane;
}

inline Frame* Correlator::open_call(Lane& lane, std::initializer_list<NameNumber> names)
{
    for (std::size_t i = lane.stack.size(); i-- > 0;) {
        if (lane.stack[i].item != 0 && correlating::is_one_of(functions_[lane.stack[i].symbol].name, names)) {
            if (i + 1 != lane.stack.size()) {
                pop_to(lane, i + 1);
            }
            return &lane.stack[i];
        }
    }
    return nullptr;
}

inline std::uint32_t Correlator::add_item(Lane& lane, const RawRecord& record, EventKind kind, FunctionId function,
                                   Slot packet, Confidence confidence, std::uint8_t via, std::uint32_t arg)
{
    const TaskId task = task_of(record.pid);
    Event& event = book_.add_for(packet);
    event.time_ns = record.time_ns;
    event.task = to_index(task);
    event.arg = arg;
    event.function = static_cast<std::uint16_t>(function);
    event.cpu = record.cpu;
    event.kind = static_cast<std::uint8_t>(kind);
    event.flags = Event::make_flags(context_of(record), confidence, via);
    event.depth = lane.depth();
    return book_.last_item();
}

} // namespace skbscope
