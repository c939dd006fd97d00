// skbscope report FILE: packets by verdict, drops, latency by stage, queue peaks, counters.

#include "core/recording/report.h"
#include "app/command.h"
#include "app/open.h"
#include "app/output.h"
#include "app/selection.h"

namespace skbscope::app {
namespace {

struct Options {
    std::string file;
    SelectionOptions selection;
    std::string format = "text";
};

Result<int> run(const Options& options)
{
    auto source = open_whole(options.file);
    if (!source) {
        return tl::unexpected(source.error());
    }
    const auto& trace = (*source)->trace();
    const auto selection = select(trace, options.selection);
    if (!selection) {
        return tl::unexpected(selection.error());
    }
    const auto report = build_report(trace, selection->journeys, selection->filter, selection->between);
    print_text(options.format == "json" ? to_json(report, trace) : to_text(report, trace));
    return 0;
}

} // namespace

void add_report_command(CLI::App& program, Invocation& chosen)
{
    auto [command, options] = add_command<Options>(
        program, chosen, "report", "Packets by verdict, drops, latency by stage, queue peaks, counters",
        "  skbscope report run.pcapng\n"
        "  skbscope report trace.dat -f \"udp port 53 and drop\" --format json\n",
        run);
    command->add_option("FILE", options->file, file_help)->required();
    add_selection_options(*command, options->selection);
    add_format_option(*command, options->format);
}

} // namespace skbscope::app
