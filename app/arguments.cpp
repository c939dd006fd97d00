// Parses the values of app/arguments.h.

#include "app/arguments.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>

namespace skbscope::app {
namespace {

struct Unit {
    std::string_view name;
    double ns;
};
constexpr std::array units{Unit{"ns", 1}, Unit{"us", 1e3}, Unit{"µs", 1e3}, Unit{"ms", 1e6}, Unit{"s", 1e9}};

tl::unexpected<Error> bad_argument(std::string_view text, std::string what, std::string remedy)
{
    return fail(ErrorKind::usage, "'" + std::string(text) + "'", std::move(what), std::move(remedy));
}

template <typename Number>
std::optional<Number> whole_number(std::string_view text)
{
    Number value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) {
        return std::nullopt;
    }
    return value;
}

} // namespace

std::string wrong_with_seconds(const std::string& text)
{
    constexpr double year = 365.0 * 24 * 3600;
    const auto seconds = whole_number<double>(text);
    const bool is_good = seconds && *seconds > 0 && *seconds <= year; // of "nan" neither holds
    return is_good ? std::string()
                   : text + ": is not a number of seconds above 0 and within a year (such as 1.5)";
}

std::string wrong_with_count(const std::string& text)
{
    const auto count = whole_number<std::uint64_t>(text);
    return count && *count > 0 ? std::string() : text + ": is not a whole number from 1 on";
}

std::string wrong_with_number(const std::string& text)
{
    const auto number = whole_number<double>(text);
    return number && std::isfinite(*number) ? std::string() : text + ": is not a number";
}

Result<Duration> parse_duration(std::string_view text)
{
    constexpr auto remedy = "a number of nanoseconds, or with a unit: 1500, 1.5us, 2ms, 1s";
    // Plain nanoseconds stay whole numbers: a trace clock has more digits than a double.
    if (const auto ns = whole_number<std::int64_t>(text); ns && *ns >= 0) {
        return Duration{*ns};
    }
    const auto unit_at = std::min(text.find_first_not_of("0123456789."), text.size());
    const auto number = text.substr(0, unit_at);
    const auto unit = std::ranges::find(units, text.substr(unit_at), &Unit::name);
    if (unit == units.end()) {
        return bad_argument(text, "not a time", remedy);
    }
    if (const auto whole = whole_number<std::int64_t>(number)) {
        const auto factor = static_cast<std::int64_t>(unit->ns);
        if (*whole <= std::numeric_limits<std::int64_t>::max() / factor) {
            return Duration{*whole * factor};
        }
    }
    const auto value = whole_number<double>(number);
    if (!value || !std::isfinite(*value) || *value * unit->ns > 9.2e18) {
        return bad_argument(text, "not a time", remedy);
    }
    return Duration{std::llround(*value * unit->ns)};
}

Result<Assignment> parse_assignment(std::string_view text)
{
    const auto equals = text.find('=');
    if (equals == std::string_view::npos || equals == 0 || equals + 1 == text.size()) {
        return bad_argument(text, "not a setting", "KEY=VALUE, such as net.core.netdev_max_backlog=10");
    }
    return Assignment{std::string(text.substr(0, equals)), std::string(text.substr(equals + 1))};
}

Result<std::pair<int, int>> parse_size(std::string_view text)
{
    constexpr int smallest = 320;
    constexpr int largest = 8192;
    const auto cross = text.find('x');
    if (cross != std::string_view::npos) {
        const auto width = whole_number<int>(text.substr(0, cross));
        const auto height = whole_number<int>(text.substr(cross + 1));
        if (width && height && std::min(*width, *height) >= smallest &&
            std::max(*width, *height) <= largest) {
            return std::pair{*width, *height};
        }
    }
    return bad_argument(text, "not a size",
                        "WIDTHxHEIGHT in pixels, each from 320 to 8192, such as 1600x900");
}

} // namespace skbscope::app
