#pragma once
// The thread that empties the kernel's ring buffers into a spool.

#include "capture/live/page_spool.h"

#include <atomic>
#include <cstdint>
#include <optional>
#include <thread>
#include <vector>

namespace skbscope {

/// Nanoseconds of the trace clock "mono".
[[nodiscard]] std::uint64_t monotonic_ns();

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

class RingReader {
public:
    /// Descriptors that are read without blocking, -1 for one that is not there; they outlive the reader. `cpus`: whose
    /// each is. One read gives at most `page_size` bytes.
    RingReader(std::vector<int> buffers, std::vector<std::uint16_t> cpus, std::size_t page_size, PageSpool& spool);
    /// Reads what is left, then ends. Recording must have been stopped.
    void finish();
    /// Read so far.
    [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
    /// The CPU that makes most of the records, if there is one, else -1.
    [[nodiscard]] int busiest_cpu() const { return busiest_; }

private:
    void run(const std::stop_token& stop);
    /// Reads until the buffers are empty; how many pages that were. None: there was no memory for all of it.
    std::optional<std::size_t> drain();
    void find_busiest();

    std::vector<int> buffers_;
    std::vector<std::uint16_t> cpus_;
    std::vector<std::uint64_t> bytes_of_cpu_; ///< since the place was chosen
    std::atomic<int> busiest_{-1};
    KeepsOff keeps_off_;
    std::size_t page_size_;
    PageSpool& spool_;
    std::atomic<std::uint64_t> bytes_{0};
    std::jthread thread_; ///< last: it uses the rest
};

} // namespace skbscope
