#include "app/live_recorder.h"

#include "app/stream_source.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <iterator>
#include <map>
#include <spawn.h>
#include <sstream>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>
#include <utility>

extern char** environ; // NOLINT(readability-redundant-declaration): not in every libc's headers

namespace skbscope::app {

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

std::string reason(int error) { return std::generic_category().message(error); }

bool is_on_path(const std::string& program)
{
    const char* path = std::getenv("PATH");
    std::istringstream folders(path == nullptr ? "/usr/bin:/bin" : path);
    for (std::string folder; std::getline(folders, folder, ':');) {
        if (!folder.empty() && access((folder + "/" + program).c_str(), X_OK) == 0) {
            return true;
        }
    }
    return false;
}

struct Pipe {
    int read = -1, write = -1;
};

Result<Pipe> make_pipe()
{
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) {
        return fail(ErrorKind::unsupported, "pipe", reason(errno));
    }
    return Pipe{ends[0], ends[1]};
}

/// A child with its output and its last words.
class Child {
public:
    static Result<std::unique_ptr<Child>> start(const std::vector<std::string>& command)
    {
        const auto out = make_pipe();
        if (!out) {
            return tl::unexpected(out.error());
        }
        const auto err = make_pipe();
        if (!err) {
            ::close(out->read);
            ::close(out->write);
            return tl::unexpected(err.error());
        }
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
        posix_spawn_file_actions_adddup2(&actions, out->write, STDOUT_FILENO);
        posix_spawn_file_actions_adddup2(&actions, err->write, STDERR_FILENO);
        std::vector<std::string> words = command;
        std::vector<char*> arguments;
        for (std::string& word : words) {
            arguments.push_back(word.data());
        }
        arguments.push_back(nullptr);
        pid_t pid = -1;
        const int error = posix_spawnp(&pid, arguments[0], &actions, nullptr, arguments.data(), environ);
        posix_spawn_file_actions_destroy(&actions);
        ::close(out->write);
        ::close(err->write);
        if (error != 0) {
            ::close(out->read);
            ::close(err->read);
            return fail(ErrorKind::unsupported, command.front(), "cannot be started: " + reason(error));
        }
        fcntl(err->read, F_SETFL, O_NONBLOCK);
        return std::unique_ptr<Child>(new Child(pid, out->read, err->read));
    }

    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;
    ~Child()
    {
        (void)ask_to_stop();
        ::close(out_); // whoever may not be told by a signal learns it from the pipe
        ::close(err_);
        for (int tries = 0; tries < 50 && !is_over(); ++tries) {
            usleep(10'000);
        }
    }

    [[nodiscard]] int output() const { return out_; }
    /// False: it has other rights than we have, or is gone.
    bool ask_to_stop() { return !is_over() && kill(pid_, SIGTERM) == 0; }

    bool is_over()
    {
        if (!over_ && waitpid(pid_, &status_, WNOHANG) == pid_) {
            over_ = true;
        }
        return over_;
    }

    /// Waits until it is over.
    int status()
    {
        while (!over_ && waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
        }
        over_ = true;
        return status_;
    }

    /// What it has said so far on standard error.
    const std::string& words()
    {
        std::array<char, 4096> piece{};
        for (ssize_t got = 0; (got = ::read(err_, piece.data(), piece.size())) > 0;) {
            words_.append(piece.data(), static_cast<std::size_t>(got));
        }
        constexpr std::size_t most = 16384; // its last words count
        if (words_.size() > most) {
            words_.erase(0, words_.size() - most);
        }
        return words_;
    }

    /// Nanoseconds of CPU that it and its own children have used; empty where that cannot be seen.
    [[nodiscard]] std::optional<double> cpu_seconds() const
    {
        double sum = 0;
        bool seen = false;
        for (const pid_t pid : family(pid_)) {
            std::ifstream file(fmt::format("/proc/{}/stat", pid));
            std::string line;
            if (!std::getline(file, line)) {
                continue;
            }
            // Field 2, the name, may hold anything but ends at the last bracket; 14 and 15 are the times in ticks.
            std::istringstream rest(line.substr(std::min(line.size(), line.rfind(')') + 1)));
            std::string word;
            for (int field = 3; field < 14 && rest >> word; ++field) {
            }
            double user = 0;
            double system = 0;
            if (rest >> user >> system) {
                sum += (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
                seen = true;
            }
        }
        return seen ? std::optional(sum) : std::nullopt;
    }

private:
    Child(pid_t pid, int out, int err) : pid_(pid), out_(out), err_(err) {}

    static std::vector<pid_t> family(pid_t parent)
    {
        std::vector<pid_t> all{parent};
        for (std::size_t i = 0; i < all.size() && all.size() < 16; ++i) {
            std::ifstream file(fmt::format("/proc/{}/task/{}/children", all[i], all[i]));
            for (pid_t child = 0; file >> child;) {
                all.push_back(child);
            }
        }
        return all;
    }

    pid_t pid_;
    int out_, err_;
    int status_ = 0;
    bool over_ = false;
    std::string words_;
};

/// What somebody who sees only one line wants to know of what a program has said: its last line that is an error.
std::string last_line(const std::string& words)
{
    std::string last;
    std::istringstream lines(words);
    for (std::string line; std::getline(lines, line);) {
        if (!line.empty()) {
            last = line;
        }
    }
    constexpr std::string_view own = "skbscope: ";
    return last.starts_with(own) ? last.substr(own.size()) : last;
}

/// Why a recorder ended badly; empty if it did not.
std::string ending_of(Child& child)
{
    const int status = child.status();
    const std::string said = last_line(child.words());
    if (WIFSIGNALED(status) && WTERMSIG(status) != SIGTERM && WTERMSIG(status) != SIGPIPE) {
        return fmt::format("the recorder was killed by signal {}", WTERMSIG(status));
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) == 0) {
        return {};
    }
    switch (WEXITSTATUS(status)) {
    case 126:
        return "nobody gave the permission to record: " +
               (said.empty() ? std::string("the prompt was dismissed") : said);
    case 127:
        return "the permission to record was refused: " +
               (said.empty() ? std::string("not authorized") : said);
    default:
        return said.empty() ? fmt::format("the recorder ended with status {}", WEXITSTATUS(status)) : said;
    }
}

/// The share of this machine that the child has used lately.
class CostMeter {
public:
    explicit CostMeter(Child& child) : child_(child) {}
    std::optional<double> operator()()
    {
        const auto now = Clock::now();
        if (now - at_ < std::chrono::seconds(1)) {
            return share_;
        }
        const auto used = child_.cpu_seconds();
        if (used && used_) {
            const double passed = std::chrono::duration<double>(now - at_).count() *
                                  static_cast<double>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
            share_ = std::clamp((*used - *used_) / passed, 0.0, 1.0);
        }
        used_ = used;
        at_ = now;
        return share_;
    }

private:
    Child& child_;
    Clock::time_point at_;
    std::optional<double> used_, share_;
};

/// The child's stream. The child goes after the thread that reads from it.
class RecorderSource : private std::unique_ptr<Child>, public StreamSource {
public:
    RecorderSource(std::unique_ptr<Child> child, std::string name)
        : std::unique_ptr<Child>(std::move(child)),
          StreamSource(
              owned().output(), std::move(name), [this] { return ending_of(owned()); }, CostMeter(owned()))
    {
    }
    ~RecorderSource() override { StreamSource::close(); }
    void close() override
    {
        // One that can be told ends its stream properly, and is read to its end.
        if (!owned().ask_to_stop()) {
            StreamSource::close();
        }
    }

private:
    Child& owned() { return *static_cast<std::unique_ptr<Child>&>(*this); }
};

} // namespace

std::vector<std::string> recorder_command(const std::string& program, const std::string& asking,
                                          const ui::LiveRequest& request)
{
    std::vector<std::string> words;
    if (!asking.empty()) {
        words.push_back(asking);
    }
    const bool model = request.of == ui::LiveKernel::model;
    words.insert(words.end(), {program, model ? "replay" : "record"});
    if (!request.device.empty()) {
        words.insert(words.end(), {"-i", request.device});
    }
    if (!request.filter.empty()) {
        words.insert(words.end(), {"-f", request.filter});
    }
    if (model) {
        if (!request.kernel.empty()) {
            words.insert(words.end(), {"--kernel", request.kernel});
        }
        words.insert(words.end(), {"-w", "-"});
        return words;
    }
    if (!request.detail.empty()) {
        words.insert(words.end(), {"--detail", request.detail});
    }
    if (request.budget_percent > 0) {
        words.insert(words.end(), {"--budget", fmt::format("{}%", request.budget_percent)});
    }
    words.insert(words.end(), {"-w", "-"});
    return words;
}

std::string own_program()
{
    std::error_code error;
    const fs::path path = fs::read_symlink("/proc/self/exe", error);
    return error ? "skbscope" : path.string();
}

std::string way_to_ask()
{
    if (geteuid() == 0) {
        return {};
    }
    return is_on_path("pkexec") ? "pkexec" : is_on_path("sudo") ? "sudo" : "";
}

Result<std::unique_ptr<Source>> start_stream(const std::vector<std::string>& command, const std::string& name)
{
    auto child = Child::start(command);
    if (!child) {
        return tl::unexpected(child.error());
    }
    return std::make_unique<RecorderSource>(std::move(*child), name);
}

Result<std::unique_ptr<Source>> start_recorder(const ui::LiveRequest& request)
{
    const bool model = request.of == ui::LiveKernel::model;
    if (model && request.device.empty()) {
        return fail(ErrorKind::usage, "the model", "takes the frames of one device", "choose one");
    }
    const std::string asking = request.needs_prompt ? way_to_ask() : std::string();
    if (request.needs_prompt && asking.empty() && geteuid() != 0) {
        return fail(ErrorKind::not_permitted, "recording",
                    "needs rights that this user does not have, and neither pkexec nor sudo is installed",
                    model
                        ? "as root: skbscope replay -i DEV -w FILE, and open the file"
                        : "as root: skbscope record -w - | … , or skbscope record -w FILE and open the file");
    }
    return start_stream(recorder_command(own_program(), asking, request),
                        model                    ? request.device + ", through the model"
                        : request.device.empty() ? "this host"
                                                 : "this host, " + request.device);
}

Result<std::string> ask_doctor()
{
    auto child = Child::start({own_program(), "doctor", "--format", "json"});
    if (!child) {
        return tl::unexpected(child.error());
    }
    std::string text;
    std::array<char, 65536> piece{};
    for (ssize_t got = 0;
         (got = ::read((*child)->output(), piece.data(), piece.size())) > 0 || (got < 0 && errno == EINTR);) {
        text.append(piece.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
    }
    if (text.empty()) {
        const std::string why = ending_of(**child);
        return fail(ErrorKind::unsupported, "skbscope doctor", why.empty() ? "said nothing" : why);
    }
    return text;
}

std::vector<std::string> network_devices()
{
    std::error_code error;
    std::vector<std::pair<int, std::string>> found;
    for (const auto& entry : fs::directory_iterator("/sys/class/net", error)) {
        const std::string name = entry.path().filename();
        std::ifstream file(entry.path() / "operstate");
        std::string state;
        if (!std::getline(file, state)) {
            continue; // no device: a file of the bonding driver's
        }
        found.emplace_back(name == "lo" ? 2 : state == "down" ? 1 : 0, name);
    }
    std::ranges::sort(found);
    std::vector<std::string> names;
    std::ranges::transform(found, std::back_inserter(names), [](auto& row) { return row.second; });
    return names;
}

} // namespace skbscope::app
