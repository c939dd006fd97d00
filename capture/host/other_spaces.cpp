#include "capture/host/other_spaces.h"

#include "capture/host/text_file.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <map>
#include <optional>
#include <sched.h>
#include <sys/stat.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <utility>

namespace skbscope::host {

namespace {

namespace fs = std::filesystem;

constexpr const char* named_spaces = "/run/netns";

struct Candidates {
    std::map<ino_t, std::pair<std::string, std::string>> spaces; ///< by inode: name, path
    bool refused = false;                                        ///< some process did not show where it is
};

/// The namespace's inode behind that path.
std::optional<ino_t> inode_of(const std::string& path, bool& refused)
{
    struct stat about {};
    if (::stat(path.c_str(), &about) == 0) {
        return about.st_ino;
    }
    refused = refused || errno == EACCES || errno == EPERM;
    return std::nullopt;
}

Candidates find_candidates(const std::string& proc)
{
    Candidates found;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(named_spaces, error)) {
        if (const auto inode = inode_of(entry.path(), found.refused)) {
            found.spaces.try_emplace(*inode, entry.path().filename(), entry.path());
        }
    }
    for (const auto& process : fs::directory_iterator(proc, fs::directory_options::skip_permission_denied, error)) {
        const std::string pid = process.path().filename();
        if (pid.empty() || !std::ranges::all_of(pid, [](char c) { return c >= '0' && c <= '9'; })) {
            continue;
        }
        const std::string path = process.path() / "ns/net";
        const auto inode = inode_of(path, found.refused);
        if (inode && !found.spaces.contains(*inode)) {
            found.spaces.emplace(*inode, std::pair(fmt::format("of {} {}", first_line(read_file(process.path() / "comm").value_or("?")), pid), path));
        }
    }
    return found;
}

Result<SocketQuestions> open_inside(const std::string& path)
{
    Result<SocketQuestions> opened = tl::unexpected(Error{ErrorKind::unsupported, "", "", {}});
    std::thread([&] {
        const int space = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
        if (space < 0 || ::setns(space, CLONE_NEWNET) != 0) {
            const int why = errno;
            opened = tl::unexpected(Error{why == EPERM || why == EACCES ? ErrorKind::not_permitted : ErrorKind::unsupported, "", std::generic_category().message(why), {}});
        } else {
            opened = SocketQuestions::open();
        }
        if (space >= 0) {
            (void)::close(space);
        }
    }).join();
    return opened;
}

} // namespace

std::vector<OtherSpace> open_other_spaces(const std::string& proc, std::vector<std::string>& missing)
{
    std::vector<OtherSpace> opened;
    Candidates candidates = find_candidates(proc);
    bool ignored = false;
    if (const auto own = inode_of("/proc/thread-self/ns/net", ignored)) {
        candidates.spaces.erase(*own);
    }
    std::size_t denied = 0;
    std::string example;
    for (const auto& [inode, space] : candidates.spaces) {
        if (opened.size() == most_spaces) {
            missing.push_back(fmt::format("sockets of other network namespaces: more than {} of them; the others are left out", most_spaces));
            break;
        }
        auto questions = open_inside(space.second);
        if (questions) {
            opened.push_back({space.first, std::move(*questions)});
        } else if (questions.error().kind == ErrorKind::not_permitted) {
            ++denied;
            example = example.empty() ? space.first : example;
        } else {
            missing.push_back(fmt::format("sockets of the network namespace {}: {}", space.first, questions.error().what));
        }
    }
    if (denied != 0) {
        missing.push_back(fmt::format("sockets of {} other network namespaces ({}{}): entering them needs CAP_SYS_ADMIN", denied, example, denied > 1 ? " …" : ""));
    }
    if (candidates.refused) {
        missing.push_back("sockets of other network namespaces: which namespaces other users' processes are in is told only with CAP_SYS_PTRACE");
    }
    return opened;
}

} // namespace skbscope::host
