// How fast the model is: datagrams of 512 bytes from a socket on one host to a socket on another, over a wire. Prints
// packets a second with every function call recorded and without recording, events a packet and peak memory.
//
//   model_speed [DATAGRAMS] [MODE [paced|busy [FILE]]]
//
// recorded    every call, into memory that the kernel has yet to hand out: fresh pages cost more than what is written there
// again       … into the memory of a run before it
// handed_on   … and what a reader has taken is forgotten at once, so that its memory serves what comes
// written     … and written to FILE as it comes, as run -w does
// unrecorded  counters and verdicts alone
// kinds       recorded; says how many events of each kind a packet makes

#include "core/recording/recording.h"
#include "core/scenario/model_source.h"
#include "tests/bench/end_of.h"

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <map>
#include <string>
#include <sys/resource.h>

namespace {

using namespace skbscope;

/// How the datagrams come. Paced: one every 20 us, so each raises its interrupt, wakes its reader and finds every CPU asleep. Otherwise as
/// fast as the sender's CPU makes them, from a connected socket (ns3_pair's is, too), with the interrupts that a busy NIC is left with.
std::string pair_of_hosts(long datagrams, bool paced)
{
    const std::string link = paced ? ", rate: 10gbit" : ", rate: 10gbit, rx_usecs: 50";
    const std::string pace = paced ? ", gap: 20us" : ", gap: 0us, connect: true";
    return "skbscope: 1\n"
           "hosts:\n"
           "  - name: a\n    cpus: 2\n"
           "    devices: [{name: eth0, mac: \"52:54:00:12:34:01\", address: 10.0.0.1/24, link: b.eth0" + link + "}]\n"
           "    neighbours: [{address: 10.0.0.2, mac: \"52:54:00:12:34:02\", device: eth0}]\n"
           "    senders: [{name: tx, to: \"10.0.0.2:5001\", start: 50us, cpu: 1, size: 512, count: " + std::to_string(datagrams) + pace + "}]\n"
           "  - name: b\n    cpus: 2\n"
           "    devices: [{name: eth0, mac: \"52:54:00:12:34:02\", address: 10.0.0.2/24, link: a.eth0" + link + "}]\n"
           "    neighbours: [{address: 10.0.0.1, mac: \"52:54:00:12:34:01\", device: eth0}]\n"
           "    receivers: [{name: rx, port: 5001, cpu: 1}]\n";
}

bool run(ModelSource& model, const std::string& mode, const char* file)
{
    if (mode == "handed_on") {
        model.run_to_end(never, [&] {
            model.forget_before(end_of(model.trace()));
            return true;
        });
        return true;
    }
    if (mode != "written") {
        model.run_to_end();
        return true;
    }
    auto out = RecordingFile::create(model.trace(), file);
    if (!out) {
        return false;
    }
    model.run_to_end(never, [&] {
        const bool good = out->update().has_value();
        model.forget_before(out->written());
        return good;
    });
    return out->finish().has_value();
}

void print_kinds(const Trace& trace)
{
    std::map<std::string, std::size_t> kinds;
    for (std::size_t at = 0; at < trace.size(); ++at) {
        const Event& event = trace[at];
        std::string name(to_string(event.event_kind()));
        if (event.event_kind() == EventKind::field) {
            name += " " + std::string(to_string(trace.field_changes()[event.arg].field));
        }
        ++kinds[name];
    }
    for (const auto& [name, count] : kinds) {
        std::printf("%8.2f %s\n", static_cast<double>(count) / static_cast<double>(trace.packet_count()) * 2, name.c_str());
    }
}

} // namespace

int main(int argc, char** argv)
{
    const long datagrams = argc > 1 ? std::atol(argv[1]) : 200'000;
    const std::string mode = argc > 2 ? argv[2] : "recorded";
    const bool paced = argc <= 3 || std::string_view(argv[3]) == "paced";
    const auto scenario = parse_scenario(pair_of_hosts(datagrams, paced), "pair");
    if (!scenario) {
        std::fprintf(stderr, "%s\n", scenario.error().describe().c_str());
        return 1;
    }
    ModelSource model(*scenario);
    model.set_recording(mode != "unrecorded");
    model.keep_snapshots(false); // as run does
    if (mode == "again") {
        model.run_to_end();
        model.start_over();
    }
    const std::clock_t start = std::clock(); // of this process: other work on the machine does not count
    if (!run(model, mode, argc > 4 ? argv[4] : "model_speed.pcapng")) {
        std::fprintf(stderr, "the recording cannot be written\n");
        return 1;
    }
    const double took = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    std::uint64_t received = 0;
    for (const kernel::Task& task : model.world().tasks) {
        received += task.received;
    }
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    std::printf("%s: %ld datagrams, %llu received, %.3f s, %.0f packets/s, %.1f events a packet, peak %ld MB\n", mode.c_str(), datagrams,
                static_cast<unsigned long long>(received), took, static_cast<double>(datagrams) / took,
                static_cast<double>(model.trace().size()) / static_cast<double>(datagrams), usage.ru_maxrss / 1024);
    if (mode == "kinds") {
        print_kinds(model.trace());
    }
    return received == static_cast<std::uint64_t>(datagrams) ? 0 : 1;
}
