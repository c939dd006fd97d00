// What skbscope writes, Wireshark's tools read: exactly its frames, each with its verdict as comment.

#include "tests/e2e/lessons.h"
#include "tests/e2e/program.h"

#include <algorithm>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sstream>

namespace skbscope::e2e {
namespace {

struct Frame {
    unsigned length = 0;
    std::string verdict; ///< as `journey` names it
    auto operator<=>(const Frame&) const = default;
    friend std::ostream& operator<<(std::ostream& out, const Frame& frame)
    {
        return out << frame.length << " bytes, " << frame.verdict;
    }
};

/// "dropped: SOCKET_RCVBUFF in …" -> "dropped", "in flight" -> "in_flight", "merged into packet 17" ->
/// "merged".
std::string verdict_of(const std::string& comment)
{
    const auto words = comment.substr(0, comment.find(':'));
    return words == "in flight" ? "in_flight" : words.substr(0, words.find(' '));
}

/// What tshark reads from the file.
std::vector<Frame> frames_seen_by_tshark(const std::string& path)
{
    const auto outcome = run_program({"tshark", "-r", path, "-T", "fields", "-E", "separator=/t", "-e",
                                      "frame.len", "-e", "frame.comment"},
                                     {.environment = {"LC_ALL=C.UTF-8"}});
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_THAT(outcome.err, testing::Not(testing::HasSubstr("tshark:"))) << outcome.err;
    std::vector<Frame> frames;
    std::istringstream lines(outcome.out);
    for (std::string line; std::getline(lines, line);) {
        const auto tab = line.find('\t');
        const auto comment = tab == std::string::npos ? std::string() : line.substr(tab + 1);
        frames.push_back({static_cast<unsigned>(std::stoul(line)), verdict_of(comment)});
    }
    std::ranges::sort(frames);
    return frames;
}

/// What skbscope itself says of the packets in it that were at a device.
std::vector<Frame> packets_of(const std::string& path)
{
    const auto journeys = skbscope({"journey", path, "--format", "json"}).json();
    EXPECT_TRUE(journeys.is_array());
    std::vector<Frame> frames;
    for (const auto& journey : journeys) {
        if (journey["dev"].is_null()) {
            continue; // the clone that neigh_probe() makes never gets an Ethernet header: there is no frame
                      // to show
        }
        frames.push_back({journey["len"].get<unsigned>(), journey["verdict"].get<std::string>()});
    }
    std::ranges::sort(frames);
    return frames;
}

unsigned packets_by_capinfos(const std::string& path)
{
    const auto outcome = run_program({"capinfos", "-rcM", "-T", path}, {.environment = {"LC_ALL=C"}});
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    const auto tab = outcome.out.find('\t');
    return tab == std::string::npos ? 0 : static_cast<unsigned>(std::stoul(outcome.out.substr(tab + 1)));
}

class WiresharkReads : public testing::Test {
protected:
    void SetUp() override
    {
        if (!is_installed("tshark") || !is_installed("capinfos")) {
            GTEST_SKIP() << "tshark is not installed";
        }
    }

    void expect_frames_with_verdicts(const std::string& path)
    {
        const auto packets = packets_of(path);
        ASSERT_FALSE(packets.empty());
        EXPECT_EQ(frames_seen_by_tshark(path), packets);
        EXPECT_EQ(packets_by_capinfos(path), packets.size());
    }

    TemporaryFolder out;
};

TEST_F(WiresharkReads, TheRunsOfTheLessons)
{
    for (const auto* lesson : {"01", "02"}) {
        SCOPED_TRACE(lesson);
        const auto path = out / (std::string(lesson) + ".pcapng");
        const auto run = skbscope({"run", scenario_of(lesson), "-w", path});
        ASSERT_EQ(run.status, 0) << run.err;
        expect_frames_with_verdicts(path);
    }
}

TEST_F(WiresharkReads, AReplayedCapture)
{
    const auto folders = recorded_folders(source_file("tests/data"), "udp-rx-e1000");
    ASSERT_FALSE(folders.empty());
    const auto replayed =
        skbscope({"replay", folders[0].capture(), "--as", "10.99.0.2", "-w", out / "replayed.pcapng"});
    ASSERT_EQ(replayed.status, 0) << replayed.err;
    expect_frames_with_verdicts(out / "replayed.pcapng");
}

TEST_F(WiresharkReads, AnImportedRecordingWithItsCapture)
{
    const auto folders = recorded_folders(source_file("tests/data"), "udp-rx-e1000");
    ASSERT_FALSE(folders.empty());
    const auto path = out / "imported.pcapng";
    const auto imported =
        skbscope({"import", folders[0].trace(), "--pcap", "eth0=" + folders[0].capture(), "-w", path});
    ASSERT_EQ(imported.status, 0) << imported.err;
    // A packet whose bytes no capture holds has no frame.
    const auto frames = frames_seen_by_tshark(path);
    const auto delivered = std::ranges::count(frames, std::string("delivered"), &Frame::verdict);
    EXPECT_EQ(delivered, folders[0].manifest["phases"][0]["result"]["received"]["received"]);
    EXPECT_EQ(packets_by_capinfos(path), frames.size());
}

TEST_F(WiresharkReads, APartThatTheFilterSaved)
{
    ASSERT_EQ(skbscope({"run", scenario_of("01"), "-w", out / "run.pcapng"}).status, 0);
    const auto saved = skbscope({"filter", out / "run.pcapng", "-f", "udp", "-w", out / "udp.pcapng"});
    ASSERT_EQ(saved.status, 0) << saved.err;
    expect_frames_with_verdicts(out / "udp.pcapng");
}

} // namespace
} // namespace skbscope::e2e
