// Cuts a part out of a trace.

#include "core/recording/filter.h"

#include <algorithm>
#include <unordered_map>

namespace skbscope {

namespace {

class Cutter {
public:
    Cutter(const Trace& from, const JourneyIndex& journeys, std::span<const PacketId> packets)
        : from_(from), packets_(packets), new_id_(from.packet_count() + 1)
    {
        for (std::size_t i = 0; i < packets.size(); ++i) {
            new_id_[to_index(packets[i])] = static_cast<std::uint32_t>(i + 1);
        }
        for (const PacketId packet : packets) {
            const Journey journey = journeys.journey(packet);
            ordinals_.insert(ordinals_.end(), journey.events.begin(), journey.events.end());
            for (const Step& step : journey.steps) {
                ordinals_.push_back(step.ordinal);
            }
        }
        sort_ordinals();
        add_what_moved_no_packet();
        sort_ordinals();
    }

    Trace run()
    {
        copy_tables();
        for (const PacketId packet : packets_) {
            copy_packet(packet);
        }
        for (const std::uint32_t ordinal : ordinals_) {
            copy_event(ordinal);
        }
        return std::move(to_);
    }

private:
    void sort_ordinals()
    {
        std::ranges::sort(ordinals_);
        ordinals_.erase(std::unique(ordinals_.begin(), ordinals_.end()), ordinals_.end());
    }

    /// Notes, settings, changed limits and loss between the first and the last event kept, and the returns of calls.
    void add_what_moved_no_packet()
    {
        if (ordinals_.empty()) {
            return;
        }
        const std::uint32_t first = ordinals_.front();
        const std::uint32_t last = ordinals_.back();
        std::vector<std::uint32_t> more;
        for (std::uint32_t i = first; i < from_.size(); ++i) {
            const Event& event = from_[i];
            switch (event.event_kind()) {
            case EventKind::exit:
                if (std::ranges::binary_search(ordinals_, event.arg)) {
                    more.push_back(i);
                }
                break;
            case EventKind::note:
            case EventKind::setting:
            case EventKind::lost:
                if (i <= last) {
                    more.push_back(i);
                }
                break;
            case EventKind::counter: // the host's own figures, of no packet
                if (i <= last && event.packet_id() == PacketId::none && from_.info.observed) {
                    more.push_back(i);
                }
                break;
            case EventKind::queue:
                if (i <= last && from_.queue_changes()[event.arg].what == QueueChange::What::limit) {
                    more.push_back(i);
                }
                break;
            default: break;
            }
        }
        ordinals_.insert(ordinals_.end(), more.begin(), more.end());
    }

    void copy_tables()
    {
        to_.info = from_.info;
        to_.faults = from_.faults;
        if (from_.info.observed) {
            to_.files = from_.files; // what a recorded host was set to; of a model they tell of the whole run's end
        }
        for (const HostRecord& host : from_.hosts()) {
            to_.add_host(host);
        }
        for (const TaskRecord& task : from_.tasks().subspan(1)) {
            to_.add_task(task);
        }
        for (const DeviceRecord& device : from_.devices().subspan(1)) {
            to_.add_device(device);
        }
        for (const QueueRecord& queue : from_.queues().subspan(1)) {
            to_.add_queue(queue);
        }
        for (const CounterRecord& counter : from_.counters().subspan(1)) {
            to_.add_counter(counter);
        }
        for (const std::string& note : from_.notes().subspan(1)) {
            to_.add_note(note);
        }
        for (const std::string& name : from_.own_functions()) {
            (void)to_.function_named(name);
        }
    }

    PacketId kept(PacketId id) const
    {
        return to_index(id) < new_id_.size() ? static_cast<PacketId>(new_id_[to_index(id)]) : PacketId::none;
    }

    void copy_packet(PacketId id)
    {
        PacketRecord record = from_.packet(id);
        record.parent = kept(record.parent);
        record.merged_into = kept(record.merged_into);
        record.bytes_offset = 0;
        record.captured_length = 0;
        const PacketId added = to_.add_packet(record);
        if (const auto frame = from_.frame(id); !frame.empty()) {
            to_.set_frame(added, frame);
        }
    }

    void copy_event(std::uint32_t ordinal)
    {
        Event event = from_[ordinal];
        event.packet = to_index(kept(event.packet_id()));
        switch (event.event_kind()) {
        case EventKind::clone:
        case EventKind::merge:
        case EventKind::split: event.arg = to_index(kept(static_cast<PacketId>(event.arg))); break;
        case EventKind::field: event.arg = copy_field(from_.field_changes()[event.arg]); break;
        case EventKind::counter: event.arg = to_.add_counter_change(from_.counter_changes()[event.arg]); break;
        case EventKind::queue: event.arg = to_.add_queue_change(from_.queue_changes()[event.arg]); break;
        case EventKind::exit: event.arg = new_ordinal(event.arg); break;
        default: break;
        }
        to_.append(event);
    }

    std::uint32_t new_ordinal(std::uint32_t ordinal) const
    {
        return static_cast<std::uint32_t>(std::ranges::lower_bound(ordinals_, ordinal) - ordinals_.begin());
    }

    std::uint32_t copy_field(FieldChange change)
    {
        if (change.field == SkbField::bytes) {
            const std::uint64_t before = to_.add_bytes(from_.bytes().subspan(change.before, change.length));
            change.after = to_.add_bytes(from_.bytes().subspan(change.after, change.length));
            change.before = before;
        }
        return to_.add_field_change(change);
    }

    const Trace& from_;
    std::span<const PacketId> packets_;
    std::vector<std::uint32_t> new_id_;   ///< by old id; 0: left out
    std::vector<std::uint32_t> ordinals_; ///< of the events kept
    Trace to_;
};

} // namespace

Trace filtered(const Trace& trace, const JourneyIndex& journeys, std::span<const PacketId> packets)
{
    return Cutter(trace, journeys, packets).run();
}

} // namespace skbscope
