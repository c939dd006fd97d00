#pragma once
// Text on the terminal: paragraphs wrapped to 100 columns, entries with a label.

#include <cstdio>
#include <fmt/format.h>
#include <string>
#include <string_view>
#include <utility>

namespace skbscope::app {

/// The words of the text in lines of at most `width` columns (UTF-8 counted by character), each line
/// indented.
[[nodiscard]] std::string wrapped(std::string_view text, std::size_t width = 100, std::size_t indent = 0);

/// The text, or its first `most` bytes (fewer, where a character would be cut) and "…".
[[nodiscard]] std::string clipped(std::string text, std::size_t most);

/// "  label       text", wrapped under itself; nothing if the text is empty.
void print_entry(std::string_view label, std::string_view text);

/// To standard error. Where that cannot be written (a full disk, a reader that has gone) the words are lost, and nothing else is:
/// fmt::print() would throw.
template <typename... T>
void say(fmt::format_string<T...> format, T&&... values)
{
    (void)std::fputs(fmt::format(format, std::forward<T>(values)...).c_str(), stderr);
}

} // namespace skbscope::app
