#pragma once
// Reads capture files (pcap and pcapng, microseconds or nanoseconds) through libpcap, whole or frame by frame. Used to
// give a recording's packets their bytes, and by `replay`.

#include "core/result.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace skbscope {

struct PcapFrame {
    std::int64_t wall_ns = 0; ///< nanoseconds since 1970, as the file says
    std::uint32_t length =
        0;                  ///< bytes on the wire; more than captured when the file was cut by a snap length
    std::size_t offset = 0; ///< of its bytes in PcapFile::bytes
    std::uint32_t captured = 0;
};

struct PcapFile {
    std::string path;
    std::vector<PcapFrame> frames;
    std::vector<std::uint8_t> bytes;
    std::string damage; ///< one line if the file is cut behind its last whole frame; empty for a whole one

    [[nodiscard]] std::span<const std::uint8_t> frame(std::size_t index) const
    {
        return std::span(bytes).subspan(frames[index].offset, frames[index].captured);
    }
};

/// Reads a file from its first frame to its last and holds one of them.
class PcapReader {
public:
    struct Frame {
        std::int64_t wall_ns = 0; ///< as PcapFrame
        std::uint32_t length = 0;
        std::span<const std::uint8_t> bytes;
    };

    /// Errors: those of read_pcap().
    [[nodiscard]] static Result<PcapReader> open(const std::string& path);
    PcapReader(PcapReader&&) noexcept;
    PcapReader& operator=(PcapReader&&) noexcept;
    ~PcapReader();

    /// The next frame, good until the following call; nullptr: that was the last whole one.
    [[nodiscard]] const Frame* next();
    /// PcapFile::damage, once next() has come to the end.
    [[nodiscard]] const std::string& damage() const;

private:
    struct State;
    explicit PcapReader(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

/// Reads the whole file. Errors: not_found, unreadable, foreign, cut (no whole frame and no header),
/// unsupported (not Ethernet). A file cut behind whole frames is good: `damage` says so.
[[nodiscard]] Result<PcapFile> read_pcap(const std::string& path);

} // namespace skbscope
