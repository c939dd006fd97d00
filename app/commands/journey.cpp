// skbscope journey FILE: the way of each packet, function by function.

#include "app/command.h"
#include "app/open.h"
#include "app/output.h"
#include "app/selection.h"
#include "core/recording/report.h"

#include <fmt/format.h>

namespace skbscope::app {
namespace {

struct Options {
    std::string file;
    std::uint32_t packet = 0; ///< 0: all
    SelectionOptions selection;
    std::string format = "text";
};

/// Keeps only that packet; one that the filter does not match is left out as any other.
Result<void> keep_only(std::vector<PacketId>& packets, std::uint32_t number, const Trace& trace)
{
    const auto wanted = static_cast<PacketId>(number);
    if (!trace.has_packet(wanted)) {
        return fail(ErrorKind::not_found, fmt::format("packet {}", number), "there is no such packet",
                    trace.packet_count() == 0
                        ? std::string("this trace holds none")
                        : fmt::format("this trace holds packets 1 to {}", trace.packet_count()));
    }
    std::erase_if(packets, [wanted](PacketId id) { return id != wanted; });
    return {};
}

Result<int> run(const Options& options)
{
    auto source = open_whole(options.file);
    if (!source) {
        return tl::unexpected(source.error());
    }
    const auto& trace = (*source)->trace();
    auto selection = select(trace, options.selection);
    if (!selection) {
        return tl::unexpected(selection.error());
    }
    if (options.packet != 0) {
        if (const auto kept = keep_only(selection->packets, options.packet, trace); !kept) {
            return tl::unexpected(kept.error());
        }
    }
    const auto& packets = selection->packets;
    print_text(options.format == "json" ? journeys_to_json(trace, selection->journeys, packets)
                                        : journeys_to_text(trace, selection->journeys, packets));
    return 0;
}

} // namespace

void add_journey_command(CLI::App& program, Invocation& chosen)
{
    auto [command, options] =
        add_command<Options>(program, chosen, "journey",
                             "The way of each packet: its functions in order, with context, CPU and waits",
                             "  skbscope journey run.pcapng --packet 1\n"
                             "  skbscope journey trace.dat -f \"udp port 5001\" --format json\n",
                             run);
    command->add_option("FILE", options->file, file_help)->required();
    command->add_option("--packet", options->packet, "Only the packet with that number")
        ->check(CLI::Range(1U, 4294967295U))
        ->option_text("N");
    add_selection_options(*command, options->selection);
    add_format_option(*command, options->format);
}

} // namespace skbscope::app
