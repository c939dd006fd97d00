#pragma once
// What a call costs, in virtual nanoseconds on its CPU: its own work, without what it calls.

#include "core/catalog/ids.h"
#include "core/trace/time.h"

#include <string>
#include <string_view>
#include <vector>

namespace skbscope::kernel {

/// From assets/costs/*.tsv. Every figure there says how it came about.
class Costs {
public:
    Costs();
    /// As many as the catalog has functions.
    [[nodiscard]] const Duration* by_function() const { return by_function_.data(); }
    [[nodiscard]] Duration of(FunctionId function) const
    {
        const auto index = to_index(function);
        return index < by_function_.size() ? by_function_[index] : default_;
    }
    /// Copying one byte, in picoseconds.
    [[nodiscard]] Duration copy(std::size_t bytes) const
    {
        return {static_cast<std::int64_t>(bytes * copy_picoseconds_ / 1000)};
    }
    /// Everything this many times slower (or faster, below 1).
    void scale(double factor);
    /// Changes whenever a figure changes; stands in recordings of model runs.
    [[nodiscard]] std::uint64_t hash() const;

private:
    std::vector<Duration> by_function_;
    Duration default_;
    std::uint64_t copy_picoseconds_ = 0;
};

} // namespace skbscope::kernel
