#include "ui/inspector/packet_view.h"

#include "ui/controls/label.h"
#include "ui/player/format.h"
#include "ui/player/session.h"
#include "ui/theme/theme.h"

#include <QHeaderView>
#include <QMouseEvent>
#include <QPainter>
#include <QScrollArea>
#include <QScrollBar>
#include <QTreeWidget>
#include <QVBoxLayout>
#include <algorithm>
#include <span>

namespace skbscope::ui {

namespace {

constexpr int line_height = 18;
/// A jumbo packet's whole dump would be a page of thousands of lines; this much shows every header.
constexpr std::size_t most_bytes = 16384;

enum Role { offset_role = Qt::UserRole, length_role, odd_role };

/// Whether skb->len has been all of the frame by then: what lies before skb->data since has been taken off on the way up
/// (a veth peer, loopback), not left to be written.
bool wasWhole(const Trace& trace, std::span<const std::uint32_t> events, std::size_t ordinal, std::size_t bytes)
{
    return std::ranges::any_of(events, [&](std::uint32_t at) {
        if (at > ordinal || trace[at].event_kind() != EventKind::field) {
            return false;
        }
        const FieldChange& change = trace.field_changes()[trace[at].arg];
        return change.field == SkbField::len && change.after >= bytes;
    });
}

} // namespace

// ---- the dump ---------------------------------------------------------------------------------------------------

HexDump::HexDump(QWidget* parent) : QWidget(parent)
{
    setAccessibleName(tr("Bytes"));
    QSizePolicy policy(QSizePolicy::Expanding, QSizePolicy::Fixed);
    policy.setHeightForWidth(true);
    setSizePolicy(policy);
    setCursor(Qt::PointingHandCursor);
    connect(&Theme::instance(), &Theme::changed, this, qOverload<>(&QWidget::update));
}

int HexDump::perRow(int width) const
{
    // Offset, two digits and a space a byte, a gap, a character a byte.
    const int advance = QFontMetrics(Theme::mono(12)).horizontalAdvance(QChar('0'));
    return width >= advance * (5 + 16 * 3 + 1 + 16) ? 16 : 8;
}

int HexDump::heightForWidth(int width) const
{
    const int columns = perRow(width);
    return (static_cast<int>(m_bytes.size()) + columns - 1) / columns * line_height + 4;
}

QSize HexDump::sizeHint() const
{
    return {300, heightForWidth(width())};
}

void HexDump::resizeEvent(QResizeEvent*)
{
    setFixedHeight(heightForWidth(width()));
}

void HexDump::setBytes(std::vector<std::uint8_t> bytes)
{
    m_bytes = std::move(bytes);
    m_length = 0;
    m_changedLength = 0;
    setFixedHeight(heightForWidth(width()));
    update();
}

void HexDump::highlight(std::size_t offset, std::size_t length)
{
    m_from = offset;
    m_length = length;
    update();
}

void HexDump::setChanged(std::size_t offset, std::size_t length)
{
    m_changedFrom = offset;
    m_changedLength = length;
    update();
}

void HexDump::setPending(std::size_t bytes)
{
    m_pending = bytes;
    update();
}

QString HexDump::asText() const
{
    QString out;
    for (std::size_t row = 0; row < m_bytes.size(); row += 16) {
        out += QStringLiteral("%1 ").arg(row, 4, 16, QChar('0'));
        for (std::size_t i = row; i < std::min(row + 16, m_bytes.size()); ++i) {
            out += i < m_pending ? QStringLiteral(" ··") : QStringLiteral(" %1").arg(m_bytes[i], 2, 16, QChar('0'));
        }
        out += QChar('\n');
    }
    return out;
}

void HexDump::paintEvent(QPaintEvent* event)
{
    QPainter painter(this);
    const Colors& c = Theme::instance().colors();
    const QFont font = Theme::mono(12);
    const int advance = QFontMetrics(font).horizontalAdvance(QChar('0'));
    const auto columns = static_cast<std::size_t>(perRow(width()));
    painter.setFont(font);
    QColor lit = c.accent;
    lit.setAlphaF(Theme::instance().isDark() ? 0.38F : 0.20F);

    const auto first = static_cast<std::size_t>(std::max(0, event->rect().top() / line_height)) * columns;
    for (std::size_t row = first; row < m_bytes.size(); row += columns) {
        const int y = static_cast<int>(row / columns) * line_height;
        if (y > event->rect().bottom()) {
            break;
        }
        painter.setPen(c.textFaint);
        painter.drawText(QRect(0, y, advance * 4, line_height), Qt::AlignVCenter, QStringLiteral("%1").arg(row, 4, 16, QChar('0')));
        for (std::size_t i = row; i < std::min(row + columns, m_bytes.size()); ++i) {
            const int column = static_cast<int>(i - row);
            const int gap = column >= 8 ? advance / 2 : 0;
            const QRect digits(advance * (5 + column * 3) + gap, y, advance * 3, line_height);
            const QRect sign(advance * (5 + static_cast<int>(columns) * 3 + 1 + column) + advance / 2, y, advance, line_height);
            const bool isLit = i >= m_from && i < m_from + m_length;
            const bool isChanged = i >= m_changedFrom && i < m_changedFrom + m_changedLength;
            if (isLit) {
                const bool lastOfRun = i + 1 == m_from + m_length || i + 1 == row + columns;
                painter.fillRect(digits.adjusted(-advance / 2, 1, lastOfRun ? -advance / 2 : -advance / 2, -1), lit);
                painter.fillRect(sign.adjusted(0, 1, 0, -1), lit);
            }
            if (i < m_pending) {
                painter.setPen(c.textFaint);
                painter.drawText(digits, Qt::AlignVCenter, QStringLiteral("··"));
                continue;
            }
            painter.setPen(isChanged ? c.good : c.text);
            painter.drawText(digits, Qt::AlignVCenter, QStringLiteral("%1").arg(m_bytes[i], 2, 16, QChar('0')));
            const bool printable = m_bytes[i] >= 0x20 && m_bytes[i] < 0x7f;
            painter.setPen(isChanged ? c.good : printable ? c.textMuted : c.textFaint);
            painter.drawText(sign, Qt::AlignCenter, printable ? QString(QChar(m_bytes[i])) : QStringLiteral("·"));
        }
    }
}

void HexDump::mousePressEvent(QMouseEvent* event)
{
    const int advance = QFontMetrics(Theme::mono(12)).horizontalAdvance(QChar('0'));
    const int columns = perRow(width());
    int column = (event->pos().x() - advance * 5 + advance / 2) / (advance * 3);
    const int signs = advance * (5 + columns * 3 + 1);
    if (event->pos().x() >= signs) {
        column = (event->pos().x() - signs) / advance;
    }
    if (column < 0 || column >= columns) {
        return;
    }
    const auto offset = static_cast<std::size_t>(event->pos().y() / line_height * columns + column);
    if (offset < m_bytes.size()) {
        emit byteClicked(offset);
    }
}

// ---- tree and dump -----------------------------------------------------------------------------------------------

PacketView::PacketView(QWidget* parent) : QWidget(parent)
{
    auto* column = new QVBoxLayout(this);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(8);

    m_nothing = new Label({}, Tone::muted, this);
    m_nothing->setWordWrap(true);
    m_nothing->setAlignment(Qt::AlignTop | Qt::AlignLeft);
    column->addWidget(m_nothing);

    m_tree = new QTreeWidget(this);
    m_tree->setColumnCount(2);
    m_tree->setHeaderHidden(true);
    m_tree->setIndentation(12);
    m_tree->setUniformRowHeights(true);
    m_tree->setFrameShape(QFrame::NoFrame);
    m_tree->header()->setSectionResizeMode(0, QHeaderView::Interactive);
    m_tree->header()->resizeSection(0, 150);
    m_tree->header()->setStretchLastSection(true);
    m_tree->setAccessibleName(tr("Headers"));
    column->addWidget(m_tree, 3);

    m_note = new Label({}, Tone::muted, Theme::sans(12), this);
    m_note->setWordWrap(true);
    column->addWidget(m_note);
    auto* scroll = new QScrollArea(this);
    scroll->setWidgetResizable(true);
    scroll->setFrameShape(QFrame::NoFrame);
    scroll->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    m_dump = new HexDump(scroll);
    auto* holder = new QWidget(scroll);
    auto* inside = new QVBoxLayout(holder);
    inside->setContentsMargins(0, 0, 0, 0);
    inside->addWidget(m_dump);
    inside->addStretch();
    scroll->setWidget(holder);
    column->addWidget(scroll, 2);

    connect(m_tree, &QTreeWidget::currentItemChanged, this, [this](QTreeWidgetItem* item) {
        if (item != nullptr) {
            m_dump->highlight(item->data(0, offset_role).toULongLong(), item->data(0, length_role).toULongLong());
        }
    });
    connect(m_dump, &HexDump::byteClicked, this, &PacketView::selectByte);
    connect(&Theme::instance(), &Theme::changed, this, [this] {
        const auto bytes = m_shown;
        show(bytes);
    });
}

void PacketView::setSession(Session* session)
{
    m_session = session;
    m_packet = PacketId::none;
    m_event = 0;
    m_shown.clear();
    refresh();
}

void PacketView::refresh()
{
    const PacketId packet = m_session == nullptr ? PacketId::none : m_session->selection().packet;
    if (packet == PacketId::none || !m_session->trace().has_packet(packet)) {
        m_packet = PacketId::none;
        m_nothing->setText(tr("No packet is selected. Click one on the map, or press Shift+→ for the next."));
        m_nothing->show();
        m_tree->hide();
        m_dump->parentWidget()->parentWidget()->parentWidget()->hide();
        m_note->hide();
        return;
    }
    const std::size_t event = m_session->lastEventOf(packet).value_or(0) + 1;
    if (packet == m_packet && event == m_event && !m_shown.empty()) {
        return;
    }
    const Trace& trace = m_session->trace();
    const PacketRecord& record = trace.packet(packet);
    const std::span<const std::uint32_t> events = m_session->journeys().events_of(packet);
    const SkbImage image = skb_image(trace, packet, events, event - 1);
    std::vector<std::uint8_t> bytes = image.frame;
    if (bytes.empty()) {
        const auto frame = trace.frame(packet);
        bytes.assign(frame.begin(), frame.end());
    }
    // The trace keeps a sent packet's frame as it left; the headers that lie before skb->data now are still to be written.
    const auto length = image.of(SkbField::len);
    const bool has_gaps = record.sent_here && length && *length < bytes.size() && !wasWhole(trace, events, event - 1, bytes.size());
    const std::size_t pending = has_gaps ? bytes.size() - *length : 0;
    const bool same = packet == m_packet && bytes == m_shown && pending == m_pending;
    m_pending = pending;
    m_packet = packet;
    m_event = event;
    const bool known = !bytes.empty();
    m_nothing->setVisible(!known);
    m_nothing->setText(record.length == 0
                           ? tr("This recording holds no bytes of the packet.")
                           : tr("This recording holds no bytes of the packet, only its length: %1.")
                                 .arg(counted(record.length, "byte", "bytes")));
    m_tree->setVisible(known);
    m_dump->parentWidget()->parentWidget()->parentWidget()->setVisible(known);
    QStringList notes;
    notes << counted(record.length, "byte on the wire", "bytes on the wire");
    if (known && bytes.size() < record.length) {
        notes << tr("%1 of them captured").arg(countText(bytes.size()));
    }
    if (record.device != DeviceId::none) {
        notes << (record.sent_here ? tr("sent through %1") : tr("came in on %1")).arg(text(trace.device(record.device).name));
    }
    if (record.parent != PacketId::none) {
        notes << tr("%1 of packet %2")
                     .arg(record.relation == Relation::split ? tr("a piece") : record.relation == Relation::copy ? tr("a copy")
                                                                                                                 : tr("a clone"))
                     .arg(to_index(record.parent));
    }
    if (pending != 0) {
        notes << tr("the first %1 not written yet").arg(counted(pending, "byte is", "bytes are"));
    }
    m_note->setText(notes.join(QStringLiteral(" · ")));
    m_note->setVisible(true);
    if (!same && known) {
        m_wireLength = record.length;
        show(std::move(bytes));
    }
    m_dump->setChanged(0, 0);
    for (const FieldChange& change : image.changed_here) {
        if (change.field == SkbField::bytes) {
            m_dump->setChanged(change.offset, change.length);
        }
    }
}

void PacketView::show(std::vector<std::uint8_t> bytes)
{
    // What was lit stays lit when a step changes a byte.
    const QTreeWidgetItem* before = m_tree->currentItem();
    const QVariant offset = before == nullptr ? QVariant() : before->data(0, offset_role);
    const QVariant length = before == nullptr ? QVariant() : before->data(0, length_role);

    m_shown = std::move(bytes);
    m_layers = dissect(m_shown, m_wireLength);
    const Colors& c = Theme::instance().colors();
    m_tree->clear();
    QTreeWidgetItem* again = nullptr;
    for (const DissectedLayer& layer : m_layers) {
        auto* top = new QTreeWidgetItem(m_tree);
        top->setText(0, text(layer.name));
        top->setText(1, text(layer.summary));
        if (layer.length != 0 && layer.offset + layer.length <= m_pending) {
            // Nothing is told of bytes that are not there: a neighbour's address may not even be known.
            top->setText(1, tr("not written yet"));
            top->setFont(0, Theme::sans(12, QFont::DemiBold));
            top->setFont(1, Theme::sans(12));
            top->setForeground(0, c.textFaint);
            top->setForeground(1, c.textFaint);
            top->setData(0, offset_role, QVariant::fromValue<qulonglong>(layer.offset));
            top->setData(0, length_role, QVariant::fromValue<qulonglong>(layer.length));
            continue;
        }
        top->setFont(0, Theme::sans(12, QFont::DemiBold));
        top->setFont(1, Theme::sans(12));
        top->setForeground(1, c.textMuted);
        top->setToolTip(1, text(layer.summary));
        top->setData(0, offset_role, QVariant::fromValue<qulonglong>(layer.offset));
        top->setData(0, length_role, QVariant::fromValue<qulonglong>(layer.length));
        for (const DissectedField& field : layer.fields) {
            auto* item = new QTreeWidgetItem(top);
            item->setText(0, text(field.name));
            item->setText(1, text(field.value));
            item->setFont(0, Theme::sans(12));
            item->setFont(1, Theme::mono(12));
            item->setForeground(0, c.textMuted);
            item->setToolTip(1, text(field.value));
            if (field.odd) {
                item->setForeground(1, c.drop);
                item->setText(1, text(field.value) + tr("  (wrong)"));
            }
            item->setData(0, offset_role, QVariant::fromValue<qulonglong>(field.offset));
            item->setData(0, length_role, QVariant::fromValue<qulonglong>(field.length));
            if (item->data(0, offset_role) == offset && item->data(0, length_role) == length) {
                again = item;
            }
        }
        top->setExpanded(true);
    }
    std::vector<std::uint8_t> dumped(m_shown.begin(),
                                     m_shown.begin() + static_cast<std::ptrdiff_t>(std::min(m_shown.size(), most_bytes)));
    m_dump->setBytes(std::move(dumped));
    m_dump->setPending(m_pending);
    if (again != nullptr) {
        m_tree->setCurrentItem(again);
    }
}

void PacketView::selectByte(std::size_t offset)
{
    // The narrowest field that holds the byte.
    QTreeWidgetItem* best = nullptr;
    qulonglong bestLength = ~0ULL;
    for (int i = 0; i < m_tree->topLevelItemCount(); ++i) {
        QTreeWidgetItem* top = m_tree->topLevelItem(i);
        for (int k = -1; k < top->childCount(); ++k) {
            QTreeWidgetItem* item = k < 0 ? top : top->child(k);
            const qulonglong from = item->data(0, offset_role).toULongLong();
            const qulonglong length = item->data(0, length_role).toULongLong();
            if (offset >= from && offset < from + length && length < bestLength) {
                best = item;
                bestLength = length;
            }
        }
    }
    if (best != nullptr) {
        m_tree->setCurrentItem(best);
        m_tree->scrollToItem(best);
    }
}

QString PacketView::asText() const
{
    QString out;
    for (const DissectedLayer& layer : m_layers) {
        if (layer.length != 0 && layer.offset + layer.length <= m_pending) {
            out += QStringLiteral("%1: %2\n").arg(text(layer.name), tr("not written yet"));
            continue;
        }
        out += QStringLiteral("%1: %2\n").arg(text(layer.name), text(layer.summary));
        for (const DissectedField& field : layer.fields) {
            out += QStringLiteral("    %1: %2\n").arg(text(field.name), text(field.value));
        }
    }
    return out + m_dump->asText();
}

} // namespace skbscope::ui
