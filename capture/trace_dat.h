#pragma once
// Reads trace-cmd's trace.dat (file versions 6 and 7, uncompressed, zstd or zlib) into raw records in time
// order. Owns the container; the pages in it are walked by RingPages, what they say is TracedKernel's. Knows nothing
// of packets.
//
// The container is read here and not through libtracecmd: that library gives up on a file that was cut
// anywhere (its index stands at the end) and reads past the end of damaged pages. Here every length is
// checked against what is there, and a cut recording yields what is whole. The format is trace-cmd.dat.v6(5)
// and trace-cmd.dat.v7(5); a test holds the reader against `trace-cmd report`.

#include "capture/ring_pages.h"
#include "capture/traced_kernel.h"
#include "capture/walk_options.h"
#include "core/result.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace skbscope {

class TraceDat {
public:
    /// Opens and indexes the file. Errors: not_found, unreadable, foreign, cut (before any event), corrupt,
    /// unsupported.
    [[nodiscard]] static Result<TraceDat> open(const std::string& path);

    TraceDat(TraceDat&&) noexcept;
    TraceDat& operator=(TraceDat&&) noexcept;
    ~TraceDat();

    [[nodiscard]] const std::string& path() const;
    [[nodiscard]] const TracedKernel& kernel() const;
    /// What is missing or broken in the file, one line each; empty for a whole one.
    [[nodiscard]] const std::vector<std::string>& damage() const;
    /// Bytes of all pages of records, unpacked: how long the recording is. A damaged file may promise more than it has.
    [[nodiscard]] std::uint64_t record_bytes() const;

    /// Bytes of the file that hold records: what Progress counts while they are read.
    [[nodiscard]] std::uint64_t packed_bytes() const;

    /// Calls `take` for the records of all CPUs in time order, some at a time; their data is good during the call. May be
    /// called again. Returns what was found damaged on the way, a line each; what is whole was given all the same.
    std::vector<std::string> for_each(const std::function<void(std::span<const RawRecord>)>& take, const WalkOptions& options) const;
    /// … one at a time.
    std::vector<std::string> for_each(const std::function<void(const RawRecord&)>& take) const;

private:
    struct State;
    explicit TraceDat(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

} // namespace skbscope
