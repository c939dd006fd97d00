#include "ui/lesson/markdown_view.h"

#include "ui/theme/reading.h"
#include "ui/theme/theme.h"

#include <QScrollBar>
#include <QTextBlock>
#include <QTextDocument>
#include <QTextFragment>
#include <QWheelEvent>
#include <cmath>

namespace skbscope::ui {

MarkdownView::MarkdownView(QWidget* parent) : QTextBrowser(parent)
{
    setOpenLinks(false);
    setFrameShape(QFrame::NoFrame);
    setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    setVerticalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    setFocusPolicy(Qt::NoFocus);
    viewport()->setAutoFillBackground(false);
    QPalette clear = palette();
    clear.setColor(QPalette::Base, Qt::transparent);
    setPalette(clear);
    document()->setDocumentMargin(0);
    QSizePolicy policy(QSizePolicy::Expanding, QSizePolicy::Fixed);
    policy.setHeightForWidth(true);
    setSizePolicy(policy);
    connect(&Theme::instance(), &Theme::changed, this, &MarkdownView::rebuild);
}

void MarkdownView::setMarkdownText(const QString& markdown)
{
    m_markdown = markdown;
    rebuild();
}

void MarkdownView::rebuild()
{
    const Colors& c = Theme::instance().colors();
    document()->setDefaultFont(readingFont(13));
    document()->setMarkdown(m_markdown, QTextDocument::MarkdownDialectGitHub);
    // Air between lines, and code in our own fixed face.
    for (QTextBlock block = document()->begin(); block.isValid(); block = block.next()) {
        QTextCursor cursor(block);
        QTextBlockFormat format = block.blockFormat();
        format.setLineHeight(132, QTextBlockFormat::ProportionalHeight);
        format.setTopMargin(0);
        format.setBottomMargin(block.textList() != nullptr ? 4 : 10);
        cursor.setBlockFormat(format);
        for (auto it = block.begin(); !it.atEnd(); ++it) {
            const QTextFragment fragment = it.fragment();
            QTextCharFormat was = fragment.charFormat();
            QTextCursor part(document());
            part.setPosition(fragment.position());
            part.setPosition(fragment.position() + fragment.length(), QTextCursor::KeepAnchor);
            if (was.fontFixedPitch() || block.blockFormat().hasProperty(QTextFormat::BlockCodeFence)) {
                was.setFont(Theme::mono(12 * readingScale()));
                was.setForeground(c.text);
            } else {
                was.setForeground(c.text);
            }
            part.setCharFormat(was);
        }
    }
    fit();
}

int MarkdownView::heightForWidth(int width) const
{
    const std::unique_ptr<QTextDocument> copy(document()->clone());
    copy->setTextWidth(width);
    return static_cast<int>(std::ceil(copy->size().height())) + 1;
}

QSize MarkdownView::sizeHint() const
{
    return {240, heightForWidth(std::max(120, width()))};
}

void MarkdownView::fit()
{
    document()->setTextWidth(viewport()->width());
    setFixedHeight(static_cast<int>(std::ceil(document()->size().height())) + 1);
}

void MarkdownView::resizeEvent(QResizeEvent* event)
{
    QTextBrowser::resizeEvent(event);
    if (event->size().width() != event->oldSize().width()) {
        fit();
    }
}

void MarkdownView::wheelEvent(QWheelEvent* event)
{
    event->ignore(); // the panel scrolls, not the text
}

} // namespace skbscope::ui
