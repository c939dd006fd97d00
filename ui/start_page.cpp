#include "ui/start_page.h"

#include "ui/controls/elide.h"
#include "ui/controls/label.h"
#include "ui/player/format.h"
#include "ui/theme/theme.h"

#include <QFileInfo>
#include <QGridLayout>
#include <QPainter>
#include <QPushButton>
#include <QVBoxLayout>
#include <algorithm>

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
        setMinimumHeight(m_about.isEmpty() ? 40 : 54);
        setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Preferred);
    }

protected:
    /// What it is about takes as many lines as it needs, up to three.
    void resizeEvent(QResizeEvent* event) override
    {
        QPushButton::resizeEvent(event);
        if (!m_about.isEmpty()) {
            const auto lines = elidedLines(QFontMetrics(Theme::sans(12)), m_about, width() - 2 * side, most_lines).size();
            // A minimum, not a height: cards that stand side by side are of one height.
            setMinimumHeight(39 + line_height * std::max(1, static_cast<int>(lines)));
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
        int y = 30;
        for (const QString& line : elidedLines(painter.fontMetrics(), m_about, static_cast<int>(box.width()), most_lines)) {
            painter.drawText(QRectF(box.left(), y, box.width(), line_height), Qt::AlignVCenter | Qt::AlignLeft, line);
            y += line_height;
        }
    }

private:
    static constexpr int side = 16, line_height = 15, most_lines = 3;
    QString m_title, m_about;
};

} // namespace

StartPage::StartPage(QWidget* parent) : CentrePage(920, parent), m_column(new QVBoxLayout(content()))
{
    m_column->addStretch(2);
    m_column->addStretch(3);
}

void StartPage::setContent(const std::vector<LessonEntry>& lessons, const QStringList& recent, bool hasModel)
{
    delete m_content;
    m_none = nullptr;
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
    column->addWidget(new Label(tr("Lessons"), Tone::accent, Theme::sans(12, QFont::DemiBold), m_content));
    if (lessons.empty()) {
        m_none = new Label(tr("The lessons that come with the program are not there. Keep their folder “lessons” beside the program, or drop a lesson's own "
                            "folder on this window."),
                         Tone::drop, Theme::sans(13), m_content);
        m_none->setWordWrap(true);
        column->addWidget(m_none);
    }
    auto* shelf = new QGridLayout; // two beside each other, so that a small screen shows what else there is
    shelf->setSpacing(8);
    column->addLayout(shelf);
    int number = 0;
    for (const LessonEntry& lesson : lessons) {
        ++number;
        auto* card = new Card(lesson.error ? text(lesson.id) : QStringLiteral("%1 · %2").arg(number).arg(text(lesson.title)),
                              lesson.error ? text(lesson.error->describe()) : text(lesson.summary), m_content);
        card->setEnabled(!lesson.error);
        shelf->addWidget(card, (number - 1) / 2, (number - 1) % 2);
        connect(card, &QPushButton::clicked, this, [this, id = text(lesson.id)] { emit lessonChosen(id); });
    }
    column->addSpacing(14);
    column->addWidget(new Label(tr("Or"), Tone::accent, Theme::sans(12, QFont::DemiBold), m_content));
    auto* others = new QHBoxLayout;
    others->setSpacing(8);
    column->addLayout(others);
    if (hasModel) {
        auto* model = new Card(tr("Play with the model"), tr("A host with one network card: send packets, turn its knobs"), m_content);
        others->addWidget(model);
        connect(model, &QPushButton::clicked, this, &StartPage::modelWanted);
    }
    auto* live = new Card(tr("Watch a live kernel"), tr("This machine's own, another's through ssh, or the model fed by a device"), m_content);
    others->addWidget(live);
    connect(live, &QPushButton::clicked, this, &StartPage::liveWanted);
    auto* open = new Card(tr("Open a file…"), tr("A recording, trace.dat, pcap or scenario"), m_content);
    others->addWidget(open);
    connect(open, &QPushButton::clicked, this, &StartPage::openWanted);
    if (!recent.isEmpty()) {
        column->addSpacing(14);
        column->addWidget(new Label(tr("Recent"), Tone::accent, Theme::sans(12, QFont::DemiBold), m_content));
    }
    auto* recents = new QGridLayout;
    recents->setSpacing(8);
    column->addLayout(recents);
    for (const QString& path : recent) {
        const bool there = QFileInfo::exists(path);
        auto* card = new Card(QFileInfo(path).fileName(), there ? QFileInfo(path).absolutePath() : tr("no longer there: %1").arg(QFileInfo(path).absolutePath()),
                              m_content);
        card->setEnabled(there);
        recents->addWidget(card, recents->count() / 2, recents->count() % 2);
        connect(card, &QPushButton::clicked, this, [this, path] { emit fileChosen(path); });
    }
}

} // namespace skbscope::ui
