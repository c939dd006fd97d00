#include "ui/live/live_strip.h"

#include "ui/controls/label.h"
#include "ui/player/format.h"
#include "ui/player/session.h"
#include "ui/theme/theme.h"

#include <QHBoxLayout>
#include <QPainter>
#include <QPushButton>

namespace skbscope::ui {

namespace {

constexpr std::uint64_t much_waiting = 1U << 20;

} // namespace

LiveStrip::LiveStrip(QWidget* parent) : QWidget(parent)
{
    auto* row = new QHBoxLayout(this);
    row->setContentsMargins(16, 4, 12, 5);
    row->setSpacing(22);
    const auto label = [&](const QString& tip) {
        auto* made = new Label({}, Tone::normal, Theme::sans(12), this);
        made->setToolTip(tip);
        row->addWidget(made);
        return made;
    };
    m_state = label({});
    m_state->setFont(Theme::sans(12, QFont::DemiBold));
    m_rate = label(tr("Events that came in during the last second or so"));
    m_lost = label(tr("Records that the kernel's buffers could not keep. The journeys they touch are marked."));
    m_cost = label(tr("CPU time of the recorder, of all of the recorded machine's, and of its probes in the kernel. What the probes cost is an estimate: 200 ns a record."));
    m_rest = label({});
    row->addStretch(1);
    m_follow = new QPushButton(this);
    m_follow->setToolTip(tr("Keeps the playhead at the newest event. While you look at something else everything still comes in. (Space)"));
    m_stop = new QPushButton(tr("Stop recording"), this);
    m_stop->setToolTip(tr("Ends the recording; what has been recorded stays here, and can be saved"));
    for (auto* button : {m_follow, m_stop}) {
        button->setFocusPolicy(Qt::TabFocus);
        row->addWidget(button);
    }
    connect(m_follow, &QPushButton::clicked, this, [this] {
        m_session->isFollowing() ? m_session->setFollowing(false) : m_session->toEnd();
    });
    connect(m_stop, &QPushButton::clicked, this, [this] { m_session->stopLive(); });
    connect(&Theme::instance(), &Theme::changed, this, qOverload<>(&QWidget::update));
    hide();
}

void LiveStrip::setSession(Session* session)
{
    m_session = session;
    setVisible(session != nullptr && session->source().kind() == Source::Kind::live);
    if (session != nullptr) {
        connect(session, &Session::liveChanged, this, &LiveStrip::refresh);
        connect(session, &Session::followingChanged, this, &LiveStrip::refresh);
        refresh();
    }
}

QString LiveStrip::words() const
{
    QStringList parts;
    for (const Label* label : {m_state, m_rate, m_lost, m_cost, m_rest}) {
        if (!label->isHidden() && !label->text().isEmpty()) {
            parts << label->text();
        }
    }
    return parts.join(QStringLiteral(" · "));
}

void LiveStrip::refresh()
{
    const auto status = m_session == nullptr ? std::nullopt : m_session->source().live_status();
    if (!status) {
        return;
    }
    const bool waiting = m_session->trace().empty() && !status->ended;
    m_state->setText(status->ended ? tr("ended") : waiting ? tr("● waiting for the first event") : tr("● live"));
    m_state->setTone(status->ended ? Tone::muted : Tone::good);
    m_rate->setText(status->ended ? tr("%1 events in all").arg(countText(m_session->trace().size()))
                                  : tr("%1 events/s").arg(rateText(status->events_per_second)));
    m_lost->setText(tr("%1 lost").arg(countText(status->lost_events)));
    m_lost->setTone(status->lost_events == 0 ? Tone::normal : Tone::drop);
    m_cost->setVisible(!status->ended);
    const bool model = !m_session->trace().info.observed && !m_session->trace().empty();
    m_cost->setText(!status->cost ? tr("cost not known")
                                  : (model ? tr("the model takes %1 % of the CPUs") : tr("recording costs %1 % of the CPUs")).arg(*status->cost * 100, 0, 'f', 1));
    m_stop->setText(model ? tr("Stop the model") : tr("Stop recording"));
    m_cost->setTone(status->cost ? Tone::normal : Tone::muted);
    QStringList rest;
    if (!status->detail.empty()) {
        // "tracepoints (32 events), frames of eth0, lo": the first words here, all of it under the mouse.
        rest << text(status->detail).section(QStringLiteral(" ("), 0, 0).section(QStringLiteral(" of "), 0, 0);
        m_rest->setToolTip(text(status->detail));
    }
    if (status->bytes_waiting > much_waiting) {
        rest << tr("%1 still to take in").arg(bytesText(status->bytes_waiting));
    }
    if (!status->ended && !m_session->isFollowing() && !m_session->trace().empty()) {
        const Duration behind = m_session->lastMoment() - m_session->now();
        rest << tr("you look at %1 ago; everything still comes in").arg(durationText(behind));
    }
    if (status->ended && !status->ending.empty()) {
        rest << text(status->ending);
    }
    m_rest->setText(rest.join(QStringLiteral(" · ")));
    m_rest->setTone(status->ended && !status->ending.empty() ? Tone::drop : Tone::muted);
    m_rest->setVisible(!rest.isEmpty());
    m_follow->setVisible(!status->ended);
    m_stop->setVisible(!status->ended);
    m_follow->setText(m_session->isFollowing() ? tr("Pause") : tr("Follow"));
    m_follow->setProperty("primary", !m_session->isFollowing());
    m_follow->style()->unpolish(m_follow);
    m_follow->style()->polish(m_follow);
}

void LiveStrip::paintEvent(QPaintEvent*)
{
    QPainter painter(this);
    const Colors& c = Theme::instance().colors();
    painter.fillRect(rect(), c.panel);
    const bool live = m_session != nullptr && m_session->isLive();
    QColor wash = live ? c.good : c.line;
    wash.setAlphaF(0.10F);
    painter.fillRect(rect(), wash);
    painter.fillRect(0, 0, 3, height(), live ? c.good : c.line);
    painter.fillRect(0, height() - 1, width(), 1, c.border);
}

} // namespace skbscope::ui
