#include "capture/lab/in_space.h"

#include "capture/lab/processes.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/prctl.h>
#include <csignal>
#include <sys/wait.h>
#include <unistd.h>

namespace skbscope::lab {

namespace {

constexpr char good = '\x01';
constexpr char separator = '\x02';

std::string packed(const Result<std::string>& result)
{
    if (result) {
        return good + *result;
    }
    const Error& error = result.error();
    return static_cast<char>('a' + static_cast<int>(error.kind)) + error.where + separator + error.what + separator + error.remedy;
}

Result<std::string> unpacked(const std::string& text, const std::string& space)
{
    if (text.empty()) {
        return fail(ErrorKind::unsupported, space, "the process that went there is gone");
    }
    if (text.front() == good) {
        return text.substr(1);
    }
    const auto first = text.find(separator);
    const auto second = text.find(separator, first + 1);
    if (first == std::string::npos || second == std::string::npos) {
        return fail(ErrorKind::unsupported, space, "the process that went there is gone");
    }
    return fail(static_cast<ErrorKind>(text.front() - 'a'), text.substr(1, first - 1), text.substr(first + 1, second - first - 1), text.substr(second + 1));
}

} // namespace

Result<std::string> in_space(const std::string& space, bool with_sys, const std::function<Result<std::string>()>& work)
{
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
        return fail(ErrorKind::unsupported, space, std::strerror(errno));
    }
    const pid_t child = ::fork();
    if (child == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        ::close(ends[0]);
        const auto entered = enter_namespace(space, with_sys);
        const std::string text = packed(entered ? work() : Result<std::string>(tl::unexpected(entered.error())));
        std::string_view left = text;
        while (!left.empty()) {
            const ssize_t written = ::write(ends[1], left.data(), left.size());
            if (written <= 0) {
                break;
            }
            left.remove_prefix(static_cast<std::size_t>(written));
        }
        ::_exit(0);
    }
    ::close(ends[1]);
    std::string text;
    std::array<char, 65536> buffer{};
    while (child > 0) {
        const ssize_t got = ::read(ends[0], buffer.data(), buffer.size());
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            break;
        }
        text.append(buffer.data(), static_cast<std::size_t>(got));
    }
    ::close(ends[0]);
    while (child > 0 && ::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
    }
    return unpacked(text, space);
}

} // namespace skbscope::lab
