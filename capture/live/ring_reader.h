#pragma once
// The thread that empties the kernel's ring buffers into a spool.

#include "capture/live/page_spool.h"
#include "capture/live/trace_clock.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace skbscope {

/// Where one CPU makes most of the records, it has the traffic to carry: the threads of a recorder keep off it, each with
/// one of these.
class KeepsOff {
public:
    /// The calling thread does not run on that CPU any more; -1: it may run anywhere. Where that is refused, or there is no
    /// other CPU, nothing changes.
    void cpu(int wanted);

private:
    int cpu_ = -1;
    int refused_ = -1;
};

/// How long buffers may fill until they are emptied again, when in the `interval` before `share` of the fullest of them has been
/// filled: soon where little comes, because somebody may be waiting for it, else until it is a quarter. Each look at a buffer
/// that is being written disturbs the writer, and each waking the CPU that it happens on. `calm`: nobody waits for the little.
[[nodiscard]] std::chrono::nanoseconds pause_after(std::chrono::nanoseconds interval, double share, bool calm = false);

/// The calling thread, when it runs beside others at the same priority, lets them have the CPU soon: a reader of the traffic
/// that waits for its CPU loses packets. Linux 6.12 and newer; CFS before did so by itself where niceness differs.
void take_short_turns();

class RingReader {
public:
    struct Buffer {
        int file = -1; ///< read without blocking; -1: it is not there. Outlives the reader
        std::uint16_t cpu = 0;
        std::uint64_t bytes = 0; ///< its size
    };
    /// One read gives at most `page_size` bytes.
    RingReader(std::vector<Buffer> buffers, std::size_t page_size, PageSpool& spool, TraceClock& clock);
    /// Reads what is left, then ends. Recording must have been stopped.
    void finish();
    /// Little is to be expected from now on, or no more: seldom looks are enough then. What comes behind a calm time is
    /// looked at as soon as at any other.
    void be_calm(bool calm);
    [[nodiscard]] bool is_calm() const { return calm_; }
    /// Read so far.
    [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
    /// The CPU that makes most of the records, if there is one, else -1.
    [[nodiscard]] int busiest_cpu() const { return busiest_; }

private:
    void run(const std::stop_token& stop);
    /// Or until it is to be calm no more, or to stop.
    void sleep(const std::stop_token& stop, std::chrono::nanoseconds time);
    /// Reads what was recorded before that stamp, and a little more; the share of the buffer that was fullest. None: there was no memory
    /// for all of it.
    std::optional<double> drain(std::uint64_t until);
    void find_busiest();

    std::vector<Buffer> buffers_;
    std::vector<std::uint64_t> bytes_of_cpu_; ///< since the place was chosen
    std::atomic<int> busiest_{-1};
    std::atomic<bool> calm_{false};
    std::mutex sleep_mutex_; ///< nobody holds it for longer than a few instructions
    std::condition_variable_any sleep_ends_;
    KeepsOff keeps_off_;
    std::size_t page_size_;
    PageSpool& spool_;
    TraceClock& clock_;
    std::atomic<std::uint64_t> bytes_{0};
    std::jthread thread_; ///< last: it uses the rest
};

} // namespace skbscope
