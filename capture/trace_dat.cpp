#include "capture/trace_dat.h"

#include "capture/parse_number.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <limits>
#include <queue>
#include <zlib.h>
#include <zstd.h>

namespace skbscope {

namespace {

using Bytes = std::span<const std::uint8_t>;

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

constexpr std::uint8_t magic[] = {0x17, 0x08, 0x44, 't', 'r', 'a', 'c', 'i', 'n', 'g'};
/// A section larger than this when unpacked is damage, not data: kallsyms of a large kernel is 20 MB.
constexpr std::size_t largest_section = std::size_t{256} << 20;
/// trace-cmd packs some tens of pages into a chunk.
constexpr std::size_t largest_chunk = std::size_t{64} << 20;

/// Reads numbers front to back and never past the end: after the first failure everything is zero and ok() is
/// false.
class Cursor {
public:
    explicit Cursor(Bytes bytes, std::size_t at = 0)
        : bytes_(bytes), at_(std::min(at, bytes.size())), ok_(at <= bytes.size())
    {
    }

    [[nodiscard]] bool ok() const { return ok_; }
    [[nodiscard]] std::size_t at() const { return at_; }
    [[nodiscard]] std::size_t left() const { return bytes_.size() - at_; }

    template <typename T>
    T number()
    {
        T value{};
        const Bytes raw = take(sizeof(T));
        if (ok_) {
            std::memcpy(&value, raw.data(), sizeof(T));
        }
        return value;
    }
    Bytes take(std::uint64_t count)
    {
        if (!ok_ || count > left()) {
            ok_ = false;
            return {};
        }
        const Bytes part = bytes_.subspan(at_, static_cast<std::size_t>(count));
        at_ += static_cast<std::size_t>(count);
        return part;
    }
    std::string_view text() // NUL-terminated
    {
        const auto* from = reinterpret_cast<const char*>(bytes_.data()) + at_;
        const void* end = ok_ && left() != 0 ? std::memchr(from, 0, left()) : nullptr;
        if (end == nullptr) {
            ok_ = false;
            return {};
        }
        const auto length = static_cast<std::size_t>(static_cast<const char*>(end) - from);
        at_ += length + 1;
        return {from, length};
    }

private:
    Bytes bytes_;
    std::size_t at_;
    bool ok_;
};

std::string_view as_text(Bytes bytes)
{
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

enum class Packing { none, zstd, zlib };

/// Unpacks into exactly `size` bytes; empty on failure.
std::vector<std::uint8_t> unpack(Packing packing, Bytes packed, std::size_t size)
{
    std::vector<std::uint8_t> out(size);
    if (packing == Packing::zstd) {
        const std::size_t got = ZSTD_decompress(out.data(), out.size(), packed.data(), packed.size());
        return ZSTD_isError(got) == 0U && got == size ? out : std::vector<std::uint8_t>{};
    }
    uLongf got = size;
    const bool whole = uncompress(out.data(), &got, packed.data(), packed.size()) == Z_OK && got == size;
    return whole ? out : std::vector<std::uint8_t>{};
}

/// One CPU's pages: pieces that lie behind each other.
struct CpuData {
    std::uint16_t cpu = 0;
    std::vector<Bytes> pieces;
};

} // namespace

// ---- the file
// -------------------------------------------------------------------------------------------------------

struct TraceDat::State {
    std::string path;
    std::vector<std::uint8_t> file;
    Packing packing = Packing::none;
    std::size_t page_size = 4096;
    TracedKernel kernel;
    std::int64_t time_offset = 0;
    std::vector<CpuData> cpu_data;
    std::vector<std::vector<std::uint8_t>> unpacked; ///< owns what cpu_data points into
    std::vector<std::string> damage;

    [[nodiscard]] Bytes bytes() const { return file; }

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
    bool load_packed_cpu(CpuData& cpu, Cursor at);
    void scan_sections(std::size_t from, bool need_buffer);
    void salvage_buffer(std::size_t from);

    // shared
    void load_ftrace_events(Cursor at);
    void load_event_formats(Cursor& at);
    void add_format(std::string_view system, Bytes text);
    void finish();
};

void TraceDat::State::add_format(std::string_view system, Bytes text)
{
    if (!kernel.add_format(system, as_text(text))) {
        damage.push_back(fmt::format("an event format of {} does not parse", system));
    }
}

void TraceDat::State::load_ftrace_events(Cursor at)
{
    const auto count = at.number<std::uint32_t>();
    for (std::uint32_t i = 0; i < count && at.ok(); ++i) {
        const auto size = at.number<std::uint64_t>();
        const Bytes text = at.take(size);
        if (at.ok()) {
            add_format("ftrace", text);
        }
    }
}

void TraceDat::State::load_event_formats(Cursor& at)
{
    const auto systems = at.number<std::uint32_t>();
    for (std::uint32_t i = 0; i < systems && at.ok(); ++i) {
        const std::string_view system = at.text();
        const auto count = at.number<std::uint32_t>();
        for (std::uint32_t k = 0; k < count && at.ok(); ++k) {
            const auto size = at.number<std::uint64_t>();
            const Bytes text = at.take(size);
            if (at.ok()) {
                add_format(system, text);
            }
        }
    }
}

Result<void> TraceDat::State::load()
{
    const Bytes all = bytes();
    if (all.empty()) {
        return fail(ErrorKind::cut, path, "the file is empty");
    }
    const std::size_t common = std::min(all.size(), sizeof magic);
    if (std::memcmp(all.data(), magic, common) != 0) {
        return fail(ErrorKind::foreign, path, "not a trace-cmd recording",
                    "a trace.dat starts with the bytes 17 08 44 and \"tracing\"");
    }
    Cursor at(all, common);
    const std::string version(at.text());
    const auto big_endian = at.number<std::uint8_t>();
    const auto long_size = at.number<std::uint8_t>();
    const auto page = at.number<std::uint32_t>();
    if (!at.ok()) {
        return fail(ErrorKind::cut, fmt::format("{} at byte {}", path, all.size()),
                    "the file ends inside its header");
    }
    if (version != "6" && version != "7") {
        return fail(ErrorKind::unsupported, path, fmt::format("trace-cmd file version \"{:.8}\"", version),
                    "versions 6 and 7 can be read");
    }
    if (big_endian != 0 || long_size != 8) {
        return fail(ErrorKind::unsupported, path, "recorded on a big-endian or 32-bit machine",
                    "only little-endian 64-bit recordings can be read");
    }
    if (page < 512 || page > (1U << 20) || (page & (page - 1)) != 0) {
        return fail(ErrorKind::corrupt, fmt::format("{} at byte {}", path, at.at() - 4),
                    fmt::format("impossible page size {}", page));
    }
    page_size = page;
    const auto loaded = version == "6" ? load_version_6(at) : load_version_7(at);
    if (!loaded) {
        return loaded;
    }
    finish();
    return {};
}

Result<void> TraceDat::State::load_version_6(Cursor at)
{
    const auto cut = [&](std::string_view inside) {
        return fail(ErrorKind::cut, fmt::format("{} at byte {}", path, file.size()),
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
    if (cpu_total == 0 || cpu_total > 8192) {
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
        CpuData cpu;
        cpu.cpu = static_cast<std::uint16_t>(i);
        const std::uint64_t from = std::min<std::uint64_t>(offset, file.size());
        const std::uint64_t there = std::min<std::uint64_t>(size, file.size() - from);
        missing += size - there;
        cpu.pieces.push_back(bytes().subspan(from, there));
        cpu_data.push_back(std::move(cpu));
    }
    if (missing != 0) {
        damage.push_back(
            fmt::format("the file is cut at byte {}: {} bytes of records are missing", file.size(), missing));
    }
    return {};
}

// ---- version 7
// ------------------------------------------------------------------------------------------------------

std::optional<TraceDat::State::Section> TraceDat::State::section_at(std::uint64_t offset) const
{
    if (offset == 0 || offset >= file.size()) {
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
    if (!at.ok() || size > largest_section || packing == Packing::none) {
        return {};
    }
    return unpack(packing, packed, size);
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

bool TraceDat::State::load_packed_cpu(CpuData& cpu, Cursor at)
{
    const auto chunks = at.number<std::uint32_t>();
    for (std::uint32_t i = 0; i < chunks; ++i) {
        const auto packed_size = at.number<std::uint32_t>();
        const auto size = at.number<std::uint32_t>();
        const Bytes packed = at.take(packed_size);
        if (!at.ok() || size == 0 || size > largest_chunk) {
            return false;
        }
        std::vector<std::uint8_t> pages = unpack(packing, packed, size);
        if (pages.empty()) {
            return false;
        }
        unpacked.push_back(std::move(pages));
        cpu.pieces.emplace_back(unpacked.back());
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
    if (!at.ok() || count > 8192) {
        damage.emplace_back("the index of the record buffer does not parse");
        return false;
    }
    if (!instance.empty() && !cpu_data.empty()) {
        damage.push_back(fmt::format("the instance \"{}\" is left out: only one is read", instance));
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
    if (page >= 512 && page <= (1U << 20) && (page & (page - 1)) == 0) {
        page_size = page;
    }
    for (std::uint32_t i = 0; i < count; ++i) {
        CpuData cpu;
        cpu.cpu = static_cast<std::uint16_t>(at.number<std::uint32_t>());
        const auto from = at.number<std::uint64_t>();
        const auto size = at.number<std::uint64_t>();
        if (!at.ok()) {
            damage.emplace_back("the index of the record buffer ends early");
            break;
        }
        if (size == 0) {
            continue;
        }
        if (from >= file.size()) {
            damage.push_back(fmt::format("the records of CPU {} lie behind the end of the file", cpu.cpu));
            continue;
        }
        if (section->packed) {
            if (!load_packed_cpu(cpu, Cursor(bytes(), static_cast<std::size_t>(from)))) {
                damage.push_back(fmt::format(
                    "the records of CPU {} are damaged: what follows the first {} good chunks is lost",
                    cpu.cpu, cpu.pieces.size()));
            }
        } else {
            const std::uint64_t there = std::min<std::uint64_t>(size, file.size() - from);
            cpu.pieces.push_back(
                bytes().subspan(static_cast<std::size_t>(from), static_cast<std::size_t>(there)));
            if (there < size) {
                damage.push_back(
                    fmt::format("{} bytes of the records of CPU {} are missing", size - there, cpu.cpu));
            }
        }
        cpu_data.push_back(std::move(cpu));
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
        (void)parse_number(hex ? text.substr(2) : text, time_offset, hex ? 16 : 10);
        break;
    }
    case option_cpu_count: {
        const auto count = at.number<std::uint32_t>();
        if (count != 0 && count <= 8192) {
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
    for (std::size_t offset = from; offset < file.size();) {
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
            section->body + static_cast<std::size_t>(std::min<std::uint64_t>(section->size, file.size()));
    }
}

/// The CPUs' data start at page boundaries, one behind the other; which CPU is which is then told by their
/// order.
void TraceDat::State::salvage_buffer(std::size_t from)
{
    const auto align = [this](std::size_t offset) {
        return (offset + page_size - 1) / page_size * page_size;
    };
    if (packing == Packing::none) {
        damage.emplace_back("the index of the record buffer is missing, and unpacked records cannot be told "
                            "apart without it");
        return;
    }
    std::uint16_t number = 0;
    for (std::size_t offset = align(from); offset + 12 <= file.size();) {
        Cursor at(bytes(), offset);
        const auto chunks = at.number<std::uint32_t>();
        if (chunks == 0 || chunks > (1U << 20)) {
            break;
        }
        CpuData cpu;
        cpu.cpu = number++;
        const bool whole = load_packed_cpu(cpu, Cursor(bytes(), offset));
        for (std::uint32_t i = 0; i < chunks && at.ok(); ++i) {
            const auto packed_size = at.number<std::uint32_t>();
            at.number<std::uint32_t>();
            at.take(packed_size);
        }
        if (!cpu.pieces.empty()) {
            cpu_data.push_back(std::move(cpu));
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
        return fail(ErrorKind::cut, fmt::format("{} at byte {}", path, file.size()),
                    "the file ends inside its header");
    }
    if (compression == "zstd") {
        packing = Packing::zstd;
    } else if (compression == "zlib") {
        packing = Packing::zlib;
    } else if (compression != "none") {
        return fail(ErrorKind::unsupported, path, fmt::format("compressed with \"{:.16}\"", compression),
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
        if (kernel.formats().empty() || cpu_data.empty()) {
            return fail(ErrorKind::cut, fmt::format("{} at byte {}", path, file.size()),
                        "the file ends before its first whole batch of records, or its index is damaged",
                        "record again, and stop trace-cmd with Ctrl-C so that it can finish the file");
        }
        damage.push_back(fmt::format(
            "the file is cut at byte {}: its index is missing; {} batches of records were found without it",
            file.size(), unpacked.size()));
    } else if (!next) {
        damage.push_back(fmt::format("the file is cut at byte {}: its index ends early", file.size()));
    } else {
        // What stands behind the index (strings) is not needed, but a cut there should not go unsaid.
        for (std::uint64_t offset = last_options; offset < file.size();) {
            const auto section = section_at(offset);
            const std::uint64_t missing = section && section->size > file.size() - section->body
                                              ? section->size - (file.size() - section->body)
                                              : 0;
            if (!section || missing != 0) {
                damage.push_back(fmt::format(
                    "the file is cut at byte {}, behind its records: none of them is lost", file.size()));
                break;
            }
            offset = section->body + section->size;
        }
    }
    return {};
}

void TraceDat::State::finish()
{
    std::uint16_t highest = 0;
    for (const CpuData& cpu : cpu_data) {
        highest = std::max<std::uint16_t>(highest, cpu.cpu);
    }
    kernel.cpus = std::max<std::uint16_t>(kernel.cpus, static_cast<std::uint16_t>(highest + (cpu_data.empty() ? 0 : 1)));
}

Result<TraceDat> TraceDat::open(const std::string& path)
{
    std::error_code error;
    const auto status = std::filesystem::status(path, error);
    if (!std::filesystem::exists(status)) {
        return fail(ErrorKind::not_found, path, "no such file");
    }
    if (std::filesystem::is_directory(status)) {
        return fail(ErrorKind::unreadable, path, "is a folder", "name the trace.dat in it");
    }
    std::ifstream in(path, std::ios::binary);
    if (!in) {
        return fail(ErrorKind::unreadable, path, "cannot be opened", "check its permissions");
    }
    auto state = std::make_unique<State>();
    state->path = path;
    const auto size = std::filesystem::file_size(path, error);
    if (!error) {
        // The header first: a foreign file of any size is refused without reading it.
        std::uint8_t head[sizeof magic] = {};
        in.read(reinterpret_cast<char*>(head), sizeof head);
        const auto got = static_cast<std::size_t>(in.gcount());
        if (got != 0 && std::memcmp(head, magic, got) != 0) {
            return fail(ErrorKind::foreign, path, "not a trace-cmd recording",
                        "a trace.dat starts with the bytes 17 08 44 and \"tracing\"");
        }
        in.clear();
        in.seekg(0);
        state->file.resize(static_cast<std::size_t>(size));
        in.read(reinterpret_cast<char*>(state->file.data()), static_cast<std::streamsize>(size));
        state->file.resize(static_cast<std::size_t>(std::max<std::streamsize>(in.gcount(), 0)));
    } else {
        state->file.assign(std::istreambuf_iterator<char>(in), {});
    }
    if (auto loaded = state->load(); !loaded) {
        return tl::unexpected(loaded.error());
    }
    return TraceDat(std::move(state));
}

TraceDat::TraceDat(std::unique_ptr<State> state) : state_(std::move(state)) {}
TraceDat::TraceDat(TraceDat&&) noexcept = default;
TraceDat& TraceDat::operator=(TraceDat&&) noexcept = default;
TraceDat::~TraceDat() = default;

const std::string& TraceDat::path() const
{
    return state_->path;
}
const TracedKernel& TraceDat::kernel() const
{
    return state_->kernel;
}
const std::vector<std::string>& TraceDat::damage() const
{
    return state_->damage;
}

namespace {

/// One CPU's records: its pieces page by page.
class CpuReader {
public:
    CpuReader(const CpuData& data, std::size_t page_size, std::int64_t time_offset)
        : data_(&data), page_size_(page_size), pages_(data.cpu, time_offset)
    {
    }

    [[nodiscard]] const RawRecord& record() const { return record_; }
    [[nodiscard]] std::size_t broken_pages() const { return pages_.broken_pages(); }
    bool next()
    {
        while (!pages_.next(record_)) {
            if (!next_page()) {
                return false;
            }
        }
        return true;
    }

private:
    bool next_page()
    {
        while (piece_ < data_->pieces.size() && offset_ + page_size_ > data_->pieces[piece_].size()) {
            ++piece_;
            offset_ = 0;
        }
        if (piece_ >= data_->pieces.size()) {
            return false;
        }
        (void)pages_.load(data_->pieces[piece_].subspan(offset_, page_size_));
        offset_ += page_size_;
        return true;
    }

    const CpuData* data_;
    std::size_t page_size_;
    RingPages pages_;
    std::size_t piece_ = 0;
    std::size_t offset_ = 0;
    RawRecord record_;
};

} // namespace

std::size_t TraceDat::for_each(const std::function<void(const RawRecord&)>& take) const
{
    std::size_t broken = 0;
    std::vector<CpuReader> readers;
    readers.reserve(state_->cpu_data.size());
    for (const CpuData& cpu : state_->cpu_data) {
        CpuReader reader(cpu, state_->page_size, state_->time_offset);
        if (reader.next()) {
            readers.push_back(reader);
        } else {
            broken += reader.broken_pages();
        }
    }
    // Few CPUs have records: taking the smallest by looking at each beats a heap.
    while (!readers.empty()) {
        std::size_t first = 0;
        for (std::size_t i = 1; i < readers.size(); ++i) {
            if (readers[i].record().time_ns < readers[first].record().time_ns) {
                first = i;
            }
        }
        take(readers[first].record());
        if (!readers[first].next()) {
            broken += readers[first].broken_pages();
            readers.erase(readers.begin() + static_cast<std::ptrdiff_t>(first));
        }
    }
    return broken;
}

} // namespace skbscope
