#include "capture/lab/processes.h"

#include "capture/lab/applications.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <fmt/format.h>
#include <new>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

namespace skbscope::lab {

namespace {

constexpr std::size_t most_tasks = 256;
constexpr std::size_t words_kept = 400;

std::int64_t now_ns()
{
    timespec t{};
    ::clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<std::int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}

void nap(std::int64_t ns)
{
    const timespec t{.tv_sec = ns / 1'000'000'000, .tv_nsec = ns % 1'000'000'000};
    ::nanosleep(&t, nullptr);
}

} // namespace

struct Processes::Shared {
    struct One {
        SharedCount count;
        std::atomic<int> state{0}; ///< 0: opening, 1: ready, 2: failed
        int kind = 0;              ///< of its error
        char where[words_kept] = {}, what[words_kept] = {};
    };
    std::atomic<bool> go{false}, finish{false};
    std::atomic<unsigned> awake{0};        ///< have seen `go`
    std::atomic<std::int64_t> begin_ns{0}; ///< set when all are
    One tasks[most_tasks];
};

Result<void> enter_namespace(const std::string& name, bool with_sys)
{
    const std::string path = "/run/netns/" + name;
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0 || ::setns(fd, CLONE_NEWNET) != 0) {
        const int error = errno;
        if (fd >= 0) {
            ::close(fd);
        }
        return fail(error == EPERM ? ErrorKind::not_permitted : ErrorKind::unreadable, path, std::strerror(error), "the lab needs root");
    }
    ::close(fd);
    if (with_sys) {
        if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
            (::umount2("/sys", MNT_DETACH), ::mount("sysfs", "/sys", "sysfs", 0, nullptr)) != 0) {
            return fail(ErrorKind::not_permitted, "/sys of " + name, std::strerror(errno), "the lab needs root");
        }
    }
    return {};
}

Processes::Processes(Processes&& other) noexcept
    : shared_(std::exchange(other.shared_, nullptr)), shared_size_(other.shared_size_), tasks_(std::move(other.tasks_))
{
    other.tasks_.clear();
}

Processes::~Processes()
{
    for (const Task& task : tasks_) {
        if (!task.ended && task.pid > 0) {
            ::kill(task.pid, SIGKILL);
        }
    }
    reap(true);
    if (shared_ != nullptr) {
        ::munmap(shared_, shared_size_);
    }
}

Result<Processes> Processes::start(const Scenario& scenario, const Plan& plan, UndoList& undo)
{
    Processes all;
    all.shared_size_ = sizeof(Shared);
    void* memory = ::mmap(nullptr, all.shared_size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return fail(ErrorKind::unsupported, "shared memory", std::strerror(errno));
    }
    all.shared_ = new (memory) Shared;
    for (const Namespace& space : plan.spaces) {
        const ScenarioHost& host = scenario.hosts[space.host];
        auto applications = applications_of(host, space.name);
        if (!applications) {
            return tl::unexpected(applications.error());
        }
        for (Application& application : *applications) {
            if (all.tasks_.size() >= most_tasks) {
                return fail(ErrorKind::unsupported, host.name, fmt::format("more than {} applications", most_tasks));
            }
            Shared::One& mine = all.shared_->tasks[all.tasks_.size()];
            const pid_t parent = ::getpid();
            const pid_t child = ::fork();
            if (child < 0) {
                return fail(ErrorKind::unsupported, application.name, std::strerror(errno));
            }
            if (child == 0) {
                ::prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (::getppid() != parent) {
                    ::_exit(1);
                }
                for (const int number : {SIGINT, SIGHUP, SIGTERM, SIGQUIT, SIGPIPE}) {
                    ::signal(number, SIG_IGN); // the lab ends it
                }
                ::prctl(PR_SET_NAME, application.name.substr(0, 15).c_str());
                cpu_set_t cpus;
                CPU_ZERO(&cpus);
                CPU_SET(application.cpu, &cpus);
                (void)::sched_setaffinity(0, sizeof cpus, &cpus);
                ::prctl(PR_SET_TIMERSLACK, 1UL);
                auto entered = enter_namespace(space.name, false);
                auto opened = entered ? application.open() : Result<std::function<void(const Stage&)>>(tl::unexpected(entered.error()));
                if (!opened) {
                    mine.kind = static_cast<int>(opened.error().kind);
                    (void)fmt::format_to_n(mine.where, words_kept - 1, "{}", opened.error().where);
                    (void)fmt::format_to_n(mine.what, words_kept - 1, "{}", opened.error().what);
                    mine.state = 2;
                    ::_exit(1);
                }
                mine.state = 1;
                while (!all.shared_->go) {
                    nap(1'000'000);
                }
                ++all.shared_->awake;
                while (all.shared_->begin_ns == 0) {
                    nap(100'000);
                }
                (*opened)({all.shared_->begin_ns, &all.shared_->finish, &mine.count});
                ::_exit(0);
            }
            all.tasks_.push_back({application.name, host.name, child, application.sends, false});
            if (const auto noted = undo.add({Undo::Kind::process, std::to_string(child), start_time_of(child)}); !noted) {
                return tl::unexpected(noted.error());
            }
        }
    }
    for (std::size_t i = 0; i < all.tasks_.size(); ++i) {
        Shared::One& one = all.shared_->tasks[i];
        const std::int64_t deadline = now_ns() + 10'000'000'000;
        while (one.state == 0 && now_ns() < deadline && ::waitpid(all.tasks_[i].pid, nullptr, WNOHANG) == 0) {
            nap(200'000);
        }
        if (one.state == 2) {
            all.tasks_[i].ended = true;
            (void)::waitpid(all.tasks_[i].pid, nullptr, 0);
            return fail(static_cast<ErrorKind>(one.kind), one.where, one.what);
        }
        if (one.state != 1) {
            return fail(ErrorKind::unsupported, all.tasks_[i].name, "did not open its sockets");
        }
    }
    return all;
}

void Processes::go()
{
    // A CPU may still be busy with what was set up: whoever found no time on it yet would begin behind those that others should follow.
    shared_->go = true;
    const std::int64_t deadline = now_ns() + 5'000'000'000;
    while (shared_->awake < tasks_.size() && now_ns() < deadline) {
        nap(100'000);
    }
    shared_->begin_ns = now_ns() + 5'000'000;
}

void Processes::reap(bool block)
{
    for (Task& task : tasks_) {
        if (!task.ended && task.pid > 0 && ::waitpid(task.pid, nullptr, block ? 0 : WNOHANG) != 0) {
            task.ended = true;
        }
    }
}

bool Processes::wait_for_senders(double seconds, const std::atomic<bool>& stop_asked)
{
    const std::int64_t deadline = now_ns() + static_cast<std::int64_t>(seconds * 1e9);
    while (!stop_asked) {
        reap(false);
        bool done = true;
        for (const Task& task : tasks_) {
            done = done && (task.ended || !task.sends);
        }
        if (done) {
            return true;
        }
        if (now_ns() > deadline) {
            return false;
        }
        nap(2'000'000);
    }
    return false;
}

void Processes::finish()
{
    shared_->finish = true;
    const std::int64_t deadline = now_ns() + 3'000'000'000;
    bool left = true;
    while (left && now_ns() < deadline) {
        reap(false);
        left = false;
        for (const Task& task : tasks_) {
            left = left || (!task.ended && !task.sends);
        }
        if (left) {
            nap(2'000'000);
        }
    }
    for (const Task& task : tasks_) {
        if (!task.ended) {
            ::kill(task.pid, SIGKILL);
        }
    }
    reap(true);
}

std::vector<TaskCount> Processes::counts() const
{
    std::vector<TaskCount> list;
    for (std::size_t i = 0; i < tasks_.size(); ++i) {
        const SharedCount& count = shared_->tasks[i].count;
        list.push_back({tasks_[i].name, tasks_[i].space, tasks_[i].pid, count.sent, count.refused, count.last_error, count.received});
    }
    return list;
}

} // namespace skbscope::lab
