#include "ui/controls/branch_list.h"

#include "core/catalog/catalog.h"
#include "ui/controls/label.h"
#include "ui/player/format.h"
#include "ui/theme/theme.h"

#include <QApplication>
#include <QPainter>
#include <QPushButton>
#include <QVBoxLayout>
#include <algorithm>

namespace skbscope::ui {

namespace {

constexpr std::size_t first_fates = 6;
constexpr int patience_ms = 250; ///< after the last change, before lines are compared by themselves
/// Lines with more packets than this are compared only when a person asks.
constexpr std::size_t most_packets = 100'000;

/// How good an end is, for the colour beside the words.
bool isGood(const Fate& fate)
{
    return fate.verdict == Verdict::delivered || fate.verdict == Verdict::forwarded || fate.verdict == Verdict::sent ||
           fate.verdict == Verdict::consumed || fate.verdict == Verdict::merged;
}

/// In a row there is room for the reason alone.
QString shortText(const Fate& fate)
{
    return fate.verdict == Verdict::dropped && fate.reason != DropReasonId::none ? text(Catalog::drop_reason(fate.reason).name)
                                                                                 : text(to_string(fate.verdict));
}

/// What was changed, without the moment, which stands beside it.
QString settingsOf(const Branch& branch)
{
    const QString title = text(branch.title);
    const auto place = title.lastIndexOf(QStringLiteral(" at "));
    return branch.id == 0 ? QObject::tr("main") : place < 0 ? title : title.left(place);
}

QString nameOf(const Branch& branch)
{
    return branch.id == 0 ? QObject::tr("main") : QObject::tr("%1 at %2").arg(settingsOf(branch), timeText(branch.at));
}

} // namespace

// ---- rows ----------------------------------------------------------------------------------------------------------

BranchRow::BranchRow(const Branch& branch, bool shown, QWidget* parent) : QAbstractButton(parent)
{
    const QString title = nameOf(branch);
    m_settings = settingsOf(branch);
    m_place = branch.id == 0 ? tr("the run as it was") : tr("parts at %1").arg(timeText(branch.at));
    setCheckable(true);
    setChecked(shown);
    setText(title);
    setAccessibleName(title);
    setToolTip(shown ? tr("%1\nShown now").arg(title) : tr("%1\nShow this line").arg(title));
    setCursor(Qt::PointingHandCursor);
    setFocusPolicy(Qt::TabFocus);
    setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
}

void BranchRow::paintEvent(QPaintEvent*)
{
    QPainter painter(this);
    painter.setRenderHint(QPainter::Antialiasing);
    const Colors& c = Theme::instance().colors();
    const QRectF box = QRectF(rect()).adjusted(0.75, 0.75, -0.75, -0.75);
    painter.setPen(QPen(isChecked() && hasFocus() ? c.text : isChecked() || hasFocus() ? c.accent : c.border, isChecked() ? 1.5 : 1));
    painter.setBrush(underMouse() && !isChecked() ? c.raised : isChecked() ? c.card : c.band);
    painter.drawRoundedRect(box, radius::control, radius::control);
    const QRectF dot(11, height() / 2.0 - 6, 12, 12);
    painter.setPen(QPen(isChecked() ? c.accent : c.line, 1.5));
    painter.setBrush(Qt::NoBrush);
    painter.drawEllipse(dot);
    if (isChecked()) {
        painter.setPen(Qt::NoPen);
        painter.setBrush(c.accent);
        painter.drawEllipse(dot.adjusted(3, 3, -3, -3));
    }
    const int wide = width() - 32 - 10;
    painter.setPen(c.text);
    painter.setFont(Theme::mono(12, isChecked() ? QFont::DemiBold : QFont::Normal));
    painter.drawText(QRect(32, 4, wide, 17), Qt::AlignVCenter | Qt::AlignLeft,
                     painter.fontMetrics().elidedText(m_settings, Qt::ElideLeft, wide));
    painter.setPen(c.textMuted);
    painter.setFont(Theme::sans(11));
    painter.drawText(QRect(32, 20, wide, 16), Qt::AlignVCenter | Qt::AlignLeft, m_place);
}

FateRow::FateRow(const QString& packet, const QString& before, const QString& after, bool better, QWidget* parent)
    : QAbstractButton(parent), m_packet(packet), m_before(before), m_after(after), m_better(better)
{
    setText(tr("%1: %2 → %3").arg(packet, before, after));
    setAccessibleName(text());
    setToolTip(tr("%1\nSelect it, where it ends").arg(text()));
    setCursor(Qt::PointingHandCursor);
    setFocusPolicy(Qt::TabFocus);
    setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
}

void FateRow::paintEvent(QPaintEvent*)
{
    QPainter painter(this);
    painter.setRenderHint(QPainter::Antialiasing);
    const Colors& c = Theme::instance().colors();
    if (underMouse() || hasFocus()) {
        painter.setPen(hasFocus() ? QPen(c.accent, 1) : QPen(Qt::NoPen));
        painter.setBrush(c.band);
        painter.drawRoundedRect(QRectF(rect()).adjusted(0.5, 0.5, -0.5, -0.5), 4, 4);
    }
    painter.setFont(Theme::mono(12));
    painter.setPen(c.accent);
    const int number = std::max(34, painter.fontMetrics().horizontalAdvance(m_packet) + 8);
    painter.drawText(QRect(4, 0, number, height()), Qt::AlignVCenter | Qt::AlignLeft, m_packet);
    // What it is now matters more than what it was: the old words give way.
    const QFontMetrics metrics(Theme::sans(12));
    const QString arrow = QStringLiteral(" → ");
    const int room = width() - number - 8 - metrics.horizontalAdvance(arrow);
    const int after = std::min(metrics.horizontalAdvance(m_after), room * 2 / 3);
    const QString before = metrics.elidedText(m_before, Qt::ElideRight, room - after);
    painter.setFont(Theme::sans(12));
    int x = number + 4;
    painter.setPen(c.textMuted);
    painter.drawText(QRect(x, 0, width(), height()), Qt::AlignVCenter | Qt::AlignLeft, before + arrow);
    x += metrics.horizontalAdvance(before + arrow);
    painter.setPen(m_better ? c.good : c.drop);
    painter.drawText(QRect(x, 0, width() - x, height()), Qt::AlignVCenter | Qt::AlignLeft,
                     metrics.elidedText(m_after, Qt::ElideRight, width() - x - 2));
}

// ---- the list ------------------------------------------------------------------------------------------------------

BranchList::BranchList(Session* session, QWidget* parent) : QWidget(parent), m_session(session)
{
    m_column = new QVBoxLayout(this);
    m_column->setContentsMargins(0, 10, 0, 4);
    m_column->setSpacing(0);
    m_timer.setSingleShot(true);
    m_timer.setInterval(patience_ms);
    connect(&m_timer, &QTimer::timeout, this, [this] {
        if (m_session != nullptr && !m_session->isPlaying() && m_session->trace().packet_count() <= most_packets) {
            compareNow();
        }
    });
    hide();
    if (session == nullptr) {
        return;
    }
    connect(session, &Session::traceReplaced, this, &BranchList::rebuild);
    connect(session, &Session::traceGrown, &m_timer, qOverload<>(&QTimer::start));
    connect(session, &Session::playingChanged, &m_timer, qOverload<>(&QTimer::start));
    rebuild();
}

QString BranchList::words() const
{
    return m_sentence == nullptr ? QString() : m_sentence->text();
}

std::size_t BranchList::other() const
{
    // A branch against the line as it was; the main line against the newest branch.
    const std::size_t shown = m_session->source().chosen_branch();
    return shown != 0 ? 0 : m_session->source().branches().size() - 1;
}

void BranchList::rebuild()
{
    // A button that was just clicked must outlive its signal. Whoever is among the rows stays among them.
    const bool focused = m_content != nullptr && m_content->isAncestorOf(QApplication::focusWidget());
    if (m_content != nullptr) {
        m_content->hide();
        m_content->deleteLater();
    }
    m_content = nullptr;
    m_rows.clear();
    m_fates.clear();
    m_heading = m_sentence = m_until = nullptr;
    m_whole = nullptr;
    m_packets = nullptr;
    m_compared.clear();
    const std::vector<Branch> branches = m_session->source().branches();
    setVisible(branches.size() > 1);
    if (branches.size() < 2) {
        return;
    }
    m_content = new QWidget(this);
    m_column->addWidget(m_content);
    auto* column = new QVBoxLayout(m_content);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(4);
    column->addWidget(new Label(tr("What if"), Tone::accent, Theme::sans(12, QFont::DemiBold), m_content));
    for (std::size_t index = 0; index < branches.size(); ++index) {
        auto* row = new BranchRow(branches[index], index == m_session->source().chosen_branch(), m_content);
        column->addWidget(row);
        m_rows.push_back(row);
        connect(row, &QAbstractButton::clicked, this, [this, row, index] {
            row->setChecked(index == m_session->source().chosen_branch());
            m_session->chooseBranch(index);
        });
    }
    column->addSpacing(4);
    m_heading = new Label({}, Tone::muted, Theme::sans(12), m_content);
    m_heading->setWordWrap(true);
    column->addWidget(m_heading);
    m_sentence = new Label({}, Tone::normal, Theme::sans(13), m_content);
    m_sentence->setWordWrap(true);
    m_sentence->setTextInteractionFlags(Qt::TextSelectableByMouse);
    column->addWidget(m_sentence);
    m_until = new Label({}, Tone::muted, Theme::sans(11), m_content);
    m_until->setWordWrap(true);
    column->addWidget(m_until);
    m_whole = new QPushButton(tr("Run both to the end"), m_content);
    m_whole->setToolTip(tr("Lets both lines run until nothing more happens, and compares all their packets"));
    column->addWidget(m_whole);
    connect(m_whole, &QPushButton::clicked, this, [this] { // not the button's own slot: it is gone when the run is over
        QMetaObject::invokeMethod(
            this,
            [this] {
                m_session->runToEnd(other(), m_session->source().chosen_branch());
                compareNow();
                giveFocusToShown(); // the button has gone
            },
            Qt::QueuedConnection);
    });
    if (m_session->trace().packet_count() <= most_packets) {
        compareNow();
    }
    if (focused) {
        giveFocusToShown();
    }
}

void BranchList::giveFocusToShown()
{
    if (const std::size_t shown = m_session->source().chosen_branch(); shown < m_rows.size()) {
        m_rows[shown]->setFocus(Qt::OtherFocusReason);
    }
}

void BranchList::compareNow()
{
    const std::vector<Branch> branches = m_session->source().branches();
    if (m_sentence == nullptr || branches.size() < 2) {
        return;
    }
    const std::size_t shown = m_session->source().chosen_branch();
    const auto& a = branches[std::min(shown, other())];
    const auto& b = branches[std::max(shown, other())];
    std::vector<std::uint64_t> speaksOf{a.id, b.id, a.until.ns, b.until.ns, m_all ? 1U : 0U, shown};
    if (speaksOf == m_compared) {
        return;
    }
    m_compared = std::move(speaksOf);
    showDifference();
}

void BranchList::showDifference()
{
    const std::vector<Branch> branches = m_session->source().branches();
    const std::size_t shown = m_session->source().chosen_branch();
    const std::size_t before = std::min(shown, other());
    const std::size_t after = std::max(shown, other());
    const Session::Difference difference = m_session->compare(before, after);
    const WhatIf& what = difference.what;
    m_heading->setText(before == 0 && after == shown ? tr("Compared with main:")
                       : before == 0                ? tr("With %1:").arg(nameOf(branches[after]))
                                                    : tr("From “%1” to “%2”:").arg(nameOf(branches[before]), nameOf(branches[after])));
    // That nothing changed is known at the end only.
    m_sentence->setText(what.changed.empty() && what.only_before == 0 && what.only_after == 0 && !difference.whole ? tr("No packet ends differently so far.") : text(what.sentence()));
    m_until->setText(tr("As far as both have run, to %1.").arg(timeText(difference.until)));
    m_until->setVisible(!difference.whole);
    m_whole->setVisible(!difference.whole);

    delete m_packets;
    m_fates.clear();
    m_packets = new QWidget(m_content);
    m_content->layout()->addWidget(m_packets);
    auto* column = new QVBoxLayout(m_packets);
    column->setContentsMargins(0, 2, 0, 0);
    column->setSpacing(0);
    const std::size_t count = m_all ? what.changed.size() : std::min(first_fates, what.changed.size());
    for (std::size_t i = 0; i < count; ++i) {
        const ChangedFate& changed = what.changed[i];
        const PacketId packet = shown == before ? changed.pair.a : changed.pair.b;
        auto* row = new FateRow(QStringLiteral("#%1").arg(to_index(packet)), shortText(changed.before), shortText(changed.after),
                                isGood(changed.after), m_packets);
        column->addWidget(row);
        m_fates.push_back(row);
        connect(row, &QAbstractButton::clicked, this, [this, packet] {
            m_session->pause();
            m_session->selectPacket(packet);
            m_session->seekToEndOf(packet);
        });
    }
    if (count < what.changed.size()) {
        auto* more = new QPushButton(tr("All %1 packets").arg(what.changed.size()), m_packets);
        more->setProperty("flat", true);
        column->addWidget(more);
        connect(more, &QPushButton::clicked, this, [this] {
            QMetaObject::invokeMethod(
                this,
                [this] {
                    m_all = true;
                    compareNow();
                    if (m_fates.size() > first_fates) {
                        m_fates[first_fates]->setFocus(Qt::OtherFocusReason); // where the button was
                    }
                },
                Qt::QueuedConnection);
        });
    }
}

} // namespace skbscope::ui
