#pragma once
// A lesson: a folder with lesson.md (front matter and steps in Markdown) and a scenario or a recording.
// Reading, checking and grading; no Qt. The format is described in docs/lesson-format.md.
//
// A lesson is data. It can run no code, and it can name no file outside its folder.

#include "core/catalog/catalog.h"
#include "core/result.h"
#include "core/trace/source.h"
#include "core/trace/stack_state.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace skbscope {

/// A place in lesson.md, counted from 1; 0: unknown.
struct TextPlace {
    int line = 0;
    int column = 0;
};

/// Where the playhead stops, said without nanoseconds: "packet 1 enters ip_rcv", "first drop", "queue :5001
/// holds 4".
struct Stop {
    enum class Kind : std::uint8_t {
        begin,         ///< before the first event
        end,           ///< when nothing more comes by itself
        time,          ///< "12.5 us": after all events up to that moment, counted from the trace's begin
        packet_born,   ///< "packet 1 born"
        packet_enters, ///< "packet 1 enters FUNCTION"; of a call that serves many packets: the one around its
                       ///< handling
        packet_leaves, ///< "packet 1 returns from FUNCTION"
        packet_verdict, ///< "packet 1 delivered", "packet 1 sent", "packet 1 dropped", …
        packet_freed,   ///< "packet 1 freed"
        packet_joins,   ///< "packet 1 joins QUEUE"
        packet_parts,   ///< "packet 1 leaves QUEUE"
        runs,           ///< "FUNCTION runs": its first call for any packet or none
        drop,           ///< "first drop", "first drop CPU_BACKLOG"
        queue_holds,    ///< "queue QUEUE holds N"
        irq_raised,     ///< "interrupt raised"
        irq_masked,     ///< "interrupt masked"
        irq_unmasked,   ///< "interrupt unmasked"
    } kind = Kind::begin;
    PacketId packet = PacketId::none;
    std::string function; ///< of enters, leaves, runs
    std::string queue;    ///< as find_queue() understands it
    Verdict verdict = Verdict::in_flight;
    DropReasonId reason = DropReasonId::none; ///< of drop; none: any
    std::uint64_t count = 0;                  ///< of queue_holds
    unsigned nth = 1;                         ///< "…, 3rd time"
    Duration time;
    std::string text; ///< as written
    TextPlace place;
};

/// Reads a stop. The error's `where` is empty: the caller knows the place.
[[nodiscard]] Result<Stop> parse_stop(std::string_view text);

/// The position (one behind the event, as Session::position()) at which the stop happens; empty: it does not
/// (yet).
[[nodiscard]] std::optional<std::size_t> resolve_stop(const Stop& stop, const Trace& trace);

/// The queue meant by a lesson: its exact name, else the one whose name begins with it (":5001"), else the
/// first that belongs to the room or kind of that name ("backlog"); none if there is none.
[[nodiscard]] QueueId find_queue(const Trace& trace, std::string_view name);

/// One comparison: "delivered == 64", "dropped(SOCKET_RCVBUFF) > 0", "peak(backlog) >= 10".
struct Condition {
    enum class Measure : std::uint8_t {
        born,
        delivered,
        forwarded,
        sent,
        consumed,
        dropped,
        merged,
        split,
        in_flight,
        lost,           ///< of the accounting
        dropped_reason, ///< dropped(REASON)
        peak,           ///< peak(QUEUE): most packets it ever held
        level,          ///< level(QUEUE): packets it holds at the end
        calls, ///< calls(FUNCTION): how often it was called; "calls(FUNCTION in softirq)" in that context
               ///< only; "calls(FUNCTION, packet 1)" on that packet's way
        irqs,     ///< irqs: interrupts raised
        counter,  ///< counter(Udp.InDatagrams): its value at the end
        truesize, ///< truesize(packet 1): the last known
    } measure = Measure::delivered;
    enum class Comparison : std::uint8_t {
        equal,
        not_equal,
        less,
        less_equal,
        greater,
        greater_equal
    } comparison = Comparison::equal;
    std::string argument;
    PacketId packet = PacketId::none;
    std::optional<Context> context; ///< of calls
    std::int64_t value = 0;
    std::string text; ///< as written
};

/// Conditions joined with "and".
struct Goal {
    std::vector<Condition> conditions;
    std::string text;
    TextPlace place;
    [[nodiscard]] bool empty() const { return conditions.empty(); }
};

[[nodiscard]] Result<Goal> parse_goal(std::string_view text);

/// One condition, measured.
struct Measured {
    std::string text;                  ///< the condition as written
    std::optional<std::int64_t> value; ///< empty: the trace has no such queue, function, counter
    bool holds = false;
};

struct GoalResult {
    bool reached = false;
    std::vector<Measured> conditions;
    /// "delivered 64, dropped(SOCKET_RCVBUFF) 0"
    [[nodiscard]] std::string text() const;
};

/// Measures the goal on the trace and its state. The state must be the one after the trace's last event.
[[nodiscard]] GoalResult evaluate(const Goal& goal, const Trace& trace, const StackState& state);
/// The same, replaying the trace itself.
[[nodiscard]] GoalResult evaluate(const Goal& goal, const Trace& trace);

struct Choice {
    std::string text;
    std::string explanation; ///< shown when chosen
    bool correct = false;
};

/// A prediction: asked before the playhead goes on.
struct Question {
    std::string prompt;
    std::vector<Choice> choices; ///< exactly one is correct (check_lesson sees to it)
    Goal proof; ///< what must hold in the lesson's own run if the right answer is right; may be empty
    TextPlace place;
    [[nodiscard]] std::size_t correct_index() const;
};

struct KnobSetting {
    std::string key;        ///< as Knob::key
    std::int64_t value = 0; ///< the value that reaches the goal; shown as a hint only
    TextPlace place;
};

struct LessonAction {
    std::string key; ///< as Action::key
    unsigned times = 1;
    TextPlace place;
};

/// Something to try: turn knobs, act, and see whether the goal is reached.
struct Experiment {
    std::string prompt;
    std::vector<KnobSetting> knobs;    ///< the knobs to show; their values are one way to reach the goal
    std::vector<LessonAction> actions; ///< what to do after turning them
    Goal goal;
    std::string after; ///< what to say when the goal is reached
    bool from_start =
        true; ///< begin with a fresh run, so that the measure does not hang on what was tried before
    TextPlace place;
};

struct LessonStep {
    std::string title;
    std::string body; ///< Markdown, without the blocks
    Stop stop;
    std::vector<RoomId> rooms;         ///< to highlight
    std::vector<FunctionId> functions; ///< to highlight
    std::vector<std::string>
        panels; ///< to unfold: packet, skb, journey, function, queues, cpus, controls, map
    PacketId select = PacketId::none; ///< packet to select; by default the stop's
    std::optional<Question> question;
    std::optional<Experiment> experiment;
    TextPlace place;
};

struct Lesson {
    std::string id; ///< the folder's name: "01-a-datagram-arrives"
    std::string title;
    std::string summary;
    std::string language = "en";
    std::filesystem::path folder;
    std::filesystem::path scenario;  ///< of a model lesson: the file, inside the folder
    std::filesystem::path recording; ///< of a recording lesson; exactly one of the two is set
    std::string kernel;              ///< "6.1"
    std::vector<LessonStep> steps;
    [[nodiscard]] bool uses_model() const { return !scenario.empty(); }
    [[nodiscard]] const std::filesystem::path& driver() const { return uses_model() ? scenario : recording; }
};

/// Limits on what a lesson may be; a larger one is refused.
inline constexpr std::size_t max_lesson_bytes = 1 << 20;
inline constexpr std::size_t max_lesson_steps = 200;
/// A lesson's run is not advanced beyond this much of its trace's time, nor beyond this many events.
inline constexpr Duration max_lesson_run{10'000'000'000};
inline constexpr std::size_t max_lesson_events = 20'000'000;

/// Reads a lesson; the first error of lesson.md as "lesson.md:line:column". Does not open the scenario or
/// recording.
[[nodiscard]] Result<Lesson> load_lesson(const std::filesystem::path& folder);

struct Finding {
    enum class Severity : std::uint8_t { error, warning } severity = Severity::error;
    std::filesystem::path file;
    int line = 0;
    int column = 0;
    std::string text;
    std::string remedy;
    /// "lesson.md:12:3: error: …"
    [[nodiscard]] std::string describe() const;
};

/// Opens a lesson's scenario or recording. The app gives one (core/ cannot know which driver is which).
using OpenSource = std::function<Result<std::unique_ptr<Source>>(const std::filesystem::path& driver)>;

/// Everything that is wrong with a lesson: what load_lesson() refuses, unknown rooms, functions and knobs,
/// missing files, stops that never happen, questions without one right answer, experiments that do not reach
/// their goal. With no `open`, the checks that need a run are left out.
[[nodiscard]] std::vector<Finding> check_lesson(const std::filesystem::path& folder,
                                                const OpenSource& open = {});

/// A lesson as a list shows it. One that cannot be read is listed with its error.
struct LessonEntry {
    std::string id;
    std::string title; ///< empty if it cannot be read
    std::string summary;
    std::string language;
    bool uses_model = true;
    std::filesystem::path folder;
    std::optional<Error> error;
};

/// The lessons below that folder, by name; empty if the folder is not there.
[[nodiscard]] std::vector<LessonEntry> list_lessons(const std::filesystem::path& dir);
/// The folder of the lesson with that id, or of the only one whose id begins with it
/// ("01-a-datagram-arrives", "02").
[[nodiscard]] Result<std::filesystem::path> find_lesson(const std::filesystem::path& dir,
                                                        std::string_view id);

/// Advances a source until nothing more comes by itself, within the limits above. False: a limit was reached
/// first.
bool run_to_end(Source& source);

/// Makes sure that the trace reaches far enough for the stop, and resolves it.
[[nodiscard]] std::optional<std::size_t> advance_to_stop(Source& source, const Stop& stop);

struct ExperimentResult {
    Result<void> done; ///< an unknown knob, a refused value
    GoalResult goal;
};

/// Runs the experiment: from the start if it says so, the knobs set, the actions done, to the end; then
/// measures.
[[nodiscard]] ExperimentResult run_experiment(Source& source, const Experiment& experiment);

} // namespace skbscope
