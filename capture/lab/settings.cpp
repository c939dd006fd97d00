#include "capture/lab/settings.h"

#include "capture/lab/in_space.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <fstream>
#include <sstream>
#include <unistd.h>

namespace skbscope::lab {

namespace {

/// A device's name may hold dots, so that only the last and the first parts of conf.DEVICE.NAME are certain.
std::string path_of(const std::string& name)
{
    std::string path = name;
    std::ranges::replace(path, '.', '/');
    for (const std::string_view family : {"net/ipv4/conf/", "net/ipv6/conf/", "net/ipv4/neigh/", "net/ipv6/neigh/"}) {
        if (path.starts_with(family)) {
            const auto last = path.rfind('/');
            for (std::size_t i = family.size(); i < last; ++i) {
                path[i] = name[i];
            }
        }
    }
    return "/proc/sys/" + path;
}

std::string present_value(const std::string& name)
{
    std::ifstream in(path_of(name));
    std::string text;
    std::getline(in, text);
    std::ranges::replace(text, '\t', ' ');
    return text;
}

Result<void> write_value(const std::string& name, const std::string& value)
{
    const int fd = ::open(path_of(name).c_str(), O_WRONLY | O_CLOEXEC);
    const bool written = fd >= 0 && ::write(fd, value.data(), value.size()) == static_cast<ssize_t>(value.size());
    const int error = errno;
    if (fd >= 0) {
        ::close(fd);
    }
    if (!written) {
        return fail(error == EINVAL ? ErrorKind::invalid : ErrorKind::unsupported, name, fmt::format("cannot be set to {}: {}", value, std::strerror(error)));
    }
    return {};
}

bool is_writable(const std::string& name)
{
    const int fd = ::open(path_of(name).c_str(), O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        ::close(fd);
    }
    return fd >= 0;
}

} // namespace

std::string with_part(const std::string& present, int part, const std::string& value)
{
    if (part < 0) {
        return value;
    }
    std::istringstream in(present);
    std::string text;
    std::string word;
    for (int i = 0; in >> word; ++i) {
        text += (text.empty() ? "" : " ") + (i == part ? value : word);
    }
    return text;
}

Result<Scope> scope_of(const std::string& name, const std::string& space)
{
    const auto seen = in_space(space, false, [&]() -> Result<std::string> { return std::string(is_writable(name) ? "y" : "n"); });
    if (!seen) {
        return tl::unexpected(seen.error());
    }
    if (*seen == "y") {
        return Scope::space;
    }
    return ::access(path_of(name).c_str(), F_OK) == 0 ? Scope::host : Scope::absent;
}

Result<void> apply_settings(const Plan& plan, bool host_settings, UndoList& undo)
{
    // First what would be refused, so that nothing is changed then.
    std::vector<Scope> scopes;
    for (const SettingChange& change : plan.settings) {
        const std::string& space = plan.spaces[change.space].name;
        const auto scope = scope_of(change.name, space);
        if (!scope) {
            return tl::unexpected(scope.error());
        }
        if (*scope == Scope::absent && change.needed) {
            return fail(ErrorKind::unsupported, change.name, "this kernel has no such setting", "is its module loaded?");
        }
        if (*scope == Scope::host && !host_settings && with_part(present_value(change.name), change.part, change.value) != present_value(change.name)) {
            return fail(ErrorKind::not_permitted, change.name, fmt::format("is a setting of the whole host, now {}", present_value(change.name)),
                        "--host-settings changes it for the time of the run");
        }
        scopes.push_back(*scope);
    }
    for (std::size_t i = 0; i < scopes.size(); ++i) {
        const SettingChange& change = plan.settings[i];
        if (scopes[i] == Scope::host) {
            const std::string before = present_value(change.name);
            if (const auto noted = undo.add({Undo::Kind::sysctl, change.name, before}); !noted) {
                return noted;
            }
            if (const auto written = write_value(change.name, with_part(before, change.part, change.value)); !written) {
                return written;
            }
        } else if (scopes[i] == Scope::space) {
            const auto written = in_space(plan.spaces[change.space].name, false, [&]() -> Result<std::string> {
                const auto done = write_value(change.name, with_part(present_value(change.name), change.part, change.value));
                return done ? Result<std::string>("") : tl::unexpected(done.error());
            });
            if (!written && change.needed) {
                return tl::unexpected(written.error());
            }
        }
    }
    return {};
}

namespace {

Result<void> write_rps(const Plan& plan, const RpsChange& change, std::uint64_t cpus)
{
    const auto written = in_space(plan.spaces[change.space].name, true, [&]() -> Result<std::string> {
        const std::string path = fmt::format("/sys/class/net/{}/queues/rx-{}/rps_cpus", change.device, change.queue);
        std::ofstream out(path);
        out << fmt::format("{:x}", cpus) << std::flush;
        return out ? Result<std::string>("") : fail(ErrorKind::unsupported, path, "RPS cannot be set: this kernel was built without CONFIG_RPS, or has no such queue");
    });
    return written ? Result<void>() : tl::unexpected(written.error());
}

} // namespace

Result<void> apply_rps(const Plan& plan)
{
    for (const RpsChange& change : plan.rps) {
        if (const auto written = write_rps(plan, change, change.cpus); !written) {
            return written;
        }
    }
    return {};
}

void clear_rps(const Plan& plan)
{
    for (const RpsChange& change : plan.rps) {
        (void)write_rps(plan, change, 0); // its namespace goes next, whatever this one says
    }
}

} // namespace skbscope::lab
