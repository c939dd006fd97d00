// The rule of --budget: what was measured goes in, how long the detail pauses comes out.

#include "capture/live/detail_budget.h"

#include <gtest/gtest.h>

namespace skbscope {
namespace {

constexpr std::uint64_t ms = 1'000'000;

DetailBudget::Stretch stretch_of(std::uint64_t on_ns, double records, double switching_ns = 0)
{
    return {.on_ns = on_ns, .records = records, .making_ns = 100, .own_ns = 100, .switching_ns = switching_ns};
}

TEST(DetailBudget, LetsDetailGoOnWhereItCostsLessThanItsShare)
{
    const DetailBudget budget(0.05, 2); // 5 ms of CPU time in 50 ms
    EXPECT_FALSE(budget.is_over(stretch_of(50 * ms, 9'000)));
    EXPECT_TRUE(budget.is_over(stretch_of(50 * ms, 11'000)));
}

TEST(DetailBudget, PausesUntilTheTimeThatHasPassedIsWorthTheCost)
{
    const DetailBudget budget(0.05, 2);
    // 100 000 records at 100 ns, and the recorder's 100 ns four times, as they disturb: 50 ms of CPU time, which half a second is worth.
    EXPECT_EQ(budget.pause_ns(stretch_of(50 * ms, 100'000)), 450 * ms);
    EXPECT_EQ(DetailBudget(0.05, 4).pause_ns(stretch_of(50 * ms, 100'000)), 200 * ms) << "four CPUs have twice the time";
}

TEST(DetailBudget, CountsTheSwitchingAndSwitchesOnlyWhereThatIsNotMostOfTheCost)
{
    const DetailBudget budget(0.05, 2);
    EXPECT_EQ(budget.pause_ns(stretch_of(50 * ms, 100'000, 5e6)), 650 * ms);
    EXPECT_FALSE(budget.is_worth_switching(stretch_of(50 * ms, 15'000, 5e6)));
    EXPECT_TRUE(budget.is_worth_switching(stretch_of(50 * ms, 100'000, 5e6)));
    EXPECT_TRUE(budget.is_worth_switching(stretch_of(1000 * ms, 15'000, 5e6))) << "it does not go on for ever";
}

TEST(DetailBudget, NeverPausesSoLongThatFewerThanAHundredthOfAFloodHasItsWay)
{
    const DetailBudget budget(0.0001, 1);
    const std::uint64_t pause = budget.pause_ns(stretch_of(50 * ms, 200'000));
    EXPECT_EQ(pause, 50 * ms * DetailBudget::most_pauses);
    // A flood that is slowed down to two fifths while it is recorded.
    EXPECT_GT(0.4 * 50 * ms, 0.01 * (0.4 * 50 * ms + static_cast<double>(pause)));
}

TEST(DetailBudget, BelievesTheTrafficWhereItLosesMoreThanItsRecordsShouldCost)
{
    DetailBudget budget(0.05, 2);
    budget.carried(true, 10'000, 50 * ms);
    EXPECT_EQ(budget.slowdown(), 0) << "nothing to hold it against yet";
    budget.carried(false, 400'000, 1000 * ms);
    EXPECT_DOUBLE_EQ(budget.slowdown(), 0.5);
    // Half of 50 ms instead of 10 ms.
    EXPECT_DOUBLE_EQ(budget.cost_ns(stretch_of(50 * ms, 100'000)), 25e6 + 4 * 10e6);
    budget.carried(true, 1'000'000, 50 * ms);
    EXPECT_EQ(budget.slowdown(), 0) << "traffic that does not wait for a CPU loses nothing";
    EXPECT_DOUBLE_EQ(budget.cost_ns(stretch_of(50 * ms, 100'000)), 10e6 + 4 * 10e6);
}

} // namespace
} // namespace skbscope
