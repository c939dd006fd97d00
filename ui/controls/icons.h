#pragma once
// The few signs of the window, drawn in the theme's colours.

#include <QIcon>

namespace skbscope::ui {

enum class Sign { play, pause, to_begin, to_end, previous, next, menu, search, close, back_packet, forward_packet };

/// A fresh icon in the colours of the theme as it is now.
[[nodiscard]] QIcon signIcon(Sign sign, int pixels = 16);
/// The same in one colour.
[[nodiscard]] QPixmap signPixmap(Sign sign, int pixels, const QColor& color);
/// The program's own icon.
[[nodiscard]] QIcon programIcon();

} // namespace skbscope::ui
