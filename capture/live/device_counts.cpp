#include "capture/live/device_counts.h"

#include "capture/host/proc_tables.h"

#include <algorithm>
#include <cctype>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <sched.h>
#include <set>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

namespace skbscope {

namespace {

constexpr const char* named_spaces = "/run/netns";

std::uint64_t inode_of(const std::string& path)
{
    struct stat found{};
    return stat(path.c_str(), &found) == 0 ? found.st_ino : 0;
}

/// True the first time.
bool is_new(std::vector<std::uint64_t>& seen, std::uint64_t inode)
{
    if (inode == 0 || std::ranges::find(seen, inode) != seen.end()) {
        return false;
    }
    seen.push_back(inode);
    return true;
}

std::string whole(int file)
{
    std::string text;
    char piece[8192];
    for (ssize_t got = 0; (got = pread(file, piece, sizeof piece, static_cast<off_t>(text.size()))) > 0;) {
        text.append(piece, static_cast<std::size_t>(got));
    }
    return text;
}

} // namespace

DeviceCounts::DeviceCounts(const std::string& proc)
{
    std::vector<std::uint64_t> seen;
    if (is_new(seen, inode_of(proc + "/self/ns/net"))) {
        spaces_.push_back({"", open((proc + "/self/net/dev").c_str(), O_RDONLY | O_CLOEXEC)});
    }
    add_named(seen);
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(proc, error)) {
        const std::string name = entry.path().filename().string();
        if (std::isdigit(static_cast<unsigned char>(name.front())) == 0) {
            continue;
        }
        const std::uint64_t inode = inode_of(entry.path().string() + "/ns/net");
        if (is_new(seen, inode)) {
            spaces_.push_back({fmt::format("net:[{}]/", inode), open((entry.path().string() + "/net/dev").c_str(), O_RDONLY | O_CLOEXEC)});
        }
    }
}

/// /proc/net belongs to the namespace of the thread that opens it; one of its own is taken into each.
void DeviceCounts::add_named(std::vector<std::uint64_t>& seen)
{
    std::thread([this, &seen] {
        std::error_code error;
        for (const auto& entry : std::filesystem::directory_iterator(named_spaces, error)) {
            const std::string path = entry.path().string();
            const int space = open(path.c_str(), O_RDONLY | O_CLOEXEC);
            if (space < 0) {
                continue;
            }
            if (is_new(seen, inode_of(path)) && setns(space, CLONE_NEWNET) == 0) {
                spaces_.push_back({entry.path().filename().string() + "/", open("/proc/thread-self/net/dev", O_RDONLY | O_CLOEXEC)});
            }
            (void)close(space);
        }
    }).join();
}

DeviceCounts::~DeviceCounts()
{
    for (const Space& space : spaces_) {
        if (space.file >= 0) {
            (void)close(space.file);
        }
    }
}

std::map<std::string, std::uint64_t> DeviceCounts::read() const
{
    std::map<std::string, std::uint64_t> counts;
    for (const Space& space : spaces_) {
        if (space.file < 0) {
            continue;
        }
        for (const auto& [name, value] : host::parse_dev(whole(space.file))) {
            if (name.ends_with(".rx_packets") || name.ends_with(".tx_packets")) {
                counts[space.prefix + name] = value;
            }
        }
    }
    return counts;
}

std::vector<std::string> names_of_several(const std::map<std::string, std::uint64_t>& before,
                                          const std::map<std::string, std::uint64_t>& after)
{
    std::map<std::string, std::set<std::string>> spaces; // by device: those in which it carried something
    for (const auto& [key, count] : after) {
        const auto start = before.find(key);
        if (count == (start == before.end() ? 0 : start->second)) {
            continue;
        }
        const std::size_t name_at = key.rfind('/') + 1; // neither a namespace's nor a device's name has a slash
        spaces[key.substr(name_at, key.rfind('.') - name_at)].insert(key.substr(0, name_at));
    }
    std::vector<std::string> names;
    for (const auto& [name, used_in] : spaces) {
        if (used_in.size() > 1 && name != "lo") {
            names.push_back(name);
        }
    }
    return names;
}

} // namespace skbscope
