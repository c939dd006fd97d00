// The fuzzer's run, short and always the same.

#include "tests/fuzz/frames.h"

#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

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
        input.front() %= 12; // the crowded machine has a test of its own
        for (std::size_t at = 3; at + 1 < input.size(); at += 41) {
            input[at] %= 37; // short ones among them
            input[at + 1] = 0;
        }
        EXPECT_EQ(run_frames(input, frames), "");
    }
}

/// Each of them once failed: a CPU took from a queue what another, whose clock was ahead, had yet to put there.
TEST(AnyFrame, OfAnInputThatOnceBrokeItIsNoTroubleAnyMore)
{
    std::uint64_t frames = 0;
    for (const auto& found : std::filesystem::directory_iterator(SKBSCOPE_SOURCE_DIR "/tests/data/fuzz")) {
        std::ifstream file(found.path(), std::ios::binary);
        const std::vector<std::uint8_t> input{std::istreambuf_iterator<char>(file), {}};
        EXPECT_EQ(run_frames(input, frames), "") << found.path();
    }
    EXPECT_GT(frames, 20U);
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

/// Seeds by which a tap closed on a CPU whose clock was behind, and let go what another CPU was yet to queue.
TEST(AnyFrame, OnACrowdedMachineWhoseSettingsAreTurnedMeanwhile)
{
    std::uint64_t frames = 0;
    for (const unsigned seed : {24U, 91U, 96U}) {
        std::mt19937_64 random(seed);
        EXPECT_EQ(run_frames(random_input(random), frames), "") << seed;
    }
    EXPECT_EQ(frames, 3U * 64U);
}

/// Found by the fuzzer: one CPU, its clock behind, completed a datagram with a fragment that another one was yet to queue.
TEST(AnyFrame, AFragmentIsNotTakenBeforeItsCpuHasQueuedIt)
{
    constexpr std::string_view digits =
        "c3e2d2030059691466840100a2c57b0a006443df11d94ac4c2038a3e6f0000d78704008429aa33d5010700088ae87b57b17e23c9"
        "01004385970b0082529115a03301e011be6412bb000083ad05007c7fd5b639f8600b0032effa77835570ada1072a8c350b006bad"
        "8ee47a70bee6dd8d88d8c00300aa0d682ee20200cb9f";
    std::vector<std::uint8_t> input;
    for (std::size_t at = 0; at < digits.size(); at += 2) {
        input.push_back(static_cast<std::uint8_t>(std::stoi(std::string(digits.substr(at, 2)), nullptr, 16)));
    }
    std::uint64_t frames = 0;
    EXPECT_EQ(run_frames(input, frames), "");
    EXPECT_EQ(frames, 14U);
}

} // namespace
} // namespace skbscope::fuzz
