// Plays a lesson to a stream.

#include "lessons/reader/text_player.h"

#include "core/trace/stack_state.h"

#include <algorithm>
#include <fmt/format.h>
#include <ostream>

namespace skbscope {

namespace {

std::string time_text(std::int64_t ns)
{
    if (ns < 1'000) {
        return fmt::format("{} ns", ns);
    }
    if (ns < 1'000'000) {
        return fmt::format("{:.3f} us", static_cast<double>(ns) / 1e3);
    }
    return fmt::format("{:.3f} ms", static_cast<double>(ns) / 1e6);
}

/// "packet 1 in ip_rcv_core, CPU 0, softirq"
std::string place_text(const Trace& trace, const StackState& state, PacketId packet)
{
    const auto found = state.packets().find(packet);
    if (found == state.packets().end()) {
        const bool known = trace.has_packet(packet) && trace.packet(packet).death <= state.time();
        return fmt::format("packet {} {}", to_index(packet), known ? "has been freed" : "does not exist yet");
    }
    const PacketState& at = found->second;
    if (at.where == PacketState::Where::waiting && to_index(at.queue) < trace.queues().size()) {
        const QueueRecord& queue = trace.queue(at.queue);
        return fmt::format("packet {} {} {}", to_index(packet), queue.kind == QueueKind::wire ? "is on the" : "waits in",
                           queue.name);
    }
    return fmt::format("packet {} {} {}, CPU {}, {}", to_index(packet),
                       at.where == PacketState::Where::running ? "in" : "last in",
                       trace.function_name(at.function), to_index(at.cpu), to_string(at.context));
}

class Player {
public:
    Player(const Lesson& lesson, Source& source, std::ostream& out, const TextPlayerOptions& options)
        : lesson_(lesson), source_(source), out_(out), options_(options)
    {
    }

    PlayResult play()
    {
        say(lesson_.title, '=');
        write(lesson_.summary);
        run_to_end(source_);
        for (const LessonStep& step : lesson_.steps) {
            play_step(step);
        }
        const Trace& trace = source_.trace();
        out_ << "\nKernel: " << trace.info.kernel_release << (trace.info.observed ? ", recorded" : "")
             << ". Source: " << trace.info.source << "\n";
        return result_;
    }

private:
    void say(const std::string& title, char line)
    {
        out_ << (options_.colours ? "\x1b[1m" : "") << title << (options_.colours ? "\x1b[0m" : "") << '\n'
             << std::string(std::min<std::size_t>(title.size(), options_.columns), line) << "\n\n";
    }

    void write(std::string_view markdown)
    {
        out_ << render_markdown(markdown, options_.columns, options_.colours);
    }

    void play_step(const LessonStep& step)
    {
        ++result_.steps;
        out_ << '\n';
        say(fmt::format("{} of {}: {}", result_.steps, lesson_.steps.size(), step.title), '-');
        write(step.body);
        play_moment(step);
        if (step.question) {
            play_question(*step.question);
        }
        if (step.experiment) {
            play_experiment(*step.experiment);
        }
    }

    void play_moment(const LessonStep& step)
    {
        const Trace& trace = source_.trace();
        const auto position = resolve_stop(step.stop, trace);
        if (!position) {
            ++result_.stops_missed;
            out_ << fmt::format("\n  [this run never gets to: {}]\n", step.stop.text);
            return;
        }
        StackState state(trace);
        for (std::size_t i = 0; i < *position; ++i) {
            state.apply(i);
        }
        const std::int64_t elapsed = *position == 0 ? 0 : (state.time() - trace.begin_time()).ns;
        const bool timed = trace.info.times_trustworthy || trace.empty();
        std::string line = timed ? fmt::format("t = {}", time_text(elapsed)) : "order real, times not";
        if (!step.stop.text.empty()) {
            line += " | " + step.stop.text;
        }
        out_ << '\n';
        write_lines(line);
        if (step.select != PacketId::none) {
            write_lines(place_text(trace, state, step.select));
        }
        write_queues(trace, state);
    }

    void write_queues(const Trace& trace, const StackState& state)
    {
        std::string held;
        for (std::size_t i = 1; i < state.queues().size() && i < trace.queues().size(); ++i) {
            const QueueState& queue = state.queues()[i];
            if (!queue.packets.empty()) {
                held += fmt::format("{}{} {}", held.empty() ? "waiting: " : ", ", trace.queues()[i].name,
                                    queue.packets.size());
            }
        }
        const Accounting& a = state.accounting();
        held += fmt::format("{}born {}, delivered {}, sent {}, dropped {}", held.empty() ? "" : " | ", a.born,
                            a.of(Verdict::delivered), a.of(Verdict::sent), a.of(Verdict::dropped));
        write_lines(held);
    }

    /// One line of facts, wrapped under an arrow.
    void write_lines(const std::string& text)
    {
        std::string block = render_markdown(text, options_.columns - 5, false);
        std::string_view rest = block;
        bool first = true;
        while (!rest.empty()) {
            const std::size_t end = std::min(rest.find('\n'), rest.size());
            out_ << (first ? "  -> " : "     ") << rest.substr(0, end) << '\n';
            rest.remove_prefix(std::min(end + 1, rest.size()));
            first = false;
        }
    }

    void play_question(const Question& question)
    {
        ++result_.questions;
        out_ << '\n';
        write("Predict: " + question.prompt);
        for (std::size_t i = 0; i < question.choices.size(); ++i) {
            const Choice& choice = question.choices[i];
            write_item(fmt::format("{}) ", static_cast<char>('a' + i)), choice.text);
        }
        out_ << "\nAnswers:\n";
        for (std::size_t i = 0; i < question.choices.size(); ++i) {
            const Choice& choice = question.choices[i];
            write_item(fmt::format("{}) ", static_cast<char>('a' + i)),
                       (choice.correct ? "Right. " : "No. ") + choice.explanation);
        }
        if (question.proof.empty()) {
            return;
        }
        const GoalResult proof = evaluate(question.proof, source_.trace());
        result_.proofs_failed += proof.reached ? 0 : 1;
        write_lines(fmt::format("the run {}: {}", proof.reached ? "agrees" : "does NOT agree", proof.text()));
    }

    void write_item(const std::string& mark, const std::string& text)
    {
        // Rendered as a list item, its dash replaced by the letter.
        std::string block = render_markdown("- " + text, options_.columns, options_.colours);
        if (block.size() > 4) {
            block.replace(0, 4, "  " + mark);
        }
        out_ << block;
    }

    void play_experiment(const Experiment& experiment)
    {
        ++result_.experiments;
        out_ << '\n';
        write("Try: " + experiment.prompt);
        std::string done;
        for (const KnobSetting& knob : experiment.knobs) {
            done += fmt::format("{}{} = {}", done.empty() ? "" : ", ", knob.key, knob.value);
        }
        for (const LessonAction& action : experiment.actions) {
            done += fmt::format("{}{}{}", done.empty() ? "" : ", ", action.key,
                                action.times > 1 ? fmt::format(" x {}", action.times) : "");
        }
        const ExperimentResult result = run_experiment(source_, experiment);
        const bool reached = result.done && result.goal.reached;
        result_.goals_missed += reached ? 0 : 1;
        write_lines(fmt::format("goal: {}", experiment.goal.text));
        write_lines(fmt::format("{}: {}", done.empty() ? "measured" : "run with " + done,
                                result.done ? result.goal.text() : result.done.error().describe()));
        write_lines(reached ? "goal reached" : "goal NOT reached");
        if (reached && !experiment.after.empty()) {
            out_ << '\n';
            write(experiment.after);
        }
        source_.start_over();
        run_to_end(source_);
    }

    const Lesson& lesson_;
    Source& source_;
    std::ostream& out_;
    TextPlayerOptions options_;
    PlayResult result_;
};

} // namespace

PlayResult play_lesson(const Lesson& lesson, Source& source, std::ostream& out,
                       const TextPlayerOptions& options)
{
    TextPlayerOptions sane = options;
    sane.columns = std::max(options.columns, 20U);
    return Player(lesson, source, out, sane).play();
}

} // namespace skbscope
