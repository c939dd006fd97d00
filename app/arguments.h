#pragma once
// Values as people write them on the command line: times with units, settings, a picture's size.

#include "core/result.h"
#include "core/trace/time.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace skbscope::app {

/// "1500", "1500ns", "1.5us", "2ms", "1s". No unit: nanoseconds. Negative or larger than the clock can hold:
/// an error.
[[nodiscard]] Result<Duration> parse_duration(std::string_view text);

/// For an option that is a number of seconds to wait, as CLI11 checks it: what is wrong with the text; empty: above 0, and at most a year.
[[nodiscard]] std::string wrong_with_seconds(const std::string& text);

/// For an option that is a number of things to wait for, as CLI11 checks it: what is wrong with the text; empty: a whole number from 1 on.
[[nodiscard]] std::string wrong_with_count(const std::string& text);

/// CLI11's ranges let "nan" through; empty: it is a number.
[[nodiscard]] std::string wrong_with_number(const std::string& text);

/// "key=value" as in --set.
struct Assignment {
    std::string key;
    std::string value;
};
[[nodiscard]] Result<Assignment> parse_assignment(std::string_view text);

/// A width and height in pixels: "1600x900", each from 320 to 8192.
[[nodiscard]] Result<std::pair<int, int>> parse_size(std::string_view text);

} // namespace skbscope::app
