#pragma once
// The model as a Source: a scenario that runs as far as one looks, with knobs to turn and datagrams to send.

#include "core/kernel/kernel.h"
#include "core/scenario/replay.h"
#include "core/scenario/scenario.h"
#include "core/trace/source.h"

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>

namespace skbscope {

class ModelSource : public Source {
public:
    /// Precondition: the scenario has been checked (it came from parse_scenario or load_scenario), the frames stand in order
    /// of time.
    explicit ModelSource(Scenario scenario, std::vector<ReplayFrame> frames = {});
    /// Frames that are read as they are needed.
    ModelSource(Scenario scenario, std::unique_ptr<ReplayFrames> frames);

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
    [[nodiscard]] std::vector<TextKnob> texts() const override;
    [[nodiscard]] std::optional<TextFault> check_text(const std::string& key, const std::string& text) const override;
    Result<void> set_text(const std::string& key, const std::string& text, SimTime at) override;
    Result<void> branch_text(const std::string& key, const std::string& text, SimTime at) override;
    [[nodiscard]] std::optional<std::string> scenario_text() const override;
    void start_over() override;
    [[nodiscard]] std::vector<Branch> branches() const override;
    [[nodiscard]] std::size_t chosen_branch() const override { return chosen_; }
    Result<void> branch(const std::string& key, std::int64_t value, SimTime at) override;
    void choose_branch(std::size_t index) override;
    [[nodiscard]] const Trace& branch_trace(std::size_t index) const override;
    /// Lines that are kept at most; the oldest that is neither the main line nor chosen gives way.
    static constexpr std::size_t most_branches = 8;

    /// Frames that came while the model ran, in order of time, behind those that it has; one that is late arrives now. For a source
    /// that began without frames: where no snapshots are kept, frames that have been fed are forgotten. Precondition: its frames
    /// are held in memory.
    void add_frames(std::vector<ReplayFrame> frames);
    [[nodiscard]] std::size_t frames_kept() const { return frames_->count(); }

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
        std::optional<std::string> text{}; ///< of a text
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
        std::map<std::string, std::string> parted_by; ///< the knobs and texts, with what they were set to in words
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
    [[nodiscard]] Result<void> refuse_bad_text(const std::string& key, const std::string& text) const;
    [[nodiscard]] std::string text_in_force(const std::string& key, const std::string& initial) const;
    void apply_text(const std::string& key, const std::string& text);
    Result<void> branch_by(Command command, std::string set_to);
    void send(std::uint64_t count, SimTime at);
    void take_snapshot();
    void store_line();
    void make_room();

    Scenario scenario_;
    std::unique_ptr<ReplayFrames> frames_; ///< never null
    HeldFrames* held_frames_ = nullptr;    ///< the same, if they are held
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

} // namespace skbscope
