// Where the window's panels stand, which of them are shown, their sizes, and what of that is remembered.
#include "ui/banner.h"
#include "ui/busy_curtain.h"
#include "ui/controls/accounting_block.h"
#include "ui/controls/control_panel.h"
#include "ui/inspector/inspector.h"
#include "ui/lesson/lesson_editor.h"
#include "ui/lesson/lesson_panel.h"
#include "ui/live/live_page.h"
#include "ui/live/live_strip.h"
#include "ui/main_window.h"
#include "ui/map/map_view.h"
#include "ui/player/format.h"
#include "ui/player/session.h"
#include "ui/rules/code_editor.h"
#include "ui/rules/rules_panel.h"
#include "ui/search/search_box.h"
#include "ui/start_page.h"
#include "ui/theme/reading.h"
#include "ui/theme/theme.h"
#include "ui/user_settings.h"

#include <QAction>
#include <QCloseEvent>
#include <QResizeEvent>
#include <QSplitter>
#include <QStackedWidget>
#include <QVBoxLayout>
#include <algorithm>

namespace skbscope::ui {

namespace {

constexpr qreal presentation_scale = 1.3; ///< of lesson text and headline: a projector, and people at the back

} // namespace

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
    m_left->setMinimumWidth(220);
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
    m_inspector->setMinimumWidth(316); // all its tabs
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
    m_rules = new RulesPanel(m_undo, m_rows);
    m_rules->hide();
    m_rows->addWidget(m_rules);
    m_editor = new LessonEditor(m_undo, m_rows);
    m_editor->hide();
    m_rows->addWidget(m_editor);
    m_rows->setStretchFactor(0, 1);
    m_rows->setStretchFactor(1, 0);
    m_rows->setStretchFactor(2, 0);
    m_rows->setStretchFactor(3, 0);
    setCentralWidget(central);

    // The figures below stand under the inspector: one line through the whole window.
    connect(m_columns, &QSplitter::splitterMoved, this, [this] {
        if (!m_inspector->isHidden()) {
            m_bottom->setSizes({std::max(200, m_bottom->width() - m_inspector->width()), m_inspector->width()});
        }
        m_sized = true;
    });
    connect(m_rows, &QSplitter::splitterMoved, this, [this] { m_sized = true; });

    connect(m_banner, &Banner::cancelled, this, &MainWindow::cancelOpening);
    connect(m_top, &TopBar::modeChosen, this, &MainWindow::chooseMode);
    connect(m_top->search(), &SearchBox::chosen, this, [this] {
        if (m_centre->currentWidget() == m_live) {
            leaveLivePage();
        }
    });
    connect(m_top->search(), &SearchBox::settingChosen, this, [this](const QString& name) {
        m_inspector->showSetting(name);
        if (m_controls->isVisible()) {
            m_controls->showKnob(name); // found, it can be turned at once
        }
    });
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
    connect(m_map, &MapView::dropsActivated, this, &MainWindow::goToDrop);
    connect(m_controls, &ControlPanel::textsWanted, this, [this] { m_rulesAction->setChecked(true); });
    connect(m_rules, &RulesPanel::closed, this, [this] { m_rulesAction->setChecked(false); });
    connect(m_rules, &RulesPanel::said, this, [this](const QString& words) { m_toast->say(words); });
    connect(m_editor, &LessonEditor::closed, this, [this] { m_lessonTextAction->setChecked(false); });
    connect(m_editor, &LessonEditor::changed, this, &MainWindow::reloadLesson);
    connect(m_editor, &LessonEditor::momentWanted, this, &MainWindow::addLessonStep);
    connect(m_editor, &LessonEditor::checkWanted, this, &MainWindow::checkLesson);
    connect(m_editor, &LessonEditor::failed, this, &MainWindow::showError);
    connect(m_lesson, &LessonPanel::writingWanted, this, [this] { m_lessonTextAction->toggle(); });
    connect(m_lesson, &LessonPanel::stepChanged, this, [this](int step) {
        if (m_editor->isVisible() && !m_editor->editor()->hasFocus()) {
            m_editor->goToStep(step);
        }
    });
    connect(m_accounting, &AccountingBlock::dropChosen, this, [this](DropReasonId reason) { goToDrop(reason, RoomId::none); });
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
        if (mayLeave()) {
            closeSource();
        }
    });
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
    m_rules->setVisible(m_rulesAction->isChecked());
    m_editor->setVisible(m_lessonTextAction->isChecked());
}

bool MainWindow::isDrawerOpen() const
{
    return !m_rules->isHidden() || !m_editor->isHidden();
}

void MainWindow::showRules(bool on)
{
    showDrawer(m_rules, on);
}

void MainWindow::showDrawer(QWidget* drawer, bool on)
{
    const bool shown = on && m_session != nullptr && m_centre->currentIndex() == 0;
    if (!shown) {
        drawer->hide();
        if (m_bottomUnderRules && !isDrawerOpen()) {
            m_bottomAction->setChecked(true);
        }
        return;
    }
    if (drawer->isVisible()) {
        return;
    }
    // One drawer at a time: map, rules and lanes together leave none of them room.
    const bool under = isDrawerOpen() ? m_bottomUnderRules : m_bottomAction->isChecked();
    m_bottomUnderRules = false;
    m_bottomAction->setChecked(false);
    drawer->show();
    (drawer == m_rules ? m_lessonTextAction : m_rulesAction)->setChecked(false);
    (drawer == m_rules ? static_cast<QWidget*>(m_editor) : m_rules)->hide();
    m_bottomUnderRules = under;
    const int high = m_rows->height();
    const int wanted = std::clamp(high * 2 / 5, 190, 420);
    m_rows->setSizes({high - wanted, 0, wanted, wanted});
    (drawer == m_rules ? m_rules->editor() : m_editor->editor())->setFocus(Qt::OtherFocusReason);
}

void MainWindow::wantBottom()
{
    // Who writes rules has them open; a lesson's step does not shut them.
    isDrawerOpen() ? void(m_bottomUnderRules = true) : m_bottomAction->setChecked(true);
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
        below ? wantBottom() : void();
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
        m_wasColumns = m_columns->sizes();
        m_rightAction->setChecked(false);
        m_bottomAction->setChecked(false);
        showFullScreen();
        setReadingScale(presentation_scale);
        if (m_wasColumns.size() == 3) {
            const int left = qRound(m_wasColumns[0] * 1.2); // larger words need the room
            m_columns->setSizes({left, std::max(400, m_columns->width() - left), m_wasColumns[2]});
        }
    } else {
        m_rightAction->setChecked(m_wasRight);
        m_bottomAction->setChecked(m_wasBottom);
        setReadingScale(1);
        m_columns->setSizes(m_wasColumns);
        showNormal();
    }
}

void MainWindow::defaultSizes()
{
    // The proportions of a 1600 × 900 window, with what a smaller one can spare taken from the sides.
    const int wide = std::max(width(), 900);
    const int high = std::max(height(), 560) - m_top->height();
    const int left = wide >= 1500 ? 300 : 262;
    const int right = wide >= 1500 ? 384 : 318;
    const int below = high >= 800 ? 246 : high >= 600 ? 196 : 160;
    m_columns->setSizes({left, wide - left - right, right});
    m_rows->setSizes({high - below, below, below});
    m_bottom->setSizes({wide - right, right});
}

void MainWindow::resizeEvent(QResizeEvent* event)
{
    QMainWindow::resizeEvent(event);
    if (!m_sized) {
        defaultSizes();
    }
}

void MainWindow::fitToScreen()
{
    const QRect place = screen()->availableGeometry();
    setMinimumSize(minimumSize().boundedTo(place.size()));
    const QSize wanted = size().boundedTo(place.size());
    if (wanted != size()) {
        resize(wanted);
    }
    if (!place.contains(geometry())) {
        move(std::clamp(x(), place.left(), place.right() + 1 - wanted.width()), std::clamp(y(), place.top(), place.bottom() + 1 - wanted.height()));
    }
}

void MainWindow::restoreSettings()
{
    resize(1600, 900);
    if (!m_services.remember) {
        return; // a picture is as large as it was asked to be
    }
    const QSettings stored = userSettings();
    const int theme = stored.value(QStringLiteral("theme"), static_cast<int>(Theme::Mode::system)).toInt();
    // A theme that the command line has asked for wins.
    if (Theme::instance().mode() == Theme::Mode::system && theme >= 0 && theme <= static_cast<int>(Theme::Mode::dark)) {
        Theme::instance().setMode(static_cast<Theme::Mode>(theme));
    }
    restoreGeometry(stored.value(QStringLiteral("geometry")).toByteArray());
    fitToScreen();
    const bool columns = m_columns->restoreState(stored.value(QStringLiteral("columns")).toByteArray());
    const bool rows = m_rows->restoreState(stored.value(QStringLiteral("rowSizes")).toByteArray());
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
    QSettings stored = userSettings();
    stored.setValue(QStringLiteral("theme"), static_cast<int>(Theme::instance().mode()));
    stored.setValue(QStringLiteral("geometry"), saveGeometry());
    if (m_sized && !m_presenting) {
        stored.setValue(QStringLiteral("columns"), m_columns->saveState());
        stored.setValue(QStringLiteral("rowSizes"), m_rows->saveState());
    }
    stored.setValue(QStringLiteral("panelsChosen"), m_panelsChosen);
    stored.setValue(QStringLiteral("left"), m_leftAction->isChecked());
    stored.setValue(QStringLiteral("right"), m_presenting ? m_wasRight : m_rightAction->isChecked());
    stored.setValue(QStringLiteral("bottom"), m_presenting ? m_wasBottom : isDrawerOpen() ? m_bottomUnderRules : m_bottomAction->isChecked());
    if (m_session != nullptr && m_session->source().kind() == Source::Kind::model) {
        stored.setValue(QStringLiteral("speed"), m_session->speed());
    }
}

void MainWindow::closeEvent(QCloseEvent* event)
{
    if (m_work != nullptr) {
        m_work->cancelled = true;
        m_work->progress.cancel();
        event->ignore();
        whenIdle([this] { close(); });
        return;
    }
    if (!mayLeave() || !m_editor->keep()) {
        event->ignore();
        return;
    }
    saveSettings();
    QMainWindow::closeEvent(event);
}

} // namespace skbscope::ui
