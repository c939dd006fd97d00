#pragma once
// The records in a trace.dat: where each CPU's pages lie in the file, and walking them in time order with a small
// window of each CPU in memory, on the thread of the one who takes them or ahead of it on another.

#include "capture/event_format.h"
#include "capture/ring_pages.h"
#include "capture/trace_dat_bytes.h"
#include "capture/walk_options.h"

#include <functional>
#include <string>
#include <vector>

namespace skbscope::trace_dat {

/// Pages behind each other in the file: as they are, or packed.
struct Piece {
    std::uint64_t offset = 0;
    std::uint64_t size = 0;     ///< in the file
    std::uint32_t unpacked = 0; ///< bytes of pages; 0: not packed
};

/// One CPU's pages, oldest first.
struct CpuPages {
    std::uint16_t cpu = 0;
    std::vector<Piece> pieces;
};

struct RecordSource {
    const InputFile* file = nullptr;
    Packing packing = Packing::none;
    std::size_t page_size = 4096;  ///< a power of two, at most 1 MiB
    std::int64_t time_offset = 0;  ///< nanoseconds added to each time
    std::vector<CpuPages> cpus;
    std::vector<EventField> device_names; ///< where records name a device, by event id
};

/// Takes the next records in time order; their data is good during the call.
using TakeRecords = std::function<void(std::span<const RawRecord>)>;

/// Calls `take` for all records in time order, some at a time. Returns what was found damaged on the way, a line each.
/// What `take` throws comes through.
std::vector<std::string> walk(const RecordSource& source, const TakeRecords& take, const WalkOptions& options = {});

} // namespace skbscope::trace_dat
