#pragma once
// Pages of the ring buffers between the thread that empties the kernel's buffers and the one that makes journeys of
// them: the first must never wait for the second, or the kernel overwrites what was not read. Bounded: a part is kept in
// memory, more of it in a file where there is one, and what does not fit there either stays in the kernel.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <span>
#include <vector>

namespace skbscope {

/// What one read of a buffer gave.
struct SpooledPage {
    std::uint32_t source = 0; ///< which buffer
    std::vector<std::uint8_t> bytes;
};

class PageSpool {
public:
    /// `file`: what memory does not hold goes there, at most `file_limit` bytes at a time; -1: nowhere. The descriptor is
    /// for reading and writing, the caller's, and outlives the spool; its content is the spool's.
    explicit PageSpool(std::size_t limit_bytes, int file = -1, std::uint64_t file_limit = 0)
        : limit_(limit_bytes), file_(file), file_limit_(file_limit)
    {
    }

    /// False: full.
    [[nodiscard]] bool has_room() const;
    void push(std::uint32_t source, std::span<const std::uint8_t> bytes);
    /// All buffers have been emptied of what was recorded before that time (trace clock): all of it has been pushed.
    void set_horizon(std::uint64_t time_ns);
    /// No page will come any more.
    void close();

    struct Batch {
        std::deque<SpooledPage> pages;
        std::uint64_t horizon_ns = 0; ///< everything recorded before that time has been taken, with this batch or before
        bool more = false;            ///< something waits behind this batch
        bool ended = false;           ///< this was the last one
        std::uint64_t unreadable = 0; ///< pages that the file did not give back
    };
    /// In the order in which they came, at most about `most_bytes` of them.
    [[nodiscard]] Batch take(std::size_t most_bytes);
    /// Bytes that wait to be taken.
    [[nodiscard]] std::uint64_t waiting() const;

private:
    /// A page, or (source mark) a horizon.
    struct Entry {
        std::uint32_t source = 0;
        std::uint32_t length = 0;
        std::uint64_t at = 0; ///< place in the file, if `bytes` is empty; of a mark: the time
        std::vector<std::uint8_t> bytes;
    };
    static constexpr std::uint32_t mark = ~std::uint32_t{0};
    [[nodiscard]] bool into_file(Entry& entry, std::span<const std::uint8_t> bytes);

    mutable std::mutex mutex_;
    std::deque<Entry> entries_;
    std::size_t in_memory_ = 0; ///< bytes
    std::uint64_t in_file_ = 0; ///< bytes that have not been taken
    std::uint64_t file_end_ = 0;
    std::size_t limit_;
    int file_;
    std::uint64_t file_limit_;
    std::uint64_t horizon_ = 0; ///< of what was taken
    bool closed_ = false;
};

} // namespace skbscope
