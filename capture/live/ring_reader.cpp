#include "capture/live/ring_reader.h"

#include "capture/ring_pages.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <ctime>
#include <numeric>
#include <sched.h>
#include <span>
#include <unistd.h>

namespace skbscope {

namespace {

/// An event is stamped, and then written; it may be that much late in becoming readable.
constexpr std::uint64_t settling_ns = 1'000'000;
/// Emptying by the clock costs the traced code nothing; being woken by each record would.
constexpr auto pause = std::chrono::milliseconds(4);
constexpr std::size_t many_pages = 256;

} // namespace

std::uint64_t monotonic_ns()
{
    timespec now{};
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U + static_cast<std::uint64_t>(now.tv_nsec);
}

RingReader::RingReader(std::vector<int> buffers, std::vector<std::uint16_t> cpus, std::size_t page_size, PageSpool& spool)
    : buffers_(std::move(buffers)), cpus_(std::move(cpus)), page_(page_size), spool_(spool)
{
    bytes_of_cpu_.resize(cpus_.empty() ? 0 : std::size_t{1} + *std::ranges::max_element(cpus_));
    // Signals are for the thread that can end the recording in order.
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
    (void)pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void RingReader::finish()
{
    thread_.request_stop();
    if (thread_.joinable()) {
        thread_.join();
    }
}

void RingReader::keep_off_the_busiest()
{
    constexpr std::uint64_t enough = 4U << 20; // bytes: some 80 000 records
    const std::uint64_t all = std::accumulate(bytes_of_cpu_.begin(), bytes_of_cpu_.end(), std::uint64_t{0});
    if (all < enough) {
        return;
    }
    const auto busiest = std::ranges::max_element(bytes_of_cpu_);
    const int cpu = *busiest > all / 3 * 2 ? static_cast<int>(busiest - bytes_of_cpu_.begin()) : -1;
    std::ranges::fill(bytes_of_cpu_, 0);
    cpu_set_t allowed;
    if (cpu == kept_off_ || cpu >= CPU_SETSIZE || sched_getaffinity(0, sizeof allowed, &allowed) != 0) {
        return;
    }
    if (kept_off_ >= 0) {
        CPU_SET(static_cast<std::size_t>(kept_off_), &allowed);
    }
    if (cpu >= 0) {
        CPU_CLR(static_cast<std::size_t>(cpu), &allowed);
    }
    const bool could_keep_off = CPU_COUNT(&allowed) > 0 && sched_setaffinity(0, sizeof allowed, &allowed) == 0;
    kept_off_ = could_keep_off ? cpu : kept_off_;
}

void RingReader::run(const std::stop_token& stop)
{
    while (!stop.stop_requested()) {
        const std::uint64_t before = monotonic_ns();
        if (!spool_.has_room()) { // the kernel keeps what it can, and counts what it cannot
            std::this_thread::sleep_for(pause);
            continue;
        }
        const bool much = drain();
        spool_.set_horizon(before - settling_ns);
        keep_off_the_busiest();
        if (!much) {
            std::this_thread::sleep_for(pause);
        }
    }
    (void)drain();
    spool_.close();
}

bool RingReader::drain()
{
    std::size_t pages = 0;
    for (std::uint32_t source = 0; source < buffers_.size(); ++source) {
        if (buffers_[source] < 0) {
            continue;
        }
        ssize_t got = 0;
        while ((got = read(buffers_[source], page_.data(), page_.size())) > 0) {
            const std::span<const std::uint8_t> page(page_.data(), static_cast<std::size_t>(got));
            const auto header = RingPages::header_of(page);
            // The count of lost records may stand behind the last record.
            const std::size_t used = header.is_damaged ? page.size() : RingPages::header_size + header.size + 8;
            const auto kept = page.first(std::min(used, page.size()));
            spool_.push(source, kept);
            bytes_ += kept.size();
            bytes_of_cpu_[cpus_[source]] += kept.size();
            ++pages;
        }
    }
    return pages > many_pages;
}

} // namespace skbscope
