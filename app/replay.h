#pragma once
// A capture as a Source: its frames arrive at a modelled host.

#include "core/result.h"
#include "core/scenario/model_source.h"

#include <memory>
#include <string>

namespace skbscope::app {

/// As typed; empty: not given.
struct ReplayOptions {
    std::string as;       ///< ADDR[,MAC] of the host to model
    std::string scenario; ///< a file
};

/// Reads the capture and puts its frames on the wire of the modelled host. What is left out or padded is said
/// on stderr.
[[nodiscard]] Result<std::unique_ptr<ModelSource>> replay_capture(const std::string& path,
                                                                  const ReplayOptions& options);

} // namespace skbscope::app
