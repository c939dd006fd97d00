// What it costs to write one event into a Trace: into chunks that were used before, and into memory that the
// kernel has yet to hand out. The argument is the size of the trace in chunks of 65 536 events (2 MiB): 16 is
// more than any lesson, 64 is more than this kind of machine's caches hold.

#include "core/trace/trace.h"

#include <benchmark/benchmark.h>
#include <malloc.h>

namespace {

using namespace skbscope;

/// What a driver writes at a function's entry. Time and packet move, as they do in a trace.
void emit_all(Trace& trace, std::size_t count)
{
    Event event;
    event.function = 7;
    event.kind = static_cast<std::uint8_t>(EventKind::call);
    event.flags = Event::make_flags(Context::softirq);
    for (std::size_t i = 0; i < count; ++i) {
        event.time_ns += 120;
        event.packet = static_cast<std::uint32_t>(i / 64 + 1);
        benchmark::DoNotOptimize(trace.append(event));
    }
}

std::size_t events_of(const benchmark::State& state)
{
    return static_cast<std::size_t>(state.range(0)) * Trace::chunk_events;
}

void show_time_an_event(benchmark::State& state)
{
    const auto events = static_cast<double>(state.iterations()) * static_cast<double>(events_of(state));
    state.counters["an_event"] =
        benchmark::Counter(events, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void emit_into_recycled_chunks(benchmark::State& state)
{
    Trace trace;
    emit_all(trace, events_of(state));
    for ([[maybe_unused]] auto _ : state) {
        trace.clear();
        emit_all(trace, events_of(state));
    }
    show_time_an_event(state);
}
BENCHMARK(emit_into_recycled_chunks)->Arg(1)->Arg(16)->Arg(64)->Unit(benchmark::kMillisecond);

void emit_into_fresh_memory(benchmark::State& state)
{
    // Every chunk from the kernel and back to it: without this, malloc soon keeps what was freed.
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
    for ([[maybe_unused]] auto _ : state) {
        Trace trace;
        emit_all(trace, events_of(state));
        state.PauseTiming(); // giving the memory back is not part of it
        {
            const Trace gone = std::move(trace);
        }
        state.ResumeTiming();
    }
    show_time_an_event(state);
}
BENCHMARK(emit_into_fresh_memory)->Arg(16)->Arg(64)->Unit(benchmark::kMillisecond);

} // namespace

BENCHMARK_MAIN();
