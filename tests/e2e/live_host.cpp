#include "tests/e2e/live_host.h"

#include <arpa/inet.h>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <iterator>
#include <poll.h>
#include <sched.h>
#include <sstream>
#include <sys/socket.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <utility>

namespace skbscope::e2e {

namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* tracing = "/sys/kernel/tracing";
constexpr const char* receiver_address = "10.66.3.2";

bool ip(const std::string& words)
{
    std::istringstream stream("ip " + words);
    const std::istream_iterator<std::string> begin(stream);
    return run_program({begin, {}}).status == 0;
}

/// Runs it in that network namespace.
template <typename Work>
void in_space(const std::string& name, Work work)
{
    std::thread([&] {
        const int space = open(("/run/netns/" + name).c_str(), O_RDONLY | O_CLOEXEC);
        const bool entered = space >= 0 && setns(space, CLONE_NEWNET) == 0;
        if (space >= 0) {
            close(space);
        }
        if (entered) {
            work();
        }
    }).join();
}

long milliseconds_to(Clock::time_point end)
{
    return static_cast<long>(
        std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count());
}

} // namespace

std::string missing_for_live_tests()
{
    if (geteuid() != 0) {
        return "recording needs root";
    }
    if (access((std::string(tracing) + "/instances").c_str(), W_OK) != 0) {
        return "tracefs cannot be written here";
    }
    return is_installed("ip") ? "" : "iproute2 is not installed";
}

int VethPair::port()
{
    return 20'000 + getpid() % 10'000;
}

VethPair::VethPair()
{
    const std::string own = std::to_string(getpid());
    from_ = "skbe2e-" + own + "-a";
    to_ = "skbe2e-" + own + "-b";
    is_up_ = ip("netns add " + from_) && ip("netns add " + to_) &&
             ip("link add skbe0 netns " + from_ + " type veth peer name skbe1 netns " + to_) &&
             ip("-n " + from_ + " addr add 10.66.3.1/24 dev skbe0") &&
             ip("-n " + to_ + " addr add " + receiver_address + "/24 dev skbe1") &&
             ip("-n " + from_ + " link set skbe0 up") && ip("-n " + to_ + " link set skbe1 up");
    if (is_up_) {
        (void)send_datagrams(*this, 1, 4096); // from here on the neighbours know each other
    }
}

VethPair::~VethPair()
{
    (void)ip("netns del " + from_);
    (void)ip("netns del " + to_);
}

int VethPair::socket_in(const std::string& space)
{
    int made = -1;
    in_space(space, [&] { made = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0); });
    return made;
}

int VethPair::sender() const
{
    return socket_in(from_);
}

int VethPair::receiver(int receive_buffer) const
{
    const int made = socket_in(to_);
    setsockopt(made, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(static_cast<std::uint16_t>(port()));
    return bind(made, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0 ? made : -1;
}

VethPair::Udp VethPair::counters() const
{
    std::string text;
    in_space(to_, [&] { text = read_file("/proc/thread-self/net/snmp"); });
    Udp udp;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with("Udp: ") && line.find("InDatagrams") == std::string::npos) {
            std::string name;
            std::uint64_t out = 0;
            std::istringstream(line) >> name >> udp.in >> udp.no_ports >> udp.in_errors >> out >>
                udp.rcvbuf_errors;
        }
    }
    return udp;
}

Passed send_datagrams(const VethPair& veth, std::uint64_t count, int receive_buffer)
{
    const int to = veth.receiver(receive_buffer);
    const int from = veth.sender();
    Passed passed;
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(static_cast<std::uint16_t>(VethPair::port()));
    inet_pton(AF_INET, receiver_address, &at.sin_addr);
    std::array<char, 64> data{};
    const auto read_all = [&] {
        for (; recv(to, data.data(), data.size(), MSG_DONTWAIT) >= 0; ++passed.read) {
        }
    };
    for (std::uint64_t burst = 0; passed.sent < count; ++burst) {
        const std::uint64_t size = burst % 50 == 49 ? 400 : 10;
        for (std::uint64_t i = 0; i < size && passed.sent < count; ++i) {
            const auto sent =
                sendto(from, data.data(), data.size(), 0, reinterpret_cast<const sockaddr*>(&at), sizeof at);
            if (sent < 0) {
                break;
            }
            ++passed.sent;
        }
        read_all();
    }
    // What another CPU's softirq still had.
    pollfd more{to, POLLIN, 0};
    while (poll(&more, 1, 100) > 0) {
        read_all();
    }
    close(from);
    close(to);
    return passed;
}

Beside::Beside(std::vector<std::string> words, bool unread_output)
{
    std::array<int, 2> out{-1, -1};
    std::array<int, 2> err{-1, -1};
    if (pipe2(err.data(), O_CLOEXEC) != 0 || (unread_output && pipe2(out.data(), O_CLOEXEC) != 0)) {
        std::abort();
    }
    child_ = fork();
    if (child_ == 0) {
        const int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
        dup2(nothing, STDIN_FILENO);
        dup2(unread_output ? out[1] : nothing, STDOUT_FILENO);
        dup2(err[1], STDERR_FILENO);
        setenv("LSAN_OPTIONS", ("suppressions=" + source_file("tests/lsan.supp")).c_str(), 1);
        std::vector<char*> arguments;
        for (std::string& word : words) {
            arguments.push_back(word.data());
        }
        arguments.push_back(nullptr);
        execvp(arguments.front(), arguments.data());
        _exit(127);
    }
    close(err[1]);
    if (unread_output) {
        close(out[1]);
    }
    out_ = out[0];
    err_ = err[0];
}

Beside::~Beside()
{
    if (child_ > 0) {
        (void)wait(0);
    }
    close_output();
    close(err_);
}

bool Beside::listen(long milliseconds)
{
    pollfd more{err_, POLLIN, 0};
    std::array<char, 4096> piece{};
    if (milliseconds <= 0 || poll(&more, 1, static_cast<int>(milliseconds)) <= 0) {
        return false;
    }
    const ssize_t got = read(err_, piece.data(), piece.size());
    said_.append(piece.data(), static_cast<std::size_t>(got > 0 ? got : 0));
    return got > 0;
}

bool Beside::says(const std::string& text)
{
    const auto end = Clock::now() + std::chrono::seconds(5);
    while (said_.find(text) == std::string::npos) {
        if (!listen(milliseconds_to(end))) {
            return false;
        }
    }
    return true;
}

void Beside::signal(int number) const
{
    (void)kill(child_, number);
}

pid_t Beside::child() const
{
    const std::string own = std::to_string(child_);
    std::istringstream children(read_file("/proc/" + own + "/task/" + own + "/children"));
    pid_t first = 0;
    children >> first;
    return first;
}

void Beside::close_output()
{
    if (out_ >= 0) {
        close(std::exchange(out_, -1));
    }
}

std::string Beside::read_output() const
{
    std::string all;
    std::array<char, 65536> piece{};
    for (ssize_t got = 0; (got = read(out_, piece.data(), piece.size())) > 0;) {
        all.append(piece.data(), static_cast<std::size_t>(got));
    }
    return all;
}

Outcome Beside::wait(int seconds)
{
    const auto end = Clock::now() + std::chrono::seconds(seconds);
    while (listen(milliseconds_to(end))) { // its end closes standard error
    }
    if (milliseconds_to(end) <= 0) {
        (void)kill(child_, SIGKILL);
    }
    Outcome outcome;
    int status = 0;
    waitpid(std::exchange(child_, -1), &status, 0);
    outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    outcome.err = said_;
    return outcome;
}

std::uint64_t Beside::status_kb(const std::string& name) const
{
    std::istringstream lines(read_file("/proc/" + std::to_string(child_) + "/status"));
    std::uint64_t kb = 0;
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with(name + ":")) {
            std::istringstream(line.substr(name.size() + 1)) >> kb;
        }
    }
    return kb;
}

std::vector<std::string> instances_of(pid_t process)
{
    std::vector<std::string> names;
    std::error_code error;
    for (const auto& entry :
         std::filesystem::directory_iterator(std::string(tracing) + "/instances", error)) {
        const std::string name = entry.path().filename().string();
        if (name.starts_with("skbscope_" + std::to_string(process) + "_")) {
            names.push_back(name);
        }
    }
    return names;
}

} // namespace skbscope::e2e
