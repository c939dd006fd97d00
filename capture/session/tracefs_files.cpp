#include "capture/session/tracefs_files.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

namespace skbscope {

std::optional<std::string> read_text(const std::string& path)
{
    const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) {
        return std::nullopt;
    }
    std::string text;
    std::array<char, 65536> piece{};
    ssize_t got = 0;
    while ((got = read(file, piece.data(), piece.size())) > 0) {
        text.append(piece.data(), static_cast<std::size_t>(got));
    }
    const int error = errno;
    (void)close(file);
    errno = error;
    return got < 0 ? std::nullopt : std::optional(std::move(text));
}

bool write_text(const std::string& path, std::string_view text, bool append)
{
    const int file = open(path.c_str(), O_WRONLY | O_CLOEXEC | (append ? O_APPEND : 0));
    if (file < 0) {
        return false;
    }
    const bool written = write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
    const int error = errno;
    const bool closed = close(file) == 0;
    errno = written ? errno : error;
    return written && closed;
}

int lock_folder(const std::string& folder)
{
    const int file = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file >= 0 && flock(file, LOCK_EX | LOCK_NB) != 0) {
        (void)close(file);
        return -1;
    }
    return file;
}

bool is_locked(const std::string& folder)
{
    const int file = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file < 0) {
        return false;
    }
    const bool locked = flock(file, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    (void)close(file);
    return locked;
}

std::vector<std::string> probe_events(const std::string& tracefs)
{
    // "p:group/event function …", "r16:group/event …"
    std::vector<std::string> events;
    const std::string text = read_text(tracefs + "/kprobe_events").value_or("");
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find('\n', at), text.size());
        const std::string_view line = std::string_view(text).substr(at, end - at);
        const std::size_t colon = line.find(':');
        const std::size_t blank = line.find(' ');
        if (colon != std::string_view::npos && blank != std::string_view::npos && colon < blank) {
            events.emplace_back(line.substr(colon + 1, blank - colon - 1));
        }
        at = end + 1;
    }
    return events;
}

bool remove_instance(const std::string& tracefs, const std::string& name)
{
    const std::string folder = tracefs + "/instances/" + name;
    (void)write_text(folder + "/tracing_on", "0");
    constexpr int tries = 100;
    constexpr timespec pause{0, 10'000'000};
    for (int i = 0; i < tries; ++i) {
        if (rmdir(folder.c_str()) == 0 || errno == ENOENT) {
            return true;
        }
        if (errno != EBUSY) {
            return false;
        }
        (void)nanosleep(&pause, nullptr);
    }
    return false;
}

bool remove_probe(const std::string& tracefs, const std::string& probe)
{
    return write_text(tracefs + "/kprobe_events", "-:" + probe, true);
}

} // namespace skbscope
