// How fast the model is: datagrams of 512 bytes from a socket on one host to a socket on another. Prints
// packets a second with every function call recorded and without recording, events a packet and peak memory.
//
//   model_speed [DATAGRAMS] [MODE [PAIR [FILE]]]
//
// recorded    every call, into memory that the kernel has yet to hand out: fresh pages cost more than what is written there
// again       … into the memory of a run before it
// handed_on   … and what a reader has taken is forgotten at once, so that its memory serves what comes
// written     … and written to FILE as it comes, as run -w does
// unrecorded  counters and verdicts alone
// kinds       recorded; says how many events of each kind a packet makes
//
// PAIR: paced, busy or veth (see pair_of_hosts)

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

/// A namespace with one device: its name, the last digit of its address and MAC, and the rest of its device.
std::string machine(const std::string& name, const std::string& is, int digit, const std::string& device)
{
    const auto mac = [](int last) { return "\"52:54:00:12:34:0" + std::to_string(last) + "\""; };
    return "  - name: " + name + "\n    " + is + "\n    devices: [{name: eth0, mac: " + mac(digit) + ", address: 10.0.0." + std::to_string(digit) +
           "/24, " + device + "}]\n    neighbours: [{address: 10.0.0." + std::to_string(3 - digit) + ", mac: " + mac(3 - digit) + ", device: eth0}]\n";
}

/// The pair, and how the datagrams come:
/// paced  over a wire, one every 20 us: each raises its interrupt, wakes its reader and finds every CPU asleep
/// busy   over a wire, as fast as the sender's CPU makes them, from a connected socket (ns3_pair's is, too), with the interrupts that a
///        busy NIC is left with
/// veth   the same between two namespaces of one machine
std::string pair_of_hosts(long datagrams, const std::string& pair)
{
    const bool paced = pair == "paced", wire = pair != "veth";
    const std::string nic = std::string("rate: 10gbit") + (paced ? "" : ", rx_usecs: 50");
    return "skbscope: 1\nhosts:\n" + machine("a", "cpus: 2", 1, wire ? "link: b.eth0, " + nic : "driver: veth, peer: b.eth0") +
           "    senders: [{name: tx, to: \"10.0.0.2:5001\", start: 50us, " + (paced ? "gap: 20us" : "gap: 0us, connect: true") +
           ", cpu: 1, size: 512, count: " + std::to_string(datagrams) + "}]\n" +
           machine("b", wire ? "cpus: 2" : "namespace_of: a", 2, wire ? "link: a.eth0, " + nic : "driver: veth, peer: a.eth0") +
           "    receivers: [{name: rx, port: 5001, cpu: " + (wire ? "1" : "0") + "}]\n";
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
    const std::string pair = argc > 3 ? argv[3] : "paced";
    const auto scenario = parse_scenario(pair_of_hosts(datagrams, pair), "pair");
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
    std::printf("%s, %s: %ld datagrams, %llu received, %.3f s, %.0f packets/s, %.1f events a packet, peak %ld MB\n", mode.c_str(), pair.c_str(), datagrams,
                static_cast<unsigned long long>(received), took, static_cast<double>(datagrams) / took,
                static_cast<double>(model.trace().size()) / static_cast<double>(datagrams), usage.ru_maxrss / 1024);
    if (mode == "kinds") {
        print_kinds(model.trace());
    }
    return received == static_cast<std::uint64_t>(datagrams) ? 0 : 1;
}
