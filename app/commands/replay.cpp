// skbscope replay CAPTURE | -i DEV: the frames of a capture, or of a live device, through the modelled NIC and kernel.

#include "app/replay.h"
#include "app/arguments.h"
#include "app/command.h"
#include "app/open.h"
#include "app/output.h"
#include "app/scenario_options.h"

namespace skbscope::app {
namespace {

struct Options {
    std::string capture;
    DeviceWishes live;
    ReplayOptions replay;
    RunOutput output;
};

Result<int> run(const Options& options)
{
    if (options.capture.empty() == options.live.device.empty()) {
        return fail(ErrorKind::usage, "replay", "needs a capture or a device", "CAPTURE, or -i DEV");
    }
    if (!options.live.device.empty()) {
        return replay_device(options.live, options.replay, options.output);
    }
    if (!options.live.filter.empty() || options.live.seconds > 0 || options.live.frames != 0) {
        return fail(ErrorKind::usage, "-f, -d, -c", "go with a live device", "-i DEV");
    }
    if (const auto apart = keep_apart(options.output.file, {options.capture, options.replay.scenario});
        !apart) {
        return tl::unexpected(apart.error());
    }
    auto source = replay_capture(options.capture, options.replay);
    if (!source) {
        return tl::unexpected(source.error());
    }
    return run_and_hand_over(**source, never, options.output);
}

} // namespace

void add_replay_command(CLI::App& program, Invocation& chosen)
{
    auto [command, options] = add_command<Options>(
        program, chosen, "replay",
        "Send the frames of a capture, or of a live device, through the modelled NIC and kernel",
        "  skbscope replay capture.pcap\n"
        "  skbscope replay capture.pcap --as 10.99.0.2 -w replayed.pcapng\n"
        "  skbscope replay long.pcap --summary\n"
        "  skbscope replay -i eth0 -f udp -d 10             needs sudo; until Ctrl-C without -d and -c\n"
        "  sudo skbscope replay -i eth0 -w - | skbscope -\n",
        run);
    command->add_option("CAPTURE", options->capture, "A pcap or pcapng file of Ethernet frames");
    command
        ->add_option("-i,--device", options->live.device,
                     "Instead: what this device of the host sees, while it happens")
        ->option_text("DEV");
    command->add_option("-f,--filter", options->live.filter, "With -i: frames that libpcap's filter takes")
        ->option_text("FILTER");
    command->add_option("-d,--duration", options->live.seconds, "With -i: stop after so many seconds")
        ->check(wrong_with_seconds)
        ->option_text("SEC");
    command->add_option("-c,--count", options->live.frames, "With -i: stop after so many frames")
        ->check(wrong_with_count)
        ->option_text("COUNT");
    command
        ->add_option(
            "--as", options->replay.as,
            "Whose kernel to model; by default the receiver of the first unicast IPv4 frame, or this host")
        ->option_text("ADDR[,MAC]");
    command
        ->add_option("--scenario", options->replay.scenario,
                     "The host and its sockets, instead of one made to fit the capture")
        ->option_text("SCENARIO");
    add_kernel_option(*command, options->replay.kernel,
                      "Model this kernel; otherwise the scenario's, or 6.1");
    add_run_output_options(*command, options->output);
}

} // namespace skbscope::app
