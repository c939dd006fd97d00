#include "ui/banner.h"

#include "ui/controls/icons.h"
#include "ui/controls/label.h"
#include "ui/theme/theme.h"

#include <QHBoxLayout>
#include <QPainter>
#include <QProgressBar>
#include <QPushButton>
#include <QTimer>
#include <QToolButton>
#include <algorithm>

namespace skbscope::ui {

Banner::Banner(QWidget* parent) : QWidget(parent)
{
    auto* row = new QHBoxLayout(this);
    row->setContentsMargins(16, 5, 10, 5);
    row->setSpacing(12);
    m_words = new Label({}, Tone::normal, Theme::sans(13), this);
    m_words->setTextFormat(Qt::PlainText);
    m_words->setWordWrap(true);
    m_words->setTextInteractionFlags(Qt::TextSelectableByMouse);
    row->addWidget(m_words, 1);
    m_bar = new QProgressBar(this);
    m_bar->setRange(0, 0);
    m_bar->setFixedWidth(160);
    m_bar->setTextVisible(false);
    row->addWidget(m_bar);
    m_cancel = new QPushButton(tr("Cancel"), this);
    row->addWidget(m_cancel);
    m_close = new QToolButton(this);
    m_close->setProperty("autoRaise", true);
    m_close->setToolTip(tr("Dismiss (Esc)"));
    m_close->setAccessibleName(tr("Dismiss"));
    row->addWidget(m_close);
    connect(m_close, &QToolButton::clicked, this, &QWidget::hide);
    connect(m_cancel, &QPushButton::clicked, this, [this] {
        hide();
        emit cancelled();
    });
    const auto icons = [this] { m_close->setIcon(signIcon(Sign::close, 14)); };
    connect(&Theme::instance(), &Theme::changed, this, icons);
    icons();
    hide();
}

void Banner::display(Kind kind, const QString& words)
{
    m_kind = kind;
    m_words->setText(words);
    m_words->setTone(kind == Kind::error ? Tone::drop : Tone::normal);
    m_bar->setVisible(kind == Kind::progress);
    m_cancel->setVisible(kind == Kind::progress);
    m_close->setVisible(kind != Kind::progress);
    show();
    update();
}

void Banner::showError(const QString& words)
{
    display(Kind::error, words);
}

void Banner::showProgress(const QString& words)
{
    m_work = words;
    m_bar->setRange(0, 0);
    display(Kind::progress, words);
}

void Banner::setProgress(int percent, const QString& remark)
{
    if (m_kind != Kind::progress || isHidden()) {
        return;
    }
    constexpr int whole = 100;
    m_bar->setRange(0, percent < 0 ? 0 : whole);
    m_bar->setValue(std::max(percent, 0));
    m_words->setText(remark.isEmpty() ? m_work : tr("%1 %2").arg(m_work, remark));
}

void Banner::endProgress()
{
    if (m_kind == Kind::progress) {
        hide();
    }
}

QString Banner::words() const
{
    return isHidden() ? QString() : m_words->text();
}

void Banner::paintEvent(QPaintEvent*)
{
    QPainter painter(this);
    const Colors& c = Theme::instance().colors();
    painter.fillRect(rect(), c.panel);
    QColor wash = m_kind == Kind::error ? c.drop : c.accent;
    wash.setAlphaF(0.10F);
    painter.fillRect(rect(), wash);
    painter.fillRect(0, 0, 3, height(), m_kind == Kind::error ? c.drop : c.accent);
    painter.fillRect(0, height() - 1, width(), 1, c.border);
}

Toast::Toast(QWidget* parent) : QWidget(parent), m_timer(new QTimer(this))
{
    setAttribute(Qt::WA_TransparentForMouseEvents);
    m_timer->setSingleShot(true);
    connect(m_timer, &QTimer::timeout, this, &QWidget::hide);
    hide();
}

void Toast::say(const QString& words)
{
    m_words = words;
    setAccessibleName(words);
    const int wide = std::min(parentWidget()->width() - 40, QFontMetrics(Theme::sans(12)).horizontalAdvance(words) + 36);
    setGeometry((parentWidget()->width() - wide) / 2, parentWidget()->height() - 52, wide, 34);
    show();
    raise();
    update();
    m_timer->start(3000);
}

void Toast::paintEvent(QPaintEvent*)
{
    QPainter painter(this);
    painter.setRenderHint(QPainter::Antialiasing);
    const Colors& c = Theme::instance().colors();
    painter.setPen(Qt::NoPen);
    painter.setBrush(c.text);
    painter.setOpacity(0.92);
    painter.drawRoundedRect(QRectF(rect()), 17, 17);
    painter.setOpacity(1);
    painter.setPen(c.panel);
    painter.setFont(Theme::sans(12));
    painter.drawText(rect().adjusted(16, 0, -16, 0), Qt::AlignCenter, painter.fontMetrics().elidedText(m_words, Qt::ElideRight, width() - 32));
}

} // namespace skbscope::ui
