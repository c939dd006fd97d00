// skbscope record: what this host's kernel does with its packets, live, as a stream of the recording's format. The small
// privileged half: it takes fixed arguments, runs nothing but the tools that list netfilter's rules, opens what it needs and then gives up its rights.

#include "app/arguments.h"
#include "app/command.h"
#include "app/privilege.h"
#include "app/text.h"
#include "capture/live/live_recording.h"

#include <algorithm>
#include <charconv>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
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

Result<double> parse_budget(const std::string& text)
{
    double percent = 0;
    const std::string_view digits =
        std::string_view(text).substr(0, text.ends_with('%') ? text.size() - 1 : text.size());
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), percent);
    if (error != std::errc{} || end != digits.data() + digits.size() || !(percent > 0) || percent > 100) {
        return fail(ErrorKind::usage, "--budget " + text, "is not a share of the machine",
                    "a percentage above 0, such as 5%");
    }
    return percent / 100;
}

/// Where records wait that come faster than journeys can be made of them: an unnamed file beside the recording, or where
/// long temporary files go; never more than half of what is free there. -1: nowhere, memory has to do.
struct Waiting {
    int file = -1;
    std::uint64_t bytes = 0;
};

Waiting waiting_room(int output, const std::string& path, const Caller& who)
{
    constexpr std::uint64_t most = std::uint64_t{8} << 30;
    struct stat kind{};
    const bool is_file = fstat(output, &kind) == 0 && S_ISREG(kind.st_mode);
    const std::string beside = std::filesystem::path(path).parent_path().string();
    const std::string folder = !is_file ? "/var/tmp" : beside.empty() ? "." : beside;
    const bool changes = geteuid() == 0 && who.user != 0;
    if (changes && (setegid(who.group) != 0 || seteuid(who.user) != 0)) {
        return {};
    }
    Waiting room;
    room.file = open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    struct statvfs system{};
    if (room.file >= 0 && fstatvfs(room.file, &system) == 0) {
        room.bytes = std::min<std::uint64_t>(most, std::uint64_t{system.f_bavail} * system.f_frsize / 2);
    }
    if (changes) {
        (void)!seteuid(0);
        (void)!setegid(0);
    }
    return room;
}

void say_done(const LiveSummary& summary, const std::string& output)
{
    say("{}: {} packets from {} records", output == "-" ? "standard output" : output, summary.packets,
        summary.records);
    if (summary.lost != 0) {
        say(", {} records lost", summary.lost);
    }
    if (summary.frames != 0) {
        say("; {} frames, {} of them matched", summary.frames, summary.matched);
    }
    if (summary.frames_lost != 0) {
        say(", {} lost", summary.frames_lost);
    }
    say("\n");
    for (const std::string& remark : summary.remarks) {
        say("skbscope: {}\n", remark);
    }
}

Result<int> run(const Options& options)
{
    LiveWishes wishes{options.device,     options.filter,   options.seconds, options.packets, 0,
                      !options.no_frames, Detail::functions};
    // A reader at the other end of a pipe wants to see it now, and all of it is made while it comes. Into a file a flood is made little
    // by little anyway; what else is to be done must not wait for others for ever.
    wishes.yields = options.output == "-" ? 10 : 5;
    wishes.defers = options.output != "-";
    wishes.most = options.detail == "tracepoints" ? Detail::tracepoints
                  : options.detail == "probes"    ? Detail::probes
                                                  : Detail::functions;
    wishes.sample_seconds = options.sample;
    if (!options.budget.empty()) {
        const auto budget = parse_budget(options.budget);
        if (!budget) {
            return tl::unexpected(budget.error());
        }
        wishes.budget = *budget;
    }
    const Caller who = caller();
    const std::atomic<bool>& stop_wanted = stop_on_signals();
    auto recording = LiveRecording::open(wishes);
    if (!recording) {
        return tl::unexpected(recording.error());
    }
    const auto file = open_output(options.output, who);
    if (!file) {
        return tl::unexpected(file.error());
    }
    const Waiting room = waiting_room(*file, options.output, who);
    if (room.file >= 0) {
        recording->wait_in(room.file, room.bytes);
    }
    if (auto dropped = drop_rights(who, "record"); !dropped) {
        return tl::unexpected(dropped.error());
    }
    for (const std::string& line : recording->missing()) {
        say("skbscope: {}\n", line);
    }
    recording->start();
    say("recording: {}\n", recording->describes());
    auto summary = recording->run(sink_of(*file), options.output == "-" ? "standard output" : options.output,
                                  stop_wanted);
    if (!summary) {
        return tl::unexpected(summary.error());
    }
    if (*file != STDOUT_FILENO && close(*file) != 0) {
        return fail(ErrorKind::unwritable, options.output, "cannot be written", "is the disk full?");
    }
    say_done(*summary, options.output);
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
    command->add_option("-i,--device", options->device, "This device only; all of them otherwise")
        ->option_text("DEV");
    command
        ->add_option("-f,--filter", options->filter,
                     "Frames that libpcap's filter takes; journeys are recorded all the same")
        ->option_text("FILTER");
    command->add_option("-d,--duration", options->seconds, "Stop after so many seconds")
        ->check(wrong_with_seconds)
        ->option_text("SEC");
    command->add_option("-c,--count", options->packets, "Stop when so many packets have been seen")
        ->check(wrong_with_count)
        ->option_text("COUNT");
    command
        ->add_option("--budget", options->budget,
                     "Leave out detail where recording would cost more than this share of the machine")
        ->option_text("P%");
    command->add_option("--detail", options->detail, "At most: tracepoints, probes, functions")
        ->check(CLI::IsMember({"tracepoints", "probes", "functions"}))
        ->option_text("LEVEL");
    command
        ->add_option(
            "--sample", options->sample,
            "Seconds between looks at the host's own counters, queues and sockets, at most 3600; 0: none")
        ->check(wrong_with_number)
        ->check(CLI::Range(0.0, 3600.0))
        ->capture_default_str()
        ->option_text("SEC");
    command->add_flag("--no-frames", options->no_frames, "Record no frames beside the journeys");
    command
        ->add_option("-w,--write", options->output,
                     "Write the recording (pcapng) there; - is standard output")
        ->required()
        ->option_text("OUT|-");
}

} // namespace skbscope::app
