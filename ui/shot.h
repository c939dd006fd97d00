#pragma once
// Pictures of the window, without a display (QT_QPA_PLATFORM=offscreen) or with one.

#include "core/result.h"
#include "ui/theme/theme.h"

#include <QSize>
#include <filesystem>

namespace skbscope::ui {

class MainWindow;

/// Draws the window as it is now, at that size and in that theme, into a PNG. The theme and size stay.
[[nodiscard]] Result<void> renderWindow(MainWindow& window, const std::filesystem::path& path, QSize size, Theme::Mode theme);

} // namespace skbscope::ui
