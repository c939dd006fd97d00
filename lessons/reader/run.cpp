// Running a lesson's source: to its end, to a stop, through an experiment.

#include "lessons/reader/lesson.h"

namespace skbscope {

namespace {

bool within_limits(const Source& source)
{
    const Trace& trace = source.trace();
    return trace.size() < max_lesson_events && source.known_until() < SimTime{} + max_lesson_run;
}

Result<void> turn_and_act(Source& source, const Experiment& experiment)
{
    // From a fresh start the knobs are turned before the first event, else where the run has got to.
    const SimTime at = experiment.from_start ? SimTime{} : source.known_until();
    for (const KnobSetting& knob : experiment.knobs) {
        if (auto done = source.set_knob(knob.key, knob.value, at); !done) {
            return done;
        }
    }
    run_to_end(source);
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
    if (experiment.from_start) {
        source.start_over();
    }
    ExperimentResult result;
    result.done = turn_and_act(source, experiment);
    run_to_end(source);
    result.goal = evaluate(experiment.goal, source.trace());
    return result;
}

} // namespace skbscope
