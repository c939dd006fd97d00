#pragma once
// Pages of the ring buffers between the thread that empties the kernel's buffers and the one that makes journeys of
// them: the first must never wait for the second, or the kernel overwrites what was not read. Bounded: a part is kept in
// memory, more of it in a file where there is one, and what does not fit there either stays in the kernel.
//
// The first thread may have real-time priority and the second be very nice: what they share is locked for a few
// instructions, by a lock that lends its holder the priority of who waits, and the first takes its memory in large pieces
// from the kernel, because malloc's locks lend nothing.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <pthread.h>
#include <span>
#include <utility>
#include <vector>

namespace skbscope {

/// What one read of a buffer gave.
struct SpooledPage {
    SpooledPage(std::uint32_t from, std::span<const std::uint8_t> content, std::shared_ptr<const void> owner)
        : source(from), bytes(content), keeps(std::move(owner))
    {
    }
    SpooledPage(std::uint32_t from, std::vector<std::uint8_t> content);

    std::uint32_t source = 0; ///< which buffer
    std::span<const std::uint8_t> bytes;
    std::shared_ptr<const void> keeps; ///< what `bytes` lie in
};

/// A mutex whose holder runs with the priority of the thread that waits for it.
class LendingMutex {
public:
    LendingMutex();
    ~LendingMutex() { (void)pthread_mutex_destroy(&mutex_); }
    LendingMutex(const LendingMutex&) = delete;
    LendingMutex& operator=(const LendingMutex&) = delete;
    void lock() { (void)pthread_mutex_lock(&mutex_); }
    void unlock() { (void)pthread_mutex_unlock(&mutex_); }

private:
    pthread_mutex_t mutex_{};
};

/// push(), set_horizon() and close() belong to one thread, take() to one other.
class PageSpool {
public:
    /// `file`: what memory does not hold goes there, at most `file_limit` bytes at a time; -1: nowhere. The descriptor is
    /// for reading and writing, the caller's, and outlives the spool; its content is the spool's.
    explicit PageSpool(std::size_t limit_bytes, int file = -1, std::uint64_t file_limit = 0);

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
        std::uint64_t unreadable = 0; ///< pages that the file did not give back, or for which there was no memory
    };
    /// In the order in which they came, at most about `most_bytes` of them.
    [[nodiscard]] Batch take(std::size_t most_bytes);
    /// Bytes that wait to be taken.
    [[nodiscard]] std::uint64_t waiting() const;

private:
    /// Memory for many pages.
    struct Piece {
        explicit Piece(std::size_t bytes);
        ~Piece();
        Piece(const Piece&) = delete;
        Piece& operator=(const Piece&) = delete;
        std::uint8_t* memory = nullptr; ///< null: there was none
        std::size_t size = 0, used = 0;
    };
    /// A page, or (source `mark`) a horizon.
    struct Entry {
        std::uint32_t source = 0;
        std::uint32_t length = 0;
        std::uint64_t at = 0;          ///< place in the piece or the file; of a mark: the time
        std::shared_ptr<Piece> piece; ///< null: it is in the file
    };
    static constexpr std::uint32_t mark = ~std::uint32_t{0};
    [[nodiscard]] bool into_file(Entry& entry, std::span<const std::uint8_t> bytes);
    [[nodiscard]] bool into_memory(Entry& entry, std::span<const std::uint8_t> bytes);
    /// False: nothing has come since.
    [[nodiscard]] bool fetch();

    mutable LendingMutex mutex_; ///< for the next seven
    std::vector<Entry> come_;
    std::uint64_t in_memory_ = 0; ///< bytes
    std::uint64_t in_file_ = 0;
    std::uint64_t file_end_ = 0;
    std::uint64_t file_limit_;
    std::uint64_t refused_ = 0; ///< pages
    bool closed_ = false;

    const std::size_t limit_;
    const int file_;
    std::shared_ptr<Piece> filling_; ///< of the pushing thread

    std::vector<Entry> taken_; ///< of the taking thread, from next_ on
    std::size_t next_ = 0;
    std::uint64_t horizon_ = 0;
};

} // namespace skbscope
