#include "core/packet/build.h"
#include "core/recording/recording.h"
#include "core/scenario/model_source.h"
#include "core/scenario/scenario.h"
#include "core/trace/stack_state.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>

namespace skbscope {
namespace {

constexpr const char* minimal = "skbscope: 1\nhosts:\n  - name: server\n";

struct BadCase {
    const char* name;
    const char* text;
    const char* where;
    const char* says;
};

class BadScenario : public testing::TestWithParam<BadCase> {};

TEST_P(BadScenario, IsRefusedWithLineColumnAndReason)
{
    const auto scenario = parse_scenario(GetParam().text, "s.yaml");
    ASSERT_FALSE(scenario);
    EXPECT_EQ(scenario.error().kind, ErrorKind::invalid);
    EXPECT_EQ(scenario.error().where, GetParam().where);
    EXPECT_NE(scenario.error().describe().find(GetParam().says), std::string::npos) << scenario.error().describe();
    EXPECT_EQ(scenario.error().describe().find('\n'), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(
    Cases, BadScenario,
    testing::Values(
        BadCase{"UnknownKey", "skbscope: 1\nhosts:\n  - name: a\n    cpu: 2\n", "s.yaml:4:5", "unknown key 'cpu' in host"},
        BadCase{"CpuCount", "skbscope: 1\nhosts:\n  - name: a\n    cpus: 0\n", "s.yaml:4:11", "allowed: 1 … 64"},
        BadCase{"HugeQueue", "skbscope: 1\nhosts:\n  - name: a\n    sysctls: {net.core.netdev_max_backlog: 2147483648}\n", "s.yaml:4:44", "allowed: 0 … 2147483647"},
        BadCase{"NegativeBacklog", "skbscope: 1\nhosts:\n  - name: a\n    sysctls: {net.core.netdev_max_backlog: -1}\n", "s.yaml:4:44", "allowed"},
        BadCase{"UnknownSysctl", "skbscope: 1\nhosts:\n  - name: a\n    sysctls: {net.core.nothing: 1}\n", "s.yaml:4:15", "no setting"},
        BadCase{"Format", "skbscope: 2\nhosts:\n  - name: a\n", "s.yaml:1:11", "format 2"},
        BadCase{"NoHosts", "skbscope: 1\n", "s.yaml:1:1", "needs 'hosts'"},
        BadCase{"RingStep", "skbscope: 1\nhosts:\n  - name: a\n    devices: [{name: eth0, rx_ring: 50}]\n", "s.yaml:4:37", "multiples of 8"},
        BadCase{"Link", "skbscope: 1\nhosts:\n  - name: a\n    devices: [{name: eth0, link: moon}]\n", "s.yaml:4:34", "leads nowhere"},
        BadCase{"Port", "skbscope: 1\nhosts:\n  - name: a\n    receivers: [{port: 70000}]\n", "s.yaml:4:24", "allowed: 1 … 65535"},
        BadCase{"TakenPort", "skbscope: 1\nhosts:\n  - name: a\n    receivers: [{port: 7}, {port: 7}]\n", "s.yaml:4:28", "taken"},
        BadCase{"Address", "skbscope: 1\nhosts:\n  - name: a\n    devices: [{name: eth0, address: 10.1.2}]\n", "s.yaml:4:37", "IPv4 address"},
        BadCase{"Time", "skbscope: 1\nhosts:\n  - name: a\n    receivers: [{port: 7, work: soon}]\n", "s.yaml:4:33", "must be a time"},
        BadCase{"Driver", "skbscope: 1\nhosts:\n  - name: a\n    devices: [{name: eth0, driver: mlx5}]\n", "s.yaml:4:36", "not modelled"},
        BadCase{"TooLarge", "skbscope: 1\nhosts:\n  - name: a\n    senders: [{to: \"10.0.0.1:5\", size: 65508}]\n", "s.yaml:4:40", "size is 65508"},
        BadCase{"Syntax", "skbscope: 1\nhosts: [\n", "s.yaml:3:1", "not valid YAML"},
        BadCase{"Anchor", "skbscope: 1\nhosts: &a\n  - name: a\n", "s.yaml:2:8", "aliases"},
        BadCase{"Alias", "skbscope: 1\nhosts: [{\"name\":&a \"x\", cpus: *a}]\n", "s.yaml:2:17", "aliases"},
        BadCase{"AliasInAMergeKey", "skbscope: 1\nhosts:\n  - {name: a, sysctls: {<<: !!map &a {}}}\n", "s.yaml:3:29", "aliases"},
        BadCase{"SecondDocument", "skbscope: 1\nhosts:\n  - name: a\n---\nskbscope: 1\n", "s.yaml:4:1", "second document"},
        BadCase{"Empty", "  \n", "s.yaml", "empty"}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(Scenario, AStarInATextIsNoAlias)
{
    const std::string text = std::string(minimal) + "    iptables: |   # as iptables-save prints it\n      *filter\n      :INPUT ACCEPT [0:0]\n      COMMIT\n    "
                                                    "senders: [{to: \"10.0.0.1:5\", name: a *b &c}]\n";
    const auto scenario = parse_scenario(text, "s.yaml");
    ASSERT_TRUE(scenario) << scenario.error().describe();
    EXPECT_EQ(scenario->hosts[0].senders[0].name, "a *b &c");
    EXPECT_NE(scenario->hosts[0].iptables.find("*filter"), std::string::npos);
}

TEST(Scenario, DeepOrLongListsAreRefusedBeforeTheyCostTimeOrMemory)
{
    const auto refused = [](const std::string& text, const std::string& says) {
        const auto scenario = parse_scenario(text, "s.yaml");
        ASSERT_FALSE(scenario);
        EXPECT_NE(scenario.error().describe().find(says), std::string::npos) << scenario.error().describe();
    };
    refused("skbscope: 1\nhosts: " + std::string(100'000, '['), "nested too deeply");
    const auto list = [](const std::string& entry, int count) {
        std::string text;
        for (int i = 0; i < count; ++i) {
            text += "      - {" + entry + std::to_string(i) + "}\n";
        }
        return text;
    };
    refused("skbscope: 1\nhosts:\n" + list("name: a", 17), "at most 16");
    refused(std::string(minimal) + "    devices:\n" + list("name: e", 300), "at most 256");
    refused(std::string(minimal) + "    pings:\n" + list("to: 10.0.0.1, count: ", 1001), "at most 1000");
    EXPECT_TRUE(parse_scenario(std::string(minimal) + "    receivers:\n" + list("port: 1, reuseport: true, name: r", 2000), "s.yaml"));
}

/// The page's own example: every line of it is read, so what it says is known.
TEST(Scenario, TheDocumentedOneParsesAndComesBackFromItsText)
{
    std::ifstream page(std::string(SKBSCOPE_SOURCE_DIR) + "/docs/scenario-format.md");
    std::string text((std::istreambuf_iterator<char>(page)), {});
    const std::string begin = "```yaml\n";
    const auto from = text.find(begin);
    ASSERT_NE(from, std::string::npos);
    text = text.substr(from + begin.size());
    text.resize(text.find("\n```") + 1);
    const auto scenario = parse_scenario(text, "page");
    ASSERT_TRUE(scenario) << scenario.error().describe();
    const auto again = parse_scenario(to_text(*scenario), "text");
    ASSERT_TRUE(again) << again.error().describe();
    EXPECT_EQ(to_text(*again), to_text(*scenario));
    ModelSource source(*scenario);
    source.run_to_end();
    EXPECT_GT(source.trace().packet_count(), 100U);
}

TEST(Scenario, AServerThatReadsToTheEndComesBackFromItsText)
{
    const auto scenario = parse_scenario(std::string(minimal) + "    tcp_servers: [{port: 7, until_end: true}]\n", "s.yaml");
    ASSERT_TRUE(scenario) << scenario.error().describe();
    EXPECT_TRUE(scenario->hosts[0].tcp[0].until_end);
    const auto again = parse_scenario(to_text(*scenario), "text");
    ASSERT_TRUE(again) << again.error().describe();
    EXPECT_TRUE(again->hosts[0].tcp[0].until_end);
}

TEST(Scenario, MissingFileIsNotFound)
{
    const auto scenario = load_scenario("/nonexistent/scenario.yaml");
    ASSERT_FALSE(scenario);
    EXPECT_EQ(scenario.error().kind, ErrorKind::not_found);
}

TEST(Scenario, ADirectoryIsUnreadable)
{
    const auto scenario = load_scenario("/");
    ASSERT_FALSE(scenario);
}

TEST(Scenario, TextAndValueAreTheSameThing)
{
    const std::string text = "skbscope: 1\ntitle: all\nseed: 9\nburst: 5\nhosts:\n  - name: a\n    cpus: 3\n    sysctls: {net.core.netdev_max_backlog: 10}\n"
                             "    devices:\n      - {name: eth0, mac: \"52:54:00:00:00:01\", address: 10.0.0.1/24, mtu: 1000, rx_ring: 64, tx_ring: 128, copybreak: 0, "
                             "txqueuelen: 7, rate: 100mbit, rx_checksum: false, tx_checksum: false, promiscuous: true, irq_cpu: 2, link: s}\n"
                             "    routes: [{to: default, via: 10.0.0.9, device: eth0}]\n    neighbours: [{address: 10.0.0.9, mac: \"52:54:00:00:00:09\", device: eth0}]\n"
                             "    receivers: [{name: r, port: 5001, address: 10.0.0.1, rcvbuf: 4608, wait: recvfrom, work: 2us, cpu: 1}]\n"
                             "    senders: [{name: d, to: \"10.0.0.9:53\", from_port: 40000, connect: true, count: 3, size: 10, gap: 5us, start: 1ms, cpu: 2}]\n"
                             "stations:\n  - {name: s, mac: \"52:54:00:00:00:09\", address: 10.0.0.9, answers_arp: false, reply_delay: 7us, sends: [{to: \"10.0.0.1:5001\", count: 2}]}\n";
    const auto first = parse_scenario(text, "a");
    ASSERT_TRUE(first) << first.error().describe();
    const auto second = parse_scenario(to_text(*first), "b");
    ASSERT_TRUE(second) << second.error().describe();
    EXPECT_EQ(*first, *second);
}

TEST(Settings, AreRefusedWithTheirRangeAndLeaveTheScenarioAlone)
{
    auto scenario = parse_scenario(minimal, "s");
    ASSERT_TRUE(scenario);
    const Scenario before = *scenario;
    for (const char* bad : {"net.core.netdev_max_backlog=-1", "net.core.netdev_max_backlog=x", "nothing=1", "net.core.netdev_max_backlog", "eth0.rx_ring=64"}) {
        EXPECT_FALSE(apply_setting(*scenario, bad)) << bad;
    }
    EXPECT_EQ(*scenario, before);
    EXPECT_TRUE(apply_setting(*scenario, "net.core.netdev_max_backlog=7"));
    EXPECT_EQ(scenario->hosts.front().sysctls.at("net.core.netdev_max_backlog"), 7);
}

// ---- the model as a source ----------------------------------------------------------------------------------------------------

constexpr const char* playground = "skbscope: 1\nburst: 40\nhosts:\n  - name: server\n    devices: [{name: eth0, address: 10.0.0.2/24, link: c}]\n"
                                   "    receivers: [{name: dnsd, port: 5001, cpu: 1, work: 30us}]\n"
                                   "stations:\n  - {name: c, mac: \"52:54:00:00:00:01\", address: 10.0.0.1, sends: [{to: \"10.0.0.2:5001\", count: 1, start: 50us}]}\n";

std::uint64_t delivered(const ModelSource& source)
{
    StackState state(source.trace());
    for (std::size_t at = 0; at < source.trace().size(); ++at) {
        state.apply(at);
    }
    return state.accounting().of(Verdict::delivered);
}

TEST(ModelSource, RunsOnlyAsFarAsOneLooks)
{
    ModelSource source(*parse_scenario(playground, "s"));
    source.advance_to(SimTime{} + 50_us);
    EXPECT_EQ(source.trace().packet_count(), 1U);
    EXPECT_LE(source.trace().end_time(), SimTime{} + 50_us);
    EXPECT_FALSE(source.exhausted());
}

TEST(ModelSource, SendOneAndSendBurstAddDatagramsOfTheFirstFlow)
{
    ModelSource source(*parse_scenario(playground, "s"));
    source.run_to_end();
    EXPECT_EQ(delivered(source), 1U);
    ASSERT_TRUE(source.act("send_one", source.known_until()));
    source.run_to_end();
    EXPECT_EQ(delivered(source), 2U);
    ASSERT_TRUE(source.act("send_burst", source.known_until()));
    source.run_to_end();
    EXPECT_EQ(delivered(source), 42U);
    EXPECT_FALSE(source.act("send_money", source.known_until()));
}

TEST(ModelSource, AKnobTurnedInThePastTakesBackWhatCameAfter)
{
    ModelSource source(*parse_scenario(playground, "s"));
    source.run_to_end();
    const SimTime burst_at = source.known_until();
    ASSERT_TRUE(source.act("send_burst", burst_at));
    source.run_to_end();
    EXPECT_EQ(delivered(source), 41U);
    const auto generation = source.generation();
    ASSERT_TRUE(source.set_knob(":5001.SO_RCVBUF", 4608, burst_at));
    EXPECT_NE(source.generation(), generation);
    source.run_to_end();
    const std::uint64_t small_buffer = delivered(source);
    EXPECT_LT(small_buffer, 41U) << "the burst before the change still comes, into a smaller buffer";
    source.start_over();
    source.run_to_end();
    EXPECT_EQ(delivered(source), 1U);
}

TEST(ModelSource, KnobsHaveTheirRangeAndDefault)
{
    ModelSource source(*parse_scenario(playground, "s"));
    source.run_to_end();
    bool backlog = false;
    for (const Knob& knob : source.knobs()) {
        EXPECT_LE(knob.minimum, knob.value) << knob.key;
        EXPECT_LT(knob.minimum, knob.maximum) << knob.key;
        EXPECT_FALSE(knob.text.empty());
        EXPECT_FALSE(source.set_knob(knob.key, knob.minimum - 1, source.known_until())) << knob.key;
        backlog = backlog || (knob.key == "net.core.netdev_max_backlog" && knob.kernel_default == 1000);
    }
    EXPECT_TRUE(backlog);
}

TEST(ModelSource, SlicedAndWholeRunsGiveTheSamePackets)
{
    ModelSource whole(*parse_scenario(playground, "s"));
    whole.run_to_end();
    ModelSource sliced(*parse_scenario(playground, "s"));
    for (std::uint64_t t = 0; t < 200'000; t += 37) {
        sliced.advance_to(SimTime{t});
    }
    sliced.run_to_end();
    ASSERT_EQ(whole.trace().packet_count(), sliced.trace().packet_count());
    EXPECT_EQ(whole.trace().packet(static_cast<PacketId>(1)).death, sliced.trace().packet(static_cast<PacketId>(1)).death);
}

constexpr const char* long_run = R"(skbscope: 1
hosts:
  - name: server
    cpus: 2
    sysctls: {net.core.netdev_max_backlog: 20}
    devices:
      - {name: eth0, mac: "52:54:00:12:34:00", address: 10.99.0.2/24, link: client}
    receivers:
      - {name: app, port: 5001, cpu: 1, work: 3us}
      - {name: hoarder, port: 5002, cpu: 1, rcvbuf: 10000, start: 1s}
stations:
  - name: client
    mac: 52:54:00:12:34:01
    address: 10.99.0.1
    sends:
      - {to: "10.99.0.2:5002", count: 5, gap: 1us, size: 40}
      - {to: "10.99.0.2:5001", count: 9500, gap: 2us, size: 40}
      - {to: "10.99.0.2:9", count: 300, gap: 7us, size: 40}
)";

std::vector<std::uint8_t> recorded(const Trace& trace)
{
    std::vector<std::uint8_t> bytes;
    EXPECT_TRUE(write_recording_to(trace, [&](std::span<const std::uint8_t> more) {
        bytes.insert(bytes.end(), more.begin(), more.end());
        return true;
    }, "memory"));
    return bytes;
}

TEST(LongRun, WrittenAndForgottenWhileItRunsReadsAsTheRunThatWasKept)
{
    const auto scenario = parse_scenario(long_run, "long");
    ASSERT_TRUE(scenario) << scenario.error().describe();
    ModelSource kept(*scenario);
    kept.keep_snapshots(false);
    kept.run_to_end();
    ASSERT_GT(kept.trace().packet_count(), 9'000U);

    ModelSource source(*scenario);
    source.keep_snapshots(false);
    Trace read;
    RecordingReader reader(read, "memory");
    RecordingWriter writer(source.trace(), [&](std::span<const std::uint8_t> bytes) { return reader.feed(bytes).has_value(); }, "memory");
    source.run_to_end(never, [&] {
        const bool good = writer.update().has_value();
        source.forget_before(writer.written());
        return good;
    });
    ASSERT_TRUE(writer.finish());
    const auto loss = reader.finish();
    ASSERT_TRUE(loss) << loss.error().describe();
    EXPECT_EQ(*loss, "");
    EXPECT_GT(source.trace().first_packet(), 1'000U) << "nothing was forgotten";
    EXPECT_EQ(source.trace().verdicts(), kept.trace().verdicts());
    EXPECT_EQ(source.trace().drops(), kept.trace().drops());
    EXPECT_EQ(read.size(), kept.trace().size());
    EXPECT_EQ(recorded(read), recorded(kept.trace()));
}

TEST(LongRun, CountsTheSameWithoutRecording)
{
    const auto scenario = parse_scenario(long_run, "long");
    ASSERT_TRUE(scenario);
    ModelSource kept(*scenario);
    kept.run_to_end();
    ModelSource counted(*scenario);
    counted.set_recording(false);
    counted.run_to_end();
    EXPECT_EQ(counted.trace().size(), 0U);
    EXPECT_EQ(counted.trace().verdicts(), kept.trace().verdicts());
    EXPECT_EQ(counted.trace().drops(), kept.trace().drops());
    EXPECT_EQ(counted.world().nets[0].mib, kept.world().nets[0].mib);
    EXPECT_EQ(counted.known_until(), kept.known_until());
}

/// Counts how often it is read from the start.
class CountedCapture : public HeldCapture {
public:
    using HeldCapture::HeldCapture;
    void start_over() override
    {
        HeldCapture::start_over();
        ++starts;
    }
    int starts = 0;
};

/// Datagrams to 10.0.0.2:5001 and back, in turn, a microsecond apart.
std::shared_ptr<CountedCapture> to_and_fro(int count)
{
    std::vector<CapturedFrame> capture;
    for (int n = 0; n < count; ++n) {
        UdpFrame frame;
        const MacAddress host{{2, 0, 0, 0, 0, 2}};
        const MacAddress peer{{2, 0, 0, 0, 0, 1}};
        const bool to_host = n % 2 == 0;
        frame.ethernet = {to_host ? host : peer, to_host ? peer : host, 0x0800};
        frame.source = IpAddress::v4(to_host ? 0x0a000001 : 0x0a000002);
        frame.destination = IpAddress::v4(to_host ? 0x0a000002 : 0x0a000001);
        frame.source_port = 4000;
        frame.destination_port = 5001;
        auto bytes = build_udp_frame(frame);
        const auto length = static_cast<std::uint32_t>(bytes.size());
        capture.push_back({1'000'000'000ULL + static_cast<std::uint64_t>(n) * 1000, length, std::move(bytes)});
    }
    return std::make_shared<CountedCapture>(std::move(capture));
}

TEST(Replay, LeavesTheHostsOwnFramesOut)
{
    const auto capture = to_and_fro(4);
    const ReplayPlan plan = plan_replay(*capture, 0x0a000002, {});
    EXPECT_EQ(plan.frames, 2U);
    EXPECT_EQ(plan.counts.own, 2U);
    EXPECT_EQ(plan.mac, (MacAddress{{2, 0, 0, 0, 0, 2}}));
    EXPECT_EQ(plan.udp_ports, (std::vector<std::uint16_t>{5001}));
    ModelSource source(replay_scenario(0x0a000002, plan.mac, plan.udp_ports), replay_frames(capture, plan));
    source.run_to_end();
    EXPECT_EQ(delivered(source), 2U);
}

TEST(Replay, ReadsACaptureAsItRunsAndAgainAfterARewind)
{
    const auto capture = to_and_fro(400);
    const ReplayPlan plan = plan_replay(*capture, 0x0a000002, {});
    const int planned = capture->starts;
    ModelSource source(replay_scenario(0x0a000002, plan.mac, plan.udp_ports), replay_frames(capture, plan));
    source.run_to_end();
    EXPECT_EQ(delivered(source), 200U);
    EXPECT_EQ(capture->starts, planned + 1);
    const std::size_t events = source.trace().size();
    source.rewind_to(SimTime{200'000});
    EXPECT_LT(delivered(source), 200U);
    source.run_to_end();
    EXPECT_EQ(delivered(source), 200U);
    EXPECT_EQ(source.trace().size(), events);
}

TEST(Replay, PadsWhatTheCaptureCutAndDeliversItAllTheSame)
{
    UdpFrame frame;
    frame.ethernet = {MacAddress{{2, 0, 0, 0, 0, 2}}, MacAddress{{2, 0, 0, 0, 0, 1}}, 0x0800};
    frame.source = IpAddress::v4(0x0a000001);
    frame.destination = IpAddress::v4(0x0a000002);
    frame.source_port = 4000;
    frame.destination_port = 5001;
    const std::vector<std::uint8_t> payload(1000, 'x');
    frame.payload = payload;
    auto bytes = build_udp_frame(frame);
    const auto length = static_cast<std::uint32_t>(bytes.size());
    bytes.resize(96);
    const auto capture = std::make_shared<HeldCapture>(std::vector<CapturedFrame>{{1'000'000'000, length, bytes}});
    const ReplayPlan plan = plan_replay(*capture, 0x0a000002, {});
    EXPECT_EQ(plan.counts.cut, 1U);
    ASSERT_EQ(plan.frames, 1U);
    auto frames = replay_frames(capture, plan);
    ASSERT_NE(frames->frame(0), nullptr);
    EXPECT_EQ(frames->frame(0)->bytes.size(), length);
    EXPECT_EQ(frames->frame(1), nullptr);
    ModelSource source(replay_scenario(0x0a000002, plan.mac, plan.udp_ports), std::move(frames));
    source.run_to_end();
    EXPECT_EQ(delivered(source), 1U);
}

} // namespace
} // namespace skbscope
