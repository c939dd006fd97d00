#pragma once
// What TraceDat knows of its file, and how it is gathered: the two versions of the container (trace_dat_v6.cpp,
// trace_dat_v7.cpp) and what they share. Only for those.

#include "capture/trace_dat.h"
#include "capture/trace_dat_bytes.h"
#include "capture/trace_dat_records.h"

#include <optional>

namespace skbscope {

namespace trace_dat {

// Option and section ids, trace-cmd.dat.v7(5).
enum SectionId : std::uint16_t {
    option_done = 0,
    option_buffer = 3,
    option_trace_clock = 4,
    option_uname = 5,
    option_offset = 7,
    option_cpu_count = 8,
    section_header_info = 16,
    section_ftrace_events = 17,
    section_event_formats = 18,
    section_kallsyms = 19,
    section_cmdlines = 21,
};

/// More CPUs than Linux can be built for.
inline constexpr std::uint32_t most_cpus = 8192;

[[nodiscard]] constexpr bool is_page_size(std::uint32_t size)
{
    return size >= 512 && size <= (1U << 20) && (size & (size - 1)) == 0;
}

} // namespace trace_dat

struct TraceDat::State {
    using Bytes = trace_dat::Bytes;
    using Cursor = trace_dat::Cursor;

    std::string path;
    trace_dat::InputFile file;
    trace_dat::RecordSource records;
    TracedKernel kernel;
    std::vector<std::string> damage;

    [[nodiscard]] Bytes bytes() const { return file.bytes(); }
    [[nodiscard]] std::size_t file_size() const { return file.bytes().size(); }

    Result<void> load();
    Result<void> load_version_6(Cursor at);
    Result<void> load_version_7(Cursor at);

    // version 7
    struct Section {
        std::uint16_t id = 0;
        bool packed = false;
        std::size_t body = 0; ///< offset of what follows the header
        std::uint64_t size = 0;
    };
    [[nodiscard]] std::optional<Section> section_at(std::uint64_t offset) const;
    [[nodiscard]] std::vector<std::uint8_t> contents(const Section& section);
    void load_section(std::uint16_t id, std::uint64_t offset);
    std::optional<std::uint64_t> load_options(std::uint64_t offset, bool& has_buffer);
    void take_option(std::uint16_t id, Bytes data, bool& has_buffer);
    bool load_buffer_option(Bytes data);
    bool load_packed_cpu(trace_dat::CpuPages& cpu, Cursor at, bool unpacks);
    void scan_sections(std::size_t from, bool need_buffer);
    void salvage_buffer(std::size_t from);

    // shared
    void load_ftrace_events(Cursor at);
    void load_event_formats(Cursor& at);
    void add_format(std::string_view system, Bytes text);
    void leave_out_the_impossible();
    void finish();
};

} // namespace skbscope
