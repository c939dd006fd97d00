#pragma once
// Records of several ring buffers in the order of their times. A record is handed on only when no buffer can hold an
// earlier one any more.

#include "capture/live/page_spool.h"
#include "capture/live/trace_clock.h"
#include "capture/ring_pages.h"

#include <cstdint>
#include <deque>
#include <functional>
#include <vector>

namespace skbscope {

class RingMerge {
public:
    /// `cpus`: the CPU of each buffer; a buffer's number is its place in it. Several may be of one CPU.
    /// `clock` makes times of the records' stamps, and outlives this; null: they are times.
    explicit RingMerge(const std::vector<std::uint16_t>& cpus, TraceClock* clock = nullptr);

    /// Pages of one buffer come in the order in which the kernel filled them.
    void add(SpooledPage page);
    /// All records up to that time. Records that come later than that, although they are earlier, follow at once with
    /// the time of the last one (counted in late()).
    void take_until(std::uint64_t horizon_ns, const std::function<void(const RawRecord&)>& take);

    [[nodiscard]] std::uint64_t late() const { return late_; }
    [[nodiscard]] std::size_t broken_pages() const;

private:
    struct Source {
        explicit Source(std::uint16_t cpu) : pages(cpu) {}
        RingPages pages;
        std::deque<SpooledPage> waiting; ///< the front one is being walked
        RawRecord record;
        bool has_record = false;
        bool is_loaded = false;
    };
    void advance(Source& source);

    TraceClock* clock_;
    std::vector<Source> sources_;
    std::uint64_t last_time_ = 0;
    std::uint64_t late_ = 0;
};

} // namespace skbscope
