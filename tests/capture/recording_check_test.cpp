// What importing each recording has to show: the manifest's counts, whole journeys, calls given to the right packets, a packet
// for each captured frame. With SKBSCOPE_WRITE_FIDELITY=1 the table is written to docs/recordings.md.

#include "capture/fidelity/recording_check.h"
#include "capture/import.h"
#include "tests/capture/attribution.h"
#include "tests/capture/recordings.h"

#include <fmt/format.h>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace skbscope {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::read_json;
using testing::recordings;

constexpr const char* introduction = R"(# What importing recordings shows

Written by `test_fidelity` with `SKBSCOPE_WRITE_FIDELITY=1`; do not edit. Each row is a recording of a real kernel, imported and held against
its manifest; no model takes part. The tests hold every recording to these bounds.

- **packets**: test packets of all phases that the trace has. **complete** (at least 99 of 100): those whose journey ends, and passes in this order
  the places that a packet of its kind passes, as far as the tracer was asked for a function there: sent: the protocol's sendmsg,
  `ip_finish_output2`, `__dev_queue_xmit`, `dev_hard_start_xmit`, the driver's transmit function; received: `napi_gro_receive` or `netif_rx`,
  `__netif_receive_skb_core` (unless GRO merged it), then `ip_rcv`, `ip_local_deliver`, the protocol's function, for UDP
  `__udp_enqueue_schedule_skb` and, once read, `skb_consume_udp`; forwarded: the first three of receiving, `ip_forward`, then as sent; dropped: as
  received up to the core, then the function that dropped it.
- **counts**: packets sent, datagrams read by each reader, drops by reason where the kernel has a counter for the reason, and the bytes of each
  direction of a connection are those of the manifest; or the first that is not.
- **unattributed** (at most 2 %): calls within the phases that work for a packet and were given none. The sk_buffs of netlink messages and those that an
  untraced CPU received and left to a traced one to free are no packets of the recording.
- **wrong** (at most 0.1 %): calls given to another packet than the sk_buff pointer of a kprobe event says, with those events hidden from attribution.
- **frames**: captured ones that found their packet (at least 99.9 %), of those captured between the first and the last record. Of a function_graph recording those count that have one: it shows only what
  runs below its roots, and for others there may be no record at all.

| kernel | recording | packets | complete | counts | unattributed | wrong | frames |
|---|---|--:|--:|---|--:|--:|--:|
)";

std::string joined(const std::vector<std::string>& lines)
{
    return fmt::format("{}", fmt::join(lines, "\n"));
}

class RecordingShows : public ::testing::TestWithParam<fs::path> {
protected:
    static inline std::vector<RecordingCheck> rows;
    static inline std::vector<std::string> unattributed;

    static void TearDownTestSuite()
    {
        if (std::getenv("SKBSCOPE_WRITE_FIDELITY") != nullptr) {
            std::ofstream(fs::path(SKBSCOPE_SOURCE_DIR) / "docs" / "recordings.md") << introduction << recording_checks_to_markdown(rows, unattributed);
        }
    }
};

TEST_P(RecordingShows, TheManifestsCountsWholeJourneysAndAPacketForEachFrame)
{
    const auto check = check_recording(GetParam());
    ASSERT_TRUE(check) << check.error().describe();
    EXPECT_GT(check->packets, 0U);
    EXPECT_GE(check->complete * 100, check->packets * 99) << joined(check->incomplete);
    EXPECT_THAT(check->miscounted, ::testing::IsEmpty());
    EXPECT_LE(check->wrong * 1000, check->probed) << joined(check->wrong_examples);
    EXPECT_GE((check->matched + check->unrecorded) * 1000, (check->frames - check->outside) * 999) << check->matched << " of " << check->frames;

    const auto imported = import_trace_dat((GetParam() / "trace.dat").string());
    ASSERT_TRUE(imported) << imported.error().describe();
    const testing::Attribution found = testing::attribution_within(imported->trace, read_json(GetParam() / "manifest.json").at("phases"));
    EXPECT_LE(found.without * 50, found.calls) << found.without << " of " << found.calls << ": " << ::testing::PrintToString(found.which);
    rows.push_back(*check);
    unattributed.push_back(fmt::format("{} of {}", found.without, found.calls));
}

std::string test_name(const ::testing::TestParamInfo<fs::path>& info)
{
    std::string name = testing::name_of(info.param);
    std::ranges::replace_if(name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
    return name;
}

INSTANTIATE_TEST_SUITE_P(Recorded, RecordingShows, ::testing::ValuesIn(recordings()), test_name);

/// The recording beside a manifest that says something else.
std::vector<std::string> miscounted_with(const std::function<void(json&)>& change)
{
    const testing::ChangedRecording changed(testing::small_set() / "5.10.0-46-amd64/udp-rx-e1000", change);
    const auto check = check_recording(changed.folder());
    EXPECT_TRUE(check) << check.error().describe();
    return check ? check->miscounted : std::vector<std::string>();
}

TEST(Import, CaptureThatOnlyLiesBesideTheRecordingAndCannotBeReadIsAWarning)
{
    const testing::ChangedRecording changed(testing::small_set() / "5.10.0-46-amd64/udp-rx-e1000", [](json&) {});
    const fs::path capture = changed.folder() / "eth0.pcap";
    std::ifstream in(capture, std::ios::binary);
    std::string bytes{std::istreambuf_iterator<char>(in), {}};
    bytes.at(20) = 113; // Linux cooked capture
    fs::remove(capture);
    std::ofstream(capture, std::ios::binary) << bytes;
    const std::string path = (changed.folder() / "trace.dat").string();
    const auto imported = import_trace_dat(path);
    ASSERT_TRUE(imported) << imported.error().describe();
    EXPECT_EQ(imported->trace.packet_count(), 20U);
    EXPECT_THAT(imported->warnings, ::testing::Contains(::testing::HasSubstr("LINUX_SLL")));
    ImportOptions options;
    options.pcaps.push_back({"eth0", capture.string()});
    EXPECT_FALSE(import_trace_dat(path, options)) << "asked for, it is needed";
}

TEST(RecordingCheck, WhatLeavesOutsideTheRootsOfAGraphWasSentAndHasItsFrame)
{
    const auto check = check_recording(testing::small_set() / "6.1.0-56-amd64/udp-tx-graph");
    ASSERT_TRUE(check) << check.error().describe();
    EXPECT_EQ(check->complete, 6U) << "the first waits for its neighbour, and leaves in a softirq";
    EXPECT_EQ(check->unfinished, 0U);
    EXPECT_EQ(check->matched, 8U);
}

TEST(RecordingCheck, SaysWhichCountIsNotTheManifests)
{
    EXPECT_THAT(miscounted_with([](json&) {}), ::testing::IsEmpty());
    EXPECT_THAT(miscounted_with([](json& manifest) { manifest["phases"][0]["result"]["received"]["received"] = 19; }),
                ::testing::ElementsAre(::testing::HasSubstr("19 datagrams were read, 20 are delivered")));
    EXPECT_THAT(miscounted_with([](json& manifest) {
                    std::string& snmp = manifest["counters_after"]["root"]["snmp"].get_ref<std::string&>();
                    snmp = manifest["counters_before"]["root"]["snmp"].get<std::string>();
                    manifest["counters_before"]["root"]["snmp"] = "Udp: NoPorts\nUdp: 0\n";
                    snmp = "Udp: NoPorts\nUdp: 3\n";
                }),
                ::testing::ElementsAre(::testing::HasSubstr("3 of NO_SOCKET")));
}

} // namespace
} // namespace skbscope
