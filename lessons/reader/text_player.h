#pragma once
// A lesson as text: for a terminal, a pipe, a machine without a display.

#include "lessons/reader/lesson.h"

#include <iosfwd>

namespace skbscope {

struct TextPlayerOptions {
    unsigned columns = 80;
    bool colours = false; ///< only for a terminal
};

/// What a play found: the tests want all stops resolved, all experiments at their goals.
struct PlayResult {
    std::size_t steps = 0;
    std::size_t stops_missed = 0;
    std::size_t experiments = 0;
    std::size_t goals_missed = 0;
    std::size_t questions = 0;
    std::size_t proofs_failed = 0;
    [[nodiscard]] bool clean() const { return stops_missed == 0 && goals_missed == 0 && proofs_failed == 0; }
};

/// Plays the whole lesson to `out`: per step its text, the moment the playhead stops at (time, packet, where,
/// queues), the question with its answer, the experiment run for real with what was measured.
PlayResult play_lesson(const Lesson& lesson, Source& source, std::ostream& out,
                       const TextPlayerOptions& options = {});

/// Markdown as plain text, wrapped; `columns` >= 20.
[[nodiscard]] std::string render_markdown(std::string_view markdown, unsigned columns, bool colours = false);

} // namespace skbscope
