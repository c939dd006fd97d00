#include "capture/trace_dat.h"

#include "capture/trace_dat_state.h"

#include <algorithm>
#include <filesystem>
#include <fmt/format.h>

namespace skbscope {

using namespace trace_dat;

namespace {

constexpr std::uint8_t magic[] = {0x17, 0x08, 0x44, 't', 'r', 'a', 'c', 'i', 'n', 'g'};

} // namespace

void TraceDat::State::add_format(std::string_view system, Bytes text)
{
    if (!kernel.add_format(system, as_text(text))) {
        damage.push_back(fmt::format("an event format of {} does not parse", shown(system)));
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
        return fail(ErrorKind::unsupported, path, fmt::format("trace-cmd file version \"{}\"", shown(version)),
                    "versions 6 and 7 can be read");
    }
    if (big_endian != 0 || long_size != 8) {
        return fail(ErrorKind::unsupported, path, "recorded on a big-endian or 32-bit machine",
                    "only little-endian 64-bit recordings can be read");
    }
    if (!is_page_size(page)) {
        return fail(ErrorKind::corrupt, fmt::format("{} at byte {}", path, at.at() - 4),
                    fmt::format("impossible page size {}", page));
    }
    records.page_size = page;
    const auto loaded = version == "6" ? load_version_6(at) : load_version_7(at);
    if (!loaded) {
        return loaded;
    }
    finish();
    return {};
}

/// Each byte of the file belongs to one CPU, and records do not pack without end: an index that says otherwise would make
/// a small file unfold into endless memory.
void TraceDat::State::leave_out_the_impossible()
{
    constexpr std::uint64_t usual_ratio = 64; // trace-cmd's batches pack to a fifth to a tenth; pages with one record to less
    std::uint64_t beyond_usual = std::uint64_t{64} << 20; // of pages that pack better, for there are such
    std::uint64_t there = file_size();
    std::size_t unfolding = 0;
    std::erase_if(records.cpus, [&](CpuPages& cpu) {
        std::uint64_t bytes = 0;
        for (const Piece& piece : cpu.pieces) {
            bytes += piece.size; // each at most the file's size, and a few million at most
        }
        if (cpu.cpu >= most_cpus || bytes > there) {
            damage.push_back(fmt::format("the records of CPU {} are left out: {}", cpu.cpu,
                                         cpu.cpu >= most_cpus ? "there is no such CPU" : "they lie where those of others do"));
            return true;
        }
        there -= bytes;
        unfolding += std::erase_if(cpu.pieces, [&](const Piece& piece) {
            const std::uint64_t usual = piece.size * usual_ratio;
            const std::uint64_t beyond = piece.unpacked > usual ? piece.unpacked - usual : 0;
            const bool is_too_much = beyond > beyond_usual;
            beyond_usual -= is_too_much ? 0 : beyond;
            return is_too_much;
        });
        return false;
    });
    if (unfolding != 0) {
        damage.push_back(fmt::format("{} batches of records are left out: they would unfold beyond all measure", unfolding));
    }
}

void TraceDat::State::finish()
{
    leave_out_the_impossible();
    std::uint16_t highest = 0;
    for (const CpuPages& cpu : records.cpus) {
        highest = std::max<std::uint16_t>(highest, cpu.cpu);
    }
    kernel.cpus = std::max<std::uint16_t>(kernel.cpus, static_cast<std::uint16_t>(highest + (records.cpus.empty() ? 0 : 1)));
    for (const EventFormat& format : kernel.formats()) {
        const auto id = static_cast<std::size_t>(format.id);
        records.device_names.resize(std::max(records.device_names.size(), id + 1));
        records.device_names[id] = format.device_name();
    }
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
    auto state = std::make_unique<State>();
    state->path = path;
    state->records.file = &state->file;
    if (!state->file.open(path, magic)) {
        return fail(ErrorKind::unreadable, path, "cannot be opened or read", "check its permissions");
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

std::uint64_t TraceDat::record_bytes() const
{
    std::uint64_t bytes = 0;
    for (const CpuPages& cpu : state_->records.cpus) {
        for (const Piece& piece : cpu.pieces) {
            bytes += piece.unpacked != 0 ? piece.unpacked : piece.size;
        }
    }
    return bytes;
}

std::uint64_t TraceDat::packed_bytes() const
{
    std::uint64_t bytes = 0;
    for (const CpuPages& cpu : state_->records.cpus) {
        for (const Piece& piece : cpu.pieces) {
            bytes += piece.size;
        }
    }
    return bytes;
}

std::vector<std::string> TraceDat::for_each(const std::function<void(std::span<const RawRecord>)>& take,
                                            const WalkOptions& options) const
{
    return walk(state_->records, take, options);
}

std::vector<std::string> TraceDat::for_each(const std::function<void(const RawRecord&)>& take) const
{
    return walk(state_->records, [&](std::span<const RawRecord> records) { std::ranges::for_each(records, take); }, {});
}

} // namespace skbscope
