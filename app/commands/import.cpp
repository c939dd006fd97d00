// skbscope import TRACE.dat -w OUT: an ftrace recording into journeys.

#include "capture/import.h"
#include "app/arguments.h"
#include "app/command.h"
#include "app/file_kind.h"
#include "app/output.h"
#include "app/progress_line.h"
#include "core/recording/recording.h"

#include <filesystem>
#include <optional>

namespace skbscope::app {
namespace {

struct Options {
    std::string trace;
    std::vector<std::string> captures;
    std::string output;
};

Result<ImportOptions> import_options(const Options& options)
{
    ImportOptions import;
    for (const auto& text : options.captures) {
        const auto capture = parse_assignment(text);
        if (!capture) {
            return fail(ErrorKind::usage, "--pcap " + text, "not a device and its capture",
                        "DEV=FILE, such as eth0=eth0.pcap");
        }
        import.pcaps.push_back({capture->key, capture->value});
    }
    return import;
}

Result<int> run(const Options& options)
{
    auto import = import_options(options);
    if (!import) {
        return tl::unexpected(import.error());
    }
    std::vector<std::string> inputs{options.trace};
    for (const PcapBeside& capture : import->pcaps) {
        inputs.push_back(capture.path);
    }
    if (const auto apart = keep_apart(options.output, inputs); !apart) {
        return tl::unexpected(apart.error());
    }
    const auto kind = file_kind(options.trace);
    if (!kind) {
        return tl::unexpected(kind.error());
    }
    if (kind != FileKind::trace_dat) {
        return fail(ErrorKind::foreign, options.trace, "is no trace.dat of trace-cmd",
                    "skbscope report and skbscope replay read other files");
    }
    std::optional<ProgressLine> line(std::in_place, std::filesystem::path(options.trace).filename().string());
    import->progress = &line->progress();
    const auto imported = import_trace_dat(options.trace, *import);
    if (!imported) {
        return tl::unexpected(imported.error());
    }
    RecordingOptions writing;
    writing.progress = &line->progress();
    const auto written = write_recording(imported->trace, options.output, writing);
    line.reset();
    say_losses(options.trace, imported->warnings);
    if (!written) {
        return tl::unexpected(written.error());
    }
    say_written(options.output, imported->trace);
    return 0;
}

} // namespace

void add_import_command(CLI::App& program, Invocation& chosen)
{
    auto [command, options] = add_command<Options>(
        program, chosen, "import", "Turn a trace.dat into a recording with a journey for every packet",
        "  skbscope import trace.dat --pcap eth0=eth0.pcap -w recorded.pcapng\n", run);
    command->add_option("TRACE", options->trace, "A trace.dat written by trace-cmd")->required();
    command
        ->add_option(
            "--pcap", options->captures,
            "A capture made beside it on that device, for the frames' bytes; may be given more than once")
        ->option_text("DEV=FILE")
        ->take_all()
        ->expected(1);
    add_output_option(*command, options->output)->required();
}

} // namespace skbscope::app
