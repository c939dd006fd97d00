#include "ui/inspector/inspector.h"

#include "core/catalog/catalog.h"
#include "ui/controls/label.h"
#include "ui/inspector/journey_view.h"
#include "ui/inspector/packet_view.h"
#include "ui/inspector/pages.h"
#include "ui/inspector/skb_view.h"
#include "ui/player/format.h"
#include "ui/player/session.h"
#include "ui/theme/theme.h"

#include <QClipboard>
#include <QGuiApplication>
#include <QPushButton>
#include <QScrollArea>
#include <QScrollBar>
#include <QStackedWidget>
#include <QTabBar>
#include <QTextBrowser>
#include <QTimer>
#include <QVBoxLayout>

namespace skbscope::ui {

Inspector::Inspector(QWidget* parent) : QWidget(parent)
{
    auto* column = new QVBoxLayout(this);
    column->setContentsMargins(14, 8, 12, 8);
    column->setSpacing(8);
    m_tabs = new QTabBar(this);
    m_tabs->addTab(tr("Packet"));
    m_tabs->addTab(tr("sk_buff"));
    m_tabs->addTab(tr("Journey"));
    m_tabs->addTab(tr("Function"));
    m_tabs->addTab(tr("Host"));
    m_tabs->setExpanding(false);
    m_tabs->setUsesScrollButtons(false);
    m_tabs->setDrawBase(false);
    m_tabs->setFocusPolicy(Qt::TabFocus);
    m_tabs->setCurrentIndex(skb_tab);
    column->addWidget(m_tabs);

    m_head = new QWidget(this);
    auto* head = new QVBoxLayout(m_head);
    head->setContentsMargins(0, 0, 0, 0);
    head->setSpacing(2);
    m_title = new Label({}, Tone::normal, Theme::sans(13, QFont::DemiBold), m_head);
    m_title->setTextInteractionFlags(Qt::TextSelectableByMouse);
    m_title->setWordWrap(true);
    m_place = new Label({}, Tone::muted, Theme::sans(12), m_head);
    m_place->setWordWrap(true);
    head->addWidget(m_title);
    head->addWidget(m_place);
    m_why = new QPushButton(tr("Why was it dropped?"), m_head);
    m_why->setFocusPolicy(Qt::TabFocus);
    m_why->hide();
    head->addWidget(m_why, 0, Qt::AlignLeft);
    connect(m_why, &QPushButton::clicked, this, &Inspector::showDrop);
    column->addWidget(m_head);

    m_pages = new QStackedWidget(this);
    column->addWidget(m_pages, 1);
    m_packet = new PacketView(m_pages);
    m_pages->addWidget(m_packet);
    m_skb = new SkbView(m_pages);
    m_pages->addWidget(m_skb);

    m_journeyPage = new QWidget(m_pages);
    auto* journeyColumn = new QVBoxLayout(m_journeyPage);
    journeyColumn->setContentsMargins(0, 0, 0, 0);
    journeyColumn->setSpacing(6);
    m_journeySums = new Label({}, Tone::muted, Theme::sans(12), m_journeyPage);
    m_journeySums->setWordWrap(true);
    journeyColumn->addWidget(m_journeySums);
    m_journeyScroll = new QScrollArea(m_journeyPage);
    m_journeyScroll->setWidgetResizable(true);
    m_journeyScroll->setFrameShape(QFrame::NoFrame);
    m_journeyScroll->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    m_journeyScroll->setFocusPolicy(Qt::NoFocus); // the journey in it has the focus
    auto* holder = new QWidget(m_journeyScroll);
    auto* inside = new QVBoxLayout(holder);
    inside->setContentsMargins(0, 0, 4, 0);
    m_journey = new JourneyView(JourneyView::Extent::whole, holder);
    inside->addWidget(m_journey);
    inside->addStretch();
    m_journeyScroll->setWidget(holder);
    journeyColumn->addWidget(m_journeyScroll, 1);
    m_pages->addWidget(m_journeyPage);

    m_page = new QTextBrowser(m_pages);
    m_page->setOpenLinks(false);
    m_page->setFrameShape(QFrame::NoFrame);
    m_page->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff); // a page is as wide as the panel
    m_page->document()->setDocumentMargin(0);
    m_page->setAccessibleName(tr("About what is selected"));
    m_pages->addWidget(m_page);
    m_pages->setCurrentIndex(skb_tab);

    connect(m_tabs, &QTabBar::currentChanged, this, [this](int index) {
        m_pages->setCurrentIndex(std::min<int>(index, function_tab));
        m_pageKey.clear();
        if (index < function_tab) {
            m_packetTab = index;
        }
        refresh();
        followJourney();
    });
    connect(m_page, &QTextBrowser::anchorClicked, this, [this](const QUrl& link) { follow(link.toString()); });
    connect(m_journey, &JourneyView::showLine, this, &Inspector::followJourney);
    connect(&Theme::instance(), &Theme::changed, this, [this] {
        m_pageKey.clear();
        refresh();
    });
    // A text browser paints its own base; ours is the panel.
    const auto transparent = [](QTextBrowser* browser) {
        QPalette palette = browser->palette();
        palette.setColor(QPalette::Base, Qt::transparent);
        browser->setPalette(palette);
        browser->viewport()->setAutoFillBackground(false);
    };
    transparent(m_page);
    refresh();
}

void Inspector::followJourney()
{
    // The list has its new height only after the event loop has been round.
    QTimer::singleShot(0, this, [this] {
        const QRect line = m_journey->currentRect();
        if (tab() == journey_tab && !line.isEmpty()) {
            m_journeyScroll->ensureVisible(0, m_journey->y() + line.center().y(), 0, m_journeyScroll->viewport()->height() / 3);
        }
    });
}

void Inspector::resizeEvent(QResizeEvent* event)
{
    QWidget::resizeEvent(event);
    followJourney();
}

void Inspector::setSession(Session* session)
{
    m_session = session;
    m_setting.clear();
    m_pageKey.clear();
    m_packet->setSession(session);
    m_skb->setSession(session);
    m_journey->setSession(session);
    if (session != nullptr) {
        connect(session, &Session::playheadMoved, this, &Inspector::refresh);
        connect(session, &Session::selectionChanged, this, &Inspector::onSelection);
        connect(session, &Session::traceReplaced, this, [this] {
            m_packet->setSession(m_session);
            m_skb->setSession(m_session);
            m_journey->reload();
            m_pageKey.clear();
        });
    }
    refresh();
}

void Inspector::showTab(Tab tab)
{
    m_tabs->setCurrentIndex(tab);
}

Inspector::Tab Inspector::tab() const
{
    return static_cast<Tab>(m_tabs->currentIndex());
}

void Inspector::onSelection()
{
    m_setting.clear();
    m_dropWanted = false;
    const Selection& selection = m_session->selection();
    const bool thing = selection.room != RoomId::none || selection.function != FunctionId::none || selection.queue != QueueId::none;
    if (thing && selection.packet == PacketId::none) {
        m_tabs->setCurrentIndex(function_tab);
    } else if (!thing && selection.packet != PacketId::none && m_tabs->currentIndex() == function_tab) {
        m_tabs->setCurrentIndex(m_packetTab);
    }
    m_journey->reload();
    refresh();
}

void Inspector::refresh()
{
    refreshHead();
    switch (tab()) {
    case packet_tab: m_packet->refresh(); break;
    case skb_tab: m_skb->refresh(); break;
    case journey_tab: m_journey->refresh(); break;
    case function_tab:
    case host_tab: refreshPage(); break;
    }
}

void Inspector::refreshHead()
{
    const PacketId packet = m_session == nullptr ? PacketId::none : m_session->selection().packet;
    const bool known = packet != PacketId::none && m_session->trace().has_packet(packet);
    m_head->setVisible(known && tab() < function_tab);
    if (!known) {
        m_journeySums->setText(m_session == nullptr ? QString() : tr("No packet is selected. Click one on the map, or press Shift+→ for the next."));
        return;
    }
    const Trace& trace = m_session->trace();
    const PacketRecord& record = trace.packet(packet);
    m_title->setText(packetTitle(trace, packet));

    const StackState& state = m_session->state();
    const auto live = state.packets().find(packet);
    QStringList words;
    if (live != state.packets().end()) {
        const PacketState& where = live->second;
        if (where.where == PacketState::Where::waiting && where.queue != QueueId::none) {
            words << waitText(trace.queue(where.queue));
        } else {
            if (where.function != FunctionId::none) {
                words << (where.where == PacketState::Where::running ? tr("in %1") : isHeldInBatch(trace, where) ? tr("held after %1") : tr("last seen in %1"))
                             .arg(text(trace.function_name(where.function)));
            }
            if (where.function == FunctionId::none && where.where != PacketState::Where::running) {
                words << tr("on the wire or in the card");
            }
            if (where.where == PacketState::Where::running) {
                words << tr("CPU %1 %2").arg(static_cast<int>(where.cpu)).arg(contextText(where.context));
            }
        }
        if (where.verdict != Verdict::in_flight) {
            words << verdictText(where.verdict, record.reason);
        }
    } else if (m_session->now() >= record.birth && m_session->lastEventOf(packet).has_value()) {
        words << tr("gone: %1").arg(verdictText(record.verdict, record.reason));
    } else {
        // Calls of its journey may run before there is a packet: the system call that will make it.
        words << tr("not born yet");
    }
    const JourneySums sums = journeySums(trace, m_session->journeys(), packet, m_session->now());
    if (trace.info.times_trustworthy && sums.age.ns > 0) {
        words << (sums.waited.ns > 0 ? tr("%1 old, %2 of them waiting").arg(durationText(sums.age), durationText(sums.waited))
                                     : tr("%1 old").arg(durationText(sums.age)));
    }
    m_place->setText(words.join(QStringLiteral(" · ")));
    const bool ended = live == state.packets().end() && m_session->now() >= record.birth && m_session->lastEventOf(packet).has_value();
    m_why->setVisible(record.verdict == Verdict::dropped && (ended || (live != state.packets().end() && live->second.verdict == Verdict::dropped)));
    if (tab() == journey_tab) {
        if (!trace.info.times_trustworthy) {
            m_journeySums->setText(tr("Order real, times not: an emulated CPU wrote this, so no durations are shown."));
        } else {
            m_journeySums->setText(tr("worked on %1 · waited in queues %2 · held in batches and lists %3")
                                       .arg(durationText(sums.worked), durationText(sums.waited), durationText(sums.held)));
        }
    }
}

void Inspector::refreshPage()
{
    if (tab() == host_tab) {
        // Figures of this moment; not anew for each frame of a film.
        if (m_session == nullptr) {
            m_page->setHtml(emptyPage(tr("Nothing is open.")));
            return;
        }
        if (m_hostClock.isValid() && m_hostClock.elapsed() < 200 && (m_session->isPlaying() || m_session->isFollowing())) {
            return;
        }
        m_hostClock.start();
        const QString hostKey = QStringLiteral("h %1 %2").arg(m_session->position()).arg(m_session->trace().size());
        if (hostKey != m_pageKey) {
            const int scrolled = m_pageKey.startsWith('h') ? m_page->verticalScrollBar()->value() : 0;
            m_pageKey = hostKey;
            m_page->setHtml(hostPage(*m_session));
            m_page->verticalScrollBar()->setValue(scrolled);
        }
        return;
    }
    if (m_dropWanted && m_session != nullptr) {
        const PacketId packet = m_session->selection().packet;
        const QString dropKey = QStringLiteral("d%1").arg(to_index(packet));
        if (dropKey == m_pageKey) {
            return;
        }
        if (const QString page = dropPage(*m_session, packet, m_explain); !page.isEmpty()) {
            m_pageKey = dropKey;
            m_page->setHtml(page);
            return;
        }
    }
    // What the page is about: a setting asked for, a room, a function, or where the selected packet is just now.
    QString key;
    FunctionId function = FunctionId::none;
    RoomId room = RoomId::none;
    if (m_session != nullptr) {
        const Selection& selection = m_session->selection();
        function = selection.function;
        if (function == FunctionId::none) {
            room = selection.room;
            if (room == RoomId::none && selection.queue != QueueId::none) {
                room = m_session->trace().queue(selection.queue).room;
            }
        }
        if (function == FunctionId::none && room == RoomId::none && selection.packet != PacketId::none) {
            if (const auto call = m_session->currentCallOf(selection.packet)) {
                function = m_session->trace()[*call].function_id();
            }
        }
    }
    if (!m_setting.isEmpty()) {
        key = "s" + m_setting;
    } else if (room != RoomId::none) {
        // The room's page holds figures of this moment.
        key = QStringLiteral("r%1 %2").arg(to_index(room)).arg(m_session->position());
    } else {
        key = QStringLiteral("f%1").arg(to_index(function));
    }
    if (key == m_pageKey) {
        return;
    }
    const bool sameThing = key.section(' ', 0, 0) == m_pageKey.section(' ', 0, 0);
    m_pageKey = key;
    const int scrolled = sameThing ? m_page->verticalScrollBar()->value() : 0;
    m_page->setHtml(!m_setting.isEmpty()    ? settingPage(m_session, m_setting)
                    : room != RoomId::none ? roomPage(m_session, room)
                                           : functionPage(m_session, function));
    m_page->verticalScrollBar()->setValue(scrolled);
}

void Inspector::showDrop()
{
    m_setting.clear();
    m_dropWanted = true;
    m_pageKey.clear();
    m_tabs->setCurrentIndex(function_tab);
    refresh();
}

void Inspector::showSetting(const QString& name)
{
    m_dropWanted = false;
    m_setting = name;
    m_tabs->setCurrentIndex(function_tab);
    refresh();
}

void Inspector::follow(const QString& link)
{
    const QString kind = link.section(':', 0, 0);
    const QString name = link.section(':', 1);
    if (kind == "setting") {
        showSetting(name);
        return;
    }
    if (kind == "copy") {
        QGuiApplication::clipboard()->setText(QUrl::fromPercentEncoding(name.toLatin1()));
        emit copied();
        return;
    }
    if (kind == "copypage") {
        QGuiApplication::clipboard()->setText(m_page->toPlainText());
        emit copied();
        return;
    }
    if (m_session == nullptr) {
        return;
    }
    Selection selection = m_session->selection();
    selection.queue = QueueId::none;
    if (kind == "room") {
        selection.room = Catalog::find_room(name.toStdString());
        selection.function = FunctionId::none;
    } else {
        selection.function = Catalog::find_function(name.toStdString());
        if (selection.function == FunctionId::none) {
            return;
        }
        selection.room = Catalog::room_of(selection.function);
    }
    m_setting.clear();
    m_dropWanted = false;
    m_session->select(selection);
    refresh();
}

QString Inspector::asText() const
{
    if (m_session == nullptr || m_session->selection().packet == PacketId::none) {
        return m_page->toPlainText();
    }
    switch (tab()) {
    case packet_tab: return packetTitle(m_session->trace(), m_session->selection().packet) + "\n" + m_packet->asText();
    case skb_tab:
        return titleText() + "\n" + placeText() + "\n" + m_skb->asText() + "\n" + journeyText(*m_session, m_session->selection().packet);
    case journey_tab: return journeyText(*m_session, m_session->selection().packet);
    case function_tab:
    case host_tab: return m_page->toPlainText();
    }
    return {};
}

QString Inspector::titleText() const
{
    return m_title->text();
}

QString Inspector::placeText() const
{
    return m_place->text();
}

QString Inspector::pageText() const
{
    return m_page->toPlainText();
}

} // namespace skbscope::ui
