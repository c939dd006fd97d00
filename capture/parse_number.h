#pragma once
// Numbers at the beginning of text, as the kernel's files and trace-cmd's options hold them.

#include <charconv>
#include <string_view>
#include <system_error>

namespace skbscope {

/// False, and `value` untouched, where the text does not begin with such a number.
template <typename T>
bool parse_number(std::string_view text, T& value, int base = 10)
{
    return std::from_chars(text.data(), text.data() + text.size(), value, base).ec == std::errc();
}

} // namespace skbscope
