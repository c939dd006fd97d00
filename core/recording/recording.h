#pragma once
// Recordings: a Trace as a pcapng file. Its frames are ordinary packet blocks that Wireshark and tshark show, each with
// its verdict as comment; everything else rides in blocks of a local-use type. docs/recording-format.md has the format.

#include "core/progress.h"
#include "core/result.h"
#include "core/trace/trace.h"

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>

namespace skbscope {

/// Where a recording's bytes go; false: they could not be written.
using RecordingSink = std::function<bool(std::span<const std::uint8_t>)>;

struct RecordingOptions {
    bool compress = true;
    /// Told of the events that were written; cancelled, writing ends with stopped(). May be null; outlives the writer.
    Progress* progress = nullptr;
};

/// Writes a trace while it grows. Whoever grows it calls update() now and then, and finish() at the end; what was
/// written is never taken back, so a stream that breaks off is good up to its last whole block.
class RecordingWriter {
public:
    /// The trace outlives the writer. `name` is the output's, for errors.
    RecordingWriter(const Trace& trace, RecordingSink sink, std::string name, RecordingOptions options = {});
    ~RecordingWriter();
    RecordingWriter(RecordingWriter&&) noexcept;
    RecordingWriter& operator=(RecordingWriter&&) noexcept;

    /// Appends what the trace has gained. Rows of packets that changed, and the durations of calls that have returned
    /// since their batch was written, follow by themselves; other changes to events already written are not seen.
    [[nodiscard]] Result<void> update();
    /// update(), then what is written at a stream's end: frames of packets still alive, faults, the end mark.
    [[nodiscard]] Result<void> finish();
    /// How far the trace has been written: what lies before may go (Trace::forget_before()), right after update().
    [[nodiscard]] TraceMark written() const;

private:
    friend Result<void> write_recording_to(const Trace& trace, const RecordingSink& sink, const std::string& name,
                                           const RecordingOptions& options);
    class Impl;
    std::unique_ptr<Impl> impl_;
};

/// The whole trace at once: the same trace gives the same bytes.
[[nodiscard]] Result<void> write_recording_to(const Trace& trace, const RecordingSink& sink, const std::string& name,
                                              const RecordingOptions& options = {});
/// … into a file: written beside it first, then renamed, so that nothing half written is left.
[[nodiscard]] Result<void> write_recording(const Trace& trace, const std::filesystem::path& path,
                                           const RecordingOptions& options = {});
/// A recording that goes into a file while its trace grows. Until finish() it lies beside its place, so that nothing half
/// written is left; destroyed before, it is gone.
class RecordingFile {
public:
    /// The trace outlives it.
    [[nodiscard]] static Result<RecordingFile> create(const Trace& trace, const std::filesystem::path& path,
                                                      const RecordingOptions& options = {});
    ~RecordingFile();
    RecordingFile(RecordingFile&&) noexcept;
    RecordingFile& operator=(RecordingFile&&) noexcept;
    [[nodiscard]] Result<void> update();
    [[nodiscard]] Result<void> finish();
    [[nodiscard]] TraceMark written() const;

private:
    class Impl;
    explicit RecordingFile(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

/// A sink that writes to an open file or pipe and flushes after every block. The file stays the caller's.
[[nodiscard]] RecordingSink sink_to(std::FILE* file);

struct LoadedRecording {
    Trace trace;
    /// Empty, or what is missing: "cut at byte 81920 of 90112: the last 812 of 20000 events are lost".
    std::string loss;
};

/// Reads a recording that arrives piece by piece: a file, or the stream of a live one.
class RecordingReader {
public:
    /// The trace outlives the reader and grows as blocks come in. `name` is the input's, for errors.
    RecordingReader(Trace& trace, std::string name);
    ~RecordingReader();
    RecordingReader(RecordingReader&&) noexcept;
    RecordingReader& operator=(RecordingReader&&) noexcept;

    /// Takes the next bytes. An error means that this is no recording of ours, or none that can be opened at all;
    /// damage behind the first block is no error but a loss: what came before it stands.
    [[nodiscard]] Result<void> feed(std::span<const std::uint8_t> bytes);
    /// The end block has come: nothing more will.
    [[nodiscard]] bool complete() const;
    /// No more bytes will come. Gives the loss (empty: none); packets whose end was lost get the verdict "lost".
    [[nodiscard]] Result<std::string> finish();

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

/// Errors: not_found, unreadable; foreign for anything else than our recordings (a capture that is pcapng, too); cut if
/// not even its first block is whole; corrupt; unsupported for another major version. `progress`, if given, is told of the
/// bytes that were read; cancelled, reading ends with stopped().
[[nodiscard]] Result<LoadedRecording> read_recording(const std::filesystem::path& path, Progress* progress = nullptr);
/// From an open file or pipe until its end. `name` is for errors: "standard input".
[[nodiscard]] Result<LoadedRecording> read_recording(std::FILE* file, const std::string& name, Progress* progress = nullptr);

/// The bytes begin as a pcapng file does (12 bytes are enough to tell).
[[nodiscard]] bool looks_like_pcapng(std::span<const std::uint8_t> bytes);

} // namespace skbscope
