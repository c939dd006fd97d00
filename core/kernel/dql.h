#pragma once
// lib/dynamic_queue_limits.c and include/linux/dynamic_queue_limits.h: how many bytes a driver's ring may hold (BQL). The
// limit grows when the ring ran dry while the stack was held back, and shrinks by what was too much for a whole second.

#include <cstdint>

namespace skbscope::kernel {

/// struct dql. Counts are bytes and wrap at 2^32, as the kernel's do; times are jiffies.
struct Dql {
    std::uint32_t num_queued = 0;    ///< ever queued
    std::uint32_t adj_limit = 0;     ///< limit + num_completed
    std::uint32_t last_obj_cnt = 0;  ///< of the last queueing
    std::uint32_t limit = 0;
    std::uint32_t num_completed = 0; ///< ever completed
    std::uint32_t prev_ovlimit = 0, prev_num_queued = 0, prev_last_obj_cnt = 0;
    std::uint32_t lowest_slack = ~std::uint32_t{0};
    std::uint32_t min_limit = 0, max_limit = (~std::uint32_t{0} / 2) - (~std::uint32_t{0} / 16);
    std::int64_t slack_start_time = 0;
    std::int64_t slack_hold_time = 250; ///< HZ; hold_time of sysfs says it in milliseconds

    /// Bytes that may still be queued; negative: over the limit.
    [[nodiscard]] std::int32_t avail() const { return static_cast<std::int32_t>(adj_limit - num_queued); }
    [[nodiscard]] std::uint32_t in_flight() const { return num_queued - num_completed; }
    void queued(std::uint32_t count)
    {
        last_obj_cnt = count;
        num_queued += count;
    }
    /// dql_completed(): `count` is at most in_flight(), `now` are jiffies.
    void completed(std::uint32_t count, std::int64_t now);
};

} // namespace skbscope::kernel
