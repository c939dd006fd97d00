#include "capture/live/ring_reader.h"

#include "capture/ring_pages.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <ctime>
#include <fstream>
#include <numeric>
#include <sched.h>
#include <span>
#include <string>
#include <unistd.h>

namespace skbscope {

namespace {

/// An event is stamped, and then written; it may be that much late in becoming readable.
constexpr std::uint64_t settling_ns = 1'000'000;
/// Emptying by the clock costs the traced code nothing; being woken by each record would.
constexpr auto pause = std::chrono::milliseconds(4);
constexpr std::size_t many_pages = 256;

/// By which a time namespace's monotonic clock is ahead of the kernel's own, which stamps records (time_namespaces(7)).
std::int64_t namespace_offset_ns()
{
    std::ifstream offsets("/proc/self/timens_offsets");
    std::string clock;
    for (std::int64_t seconds = 0, nanoseconds = 0; offsets >> clock >> seconds >> nanoseconds;) {
        if (clock == "monotonic") {
            return seconds * 1'000'000'000 + nanoseconds;
        }
    }
    return 0;
}

} // namespace

std::uint64_t monotonic_ns()
{
    static const std::int64_t offset = namespace_offset_ns();
    timespec now{};
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec * 1'000'000'000LL + now.tv_nsec - offset);
}

RingReader::RingReader(std::vector<int> buffers, std::vector<std::uint16_t> cpus, std::size_t page_size, PageSpool& spool)
    : buffers_(std::move(buffers)), cpus_(std::move(cpus)), page_size_(page_size), spool_(spool)
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

void KeepsOff::cpu(int wanted)
{
    cpu_set_t allowed;
    if (wanted == cpu_ || wanted == refused_ || wanted >= CPU_SETSIZE || sched_getaffinity(0, sizeof allowed, &allowed) != 0) {
        return;
    }
    if (cpu_ >= 0) {
        CPU_SET(static_cast<std::size_t>(cpu_), &allowed);
    }
    if (wanted >= 0) {
        CPU_CLR(static_cast<std::size_t>(wanted), &allowed);
    }
    if (CPU_COUNT(&allowed) > 0 && sched_setaffinity(0, sizeof allowed, &allowed) == 0) {
        cpu_ = wanted;
        refused_ = -1;
    } else {
        refused_ = wanted;
    }
}

void RingReader::find_busiest()
{
    constexpr std::uint64_t enough = 4U << 20; // bytes: some 80 000 records
    const std::uint64_t all = std::accumulate(bytes_of_cpu_.begin(), bytes_of_cpu_.end(), std::uint64_t{0});
    if (all < enough) {
        return;
    }
    const auto most = std::ranges::max_element(bytes_of_cpu_);
    busiest_ = *most > all / 3 * 2 ? static_cast<int>(most - bytes_of_cpu_.begin()) : -1;
    std::ranges::fill(bytes_of_cpu_, 0);
    keeps_off_.cpu(busiest_);
}

void RingReader::run(const std::stop_token& stop)
{
    while (!stop.stop_requested()) {
        const std::uint64_t before = monotonic_ns();
        if (!spool_.has_room()) { // the kernel keeps what it can, and counts what it cannot
            std::this_thread::sleep_for(pause);
            continue;
        }
        const auto pages = drain();
        if (pages) {
            spool_.set_horizon(before - settling_ns);
        }
        find_busiest();
        if (pages.value_or(0) <= many_pages) {
            std::this_thread::sleep_for(pause);
        }
    }
    (void)drain();
    spool_.close();
}

std::optional<std::size_t> RingReader::drain()
{
    std::size_t pages = 0;
    for (std::uint32_t source = 0; source < buffers_.size(); ++source) {
        if (buffers_[source] < 0) {
            continue;
        }
        while (true) {
            const std::span<std::uint8_t> place = spool_.place(page_size_);
            if (place.empty()) {
                return std::nullopt; // the kernel keeps what it can
            }
            const ssize_t got = read(buffers_[source], place.data(), place.size());
            if (got <= 0) {
                break;
            }
            const auto page = place.first(static_cast<std::size_t>(got));
            const auto header = RingPages::header_of(page);
            // The count of lost records may stand behind the last record.
            const std::size_t used = std::min(header.is_damaged ? page.size() : RingPages::header_size + header.size + 8, page.size());
            spool_.keep(source, used);
            bytes_ += used;
            bytes_of_cpu_[cpus_[source]] += used;
            ++pages;
        }
    }
    return pages;
}

} // namespace skbscope
