#include "ui/controls/top_bar.h"

#include "ui/controls/icons.h"
#include "ui/player/format.h"
#include "ui/player/session.h"
#include "ui/search/search_box.h"
#include "ui/theme/theme.h"

#include <QHBoxLayout>
#include <QPainter>
#include <QPushButton>
#include <QResizeEvent>
#include <QSignalBlocker>
#include <QSlider>
#include <cmath>

namespace skbscope::ui {

namespace {

// The slider goes by factors: 100 steps a power of ten, from 100 ns to 1 s a second.
constexpr int steps_per_decade = 100;
constexpr int decades = 7;
constexpr double slowest = 100;

int sliderOf(double nsPerSecond)
{
    return static_cast<int>(std::lround(std::log10(nsPerSecond / slowest) * steps_per_decade));
}

/// Round figures only: 1, 2, 5 and the tens between them.
double speedOf(int slider)
{
    const double raw = slowest * std::pow(10.0, static_cast<double>(slider) / steps_per_decade);
    const double power = std::pow(10.0, std::floor(std::log10(raw)));
    const double mantissa = raw / power;
    return power * (mantissa < 1.05 ? 1 : std::round(mantissa * 2) / 2);
}

QPushButton* chip(const QString& words, QWidget* parent)
{
    auto* button = new QPushButton(words, parent);
    button->setProperty("pill", true);
    button->setCheckable(true);
    button->setFocusPolicy(Qt::TabFocus);
    return button;
}

} // namespace

TopBar::TopBar(QWidget* parent) : QWidget(parent)
{
    setFixedHeight(48);
    auto* row = new QHBoxLayout(this);
    row->setContentsMargins(10, 0, 14, 0);
    row->setSpacing(6);

    m_menu = new QToolButton(this);
    m_menu->setProperty("autoRaise", true);
    m_menu->setToolTip(tr("Menu (F10)"));
    m_menu->setAccessibleName(tr("Menu"));
    m_menu->setPopupMode(QToolButton::InstantPopup);
    m_menu->setFocusPolicy(Qt::TabFocus);
    row->addWidget(m_menu);
    m_logo = new Label(QStringLiteral("skbscope"), Tone::normal, Theme::sans(17, QFont::Bold), this);
    row->addWidget(m_logo);
    row->addSpacing(10);

    m_model = chip(tr("Model"), this);
    m_live = chip(tr("Live host"), this);
    m_recording = chip(tr("Recording"), this);
    m_lesson = chip(tr("Lesson"), this);
    m_model->setToolTip(tr("The kernel in a box, to play with: send packets, turn its knobs"));
    m_live->setToolTip(tr("Watch a real kernel as it works: this machine's, or another's through a pipe"));
    m_recording->setToolTip(tr("Open a recording, a trace.dat or a pcap"));
    m_lesson->setToolTip(tr("Lessons"));
    const std::pair<QPushButton*, Mode> chips[] = {
        {m_model, Mode::model}, {m_live, Mode::live}, {m_recording, Mode::recording}, {m_lesson, Mode::lesson}};
    for (const auto& [button, mode] : chips) {
        row->addWidget(button);
        // Checked says what is open; a click only asks.
        connect(button, &QPushButton::clicked, this, [this, chosen = button, which = mode] {
            chosen->setChecked(!chosen->isChecked());
            emit modeChosen(which);
        });
    }
    row->addStretch(2);

    m_begin = transport({}, tr("To the start (Home)"));
    m_backPacket = transport(tr("‹ pkt"), tr("The packet before (Shift+←)"));
    m_backFunction = transport(tr("‹ fn"), tr("One function back (←)"));
    m_play = transport({}, tr("Play (Space)"));
    m_function = transport(tr("fn ›"), tr("To the next function (→)"));
    m_packet = transport(tr("pkt ›"), tr("The next packet (Shift+→)"));
    m_end = transport({}, tr("To the end (End)"));
    m_play->setFixedWidth(46);
    for (auto* button : {m_begin, m_backPacket, m_backFunction, m_play, m_function, m_packet, m_end}) {
        row->addWidget(button);
    }
    row->addSpacing(14);

    m_speedText = new Label(speedText(20'000), Tone::muted, Theme::sans(12), this);
    m_speedText->setFixedWidth(QFontMetrics(Theme::sans(12)).horizontalAdvance(QStringLiteral("1 s = 000 µs")) + 6);
    m_speedText->setAlignment(Qt::AlignRight | Qt::AlignVCenter);
    row->addWidget(m_speedText);
    row->addSpacing(4);
    m_speed = new QSlider(Qt::Horizontal, this);
    m_speed->setRange(0, steps_per_decade * decades);
    m_speed->setSingleStep(10);
    m_speed->setPageStep(steps_per_decade);
    m_speed->setFixedWidth(120);
    m_speed->setFocusPolicy(Qt::TabFocus);
    m_speed->setToolTip(tr("How much of the kernel's time passes in one second of yours (+ and −)"));
    m_speed->setAccessibleName(tr("Speed"));
    m_speed->setValue(sliderOf(20'000));
    row->addWidget(m_speed);
    row->addSpacing(6);

    const QFont timeFont = Theme::mono(13);
    m_time = new Label(QStringLiteral("t = 0.000 µs"), Tone::normal, timeFont, this);
    m_time->setMinimumWidth(QFontMetrics(timeFont).horizontalAdvance(QStringLiteral("t = 000 000.000 µs")));
    m_time->setToolTip(tr("The moment shown, on the clock of what is open"));
    row->addWidget(m_time);
    row->addStretch(2);

    m_search = new SearchBox(this);
    row->addWidget(m_search);

    connect(m_speed, &QSlider::valueChanged, this, [this](int value) {
        if (m_session != nullptr) {
            m_session->setSpeed(speedOf(value));
        }
    });
    connect(m_begin, &QToolButton::clicked, this, [this] { m_session ? m_session->toBegin() : void(); });
    connect(m_end, &QToolButton::clicked, this, [this] { m_session ? m_session->toEnd() : void(); });
    connect(m_play, &QToolButton::clicked, this, [this] { m_session ? m_session->toggle() : void(); });
    connect(m_backFunction, &QToolButton::clicked, this, [this] { m_session ? m_session->stepFunction(-1) : void(); });
    connect(m_function, &QToolButton::clicked, this, [this] { m_session ? m_session->stepFunction(+1) : void(); });
    connect(m_backPacket, &QToolButton::clicked, this, [this] { m_session ? m_session->stepPacket(-1) : void(); });
    connect(m_packet, &QToolButton::clicked, this, [this] { m_session ? m_session->stepPacket(+1) : void(); });
    connect(&Theme::instance(), &Theme::changed, this, [this] {
        refreshIcons();
        update();
    });
    refreshIcons();
    setSession(nullptr);
    setMode(Mode::none);
}

QToolButton* TopBar::transport(const QString& words, const QString& tip)
{
    auto* button = new QToolButton(this);
    button->setText(words);
    button->setToolTip(tip);
    button->setAccessibleName(tip);
    button->setFocusPolicy(Qt::TabFocus);
    button->setFixedHeight(30);
    button->setFont(Theme::sans(12, QFont::Medium));
    // The style's padding, and the words whole.
    button->setFixedWidth(words.isEmpty() ? 36 : QFontMetrics(button->font()).horizontalAdvance(words) + 20);
    return button;
}

void TopBar::refreshIcons()
{
    m_menu->setIcon(signIcon(Sign::menu));
    m_begin->setIcon(signIcon(Sign::to_begin));
    m_end->setIcon(signIcon(Sign::to_end));
    refreshPlaying();
}

void TopBar::refreshPlaying()
{
    const bool playing = m_session != nullptr && (m_session->isPlaying() || m_session->isFollowing());
    m_play->setIcon(signIcon(playing ? Sign::pause : Sign::play));
    m_play->setToolTip(playing ? tr("Pause (Space)") : tr("Play (Space)"));
    m_play->setAccessibleName(m_play->toolTip());
}

void TopBar::setSession(Session* session)
{
    m_session = session;
    for (auto* button : {m_begin, m_backPacket, m_backFunction, m_play, m_function, m_packet, m_end}) {
        button->setEnabled(session != nullptr);
    }
    m_speed->setEnabled(session != nullptr);
    m_search->setSession(session);
    if (session != nullptr) {
        connect(session, &Session::playheadMoved, this, &TopBar::refreshTime);
        connect(session, &Session::playingChanged, this, &TopBar::refreshPlaying);
        connect(session, &Session::followingChanged, this, &TopBar::refreshPlaying);
        connect(session, &Session::speedChanged, this, &TopBar::refreshSpeed);
    }
    refreshTime();
    refreshSpeed();
    refreshPlaying();
}

void TopBar::refreshTime()
{
    m_time->setText(m_session == nullptr
                        ? QStringLiteral("t = –")
                        : QStringLiteral("t = %1").arg(ui::timeText(m_session->now(), m_session->origin())));
}

void TopBar::refreshSpeed()
{
    const double speed = m_session == nullptr ? 20'000 : m_session->speed();
    m_speedText->setText(speedText(speed));
    const QSignalBlocker quiet(m_speed);
    if (speedOf(m_speed->value()) != speed) {
        m_speed->setValue(sliderOf(speed));
    }
}

void TopBar::setMode(Mode mode)
{
    m_model->setChecked(mode == Mode::model);
    m_live->setChecked(mode == Mode::live);
    m_recording->setChecked(mode == Mode::recording);
    m_lesson->setChecked(mode == Mode::lesson);
}

void TopBar::setAvailable(Mode mode, bool available, const QString& tip)
{
    QPushButton* button = mode == Mode::model ? m_model : mode == Mode::recording ? m_recording : m_lesson;
    button->setEnabled(available);
    button->setToolTip(tip);
}

void TopBar::resizeEvent(QResizeEvent* event)
{
    QWidget::resizeEvent(event);
    // Narrow windows: the chips' and the speed's room is what can be spared.
    const int width = event->size().width();
    m_speed->setFixedWidth(width < 1400 ? 80 : 120);
    m_speed->setVisible(width >= 1120);
    m_speedText->setVisible(width >= 1120);
    m_begin->setVisible(width >= 1060); // Home and End are keys, too
    m_end->setVisible(width >= 1060);
    m_logo->setVisible(width >= 1380);
    layout()->setSpacing(width < 1400 ? 4 : 6);
    // In line with the inspector below at the sizes that the panels begin with.
    m_search->setPlaceholderText(width >= 1500 ? tr("/ find a packet, function, socket, setting") : tr("/ find anything"));
    m_search->setFixedWidth(width >= 1500 ? 356 : width >= 1330 ? 220 : width >= 1250 ? 190 : 130);
}

void TopBar::paintEvent(QPaintEvent*)
{
    QPainter painter(this);
    const Colors& c = Theme::instance().colors();
    painter.fillRect(rect(), c.panel);
    painter.fillRect(0, height() - 1, width(), 1, c.border);
}

} // namespace skbscope::ui
