#pragma once
// The model held against recordings of real kernels: rebuild a folder's scenario, run it, import the recording, compare
// the test packets of each phase.

#include "capture/fidelity/counters.h"
#include "capture/fidelity/manifest.h"
#include "capture/fidelity/rebuild.h"
#include "capture/fidelity/stream.h"
#include "capture/import.h"
#include "core/compare/compare.h"

#include <memory>
#include <set>

namespace skbscope {

struct Pace;

/// One phase of a recorded folder. A is the model, B the recording.
struct FidelityRow {
    std::string folder, kernel, scenario, phase;
    std::size_t packets = 0; ///< test packets of the phase in the recording
    std::size_t same_verdict = 0, same_reason = 0, same_functions = 0;
    std::size_t at_other_pace = 0; ///< of `same_functions`: packets that agree with the model at another pace only
    std::size_t complete = 0; ///< of `packets`: those whose journey in the recording has the expected path and an end
    bool hangs_on_speed = false; ///< compared by outcomes, not packet by packet
    std::vector<std::string> faults; ///< of a comparison by outcomes: ends of one side only, counters that do not balance; of a connection: bytes that differ; none: it holds
    std::string first_difference; ///< empty: none
    std::string refused;          ///< why the model could not run it; empty: it ran
    /// Of a connection: each segment that agrees with none of its kind, and the one of the model that comes nearest. Where the phase hangs
    /// on speed: each packet whose way no packet of the model took, and the way that comes nearest.
    struct Differing {
        PacketPair pair; ///< without a packet of the model: one on slower CPUs took that leg
        std::string text;
        std::vector<std::string> model, recorded; ///< functions of the leg
    };
    std::vector<Differing> differing;
};

struct FolderFidelity {
    std::vector<FidelityRow> rows;
    std::vector<FidelityCounter> counters; ///< that moved differently over the whole recording, also by what is `elsewhere`
    std::size_t counters_compared = 0;     ///< that moved on either side
    std::vector<std::string> notes;
};

/// A folder with both its traces in memory, for looking at what differs.
class FidelityRun {
public:
    /// Errors: those of read_manifest() and import_trace_dat(). A scenario that the model cannot express is no error: its
    /// rows say so.
    [[nodiscard]] static Result<std::unique_ptr<FidelityRun>> open(const std::filesystem::path& folder);

    [[nodiscard]] FolderFidelity result() const;
    [[nodiscard]] const Manifest& manifest() const { return manifest_; }
    /// Null if the model could not run it.
    [[nodiscard]] const Rebuilt* rebuilt() const { return rebuilt_ ? &*rebuilt_ : nullptr; }
    [[nodiscard]] const Trace& model() const { return model_; }
    [[nodiscard]] const Trace& recorded() const { return recorded_; }
    /// How often the model ran.
    [[nodiscard]] std::size_t runs() const { return runs_; }
    [[nodiscard]] Comparison compare_phase(std::size_t phase) const;
    /// Both journeys of a pair in two columns.
    [[nodiscard]] std::string side_by_side(PacketPair pair) const;

private:
    using Way = std::vector<Segment>;

    /// What the model's runs so far tell of a phase, and what of it they leave unexplained.
    struct Learned {
        StreamWays stream;                                ///< of a connection
        std::map<std::string, std::vector<Way>> ways;     ///< where it hangs on speed: by end
        std::set<PacketId> agreeing;                      ///< of the recording: with the run at one pace or another
        std::set<PacketId> unexplained;                   ///< of the recording: another pace might tell
    };

    FidelityRun() = default;
    [[nodiscard]] Result<bool> run_at_the_paces();
    [[nodiscard]] Result<bool> learn_at(const std::vector<Pace>& paces, bool only_complete);
    void learn(const Trace& model, const JourneyIndex& journeys, bool is_first);
    void learn_ways(Learned& learned, std::size_t phase, const Trace& model, const JourneyIndex& journeys) const;
    void learn_stream(Learned& learned, std::size_t phase, const Trace& model, const JourneyIndex& journeys, bool is_first) const;
    void learn_agreeing(Learned& learned, std::size_t phase, const Trace& model, const JourneyIndex& journeys, bool is_first) const;
    [[nodiscard]] bool explains_segments() const;
    [[nodiscard]] bool explains_counters() const;
    [[nodiscard]] Way recorded_way(PacketId packet) const;
    [[nodiscard]] CounterResult counters() const;
    [[nodiscard]] Comparison compare_phase(std::size_t phase, const Trace& model, const JourneyIndex& journeys) const;
    [[nodiscard]] bool carries_what_was_recorded(const Trace& model) const;
    [[nodiscard]] FidelityRow row(std::size_t phase) const;
    void compare_outcomes(FidelityRow& row, std::size_t phase) const;
    [[nodiscard]] std::map<std::string, std::vector<PacketId>> ends_of(std::size_t phase, const Trace& trace) const;
    [[nodiscard]] bool has_the_ends() const;
    [[nodiscard]] bool has_streams() const;
    void check_balance(FidelityRow& row, std::size_t phase) const;
    void compare_stream(FidelityRow& row, std::size_t phase) const;
    /// A fault for each direction of a connection in which the runs carry different numbers of bytes.
    void compare_bytes(FidelityRow& row, std::size_t phase) const;
    /// The test packets of a phase in one of the traces.
    [[nodiscard]] PacketChoice choice(std::size_t phase, bool of_model) const { return choice(phase, of_model ? model_ : recorded_); }
    [[nodiscard]] PacketChoice choice(std::size_t phase, const Trace& trace) const;
    [[nodiscard]] Result<Trace> run_model(const Pace& pace) const;

    Manifest manifest_;
    std::optional<Rebuilt> rebuilt_;
    std::string refused_;
    Trace model_, recorded_;
    std::optional<JourneyIndex> model_journeys_, recorded_journeys_;
    std::vector<Learned> learned_;              ///< by phase
    std::vector<CounterMoves> complete_runs_;   ///< counters of the runs at other paces in which connections got done
    mutable std::size_t runs_ = 0;
    VisibleFunctions visible_; ///< to the recording's tracer
};

/// Opens and compares.
[[nodiscard]] Result<FolderFidelity> fidelity_of(const std::filesystem::path& folder);

/// JSON as the command prints it: a row for each phase.
[[nodiscard]] std::string fidelity_to_json(const std::vector<FolderFidelity>& folders);
/// A table for a terminal.
[[nodiscard]] std::string fidelity_to_text(const std::vector<FolderFidelity>& folders);

} // namespace skbscope
