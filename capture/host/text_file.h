#pragma once
// Small files of /proc and /sys as text.

#include <fstream>
#include <optional>
#include <sstream>
#include <string>

namespace skbscope::host {

/// Nothing: not there, or not for us.
[[nodiscard]] inline std::optional<std::string> read_file(const std::string& path)
{
    std::ifstream in(path, std::ios::binary);
    if (!in) {
        return std::nullopt;
    }
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
}

[[nodiscard]] inline std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

} // namespace skbscope::host
