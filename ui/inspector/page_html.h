#pragma once
// The parts that all pages of the inspector are put together from: HTML in the theme's colours.

#include <QString>
#include <string_view>

namespace skbscope::ui {

[[nodiscard]] QString escaped(std::string_view words);
/// Classes: t title, h heading, k a kernel's name, m muted, f faint, d dropped or wrong.
[[nodiscard]] QString pageStyle();
[[nodiscard]] QString heading(const QString& words);
[[nodiscard]] QString paragraph(const QString& html);
[[nodiscard]] QString kernelName(std::string_view name);
/// A command to copy: a line of its own, with a link "copy:COMMAND" (percent-encoded).
[[nodiscard]] QString commandLine(const QString& command);

} // namespace skbscope::ui
