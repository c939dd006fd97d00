#pragma once
// How the records of a recording are walked: on whose thread, who is told.

#include "core/progress.h"

#include <functional>

namespace skbscope {

struct WalkOptions {
    /// Reads on a thread of its own, some thousand records ahead; records are taken on the caller's thread all the same.
    bool ahead = false;
    /// Called on that thread whenever it has nothing to do for now: what can be made ready meanwhile. May be empty.
    std::function<void()> when_idle{};
    /// Told of the bytes of the file that were read; when it is cancelled the walk ends early. May be null.
    Progress* progress = nullptr;
};

} // namespace skbscope
