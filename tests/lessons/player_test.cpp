// The text player, on a small source that obeys one knob.

#include "lessons/reader/text_player.h"
#include "tests/lessons/small_trace.h"

#include <gmock/gmock.h>
#include <sstream>

namespace skbscope {
namespace {

using testing::HasSubstr;

/// Each send adds one packet, dropped when the knob's limit is reached.
class CountingSource : public Source {
public:
    [[nodiscard]] Kind kind() const override { return Kind::model; }
    [[nodiscard]] std::string title() const override { return "counting"; }
    [[nodiscard]] const Trace& trace() const override { return small_.trace; }
    void advance_to(SimTime t) override { known_ = t; }
    [[nodiscard]] SimTime known_until() const override { return std::max(known_, small_.trace.end_time()); }
    [[nodiscard]] bool exhausted() const override { return true; }
    [[nodiscard]] std::vector<Knob> knobs() const override
    {
        return {{"limit", "Limit", "packets", "", limit_, 0, 100, 10, false}};
    }
    [[nodiscard]] std::vector<Action> actions() const override { return {{"send_one", "Send one", ""}}; }
    Result<void> set_knob(const std::string& key, std::int64_t value, SimTime) override
    {
        if (key != "limit") {
            return fail(ErrorKind::invalid, key, "no such knob");
        }
        limit_ = value;
        return {};
    }
    Result<void> act(const std::string& key, SimTime) override
    {
        if (key != "send_one") {
            return fail(ErrorKind::invalid, key, "no such action");
        }
        const std::uint32_t id = to_index(small_.trace.add_packet({}));
        const std::uint64_t t = small_.trace.end_time().ns + 100;
        small_.put(t, EventKind::birth, id, 1);
        if (++sent_ > limit_) {
            small_.put(t + 1, EventKind::drop, id, to_index(drop::CPU_BACKLOG), fn::enqueue_to_backlog);
        } else {
            small_.put(t + 1, EventKind::verdict, id, static_cast<std::uint32_t>(Verdict::delivered));
        }
        return {};
    }
    void start_over() override
    {
        small_ = test::SmallTrace();
        sent_ = 0;
        limit_ = 10;
        known_ = {};
    }

private:
    test::SmallTrace small_;
    SimTime known_;
    std::int64_t limit_ = 10;
    std::int64_t sent_ = 0;
};

Lesson small_lesson()
{
    Lesson lesson;
    lesson.title = "A small lesson";
    lesson.summary = "Of three packets.";
    LessonStep first;
    first.title = "It arrives";
    first.body = "The packet is in `ip_rcv_core` **now**.";
    first.stop = *parse_stop("packet 1 enters ip_rcv_core");
    first.select = first.stop.packet;
    first.question =
        Question{"What becomes of packet 3?",
                 {{"It waits", "There is no room", false}, {"It is dropped", "The buffer is full", true}},
                 *parse_goal("dropped(SOCKET_RCVBUFF) == 1"),
                 {}};
    LessonStep second;
    second.title = "Drop some";
    second.body = "Now you.";
    second.stop = *parse_stop("end");
    second.experiment = Experiment{"Set the limit to 2 and send 5.",
                                   {{"limit", 2, {}}},
                                   {{"send_one", 5, {}}},
                                   *parse_goal("dropped(CPU_BACKLOG) == 3"),
                                   "Three were one too many.",
                                   true,
                                   {}};
    lesson.steps = {first, second};
    return lesson;
}

TEST(TextPlayer, TellsTextMomentAnswersAndWhatTheExperimentGave)
{
    CountingSource source;
    std::ostringstream out;
    const PlayResult result = play_lesson(small_lesson(), source, out);
    EXPECT_TRUE(result.clean());
    EXPECT_EQ(result.steps, 2U);
    EXPECT_EQ(result.questions, 1U);
    EXPECT_EQ(result.experiments, 1U);
    const std::string text = out.str();
    EXPECT_THAT(text, HasSubstr("1 of 2: It arrives"));
    EXPECT_THAT(text, HasSubstr("The packet is in ip_rcv_core now."));
    EXPECT_THAT(text, HasSubstr("-> packet 1 in ip_rcv_core, CPU 0, softirq"));
    EXPECT_THAT(text, HasSubstr("eth0 RX ring 2"));
    EXPECT_THAT(text, HasSubstr("b) Right. The buffer is full"));
    EXPECT_THAT(text, HasSubstr("the run agrees: dropped(SOCKET_RCVBUFF) 1"));
    EXPECT_THAT(text, HasSubstr("run with limit = 2, send_one x 5: dropped(CPU_BACKLOG) 3"));
    EXPECT_THAT(text, HasSubstr("goal reached"));
    EXPECT_THAT(text, HasSubstr("Three were one too many."));
    EXPECT_EQ(text.find('\x1b'), std::string::npos);
    EXPECT_EQ(source.trace().packet_count(), 3U) << "the player must leave the source as it was";
}

TEST(TextPlayer, MissedStopsGoalsAndProofsAreCountedAndSaid)
{
    Lesson lesson = small_lesson();
    lesson.steps[0].stop = *parse_stop("packet 1 enters ip_forward");
    lesson.steps[0].question->proof = *parse_goal("delivered == 7");
    lesson.steps[1].experiment->knobs[0].value = 9;
    CountingSource source;
    std::ostringstream out;
    const PlayResult result = play_lesson(lesson, source, out);
    EXPECT_FALSE(result.clean());
    EXPECT_EQ(result.stops_missed, 1U);
    EXPECT_EQ(result.proofs_failed, 1U);
    EXPECT_EQ(result.goals_missed, 1U);
    EXPECT_THAT(out.str(), HasSubstr("goal NOT reached"));
}

TEST(TextPlayer, AnUnknownKnobIsAResultNotACrash)
{
    Lesson lesson = small_lesson();
    lesson.steps[1].experiment->knobs[0].key = "nonsense";
    CountingSource source;
    std::ostringstream out;
    EXPECT_EQ(play_lesson(lesson, source, out).goals_missed, 1U);
    EXPECT_THAT(out.str(), HasSubstr("no such knob"));
}

TEST(Markdown, WrapsAtTheWidthAndKeepsCodeAsItIs)
{
    const std::string out =
        render_markdown("A *long* paragraph that must be wrapped at some [place](http://x.y) here.\n\n"
                        "- one\n- two that is a good deal longer than the line\n\n```\na    b\n```\n",
                        30);
    std::istringstream lines(out);
    for (std::string line; std::getline(lines, line);) {
        EXPECT_LE(line.size(), 30U) << line;
    }
    EXPECT_THAT(out, HasSubstr("A long paragraph"));
    EXPECT_THAT(out, HasSubstr("some place here."));
    EXPECT_THAT(out, HasSubstr("  - one\n"));
    EXPECT_THAT(out, HasSubstr("    a    b\n"));
    EXPECT_EQ(out.find('\x1b'), std::string::npos);
    EXPECT_THAT(render_markdown("`x`", 40, true), HasSubstr("\x1b["));
}

TEST(Markdown, SurvivesUnclosedMarks)
{
    EXPECT_THAT(render_markdown("a `b", 40), HasSubstr("a b"));
    EXPECT_THAT(render_markdown("a [b](c", 40), HasSubstr("[b](c"));
    EXPECT_THAT(render_markdown("```\nx", 40), HasSubstr("x"));
    EXPECT_EQ(render_markdown("", 0), "");
    EXPECT_EQ(render_markdown("|", 40), "\n");
}

TEST(Markdown, AStarWithoutItsOtherHalfIsAStar)
{
    EXPECT_EQ(render_markdown("net.ipv4.conf.*.rp_filter is *per* device", 60), "net.ipv4.conf.*.rp_filter is per device\n");
}

TEST(Markdown, ATableStandsInColumns)
{
    EXPECT_EQ(render_markdown("Hooks:\n\n| | in | out |\n|---|---|---|\n| for this host | `yes` | |\n\nThat is all.", 60),
              "Hooks:\n\n"
              "                   in   out\n"
              "    for this host  yes\n\n"
              "That is all.\n");
}

} // namespace
} // namespace skbscope
