#include "capture/pcap_file.h"
#include "capture/pcap_match.h"
#include "tests/capture/recordings.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace skbscope {
namespace {

namespace fs = std::filesystem;

std::string scratch(const std::string& bytes)
{
    const auto path = fs::temp_directory_path() / fmt::format("skbscope-pcap-{}", ::getpid());
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
    return path.string();
}

std::string whole_capture()
{
    std::ifstream in(testing::small_set() / "6.1.0-56-amd64" / "udp-rx-virtio" / "eth0.pcap",
                     std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

template <typename T>
void put(std::string& out, T value)
{
    out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

TEST(PcapFile, NanosecondStampsAreKept)
{
    const auto file = read_pcap(scratch(whole_capture()));
    ASSERT_TRUE(file) << file.error().describe();
    ASSERT_EQ(file->frames.size(), 20U);
    EXPECT_EQ(file->damage, "");
    EXPECT_EQ(file->frames[0].length, 106U);
    EXPECT_EQ(file->frame(0).size(), 106U);
    EXPECT_TRUE(
        std::ranges::any_of(file->frames, [](const PcapFrame& frame) { return frame.wall_ns % 1000 != 0; }));
}

TEST(PcapFile, MicrosecondStampsBecomeNanoseconds)
{
    std::string bytes;
    put(bytes, std::uint32_t{0xa1b2c3d4});
    put(bytes, std::uint16_t{2});
    put(bytes, std::uint16_t{4});
    put(bytes, std::uint64_t{0});
    put(bytes, std::uint32_t{96});
    put(bytes, std::uint32_t{1}); // Ethernet
    put(bytes, std::uint32_t{10});
    put(bytes, std::uint32_t{5});
    put(bytes, std::uint32_t{20});
    put(bytes, std::uint32_t{1500});
    bytes.append(20, 'x');
    const auto file = read_pcap(scratch(bytes));
    ASSERT_TRUE(file) << file.error().describe();
    ASSERT_EQ(file->frames.size(), 1U);
    EXPECT_EQ(file->frames[0].wall_ns, 10'000'005'000);
    EXPECT_EQ(file->frames[0].length, 1500U);
    EXPECT_EQ(file->frames[0].captured, 20U);
}

TEST(PcapFile, CutAnywhereItKeepsWholeFramesAndSaysSo)
{
    const std::string whole = whole_capture();
    for (std::size_t size = 0; size < whole.size(); size += 13) {
        const auto file = read_pcap(scratch(whole.substr(0, size)));
        if (!file) {
            EXPECT_LT(size, 24U) << file.error().describe();
            continue;
        }
        const std::size_t frames = (size - 24) / (16 + 106);
        EXPECT_EQ(file->frames.size(), frames) << "cut at " << size;
        EXPECT_EQ(file->damage.empty(), size == 24 + frames * (16 + 106)) << "cut at " << size;
    }
}

TEST(PcapFile, ForeignAndMissingFilesAreNamed)
{
    const auto foreign = read_pcap(scratch("this is no capture at all, not even nearly"));
    ASSERT_FALSE(foreign);
    EXPECT_EQ(foreign.error().kind, ErrorKind::foreign);
    const auto empty = read_pcap(scratch(""));
    ASSERT_FALSE(empty);
    EXPECT_EQ(empty.error().kind, ErrorKind::cut);
    const auto missing = read_pcap("/nonexistent.pcap");
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().kind, ErrorKind::not_found);
}

TEST(PcapFile, OtherLinkTypesAreRefusedWithTheRemedy)
{
    std::string bytes = whole_capture();
    bytes[20] = 113; // Linux cooked capture
    const auto file = read_pcap(scratch(bytes));
    ASSERT_FALSE(file);
    EXPECT_EQ(file.error().kind, ErrorKind::unsupported);
    EXPECT_THAT(file.error().describe(), ::testing::HasSubstr("LINUX_SLL"));
}

/// A capture of frames that differ in length only.
PcapFile capture(const std::vector<std::pair<std::int64_t, std::uint32_t>>& frames)
{
    PcapFile file;
    for (const auto& [wall, length] : frames) {
        PcapFrame frame;
        frame.wall_ns = wall;
        frame.length = length;
        frame.offset = file.bytes.size();
        frame.captured = 14;
        file.bytes.resize(file.bytes.size() + 14, 0);
        file.frames.push_back(frame);
    }
    return file;
}

constexpr std::int64_t day = 86'400'000'000'000;
constexpr std::int64_t ms = 1'000'000;

TEST(PcapMatch, TagThatTheSkBuffKeepsBesideItsBytesIsPartOfTheFrame)
{
    PcapFile file = capture({{day + 10 * ms, 110}, {day + 45 * ms, 110}});
    for (PcapFrame& frame : file.frames) {
        const std::array<std::uint8_t, 6> tag = {0x81, 0x00, 0x00, 0x07, 0x08, 0x00};
        file.bytes.resize(file.bytes.size() + 4); // of the last; else the next one's first, which nobody looks at
        std::ranges::copy(tag, file.bytes.begin() + static_cast<std::ptrdiff_t>(frame.offset + 12));
        frame.captured = 18;
    }
    std::vector<TapCandidate> packets(2);
    for (std::size_t i = 0; i < packets.size(); ++i) {
        packets[i].time_ns = std::uint64_t{i == 0 ? 10U : 45U} * ms;
        packets[i].length = 106;
        packets[i].ethertype = 0x0800;
    }
    EXPECT_THAT(match_frames(packets, file).frame_of, ::testing::ElementsAre(0, 1));
    packets[1].ethertype = 0x86dd;
    EXPECT_THAT(match_frames(packets, file).frame_of, ::testing::ElementsAre(0, -1));
}

TEST(PcapMatch, UnknownClockOffsetIsFoundFromTheFrames)
{
    const PcapFile file =
        capture({{day + 10 * ms, 60}, {day + 45 * ms, 106}, {day + 77 * ms, 60}, {day + 130 * ms, 106}});
    std::vector<TapCandidate> packets;
    for (const auto& [time, length] : {std::pair{10U, 60U}, {45U, 106U}, {77U, 60U}, {130U, 106U}}) {
        TapCandidate packet;
        packet.time_ns = time * std::uint64_t{ms} + 5000;
        packet.length = length;
        packets.push_back(packet);
    }
    const FrameMatches found = match_frames(packets, file);
    EXPECT_THAT(found.frame_of, ::testing::ElementsAre(0, 1, 2, 3));
    EXPECT_EQ(found.offset_ns, day - 5000);
}

TEST(PcapMatch, FramesBeforeAndPacketsWithoutAFrameAreLeftOver)
{
    const PcapFile file = capture({{day - 900 * ms, 106}, {day + 10 * ms, 106}, {day + 200 * ms, 60}});
    std::vector<TapCandidate> packets(3);
    packets[0].time_ns = 10 * ms;
    packets[0].length = 106;
    packets[1].time_ns = 100 * ms;
    packets[1].length = 106;
    packets[2].time_ns = 200 * ms;
    packets[2].length = 60;
    EXPECT_THAT(match_frames(packets, file).frame_of, ::testing::ElementsAre(1, -1, 2));
}

TEST(PcapMatch, BurstOfEqualFramesIsMatchedInOrder)
{
    const PcapFile file = capture({{day, 106}, {day + 1000, 106}, {day + 2000, 106}});
    std::vector<TapCandidate> packets(3);
    for (std::size_t i = 0; i < 3; ++i) {
        packets[i].time_ns = 500 + i * 900;
        packets[i].length = 106;
    }
    EXPECT_THAT(match_frames(packets, file).frame_of, ::testing::ElementsAre(0, 1, 2));
}

TEST(PcapMatch, AFrameFindsItsPacketWhoseDestinationWasTranslatedBeforeAnythingNamedIt)
{
    PcapFile file = capture({{day + 10 * ms, 112}});
    file.frames[0].captured = 42;
    file.bytes.assign(42, 0);
    constexpr std::array<std::uint8_t, 28> headers = {0x45, 0, 0, 98, 0, 1, 0, 0, 64, 17, 0, 0, 10, 99, 0, 1, 10, 99, 0, 2, 0xa0, 0x90, 0x17, 0xd8, 0, 78, 0, 0};
    file.bytes[12] = 0x08;
    std::ranges::copy(headers, file.bytes.begin() + 14);
    std::vector<TapCandidate> packets(1);
    packets[0].time_ns = 10 * ms;
    packets[0].length = 112;
    packets[0].ethertype = 0x0800;
    packets[0].flow = flow_of_frame(file.frame(0));
    ASSERT_TRUE(packets[0].flow);
    packets[0].flow->destination_port = 6144; // nat redirected it from 6104
    EXPECT_THAT(match_frames(packets, file).frame_of, ::testing::ElementsAre(-1)) << "nothing tells the clock's offset";
    file.frames.push_back(file.frames[0]);
    file.frames.push_back(file.frames[0]);
    file.frames[1].wall_ns = day + 100 * ms;
    file.frames[2].wall_ns = day + 150 * ms;
    packets.resize(3, packets[0]);
    packets[1].time_ns = 100 * ms;
    packets[2].time_ns = 150 * ms;
    packets[1].flow = packets[2].flow = flow_of_frame(file.frame(0));
    EXPECT_THAT(match_frames(packets, file).frame_of, ::testing::ElementsAre(0, 1, 2));
}

TEST(PcapMatch, NothingInCommonMatchesNothing)
{
    std::vector<TapCandidate> packets(1);
    packets[0].length = 1514;
    EXPECT_THAT(match_frames(packets, capture({{day, 60}})).frame_of, ::testing::ElementsAre(-1));
    EXPECT_EQ(match_frames({}, capture({{day, 60}})).matched, 0U);
}

} // namespace
} // namespace skbscope
