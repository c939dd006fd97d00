#include "capture/live/ring_merge.h"

#include <algorithm>

namespace skbscope {

RingMerge::RingMerge(const std::vector<std::uint16_t>& cpus, TraceClock* clock) : clock_(clock)
{
    sources_.reserve(cpus.size());
    for (const std::uint16_t cpu : cpus) {
        sources_.emplace_back(cpu);
    }
}

void RingMerge::add(SpooledPage page)
{
    if (page.source < sources_.size()) {
        sources_[page.source].waiting.push_back(std::move(page));
    }
}

/// The next record of that buffer, if one is there.
void RingMerge::advance(Source& source)
{
    source.has_record = false;
    while (!source.waiting.empty()) {
        if (!source.is_loaded) {
            source.is_loaded = source.pages.load(source.waiting.front().bytes);
        }
        if (source.is_loaded && source.pages.next(source.record)) {
            source.has_record = true;
            if (clock_ != nullptr) {
                source.record.time_ns = clock_->mono_ns(source.record.time_ns);
            }
            return;
        }
        source.waiting.pop_front();
        source.is_loaded = false;
    }
}

void RingMerge::take_until(std::uint64_t horizon_ns, const std::function<void(const RawRecord&)>& take)
{
    if (clock_ != nullptr) {
        clock_->take_notes();
        clock_->forget_before(last_time_);
    }
    for (Source& source : sources_) {
        if (!source.has_record) {
            advance(source);
        }
    }
    while (true) {
        // A machine has few CPUs that carry packets at a time: looking at all of them is cheaper than a heap up to some
        // dozens, and the run below spares most of the looks.
        Source* first = nullptr;
        std::uint64_t next = horizon_ns;
        for (Source& source : sources_) {
            if (!source.has_record) {
                continue;
            }
            if (first == nullptr || source.record.time_ns < first->record.time_ns) {
                next = first != nullptr ? std::min(next, first->record.time_ns) : next;
                first = &source;
            } else {
                next = std::min(next, source.record.time_ns);
            }
        }
        if (first == nullptr || first->record.time_ns > horizon_ns) {
            return;
        }
        do {
            if (first->record.time_ns < last_time_) {
                first->record.time_ns = last_time_;
                ++late_;
            }
            last_time_ = first->record.time_ns;
            take(first->record);
            advance(*first);
        } while (first->has_record && first->record.time_ns <= next);
    }
}

std::size_t RingMerge::broken_pages() const
{
    std::size_t broken = 0;
    for (const Source& source : sources_) {
        broken += source.pages.broken_pages();
    }
    return broken;
}

} // namespace skbscope
