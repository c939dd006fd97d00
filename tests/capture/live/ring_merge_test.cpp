// Records of several buffers in one order, whatever order their pages come in.

#include "capture/live/ring_merge.h"

#include <cstring>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace skbscope {
namespace {

using testing::ElementsAre;

/// A page as the kernel writes it: records of 8 bytes (type, flags, count, pid) at these times.
std::vector<std::uint8_t> page_of(std::uint64_t begin, const std::vector<std::uint64_t>& times, std::int32_t pid)
{
    std::vector<std::uint8_t> page;
    const auto put = [&page](auto number) {
        const auto at = page.size();
        page.resize(at + sizeof number);
        std::memcpy(page.data() + at, &number, sizeof number);
    };
    put(begin);
    put(static_cast<std::uint64_t>(times.size() * 12));
    std::uint64_t before = begin;
    for (const std::uint64_t time : times) {
        put(static_cast<std::uint32_t>(2U | (time - before) << 5));
        put(std::uint16_t{7});
        put(std::uint16_t{0});
        put(pid);
        before = time;
    }
    return page;
}

std::vector<std::uint64_t> times_until(RingMerge& merge, std::uint64_t horizon)
{
    std::vector<std::uint64_t> times;
    merge.take_until(horizon, [&](const RawRecord& record) { times.push_back(record.time_ns); });
    return times;
}

TEST(RingMerge, HandsRecordsOfAllBuffersOnInTheOrderOfTheirTimes)
{
    RingMerge merge({0, 1});
    merge.add({0, page_of(100, {100, 130, 160}, 1)});
    merge.add({1, page_of(110, {110, 120, 170}, 2)});
    EXPECT_THAT(times_until(merge, 1000), ElementsAre(100, 110, 120, 130, 160, 170));
}

TEST(RingMerge, KeepsWhatLiesBehindTheHorizonUntilItMoves)
{
    RingMerge merge({0, 1});
    merge.add({0, page_of(100, {100, 130, 160}, 1)});
    EXPECT_THAT(times_until(merge, 130), ElementsAre(100, 130));
    merge.add({1, page_of(140, {140}, 2)});
    EXPECT_THAT(times_until(merge, 150), ElementsAre(140));
    EXPECT_THAT(times_until(merge, 200), ElementsAre(160));
    EXPECT_EQ(merge.late(), 0U);
}

TEST(RingMerge, GivesARecordThatComesTooLateTheTimeOfTheOneBeforeItAndCountsIt)
{
    RingMerge merge({0, 1});
    merge.add({0, page_of(100, {100, 200}, 1)});
    EXPECT_THAT(times_until(merge, 200), ElementsAre(100, 200));
    merge.add({1, page_of(150, {150, 210}, 2)});
    EXPECT_THAT(times_until(merge, 300), ElementsAre(200, 210));
    EXPECT_EQ(merge.late(), 1U);
}

TEST(RingMerge, FollowsPagesOfOneBufferAndSkipsEmptyAndBrokenOnes)
{
    RingMerge merge({0});
    merge.add({0, page_of(100, {100}, 1)});
    merge.add({0, page_of(100, {}, 1)});
    merge.add({0, {1, 2, 3}});
    merge.add({0, page_of(120, {120, 125}, 1)});
    EXPECT_THAT(times_until(merge, 1000), ElementsAre(100, 120, 125));
    EXPECT_EQ(merge.broken_pages(), 1U);
}

TEST(RingMerge, TellsOfLossBeforeTheRecordThatFollowsIt)
{
    RingMerge merge({0});
    merge.add({0, page_of(100, {100}, 1)});
    auto page = page_of(200, {200}, 1);
    page[8 + 3] = 0x80; // RB_MISSED_EVENTS: some were lost before this page, nobody counted how many
    merge.add({0, std::move(page)});
    std::vector<std::uint64_t> lost;
    merge.take_until(1000, [&](const RawRecord& record) { lost.push_back(record.lost_before); });
    EXPECT_THAT(lost, ElementsAre(0, RawRecord::unknown_loss));
}

} // namespace
} // namespace skbscope
