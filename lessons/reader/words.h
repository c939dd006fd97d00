#pragma once
// Small pieces that the readers of stops and goals share.

#include <charconv>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace skbscope::lesson_words {

[[nodiscard]] inline std::string_view trimmed(std::string_view text)
{
    const std::size_t first = text.find_first_not_of(" \t\r\n");
    if (first == std::string_view::npos) {
        return {};
    }
    return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

[[nodiscard]] inline std::vector<std::string_view> words(std::string_view text)
{
    std::vector<std::string_view> out;
    for (std::size_t at = 0; (at = text.find_first_not_of(" \t\r\n", at)) != std::string_view::npos;) {
        const std::size_t end = std::min(text.find_first_of(" \t\r\n", at), text.size());
        out.push_back(text.substr(at, end - at));
        at = end;
    }
    return out;
}

/// A whole number, all of the text.
template <typename Number>
[[nodiscard]] std::optional<Number> number(std::string_view text)
{
    Number value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc() && end == text.data() + text.size() && !text.empty() ? std::optional(value)
                                                                                     : std::nullopt;
}

[[nodiscard]] inline std::string joined(const std::vector<std::string_view>& words, std::size_t from,
                                        std::size_t to)
{
    std::string out;
    for (std::size_t i = from; i < to && i < words.size(); ++i) {
        out += (out.empty() ? "" : " ") + std::string(words[i]);
    }
    return out;
}

} // namespace skbscope::lesson_words
