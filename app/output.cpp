#include "app/output.h"

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

void say_faults(const std::string& path, const Trace& trace)
{
    for (const auto& fault : trace.faults) {
        const auto times = fault.count > 1 ? fmt::format(", {} times", fault.count) : std::string();
        const auto advice = fault.advice.empty() ? std::string() : fmt::format(" ({})", fault.advice);
        fmt::print(stderr, "skbscope: {}: {}{}{}\n", path, fault.cause, times, advice);
    }
}

} // namespace skbscope::app
