#pragma once
// Text on the terminal: paragraphs wrapped to 100 columns, entries with a label.

#include <string>
#include <string_view>

namespace skbscope::app {

/// The words of the text in lines of at most `width` columns (UTF-8 counted by character), each line
/// indented.
[[nodiscard]] std::string wrapped(std::string_view text, std::size_t width = 100, std::size_t indent = 0);

/// "  label       text", wrapped under itself; nothing if the text is empty.
void print_entry(std::string_view label, std::string_view text);

} // namespace skbscope::app
