// Stamps that count cycles become nanoseconds, from moments at which both clocks were read.

#include "capture/live/ring_reader.h"
#include "capture/live/trace_clock.h"

#include <gtest/gtest.h>

namespace skbscope {
namespace {

TEST(TraceClock, TakesNanosecondsAsTheyAre)
{
    TraceClock clock("mono");
    EXPECT_EQ(clock.mono_ns(12345), 12345U);
    const TraceClock::Moment now = clock.note();
    EXPECT_EQ(now.stamp, now.mono_ns);
}

TEST(TraceClock, ReadsCyclesBesideTheKernelsClockAndFindsItsTimesAgain)
{
#if !defined(__x86_64__)
    GTEST_SKIP() << "only x86-64 has that clock";
#endif
    TraceClock clock(cycles_clock);
    const TraceClock::Moment first = clock.note();
    TraceClock::Moment last = first;
    while (last.mono_ns < first.mono_ns + 300'000'000) {
        last = clock.note();
    }
    EXPECT_GT(last.stamp, first.stamp);
    clock.take_notes();
    const auto off = static_cast<std::int64_t>(clock.mono_ns(last.stamp) - last.mono_ns);
    EXPECT_LT(std::abs(off), 50'000) << "a busy machine may come between the two readings";
}

class Cycles : public testing::Test {
protected:
    /// In the far future of the machine's own cycles: 2 a nanosecond, then 4.
    void SetUp() override
    {
        clock_.note({base, base});
        clock_.note({base + 2000, base + 1000});
        clock_.note({base + 6000, base + 2000});
        clock_.take_notes();
    }
    static constexpr std::uint64_t base = std::uint64_t{1} << 60;
    TraceClock clock_{cycles_clock};
};

TEST_F(Cycles, BetweenTwoMomentsLieOnALine)
{
    EXPECT_EQ(clock_.mono_ns(base + 1000), base + 500);
    EXPECT_EQ(clock_.mono_ns(base + 4000), base + 1500);
    EXPECT_EQ(clock_.mono_ns(base + 200), base + 100) << "an earlier one is found again: CPUs are read one after the other";
    EXPECT_EQ(clock_.mono_ns(base + 6000), base + 2000);
}

TEST_F(Cycles, BehindTheLastMomentGoOnAtItsRate)
{
    EXPECT_EQ(clock_.mono_ns(base + 6400), base + 2100);
}

TEST_F(Cycles, StayKnownFromTheTimeOnThatIsStillAskedFor)
{
    clock_.forget_before(base + 1500);
    EXPECT_EQ(clock_.mono_ns(base + 4000), base + 1500);
    clock_.forget_before(base + 5000);
    EXPECT_EQ(clock_.mono_ns(base + 6400), base + 2100) << "the last stretch is never forgotten";
}

TEST(PauseOfTheReader, IsShortWhereLittleComesAndElseLetsAQuarterOfABufferFill)
{
    using std::chrono::milliseconds;
    EXPECT_EQ(pause_after(milliseconds(10), 0.001), milliseconds(10));
    EXPECT_EQ(pause_after(milliseconds(10), 0.001, true), milliseconds(100)) << "nobody waits for it";
    EXPECT_EQ(pause_after(milliseconds(10), 0.125), milliseconds(20));
    EXPECT_EQ(pause_after(milliseconds(10), 0.5), milliseconds(5));
    EXPECT_EQ(pause_after(milliseconds(40), 0.5, true), milliseconds(20)) << "many drops are read as anything else";
    EXPECT_EQ(pause_after(milliseconds(10), 0.02), milliseconds(20)) << "never very long";
    EXPECT_EQ(pause_after(milliseconds(1), 1), milliseconds(1)) << "never so short that it runs after the writer";
}

} // namespace
} // namespace skbscope
