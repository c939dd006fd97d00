#include "ui/map/map_view.h"

#include "ui/player/format.h"
#include "ui/theme/theme.h"

#include <QAccessible>
#include <QHelpEvent>
#include <QKeyEvent>
#include <QMouseEvent>
#include <QPainter>
#include <QPainterPath>
#include <QToolTip>
#include <algorithm>
#include <cmath>

namespace skbscope::ui {

namespace {

// Detail is dropped by rule, so that a crowd stays readable and fast.
constexpr std::size_t numbers_up_to = 300; ///< tokens; more: without numbers
constexpr std::size_t full_size_up_to = 1500;
constexpr qreal token_width = 30, token_height = 17, token_radius = 4.5;

const Colors& colors()
{
    return Theme::instance().colors();
}

QColor faded(QColor color, qreal alpha)
{
    color.setAlphaF(static_cast<float>(alpha));
    return color;
}

QColor mixed(const QColor& a, const QColor& b, qreal share)
{
    const auto mix = [&](int x, int y) { return static_cast<int>(std::lround(x + (y - x) * share)); };
    return {mix(a.red(), b.red()), mix(a.green(), b.green()), mix(a.blue(), b.blue())};
}

QString elided(const QFont& font, const QString& text, qreal width)
{
    return QFontMetricsF(font).elidedText(text, Qt::ElideRight, std::max<qreal>(0, width));
}

void arrowHead(QPainter& p, QPointF tip, QPointF from, qreal size, const QColor& color)
{
    const QLineF line(from, tip);
    if (line.length() < 0.5) {
        return;
    }
    const QPointF along = (tip - from) / line.length();
    const QPointF across(-along.y(), along.x());
    QPainterPath head(tip);
    head.lineTo(tip - along * size + across * size * 0.5);
    head.lineTo(tip - along * size - across * size * 0.5);
    head.closeSubpath();
    p.fillPath(head, color);
}

QString shortContext(Context context)
{
    switch (context) {
    case Context::process: return QStringLiteral("process");
    case Context::softirq: return QStringLiteral("softirq");
    case Context::hardirq: return QStringLiteral("hardirq");
    case Context::nmi: return QStringLiteral("NMI");
    }
    return {};
}

bool isRoom(const Room& room, const char* key)
{
    return room.key == key;
}

} // namespace

MapView::MapView(Session* session, QWidget* parent) : QWidget(parent)
{
    setMouseTracking(true);
    // A click must not take the arrow keys from the player; Tab does.
    setFocusPolicy(Qt::TabFocus);
    setAttribute(Qt::WA_OpaquePaintEvent);
    setAccessibleName(tr("Map of the network stack"));
    setAccessibleDescription(tr("Rooms that packets pass. Arrow keys move between rooms, Enter selects one."));
    connect(&Theme::instance(), &Theme::changed, this, [this] {
        m_fixedDirty = true;
        m_stamps.clear();
        update();
    });
    setSession(session);
}

MapView::~MapView() = default;

void MapView::setSession(Session* session)
{
    if (m_session != nullptr) {
        disconnect(m_session, nullptr, this, nullptr);
    }
    m_session = session;
    m_scene.reset();
    m_hover = {};
    m_fixedDirty = true;
    if (session != nullptr) {
        m_scene = std::make_unique<MapScene>(*session);
        connect(session, &Session::playheadMoved, this, &MapView::changed);
        connect(session, &Session::traceGrown, this, &MapView::changed);
        connect(session, &Session::selectionChanged, this, qOverload<>(&QWidget::update));
        connect(session, &Session::traceReplaced, this, &MapView::forgetTrace);
        connect(session, &QObject::destroyed, this, [this] {
            m_scene.reset();
            m_fixedDirty = true;
            update();
        });
    }
    changed();
}

void MapView::changed()
{
    m_sceneDirty = true;
    update();
}

void MapView::forgetTrace()
{
    m_scene->reset();
    m_fixedDirty = true;
    changed();
}

void MapView::setPointedAt(const std::vector<RoomId>& rooms)
{
    m_pointedAt = rooms;
    update();
}

void MapView::sync()
{
    if (!m_layout || m_layout->size() != QSizeF(size())) {
        m_layout = std::make_unique<MapLayout>(QSizeF(size()));
        m_fixedDirty = true;
        m_sceneDirty = true;
        m_stamps.clear();
    }
    if (!m_sceneDirty || !m_scene) {
        return;
    }
    m_sceneDirty = false;
    m_fixedDirty |= m_scene->learn();
    const Source& source = m_session->source();
    const bool more = source.kind() == Source::Kind::model && !source.exhausted();
    m_fixedDirty |= more != m_moreToCome;
    m_moreToCome = more;
    m_scene->build(*m_layout);
    m_crowded = m_scene->tokens().size() > numbers_up_to;
    // Slots belong to the fixed layer; their number follows limits and crowds.
    quint64 key = 14695981039346656037ULL;
    for (const MapTray& tray : m_scene->trays()) {
        for (const quint64 part : {static_cast<quint64>(to_index(tray.queue)), static_cast<quint64>(tray.slotCount),
                                   static_cast<quint64>(tray.slotWidth * 16), static_cast<quint64>(tray.limit), static_cast<quint64>(tray.used)}) {
            key = (key ^ part) * 1099511628211ULL;
        }
    }
    m_fixedDirty |= key != m_fixedKey;
    m_fixedKey = key;
}

const MapScene& MapView::scene()
{
    sync();
    return *m_scene;
}

const MapLayout& MapView::layoutNow()
{
    sync();
    return *m_layout;
}

std::vector<PacketId> MapView::tokensIn(RoomId room)
{
    return scene().tokensIn(room);
}

QRectF MapView::roomRect(RoomId room)
{
    return layoutNow().room(room);
}

QRectF MapView::tokenRect(PacketId packet)
{
    const MapToken* token = scene().token(packet);
    if (token == nullptr || token->hidden) {
        return {};
    }
    QRectF rect(QPointF(), tokenSize(*token));
    rect.moveCenter(token->centre);
    return rect;
}

// ---- the fixed layer ---------------------------------------------------------------------------------------------------

QString MapView::titleOf(const Room& room) const
{
    const QString title = text(room.title);
    if (!m_scene) {
        return title;
    }
    if (isRoom(room, "softirq")) {
        return tr("Softirq"); // its second line is ksoftirqd's
    }
    const RoomUse& use = m_scene->use(room.id);
    if ((isRoom(room, "app_rx") || isRoom(room, "app_tx")) && use.task != TaskId::none && !use.severalTasks) {
        const TaskRecord& task = m_session->trace().task(use.task);
        return task.name.empty() ? title : text(task.name);
    }
    return title;
}

QString MapView::functionOf(const Room& room) const
{
    if (!m_scene) {
        return text(room.function);
    }
    const RoomUse& use = m_scene->use(room.id);
    if (use.shownSeen || use.first == FunctionId::none) {
        const FunctionId id = Catalog::find_function(room.function);
        return use.shownSeen && id != FunctionId::none ? text(m_session->trace().function_name(id)) : text(room.function);
    }
    return text(m_session->trace().function_name(use.first));
}

QColor MapView::faintText() const
{
    return m_moreToCome ? mixed(colors().textFaint, colors().textMuted, 0.55) : colors().textFaint;
}

bool MapView::lit(RoomId room) const
{
    if (!m_scene || !m_scene->anythingUsed() || m_scene->use(room).used) {
        return true;
    }
    // Nobody runs on the wire; it is in use when a ring at its ends is.
    const auto used = [&](const char* key) { return m_scene->use(Catalog::find_room(key)).used; };
    return Catalog::room(room).key == "wire" && (used("rx_ring") || used("tx_ring"));
}

bool MapView::lit(const MapLink& link) const
{
    if (!m_scene || !m_scene->anythingUsed()) {
        return true;
    }
    if (m_scene->wentFrom(link.from, link.to) || (link.bothWays && m_scene->wentFrom(link.to, link.from))) {
        return true;
    }
    // A room on a main way may hold nothing of its own to run (a hook without hook functions, a bypassed qdisc): the way
    // through it is lit when something before and something behind it ran.
    static constexpr std::array<std::string_view, 10> receive{"rx_ring", "napi_poll", "gro", "core_receive", "ip_rcv", "pre_routing",
                                                              "route_in", "local_in", "udp_rx", "socket_rx_queue"};
    static constexpr std::array<std::string_view, 10> send{"socket_tx", "udp_tx", "local_out", "ip_output", "post_routing", "neighbour",
                                                           "qdisc", "transmit", "tx_ring", "wire"};
    for (const auto& way : {receive, send}) {
        const auto from = std::find(way.begin(), way.end(), Catalog::room(link.from).key);
        const auto to = std::find(way.begin(), way.end(), Catalog::room(link.to).key);
        if (from == way.end() || to == way.end() || to != from + 1) {
            continue;
        }
        // The ends of the send column are busy without any packet: sockets are made there, and the wire is shared.
        // And output looks a route up in a room of the receive column, without any packet that came in.
        const bool receiving = way.front() == "rx_ring";
        const auto used = [&](std::string_view key) {
            const RoomId room = Catalog::find_room(key);
            const bool belowIp = key == "rx_ring" || key == "napi_poll" || key == "gro" || key == "core_receive";
            return key != "socket_tx" && key != "wire" && (receiving && !belowIp ? m_scene->visited(room) : lit(room));
        };
        if (*from == "socket_tx") {
            return used(*to);
        }
        return *to == "wire" ? used(*from) : std::any_of(way.begin(), to, used) && std::any_of(to, way.end(), used);
    }
    // Ways that are walked without a packet in hand, or that no packet walks.
    static constexpr std::array<std::string_view, 5> helpers{"route_out", "egress", "net_tx", "softirq", "app_tx"};
    const bool helper = std::find(helpers.begin(), helpers.end(), Catalog::room(link.to).key) != helpers.end() ||
                        std::find(helpers.begin(), helpers.end(), Catalog::room(link.from).key) != helpers.end();
    const bool toApplication = Catalog::room(link.to).key == "app_rx" || Catalog::room(link.from).key == "wire";
    return (helper || toApplication || link.style != MapLink::Style::path) && lit(link.from) && lit(link.to);
}

qreal MapView::textRight(RoomId room) const
{
    return m_layout->content(room).right() - 4 * m_layout->scale();
}

void MapView::paintFixed()
{
    const qreal dpr = devicePixelRatioF();
    m_fixed = QPixmap((QSizeF(size()) * dpr).toSize());
    m_fixed.setDevicePixelRatio(dpr);
    m_fixed.fill(colors().map);
    QPainter p(&m_fixed);
    p.setRenderHint(QPainter::Antialiasing);
    paintBands(p);
    paintLinks(p);
    for (const Room& room : Catalog::rooms()) {
        if (room.id != RoomId::none) {
            paintRoom(p, room);
        }
    }
    m_fixedDirty = false;
}

void MapView::paintBands(QPainter& p) const
{
    const qreal s = m_layout->scale();
    QFont font = Theme::sans(std::max(8.0, 9.2 * s), QFont::DemiBold);
    font.setLetterSpacing(QFont::AbsoluteSpacing, 0.6 * s);
    p.setFont(font);
    for (int row = 0; row < MapLayout::rows; ++row) {
        const QRectF band = m_layout->band(row);
        if (row % 2 == 0) {
            p.fillRect(band, colors().band);
        }
        p.setPen(colors().textMuted);
        p.drawText(band.adjusted(10 * s, 5 * s, 0, 0), Qt::AlignLeft | Qt::AlignTop, MapLayout::bandTitle(row));
    }
}

void MapView::paintLinks(QPainter& p) const
{
    const qreal s = m_layout->scale();
    const qreal head = 6.5 * s;
    // Faint ones first, so that a used way lies on top where lines cross.
    for (const bool bright : {false, true}) {
        for (const MapLink& link : m_layout->links()) {
            const bool used = this->lit(link);
            if (used != bright) {
                continue;
            }
            QColor color = used ? colors().line : colors().lineFaint;
            Qt::PenStyle style = Qt::SolidLine;
            if (link.style == MapLink::Style::signal) {
                color = used ? colors().hardirq : mixed(colors().lineFaint, colors().hardirq, 0.35);
                style = Qt::CustomDashLine;
            } else if (link.style == MapLink::Style::done) {
                style = Qt::CustomDashLine;
            }
            QPen pen(color, std::max(1.0, 1.3 * s));
            if (style == Qt::CustomDashLine) {
                pen.setDashPattern({3, 2.4});
            }
            pen.setJoinStyle(Qt::RoundJoin);
            pen.setCapStyle(Qt::FlatCap);
            QPainterPath path;
            const QPointF tip = link.points.back();
            const QPointF before = link.points[link.points.size() - 2];
            const qreal last = QLineF(before, tip).length();
            const QPointF end = last > head ? tip - (tip - before) * (head * 0.8 / last) : before;
            path.moveTo(link.points.front());
            for (std::size_t i = 1; i < link.points.size(); ++i) {
                // Rounded corners.
                if (i + 1 == link.points.size()) {
                    path.lineTo(end);
                    break;
                }
                const QPointF corner = link.points[i];
                const QLineF in(link.points[i - 1], corner);
                const QLineF out(corner, link.points[i + 1]);
                const qreal r = std::min({5 * s, in.length() / 2, out.length() / 2});
                path.lineTo(in.length() > 0 ? corner - (corner - in.p1()) * (r / in.length()) : corner);
                path.quadTo(corner, out.length() > 0 ? corner + (out.p2() - corner) * (r / out.length()) : corner);
            }
            p.setBrush(Qt::NoBrush);
            p.setPen(pen);
            p.drawPath(path);
            arrowHead(p, tip, before, head, color);
            if (link.bothWays) {
                arrowHead(p, link.points.front(), link.points[1], head, color);
            }
        }
    }
    // The word beside the interrupt's line.
    const RoomId irq = Catalog::find_room("irq");
    if (irq != RoomId::none) {
        const QRectF ring = m_layout->room(Catalog::find_room("rx_ring"));
        const bool used = lit(irq);
        p.setFont(Theme::sans(9.5 * s));
        p.setPen(used ? colors().hardirqText : colors().textFaint);
        p.drawText(QRectF(ring.right() + 6 * s, ring.center().y() - 14 * s, 80 * s, 12 * s), Qt::AlignLeft | Qt::AlignBottom, tr("signal"));
    }
}

void MapView::paintCard(QPainter& p, const QRectF& card, const Room& room, bool used, std::uint8_t contexts) const
{
    const qreal s = m_layout->scale();
    const qreal r = radius::card * s;
    const Colors& c = colors();
    const QRectF box = card.adjusted(0.5, 0.5, -0.5, -0.5);
    QPainterPath shape;
    shape.addRoundedRect(box, r, r);
    if (used && !Theme::instance().isDark()) {
        // The slightest shadow lifts what is in use from the band.
        QPainterPath shadow;
        shadow.addRoundedRect(box.translated(0, 1.2 * s), r, r);
        p.fillPath(shadow, QColor(27, 36, 51, 16));
    }
    const QColor ground = used ? c.card : mixed(c.card, c.band, 0.7);
    p.fillPath(shape, ground);
    // The edge at the left: the contexts that were seen here, the most urgent on top.
    std::vector<QColor> edge;
    if (used) {
        for (int level = 2; level >= 0; --level) {
            if ((contexts & (1U << level)) != 0) {
                edge.push_back(Theme::instance().context(static_cast<Context>(level)));
            }
        }
    }
    if (room.kind == RoomKind::hardware || edge.empty()) {
        edge.assign(1, used ? c.hardware : c.lineFaint);
    }
    p.save();
    p.setClipPath(shape);
    const qreal width = 4.5 * s;
    const qreal part = box.height() / static_cast<qreal>(edge.size());
    for (std::size_t i = 0; i < edge.size(); ++i) {
        p.fillRect(QRectF(box.left(), box.top() + static_cast<qreal>(i) * part, width, part), edge[i]);
    }
    if (isRoom(room, "softirq")) {
        p.fillRect(QRectF(box.left(), box.top(), width * 1.5, box.height()), ground);
        Theme::hatch(p, QRectF(box.left(), box.top(), width * 1.5, box.height()), used ? c.softirq : c.lineFaint, 6 * s);
    }
    p.restore();
    p.setPen(QPen(used ? c.border : mixed(c.border, c.band, 0.45), 1));
    p.setBrush(Qt::NoBrush);
    p.drawPath(shape);
}

void MapView::paintRoom(QPainter& p, const Room& room) const
{
    const QRectF rect = m_layout->room(room.id);
    if (rect.isEmpty()) {
        return;
    }
    const qreal s = m_layout->scale();
    const Colors& c = colors();
    const bool used = lit(room.id);
    const std::uint8_t contexts = m_scene ? m_scene->use(room.id).contexts : std::uint8_t{0};

    if (isRoom(room, "wire")) {
        const QRectF bar(rect.left(), rect.center().y() - 1.5 * s, rect.width(), 3 * s);
        p.setPen(Qt::NoPen);
        p.setBrush(used ? c.hardware : c.lineFaint);
        p.drawRoundedRect(bar, 1.5 * s, 1.5 * s);
        p.setFont(Theme::sans(9.5 * s));
        p.setPen(c.textMuted);
        p.drawText(QRectF(rect.right() + 8 * s, rect.top(), 60 * s, rect.height()), Qt::AlignVCenter | Qt::AlignLeft, tr("wire"));
        return;
    }

    std::vector<const MapTray*> trays;
    if (m_scene) {
        for (const MapTray& tray : m_scene->trays()) {
            if (tray.room == room.id) {
                trays.push_back(&tray);
            }
        }
    }
    if (!trays.empty()) {
        for (const MapTray* tray : trays) {
            const bool inUse = used && (tray->used || trays.size() == 1);
            paintCard(p, tray->card, room, inUse, contexts);
            paintTrayFixed(p, *tray);
        }
        return;
    }

    paintCard(p, rect, room, used, contexts);
    const qreal left = rect.left() + 11 * s;
    const qreal right = textRight(room.id);
    const QFont title = Theme::sans(12 * s, QFont::DemiBold);
    const QFont mono = Theme::mono(10.6 * s);
    const bool twoLines = rect.height() >= 27 * s;
    p.setPen(used ? c.text : faintText());
    p.setFont(title);
    const QRectF top = twoLines ? QRectF(left, rect.top() + 3 * s, right - left, rect.height() / 2 - 2 * s)
                                : QRectF(left, rect.top(), right - left, rect.height());
    p.drawText(top, Qt::AlignLeft | Qt::AlignVCenter, elided(title, titleOf(room), right - left));
    if (twoLines && !isRoom(room, "softirq")) { // its second line moves: ksoftirqd
        p.setPen(used ? c.textMuted : faintText());
        p.setFont(mono);
        p.drawText(QRectF(left, rect.center().y() + 0.5 * s, right - left, rect.height() / 2 - 4 * s), Qt::AlignLeft | Qt::AlignVCenter,
                   elided(mono, functionOf(room), right - left));
    }
}

bool MapView::isFaint(const MapTray& tray) const
{
    if (tray.used || !m_scene->anythingUsed()) {
        return false;
    }
    // The only queue of a room where something ran is as much in use as the room.
    const bool alone = std::count_if(m_scene->trays().begin(), m_scene->trays().end(), [&](const MapTray& t) { return t.room == tray.room; }) == 1;
    return !(alone && m_scene->use(tray.room).used);
}

QString MapView::trayName(const MapTray& tray, qreal width) const
{
    const Trace& trace = m_session->trace();
    const QFontMetricsF metrics(Theme::sans(11.2 * m_layout->scale(), QFont::DemiBold));
    const Room& room = Catalog::room(tray.room);
    QString name = text(trace.queue(tray.queue).name);
    if (room.kind == RoomKind::function || trace.queue(tray.queue).kind == QueueKind::gro_list) {
        return metrics.elidedText(titleOf(room), Qt::ElideRight, width); // a function that keeps a list: its own name
    }
    if (trace.queue(tray.queue).kind == QueueKind::arp_queue) {
        name = QStringLiteral("%1 %2").arg(titleOf(room), name.section(' ', 1));
    }
    const QString first = name.section(' ', 0, 0);
    const QString rest = name.section(' ', 1);
    const bool device = trace.find_device(first.toStdString()) != DeviceId::none;
    if (!name.isEmpty() && !device) {
        name[0] = name[0].toUpper();
    }
    if (metrics.horizontalAdvance(name) <= width) {
        return name;
    }
    // Too long: what sets it apart from its neighbours in the room; alone there, what it is.
    const bool alone = std::count_if(m_scene->trays().begin(), m_scene->trays().end(), [&](const MapTray& t) { return t.room == tray.room; }) == 1;
    const bool placeSaysIt = (device && alone) || trace.queue(tray.queue).kind == QueueKind::backlog || trace.queue(tray.queue).kind == QueueKind::arp_queue;
    return metrics.elidedText(placeSaysIt ? rest : device ? first : name, Qt::ElideRight, width);
}

QString MapView::trayCount(const MapTray& tray) const
{
    const qreal s = m_layout->scale();
    const QueueUnit unit = m_session->trace().queue(tray.queue).unit;
    // A narrow tray shows the level alone; the tooltip has the limit.
    if (tray.card.width() < 140 * s) {
        return unit == QueueUnit::bytes ? bytesText(tray.level) : QString::number(tray.level);
    }
    return levelText(tray.level, tray.limit, unit);
}

void MapView::paintTrayFixed(QPainter& p, const MapTray& tray) const
{
    const qreal s = m_layout->scale();
    const Colors& c = colors();
    const bool faint = isFaint(tray);
    // The name; the count on the right is drawn with what moves.
    const QFont font = Theme::sans(11.2 * s, QFont::DemiBold);
    p.setFont(font);
    p.setPen(faint ? faintText() : c.text);
    const qreal left = tray.card.left() + 11 * s;
    const qreal count = faint ? 0 : QFontMetricsF(Theme::mono(10.6 * s)).horizontalAdvance(trayCount(tray)) + 6 * s;
    const qreal room = tray.card.width() - 18 * s - count;
    p.drawText(QRectF(left, tray.card.top() + 2.5 * s, room, 15 * s), Qt::AlignLeft | Qt::AlignVCenter, trayName(tray, room));
    p.setPen(QPen(faint ? mixed(c.slot, c.band, 0.5) : c.slot, 1));
    p.setBrush(Qt::NoBrush);
    for (int i = 0; i < tray.slotCount; ++i) {
        p.drawRoundedRect(tray.slot(i).adjusted(1.2, 0.5, -1.2, -0.5), radius::slot * s, radius::slot * s);
    }
}

// ---- what moves ------------------------------------------------------------------------------------------------------------

void MapView::paintEvent(QPaintEvent*)
{
    sync();
    const QSize pixels = (QSizeF(size()) * devicePixelRatioF()).toSize();
    if (m_fixedDirty || m_fixed.size() != pixels) {
        paintFixed();
    }
    QPainter p(this);
    p.drawPixmap(0, 0, m_fixed);
    if (!m_scene) {
        return;
    }
    p.setRenderHint(QPainter::Antialiasing);
    paintActivity(p);
    paintTrays(p);
    paintKsoftirqd(p);
    paintSelection(p);
    paintTokens(p);
    paintDrops(p);
}

void MapView::paintActivity(QPainter& p)
{
    const qreal s = m_layout->scale();
    const Colors& c = colors();
    const qreal r = radius::card * s;
    // Rooms on the call path: a breath of the context's colour. Rooms where a call runs: its border too.
    std::vector<const MapActivity*> inner;
    std::vector<std::uint8_t> tinted(Catalog::rooms().size(), 0);
    for (const MapActivity& activity : m_scene->activity()) {
        const QRectF rect = m_layout->room(activity.room);
        if (rect.isEmpty() || Catalog::room(activity.room).key == "wire") {
            continue;
        }
        if (activity.innermost) {
            inner.push_back(&activity);
        }
        auto& done = tinted[to_index(activity.room)];
        const auto bit = static_cast<std::uint8_t>(1U << static_cast<unsigned>(activity.context));
        if ((done & bit) != 0) {
            continue;
        }
        done |= bit;
        p.setPen(Qt::NoPen);
        p.setBrush(faded(Theme::instance().context(activity.context), Theme::instance().isDark() ? 0.13 : 0.09));
        p.drawRoundedRect(rect, r, r);
    }
    for (std::size_t i = 0; i < inner.size(); ++i) {
        const MapActivity& activity = *inner[i];
        const QRectF rect = m_layout->room(activity.room);
        const QColor ring = Theme::instance().context(activity.context);
        p.setPen(QPen(ring, 1.6 * s));
        p.setBrush(Qt::NoBrush);
        p.drawRoundedRect(rect.adjusted(0.5, 0.5, -0.5, -0.5), r, r);

        // Which CPU, in which context: left of the tokens, in two short lines. Several CPUs in one room share the words.
        if (std::any_of(inner.begin(), inner.begin() + static_cast<std::ptrdiff_t>(i),
                        [&](const MapActivity* other) { return other->room == activity.room; })) {
            continue;
        }
        QString numbers = QString::number(to_index(activity.cpu));
        for (std::size_t j = i + 1; j < inner.size(); ++j) {
            if (inner[j]->room == activity.room) {
                numbers += QStringLiteral(", %1").arg(to_index(inner[j]->cpu));
            }
        }
        const Room& room = Catalog::room(activity.room);
        const bool napi = isRoom(room, "napi_poll");
        int standing = 0;
        for (const MapToken& token : m_scene->tokens()) {
            standing += token.kind != MapToken::Kind::waiting && token.kind != MapToken::Kind::ended && token.room == activity.room ? 1 : 0;
        }
        standing = std::min(standing, m_layout->spots(activity.room));
        const bool tray = std::any_of(m_scene->trays().begin(), m_scene->trays().end(), [&](const MapTray& t) { return t.room == activity.room; });
        const qreal width = 42 * s;
        const QRectF content = m_layout->content(activity.room);
        qreal right = napi ? content.right() - 6 * s : content.right() - (standing == 0 ? 6 : standing * 34 + 8) * s;
        const QFont bold = Theme::sans(9.5 * s, QFont::DemiBold);
        const QFont mono = Theme::mono(10.6 * s);
        const QColor ink = Theme::instance().contextText(activity.context);
        // The function that runs right now takes the place of the room's usual one.
        if (!tray && rect.height() >= 27 * s) {
            const QString name = text(m_session->trace().function_name(activity.function));
            const qreal left = rect.left() + 11 * s;
            const QFont title = Theme::sans(12 * s, QFont::DemiBold);
            const qreal titleRight = left + QFontMetricsF(title).horizontalAdvance(titleOf(room)) + 5 * s;
            const bool labelled = right - width > std::min(titleRight, left + 46 * s);
            const qreal stop = napi ? m_layout->spot(activity.room, 0).x() - 18 * s : labelled && right - width > titleRight ? right - width : right;
            const QRectF line(left, rect.center().y() + 0.5 * s, m_layout->content(activity.room).right() - left - 3 * s, rect.height() / 2 - 4 * s);
            QColor ground = mixed(c.card, Theme::instance().context(activity.context), Theme::instance().isDark() ? 0.13 : 0.09);
            p.fillRect(line.adjusted(0, -1, 0, 1), ground);
            p.setFont(mono);
            p.setPen(c.text);
            p.drawText(line, Qt::AlignLeft | Qt::AlignVCenter, elided(mono, name, stop - left - 3 * s));
            if (labelled && !napi && right - width < titleRight) {
                // Only the upper line is free: the CPU alone.
                continue;
            }
            if (!labelled) {
                continue;
            }
        }
        if (tray) {
            // An empty tray lends its slots to the name of what runs.
            const auto shown = std::find_if(m_scene->trays().begin(), m_scene->trays().end(), [&](const MapTray& t) { return t.room == activity.room; });
            if (shown->packets == 0) {
                const QRectF line = shown->slotRow.adjusted(-2 * s, -1, 2 * s, 1);
                p.fillRect(line, mixed(c.card, Theme::instance().context(activity.context), Theme::instance().isDark() ? 0.13 : 0.09));
                const qreal taken = m_layout->room(activity.room).right() - line.right() < 20 * s && standing > 0 ? 34 * s * standing : 0;
                p.setFont(mono);
                p.setPen(c.text);
                p.drawText(line.adjusted(2 * s, 0, 0, 0), Qt::AlignLeft | Qt::AlignVCenter,
                           elided(mono, text(m_session->trace().function_name(activity.function)), line.width() - taken - 4 * s));
            }
            continue;
        }
        p.setFont(bold);
        p.setPen(ink);
        const QRectF words(right - width, rect.top() + 3 * s, width - 2 * s, rect.height() - 6 * s);
        p.drawText(QRectF(words.left() - 20 * s, words.top(), words.width() + 20 * s, words.height() / 2), Qt::AlignRight | Qt::AlignVCenter, tr("CPU %1").arg(numbers));
        p.drawText(QRectF(words.left() - 20 * s, words.center().y(), words.width() + 20 * s, words.height() / 2), Qt::AlignRight | Qt::AlignVCenter, shortContext(activity.context));
    }

    // The NAPI poll encloses most of what receives: it always says which CPUs are in it.
    const RoomId poll = Catalog::find_room("napi_poll");
    QStringList cpus;
    bool here = false;
    for (const MapActivity& activity : m_scene->activity()) {
        const QString cpu = QString::number(to_index(activity.cpu));
        if (activity.room == poll && !cpus.contains(cpu)) {
            cpus << cpu;
        }
        here |= activity.room == poll && activity.innermost;
    }
    if (!cpus.isEmpty() && !here) {
        const QRectF content = m_layout->content(poll);
        p.setFont(Theme::sans(9.5 * s, QFont::DemiBold));
        p.setPen(c.softirqText);
        const QRectF words(content.right() - 70 * s, content.top() + 3 * s, 62 * s, content.height() - 6 * s);
        p.drawText(QRectF(words.left(), words.top(), words.width(), words.height() / 2), Qt::AlignRight | Qt::AlignVCenter, tr("CPU %1").arg(cpus.join(QStringLiteral(", "))));
        p.drawText(QRectF(words.left(), words.center().y(), words.width(), words.height() / 2), Qt::AlignRight | Qt::AlignVCenter, shortContext(Context::softirq));
    }

    if (m_scene->irqMasked()) {
        const QRectF irq = m_layout->room(Catalog::find_room("irq"));
        p.setFont(Theme::sans(9.5 * s));
        p.setPen(c.hardirqText);
        p.drawText(QRectF(irq.right() + 8 * s, irq.top(), 100 * s, irq.height()), Qt::AlignLeft | Qt::AlignVCenter,
                   tr("masked until\nthe poll is done"));
    }
}

void MapView::paintTrays(QPainter& p)
{
    const qreal s = m_layout->scale();
    const Colors& c = colors();
    const QFont figures = Theme::mono(10.6 * s);
    const QFont strong = Theme::mono(10 * s, QFont::Bold);
    for (const MapTray& tray : m_scene->trays()) {
        const QueueUnit unit = m_session->trace().queue(tray.queue).unit;
        const bool alarm = tray.full && tray.level > 0;
        const QFont& font = alarm ? strong : figures;
        if (isFaint(tray)) {
            continue;
        }
        const QString count = trayCount(tray);
        p.setFont(font);
        p.setPen(alarm ? c.drop : c.textMuted);
        p.drawText(QRectF(tray.card.left(), tray.card.top() + 2.5 * s, tray.card.width() - 8 * s, 15 * s), Qt::AlignRight | Qt::AlignVCenter, count);
        // The limit, where it lies among the slots drawn.
        if (unit == QueueUnit::packets && tray.limit > 0 && tray.limit <= static_cast<std::uint64_t>(tray.slotCount) && tray.full) {
            const qreal x = tray.slotRow.left() + static_cast<qreal>(tray.limit) * tray.slotWidth;
            p.fillRect(QRectF(x - 1.25 * s, tray.slotRow.top() - 2 * s, 2.5 * s, tray.slotRow.height() + 4 * s), c.drop);
        }
        const int hidden = tray.hiddenPackets();
        if (hidden > 0) {
            const QFont small = Theme::mono(8.5 * s, QFont::Bold);
            QString more = QStringLiteral("+%1").arg(hidden);
            QRectF slot = tray.slot(tray.slotCount - tray.moreSlots).united(tray.slot(tray.slotCount - 1));
            slot.adjust(1.2, 0, -1.2, 0);
            p.setPen(Qt::NoPen);
            p.setBrush(c.card);
            p.drawRoundedRect(slot, 3 * s, 3 * s);
            p.setBrush(faded(c.accent, 0.16));
            p.drawRoundedRect(slot, 3 * s, 3 * s);
            p.setPen(c.text);
            p.setFont(small);
            p.drawText(slot, Qt::AlignCenter, more);
        }
        // Bytes held against the limit: a thin gauge along the bottom.
        if (unit == QueueUnit::bytes && tray.limit > 0) {
            const QRectF rail(tray.slotRow.left() + 1, tray.card.bottom() - 3 * s, tray.slotRow.width() - 2, 1.8 * s);
            const qreal share = std::min(1.0, static_cast<double>(tray.level) / static_cast<double>(tray.limit));
            if (share > 0) {
                p.setPen(Qt::NoPen);
                p.setBrush(alarm ? c.drop : c.gauge);
                p.drawRoundedRect(QRectF(rail.left(), rail.top(), std::max(2 * s, rail.width() * share), rail.height()), 0.9 * s, 0.9 * s);
            }
        }
    }
}

void MapView::paintKsoftirqd(QPainter& p)
{
    const RoomId softirq = Catalog::find_room("softirq");
    const QRectF rect = m_layout->room(softirq);
    if (rect.isEmpty()) {
        return;
    }
    const qreal s = m_layout->scale();
    const Colors& c = colors();
    const StackState& state = m_session->state();
    const Trace& trace = m_session->trace();
    QString words;
    bool running = false;
    for (std::size_t cpu = 0; cpu < state.cpus().size(); ++cpu) {
        const std::size_t task = to_index(state.cpus()[cpu].task);
        if (task < trace.tasks().size() && trace.tasks()[task].name.starts_with("ksoftirqd")) {
            running = true;
            words = tr("%1 runs").arg(text(trace.tasks()[task].name));
        }
    }
    const bool known = std::any_of(trace.tasks().begin(), trace.tasks().end(), [](const TaskRecord& t) { return t.name.starts_with("ksoftirqd"); });
    if (!running) {
        // What no record says is not said here either: the room's function stands instead.
        words = known || !trace.info.observed ? tr("ksoftirqd asleep") : functionOf(Catalog::room(softirq));
    }
    for (const MapActivity& activity : m_scene->activity()) {
        if (activity.room == softirq && activity.innermost) {
            return; // the running function stands there
        }
    }
    const qreal left = rect.left() + 11 * s;
    const QRectF line(left, rect.center().y() + 0.5 * s, rect.width() - 14 * s, rect.height() / 2 - 4 * s);
    const QFont font = Theme::sans(10 * s, running ? QFont::DemiBold : QFont::Normal);
    p.setFont(font);
    p.setPen(running ? c.softirqText : c.textFaint);
    p.drawText(line, Qt::AlignLeft | Qt::AlignVCenter, elided(font, words, line.width()));
    if (running) {
        p.setPen(QPen(c.softirq, 1.6 * s, Qt::DashLine));
        p.setBrush(Qt::NoBrush);
        p.drawRoundedRect(rect, radius::card * s, radius::card * s);
    }
}

void MapView::paintDrops(QPainter& p)
{
    const qreal s = m_layout->scale();
    const Colors& c = colors();
    for (const MapDrops& drops : m_scene->drops()) {
        const QRectF area = m_layout->drops(drops.room);
        if (area.isEmpty()) {
            continue;
        }
        const QFont bold = Theme::sans(10.5 * s, QFont::Bold);
        const QString count = QStringLiteral("× %1").arg(countText(drops.count));
        const qreal width = std::max(34 * s, QFontMetricsF(bold).horizontalAdvance(count) + 16 * s);
        const qreal height = std::min(15 * s, area.height() * 0.52);
        QString reason = drops.reason == DropReasonId::none ? tr("no reason given") : text(Catalog::drop_reason(drops.reason).name);
        if (drops.reasons > 1) {
            reason += QStringLiteral(" +%1").arg(drops.reasons - 1);
        }
        const QFont mono = Theme::mono(8.4 * s, QFont::Bold);
        const QFontMetricsF metrics(mono);
        QStringList lines{reason};
        if (metrics.horizontalAdvance(reason) > area.width() + 6 * s) {
            const auto cut = reason.indexOf('_', reason.size() / 3);
            if (cut > 0 && area.height() - height > 15 * s) {
                lines = {reason.left(cut + 1), reason.mid(cut + 1)};
            }
        }
        const qreal line = 9 * s;
        qreal y = area.center().y() - (height + line * static_cast<qreal>(lines.size()) + 1 * s) / 2;
        const QRectF pill(area.center().x() - width / 2, y, width, height);
        p.setPen(QPen(c.drop, 1.3 * s));
        p.setBrush(mixed(c.card, c.drop, 0.10));
        p.drawRoundedRect(pill, height / 2, height / 2);
        p.setFont(bold);
        p.setPen(c.drop);
        p.drawText(pill, Qt::AlignCenter, count);
        p.setFont(mono);
        y = pill.bottom() + 1.5 * s;
        for (const QString& part : lines) {
            p.drawText(QRectF(area.left() - 4 * s, y, area.width() + 8 * s, line), Qt::AlignCenter, elided(mono, part, area.width() + 8 * s));
            y += line;
        }
    }
}

QSizeF MapView::tokenSize(const MapToken& token) const
{
    const qreal s = m_layout->scale();
    if (token.kind == MapToken::Kind::waiting) {
        for (const MapTray& tray : m_scene->trays()) {
            if (tray.queue == token.queue) {
                return {tray.slotWidth - 1.6, tray.slotRow.height()};
            }
        }
    }
    if (m_scene->tokens().size() > full_size_up_to) {
        return {9 * s, 9 * s};
    }
    if (m_crowded) {
        return {16 * s, 12 * s};
    }
    return {token_width * s, token_height * s};
}

void MapView::drawStamp(QPainter& p, const QRectF& rect, const MapToken& token, const QString& number, qreal s) const
{
    const Colors& c = colors();
    const QColor flow = Theme::instance().flow(token.flow);
    const qreal r = std::min(token_radius * s, rect.height() * 0.4);
    const bool tiny = rect.height() < 11 * s;
    QColor ink = c.onFlow;
    switch (token.kind) {
    case MapToken::Kind::running: {
        // Solid, ringed in the colour of its context.
        const qreal ring = tiny ? 1.4 * s : 2.4 * s;
        p.setPen(Qt::NoPen);
        p.setBrush(Theme::instance().context(token.context));
        p.drawRoundedRect(rect, r, r);
        p.setBrush(flow);
        p.drawRoundedRect(rect.adjusted(ring, ring, -ring, -ring), std::max(1.0, r - ring), std::max(1.0, r - ring));
        break;
    }
    case MapToken::Kind::waiting:
        // Hollow.
        p.setPen(QPen(flow, 1.5 * s));
        p.setBrush(c.card);
        p.drawRoundedRect(rect.adjusted(0.75 * s, 0.75 * s, -0.75 * s, -0.75 * s), radius::slot * s, radius::slot * s);
        ink = mixed(flow, c.text, 0.25);
        break;
    case MapToken::Kind::parked:
        // In hand, not at work: filled palely.
        p.setPen(QPen(flow, 1.2 * s));
        p.setBrush(mixed(c.card, flow, 0.28));
        p.drawRoundedRect(rect.adjusted(0.75 * s, 0.75 * s, -0.75 * s, -0.75 * s), r, r);
        ink = c.text;
        break;
    case MapToken::Kind::ended: {
        const bool dropped = token.verdict == Verdict::dropped;
        p.setPen(QPen(dropped ? c.drop : c.good, 2 * s));
        p.setBrush(dropped ? mixed(c.card, c.drop, 0.2) : flow);
        p.drawRoundedRect(rect.adjusted(s, s, -s, -s), r, r);
        ink = dropped ? c.drop : c.onFlow;
        break;
    }
    }
    if (number.isEmpty()) {
        return;
    }
    const qreal inner = rect.width() - (token.kind == MapToken::Kind::running ? 6 : 3) * s;
    qreal size = std::min(10.0 * s, rect.height() * 0.72);
    QFont font = Theme::mono(size, token.kind == MapToken::Kind::waiting ? QFont::Normal : QFont::Bold);
    qreal need = QFontMetricsF(font).horizontalAdvance(number);
    if (need > inner) {
        size *= inner / need;
        if (size < 7) {
            return; // unreadable: the tooltip says it
        }
        font = Theme::mono(size, font.weight());
        need = QFontMetricsF(font).horizontalAdvance(number);
        if (need > inner + 2 * s) {
            return;
        }
    }
    p.setFont(font);
    p.setPen(ink);
    p.drawText(rect, Qt::AlignCenter, number);
}

const QPixmap& MapView::stamp(const MapToken& token, bool number)
{
    const QSizeF size = tokenSize(token);
    const auto width = static_cast<quint64>(std::lround(size.width() * 4));
    const quint64 key = (number ? static_cast<quint64>(to_index(token.packet)) << 32 : 0) | width << 16 |
                        static_cast<quint64>(token.kind) << 12 | static_cast<quint64>(token.context) << 8 |
                        static_cast<quint64>(token.verdict == Verdict::dropped) << 7 | static_cast<quint64>(m_crowded) << 6 | token.flow;
    if (QPixmap* known = m_stamps.object(key)) {
        return *known;
    }
    const qreal dpr = devicePixelRatioF();
    auto* pixmap = new QPixmap(((size + QSizeF(2, 2)) * dpr).toSize() + QSize(1, 1));
    pixmap->setDevicePixelRatio(dpr);
    pixmap->fill(Qt::transparent);
    QPainter p(pixmap);
    p.setRenderHint(QPainter::Antialiasing);
    drawStamp(p, QRectF(QPointF(1, 1), size), token, number ? QString::number(to_index(token.packet)) : QString(), m_layout->scale());
    p.end();
    m_stamps.insert(key, pixmap);
    return *pixmap;
}

void MapView::paintTokens(QPainter& p)
{
    const qreal s = m_layout->scale();
    const PacketId selected = m_session->selection().packet;
    const MapToken* chosen = nullptr;
    // Resting ones first, then the moving, then those that end, the selected one last.
    if (m_crowded) {
        // No numbers: few pictures, copied many times to whole device pixels, which needs no interpolation.
        struct Kind {
            quint32 key;
            QPixmap pixmap;
            QPointF half;
        };
        std::vector<Kind> kinds;
        const qreal dpr = devicePixelRatioF();
        for (const MapToken& token : m_scene->tokens()) {
            if (token.packet == selected) {
                chosen = &token;
            }
            if (token.hidden || token.kind == MapToken::Kind::ended) {
                continue;
            }
            const quint32 key = token.flow | static_cast<quint32>(token.kind) << 4 | static_cast<quint32>(token.context) << 8 |
                                (token.kind == MapToken::Kind::waiting ? to_index(token.queue) << 12 : 0);
            auto kind = std::find_if(kinds.begin(), kinds.end(), [&](const Kind& k) { return k.key == key; });
            if (kind == kinds.end()) {
                const QPixmap& pixmap = stamp(token, false);
                const QSizeF size = tokenSize(token);
                kinds.push_back({key, pixmap, {size.width() / 2 + 1, size.height() / 2 + 1}});
                kind = std::prev(kinds.end());
            }
            const QPointF corner = token.centre - kind->half;
            p.drawPixmap(QPointF(std::round(corner.x() * dpr) / dpr, std::round(corner.y() * dpr) / dpr), kind->pixmap);
        }
    } else {
        for (const int pass : {0, 1, 2}) {
            for (const MapToken& token : m_scene->tokens()) {
                const int own = token.kind == MapToken::Kind::ended ? 2 : token.moving || token.kind == MapToken::Kind::running ? 1 : 0;
                if (own != pass || token.hidden) {
                    continue;
                }
                if (token.packet == selected) {
                    chosen = &token;
                    continue;
                }
                const QSizeF half = tokenSize(token) / 2;
                p.setOpacity(token.opacity);
                p.drawPixmap(token.centre - QPointF(half.width() + 1, half.height() + 1), stamp(token, true));
            }
        }
        p.setOpacity(1);
    }
    // Tokens that stand behind others are counted.
    const QFont small = Theme::mono(9 * s, QFont::Bold);
    for (const Room& room : Catalog::rooms()) {
        if (room.id == RoomId::none || room.kind == RoomKind::queue) {
            continue;
        }
        const int hidden = m_scene->hiddenIn(room.id);
        const bool tray = std::any_of(m_scene->trays().begin(), m_scene->trays().end(), [&](const MapTray& t) { return t.room == room.id; });
        if (hidden == 0 || tray) {
            continue;
        }
        const QPointF last = m_layout->spot(room.id, m_layout->spots(room.id) - 1);
        const QString more = QStringLiteral("+%1").arg(hidden);
        const qreal width = QFontMetricsF(small).horizontalAdvance(more) + 8 * s;
        const QRectF badge(last.x() - width / 2, m_layout->room(room.id).top() - 5 * s, width, 12 * s);
        p.setPen(QPen(colors().border, 1));
        p.setBrush(colors().card);
        p.drawRoundedRect(badge, 6 * s, 6 * s);
        p.setFont(small);
        p.setPen(colors().text);
        p.drawText(badge, Qt::AlignCenter, more);
    }
    if (chosen == nullptr || chosen->hidden) {
        return;
    }
    QRectF rect(QPointF(), m_crowded ? QSizeF(token_width * s, token_height * s) : tokenSize(*chosen));
    rect.moveCenter(chosen->centre);
    p.setOpacity(chosen->opacity);
    p.setPen(QPen(faded(colors().accent, 0.45), 3.2 * s));
    p.setBrush(Qt::NoBrush);
    p.drawRoundedRect(rect.adjusted(-2.2 * s, -2.2 * s, 2.2 * s, 2.2 * s), (token_radius + 2) * s, (token_radius + 2) * s);
    drawStamp(p, rect, *chosen, QString::number(to_index(chosen->packet)), s);
    p.setOpacity(1);
}

void MapView::paintSelection(QPainter& p)
{
    const qreal s = m_layout->scale();
    const Colors& c = colors();
    const Selection& selection = m_session->selection();
    const auto outline = [&](const QRectF& rect, const QPen& pen, qreal grow) {
        if (rect.isEmpty()) {
            return;
        }
        p.setPen(pen);
        p.setBrush(Qt::NoBrush);
        p.drawRoundedRect(rect.adjusted(-grow, -grow, grow, grow), (radius::card + grow / s) * s, (radius::card + grow / s) * s);
    };
    for (const RoomId room : m_pointedAt) {
        for (const int ring : {4, 3, 2, 1}) {
            outline(m_layout->room(room), QPen(faded(c.accent, 0.16), 2 * s), ring * 1.3 * s);
        }
        outline(m_layout->room(room), QPen(c.accent, 1.6 * s), 0);
    }
    if (m_hover.room != RoomId::none) {
        outline(m_layout->room(m_hover.room), QPen(faded(c.accent, 0.55), 1.2 * s), -0.5);
    }
    RoomId chosen = selection.room;
    if (chosen == RoomId::none && selection.function != FunctionId::none && to_index(selection.function) < Catalog::function_count()) {
        chosen = Catalog::room_of(selection.function);
    }
    if (chosen != RoomId::none) {
        QRectF rect = m_layout->room(chosen);
        if (selection.queue != QueueId::none) {
            for (const MapTray& tray : m_scene->trays()) {
                rect = tray.queue == selection.queue ? tray.card : rect;
            }
        }
        outline(rect, QPen(c.accent, 2.2 * s), 0);
    }
    if (m_showFocus && m_focus != RoomId::none) {
        QPen pen(c.accent, 1.4 * s, Qt::CustomDashLine);
        pen.setDashPattern({2.5, 2});
        outline(m_layout->room(m_focus), pen, 3.4 * s);
    }
}

// ---- hands -------------------------------------------------------------------------------------------------------------------

MapView::Hit MapView::hit(QPointF point)
{
    sync();
    Hit found;
    if (!m_scene) {
        return found;
    }
    const qreal s = m_layout->scale();
    // The topmost token first.
    const auto& tokens = m_scene->tokens();
    for (auto it = tokens.rbegin(); it != tokens.rend(); ++it) {
        if (it->hidden) {
            continue;
        }
        QRectF rect(QPointF(), tokenSize(*it));
        rect.moveCenter(it->centre);
        if (rect.adjusted(-s, -s, s, s).contains(point)) {
            found.packet = it->packet;
            found.queue = it->queue;
            found.room = it->room;
            return found;
        }
    }
    for (const MapDrops& drops : m_scene->drops()) {
        if (m_layout->drops(drops.room).contains(point)) {
            found.room = drops.room;
            found.drops = true;
            return found;
        }
    }
    found.room = m_layout->roomAt(point);
    for (const MapTray& tray : m_scene->trays()) {
        if (tray.card.contains(point)) {
            found.queue = tray.queue;
        }
    }
    return found;
}

QString MapView::describeRoom(RoomId id)
{
    const Room& room = Catalog::room(id);
    QString html = QStringLiteral("<b>%1</b>").arg(titleOf(room).toHtmlEscaped());
    const QString function = functionOf(room);
    if (!function.isEmpty()) {
        html += QStringLiteral(" &nbsp;<tt>%1</tt>").arg(function.toHtmlEscaped());
    }
    for (const MapTray& tray : m_scene->trays()) {
        if (tray.room == id) {
            const QueueRecord& queue = m_session->trace().queue(tray.queue);
            html += QStringLiteral("<br>%1: %2").arg(text(queue.name).toHtmlEscaped(), levelText(tray.level, tray.limit, queue.unit));
            if (tray.peak > 0) {
                html += tr(", at most %1 so far").arg(queue.unit == QueueUnit::bytes ? bytesText(tray.peak) : countText(tray.peak));
            }
        }
    }
    const QString words = text(room.text);
    // The first two sentences; the inspector has the rest.
    auto end = words.indexOf(QStringLiteral(". "));
    if (end > 0) {
        const auto second = words.indexOf(QStringLiteral(". "), end + 2);
        end = second > 0 && second < 220 ? second : end;
    }
    html += QStringLiteral("<p style='margin-top:6px'>%1</p>").arg((end > 0 ? words.left(end + 1) : words).toHtmlEscaped());
    if (!room.limits.empty()) {
        html += QStringLiteral("<p>%1</p>").arg(text(room.limits).toHtmlEscaped());
    }
    if (m_scene->anythingUsed() && !m_scene->use(id).used) {
        html += QStringLiteral("<p><i>%1</i></p>").arg(tr("Not used in this trace."));
    }
    return html;
}

QString MapView::describe(const Hit& at)
{
    if (at.packet != PacketId::none) {
        const Trace& trace = m_session->trace();
        QString html = QStringLiteral("<b>%1</b>").arg(packetTitle(trace, at.packet).toHtmlEscaped());
        const auto& packets = m_session->state().packets();
        const auto found = packets.find(at.packet);
        if (found == packets.end()) {
            const PacketRecord& record = trace.packet(at.packet);
            html += QStringLiteral("<br>%1").arg(text(to_string(record.verdict)));
            return html;
        }
        const PacketState& state = found->second;
        if (state.where == PacketState::Where::waiting && state.queue != QueueId::none) {
            html += tr("<br>waits in %1").arg(text(trace.queue(state.queue).name).toHtmlEscaped());
            if (trace.info.times_trustworthy && m_session->now() >= state.since) {
                html += tr(" for %1").arg(durationText(m_session->now() - state.since));
            }
        } else if (state.function != FunctionId::none) {
            html += state.where == PacketState::Where::running ? tr("<br>in <tt>%1</tt>")
                    : isHeldInBatch(trace, state)              ? tr("<br>after <tt>%1</tt>, its batch is served")
                                                               : tr("<br>last seen in <tt>%1</tt>");
            html = html.arg(text(trace.function_name(state.function)).toHtmlEscaped());
            html += tr(" · CPU %1 %2").arg(to_index(state.cpu)).arg(contextText(state.context));
        }
        return html;
    }
    if (at.drops) {
        QString html;
        for (const auto& [key, count] : m_session->state().drops()) {
            const RoomId room = Catalog::room_of(key.function);
            if (room == at.room || (room == RoomId::none && Catalog::room(at.room).key == "skb_memory")) {
                html += QStringLiteral("%1<b>× %2 %3</b> in <tt>%4</tt><br>%5")
                            .arg(html.isEmpty() ? QString() : QStringLiteral("<br>"), countText(count),
                                 key.reason == DropReasonId::none ? tr("no reason given") : text(Catalog::drop_reason(key.reason).name),
                                 text(m_session->trace().function_name(key.function)).toHtmlEscaped(),
                                 dropClause(m_session->trace(), key.reason, key.function).toHtmlEscaped());
            }
        }
        return html;
    }
    return at.room == RoomId::none ? QString() : describeRoom(at.room);
}

void MapView::choose(const Hit& at)
{
    if (at.packet != PacketId::none) {
        m_session->selectPacket(at.packet);
        return;
    }
    Selection selection = m_session->selection();
    selection.function = FunctionId::none;
    selection.room = at.room;
    selection.queue = at.queue;
    if (at.drops) {
        for (const MapDrops& drops : m_scene->drops()) {
            if (drops.room == at.room) {
                selection.function = drops.function;
            }
        }
    }
    m_session->select(selection);
}

bool MapView::event(QEvent* event)
{
    if (event->type() == QEvent::ToolTip && m_session != nullptr) {
        const auto* help = static_cast<QHelpEvent*>(event);
        const Hit at = hit(help->pos());
        const QString words = describe(at);
        if (words.isEmpty()) {
            QToolTip::hideText();
            event->ignore();
        } else {
            QToolTip::showText(help->globalPos(), QStringLiteral("<div style='max-width:320px'>%1</div>").arg(words), this);
        }
        return true;
    }
    if (event->type() == QEvent::ShortcutOverride && m_showFocus) {
        const int key = static_cast<QKeyEvent*>(event)->key();
        if (key == Qt::Key_Left || key == Qt::Key_Right || key == Qt::Key_Up || key == Qt::Key_Down || key == Qt::Key_Return || key == Qt::Key_Enter) {
            event->accept();
            return true;
        }
    }
    return QWidget::event(event);
}

void MapView::mousePressEvent(QMouseEvent* event)
{
    if (event->button() != Qt::LeftButton || m_session == nullptr) {
        QWidget::mousePressEvent(event);
        return;
    }
    choose(hit(event->position()));
}

void MapView::mouseDoubleClickEvent(QMouseEvent* event)
{
    if (m_session == nullptr) {
        return;
    }
    const Hit at = hit(event->position());
    if (at.room != RoomId::none && at.packet == PacketId::none) {
        emit roomActivated(at.room);
    }
}

void MapView::mouseMoveEvent(QMouseEvent* event)
{
    if (m_session == nullptr) {
        return;
    }
    const Hit at = hit(event->position());
    const bool hand = at.packet != PacketId::none || at.room != RoomId::none;
    setCursor(hand ? Qt::PointingHandCursor : Qt::ArrowCursor);
    if (at.room != m_hover.room || at.packet != m_hover.packet) {
        m_hover = at;
        update();
    }
}

void MapView::leaveEvent(QEvent*)
{
    m_hover = {};
    update();
}

void MapView::focusRoom(RoomId room)
{
    m_focus = room;
    if (room != RoomId::none && m_scene) {
        QString words = titleOf(Catalog::room(room));
        for (const MapTray& tray : m_scene->trays()) {
            if (tray.room == room) {
                const QueueRecord& queue = m_session->trace().queue(tray.queue);
                words += QStringLiteral(", %1 %2").arg(text(queue.name), levelText(tray.level, tray.limit, queue.unit));
            }
        }
        const auto tokens = tokensIn(room);
        words += tr(", %n packet(s)", nullptr, static_cast<int>(tokens.size()));
        setAccessibleDescription(words);
        QAccessibleEvent said(this, QAccessible::DescriptionChanged);
        QAccessible::updateAccessibility(&said);
    }
    update();
}

void MapView::keyPressEvent(QKeyEvent* event)
{
    if (m_session == nullptr) {
        return;
    }
    sync();
    switch (event->key()) {
    case Qt::Key_Left:
    case Qt::Key_Right:
    case Qt::Key_Up:
    case Qt::Key_Down:
        m_showFocus = true;
        focusRoom(m_focus == RoomId::none ? m_layout->firstRoom() : m_layout->neighbour(m_focus, event->key()));
        return;
    case Qt::Key_Return:
    case Qt::Key_Enter:
        if (m_focus != RoomId::none) {
            Hit at;
            at.room = m_focus;
            choose(at);
            emit roomActivated(m_focus);
        }
        return;
    default: QWidget::keyPressEvent(event);
    }
}

void MapView::focusInEvent(QFocusEvent* event)
{
    const bool byKeyboard = event->reason() == Qt::TabFocusReason || event->reason() == Qt::BacktabFocusReason || event->reason() == Qt::ShortcutFocusReason;
    m_showFocus = byKeyboard || event->reason() == Qt::OtherFocusReason;
    sync();
    focusRoom(m_focus == RoomId::none ? m_layout->firstRoom() : m_focus);
}

void MapView::focusOutEvent(QFocusEvent*)
{
    m_showFocus = false;
    update();
}

} // namespace skbscope::ui
