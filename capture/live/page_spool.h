#pragma once
// Pages of the ring buffers between the thread that empties the kernel's buffers and the one that makes journeys of
// them: the first must never wait for the second, or the kernel overwrites what was not read. Bounded: what does not
// fit stays in the kernel.

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

namespace skbscope {

/// What one read of a buffer gave.
struct SpooledPage {
    std::uint32_t source = 0; ///< which buffer
    std::vector<std::uint8_t> bytes;
};

class PageSpool {
public:
    explicit PageSpool(std::size_t limit_bytes) : limit_(limit_bytes) {}

    /// False: full.
    [[nodiscard]] bool has_room() const;
    void push(std::uint32_t source, std::vector<std::uint8_t> bytes);
    /// All buffers have been emptied of what was recorded before that time (trace clock).
    void set_horizon(std::uint64_t time_ns);
    /// No page will come any more.
    void close();

    struct Batch {
        std::deque<SpooledPage> pages;
        std::uint64_t horizon_ns = 0;
        bool closed = false;
    };
    /// Everything there is, in the order in which it came.
    [[nodiscard]] Batch take();
    /// Bytes that wait to be taken.
    [[nodiscard]] std::size_t waiting() const;

private:
    mutable std::mutex mutex_;
    std::deque<SpooledPage> pages_;
    std::size_t bytes_ = 0;
    std::size_t limit_;
    std::uint64_t horizon_ = 0;
    bool closed_ = false;
};

} // namespace skbscope
