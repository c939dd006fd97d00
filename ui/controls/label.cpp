#include "ui/controls/label.h"

#include "ui/theme/reading.h"
#include "ui/theme/theme.h"

#include <QPainter>
#include <algorithm>

namespace skbscope::ui {

QColor toneColor(Tone tone)
{
    const Theme& theme = Theme::instance();
    const Colors& c = theme.colors();
    switch (tone) {
    case Tone::normal: return c.text;
    case Tone::muted: return c.textMuted;
    case Tone::faint: return c.textFaint;
    case Tone::accent: return c.accent;
    case Tone::good: return c.good;
    case Tone::drop: return c.drop;
    case Tone::hardirq: return c.hardirqText;
    case Tone::softirq: return c.softirqText;
    case Tone::process: return c.processText;
    }
    return c.text;
}

Label::Label(const QString& text, Tone tone, QWidget* parent) : QLabel(text, parent), m_tone(tone)
{
    setTextInteractionFlags(Qt::NoTextInteraction);
    connect(&Theme::instance(), &Theme::changed, this, &Label::recolor);
    recolor();
}

Label::Label(const QString& text, Tone tone, const QFont& font, QWidget* parent) : Label(text, tone, parent)
{
    setFont(font);
}

void Label::setTone(Tone tone)
{
    if (tone != m_tone) {
        m_tone = tone;
        recolor();
    }
}

void Label::recolor()
{
    QPalette colors = palette();
    colors.setColor(QPalette::WindowText, toneColor(m_tone));
    colors.setColor(QPalette::Text, toneColor(m_tone));
    setPalette(colors);
}

Headline::Headline(QWidget* parent) : QWidget(parent)
{
    setSizePolicy(QSizePolicy::Ignored, QSizePolicy::Fixed);
    connect(&Theme::instance(), &Theme::changed, this, [this] {
        updateGeometry();
        update();
    });
}

QSize Headline::sizeHint() const
{
    return {200, qRound(30 * readingScale())};
}

void Headline::setText(const QString& text)
{
    if (text == m_text) {
        return;
    }
    m_text = text;
    setToolTip(text);
    setAccessibleName(text);
    update();
}

void Headline::setBadges(const QString& origin, const QString& warning)
{
    m_origin = origin;
    m_warning = warning;
    update();
}

void Headline::paintEvent(QPaintEvent*)
{
    QPainter painter(this);
    painter.setRenderHint(QPainter::Antialiasing);
    const Colors& c = Theme::instance().colors();
    const QFontMetrics small(Theme::sans(11, QFont::Medium));
    const auto pill = [&](const QString& words, bool atLeft, const QColor& color) {
        if (words.isEmpty()) {
            return 0;
        }
        const int wide = small.horizontalAdvance(words) + 18;
        const QRectF box(atLeft ? 10.5 : width() - 10.5 - wide, (height() - 19) / 2.0, wide, 19);
        QColor wash = color;
        wash.setAlphaF(0.12F);
        painter.setPen(Qt::NoPen);
        painter.setBrush(wash);
        painter.drawRoundedRect(box, 9.5, 9.5);
        painter.setPen(color);
        painter.setFont(Theme::sans(11, QFont::Medium));
        painter.drawText(box, Qt::AlignCenter, words);
        return wide + 12;
    };
    const int left = pill(m_origin, true, c.textMuted);
    const int right = pill(m_warning, false, Theme::instance().contextText(Context::softirq));
    painter.setPen(c.text);
    // Centred in the window's middle as long as the badges leave room for that.
    const int margin = std::max(left, right) + 12;
    const QRect even = rect().adjusted(margin, 0, -margin, 0);
    const bool fits = QFontMetrics(readingFont(13, QFont::DemiBold)).horizontalAdvance(m_text) <= even.width();
    const QRect area = fits ? even : rect().adjusted(left + 12, 0, -right - 12, 0);
    for (const qreal size : {13.0, 12.0}) {
        const QFont font = readingFont(size, QFont::DemiBold);
        if (QFontMetrics(font).horizontalAdvance(m_text) <= area.width()) {
            painter.setFont(font);
            painter.drawText(area, Qt::AlignCenter, m_text);
            return;
        }
    }
    const QFont font = Theme::sans(11, QFont::DemiBold); // two lines of the height there is
    const QFontMetrics metrics(font);
    painter.setFont(font);
    // Two lines; what does not fit even then ends in dots, and the tool tip has it.
    const QRect needed = metrics.boundingRect(QRect(0, 0, area.width(), 1000), Qt::TextWordWrap, m_text);
    const QString shown =
        needed.height() <= 2 * metrics.lineSpacing() + 1 ? m_text : metrics.elidedText(m_text, Qt::ElideRight, area.width() * 2 - 80);
    painter.drawText(area, Qt::AlignCenter | Qt::TextWordWrap, shown);
}

Rule::Rule(Qt::Orientation orientation, QWidget* parent) : QWidget(parent)
{
    if (orientation == Qt::Horizontal) {
        setFixedHeight(1);
    } else {
        setFixedWidth(1);
    }
    connect(&Theme::instance(), &Theme::changed, this, qOverload<>(&QWidget::update));
}

void Rule::paintEvent(QPaintEvent*)
{
    QPainter(this).fillRect(rect(), Theme::instance().colors().border);
}

} // namespace skbscope::ui
