#include "capture/lab/recorder.h"

#include "capture/live/live_recording.h"
#include "core/recording/recording.h"

#include <atomic>
#include <chrono>
#include <fmt/format.h>
#include <optional>
#include <thread>

namespace skbscope::lab {

namespace {

constexpr auto settle = std::chrono::milliseconds(200);

} // namespace

struct Recorder::State {
    std::optional<LiveRecording> recording;
    Trace trace;
    std::optional<RecordingReader> reader;
    Result<LiveSummary> summary;
    std::atomic<bool> stop{false};
    std::thread thread;
    std::vector<std::string> remarks;
};

Recorder::Recorder() : state_(std::make_unique<State>()) {}

Recorder::~Recorder()
{
    state_->stop = true;
    if (state_->thread.joinable()) {
        state_->thread.join();
    }
}

const std::vector<std::string>& Recorder::remarks() const
{
    return state_->remarks;
}

Result<void> Recorder::start(const std::vector<std::string>& devices)
{
    LiveWishes wishes;
    wishes.frames = false;
    wishes.sample_seconds = 0; // the lab counts in its own namespaces
    wishes.devices = devices;
    auto opened = LiveRecording::open(wishes);
    if (!opened) {
        return tl::unexpected(opened.error());
    }
    State& state = *state_;
    state.remarks = opened->missing();
    state.recording.emplace(std::move(*opened));
    state.reader.emplace(state.trace, "lab");
    // From here on the kernel's records are kept: what is sent next is in the recording, however late the thread runs.
    state.recording->start();
    state.thread = std::thread([&state] {
        const auto sink = [&state](std::span<const std::uint8_t> bytes) { return state.reader->feed(bytes).has_value(); };
        state.summary = state.recording->run(sink, "lab", state.stop);
    });
    return {};
}

Result<Trace> Recorder::stop()
{
    State& state = *state_;
    std::this_thread::sleep_for(settle);
    state.stop = true;
    state.thread.join();
    state.recording.reset();
    if (!state.summary) {
        return tl::unexpected(state.summary.error());
    }
    if (const auto finished = state.reader->finish(); !finished) {
        return tl::unexpected(finished.error());
    }
    state.reader.reset();
    if (state.summary->lost != 0) {
        state.remarks.push_back(fmt::format("{} records were lost: the ring buffers were too small", state.summary->lost));
    }
    state.remarks.insert(state.remarks.end(), state.summary->remarks.begin(), state.summary->remarks.end());
    return std::move(state.trace);
}

} // namespace skbscope::lab
