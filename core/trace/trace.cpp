#include "core/trace/trace.h"

#include "core/catalog/catalog.h"

#include <algorithm>
#include <cassert>
#include <cstdlib>
#include <fmt/format.h>
#include <new>
#include <sys/mman.h>

namespace skbscope {

void Trace::FreeChunk::operator()(Event* chunk) const
{
    std::free(chunk);
}

Trace::Trace()
{
    packets_.emplace_back();
    tasks_.push_back({"idle", 0, {}});
    devices_.emplace_back();
    queues_.emplace_back();
    counters_.emplace_back();
    field_changes_.emplace_back();
    counter_changes_.emplace_back();
    queue_changes_.emplace_back();
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
    return *this;
}

void Trace::grow()
{
    if (chunks_in_use_ == chunks_.size()) {
        // A chunk is one huge page, aligned to one: fresh memory then costs one page fault instead of 512. The advice
        // may be refused; the memory is good all the same.
        constexpr std::size_t bytes = chunk_events * sizeof(Event);
        void* memory = std::aligned_alloc(bytes, bytes);
        if (memory == nullptr) {
            throw std::bad_alloc();
        }
        (void)madvise(memory, bytes, MADV_HUGEPAGE);
        chunks_.emplace_back(static_cast<Event*>(memory));
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
    info = {};
    faults.clear();
    chunks_in_use_ = 0;
    cursor_ = chunk_end_ = nullptr;
    packets_forgotten_ = 0;
    first_row_only(packets_);
    first_row_only(tasks_);
    first_row_only(devices_);
    first_row_only(queues_);
    first_row_only(counters_);
    hosts_.clear();
    first_row_only(field_changes_);
    first_row_only(counter_changes_);
    first_row_only(queue_changes_);
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
    packets_.resize(mark.packets);
    tasks_.resize(mark.tasks);
    devices_.resize(mark.devices);
    queues_.resize(mark.queues);
    counters_.resize(mark.counters);
    hosts_.resize(mark.hosts);
    field_changes_.resize(mark.field_changes);
    counter_changes_.resize(mark.counter_changes);
    queue_changes_.resize(mark.queue_changes);
    notes_.resize(mark.notes);
    bytes_.resize(mark.bytes);
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

} // namespace

PacketId Trace::add_packet(PacketRecord record)
{
    if (!recording_ && packets_.size() > rows_without_recording) {
        record.id = static_cast<PacketId>(1 + packets_forgotten_++ % rows_without_recording);
        PacketRecord& row = packets_[to_index(record.id)];
        row = std::move(record);
        return row.id;
    }
    record.id = static_cast<PacketId>(packets_.size());
    return add_row<PacketId>(packets_, std::move(record));
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
    return add_row<std::uint32_t>(field_changes_, std::move(change));
}

std::uint32_t Trace::add_counter_change(CounterChange change)
{
    return add_row<std::uint32_t>(counter_changes_, std::move(change));
}

std::uint32_t Trace::add_queue_change(QueueChange change)
{
    return add_row<std::uint32_t>(queue_changes_, std::move(change));
}

std::uint64_t Trace::add_bytes(std::span<const std::uint8_t> bytes)
{
    const std::uint64_t offset = bytes_.size();
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return offset;
}

std::span<const std::uint8_t> Trace::frame(PacketId id) const
{
    const PacketRecord& record = packet(id);
    return std::span(bytes_).subspan(record.bytes_offset, record.captured_length);
}

void Trace::set_frame(PacketId id, std::span<const std::uint8_t> frame)
{
    if (!recording_) {
        return;
    }
    PacketRecord& record = mutable_packet(id);
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
