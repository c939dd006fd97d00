// skbscope report FILE: packets by verdict, drops, latency by stage, queue peaks, counters.

#include "core/recording/report.h"
#include "app/command.h"
#include "app/open.h"
#include "app/output.h"
#include "app/selection.h"
#include "capture/why_drop.h"

#include <fmt/format.h>

namespace skbscope::app {
namespace {

struct Options {
    std::string file;
    SelectionOptions selection;
    std::string format = "text";
    std::string file_of_host;
    std::string host;
};

const std::vector<std::string> known_files{
    "snmp",     "netstat", "snmp6",         "softnet_stat",   "udp",    "dev",     "interrupts",
    "tc",       "ip-link", "ethtool",       "devices",        "irqs",   "sockets", "sysctl",
    "recorder", "nft",     "iptables-save", "ip6tables-save", "missing"};

/// The file as each host and namespace has it; a line says whose, where there are several.
Result<int> print_files(const Trace& trace, const Options& options)
{
    std::vector<const HostFile*> files;
    for (const HostFile& file : trace.files) {
        const std::string& owner = file.space.empty() ? trace.hosts()[to_index(file.host)].name : file.space;
        if (file.name == options.file_of_host && (options.host.empty() || owner == options.host)) {
            files.push_back(&file);
        }
    }
    if (files.empty() && options.file_of_host == "missing" && !trace.files.empty()) {
        return 0; // all of it could be read
    }
    if (files.empty()) {
        return trace.files.empty() ? fail(ErrorKind::unsupported, options.file, "holds no files of /proc",
                                          "skbscope run SCENARIO -w OUT and skbscope record write some")
               : options.host.empty()
                   ? fail(ErrorKind::unsupported, options.file,
                          fmt::format("holds no {} of its host", options.file_of_host),
                          "skbscope report --proc missing says why, where the recorder noted it")
                   : fail(ErrorKind::invalid, options.host, "there is no such host or namespace");
    }
    std::string text;
    for (const HostFile* file : files) {
        if (files.size() > 1) {
            text += fmt::format("{}# {}\n", text.empty() ? "" : "\n",
                                file->space.empty() ? trace.hosts()[to_index(file->host)].name : file->space);
        }
        text += file->text;
    }
    fmt::print("{}", text);
    return 0;
}

Result<int> run(const Options& options)
{
    auto source = open_whole(options.file);
    if (!source) {
        return tl::unexpected(source.error());
    }
    const auto& trace = (*source)->trace();
    if (!options.file_of_host.empty()) {
        return print_files(trace, options);
    }
    const auto selection = select(trace, options.selection);
    if (!selection) {
        return tl::unexpected(selection.error());
    }
    const auto report = build_report(trace, selection->journeys, selection->filter, selection->between);
    const auto drops = explain_drops(trace, selection->journeys, selection->packets, settings_behind(trace));
    if (options.format == "json") {
        std::string json = to_json(report, trace);
        json.insert(json.rfind('}'), ",\"why\":" + drops_to_json(drops, trace));
        print_text(json);
    } else {
        print_text(to_text(report, trace) + drops_to_text(drops, trace));
    }
    return 0;
}

} // namespace

void add_report_command(CLI::App& program, Invocation& chosen)
{
    auto [command, options] = add_command<Options>(
        program, chosen, "report", "Packets by verdict, drops, latency by stage, queue peaks, counters",
        "  skbscope report run.pcapng\n"
        "  skbscope report trace.dat -f \"udp port 53 and drop\" --format json\n"
        "  skbscope report run.pcapng --proc softnet_stat\n",
        run);
    command->add_option("FILE", options->file, file_help)->required();
    command
        ->add_option(
            "--proc", options->file_of_host,
            "Instead, what /proc/net/snmp, netstat, snmp6, softnet_stat, udp, dev, /proc/interrupts, tc -s "
            "qdisc, ip -s link "
            "or ethtool -S would print of the modelled hosts at the end, in the layout of their kernel; of a "
            "recorded host ethtool, its devices, "
            "irqs, sockets, sysctl, recorder, nft, iptables-save, ip6tables-save, and what was missing")
        ->check(CLI::IsMember(known_files))
        ->option_text("NAME");
    command->add_option("--host", options->host, "With --proc: of this host or network namespace only")
        ->option_text("NAME")
        ->needs(command->get_option("--proc"));
    add_selection_options(*command, options->selection);
    add_format_option(*command, options->format);
}

} // namespace skbscope::app
