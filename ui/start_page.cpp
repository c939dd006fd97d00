#include "ui/start_page.h"

#include "ui/controls/label.h"
#include "ui/player/format.h"
#include "ui/theme/theme.h"

#include <QFileInfo>
#include <QPainter>
#include <QPushButton>
#include <QVBoxLayout>

namespace skbscope::ui {

namespace {

/// A wide button of two lines: a title and what it is about.
class Card : public QPushButton {
public:
    Card(QString title, QString about, QWidget* parent) : QPushButton(parent), m_title(std::move(title)), m_about(std::move(about))
    {
        setAccessibleName(m_title);
        setAccessibleDescription(m_about);
        setToolTip(m_about);
        setCursor(Qt::PointingHandCursor);
        setFixedHeight(m_about.isEmpty() ? 40 : 54);
    }

protected:
    /// What it is about takes two lines where one is too short.
    void resizeEvent(QResizeEvent* event) override
    {
        QPushButton::resizeEvent(event);
        if (!m_about.isEmpty()) {
            const QFontMetrics metrics(Theme::sans(12));
            setFixedHeight(metrics.horizontalAdvance(m_about) > width() - 2 * side ? 54 + metrics.lineSpacing() : 54);
        }
    }
    void paintEvent(QPaintEvent*) override
    {
        QPainter painter(this);
        painter.setRenderHint(QPainter::Antialiasing);
        const Colors& c = Theme::instance().colors();
        painter.setPen(QPen(hasFocus() ? c.accent : c.border, 1));
        painter.setBrush(underMouse() && isEnabled() ? c.raised : c.card);
        painter.drawRoundedRect(QRectF(rect()).adjusted(0.5, 0.5, -0.5, -0.5), radius::card, radius::card);
        const QRect box = rect().adjusted(side, 9, -side, -9);
        painter.setPen(isEnabled() ? c.text : c.textFaint);
        painter.setFont(Theme::sans(13, QFont::DemiBold));
        const QFontMetrics metrics = painter.fontMetrics();
        painter.drawText(box, (m_about.isEmpty() ? Qt::AlignVCenter : Qt::AlignTop) | Qt::AlignLeft,
                         metrics.elidedText(m_title, Qt::ElideRight, box.width()));
        painter.setPen(c.textMuted);
        painter.setFont(Theme::sans(12));
        const int lines = height() > 54 ? 2 : 1; // the first breaks earlier than the last letter that fits
        const QString shown = lines == 1 ? painter.fontMetrics().elidedText(m_about, Qt::ElideRight, box.width())
                                         : painter.fontMetrics().elidedText(m_about, Qt::ElideRight, 2 * box.width() - 60);
        painter.drawText(box, Qt::AlignBottom | Qt::AlignLeft | Qt::TextWordWrap, shown);
    }

private:
    static constexpr int side = 16;
    QString m_title, m_about;
};

} // namespace

StartPage::StartPage(QWidget* parent) : CentrePage(680, parent), m_column(new QVBoxLayout(content()))
{
    m_column->addStretch(2);
    m_column->addStretch(3);
}

void StartPage::setContent(const std::vector<LessonEntry>& lessons, const QStringList& recent, bool hasModel)
{
    delete m_content;
    m_content = new QWidget(this);
    m_column->insertWidget(1, m_content);
    auto* column = new QVBoxLayout(m_content);
    column->setSpacing(8);
    column->addWidget(new Label(tr("How Linux receives and sends packets"), Tone::normal, Theme::sans(22, QFont::DemiBold), m_content));
    auto* about = new Label(tr("Function by function, in a kernel model and in recordings of real kernels. Begin with a lesson, play with "
                               "the model, or open a recording, a trace.dat, a pcap or a scenario: drop it anywhere on this window."),
                            Tone::muted, Theme::sans(13), m_content);
    about->setWordWrap(true);
    column->addWidget(about);

    column->addSpacing(14);
    if (!lessons.empty()) {
        column->addWidget(new Label(tr("Lessons"), Tone::accent, Theme::sans(12, QFont::DemiBold), m_content));
    }
    int number = 0;
    for (const LessonEntry& lesson : lessons) {
        ++number;
        auto* card = new Card(lesson.error ? text(lesson.id) : QStringLiteral("%1 · %2").arg(number).arg(text(lesson.title)),
                              lesson.error ? text(lesson.error->describe()) : text(lesson.summary), m_content);
        card->setEnabled(!lesson.error);
        column->addWidget(card);
        connect(card, &QPushButton::clicked, this, [this, id = text(lesson.id)] { emit lessonChosen(id); });
    }
    column->addSpacing(14);
    column->addWidget(new Label(tr("Or"), Tone::accent, Theme::sans(12, QFont::DemiBold), m_content));
    if (hasModel) {
        auto* model = new Card(tr("Play with the model"), tr("A host with one network card: send packets, turn its knobs"), m_content);
        column->addWidget(model);
        connect(model, &QPushButton::clicked, this, &StartPage::modelWanted);
    }
    auto* live = new Card(tr("Watch a live kernel"), tr("This machine's own, or another's through ssh"), m_content);
    column->addWidget(live);
    connect(live, &QPushButton::clicked, this, &StartPage::liveWanted);
    auto* open = new Card(tr("Open a file…"), {}, m_content);
    column->addWidget(open);
    connect(open, &QPushButton::clicked, this, &StartPage::openWanted);
    if (!recent.isEmpty()) {
        column->addSpacing(14);
        column->addWidget(new Label(tr("Recent"), Tone::accent, Theme::sans(12, QFont::DemiBold), m_content));
    }
    for (const QString& path : recent) {
        auto* card = new Card(QFileInfo(path).fileName(), QFileInfo(path).absolutePath(), m_content);
        column->addWidget(card);
        connect(card, &QPushButton::clicked, this, [this, path] { emit fileChosen(path); });
    }
}

} // namespace skbscope::ui
