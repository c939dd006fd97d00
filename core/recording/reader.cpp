// Reads recordings, piece by piece. Nothing in a file is believed: every length is checked before memory is taken for
// it, every number before it is used as a row.

#include "core/catalog/catalog.h"
#include "core/recording/format.h"
#include "core/recording/recording.h"
#include "core/recording/wire.h"

#include <algorithm>
#include <cerrno>
#include <fmt/format.h>
#include <map>
#include <sys/stat.h>
#include <system_error>
#include <zlib.h>
#include <zstd.h>

namespace skbscope {

namespace {

using format::Kind;
using Bytes = std::span<const std::uint8_t>;

constexpr auto foreign_remedy = "open it as a capture: skbscope replay FILE";
constexpr std::uint16_t most_cpus = 8192;            ///< NR_CPUS of the largest kernels
constexpr std::uint64_t longest_field = 1U << 24;    ///< no frame is longer, with room to spare
constexpr std::uint64_t longest_trace = 0xffffffff;  ///< ordinals of events are 32 bits wide in journeys

struct BlockHeader {
    std::uint8_t major = 0, minor = 0;
    Kind kind{};
    std::uint16_t flags = 0;
    std::uint32_t raw_length = 0, stored_length = 0, count = 0;
    std::uint64_t first = 0;
    std::uint32_t crc = 0;
};

/// Empty if the body is not one of ours.
std::optional<BlockHeader> parse_header(Bytes body)
{
    if (body.size() < format::header_length || get<std::uint32_t>(body.data()) != format::magic) {
        return std::nullopt;
    }
    BlockHeader header;
    header.major = body[4];
    header.minor = body[5];
    header.kind = static_cast<Kind>(get<std::uint16_t>(body.data() + 6));
    header.flags = get<std::uint16_t>(body.data() + 8);
    header.raw_length = get<std::uint32_t>(body.data() + 12);
    header.stored_length = get<std::uint32_t>(body.data() + 16);
    header.count = get<std::uint32_t>(body.data() + 20);
    header.first = get<std::uint64_t>(body.data() + 24);
    header.crc = get<std::uint32_t>(body.data() + 32);
    return header;
}

KernelVersion kernel_named(std::string_view text, std::string_view release)
{
    for (const KernelVersion version : {KernelVersion::v4_1, KernelVersion::v5_10, KernelVersion::v6_1,
                                        KernelVersion::v6_12, KernelVersion::v6_18}) {
        if (to_string(version) == text) {
            return version;
        }
    }
    return kernel_version_of(release);
}

TraceInfo take_info(WireReader& row)
{
    TraceInfo info;
    info.source = row.take_text();
    info.kernel_release = row.take_text();
    info.kernel = kernel_named(row.take_text(), info.kernel_release);
    info.observed = row.take<std::uint8_t>() != 0;
    info.times_trustworthy = row.take<std::uint8_t>() != 0;
    info.clock = row.take_text();
    info.wall_offset_ns = row.take<std::int64_t>();
    info.lost_events = row.take<std::uint64_t>();
    info.unattributed_events = row.take<std::uint64_t>();
    info.costs_hash = row.take<std::uint64_t>();
    info.scenario = row.take_text();
    return info;
}

IpAddress take_address(WireReader& row)
{
    IpAddress address;
    address.v6 = row.take<std::uint8_t>() == 6;
    const Bytes bytes = row.take_bytes(16);
    std::ranges::copy(bytes, address.bytes.begin());
    return address;
}

/// One column of an events block.
template <typename Number>
class Column {
public:
    Column(WireReader& payload, std::uint32_t count) : bytes_(payload.take_bytes(count * sizeof(Number))) {}
    Number operator[](std::uint32_t row) const { return get<Number>(bytes_.data() + row * sizeof(Number)); }

private:
    Bytes bytes_;
};

struct FreeContext {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

} // namespace

class RecordingReader::Impl {
public:
    Impl(Trace& trace, std::string name) : trace_(trace), name_(std::move(name)) {}

    Result<void> feed(Bytes bytes)
    {
        received_ += bytes.size();
        if (!damage_.empty()) {
            return {};
        }
        buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
        std::size_t done = 0;
        while (true) {
            auto used = block(Bytes(buffer_).subspan(done));
            if (!used) {
                return tl::unexpected(used.error());
            }
            if (*used == 0) {
                break;
            }
            done += *used;
            position_ += *used;
        }
        if (!damage_.empty()) {
            buffer_.clear();
            return {};
        }
        buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(done));
        return {};
    }

    bool complete() const { return ended_; }

    Result<std::string> finish()
    {
        if (received_ == 0) {
            return fail(ErrorKind::cut, name_, "is empty", "it was never written to, or is still being written");
        }
        if (!section_) {
            if (looks_like_pcapng(buffer_)) {
                return fail(ErrorKind::cut, name_,
                            fmt::format("is cut at byte {}, before anything could be read", received_));
            }
            return received_ < 12 ? fail(ErrorKind::foreign, name_, "is no recording: too short for one") : foreign();
        }
        if (!started_) {
            if (blocks_ > 1) {
                return foreign();
            }
            return fail(ErrorKind::cut, name_,
                        fmt::format("is cut at byte {}, before anything could be read", received_));
        }
        const bool whole = ended_ && damage_.empty();
        if (whole && buffer_.empty()) {
            return std::string{};
        }
        if (whole) {
            return fmt::format("{} bytes behind its end, at byte {}, are not part of it", buffer_.size(), position_);
        }
        std::string loss = loss_text();
        settle_lost_packets();
        return loss;
    }

private:
    tl::unexpected<Error> foreign() const
    {
        if (section_) {
            return fail(ErrorKind::foreign, name_, "is a pcapng capture, not a recording of skbscope", foreign_remedy);
        }
        return fail(ErrorKind::foreign, name_, "is no recording of skbscope");
    }

    tl::unexpected<Error> corrupt(std::string what) const
    {
        return fail(ErrorKind::corrupt, fmt::format("{} at byte {}", name_, position_), std::move(what));
    }

    /// What came before stands; nothing behind this is read.
    Result<std::size_t> damaged(std::string what)
    {
        if (!started_) {
            return corrupt(std::move(what));
        }
        damage_ = std::move(what);
        return 0;
    }

    /// Takes one whole block off the front and returns its length; 0 if there is none yet.
    Result<std::size_t> block(Bytes bytes)
    {
        if (bytes.size() < 12) {
            if (!section_ && !bytes.empty() && bytes[0] != 0x0a) {
                return foreign();
            }
            return 0;
        }
        const auto type = get<std::uint32_t>(bytes.data());
        if (type == format::section_header) {
            const auto order = get<std::uint32_t>(bytes.data() + 8);
            if (order == __builtin_bswap32(format::byte_order_magic)) {
                section_ = true; // another machine's capture; ours are little-endian everywhere
                return started_ ? damaged("another section begins that is not ours") : Result<std::size_t>(foreign());
            }
            if (order != format::byte_order_magic) {
                return section_ ? damaged("a section header is broken") : Result<std::size_t>(foreign());
            }
        } else if (!section_) {
            return foreign();
        }
        const auto length = get<std::uint32_t>(bytes.data() + 4);
        if (length < 12 || length % 4 != 0 || length > format::longest_block) {
            return damaged(fmt::format("a block says that it is {} bytes long", length));
        }
        if (bytes.size() < length) {
            return 0;
        }
        if (get<std::uint32_t>(bytes.data() + length - 4) != length) {
            return damaged("a block's two lengths differ");
        }
        ++blocks_;
        const Bytes body = bytes.subspan(8, length - 12);
        if (type == format::section_header) {
            if (section_) {
                return damaged("another section begins: read it as a file of its own");
            }
            section_ = true;
            return length;
        }
        const bool packet = type == format::enhanced_packet || type == format::simple_packet ||
                            type == format::obsolete_packet;
        if (packet && !started_) {
            return foreign();
        }
        if (type != format::block_type) {
            return length;
        }
        return own_block(body, length);
    }

    Result<std::size_t> own_block(Bytes body, std::size_t length)
    {
        const auto header = parse_header(body);
        if (!header) {
            return length; // somebody else's local type
        }
        if (header->major != format::major_version) {
            return fail(ErrorKind::unsupported, name_,
                        fmt::format("is of format {}.{}, this program reads {}.x", header->major, header->minor,
                                    format::major_version),
                        header->major > format::major_version ? "use a newer skbscope" : "use an older skbscope");
        }
        if (header->stored_length > body.size() - format::header_length) {
            return damaged("a block's payload is longer than the block");
        }
        const Bytes stored = body.subspan(format::header_length, header->stored_length);
        auto crc = crc32(0, body.data(), format::header_length - 4);
        crc = crc32(crc, stored.data(), static_cast<uInt>(stored.size()));
        if (crc != header->crc) {
            return damaged("a block's checksum is wrong");
        }
        if (header->raw_length > format::longest_payload ||
            header->raw_length / format::most_compression > stored.size()) {
            return damaged(fmt::format("a block says that it unfolds to {} bytes", header->raw_length));
        }
        Bytes payload = stored;
        if ((header->flags & format::flag_zstd) != 0) {
            unpacked_.resize(header->raw_length);
            const std::size_t got = ZSTD_decompressDCtx(context_.get(), unpacked_.data(), unpacked_.size(),
                                                        stored.data(), stored.size());
            if (ZSTD_isError(got) != 0 || got != header->raw_length) {
                return damaged("a block cannot be decompressed");
            }
            payload = unpacked_;
        } else if (header->raw_length != header->stored_length) {
            return damaged("a block's payload has two lengths");
        }
        if (!started_ && header->kind != Kind::start) {
            return corrupt("it does not begin with its first block");
        }
        if (ended_) {
            return damaged("a block comes behind the end");
        }
        if (const char* trouble = take(*header, payload)) {
            return damaged(trouble);
        }
        return length;
    }

    /// Null, or what is wrong with it.
    const char* take(const BlockHeader& header, Bytes payload)
    {
        WireReader in(payload);
        switch (header.kind) {
        case Kind::start: return take_start(in);
        case Kind::info: return take_info_again(in);
        case Kind::faults: return take_faults(header, in);
        case Kind::functions: return take_functions(header, in);
        case Kind::reasons: return take_reasons(header, in);
        case Kind::hosts: return take_hosts(header, in);
        case Kind::tasks: return take_tasks(header, in);
        case Kind::devices: return take_devices(header, in);
        case Kind::queues: return take_queues(header, in);
        case Kind::counters: return take_counters(header, in);
        case Kind::field_changes: return take_field_changes(header, in);
        case Kind::counter_changes: return take_counter_changes(header, in);
        case Kind::queue_changes: return take_queue_changes(header, in);
        case Kind::notes: return take_notes(header, in);
        case Kind::bytes: return take_bytes(header, payload);
        case Kind::packets: return take_packets(header, in);
        case Kind::events: return take_events(header, in);
        case Kind::durations: return take_durations(header, in);
        case Kind::end: return take_end(in);
        case Kind::files: return take_files(header, in);
        }
        return nullptr; // a kind that a newer minor version added
    }

    /// Gives each row to `each`, which returns null or what is wrong.
    template <typename Each>
    const char* rows(const BlockHeader& header, WireReader& in, Each each)
    {
        for (std::uint32_t i = 0; i < header.count; ++i) {
            if (in.at_end()) {
                return "a block has fewer rows than it says";
            }
            WireReader row = in.take_row();
            if (!in.good()) {
                return "a row is longer than its block";
            }
            if (const char* trouble = each(row)) {
                return trouble;
            }
            // A row of an older minor version may be shorter; what it lacks is zero. There is none yet.
            if (!row.good()) {
                return "a row is too short";
            }
        }
        return nullptr;
    }

    static constexpr auto out_of_order = "rows are missing before this block";
    static constexpr auto no_such_row = "it names a row that is not there";

    const char* take_start(WireReader& in)
    {
        if (started_) {
            return "it begins a second time";
        }
        WireReader row = in.take_row();
        total_events_ = row.take<std::uint64_t>();
        total_packets_ = row.take<std::uint64_t>();
        TraceInfo info = take_info(row);
        if (!row.good() || !in.good()) {
            return "its first block is too short";
        }
        trace_.info = std::move(info);
        started_ = true;
        return nullptr;
    }

    const char* take_info_again(WireReader& in)
    {
        WireReader row = in.take_row();
        TraceInfo info = take_info(row);
        if (!row.good()) {
            return "its facts are too short";
        }
        trace_.info = std::move(info);
        return nullptr;
    }

    const char* take_faults(const BlockHeader& header, WireReader& in)
    {
        if (header.first == 0) {
            trace_.faults.clear();
        }
        return rows(header, in, [&](WireReader& row) -> const char* {
            Fault fault;
            fault.cause = row.take_text();
            fault.count = row.take<std::uint64_t>();
            fault.advice = row.take_text();
            trace_.faults.push_back(std::move(fault));
            return nullptr;
        });
    }

    const char* take_files(const BlockHeader& header, WireReader& in)
    {
        if (header.first == 0) {
            trace_.files.clear();
        }
        return rows(header, in, [&](WireReader& row) -> const char* {
            HostFile file;
            file.host = static_cast<HostId>(row.take<std::uint8_t>());
            file.space = row.take_text();
            file.name = row.take_text();
            file.text = row.take_text();
            if (to_index(file.host) >= trace_.hosts().size()) {
                return "a file is of a host that is not there";
            }
            trace_.files.push_back(std::move(file));
            return nullptr;
        });
    }

    const char* take_functions(const BlockHeader& header, WireReader& in)
    {
        return rows(header, in, [&](WireReader& row) -> const char* {
            const auto id = row.take<std::uint16_t>();
            const std::string name = row.take_text();
            if (name.empty()) {
                return "a function has no name";
            }
            // A trace of ours has 65536 function numbers; the catalog's come out of the same range.
            if (trace_.own_functions().size() + Catalog::function_count() > 65000) {
                return "it has too many functions";
            }
            if (id >= functions_.size()) {
                functions_.resize(id + std::size_t{1});
            }
            functions_[id] = static_cast<std::uint16_t>(trace_.function_named(name));
            return nullptr;
        });
    }

    const char* take_reasons(const BlockHeader& header, WireReader& in)
    {
        return rows(header, in, [&](WireReader& row) -> const char* {
            const auto id = row.take<std::uint16_t>();
            const std::string name = row.take_text();
            const DropReasonId known = Catalog::find_drop_reason(name);
            if (known == DropReasonId::none) {
                unknown_reasons_.push_back(name);
            }
            if (id >= reasons_.size()) {
                reasons_.resize(id + std::size_t{1});
            }
            reasons_[id] = static_cast<std::uint16_t>(known);
            return nullptr;
        });
    }

    const char* take_hosts(const BlockHeader& header, WireReader& in)
    {
        if (header.first != trace_.hosts().size()) {
            return out_of_order;
        }
        return rows(header, in, [&](WireReader& row) -> const char* {
            HostRecord host;
            host.name = row.take_text();
            host.cpus = row.take<std::uint16_t>();
            if (trace_.hosts().size() > 255) {
                return "it has too many hosts";
            }
            trace_.add_host(std::move(host));
            return nullptr;
        });
    }

    bool take_host(WireReader& row, HostId& host) const
    {
        const auto number = row.take<std::uint8_t>();
        host = static_cast<HostId>(number);
        return number == 0 || number < trace_.hosts().size();
    }

    const char* take_tasks(const BlockHeader& header, WireReader& in)
    {
        if (header.first != trace_.tasks().size()) {
            return out_of_order;
        }
        return rows(header, in, [&](WireReader& row) -> const char* {
            TaskRecord task;
            task.name = row.take_text();
            task.pid = row.take<std::int32_t>();
            if (!take_host(row, task.host)) {
                return no_such_row;
            }
            trace_.add_task(std::move(task));
            return nullptr;
        });
    }

    const char* take_devices(const BlockHeader& header, WireReader& in)
    {
        if (header.first != trace_.devices().size()) {
            return out_of_order;
        }
        return rows(header, in, [&](WireReader& row) -> const char* {
            DeviceRecord device;
            device.name = row.take_text();
            const bool host_known = take_host(row, device.host);
            device.driver = row.take_text();
            std::ranges::copy(row.take_bytes(6), device.mac.begin());
            device.mtu = row.take<std::uint32_t>();
            if (!host_known) {
                return no_such_row;
            }
            trace_.add_device(std::move(device));
            return nullptr;
        });
    }

    const char* take_queues(const BlockHeader& header, WireReader& in)
    {
        if (header.first != trace_.queues().size()) {
            return out_of_order;
        }
        return rows(header, in, [&](WireReader& row) -> const char* {
            QueueRecord queue;
            queue.name = row.take_text();
            const auto kind = row.take<std::uint8_t>();
            const bool host_known = take_host(row, queue.host);
            queue.room = Catalog::find_room(row.take_text());
            queue.limit = row.take<std::uint64_t>();
            const auto unit = row.take<std::uint8_t>();
            queue.setting = row.take_text();
            if (!host_known || unit > static_cast<std::uint8_t>(QueueUnit::bytes)) {
                return no_such_row;
            }
            queue.kind = static_cast<QueueKind>(std::min<std::uint8_t>(kind, static_cast<std::uint8_t>(QueueKind::other)));
            queue.unit = static_cast<QueueUnit>(unit);
            trace_.add_queue(std::move(queue));
            return nullptr;
        });
    }

    const char* take_counters(const BlockHeader& header, WireReader& in)
    {
        if (header.first != trace_.counters().size()) {
            return out_of_order;
        }
        return rows(header, in, [&](WireReader& row) -> const char* {
            CounterRecord counter;
            counter.name = row.take_text();
            if (!take_host(row, counter.host)) {
                return no_such_row;
            }
            trace_.add_counter(std::move(counter));
            return nullptr;
        });
    }

    bool bytes_there(std::uint64_t offset, std::uint64_t length) const
    {
        return length <= trace_.bytes().size() && offset <= trace_.bytes().size() - length;
    }

    const char* take_field_changes(const BlockHeader& header, WireReader& in)
    {
        if (header.first != trace_.field_changes().size()) {
            return out_of_order;
        }
        return rows(header, in, [&](WireReader& row) -> const char* {
            FieldChange change;
            const auto field = row.take<std::uint8_t>();
            change.offset = row.take<std::uint32_t>();
            change.length = row.take<std::uint32_t>();
            change.before = row.take<std::uint64_t>();
            change.after = row.take<std::uint64_t>();
            if (field >= skb_field_count) {
                return "it has an sk_buff field that this program does not know";
            }
            change.field = static_cast<SkbField>(field);
            const auto both_below = [&](std::size_t count) {
                return change.before < count && change.after < count;
            };
            bool there = true;
            switch (change.field) {
            case SkbField::bytes:
                there = bytes_there(change.before, change.length) && bytes_there(change.after, change.length) &&
                        std::uint64_t{change.offset} + change.length <= longest_field;
                break;
            case SkbField::device: there = both_below(trace_.devices().size()); break;
            case SkbField::destination: there = both_below(trace_.notes().size()); break;
            case SkbField::socket: there = both_below(trace_.queues().size()); break;
            default: break;
            }
            if (!there) {
                return no_such_row;
            }
            trace_.add_field_change(change);
            return nullptr;
        });
    }

    const char* take_counter_changes(const BlockHeader& header, WireReader& in)
    {
        if (header.first != trace_.counter_changes().size()) {
            return out_of_order;
        }
        return rows(header, in, [&](WireReader& row) -> const char* {
            CounterChange change;
            const auto counter = row.take<std::uint32_t>();
            change.counter = static_cast<CounterId>(counter);
            change.before = row.take<std::uint64_t>();
            change.after = row.take<std::uint64_t>();
            if (counter >= trace_.counters().size()) {
                return no_such_row;
            }
            trace_.add_counter_change(change);
            return nullptr;
        });
    }

    const char* take_queue_changes(const BlockHeader& header, WireReader& in)
    {
        if (header.first != trace_.queue_changes().size()) {
            return out_of_order;
        }
        return rows(header, in, [&](WireReader& row) -> const char* {
            QueueChange change;
            const auto what = row.take<std::uint8_t>();
            const auto queue = row.take<std::uint32_t>();
            change.queue = static_cast<QueueId>(queue);
            change.before = row.take<std::uint64_t>();
            change.after = row.take<std::uint64_t>();
            if (what > static_cast<std::uint8_t>(QueueChange::What::fill) || queue >= trace_.queues().size()) {
                return no_such_row;
            }
            change.what = static_cast<QueueChange::What>(what);
            trace_.add_queue_change(change);
            return nullptr;
        });
    }

    const char* take_notes(const BlockHeader& header, WireReader& in)
    {
        if (header.first != trace_.notes().size()) {
            return out_of_order;
        }
        return rows(header, in, [&](WireReader& row) -> const char* {
            trace_.add_note(row.take_text());
            return nullptr;
        });
    }

    const char* take_bytes(const BlockHeader& header, Bytes payload)
    {
        if (header.first != trace_.bytes().size()) {
            return out_of_order;
        }
        trace_.add_bytes(payload);
        return nullptr;
    }

    // ---- packets ----------------------------------------------------------------------------------------------------
    bool function_known(std::uint16_t in_file, FunctionId& id) const
    {
        if (in_file == 0) {
            id = FunctionId::none;
            return true;
        }
        if (in_file >= functions_.size() || functions_[in_file] == 0) {
            return false;
        }
        id = static_cast<FunctionId>(functions_[in_file]);
        return true;
    }

    bool reason_known(std::uint16_t in_file, DropReasonId& id) const
    {
        id = in_file < reasons_.size() ? static_cast<DropReasonId>(reasons_[in_file]) : DropReasonId::none;
        return in_file < reasons_.size() || in_file == 0;
    }

    /// Packets of the table and those that wait for their events.
    std::size_t packets_known() const { return trace_.packet_count() + pending_packets_.size(); }

    const char* take_packets(const BlockHeader& header, WireReader& in)
    {
        std::uint64_t expected = header.first;
        return rows(header, in, [&](WireReader& row) -> const char* {
            PacketRecord record;
            const auto id = row.take<std::uint32_t>();
            record.id = static_cast<PacketId>(id);
            record.parent = static_cast<PacketId>(row.take<std::uint32_t>());
            record.merged_into = static_cast<PacketId>(row.take<std::uint32_t>());
            const auto relation = row.take<std::uint8_t>();
            const bool host_known = take_host(row, record.host);
            const auto verdict = row.take<std::uint8_t>();
            const auto flags = row.take<std::uint8_t>();
            const bool reason_there = reason_known(row.take<std::uint16_t>(), record.reason);
            const bool birth_there = function_known(row.take<std::uint16_t>(), record.birth_function);
            const bool end_there = function_known(row.take<std::uint16_t>(), record.end_function);
            const auto device = row.take<std::uint32_t>();
            record.device = static_cast<DeviceId>(device);
            record.length = row.take<std::uint32_t>();
            record.birth.ns = row.take<std::uint64_t>();
            record.death.ns = row.take<std::uint64_t>();
            record.bytes_offset = row.take<std::uint64_t>();
            record.captured_length = row.take<std::uint32_t>();
            FlowKey flow;
            flow.source = take_address(row);
            flow.destination = take_address(row);
            flow.protocol = row.take<std::uint8_t>();
            flow.ethertype = row.take<std::uint16_t>();
            flow.source_port = row.take<std::uint16_t>();
            flow.destination_port = row.take<std::uint16_t>();
            if (!host_known || !reason_there || !birth_there || !end_there || device >= trace_.devices().size() ||
                relation > static_cast<std::uint8_t>(Relation::copy) || verdict >= verdict_count ||
                to_index(record.parent) > packets_known() ||
                !bytes_there(record.bytes_offset, record.captured_length)) {
                return no_such_row;
            }
            if (id != expected || id == 0 || id > packets_known() + 1) {
                return out_of_order;
            }
            ++expected;
            record.relation = static_cast<Relation>(relation);
            record.verdict = static_cast<Verdict>(verdict);
            record.sent_here = (flags & 1) != 0;
            record.touched_by_loss = (flags & 2) != 0;
            record.end_inferred = (flags & 4) != 0;
            if ((flags & 8) != 0) {
                record.flow = flow;
            }
            place(record);
            return nullptr;
        });
    }

    void place(const PacketRecord& record)
    {
        const std::size_t id = to_index(record.id);
        if (id <= trace_.packet_count()) {
            trace_.mutable_packet(record.id) = record;
        } else if (id - trace_.packet_count() <= pending_packets_.size()) {
            pending_packets_[id - trace_.packet_count() - 1] = record;
        } else {
            pending_packets_.push_back(record);
        }
    }

    /// New packets join the table together with the events that bear them, so that a cut leaves none without events.
    void commit_packets()
    {
        for (const PacketRecord& record : pending_packets_) {
            trace_.add_packet(record);
        }
        pending_packets_.clear();
    }

    // ---- events -----------------------------------------------------------------------------------------------------
    const char* take_events(const BlockHeader& header, WireReader& in)
    {
        const std::uint32_t count = header.count;
        if (header.first != trace_.size()) {
            return "events are missing before this block";
        }
        if (in.left() / sizeof(Event) < count || trace_.size() + count > longest_trace) {
            return "a block has fewer events than it says";
        }
        const Column<std::uint64_t> steps(in, count);
        const Column<std::uint32_t> durations(in, count);
        const Column<std::uint32_t> packets(in, count);
        const Column<std::uint32_t> tasks(in, count);
        const Column<std::uint32_t> args(in, count);
        const Column<std::uint16_t> functions(in, count);
        const Column<std::uint16_t> cpus(in, count);
        const Column<std::uint8_t> kinds(in, count);
        const Column<std::uint8_t> flags(in, count);
        const Column<std::uint8_t> depths(in, count);
        const Column<std::uint8_t> hosts(in, count);
        std::uint64_t time = 0;
        std::uint64_t last = trace_.empty() ? 0 : trace_.end_time().ns;
        // Checked whole before any of it joins the trace: a damaged block leaves nothing behind.
        batch_.resize(count);
        for (std::uint32_t i = 0; i < count; ++i) {
            Event& event = batch_[i];
            time += steps[i];
            event.time_ns = time;
            event.duration_ns = durations[i];
            event.packet = packets[i];
            event.task = tasks[i];
            event.arg = args[i];
            event.function = functions[i];
            event.cpu = cpus[i];
            event.kind = kinds[i];
            event.flags = flags[i];
            event.depth = depths[i];
            event.host = hosts[i];
            if (time < last) {
                return "its events are not in order of time";
            }
            last = time;
            if (const char* trouble = check(event)) {
                return trouble;
            }
        }
        commit_packets();
        for (const Event& event : batch_) {
            trace_.append(event);
        }
        return nullptr;
    }

    /// Puts this program's numbers in place of the file's, and makes sure that every row named is there.
    const char* check(Event& event) const
    {
        FunctionId function = FunctionId::none;
        if (!function_known(event.function, function)) {
            return "an event's function has no name";
        }
        event.function = static_cast<std::uint16_t>(function);
        const bool host_known = event.host == 0 || event.host < trace_.hosts().size();
        if (event.packet > packets_known() || event.task >= trace_.tasks().size() || event.cpu >= most_cpus ||
            !host_known) {
            return no_such_row;
        }
        bool there = true;
        switch (event.event_kind()) {
        case EventKind::birth:
        case EventKind::irq_raise:
        case EventKind::irq_mask:
        case EventKind::irq_unmask: there = event.arg < trace_.devices().size(); break;
        case EventKind::verdict: there = event.arg < verdict_count; break;
        case EventKind::drop: {
            DropReasonId reason = DropReasonId::none;
            there = event.arg <= 0xffff && reason_known(static_cast<std::uint16_t>(event.arg), reason);
            event.arg = to_index(reason);
            break;
        }
        case EventKind::enqueue:
        case EventKind::dequeue: there = event.arg < trace_.queues().size(); break;
        case EventKind::clone:
        case EventKind::merge:
        case EventKind::split: there = event.arg <= packets_known(); break;
        case EventKind::field: there = event.arg < trace_.field_changes().size(); break;
        case EventKind::counter: there = event.arg < trace_.counter_changes().size(); break;
        case EventKind::queue: there = event.arg < trace_.queue_changes().size(); break;
        case EventKind::setting:
        case EventKind::note: there = event.arg < trace_.notes().size(); break;
        default: break;
        }
        return there ? nullptr : no_such_row;
    }

    const char* take_durations(const BlockHeader& header, WireReader& in)
    {
        for (std::uint32_t i = 0; i < header.count; ++i) {
            const auto ordinal = in.take<std::uint64_t>();
            const auto duration = in.take<std::uint32_t>();
            if (!in.good()) {
                return "a block has fewer rows than it says";
            }
            if (ordinal >= trace_.size()) {
                return no_such_row;
            }
            trace_.mutable_event(ordinal).duration_ns = duration;
        }
        return nullptr;
    }

    const char* take_end(WireReader& in)
    {
        const auto events = in.take<std::uint64_t>();
        const auto packets = in.take<std::uint64_t>();
        commit_packets();
        if (!in.good() || events != trace_.size() || packets != trace_.packet_count()) {
            return "it ends with other totals than were read";
        }
        for (std::size_t id = 1; id <= trace_.packet_count(); ++id) {
            if (to_index(trace_.packets()[id - 1].merged_into) > trace_.packet_count()) {
                return no_such_row;
            }
        }
        for (const std::string& name : unknown_reasons_) {
            trace_.faults.push_back({fmt::format("drop reason {} is not in this program's catalog", name), 1,
                                     "a newer skbscope wrote the recording: use that one"});
        }
        ended_ = true;
        return nullptr;
    }

    // ---- loss -------------------------------------------------------------------------------------------------------
    std::string loss_text()
    {
        std::string where = damage_.empty() ? fmt::format("cut at byte {} of {}", position_, received_)
                                            : fmt::format("damaged at byte {} of {} ({})", position_, received_, damage_);
        if (total_events_ != format::unknown_total && total_events_ >= trace_.size()) {
            const std::uint64_t lost = total_events_ - trace_.size();
            return lost == 0 ? where + ": no event is lost"
                             : fmt::format("{}: the last {} of {} events are lost", where, lost, total_events_);
        }
        // A stream does not know its length; the block that was cut may say how many events it had.
        const auto header = buffer_.size() >= 8 + format::header_length
                                ? parse_header(Bytes(buffer_).subspan(8))
                                : std::nullopt;
        if (header && header->kind == Kind::events && header->first == trace_.size()) {
            return fmt::format("{}: at least {} events behind the first {} are lost", where, header->count, trace_.size());
        }
        return fmt::format("{}: what came behind the first {} events is lost", where, trace_.size());
    }

    /// Of a trace without its end, the packet table may know more than the events that are left: take that back.
    void settle_lost_packets()
    {
        std::vector<bool> decided(trace_.packet_count() + 1);
        for (std::size_t i = 0; i < trace_.size(); ++i) {
            const Event& event = trace_[i];
            const bool decides = event.event_kind() == EventKind::drop || event.event_kind() == EventKind::merge ||
                                 (event.event_kind() == EventKind::verdict && event.verdict() != Verdict::in_flight);
            if (decides) {
                decided[event.packet] = true;
            }
        }
        const SimTime end = trace_.end_time();
        for (std::size_t id = 1; id <= trace_.packet_count(); ++id) {
            PacketRecord& record = trace_.mutable_packet(static_cast<PacketId>(id));
            if (to_index(record.merged_into) > trace_.packet_count()) {
                record.merged_into = PacketId::none;
            }
            if (record.death != never && record.death <= end) {
                continue;
            }
            record.death = never;
            record.touched_by_loss = true;
            if (!decided[id]) {
                record.verdict = Verdict::lost;
                record.reason = DropReasonId::none;
                record.end_function = FunctionId::none;
            }
        }
    }

    Trace& trace_;
    std::string name_;
    std::vector<std::uint8_t> buffer_;   ///< from the first byte of a block that is not whole yet
    std::vector<std::uint8_t> unpacked_;
    std::vector<Event> batch_;
    std::unique_ptr<ZSTD_DCtx, FreeContext> context_{ZSTD_createDCtx()};
    std::uint64_t received_ = 0; ///< bytes fed
    std::uint64_t position_ = 0; ///< of the buffer's first byte
    std::uint64_t blocks_ = 0;
    bool section_ = false, started_ = false, ended_ = false;
    std::string damage_;
    std::uint64_t total_events_ = format::unknown_total, total_packets_ = format::unknown_total;
    std::vector<std::uint16_t> functions_, reasons_; ///< the file's number -> ours
    std::vector<std::string> unknown_reasons_;
    std::vector<PacketRecord> pending_packets_;
};

RecordingReader::RecordingReader(Trace& trace, std::string name)
    : impl_(std::make_unique<Impl>(trace, std::move(name)))
{
}

RecordingReader::~RecordingReader() = default;
RecordingReader::RecordingReader(RecordingReader&&) noexcept = default;
RecordingReader& RecordingReader::operator=(RecordingReader&&) noexcept = default;

Result<void> RecordingReader::feed(std::span<const std::uint8_t> bytes)
{
    return impl_->feed(bytes);
}

bool RecordingReader::complete() const
{
    return impl_->complete();
}

Result<std::string> RecordingReader::finish()
{
    return impl_->finish();
}

Result<LoadedRecording> read_recording(std::FILE* file, const std::string& name, Progress* progress)
{
    LoadedRecording loaded;
    RecordingReader reader(loaded.trace, name);
    std::vector<std::uint8_t> piece(1U << 20);
    if (struct stat status = {}; progress != nullptr) {
        const bool has_size = fstat(fileno(file), &status) == 0 && S_ISREG(status.st_mode);
        progress->begin("reading", has_size ? static_cast<std::uint64_t>(status.st_size) : 0);
    }
    std::uint64_t read = 0;
    while (true) {
        const std::size_t got = std::fread(piece.data(), 1, piece.size(), file);
        if (progress != nullptr) {
            if (progress->is_cancelled()) {
                return stopped(name);
            }
            progress->reach(read += got);
        }
        if (got == 0) {
            break;
        }
        if (auto fed = reader.feed(std::span(piece).first(got)); !fed) {
            return tl::unexpected(fed.error());
        }
    }
    if (std::ferror(file) != 0) {
        return fail(ErrorKind::unreadable, name, std::error_code(errno, std::generic_category()).message());
    }
    auto loss = reader.finish();
    if (!loss) {
        return tl::unexpected(loss.error());
    }
    loaded.loss = std::move(*loss);
    return loaded;
}

Result<LoadedRecording> read_recording(const std::filesystem::path& path, Progress* progress)
{
    const std::string name = path.string();
    std::FILE* file = std::fopen(path.c_str(), "rb");
    if (file == nullptr) {
        const int error = errno;
        const std::string reason = std::error_code(error, std::generic_category()).message();
        return error == ENOENT ? fail(ErrorKind::not_found, name, "no such file")
                               : fail(ErrorKind::unreadable, name, "cannot be opened: " + reason);
    }
    struct stat status = {};
    Result<LoadedRecording> loaded = fstat(fileno(file), &status) == 0 && S_ISDIR(status.st_mode)
                                         ? fail(ErrorKind::unreadable, name, "is a folder")
                                         : read_recording(file, name, progress);
    std::fclose(file);
    return loaded;
}

bool looks_like_pcapng(std::span<const std::uint8_t> bytes)
{
    if (bytes.size() < 12 || get<std::uint32_t>(bytes.data()) != format::section_header) {
        return false;
    }
    const auto order = get<std::uint32_t>(bytes.data() + 8);
    return order == format::byte_order_magic || order == __builtin_bswap32(format::byte_order_magic);
}

} // namespace skbscope
