#include "ui/map/map_view.h"

#include "ui/theme/theme.h"

#include <QPainter>
#include <algorithm>

namespace skbscope::ui {

namespace {

// Detail is dropped by rule, so that a crowd stays readable and fast.
constexpr std::size_t numbers_up_to = 300; ///< tokens; more: without numbers

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
    m_crowded = m_scene->shownTokens() > numbers_up_to; // those behind a "+3980" crowd nobody
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

QString MapView::trayLabel(QueueId queue)
{
    const auto& trays = scene().trays();
    const auto found = std::find_if(trays.begin(), trays.end(), [&](const MapTray& tray) { return tray.queue == queue; });
    return found == trays.end() ? QString() : trayName(*found, trayNameWidth(*found));
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

} // namespace skbscope::ui
