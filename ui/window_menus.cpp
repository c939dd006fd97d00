// The window's menus, keys, and the two pages of its Help menu.
#include "ui/banner.h"
#include "ui/controls/label.h"
#include "ui/inspector/inspector.h"
#include "ui/lesson/lesson_editor.h"
#include "ui/lesson/lesson_panel.h"
#include "ui/lesson/step_text.h"
#include "ui/live/live_page.h"
#include "ui/live/live_strip.h"
#include "ui/main_window.h"
#include "ui/player/format.h"
#include "ui/player/session.h"
#include "ui/rules/rules_panel.h"
#include "ui/search/search_box.h"
#include "ui/theme/theme.h"
#include "ui/user_settings.h"

#include <QAbstractButton>
#include <QAbstractItemView>
#include <QAbstractSlider>
#include <QAbstractSpinBox>
#include <QAction>
#include <QActionGroup>
#include <QApplication>
#include <QClipboard>
#include <QDialog>
#include <QDir>
#include <QGuiApplication>
#include <QKeyEvent>
#include <QLabel>
#include <QMenu>
#include <QPushButton>
#include <QScrollArea>
#include <QSplitter>
#include <QStackedWidget>
#include <QTabBar>
#include <QToolButton>
#include <QUndoStack>
#include <QVBoxLayout>
#include <algorithm>
#include <array>

namespace skbscope::ui {

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
    m_scenarioAction = action(file, tr("Save s&cenario as…"), {QKeySequence(Qt::CTRL | Qt::SHIFT | Qt::Key_S)}, [this] { saveScenarioDialog(); });
    m_pictureAction = action(file, tr("Save &picture as…"), {QKeySequence(Qt::CTRL | Qt::SHIFT | Qt::Key_P)}, [this] { savePictureDialog(); });
    m_compareAction = action(file, tr("Co&mpare with…"), {QKeySequence(Qt::CTRL | Qt::Key_D)}, [this] { compareWithDialog(); });
    m_newLessonAction = action(file, tr("&New lesson from this…"), {QKeySequence(Qt::CTRL | Qt::Key_N)}, [this] { writeLessonDialog(); });
    action(file, tr("&Close"), {QKeySequence(Qt::CTRL | Qt::Key_W)}, [this] {
        if (mayLeave()) {
            closeSource();
        }
    });
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
    action(edit, tr("Copy this moment as a &lesson step"), {QKeySequence(Qt::CTRL | Qt::SHIFT | Qt::Key_C)}, [this] { copyLessonStep(); });
    m_addStepAction = action(edit, tr("&Add this moment to the lesson"), {QKeySequence(Qt::CTRL | Qt::SHIFT | Qt::Key_A)}, [this] { addLessonStep(); });
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
    m_rulesAction = action(view, tr("&Rules and filters"), {QKeySequence(Qt::CTRL | Qt::Key_4)}, [] {});
    m_rulesAction->setCheckable(true);
    connect(m_rulesAction, &QAction::toggled, this, &MainWindow::showRules);
    m_lessonTextAction = action(view, tr("Lesson's te&xt"), {QKeySequence(Qt::CTRL | Qt::Key_5)}, [] {});
    m_lessonTextAction->setCheckable(true);
    connect(m_lessonTextAction, &QAction::toggled, this, [this](bool on) {
        showDrawer(m_editor, on);
        if (on) {
            m_editor->goToStep(m_lesson->step());
        }
    });
    connect(m_bottomAction, &QAction::toggled, this, [this](bool on) {
        if (on) {
            m_bottomUnderRules = true;
            m_rulesAction->setChecked(false);
            m_lessonTextAction->setChecked(false);
        }
    });
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
    action(view, tr("&Next panel"), {QKeySequence(Qt::Key_F6)}, [this] { focusPanel(+1); });
    action(view, tr("Panel &before"), {QKeySequence(Qt::SHIFT | Qt::Key_F6)}, [this] { focusPanel(-1); });
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
            leaveLivePage();
        } else if (m_session != nullptr) {
            m_session->select({});
        }
    });
    addAction(escape);
}

QString MainWindow::momentAsStep() const
{
    QStringList panels;
    if (m_rightAction->isChecked() && m_inspector->tab() != Inspector::host_tab) {
        constexpr std::array names{"packet", "skb", "journey", "function"};
        panels << QLatin1String(names[static_cast<std::size_t>(m_inspector->tab())]);
    }
    if (isDrawerOpen() ? m_bottomUnderRules : m_bottomAction->isChecked()) {
        panels << QStringLiteral("queues");
    }
    return lessonStepText(*m_session, panels);
}

void MainWindow::copyLessonStep()
{
    if (m_session == nullptr) {
        return;
    }
    QGuiApplication::clipboard()->setText(momentAsStep());
    m_toast->say(tr("Copied: a step for a lesson.md"));
}

void MainWindow::refreshRecent()
{
    m_recentMenu->clear();
    const QStringList recent = m_services.remember ? userSettings().value(QStringLiteral("recent")).toStringList() : QStringList();
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
    row(tr("/"), tr("find a packet, function, room, socket, setting, or a moment: 40 µs"));
    row(tr("Tab  F6  Enter"), tr("next control, next panel (with Shift: back); presses the button there"));
    row(tr("↑ ↓ ← →  Enter  D"), tr("on the map: between rooms, what the room is, a packet dropped there"));
    row(tr("+  −  0"), tr("on the lanes and plots: zoom in, out, everything"));
    row(tr("Alt 1 … 5"), tr("Packet, sk_buff, Journey, Function, Host"));
    row(tr("Ctrl 1 … 3"), tr("fold panels: left, inspector, below"));
    row(tr("Ctrl 4"), tr("rules and filters; there Ctrl Enter applies"));
    row(tr("Ctrl C"), tr("copy the packet or its journey as text; in the packets' list its lines"));
    row(tr("Ctrl Shift C"), tr("copy this moment as a step for a lesson.md"));
    row(tr("Ctrl N"), tr("a lesson of your own from what is open"));
    row(tr("Ctrl 5  Ctrl Shift A"), tr("its text; add this moment to it"));
    row(tr("Ctrl Z"), tr("turn a knob back"));
    row(tr("Ctrl R"), tr("start over"));
    row(tr("Ctrl O  S  W  Q"), tr("open, save as, close, quit; Ctrl Shift S saves the scenario with what was turned, Ctrl Shift P a picture"));
    row(tr("Ctrl D"), tr("lay a recording, a scenario or a capture beside what is open, packet by packet"));
    row(tr("F5  F10  F11"), tr("presentation, menu, full screen"));
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

namespace {

/// What Tab stops at in there, row by row. What scrolls keeps its order wherever it is scrolled to: its parts follow it.
void collectStops(const QWidget& root, std::vector<QWidget*>& stops)
{
    std::vector<QWidget*> parts;
    const auto look = [&](const auto& self, const QWidget& parent) -> void {
        for (QObject* child : parent.children()) {
            auto* widget = qobject_cast<QWidget*>(child);
            if (widget == nullptr || widget->isWindow() || !widget->isVisible()) {
                continue;
            }
            const bool stop = (widget->focusPolicy() & Qt::TabFocus) != 0 && widget->focusProxy() == nullptr && widget->isEnabled();
            const bool scrolls = qobject_cast<QScrollArea*>(widget) != nullptr;
            if (stop || scrolls) {
                parts.push_back(widget);
            }
            if (!scrolls) {
                self(self, *widget);
            }
        }
    };
    look(look, root);
    const auto height = [&](const QWidget* widget) {
        const bool scrolls = qobject_cast<const QScrollArea*>(widget) != nullptr;
        return widget->mapTo(&root, scrolls ? QPoint() : widget->rect().center()).y();
    };
    const auto left = [&](const QWidget* widget) { return widget->mapTo(&root, QPoint()).x(); };
    std::ranges::stable_sort(parts, {}, height);
    constexpr int same_row = 8; // pixels
    for (auto row = parts.begin(); row != parts.end();) {
        const int first = height(*row);
        const auto end = std::find_if(row, parts.end(), [&](const QWidget* widget) { return height(widget) > first + same_row; });
        std::stable_sort(row, end, [&](const QWidget* a, const QWidget* b) { return left(a) < left(b); });
        row = end;
    }
    for (QWidget* part : parts) {
        if ((part->focusPolicy() & Qt::TabFocus) != 0) {
            stops.push_back(part);
        }
        if (const auto* scroll = qobject_cast<QScrollArea*>(part); scroll != nullptr && scroll->widget() != nullptr) {
            collectStops(*scroll->widget(), stops);
        }
    }
}

} // namespace

std::vector<std::vector<QWidget*>> MainWindow::focusStops() const
{
    std::vector<std::vector<QWidget*>> panels;
    const std::initializer_list<const QWidget*> all{m_top, m_banner, m_liveStrip, m_left, m_centre, m_inspector, m_bottom, m_rules, m_editor};
    for (const QWidget* panel : all) {
        std::vector<QWidget*> stops;
        if (panel->isVisible()) {
            collectStops(*panel, stops);
        }
        if (!stops.empty()) {
            panels.push_back(std::move(stops));
        }
    }
    return panels;
}

void MainWindow::giveFocus(QWidget* widget, bool forward)
{
    widget->setFocus(forward ? Qt::TabFocusReason : Qt::BacktabFocusReason);
    for (QWidget* above = widget->parentWidget(); above != nullptr; above = above->parentWidget()) {
        if (auto* scroll = qobject_cast<QScrollArea*>(above)) {
            scroll->ensureWidgetVisible(widget, 0, 12);
        }
    }
}

bool MainWindow::focusNextPrevChild(bool next)
{
    std::vector<QWidget*> all;
    for (const std::vector<QWidget*>& panel : focusStops()) {
        all.insert(all.end(), panel.begin(), panel.end());
    }
    if (all.empty()) {
        return false;
    }
    const auto here = std::ranges::find(all, focusWidget());
    const auto count = static_cast<std::ptrdiff_t>(all.size());
    const std::ptrdiff_t at = here == all.end() ? (next ? 0 : count - 1) : (here - all.begin() + (next ? 1 : count - 1)) % count;
    giveFocus(all[static_cast<std::size_t>(at)], next);
    return true;
}

void MainWindow::focusPanel(int direction)
{
    const std::vector<std::vector<QWidget*>> panels = focusStops();
    if (panels.empty()) {
        return;
    }
    const auto here = std::ranges::find_if(panels, [this](const std::vector<QWidget*>& panel) { return std::ranges::find(panel, focusWidget()) != panel.end(); });
    const auto count = static_cast<std::ptrdiff_t>(panels.size());
    const std::ptrdiff_t at = here == panels.end() ? 0 : (here - panels.begin() + direction + count) % count;
    giveFocus(panels[static_cast<std::size_t>(at)].front(), true);
}

bool MainWindow::eventFilter(QObject* watched, QEvent* event)
{
    // Enter presses a button that Tab has led to, as Space does: Qt has that for dialogs alone.
    if (event->type() == QEvent::KeyPress) {
        const auto* key = static_cast<QKeyEvent*>(event);
        auto* button = qobject_cast<QAbstractButton*>(watched);
        const bool enter = key->key() == Qt::Key_Return || key->key() == Qt::Key_Enter;
        if (enter && button != nullptr && button->window() == this && button->hasFocus() && (key->modifiers() & ~Qt::KeypadModifier) == Qt::NoModifier) {
            if (!key->isAutoRepeat()) {
                button->click(); // it may be gone by now
            }
            return true;
        }
    }
    // Space, arrows and the like belong to the window, except where the focused widget has a use of its own for them.
    if (event->type() == QEvent::ShortcutOverride) {
        const auto* key = static_cast<QKeyEvent*>(event);
        const auto bare = key->modifiers() & ~Qt::KeypadModifier;
        auto* widget = qobject_cast<QWidget*>(watched);
        // No figure holds these: they stay the window's in a field for numbers.
        if (bare == Qt::NoModifier && (key->key() == Qt::Key_Slash || key->key() == Qt::Key_Space) &&
            qobject_cast<QAbstractSpinBox*>(QApplication::focusWidget()) != nullptr) {
            event->ignore();
            return true;
        }
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

} // namespace skbscope::ui
