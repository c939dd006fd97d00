#include "capture/import.h"

#include "capture/correlator.h"
#include "capture/pcap_match.h"
#include "capture/trace_dat.h"
#include "core/catalog/catalog.h"
#include "core/trace/ready_memory.h"

#include <algorithm>
#include <deque>
#include <filesystem>
#include <fmt/format.h>
#include <functional>
#include <span>
#include <thread>

namespace skbscope {

namespace {

constexpr std::size_t kept_examples = 10;

/// Captures named by the caller, and those that stand beside the recording under their device's name.
std::vector<PcapBeside> captures_for(const std::string& path, const Trace& trace,
                                     const ImportOptions& options)
{
    std::vector<PcapBeside> captures = options.pcaps;
    if (!options.find_pcaps) {
        return captures;
    }
    const std::filesystem::path folder = std::filesystem::path(path).parent_path();
    for (const DeviceRecord& device : trace.devices()) {
        if (device.name.empty() || device.name.find('/') != std::string::npos ||
            std::ranges::find(captures, device.name, &PcapBeside::device) != captures.end()) {
            continue;
        }
        for (const char* ending : {".pcap", ".pcapng"}) {
            const std::filesystem::path candidate = folder / (device.name + ending);
            std::error_code error;
            if (std::filesystem::is_regular_file(candidate, error)) {
                captures.push_back({device.name, candidate.string()});
                break;
            }
        }
    }
    return captures;
}

/// The packets that passed the taps of one device. Where the tap's own functions were traced they tell; else
/// every packet that passed the device did.
std::vector<TapPassage> passages_of(Correlator& correlator, DeviceId device)
{
    const auto of_device = [&](const std::vector<TapPassage>& all) {
        std::vector<TapPassage> some;
        for (TapPassage passage : all) {
            passage.packet = correlator.book().resolve(passage.packet);
            if (correlator.book().at(passage.packet).born &&
                (passage.device == device || correlator.book().at(passage.packet).packet.device == device)) {
                if (passage.device != DeviceId::none && passage.device != device) {
                    continue;
                }
                some.push_back(passage);
            }
        }
        return some;
    };
    if (correlator.tap_passages().empty()) {
        return of_device(correlator.device_passages());
    }
    std::vector<TapPassage> passages = of_device(correlator.tap_passages());
    if (correlator.shows_roots_only()) {
        std::ranges::copy_if(of_device(correlator.device_passages()), std::back_inserter(passages), [&](const TapPassage& other) {
            return std::ranges::none_of(passages, [&](const TapPassage& one) { return one.packet == other.packet && one.outgoing == other.outgoing; });
        });
        std::ranges::stable_sort(passages, {}, &TapPassage::time_ns);
    }
    return passages;
}

/// Of the frames without a packet: those from before the first record or after the last one.
std::size_t frames_outside(const PcapFile& file, const FrameMatches& found, PacketBook& book)
{
    if (found.matched == 0 || book.last_item() == 0) {
        return 0;
    }
    std::vector<bool> has_packet(file.frames.size(), false);
    for (const std::int64_t frame : found.frame_of) {
        if (frame >= 0) {
            has_packet[static_cast<std::size_t>(frame)] = true;
        }
    }
    const auto wall = [&](std::uint64_t time_ns) { // wraps around on a damaged clock
        return static_cast<std::int64_t>(time_ns + static_cast<std::uint64_t>(found.offset_ns));
    };
    const std::int64_t first = wall(book.item(1).time_ns);
    const std::int64_t last = wall(book.item(book.last_item()).time_ns);
    std::size_t count = 0;
    for (std::size_t i = 0; i < file.frames.size(); ++i) {
        const std::int64_t at = file.frames[i].wall_ns;
        count += !has_packet[i] && (at < first || at > last) ? 1 : 0;
    }
    return count;
}

void match_capture(Correlator& correlator, const PcapFile& file, DeviceId device, PcapMatch& match,
                   std::vector<std::pair<Slot, std::vector<std::uint8_t>>>& frames)
{
    const std::vector<TapPassage> passages = passages_of(correlator, device);
    std::vector<TapCandidate> candidates;
    for (const TapPassage& passage : passages) {
        const SlotRecord& record = correlator.book().at(passage.packet);
        candidates.push_back(
            {passage.time_ns, passage.length != 0 ? passage.length : record.packet.length, record.ethertype, record.packet.flow, passage.outgoing});
    }
    const FrameMatches found = match_frames(candidates, file);
    match.frames = file.frames.size();
    match.matched = found.matched;
    match.outside = frames_outside(file, found, correlator.book());
    match.packets_without = candidates.size() - found.matched;
    match.wall_offset_ns = found.offset_ns;
    for (std::size_t i = 0; i < candidates.size(); ++i) {
        if (found.frame_of[i] < 0) {
            continue;
        }
        const auto index = static_cast<std::size_t>(found.frame_of[i]);
        SlotRecord& record = correlator.book().at(passages[i].packet);
        const auto bytes = file.frame(index);
        // A translated address is not the packet's own: it keeps the flow that its sender meant.
        if (auto flow = flow_of_frame(bytes);
            flow && (!record.packet.flow || (flows_agree(*record.packet.flow, *flow) && !flow_lacks_ports(*flow)))) {
            record.packet.flow = flow;
            correlator.book().tell_whole(passages[i].packet);
        } else if (flow && !passages[i].outgoing && !flow_lacks_ports(*flow) && !record.packet.sent_here && record.packet.flow &&
                   record.packet.flow->source == flow->source) {
            record.packet.flow = flow; // what it came with: a probe behind the translation has named another destination
        }
        if (record.packet.length == 0) {
            record.packet.length = file.frames[index].length;
        }
        if (!passages[i].outgoing) {
            correlator.frame_tells(passages[i].packet, bytes);
        }
        frames.emplace_back(passages[i].packet, std::vector<std::uint8_t>(bytes.begin(), bytes.end()));
    }
}

/// Calls that a probe saw: the packet they were given must be the one whose sk_buff the probe names.
ProbeCheck check_probes(Correlator& correlator, const Trace& trace)
{
    ProbeCheck check;
    PacketBook& book = correlator.book();
    for (const Correlator::Probed& probed : correlator.probed()) {
        if (probed.item == 0 || probed.address == 0) {
            continue;
        }
        ++check.checked;
        const Event& call = book.item(probed.item);
        const SlotRecord* given = book.id_of(call.packet) != PacketId::none ? &book.at(call.packet) : nullptr;
        // A packet that went on as a clone has left the sk_buff that was its own then.
        const bool was_its_own = probed.living != 0 && given == &book.at(probed.living);
        const bool right = given != nullptr ? given->address == probed.address || was_its_own : probed.living == 0;
        if (right) {
            continue;
        }
        if (given == nullptr) {
            ++check.missed;
        } else {
            ++check.wrong;
        }
        if (check.examples.size() < kept_examples) {
            check.examples.push_back(fmt::format(
                "{} at {} ns on CPU {}: given to {}, the probe says {:#x}",
                trace.function_name(call.function_id()), call.time_ns, call.cpu,
                given != nullptr ? fmt::format("{:#x}", given->address) : "nobody", probed.address));
        }
    }
    return check;
}

bool has_captures_beside(const std::string& path)
{
    const std::filesystem::path folder = std::filesystem::path(path).parent_path();
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(folder.empty() ? "." : folder, error)) {
        const std::filesystem::path ending = entry.path().extension();
        if (ending == ".pcap" || ending == ".pcapng") {
            return true;
        }
    }
    return false;
}

/// Gives the correlator records. What was read on another thread stands in that one's cache: asked for in good time, it comes while
/// others are taken.
inline void take_all(Correlator& correlator, std::span<const RawRecord> records)
{
    constexpr std::size_t record_soon = 24;
    constexpr std::size_t data_soon = 12;
    const RawRecord* at = records.data();
    const RawRecord* const end = at + records.size();
    const RawRecord* const last_soon = records.size() > record_soon ? end - record_soon : at;
    for (; at < last_soon; ++at) {
        __builtin_prefetch(at + record_soon);
        const auto data = at[data_soon].data;
        __builtin_prefetch(data.data());
        __builtin_prefetch(data.data() + data.size() - 1);
        correlator.take(*at);
    }
    for (; at < end; ++at) {
        correlator.take(*at);
    }
}

/// Makes a trace of a long recording while it is read.
class HandingOn {
public:
    HandingOn(Correlator& correlator, std::size_t settled_after)
        : correlator_(&correlator), step_(std::max<std::size_t>(settled_after / steps, 1))
    {
    }

    /// Gives it the correlator, and makes what is settled part of the trace.
    void take(std::span<const RawRecord> records)
    {
        while (!records.empty()) {
            const std::size_t count = std::min(records.size(), step_ - since_last_);
            take_all(*correlator_, records.first(count));
            records = records.subspan(count);
            since_last_ += count;
            if (since_last_ == step_) {
                since_last_ = 0;
                hand_on();
            }
        }
    }

private:
    void hand_on()
    {
        last_items_.push_back(correlator_->book().last_item());
        if (last_items_.size() > steps) {
            (void)correlator_->take_passages(); // for captures, of which there are none
            correlator_->hand_on(last_items_.front());
            correlator_->let_go({}); // only what has ended: nothing is too old
            last_items_.pop_front();
        }
    }

    static constexpr std::size_t steps = 8;
    Correlator* correlator_;
    std::size_t step_;
    std::size_t since_last_ = 0;
    std::deque<std::uint32_t> last_items_; ///< at the ends of the last steps
};

/// A long recording is read by a thread of its own, which also has memory for events made ready ahead of need.
std::vector<std::string> read_all(const TraceDat& file, const std::function<void(std::span<const RawRecord>)>& take,
                                  const ImportOptions& options)
{
    WalkOptions walking;
    walking.progress = options.progress;
    walking.ahead = file.record_bytes() >= options.reads_ahead_from && std::thread::hardware_concurrency() > 1;
    if (walking.ahead) {
        walking.when_idle = [] { ready_memory::make_ready(1); };
    }
    std::vector<std::string> damage = file.for_each(take, walking);
    ready_memory::let_go();
    return damage;
}

} // namespace

bool times_look_emulated(std::vector<std::uint32_t> gaps)
{
    constexpr std::size_t enough = 64;
    constexpr std::uint32_t plausible_ns = 350;
    if (gaps.size() < enough) {
        return false;
    }
    const auto tenth = gaps.begin() + static_cast<std::ptrdiff_t>(gaps.size() / 10);
    std::nth_element(gaps.begin(), tenth, gaps.end());
    return *tenth > plausible_ns;
}

Result<Imported> import_trace_dat(const std::string& path, const ImportOptions& options)
{
    const auto file = TraceDat::open(path);
    if (!file) {
        return tl::unexpected(file.error());
    }
    Imported imported;
    const TracedKernel& kernel = file->kernel();
    imported.warnings = file->damage();
    Trace& trace = imported.trace;
    trace.info.source = fmt::format("trace-cmd: {}", std::filesystem::path(path).filename().string());
    trace.info.kernel_release = kernel.release;
    trace.info.kernel = kernel_version_of(kernel.release);
    trace.info.observed = true;
    trace.info.clock = kernel.clock;
    HostRecord host;
    host.name = "recorded host";
    host.cpus = kernel.cpus;
    (void)trace.add_host(std::move(host));

    const bool is_at_once = file->record_bytes() <= options.longest_at_once || !options.use_kprobes || !options.pcaps.empty() ||
                            (options.find_pcaps && has_captures_beside(path));
    Trace waiting; // what is not handed on yet
    waiting.info.observed = true;
    Correlator correlator(kernel, trace, {options.use_kprobes, Correlator::UnseenDrops::ignored, is_at_once ? nullptr : &waiting});
    HandingOn handing_on(correlator, options.settled_after);
    const auto take = [&](std::span<const RawRecord> records) {
        imported.records += records.size();
        if (is_at_once) {
            take_all(correlator, records);
        } else {
            handing_on.take(records);
        }
    };
    if (options.progress != nullptr) {
        options.progress->begin("importing", file->packed_bytes());
    }
    for (std::string& line : read_all(*file, take, options)) {
        imported.warnings.push_back(std::move(line));
    }
    if (options.progress != nullptr && options.progress->is_cancelled()) {
        return stopped(path);
    }
    correlator.finish();
    trace.info.times_trustworthy =
        options.times_trustworthy.value_or(!times_look_emulated(correlator.gaps()));

    std::vector<std::pair<Slot, std::vector<std::uint8_t>>> frames;
    for (const PcapBeside& capture : captures_for(path, trace, options)) {
        const auto pcap = read_pcap(capture.path);
        const bool is_asked_for = std::ranges::find(options.pcaps, capture.path, &PcapBeside::path) != options.pcaps.end();
        if (!pcap && !is_asked_for) { // it only lies there
            imported.warnings.push_back(pcap.error().describe());
            continue;
        }
        if (!pcap) {
            return tl::unexpected(pcap.error());
        }
        if (!pcap->damage.empty()) {
            imported.warnings.push_back(pcap->damage);
        }
        const DeviceId device = trace.find_device(capture.device);
        PcapMatch match;
        match.device = capture.device;
        match.path = capture.path;
        match.frames = pcap->frames.size();
        if (device == DeviceId::none) {
            imported.warnings.push_back(
                fmt::format("{}: the recording has no device {}", capture.path, capture.device));
        } else {
            match_capture(correlator, *pcap, device, match, frames);
            if (match.matched != 0 && trace.info.wall_offset_ns == 0) {
                trace.info.wall_offset_ns = match.wall_offset_ns;
            }
            if (match.matched < match.frames) {
                trace.faults.push_back(
                    {fmt::format("frames of {} without a packet in the recording", capture.device),
                     match.frames - match.matched, "captured before, after or beside what was recorded"});
            }
            if (match.packets_without != 0) {
                trace.faults.push_back(
                    {fmt::format("packets at the taps of {} without a captured frame", capture.device),
                     match.packets_without, "the capture had a filter, or lost frames"});
            }
        }
        imported.pcaps.push_back(std::move(match));
    }

    if (!is_at_once) {
        correlator.hand_on(0, true);
        return imported;
    }
    correlator.book().number_packets();
    if (!options.use_kprobes) {
        imported.probes = check_probes(correlator, trace);
    }
    correlator.book().write();
    for (const auto& [slot, bytes] : frames) {
        const PacketId id = correlator.book().id_of(slot);
        if (trace.has_packet(id) && trace.frame(id).empty()) {
            trace.set_frame(id, bytes);
        }
    }
    return imported;
}

} // namespace skbscope
