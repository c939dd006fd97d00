// A teacher's way: from something played to a lesson of one's own, step by step, back and forth, and opened again.

#include "tests/ui/window/services.h"
#include "ui/banner.h"
#include "ui/lesson/lesson_editor.h"
#include "ui/lesson/lesson_panel.h"
#include "ui/player/session.h"
#include "ui/rules/code_editor.h"
#include "ui/rules/rules_panel.h"
#include "ui/timeline/timeline_view.h"

#include <QAction>
#include <QFile>
#include <QMenu>
#include <QPushButton>
#include <QTemporaryDir>
#include <QTest>
#include <QUndoStack>
#include <algorithm>
#include <gtest/gtest.h>

namespace skbscope::ui {
namespace {

using test::settle;

QString textOf(const QString& path)
{
    QFile file(path);
    return file.open(QIODevice::ReadOnly) ? QString::fromUtf8(file.readAll()) : QString();
}

struct Desk {
    QTemporaryDir home;
    QString folder = home.filePath("my-first-lesson");
    MainWindow window{test::services()};
    explicit Desk(const char* from = "01-a-datagram-arrives/scenario.yaml")
    {
        window.resize(1600, 900);
        window.show();
        EXPECT_TRUE(window.openNow(QString::fromStdString((test::lessonsFolder() / from).string())));
        settle();
    }
    [[nodiscard]] Session& session() const { return *window.session(); }
    [[nodiscard]] LessonEditor& editor() const { return *window.lessonEditor(); }
    [[nodiscard]] QString file() const { return textOf(folder + "/lesson.md"); }
    void at(const char* function) const
    {
        session().selectPacket(PacketId{1});
        session().toBegin();
        session().seekToFunction(Catalog::find_function(function));
        settle();
    }
};

TEST(Teacher, BeginsALessonOfOnesOwnFromTheMomentShownAndPlaysIt)
{
    Desk desk;
    desk.session().toEnd();
    desk.at("ip_rcv_core");
    const SimTime moment = desk.session().now();
    ASSERT_TRUE(desk.window.writeLessonTo(desk.folder)) << desk.window.banner()->words().toStdString();
    settle();
    const Lesson* lesson = desk.window.lessonPanel()->lesson();
    ASSERT_NE(lesson, nullptr);
    EXPECT_EQ(lesson->title, "My first lesson");
    ASSERT_EQ(lesson->steps.size(), 1U);
    EXPECT_EQ(lesson->steps[0].stop.function, "ip_rcv_core");
    EXPECT_EQ(desk.session().now(), moment);
    EXPECT_TRUE(desk.editor().isVisible()) << "one writes on at once";
    EXPECT_TRUE(desk.window.checkLesson()) << desk.window.banner()->words().toStdString();
    EXPECT_FALSE(desk.window.writeLessonTo(desk.folder)) << "it does not write over a lesson";
}

TEST(Teacher, AddsMomentsTakesThemBackAndOpensItAgain)
{
    Desk desk;
    desk.session().toEnd();
    desk.at("ip_rcv_core");
    ASSERT_TRUE(desk.window.writeLessonTo(desk.folder));
    const QString one = desk.file();
    desk.session().toEnd();
    desk.at("udp_rcv");
    const SimTime later = desk.session().now();
    QTest::keyClick(&desk.window, Qt::Key_A, Qt::ControlModifier | Qt::ShiftModifier);
    settle();
    EXPECT_EQ(desk.window.lessonPanel()->stepCount(), 2);
    EXPECT_EQ(desk.window.lessonPanel()->step(), 1) << "the new step is the one shown";
    EXPECT_EQ(desk.session().now(), later);
    const QString two = desk.file();
    EXPECT_NE(two, one);

    // Between the two.
    desk.window.lessonPanel()->goTo(0);
    desk.session().toEnd();
    desk.at("ip_local_deliver");
    ASSERT_TRUE(desk.window.addLessonStep());
    settle();
    ASSERT_EQ(desk.window.lessonPanel()->stepCount(), 3);
    EXPECT_EQ(desk.window.lessonPanel()->lesson()->steps[1].stop.function, "ip_local_deliver");
    EXPECT_EQ(desk.window.lessonPanel()->step(), 1);
    EXPECT_TRUE(desk.window.checkLesson()) << desk.window.banner()->words().toStdString();
    const QString three = desk.file();

    desk.window.undoStack()->undo();
    settle();
    EXPECT_EQ(desk.file(), two);
    EXPECT_EQ(desk.window.lessonPanel()->stepCount(), 2);
    desk.window.undoStack()->undo();
    EXPECT_EQ(desk.file(), one);
    desk.window.undoStack()->redo();
    desk.window.undoStack()->redo();
    EXPECT_EQ(desk.file(), three);

    desk.window.closeSource();
    ASSERT_TRUE(desk.window.openNow(desk.folder + "/lesson.md"));
    EXPECT_EQ(desk.window.lessonPanel()->stepCount(), 3);
    desk.window.lessonPanel()->goTo(2);
    EXPECT_EQ(desk.session().now(), later);
}

TEST(Teacher, WhatIsTypedIsKeptAndShownAndWhatDoesNotReadIsMarkedAndKeptToo)
{
    Desk desk;
    ASSERT_TRUE(desk.window.writeLessonTo(desk.folder));
    settle();
    QString words = desk.editor().editor()->toPlainText();
    words.replace("title: \"My first lesson\"", "title: Where IP looks first");
    desk.editor().editor()->setPlainText(words);
    ASSERT_TRUE(desk.editor().keep());
    EXPECT_EQ(desk.window.lessonPanel()->lesson()->title, "Where IP looks first");
    EXPECT_EQ(desk.file(), words);

    QString wrong = words;
    wrong.replace("at: ", "at: nowhere ");
    desk.editor().editor()->setPlainText(wrong);
    ASSERT_TRUE(desk.editor().keep());
    ASSERT_TRUE(desk.editor().editor()->fault());
    EXPECT_TRUE(wrong.split('\n')[desk.editor().editor()->fault()->line - 1].startsWith("at: nowhere")) << desk.editor().status().toStdString();
    EXPECT_EQ(desk.window.lessonPanel()->lesson()->steps.size(), 1U) << "the lesson as it was stays";
    EXPECT_EQ(desk.file(), wrong) << "what was typed is never lost";
    desk.editor().editor()->setPlainText(words);
    ASSERT_TRUE(desk.editor().keep());
    EXPECT_FALSE(desk.editor().editor()->fault());
}

TEST(Teacher, PredictionsAndExperimentsToFillInCanBeReadAsTheyAre)
{
    Desk desk;
    ASSERT_TRUE(desk.window.writeLessonTo(desk.folder));
    ASSERT_TRUE(desk.window.addLessonStep());
    desk.editor().goToStep(0);
    const auto menus = desk.editor().findChildren<QMenu*>();
    const auto blocks = std::ranges::find_if(menus, [](const QMenu* menu) { return menu->actions().size() == 2; });
    ASSERT_NE(blocks, menus.end());
    for (QAction* block : (*blocks)->actions()) {
        block->trigger();
        settle();
        EXPECT_FALSE(desk.editor().editor()->fault()) << desk.editor().status().toStdString();
    }
    ASSERT_EQ(desk.window.lessonPanel()->stepCount(), 2);
    EXPECT_EQ(desk.window.lessonPanel()->step(), 0);
    EXPECT_TRUE(desk.window.lessonPanel()->lesson()->steps[0].question);
    EXPECT_TRUE(desk.window.lessonPanel()->lesson()->steps[0].experiment);
    EXPECT_FALSE(desk.window.lessonPanel()->lesson()->steps[1].question);
    EXPECT_TRUE(desk.window.checkLesson()) << desk.window.banner()->words().toStdString();
}

TEST(Teacher, AnotherEditorsTextIsTakenOver)
{
    Desk desk;
    ASSERT_TRUE(desk.window.writeLessonTo(desk.folder));
    QString words = desk.file();
    words.replace("My first lesson", "Written elsewhere");
    QFile file(desk.folder + "/lesson.md");
    ASSERT_TRUE(file.open(QIODevice::WriteOnly | QIODevice::Truncate));
    file.write(words.toUtf8());
    file.close();
    EXPECT_TRUE(QTest::qWaitFor([&] { return desk.window.lessonPanel()->lesson()->title == "Written elsewhere"; }, 5000));
    EXPECT_EQ(desk.editor().editor()->toPlainText(), words);
}

TEST(Teacher, LessonsOfTheProgramAreNotWrittenIn)
{
    Desk desk;
    const QString path = QString::fromStdString((test::lessonsFolder() / "01-a-datagram-arrives" / "lesson.md").string());
    const QString before = textOf(path);
    ASSERT_TRUE(desk.window.openLesson("01-a-datagram-arrives"));
    EXPECT_FALSE(desk.window.addLessonStep());
    QTest::keyClick(&desk.window, Qt::Key_5, Qt::ControlModifier);
    settle();
    EXPECT_FALSE(desk.editor().isVisible());
    EXPECT_EQ(textOf(path), before);
    // But one's own may begin from them.
    EXPECT_TRUE(desk.window.writeLessonTo(desk.folder)) << desk.window.banner()->words().toStdString();
    EXPECT_EQ(textOf(path), before);
}

TEST(Teacher, ARecordingsMomentMakesALessonOfTheRecording)
{
    Desk desk("01-a-datagram-arrives-real/recording.pcapng");
    desk.session().stepPacket(+1);
    ASSERT_TRUE(desk.window.writeLessonTo(desk.folder)) << desk.window.banner()->words().toStdString();
    EXPECT_FALSE(desk.window.lessonPanel()->lesson()->uses_model());
    EXPECT_TRUE(desk.window.checkLesson()) << desk.window.banner()->words().toStdString();
}

TEST(Teacher, WhatWasDoneByHandIsNotPromisedToComeAgain)
{
    Desk desk;
    ASSERT_TRUE(desk.window.writeLessonTo(desk.folder));
    desk.session().act("send_one");
    desk.session().toEnd();
    const auto packets = static_cast<std::uint32_t>(desk.session().trace().packets().size());
    desk.session().selectPacket(PacketId{packets});
    desk.session().seekToFunction(Catalog::find_function("udp_rcv"));
    const QString before = desk.file();
    EXPECT_FALSE(desk.window.addLessonStep());
    EXPECT_NE(desk.window.toast()->words().indexOf("by hand"), -1);
    EXPECT_EQ(desk.file(), before);
}

TEST(Teacher, OneDrawerAtATimeAndTheLanesComeBack)
{
    Desk desk;
    ASSERT_TRUE(desk.window.writeLessonTo(desk.folder));
    settle();
    ASSERT_TRUE(desk.editor().isVisible());
    QTest::keyClick(&desk.window, Qt::Key_4, Qt::ControlModifier);
    settle();
    EXPECT_TRUE(desk.window.rules()->isVisible());
    EXPECT_FALSE(desk.editor().isVisible());
    QTest::keyClick(&desk.window, Qt::Key_5, Qt::ControlModifier);
    settle();
    EXPECT_FALSE(desk.window.rules()->isVisible());
    EXPECT_TRUE(desk.editor().isVisible());
    QTest::keyClick(&desk.window, Qt::Key_3, Qt::ControlModifier);
    settle();
    EXPECT_FALSE(desk.editor().isVisible());
    EXPECT_TRUE(desk.window.timeline()->isVisible());
}

} // namespace
} // namespace skbscope::ui
