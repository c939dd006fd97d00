#pragma once
// Time on a trace's own clock. Never wall time: a Trace knows its clock's name and offset to wall time.

#include <compare>
#include <cstdint>
#include <limits>

namespace skbscope {

/// A span of time in nanoseconds; may be negative.
struct Duration {
    std::int64_t ns = 0;
    auto operator<=>(const Duration&) const = default;
    constexpr Duration operator+(Duration other) const { return {ns + other.ns}; }
    constexpr Duration operator-(Duration other) const { return {ns - other.ns}; }
    constexpr Duration operator*(std::int64_t factor) const { return {ns * factor}; }
    constexpr Duration& operator+=(Duration other) { return ns += other.ns, *this; }
};

/// A moment: nanoseconds since the start of the trace's clock.
struct SimTime {
    std::uint64_t ns = 0;
    auto operator<=>(const SimTime&) const = default;
    constexpr SimTime operator+(Duration d) const { return {ns + static_cast<std::uint64_t>(d.ns)}; }
    constexpr SimTime operator-(Duration d) const { return {ns - static_cast<std::uint64_t>(d.ns)}; }
    constexpr Duration operator-(SimTime other) const { return {static_cast<std::int64_t>(ns - other.ns)}; }
    constexpr SimTime& operator+=(Duration d) { return *this = *this + d; }
};

/// "Has not happened": later than every moment of a trace.
inline constexpr SimTime never{std::numeric_limits<std::uint64_t>::max()};

inline namespace time_literals {
constexpr Duration operator""_ns(unsigned long long n) { return {static_cast<std::int64_t>(n)}; }
constexpr Duration operator""_us(unsigned long long n) { return {static_cast<std::int64_t>(n * 1000)}; }
constexpr Duration operator""_ms(unsigned long long n) { return {static_cast<std::int64_t>(n * 1000000)}; }
constexpr Duration operator""_s(unsigned long long n) { return {static_cast<std::int64_t>(n * 1000000000)}; }
} // namespace time_literals

} // namespace skbscope
