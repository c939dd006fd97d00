// Running a lesson's source: to its end, to a stop, through an experiment.

#include "lessons/reader/lesson.h"

#include <algorithm>

namespace skbscope {

namespace {

bool within_limits(const Source& source)
{
    const Trace& trace = source.trace();
    return trace.size() < max_lesson_events && source.known_until() < SimTime{} + max_lesson_run;
}

/// A knob may belong to something that a fresh run has yet to make, such as a socket: goes forward until it
/// is there.
void wait_for_knobs(Source& source, const Experiment& experiment)
{
    constexpr Duration step{1'000};
    constexpr int patience = 1000; // 1 ms
    const auto there = [&] {
        const auto knobs = source.knobs();
        return std::ranges::all_of(experiment.knobs, [&](const KnobSetting& wanted) {
            return std::ranges::find(knobs, wanted.key, &Knob::key) != knobs.end();
        });
    };
    for (int i = 0; i < patience && !there() && !source.exhausted(); ++i) {
        source.advance_to(source.known_until() + step);
    }
}

Result<void> turn_and_act(Source& source, const Experiment& experiment)
{
    if (experiment.from_start) {
        source.start_over();
        wait_for_knobs(source, experiment);
    }
    for (const KnobSetting& knob : experiment.knobs) {
        if (auto done = source.set_knob(knob.key, knob.value, source.known_until()); !done) {
            return done;
        }
    }
    for (const LessonAction& action : experiment.actions) {
        for (unsigned i = 0; i < action.times; ++i) {
            if (auto done = source.act(action.key, source.known_until()); !done) {
                return done;
            }
            run_to_end(source);
        }
    }
    return {};
}

} // namespace

bool run_to_end(Source& source)
{
    Duration step = 1_ms;
    while (!source.exhausted()) {
        if (!within_limits(source)) {
            return false;
        }
        const SimTime before = source.known_until();
        source.advance_to(before + step);
        // A source that makes no progress would hold us for ever: look further each time, up to the limit.
        if (source.known_until() <= before && step.ns > max_lesson_run.ns) {
            return source.exhausted();
        }
        step = step * 2;
    }
    return true;
}

std::optional<std::size_t> advance_to_stop(Source& source, const Stop& stop)
{
    run_to_end(source);
    return resolve_stop(stop, source.trace());
}

ExperimentResult run_experiment(Source& source, const Experiment& experiment)
{
    ExperimentResult result;
    result.done = turn_and_act(source, experiment);
    run_to_end(source);
    result.goal = evaluate(experiment.goal, source.trace());
    return result;
}

} // namespace skbscope
