#include "capture/ring_pages.h"

#include <algorithm>
#include <cstring>

namespace skbscope {

namespace {

// kernel/trace/ring_buffer.c: RB_MISSED_EVENTS, RB_MISSED_STORED; include/linux/ring_buffer.h: the types.
constexpr std::uint64_t missed_events = std::uint64_t{1} << 31;
constexpr std::uint64_t missed_stored = std::uint64_t{1} << 30;
constexpr std::uint64_t size_mask = (std::uint64_t{1} << 27) - 1;
constexpr std::uint32_t type_padding = 29;
constexpr std::uint32_t type_time_extend = 30;
constexpr std::uint32_t type_time_stamp = 31;
constexpr std::ptrdiff_t common_header = 8;

template <typename T>
T number_at(const std::uint8_t* at)
{
    T value;
    std::memcpy(&value, at, sizeof value);
    return value;
}

} // namespace

RingPages::Header RingPages::header_of(std::span<const std::uint8_t> page)
{
    Header header;
    if (page.size() < header_size) {
        header.is_damaged = true;
        return header;
    }
    header.time_ns = number_at<std::uint64_t>(page.data());
    const auto commit = number_at<std::uint64_t>(page.data() + 8);
    header.size = commit & size_mask;
    if (header.size > page.size() - header_size) {
        header.is_damaged = true;
        header.size = 0;
    }
    if ((commit & missed_events) != 0) {
        const std::size_t stored = header_size + header.size;
        const bool is_stored =
            !header.is_damaged && (commit & missed_stored) != 0 && stored + 8 <= page.size();
        header.lost = is_stored ? number_at<std::uint64_t>(page.data() + stored) : RawRecord::unknown_loss;
    }
    return header;
}

bool RingPages::load(std::span<const std::uint8_t> page)
{
    const Header header = header_of(page);
    at_ = end_ = nullptr;
    if (header.lost != 0) {
        const bool is_known = header.lost != RawRecord::unknown_loss && lost_ != RawRecord::unknown_loss;
        lost_ = is_known ? lost_ + header.lost : RawRecord::unknown_loss; // a page may hold no record
    }
    if (header.is_damaged) {
        lost_ = RawRecord::unknown_loss; // what the page held
        ++broken_pages_;
        return false;
    }
    now_ = header.time_ns;
    at_ = page.data() + header_size;
    end_ = at_ + header.size;
    return true;
}

/// What follows on this page cannot be told apart.
bool RingPages::broken()
{
    ++broken_pages_;
    at_ = end_;
    lost_ = RawRecord::unknown_loss;
    return false;
}

bool RingPages::next(RawRecord& record)
{
    for (;;) {
        if (end_ - at_ < 4) {
            return false;
        }
        const auto head = number_at<std::uint32_t>(at_);
        at_ += 4;
        const std::uint32_t type = head & 0x1f;
        const std::uint64_t delta = head >> 5;
        std::ptrdiff_t length = static_cast<std::ptrdiff_t>(type) * 4;
        if (type == 0 || type >= type_padding) [[unlikely]] {
            if (type == type_padding && delta == 0) { // the rest of the page is empty
                at_ = end_;
                return false;
            }
            if (end_ - at_ < 4) {
                return broken();
            }
            const auto word = number_at<std::uint32_t>(at_);
            if (type == type_padding) { // a discarded event
                now_ += delta;
                if (word > static_cast<std::size_t>(end_ - at_)) {
                    return broken();
                }
                at_ += word;
                continue;
            }
            at_ += 4;
            if (type == type_time_extend) {
                now_ += (std::uint64_t{word} << 27) + delta;
                continue;
            }
            if (type == type_time_stamp) { // absolute; its upper 5 bits are those of the time before
                now_ = (now_ & ~((std::uint64_t{1} << 59) - 1)) | ((std::uint64_t{word} << 27) + delta);
                continue;
            }
            length = word >= 4 ? static_cast<std::ptrdiff_t>((std::uint64_t{word} - 4 + 3) & ~std::uint64_t{3})
                               : 0; // the word counts itself
        }
        now_ += delta;
        if (length > end_ - at_) {
            return broken();
        }
        const std::uint8_t* data = at_;
        at_ += length;
        if (length < common_header) {
            continue;
        }
        last_time_ = std::max(last_time_, now_ + static_cast<std::uint64_t>(time_offset_));
        record.time_ns = last_time_;
        record.data = {data, static_cast<std::size_t>(length)};
        record.cpu = cpu_;
        record.event_id = number_at<std::uint16_t>(data);
        record.flags = data[2];
        record.preempt_count = data[3];
        record.pid = number_at<std::int32_t>(data + 4);
        record.lost_before = lost_;
        lost_ = 0;
        return true;
    }
}

} // namespace skbscope
