// Records of several buffers in one order, whatever order their pages come in.

#include "capture/live/ring_merge.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <memory>

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

TEST(PageSpool, IsFullAtItsLimitAndEmptyWhenTaken)
{
    PageSpool spool(10);
    EXPECT_TRUE(spool.has_room());
    spool.push(0, std::vector<std::uint8_t>(10));
    EXPECT_FALSE(spool.has_room());
    spool.set_horizon(5);
    const auto batch = spool.take(1000);
    EXPECT_EQ(batch.pages.size(), 1U);
    EXPECT_EQ(batch.horizon_ns, 5U);
    EXPECT_FALSE(batch.more);
    EXPECT_FALSE(batch.ended);
    EXPECT_TRUE(spool.has_room());
    spool.close();
    EXPECT_TRUE(spool.take(1000).ended);
}

TEST(PageSpool, GivesAHorizonOnlyWithAllThatCameBeforeIt)
{
    PageSpool spool(1000);
    spool.push(0, std::vector<std::uint8_t>(10, 1));
    spool.set_horizon(5);
    spool.push(1, std::vector<std::uint8_t>(10, 2));
    spool.push(0, std::vector<std::uint8_t>(10, 3));
    spool.set_horizon(9);
    spool.close();
    const auto first = spool.take(20);
    EXPECT_EQ(first.pages.size(), 2U);
    EXPECT_EQ(first.horizon_ns, 5U) << "the third page was recorded before 9, too";
    EXPECT_TRUE(first.more);
    EXPECT_FALSE(first.ended);
    const auto second = spool.take(20);
    EXPECT_EQ(second.pages.size(), 1U);
    EXPECT_EQ(second.horizon_ns, 9U);
    EXPECT_TRUE(second.ended);
}

TEST(PageSpool, PutsIntoItsFileWhatMemoryDoesNotHoldAndGivesAllOfItBackInOrder)
{
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::tmpfile(), &std::fclose);
    ASSERT_TRUE(file);
    PageSpool spool(20, fileno(file.get()), 1 << 20);
    for (int round = 0; round < 3; ++round) {
        std::vector<std::uint8_t> came;
        for (std::uint8_t page = 0; page < 200; ++page) {
            EXPECT_TRUE(spool.has_room());
            spool.push(0, std::vector<std::uint8_t>(10, page));
            EXPECT_LE(spool.waiting(), 2000U);
        }
        for (bool more = true; more;) {
            auto batch = spool.take(70);
            EXPECT_LE(batch.pages.size(), 7U);
            for (const auto& page : batch.pages) {
                ASSERT_EQ(page.bytes.size(), 10U);
                came.push_back(page.bytes.back());
            }
            more = batch.more;
        }
        ASSERT_EQ(came.size(), 200U);
        EXPECT_TRUE(std::ranges::is_sorted(came));
        EXPECT_EQ(spool.waiting(), 0U);
    }
}

TEST(PageSpool, OfWhichMemoryAndFileAreFullHasNoRoomAndLosesNothing)
{
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::tmpfile(), &std::fclose);
    ASSERT_TRUE(file);
    PageSpool spool(20, fileno(file.get()), 50);
    std::size_t pushed = 0;
    for (; spool.has_room(); ++pushed) {
        ASSERT_LT(pushed, 100U);
        spool.push(0, std::vector<std::uint8_t>(10, static_cast<std::uint8_t>(pushed)));
    }
    EXPECT_EQ(pushed, 7U);
    const auto batch = spool.take(1000);
    ASSERT_EQ(batch.pages.size(), 7U);
    for (std::size_t page = 0; page < batch.pages.size(); ++page) {
        EXPECT_EQ(batch.pages[page].bytes.front(), page);
    }
    EXPECT_TRUE(spool.has_room());
}

} // namespace
} // namespace skbscope
