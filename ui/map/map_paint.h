#pragma once
// What the files that paint the map share: colours, lengths, small drawing. Not for others.

#include "core/catalog/catalog.h"
#include "ui/theme/theme.h"

#include <QColor>
#include <QFont>
#include <QFontMetricsF>
#include <QString>
#include <algorithm>
#include <cmath>

namespace skbscope::ui::map_paint {

inline constexpr qreal token_width = 30, token_height = 17, token_radius = 4.5;

inline const Colors& colors()
{
    return Theme::instance().colors();
}

inline QColor faded(QColor color, qreal alpha)
{
    color.setAlphaF(static_cast<float>(alpha));
    return color;
}

inline QColor mixed(const QColor& a, const QColor& b, qreal share)
{
    const auto mix = [&](int x, int y) { return static_cast<int>(std::lround(x + (y - x) * share)); };
    return {mix(a.red(), b.red()), mix(a.green(), b.green()), mix(a.blue(), b.blue())};
}

inline QString elided(const QFont& font, const QString& text, qreal width)
{
    return QFontMetricsF(font).elidedText(text, Qt::ElideRight, std::max<qreal>(0, width));
}

inline bool isRoom(const Room& room, const char* key)
{
    return room.key == key;
}

} // namespace skbscope::ui::map_paint
