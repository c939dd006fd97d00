// trace.dat version 6: everything in one row, the index of the CPUs before their records. trace-cmd.dat.v6(5).

#include "capture/trace_dat_state.h"

#include <algorithm>
#include <fmt/format.h>

namespace skbscope {

using namespace trace_dat;

Result<void> TraceDat::State::load_version_6(Cursor at)
{
    const auto cut = [&](std::string_view inside) {
        return fail(ErrorKind::cut, fmt::format("{} at byte {}", path, file_size()),
                    fmt::format("the file ends inside {}, before any event", inside));
    };
    for (const std::string_view expected : {"header_page", "header_event"}) {
        const std::string_view name = at.text();
        const auto size = at.number<std::uint64_t>();
        at.take(size);
        if (!at.ok()) {
            return cut("its description of the ring buffer");
        }
        if (name != expected) {
            return fail(ErrorKind::corrupt, path, fmt::format("{} is missing", expected));
        }
    }
    const auto ftrace_count = at.number<std::uint32_t>();
    for (std::uint32_t i = 0; i < ftrace_count && at.ok(); ++i) {
        const auto size = at.number<std::uint64_t>();
        const Bytes text = at.take(size);
        if (at.ok()) {
            add_format("ftrace", text);
        }
    }
    load_event_formats(at);
    if (!at.ok()) {
        return cut("its event formats");
    }
    const Bytes kallsyms = at.take(at.number<std::uint32_t>());
    const Bytes printk = at.take(at.number<std::uint32_t>());
    const Bytes cmdlines = at.take(at.number<std::uint64_t>());
    const auto cpu_total = at.number<std::uint32_t>();
    (void)printk;
    if (!at.ok()) {
        return cut("its symbols or task names");
    }
    kernel.symbols.parse(as_text(kallsyms));
    kernel.add_tasks(as_text(cmdlines));
    if (cpu_total == 0 || cpu_total > most_cpus) {
        return fail(ErrorKind::corrupt, path, fmt::format("impossible number of CPUs {}", cpu_total));
    }
    kernel.cpus = static_cast<std::uint16_t>(cpu_total);

    std::string_view kind = as_text(at.take(10));
    if (kind.starts_with("options")) {
        for (;;) {
            const auto id = at.number<std::uint16_t>();
            if (id == option_done || !at.ok()) {
                break;
            }
            const auto size = at.number<std::uint32_t>();
            const Bytes data = at.take(size);
            bool has_buffer = false;
            if (at.ok() && id != option_buffer) { // of a further instance: its data is not read
                take_option(id, data, has_buffer);
            }
        }
        kind = as_text(at.take(10));
    }
    if (!at.ok()) {
        return cut("its options");
    }
    if (!kind.starts_with("flyrecord")) {
        return fail(ErrorKind::unsupported, path, "holds text of a latency tracer, no records",
                    "record with trace-cmd record");
    }
    std::uint64_t missing = 0;
    for (std::uint32_t i = 0; i < cpu_total; ++i) {
        const auto offset = at.number<std::uint64_t>();
        const auto size = at.number<std::uint64_t>();
        if (!at.ok()) {
            return cut("its index of CPUs");
        }
        CpuPages cpu;
        cpu.cpu = static_cast<std::uint16_t>(i);
        const std::uint64_t from = std::min<std::uint64_t>(offset, file_size());
        const std::uint64_t there = std::min<std::uint64_t>(size, file_size() - from);
        missing += size - there;
        cpu.pieces.push_back({from, there, 0});
        records.cpus.push_back(std::move(cpu));
    }
    if (missing != 0) {
        damage.push_back(
            fmt::format("the file is cut at byte {}: {} bytes of records are missing", file_size(), missing));
    }
    return {};
}

} // namespace skbscope
