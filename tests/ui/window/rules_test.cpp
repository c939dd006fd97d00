// The drawer in which rules and filters are written: nothing that is wrong is ever in force, and what is in force counts.

#include "tests/ui/window/services.h"
#include "ui/banner.h"
#include "ui/controls/choice.h"
#include "ui/controls/control_panel.h"
#include "ui/controls/label.h"
#include "ui/lesson/lesson_panel.h"
#include "ui/map/map_view.h"
#include "ui/player/session.h"
#include "ui/rules/code_editor.h"
#include "ui/rules/rule_examples.h"
#include "ui/rules/rules_highlighter.h"
#include "ui/rules/rules_panel.h"
#include "ui/start_page.h"
#include "ui/timeline/timeline_view.h"

#include <QAction>
#include <QMenu>
#include <QPushButton>
#include <QTemporaryDir>
#include <QTest>
#include <QUndoStack>
#include <filesystem>
#include <gtest/gtest.h>

namespace skbscope::ui {
namespace {

using test::settle;

const QString drop_5001 = QStringLiteral("table ip t {\n    chain input {\n        type filter hook input priority filter; policy accept;\n"
                                         "        udp dport 5001 counter drop\n    }\n}\n");

struct Written {
    MainWindow window{test::services()};
    explicit Written(const std::string& lesson = "01-a-datagram-arrives")
    {
        window.resize(1600, 900);
        window.setSource(std::move(*test::openScenario(test::lessonsFolder() / lesson / "scenario.yaml")), Mode::model);
        window.show();
        settle();
        window.showRules(true);
        settle();
    }
    [[nodiscard]] RulesPanel& rules() const { return *window.rules(); }
    [[nodiscard]] Session& session() const { return *window.session(); }
    void write(const QString& text) const
    {
        rules().editor()->setPlainText(text);
        rules().checkNow();
    }
    [[nodiscard]] QString inForce() const
    {
        for (const TextKnob& knob : session().source().texts()) {
            if (QString::fromStdString(knob.key) == rules().key()) {
                return QString::fromStdString(knob.value);
            }
        }
        return {};
    }
};

std::uint64_t dropped(const Session& session)
{
    return session.state().accounting().of(Verdict::dropped);
}

TEST(Rules, AppliedBeforeThePacketTheyDropItAndCountIt)
{
    const Written w;
    w.session().seek(SimTime{0});
    w.rules().choose(w.rules().choice()->itemData(0).toString());
    w.write(drop_5001);
    EXPECT_TRUE(w.rules().isEdited());
    ASSERT_TRUE(w.rules().apply());
    EXPECT_FALSE(w.rules().isEdited());
    ASSERT_TRUE(w.rules().editor()->figureAt(4));
    EXPECT_EQ(w.rules().editor()->figureAt(4)->words, "0") << "nothing has come yet";
    w.session().toEnd();
    settle();
    EXPECT_EQ(dropped(w.session()), 1U);
    EXPECT_EQ(w.rules().editor()->figureAt(4)->words, "1");
    w.session().toBegin();
    settle();
    EXPECT_EQ(w.rules().editor()->figureAt(4)->words, "0") << "the figures are those of the moment shown";
}

TEST(Rules, TheLineThatDecidedIsMarkedForTheSelectedPacket)
{
    const Written w("04-the-five-hooks");
    w.session().toEnd();
    w.session().selectPacket(PacketId{2}); // the one that is forwarded
    settle();
    ASSERT_EQ(w.rules().editor()->decided().size(), 1U);
    const int line = *w.rules().editor()->decided().begin();
    EXPECT_NE(w.inForce().split('\n')[line - 1].indexOf("udp dport 5006 counter accept"), -1);
    EXPECT_NE(w.rules().status().indexOf(QStringLiteral("line %1").arg(line)), -1) << w.rules().status().toStdString();
    w.session().select({});
    settle();
    EXPECT_TRUE(w.rules().editor()->decided().empty());
}

TEST(Rules, AFaultIsShownAtItsLineAndColumnAndTheLastGoodRulesStay)
{
    const Written w("04-the-five-hooks");
    const QString good = w.inForce();
    ASSERT_FALSE(good.isEmpty());
    QString bad = good;
    bad.replace("udp dport 6002", "udp dport sixthousand");
    w.write(bad);
    ASSERT_TRUE(w.rules().editor()->fault());
    EXPECT_EQ(w.rules().editor()->fault()->line, 8);
    EXPECT_EQ(w.rules().editor()->fault()->column, 19);
    EXPECT_NE(w.rules().status().indexOf("Line 8, column 19"), -1) << w.rules().status().toStdString();
    EXPECT_FALSE(w.rules().applyButton()->isEnabled());
    EXPECT_FALSE(w.rules().apply());
    EXPECT_EQ(w.inForce(), good);
    EXPECT_EQ(w.rules().editor()->textCursor().blockNumber(), 7) << "refusing leads to the fault";
    w.rules().revert();
    EXPECT_EQ(w.rules().editor()->toPlainText(), good);
    EXPECT_FALSE(w.rules().editor()->fault());
    w.rules().editor()->undo();
    EXPECT_NE(w.rules().editor()->toPlainText().indexOf("sixthousand"), -1) << "reverting can be taken back";
}

TEST(Rules, ATextThatEndsTooEarlyIsMarkedAtItsEnd)
{
    const Written w;
    w.write("table ip t {\n    chain input {\n");
    ASSERT_TRUE(w.rules().editor()->fault());
    EXPECT_LE(w.rules().editor()->fault()->line, w.rules().editor()->blockCount());
    EXPECT_FALSE(w.rules().applyButton()->isEnabled());
}

TEST(Rules, InThePastTheyMakeABranchAndTurningBackLeadsToTheLineAsItWas)
{
    const Written w;
    w.session().toEnd();
    w.session().seek(SimTime{5'000});
    w.write(drop_5001);
    ASSERT_TRUE(w.rules().apply());
    ASSERT_EQ(w.session().source().branches().size(), 2U);
    EXPECT_EQ(w.session().source().chosen_branch(), 1U);
    w.session().toEnd();
    EXPECT_EQ(dropped(w.session()), 1U);
    w.window.undoStack()->undo();
    settle();
    EXPECT_EQ(w.session().source().chosen_branch(), 0U);
    EXPECT_EQ(w.rules().editor()->toPlainText(), "") << "the main line has no rules";
    w.window.undoStack()->redo();
    settle();
    EXPECT_EQ(w.rules().editor()->toPlainText(), drop_5001);
}

TEST(Rules, DraftsOfOneTextOutliveALookAtAnother)
{
    const Written w;
    w.write("table ip half {");
    const QString first = w.rules().key();
    w.rules().choose(w.rules().choice()->itemData(1).toString());
    EXPECT_EQ(w.rules().editor()->toPlainText(), "");
    EXPECT_TRUE(w.rules().hasDrafts());
    w.rules().choose(first);
    EXPECT_EQ(w.rules().editor()->toPlainText(), "table ip half {");
    EXPECT_TRUE(w.rules().isEdited());
}

TEST(Rules, EveryExampleIsTakenInEveryLanguageAlsoTwiceAndOnTopOfTheOthers)
{
    const Written w;
    w.session().toEnd();
    for (int text = 0; text < w.rules().choice()->count(); ++text) {
        w.rules().choose(w.rules().choice()->itemData(text).toString());
        const auto& knobs = w.session().source().texts();
        const auto language = knobs[static_cast<std::size_t>(text)].language;
        const int count = static_cast<int>(examplesFor(language, factsOf(w.session().trace(), PacketId::none)).size());
        ASSERT_GT(count, 3);
        for (int round = 0; round < 2; ++round) {
            for (int index = 0; index < count; ++index) {
                w.rules().insertExample(index);
                EXPECT_FALSE(w.rules().editor()->fault())
                    << w.rules().status().toStdString() << "\n" << w.rules().editor()->toPlainText().toStdString();
            }
        }
        if (language != TextKnob::Language::tcpdump) {
            EXPECT_TRUE(w.rules().apply()) << w.rules().status().toStdString();
        }
    }
}

TEST(Rules, ExamplesSpeakOfThePacketsThatAreThere)
{
    const Written w;
    const ExampleFacts facts = factsOf(w.session().trace(), PacketId{1});
    EXPECT_EQ(facts.port, 5001);
    EXPECT_EQ(facts.destination, "10.99.0.2");
    EXPECT_NE(examplesFor(TextKnob::Language::nft, facts)[0].text.indexOf("udp dport 5001 counter drop"), -1);
}

TEST(Rules, FiguresKeepToTheirLinesWhileOthersAreWrittenAbove)
{
    const Written w("04-the-five-hooks");
    w.session().toEnd();
    settle();
    int line = 0;
    for (int i = 1; i <= w.rules().editor()->blockCount(); ++i) {
        line = w.rules().editor()->figureAt(i) && w.rules().editor()->figureAt(i)->words == "1" ? i : line;
    }
    ASSERT_GT(line, 0);
    QTextCursor cursor(w.rules().editor()->document());
    cursor.movePosition(QTextCursor::EndOfBlock);
    cursor.insertText("\n    # two lines\n    # more");
    ASSERT_TRUE(w.rules().editor()->figureAt(line + 2));
    EXPECT_EQ(w.rules().editor()->figureAt(line + 2)->words, "1");
}

TEST(Rules, ArrowsAndSpaceBelongToTheTextAndCtrlEnterApplies)
{
    const Written w;
    w.session().seek(SimTime{0});
    CodeEditor& editor = *w.rules().editor();
    editor.setFocus();
    w.write(drop_5001);
    const std::size_t before = w.session().position();
    editor.moveCursor(QTextCursor::End);
    QTest::keyClick(&editor, Qt::Key_Left);
    QTest::keyClick(&editor, Qt::Key_Right);
    QTest::keyClick(&editor, Qt::Key_Space);
    settle();
    EXPECT_EQ(w.session().position(), before);
    EXPECT_FALSE(w.session().isPlaying());
    EXPECT_EQ(editor.toPlainText().size(), drop_5001.size() + 1);
    QTest::keyClick(&editor, Qt::Key_Return, Qt::ControlModifier);
    settle();
    EXPECT_FALSE(w.rules().isEdited());
}

TEST(Rules, ANewLineBeginsUnderTheOneBeforeAndABraceGoesBack)
{
    CodeEditor editor;
    editor.setPlainText("table ip t {");
    editor.moveCursor(QTextCursor::End);
    QTest::keyClick(&editor, Qt::Key_Return);
    QTest::keyClicks(&editor, "chain c {");
    QTest::keyClick(&editor, Qt::Key_Return);
    QTest::keyClicks(&editor, "}");
    EXPECT_EQ(editor.toPlainText(), "table ip t {\n    chain c {\n    }");
}

TEST(Rules, AChangedTextKeepsTheLinesThatAreTheSameAndOneUndoTakesTheChangeBack)
{
    CodeEditor editor;
    const QString before = QString::fromUtf8("one\ntwo \U0001F600\nthree");
    editor.setPlainText(before);
    editor.tag();
    editor.changeTo(QString::fromUtf8("one\nand a half\ntwo \U0001F601\nthree"));
    EXPECT_EQ(editor.toPlainText(), QString::fromUtf8("one\nand a half\ntwo \U0001F601\nthree")) << "also where half of a character is the same";
    EXPECT_EQ(editor.lineOf(1), 1);
    EXPECT_EQ(editor.lineOf(3), 4);
    editor.undo();
    EXPECT_EQ(editor.toPlainText(), before);
    editor.changeTo(before);
    EXPECT_EQ(editor.toPlainText(), before);
}

TEST(Rules, TheDrawerTakesThePlaceOfTheLanesAndGivesItBack)
{
    Written w;
    EXPECT_TRUE(w.rules().isVisible());
    w.window.showRules(false);
    settle();
    EXPECT_FALSE(w.rules().isVisible());
    EXPECT_GT(w.window.map()->height(), 100);
}

TEST(Rules, ThatAreNotAppliedAreNotClosedWithoutAQuestion)
{
    Written w;
    int asked = 0;
    MainWindow& window = w.window;
    window.setDraftsQuestion([&] { return ++asked, MainWindow::Keep::cancel; });
    ASSERT_TRUE(window.mayLeave());
    EXPECT_EQ(asked, 0) << "nothing was written";
    w.write(drop_5001);
    window.showRules(false); // folding the drawer loses nothing
    Session* before = window.session();
    EXPECT_FALSE(window.openLesson("02-a-datagram-leaves"));
    window.openFile(QString::fromStdString((test::lessonsFolder() / "03-rps-and-the-backlog" / "scenario.yaml").string()));
    EXPECT_FALSE(window.isOpening());
    EXPECT_FALSE(window.close());
    EXPECT_EQ(asked, 3);
    EXPECT_EQ(window.session(), before);
    settle();
    EXPECT_TRUE(w.rules().isVisible()) << "back to what is not finished";
    EXPECT_EQ(w.rules().editor()->toPlainText(), drop_5001);
    EXPECT_EQ(w.rules().drafts(), QStringList{w.rules().key()});

    window.setDraftsQuestion([&] { return ++asked, MainWindow::Keep::discard; });
    EXPECT_TRUE(window.openLesson("02-a-datagram-leaves"));
    EXPECT_EQ(asked, 4);
    EXPECT_FALSE(w.rules().hasDrafts());
    EXPECT_TRUE(window.close());
    EXPECT_EQ(asked, 4) << "what was discarded is not asked for again";
}

TEST(Rules, ThatAreKeptOnLeavingAreAppliedAndSavedWithTheScenario)
{
    Written w;
    MainWindow& window = w.window;
    w.session().seek(SimTime{0});
    QTemporaryDir folder;
    window.setDraftsQuestion([] { return MainWindow::Keep::save; });
    window.setPathQuestion([&] { return folder.filePath("kept"); });
    w.write("table ip t { chain");
    EXPECT_FALSE(window.mayLeave()) << "a wrong text cannot be saved, and is not lost";
    EXPECT_TRUE(w.rules().hasDrafts());
    w.write(drop_5001);
    EXPECT_TRUE(window.mayLeave());
    const auto again = load_scenario(folder.filePath("kept.yaml").toStdString());
    ASSERT_TRUE(again) << again.error().describe();
    EXPECT_EQ(QString::fromStdString(again->hosts[0].nft), drop_5001);
    window.setPathQuestion([] { return QString(); });
    w.write(drop_5001 + "\n");
    EXPECT_FALSE(window.mayLeave()) << "who names no file has not decided";
}

TEST(Rules, StayOpenWhenAStepUnfoldsTheLanesAndOnThePageOfLiveSourcesTheyDoNotStand)
{
    MainWindow window(test::services());
    window.resize(1600, 900);
    ASSERT_TRUE(window.openLesson("03-rps-and-the-backlog"));
    window.show();
    settle();
    QTest::keyClick(&window, Qt::Key_4, Qt::ControlModifier);
    settle();
    ASSERT_TRUE(window.rules()->isVisible());
    for (int step = 0; step < window.lessonPanel()->stepCount(); ++step) {
        window.lessonPanel()->goTo(step);
        settle();
        EXPECT_TRUE(window.rules()->isVisible()) << "step " << step + 1;
        EXPECT_FALSE(window.timeline()->isVisible()) << "step " << step + 1;
    }
    QTest::keyClick(&window, Qt::Key_4, Qt::ControlModifier);
    settle();
    EXPECT_FALSE(window.rules()->isVisible());
    EXPECT_TRUE(window.timeline()->isVisible()) << "what a step unfolded comes when the rules go";
    QTest::keyClick(&window, Qt::Key_4, Qt::ControlModifier);
    window.showLivePage();
    settle();
    EXPECT_FALSE(window.rules()->isVisible());
}

TEST(Rules, OfARecordingThereAreNoneToWriteAndThatIsSaid)
{
    MainWindow window(test::services());
    auto source = test::openScenario(test::lessonsFolder() / "01-a-datagram-arrives" / "scenario.yaml");
    (*source)->advance_to(SimTime{1'000'000});
    QTemporaryDir folder;
    const auto path = std::filesystem::path(folder.path().toStdString()) / "run.pcapng";
    ASSERT_TRUE(write_recording((*source)->trace(), path, {}));
    window.show();
    ASSERT_TRUE(window.openNow(QString::fromStdString(path.string())));
    window.showRules(true);
    settle();
    EXPECT_TRUE(window.rules()->editor()->isReadOnly());
    EXPECT_FALSE(window.rules()->editor()->placeholderText().isEmpty());
    EXPECT_FALSE(window.saveScenarioTo(QString::fromStdString((path.parent_path() / "x.yaml").string())));
}

TEST(Rules, AreSavedWithTheScenario)
{
    Written w;
    w.session().seek(SimTime{0});
    w.write(drop_5001);
    ASSERT_TRUE(w.rules().apply());
    QTemporaryDir folder;
    const auto path = std::filesystem::path(folder.path().toStdString()) / "mine.yaml";
    ASSERT_TRUE(w.window.saveScenarioTo(QString::fromStdString(path.string())));
    const auto again = load_scenario(path);
    ASSERT_TRUE(again) << again.error().describe();
    EXPECT_EQ(QString::fromStdString(again->hosts[0].nft), drop_5001);
    EXPECT_FALSE(w.window.saveScenarioTo("/nowhere/at/all.yaml"));
    EXPECT_FALSE(w.window.banner()->words().isEmpty());
}

TEST(Rules, WordsAreColouredByWhatTheyAre)
{
    using Kind = RulesHighlighter::Kind;
    using Language = TextKnob::Language;
    EXPECT_EQ(RulesHighlighter::kindOf(Language::nft, "drop"), Kind::refusal);
    EXPECT_EQ(RulesHighlighter::kindOf(Language::nft, "accept"), Kind::verdict);
    EXPECT_EQ(RulesHighlighter::kindOf(Language::nft, "10.0.0.0/8"), Kind::value);
    EXPECT_EQ(RulesHighlighter::kindOf(Language::nft, "dport"), Kind::keyword);
    EXPECT_EQ(RulesHighlighter::kindOf(Language::iptables, "--dport"), Kind::keyword);
    EXPECT_EQ(RulesHighlighter::kindOf(Language::iptables, "MASQUERADE"), Kind::verdict);
    EXPECT_EQ(RulesHighlighter::kindOf(Language::tcpdump, "drop"), Kind::plain);
    EXPECT_EQ(RulesHighlighter::kindOf(Language::nft, "# why"), Kind::comment);
}

TEST(StartPage, WithoutLessonsItSaysSoAndOpensTheRest)
{
    auto services = test::services();
    services.lessons.clear();
    services.model = nullptr;
    MainWindow window(std::move(services));
    window.show();
    settle();
    ASSERT_NE(window.startPage()->noLessons(), nullptr);
    EXPECT_TRUE(window.openNow(QString::fromStdString((test::lessonsFolder() / "04-the-five-hooks" / "scenario.yaml").string())));
}

} // namespace
} // namespace skbscope::ui
