#pragma once
// Work done inside a network namespace, by a child that goes there and comes back with a text or an error.

#include "core/result.h"

#include <functional>
#include <string>

namespace skbscope::lab {

/// Forks, enters, works, and hands over what `work` yields.
[[nodiscard]] Result<std::string> in_space(const std::string& space, bool with_sys, const std::function<Result<std::string>()>& work);

} // namespace skbscope::lab
