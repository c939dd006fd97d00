// skbscope compare A B: two traces side by side.

#include "core/compare/compare.h"
#include "app/command.h"
#include "app/open.h"
#include "app/output.h"

#include <algorithm>
#include <fmt/format.h>

namespace skbscope::app {
namespace {

struct Options {
    std::string a, b;
    std::string format = "text";
    std::uint32_t packet = 0; ///< of A; 0: none
};

/// That packet of A and its like in B, call by call.
Result<int> show_packet(const Comparison& comparison, const Trace& a, const JourneyIndex& journeys_a,
                        const Trace& b, const JourneyIndex& journeys_b, std::uint32_t number)
{
    const auto packet = std::ranges::find_if(
        comparison.packets, [&](const PacketComparison& one) { return to_index(one.pair.a) == number; });
    if (packet == comparison.packets.end()) {
        return fail(ErrorKind::usage, fmt::format("--packet {}", number),
                    "A has no such packet that B has, too", "`compare` without it names them");
    }
    print_text(side_by_side(a, journeys_a, b, journeys_b, packet->pair, comparison.visible));
    return packet->same() ? 0 : answer_is_no;
}

Result<int> run(const Options& options)
{
    if (options.a == "-" && options.b == "-") {
        return fail(ErrorKind::usage, "compare - -", "standard input holds one trace only",
                    "name a file for the other");
    }
    auto source_a = open_whole(options.a);
    if (!source_a) {
        return tl::unexpected(source_a.error());
    }
    auto source_b = open_whole(options.b);
    if (!source_b) {
        return tl::unexpected(source_b.error());
    }
    const Trace& a = (*source_a)->trace();
    const Trace& b = (*source_b)->trace();
    JourneyIndex journeys_a(a);
    JourneyIndex journeys_b(b);
    journeys_a.update();
    journeys_b.update();
    const Comparison comparison = compare_traces(a, journeys_a, b, journeys_b);
    if (options.packet != 0) {
        return show_packet(comparison, a, journeys_a, b, journeys_b, options.packet);
    }
    print_text(options.format == "json" ? comparison_to_json(comparison, a, b)
                                        : comparison_to_text(comparison, a, b, options.a, options.b));
    return comparison.same() ? 0 : answer_is_no;
}

} // namespace

void add_compare_command(CLI::App& program, Invocation& chosen)
{
    auto [command, options] = add_command<Options>(
        program, chosen, "compare",
        "Two traces side by side: same functions in the same order, same verdicts, same counters?",
        "  skbscope compare before.pcapng after.pcapng\n"
        "  skbscope compare scenario.yaml trace.dat --format json\n"
        "  skbscope compare scenario.yaml lab.pcapng --packet 3\n"
        "Exit status 1 says that they differ.\n",
        run);
    command->add_option("A", options->a, file_help)->required();
    command->add_option("B", options->b, "The other one; any kind of file as well")->required();
    command
        ->add_option(
            "--packet", options->packet,
            "Only this packet of A, and its like in B: their calls in two columns, what differs marked")
        ->option_text("N")
        ->check(CLI::PositiveNumber);
    add_format_option(*command, options->format);
}

} // namespace skbscope::app
