#include "core/recording/report.h"

#include "tests/core/recording/sample_trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace skbscope {
namespace {

using Json = nlohmann::json;
using testing::five_packets;
using testing::SampleTrace;
using ::testing::HasSubstr;
using ::testing::Not;

class ReportTest : public ::testing::Test {
protected:
    Report report(std::string_view filter = "", std::optional<Between> between = {})
    {
        journeys.update();
        return build_report(sample.trace, journeys, *TraceFilter::compile(filter, &sample.trace), between);
    }
    Json json(std::string_view filter = "") { return Json::parse(to_json(report(filter), sample.trace)); }
    Json journey(std::uint32_t packet)
    {
        journeys.update();
        const std::vector<PacketId> packets = {PacketId{packet}};
        return Json::parse(journeys_to_json(sample.trace, journeys, packets))[0];
    }

    SampleTrace sample = five_packets();
    JourneyIndex journeys{sample.trace};
};

TEST_F(ReportTest, KeysOfTheReportAreAsPromised)
{
    const Json report = json();
    for (const char* key : {"source", "kernel", "duration_ns", "events", "lost_events", "unattributed_events", "packets", "drops",
                            "stages", "queues", "counters"}) {
        EXPECT_TRUE(report.contains(key)) << key;
    }
    for (const char* key : {"total", "delivered", "forwarded", "sent", "consumed", "dropped", "merged", "split", "in_flight", "lost"}) {
        EXPECT_TRUE(report["packets"].contains(key)) << key;
    }
    for (const char* key : {"stage", "packets", "p50_ns", "p99_ns", "max_ns"}) {
        EXPECT_TRUE(report["stages"][0].contains(key)) << key;
    }
    for (const char* key : {"queue", "peak", "limit"}) {
        EXPECT_TRUE(report["queues"][0].contains(key)) << key;
    }
}

TEST_F(ReportTest, VerdictsDropsAndCountersAreCounted)
{
    const Json report = json();
    EXPECT_EQ(report["packets"]["total"], 5);
    EXPECT_EQ(report["packets"]["delivered"], 1);
    EXPECT_EQ(report["packets"]["dropped"], 1);
    EXPECT_EQ(report["packets"]["merged"], 1);
    EXPECT_EQ(report["packets"]["in_flight"], 1);
    EXPECT_EQ(report["packets"]["sent"], 1);
    EXPECT_EQ(report["accounting_closed"], true);
    EXPECT_EQ(report["drops"], Json::parse(R"([{"reason":"SOCKET_RCVBUFF","function":"udp_queue_rcv_one_skb","count":1}])"));
    EXPECT_EQ(report["counters"], Json::parse(R"({"Udp.InDatagrams":1})"));
    EXPECT_EQ(report["lost_events"], 3);
    EXPECT_EQ(report["unattributed_events"], 4);
}

TEST_F(ReportTest, QueuesShowPeakAndLimit)
{
    const Json queues = json()["queues"];
    ASSERT_EQ(queues.size(), 2U);
    EXPECT_EQ(queues[0]["queue"], "eth0 RX ring");
    EXPECT_EQ(queues[0]["peak"], 1);
    EXPECT_EQ(queues[0]["limit"], 256);
    EXPECT_EQ(queues[1]["peak"], 768);
    EXPECT_EQ(queues[1]["limit"], 212992);
}

TEST_F(ReportTest, StagesOfAPacketAddUpToItsLatency)
{
    journeys.update();
    const Report one = report("udp port 5001 and function udp_rcv");
    ASSERT_EQ(one.packets, 1U);
    std::int64_t sum = 0;
    for (const StageTimes& stage : one.stages) {
        sum += *stage.max_ns;
    }
    EXPECT_EQ(*one.latency_max_ns, 2500);
    EXPECT_EQ(sum, 2500);
}

TEST_F(ReportTest, FilterAndBetweenChooseThePackets)
{
    EXPECT_EQ(report("drop").packets, 1U);
    const SimTime birth = sample.trace.packet(PacketId{3}).birth;
    const Report between = report("", Between{birth, birth});
    EXPECT_EQ(between.packets, 1U);
    EXPECT_EQ(between.by_verdict[static_cast<std::size_t>(Verdict::merged)], 1U);
    EXPECT_TRUE(report("port 5002").counters.empty());
}

TEST_F(ReportTest, UntrustworthyTimesAreNotShown)
{
    sample.trace.info.times_trustworthy = false;
    const Json report = json();
    for (const Json& stage : report["stages"]) {
        EXPECT_TRUE(stage["p50_ns"].is_null());
        EXPECT_TRUE(stage["p99_ns"].is_null());
        EXPECT_TRUE(stage["max_ns"].is_null());
    }
    const std::string text = to_text(this->report(), sample.trace);
    EXPECT_THAT(text, HasSubstr("order real, times not"));
    EXPECT_THAT(text, Not(HasSubstr("µs")));
    const std::vector<PacketId> packets = {PacketId{1}};
    EXPECT_THAT(journeys_to_text(sample.trace, journeys, packets), Not(HasSubstr("µs")));
}

TEST_F(ReportTest, JourneyHasItsStepsWaitsAndVerdict)
{
    const Json one = journey(1);
    EXPECT_EQ(one["packet"], 1);
    EXPECT_EQ(one["dev"], "eth0");
    EXPECT_EQ(one["verdict"], "delivered");
    EXPECT_TRUE(one["reason"].is_null());
    EXPECT_EQ(one["flow"], Json::parse(R"({"proto":"udp","src":"10.99.0.1","sport":40000,"dst":"10.99.0.2","dport":5001})"));
    std::vector<std::string> functions;
    for (const Json& step : one["steps"]) {
        functions.push_back(step["function"]);
        for (const char* key : {"t_ns", "cpu", "context", "task", "function", "stage", "depth", "duration_ns", "shared", "via"}) {
            EXPECT_TRUE(step.contains(key)) << key;
        }
    }
    EXPECT_EQ(functions, (std::vector<std::string>{"net_rx_action", "napi_gro_receive", "ip_rcv", "udp_rcv"}));
    EXPECT_EQ(one["steps"][0]["shared"], true);
    EXPECT_EQ(one["steps"][2]["stage"], "ip.rcv");
    EXPECT_EQ(one["steps"][2]["duration_ns"], 3000);
    EXPECT_EQ(one["steps"][2]["via"], "model");
    EXPECT_EQ(one["waits"].size(), 2U);
    EXPECT_EQ(one["waits"][1]["queue"], ":5001 receive queue");
    EXPECT_EQ(one["counters"], Json::parse(R"({"Udp.InDatagrams":1})"));
    EXPECT_EQ(journey(2)["reason"], "SOCKET_RCVBUFF");
    EXPECT_TRUE(journey(4)["death_ns"].is_null());
    EXPECT_TRUE(journey(4)["steps"][0]["duration_ns"].is_null());
}

TEST_F(ReportTest, LevelsAndRatesAreNotAddedUpAsCounts)
{
    const auto changes = [&](const std::string& name) {
        Event event;
        event.time_ns = sample.trace[sample.trace.size() - 1].time_ns + 1;
        event.kind = static_cast<std::uint8_t>(EventKind::counter);
        event.arg = sample.trace.add_counter_change(sample.trace.add_counter({name, HostId{}}), 7, 2);
        (void)sample.trace.append(event);
    };
    for (const char* name : {"interrupt 38 virtio2.per_second", "socket udp 0.0.0.0:5001 #7.rmem", "qdisc eth0 pfifo root 1:.backlog_bytes", "eth0.carrier"}) {
        changes(name);
        EXPECT_FALSE(json()["counters"].contains(name)) << name;
    }
    changes("softnet_stat.backlog CPU 1");
    EXPECT_EQ(json()["counters"]["softnet_stat.backlog CPU 1"], -5);
}

TEST_F(ReportTest, ARecordingDoesNotClaimThatAQueueHasNoLimit)
{
    const QueueId queue = sample.trace.add_queue({":53 receive queue", QueueKind::socket, HostId{}, Catalog::find_room("socket_rx_queue"), 0, QueueUnit::packets, ""});
    Report report = this->report();
    report.queues.push_back({queue, 3, 0});
    EXPECT_THAT(to_text(report, sample.trace), HasSubstr("no limit"));
    sample.trace.info.observed = true;
    EXPECT_THAT(to_text(report, sample.trace), HasSubstr("not known"));
    EXPECT_THAT(to_text(report, sample.trace), Not(HasSubstr("no limit")));
}

TEST_F(ReportTest, NoPacketIsAnEmptyArray)
{
    EXPECT_EQ(Json::parse(journeys_to_json(sample.trace, journeys, {})), Json::array());
    EXPECT_EQ(journeys_to_text(sample.trace, journeys, {}), "");
}

TEST_F(ReportTest, NamesThatAreNoUtf8DoNotEndTheProgram)
{
    sample.trace.info.source = "bad \xff name";
    EXPECT_NO_THROW((void)json());
}

TEST_F(ReportTest, TextFitsItsTerminal)
{
    journeys.update();
    std::vector<PacketId> all;
    for (const PacketRecord& record : sample.trace.packets()) {
        all.push_back(record.id);
    }
    const std::string text = to_text(report(), sample.trace) + journeys_to_text(sample.trace, journeys, all);
    std::size_t columns = 0;
    for (const char c : text) {
        columns = c == '\n' ? 0 : columns + ((static_cast<unsigned char>(c) & 0xc0) != 0x80 ? 1 : 0);
        EXPECT_LE(columns, 100U);
    }
    EXPECT_THAT(text, HasSubstr("■ dropped: SOCKET_RCVBUFF in udp_queue_rcv_one_skb after 750 ns"));
    EXPECT_THAT(text, HasSubstr("in :5001 receive queue"));
}

TEST(EmptyTrace, ReportsNothingAndDoesNotDivideByIt)
{
    const Trace trace;
    JourneyIndex journeys(trace);
    journeys.update();
    const Report report = build_report(trace, journeys);
    EXPECT_EQ(report.packets, 0U);
    EXPECT_TRUE(report.accounting_closed);
    EXPECT_FALSE(to_text(report, trace).empty());
    EXPECT_EQ(Json::parse(to_json(report, trace))["packets"]["total"], 0);
}

} // namespace
} // namespace skbscope
