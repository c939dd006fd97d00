#include "capture/trace_dat.h"

#include <algorithm>
#include <charconv>
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

template <typename T>
bool parse_number(std::string_view text, T& value, int base = 10)
{
    return std::from_chars(text.data(), text.data() + text.size(), value, base).ec == std::errc();
}

/// One CPU's pages: pieces that lie behind each other.
struct CpuData {
    std::uint16_t cpu = 0;
    std::vector<Bytes> pieces;
};

/// Walks one CPU's ring-buffer pages. The layout is that of include/linux/ring_buffer.h: a page has an 8-byte
/// time, an 8-byte commit count and then events, each with 5 bits of type or length and 27 bits of time since
/// the one before.
class PageReader {
public:
    PageReader(const CpuData& data, std::size_t page_size, std::int64_t time_offset)
        : data_(&data), page_size_(page_size), time_offset_(time_offset)
    {
    }

    bool next(RawRecord& record)
    {
        for (;;) {
            if (at_ + 4 > page_.size()) {
                if (!next_page()) {
                    return false;
                }
                continue;
            }
            std::uint32_t head = 0;
            std::memcpy(&head, page_.data() + at_, 4);
            at_ += 4;
            const std::uint32_t type = head & 0x1f;
            const std::uint64_t delta = head >> 5;
            switch (type) {
            case 29: // padding; with a zero delta the rest of the page is empty
                if (delta == 0) {
                    at_ = page_.size();
                } else {
                    skip(word());
                    now_ += delta;
                }
                break;
            case 30: // time extend
                now_ += (std::uint64_t{word()} << 27) + delta;
                at_ += 4;
                break;
            case 31: { // absolute time, its upper 5 bits are those of the time before
                const std::uint64_t low = (std::uint64_t{word()} << 27) + delta;
                now_ = (now_ & ~((std::uint64_t{1} << 59) - 1)) | low;
                at_ += 4;
                break;
            }
            default: {
                now_ += delta;
                std::size_t length = type * std::size_t{4};
                if (type == 0) {
                    const std::uint32_t whole = word(); // counts itself
                    at_ += 4;
                    length = whole >= 4 ? (whole - 4 + 3) & ~std::size_t{3} : 0;
                }
                if (length > page_.size() - std::min(at_, page_.size())) {
                    ++broken_pages_;
                    at_ = page_.size();
                    break;
                }
                const Bytes data = page_.subspan(at_, length);
                at_ += length;
                if (length < 8) {
                    break;
                }
                fill(record, data);
                return true;
            }
            }
        }
    }
    [[nodiscard]] std::size_t broken_pages() const { return broken_pages_; }

private:
    [[nodiscard]] std::uint32_t word() const
    {
        std::uint32_t value = 0;
        if (at_ + 4 <= page_.size()) {
            std::memcpy(&value, page_.data() + at_, 4);
        }
        return value;
    }
    void skip(std::size_t count)
    {
        at_ = count > page_.size() - std::min(at_, page_.size()) ? page_.size() : at_ + count;
    }

    void fill(RawRecord& record, Bytes data)
    {
        // Time never runs backwards within a CPU, whatever a damaged page says.
        last_time_ = std::max(last_time_, now_ + static_cast<std::uint64_t>(time_offset_));
        record.time_ns = last_time_;
        record.data = data;
        record.cpu = data_->cpu;
        std::memcpy(&record.event_id, data.data(), 2);
        record.flags = data[2];
        record.preempt_count = data[3];
        std::memcpy(&record.pid, data.data() + 4, 4);
        record.lost_before = lost_;
        lost_ = 0;
    }

    bool next_page()
    {
        while (piece_ < data_->pieces.size() && offset_ + page_size_ > data_->pieces[piece_].size()) {
            ++piece_;
            offset_ = 0;
        }
        if (piece_ >= data_->pieces.size()) {
            return false;
        }
        const Bytes whole = data_->pieces[piece_].subspan(offset_, page_size_);
        offset_ += page_size_;
        std::uint64_t commit = 0;
        std::memcpy(&now_, whole.data(), 8);
        std::memcpy(&commit, whole.data() + 8, 8);
        constexpr std::uint64_t missed_events = std::uint64_t{1} << 31;
        constexpr std::uint64_t missed_stored = std::uint64_t{1} << 30;
        std::size_t size = commit & ((std::uint64_t{1} << 27) - 1);
        if (size > page_size_ - 16) {
            ++broken_pages_;
            size = 0;
        }
        page_ = whole.subspan(16, size);
        at_ = 0;
        if ((commit & missed_events) != 0) {
            std::uint64_t count = RawRecord::unknown_loss;
            if ((commit & missed_stored) != 0 && 16 + size + 8 <= whole.size()) {
                std::memcpy(&count, whole.data() + 16 + size, 8);
            }
            lost_ = count;
        }
        return true;
    }

    const CpuData* data_;
    std::size_t page_size_;
    std::int64_t time_offset_;
    std::size_t piece_ = 0;
    std::size_t offset_ = 0;
    Bytes page_;
    std::size_t at_ = 0;
    std::uint64_t now_ = 0;
    std::uint64_t last_time_ = 0;
    std::uint64_t lost_ = 0;
    std::size_t broken_pages_ = 0;
};

/// "\tfield:const void * skbaddr;\toffset:8;\tsize:8;\tsigned:0;"
void parse_field(std::string_view line, EventFormat& format)
{
    const auto value_of = [&](std::string_view key) -> std::string_view {
        const std::size_t at = line.find(key);
        if (at == std::string_view::npos) {
            return {};
        }
        const std::size_t from = at + key.size();
        return line.substr(from, line.find(';', from) - from);
    };
    std::string_view declaration = value_of("field:");
    unsigned offset = 0;
    unsigned size = 0;
    if (declaration.empty() || !parse_number(value_of("offset:"), offset) ||
        !parse_number(value_of("size:"), size) || offset > 0xffff || size > 0xffff) {
        return;
    }
    EventField field;
    field.offset = static_cast<std::uint16_t>(offset);
    field.size = static_cast<std::uint16_t>(size);
    field.is_signed = value_of("signed:") == "1";
    field.is_data_loc = declaration.starts_with("__data_loc");
    if (const std::size_t bracket = declaration.find_last_of('[');
        !field.is_data_loc && bracket != std::string_view::npos) {
        declaration = declaration.substr(0, bracket);
    }
    const std::size_t space = declaration.find_last_of(" *]");
    const std::string_view name =
        space == std::string_view::npos ? declaration : declaration.substr(space + 1);
    format.fields.emplace(std::string(name), field);
}

std::optional<EventFormat> parse_format(std::string_view system, std::string_view text)
{
    EventFormat format;
    format.system = system;
    for (std::size_t from = 0; from < text.size();) {
        const std::size_t end = std::min(text.find('\n', from), text.size());
        const std::string_view line = text.substr(from, end - from);
        from = end + 1;
        if (line.starts_with("name: ")) {
            format.name = line.substr(6);
        } else if (line.starts_with("ID: ")) {
            (void)parse_number(line.substr(4), format.id);
        } else if (line.starts_with("print fmt:")) {
            format.print_format = line.substr(10);
        } else if (line.find("field:") != std::string_view::npos) {
            parse_field(line, format);
        }
    }
    if (format.id < 0 || format.id > 0xffff || format.name.empty()) {
        return std::nullopt;
    }
    return format;
}

} // namespace

// ---- fields and formats
// ---------------------------------------------------------------------------------------------

std::uint64_t EventField::read(std::span<const std::uint8_t> record) const
{
    if (std::size_t{offset} + size > record.size()) {
        return 0;
    }
    const std::uint8_t* at = record.data() + offset;
    const auto number = [&]<typename Unsigned, typename Signed>(Unsigned value, Signed) -> std::uint64_t {
        std::memcpy(&value, at, sizeof value);
        return is_signed ? static_cast<std::uint64_t>(static_cast<std::int64_t>(static_cast<Signed>(value)))
                         : value;
    };
    switch (size) {
    case 1:
        return number(std::uint8_t{}, std::int8_t{});
    case 2:
        return number(std::uint16_t{}, std::int16_t{});
    case 4:
        return number(std::uint32_t{}, std::int32_t{});
    case 8:
        return number(std::uint64_t{}, std::int64_t{});
    default:
        return 0;
    }
}

std::span<const std::uint8_t> EventField::bytes(std::span<const std::uint8_t> record) const
{
    std::size_t from = offset;
    std::size_t length = size;
    if (is_data_loc) {
        const std::uint64_t place = read(record);
        from = place & 0xffff;
        length = (place >> 16) & 0xffff;
    }
    if (from + length > record.size()) {
        return {};
    }
    return record.subspan(from, length);
}

std::string_view EventField::text(std::span<const std::uint8_t> record) const
{
    const std::string_view whole = as_text(bytes(record));
    return whole.substr(0, whole.find('\0'));
}

EventField EventFormat::field(const std::string& field_name) const
{
    const auto at = fields.find(field_name);
    return at == fields.end() ? EventField{} : at->second;
}

std::vector<std::pair<std::int64_t, std::string>> EventFormat::symbols_of(std::string_view field_name) const
{
    std::vector<std::pair<std::int64_t, std::string>> symbols;
    const std::string opening = fmt::format("__print_symbolic(REC->{},", field_name);
    std::size_t at = print_format.find(opening);
    if (at == std::string::npos) {
        return symbols;
    }
    at += opening.size();
    const std::string_view text = print_format;
    for (;;) { // { 2, "NOT_SPECIFIED" }, …
        const std::size_t brace = text.find_first_of("{)", at);
        if (brace == std::string_view::npos || text[brace] == ')') {
            return symbols;
        }
        const std::size_t comma = text.find(',', brace);
        const std::size_t quote = text.find('"', brace);
        const std::size_t closing = quote == std::string_view::npos ? quote : text.find('"', quote + 1);
        if (comma == std::string_view::npos || closing == std::string_view::npos || comma > quote) {
            return symbols;
        }
        std::string_view digits = text.substr(brace + 1, comma - brace - 1);
        digits.remove_prefix(std::min(digits.find_first_not_of(' '), digits.size()));
        const bool hex = digits.starts_with("0x");
        std::int64_t value = 0;
        if (parse_number(hex ? digits.substr(2) : digits, value, hex ? 16 : 10)) {
            symbols.emplace_back(value, text.substr(quote + 1, closing - quote - 1));
        }
        at = closing + 1;
    }
}

// ---- symbols
// --------------------------------------------------------------------------------------------------------

void SymbolTable::parse(std::string_view kallsyms)
{
    symbols_.clear();
    for (std::size_t from = 0; from < kallsyms.size();) {
        const std::size_t end = std::min(kallsyms.find('\n', from), kallsyms.size());
        const std::string_view line = kallsyms.substr(from, end - from);
        from = end + 1;
        const std::size_t space = line.find(' ');
        std::uint64_t address = 0;
        if (space == std::string_view::npos || space + 3 >= line.size() ||
            !parse_number(line.substr(0, space), address, 16) || address == 0) {
            continue;
        }
        const std::string_view rest = line.substr(space + 3);
        const std::size_t name_end = rest.find_first_of("\t [");
        const char type = line[space + 1];
        if (type != 't' && type != 'T' && type != 'w' && type != 'W') {
            continue;
        }
        symbols_.push_back(
            {address, std::string(rest.substr(0, name_end)), name_end != std::string_view::npos});
    }
    std::ranges::stable_sort(symbols_, {}, &Symbol::address);
    const auto repeated = std::ranges::unique(symbols_, {}, &Symbol::address);
    symbols_.erase(repeated.begin(), repeated.end());
}

SymbolTable::Hit SymbolTable::find(std::uint64_t address) const
{
    const auto after = std::ranges::upper_bound(symbols_, address, {}, &Symbol::address);
    // A function longer than this is none: the address lies behind the last symbol of its region.
    constexpr std::uint64_t longest_function = 1 << 20;
    if (after == symbols_.begin() || address - std::prev(after)->address > longest_function) {
        return {};
    }
    const Symbol& symbol = *std::prev(after);
    return {symbol.name, symbol.address, symbol.in_module};
}

bool SymbolTable::contains(std::string_view name) const
{
    return std::ranges::find(symbols_, name, &Symbol::name) != symbols_.end();
}

// ---- the file
// -------------------------------------------------------------------------------------------------------

struct TraceDat::State {
    std::string path;
    std::vector<std::uint8_t> file;
    Packing packing = Packing::none;
    std::size_t page_size = 4096;
    std::string kernel_release;
    std::string clock = "local"; // what the kernel uses unless told otherwise
    std::uint16_t cpus = 0;
    std::int64_t time_offset = 0;
    std::vector<EventFormat> formats;
    std::vector<int> format_by_id;
    SymbolTable symbols;
    std::unordered_map<std::int32_t, std::string> tasks;
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
    void load_tasks(std::string_view text);
    void load_clock(std::string_view text);
    void load_uname(std::string_view text);
    void finish();
};

void TraceDat::State::add_format(std::string_view system, Bytes text)
{
    auto format = parse_format(system, as_text(text));
    if (!format) {
        damage.push_back(fmt::format("an event format of {} does not parse", system));
        return;
    }
    const auto id = static_cast<std::size_t>(format->id);
    if (format_by_id.size() <= id) {
        format_by_id.resize(id + 1, -1);
    }
    if (format_by_id[id] < 0) {
        format_by_id[id] = static_cast<int>(formats.size());
        formats.push_back(std::move(*format));
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

void TraceDat::State::load_tasks(std::string_view text) // "171 python3\n"
{
    for (std::size_t from = 0; from < text.size();) {
        const std::size_t end = std::min(text.find('\n', from), text.size());
        const std::string_view line = text.substr(from, end - from);
        from = end + 1;
        const std::size_t space = line.find(' ');
        std::int32_t pid = 0;
        if (space != std::string_view::npos && parse_number(line.substr(0, space), pid)) {
            tasks.emplace(pid, line.substr(space + 1));
        }
    }
}

void TraceDat::State::load_clock(std::string_view text) // "local global [mono] boot" or one name
{
    text = text.substr(0, text.find('\0'));
    const std::size_t open = text.find('[');
    const std::size_t close = text.find(']', open == std::string_view::npos ? 0 : open);
    if (open != std::string_view::npos && close != std::string_view::npos) {
        clock = text.substr(open + 1, close - open - 1);
    } else if (!text.empty() && text.find(' ') == std::string_view::npos) {
        clock = text;
    }
}

void TraceDat::State::load_uname(std::string_view text) // "Linux lab 6.1.0-56-amd64 #1 SMP …"
{
    text = text.substr(0, text.find('\0'));
    for (int word = 0; word < 2; ++word) {
        const std::size_t space = text.find(' ');
        text = space == std::string_view::npos ? std::string_view{} : text.substr(space + 1);
    }
    kernel_release = text.substr(0, text.find(' '));
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
    symbols.parse(as_text(kallsyms));
    load_tasks(as_text(cmdlines));
    if (cpu_total == 0 || cpu_total > 8192) {
        return fail(ErrorKind::corrupt, path, fmt::format("impossible number of CPUs {}", cpu_total));
    }
    cpus = static_cast<std::uint16_t>(cpu_total);

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
        symbols.parse(as_text(at.take(std::min<std::size_t>(size, at.left()))));
        break;
    }
    case section_cmdlines: {
        const auto size = at.number<std::uint64_t>();
        load_tasks(as_text(at.take(std::min<std::uint64_t>(size, at.left()))));
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
        load_clock(buffer_clock);
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
        load_clock(as_text(data));
        break;
    case option_uname:
        load_uname(as_text(data));
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
            cpus = static_cast<std::uint16_t>(count);
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
    const bool need_formats = formats.empty();
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
        } else if (section->id >= section_ftrace_events && need_formats && symbols.empty()) {
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
    if (!has_buffer || formats.empty()) {
        scan_sections(first_section, !has_buffer);
        if (formats.empty() || cpu_data.empty()) {
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
    cpus = std::max<std::uint16_t>(cpus, static_cast<std::uint16_t>(highest + (cpu_data.empty() ? 0 : 1)));
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
const std::string& TraceDat::kernel_release() const
{
    return state_->kernel_release;
}
const std::string& TraceDat::clock() const
{
    return state_->clock;
}
std::uint16_t TraceDat::cpu_count() const
{
    return state_->cpus;
}
const std::vector<EventFormat>& TraceDat::formats() const
{
    return state_->formats;
}
const SymbolTable& TraceDat::symbols() const
{
    return state_->symbols;
}
const std::vector<std::string>& TraceDat::damage() const
{
    return state_->damage;
}

const EventFormat* TraceDat::format(int event_id) const
{
    const auto id = static_cast<std::size_t>(event_id);
    if (event_id < 0 || id >= state_->format_by_id.size() || state_->format_by_id[id] < 0) {
        return nullptr;
    }
    return &state_->formats[static_cast<std::size_t>(state_->format_by_id[id])];
}

std::string_view TraceDat::task_name(std::int32_t pid) const
{
    const auto at = state_->tasks.find(pid);
    return at == state_->tasks.end() ? std::string_view{} : at->second;
}

void TraceDat::for_each(const std::function<void(const RawRecord&)>& take) const
{
    struct Head {
        RawRecord record;
        PageReader* reader;
    };
    std::vector<PageReader> readers;
    readers.reserve(state_->cpu_data.size());
    for (const CpuData& cpu : state_->cpu_data) {
        readers.emplace_back(cpu, state_->page_size, state_->time_offset);
    }
    std::vector<Head> heads;
    for (PageReader& reader : readers) {
        Head head{{}, &reader};
        if (reader.next(head.record)) {
            heads.push_back(head);
        }
    }
    // Few CPUs have records: taking the smallest by looking at each beats a heap.
    while (!heads.empty()) {
        std::size_t first = 0;
        for (std::size_t i = 1; i < heads.size(); ++i) {
            if (heads[i].record.time_ns < heads[first].record.time_ns) {
                first = i;
            }
        }
        take(heads[first].record);
        if (!heads[first].reader->next(heads[first].record)) {
            heads.erase(heads.begin() + static_cast<std::ptrdiff_t>(first));
        }
    }
}

} // namespace skbscope
