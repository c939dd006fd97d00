// Prints the journeys of an imported recording: for looking at attribution while working on it. Not a test.

#include "capture/import.h"
#include "core/catalog/catalog.h"
#include "core/trace/journey.h"

#include <fmt/format.h>
#include <string_view>

using namespace skbscope;

int main(int argc, char** argv)
{
    if (argc < 2) {
        fmt::print(stderr, "usage: show_import TRACE.dat [all|summary|calls|PACKET] [no-kprobes]\n");
        return 2;
    }
    ImportOptions options;
    options.use_kprobes = !(argc > 3 && std::string_view(argv[3]) == "no-kprobes");
    const auto imported = import_trace_dat(argv[1], options);
    if (!imported) {
        fmt::print(stderr, "{}\n", imported.error().describe());
        return 3;
    }
    const std::string_view what = argc > 2 ? argv[2] : "summary";
    const Trace& trace = imported->trace;
    fmt::print("{} {} clock {} trustworthy {} events {} packets {} wall offset {}\n", trace.info.source,
               trace.info.kernel_release, trace.info.clock, trace.info.times_trustworthy, trace.size(),
               trace.packet_count(), trace.info.wall_offset_ns);
    for (const auto& warning : imported->warnings) {
        fmt::print("warning: {}\n", warning);
    }
    for (const Fault& fault : trace.faults) {
        fmt::print("fault: {} {} ({})\n", fault.count, fault.cause, fault.advice);
    }
    for (const PcapMatch& match : imported->pcaps) {
        fmt::print("pcap {}: {} frames, {} matched, {} packets without\n", match.device, match.frames,
                   match.matched, match.packets_without);
    }
    if (!options.use_kprobes) {
        fmt::print("probes: {} checked, {} wrong, {} missed\n", imported->probes.checked,
                   imported->probes.wrong, imported->probes.missed);
        for (const auto& example : imported->probes.examples) {
            fmt::print("  {}\n", example);
        }
    }
    if (what == "calls") { // every one with the packet it was given, or 0
        for (std::size_t i = 0; i < trace.size(); ++i) {
            const Event& e = trace[i];
            if (e.is_call()) {
                fmt::print("{:>14} [{}] {:8} {:10.10} #{:<5} {:{}}{} ({})\n", e.time_ns, e.cpu, to_string(e.context()), trace.task(e.task_id()).name,
                           e.packet, "", e.depth * 2, trace.function_name(e.function_id()), via_text(e.via()));
            }
        }
        return 0;
    }
    JourneyIndex index(trace);
    index.update();
    for (const PacketRecord& packet : trace.packets()) {
        if (what != "all" && what != "summary" && what != std::to_string(to_index(packet.id))) {
            continue;
        }
        fmt::print("\n#{} {} {} len {} {} birth {} death {} {} reason {} parent {} flow {} bytes {} born in "
                   "{} ended in {}{}\n",
                   to_index(packet.id), trace.device(packet.device).name,
                   packet.sent_here ? "sent" : "received", packet.length, to_string(packet.verdict),
                   packet.birth.ns, packet.death == never ? 0 : packet.death.ns,
                   packet.end_inferred ? "(inferred)" : "", Catalog::drop_reason(packet.reason).name,
                   to_index(packet.parent), packet.flow ? packet.flow->text() : "-", packet.captured_length,
                   trace.function_name(packet.birth_function), trace.function_name(packet.end_function),
                   packet.touched_by_loss ? " LOSS" : "");
        if (what == "summary") {
            continue;
        }
        const Journey journey = index.journey(packet.id);
        std::size_t event = 0;
        const auto events_until = [&](std::uint32_t ordinal) {
            for (; event < journey.events.size() && journey.events[event] <= ordinal; ++event) {
                const Event& e = trace[journey.events[event]];
                if (!e.is_call()) {
                    fmt::print("    {:>14} -- {} {}\n", e.time_ns, to_string(e.event_kind()),
                               e.event_kind() == EventKind::enqueue || e.event_kind() == EventKind::dequeue
                                   ? trace.queue(e.queue_id()).name
                               : e.event_kind() == EventKind::verdict ? std::string(to_string(e.verdict()))
                                                                      : std::to_string(e.arg));
                }
            }
        };
        for (const Step& step : journey.steps) {
            const Event& e = trace[step.ordinal];
            events_until(step.ordinal);
            fmt::print("    {:>14} [{}] {:8} {:10.10} {:{}}{}{} ({}{})\n", e.time_ns, e.cpu,
                       to_string(e.context()), trace.task(e.task_id()).name, "", e.depth * 2,
                       trace.function_name(e.function_id()), step.shared ? " *" : "", via_text(e.via()),
                       e.confidence() == Confidence::certain   ? ""
                       : e.confidence() == Confidence::derived ? ", derived"
                                                               : ", assumed");
        }
        events_until(~0U);
    }
    return 0;
}
