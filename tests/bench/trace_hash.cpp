// The safety net under changes for speed: one line for each scenario and way of running it, with a hash of everything the
// trace holds: events, packets, tables, bytes, the hosts' files. Two builds that print the same lines run the same model.
//
//   trace_hash FILE.yaml|FOLDER…      FOLDER: one with a manifest.json, whose scenario is rebuilt
//
// recorded    as run does it
// rewound     with snapshots, taken back to the middle and run again
// handed_on   forgotten as it comes; what was forgotten is hashed before
// unrecorded  counters and verdicts alone

#include "capture/fidelity/rebuild.h"
#include "core/scenario/model_source.h"
#include "tests/bench/end_of.h"

#include <cinttypes>
#include <cstdio>
#include <filesystem>
#include <type_traits>

namespace {

using namespace skbscope;

/// FNV-1a over 64-bit words: not strong, but no two runs are made to collide.
class Hash {
public:
    void add(std::uint64_t word)
    {
        value_ = (value_ ^ word) * 0x100000001b3ULL;
        value_ ^= value_ >> 29;
    }
    void add(std::string_view text)
    {
        add(text.size());
        for (const char letter : text) {
            add(static_cast<std::uint64_t>(static_cast<unsigned char>(letter)));
        }
    }
    template <typename T>
        requires std::is_enum_v<T>
    void add(T value)
    {
        add(static_cast<std::uint64_t>(value));
    }
    [[nodiscard]] std::uint64_t value() const { return value_; }

private:
    std::uint64_t value_ = 0xcbf29ce484222325ULL;
};

void add(Hash& hash, const Event& event)
{
    std::uint64_t words[4];
    static_assert(sizeof words == sizeof event);
    std::memcpy(words, &event, sizeof event);
    for (const std::uint64_t word : words) {
        hash.add(word);
    }
}

void add(Hash& hash, const IpAddress& address)
{
    hash.add(std::uint64_t{address.v6});
    for (const std::uint8_t byte : address.bytes) {
        hash.add(std::uint64_t{byte});
    }
}

void add(Hash& hash, const PacketRecord& record)
{
    for (const std::uint64_t word : {std::uint64_t{to_index(record.id)}, std::uint64_t{to_index(record.parent)}, std::uint64_t{to_index(record.merged_into)},
                                     std::uint64_t{to_index(record.device)}, std::uint64_t{record.sent_here}, std::uint64_t{record.touched_by_loss},
                                     std::uint64_t{record.end_inferred}, std::uint64_t{record.length}, record.birth.ns, record.death.ns,
                                     std::uint64_t{record.flow.has_value()}, record.bytes_offset, std::uint64_t{record.captured_length}}) {
        hash.add(word);
    }
    hash.add(record.relation);
    hash.add(record.host);
    hash.add(record.verdict);
    hash.add(record.reason);
    hash.add(record.birth_function);
    hash.add(record.end_function);
    if (record.flow) {
        add(hash, record.flow->source);
        add(hash, record.flow->destination);
        hash.add(std::uint64_t{record.flow->source_port});
        hash.add(std::uint64_t{record.flow->destination_port});
        hash.add(std::uint64_t{record.flow->protocol});
    }
}

/// Rows of the big tables from `from` on.
void add_rows(Hash& hash, const Trace& trace, const TraceMark& from)
{
    for (std::size_t at = from.events; at < trace.size(); ++at) {
        add(hash, trace[at]);
    }
    for (std::size_t at = std::max<std::size_t>(from.packets, 1); at <= trace.packet_count(); ++at) {
        add(hash, trace.packet(static_cast<PacketId>(at)));
    }
    for (std::size_t at = from.field_changes; at < trace.field_changes().size(); ++at) {
        const FieldChange& row = trace.field_changes()[at];
        hash.add(row.field);
        for (const std::uint64_t word : {std::uint64_t{row.offset}, std::uint64_t{row.length}, row.before, row.after}) {
            hash.add(word);
        }
    }
    for (std::size_t at = from.counter_changes; at < trace.counter_changes().size(); ++at) {
        const CounterChange& row = trace.counter_changes()[at];
        hash.add(row.counter);
        hash.add(row.before);
        hash.add(row.after);
    }
    for (std::size_t at = from.queue_changes; at < trace.queue_changes().size(); ++at) {
        const QueueChange& row = trace.queue_changes()[at];
        hash.add(row.what);
        hash.add(row.queue);
        hash.add(row.before);
        hash.add(row.after);
    }
    for (std::size_t at = from.bytes; at < trace.bytes().size(); ++at) {
        hash.add(std::uint64_t{trace.bytes()[at]});
    }
}

/// Names, sums and files.
void add_rest(Hash& hash, const Trace& trace)
{
    for (const TaskRecord& row : trace.tasks()) {
        hash.add(row.name);
        hash.add(static_cast<std::uint64_t>(row.pid));
    }
    for (const DeviceRecord& row : trace.devices()) {
        hash.add(row.name);
        hash.add(row.driver);
    }
    for (const QueueRecord& row : trace.queues()) {
        hash.add(row.name);
        hash.add(row.limit);
        hash.add(row.setting);
    }
    for (const CounterRecord& row : trace.counters()) {
        hash.add(row.name);
    }
    for (const std::string& row : trace.notes()) {
        hash.add(row);
    }
    for (const std::uint64_t packets : trace.verdicts()) {
        hash.add(packets);
    }
    for (const auto& [what, packets] : trace.drops()) {
        hash.add(what.first);
        hash.add(what.second);
        hash.add(packets);
    }
    for (const HostFile& file : trace.files) {
        hash.add(file.space);
        hash.add(file.name);
        hash.add(file.text);
    }
}

void print(const std::string& name, const char* mode, const Trace& trace, const Hash& hash)
{
    std::printf("%s %s %016" PRIx64 " %zu events\n", name.c_str(), mode, hash.value(), trace.size());
}

void run_all_ways(const std::string& name, const Scenario& scenario)
{
    {
        ModelSource model(scenario);
        model.keep_snapshots(false);
        model.run_to_end();
        Hash hash;
        add_rows(hash, model.trace(), {});
        add_rest(hash, model.trace());
        print(name, "recorded", model.trace(), hash);
    }
    {
        ModelSource model(scenario);
        model.run_to_end();
        model.rewind_to(SimTime{model.trace().end_time().ns / 2});
        model.run_to_end();
        Hash hash;
        add_rows(hash, model.trace(), {});
        add_rest(hash, model.trace());
        print(name, "rewound", model.trace(), hash);
    }
    {
        ModelSource model(scenario);
        model.keep_snapshots(false);
        Hash hash;
        TraceMark told;
        model.run_to_end(never, [&] {
            add_rows(hash, model.trace(), told);
            told = end_of(model.trace());
            model.forget_before(told);
            return true;
        });
        add_rows(hash, model.trace(), told);
        add_rest(hash, model.trace());
        print(name, "handed_on", model.trace(), hash);
    }
    {
        ModelSource model(scenario);
        model.set_recording(false);
        model.keep_snapshots(false);
        model.run_to_end();
        Hash hash;
        add_rest(hash, model.trace());
        for (const kernel::Cpu& cpu : model.world().cpus) {
            hash.add(cpu.now.ns);
        }
        print(name, "unrecorded", model.trace(), hash);
    }
}

bool run_path(const std::filesystem::path& path)
{
    if (!std::filesystem::is_directory(path)) {
        const auto scenario = load_scenario(path);
        if (!scenario) {
            std::fprintf(stderr, "%s\n", scenario.error().describe().c_str());
            return false;
        }
        run_all_ways(path.string(), *scenario);
        return true;
    }
    const auto manifest = read_manifest(path);
    if (!manifest) {
        std::fprintf(stderr, "%s\n", manifest.error().describe().c_str());
        return false;
    }
    const auto rebuilt = rebuild_scenario(*manifest);
    if (!rebuilt) {
        std::fprintf(stderr, "%s\n", rebuilt.error().describe().c_str());
        return false;
    }
    run_all_ways(path.string(), rebuilt->scenario);
    return true;
}

} // namespace

int main(int argc, char** argv)
{
    bool good = argc > 1;
    for (int at = 1; at < argc; ++at) {
        good = run_path(argv[at]) && good;
    }
    return good ? 0 : 1;
}
