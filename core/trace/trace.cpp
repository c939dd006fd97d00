#include "core/trace/trace.h"

#include "core/catalog/catalog.h"
#include "core/trace/ready_memory.h"

#include <algorithm>
#include <cassert>
#include <cstdlib>
#include <fmt/format.h>

namespace skbscope {

void Trace::FreeChunk::operator()(Event* chunk) const
{
    std::free(chunk);
}

Trace::Trace()
{
    packets_.push_back({});
    tasks_.push_back({"idle", 0, {}});
    devices_.emplace_back();
    queues_.emplace_back();
    counters_.emplace_back();
    field_changes_.push_back({});
    counter_changes_.push_back({});
    queue_changes_.push_back({});
    notes_.emplace_back();
}

Trace::~Trace() = default;

Trace::Trace(Trace&& other) noexcept : Trace()
{
    *this = std::move(other);
}

Trace& Trace::operator=(Trace&& other) noexcept
{
    std::swap(info, other.info);
    std::swap(faults, other.faults);
    std::swap(files, other.files);
    std::swap(chunks_, other.chunks_);
    std::swap(chunks_in_use_, other.chunks_in_use_);
    std::swap(recording_, other.recording_);
    std::swap(packets_forgotten_, other.packets_forgotten_);
    std::swap(cursor_, other.cursor_);
    std::swap(chunk_end_, other.chunk_end_);
    std::swap(packets_, other.packets_);
    std::swap(tasks_, other.tasks_);
    std::swap(devices_, other.devices_);
    std::swap(queues_, other.queues_);
    std::swap(counters_, other.counters_);
    std::swap(hosts_, other.hosts_);
    std::swap(field_changes_, other.field_changes_);
    std::swap(counter_changes_, other.counter_changes_);
    std::swap(queue_changes_, other.queue_changes_);
    std::swap(notes_, other.notes_);
    std::swap(note_rows_, other.note_rows_);
    std::swap(bytes_, other.bytes_);
    std::swap(own_functions_, other.own_functions_);
    std::swap(own_function_ids_, other.own_function_ids_);
    std::swap(marked_, other.marked_);
    std::swap(old_events_, other.old_events_);
    std::swap(old_packets_, other.old_packets_);
    std::swap(first_chunk_, other.first_chunk_);
    std::swap(spare_chunks_, other.spare_chunks_);
    std::swap(open_events_, other.open_events_);
    std::swap(living_, other.living_);
    std::swap(forgotten_, other.forgotten_);
    std::swap(forgotten_drops_, other.forgotten_drops_);
    return *this;
}

void Trace::grow()
{
    if (chunks_in_use_ == chunks_.size() && !spare_chunks_.empty()) {
        chunks_.push_back(std::move(spare_chunks_.back()));
        spare_chunks_.pop_back();
    }
    if (chunks_in_use_ == chunks_.size()) {
        static_assert(chunk_events * sizeof(Event) == ready_memory::chunk_bytes);
        chunks_.emplace_back(static_cast<Event*>(ready_memory::take()));
    }
    cursor_ = chunks_[chunks_in_use_].get();
    chunk_end_ = cursor_ + chunk_events;
    ++chunks_in_use_;
}

std::size_t Trace::lower_bound(SimTime t) const
{
    std::size_t low = 0;
    std::size_t high = size();
    while (low < high) {
        const std::size_t middle = low + (high - low) / 2;
        if ((*this)[middle].time() < t) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

void Trace::clear()
{
    // The memory stays: fresh pages cost more than what is written into them.
    const auto first_row_only = [](auto& table) { table.resize(1); };
    const auto first_row_again = [](auto& table) {
        table.clear();
        table.push_back({});
    };
    if (first_chunk_ > 0) { // those that were forgotten
        chunks_.erase(chunks_.begin(), chunks_.begin() + static_cast<std::ptrdiff_t>(first_chunk_));
        first_chunk_ = 0;
    }
    open_events_.clear();
    living_.clear();
    forgotten_ = {};
    forgotten_drops_.clear();
    info = {};
    faults.clear();
    chunks_in_use_ = 0;
    cursor_ = chunk_end_ = nullptr;
    packets_forgotten_ = 0;
    first_row_again(packets_);
    first_row_only(tasks_);
    first_row_only(devices_);
    first_row_only(queues_);
    first_row_only(counters_);
    hosts_.clear();
    first_row_again(field_changes_);
    first_row_again(counter_changes_);
    first_row_again(queue_changes_);
    first_row_only(notes_);
    note_rows_.clear();
    bytes_.clear();
    own_functions_.clear();
    own_function_ids_.clear();
    files.clear();
    marked_ = {};
    old_events_.clear();
    old_packets_.clear();
}

// ---- what has been written away ------------------------------------------------------------------------------------------

const Event& Trace::old_event(std::size_t ordinal) const
{
    static const Event none;
    const auto found = open_events_.find(ordinal);
    return found == open_events_.end() ? none : found->second;
}

Event& Trace::old_event(std::size_t ordinal)
{
    const auto found = open_events_.find(ordinal);
    return found == open_events_.end() ? no_event_ : found->second;
}

const Trace::OldPacket& Trace::old_packet(PacketId id) const
{
    static const OldPacket none;
    const auto found = living_.find(id);
    return found == living_.end() ? none : found->second;
}

Trace::OldPacket& Trace::old_packet(PacketId id)
{
    const auto found = living_.find(id);
    return found == living_.end() ? no_packet_ : found->second;
}

std::array<std::uint64_t, verdict_count> Trace::verdicts() const
{
    auto counts = forgotten_;
    for (const PacketRecord& record : packets()) {
        ++counts[static_cast<std::size_t>(record.verdict)];
    }
    for (const auto& [id, packet] : living_) {
        ++counts[static_cast<std::size_t>(packet.record.verdict)];
    }
    return counts;
}

void Trace::count_forgotten(const PacketRecord& record)
{
    ++forgotten_[static_cast<std::size_t>(record.verdict)];
    if (record.verdict == Verdict::dropped) {
        ++forgotten_drops_[{record.reason, record.end_function}];
    }
}

std::map<std::pair<DropReasonId, FunctionId>, std::uint64_t> Trace::drops() const
{
    auto counts = forgotten_drops_;
    const auto look = [&](const PacketRecord& record) {
        if (record.verdict == Verdict::dropped) {
            ++counts[{record.reason, record.end_function}];
        }
    };
    std::ranges::for_each(packets(), look);
    for (const auto& [id, packet] : living_) {
        look(packet.record);
    }
    return counts;
}

void Trace::forget_before(const TraceMark& written)
{
    for (; (first_chunk_ + 1) * chunk_events <= written.events; ++first_chunk_) {
        const Event* chunk = chunks_[first_chunk_].get();
        // What was observed gets its durations before it is written, or never: most calls have none.
        constexpr std::size_t block = 16;
        for (std::size_t from = 0; from < chunk_events && !info.observed; from += block) {
            // One branch a block, hardly ever taken: kinds follow each other in no order that could be foreseen.
            const auto is_open = [&](std::size_t at) {
                return static_cast<unsigned>(chunk[at].is_call()) & static_cast<unsigned>(!chunk[at].has_end());
            };
            unsigned any = 0;
            for (std::size_t at = from; at < from + block; ++at) {
                any |= is_open(at);
            }
            for (std::size_t at = from; any != 0 && at < from + block; ++at) {
                if (is_open(at) != 0) {
                    open_events_[first_chunk_ * chunk_events + at] = chunk[at];
                }
            }
        }
        spare_chunks_.push_back(std::move(chunks_[first_chunk_]));
    }
    std::erase_if(open_events_, [](const auto& entry) { return entry.second.has_end(); });
    const auto forget = [](auto& table, std::size_t before) {
        if (before > table.first() + (table.size() - table.first()) / 2) { // each row moves once at most, on average
            table.forget(before);
        }
    };
    forget(field_changes_, written.field_changes);
    forget(counter_changes_, written.counter_changes);
    forget(queue_changes_, written.queue_changes);
    if (written.packets > packets_.first() + 2 * rows_kept) {
        forget_packets(written.packets - rows_kept);
    }
}

void Trace::forget_packets(std::size_t before)
{
    for (std::size_t row = first_packet(); row < before; ++row) {
        const PacketRecord& record = packets_[row];
        if (record.death != never) {
            count_forgotten(record);
            continue;
        }
        const auto bytes = frame(record.id);
        living_[record.id] = {record, {bytes.begin(), bytes.end()}};
    }
    packets_.forget(before);
    std::erase_if(living_, [&](const auto& entry) {
        const PacketRecord& record = entry.second.record;
        if (record.death == never) {
            return false;
        }
        count_forgotten(record);
        return true;
    });
    std::uint64_t first = bytes_.size();
    for (const PacketRecord& record : packets_.held()) {
        first = record.captured_length == 0 ? first : std::min(first, record.bytes_offset);
    }
    bytes_.forget(first);
}

TraceMark Trace::mark()
{
    marked_ = {size(), packets_.size(), tasks_.size(), devices_.size(), queues_.size(), counters_.size(), hosts_.size(),
               field_changes_.size(), counter_changes_.size(), queue_changes_.size(), notes_.size(), bytes_.size(),
               own_functions_.size(), old_events_.size(), old_packets_.size()};
    return marked_;
}

void Trace::rewind(const TraceMark& mark)
{
    assert(mark.events <= size() && mark.packets <= packets_.size());
    for (std::size_t row = old_events_.size(); row-- > mark.old_events;) {
        const auto& [ordinal, event] = old_events_[row];
        chunks_[ordinal / chunk_events][ordinal % chunk_events] = event;
    }
    for (std::size_t row = old_packets_.size(); row-- > mark.old_packets;) {
        packets_[to_index(old_packets_[row].id)] = old_packets_[row];
    }
    files.clear();
    old_events_.resize(mark.old_events);
    old_packets_.resize(mark.old_packets);
    chunks_in_use_ = (mark.events + chunk_events - 1) / chunk_events;
    if (chunks_in_use_ == 0) {
        cursor_ = chunk_end_ = nullptr;
    } else {
        chunk_end_ = chunks_[chunks_in_use_ - 1].get() + chunk_events;
        cursor_ = chunk_end_ - (chunks_in_use_ * chunk_events - mark.events);
    }
    packets_.shrink(mark.packets);
    tasks_.resize(mark.tasks);
    devices_.resize(mark.devices);
    queues_.resize(mark.queues);
    counters_.resize(mark.counters);
    hosts_.resize(mark.hosts);
    field_changes_.shrink(mark.field_changes);
    counter_changes_.shrink(mark.counter_changes);
    queue_changes_.shrink(mark.queue_changes);
    notes_.resize(mark.notes);
    bytes_.shrink(mark.bytes);
    std::erase_if(note_rows_, [&](const auto& entry) { return entry.second >= mark.notes; });
    while (own_functions_.size() > mark.own_functions) {
        own_function_ids_.erase(own_functions_.back());
        own_functions_.pop_back();
    }
    marked_ = mark;
}

Trace Trace::copy() const
{
    Trace to;
    to.info = info;
    to.faults = faults;
    to.files = files;
    for (std::size_t chunk = 0; chunk < chunks_in_use_; ++chunk) {
        to.grow();
        const std::size_t used = std::min(chunk_events, size() - chunk * chunk_events);
        std::copy_n(chunks_[chunk].get(), used, to.cursor_);
        to.cursor_ += used;
    }
    to.packets_ = packets_;
    to.tasks_ = tasks_;
    to.devices_ = devices_;
    to.queues_ = queues_;
    to.counters_ = counters_;
    to.hosts_ = hosts_;
    to.field_changes_ = field_changes_;
    to.counter_changes_ = counter_changes_;
    to.queue_changes_ = queue_changes_;
    to.notes_ = notes_;
    to.bytes_ = bytes_;
    to.own_functions_ = own_functions_;
    to.own_function_ids_ = own_function_ids_;
    to.note_rows_ = note_rows_;
    to.recording_ = recording_;
    to.packets_forgotten_ = packets_forgotten_;
    to.marked_ = marked_;
    to.old_events_ = old_events_;
    to.old_packets_ = old_packets_;
    return to;
}

namespace {

template <typename Id, typename Record>
Id add_row(std::vector<Record>& table, Record&& record)
{
    table.push_back(std::move(record));
    return static_cast<Id>(table.size() - 1);
}

template <typename Record>
std::uint32_t add_row(Table<Record>& table, const Record& record)
{
    table.push_back(record);
    return static_cast<std::uint32_t>(table.size() - 1);
}

} // namespace

PacketId Trace::add_packet(PacketRecord record)
{
    for (std::size_t tries = 0; !recording_ && packets_.size() > rows_without_recording && tries < 64; ++tries) {
        PacketRecord& row = packets_[1 + packets_forgotten_++ % rows_without_recording];
        if (row.death == never) {
            continue; // it lives
        }
        record.id = row.id;
        count_forgotten(row);
        row = record;
        return row.id;
    }
    record.id = static_cast<PacketId>(packets_.size());
    return static_cast<PacketId>(add_row(packets_, record));
}

TaskId Trace::add_task(TaskRecord record) { return add_row<TaskId>(tasks_, std::move(record)); }
DeviceId Trace::add_device(DeviceRecord record) { return add_row<DeviceId>(devices_, std::move(record)); }
QueueId Trace::add_queue(QueueRecord record) { return add_row<QueueId>(queues_, std::move(record)); }
CounterId Trace::add_counter(CounterRecord record) { return add_row<CounterId>(counters_, std::move(record)); }
HostId Trace::add_host(HostRecord record) { return add_row<HostId>(hosts_, std::move(record)); }
std::uint32_t Trace::add_note(std::string text) { return recording_ ? add_row<std::uint32_t>(notes_, std::move(text)) : 0; }
std::uint32_t Trace::intern_note(const std::string& text)
{
    const auto [entry, is_new] = note_rows_.try_emplace(text, 0);
    if (is_new) {
        entry->second = add_note(text);
    }
    return entry->second;
}

DeviceId Trace::find_device(std::string_view name) const
{
    const auto found = std::ranges::find(devices_, name, &DeviceRecord::name);
    return found == devices_.end() ? DeviceId::none : static_cast<DeviceId>(found - devices_.begin());
}

std::uint32_t Trace::add_field_change(FieldChange change)
{
    return add_row(field_changes_, change);
}

std::uint32_t Trace::add_counter_change(CounterChange change)
{
    return add_row(counter_changes_, change);
}

std::uint32_t Trace::add_queue_change(QueueChange change)
{
    return add_row(queue_changes_, change);
}

std::uint64_t Trace::add_bytes(std::span<const std::uint8_t> bytes)
{
    const std::uint64_t offset = bytes_.size();
    bytes_.append(bytes.data(), bytes.size());
    return offset;
}

std::span<const std::uint8_t> Trace::frame(PacketId id) const
{
    if (to_index(id) < packets_.first()) {
        return old_packet(id).frame;
    }
    const PacketRecord& record = packet(id);
    return record.captured_length == 0 ? std::span<const std::uint8_t>{}
                                       : bytes_.held().subspan(record.bytes_offset - bytes_.first(), record.captured_length);
}

void Trace::set_frame(PacketId id, std::span<const std::uint8_t> frame)
{
    if (!recording_) {
        return;
    }
    PacketRecord& record = mutable_packet(id);
    if (to_index(id) < packets_.first()) {
        old_packet(id).frame.assign(frame.begin(), frame.end());
    }
    record.bytes_offset = add_bytes(frame);
    record.captured_length = static_cast<std::uint32_t>(frame.size());
}

FunctionId Trace::function_named(std::string_view name)
{
    if (const FunctionId known = Catalog::find_function(name); known != FunctionId::none) {
        return known;
    }
    const auto [entry, is_new] = own_function_ids_.try_emplace(std::string(name), FunctionId::none);
    if (is_new) {
        own_functions_.emplace_back(name);
        entry->second = static_cast<FunctionId>(Catalog::function_count() + own_functions_.size() - 1);
    }
    return entry->second;
}

std::string_view Trace::function_name(FunctionId id) const
{
    const std::size_t index = to_index(id);
    if (index < Catalog::function_count()) {
        return Catalog::name_in(id, info.kernel);
    }
    const std::size_t own = index - Catalog::function_count();
    return own < own_functions_.size() ? std::string_view(own_functions_[own]) : std::string_view("?");
}

std::string_view to_string(Verdict verdict)
{
    switch (verdict) {
    case Verdict::in_flight: return "in_flight";
    case Verdict::delivered: return "delivered";
    case Verdict::forwarded: return "forwarded";
    case Verdict::sent: return "sent";
    case Verdict::consumed: return "consumed";
    case Verdict::dropped: return "dropped";
    case Verdict::merged: return "merged";
    case Verdict::split: return "split";
    case Verdict::lost: return "lost";
    }
    return "?";
}

std::string_view to_string(EventKind kind)
{
    switch (kind) {
    case EventKind::call: return "call";
    case EventKind::exit: return "exit";
    case EventKind::birth: return "birth";
    case EventKind::verdict: return "verdict";
    case EventKind::drop: return "drop";
    case EventKind::free: return "free";
    case EventKind::enqueue: return "enqueue";
    case EventKind::dequeue: return "dequeue";
    case EventKind::clone: return "clone";
    case EventKind::merge: return "merge";
    case EventKind::split: return "split";
    case EventKind::irq_raise: return "irq_raise";
    case EventKind::irq_mask: return "irq_mask";
    case EventKind::irq_unmask: return "irq_unmask";
    case EventKind::softirq_raise: return "softirq_raise";
    case EventKind::wakeup: return "wakeup";
    case EventKind::sched: return "sched";
    case EventKind::field: return "field";
    case EventKind::counter: return "counter";
    case EventKind::queue: return "queue";
    case EventKind::setting: return "setting";
    case EventKind::note: return "note";
    case EventKind::lost: return "lost";
    }
    return "?";
}

std::string_view to_string(Confidence confidence)
{
    switch (confidence) {
    case Confidence::certain: return "certain";
    case Confidence::derived: return "derived";
    case Confidence::assumed: return "assumed";
    }
    return "?";
}

std::string_view to_string(QueueKind kind)
{
    switch (kind) {
    case QueueKind::wire: return "wire";
    case QueueKind::rx_ring: return "rx_ring";
    case QueueKind::gro_list: return "gro_list";
    case QueueKind::backlog: return "backlog";
    case QueueKind::socket: return "socket";
    case QueueKind::reader: return "reader";
    case QueueKind::arp_queue: return "arp_queue";
    case QueueKind::qdisc: return "qdisc";
    case QueueKind::tx_ring: return "tx_ring";
    case QueueKind::other: return "other";
    }
    return "?";
}

std::string_view to_string(SkbField field)
{
    static constexpr std::string_view names[skb_field_count] = {
        "data", "tail", "end", "len", "data_len", "truesize", "mac_header", "network_header", "transport_header",
        "protocol", "pkt_type", "ip_summed", "dev", "hash", "mark", "dst", "sk", "users", "queue_mapping", "priority",
        "bytes"};
    return names[static_cast<std::size_t>(field)];
}

std::string via_text(std::uint8_t via)
{
    if (via == via_model) {
        return "model";
    }
    std::string text;
    const auto add = [&](std::uint8_t bit, std::string_view name) {
        if ((via & bit) != 0) {
            text += text.empty() ? "" : "+";
            text += name;
        }
    };
    add(via_function, "function");
    add(via_graph, "graph");
    add(via_tracepoint, "tracepoint");
    add(via_kprobe, "kprobe");
    return text;
}

} // namespace skbscope
