#pragma once
// A trace-cmd recording (and the captures made beside it) becomes a Trace.

#include "core/progress.h"
#include "core/result.h"
#include "core/trace/trace.h"

#include <optional>
#include <string>
#include <vector>

namespace skbscope {

struct PcapBeside {
    std::string device; ///< "eth0"
    std::string path;
};

struct ImportOptions {
    std::vector<PcapBeside> pcaps;
    /// Where no pcap is named for a device: use DEVICE.pcap or DEVICE.pcapng in the recording's folder, if it
    /// is there.
    bool find_pcaps = true;
    /// Kprobe events are left out (to hold attribution against them).
    bool use_kprobes = true;
    /// A recording with more bytes of records than this becomes a trace while it is read, so that little stands in memory
    /// beside the trace. Not with captures or without kprobe events: those need every packet to the end.
    std::uint64_t longest_at_once = std::uint64_t{64} << 20;
    /// … what so many records later is not known of a call then never is.
    std::size_t settled_after = 65536;
    /// A recording with at least so many bytes of records is read on a thread of its own, ahead of the one that makes sense
    /// of it.
    std::uint64_t reads_ahead_from = std::uint64_t{4} << 20;
    /// Told how far it has come: bytes of records, and records. Cancelled, the import ends with stopped(). May be null.
    Progress* progress = nullptr;
    /// Whether durations mean anything. Empty: concluded from the recording, see times_look_emulated().
    std::optional<bool> times_trustworthy;
};

/// How the frames of one capture were matched.
struct PcapMatch {
    std::string device;
    std::string path;
    std::size_t frames = 0;          ///< in the file
    std::size_t matched = 0;         ///< given to a packet
    std::size_t outside = 0; ///< captured before the first record or after the last
    std::size_t packets_without = 0; ///< packets that passed the device's taps and got no frame
    std::int64_t wall_offset_ns = 0; ///< wall clock minus trace clock, as the matching found it
};

/// A function call that a kprobe event saw too, for holding attribution against the probe's pointer.
struct ProbeCheck {
    std::size_t checked = 0; ///< calls with a probe
    std::size_t wrong = 0; ///< given to a packet other than the probe's, or to one though the probe's is none
    std::size_t missed = 0;            ///< given to no packet although the probe's is one of the trace
    std::vector<std::string> examples; ///< the first few
};

struct Imported {
    Trace trace;
    std::uint64_t records = 0; ///< that the file held, of all kinds
    std::vector<PcapMatch> pcaps;
    std::vector<std::string> warnings; ///< one line each: damage, captures that did not match
    ProbeCheck probes;                 ///< filled with use_kprobes = false only
};

/// Reads the recording at `path`. Errors are those of TraceDat::open and read_pcap, and stopped(); a recording without any
/// record of a packet imports as a trace without packets.
[[nodiscard]] Result<Imported> import_trace_dat(const std::string& path, const ImportOptions& options = {});

/// Whether the times between consecutive calls look like those of an emulated CPU. A kernel with the function
/// tracer on spends about a tenth of a microsecond between two traced calls of which one calls the other; an
/// emulator without hardware help (QEMU's TCG) never less than 0.4. Nothing in a trace.dat names the
/// hypervisor, so this is the evidence there is: even the fastest tenth of the gaps is above 350 ns. Measured
/// on recordings of Debian kernels under TCG (fastest tenth 491 to 2463 ns); a machine so slow would be
/// badged wrongly, which ImportOptions can override. Gaps in nanoseconds; fewer than 64 prove nothing.
[[nodiscard]] bool times_look_emulated(std::vector<std::uint32_t> gaps);

} // namespace skbscope
