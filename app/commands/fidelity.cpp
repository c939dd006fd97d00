// skbscope fidelity DIR…: the model held against recordings of real kernels.

#include "capture/fidelity/fidelity.h"
#include "app/command.h"
#include "app/output.h"
#include "app/progress_line.h"

#include <algorithm>
#include <optional>

namespace skbscope::app {
namespace {

struct Options {
    std::vector<std::string> folders;
    std::string format = "text";
};

bool agrees(const FolderFidelity& folder)
{
    return std::ranges::all_of(folder.rows, [](const FidelityRow& row) {
        return row.refused.empty() && row.same_reason == row.packets && row.same_functions == row.packets;
    });
}

Result<int> run(const Options& options)
{
    std::vector<FolderFidelity> results;
    // A folder takes up to a minute, and nothing is written: Ctrl-C need not wait for its end.
    std::optional<ProgressLine> line(std::in_place, "fidelity", ProgressLine::OnSignal::end);
    line->progress().begin("comparing", options.folders.size());
    for (const std::string& folder : options.folders) {
        line->progress().reach(results.size());
        auto result = fidelity_of(folder);
        if (!result) {
            return tl::unexpected(result.error());
        }
        results.push_back(std::move(*result));
    }
    line.reset();
    print_text(options.format == "json" ? fidelity_to_json(results) : fidelity_to_text(results));
    return std::ranges::all_of(results, agrees) ? 0 : answer_is_no;
}

} // namespace

void add_fidelity_command(CLI::App& program, Invocation& chosen)
{
    auto [command, options] = add_command<Options>(
        program, chosen, "fidelity",
        "Holds the model against recordings: rebuilds each recorded scenario, runs it, compares",
        "  skbscope fidelity traces/6.1.0-56-amd64/udp-rx-e1000\n"
        "  skbscope fidelity traces/*/* --format json\n"
        "A folder holds manifest.json, trace.dat and the captures made beside it (docs/fidelity.md).\n"
        "Exit status 1 says that the model and a recording differ.\n",
        run);
    command->add_option("DIR", options->folders, "Recorded folders")->required();
    add_format_option(*command, options->format);
}

} // namespace skbscope::app
