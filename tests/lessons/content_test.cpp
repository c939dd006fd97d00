// The lessons themselves: each is read without a finding, and each is played with every stop, proof and goal.

#include "core/recording/recording.h"
#include "core/scenario/model_source.h"
#include "lessons/reader/text_player.h"

#include <gmock/gmock.h>
#include <set>
#include <sstream>

namespace skbscope {
namespace {

namespace fs = std::filesystem;

const fs::path lessons_folder = SKBSCOPE_SOURCE_DIR "/lessons";

Result<std::unique_ptr<Source>> open_driver(const fs::path& driver)
{
    if (driver.extension() == ".yaml") {
        auto scenario = load_scenario(driver);
        if (!scenario) {
            return tl::unexpected(scenario.error());
        }
        return std::make_unique<ModelSource>(std::move(*scenario));
    }
    auto recording = read_recording(driver);
    if (!recording) {
        return tl::unexpected(recording.error());
    }
    EXPECT_EQ(recording->loss, "");
    return std::make_unique<TraceSource>(driver.filename().string(), std::move(recording->trace));
}

class LessonContent : public testing::TestWithParam<std::string> {};

TEST_P(LessonContent, IsReadAndRunWithoutAFinding)
{
    for (const Finding& finding : check_lesson(lessons_folder / GetParam(), open_driver)) {
        ADD_FAILURE() << finding.describe();
    }
}

TEST_P(LessonContent, TeachesInEightToTwelveStepsWithAPredictionAndAnExperiment)
{
    const auto lesson = load_lesson(lessons_folder / GetParam());
    ASSERT_TRUE(lesson) << lesson.error().describe();
    EXPECT_GE(lesson->steps.size(), 8U);
    EXPECT_LE(lesson->steps.size(), 13U);
    EXPECT_FALSE(lesson->summary.empty());
    std::size_t questions = 0;
    std::size_t experiments = 0;
    for (const LessonStep& step : lesson->steps) {
        EXPECT_FALSE(step.rooms.empty()) << step.title;
        if (step.question) {
            ++questions;
            EXPECT_FALSE(step.question->proof.empty()) << step.title;
        }
        experiments += step.experiment ? 1 : 0;
    }
    EXPECT_GE(questions, 1U);
    EXPECT_GE(experiments, 1U);
}

TEST_P(LessonContent, PlaysToItsEndWithEveryStopProofAndGoal)
{
    const auto lesson = load_lesson(lessons_folder / GetParam());
    ASSERT_TRUE(lesson) << lesson.error().describe();
    auto source = open_driver(lesson->driver());
    ASSERT_TRUE(source) << source.error().describe();
    std::ostringstream out;
    const PlayResult result = play_lesson(*lesson, **source, out);
    EXPECT_TRUE(result.clean()) << out.str();
    EXPECT_EQ(result.steps, lesson->steps.size());
    std::istringstream lines(out.str());
    for (std::string line; std::getline(lines, line);) {
        EXPECT_LE(line.size(), 90U) << line; // 80 columns; a few letters take more bytes than columns
    }
}

TEST_P(LessonContent, PlaysTheSameTwice)
{
    const auto lesson = load_lesson(lessons_folder / GetParam());
    ASSERT_TRUE(lesson);
    std::ostringstream first;
    std::ostringstream second;
    auto source = open_driver(lesson->driver());
    auto again = open_driver(lesson->driver());
    ASSERT_TRUE(source && again);
    play_lesson(*lesson, **source, first);
    play_lesson(*lesson, **again, second);
    EXPECT_EQ(first.str(), second.str());
}

INSTANTIATE_TEST_SUITE_P(All, LessonContent,
                         testing::Values("01-a-datagram-arrives", "01-a-datagram-arrives-real",
                                         "02-a-datagram-leaves", "03-rps-and-the-backlog", "04-the-five-hooks", "05-where-did-my-packet-go"),
                         [](const auto& entry) {
                             std::string name = entry.param;
                             std::replace(name.begin(), name.end(), '-', '_');
                             return name;
                         });

TEST(Lessons, EveryFolderIsListedAndTested)
{
    std::set<std::string> ids;
    for (const LessonEntry& entry : list_lessons(lessons_folder)) {
        EXPECT_FALSE(entry.error) << entry.error->describe();
        ids.insert(entry.id);
    }
    EXPECT_EQ(ids, (std::set<std::string>{"01-a-datagram-arrives", "01-a-datagram-arrives-real",
                                          "02-a-datagram-leaves", "03-rps-and-the-backlog", "04-the-five-hooks", "05-where-did-my-packet-go"}));
}

/// The figures that the text of the first lesson states.
TEST(Lessons, TheFirstLessonsFiguresAreThoseOfTheRun)
{
    auto source = open_driver(lessons_folder / "01-a-datagram-arrives" / "scenario.yaml");
    ASSERT_TRUE(source);
    run_to_end(**source);
    const Trace& trace = (*source)->trace();
    ASSERT_EQ(trace.packet_count(), 1U);
    EXPECT_EQ(trace.packet(static_cast<PacketId>(1)).length, 142U);
    EXPECT_EQ(trace.frame(static_cast<PacketId>(1)).size(), 142U);
    EXPECT_TRUE(
        evaluate(
            *parse_goal("truesize(packet 1) == 1280 and interrupts == 1 and calls(e1000_copybreak) == 1"),
            trace)
            .reached);
    const QueueId ring = find_queue(trace, "rx_ring");
    ASSERT_NE(ring, QueueId::none);
    EXPECT_EQ(trace.queue(ring).limit, 256U);
    // Nothing of what the text denies.
    EXPECT_TRUE(
        evaluate(*parse_goal(
                     "calls(enqueue_to_backlog) == 0 and calls(ip_rcv) == 0 and calls(run_ksoftirqd) == 0"),
                 trace)
            .reached);
}

TEST(Lessons, SixtyFourDatagramsOfTheFirstScenarioAreAllDelivered)
{
    auto scenario = load_scenario(lessons_folder / "01-a-datagram-arrives" / "scenario.yaml");
    ASSERT_TRUE(scenario);
    ASSERT_TRUE(apply_setting(*scenario, "count=64"));
    ModelSource source(std::move(*scenario));
    run_to_end(source);
    EXPECT_TRUE(
        evaluate(*parse_goal("born == 64 and delivered == 64 and in_flight == 0"), source.trace()).reached);
}

TEST(Lessons, TheSecondLessonsPortComesFromTheRangeItNames)
{
    auto source = open_driver(lessons_folder / "02-a-datagram-leaves" / "scenario.yaml");
    ASSERT_TRUE(source);
    run_to_end(**source);
    const auto& flow = (*source)->trace().packet(static_cast<PacketId>(1)).flow;
    ASSERT_TRUE(flow);
    EXPECT_GE(flow->source_port, 32768);
    EXPECT_LE(flow->source_port, 60999);
    EXPECT_EQ(flow->destination.text(), "10.99.0.1");
}

} // namespace
} // namespace skbscope
