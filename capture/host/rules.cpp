#include "capture/host/rules.h"

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>

namespace skbscope::host {

namespace {

constexpr std::size_t most_bytes = std::size_t{1} << 20;
constexpr auto patience = std::chrono::seconds(3);

/// Both ends are closed in children.
struct Pipe {
    int read = -1, write = -1;
    Pipe()
    {
        std::array<int, 2> ends{-1, -1};
        if (pipe2(ends.data(), O_CLOEXEC) == 0) {
            read = ends[0];
            write = ends[1];
        }
    }
    Pipe(const Pipe&) = delete;
    Pipe& operator=(const Pipe&) = delete;
    ~Pipe()
    {
        close_write();
        if (read >= 0) {
            (void)close(read);
        }
    }
    void close_write()
    {
        if (write >= 0) {
            (void)close(write);
            write = -1;
        }
    }
};

std::string path_of(const Tool& tool, const std::vector<std::string>& folders)
{
    for (const std::string& folder : folders) {
        std::string path = folder + "/" + tool.name;
        if (access(path.c_str(), X_OK) == 0) {
            return path;
        }
    }
    return {};
}

/// False: it has not come to its end in time.
bool take(int file, std::string& text)
{
    const auto until = std::chrono::steady_clock::now() + patience;
    std::array<char, 16384> piece{};
    while (true) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now()).count();
        pollfd wait{file, POLLIN, 0};
        const int ready = left > 0 ? poll(&wait, 1, static_cast<int>(left)) : 0;
        if (ready < 0 && errno == EINTR) {
            continue;
        }
        if (ready <= 0) {
            return false;
        }
        const ssize_t got = read(file, piece.data(), piece.size());
        if (got <= 0) {
            return true;
        }
        const auto fits = std::min(static_cast<std::size_t>(got), most_bytes - std::min(most_bytes, text.size()));
        text.append(piece.data(), fits);
    }
}

} // namespace

const std::vector<Tool>& rule_tools()
{
    static const std::vector<Tool> tools{{"nft", {"list", "ruleset"}}, {"iptables-save", {}}, {"ip6tables-save", {}}};
    return tools;
}

Result<std::string> ask_tool(const Tool& tool, const std::vector<std::string>& folders)
{
    const std::string path = path_of(tool, folders);
    if (path.empty()) {
        return fail(ErrorKind::not_found, tool.name, "is not installed here");
    }
    Pipe out;
    std::vector<std::string> words{tool.name};
    words.insert(words.end(), tool.arguments.begin(), tool.arguments.end());
    std::vector<char*> arguments;
    for (std::string& word : words) {
        arguments.push_back(word.data());
    }
    arguments.push_back(nullptr);
    std::array<char*, 1> environment{nullptr};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out.write, STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    pid_t child = -1;
    const int error = posix_spawn(&child, path.c_str(), &actions, nullptr, arguments.data(), environment.data());
    posix_spawn_file_actions_destroy(&actions);
    out.close_write();
    if (error != 0) {
        return fail(ErrorKind::unsupported, path, "cannot be started: " + std::generic_category().message(error));
    }
    std::string text;
    const bool in_time = take(out.read, text);
    if (!in_time) {
        (void)kill(child, SIGKILL);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (!in_time) {
        return fail(ErrorKind::unsupported, path, "took longer than three seconds");
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        return fail(ErrorKind::not_permitted, path, fmt::format("ended with status {}", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status)),
                    "listing rules needs the capability net_admin");
    }
    return text;
}

} // namespace skbscope::host
