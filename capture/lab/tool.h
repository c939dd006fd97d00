#pragma once
// Runs ip, tc, nft and their like: a fixed argument vector, never a shell.

#include "core/result.h"

#include <string>
#include <vector>

namespace skbscope::lab {

/// One run of a tool.
struct Command {
    std::vector<std::string> words; ///< the first is looked for in PATH and /usr/sbin
    std::string input;              ///< what it reads on standard input
    std::string purpose;            ///< "qdisc tbf on v0": what is missing where it fails
    bool operator==(const Command&) const = default;
};

/// "ip -n a link set v0 up"
[[nodiscard]] std::string to_line(const Command& command);

/// What it printed. Errors: unsupported (no such tool, or the kernel lacks the piece), not_permitted, invalid (the tool
/// refused for another reason); they name the purpose and what the tool said.
[[nodiscard]] Result<std::string> run_tool(const Command& command);

/// Which kind of error a tool's last words are.
[[nodiscard]] ErrorKind kind_of_refusal(std::string_view words);

} // namespace skbscope::lab
