#include "ui/lesson/lesson_editor.h"

#include "ui/controls/label.h"
#include "ui/player/format.h"
#include "ui/rules/code_editor.h"
#include "ui/rules/drawer_parts.h"
#include "ui/theme/theme.h"

#include <QFile>
#include <QHBoxLayout>
#include <QMenu>
#include <QPointer>
#include <QPushButton>
#include <QSaveFile>
#include <QSignalBlocker>
#include <QTextBlock>
#include <QToolButton>
#include <QUndoStack>
#include <algorithm>

namespace skbscope::ui {

namespace {

constexpr int pause_ms = 400;

/// A word or a sentence as a YAML value.
QString quoted(QString words)
{
    words.replace('\\', QStringLiteral("\\\\")).replace('"', QStringLiteral("\\\""));
    return QStringLiteral("\"%1\"").arg(words);
}

/// To be filled in; a player can read them as they are.
QString predictionBlock()
{
    return QObject::tr("```question\nask: What happens next?\nchoices:\n  - text: the one thing\n    right: true\n    because: Say why.\n"
                       "  - text: the other\n    because: Say why not.\n```\n");
}

QString experimentBlock(const QString& lines)
{
    return QObject::tr("```experiment\ntry: Say what to try.\n%1goal: born >= 1\nafter: Say what that has shown.\n```\n").arg(lines);
}

} // namespace

QString newLessonText(const QString& title, const QString& kernel, const QString& driver, const QString& file, const QString& step)
{
    return QStringLiteral("---\ntitle: %1\nsummary: %2\nlanguage: en\nkernel: \"%3\"\n%4: %5\n---\n\n%6")
        .arg(quoted(title), quoted(QObject::tr("Say here in one sentence what it shows.")), kernel, driver, file, step);
}

/// A step put into the text. Taken back it goes, whatever has been written around it; if its own words were changed, it stays.
class LessonEditor::Insertion : public QUndoCommand {
public:
    Insertion(LessonEditor* editor, QString before, QString after, QString piece)
        : QUndoCommand(tr("step added")), m_editor(editor), m_before(std::move(before)), m_after(std::move(after)), m_piece(std::move(piece))
    {
    }
    void undo() override
    {
        if (m_editor == nullptr) {
            return;
        }
        QString now = m_editor->editor()->toPlainText();
        if (now == m_after) {
            m_editor->replaceText(m_before, std::max<qsizetype>(0, m_after.indexOf(m_piece) - 1));
        } else if (const auto at = now.indexOf(m_piece); at >= 0) {
            m_editor->replaceText(now.remove(at, m_piece.size()), std::max<qsizetype>(0, at - 1));
        } else {
            emit m_editor->failed(tr("That step has been rewritten since: delete it in the lesson's text"));
        }
    }
    void redo() override
    {
        if (m_editor != nullptr && m_editor->editor()->toPlainText() == m_before) {
            m_editor->replaceText(m_after, m_after.indexOf(m_piece) + m_piece.indexOf('#'));
        }
    }

private:
    QPointer<LessonEditor> m_editor;
    QString m_before, m_after, m_piece;
};

LessonEditor::LessonEditor(QUndoStack* undo, QWidget* parent) : QWidget(parent), m_undo(undo)
{
    setMinimumHeight(130);
    auto* column = new QVBoxLayout(this);
    column->setContentsMargins(14, 8, 14, 6);
    column->setSpacing(6);
    auto* row = new QHBoxLayout;
    row->setSpacing(8);
    m_title = new Label({}, Tone::muted, Theme::sans(12), this);
    m_title->setSizePolicy(QSizePolicy::Ignored, QSizePolicy::Preferred);
    row->addWidget(m_title, 1);
    auto* insert = new QToolButton(this);
    insert->setText(tr("Insert"));
    insert->setPopupMode(QToolButton::InstantPopup);
    auto* blocks = new QMenu(insert);
    blocks->addAction(tr("A prediction"), this, [this] { insertBlock(predictionBlock()); });
    blocks->addAction(tr("An experiment"), this, [this] { insertBlock(experimentBlock(m_experiment)); });
    insert->setMenu(blocks);
    row->addWidget(insert);
    auto* check = new QPushButton(tr("Check"), this);
    check->setToolTip(tr("Plays the lesson and says what is wrong: stops that never happen, experiments that miss their goal"));
    row->addWidget(check);
    auto* add = new QPushButton(tr("Add this moment"), this);
    add->setProperty("primary", true);
    add->setToolTip(tr("A step behind the one that is shown, which stops where the playhead stands (Ctrl+Shift+A)"));
    row->addWidget(add);
    column->addLayout(row);
    auto* close = addDrawerClose(row, tr("Close the lesson's text"), tr("Close (Ctrl+5)"));
    m_editor = new CodeEditor(this);
    m_editor->setAccessibleName(tr("Text of the lesson"));
    m_editor->setLineWrapMode(QPlainTextEdit::WidgetWidth);
    m_status = addEditorWithStatus(column, m_editor);
    m_status->setStyleSheet(QStringLiteral("text-align: left; padding-left: 2px"));

    m_pause.setSingleShot(true);
    m_pause.setInterval(pause_ms);
    connect(&m_pause, &QTimer::timeout, this, &LessonEditor::keep);
    connect(m_editor, &QPlainTextEdit::textChanged, this, [this] { m_pause.start(); });
    connect(m_editor, &CodeEditor::applyWanted, this, &LessonEditor::keep);
    connect(add, &QPushButton::clicked, this, &LessonEditor::momentWanted);
    connect(check, &QPushButton::clicked, this, [this] {
        keep();
        emit checkWanted();
    });
    connect(close, &QToolButton::clicked, this, &LessonEditor::closed);
    connect(&m_watcher, &QFileSystemWatcher::fileChanged, this, &LessonEditor::fileChanged);
}

QString LessonEditor::path() const
{
    return QString::fromStdString((m_folder / "lesson.md").string());
}

QString LessonEditor::status() const
{
    return m_status->text();
}

void LessonEditor::setFolder(const std::filesystem::path& folder)
{
    if (!m_folder.empty()) {
        keep();
    }
    if (!m_watcher.files().isEmpty()) {
        m_watcher.removePaths(m_watcher.files());
    }
    m_folder = folder;
    m_kept.clear();
    QFile file(path());
    if (!folder.empty() && file.open(QIODevice::ReadOnly)) {
        m_kept = QString::fromUtf8(file.readAll());
        m_watcher.addPath(path());
    }
    {
        const QSignalBlocker quiet(m_editor);
        m_editor->setPlainText(m_kept);
        m_editor->tag();
    }
    m_pause.stop();
    m_title->setText(folder.empty() ? QString() : tr("%1, kept as it is typed").arg(path()));
    if (!folder.empty()) {
        read();
    }
}

bool LessonEditor::keep()
{
    m_pause.stop();
    const QString words = m_editor->toPlainText();
    if (m_folder.empty() || words == m_kept) {
        return true;
    }
    // In place of the old one at once: whoever reads it meanwhile sees one of the two.
    QSaveFile file(path());
    const QByteArray bytes = words.toUtf8();
    if (!file.open(QIODevice::WriteOnly) || file.write(bytes) != bytes.size() || !file.commit()) {
        emit failed(QStringLiteral("%1: %2").arg(path(), file.errorString()));
        return false;
    }
    m_kept = words;
    if (!m_watcher.files().contains(path())) {
        m_watcher.addPath(path());
    }
    m_editor->tag();
    if (read()) {
        emit changed();
    }
    return true;
}

bool LessonEditor::read()
{
    const auto findings = check_lesson(m_folder);
    const auto wrong = std::ranges::find(findings, Finding::Severity::error, &Finding::severity);
    if (wrong == findings.end()) {
        m_editor->setFault(std::nullopt);
        m_status->setText(findings.empty() ? tr("A player can read it") : tr("Line %1: %2").arg(findings.front().line).arg(text(findings.front().text)));
        return true;
    }
    const int line = std::clamp(wrong->line, 1, m_editor->blockCount());
    m_editor->setFault(CodeEditor::Mark{line, wrong->column});
    m_status->setText(tr("Line %1: %2").arg(wrong->line).arg(text(wrong->text)) + (wrong->remedy.empty() ? QString() : QStringLiteral(" – ") + text(wrong->remedy)));
    return false;
}

/// Somebody wrote the file with another editor. What is typed here and not kept yet wins.
void LessonEditor::fileChanged()
{
    QFile file(path());
    if (!file.open(QIODevice::ReadOnly)) {
        return; // between two versions
    }
    const QString there = QString::fromUtf8(file.readAll());
    if (!m_watcher.files().contains(path())) {
        m_watcher.addPath(path()); // another file bears the name now
    }
    if (there == m_kept || m_editor->toPlainText() != m_kept) {
        return;
    }
    m_kept = there;
    replaceText(there, m_editor->textCursor().position());
    if (read()) {
        emit changed();
    }
}

bool LessonEditor::replaceText(const QString& now, qsizetype cursorAt)
{
    m_editor->changeTo(now);
    QTextCursor cursor = m_editor->textCursor();
    cursor.setPosition(static_cast<int>(std::clamp<qsizetype>(cursorAt, 0, now.size())));
    m_editor->setTextCursor(cursor);
    m_editor->centerCursor();
    return keep();
}

std::vector<int> LessonEditor::headings() const
{
    std::vector<int> lines;
    bool fenced = false;
    for (QTextBlock block = m_editor->document()->begin(); block.isValid(); block = block.next()) {
        if (block.text().startsWith(QStringLiteral("```"))) {
            fenced = !fenced;
        } else if (!fenced && block.text().startsWith(QStringLiteral("## "))) {
            lines.push_back(block.blockNumber() + 1);
        }
    }
    return lines;
}

int LessonEditor::stepAtCursor() const
{
    const std::vector<int> lines = headings();
    const int line = m_editor->textCursor().blockNumber() + 1;
    return std::max(0, static_cast<int>(std::ranges::upper_bound(lines, line) - lines.begin()) - 1);
}

void LessonEditor::goToStep(int step)
{
    const std::vector<int> lines = headings();
    if (step >= 0 && step < static_cast<int>(lines.size())) {
        // Without taking the keys: one may be stepping through the lesson.
        m_editor->setTextCursor(QTextCursor(m_editor->document()->findBlockByNumber(lines[static_cast<std::size_t>(step)] - 1)));
        m_editor->centerCursor();
    }
}

void LessonEditor::insertBlock(const QString& block)
{
    const std::vector<int> lines = headings();
    const auto next = static_cast<std::size_t>(stepAtCursor() + 1);
    const QString before = m_editor->toPlainText();
    qsizetype at = next < lines.size() ? m_editor->document()->findBlockByNumber(lines[next] - 1).position() : before.size();
    while (at > 0 && before[at - 1] == '\n') {
        --at;
    }
    QString after = before;
    after.insert(at, QStringLiteral("\n\n") + block.chopped(1) + (at == before.size() ? QStringLiteral("\n") : QString()));
    replaceText(after, at + 2);
    m_editor->setFocus(Qt::OtherFocusReason);
}

bool LessonEditor::insertStep(const QString& step, int behind)
{
    if (!keep()) {
        return false;
    }
    const QString before = m_editor->toPlainText();
    const std::vector<int> lines = headings();
    const auto next = static_cast<std::size_t>(std::max(0, behind + 1));
    qsizetype at = before.size();
    QString piece = step.endsWith('\n') ? step : step + '\n';
    if (next < lines.size()) {
        at = m_editor->document()->findBlockByNumber(lines[next] - 1).position();
        piece += '\n';
    } else {
        // One empty line between the last step and this.
        piece.prepend(before.endsWith(QStringLiteral("\n\n")) ? QString() : before.endsWith('\n') ? QStringLiteral("\n") : QStringLiteral("\n\n"));
    }
    QString after = before;
    after.insert(at, piece);
    m_undo->push(new Insertion(this, before, after, piece));
    goToStep(static_cast<int>(next));
    return m_kept == after;
}

} // namespace skbscope::ui
