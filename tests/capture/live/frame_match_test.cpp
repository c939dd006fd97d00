// Which frame is which packet's, by time, length, flow and order.

#include "capture/live/frame_match.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace skbscope {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

constexpr std::int64_t offset = 1'000'000'000'000;

LiveFrame frame_at(std::uint64_t time_ns, std::uint32_t length, std::uint8_t mark)
{
    return {static_cast<std::int64_t>(time_ns) + offset, length, 0, {mark}};
}

std::vector<std::pair<std::uint32_t, int>> pairs(const std::vector<FrameMatch::Match>& matches)
{
    std::vector<std::pair<std::uint32_t, int>> result;
    for (const auto& match : matches) {
        result.emplace_back(match.slot, match.frame.bytes.front());
    }
    return result;
}

TEST(FrameMatch, GivesEachPacketTheFrameOfItsTimeAndLength)
{
    FrameMatch match(offset);
    match.add(frame_at(5'000'000, 60, 1));
    match.add(frame_at(5'001'000, 106, 2));
    match.add(LivePassage{7, 5'000'500, 5'001'500, 106, {}});
    EXPECT_THAT(pairs(match.match_until(6'000'000)), ElementsAre(Pair(7, 2)));
}

TEST(FrameMatch, KeepsTheOrderOfEqualOnes)
{
    FrameMatch match(offset);
    for (std::uint8_t i = 0; i < 3; ++i) {
        match.add(frame_at(5'000'000 + 1000U * i, 106, i));
        match.add(LivePassage{10U + i, 4'999'000 + 1000U * i, 5'000'500 + 1000U * i, 106, {}});
    }
    EXPECT_THAT(pairs(match.match_until(6'000'000)), ElementsAre(Pair(10, 0), Pair(11, 1), Pair(12, 2)));
}

TEST(FrameMatch, GivesNoFrameThatIsFromAnotherTime)
{
    FrameMatch match(offset);
    match.add(frame_at(900'000'000, 106, 1));
    match.add(LivePassage{7, 5'000'000, 5'001'000, 106, {}});
    EXPECT_THAT(match.match_until(6'000'000), IsEmpty());
    EXPECT_EQ(match.passages_without(), 1U);
}

TEST(FrameMatch, WaitsForTheTimeThatItIsAskedFor)
{
    FrameMatch match(offset);
    match.add(LivePassage{7, 5'000'000, 5'001'000, 106, {}});
    EXPECT_THAT(match.match_until(4'000'000), IsEmpty());
    match.add(frame_at(5'000'500, 106, 1)); // the capture hands frames on a little later
    EXPECT_THAT(pairs(match.match_until(6'000'000)), ElementsAre(Pair(7, 1)));
}

TEST(FrameMatch, GivesFramesUpThatNoPacketHasComeForInASecond)
{
    FrameMatch match(offset);
    match.add(frame_at(5'000'000, 106, 1));
    (void)match.match_until(500'000'000);
    EXPECT_EQ(match.frames_without(), 0U);
    (void)match.match_until(1'100'000'000);
    EXPECT_EQ(match.frames_without(), 1U);
}

} // namespace
} // namespace skbscope
