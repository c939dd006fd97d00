// Lessons as files: good ones are read, bad ones are refused with their place, hostile ones do no harm.

#include "lessons/reader/lesson.h"

#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>

namespace skbscope {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

/// A lesson folder that goes away with the test.
class Folder {
public:
    Folder()
    {
        const auto* test = testing::UnitTest::GetInstance()->current_test_info();
        path_ = fs::path(testing::TempDir()) / (std::string("skbscope_") + test->name());
        fs::remove_all(path_);
        fs::create_directories(path_ / "lesson");
        write("lesson/scenario.yaml", "hosts: []\n");
    }
    ~Folder()
    {
        std::error_code ignored;
        fs::remove_all(path_, ignored);
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    void write(const std::string& name, const std::string& text) const
    {
        std::ofstream(path_ / name, std::ios::binary) << text;
    }
    [[nodiscard]] fs::path lesson() const { return path_ / "lesson"; }
    [[nodiscard]] fs::path root() const { return path_; }

private:
    fs::path path_;
};

const std::string head = "---\ntitle: T\nsummary: S\nkernel: \"6.1\"\nscenario: scenario.yaml\n---\n";
const std::string step = "## One\n\nText.\n\n```stop\nat: packet 1 enters ip_rcv\n```\n";

/// The one error of a lesson with that text; fails the test if it loads.
std::string error_of(const std::string& text)
{
    const Folder folder;
    folder.write("lesson/lesson.md", text);
    const auto lesson = load_lesson(folder.lesson());
    EXPECT_FALSE(lesson) << text;
    return lesson ? "" : lesson.error().describe();
}

TEST(LessonReader, ReadsAWholeLesson)
{
    const Folder folder;
    folder.write("lesson/lesson.md", head + R"(
# T

## First step

Some *text* with `code`.

```text
kept
```

```stop
at: packet 1 enters ip_rcv
rooms: [ip_rcv, rx_ring]
functions: ip_rcv
unfold: [skb, journey]
```

```question
ask: What now?
choices:
  - text: this
    right: true
    because: it is so
  - text: that
    because: it is not
proof: delivered == 1
```

## Second step

More.

```stop
at: end
select: 3
```

```experiment
try: Turn it down.
knobs:
  ":5001.SO_RCVBUF": 4608
do:
  - send_burst
  - send_one: 3
goal: dropped(SOCKET_RCVBUFF) > 0
after: Well done.
fresh: false
```
)");
    const auto lesson = load_lesson(folder.lesson());
    ASSERT_TRUE(lesson) << lesson.error().describe();
    EXPECT_EQ(lesson->id, "lesson");
    EXPECT_EQ(lesson->title, "T");
    EXPECT_TRUE(lesson->uses_model());
    EXPECT_EQ(lesson->driver().filename(), "scenario.yaml");
    ASSERT_EQ(lesson->steps.size(), 2U);
    const LessonStep& first = lesson->steps[0];
    EXPECT_EQ(first.title, "First step");
    EXPECT_THAT(first.body, HasSubstr("Some *text*"));
    EXPECT_THAT(first.body, HasSubstr("kept"));
    EXPECT_THAT(first.body, testing::Not(HasSubstr("What now")));
    EXPECT_EQ(first.stop.kind, Stop::Kind::packet_enters);
    EXPECT_EQ(first.rooms.size(), 2U);
    EXPECT_EQ(first.functions.size(), 1U);
    EXPECT_EQ(first.select, static_cast<PacketId>(1));
    ASSERT_TRUE(first.question);
    EXPECT_EQ(first.question->correct_index(), 0U);
    EXPECT_FALSE(first.question->proof.empty());
    const LessonStep& second = lesson->steps[1];
    EXPECT_EQ(second.select, static_cast<PacketId>(3));
    ASSERT_TRUE(second.experiment);
    EXPECT_EQ(second.experiment->knobs.at(0).key, ":5001.SO_RCVBUF");
    EXPECT_EQ(second.experiment->knobs.at(0).value, 4608);
    EXPECT_EQ(second.experiment->actions.at(1).times, 3U);
    EXPECT_FALSE(second.experiment->from_start);
    EXPECT_TRUE(check_lesson(folder.lesson()).empty());
}

TEST(LessonReader, ErrorsNameLineAndColumn)
{
    EXPECT_THAT(error_of(head + "\n## One\n\nText.\n\n```stop\nat: packet 1 enters ip_rvc\n```\n"),
                HasSubstr("lesson.md:13:5: no function 'ip_rvc' (did you mean ip_rcv?)"));
    EXPECT_THAT(error_of(head + "\n## One\n\nText.\n\n```stop\nat: begin\nrooms: [ip_rcv, cellar]\n```\n"),
                HasSubstr("lesson.md:14:17: no room 'cellar'"));
    EXPECT_THAT(error_of("---\ntitle: T\nscenario: scenario.yaml\ncolour: red\n---\n" + step),
                HasSubstr("lesson.md:4:1: the front matter has no 'colour'"));
}

TEST(LessonReader, EveryBrokenPieceIsRefused)
{
    EXPECT_THAT(error_of(""), HasSubstr("front matter is missing"));
    EXPECT_THAT(error_of("---\ntitle: T\n"), HasSubstr("does not end"));
    EXPECT_THAT(error_of("---\ntitle: T\n---\n" + step), HasSubstr("names nothing to play"));
    EXPECT_THAT(error_of("---\nscenario: scenario.yaml\n---\n" + step), HasSubstr("no title"));
    EXPECT_THAT(error_of("---\ntitle: [\n---\n" + step), HasSubstr("lesson.md:"));
    EXPECT_THAT(error_of("---\ntitle: T\ntitle: U\nscenario: scenario.yaml\n---\n" + step),
                HasSubstr("there twice"));
    EXPECT_THAT(error_of(head), HasSubstr("no steps"));
    EXPECT_THAT(error_of(head + "words\n" + step), HasSubstr("text before the first step"));
    EXPECT_THAT(error_of(head + "## One\n```stop\nat: begin\n"), HasSubstr("does not end"));
    EXPECT_THAT(error_of(head + "## One\n```stop\nrooms: ip_rcv\n```\n"), HasSubstr("does not say where"));
    EXPECT_THAT(error_of(head + "## One\n```stop\nat: soon\n```\n"), HasSubstr("not understood"));
    EXPECT_THAT(error_of(head + step + "```stop\nat: end\n```\n"), HasSubstr("two stops"));
    EXPECT_THAT(
        error_of(
            head + step +
            "```question\nask: Q\nchoices:\n  - text: a\n    because: b\n  - text: c\n    because: d\n```\n"),
        HasSubstr("no right answer"));
    EXPECT_THAT(error_of(head + step +
                         "```question\nask: Q\nchoices:\n  - text: a\n    right: true\n    because: b\n  - "
                         "text: c\n    right: true\n    because: d\n```\n"),
                HasSubstr("several right answer"));
    EXPECT_THAT(error_of(head + step + "```experiment\ntry: it\nknobs: {a: b}\ngoal: sent == 1\n```\n"),
                HasSubstr("not a whole number"));
    EXPECT_THAT(error_of(head + step + "```experiment\ntry: it\ndo: x\n```\n"), HasSubstr("no goal"));
    EXPECT_THAT(error_of(head + step + "```experiment\ntry: it\ndo:\n  - x: 100000\ngoal: sent == 1\n```\n"),
                HasSubstr("1 to 1000 times"));
}

TEST(LessonReader, NoFileOutsideTheFolderIsTouched)
{
    const auto refused = [](const std::string& name) {
        return error_of("---\ntitle: T\nscenario: " + name + "\n---\n" + step);
    };
    EXPECT_THAT(refused("/etc/passwd"), HasSubstr("leaves the lesson's folder"));
    EXPECT_THAT(refused("../../../../etc/passwd"), HasSubstr("leaves the lesson's folder"));
    EXPECT_THAT(refused("nothing.yaml"), HasSubstr("there is no file"));
    EXPECT_THAT(refused("."), HasSubstr("leaves the lesson's folder"));
}

TEST(LessonReader, LinksOutOfTheFolderAreRefused)
{
    const Folder folder;
    folder.write("outside.yaml", "hosts: []\n");
    fs::create_symlink(folder.root() / "outside.yaml", folder.lesson() / "link.yaml");
    folder.write("lesson/lesson.md", "---\ntitle: T\nscenario: link.yaml\n---\n" + step);
    const auto lesson = load_lesson(folder.lesson());
    ASSERT_FALSE(lesson);
    EXPECT_THAT(lesson.error().what, HasSubstr("leaves the lesson's folder"));

    fs::remove(folder.lesson() / "lesson.md");
    folder.write("other.md", head + step);
    fs::create_symlink(folder.root() / "other.md", folder.lesson() / "lesson.md");
    EXPECT_THAT(load_lesson(folder.lesson()).error().what, HasSubstr("link that leaves"));
}

TEST(LessonReader, HostileTextsAreRefusedQuickly)
{
    EXPECT_THAT(error_of(head + "## One\n\x1b]0;evil\x07\n"), HasSubstr("control character"));
    EXPECT_THAT(error_of(std::string(2 << 20, 'a')), HasSubstr("larger than 1 MiB"));
    EXPECT_FALSE(error_of("---\ntitle: " + std::string(50000, '[') + "\n---\n").empty());
    EXPECT_FALSE(error_of("---\na: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n---\n").empty());
    std::string many = head;
    for (int i = 0; i < 300; ++i) {
        many += step;
    }
    EXPECT_THAT(error_of(many), HasSubstr("too many steps"));
}

TEST(LessonReader, MissingFoldersAndFilesAreNamed)
{
    const Folder folder;
    EXPECT_EQ(load_lesson(folder.root() / "nowhere").error().kind, ErrorKind::not_found);
    EXPECT_THAT(load_lesson(folder.lesson()).error().what, HasSubstr("no lesson.md"));
    EXPECT_EQ(check_lesson(folder.lesson()).size(), 1U);
    EXPECT_TRUE(list_lessons(folder.root() / "nowhere").empty());
}

TEST(LessonReader, CheckTellsAllProblemsInTheOrderOfTheFile)
{
    const Folder folder;
    folder.write("lesson/lesson.md", head + "## One\n\nText.\n\n```stop\nat: packet 1 enters ip_rvc\nrooms: "
                                            "[cellar]\n```\n\n## Two\n\nText.\n");
    const auto findings = check_lesson(folder.lesson());
    ASSERT_EQ(findings.size(), 3U);
    EXPECT_THAT(findings[0].text, HasSubstr("ip_rvc"));
    EXPECT_THAT(findings[1].text, HasSubstr("cellar"));
    EXPECT_EQ(findings[2].severity, Finding::Severity::warning);
    EXPECT_THAT(findings[2].describe(), HasSubstr("warning: step 'Two' does not say where to stop"));
}

TEST(LessonReader, ListsAndFindsLessons)
{
    const Folder folder;
    for (const char* name : {"02-b", "01-a", "01-a-real"}) {
        fs::create_directories(folder.root() / name);
        folder.write(std::string(name) + "/scenario.yaml", "hosts: []\n");
        folder.write(std::string(name) + "/lesson.md", head + step);
    }
    folder.write("02-b/lesson.md", "broken");
    const auto entries = list_lessons(folder.root());
    ASSERT_EQ(entries.size(), 3U);
    EXPECT_EQ(entries[0].id, "01-a");
    EXPECT_FALSE(entries[0].error);
    EXPECT_TRUE(entries[2].error);
    EXPECT_EQ(find_lesson(folder.root(), "01")->filename(), "01-a");
    EXPECT_EQ(find_lesson(folder.root(), "01-a-real")->filename(), "01-a-real");
    const auto unknown = find_lesson(folder.root(), "99");
    ASSERT_FALSE(unknown);
    EXPECT_THAT(unknown.error().remedy, HasSubstr("01-a-real"));
}

} // namespace
} // namespace skbscope
