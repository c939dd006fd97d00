#pragma once
// The model as a Source: a scenario that runs as far as one looks, with knobs to turn and datagrams to send.

#include "core/kernel/kernel.h"
#include "core/scenario/scenario.h"
#include "core/trace/source.h"

namespace skbscope {

/// A frame for the modelled host's wire, at a time.
struct ReplayFrame {
    SimTime at;
    std::vector<std::uint8_t> bytes;
    std::uint32_t wire_length = 0; ///< may be above bytes.size(): the capture cut it, zeros stand in for the rest
};

class ModelSource : public Source {
public:
    /// Precondition: the scenario has been checked (it came from parse_scenario or load_scenario).
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

    /// Off (before the first step): only counts and sums, keeps no events. See Trace::set_recording().
    void set_recording(bool on) { trace_.set_recording(on); }

    /// Runs until nothing happens by itself any more, or until t.
    void run_to_end(SimTime t = never);
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
    void build();
    void rewind_to(SimTime at);
    void apply(const Command& command);
    Result<void> take(Command command);
    void send(std::uint64_t count, SimTime at);

    Scenario scenario_;
    std::vector<ReplayFrame> frames_;
    kernel::World world_;
    Trace trace_;
    std::vector<Command> commands_;
    SimTime looked_at_;
    std::uint64_t generation_ = 0;
};

/// The world of a scenario, at time 0, with its hosts, queues and tasks declared in the trace.
[[nodiscard]] kernel::World build_world(const Scenario& scenario, Trace& trace);

/// A scenario for the replay of a capture: one host with that address behind an e1000, receivers on the given ports.
[[nodiscard]] Scenario replay_scenario(std::uint32_t address, const MacAddress& mac, const std::vector<std::uint16_t>& ports);

/// The frames of a capture that go to the host with that address (its own are not injected), ready for ModelSource.
/// Times count from the first frame. `mac`: all zero to learn it from the frames.
struct ReplayPlan {
    std::vector<ReplayFrame> frames;
    MacAddress mac;
    std::vector<std::uint16_t> udp_ports; ///< destination ports of UDP datagrams to the address
    std::uint64_t own_frames = 0;         ///< left out: the host itself had sent them
    std::uint64_t cut_frames = 0;         ///< padded with zeros to their real length
};
struct CapturedFrame {
    std::uint64_t time_ns = 0;
    std::uint32_t wire_length = 0;
    std::vector<std::uint8_t> bytes;
};
[[nodiscard]] ReplayPlan plan_replay(const std::vector<CapturedFrame>& capture, std::uint32_t address, MacAddress mac);

} // namespace skbscope
