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

/// Sizes of text follow the map's scale, but not below what can be read from a few steps away; where the words do not fit then, the scale
/// alone counts.
inline constexpr qreal least_title = 11, least_mono = 9, least_small = 9;

inline QFont fittedSans(const QString& words, qreal width, qreal wanted, qreal least, QFont::Weight weight)
{
    for (qreal size = std::max(wanted, least); size > wanted; size -= 1) {
        QFont font = Theme::sans(size, weight);
        if (QFontMetricsF(font).horizontalAdvance(words) <= width) {
            return font;
        }
    }
    return Theme::sans(wanted, weight);
}

inline QFont fittedMono(const QString& words, qreal width, qreal wanted, qreal least, QFont::Weight weight = QFont::Normal)
{
    QFont font = Theme::mono(std::max(wanted, least), weight);
    return wanted >= least || QFontMetricsF(font).horizontalAdvance(words) <= width ? font : Theme::mono(wanted, weight);
}

inline bool isRoom(const Room& room, const char* key)
{
    return room.key == key;
}

} // namespace skbscope::ui::map_paint
