// Pages wait in memory and in a file, and come back in the order in which they came, none missing.

#include "capture/live/page_spool.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <gtest/gtest.h>
#include <memory>
#include <thread>
#include <unistd.h>

namespace skbscope {
namespace {

using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;
File temporary_file() { return {std::tmpfile(), &std::fclose}; }

constexpr std::size_t page_bytes = 8; ///< in these tests, and as many for what stands before it
constexpr std::size_t in_a_piece = 16;
constexpr std::size_t piece_bytes = 2 * page_bytes * in_a_piece;

PageSpool::Room small_room(int file, std::uint64_t pieces_in_file)
{
    return {.memory = 4 * piece_bytes, .file = file, .file_bytes = pieces_in_file * piece_bytes, .piece = piece_bytes, .at_hand = piece_bytes};
}

bool push_number(PageSpool& spool, std::uint64_t number)
{
    std::uint8_t bytes[page_bytes];
    std::memcpy(bytes, &number, sizeof bytes);
    return spool.push(static_cast<std::uint32_t>(number % 3), bytes);
}

/// Expects that the next pages are the numbers from `next` on.
void expect_numbers(const PageSpool::Batch& batch, std::uint64_t& next)
{
    for (const SpooledPage& page : batch.pages) {
        ASSERT_EQ(page.bytes.size(), page_bytes);
        std::uint64_t number = 0;
        std::memcpy(&number, page.bytes.data(), sizeof number);
        ASSERT_EQ(number, next);
        ASSERT_EQ(page.source, next % 3);
        ++next;
    }
}

TEST(PageSpool, IsFullAtItsLimitAndEmptyWhenTaken)
{
    PageSpool spool({.memory = 10});
    EXPECT_TRUE(spool.has_room());
    EXPECT_TRUE(spool.push(0, std::vector<std::uint8_t>(10)));
    EXPECT_FALSE(spool.has_room());
    spool.set_horizon(5);
    const auto batch = spool.take(1000);
    EXPECT_EQ(batch.pages.size(), 1U);
    EXPECT_EQ(batch.horizon_ns, 5U);
    EXPECT_FALSE(batch.more);
    EXPECT_FALSE(batch.ended);
    EXPECT_TRUE(spool.has_room());
    EXPECT_EQ(spool.waiting(), 0U);
    spool.close();
    EXPECT_TRUE(spool.take(1000).ended);
}

TEST(PageSpool, GivesAHorizonOnlyWithAllThatCameBeforeIt)
{
    PageSpool spool({.memory = 1000});
    (void)push_number(spool, 0);
    spool.set_horizon(5);
    (void)push_number(spool, 1);
    (void)push_number(spool, 2);
    spool.set_horizon(9);
    spool.close();
    const auto first = spool.take(4 * page_bytes);
    EXPECT_EQ(first.pages.size(), 1U);
    EXPECT_EQ(first.horizon_ns, 5U) << "what follows was recorded before 9, too";
    EXPECT_TRUE(first.more);
    EXPECT_FALSE(first.ended);
    const auto second = spool.take(1000);
    EXPECT_EQ(second.pages.size(), 2U);
    EXPECT_EQ(second.horizon_ns, 9U);
    EXPECT_TRUE(second.ended);
}

TEST(PageSpool, DoesNotGrowWhileNothingComes)
{
    PageSpool spool({.memory = 1000});
    for (std::uint64_t time = 1; time <= 1000; ++time) {
        spool.set_horizon(time);
    }
    EXPECT_LE(spool.waiting(), 2 * page_bytes);
    EXPECT_EQ(spool.take(1000).horizon_ns, 1000U);
    spool.set_horizon(1001); // the one before has been read
    EXPECT_EQ(spool.take(1000).horizon_ns, 1001U);
}

TEST(PageSpool, KnowsHowFullItIs)
{
    constexpr std::size_t memory = 1U << 20;
    const File file = temporary_file();
    ASSERT_TRUE(file);
    for (const std::uint64_t in_file : {std::uint64_t{0}, std::uint64_t{memory}}) {
        PageSpool spool({.memory = memory, .file = in_file != 0 ? fileno(file.get()) : -1, .file_bytes = in_file});
        EXPECT_EQ(spool.filled(), 0);
        while (spool.waiting() < memory / 2) {
            ASSERT_TRUE(push_number(spool, 1));
        }
        EXPECT_NEAR(spool.filled(), in_file != 0 ? 0.25 : 0.5, 0.01);
        while (spool.waiting() < 3 * memory) {
            ASSERT_TRUE(push_number(spool, 1)); // whoever does not ask has_room() first may fill it further
        }
        EXPECT_EQ(spool.filled(), 1);
    }
}

TEST(PageSpool, MovesWhatWaitsIntoItsFileAndGivesAllOfItBackInOrder)
{
    const File file = temporary_file();
    ASSERT_TRUE(file);
    PageSpool spool(small_room(fileno(file.get()), 100));
    for (int round = 0; round < 3; ++round) {
        for (std::uint64_t number = 0; number < 200; ++number) {
            ASSERT_TRUE(spool.has_room());
            ASSERT_TRUE(push_number(spool, number));
            while (spool.spill()) {
            }
        }
        std::uint64_t next = 0;
        for (bool more = true; more;) {
            const auto batch = spool.take(140);
            EXPECT_LE(batch.pages.size(), 9U);
            EXPECT_EQ(batch.unreadable, 0U);
            expect_numbers(batch, next);
            more = batch.more;
        }
        EXPECT_EQ(next, 200U);
        EXPECT_EQ(spool.waiting(), 0U);
    }
    // Places in the file are used again: the second and third round need no more than the first.
    EXPECT_LE(lseek(fileno(file.get()), 0, SEEK_END), static_cast<off_t>((200 / in_a_piece + 1) * piece_bytes));
}

TEST(PageSpool, OfWhichMemoryAndFileAreFullHasNoRoomAndLosesNothing)
{
    const File file = temporary_file();
    ASSERT_TRUE(file);
    PageSpool spool(small_room(fileno(file.get()), 2));
    std::uint64_t pushed = 0;
    for (; spool.has_room(); ++pushed) {
        ASSERT_LT(pushed, 1000U);
        ASSERT_TRUE(push_number(spool, pushed));
        while (spool.spill()) {
        }
    }
    EXPECT_GE(pushed, 5 * in_a_piece);
    std::uint64_t next = 0;
    expect_numbers(spool.take(100'000), next);
    EXPECT_EQ(next, pushed);
    EXPECT_TRUE(spool.has_room());
}

TEST(PageSpool, WhoseFileCannotBeWrittenKeepsAllInMemory)
{
    const File file{std::fopen("/dev/full", "r+"), &std::fclose};
    ASSERT_TRUE(file);
    PageSpool spool(small_room(fileno(file.get()), 100));
    for (std::uint64_t number = 0; number < 3 * in_a_piece; ++number) {
        ASSERT_TRUE(push_number(spool, number));
        EXPECT_FALSE(spool.spill());
    }
    std::uint64_t next = 0;
    expect_numbers(spool.take(100'000), next);
    EXPECT_EQ(next, 3 * in_a_piece);
}

TEST(PageSpool, CountsPagesThatItsFileDoesNotGiveBackAndGoesOn)
{
    const File file = temporary_file();
    ASSERT_TRUE(file);
    PageSpool spool(small_room(fileno(file.get()), 100));
    for (std::uint64_t number = 0; number < 4 * in_a_piece; ++number) {
        ASSERT_TRUE(push_number(spool, number));
        while (spool.spill()) {
        }
    }
    ASSERT_EQ(ftruncate(fileno(file.get()), 0), 0);
    const auto batch = spool.take(100'000);
    EXPECT_GT(batch.unreadable, 0U);
    EXPECT_EQ(batch.pages.size() + batch.unreadable, 4 * in_a_piece);
    EXPECT_FALSE(batch.more);
    EXPECT_EQ(spool.waiting(), 0U);
}

TEST(PageSpool, LosesNothingBetweenItsThreeThreads)
{
    const File file = temporary_file();
    ASSERT_TRUE(file);
    PageSpool spool(small_room(fileno(file.get()), 10'000));
    constexpr std::uint64_t all = 5'000;
    const std::jthread tender([&](const std::stop_token& stop) { spool.tend(stop); });
    const std::jthread pusher([&] {
        for (std::uint64_t number = 0; number < all;) {
            if (!spool.has_room()) {
                std::this_thread::yield();
                continue;
            }
            if (push_number(spool, number)) {
                ++number;
            }
            if (number % 10 == 0) {
                spool.set_horizon(number);
            }
        }
        spool.close();
    });
    std::uint64_t next = 0;
    for (bool ended = false; !ended;) {
        const auto batch = spool.take(300);
        EXPECT_GE(next + batch.pages.size(), batch.horizon_ns);
        expect_numbers(batch, next);
        ASSERT_FALSE(HasFatalFailure());
        ended = batch.ended;
    }
    EXPECT_EQ(next, all);
    EXPECT_EQ(spool.waiting(), 0U);
}

} // namespace
} // namespace skbscope
