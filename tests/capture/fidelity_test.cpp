// The model held against every recording there is, and the reader of their manifests held against broken ones. With
// SKBSCOPE_WRITE_FIDELITY=1 the table is written to docs/fidelity.md, if all are compared in one process.

#include "capture/fidelity/fidelity.h"
#include "capture/fidelity/stream.h"
#include "tests/capture/recordings.h"

#include <algorithm>
#include <fmt/format.h>
#include <fstream>
#include <functional>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>
#include <sstream>
#include <unistd.h>

namespace skbscope {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using nlohmann::json;
using testing::name_of;
using testing::read_json;
using testing::recordings;

// ---- manifests ----------------------------------------------------------------------------------------------------------

class Manifests : public ::testing::Test {
protected:
    void SetUp() override
    {
        folder_ = fs::temp_directory_path() / fmt::format("skbscope-manifest-{}", ::getpid());
        fs::create_directories(folder_);
        good_ = read_json(testing::small_set() / "5.10.0-46-amd64/udp-rx-e1000/manifest.json");
    }
    void TearDown() override { fs::remove_all(folder_); }

    Result<Manifest> read(const std::string& text) const
    {
        std::ofstream(folder_ / "manifest.json") << text;
        return read_manifest(folder_);
    }
    Result<Manifest> read(const json& document) const { return read(document.dump()); }

    fs::path folder_;
    json good_;
};

TEST_F(Manifests, OfTheRepositoryAreRead)
{
    const auto manifest = read(good_);
    ASSERT_TRUE(manifest) << manifest.error().describe();
    EXPECT_EQ(manifest->scenario, "udp-rx");
    ASSERT_EQ(manifest->phases.size(), 1U);
    EXPECT_EQ(manifest->phases[0].sends[0].stamps.size(), 20U);
    EXPECT_EQ(manifest->counters.at("root").at("Udp.InDatagrams"), 20);
    EXPECT_EQ(manifest->counters.at("root").at("eth0.rx_packets"), 20);
}

TEST_F(Manifests, ThatAreMissingOrNoJsonAreErrorsOfOneLine)
{
    EXPECT_EQ(read_manifest(folder_ / "nowhere").error().kind, ErrorKind::not_found);
    EXPECT_EQ(read_manifest(folder_).error().kind, ErrorKind::not_found);
    for (const char* text : {"", "{", "[1,2", "\"x\"", "{\"scenario\": \"\\ud800\"}", "nul", "\xff\xfe"}) {
        const auto manifest = read(std::string(text));
        ASSERT_FALSE(manifest) << text;
        EXPECT_THAT(manifest.error().describe(), ::testing::Not(HasSubstr("\n"))) << text;
    }
    const std::string deep(100'000, '[');
    EXPECT_FALSE(read(deep));
}

TEST_F(Manifests, WithoutAKeySayWhichOneIsMissing)
{
    for (const char* key : {"scenario", "kernel", "cpus", "phases", "links", "recording", "counters_before", "driver"}) {
        json broken = good_;
        broken.erase(key);
        const auto manifest = read(broken);
        ASSERT_FALSE(manifest) << key;
        EXPECT_THAT(manifest.error().where, HasSubstr(key));
    }
}

TEST_F(Manifests, WithImpossibleValuesSayWhere)
{
    const auto complaint = [&](auto change) {
        json broken = good_;
        change(broken);
        const auto manifest = read(broken);
        return manifest ? std::string("was taken") : manifest.error().describe();
    };
    EXPECT_THAT(complaint([](json& m) { m["cpus"] = 0; }), HasSubstr("cpus"));
    EXPECT_THAT(complaint([](json& m) { m["cpus"] = -3; }), HasSubstr("cpus"));
    EXPECT_THAT(complaint([](json& m) { m["cpus"] = 1e300; }), HasSubstr("cpus"));
    EXPECT_THAT(complaint([](json& m) { m["phases"] = json::array(); }), HasSubstr("phases"));
    EXPECT_THAT(complaint([](json& m) { m["phases"][0]["end"] = 1; }), HasSubstr("phases[0].end"));
    EXPECT_THAT(complaint([](json& m) { m["phases"][0]["result"]["sent"]["count"] = 1e12; }), HasSubstr("count"));
    EXPECT_THAT(complaint([](json& m) { m["phases"][0]["result"]["sent"]["stamps"].erase(0); }), HasSubstr("19 stamps"));
    EXPECT_THAT(complaint([](json& m) { m["phases"][0]["result"]["sent"]["stamps"][3] = 5; }), HasSubstr("stamps[3]"));
    EXPECT_THAT(complaint([](json& m) { m["phases"][0]["result"]["sent"]["src"] = {"10.99.0", 1}; }), HasSubstr("no IP address"));
    EXPECT_THAT(complaint([](json& m) { m["phases"][0]["result"]["sent"]["dst"][1] = 70000; }), HasSubstr("65535"));
    EXPECT_THAT(complaint([](json& m) { m["links"]["eth0"][0]["address"] = "52:54"; }), HasSubstr("no MAC"));
    EXPECT_THAT(complaint([](json& m) { m["functions"] = json::array(); }), HasSubstr("functions"));
}

TEST_F(Manifests, WithAnyValueOfAnotherKindAreErrorsAndNeverACrash)
{
    const json others[] = {nullptr, true, -1, 1e300, "x", json::array(), json::object(), json::array({json::array()})};
    int refused = 0;
    int place = 0;
    const json flat = good_.flatten(); // items() looks into it for as long as the loop goes on
    for (const auto& [pointer, value] : flat.items()) {
        if (pointer.find("kprobes") != std::string::npos || pointer.find("interrupts") != std::string::npos) {
            continue; // long lists of one kind
        }
        if (++place % 7 != 0) {
            continue; // enough of them, in a time that a test may take
        }
        for (const json& other : others) {
            json broken = good_;
            broken[json::json_pointer(pointer)] = other;
            std::ofstream(folder_ / "manifest.json") << broken.dump();
            const auto manifest = read_manifest(folder_);
            refused += manifest ? 0 : 1;
            if (manifest) {
                (void)rebuild_scenario(*manifest);
            }
        }
        if (refused > 400) {
            break;
        }
    }
    EXPECT_GT(refused, 50);
}

TEST_F(Manifests, OfAKernelOrDriverThatTheModelLacksAreRefusedWithItsName)
{
    json other = good_;
    other["kernel"] = "4.19.0-27-amd64";
    auto manifest = read(other);
    ASSERT_TRUE(manifest);
    EXPECT_THAT(rebuild_scenario(*manifest).error().what, HasSubstr("4.19.0"));
    other = good_;
    other["driver"]["eth0"] = "tg3";
    manifest = read(other);
    ASSERT_TRUE(manifest);
    EXPECT_THAT(rebuild_scenario(*manifest).error().what, HasSubstr("tg3"));
}

// ---- ends and counters ------------------------------------------------------------------------------------------------------

TEST(Balance, HoldsWhereEveryEndHasItsCounter)
{
    const PacketEnds ends = {{"delivered", 61}, {"dropped CPU_BACKLOG", 149}};
    EXPECT_THAT(unbalanced(ends, {{"Udp.InDatagrams", 61}}, {{"softnet_stat.dropped", 149}}, true), ::testing::IsEmpty());
    EXPECT_THAT(unbalanced({{"sent", 272}, {"dropped", 328}}, {{"Udp.OutDatagrams", 272}, {"Udp.SndbufErrors", 328}}, {}, false), ::testing::IsEmpty());
}

TEST(Balance, TellsAPacketThatNoCounterKnowsAndACounterThatNoPacketMoved)
{
    const PacketEnds ends = {{"delivered", 61}, {"dropped CPU_BACKLOG", 149}};
    EXPECT_THAT(unbalanced(ends, {{"Udp.InDatagrams", 60}}, {{"softnet_stat.dropped", 149}}, true), ::testing::SizeIs(1));
    EXPECT_THAT(unbalanced(ends, {{"Udp.InDatagrams", 61}}, {{"softnet_stat.dropped", 148}}, true), ::testing::Not(::testing::IsEmpty()));
    EXPECT_THAT(unbalanced(ends, {{"Udp.InDatagrams", 61}, {"Udp.RcvbufErrors", 1}}, {{"softnet_stat.dropped", 149}}, true),
                ::testing::Not(::testing::IsEmpty()));
    EXPECT_THAT(unbalanced({{"sent", 1}, {"dropped", 2}}, {{"Udp.OutDatagrams", 1}, {"Udp.SndbufErrors", 3}}, {}, false), ::testing::SizeIs(1));
}

TEST(Balance, TellsADropThatOnlyOneSideCounts)
{
    EXPECT_THAT(drops_of_one_side({{"Udp.RcvbufErrors", 900}}, {}, {{"Udp.RcvbufErrors", 1}}), ::testing::IsEmpty());
    EXPECT_THAT(drops_of_one_side({}, {{"softnet_stat.dropped", 0}}, {{"softnet_stat.dropped", 7}}), ::testing::ElementsAre(HasSubstr("softnet_stat.dropped")));
    EXPECT_THAT(drops_of_one_side({{"Udp.SndbufErrors", 3}}, {}, {}), ::testing::ElementsAre(HasSubstr("Udp.SndbufErrors")));
}

/// A machine with one learned neighbour on a cable that nobody captured.
Manifest probed_machine()
{
    Manifest manifest;
    ManifestLink mine;
    mine.name = "eth0";
    mine.net = "root";
    mine.addresses = {{IpAddress::v4(0x0a630002), 24}};
    ManifestLink theirs = mine;
    theirs.name = "eth1";
    theirs.net = "peer";
    theirs.addresses = {{IpAddress::v4(0x0a630001), 24}};
    manifest.links = {mine, theirs};
    manifest.neighbours.push_back({"root", IpAddress::v4(0x0a630001), {}, "eth0"});
    manifest.settings["net.core.netdev_budget"] = "300";
    manifest.counters["root"] = {{"eth0.rx_packets", 11}, {"eth0.rx_bytes", 1120}, {"eth0.tx_packets", 1}, {"eth0.tx_bytes", 60}, {"softnet_stat.processed", 12}};
    manifest.counters["peer"] = {{"eth1.rx_packets", 1}, {"eth1.rx_bytes", 60}, {"eth1.tx_packets", 11}, {"eth1.tx_bytes", 1120}, {"softnet_stat.processed", 12}};
    return manifest;
}

const CounterMoves without_probe = {{"root", {{"eth0.rx_packets", 10}, {"eth0.rx_bytes", 1060}, {"softnet_stat.processed", 10}}},
                                    {"peer", {{"eth1.tx_packets", 10}, {"eth1.tx_bytes", 1060}}}};

std::size_t held_against(const CounterResult& result)
{
    return static_cast<std::size_t>(std::ranges::count_if(result.differing, [](const FidelityCounter& counter) { return counter.elsewhere.empty(); }));
}

TEST(Counters, ThatANeighboursProbeMovedAreNotHeldAgainstTheModel)
{
    const CounterResult result = compare_counters(probed_machine(), without_probe);
    EXPECT_EQ(result.differing.size(), 9U);
    EXPECT_EQ(held_against(result), 0U);
}

TEST(Counters, OfOtherFramesOrOfAPermanentNeighbourAreHeldAgainstTheModel)
{
    Manifest other = probed_machine();
    other.counters["root"]["eth0.tx_bytes"] = 61;
    EXPECT_EQ(held_against(compare_counters(other, without_probe)), 5U) << "the traced device's four, and more frames than its peer's probe";
    other = probed_machine();
    other.neighbours.front().permanent = true;
    EXPECT_EQ(held_against(compare_counters(other, without_probe)), 9U);
    other = probed_machine();
    other.links[0].probes_outside = 0;
    EXPECT_EQ(held_against(compare_counters(other, without_probe)), 9U) << "the capture on the wire shows none";
}

TEST(Counters, OfPollsThatEndedEarlyBelongToTheClockOnlyBelowTheBudget)
{
    Manifest manifest = probed_machine();
    manifest.counters["root"]["softnet_stat.time_squeeze"] = 1;
    EXPECT_EQ(held_against(compare_counters(manifest, without_probe)), 0U);
    manifest.settings["net.core.netdev_budget"] = "12";
    EXPECT_EQ(held_against(compare_counters(manifest, without_probe)), 1U);
}

// ---- fidelity -------------------------------------------------------------------------------------------------------------

/// Calls in softirq context, with their depth: "^" before a name: it serves other packets, too.
Segment calls_of(Trace& trace, PacketId packet, std::initializer_list<std::pair<int, const char*>> calls)
{
    Segment segment;
    segment.context = Context::softirq;
    for (const auto& [depth, name] : calls) {
        const std::string_view word = name;
        const bool is_shared = word.starts_with("^");
        Event event;
        event.time_ns = trace.size();
        event.kind = static_cast<std::uint8_t>(EventKind::call);
        event.depth = static_cast<std::uint8_t>(depth);
        event.packet = is_shared ? 0 : to_index(packet);
        trace.append(event);
        segment.steps.push_back({static_cast<std::uint32_t>(trace.size() - 1), is_shared ? word.substr(1) : word});
    }
    return segment;
}

TEST(Legs, OneThatFollowsAnotherInAPollIsTheSameAsOneThatBeginsIt)
{
    Trace trace;
    const PacketId packet = trace.add_packet({});
    const auto first = legs_of(trace, packet, {calls_of(trace, packet, {{0, "^net_rx_action"}, {1, "^virtnet_poll_tx"}, {2, "tcp_wfree"}})});
    const auto later = legs_of(trace, packet, {calls_of(trace, packet, {{0, "^net_rx_action"}, {1, "^virtnet_poll"}, {2, "start_xmit"}, {1, "^virtnet_poll_tx"},
                                                                         {2, "tcp_wfree"}})});
    ASSERT_EQ(first.size(), 1U);
    ASSERT_EQ(later.size(), 2U);
    EXPECT_THAT(later[1].bare.functions, ::testing::ElementsAre("virtnet_poll_tx", "tcp_wfree"));
    EXPECT_EQ(later[1].with_open_calls, first[0].bare);
    EXPECT_NE(later[0].bare, first[0].bare);
}

TEST(Legs, OneEndsWithTheCallThatServesSeveral)
{
    Trace trace;
    const PacketId packet = trace.add_packet({});
    const auto sent_here = legs_of(trace, packet, {calls_of(trace, packet, {{0, "^net_rx_action"}, {1, "^process_backlog"}, {2, "^tcp_v4_rcv"}, {3, "__alloc_skb"},
                                                                             {3, "enqueue_to_backlog"}, {2, "__netif_receive_skb"}, {3, "tcp_v4_rcv"}})});
    const auto came = legs_of(trace, packet, {calls_of(trace, packet, {{0, "^net_rx_action"}, {1, "^process_backlog"}, {2, "__netif_receive_skb"}, {3, "tcp_v4_rcv"}})});
    ASSERT_EQ(sent_here.size(), 2U);
    ASSERT_EQ(came.size(), 1U);
    EXPECT_THAT(sent_here[0].bare.functions, ::testing::ElementsAre("net_rx_action", "process_backlog", "tcp_v4_rcv", "__alloc_skb", "enqueue_to_backlog"));
    EXPECT_EQ(sent_here[1].with_open_calls, came[0].bare);
}

TEST(Legs, ACallThatWaitsIsLeftOutWhereItGivesItsSocketFree)
{
    Trace trace;
    const PacketId packet = trace.add_packet({});
    const auto legs = legs_of(trace, packet, {calls_of(trace, packet, {{0, "^tcp_recvmsg"}, {1, "^tcp_recvmsg_locked"}, {2, "^release_sock"}, {3, "tcp_v4_do_rcv"}})});
    ASSERT_EQ(legs.size(), 1U);
    EXPECT_THAT(legs[0].bare.functions, ::testing::ElementsAre("tcp_recvmsg", "release_sock", "tcp_v4_do_rcv"));
}

/// An IPv4 frame of TCP from that byte of its datagram on; 0: with the TCP header, and more fragments behind.
std::vector<std::uint8_t> tcp_fragment(std::uint8_t offset)
{
    std::vector<std::uint8_t> frame(14 + 20 + 32);
    frame[12] = 0x08;
    frame[14] = 0x45;
    frame[17] = 20 + 32;
    frame[20] = offset == 0 ? 0x20 : 0x00;
    frame[21] = offset;
    frame[23] = 6;
    frame[34 + 12] = 0x50;
    frame[34 + 13] = 0x10;
    return frame;
}

TEST(SegmentClasses, AFragmentIsOfItsDatagramsKindWhicheverGoesOnAsTheDatagram)
{
    FlowKey flow;
    flow.protocol = 6;
    for (const bool first_goes_on : {true, false}) {
        Trace trace;
        PacketRecord record;
        record.flow = flow;
        const PacketId first = trace.add_packet(record);
        const PacketId later = trace.add_packet(record);
        trace.set_frame(first, tcp_fragment(0));
        trace.set_frame(later, tcp_fragment(4));
        EXPECT_FALSE(class_of(trace, trace.packet(later))) << "nothing says what it belongs to";
        trace.mutable_packet(first_goes_on ? later : first).merged_into = first_goes_on ? first : later;
        const auto kind = class_of(trace, trace.packet(later));
        ASSERT_TRUE(kind) << first_goes_on;
        EXPECT_EQ(kind->kind, TcpKind::data);
        EXPECT_TRUE(kind->has_data);
    }
}

/// What no packet of the model did, with the number of packets.
std::string legs_without_like(const FidelityRow& row, std::string text)
{
    std::map<std::string, int> legs;
    for (const FidelityRow::Differing& one : row.differing) {
        ++legs[one.text];
    }
    for (const auto& [leg, count] : legs) {
        text += fmt::format(" {} × `{}`,", count, leg);
    }
    text.back() = '.';
    return text;
}

/// Causes of what still differs, by the first difference of a phase. One that is not listed is not understood.
std::string cause_of(const FidelityRow& row)
{
    struct Cause {
        const char* sign;
        const char* text;
    };
    static constexpr Cause causes[] = {
        {"in_flight", "The recording's tracer shows only calls below the send call: the waiting datagram's way out is not in it."},
        {"e1000_clean_rx_irq", "The graph has no event that names the sk_buff before __netif_receive_skb_core; what the driver did is not given to the packet."},
        {"irq_enter_rcu", "An interrupt hit the packet's calls; the graph shows it inside them, as its records carry no context."},
        {"| arp_solicit", "The emulated device answered while CPU 1 still stood in virtqueue_notify() of the request: CPU 0 put the waiting packet into the qdisc, and "
                          "CPU 1, still in __qdisc_run(), sent it below the solicitation. In the model the answer takes its time on the wire."},
        {"| ndisc_solicit", "The emulated device answered while CPU 1 still stood in virtqueue_notify() of the request: CPU 0 put the waiting packet into the qdisc, and "
                            "CPU 1, still in __qdisc_run(), sent it below the solicitation. In the model the answer takes its time on the wire."},
        {"skb_xmit_done | skb_recv_done", "The answer came so fast that the interrupt for receiving was served first, and its poll, which cleans the transmit ring, too, "
                                          "found the sent frame. When the emulated device raises which interrupt is its host's affair."},
        {"vring_interrupt | (nothing)", "No interrupt of its own: the poll that the answer's interrupt began found the sent frame, too. "
                                        "When the emulated device raises which interrupt is its host's affair."},
        {"| net_rx_action", "Since 6.3 polls share a net_rx_action() when the interrupt comes before its loop ends; here the emulated CPU was slower than the loop may last, "
                            "and the freeing poll had one of its own."},
    };
    if (row.hangs_on_speed && row.same_reason == row.packets) {
        return legs_without_like(row, "The ends agree. Which function sequence a packet meets hangs on the speed of the recorded CPU; no packet of the model at any pace "
                                      "went like these (model | recording):");
    }
    if (!row.differing.empty()) {
        return legs_without_like(row, "What one poll finds together, and who holds the socket when a segment arrives, hangs on the pace of both machines. No segment "
                                      "of the model at any pace went on like these (model | recording, behind the longest beginning alike):");
    }
    for (const Cause& cause : causes) {
        if (row.first_difference.find(cause.sign) != std::string::npos) {
            return cause.text;
        }
    }
    return row.refused.empty() ? "Not explained yet." : "Not run.";
}

std::string cell(std::size_t same, std::size_t all)
{
    return same == all ? fmt::format("{}", same) : fmt::format("**{}**", same);
}

std::size_t held_against_the_model(const FolderFidelity& folder)
{
    return static_cast<std::size_t>(std::ranges::count_if(folder.counters, [](const FidelityCounter& counter) { return counter.elsewhere.empty(); }));
}

constexpr const char* introduction = R"(# The model against real kernels

Written by `test_fidelity` with `SKBSCOPE_WRITE_FIDELITY=1` where it compares all of them in one process; do not edit. Each row is a phase of a recording: its scenario is rebuilt
from the manifest (links, settings, sockets, the moments of each send), the model runs it, and both are compared packet by packet.

- **verdict, reason**: packets that met the same end, for the same reason. Kernel 5.10 tells no reasons: there the verdict counts.
- **functions**: packets whose functions are the same in the same order, within each CPU and context (in process context: each task); CPUs count
  by their role. Only functions that the recorded kernel can show count: those that the tracer was asked for and that the kernel has; not
  those that its compiler inlined into the caller at that place. Of calls that serve several packets those count that enclose a call of the packet.
- `*`: how many packets meet which end hangs on how fast the recorded CPU was (an emulated one), so single packets are not compared. What is:
  every end of the recording occurs in the model and the other way round (at the first pace of the model, see TCP, at which that is so); on both sides as many packets met an end as were sent; on both sides
  the packets of each end are as many as the kernel's counter of it says (delivered: Udp.InDatagrams, sent: Udp.OutDatagrams, CPU_BACKLOG:
  softnet_stat dropped, SOCKET_RCVBUFF: Udp.RcvbufErrors, QDISC_DROP: Udp.SndbufErrors, NO_SOCKET: Udp.NoPorts); the counters of drops that
  moved on one side moved on the other. A phase that breaks one of these has a line under "Faults", and the test fails. The column of functions
  says how many packets took a way that some packet of the model took to the same end, at one of its paces.
- `+ n`: of the functions that are the same, n packets agree with the model at another of its paces (see TCP) only: which of two interrupts comes
  first, and what one poll finds, hangs on how fast the emulated machine and its host were.
- *TCP*: each segment of a connection's handshake and of its close must agree as a whole with its like in one run of the model, at one of the paces below.
  How many others there are, how long each is and what
  lets it go hangs on the speed of both machines, so of those each must meet an end that one of its kind (data or bare ACK, sent or received, original,
  clone or piece) meets in the model, too; and its functions agree if it took, leg by leg (a leg: a call that serves several packets and those below it
  of this packet alone; the calls around it that an earlier leg had entered may stand before it), ways that a segment of the same direction takes in the model at one
  of 34 paces (CPUs up to 8000 times slower, as an emulated one is while its calls are recorded, on both machines or on one; a longer, slower
  or faster wire, and for each of the two machines by itself: an application that works between two calls, rarer or more interrupts, a device that sends in
  bursts or is late with the interrupt for what was sent; a CPU that stands still while a call of its application
  holds the socket; where both ends are on one machine also two at which applications write by pieces), or, where these leave a
  segment unexplained, of up to eighteen more drawn at random over the same range (those at which the connection gets done in time). The model runs at one
  of them after the other, until every segment and every counter of the connection is explained. Both runs must carry the same bytes in each direction; else there is a line under "Faults".
- **counters**: of those that moved on the traced machine and its peers over the whole recording, how many moved equally. softnet_stat counts CPUs,
  so its sums over the machine are compared. What other traffic of the recorded machine moved is listed with its proof and not held against the model; of a
  connection, whose segments are as many as its pace makes them, neither is what lies between the least and the most that the model counts at those paces.

## What is taken from the recording

Manifests do not say everything that decided. These are read from the recording beside it, each by one rule for all; never what became of a packet:

- *Whether a neighbour was there*: an entry that a datagram had to create (`___neigh_create`) was not, whatever /proc/net/arp said before.
- *Whether it was stale*: how long an entry stays reachable is drawn at random (15 to 45 s). A known address whose first packet asks
  `__neigh_event_send` was stale; what follows (the packets by `neigh_resolve_output`, the probe after 5 s) is the model's.
- *Whether it had been used*: its hardware header is made by the first packet; QEMU's capture of the wire shows whether one went there during set-up;
  without that capture, a known address whose first packet goes by `neigh_resolve_output` and does not ask had not been used.
- *When a datagram reached a shaper*: the stamp is taken before the send call, which takes milliseconds on the emulated CPU.
- *Hand-made frames*: from the capture on the traced device.
- *How long the emulated virtio device waits before it sends* (QEMU's tx=timer): from a notification to the interrupt that ends it.
- *Interrupts of e1000 and e1000e* are throttled to 20000 a second, as the modules do by default; no manifest says it.
- *Which bytes of a connection were lost* on their way: from the capture on the traced machine. Of what came, those that were not there when later ones
  were; of what went, those that went again and of which the peer did not tell (DSACK) that it had got them before. The model's cable loses the segment
  that brings them first.
- *Who closes a connection first*: if the first FIN is the client's, the model's server reads to the end before it closes.
- *How fast pktgen sent*, where at no speed of the model's CPUs the same ends occur: evenly, from its first frame to its last.
- *Whether a reader kept up with a burst*: from Udp.RcvbufErrors; if not, the model's reader takes 5 µs for a datagram, longer than the kernel.

## What the comparison leaves out

- In function_graph recordings `irq_enter_rcu`, `irq_exit_rcu` and `__local_bh_enable_ip`: their records carry no context, so what serves the CPU
  stands in the call of a packet that it happened to hit. Recordings of the function tracer compare them.
- On 6.12 a repeated `net_rx_action` that begins within 8 ms (netdev_budget_usecs) of the one before: since 6.3 a poll joins the running loop when its
  interrupt comes before the loop's end.
- How often a reader looks into its queues for one datagram (`__skb_try_recv_from_queue` once or twice): since 4.13 it takes all that wait at once, and
  finds the second of them with its first look. Whether others wait hangs on how late the reader is.
- Of a connection, where a call that blocks gives its socket free: below `tcp_sendmsg_locked` or `tcp_recvmsg_locked` while it waits. The
  applications of the model wait in poll(), and their calls give it free at their end; what it does then is compared.
- The CPUs of the emulated machine take turns, those of the model run side by side: how many packets of a burst are lost differs, and is not compared.

| kernel | recording | phase | packets | verdict | reason | functions | counters | first difference (model \| recording) |
|---|---|---|--:|--:|--:|--:|--:|---|
)";

std::string row_text(const FidelityRow& row, const FolderFidelity& folder)
{
    std::string difference = row.first_difference;
    for (std::size_t at = 0; (at = difference.find('|', at)) != std::string::npos; at += 2) {
        difference.insert(at, "\\");
    }
    std::string functions = row.hangs_on_speed ? fmt::format("{}", row.same_functions) : cell(row.same_functions - row.at_other_pace, row.packets - row.at_other_pace);
    if (row.at_other_pace != 0) {
        functions += fmt::format(" + {}", row.at_other_pace);
    }
    return fmt::format("| {} | {} | {}{} | {} | {} | {} | {} | {} of {} | {}{} |\n", row.kernel, fs::path(row.folder).filename().string(), row.phase,
                       row.hangs_on_speed ? " *" : "", row.packets, cell(row.same_verdict, row.packets), cell(row.same_reason, row.packets), functions,
                       folder.counters_compared - std::min(held_against_the_model(folder), folder.counters_compared), folder.counters_compared,
                       row.refused.empty() ? "" : "not run: ", difference);
}

std::string counters_text(const std::vector<FolderFidelity>& folders, bool elsewhere)
{
    std::string text;
    for (const FolderFidelity& folder : folders) {
        for (const FidelityCounter& counter : folder.counters) {
            if (counter.elsewhere.empty() != elsewhere) {
                text += fmt::format("| {} | {} | {}{} | {} | {} |{}\n", folder.rows.front().kernel, fs::path(folder.rows.front().folder).filename().string(),
                                    counter.net == "root" ? "" : counter.net + ": ", counter.name, counter.model, counter.recorded,
                                    elsewhere ? " " + counter.elsewhere + " |" : "");
            }
        }
    }
    return text;
}

std::string page(const std::vector<FolderFidelity>& folders)
{
    std::string text = introduction;
    std::string causes;
    std::string faults;
    for (const FolderFidelity& folder : folders) {
        for (const FidelityRow& row : folder.rows) {
            text += row_text(row, folder);
            const std::string name = fmt::format("{} {}, {}", row.kernel, fs::path(row.folder).filename().string(), row.phase);
            if (row.same_functions != row.packets || row.same_reason != row.packets || !row.refused.empty()) {
                causes += fmt::format("- {}: {}\n", name, cause_of(row));
            }
            for (const std::string& fault : row.faults) {
                faults += fmt::format("- {}: {}\n", name, fault);
            }
        }
    }
    text += "\n## Causes of what differs\n\n" + (causes.empty() ? std::string("Nothing differs.\n") : causes);
    text += "\n## Faults\n\n" + (faults.empty() ? std::string("None.\n") : faults);
    text += "\n## Counters that moved differently\n\nWhere the speed of the emulated CPU decides how many packets there are, and where a cause above does. Of a connection, at none of\n"
            "the paces as often: *TCPHystart…*: the recorded ones used cubic, whose slow start looks for its end; the model has Reno. *TCPBacklogCoalesce*,\n"
            "*DelayedACKLocked*: what arrives while an application holds the socket, which the emulated CPU makes last for milliseconds.\n\n"
            "| kernel | recording | counter | model | recording |\n|---|---|---|--:|--:|\n" + counters_text(folders, false);
    text += "\n## Counters that other traffic moved, or the pace of a connection\n\n| kernel | recording | counter | model | recording | proof |\n|---|---|---|--:|--:|---|\n" +
            counters_text(folders, true);
    return text;
}

/// Scenarios whose drops follow from what was sent, never from speed: there the model's counters are the kernel's.
bool is_drop_scenario(const FolderFidelity& folder)
{
    static constexpr const char* kinds[] = {"udp-rcvbuf-full", "udp-rx-noport", "bad-packets", "forward", "netfilter", "qdisc"};
    return std::ranges::any_of(kinds, [&](const char* kind) { return folder.rows.front().scenario.starts_with(kind); });
}

/// What a phase has reached; it must not be lost again. The aim is every packet's verdict and reason, and the functions of
/// 95 of 100: docs/fidelity.md shows how far that is.
struct Floor {
    std::size_t verdict = 0, reason = 0, functions = 0;
};

const fs::path floors_file = fs::path(SKBSCOPE_SOURCE_DIR) / "tests/data/fidelity_floors.tsv";

std::string key_of(const FidelityRow& row)
{
    return fmt::format("{}/{}\t{}", row.kernel, fs::path(row.folder).filename().string(), row.phase);
}

std::map<std::string, Floor> read_floors()
{
    std::map<std::string, Floor> floors;
    std::ifstream in(floors_file);
    for (std::string line; std::getline(in, line);) {
        std::istringstream words(line);
        std::string recording, phase;
        Floor floor;
        if (std::getline(words, recording, '\t') && std::getline(words, phase, '\t') && words >> floor.verdict >> floor.reason >> floor.functions) {
            floors[recording + "\t" + phase] = floor;
        }
    }
    return floors;
}

/// Compared by the tests that ran before in this process, in the order of recordings().
std::vector<FolderFidelity> compared;

/// Of each recording, where all were compared in one process: what they have reached, and the page.
void write_what_is_reached()
{
    std::string reached;
    for (const FolderFidelity& folder : compared) {
        for (const FidelityRow& row : folder.rows) {
            reached += fmt::format("{}\t{}\t{}\t{}\n", key_of(row), row.same_verdict, row.same_reason, row.same_functions);
        }
    }
    std::ofstream(floors_file) << reached;
    std::ofstream(fs::path(SKBSCOPE_SOURCE_DIR) / "docs" / "fidelity.md") << page(compared);
}

void expect_no_less_than(const FidelityRow& row, const std::map<std::string, Floor>& floors)
{
    const auto floor = floors.find(key_of(row));
    if (floor == floors.end()) { // one that the table does not know; a graph may not show the way out
        const bool is_shown = row.first_difference != "sent | in_flight";
        EXPECT_TRUE(!is_shown || row.same_verdict == row.packets) << row.first_difference;
        EXPECT_TRUE(!is_shown || row.same_reason == row.packets) << row.first_difference;
        return;
    }
    EXPECT_GE(row.same_verdict, floor->second.verdict) << row.first_difference;
    EXPECT_GE(row.same_reason, floor->second.reason) << row.first_difference;
    EXPECT_GE(row.same_functions, floor->second.functions) << row.first_difference;
}

class Fidelity : public ::testing::TestWithParam<fs::path> {};

TEST_P(Fidelity, OfNoPhaseFallsBelowWhatItHasReached)
{
    const bool writes = std::getenv("SKBSCOPE_WRITE_FIDELITY") != nullptr;
    auto result = fidelity_of(GetParam());
    ASSERT_TRUE(result) << result.error().describe();
    ASSERT_FALSE(result->rows.empty());
    const std::map<std::string, Floor> floors = read_floors();
    for (const FidelityRow& row : result->rows) {
        SCOPED_TRACE(key_of(row));
        EXPECT_THAT(row.faults, ::testing::IsEmpty());
        if (!writes) {
            expect_no_less_than(row, floors);
        }
    }
    for (const FidelityCounter& counter : result->counters) {
        EXPECT_TRUE(!is_drop_scenario(*result) || !counter.elsewhere.empty())
            << counter.net << ": " << counter.name << " " << counter.model << " | " << counter.recorded;
    }
    const json rows = json::parse(fidelity_to_json({*result}));
    for (const char* key : {"dir", "kernel", "scenario", "phase", "packets", "same_verdict", "same_reason", "same_functions", "first_difference"}) {
        EXPECT_TRUE(rows.at(0).contains(key)) << key;
    }
    compared.push_back(std::move(*result));
    if (writes && compared.size() == recordings().size()) {
        write_what_is_reached();
    }
}

INSTANTIATE_TEST_SUITE_P(Recorded, Fidelity, ::testing::ValuesIn(recordings()), [](const ::testing::TestParamInfo<fs::path>& one) {
    std::string name = name_of(one.param);
    std::ranges::replace_if(name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
    return name;
});

/// A phase that hangs on speed, its manifest changed.
std::vector<std::string> faults_with(const fs::path& original, const std::function<void(json&)>& change)
{
    const testing::ChangedRecording changed(original, change);
    const auto result = fidelity_of(changed.folder());
    EXPECT_TRUE(result) << result.error().describe();
    return result ? result->rows.back().faults : std::vector<std::string>();
}

TEST(Comparison, APhaseThatHangsOnSpeedFailsWhenItsReasonOrItsCountersAreOthers)
{
    const auto all = recordings();
    const auto rps = std::ranges::find_if(all, [](const fs::path& folder) { return folder.filename() == "rps-e1000"; });
    if (rps == all.end()) {
        GTEST_SKIP() << "no recording of an overflowing backlog; set SKBSCOPE_TRACES";
    }
    EXPECT_THAT(faults_with(*rps, [](json&) {}), ::testing::IsEmpty());
    EXPECT_THAT(faults_with(*rps, [](json& manifest) { manifest["settings"]["net.core.netdev_max_backlog"] = "10000"; }),
                ::testing::Contains(HasSubstr("no packet of the model is dropped")));
    EXPECT_THAT(faults_with(*rps, [](json& manifest) { manifest["counters_after"]["root"]["softnet_stat"] = manifest["counters_before"]["root"]["softnet_stat"]; }),
                ::testing::Contains(HasSubstr("the counters say")));
    EXPECT_THAT(faults_with(*rps, [](json& manifest) { manifest["phases"].back()["result"]["sent"]["sent"] = 190; }),
                ::testing::Contains(HasSubstr("were sent")));
}

TEST(Comparison, AConnectionFailsWhenTheModelCarriesOtherBytes)
{
    const auto all = recordings();
    const auto tcp = std::ranges::find_if(all, [](const fs::path& folder) { return folder.filename().string().starts_with("tcp-"); });
    if (tcp == all.end()) {
        GTEST_SKIP() << "no recording of a connection; set SKBSCOPE_TRACES";
    }
    EXPECT_THAT(faults_with(*tcp, [](json&) {}), ::testing::IsEmpty());
    EXPECT_THAT(faults_with(*tcp, [](json& manifest) { manifest["phases"].back()["result"]["client"]["sent"] = 190000; }),
                ::testing::ElementsAre(HasSubstr("the model carries 190000 bytes, the recording 200000")));
}

} // namespace
} // namespace skbscope
