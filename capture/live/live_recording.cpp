#include "capture/live/live_recording.h"

#include "capture/correlator.h"
#include "capture/import.h"
#include "capture/live/page_spool.h"
#include "capture/live/ring_merge.h"
#include "capture/live/ring_reader.h"
#include "capture/session/tracefs_files.h"
#include "core/catalog/catalog.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <deque>
#include <fmt/format.h>
#include <limits>
#include <sys/utsname.h>
#include <thread>
#include <unordered_set>

namespace skbscope {

namespace {

constexpr std::size_t spool_bytes = std::size_t{256} << 20;
constexpr auto round_pause = std::chrono::milliseconds(20);

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

std::string host_name()
{
    utsname names{};
    return uname(&names) == 0 && names.nodename[0] != '\0' ? names.nodename : "this host";
}

} // namespace

struct LiveRecording::State {
    LiveWishes wishes;
    HostPlaces places;
    HostFacts facts;
    ProbePlan plan;
    std::optional<TraceSession> session;
    std::optional<FrameSource> frames;
    std::vector<std::string> missing;
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
    state->plan = plan_probes(state->facts, {wishes.device, wishes.most});
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
    if (state->plan.detail >= Detail::tracepoints) {
        auto session = TraceSession::open(state->facts, state->plan, {places, 0, wishes.budget > 0});
        if (!session) {
            return tl::unexpected(session.error());
        }
        state->session = std::move(*session);
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
    return LiveRecording(std::move(state));
}

namespace {

/// One run: everything that exists only while records come.
class Run {
public:
    Run(TraceSession* session, FrameSource* frames, const LiveWishes& wishes, const HostFacts& facts, const HostPlaces& places)
        : session_(session), frames_(frames), wishes_(wishes), places_(places), spool_(spool_bytes)
    {
        items_.info.observed = true;
        trace_.info.source = "live: " + host_name();
        trace_.info.kernel_release = facts.kernel_release;
        trace_.info.kernel = kernel_version_of(facts.kernel_release);
        trace_.info.observed = true;
        trace_.info.clock = session != nullptr ? session->kernel().clock : "mono";
        trace_.info.wall_offset_ns = wall_offset_ns();
        HostRecord host;
        host.name = host_name();
        host.cpus = static_cast<std::uint16_t>(facts.cpus);
        (void)trace_.add_host(std::move(host));
        if (session != nullptr) {
            Correlator::Options options;
            options.items = &items_;
            correlator_.emplace(session->kernel(), trace_, options);
            std::vector<std::uint16_t> cpus;
            for (const std::vector<int>* group : {&session->buffers(), &session->drop_buffers()}) {
                for (std::size_t cpu = 0; cpu < group->size(); ++cpu) {
                    buffers_.push_back((*group)[cpu]);
                    cpus.push_back(static_cast<std::uint16_t>(cpu));
                }
            }
            merge_.emplace(cpus);
        }
    }

    Result<LiveSummary> record(const RecordingSink& sink, const std::string& name, const std::atomic<bool>& stop)
    {
        RecordingWriter writer(trace_, sink, name);
        if (auto begun = writer.update(); !begun) { // the reader at the other end learns at once that it runs
            return tl::unexpected(begun.error());
        }
        const std::uint64_t end = wishes_.seconds > 0 ? monotonic_ns() + static_cast<std::uint64_t>(wishes_.seconds * 1e9) : ~std::uint64_t{0};
        if (session_ != nullptr) {
            reader_.emplace(buffers_, session_->page_size(), spool_);
        }
        while (!stop && monotonic_ns() < end && !enough()) {
            std::this_thread::sleep_for(round_pause);
            take_frames();
            take_records();
            hand_on();
            if (auto written = write(writer); !written) {
                stop_reading();
                return tl::unexpected(written.error());
            }
        }
        stop_reading();
        take_frames();
        take_records();
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
    bool enough() const { return wishes_.packets != 0 && summary_.packets >= wishes_.packets; }

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

    void take_records()
    {
        if (!merge_) {
            return;
        }
        PageSpool::Batch batch = spool_.take();
        for (SpooledPage& page : batch.pages) {
            merge_->add(std::move(page));
        }
        const std::uint64_t horizon = batch.closed ? ~std::uint64_t{0} : batch.horizon_ns;
        merge_->take_until(horizon, [this](const RawRecord& record) {
            ++summary_.records;
            if (record.lost_before != 0 && record.lost_before != RawRecord::unknown_loss) {
                summary_.lost += record.lost_before;
            }
            name_task(record.pid);
            correlator_->take(record);
        });
    }

    void take_frames()
    {
        if (frames_ != nullptr) {
            (void)frames_->read(captured_);
        }
    }

    void stop_reading()
    {
        if (session_ != nullptr && reader_) {
            (void)session_->set_running(false);
            reader_->finish();
        }
    }

    /// What is older than `settled_after` is handed on; what is younger may still turn out to be another packet's.
    void hand_on()
    {
        if (!correlator_) {
            return;
        }
        const std::uint64_t now = monotonic_ns();
        taken_.push_back({now, correlator_->book().last_item()});
        std::uint32_t until = 0;
        for (; !taken_.empty() && taken_.front().first + settled_after_ns < now; taken_.pop_front()) {
            until = taken_.front().second;
        }
        if (until != 0) {
            correlator_->hand_on(until);
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
        if (auto written = writer.update(); !written) {
            return written;
        }
        if (!correlator_ || finished_) {
            return {};
        }
        trace_.forget_before(writer.written());
        correlator_->let_go({now - std::min<std::uint64_t>(now, let_go_after_ns)});
        return {};
    }

    void finish()
    {
        if (correlator_) {
            correlator_->finish();
            trace_.info.times_trustworthy = !times_look_emulated(correlator_->gaps());
            correlator_->hand_on(0, true);
        }
        finished_ = true;
        summary_.packets = trace_.packet_count();
        summary_.frames = captured_.size();
    }

    static constexpr std::uint64_t settled_after_ns = 100'000'000;
    static constexpr std::uint64_t write_every_ns = 100'000'000;
    static constexpr std::uint64_t let_go_after_ns = 30'000'000'000;   ///< packets that do not end

    TraceSession* session_;
    FrameSource* frames_;
    const LiveWishes& wishes_;
    const HostPlaces& places_;
    Trace items_; ///< what is not handed on yet
    Trace trace_;
    std::deque<std::pair<std::uint64_t, std::uint32_t>> taken_; ///< when the book had grown to which item
    std::uint64_t write_next_ = 0;
    bool finished_ = false;
    std::optional<Correlator> correlator_;
    std::vector<int> buffers_;
    std::optional<RingMerge> merge_;
    PageSpool spool_;
    std::optional<RingReader> reader_;
    std::unordered_set<std::int32_t> named_tasks_;
    std::vector<LiveFrame> captured_;
    LiveSummary summary_;
};

} // namespace

void LiveRecording::start()
{
    if (state_->session) {
        (void)state_->session->set_running(true);
    }
}

Result<LiveSummary> LiveRecording::run(const RecordingSink& sink, const std::string& name, const std::atomic<bool>& stop)
{
    Run run(state_->session ? &*state_->session : nullptr, state_->frames ? &*state_->frames : nullptr, state_->wishes, state_->facts,
            state_->places);
    auto summary = run.record(sink, name, stop);
    if (state_->session && !state_->session->close()) {
        if (summary) {
            summary->remarks.push_back("the tracing instance " + state_->session->name() + " could not be removed; the next session will try again");
        }
    }
    return summary;
}

} // namespace skbscope
