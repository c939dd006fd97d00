#include "capture/host_facts.h"

#include "capture/session/leftovers.h"
#include "capture/session/tracefs_files.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fcntl.h>
#include <sstream>
#include <system_error>
#include <unistd.h>

namespace skbscope {

namespace {

namespace fs = std::filesystem;

/// The systems of events that have to do with packets.
constexpr const char* systems[] = {"net", "napi", "skb", "irq", "sock", "udp", "tcp", "fib", "fib6", "neigh", "qdisc", "xdp", "icmp"};

struct CapabilityName {
    unsigned number;
    const char* name;
};
// include/uapi/linux/capability.h; those that something here needs
constexpr CapabilityName capability_names[] = {{1, "dac_override"}, {2, "dac_read_search"}, {12, "net_admin"},
                                               {13, "net_raw"},     {21, "sys_admin"},      {23, "sys_nice"},   {34, "syslog"},
                                               {38, "perfmon"},     {39, "bpf"}};

/// The rest of the line that begins with `key`.
std::string value_of(const std::string& text, std::string_view key)
{
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with(key)) {
            const auto begin = line.find_first_not_of(" \t:", key.size());
            return begin == std::string::npos ? "" : line.substr(begin);
        }
    }
    return {};
}

std::vector<std::string> words_of(const std::string& text)
{
    std::vector<std::string> words;
    std::istringstream stream(text);
    for (std::string word; stream >> word;) {
        words.push_back(word);
    }
    return words;
}

std::string trim(std::string text)
{
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) {
        text.pop_back();
    }
    return text;
}

/// Whether the file can be opened that way. Opening changes nothing in the files this is asked of.
Access access_of(const std::string& path, int mode)
{
    const int file = open(path.c_str(), mode | O_CLOEXEC | O_NONBLOCK);
    if (file >= 0) {
        (void)close(file);
        return Access::usable;
    }
    switch (errno) {
    case ENOENT:
    case ENOTDIR: return Access::absent;
    case EROFS: return Access::read_only;
    default: return Access::denied;
    }
}

/// Whether the rights that the program runs with allow it: access() asks for those of whoever started it, without capabilities.
bool may(const std::string& path, int mode)
{
    return faccessat(AT_FDCWD, path.c_str(), mode, AT_EACCESS) == 0;
}

void read_rights(HostFacts& facts, const HostPlaces& places)
{
    facts.user = geteuid();
    const std::string status = read_text(places.proc + "/self/status").value_or("");
    const std::string set = value_of(status, "CapEff:");
    std::uint64_t effective = 0;
    (void)std::from_chars(set.data(), set.data() + set.size(), effective, 16);
    for (const auto& [number, name] : capability_names) {
        if ((effective >> number & 1) != 0) {
            facts.capabilities.insert(name);
        }
    }
}

void read_machine(HostFacts& facts, const HostPlaces& places)
{
    facts.kernel_release = trim(read_text(places.proc + "/sys/kernel/osrelease").value_or(""));
    facts.machine = trim(read_text(places.proc + "/sys/kernel/arch").value_or(""));
    if (facts.machine.empty()) { // before 6.1 there was no such file
#if defined(__x86_64__)
        facts.machine = "x86_64";
#elif defined(__aarch64__)
        facts.machine = "aarch64";
#endif
    }
    const std::string memory = value_of(read_text(places.proc + "/meminfo").value_or(""), "MemTotal");
    (void)std::from_chars(memory.data(), memory.data() + memory.size(), facts.memory_kb);
    // "0-3,8": the ring buffers are numbered as CPUs are.
    const std::string possible = trim(read_text(places.sys + "/devices/system/cpu/possible").value_or("0"));
    const std::size_t last = possible.find_last_of("-,");
    const char* begin = possible.data() + (last == std::string::npos ? 0 : last + 1);
    unsigned highest = 0;
    (void)std::from_chars(begin, possible.data() + possible.size(), highest);
    facts.cpus = highest + 1;
}

void read_lockdown(HostFacts& facts, const HostPlaces& places)
{
    // "none [integrity] confidentiality"
    const std::string text = read_text(places.sys + "/kernel/security/lockdown").value_or("");
    const auto begin = text.find('[');
    const auto end = text.find(']');
    if (begin != std::string::npos && end != std::string::npos && end > begin) {
        facts.lockdown = text.substr(begin + 1, end - begin - 1);
    }
}

void find_tracefs(HostFacts& facts, const HostPlaces& places)
{
    for (const std::string& place : places.tracing) {
        std::error_code error;
        if (!fs::is_directory(place, error)) {
            // A folder above it that may not be searched hides it: /sys/kernel/debug is for root alone.
            if (error == std::errc::permission_denied && facts.tracing == Access::absent) {
                facts.tracing = Access::denied;
                facts.tracing_trouble = error.message();
            }
            continue;
        }
        if (may(place + "/events", F_OK)) {
            facts.tracefs = place;
            break;
        }
        if (errno == EACCES || errno == EPERM) {
            facts.tracefs = place;
            facts.tracing = Access::denied;
            facts.tracing_trouble = std::error_code(errno, std::generic_category()).message();
            return;
        }
        if (facts.tracing == Access::absent) {
            facts.tracing = Access::unmounted;
        }
    }
    if (facts.tracefs.empty()) {
        return;
    }
    facts.tracing_trouble.clear();
    const std::string instances = facts.tracefs + "/instances";
    if (may(instances, W_OK) && may(facts.tracefs + "/events", R_OK)) {
        facts.tracing = Access::usable;
        return;
    }
    facts.tracing = errno == EROFS ? Access::read_only : errno == ENOENT ? Access::absent : Access::denied;
    facts.tracing_trouble = std::error_code(errno, std::generic_category()).message();
}

void read_events(HostFacts& facts)
{
    for (const char* system : systems) {
        std::error_code error;
        for (const auto& entry : fs::directory_iterator(facts.tracefs + "/events/" + system, error)) {
            if (entry.is_directory(error)) {
                facts.events.insert(std::string(system) + ":" + entry.path().filename().string());
            }
        }
    }
    const std::string format = read_text(facts.tracefs + "/events/skb/kfree_skb/format").value_or("");
    facts.drop_reasons = format.find(" reason;") != std::string::npos;
}

void read_tracing(HostFacts& facts, bool with_functions)
{
    const std::string& root = facts.tracefs;
    read_events(facts);
    for (std::string clock : words_of(read_text(root + "/trace_clock").value_or(""))) {
        std::erase_if(clock, [](char c) { return c == '[' || c == ']'; });
        facts.clocks.push_back(clock);
    }
    for (const std::string& tracer : words_of(read_text(root + "/available_tracers").value_or(""))) {
        facts.tracers.insert(tracer);
    }
    const std::string readme = read_text(root + "/README").value_or("");
    facts.event_probes = readme.find("e[:[<group>/]") != std::string::npos;
    facts.function_probes = readme.find("f[:[<group>/]") != std::string::npos;
    facts.kprobe_events = access_of(root + "/kprobe_events", O_RDONLY);
    if (facts.kprobe_events == Access::usable && !may(root + "/kprobe_events", W_OK)) {
        facts.kprobe_events = errno == EROFS ? Access::read_only : Access::denied;
    }
    facts.function_filter = access_of(root + "/set_ftrace_filter", O_RDONLY);
    if (facts.function_filter == Access::usable) {
        facts.function_filter = access_of(root + "/available_filter_functions", O_RDONLY);
    }
    if (with_functions && facts.function_filter == Access::usable) {
        std::istringstream lines(read_text(root + "/available_filter_functions").value_or(""));
        for (std::string line; std::getline(lines, line);) {
            facts.functions.push_back(line.substr(0, line.find(' '))); // "name [module]"
        }
    }
}

void read_symbols(HostFacts& facts, const HostPlaces& places)
{
    const int file = open((places.proc + "/kallsyms").c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        facts.symbols = errno == ENOENT ? Access::absent : Access::denied;
        return;
    }
    // Without the right to see addresses every one of them reads as 0. Per-CPU symbols stand first and are small, so
    // one line proves nothing.
    char piece[16384];
    const ssize_t got = read(file, piece, sizeof piece);
    (void)close(file);
    facts.symbols = Access::denied;
    std::istringstream lines(std::string(piece, static_cast<std::size_t>(std::max<ssize_t>(got, 0))));
    for (std::string line; std::getline(lines, line);) {
        if (line.find_first_not_of('0') < line.find(' ')) {
            facts.symbols = Access::usable;
            return;
        }
    }
}

void read_btf(HostFacts& facts, const HostPlaces& places)
{
    const std::string path = places.sys + "/kernel/btf/vmlinux";
    facts.btf = access_of(path, O_RDONLY);
    const auto bytes = facts.btf == Access::usable ? read_text(path) : std::nullopt;
    if (!bytes) {
        return;
    }
    const auto btf = Btf::parse({reinterpret_cast<const std::uint8_t*>(bytes->data()), bytes->size()});
    if (btf) {
        facts.layout = skb_layout(*btf);
    }
}

} // namespace

std::string_view to_string(Access access)
{
    switch (access) {
    case Access::absent: return "absent";
    case Access::unmounted: return "not mounted";
    case Access::denied: return "not permitted";
    case Access::read_only: return "read only";
    case Access::usable: return "usable";
    }
    return "?";
}

HostFacts read_host_facts(const HostPlaces& places, bool with_functions)
{
    HostFacts facts;
    read_machine(facts, places);
    read_rights(facts, places);
    read_lockdown(facts, places);
    read_symbols(facts, places);
    read_btf(facts, places);
    for (const std::string& name : words_of(read_text(places.sys + "/devices/system/clocksource/clocksource0/current_clocksource").value_or(""))) {
        facts.clocksource = name;
    }
    find_tracefs(facts, places);
    if (facts.tracing == Access::usable || facts.tracing == Access::read_only) {
        read_tracing(facts, with_functions);
        const Leftovers leftovers = find_leftovers(facts.tracefs, places.proc);
        facts.leftovers = leftovers.instances;
        facts.leftovers.insert(facts.leftovers.end(), leftovers.probes.begin(), leftovers.probes.end());
    }
    return facts;
}

} // namespace skbscope
