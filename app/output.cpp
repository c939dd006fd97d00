#include "app/output.h"

#include "core/recording/recording.h"
#include "core/recording/report.h"

#include <array>
#include <fmt/format.h>

namespace skbscope::app {

CLI::Option* add_output_option(CLI::App& command, std::string& output)
{
    return command.add_option("-w,--write", output, "Write a recording (pcapng) there")->option_text("OUT");
}

void add_format_option(CLI::App& command, std::string& format)
{
    command.add_option("--format", format, "The form of the output; text unless said otherwise")
        ->check(CLI::IsMember({"text", "json"}))
        ->option_text("text|json");
}

void print_text(const std::string& text)
{
    fmt::print("{}{}", text, text.ends_with('\n') ? "" : "\n");
}

Result<int> hand_over(const Trace& trace, const std::string& output, const std::string& format)
{
    if (!output.empty()) {
        if (const auto written = write_recording(trace, output); !written) {
            return tl::unexpected(written.error());
        }
        say_written(output, trace);
        return 0;
    }
    JourneyIndex journeys(trace);
    journeys.update();
    const auto report = build_report(trace, journeys);
    print_text(format == "json" ? to_json(report, trace) : to_text(report, trace));
    return 0;
}

void say_written(const std::string& path, const Trace& trace)
{
    std::array<std::size_t, verdict_count> counts{};
    for (const auto& packet : trace.packets()) {
        ++counts[static_cast<std::size_t>(packet.verdict)];
    }
    std::string verdicts;
    for (std::size_t i = 0; i < counts.size(); ++i) {
        if (counts[i] != 0) {
            verdicts += fmt::format("{}{} {}", verdicts.empty() ? ": " : ", ", counts[i],
                                    to_string(static_cast<Verdict>(i)));
        }
    }
    fmt::print(stderr, "{}: {} packet{}{}\n", path, trace.packet_count(),
               trace.packet_count() == 1 ? "" : "s", verdicts);
}

void say_losses(const std::string& path, const std::vector<std::string>& losses)
{
    for (const auto& loss : losses) {
        fmt::print(stderr, "skbscope: {}{}\n", loss.starts_with(path) ? "" : path + ": ", loss);
    }
}

} // namespace skbscope::app
