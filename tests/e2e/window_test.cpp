// The window, started as a person would: a picture of it without a display, and the real thing on a virtual
// one.

#include "tests/e2e/lessons.h"
#include "tests/e2e/program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace skbscope::e2e {
namespace {

using testing::HasSubstr;

/// Width and height as the PNG's header gives them.
std::pair<unsigned, unsigned> png_size(const std::string& png)
{
    if (png.size() < 24 || !png.starts_with("\x89PNG\r\n")) {
        return {0, 0};
    }
    const auto number_at = [&](std::size_t at) {
        unsigned value = 0;
        for (std::size_t i = 0; i < 4; ++i) {
            value = value << 8 | static_cast<unsigned char>(png[at + i]);
        }
        return value;
    };
    return {number_at(16), number_at(20)};
}

const RunOptions no_display{.environment = {"DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"}};

TEST(Window, WritesAPictureOfTheFirstLessonWithoutADisplay)
{
    const TemporaryFolder out;
    const auto outcome = skbscope({"--shot", out / "lesson.png"}, no_display);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_EQ(outcome.err, "");
    EXPECT_EQ(png_size(read_file(out / "lesson.png")), std::pair(1600U, 900U));
}

TEST(Window, PicturesDifferByThemeAndByMoment)
{
    const TemporaryFolder out;
    const auto shot = [&](const std::string& name, std::vector<std::string> more) {
        more.insert(more.begin(), {"--shot", out / name, "--size", "1280x720"});
        more.push_back(lesson_folder("01").string());
        const auto outcome = skbscope(more, no_display);
        EXPECT_EQ(outcome.status, 0) << outcome.err;
        return read_file(out / name);
    };
    const auto light = shot("light.png", {"--theme", "light"});
    const auto dark = shot("dark.png", {"--theme", "dark"});
    const auto later = shot("later.png", {"--theme", "light", "--step", "3"});
    EXPECT_EQ(png_size(light), std::pair(1280U, 720U));
    EXPECT_NE(light, dark);
    EXPECT_NE(light, later);
    EXPECT_EQ(light, shot("again.png", {"--theme", "light"})) << "the same request gives the same picture";
}

TEST(Window, AScaledPictureHasTheAskedSizeToo)
{
    const TemporaryFolder out;
    const auto outcome = skbscope(
        {"--shot", out / "large.png", "--size", "1600x1000", "--scale", "1.25", lesson_folder("01").string()},
        no_display);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_EQ(png_size(read_file(out / "large.png")), std::pair(1600U, 1000U));
    EXPECT_EQ(skbscope({"--scale", "9"}, no_display).status, 2);
}

TEST(Window, WithoutADisplaySaysSoInOneLine)
{
    const auto outcome = skbscope({lesson_folder("01").string()}, no_display);
    EXPECT_EQ(outcome.status, 4);
    EXPECT_EQ(outcome.lines_on_stderr(), 1) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("--shot"));
}

TEST(Window, LeavesNoPictureWhenTheFileIsBad)
{
    const TemporaryFolder out;
    const auto outcome = skbscope({"--shot", out / "lesson.png", out / "missing.pcap"}, no_display);
    EXPECT_EQ(outcome.status, 3);
    EXPECT_EQ(outcome.lines_on_stderr(), 1) << outcome.err;
    EXPECT_TRUE(out.names().empty());
}

TEST(Window, StandsOnAVirtualDisplay)
{
    if (!is_installed("xvfb-run")) {
        GTEST_SKIP() << "xvfb is not installed";
    }
    const TemporaryFolder out;
    // --platform xcb: through the X server, and not offscreen as --shot would choose.
    const auto outcome =
        run_program({"xvfb-run", "--auto-servernum", "--server-args=-screen 0 1600x900x24", SKBSCOPE_PROGRAM,
                     "--platform", "xcb", "--shot", out / "lesson.png"},
                    {.environment = {"LSAN_OPTIONS=suppressions=" + source_file("tests/lsan.supp")}});
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_EQ(png_size(read_file(out / "lesson.png")), std::pair(1600U, 900U));
}

} // namespace
} // namespace skbscope::e2e
