#pragma once
// The thread that empties the kernel's ring buffers into a spool.

#include "capture/live/page_spool.h"

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace skbscope {

/// Nanoseconds of the trace clock "mono".
[[nodiscard]] std::uint64_t monotonic_ns();

class RingReader {
public:
    /// Descriptors that are read without blocking, -1 for one that is not there; they outlive the reader. `cpus`: whose
    /// each is. One read gives at most `page_size` bytes.
    RingReader(std::vector<int> buffers, std::vector<std::uint16_t> cpus, std::size_t page_size, PageSpool& spool);
    /// Reads what is left, then ends. Recording must have been stopped.
    void finish();
    /// Read so far.
    [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

private:
    void run(const std::stop_token& stop);
    /// Reads until the buffers are empty; true if there was much.
    bool drain();
    /// Where one CPU makes most of the records, the thread keeps off it: that one has the traffic to carry.
    void keep_off_the_busiest();

    std::vector<int> buffers_;
    std::vector<std::uint16_t> cpus_;
    std::vector<std::uint64_t> bytes_of_cpu_; ///< since the place was chosen
    int kept_off_ = -1;                       ///< a CPU, or none
    std::vector<std::uint8_t> page_;
    PageSpool& spool_;
    std::atomic<std::uint64_t> bytes_{0};
    std::jthread thread_; ///< last: it uses the rest
};

} // namespace skbscope
