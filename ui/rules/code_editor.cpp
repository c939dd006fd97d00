#include "ui/rules/code_editor.h"

#include "ui/theme/reading.h"
#include "ui/theme/theme.h"

#include <QHelpEvent>
#include <QKeyEvent>
#include <QPainter>
#include <QTextBlock>
#include <QToolTip>
#include <algorithm>

namespace skbscope::ui {

namespace {

constexpr int margin = 8;

/// Which line of the text that is in force a block was.
class Tag : public QTextBlockUserData {
public:
    explicit Tag(int number) : line(number) {}
    int line;
};

class Gutter : public QWidget {
public:
    explicit Gutter(CodeEditor* editor) : QWidget(editor), m_editor(editor) {}

protected:
    void paintEvent(QPaintEvent* event) override { m_editor->paintGutter(event); }
    bool event(QEvent* event) override
    {
        if (event->type() == QEvent::ToolTip) {
            const auto* help = static_cast<QHelpEvent*>(event);
            QToolTip::showText(help->globalPos(), m_editor->gutterTip(help->pos()), this);
            return true;
        }
        return QWidget::event(event);
    }

private:
    CodeEditor* m_editor;
};

} // namespace

CodeEditor::CodeEditor(QWidget* parent) : QPlainTextEdit(parent), m_gutter(new Gutter(this))
{
    setLineWrapMode(QPlainTextEdit::NoWrap);
    setTabChangesFocus(true); // the way out for those who have no mouse; a new line begins under the one before
    setFrameShape(QFrame::NoFrame);
    connect(this, &QPlainTextEdit::blockCountChanged, this, &CodeEditor::layoutGutter);
    connect(this, &QPlainTextEdit::updateRequest, this, [this](const QRect& area, int by) {
        if (by != 0) {
            m_gutter->scroll(0, by);
        } else {
            m_gutter->update(0, area.y(), m_gutter->width(), area.height());
        }
    });
    connect(this, &QPlainTextEdit::cursorPositionChanged, this, &CodeEditor::refreshMarks);
    connect(&Theme::instance(), &Theme::changed, this, &CodeEditor::restyle);
    restyle();
}

void CodeEditor::restyle()
{
    setFont(Theme::mono(13 * readingScale()));
    setTabStopDistance(4 * QFontMetricsF(font()).horizontalAdvance(' '));
    layoutGutter();
    refreshMarks();
}

void CodeEditor::changeTo(const QString& text)
{
    const QString before = toPlainText();
    const qsizetype shorter = std::min(before.size(), text.size());
    qsizetype head = 0;
    while (head < shorter && before[head] == text[head]) {
        ++head;
    }
    qsizetype tail = 0;
    while (tail < shorter - head && before[before.size() - 1 - tail] == text[text.size() - 1 - tail]) {
        ++tail;
    }
    // No character is cut in two.
    head -= head > 0 && before[head - 1].isHighSurrogate() ? 1 : 0;
    tail -= tail > 0 && before[before.size() - tail].isLowSurrogate() ? 1 : 0;
    QTextCursor cursor(document());
    cursor.setPosition(static_cast<int>(head));
    cursor.setPosition(static_cast<int>(before.size() - tail), QTextCursor::KeepAnchor);
    cursor.insertText(text.mid(head, text.size() - tail - head));
    setTextCursor(cursor);
}

// ---- lines and their figures ---------------------------------------------------------------------------------------------

void CodeEditor::tag()
{
    int line = 0;
    for (QTextBlock block = document()->begin(); block.isValid(); block = block.next()) {
        block.setUserData(new Tag(++line));
    }
}

int CodeEditor::tagOf(const QTextBlock& block) const
{
    const auto* tag = static_cast<const Tag*>(block.userData());
    return tag == nullptr ? 0 : tag->line;
}

QTextBlock CodeEditor::blockOfTag(int tag) const
{
    for (QTextBlock block = document()->begin(); block.isValid(); block = block.next()) {
        if (tagOf(block) == tag) {
            return block;
        }
    }
    return {};
}

int CodeEditor::lineOf(int tag) const
{
    const QTextBlock block = blockOfTag(tag);
    return block.isValid() ? block.blockNumber() + 1 : 0;
}

void CodeEditor::setFigures(std::map<int, Figure> byTag)
{
    if (byTag == m_figures) {
        return;
    }
    m_figures = std::move(byTag);
    layoutGutter();
    m_gutter->update();
}

std::optional<CodeEditor::Figure> CodeEditor::figureAt(int line) const
{
    const auto found = m_figures.find(tagOf(document()->findBlockByNumber(line - 1)));
    return found == m_figures.end() ? std::nullopt : std::optional(found->second);
}

void CodeEditor::setStale(bool stale)
{
    if (stale != m_stale) {
        m_stale = stale;
        m_gutter->update();
        refreshMarks();
    }
}

// ---- marks -----------------------------------------------------------------------------------------------------------------

void CodeEditor::setFault(std::optional<Mark> fault)
{
    m_fault = fault;
    refreshMarks();
    m_gutter->update();
}

void CodeEditor::setDecided(std::set<int> tags, int last)
{
    if (tags == m_decided && last == m_lastDecided) {
        return;
    }
    m_decided = std::move(tags);
    m_lastDecided = last;
    refreshMarks();
    m_gutter->update();
}

void CodeEditor::goTo(Mark mark)
{
    const QTextBlock block = document()->findBlockByNumber(std::clamp(mark.line - 1, 0, blockCount() - 1));
    QTextCursor cursor(block);
    cursor.movePosition(QTextCursor::Right, QTextCursor::MoveAnchor, std::clamp(mark.column - 1, 0, std::max(0, block.length() - 1)));
    setTextCursor(cursor);
    setFocus(Qt::OtherFocusReason);
    ensureCursorVisible();
}

void CodeEditor::refreshMarks()
{
    const Colors& c = Theme::instance().colors();
    QList<QTextEdit::ExtraSelection> all;
    const auto wholeLine = [&](const QTextBlock& block, QColor color, qreal alpha) {
        QTextEdit::ExtraSelection mark;
        color.setAlphaF(static_cast<float>(alpha));
        mark.format.setBackground(color);
        mark.format.setProperty(QTextFormat::FullWidthSelection, true);
        mark.cursor = QTextCursor(block);
        all << mark;
    };
    wholeLine(textCursor().block(), c.band, hasFocus() ? 0.7 : 0);
    for (const int tag : m_decided) {
        if (const QTextBlock block = blockOfTag(tag); block.isValid()) {
            wholeLine(block, c.accent, (tag == m_lastDecided ? 0.22 : 0.10) * (m_stale ? 0.5 : 1));
        }
    }
    if (m_fault) {
        const QTextBlock block = document()->findBlockByNumber(std::clamp(m_fault->line - 1, 0, blockCount() - 1));
        QTextEdit::ExtraSelection mark;
        mark.format.setUnderlineStyle(QTextCharFormat::WaveUnderline);
        mark.format.setUnderlineColor(c.drop);
        mark.cursor = QTextCursor(block);
        const int length = std::max(0, block.length() - 1);
        const int from = m_fault->column == 0 ? 0 : std::clamp(m_fault->column - 1, 0, length);
        int to = length;
        if (m_fault->column != 0) {
            const QString line = block.text();
            for (to = from; to < length && !line[to].isSpace() && !QStringLiteral(";{},").contains(line[to]); ++to) {}
            to = std::min(length, std::max(to, from + 1));
        }
        // Nothing stands there: the end of the text is what is wrong.
        const int begin = to > from ? from : std::max(0, from - 1);
        mark.cursor.setPosition(block.position() + begin);
        mark.cursor.setPosition(block.position() + std::max(to, begin), QTextCursor::KeepAnchor);
        all << mark;
    }
    setExtraSelections(all);
}

// ---- the gutter ------------------------------------------------------------------------------------------------------------

int CodeEditor::gutterWidth() const
{
    const QFontMetrics metrics(font());
    const int digits = std::max(2, static_cast<int>(QString::number(blockCount()).size()));
    return margin + metrics.horizontalAdvance('0') * digits + margin + m_figureWidth + (m_figureWidth > 0 ? margin : 0);
}

void CodeEditor::layoutGutter()
{
    const QFontMetrics metrics(font());
    m_figureWidth = m_figures.empty() ? 0 : metrics.horizontalAdvance(QStringLiteral("0000"));
    for (const auto& [tag, figure] : m_figures) {
        m_figureWidth = std::max(m_figureWidth, metrics.horizontalAdvance(figure.words));
    }
    setViewportMargins(gutterWidth() + 4, 0, 0, 0);
    const QRect inside = contentsRect();
    m_gutter->setGeometry(inside.left(), inside.top(), gutterWidth(), inside.height());
}

void CodeEditor::paintGutter(QPaintEvent* event)
{
    const Colors& c = Theme::instance().colors();
    QPainter painter(m_gutter);
    painter.fillRect(event->rect(), c.band);
    painter.setFont(font());
    const int height = fontMetrics().height();
    const int numbers = gutterWidth() - margin - m_figureWidth - (m_figureWidth > 0 ? margin : 0);
    QTextBlock block = firstVisibleBlock();
    qreal top = blockBoundingGeometry(block).translated(contentOffset()).top();
    for (; block.isValid() && top <= event->rect().bottom(); block = block.next()) {
        const qreal next = top + blockBoundingRect(block).height();
        const int y = qRound(top);
        if (block.isVisible() && next >= event->rect().top()) {
            const bool wrong = m_fault && std::clamp(m_fault->line, 1, blockCount()) == block.blockNumber() + 1;
            painter.setPen(wrong ? c.drop : block == textCursor().block() && hasFocus() ? c.text : c.textMuted);
            painter.drawText(QRect(0, y, numbers, height), Qt::AlignRight | Qt::AlignVCenter, QString::number(block.blockNumber() + 1));
            if (wrong) {
                painter.fillRect(QRect(0, y, 3, height), c.drop);
            } else if (m_decided.contains(tagOf(block))) {
                painter.fillRect(QRect(0, y, 3, height), c.accent);
            }
            const auto figure = m_figures.find(tagOf(block));
            if (tagOf(block) != 0 && figure != m_figures.end()) {
                const bool counts = figure->second.words != QStringLiteral("–") && figure->second.words != QStringLiteral("0");
                painter.setPen(m_stale || !counts ? c.textMuted : c.text);
                painter.drawText(QRect(numbers + margin, y, m_figureWidth, height), Qt::AlignRight | Qt::AlignVCenter, figure->second.words);
            }
        }
        top = next;
    }
}

QString CodeEditor::gutterTip(QPoint at) const
{
    const QTextBlock block = cursorForPosition(QPoint(0, at.y())).block();
    const auto figure = m_figures.find(tagOf(block));
    return figure == m_figures.end() || tagOf(block) == 0 ? QString() : figure->second.tip;
}

// ---- keys ------------------------------------------------------------------------------------------------------------------

bool CodeEditor::event(QEvent* event)
{
    if (event->type() == QEvent::ShortcutOverride) {
        // What moves about in a text belongs to the text, not to the player behind it.
        switch (static_cast<QKeyEvent*>(event)->key()) {
        case Qt::Key_Left:
        case Qt::Key_Right:
        case Qt::Key_Up:
        case Qt::Key_Down:
        case Qt::Key_Home:
        case Qt::Key_End:
        case Qt::Key_PageUp:
        case Qt::Key_PageDown: event->accept(); return true;
        default: break;
        }
    }
    return QPlainTextEdit::event(event);
}

void CodeEditor::newLine()
{
    QTextCursor cursor = textCursor();
    const QString before = cursor.block().text().left(cursor.positionInBlock());
    QString indent;
    for (const QChar c : before) {
        if (c != ' ' && c != '\t') {
            break;
        }
        indent += c;
    }
    if (before.trimmed().endsWith('{')) {
        indent += indent.contains('\t') ? QStringLiteral("\t") : QStringLiteral("    ");
    }
    cursor.insertText('\n' + indent);
    setTextCursor(cursor);
    ensureCursorVisible();
}

void CodeEditor::keyPressEvent(QKeyEvent* event)
{
    const bool enter = event->key() == Qt::Key_Return || event->key() == Qt::Key_Enter;
    if (enter && (event->modifiers() & Qt::ControlModifier) != 0) {
        emit applyWanted();
        return;
    }
    if (enter && !isReadOnly()) {
        newLine();
        return;
    }
    if (event->text() == QStringLiteral("}") && !isReadOnly()) {
        // A closing brace stands one level further left.
        QTextCursor cursor = textCursor();
        const QString before = cursor.block().text().left(cursor.positionInBlock());
        const int step = before.endsWith('\t') ? 1 : before.endsWith(QStringLiteral("    ")) ? 4 : 0;
        if (!before.isEmpty() && before.trimmed().isEmpty() && step > 0) {
            cursor.movePosition(QTextCursor::Left, QTextCursor::KeepAnchor, step);
            cursor.insertText(QStringLiteral("}"));
            return;
        }
    }
    QPlainTextEdit::keyPressEvent(event);
}

void CodeEditor::resizeEvent(QResizeEvent* event)
{
    QPlainTextEdit::resizeEvent(event);
    layoutGutter();
}

void CodeEditor::changeEvent(QEvent* event)
{
    QPlainTextEdit::changeEvent(event);
    if (event->type() == QEvent::FontChange) {
        layoutGutter();
    }
}

} // namespace skbscope::ui
