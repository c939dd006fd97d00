#include "tests/e2e/program.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <gtest/gtest.h>
#include <poll.h>
#include <sstream>
#include <sys/wait.h>
#include <unistd.h>

namespace skbscope::e2e {
namespace {

namespace fs = std::filesystem;

struct Pipe {
    std::array<int, 2> ends{-1, -1};
    Pipe()
    {
        if (pipe2(ends.data(), O_CLOEXEC) != 0) {
            std::abort();
        }
    }
};

void set_environment(const std::vector<std::string>& environment)
{
    for (const auto& entry : environment) {
        const auto equals = entry.find('=');
        if (equals == std::string::npos) {
            unsetenv(entry.c_str());
        } else {
            setenv(entry.substr(0, equals).c_str(), entry.c_str() + equals + 1, 1);
        }
    }
}

[[noreturn]] void become(const std::vector<std::string>& words, const RunOptions& options, int out, int err)
{
    set_environment(options.environment);
    if (!options.directory.empty() && chdir(options.directory.c_str()) != 0) {
        _exit(127);
    }
    const int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    dup2(nothing, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    std::vector<char*> arguments;
    for (const auto& word : words) {
        arguments.push_back(const_cast<char*>(word.c_str()));
    }
    arguments.push_back(nullptr);
    execvp(arguments.front(), arguments.data());
    _exit(127);
}

/// Reads both until both are closed. False: the time was up first.
bool collect(int out, int err, Outcome& outcome, int seconds)
{
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    std::array<pollfd, 2> ends{pollfd{out, POLLIN, 0}, pollfd{err, POLLIN, 0}};
    std::array<std::string*, 2> texts{&outcome.out, &outcome.err};
    while (ends[0].fd >= 0 || ends[1].fd >= 0) {
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now())
                .count();
        if (left <= 0) {
            return false;
        }
        poll(ends.data(), ends.size(), static_cast<int>(left));
        for (std::size_t i = 0; i < ends.size(); ++i) {
            if (ends[i].fd < 0 || ends[i].revents == 0) {
                continue;
            }
            std::array<char, 65536> buffer{};
            const auto count = read(ends[i].fd, buffer.data(), buffer.size());
            if (count > 0) {
                texts[i]->append(buffer.data(), static_cast<std::size_t>(count));
            } else {
                ends[i].fd = -1;
            }
        }
    }
    return true;
}

} // namespace

int Outcome::lines_on_stderr() const
{
    return static_cast<int>(std::ranges::count(err, '\n')) + (!err.empty() && err.back() != '\n' ? 1 : 0);
}

Outcome run_program(std::vector<std::string> words, const RunOptions& options)
{
    const Pipe out;
    const Pipe err;
    const pid_t child = fork();
    if (child == 0) {
        become(words, options, out.ends[1], err.ends[1]);
    }
    close(out.ends[1]);
    close(err.ends[1]);
    Outcome outcome;
    if (!collect(out.ends[0], err.ends[0], outcome, options.seconds)) {
        kill(child, SIGKILL);
    }
    int status = 0;
    waitpid(child, &status, 0);
    close(out.ends[0]);
    close(err.ends[0]);
    outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return outcome;
}

Outcome skbscope(std::vector<std::string> arguments, const RunOptions& options)
{
    arguments.insert(arguments.begin(), SKBSCOPE_PROGRAM);
    auto with_suppressions = options;
    with_suppressions.environment.push_back("LSAN_OPTIONS=suppressions=" + source_file("tests/lsan.supp"));
    return run_program(std::move(arguments), with_suppressions);
}

bool is_installed(const std::string& program)
{
    std::istringstream folders(std::getenv("PATH") != nullptr ? std::getenv("PATH") : "");
    for (std::string folder; std::getline(folders, folder, ':');) {
        if (access((fs::path(folder) / program).c_str(), X_OK) == 0) {
            return true;
        }
    }
    return false;
}

TemporaryFolder::TemporaryFolder()
{
    auto pattern = (fs::temp_directory_path() / "skbscope-test-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
}

TemporaryFolder::~TemporaryFolder()
{
    std::error_code ignored;
    fs::remove_all(path_, ignored);
}

std::vector<std::string> TemporaryFolder::names() const
{
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(path_)) {
        names.push_back(entry.path().filename().string());
    }
    std::ranges::sort(names);
    return names;
}

std::string read_file(const fs::path& path)
{
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

void write_file(const fs::path& path, const std::string& content)
{
    std::ofstream(path, std::ios::binary) << content;
}

std::string source_file(const std::string& name)
{
    return SKBSCOPE_SOURCE_DIR "/" + name;
}

fs::path larger_set()
{
    const char* folder = std::getenv("SKBSCOPE_TRACES");
    return folder == nullptr ? fs::path() : fs::path(folder);
}

} // namespace skbscope::e2e
