// What a live device sees, through the modelled kernel, while it happens.

#include "app/privilege.h"
#include "app/replay.h"
#include "app/text.h"
#include "capture/host/device_address.h"
#include "capture/host/proc_tables.h"
#include "capture/host/text_file.h"
#include "capture/live/frame_source.h"
#include "core/recording/report.h"
#include "core/scenario/live_replay.h"

#include <chrono>
#include <fmt/format.h>
#include <limits>
#include <thread>

namespace skbscope::app {
namespace {

using Clock = std::chrono::steady_clock;

std::uint64_t wall_ns()
{
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

/// The host that is modelled: the one of the scenario, the one of --as, or this host as the device knows it.
Result<NamedHost> host_behind(const std::string& device, const ReplayOptions& options)
{
    if (!options.scenario.empty() && options.as.empty()) {
        return load_host(options.scenario);
    }
    const host::DeviceAddress here = host::address_of_device(device);
    NamedHost modelled{{}, {here.ipv4.value_or(0), here.mac}};
    if (!options.as.empty()) {
        const auto named = parse_identity(options.as);
        if (!named) {
            return tl::unexpected(named.error());
        }
        const bool told = named->mac != MacAddress{} || named->address == modelled.identity.address;
        if (!told) {
            return fail(ErrorKind::usage, "--as " + options.as,
                        fmt::format("is not the address of {}, so its MAC must be told", device),
                        "--as ADDR,MAC");
        }
        modelled.identity = {named->address, named->mac != MacAddress{} ? named->mac : here.mac};
    } else if (!here.ipv4) {
        return fail(ErrorKind::unsupported, device,
                    "has no IPv4 address, so nobody knows whose kernel to model", "--as ADDR,MAC");
    }
    if (!options.scenario.empty()) {
        auto loaded = load_host(options.scenario);
        if (!loaded) {
            return tl::unexpected(loaded.error());
        }
        modelled.scenario = std::move(loaded->scenario);
        return modelled;
    }
    // Of another host nobody knows here what its sockets are.
    std::vector<std::uint16_t> ports;
    if (here.ipv4 == modelled.identity.address) {
        ports = host::bound_udp_ports(host::read_file("/proc/self/net/udp").value_or(""),
                                      host::read_file("/proc/self/net/udp6").value_or(""),
                                      modelled.identity.address);
    }
    modelled.scenario = replay_scenario(modelled.identity.address, modelled.identity.mac, ports);
    return modelled;
}

/// Where the run goes while it happens: a recording, or nothing but the counts.
class Output {
public:
    Output(ModelSource& source, int file, const std::string& name) : source_(source), file_(file)
    {
        if (file_ >= 0) {
            writer_.emplace(source.trace(), sink_of(file_), name);
        }
    }
    ~Output()
    {
        if (file_ > STDOUT_FILENO) {
            close(file_);
        }
    }
    Output(const Output&) = delete;
    Output& operator=(const Output&) = delete;

    /// What has happened since is written and forgotten.
    Result<void> update()
    {
        if (!writer_) {
            return {};
        }
        if (auto written = writer_->update(); !written) {
            return written;
        }
        source_.forget_before(writer_->written());
        return {};
    }
    Result<void> finish() { return writer_ ? writer_->finish() : Result<void>(); }

private:
    ModelSource& source_;
    int file_;
    std::optional<RecordingWriter> writer_;
};

void say_state(const LiveReplay& replay, const Trace& trace, Clock::duration since)
{
    const auto counts = trace.verdicts();
    say("\r{:.0f} s: {} frames, {} delivered, {} dropped ", std::chrono::duration<double>(since).count(),
        replay.frames(), counts[static_cast<std::size_t>(Verdict::delivered)],
        counts[static_cast<std::size_t>(Verdict::dropped)]);
}

/// What became of the frames before they reached the model.
void say_end(const DeviceWishes& wishes, const LiveReplay& replay, const FrameSource& frames,
             std::uint64_t long_frames)
{
    say("{}: {} frames replayed", wishes.device, replay.frames());
    const auto& counts = replay.counts();
    const auto also = [](std::uint64_t count, const char* words) {
        if (count != 0) {
            say(", {} {}", count, words);
        }
    };
    also(counts.own, "of the host's own left out");
    also(counts.unfinished, "had their checksum filled in, as no device had done it yet");
    also(counts.cut, "cut by the capture and padded");
    also(frames.lost(), "lost by the capture");
    say("\n");
    if (long_frames != 0) {
        say("{}: {} frames are longer than a wire carries: GRO or the sender's offloads made them before the "
            "capture saw them\n",
            wishes.device, long_frames);
    }
}

/// Reads the device and runs the model behind it. True: the device went away.
Result<bool> follow(const DeviceWishes& wishes, FrameSource& frames, LiveReplay& replay, Output& output,
                    const std::atomic<bool>& stop, std::uint64_t& long_frames)
{
    constexpr auto pause = std::chrono::milliseconds(20);
    constexpr std::size_t longest = 1518;
    const bool shows = isatty(STDERR_FILENO) != 0;
    const auto began = Clock::now();
    auto said = began;
    bool gone = false;
    std::vector<LiveFrame> seen;
    const auto enough = [&] {
        const std::chrono::duration<double> passed = Clock::now() - began;
        return stop || (wishes.seconds > 0 && passed.count() >= wishes.seconds) ||
               (wishes.frames != 0 && replay.frames() >= wishes.frames);
    };
    /// Reads once and runs the model up to `now`. False: nothing stamped before `end` was there.
    const auto step = [&](std::uint64_t now, std::uint64_t end) -> Result<bool> {
        seen.clear();
        gone = !frames.read(seen);
        bool any = false;
        for (LiveFrame& frame : seen) {
            const auto stamp = static_cast<std::uint64_t>(std::max<std::int64_t>(frame.wall_ns, 0));
            if (stamp >= end || (wishes.frames != 0 && replay.frames() >= wishes.frames)) {
                break;
            }
            any = true;
            long_frames += frame.length > longest ? 1 : 0;
            replay.take({stamp, frame.length, FrameBytes(std::move(frame.bytes))});
        }
        replay.run_until(now);
        if (auto written = output.update(); !written) {
            return tl::unexpected(written.error());
        }
        return any;
    };
    constexpr std::uint64_t open_end = std::numeric_limits<std::uint64_t>::max();
    while (!gone && !enough()) {
        std::this_thread::sleep_for(pause);
        const std::uint64_t now =
            wall_ns(); // before the read: whatever is older has been handed on, or is late
        if (auto read = step(now, open_end); !read) {
            return tl::unexpected(read.error());
        }
        if (shows && Clock::now() - said >= std::chrono::seconds(1)) {
            said = Clock::now();
            say_state(replay, replay.source().trace(), said - began);
        }
    }
    // Faster than the model runs: what had come by now still lies in the capture's buffer, the last of it for another moment.
    const std::uint64_t end = wall_ns();
    std::this_thread::sleep_for(pause);
    for (bool more = !gone; more && !gone;) {
        auto read = step(end, end);
        if (!read) {
            return tl::unexpected(read.error());
        }
        more = *read;
    }
    if (shows && said != began) {
        say("\n");
    }
    return gone;
}

void print_report(ModelSource& source, const RunOutput& output)
{
    const Trace& trace = source.trace();
    Report report;
    if (output.summary) {
        report = build_summary(trace, source.known_until());
    } else {
        JourneyIndex journeys(trace);
        journeys.update();
        report = build_report(trace, journeys);
    }
    print_text(output.format == "json" ? to_json(report, trace) : to_text(report, trace));
}

} // namespace

Result<int> replay_device(const DeviceWishes& wishes, const ReplayOptions& options, const RunOutput& output)
{
    constexpr int whole_frames = 65536;
    auto host = host_behind(wishes.device, options);
    auto frames = FrameSource::open(wishes.device, wishes.filter, whole_frames);
    if (!frames) { // a device that is not there has no address either
        return tl::unexpected(frames.error());
    }
    if (!host) {
        return tl::unexpected(host.error());
    }
    if (!options.kernel.empty()) {
        host->scenario.kernel = options.kernel;
    }
    const Caller who = caller();
    const std::atomic<bool>& stop = stop_on_signals();
    const auto file = output.file.empty() ? Result<int>(-1) : open_output(output.file, who);
    if (!file) {
        return tl::unexpected(file.error());
    }
    if (auto dropped = drop_rights(who, "replay"); !dropped) {
        return tl::unexpected(dropped.error());
    }
    std::size_t receivers = 0;
    for (const ScenarioHost& each : host->scenario.hosts) {
        receivers += each.receivers.size();
    }
    say("replaying: {} as {}, kernel {}, {} receivers{}\n", wishes.device,
        IpAddress::v4(host->identity.address).text(), host->scenario.kernel, receivers,
        wishes.seconds > 0 || wishes.frames != 0 ? "" : "; Ctrl-C ends it");
    LiveReplay replay(std::move(host->scenario), host->identity.mac, wall_ns());
    replay.source().keep_snapshots(false); // nobody looks back
    replay.source().set_recording(!output.summary);
    const std::string name = output.file == "-" ? "standard output" : output.file;
    Output out(replay.source(), *file, name);
    std::uint64_t long_frames = 0;
    const auto gone = follow(wishes, *frames, replay, out, stop, long_frames);
    if (!gone) {
        return tl::unexpected(gone.error());
    }
    replay.finish();
    if (auto written = out.finish(); !written) {
        return tl::unexpected(written.error());
    }
    say_end(wishes, replay, *frames, long_frames);
    if (*file < 0) {
        print_report(replay.source(), output);
    } else {
        say_written(name, replay.source().trace());
    }
    if (*gone) {
        return fail(ErrorKind::unreadable, wishes.device, "went away; what had come by then was replayed");
    }
    return 0;
}

} // namespace skbscope::app
