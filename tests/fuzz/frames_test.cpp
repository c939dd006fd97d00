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
    while (frames < 1000) {
        std::vector<std::uint8_t> input(random() % 600 + 5);
        for (std::uint8_t& byte : input) {
            byte = static_cast<std::uint8_t>(random());
        }
        for (std::size_t at = 3; at + 1 < input.size(); at += 41) {
            input[at] %= 37; // short ones among them
            input[at + 1] = 0;
        }
        EXPECT_EQ(run_frames(input, frames), "");
    }
}

TEST(AnyFrame, TheRealOnesOfEachKindUnchangedToo)
{
    std::uint64_t frames = 0;
    for (unsigned variant = 0; variant < 9; ++variant) {
        std::vector<std::uint8_t> input{static_cast<std::uint8_t>(variant)};
        for (unsigned kind = 0; kind < 40; ++kind) {
            input.insert(input.end(), {static_cast<std::uint8_t>((kind + variant) % 4), static_cast<std::uint8_t>(kind), 0, 0});
        }
        EXPECT_EQ(run_frames(input, frames), "") << variant;
    }
    EXPECT_EQ(frames, 9U * 40U);
}

} // namespace
} // namespace skbscope::fuzz
