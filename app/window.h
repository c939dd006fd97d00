#pragma once
// The program's window: the only place in app/ that knows Qt.

#include "core/result.h"
#include "core/trace/time.h"

#include <optional>
#include <string>
#include <utility>

namespace skbscope::app {

struct WindowRequest {
    std::string file;           ///< empty: the first lesson
    std::optional<Duration> at; ///< playhead, from the trace's beginning
    int step = 0;               ///< of a lesson, from 1; 0: not said
    std::string theme;          ///< "light", "dark", or empty: as the desktop
    double scale = 0;           ///< of everything in the window; 0: as the desktop says
    std::string shot;           ///< write a picture there and exit; empty: stay open
    std::pair<int, int> size{1600, 900};
    std::string platform; ///< Qt platform plugin; empty: Qt chooses
};

/// Opens the window and stays until it is closed, or writes the picture. Yields the exit status.
[[nodiscard]] Result<int> show_window(const WindowRequest& request);

} // namespace skbscope::app
