#include "capture/live/live_recording.h"

#include "capture/correlator.h"
#include "capture/host/host_sampler.h"
#include "capture/host/proc_tables.h"
#include "capture/import.h"
#include "capture/live/detail_budget.h"
#include "capture/live/device_counts.h"
#include "capture/live/frame_match.h"
#include "capture/live/page_spool.h"
#include "capture/live/record_filter.h"
#include "capture/live/ring_merge.h"
#include "capture/live/ring_reader.h"
#include "capture/session/tracefs_files.h"
#include "core/catalog/catalog.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <ctime>
#include <deque>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <limits>
#include <map>
#include <mutex>
#include <sched.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <thread>
#include <unordered_set>

namespace skbscope {

namespace {

std::size_t spool_bytes(const HostFacts& facts)
{
    return std::clamp<std::uint64_t>(facts.memory_kb * 1024 / 8, std::uint64_t{64} << 20, std::uint64_t{1} << 30);
}
/// Taken at a time: what is made of it is written before the next is taken, however far behind this process is.
constexpr std::size_t round_bytes = std::size_t{2} << 20;
/// … while most of what comes is kept for later.
constexpr std::size_t deferred_round_bytes = std::size_t{256} << 10;
constexpr auto round_pause = std::chrono::milliseconds(20);
/// … while only drops are recorded.
constexpr auto calm_pause = std::chrono::milliseconds(100);

std::int64_t wall_offset_ns()
{
    // The two clocks are read one after the other; the tightest of a few tries is within some tens of nanoseconds.
    std::int64_t best = 0;
    std::uint64_t tightest = std::numeric_limits<std::uint64_t>::max();
    for (int i = 0; i < 8; ++i) {
        const std::uint64_t before = monotonic_ns();
        timespec wall{};
        (void)clock_gettime(CLOCK_REALTIME, &wall);
        const std::uint64_t after = monotonic_ns();
        if (after - before < tightest) {
            tightest = after - before;
            best = wall.tv_sec * 1'000'000'000LL + wall.tv_nsec - static_cast<std::int64_t>(before + (after - before) / 2);
        }
    }
    return best;
}

/// This thread's share of a busy CPU; lowering the number needs CAP_SYS_NICE, and where that lacks nothing changes.
int niceness()
{
    return getpriority(PRIO_PROCESS, 0);
}

void set_niceness(int nice)
{
    (void)setpriority(PRIO_PROCESS, 0, std::clamp(nice, -20, 19));
}

/// The thread that empties the kernel's buffers must not wait for a busy CPU: what it does not take is lost. It needs
/// little of it. What is made of the records can wait, and the traffic that is watched shall not.
bool be_real_time()
{
    const sched_param first{1};
    return sched_setscheduler(0, SCHED_RR, &first) == 0;
}

void be_ordinary(int nice)
{
    const sched_param none{0};
    (void)sched_setscheduler(0, SCHED_OTHER, &none);
    set_niceness(nice);
}

std::string host_name()
{
    utsname names{};
    return uname(&names) == 0 && names.nodename[0] != '\0' ? names.nodename : "this host";
}

/// CPU time of this process so far, microseconds.
std::uint64_t own_cpu_us()
{
    rusage used{};
    (void)getrusage(RUSAGE_SELF, &used);
    return static_cast<std::uint64_t>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1'000'000 +
           static_cast<std::uint64_t>(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

/// … of this thread, nanoseconds.
std::uint64_t thread_cpu_ns()
{
    timespec used{};
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return static_cast<std::uint64_t>(used.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(used.tv_nsec);
}

} // namespace

struct LiveRecording::State {
    LiveWishes wishes;
    HostPlaces places;
    HostFacts facts;
    ProbePlan plan;
    std::optional<TraceSession> session;
    std::optional<TraceClock> clock; ///< of the session; read first before it is set up, which takes a while
    std::optional<FrameSource> frames;
    std::optional<host::HostSampler> sampler;
    std::optional<DeviceCounts> device_counts; ///< with a session
    std::map<std::string, std::uint64_t> counts_at_start;
    std::vector<std::string> missing;
    int nice = niceness(); ///< of the thread that opened it
    int spool_file = -1;
    std::uint64_t spool_bytes = 0;
};

LiveRecording::LiveRecording(std::unique_ptr<State> state) : state_(std::move(state)) {}
LiveRecording::LiveRecording(LiveRecording&&) noexcept = default;
LiveRecording& LiveRecording::operator=(LiveRecording&&) noexcept = default;
LiveRecording::~LiveRecording() = default;

const std::vector<std::string>& LiveRecording::missing() const { return state_->missing; }

std::string LiveRecording::describes() const
{
    std::string text;
    if (state_->session) {
        text = fmt::format("{} ({} events)", to_string(state_->plan.detail), state_->session->events_enabled());
    }
    if (state_->frames) {
        text += fmt::format("{}frames of {}", text.empty() ? "" : ", ", fmt::join(state_->frames->devices(), ", "));
    }
    return text;
}

Result<LiveRecording> LiveRecording::open(const LiveWishes& wishes, const HostPlaces& places)
{
    auto state = std::make_unique<State>();
    state->wishes = wishes;
    state->places = places;
    state->facts = read_host_facts(places, wishes.most >= Detail::functions);
    state->plan = plan_probes(state->facts, {wishes.devices.empty() && !wishes.device.empty() ? std::vector{wishes.device} : wishes.devices, wishes.most});
    std::optional<Error> no_frames;
    if (wishes.frames) {
        auto frames = FrameSource::open(wishes.device, wishes.filter);
        if (frames) {
            state->frames = std::move(*frames);
        } else if (frames.error().kind != ErrorKind::not_permitted && frames.error().kind != ErrorKind::unsupported) {
            return tl::unexpected(frames.error());
        } else {
            no_frames = frames.error();
        }
    }
    state->clock.emplace(state->plan.detail >= Detail::tracepoints ? state->plan.clock : "mono");
    if (state->plan.detail >= Detail::tracepoints) {
        auto session = TraceSession::open(state->facts, state->plan, {places, 0, wishes.budget > 0});
        if (!session) {
            return tl::unexpected(session.error());
        }
        state->session = std::move(*session);
        state->device_counts.emplace(places.proc);
        state->missing.insert(state->missing.end(), state->session->refused().begin(), state->session->refused().end());
    }
    if (!state->session && !state->frames) {
        const HostFinding& finding = state->plan.findings.front();
        return fail(ErrorKind::not_permitted, "record", fmt::format("neither the kernel's events nor frames may be read here: tracefs is {}", finding.state),
                    finding.remedy);
    }
    if (!state->session) {
        const HostFinding& finding = state->plan.findings.front();
        state->missing.push_back(fmt::format("no way through the kernel, only frames: tracefs is {} ({})", finding.state, finding.remedy));
    }
    if (no_frames) {
        state->missing.push_back("no frames: " + no_frames->describe());
    }
    LiveRecording recording(std::move(state));
    recording.look_at_host_first();
    if (recording.state_->session && wishes.yields > 0) {
        (void)be_real_time(); // while there are rights; run() takes it back
    }
    return recording;
}

void LiveRecording::look_at_host_first()
{
    if (!(state_->wishes.sample_seconds > 0)) {
        return;
    }
    host::HostSampler& sampler = state_->sampler.emplace(host::HostSampler::Places{state_->places.proc, true});
    sampler.tell("recorder", describes() + "\n");
    for (const std::string& line : state_->missing) {
        sampler.tell("missing", line);
    }
    sampler.begin({monotonic_ns()}); // now, as listing rules and owners of sockets needs rights
}

namespace {

/// One run: everything that exists only while records come.
class Run {
public:
    struct Waiting {
        int file = -1;
        std::uint64_t bytes = 0;
    };
    Run(TraceSession* session, FrameSource* frames, host::HostSampler* sampler, const LiveWishes& wishes, const HostFacts& facts, const HostPlaces& places,
        Waiting waiting, int nice, TraceClock& clock, const DeviceCounts* device_counts, std::map<std::string, std::uint64_t> counts_at_start)
        : session_(session), frames_(frames), sampler_(sampler), wishes_(wishes), places_(places), nice_(nice), spool_({.memory = spool_bytes(facts), .file = waiting.file, .file_bytes = waiting.bytes}), clock_(clock),
          device_counts_(device_counts), counts_at_start_(std::move(counts_at_start))
    {
        items_.info.observed = true;
        trace_.info.source = "live: " + host_name();
        trace_.info.kernel_release = facts.kernel_release;
        trace_.info.kernel = kernel_version_of(facts.kernel_release);
        trace_.info.observed = true;
        trace_.info.clock = session != nullptr && session->kernel().clock != cycles_clock ? session->kernel().clock : "mono";
        trace_.info.wall_offset_ns = wall_offset_ns();
        HostRecord host;
        host.name = host_name();
        host.cpus = static_cast<std::uint16_t>(facts.cpus);
        (void)trace_.add_host(std::move(host));
        if (session != nullptr) {
            Correlator::Options options;
            options.items = &items_;
            const bool of_all_devices = wishes.device.empty() && wishes.devices.empty();
            options.unseen_drops = wishes.budget > 0 ? Correlator::UnseenDrops::all
                                   : of_all_devices  ? Correlator::UnseenDrops::with_reason
                                                     : Correlator::UnseenDrops::ignored;
            correlator_.emplace(session->kernel(), trace_, options);
            add_buffers(session->buffers(), session->buffer_kb());
            add_buffers(session->drop_buffers(), session->buffer_kb());
            std::vector<std::uint16_t> cpus;
            std::ranges::transform(buffers_, std::back_inserter(cpus), &RingReader::Buffer::cpu);
            merge_.emplace(cpus, &clock_);
            filter_.emplace(session->kernel());
        }
    }

    Result<LiveSummary> record(const RecordingSink& sink, const std::string& name, const std::atomic<bool>& stop)
    {
        sink_ = sink;
        name_ = name;
        RecordingWriter writer(trace_, sink, name);
        if (auto begun = writer.update(); !begun) { // the reader at the other end learns at once that it runs
            return tl::unexpected(begun.error());
        }
        const std::uint64_t end = wishes_.seconds > 0 ? monotonic_ns() + static_cast<std::uint64_t>(wishes_.seconds * 1e9) : ~std::uint64_t{0};
        if (session_ != nullptr) {
            reader_.emplace(buffers_, session_->page_size(), spool_, clock_); // as nice as this thread is now
            if (wishes_.yields > 0) {
                be_ordinary(nice_);
            }
            tender_ = std::jthread([this](const std::stop_token& token) {
                take_short_turns();
                KeepsOff keeps_off;
                spool_.tend(token, [&] { keeps_off.cpu(reader_->busiest_cpu()); });
            });
            began_ns_ = monotonic_ns();
            if (wishes_.budget > 0) {
                throttle_ = std::jthread([this](const std::stop_token& token) { throttle(token); });
            }
        }
        // In a thread of its own: what has been made nice stays so, and the rest shall not take longer than it must.
        Result<void> outcome;
        std::thread([&] {
            if (wishes_.yields > 0) {
                set_niceness(nice_ + wishes_.yields);
                take_short_turns();
            }
            outcome = record_until(stop, end, writer);
        }).join();
        stop_reading();
        while (outcome && take_records()) { // the rest, in the same steps
            outcome = write(writer);
        }
        if (!outcome) {
            return tl::unexpected(outcome.error());
        }
        finish();
        if (auto written = write(writer); !written) {
            return tl::unexpected(written.error());
        }
        if (auto written = writer.finish(); !written) {
            return tl::unexpected(written.error());
        }
        return summary_;
    }

private:
    void add_buffers(const std::vector<int>& files, std::uint64_t kb)
    {
        for (std::size_t cpu = 0; cpu < files.size(); ++cpu) {
            buffers_.push_back({files[cpu], static_cast<std::uint16_t>(cpu), kb * 1024});
        }
    }

    Result<void> record_until(const std::atomic<bool>& stop, std::uint64_t end_ns, RecordingWriter& writer)
    {
        bool more = false;
        KeepsOff keeps_off;
        while (!stop && monotonic_ns() < end_ns && !enough()) {
            keeps_off.cpu(reader_ ? reader_->busiest_cpu() : -1);
            if (!more) {
                std::this_thread::sleep_for(reader_ && reader_->is_calm() ? calm_pause : round_pause);
            }
            const std::uint64_t began = monotonic_ns();
            const std::uint64_t spent = thread_cpu_ns();
            more = take_records();
            shared_correlating_ns_ += thread_cpu_ns() - spent;
            shared_taken_ = records_taken_;
            look_at_host();
            if (auto written = write(writer); !written) {
                return written;
            }
            if (more && wishes_.defers) {
                leave_time_to_traffic(began);
            }
        }
        return {};
    }

    /// While records come at the rate of a CPU that does little else, and behind a burst of them that the budget has ended, a small
    /// part of the time has to do: even an otherwise idle CPU's work slows the traffic down (wakeups go to a CPU that is busy, memory
    /// is shared). The less room there is for what waits, the larger a part.
    void leave_time_to_traffic(std::uint64_t began_ns)
    {
        constexpr std::uint64_t longest = 300'000'000;
        constexpr std::uint64_t flood_shares = 99;
        constexpr std::uint64_t shares_otherwise = 19; // while the budget pauses, or there is less room
        constexpr double little_room = 0.25;
        constexpr double no_room = 0.75;
        is_flood_ = pace_.is_flood(monotonic_ns(), reader_->bytes());
        const double filled = spool_.filled();
        if (!(throttled_ || is_flood_) || filled > no_room) {
            return;
        }
        const std::uint64_t shares = throttled_ || filled > little_room ? shares_otherwise : flood_shares;
        std::this_thread::sleep_for(std::chrono::nanoseconds(std::min(shares * (monotonic_ns() - began_ns), longest)));
    }

    /// How fast records come, over a while: the reader takes many at a time.
    class Pace {
    public:
        bool is_flood(std::uint64_t now_ns, std::uint64_t bytes)
        {
            constexpr std::uint64_t a_while = 50'000'000;
            constexpr double many_bytes = 10e6; // a second
            if (now_ns - at_ns_ >= a_while) {
                is_flood_ = static_cast<double>(bytes - bytes_) * 1e9 > many_bytes * static_cast<double>(now_ns - at_ns_);
                at_ns_ = now_ns;
                bytes_ = bytes;
            }
            return is_flood_;
        }

    private:
        std::uint64_t at_ns_ = monotonic_ns();
        std::uint64_t bytes_ = 0;
        bool is_flood_ = false;
    };

    /// The host's own figures, beside what is traced.
    void look_at_host()
    {
        if (sampler_ == nullptr) {
            return;
        }
        const std::uint64_t now = monotonic_ns();
        if (now >= look_next_) {
            const std::uint64_t spent = thread_cpu_ns();
            tell_own_figures();
            sampler_->sample({now});
            // Looking takes at most a hundredth of one CPU: a host with very many sockets is looked at more seldom.
            look_next_ = now + std::max(static_cast<std::uint64_t>(wishes_.sample_seconds * 1e9), 100 * (thread_cpu_ns() - spent));
        }
        sampler_->write(trace_, {correlator_ ? settled_ns_ : now});
    }

    void tell_own_figures()
    {
        sampler_->set("recorder.cpu_us", own_cpu_us());
        sampler_->set("recorder.probes_us_estimated", static_cast<std::uint64_t>(static_cast<double>(summary_.records) * making_record_ns() / 1000));
    }

    bool enough()
    {
        // Items are numbered with 31 bits.
        constexpr std::uint32_t most_items = 2'000'000'000;
        if (correlator_ && correlator_->book().last_item() > most_items) {
            summary_.remarks.push_back("the recording has ended: it holds as many events as one may");
            return true;
        }
        return wishes_.packets != 0 && summary_.packets >= wishes_.packets;
    }

    void name_task(std::int32_t pid)
    {
        if (!named_tasks_.insert(pid).second) {
            return;
        }
        const auto name = read_text(fmt::format("{}/{}/comm", places_.proc, pid));
        if (name && !name->empty()) {
            session_->kernel().add_tasks(fmt::format("{} {}\n", pid, name->substr(0, name->find('\n'))));
        }
    }

    /// Some of what has come, and what can be told of it. True: more is there already.
    bool take_records()
    {
        take_frames();
        if (!merge_) {
            return false;
        }
        summary_.behind = std::max(summary_.behind, spool_.waiting());
        PageSpool::Batch batch = spool_.take(is_flood_ ? deferred_round_bytes : round_bytes);
        for (SpooledPage& page : batch.pages) {
            merge_->add(std::move(page));
        }
        pages_unreadable_ += batch.unreadable;
        const std::uint64_t horizon = batch.ended ? ~std::uint64_t{0} : batch.horizon_ns;
        horizon_ns_ = batch.horizon_ns;
        merge_->take_until(horizon, [this](const RawRecord& record) {
            ++records_taken_;
            note_pause(record.time_ns);
            if (record.lost_before != 0 && record.lost_before != RawRecord::unknown_loss) {
                summary_.lost += record.lost_before;
            }
            // Where something was lost the record is taken whatever it is: it says so.
            if (record.lost_before == 0 && !filter_->wants(record)) {
                return;
            }
            ++summary_.records;
            name_task(record.pid);
            correlator_->take(record);
        });
        hand_on();
        return batch.more;
    }

    void take_frames()
    {
        if (frames_ == nullptr) {
            return;
        }
        std::vector<LiveFrame> fresh;
        (void)frames_->read(fresh);
        summary_.frames += fresh.size();
        for (LiveFrame& frame : fresh) {
            if (correlator_) {
                match_of(frames_->devices()[frame.device]).add(std::move(frame));
            } else {
                add_frame_alone(frame);
            }
        }
    }

    DeviceId device_of(const std::string& name)
    {
        const DeviceId known = trace_.find_device(name);
        if (known != DeviceId::none) {
            return known;
        }
        DeviceRecord device;
        device.name = name;
        return trace_.add_device(std::move(device));
    }

    /// Without tracing a frame is all there is to a packet: it was seen, and nobody knows what became of it.
    void add_frame_alone(const LiveFrame& frame)
    {
        PacketRecord record;
        const std::int64_t stamped = frame.wall_ns - trace_.info.wall_offset_ns;
        record.birth = std::max(SimTime{static_cast<std::uint64_t>(std::max<std::int64_t>(stamped, 0))}, trace_.end_time());
        record.death = record.birth;
        record.verdict = Verdict::lost;
        record.end_inferred = true;
        record.length = frame.length;
        record.device = device_of(frames_->devices()[frame.device]);
        record.flow = flow_of_frame(frame.bytes);
        const PacketId id = trace_.add_packet(record);
        trace_.set_frame(id, frame.bytes);
        Event birth;
        birth.time_ns = record.birth.ns;
        birth.packet = to_index(id);
        birth.kind = static_cast<std::uint8_t>(EventKind::birth);
        birth.arg = to_index(record.device);
        trace_.append(birth);
        Event verdict = birth;
        verdict.kind = static_cast<std::uint8_t>(EventKind::verdict);
        verdict.arg = static_cast<std::uint32_t>(Verdict::lost);
        trace_.append(verdict);
        summary_.packets = trace_.packet_count();
    }

    FrameMatch& match_of(const std::string& device)
    {
        return matches_.try_emplace(device, trace_.info.wall_offset_ns).first->second;
    }

    /// Frames for the packets that passed their devices' taps up to that time.
    std::vector<FrameMatch::Match> match_frames_until(std::uint64_t time_ns)
    {
        PacketBook& book = correlator_->book();
        for (const TapPassage& passage : correlator_->take_passages()) {
            const Slot slot = book.resolve(passage.packet);
            const DeviceId device = passage.device != DeviceId::none ? passage.device : book.at(slot).packet.device;
            const std::string name(trace_.device(device).name);
            const auto match = matches_.find(name);
            // libpcap keeps of each packet of "lo" the frame that comes in, and leaves out the one that goes out.
            const bool has_no_frame = passage.outgoing && name == "lo";
            if (slot == 0 || !book.at(slot).born || match == matches_.end() || has_no_frame) {
                continue;
            }
            const PacketRecord& packet = book.at(slot).packet;
            match->second.add({slot, packet.birth.ns, passage.time_ns, packet.length, packet.flow});
        }
        std::vector<FrameMatch::Match> found;
        for (auto& [device, match] : matches_) {
            for (FrameMatch::Match& one : match.match_until(time_ns)) {
                PacketRecord& packet = book.at(one.slot).packet;
                if (auto flow = flow_of_frame(one.frame.bytes)) {
                    packet.flow = flow;
                }
                packet.length = packet.length == 0 ? one.frame.length : packet.length;
                correlator_->frame_tells(one.slot, one.frame.bytes);
                found.push_back(std::move(one));
            }
        }
        return found;
    }

    void give_frames(const std::vector<FrameMatch::Match>& found)
    {
        for (const FrameMatch::Match& one : found) {
            const PacketId id = correlator_->book().id_of(one.slot);
            if (trace_.has_packet(id) && trace_.frame(id).empty()) {
                trace_.set_frame(id, one.frame.bytes);
                ++summary_.matched;
            }
        }
    }

    void stop_reading()
    {
        if (session_ != nullptr && reader_) {
            if (throttle_.joinable()) {
                throttle_.request_stop();
                throttle_.join();
            }
            (void)session_->set_running(false);
            is_flood_ = false;
            ended_ns_ = monotonic_ns();
            if (device_counts_ != nullptr) {
                counts_at_end_ = device_counts_->read();
            }
            reader_->finish();
        }
    }

    /// What is older than `settled_after` is handed on; what is younger may still turn out to be another packet's.
    void hand_on()
    {
        taken_.push_back({horizon_ns_, correlator_->book().last_item()});
        std::uint32_t until = 0;
        std::uint64_t until_ns = 0;
        for (; taken_.front().horizon_ns + settled_after_ns < horizon_ns_; taken_.pop_front()) {
            until = taken_.front().last_item;
            until_ns = taken_.front().horizon_ns;
        }
        if (until != 0) {
            const auto found = match_frames_until(until_ns);
            correlator_->hand_on(until);
            give_frames(found);
            settled_ns_ = until_ns;
        }
        summary_.packets = trace_.packet_count();
    }

    /// Writes what the trace has gained, and lets it forget what is written and old.
    Result<void> write(RecordingWriter& writer)
    {
        const std::uint64_t now = monotonic_ns();
        if (now < write_next_ && !finished_) {
            return {};
        }
        write_next_ = now + write_every_ns;
        if (!sink_({})) { // nothing may come for long: a reader that has gone is noticed all the same
            return fail(ErrorKind::unwritable, name_, "nobody reads it any more");
        }
        if (auto written = writer.update(); !written) {
            return written;
        }
        if (!correlator_ || finished_) {
            return {};
        }
        trace_.forget_before(writer.written());
        correlator_->let_go({horizon_ns_ - std::min<std::uint64_t>(horizon_ns_, let_go_after_ns)});
        return {};
    }

    void finish()
    {
        if (correlator_) {
            correlator_->finish();
            trace_.info.times_trustworthy = !times_look_emulated(correlator_->gaps());
            const auto found = match_frames_until(~std::uint64_t{0} >> 2);
            correlator_->hand_on(0, true);
            give_frames(found);
            frame_faults();
            shared_name_faults();
            // A page without room for the number says only that records were lost before it; the kernel knows how many.
            summary_.lost = std::max(summary_.lost, session_->lost());
            trace_.info.lost_events = std::max(trace_.info.lost_events, summary_.lost);
            if (pages_unreadable_ != 0) {
                trace_.faults.push_back({"pages of records for which there was no memory, or that the temporary file did not give back", pages_unreadable_,
                                         "what they held is missing"});
            }
        }
        if (sampler_ != nullptr) {
            tell_own_figures();
            sampler_->end({monotonic_ns()});
            sampler_->write(trace_, never);
        }
        finished_ = true;
        summary_.packets = trace_.packet_count();
        if (frames_ != nullptr) {
            summary_.frames_lost = frames_->lost();
            summary_.remarks.insert(summary_.remarks.end(), frames_->troubles().begin(), frames_->troubles().end());
        }
        if (throttled_) {
            summary_.remarks.push_back(fmt::format(
                "detail was left out: journeys were recorded during {:.1f} % of the time, drops all the time",
                100.0 * static_cast<double>(on_ns_) / static_cast<double>(std::max<std::uint64_t>(ended_ns_ - began_ns_, 1))));
            count_devices();
            trace_.faults.push_back({"pauses that --budget made in the journeys", pauses_,
                                     "between them only drops were recorded; a larger budget makes them fewer"});
        }
    }

    /// A record names its device, not the device's namespace: two of one name are one here.
    void shared_name_faults()
    {
        const std::vector<std::string> names = names_of_several(counts_at_start_, counts_at_end_);
        if (!names.empty()) {
            trace_.faults.push_back({"device names that several network namespaces used", names.size(),
                                     fmt::format("{}: a record names the device, not its namespace, and each name is shown "
                                                 "as one device",
                                                 fmt::join(names, ", "))});
        }
    }

    /// What passed, told or not: the devices' own counters.
    void count_devices()
    {
        if (device_counts_ == nullptr) {
            return;
        }
        std::uint64_t sent = 0;
        std::uint64_t received = 0;
        for (const auto& [name, count] : counts_at_end_) {
            const auto before = counts_at_start_.find(name);
            if (before == counts_at_start_.end() || before->second > count) {
                continue; // made, or made anew, meanwhile
            }
            (name.ends_with(".tx_packets") ? sent : received) += count - before->second;
        }
        // This namespace's own are among the host's figures.
        std::erase_if(counts_at_end_, [](const auto& count) { return count.first.find('/') == std::string::npos; });
        host::add_moves(trace_, counts_at_start_, counts_at_end_, trace_.end_time());
        summary_.remarks.push_back(fmt::format("in all the devices sent {} packets and received {}; a record cost {} ns where it was made ({})", sent,
                                               received, static_cast<unsigned>(session_->record_cost_ns().value_or(usual_record_ns)),
                                               session_->record_cost_ns() ? "measured at the start" : "assumed"));
        if (carried_in_detail_ > 0 && carried_plain_ > 0) {
            summary_.remarks.push_back(fmt::format("the devices carried {:.0f} packets a second while journeys were recorded, {:.0f} in the pauses",
                                                   carried_in_detail_, carried_plain_));
        }
    }

    void frame_faults()
    {
        std::uint64_t frames = 0;
        std::uint64_t packets = 0;
        for (const auto& [device, match] : matches_) {
            frames += match.frames_without();
            packets += match.passages_without();
        }
        if (frames != 0) {
            trace_.faults.push_back({"frames without a packet in the recording", frames, "captured before, after or beside what was recorded"});
        }
        if (packets != 0) {
            trace_.faults.push_back({"packets at the taps of captured devices without a frame", packets,
                                     "the capture had a filter, or lost frames"});
        }
    }

    // ---- the budget: detail is recorded during a part of the time -------------------------------------------------------

    /// A record behind an end of a pause: what was open then is not any more.
    void note_pause(std::uint64_t time_ns)
    {
        const std::scoped_lock lock(pauses_mutex_);
        for (; !gaps_.empty() && gaps_.front().at_ns <= time_ns; gaps_.pop_front()) {
            correlator_->resume(time_ns, !gaps_.front().ends);
            pauses_ += gaps_.front().ends ? 1 : 0;
        }
    }

    void note_gap(bool ends)
    {
        const std::scoped_lock lock(pauses_mutex_);
        gaps_.push_back({monotonic_ns(), ends});
    }

    /// What a record costs the traced code, nanoseconds, where that could not be measured.
    static constexpr double usual_record_ns = 110;
    /// Between real work, with its data in no cache, a record costs more than it does in the loop that measures it
    /// (tests/bench/README.md: 115 to 145 against 104 to 109 ns).
    static constexpr double between_real_work = 1.3;
    /// What this process needs to make a record part of a journey, until that has been seen.
    static constexpr double usual_correlating_ns = 400;
    static constexpr std::uint64_t enough_to_know = 50'000; ///< records
    static constexpr std::uint64_t step_ns = 50'000'000;

    /// What a record costs the code that is traced.
    double making_record_ns() const
    {
        return (session_ == nullptr ? usual_record_ns : session_->record_cost_ns().value_or(usual_record_ns)) * between_real_work;
    }

    /// … and this process, which may be behind with making journeys: of what it has made, and of what it has read.
    double own_record_ns(std::uint64_t throttling_ns) const
    {
        const std::uint64_t taken = shared_taken_;
        if (taken < enough_to_know) {
            return usual_correlating_ns;
        }
        const std::uint64_t correlating = shared_correlating_ns_;
        const std::uint64_t all = (own_cpu_us() - own_cpu_at_start_us_) * 1000;
        const std::uint64_t rest = all - std::min(all, correlating + throttling_ns);
        return static_cast<double>(correlating) / static_cast<double>(taken) + static_cast<double>(rest) / std::max(records_read(), 1.0);
    }

    double records_read() const { return static_cast<double>(reader_->bytes()) / record_bytes; }

    std::uint64_t packets_carried() const
    {
        std::uint64_t sum = 0;
        if (device_counts_ != nullptr) {
            for (const auto& [name, count] : device_counts_->read()) {
                sum += count;
            }
        }
        return sum;
    }

    /// What the devices carry in a stretch of time.
    class Carried {
    public:
        explicit Carried(const Run& run) : run_(run) { begin(); }
        void begin()
        {
            packets_ = run_.packets_carried();
            began_ns_ = monotonic_ns();
        }
        void end(DetailBudget& budget, bool in_detail) const
        {
            const std::uint64_t now = run_.packets_carried();
            budget.carried(in_detail, now - std::min(now, packets_), monotonic_ns() - began_ns_); // a device may have gone
        }

    private:
        const Run& run_;
        std::uint64_t packets_ = 0, began_ns_ = 0;
    };

    /// Step by step: what recording costs is held against what the budget allows for the time that has passed; where it is
    /// more, only drops are recorded until that time has come.
    void throttle(const std::stop_token& stop)
    {
        take_short_turns();
        KeepsOff keeps_off;
        DetailBudget budget(wishes_.budget, std::thread::hardware_concurrency());
        DetailBudget::Stretch stretch;
        Carried carried(*this);
        stretch.making_ns = making_record_ns();
        std::uint64_t switched_ns = thread_cpu_ns();
        std::uint64_t began = monotonic_ns();
        std::uint64_t on_since = began;
        double records_before = records_read();
        const auto begin_stretch = [&] {
            began = monotonic_ns();
            records_before = records_read();
        };
        while (wait(stop, step_ns)) {
            keeps_off.cpu(reader_->busiest_cpu()); // switching takes some milliseconds
            stretch.on_ns = monotonic_ns() - began;
            stretch.records = records_read() - records_before;
            stretch.own_ns = own_record_ns(thread_cpu_ns());
            if (!budget.is_over(stretch)) {
                begin_stretch(); // quiet times are not saved up
                continue;
            }
            if (!budget.is_worth_switching(stretch)) {
                continue;
            }
            throttled_ = true;
            carried.end(budget, true);
            on_ns_ += monotonic_ns() - on_since;
            // What lives now may end unseen, and its address then be another packet's that is dropped. Before and
            // after: what is between the two is next to nothing.
            note_gap(false);
            (void)session_->set_running(false);
            note_gap(false);
            (void)session_->set_events(false);
            reader_->be_calm(true);
            carried.begin();
            stretch.records = records_read() - records_before; // what had not been read yet, too
            const bool goes_on = wait(stop, budget.pause_ns(stretch));
            carried.end(budget, false);
            reader_->be_calm(false);
            (void)session_->set_events(true);
            on_since = monotonic_ns();
            note_gap(true);
            carried.begin();
            stretch.switching_ns = static_cast<double>(thread_cpu_ns() - switched_ns);
            switched_ns = thread_cpu_ns();
            begin_stretch();
            if (!goes_on) {
                break;
            }
        }
        on_ns_ += monotonic_ns() - on_since;
        carried_in_detail_ = budget.rate(true);
        carried_plain_ = budget.rate(false);
    }

    /// False: it is to stop.
    bool wait(const std::stop_token& stop, std::uint64_t ns)
    {
        std::unique_lock lock(throttle_mutex_);
        (void)throttle_wakes_.wait_for(lock, stop, std::chrono::nanoseconds(ns), [] { return false; });
        return !stop.stop_requested();
    }

    /// What a record takes of a page, about.
    static constexpr double record_bytes = 45;

    static constexpr std::uint64_t settled_after_ns = 100'000'000;
    static constexpr std::uint64_t write_every_ns = 100'000'000;
    static constexpr std::uint64_t let_go_after_ns = 30'000'000'000;   ///< packets that do not end

    TraceSession* session_;
    FrameSource* frames_;
    host::HostSampler* sampler_;
    const LiveWishes& wishes_;
    const HostPlaces& places_;
    RecordingSink sink_;
    std::string name_; ///< the output's
    int nice_; ///< of the thread that records, before it yielded
    Trace items_; ///< what is not handed on yet
    Trace trace_;
    /// How far the book had grown when records up to the horizon had been taken.
    struct Taken {
        std::uint64_t horizon_ns = 0;
        std::uint32_t last_item = 0;
    };
    std::deque<Taken> taken_;
    std::uint64_t horizon_ns_ = 0;
    std::uint64_t pages_unreadable_ = 0;
    std::uint64_t write_next_ = 0;
    std::uint64_t look_next_ = monotonic_ns() + static_cast<std::uint64_t>(wishes_.sample_seconds * 1e9);
    std::uint64_t settled_ns_ = 0; ///< what happened before is in the trace
    bool finished_ = false;
    std::optional<Correlator> correlator_;
    std::vector<RingReader::Buffer> buffers_;
    std::optional<RingMerge> merge_;
    std::optional<RecordFilter> filter_;
    PageSpool spool_;
    TraceClock& clock_;
    std::optional<RingReader> reader_;
    std::jthread tender_; ///< of the spool; asks the reader
    std::unordered_set<std::int32_t> named_tasks_;
    std::map<std::string, FrameMatch> matches_; ///< by device
    LiveSummary summary_;

    std::mutex pauses_mutex_;
    /// An end of a pause: detail was switched off, or on again.
    struct Gap {
        std::uint64_t at_ns = 0;
        bool ends = false;
    };
    std::deque<Gap> gaps_; ///< not met by a record yet
    std::uint64_t pauses_ = 0;
    Pace pace_;
    bool is_flood_ = false; ///< most is kept for later
    std::uint64_t records_taken_ = 0; ///< of the correlating thread
    std::atomic<std::uint64_t> shared_taken_{0}, shared_correlating_ns_{0}; ///< … and what that has cost it
    std::uint64_t own_cpu_at_start_us_ = own_cpu_us();
    double carried_in_detail_ = 0, carried_plain_ = 0; ///< packets a second
    std::atomic<bool> throttled_{false};
    std::atomic<std::uint64_t> on_ns_{0};
    std::uint64_t began_ns_ = 0;
    std::mutex throttle_mutex_;
    std::condition_variable_any throttle_wakes_;
    const DeviceCounts* device_counts_; ///< null: there is no session
    std::map<std::string, std::uint64_t> counts_at_start_, counts_at_end_;
    std::uint64_t ended_ns_ = 0;
    std::jthread throttle_; ///< last: it uses the rest
};

} // namespace

void LiveRecording::wait_in(int file, std::uint64_t bytes)
{
    state_->spool_file = file;
    state_->spool_bytes = bytes;
}

void LiveRecording::start()
{
    if (state_->device_counts) {
        state_->counts_at_start = state_->device_counts->read();
    }
    if (state_->session) {
        (void)state_->session->set_running(true);
    }
}

Result<LiveSummary> LiveRecording::run(const RecordingSink& sink, const std::string& name, const std::atomic<bool>& stop)
{
    Run run(state_->session ? &*state_->session : nullptr, state_->frames ? &*state_->frames : nullptr, state_->sampler ? &*state_->sampler : nullptr,
            state_->wishes, state_->facts, state_->places, {state_->spool_file, state_->spool_bytes}, state_->nice, *state_->clock,
            state_->device_counts ? &*state_->device_counts : nullptr, state_->counts_at_start);
    auto summary = run.record(sink, name, stop);
    if (state_->session && !state_->session->close()) {
        if (summary) {
            summary->remarks.push_back("the tracing instance " + state_->session->name() + " could not be removed; the next session will try again");
        }
    }
    return summary;
}

} // namespace skbscope
