#pragma once
// What a command shows of work that takes longer than a moment: one line on stderr, if that is a terminal, with how much
// is done and how fast; and Ctrl-C, which asks the work to stop and leave nothing half done. The only place in app/ that
// catches signals for that.

#include "core/progress.h"

#include <memory>
#include <string>

namespace skbscope::app {

/// While it lives, SIGINT and SIGTERM cancel its progress (unless OnSignal says otherwise); the second one ends the program as usual. One at a time.
class ProgressLine {
public:
    enum class OnSignal {
        cancel, ///< the work ends by itself, soon: it looks at its progress
        end,    ///< the program ends as usual: nothing is being written
    };
    /// `subject`: what is worked on, "trace.dat".
    explicit ProgressLine(std::string subject, OnSignal wish = OnSignal::cancel);
    ProgressLine(const ProgressLine&) = delete;
    ProgressLine& operator=(const ProgressLine&) = delete;
    /// Wipes the line: what is said next stands in a clean one.
    ~ProgressLine();

    [[nodiscard]] Progress& progress();

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

/// "trace.dat: importing, 43 % (5.1 million a second)"
[[nodiscard]] std::string progress_text(const std::string& subject, const Progress& progress, double seconds);

/// The signal that asked for the work to stop; 0: none did. The exit status is then 128 and the signal, as shells have it.
[[nodiscard]] int interrupted_by();

} // namespace skbscope::app
