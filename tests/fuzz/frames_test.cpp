// The fuzzer's run, short and always the same.

#include "tests/fuzz/frames.h"

#include <gtest/gtest.h>
#include <random>

namespace skbscope::fuzz {
namespace {

TEST(AnyFrame, EndsInAVerdictWithAReasonAndTheAccountCloses)
{
    std::mt19937_64 random(20);
    std::uint64_t frames = 0;
    while (frames < 2000) {
        std::vector<std::uint8_t> input(random() % 600 + 3);
        for (std::uint8_t& byte : input) {
            byte = static_cast<std::uint8_t>(random());
        }
        for (std::size_t at = 1; at + 1 < input.size(); at += 40) {
            input[at] %= 37; // short ones among them
            input[at + 1] = 0;
        }
        EXPECT_EQ(run_frames(input, frames), "");
    }
}

TEST(AnyFrame, TheRealOnesOfEachKindUnchangedToo)
{
    std::uint64_t frames = 0;
    for (unsigned head = 0; head < 64; ++head) {
        const std::uint8_t input[] = {static_cast<std::uint8_t>(head), 0, 0};
        EXPECT_EQ(run_frames(input, frames), "") << head;
    }
    EXPECT_EQ(frames, 64U);
}

} // namespace
} // namespace skbscope::fuzz
