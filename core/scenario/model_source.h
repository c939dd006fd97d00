#pragma once
// The model as a Source: a scenario that runs as far as one looks, with knobs to turn and datagrams to send.

#include "core/kernel/kernel.h"
#include "core/scenario/scenario.h"
#include "core/trace/source.h"

#include <functional>
#include <map>
#include <memory>
#include <span>

namespace skbscope {

/// The bytes of a frame that is only read: a piece of a capture, which is held once for all of them, or bytes of its own.
class FrameBytes {
public:
    FrameBytes() = default;
    FrameBytes(std::vector<std::uint8_t> own)
    {
        const auto held = std::make_shared<const std::vector<std::uint8_t>>(std::move(own));
        size_ = held->size();
        data_ = {held, held->data()};
    }
    /// `holder` keeps the piece in memory.
    FrameBytes(const std::shared_ptr<const void>& holder, std::span<const std::uint8_t> piece) : data_(holder, piece.data()), size_(piece.size()) {}
    operator std::span<const std::uint8_t>() const { return {data_.get(), size_}; }
    [[nodiscard]] std::size_t size() const { return size_; }
    [[nodiscard]] bool empty() const { return size_ == 0; }
    [[nodiscard]] const std::uint8_t& operator[](std::size_t at) const { return data_.get()[at]; }
    [[nodiscard]] const std::uint8_t* begin() const { return data_.get(); }
    [[nodiscard]] const std::uint8_t* end() const { return data_.get() + size_; }

private:
    std::shared_ptr<const std::uint8_t> data_;
    std::size_t size_ = 0;
};

/// A frame for the modelled host's wire, at a time.
struct ReplayFrame {
    SimTime at;
    FrameBytes bytes;
    std::uint32_t wire_length = 0; ///< may be above bytes.size(): the capture cut it, zeros stand in for the rest
};

class ModelSource : public Source {
public:
    /// Precondition: the scenario has been checked (it came from parse_scenario or load_scenario); the frames stand in
    /// order of time.
    explicit ModelSource(Scenario scenario, std::vector<ReplayFrame> frames = {});

    [[nodiscard]] Kind kind() const override { return Kind::model; }
    [[nodiscard]] std::string title() const override { return scenario_.title; }
    [[nodiscard]] const Trace& trace() const override { return trace_; }
    [[nodiscard]] std::uint64_t generation() const override { return generation_; }
    void advance_to(SimTime t) override;
    [[nodiscard]] SimTime known_until() const override;
    [[nodiscard]] bool exhausted() const override;
    [[nodiscard]] std::vector<Knob> knobs() const override;
    [[nodiscard]] std::vector<Action> actions() const override;
    Result<void> set_knob(const std::string& key, std::int64_t value, SimTime at) override;
    Result<void> act(const std::string& key, SimTime at) override;
    void start_over() override;
    [[nodiscard]] std::vector<Branch> branches() const override;
    [[nodiscard]] std::size_t chosen_branch() const override { return chosen_; }
    Result<void> branch(const std::string& key, std::int64_t value, SimTime at) override;
    void choose_branch(std::size_t index) override;
    [[nodiscard]] const Trace& branch_trace(std::size_t index) const override;
    /// Lines that are kept at most; the oldest that is neither the main line nor chosen gives way.
    static constexpr std::size_t most_branches = 8;

    /// Frames that came while the model ran, in order of time, behind those that it has; one that is late arrives now. For a source
    /// that began without frames: where no snapshots are kept, frames that have been fed are forgotten.
    void add_frames(std::vector<ReplayFrame> frames);
    [[nodiscard]] std::size_t frames_kept() const { return frames_.size(); }

    /// Off (before the first step): only counts and sums, keeps no events. See Trace::set_recording().
    void set_recording(bool on) { trace_.set_recording(on); }

    /// The number that "KEY=VALUE" on a command line means for this knob.
    [[nodiscard]] Result<std::int64_t> knob_value(const std::string& key, const std::string& text) const;
    /// Takes the world and the trace back to `at`, or forward: as if it had been run only so far. What a person did
    /// after it is forgotten.
    void rewind_to(SimTime at);
    /// False: no more snapshots are taken, a rewind runs again from the start or from the last one. For runs that never
    /// look back. They are taken by default.
    void keep_snapshots(bool keep) { keeps_snapshots_ = keep; }
    [[nodiscard]] std::size_t snapshots() const { return line_.snapshots.size(); }
    /// Runs until nothing happens by itself any more, or until t.
    void run_to_end(SimTime t = never);
    /// … and calls `grown` whenever the trace has gained some hundred thousand events; false ends the run there.
    void run_to_end(SimTime t, const std::function<bool()>& grown);
    /// What lies before has been written away (Trace::forget_before()). Precondition: keep_snapshots(false).
    void forget_before(const TraceMark& written) { trace_.forget_before(written); }
    /// Hands the finished trace over; the source is empty afterwards.
    [[nodiscard]] Trace take_trace() { return std::move(trace_); }
    [[nodiscard]] const kernel::World& world() const { return world_; }
    [[nodiscard]] const Scenario& scenario() const { return scenario_; }

private:
    /// What a person did, so that a run can be made again up to any moment.
    struct Command {
        SimTime at;
        std::string key;
        std::int64_t value = 0; ///< of a knob
        bool is_action = false;
    };
    /// The world between two quanta, and how far the trace was then.
    struct Snapshot {
        SimTime at;
        kernel::World world;
        TraceMark mark;
        std::size_t commands = 0;
    };
    /// One run. Its trace and world lie in trace_ and world_ while it is the chosen one.
    struct Line {
        std::string title = "main";
        SimTime parted;      ///< where it left another line
        std::uint32_t id = 0;
        std::map<std::string, std::int64_t> parted_by; ///< the knobs
        std::vector<Command> commands;
        std::vector<std::shared_ptr<const Snapshot>> snapshots; ///< in order of time, at most most_snapshots
        std::size_t snapshot_events = 4096; ///< that lie between two of them at least
        SimTime looked_at;
    };
    struct Stored {
        Line line;
        kernel::World world;
        Trace trace;
    };
    static constexpr std::size_t most_snapshots = 64;

    void build();
    void feed(SimTime until);
    [[nodiscard]] SimTime next_frame() const;
    void apply(const Command& command);
    Result<void> take(Command command);
    [[nodiscard]] Result<void> check(const std::string& key, std::int64_t value) const;
    void send(std::uint64_t count, SimTime at);
    void take_snapshot();
    void store_line();
    void make_room();

    Scenario scenario_;
    std::vector<ReplayFrame> frames_;
    std::size_t numbered_ = 0; ///< frames whose place among simultaneous events was set aside at the start
    kernel::World world_;
    Trace trace_;
    Line line_;
    std::vector<std::unique_ptr<Stored>> stored_; ///< by branch; null: the chosen one
    std::size_t chosen_ = 0;
    std::uint32_t branches_made_ = 0;
    std::uint64_t generation_ = 0;
    bool keeps_snapshots_ = true;
};

/// The world of a scenario, at time 0, with its hosts, queues and tasks declared in the trace.
[[nodiscard]] kernel::World build_world(const Scenario& scenario, Trace& trace);

/// A scenario for the replay of a capture: one host with that address behind an e1000, receivers on the given ports.
[[nodiscard]] Scenario replay_scenario(std::uint32_t address, const MacAddress& mac, const std::vector<std::uint16_t>& ports);

struct CapturedFrame {
    std::uint64_t time_ns = 0;
    std::uint32_t wire_length = 0;
    FrameBytes bytes;
};

/// Makes frames that a capture has seen ready for the modelled host's wire, one by one.
class ReplayPlanner {
public:
    /// Of the host that is modelled. Times count from `start_ns`, or from the first frame.
    explicit ReplayPlanner(const MacAddress& mac, std::optional<std::uint64_t> start_ns = {});
    /// Nothing: the host itself had sent it. (What it sent to itself, over loopback, it receives.)
    [[nodiscard]] std::optional<ReplayFrame> take(const CapturedFrame& frame);
    /// When in the model's time a frame with that stamp arrives. Precondition: a start was given, or a frame was taken.
    [[nodiscard]] SimTime time_of(std::uint64_t stamp_ns) const;

    struct Counts {
        std::uint64_t own = 0;        ///< left out: the host itself had sent them
        std::uint64_t cut = 0;        ///< padded with zeros to their real length
        std::uint64_t unfinished = 0; ///< of which a device was to fill in the checksum; it has been done
    };
    [[nodiscard]] const Counts& counts() const { return counts_; }

private:
    MacAddress mac_;
    std::optional<std::uint64_t> start_ns_;
    SimTime latest_;
    Counts counts_;
};

/// The frames of a capture that go to the host with that address (its own are not injected), ready for ModelSource.
/// Times count from the first frame. `mac`: all zero to learn it from the frames.
struct ReplayPlan {
    std::vector<ReplayFrame> frames;
    MacAddress mac;
    std::vector<std::uint16_t> udp_ports; ///< destination ports of UDP datagrams to the address
    ReplayPlanner::Counts counts;
};
[[nodiscard]] ReplayPlan plan_replay(const std::vector<CapturedFrame>& capture, std::uint32_t address, MacAddress mac);

} // namespace skbscope
