#include "core/kernel/costs.h"

#include "core/catalog/catalog.h"

#include <charconv>
#include <stdexcept>

namespace skbscope::kernel {

extern const char* const costs_table; // assets/costs/default.tsv, compiled in

namespace {

std::string_view next_field(std::string_view& line)
{
    const std::size_t tab = line.find('\t');
    const std::string_view field = line.substr(0, tab);
    line = tab == std::string_view::npos ? std::string_view() : line.substr(tab + 1);
    return field;
}

std::uint64_t number(std::string_view text)
{
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) {
        throw std::logic_error("assets/costs: not a number: " + std::string(text));
    }
    return value;
}

} // namespace

Costs::Costs()
{
    by_function_.assign(Catalog::function_count(), Duration{});
    std::vector<bool> given(by_function_.size());
    std::string_view rest = costs_table;
    while (!rest.empty()) {
        const std::size_t end = rest.find('\n');
        std::string_view line = rest.substr(0, end);
        rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
        if (line.empty() || line.front() == '#') {
            continue;
        }
        const std::string_view name = next_field(line);
        const std::uint64_t value = number(next_field(line));
        if (name == "(default)") {
            default_ = {static_cast<std::int64_t>(value)};
        } else if (name == "(copy, ps per byte)") {
            copy_picoseconds_ = value;
        } else {
            const FunctionId function = Catalog::find_function(name);
            if (function == FunctionId::none) {
                throw std::logic_error("assets/costs: unknown function " + std::string(name));
            }
            by_function_[to_index(function)] = {static_cast<std::int64_t>(value)};
            given[to_index(function)] = true;
        }
    }
    for (std::size_t row = 0; row < by_function_.size(); ++row) {
        if (!given[row]) {
            by_function_[row] = default_;
        }
    }
}

void Costs::scale(double factor)
{
    for (Duration& cost : by_function_) {
        cost.ns = static_cast<std::int64_t>(static_cast<double>(cost.ns) * factor);
    }
    copy_picoseconds_ = static_cast<std::uint64_t>(static_cast<double>(copy_picoseconds_) * factor);
}

std::uint64_t Costs::hash() const
{
    std::uint64_t hash = 14695981039346656037ULL; // FNV-1a
    const auto mix = [&](std::uint64_t value) { hash = (hash ^ value) * 1099511628211ULL; };
    for (const Duration cost : by_function_) {
        mix(static_cast<std::uint64_t>(cost.ns));
    }
    mix(copy_picoseconds_);
    return hash;
}

} // namespace skbscope::kernel
