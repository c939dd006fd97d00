#pragma once
// The map: the rooms a packet passes, what stands in them at the playhead, and the ways between them. One widget that
// paints itself: a cached picture of what stands still, and on top tokens from small cached pictures.

#include "ui/map/map_layout.h"
#include "ui/map/map_scene.h"
#include "ui/player/session.h"

#include <QCache>
#include <QPixmap>
#include <QPointer>
#include <QWidget>
#include <array>
#include <memory>

namespace skbscope::ui {

// Its files: map_view.cpp keeps it up to date and paints it in order; map_fixed.cpp, map_moving.cpp and map_tokens.cpp paint; map_hands.cpp is
// what hands do with it.
class MapView : public QWidget {
    Q_OBJECT

public:
    explicit MapView(Session* session, QWidget* parent = nullptr);
    ~MapView() override;

    /// Watch another session (a file was opened); may be null: an empty map.
    void setSession(Session* session);

    [[nodiscard]] QSize sizeHint() const override { return {925, 600}; }
    [[nodiscard]] QSize minimumSizeHint() const override { return {560, 380}; }

    // ---- for tests and for whoever points at the map (lessons) ----------------------------------------------------------
    /// Packets drawn in the room; the same that StackState says.
    [[nodiscard]] std::vector<PacketId> tokensIn(RoomId room);
    /// The scene at the playhead.
    [[nodiscard]] const MapScene& scene();
    [[nodiscard]] const MapLayout& layoutNow();
    [[nodiscard]] QRectF roomRect(RoomId room);
    /// Where the packet's token is drawn; empty if it is not on the map or hidden behind a "+ n".
    [[nodiscard]] QRectF tokenRect(PacketId packet);
    /// What a queue is called on its tray, as wide as that is; empty: it has none.
    [[nodiscard]] QString trayLabel(QueueId queue);
    /// The function's name as the room at rest shows it, as wide as that is; empty: the room is too low for it.
    [[nodiscard]] QString functionLabel(RoomId room);
    /// Rooms that somebody wants looked at (a lesson's step): drawn with a glow.
    void setPointedAt(const std::vector<RoomId>& rooms);
    [[nodiscard]] const std::vector<RoomId>& pointedAt() const { return m_pointedAt; }

signals:
    void roomActivated(skbscope::RoomId room); ///< double click or Enter on a room
    /// A badge of drops was clicked: the most frequent reason there, and the room.
    void dropsActivated(skbscope::DropReasonId reason, skbscope::RoomId room);

protected:
    bool event(QEvent* event) override;
    void paintEvent(QPaintEvent* event) override;
    void mousePressEvent(QMouseEvent* event) override;
    void mouseDoubleClickEvent(QMouseEvent* event) override;
    void mouseMoveEvent(QMouseEvent* event) override;
    void leaveEvent(QEvent* event) override;
    void keyPressEvent(QKeyEvent* event) override;
    void focusInEvent(QFocusEvent* event) override;
    void focusOutEvent(QFocusEvent* event) override;

private:
    struct Hit {
        PacketId packet = PacketId::none;
        RoomId room = RoomId::none;
        QueueId queue = QueueId::none;
        bool drops = false;
    };
    void changed();
    void forgetTrace();
    void sync(); ///< layout, learning and scene up to date
    [[nodiscard]] Hit hit(QPointF point);
    [[nodiscard]] QString describe(const Hit& hit);
    [[nodiscard]] QString describeRoom(RoomId room);
    void choose(const Hit& hit);
    void focusRoom(RoomId room);

    // The fixed layer.
    void paintFixed();
    void paintBands(QPainter& p) const;
    void paintLinks(QPainter& p) const;
    void paintRoom(QPainter& p, const Room& room) const;
    void paintCard(QPainter& p, const QRectF& card, const Room& room, bool used, std::uint8_t contexts) const;
    void paintTrayFixed(QPainter& p, const MapTray& tray) const;
    [[nodiscard]] QColor faintText() const;
    [[nodiscard]] bool lit(RoomId room) const; ///< used in this trace, or nothing is known yet
    [[nodiscard]] bool lit(const MapLink& link) const;
    [[nodiscard]] bool isFaint(const MapTray& tray) const;
    [[nodiscard]] QString trayName(const MapTray& tray, qreal width) const;
    [[nodiscard]] QFont trayFont() const;
    [[nodiscard]] qreal trayNameWidth(const MapTray& tray) const;
    [[nodiscard]] QString trayCount(const MapTray& tray) const;
    [[nodiscard]] QString titleOf(const Room& room) const;
    [[nodiscard]] QString functionOf(const Room& room) const;
    [[nodiscard]] qreal textRight(RoomId room) const;
    [[nodiscard]] bool hasTwoLines(const QRectF& card) const; ///< name and function; else the name alone

    // What moves.
    void paintActivity(QPainter& p);
    void paintTrays(QPainter& p);
    void paintTokens(QPainter& p);
    void paintDrops(QPainter& p);
    void paintKsoftirqd(QPainter& p);
    void paintSelection(QPainter& p);
    [[nodiscard]] QSizeF tokenSize(const MapToken& token) const;
    [[nodiscard]] const QPixmap& stamp(const MapToken& token, bool number);
    void drawStamp(QPainter& p, const QRectF& rect, const MapToken& token, const QString& number, qreal scale) const;

    QPointer<Session> m_session;
    std::unique_ptr<MapScene> m_scene;
    std::unique_ptr<MapLayout> m_layout;
    QPixmap m_fixed;
    quint64 m_fixedKey = 0; ///< what the trays looked like when it was painted
    bool m_fixedDirty = true;
    bool m_moreToCome = false; ///< a model has not come to its end: what is unused so far may yet be used
    bool m_sceneDirty = true;
    bool m_crowded = false;
    QCache<quint64, QPixmap> m_stamps{4096};
    Hit m_hover;
    RoomId m_focus = RoomId::none;
    bool m_showFocus = false;
    std::vector<RoomId> m_pointedAt;
};

} // namespace skbscope::ui
