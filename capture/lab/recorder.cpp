#include "capture/lab/recorder.h"

#include "capture/import.h"
#include "capture/lab/frames.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <fstream>
#include <optional>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace skbscope::lab {

namespace {

constexpr std::string_view systems[] = {"net", "napi", "skb", "sock", "udp", "tcp", "fib", "neigh", "qdisc", "icmp"};
constexpr std::string_view events[] = {"irq:softirq_raise", "irq:softirq_entry", "irq:softirq_exit"};
constexpr int settle_us = 200'000;

bool exists(const std::string& path)
{
    return ::access(path.c_str(), F_OK) == 0;
}

class TraceCmd : public Recorder {
public:
    TraceCmd(std::string folder, std::string name, const Plan& plan) : folder_(std::move(folder)), name_(std::move(name)), plan_(plan) {}
    ~TraceCmd() override
    {
        if (child_ > 0) {
            ::kill(-child_, SIGKILL); // its readers, too
            (void)::waitpid(child_, nullptr, 0);
        }
    }
    TraceCmd(const TraceCmd&) = delete;
    TraceCmd& operator=(const TraceCmd&) = delete;

    Result<void> start(UndoList& undo) override
    {
        const std::string tracing = "/sys/kernel/tracing";
        if (!exists(tracing + "/events")) {
            return fail(ErrorKind::not_permitted, tracing, "tracefs is not mounted there", "mount -t tracefs nodev /sys/kernel/tracing");
        }
        if (auto frames = Frames::open(plan_)) {
            frames_.emplace(std::move(*frames));
        } else {
            remarks_.push_back("no frames: " + frames.error().describe());
        }
        if (const auto noted = undo.add({Undo::Kind::instance, name_, {}}); !noted) {
            return noted;
        }
        std::vector<std::string> words{"trace-cmd", "record", "-B", name_, "-d", "-k", "--no-filter", "-C", "mono", "-b", "16384", "-q"};
        for (const std::string_view system : systems) {
            if (exists(fmt::format("{}/events/{}", tracing, system))) {
                words.insert(words.end(), {"-e", std::string(system)});
            }
        }
        for (const std::string_view event : events) {
            words.insert(words.end(), {"-e", std::string(event)});
        }
        words.insert(words.end(), {"-o", folder_ + "/trace.dat"});
        return run(words, undo, tracing);
    }

    Result<Trace> stop() override
    {
        ::usleep(settle_us); // what is on its way arrives
        (void)::kill(child_, SIGINT);
        int status = 0;
        while (::waitpid(child_, &status, 0) < 0 && errno == EINTR) {
        }
        child_ = -1;
        ImportOptions options;
        options.find_pcaps = false;
        if (frames_) {
            const auto files = frames_->write(folder_);
            frames_.reset();
            if (!files) {
                return tl::unexpected(files.error());
            }
            for (const FramesFile& file : *files) {
                options.pcaps.push_back({file.device, file.path});
                if (file.lost != 0) {
                    remarks_.push_back(fmt::format("{} frames of {} were lost: more than the ring holds", file.lost, file.device));
                }
            }
        }
        auto imported = import_trace_dat(folder_ + "/trace.dat", options);
        if (!imported) {
            return tl::unexpected(imported.error());
        }
        remarks_.insert(remarks_.end(), imported->warnings.begin(), imported->warnings.end());
        return std::move(imported->trace);
    }

    [[nodiscard]] const std::vector<std::string>& remarks() const override { return remarks_; }

private:
    Result<void> run(const std::vector<std::string>& words, UndoList& undo, const std::string& tracing)
    {
        child_ = ::fork();
        if (child_ < 0) {
            return fail(ErrorKind::unsupported, "trace-cmd", std::strerror(errno));
        }
        if (child_ == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGTERM);
            ::setpgid(0, 0);
            const int log = ::open((folder_ + "/trace-cmd.log").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
            ::dup2(log, STDOUT_FILENO);
            ::dup2(log, STDERR_FILENO);
            if (::chdir(folder_.c_str()) != 0) {
                ::_exit(1);
            }
            std::vector<char*> list;
            for (const std::string& word : words) {
                list.push_back(const_cast<char*>(word.c_str()));
            }
            list.push_back(nullptr);
            ::execvp("trace-cmd", list.data());
            ::_exit(127);
        }
        (void)undo.add({Undo::Kind::process, std::to_string(child_), start_time_of(child_)});
        // It is recording when its events are on and its readers have started.
        for (int i = 0; i < 400; ++i) {
            if (::waitpid(child_, nullptr, WNOHANG) != 0) {
                child_ = -1;
                return fail(ErrorKind::unsupported, "trace-cmd", last_words(), "is trace-cmd installed, and may it trace?");
            }
            if (exists(fmt::format("{}/trace.dat.{}.cpu0", folder_, name_)) && is_on(tracing)) {
                return {};
            }
            ::usleep(10'000);
        }
        return fail(ErrorKind::unsupported, "trace-cmd", "did not begin to record");
    }

    [[nodiscard]] bool is_on(const std::string& tracing) const
    {
        std::ifstream in(fmt::format("{}/instances/{}/events/enable", tracing, name_));
        char first = '0';
        in >> first;
        std::ifstream on(fmt::format("{}/instances/{}/tracing_on", tracing, name_));
        char second = '0';
        on >> second;
        return first != '0' && second == '1';
    }

    [[nodiscard]] std::string last_words() const
    {
        std::ifstream in(folder_ + "/trace-cmd.log");
        std::string line;
        std::string last = "did not start";
        while (std::getline(in, line)) {
            if (line.find_first_not_of(' ') != std::string::npos) {
                last = line.substr(line.find_first_not_of(' '));
            }
        }
        return last;
    }

    std::string folder_, name_;
    const Plan& plan_;
    std::optional<Frames> frames_;
    std::vector<std::string> remarks_;
    pid_t child_ = -1;
};

} // namespace

std::unique_ptr<Recorder> make_recorder(const std::string& folder, const std::string& name, const Plan& plan)
{
    return std::make_unique<TraceCmd>(folder, name, plan);
}

} // namespace skbscope::lab
