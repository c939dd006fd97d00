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

    explicit Dropped(DropReasonId reason, FunctionId function, std::uint16_t port = 5001)
    {
        (void)trace.add_host({"host", 2});
        const DeviceId device = trace.add_device({"eth0", HostId{}, "", {}, 1500});
        PacketRecord packet;
        packet.verdict = Verdict::dropped;
        packet.reason = reason;
        packet.end_function = function;
        packet.device = device;
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
