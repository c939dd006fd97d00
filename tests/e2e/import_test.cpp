// import, report and journey on recordings of real kernels, held against what their manifests say was sent
// and received.

#include "tests/e2e/lessons.h"
#include "tests/e2e/program.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace skbscope::e2e {
namespace {

/// Counts of the packets of a phase that match the filter.
nlohmann::json packets_of_phase(const std::string& recording, const nlohmann::json& phase,
                                const std::string& filter)
{
    const auto between =
        fmt::format("{},{}", phase["begin"].get<std::uint64_t>(), phase["end"].get<std::uint64_t>());
    const auto outcome =
        skbscope({"report", recording, "--between", between, "-f", filter, "--format", "json"});
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    return outcome.json().value("packets", nlohmann::json::object());
}

/// "udp and src host 10.99.0.1 and dst port 5001" of the datagrams that the phase sent.
std::string filter_of(const nlohmann::json& sent)
{
    return fmt::format("udp and src host {} and src port {} and dst host {} and dst port {}",
                       sent["src"][0].get<std::string>(), sent["src"][1].get<int>(),
                       sent["dst"][0].get<std::string>(), sent["dst"][1].get<int>());
}

void expect_counts_of_manifest(const RecordedFolder& folder)
{
    SCOPED_TRACE(folder.name());
    const TemporaryFolder out;
    const auto imported = skbscope(
        {"import", folder.trace(), "--pcap", "eth0=" + folder.capture(), "-w", out / "recording.pcapng"});
    ASSERT_EQ(imported.status, 0) << imported.err;

    for (const auto& phase : folder.manifest["phases"]) {
        SCOPED_TRACE(phase["name"].get<std::string>());
        const auto& sent = phase["result"]["sent"];
        const auto packets = packets_of_phase(out / "recording.pcapng", phase, filter_of(sent));
        const auto count = sent["send_ok"].get<int>();
        if (phase["name"].get<std::string>().starts_with("udp-tx")) {
            EXPECT_EQ(packets["sent"], count) << packets;
        } else if (phase["name"] == "udp-noport") {
            EXPECT_EQ(packets["dropped"], count) << packets;
        } else {
            EXPECT_EQ(packets["delivered"], phase["result"]["received"]["received"]) << packets;
            EXPECT_EQ(packets["total"], count) << packets;
        }
    }
}

constexpr auto function_recordings = "udp-(rx|tx|rx-noport)-(e1000|e1000e|virtio)";

TEST(Import, OfTheRecordingsHereGivesTheCountsOfTheirManifests)
{
    const auto folders = recorded_folders(source_file("tests/data"), function_recordings);
    ASSERT_FALSE(folders.empty());
    for (const auto& folder : folders) {
        expect_counts_of_manifest(folder);
    }
}

TEST(Import, OfTheLargerSetGivesTheCountsOfItsManifests)
{
    const auto folders = recorded_folders(larger_set(), function_recordings);
    if (folders.empty()) {
        GTEST_SKIP() << "SKBSCOPE_TRACES names no folder with the larger set of recordings";
    }
    for (const auto& folder : folders) {
        expect_counts_of_manifest(folder);
    }
}

} // namespace
} // namespace skbscope::e2e
