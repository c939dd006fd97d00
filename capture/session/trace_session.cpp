#include "capture/session/trace_session.h"

#include "capture/session/instance.h"
#include "capture/session/record_cost.h"
#include "capture/session/tracefs_files.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <fmt/format.h>
#include <future>
#include <memory>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace skbscope {

namespace {

constexpr const char* drops_suffix = "_drops";

std::string why(int error) { return std::error_code(error, std::generic_category()).message(); }

void close_all(std::vector<int>& files)
{
    for (const int file : files) {
        if (file >= 0) {
            (void)close(file);
        }
    }
    files.clear();
}

struct FreeInstance {
    void operator()(tracefs_instance* instance) const { session_instance_free(instance); }
};
using Instance = std::unique_ptr<tracefs_instance, FreeInstance>;

/// Everything a session of that name may have made; works on a half-made one, too.
bool remove_session(const std::string& tracefs, const std::string& name)
{
    bool gone = remove_instance(tracefs, name);
    gone = remove_instance(tracefs, name + drops_suffix) && gone;
    for (const std::string& probe : probe_events(tracefs)) {
        if (probe.starts_with(name + "/")) {
            gone = remove_probe(tracefs, probe) && gone;
        }
    }
    return gone;
}

/// The keeper's whole life: nothing until the other end of the pipe is gone, then the cleaning.
[[noreturn]] void keep(int pipe, const std::string& tracefs, const std::string& name)
{
    sigset_t all;
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, nullptr);
    (void)setsid(); // what the terminal sends is for the session, not for its keeper
    (void)prctl(PR_SET_NAME, "skbscope-keeper");
    (void)prctl(PR_SET_PDEATHSIG, 0);
    // Nobody shall wait for an end of stream because the keeper still holds the writing end.
    const int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int standard = 0; standard <= 2; ++standard) {
        (void)dup2(nothing, standard);
    }
    const int kept = 3;
    (void)dup2(pipe, kept);
    (void)close_range(kept + 1, ~0U, 0);
    char byte = 0;
    while (read(kept, &byte, 1) < 0 && errno == EINTR) {
    }
    _exit(remove_session(tracefs, name) ? 0 : 1);
}

} // namespace

TraceSession::TraceSession(TraceSession&& other) noexcept
{
    *this = std::move(other);
}

TraceSession& TraceSession::operator=(TraceSession&& other) noexcept
{
    std::swap(tracefs_, other.tracefs_);
    std::swap(name_, other.name_);
    std::swap(buffers_, other.buffers_);
    std::swap(drop_buffers_, other.drop_buffers_);
    std::swap(statistics_, other.statistics_);
    std::swap(switches_, other.switches_);
    std::swap(record_cost_ns_, other.record_cost_ns_);
    std::swap(refused_, other.refused_);
    std::swap(kernel_, other.kernel_);
    std::swap(page_size_, other.page_size_);
    std::swap(buffer_kb_, other.buffer_kb_);
    std::swap(events_enabled_, other.events_enabled_);
    std::swap(running_, other.running_);
    std::swap(probes_, other.probes_);
    std::swap(lock_, other.lock_);
    std::swap(to_keeper_, other.to_keeper_);
    std::swap(keeper_, other.keeper_);
    return *this;
}

TraceSession::~TraceSession()
{
    (void)close();
}

std::string TraceSession::file(const std::string& name) const
{
    return tracefs_ + "/instances/" + name_ + "/" + name;
}

Result<TraceSession> TraceSession::open(const HostFacts& facts, const ProbePlan& plan, const SessionOptions& options)
{
    if (plan.events.empty()) {
        return fail(ErrorKind::not_permitted, "tracefs", "packets cannot be followed on this host", "see skbscope doctor");
    }
    TraceSession session;
    session.tracefs_ = facts.tracefs;
    session.name_ = own_mark(options.places.proc).text();
    (void)remove_leftovers(facts.tracefs, find_leftovers(facts.tracefs, options.places.proc));
    if (auto keeper = session.start_keeper(); !keeper) {
        return tl::unexpected(keeper.error());
    }
    session.kernel_.release = facts.kernel_release;
    session.kernel_.cpus = static_cast<std::uint16_t>(facts.cpus);
    // The kernel makes that text anew for each reader, which takes as long as all the rest.
    auto symbols = std::async(std::launch::async, [path = options.places.proc + "/kallsyms"] {
        SymbolTable table;
        table.parse(read_text(path).value_or(""));
        return table;
    });
    if (auto ready = session.set_up(plan, options); !ready) {
        return tl::unexpected(ready.error());
    }
    session.kernel_.symbols = symbols.get();
    return session;
}

Result<void> TraceSession::start_keeper()
{
    int pipe[2] = {-1, -1};
    if (pipe2(pipe, O_CLOEXEC) != 0) {
        return fail(ErrorKind::not_permitted, "the session's keeper", why(errno));
    }
    keeper_ = fork();
    if (keeper_ == 0) {
        keep(pipe[0], tracefs_, name_);
    }
    const int error = errno;
    (void)::close(pipe[0]);
    to_keeper_ = pipe[1];
    if (keeper_ < 0) {
        return fail(ErrorKind::not_permitted, "the session's keeper", "cannot be started: " + why(error));
    }
    return {};
}

Result<void> TraceSession::set_up(const ProbePlan& plan, const SessionOptions& options)
{
    const Instance instance(session_instance_create(tracefs_.c_str(), name_.c_str()));
    if (!instance) {
        return fail(ErrorKind::not_permitted, tracefs_ + "/instances", "no instance can be made: " + why(errno), "see skbscope doctor");
    }
    lock_ = lock_folder(tracefs_ + "/instances/" + name_);
    (void)session_instance_write(instance.get(), "tracing_on", "0");
    const std::uint64_t size = options.buffer_kb != 0 ? options.buffer_kb : plan.buffer_kb;
    buffer_kb_ = size;
    if (!size_buffers(instance.get(), size)) {
        refused_.push_back(fmt::format("ring buffers of {} KiB: {}", size, why(errno)));
    }
    if (session_instance_write(instance.get(), "trace_clock", plan.clock.c_str()) < 0) {
        return fail(ErrorKind::unsupported, tracefs_, "the clock " + plan.clock + " was refused: " + why(errno));
    }
    kernel_.clock = plan.clock;
    Instance drops;
    if (options.drops_apart) {
        drops.reset(session_instance_create(tracefs_.c_str(), (name_ + drops_suffix).c_str()));
    }
    if (drops) {
        (void)session_instance_write(drops.get(), "trace_clock", plan.clock.c_str());
        (void)size_buffers(drops.get(), size);
    }
    set_probes(plan);
    const double untraced_ns = drops ? MessageLoop().ns_a_message() : 0;
    for (const PlannedEvent& event : plan.events) {
        const bool is_drop = drops && event.system == "skb" && event.name == "kfree_skb";
        if (enable(is_drop ? drops.get() : instance.get(), event) && drops && !is_drop) {
            switches_.push_back(::open(file("events/" + event.system + "/" + event.name + "/enable").c_str(), O_WRONLY | O_CLOEXEC));
        }
    }
    if (events_enabled_ == 0) {
        return fail(ErrorKind::not_permitted, tracefs_, "no event can be enabled: " + (refused_.empty() ? std::string() : refused_.front()),
                    "see skbscope doctor");
    }
    for (const std::string& probe : probes_) {
        (void)enable(instance.get(), {name_, probe, ""});
    }
    trace_functions(plan);
    kernel_.add_format("ftrace", read_text(file("events/ftrace/function/format")).value_or(""));
    if (auto opened = open_buffers(drops != nullptr); !opened) {
        return opened;
    }
    if (drops) {
        measure_cost(untraced_ns);
    }
    return {};
}

/// Where the kernel allows it (6.8 and newer) pages of 64 KiB: the reader and the traced code meet once for each.
bool TraceSession::size_buffers(tracefs_instance* instance, std::uint64_t kb)
{
    constexpr std::uint64_t page_kb = 64;
    constexpr std::uint64_t fewest_pages = 32;
    if (kb >= page_kb * fewest_pages && session_instance_write(instance, "buffer_subbuf_size_kb", std::to_string(page_kb).c_str()) >= 0) {
        page_size_ = page_kb * 1024;
    }
    return session_instance_size(instance, kb) == 0;
}

/// Messages of our own with the events set, and without: what lies between is the cost of their records.
void TraceSession::measure_cost(double untraced_ns)
{
    if (untraced_ns <= 0 || !set_running(true)) {
        return;
    }
    const std::uint64_t before = sum_of_statistics({"entries: ", "overrun: "});
    const double traced_ns = MessageLoop().ns_a_message();
    const std::uint64_t records = sum_of_statistics({"entries: ", "overrun: "}) - before;
    (void)set_running(false);
    const int emptied = ::open(file("trace").c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
    if (emptied >= 0) {
        (void)::close(emptied);
    }
    const double a_message = static_cast<double>(records) / MessageLoop::messages;
    if (a_message >= 1 && traced_ns > untraced_ns) {
        record_cost_ns_ = (traced_ns - untraced_ns) / a_message;
    }
}

bool TraceSession::enable(tracefs_instance* instance, const PlannedEvent& event)
{
    const std::string folder = "events/" + event.system + "/" + event.name;
    if (!event.filter.empty() && session_instance_write(instance, (folder + "/filter").c_str(), event.filter.c_str()) < 0) {
        refused_.push_back(fmt::format("the filter {} of {}:{}: {}", event.filter, event.system, event.name, why(errno)));
    }
    // Not tracefs_event_enable(): that one looks through all events' folders each time, which takes longer than the rest.
    if (session_instance_write(instance, (folder + "/enable").c_str(), "1") < 0) {
        refused_.push_back(fmt::format("event {}:{}: {}", event.system, event.name, why(errno)));
        return false;
    }
    ++events_enabled_;
    kernel_.add_format(event.system, read_text(tracefs_ + "/" + folder + "/format").value_or(""));
    return true;
}

void TraceSession::set_probes(const ProbePlan& plan)
{
    for (const PlannedProbe& probe : plan.probes) {
        const std::string line = fmt::format("p:{}/{} {} {}", name_, probe.name, probe.function, probe.fetch);
        if (write_text(tracefs_ + "/kprobe_events", line, true)) {
            probes_.push_back(probe.name);
        } else {
            refused_.push_back(fmt::format("probe on {}: {}", probe.function, why(errno)));
        }
    }
}

void TraceSession::trace_functions(const ProbePlan& plan)
{
    if (plan.functions.empty()) {
        return;
    }
    // The kernel looks each name up in all its functions, but takes the number of a line of that list as it is.
    const std::string list = read_text(tracefs_ + "/available_filter_functions").value_or("");
    const int filter = ::open(file("set_ftrace_filter").c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
    if (filter < 0) {
        refused_.push_back("function tracer's filter: " + why(errno));
        return;
    }
    std::size_t number = 0;
    std::size_t taken = 0;
    for (std::size_t at = 0; at < list.size();) {
        const std::size_t end = std::min(list.find('\n', at), list.size());
        const std::string_view line = std::string_view(list).substr(at, end - at);
        at = end + 1;
        ++number;
        if (std::ranges::binary_search(plan.functions, line.substr(0, line.find(' ')))) {
            const std::string text = fmt::format("{} ", number);
            taken += write(filter, text.data(), text.size()) > 0 ? 1 : 0;
        }
    }
    (void)::close(filter);
    // With an empty filter everything would be traced.
    if (taken == 0 || !write_text(file("current_tracer"), "function")) {
        refused_.push_back("function tracer: " + (taken == 0 ? std::string("none of its functions was accepted") : why(errno)));
    }
}

Result<void> TraceSession::open_buffers(bool with_drops)
{
    const std::string header = read_text(tracefs_ + "/events/header_page").value_or("");
    const auto open_of = [&](const std::string& instance, std::vector<int>& files) {
        for (unsigned cpu = 0; cpu < kernel_.cpus; ++cpu) {
            files.push_back(::open(fmt::format("{}/instances/{}/per_cpu/cpu{}/trace_pipe_raw", tracefs_, instance, cpu).c_str(),
                                   O_RDONLY | O_NONBLOCK | O_CLOEXEC));
            statistics_.push_back(::open(fmt::format("{}/instances/{}/per_cpu/cpu{}/stats", tracefs_, instance, cpu).c_str(), O_RDONLY | O_CLOEXEC));
        }
    };
    open_of(name_, buffers_);
    const int error = errno;
    running_ = ::open(file("tracing_on").c_str(), O_WRONLY | O_CLOEXEC);
    if (with_drops) {
        open_of(name_ + drops_suffix, drop_buffers_);
    }
    if (running_ < 0 || std::ranges::all_of(buffers_, [](int buffer) { return buffer < 0; })) {
        return fail(ErrorKind::not_permitted, file("per_cpu"), "its buffers cannot be read: " + why(error));
    }
    // "field: char data; offset:16; size:4080;": what one read gives at most.
    const std::size_t data = header.find("char data");
    const std::size_t size = data == std::string::npos ? data : header.find("size:", data);
    std::size_t bytes = 0;
    if (size != std::string::npos) {
        (void)std::from_chars(header.data() + size + 5, header.data() + header.size(), bytes);
    }
    page_size_ = std::max<std::size_t>(page_size_, bytes + RingPages::header_size);
    return {};
}

bool TraceSession::set_running(bool on)
{
    return running_ >= 0 && write(running_, on ? "1" : "0", 1) == 1;
}

std::uint64_t TraceSession::lost() const
{
    return sum_of_statistics({"overrun: ", "dropped events: "});
}

/// Of lines of the buffers' statistics: "overrun: 0".
std::uint64_t TraceSession::sum_of_statistics(std::initializer_list<std::string_view> names) const
{
    std::uint64_t sum = 0;
    for (const int file : statistics_) {
        char text[1024] = {'\n'};
        const ssize_t got = file < 0 ? -1 : pread(file, text + 1, sizeof text - 1, 0);
        const std::string_view all(text, static_cast<std::size_t>(std::max<ssize_t>(got, 0)) + 1);
        for (const std::string_view name : names) {
            const std::size_t at = all.find(fmt::format("\n{}", name));
            std::uint64_t number = 0;
            if (at != std::string_view::npos) {
                (void)std::from_chars(all.data() + at + 1 + name.size(), all.data() + all.size(), number);
            }
            sum += number;
        }
    }
    return sum;
}

bool TraceSession::set_events(bool on)
{
    bool all = true;
    if (!on) {
        all = set_running(false);
    }
    for (const int event : switches_) {
        all = event >= 0 && pwrite(event, on ? "1" : "0", 1, 0) == 1 && all;
    }
    return on ? set_running(true) && all : all;
}

bool TraceSession::close()
{
    close_all(buffers_);
    close_all(drop_buffers_);
    close_all(statistics_);
    close_all(switches_);
    for (int* each : {&running_, &lock_, &to_keeper_}) {
        if (*each >= 0) {
            (void)::close(std::exchange(*each, -1));
        }
    }
    if (keeper_ <= 0) {
        return true;
    }
    int status = -1;
    while (waitpid(keeper_, &status, 0) < 0 && errno == EINTR) {
    }
    keeper_ = -1;
    // Should somebody have killed the keeper: what it would have done, as far as we still may.
    return (WIFEXITED(status) && WEXITSTATUS(status) == 0) || remove_session(tracefs_, name_);
}

} // namespace skbscope
