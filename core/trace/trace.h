#pragma once
// A Trace: events in time order in fixed-size chunks, and the side tables they point into. Append-only. Whoever
// writes it (model, correlator, reader) keeps the order; everything behind it only reads.

#include "core/packet/flow.h"
#include "core/trace/event.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <vector>

namespace skbscope {

/// How a packet came from another one.
enum class Relation : std::uint8_t { none, clone, split, copy };

/// One packet on one host, from birth to end.
struct PacketRecord {
    PacketId id = PacketId::none;
    PacketId parent = PacketId::none;      ///< of a clone, piece or copy
    PacketId merged_into = PacketId::none; ///< when the verdict is merged
    Relation relation = Relation::none;
    HostId host{};
    Verdict verdict = Verdict::in_flight;
    DropReasonId reason = DropReasonId::none;
    DeviceId device = DeviceId::none; ///< where it came in, or where it was first sent to
    bool sent_here = false;           ///< born by a send of this host (not received)
    bool touched_by_loss = false;     ///< records were lost during its life
    bool end_inferred = false;        ///< its end was concluded, not seen
    std::uint32_t length = 0;         ///< bytes on the wire, Ethernet header included, checksum not; 0: unknown
    SimTime birth = never;
    SimTime death = never; ///< `never`: alive when the trace ended
    FunctionId birth_function = FunctionId::none;
    FunctionId end_function = FunctionId::none;
    std::optional<FlowKey> flow; ///< empty: no bytes and no event that names it
    /// The frame's bytes in Trace::bytes(); captured_length may be below length.
    std::uint64_t bytes_offset = 0;
    std::uint32_t captured_length = 0;
};

struct TaskRecord {
    std::string name;
    std::int32_t pid = 0;
    HostId host{};
};

struct DeviceRecord {
    std::string name;
    HostId host{};
    std::string driver;                 ///< "e1000"; may be empty
    std::array<std::uint8_t, 6> mac{};
    std::uint32_t mtu = 0; ///< 0: unknown
};

enum class QueueKind : std::uint8_t { wire, rx_ring, gro_list, backlog, socket, reader, arp_queue, qdisc, tx_ring, other };
enum class QueueUnit : std::uint8_t { packets, bytes };

struct QueueRecord {
    std::string name; ///< "backlog CPU 1", "eth0 RX ring", ":53 receive queue"
    QueueKind kind = QueueKind::other;
    HostId host{};
    RoomId room = RoomId::none;
    std::uint64_t limit = 0; ///< at the start; 0: none
    QueueUnit unit = QueueUnit::packets;
    std::string setting; ///< the setting that governs the limit; may be empty
};

struct CounterRecord {
    std::string name; ///< "softnet_stat.dropped CPU 1", "Udp.InDatagrams", "eth0.rx_missed_errors"
    HostId host{};
};

struct HostRecord {
    std::string name;
    std::uint16_t cpus = 0;
};

/// What of a sk_buff can change. Offsets are relative to skb->head, as the kernel's u16 header offsets are.
enum class SkbField : std::uint8_t {
    data, tail, end,                                   // offsets of the pointers from head
    len, data_len, truesize,                           // bytes
    mac_header, network_header, transport_header,      // offsets from head; 65535: not set
    protocol, pkt_type, ip_summed, device, hash, mark, // device: DeviceId
    destination,                                       // skb_dst: row of Trace::notes(), 0 none
    socket,                                            // skb->sk: QueueId of its socket, 0 none
    users, queue_mapping, priority,
    bytes, // frame bytes [offset, offset+length) changed; before/after are offsets into Trace::bytes()
};
inline constexpr int skb_field_count = static_cast<int>(SkbField::bytes) + 1;

struct FieldChange {
    SkbField field = SkbField::len;
    std::uint32_t offset = 0; ///< of `bytes` only: within the frame
    std::uint32_t length = 0; ///< of `bytes` only
    std::uint64_t before = 0;
    std::uint64_t after = 0;
};

struct CounterChange {
    CounterId counter = CounterId::none;
    std::uint64_t before = 0;
    std::uint64_t after = 0;
};

struct QueueChange {
    enum class What : std::uint8_t { limit, fill } what = What::limit; ///< fill: bytes held, of a queue with that unit
    QueueId queue = QueueId::none;
    std::uint64_t before = 0;
    std::uint64_t after = 0;
};

/// Events that could not be given to a packet, and other trouble, counted by cause.
struct Fault {
    std::string cause;  ///< "unattributed: function before the first tracepoint"
    std::uint64_t count = 0;
    std::string advice; ///< one line; may be empty
};

/// What a file of /proc or a tool of a host said when the trace ended.
struct HostFile {
    HostId host{};
    std::string space; ///< network namespace; empty: the host's initial one
    std::string name;  ///< "snmp", "softnet_stat", "tc"
    std::string text;
};

/// What is true of the whole trace.
struct TraceInfo {
    std::string source;         ///< "model: lessons/01…/scenario.yaml", "trace-cmd: trace.dat"
    std::string kernel_release; ///< "6.1.0-56-amd64"; for a model "6.1 (model)"
    KernelVersion kernel = KernelVersion::v6_1;
    bool observed = false;           ///< a real kernel wrote it
    bool times_trustworthy = true;   ///< false: an emulated CPU; order real, times not
    std::string clock = "model";     ///< name of the trace clock
    std::int64_t wall_offset_ns = 0; ///< wall time of an event = its time + this
    std::uint64_t lost_events = 0;
    std::uint64_t unattributed_events = 0;
    std::uint64_t costs_hash = 0; ///< of the model's cost table; 0 if not a model
    std::string scenario;         ///< of a model: the scenario's text, so that a recording can be run again
};

/// How far a trace had grown: a place that rewind() comes back to.
struct TraceMark {
    std::size_t events = 0, packets = 0, tasks = 0, devices = 0, queues = 0, counters = 0, hosts = 0;
    std::size_t field_changes = 0, counter_changes = 0, queue_changes = 0, notes = 0, bytes = 0, own_functions = 0;
    std::size_t old_events = 0, old_packets = 0; ///< rows of what was kept of changes to earlier rows
};

/// Rows of plain things in one piece of memory, which grows where it lies if it can: nothing is copied, no page is touched
/// twice. Rows from the front may be forgotten; the others keep their numbers.
template <typename T>
class Table {
    static_assert(std::is_trivially_copyable_v<T>);

public:
    Table() = default;
    ~Table() { std::free(rows_); }
    Table(Table&& other) noexcept { *this = std::move(other); }
    Table& operator=(Table&& other) noexcept
    {
        std::swap(rows_, other.rows_);
        std::swap(room_, other.room_);
        std::swap(held_, other.held_);
        std::swap(first_, other.first_);
        return *this;
    }
    Table(const Table& other) { *this = other; }
    Table& operator=(const Table& other)
    {
        if (this != &other) {
            first_ = other.first_;
            held_ = 0;
            append(other.rows_, other.held_);
        }
        return *this;
    }
    /// Of all rows there ever were.
    [[nodiscard]] std::size_t size() const { return first_ + held_; }
    /// The first that has not been forgotten.
    [[nodiscard]] std::size_t first() const { return first_; }
    [[nodiscard]] T& operator[](std::size_t row) { return rows_[row - first_]; }
    [[nodiscard]] const T& operator[](std::size_t row) const { return rows_[row - first_]; }
    /// Those that are held, from first() on.
    [[nodiscard]] std::span<const T> held() const { return {rows_, held_}; }
    [[nodiscard]] const T* begin() const { return rows_; }
    [[nodiscard]] const T* end() const { return rows_ + held_; }
    [[nodiscard]] bool empty() const { return size() == 0; }
    /// Precondition: they are held.
    [[nodiscard]] std::span<const T> subspan(std::size_t from, std::size_t count) const { return held().subspan(from - first_, count); }
    T& push_back(const T& row)
    {
        if (held_ == room_) {
            const T copy = row; // it may lie in here
            grow(held_ + 1);
            return *new (rows_ + held_++) T(copy);
        }
        return *new (rows_ + held_++) T(row);
    }
    /// The next row must make room.
    [[nodiscard]] bool full() const { return held_ == room_; }
    void make_room() { grow(held_ + 1); }
    /// A row more, to be filled by the caller.
    T& push()
    {
        if (held_ == room_) [[unlikely]] {
            grow(held_ + 1);
        }
        return rows_[held_++];
    }
    void append(const T* from, std::size_t count)
    {
        if (count == 0) {
            return;
        }
        grow(held_ + count);
        std::memcpy(static_cast<void*>(rows_ + held_), from, count * sizeof(T));
        held_ += count;
    }
    /// Keeps the memory. Precondition: first() <= size <= size().
    void shrink(std::size_t size) { held_ = size - first_; }
    void clear()
    {
        first_ = held_ = 0;
    }
    /// Rows before that one are not asked for any more.
    void forget(std::size_t before)
    {
        if (before <= first_) {
            return;
        }
        const std::size_t gone = before - first_;
        std::memmove(static_cast<void*>(rows_), rows_ + gone, (held_ - gone) * sizeof(T));
        held_ -= gone;
        first_ = before;
    }

private:
    void grow(std::size_t needed)
    {
        if (needed <= room_) {
            return;
        }
        const std::size_t room = std::max(needed, room_ + room_ / 2 + 64);
        void* memory = std::realloc(static_cast<void*>(rows_), room * sizeof(T));
        if (memory == nullptr) {
            throw std::bad_alloc();
        }
        rows_ = static_cast<T*>(memory);
        room_ = room;
    }

    T* rows_ = nullptr;
    std::size_t room_ = 0, held_ = 0, first_ = 0;
};

class Trace {
public:
    static constexpr std::size_t chunk_events = 65536; ///< 2 MiB a chunk: one huge page

    Trace();
    ~Trace();
    Trace(Trace&&) noexcept;
    Trace& operator=(Trace&&) noexcept;
    Trace(const Trace&) = delete;
    Trace& operator=(const Trace&) = delete;

    TraceInfo info;
    std::vector<Fault> faults;
    std::vector<HostFile> files; ///< may be empty

    /// Off: the driver runs on and counts, but what happens is not kept, and rows of packets are used again (a packet's
    /// id then means something only while it lives). For runs of which only the sums are wanted.
    void set_recording(bool on) { recording_ = on; }
    [[nodiscard]] bool recording() const { return recording_; }

    // ---- events -------------------------------------------------------------------------------------------------
    /// Appends; time must not be before the last event's. The reference is good until the next append.
    Event& append(const Event& event)
    {
        if (cursor_ == chunk_end_) [[unlikely]] {
            grow();
        }
        *cursor_ = event;
        return *cursor_++;
    }
    /// … several, in order of time.
    void append_all(std::span<const Event> events)
    {
        while (!events.empty()) {
            if (cursor_ == chunk_end_) [[unlikely]] {
                grow();
            }
            const std::size_t count = std::min(events.size(), static_cast<std::size_t>(chunk_end_ - cursor_));
            std::memcpy(static_cast<void*>(cursor_), events.data(), count * sizeof(Event));
            cursor_ += count;
            events = events.subspan(count);
        }
    }
    /// … those from `at` on that lie before that time, up to `stop`, which is not `at`; the first in any case. Where it ended.
    template <typename EventPointer>
    EventPointer append_before(EventPointer at, EventPointer stop, std::uint64_t time_ns)
    {
        if (stop - at > chunk_end_ - cursor_) [[unlikely]] {
            do {
                append(*at++);
            } while (at != stop && at->time_ns < time_ns);
            return at;
        }
        Event* to = cursor_;
        do {
            *to++ = *at++;
        } while (at != stop && at->time_ns < time_ns);
        cursor_ = to;
        return at;
    }
    [[nodiscard]] std::size_t size() const
    {
        return chunks_in_use_ == 0 ? 0 : chunks_in_use_ * chunk_events - static_cast<std::size_t>(chunk_end_ - cursor_);
    }
    [[nodiscard]] bool empty() const { return size() == 0; }
    [[nodiscard]] const Event& operator[](std::size_t ordinal) const
    {
        const Event* chunk = chunks_[ordinal / chunk_events].get();
        return chunk != nullptr ? chunk[ordinal % chunk_events] : old_event(ordinal);
    }
    [[nodiscard]] Event& mutable_event(std::size_t ordinal)
    {
        Event* chunk = chunks_[ordinal / chunk_events].get();
        if (chunk == nullptr) [[unlikely]] {
            return old_event(ordinal);
        }
        Event& event = chunk[ordinal % chunk_events];
        if (ordinal < marked_.events) [[unlikely]] {
            old_events_.emplace_back(ordinal, event);
        }
        return event;
    }
    /// Ordinal of the first event at or after t; size() if none.
    [[nodiscard]] std::size_t lower_bound(SimTime t) const;
    [[nodiscard]] SimTime begin_time() const { return empty() ? SimTime{} : (*this)[0].time(); }
    [[nodiscard]] SimTime end_time() const { return empty() ? SimTime{} : (*this)[size() - 1].time(); }
    /// Forgets events and tables; keeps the chunks for reuse.
    void clear();
    /// From here on, rows that are there already are kept as they are before they change, so that rewind() can bring them
    /// back. Costs nothing that grows with the trace.
    [[nodiscard]] TraceMark mark();
    /// The trace as it was at that mark of its own, to the byte. Marks made after it are no longer good. `info` and
    /// `faults` stay, `files` go.
    void rewind(const TraceMark& mark);
    /// For a trace that is written away while it grows: what lies before is not asked for any more, and its memory serves
    /// what comes. Calls without their end and packets that are alive stay readable, the latter with their frames; so do
    /// some thousand packets more. Neither marks nor copies of such a trace are any good.
    void forget_before(const TraceMark& written);
    /// How many packets have each verdict, those that were forgotten among them. Index: Verdict.
    [[nodiscard]] std::array<std::uint64_t, verdict_count> verdicts() const;
    /// … and how many were dropped for what reason, in which function.
    [[nodiscard]] std::map<std::pair<DropReasonId, FunctionId>, std::uint64_t> drops() const;
    /// The first packet that packets() shows: 1 if none was forgotten.
    [[nodiscard]] std::size_t first_packet() const { return std::max<std::size_t>(packets_.first(), 1); }
    /// A copy of everything, marks included. Costs what a copy of the memory costs.
    [[nodiscard]] Trace copy() const;

    // ---- tables: ids are rows; row 0 is "none" (of tasks: the idle task) ----------------------------------------------
    PacketId add_packet(PacketRecord record); ///< sets record.id
    [[nodiscard]] const PacketRecord& packet(PacketId id) const
    {
        return to_index(id) >= packets_.first() ? packets_[to_index(id)] : old_packet(id).record;
    }
    [[nodiscard]] PacketRecord& mutable_packet(PacketId id)
    {
        if (to_index(id) < packets_.first()) [[unlikely]] {
            return old_packet(id).record;
        }
        PacketRecord& record = packets_[to_index(id)];
        if (to_index(id) < marked_.packets) [[unlikely]] {
            old_packets_.push_back(record);
        }
        return record;
    }
    [[nodiscard]] bool has_packet(PacketId id) const { return to_index(id) != 0 && to_index(id) < packets_.size(); }
    [[nodiscard]] std::size_t packet_count() const { return packets_.size() - 1; }
    /// Packets first_packet() … packet_count(), in order of birth.
    [[nodiscard]] std::span<const PacketRecord> packets() const { return packets_.held().subspan(packets_.first() == 0 ? 1 : 0); }

    TaskId add_task(TaskRecord record);
    DeviceId add_device(DeviceRecord record);
    QueueId add_queue(QueueRecord record);
    CounterId add_counter(CounterRecord record);
    HostId add_host(HostRecord record);
    [[nodiscard]] std::span<const TaskRecord> tasks() const { return tasks_; }
    [[nodiscard]] std::span<const DeviceRecord> devices() const { return devices_; }
    [[nodiscard]] std::span<const QueueRecord> queues() const { return queues_; }
    [[nodiscard]] std::span<const CounterRecord> counters() const { return counters_; }
    [[nodiscard]] std::span<const HostRecord> hosts() const { return hosts_; }
    [[nodiscard]] const TaskRecord& task(TaskId id) const { return tasks_[to_index(id)]; }
    [[nodiscard]] const DeviceRecord& device(DeviceId id) const { return devices_[to_index(id)]; }
    [[nodiscard]] const QueueRecord& queue(QueueId id) const { return queues_[to_index(id)]; }
    [[nodiscard]] const CounterRecord& counter(CounterId id) const { return counters_[to_index(id)]; }
    [[nodiscard]] DeviceId find_device(std::string_view name) const; ///< none if absent

    std::uint32_t add_field_change(FieldChange change);
    std::uint32_t add_counter_change(CounterChange change);
    /// The same, written member by member where it stays: a model adds a hundred with every packet.
    std::uint32_t add_field_change(SkbField field, std::uint64_t before, std::uint64_t after)
    {
        FieldChange& row = field_changes_.push();
        row.field = field;
        row.offset = row.length = 0;
        row.before = before;
        row.after = after;
        return static_cast<std::uint32_t>(field_changes_.size() - 1);
    }
    void reserve_field_changes() { field_changes_.make_room(); }
    std::uint32_t add_counter_change(CounterId counter, std::uint64_t before, std::uint64_t after)
    {
        CounterChange& row = counter_changes_.push();
        row.counter = counter;
        row.before = before;
        row.after = after;
        return static_cast<std::uint32_t>(counter_changes_.size() - 1);
    }
    std::uint32_t add_queue_change(QueueChange change);
    std::uint32_t add_note(std::string text);
    std::uint32_t intern_note(const std::string& text); ///< the row that bears this text already, if one does
    [[nodiscard]] const Table<FieldChange>& field_changes() const { return field_changes_; }
    [[nodiscard]] const Table<CounterChange>& counter_changes() const { return counter_changes_; }
    [[nodiscard]] const Table<QueueChange>& queue_changes() const { return queue_changes_; }
    [[nodiscard]] std::span<const std::string> notes() const { return notes_; }

    /// Keeps a copy of the bytes; returns their offset in bytes().
    std::uint64_t add_bytes(std::span<const std::uint8_t> bytes);
    [[nodiscard]] const Table<std::uint8_t>& bytes() const { return bytes_; }
    /// The frame of the packet as captured (Ethernet header first); empty if there is none.
    [[nodiscard]] std::span<const std::uint8_t> frame(PacketId id) const;
    void set_frame(PacketId id, std::span<const std::uint8_t> frame);

    // ---- functions ------------------------------------------------------------------------------------------------
    /// Id of that name: the catalog's if it has it, else one of this trace's own.
    FunctionId function_named(std::string_view name);
    /// The name as this trace's kernel bears it (the catalog's name for a model).
    [[nodiscard]] std::string_view function_name(FunctionId id) const;
    [[nodiscard]] std::span<const std::string> own_functions() const { return own_functions_; }

private:
    static constexpr std::size_t rows_without_recording = 65536; ///< more than can be alive at a time
    static constexpr std::size_t rows_kept = 4096;               ///< of packets that have died, by forget_before()

    /// A packet that lived when its row was forgotten.
    struct OldPacket {
        PacketRecord record;
        std::vector<std::uint8_t> frame;
    };

    void grow();
    [[nodiscard]] const Event& old_event(std::size_t ordinal) const;
    [[nodiscard]] Event& old_event(std::size_t ordinal);
    [[nodiscard]] const OldPacket& old_packet(PacketId id) const;
    [[nodiscard]] OldPacket& old_packet(PacketId id);
    void forget_packets(std::size_t before);
    void count_forgotten(const PacketRecord& record);

    struct FreeChunk {
        void operator()(Event* chunk) const;
    };
    std::vector<std::unique_ptr<Event[], FreeChunk>> chunks_;
    std::size_t chunks_in_use_ = 0;
    bool recording_ = true;
    std::uint64_t packets_forgotten_ = 0;
    Event* cursor_ = nullptr;
    Event* chunk_end_ = nullptr;

    Table<PacketRecord> packets_;
    std::vector<TaskRecord> tasks_;
    std::vector<DeviceRecord> devices_;
    std::vector<QueueRecord> queues_;
    std::vector<CounterRecord> counters_;
    std::vector<HostRecord> hosts_;
    Table<FieldChange> field_changes_;
    Table<CounterChange> counter_changes_;
    Table<QueueChange> queue_changes_;
    std::vector<std::string> notes_;
    std::unordered_map<std::string, std::uint32_t> note_rows_; ///< of intern_note()
    Table<std::uint8_t> bytes_;
    std::vector<std::string> own_functions_;
    std::unordered_map<std::string, FunctionId> own_function_ids_;

    TraceMark marked_; ///< the last mark
    std::vector<std::pair<std::size_t, Event>> old_events_; ///< as they were before a change behind a mark, oldest first
    std::vector<PacketRecord> old_packets_;

    // Of forget_before().
    std::size_t first_chunk_ = 0; ///< those before are null
    std::vector<std::unique_ptr<Event[], FreeChunk>> spare_chunks_;
    std::map<std::size_t, Event> open_events_; ///< of chunks that are gone: calls without their end
    std::map<PacketId, OldPacket> living_;     ///< of rows that are gone
    Event no_event_;                           ///< what is written to those that are gone for good
    OldPacket no_packet_;
    std::array<std::uint64_t, verdict_count> forgotten_{};
    std::map<std::pair<DropReasonId, FunctionId>, std::uint64_t> forgotten_drops_;
};

[[nodiscard]] std::string_view to_string(Verdict verdict);
[[nodiscard]] std::string_view to_string(EventKind kind);
[[nodiscard]] std::string_view to_string(Confidence confidence);
[[nodiscard]] std::string_view to_string(QueueKind kind);
[[nodiscard]] std::string_view to_string(SkbField field);
/// "model", "function", "function+tracepoint", …
[[nodiscard]] std::string via_text(std::uint8_t via);

} // namespace skbscope
