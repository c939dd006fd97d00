// Broken recordings: a short run, always the same. drive_recordings is the long one.

#include "tests/fuzz/recordings.h"

#include <gtest/gtest.h>

namespace skbscope::fuzz {
namespace {

TEST(AnyRecording, WholeOnesAreRead)
{
    std::uint64_t kept = 0;
    for (const Recording& one : whole_recordings()) {
        EXPECT_EQ(import_any(one.kind, one.bytes, kept), "") << one.name;
    }
    EXPECT_EQ(kept, whole_recordings().size());
}

TEST(AnyRecording, BrokenItIsRefusedInOneLineOrReadAsASoundTrace)
{
    std::mt19937_64 random(4);
    std::uint64_t kept = 0;
    std::uint64_t tried = 0;
    for (int round = 0; round < 150; ++round) {
        for (const Recording& one : whole_recordings()) {
            const std::string bytes = broken(one.bytes, random);
            ASSERT_EQ(import_any(one.kind, bytes, kept), "") << one.name << ", round " << round;
            ++tried;
        }
    }
    EXPECT_GT(kept, tried / 10);   // else nothing but headers was tried
    EXPECT_LT(kept, tried);
}

TEST(AnyRecording, CutAnywhereItIsRefusedInOneLineOrKeepsWhatIsWhole)
{
    std::uint64_t kept = 0;
    for (const Recording& one : whole_recordings()) {
        for (std::size_t size = 0; size < one.bytes.size(); size += 1 + size / 40) {
            ASSERT_EQ(import_any(one.kind, one.bytes.substr(0, size), kept), "") << one.name << " cut at " << size;
        }
    }
    EXPECT_GT(kept, 0U);
}

} // namespace
} // namespace skbscope::fuzz
