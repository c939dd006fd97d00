#pragma once
// The rules of netfilter as the host's own tools print them, read only. The tools are run with fixed arguments, from the folders
// where systems keep them, with an empty environment and no shell.

#include "core/result.h"

#include <string>
#include <vector>

namespace skbscope::host {

struct Tool {
    std::string name;                   ///< "nft"
    std::vector<std::string> arguments; ///< "list", "ruleset"
};

/// `nft list ruleset`, `iptables-save`, `ip6tables-save`.
[[nodiscard]] const std::vector<Tool>& rule_tools();

/// What the tool prints, at most 1 MiB of it. Errors: not_found (no such tool in any of the folders), not_permitted (it ended badly;
/// the words are its own), unsupported (it took longer than three seconds).
[[nodiscard]] Result<std::string> ask_tool(const Tool& tool, const std::vector<std::string>& folders = {"/usr/sbin", "/sbin", "/usr/bin", "/bin"});

} // namespace skbscope::host
