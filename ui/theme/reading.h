#pragma once
// The size of what is read at length, and from the back row of a room: lesson text, the headline. It grows in a presentation; whoever
// uses it follows Theme::changed().

#include "ui/theme/theme.h"

namespace skbscope::ui {

namespace detail {
inline qreal reading_scale = 1;
} // namespace detail

/// 1 as a rule; more for a room full of people.
[[nodiscard]] inline qreal readingScale()
{
    return detail::reading_scale;
}

[[nodiscard]] inline QFont readingFont(qreal pixels, QFont::Weight weight = QFont::Normal)
{
    return Theme::sans(pixels * detail::reading_scale, weight);
}

inline void setReadingScale(qreal scale)
{
    if (!qFuzzyCompare(scale, detail::reading_scale)) {
        detail::reading_scale = scale;
        emit Theme::instance().changed();
    }
}

} // namespace skbscope::ui
