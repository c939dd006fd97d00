#pragma once
// A recording that arrives while one watches: the bytes of a pipe, taken in by a thread of its own so that whoever writes
// is never kept waiting by the window, and made into a trace a little at a time.

#include "core/recording/recording.h"
#include "core/trace/source.h"

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace skbscope::app {

class StreamSource : public Source {
public:
    /// Reads the descriptor to its end; it stays the caller's. `ending`: asked once the stream has ended: why it did, where that was no
    /// good end (one line); may be empty. `cost`: of the recorder, 0 … 1, where somebody can tell; may be empty.
    StreamSource(int descriptor, std::string name, std::function<std::string()> ending = {},
                 std::function<std::optional<double>()> cost = {});
    ~StreamSource() override;
    StreamSource(const StreamSource&) = delete;
    StreamSource& operator=(const StreamSource&) = delete;

    [[nodiscard]] Kind kind() const override { return Kind::live; }
    [[nodiscard]] std::string title() const override { return name_; }
    [[nodiscard]] const Trace& trace() const override { return trace_; }
    /// Takes in what has arrived, for some milliseconds at most; the time is not looked at.
    void advance_to(SimTime t) override;
    [[nodiscard]] SimTime known_until() const override { return trace_.end_time(); }
    [[nodiscard]] bool exhausted() const override { return ended_; }
    [[nodiscard]] std::optional<LiveStatus> live_status() const override;
    /// Reads no further. What has arrived by then is still taken in.
    void close() override;

    /// Bytes that are kept for the trace at most; then the pipe fills, and the recorder's own rule counts.
    static constexpr std::size_t most_waiting = std::size_t{512} << 20;

private:
    void read(const std::stop_token& stop, int descriptor);
    void count_losses();
    void count_cost(SimTime at, const CounterChange& change);
    [[nodiscard]] std::optional<double> told_cost() const;
    void end();

    std::string name_;
    Trace trace_;
    RecordingReader reader_;
    std::function<std::string()> ending_;
    std::function<std::optional<double>()> cost_;
    bool ended_ = false;
    bool refused_ = false; ///< these bytes are no recording
    std::string why_;
    std::size_t counted_ = 0; ///< events looked at for losses
    std::uint64_t lost_ = 0;
    struct Spent {
        SimTime at;
        std::uint64_t us = 0;
    };
    std::deque<Spent> spent_; ///< what recording had cost by then, as the recorder says; the last few
    std::uint64_t spent_us_ = 0;

    using Clock = std::chrono::steady_clock;
    struct Sample {
        Clock::time_point at;
        std::size_t events = 0;
    };
    std::deque<Sample> samples_; ///< of the last second or so

    mutable std::mutex mutex_; // over what follows
    std::deque<std::vector<std::uint8_t>> blocks_;
    std::size_t waiting_ = 0;
    bool at_end_ = false;
    int read_error_ = 0;
    std::jthread thread_; ///< last: it uses the rest
};

} // namespace skbscope::app
