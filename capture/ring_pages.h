#pragma once
// Walks pages of the kernel's ring buffer, as /sys/kernel/tracing/per_cpu/cpuN/trace_pipe_raw hands them out and
// as trace.dat keeps them, one record after the other, without copying. The same for whole files and for live
// reading page by page. Knows nothing of what the records say (event_format.h) or of packets.
//
// The layout is that of include/linux/ring_buffer.h and kernel/trace/ring_buffer.c (struct buffer_data_page) of a
// little-endian 64-bit kernel: 8 bytes of time, 8 bytes of commit count, then events, each beginning with 5 bits
// of type or length and 27 bits of time since the one before. libtraceevent's kbuffer reads the same pages and is
// what the tests hold this against; it is not what runs here, because it trusts the lengths it finds (a padding
// event of a damaged page makes it loop for ever or read beside the page), and because its calls take two thirds
// of the time that an event may take.

#include <cstddef>
#include <cstdint>
#include <span>

namespace skbscope {

/// One record. `data` is good as long as the page that it lies in.
struct RawRecord {
    std::uint64_t time_ns = 0;          ///< on the trace clock
    std::span<const std::uint8_t> data; ///< common header included; at least 8 bytes
    std::uint64_t lost_before =
        0; ///< records of this CPU missing just before; unknown_loss: some, not counted
    std::int32_t pid = 0;
    std::uint16_t event_id = 0;
    std::uint16_t cpu = 0;
    /// Of the device that it names, where whoever read it has looked: of one number, of one name. 0: not looked, or none.
    std::uint16_t device_name = 0;
    std::uint8_t flags = 0;         ///< TRACE_FLAG_* of include/linux/trace_events.h
    std::uint8_t preempt_count = 0; ///< low half: preemption depth

    static constexpr std::uint64_t unknown_loss = ~std::uint64_t{0};
};

/// One CPU's pages, given one after the other in the order in which the kernel filled them.
class RingPages {
public:
    explicit RingPages(std::uint16_t cpu, std::int64_t time_offset = 0) : cpu_(cpu), time_offset_(time_offset)
    {
    }

    /// Begins with the next page: a whole sub-buffer, or as many bytes of one as were read. What was left of the
    /// page before is given up. False: it is damaged (counted in broken_pages()), and holds no record.
    bool load(std::span<const std::uint8_t> page);
    /// The next record of the page; false at its end. Times of one CPU never run backwards, whatever a damaged
    /// page says.
    bool next(RawRecord& record);

    [[nodiscard]] std::uint16_t cpu() const { return cpu_; }
    /// Pages whose lengths do not fit; the records before the damage were given.
    [[nodiscard]] std::size_t broken_pages() const { return broken_pages_; }
    /// Time and size of a page without walking it; an empty page has size 0.
    struct Header {
        std::uint64_t time_ns = 0;
        std::size_t size = 0;      ///< bytes of events behind the header
        std::uint64_t lost = 0;    ///< as RawRecord::lost_before
        bool is_damaged = false;   ///< the size does not fit into the page
    };
    [[nodiscard]] static Header header_of(std::span<const std::uint8_t> page);
    static constexpr std::size_t header_size = 16;

private:
    bool broken();

    const std::uint8_t* at_ = nullptr;
    const std::uint8_t* end_ = nullptr;
    std::uint64_t now_ = 0;
    std::uint64_t last_time_ = 0;
    std::uint64_t lost_ = 0;
    std::size_t broken_pages_ = 0;
    std::uint16_t cpu_;
    std::int64_t time_offset_;
};

} // namespace skbscope
