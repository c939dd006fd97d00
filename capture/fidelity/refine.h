#pragma once
// What no manifest says, but the recording beside it tells: when datagrams reached a queue, which neighbour entries were there
// and had been used, how the emulated device was set.

#include "capture/fidelity/manifest.h"
#include "core/trace/trace.h"

namespace skbscope {

/// Changes stamps, neighbours and links of the manifest by rules that hold for every recording; never what became of a packet.
void refine_manifest(Manifest& manifest, const Trace& recorded);

} // namespace skbscope
