#include "capture/session/leftovers.h"

#include "capture/session/tracefs_files.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fmt/format.h>
#include <unistd.h>

namespace skbscope {

namespace {

constexpr std::string_view prefix = "skbscope_";

} // namespace

std::string SessionMark::text() const
{
    return fmt::format("{}{}_{}", prefix, pid, started);
}

std::optional<SessionMark> SessionMark::parse(std::string_view name)
{
    if (!name.starts_with(prefix)) {
        return std::nullopt;
    }
    name.remove_prefix(prefix.size());
    SessionMark mark;
    const char* end = name.data() + name.size();
    const auto [behind_pid, pid_error] = std::from_chars(name.data(), end, mark.pid);
    if (pid_error != std::errc{} || behind_pid == end || *behind_pid != '_' || mark.pid <= 0) {
        return std::nullopt;
    }
    const auto [behind, error] = std::from_chars(behind_pid + 1, end, mark.started);
    if (error != std::errc{} || (behind != end && *behind != '_')) {
        return std::nullopt;
    }
    return mark;
}

std::optional<std::uint64_t> start_of(std::int32_t pid, const std::string& proc)
{
    const auto stat = read_text(fmt::format("{}/{}/stat", proc, pid));
    if (!stat) {
        return std::nullopt;
    }
    // The name in brackets may hold anything; field 3 begins behind its last bracket.
    const auto bracket = stat->rfind(')');
    if (bracket == std::string::npos) {
        return std::nullopt;
    }
    std::string_view rest = std::string_view(*stat).substr(bracket + 1);
    for (int field = 3; field <= 22; ++field) {
        const auto begin = rest.find_first_not_of(' ');
        if (begin == std::string_view::npos) {
            return std::nullopt;
        }
        rest.remove_prefix(begin);
        const auto length = std::min(rest.find(' '), rest.size());
        if (field == 22) {
            std::uint64_t started = 0;
            const auto [end, error] = std::from_chars(rest.data(), rest.data() + length, started);
            return error == std::errc{} ? std::optional(started) : std::nullopt;
        }
        rest.remove_prefix(length);
    }
    return std::nullopt;
}

SessionMark own_mark(const std::string& proc)
{
    return {getpid(), start_of(getpid(), proc).value_or(0)};
}

Leftovers find_leftovers(const std::string& tracefs, const std::string& proc)
{
    Leftovers found;
    const auto is_dead = [&](const SessionMark& mark) { return start_of(mark.pid, proc) != mark.started; };
    std::error_code error;
    std::vector<std::string> held; // marks of sessions that live where this process cannot see them
    for (const auto& entry : std::filesystem::directory_iterator(tracefs + "/instances", error)) {
        const std::string name = entry.path().filename().string();
        const auto mark = SessionMark::parse(name);
        if (!mark || !is_dead(*mark)) {
            continue;
        }
        if (is_locked(entry.path().string())) {
            held.push_back(mark->text());
        } else {
            found.instances.push_back(name);
        }
    }
    for (const std::string& probe : probe_events(tracefs)) {
        const std::string_view group = std::string_view(probe).substr(0, probe.find('/'));
        const auto mark = SessionMark::parse(group);
        if (mark && is_dead(*mark) && std::find(held.begin(), held.end(), mark->text()) == held.end()) {
            found.probes.push_back(probe);
        }
    }
    return found;
}

std::vector<std::string> remove_leftovers(const std::string& tracefs, const Leftovers& leftovers)
{
    std::vector<std::string> resisted;
    for (const std::string& instance : leftovers.instances) {
        if (!remove_instance(tracefs, instance)) {
            resisted.push_back("instances/" + instance);
        }
    }
    for (const std::string& probe : leftovers.probes) {
        if (!remove_probe(tracefs, probe)) {
            resisted.push_back(probe);
        }
    }
    return resisted;
}

} // namespace skbscope
