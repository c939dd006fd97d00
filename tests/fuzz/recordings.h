#pragma once
// Recordings made wrong: what is read as a trace.dat or as a capture beside one may hold anything, and must end in one
// clear line or in a trace that whoever reads it can rely on. What the stand-alone driver and the test share.

#include <random>
#include <string>
#include <vector>

namespace skbscope::fuzz {

enum class RecordingKind { trace_dat, pcap };

struct Recording {
    std::string name;
    RecordingKind kind = RecordingKind::trace_dat;
    std::string bytes;
};

/// Small whole recordings of all kinds: trace.dat of both versions, plain and packed, pcap and pcapng.
[[nodiscard]] std::vector<Recording> whole_recordings();

/// One to a few changes: cut, bytes and bits changed, numbers made hostile (0, all ones, sign bits, just over), parts
/// doubled, taken out or exchanged, another endianness or word size claimed.
[[nodiscard]] std::string broken(const std::string& whole, std::mt19937_64& random);

/// Imports it (a capture together with a whole trace.dat). Empty: refused with one line, or a sound trace; else what is
/// wrong. `kept` is counted up if it was read.
[[nodiscard]] std::string import_any(RecordingKind kind, const std::string& bytes, std::uint64_t& kept);

} // namespace skbscope::fuzz
