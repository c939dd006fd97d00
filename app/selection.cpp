#include "app/selection.h"

#include "app/text.h"

#include <cstdio>
#include <fmt/format.h>

namespace skbscope::app {

void add_selection_options(CLI::App& command, SelectionOptions& options)
{
    command.add_option(
        "-f,--filter", options.filter,
        "Only packets that match: \"udp port 53 and drop\" (see the man page for the language)")
        ->option_text("FILTER");
    command
        .add_option("--between", options.between,
                    "Only packets born between T1 and T2, nanoseconds on the trace's clock")
        ->option_text("T1,T2");
}

Result<Selection> select(const Trace& trace, const SelectionOptions& options)
{
    Selection selection{.filter = {}, .between = {}, .journeys = JourneyIndex(trace), .packets = {}};
    if (!options.between.empty()) {
        const auto between = Between::parse(options.between);
        if (!between) {
            return tl::unexpected(between.error());
        }
        selection.between = *between;
    }
    auto filter = TraceFilter::compile(options.filter, &trace);
    if (!filter) {
        return tl::unexpected(filter.error());
    }
    selection.filter = std::move(*filter);
    if (selection.filter.asks_for_times() && !trace.info.times_trustworthy) {
        say("skbscope: {}: its order is real, its times are not: the filter's answer on latency means "
                   "little\n",
                   trace.info.source);
    }
    selection.journeys.update();
    selection.packets = matching_packets(trace, selection.journeys, selection.filter, selection.between);
    return selection;
}

} // namespace skbscope::app
