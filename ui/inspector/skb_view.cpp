#include "ui/inspector/skb_view.h"

#include "core/packet/dissect.h"
#include "ui/controls/label.h"
#include "ui/inspector/journey_view.h"
#include "ui/player/format.h"
#include "ui/player/session.h"
#include "ui/theme/theme.h"

#include <QHBoxLayout>
#include <QHelpEvent>
#include <QPainter>
#include <QScrollArea>
#include <QToolTip>
#include <QVBoxLayout>
#include <algorithm>
#include <cmath>
#include <map>

namespace skbscope::ui {

namespace {

constexpr std::uint64_t not_set = 65535; // of a header offset, as in the kernel

std::optional<std::uint64_t> header(const SkbImage& image, SkbField field)
{
    const auto offset = image.of(field);
    return offset && *offset != not_set ? offset : std::nullopt;
}

/// What the headers are, by the frame's bytes; lengths are those of the headers.
struct Layers {
    QString mac = QStringLiteral("eth"), network, transport;
    std::uint64_t macLength = 14, networkLength = 20, transportLength = 0;
};

Layers layersOf(const SkbImage& image)
{
    Layers layers;
    std::uint64_t transport = 0;
    for (const DissectedLayer& layer : dissect(image.frame)) {
        const QString name = text(layer.name);
        if (name.startsWith("Ethernet")) {
            layers.macLength = layer.length;
        } else if (name.startsWith("VLAN") || name.startsWith("802.1")) {
            layers.macLength += layer.length;
        } else if (name.startsWith("IP")) {
            layers.network = name.startsWith("IPv6") ? QStringLiteral("ipv6") : QStringLiteral("ip");
            layers.networkLength = layer.length;
            transport = layer.offset + layer.length;
        } else if (name == "ARP") {
            layers.network = QStringLiteral("arp");
            layers.networkLength = layer.length;
        } else if (transport != 0 && layer.offset == transport && layers.transport.isEmpty() && name != "Payload" && name != "Data") {
            layers.transport = name.toLower();
            layers.transportLength = layer.length;
        }
    }
    if (layers.network.isEmpty() && image.frame.empty()) {
        layers.network = QStringLiteral("network");
    }
    return layers;
}

QString fieldName(SkbField field)
{
    return text(to_string(field));
}

bool isOffset(SkbField field)
{
    return field == SkbField::data || field == SkbField::tail || field == SkbField::end;
}

bool isHeaderOffset(SkbField field)
{
    return field == SkbField::mac_header || field == SkbField::network_header || field == SkbField::transport_header;
}

QString protocolText(std::uint64_t value)
{
    static const std::map<std::uint64_t, const char*> names{{0x0800, "IPv4"}, {0x0806, "ARP"}, {0x86dd, "IPv6"}, {0x8100, "VLAN"}};
    const auto known = names.find(value);
    return QStringLiteral("0x%1%2").arg(value, 4, 16, QChar('0')).arg(known == names.end() ? QString() : QStringLiteral(" %1").arg(known->second));
}

/// include/uapi/linux/if_packet.h
QString packetTypeText(std::uint64_t value)
{
    static const char* const names[] = {"PACKET_HOST", "PACKET_BROADCAST", "PACKET_MULTICAST", "PACKET_OTHERHOST",
                                        "PACKET_OUTGOING", "PACKET_LOOPBACK"};
    return value < std::size(names) ? QString::fromLatin1(names[value]) : QString::number(value);
}

/// include/linux/skbuff.h
QString summedText(std::uint64_t value)
{
    static const char* const names[] = {"CHECKSUM_NONE", "CHECKSUM_UNNECESSARY", "CHECKSUM_COMPLETE", "CHECKSUM_PARTIAL"};
    return value < std::size(names) ? QString::fromLatin1(names[value]) : QString::number(value);
}

QString valueText(const Trace& trace, SkbField field, std::uint64_t value)
{
    switch (field) {
    case SkbField::data:
    case SkbField::tail:
    case SkbField::end: return QStringLiteral("head + %1").arg(value);
    case SkbField::mac_header:
    case SkbField::network_header:
    case SkbField::transport_header:
        return value == not_set ? QObject::tr("not set") : QStringLiteral("head + %1").arg(value);
    case SkbField::protocol: return value == 0 ? QObject::tr("not set") : protocolText(value);
    case SkbField::pkt_type: return packetTypeText(value);
    case SkbField::ip_summed: return summedText(value);
    case SkbField::device:
        return value != 0 && value < trace.devices().size() ? text(trace.devices()[value].name) : QObject::tr("none");
    case SkbField::hash: return value == 0 ? QObject::tr("not computed") : QStringLiteral("0x%1").arg(value, 8, 16, QChar('0'));
    case SkbField::mark: return QStringLiteral("0x%1").arg(value, 0, 16);
    case SkbField::destination:
        return value != 0 && value < trace.notes().size() ? text(trace.notes()[value]) : QObject::tr("none yet: not routed");
    case SkbField::socket:
        return value != 0 && value < trace.queues().size() ? text(trace.queues()[value].name).remove(QStringLiteral(" receive queue"))
                                                           : QObject::tr("none");
    default: return QString::number(value);
    }
}

} // namespace

std::vector<SkbPart> skbParts(const SkbImage& image)
{
    const auto data = image.of(SkbField::data);
    const auto tail = image.of(SkbField::tail);
    if (!data || !tail || *tail < *data) {
        return {};
    }
    const std::uint64_t end = std::max(image.of(SkbField::end).value_or(*tail), *tail);
    const Layers layers = layersOf(image);
    auto mac = header(image, SkbField::mac_header);
    auto network = header(image, SkbField::network_header);
    auto transport = header(image, SkbField::transport_header);
    // A header that nobody has marked yet is there all the same, if its bytes lie in the data: the driver's frame before
    // eth_type_trans, the IP header before __netif_receive_skb_core.
    const auto inData = [&](std::uint64_t offset) { return offset >= *data && offset < *tail; };
    if (!mac && !network && !transport && image.frame.size() == *tail - *data) {
        mac = data;
    }
    if (mac && !network && !layers.network.isEmpty() && inData(*mac + layers.macLength)) {
        network = *mac + layers.macLength;
    }
    if (network && (!transport || *transport <= *network) && inData(*network + layers.networkLength)) {
        transport = *network + layers.networkLength;
    }

    // Where each header ends: at the next one that is set, else by its own length.
    struct Mark {
        std::uint64_t from, to;
        SkbPart::Kind kind;
        QString name;
    };
    std::vector<Mark> marks;
    if (mac && *mac < *tail && (!network || *mac < *network)) {
        const std::uint64_t to = *mac + layers.macLength;
        marks.push_back({*mac, network ? std::min(to, *network) : to, SkbPart::Kind::mac, layers.mac});
    }
    if (network && *network < *tail) {
        const std::uint64_t to = *network + layers.networkLength;
        marks.push_back({*network, transport && *transport > *network ? std::min(to, *transport) : to, SkbPart::Kind::network, layers.network});
    }
    if (transport && *transport < *tail && (!network || *transport > *network) && layers.transportLength != 0) {
        marks.push_back({*transport, *transport + layers.transportLength, SkbPart::Kind::transport, layers.transport});
    }
    std::vector<SkbPart> parts;
    std::uint64_t at = 0;
    const auto add = [&](SkbPart::Kind kind, const QString& name, std::uint64_t to) {
        if (to > at) {
            parts.push_back({kind, name, at, to});
            at = to;
        }
    };
    const std::uint64_t firstByte = marks.empty() ? *data : std::min(*data, marks.front().from);
    add(SkbPart::Kind::headroom, QStringLiteral("headroom"), std::min(firstByte, *tail));
    for (const Mark& mark : marks) {
        if (mark.from > at) {
            // Between data and a header that is not known to start right there: bytes whose meaning is not set yet.
            add(SkbPart::Kind::payload, QStringLiteral("data"), std::min(mark.from, *tail));
        }
        add(mark.kind, mark.name, std::min(mark.to, *tail));
    }
    add(SkbPart::Kind::payload, marks.empty() ? QStringLiteral("data") : QStringLiteral("payload"), *tail);
    add(SkbPart::Kind::tailroom, QStringLiteral("tailroom"), end);
    if (image.of(SkbField::end)) {
        // sizeof(struct skb_shared_info) on x86-64, include/linux/skbuff.h
        parts.push_back({SkbPart::Kind::shinfo, QStringLiteral("shinfo"), end, end + 320});
    }
    return parts;
}

QString changesText(const Trace& trace, const std::vector<FieldChange>& changes)
{
    QStringList words;
    for (const FieldChange& change : changes) {
        const QString name = fieldName(change.field);
        if (change.field == SkbField::bytes) {
            words << (change.length == 1 ? QObject::tr("byte %1 changed").arg(change.offset)
                                         : QObject::tr("bytes %1–%2 changed").arg(change.offset).arg(change.offset + change.length - 1));
        } else if (isOffset(change.field) || change.field == SkbField::len || change.field == SkbField::data_len ||
                   change.field == SkbField::truesize || change.field == SkbField::users) {
            if (change.after >= change.before) {
                words << (change.before == 0 ? QStringLiteral("%1 = %2").arg(name).arg(change.after)
                                             : QStringLiteral("%1 += %2").arg(name).arg(change.after - change.before));
            } else {
                words << QStringLiteral("%1 −= %2").arg(name).arg(change.before - change.after);
            }
        } else if (isHeaderOffset(change.field)) {
            words << (change.after == not_set ? QObject::tr("%1 cleared").arg(name) : QObject::tr("%1 set").arg(name));
        } else {
            words << QStringLiteral("%1 = %2").arg(name, valueText(trace, change.field, change.after));
        }
    }
    words.removeDuplicates();
    return words.join(QStringLiteral(", "));
}

std::vector<SkbFieldRow> skbFields(const Trace& trace, const SkbImage& image)
{
    static constexpr SkbField order[] = {
        SkbField::len, SkbField::data_len, SkbField::truesize, SkbField::protocol, SkbField::pkt_type, SkbField::ip_summed,
        SkbField::device, SkbField::hash, SkbField::destination, SkbField::socket, SkbField::mac_header,
        SkbField::network_header, SkbField::transport_header, SkbField::mark, SkbField::priority, SkbField::queue_mapping,
        SkbField::users};
    std::vector<SkbFieldRow> rows;
    for (const SkbField field : order) {
        const auto value = image.of(field);
        const bool changed = std::any_of(image.changed_here.begin(), image.changed_here.end(),
                                         [&](const FieldChange& change) { return change.field == field; });
        // Zeros that say nothing are left out, unless this step made them so.
        const bool silent = value && *value == 0 &&
                            (field == SkbField::data_len || field == SkbField::mark || field == SkbField::priority ||
                             field == SkbField::queue_mapping || field == SkbField::socket);
        if (!value || (silent && !changed)) {
            continue;
        }
        rows.push_back({field == SkbField::device ? QStringLiteral("dev")
                        : field == SkbField::destination ? QStringLiteral("dst")
                        : field == SkbField::socket ? QStringLiteral("sk") : fieldName(field),
                        valueText(trace, field, *value), changed});
    }
    return rows;
}

// ---- the drawing -------------------------------------------------------------------------------------------------

SkbDrawing::SkbDrawing(QWidget* parent) : QWidget(parent)
{
    setFixedHeight(72);
    setAccessibleName(tr("The packet's memory"));
    connect(&Theme::instance(), &Theme::changed, this, qOverload<>(&QWidget::update));
}

void SkbDrawing::setImage(const SkbImage& image)
{
    m_image = image;
    m_parts = skbParts(image);
    update();
}

std::vector<qreal> SkbDrawing::edges() const
{
    // Not to scale: each part is wide enough for its name, and a longer one is wider, by the root of its length.
    const QFontMetrics metrics(Theme::sans(11));
    std::vector<qreal> least;
    std::vector<qreal> weight;
    qreal sumLeast = 0;
    qreal sumWeight = 0;
    for (const SkbPart& part : m_parts) {
        least.push_back(metrics.horizontalAdvance(part.name) + 8);
        weight.push_back(part.kind == SkbPart::Kind::shinfo ? 1 : std::sqrt(static_cast<qreal>(part.to - part.from)));
        sumLeast += least.back();
        sumWeight += weight.back();
    }
    const qreal room = width() - 1;
    const qreal shrink = sumLeast > room ? room / sumLeast : 1;
    const qreal spare = std::max(0.0, room - sumLeast);
    std::vector<qreal> at{0};
    for (std::size_t i = 0; i < m_parts.size(); ++i) {
        at.push_back(at.back() + least[i] * shrink + spare * weight[i] / std::max(1.0, sumWeight));
    }
    return at;
}

std::optional<qreal> SkbDrawing::placeOf(std::uint64_t offset, const std::vector<qreal>& at) const
{
    for (std::size_t i = 0; i < m_parts.size(); ++i) {
        const SkbPart& part = m_parts[i];
        if (offset >= part.from && offset < part.to) {
            return at[i] + (at[i + 1] - at[i]) * static_cast<qreal>(offset - part.from) / static_cast<qreal>(part.to - part.from);
        }
    }
    return !m_parts.empty() && offset == m_parts.back().to ? std::optional(at.back()) : std::nullopt;
}

void SkbDrawing::paintEvent(QPaintEvent*)
{
    if (m_parts.empty()) {
        return;
    }
    QPainter painter(this);
    painter.setRenderHint(QPainter::Antialiasing);
    const Theme& theme = Theme::instance();
    const Colors& c = theme.colors();
    const std::vector<qreal> at = edges();
    constexpr qreal top = 4;
    constexpr qreal high = 34;

    for (std::size_t i = 0; i < m_parts.size(); ++i) {
        const SkbPart& part = m_parts[i];
        QColor fill = c.band;
        QColor ink = c.textMuted;
        switch (part.kind) {
        case SkbPart::Kind::mac: fill = c.flows[3]; ink = c.onFlow; break;
        case SkbPart::Kind::network: fill = c.flows[0]; ink = c.onFlow; break;
        case SkbPart::Kind::transport: fill = c.flows[2]; ink = c.onFlow; break;
        case SkbPart::Kind::payload: fill = c.gauge; ink = c.text; break;
        default: break;
        }
        // A header in front of data has been taken off: still in memory, but no longer part of the packet's data.
        const auto first = m_image.of(SkbField::data);
        const bool pulled = first && part.to <= *first && part.kind != SkbPart::Kind::headroom;
        const QRectF box(at[i], top, at[i + 1] - at[i], high);
        if (pulled) {
            QColor pale = fill;
            pale.setAlphaF(0.38F);
            painter.fillRect(box, pale);
            ink = c.text;
        } else {
            painter.fillRect(box, fill);
        }
        painter.setPen(QPen(c.panel, 1));
        painter.drawLine(QPointF(box.right(), top), QPointF(box.right(), top + high));
        painter.setPen(ink);
        painter.setFont(Theme::sans(11, QFont::Medium));
        painter.drawText(box.adjusted(2, 3, -2, -14), Qt::AlignCenter, painter.fontMetrics().elidedText(part.name, Qt::ElideRight, static_cast<int>(box.width()) - 2));
        if (part.kind != SkbPart::Kind::shinfo) {
            QColor soft = ink;
            soft.setAlphaF(0.85F);
            painter.setPen(soft);
            painter.setFont(Theme::sans(10));
            painter.drawText(box.adjusted(2, 17, -2, -2), Qt::AlignCenter, QString::number(part.to - part.from));
        }
    }
    painter.setBrush(Qt::NoBrush);
    painter.setPen(QPen(c.border, 1));
    painter.drawRect(QRectF(0.5, top + 0.5, at.back() - 0.5, high - 1));

    // The pointers, their words pushed apart where they would touch.
    struct Pointer {
        QString name;
        qreal x;
        bool changed;
        qreal left = 0;
        qreal width = 0;
    };
    std::vector<Pointer> pointers{{QStringLiteral("head"), 0.5, false}};
    for (const auto& [field, name] : {std::pair{SkbField::data, "data"}, {SkbField::tail, "tail"}, {SkbField::end, "end"}}) {
        const auto offset = m_image.of(field);
        const auto x = offset ? placeOf(*offset, at) : std::nullopt;
        if (x) {
            const bool changed = std::any_of(m_image.changed_here.begin(), m_image.changed_here.end(),
                                             [f = field](const FieldChange& change) { return change.field == f; });
            pointers.push_back({QString::fromLatin1(name), std::clamp(*x, 0.5, width() - 1.0), changed});
        }
    }
    const QFont font = Theme::mono(12, QFont::Medium);
    const QFontMetrics metrics(font);
    qreal reached = 0;
    for (Pointer& pointer : pointers) {
        pointer.width = metrics.horizontalAdvance(pointer.name);
        pointer.left = std::max(reached, pointer.x - pointer.width / 2);
        reached = pointer.left + pointer.width + 8;
    }
    qreal limit = width();
    for (auto pointer = pointers.rbegin(); pointer != pointers.rend(); ++pointer) {
        pointer->left = std::max(0.0, std::min(pointer->left, limit - pointer->width));
        limit = pointer->left - 8;
    }
    painter.setFont(font);
    for (const Pointer& pointer : pointers) {
        const QColor color = pointer.changed ? c.good : c.accent;
        painter.setPen(QPen(color, 2));
        painter.drawLine(QPointF(pointer.x, top + high), QPointF(pointer.x, top + high + 12));
        painter.setPen(color);
        painter.drawText(QRectF(pointer.left, top + high + 13, pointer.width + 2, 18), Qt::AlignLeft | Qt::AlignVCenter, pointer.name);
    }
}

bool SkbDrawing::event(QEvent* event)
{
    if (event->type() != QEvent::ToolTip || m_parts.empty()) {
        return QWidget::event(event);
    }
    const auto* help = static_cast<QHelpEvent*>(event);
    const std::vector<qreal> at = edges();
    for (std::size_t i = 0; i < m_parts.size(); ++i) {
        if (help->pos().x() >= at[i] && help->pos().x() < at[i + 1]) {
            const SkbPart& part = m_parts[i];
            QToolTip::showText(help->globalPos(),
                               tr("%1: %2, from head + %3\nNot drawn to scale.").arg(part.name, counted(part.to - part.from, "byte", "bytes")).arg(part.from),
                               this);
        }
    }
    return true;
}

// ---- the fields --------------------------------------------------------------------------------------------------

namespace {
constexpr int field_height = 20;
}

SkbFieldTable::SkbFieldTable(QWidget* parent) : QWidget(parent)
{
    setAccessibleName(tr("Fields of the sk_buff"));
    connect(&Theme::instance(), &Theme::changed, this, qOverload<>(&QWidget::update));
}

void SkbFieldTable::setRows(std::vector<SkbFieldRow> rows)
{
    m_rows = std::move(rows);
    setFixedHeight(static_cast<int>(m_rows.size()) * field_height);
    update();
}

void SkbFieldTable::paintEvent(QPaintEvent*)
{
    QPainter painter(this);
    const Colors& c = Theme::instance().colors();
    const QFont font = Theme::mono(12);
    const int column = QFontMetrics(font).horizontalAdvance(QStringLiteral("transport_header")) + 14;
    int y = 0;
    for (const SkbFieldRow& row : m_rows) {
        painter.setFont(font);
        painter.setPen(c.textMuted);
        painter.drawText(QRect(0, y, column, field_height), Qt::AlignVCenter, row.name);
        painter.setFont(row.changed ? Theme::mono(12, QFont::DemiBold) : font);
        painter.setPen(row.changed ? c.good : c.text);
        painter.drawText(QRect(column, y, width() - column, field_height), Qt::AlignVCenter,
                         painter.fontMetrics().elidedText(row.value, Qt::ElideRight, width() - column));
        y += field_height;
    }
}

// ---- together ----------------------------------------------------------------------------------------------------

SkbView::SkbView(QWidget* parent) : QWidget(parent)
{
    auto* outer = new QVBoxLayout(this);
    outer->setContentsMargins(0, 0, 0, 0);
    m_scroll = new QScrollArea(this);
    m_scroll->setWidgetResizable(true);
    m_scroll->setFrameShape(QFrame::NoFrame);
    m_scroll->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    m_scroll->setAccessibleName(tr("The sk_buff and its journey so far"));
    m_scroll->setProperty("reading", true);
    outer->addWidget(m_scroll);
    auto* page = new QWidget(m_scroll);
    m_scroll->setWidget(page);
    auto* column = new QVBoxLayout(page);
    column->setContentsMargins(0, 0, 4, 8);
    column->setSpacing(6);

    m_nothing = new Label({}, Tone::muted, page);
    m_nothing->setWordWrap(true);
    column->addWidget(m_nothing);
    m_drawing = new SkbDrawing(page);
    column->addWidget(m_drawing);
    m_changed = new Label({}, Tone::good, Theme::sans(12), page);
    m_changed->setWordWrap(true);
    m_changed->setAlignment(Qt::AlignLeft | Qt::AlignTop);
    // Room for two lines, so that nothing below jumps from step to step.
    m_changed->setMinimumHeight(QFontMetrics(Theme::sans(12)).lineSpacing() * 2 + 2);
    column->addWidget(m_changed);
    m_fields = new SkbFieldTable(page);
    column->addWidget(m_fields);
    m_column = column;

    m_journeyHead = new QWidget(page);
    auto* head = new QHBoxLayout(m_journeyHead);
    head->setContentsMargins(0, 0, 0, 0);
    head->addWidget(new Label(tr("Journey so far"), Tone::normal, Theme::sans(13, QFont::DemiBold), m_journeyHead));
    head->addStretch();
    head->addWidget(new Label(tr("run ■  wait ▨"), Tone::muted, Theme::sans(11), m_journeyHead));
    column->addWidget(m_journeyHead);
    m_journey = new JourneyView(JourneyView::Extent::until_now, page);
    column->addWidget(m_journey);
    column->addStretch();
}

void SkbView::fitJourney()
{
    // As many of the newest lines as there is room for: the drawing above must not scroll away while a packet moves.
    constexpr int row = 19, least_rows = 5, head = 56;
    const int above = (m_drawing->isHidden() ? 0 : m_drawing->height() + 6) + (m_changed->isHidden() ? 0 : m_changed->minimumHeight() + 6) +
                      m_fields->height() + (m_nothing->isHidden() ? 0 : 44) + head;
    // Where the fields would push it below the fold, the journey goes above them: they change less.
    const bool first = height() < above + least_rows * row;
    const bool isFirst = m_column->indexOf(m_journey) < m_column->indexOf(m_fields);
    if (first != isFirst) {
        m_column->removeWidget(m_fields);
        m_column->insertWidget(m_column->indexOf(first ? static_cast<QWidget*>(m_journey) : m_journeyHead) + (first ? 1 : 0), m_fields);
    }
    m_journey->setLimit(std::max(least_rows, (height() - above) / row));
}

void SkbView::resizeEvent(QResizeEvent* event)
{
    QWidget::resizeEvent(event);
    fitJourney();
}

void SkbView::setSession(Session* session)
{
    m_session = session;
    m_packet = PacketId::none;
    m_event = 0;
    m_journey->setSession(session);
    refresh();
}

void SkbView::refresh()
{
    m_journey->refresh();
    const PacketId packet = m_session == nullptr ? PacketId::none : m_session->selection().packet;
    const bool known = packet != PacketId::none && m_session->trace().has_packet(packet);
    m_journeyHead->setVisible(known);
    if (!known) {
        m_packet = PacketId::none;
        m_image = {};
        m_nothing->setText(tr("No packet is selected. Click one on the map, or press Shift+→ for the next."));
        m_nothing->show();
        m_drawing->hide();
        m_changed->hide();
        m_fields->setRows({});
        return;
    }
    const auto last = m_session->lastEventOf(packet);
    const std::size_t event = last ? *last + std::size_t{1} : 0;
    if (packet == m_packet && event == m_event && m_traceEvents == m_session->trace().size()) {
        return;
    }
    m_packet = packet;
    m_event = event;
    m_traceEvents = m_session->trace().size();
    m_image = event == 0 ? SkbImage{}
                         : skb_image(m_session->trace(), packet, m_session->journeys().events_of(packet), event - 1);
    const bool drawn = !skbParts(m_image).empty();
    const std::vector<SkbFieldRow> fields = skbFields(m_session->trace(), m_image);
    m_drawing->setVisible(drawn);
    m_drawing->setImage(m_image);
    m_nothing->setVisible(!drawn);
    m_nothing->setText(event == 0 ? tr("The packet is not born yet at this moment.")
                       : m_session->trace().info.observed || m_session->trace().field_changes().empty()
                           ? tr("This recording does not say where the sk_buff's pointers stand: its probes did not read them.")
                       : m_session->trace().packet(packet).sent_here
                           ? tr("The packet has no sk_buff here: none is allocated yet, or it is already freed.")
                           : tr("The packet has no sk_buff here: it is still in the card's hands, or already freed."));
    const QString changes = changesText(m_session->trace(), m_image.changed_here);
    m_changed->setTone(changes.isEmpty() ? Tone::muted : Tone::good);
    m_changed->setText(changes.isEmpty() ? tr("nothing changed here") : tr("changed here: %1").arg(changes));
    m_changed->setVisible(drawn || !changes.isEmpty());
    m_fields->setRows(fields);
    fitJourney();
}

QString SkbView::asText() const
{
    QString out;
    for (const SkbFieldRow& row : m_fields->rows()) {
        out += QStringLiteral("%1 %2\n").arg(row.name, -18).arg(row.value);
    }
    return out;
}

} // namespace skbscope::ui
