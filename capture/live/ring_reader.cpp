#include "capture/live/ring_reader.h"

#include "capture/ring_pages.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <numeric>
#include <sched.h>
#include <span>
#include <sys/syscall.h>
#include <unistd.h>

namespace skbscope {

namespace {

/// An event is stamped, and then written; it may be that much late in becoming readable.
constexpr std::uint64_t settling_ns = 1'000'000;
/// Emptying by the clock costs the traced code nothing; being woken by each record would.
constexpr auto pause = std::chrono::milliseconds(10);
constexpr auto calm_pause = std::chrono::milliseconds(100);
/// Of a buffer, since it was emptied last.
constexpr double little = 1.0 / 64;
constexpr double wanted_share = 0.25;
constexpr auto shortest_pause = std::chrono::milliseconds(1);
constexpr auto longest_pause = std::chrono::milliseconds(20);
/// Read at a time: who reads the packets on this CPU must not wait until its socket is full (some two hundred small
/// datagrams by default).
constexpr std::size_t a_turn = std::size_t{256} << 10;
constexpr auto between_turns = std::chrono::microseconds(200);

/// As in include/uapi/linux/sched/types.h, which cannot be included beside sched.h.
struct SchedAttributes {
    std::uint32_t size, policy;
    std::uint64_t flags;
    std::int32_t nice;
    std::uint32_t priority;
    std::uint64_t runtime, deadline, period;
};

} // namespace

std::chrono::nanoseconds pause_after(std::chrono::nanoseconds interval, double share, bool calm)
{
    if (share <= little) {
        return calm ? calm_pause : pause;
    }
    return std::clamp(std::chrono::nanoseconds(static_cast<std::int64_t>(static_cast<double>(interval.count()) * wanted_share / share)),
                      std::chrono::nanoseconds(shortest_pause), std::chrono::nanoseconds(longest_pause));
}

void take_short_turns()
{
    SchedAttributes mine{};
    if (syscall(SYS_sched_getattr, 0, &mine, sizeof mine, 0) != 0 || mine.policy != SCHED_OTHER) {
        return;
    }
    mine.size = sizeof mine;
    mine.runtime = 100'000; // the least that the kernel takes (sched_setattr(2): a hint for SCHED_OTHER)
    (void)syscall(SYS_sched_setattr, 0, &mine, 0);
}

RingReader::RingReader(std::vector<Buffer> buffers, std::size_t page_size, PageSpool& spool, TraceClock& clock)
    : buffers_(std::move(buffers)), page_size_(page_size), spool_(spool), clock_(clock)
{
    for (const Buffer& buffer : buffers_) {
        bytes_of_cpu_.resize(std::max<std::size_t>(bytes_of_cpu_.size(), std::size_t{1} + buffer.cpu));
    }
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

void RingReader::be_calm(bool calm)
{
    {
        const std::scoped_lock lock(sleep_mutex_);
        calm_ = calm;
    }
    sleep_ends_.notify_all();
}

void RingReader::sleep(const std::stop_token& stop, std::chrono::nanoseconds time)
{
    std::unique_lock lock(sleep_mutex_);
    const bool was_calm = calm_;
    (void)sleep_ends_.wait_for(lock, stop, time, [&] { return was_calm && !calm_; });
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
    std::uint64_t last = monotonic_ns();
    while (!stop.stop_requested()) {
        if (!spool_.has_room()) { // the kernel keeps what it can, and counts what it cannot
            std::this_thread::sleep_for(pause);
            continue;
        }
        const TraceClock::Moment before = clock_.note();
        const auto fullest = drain(before.stamp);
        if (fullest) {
            spool_.set_horizon(before.mono_ns - settling_ns);
        }
        find_busiest();
        sleep(stop, pause_after(std::chrono::nanoseconds(before.mono_ns - last), fullest.value_or(0), calm_));
        last = before.mono_ns;
    }
    (void)drain(~std::uint64_t{0});
    spool_.close();
}

std::optional<double> RingReader::drain(std::uint64_t until)
{
    double fullest = 0;
    std::size_t turn = 0;
    for (std::uint32_t source = 0; source < buffers_.size(); ++source) {
        const Buffer& buffer = buffers_[source];
        std::uint64_t of_source = 0;
        while (buffer.file >= 0) {
            const std::span<std::uint8_t> place = spool_.place(page_size_);
            if (place.empty()) {
                return std::nullopt; // the kernel keeps what it can
            }
            const ssize_t got = read(buffer.file, place.data(), place.size());
            if (got <= 0) {
                break;
            }
            const auto page = place.first(static_cast<std::size_t>(got));
            const auto header = RingPages::header_of(page);
            // The count of lost records may stand behind the last record.
            const std::size_t used = std::min(header.is_damaged ? page.size() : RingPages::header_size + header.size + 8, page.size());
            spool_.keep(source, used);
            bytes_ += used;
            bytes_of_cpu_[buffer.cpu] += used;
            of_source += used;
            turn += used;
            // What begins later has not been there before. Going on would be to run after the writer, a few records at a time
            // off the page that it is writing: that slows the traced code down by a quarter.
            if (header.time_ns >= until) {
                break;
            }
            if (turn >= a_turn) {
                turn = 0;
                std::this_thread::sleep_for(between_turns);
            }
        }
        fullest = std::max(fullest, static_cast<double>(of_source) / static_cast<double>(std::max<std::uint64_t>(buffer.bytes, 1)));
    }
    return fullest;
}

} // namespace skbscope
