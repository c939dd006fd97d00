#pragma once
// The window: joins the panels around one Session, and holds what is above a session: opening, menus, keys, settings.

#include "core/progress.h"
#include "core/trace/source.h"
#include "lessons/reader/lesson.h"
#include "ui/controls/top_bar.h"
#include "ui/inspector/pages.h"
#include "ui/live/live_request.h"

#include <QMainWindow>
#include <QThreadPool>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

class QMenu;
class QSplitter;
class QStackedWidget;
class QTimer;
class QUndoStack;

namespace skbscope::ui {

class AccountingBlock;
class Banner;
class CompareDialog;
class ControlPanel;
class Headline;
class Inspector;
class LessonEditor;
class LessonPanel;
class LivePage;
class LiveStrip;
class MapView;
class RulesPanel;
class Session;
class StartPage;
class TimelineView;
class Toast;
struct Work;

/// What the window needs from the program around it. It knows no driver and no file format itself.
struct WindowServices {
    /// Opens a recording, trace.dat, pcap or scenario. Called on another thread; must not touch the window.
    OpenSource open;
    /// The same for files that a person waits for: tells how far it has come and ends early when it is cancelled. May be
    /// empty: then `open` is used, whose result is dropped if it is no longer wanted.
    std::function<Result<std::unique_ptr<Source>>(const std::filesystem::path&, Progress&)> openWatched{};
    /// Writes what a source holds as a recording; may be empty (then it cannot be saved).
    /// Called on another thread; tells how far it has come, and leaves nothing behind when it is cancelled.
    std::function<Result<void>(const Source&, const std::filesystem::path&, Progress&)> save;
    /// The model to play with, if no lesson's; may be empty.
    std::function<Result<std::unique_ptr<Source>>()> model;
    /// Why a packet was dropped; may be empty: then a drop's page says what the event says.
    ExplainDrop explain;
    LiveServices live;
    /// Folder of the lessons; empty: none.
    std::filesystem::path lessons;
    /// Read and write the user's settings (geometry, theme, recent files). Off for tests and pictures.
    bool remember = true;
};

// Its files: main_window.cpp opens and shows; window_layout.cpp places the panels and remembers; window_menus.cpp has menus and keys.
class MainWindow : public QMainWindow {
    Q_OBJECT

public:
    explicit MainWindow(WindowServices services, QWidget* parent = nullptr);
    ~MainWindow() override;

    /// Shows the source, paused on its first packet. The window owns it.
    void setSource(std::unique_ptr<Source> source, Mode mode);
    /// Opens a file on another thread, with progress; errors come as one line in the banner. A folder with a lesson.md,
    /// or that file, is a lesson.
    void openFile(const QString& path);
    /// The same at once, on this thread: for pictures, tests and the start. False: the banner says why.
    bool openNow(const QString& path);
    /// A lesson by its id or the beginning of it; false: the banner says why.
    bool openLesson(const QString& id);
    /// Nothing open: the page with lessons and recent files.
    void closeSource();
    void showError(const QString& words);
    /// Writes what is open as a recording, with progress and a way to cancel; false: it was not written, and the banner says why.
    bool saveTo(const QString& path);
    /// Writes the scenario with its knobs, rules and filters as they stand now; false: it was not written, and the banner says why.
    bool saveScenarioTo(const QString& path);
    /// What is open came from a live kernel and lies in no file: whoever closes it loses it.
    [[nodiscard]] bool isUnsaved() const;
    enum class Keep { save, discard, cancel };
    /// How a person is asked what becomes of an unsaved recording; for tests. By default a dialog.
    void setKeepQuestion(std::function<Keep()> ask) { m_askKeep = std::move(ask); }
    /// How a person is asked for the file to save as; for tests. By default a dialog.
    void setPathQuestion(std::function<QString()> ask) { m_askPath = std::move(ask); }
    /// How a person is asked what becomes of rules that are written and not applied; `save` applies them and saves the scenario.
    void setDraftsQuestion(std::function<Keep()> ask) { m_askDrafts = std::move(ask); }
    /// Nothing unsaved would be lost, or the person has agreed to it.
    [[nodiscard]] bool mayLeave();
    /// The page where a live source is chosen; what is open stays behind it.
    void showLivePage();
    /// Copies of standard input have no name; what is written in the title instead.
    void setTitle(const QString& title);
    /// Full screen, only lesson and map, larger words: for a room full of people.
    void present(bool on);

    [[nodiscard]] Session* session() const { return m_session.get(); }
    [[nodiscard]] LessonPanel* lessonPanel() const { return m_lesson; }
    [[nodiscard]] ControlPanel* controls() const { return m_controls; }
    [[nodiscard]] Inspector* inspector() const { return m_inspector; }
    [[nodiscard]] MapView* map() const { return m_map; }
    [[nodiscard]] TimelineView* timeline() const { return m_timeline; }
    [[nodiscard]] AccountingBlock* accounting() const { return m_accounting; }
    [[nodiscard]] Headline* headline() const { return m_headline; }
    [[nodiscard]] TopBar* topBar() const { return m_top; }
    [[nodiscard]] RulesPanel* rules() const { return m_rules; }
    /// The drawer with rules and filters, in the place of the lanes and plots.
    void showRules(bool on);
    [[nodiscard]] LessonEditor* lessonEditor() const { return m_editor; }
    /// Begins a lesson of one's own in that folder: what is open is its scenario or recording, the moment shown its first step. Then
    /// it is open. False: the banner says why.
    bool writeLessonTo(const QString& folder);
    /// The moment shown becomes a step behind the one shown, in a lesson of one's own. False: the toast says why.
    bool addLessonStep();
    /// Lays that file beside what is open; null: the banner says why. A model runs to its end for it; the playhead stays.
    std::unique_ptr<CompareDialog> compareWith(const QString& path);
    /// Plays the lesson as it is written and says what is wrong; true: nothing.
    bool checkLesson();
    [[nodiscard]] StartPage* startPage() const { return m_start; }
    [[nodiscard]] LivePage* livePage() const { return m_live; }
    [[nodiscard]] LiveStrip* liveStrip() const { return m_liveStrip; }
    [[nodiscard]] Banner* banner() const { return m_banner; }
    [[nodiscard]] Toast* toast() const { return m_toast; }
    [[nodiscard]] QUndoStack* undoStack() const { return m_undo; }
    [[nodiscard]] Mode mode() const { return m_mode; }
    /// Files being opened on the other thread.
    [[nodiscard]] bool isOpening() const { return m_opening; }

signals:
    void opened();
    void openFailed(const QString& words);

protected:
    void closeEvent(QCloseEvent* event) override;
    void dragEnterEvent(QDragEnterEvent* event) override;
    void dropEvent(QDropEvent* event) override;
    bool eventFilter(QObject* watched, QEvent* event) override;
    void resizeEvent(QResizeEvent* event) override;
    bool focusNextPrevChild(bool next) override;

private:
    struct Job;

    void buildLayout();
    void buildMenus();
    QAction* action(QMenu* menu, const QString& words, const QList<QKeySequence>& keys, std::function<void()> what);
    void refreshRecent();
    void refreshLessonsMenu();
    void refreshHeadline();
    void refreshBadges();
    void showStage();
    void leaveLivePage(); ///< back to what lies behind it
    void startLive(const LiveRequest& request);
    void onLiveChanged();
    void setMode(Mode mode);
    void chooseMode(Mode mode);
    void adopt(std::unique_ptr<Source> source, Mode mode);
    void dropJob();
    void showJob();
    void arriveAt(const QString& path, Result<std::unique_ptr<Source>> result);
    /// Whatever is being opened on the other thread is no longer waited for.
    void cancelOpening();
    void remember(const QString& path);
    void unfold(const std::vector<std::string>& panels);
    void openDialog();
    /// The last time: a live source is stopped first, so that nothing arrives behind what is written.
    bool saveDialog(bool last = false);
    bool saveScenarioDialog();
    /// No draft of the rules would be lost, or the person has agreed to it.
    [[nodiscard]] bool mayLeaveDrafts();
    void refreshTitle();
    void goToDrop(DropReasonId reason, RoomId room);
    void copyLessonStep();
    [[nodiscard]] QString momentAsStep() const;
    void writeLessonDialog();
    void reloadLesson();
    [[nodiscard]] bool isOwnLesson() const;
    void savePictureDialog();
    void compareWithDialog();
    bool writeRecordingTo(const QString& path);
    /// Opens the drawer in the place of lanes and plots, or folds it and gives the place back.
    void showDrawer(QWidget* drawer, bool on);
    [[nodiscard]] bool isDrawerOpen() const;
    void showKeys();
    /// What Tab stops at, panel by panel from the top left, in each from its top left: however late a part was made.
    [[nodiscard]] std::vector<std::vector<QWidget*>> focusStops() const;
    void giveFocus(QWidget* widget, bool forward);
    void focusPanel(int direction);
    void showAbout();
    /// Work of the session on another thread, behind a curtain.
    void work(const QString& what, const std::function<void(Work&)>& what_to_do);
    void work(const QString& what, const std::function<void(Work&)>& what_to_do, Work& state);
    /// Now, or as soon as no work is under way.
    void whenIdle(std::function<void()> what);
    void restoreSettings();
    void saveSettings() const;
    void defaultSizes();
    /// No larger than the screen, and wholly on it: without a window manager nobody could reach the rest.
    void fitToScreen();
    /// Lanes and plots, or, while the rules are in their place, later.
    void wantBottom();

    WindowServices m_services;
    std::unique_ptr<Session> m_session;
    Mode m_mode = Mode::none;
    QString m_title;
    QUndoStack* m_undo;
    QThreadPool m_pool;
    std::shared_ptr<Job> m_job;
    QTimer* m_jobTimer; ///< while m_job is under way: how far it is
    bool m_opening = false;
    std::function<Keep()> m_askKeep;
    std::function<Keep()> m_askDrafts;
    std::function<QString()> m_askPath;
    std::size_t m_savedEvents = 0; ///< of the trace, when it was last saved
    Work* m_work = nullptr; ///< under way
    std::vector<std::function<void()>> m_afterWork;

    TopBar* m_top;
    Banner* m_banner;
    Toast* m_toast;
    QSplitter* m_rows;
    QSplitter* m_columns;
    QSplitter* m_bottom;
    QWidget* m_bottomRight;
    RulesPanel* m_rules;
    LessonEditor* m_editor;
    QStackedWidget* m_left;
    QStackedWidget* m_centre;
    StartPage* m_start;
    LivePage* m_live;
    LiveStrip* m_liveStrip;
    LessonPanel* m_lesson;
    ControlPanel* m_controls;
    Headline* m_headline;
    MapView* m_map;
    Inspector* m_inspector;
    TimelineView* m_timeline = nullptr;
    AccountingBlock* m_accounting;

    QMenu* m_recentMenu = nullptr;
    QMenu* m_lessonsMenu = nullptr;
    QAction* m_saveAction = nullptr;
    QAction* m_startOverAction = nullptr;
    QAction* m_leftAction = nullptr;
    QAction* m_rightAction = nullptr;
    QAction* m_bottomAction = nullptr;
    QAction* m_rulesAction = nullptr;
    QAction* m_lessonTextAction = nullptr;
    QAction* m_addStepAction = nullptr;
    QAction* m_newLessonAction = nullptr;
    QAction* m_compareAction = nullptr;
    QAction* m_pictureAction = nullptr;
    QAction* m_presentAction = nullptr;
    QAction* m_scenarioAction = nullptr;
    bool m_sized = false; ///< the panels have sizes of the user's or of ours
    bool m_presenting = false;
    bool m_panelsChosen = false; ///< the user has folded or unfolded by hand: a lesson no longer does
    bool m_wasRight = true, m_wasBottom = true;
    bool m_bottomUnderRules = true; ///< the lanes were shown when a drawer took their place
    QList<int> m_wasColumns;
};

} // namespace skbscope::ui
