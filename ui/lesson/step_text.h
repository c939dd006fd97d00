#pragma once
// The moment on the screen as a step of a lesson.md: whoever prepares a lesson plays a recording, stops where there is something to
// say, and pastes the step into the lesson's file (docs/lesson-format.md).

#include <QString>
#include <QStringList>

namespace skbscope::ui {

class Session;

/// "packet 1 enters ip_rcv, 2nd time": what a stop's `at:` says of this moment. The reader finds the same moment in the same trace; a
/// time, where nothing that happens there has a name.
[[nodiscard]] QString stopText(const Session& session);
/// The whole step, with the catalog's words as a draft of its text. `panels`: what it unfolds.
[[nodiscard]] QString lessonStepText(const Session& session, const QStringList& panels);

} // namespace skbscope::ui
