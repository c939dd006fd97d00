#pragma once
// What the import of a recorded folder has to show, held against the folder's manifest alone: no model takes part. How many
// test packets there are, what became of them, whether their journeys are whole, whether calls went to the right packets, and
// whether every captured frame has its packet.

#include "capture/fidelity/manifest.h"
#include "core/trace/trace.h"

#include <string>
#include <vector>

namespace skbscope {

struct RecordingCheck {
    std::string folder, kernel, scenario;
    std::size_t packets = 0;  ///< of all phases; segments of a connection, too
    std::size_t complete = 0; ///< those whose journey has the expected path and an end
    std::vector<std::string> incomplete; ///< the first few, a line each
    std::vector<std::string> miscounted; ///< where packets, ends, reasons or bytes are not the manifest's; a line each
    std::size_t frames = 0, matched = 0; ///< of the captures beside the recording
    std::size_t outside = 0; ///< of `frames`: captured before the recording began or after it ended
    /// function_graph shows only what runs below its roots: captured frames of which there is no record, and packets whose way out has none.
    std::size_t unrecorded = 0, unfinished = 0;
    std::size_t probed = 0, wrong = 0, missed = 0; ///< calls that a kprobe saw, with the probes hidden from attribution
    std::vector<std::string> wrong_examples;
};

/// Imports twice, the second time without kprobe events. Errors: those of read_manifest() and import_trace_dat().
[[nodiscard]] Result<RecordingCheck> check_recording(const std::filesystem::path& folder);

/// The page docs/recordings.md, without what unattributed calls are (a column given for each row).
[[nodiscard]] std::string recording_checks_to_markdown(const std::vector<RecordingCheck>& rows, const std::vector<std::string>& unattributed);

} // namespace skbscope
