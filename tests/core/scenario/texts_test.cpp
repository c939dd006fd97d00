// Rules and filters that are rewritten while the model runs.

#include "core/scenario/model_source.h"
#include "core/trace/journey.h"
#include "core/trace/stack_state.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <string>

namespace skbscope {
namespace {

constexpr const char* drop_5001 = R"(table ip t {
    chain input {
        type filter hook input priority filter; policy accept;
        udp dport 5001 counter drop
    }
}
)";

Scenario twenty_datagrams()
{
    auto scenario = parse_scenario(R"(
skbscope: 1
title: Twenty
kernel: "6.1"
hosts:
  - name: host
    cpus: 1
    devices:
      - {name: eth0, driver: e1000, address: 10.99.0.2/24, link: peer}
    receivers:
      - {name: app, port: 5001}
    taps:
      - {name: tcpdump, device: eth0, filter: "udp port 5001"}
stations:
  - name: peer
    mac: "02:00:00:00:00:01"
    address: 10.99.0.1
    sends:
      - {to: "10.99.0.2:5001", count: 20, size: 100, gap: 100us, start: 100us}
)",
                                   "twenty.yaml");
    EXPECT_TRUE(scenario) << scenario.error().describe();
    return *scenario;
}

std::uint64_t count(const Trace& trace, Verdict verdict)
{
    StackState state(trace);
    for (std::size_t i = 0; i < trace.size(); ++i) {
        state.apply(i);
    }
    return state.accounting().of(verdict);
}

const TextKnob* text_of(const std::vector<TextKnob>& texts, const std::string& key)
{
    const auto found = std::ranges::find(texts, key, &TextKnob::key);
    return found == texts.end() ? nullptr : &*found;
}

TEST(Texts, EveryHostHasItsRulesAndEveryTapAndReceiverItsFilter)
{
    const ModelSource source(twenty_datagrams());
    std::vector<std::string> keys;
    for (const TextKnob& knob : source.texts()) {
        keys.push_back(knob.key);
    }
    EXPECT_EQ(keys, (std::vector<std::string>{"host/nft", "host/iptables", "host/tcpdump.filter", "host/:5001.SO_ATTACH_FILTER"}));
    EXPECT_EQ(text_of(source.texts(), "host/tcpdump.filter")->value, "udp port 5001");
}

TEST(Texts, RulesCountFromTheMomentThatTheyAreSet)
{
    ModelSource source(twenty_datagrams());
    ASSERT_TRUE(source.set_text("host/nft", drop_5001, SimTime{1'050'000}));
    source.run_to_end();
    const auto texts = source.texts();
    const TextKnob* rules = text_of(texts, "host/nft");
    ASSERT_EQ(rules->lines.size(), 2U); // the policy and the rule
    const TextKnob::Line& rule = rules->lines[1];
    EXPECT_EQ(rule.line, 4U);
    ASSERT_NE(rule.packets, CounterId::none);
    StackState state(source.trace());
    for (std::size_t i = 0; i < source.trace().size(); ++i) {
        state.apply(i);
    }
    const std::uint64_t dropped = state.counters()[static_cast<std::size_t>(rule.packets)];
    EXPECT_GT(dropped, 0U);
    EXPECT_LT(dropped, 20U);
    EXPECT_EQ(count(source.trace(), Verdict::dropped), dropped);
    ASSERT_TRUE(rule.note);
    const std::size_t decided = [&] {
        std::size_t n = 0;
        for (std::size_t i = 0; i < source.trace().size(); ++i) {
            n += source.trace()[i].event_kind() == EventKind::note && source.trace()[i].arg == *rule.note ? 1 : 0;
        }
        return n;
    }();
    EXPECT_EQ(decided, dropped);
}

TEST(Texts, ATextThatDoesNotParseSaysWhereAndTheLastGoodOneStaysInForce)
{
    ModelSource source(twenty_datagrams());
    ASSERT_TRUE(source.set_text("host/nft", drop_5001, SimTime{0}));
    const std::string bad = "table ip t {\n    chain input {\n        udp dport http2 drop\n    }\n}\n";
    const auto fault = source.check_text("host/nft", bad);
    ASSERT_TRUE(fault);
    EXPECT_EQ(fault->line, 3U);
    EXPECT_EQ(fault->column, 19U);
    const auto refused = source.set_text("host/nft", bad, SimTime{500'000});
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().describe().find("host/nft:3:19"), std::string::npos) << refused.error().describe();
    EXPECT_EQ(text_of(source.texts(), "host/nft")->value, drop_5001);
    source.run_to_end();
    EXPECT_EQ(count(source.trace(), Verdict::dropped), 20U);
    EXPECT_TRUE(source.check_text("nobody/nft", ""));
    EXPECT_TRUE(source.check_text("host/tcpdump.filter", "udp porrt 5"));
    EXPECT_FALSE(source.check_text("host/tcpdump.filter", ""));
}

TEST(Texts, InThePastTheyMakeABranchAndTheRunAsItWasStays)
{
    ModelSource source(twenty_datagrams());
    source.run_to_end();
    ASSERT_TRUE(source.branch_text("host/iptables", "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p udp -j DROP\nCOMMIT\n", SimTime{50'000}));
    source.run_to_end();
    ASSERT_EQ(source.branches().size(), 2U);
    EXPECT_EQ(count(source.branch_trace(1), Verdict::dropped), 20U);
    EXPECT_EQ(count(source.branch_trace(0), Verdict::dropped), 0U);
    EXPECT_NE(source.branches()[1].title.find("host/iptables rewritten"), std::string::npos);
    source.choose_branch(0);
    EXPECT_EQ(text_of(source.texts(), "host/iptables")->value, "");
}

TEST(Texts, RewoundRunsAreTheSameEventForEvent)
{
    ModelSource source(twenty_datagrams());
    ASSERT_TRUE(source.set_text("host/nft", drop_5001, SimTime{1'050'000}));
    source.run_to_end();
    std::vector<Event> before;
    for (std::size_t i = 0; i < source.trace().size(); ++i) {
        before.push_back(source.trace()[i]);
    }
    source.rewind_to(SimTime{1'200'000});
    source.run_to_end();
    ASSERT_EQ(source.trace().size(), before.size());
    for (std::size_t i = 0; i < before.size(); ++i) {
        ASSERT_EQ(source.trace()[i].time_ns, before[i].time_ns) << i;
        ASSERT_EQ(source.trace()[i].arg, before[i].arg) << i;
    }
}

TEST(Texts, AFilterOnTheSocketKeepsDatagramsOutFromThenOn)
{
    ModelSource source(twenty_datagrams());
    ASSERT_TRUE(source.set_text("host/:5001.SO_ATTACH_FILTER", "udp port 9", SimTime{1'050'000}));
    source.run_to_end();
    const std::uint64_t dropped = count(source.trace(), Verdict::dropped);
    EXPECT_GT(dropped, 5U);
    EXPECT_LT(dropped, 20U);
}

TEST(Texts, AFilterOnTheTapLetsFewerClonesThrough)
{
    ModelSource all(twenty_datagrams());
    all.run_to_end();
    ModelSource none(twenty_datagrams());
    ASSERT_TRUE(none.set_text("host/tcpdump.filter", "tcp", SimTime{0}));
    none.run_to_end();
    EXPECT_EQ(none.trace().packet_count(), 20U);
    EXPECT_GE(all.trace().packet_count(), none.trace().packet_count());
    EXPECT_GT(all.trace().size(), none.trace().size());
}

TEST(Texts, TheScenarioIsSavedWithKnobsAndTextsAsTheyStand)
{
    ModelSource source(twenty_datagrams());
    ASSERT_TRUE(source.set_text("host/nft", drop_5001, SimTime{1'050'000}));
    ASSERT_TRUE(source.set_knob("net.core.netdev_max_backlog", 10, SimTime{1'100'000}));
    const auto text = source.scenario_text();
    ASSERT_TRUE(text);
    auto again = parse_scenario(*text, "saved.yaml");
    ASSERT_TRUE(again) << again.error().describe();
    EXPECT_EQ(again->hosts[0].nft, drop_5001);
    EXPECT_EQ(again->hosts[0].sysctls.at("net.core.netdev_max_backlog"), 10);
    ModelSource saved(std::move(*again));
    saved.run_to_end();
    EXPECT_EQ(count(saved.trace(), Verdict::dropped), 20U);
}

} // namespace
} // namespace skbscope
