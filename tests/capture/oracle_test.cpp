// Imports of real recordings held against what is known of them: the traffic in the manifest, the path in
// expected.json (derived from the trace's text by other means), and the sk_buff pointers of the kprobe
// events.

#include "capture/function_kinds.h"
#include "capture/import.h"
#include "capture/trace_dat.h"
#include "core/catalog/catalog.h"
#include "core/trace/journey.h"
#include "core/trace/stack_state.h"
#include "tests/capture/attribution.h"
#include "tests/capture/recordings.h"

#include <algorithm>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>
#include <set>

namespace skbscope {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::name_of;
using testing::read_json;
using testing::recordings;

bool is_udp_scenario(const fs::path& folder)
{
    const std::string name = folder.filename().string();
    // Over veth a sent packet is the received one, too, and expected.json shows it as one window of both.
    return (name.starts_with("udp-rx-") || name.starts_with("udp-tx-")) &&
           name.find("graph") == std::string::npos && name.find("veth") == std::string::npos &&
           fs::exists(folder / "expected.json");
}

bool is_receiving(const fs::path& folder)
{
    return folder.filename().string().starts_with("udp-rx-");
}

/// One test datagram as the manifest knows its kind.
struct Stream {
    std::string source, destination;
    int source_port = 0, destination_port = 0;
    std::size_t sent = 0;
};

std::optional<Stream> stream_of(const json& phase)
{
    const json& result = phase.at("result");
    if (!result.contains("sent")) {
        return std::nullopt;
    }
    const json& sent = result.at("sent");
    return Stream{sent.at("src").at(0), sent.at("dst").at(0), sent.at("src").at(1), sent.at("dst").at(1),
                  sent.at("send_ok").get<std::size_t>()};
}

std::vector<const PacketRecord*> packets_of(const Trace& trace, const json& phase, const Stream& stream)
{
    const auto begin = phase.at("begin").get<std::uint64_t>();
    const auto end = phase.at("end").get<std::uint64_t>();
    std::vector<const PacketRecord*> found;
    for (const PacketRecord& packet : trace.packets()) {
        if (packet.flow && packet.birth.ns >= begin && packet.birth.ns <= end &&
            packet.flow->protocol == 17 && packet.flow->source.text() == stream.source &&
            packet.flow->destination.text() == stream.destination &&
            packet.flow->source_port == stream.source_port &&
            packet.flow->destination_port == stream.destination_port) {
            found.push_back(&packet);
        }
    }
    return found;
}

/// Calls that the expected window holds and that serve no packet of the test, or another one: refilling,
/// rescheduling, looking into empty queues. Per direction: a receiving packet's poll is its own, a sent one's
/// is passed on the way.
bool is_set_aside(const std::string& function, bool receiving, bool has_fifo)
{
    static const std::set<std::string> always = {"e1000_alloc_rx_buffers", "netif_tx_wake_queue",
                                                 "netif_schedule_queue",   "net_rps_action_and_irq_enable",
                                                 "net_tx_action",          "release_sock",
                                                 "__netif_schedule",       "check_sq_full_and_disable"};
    static const std::set<std::string> when_receiving = {"free_old_xmit_skbs", "free_old_xmit",
                                                         "__free_old_xmit", "virtqueue_get_buf"};
    static const std::set<std::string> when_sending = {"e1000_clean_rx_irq", "napi_complete_done",
                                                       "virtqueue_get_buf_ctx", "fq_codel_dequeue"};
    // fq_codel is bypassed when idle: what runs after the driver took the packet looks for others.
    const bool bypassed = !receiving && !has_fifo && function == "__qdisc_run";
    return always.contains(function) || bypassed ||
           (receiving ? when_receiving : when_sending).contains(function);
}

using Steps = std::map<int, std::vector<std::string>>; // per CPU

/// The function calls of the expected window per CPU, without the clone's way and without what is set aside.
Steps expected_steps(const json& journey, bool receiving)
{
    Steps steps;
    std::map<int, bool> in_clone, in_cleaning;
    const bool has_fifo = std::ranges::any_of(
        journey.at("events"), [](const json& event) { return event.at(3) == "pfifo_fast_enqueue"; });
    for (const json& event : journey.at("events")) {
        const int cpu = event.at(1);
        const std::string name = event.at(3);
        if (name.starts_with("[")) {
            if (name == "[net_dev_start_xmit]") {
                in_clone[cpu] = false;
            }
            continue;
        }
        const std::string function(without_suffix(name));
        const std::string caller =
            event.size() > 4 && event.at(4).is_string() ? event.at(4).get<std::string>() : "";
        if (function == "tpacket_rcv" && caller.find("dev_queue_xmit_nit") != std::string::npos) {
            in_clone[cpu] = true;
        }
        if (in_clone[cpu] || is_set_aside(function, receiving, has_fifo)) {
            continue;
        }
        // Of the calls that look for work the one that finds the packet is its own: once, not as often as
        // they look.
        const bool looks = function == "pfifo_fast_dequeue" || function == "virtqueue_get_buf" ||
                           function == "virtqueue_get_buf_ctx" || function.starts_with("free_old_xmit") ||
                           function == "__free_old_xmit";
        if (looks && std::ranges::find(steps[cpu], function) != steps[cpu].end()) {
            continue;
        }
        if (!receiving && caller == "start_xmit" && function.starts_with("free_old_xmit")) {
            in_cleaning[cpu] = true; // frees of packets sent before
        }
        if (in_cleaning[cpu] && function == "virtqueue_add_outbuf") {
            in_cleaning[cpu] = false;
        }
        if (!in_cleaning[cpu]) {
            steps[cpu].push_back(function);
        }
    }
    return steps;
}

Steps journey_steps(const Trace& trace, const Journey& journey)
{
    Steps steps;
    for (const Step& step : journey.steps) {
        const Event& event = trace[step.ordinal];
        steps[static_cast<int>(event.cpu)].emplace_back(
            without_suffix(trace.function_name(event.function_id())));
    }
    return steps;
}

/// First element of `wanted` that does not follow in `have`; empty if all do, in order.
std::string first_missing(const std::vector<std::string>& wanted, const std::vector<std::string>& have)
{
    auto at = have.begin();
    for (const std::string& name : wanted) {
        at = std::find(at, have.end(), name);
        if (at == have.end()) {
            return name;
        }
        ++at;
    }
    return {};
}

class Recording : public ::testing::TestWithParam<fs::path> {};

std::string test_name(const ::testing::TestParamInfo<fs::path>& info)
{
    std::string name = name_of(info.param);
    std::ranges::replace_if(
        name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
    return name;
}

std::vector<fs::path> udp_recordings()
{
    auto all = recordings();
    std::erase_if(all, [](const fs::path& folder) { return !is_udp_scenario(folder); });
    return all;
}

class UdpRecording : public Recording {};

TEST_P(UdpRecording, CountsOfEachPhaseAreThoseOfTheManifest)
{
    const auto imported = import_trace_dat((GetParam() / "trace.dat").string());
    ASSERT_TRUE(imported) << imported.error().describe();
    const json manifest = read_json(GetParam() / "manifest.json");
    for (const json& phase : manifest.at("phases")) {
        const auto stream = stream_of(phase);
        ASSERT_TRUE(stream);
        const auto packets = packets_of(imported->trace, phase, *stream);
        const auto with = [&](Verdict verdict) {
            return static_cast<std::size_t>(std::ranges::count_if(
                packets, [&](const PacketRecord* packet) { return packet->verdict == verdict; }));
        };
        SCOPED_TRACE(phase.at("name").get<std::string>());
        EXPECT_EQ(packets.size(), stream->sent);
        if (!is_receiving(GetParam())) {
            EXPECT_EQ(with(Verdict::sent), stream->sent);
        } else if (phase.at("result").contains("received")) {
            EXPECT_EQ(with(Verdict::delivered),
                      phase.at("result").at("received").at("received").get<std::size_t>());
        } else {
            EXPECT_EQ(with(Verdict::dropped), stream->sent);
            for (const PacketRecord* packet : packets) {
                EXPECT_EQ(Catalog::drop_reason(packet->reason).name, "NO_SOCKET");
            }
        }
    }
}

TEST_P(UdpRecording, EveryTestPacketWentTheExpectedPathAndNoOther)
{
    const auto imported = import_trace_dat((GetParam() / "trace.dat").string());
    ASSERT_TRUE(imported) << imported.error().describe();
    const Trace& trace = imported->trace;
    JourneyIndex index(trace);
    index.update();
    const json manifest = read_json(GetParam() / "manifest.json");
    const json expected = read_json(GetParam() / "expected.json");
    // Seen through their tracepoints only, so not among the expected functions.
    const std::set<std::string> through_tracepoints = {"__handle_irq_event_percpu", "handle_softirqs",
                                                       "__do_softirq", "__consume_stateless_skb"};
    for (std::size_t i = 0; i < manifest.at("phases").size(); ++i) {
        const json& phase = manifest.at("phases").at(i);
        const json& path = expected.at("phases").at(i);
        const bool is_cold = phase.at("name") == "udp-tx-first";
        const bool has_icmp = phase.at("name") == "udp-noport";
        const auto stream = stream_of(phase);
        ASSERT_TRUE(stream);
        std::set<std::string> known;
        for (const auto& [name, hits] : path.at("function_hits").items()) {
            known.emplace(without_suffix(name));
        }
        const Steps wanted = expected_steps(path.at("journeys").at(0), is_receiving(GetParam()));
        std::size_t wanted_steps = 0;
        for (const auto& [cpu, names] : wanted) {
            wanted_steps += names.size();
        }
        EXPECT_GT(wanted_steps, 35U);
        for (const PacketRecord* packet : packets_of(trace, phase, *stream)) {
            const Steps have = journey_steps(trace, index.journey(packet->id));
            SCOPED_TRACE(
                fmt::format("packet {} of {}", to_index(packet->id), phase.at("name").get<std::string>()));
            for (const auto& [cpu, names] : have) {
                for (const std::string& name : names) {
                    EXPECT_TRUE(known.contains(name) || through_tracepoints.contains(name))
                        << name << " on CPU " << cpu;
                }
            }
            if (is_cold) {
                continue; // one packet, several windows: its own test below
            }
            for (const auto& [cpu, names] : wanted) {
                auto must = names;
                if (has_icmp) { // whether an ICMP error is sent depends on its rate limit: up to the lookup
                                // only
                    const auto icmp = std::ranges::find(must, "__icmp_send");
                    const auto freed = std::ranges::find_if(icmp, must.end(), [](const std::string& name) {
                        return name == "kfree_skb" || name == "kfree_skb_reason" ||
                               name == "sk_skb_reason_drop";
                    });
                    std::vector<std::string> own(must.begin(), icmp == must.end() ? icmp : icmp + 1);
                    if (freed != must.end()) {
                        own.push_back(*freed);
                    }
                    must = own;
                }
                const auto at = have.find(cpu);
                const std::string missing =
                    first_missing(must, at == have.end() ? std::vector<std::string>{} : at->second);
                EXPECT_EQ(missing, "") << "missing on CPU " << cpu;
            }
        }
    }
}

TEST_P(UdpRecording, JourneysHoldOnlyCallsThatCarryOrEncloseTheirPacket)
{
    const auto imported = import_trace_dat((GetParam() / "trace.dat").string());
    ASSERT_TRUE(imported) << imported.error().describe();
    const Trace& trace = imported->trace;
    JourneyIndex index(trace);
    index.update();
    const json manifest = read_json(GetParam() / "manifest.json");
    // Never a packet's own: they refill, reschedule, or serve whoever waits.
    std::set<std::string> nobodys = {"e1000_alloc_rx_buffers", "netif_tx_wake_queue", "netif_schedule_queue",
                                     "net_rps_action_and_irq_enable", "net_tx_action"};
    if (!is_receiving(GetParam())) { // on the way out a capture gets a clone, and these serve it
        nobodys.insert({"tpacket_rcv", "tpacket_get_timestamp"});
    }
    for (const json& phase : manifest.at("phases")) {
        const auto stream = stream_of(phase);
        ASSERT_TRUE(stream);
        for (const PacketRecord* packet : packets_of(trace, phase, *stream)) {
            const Journey journey = index.journey(packet->id);
            SCOPED_TRACE(fmt::format("packet {}", to_index(packet->id)));
            std::map<std::string, int> times;
            for (const Step& step : journey.steps) {
                const Event& event = trace[step.ordinal];
                const std::string name(without_suffix(trace.function_name(event.function_id())));
                EXPECT_FALSE(nobodys.contains(name)) << name;
                EXPECT_TRUE(step.shared || event.packet_id() == packet->id) << name;
                ++times[name];
            }
            // What happens once in a packet's life.
            for (const char* once :
                 {"napi_gro_receive", "ip_rcv_core", "ip_rcv_finish_core", "ip_local_deliver", "udp_rcv",
                  "__udp_enqueue_schedule_skb", "skb_consume_udp", "udp_sendmsg", "ip_output",
                  "ip_finish_output2", "dev_hard_start_xmit", "e1000_xmit_frame", "start_xmit",
                  "__ip_make_skb", "napi_consume_skb"}) {
                EXPECT_LE(times[once], is_receiving(GetParam()) || phase.at("name") != "udp-tx-first" ? 1 : 2)
                    << once;
            }
            EXPECT_EQ(times[is_receiving(GetParam()) ? "napi_gro_receive" : "udp_sendmsg"], 1);
        }
    }
}

TEST_P(UdpRecording, NestingFollowsTheSourceAlsoWhereFunctionsEndInAJump)
{
    const auto imported = import_trace_dat((GetParam() / "trace.dat").string());
    ASSERT_TRUE(imported) << imported.error().describe();
    const Trace& trace = imported->trace;
    const std::vector<std::pair<std::string, std::string>> nested = {
        {"net_rx_action", "__netif_receive_skb_core"},
        {"ip_list_rcv", "ip_rcv_core"},
        {"ip_sublist_rcv", "ip_local_deliver"},
        {"ip_local_deliver", "ip_local_deliver_finish"},
        {"udp_rcv", "__udp4_lib_rcv"},
        {"udp_queue_rcv_skb", "udp_queue_rcv_one_skb"},
        {"__sys_recvfrom", "udp_recvmsg"},
        {"inet_recvmsg", "udp_recvmsg"},
        {"inet_sendmsg", "udp_sendmsg"},
        {"ip_output", "ip_finish_output"},
        {"ip_finish_output", "__ip_finish_output"},
        {"__ip_finish_output", "ip_finish_output2"},
        {"ip_finish_output2", "__dev_queue_xmit"},
        {"dev_hard_start_xmit", "e1000_xmit_frame"},
        {"dev_hard_start_xmit", "start_xmit"}};
    JourneyIndex index(trace);
    index.update();
    const json manifest = read_json(GetParam() / "manifest.json");
    std::size_t checked = 0;
    for (const json& phase : manifest.at("phases")) {
        if (phase.at("name") == "udp-tx-first") {
            continue; // its __dev_queue_xmit runs elsewhere
        }
        for (const PacketRecord* packet : packets_of(trace, phase, *stream_of(phase))) {
            std::map<std::string, int> depth;
            for (const Step& step : index.journey(packet->id).steps) {
                const Event& event = trace[step.ordinal];
                depth.emplace(without_suffix(trace.function_name(event.function_id())), event.depth);
            }
            for (const auto& [outer, inner] : nested) {
                if (depth.contains(outer) && depth.contains(inner)) {
                    EXPECT_GT(depth[inner], depth[outer]) << inner << " below " << outer;
                    ++checked;
                }
            }
        }
    }
    EXPECT_GT(checked, 30U);
}

TEST_P(UdpRecording, ThePathOfAColdDatagramLeadsThroughTheNeighbourQueue)
{
    if (is_receiving(GetParam())) {
        GTEST_SKIP() << "a receiving recording";
    }
    const auto imported = import_trace_dat((GetParam() / "trace.dat").string());
    ASSERT_TRUE(imported) << imported.error().describe();
    const Trace& trace = imported->trace;
    JourneyIndex index(trace);
    index.update();
    const json phase = read_json(GetParam() / "manifest.json").at("phases").at(0);
    ASSERT_EQ(phase.at("name"), "udp-tx-first");
    const auto packets = packets_of(trace, phase, *stream_of(phase));
    ASSERT_EQ(packets.size(), 1U);
    const Journey journey = index.journey(packets[0]->id);
    std::vector<std::string> queues;
    for (const Wait& wait : journey.waits) {
        EXPECT_NE(wait.to, never);
        queues.emplace_back(trace.queue(wait.queue).kind == QueueKind::arp_queue ? "neighbour"
                            : trace.queue(wait.queue).kind == QueueKind::tx_ring ? "ring"
                                                                                 : "qdisc");
    }
    EXPECT_THAT(queues, ::testing::AnyOf(::testing::ElementsAre("neighbour", "ring"),
                                         ::testing::ElementsAre("neighbour", "qdisc", "ring")));
    std::vector<std::string> names;
    for (const Step& step : journey.steps) {
        names.emplace_back(without_suffix(trace.function_name(trace[step.ordinal].function_id())));
    }
    EXPECT_EQ(
        first_missing({"udp_sendmsg", "sock_alloc_send_pskb", "ip_output", "ip_finish_output2",
                       "neigh_resolve_output", "__neigh_event_send", "neigh_probe", "neigh_resolve_output",
                       "__dev_queue_xmit", "dev_hard_start_xmit", "skb_release_data"},
                      names),
        "");
    // neigh_probe gives solicit() a clone of what waits (net/core/neighbour.c).
    bool is_solicited_with_a_clone = false;
    for (std::size_t i = 0; i < trace.size(); ++i) {
        is_solicited_with_a_clone =
            is_solicited_with_a_clone || (trace[i].is_call() && trace[i].packet != 0 &&
                                          trace.function_name(trace[i].function_id()) == "arp_solicit" &&
                                          trace.packet(trace[i].packet_id()).parent == packets[0]->id &&
                                          trace.packet(trace[i].packet_id()).relation == Relation::clone);
    }
    EXPECT_TRUE(is_solicited_with_a_clone);
}

TEST_P(UdpRecording, AttributionWithoutKprobesAgreesWithTheirPointers)
{
    ImportOptions options;
    options.use_kprobes = false;
    const auto imported = import_trace_dat((GetParam() / "trace.dat").string(), options);
    ASSERT_TRUE(imported) << imported.error().describe();
    const json manifest = read_json(GetParam() / "manifest.json");
    if (!manifest.contains("kprobes") || manifest.at("kprobes").empty()) {
        GTEST_SKIP() << "recorded without kprobe events";
    }
    EXPECT_GT(imported->probes.checked, 50U);
    EXPECT_EQ(imported->probes.wrong, 0U)
        << (imported->probes.examples.empty() ? "" : imported->probes.examples[0]);
    EXPECT_EQ(imported->probes.missed, 0U)
        << (imported->probes.examples.empty() ? "" : imported->probes.examples[0]);
}

TEST_P(UdpRecording, EveryFrameOfTheCaptureFindsItsPacketAndTheClockOffset)
{
    const auto imported = import_trace_dat((GetParam() / "trace.dat").string());
    ASSERT_TRUE(imported) << imported.error().describe();
    ASSERT_EQ(imported->pcaps.size(), 1U);
    EXPECT_EQ(imported->pcaps[0].matched, imported->pcaps[0].frames);
    EXPECT_EQ(imported->pcaps[0].packets_without, 0U);
    const json manifest = read_json(GetParam() / "manifest.json");
    const auto offset = manifest.at("clock_realtime_minus_trace_clock_ns").get<std::int64_t>();
    EXPECT_NEAR(static_cast<double>(imported->trace.info.wall_offset_ns - offset), 0.0,
                1e6); // within a millisecond
    // Payloads are numbered: the n-th datagram of a stream carries the n-th frame.
    int next = -1;
    for (const PacketRecord& packet : imported->trace.packets()) {
        const auto frame = imported->trace.frame(packet.id);
        if (!packet.flow || packet.flow->protocol != 17 || frame.size() < 50) {
            continue;
        }
        const std::string payload(reinterpret_cast<const char*>(frame.data()) + 42, 8);
        ASSERT_TRUE(payload.starts_with("PKT")) << payload;
        const int number = std::stoi(payload.substr(3));
        EXPECT_TRUE(number == next + 1 || number == 0) << number << " after " << next;
        next = number;
    }
}

INSTANTIATE_TEST_SUITE_P(Recorded, UdpRecording, ::testing::ValuesIn(udp_recordings()), test_name);

void expect_closed_books(const Trace& trace)
{
    EXPECT_FALSE(trace.empty());
    EXPECT_FALSE(trace.info.times_trustworthy); // all of these come from an emulated CPU
    StackState state(trace);
    for (std::size_t i = 0; i < trace.size(); ++i) {
        state.apply(i);
    }
    EXPECT_EQ(state.accounting().born, trace.packet_count());
    for (const PacketRecord& packet : trace.packets()) {
        EXPECT_EQ(state.packets().contains(packet.id), packet.death == never)
            << "packet " << to_index(packet.id);
    }
    for (int verdict = 1; verdict < verdict_count; ++verdict) {
        const auto in_table =
            std::ranges::count(trace.packets(), static_cast<Verdict>(verdict), &PacketRecord::verdict);
        EXPECT_EQ(state.accounting().of(static_cast<Verdict>(verdict)), static_cast<std::uint64_t>(in_table))
            << to_string(static_cast<Verdict>(verdict));
    }
    std::vector<int> births(trace.packet_count() + 1, 0);
    std::vector<int> frees(trace.packet_count() + 1, 0);
    std::map<std::pair<std::uint32_t, std::uint32_t>, int> queued;
    std::uint64_t last = 0;
    for (std::size_t i = 0; i < trace.size(); ++i) {
        const Event& event = trace[i];
        ASSERT_GE(event.time_ns, last) << "event " << i;
        last = event.time_ns;
        ASSERT_LE(event.packet, trace.packet_count());
        switch (event.event_kind()) {
        case EventKind::birth:
            ++births[event.packet];
            break;
        case EventKind::free:
            ++frees[event.packet];
            EXPECT_EQ(births[event.packet], 1) << "packet " << event.packet << " freed before its birth";
            break;
        case EventKind::enqueue:
            EXPECT_EQ(++queued[std::pair(event.packet, event.arg)], 1) << "packet " << event.packet;
            break;
        case EventKind::dequeue:
            EXPECT_EQ(--queued[std::pair(event.packet, event.arg)], 0) << "packet " << event.packet;
            break;
        default:
            break;
        }
    }
    for (std::uint32_t id = 1; id <= trace.packet_count(); ++id) {
        EXPECT_EQ(births[id], 1) << "packet " << id;
        EXPECT_LE(frees[id], 1) << "packet " << id;
        const PacketRecord& packet = trace.packet(static_cast<PacketId>(id));
        EXPECT_EQ(packet.death != never, frees[id] == 1) << "packet " << id;
        if (id > 1) {
            EXPECT_GE(packet.birth, trace.packet(static_cast<PacketId>(id - 1)).birth);
        }
    }
}

// Whoever makes sense of the records compares numbers in the place of letters.
TEST_P(Recording, DevicesOfOneNumberHaveOneName)
{
    const auto file = TraceDat::open((GetParam() / "trace.dat").string());
    ASSERT_TRUE(file) << file.error().describe();
    std::map<std::uint16_t, std::string>
        name_of; // one name may have several: events keep it in fields of different lengths
    file->for_each([&](const RawRecord& record) {
        const EventFormat* format = file->kernel().format(record.event_id);
        const std::string name(format == nullptr ? std::string_view()
                                                 : format->device_name().text(record.data));
        ASSERT_TRUE(record.device_name != 0 || name.empty() || name.size() > 15) << name;
        if (record.device_name != 0) {
            ASSERT_EQ(name_of.emplace(record.device_name, name).first->second, name);
        }
    });
}

// Whatever else was recorded (forwarding, TCP, netfilter, taps, overload …) must import and keep its books.
TEST_P(Recording, ImportsWithClosedBooks)
{
    const auto imported = import_trace_dat((GetParam() / "trace.dat").string());
    ASSERT_TRUE(imported) << imported.error().describe();
    expect_closed_books(imported->trace);
}

// A long recording is written while it is read; what comes of it must be what comes of it at once.
TEST_P(Recording, WrittenWhileItIsReadItHasTheSamePackets)
{
    ImportOptions options;
    options.find_pcaps = false;
    const auto at_once = import_trace_dat((GetParam() / "trace.dat").string(), options);
    options.longest_at_once = 0;
    options.settled_after = 8192; // a fraction of most of these recordings
    const auto as_read = import_trace_dat((GetParam() / "trace.dat").string(), options);
    ASSERT_TRUE(at_once && as_read);
    expect_closed_books(as_read->trace);
    EXPECT_EQ(as_read->records, at_once->records);
    EXPECT_EQ(as_read->trace.packet_count(), at_once->trace.packet_count());
    EXPECT_EQ(as_read->trace.verdicts(), at_once->trace.verdicts());
    EXPECT_EQ(as_read->trace.drops(), at_once->trace.drops());
    EXPECT_EQ(as_read->trace.size(), at_once->trace.size());
}

// Tracepoints and functions alone must tell whom a call serves: what the kprobe events say besides is the answer.
TEST_P(Recording, AttributionWithoutKprobesIsHardlyEverWrong)
{
    const json manifest = read_json(GetParam() / "manifest.json");
    if (!manifest.contains("kprobes") || manifest.at("kprobes").empty()) {
        GTEST_SKIP() << "recorded without kprobe events";
    }
    ImportOptions options;
    options.use_kprobes = false;
    const auto imported = import_trace_dat((GetParam() / "trace.dat").string(), options);
    ASSERT_TRUE(imported) << imported.error().describe();
    const ProbeCheck& probes = imported->probes;
    RecordProperty("checked", static_cast<int>(probes.checked));
    RecordProperty("wrong", static_cast<int>(probes.wrong));
    RecordProperty("missed", static_cast<int>(probes.missed));
    EXPECT_GT(probes.checked, 50U);
    EXPECT_LE(probes.wrong * 1000, probes.checked) << probes.wrong << " of " << probes.checked << ", first: "
                                                   << (probes.examples.empty() ? "" : probes.examples[0]);
    EXPECT_LE(probes.missed * 50, probes.checked) << probes.missed << " of " << probes.checked << ", first: "
                                                  << (probes.examples.empty() ? "" : probes.examples[0]);
}

TEST_P(Recording, OfTheCallsThatWorkForAPacketHardlyAnyIsWithoutOne)
{
    const auto imported = import_trace_dat((GetParam() / "trace.dat").string());
    ASSERT_TRUE(imported) << imported.error().describe();
    const json manifest = read_json(GetParam() / "manifest.json");
    const testing::Attribution found = testing::attribution_within(imported->trace, manifest.at("phases"));
    std::string which;
    for (const auto& [name, count] : found.which) {
        which += fmt::format(" {} {}", name, count);
    }
    RecordProperty("calls", static_cast<int>(found.calls));
    RecordProperty("without", static_cast<int>(found.without));
    EXPECT_GT(found.calls, 30U);
    EXPECT_LE(found.without * 50, found.calls) << found.without << " of " << found.calls << ":" << which;
}

INSTANTIATE_TEST_SUITE_P(Recorded, Recording, ::testing::ValuesIn(recordings()), test_name);

} // namespace
} // namespace skbscope
