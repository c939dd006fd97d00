#include "app/text.h"

#include <algorithm>
#include <fmt/format.h>

namespace skbscope::app {
namespace {

std::size_t columns(std::string_view text)
{
    // UTF-8: every byte but a continuation begins a character.
    return static_cast<std::size_t>(
        std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

} // namespace

std::string wrapped(std::string_view text, std::size_t width, std::size_t indent)
{
    std::string out;
    std::size_t used = 0; // columns of the present line; 0: nothing on it yet
    while (true) {
        const auto begin = text.find_first_not_of(" \t\n");
        if (begin == std::string_view::npos) {
            break;
        }
        text.remove_prefix(begin);
        const auto word = text.substr(0, text.find_first_of(" \t\n"));
        text.remove_prefix(word.size());
        if (used != 0 && used + 1 + columns(word) > width) {
            out += '\n';
            used = 0;
        }
        if (used == 0) {
            out.append(indent, ' ');
            used = indent;
        } else {
            out += ' ';
            ++used;
        }
        out += word;
        used += columns(word);
    }
    return out;
}

std::string clipped(std::string text, std::size_t most)
{
    if (text.size() <= most) {
        return text;
    }
    while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xc0) == 0x80) {
        --most;
    }
    text.resize(most);
    return text + "…";
}

void print_entry(std::string_view label, std::string_view text)
{
    constexpr std::size_t label_width = 14;
    auto lines = wrapped(text, 100, label_width);
    if (lines.empty()) {
        return;
    }
    const auto lead = fmt::format("  {}", label);
    lines.replace(0, std::min(lead.size(), label_width - 1), lead.substr(0, label_width - 1));
    fmt::print("{}\n", lines);
}

} // namespace skbscope::app
