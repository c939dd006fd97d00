#include "capture/lab/undo.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <sstream>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace skbscope::lab {

namespace {

constexpr std::pair<Undo::Kind, std::string_view> kinds[] = {
    {Undo::Kind::netns, "netns"},
    {Undo::Kind::sysctl, "sysctl"},
    {Undo::Kind::process, "process"},
    {Undo::Kind::instance, "instance"},
};

std::string read_text(const std::string& path)
{
    std::ifstream in(path);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
}

bool write_text(const std::string& path, const std::string& text)
{
    const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    const bool written = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
    const int error = errno;
    ::close(fd);
    errno = error;
    return written;
}

Result<void> resisted(const Undo& undo, const std::string& remedy)
{
    return fail(ErrorKind::not_permitted, to_line(undo), fmt::format("cannot be taken back: {}", std::strerror(errno)), remedy);
}

Result<void> take_back_netns(const Undo& undo, const UndoPlaces& places)
{
    const std::string path = places.netns + "/" + undo.what;
    (void)::umount2(path.c_str(), MNT_DETACH);
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
        return resisted(undo, "ip netns del " + undo.what);
    }
    return {};
}

Result<void> take_back_process(const Undo& undo, const UndoPlaces& places)
{
    const std::int32_t pid = std::atoi(undo.what.c_str());
    const std::string started = start_time_of(pid, places.proc);
    if (pid <= 1 || (!started.empty() && started != undo.value)) {
        return {}; // its number is somebody else's
    }
    // A number is not given away while a group bears it: what is left of a group whose leader is gone is ours as well.
    if (::kill(-pid, SIGKILL) != 0 && !started.empty() && ::kill(pid, SIGKILL) != 0 && errno != ESRCH) {
        return resisted(undo, "kill -9 " + undo.what);
    }
    return {};
}

/// Of an instance: its events off, then the folder. A reader that has a file open keeps it busy for a moment.
Result<void> take_back_instance(const Undo& undo, const UndoPlaces& places)
{
    const std::string path = places.tracing + "/instances/" + undo.what;
    (void)write_text(path + "/tracing_on", "0");
    (void)write_text(path + "/events/enable", "0");
    for (int attempt = 0; attempt < 20; ++attempt) {
        if (::rmdir(path.c_str()) == 0 || errno == ENOENT) {
            return {};
        }
        if (errno != EBUSY) {
            break;
        }
        ::usleep(50'000);
    }
    return resisted(undo, "rmdir " + path);
}

std::string file_of(const std::string& name)
{
    std::string path = name;
    std::ranges::replace(path, '.', '/');
    return path;
}

std::vector<std::string> work_through(const std::string& path, const UndoPlaces& places, std::vector<std::string>& done)
{
    std::vector<std::string> troubles;
    const auto things = parse_undo(read_text(path));
    for (auto it = things.rbegin(); it != things.rend(); ++it) {
        if (const auto taken = take_back(*it, places); taken) {
            done.push_back(to_line(*it));
        } else {
            troubles.push_back(taken.error().describe());
        }
    }
    return troubles;
}

} // namespace

std::string to_line(const Undo& undo)
{
    const auto* kind = std::ranges::find(kinds, undo.kind, &std::pair<Undo::Kind, std::string_view>::first);
    return fmt::format("{} {}{}{}", kind->second, undo.what, undo.value.empty() ? "" : " ", undo.value);
}

std::vector<Undo> parse_undo(std::string_view text)
{
    std::vector<Undo> things;
    while (!text.empty()) {
        const auto end = text.find('\n');
        if (end == std::string_view::npos) {
            break; // cut: its thing was not done yet
        }
        const std::string_view line = text.substr(0, end);
        text.remove_prefix(end + 1);
        const auto first = line.find(' ');
        const auto* kind = std::ranges::find(kinds, line.substr(0, first), &std::pair<Undo::Kind, std::string_view>::second);
        if (first == std::string_view::npos || kind == std::end(kinds)) {
            continue;
        }
        const std::string_view rest = line.substr(first + 1);
        const auto second = rest.find(' ');
        // Names become parts of paths.
        if (rest.empty() || rest.substr(0, second).find("..") != std::string_view::npos || rest.substr(0, second).find('/') != std::string_view::npos) {
            continue;
        }
        things.push_back({kind->first, std::string(rest.substr(0, second)),
                          second == std::string_view::npos ? std::string() : std::string(rest.substr(second + 1))});
    }
    return things;
}

Result<void> take_back(const Undo& undo, const UndoPlaces& places)
{
    switch (undo.kind) {
    case Undo::Kind::netns: return take_back_netns(undo, places);
    case Undo::Kind::process: return take_back_process(undo, places);
    case Undo::Kind::instance: return take_back_instance(undo, places);
    case Undo::Kind::sysctl:
        if (!write_text(places.proc + "/sys/" + file_of(undo.what), undo.value)) {
            return resisted(undo, fmt::format("sysctl -w {}=\"{}\"", undo.what, undo.value));
        }
    }
    return {};
}

std::string start_time_of(std::int32_t pid, const std::string& proc)
{
    const std::string stat = read_text(fmt::format("{}/{}/stat", proc, pid));
    const auto name_end = stat.rfind(')'); // the name may hold anything
    if (name_end == std::string::npos) {
        return {};
    }
    std::istringstream fields(stat.substr(name_end + 1));
    std::string field;
    for (int number = 3; number <= 22 && fields >> field; ++number) {
        if (number == 22) {
            return field;
        }
    }
    return {};
}

Result<UndoList> UndoList::create(const std::string& folder)
{
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    UndoList list;
    list.path_ = fmt::format("{}/lab-{}-{}", folder, ::getpid(), start_time_of(::getpid()));
    list.file_ = ::open(list.path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (list.file_ < 0) {
        const bool denied = errno == EACCES || errno == EPERM;
        return fail(denied ? ErrorKind::not_permitted : ErrorKind::unwritable, list.path_, std::strerror(errno),
                    denied ? "the lab needs root: sudo skbscope lab …" : "the lab notes there what it has to take back");
    }
    return list;
}

UndoList::UndoList(UndoList&& other) noexcept
    : path_(std::exchange(other.path_, {})), file_(std::exchange(other.file_, -1)), guard_pipe_(std::exchange(other.guard_pipe_, -1)),
      guard_(std::exchange(other.guard_, -1))
{
}

UndoList::~UndoList()
{
    (void)take_back_all();
    if (guard_pipe_ >= 0) {
        ::close(guard_pipe_);
        int status = 0;
        (void)::waitpid(guard_, &status, 0);
    }
}

Result<void> UndoList::start_guard()
{
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
        return fail(ErrorKind::unsupported, "guard process", std::strerror(errno));
    }
    const pid_t child = ::fork();
    if (child < 0) {
        ::close(ends[0]);
        ::close(ends[1]);
        return fail(ErrorKind::unsupported, "guard process", std::strerror(errno));
    }
    if (child == 0) {
        ::close(ends[1]);
        ::setsid(); // signals of the terminal are not meant for it
        for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGQUIT}) {
            ::signal(number, SIG_IGN);
        }
        ::prctl(PR_SET_NAME, "skbscope-guard");
        char byte = 0;
        while (::read(ends[0], &byte, 1) < 0 && errno == EINTR) {
        }
        std::vector<std::string> done;
        if (::access(path_.c_str(), F_OK) == 0) {
            if (work_through(path_, {}, done).empty()) { // else the next lab tries again
                ::unlink(path_.c_str());
            }
        }
        ::_exit(0);
    }
    ::close(ends[0]);
    guard_pipe_ = ends[1];
    guard_ = child;
    return {};
}

Result<void> UndoList::add(const Undo& undo)
{
    const std::string line = to_line(undo) + "\n";
    if (::write(file_, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
        return fail(ErrorKind::unwritable, path_, std::strerror(errno), "what cannot be noted is not done");
    }
    return {};
}

std::vector<std::string> UndoList::take_back_all()
{
    if (file_ < 0) {
        return {};
    }
    std::vector<std::string> done;
    auto troubles = work_through(path_, {}, done);
    ::close(file_);
    file_ = -1;
    if (troubles.empty()) { // else the next lab tries again
        ::unlink(path_.c_str());
    }
    return troubles;
}

std::vector<std::string> take_back_leftovers(const std::string& folder, const UndoPlaces& places)
{
    std::vector<std::string> done;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
        const std::string name = entry.path().filename().string();
        int pid = 0;
        char start[32] = {};
        if (std::sscanf(name.c_str(), "lab-%d-%31[0-9]", &pid, start) != 2 || start_time_of(pid, places.proc) == start) {
            continue; // not ours, or its lab runs
        }
        if (work_through(entry.path().string(), places, done).empty()) {
            std::filesystem::remove(entry.path(), error);
        }
    }
    return done;
}

} // namespace skbscope::lab
