// What the lab would do, without doing it.

#include "capture/lab/plan.h"

#include "capture/lab/on_veth.h"
#include "capture/lab/qdisc_words.h"
#include "capture/lab/settings.h"

#include <algorithm>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace skbscope::lab {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

std::vector<std::string> lines(const std::vector<Command>& commands)
{
    std::vector<std::string> list;
    std::ranges::transform(commands, std::back_inserter(list), [](const Command& command) { return to_line(command); });
    return list;
}

Scenario scenario_of(const std::string& file)
{
    auto scenario = load_scenario(std::string(SKBSCOPE_SOURCE_DIR) + "/" + file);
    EXPECT_TRUE(scenario) << scenario.error().describe();
    return scenario ? *scenario : Scenario{};
}

TEST(Plan, OneFlowNeedsTwoNamespacesAndOnePair)
{
    const auto plan = make_plan(scenario_of("tests/data/lab/one-flow.yaml"), "lab", 2);
    ASSERT_TRUE(plan) << plan.error().describe();
    EXPECT_THAT(lines(plan->links),
                ElementsAre("ip netns add lab-0", "ip netns add lab-1",
                            "ip -n lab-0 link add name v0 address 02:00:00:00:00:02 type veth peer name v1 address 02:00:00:00:00:01 netns lab-1"));
    EXPECT_THAT(lines(plan->addresses), Contains("ip -n lab-1 address add 10.99.0.1/24 dev v1"));
    EXPECT_THAT(plan->devices, SizeIs(2));
}

TEST(Plan, RulesAndForwardingOfTheFiveHooksGoToTheRouterAlone)
{
    const auto converted = on_veth(scenario_of("lessons/04-the-five-hooks/scenario.yaml"), true);
    ASSERT_TRUE(converted) << converted.error().describe();
    const auto plan = make_plan(converted->scenario, "lab", 2);
    ASSERT_TRUE(plan) << plan.error().describe();
    ASSERT_THAT(plan->rules, SizeIs(1));
    EXPECT_EQ(to_line(plan->rules.front()), "ip netns exec lab-0 nft -f -");
    EXPECT_THAT(plan->rules.front().input, HasSubstr("udp dport 6002 counter drop"));
    EXPECT_TRUE(std::ranges::any_of(plan->settings, [](const SettingChange& change) {
        return change.space == 0 && change.name == "net.ipv4.ip_forward" && change.value == "1";
    }));
    EXPECT_THAT(lines(plan->neighbours), Contains("ip -n lab-0 neigh replace 10.1.0.2 lladdr 02:00:00:00:00:01 dev eth0 nud reachable"));
    EXPECT_THAT(lines(plan->addresses), Contains("ip -n lab-1 route add default via 10.1.0.1 dev eth0p"));
}

TEST(Plan, NeighbourThatIsDoubtedInTheScenarioIsMadeSo)
{
    auto scenario = scenario_of("tests/data/lab/forward.yaml");
    scenario.hosts.front().neighbours.front().stale = true;
    const auto plan = make_plan(scenario, "lab", 2);
    ASSERT_TRUE(plan) << plan.error().describe();
    const auto made = lines(plan->neighbours);
    EXPECT_THAT(made, Contains("ip -n lab-0 neigh replace 10.99.0.1 lladdr 02:00:00:00:00:01 dev r0 nud stale"));
    EXPECT_THAT(made, Contains("ip -n lab-0 neigh replace 10.98.0.1 lladdr 02:00:00:00:00:04 dev r1 nud reachable"));
}

TEST(Plan, MoreCpusThanTheMachineHasAreRefused)
{
    const auto plan = make_plan(scenario_of("tests/data/lab/one-flow.yaml"), "lab", 1);
    ASSERT_FALSE(plan);
    EXPECT_EQ(plan.error().kind, ErrorKind::unsupported);
    EXPECT_THAT(plan.error().describe(), HasSubstr("2 CPUs"));
}

TEST(Plan, AQdiscIsSaidInTcsWords)
{
    kernel::QdiscSpec tbf;
    tbf.kind = kernel::QdiscKind::tbf;
    tbf.rate = 125'000;
    tbf.burst = 3000;
    kernel::QdiscSpec inner;
    inner.kind = kernel::QdiscKind::pfifo;
    inner.limit = 4;
    tbf.inner.push_back(inner);
    EXPECT_THAT(lines(qdisc_commands("lab-0", "v0", tbf)),
                ElementsAre("tc -n lab-0 qdisc replace dev v0 root handle 1: tbf rate 1000000bit burst 3000 limit 1",
                            "tc -n lab-0 qdisc replace dev v0 parent 1:1 pfifo limit 4"));
}

TEST(Plan, OneNumberOfASettingOfSeveralIsReplaced)
{
    EXPECT_EQ(with_part("4096 131072 6291456", 1, "8192"), "4096 8192 6291456");
    EXPECT_EQ(with_part("1000", -1, "7"), "7");
}

} // namespace
} // namespace skbscope::lab
