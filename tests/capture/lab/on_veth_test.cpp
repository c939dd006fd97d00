// Scenarios with NICs and stations as namespaces and veths.

#include "capture/lab/on_veth.h"
#include "capture/lab/slow_down.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace skbscope::lab {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

Scenario lesson(const std::string& name)
{
    auto scenario = load_scenario(std::string(SKBSCOPE_SOURCE_DIR) + "/lessons/" + name + "/scenario.yaml");
    EXPECT_TRUE(scenario) << scenario.error().describe();
    return scenario ? *scenario : Scenario{};
}

TEST(OnVeth, AnE1000IsRefusedUnlessVethsMayStandInForIt)
{
    const auto refused = on_veth(lesson("01-a-datagram-arrives"), false);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().kind, ErrorKind::unsupported);
    EXPECT_THAT(refused.error().describe(), HasSubstr("e1000"));
    EXPECT_THAT(refused.error().describe(), HasSubstr("--on-veth"));
}

TEST(OnVeth, AStationBecomesANamespaceWhoseSenderKnowsItsNeighbour)
{
    const auto converted = on_veth(lesson("01-a-datagram-arrives"), true);
    ASSERT_TRUE(converted) << converted.error().describe();
    ASSERT_THAT(converted->scenario.hosts, SizeIs(2));
    EXPECT_THAT(converted->scenario.stations, SizeIs(0));
    const ScenarioHost& host = converted->scenario.hosts[0];
    const ScenarioHost& peer = converted->scenario.hosts[1];
    EXPECT_EQ(peer.namespace_of, host.name);
    EXPECT_EQ(host.devices.front().driver, "veth");
    EXPECT_EQ(host.devices.front().link, "peer." + peer.devices.front().name);
    ASSERT_THAT(peer.senders, SizeIs(1));
    EXPECT_EQ(peer.senders.front().from_port, 40001);
    EXPECT_EQ(peer.senders.front().cpu, host.devices.front().irq_cpu) << "the CPU that the NIC would have interrupted";
    ASSERT_THAT(peer.neighbours, SizeIs(1));
    EXPECT_EQ(peer.neighbours.front().mac, host.devices.front().mac);
}

TEST(OnVeth, WhatAStationSwallowedHasAReaderThere)
{
    const auto converted = on_veth(lesson("02-a-datagram-leaves"), true);
    ASSERT_TRUE(converted) << converted.error().describe();
    ASSERT_THAT(converted->scenario.hosts, SizeIs(3));
    for (std::size_t i : {1U, 2U}) {
        ASSERT_THAT(converted->scenario.hosts[i].receivers, SizeIs(1));
        EXPECT_EQ(converted->scenario.hosts[i].receivers.front().port, 5001);
    }
}

TEST(OnVeth, StationsSendThroughTheRouterTheyAreCabledTo)
{
    const auto converted = on_veth(lesson("04-the-five-hooks"), true);
    ASSERT_TRUE(converted) << converted.error().describe();
    ASSERT_THAT(converted->scenario.hosts, SizeIs(3));
    const ScenarioHost& a = converted->scenario.hosts[1];
    ASSERT_THAT(a.routes, SizeIs(1));
    EXPECT_EQ(a.routes.front().to.prefix, 0);
    EXPECT_EQ(a.routes.front().via, converted->scenario.hosts[0].devices[0].addresses[0].address);
    EXPECT_FALSE(converted->scenario.hosts[0].nft.empty());
}

TEST(OnVeth, TwoDevicesOfOneNameAreRefused)
{
    const auto scenario = parse_scenario(R"(
skbscope: 1
hosts:
  - name: a
    devices: [{name: v0, driver: veth, address: 10.0.0.1/24, peer: b.v0}]
  - name: b
    namespace_of: a
    devices: [{name: v0, driver: veth, address: 10.0.0.2/24, peer: a.v0}]
)",
                                         "made up");
    ASSERT_TRUE(scenario) << scenario.error().describe();
    const auto converted = on_veth(*scenario, false);
    ASSERT_FALSE(converted);
    EXPECT_THAT(converted.error().describe(), HasSubstr("v0"));
}

TEST(SlowDown, PausesOfTheTrafficGrowAndNothingElse)
{
    const Scenario before = lesson("01-a-datagram-arrives");
    const Scenario after = slowed_down(before, 20);
    ASSERT_THAT(after.stations, SizeIs(before.stations.size()));
    const ScenarioFlow& flow = before.stations.front().flows.front();
    EXPECT_EQ(after.stations.front().flows.front().start.ns, flow.start.ns * 20);
    EXPECT_EQ(after.stations.front().flows.front().gap.ns, flow.gap.ns * 20);
    EXPECT_EQ(after.hosts.front().devices, before.hosts.front().devices);
    EXPECT_EQ(slowed_down(before, 1), before);
    Scenario endless = before;
    endless.stations.front().flows.front().gap.ns = 4'000'000'000'000'000'000;
    EXPECT_EQ(slowed_down(endless, 1000).stations.front().flows.front().gap.ns, 4'000'000'000'000'000'000);
}

} // namespace
} // namespace skbscope::lab
