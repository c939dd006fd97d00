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
#include <utility>

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

/// The name of a function is set closer before it is set smaller, and smaller before it is cut.
inline QFont fittedMono(const QString& words, qreal width, qreal wanted, qreal least, QFont::Weight weight = QFont::Normal)
{
    constexpr qreal smallest = 8, closest = 88; // pixels, percent
    const qreal large = std::max(wanted, least);
    const qreal small = std::min(large, std::max(smallest, large - 2));
    QFont font;
    for (const auto& [size, spacing] : {std::pair{large, 100.0}, {large, 94.0}, {large, closest}, {(large + small) / 2, closest}, {small, closest}}) {
        font = Theme::mono(size, weight);
        font.setLetterSpacing(QFont::PercentageSpacing, spacing);
        if (QFontMetricsF(font).horizontalAdvance(words) <= width) {
            break;
        }
    }
    return font;
}

/// As many of its first words as fit, and no dots: "Hook", not "Hook funct…". Where not even the first one fits, that is cut.
inline QString firstWords(const QFont& font, const QString& words, qreal width)
{
    const QFontMetricsF metrics(font);
    QString fitting = words;
    while (metrics.horizontalAdvance(fitting) > width) {
        const auto end = fitting.lastIndexOf(' ');
        if (end < 0) {
            return elided(font, fitting, width);
        }
        fitting.truncate(end);
        while (fitting.endsWith(':')) {
            fitting.chop(1);
        }
    }
    return fitting;
}

/// A function's beginning and its end tell it from its kin: it is cut in the middle. The tooltip has all of it.
inline QString elidedName(const QFont& font, const QString& name, qreal width)
{
    return QFontMetricsF(font).elidedText(name, Qt::ElideMiddle, std::max<qreal>(0, width));
}

/// Where what a working room says stands: the function on its lower line, the CPU and its context at the right.
struct WorkingWords {
    qreal nameWidth = 0;                   ///< of the function, from the room's left
    enum class Cpu { none, two_lines, upper_line, number_only } cpu = Cpu::none;
};

/// Widths of the words, and the room's lines: `left` to `right` is free of tokens, the title ends at `titleRight`.
struct WorkingRoom {
    qreal left = 0, right = 0, titleRight = 0;
    qreal name = 0;                        ///< the function's
    qreal twoLines = 0, oneLine = 0, number = 0; ///< "CPU 1" over "softirq", "CPU 1 softirq", "CPU 1"
};

/// The function is what one looks for: it is cut only where even the whole line is too short. No words ever stand in each other.
inline WorkingWords placeWorkingWords(const WorkingRoom& room)
{
    const qreal line = room.right - room.left;
    const bool besideTitle = room.right - room.twoLines > room.titleRight;
    if (besideTitle && room.name <= line - room.twoLines) {
        return {line - room.twoLines, WorkingWords::Cpu::two_lines};
    }
    if (room.right - room.oneLine > room.titleRight) {
        return {line, WorkingWords::Cpu::upper_line};
    }
    return {line, room.right - room.number > room.titleRight ? WorkingWords::Cpu::number_only : WorkingWords::Cpu::none};
}

inline bool isRoom(const Room& room, const char* key)
{
    return room.key == key;
}

} // namespace skbscope::ui::map_paint
