// skbscope filter FILE -f FILTER -w OUT: saves the packets that match as a recording of their own.

#include "app/command.h"
#include "app/open.h"
#include "app/output.h"
#include "app/selection.h"
#include "core/recording/recording.h"

namespace skbscope::app {
namespace {

struct Options {
    std::string file;
    SelectionOptions selection;
    std::string output;
};

Result<int> run(const Options& options)
{
    if (const auto apart = keep_apart(options.output, {options.file}); !apart) {
        return tl::unexpected(apart.error());
    }
    auto source = open_whole(options.file);
    if (!source) {
        return tl::unexpected(source.error());
    }
    const auto& trace = (*source)->trace();
    const auto selection = select(trace, options.selection);
    if (!selection) {
        return tl::unexpected(selection.error());
    }
    const auto part = filtered(trace, selection->journeys, selection->packets);
    if (const auto written = write_watched(part, options.output); !written) {
        return tl::unexpected(written.error());
    }
    say_written(options.output, part);
    return 0;
}

} // namespace

void add_filter_command(CLI::App& program, Invocation& chosen)
{
    auto [command, options] = add_command<Options>(
        program, chosen, "filter", "Save a part of a recording",
        "  skbscope filter run.pcapng -f \"udp port 5001 and drop\" -w drops.pcapng\n"
        "  skbscope filter trace.dat --between 21144877449,21863444749 -w phase.pcapng\n",
        run);
    command->add_option("FILE", options->file, file_help)->required();
    add_selection_options(*command, options->selection);
    add_output_option(*command, options->output)->required();
}

} // namespace skbscope::app
