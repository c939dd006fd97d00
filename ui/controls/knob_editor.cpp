#include "ui/controls/knob_editor.h"

#include "ui/controls/label.h"
#include "ui/player/format.h"
#include "ui/theme/theme.h"

#include <QHBoxLayout>
#include <QPainter>
#include <QSignalBlocker>
#include <QSpinBox>
#include <QStyleOptionSlider>
#include <QToolButton>
#include <QVBoxLayout>
#include <algorithm>
#include <cmath>
#include <limits>

namespace skbscope::ui {

namespace {
constexpr int positions = 1000;
/// Keeps the logarithm of a knob that may be 0 finite.
double scaleOf(qint64 value) { return std::log(static_cast<double>(value) + 1); }
} // namespace

KnobSlider::KnobSlider(const Knob& knob, QWidget* parent) : QSlider(Qt::Horizontal, parent), m_knob(knob)
{
    setRange(0, positions);
    setSingleStep(positions / 50);
    setPageStep(positions / 10);
    setFocusPolicy(Qt::StrongFocus);
    setAccessibleName(text(knob.title));
}

int KnobSlider::positionOf(qint64 value) const
{
    const double low = m_knob.logarithmic ? scaleOf(m_knob.minimum) : static_cast<double>(m_knob.minimum);
    const double high = m_knob.logarithmic ? scaleOf(m_knob.maximum) : static_cast<double>(m_knob.maximum);
    const double at = m_knob.logarithmic ? scaleOf(value) : static_cast<double>(value);
    return high <= low ? 0 : static_cast<int>(std::lround((at - low) / (high - low) * positions));
}

qint64 KnobSlider::knobValue() const
{
    const double part = static_cast<double>(value()) / positions;
    if (!m_knob.logarithmic) {
        return std::llround(static_cast<double>(m_knob.minimum) + part * static_cast<double>(m_knob.maximum - m_knob.minimum));
    }
    const double low = scaleOf(m_knob.minimum);
    const double high = scaleOf(m_knob.maximum);
    const double raw = std::exp(low + part * (high - low)) - 1;
    // Round figures: two digits count.
    const double power = std::pow(10, std::max(0.0, std::floor(std::log10(std::max(1.0, raw))) - 1));
    const auto rounded = static_cast<qint64>(std::llround(raw / power) * std::llround(power));
    return std::clamp<qint64>(value() == 0 ? m_knob.minimum : value() == positions ? m_knob.maximum : rounded, m_knob.minimum, m_knob.maximum);
}

void KnobSlider::setKnobValue(qint64 value)
{
    setValue(positionOf(value));
}

void KnobSlider::paintEvent(QPaintEvent* event)
{
    // The default's mark lies behind the handle.
    {
        QPainter painter(this);
        QStyleOptionSlider option;
        initStyleOption(&option);
        const int handle = style()->subControlRect(QStyle::CC_Slider, &option, QStyle::SC_SliderHandle, this).width();
        const qreal x = handle / 2.0 + (width() - handle) * static_cast<qreal>(positionOf(m_knob.kernel_default)) / positions;
        painter.fillRect(QRectF(x - 1, height() / 2.0 - 8, 2, 16), Theme::instance().colors().textFaint);
    }
    QSlider::paintEvent(event);
}

KnobEditor::KnobEditor(const Knob& knob, QWidget* parent) : QWidget(parent), m_knob(knob)
{
    auto* column = new QVBoxLayout(this);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(2);
    const QString tip = QStringLiteral("%1\n%2\n%3").arg(text(knob.title), text(knob.text),
                                                         tr("kernel default: %1 %2").arg(knob.kernel_default).arg(text(knob.unit)));
    setToolTip(tip);
    m_name = new Label({}, Tone::normal, Theme::mono(12), this);
    m_name->setSizePolicy(QSizePolicy::Ignored, QSizePolicy::Preferred);
    column->addWidget(m_name);
    auto* row = new QHBoxLayout;
    row->setSpacing(8);
    m_slider = new KnobSlider(knob, this);
    row->addWidget(m_slider, 1);
    m_field = new QSpinBox(this);
    constexpr qint64 most = std::numeric_limits<int>::max();
    m_field->setRange(static_cast<int>(std::max<qint64>(-most, knob.minimum)), static_cast<int>(std::min<qint64>(most, knob.maximum)));
    m_field->setButtonSymbols(QAbstractSpinBox::NoButtons);
    m_field->setAlignment(Qt::AlignRight);
    m_field->setFont(Theme::mono(12));
    m_field->setKeyboardTracking(false);
    m_field->setFixedWidth(76);
    m_field->setAccessibleName(text(knob.title));
    row->addWidget(m_field);
    m_reset = new QToolButton(this);
    m_reset->setText(QStringLiteral("↺"));
    m_reset->setProperty("autoRaise", true);
    m_reset->setFixedSize(26, 26);
    m_reset->setFocusPolicy(Qt::TabFocus);
    m_reset->setToolTip(tr("Back to the kernel's default, %1").arg(knob.kernel_default));
    m_reset->setAccessibleName(m_reset->toolTip());
    // Keeps its place when there is nothing to reset.
    QSizePolicy policy = m_reset->sizePolicy();
    policy.setRetainSizeWhenHidden(true);
    m_reset->setSizePolicy(policy);
    row->addWidget(m_reset);
    column->addLayout(row);

    connect(m_slider, &QSlider::valueChanged, this, [this] {
        const qint64 chosen = m_slider->knobValue();
        show(chosen);
        // A dragged slider only shows; the model is run again when it is let go.
        if (!m_slider->isSliderDown()) {
            choose(chosen);
        }
    });
    connect(m_slider, &QSlider::sliderReleased, this, [this] { choose(m_slider->knobValue()); });
    connect(m_field, qOverload<int>(&QSpinBox::valueChanged), this, [this](int value) {
        const QSignalBlocker quiet(m_slider);
        m_slider->setKnobValue(value);
        choose(value);
    });
    connect(m_reset, &QToolButton::clicked, this, [this] {
        const qint64 value = m_knob.kernel_default;
        setValue(m_value == value ? value : m_value);
        show(value);
        const QSignalBlocker quiet(m_slider);
        m_slider->setKnobValue(value);
        choose(value);
    });
    setValue(knob.value);
}

void KnobEditor::show(qint64 value)
{
    const QSignalBlocker quiet(m_field);
    m_field->setValue(static_cast<int>(value));
    markChanged(value);
}

void KnobEditor::markChanged(qint64 value)
{
    const bool changed = value != m_knob.kernel_default;
    m_reset->setVisible(changed);
    const QString name = text(m_knob.key).section('/', -1); // whose it is stands above the list
    m_name->setText(changed ? QStringLiteral("• ") + name : name);
    m_name->setTone(changed ? Tone::accent : Tone::normal);
}

bool KnobEditor::matches(const QString& words) const
{
    return text(m_knob.key + " " + m_knob.title).contains(words, Qt::CaseInsensitive);
}

void KnobEditor::setValue(qint64 value)
{
    m_value = value;
    const QSignalBlocker quiet(m_slider);
    m_slider->setKnobValue(value);
    show(value);
}

void KnobEditor::takeKeys()
{
    m_field->setFocus(Qt::TabFocusReason);
    m_field->selectAll();
}

void KnobEditor::choose(qint64 value)
{
    if (value == m_value) {
        return;
    }
    m_value = value;
    markChanged(value);
    emit valueChosen(value);
}

} // namespace skbscope::ui
