#include "core/kernel/dql.h"

#include <algorithm>

namespace skbscope::kernel {

namespace {

std::uint32_t positive_difference(std::uint32_t a, std::uint32_t b)
{
    return static_cast<std::int32_t>(a - b) > 0 ? a - b : 0;
}

} // namespace

void Dql::completed(std::uint32_t count, std::int64_t now)
{
    const std::uint32_t done = num_completed + count;
    std::uint32_t new_limit = limit;
    std::uint32_t ovlimit = positive_difference(num_queued - num_completed, limit);
    const std::uint32_t inprogress = num_queued - done;
    const std::uint32_t prev_inprogress = prev_num_queued - num_completed;
    const bool all_prev_completed = static_cast<std::int32_t>(done - prev_num_queued) >= 0;

    if ((ovlimit != 0 && inprogress == 0) || (prev_ovlimit != 0 && all_prev_completed)) {
        // Starved: it was over its limit and has run dry.
        new_limit += positive_difference(done, prev_num_queued) + prev_ovlimit;
        slack_start_time = now;
        lowest_slack = ~std::uint32_t{0};
    } else if (inprogress != 0 && prev_inprogress != 0 && !all_prev_completed) {
        // Busy all the while: what was too much?
        std::uint32_t slack = positive_difference(new_limit + prev_ovlimit, 2 * (done - num_completed));
        const std::uint32_t slack_last = prev_ovlimit != 0 ? positive_difference(prev_last_obj_cnt, prev_ovlimit) : 0;
        slack = std::max(slack, slack_last);
        lowest_slack = std::min(lowest_slack, slack);
        if (now > slack_start_time + slack_hold_time) {
            new_limit = positive_difference(new_limit, lowest_slack);
            slack_start_time = now;
            lowest_slack = ~std::uint32_t{0};
        }
    }
    new_limit = std::clamp(new_limit, min_limit, max_limit);
    if (new_limit != limit) {
        limit = new_limit;
        ovlimit = 0;
    }
    adj_limit = new_limit + done;
    prev_ovlimit = ovlimit;
    prev_last_obj_cnt = last_obj_cnt;
    num_completed = done;
    prev_num_queued = num_queued;
}

} // namespace skbscope::kernel
