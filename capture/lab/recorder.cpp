#include "capture/lab/recorder.h"

#include "capture/live/live_recording.h"
#include "capture/session/leftovers.h"
#include "core/recording/recording.h"

#include <atomic>
#include <chrono>
#include <fmt/format.h>
#include <fstream>
#include <optional>
#include <thread>

namespace skbscope::lab {

namespace {

constexpr auto settle = std::chrono::milliseconds(200);
constexpr auto patience = std::chrono::seconds(10);

/// Its instance lets records in.
bool is_recording()
{
    for (const char* tracing : {"/sys/kernel/tracing", "/sys/kernel/debug/tracing"}) {
        std::ifstream in(fmt::format("{}/instances/{}/tracing_on", tracing, own_mark().text()));
        char on = '0';
        if (in >> on && on == '1') {
            return true;
        }
    }
    return false;
}

} // namespace

struct Recorder::State {
    std::optional<LiveRecording> recording;
    Trace trace;
    std::optional<RecordingReader> reader;
    Result<LiveSummary> summary;
    std::atomic<bool> stop{false}, ended{false};
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

Result<void> Recorder::start()
{
    LiveWishes wishes;
    wishes.frames = false;
    auto opened = LiveRecording::open(wishes);
    if (!opened) {
        return tl::unexpected(opened.error());
    }
    State& state = *state_;
    state.remarks = opened->missing();
    state.recording.emplace(std::move(*opened));
    state.reader.emplace(state.trace, "lab");
    state.thread = std::thread([&state] {
        const auto sink = [&state](std::span<const std::uint8_t> bytes) { return state.reader->feed(bytes).has_value(); };
        state.summary = state.recording->run(sink, "lab", state.stop);
        state.ended = true;
    });
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (!is_recording() && !state.ended && std::chrono::steady_clock::now() < deadline) {
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    if (state.ended || std::chrono::steady_clock::now() >= deadline) {
        return !state.summary ? tl::unexpected(state.summary.error()) : fail(ErrorKind::unsupported, "recorder", "did not begin to record");
    }
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
