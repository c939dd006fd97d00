#include "ui/lesson/lesson_panel.h"

#include "core/catalog/catalog.h"
#include "ui/controls/branch_list.h"
#include "ui/controls/knob_editor.h"
#include "ui/controls/label.h"
#include "ui/lesson/markdown_view.h"
#include "ui/player/format.h"
#include "ui/player/session.h"
#include "ui/theme/reading.h"
#include "ui/theme/theme.h"

#include <QHBoxLayout>
#include <QPainter>
#include <QProgressBar>
#include <QPushButton>
#include <QRegularExpression>
#include <QScrollArea>
#include <QScrollBar>
#include <QVBoxLayout>
#include <algorithm>
#include <cmath>
#include <iterator>

namespace skbscope::ui {

namespace {

/// A choice of a prediction: a row with a ring that fills, then turns green or red with a word beside the colour.
class ChoiceRow : public QPushButton {
public:
    explicit ChoiceRow(const QString& words, QWidget* parent) : QPushButton(parent), m_words(words)
    {
        setCheckable(true);
        setAutoExclusive(true);
        setAccessibleName(words);
        setCursor(Qt::PointingHandCursor);
        QSizePolicy policy(QSizePolicy::Expanding, QSizePolicy::Fixed);
        policy.setHeightForWidth(true);
        setSizePolicy(policy);
        connect(&Theme::instance(), &Theme::changed, this, [this] { setFixedHeight(heightForWidth(width())); });
    }
    enum class Outcome { open, right, wrong, also_right };
    void setOutcome(Outcome outcome)
    {
        m_outcome = outcome;
        update();
    }
    [[nodiscard]] bool hasHeightForWidth() const override { return true; }
    [[nodiscard]] int heightForWidth(int width) const override
    {
        const QRect box(0, 0, width - 44, 1000);
        return QFontMetrics(readingFont(13)).boundingRect(box, Qt::TextWordWrap, m_words).height() + 14;
    }
    [[nodiscard]] QSize sizeHint() const override { return {200, heightForWidth(std::max(200, width()))}; }
    [[nodiscard]] QSize minimumSizeHint() const override { return {120, 30}; }

protected:
    void resizeEvent(QResizeEvent*) override { setFixedHeight(heightForWidth(width())); }
    void paintEvent(QPaintEvent*) override
    {
        QPainter painter(this);
        painter.setRenderHint(QPainter::Antialiasing);
        const Colors& c = Theme::instance().colors();
        QColor edge = c.border;
        QColor ring = c.line;
        if (m_outcome == Outcome::right || m_outcome == Outcome::also_right) {
            edge = ring = c.good;
        } else if (m_outcome == Outcome::wrong) {
            edge = ring = c.drop;
        } else if (hasFocus()) {
            edge = c.accent;
        }
        painter.setPen(QPen(edge, m_outcome == Outcome::open ? 1 : 1.5));
        painter.setBrush(underMouse() && isEnabled() ? c.raised : c.band);
        painter.drawRoundedRect(QRectF(rect()).adjusted(0.75, 0.75, -0.75, -0.75), radius::control, radius::control);
        const QRectF dot(11, height() / 2.0 - 6, 12, 12);
        painter.setPen(QPen(ring, 1.5));
        painter.setBrush(Qt::NoBrush);
        painter.drawEllipse(dot);
        if (isChecked()) {
            painter.setPen(Qt::NoPen);
            painter.setBrush(m_outcome == Outcome::open ? c.accent : ring);
            painter.drawEllipse(dot.adjusted(3, 3, -3, -3));
        }
        painter.setPen(c.text);
        painter.setFont(readingFont(13));
        painter.drawText(rect().adjusted(32, 0, -12, 0), Qt::AlignVCenter | Qt::TextWordWrap, m_words);
    }

private:
    QString m_words;
    Outcome m_outcome = Outcome::open;
};

} // namespace

LessonPanel::LessonPanel(QWidget* parent) : QWidget(parent)
{
    auto* column = new QVBoxLayout(this);
    column->setContentsMargins(16, 14, 0, 12);
    column->setSpacing(6);
    m_title = new Label({}, Tone::normal, readingFont(15, QFont::DemiBold), this);
    m_title->setWordWrap(true);
    connect(&Theme::instance(), &Theme::changed, this, &LessonPanel::resizeWords);
    m_title->setContentsMargins(0, 0, 14, 0);
    column->addWidget(m_title);
    auto* countRow = new QHBoxLayout;
    countRow->setContentsMargins(0, 0, 14, 0);
    m_count = new Label({}, Tone::muted, readingFont(12), this);
    countRow->addWidget(m_count, 1);
    m_write = new QPushButton(tr("Edit"), this);
    m_write->setProperty("flat", true);
    m_write->setToolTip(tr("The lesson's text (Ctrl+5)"));
    m_write->hide();
    connect(m_write, &QPushButton::clicked, this, &LessonPanel::writingWanted);
    countRow->addWidget(m_write);
    column->addLayout(countRow);
    auto* barRow = new QHBoxLayout;
    barRow->setContentsMargins(0, 0, 14, 0);
    m_bar = new QProgressBar(this);
    m_bar->setTextVisible(false);
    m_bar->setAccessibleName(tr("Progress of the lesson"));
    barRow->addWidget(m_bar);
    column->addLayout(barRow);
    column->addSpacing(4);

    m_scroll = new QScrollArea(this);
    m_scroll->setWidgetResizable(true);
    m_scroll->setFrameShape(QFrame::NoFrame);
    m_scroll->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    m_scroll->setProperty("reading", true);
    m_scroll->setFocusPolicy(Qt::TabFocus); // up and down scroll a long text
    m_scroll->setAccessibleName(tr("The lesson's text"));
    column->addWidget(m_scroll, 1);

    auto* buttons = new QHBoxLayout;
    buttons->setContentsMargins(0, 4, 14, 0);
    buttons->setSpacing(8);
    m_back = new QPushButton(tr("Back"), this);
    m_back->setToolTip(tr("The step before (Page Up)"));
    m_next = new QPushButton(tr("Next"), this);
    m_next->setProperty("primary", true);
    m_next->setToolTip(tr("The next step (Page Down)"));
    for (auto* button : {m_back, m_next}) {
        button->setFocusPolicy(Qt::TabFocus);
        button->setMinimumHeight(32);
        buttons->addWidget(button, 1);
    }
    column->addLayout(buttons);
    connect(m_back, &QPushButton::clicked, this, [this] { goTo(m_step - 1); });
    connect(m_next, &QPushButton::clicked, this, [this] { m_step + 1 < stepCount() ? goTo(m_step + 1) : emit finished(); });
}

void LessonPanel::resizeWords()
{
    const qreal scale = readingScale();
    if (qFuzzyCompare(scale, m_wordsScale)) {
        return;
    }
    // Our own labels: those of the page's parts (knobs, branches) are not read at length.
    for (const QWidget* parent : {static_cast<const QWidget*>(this), static_cast<const QWidget*>(m_page)}) {
        for (Label* label : parent == nullptr ? QList<Label*>() : parent->findChildren<Label*>(QString(), Qt::FindDirectChildrenOnly)) {
            QFont font = label->font();
            font.setPixelSize(std::max(1, qRound(font.pixelSize() * scale / m_wordsScale)));
            label->setFont(font);
        }
    }
    m_wordsScale = scale;
}

void LessonPanel::setLesson(std::optional<Lesson> lesson, Session* session)
{
    m_lesson = std::move(lesson);
    m_session = session;
    m_step = 0;
    m_altered = false;
    m_speedBefore = 0;
    if (m_session != nullptr) {
        connect(m_session, &Session::playheadMoved, this, &LessonPanel::refreshProgress);
        connect(m_session, &Session::traceReplaced, this, [this] { m_altered = m_altered || !m_ourOwn; });
    }
    if (m_lesson && m_session != nullptr) {
        m_title->setText(text(m_lesson->title));
        m_bar->setRange(0, stepCount());
        goTo(0);
    }
}

void LessonPanel::setWritable(bool on)
{
    m_write->setVisible(on);
}

void LessonPanel::replaceLesson(Lesson lesson, int step)
{
    m_lesson = std::move(lesson);
    m_title->setText(text(m_lesson->title));
    m_bar->setRange(0, stepCount());
    goTo(std::clamp(step, 0, std::max(0, stepCount() - 1)));
}

void LessonPanel::goTo(int step)
{
    if (!m_lesson || m_session == nullptr || step < 0 || step >= stepCount()) {
        return;
    }
    m_session->pause();
    if (m_speedBefore > 0) {
        m_session->setSpeed(m_speedBefore);
        m_speedBefore = 0;
    }
    m_step = step;
    m_chosen = -1;
    m_goal.reset();
    build();
    if (m_altered && m_lesson->uses_model()) {
        m_ourOwn = true;
        m_session->startOver();
        m_ourOwn = false;
        m_altered = false;
    }
    movePlayhead();
    pointAgain();
    emit unfolds(m_lesson->steps[static_cast<std::size_t>(step)].panels);
    emit stepChanged(step);
}

void LessonPanel::pointAgain()
{
    if (!m_lesson || m_step >= stepCount()) {
        return;
    }
    const LessonStep& at = m_lesson->steps[static_cast<std::size_t>(m_step)];
    std::vector<RoomId> rooms = at.rooms;
    // Who names rooms means those: a function that serves both ways (fib_lookup) would point at the other way's room, too.
    if (rooms.empty()) {
        std::ranges::transform(at.functions, std::back_inserter(rooms), [](FunctionId function) { return Catalog::room_of(function); });
    }
    emit pointsAt(rooms);
}

void LessonPanel::movePlayhead()
{
    const LessonStep& step = m_lesson->steps[static_cast<std::size_t>(m_step)];
    const auto position = advance_to_stop(m_session->source(), step.stop);
    m_session->sourceChanged();
    if (!position) {
        emit failed(tr("This step wants to stop at “%1”, which does not happen in this run").arg(text(step.stop.text)));
        return;
    }
    PacketId packet = step.select != PacketId::none ? step.select : step.stop.packet;
    if (packet == PacketId::none && *position > 0) {
        packet = m_session->trace()[*position - 1].packet_id();
    }
    // A step about no packet keeps the one that is looked at.
    if (m_session->trace().has_packet(packet)) {
        m_session->selectPacket(packet);
    }
    m_session->seekToEvent(*position);
}

void LessonPanel::build()
{
    const LessonStep& step = m_lesson->steps[static_cast<std::size_t>(m_step)];
    m_count->setText(tr("Step %1 of %2").arg(m_step + 1).arg(stepCount()));
    m_bar->setValue(m_step + 1);
    m_back->setEnabled(m_step > 0);
    m_next->setText(m_step + 1 < stepCount() ? tr("Next") : tr("Done"));

    m_choices.clear();
    m_knobs.clear();
    m_explanation = nullptr;
    m_progress = nullptr;
    m_goalText = nullptr;
    m_after = nullptr;
    m_branches = nullptr;
    m_page = new QWidget;
    auto* column = new QVBoxLayout(m_page);
    column->setContentsMargins(0, 4, 14, 4);
    column->setSpacing(6);
    if (!step.title.empty()) {
        auto* title = new Label(text(step.title), Tone::normal, readingFont(13, QFont::DemiBold), m_page);
        title->setWordWrap(true);
        column->addWidget(title);
        column->addSpacing(2);
    }
    auto* body = new MarkdownView(m_page);
    body->setMarkdownText(text(step.body));
    column->addWidget(body);
    if (step.question) {
        buildQuestion(*step.question, column);
    }
    if (step.experiment) {
        buildExperiment(*step.experiment, column);
    }
    column->addStretch();
    m_scroll->setWidget(m_page);
    m_scroll->verticalScrollBar()->setValue(0);
    refreshProgress();
}

void LessonPanel::buildQuestion(const Question& question, QVBoxLayout* column)
{
    column->addSpacing(4);
    column->addWidget(new Label(tr("Predict"), Tone::accent, readingFont(13, QFont::DemiBold), m_page));
    auto* prompt = new MarkdownView(m_page);
    prompt->setMarkdownText(text(question.prompt));
    column->addWidget(prompt);
    for (std::size_t i = 0; i < question.choices.size(); ++i) {
        auto* row = new ChoiceRow(text(question.choices[i].text), m_page);
        column->addWidget(row);
        m_choices.push_back(row);
        connect(row, &QPushButton::clicked, this, [this, i] { choose(static_cast<int>(i)); });
    }
    m_explanation = new MarkdownView(m_page);
    m_explanation->hide();
    column->addWidget(m_explanation);
}

void LessonPanel::choose(int choice)
{
    if (!m_lesson || choice < 0 || choice >= static_cast<int>(m_choices.size())) {
        return;
    }
    const Question& question = *m_lesson->steps[static_cast<std::size_t>(m_step)].question;
    m_chosen = choice;
    for (int i = 0; i < static_cast<int>(m_choices.size()); ++i) {
        auto* row = static_cast<ChoiceRow*>(m_choices[static_cast<std::size_t>(i)]);
        row->setChecked(i == choice);
        row->setOutcome(i != choice ? ChoiceRow::Outcome::open
                        : question.choices[static_cast<std::size_t>(i)].correct ? ChoiceRow::Outcome::right
                                                                                : ChoiceRow::Outcome::wrong);
    }
    const Choice& chosen = question.choices[static_cast<std::size_t>(choice)];
    m_explanation->setMarkdownText((chosen.correct ? tr("**Right.** ") : tr("**Not quite.** ")) + text(chosen.explanation));
    m_explanation->show();
    // The words appear below; bring them into view once they have their height.
    QMetaObject::invokeMethod(
        m_scroll,
        [this, page = m_page] {
            if (page == m_page && m_explanation != nullptr) {
                m_scroll->ensureWidgetVisible(m_explanation, 0, 8);
            }
        },
        Qt::QueuedConnection);
}

void LessonPanel::buildExperiment(const Experiment& experiment, QVBoxLayout* column)
{
    column->addSpacing(6);
    column->addWidget(new Label(tr("Experiment"), Tone::accent, readingFont(13, QFont::DemiBold), m_page));
    auto* prompt = new MarkdownView(m_page);
    prompt->setMarkdownText(text(experiment.prompt));
    column->addWidget(prompt);
    const std::vector<Knob> all = m_session->source().knobs();
    for (const KnobSetting& wanted : experiment.knobs) {
        const auto knob = std::find_if(all.begin(), all.end(), [&](const Knob& k) { return k.key == wanted.key; });
        if (knob == all.end()) {
            continue;
        }
        auto* editor = new KnobEditor(*knob, m_page);
        column->addWidget(editor);
        m_knobs.push_back(editor);
    }
    if (!experiment.goal.empty()) {
        QString goal = text(experiment.goal.text);
        for (const auto& [written, shown] : {std::pair{"==", "="}, {">=", "≥"}, {"<=", "≤"}, {"!=", "≠"}}) {
            goal.replace(QString::fromUtf8(written), QString::fromUtf8(shown));
        }
        m_goalText = new Label(tr("Goal: %1").arg(goal), Tone::normal, readingFont(12), m_page);
        m_goalText->setWordWrap(true);
        column->addWidget(m_goalText);
    }
    m_progress = new Label({}, Tone::muted, readingFont(13, QFont::DemiBold), m_page);
    m_progress->setWordWrap(true);
    column->addWidget(m_progress);
    // The button says what it does, in the words of the source's own actions.
    QStringList doing;
    for (const LessonAction& wanted : experiment.actions) {
        for (const Action& known : m_session->source().actions()) {
            if (known.key == wanted.key) {
                doing << (wanted.times == 1 ? text(known.title) : tr("%1, %2 times").arg(text(known.title)).arg(wanted.times));
            }
        }
    }
    auto* run = new QPushButton(doing.isEmpty() ? tr("Try it") : tr("%1 and watch").arg(doing.join(tr(", then "))), m_page);
    run->setProperty("primary", true);
    run->setFocusPolicy(Qt::TabFocus);
    run->setToolTip(tr("Runs from the start with these values, and plays what happens"));
    column->addWidget(run);
    connect(run, &QPushButton::clicked, this, &LessonPanel::runExperiment);
    if (!m_knobs.empty() && !m_session->source().branches().empty()) {
        auto* whatIf = new QPushButton(tr("What if, from here"), m_page);
        whatIf->setFocusPolicy(Qt::TabFocus);
        whatIf->setToolTip(tr("Keeps the run as it was and runs on from this moment with these values, to compare the two"));
        column->addWidget(whatIf);
        connect(whatIf, &QPushButton::clicked, this, &LessonPanel::runWhatIf);
        m_branches = new BranchList(m_session, m_page);
        column->addWidget(m_branches);
    }
    m_after = new MarkdownView(m_page);
    m_after->hide();
    column->addWidget(m_after);
}

void LessonPanel::runExperiment()
{
    if (!m_lesson || m_session == nullptr || !m_lesson->steps[static_cast<std::size_t>(m_step)].experiment) {
        return;
    }
    // The person's own values in place of the lesson's answer.
    Experiment mine = *m_lesson->steps[static_cast<std::size_t>(m_step)].experiment;
    for (KnobSetting& setting : mine.knobs) {
        for (const KnobEditor* editor : m_knobs) {
            if (editor->key() == text(setting.key)) {
                setting.value = editor->value();
            }
        }
    }
    m_session->pause();
    const SimTime from = m_session->now();
    m_ourOwn = true;
    const ExperimentResult result = run_experiment(m_session->source(), mine);
    m_session->sourceChanged();
    m_ourOwn = false;
    m_altered = true;
    if (!result.done) {
        emit failed(text(result.done.error().describe()));
        return;
    }
    m_goal = result.goal;
    // Watch it: from the start (or from where it was changed), at a speed that takes some ten seconds.
    mine.from_start ? m_session->toBegin() : m_session->seek(from);
    if (m_speedBefore == 0) {
        m_speedBefore = m_session->speed();
    }
    const double span = static_cast<double>((m_session->lastMoment() - m_session->now()).ns);
    m_session->setSpeed(std::pow(10.0, std::round(std::log10(std::max(1000.0, span / 10)) * 2) / 2));
    m_session->play();
    refreshProgress();
    QMetaObject::invokeMethod(
        m_scroll,
        [this, page = m_page] {
            if (page == m_page && m_progress != nullptr) {
                m_scroll->ensureWidgetVisible(m_progress, 0, 60);
            }
        },
        Qt::QueuedConnection);
}

void LessonPanel::runWhatIf()
{
    m_session->pause();
    m_altered = true;
    bool turned = false;
    for (const KnobEditor* editor : m_knobs) {
        for (const Knob& knob : m_session->source().knobs()) {
            if (text(knob.key) == editor->key() && knob.value != editor->value()) {
                m_session->setKnob(editor->key(), editor->value());
                turned = true;
            }
        }
    }
    if (!turned) {
        emit failed(tr("Every setting is already as it is here: turn one first"));
        return;
    }
    // Both to the end: only then every packet can be spoken of.
    if (m_session->source().branches().size() > 1) {
        m_session->runToEnd(0, m_session->source().chosen_branch());
    }
    m_session->play();
}

QString LessonPanel::progressText() const
{
    return m_progress == nullptr ? QString() : m_progress->text();
}

void LessonPanel::refreshProgress()
{
    if (m_progress == nullptr || m_session == nullptr) {
        return;
    }
    const Accounting& sum = m_session->state().accounting();
    QStringList parts;
    for (const Verdict verdict : {Verdict::delivered, Verdict::forwarded, Verdict::sent, Verdict::dropped}) {
        if (sum.of(verdict) != 0) {
            parts << QStringLiteral("%1 %2").arg(countText(sum.of(verdict)), text(to_string(verdict)));
        }
    }
    if (parts.isEmpty()) {
        parts << tr("nothing yet");
    }
    const bool atEnd = m_session->position() >= m_session->trace().size();
    if (m_goal && atEnd) {
        // Measured by the lesson's own checker, on the whole run.
        m_progress->setTone(m_goal->reached ? Tone::good : Tone::drop);
        m_progress->setText(m_goal->reached ? tr("Goal reached: %1").arg(text(m_goal->text()))
                                            : tr("Not yet: %1").arg(text(m_goal->text())));
        const Experiment& experiment = *m_lesson->steps[static_cast<std::size_t>(m_step)].experiment;
        if (m_goal->reached && !experiment.after.empty() && m_after->isHidden()) {
            m_after->setMarkdownText(text(experiment.after));
            m_after->show();
            QMetaObject::invokeMethod(
                m_scroll,
                [this, page = m_page] {
                    if (page == m_page && m_after != nullptr) {
                        m_scroll->ensureWidgetVisible(m_after, 0, 8);
                    }
                },
                Qt::QueuedConnection);
        }
        return;
    }
    m_progress->setTone(sum.of(Verdict::dropped) != 0 ? Tone::drop : Tone::muted);
    m_progress->setText(tr("so far %1").arg(parts.join(QStringLiteral(" · "))));
}

} // namespace skbscope::ui
