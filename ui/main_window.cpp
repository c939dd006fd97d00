#include "ui/main_window.h"

#include "core/catalog/catalog.h"
#include "ui/banner.h"
#include "ui/busy_curtain.h"
#include "ui/controls/accounting_block.h"
#include "ui/controls/control_panel.h"
#include "ui/controls/icons.h"
#include "ui/inspector/inspector.h"
#include "ui/inspector/journey_rows.h"
#include "ui/lesson/lesson_panel.h"
#include "ui/live/live_page.h"
#include "ui/live/live_strip.h"
#include "ui/map/map_view.h"
#include "ui/player/format.h"
#include "ui/player/session.h"
#include "ui/search/search_box.h"
#include "ui/start_page.h"
#include "ui/theme/theme.h"
#include "ui/timeline/timeline_view.h"

#include <QAbstractButton>
#include <QAbstractItemView>
#include <QAbstractSlider>
#include <QAction>
#include <QActionGroup>
#include <QApplication>
#include <QClipboard>
#include <QCloseEvent>
#include <QComboBox>
#include <QDialog>
#include <QDir>
#include <QDropEvent>
#include <QFileDialog>
#include <QFileInfo>
#include <QKeyEvent>
#include <QLabel>
#include <QMenu>
#include <QMimeData>
#include <QPushButton>
#include <QSettings>
#include <QSplitter>
#include <QStackedWidget>
#include <QTabBar>
#include <QTextBrowser>
#include <QUndoStack>
#include <QVBoxLayout>
#include <algorithm>
#include <cmath>
#include <mutex>

namespace skbscope::ui {

namespace {

constexpr int most_recent = 10;

QSettings settings()
{
    return QSettings(QStringLiteral("skbscope"), QStringLiteral("skbscope"));
}

/// A speed at which the events of a recording can be followed, some fifty a second where they are dense: an emulated CPU is a
/// thousand times slower than the model.
double speedFor(const Trace& trace)
{
    constexpr std::uint64_t pause = 1'000'000; // longer gaps are pauses, which play leaps over
    double sum = 0;
    double gaps = 0;
    const std::size_t looked = std::min<std::size_t>(trace.size(), 20'000);
    for (std::size_t i = 1; i < looked; ++i) {
        const std::uint64_t gap = trace[i].time_ns - trace[i - 1].time_ns;
        if (gap < pause) {
            sum += static_cast<double>(gap);
            gaps += 1;
        }
    }
    if (gaps == 0) {
        return 20'000;
    }
    // 1, 2 or 5 times a power of ten.
    const double wanted = std::max(1000.0, 50 * sum / gaps);
    const double power = std::pow(10.0, std::floor(std::log10(wanted)));
    const double mantissa = wanted / power;
    return power * (mantissa < 1.5 ? 1 : mantissa < 3.5 ? 2 : mantissa < 7.5 ? 5 : 10);
}

/// The lesson that the path names, if it is one.
std::optional<std::filesystem::path> lessonFolder(const QString& path)
{
    const QFileInfo info(path);
    if (info.isDir() && QFileInfo::exists(info.filePath() + "/lesson.md")) {
        return std::filesystem::path(info.filePath().toStdString());
    }
    if (info.isFile() && info.fileName() == "lesson.md") {
        return std::filesystem::path(info.absolutePath().toStdString());
    }
    return std::nullopt;
}

} // namespace

/// A file being opened on the other thread. The window lets go of it when it is cancelled, a newer one was started, or
/// the window itself goes; its result is then dropped.
struct MainWindow::Job {
    std::mutex lock;
    MainWindow* window = nullptr;
};

MainWindow::MainWindow(WindowServices services, QWidget* parent)
    : QMainWindow(parent), m_services(std::move(services)), m_undo(new QUndoStack(this))
{
    setWindowIcon(programIcon());
    setAcceptDrops(true);
    setMinimumSize(960, 600);
    m_pool.setMaxThreadCount(2);
    buildLayout();
    buildMenus();
    connect(&Theme::instance(), &Theme::changed, this, qOverload<>(&QWidget::update));
    qApp->installEventFilter(this);
    restoreSettings();
    closeSource();
}

MainWindow::~MainWindow()
{
    if (m_job != nullptr) {
        const std::lock_guard guard(m_job->lock);
        m_job->window = nullptr;
    }
    m_pool.clear();
    qApp->removeEventFilter(this);
    // Panels point at the session: they go first.
    delete takeCentralWidget();
}

void MainWindow::buildLayout()
{
    auto* central = new QWidget(this);
    auto* column = new QVBoxLayout(central);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(0);
    m_top = new TopBar(central);
    column->addWidget(m_top);
    m_banner = new Banner(central);
    column->addWidget(m_banner);
    m_liveStrip = new LiveStrip(central);
    column->addWidget(m_liveStrip);

    m_rows = new QSplitter(Qt::Vertical, central);
    m_rows->setHandleWidth(1);
    m_rows->setChildrenCollapsible(false);
    column->addWidget(m_rows, 1);
    m_columns = new QSplitter(Qt::Horizontal, m_rows);
    m_columns->setHandleWidth(1);
    m_columns->setChildrenCollapsible(false);
    m_rows->addWidget(m_columns);

    m_left = new QStackedWidget(m_columns);
    m_left->setMinimumWidth(230);
    m_controls = new ControlPanel(m_undo, m_left);
    m_lesson = new LessonPanel(m_left);
    m_left->addWidget(m_controls);
    m_left->addWidget(m_lesson);
    m_columns->addWidget(m_left);

    m_centre = new QStackedWidget(m_columns);
    auto* stage = new QWidget(m_centre);
    auto* stageColumn = new QVBoxLayout(stage);
    stageColumn->setContentsMargins(0, 0, 0, 0);
    stageColumn->setSpacing(0);
    m_headline = new Headline(stage);
    stageColumn->addWidget(m_headline);
    m_map = new MapView(nullptr, stage);
    stageColumn->addWidget(m_map, 1);
    m_centre->addWidget(stage);
    m_start = new StartPage(m_centre);
    m_centre->addWidget(m_start);
    m_live = new LivePage(m_centre);
    m_live->setServices(m_services.live);
    m_centre->addWidget(m_live);
    m_toast = new Toast(m_centre);
    m_columns->addWidget(m_centre);

    m_inspector = new Inspector(m_columns);
    m_inspector->setExplainer(m_services.explain);
    m_inspector->setMinimumWidth(300);
    m_columns->addWidget(m_inspector);
    m_columns->setStretchFactor(0, 0);
    m_columns->setStretchFactor(1, 1);
    m_columns->setStretchFactor(2, 0);

    m_bottom = new QSplitter(Qt::Horizontal, m_rows);
    m_bottom->setHandleWidth(1);
    m_bottom->setChildrenCollapsible(false);
    m_bottomRight = new QWidget(m_bottom);
    m_bottomRight->setMinimumWidth(300);
    auto* rightColumn = new QVBoxLayout(m_bottomRight);
    rightColumn->setContentsMargins(0, 0, 0, 4);
    rightColumn->setSpacing(0);
    m_accounting = new AccountingBlock(m_bottomRight);
    rightColumn->addWidget(m_accounting, 1);
    rightColumn->addWidget(new Legend(m_bottomRight));
    m_bottom->addWidget(m_bottomRight);
    m_rows->addWidget(m_bottom);
    m_rows->setStretchFactor(0, 1);
    m_rows->setStretchFactor(1, 0);
    setCentralWidget(central);

    // The figures below stand under the inspector: one line through the whole window.
    connect(m_columns, &QSplitter::splitterMoved, this, [this] {
        if (!m_inspector->isHidden()) {
            m_bottom->setSizes({std::max(200, m_bottom->width() - m_inspector->width()), m_inspector->width()});
        }
        m_sized = true;
    });
    connect(m_rows, &QSplitter::splitterMoved, this, [this] { m_sized = true; });

    connect(m_banner, &Banner::cancelled, this, [this] {
        if (m_job != nullptr) {
            const std::lock_guard guard(m_job->lock);
            m_job->window = nullptr;
        }
        m_job.reset();
        m_opening = false;
    });
    connect(m_top, &TopBar::modeChosen, this, &MainWindow::chooseMode);
    connect(m_top->search(), &SearchBox::settingChosen, m_inspector, &Inspector::showSetting);
    connect(m_map, &MapView::roomActivated, this, [this](RoomId) {
        m_rightAction->setChecked(true);
        m_inspector->showTab(Inspector::function_tab);
    });
    connect(m_start, &StartPage::lessonChosen, this, &MainWindow::openLesson);
    connect(m_start, &StartPage::fileChosen, this, &MainWindow::openFile);
    connect(m_start, &StartPage::openWanted, this, &MainWindow::openDialog);
    connect(m_start, &StartPage::modelWanted, this, [this] { chooseMode(Mode::model); });
    connect(m_start, &StartPage::liveWanted, this, &MainWindow::showLivePage);
    connect(m_live, &LivePage::startWanted, this, &MainWindow::startLive);
    connect(m_live, &LivePage::copied, this, [this] { m_toast->say(tr("Copied")); });
    connect(m_inspector, &Inspector::copied, this, [this] { m_toast->say(tr("Copied")); });
    connect(m_lesson, &LessonPanel::pointsAt, m_map, &MapView::setPointedAt);
    connect(m_lesson, &LessonPanel::unfolds, this, &MainWindow::unfold);
    connect(m_lesson, &LessonPanel::failed, m_toast, &Toast::say);
    connect(m_lesson, &LessonPanel::finished, this, [this] {
        const auto lessons = list_lessons(m_services.lessons);
        const auto here = std::find_if(lessons.begin(), lessons.end(), [&](const LessonEntry& entry) {
            return m_lesson->lesson() != nullptr && entry.id == m_lesson->lesson()->id;
        });
        if (here != lessons.end() && std::next(here) != lessons.end()) {
            openLesson(text(std::next(here)->id));
            return;
        }
        closeSource();
    });
}

QAction* MainWindow::action(QMenu* menu, const QString& words, const QList<QKeySequence>& keys, std::function<void()> what)
{
    auto* made = new QAction(words, this);
    made->setShortcuts(keys);
    connect(made, &QAction::triggered, this, std::move(what));
    menu->addAction(made);
    addAction(made); // the menu hides behind a button: keys must work without it
    return made;
}

void MainWindow::buildMenus()
{
    auto* all = new QMenu(this);
    QMenu* file = all->addMenu(tr("&File"));
    action(file, tr("&Open…"), {QKeySequence(Qt::CTRL | Qt::Key_O)}, [this] { openDialog(); });
    m_lessonsMenu = file->addMenu(tr("Open &lesson"));
    connect(m_lessonsMenu, &QMenu::aboutToShow, this, &MainWindow::refreshLessonsMenu);
    m_recentMenu = file->addMenu(tr("&Recent"));
    connect(m_recentMenu, &QMenu::aboutToShow, this, &MainWindow::refreshRecent);
    m_saveAction = action(file, tr("&Save recording as…"), {QKeySequence(Qt::CTRL | Qt::Key_S)}, [this] { saveDialog(); });
    action(file, tr("&Close"), {QKeySequence(Qt::CTRL | Qt::Key_W)}, [this] { closeSource(); });
    file->addSeparator();
    action(file, tr("&Quit"), {QKeySequence(Qt::CTRL | Qt::Key_Q)}, [this] { close(); });

    QMenu* edit = all->addMenu(tr("&Edit"));
    auto* undo = m_undo->createUndoAction(this, tr("Turn back"));
    undo->setShortcut(QKeySequence(Qt::CTRL | Qt::Key_Z));
    auto* redo = m_undo->createRedoAction(this, tr("Turn again"));
    redo->setShortcuts({QKeySequence(Qt::CTRL | Qt::SHIFT | Qt::Key_Z), QKeySequence(Qt::CTRL | Qt::Key_Y)});
    edit->addAction(undo);
    edit->addAction(redo);
    addAction(undo);
    addAction(redo);
    action(edit, tr("&Copy packet or journey as text"), {QKeySequence(Qt::CTRL | Qt::Key_C)},
           [this] { QGuiApplication::clipboard()->setText(m_inspector->asText()); });
    action(edit, tr("&Find"), {QKeySequence(Qt::Key_Slash), QKeySequence(Qt::CTRL | Qt::Key_F)}, [this] {
        m_top->search()->setFocus(Qt::ShortcutFocusReason);
        m_top->search()->selectAll();
    });

    QMenu* view = all->addMenu(tr("&View"));
    auto* themes = new QActionGroup(this);
    const std::pair<QString, Theme::Mode> modes[] = {
        {tr("&Light"), Theme::Mode::light}, {tr("&Dark"), Theme::Mode::dark}, {tr("As the &system"), Theme::Mode::system}};
    for (const auto& [words, mode] : modes) {
        auto* entry = action(view, words, {}, [which = mode] { Theme::instance().setMode(which); });
        entry->setCheckable(true);
        entry->setData(static_cast<int>(mode));
        themes->addAction(entry);
    }
    connect(view, &QMenu::aboutToShow, this, [themes] {
        for (QAction* entry : themes->actions()) {
            entry->setChecked(entry->data().toInt() == static_cast<int>(Theme::instance().mode()));
        }
    });
    view->addSeparator();
    const auto panel = [&](const QString& words, int key, QWidget* widget) {
        auto* entry = action(view, words, {QKeySequence(Qt::CTRL | static_cast<Qt::Key>(key))}, [] {});
        entry->setCheckable(true);
        entry->setChecked(true);
        connect(entry, &QAction::toggled, this, [this, widget](bool on) {
            widget->setVisible(on && m_session != nullptr && m_centre->currentIndex() == 0);
            if (on && !m_sized) {
                defaultSizes();
            }
        });
        // `triggered` comes from hands only.
        connect(entry, &QAction::triggered, this, [this] { m_panelsChosen = true; });
        return entry;
    };
    m_leftAction = panel(tr("L&esson and controls"), Qt::Key_1, m_left);
    m_rightAction = panel(tr("&Inspector"), Qt::Key_2, m_inspector);
    m_bottomAction = panel(tr("&CPUs, queues, accounting"), Qt::Key_3, m_bottom);
    const std::pair<QString, Inspector::Tab> tabs[] = {{tr("&Packet"), Inspector::packet_tab},
                                                       {tr("s&k_buff"), Inspector::skb_tab},
                                                       {tr("&Journey"), Inspector::journey_tab},
                                                       {tr("F&unction"), Inspector::function_tab},
                                                       {tr("&Host"), Inspector::host_tab}};
    view->addSeparator();
    int number = 1;
    for (const auto& [words, tab] : tabs) {
        action(view, words, {QKeySequence(QStringLiteral("Alt+%1").arg(number++))}, [this, which = tab] {
            m_rightAction->setChecked(true);
            m_inspector->showTab(which);
        });
    }
    view->addSeparator();
    action(view, tr("&Full screen"), {QKeySequence(Qt::Key_F11)}, [this] { isFullScreen() ? showNormal() : showFullScreen(); });
    m_presentAction = action(view, tr("&Presentation"), {QKeySequence(Qt::Key_F5)}, [this] { present(!m_presenting); });
    m_presentAction->setCheckable(true);

    QMenu* play = all->addMenu(tr("&Play"));
    const auto step = [&](const QString& words, const QList<QKeySequence>& keys, auto what) {
        action(play, words, keys, [this, what] {
            if (m_session != nullptr) {
                what(*m_session);
            }
        });
    };
    step(tr("&Play or pause"), {QKeySequence(Qt::Key_Space)}, [](Session& s) { s.toggle(); });
    play->addSeparator();
    step(tr("Next &function"), {QKeySequence(Qt::Key_Right)}, [](Session& s) { s.pause(), s.stepFunction(+1); });
    step(tr("Function &back"), {QKeySequence(Qt::Key_Left)}, [](Session& s) { s.pause(), s.stepFunction(-1); });
    step(tr("Next p&acket"), {QKeySequence(Qt::SHIFT | Qt::Key_Right)}, [](Session& s) { s.pause(), s.stepPacket(+1); });
    step(tr("Packet ba&ck"), {QKeySequence(Qt::SHIFT | Qt::Key_Left)}, [](Session& s) { s.pause(), s.stepPacket(-1); });
    step(tr("Next &event"), {QKeySequence(Qt::CTRL | Qt::Key_Right)}, [](Session& s) { s.pause(), s.stepEvent(+1); });
    step(tr("E&vent back"), {QKeySequence(Qt::CTRL | Qt::Key_Left)}, [](Session& s) { s.pause(), s.stepEvent(-1); });
    step(tr("To the &start"), {QKeySequence(Qt::Key_Home)}, [](Session& s) { s.pause(), s.toBegin(); });
    step(tr("To the e&nd"), {QKeySequence(Qt::Key_End)}, [](Session& s) { s.pause(), s.toEnd(); });
    play->addSeparator();
    step(tr("Fa&ster"), {QKeySequence(Qt::Key_Plus), QKeySequence(Qt::Key_Equal)}, [](Session& s) { s.setSpeed(s.speed() * 2); });
    step(tr("S&lower"), {QKeySequence(Qt::Key_Minus)}, [](Session& s) { s.setSpeed(s.speed() / 2); });
    play->addSeparator();
    action(play, tr("Next lesson step"), {QKeySequence(Qt::Key_PageDown)}, [this] {
        if (m_mode == Mode::lesson) {
            m_lesson->goTo(m_lesson->step() + 1);
        }
    });
    action(play, tr("Lesson step back"), {QKeySequence(Qt::Key_PageUp)}, [this] {
        if (m_mode == Mode::lesson) {
            m_lesson->goTo(m_lesson->step() - 1);
        }
    });
    m_startOverAction = action(play, tr("Start &over"), {QKeySequence(Qt::CTRL | Qt::Key_R)}, [this] {
        if (m_session != nullptr) {
            m_undo->clear();
            m_session->startOver();
        }
    });

    QMenu* help = all->addMenu(tr("&Help"));
    action(help, tr("&Keys"), {QKeySequence(Qt::Key_F1)}, [this] { showKeys(); });
    action(help, tr("&About skbscope"), {}, [this] { showAbout(); });

    m_top->menuButton()->setMenu(all);
    auto* open = new QAction(this);
    open->setShortcut(QKeySequence(Qt::Key_F10));
    connect(open, &QAction::triggered, m_top->menuButton(), &QToolButton::showMenu);
    addAction(open);
    auto* escape = new QAction(this);
    escape->setShortcut(QKeySequence(Qt::Key_Escape));
    connect(escape, &QAction::triggered, this, [this] {
        if (!m_banner->words().isEmpty() && !m_opening) {
            m_banner->hide();
        } else if (m_presenting) {
            present(false);
        } else if (m_session != nullptr && m_centre->currentWidget() == m_live) {
            showStage();
            setMode(m_session->source().kind() == Source::Kind::model ? Mode::model
                    : m_session->source().kind() == Source::Kind::live ? Mode::live
                                                                       : Mode::recording);
        } else if (m_session != nullptr) {
            m_session->select({});
        }
    });
    addAction(escape);
}

// ---- opening -----------------------------------------------------------------------------------------------------

void MainWindow::adopt(std::unique_ptr<Source> source, Mode mode)
{
    auto session = source == nullptr ? nullptr : std::make_unique<Session>(std::move(source));
    Session* now = session.get();
    if (m_session != nullptr) {
        m_session->pause();
    }
    if (now != nullptr) {
        const double stored = m_services.remember ? settings().value(QStringLiteral("speed"), 20'000).toDouble() : 20'000;
        now->setRunner([this](const QString& what, const std::function<void(Work&)>& todo) { work(what, todo); });
        now->setSpeed(now->source().kind() == Source::Kind::recording ? speedFor(now->trace())
                      : m_session != nullptr && m_session->source().kind() == Source::Kind::model ? m_session->speed()
                                                                                                  : stored);
    }
    m_undo->clear();
    m_lesson->setLesson(std::nullopt, nullptr);
    m_map->setPointedAt({});
    // The old session lives until nobody points at it any more.
    delete m_timeline;
    m_timeline = nullptr;
    m_top->setSession(now);
    m_liveStrip->setSession(now);
    m_controls->setSession(now);
    m_inspector->setSession(now);
    m_accounting->setSession(now);
    m_map->setSession(now);
    m_session.swap(session);
    session.reset();

    if (now != nullptr) {
        m_timeline = new TimelineView(now, m_bottom);
        m_bottom->insertWidget(0, m_timeline);
        m_bottom->setStretchFactor(0, 1);
        m_bottom->setStretchFactor(1, 0);
        connect(now, &Session::playheadMoved, this, &MainWindow::refreshHeadline);
        connect(now, &Session::failed, this, &MainWindow::showError);
        connect(now, &Session::liveChanged, this, &MainWindow::onLiveChanged);
        connect(now, &Session::skipped, this, [this](Duration idle) {
            m_toast->say(tr("Skipped %1 in which nothing happened").arg(durationText(idle)));
        });
    }
    m_centre->setCurrentIndex(now == nullptr ? 1 : 0);
    m_left->setVisible(now != nullptr && m_leftAction->isChecked());
    m_inspector->setVisible(now != nullptr && m_rightAction->isChecked());
    m_bottom->setVisible(now != nullptr && m_bottomAction->isChecked());
    m_saveAction->setEnabled(now != nullptr && m_services.save != nullptr);
    m_startOverAction->setEnabled(now != nullptr && now->source().kind() == Source::Kind::model);
    setMode(mode);
    refreshBadges();
    refreshHeadline();
    if (!m_sized) {
        defaultSizes();
    } else if (now != nullptr && !m_inspector->isHidden()) {
        m_bottom->setSizes({std::max(200, m_bottom->width() - m_inspector->width()), m_inspector->width()});
    }
}

void MainWindow::setSource(std::unique_ptr<Source> source, Mode mode)
{
    m_title = source == nullptr ? QString() : text(source->title());
    adopt(std::move(source), mode);
    if (m_session == nullptr) {
        return;
    }
    if (!m_panelsChosen) {
        m_rightAction->setChecked(true);
        m_bottomAction->setChecked(true);
    }
    // Paused on its first packet; a live one runs.
    if (!m_session->isLive()) {
        m_session->stepPacket(+1);
    }
    connect(m_session.get(), &Session::remarked, m_toast, &Toast::say);
    m_left->setCurrentWidget(m_controls);
    setWindowTitle(QStringLiteral("%1 – skbscope").arg(m_title));
    emit opened();
}

void MainWindow::closeSource()
{
    adopt(nullptr, Mode::none);
    m_title.clear();
    QStringList recent;
    if (m_services.remember) {
        recent = settings().value(QStringLiteral("recent")).toStringList().mid(0, 5);
    }
    m_start->setContent(m_services.lessons.empty() ? std::vector<LessonEntry>{} : list_lessons(m_services.lessons), recent,
                        m_services.model != nullptr);
    setWindowTitle(QStringLiteral("skbscope"));
}

void MainWindow::openFile(const QString& path)
{
    if (const auto folder = lessonFolder(path)) {
        openLesson(path);
        return;
    }
    if (!m_services.open) {
        showError(tr("This window cannot open files"));
        return;
    }
    if (m_job != nullptr) { // a newer wish: the older result will be dropped
        const std::lock_guard guard(m_job->lock);
        m_job->window = nullptr;
    }
    auto job = std::make_shared<Job>();
    job->window = this;
    m_job = job;
    m_opening = true;
    const qint64 bytes = QFileInfo(path).size();
    m_banner->showProgress(tr("Opening %1 (%2)…").arg(QFileInfo(path).fileName(), bytesText(static_cast<std::uint64_t>(std::max<qint64>(0, bytes)))));
    m_pool.start([job, path, open = m_services.open] {
        // Held in a shared place: a queued call must be copyable.
        auto result = std::make_shared<Result<std::unique_ptr<Source>>>(open(std::filesystem::path(path.toStdString())));
        const std::lock_guard guard(job->lock);
        if (job->window == nullptr) {
            return;
        }
        QMetaObject::invokeMethod(
            job->window,
            [job, path, result] {
                MainWindow* window = nullptr;
                {
                    const std::lock_guard again(job->lock);
                    window = job->window;
                }
                if (window == nullptr) {
                    return;
                }
                window->whenIdle([window, job, path, result] {
                    if (window->m_job == job) {
                        window->m_job.reset();
                        window->m_opening = false;
                        window->m_banner->endProgress();
                        window->arriveAt(path, std::move(*result));
                    }
                });
            },
            Qt::QueuedConnection);
    });
}

bool MainWindow::openNow(const QString& path)
{
    if (lessonFolder(path)) {
        return openLesson(path);
    }
    if (!m_services.open) {
        showError(tr("This window cannot open files"));
        return false;
    }
    auto result = m_services.open(std::filesystem::path(path.toStdString()));
    const bool good = result.has_value();
    arriveAt(path, std::move(result));
    return good;
}

void MainWindow::arriveAt(const QString& path, Result<std::unique_ptr<Source>> result)
{
    if (!result) {
        const QString words = text(result.error().describe());
        showError(words);
        emit openFailed(words);
        return;
    }
    const bool model = (*result)->kind() == Source::Kind::model;
    m_banner->hide();
    setSource(std::move(*result), model ? Mode::model : Mode::recording);
    remember(path);
    // What of the file is missing is said at once; the other faults stand in the panel on the left.
    for (const Fault& fault : m_session->trace().faults) {
        const QString cause = text(fault.cause);
        if (cause.contains(QStringLiteral("cut ")) || cause.contains(QStringLiteral("lost"))) {
            showError(cause);
            break;
        }
    }
}

bool MainWindow::openLesson(const QString& id)
{
    const auto refuse = [this](const Error& error) {
        const QString words = text(error.describe());
        showError(words);
        emit openFailed(words);
        return false;
    };
    std::filesystem::path folder;
    if (const auto given = lessonFolder(id)) {
        folder = *given;
    } else {
        const auto found = find_lesson(m_services.lessons, id.toStdString());
        if (!found) {
            return refuse(found.error());
        }
        folder = *found;
    }
    auto lesson = load_lesson(folder);
    if (!lesson) {
        return refuse(lesson.error());
    }
    if (!m_services.open) {
        showError(tr("This window cannot open files"));
        return false;
    }
    auto source = m_services.open(lesson->driver());
    if (!source) {
        return refuse(source.error());
    }
    m_banner->hide();
    m_title = text(lesson->title);
    // First the map, the text and the transport; what else there is unfolds when a step asks for it.
    if (!m_panelsChosen) {
        m_rightAction->setChecked(false);
        m_bottomAction->setChecked(false);
    }
    adopt(std::move(*source), Mode::lesson);
    m_left->setCurrentWidget(m_lesson);
    connect(m_session.get(), &Session::remarked, m_toast, &Toast::say);
    m_lesson->setLesson(std::move(*lesson), m_session.get());
    setWindowTitle(QStringLiteral("%1 – skbscope").arg(m_title));
    emit opened();
    return true;
}

void MainWindow::remember(const QString& path)
{
    if (!m_services.remember) {
        return;
    }
    QSettings stored = settings();
    QStringList recent = stored.value(QStringLiteral("recent")).toStringList();
    const QString whole = QFileInfo(path).absoluteFilePath();
    recent.removeAll(whole);
    recent.prepend(whole);
    stored.setValue(QStringLiteral("recent"), recent.mid(0, most_recent));
}

void MainWindow::refreshRecent()
{
    m_recentMenu->clear();
    const QStringList recent = m_services.remember ? settings().value(QStringLiteral("recent")).toStringList() : QStringList();
    for (const QString& path : recent) {
        m_recentMenu->addAction(QDir::toNativeSeparators(path), this, [this, path] { openFile(path); });
    }
    if (recent.isEmpty()) {
        m_recentMenu->addAction(tr("nothing yet"))->setEnabled(false);
    }
}

void MainWindow::refreshLessonsMenu()
{
    m_lessonsMenu->clear();
    int number = 0;
    for (const LessonEntry& lesson : m_services.lessons.empty() ? std::vector<LessonEntry>{} : list_lessons(m_services.lessons)) {
        auto* entry = m_lessonsMenu->addAction(
            QStringLiteral("%1 · %2").arg(++number).arg(text(lesson.error ? lesson.id : lesson.title)), this,
            [this, id = text(lesson.id)] { openLesson(id); });
        entry->setEnabled(!lesson.error);
    }
    if (number == 0) {
        m_lessonsMenu->addAction(tr("none found"))->setEnabled(false);
    }
}

void MainWindow::openDialog()
{
    const QString path = QFileDialog::getOpenFileName(
        this, tr("Open"), {},
        tr("Everything skbscope reads (*.pcapng *.pcap *.cap *.dat *.yaml *.yml);;All files (*)"));
    if (!path.isEmpty()) {
        openFile(path);
    }
}

void MainWindow::saveDialog()
{
    if (m_session == nullptr || !m_services.save) {
        return;
    }
    QString path = QFileDialog::getSaveFileName(this, tr("Save recording as"), QStringLiteral("recording.pcapng"),
                                                tr("Recordings (*.pcapng)"));
    if (path.isEmpty()) {
        return;
    }
    if (QFileInfo(path).suffix().isEmpty()) {
        path += QStringLiteral(".pcapng");
    }
    Result<void> saved;
    work(tr("Saving %1").arg(QFileInfo(path).fileName()),
         [&](Work&) { saved = m_services.save(m_session->source(), std::filesystem::path(path.toStdString())); });
    if (!saved) {
        showError(text(saved.error().describe()));
        return;
    }
    m_toast->say(tr("Saved %1").arg(QFileInfo(path).fileName()));
    remember(path);
}

void MainWindow::dragEnterEvent(QDragEnterEvent* event)
{
    if (event->mimeData()->hasUrls() && event->mimeData()->urls().front().isLocalFile()) {
        event->acceptProposedAction();
    }
}

void MainWindow::dropEvent(QDropEvent* event)
{
    const auto urls = event->mimeData()->urls();
    if (!urls.isEmpty() && urls.front().isLocalFile()) {
        event->acceptProposedAction();
        openFile(urls.front().toLocalFile());
    }
}

// ---- what is shown -----------------------------------------------------------------------------------------------

void MainWindow::setMode(Mode mode)
{
    m_mode = mode;
    m_top->setMode(mode);
}

void MainWindow::chooseMode(Mode mode)
{
    switch (mode) {
    case Mode::model:
        showStage();
        // A lesson's own model is there to be played with; leaving the text does not lose the run.
        if (m_session != nullptr && m_session->source().kind() == Source::Kind::model) {
            m_left->setCurrentWidget(m_controls);
            setMode(Mode::model);
        } else if (m_services.model) {
            auto source = m_services.model();
            if (!source) {
                showError(text(source.error().describe()));
                return;
            }
            setSource(std::move(*source), Mode::model);
        }
        m_leftAction->setChecked(true);
        m_rightAction->setChecked(true);
        m_bottomAction->setChecked(true);
        return;
    case Mode::lesson:
        if (m_lesson->lesson() != nullptr && m_mode != Mode::lesson) {
            showStage();
            m_left->setCurrentWidget(m_lesson);
            m_leftAction->setChecked(true);
            setMode(Mode::lesson);
            return;
        }
        refreshLessonsMenu();
        m_lessonsMenu->popup(m_top->mapToGlobal(QPoint(m_top->width() / 5, m_top->height() - 4)));
        return;
    case Mode::recording: openDialog(); return;
    case Mode::live:
        if (m_session != nullptr && m_session->source().kind() == Source::Kind::live && m_session->isLive()) {
            showStage();
            setMode(Mode::live);
            return;
        }
        showLivePage();
        return;
    case Mode::none: return;
    }
}

void MainWindow::refreshBadges()
{
    QString origin;
    QString warning;
    if (m_session != nullptr) {
        const TraceInfo& info = m_session->trace().info;
        const bool live = m_session->source().kind() == Source::Kind::live;
        const bool model = m_session->source().kind() == Source::Kind::model || (!info.observed && !live);
        const QString release = info.kernel_release.empty() ? tr("kernel unknown") : text(info.kernel_release);
        origin = model ? tr("model of %1").arg(text(to_string(info.kernel))) : live ? tr("live, %1").arg(release) : tr("recorded, %1").arg(release);
        warning = info.times_trustworthy ? QString() : tr("order real, times not");
    }
    m_headline->setBadges(origin, warning);
}

// ---- live ----------------------------------------------------------------------------------------------------------

void MainWindow::showLivePage()
{
    if (m_session != nullptr) {
        m_session->pause();
    }
    m_left->hide();
    m_inspector->hide();
    m_bottom->hide();
    m_centre->setCurrentWidget(m_live);
    setMode(Mode::live);
    m_live->refresh();
}

void MainWindow::showStage()
{
    if (m_session == nullptr) {
        m_centre->setCurrentWidget(m_start);
        return;
    }
    m_centre->setCurrentIndex(0);
    m_left->setVisible(m_leftAction->isChecked());
    m_inspector->setVisible(m_rightAction->isChecked());
    m_bottom->setVisible(m_bottomAction->isChecked());
}

void MainWindow::startLive(const LiveRequest& request)
{
    if (!m_services.live.start) {
        return;
    }
    auto source = m_services.live.start(request);
    if (!source) {
        showError(text(source.error().describe()));
        return;
    }
    m_banner->hide();
    setSource(std::move(*source), Mode::live);
}

void MainWindow::onLiveChanged()
{
    Session& session = *m_session;
    refreshBadges();
    if (session.isLive()) {
        return;
    }
    const auto status = session.source().live_status();
    if (!status) {
        return;
    }
    if (!status->ending.empty()) {
        showError(text(status->ending));
    }
    if (session.trace().empty()) { // nothing to look at: back to where it was begun
        const QString words = status->ending.empty() ? tr("The stream ended before anything had come.") : text(status->ending);
        QMetaObject::invokeMethod(
            this,
            [this, words] {
                if (m_session != nullptr && m_session->trace().empty() && m_session->source().kind() == Source::Kind::live) {
                    closeSource();
                    showLivePage();
                    showError(words);
                }
            },
            Qt::QueuedConnection);
    }
}

void MainWindow::refreshHeadline()
{
    m_headline->setText(m_session == nullptr ? QString() : m_session->sentence());
}

void MainWindow::unfold(const std::vector<std::string>& panels)
{
    const auto inspector = [](const std::string& panel) {
        return panel == "packet" || panel == "skb" || panel == "journey" || panel == "function";
    };
    // What an earlier step unfolded stays, also when one jumps over it.
    if (!m_panelsChosen && m_lesson->lesson() != nullptr) {
        bool right = false;
        bool below = false;
        const auto& steps = m_lesson->lesson()->steps;
        for (int i = 0; i <= m_lesson->step() && i < static_cast<int>(steps.size()); ++i) {
            for (const std::string& panel : steps[static_cast<std::size_t>(i)].panels) {
                right = right || inspector(panel);
                below = below || panel == "queues" || panel == "cpus";
            }
        }
        m_rightAction->setChecked(m_rightAction->isChecked() || right);
        m_bottomAction->setChecked(m_bottomAction->isChecked() || below);
    }
    // The first one named is the one to look at.
    const auto wanted = std::find_if(panels.begin(), panels.end(), inspector);
    if (wanted != panels.end()) {
        m_inspector->showTab(*wanted == "packet"    ? Inspector::packet_tab
                             : *wanted == "skb"     ? Inspector::skb_tab
                             : *wanted == "journey" ? Inspector::journey_tab
                                                    : Inspector::function_tab);
    }
}

void MainWindow::showError(const QString& words)
{
    m_banner->showError(words);
}

void MainWindow::setTitle(const QString& title)
{
    m_title = title;
    setWindowTitle(QStringLiteral("%1 – skbscope").arg(m_title));
}

void MainWindow::present(bool on)
{
    if (on == m_presenting) {
        return;
    }
    m_presenting = on;
    m_presentAction->setChecked(on);
    if (on) {
        m_wasRight = m_rightAction->isChecked();
        m_wasBottom = m_bottomAction->isChecked();
        m_rightAction->setChecked(false);
        m_bottomAction->setChecked(false);
        showFullScreen();
    } else {
        m_rightAction->setChecked(m_wasRight);
        m_bottomAction->setChecked(m_wasBottom);
        showNormal();
    }
}

void MainWindow::work(const QString& what, const std::function<void(Work&)>& todo)
{
    Work state;
    m_work = &state;
    runBehindCurtain(this, what, todo, state);
    m_work = nullptr;
    // What had to wait comes when the one who asked for the work is done with it, too.
    for (auto& waiting : std::exchange(m_afterWork, {})) {
        QMetaObject::invokeMethod(this, [this, waiting = std::move(waiting)] { whenIdle(waiting); }, Qt::QueuedConnection);
    }
}

void MainWindow::whenIdle(std::function<void()> what)
{
    if (m_work != nullptr) {
        m_afterWork.push_back(std::move(what));
        return;
    }
    what();
}

void MainWindow::showKeys()
{
    QDialog dialog(this);
    dialog.setWindowTitle(tr("Keys"));
    auto* column = new QVBoxLayout(&dialog);
    column->setContentsMargins(24, 20, 24, 20);
    const Colors& c = Theme::instance().colors();
    QString rows;
    const auto row = [&](const QString& keys, const QString& what) {
        rows += QStringLiteral("<tr><td style='padding:3px 28px 3px 0; font-family:%1; color:%2'>%3</td><td style='padding:3px 0'>%4</td></tr>")
                    .arg(Theme::mono(12).family(), c.accent.name(), keys.toHtmlEscaped(), what.toHtmlEscaped());
    };
    row(tr("Space"), tr("play, pause"));
    row(tr("→  ←"), tr("next function, function back (of the selected packet, or of any)"));
    row(tr("Shift →  ←"), tr("next packet, packet before"));
    row(tr("Ctrl →  ←"), tr("next event, event back"));
    row(tr("Home  End"), tr("start, end"));
    row(tr("+  −"), tr("faster, slower"));
    row(tr("Page Down  Up"), tr("next step of the lesson, step back"));
    row(tr("/"), tr("find a packet, function, room, socket, setting"));
    row(tr("Tab  Shift Tab"), tr("from panel to panel"));
    row(tr("Alt 1 … 5"), tr("Packet, sk_buff, Journey, Function, Host"));
    row(tr("Ctrl 1 … 3"), tr("fold panels: left, inspector, below"));
    row(tr("Ctrl C"), tr("copy the packet or its journey as text"));
    row(tr("Ctrl Z"), tr("turn a knob back"));
    row(tr("Ctrl R"), tr("start over"));
    row(tr("Ctrl O  S  W  Q"), tr("open, save as, close, quit"));
    row(tr("F5  F11"), tr("presentation, full screen"));
    row(tr("Esc"), tr("dismiss, leave, select nothing"));
    auto* table = new QLabel(QStringLiteral("<table cellspacing='0'>%1</table>").arg(rows), &dialog);
    table->setTextFormat(Qt::RichText);
    column->addWidget(table);
    auto* close = new QPushButton(tr("Close"), &dialog);
    connect(close, &QPushButton::clicked, &dialog, &QDialog::accept);
    column->addWidget(close, 0, Qt::AlignRight);
    dialog.exec();
}

void MainWindow::showAbout()
{
    QDialog dialog(this);
    dialog.setWindowTitle(tr("About skbscope"));
    auto* column = new QVBoxLayout(&dialog);
    column->setContentsMargins(28, 24, 28, 20);
    column->setSpacing(10);
    column->addWidget(new Label(tr("skbscope %1").arg(QCoreApplication::applicationVersion()), Tone::normal, Theme::sans(18, QFont::DemiBold), &dialog));
    auto* words = new Label(tr("Shows how Linux receives and sends packets, function by function.\n\n"
                               "What a model run shows is computed by a model of the kernel, what a recording shows was written by a "
                               "real one; the catalog says where the model simplifies.\n\n"
                               "Free software under the GNU General Public License, version 3 or later. Built with Qt, QCustomPlot, "
                               "libpcap, libtraceevent, libtracecmd, zstd, yaml-cpp, nlohmann-json, CLI11 and fmt."),
                            Tone::muted, Theme::sans(13), &dialog);
    words->setWordWrap(true);
    words->setMinimumWidth(420);
    column->addWidget(words);
    auto* close = new QPushButton(tr("Close"), &dialog);
    connect(close, &QPushButton::clicked, &dialog, &QDialog::accept);
    column->addWidget(close, 0, Qt::AlignRight);
    dialog.exec();
}

// ---- keys, sizes, settings ---------------------------------------------------------------------------------------

bool MainWindow::eventFilter(QObject* watched, QEvent* event)
{
    // Space, arrows and the like belong to the window, except where the focused widget has a use of its own for them.
    if (event->type() == QEvent::ShortcutOverride) {
        const auto* key = static_cast<QKeyEvent*>(event);
        const auto bare = key->modifiers() & ~Qt::KeypadModifier;
        auto* widget = qobject_cast<QWidget*>(watched);
        if (widget != nullptr && widget->hasFocus() && bare == Qt::NoModifier) {
            const bool press = key->key() == Qt::Key_Space;
            const bool arrow = key->key() == Qt::Key_Left || key->key() == Qt::Key_Right || key->key() == Qt::Key_Home || key->key() == Qt::Key_End;
            const bool page = key->key() == Qt::Key_PageUp || key->key() == Qt::Key_PageDown;
            if ((press && qobject_cast<QAbstractButton*>(widget) != nullptr) ||
                ((arrow || page) && qobject_cast<QAbstractSlider*>(widget) != nullptr) || (arrow && qobject_cast<QTabBar*>(widget) != nullptr) ||
                ((arrow || page) && qobject_cast<QAbstractItemView*>(widget) != nullptr)) {
                event->accept();
                return true;
            }
        }
    }
    return QMainWindow::eventFilter(watched, event);
}

void MainWindow::defaultSizes()
{
    // The proportions of a 1600 × 900 window, with what a smaller one can spare taken from the sides.
    const int wide = std::max(width(), 900);
    const int high = std::max(height(), 560) - m_top->height();
    const int left = wide >= 1500 ? 300 : 262;
    const int right = wide >= 1500 ? 384 : 318;
    const int below = high >= 800 ? 246 : 196;
    m_columns->setSizes({left, wide - left - right, right});
    m_rows->setSizes({high - below, below});
    m_bottom->setSizes({wide - right, right});
}

void MainWindow::resizeEvent(QResizeEvent* event)
{
    QMainWindow::resizeEvent(event);
    if (!m_sized) {
        defaultSizes();
    }
}

void MainWindow::restoreSettings()
{
    resize(1600, 900);
    if (!m_services.remember) {
        return;
    }
    const QSettings stored = settings();
    const int theme = stored.value(QStringLiteral("theme"), static_cast<int>(Theme::Mode::system)).toInt();
    // A theme that the command line has asked for wins.
    if (Theme::instance().mode() == Theme::Mode::system && theme >= 0 && theme <= static_cast<int>(Theme::Mode::dark)) {
        Theme::instance().setMode(static_cast<Theme::Mode>(theme));
    }
    restoreGeometry(stored.value(QStringLiteral("geometry")).toByteArray());
    const bool columns = m_columns->restoreState(stored.value(QStringLiteral("columns")).toByteArray());
    const bool rows = m_rows->restoreState(stored.value(QStringLiteral("rows")).toByteArray());
    m_sized = columns && rows;
    m_panelsChosen = stored.value(QStringLiteral("panelsChosen"), false).toBool();
    m_leftAction->setChecked(stored.value(QStringLiteral("left"), true).toBool());
    m_rightAction->setChecked(stored.value(QStringLiteral("right"), true).toBool());
    m_bottomAction->setChecked(stored.value(QStringLiteral("bottom"), true).toBool());
}

void MainWindow::saveSettings() const
{
    if (!m_services.remember) {
        return;
    }
    QSettings stored = settings();
    stored.setValue(QStringLiteral("theme"), static_cast<int>(Theme::instance().mode()));
    stored.setValue(QStringLiteral("geometry"), saveGeometry());
    if (m_sized && !m_presenting) {
        stored.setValue(QStringLiteral("columns"), m_columns->saveState());
        stored.setValue(QStringLiteral("rows"), m_rows->saveState());
    }
    stored.setValue(QStringLiteral("panelsChosen"), m_panelsChosen);
    stored.setValue(QStringLiteral("left"), m_leftAction->isChecked());
    stored.setValue(QStringLiteral("right"), m_presenting ? m_wasRight : m_rightAction->isChecked());
    stored.setValue(QStringLiteral("bottom"), m_presenting ? m_wasBottom : m_bottomAction->isChecked());
    if (m_session != nullptr && m_session->source().kind() == Source::Kind::model) {
        stored.setValue(QStringLiteral("speed"), m_session->speed());
    }
}

void MainWindow::closeEvent(QCloseEvent* event)
{
    if (m_work != nullptr) {
        m_work->cancelled = true;
        event->ignore();
        whenIdle([this] { close(); });
        return;
    }
    saveSettings();
    QMainWindow::closeEvent(event);
}

} // namespace skbscope::ui
