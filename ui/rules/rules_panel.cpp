#include "ui/rules/rules_panel.h"

#include "ui/controls/choice.h"
#include "ui/controls/label.h"
#include "ui/controls/turn.h"
#include "ui/player/format.h"
#include "ui/player/session.h"
#include "ui/rules/code_editor.h"
#include "ui/rules/drawer_parts.h"
#include "ui/rules/rule_examples.h"
#include "ui/rules/rules_highlighter.h"
#include "ui/theme/theme.h"

#include <QHBoxLayout>
#include <QMenu>
#include <QPushButton>
#include <QSignalBlocker>
#include <QTextBlock>
#include <QToolButton>
#include <QUndoStack>
#include <algorithm>
#include <set>

namespace skbscope::ui {

namespace {

constexpr int pause_ms = 150;

QString exampleOf(TextKnob::Language language)
{
    switch (language) {
    case TextKnob::Language::nft: return RulesPanel::tr("No rules. Write them as `nft list ruleset` prints them, or insert an example.");
    case TextKnob::Language::iptables: return RulesPanel::tr("No rules. Write them as `iptables-save` prints them, or insert an example.");
    case TextKnob::Language::tcpdump: return RulesPanel::tr("No filter: everything passes. An expression as tcpdump takes it, for example  udp port 53");
    }
    return {};
}

/// Where that byte of the line stands among its characters, from 1.
int columnOf(const QString& line, std::uint32_t byte)
{
    return byte == 0 ? 0 : static_cast<int>(QString::fromUtf8(line.toUtf8().left(static_cast<qsizetype>(byte) - 1)).size()) + 1;
}

} // namespace

RulesPanel::RulesPanel(QUndoStack* undo, QWidget* parent) : QWidget(parent), m_undo(undo)
{
    setMinimumHeight(130);
    auto* column = new QVBoxLayout(this);
    column->setContentsMargins(14, 8, 14, 6);
    column->setSpacing(6);
    auto* row = new QHBoxLayout;
    row->setSpacing(8);
    m_choice = new Choice(this);
    m_choice->setAccessibleName(tr("Whose rules or filter"));
    m_choice->setMinimumWidth(240);
    m_choice->setSizeAdjustPolicy(QComboBox::AdjustToContents);
    row->addWidget(m_choice);
    m_state = new Label({}, Tone::muted, Theme::sans(12), this);
    m_state->setSizePolicy(QSizePolicy::Ignored, QSizePolicy::Preferred);
    row->addWidget(m_state, 1);
    m_insert = new QToolButton(this);
    m_insert->setText(tr("Insert example"));
    m_insert->setPopupMode(QToolButton::InstantPopup);
    m_examples = new QMenu(m_insert);
    m_insert->setMenu(m_examples);
    row->addWidget(m_insert);
    m_revert = new QPushButton(tr("Revert"), this);
    m_revert->setToolTip(tr("Back to the text that is in force"));
    row->addWidget(m_revert);
    m_apply = new QPushButton(tr("Apply"), this);
    m_apply->setProperty("primary", true);
    m_apply->setToolTip(tr("From the moment shown on (Ctrl+Enter). In the past it makes a branch: the run as it was stays"));
    row->addWidget(m_apply);
    column->addLayout(row);
    auto* close = addDrawerClose(row, tr("Close the rules"), tr("Close (Ctrl+4)"));
    m_editor = new CodeEditor(this);
    m_editor->setAccessibleName(tr("Rules"));
    m_highlighter = new RulesHighlighter(m_editor->document());
    m_status = addEditorWithStatus(column, m_editor);

    m_pause.setSingleShot(true);
    m_pause.setInterval(pause_ms);
    connect(&m_pause, &QTimer::timeout, this, &RulesPanel::checkNow);
    connect(m_choice, &QComboBox::activated, this, [this] { showText(m_choice->currentData().toString()); });
    connect(m_editor, &QPlainTextEdit::textChanged, this, &RulesPanel::textEdited);
    connect(m_editor, &CodeEditor::applyWanted, this, &RulesPanel::apply);
    connect(m_apply, &QPushButton::clicked, this, &RulesPanel::apply);
    connect(m_revert, &QPushButton::clicked, this, &RulesPanel::revert);
    connect(close, &QToolButton::clicked, this, &RulesPanel::closed);
    connect(m_examples, &QMenu::aboutToShow, this, &RulesPanel::fillExamples);
    connect(&Theme::instance(), &Theme::changed, this, &RulesPanel::refreshState);
}

void RulesPanel::setSession(Session* session)
{
    m_session = session;
    m_drafts.clear();
    m_key.clear();
    m_texts.clear();
    m_fault.reset();
    {
        const QSignalBlocker quiet(m_editor);
        m_editor->clear();
    }
    if (session != nullptr) {
        connect(session, &Session::traceReplaced, this, &RulesPanel::reload);
        connect(session, &Session::knobsTurned, this, &RulesPanel::reload);
        connect(session, &Session::playheadMoved, this, [this] { isVisible() ? (refreshFigures(), refreshDecided()) : void(); });
        connect(session, &Session::selectionChanged, this, [this] { isVisible() ? refreshDecided() : void(); });
    }
    reload();
}

void RulesPanel::showEvent(QShowEvent* event)
{
    QWidget::showEvent(event);
    reload();
}

const TextKnob* RulesPanel::current() const
{
    const auto found = std::ranges::find(m_texts, m_key.toStdString(), &TextKnob::key);
    return found == m_texts.end() ? nullptr : &*found;
}

QString RulesPanel::draft() const
{
    return m_editor->toPlainText();
}

bool RulesPanel::isEdited() const
{
    const TextKnob* knob = current();
    return knob != nullptr && draft() != text(knob->value);
}

QStringList RulesPanel::drafts() const
{
    QStringList keys;
    for (const TextKnob& knob : m_texts) {
        const QString key = text(knob.key);
        const auto kept = m_drafts.find(key);
        if (key == m_key ? isEdited() : kept != m_drafts.end() && kept->second != text(knob.value)) {
            keys << key;
        }
    }
    return keys;
}

QString RulesPanel::titleOf(const QString& key) const
{
    const auto found = std::ranges::find(m_texts, key.toStdString(), &TextKnob::key);
    return found == m_texts.end() ? key : text(found->title);
}

bool RulesPanel::applyAll()
{
    const QStringList keys = drafts();
    return std::ranges::all_of(keys, [this](const QString& key) {
        choose(key);
        return !isEdited() || apply();
    });
}

void RulesPanel::choose(const QString& key)
{
    reload();
    if (std::ranges::find(m_texts, key.toStdString(), &TextKnob::key) != m_texts.end()) {
        showText(key);
    }
}

void RulesPanel::reload()
{
    if (m_session == nullptr || m_session->isWorking()) {
        return;
    }
    const bool edited = isEdited();
    m_texts = m_session->source().texts();
    {
        const QSignalBlocker quiet(m_choice);
        m_choice->clear();
        for (const TextKnob& knob : m_texts) {
            m_choice->addItem(text(knob.title), text(knob.key));
        }
    }
    m_choice->setEnabled(!m_texts.empty());
    if (current() == nullptr) {
        // The first that says something is what one came for.
        const auto written = std::ranges::find_if(m_texts, [](const TextKnob& knob) { return !knob.value.empty(); });
        const QString first = m_texts.empty() ? QString() : text((written == m_texts.end() ? m_texts.front() : *written).key);
        m_key.clear();
        showText(first);
        return;
    }
    m_choice->setCurrentIndex(m_choice->findData(m_key));
    if (!edited && draft() != text(current()->value)) {
        const QSignalBlocker quiet(m_editor);
        m_editor->setPlainText(text(current()->value));
    }
    if (!isEdited()) {
        m_editor->tag();
    }
    checkNow();
}

void RulesPanel::showText(const QString& key)
{
    if (current() != nullptr) {
        isEdited() ? void(m_drafts[m_key] = draft()) : void(m_drafts.erase(m_key));
    }
    m_key = key;
    m_choice->setCurrentIndex(m_choice->findData(key));
    const TextKnob* knob = current();
    m_editor->setReadOnly(knob == nullptr);
    {
        const QSignalBlocker quiet(m_editor);
        if (knob == nullptr) {
            m_editor->clear();
            m_editor->setPlaceholderText(tr("Rules can be written where a model runs. What a recording's rules decided stands in its packets' journeys."));
        } else {
            m_highlighter->setLanguage(knob->language);
            m_editor->setPlaceholderText(exampleOf(knob->language));
            m_editor->setAccessibleName(text(knob->title));
            m_editor->setPlainText(text(knob->value));
            m_editor->tag();
            if (const auto kept = m_drafts.find(key); kept != m_drafts.end()) {
                QTextCursor whole(m_editor->document());
                whole.select(QTextCursor::Document);
                whole.insertText(kept->second);
            }
        }
    }
    checkNow();
}

void RulesPanel::textEdited()
{
    m_checked = false;
    m_pause.start();
    refreshState();
}

void RulesPanel::checkNow()
{
    m_pause.stop();
    const TextKnob* knob = current();
    if (knob != nullptr && m_session->isWorking()) {
        m_pause.start();
        return;
    }
    m_fault = knob == nullptr || !isEdited() ? std::nullopt : m_session->source().check_text(knob->key, draft().toStdString());
    m_checked = true;
    if (m_fault && m_fault->line != 0) {
        const int line = std::clamp(static_cast<int>(m_fault->line), 1, m_editor->blockCount());
        const bool behind = static_cast<int>(m_fault->line) > m_editor->blockCount();
        const QString words = m_editor->document()->findBlockByNumber(line - 1).text();
        m_editor->setFault(CodeEditor::Mark{line, behind ? static_cast<int>(words.size()) + 1 : columnOf(words, m_fault->column)});
    } else {
        m_editor->setFault(m_fault ? std::optional(CodeEditor::Mark{1, 0}) : std::nullopt);
    }
    refreshFigures();
    refreshDecided();
}

bool RulesPanel::apply()
{
    checkNow();
    const TextKnob* knob = current();
    if (knob == nullptr || !isEdited() || m_fault || m_session->isWorking()) {
        refreshState();
        if (m_fault) {
            m_editor->goTo(m_editor->fault().value_or(CodeEditor::Mark{1, 0}));
        }
        return false;
    }
    const QString key = m_key;
    const QString before = text(knob->value);
    const QString after = draft();
    m_drafts.erase(key);
    m_undo->push(new Turn(m_session, tr("%1 rewritten").arg(text(knob->title)), [key, before](Session& session) { session.setText(key, before); },
                          [key, after](Session& session) { session.setText(key, after); }));
    reload();
    if (isEdited()) {
        return false; // the banner says why
    }
    m_editor->tag();
    refreshFigures();
    emit said(tr("In force from %1 on").arg(timeText(m_session->now(), m_session->origin())));
    return true;
}

void RulesPanel::revert()
{
    const TextKnob* knob = current();
    if (knob == nullptr || !isEdited()) {
        return;
    }
    // As an edit, so that it can be taken back.
    QTextCursor whole(m_editor->document());
    whole.beginEditBlock();
    whole.select(QTextCursor::Document);
    whole.insertText(text(knob->value));
    whole.endEditBlock();
    m_drafts.erase(m_key);
    m_editor->tag();
    checkNow();
    m_editor->setFocus(Qt::OtherFocusReason);
}

void RulesPanel::fillExamples()
{
    m_examples->clear();
    const TextKnob* knob = current();
    if (knob == nullptr) {
        return;
    }
    int index = 0;
    for (const RuleExample& example : examplesFor(knob->language, factsOf(m_session->trace(), m_session->selection().packet))) {
        auto* entry = m_examples->addAction(example.title, this, [this, index] { insertExample(index); });
        entry->setToolTip(example.text);
        ++index;
    }
    m_examples->setToolTipsVisible(true);
}

void RulesPanel::insertExample(int index)
{
    const TextKnob* knob = current();
    if (knob == nullptr) {
        return;
    }
    const auto examples = examplesFor(knob->language, factsOf(m_session->trace(), m_session->selection().packet));
    if (index < 0 || index >= static_cast<int>(examples.size())) {
        return;
    }
    // Only what is new is put in: the lines above keep their figures, and Ctrl+Z takes it out again.
    m_editor->changeTo(withExample(knob->language, draft(), examples[static_cast<std::size_t>(index)]));
    m_editor->setFocus(Qt::OtherFocusReason);
    m_editor->ensureCursorVisible();
    checkNow();
}

// ---- what the rules have done ------------------------------------------------------------------------------------------------

void RulesPanel::refreshFigures()
{
    std::map<int, CodeEditor::Figure> figures;
    const TextKnob* knob = current();
    if (knob != nullptr && !m_session->isWorking()) {
        const auto& counters = m_session->state().counters();
        for (const TextKnob::Line& line : knob->lines) {
            const int at = static_cast<int>(line.line);
            if (line.packets == CounterId::none) {
                if (!line.is_policy) {
                    figures[at] = {QStringLiteral("–"), tr("The kernel does not count here: write “counter” before what the rule does")};
                }
                continue;
            }
            const auto row = static_cast<std::size_t>(to_index(line.packets));
            const std::uint64_t packets = std::max(line.counted_before, row < counters.size() ? counters[row] : 0);
            figures[at] = {countText(packets), (line.is_policy ? tr("%1 came to the end of this chain up to the moment shown")
                                                               : tr("%1 counted by this rule up to the moment shown"))
                                                   .arg(counted(packets, "packet", "packets"))};
        }
    }
    m_editor->setFigures(std::move(figures));
    m_editor->setStale(isEdited());
    refreshState();
}

void RulesPanel::refreshDecided()
{
    std::set<int> lines;
    int last = 0;
    m_decidedBy.clear();
    const TextKnob* knob = current();
    const PacketId packet = m_session == nullptr ? PacketId::none : m_session->selection().packet;
    if (knob != nullptr && packet != PacketId::none && !m_session->isWorking() && m_session->trace().has_packet(packet)) {
        const Trace& trace = m_session->trace();
        for (const std::uint32_t ordinal : m_session->journeys().events_of(packet)) {
            if (ordinal >= m_session->position()) {
                break;
            }
            if (trace[ordinal].event_kind() != EventKind::note) {
                continue;
            }
            const auto line = std::ranges::find_if(knob->lines, [&](const TextKnob::Line& l) { return l.note && *l.note != 0 && *l.note == trace[ordinal].arg; });
            if (line != knob->lines.end()) {
                last = static_cast<int>(line->line);
                lines.insert(last);
            }
        }
    }
    if (last != 0) {
        const int now = m_editor->lineOf(last);
        m_decidedBy = now == 0 ? QString()
                               : tr("Packet %1 was decided by line %2 (%3 in all so far)")
                                     .arg(to_index(packet))
                                     .arg(now)
                                     .arg(counted(lines.size(), "line", "lines"));
        if (now != 0 && lines.size() == 1) {
            m_decidedBy = tr("Packet %1 was decided by line %2").arg(to_index(packet)).arg(now);
        }
    }
    m_editor->setDecided(std::move(lines), last);
    refreshState();
}

QString RulesPanel::status() const
{
    return m_status->text();
}

void RulesPanel::refreshState()
{
    const TextKnob* knob = current();
    const bool edited = isEdited();
    m_insert->setEnabled(knob != nullptr);
    m_revert->setEnabled(edited);
    m_apply->setEnabled(edited && !(m_checked && m_fault));
    m_state->setText(knob == nullptr                  ? QString()
                     : edited && m_fault && m_checked ? tr("not applied: what was in force stays in force")
                     : edited                         ? tr("edited, not applied yet")
                     : knob->value == knob->initial   ? tr("in force")
                                                      : tr("in force, changed since it was opened"));
    m_state->setTone(edited && m_fault && m_checked ? Tone::drop : edited ? Tone::accent : Tone::muted);
    QString words;
    const bool wrong = m_fault && m_checked && edited;
    if (wrong) {
        const QString remedy = m_fault->remedy.empty() ? QString() : QStringLiteral(" (%1)").arg(text(m_fault->remedy));
        const QString what = text(m_fault->what) + remedy;
        const auto mark = m_editor->fault();
        words = m_fault->line == 0 || !mark ? what : tr("Line %1, column %2: %3").arg(mark->line).arg(mark->column).arg(what);
    } else if (edited) {
        words = m_checked ? tr("It reads well. Apply makes it count from the moment shown on.") : tr("…");
    } else if (!m_decidedBy.isEmpty()) {
        words = m_decidedBy;
    } else if (knob != nullptr && knob->language != TextKnob::Language::tcpdump && !knob->value.empty()) {
        words = tr("Beside each rule: the packets that it has counted up to the moment shown. Select a packet to see which rule decided.");
    }
    m_status->setText(words);
    m_status->setToolTip(words);
    m_status->setAccessibleName(words.isEmpty() ? tr("Nothing to say of the rules") : words);
    m_status->setFocusPolicy(wrong ? Qt::TabFocus : Qt::NoFocus);
    const Colors& c = Theme::instance().colors();
    m_status->setStyleSheet(QStringLiteral("QPushButton { text-align: left; padding: 2px 4px; color: %1; }").arg((wrong ? c.drop : c.textMuted).name()));
}

} // namespace skbscope::ui
