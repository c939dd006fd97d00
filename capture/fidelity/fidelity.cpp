#include "capture/fidelity/fidelity.h"

#include "capture/fidelity/paces.h"
#include "capture/fidelity/refine.h"
#include "capture/fidelity/stream.h"
#include "capture/fidelity/test_packets.h"
#include "core/catalog/catalog.h"
#include "core/scenario/model_source.h"

#include <algorithm>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

namespace skbscope {

namespace {

constexpr const char* traced_net = "root";

/// Drawn where the other paces leave a segment of a connection unexplained; at some of them a connection does not get done.
constexpr std::size_t most_drawn_paces = 18;

/// It met the same end, but on another way: which one it takes can hang on the pace.
bool differs_by_pace(const PacketComparison& packet) { return packet.same_reason && !packet.same_functions; }

/// Whether the first FIN of the phase's connection is the client's: then its server reads to the end before it closes. Who
/// closes first is the applications' affair, and no manifest says it.
bool client_closes_first(const Trace& recorded, const ManifestStream& stream)
{
    for (const PacketRecord& packet : recorded.packets()) {
        const bool of_client = packet.flow && packet.flow->source == stream.client.address && packet.flow->source_port == stream.client.port;
        const bool of_server = packet.flow && packet.flow->source == stream.server.address && packet.flow->source_port == stream.server.port;
        if ((of_client || of_server) && tcp_kind_of(recorded.frame(packet.id)) == TcpKind::fin) {
            return of_client;
        }
    }
    return false;
}

void refine_closing(Scenario& scenario, const Manifest& manifest, const Trace& recorded)
{
    for (const ManifestPhase& phase : manifest.phases) {
        if (!phase.stream || !client_closes_first(recorded, *phase.stream)) {
            continue;
        }
        for (auto& host : scenario.hosts) {
            for (auto& program : host.tcp) {
                program.until_end = program.until_end || (program.server && program.port == phase.stream->server.port);
            }
        }
    }
}

} // namespace

Result<std::unique_ptr<FidelityRun>> FidelityRun::open(const std::filesystem::path& folder)
{
    auto manifest = read_manifest(folder);
    if (!manifest) {
        return tl::unexpected(manifest.error());
    }
    auto imported = import_trace_dat((folder / "trace.dat").string());
    if (!imported) {
        return tl::unexpected(imported.error());
    }
    std::unique_ptr<FidelityRun> run(new FidelityRun);
    run->manifest_ = std::move(*manifest);
    run->recorded_ = std::move(imported->trace);
    run->visible_ = visible_to(run->manifest_.functions, run->manifest_.graph_functions, kernel_version_of(run->manifest_.kernel));
    run->visible_.looks_once = true; // whether others waited with a datagram hangs on how late its reader is
    run->recorded_journeys_.emplace(run->recorded_);
    run->recorded_journeys_->update();
    refine_manifest(run->manifest_, run->recorded_);
    auto rebuilt = rebuild_scenario(run->manifest_);
    if (!rebuilt) {
        if (rebuilt.error().kind != ErrorKind::unsupported) {
            return tl::unexpected(rebuilt.error());
        }
        run->refused_ = rebuilt.error().what;
        return run;
    }
    run->rebuilt_ = std::move(*rebuilt);
    refine_closing(run->rebuilt_->scenario, run->manifest_, run->recorded_);
    auto model = run->run_model({.cost_scale = run->rebuilt_->scenario.cost_scale});
    if (!model) {
        return tl::unexpected(model.error());
    }
    run->model_ = std::move(*model);
    if (!run->has_the_ends()) {
        for (const Pace& pace : other_paces()) { // how fast the recorded CPU was nothing tells: one at which the same ends occur
            auto other = run->run_model(pace);
            if (!other) {
                return tl::unexpected(other.error());
            }
            std::swap(run->model_, *other);
            if (run->has_the_ends()) {
                break;
            }
            std::swap(run->model_, *other);
        }
    }
    run->model_journeys_.emplace(run->model_);
    run->model_journeys_->update();
    if (auto learned = run->run_at_the_paces(); !learned) {
        return tl::unexpected(learned.error());
    }
    return run;
}

/// One pace after another, until nothing is left that another one might explain.
Result<bool> FidelityRun::run_at_the_paces()
{
    learned_.resize(manifest_.phases.size());
    learn(model_, *model_journeys_, true);
    auto done = learn_at(other_paces(), false);
    if (done && has_streams() && !explains_segments()) {
        done = learn_at(drawn_paces(most_drawn_paces), true);
    }
    return done;
}

Result<bool> FidelityRun::learn_at(const std::vector<Pace>& paces, bool only_complete)
{
    const bool is_one_machine = std::ranges::any_of(rebuilt_->scenario.hosts, [](const ScenarioHost& host) { return !host.namespace_of.empty(); });
    for (const Pace& pace : paces) {
        if (explains_segments() && (only_complete || explains_counters())) {
            return true;
        }
        if (!only_complete && ((pace.generator_as_recorded && has_streams()) || (pace.chunk != 0 && !is_one_machine))) {
            continue;
        }
        auto other = run_model(pace);
        if (!other) {
            return tl::unexpected(other.error());
        }
        const bool is_complete = carries_what_was_recorded(*other);
        if (is_complete) {
            complete_runs_.push_back(counter_moves_of(*other)); // what was cut off by the recording's end counts less than is possible
        }
        if (is_complete || !only_complete) {
            JourneyIndex journeys(*other);
            journeys.update();
            learn(*other, journeys, false);
        }
    }
    return true;
}

bool FidelityRun::explains_segments() const
{
    return std::ranges::all_of(learned_, [](const Learned& phase) { return phase.unexplained.empty(); });
}

/// Only of a connection they hang on the pace.
bool FidelityRun::explains_counters() const
{
    return !has_streams() || std::ranges::none_of(counters().differing, [](const FidelityCounter& counter) { return counter.elsewhere.empty(); });
}

CounterResult FidelityRun::counters() const
{
    CounterResult counters = compare_counters(manifest_, counter_moves_of(model_));
    if (has_streams()) {
        explain_by_pace(counters, complete_runs_);
    }
    return counters;
}

FidelityRun::Way FidelityRun::recorded_way(PacketId packet) const
{
    return segments_of(recorded_, recorded_journeys_->journey(packet), visible_);
}

void FidelityRun::learn(const Trace& model, const JourneyIndex& journeys, bool is_first)
{
    for (std::size_t phase = 0; phase < learned_.size(); ++phase) {
        Learned& learned = learned_[phase];
        if (rebuilt_->refused.contains(phase) || (!is_first && learned.unexplained.empty())) {
            continue;
        }
        if (hangs_on_speed(manifest_.phases[phase])) {
            learn_ways(learned, phase, model, journeys);
        } else if (manifest_.phases[phase].stream) {
            learn_stream(learned, phase, model, journeys, is_first);
        } else {
            learn_agreeing(learned, phase, model, journeys, is_first);
        }
    }
}

namespace {

bool is_among(const std::vector<std::vector<Segment>>& ways, const std::vector<Segment>& way)
{
    return std::ranges::any_of(ways, [&](const std::vector<Segment>& known) { return !first_difference(known, way); });
}

} // namespace

/// Which packet found what queue at what length is chance: any way to the end will do.
void FidelityRun::learn_ways(Learned& learned, std::size_t phase, const Trace& model, const JourneyIndex& journeys) const
{
    for (const auto& [end, packets] : ends_of(phase, model)) {
        for (const PacketId id : packets) {
            if (Way way = segments_of(model, journeys.journey(id), visible_); !is_among(learned.ways[end], way)) {
                learned.ways[end].push_back(std::move(way));
            }
        }
    }
    learned.unexplained.clear();
    for (const auto& [end, packets] : ends_of(phase, recorded_)) {
        for (const PacketId id : packets) {
            if (!is_among(learned.ways[end], recorded_way(id))) {
                learned.unexplained.insert(id);
            }
        }
    }
}

void FidelityRun::learn_agreeing(Learned& learned, std::size_t phase, const Trace& model, const JourneyIndex& journeys, bool is_first) const
{
    for (const PacketComparison& packet : compare_phase(phase, model, journeys).packets) {
        if (packet.same()) {
            learned.agreeing.insert(packet.pair.b);
            learned.unexplained.erase(packet.pair.b);
        } else if (is_first && differs_by_pace(packet)) {
            learned.unexplained.insert(packet.pair.b);
        }
    }
}

void FidelityRun::learn_stream(Learned& learned, std::size_t phase, const Trace& model, const JourneyIndex& journeys, bool is_first) const
{
    learned.stream.learn(model, journeys, visible_, choice(phase, model), is_first);
    learn_agreeing(learned, phase, model, journeys, false);
    const auto in_recording = choice(phase, false);
    learned.unexplained.clear();
    for (const PacketRecord& packet : recorded_.packets()) {
        const auto kind = in_recording(packet) ? class_of(recorded_, packet) : std::nullopt;
        if (!kind) {
            continue;
        }
        const bool is_explained = is_of_speed(*kind) ? learned.stream.has_end(*kind) && !learned.stream.difference(*kind, legs_of(recorded_, packet.id, recorded_way(packet.id)))
                                                     : learned.agreeing.contains(packet.id);
        if (!is_explained) {
            learned.unexplained.insert(packet.id);
        }
    }
}

/// Otherwise it was cut off by the recording's end: of its counters and its ways nothing follows.
bool FidelityRun::carries_what_was_recorded(const Trace& model) const
{
    for (std::size_t phase = 0; phase < manifest_.phases.size(); ++phase) {
        if (manifest_.phases[phase].stream && tcp_bytes_of(model, choice(phase, model)) != tcp_bytes_of(recorded_, choice(phase, recorded_))) {
            return false;
        }
    }
    return true;
}

bool FidelityRun::has_streams() const
{
    return std::ranges::any_of(manifest_.phases, [](const ManifestPhase& phase) { return phase.stream.has_value(); });
}

Result<Trace> FidelityRun::run_model(const Pace& pace) const
{
    ++runs_;
    const auto recorded_gap = [this](std::uint16_t from_port, std::uint16_t port) {
        SimTime first = never, last{};
        std::int64_t count = 0;
        for (const PacketRecord& packet : recorded_.packets()) {
            if (packet.relation == Relation::none && packet.flow && packet.flow->source_port == from_port && packet.flow->destination_port == port) {
                first = std::min(first, packet.birth);
                last = std::max(last, packet.birth);
                ++count;
            }
        }
        return count < 2 ? Duration{} : Duration{static_cast<std::int64_t>(last.ns - first.ns) / (count - 1)};
    };
    Scenario scenario = rebuilt_->scenario;
    scenario.cost_scale = pace.cost_scale;
    for (auto& host : scenario.hosts) {
        const bool is_traced = host.name == traced_net;
        for (auto& program : host.tcp) {
            program.work = is_traced ? pace.work : pace.peer_work;
            program.steal = is_traced ? pace.steal : pace.peer_steal;
            program.chunk = pace.chunk != 0 ? pace.chunk : program.chunk;
        }
        for (auto& reader : host.receivers) {
            reader.work = std::max(reader.work, is_traced ? pace.work : pace.peer_work);
        }
        for (auto& generator : host.pktgens) {
            generator.gap = pace.generator_as_recorded ? recorded_gap(generator.from_port, generator.port) : generator.gap;
        }
        if (!is_traced && host.namespace_of.empty() && pace.peer_cost_scale != 0) {
            host.cost_scale = pace.peer_cost_scale / pace.cost_scale;
        }
        const std::uint32_t rx_usecs = is_traced ? pace.rx_usecs : pace.peer_rx_usecs;
        const Duration burst = is_traced ? pace.burst : pace.peer_burst;
        for (ScenarioDevice& device : host.devices) {
            device.delay = device.delay + pace.delay;
            device.rate = pace.rate != 0 ? pace.rate : device.rate;
            if (rx_usecs != 0 && device.driver.starts_with("e1000")) {
                device.rx_usecs = rx_usecs;
            }
            if (burst > Duration{} && device.driver == "virtio_net") {
                device.tx_timer = burst;
            }
            device.irq_delay = is_traced ? pace.irq_delay : pace.peer_irq_delay;
            device.tx_irq_delay = device.driver == "virtio_net" ? pace.tx_irq_delay : Duration{};
        }
    }
    ModelSource model(scenario);
    for (const ManifestPhase& phase : manifest_.phases) {
        const bool cold = phase.description.find("neighbour cold") != std::string::npos ||
                          phase.description.find("neighbour entry absent") != std::string::npos;
        if (cold && phase.begin >= rebuilt_->base) {
            // Whatever /proc/net/arp said before the recording, or earlier phases taught: here the neighbours were flushed.
            if (auto done = model.act("flush_neighbours", SimTime{phase.begin - rebuilt_->base}); !done) {
                return tl::unexpected(done.error());
            }
        }
    }
    model.run_to_end(rebuilt_->end + Duration{static_cast<std::int64_t>(loses_frames(manifest_) ? loss_slack_ns : phase_slack_ns)});
    return model.take_trace();
}

PacketChoice FidelityRun::choice(std::size_t phase, const Trace& trace) const
{
    const bool of_model = &trace != &recorded_;
    return test_packets_of(manifest_, phase, trace, of_model ? std::optional(rebuilt_->base) : std::nullopt);
}

Comparison FidelityRun::compare_phase(std::size_t phase) const
{
    return compare_phase(phase, model_, *model_journeys_);
}

Comparison FidelityRun::compare_phase(std::size_t phase, const Trace& model, const JourneyIndex& journeys) const
{
    CompareOptions options;
    options.visible = visible_;
    options.of_a = choice(phase, model);
    options.of_b = choice(phase, recorded_);
    return compare_traces(model, journeys, recorded_, *recorded_journeys_, options);
}

std::string FidelityRun::side_by_side(PacketPair pair) const
{
    return skbscope::side_by_side(model_, *model_journeys_, recorded_, *recorded_journeys_, pair, visible_);
}

FidelityRow FidelityRun::row(std::size_t phase) const
{
    FidelityRow row;
    row.folder = manifest_.folder.string();
    row.kernel = manifest_.kernel;
    row.scenario = manifest_.scenario;
    row.phase = manifest_.phases[phase].name;
    row.hangs_on_speed = hangs_on_speed(manifest_.phases[phase]);
    const auto wanted = choice(phase, false);
    row.packets = static_cast<std::size_t>(std::ranges::count_if(recorded_.packets(), wanted));
    const auto shown = shown_functions(manifest_, recorded_);
    row.complete = static_cast<std::size_t>(std::ranges::count_if(recorded_.packets(), [&](const PacketRecord& packet) {
        return wanted(packet) && missing_of_path(recorded_, packet, recorded_journeys_->journey(packet.id), shown).empty();
    }));
    row.refused = refused_;
    if (rebuilt_ && rebuilt_->refused.contains(phase)) {
        row.refused = rebuilt_->refused.at(phase);
    }
    if (!row.refused.empty()) {
        row.first_difference = row.refused;
        return row;
    }
    if (row.hangs_on_speed) {
        compare_outcomes(row, phase);
        return row;
    }
    if (manifest_.phases[phase].stream) {
        compare_stream(row, phase);
        return row;
    }
    const Comparison comparison = compare_phase(phase);
    row.same_verdict = comparison.same_verdict();
    row.same_reason = comparison.same_reason();
    row.same_functions = comparison.same_functions();
    const std::set<PacketId>& elsewhere = learned_[phase].agreeing;
    row.at_other_pace = static_cast<std::size_t>(
        std::ranges::count_if(comparison.packets, [&](const PacketComparison& packet) { return differs_by_pace(packet) && elsewhere.contains(packet.pair.b); }));
    row.same_functions += row.at_other_pace;
    const auto first = std::ranges::find_if(
        comparison.packets, [&](const PacketComparison& packet) { return !packet.same() && !(differs_by_pace(packet) && elsewhere.contains(packet.pair.b)); });
    if (first != comparison.packets.end()) {
        const PacketRecord& a = model_.packet(first->pair.a);
        const PacketRecord& b = recorded_.packet(first->pair.b);
        row.first_difference = first->same_reason ? first->first->text() : fmt::format("{} | {}", outcome(a), outcome(b));
    } else if (!comparison.only_in_a.empty() || !comparison.only_in_b.empty()) {
        row.first_difference = fmt::format("{} packets only in the model, {} only in the recording", comparison.only_in_a.size(), comparison.only_in_b.size());
    }
    return row;
}

std::map<std::string, std::vector<PacketId>> FidelityRun::ends_of(std::size_t phase, const Trace& trace) const
{
    const auto wanted = choice(phase, trace);
    const bool recording_tells_reasons = recorded_.info.kernel >= KernelVersion::v6_1;
    std::map<std::string, std::vector<PacketId>> ends;
    for (const PacketRecord& packet : trace.packets()) {
        if (wanted(packet)) {
            const bool is_told = packet.verdict != Verdict::dropped || recording_tells_reasons;
            ends[is_told ? outcome(packet) : std::string("dropped")].push_back(packet.id);
        }
    }
    return ends;
}

/// Of the phases that hang on speed: whether the same ends occur on both sides.
bool FidelityRun::has_the_ends() const
{
    const auto names = [this](std::size_t phase, const Trace& trace) {
        std::set<std::string> ends;
        for (const auto& [end, packets] : ends_of(phase, trace)) {
            ends.insert(end);
        }
        return ends;
    };
    for (std::size_t i = 0; i < manifest_.phases.size(); ++i) {
        if (hangs_on_speed(manifest_.phases[i]) && names(i, model_) != names(i, recorded_)) {
            return false;
        }
    }
    return true;
}

namespace {

std::vector<std::string> functions_of(const std::vector<Segment>& way)
{
    std::vector<std::string> names;
    for (const Segment& segment : way) {
        names.push_back(fmt::format("[{}]", to_string(segment.context)));
        for (const ComparedStep& step : segment.steps) {
            names.emplace_back(step.function);
        }
    }
    return names;
}

/// A packet that no packet of the model went like, and the way of the model that is like its own for the longest.
void note_strange_way(FidelityRow& row, PacketId packet, const std::vector<Segment>& way, const std::vector<std::vector<Segment>>& ways)
{
    FidelityRow::Differing strange{{PacketId::none, packet}, {}, {}, functions_of(way)};
    std::size_t longest = 0;
    for (const auto& known : ways) {
        auto functions = functions_of(known);
        const auto like = static_cast<std::size_t>(std::ranges::mismatch(functions, strange.recorded).in1 - functions.begin());
        if (strange.text.empty() || like > longest) {
            longest = like;
            strange.text = first_difference(known, way)->text();
            strange.model = std::move(functions);
        }
    }
    row.differing.push_back(std::move(strange));
}

} // namespace

/// How many packets met which end is a matter of the CPU's speed here; which ends there are is not, nor the ways to each (at one
/// pace or another), nor that each packet has one and the counters know it.
void FidelityRun::compare_outcomes(FidelityRow& row, std::size_t phase) const
{
    const auto of_model = ends_of(phase, model_);
    const auto of_recording = ends_of(phase, recorded_);
    for (const auto& [end, packets] : of_recording) {
        if (!of_model.contains(end)) {
            row.faults.push_back(fmt::format("no packet of the model is {}", end));
            continue;
        }
        row.same_verdict += packets.size();
        row.same_reason += packets.size();
        for (const PacketId id : packets) {
            if (!learned_[phase].unexplained.contains(id)) {
                ++row.same_functions;
            } else {
                note_strange_way(row, id, recorded_way(id), learned_[phase].ways.at(end));
            }
        }
    }
    for (const auto& [end, packets] : of_model) {
        if (!of_recording.contains(end)) {
            row.faults.push_back(fmt::format("{} packets of the model are {}, none of the recording", packets.size(), end));
        }
    }
    check_balance(row, phase);
    if (!row.faults.empty()) {
        row.first_difference = row.faults.front();
    } else if (!row.differing.empty()) {
        row.first_difference = row.differing.front().text;
    }
}

void FidelityRun::check_balance(FidelityRow& row, std::size_t phase) const
{
    std::uint64_t sent = 0;
    for (const ManifestSend& send : manifest_.phases[phase].sends) {
        sent += send.sent;
    }
    const CounterMoves moves = counter_moves_of(model_);
    const auto root_of = [](const CounterMoves& all) {
        const auto root = all.find(traced_net);
        return root == all.end() ? std::map<std::string, std::int64_t>() : root->second;
    };
    for (const bool of_model : {true, false}) {
        const char* side = of_model ? "model" : "recording";
        std::size_t here = 0;
        PacketEnds all; // the counters are of the whole recording
        for (std::size_t i = 0; i < manifest_.phases.size(); ++i) {
            for (const auto& [end, packets] : ends_of(i, of_model ? model_ : recorded_)) {
                all[end] += static_cast<std::int64_t>(packets.size());
                here += i == phase ? packets.size() : 0;
            }
        }
        if (here != sent) {
            row.faults.push_back(fmt::format("{}: {} packets were sent, {} met an end", side, sent, here));
        }
        const auto counters = root_of(of_model ? moves : manifest_.counters);
        for (const std::string& line : unbalanced(all, counters, of_model ? of_machine(moves) : counters, recorded_.info.kernel >= KernelVersion::v6_1)) {
            row.faults.push_back(fmt::format("{}: {}", side, line));
        }
    }
    for (std::string& line : drops_of_one_side(root_of(moves), of_machine(moves), root_of(manifest_.counters))) {
        row.faults.push_back(std::move(line));
    }
}

void FidelityRun::compare_bytes(FidelityRow& row, std::size_t phase) const
{
    struct Bytes {
        std::uint64_t model = 0, recorded = 0;
    };
    std::map<FlowKey, Bytes> directions;
    for (const auto& [flow, bytes] : tcp_bytes_of(model_, choice(phase, true))) {
        directions[flow].model = bytes;
    }
    for (const auto& [flow, bytes] : tcp_bytes_of(recorded_, choice(phase, false))) {
        directions[flow].recorded = bytes;
    }
    for (const auto& [flow, bytes] : directions) {
        if (bytes.model != bytes.recorded) {
            row.faults.push_back(fmt::format("{}: the model carries {} bytes, the recording {}", flow.text(), bytes.model, bytes.recorded));
        }
    }
}

/// A connection: each segment of its handshake and its close must have its like at one pace of the model or another. How many
/// others there are, how long each is and what lets it go hangs on the speed of both machines (what the window holds when the
/// application writes, what GRO finds in one poll, who holds the socket when a segment arrives): of those each must end as one of
/// its kind does in the model, by a way that the model takes, too; and both runs must carry the same number of bytes.
void FidelityRun::compare_stream(FidelityRow& row, std::size_t phase) const
{
    const Comparison comparison = compare_phase(phase);
    std::map<PacketId, const PacketComparison*> pair_of;
    for (const PacketComparison& packet : comparison.packets) {
        pair_of[packet.pair.b] = &packet;
    }
    const auto in_recording = choice(phase, false);
    const StreamWays& ways = learned_[phase].stream;
    for (const PacketRecord& packet : recorded_.packets()) {
        if (!in_recording(packet)) {
            continue;
        }
        const auto kind = class_of(recorded_, packet);
        const auto paired = pair_of.find(packet.id);
        const auto complain = [&](const std::string& what, PacketId other = PacketId::none) {
            row.differing.push_back({{other, packet.id}, what, {}, {}});
        };
        if (!kind || (!is_of_speed(*kind) && paired == pair_of.end())) {
            complain(fmt::format("packet {} only in the recording", to_index(packet.id)));
            continue;
        }
        if (!is_of_speed(*kind)) {
            const PacketComparison& pair = *paired->second;
            const bool same = pair.same() || (differs_by_pace(pair) && learned_[phase].agreeing.contains(packet.id));
            row.same_verdict += pair.same_verdict ? 1 : 0;
            row.same_reason += pair.same_reason ? 1 : 0;
            row.same_functions += same || pair.same_functions ? 1 : 0;
            if (!same) {
                complain(pair.same_reason ? pair.first->text() : fmt::format("{} | {}", outcome(model_.packet(pair.pair.a)), outcome(packet)), pair.pair.a);
            }
            continue;
        }
        if (!ways.has_end(*kind)) {
            complain(fmt::format("no such segment of the model is {}", kind->end));
            continue;
        }
        ++row.same_verdict;
        ++row.same_reason;
        const auto legs = legs_of(recorded_, packet.id, recorded_way(packet.id));
        if (auto difference = ways.difference(*kind, legs)) {
            row.differing.push_back({{difference->like, packet.id}, difference->text, std::move(difference->model), std::move(difference->recorded)});
        } else {
            ++row.same_functions;
        }
    }
    compare_bytes(row, phase);
    if (!row.differing.empty()) {
        row.first_difference = row.differing.front().text;
    } else if (!row.faults.empty()) {
        row.first_difference = row.faults.front();
    }
}

FolderFidelity FidelityRun::result() const
{
    FolderFidelity result;
    for (std::size_t phase = 0; phase < manifest_.phases.size(); ++phase) {
        result.rows.push_back(row(phase));
    }
    if (!rebuilt_) {
        return result;
    }
    result.notes = rebuilt_->notes;
    CounterResult counters = this->counters();
    result.counters = std::move(counters.differing);
    result.counters_compared = counters.compared;
    return result;
}

Result<FolderFidelity> fidelity_of(const std::filesystem::path& folder)
{
    auto run = FidelityRun::open(folder);
    if (!run) {
        return tl::unexpected(run.error());
    }
    return (*run)->result();
}

std::string fidelity_to_json(const std::vector<FolderFidelity>& folders)
{
    nlohmann::json rows = nlohmann::json::array();
    for (const FolderFidelity& folder : folders) {
        nlohmann::json counters = nlohmann::json::array();
        for (const FidelityCounter& counter : folder.counters) {
            counters.push_back({{"net", counter.net}, {"name", counter.name}, {"model", counter.model}, {"recorded", counter.recorded},
                                {"elsewhere", counter.elsewhere.empty() ? nlohmann::json() : nlohmann::json(counter.elsewhere)}});
        }
        for (const FidelityRow& row : folder.rows) {
            rows.push_back({{"dir", row.folder},
                            {"kernel", row.kernel},
                            {"scenario", row.scenario},
                            {"phase", row.phase},
                            {"packets", row.packets},
                            {"same_verdict", row.same_verdict},
                            {"same_reason", row.same_reason},
                            {"same_functions", row.same_functions},
                            {"first_difference", row.first_difference.empty() ? nlohmann::json() : nlohmann::json(row.first_difference)},
                            {"same_functions_at_other_pace", row.at_other_pace},
                            {"compared_by", row.hangs_on_speed ? "outcomes" : "packets"},
                            {"faults", row.faults},
                            {"refused", row.refused.empty() ? nlohmann::json() : nlohmann::json(row.refused)},
                            {"counters_differing", counters}});
        }
    }
    return rows.dump(2) + "\n";
}

std::string fidelity_to_text(const std::vector<FolderFidelity>& folders)
{
    std::string text = fmt::format("{:<22} {:<26} {:<22} {:>7} {:>7} {:>7} {:>9}  {}\n", "kernel", "folder", "phase", "packets",
                                   "verdict", "reason", "functions", "first difference: model | recording");
    for (const FolderFidelity& folder : folders) {
        for (const FidelityRow& row : folder.rows) {
            text += fmt::format("{:<22} {:<26} {:<22} {:>7} {:>7} {:>7} {:>9}  {}{}\n", row.kernel,
                                std::filesystem::path(row.folder).filename().string(), row.phase + (row.hangs_on_speed ? " *" : ""),
                                row.packets, row.same_verdict, row.same_reason, row.same_functions,
                                row.refused.empty() ? "" : "not run: ", row.first_difference);
            for (const std::string& fault : row.faults) {
                text += fmt::format("{:<22} {:<26} fault: {}\n", "", "", fault);
            }
        }
        for (const FidelityCounter& counter : folder.counters) {
            text += fmt::format("{:<22} {:<26} counter {}{}: {} | {}{}\n", "", "", counter.net == traced_net ? "" : counter.net + ": ", counter.name,
                                counter.model, counter.recorded, counter.elsewhere.empty() ? "" : " (" + counter.elsewhere + ")");
        }
    }
    return text + "* depends on the speed of the recorded CPU: compared by outcomes, not packet by packet\n";
}

} // namespace skbscope
