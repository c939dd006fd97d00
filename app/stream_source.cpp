#include "app/stream_source.h"

#include <algorithm>
#include <cerrno>
#include <poll.h>
#include <system_error>
#include <unistd.h>

namespace skbscope::app {

namespace {

constexpr std::size_t piece = 256 * 1024;
constexpr auto patience = std::chrono::milliseconds(8); ///< for one advance_to(): half a frame of the window
constexpr auto rate_window = std::chrono::milliseconds(1500);

} // namespace

StreamSource::StreamSource(int descriptor, std::string name, std::function<std::string()> ending,
                           std::function<std::optional<double>()> cost)
    : name_(std::move(name)), reader_(trace_, name_), ending_(std::move(ending)), cost_(std::move(cost)),
      thread_([this, descriptor](const std::stop_token& stop) { read(stop, descriptor); })
{
}

StreamSource::~StreamSource()
{
    close();
}

void StreamSource::close()
{
    thread_.request_stop();
    if (thread_.joinable()) {
        thread_.join();
    }
}

void StreamSource::read(const std::stop_token& stop, int descriptor)
{
    std::vector<std::uint8_t> bytes(piece);
    int error = 0;
    while (!stop.stop_requested()) {
        {
            const std::lock_guard guard(mutex_);
            if (waiting_ > most_waiting) {
                error = EAGAIN;
            }
        }
        if (std::exchange(error, 0) == EAGAIN) {
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
            continue;
        }
        pollfd wait{descriptor, POLLIN, 0};
        const int ready = poll(&wait, 1, 100); // now and then it looks whether it shall stop
        if (ready == 0 || (ready < 0 && errno == EINTR)) {
            continue;
        }
        const ssize_t got = ::read(descriptor, bytes.data(), bytes.size());
        if (got < 0 && (errno == EINTR || errno == EAGAIN)) {
            continue;
        }
        if (got <= 0) {
            error = got < 0 ? errno : 0;
            break;
        }
        const std::lock_guard guard(mutex_);
        blocks_.emplace_back(bytes.begin(), bytes.begin() + got);
        waiting_ += static_cast<std::size_t>(got);
    }
    const std::lock_guard guard(mutex_);
    at_end_ = true;
    read_error_ = error;
}

void StreamSource::advance_to(SimTime)
{
    const auto until = Clock::now() + patience;
    while (!ended_) {
        std::vector<std::uint8_t> block;
        bool last = false;
        {
            const std::lock_guard guard(mutex_);
            if (!blocks_.empty()) {
                block = std::move(blocks_.front());
                blocks_.pop_front();
                waiting_ -= block.size();
            } else {
                last = at_end_;
            }
        }
        if (block.empty()) {
            if (last) {
                end();
            }
            break;
        }
        if (refused_) {
            continue; // what follows nonsense is read and forgotten, so that its writer can end
        }
        if (auto fed = reader_.feed(block); !fed) {
            refused_ = true;
            why_ = fed.error().describe();
        }
        if (Clock::now() >= until) {
            break;
        }
    }
    count_losses();
    const auto now = Clock::now();
    if (samples_.empty() || now - samples_.back().at > rate_window / 10) {
        samples_.push_back({now, trace_.size()});
    }
    while (samples_.size() > 2 && now - samples_.front().at > rate_window) {
        samples_.pop_front();
    }
}

void StreamSource::count_losses()
{
    for (; counted_ < trace_.size(); ++counted_) {
        const Event& event = trace_[counted_];
        if (event.event_kind() == EventKind::lost) {
            lost_ += event.arg;
        } else if (event.event_kind() == EventKind::counter) {
            count_cost(event.time(), trace_.counter_changes()[event.arg]);
        }
    }
}

/// What the recorder says of itself, wherever it runs.
void StreamSource::count_cost(SimTime at, const CounterChange& change)
{
    const std::string& name = trace_.counter(change.counter).name;
    if (name != "recorder.cpu_us" && name != "recorder.probes_us_estimated") {
        return;
    }
    spent_us_ += change.after - change.before;
    if (spent_.empty() || spent_.back().at < at) {
        spent_.push_back({at, spent_us_});
    } else {
        spent_.back().us = spent_us_;
    }
    if (spent_.size() > 4) { // the last three seconds or so
        spent_.pop_front();
    }
}

std::optional<double> StreamSource::told_cost() const
{
    if (spent_.size() < 2 || trace_.hosts().empty()) {
        return std::nullopt;
    }
    const double us = static_cast<double>(spent_.back().us - spent_.front().us);
    const double passed = static_cast<double>((spent_.back().at - spent_.front().at).ns) / 1e3 *
                          std::max<double>(1, trace_.hosts().back().cpus);
    return std::clamp(us / passed, 0.0, 1.0);
}

void StreamSource::end()
{
    ended_ = true;
    int error = 0;
    {
        const std::lock_guard guard(mutex_);
        error = read_error_;
    }
    std::string loss;
    if (!refused_) {
        auto finished = reader_.finish();
        loss = finished ? *finished : finished.error().describe();
    }
    if (!loss.empty()) {
        trace_.faults.insert(trace_.faults.begin(), Fault{loss, 1, {}});
    }
    // Who knows best why it ended speaks first: the recorder itself.
    std::string why = ending_ ? ending_() : std::string();
    if (why.empty() && error != 0) {
        why = name_ + ": cannot be read: " + std::generic_category().message(error);
    }
    if (!why.empty()) {
        why_ = std::move(why);
    } else if (why_.empty()) {
        why_ = loss;
    }
}

std::optional<LiveStatus> StreamSource::live_status() const
{
    LiveStatus status;
    if (!ended_ && samples_.size() > 1) {
        const auto& first = samples_.front();
        const double seconds = std::chrono::duration<double>(Clock::now() - first.at).count();
        status.events_per_second =
            seconds > 0 ? static_cast<double>(trace_.size() - first.events) / seconds : 0;
    }
    status.lost_events = std::max(lost_, trace_.info.lost_events);
    if (!ended_) {
        const auto told = told_cost();
        status.cost = told ? told : cost_ ? cost_() : std::nullopt;
    }
    const auto recorder = std::ranges::find(trace_.files, "recorder", &HostFile::name);
    if (recorder != trace_.files.end()) {
        status.detail = recorder->text.substr(0, recorder->text.find('\n'));
    }
    status.ended = ended_;
    status.ending = why_;
    const std::lock_guard guard(mutex_);
    status.bytes_waiting = waiting_;
    return status;
}

} // namespace skbscope::app
