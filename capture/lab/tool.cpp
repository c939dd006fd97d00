#include "capture/lab/tool.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

namespace skbscope::lab {

namespace {

std::string path_of(const std::string& tool)
{
    std::string folders = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";
    while (!folders.empty()) {
        const auto end = folders.find(':');
        const std::string path = folders.substr(0, end) + "/" + tool;
        if (::access(path.c_str(), X_OK) == 0) {
            return path;
        }
        folders = end == std::string::npos ? std::string() : folders.substr(end + 1);
    }
    return {};
}

/// What a tool that fails says: mostly its first line tells, the others are hints about its use.
std::string first_line(std::string_view text)
{
    while (!text.empty() && (text.front() == '\n' || text.front() == ' ')) {
        text.remove_prefix(1);
    }
    std::string line(text.substr(0, text.find('\n')));
    while (!line.empty() && (line.back() == '.' || line.back() == ' ')) {
        line.pop_back();
    }
    return line;
}

/// Starts the tool with its standard streams on the pipes; 0 or errno. By posix_spawn, which runs nothing of ours between fork and
/// exec: other threads of the recording may hold a lock of the allocator just then, and in the child nobody would release it.
int spawn(pid_t& child, const std::string& path, const Command& command, const std::array<int, 2>& in, const std::array<int, 2>& out)
{
    std::vector<char*> words;
    for (const std::string& word : command.words) {
        words.push_back(const_cast<char*>(word.c_str()));
    }
    words.push_back(nullptr);
    char locale[] = "LC_ALL=C";
    char folders[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
    std::array<char*, 3> environment = {locale, folders, nullptr};
    posix_spawn_file_actions_t streams;
    if (const int error = ::posix_spawn_file_actions_init(&streams); error != 0) {
        return error;
    }
    int error = ::posix_spawn_file_actions_adddup2(&streams, in[0], STDIN_FILENO);
    for (const int stream : {STDOUT_FILENO, STDERR_FILENO}) {
        error = error != 0 ? error : ::posix_spawn_file_actions_adddup2(&streams, out[1], stream);
    }
    error = error != 0 ? error : ::posix_spawn(&child, path.c_str(), &streams, nullptr, words.data(), environment.data());
    ::posix_spawn_file_actions_destroy(&streams);
    return error;
}

/// Writes the input while it reads the output: neither side waits for the other.
std::string talk(int to, int from, std::string_view input)
{
    (void)::fcntl(to, F_SETFL, O_NONBLOCK); // a pipe that is full is not waited for
    std::string output;
    std::array<char, 4096> buffer{};
    bool open = true;
    while (open) {
        std::array<pollfd, 2> waits = {pollfd{from, POLLIN, 0}, pollfd{input.empty() ? -1 : to, POLLOUT, 0}};
        if (::poll(waits.data(), waits.size(), -1) < 0) {
            if (errno == EINTR) {
                continue;
            }
            break;
        }
        if (waits[1].revents != 0) {
            const ssize_t written = ::write(to, input.data(), input.size());
            if (written < 0 && (errno == EAGAIN || errno == EINTR)) {
                continue;
            }
            input.remove_prefix(written > 0 ? static_cast<std::size_t>(written) : input.size());
            if (input.empty()) {
                ::close(to);
            }
        }
        if (waits[0].revents != 0) {
            const ssize_t got = ::read(from, buffer.data(), buffer.size());
            if (got <= 0) {
                open = got < 0 && errno == EINTR;
            } else {
                output.append(buffer.data(), static_cast<std::size_t>(got));
            }
        }
    }
    if (!input.empty()) {
        ::close(to);
    }
    return output;
}

} // namespace

std::string to_line(const Command& command)
{
    return fmt::format("{}", fmt::join(command.words, " "));
}

ErrorKind kind_of_refusal(std::string_view words)
{
    const auto says = [&](std::string_view part) { return words.find(part) != std::string_view::npos; };
    if (says("not permitted") || says("Permission denied")) {
        return ErrorKind::not_permitted;
    }
    // What the kernel says of modules and kinds that it lacks.
    for (const std::string_view part : {"not supported", "Unknown device type", "qdisc kind is unknown", "No such file or directory",
                                        "Couldn't load match", "Can't find library", "Protocol not supported", "not available"}) {
        if (says(part)) {
            return ErrorKind::unsupported;
        }
    }
    return ErrorKind::invalid;
}

Result<std::string> run_tool(const Command& command)
{
    const std::string path = path_of(command.words.front());
    if (path.empty()) {
        return fail(ErrorKind::unsupported, command.purpose, fmt::format("the tool {} is not installed", command.words.front()),
                    "install iproute2, nftables, iptables or ethtool, whichever has it");
    }
    std::array<int, 2> in{};
    std::array<int, 2> out{};
    if (::pipe2(in.data(), O_CLOEXEC) != 0) {
        return fail(ErrorKind::unsupported, command.purpose, std::strerror(errno));
    }
    if (::pipe2(out.data(), O_CLOEXEC) != 0) {
        ::close(in[0]);
        ::close(in[1]);
        return fail(ErrorKind::unsupported, command.purpose, std::strerror(errno));
    }
    pid_t child = -1;
    const int refused = spawn(child, path, command, in, out);
    ::close(in[0]);
    ::close(out[1]);
    if (refused != 0) {
        ::close(in[1]);
        ::close(out[0]);
        return fail(ErrorKind::unsupported, command.purpose, std::strerror(refused));
    }
    if (command.input.empty()) {
        ::close(in[1]);
    }
    std::string said = talk(in[1], out[0], command.input);
    ::close(out[0]);
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        return said;
    }
    std::string words = first_line(said);
    if (words.empty()) {
        words = WIFSIGNALED(status) ? fmt::format("ended by signal {}", WTERMSIG(status)) : fmt::format("exit status {}", WEXITSTATUS(status));
    }
    return fail(kind_of_refusal(said), command.purpose, fmt::format("{} says: {}", command.words.front(), words),
                fmt::format("the command was: {}", to_line(command)));
}

} // namespace skbscope::lab
