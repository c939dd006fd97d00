// Explanations of drops, on small traces made by hand.

#include "capture/why_drop.h"

#include "core/catalog/drop_ids.h"
#include "core/catalog/function_ids.h"

#include <filesystem>
#include <cstdlib>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace skbscope {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

struct Dropped {
    Trace trace;
    std::vector<PacketId> packets;

    explicit Dropped(DropReasonId reason, FunctionId function, std::uint16_t port = 5001, bool knows_device = true)
    {
        (void)trace.add_host({"host", 2});
        const DeviceId device = trace.add_device({"eth0", HostId{}, "", {}, 1500});
        PacketRecord packet;
        packet.verdict = Verdict::dropped;
        packet.reason = reason;
        packet.end_function = function;
        packet.device = knows_device ? device : DeviceId::none;
        packet.birth = packet.death = SimTime{10};
        FlowKey flow;
        flow.source = IpAddress::v4(0x0a630001);
        flow.destination = IpAddress::v4(0x0a630002);
        flow.source_port = 40001;
        flow.destination_port = port;
        flow.protocol = 17;
        packet.flow = flow;
        packets.push_back(trace.add_packet(packet));
    }
    [[nodiscard]] std::vector<DropExplanation> explained(const SettingReader& reader = {}) const
    {
        JourneyIndex journeys(trace);
        journeys.update();
        return explain_drops(trace, journeys, packets, reader);
    }
};

TEST(WhyDrop, AFullBacklogNamesItsSettingItsValueAndTheCommandThatDoublesIt)
{
    const Dropped dropped(drop::CPU_BACKLOG, fn::enqueue_to_backlog);
    const auto drops = dropped.explained([](const std::string& name) { return GoverningSetting{name, "1000", "this host"}; });
    ASSERT_THAT(drops, SizeIs(1));
    ASSERT_THAT(drops[0].settings, SizeIs(1));
    EXPECT_EQ(drops[0].settings[0].name, "net.core.netdev_max_backlog");
    EXPECT_EQ(drops[0].settings[0].value, "1000");
    EXPECT_EQ(drops[0].command, "sysctl -w net.core.netdev_max_backlog=2000");
    EXPECT_THAT(drops[0].counters, HasSubstr("softnet_stat"));
    EXPECT_THAT(drops_to_text(drops, dropped.trace), HasSubstr("net.core.netdev_max_backlog = 1000  (this host)"));
    EXPECT_THAT(drops_to_json(drops, dropped.trace), HasSubstr("\"reason\":\"CPU_BACKLOG\""));
}

TEST(WhyDrop, AClosedPortIsLookedForUnderItsNumber)
{
    const auto drops = Dropped(drop::NO_SOCKET, fn::__udp4_lib_rcv, 4242).explained();
    ASSERT_THAT(drops, SizeIs(1));
    EXPECT_THAT(drops[0].command, HasSubstr(":4242"));
}

TEST(WhyDrop, WhereOnlyTheCallerIsNamedReasonStageAndProtocolTell)
{
    const auto drops = Dropped(drop::SOCKET_RCVBUFF, fn::udp_queue_rcv_one_skb).explained();
    ASSERT_THAT(drops, SizeIs(1));
    ASSERT_NE(drops[0].site, nullptr);
    EXPECT_EQ(drops[0].site->key, "udp_rcvbuf");
}

TEST(WhyDrop, AVagueReasonInAnUnknownPlaceIsNotGuessed)
{
    const auto drops = Dropped(drop::NOT_SPECIFIED, FunctionId::none).explained();
    ASSERT_THAT(drops, SizeIs(1));
    EXPECT_EQ(drops[0].site, nullptr);
    EXPECT_TRUE(drops[0].command.empty());
}

TEST(WhyDrop, OfAKernelWithoutReasonsItIsSaidThatOneWasConcluded)
{
    Dropped dropped(drop::NO_SOCKET, fn::__udp4_lib_rcv);
    dropped.trace.info.observed = true;
    dropped.trace.info.kernel = KernelVersion::v5_10;
    EXPECT_TRUE(dropped.explained()[0].reason_concluded);
    dropped.trace.info.kernel = KernelVersion::v6_18;
    EXPECT_FALSE(dropped.explained()[0].reason_concluded);
}

TEST(WhyDrop, SettingsOfThisHostAreReadWhereTheKernelKeepsThem)
{
    std::string folder = "/tmp/skbscope-why-test-XXXXXX";
    ASSERT_NE(::mkdtemp(folder.data()), nullptr);
    std::filesystem::create_directories(folder + "/sys/net/ipv4/conf/eth0.5");
    std::ofstream(folder + "/sys/net/ipv4/conf/eth0.5/rp_filter") << "2\n";
    const auto reader = settings_of_this_host(folder);
    const auto value = reader("net.ipv4.conf.eth0.5.rp_filter");
    ASSERT_TRUE(value);
    EXPECT_EQ(value->value, "2");
    EXPECT_FALSE(reader("net.ipv4.no_such_setting"));
    EXPECT_FALSE(reader("../etc/passwd"));
    std::filesystem::remove_all(folder);
}

TEST(WhyDrop, ARecordingIsHeldAgainstTheSettingsThatItCarriesNotAgainstThisHosts)
{
    Trace trace;
    trace.info.observed = true;
    trace.info.source = "live: some.other.host";
    EXPECT_FALSE(settings_of_recording(trace)); // nobody knows them
    trace.files.push_back({HostId{}, "", "sysctl", "net.core.netdev_max_backlog = 7\nnet.ipv4.tcp_rmem = 4096 131072 6291456\n"});
    const auto reader = settings_behind(trace);
    ASSERT_TRUE(reader);
    EXPECT_EQ(reader("net.core.netdev_max_backlog")->value, "7");
    EXPECT_EQ(reader("net.ipv4.tcp_rmem")->value, "4096 131072 6291456");
    EXPECT_FALSE(reader("net.core.netdev_budget"));
}

TEST(WhyDrop, WhatTheHostItselfCountedIsNamedWithThePacketsOwnSocketOnly)
{
    Dropped dropped(drop::SOCKET_RCVBUFF, fn::__udp_enqueue_schedule_skb);
    Trace& trace = dropped.trace;
    trace.info.observed = true;
    const auto moves = [&](const std::string& name, std::uint64_t before, std::uint64_t after) {
        Event event;
        event.time_ns = 20;
        event.kind = static_cast<std::uint8_t>(EventKind::counter);
        event.arg = trace.add_counter_change(trace.add_counter({name, HostId{}}), before, after);
        (void)trace.append(event);
    };
    moves("Udp.RcvbufErrors", 3, 10);
    moves("Udp.InDatagrams", 0, 90);
    moves("socket udp 0.0.0.0:5001 #77.drops", 0, 7);
    moves("socket udp 0.0.0.0:5002 #78.drops", 0, 9);
    moves("qdisc eth0 pfifo root 7:.drops", 0, 5);
    moves("Udp.InErrors", 4, 4);
    const auto drops = dropped.explained();
    ASSERT_THAT(drops, SizeIs(1));
    std::vector<std::string> names;
    for (const MovedCounter& counter : drops[0].moved) {
        EXPECT_TRUE(counter.of_host);
        EXPECT_EQ(counter.by, 7);
        names.push_back(counter.name);
    }
    EXPECT_THAT(names, testing::ElementsAre("Udp.RcvbufErrors", "socket udp 0.0.0.0:5001 #77.drops"));
    EXPECT_THAT(drops_to_text(drops, trace), HasSubstr("Udp.RcvbufErrors by 7"));
}

TEST(WhyDrop, TheDeviceIsTheOneWhereThePacketWasDroppedNotWhereItWasSent)
{
    Dropped dropped(drop::IP_RPFILTER, fn::ip_rcv_finish_core);
    Trace& trace = dropped.trace;
    const DeviceId far_end = trace.add_device({"veth1", HostId{}, "", {}, 1500});
    Event event;
    event.time_ns = 9;
    event.packet = to_index(dropped.packets[0]);
    event.kind = static_cast<std::uint8_t>(EventKind::field);
    event.arg = trace.add_field_change(SkbField::device, to_index(trace.packet(dropped.packets[0]).device), to_index(far_end));
    (void)trace.append(event);
    const auto drops = dropped.explained();
    ASSERT_THAT(drops, SizeIs(1));
    EXPECT_THAT(drops[0].command, HasSubstr("net.ipv4.conf.veth1.rp_filter=2"));
    ASSERT_THAT(drops[0].settings, SizeIs(2));
    EXPECT_EQ(drops[0].settings[1].name, "net.ipv4.conf.veth1.rp_filter");
}

TEST(WhyDrop, ASettingOfADeviceThatNobodyKnowsIsNotNamed)
{
    const auto drops = Dropped(drop::NEIGH_FAILED, fn::arp_error_report, 5001, false).explained();
    ASSERT_THAT(drops, SizeIs(1));
    for (const GoverningSetting& setting : drops[0].settings) {
        EXPECT_THAT(setting.name, testing::Not(HasSubstr("DEV")));
    }
    EXPECT_FALSE(drops[0].settings.empty());
}

TEST(WhyDrop, TheReceiveBufferIsThatOfTheSocketWhichTheRecorderSaw)
{
    Dropped dropped(drop::SOCKET_RCVBUFF, fn::__udp_enqueue_schedule_skb);
    dropped.trace.files.push_back({HostId{}, "", "sockets",
                                   "socket\towner\tstate\treceive buffer\tsend buffer\tnetwork namespace\n"
                                   "socket udp 0.0.0.0:15001 #7\ta 1\t\t9999\t212992\t-\n"
                                   "socket udp 10.0.0.1:5001 #8\tb 2\t\t4608\t212992\t-\n"});
    const auto drops = dropped.explained([](const std::string& name) -> std::optional<GoverningSetting> {
        return name == "net.core.rmem_max" ? std::optional(GoverningSetting{name, "212992", "this host"}) : std::nullopt;
    });
    ASSERT_THAT(drops, SizeIs(1));
    ASSERT_THAT(drops[0].settings, SizeIs(3));
    EXPECT_EQ(drops[0].settings[2].name, ":5001.SO_RCVBUF");
    EXPECT_EQ(drops[0].settings[2].value, "4608");
    EXPECT_THAT(drops[0].command, HasSubstr("rmem_max=425984")); // never less than it is
}

TEST(WhyDrop, AReasonThatOlderKernelsLackedIsExplainedByItsPlace)
{
    const auto late = Dropped(drop::FRAG_REASM_TIMEOUT, fn::ip_expire).explained();
    ASSERT_THAT(late, SizeIs(1));
    ASSERT_NE(late[0].site, nullptr);
    EXPECT_EQ(late[0].site->key, "frag_timeout");
    EXPECT_THAT(late[0].command, HasSubstr("net.ipv4.ipfrag_time"));
    const auto copy = Dropped(drop::DUP_FRAG, fn::ip_defrag).explained(); // the caller, as the tracepoint tells it
    ASSERT_NE(copy[0].site, nullptr);
    EXPECT_EQ(copy[0].site->key, "frag_dup");
}

TEST(WhyDrop, OfSeveralTestsInOneFunctionTheOneWhoseCounterMovedIsNamed)
{
    Dropped dropped(drop::NOT_SPECIFIED, fn::tcp_v4_rcv);
    EXPECT_EQ(dropped.explained()[0].site, nullptr); // a low TTL, or a full accept queue: nothing tells
    Trace& trace = dropped.trace;
    trace.info.observed = true;
    const auto moves = [&](const std::string& name) {
        Event event;
        event.time_ns = 20;
        event.kind = static_cast<std::uint8_t>(EventKind::counter);
        event.arg = trace.add_counter_change(trace.add_counter({name, HostId{}}), 1, 2);
        (void)trace.append(event);
    };
    moves("Tcp.InSegs");
    moves("TcpExt.ListenOverflows");
    const auto drops = dropped.explained();
    ASSERT_NE(drops[0].site, nullptr);
    EXPECT_EQ(drops[0].site->key, "tcp_acceptq_ack");
    moves("TcpExt.ListenOverflows"); // twice, and one drop: it counts SYNs, too
    const auto unsure = dropped.explained();
    EXPECT_EQ(unsure[0].site, nullptr);
    EXPECT_THAT(unsure[0].condition, testing::AllOf(HasSubstr("does not say which"), HasSubstr("TIME_WAIT"), HasSubstr("Accept queue full")));
    EXPECT_TRUE(unsure[0].command.empty());
}

TEST(WhyDrop, WhatAQdiscRefusesIsExplainedAtItsCallerToo)
{
    const auto drops = Dropped(drop::QDISC_DROP, fn::__dev_queue_xmit).explained();
    ASSERT_THAT(drops, SizeIs(1));
    EXPECT_EQ(drops[0].command, "tc -s qdisc show dev eth0; ip link show dev eth0");
    EXPECT_THAT(drops[0].counters, HasSubstr("qdisc drops"));
}

TEST(WhyDrop, AScenariosOwnValueComesBeforeTheKernelsDefault)
{
    const auto reader = settings_of_scenario("hosts:\n  - sysctls:\n      net.core.netdev_max_backlog: 7\n");
    EXPECT_EQ(reader("net.core.netdev_max_backlog")->value, "7");
    EXPECT_EQ(reader("net.core.netdev_max_backlog")->where, "the scenario");
    EXPECT_EQ(reader("net.core.netdev_budget")->value, "300");
    EXPECT_EQ(reader("net.core.netdev_budget")->where, "the kernel's default");
}

} // namespace
} // namespace skbscope
