#pragma once
// Records that are not about packets, left out before they are correlated: other softirqs, other families of sockets.
// The kernel's own filters would do the same, but cost the traffic more than the record does that they keep (docs/live.md).

#include "capture/ring_pages.h"
#include "capture/traced_kernel.h"

#include <vector>

namespace skbscope {

class RecordFilter {
public:
    /// Of the events that the kernel describes by now.
    explicit RecordFilter(const TracedKernel& kernel);
    [[nodiscard]] bool wants(const RawRecord& record) const
    {
        return record.event_id >= tests_.size() || !tests_[record.event_id].field || passes(tests_[record.event_id], record);
    }

private:
    struct Test {
        EventField field;
        std::uint64_t allowed = 0; ///< bit N: the value N
    };
    [[nodiscard]] static bool passes(const Test& test, const RawRecord& record);
    std::vector<Test> tests_; ///< by event id
};

} // namespace skbscope
