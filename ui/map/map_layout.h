#pragma once
// Where each room of the catalog stands on the map for a given size, and how the rooms are joined. Geometry only: no
// colours, no trace. A room keeps its place in every size, so that a person finds it again.

#include "core/catalog/catalog.h"

#include <QLineF>
#include <QPointF>
#include <QRectF>
#include <QSizeF>
#include <QString>
#include <vector>

namespace skbscope::ui {

/// A way between two rooms.
struct MapLink {
    enum class Style {
        path,   ///< packets take it
        signal, ///< an interrupt: no packet rides on it
        done,   ///< the way of a sent packet's memory back (completion)
    };
    RoomId from = RoomId::none;
    RoomId to = RoomId::none;
    Style style = Style::path;
    bool bothWays = false;
    std::vector<QPointF> points; ///< in pixels, from the edge of `from` to the edge of `to`; at least two
};

class MapLayout {
public:
    static constexpr int rows = 12;
    /// Letters do not shrink with a very small map: in a lower card there is one line, not two.
    static constexpr qreal two_lines = 22.5;

    /// Everything in logical pixels for a widget of that size.
    explicit MapLayout(QSizeF size);

    /// 1 at the map's design size (925 × 600); text and tokens grow with it.
    [[nodiscard]] qreal scale() const { return m_scale; }
    [[nodiscard]] QSizeF size() const { return m_size; }
    /// The room's card. The wire's is a thin bar.
    [[nodiscard]] QRectF room(RoomId id) const { return m_rooms[to_index(id)]; }
    /// Where the room's dropped packets are counted: beside it.
    [[nodiscard]] QRectF drops(RoomId id) const { return m_drops[to_index(id)]; }
    /// The part of the card that text and tokens may use (the NAPI poll's card holds that of the TX completion).
    [[nodiscard]] QRectF content(RoomId id) const;
    /// Middle of the token that stands at place `index` in the room: 0 is the one at work.
    [[nodiscard]] QPointF spot(RoomId id, int index) const;
    /// How many tokens may stand in the room side by side.
    [[nodiscard]] int spots(RoomId id) const;
    [[nodiscard]] QRectF band(int row) const;
    [[nodiscard]] static QString bandTitle(int row);
    [[nodiscard]] const std::vector<MapLink>& links() const { return m_links; }
    /// The way from one room to the other, along a link if there is one (in either direction), else straight. From edge
    /// to edge or centre to centre; never empty.
    [[nodiscard]] const std::vector<QPointF>& way(RoomId from, RoomId to) const;
    /// The room under the point; none between rooms.
    [[nodiscard]] RoomId roomAt(QPointF point) const;
    /// The nearest room in that direction (Qt::Key_Left …), or the room itself.
    [[nodiscard]] RoomId neighbour(RoomId from, int key) const;
    [[nodiscard]] RoomId firstRoom() const;

private:
    [[nodiscard]] qreal x(qreal unit) const { return m_left + unit * m_unit; }
    [[nodiscard]] qreal rowCentre(qreal row) const { return m_top + (row + 0.5) * m_pitch; }
    [[nodiscard]] qreal gapAbove(int row) const { return m_top + row * m_pitch; }
    void placeRooms();
    void placeStranger(const Room& room);
    void placeLinks();
    void link(const char* from, const char* to, std::vector<QPointF> points, MapLink::Style style = MapLink::Style::path,
              bool bothWays = false);
    void upOrDown(const char* from, const char* to, qreal x, MapLink::Style style = MapLink::Style::path);
    void across(const char* from, const char* to, qreal shift = 0, bool bothWays = false);

    QSizeF m_size;
    qreal m_scale = 1, m_unit = 1, m_pitch = 1, m_left = 0, m_top = 0;
    std::vector<QRectF> m_rooms; ///< by RoomId
    std::vector<QRectF> m_drops;
    std::vector<MapLink> m_links;
    std::vector<std::vector<QPointF>> m_ways; ///< from * rooms + to
};

} // namespace skbscope::ui
