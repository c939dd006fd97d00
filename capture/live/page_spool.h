#pragma once
// Pages of the ring buffers between the thread that empties the kernel's buffers and the one that makes journeys of
// them: the first must never wait for the second, or the kernel overwrites what was not read. Bounded: a part is kept in
// memory, more of it in a file where there is one, and what does not fit there either stays in the kernel.
//
// The first thread may have real-time priority and the second be very nice: what they share is locked for a few
// instructions, by a lock that lends its holder the priority of who waits, and the first takes its memory in large pieces,
// because malloc's locks lend nothing. A third thread has pieces at hand for it, and moves what waits into the file: memory
// that nobody has touched yet costs ten times what it costs to write a page into memory that is used again and again
// (a virtual machine may have given it back to its host), and a disk may take long.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <pthread.h>
#include <span>
#include <stop_token>
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

/// place(), keep(), push(), set_horizon() and close() belong to one thread, take() to one other, tend() to a third.
class PageSpool {
public:
    struct Room {
        std::size_t memory = 0; ///< bytes that may wait in memory
        /// What waits beyond `at_hand` goes there, at most `file_bytes` at a time; -1: nowhere. The descriptor is for reading
        /// and writing, the caller's, and outlives the spool; its content is the spool's.
        int file = -1;
        std::uint64_t file_bytes = 0;
        std::size_t piece = std::size_t{2} << 20; ///< bytes taken from the kernel at a time
        std::size_t at_hand = std::size_t{16} << 20;
    };
    explicit PageSpool(const Room& room);
    ~PageSpool();
    PageSpool(const PageSpool&) = delete;
    PageSpool& operator=(const PageSpool&) = delete;

    /// False: full.
    [[nodiscard]] bool has_room() const;
    /// So many bytes of memory into which the next page may be read; they become a page with keep(). Empty: there is none.
    [[nodiscard]] std::span<std::uint8_t> place(std::size_t bytes);
    /// The first `length` bytes of what place() gave are a page of that buffer.
    void keep(std::uint32_t source, std::size_t length);
    /// Both at once. False: there was no memory.
    bool push(std::uint32_t source, std::span<const std::uint8_t> bytes);
    /// All buffers have been emptied of what was recorded before that time (trace clock): all of it has been kept.
    void set_horizon(std::uint64_t time_ns);
    /// No page will come any more.
    void close();

    struct Batch {
        std::deque<SpooledPage> pages;
        std::uint64_t horizon_ns = 0; ///< everything recorded before that time has been taken, with this batch or before
        bool more = false;            ///< something waits behind this batch
        bool ended = false;           ///< this was the last one
        std::uint64_t unreadable = 0; ///< pages that the file did not give back, or for which there was no memory then
    };
    /// In the order in which they came, at most about `most_bytes` of them.
    [[nodiscard]] Batch take(std::size_t most_bytes);
    /// Bytes that wait to be taken, a few for each page's place included.
    [[nodiscard]] std::uint64_t waiting() const;
    /// … as a share of what may, 0 … 1.
    [[nodiscard]] double filled() const;

    /// The third thread's life. `each`: what it does whenever it has been called, before its work.
    void tend(const std::stop_token& stop, const std::function<void()>& each = [] {});
    /// One piece from memory into the file; false: there is no need, or no room. A part of tend().
    bool spill();

private:
    struct Memory;
    class Pool;
    /// Pages and horizons in the order in which they came, each behind an Entry, in memory or in the file.
    struct Piece {
        std::unique_ptr<Memory> memory; ///< null: it is in the file, or with the taking thread
        std::size_t used = 0;           ///< bytes
        std::size_t last_mark = 0;      ///< behind the Entry of a horizon that is its last; 0: it ends with a page
        std::uint64_t pages = 0;
        std::uint64_t slot = 0; ///< of the file, from 1; 0: it is in memory
        bool is_taken = false;  ///< the taking thread is at it
    };
    struct Entry {
        std::uint32_t source = 0; ///< or `mark`: what follows is a time
        std::uint32_t length = 0;
    };
    static constexpr std::uint32_t mark = ~std::uint32_t{0};

    /// Memory for an entry of that length in the piece that is being filled, or in a new one. Null: there is none.
    [[nodiscard]] std::uint8_t* room_for(std::size_t bytes);
    void add(Entry entry);
    void call_tender();
    /// There is something behind at_. False: nothing has come since.
    [[nodiscard]] bool next(Batch& batch);
    void leave_front();
    void fetch_front(Batch& batch);
    [[nodiscard]] Piece& piece(std::uint64_t serial) { return queue_[static_cast<std::size_t>(serial - first_) + head_]; }

    const Room room_;
    const std::shared_ptr<Pool> pool_; ///< outlives the spool: pages that were taken may

    mutable LendingMutex mutex_;  ///< for all to the next blank line
    std::vector<Piece> queue_;    ///< from head_ on; the last one is being filled
    std::size_t head_ = 0;
    std::uint64_t first_ = 1;     ///< serial number of the one at head_
    std::uint64_t in_memory_ = 0; ///< bytes
    std::uint64_t in_file_ = 0;
    std::vector<std::uint64_t> free_slots_;
    std::uint64_t slots_made_ = 0;
    std::uint64_t most_slots_;
    std::size_t seen_ = 0; ///< of the front piece: what the taking thread may be looking at
    bool closed_ = false;

    std::atomic<std::uint32_t> calls_{0};  ///< of the tender
    std::atomic<std::uint64_t> moving_{0}; ///< the piece that is being written into the file; 0: none

    std::uint8_t* filling_ = nullptr; ///< of the pushing thread: where the next entry goes
    std::size_t filling_left_ = 0;
    std::size_t pieces_begun_ = 0;

    bool has_front_ = false; ///< of the taking thread: it is at a piece
    std::shared_ptr<Memory> front_; ///< null where the file did not give it back
    std::size_t at_ = 0;
    std::size_t until_ = 0;
    std::uint64_t horizon_ = 0;
};

} // namespace skbscope
