// skbscope record: what this host's kernel does with its packets, live, as a stream of the recording's format. The small
// privileged half: it takes fixed arguments, runs nothing but the tools that list netfilter's rules, opens what it needs and then gives up its rights.

#include "app/command.h"
#include "capture/live/live_recording.h"

#include <atomic>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <linux/capability.h>
#include <optional>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <system_error>
#include <unistd.h>

namespace skbscope::app {
namespace {

struct Options {
    std::string device;
    std::string filter;
    double seconds = 0;
    std::uint64_t packets = 0;
    std::string budget;
    std::string detail = "functions";
    bool no_frames = false;
    double sample = 1;
    std::string output;
};

std::atomic<bool> stop_wanted{false};

void on_signal(int)
{
    stop_wanted = true;
}

void listen_to_signals()
{
    struct sigaction action{};
    action.sa_handler = on_signal;
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
        (void)sigaction(signal, &action, nullptr);
    }
    action.sa_handler = SIG_IGN; // a reader that has gone shows as a failed write
    (void)sigaction(SIGPIPE, &action, nullptr);
}

/// Who asked for it: sudo and pkexec say it; otherwise whoever runs it.
struct Caller {
    uid_t user = getuid();
    gid_t group = getgid();
};

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

/// Opened as the caller, so that nobody writes through us where he could not write himself, and the file is his.
Result<int> open_output(const std::string& path, const Caller& who)
{
    if (path == "-") {
        if (isatty(STDOUT_FILENO) != 0) {
            return fail(ErrorKind::usage, "-w -", "a recording is no text for a terminal", "pipe it, or name a file");
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
        return fail(ErrorKind::unwritable, path, "cannot be written: " + std::error_code(error, std::generic_category()).message());
    }
    return file;
}

/// Everything is open: what follows needs no rights. The keeper that takes the probes down has its own.
Result<void> drop_rights(const Caller& who)
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
        return fail(ErrorKind::not_permitted, "record", "the rights could not be dropped");
    }
    return {};
}

Result<double> parse_budget(const std::string& text)
{
    double percent = 0;
    const std::string_view digits = std::string_view(text).substr(0, text.ends_with('%') ? text.size() - 1 : text.size());
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), percent);
    if (error != std::errc{} || end != digits.data() + digits.size() || !(percent > 0) || percent > 100) {
        return fail(ErrorKind::usage, "--budget " + text, "is not a share of the machine", "a percentage above 0, such as 5%");
    }
    return percent / 100;
}

RecordingSink sink_of(int file)
{
    return [file](std::span<const std::uint8_t> bytes) {
        while (!bytes.empty()) {
            const ssize_t written = write(file, bytes.data(), bytes.size());
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

void say(const LiveSummary& summary, const std::string& output)
{
    fmt::print(stderr, "{}: {} packets from {} records", output == "-" ? "standard output" : output, summary.packets, summary.records);
    if (summary.lost != 0) {
        fmt::print(stderr, ", {} records lost", summary.lost);
    }
    if (summary.frames != 0) {
        fmt::print(stderr, "; {} frames, {} of them matched", summary.frames, summary.matched);
    }
    if (summary.frames_lost != 0) {
        fmt::print(stderr, ", {} lost", summary.frames_lost);
    }
    fmt::print(stderr, "\n");
    for (const std::string& remark : summary.remarks) {
        fmt::print(stderr, "skbscope: {}\n", remark);
    }
}

Result<int> run(const Options& options)
{
    LiveWishes wishes{options.device, options.filter, options.seconds, options.packets, 0, !options.no_frames, Detail::functions};
    wishes.most = options.detail == "tracepoints" ? Detail::tracepoints : options.detail == "probes" ? Detail::probes : Detail::functions;
    wishes.sample_seconds = options.sample;
    if (!options.budget.empty()) {
        const auto budget = parse_budget(options.budget);
        if (!budget) {
            return tl::unexpected(budget.error());
        }
        wishes.budget = *budget;
    }
    const Caller who = caller();
    listen_to_signals();
    auto recording = LiveRecording::open(wishes);
    if (!recording) {
        return tl::unexpected(recording.error());
    }
    const auto file = open_output(options.output, who);
    if (!file) {
        return tl::unexpected(file.error());
    }
    if (auto dropped = drop_rights(who); !dropped) {
        return tl::unexpected(dropped.error());
    }
    for (const std::string& line : recording->missing()) {
        fmt::print(stderr, "skbscope: {}\n", line);
    }
    recording->start();
    fmt::print(stderr, "recording: {}\n", recording->describes());
    auto summary = recording->run(sink_of(*file), options.output == "-" ? "standard output" : options.output, stop_wanted);
    if (!summary) {
        return tl::unexpected(summary.error());
    }
    if (*file != STDOUT_FILENO && close(*file) != 0) {
        return fail(ErrorKind::unwritable, options.output, "cannot be written", "is the disk full?");
    }
    say(*summary, options.output);
    return 0;
}

} // namespace

void add_record_command(CLI::App& program, Invocation& chosen)
{
    auto [command, options] = add_command<Options>(
        program, chosen, "record", "Record what this host's kernel does with its packets",
        "  skbscope record -w now.pcapng                  until Ctrl-C; mostly needs sudo\n"
        "  skbscope record -i eth0 -d 10 -w eth0.pcapng\n"
        "  ssh host sudo skbscope record -w - | skbscope -\n"
        "What this host allows, and what would allow more: skbscope doctor\n",
        run);
    command->add_option("-i,--device", options->device, "This device only; all of them otherwise")->option_text("DEV");
    command->add_option("-f,--filter", options->filter, "Frames that libpcap's filter takes; journeys are recorded all the same")->option_text("FILTER");
    command->add_option("-d,--duration", options->seconds, "Stop after so many seconds")->check(CLI::PositiveNumber)->option_text("SEC");
    command->add_option("-c,--count", options->packets, "Stop when so many packets have been seen")->check(CLI::PositiveNumber)->option_text("COUNT");
    command->add_option("--budget", options->budget, "Leave out detail where recording would cost more than this share of the machine")->option_text("P%");
    command->add_option("--detail", options->detail, "At most: tracepoints, probes, functions")
        ->check(CLI::IsMember({"tracepoints", "probes", "functions"}))
        ->option_text("LEVEL");
    command->add_option("--sample", options->sample, "Seconds between looks at the host's own counters, queues and sockets; 0: none")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str()
        ->option_text("SEC");
    command->add_flag("--no-frames", options->no_frames, "Record no frames beside the journeys");
    command->add_option("-w,--write", options->output, "Write the recording (pcapng) there; - is standard output")->required()->option_text("OUT|-");
}

} // namespace skbscope::app
