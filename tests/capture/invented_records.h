#pragma once
// Small recordings that follow the kernel's own order of calls, imported; and short questions to ask of what came of them.

#include "capture/import.h"
#include "core/trace/journey.h"
#include "tests/capture/trace_dat_builder.h"

#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <map>
#include <unistd.h>

namespace skbscope::testing {

inline Trace imported(const TraceDatBuilder& builder)
{
    const auto path =
        std::filesystem::temp_directory_path() / fmt::format("skbscope-correlator-{}", ::getpid());
    std::ofstream(path, std::ios::binary | std::ios::trunc)
        << builder.file(TraceDatBuilder::Layout::version_6);
    auto result = import_trace_dat(path.string());
    std::filesystem::remove(path);
    EXPECT_TRUE(result) << (result ? "" : result.error().describe());
    return result ? std::move(result->trace) : Trace{};
}

/// The packet's own calls, in order.
inline std::vector<std::string> own_calls(const Trace& trace, PacketId packet)
{
    std::vector<std::string> names;
    for (std::size_t i = 0; i < trace.size(); ++i) {
        if (trace[i].is_call() && trace[i].packet_id() == packet) {
            names.emplace_back(trace.function_name(trace[i].function_id()));
        }
    }
    return names;
}

inline std::vector<std::string> journey_calls(const Trace& trace, PacketId packet)
{
    JourneyIndex index(trace);
    index.update();
    std::vector<std::string> names;
    for (const Step& step : index.journey(packet).steps) {
        names.emplace_back(trace.function_name(trace[step.ordinal].function_id()));
    }
    return names;
}

inline std::vector<Verdict> verdicts_of(const Trace& trace)
{
    std::vector<Verdict> found;
    for (const PacketRecord& packet : trace.packets()) {
        found.push_back(packet.verdict);
    }
    return found;
}

/// By function; of one called several times, its last call.
inline std::map<std::string, int> depths_of(const Trace& trace)
{
    std::map<std::string, int> depth;
    for (std::size_t i = 0; i < trace.size(); ++i) {
        if (trace[i].is_call()) {
            depth[std::string(trace.function_name(trace[i].function_id()))] = trace[i].depth;
        }
    }
    return depth;
}

inline constexpr std::uint64_t skb_a = 0xffff888000010000;
inline constexpr std::uint64_t skb_b = 0xffff888000020000;
inline constexpr std::uint64_t skb_c = 0xffff888000030000;

inline void poll_begins(TraceDatBuilder& trace)
{
    trace.on(0, TraceDatBuilder::softirq).softirq_entry().call("net_rx_action", "handle_softirqs");
    trace.call("__napi_poll", "net_rx_action")
        .call("e1000_clean", "__napi_poll")
        .call("e1000_clean_rx_irq", "e1000_clean");
}

inline void frame_arrives(TraceDatBuilder& trace, std::uint64_t skb)
{
    trace.call("__napi_alloc_skb", "e1000_clean_rx_irq").call("eth_type_trans", "e1000_clean_rx_irq");
    trace.call("napi_gro_receive", "e1000_clean_rx_irq").gro_entry(skb, 92);
    trace.call("dev_gro_receive", "napi_gro_receive").gro_exit(3);
}

inline void list_begins(TraceDatBuilder& trace)
{
    trace.call("e1000_alloc_rx_buffers", "e1000_clean_rx_irq").call("napi_complete_done", "e1000_clean");
    trace.call("netif_receive_skb_list_internal", "napi_complete_done");
    trace.call("__netif_receive_skb_list_core", "netif_receive_skb_list_internal");
}

inline void core(TraceDatBuilder& trace, std::uint64_t skb)
{
    trace.call("__netif_receive_skb_core", "__netif_receive_skb_list_core").received(skb, 92);
}

inline void deliver(TraceDatBuilder& trace)
{
    trace.call("ip_local_deliver", "ip_sublist_rcv_finish")
        .call("ip_local_deliver_finish", "ip_sublist_rcv_finish");
    trace.call("udp_rcv", "ip_protocol_deliver_rcu")
        .call("__udp_enqueue_schedule_skb", "udp_queue_rcv_one_skb");
}

/// A poll that brings one packet: up to the core of the stack.
inline void arrives_alone(TraceDatBuilder& trace, std::uint64_t skb)
{
    poll_begins(trace);
    frame_arrives(trace, skb);
    list_begins(trace);
    core(trace, skb);
}

/// What came alone is routed, to this host.
inline void is_routed(TraceDatBuilder& trace)
{
    trace.call("ip_list_rcv", "__netif_receive_skb_list_core").call("ip_rcv_core", "ip_list_rcv");
    trace.call("ip_sublist_rcv", "ip_list_rcv").call("ip_rcv_finish_core.constprop.0", "ip_sublist_rcv");
}

/// By events alone: the driver hands it to GRO, it comes up. Its length is that of the IP packet.
inline void event_arrives(TraceDatBuilder& trace, std::uint64_t skb, std::uint32_t length = 92)
{
    trace.gro_entry(skb, length).gro_exit(3).received(skb, length);
}

} // namespace skbscope::testing
