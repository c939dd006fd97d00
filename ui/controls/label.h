#pragma once
// Text of a panel: a label that keeps the theme's colours, and one line that shows itself whole.

#include <QFont>
#include <QLabel>

namespace skbscope::ui {

enum class Tone { normal, muted, faint, accent, good, drop, hardirq, softirq, process };

/// The theme's colour of a tone, now.
[[nodiscard]] QColor toneColor(Tone tone);

/// A QLabel that follows the theme.
class Label : public QLabel {
    Q_OBJECT

public:
    explicit Label(const QString& text = {}, Tone tone = Tone::normal, QWidget* parent = nullptr);
    Label(const QString& text, Tone tone, const QFont& font, QWidget* parent = nullptr);
    void setTone(Tone tone);

private:
    void recolor();
    Tone m_tone;
};

/// One centred sentence in a fixed height: on one line if it fits, else smaller on two. The tool tip has it whole.
class Headline : public QWidget {
    Q_OBJECT

public:
    explicit Headline(QWidget* parent = nullptr);
    void setText(const QString& text);
    [[nodiscard]] QString text() const { return m_text; }
    /// Small words at the left ("model 6.1", "recorded …") and an amber warning at the right; may be empty.
    void setBadges(const QString& origin, const QString& warning);
    [[nodiscard]] QString warning() const { return m_warning; }
    [[nodiscard]] QSize sizeHint() const override;

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    QString m_text;
    QString m_origin, m_warning;
};

/// A hairline between parts of a panel.
class Rule : public QWidget {
    Q_OBJECT

public:
    explicit Rule(Qt::Orientation orientation = Qt::Horizontal, QWidget* parent = nullptr);

protected:
    void paintEvent(QPaintEvent* event) override;
};

} // namespace skbscope::ui
