// What a snapshot of the model's world costs, and coming back to it: a host under load with full rings, a backlog of 1000
// packets, as many tracked connections, and some thousand datagrams waiting in a socket.

#include "core/kernel/functions.h"
#include "core/scenario/model_source.h"

#include <benchmark/benchmark.h>

namespace {

using namespace skbscope;
using namespace skbscope::kernel;

constexpr const char* text = R"(skbscope: 1
hosts:
  - name: server
    cpus: 2
    sysctls: {net.core.rmem_max: 100000000}
    devices:
      - {name: eth0, mac: "52:54:00:12:34:00", address: 10.99.0.2/24, link: client, rx_ring: 4096, tx_ring: 4096}
    receivers:
      - {name: slow, port: 5001, rcvbuf: 100000000, work: 1s, cpu: 1}
stations:
  - name: client
    mac: 52:54:00:12:34:01
    address: 10.99.0.1
    sends:
      - {to: "10.99.0.2:5001", count: 2000, gap: 2us, size: 1400}
)";

/// A world in which everything that may fill is full.
World full_world(Trace& trace)
{
    auto scenario = parse_scenario(text, "bench");
    World world = build_world(*scenario, trace);
    Kernel k(world, trace);
    k.run_until(SimTime{100'000'000});
    NetDevice& eth0 = world.devices[1];
    while (eth0.e1000.rx_filled.size() < 4095) {
        RxSlot slot;
        slot.frame.assign(1442, 0x5a);
        eth0.e1000.rx_filled.push_back(slot);
    }
    NfConnTable& conns = world.nets[0].nf.conns;
    for (std::uint16_t n = 0; n < 1000; ++n) {
        const std::int32_t row = conns.allocate();
        NfConn& conn = conns.at(row);
        conn.tuple[0] = {0x0a630001, 0x0a630002, static_cast<std::uint16_t>(1024 + n), 5001, 17};
        conn.tuple[1] = {0x0a630002, 0x0a630001, 5001, static_cast<std::uint16_t>(1024 + n), 17};
        conn.status = ips::confirmed;
        conns.insert(row);
    }
    for (int n = 0; n < 1000; ++n) {
        world.cpus[0].input_pkt_queue.push_back(__alloc_skb(k, PacketId::none, 1442));
    }
    return world;
}

void snapshot(benchmark::State& state)
{
    Trace trace;
    const World world = full_world(trace);
    for ([[maybe_unused]] auto _ : state) {
        World copy = world;
        benchmark::DoNotOptimize(copy);
        state.PauseTiming(); // a snapshot is kept, not thrown away
        { World gone = std::move(copy); }
        state.ResumeTiming();
    }
    state.counters["skbs"] = static_cast<double>(world.skbs.size());
    state.counters["events"] = static_cast<double>(world.event_queue.size());
}
BENCHMARK(snapshot)->Unit(benchmark::kMicrosecond);

void mark(benchmark::State& state)
{
    Trace trace;
    const World world = full_world(trace);
    for ([[maybe_unused]] auto _ : state) {
        benchmark::DoNotOptimize(trace.mark());
    }
}
BENCHMARK(mark)->Unit(benchmark::kNanosecond);

/// Back by half a run, and forth again up to where it was.
void rewind_by_half(benchmark::State& state)
{
    auto scenario = parse_scenario(text, "bench");
    ModelSource source(*scenario);
    source.run_to_end();
    const SimTime end = source.trace().end_time();
    for ([[maybe_unused]] auto _ : state) {
        source.rewind_to(SimTime{end.ns / 2});
        state.PauseTiming();
        source.advance_to(end);
        state.ResumeTiming();
    }
}
BENCHMARK(rewind_by_half)->Unit(benchmark::kMicrosecond);

} // namespace
