#include "app/privilege.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <optional>
#include <poll.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <system_error>

namespace skbscope::app {

namespace {

std::atomic<bool> stop_wanted{false};

void on_signal(int)
{
    stop_wanted = true;
}

} // namespace

const std::atomic<bool>& stop_on_signals()
{
    struct sigaction action{};
    action.sa_handler = on_signal;
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) {
        (void)sigaction(signal, &action, nullptr);
    }
    action.sa_handler = SIG_IGN; // a reader that has gone shows as a failed write
    (void)sigaction(SIGPIPE, &action, nullptr);
    return stop_wanted;
}

namespace {

std::optional<unsigned> number_in(const char* variable)
{
    const char* text = std::getenv(variable);
    unsigned number = 0;
    if (text == nullptr) {
        return std::nullopt;
    }
    const std::string_view view(text);
    const auto [end, error] = std::from_chars(view.data(), view.data() + view.size(), number);
    return error == std::errc{} && end == view.data() + view.size() ? std::optional(number) : std::nullopt;
}

} // namespace

Caller caller()
{
    Caller who;
    if (geteuid() != 0) {
        return who;
    }
    if (const auto user = number_in("SUDO_UID")) {
        who.user = *user;
        who.group = number_in("SUDO_GID").value_or(*user);
    } else if (const auto asked = number_in("PKEXEC_UID")) {
        who.user = *asked;
        who.group = *asked;
        // pkexec names no group: the caller's own one is the password file's.
        if (const passwd* entry = getpwuid(*asked)) {
            who.group = entry->pw_gid;
        }
    }
    return who;
}

Result<int> open_output(const std::string& path, const Caller& who)
{
    if (path == "-") {
        if (isatty(STDOUT_FILENO) != 0) {
            return fail(ErrorKind::usage, "-w -", "a recording is no text for a terminal",
                        "pipe it, or name a file");
        }
        return STDOUT_FILENO;
    }
    const bool changes = geteuid() == 0 && who.user != 0;
    if (changes && (setegid(who.group) != 0 || seteuid(who.user) != 0)) {
        return fail(ErrorKind::not_permitted, path, "cannot be opened as its caller");
    }
    const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    const int error = errno;
    if (changes && (seteuid(0) != 0 || setegid(0) != 0)) {
        return fail(ErrorKind::not_permitted, path, "the rights did not come back");
    }
    if (file < 0) {
        return fail(ErrorKind::unwritable, path,
                    "cannot be written: " + std::error_code(error, std::generic_category()).message());
    }
    return file;
}

Result<void> drop_rights(const Caller& who, const char* command)
{
    bool dropped = true;
    if (geteuid() == 0 && who.user != 0) {
        dropped = setgroups(1, &who.group) == 0 && setresgid(who.group, who.group, who.group) == 0 &&
                  setresuid(who.user, who.user, who.user) == 0;
    }
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
    dropped = dropped && syscall(SYS_capset, &header, none) == 0;
    if (!dropped || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return fail(ErrorKind::not_permitted, command, "the rights could not be dropped");
    }
    return {};
}

namespace {

/// What a pipe surely takes at once when poll() says that it has room (pipe(7)).
constexpr std::size_t pipe_piece = 4096;
/// How long the end of a recording waits for a reader that does not read.
constexpr int patience_ms = 2000;

/// Waits until the pipe has room; false: nobody reads any more, or not in time for the end.
bool pipe_has_room(int file)
{
    constexpr int step_ms = 100;
    for (int waited = 0; waited < patience_ms; waited += stop_wanted ? step_ms : 0) {
        pollfd end{file, POLLOUT, 0};
        const int ready = poll(&end, 1, step_ms);
        if (ready > 0) {
            return (end.revents & POLLERR) == 0;
        }
        if (ready < 0 && errno != EINTR) {
            return false;
        }
    }
    return false;
}

bool pipe_is_read(int file)
{
    pollfd end{file, POLLOUT, 0};
    return poll(&end, 1, 0) < 0 || (end.revents & POLLERR) == 0;
}

} // namespace

RecordingSink sink_of(int file)
{
    struct stat kind{};
    const bool is_pipe = fstat(file, &kind) == 0 && S_ISFIFO(kind.st_mode);
    return [file, is_pipe](std::span<const std::uint8_t> bytes) {
        if (is_pipe && bytes.empty()) {
            return pipe_is_read(file);
        }
        while (!bytes.empty()) {
            if (is_pipe && !pipe_has_room(file)) {
                return false;
            }
            const ssize_t written =
                write(file, bytes.data(), is_pipe ? std::min(bytes.size(), pipe_piece) : bytes.size());
            if (written < 0 && errno == EINTR) {
                continue;
            }
            if (written <= 0) {
                return false;
            }
            bytes = bytes.subspan(static_cast<std::size_t>(written));
        }
        return true;
    };
}

} // namespace skbscope::app
