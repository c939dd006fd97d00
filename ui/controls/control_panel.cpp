#include "ui/controls/control_panel.h"

#include "core/catalog/catalog.h"
#include "ui/controls/branch_list.h"
#include "ui/controls/choice.h"
#include "ui/controls/knob_editor.h"
#include "ui/controls/label.h"
#include "ui/controls/packet_list.h"
#include "ui/controls/turn.h"
#include "ui/player/format.h"
#include "ui/player/session.h"
#include "ui/theme/theme.h"

#include <QApplication>
#include <QLineEdit>
#include <QPointer>
#include <QPushButton>
#include <QScrollArea>
#include <QToolButton>
#include <QUndoStack>
#include <QVBoxLayout>
#include <algorithm>
#include <array>
#include <utility>

namespace skbscope::ui {

namespace {

constexpr int least_rows = 120;        ///< of the packets' list: three
constexpr int rows_beside_knobs = 240; ///< six

/// How all packets of a recording end: "30 packets: 10 delivered, 15 dropped (15 × NETFILTER_DROP), 5 sent".
QString wholeStory(const Trace& trace)
{
    std::array<std::uint64_t, verdict_count> ends{};
    std::map<DropReasonId, std::uint64_t> reasons;
    for (const PacketRecord& packet : trace.packets()) {
        ++ends[static_cast<std::size_t>(packet.verdict)];
        if (packet.verdict == Verdict::dropped) {
            ++reasons[packet.reason];
        }
    }
    QStringList parts;
    for (std::size_t verdict = 1; verdict < ends.size(); ++verdict) {
        if (ends[verdict] == 0) {
            continue;
        }
        QString part = QStringLiteral("%1 %2").arg(countText(ends[verdict]), text(to_string(static_cast<Verdict>(verdict))));
        if (static_cast<Verdict>(verdict) == Verdict::dropped) {
            QStringList why;
            for (const auto& [reason, count] : reasons) {
                why << QStringLiteral("%1 × %2").arg(countText(count), reason == DropReasonId::none ? QObject::tr("no reason given") : text(Catalog::drop_reason(reason).name));
            }
            part += QStringLiteral(" (%1)").arg(why.join(QStringLiteral(", ")));
        }
        parts << part;
    }
    if (ends[0] != 0) {
        parts << QObject::tr("%1 still on the way at its end").arg(countText(ends[0]));
    }
    return QStringLiteral("%1: %2").arg(counted(trace.packet_count(), "packet", "packets"), parts.join(QStringLiteral(", ")));
}

/// "router" of "router/net.ipv4.ip_forward"; empty: the knob is everybody's.
QString hostOf(const Knob& knob)
{
    const QString key = text(knob.key);
    return key.contains('/') ? key.section('/', 0, 0) : QString();
}

} // namespace

ControlPanel::ControlPanel(QUndoStack* undo, QWidget* parent) : QWidget(parent), m_undo(undo)
{
    m_grown.setSingleShot(true);
    m_grown.setInterval(200);
    connect(&m_grown, &QTimer::timeout, this, &ControlPanel::followSettings);
    auto* outer = new QVBoxLayout(this);
    outer->setContentsMargins(0, 0, 0, 0);
    m_scroll = new QScrollArea(this);
    m_scroll->setWidgetResizable(true);
    m_scroll->setFrameShape(QFrame::NoFrame);
    m_scroll->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    m_scroll->setAccessibleName(tr("What is open"));
    m_scroll->setProperty("reading", true);
    m_scroll->setFocusPolicy(Qt::TabFocus);
    outer->addWidget(m_scroll);
    auto* page = new QWidget(m_scroll);
    page->setSizePolicy(QSizePolicy::Ignored, QSizePolicy::Preferred); // as wide as the panel, whatever long name stands in it
    m_scroll->setWidget(page);
    m_column = new QVBoxLayout(page);
    m_column->setContentsMargins(16, 14, 14, 14);
    m_column->addStretch();
    m_packets = new PacketList(this);
    m_packets->hide();
}

void ControlPanel::setSession(Session* session)
{
    m_session = session;
    m_packets->setSession(session);
    if (session != nullptr) {
        connect(session, &Session::playheadMoved, this, &ControlPanel::refresh);
        connect(session, &Session::traceReplaced, this, &ControlPanel::refreshKnobs);
        // Not started anew each time: a trace that grows without pause is looked at all the same.
        const auto look = [this] { m_grown.isActive() ? void() : m_grown.start(); };
        connect(session, &Session::traceGrown, this, look);
        connect(session, &Session::liveChanged, this, look);
        connect(m_undo, &QUndoStack::indexChanged, this, &ControlPanel::refreshKnobs);
    }
    rebuild();
}

void ControlPanel::rebuild()
{
    const QString searched = m_search == nullptr ? QString() : m_search->text();
    std::vector<std::string> open;
    for (const auto& [name, group] : m_groups) {
        if (group.heading->isChecked()) {
            open.push_back(name);
        }
    }
    QPointer<QWidget> focus = QApplication::focusWidget();
    if (focus != nullptr && !m_packets->isAncestorOf(focus)) {
        focus = nullptr;
    }
    m_packets->hide();
    m_packets->setParent(this);
    delete m_content;
    m_content = new QWidget(this);
    m_knobs.clear();
    m_groups.clear();
    m_search = nullptr;
    m_noneFound = nullptr;
    m_branches = nullptr;
    m_summary = nullptr;
    m_column->insertWidget(0, m_content, 1);
    auto* column = new QVBoxLayout(m_content);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(6);
    if (m_session == nullptr) {
        return;
    }
    Source& source = m_session->source();
    const TraceInfo& info = m_session->trace().info;
    const bool model = source.kind() == Source::Kind::model;
    auto* title = new Label(text(source.title()), Tone::normal, Theme::sans(15, QFont::DemiBold), m_content);
    title->setWordWrap(true);
    column->addWidget(title);
    auto* what = new Label(model ? tr("A kernel in a box, %1. Do something to it, turn its knobs, and watch.").arg(text(to_string(info.kernel)))
                 : source.kind() == Source::Kind::live && !info.observed && !m_session->trace().empty()
                     ? tr("Frames of a live device through the model of %1, as they come. What this host's own kernel does with them is not seen here.")
                           .arg(text(to_string(info.kernel)))
                 : source.kind() == Source::Kind::live
                     ? tr("Live from a real kernel, %1. Everything comes in, whatever you look at.")
                           .arg(info.kernel_release.empty() ? tr("release not known yet") : text(info.kernel_release))
                 : info.observed
                     ? tr("Recorded from a real kernel, %1.").arg(info.kernel_release.empty() ? tr("release unknown") : text(info.kernel_release))
                     : tr("A recorded run of the model of %1.").arg(text(to_string(info.kernel))),
                           Tone::muted, Theme::sans(12), m_content);
    what->setWordWrap(true);
    column->addWidget(what);
    if (!info.times_trustworthy) {
        auto* badge = new Label(tr("Order real, times not: an emulated CPU wrote this."), Tone::softirq, Theme::sans(12, QFont::DemiBold), m_content);
        badge->setWordWrap(true);
        column->addWidget(badge);
    }
    column->addSpacing(6);

    const std::vector<Action> actions = source.actions();
    for (const Action& action : actions) {
        auto* button = new QPushButton(text(action.title), m_content);
        button->setToolTip(text(action.text));
        button->setProperty("primary", &action == &actions.front());
        column->addWidget(button);
        const QString key = text(action.key);
        connect(button, &QPushButton::clicked, this, [this, key] {
            m_session->act(key);
            m_session->play();
        });
    }
    if (model) {
        auto* over = new QPushButton(tr("Start over"), m_content);
        over->setToolTip(tr("Back to the first moment, all knobs as they were (Ctrl+R)"));
        column->addWidget(over);
        connect(over, &QPushButton::clicked, this, [this] {
            m_undo->clear();
            m_session->startOver();
        });
    }

    m_branches = new BranchList(m_session, m_content);
    column->addWidget(m_branches);

    const std::vector<Knob> knobs = source.knobs();
    m_told = told();
    m_keys.clear();
    std::ranges::transform(knobs, std::back_inserter(m_keys), &Knob::key);
    if (!knobs.empty()) {
        column->addSpacing(10);
        column->addWidget(new Label(tr("Knobs"), Tone::accent, Theme::sans(12, QFont::DemiBold), m_content));
        addKnobs(column, knobs);
        addTextsButton(column);
        auto* hint = new Label(tr("A turned knob counts from the moment shown. Turned in the past it makes a branch: the run as it was stays "
                                  "and can be compared. Ctrl+Z turns it back."),
                               Tone::muted, Theme::sans(11), m_content);
        hint->setWordWrap(true);
        column->addWidget(hint);
    }
    if (source.kind() == Source::Kind::recording && m_session->trace().packet_count() > 0) {
        column->addWidget(new Label(tr("In all"), Tone::accent, Theme::sans(12, QFont::DemiBold), m_content));
        auto* all = new Label(wholeStory(m_session->trace()), Tone::normal, Theme::sans(12), m_content);
        all->setWordWrap(true);
        column->addWidget(all);
    }
    column->addSpacing(10);
    column->addWidget(new Label(source.kind() == Source::Kind::recording ? tr("Up to the moment shown") : tr("What happened"), Tone::accent, Theme::sans(12, QFont::DemiBold), m_content));
    m_summary = new Label({}, Tone::normal, Theme::sans(12), m_content);
    m_summary->setWordWrap(true);
    column->addWidget(m_summary);

    column->addSpacing(10);
    if (model) {
        column->addWidget(m_packets);
        m_packets->view()->setFixedHeight(rows_beside_knobs);
    } else {
        column->addWidget(m_packets, 1);
        m_packets->view()->setMinimumHeight(least_rows);
        m_packets->view()->setMaximumHeight(QWIDGETSIZE_MAX);
    }
    m_packets->show();

    if (!m_session->trace().faults.empty()) {
        column->addSpacing(10);
        column->addWidget(new Label(tr("What this recording does not know"), Tone::accent, Theme::sans(12, QFont::DemiBold), m_content));
        int shown = 0;
        for (const Fault& fault : m_session->trace().faults) {
            if (++shown > 12) {
                break;
            }
            auto* line = new Label(QStringLiteral("%1 × %2").arg(countText(fault.count), text(fault.cause)), Tone::muted, Theme::sans(12), m_content);
            line->setWordWrap(true);
            line->setToolTip(text(fault.advice));
            column->addWidget(line);
        }
    }
    for (const std::string& name : open) {
        if (const auto group = m_groups.find(name); group != m_groups.end()) {
            unfold(group->second, true);
        }
    }
    if (m_search != nullptr && !searched.isEmpty()) {
        m_search->setText(searched);
    }
    refresh();
    if (focus != nullptr) {
        focus->setFocus(Qt::OtherFocusReason);
    }
}

KnobEditor* ControlPanel::addEditor(const Knob& knob, QVBoxLayout* column)
{
    auto* editor = new KnobEditor(knob, m_content);
    column->addWidget(editor);
    m_knobs.push_back(editor);
    connect(editor, &KnobEditor::valueChosen, this, [this, editor](qint64 value) {
        qint64 before = value;
        for (const Knob& now : m_session->source().knobs()) {
            if (text(now.key) == editor->key()) {
                before = now.value;
            }
        }
        if (before != value) {
            const QString key = editor->key();
            m_undo->push(new Turn(m_session, tr("%1 %2 → %3").arg(key).arg(before).arg(value), [key, before](Session& session) { session.setKnob(key, before); },
                                  [key, value](Session& session) { session.setKnob(key, value); }));
            nameGroups();
        }
    });
    return editor;
}

void ControlPanel::addTextsButton(QVBoxLayout* column)
{
    const std::vector<TextKnob> texts = m_session->source().texts();
    if (texts.empty()) {
        return;
    }
    auto* button = new QPushButton(tr("Rules and filters…"), m_content);
    button->setToolTip(tr("nftables, iptables, and what taps and sockets let in (Ctrl+4)"));
    column->addWidget(button);
    connect(button, &QPushButton::clicked, this, &ControlPanel::textsWanted);
}

bool ControlPanel::isShown(const Knob& knob) const
{
    return hostOf(knob) == m_host;
}

void ControlPanel::addHostChoice(QVBoxLayout* column, const std::vector<Knob>& knobs)
{
    QStringList hosts;
    for (const Knob& knob : knobs) {
        if (const QString host = hostOf(knob); !host.isEmpty() && !hosts.contains(host)) {
            hosts << host;
        }
    }
    if (!hosts.contains(m_host)) {
        m_host.clear();
    }
    if (hosts.isEmpty()) {
        return;
    }
    auto* choice = new Choice(m_content);
    choice->setAccessibleName(tr("Whose settings"));
    choice->setSizePolicy(QSizePolicy::Ignored, QSizePolicy::Fixed);
    choice->setToolTip(tr("A knob of all hosts turns it on each that has it, and shows the first one's value"));
    choice->addItem(tr("of all hosts"), QString());
    for (const QString& host : hosts) {
        choice->addItem(tr("of %1").arg(host), host);
    }
    choice->setCurrentIndex(std::max(0, choice->findData(m_host)));
    column->addWidget(choice);
    connect(choice, &QComboBox::currentIndexChanged, this, [this, choice] {
        m_host = choice->currentData().toString();
        QTimer::singleShot(0, this, &ControlPanel::rebuild); // not from within its own signal: the choice is made anew with the rest
    });
}

void ControlPanel::addKnobs(QVBoxLayout* column, const std::vector<Knob>& all)
{
    addHostChoice(column, all);
    std::vector<Knob> knobs;
    std::ranges::copy_if(all, std::back_inserter(knobs), [this](const Knob& knob) { return isShown(knob); });
    m_search = new QLineEdit(m_content);
    m_search->setPlaceholderText(tr("Find a setting"));
    m_search->setAccessibleName(m_search->placeholderText());
    m_search->setClearButtonEnabled(true);
    column->addWidget(m_search);
    connect(m_search, &QLineEdit::textChanged, this, &ControlPanel::findKnobs);
    m_noneFound = new Label({}, Tone::muted, Theme::sans(12), m_content);
    m_noneFound->setWordWrap(true);
    m_noneFound->hide();
    column->addWidget(m_noneFound);
    for (const Knob& knob : knobs) {
        if (knob.group.empty()) {
            addEditor(knob, column);
        }
    }
    for (const Knob& knob : knobs) {
        if (knob.group.empty()) {
            continue;
        }
        Group& group = m_groups[knob.group];
        if (group.heading == nullptr) {
            group.heading = new QToolButton(m_content);
            group.heading->setCheckable(true);
            group.heading->setProperty("autoRaise", true);
            group.heading->setToolButtonStyle(Qt::ToolButtonTextBesideIcon);
            group.heading->setArrowType(Qt::RightArrow);
            group.heading->setProperty("heading", true);
            column->addWidget(group.heading);
            group.page = new QWidget(m_content);
            auto* page = new QVBoxLayout(group.page);
            page->setContentsMargins(8, 0, 0, 4);
            group.page->hide();
            column->addWidget(group.page);
            const std::string name = knob.group;
            connect(group.heading, &QToolButton::clicked, this, [this, name](bool open) { unfold(m_groups[name], open); });
        }
        group.knobs.push_back(knob);
    }
    nameGroups();
}

void ControlPanel::unfold(Group& group, bool open)
{
    if (open && !group.knobs.empty()) {
        auto* page = static_cast<QVBoxLayout*>(group.page->layout());
        for (const Knob& knob : std::exchange(group.knobs, {})) {
            addEditor(knob, page);
        }
        refreshKnobs();
    }
    group.heading->setChecked(open);
    group.heading->setArrowType(open ? Qt::DownArrow : Qt::RightArrow);
    group.page->setVisible(open);
}

void ControlPanel::catchUp()
{
    m_grown.stop();
    followSettings();
    m_packets->grow();
    if (m_branches != nullptr) {
        m_branches->compareNow();
    }
}

bool ControlPanel::showKnob(const QString& setting)
{
    if (m_session == nullptr || m_search == nullptr) {
        return false;
    }
    const auto isIt = [&](const QString& key) { return key == setting || key.section('/', -1) == setting; };
    m_search->clear();
    for (auto& [name, group] : m_groups) {
        if (std::ranges::any_of(group.knobs, [&](const Knob& knob) { return isIt(text(knob.key)); })) {
            unfold(group, true);
        }
    }
    const auto found = std::ranges::find_if(m_knobs, [&](const KnobEditor* editor) { return isIt(editor->key()); });
    if (found == m_knobs.end()) {
        return false;
    }
    for (auto& [name, group] : m_groups) {
        if (group.page->isAncestorOf(*found)) {
            unfold(group, true);
        }
    }
    (*found)->takeKeys();
    // It stands where it stands once the page has been laid out.
    QTimer::singleShot(0, *found, [this, editor = *found] { m_scroll->ensureWidgetVisible(editor, 0, 40); });
    return true;
}

void ControlPanel::nameGroups()
{
    std::map<std::string, std::pair<int, int>> counts; // all, not at the kernel's default
    for (const Knob& knob : m_session->source().knobs()) {
        if (!isShown(knob)) {
            continue;
        }
        auto& [all, changed] = counts[knob.group];
        ++all;
        changed += knob.value != knob.kernel_default ? 1 : 0;
    }
    for (auto& [name, group] : m_groups) {
        const auto [all, changed] = counts[name];
        group.heading->setText(changed == 0 ? tr("%1 (%2)").arg(text(name)).arg(all)
                                            : tr("%1 (%2, %3 changed)").arg(text(name)).arg(all).arg(changed));
    }
}

void ControlPanel::findKnobs(const QString& words)
{
    const QString wanted = words.trimmed();
    for (auto& [name, group] : m_groups) {
        const bool any = !wanted.isEmpty() && std::ranges::any_of(m_session->source().knobs(), [&, group = name](const Knob& knob) {
            return knob.group == group && isShown(knob) && text(knob.key + " " + knob.title).contains(wanted, Qt::CaseInsensitive);
        });
        unfold(group, any);
        group.heading->setVisible(wanted.isEmpty() || any);
    }
    bool found = false;
    for (KnobEditor* editor : m_knobs) {
        const bool fits = wanted.isEmpty() || editor->matches(wanted);
        editor->setVisible(fits);
        found |= fits;
    }
    m_noneFound->setText(tr("No setting here has “%1” in its name.").arg(wanted));
    m_noneFound->setVisible(!found);
}

void ControlPanel::refresh()
{
    if (m_summary == nullptr || m_session == nullptr) {
        return;
    }
    QStringList lines;
    lines << m_session->sentence() + QStringLiteral(".");
    const StackState& state = m_session->state();
    for (const auto& [key, count] : state.drops()) {
        const DropSite* site = dropSite(key.function, key.reason);
        if (site != nullptr && !site->remedy.empty()) {
            lines << tr("Against %1: %2").arg(text(Catalog::drop_reason(key.reason).name), text(site->remedy));
        }
    }
    m_summary->setText(lines.join(QStringLiteral("\n\n")));
}

std::tuple<std::string, bool, std::size_t> ControlPanel::told() const
{
    const Trace& trace = m_session->trace();
    return {trace.info.kernel_release, trace.empty(), trace.faults.size()};
}

void ControlPanel::followSettings()
{
    if (m_session == nullptr || m_session->isWorking()) {
        return;
    }
    if (told() == m_told && std::ranges::equal(m_session->source().knobs(), m_keys, {}, &Knob::key)) {
        return;
    }
    // A socket has come or gone, and its settings with it. Whoever is typing or dragging is not disturbed.
    const QWidget* focus = QApplication::focusWidget();
    if (focus != nullptr && focus != m_search && m_content->isAncestorOf(focus) && !m_packets->isAncestorOf(focus)) {
        m_grown.start();
        return;
    }
    rebuild();
}

void ControlPanel::refreshKnobs()
{
    if (m_session == nullptr || m_session->isWorking()) {
        return;
    }
    const std::vector<Knob> all = m_session->source().knobs();
    if (!std::ranges::equal(all, m_keys, {}, &Knob::key)) {
        m_grown.start(); // not now: an editor may be in the middle of saying what was chosen
    }
    for (const Knob& knob : all) {
        for (KnobEditor* editor : m_knobs) {
            if (editor->key() == text(knob.key)) {
                editor->setValue(knob.value);
            }
        }
    }
    nameGroups();
}

} // namespace skbscope::ui
