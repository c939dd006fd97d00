#pragma once
// The privileged half as a child of the window's program: `skbscope record … -w -` or `skbscope replay -i DEV … -w -`, started as it is or through pkexec or
// sudo, its stream read as a live source, its last words kept, its CPU time looked at.

#include "core/result.h"
#include "core/trace/source.h"
#include "ui/live/live_request.h"

#include <memory>
#include <string>
#include <vector>

namespace skbscope::app {

/// The words of the command line, program first. `asking`: pkexec or sudo with its options; empty: none is needed or none is there.
[[nodiscard]] std::vector<std::string> recorder_command(const std::string& program, const std::string& asking,
                                                        const ui::LiveRequest& request);
/// This program's own file, for children and for commands to copy.
[[nodiscard]] std::string own_program();
/// "pkexec", "sudo", or empty where neither is installed; empty for root, too.
[[nodiscard]] std::string way_to_ask();

/// Starts it. Errors: not_permitted where nobody can be asked, unsupported where it cannot be started.
[[nodiscard]] Result<std::unique_ptr<Source>> start_recorder(const ui::LiveRequest& request);
/// Any command whose standard output is a recording; for start_recorder() and tests.
[[nodiscard]] Result<std::unique_ptr<Source>> start_stream(const std::vector<std::string>& command,
                                                           const std::string& name);
/// Runs `skbscope doctor --format json` and waits for it. The text, whatever the answer was.
[[nodiscard]] Result<std::string> ask_doctor();
/// Names of this host's network devices, those that are up first; loopback last.
[[nodiscard]] std::vector<std::string> network_devices();

} // namespace skbscope::app
