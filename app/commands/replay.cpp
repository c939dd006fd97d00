// skbscope replay CAPTURE: a capture's frames through the modelled NIC and kernel.

#include "app/replay.h"
#include "app/command.h"
#include "app/open.h"
#include "app/output.h"

namespace skbscope::app {
namespace {

struct Options {
    std::string capture;
    ReplayOptions replay;
    RunOutput output;
};

Result<int> run(const Options& options)
{
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
        program, chosen, "replay", "Send a capture's frames through the modelled NIC and kernel",
        "  skbscope replay capture.pcap\n"
        "  skbscope replay capture.pcap --as 10.99.0.2 -w replayed.pcapng\n"
        "  skbscope replay long.pcap --summary\n",
        run);
    command->add_option("CAPTURE", options->capture, "A pcap or pcapng file of Ethernet frames")->required();
    command
        ->add_option("--as", options->replay.as,
                     "Whose kernel to model; by default the receiver of the first unicast IPv4 frame")
        ->option_text("ADDR[,MAC]");
    command
        ->add_option("--scenario", options->replay.scenario,
                     "The host and its sockets, instead of one made to fit the capture")
        ->option_text("SCENARIO");
    add_run_output_options(*command, options->output);
}

} // namespace skbscope::app
