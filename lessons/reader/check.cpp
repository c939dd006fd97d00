// What is wrong with a lesson, for its author.

#include "lessons/reader/lesson.h"
#include "lessons/reader/parse.h"

#include <algorithm>
#include <fmt/format.h>

namespace skbscope {

namespace {

using Severity = Finding::Severity;

class Checker {
public:
    Checker(const Lesson& lesson, std::vector<Finding>& findings) : lesson_(lesson), findings_(findings) {}

    void run(const OpenSource& open)
    {
        auto source = open(lesson_.driver());
        if (!source) {
            findings_.push_back({Severity::error, lesson_.driver(), 0, 0, source.error().describe(), {}});
            return;
        }
        if (!run_to_end(**source)) {
            add({1, 1}, Severity::warning, "the lesson's run does not end by itself", "let its senders stop");
        }
        check_names(**source); // after the run: a socket's knobs come with the socket
        for (const LessonStep& step : lesson_.steps) {
            check_moment(step, (*source)->trace());
        }
        for (const LessonStep& step : lesson_.steps) {
            if (step.experiment) {
                check_experiment(*step.experiment, **source);
            }
        }
    }

private:
    void add(TextPlace place, Severity severity, std::string text, std::string remedy = {})
    {
        findings_.push_back({severity, lesson_.folder / "lesson.md", place.line, place.column,
                             std::move(text), std::move(remedy)});
    }

    template <typename Things>
    static std::string keys_of(const Things& things)
    {
        std::string keys;
        for (const auto& thing : things) {
            keys += (keys.empty() ? "" : ", ") + thing.key;
        }
        return keys.empty() ? "there are none" : "there are: " + keys;
    }

    void check_names(const Source& source)
    {
        const auto knobs = source.knobs();
        const auto actions = source.actions();
        for (const LessonStep& step : lesson_.steps) {
            if (!step.experiment) {
                continue;
            }
            for (const KnobSetting& wanted : step.experiment->knobs) {
                const auto knob = std::find_if(knobs.begin(), knobs.end(),
                                               [&](const Knob& k) { return k.key == wanted.key; });
                if (knob == knobs.end()) {
                    add(wanted.place, Severity::error, fmt::format("no knob '{}'", wanted.key),
                        keys_of(knobs));
                } else if (wanted.value < knob->minimum || wanted.value > knob->maximum) {
                    add(wanted.place, Severity::error,
                        fmt::format("'{}' cannot be {}", wanted.key, wanted.value),
                        fmt::format("from {} to {}", knob->minimum, knob->maximum));
                }
            }
            for (const LessonAction& wanted : step.experiment->actions) {
                if (std::none_of(actions.begin(), actions.end(),
                                 [&](const Action& a) { return a.key == wanted.key; })) {
                    add(wanted.place, Severity::error, fmt::format("no action '{}'", wanted.key),
                        keys_of(actions));
                }
            }
        }
    }

    void check_moment(const LessonStep& step, const Trace& trace)
    {
        const auto position = resolve_stop(step.stop, trace);
        if (!position) {
            add(step.stop.place, Severity::error, fmt::format("the stop '{}' never happens", step.stop.text),
                "look at the journey of that packet for what it does pass");
        } else if (*position < last_position_) {
            add(step.stop.place, Severity::warning,
                fmt::format("the stop '{}' lies before the step before it", step.stop.text));
        }
        last_position_ = position.value_or(last_position_);
        if (step.question && !step.question->proof.empty()) {
            const GoalResult proof = evaluate(step.question->proof, trace);
            if (!proof.reached) {
                add(step.question->proof.place, Severity::error,
                    fmt::format("the run does not prove the right answer: {}", proof.text()));
            }
        }
    }

    void check_experiment(const Experiment& experiment, Source& source)
    {
        const ExperimentResult result = run_experiment(source, experiment);
        if (!result.done) {
            add(experiment.place, Severity::error, result.done.error().describe());
        } else if (!result.goal.reached) {
            add(experiment.goal.place, Severity::error,
                fmt::format("the experiment does not reach its goal with the values given: {}",
                            result.goal.text()));
        }
        source.start_over();
    }

    const Lesson& lesson_;
    std::vector<Finding>& findings_;
    std::size_t last_position_ = 0;
};

} // namespace

std::string Finding::describe() const
{
    std::string out = file.string();
    if (line > 0) {
        out += fmt::format(":{}:{}", line, column);
    }
    out += fmt::format(": {}: {}", severity == Severity::error ? "error" : "warning", text);
    return remedy.empty() ? out : out + " (" + remedy + ")";
}

std::vector<Finding> check_lesson(const std::filesystem::path& folder, const OpenSource& open)
{
    auto parsed = lesson_parse::parse_folder(folder);
    if (!parsed) {
        const Error& error = parsed.error();
        return {{Severity::error, error.where, 0, 0, error.what, error.remedy}};
    }
    std::vector<Finding> findings = std::move(parsed->findings);
    const bool broken = std::any_of(findings.begin(), findings.end(),
                                    [](const Finding& f) { return f.severity == Severity::error; });
    if (open && !broken) {
        Checker(parsed->lesson, findings).run(open);
    }
    std::stable_sort(findings.begin(), findings.end(),
                     [](const Finding& a, const Finding& b) { return a.line < b.line; });
    return findings;
}

} // namespace skbscope
