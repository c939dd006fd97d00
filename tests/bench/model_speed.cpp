// How fast the model is: datagrams of 512 bytes from a socket on one host to a socket on another, over a wire. Prints
// packets a second with every function call recorded and without recording, events a packet and peak memory.
//
//   model_speed [DATAGRAMS] [recorded|unrecorded|again]
//
// again: recorded, into the memory of a run before it. Fresh pages cost more than what is written into them.

#include "core/scenario/model_source.h"

#include <ctime>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <sys/resource.h>

namespace {

using namespace skbscope;

std::string pair_of_hosts(long datagrams)
{
    return "skbscope: 1\n"
           "hosts:\n"
           "  - name: a\n    cpus: 2\n"
           "    devices: [{name: eth0, mac: \"52:54:00:12:34:01\", address: 10.0.0.1/24, link: b.eth0, rate: 10gbit}]\n"
           "    neighbours: [{address: 10.0.0.2, mac: \"52:54:00:12:34:02\", device: eth0}]\n"
           "    senders: [{name: tx, to: \"10.0.0.2:5001\", start: 50us, gap: 20us, cpu: 1, size: 512, count: " + std::to_string(datagrams) + "}]\n"
           "  - name: b\n    cpus: 2\n"
           "    devices: [{name: eth0, mac: \"52:54:00:12:34:02\", address: 10.0.0.2/24, link: a.eth0, rate: 10gbit}]\n"
           "    neighbours: [{address: 10.0.0.1, mac: \"52:54:00:12:34:01\", device: eth0}]\n"
           "    receivers: [{name: rx, port: 5001, cpu: 1}]\n";
}

} // namespace

int main(int argc, char** argv)
{
    const long datagrams = argc > 1 ? std::atol(argv[1]) : 200'000;
    const bool recorded = argc < 3 || std::strcmp(argv[2], "unrecorded") != 0;
    const auto scenario = parse_scenario(pair_of_hosts(datagrams), "pair");
    if (!scenario) {
        std::fprintf(stderr, "%s\n", scenario.error().describe().c_str());
        return 1;
    }
    ModelSource model(*scenario);
    model.set_recording(recorded);
    if (argc > 2 && std::strcmp(argv[2], "again") == 0) {
        model.run_to_end();
        model.start_over();
    }
    const std::clock_t start = std::clock(); // of this process: other work on the machine does not count
    model.run_to_end();
    const double took = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    std::uint64_t received = 0;
    for (const kernel::Task& task : model.world().tasks) {
        received += task.received;
    }
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    std::printf("%s: %ld datagrams, %llu received, %.3f s, %.0f packets/s, %.1f events a packet, peak %ld MB\n",
                argc > 2 ? argv[2] : "recorded", datagrams, static_cast<unsigned long long>(received), took,
                static_cast<double>(datagrams) / took, static_cast<double>(model.trace().size()) / static_cast<double>(datagrams),
                usage.ru_maxrss / 1024);
    return received == static_cast<std::uint64_t>(datagrams) ? 0 : 1;
}
