// Writes recordings. Rows of the side tables always go before the events that name them, so that a reader can check
// every event as it comes.

#include "core/catalog/catalog.h"
#include "core/recording/format.h"
#include "core/recording/pcapng.h"
#include "core/recording/recording.h"
#include "core/recording/verdict_text.h"
#include "core/recording/wire.h"

#include <algorithm>
#include <map>
#include <system_error>
#include <unistd.h>
#include <unordered_map>
#include <zlib.h>
#include <zstd.h>

namespace skbscope {

namespace {

using Bytes = std::vector<std::uint8_t>;
using format::Kind;

constexpr int zstd_level = 1;
constexpr std::size_t full_payload = 1U << 20; ///< rows are cut into blocks of about this size

std::uint32_t crc_of(std::span<const std::uint8_t> bytes, std::uint32_t before = 0)
{
    return static_cast<std::uint32_t>(crc32(before, bytes.data(), static_cast<uInt>(bytes.size())));
}

/// Begins a row; end_row() fills in its length.
std::size_t begin_row(Bytes& out)
{
    put(out, std::uint32_t{0});
    return out.size();
}

void end_row(Bytes& out, std::size_t begin)
{
    set(out, begin - 4, static_cast<std::uint32_t>(out.size() - begin));
}

void put_info(Bytes& out, const TraceInfo& info)
{
    put_text(out, info.source);
    put_text(out, info.kernel_release);
    put_text(out, to_string(info.kernel));
    put(out, static_cast<std::uint8_t>(info.observed));
    put(out, static_cast<std::uint8_t>(info.times_trustworthy));
    put_text(out, info.clock);
    put(out, info.wall_offset_ns);
    put(out, info.lost_events);
    put(out, info.unattributed_events);
    put(out, info.costs_hash);
    put_text(out, info.scenario);
    put_text(out, Catalog::version());
}

void put_address(Bytes& out, const IpAddress& address)
{
    put(out, static_cast<std::uint8_t>(address.v6 ? 6 : 4));
    put_bytes(out, address.bytes);
}

void put_packet(Bytes& out, const PacketRecord& record)
{
    const FlowKey flow = record.flow.value_or(FlowKey{});
    const unsigned flags = (record.sent_here ? 1U : 0U) | (record.touched_by_loss ? 2U : 0U) |
                           (record.end_inferred ? 4U : 0U) | (record.flow ? 8U : 0U);
    put(out, to_index(record.id));
    put(out, to_index(record.parent));
    put(out, to_index(record.merged_into));
    put(out, static_cast<std::uint8_t>(record.relation));
    put(out, static_cast<std::uint8_t>(record.host));
    put(out, static_cast<std::uint8_t>(record.verdict));
    put(out, static_cast<std::uint8_t>(flags));
    put(out, static_cast<std::uint16_t>(record.reason));
    put(out, static_cast<std::uint16_t>(record.birth_function));
    put(out, static_cast<std::uint16_t>(record.end_function));
    put(out, to_index(record.device));
    put(out, record.length);
    put(out, record.birth.ns);
    put(out, record.death.ns);
    put(out, record.bytes_offset);
    put(out, record.captured_length);
    put_address(out, flow.source);
    put_address(out, flow.destination);
    put(out, flow.protocol);
    put(out, flow.ethertype);
    put(out, flow.source_port);
    put(out, flow.destination_port);
}

template <typename Column>
void put_column(Bytes& out, const Trace& trace, std::size_t first, std::size_t last, Column column)
{
    using Number = decltype(column(trace[0]));
    const std::size_t begin = out.size();
    out.resize(begin + (last - first) * sizeof(Number));
    std::uint8_t* to = out.data() + begin;
    for (std::size_t i = first; i < last; ++i, to += sizeof(Number)) {
        store(to, column(trace[i]));
    }
}

/// Column after column, because columns compress to a third of what rows compress to; times as steps.
void put_events(Bytes& out, const Trace& trace, std::size_t first, std::size_t last)
{
    out.reserve((last - first) * sizeof(Event));
    std::uint64_t before = 0;
    put_column(out, trace, first, last, [&](const Event& e) { return e.time_ns - std::exchange(before, e.time_ns); });
    put_column(out, trace, first, last, [](const Event& e) { return e.duration_ns; });
    put_column(out, trace, first, last, [](const Event& e) { return e.packet; });
    put_column(out, trace, first, last, [](const Event& e) { return e.task; });
    put_column(out, trace, first, last, [](const Event& e) { return e.arg; });
    put_column(out, trace, first, last, [](const Event& e) { return e.function; });
    put_column(out, trace, first, last, [](const Event& e) { return e.cpu; });
    put_column(out, trace, first, last, [](const Event& e) { return e.kind; });
    put_column(out, trace, first, last, [](const Event& e) { return e.flags; });
    put_column(out, trace, first, last, [](const Event& e) { return e.depth; });
    put_column(out, trace, first, last, [](const Event& e) { return e.host; });
}

struct FreeContext {
    void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
};

} // namespace

class RecordingWriter::Impl {
public:
    Impl(const Trace& trace, RecordingSink sink, std::string name, RecordingOptions options, bool complete)
        : trace_(trace), sink_(std::move(sink)), name_(std::move(name)), options_(options), complete_(complete)
    {
    }

    Result<void> update()
    {
        start();
        patch_durations(false);
        while (events_ < trace_.size()) {
            if (options_.progress != nullptr) {
                if (options_.progress->is_cancelled()) {
                    return stopped(name_);
                }
                options_.progress->reach(events_);
            }
            batch(std::min(trace_.size(), events_ + format::events_a_batch));
        }
        patch_open_durations();
        rewrite_packets(false);
        if (files_are_new()) { // of a host that is still being looked at
            files();
        }
        return outcome();
    }

    TraceMark written() const
    {
        TraceMark mark;
        mark.events = events_;
        mark.packets = packets_ + 1;
        mark.field_changes = field_changes_;
        mark.counter_changes = counter_changes_;
        mark.queue_changes = queue_changes_;
        mark.bytes = bytes_;
        return mark;
    }

    Result<void> finish()
    {
        if (options_.progress != nullptr) {
            options_.progress->begin("writing", trace_.size());
        }
        if (auto updated = update(); !updated) {
            return updated;
        }
        patch_durations(true);
        tables();
        write_packets(trace_.packet_count());
        changes(trace_.field_changes().size(), trace_.counter_changes().size(), trace_.queue_changes().size(),
                trace_.notes().size());
        own_names();
        rewrite_packets(true);
        frames(never);
        faults();
        files();
        final_info();
        Bytes payload;
        put(payload, static_cast<std::uint64_t>(trace_.size()));
        put(payload, static_cast<std::uint64_t>(trace_.packet_count()));
        emit(Kind::end, 0, 1, payload);
        return outcome();
    }

private:
    Result<void> outcome() const
    {
        if (failed_) {
            return fail(ErrorKind::unwritable, name_, "cannot be written", "is the disk full, or the reader gone?");
        }
        return {};
    }

    void send(std::span<const std::uint8_t> bytes)
    {
        if (!failed_ && !sink_(bytes)) {
            failed_ = true;
        }
    }

    void emit(Kind kind, std::uint64_t first, std::uint32_t count, std::span<const std::uint8_t> payload)
    {
        std::span<const std::uint8_t> stored = payload;
        Bytes packed;
        std::uint16_t flags = 0;
        if (options_.compress && payload.size() >= 64) {
            packed.resize(ZSTD_compressBound(payload.size()));
            const std::size_t length = ZSTD_compressCCtx(context_.get(), packed.data(), packed.size(), payload.data(),
                                                         payload.size(), zstd_level);
            if (ZSTD_isError(length) == 0 && length < payload.size() &&
                payload.size() / length < format::most_compression) {
                stored = std::span(packed).first(length);
                flags |= format::flag_zstd;
            }
        }
        Bytes body;
        body.reserve(format::header_length + stored.size());
        put(body, format::magic);
        put(body, format::major_version);
        put(body, format::minor_version);
        put(body, static_cast<std::uint16_t>(kind));
        put(body, flags);
        put(body, std::uint16_t{0});
        put(body, static_cast<std::uint32_t>(payload.size()));
        put(body, static_cast<std::uint32_t>(stored.size()));
        put(body, count);
        put(body, first);
        put(body, crc_of(stored, crc_of(body)));
        put_bytes(body, stored);
        send(pcapng::block(format::block_type, body));
    }

    /// Rows first … last of a table, each given to `fill`, in as many blocks as they need.
    template <typename Fill>
    void emit_rows(Kind kind, std::size_t first, std::size_t last, Fill fill)
    {
        Bytes payload;
        std::size_t begin = first;
        for (std::size_t row = first; row < last; ++row) {
            const std::size_t at = begin_row(payload);
            fill(payload, row);
            end_row(payload, at);
            if (payload.size() >= full_payload) {
                emit(kind, begin, static_cast<std::uint32_t>(row + 1 - begin), payload);
                payload.clear();
                begin = row + 1;
            }
        }
        if (!payload.empty()) {
            emit(kind, begin, static_cast<std::uint32_t>(last - begin), payload);
        }
    }

    void start()
    {
        if (started_) {
            return;
        }
        started_ = true;
        send(pcapng::section_header("skbscope", trace_.info.kernel_release));
        Bytes payload;
        const std::size_t row = begin_row(payload);
        put(payload, complete_ ? static_cast<std::uint64_t>(trace_.size()) : format::unknown_total);
        put(payload, complete_ ? static_cast<std::uint64_t>(trace_.packet_count()) : format::unknown_total);
        put_info(payload, trace_.info);
        end_row(payload, row);
        emit(Kind::start, 0, 1, payload);
        put_info(written_info_, trace_.info);
    }

    void final_info()
    {
        Bytes now;
        put_info(now, trace_.info);
        if (now == written_info_) {
            return;
        }
        Bytes payload;
        const std::size_t row = begin_row(payload);
        put_bytes(payload, now);
        end_row(payload, row);
        emit(Kind::info, 0, 1, payload);
        written_info_ = now;
    }

    void faults()
    {
        emit_rows(Kind::faults, 0, trace_.faults.size(), [&](Bytes& out, std::size_t row) {
            const Fault& fault = trace_.faults[row];
            put_text(out, fault.cause);
            put(out, fault.count);
            put_text(out, fault.advice);
        });
    }

    [[nodiscard]] bool files_are_new() const
    {
        return !std::ranges::equal(files_, trace_.files, [](const HostFile& a, const HostFile& b) {
            return a.host == b.host && a.name == b.name && a.space == b.space && a.text == b.text;
        });
    }

    void files()
    {
        files_ = trace_.files;
        emit_rows(Kind::files, 0, trace_.files.size(), [&](Bytes& out, std::size_t row) {
            const HostFile& file = trace_.files[row];
            put(out, static_cast<std::uint8_t>(file.host));
            put_text(out, file.space);
            put_text(out, file.name);
            put_text(out, file.text);
        });
    }

    /// What is short and may be named by any event: written whole, as far as it is new.
    void tables()
    {
        emit_rows(Kind::hosts, hosts_, trace_.hosts().size(), [&](Bytes& out, std::size_t row) {
            const HostRecord& host = trace_.hosts()[row];
            put_text(out, host.name);
            put(out, host.cpus);
        });
        hosts_ = trace_.hosts().size();
        emit_rows(Kind::tasks, tasks_, trace_.tasks().size(), [&](Bytes& out, std::size_t row) {
            const TaskRecord& task = trace_.tasks()[row];
            put_text(out, task.name);
            put(out, task.pid);
            put(out, static_cast<std::uint8_t>(task.host));
        });
        tasks_ = trace_.tasks().size();
        emit_rows(Kind::devices, devices_, trace_.devices().size(), [&](Bytes& out, std::size_t row) {
            const DeviceRecord& device = trace_.devices()[row];
            put_text(out, device.name);
            put(out, static_cast<std::uint8_t>(device.host));
            put_text(out, device.driver);
            put_bytes(out, device.mac);
            put(out, device.mtu);
        });
        devices_ = trace_.devices().size();
        emit_rows(Kind::queues, queues_, trace_.queues().size(), [&](Bytes& out, std::size_t row) {
            const QueueRecord& queue = trace_.queues()[row];
            put_text(out, queue.name);
            put(out, static_cast<std::uint8_t>(queue.kind));
            put(out, static_cast<std::uint8_t>(queue.host));
            put_text(out, Catalog::room(queue.room).key);
            put(out, queue.limit);
            put(out, static_cast<std::uint8_t>(queue.unit));
            put_text(out, queue.setting);
        });
        queues_ = trace_.queues().size();
        emit_rows(Kind::counters, counters_, trace_.counters().size(), [&](Bytes& out, std::size_t row) {
            const CounterRecord& counter = trace_.counters()[row];
            put_text(out, counter.name);
            put(out, static_cast<std::uint8_t>(counter.host));
        });
        counters_ = trace_.counters().size();
    }

    // ---- names ------------------------------------------------------------------------------------------------------
    std::string_view function_name(std::uint16_t id) const
    {
        const std::uint16_t count = Catalog::function_count();
        if (id < count) {
            return Catalog::function(static_cast<FunctionId>(id)).name;
        }
        const std::size_t own = id - std::size_t{count};
        return own < trace_.own_functions().size() ? std::string_view(trace_.own_functions()[own]) : std::string_view();
    }

    void need_function(std::uint16_t id)
    {
        if (id == 0) {
            return;
        }
        if (id >= functions_known_.size()) {
            functions_known_.resize(id + std::size_t{1});
        }
        if (!functions_known_[id]) {
            functions_known_[id] = true;
            new_functions_.push_back(id);
        }
    }

    void need_reason(std::uint16_t id)
    {
        if (id >= reasons_known_.size()) {
            reasons_known_.resize(id + std::size_t{1});
        }
        if (id != 0 && !reasons_known_[id]) {
            reasons_known_[id] = true;
            new_reasons_.push_back(id);
        }
    }

    /// The trace's own functions keep their order, so that they get the same numbers again.
    void own_names()
    {
        for (; own_functions_ < trace_.own_functions().size(); ++own_functions_) {
            need_function(static_cast<std::uint16_t>(Catalog::function_count() + own_functions_));
        }
        names();
    }

    void names()
    {
        std::ranges::sort(new_functions_);
        emit_rows(Kind::functions, 0, new_functions_.size(), [&](Bytes& out, std::size_t row) {
            put(out, new_functions_[row]);
            put_text(out, function_name(new_functions_[row]));
        });
        new_functions_.clear();
        std::ranges::sort(new_reasons_);
        emit_rows(Kind::reasons, 0, new_reasons_.size(), [&](Bytes& out, std::size_t row) {
            put(out, new_reasons_[row]);
            put_text(out, Catalog::drop_reason(static_cast<DropReasonId>(new_reasons_[row])).name);
        });
        new_reasons_.clear();
    }

    // ---- packets, changes, bytes ------------------------------------------------------------------------------------
    void bytes_until(std::uint64_t end)
    {
        end = std::min<std::uint64_t>(end, trace_.bytes().size());
        while (bytes_ < end) {
            const std::uint64_t piece = std::min<std::uint64_t>(end - bytes_, full_payload);
            emit(Kind::bytes, bytes_, static_cast<std::uint32_t>(piece), trace_.bytes().subspan(bytes_, piece));
            bytes_ += piece;
        }
    }

    void changes(std::size_t fields, std::size_t counts, std::size_t queues, std::size_t notes)
    {
        std::uint64_t bytes = 0;
        for (std::size_t row = field_changes_; row < fields; ++row) {
            const FieldChange& change = trace_.field_changes()[row];
            if (change.field == SkbField::bytes) {
                bytes = std::max({bytes, change.before + change.length, change.after + change.length});
            } else if (change.field == SkbField::destination) {
                notes = std::max<std::size_t>({notes, change.before + 1, change.after + 1});
            }
        }
        bytes_until(bytes);
        notes = std::min(notes, trace_.notes().size());
        emit_rows(Kind::notes, notes_, notes,
                  [&](Bytes& out, std::size_t row) { put_text(out, trace_.notes()[row]); });
        notes_ = std::max(notes_, notes);
        emit_rows(Kind::field_changes, field_changes_, fields, [&](Bytes& out, std::size_t row) {
            const FieldChange& change = trace_.field_changes()[row];
            put(out, static_cast<std::uint8_t>(change.field));
            put(out, change.offset);
            put(out, change.length);
            put(out, change.before);
            put(out, change.after);
        });
        field_changes_ = std::max(field_changes_, fields);
        emit_rows(Kind::counter_changes, counter_changes_, counts, [&](Bytes& out, std::size_t row) {
            const CounterChange& change = trace_.counter_changes()[row];
            put(out, to_index(change.counter));
            put(out, change.before);
            put(out, change.after);
        });
        counter_changes_ = std::max(counter_changes_, counts);
        emit_rows(Kind::queue_changes, queue_changes_, queues, [&](Bytes& out, std::size_t row) {
            const QueueChange& change = trace_.queue_changes()[row];
            put(out, static_cast<std::uint8_t>(change.what));
            put(out, to_index(change.queue));
            put(out, change.before);
            put(out, change.after);
        });
        queue_changes_ = std::max(queue_changes_, queues);
    }

    void need_names_of(const PacketRecord& record)
    {
        need_function(static_cast<std::uint16_t>(record.birth_function));
        need_function(static_cast<std::uint16_t>(record.end_function));
        need_reason(static_cast<std::uint16_t>(record.reason));
    }

    /// Packets up to that number, with their bytes.
    void write_packets(std::size_t last)
    {
        last = std::min(last, trace_.packet_count());
        std::uint64_t bytes = 0;
        for (std::size_t id = packets_ + 1; id <= last; ++id) {
            const PacketRecord& record = packet(id);
            need_names_of(record);
            bytes = std::max(bytes, record.bytes_offset + record.captured_length);
        }
        bytes_until(bytes);
        own_names();
        emit_rows(Kind::packets, packets_ + 1, last + 1, [&](Bytes& out, std::size_t id) {
            const std::size_t begin = out.size();
            put_packet(out, packet(id));
            if (!complete_) {
                written_rows_[id] = crc_of(std::span(out).subspan(begin));
            }
            open_packets_.push_back(id);
        });
        packets_ = std::max(packets_, last);
    }

    const PacketRecord& packet(std::size_t id) const { return trace_.packet(static_cast<PacketId>(id)); }

    /// Rows that changed since they were written, of packets still alive (or of all, at the end).
    void rewrite_packets(bool all)
    {
        if (complete_) {
            return;
        }
        std::vector<std::size_t> changed;
        Bytes row;
        const auto look = [&](std::size_t id) {
            row.clear();
            put_packet(row, packet(id));
            if (std::uint32_t& before = written_rows_[id]; crc_of(row) != before) {
                before = crc_of(row);
                changed.push_back(id);
                need_names_of(packet(id));
                bytes_until(packet(id).bytes_offset + packet(id).captured_length);
            }
        };
        if (all) {
            std::vector<std::size_t> ids;
            for (const auto& [id, crc] : written_rows_) {
                ids.push_back(id);
            }
            std::ranges::sort(ids);
            std::ranges::for_each(ids, look);
        } else {
            std::ranges::for_each(open_packets_, look);
        }
        names();
        for (const std::size_t id : changed) {
            // One block a row would be wasteful: neighbours go together.
            if (!run_.empty() && run_.back() + 1 != id) {
                write_run();
            }
            run_.push_back(id);
        }
        write_run();
        if (!all) {
            frames(trace_.empty() ? SimTime{} : trace_.end_time());
            forget_rows();
        }
    }

    /// Rows that the trace has forgotten are final, but for those of packets that live on.
    void forget_rows()
    {
        if (trace_.first_packet() == rows_first_) {
            return;
        }
        rows_first_ = trace_.first_packet();
        std::unordered_map<std::size_t, std::uint32_t> kept;
        for (std::size_t id = rows_first_; id <= packets_; ++id) {
            kept[id] = written_rows_[id];
        }
        for (const std::size_t id : open_packets_) {
            kept[id] = written_rows_[id];
        }
        written_rows_ = std::move(kept);
    }

    void write_run()
    {
        if (run_.empty()) {
            return;
        }
        emit_rows(Kind::packets, run_.front(), run_.back() + 1,
                  [&](Bytes& out, std::size_t id) { put_packet(out, packet(id)); });
        run_.clear();
    }

    /// Frame blocks of the packets that have ended by t; `never`: of all that are left.
    void frames(SimTime t)
    {
        std::erase_if(open_packets_, [&](std::size_t id) {
            const PacketRecord& record = packet(id);
            if (t != never && (record.death == never || record.death > t)) {
                return false;
            }
            frame(record);
            return true;
        });
    }

    void frame(const PacketRecord& record)
    {
        const auto bytes = trace_.frame(record.id);
        if (bytes.empty()) {
            return;
        }
        const std::string comment = verdict_text(trace_, record.id);
        const std::int64_t wall =
            record.birth == never ? 0 : static_cast<std::int64_t>(record.birth.ns) + trace_.info.wall_offset_ns;
        send(pcapng::enhanced_packet({.interface = interface_of(record.device),
                                      .wall_ns = static_cast<std::uint64_t>(std::max<std::int64_t>(wall, 0)),
                                      .bytes = bytes,
                                      .wire_length = record.length,
                                      .outbound = record.sent_here,
                                      .packet_id = to_index(record.id),
                                      .comment = comment}));
    }

    /// An interface is described when its first frame comes.
    std::uint32_t interface_of(DeviceId id)
    {
        const auto [entry, is_new] = interfaces_.try_emplace(id, static_cast<std::uint32_t>(interfaces_.size()));
        if (is_new) {
            const DeviceRecord& device = trace_.device(id);
            std::string name = id == DeviceId::none ? "(no device)" : device.name;
            if (id != DeviceId::none && trace_.hosts().size() > 1 && to_index(device.host) < trace_.hosts().size()) {
                name = trace_.hosts()[to_index(device.host)].name + ":" + name;
            }
            send(pcapng::interface_description(name, device.driver, device.mac));
        }
        return entry->second;
    }

    // ---- events -----------------------------------------------------------------------------------------------------
    void batch(std::size_t last)
    {
        std::size_t packets = 0;
        std::size_t fields = 0;
        std::size_t counts = 0;
        std::size_t queues = 0;
        std::size_t notes = 0;
        for (std::size_t i = events_; i < last; ++i) {
            const Event& event = trace_[i];
            packets = std::max<std::size_t>(packets, event.packet);
            need_function(event.function);
            const std::size_t behind = event.arg + std::size_t{1};
            switch (event.event_kind()) {
            case EventKind::drop: need_reason(static_cast<std::uint16_t>(event.arg)); break;
            case EventKind::clone:
            case EventKind::merge:
            case EventKind::split: packets = std::max<std::size_t>(packets, event.arg); break;
            case EventKind::field: fields = std::max(fields, behind); break;
            case EventKind::counter: counts = std::max(counts, behind); break;
            case EventKind::queue: queues = std::max(queues, behind); break;
            case EventKind::setting:
            case EventKind::note: notes = std::max(notes, behind); break;
            default: break;
            }
            remember_open(i, event);
        }
        tables();
        changes(std::min(fields, trace_.field_changes().size()), std::min(counts, trace_.counter_changes().size()),
                std::min(queues, trace_.queue_changes().size()), std::min(notes, trace_.notes().size()));
        write_packets(packets);
        Bytes payload;
        put_events(payload, trace_, events_, last);
        emit(Kind::events, events_, static_cast<std::uint32_t>(last - events_), payload);
        events_ = last;
        if (complete_) {
            frames(trace_[last - 1].time());
        }
    }

    struct Open {
        std::size_t ordinal;
        std::uint8_t depth;
    };

    /// A call without its end may get it later. When another call begins at its depth it has ended for good, and is
    /// looked at once more.
    void remember_open(std::size_t ordinal, const Event& event)
    {
        if (complete_ || !event.is_call()) {
            return;
        }
        auto& lane = open_calls_[event.cpu * 4U + static_cast<unsigned>(event.context())];
        while (!lane.empty() && lane.back().depth >= event.depth) {
            ended_calls_.push_back(lane.back().ordinal);
            lane.pop_back();
        }
        if (!event.has_end()) {
            lane.push_back({ordinal, event.depth});
        }
    }

    /// Of those calls that are still remembered as open but have returned: their records may soon be forgotten.
    void patch_open_durations()
    {
        if (complete_) {
            return;
        }
        for (auto& [lane, calls] : open_calls_) {
            std::erase_if(calls, [&](const Open& call) {
                const bool ended = trace_[call.ordinal].has_end();
                if (ended) {
                    ended_calls_.push_back(call.ordinal);
                }
                return ended;
            });
        }
        patch_durations(false);
    }

    void patch_durations(bool all)
    {
        Bytes payload;
        std::uint32_t count = 0;
        const auto patch = [&](std::size_t ordinal) {
            if (!trace_[ordinal].has_end() || ordinal >= events_) {
                return false;
            }
            put(payload, static_cast<std::uint64_t>(ordinal));
            put(payload, trace_[ordinal].duration_ns);
            ++count;
            return true;
        };
        std::vector<std::size_t> ended;
        std::swap(ended, ended_calls_);
        std::ranges::sort(ended);
        for (const std::size_t ordinal : ended) {
            patch(ordinal);
        }
        for (auto& [lane, calls] : open_calls_) {
            std::erase_if(calls, [&](const Open& call) { return patch(call.ordinal) || all; });
        }
        if (count > 0) {
            emit(Kind::durations, 0, count, payload);
        }
    }

    const Trace& trace_;
    RecordingSink sink_;
    std::string name_;
    RecordingOptions options_;
    bool complete_; ///< the trace will not grow: every row is final when it is written
    bool started_ = false;
    bool failed_ = false;
    std::unique_ptr<ZSTD_CCtx, FreeContext> context_{ZSTD_createCCtx()};

    // How far each table has been written.
    std::size_t events_ = 0;
    std::size_t packets_ = 0;
    std::size_t hosts_ = 0;
    std::size_t tasks_ = 1;
    std::size_t devices_ = 1;
    std::size_t queues_ = 1;
    std::vector<HostFile> files_; ///< as they were written last
    std::size_t counters_ = 1;
    std::size_t field_changes_ = 1;
    std::size_t counter_changes_ = 1;
    std::size_t queue_changes_ = 1;
    std::size_t notes_ = 1;
    std::uint64_t bytes_ = 0;
    std::size_t own_functions_ = 0;
    Bytes written_info_;
    std::vector<bool> functions_known_, reasons_known_;
    std::vector<std::uint16_t> new_functions_, new_reasons_;
    std::vector<std::size_t> open_packets_;    ///< written, frame block not
    std::unordered_map<std::size_t, std::uint32_t> written_rows_; ///< CRC of each packet's row as written
    std::size_t rows_first_ = 1;               ///< the trace's first packet when they were last looked through
    std::vector<std::size_t> run_;
    std::map<DeviceId, std::uint32_t> interfaces_;
    std::map<unsigned, std::vector<Open>> open_calls_; ///< by cpu * 4 + context
    std::vector<std::size_t> ended_calls_;
};

RecordingWriter::RecordingWriter(const Trace& trace, RecordingSink sink, std::string name, RecordingOptions options)
    : impl_(std::make_unique<Impl>(trace, std::move(sink), std::move(name), options, false))
{
}

RecordingWriter::~RecordingWriter() = default;
RecordingWriter::RecordingWriter(RecordingWriter&&) noexcept = default;
RecordingWriter& RecordingWriter::operator=(RecordingWriter&&) noexcept = default;

Result<void> RecordingWriter::update()
{
    return impl_->update();
}

TraceMark RecordingWriter::written() const { return impl_->written(); }
Result<void> RecordingWriter::finish()
{
    return impl_->finish();
}

Result<void> write_recording_to(const Trace& trace, const RecordingSink& sink, const std::string& name,
                                const RecordingOptions& options)
{
    return RecordingWriter::Impl(trace, sink, name, options, true).finish();
}

RecordingSink sink_to(std::FILE* file)
{
    return [file](std::span<const std::uint8_t> bytes) {
        return std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size() && std::fflush(file) == 0;
    };
}

namespace {

std::string reason_of(int error) { return std::error_code(error, std::generic_category()).message(); }

/// A device or a pipe, or a link to one: it has its name already, and keeps it.
bool is_special(const std::filesystem::path& path)
{
    std::error_code error;
    return std::filesystem::exists(path, error) && !std::filesystem::is_regular_file(path, error);
}

/// Where the bytes belong: where a link leads to, so that the link stays.
std::filesystem::path place_of(const std::filesystem::path& path)
{
    constexpr int most_links = 40; // as the kernel follows (include/linux/namei.h: MAXSYMLINKS)
    std::filesystem::path place = path;
    std::error_code error;
    for (int i = 0; i < most_links && !is_special(path) && std::filesystem::is_symlink(place, error); ++i) {
        place = place.parent_path() / std::filesystem::read_symlink(place, error);
    }
    return place;
}

/// A file that gets its name when it is whole.
class NewFile {
public:
    explicit NewFile(std::filesystem::path path) : path_(std::move(path)), place_(place_of(path_)), temporary_(place_)
    {
        if (!is_special(place_)) {
            temporary_ += ".skbscope.tmp";
        }
        file_ = std::fopen(temporary_.c_str(), "wb");
        error_ = errno;
    }
    ~NewFile()
    {
        if (file_ != nullptr) {
            std::fclose(file_);
            remove();
        }
    }
    NewFile(const NewFile&) = delete;
    NewFile& operator=(const NewFile&) = delete;

    Result<void> opened() const
    {
        if (file_ == nullptr) {
            return fail(ErrorKind::unwritable, path_.string(), "cannot be written: " + reason_of(error_));
        }
        return {};
    }
    RecordingSink sink()
    {
        return [file = file_](std::span<const std::uint8_t> bytes) {
            return std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
        };
    }
    /// `written`: what came of writing it.
    Result<void> close(Result<void> written)
    {
        const bool closed = std::fclose(std::exchange(file_, nullptr)) == 0;
        std::error_code error;
        if (written && closed && temporary_ == place_) {
            return {};
        }
        if (written && closed) {
            std::filesystem::rename(temporary_, place_, error);
            if (!error) {
                return {};
            }
        }
        const std::string reason = error ? error.message() : "is the disk full?";
        remove();
        return written && !closed ? fail(ErrorKind::unwritable, path_.string(), "cannot be written", "is the disk full?")
               : written          ? fail(ErrorKind::unwritable, path_.string(), "cannot be written: " + reason)
                                  : written;
    }

private:
    void remove()
    {
        std::error_code error;
        if (temporary_ != place_) {
            std::filesystem::remove(temporary_, error);
        }
    }

    std::filesystem::path path_, place_, temporary_;
    std::FILE* file_ = nullptr;
    int error_ = 0;
};

} // namespace

Result<void> write_recording(const Trace& trace, const std::filesystem::path& path, const RecordingOptions& options)
{
    NewFile file(path);
    if (auto opened = file.opened(); !opened) {
        return opened;
    }
    return file.close(write_recording_to(trace, file.sink(), path.string(), options));
}

class RecordingFile::Impl {
public:
    Impl(const Trace& trace, const std::filesystem::path& path, const RecordingOptions& options)
        : file(path), writer(trace, file.sink(), path.string(), options)
    {
    }
    NewFile file;
    RecordingWriter writer;
};

RecordingFile::RecordingFile(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RecordingFile::~RecordingFile() = default;
RecordingFile::RecordingFile(RecordingFile&&) noexcept = default;
RecordingFile& RecordingFile::operator=(RecordingFile&&) noexcept = default;

Result<RecordingFile> RecordingFile::create(const Trace& trace, const std::filesystem::path& path, const RecordingOptions& options)
{
    auto impl = std::make_unique<Impl>(trace, path, options);
    if (auto opened = impl->file.opened(); !opened) {
        return tl::unexpected(opened.error());
    }
    return RecordingFile(std::move(impl));
}

Result<void> RecordingFile::update() { return impl_->writer.update(); }
Result<void> RecordingFile::finish() { return impl_->file.close(impl_->writer.finish()); }
TraceMark RecordingFile::written() const { return impl_->writer.written(); }

} // namespace skbscope
