// trace.dat version 7: sections, packed or not, found through options at the end of the file. trace-cmd.dat.v7(5).

#include "capture/trace_dat_state.h"

#include "capture/parse_number.h"

#include <algorithm>
#include <fmt/format.h>

namespace skbscope {

using namespace trace_dat;

namespace {

/// A section larger than this when unpacked is damage, not data: kallsyms of a large kernel is 20 MB.
constexpr std::size_t largest_section = std::size_t{256} << 20;
/// trace-cmd packs some tens of pages into a chunk.
constexpr std::size_t largest_chunk = std::size_t{64} << 20;

} // namespace

std::optional<TraceDat::State::Section> TraceDat::State::section_at(std::uint64_t offset) const
{
    if (offset == 0 || offset >= file_size()) {
        return std::nullopt;
    }
    Cursor at(bytes(), static_cast<std::size_t>(offset));
    Section section;
    section.id = at.number<std::uint16_t>();
    section.packed = (at.number<std::uint16_t>() & 1) != 0;
    at.number<std::uint32_t>(); // description
    section.size = at.number<std::uint64_t>();
    section.body = at.at();
    if (!at.ok() || section.id > 64) {
        return std::nullopt;
    }
    return section;
}

std::vector<std::uint8_t> TraceDat::State::contents(const Section& section)
{
    Cursor at(bytes(), section.body);
    if (!section.packed) {
        const Bytes raw = at.take(section.size);
        return {raw.begin(), raw.end()};
    }
    const auto packed_size = at.number<std::uint32_t>();
    const auto size = at.number<std::uint32_t>();
    const Bytes packed = at.take(packed_size);
    if (!at.ok() || size > largest_section || records.packing == Packing::none) {
        return {};
    }
    return unpack(records.packing, packed, size);
}

void TraceDat::State::load_section(std::uint16_t id, std::uint64_t offset)
{
    const auto section = section_at(offset);
    if (!section || section->id != id) {
        damage.push_back(fmt::format("the section {} is not at byte {}", id, offset));
        return;
    }
    const std::vector<std::uint8_t> body = contents(*section);
    if (body.empty()) {
        damage.push_back(fmt::format("the section {} at byte {} does not unpack", id, offset));
        return;
    }
    Cursor at{Bytes(body)};
    switch (id) {
    case section_ftrace_events:
        load_ftrace_events(at);
        break;
    case section_event_formats:
        load_event_formats(at);
        break;
    case section_kallsyms: {
        const auto size = at.number<std::uint32_t>();
        kernel.symbols.parse(as_text(at.take(std::min<std::size_t>(size, at.left()))));
        break;
    }
    case section_cmdlines: {
        const auto size = at.number<std::uint64_t>();
        kernel.add_tasks(as_text(at.take(std::min<std::uint64_t>(size, at.left()))));
        break;
    }
    default:
        break;
    }
}

/// Finds the batches of one CPU by their headers; they are unpacked when they are read. `unpacks`: only those count that
/// do unpack now, for a file where nothing says that they are what they seem.
bool TraceDat::State::load_packed_cpu(CpuPages& cpu, Cursor at, bool unpacks)
{
    const auto chunks = at.number<std::uint32_t>();
    for (std::uint32_t i = 0; i < chunks; ++i) {
        const auto packed_size = at.number<std::uint32_t>();
        const auto size = at.number<std::uint32_t>();
        const std::uint64_t offset = at.at();
        const Bytes packed = at.take(packed_size);
        if (!at.ok() || size == 0 || size > largest_chunk ||
            (unpacks && unpack(records.packing, packed, size).empty())) {
            return false;
        }
        cpu.pieces.push_back({offset, packed_size, size});
    }
    return at.ok();
}

bool TraceDat::State::load_buffer_option(Bytes data)
{
    Cursor at(data);
    const auto offset = at.number<std::uint64_t>();
    const std::string_view instance = at.text();
    const std::string_view buffer_clock = at.text();
    const auto page = at.number<std::uint32_t>();
    const auto count = at.number<std::uint32_t>();
    if (!at.ok() || count > most_cpus) {
        damage.emplace_back("the index of the record buffer does not parse");
        return false;
    }
    if (!instance.empty() && !records.cpus.empty()) {
        damage.push_back(fmt::format("the instance \"{}\" is left out: only one is read", shown(instance)));
        return true;
    }
    const auto section = section_at(offset);
    if (!section) {
        damage.push_back(fmt::format("the record buffer at byte {} is missing", offset));
        return false;
    }
    if (!buffer_clock.empty()) {
        kernel.take_clock(buffer_clock);
    }
    if (is_page_size(page)) {
        records.page_size = page;
    }
    for (std::uint32_t i = 0; i < count; ++i) {
        CpuPages cpu;
        cpu.cpu = static_cast<std::uint16_t>(std::min<std::uint32_t>(at.number<std::uint32_t>(), most_cpus)); // left out later
        const auto from = at.number<std::uint64_t>();
        const auto size = at.number<std::uint64_t>();
        if (!at.ok()) {
            damage.emplace_back("the index of the record buffer ends early");
            break;
        }
        if (size == 0) {
            continue;
        }
        if (from >= file_size()) {
            damage.push_back(fmt::format("the records of CPU {} lie behind the end of the file", cpu.cpu));
            continue;
        }
        if (section->packed) {
            if (!load_packed_cpu(cpu, Cursor(bytes(), static_cast<std::size_t>(from)), false)) {
                damage.push_back(fmt::format(
                    "the records of CPU {} are damaged: what follows the first {} good chunks is lost",
                    cpu.cpu, cpu.pieces.size()));
            }
        } else {
            const std::uint64_t there = std::min<std::uint64_t>(size, file_size() - from);
            cpu.pieces.push_back({from, there, 0});
            if (there < size) {
                damage.push_back(
                    fmt::format("{} bytes of the records of CPU {} are missing", size - there, cpu.cpu));
            }
        }
        records.cpus.push_back(std::move(cpu));
    }
    return true;
}

void TraceDat::State::take_option(std::uint16_t id, Bytes data, bool& has_buffer)
{
    Cursor at(data);
    switch (id) {
    case option_buffer:
        has_buffer = load_buffer_option(data) || has_buffer;
        break;
    case option_trace_clock:
        kernel.take_clock(as_text(data));
        break;
    case option_uname:
        kernel.take_uname(as_text(data));
        break;
    case option_offset: {
        std::string_view text = as_text(data);
        text = text.substr(0, text.find('\0'));
        const bool hex = text.starts_with("0x");
        (void)parse_number(hex ? text.substr(2) : text, records.time_offset, hex ? 16 : 10);
        break;
    }
    case option_cpu_count: {
        const auto count = at.number<std::uint32_t>();
        if (count != 0 && count <= most_cpus) {
            kernel.cpus = static_cast<std::uint16_t>(count);
        }
        break;
    }
    case section_ftrace_events:
    case section_event_formats:
    case section_kallsyms:
    case section_cmdlines:
        load_section(id, at.number<std::uint64_t>());
        break;
    default:
        break;
    }
}

std::optional<std::uint64_t> TraceDat::State::load_options(std::uint64_t offset, bool& has_buffer)
{
    const auto section = section_at(offset);
    if (!section || section->id != option_done) {
        return std::nullopt;
    }
    const std::vector<std::uint8_t> body = contents(*section);
    Cursor at{Bytes(body)};
    while (at.ok()) {
        const auto id = at.number<std::uint16_t>();
        const auto size = at.number<std::uint32_t>();
        const Bytes data = at.take(size);
        if (!at.ok()) {
            break;
        }
        if (id == option_done) {
            return Cursor(data).number<std::uint64_t>();
        }
        take_option(id, data, has_buffer);
    }
    return std::nullopt;
}

/// Without an index: the sections stand one behind the other, so they can be found by their headers.
void TraceDat::State::scan_sections(std::size_t from, bool need_buffer)
{
    const bool need_formats = kernel.formats().empty();
    for (std::size_t offset = from; offset < file_size();) {
        const auto section = section_at(offset);
        if (!section) {
            return;
        }
        if (section->id == option_buffer) {
            if (need_buffer) {
                salvage_buffer(section->body);
            }
            return; // what follows it is only its index
        }
        if (section->id == option_done && need_formats) {
            bool ignored = false;
            (void)load_options(offset, ignored);
        } else if (section->id >= section_ftrace_events && need_formats && kernel.symbols.empty()) {
            load_section(section->id, offset);
        }
        offset =
            section->body + static_cast<std::size_t>(std::min<std::uint64_t>(section->size, file_size()));
    }
}

/// The CPUs' data start at page boundaries, one behind the other; which CPU is which is then told by their
/// order.
void TraceDat::State::salvage_buffer(std::size_t from)
{
    const auto align = [this](std::size_t offset) {
        return (offset + records.page_size - 1) / records.page_size * records.page_size;
    };
    if (records.packing == Packing::none) {
        damage.emplace_back("the index of the record buffer is missing, and unpacked records cannot be told "
                            "apart without it");
        return;
    }
    std::uint16_t number = 0;
    for (std::size_t offset = align(from); offset + 12 <= file_size();) {
        Cursor at(bytes(), offset);
        const auto chunks = at.number<std::uint32_t>();
        if (chunks == 0 || chunks > (1U << 20)) {
            break;
        }
        CpuPages cpu;
        cpu.cpu = number++;
        const bool whole = load_packed_cpu(cpu, Cursor(bytes(), offset), true);
        for (std::uint32_t i = 0; i < chunks && at.ok(); ++i) {
            const auto packed_size = at.number<std::uint32_t>();
            at.number<std::uint32_t>();
            at.take(packed_size);
        }
        if (!cpu.pieces.empty()) {
            records.cpus.push_back(std::move(cpu));
        }
        if (!whole || !at.ok()) {
            break;
        }
        offset = align(at.at());
    }
}

Result<void> TraceDat::State::load_version_7(Cursor at)
{
    const std::string compression(at.text());
    (void)at.text(); // its version
    const auto options = at.number<std::uint64_t>();
    if (!at.ok()) {
        return fail(ErrorKind::cut, fmt::format("{} at byte {}", path, file_size()),
                    "the file ends inside its header");
    }
    if (compression == "zstd") {
        records.packing = Packing::zstd;
    } else if (compression == "zlib") {
        records.packing = Packing::zlib;
    } else if (compression != "none") {
        return fail(ErrorKind::unsupported, path, fmt::format("compressed with \"{}\"", shown(compression)),
                    "zstd, zlib and none can be read");
    }
    const std::size_t first_section = at.at();
    bool has_buffer = false;
    std::optional<std::uint64_t> next = options;
    std::uint64_t last_options = 0;
    for (int sections = 0; next && *next != 0 && sections < 1024;
         ++sections) { // a chain in a damaged file may be a ring
        last_options = *next;
        next = load_options(*next, has_buffer);
    }
    if (!has_buffer || kernel.formats().empty()) {
        scan_sections(first_section, !has_buffer);
        if (kernel.formats().empty() || records.cpus.empty()) {
            return fail(ErrorKind::cut, fmt::format("{} at byte {}", path, file_size()),
                        "the file ends before its first whole batch of records, or its index is damaged",
                        "record again, and stop trace-cmd with Ctrl-C so that it can finish the file");
        }
        std::size_t batches = 0;
        for (const CpuPages& cpu : records.cpus) {
            batches += cpu.pieces.size();
        }
        damage.push_back(fmt::format(
            "the file is cut at byte {}: its index is missing; {} batches of records were found without it",
            file_size(), batches));
    } else if (!next) {
        damage.push_back(fmt::format("the file is cut at byte {}: its index ends early", file_size()));
    } else {
        // What stands behind the index (strings) is not needed, but a cut there should not go unsaid.
        for (std::uint64_t offset = last_options; offset < file_size();) {
            const auto section = section_at(offset);
            const std::uint64_t missing = section && section->size > file_size() - section->body
                                              ? section->size - (file_size() - section->body)
                                              : 0;
            if (!section || missing != 0) {
                damage.push_back(fmt::format(
                    "the file is cut at byte {}, behind its records: none of them is lost", file_size()));
                break;
            }
            offset = section->body + section->size;
        }
    }
    return {};
}

} // namespace skbscope
