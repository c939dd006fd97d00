#include "ui/main_window.h"

#include "ui/banner.h"
#include "ui/busy_curtain.h"
#include "ui/compare/compare_dialog.h"
#include "ui/controls/accounting_block.h"
#include "ui/controls/control_panel.h"
#include "ui/controls/icons.h"
#include "ui/controls/packet_list.h"
#include "ui/inspector/inspector.h"
#include "ui/lesson/lesson_editor.h"
#include "ui/lesson/lesson_panel.h"
#include "ui/lesson/step_text.h"
#include "ui/live/live_page.h"
#include "ui/live/live_strip.h"
#include "ui/map/map_view.h"
#include "ui/player/format.h"
#include "ui/player/session.h"
#include "ui/rules/rules_panel.h"
#include "ui/start_page.h"
#include "ui/theme/theme.h"
#include "ui/timeline/timeline_view.h"
#include "ui/user_settings.h"

#include <QAction>
#include <QApplication>
#include <QDir>
#include <QDropEvent>
#include <QElapsedTimer>
#include <QFileDialog>
#include <QFileInfo>
#include <QMenu>
#include <QMessageBox>
#include <QMimeData>
#include <QRegularExpression>
#include <QSaveFile>
#include <QSplitter>
#include <QStackedWidget>
#include <QTimer>
#include <QUndoStack>
#include <algorithm>
#include <cmath>
#include <mutex>

namespace skbscope::ui {

namespace {

constexpr int most_recent = 10;

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
    Progress progress;
    QElapsedTimer since;
};

MainWindow::MainWindow(WindowServices services, QWidget* parent)
    : QMainWindow(parent), m_services(std::move(services)), m_undo(new QUndoStack(this))
{
    m_jobTimer = new QTimer(this);
    constexpr int often_ms = 150;
    m_jobTimer->setInterval(often_ms);
    connect(m_jobTimer, &QTimer::timeout, this, &MainWindow::showJob);
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
    setFocus(); // nothing is marked until somebody presses Tab
}

MainWindow::~MainWindow()
{
    dropJob();
    m_pool.clear();
    qApp->removeEventFilter(this);
    // Panels point at the session: they go first.
    delete takeCentralWidget();
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
        const double stored = m_services.remember ? userSettings().value(QStringLiteral("speed"), 20'000).toDouble() : 20'000;
        now->setRunner([this](const QString& what, const std::function<void(Work&)>& todo) { work(what, todo); });
        now->setSpeed(now->source().kind() == Source::Kind::recording ? speedFor(now->trace())
                      : m_session != nullptr && m_session->source().kind() == Source::Kind::model ? m_session->speed()
                                                                                                  : stored);
    }
    m_savedEvents = 0;
    m_undo->clear();
    m_editor->setFolder({});
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
    m_rules->setSession(now);
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
    if (now == nullptr || now->source().texts().empty()) {
        m_rulesAction->setChecked(false);
    }
    m_rules->setVisible(now != nullptr && m_rulesAction->isChecked());
    m_lessonTextAction->setChecked(false);
    m_lessonTextAction->setEnabled(false);
    m_addStepAction->setEnabled(false);
    m_newLessonAction->setEnabled(now != nullptr && (now->source().scenario_text() || m_services.save));
    m_pictureAction->setEnabled(now != nullptr);
    m_compareAction->setEnabled(now != nullptr && m_services.open);
    m_scenarioAction->setEnabled(now != nullptr && now->source().scenario_text().has_value());
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
        wantBottom();
    }
    // Paused on its first packet; a live one runs.
    if (!m_session->isLive()) {
        m_session->stepPacket(+1);
    }
    if (m_session->source().kind() == Source::Kind::recording) {
        m_inspector->showTab(Inspector::journey_tab); // where a packet went is what one opens a recording for
    }
    connect(m_session.get(), &Session::remarked, m_toast, &Toast::say);
    m_left->setCurrentWidget(m_controls);
    refreshTitle();
    emit opened();
}

void MainWindow::closeSource()
{
    adopt(nullptr, Mode::none);
    m_title.clear();
    QStringList recent;
    if (m_services.remember) {
        recent = userSettings().value(QStringLiteral("recent")).toStringList().mid(0, 5);
    }
    m_start->setContent(m_services.lessons.empty() ? std::vector<LessonEntry>{} : list_lessons(m_services.lessons), recent,
                        m_services.model != nullptr);
    refreshTitle();
}

/// What is being opened is not wanted any more: it ends as soon as it can, and its result is dropped.
void MainWindow::dropJob()
{
    m_jobTimer->stop();
    if (m_job != nullptr) {
        m_job->progress.cancel();
        const std::lock_guard guard(m_job->lock);
        m_job->window = nullptr;
    }
    m_job.reset();
}

void MainWindow::showJob()
{
    if (m_job == nullptr) {
        return;
    }
    const Progress& progress = m_job->progress;
    const std::uint64_t things = progress.things();
    const auto took = static_cast<std::uint64_t>(std::max<qint64>(1, m_job->since.elapsed()));
    constexpr std::uint64_t ms_a_second = 1000;
    m_banner->setProgress(progress.percent(), things == 0 ? QString()
                                                          : tr("%1 records, %2 a second")
                                                                .arg(countText(things), countText(things * ms_a_second / took)));
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
    if (!mayLeave()) {
        return;
    }
    dropJob(); // a newer wish
    auto job = std::make_shared<Job>();
    job->window = this;
    job->since.start();
    m_job = job;
    m_opening = true;
    m_jobTimer->start();
    const qint64 bytes = QFileInfo(path).size();
    m_banner->showProgress(tr("Opening %1 (%2)…").arg(QFileInfo(path).fileName(), bytesText(static_cast<std::uint64_t>(std::max<qint64>(0, bytes)))));
    m_pool.start([job, path, open = m_services.open, openWatched = m_services.openWatched] {
        const std::filesystem::path file(path.toStdString());
        // Held in a shared place: a queued call must be copyable.
        auto result = std::make_shared<Result<std::unique_ptr<Source>>>(openWatched ? openWatched(file, job->progress) : open(file));
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
                        window->m_jobTimer->stop();
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

void MainWindow::cancelOpening()
{
    dropJob();
    m_opening = false;
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
            showError(QStringLiteral("%1: %2").arg(QFileInfo(path).fileName(), cause) + (fault.advice.empty() ? QString() : QStringLiteral(" (%1)").arg(text(fault.advice))));
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
    if (!mayLeave()) {
        return false;
    }
    m_banner->hide();
    m_title = text(lesson->title);
    // First the map, the text and the transport; what else there is unfolds when a step asks for it.
    if (!m_panelsChosen) {
        m_rightAction->setChecked(false);
        m_bottomAction->setChecked(false);
        m_bottomUnderRules = false;
    }
    adopt(std::move(*source), Mode::lesson);
    m_left->setCurrentWidget(m_lesson);
    connect(m_session.get(), &Session::remarked, m_toast, &Toast::say);
    m_lesson->setLesson(std::move(*lesson), m_session.get());
    const bool own = isOwnLesson();
    m_lesson->setWritable(own);
    m_lessonTextAction->setEnabled(own);
    m_addStepAction->setEnabled(own);
    if (own) {
        m_editor->setFolder(m_lesson->lesson()->folder);
        const auto actions = m_session->source().actions();
        const auto knobs = m_session->source().knobs();
        m_editor->setExperimentLines(!m_lesson->lesson()->uses_model() ? QString()
                                     : !actions.empty()                ? QStringLiteral("do:\n  - %1\n").arg(text(actions.front().key))
                                     : !knobs.empty() ? QStringLiteral("knobs:\n  \"%1\": %2\n").arg(text(knobs.front().key)).arg(knobs.front().value)
                                                      : QString());
        remember(text(m_lesson->lesson()->folder.string())); // the list of lessons has those of the program only
    }
    refreshTitle();
    emit opened();
    return true;
}

void MainWindow::remember(const QString& path)
{
    if (!m_services.remember) {
        return;
    }
    QSettings stored = userSettings();
    QStringList recent = stored.value(QStringLiteral("recent")).toStringList();
    const QString whole = QFileInfo(path).absoluteFilePath();
    recent.removeAll(whole);
    recent.prepend(whole);
    stored.setValue(QStringLiteral("recent"), recent.mid(0, most_recent));
}

void MainWindow::openDialog()
{
    const QString path = QFileDialog::getOpenFileName(
        this, tr("Open"), {},
        tr("Everything skbscope reads (*.pcapng *.pcap *.cap *.dat *.yaml *.yml lesson.md);;All files (*)"));
    if (!path.isEmpty()) {
        openFile(path);
    }
}

bool MainWindow::saveDialog(bool last)
{
    if (m_session == nullptr || !m_services.save) {
        return false;
    }
    QString path = m_askPath ? m_askPath()
                             : QFileDialog::getSaveFileName(this, tr("Save recording as"), QStringLiteral("recording.pcapng"), tr("Recordings (*.pcapng)"));
    if (path.isEmpty()) {
        return false;
    }
    if (last && m_session->isLive()) {
        m_session->stopLive();
        constexpr int most_looks = 1000;
        for (int look = 0; look < most_looks && m_session->isLive(); ++look) {
            m_session->toEnd(); // what has arrived by now is part of it
        }
    }
    if (QFileInfo(path).suffix().isEmpty()) {
        path += QStringLiteral(".pcapng");
    }
    return saveTo(path);
}

bool MainWindow::saveTo(const QString& path)
{
    const std::size_t events = m_session == nullptr ? 0 : m_session->trace().size();
    if (!writeRecordingTo(path)) {
        return false;
    }
    m_savedEvents = events;
    refreshTitle();
    m_toast->say(tr("Saved %1").arg(QFileInfo(path).fileName()));
    remember(path);
    return true;
}

bool MainWindow::writeRecordingTo(const QString& path)
{
    if (m_session == nullptr || !m_services.save || m_work != nullptr) {
        return false;
    }
    Result<void> saved;
    Work state;
    state.all_or_nothing = true;
    // A live source goes on coming in; what comes meanwhile waits until this is written.
    m_session->holdStillFor([&] {
        work(tr("Saving %1").arg(QFileInfo(path).fileName()),
             [&](Work& saving) { saved = m_services.save(m_session->source(), std::filesystem::path(path.toStdString()), saving.progress); }, state);
    });
    if (state.progress.is_cancelled() && !saved) {
        m_toast->say(tr("Not saved"));
        return false;
    }
    if (!saved) {
        showError(text(saved.error().describe()));
        return false;
    }
    return true;
}

bool MainWindow::saveScenarioDialog()
{
    QString path = m_askPath ? m_askPath()
                             : QFileDialog::getSaveFileName(this, tr("Save scenario as"), QStringLiteral("scenario.yaml"), tr("Scenarios (*.yaml *.yml)"));
    if (path.isEmpty()) {
        return false;
    }
    if (QFileInfo(path).suffix().isEmpty()) {
        path += QStringLiteral(".yaml");
    }
    return saveScenarioTo(path);
}

bool MainWindow::saveScenarioTo(const QString& path)
{
    if (m_session == nullptr || m_work != nullptr) {
        return false;
    }
    const auto scenario = m_session->source().scenario_text();
    if (!scenario) {
        showError(tr("What is open is no scenario"));
        return false;
    }
    QSaveFile file(path);
    const QByteArray bytes = QByteArray::fromStdString(*scenario);
    if (!file.open(QIODevice::WriteOnly) || file.write(bytes) != bytes.size() || !file.commit()) {
        showError(QStringLiteral("%1: %2").arg(path, file.errorString()));
        return false;
    }
    m_toast->say(m_rules->hasDrafts() ? tr("Saved %1; rules that are not applied are not in it").arg(QFileInfo(path).fileName())
                                      : tr("Saved %1").arg(QFileInfo(path).fileName()));
    remember(path);
    return true;
}

bool MainWindow::isUnsaved() const
{
    return m_session != nullptr && m_services.save && m_session->source().kind() == Source::Kind::live && !m_session->trace().empty() &&
           m_session->trace().size() > m_savedEvents;
}

bool MainWindow::mayLeaveDrafts()
{
    const QStringList drafts = m_session == nullptr ? QStringList() : m_rules->drafts();
    if (drafts.isEmpty()) {
        return true;
    }
    Keep keep = Keep::cancel;
    if (m_askDrafts) {
        keep = m_askDrafts();
    } else {
        QStringList titles;
        for (const QString& key : drafts) {
            titles << m_rules->titleOf(key);
        }
        QMessageBox question(this);
        question.setIcon(QMessageBox::NoIcon);
        question.setWindowTitle(tr("Keep what was written?"));
        question.setText(drafts.size() == 1 ? tr("%1: changed, not applied.").arg(titles.front())
                                            : tr("%1 texts were changed and not applied: %2.").arg(drafts.size()).arg(titles.join(QStringLiteral(", "))));
        question.setInformativeText(tr("What was written is in this window only and would be lost."));
        auto* save = question.addButton(tr("&Apply and save scenario…"), QMessageBox::AcceptRole);
        auto* discard = question.addButton(tr("&Discard"), QMessageBox::DestructiveRole);
        auto* back = question.addButton(tr("Go back"), QMessageBox::RejectRole);
        question.setDefaultButton(back);
        question.exec();
        keep = question.clickedButton() == save ? Keep::save : question.clickedButton() == discard ? Keep::discard : Keep::cancel;
    }
    if (keep == Keep::discard || (keep == Keep::save && m_rules->applyAll() && saveScenarioDialog())) {
        return true;
    }
    // Back to what is not finished.
    showStage();
    m_rulesAction->setChecked(true);
    if (const QStringList left = m_rules->drafts(); !left.isEmpty() && !left.contains(m_rules->key())) {
        m_rules->choose(left.front());
    }
    return false;
}

bool MainWindow::mayLeave()
{
    if (!mayLeaveDrafts()) {
        return false;
    }
    if (!isUnsaved()) {
        return true;
    }
    Keep keep = Keep::cancel;
    if (m_askKeep) {
        keep = m_askKeep();
    } else {
        QMessageBox question(this);
        question.setIcon(QMessageBox::NoIcon);
        question.setWindowTitle(tr("Keep this recording?"));
        const std::size_t unsaved = m_session->trace().size() - m_savedEvents;
        question.setText(m_savedEvents == 0 ? tr("The recording of %1 is not saved.").arg(m_title)
                                            : tr("The recording of %1 has gone on since it was saved.").arg(m_title));
        question.setInformativeText(m_savedEvents == 0 ? tr("Its %1 and %2 are in this window only and would be lost.")
                                                             .arg(counted(m_session->trace().size(), "event", "events"),
                                                                  counted(m_session->trace().packets().size(), "packet", "packets"))
                                                       : tr("The %1 that came after that are in this window only and would be lost.")
                                                             .arg(counted(unsaved, "event", "events")));
        auto* save = question.addButton(tr("&Save…"), QMessageBox::AcceptRole);
        auto* discard = question.addButton(tr("&Discard"), QMessageBox::DestructiveRole);
        question.addButton(tr("Cancel"), QMessageBox::RejectRole);
        question.setDefaultButton(save);
        question.exec();
        keep = question.clickedButton() == save ? Keep::save : question.clickedButton() == discard ? Keep::discard : Keep::cancel;
    }
    return keep == Keep::discard || (keep == Keep::save && saveDialog(true));
}

void MainWindow::savePictureDialog()
{
    const QPixmap picture = grab(); // before the dialog darkens anything
    QString path = m_askPath ? m_askPath() : QFileDialog::getSaveFileName(this, tr("Save picture as"), QStringLiteral("skbscope.png"), tr("Pictures (*.png)"));
    if (path.isEmpty()) {
        return;
    }
    if (QFileInfo(path).suffix().isEmpty()) {
        path += QStringLiteral(".png");
    }
    QSaveFile file(path);
    if (!file.open(QIODevice::WriteOnly) || !picture.save(&file, "PNG") || !file.commit()) {
        showError(QStringLiteral("%1: %2").arg(path, file.errorString()));
        return;
    }
    m_toast->say(tr("Saved %1").arg(QFileInfo(path).fileName()));
}

// ---- beside another -------------------------------------------------------------------------------------------------

void MainWindow::compareWithDialog()
{
    const QString path = m_askPath ? m_askPath()
                                   : QFileDialog::getOpenFileName(this, tr("Compare with"), {},
                                                                  tr("Everything skbscope reads (*.pcapng *.pcap *.cap *.dat *.yaml *.yml);;All files (*)"));
    if (path.isEmpty()) {
        return;
    }
    if (const auto dialog = compareWith(path)) {
        dialog->exec();
    }
}

std::unique_ptr<CompareDialog> MainWindow::compareWith(const QString& path)
{
    if (m_session == nullptr || !m_services.open || m_work != nullptr) {
        return nullptr;
    }
    auto source = m_services.open(std::filesystem::path(path.toStdString()));
    if (!source) {
        showError(text(source.error().describe()));
        return nullptr;
    }
    if (m_session->isLive()) {
        showError(tr("What is still coming in cannot be compared: stop it first"));
        return nullptr;
    }
    m_session->pause();
    const std::size_t shown = m_session->source().chosen_branch();
    if (m_session->source().kind() == Source::Kind::model) {
        m_session->runToEnd(shown, shown);
    }
    auto other = std::make_unique<Session>(std::move(*source));
    other->setRunner([this](const QString& what, const std::function<void(Work&)>& todo) { work(what, todo); });
    other->toEnd();
    Comparison comparison;
    work(tr("Comparing"), [&](Work&) { comparison = compare_traces(m_session->trace(), m_session->journeys(), other->trace(), other->journeys()); });
    const ComparedSide here{m_title, &m_session->trace(), &m_session->journeys()};
    const ComparedSide there{QFileInfo(path).fileName(), &other->trace(), &other->journeys()};
    auto dialog = std::make_unique<CompareDialog>(here, there, std::move(comparison), this);
    other.release()->setParent(dialog.get());
    dialog->choose(m_session->selection().packet);
    connect(dialog.get(), &CompareDialog::packetChosen, m_session.get(), &Session::selectPacket);
    return dialog;
}

// ---- lessons of one's own -------------------------------------------------------------------------------------------

bool MainWindow::isOwnLesson() const
{
    if (m_lesson->lesson() == nullptr) {
        return false;
    }
    // Those that come with the program are not written in; their folder may well be writable.
    const QString folder = QFileInfo(text(m_lesson->lesson()->folder.string())).canonicalFilePath();
    const QString provided = m_services.lessons.empty() ? QString() : QFileInfo(text(m_services.lessons.string())).canonicalFilePath();
    return QFileInfo(folder + "/lesson.md").isWritable() && (provided.isEmpty() || !folder.startsWith(provided + '/'));
}

void MainWindow::writeLessonDialog()
{
    const QString path = m_askPath ? m_askPath() : QFileDialog::getSaveFileName(this, tr("New lesson: the name of its folder"), QStringLiteral("my-lesson"));
    if (!path.isEmpty()) {
        writeLessonTo(path);
    }
}

bool MainWindow::writeLessonTo(const QString& folder)
{
    if (m_session == nullptr || !m_services.open || m_work != nullptr || !mayLeaveDrafts()) {
        return false;
    }
    const QDir place(folder);
    if (place.exists() && !place.isEmpty()) {
        showError(tr("%1 is not empty: a lesson is a folder of its own").arg(folder));
        return false;
    }
    if (!place.mkpath(QStringLiteral("."))) {
        showError(tr("%1: this folder cannot be made").arg(folder));
        return false;
    }
    QString step = momentAsStep();
    const std::string words = stopText(*m_session).toStdString();
    const auto scenario = m_session->source().scenario_text();
    const QString file = scenario ? QStringLiteral("scenario.yaml") : QStringLiteral("recording.pcapng");
    if (scenario) {
        QSaveFile out(place.filePath(file));
        const QByteArray bytes = QByteArray::fromStdString(*scenario);
        if (!out.open(QIODevice::WriteOnly) || out.write(bytes) != bytes.size() || !out.commit()) {
            showError(QStringLiteral("%1: %2").arg(out.fileName(), out.errorString()));
            return false;
        }
    } else if (!writeRecordingTo(place.filePath(file))) {
        return false;
    } else {
        m_savedEvents = m_session->trace().size();
    }
    // The lesson's own run begins anew: what was done by hand, burst by burst, is not in it.
    const auto stop = parse_stop(words);
    const auto driver = std::filesystem::path(place.filePath(file).toStdString());
    auto run = m_services.open(driver);
    const bool happens = run && stop && advance_to_stop(**run, *stop);
    if (!happens) {
        step.replace(QStringLiteral("at: %1\n").arg(text(words)), QStringLiteral("at: begin\n"));
        step.remove(QRegularExpression(QStringLiteral("select: \\d+\n")));
    }
    QString title = QFileInfo(place.absolutePath()).fileName();
    title.replace('-', ' ').replace('_', ' ');
    title.replace(0, 1, title.left(1).toUpper());
    QSaveFile out(place.filePath(QStringLiteral("lesson.md")));
    const QByteArray bytes = newLessonText(title, text(to_string(m_session->trace().info.kernel)), scenario ? QStringLiteral("scenario") : QStringLiteral("recording"), file, step).toUtf8();
    if (!out.open(QIODevice::WriteOnly) || out.write(bytes) != bytes.size() || !out.commit()) {
        showError(QStringLiteral("%1: %2").arg(out.fileName(), out.errorString()));
        return false;
    }
    if (!openLesson(place.absolutePath())) {
        return false;
    }
    m_lessonTextAction->setChecked(true);
    m_editor->goToStep(0);
    m_toast->say(happens ? tr("A lesson in %1").arg(folder)
                         : tr("A lesson in %1. What was done by hand is not in its scenario: it begins at the begin").arg(folder));
    return true;
}

bool MainWindow::addLessonStep()
{
    if (m_session == nullptr || m_lesson->lesson() == nullptr || !m_addStepAction->isEnabled()) {
        return false;
    }
    const Lesson& lesson = *m_lesson->lesson();
    if (lesson.uses_model()) {
        const auto stop = parse_stop(stopText(*m_session).toStdString());
        auto run = m_services.open(lesson.driver());
        if (!run || !stop || !advance_to_stop(**run, *stop)) {
            m_toast->say(tr("This moment does not come in the lesson's own run: what is done by hand is for its experiments"));
            return false;
        }
    }
    return m_editor->insertStep(momentAsStep(), m_lesson->step());
}

void MainWindow::reloadLesson()
{
    if (m_lesson->lesson() == nullptr || m_editor->folder().empty()) {
        return;
    }
    auto lesson = load_lesson(m_editor->folder());
    if (!lesson || m_work != nullptr) {
        return; // the editor says what is wrong; the lesson as it was stays
    }
    if (lesson->driver() != m_lesson->lesson()->driver()) {
        m_banner->hide();
        openLesson(text(m_editor->folder().string()));
        return;
    }
    m_title = text(lesson->title);
    refreshTitle();
    m_lesson->replaceLesson(std::move(*lesson), m_editor->stepAtCursor());
}

bool MainWindow::checkLesson()
{
    if (m_editor->folder().empty()) {
        return false;
    }
    std::vector<Finding> findings;
    work(tr("Checking the lesson"), [&](Work&) { findings = check_lesson(m_editor->folder(), m_services.open); });
    const auto wrong = std::ranges::find(findings, Finding::Severity::error, &Finding::severity);
    if (wrong != findings.end()) {
        showError(text(wrong->describe()));
        return false;
    }
    m_banner->hide();
    m_toast->say(findings.empty() ? tr("Checked: nothing is wrong") : text(findings.front().describe()));
    return true;
}

void MainWindow::refreshTitle()
{
    setWindowTitle(m_title.isEmpty() ? QStringLiteral("skbscope[*]") : QStringLiteral("%1[*] – skbscope").arg(m_title));
    setWindowModified(isUnsaved());
}

void MainWindow::goToDrop(DropReasonId reason, RoomId room)
{
    if (m_session == nullptr || !PacketList::goToDrop(*m_session, reason, room)) {
        m_toast->say(tr("No packet that was dropped so is known"));
        return;
    }
    m_rightAction->setChecked(true);
    m_inspector->showDrop();
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
            m_map->setPointedAt({}); // the lesson's finger
            setMode(Mode::model);
        } else if (m_services.model) {
            if (!mayLeave()) {
                return;
            }
            auto source = m_services.model();
            if (!source) {
                showError(text(source.error().describe()));
                return;
            }
            setSource(std::move(*source), Mode::model);
        }
        m_leftAction->setChecked(true);
        m_rightAction->setChecked(true);
        wantBottom();
        return;
    case Mode::lesson:
        if (m_lesson->lesson() != nullptr && m_mode != Mode::lesson) {
            showStage();
            m_left->setCurrentWidget(m_lesson);
            m_leftAction->setChecked(true);
            m_lesson->pointAgain();
            setMode(Mode::lesson);
            return;
        }
        refreshLessonsMenu();
        m_lessonsMenu->popup(m_top->mapToGlobal(QPoint(m_top->width() / 5, m_top->height() - 4)));
        return;
    case Mode::recording:
        // From the page of live sources back to what lies behind it.
        if (m_session != nullptr && m_session->source().kind() == Source::Kind::recording && m_mode != Mode::recording && m_mode != Mode::lesson) {
            showStage();
            setMode(Mode::recording);
            return;
        }
        openDialog();
        return;
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
        origin = model ? tr("model of %1").arg(text(to_string(info.kernel))) : live && !info.observed && !m_session->trace().empty() ? tr("live, model of %1").arg(text(to_string(info.kernel)))
               : live ? tr("live, %1").arg(release) : tr("recorded, %1").arg(release);
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
    m_rules->hide();
    m_editor->hide();
    m_centre->setCurrentWidget(m_live);
    setMode(Mode::live);
    m_live->refresh();
}

void MainWindow::leaveLivePage()
{
    showStage();
    setMode(m_left->currentWidget() == m_lesson                        ? Mode::lesson
            : m_session->source().kind() == Source::Kind::model ? Mode::model
            : m_session->source().kind() == Source::Kind::live  ? Mode::live
                                                                : Mode::recording);
}

void MainWindow::startLive(const LiveRequest& request)
{
    if (!m_services.live.start) {
        return;
    }
    if (!mayLeave()) {
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
    setWindowModified(isUnsaved());
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

void MainWindow::showError(const QString& words)
{
    m_banner->showError(words);
}

void MainWindow::setTitle(const QString& title)
{
    m_title = title;
    refreshTitle();
}

void MainWindow::work(const QString& what, const std::function<void(Work&)>& todo)
{
    Work state;
    work(what, todo, state);
}

void MainWindow::work(const QString& what, const std::function<void(Work&)>& todo, Work& state)
{
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

} // namespace skbscope::ui
