#include "ui/busy_curtain.h"

#include "ui/controls/label.h"
#include "ui/player/format.h"
#include "ui/player/session.h"
#include "ui/theme/theme.h"

#include <QApplication>
#include <QBackingStore>
#include <QDeadlineTimer>
#include <QEventLoop>
#include <QKeyEvent>
#include <QPainter>
#include <QProgressBar>
#include <QPushButton>
#include <QThread>
#include <QVBoxLayout>
#include <algorithm>
#include <memory>

namespace skbscope::ui {

namespace {

constexpr int blink_ms = 120;

/// The card in the middle, in the theme's colours.
class Card : public QWidget {
public:
    using QWidget::QWidget;

protected:
    void paintEvent(QPaintEvent*) override
    {
        QPainter painter(this);
        painter.setRenderHint(QPainter::Antialiasing);
        const Colors& c = Theme::instance().colors();
        painter.setPen(QPen(c.border, 1));
        painter.setBrush(c.card);
        painter.drawRoundedRect(QRectF(rect()).adjusted(0.5, 0.5, -0.5, -0.5), 10, 10);
    }
};

/// What stands on the screen, without painting anything anew; null if the platform does not keep it.
QPixmap asLastPainted(QWidget& window)
{
    QBackingStore* store = window.backingStore();
    if (store == nullptr || store->size().isEmpty() || store->paintDevice() == nullptr || store->paintDevice()->devType() != QInternal::Image) {
        return {};
    }
    return QPixmap::fromImage(static_cast<const QImage*>(store->paintDevice())->copy());
}

} // namespace

BusyCurtain::BusyCurtain(const QString& what, Work& work, QWidget* parent) : QWidget(parent), m_work(work)
{
    setAttribute(Qt::WA_OpaquePaintEvent);
    m_still = asLastPainted(*parent);
    setGeometry(parent->rect());
    // Nothing that reads the source may paint until the work is over.
    for (QObject* child : parent->children()) {
        if (auto* widget = qobject_cast<QWidget*>(child); widget != nullptr && widget != this && !widget->isWindow()) {
            widget->setUpdatesEnabled(false);
            m_silenced.emplace_back(widget);
        }
    }
    m_sizes = {parent->minimumSize(), parent->maximumSize()};
    parent->setFixedSize(parent->size());
    m_card = new Card(this);
    auto* column = new QVBoxLayout(m_card);
    column->setContentsMargins(24, 20, 24, 18);
    column->setSpacing(10);
    column->addWidget(new Label(what + QStringLiteral("…"), Tone::normal, Theme::sans(14, QFont::DemiBold), m_card));
    m_bar = new QProgressBar(m_card);
    m_bar->setRange(0, 0);
    m_bar->setTextVisible(false);
    m_bar->setMinimumWidth(320);
    m_bar->setAccessibleName(what);
    column->addWidget(m_bar);
    m_progress = new Label({}, Tone::muted, Theme::sans(12), m_card);
    column->addWidget(m_progress);
    m_cancel = new QPushButton(work.all_or_nothing ? tr("Cancel") : tr("Stop here"), m_card);
    m_cancel->setToolTip(work.all_or_nothing ? tr("Nothing is left behind (Esc)") : tr("What has been run so far stays (Esc)"));
    column->addWidget(m_cancel, 0, Qt::AlignRight);
    connect(m_cancel, &QPushButton::clicked, this, [this] {
        m_work.cancelled = true;
        m_work.progress.cancel();
        m_cancel->setEnabled(false);
        m_cancel->setText(tr("Stopping…"));
    });
    m_card->adjustSize();
    m_card->move((width() - m_card->width()) / 2, (height() - m_card->height()) / 2);
    connect(&m_timer, &QTimer::timeout, this, &BusyCurtain::refresh);
    m_timer.start(100);
    refresh();
    show();
    raise();
    m_cancel->setFocus();
    qApp->installEventFilter(this);
}

BusyCurtain::~BusyCurtain()
{
    qApp->removeEventFilter(this);
    parentWidget()->setMinimumSize(m_sizes.first);
    parentWidget()->setMaximumSize(m_sizes.second);
    for (const QPointer<QWidget>& widget : m_silenced) {
        if (widget != nullptr) {
            widget->setUpdatesEnabled(true);
        }
    }
}

void BusyCurtain::refresh()
{
    if (m_work.all_or_nothing) {
        const int percent = m_work.progress.percent();
        constexpr int whole = 100;
        m_bar->setRange(0, percent < 0 ? 0 : whole);
        m_bar->setValue(std::max(0, percent));
        m_progress->setText(percent < 0 ? tr("this takes a moment") : tr("%1 %: %2 of %3 events").arg(QString::number(percent), countText(m_work.progress.done()), countText(m_work.progress.total())));
        return;
    }
    const std::uint64_t events = m_work.events;
    m_progress->setText(events == 0 ? tr("this takes a moment")
                                    : tr("%1 events so far, at %2").arg(countText(events), timeText(SimTime{m_work.at_ns})));
}

void BusyCurtain::paintEvent(QPaintEvent*)
{
    QPainter painter(this);
    const Colors& c = Theme::instance().colors();
    painter.fillRect(rect(), c.map);
    if (!m_still.isNull()) {
        painter.drawPixmap(rect(), m_still);
    }
    QColor veil = c.map;
    veil.setAlphaF(0.55F);
    painter.fillRect(rect(), veil);
}

bool BusyCurtain::eventFilter(QObject* watched, QEvent* event)
{
    // Keys are for the curtain alone, shortcuts for nobody.
    if (event->type() == QEvent::ShortcutOverride || event->type() == QEvent::Shortcut || event->type() == QEvent::KeyPress) {
        if (event->type() == QEvent::KeyPress && static_cast<QKeyEvent*>(event)->key() == Qt::Key_Escape) {
            m_cancel->click();
            return true;
        }
        if (event->type() == QEvent::ShortcutOverride) {
            event->accept();
            return true;
        }
        return event->type() == QEvent::Shortcut || (watched->isWidgetType() && watched != m_cancel);
    }
    return QWidget::eventFilter(watched, event);
}

void runBehindCurtain(QWidget* window, const QString& what, const std::function<void(Work&)>& work, Work& state)
{
    const std::unique_ptr<QThread> thread(QThread::create([&] { work(state); }));
    const bool shown = window != nullptr && window->isVisible();
    thread->start();
    if (thread->wait(QDeadlineTimer(blink_ms))) {
        return;
    }
    if (!shown) {
        thread->wait();
        return;
    }
    QEventLoop loop;
    QObject::connect(thread.get(), &QThread::finished, &loop, &QEventLoop::quit);
    BusyCurtain curtain(what, state, window); // lifted when the thread is gone for good
    if (!thread->isFinished()) {
        loop.exec();
    }
    thread->wait();
}

} // namespace skbscope::ui
