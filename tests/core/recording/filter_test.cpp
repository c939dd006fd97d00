#include "core/recording/filter.h"

#include "core/trace/stack_state.h"
#include "tests/core/recording/sample_trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace skbscope {
namespace {

using testing::five_packets;
using testing::SampleTrace;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Filter : public ::testing::Test {
protected:
    std::vector<std::uint32_t> matching(std::string_view text)
    {
        auto filter = TraceFilter::compile(text, &sample.trace);
        if (!filter) {
            ADD_FAILURE() << text << ": " << filter.error().describe();
            return {};
        }
        JourneyIndex journeys(sample.trace);
        journeys.update();
        std::vector<std::uint32_t> ids;
        for (const PacketId id : matching_packets(sample.trace, journeys, *filter, {})) {
            ids.push_back(to_index(id));
        }
        return ids;
    }

    static Error error_of(std::string_view text)
    {
        auto filter = TraceFilter::compile(text);
        if (filter) {
            ADD_FAILURE() << text << " compiles";
            return {};
        }
        EXPECT_EQ(filter.error().kind, ErrorKind::invalid);
        EXPECT_EQ(filter.error().describe().find('\n'), std::string::npos);
        return filter.error();
    }

    SampleTrace sample = five_packets(); // delivered 1, dropped 2, merged 3, endless 4, without bytes 5
};

TEST_F(Filter, EmptyTextMatchesEverything)
{
    EXPECT_THAT(matching(""), ElementsAre(1, 2, 3, 4, 5));
    EXPECT_THAT(matching("  "), ElementsAre(1, 2, 3, 4, 5));
}

TEST_F(Filter, LibpcapsLanguageAsksTheBytes)
{
    EXPECT_THAT(matching("udp port 5002"), ElementsAre(2));
    EXPECT_THAT(matching("tcp"), IsEmpty());
    EXPECT_THAT(matching("udp[8:4] = 0x504b5430 and port 5003"), ElementsAre(4));
    EXPECT_THAT(matching("port 5002 or port 5003"), ElementsAre(2, 4));
    EXPECT_THAT(matching("udp[12:4]&0xff=0x34"), ElementsAre(4));
}

TEST_F(Filter, PacketWithoutBytesIsAskedByItsFlow)
{
    EXPECT_THAT(matching("udp and dst port 5001"), ElementsAre(1, 3, 5));
    EXPECT_THAT(matching("dst host 10.99.0.2 and src port 40000 and not port 5003"), ElementsAre(1, 2, 3, 5));
}

TEST_F(Filter, DropAndReason)
{
    EXPECT_THAT(matching("drop"), ElementsAre(2));
    EXPECT_THAT(matching("udp and drop"), ElementsAre(2));
    EXPECT_THAT(matching("drop and udp port 5001"), IsEmpty());
    EXPECT_THAT(matching("not drop"), ElementsAre(1, 3, 4, 5));
    EXPECT_THAT(matching("!drop && port 5001"), ElementsAre(1, 3, 5));
    EXPECT_THAT(matching("reason SOCKET_RCVBUFF"), ElementsAre(2));
    EXPECT_THAT(matching("udp and reason SKB_DROP_REASON_SOCKET_RCVBUFF"), ElementsAre(2));
    EXPECT_THAT(matching("reason cpu_backlog"), IsEmpty());
}

TEST_F(Filter, FunctionAsksTheJourneySharedCallsIncluded)
{
    EXPECT_THAT(matching("function ip_rcv"), ElementsAre(1, 2));
    EXPECT_THAT(matching("udp and function udp_rcv"), ElementsAre(1));
    EXPECT_THAT(matching("function acme_module_rx"), ElementsAre(4));
    EXPECT_THAT(matching("function ip_rcv and not function udp_rcv"), ElementsAre(2));
    EXPECT_THAT(matching("function net_rx_action and port 5001"), ElementsAre(1));
}

TEST_F(Filter, LatencyComparesBirthToVerdict)
{
    // Delivered 2.5 µs after birth, dropped 750 ns, merged 500 ns, sent 250 ns; the fourth has no end.
    EXPECT_THAT(matching("latency > 1us"), ElementsAre(1));
    EXPECT_THAT(matching("latency <= 750ns"), ElementsAre(2, 3, 5));
    EXPECT_THAT(matching("latency < 0.5us"), ElementsAre(5));
    EXPECT_THAT(matching("not latency > 1us"), ElementsAre(2, 3, 5));
    EXPECT_THAT(matching("latency >= 500 ns and drop"), ElementsAre(2));
    EXPECT_THAT(matching("latency=750ns"), ElementsAre(2));
}

TEST_F(Filter, ParenthesesAroundConjunctionsAreFine)
{
    EXPECT_THAT(matching("(udp and drop)"), ElementsAre(2));
    EXPECT_THAT(matching("(port 5002 or port 5003) and not drop"), ElementsAre(4));
    EXPECT_THAT(matching("((drop)) and (udp)"), ElementsAre(2));
}

TEST_F(Filter, UnknownNamesTellTheirColumn)
{
    EXPECT_THAT(error_of("udp and reason NO_SUCH_THING").describe(), HasSubstr("filter, column 16: no drop reason is called"));
    EXPECT_THAT(error_of("function no_such_function").describe(), HasSubstr("column 10: no function is called"));
}

TEST_F(Filter, MisplacedClausesAreErrorsNotSurprises)
{
    EXPECT_THAT(error_of("drop or udp").describe(), HasSubstr("column 1: 'drop' cannot stand in an 'or'"));
    EXPECT_THAT(error_of("udp or drop").describe(), HasSubstr("'drop' cannot stand here"));
    EXPECT_THAT(error_of("drop and udp or tcp").describe(), HasSubstr("cannot stand in an 'or'"));
    EXPECT_THAT(error_of("not (udp and drop)").describe(), HasSubstr("'drop' cannot stand here"));
    EXPECT_THAT(error_of("(udp or drop) and tcp").describe(), HasSubstr("cannot stand here"));
}

TEST_F(Filter, BrokenTextsAreErrorsInOneLine)
{
    for (const char* text : {"reason", "function", "latency", "latency >", "latency > 50", "latency > us", "latency ~ 5us", "drop drop",
                             "drop and", "and drop", "drop and and udp", "udp prot 53", "host", "(((", ")", "latency > -5us",
                             "latency > 1e300s", "reason )", "!", "not", "function ("}) {
        error_of(text);
    }
}

TEST(Between, TwoTimesOrOne)
{
    EXPECT_EQ(Between::parse("5,9")->from.ns, 5U);
    EXPECT_EQ(Between::parse("5,9")->to.ns, 9U);
    EXPECT_EQ(Between::parse("5,")->to, never);
    EXPECT_EQ(Between::parse(",9")->from.ns, 0U);
    for (const char* bad : {"", ",", "5", "a,b", "5,9,", "9,5", "-1,5", "5 ,9"}) {
        auto parsed = Between::parse(bad);
        ASSERT_FALSE(parsed) << bad;
        EXPECT_EQ(parsed.error().kind, ErrorKind::usage);
    }
}

TEST(Filtered, KeepsThePacketsAndTheCallsTheyShare)
{
    SampleTrace sample = five_packets();
    JourneyIndex journeys(sample.trace);
    journeys.update();
    const std::vector<PacketId> wanted = {PacketId{1}, PacketId{3}};
    const Trace cut = filtered(sample.trace, journeys, wanted);
    ASSERT_EQ(cut.packet_count(), 2U);
    EXPECT_EQ(cut.packets()[1].merged_into, PacketId{1});
    EXPECT_TRUE(std::ranges::equal(cut.frame(PacketId{2}), sample.trace.frame(PacketId{3})));
    JourneyIndex cut_journeys(cut);
    cut_journeys.update();
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        const Journey before = journeys.journey(wanted[i]);
        const Journey after = cut_journeys.journey(static_cast<PacketId>(i + 1));
        ASSERT_EQ(before.steps.size(), after.steps.size());
        for (std::size_t step = 0; step < before.steps.size(); ++step) {
            EXPECT_EQ(sample.trace[before.steps[step].ordinal].time_ns, cut[after.steps[step].ordinal].time_ns);
            EXPECT_EQ(sample.trace.function_name(sample.trace[before.steps[step].ordinal].function_id()),
                      cut.function_name(cut[after.steps[step].ordinal].function_id()));
        }
        EXPECT_EQ(before.waits.size(), after.waits.size());
        EXPECT_EQ(before.counters.size(), after.counters.size());
    }
    StackState state(cut);
    for (std::size_t i = 0; i < cut.size(); ++i) {
        state.apply(i);
    }
    EXPECT_EQ(state.accounting().born, 2U);
    EXPECT_EQ(state.accounting().in_flight(), 0U);
}

TEST(Filtered, ChangedBytesMoveWithTheirPacket)
{
    SampleTrace sample = five_packets();
    JourneyIndex journeys(sample.trace);
    journeys.update();
    const std::vector<PacketId> wanted = {PacketId{4}};
    const Trace cut = filtered(sample.trace, journeys, wanted);
    JourneyIndex cut_journeys(cut);
    cut_journeys.update();
    const SkbImage image = skb_image(cut, PacketId{1}, cut_journeys.events_of(PacketId{1}), cut.size());
    EXPECT_EQ(image.frame[22], 0x12);
    EXPECT_EQ(image.frame[23], 0x3f);
}

TEST(Filtered, NothingMatchedIsAnEmptyTrace)
{
    SampleTrace sample = five_packets();
    JourneyIndex journeys(sample.trace);
    journeys.update();
    const Trace cut = filtered(sample.trace, journeys, {});
    EXPECT_TRUE(cut.empty());
    EXPECT_EQ(cut.packet_count(), 0U);
}

} // namespace
} // namespace skbscope
