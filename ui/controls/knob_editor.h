#pragma once
// One knob: its name, a slider with the kernel's default marked, a number field, and a way back to the default.

#include "core/trace/source.h"

#include <QSlider>
#include <QWidget>

class QSpinBox;
class QToolButton;

namespace skbscope::ui {

class Label;

/// A slider over a range, by factors where the knob says so, with a mark at the kernel's default.
class KnobSlider : public QSlider {
    Q_OBJECT

public:
    explicit KnobSlider(const Knob& knob, QWidget* parent = nullptr);
    [[nodiscard]] qint64 knobValue() const;
    void setKnobValue(qint64 value);

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    [[nodiscard]] int positionOf(qint64 value) const;
    Knob m_knob;
};

class KnobEditor : public QWidget {
    Q_OBJECT

public:
    explicit KnobEditor(const Knob& knob, QWidget* parent = nullptr);
    [[nodiscard]] QString key() const { return QString::fromStdString(m_knob.key); }
    [[nodiscard]] qint64 value() const { return m_value; }
    /// Its name or title has these words, whatever their case.
    [[nodiscard]] bool matches(const QString& words) const;
    /// Shows the value; emits nothing.
    void setValue(qint64 value);
    /// The field has the keys, its figure chosen: what is typed replaces it.
    void takeKeys();

signals:
    /// A person has chosen: after the slider is let go, at every key and every step of the field.
    void valueChosen(qint64 value);

private:
    void show(qint64 value);
    void choose(qint64 value);
    void markChanged(qint64 value); ///< what differs from the kernel's default is marked

    Knob m_knob;
    qint64 m_value = 0;
    Label* m_name;
    KnobSlider* m_slider;
    QSpinBox* m_field;
    QToolButton* m_reset;
};

} // namespace skbscope::ui
