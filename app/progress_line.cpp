#include "app/progress_line.h"

#include "app/text.h"

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <fmt/format.h>
#include <mutex>
#include <thread>
#include <unistd.h>
#include <utility>

namespace skbscope::app {

namespace {

constexpr std::array stop_signals{SIGINT, SIGTERM};

std::atomic<Progress*> stoppable{nullptr};
std::atomic<int> stopped_by{0};

void on_signal(int number)
{
    stopped_by = number;
    if (Progress* progress = stoppable; progress != nullptr) {
        progress->cancel();
    }
}

} // namespace

std::string progress_text(const std::string& subject, const Progress& progress, double seconds)
{
    std::string line = fmt::format("{}: {}", subject, progress.what());
    if (const int percent = progress.percent(); percent >= 0) {
        line += fmt::format(", {} %", percent);
    }
    if (const auto things = static_cast<double>(progress.things()); things > 0 && seconds > 0) {
        const double rate = things / seconds;
        line += rate >= 1e6 ? fmt::format(" ({:.1f} million a second)", rate / 1e6)
                            : fmt::format(" ({:.0f} a second)", rate);
    }
    return line;
}

class ProgressLine::Impl {
public:
    Impl(std::string subject, OnSignal wish) : subject_(std::move(subject))
    {
        stoppable = &progress;
        struct sigaction action = {};
        action.sa_handler = on_signal;
        // Once only: who asks twice wants an end. And what waits for a pipe shall not wait on.
        action.sa_flags = static_cast<int>(SA_RESETHAND);
        for (std::size_t i = 0; i < stop_signals.size(); ++i) {
            (void)sigaction(stop_signals[i], nullptr, &before_[i]);
            if (wish == OnSignal::cancel && before_[i].sa_handler != SIG_IGN) { // nohup and its like
                (void)sigaction(stop_signals[i], &action, nullptr);
            }
        }
        if (isatty(STDERR_FILENO) != 0) {
            thread_ = std::thread([this] { show(); });
        }
    }
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;
    ~Impl()
    {
        if (thread_.joinable()) {
            {
                const std::lock_guard guard(lock_);
                over_ = true;
            }
            ended_.notify_one();
            thread_.join();
        }
        for (std::size_t i = 0; i < stop_signals.size(); ++i) {
            (void)sigaction(stop_signals[i], &before_[i], nullptr);
        }
        stoppable = nullptr;
    }

    Progress progress;

private:
    void show()
    {
        using namespace std::chrono_literals;
        const auto start = std::chrono::steady_clock::now();
        bool shown = false;
        std::unique_lock guard(lock_);
        auto pause = 500ms; // what is over sooner shows nothing
        while (!ended_.wait_for(guard, pause, [this] { return over_; })) {
            const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
            say("\r{}{}\033[K", progress_text(subject_, progress, took.count()),
                       progress.is_cancelled() ? ": stopping" : "; Ctrl-C stops it");
            std::fflush(stderr);
            shown = true;
            pause = 200ms;
        }
        if (shown) {
            say("\r\033[K");
            std::fflush(stderr);
        }
    }

    std::string subject_;
    std::array<struct sigaction, stop_signals.size()> before_{};
    std::mutex lock_;
    std::condition_variable ended_;
    bool over_ = false;
    std::thread thread_;
};

ProgressLine::ProgressLine(std::string subject, OnSignal wish)
    : impl_(std::make_unique<Impl>(std::move(subject), wish))
{
}
ProgressLine::~ProgressLine() = default;

Progress& ProgressLine::progress()
{
    return impl_->progress;
}

int interrupted_by()
{
    return stopped_by;
}

} // namespace skbscope::app
