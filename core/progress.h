#pragma once
// How far some work has come, and the wish that it stop. One thread works and tells; others look on, and may ask it to
// stop: also a signal handler, for everything in here is a lock-free atomic. Whoever starts the work owns this and keeps
// it alive until the work is over.

#include "core/result.h"

#include <atomic>
#include <cstdint>
#include <string>
#include <utility>

namespace skbscope {

class Progress {
public:
    // ---- for the worker ---------------------------------------------------------------------------------------------
    /// A part of the work begins: what is done ("reading", a text that lasts for ever), and how much of it there is, in
    /// units of its own (mostly bytes). 0: not known.
    void begin(const char* what, std::uint64_t total)
    {
        done_ = 0;
        things_ = 0;
        total_ = total;
        what_ = what;
    }
    /// So much of it is done.
    void reach(std::uint64_t done) { done_.store(done, std::memory_order_relaxed); }
    /// So many records or events were taken, for those who want a rate.
    void count(std::uint64_t things) { things_.fetch_add(things, std::memory_order_relaxed); }
    /// To be asked often. What was begun should then end as if it had never been: with stopped().
    [[nodiscard]] bool is_cancelled() const { return cancelled_.load(std::memory_order_relaxed); }

    // ---- for those who watch ----------------------------------------------------------------------------------------
    void cancel() { cancelled_.store(true, std::memory_order_relaxed); }
    [[nodiscard]] const char* what() const { return what_; }
    [[nodiscard]] std::uint64_t total() const { return total_; }
    [[nodiscard]] std::uint64_t done() const { return done_; }
    [[nodiscard]] std::uint64_t things() const { return things_; }
    /// 0 to 100; -1: not known.
    [[nodiscard]] int percent() const
    {
        const std::uint64_t total = total_;
        const std::uint64_t done = done_;
        return total == 0 ? -1 : done >= total ? 100 : static_cast<int>(static_cast<double>(done) * 100 / static_cast<double>(total));
    }

private:
    std::atomic<bool> cancelled_{false};
    std::atomic<const char*> what_{""};
    std::atomic<std::uint64_t> total_{0}, done_{0}, things_{0};
};

/// What work returns that was asked to stop. Whoever asked knows; the words are for everybody else.
[[nodiscard]] inline tl::unexpected<Error> stopped(std::string where)
{
    return fail(ErrorKind::cut, std::move(where), "stopped before its end, as was asked");
}

} // namespace skbscope
