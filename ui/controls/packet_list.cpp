#include "ui/controls/packet_list.h"

#include "core/catalog/room_on_way.h"
#include "ui/controls/choice.h"
#include "ui/controls/elide.h"
#include "ui/controls/label.h"
#include "ui/inspector/journey_rows.h"
#include "ui/player/format.h"
#include "ui/player/session.h"
#include "ui/theme/theme.h"

#include <QClipboard>
#include <QGuiApplication>
#include <QHBoxLayout>
#include <QKeyEvent>
#include <QLineEdit>
#include <QMenu>
#include <QPainter>
#include <QScrollBar>
#include <QStyledItemDelegate>
#include <QVBoxLayout>
#include <algorithm>
#include <array>

namespace skbscope::ui {

namespace {

constexpr int row_height = 40;

QColor colorOf(const PacketRows::Words& words)
{
    const Colors& c = Theme::instance().colors();
    if (!words.born || words.verdict == Verdict::lost) {
        return c.textMuted;
    }
    return words.verdict == Verdict::dropped ? c.drop : words.verdict == Verdict::in_flight ? c.accent : c.good;
}

/// Two lines: number, how it ended and when it was born; its flow.
class PacketDelegate : public QStyledItemDelegate {
public:
    PacketDelegate(const PacketRows& rows, QObject* parent) : QStyledItemDelegate(parent), m_rows(rows) {}

    [[nodiscard]] QSize sizeHint(const QStyleOptionViewItem&, const QModelIndex&) const override { return {160, row_height}; }

    void paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const override
    {
        const Colors& c = Theme::instance().colors();
        const PacketRows::Words words = m_rows.words(m_rows.packet(index.row()));
        painter->save();
        const bool selected = (option.state & QStyle::State_Selected) != 0;
        if (selected || (option.state & QStyle::State_MouseOver) != 0) {
            QColor wash = selected ? c.accent : c.band;
            wash.setAlphaF(selected ? 0.16F : 1.0F);
            painter->setRenderHint(QPainter::Antialiasing);
            painter->setPen(selected && (option.state & QStyle::State_HasFocus) != 0 ? QPen(c.accent, 1, Qt::DashLine) : QPen(Qt::NoPen));
            painter->setBrush(wash);
            painter->drawRoundedRect(QRectF(option.rect).adjusted(0.5, 0.5, -0.5, -0.5), 5, 5);
        }
        const QRect inside = option.rect.adjusted(7, 3, -3, -3);
        const int half = inside.height() / 2;
        const QRect above(inside.left(), inside.top(), inside.width(), half);
        const QRect below(inside.left(), inside.top() + half, inside.width(), half);
        painter->setFont(Theme::mono(11));
        int wide = words.time.isEmpty() ? 0 : painter->fontMetrics().horizontalAdvance(words.time) + 8;
        const int wanted = QFontMetrics(Theme::sans(12)).horizontalAdvance(words.state) +
                           QFontMetrics(Theme::sans(12, QFont::DemiBold)).horizontalAdvance(words.number) + 8;
        if (wanted + wide > above.width()) {
            wide = 0; // how it ended is more than when it began, which the tool tip has, too
        } else {
            painter->setPen(c.textMuted);
            painter->drawText(above, Qt::AlignVCenter | Qt::AlignRight, words.time);
        }
        painter->setFont(Theme::sans(12, QFont::DemiBold));
        painter->setPen(words.born ? c.text : c.textMuted);
        const int number = painter->fontMetrics().horizontalAdvance(words.number) + 8;
        painter->drawText(above, Qt::AlignVCenter, words.number);
        painter->setFont(Theme::sans(12));
        painter->setPen(colorOf(words));
        painter->drawText(above.adjusted(number, 0, -wide, 0), Qt::AlignVCenter,
                          painter->fontMetrics().elidedText(words.state, Qt::ElideRight, above.width() - number - wide));
        // A long flow a little smaller before it is cut.
        painter->setFont(Theme::sans(12));
        if (painter->fontMetrics().horizontalAdvance(words.flow) > below.width()) {
            painter->setFont(Theme::sans(11));
        }
        painter->setPen(words.born ? c.text : c.textMuted);
        painter->drawText(below, Qt::AlignVCenter, elidedFlow(painter->fontMetrics(), words.flow, below.width()));
        painter->restore();
    }

private:
    const PacketRows& m_rows;
};

} // namespace

// ---- rows --------------------------------------------------------------------------------------------------------

void PacketRows::setSession(Session* session)
{
    m_session = session;
    reload();
}

void PacketRows::setFilter(std::optional<Verdict> verdict, const QString& words)
{
    if (verdict == m_verdict && words == m_words) {
        return;
    }
    m_verdict = verdict;
    m_words = words;
    reload();
}

bool PacketRows::passes(const PacketRecord& packet) const
{
    if (packet.id == PacketId::none || (m_verdict && packet.verdict != *m_verdict)) {
        return false;
    }
    return m_words.isEmpty() || packetTitle(m_session->trace(), packet.id).contains(m_words, Qt::CaseInsensitive) ||
           verdictText(packet.verdict, packet.reason).contains(m_words, Qt::CaseInsensitive);
}

void PacketRows::reload()
{
    beginResetModel();
    m_rows.clear();
    m_open.clear();
    m_seen = 0;
    endResetModel();
    follow();
}

void PacketRows::follow()
{
    if (m_session == nullptr) {
        return;
    }
    const Trace& trace = m_session->trace();
    // Those that were still on their way may have become what is looked for, or ceased to be it.
    bool late = false;
    if (m_verdict || !m_words.isEmpty()) {
        const auto decided = [&](PacketId id) { return passes(trace.packet(id)); };
        late = std::ranges::any_of(m_open, decided) ||
               (m_verdict == Verdict::in_flight && std::ranges::any_of(m_rows, [&](PacketId id) { return !passes(trace.packet(id)); }));
        std::erase_if(m_open, [&](PacketId id) { return trace.packet(id).verdict != Verdict::in_flight; });
    }
    std::vector<PacketId> more;
    const auto packets = trace.packets();
    for (; m_seen < packets.size(); ++m_seen) {
        const PacketRecord& packet = packets[m_seen];
        if (passes(packet)) {
            more.push_back(packet.id);
        } else if (packet.id != PacketId::none && packet.verdict == Verdict::in_flight) {
            m_open.push_back(packet.id);
        }
    }
    if (late) { // rows among the others: all anew
        m_seen = 0;
        beginResetModel();
        m_rows.clear();
        m_open.clear();
        for (; m_seen < packets.size(); ++m_seen) {
            if (passes(packets[m_seen])) {
                m_rows.push_back(packets[m_seen].id);
            } else if (packets[m_seen].id != PacketId::none && packets[m_seen].verdict == Verdict::in_flight) {
                m_open.push_back(packets[m_seen].id);
            }
        }
        endResetModel();
        return;
    }
    if (!more.empty()) {
        const int from = static_cast<int>(m_rows.size());
        beginInsertRows({}, from, from + static_cast<int>(more.size()) - 1);
        m_rows.insert(m_rows.end(), more.begin(), more.end());
        endInsertRows();
    }
}

int PacketRows::rowCount(const QModelIndex& parent) const
{
    return parent.isValid() ? 0 : static_cast<int>(m_rows.size());
}

int PacketRows::rowOf(PacketId packet) const
{
    const auto found = std::ranges::find(m_rows, packet);
    return found == m_rows.end() ? -1 : static_cast<int>(found - m_rows.begin());
}

PacketRows::Words PacketRows::words(PacketId id) const
{
    Words words;
    if (m_session == nullptr || !m_session->trace().has_packet(id)) {
        return words;
    }
    const Trace& trace = m_session->trace();
    const PacketRecord& record = trace.packet(id);
    words.number = QStringLiteral("#%1").arg(to_index(id));
    words.flow = flowText(record);
    words.time = trace.info.times_trustworthy && record.birth != never ? timeText(record.birth, m_session->origin()) : QString();
    const auto& live = m_session->state().packets();
    if (const auto found = live.find(id); found != live.end()) {
        const PacketState& now = found->second;
        words.born = true;
        words.verdict = now.verdict;
        words.state = now.verdict == Verdict::in_flight && now.where == PacketState::Where::waiting && now.queue != QueueId::none
                          ? tr("waits in %1").arg(text(trace.queue(now.queue).name))
                          : verdictText(now.verdict, record.reason);
    } else if (m_session->now() >= record.birth && m_session->lastEventOf(id).has_value()) {
        words.born = true;
        words.verdict = record.verdict;
        words.state = verdictText(record.verdict, record.reason);
    } else {
        words.state = tr("not born yet");
    }
    return words;
}

QVariant PacketRows::data(const QModelIndex& index, int role) const
{
    if (!index.isValid() || index.row() >= rowCount()) {
        return {};
    }
    const PacketId id = packet(index.row());
    if (role == Qt::DisplayRole || role == Qt::AccessibleTextRole) {
        const Words all = words(id);
        return QStringList{all.number + QChar(' ') + all.flow, all.state, all.time}.join(role == Qt::DisplayRole ? QStringLiteral("\t") : QStringLiteral(", "));
    }
    if (role == Qt::ToolTipRole) {
        const Words all = words(id);
        const PacketRecord& record = m_session->trace().packet(id);
        const QString title = packetTitle(m_session->trace(), id);
        QStringList lines{title, all.state};
        if (record.length != 0) {
            lines.back() += tr(" · %1 bytes").arg(record.length);
        }
        if (!all.time.isEmpty()) {
            lines << tr("born at %1").arg(all.time);
        }
        return lines.join(QChar('\n'));
    }
    return {};
}

// ---- list --------------------------------------------------------------------------------------------------------

PacketList::PacketList(QWidget* parent) : QWidget(parent)
{
    auto* column = new QVBoxLayout(this);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(6);
    auto* head = new QHBoxLayout;
    head->setSpacing(8);
    head->addWidget(new Label(tr("Packets"), Tone::accent, Theme::sans(12, QFont::DemiBold), this));
    m_remark = new Label({}, Tone::muted, Theme::sans(12), this);
    head->addWidget(m_remark, 1);
    column->addLayout(head);
    m_field = new QLineEdit(this);
    m_field->setPlaceholderText(tr("address, port, reason"));
    m_field->setAccessibleName(tr("Packets with these words"));
    m_field->setToolTip(tr("Shows the packets with these words in their line"));
    m_field->setClearButtonEnabled(true);
    column->addWidget(m_field);
    m_verdicts = new Choice(this);
    m_verdicts->setAccessibleName(tr("Packets that ended so"));
    m_verdicts->setToolTip(tr("Shows the packets that end so in what is known"));
    m_verdicts->addItem(tr("all"), -1);
    static constexpr std::array order{Verdict::dropped, Verdict::delivered, Verdict::forwarded, Verdict::sent,     Verdict::consumed,
                                      Verdict::merged,  Verdict::split,     Verdict::lost,      Verdict::in_flight};
    for (const Verdict verdict : order) {
        m_verdicts->addItem(verdict == Verdict::in_flight ? tr("on the way") : text(to_string(verdict)), static_cast<int>(verdict));
    }
    m_verdicts->setMinimumWidth(104);
    head->addWidget(m_verdicts);
    m_view = new QListView(this);
    m_view->setModel(&m_model);
    m_view->setItemDelegate(new PacketDelegate(m_model, m_view));
    m_view->setUniformItemSizes(true); // millions of rows cost nothing until they are looked at
    m_view->setSelectionMode(QAbstractItemView::ExtendedSelection);
    m_view->setMouseTracking(true);
    m_view->setFrameShape(QFrame::NoFrame);
    m_view->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    m_view->setMinimumHeight(3 * row_height);
    m_view->setAccessibleName(tr("Packets"));
    m_view->setContextMenuPolicy(Qt::CustomContextMenu);
    m_view->installEventFilter(this);
    column->addWidget(m_view, 1);

    connect(m_view->selectionModel(), &QItemSelectionModel::currentChanged, this, &PacketList::choose);
    connect(m_view, &QListView::clicked, this, &PacketList::choose);
    connect(m_view, &QWidget::customContextMenuRequested, this, [this](const QPoint& at) {
        QMenu menu;
        menu.addAction(tr("Copy"), QKeySequence(QKeySequence::Copy), this, &PacketList::copy)->setEnabled(m_view->selectionModel()->hasSelection());
        menu.addAction(tr("Select all"), QKeySequence(QKeySequence::SelectAll), m_view, &QListView::selectAll);
        menu.exec(m_view->viewport()->mapToGlobal(at));
    });
    QScrollBar* bar = m_view->verticalScrollBar();
    connect(bar, &QScrollBar::valueChanged, this, [this, bar](int value) { m_atEnd = value == bar->maximum(); });
    // Rows have come, or the panel has less room: what was at the end stays there.
    connect(bar, &QScrollBar::rangeChanged, this, [this, bar](int, int most) {
        if (m_atEnd && m_session != nullptr && m_session->isFollowing()) {
            bar->setValue(most);
        }
    });
    connect(m_verdicts, &QComboBox::currentIndexChanged, this, &PacketList::filter);
    connect(m_field, &QLineEdit::textChanged, this, &PacketList::filter);
    connect(&Theme::instance(), &Theme::changed, m_view->viewport(), qOverload<>(&QWidget::update));
    constexpr int often_ms = 200;
    m_grown.setSingleShot(true);
    m_grown.setInterval(often_ms);
    connect(&m_grown, &QTimer::timeout, this, &PacketList::grow);
}

void PacketList::setSession(Session* session)
{
    m_session = session;
    m_atEnd = true;
    {
        const QSignalBlocker one(m_verdicts);
        const QSignalBlocker other(m_field);
        m_verdicts->setCurrentIndex(0);
        m_field->clear();
        m_model.setFilter({}, {});
    }
    m_model.setSession(session);
    refreshRemark();
    if (session == nullptr) {
        return;
    }
    const auto soon = [this] { m_grown.isActive() ? void() : m_grown.start(); };
    connect(session, &Session::traceGrown, this, soon);
    connect(session, &Session::liveChanged, this, soon);
    connect(session, &Session::traceReplaced, this, [this] {
        m_model.reload();
        refreshRemark();
        showSelected();
    });
    connect(session, &Session::playheadMoved, m_view->viewport(), qOverload<>(&QWidget::update));
    connect(session, &Session::selectionChanged, this, &PacketList::showSelected);
    // The rows ask the session: not after its end.
    connect(session, &QObject::destroyed, this, [this, session] {
        if (m_session == session) {
            m_session = nullptr;
            m_model.setSession(nullptr);
        }
    });
}

void PacketList::grow()
{
    if (m_session == nullptr || m_session->isWorking()) {
        return;
    }
    {
        const bool before = std::exchange(m_quiet, true);
        m_model.follow();
        m_quiet = before;
    }
    showSelected();
    refreshRemark();
}

void PacketList::filter()
{
    const int verdict = m_verdicts->currentData().toInt();
    {
        const bool before = std::exchange(m_quiet, true);
        m_model.setFilter(verdict < 0 ? std::nullopt : std::optional(static_cast<Verdict>(verdict)), m_field->text().trimmed());
        m_quiet = before;
    }
    showSelected();
    refreshRemark();
}

void PacketList::refreshRemark()
{
    const std::size_t rows = static_cast<std::size_t>(m_model.rowCount());
    const bool filtered = m_verdicts->currentIndex() != 0 || !m_field->text().trimmed().isEmpty();
    m_remark->setText(rows != 0 ? countText(rows) : filtered ? tr("none like that") : tr("none yet"));
}

QString PacketList::remark() const
{
    return m_remark->text();
}

void PacketList::showSelected()
{
    if (m_session == nullptr) {
        return;
    }
    const PacketId packet = m_session->selection().packet;
    const QModelIndex now = m_view->currentIndex();
    if (now.isValid() && m_model.packet(now.row()) == packet) {
        return;
    }
    const int row = packet == PacketId::none ? -1 : m_model.rowOf(packet);
    const bool before = std::exchange(m_quiet, true);
    if (row < 0) {
        m_view->selectionModel()->clear();
    } else {
        m_view->setCurrentIndex(m_model.index(row));
    }
    m_quiet = before;
}

void PacketList::choose(const QModelIndex& index)
{
    if (m_quiet || m_session == nullptr || !index.isValid()) {
        return;
    }
    const PacketId packet = m_model.packet(index.row());
    m_session->pause();
    m_session->selectPacket(packet);
    m_session->seekToEndOf(packet);
}

bool PacketList::goToDrop(Session& session, DropReasonId reason, RoomId room)
{
    const auto fits = [&](const PacketRecord& packet) {
        if (packet.verdict != Verdict::dropped || packet.reason != reason) {
            return false;
        }
        // As the map has it: what was freed where no room is, is shown at the memory.
        const RoomId where = room_of_drop(packet.end_function, packet.reason);
        return room == RoomId::none || where == room || (where == RoomId::none && Catalog::room(room).key == "skb_memory");
    };
    const PacketId selected = session.selection().packet;
    PacketId next = PacketId::none;
    for (const PacketRecord& packet : session.trace().packets()) {
        if (!fits(packet)) {
            continue;
        }
        if (next == PacketId::none) {
            next = packet.id; // the first one after the last
        }
        if (selected != PacketId::none && packet.id > selected) {
            next = packet.id;
            break;
        }
    }
    if (next == PacketId::none) {
        // A record may name the caller where the table names the function: the reason says enough.
        return room != RoomId::none && goToDrop(session, reason, RoomId::none);
    }
    session.pause();
    session.selectPacket(next);
    session.seekToEndOf(next);
    return true;
}

void PacketList::copy() const
{
    QModelIndexList chosen = m_view->selectionModel()->selectedIndexes();
    std::ranges::sort(chosen, {}, &QModelIndex::row);
    QStringList lines;
    for (const QModelIndex& index : chosen) {
        lines << m_model.data(index, Qt::DisplayRole).toString();
    }
    if (!lines.isEmpty()) {
        QGuiApplication::clipboard()->setText(lines.join(QChar('\n')) + QChar('\n'));
    }
}

bool PacketList::eventFilter(QObject* watched, QEvent* event)
{
    // Who only passes by with Tab chooses nothing: the view would make its first row the current one.
    if (watched == m_view && event->type() == QEvent::FocusIn && !m_view->currentIndex().isValid()) {
        m_quiet = true;
        QMetaObject::invokeMethod(this, [this] {
            m_quiet = false;
            showSelected();
        }, Qt::QueuedConnection);
    }
    // The window's Ctrl+C copies the inspector's page; in the list it copies the list's lines.
    if (watched == m_view && (event->type() == QEvent::ShortcutOverride || event->type() == QEvent::KeyPress)) {
        auto* key = static_cast<QKeyEvent*>(event);
        if (key->matches(QKeySequence::Copy)) {
            if (event->type() == QEvent::KeyPress) {
                copy();
            }
            event->accept();
            return true;
        }
    }
    return QWidget::eventFilter(watched, event);
}

} // namespace skbscope::ui
