#include "core/recording/report.h"

#include "core/catalog/catalog.h"
#include "core/trace/stack_state.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

namespace skbscope {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t stage_slots = 256; ///< StageId is 8 bits wide

/// None for a function that the catalog lacks.
StageId stage_of(FunctionId function)
{
    return to_index(function) < Catalog::function_count() ? Catalog::function(function).stage : StageId::none;
}

/// Nearest rank: the smallest value that at least `percent` of them do not exceed.
std::int64_t percentile(const std::vector<std::int64_t>& sorted, unsigned percent)
{
    const std::size_t rank = (sorted.size() * percent + 99) / 100;
    return sorted[std::clamp<std::size_t>(rank, 1, sorted.size()) - 1];
}

/// The stage that a queue is the waiting part of. A wire is no stage of a kernel.
StageId stage_of(const QueueRecord& queue)
{
    switch (queue.kind) {
    case QueueKind::rx_ring: return Catalog::find_stage("nic.rx_ring");
    case QueueKind::gro_list: return Catalog::find_stage("gro");
    case QueueKind::backlog: return Catalog::find_stage("backlog");
    case QueueKind::socket:
    case QueueKind::reader: return Catalog::find_stage("socket.rx_queue");
    case QueueKind::arp_queue: return Catalog::find_stage("neigh");
    case QueueKind::qdisc: return Catalog::find_stage("qdisc");
    case QueueKind::tx_ring: return Catalog::find_stage("nic.tx_ring");
    case QueueKind::wire:
    case QueueKind::other: break;
    }
    return StageId::none;
}

/// When the packet's story is told to its end: the verdict, or its end, or the last event that names it.
SimTime end_of_story(const Trace& trace, const JourneyIndex& journeys, const PacketRecord& record)
{
    if (const auto latency = latency_of(trace, journeys, record.id)) {
        return record.birth + *latency;
    }
    const auto events = journeys.events_of(record.id);
    return events.empty() ? record.birth : trace[events.back()].time();
}

/// Gives every moment between birth and verdict to a stage: of the queue it waits in, else of the innermost call that is
/// open, else of the last one that was.
void spend(const Trace& trace, const JourneyIndex& journeys, const PacketRecord& record,
           std::span<const StageId> queue_stages, std::array<std::int64_t, stage_slots>& times, std::array<bool, stage_slots>& seen)
{
    struct Open {
        SimTime end;
        StageId stage;
    };
    std::vector<Open> calls;
    StageId stage = StageId::none;
    StageId queue_stage = StageId::none;
    unsigned waits = 0;
    SimTime now = record.birth;
    const SimTime end = end_of_story(trace, journeys, record);
    const auto current = [&] { return waits > 0 ? queue_stage : calls.empty() ? stage : calls.back().stage; };
    const auto pass = [&](SimTime t) {
        t = std::min(t, end);
        if (t > now) {
            times[to_index(current())] += (t - now).ns;
            now = t;
        }
    };
    const auto close_until = [&](SimTime t) {
        while (!calls.empty() && calls.back().end <= t) {
            pass(calls.back().end);
            stage = calls.back().stage;
            calls.pop_back();
        }
    };
    for (const std::uint32_t ordinal : journeys.events_of(record.id)) {
        const Event& event = trace[ordinal];
        if (event.time() > end) {
            break;
        }
        close_until(event.time());
        pass(event.time());
        const StageId here = stage_of(event.function_id());
        switch (event.event_kind()) {
        case EventKind::call:
            if (here == StageId::none) {
                break; // time in a function of no stage stays with the stage around it
            }
            seen[to_index(here)] = true;
            if (event.has_end()) {
                calls.push_back({event.end(), here});
            } else {
                calls.clear();
            }
            stage = here;
            break;
        case EventKind::birth: stage = here; break;
        case EventKind::enqueue:
            ++waits;
            queue_stage = event.arg < queue_stages.size() ? queue_stages[event.arg] : StageId::none;
            seen[to_index(queue_stage)] = true;
            break;
        case EventKind::dequeue:
            waits -= waits > 0 ? 1 : 0;
            if (here != StageId::none) {
                stage = here;
            }
            break;
        default: break;
        }
    }
    close_until(end);
    pass(end);
}

void fill_stages(Report& report, const Trace& trace, const JourneyIndex& journeys, std::span<const PacketId> packets)
{
    std::array<std::vector<std::int64_t>, stage_slots> samples;
    std::vector<StageId> queue_stages;
    for (const QueueRecord& queue : trace.queues()) {
        queue_stages.push_back(stage_of(queue));
    }
    for (const PacketId packet : packets) {
        const PacketRecord& record = trace.packet(packet);
        if (record.birth == never) {
            continue;
        }
        std::array<std::int64_t, stage_slots> times{};
        std::array<bool, stage_slots> seen{};
        spend(trace, journeys, record, queue_stages, times, seen);
        for (std::size_t stage = 1; stage < Catalog::stages().size(); ++stage) {
            if (seen[stage] || times[stage] > 0) {
                samples[stage].push_back(times[stage]);
            }
        }
    }
    for (const Stage& stage : Catalog::stages()) {
        auto& times = samples[to_index(stage.id)];
        if (times.empty()) {
            continue;
        }
        StageTimes row{stage.id, times.size(), {}, {}, {}};
        if (report.times_trustworthy) {
            std::ranges::sort(times);
            row.p50_ns = percentile(times, 50);
            row.p99_ns = percentile(times, 99);
            row.max_ns = times.back();
        }
        report.stages.push_back(row);
    }
    std::ranges::stable_sort(report.stages, {}, [](const StageTimes& row) { return Catalog::stage(row.stage).order; });
}

void fill_latency(Report& report, const Trace& trace, const JourneyIndex& journeys, std::span<const PacketId> packets)
{
    std::vector<std::int64_t> latencies;
    for (const PacketId packet : packets) {
        if (const auto latency = latency_of(trace, journeys, packet)) {
            latencies.push_back(latency->ns);
        }
    }
    if (!report.times_trustworthy || latencies.empty()) {
        return;
    }
    std::ranges::sort(latencies);
    report.latency_p50_ns = percentile(latencies, 50);
    report.latency_p99_ns = percentile(latencies, 99);
    report.latency_max_ns = latencies.back();
}

void fill_verdicts(Report& report, const Trace& trace, std::span<const PacketId> packets)
{
    std::map<std::pair<DropReasonId, FunctionId>, std::uint64_t> drops;
    report.packets = packets.size();
    for (const PacketId packet : packets) {
        const PacketRecord& record = trace.packet(packet);
        ++report.by_verdict[static_cast<std::size_t>(record.verdict)];
        if (record.verdict == Verdict::dropped) {
            ++drops[{record.reason, record.end_function}];
        }
    }
    for (const auto& [key, count] : drops) {
        report.drops.push_back({key.first, key.second, count});
    }
    std::ranges::stable_sort(report.drops, std::ranges::greater{}, &DropCount::count);
}

/// One walk over the trace: queue peaks within the time, and whether the events' account agrees with the packet table.
void fill_queues(Report& report, const Trace& trace)
{
    StackState state(trace);
    std::vector<std::uint64_t> peaks(trace.queues().size());
    const auto look = [&](std::size_t queue) {
        if (queue < peaks.size() && queue < state.queues().size()) {
            peaks[queue] = std::max(peaks[queue], state.queues()[queue].level(trace.queues()[queue].unit));
        }
    };
    bool inside = false;
    for (std::size_t i = 0; i < trace.size(); ++i) {
        const Event& event = trace[i];
        const bool within = !report.between || report.between->contains(event.time());
        if (within && !inside) {
            for (std::size_t queue = 0; queue < peaks.size(); ++queue) {
                look(queue); // what lay there when the time asked for began
            }
        }
        inside = within;
        state.apply(i);
        if (!within) {
            continue;
        }
        if (event.event_kind() == EventKind::enqueue) {
            look(event.arg);
        } else if (event.event_kind() == EventKind::queue) {
            look(to_index(trace.queue_changes()[event.arg].queue));
        }
    }
    for (std::size_t queue = 1; queue < peaks.size() && queue < state.queues().size(); ++queue) {
        if (peaks[queue] > 0) {
            report.queues.push_back({static_cast<QueueId>(queue), peaks[queue], state.queues()[queue].limit});
        }
    }
    std::array<std::uint64_t, verdict_count> table{};
    for (const PacketRecord& record : trace.packets()) {
        // Of a recording that was cut off the table calls lost what its last event leaves in flight.
        const bool was_cut_off = record.verdict == Verdict::lost && record.touched_by_loss && record.death == never;
        ++table[static_cast<std::size_t>(was_cut_off ? Verdict::in_flight : record.verdict)];
    }
    const Accounting& account = state.accounting();
    report.accounting_closed = account.born == trace.packet_count();
    for (int verdict = 1; verdict < verdict_count; ++verdict) {
        const auto index = static_cast<std::size_t>(verdict);
        report.accounting_closed = report.accounting_closed && account.by_verdict[index] == table[index];
    }
}

/// A level or a rate among the host's sampled figures (capture/host/host_sampler.cpp), not a count.
bool is_gauge(std::string_view name)
{
    static constexpr std::array<std::string_view, 9> gauges{"rmem",          "wmem",            "receive_queue", "send_queue", "backlog",
                                                            "backlog_bytes", "backlog_packets", "carrier",       "per_second"};
    const auto dot = name.rfind('.');
    const bool is_sampled = name.starts_with("socket ") || name.starts_with("qdisc ") || name.starts_with("interrupt ") || name.ends_with(".carrier");
    return is_sampled && dot != std::string_view::npos && std::ranges::find(gauges, name.substr(dot + 1)) != gauges.end();
}

void fill_counters(Report& report, const Trace& trace, const JourneyIndex& journeys, const TraceFilter& filter,
                   std::span<const PacketId> packets)
{
    std::vector<std::int64_t> moved(trace.counters().size());
    std::vector<bool> did_move(trace.counters().size());
    const auto add = [&](const Event& event) {
        if (event.event_kind() != EventKind::counter) {
            return;
        }
        const CounterChange& change = trace.counter_changes()[event.arg];
        moved[to_index(change.counter)] += static_cast<std::int64_t>(change.after - change.before);
        did_move[to_index(change.counter)] = true;
    };
    if (!filter.matches_all()) {
        for (const PacketId packet : packets) {
            for (const std::uint32_t ordinal : journeys.events_of(packet)) {
                add(trace[ordinal]);
            }
        }
    } else {
        for (std::size_t i = 0; i < trace.size(); ++i) {
            if (!report.between || report.between->contains(trace[i].time())) {
                add(trace[i]);
            }
        }
    }
    for (std::size_t row = 0; row < moved.size(); ++row) {
        if (!did_move[row] || moved[row] == 0) {
            continue; // what was looked at and stands still has not moved
        }
        const CounterRecord& counter = trace.counters()[row];
        if (is_gauge(counter.name)) {
            continue; // it goes up and down: by how much over the whole time says nothing
        }
        // Hosts that have counters of the same name are told apart.
        const bool shared_name = std::ranges::count(trace.counters(), counter.name, &CounterRecord::name) > 1;
        const bool host_known = to_index(counter.host) < trace.hosts().size();
        const std::string name =
            shared_name && host_known ? trace.hosts()[to_index(counter.host)].name + ": " + counter.name : counter.name;
        report.counters[name] += moved[row];
    }
}

Json or_null(const std::optional<std::int64_t>& value)
{
    return value ? Json(*value) : Json(nullptr);
}

Json name_or_null(std::string_view name)
{
    return name.empty() ? Json(nullptr) : Json(name);
}

std::string dump(const Json& json, int indent)
{
    // A task may be called anything: bytes that are no UTF-8 must not end the program.
    return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

Json flow_json(const PacketRecord& record)
{
    if (!record.flow) {
        return nullptr;
    }
    const FlowKey& flow = *record.flow;
    return {{"proto", flow.protocol_name()},
            {"src", flow.source.text()},
            {"sport", flow.source_port},
            {"dst", flow.destination.text()},
            {"dport", flow.destination_port}};
}

std::string_view stage_key(FunctionId function)
{
    const StageId stage = stage_of(function);
    return stage == StageId::none ? std::string_view() : Catalog::stage(stage).key;
}

Json step_json(const Trace& trace, const Step& step)
{
    const Event& event = trace[step.ordinal];
    const bool task_known = event.task < trace.tasks().size();
    Json json = {{"t_ns", event.time_ns},
                 {"cpu", event.cpu},
                 {"context", to_string(event.context())},
                 {"task", task_known ? Json(trace.tasks()[event.task].name) : Json(nullptr)},
                 {"function", trace.function_name(event.function_id())},
                 {"stage", name_or_null(stage_key(event.function_id()))},
                 {"depth", event.depth},
                 {"duration_ns", event.has_end() ? Json(event.duration_ns) : Json(nullptr)},
                 {"shared", step.shared},
                 {"via", via_text(event.via())}};
    if (event.confidence() != Confidence::certain) {
        json["confidence"] = to_string(event.confidence());
    }
    return json;
}

Json journey_json(const Trace& trace, const JourneyIndex& journeys, PacketId packet)
{
    const PacketRecord& record = trace.packet(packet);
    const Journey journey = journeys.journey(packet);
    const bool device_known = record.device != DeviceId::none && to_index(record.device) < trace.devices().size();
    Json json = {{"packet", to_index(packet)},
                 {"dev", device_known ? Json(trace.device(record.device).name) : Json(nullptr)},
                 {"len", record.length},
                 {"flow", flow_json(record)},
                 {"verdict", to_string(record.verdict)},
                 {"reason", record.reason == DropReasonId::none ? Json(nullptr)
                                                                : Json(Catalog::drop_reason(record.reason).name)},
                 {"birth_ns", record.birth == never ? Json(nullptr) : Json(record.birth.ns)},
                 {"death_ns", record.death == never ? Json(nullptr) : Json(record.death.ns)}};
    if (trace.hosts().size() > 1 && to_index(record.host) < trace.hosts().size()) {
        json["host"] = trace.hosts()[to_index(record.host)].name;
    }
    json["parent"] = record.parent == PacketId::none ? Json(nullptr) : Json(to_index(record.parent));
    Json& waits = json["waits"] = Json::array();
    for (const Wait& wait : journey.waits) {
        waits.push_back({{"queue", trace.queue(wait.queue).name},
                         {"from_ns", wait.from.ns},
                         {"to_ns", wait.to == never ? Json(nullptr) : Json(wait.to.ns)}});
    }
    Json& counters = json["counters"] = Json::object();
    for (const CounterMove& move : journey.counters) {
        counters[trace.counter(move.counter).name] = move.by;
    }
    Json& steps = json["steps"] = Json::array();
    for (const Step& step : journey.steps) {
        steps.push_back(step_json(trace, step));
    }
    return json;
}

} // namespace

Report build_report(const Trace& trace, const JourneyIndex& journeys, const TraceFilter& filter,
                    const std::optional<Between>& between)
{
    Report report;
    report.source = trace.info.source;
    report.kernel = trace.info.kernel_release;
    report.filter = filter.text();
    report.between = between;
    report.observed = trace.info.observed;
    report.times_trustworthy = trace.info.times_trustworthy;
    report.duration_ns = trace.end_time().ns - trace.begin_time().ns;
    report.events = trace.size();
    report.lost_events = trace.info.lost_events;
    report.unattributed_events = trace.info.unattributed_events;
    report.faults = trace.faults;
    const std::vector<PacketId> packets = matching_packets(trace, journeys, filter, between);
    fill_verdicts(report, trace, packets);
    fill_latency(report, trace, journeys, packets);
    fill_stages(report, trace, journeys, packets);
    fill_queues(report, trace);
    fill_counters(report, trace, journeys, filter, packets);
    return report;
}

Report build_summary(const Trace& trace, SimTime end)
{
    Report report;
    report.source = trace.info.source;
    report.kernel = trace.info.kernel_release;
    report.duration_ns = end.ns;
    report.by_verdict = trace.verdicts();
    for (const std::uint64_t count : report.by_verdict) {
        report.packets += count;
    }
    for (const auto& [what, count] : trace.drops()) {
        report.drops.push_back({what.first, what.second, count});
    }
    std::ranges::stable_sort(report.drops, std::ranges::greater{}, &DropCount::count);
    return report;
}

std::string to_json(const Report& report, const Trace& trace)
{
    Json json = {{"source", report.source},
                 {"kernel", report.kernel},
                 {"duration_ns", report.duration_ns},
                 {"events", report.events},
                 {"lost_events", report.lost_events},
                 {"unattributed_events", report.unattributed_events}};
    Json& packets = json["packets"] = {{"total", report.packets}};
    for (const Verdict verdict : {Verdict::delivered, Verdict::forwarded, Verdict::sent, Verdict::consumed, Verdict::dropped,
                                  Verdict::merged, Verdict::split, Verdict::in_flight, Verdict::lost}) {
        packets[std::string(to_string(verdict))] = report.by_verdict[static_cast<std::size_t>(verdict)];
    }
    json["accounting_closed"] = report.accounting_closed;
    Json& drops = json["drops"] = Json::array();
    for (const DropCount& drop : report.drops) {
        drops.push_back({{"reason", drop.reason == DropReasonId::none ? Json(nullptr)
                                                                      : Json(Catalog::drop_reason(drop.reason).name)},
                         {"function", drop.function == FunctionId::none ? Json(nullptr)
                                                                        : Json(trace.function_name(drop.function))},
                         {"count", drop.count}});
    }
    json["latency"] = {{"p50_ns", or_null(report.latency_p50_ns)},
                       {"p99_ns", or_null(report.latency_p99_ns)},
                       {"max_ns", or_null(report.latency_max_ns)}};
    Json& stages = json["stages"] = Json::array();
    for (const StageTimes& stage : report.stages) {
        stages.push_back({{"stage", Catalog::stage(stage.stage).key},
                          {"packets", stage.packets},
                          {"p50_ns", or_null(stage.p50_ns)},
                          {"p99_ns", or_null(stage.p99_ns)},
                          {"max_ns", or_null(stage.max_ns)}});
    }
    Json& queues = json["queues"] = Json::array();
    for (const QueuePeak& queue : report.queues) {
        const QueueRecord& record = trace.queue(queue.queue);
        queues.push_back({{"queue", record.name},
                          {"peak", queue.peak},
                          {"limit", queue.limit == 0 ? Json(nullptr) : Json(queue.limit)},
                          {"unit", record.unit == QueueUnit::bytes ? "bytes" : "packets"}});
    }
    json["counters"] = Json(report.counters);
    json["times_trustworthy"] = report.times_trustworthy;
    json["observed"] = report.observed;
    json["filter"] = name_or_null(report.filter);
    json["between"] = report.between ? Json::array({report.between->from.ns, report.between->to.ns}) : Json(nullptr);
    Json& faults = json["faults"] = Json::array();
    for (const Fault& fault : report.faults) {
        faults.push_back({{"cause", fault.cause}, {"count", fault.count}, {"advice", name_or_null(fault.advice)}});
    }
    return dump(json, 2) + "\n";
}

std::string journeys_to_json(const Trace& trace, const JourneyIndex& journeys, std::span<const PacketId> packets)
{
    // Packet by packet, so that a large trace is not held twice as a tree.
    std::string text = "[";
    bool first = true;
    for (const PacketId packet : packets) {
        text += first ? "\n" : ",\n";
        text += dump(journey_json(trace, journeys, packet), -1);
        first = false;
    }
    return text + (first ? "]\n" : "\n]\n");
}

} // namespace skbscope
